"""How many bytes a gradient takes, and where, before it is run."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp

from jaxwave import propagators, validate
from jaxwave.dispatch import compiler_options
from jaxwave.embedding import prepare
from jaxwave.equations.registry import EQUATIONS
from jaxwave.problem import Problem, describe
from jaxwave.storage.base import DeviceStorage, HostStorage, entry_bytes
from jaxwave.storage.hdf5 import QUEUE_LENGTH

# Copies of a chunk that are alive while it passes between a compiled program and a callback, freed ones that the
# allocator holds on to included. Measured (JAX 0.10 and 0.11, Linux), for 2 to 40 MB a chunk.
COPIES_IN_TRANSFER = 3


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that one gradient takes. Histories that are kept for later use, or by other threads, come on top.

    Attributes:
        device: Memory of the device: the loops' state and work space, and the history if it is stored there.
        host: Host RAM of the storage: the history ("cpu"), or the buffers on the way to the file ("disk").
        transfer: Host RAM that chunks take on their way between the two.
        disk: The file.
        history: The stored history, wherever it is.
        uncompressed: The same history without a codec.
    """

    device: int
    host: int
    transfer: int
    disk: int
    history: int
    uncompressed: int

    def __str__(self) -> str:
        named = dataclasses.asdict(self)
        return ", ".join(f"{name} {value / 2**20:.1f} MiB" for name, value in named.items())


def estimate_memory(*models_spacing_and_dt: Any, propagator: str = "scalar", **arguments: Any) -> MemoryEstimate:
    """Says how many bytes the gradient of a propagator with respect to all its models takes, and where.

    Nothing is propagated or allocated: the gradient is compiled, and the compiler's plan of the device memory is read.

    Args:
        models_spacing_and_dt: As for the propagator: models, ``grid_spacing`` and ``dt``. A ``jax.ShapeDtypeStruct``
            may stand in place of a model (then give ``max_vel``).
        propagator: Name of the propagator: "scalar" (the default), "acoustic" or "elastic".
        arguments: As for the propagator.

    Returns:
        A :class:`MemoryEstimate`.

    Raises:
        TypeError, ValueError: As the propagator, if its name is unknown, and if ``storage_mode`` is "none".

    Example:
        >>> import jax, jax.numpy as jnp, jaxwave
        >>> model = jax.ShapeDtypeStruct((20, 24, 28), jnp.float32)
        >>> survey = dict(
        ...     source_amplitudes=jnp.ones((1, 1, 64), jnp.float32), source_locations=[[[2, 12, 14]]],
        ...     receiver_locations=[[[2, 3, 4]]], max_vel=2000.0, pml_freq=10.0, pml_width=4,
        ... )
        >>> raw = jaxwave.estimate_memory(model, 10.0, 1e-3, storage_mode="cpu", **survey)
        >>> small = jaxwave.estimate_memory(model, 10.0, 1e-3, storage_mode="cpu", storage_compression=True, **survey)
        >>> raw.host / small.host > 3.5
        True
    """
    if propagator not in EQUATIONS:
        raise ValueError(f"`propagator`={propagator!r} is unknown; use {', '.join(map(repr, EQUATIONS))}")
    physics = EQUATIONS[propagator]
    bound = inspect.signature(getattr(propagators, propagator)).bind(*models_spacing_and_dt, **arguments)
    bound.apply_defaults()
    given = propagators.by_name(bound.arguments)
    models = {name: given.pop(name) for name in physics.models}
    if not any(isinstance(x, jax.ShapeDtypeStruct) for x in models.values()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they come again below
            given["max_vel"] = describe(physics, **models, **given).info.max_vel
        models = {name: validate.real_array(name, x) for name, x in models.items()}
    seen = []

    def misfit(models):
        problem = describe(physics, **models, **given)
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), problem.arrays)
        seen.append((problem, jax.eval_shape(functools.partial(prepare, problem.setup), shapes)[-1]))
        return sum(jnp.sum(record**2) for record in propagators.run(problem).records.values())

    gradient = jax.jit(jax.grad(misfit), compiler_options=compiler_options() or None)
    shapes = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in models.items()}
    compiled = gradient.lower(shapes).compile()
    return _add_up(*seen[0], compiled.memory_analysis())


def _add_up(problem: Problem, x: Any, analysis: Any) -> MemoryEstimate:
    """The estimate for states like ``x``."""
    setup, plan = problem.setup, problem.plan
    n_entries = setup.nt * setup.step_ratio // plan.interval
    spec, raw = plan.entry_spec(x), dataclasses.replace(plan, storage=DeviceStorage()).entry_spec(x)
    n_terms = len(plan.equation.slots)
    history, uncompressed = (n_entries * n_terms * entry_bytes(s) for s in (spec, raw))
    device = analysis.temp_size_in_bytes + analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    storage, host, transfer, disk = plan.storage, 0, 0, 0
    if storage.streams:
        size = storage.chunk_size(n_entries, spec)
        n_chunks, chunk = math.ceil(n_entries / size), n_terms * size * entry_bytes(spec)
        transfer = min(COPIES_IN_TRANSFER, n_chunks) * chunk
        if isinstance(storage, HostStorage):
            host = history
        else:
            disk = history
            host = min(QUEUE_LENGTH + 1, n_chunks) * chunk  # one being filled, the others on their way
    return MemoryEstimate(device, host, transfer, disk, history, uncompressed)
