"""The functions that users call, one for each equation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from jaxwave import validate
from jaxwave.embedding import finish, prepare, profiles
from jaxwave.engine import RunInputs
from jaxwave.equations.scalar import ScalarEquation
from jaxwave.observe import CallbackState
from jaxwave.problem import Problem, describe
from jaxwave.results import RunInfo, ScalarResult, WaveState
from jaxwave.rules import propagate
from jaxwave.storage.base import Storage
from jaxwave.storage.codecs import Codec


def scalar(
    v: ArrayLike,
    grid_spacing: float | Sequence[float],
    dt: float,
    *,
    source_amplitudes: ArrayLike | None = None,
    source_locations: ArrayLike | None = None,
    receiver_locations: ArrayLike | None = None,
    nt: int | None = None,
    accuracy: int = 4,
    pml_width: int | Sequence[int] = 20,
    pml_freq: float | None = None,
    max_vel: float | None = None,
    survey_pad: int | Sequence[int | None] | None = None,
    origin: Sequence[int] | None = None,
    wavefield_0: ArrayLike | None = None,
    wavefield_m1: ArrayLike | None = None,
    initial_state: WaveState | None = None,
    model_gradient_sampling_interval: int = 1,
    freq_taper_frac: float = 0.0,
    time_pad_frac: float = 0.0,
    time_taper: bool = False,
    forward_callback: Callable[[CallbackState], Any] | None = None,
    backward_callback: Callable[[CallbackState], Any] | None = None,
    callback_frequency: int = 1,
    storage_mode: str | Storage = "device",
    storage_path: str = ".",
    storage_compression: bool | str | Codec = False,
) -> ScalarResult:
    """Propagates waves by the scalar wave equation, laplacian(u) - u_tt / v^2 = f.

    Finite differences of order ``accuracy`` in space and 2 in time, with convolutional perfectly matched layers around
    the model (:mod:`jaxwave.equations.scalar` has the scheme). Differentiable with respect to ``v``,
    ``source_amplitudes`` and the initial wavefields, in reverse and forward mode; exact for the discrete scheme.

    Axes run from the slowest to the fastest: (z, y, x). Locations are cell numbers of the whole model. Within a step
    the order is record, update, inject: sample 0 of a record is the initial wavefield, and what is injected at sample t
    is first seen at sample t + 1.

    Args:
        v: Wave speed [*cells], or one model per shot [shot, *cells], in 1, 2 or 3 dimensions. Float32 or float64.
        grid_spacing: Cell size (metres), one number or one per axis.
        dt: Time step of sources and records (seconds). Above the stability limit each is divided into sub-steps.
        source_amplitudes: Source time functions f [shot, source, nt].
        source_locations: Integer cells [shot, source, axis]. Sources at the same place add up.
        receiver_locations: Integer cells [shot, receiver, axis].
        nt: Number of time steps; needed when there are no sources.
        accuracy: Order of the spatial differences: 2, 4, 6 or 8. Default 4.
        pml_width: Cells of absorbing layer at each face: one number, or first and last of each axis. 0 makes a face
            reflect (u = 0 beyond it). Default 20.
        pml_freq: Frequency (Hz) that the layers absorb best. Default: the peak of the sources' spectrum.
        max_vel: Largest speed that the time step and the layers are made for. Default: the largest in ``v``; required
            where the values of ``v`` are not known, as under ``jit``.
        survey_pad: Uses only the part of the model within so many cells of all sources and receivers: one number, or
            one per face, where None means to the model's edge. Default: the whole model.
        origin: First cell of the region that the initial wavefields cover (they then include its layers).
        wavefield_0: Initial wavefield [shot, *region], or with the cells of the layers. Default 0.
        wavefield_m1: The same one step of the loop earlier.
        initial_state: State of an earlier run, in place of the two wavefields: continues it exactly.
        model_gradient_sampling_interval: Steps of the loop from one contribution to the model gradient to the next. 1
            (the default) is exact; more stores less. It must divide the number of steps.
        freq_taper_frac: Fraction of the spectrum that is tapered when sources and records are resampled. Default 0.
        time_pad_frac: Fraction of their length that they are padded by. Default 0.
        time_taper: Whether to taper their ends. Default False.
        forward_callback: Called with a :class:`jaxwave.CallbackState` every ``callback_frequency`` time steps, before
            the step's update.
        backward_callback: The same in the adjoint loop, with the adjoint wavefields.
        callback_frequency: Time steps from one call to the next. Default 1.
        storage_mode: Where a model gradient keeps its wavefields: "device", "cpu" (host RAM), "disk" (an HDF5 file),
            "none" (nowhere: no model gradient), or a storage object from :mod:`jaxwave.storage`. A run that is not
            differentiated with respect to ``v`` stores nothing.
        storage_path: Directory for "disk". Default: the working directory.
        storage_compression: False, True or "int8", "int4", "int16", "bf16", "f16", or a codec from
            :mod:`jaxwave.storage`.

    Returns:
        A :class:`ScalarResult`; its last element is ``receiver_amplitudes`` [shot, receiver, nt].

    Raises:
        TypeError, ValueError: If an argument is wrong; before anything runs.
        FloatingPointError: If the wavefield becomes non-finite (called eagerly; under ``jit`` see ``is_finite``).
        jaxwave.StorageError: If storage fails: a full disk, an altered file, ...

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> out = jaxwave.scalar(
        ...     jnp.full((30, 40), 1500.0), 5.0, 1e-3,
        ...     source_amplitudes=jaxwave.wavelets.ricker(25.0, 100, 1e-3, 0.05).reshape(1, 1, -1),
        ...     source_locations=[[[2, 20]]], receiver_locations=[[[2, 10], [2, 30]]],
        ... )
        >>> out.receiver_amplitudes.shape
        (1, 2, 100)
    """
    out = run(describe(ScalarEquation, **locals()))
    return ScalarResult(*out.wavefields.values(), *out.memory.values(), out.is_finite, out.info, out.records[""])


class Outcome(NamedTuple):
    """What any run returns: wavefields and memory variables by name, records by kind of receiver."""

    wavefields: dict[str, jax.Array]
    memory: dict[str, tuple[jax.Array, ...]]
    is_finite: jax.Array
    info: RunInfo
    records: dict[str, jax.Array]


def run(problem: Problem) -> Outcome:
    """Runs a checked call."""
    setup, info = problem.setup, problem.info
    m, operands, weights, amplitudes, x = prepare(setup, problem.arrays)
    layers = profiles(setup.equation, setup.inner_dt, info.max_vel, info.pml_freq, np.dtype(m[0].dtype))
    inputs = RunInputs(m, {**operands, "profiles": layers}, [], amplitudes, x)
    data, x = propagate(inputs, problem.plan)
    records, wavefields, memory, is_finite = finish(setup, operands, weights, data, x)
    if validate.surely_false(is_finite):
        raise FloatingPointError(
            f"the wavefield became non-finite within {setup.nt} steps of dt={setup.dt:g} s "
            f"({setup.step_ratio} sub-steps each, max_vel={info.max_vel:g}); check the source amplitudes and initial "
            "wavefields for values near the end of the floating-point range, and max_vel against the model"
        )
    return Outcome(wavefields, memory, is_finite, info, records)
