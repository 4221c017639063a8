"""From the arguments of a call to a checked problem: everything static settled, every array looked at."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxwave import grid
from jaxwave._autotune import planning
from jaxwave._interpolation import Hicks
from jaxwave._notices import PmlFrequencyWarning, SpeedWarning, SubstepWarning, warn
from jaxwave._numerics.boundary import PaddedGrid
from jaxwave._results import RunInfo, State
from jaxwave._setup import decomposition, sanity, substeps, validate
from jaxwave._setup.call import Boundary, Call, Callbacks, Grid
from jaxwave._setup.decomposition import Decomposition
from jaxwave._setup.embedding import Arrays, Setup
from jaxwave._setup.names import Names
from jaxwave._setup.survey import Points, Region, ignored, place, survey_region
from jaxwave._timeloop.chunks import Plan
from jaxwave._timeloop.observe import Observer
from jaxwave.equations.base import Equation
from jaxwave.storage.auto import Auto
from jaxwave.storage.base import DeviceStorage, Storage
from jaxwave.storage.codecs import Raw
from jaxwave.storage.hdf5 import check_path
from jaxwave.storage.modes import as_storage
from jaxwave.storage.streamed import DiskStorage


@dataclasses.dataclass(frozen=True)
class Problem:
    """A checked call: static setup, plan, info and arrays; receivers between the cells, by kind; names for messages."""

    setup: Setup
    plan: Plan
    info: RunInfo
    arrays: Arrays
    between: Mapping[str, Hicks]
    names: Names
    decomposition: Decomposition | None = None


def make_problem(call: Call) -> Problem:
    """Checks the arguments of a call and settles everything static about it."""
    validate.instance("equation", call.equation, Equation, "jaxwave.Scalar(v)")
    validate.instance("grid", call.grid, Grid, "jaxwave.Grid(5.0)")
    validate.instance("grid.boundary", call.grid.boundary, Boundary, "jaxwave.Boundary('free')")
    validate.instance("callbacks", call.callbacks, Callbacks, "jaxwave.Callbacks(forward=print)")
    physics, names = call.equation.on(None), call.names
    with names.in_storage():
        storage = as_storage(call.storage, ".", Raw())
        _check_paths(storage)
    receivers = _by_kind(call.receivers)
    ndim, arrays = _arrays(physics, call, receivers)
    n_shots = _shots(ndim, arrays, names)
    nt, dt = validate.steps(call.nt, arrays.amplitudes, names.all_amplitudes), validate.positive("dt", call.dt)
    geometry, kinds, region = _geometry(physics, call, ndim, arrays)
    spacing, widths = geometry.spacing, geometry.pml_width
    max_vel, needed = validate.speed(
        arrays.models, physics.models, call.max_vel,
        lambda x, enough: _largest_speed(physics, x, spacing, geometry.accuracy, kinds, region, enough),
    )  # fmt: skip
    inner_dt, step_ratio = grid.substeps(dt, max_vel, spacing)
    for named, places in ((names.sources, arrays.sources), (names.receivers, arrays.receivers)):
        for kind, x in places.items():
            validate.inside(named(kind), x, region, ndim)
    sanity.models(physics, arrays.models, ndim)
    sanity.places(physics, ndim, arrays, region, kinds, names)
    interval = validate.whole(names.interval, call.gradient_interval, 1)
    equation = physics.on(geometry)
    n_before, before = _before(call.state, step_ratio, arrays.amplitudes, names)
    pml_freq = _pml_freq(
        call.grid.boundary.pml_freq, arrays.amplitudes, arrays.sources, dt, any(widths), names.pml_freq
    )
    _tell_substeps(step_ratio, dt, max_vel, spacing, names.spacing)
    sanity.units(step_ratio, dt, max_vel, spacing)
    sanity.dispersion(physics, arrays, dt, spacing, geometry.accuracy, names)
    if needed is not None:
        _tell_speed(physics, arrays.models, max_vel, needed, inner_dt, spacing)

    arrays = arrays._replace(
        fields=_checked_fields(equation, arrays.fields, n_shots, call.state is not None, names),
        memory=_checked_memory(equation, arrays.memory, n_shots, arrays.models, names.state),
        sources=_placed(arrays.sources, region, equation, arrays.models),
        receivers=_placed(arrays.receivers, region, equation, arrays.models),
        before=before,
        start=np.asarray(region.start, np.int32),
    )
    setup = Setup(equation, n_shots, nt, dt, inner_dt, step_ratio, n_before)
    observer = _observer(call.callbacks, setup, names)
    if isinstance(storage, Auto):
        undecided = Plan(equation, DeviceStorage(storage.codec), interval)
        storage = planning.Pending(storage, planning.case(setup, undecided, arrays))
    with names.in_storage():
        storage = storage.resolve(inner_dt * interval, interval, equation)
    plan = Plan(equation, storage, interval, observer)
    if call.decomposition is not None:
        decomposition.check(call.decomposition, setup, plan)
    ends = nt * dt if step_ratio == 1 else (nt - 1) * dt + inner_dt
    fraction = geometry.mpml_fraction
    info = RunInfo(step_ratio, inner_dt, max_vel, pml_freq, region, widths, kinds, storage, fraction, ends)
    between = {kind: x for kind, x in receivers.items() if isinstance(x, Hicks)}
    return Problem(setup, plan, info, arrays, between, names, call.decomposition)


def known_max_vel(call: Call) -> float:
    """The speed that a call's time step is made for, found before a derivative traces the models."""
    if call.max_vel is not None:
        return call.max_vel
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they come again when it runs
        return make_problem(call).info.max_vel


def _by_kind(given: Any) -> Mapping[str, Any]:
    """Sources or receivers by kind; the name of an equation's single kind is ""."""
    return given if isinstance(given, Mapping) else {} if given is None else {"": given}


def _largest_speed(
    physics: Equation, values: Mapping[str, np.ndarray], spacing: Sequence[float], accuracy: int,
    kinds: Sequence[str | None], region: Region, enough: float,
) -> float:  # fmt: skip
    """The speed that known models need: the whole ones, and the region, whose edges the layers continue."""
    found = physics.largest_speed(values, spacing, accuracy, kinds, enough)
    shape = next(iter(values.values())).shape[-len(spacing) :]
    if region.shape == shape:
        return found
    cut: Any = (..., *(slice(a, b) for a, b in zip(region.start, region.stop, strict=True)))
    part = {name: x[cut] for name, x in values.items()}
    if physics.fastest(part) == 0:  # vacuum
        return found
    return max(found, physics.largest_speed(part, spacing, accuracy, kinds, max(enough, found)))


def _arrays(physics: Equation, call: Call, receivers: Mapping[str, Any]) -> tuple[int, Arrays]:
    """The number of dimensions and the arrays of a call, checked alone and against each other."""
    names = call.names
    models = {name: validate.real_array(name, x) for name, x in call.models.items()}
    pairs = _by_kind(call.sources).items()
    given = {kind: validate.pair(f"sources[{kind!r}]" if kind else "sources", x) for kind, x in pairs}
    sources = _cells(names.sources, {kind: x for kind, (_, x) in given.items()}, models, names)
    receivers = _cells(names.receivers, receivers, models, names)
    amplitudes = {}
    for kind, (f, x) in given.items():
        if f is not None:
            name = names.amplitudes(kind)
            amplitudes[kind] = x.cell_amplitudes(name, f) if isinstance(x, Hicks) else validate.amplitudes(name, f)
    fields, memory = _initial(call)
    named = {names.amplitudes(kind): x for kind, x in amplitudes.items()}
    validate.same_dtype(**models, **named, **{names.fields(name): x for name, x in fields.items()})
    for kind in {**amplitudes, **sources}:
        validate.sources((names.amplitudes(kind), names.sources(kind)), amplitudes.get(kind), sources.get(kind))
    placed = [*sources.values(), *receivers.values()]
    ndim = validate.dimensions(models, call.grid.spacing, placed, list(fields.values()), names)
    validate.least_dimensions(type(physics).__name__.lower(), ndim, physics.dimensions)
    validate.kinds("source", sources, physics.source_kinds(ndim), ndim)
    validate.kinds("receiver", receivers, physics.receiver_kinds(ndim), ndim)
    validate.field_names(fields, physics.wavefield_offsets(ndim), ndim)
    validate.field_ranks(ndim, fields, names)
    return ndim, Arrays(models, amplitudes, sources, receivers, fields, memory, before={}, start=None)


def _geometry(
    physics: Equation, call: Call, ndim: int, arrays: Arrays
) -> tuple[PaddedGrid, tuple[str | None, ...], Region]:
    """The padded grid, what each face is, and the part of the model that is used."""
    given, names, shape = call.grid.boundary, call.names, next(iter(arrays.models.values())).shape[-ndim:]
    spacing = validate.spacing(names.spacing, call.grid.spacing, ndim)
    kinds, widths = validate.boundary_kinds(given.kinds, given.pml_width, ndim, physics.default_boundary, names)
    validate.reflecting(kinds, physics.reflecting, type(physics).__name__, names)
    accuracy = validate.accuracy(names.accuracy, call.grid.accuracy)
    region = _region(call, shape, arrays, widths, kinds)
    validate.room_at_faces(kinds, region.shape, accuracy, names)
    fraction = validate.fraction(names.mpml_fraction, given.mpml_fraction)
    validate.multiaxial(names.mpml_fraction, fraction, physics, any(widths))
    return PaddedGrid(region.shape, spacing, accuracy, widths, kinds, fraction), kinds, region


def _placed(
    locations: Mapping[str, Any], region: Region, equation: Equation, models: Mapping[str, Any]
) -> dict[str, Points]:
    """Locations by kind as points of the padded grid."""
    start, dtype = np.asarray(region.start, np.int32), next(iter(models.values())).dtype
    known = {kind: (x, validate.concrete(x)) for kind, x in locations.items()}
    return {
        kind: place(x if value is None else value, start, equation.grid, dtype) for kind, (x, value) in known.items()
    }


def _cells(
    named: Callable[[str], str], given: Mapping[str, Any], models: Mapping[str, Any], names: Names
) -> dict[str, Any]:
    """Locations by kind; for points between the cells, those of the cells in their windows."""
    for kind, x in given.items():
        if isinstance(x, Hicks):
            validate.same_model(named(kind), x.model_shape, models)
    cells = {kind: x.cells if isinstance(x, Hicks) else x for kind, x in given.items() if x is not None}
    return {kind: validate.locations(named(kind), x, names.spacing) for kind, x in cells.items()}


def _initial(call: Call) -> tuple[dict[str, Any], tuple[tuple[Any, ...], ...] | None]:
    """Initial wavefields, and the memory variables of an earlier run or None."""
    names, memory = call.names, None
    fields = validate.mapping("wavefields", call.wavefields, "names of wavefields")
    if call.state is not None:
        if fields:
            raise ValueError(f"`{names.state}` and the initial wavefields exclude each other; give one of them")
        validate.state(call.state, call.equation.memory_names, names.state)
        fields = call.state.wavefields
        memory = tuple(tuple(call.state.memory[name]) for name in call.equation.memory_names)
    return {k: validate.real_array(names.fields(k), x) for k, x in fields.items() if x is not None}, memory


def _shots(ndim: int, arrays: Arrays, names: Names) -> int:
    """The number of shots."""
    given = {names.amplitudes(kind): x for kind, x in arrays.amplitudes.items()}
    given |= {names.receivers(kind): x for kind, x in arrays.receivers.items()}
    n_shots = validate.shots(**given, **{names.fields(name): x for name, x in arrays.fields.items()})
    if not given and not arrays.fields:
        n_shots = max(x.shape[0] if x.ndim == ndim + 1 else 1 for x in arrays.models.values())
    validate.model_shots(arrays.models, ndim, n_shots)
    return n_shots


def _observer(callbacks: Callbacks, setup: Setup, names: Names) -> Observer | None:
    forward, backward = callbacks.forward, callbacks.backward
    every = validate.callbacks(names.every, callbacks.every, {names.forward: forward, names.backward: backward})
    if forward is None and backward is None:
        return None
    return Observer(forward, backward, every, setup.step_ratio, setup.nt, setup.dt, setup.first_sample)


def _check_paths(storage: Storage | Auto) -> None:
    for tier in (storage, getattr(storage, "checkpoints", None), getattr(storage, "ring", None)):
        if isinstance(tier, DiskStorage | Auto):
            check_path(tier.path)


def _region(
    call: Call, shape: tuple[int, ...], arrays: Arrays, widths: Sequence[int], kinds: Sequence[str | None]
) -> Region:
    ndim, fields = len(shape), list(arrays.fields.values())
    validate.region_choice(call.survey_pad, call.origin, ndim, bool(fields))
    if call.origin is not None:
        start = tuple(validate.whole("origin", o, 0) for o in call.origin)
        extent = tuple(n - lo - hi for n, lo, hi in zip(fields[0].shape[1:], widths[::2], widths[1::2], strict=True))
        region = Region(start, tuple(s + n for s, n in zip(start, extent, strict=True)))
        if min(extent) < 1 or any(stop > n for stop, n in zip(region.stop, shape, strict=True)):
            raise ValueError(
                f"`origin`={list(start)} and initial wavefields of shape {fields[0].shape[1:]} (layers of "
                f"{list(widths)} cells included) cover cells to {list(region.stop)} of a model of {list(shape)}"
            )
        validate.reaches_faces(kinds, region, shape, call.names)
        return region
    if call.survey_pad is None:
        return Region((0,) * ndim, tuple(shape))
    pads = validate.per_face("survey_pad", call.survey_pad, ndim, optional=True)
    pads = tuple(None if kind in validate.REFLECTING else pad for kind, pad in zip(kinds, pads, strict=True))
    given = [*arrays.sources.values(), *arrays.receivers.values()]
    values = [value for x in given if (value := validate.concrete(x)) is not None]
    if len(values) < len(given):
        raise ValueError(
            "`survey_pad` needs locations whose values are known, but they are traced; close over them instead of "
            "passing them through jit, or leave survey_pad out"
        )
    return survey_region(shape, values, pads)


def _pml_freq(
    pml_freq: float | None, amplitudes: Mapping[str, Any], places: Mapping[str, Any], dt: float, layers: bool, name: str
) -> float:
    if pml_freq is not None:
        return validate.positive(name, pml_freq)
    fallback = 0.1 / dt
    if not amplitudes:
        return fallback
    known = [(validate.concrete(amplitudes[kind]), validate.concrete(places[kind])) for kind in amplitudes]
    used = [np.where(ignored(where)[..., None], 0, f) for f, where in known if f is not None and where is not None]
    if len(used) < len(known):
        if not layers:
            return fallback
        warn(
            PmlFrequencyWarning,
            f"`{name}` is not given, and the sources that it would be found from are traced; using {fallback:g} Hz "
            f"(a fifth of the Nyquist frequency). Pass {name}, e.g. the wavelet's peak frequency",
        )
        return fallback
    found = grid.peak_frequency(used, dt, default=0.0)
    if found == 0 and layers and any(x.shape[-1] > 1 and x.any() for x in used):
        warn(
            PmlFrequencyWarning,
            f"`{name}` is not given, and the spectrum of the sources is largest at 0 Hz; using {fallback:g} Hz (a "
            f"fifth of the Nyquist frequency), with which layers absorb lower ones badly. Pass {name}, e.g. the "
            "lowest frequency that matters",
        )
    return found or fallback


def _tell_substeps(step_ratio: int, dt: float, max_vel: float, spacing: Sequence[float], name: str) -> None:
    if step_ratio > 1:
        warn(
            SubstepWarning,
            f"dt={dt:g} s exceeds the stable limit {grid.cfl_time_step(max_vel, spacing):g} s for max_vel={max_vel:g} "
            f"and {name}={list(spacing)}; each time step is divided into {step_ratio}. Records are the loop's "
            f"own values at their samples' times; sources are interpolated between their samples, to 1 % below "
            f"{substeps.BAND / (2 * dt):.3g} Hz ({substeps.BAND:g} of the Nyquist frequency). If they have more above "
            "it, give them at a smaller dt",
        )


def _tell_speed(
    physics: Equation, models: Mapping[str, Any], max_vel: float, needed: float, inner_dt: float,
    spacing: Sequence[float],
) -> None:  # fmt: skip
    """Warns of a ``max_vel`` below what the models need, if it matters."""
    limit, names = grid.cfl_time_step(needed, spacing), ", ".join(f"`{name}`" for name in models)
    if max_vel * (1 + 1e-6) >= needed:
        return
    known: dict[str, Any] = {name: validate.concrete(x) for name, x in models.items()}
    fastest = physics.fastest(known)
    enough, speed = validate.at_least(needed), validate.at_least(fastest)
    if inner_dt > limit:
        why = "" if needed <= fastest else f" (more than the largest speed, {speed}, for the contrast of density)"
        warn(
            SpeedWarning,
            f"`max_vel`={max_vel:g} is below {enough}, which the time step must be made for with this {names}"
            f"{why}: the loop's step, {inner_dt:g} s, is above the safe limit of {limit:g} s, and the wavefield may "
            f"grow without bound. Use max_vel>={enough}, or leave it out",
        )
    elif max_vel * (1 + 1e-6) < fastest:
        warn(
            SpeedWarning,
            f"`max_vel`={max_vel:g} is below the largest speed of {names}, {speed}: the time step is short "
            "enough, but the absorbing layers are made for slower waves. Use "
            f"max_vel>={speed}, or leave it out",
        )


def _checked_fields(
    equation: Equation, fields: Mapping[str, Any], n_shots: int, of_state: bool, names: Names
) -> dict[str, Any]:
    """Initial wavefields on the region with its layers."""
    whose = f"`{names.state}` belongs to another grid or other layers: its " if of_state else ""
    geometry, padded = equation.grid, dict[str, Any]()
    offsets = equation.wavefield_offsets(geometry.ndim)
    for name, field in fields.items():
        seen = geometry.seen(offsets[name])
        if field.shape == (n_shots, *geometry.shape):
            before = (lo + o for (lo, _), o in zip(geometry.faces, offsets[name], strict=True))
            field = jnp.pad(field, [(0, 0), *zip(before, (hi for _, hi in geometry.faces), strict=True)])
        elif field.shape != (n_shots, *seen):
            raise ValueError(
                f"{whose}`{names.fields(name)}` must have shape {(n_shots, *geometry.shape)} (shots and region), or "
                f"{(n_shots, *seen)} with the absorbing layers; got {field.shape}"
            )
        padded[name] = field
    return padded


def _checked_memory(
    equation: Equation, memory: tuple[tuple[Any, ...], ...] | None, n_shots: int, models: Mapping[str, Any],
    state: str,
) -> tuple[tuple[Any, ...], ...] | None:  # fmt: skip
    if memory is None:
        return None
    for part, group in zip(memory, equation.memory(), strict=True):
        expected = [(n_shots, *equation.grid.memory_shape(q)) for q in group]
        got = [x.shape for x in part]
        if got != expected:
            raise ValueError(
                f"`{state}` belongs to another grid or other layers: its memory variables have shapes {got}, "
                f"this run needs {expected}"
            )
        name, model = next(iter(models.items()))
        for x in part:
            validate.same_dtype(**{name: model, f"a memory variable of {state}": x})
    return memory


def _before(
    state: State | None, step_ratio: int, amplitudes: Mapping[str, Any], names: Names
) -> tuple[int | None, dict[str, Any]]:
    """The samples of each kind of source that a state with sub-steps has: their number, and [shot, source, sample]."""
    last = None if state is None else state.last_sources
    validate.same_substeps(state, last, step_ratio, names.state)
    if last is None:
        return None, {}
    validate.source_goes_on(last.samples, last.n_samples, amplitudes, names)
    zeros = {kind: np.zeros((*f.shape[:2], last.n_samples), f.dtype) for kind, f in amplitudes.items()}
    return last.n_samples, {kind: last.samples.get(kind, zeros[kind]) for kind in amplitudes}
