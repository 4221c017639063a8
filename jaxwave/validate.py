"""Every check of what a user passed, and its message: what was wrong, what was got, the limit and the remedy."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import dtypes, lax

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


def dimensions(v: jax.Array, grid_spacing: Any, placed: Sequence[Any], fields: Sequence[Any]) -> int:
    """The number of space dimensions: from the locations, the spacing or initial wavefields, else the model's rank."""
    if placed:
        ndim, source = placed[0].shape[-1], f"locations have {placed[0].shape[-1]} coordinates (their last axis)"
    elif _is_many(grid_spacing):
        ndim, source = len(grid_spacing), f"`grid_spacing` has {len(grid_spacing)} values"
    elif fields:
        ndim, source = fields[0].ndim - 1, f"initial wavefields have shape {fields[0].shape}, shots first"
    else:
        ndim, source = v.ndim, f"`v` has shape {v.shape}"
    if ndim not in (1, 2, 3):
        raise ValueError(f"waves propagate in 1, 2 or 3 dimensions; {source}")
    if v.ndim not in (ndim, ndim + 1):
        raise ValueError(
            f"`v` must have {ndim} dimensions, or {ndim + 1} with one model per shot, because {source}; got shape "
            f"{v.shape}"
        )
    return ndim


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


def model_shots(v: jax.Array, ndim: int, n_shots: int) -> None:
    """Checks that there is one model, or one per shot, and that it has cells."""
    if v.ndim == ndim + 1 and v.shape[0] not in (1, n_shots):
        raise ValueError(f"`v` has {v.shape[0]} models, but there are {n_shots} shots; give one model, or one per shot")
    if 0 in v.shape:
        raise ValueError(f"`v` must have at least one cell along each axis; got shape {v.shape}")


def speed(v: jax.Array, max_vel: float | None) -> float:
    """The maximum speed: ``max_vel``, or that of the model if its values are known.

    Raises:
        ValueError: If a speed is not finite and positive, if ``max_vel`` is below the model's maximum, or if it is
            missing while ``v`` is traced.
    """
    if max_vel is not None:
        max_vel = positive("max_vel", max_vel)
    value = concrete(v)
    if value is None:
        if max_vel is None:
            raise ValueError(
                "`max_vel` is required where the values of `v` are not known (under jit, vmap or scan): the number of "
                "sub-steps and the absorbing layers depend on it. Pass the largest speed that the model may reach"
            )
        return max_vel
    low, high = float(value.min()), float(value.max())
    if not (low > 0 and math.isfinite(high)):
        bad = np.argwhere(~(np.isfinite(value) & (value > 0)))
        where = tuple(int(i) for i in bad[0])
        raise ValueError(
            f"`v` must be finite and positive; got {value[where]} at index {where} ({len(bad)} such cells)"
        )
    if max_vel is None:
        return high
    if high > max_vel * (1 + 1e-6):
        raise ValueError(
            f"`max_vel`={max_vel:g} is below the largest speed of `v`, {high:g}; the time step chosen for it may be "
            f"unstable. Use max_vel>={high:g}, or leave it out"
        )
    return max_vel


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


def steps(nt: int | None, amplitudes: jax.Array | None) -> int:
    """The number of time steps, from the amplitudes or from ``nt``."""
    if amplitudes is None:
        if nt is None:
            raise ValueError("`nt`, the number of time steps, is required when there are no source_amplitudes")
        return whole("nt", nt, 1)
    if nt is not None and whole("nt", nt, 1) != amplitudes.shape[-1]:
        raise ValueError(
            f"`nt`={nt} contradicts source_amplitudes, which have {amplitudes.shape[-1]} time samples; leave nt out"
        )
    if amplitudes.shape[-1] == 0:
        raise ValueError("source_amplitudes must have at least one time sample; got none")
    return amplitudes.shape[-1]


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


def sources(amplitudes: jax.Array | None, places: Any | None) -> None:
    """Checks that amplitudes and locations come together, agree in shape and are finite."""
    if (amplitudes is None) != (places is None):
        given, missing = ("source_amplitudes", "source_locations")[:: 1 if places is None else -1]
        raise ValueError(f"`{given}` is given without `{missing}`; give both or neither")
    if amplitudes is None:
        return
    if amplitudes.ndim != 3:
        raise ValueError(f"`source_amplitudes` must have shape [shot, source, nt]; got shape {amplitudes.shape}")
    if amplitudes.shape[:2] != places.shape[:2]:
        raise ValueError(
            f"`source_amplitudes` {amplitudes.shape} and `source_locations` {places.shape} must agree in shots and "
            "sources (their first two axes)"
        )
    value = concrete(amplitudes)
    if value is not None and not np.isfinite(value).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(value))[0])
        raise ValueError(f"`source_amplitudes` must be finite; got {value[where]} at [shot, source, time] = {where}")


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
        shot, point = (int(i) for i in np.argwhere(outside)[0])
        raise ValueError(
            f"`{name}` of shot {shot}, index {point} is {value[shot, point].tolist()}, outside the region of cells "
            f"{list(region.start)} to {[n - 1 for n in region.stop]} ({int(outside.sum())} such locations). Locations "
            f"are cell numbers of the whole model, slowest axis first; use jaxwave.IGNORE_LOCATION ({IGNORE_LOCATION}) "
            "in every coordinate to skip one"
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
