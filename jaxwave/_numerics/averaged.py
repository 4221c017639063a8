"""Averages on a staggered grid, and derivatives of what is averaged: values where a derivative does not lead.

A derivative leads half a cell on along its axis. Where the result is needed half a cell on along another axis as well,
the field is averaged along that one first,

    D_i A_j x        its transpose is  A_j^T D_i^T

and A_j, to points between cells or back, interpolates to the order of the differences. The layers of D_i act on the
average, since the two commute. On the rotated staggered grid (Saenger, Gold and Shapiro, 2000) all derivatives of what
lies in the cells are so at the corners between them. There D_i A_j is zero for a field that changes its sign from cell
to cell along both axes, and nothing moves it.

Reference:
    E. H. Saenger, N. Gold and S. A. Shapiro, "Modeling the propagation of elastic waves using a modified
    finite-difference grid", Wave Motion 31 (2000).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxwave._numerics import closures, points, ring, stencils
from jaxwave._numerics.along_axis import AlongAxis
from jaxwave._numerics.boundary import Layer, Memory, PaddedGrid
from jaxwave._numerics.closures import Patch
from jaxwave._numerics.derivative import Derivative
from jaxwave._numerics.multiaxial import MultiAxial


@dataclasses.dataclass(frozen=True)
class Mean(AlongAxis):
    """Average along ``axis``, to points between cells (``half``) or to cells; ``closures`` at its two faces."""

    sign = 1

    @property
    def patches(self) -> tuple[Patch, ...]:
        grid, n, h = self.grid, self.grid.interior[self.axis], int(self.half)
        found = closures.mean(grid.accuracy, self.closures, self.half, n)
        return tuple(p.moved(grid.halo - h, grid.halo - 1 + h) for p in found)

    @property
    def _by_offset(self) -> dict[int, float]:
        return stencils.mean_weights(self.grid.accuracy, self.half)

    def _interior(self, x: jax.Array) -> jax.Array:
        cells = self.cells
        return stencils.staggered_mean(x, self.axis + 1, cells.start, cells.size, self.grid.accuracy, self.half)

    def valued(self, x: jax.Array) -> jax.Array:
        """x, zero where the average has no value; an array over a layer along its axis as it is."""
        if x.shape[self.axis + 1] < self.grid.padded[self.axis]:
            return x
        return self.pad(stencils.cells(x, self.axis + 1, self.cells.start, self.cells.size), self.cells)

    def of(self, x: jax.Array) -> jax.Array:
        """The average of x on the padded grid."""
        return self._everywhere(x)

    def back_of(self, e: jax.Array) -> jax.Array:
        """The transpose applied to e."""
        return self._everywhere(e, transposed=True)


@dataclasses.dataclass(frozen=True)
class Averaged:
    """A derivative of an average of a field. It stands in for a :class:`Derivative`, and has its layers."""

    derivative: Derivative | MultiAxial
    means: tuple[Mean, ...]

    @property
    def grid(self) -> PaddedGrid:
        return self.derivative.grid

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.derivative.layers

    @property
    def places(self) -> list[ring.Place]:
        return self.derivative.places

    def memory(self, offset: tuple[int, ...]) -> tuple[Memory, ...]:
        return self.derivative.memory(offset)

    def with_row(self, slabs) -> tuple[jax.Array, ...]:
        return self.derivative.with_row(slabs)

    def without_row(self, memory) -> tuple[jax.Array, ...]:
        return self.derivative.without_row(memory)

    def _mean(self, x: jax.Array, one: Any) -> jax.Array:
        """The average: an array of its own, as the stencil reads it several times."""
        for mean in self.means:
            x = mean.of(x) if one is None else self.grid.form.alone(mean.of(x), one)
        return x

    def plain(self, x: jax.Array, one: Any = None) -> jax.Array:
        """As :meth:`Derivative.plain`."""
        return self.derivative.plain(self._mean(x, one))

    def remember(self, x: jax.Array, memory, profiles, one) -> tuple[jax.Array, ...]:
        """As :meth:`Derivative.remember`."""
        return self.derivative.remember(self._mean(x, one), memory, profiles, one)

    def value(self, x: jax.Array, memory, one: Any = None) -> jax.Array:
        """As :meth:`Derivative.value`."""
        return self.derivative.value(self._mean(x, one), memory)

    def remember_back(self, e: jax.Array, memory, profiles, one) -> tuple[jax.Array, ...]:
        """As :meth:`Derivative.remember_back`."""
        return self.derivative.remember_back(e, memory, profiles, one)

    def value_back(self, e: jax.Array, memory, one) -> jax.Array:
        """As :meth:`Derivative.value_back`."""
        x = self.derivative.value_back(e, memory, one)
        for mean in reversed(self.means):
            x = mean.back_of(self.grid.form.alone(x, one))
        return x

    def adjoint_memory(self, cotangents, profiles) -> tuple[jax.Array, ...]:
        """As :meth:`Derivative.adjoint_memory`; zero where the average has no value, because its transpose looks."""
        for mean in self.means:
            cotangents = tuple(map(mean.valued, cotangents))
        return self.derivative.adjoint_memory(cotangents, profiles)

    def cotangent_memory(self, memory, profiles) -> tuple[jax.Array, ...]:
        """As :meth:`Derivative.cotangent_memory`."""
        return self.derivative.cotangent_memory(memory, profiles)

    def stencil(self, cells: points.Cells, dtype) -> tuple[points.Cells, jax.Array]:
        """As :meth:`Derivative.stencil`."""
        return at_points((self.derivative, *reversed(self.means)), cells, dtype)


def averaged(derivative: Derivative | MultiAxial, means: Sequence[Mean]) -> Derivative | MultiAxial | Averaged:
    """The derivative of what these averages make of a field."""
    return Averaged(derivative, tuple(means)) if means else derivative


def at_points(along: Iterable[Any], cells: points.Cells, dtype) -> tuple[points.Cells, jax.Array]:
    """The product of stencils, the last of which is applied first, at single points: see :meth:`AlongAxis.stencil`."""
    weights = jnp.ones((*cells[0].shape, 1), dtype)
    for each in along:
        near, of_each = each.stencil(cells, dtype)
        of_each = of_each.reshape(*weights.shape, -1)
        weights = (weights[..., None] * of_each).reshape(*weights.shape[:2], -1)
        cells = near
    return cells, weights
