"""The largest stable time step of the staggered equations: a bound that holds for every medium, and is sharp.

Leapfrog is stable while its largest frequency w is below 2 / dt. For velocities v and pressure or stresses p,

    v_t = -b G p    p_t = -K N v        w^2 = rho(K N b G)        rho: the largest eigenvalue

with the differences N, from points between the cells to the cells, and G back. The weights of a staggered difference
alternate in sign. So if every second cell and every second point changes its sign, N and G become non-negative or
non-positive, and w^2 is the largest eigenvalue of the non-negative matrix

    M = K |N| b |G|

Next to some faces weights do not alternate; rho(M) is then an upper bound. So it is for a negative Lame parameter
lamb, in whose place M has zero: the stiffness 2 mu is more than lamb + 2 mu.

For a non-negative matrix every positive vector x gives a bound (Collatz, 1942; Wielandt, 1950):

    rho(M) <= max over i of (M x)_i / x_i

The power iteration, x = M x, makes it smaller in every step, down to rho(M) itself. So however few steps are taken the
bound holds, and few are needed because the modes of the largest frequencies are a few cells wide. The first x is the
square root of K (of b / spacing^2 for velocities), exact in a homogeneous medium.

Only as much is computed as matters. Most media need no smaller time step than their largest speed asks for. So the
model is divided into tiles of a few cells, and where the largest coefficients of a tile and its neighbours would need
none, nothing is done. In the others x grows where its ratio is too large, x = max(x, M x / limit), which never makes
the bound larger; then their neighbours are looked at too. Absorbing layers continue the medium at the model's edge: x
is the same in all cells of a line through them, however many there are. Their damping is left out.

References:
    L. Collatz, "Einschliessungssatz fuer die charakteristischen Zahlen von Matrizen", Mathematische Zeitschrift 48
    (1942); H. Wielandt, "Unzerlegbare, nicht negative Matrizen", Mathematische Zeitschrift 52 (1950); R. S. Varga,
    "Matrix Iterative Analysis", Prentice-Hall (1962), chapter 2.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from jaxwave._numerics import boundary, closures, stencils
from jaxwave._numerics.boundary import PaddedGrid
from jaxwave._numerics.closures import Closure
from jaxwave._numerics.derivative import Derivative
from jaxwave.equations import staggered
from jaxwave.grid import COURANT_NUMBER, critical_courant_number

BRICK = 2**18
"""Cells, roughly, that are worked on at once: they stay in a cache."""
STEPS = 50
"""Products at most; each takes a few cells more around a place into account."""
GAIN = 0.97
"""The iteration ends when four products have not made the square of the speed smaller by this factor."""
ROUNDING = 1e-5
"""More than a product in float32 is wrong by."""
CUT = "cut"
"""The kind of a face within the model: values near it are not right, and not used."""

Fields = list[np.ndarray]
Ranges = tuple[range, ...]


def limiting_speed(
    operator: type[Operator], stiffness: Sequence[np.ndarray], rho: np.ndarray, fastest: float,
    spacing: Sequence[float], accuracy: int, kinds: Sequence[str | None] | None, enough: float = 0.0,
) -> float:  # fmt: skip
    """The largest speed or, if the time step chosen for it would be too long, the speed for which it is not.

    That is the speed of a homogeneous medium whose largest frequency is this one's, times the share of the largest
    stable step that is taken, rounded up to four digits.

    Args:
        operator: M of the equation.
        stiffness, rho: As it needs them, [model, *cells]; rho is 0 in vacuum, and stiffness too.
        fastest: The largest speed of waves.
        spacing, accuracy: Of the differences.
        kinds: Of the faces (see ``PaddedGrid.kinds``); None where absorbing layers are on all sides.
        enough: A speed that need not be undercut: the search ends when the bound is not above it.
    """
    of_one, share = of_homogeneous(spacing, accuracy)
    needed, enough = (of_one * (speed / share) ** 2 / (1 + ROUNDING) for speed in (fastest, enough))
    pairs, found = boundary.pairs(kinds or ("pml",) * 2 * len(spacing)), needed
    for k in range(max(map(len, (*stiffness, rho)))):
        one = Medium([x[k % len(x)] for x in stiffness], rho[k % len(rho)], pairs, accuracy, tuple(spacing))
        if one.rho.any():
            found = max(found, largest_eigenvalue(operator, one, needed, max(enough, found)))
    return fastest if found <= needed else speed_of(found, of_one, share)


def of_homogeneous(spacing: Sequence[float], accuracy: int) -> tuple[float, float]:
    """The square of the largest frequency of a homogeneous medium of speed 1, and the share of the largest stable step
    that is taken.
    """
    of_one = (2 * sum(map(abs, stencils.STAGGERED[accuracy]))) ** 2 * sum(1 / h**2 for h in spacing)
    return of_one, COURANT_NUMBER / critical_courant_number(accuracy, staggered=True)


def speed_of(found: float, of_one: float, share: float) -> float:
    """The speed that a time step is chosen for with a largest frequency of this square, rounded up to four digits."""
    x = share * math.sqrt(found * (1 + ROUNDING) / of_one)
    digit = 10.0 ** (math.floor(math.log10(x)) - 3)
    return float(f"{math.ceil(x / digit) * digit:.4g}")


# ---- the iteration ----


def largest_eigenvalue(operator: type[Operator], medium: Medium, needed: float, enough: float = 0.0) -> float:
    """An upper bound of rho(M), or ``needed`` if that is one. No smaller one is looked for than ``enough``."""
    ratios = _of_extremes(operator, medium)
    active = ratios > needed
    if not active.any():
        return needed
    medium, scale = medium.scaled()
    x = [np.zeros([n + o for n, o in zip(medium.extended, offset, strict=True)], np.float32)
         for offset in operator.offsets(medium.ndim)]  # fmt: skip
    bounds: list[float] = []
    while len(bounds) < STEPS:
        found = []
        for tiles in _bricks(active, medium):
            largest, parts = _product(operator, medium, x, tiles)
            ratios[_slices(tiles)] = scale * largest
            found += parts if scale * largest.max() > needed else []
        bounds.append(float(ratios.max()))
        if bounds[-1] <= max(needed, enough) or (len(bounds) > 4 and bounds[-1] > GAIN * bounds[-5]):
            break
        limit = max(needed, bounds[-1] / 2)  # x grows by a factor of two at most
        for k, place, y, old in found:
            x[k][place] = np.maximum(old, y / np.float32(limit / scale))
        for field, offset in zip(x, operator.offsets(medium.ndim), strict=True):
            _hold_in_layers(field, medium, offset)
        active = _dilated(ratios > limit)
    return max(min(bounds), needed)


def _of_extremes(operator: type[Operator], medium: Medium) -> np.ndarray:
    """A bound of the ratios of the first x in each tile: those of a homogeneous medium of the largest coefficients
    that there are in it and next to it.
    """
    edges = [np.clip(np.array(e[:-1]) - lo, 0, n - 1) for e, (lo, _), n in
             zip(medium.edges, medium.beyond, medium.rho.shape, strict=True)]  # fmt: skip

    def reduced(x: np.ndarray, by: np.ufunc) -> np.ndarray:
        for axis, starts in reversed(list(enumerate(edges))):
            x = by.reduceat(x, starts, axis)
        return x.astype(float)

    small = tuple(min(n, 4 * medium.accuracy) for n in medium.rho.shape)
    factors = _of_ones(operator, small, medium.kinds, medium.accuracy, medium.spacing, len(medium.stiffness))
    total = sum(f * _dilated(reduced(x, np.maximum)) for f, x in zip(factors, medium.stiffness, strict=True))
    full = medium.rho > 0
    if full.all():
        return total * _dilated(1 / reduced(medium.rho, np.minimum))
    lightest = reduced(np.where(full, medium.rho, np.inf), np.minimum)
    return total * _dilated(1 / lightest) * np.where(_dilated(~reduced(full, np.logical_and).astype(bool)), 2, 1)


@functools.lru_cache(maxsize=64)
def _of_ones(operator: type[Operator], shape, kinds, accuracy: int, spacing, count: int) -> tuple[float, ...]:
    """For each stiffness the largest ratio of a homogeneous medium that has 1 for it and for rho, and no other."""
    found = []
    for k in range(count):
        stiffness = [np.full(shape, float(k == j), np.float32) for j in range(count)]
        medium = Medium(stiffness, np.ones(shape, np.float32), kinds, accuracy, spacing)
        one = operator(medium.part(tuple(map(range, medium.extended))))
        x = one.start()
        found.append(max(float(ratio(y, f).max()) for y, f in zip(one.apply(x), x, strict=True)))
    return tuple(found)


def ratio(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """y / x, and 0 where nothing moves."""
    return np.divide(y, x, out=np.zeros_like(y), where=x > 0)


def _dilated(x: np.ndarray) -> np.ndarray:
    """The largest value in each tile and those next to it."""
    for axis in range(x.ndim):
        low, high = ((slice(None),) * axis + (cut,) for cut in (slice(None, -1), slice(1, None)))
        wide = x.copy()
        np.maximum(wide[low], x[high], out=wide[low])
        np.maximum(wide[high], x[low], out=wide[high])
        x = wide
    return x


def _slices(ranges: Ranges, more: Sequence[int] | None = None, origin: Ranges | None = None) -> tuple[slice, ...]:
    """Slices for these ranges and so many values more, of an array that begins at an origin."""
    more, begin = more or (0,) * len(ranges), [r.start for r in origin] if origin else (0,) * len(ranges)
    return tuple(slice(r.start - b, r.stop - b + m) for r, b, m in zip(ranges, begin, more, strict=True))


def _bricks(active: np.ndarray, medium: Medium) -> Iterator[Ranges]:
    """Boxes of tiles that hold all active ones."""
    size = max(1, round(BRICK ** (1 / medium.ndim) / medium.tile))
    for corner in itertools.product(*(range(0, n, size) for n in active.shape)):
        there = active[tuple(slice(c, c + size) for c in corner)]
        if there.any():
            used = [np.flatnonzero(there.any(tuple(a for a in range(there.ndim) if a != k))) for k in range(there.ndim)]
            yield tuple(range(c + int(u[0]), c + int(u[-1]) + 1) for c, u in zip(corner, used, strict=True))


def _product(operator: type[Operator], medium: Medium, x: Fields, tiles: Ranges):
    """The largest ratio in each of these tiles; and for each field its number, its place, M x and x there."""
    own = tuple(range(e[t.start], e[t.stop]) for e, t in zip(medium.edges, tiles, strict=True))
    seen = tuple(
        range(max(r.start - medium.reach, 0), min(r.stop + medium.reach, n))
        for r, n in zip(own, medium.extended, strict=True)
    )
    one, offsets = operator(medium.part(seen)), operator.offsets(medium.ndim)
    around = [f[_slices(seen, o)] for f, o in zip(x, offsets, strict=True)]
    around = [np.where(f > 0, f, start) for f, start in zip(around, one.start(), strict=True)]
    starts = [np.array(e[t.start : t.stop]) - e[t.start] for e, t in zip(medium.edges, tiles, strict=True)]
    largest, parts = 0.0, []
    for number, (y, old, offset) in enumerate(zip(one.apply(around), around, offsets, strict=True)):
        # Points between cells belong to the cell after them, the last one to the last cell.
        more = [o * (r.stop == n) for o, r, n in zip(offset, own, medium.extended, strict=True)]
        mine = _slices(own, more, seen)
        y, old = y[mine], old[mine]
        ratios = ratio(y, old)
        for axis, places in reversed(list(enumerate(starts))):
            ratios = np.maximum.reduceat(ratios, places, axis)
        largest = np.maximum(largest, ratios)
        parts.append((number, _slices(own, more), y, old))
    return largest, parts


def _hold_in_layers(field: np.ndarray, medium: Medium, offset: Sequence[int]) -> None:
    """Makes a field the same in all cells of a layer along its normal, by the largest."""
    for axis, (beyond, o) in enumerate(zip(medium.beyond, offset, strict=True)):
        for side, width in enumerate(beyond):
            if width:
                cut = slice(field.shape[axis] - width - o, None) if side else slice(width + o)
                layer = (slice(None),) * axis + (cut,)
                field[layer] = field[layer].max(axis, keepdims=True)


# ---- a medium and its differences ----


@dataclasses.dataclass(frozen=True, eq=False)
class Medium:
    """The cells of a model, and as many of the layers' as a product sees of them.

    Attributes:
        stiffness: As the operator needs them, [*cells].
        rho: Density, 0 in vacuum.
        kinds: Of the faces, a pair for each axis (see ``PaddedGrid.kinds``).
        accuracy, spacing: Of the differences.
        units: Of stiffness and rho, for numbers near one.
    """

    stiffness: Sequence[np.ndarray]
    rho: np.ndarray
    kinds: tuple[tuple[str | None, str | None], ...]
    accuracy: int
    spacing: tuple[float, ...]
    units: tuple[float, float] = (1.0, 1.0)

    @property
    def ndim(self) -> int:
        return len(self.spacing)

    @property
    def reach(self) -> int:
        """How far away the cells are that a product reads, with those that coefficients between them do."""
        return self.accuracy + 1

    @property
    def tile(self) -> int:
        """Cells of a tile along an axis, or more: as many as a product reaches, at least."""
        return max(8, self.reach)

    @property
    def beyond(self) -> list[list[int]]:
        """Cells of the layers: a pair for each axis."""
        return [[self.accuracy if kind == "pml" else 0 for kind in pair] for pair in self.kinds]

    @functools.cached_property
    def extended(self) -> tuple[int, ...]:
        """Cells with those of the layers."""
        return tuple(n + sum(pair) for n, pair in zip(self.rho.shape, self.beyond, strict=True))

    @functools.cached_property
    def edges(self) -> list[list[int]]:
        """Where tiles begin and end along each axis: one tile where the ends of an axis see each other."""
        counts = [
            1 if "periodic" in pair else max(1, n // self.tile)
            for n, pair in zip(self.extended, self.kinds, strict=True)
        ]
        return [[n * k // count for k in range(count + 1)] for n, count in zip(self.extended, counts, strict=True)]

    def scaled(self) -> tuple[Medium, float]:
        """The same in units of its own, and that of rho(M)."""
        stiffest = max(float(x.max()) for x in self.stiffness)
        lightest = float(self.rho.min(where=self.rho > 0, initial=np.inf))
        return dataclasses.replace(self, units=(stiffest, lightest)), stiffest / lightest

    def part(self, cells: Ranges) -> Part:
        """Some of the extended cells."""
        numbers = [
            np.clip(np.arange(r.start, r.stop) - before, 0, n - 1)
            for r, (before, _), n in zip(cells, self.beyond, self.rho.shape, strict=True)
        ]
        kinds = tuple(
            (first if r.start == 0 else CUT, last if r.stop == n else CUT)
            for r, n, (first, last) in zip(cells, self.extended, self.kinds, strict=True)
        )

        def cut(x: np.ndarray, unit: float) -> np.ndarray:
            return (x[np.ix_(*numbers)] / unit).astype(np.float32)

        stiff, mass = self.units
        return Part([cut(x, stiff) for x in self.stiffness], cut(self.rho, mass), kinds, self.accuracy, self.spacing)


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Cells of a medium, as of :class:`Medium`. A face is :data:`CUT` where cells follow."""

    stiffness: list[np.ndarray]
    rho: np.ndarray
    kinds: tuple[tuple[str | None, str | None], ...]
    accuracy: int
    spacing: tuple[float, ...]

    def buoyancy(self, axis: int) -> np.ndarray:
        """1 / rho between the cells of an axis, and on its faces."""
        return staggered.buoyancy_between(self.rho[None], axis, self.kinds[axis])[0]

    def difference(self, x: np.ndarray, axis: int, half: bool, ends: tuple[Closure, Closure]) -> np.ndarray:
        """|G| x (``half``) or |N| x along an axis, with these closures at its ends."""
        n, kinds = self.rho.shape[axis], self.kinds[axis]
        return _difference(self.accuracy, self.spacing[axis], ends, kinds, half, n)(x, axis)


class Operator(Protocol):
    """M of an equation, for a part of a medium."""

    def __init__(self, part: Part) -> None: ...

    @staticmethod
    def offsets(ndim: int) -> Sequence[Sequence[int]]:
        """For each field of x, along which axes it lies between the cells."""

    def start(self) -> Fields:
        """The first x, of the coefficients at each place alone: positive, but zero where nothing moves."""

    def apply(self, x: Fields) -> Fields:
        """M x."""


@dataclasses.dataclass(frozen=True, eq=False)
class Band:
    """A non-negative matrix along an axis: a stencil, and blocks for the rows near the ends.

    Attributes:
        size: Rows.
        rows: Those of the stencil.
        taps: Its offsets from row to column, in pairs, and their weights.
        blocks: Rows, columns and values of the others.
    """

    size: int
    rows: slice
    taps: tuple[tuple[int, int, np.float32], ...]
    blocks: tuple[tuple[slice, slice, np.ndarray], ...]

    def __call__(self, x: np.ndarray, axis: int) -> np.ndarray:
        """The product with x along an axis."""
        before, after = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
        flat = x.reshape(before, x.shape[axis], after)
        y = np.zeros((before, self.size, after), x.dtype)
        start, stop = self.rows.start, self.rows.stop
        if start < stop:
            for low, high, weight in self.taps:
                y[:, self.rows] += weight * (flat[:, start + low : stop + low] + flat[:, start + high : stop + high])
        for rows, columns, block in self.blocks:
            y[:, rows] += block @ flat[:, columns]
        return y.reshape(*x.shape[:axis], self.size, *x.shape[axis + 1 :])


@functools.lru_cache(maxsize=512)
def _difference(accuracy: int, spacing: float, ends: tuple[Closure, Closure], kinds, half: bool, n: int) -> Band:
    """|G| (``half``) or |N| along an axis of n cells with closures.

    At a face of a layer, what lies beyond is what lies there. Rows that would see beyond a cut are zero.
    """
    r, size, across = accuracy // 2, *((n + 1, n) if half else (n, n + 1))
    c = [abs(w) / spacing for w in stencils.STAGGERED[accuracy]]
    first = r if half else r - 1  # the first and the last row whose stencil sees no end
    near = [accuracy if closure else first for closure in ends]
    rows = slice(near[0], size - near[1])
    if rows.start >= rows.stop:
        rows = slice(size, size)
    taps = tuple((-1 - k + (not half), k + (not half), np.float32(w)) for k, w in enumerate(c))
    blocks = []
    for start, stop, kind in ((0, rows.start, kinds[0]), (rows.stop, size, kinds[1])):
        if kind != CUT and start < stop:
            blocks += _blocks(accuracy, spacing, ends, kinds, half, n, range(start, stop), across)
    return Band(size, rows, taps, tuple(blocks))


def _blocks(accuracy, spacing, ends, kinds, half: bool, n: int, mine: range, across: int):
    """Blocks of these rows; what the other end of a periodic axis adds is one of its own."""
    before, after = (accuracy if kind == "pml" else 0 for kind in kinds)
    d = Derivative(PaddedGrid((before + n + after,), (spacing,), accuracy, (0, 0)), 0, half, ends)
    rows, columns, weights = d.entries()
    total = d.grid.padded[0]
    places, which = np.unique(rows * total + columns, return_inverse=True)
    weights = np.abs(np.bincount(which, weights))
    rows = places // total - d.cells.start - before
    columns = np.clip(places % total - d.back.cells.start - before, 0, across - 1)
    kept = (rows >= mine.start) & (rows < mine.stop) & (weights * spacing > closures.ROUNDING)
    rows, columns, weights = rows[kept] - mine.start, columns[kept], weights[kept]
    used = np.unique(columns)
    for part in np.split(used, np.flatnonzero(np.diff(used) > accuracy) + 1):
        low, high = int(part[0]), int(part[-1]) + 1
        within = (columns >= low) & (columns < high)
        block = np.zeros((len(mine), high - low), np.float32)
        np.add.at(block, (rows[within], columns[within] - low), weights[within])
        yield slice(mine.start, mine.stop), slice(low, high), block


# ---- the equations ----


class Acoustic:
    """x are pressures, which begin as sqrt(K): M = K sum over axes of |N_i| b_i |G_i|. The stiffness is K."""

    def __init__(self, part: Part) -> None:
        self.part, self.buoyancy = part, [part.buoyancy(axis) for axis in range(part.rho.ndim)]
        (self.stiffness,) = part.stiffness

    @staticmethod
    def offsets(ndim: int) -> Sequence[Sequence[int]]:
        return [staggered.unit(ndim)]

    def start(self) -> Fields:
        return [np.sqrt(self.stiffness)]

    def apply(self, x: Fields) -> Fields:
        (p,), total = x, 0
        for axis, b in enumerate(self.buoyancy):
            ends = closures.images(self.part.kinds[axis])
            total = total + self.part.difference(b * self.part.difference(p, axis, True, ends), axis, False, ends)
        return [self.stiffness * total]


class Elastic:
    """x are velocities, which begin as sqrt(b) / spacing. Stiffnesses are lamb, not negative, and mu.

    M is the product of a step, with all signs positive: strains of velocities, stresses, and b times forces.
    """

    def __init__(self, part: Part) -> None:
        (self.lamb, self.mu), self.part, n = part.stiffness, part, part.rho.ndim
        # Where a layer goes on, cells are repeated as beyond rigid faces.
        ends = [tuple("rigid" if kind == "pml" else kind for kind in pair) for pair in part.kinds]
        self.between = {
            (i, j): self._without(staggered.mu_between(self.mu[None], i, j, ends)[0], (i, j), "free")
            for i, j in itertools.combinations(range(n), 2)
        }
        self.buoyancy = [self._without(part.buoyancy(axis), (axis,), "rigid") for axis in range(n)]

    @staticmethod
    def offsets(ndim: int) -> Sequence[Sequence[int]]:
        return [staggered.unit(ndim, axis) for axis in range(ndim)]

    def start(self) -> Fields:
        return [np.sqrt(b) * np.float32(1 / h) for b, h in zip(self.buoyancy, self.part.spacing, strict=True)]

    def apply(self, x: Fields) -> Fields:
        n = len(x)
        strain = [self._difference(v, i, i, False) for i, v in enumerate(x)]
        pressure = self.lamb * sum(strain)
        force = [self._difference(pressure + 2 * self.mu * e, i, i, True) for i, e in enumerate(strain)]
        for (i, j), mu in self.between.items():
            stress = mu * (self._difference(x[i], i, j, True) + self._difference(x[j], j, i, True))
            force[i] += self._difference(stress, i, j, False)
            force[j] += self._difference(stress, j, i, False)
        return [self.buoyancy[i] * force[i] for i in range(n)]

    def _difference(self, x: np.ndarray, i: int, j: int, half: bool) -> np.ndarray:
        """Along j, of a velocity or stress with the component i."""
        return self.part.difference(x, j, half, closures.elastic(self.part.kinds[j], normal=i == j))

    def _without(self, x: np.ndarray, axes: Sequence[int], zero_at: str) -> np.ndarray:
        """x, which lies between the cells along these axes, with zeros on the faces where its field stays zero."""
        for axis in axes:
            for side, kind in enumerate(self.part.kinds[axis]):
                if kind == zero_at or (kind == "periodic" and side == 0):
                    x[(slice(None),) * axis + (-side,)] = 0
        return x
