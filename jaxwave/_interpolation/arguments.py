"""Every check of what a user passed to :class:`jaxwave.Hicks`, and its message."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxwave._interpolation.sinc import DIPOLE_BETA, MONOPOLE_BETA, Window, Windows
from jaxwave._interpolation.stencils import Mirror
from jaxwave._jax_internals import is_traced
from jaxwave._setup import validate
from jaxwave._setup.survey import IGNORE_LOCATION


def locations(x: Any) -> Any:
    """Floats [shot, point, axis]: a JAX array, or NumPy where the values are known and not differentiated."""
    x = _real("locations", x, "jaxwave.IGNORE_LOCATION", validate.FEWER)
    if x.size == 0 and x.ndim != 3:
        raise ValueError(
            f"`locations` is empty, of shape {x.shape}; make no object where there are no points, or give an array of "
            "shape [shot, 0, axis], such as np.zeros((1, 0, 2))"
        )
    if x.ndim != 3 or x.shape[-1] not in (1, 2, 3):
        raise ValueError(f"`locations` must have shape [shot, point, axis] with 1, 2 or 3 axes; got shape {x.shape}")
    if x.shape[0] == 0:
        raise ValueError("`locations` must have at least one shot; got none")
    validate.finite("locations", x, "shot, point, axis")
    return x


def _real(name: str, x: Any, fill: str = "value", ragged: str = validate.RAGGED) -> Any:
    """Float32 or float64: a tracer, or NumPy; integers as the default of either."""
    x = validate.array(name, x, fill, ragged)
    x = x if is_traced(x) else np.asarray(x)
    if x.dtype.kind in "iu" or x.size == 0:
        return x.astype(float if isinstance(x, np.ndarray) else jnp.result_type(float))
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"`{name}` must be real numbers, float32, float64 or integers; got dtype {x.dtype}. "
            f"{validate.conversion(name, x)}"
        )
    return x


def model_shape(model_shape: Any, ndim: int) -> tuple[int, ...]:
    """Cells of the model along each axis."""
    shape = tuple(validate.whole("model_shape", n, 1) for n in (model_shape if np.ndim(model_shape) else [model_shape]))
    if len(shape) != ndim:
        raise ValueError(
            f"`model_shape` must have one number per coordinate of `locations`, {ndim}; got {list(shape)}. Leave "
            "out an axis of shots"
        )
    return shape


def windows(half_width: Any, beta: Any) -> Windows:
    """The windows of monopoles and dipoles; ``beta`` None for the best of each."""
    r = validate.whole("half_width", half_width, 1)
    if beta is not None:
        beta = validate.positive("beta", beta)
    elif r > len(MONOPOLE_BETA):
        raise ValueError(f"`half_width`={r} has no default `beta`; give one, or use at most {len(MONOPOLE_BETA)}")
    monopole, dipole = (table[r - 1] if beta is None else beta for table in (MONOPOLE_BETA, DIPOLE_BETA))
    return Windows(Window(r, monopole, False), Window(r, dipole, True))


def direction(dipole_axis: Any, dipole_direction: Any, shape: tuple[int, ...]) -> Any:
    """Vectors [shot or 1, point or 1, axis] of dipoles at points of this shape: a JAX array if they are traced, else
    NumPy; None for monopoles.
    """
    ndim = shape[-1]
    if dipole_axis is not None:
        if dipole_direction is not None:
            raise ValueError("`dipole_axis` and `dipole_direction` both say what the dipoles are; give one of them")
        if validate.whole("dipole_axis", dipole_axis, 0) >= ndim:
            raise ValueError(f"`dipole_axis`={dipole_axis} must be from 0 to {ndim - 1}, or None")
        return np.eye(ndim)[None, None, dipole_axis]
    if dipole_direction is None:
        return None
    d = _real("dipole_direction", dipole_direction)
    if d.shape not in {(ndim,), shape}:
        raise ValueError(
            f"`dipole_direction` must be a vector of {ndim} components, or one for each point, as `locations` of shape "
            f"{shape}; got shape {d.shape}"
        )
    d = d if d.ndim == 3 else d[None, None, :]
    validate.finite("dipole_direction", d, "shot, point, component")
    return d


def offsets(offset: Any, ndim: int) -> tuple[float, ...]:
    """How far the field's samples lie after the cells of their number, for each axis."""
    values = _each("offset", offset, ndim, "one per axis")
    try:
        found = tuple(validate.number("offset", x) for x in values)
    except TypeError:
        found = (math.nan,)
    if not all(map(math.isfinite, found)):
        raise TypeError(f"`offset` must be finite numbers; got {offset!r}")
    return found


def mirrors(
    mirror: Any, planes: Any, offsets: tuple[float, ...], shape: tuple[int, ...]
) -> tuple[tuple[Mirror, Mirror], ...]:
    """The (first, last) mirrors of each axis; a plane that is not given is where the scheme's own face is."""
    what = "first and last face of each axis, slowest axis first"
    signs = _each("mirror", mirror, 2 * len(shape), what)
    given = _each("mirror_plane", planes, 2 * len(shape), what)
    faces = []
    for i, (sign, plane) in enumerate(zip(signs, given, strict=True)):
        if sign not in (-1, 0, 1):
            raise ValueError(f"`mirror` must be -1, 0 or 1 at each face; got {sign!r}")
        if plane is not None and sign == 0:
            raise ValueError(f"`mirror_plane` is {plane} at face {i}, where `mirror` is 0; give -1 or 1 there, or None")
        if plane is None:
            outside = 1.0 if sign < 0 else 0.5
            plane = shape[i // 2] - 1 + outside if i % 2 else -outside
        twice = 2 * (plane - offsets[i // 2])
        if sign and twice != round(twice):
            raise ValueError(
                f"`mirror_plane` of face {i} is at {plane:g}, but must be at a cell of the field or halfway between "
                f"two (`offset` is {offsets[i // 2]:g}), so that cells have cells for mirror images"
            )
        faces.append(Mirror(int(sign), round(twice)))
    return tuple(zip(faces[::2], faces[1::2], strict=True))


def _each(name: str, x: Any, n: int, what: str) -> list[Any]:
    """``n`` values, from one or from ``n`` of them."""
    values = list(x) if np.ndim(x) else [x] * n
    if len(values) != n:
        raise ValueError(f"`{name}` must be one number or {n} of them ({what}); got {len(values)}")
    return values


def shot_numbers(shots: Any, n_shots: int) -> Any:
    """Numbers of shots as an array of one axis: a tracer, or NumPy, checked."""
    x = validate.array("shots", shots)
    is_mask = x.dtype.kind == "b" and x.shape == (n_shots,)
    if isinstance(shots, tuple) or x.ndim > 1 or not (x.dtype.kind in "iu" or is_mask):
        raise TypeError(
            f"index with a slice, a shot's number, a list or an array of them, or a mask [{n_shots}]; got {shots!r}. "
            "The points of a shot stay together"
        )
    x = x if x.ndim else x[None]
    if is_traced(x):
        return x
    x = np.flatnonzero(x) if is_mask else np.asarray(x)
    if not ((-n_shots <= x) & (x < n_shots)).all():
        raise IndexError(f"there are {n_shots} shots, with numbers 0 to {n_shots - 1}; got {shots!r}")
    return x


def check_reach(value: np.ndarray, bad: np.ndarray, shape: tuple[int, ...], half_width: int) -> None:
    """Checks that no window reaches out of the model, of the points ``bad`` [shot, point] where one does."""
    if not bad.any():
        return
    shot, point = (int(i) for i in np.argwhere(bad)[0])
    raise ValueError(
        f"`locations` of shot {shot}, index {point} is {value[shot, point].tolist()}, from where a window of half "
        f"width {half_width} reaches outside the model of cells 0 to {[n - 1 for n in shape]}, or which is beyond a "
        f"mirror ({int(bad.sum())} such points). Use mirror=-1 at a face that reflects, a smaller half_width, a whole "
        f"number for that coordinate (unless it is differentiated), or a larger model; or jaxwave.IGNORE_LOCATION "
        f"({IGNORE_LOCATION}) in every coordinate to skip the point"
    )


def check_amplitudes(name: str, x: Any, what: str, sizes: tuple[int, int]) -> None:
    """Checks the first two axes of amplitudes."""
    if x.ndim != 3 or x.shape[:2] != sizes:
        raise ValueError(
            f"`{name}` must have shape [shot, {what}, nt] with {sizes[0]} shots and {sizes[1]} {what}s; got shape "
            f"{x.shape}"
        )
