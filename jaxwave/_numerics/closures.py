"""Differences next to reflecting and periodic faces: NumPy matrices of a few cells.

A face is the outer boundary of the outermost cell, half a cell from its centre. Cells are numbered 0, 1, ... from the
face, the points between them 0, 1, ..., and point 0 lies on the face. N leads from points to cells, G from cells to
points, and next to every face

    G = -W^-1 N^T,    W = diag(w),    w = 1 away from faces

so the derivatives are negative transposes of each other in the product that counts point i with the weight w_i: the
scheme conserves the energy that is summed with these weights. A face's *closure* is named after the field in the cells:

    odd, even        the fields go on beyond the face as mirror images; the one in the cells is antisymmetric about it
                     and the one between them symmetric, or the other way round. w_0 = 1/2. Of the full order where
                     the true field is as smooth as its image.
    pinned, loose    the field in the cells vanishes on the face and the one between them is free there, or the other
                     way round. No image is made, so neither needs to be smooth beyond the face.
    periodic         the last cell is the neighbour of the first. Points 0 and n are the same, and n stands for both.

For the second pair the difference of order 2r is written as a filter A of the difference delta of order 2, with
A[i, j] = a[i - j], a[j] = sum of c[k] over k >= |j|, c the stencil's weights, and the filter is folded at the face:

    pinned   N = A' delta    A'[i, j] = a[i - j] + a[i + j + 1]      (cells)
    loose    N = delta M     M[i, j]  = a[i - j] - a[i + j]          (points, i and j >= 1; zero for point 0)
    w[i] = sum over j of M[i, j] for i >= 1,    w[0] = sum over j of a[j] |j + 1/2|    (order 4: 11/24, 25/24, 1, ...)

N and G are then exact for every linear field, up to the face, and w are the weights of a quadrature that is too. At
order 2 both pairs are the same. (Such pairs are known as summation by parts on a staggered grid; O. O'Reilly and N. A.
Petersson, J. Comput. Phys. 411 (2020), have some of higher order at the face, with more points.)

A difference with closures is the one that takes all values beyond the faces to be zero, plus *patches*.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from jaxwave._numerics import stencils
from jaxwave._numerics.boundary import Range

Closure = str | None
"""What a difference does at a face; None where values beyond it are zero, as at a layer's outer end."""

ROUNDING = 1e-14
"""What sums of weights that cancel leave behind, for cells of size 1."""


def images(ends: Sequence[str | None]) -> tuple[Closure, Closure]:
    """Closures of a field in the cells that is zero on free faces and whose derivative is on rigid ones."""
    return named(ends, {"free": "odd", "rigid": "even"})


def elastic(ends: Sequence[str | None], normal: bool) -> tuple[Closure, Closure]:
    """Closures of normal stress and normal velocity, or else of tangential velocity and shear stress."""
    return named(ends, {"free": "pinned", "rigid": "loose"} if normal else {"free": "loose", "rigid": "pinned"})


def named(ends: Sequence[str | None], names: Mapping[str, str]) -> tuple[Closure, Closure]:
    """Closures at faces of these kinds, by the names that reflecting kinds have."""
    first, last = ({**names, "periodic": "periodic"}.get(kind) for kind in ends)
    return first, last


@dataclasses.dataclass(frozen=True, eq=False)
class Patch:
    """What a closure adds: a matrix from ``columns`` to ``rows`` of an axis."""

    rows: Range
    columns: Range
    matrix: np.ndarray

    def moved(self, rows: int, columns: int) -> Patch:
        """The same further on."""
        return Patch(_shift(self.rows, rows), _shift(self.columns, columns), self.matrix)

    def scaled(self, by: float) -> Patch:
        return Patch(self.rows, self.columns, by * self.matrix)

    def spread(self, n: int) -> Patch:
        """The same with ``n`` rows, most of them zero."""
        matrix = np.zeros((n, self.columns.size))
        matrix[self.rows.start : self.rows.stop] = self.matrix
        return Patch(Range(0, n), self.columns, matrix)

    @property
    def transposed(self) -> Patch:
        return Patch(self.columns, self.rows, self.matrix.T)

    def of(self, x: jax.Array, axis: int) -> jax.Array:
        """The product with ``x`` along ``axis``, at the rows."""
        shape = [self.rows.size if a == axis else 1 for a in range(x.ndim)]
        terms = [
            column.astype(x.dtype).reshape(shape) * stencils.cells(x, axis, self.columns.start + k, 1)
            for k, column in enumerate(self.matrix.T)
            if column.any()
        ]
        return sum(terms[1:], terms[0])

    def along(self, band: range) -> bool:
        """Whether no column is further from its row than a stencil that reaches over ``band``."""
        rows, columns = np.nonzero(self.matrix)
        apart = columns + self.columns.start - rows - self.rows.start
        return band.start <= apart.min() and apart.max() < band.stop


Weights = Mapping[int, float | np.ndarray]
"""Weights of a stencil by offset: numbers, or lines along its axis."""


def with_patches(
    weights: Mapping[int, float], patches: Sequence[Patch], cells: Range
) -> tuple[Weights, tuple[Patch, ...]]:
    """A stencil at ``cells`` with the patches that it can take up, and the others: those from one end to the other.

    Where a patch changes a weight, the weight becomes a line along the axis. A product that is added under a pad would
    be a branch instead, which keeps the compiler from vectorising the kernel that it is in.
    """
    near = [p for p in patches if p.along(range(min(weights), max(weights) + 1))]
    found = {}
    for offset, w in weights.items():
        line = np.full(cells.size, w)
        for patch in near:
            for i, row in enumerate(patch.matrix, patch.rows.start):
                column = i + offset - patch.columns.start
                if 0 <= column < len(row):
                    line[i - cells.start] += row[column]
        found[offset] = w if (line == w).all() else line
    return found, tuple(p for p in patches if p not in near)


def _shift(cells: Range, by: int) -> Range:
    return Range(cells.start + by, cells.stop + by)


# ---- first differences on a staggered grid ----


@functools.lru_cache
def first(accuracy: int, closures: tuple[Closure, Closure], half: bool, n: int) -> tuple[Patch, ...]:
    """Patches of the derivative along an axis of n cells, for cells of size 1: of G with ``half``, else of N."""
    small = min(n, 2 * accuracy)
    with_faces, w = _to_cells(accuracy, closures, small)
    plain, _ = _to_cells(accuracy, (None, None), small)
    found = (plain.T - with_faces.T / w[:, None]) if half else with_faces - plain
    return _patches(found, n - small)


@functools.lru_cache
def mean(accuracy: int, closures: tuple[Closure, Closure], half: bool, n: int) -> tuple[Patch, ...]:
    """Patches of the average along an axis of n cells: to points with ``half``, else to cells.

    The two are transposes of each other in the product with the weights w of the differences. So at a face that is
    "odd" both fields, that in the cells and that between them, are antisymmetric about it, and at one that is "even"
    symmetric.
    """
    small = min(n, 2 * accuracy)
    with_faces, w = _mean_to_cells(accuracy, closures, small)
    plain, _ = _mean_to_cells(accuracy, (None, None), small)
    found = with_faces.T / w[:, None] - plain.T if half else with_faces - plain
    return _patches(found, n - small)


def _mean_to_cells(accuracy: int, closures: tuple[Closure, Closure], n: int) -> tuple[np.ndarray, np.ndarray]:
    """The average [cell, point] and w [point] of an axis of n cells."""
    band, r = stencils.mean_weights(accuracy, half=True), accuracy // 2  # point i lies before cell i here
    cells, points, w = np.arange(n), np.arange(n + 1), np.ones(n + 1)
    if "periodic" in closures:
        matrix = np.zeros((n, n + 1))
        for offset, a in band.items():
            np.add.at(matrix, (cells, (cells + offset - 1) % n + 1), a)
        return matrix, w
    if not set(closures) <= {None, "odd", "even"}:
        raise ValueError(f"there are no averages next to faces with the closures {closures}")
    wide, sides = np.arange(-r, n + 1 + r), []
    for closure in closures:
        fold = _folded_points(wide, points, {None: 0, "odd": -1, "even": 1}[closure])
        sides.append(_banded(cells, wide, band) @ fold)
    w[[0, -1]] = [1 if closure is None else 1 / 2 for closure in closures]
    return np.concatenate([sides[0][: n // 2], sides[1][::-1, ::-1][n // 2 :]]), w


@functools.lru_cache
def weights(accuracy: int, closures: tuple[Closure, Closure], n: int) -> np.ndarray:
    """w of the points 0 to n."""
    small = min(n, 2 * accuracy)
    return _stretched(_to_cells(accuracy, closures, small)[1], n + 1, 1.0)


def _to_cells(accuracy: int, closures: tuple[Closure, Closure], n: int) -> tuple[np.ndarray, np.ndarray]:
    """N [cell, point] and w [point] of an axis of n cells, n >= ``accuracy`` if there are closures."""
    if "periodic" in closures:
        matrix, cells = np.zeros((n, n + 1)), np.arange(n)
        for offset, c in _difference(stencils.STAGGERED[accuracy]).items():
            np.add.at(matrix, (cells, (cells + offset - 1) % n + 1), c)
        return matrix, np.ones(n + 1)
    (near, w), (far, v) = (_half_line(accuracy, closure, n) for closure in closures)
    middle = n // 2
    matrix = np.concatenate([near[:middle], -far[::-1, ::-1][middle:]])
    return matrix, np.concatenate([w[: middle + 1], v[::-1][middle + 1 :]])


def _half_line(accuracy: int, closure: Closure, n: int) -> tuple[np.ndarray, np.ndarray]:
    """N and w next to the first face; the last ``accuracy // 2`` cells know of no other face."""
    c, r = stencils.STAGGERED[accuracy], accuracy // 2
    cells, points, w = np.arange(n), np.arange(n + 1), np.ones(n + 1)
    wide_cells, wide_points = np.arange(-r, n + r), np.arange(-r, n + 1 + r)
    if closure in (None, "odd", "even"):
        w[0] = 1 if closure is None else 1 / 2
        sign = {None: 0, "odd": 1, "even": -1}[closure]
        return _banded(cells, wide_points, _difference(c)) @ _folded_points(wide_points, points, sign), w
    a = {j: sum(c[abs(j) :]) for j in range(1 - r, r)}
    delta = _banded(cells, points, _difference((1.0,)))
    folded = _banded(points, wide_points, a) @ _folded_points(wide_points, points, -1)
    w[0] = sum(x * abs(j + 1 / 2) for j, x in a.items())
    w[1:r] = folded[1:r].sum(1)
    if closure == "loose":
        return delta @ folded, w
    fold = np.equal.outer(np.where(wide_cells < 0, -1 - wide_cells, wide_cells), cells)
    return _banded(cells, wide_cells, a) @ fold @ delta, w


def _folded_points(wide: np.ndarray, points: np.ndarray, sign: int) -> np.ndarray:
    """A field at points continued beyond the face with a sign: 1 symmetric, -1 antisymmetric, 0 by zeros."""
    own = np.equal.outer(wide, points) * (1.0 if sign >= 0 else (points > 0))
    return own + sign * np.equal.outer(-wide, points) * (wide < 0)[:, None]


def _difference(c: Sequence[float]) -> dict[int, float]:
    """Weights of N by the number of the point less that of the cell."""
    return stencils.staggered_weights(c, half=True)  # point i lies before cell i here


def _banded(rows: np.ndarray, columns: np.ndarray, band: dict[int, float]) -> np.ndarray:
    apart = columns[None, :] - rows[:, None]
    return sum(w * (apart == offset) for offset, w in band.items())


# ---- second differences ----


@functools.lru_cache
def second(accuracy: int, closures: tuple[Closure, Closure], n: int) -> tuple[Patch, ...]:
    """Patches of the second difference along an axis of n cells of size 1, for "odd", "even" and "periodic"."""
    small, w = min(n, 2 * accuracy), stencils.SECOND[accuracy]
    cells = np.arange(small)
    # What lies so many cells beyond the face, as seen from cell i, is the image of cell j.
    apart = cells[:, None] + cells[None, :] + 1
    image = sum(weight * (apart == k) for k, weight in enumerate(w))
    if "periodic" in closures:
        return _patches(image[:, ::-1] + image[::-1, :], n - small)
    sign = [{None: 0, "odd": -1, "even": 1}[closure] for closure in closures]
    return _patches(sign[0] * image + sign[1] * image[::-1, ::-1], n - small)


# ---- patches ----


def _patches(matrix: np.ndarray, shift: int) -> tuple[Patch, ...]:
    """The parts of a matrix that differ from zero: up to one for each pair of ends. The last end is ``shift`` on."""
    found, middle = [], [n // 2 for n in matrix.shape]
    for i in (0, 1):
        for j in (0, 1):
            start = (i * middle[0], j * middle[1])
            part = matrix[(slice(0, middle[0]), slice(middle[0], None))[i]]
            part = part[:, (slice(0, middle[1]), slice(middle[1], None))[j]]
            used = [np.flatnonzero((np.abs(part) > ROUNDING).any(1 - axis)) for axis in (0, 1)]
            if not used[0].size:
                continue
            part = np.where(np.abs(part) > ROUNDING, part, 0)
            (low, high), (left, right) = ((x[0], x[-1] + 1) for x in used)
            patch = Patch(Range(int(low), int(high)), Range(int(left), int(right)), part[low:high, left:right])
            found.append(patch.moved(start[0] + i * shift, start[1] + j * shift))
    return tuple(found)


def _stretched(line: np.ndarray, n: int, middle: float) -> np.ndarray:
    """A line whose two halves stand at the ends of n values."""
    half = len(line) // 2
    return np.concatenate([line[:half], np.full(n - len(line), middle), line[half:]])
