"""The arguments of the propagators: stated once, with their types and defaults, for editors, ``help`` and the docs.

A propagator takes its models, ``grid_spacing`` and ``dt`` by position, and all else by keyword. Its ``options`` are a
:class:`~typing.TypedDict`, which editors and type checkers read; :func:`documented` makes the signature and the
docstring from it, and :func:`to_call` the call that is checked and run.
"""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypedDict, TypeVar, get_args, get_type_hints

from jax.typing import ArrayLike

from jaxwave._notices import NoEffectWarning, warn
from jaxwave._results import State
from jaxwave._setup import validate
from jaxwave._setup.call import Boundary, Call, Callbacks, Grid, Places
from jaxwave._setup.decomposition import Decomposition
from jaxwave._setup.names import PROPAGATORS
from jaxwave._timeloop.observe import CallbackState
from jaxwave.equations.base import Equation
from jaxwave.storage.auto import Auto
from jaxwave.storage.base import Storage
from jaxwave.storage.codecs import Codec, as_codec
from jaxwave.storage.modes import as_storage

Amplitudes = Annotated[ArrayLike | None, None]
Locations = Annotated[Places | None, None]
Field = Annotated[ArrayLike | None, None]
Callback = Annotated[Callable[[CallbackState], Any] | None, None]


class Options(TypedDict, total=False):
    """What all propagators take; the second part of each annotation is the default."""

    nt: Annotated[int | None, None]
    accuracy: Annotated[int, 4]
    pml_width: Annotated[int | Sequence[int], 20]
    boundary: Annotated[str | Sequence[str | None] | None, None]
    pml_freq: Annotated[float | None, None]
    max_vel: Annotated[float | None, None]
    survey_pad: Annotated[int | Sequence[int | None] | None, None]
    origin: Annotated[Sequence[int] | None, None]
    initial_state: Annotated[Any, None]
    model_gradient_sampling_interval: Annotated[int, 1]
    freq_taper_frac: Annotated[float, 0.0]
    time_pad_frac: Annotated[float, 0.0]
    time_taper: Annotated[bool, False]
    forward_callback: Callback
    backward_callback: Callback
    callback_frequency: Annotated[int, 1]
    storage_mode: Annotated[str | Storage | Auto, "device"]
    storage_path: Annotated[str, "."]
    storage_compression: Annotated[bool | str | Codec, False]
    decomposition: Annotated[Decomposition | None, None]


class ScalarOptions(Options, total=False):
    """What :func:`jaxwave.scalar` takes."""

    source_amplitudes: Amplitudes
    source_locations: Locations
    receiver_locations: Locations
    wavefield_0: Field
    wavefield_m1: Field


class ByKind(Options, total=False):
    """What the equations of pressure or stress and velocity share: sources and receivers by kind, velocities."""

    sources: Annotated[Mapping[str, tuple[ArrayLike, Places]] | None, None]
    receivers: Annotated[Mapping[str, Places] | None, None]
    source_amplitudes_p: Amplitudes
    source_amplitudes_z: Amplitudes
    source_amplitudes_y: Amplitudes
    source_amplitudes_x: Amplitudes
    source_locations_p: Locations
    source_locations_z: Locations
    source_locations_y: Locations
    source_locations_x: Locations
    receiver_locations_p: Locations
    receiver_locations_z: Locations
    receiver_locations_y: Locations
    receiver_locations_x: Locations
    vz_0: Field
    vy_0: Field
    vx_0: Field


class AcousticOptions(ByKind, total=False):
    """What :func:`jaxwave.acoustic` takes."""

    pressure_0: Field


class ElasticOptions(ByKind, total=False):
    """What :func:`jaxwave.elastic` takes."""

    mpml_fraction: Annotated[float, 0.0]
    source_amplitudes_zz: Amplitudes
    source_amplitudes_yz: Amplitudes
    source_amplitudes_xz: Amplitudes
    source_amplitudes_yy: Amplitudes
    source_amplitudes_xy: Amplitudes
    source_amplitudes_xx: Amplitudes
    source_locations_zz: Locations
    source_locations_yz: Locations
    source_locations_xz: Locations
    source_locations_yy: Locations
    source_locations_xy: Locations
    source_locations_xx: Locations
    receiver_locations_zz: Locations
    receiver_locations_yz: Locations
    receiver_locations_xz: Locations
    receiver_locations_yy: Locations
    receiver_locations_xy: Locations
    receiver_locations_xx: Locations
    sigmazz_0: Field
    sigmayz_0: Field
    sigmaxz_0: Field
    sigmayy_0: Field
    sigmaxy_0: Field
    sigmaxx_0: Field


OPTIONS = """
        nt: Number of time steps; needed when there are no sources.
        accuracy: Order of the spatial differences: 2, 4, 6 or 8. Default 4.
        pml_width: Cells of absorbing layer at each face: one number (for all that have one), or first and last of each
            axis. Default 20.
        pml_freq: Frequency (Hz) that the layers absorb best. Default: the peak of the sources' spectrum; where there is
            none above 0 Hz, or their values are not known, 0.1 / ``dt`` with a :class:`jaxwave.PmlFrequencyWarning`.
        survey_pad: Uses only the part of the model within so many cells of all sources and receivers: one number, or
            one per face, where None means to the model's edge, as does a face that is free, rigid or periodic. Default:
            the whole model.
        origin: First cell of the region that the initial wavefields cover (they then include its layers).
        initial_state: State of an earlier run, in place of initial wavefields: continues it exactly, with the same
            sources where there are sub-steps.
        model_gradient_sampling_interval: Steps of the loop from one contribution to the model gradient to the next. 1
            (the default) is exact; more stores less.
        freq_taper_frac, time_pad_frac, time_taper: Options for resampling in the frequency domain. Nothing is
            resampled, so they do nothing, and a :class:`jaxwave.NoEffectWarning` says so. Default 0, 0, False.
        forward_callback: Called with a :class:`jaxwave.CallbackState` every ``callback_frequency`` time steps, before
            the step's update.
        backward_callback: The same in the adjoint loop, with the adjoint wavefields.
        callback_frequency: Time steps from one call to the next. Default 1.
        storage_mode: Where a model gradient keeps its wavefields: "device", "cpu" (host RAM), "disk" (an HDF5 file),
            "recompute" (states at intervals; the rest is computed again), "auto" (the fastest that fits what is free,
            measured when a model is differentiated), "none" (nowhere: no model gradient), or a storage object from
            :mod:`jaxwave.storage`. A run that is not differentiated
            with respect to a model stores nothing.
        storage_path: Directory for "disk" and "auto". Default: the working directory.
        storage_compression: False, True or "int8", "int4", "int16", "bf16", "f16", or a codec from
            :mod:`jaxwave.storage`.
        decomposition: Divides the model among several devices: a :class:`jaxwave.Decomposition`. Default: one device
            has all of it.
""".strip("\n")
"""The part of a docstring's ``Args`` that is the same for all."""

RAISES = """
    Raises:
        TypeError, ValueError: If an argument is wrong; before anything runs.
        FloatingPointError: If the wavefield becomes non-finite (called eagerly; under ``jit`` see ``is_finite``).
        jaxwave.StorageError: If storage fails: a full disk, an altered file, ...
        jaxwave.BudgetError: Under "auto", if a model is differentiated and no policy fits.

    Warns:
        SubstepWarning, SpeedWarning, UnitWarning, PmlFrequencyWarning, DispersionWarning: See :doc:`api`.
""".strip("\n")


P = TypeVar("P", bound=Callable[..., Any])


@functools.cache
def defaults(options: type) -> dict[str, Any]:
    """The options by name, with their defaults."""
    hints = get_type_hints(options, include_extras=True)
    return {name: get_args(hint)[-1] for name, hint in hints.items()}


def documented(options: type) -> Callable[[P], P]:
    """Gives a propagator the signature and the docstring that belong to its options."""

    def decorate(function: P) -> P:
        own = inspect.signature(function)
        positional = [p for p in own.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        hints = get_type_hints(options)
        keywords = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[name])
            for name, default in defaults(options).items()
        ]
        signature = own.replace(parameters=[*positional, *keywords])
        setattr(function, "__signature__", signature)  # noqa: B010  not an attribute that functions have
        text = inspect.cleandoc(function.__doc__ or "")
        for name, part, depth in (("options", OPTIONS, 4), ("raises", RAISES, 0)):
            text = text.replace(" " * depth + f"{{{name}}}", textwrap.indent(textwrap.dedent(part), " " * depth))
        function.__doc__ = text
        return function

    return decorate


def to_call(name: str, options: type, equation: Equation, grid_spacing: Any, dt: Any, given: Mapping[str, Any]) -> Call:
    """The call that a propagator's arguments describe.

    Raises:
        TypeError: If there is no such option.
        ValueError: If a source or receiver is given twice, or a storage object with a codec beside it.
    """
    known = defaults(options)
    validate.arguments(name, given, known)
    a = {**known, **given}
    _tell_without_effect(a)
    boundary = Boundary(a["boundary"], a["pml_width"], a["pml_freq"], a.get("mpml_fraction", 0.0))
    sources, receivers = _by_kind(equation, a)
    return Call(
        equation,
        Grid(grid_spacing, a["accuracy"], boundary),
        dt,
        sources,
        receivers,
        a["nt"],
        {field: a[field] for field in equation.wavefield_offsets(equation.dimensions[-1]) if a[field] is not None},
        _state(equation, a["initial_state"]),
        a["max_vel"],
        a["survey_pad"],
        a["origin"],
        a["model_gradient_sampling_interval"],
        _storage(a["storage_mode"], a["storage_path"], a["storage_compression"]),
        Callbacks(a["forward_callback"], a["backward_callback"], a["callback_frequency"]),
        PROPAGATORS,
        a["decomposition"],
    )


def _by_kind(equation: Equation, a: Mapping[str, Any]) -> tuple[dict[str, tuple[Any, Any]], dict[str, Any]]:
    """Sources and receivers by kind, from arguments of their own and from mappings."""
    flat = dict(a)
    sources, receivers = (validate.mapping(name, flat.get(name)) for name in ("sources", "receivers"))
    given = {f"receiver_locations_{kind}": x for kind, x in receivers.items()}
    for kind, pair in sources.items():
        amplitudes, locations = validate.pair(f"sources[{kind!r}]", pair)
        given |= {f"source_amplitudes_{kind}": amplitudes, f"source_locations_{kind}": locations}
    for name, x in given.items():
        validate.once(name, flat.get(name))
        flat[name] = x

    def found(name: str) -> dict[str, Any]:
        of_kind = {k[len(name) :].removeprefix("_"): x for k, x in flat.items() if k.startswith(name)}
        return {kind: x for kind, x in of_kind.items() if x is not None}

    amplitudes, locations = found("source_amplitudes"), found("source_locations")
    pairs = {kind: (amplitudes.get(kind), locations.get(kind)) for kind in {**amplitudes, **locations}}
    return pairs, found("receiver_locations")


def _state(equation: Equation, given: Any) -> State | None:
    """A state from the propagator's own kind of state."""
    if given is None:
        return None
    names = tuple(equation.wavefield_offsets(equation.dimensions[-1]))
    validate.old_state(given, (*names, *equation.memory_names))
    fields = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    memory = {name: getattr(given, name) for name in equation.memory_names}
    return State(fields, memory, getattr(given, "last_sources", None))


def _storage(mode: Any, path: Any, compression: Any) -> Storage | Auto:
    codec = as_codec(compression)
    storage = as_storage(mode, validate.path("storage_path", path), codec)
    if storage is mode and compression is not False:
        raise ValueError(
            "`storage_compression` is given together with a storage object, which has its own codec; write e.g. "
            "HostStorage(codec=Int8())"
        )
    return storage


def _tell_without_effect(a: Mapping[str, Any]) -> None:
    """Warns of options for resampling in the frequency domain, which a propagator does not do."""
    given = [name for name in ("freq_taper_frac", "time_pad_frac") if validate.fraction(name, a[name])]
    given += ["time_taper"] if validate.flag("time_taper", a["time_taper"]) else []
    if given:
        warn(
            NoEffectWarning,
            f"{' and '.join(f'`{name}`' for name in given)} given, which does nothing: with sub-steps, records are the "
            "loop's own values and sources are interpolated between neighbouring samples, so nothing wraps around or "
            "rings. Leave it out; to taper a source or a record, use jaxwave.resample.cosine_taper_end",
        )
