"""Centred and staggered finite differences of order 2, 4, 6 and 8 along one axis of an array.

Weights are the standard ones (Fornberg, 1988, Math. Comp. 51, table 1). All functions work on a *range* of an axis:
they read ``size`` cells from ``start`` and the ``order // 2`` cells on either side, and return ``size`` cells, so that
the same code serves the whole grid and the narrow slabs of an absorbing layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax import lax

ACCURACIES = (2, 4, 6, 8)

# f'(x) ~ sum_k w[k-1] (f(x + k h) - f(x - k h)) / h, k = 1, 2, ...
FIRST = {
    2: (1 / 2,),
    4: (2 / 3, -1 / 12),
    6: (3 / 4, -3 / 20, 1 / 60),
    8: (4 / 5, -1 / 5, 4 / 105, -1 / 280),
}

# f''(x) ~ (w[0] f(x) + sum_k w[k] (f(x + k h) + f(x - k h))) / h^2, k = 1, 2, ...
SECOND = {
    2: (-2.0, 1.0),
    4: (-5 / 2, 4 / 3, -1 / 12),
    6: (-49 / 18, 3 / 2, -3 / 20, 1 / 90),
    8: (-205 / 72, 8 / 5, -1 / 5, 8 / 315, -1 / 560),
}


# f'(x) ~ sum_k w[k-1] (f(x + (k - 1/2) h) - f(x - (k - 1/2) h)) / h, k = 1, 2, ...
STAGGERED = {
    2: (1.0,),
    4: (9 / 8, -1 / 24),
    6: (75 / 64, -25 / 384, 3 / 640),
    8: (1225 / 1024, -245 / 3072, 49 / 5120, -5 / 7168),
}


def cells(x: jax.Array, axis: int, start: int, size: int) -> jax.Array:
    """``size`` cells of ``x`` from ``start`` along ``axis``."""
    return lax.slice_in_dim(x, start, start + size, axis=axis)


def first_difference(x: jax.Array, axis: int, start: int, size: int, accuracy: int, spacing: float) -> jax.Array:
    """First derivative of ``x`` along ``axis`` at ``size`` cells from ``start``."""
    pairs = [(k, -k, w / spacing) for k, w in enumerate(FIRST[accuracy], start=1)]
    return _antisymmetric(x, axis, start, size, pairs)


def staggered_difference(
    x: jax.Array, axis: int, start: int, size: int, accuracy: int, spacing: float, half: bool
) -> jax.Array:
    """First derivative of ``x`` along ``axis`` half a cell away from its points, at ``size`` points from ``start``.

    With ``half``, point i of the result lies between the cells i and i + 1 of x; without, cell i of the result lies
    between the points i - 1 and i of x.
    """
    ahead = int(half)
    pairs = [(k + ahead, ahead - 1 - k, w / spacing) for k, w in enumerate(STAGGERED[accuracy])]
    return _antisymmetric(x, axis, start, size, pairs)


def _antisymmetric(
    x: jax.Array, axis: int, start: int, size: int, pairs: Sequence[tuple[int, int, float]]
) -> jax.Array:
    """The sum of w (x[. + ahead] - x[. + behind]) over pairs (ahead, behind, w), at ``size`` cells from ``start``."""
    terms = [
        x.dtype.type(w) * (cells(x, axis, start + ahead, size) - cells(x, axis, start + behind, size))
        for ahead, behind, w in pairs
    ]
    return sum(terms[1:], terms[0])


def second_difference(x: jax.Array, axis: int, start: int, size: int, accuracy: int, spacing: float) -> jax.Array:
    """Second derivative of ``x`` along ``axis`` at ``size`` cells from ``start``."""
    centre, *sides = (x.dtype.type(w / spacing**2) for w in SECOND[accuracy])
    total = centre * cells(x, axis, start, size)
    for k, w in enumerate(sides, start=1):
        total = total + w * (cells(x, axis, start + k, size) + cells(x, axis, start - k, size))
    return total


def staggered_weights(c: Sequence[float], half: bool) -> dict[int, float]:
    """Weights of a staggered difference by offset, as :func:`staggered_difference` numbers points, from those of its
    positive half.
    """
    ahead = int(half)
    before = {ahead - 1 - k: -w for k, w in reversed(list(enumerate(c)))}
    return before | {ahead + k: w for k, w in enumerate(c)}


def mean_weights(accuracy: int, half: bool) -> dict[int, float]:
    """Weights by offset of the average half a cell away from an array's points, which is of the order of the
    difference; points are numbered as by :func:`staggered_difference`.

    The polynomial through the points that the difference is the derivative of, k + 1/2 of them apart: a[k] = c[k] (k +
    1/2).
    """
    a = [c * (k + 1 / 2) for k, c in enumerate(STAGGERED[accuracy])]
    ahead = int(half)
    before = {ahead - 1 - k: w for k, w in reversed(list(enumerate(a)))}
    return before | {ahead + k: w for k, w in enumerate(a)}


def staggered_mean(x: jax.Array, axis: int, start: int, size: int, accuracy: int, half: bool) -> jax.Array:
    """The average of ``x`` along ``axis`` half a cell away from its points, at ``size`` points from ``start``."""
    w, ahead = STAGGERED[accuracy], int(half)
    terms = [
        x.dtype.type(c * (k + 1 / 2))
        * (cells(x, axis, start + ahead + k, size) + cells(x, axis, start + ahead - 1 - k, size))
        for k, c in enumerate(w)
    ]
    return sum(terms[1:], terms[0])


def second_weights(accuracy: int) -> dict[int, float]:
    """Weights of the second difference by offset."""
    w = SECOND[accuracy]
    return {k: w[abs(k)] for k in range(1 - len(w), len(w))}


def weighted(x: jax.Array, axis: int, start: int, size: int, weights: Mapping[int, float | np.ndarray]) -> jax.Array:
    """The stencil with these weights by offset, numbers or lines [size], at ``size`` cells from ``start``."""
    shape = [size if a == axis else 1 for a in range(x.ndim)]
    terms = [
        (w.astype(x.dtype).reshape(shape) if np.ndim(w) else x.dtype.type(w)) * cells(x, axis, start + k, size)
        for k, w in weights.items()
    ]
    return sum(terms[1:], terms[0])


def laplacian(
    x: jax.Array, start: int, shape: Sequence[int], accuracy: int, spacing: Sequence[float], axes: Sequence[int]
) -> jax.Array:
    """Sum of the second derivatives along these of the model's axes (the first of x are the shots), at ``shape`` cells
    from ``start``.
    """
    ndim = len(shape)

    def shifted(axis: int, k: int) -> jax.Array:
        low = [start + (k if a == axis else 0) for a in range(ndim)]
        return lax.slice(x, [0, *low], [x.shape[0], *(lo + n for lo, n in zip(low, shape, strict=True))])

    centre = sum(SECOND[accuracy][0] / spacing[axis] ** 2 for axis in axes)
    total = x.dtype.type(centre) * shifted(0, 0)
    for axis in axes:
        for k, w in enumerate(SECOND[accuracy][1:], start=1):
            total = total + x.dtype.type(w / spacing[axis] ** 2) * (shifted(axis, k) + shifted(axis, -k))
    return total
