"""How many bytes a gradient takes, and where, before it is run; and which storage policy fits."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxwave._autotune.planning import StoragePlan, device_bytes
from jaxwave._propagators import call_of
from jaxwave._setup import validate
from jaxwave._setup.call import Call
from jaxwave._setup.decomposition import setup_of_part
from jaxwave._setup.embedding import Arrays, first_state, pad_inputs
from jaxwave._setup.problem import Problem, known_max_vel, make_problem
from jaxwave._simulation import run, simulate
from jaxwave._timeloop.dispatch import compiler_options
from jaxwave.equations.base import Equation
from jaxwave.storage.auto import Auto
from jaxwave.storage.base import DeviceStorage


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that one gradient takes. Histories that are kept for later use, or by other threads, come on top.

    Attributes:
        device: Memory of the device: the loops' state and work space, and the history if it is stored there.
        host: Host RAM of the storage: the history ("cpu"), or the buffers on the way to the file ("disk").
        transfer: Host RAM that chunks take on their way between the two.
        disk: The file.
        history: The stored history, wherever it is.
        uncompressed: The terms of all stored steps, without a codec.
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
    With a ``decomposition`` it says what each device takes.

    Args:
        models_spacing_and_dt: As for the propagator: models, ``grid_spacing`` and ``dt``; or, with all other arguments,
            as for :func:`jaxwave.simulate`: equation, grid and dt. A ``jax.ShapeDtypeStruct``
            may stand in place of a model (then give ``max_vel``).
        propagator: Name of the propagator: "scalar" (the default), "acoustic" or "elastic".
        arguments: As for the propagator.

    Returns:
        A :class:`MemoryEstimate`.

    Raises:
        TypeError, ValueError: As the propagator, if its name is unknown, and if ``storage_mode`` is "none".

    Example:
        >>> import jax, jax.numpy as jnp, jaxwave
        >>> model = jax.ShapeDtypeStruct((200, 240), jnp.float32)
        >>> survey = dict(
        ...     source_amplitudes=jnp.ones((1, 1, 64), jnp.float32), source_locations=[[[2, 120]]],
        ...     receiver_locations=[[[2, 30]]], max_vel=2000.0, pml_freq=10.0, pml_width=4,
        ... )
        >>> raw = jaxwave.estimate_memory(model, 10.0, 1e-3, storage_mode="cpu", **survey)
        >>> small = jaxwave.estimate_memory(model, 10.0, 1e-3, storage_mode="cpu", storage_compression=True, **survey)
        >>> raw.host / small.host > 3.5
        True
    """
    call, seen = _call(models_spacing_and_dt, propagator, arguments), []
    models = dict(call.models)
    if not any(isinstance(x, jax.ShapeDtypeStruct) for x in models.values()):
        call = dataclasses.replace(call, max_vel=known_max_vel(call))
        models = {name: validate.real_array(name, x) for name, x in models.items()}

    def misfit(models: dict[str, jax.Array]) -> jax.Array:
        problem = make_problem(call.with_models(models))
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), problem.arrays)
        seen.append((problem, jax.eval_shape(functools.partial(_state, problem), shapes)))
        return jnp.stack([jnp.sum(record**2) for record in run(problem).records.values()]).sum()

    gradient = jax.jit(jax.grad(misfit), compiler_options=compiler_options() or None)
    shapes = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in models.items()}
    compiled = gradient.lower(shapes).compile()
    return _add_up(*seen[0], device_bytes(compiled))


def _state(problem: Problem, arrays: Arrays) -> Any:
    """A state of the run; of a part, where the model is divided."""
    if problem.decomposition is None:
        return pad_inputs(problem.setup, arrays)[-1]
    local = setup_of_part(problem.decomposition, problem.setup)
    return first_state(local, None, next(iter(arrays.models.values())).dtype)


def _add_up(problem: Problem, x: Any, device: int) -> MemoryEstimate:
    """The estimate for states like ``x`` and a program that takes ``device`` bytes."""
    setup, plan = problem.setup, problem.plan
    if problem.decomposition is not None:
        plan = dataclasses.replace(plan, equation=problem.decomposition.part_of(plan.equation))
    n_steps = setup.n_steps
    plan = plan.settled(n_steps, x)
    kept = plan.footprint(n_steps, x)
    uncompressed = dataclasses.replace(plan, storage=DeviceStorage()).footprint(n_steps, x).history
    return MemoryEstimate(device, kept.host, kept.transfer, kept.disk, kept.history, uncompressed)


def plan(
    *models_spacing_and_dt: Any, propagator: str = "scalar", storage_mode: Auto = Auto(), **arguments: Any
) -> StoragePlan:
    """Says what a gradient takes under each storage policy, and which one ``storage_mode="auto"`` chooses.

    The problem itself is not run: every policy is compiled for a few steps and, if it fits, timed on wavefields of
    zeros, some seconds each, once for each kind of problem and process. What is over the budget is never run.

    Args:
        models_spacing_and_dt, propagator, arguments: As for :func:`estimate_memory`.
        storage_mode: The request, with the budget: ``jaxwave.storage.Auto(device=2**30)``.

    Returns:
        A :class:`StoragePlan`. ``print`` shows it as a table; its ``chosen`` is None if nothing fits.

    Raises:
        TypeError, ValueError: As the propagator, and if its name is unknown.

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> report = jaxwave.plan(
        ...     jnp.full(2000, 1500.0), 5.0, 1e-3,
        ...     source_amplitudes=jnp.ones((1, 1, 200)), source_locations=[[[30]]], receiver_locations=[[[10], [50]]],
        ...     pml_freq=25.0, storage_mode=jaxwave.storage.Auto(device=2**20, host=0, disk=0),
        ... )
        >>> next(option.refused for option in report.options if option.name == "device")
        'over the device budget'
        >>> report.chosen.device <= 2**20
        True
    """
    name = "storage" if "storage" in arguments else "storage_mode"
    auto = arguments.pop("storage", storage_mode)
    if not isinstance(auto, Auto):
        raise TypeError(f"`{name}` of a plan must be a jaxwave.storage.Auto; got {auto!r}")
    call = _call(models_spacing_and_dt, propagator, {**arguments, name: auto})
    seen: list[Any] = []
    shapes = {name: x for name, x in call.models.items() if isinstance(x, jax.ShapeDtypeStruct)}

    def checked(given: dict[str, jax.Array]) -> None:
        seen.append(make_problem(call.with_models(given)).plan.storage)

    jax.eval_shape(checked, shapes)
    report: StoragePlan = seen[0].report()
    return report


def _call(positional: tuple[Any, ...], propagator: str, arguments: Mapping[str, Any]) -> Call:
    """The call that the arguments of a propagator, or of :func:`jaxwave.simulate`, describe."""
    if positional and isinstance(positional[0], Equation):
        names = {"storage_mode": "storage"}
        arguments = {names.get(name, name): x for name, x in arguments.items()}
        validate.arguments("simulate", arguments, inspect.signature(simulate).parameters)
        return Call(*positional, **arguments)
    return call_of(propagator, *positional, **arguments)
