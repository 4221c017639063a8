"""Sources and receivers between the cells, by Kaiser-windowed sinc interpolation.

A field without wavenumbers above pi per cell is the sum of its samples times sincs; a Kaiser window makes the sinc as
short as ``half_width`` cells on each side. The value at a point x of one axis is then

::

    u(x) = sum over n of u[n] w(n - x),      w(d) = sinc(d) I0(beta sqrt(1 - (d / half_width)^2)) / I0(beta)

and the derivative there has sinc' in the place of sinc. In more dimensions the weights are products. A source is the
transpose: it puts its amplitude times w(n - x) into the cells.

Reference: G. J. Hicks, "Arbitrary source and receiver positioning in finite-difference schemes using Kaiser windowed
sinc functions", Geophysics 67 (2002).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxwave import validate
from jaxwave.survey import IGNORE_LOCATION, ignored

# The beta that makes the largest error for wavenumbers up to pi / 2 per cell (4 cells per wavelength) as small as it
# can be, for half widths 1 to 10. Those for monopoles are Hicks's to 0.02 up to a half width of 7, and better from
# there. Those for dipoles belong to a window that is halved at its ends, as it is here. Hicks's is 0 there, whereby a
# dipole on a cell loses more of its stencil than any other, and the least error is 20 to 60 % larger.
MONOPOLE_BETA = (1.24, 2.94, 4.53, 6.31, 7.92, 9.42, 10.97, 12.60, 14.16, 15.70)
DIPOLE_BETA = (1.00, 2.92, 4.83, 6.30, 7.78, 9.47, 11.07, 12.60, 14.12, 15.75)

NEAR = 0.03  # cells from the sinc's centre within which its series is used, which has no 0 / 0: exact to 1e-17


class Rows(NamedTuple):
    """The cells of all points' windows and their weights, row by row: a row is the cells of a window along the last
    axis, which have consecutive numbers among the cells of a shot.

    Entry [row, place] of a point has the weight ``weights[row] along[place]``, summed over terms, and is cell
    ``first[row] + steps[place]``, so that nothing here has the size of all entries: in 3-D a point has 8 of them for
    each of its rows.

    Attributes:
        weights: [shot, point, row, term]: the product of the weights along the other axes. One term, but for dipoles
            along the last axis and others: then it is that of its derivative.
        along: [shot, point, place, term]: the weights along the last axis.
        first: [shot, point, row]: the number, among the cells of the shot, of the row's first cell.
        steps: [shot, point, place]: how far its cells are from that one.
    """

    weights: jax.Array | np.ndarray
    along: jax.Array | np.ndarray
    first: jax.Array | np.ndarray
    steps: jax.Array | np.ndarray

    def astype(self, dtype: Any) -> Rows:
        return self._replace(weights=self.weights.astype(dtype), along=self.along.astype(dtype))


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True, init=False, eq=False)
class Hicks:
    """Sources or receivers at any points of a model: cells for a propagator, and the way to and from their amplitudes.

    ::

        receiver:  d[point] = sum over cells of weight[point, cell] record[cell]
        source:    amplitude[cell] = sum over points of weight[point, cell] f[point]

    The weights are those of a Kaiser-windowed sinc (:mod:`jaxwave.interpolation`), 2 ``half_width`` cells along each
    axis. A coordinate that is a whole number, but for rounding, takes one cell with weight 1, exactly. The two maps are
    transposes of each other. With the default ``beta`` the largest relative error of a wave of at least 4 cells per
    wavelength, along one axis, is 2.3e-2, 4.8e-3, 1.3e-3, 2.4e-4 and 4.9e-5 for half widths of 2 to 6.

    Cells that several points of a shot need are propagated once; shots with fewer cells are filled up with
    ``IGNORE_LOCATION``. That needs the values of ``locations``. Where they are traced (under ``jit`` or ``vmap``), each
    point has the (2 ``half_width`` + 1) ** ndim cells of its own window, and a point for which an error would have been
    raised has weights of NaN. Either way the maps can be differentiated with respect to ``locations``. At a whole
    coordinate, where the window's end makes a small kink, the derivative is the mean of those on the two sides.

    An object is a pytree of its arrays, all with shots first; index it with shots to get some of them.

    Args:
        locations: Points [shot, point, axis] in cells of the whole model, as floats: (z, y, x). A point with
            ``IGNORE_LOCATION`` in every coordinate injects nothing and records zeros.
        model_shape: Cells of the model, one number per axis: ``v.shape``, without an axis of shots.
        half_width: Cells of the window on each side. Default 4.
        beta: Shape of the Kaiser window. Default: the best for wavenumbers up to pi / 2 per cell, for half widths 1 to
            10. Smaller ones trade accuracy there for a wider band: 4.14 with a half width of 4 suits 3 cells per
            wavelength, with errors of 1e-2.
        dipole_axis: Axis along which the points are dipoles. A receiver then records the derivative of the field along
            it, per cell (divide by the cell size); a source injects the derivative of a point source with respect to
            its own position: the limit of two sources f / e and -f / e that are e cells apart, f further along.
            Default: monopoles.
        dipole_direction: A vector [axis] of any direction in place of an axis, or one for each point
            [shot, point, axis]. The derivative is the sum over the axes of its component times the derivative per
            cell: a unit vector divided by the cell size gives one per metre, and a vector of zeros nothing. It can be
            traced and differentiated, and then needs the cells of all axes.
        offset: Where the field lives within a cell, in cells, one number or one per axis: 0.5 along x for a field at
            x + 1/2 on a staggered grid. Locations remain those of the whole cells. Default 0.
        mirror: What the field does at each face: -1 if it is antisymmetric about a plane there, as a pressure at a free
            surface, 1 if it is symmetric, 0 if nothing is known. One number, or first and last face of each axis, as
            ``pml_width``. Weights of cells beyond the plane are added to those of their mirror images, with the sign.
            Default 0.
        mirror_plane: Coordinates of the planes, in the order of the faces; None for the default, which is one cell
            outside the model (-1 or n) for -1, where :func:`jaxwave.scalar` has u = 0 next to a face of ``pml_width``
            0 without a name in ``boundary``, and half a cell outside (-1/2 or n - 1/2) for 1. Faces that are "free" or
            "rigid" are half a cell outside. They must be at, or halfway between, cells of the field.

    Raises:
        TypeError, ValueError: If an argument is wrong; if a point needs cells that the model does not have, or lies
            beyond a mirror.

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> v = jnp.full((30, 40), 1500.0)
        >>> source = jaxwave.Hicks([[[2.3, 20.5]]], v.shape, mirror=[-1, 0, 0, 0])
        >>> receivers = jaxwave.Hicks([[[10, 12.25], [10, 12.75], [10, 13]]], v.shape)
        >>> f = jaxwave.wavelets.ricker(25.0, 100, 1e-3, 0.05).reshape(1, 1, -1)
        >>> out = jaxwave.scalar(
        ...     v, 5.0, 1e-3, source_amplitudes=source.source(f), source_locations=source.cells,
        ...     receiver_locations=receivers.cells, pml_width=[0, 20, 20, 20], pml_freq=25.0,
        ... )
        >>> out.receiver_amplitudes.shape, receivers.receiver(out.receiver_amplitudes).shape
        ((1, 8, 100), (1, 3, 100))

    Reference:
        G. J. Hicks, "Arbitrary source and receiver positioning in finite-difference schemes using Kaiser windowed sinc
        functions", Geophysics 67 (2002).
    """

    cells: jax.Array | np.ndarray
    """Locations for a propagator: integers [shot, cell, axis]."""
    rows: Rows
    """Which of these cells each point needs, and with which weights."""

    def __init__(
        self,
        locations: ArrayLike,
        model_shape: Sequence[int],
        *,
        half_width: int = 4,
        beta: float | None = None,
        dipole_axis: int | None = None,
        dipole_direction: ArrayLike | None = None,
        offset: float | Sequence[float] = 0.0,
        mirror: int | Sequence[int] = 0,
        mirror_plane: Sequence[float | None] | None = None,
    ) -> None:
        x = _locations(locations)
        shape = _shape(model_shape, x.shape[-1])
        offsets = _offsets(offset, len(shape))
        faces = _mirrors(mirror, mirror_plane, offsets, shape)
        direction = _direction(dipole_axis, dipole_direction, x.shape)
        self._fill(*_layout(x, direction, shape, offsets, faces, _windows(half_width, beta)))

    def _fill(self, cells: Any, rows: Rows) -> None:
        for name, value in (("cells", cells), ("rows", rows)):
            object.__setattr__(self, name, value)  # the one time that a frozen object is written to

    @property
    def weights(self) -> jax.Array | np.ndarray:
        """Weights of each point's cells: [shot, point, entry]. Large, and made anew each time: to be looked at."""
        weights, along = self.rows.weights, self.rows.along
        return sum(_product([weights[..., i], along[..., i]], operator.mul) for i in range(along.shape[-1]))

    @property
    def slots(self) -> jax.Array | np.ndarray:
        """Which of the shot's cells they are: [shot, point, entry]. The same holds."""
        return _product([self.rows.first, self.rows.steps], operator.add)

    def source(self, amplitudes: ArrayLike) -> jax.Array:
        """Amplitudes of the cells, from those of the points.

        Args:
            amplitudes: Source time functions of the points [shot, point, nt]. Float32 or float64.

        Returns:
            ``source_amplitudes`` [shot, cell, nt] for ``source_locations=self.cells``, of the same dtype.

        Raises:
            TypeError, ValueError: If ``amplitudes`` is not such an array.
        """
        f = validate.real_array("amplitudes", amplitudes)
        _agree("amplitudes", f, "point", self.rows.first.shape[:2])
        return _spread(self.rows.astype(f.dtype), f, self.cells.shape[1])

    def receiver(self, amplitudes: ArrayLike) -> jax.Array:
        """Records of the points, from those of the cells.

        Args:
            amplitudes: ``receiver_amplitudes`` [shot, cell, nt] of ``receiver_locations=self.cells``.

        Returns:
            Records [shot, point, nt], of the same dtype.

        Raises:
            TypeError, ValueError: If ``amplitudes`` is not such an array.
        """
        records = validate.real_array("amplitudes", amplitudes)
        _agree("amplitudes", records, "cell", self.cells.shape[:2])
        return _collect(self.rows.astype(records.dtype), records)

    def __getitem__(self, shots: Any) -> Hicks:
        """Some of the shots: an array of their numbers or a slice."""
        return jax.tree.map(lambda x: x[shots], self)

    def tree_flatten(self) -> tuple[tuple[Any, ...], None]:
        return (self.cells, self.rows), None

    @classmethod
    def tree_unflatten(cls, _: None, leaves: Sequence[Any]) -> Hicks:
        new = object.__new__(cls)
        new._fill(*leaves)
        return new


# ---- amplitudes ----
#
# One entry of all stencils at a time: all of them at once would be (2 half_width) ** ndim times the records, and so
# would be what the derivative with respect to the weights keeps. Hence the checkpoint too, by which it gathers again.


def _over_entries(add: Any, total: jax.Array, rows: Rows) -> jax.Array:
    """``add(total, weight, slot)`` for every entry, with weights and slots [shot, point] of all points."""

    def row(total, of_row):
        @jax.checkpoint
        def place(total, of_place):
            return add(total, (of_row[0] * of_place[0]).sum(-1), of_row[1] + of_place[1]), None

        return lax.scan(place, total, _entries_first(rows.along, rows.steps))[0], None

    return lax.scan(row, total, _entries_first(rows.weights, rows.first))[0]


def _entries_first(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    return tuple(jnp.moveaxis(x, 2, 0) for x in arrays)


@jax.jit
def _collect(rows: Rows, records: jax.Array) -> jax.Array:
    shot = np.arange(records.shape[0])[:, None]
    nothing = jnp.zeros((*rows.first.shape[:2], records.shape[2]), records.dtype)
    return _over_entries(lambda total, w, slot: total + w[:, :, None] * records[shot, slot], nothing, rows)


@functools.partial(jax.jit, static_argnums=2)
def _spread(rows: Rows, amplitudes: jax.Array, n_cells: int) -> jax.Array:
    """The transpose of :func:`_collect`."""
    shot = np.arange(amplitudes.shape[0])[:, None]
    nothing = jnp.zeros((amplitudes.shape[0], n_cells, amplitudes.shape[2]), amplitudes.dtype)
    return _over_entries(lambda total, w, slot: total.at[shot, slot].add(w[:, :, None] * amplitudes), nothing, rows)


# ---- the windowed sinc ----


class Window(NamedTuple):
    """A Kaiser window, and whether the sinc in it is differentiated (a dipole)."""

    half_width: int
    beta: float
    derivative: bool


class Windows(NamedTuple):
    """Those of a point and of its derivative, the same along every axis."""

    monopole: Window
    dipole: Window


@functools.lru_cache(maxsize=64)
def _kaiser_series(beta: float) -> tuple[float, ...]:
    """Coefficients of I0(beta sqrt(s)) / I0(beta) in powers of s, in which it has no square root to differentiate."""
    terms = [1.0]
    while terms[-1] > 1e-18 * sum(terms) or len(terms) <= beta / 2:
        terms.append(terms[-1] * (beta / (2 * len(terms))) ** 2)
    total = sum(reversed(terms))
    return tuple(t / total for t in terms)


def kaiser_sinc_weights(fraction: Any, n: Any, window: Window, xp: Any = jnp) -> Any:
    """Weights of cells around a point, along one axis. Differentiable to any order.

    Args:
        fraction: How far the points are past their cells [...], from 0 to 1.
        n: How many cells the others are from these [entry].
        window: The window.
        xp: jax.numpy or numpy.

    Returns:
        [..., entry].
    """
    n = n.astype(fraction.dtype).reshape((1,) * fraction.ndim + (-1,))
    sign = xp.where(n % 2 == 0, 1, -1).astype(fraction.dtype)
    a = fraction[..., None]
    d = n - a  # from the point to the cell
    # The sine and cosine of pi d, by those of an angle from 0 to pi / 2: 0 at every cell, exactly, where the point is
    # on one, and not the difference of large numbers where it is near to one.
    first = a <= 0.5
    angle = np.pi * xp.where(first, a, 1 - a)
    sine, cosine = -sign * xp.sin(angle), sign * xp.where(first, 1, -1).astype(a.dtype) * xp.cos(angle)

    near = abs(d) < NEAR
    away = xp.where(near, 1, d)
    t = np.pi * xp.where(near, d, 0)
    t2 = t * t
    sinc = xp.where(near, 1 - t2 / 6 * (1 - t2 / 20 * (1 - t2 / 42 * (1 - t2 / 72))), sine / (np.pi * away))
    if window.derivative:
        series = np.pi * t * (-1 / 3 + t2 / 30 * (1 - t2 / 28 * (1 - t2 / 54)))
        sinc = -xp.where(near, series, (cosine - sinc) / away)  # d falls as the point advances
    return sinc * _kaiser(d, window, xp)


def _kaiser(d: Any, window: Window, xp: Any) -> Any:
    """The window at distances ``d``: 1 at 0, exactly, and halved at its ends, where it falls to 0."""
    q = (d / window.half_width) ** 2
    coefficients = _kaiser_series(window.beta)
    value = 0 * q
    for c in reversed(coefficients):
        value = c + (1 - q) * value
    slope = sum(k * c for k, c in enumerate(coefficients))
    value = xp.where(q == 0, 1 - slope * q, value)
    return xp.where(q < 1, value, xp.where(q == 1, value / 2, 0))


# ---- stencils ----


class _Mirror(NamedTuple):
    """A face: the field's sign beyond a plane, or 0; and twice the plane's coordinate in cells of the field."""

    sign: int
    twice: int


class _Line(NamedTuple):
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


class _Role(NamedTuple):
    """What the points [shot, point] are along an axis: whether that takes a sinc, and whether one differentiated."""

    monopole: Any
    dipole: Any


def _roles(direction: Any, ndim: int) -> list[_Role]:
    """Along each axis; of directions that are not known, both."""
    if direction is None:
        return [_Role(np.ones((1, 1), bool), np.zeros((1, 1), bool))] * ndim
    if not isinstance(direction, np.ndarray):
        return [_Role(np.ones((1, 1), bool), np.ones((1, 1), bool))] * ndim
    some = direction != 0
    return [_Role(np.delete(some, axis, -1).any(-1), some[..., axis]) for axis in range(ndim)]


def _line(x: Any, fixed: bool, role: _Role, r: int, size: int, faces: tuple[_Mirror, _Mirror]) -> _Line:
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
    return _Line(base, n[keep], cells, factor, used[..., keep], bad)


def _weights(
    x: Any, direction: Any, axes: tuple[int, ...], lines: Sequence[_Line], windows: Windows, xp: Any
) -> tuple[Any, Any]:
    """Weights of rows and along them, of coordinates [shot, point, axis] in cells of the field; dipoles along ``axes``
    if there are any.
    """

    def weights(axis, window):
        line = lines[axis]
        return xp.where(line.used, kaiser_sinc_weights(x[..., axis] - line.base, line.n, window, xp) * line.factor, 0)

    def rows(parts):
        return _product([xp.ones_like(last[..., :1]), *parts], operator.mul)

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
def _traced_weights(x: Any, shift: Any, skip: Any, direction: Any, axes: Any, lines: Any, windows: Windows) -> Any:
    """The same as one program, of coordinates in cells of the model."""
    return _weights(jnp.where(skip[..., None], 0, x - shift[None, None, :]), direction, axes, lines, windows, jnp)


def _layout(
    x: Any,
    direction: Any,
    shape: tuple[int, ...],
    offsets: tuple[float, ...],
    faces: tuple[tuple[_Mirror, _Mirror], ...],
    windows: Windows,
) -> tuple[Any, Rows]:
    """Cells and rows of a :class:`Hicks`."""
    value = validate.concrete(x)
    known, fixed = value is not None, isinstance(x, np.ndarray) and not isinstance(direction, jax.Array)
    xp = np if known else jnp
    value = value if known else lax.stop_gradient(x)
    skip = ignored(value)
    shift = np.asarray(offsets, x.dtype)
    placed = _rounded(value, shift) if fixed else value - shift[None, None, :]
    placed = xp.where(skip[..., None], 0, placed)
    roles, r = _roles(direction, len(shape)), windows.monopole.half_width
    axes = tuple(axis for axis, role in enumerate(roles) if role.dipole.any())
    lines = [
        _line(placed[..., axis], fixed, role, r, size, pair)
        for axis, (role, size, pair) in enumerate(zip(roles, shape, faces, strict=True))
    ]
    bad = functools.reduce(operator.or_, [line.bad for line in lines]) & ~skip
    if known:
        _check_reach(value, bad, shape, r)
    if fixed:
        weights, along = _weights(placed, direction, axes, lines, windows, np)
    else:
        weights, along = _traced_weights(x, shift, skip, direction, axes, lines, windows)
    weights = (np if fixed else jnp).where(skip[..., None, None], 0, weights)
    if known:
        cells, first, steps = _shared(lines, ~skip, shape)
    else:
        cells, first, steps = _own(lines, ~skip)
        along = jnp.where(bad[..., None, None], jnp.nan, along)
    return cells, Rows(weights, along, first, steps)


def _rounded(x: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Coordinates in cells of the field, on a cell if they are within a few roundings of it, as 0.3 / 0.1 is."""
    precision = np.finfo(x.dtype).eps
    x = x.astype(np.float64) - shift[None, None, :]
    whole = np.rint(x)
    return np.where(abs(x - whole) <= 4 * precision * np.maximum(abs(x), 1), whole, x)


def _product(parts: Sequence[Any], combine: Any) -> Any:
    """Every entry of each axis with every entry of the others: [shot, point, entry] from one of these per axis."""
    total = parts[0]
    for part in parts[1:]:
        pairs = combine(total[..., :, None], part[..., None, :])
        total = pairs.reshape(*pairs.shape[:2], math.prod(pairs.shape[2:]))
    return total


# ---- cells of a shot ----


def _shared(
    lines: Sequence[_Line], live: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct cells of each shot [shot, cell, axis], and ``first`` and ``steps`` of :class:`Rows`."""
    *leading, last = lines
    low = np.where(last.used, last.cells, shape[-1]).min(-1)
    counts = (np.where(last.used, last.cells + 1, 0).max(-1) - low).astype(np.int16)  # a window's cells have no gaps
    live = functools.reduce(operator.and_, [line.used.any(-1) for line in lines], live)
    steps = np.where(last.used & live[..., None], last.cells - low[..., None], 0).astype(np.int32)

    # Each row of the model is one longer than it is, so that the cells of two rows are never consecutive.
    strides = [(shape[-1] + 1) * math.prod(shape[axis + 1 : -1]) for axis in range(len(leading))]
    dtype = np.int32 if (shape[-1] + 1) * math.prod(shape[:-1]) < 2**31 else np.int64
    first, found = np.empty((*live.shape, math.prod(line.n.size for line in leading)), np.int32), []
    for shot, places in enumerate(first):
        one = slice(shot, shot + 1)
        starts = [line.cells[one].astype(dtype) * dtype(n) for line, n in zip(leading, strides, strict=True)]
        starts = _product([low[one, :, None].astype(dtype), *starts], operator.add)[0]
        used = _product([live[one, :, None], *(line.used[one] for line in leading)], operator.and_)[0]
        starts[~used] = 0  # and no cells: no interval
        segments, lengths, at = _union(starts.ravel(), np.where(used, counts[shot][:, None], 0).ravel())
        found.append((segments, lengths))
        places.flat = at
    return _unrolled(found, shape), first, steps


def _union(starts: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The numbers that are in any of the intervals [start, start + count): as disjoint intervals in order, their
    starts and lengths; and the place of each given start among these numbers.
    """
    order = np.argsort(starts)
    in_order = starts[order]
    reach = in_order + counts[order]
    np.maximum.accumulate(reach, out=reach)
    new = np.ones(len(starts), bool)
    new[1:] = in_order[1:] > reach[:-1]
    bounds = np.append(np.flatnonzero(new), len(starts))
    segments = in_order[bounds[:-1]]
    lengths = reach[bounds[1:] - 1] - segments
    in_order -= np.repeat((segments - np.cumsum(lengths) + lengths).astype(starts.dtype), np.diff(bounds))
    places = np.empty(len(starts), np.int32)
    places[order] = in_order
    return segments, lengths, places


BLOCK = 2**13  # intervals that are unrolled at a time, in memory that is used again and so is touched but once


def _unrolled(found: Sequence[tuple[np.ndarray, np.ndarray]], shape: tuple[int, ...]) -> np.ndarray:
    """All cells [shot, cell, axis] of the disjoint intervals of each shot, filled up with those to ignore."""
    sizes = [int(lengths.sum()) for _, lengths in found]
    cells = np.empty((len(found), max(1, *sizes), len(shape)), np.int32)
    for own, size, (segments, lengths) in zip(cells, sizes, found, strict=True):
        before = np.cumsum(lengths) - lengths
        for some in (slice(i, i + BLOCK) for i in range(0, len(segments), BLOCK)):
            origins = np.stack(np.unravel_index(segments[some], (*shape[:-1], shape[-1] + 1)), axis=-1)
            origins[:, -1] -= before[some]
            part = np.repeat(origins.astype(np.int32), lengths[some], axis=0)
            place = before[some][0]
            part[:, -1] += np.arange(place, place + len(part), dtype=np.int32)
            own[place : place + len(part)] = part
        own[size:] = IGNORE_LOCATION
    return cells


def _own(lines: Sequence[_Line], live: Any) -> tuple[Any, Any, Any]:
    """The same of points whose cells are not known: those of all, one after the other [shot, point * entry, axis]."""
    used = _product([live[..., None], *(line.used for line in lines)], operator.and_)
    n_shots, n_points, n_entries = used.shape
    parts = [
        [line.cells if i == axis else 0 * line.cells for i, line in enumerate(lines)] for axis in range(len(lines))
    ]
    cells = jnp.stack([_product(part, operator.add) for part in parts], axis=-1)
    cells = jnp.where(used[..., None], cells, IGNORE_LOCATION).reshape(n_shots, n_points * n_entries, len(lines))
    n_places = lines[-1].n.shape[0]
    first = np.arange(0, n_points * n_entries, n_places, dtype=np.int32).reshape(1, n_points, -1)
    steps = np.arange(n_places, dtype=np.int32).reshape(1, 1, -1)
    return (
        cells,
        jnp.broadcast_to(first, (n_shots, *first.shape[1:])),
        jnp.broadcast_to(steps, (*used.shape[:2], n_places)),
    )


# ---- what the user passed ----


def _locations(x: Any) -> Any:
    """Floats [shot, point, axis]: a JAX array, or NumPy where the values are known and not differentiated."""
    x = x if isinstance(x, jax.core.Tracer) else np.asarray(x)
    if x.dtype.kind not in "iuf":
        raise TypeError(f"`locations` must be real numbers; got dtype {x.dtype}")
    if x.ndim != 3 or x.shape[-1] not in (1, 2, 3):
        raise ValueError(f"`locations` must have shape [shot, point, axis] with 1, 2 or 3 axes; got shape {x.shape}")
    if x.shape[0] == 0:
        raise ValueError("`locations` must have at least one shot; got none")
    if x.dtype.kind != "f":
        x = x.astype(float if isinstance(x, np.ndarray) else jnp.result_type(float))
    value = validate.concrete(x)
    if value is not None and not np.isfinite(value).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(value))[0])
        raise ValueError(f"`locations` must be finite; got {value[where]} at [shot, point, axis] = {where}")
    return x


def _shape(model_shape: Any, ndim: int) -> tuple[int, ...]:
    shape = tuple(validate.whole("model_shape", n, 1) for n in (model_shape if np.ndim(model_shape) else [model_shape]))
    if len(shape) != ndim:
        raise ValueError(
            f"`model_shape` must have one number per coordinate of `locations`, {ndim}; got {list(shape)}. Leave "
            "out an axis of shots"
        )
    return shape


def _windows(half_width: Any, beta: Any) -> Windows:
    r = validate.whole("half_width", half_width, 1)
    if beta is not None:
        beta = validate.positive("beta", beta)
    elif r > len(MONOPOLE_BETA):
        raise ValueError(f"`half_width`={r} has no default `beta`; give one, or use at most {len(MONOPOLE_BETA)}")
    monopole, dipole = (table[r - 1] if beta is None else beta for table in (MONOPOLE_BETA, DIPOLE_BETA))
    return Windows(Window(r, monopole, False), Window(r, dipole, True))


def _direction(dipole_axis: Any, dipole_direction: Any, shape: tuple[int, ...]) -> Any:
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
    d = dipole_direction if isinstance(dipole_direction, jax.core.Tracer) else np.asarray(dipole_direction)
    if d.dtype.kind not in "iuf":
        raise TypeError(f"`dipole_direction` must be real numbers; got dtype {d.dtype}")
    if d.shape not in {(ndim,), shape}:
        raise ValueError(
            f"`dipole_direction` must be a vector of {ndim} components, or one for each point, as `locations` of shape "
            f"{shape}; got shape {d.shape}"
        )
    value = validate.concrete(d)
    if value is not None and not np.isfinite(value).all():
        raise ValueError("`dipole_direction` must be finite; got NaN or infinity")
    return d if d.ndim == 3 else d[None, None, :]


def _each(name: str, x: Any, n: int, what: str) -> list[Any]:
    """``n`` values, from one or from ``n`` of them."""
    values = list(x) if np.ndim(x) else [x] * n
    if len(values) != n:
        raise ValueError(f"`{name}` must be one number or {n} of them ({what}); got {len(values)}")
    return values


def _offsets(offset: Any, ndim: int) -> tuple[float, ...]:
    values = _each("offset", offset, ndim, "one per axis")
    for x in values:
        if not isinstance(x, numbers.Real) or not math.isfinite(x):
            raise TypeError(f"`offset` must be finite numbers; got {x!r}")
    return tuple(float(x) for x in values)


def _mirrors(
    mirror: Any, planes: Any, offsets: tuple[float, ...], shape: tuple[int, ...]
) -> tuple[tuple[_Mirror, _Mirror], ...]:
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
        faces.append(_Mirror(int(sign), round(twice)))
    return tuple(zip(faces[::2], faces[1::2], strict=True))


def _check_reach(value: np.ndarray, bad: np.ndarray, shape: tuple[int, ...], half_width: int) -> None:
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


def _agree(name: str, x: Any, what: str, sizes: tuple[int, int]) -> None:
    """Checks the first two axes of amplitudes."""
    if x.ndim != 3 or x.shape[:2] != sizes:
        raise ValueError(
            f"`{name}` must have shape [shot, {what}, nt] with {sizes[0]} shots and {sizes[1]} {what}s; got shape "
            f"{x.shape}"
        )
