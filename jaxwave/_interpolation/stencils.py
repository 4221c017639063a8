"""Which cells of the model each point needs along each axis, and with which weights."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxwave._interpolation.sinc import Windows, kaiser_sinc_weights


class Mirror(NamedTuple):
    """A face: the field's sign beyond a plane, or 0; and twice the plane's coordinate in cells of the field."""

    sign: int
    twice: int


class Role(NamedTuple):
    """What the points [shot, point] are along an axis: whether that takes a sinc, and whether one differentiated."""

    monopole: Any
    dipole: Any


def roles_along_axes(direction: Any, ndim: int) -> list[Role]:
    """Along each axis; of directions that are not known, both."""
    if direction is None:
        return [Role(np.ones((1, 1), bool), np.zeros((1, 1), bool))] * ndim
    if not isinstance(direction, np.ndarray):
        return [Role(np.ones((1, 1), bool), np.ones((1, 1), bool))] * ndim
    some = direction != 0
    return [Role(np.delete(some, axis, -1).any(-1), some[..., axis]) for axis in range(ndim)]


class Line(NamedTuple):
    """The stencils of all points along one axis, without their weights.

    Attributes:
        base: [shot, point]: the cell before each point, as floats.
        n: [entry]: how many cells from there the entries are.
        cells: [shot, point, entry]: the model's cells; 0 where not used.
        factor: What their weights are multiplied by: 0 where not used, and the sign of a mirror image.
        used: Which entries are to be propagated.
        bad: [shot, point]: whether it needs a cell that the model does not have, or lies beyond a mirror.
    """

    base: Any
    n: np.ndarray
    cells: Any
    factor: Any
    used: Any
    bad: Any


def line_of_stencils(x: Any, fixed: bool, role: Role, r: int, size: int, faces: tuple[Mirror, Mirror]) -> Line:
    """Of coordinates [shot, point] in cells of the field, with a half width of ``r``. Where they and the roles are
    ``fixed``, no entry is kept that no point uses.
    """
    xp = np if isinstance(x, np.ndarray) else jnp
    base = xp.floor(x)
    n = np.arange(-r, r + 1, dtype=np.int32)
    own = n == 0
    cells = base.astype(np.int32)[..., None] + n[None, None, :]
    distance = abs(n[None, None, :] - (x - base)[..., None])
    # A weight of 0 at a whole coordinate, or at the window's end, has a derivative. At the end it is that of a kink,
    # which may be cut off by the model's edge.
    used, needed = distance <= r, distance < r
    if fixed:
        between, monopole, dipole = (y[..., None] for y in (x != base, *role))
        used &= monopole | dipole
        needed = used & (between | xp.where(own, monopole, dipole))
        used = needed | (used & own)  # a dipole's own cell has no weight, but leaves no gap between the others
    factor, bad = xp.ones_like(distance), x != x
    for outward, (sign, twice) in zip((-1, 1), faces, strict=True):
        if sign == 0:
            continue
        beyond = outward * (2 * cells - twice)
        if sign < 0:  # then the field is 0 on the plane
            factor = factor * -xp.sign(beyond)
            used, needed = used & (beyond != 0), needed & (beyond != 0)
        cells = xp.where(beyond > 0, twice - cells, cells)
        bad = bad | (outward * (2 * x - twice) > 0)
    inside = (cells >= 0) & (cells < size)
    bad = bad | (needed & ~inside).any(-1)
    used = used & inside
    keep = np.ones_like(own)
    if fixed:
        keep = used.any(axis=(0, 1))
        keep |= own & ~keep.any()  # one at least
    cells, factor = xp.where(used, cells, 0)[..., keep], xp.where(used, factor, 0)[..., keep].astype(x.dtype)
    return Line(base, n[keep], cells, factor, used[..., keep], bad)


def row_weights(
    x: Any, direction: Any, axes: tuple[int, ...], lines: Sequence[Line], windows: Windows, xp: Any
) -> tuple[Any, Any]:
    """Weights of rows and along them, of coordinates [shot, point, axis] in cells of the field; dipoles along ``axes``
    if there are any.
    """

    def weights(axis, window):
        line = lines[axis]
        return xp.where(line.used, kaiser_sinc_weights(x[..., axis] - line.base, line.n, window, xp) * line.factor, 0)

    def rows(parts):
        return product([xp.ones_like(last[..., :1]), *parts], operator.mul)

    *leading, last = (weights(axis, windows.monopole) for axis in range(len(lines)))
    slopes = {axis: direction[..., axis, None] * weights(axis, windows.dipole) for axis in axes}
    along = slopes.pop(len(leading), None)
    across = [rows([*leading[:axis], slope, *leading[axis + 1 :]]) for axis, slope in slopes.items()]
    terms = [(sum(across), last)] if across else []
    if along is not None:
        terms.append((rows(leading), along))
    rows_and_along = zip(*(terms or [(rows(leading), last)]), strict=True)
    return tuple(xp.stack(parts, axis=-1) for parts in rows_and_along)


@functools.partial(jax.jit, static_argnames=("axes", "windows"))
def traced_row_weights(x: Any, shift: Any, skip: Any, direction: Any, axes: Any, lines: Any, windows: Windows) -> Any:
    """The same as one program, of coordinates in cells of the model."""
    return row_weights(jnp.where(skip[..., None], 0, x - shift[None, None, :]), direction, axes, lines, windows, jnp)


def product(parts: Sequence[Any], combine: Any) -> Any:
    """Every entry of each axis with every entry of the others: [shot, point, entry] from one of these per axis."""
    total = parts[0]
    for part in parts[1:]:
        pairs = combine(total[..., :, None], part[..., None, :])
        total = pairs.reshape(*pairs.shape[:2], math.prod(pairs.shape[2:]))
    return total
