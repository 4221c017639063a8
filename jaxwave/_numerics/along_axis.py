"""Stencils along one axis of a staggered grid, from cells to the points between them or back, and their transposes.

A field that is offset along an axis has point i between the cells i and i + 1. The cells of the interior are [r, r + n)
and the points between them [r - 1, r + n), one on either side of every cell, for a halo of r. Values outside are zero,
so that the stencil that leads back is the transpose, or minus it. Faces that reflect or are periodic add patches
(:mod:`jaxwave._numerics.closures`). Differences are in :mod:`jaxwave._numerics.derivative`, averages in
:mod:`jaxwave._numerics.averaged`.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxwave._numerics import closures, points, stencils
from jaxwave._numerics.boundary import PaddedGrid, Range
from jaxwave._numerics.closures import Closure, Patch


@dataclasses.dataclass(frozen=True)
class AlongAxis:
    """A stencil along ``axis``, to points between cells (``half``) or to cells; ``closures`` at its two faces.

    Its transpose is the stencil that leads back, times ``sign``, but for the closures and their weights.
    """

    grid: PaddedGrid
    axis: int
    half: bool
    closures: tuple[Closure, Closure] = (None, None)

    sign: ClassVar[int]

    @property
    def cells(self) -> Range:
        """Where it is evaluated."""
        r, n = self.grid.halo, self.grid.interior[self.axis]
        return Range(r - 1 if self.half else r, r + n)

    @property
    def back(self) -> Self:
        """The stencil that leads back."""
        return dataclasses.replace(self, half=not self.half)

    @property
    def weights(self) -> np.ndarray:
        """w of the points between cells, along the padded axis: 1 but next to a face."""
        n, total = self.grid.interior[self.axis], self.grid.padded[self.axis]
        line, first = np.ones(total), self.grid.halo - 1
        line[first : first + n + 1] = closures.weights(self.grid.accuracy, self.closures, n)
        return line

    def weights_at(self, cells, dtype) -> jax.Array:
        """w at points of the padded grid: [shot, point]."""
        return jnp.asarray(self.weights, dtype)[cells[self.axis]]

    def entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The stencil along its axis of the padded grid as a sparse matrix: rows, columns and weights [entry].

        Entries at one place add up. Layers are left out: a derivative is that of an array, not of a stretched axis.
        """
        rows, held = np.arange(self.cells.start, self.cells.stop), self.back.cells
        if self.grid.cut(self.axis):
            held = Range(0, self.grid.padded[self.axis])  # halos have values, and beyond an outer face there are zeros
        found = []
        for offset, weight in self._by_offset.items():
            inside = (rows + offset >= held.start) & (rows + offset < held.stop)
            found.append((rows[inside], rows[inside] + offset, np.full(inside.sum(), weight)))
        for patch in self.patches:
            row, column = np.indices(patch.matrix.shape)
            found.append((patch.rows.start + row.ravel(), patch.columns.start + column.ravel(), patch.matrix.ravel()))
        return tuple(map(np.concatenate, zip(*found, strict=True)))

    def _everywhere(self, x: jax.Array, transposed: bool = False) -> jax.Array:
        """The result without layers, or ``sign`` times the transpose, on the padded grid."""
        d = self.back if transposed else self
        patches = self.patches
        if not patches:
            return d.pad(d._interior(x), d.cells)
        patches = tuple(p.transposed.scaled(self.sign) for p in patches) if transposed else patches
        weights, far = closures.with_patches(d._by_offset, patches, d.cells)
        total = d.pad(stencils.weighted(x, self.axis + 1, d.cells.start, d.cells.size, weights), d.cells)
        for patch in far:
            if self.axis < self.grid.ndim - 1:  # no branch: see the scalar equation
                total = total + patch.spread(self.grid.padded[self.axis]).of(x, self.axis + 1)
            else:
                total = total + self.pad(patch.of(x, self.axis + 1), patch.rows)
        return total

    def stencil(self, cells: points.Cells, dtype) -> tuple[points.Cells, jax.Array]:
        """Its result at single points, as weighted values of the array that it is taken of.

        Args:
            cells: Where it is evaluated: padded cell numbers [shot, point] per axis.
            dtype: Of the weights.

        Returns:
            The cells [shot, point * entry] of these values, the entries of a point one after the other, and their
            weights [shot, point, entry].
        """
        columns, weights = table(self)
        row = cells[self.axis]
        near = [jnp.repeat(c, columns.shape[1], axis=1) for c in cells]
        near[self.axis] = jnp.asarray(columns, row.dtype)[row].reshape(row.shape[0], -1)
        return tuple(near), jnp.asarray(weights, dtype)[row]

    def pad(self, x: jax.Array, cells: Range, into: Range | None = None) -> jax.Array:
        """An array over ``cells`` of the axis, padded with zeros; by default to the whole axis."""
        into = into or Range(0, self.grid.padded[self.axis])
        config = [(0, 0, 0)] * x.ndim
        config[self.axis + 1] = (cells.start - into.start, into.stop - cells.stop, 0)
        return lax.pad(x, x.dtype.type(0), config)

    @property
    def patches(self) -> tuple[Patch, ...]:
        """What the closures add, on the padded grid."""
        raise NotImplementedError

    @property
    def _by_offset(self) -> dict[int, float]:
        """The stencil's weights by offset, on the padded grid."""
        raise NotImplementedError

    def _interior(self, x: jax.Array) -> jax.Array:
        """The stencil without closures, at its cells."""
        raise NotImplementedError


@functools.lru_cache(maxsize=64)
def table(derivative: AlongAxis) -> tuple[np.ndarray, np.ndarray]:
    """Columns and weights of a stencil's rows [padded cell, entry]: equally many each, with zeros at their end."""
    n = derivative.grid.padded[derivative.axis]
    rows, columns, weights = derivative.entries()
    places, which = np.unique(rows * n + columns, return_inverse=True)
    summed = np.bincount(which, weights)
    places, summed = places[summed != 0], summed[summed != 0]
    row, start = places // n, np.searchsorted(places // n, np.arange(n + 1))
    entry = np.arange(len(places)) - start[row]
    table = np.zeros((n, entry.max() + 1), int), np.zeros((n, entry.max() + 1))
    for part, values in zip(table, (places % n, summed), strict=True):
        part[row, entry] = values
    return table
