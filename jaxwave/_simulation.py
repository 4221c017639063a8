"""Runs an equation: from the arguments of a call to its result."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from jaxwave._results import LastSources, Result, State
from jaxwave._setup import sharded, substeps, validate
from jaxwave._setup.call import Call, Callbacks, Grid, Receivers, Sources
from jaxwave._setup.decomposition import Decomposition, profiles_of_parts, propagate_parts
from jaxwave._setup.embedding import Arrays, last_samples, run_inputs, unpad_outputs
from jaxwave._setup.problem import Problem, make_problem
from jaxwave._timeloop.rules import propagate
from jaxwave.equations.base import Equation
from jaxwave.storage.auto import Auto
from jaxwave.storage.base import Storage


def simulate(
    equation: Equation,
    grid: Grid,
    dt: float,
    *,
    sources: Sources = None,
    receivers: Receivers = None,
    nt: int | None = None,
    wavefields: Mapping[str, ArrayLike] | None = None,
    state: State | None = None,
    max_vel: float | None = None,
    survey_pad: int | Sequence[int | None] | None = None,
    origin: Sequence[int] | None = None,
    gradient_interval: int = 1,
    storage: str | Storage | Auto = "device",
    callbacks: Callbacks = Callbacks(),
    decomposition: Decomposition | None = None,
) -> Result:
    """Propagates waves by any equation: those of the package, or one of your own (:doc:`extending`).

    Differentiable with respect to the equation's models, the amplitudes of the sources and the initial wavefields, in
    reverse and forward mode, and exact for the discrete scheme. An equation is a pytree whose leaves are its models:
    the gradient with respect to it is an equation of gradients, which an optimiser of optax can step.

    Axes run from the slowest to the fastest: (z, y, x). Locations are cell numbers of the whole model. Within a step
    the order is record, update, inject: sample 0 of a record is of the initial wavefield, and what is injected at
    sample t is first seen at sample t + 1.

    Args:
        equation: The equation with its models, such as ``jaxwave.Acoustic(v, rho)``.
        grid: Cell size, order of the differences, and faces: a :class:`jaxwave.Grid`.
        dt: Time step of sources and records (s). Above the stability limit each is divided into sub-steps.
        sources: For each kind of source its amplitudes [shot, source, nt] and locations [shot, source, axis]: integer
            cells, or a :class:`jaxwave.Hicks`. An equation with a single kind takes a pair.
        receivers: For each kind of receiver its locations, the same; an equation with a single kind takes locations.
        nt: Number of time steps; needed when there are no sources.
        wavefields: Initial wavefields by name [shot, *region], or with the cells of the layers. Default: at rest.
        state: State of an earlier run, in place of initial wavefields: continues it exactly.
        max_vel: Largest speed that the time step and the layers are made for. Default: that of the models; required
            where their values are not known, as under ``jit``.
        survey_pad: Uses only the part of the model within so many cells of all sources and receivers: one number, or
            one per face, where None means to the model's edge. Default: the whole model.
        origin: First cell of the region that the initial wavefields cover.
        gradient_interval: Steps of the loop from one contribution to the gradient to the next. 1 is exact; more stores
            less.
        storage: Where a gradient keeps its wavefields: a name ("device", "cpu", "disk", "recompute", "auto", "none") or
            an object of :mod:`jaxwave.storage`, such as ``jaxwave.storage.HostStorage(jaxwave.storage.Int8())``.
        callbacks: Functions that see the wavefields.
        decomposition: Divides the model among several devices (:doc:`scaling`). Default: one device has all of it.

    Returns:
        A :class:`jaxwave.Result` with the records by kind of receiver and the final state.

    Raises:
        TypeError, ValueError: If an argument is wrong; before anything runs.
        FloatingPointError: If the wavefield becomes non-finite (called eagerly; under ``jit`` see ``is_finite``).
        jaxwave.StorageError: If storage fails: a full disk, an altered file, ...
        jaxwave.BudgetError: Under "auto", if a model is differentiated and no policy fits.

    Example:
        >>> import jax, jax.numpy as jnp, jaxwave
        >>> acoustic = jaxwave.Acoustic(v=jnp.full((30, 40), 1500.0), rho=jnp.full((30, 40), 1000.0))
        >>> grid = jaxwave.Grid(5.0, boundary=jaxwave.Boundary(pml_width=10, pml_freq=25.0))
        >>> wavelet = jaxwave.wavelets.ricker(25.0, 100, 1e-3, 0.05).reshape(1, 1, -1)
        >>> def energy(acoustic):
        ...     out = jaxwave.simulate(
        ...         acoustic, grid, 1e-3, sources={"p": (wavelet, [[[2, 20]]])}, receivers={"p": [[[2, 10], [2, 30]]]},
        ...     )
        ...     return jnp.sum(out.records["p"] ** 2)
        >>> gradient = jax.grad(energy)(acoustic)
        >>> type(gradient).__name__, gradient.v.shape
        ('Acoustic', (30, 40))
    """
    call = Call(
        equation, grid, dt, sources, receivers, nt, wavefields, state, max_vel, survey_pad, origin, gradient_interval,
        storage, callbacks, decomposition=decomposition,
    )  # fmt: skip
    return run(make_problem(call))


def run(problem: Problem) -> Result:
    """Runs a checked call."""
    setup, info = problem.setup, problem.info
    run_it = sharded.with_automatic_axes(functools.partial(_outputs, problem), problem.arrays)
    records, wavefields, memory, is_finite = run_it(problem.arrays)
    if validate.surely_false(is_finite):
        raise FloatingPointError(
            f"the wavefield became non-finite within {setup.nt} steps of dt={setup.dt:g} s "
            f"({setup.step_ratio} sub-steps each, max_vel={info.max_vel:g}); check the source amplitudes and initial "
            "wavefields for values near the end of the floating-point range, and max_vel against the model"
        )
    # A compiled function returns mappings in alphabetical order.
    records = {kind: records[kind] for kind in setup.equation.receiver_kinds(setup.grid.ndim)}
    wavefields = {name: wavefields[name] for name in setup.equation.wavefield_offsets(setup.grid.ndim)}
    memory = {name: memory[name] for name in setup.equation.memory_names}
    return Result(records, State(wavefields, memory, _last_sources(problem)), is_finite, info)


def _outputs(problem: Problem, arrays: Arrays) -> tuple[Any, Any, Any, Any]:
    """Records, wavefields and memory variables by name, and whether the wavefields are finite."""
    with problem.names.in_storage():
        receivers, weights, data, x = _propagated(problem, arrays)
    records, *rest = unpad_outputs(problem.setup, receivers, weights, data, x)
    records |= {kind: hicks.receiver(records[kind]) for kind, hicks in problem.between.items()}
    return records, *rest


def _propagated(problem: Problem, arrays: Arrays) -> tuple[Any, Any, Any, Any]:
    """Cells of the receivers, weights of the records, records and final state on the padded grid."""
    setup, info = problem.setup, problem.info
    if problem.decomposition is None:
        inputs, weights = run_inputs(setup, arrays, info.max_vel, info.pml_freq)
        return inputs.operands.receivers, weights, *propagate(inputs, problem.plan)
    dtype = np.dtype(next(iter(arrays.models.values())).dtype)
    layers = profiles_of_parts(
        problem.decomposition, setup.equation, setup.inner_dt, info.max_vel, info.pml_freq, dtype
    )
    return propagate_parts(problem.decomposition, setup, problem.plan, arrays, layers)


def _last_sources(problem: Problem) -> LastSources | None:
    """The last samples of the sources, which a run with sub-steps leaves to the run that goes on."""
    setup, arrays = problem.setup, problem.arrays
    if setup.step_ratio == 1:
        return None
    samples = last_samples(setup, arrays.amplitudes, arrays.before)
    return LastSources(samples, setup.step_ratio, min((setup.n_before or 0) + setup.nt, substeps.REACH))
