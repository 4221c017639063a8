"""The functions that users call, one for each equation."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import warnings
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxwave import boundary, grid, validate
from jaxwave.boundary import Grid
from jaxwave.engine import Plan, RunInputs
from jaxwave.equations.scalar import ScalarEquation, ScalarState
from jaxwave.observe import CallbackState, Observer
from jaxwave.resample import downsample, upsample
from jaxwave.results import RunInfo, ScalarResult, WaveState
from jaxwave.rules import propagate
from jaxwave.storage.base import DiskStorage, Storage, as_storage
from jaxwave.storage.codecs import Codec, as_codec
from jaxwave.storage.hdf5 import check_path
from jaxwave.survey import Region, ignored, place, survey_region


class SubstepWarning(UserWarning):
    """The time step was divided, because it is above the stability limit."""


class PmlFrequencyWarning(UserWarning):
    """``pml_freq`` was not given and could not be found from the sources."""


@dataclasses.dataclass(frozen=True)
class Setup:
    """What is static about a call, before the storage policy. Hashable."""

    grid: Grid
    region: Region
    n_shots: int
    nt: int
    dt: float
    inner_dt: float
    step_ratio: int
    resampling: tuple[tuple[str, Any], ...]


@dataclasses.dataclass(frozen=True)
class Problem:
    """A checked call: static setup, plan and info; and its arrays."""

    setup: Setup
    plan: Plan
    info: RunInfo
    arrays: dict[str, Any]


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
        storage_compression: False, True or "int8", "bf16", "f16", or a codec from :mod:`jaxwave.storage`.

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
    return run(describe(**locals()))


def with_defaults(*args: Any, **arguments: Any) -> dict[str, Any]:
    """The arguments of :func:`scalar` by name, with the defaults of those left out."""
    bound = inspect.signature(scalar).bind(*args, **arguments)
    bound.apply_defaults()
    return bound.arguments


def describe(**arguments: Any) -> Problem:
    """Checks the arguments of :func:`scalar` and settles everything static about the call."""
    a = SimpleNamespace(**arguments)
    storage = _storage(a)
    fields = {"wavefield_0": a.wavefield_0, "wavefield_m1": a.wavefield_m1}
    if a.initial_state is not None:
        if any(f is not None for f in fields.values()):
            raise ValueError("`initial_state` and the initial wavefields exclude each other; give one of them")
        validate.state(a.initial_state, WaveState._fields)
        fields = {"wavefield_0": a.initial_state.wavefield_0, "wavefield_m1": a.initial_state.wavefield_m1}
    fields = {name: None if f is None else validate.real_array(name, f) for name, f in fields.items()}
    given_fields = [f for f in fields.values() if f is not None]

    v = validate.real_array("v", a.v)
    amplitudes = None if a.source_amplitudes is None else validate.real_array("source_amplitudes", a.source_amplitudes)
    sources = None if a.source_locations is None else validate.locations("source_locations", a.source_locations)
    receivers = None if a.receiver_locations is None else validate.locations("receiver_locations", a.receiver_locations)
    validate.same_dtype(v=v, source_amplitudes=amplitudes, **fields)
    validate.sources(amplitudes, sources)
    placed = [x for x in (sources, receivers) if x is not None]
    ndim = validate.dimensions(v, a.grid_spacing, placed, given_fields)
    validate.field_ranks(ndim, **fields)
    n_shots = validate.shots(source_amplitudes=amplitudes, receiver_locations=receivers, **fields)
    if v.ndim == ndim + 1 and not placed and not given_fields:
        n_shots = v.shape[0]
    validate.model_shots(v, ndim, n_shots)

    spacing, dt = validate.spacing(a.grid_spacing, ndim), validate.positive("dt", a.dt)
    widths = validate.per_face("pml_width", a.pml_width, ndim)
    nt = validate.steps(a.nt, amplitudes)
    max_vel = validate.speed(v, a.max_vel)
    inner_dt, step_ratio = grid.substeps(dt, max_vel, spacing)
    region = _region(a, v.shape[-ndim:], placed, given_fields, widths)
    validate.inside("source_locations", sources, region, ndim)
    validate.inside("receiver_locations", receivers, region, ndim)
    interval = validate.whole("model_gradient_sampling_interval", a.model_gradient_sampling_interval, 1)
    validate.divides(interval, nt * step_ratio)
    resampling = (
        ("freq_taper_frac", validate.fraction("freq_taper_frac", a.freq_taper_frac)),
        ("time_pad_frac", validate.fraction("time_pad_frac", a.time_pad_frac)),
        ("time_taper", validate.flag("time_taper", a.time_taper)),
    )
    every = validate.callbacks(
        a.callback_frequency, forward_callback=a.forward_callback, backward_callback=a.backward_callback
    )
    pml_freq = _pml_freq(a.pml_freq, amplitudes, sources, dt)
    _tell_substeps(step_ratio, dt, max_vel, spacing)

    geometry = Grid(region.shape, spacing, validate.accuracy(a.accuracy), widths)
    setup = Setup(geometry, region, n_shots, nt, dt, inner_dt, step_ratio, resampling)
    observer = None
    if a.forward_callback or a.backward_callback:
        observer = Observer(a.forward_callback, a.backward_callback, every, step_ratio, nt, dt)
    plan = Plan(ScalarEquation(geometry), storage, interval, observer)
    info = RunInfo(step_ratio, inner_dt, max_vel, pml_freq, region, widths, storage)
    memory = (a.initial_state.psi, a.initial_state.zeta) if a.initial_state is not None else None
    arrays = dict(
        v=v, amplitudes=amplitudes, sources=sources, receivers=receivers,
        fields=_checked_fields(fields, geometry, n_shots, memory is not None),
        memory=_checked_memory(memory, geometry, n_shots, v.dtype),
    )  # fmt: skip
    return Problem(setup, plan, info, arrays)


def run(problem: Problem) -> ScalarResult:
    """Runs a checked call."""
    setup, info = problem.setup, problem.info
    m, operands, weights, amplitudes, x = _prepare(setup, problem.arrays)
    profiles = _profiles(setup.grid, setup.inner_dt, info.max_vel, info.pml_freq, np.dtype(m[0].dtype))
    inputs = RunInputs(m, {**operands, "profiles": profiles}, [], amplitudes, x)
    data, x = propagate(inputs, problem.plan)
    records, state, is_finite = _finish(setup, weights, data, x)
    if validate.surely_false(is_finite):
        raise FloatingPointError(
            f"the wavefield became non-finite within {setup.nt} steps of dt={setup.dt:g} s "
            f"({setup.step_ratio} sub-steps each, max_vel={info.max_vel:g}); check the source amplitudes and initial "
            "wavefields for values near the end of the floating-point range, and max_vel against the model"
        )
    return ScalarResult(*state, is_finite, info, records)


# ---- settling what is static ----


def _storage(a: SimpleNamespace) -> Storage:
    codec = as_codec(a.storage_compression)
    storage = as_storage(a.storage_mode, validate.path("storage_path", a.storage_path), codec)
    if storage is a.storage_mode and a.storage_compression is not False:
        raise ValueError(
            "`storage_compression` is given together with a storage object, which has its own codec; write e.g. "
            "HostStorage(codec=Int8())"
        )
    if isinstance(storage, DiskStorage):
        check_path(storage.path)
    return storage


def _region(a: SimpleNamespace, shape, placed, fields, widths) -> Region:
    ndim = len(shape)
    validate.region_choice(a.survey_pad, a.origin, ndim, bool(fields))
    if a.origin is not None:
        start = tuple(validate.whole("origin", o, 0) for o in a.origin)
        extent = tuple(n - lo - hi for n, lo, hi in zip(fields[0].shape[1:], widths[::2], widths[1::2], strict=True))
        region = Region(start, tuple(s + n for s, n in zip(start, extent, strict=True)))
        if min(extent) < 1 or any(stop > n for stop, n in zip(region.stop, shape, strict=True)):
            raise ValueError(
                f"`origin`={list(start)} and initial wavefields of shape {fields[0].shape[1:]} (layers of "
                f"{list(widths)} cells included) cover cells to {list(region.stop)} of a model of {list(shape)}"
            )
        return region
    if a.survey_pad is None:
        return Region((0,) * ndim, tuple(shape))
    pads = validate.per_face("survey_pad", a.survey_pad, ndim, optional=True)
    values = [validate.concrete(x) for x in placed]
    if any(x is None for x in values):
        raise ValueError(
            "`survey_pad` needs locations whose values are known, but they are traced; close over them instead of "
            "passing them through jit, or leave survey_pad out"
        )
    return survey_region(shape, values, pads)


def _pml_freq(pml_freq, amplitudes, places, dt: float) -> float:
    if pml_freq is not None:
        return validate.positive("pml_freq", pml_freq)
    fallback = 0.1 / dt
    if amplitudes is None:
        return fallback
    values, where = validate.concrete(amplitudes), validate.concrete(places)
    if values is None or where is None:
        warnings.warn(
            f"`pml_freq` is not given, and the sources that it would be found from are traced; using {fallback:g} Hz "
            "(a fifth of the Nyquist frequency). Pass pml_freq, e.g. the wavelet's peak frequency",
            PmlFrequencyWarning, stacklevel=4,
        )  # fmt: skip
        return fallback
    used = np.where(ignored(where)[..., None], 0, values)
    return grid.peak_frequency(used, dt, default=fallback)


def _tell_substeps(step_ratio: int, dt: float, max_vel: float, spacing: Sequence[float]) -> None:
    if step_ratio > 1:
        warnings.warn(
            f"dt={dt:g} s exceeds the stable limit {grid.cfl_time_step(max_vel, spacing):g} s for max_vel={max_vel:g} "
            f"and grid_spacing={list(spacing)}; each time step is divided into {step_ratio}, and sources and records "
            "are resampled. Nothing needs to be done unless speed matters: use a smaller dt or a coarser grid then",
            SubstepWarning, stacklevel=4,
        )  # fmt: skip


def _checked_fields(fields, geometry: Grid, n_shots: int, of_state: bool):
    """Initial wavefields on the region with its layers."""
    whose = "`initial_state` belongs to another grid or other layers: its " if of_state else ""
    padded = {}
    for name, field in fields.items():
        if field is None:
            continue
        if field.shape == (n_shots, *geometry.shape):
            field = jnp.pad(field, [(0, 0), *geometry.faces])
        elif field.shape != (n_shots, *geometry.interior):
            raise ValueError(
                f"{whose}`{name}` must have shape {(n_shots, *geometry.shape)} (shots and region), or "
                f"{(n_shots, *geometry.interior)} with the absorbing layers; got {field.shape}"
            )
        padded[name] = field
    return padded


def _checked_memory(memory, geometry: Grid, n_shots: int, dtype):
    if memory is None:
        return None
    expected = [(n_shots, *_layer_shape(geometry, slab)) for slab in geometry.slabs]
    for part in memory:
        got = [x.shape for x in part]
        if got != expected:
            raise ValueError(
                f"`initial_state` belongs to another grid or other layers: its memory variables have shapes {got}, "
                f"this run needs {expected}"
            )
        for x in part:
            validate.same_dtype(v=jax.ShapeDtypeStruct((), dtype), **{"a memory variable of initial_state": x})
    return memory


@functools.lru_cache(maxsize=8)
def _profiles(geometry: Grid, dt: float, max_vel: float, pml_freq: float, dtype):
    return boundary.pml_profiles(geometry, dt, max_vel, pml_freq, dtype)


# ---- between the user's arrays and the padded grid: plain JAX, differentiated by JAX ----


@functools.partial(jax.jit, static_argnums=0)
def _prepare(setup: Setup, arrays: dict[str, Any]):
    """Coefficients, constants, injected amplitudes [nt, shot, source] and first state of the loop."""
    geometry, v = setup.grid, arrays["v"]
    c = _coefficient(setup, v)
    none = jnp.zeros((setup.n_shots, 0, geometry.ndim), jnp.int32)
    sources, receivers = (
        place(none if arrays[name] is None else jnp.asarray(arrays[name]), setup.region, geometry, v.dtype)
        for name in ("sources", "receivers")
    )
    if arrays["amplitudes"] is None:
        amplitudes = jnp.zeros((setup.nt * setup.step_ratio, setup.n_shots, 0), v.dtype)
    else:
        f = upsample(arrays["amplitudes"], setup.step_ratio, **dict(setup.resampling))
        shot = np.arange(setup.n_shots)[:, None] if c.shape[0] > 1 else np.zeros((setup.n_shots, 1), int)
        scale = -c[(shot, *sources.cells)] * sources.weight
        amplitudes = jnp.moveaxis(scale[:, :, None] * f, 2, 0)
    operands = {"sources": sources.cells, "receivers": receivers.cells}
    return (c,), operands, receivers.weight, amplitudes, _first_state(setup, arrays)


def _coefficient(setup: Setup, v: jax.Array) -> jax.Array:
    """c = v^2 dt^2 on the padded grid [1 or shot, ...]: replicated into the layers, zero in the halo."""
    geometry = setup.grid
    if v.ndim == geometry.ndim:
        v = v[None]
    cut = tuple(slice(a, b) for a, b in zip(setup.region.start, setup.region.stop, strict=True))
    v = jnp.pad(v[(slice(None), *cut)], [(0, 0), *geometry.faces], mode="edge")
    return _to_padded(geometry, (v * setup.inner_dt) ** 2)


def _first_state(setup: Setup, arrays: dict[str, Any]) -> ScalarState:
    geometry = setup.grid
    x = ScalarEquation(geometry).zero_state(setup.n_shots, arrays["v"].dtype)
    fields, memory = arrays["fields"], arrays["memory"]
    if "wavefield_0" in fields:
        x = x._replace(u=_to_padded(geometry, fields["wavefield_0"]))
    if "wavefield_m1" in fields:
        x = x._replace(u_previous=_to_padded(geometry, fields["wavefield_m1"]))
    if memory is not None:
        psi, zeta = memory
        slabs = geometry.slabs
        x = x._replace(
            psi=tuple(_layer_to_slab(geometry, s, q, s.extent) for s, q in zip(slabs, psi, strict=True)),
            zeta=tuple(_layer_to_slab(geometry, s, q, s.reach) for s, q in zip(slabs, zeta, strict=True)),
        )
    return x


@functools.partial(jax.jit, static_argnums=0)
def _finish(setup: Setup, weights: jax.Array, data: jax.Array, x: ScalarState):
    """Records [shot, receiver, nt], the user's view of the final state, and whether it is finite."""
    geometry = setup.grid
    records = downsample(jnp.moveaxis(data, 0, 2), setup.step_ratio, **dict(setup.resampling))
    state = WaveState(
        _from_padded(geometry, x.u),
        _from_padded(geometry, x.u_previous),
        tuple(_slab_to_layer(geometry, s, q, s.extent) for s, q in zip(geometry.slabs, x.psi, strict=True)),
        tuple(_slab_to_layer(geometry, s, q, s.reach) for s, q in zip(geometry.slabs, x.zeta, strict=True)),
    )
    is_finite = jnp.isfinite(x.u).all() & jnp.isfinite(x.u_previous).all()
    return records * weights[:, :, None], state, is_finite


def _margins(geometry: Grid) -> list[tuple[int, int]]:
    """Cells of the padded grid before and after the interior, per axis."""
    r = geometry.halo
    return [(r, total - n - r) for total, n in zip(geometry.padded, geometry.interior, strict=True)]


def _to_padded(geometry: Grid, x: jax.Array) -> jax.Array:
    return jnp.pad(x, [(0, 0), *_margins(geometry)])


def _from_padded(geometry: Grid, x: jax.Array) -> jax.Array:
    r = geometry.halo
    return x[(slice(None), *(slice(r, r + n) for n in geometry.interior))]


def _layer_shape(geometry: Grid, slab) -> tuple[int, ...]:
    return tuple(slab.layer.size if axis == slab.axis else n for axis, n in enumerate(geometry.interior))


def _layer_margins(geometry: Grid, slab, cells) -> list[tuple[int, int]]:
    margins = _margins(geometry)
    margins[slab.axis] = (slab.layer.start - cells.start, cells.stop - slab.layer.stop)
    return margins


def _layer_to_slab(geometry: Grid, slab, x: jax.Array, cells) -> jax.Array:
    """Memory variables of a layer, as users see them, into the slab that holds them."""
    return jnp.pad(x, [(0, 0), *_layer_margins(geometry, slab, cells)])


def _slab_to_layer(geometry: Grid, slab, x: jax.Array, cells) -> jax.Array:
    margins = _layer_margins(geometry, slab, cells)
    sizes = _layer_shape(geometry, slab)
    return x[(slice(None), *(slice(lo, lo + n) for (lo, _), n in zip(margins, sizes, strict=True)))]
