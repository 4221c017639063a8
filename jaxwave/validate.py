"""Every check of what a user passed, and its message: what was wrong, what was got, the limit and the remedy."""

from __future__ import annotations

import itertools
import math
import numbers
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import dtypes, lax

from jaxwave import boundary
from jaxwave.stencils import ACCURACIES
from jaxwave.survey import IGNORE_LOCATION, Region, ignored


def concrete(x: Any) -> np.ndarray | None:
    """The value of an array as NumPy, also while it is being differentiated; None if it is traced."""
    if isinstance(x, jax.core.Tracer):
        x = lax.stop_gradient(x)
    return None if isinstance(x, jax.core.Tracer) else np.asarray(x)


def surely_false(flag: Any) -> bool:
    """Whether a flag is known, and false."""
    value = concrete(flag)
    return value is not None and not bool(value)


# ---- arrays ----


def real_array(name: str, x: Any) -> jax.Array | np.ndarray:
    """A float32 or float64 array. What is not a JAX array yet stays with NumPy, so that its values are known under jit.

    Raises:
        TypeError: If it is anything else; integers too, since they have no derivative.
    """
    x = _array(name, x)
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"`{name}` must be a float32 or float64 array; got dtype {x.dtype}. Convert it, e.g. "
            f"{name}.astype(jnp.float32)"
        )
    return x if isinstance(x, jax.Array) else np.asarray(x, dtypes.canonicalize_dtype(x.dtype))


def _array(name: str, x: Any) -> Any:
    """``x`` if it is an array already, of NumPy or JAX; else one made of it."""
    if hasattr(x, "dtype"):
        return x
    try:
        return np.asarray(x)
    except ValueError as error:
        raise ValueError(
            f"`{name}` cannot be made into an array ({error}); give all its parts the same length"
        ) from None


def same_dtype(**arrays: jax.Array | None) -> jnp.dtype:
    """The dtype that all given arrays share."""
    found = {name: x.dtype for name, x in arrays.items() if x is not None}
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{name} is {dtype}" for name, dtype in found.items())
        raise TypeError(f"arrays of mixed dtypes: {listed}. Convert them to one dtype")
    return next(iter(found.values()))


def locations(name: str, x: Any) -> jax.Array | np.ndarray:
    """An integer array [shot, point, axis], of at least 32 bits so that cell numbers can be added to it."""
    x = _array(name, x)
    if not np.issubdtype(x.dtype, np.integer):
        raise TypeError(
            f"`{name}` must be an integer array of cell numbers; got dtype {x.dtype}. Use {name}.astype(int)"
        )
    if x.ndim != 3:
        raise ValueError(f"`{name}` must have shape [shot, point, axis]; got shape {x.shape}")
    if x.dtype in (np.int32, np.int64):
        return x
    return x.astype(np.int32) if isinstance(x, jax.Array) else x.astype(np.int64)


def dimensions(models: Mapping[str, Any], grid_spacing: Any, placed: Sequence[Any], fields: Sequence[Any]) -> int:
    """The number of space dimensions: from the locations, the spacing or initial wavefields, else the models' rank."""
    first, model = next(iter(models.items()))
    if placed:
        ndim, source = placed[0].shape[-1], f"locations have {placed[0].shape[-1]} coordinates (their last axis)"
    elif _is_many(grid_spacing):
        ndim, source = len(grid_spacing), f"`grid_spacing` has {len(grid_spacing)} values"
    elif fields:
        ndim, source = fields[0].ndim - 1, f"initial wavefields have shape {fields[0].shape}, shots first"
    else:
        ndim, source = min(x.ndim for x in models.values()), f"`{first}` has shape {model.shape}"
    if ndim not in (1, 2, 3):
        raise ValueError(f"waves propagate in 1, 2 or 3 dimensions; {source}")
    for name, x in models.items():
        if x.ndim not in (ndim, ndim + 1):
            raise ValueError(
                f"`{name}` must have {ndim} dimensions, or {ndim + 1} with one model per shot, because {source}; got "
                f"shape {x.shape}"
            )
        if x.shape[-ndim:] != model.shape[-ndim:]:
            raise ValueError(
                f"all models must have the same cells; `{first}` has {model.shape[-ndim:]}, `{name}` {x.shape[-ndim:]}"
            )
    return ndim


def least_dimensions(physics: str, ndim: int, known: Sequence[int]) -> None:
    """Checks that an equation exists in so many dimensions."""
    if ndim not in known:
        raise ValueError(f"the {physics} equation is for {' or '.join(map(str, known))} dimensions; got {ndim}")


def kinds(what: str, given: Mapping[str, Any], known: Sequence[str], ndim: int) -> None:
    """Checks that the kinds of sources or receivers exist in so many dimensions."""
    for kind in given:
        if kind not in known:
            raise ValueError(
                f"there is no {what} of kind {kind!r} in {ndim} dimensions; use {', '.join(map(repr, known))} "
                "(components are named z, y, x from the slowest axis to the fastest: y and x in 2-D, x in 1-D)"
            )


def field_names(given: Mapping[str, Any], known: Mapping[str, Any], ndim: int) -> None:
    """Checks that the initial wavefields exist in so many dimensions."""
    for name in given:
        if name not in known:
            raise ValueError(f"there is no wavefield `{name}` in {ndim} dimensions; there are {', '.join(known)}")


def field_ranks(ndim: int, **fields: Any) -> None:
    """Checks that initial wavefields have an axis of shots and one per dimension."""
    for name, x in fields.items():
        if x is not None and x.ndim != ndim + 1:
            raise ValueError(
                f"`{name}` must have {ndim + 1} dimensions, the shots and {ndim} of space; got shape {x.shape}"
            )


def shots(**arrays: Any) -> int:
    """The number of shots, which all given arrays (shots leading) share; 1 if there are none."""
    found = {name: x.shape[0] for name, x in arrays.items() if x is not None}
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{name} has {n}" for name, n in found.items())
        raise ValueError(f"the number of shots (first axis) differs: {listed}")
    n_shots = next(iter(found.values()), 1)
    if n_shots == 0:
        raise ValueError(f"there must be at least one shot; got none in {', '.join(found)}")
    return n_shots


def model_shots(models: Mapping[str, Any], ndim: int, n_shots: int) -> None:
    """Checks that there is one model, or one per shot, and that it has cells."""
    for name, x in models.items():
        if x.ndim == ndim + 1 and x.shape[0] not in (1, n_shots):
            raise ValueError(
                f"`{name}` has {x.shape[0]} models, but there are {n_shots} shots; give one model, or one per shot"
            )
        if 0 in x.shape:
            raise ValueError(f"`{name}` must have at least one cell along each axis; got shape {x.shape}")


RULES = {
    "positive": ("positive", lambda x: np.isfinite(x) & (x > 0)),
    "not negative": ("not negative", lambda x: np.isfinite(x) & (x >= 0)),
    "finite": ("finite", np.isfinite),
}


def speed(
    models: Mapping[str, Any], rules: Mapping[str, str], max_vel: float | None, largest: Callable[[Any], float]
) -> float:
    """The maximum speed: ``max_vel``, or that of the models if their values are known.

    Args:
        models: Arrays by name.
        rules: For each, what its values must be: a key of ``RULES``.
        max_vel: What the user gave.
        largest: The largest speed of models whose values are known.

    Raises:
        ValueError: If a value breaks its rule, if ``max_vel`` is below the models' maximum, or if it is missing while
            a model is traced.
    """
    if max_vel is not None:
        max_vel = positive("max_vel", max_vel)
    values = {name: concrete(x) for name, x in models.items()}
    for name, value in values.items():
        if value is not None:
            _check_values(name, value, rules[name])
    unknown = [name for name, value in values.items() if value is None]
    if unknown:
        if max_vel is None:
            raise ValueError(
                f"`max_vel` is required where the values of `{unknown[0]}` are not known (under jit, vmap or scan): "
                "the number of sub-steps and the absorbing layers depend on it. Pass the largest speed that the model "
                "may reach"
            )
        return max_vel
    high = largest(values)
    if max_vel is None:
        return high
    if high > max_vel * (1 + 1e-6):
        raise ValueError(
            f"`max_vel`={max_vel:g} is below the largest speed of {', '.join(f'`{name}`' for name in models)}, "
            f"{high:g}; the time step chosen for it may be unstable. Use max_vel>={high:g}, or leave it out"
        )
    return max_vel


def _check_values(name: str, value: np.ndarray, rule: str) -> None:
    words, holds = RULES[rule]
    bad = ~holds(value)
    if bad.any():
        where = _first(bad)
        need = "finite" if words == "finite" else f"finite and {words}"
        raise ValueError(f"`{name}` must be {need}; got {value[where]} at index {where} ({int(bad.sum())} such cells)")


def _first(bad: np.ndarray) -> tuple[int, ...]:
    """Index of the first true value."""
    return tuple(int(i) for i in np.argwhere(bad)[0])


# ---- numbers ----


def _is_many(x: Any) -> bool:
    """Whether ``x`` is several numbers rather than one; they may be traced."""
    return (isinstance(x, Sequence) and not isinstance(x, str)) or getattr(x, "ndim", 0) > 0


def positive(name: str, x: Any) -> float:
    """A positive, finite number."""
    if isinstance(x, jax.core.Tracer):
        raise TypeError(f"`{name}` must be a number, not a traced value: it is part of the compiled program")
    is_array = isinstance(x, jax.Array | np.ndarray) and x.ndim == 0 and x.dtype.kind in "iuf"
    if isinstance(x, bool) or not (isinstance(x, numbers.Real) or is_array):
        raise TypeError(f"`{name}` must be a number; got {x!r}")
    x = float(x)
    if not (math.isfinite(x) and x > 0):
        raise ValueError(f"`{name}` must be positive and finite; got {x:g}")
    return x


def whole(name: str, x: Any, least: int) -> int:
    """An integer of at least ``least``."""
    if isinstance(x, bool) or not isinstance(x, numbers.Integral):
        raise TypeError(f"`{name}` must be an integer; got {x!r}")
    if x < least:
        raise ValueError(f"`{name}` must be at least {least}; got {x}")
    return int(x)


def flag(name: str, x: Any) -> bool:
    """A bool."""
    if not isinstance(x, bool | np.bool_):
        raise TypeError(f"`{name}` must be True or False; got {x!r}")
    return bool(x)


def fraction(name: str, x: Any) -> float:
    """A number from 0 to 1."""
    if not isinstance(x, numbers.Real) or not 0 <= float(x) <= 1:
        raise ValueError(f"`{name}` must be a number from 0 to 1; got {x!r}")
    return float(x)


def spacing(grid_spacing: Any, ndim: int) -> tuple[float, ...]:
    """One cell size per axis."""
    if not _is_many(grid_spacing):
        return (positive("grid_spacing", grid_spacing),) * ndim
    values = tuple(positive("grid_spacing", h) for h in grid_spacing)
    if len(values) != ndim:
        raise ValueError(f"`grid_spacing` must be a number or {ndim} numbers, one per axis; got {len(values)}")
    return values


def accuracy(order: Any) -> int:
    """A supported order of the differences."""
    if isinstance(order, jax.core.Tracer):
        raise TypeError("`accuracy` must be a number, not a traced value: it is part of the compiled program")
    if order not in ACCURACIES:
        raise ValueError(f"`accuracy` must be one of {ACCURACIES}; got {order!r}")
    return int(order)


def per_face(name: str, value: Any, ndim: int, optional: bool = False) -> tuple[int | None, ...]:
    """A count of cells for each face, from one number or 2 * ndim of them."""
    given = list(value) if _is_many(value) else [value] * (2 * ndim)
    if len(given) != 2 * ndim:
        raise ValueError(
            f"`{name}` must be one number or {2 * ndim} of them (first and last face of each axis, slowest axis first);"
            f" got {len(given)}"
        )
    return tuple(None if optional and x is None else whole(name, x, 0) for x in given)


REFLECTING = ("free", "rigid", "periodic")
"""Kinds of faces that stand at the model's edge and have no layer."""


def boundary_kinds(
    given: Any, pml_width: Any, ndim: int, plain: str | None
) -> tuple[tuple[str | None, ...], tuple[int, ...]]:
    """What each face is, and how many cells its layer has; ``plain`` is what a face without one is by default."""
    words = (given,) * (2 * ndim) if given is None or isinstance(given, str) else given
    if not isinstance(words, Sequence) or len(words) != 2 * ndim:
        raise ValueError(
            f"`boundary` must be one word or {2 * ndim} of them (first and last face of each axis, slowest axis "
            f"first); got {given!r}"
        )
    known = ("pml", *REFLECTING)
    for word in words:
        if word is not None and word not in known:
            raise ValueError(f"`boundary` has {word!r}; each must be one of {', '.join(map(repr, known))}, or None")
    widths = per_face("pml_width", pml_width, ndim)
    if not _is_many(pml_width):
        widths = tuple(0 if word in REFLECTING else n for word, n in zip(words, widths, strict=True))
    for number, (word, width) in enumerate(zip(words, widths, strict=True)):
        name = f"the {_side(number % 2)} face of axis {number // 2}"
        if word in REFLECTING and width > 0:
            raise ValueError(
                f"{name} is {word!r} in `boundary` and has a layer of {width} cells in `pml_width`; change one of "
                "them, to 'pml' or to 0"
            )
        if word == "pml" and width == 0:
            raise ValueError(f"{name} is 'pml' in `boundary` and has 0 cells in `pml_width`; give it at least 1")
    for axis, pair in enumerate(boundary.pairs(words)):
        if pair.count("periodic") == 1:
            raise ValueError(f"`boundary` of axis {axis} are {list(pair)}; both must be 'periodic', or none")
    found = (word or ("pml" if n else plain) for word, n in zip(words, widths, strict=True))
    return tuple(found), widths


def _side(side: int) -> str:
    return ("first", "last")[side]


def room_at_faces(kinds: Sequence[str | None], shape: Sequence[int], accuracy: int) -> None:
    """Checks that axes with reflecting or periodic faces have cells enough for the differences there."""
    for axis, (n, pair) in enumerate(zip(shape, boundary.pairs(kinds), strict=True)):
        found = [kind for kind in pair if kind in REFLECTING]
        if found and n < accuracy:
            raise ValueError(
                f"axis {axis} has {n} cells and a face that is {found[0]!r}, which needs at least "
                f"`accuracy`={accuracy} of them; use more cells, a lower accuracy, or a layer there (`pml_width`)"
            )


def reaches_faces(kinds: Sequence[str | None], region: Region, shape: Sequence[int]) -> None:
    """Checks that a region reaches to those faces of the model that have no layer by being what they are."""
    for axis, pair in enumerate(boundary.pairs(kinds)):
        there = region.start[axis] == 0, region.stop[axis] == shape[axis]
        for side, kind in enumerate(pair):
            if kind in REFLECTING and not there[side]:
                raise ValueError(
                    f"the {_side(side)} face of axis {axis} is {kind!r} and stands at the model's edge, but `origin` "
                    f"and the initial wavefields cover cells {region.start[axis]} to {region.stop[axis] - 1} of "
                    f"{shape[axis]}; extend them to that edge, or give the face a layer (`pml_width`)"
                )


def steps(nt: int | None, amplitudes: Mapping[str, Any]) -> int:
    """The number of time steps, from the amplitudes of all kinds of sources or from ``nt``."""
    if not amplitudes:
        if nt is None:
            raise ValueError("`nt`, the number of time steps, is required when there are no source_amplitudes")
        return whole("nt", nt, 1)
    found = {x.shape[-1] for x in amplitudes.values()}
    if len(found) > 1:
        listed = ", ".join(f"{kind!r} have {x.shape[-1]}" for kind, x in amplitudes.items())
        raise ValueError(f"source_amplitudes of all kinds must have the same number of time samples; {listed}")
    (samples,) = found
    if nt is not None and whole("nt", nt, 1) != samples:
        raise ValueError(f"`nt`={nt} contradicts source_amplitudes, which have {samples} time samples; leave nt out")
    if samples == 0:
        raise ValueError("source_amplitudes must have at least one time sample; got none")
    return samples


def divides(interval: int, nt: int) -> None:
    """Checks that the sampling interval divides the number of steps."""
    if nt % interval:
        divisors = [k for k in range(1, nt + 1) if nt % k == 0]
        near = [max(k for k in divisors if k < interval), *[k for k in divisors if k > interval][:1]]
        raise ValueError(
            f"`model_gradient_sampling_interval`={interval} must divide the number of time steps (sub-steps included), "
            f"{nt}; use {' or '.join(map(str, near))}"
        )


# ---- the survey ----


def sources(names: tuple[str, str], amplitudes: jax.Array | None, places: Any | None) -> None:
    """Checks that amplitudes and locations, arguments of these names, come together, agree in shape and are finite."""
    if (amplitudes is None) != (places is None):
        given, missing = names[:: 1 if places is None else -1]
        raise ValueError(f"`{given}` is given without `{missing}`; give both or neither")
    if amplitudes.ndim != 3:
        raise ValueError(f"`{names[0]}` must have shape [shot, source, nt]; got shape {amplitudes.shape}")
    if amplitudes.shape[:2] != places.shape[:2]:
        raise ValueError(
            f"`{names[0]}` {amplitudes.shape} and `{names[1]}` {places.shape} must agree in shots and sources (their "
            "first two axes)"
        )
    value = concrete(amplitudes)
    if value is not None and not np.isfinite(value).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(value))[0])
        raise ValueError(f"`{names[0]}` must be finite; got {value[where]} at [shot, source, time] = {where}")


def mapping(name: str, x: Any) -> Mapping[str, Any]:
    """A mapping from kinds of sources or receivers; empty for None."""
    if x is not None and not isinstance(x, Mapping):
        raise TypeError(f"`{name}` must be a mapping from kinds, such as 'p' or 'x'; got {type(x).__name__}")
    return x or {}


def pair(name: str, x: Any) -> tuple[Any, Any]:
    """Amplitudes and locations."""
    if not isinstance(x, tuple | list) or len(x) != 2:
        raise TypeError(f"`{name}` must be a pair (amplitudes, locations); got {type(x).__name__}")
    return x[0], x[1]


def once(name: str, x: Any) -> None:
    """Checks that what a mapping gives is not given as an argument too."""
    if x is not None:
        raise ValueError(f"`{name}` is given twice, as an argument and in a mapping; give it once")


def inside(name: str, places: Any | None, region: Region, ndim: int) -> None:
    """Checks that concrete locations lie in the region."""
    if places is None:
        return
    if places.shape[-1] != ndim:
        raise ValueError(
            f"`{name}` must have {ndim} coordinates per location (its last axis); got shape {places.shape}"
        )
    value = concrete(places)
    if value is None:
        return
    outside = ((value < np.asarray(region.start)) | (value >= np.asarray(region.stop))).any(-1) & ~ignored(value)
    if outside.any():
        shot, point = _first(outside)
        raise ValueError(
            f"`{name}` of shot {shot}, index {point} is {value[shot, point].tolist()}, outside the region of cells "
            f"{list(region.start)} to {[n - 1 for n in region.stop]} ({int(outside.sum())} such locations). Locations "
            f"are cell numbers of the whole model, slowest axis first; use jaxwave.IGNORE_LOCATION ({IGNORE_LOCATION}) "
            "in every coordinate to skip one"
        )


def positive_around(
    kind: str, places: Any, model: str, values: Any, axes: Sequence[int], region: Region, faces: Sequence[str | None]
) -> None:
    """Checks that a model, if known, is positive in the cells of sources and in the next ones along ``axes``.

    The region's last cells are continued into layers and beyond rigid ``faces``; at a free one there is no next cell.
    """
    x, values = concrete(places), concrete(values)
    if x is None or values is None:
        return
    skip, last = ignored(x), np.asarray(region.stop) - 1
    x = np.where(skip[..., None], np.asarray(region.start), x)
    values = values if values.ndim > len(last) else values[None]
    shot = np.arange(len(x))[:, None] % len(values)
    bad = np.zeros(skip.shape, bool)
    for axis in axes:
        bad |= (x[..., axis] == last[axis]) & (faces[2 * axis + 1] in ("free", None))
    beyond = np.where([kind == "periodic" for kind in faces[1::2]], region.start, last)
    for step in itertools.product((0, 1), repeat=len(axes)):
        at = x.copy()
        at[..., axes] += step
        bad |= ~(values[(shot, *np.moveaxis(np.where(at > last, beyond, at), -1, 0))] > 0)
    bad &= ~skip
    if bad.any():
        shot, point = _first(bad)
        raise ValueError(
            f"sources of kind {kind!r} act between their cell and the next ones along axes "
            f"{' and '.join(map(str, axes))}, where `{model}` must be positive; around cell {x[shot, point].tolist()} "
            f"(shot {shot}, index {point}) it is not, or a free face is near ({int(bad.sum())} of them). "
            "Move them into the solid, or use kinds that a fluid has: 'p' or forces"
        )


def region_choice(survey_pad: Any, origin: Any, ndim: int, has_fields: bool) -> None:
    """Checks that at most one of ``survey_pad`` and ``origin`` chooses the region."""
    if survey_pad is not None and origin is not None:
        raise ValueError("`survey_pad` and `origin` both choose the region; give one of them")
    if origin is not None:
        if not has_fields:
            raise ValueError("`origin` places initial wavefields in the model, but none are given")
        if not _is_many(origin) or len(origin) != ndim:
            raise ValueError(f"`origin` must be {ndim} cell numbers, one per axis; got {origin!r}")


def state(initial_state: Any, parts: Sequence[str]) -> None:
    """Checks that ``initial_state`` has the parts of a state."""
    if not all(hasattr(initial_state, part) for part in parts):
        raise TypeError(
            f"`initial_state` must be the state of an earlier result, e.g. `result.state`, with the parts "
            f"{', '.join(parts)}; got {type(initial_state).__name__}"
        )


def path(name: str, x: Any) -> str:
    """A path as a string."""
    if not isinstance(x, str | os.PathLike):
        raise TypeError(f"`{name}` must be the name of a directory; got {x!r}")
    return os.fspath(x)


def callbacks(frequency: Any, **functions: Any) -> int:
    """Checks the callbacks; returns the number of steps from one call to the next."""
    for name, function in functions.items():
        if function is not None and not callable(function):
            raise TypeError(f"`{name}` must be a function of one argument, a CallbackState; got {function!r}")
    return whole("callback_frequency", frequency, 1)
