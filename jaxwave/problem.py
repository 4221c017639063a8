"""From the arguments of a call to a checked problem: everything static settled, every array looked at."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxwave import grid, validate
from jaxwave.boundary import Grid
from jaxwave.embedding import Setup, layer_shape
from jaxwave.chunks import Plan
from jaxwave.equations.scalar import ScalarEquation
from jaxwave.observe import Observer
from jaxwave.results import RunInfo, WaveState
from jaxwave.storage.base import Storage
from jaxwave.storage.codecs import as_codec
from jaxwave.storage.hdf5 import check_path
from jaxwave.storage.modes import as_storage
from jaxwave.storage.streamed import DiskStorage
from jaxwave.survey import Region, ignored, survey_region


class SubstepWarning(UserWarning):
    """The time step was divided, because it is above the stability limit."""


class PmlFrequencyWarning(UserWarning):
    """``pml_freq`` was not given and could not be found from the sources."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """A checked call: static setup, plan and info; and its arrays."""

    setup: Setup
    plan: Plan
    info: RunInfo
    arrays: dict[str, Any]


def describe(**arguments: Any) -> Problem:
    """Checks the arguments of :func:`jaxwave.scalar` and settles everything static about the call."""
    a = SimpleNamespace(**arguments)
    storage = _storage(a)
    arrays = _arrays(a)
    v, amplitudes, sources, receivers = (arrays[k] for k in ("v", "amplitudes", "sources", "receivers"))
    ndim, n_shots = _sizes(a, arrays)

    spacing, dt = validate.spacing(a.grid_spacing, ndim), validate.positive("dt", a.dt)
    widths = validate.per_face("pml_width", a.pml_width, ndim)
    nt = validate.steps(a.nt, amplitudes)
    max_vel = validate.speed(v, a.max_vel)
    inner_dt, step_ratio = grid.substeps(dt, max_vel, spacing)
    region = _region(a, v.shape[-ndim:], arrays, widths)
    validate.inside("source_locations", sources, region, ndim)
    validate.inside("receiver_locations", receivers, region, ndim)
    interval = validate.whole("model_gradient_sampling_interval", a.model_gradient_sampling_interval, 1)
    validate.divides(interval, nt * step_ratio)
    resampling = _resampling(a)
    observer = _observer(a, step_ratio, nt, dt)
    geometry = Grid(region.shape, spacing, validate.accuracy(a.accuracy), widths)
    arrays["fields"] = _checked_fields(arrays["fields"], geometry, n_shots, arrays["memory"] is not None)
    arrays["memory"] = _checked_memory(arrays["memory"], geometry, n_shots, v.dtype)
    pml_freq = _pml_freq(a.pml_freq, amplitudes, sources, dt)
    _tell_substeps(step_ratio, dt, max_vel, spacing)

    setup = Setup(geometry, region, n_shots, nt, dt, inner_dt, step_ratio, resampling)
    storage = storage.resolve(inner_dt * interval)
    plan = Plan(ScalarEquation(geometry), storage, interval, observer)
    info = RunInfo(step_ratio, inner_dt, max_vel, pml_freq, region, widths, storage)
    return Problem(setup, plan, info, arrays)


def _arrays(a: SimpleNamespace) -> dict[str, Any]:
    """The arrays of a call, each checked by itself and for what it needs of the others."""
    fields, memory = {"wavefield_0": a.wavefield_0, "wavefield_m1": a.wavefield_m1}, None
    if a.initial_state is not None:
        if any(f is not None for f in fields.values()):
            raise ValueError("`initial_state` and the initial wavefields exclude each other; give one of them")
        state = a.initial_state
        validate.state(state, WaveState._fields)
        fields = {"wavefield_0": state.wavefield_0, "wavefield_m1": state.wavefield_m1}
        memory = (state.psi, state.zeta)

    def given(check, name, x):
        return None if x is None else check(name, x)

    arrays = {
        "v": validate.real_array("v", a.v),
        "amplitudes": given(validate.real_array, "source_amplitudes", a.source_amplitudes),
        "sources": given(validate.locations, "source_locations", a.source_locations),
        "receivers": given(validate.locations, "receiver_locations", a.receiver_locations),
        "fields": {name: validate.real_array(name, f) for name, f in fields.items() if f is not None},
        "memory": memory,
    }
    validate.same_dtype(v=arrays["v"], source_amplitudes=arrays["amplitudes"], **arrays["fields"])
    validate.sources(arrays["amplitudes"], arrays["sources"])
    return arrays


def _sizes(a: SimpleNamespace, arrays: dict[str, Any]) -> tuple[int, int]:
    """The numbers of dimensions and of shots."""
    v, fields = arrays["v"], arrays["fields"]
    placed = [arrays[k] for k in ("sources", "receivers") if arrays[k] is not None]
    ndim = validate.dimensions(v, a.grid_spacing, placed, list(fields.values()))
    validate.field_ranks(ndim, **fields)
    n_shots = validate.shots(source_amplitudes=arrays["amplitudes"], receiver_locations=arrays["receivers"], **fields)
    if v.ndim == ndim + 1 and not placed and not fields:
        n_shots = v.shape[0]
    validate.model_shots(v, ndim, n_shots)
    return ndim, n_shots


def _resampling(a: SimpleNamespace) -> tuple[tuple[str, Any], ...]:
    return (
        ("freq_taper_frac", validate.fraction("freq_taper_frac", a.freq_taper_frac)),
        ("time_pad_frac", validate.fraction("time_pad_frac", a.time_pad_frac)),
        ("time_taper", validate.flag("time_taper", a.time_taper)),
    )


def _observer(a: SimpleNamespace, step_ratio: int, nt: int, dt: float) -> Observer | None:
    forward, backward = a.forward_callback, a.backward_callback
    every = validate.callbacks(a.callback_frequency, forward_callback=forward, backward_callback=backward)
    if forward is None and backward is None:
        return None
    return Observer(forward, backward, every, step_ratio, nt, dt)


def _storage(a: SimpleNamespace) -> Storage:
    codec = as_codec(a.storage_compression)
    storage = as_storage(a.storage_mode, validate.path("storage_path", a.storage_path), codec)
    if storage is a.storage_mode and a.storage_compression is not False:
        raise ValueError(
            "`storage_compression` is given together with a storage object, which has its own codec; write e.g. "
            "HostStorage(codec=Int8())"
        )
    for tier in (storage, getattr(storage, "checkpoints", None)):
        if isinstance(tier, DiskStorage):
            check_path(tier.path)
    return storage


def _region(a: SimpleNamespace, shape, arrays, widths) -> Region:
    ndim, fields = len(shape), list(arrays["fields"].values())
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
    values = [validate.concrete(arrays[k]) for k in ("sources", "receivers") if arrays[k] is not None]
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
    expected = [(n_shots, *layer_shape(geometry, slab)) for slab in geometry.slabs]
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
