"""First derivatives on a staggered grid, with the memory of a convolutional PML; and their transposes.

A wavefield that is offset along an axis has point i between the cells i and i + 1. A derivative along that axis leads
from cells to points between them (``half``) or back. The cells of the interior are [r, r + n) and the points between
them [r - 1, r + n), one on either side of every cell, for a halo of r. Values outside are zero, which makes the two
derivatives the negative transposes of each other: the scheme conserves energy, and the adjoint is the same stencil.
Faces that reflect or are periodic add patches to it (:mod:`jaxwave._numerics.closures`).

In a layer, with the profiles a and b:

    psi' = b psi + a D x         the derivative is  D x + psi'
    z'   = b z + a e             its transpose is  -D (e + z'),  D the other one of the two

where z is minus a times the cotangent of psi, and e what the transpose is applied to.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxwave._numerics import boundary, closures, points, ring, stencils
from jaxwave._numerics.along_axis import AlongAxis
from jaxwave._numerics.boundary import Layer, Memory, PaddedGrid, Range
from jaxwave._numerics.closures import Patch


@dataclasses.dataclass(frozen=True)
class Derivative(AlongAxis):
    """Derivative along ``axis``, to points between cells (``half``) or to cells; ``closures`` at its two faces."""

    sign = -1

    @property
    def layers(self) -> tuple[Layer, ...]:
        r, n, found = self.grid.halo, self.grid.face(self.axis), []
        seen, h = self.back.cells, int(self.half)
        for side, width in enumerate(self.grid.faces[self.axis]):
            if width:
                cells = Range(r - h, r + width) if side == 0 else Range(r + n - width - h, r + n)
                reach = Range(max(seen.start, cells.start - r + h), min(seen.stop, cells.stop + r - 1 + h))
                extent = Range(reach.start - r + 1 - h, reach.stop + r - h)
                outer = self.grid.has_face(self.axis, side)
                found.append(Layer(self.axis, side, width, cells, reach, extent, outer))
        return tuple(found)

    def memory(self, offset: tuple[int, ...]) -> tuple[Memory, ...]:
        """Where the memory variables live, for a derivative whose values are at ``offset``."""
        return tuple(Memory(self.axis, layer.cells, layer.cells, offset) for layer in self.layers)

    @property
    def places(self) -> list[ring.Place]:
        """The cells of the memory variables, for the ring."""
        return [(self.axis, layer.cells) for layer in self.layers]

    @property
    def patches(self) -> tuple[Patch, ...]:
        grid, n, h = self.grid, self.grid.interior[self.axis], int(self.half)
        found = closures.first(grid.accuracy, self.closures, self.half, n)
        size = grid.spacing[self.axis]
        return tuple(p.scaled(1 / size).moved(grid.halo - h, grid.halo - 1 + h) for p in found)

    def plain(self, x: jax.Array, one: Any = None) -> jax.Array:
        """The derivative of x without its layers, on the padded grid."""
        return self._everywhere(x)

    @property
    def _by_offset(self) -> dict[int, float]:
        weights = stencils.staggered_weights(stencils.STAGGERED[self.grid.accuracy], self.half)
        return {offset: w / self.grid.spacing[self.axis] for offset, w in weights.items()}

    def _interior(self, x: jax.Array) -> jax.Array:
        return self.difference(x, self.cells)

    def difference(self, x: jax.Array, cells: Range, origin: int = 0) -> jax.Array:
        """D x at ``cells``, of an array that begins at cell ``origin``."""
        grid, axis = self.grid, self.axis
        start, size = cells.start - origin, cells.size
        return stencils.staggered_difference(x, axis + 1, start, size, grid.accuracy, grid.spacing[axis], self.half)

    @property
    def rows(self) -> bool:
        """Whether a loop lays out what the layers hold in whole rows too, if its form does.

        A kernel that adds slabs of the last axis under pads checks bounds in its inner loop, which takes a fifth of a
        step in 2-D on a CPU (in 3-D nothing). An array that is zero between the layers is added without; copying the
        slabs there costs little. It is the last of the memory variables, in the loop's state and in the adjoint.
        """
        return self.grid.form.rows and self.axis == self.grid.ndim - 1 < 2 and len(self.layers) > 0

    def with_row(self, slabs) -> tuple[jax.Array, ...]:
        """The memory variables of the layers, and their row if there is one."""
        if not self.rows:
            return tuple(slabs)
        padded = [self.pad(x, layer.cells) for x, layer in zip(slabs, self.layers, strict=True)]
        return (*slabs, sum(padded[1:], padded[0]))

    def without_row(self, memory) -> tuple[jax.Array, ...]:
        return tuple(memory[: len(self.layers)])

    def _cut(self, x: jax.Array, cells: Range, origin: int = 0) -> jax.Array:
        """x, which begins at cell ``origin``, over ``cells`` of the axis."""
        return stencils.cells(x, self.axis + 1, cells.start - origin, cells.size)

    def remember(self, x: jax.Array, memory, profiles, one) -> tuple[jax.Array, ...]:
        """The memory of its layers after the step."""
        after, profiles = [], profiles[self.axis][self.half]
        for psi, layer, profile in zip(self.without_row(memory), self.layers, profiles, strict=True):
            psi = profile["b"] * psi + profile["a"] * self.difference(x, layer.cells)
            after.append(self.grid.form.alone(psi, one))
        return self._in_row(memory, after)

    def value(self, x: jax.Array, memory, one: Any = None) -> jax.Array:
        """The derivative of x on the padded grid, given the memory after the step."""
        d = self._everywhere(x)
        if self.rows:
            return d + memory[-1]
        for psi, layer in zip(memory, self.layers, strict=True):
            d = d + self.pad(psi, layer.cells)
        return d

    def remember_back(self, e: jax.Array, memory, profiles, one) -> tuple[jax.Array, ...]:
        """The adjoint's memory after the step, which reads e."""
        after, profiles = [], profiles[self.axis][self.half]
        suffix = "" if self.rows else "_extent"
        for z, layer, profile in zip(self.without_row(memory), self.layers, profiles, strict=True):
            cells = layer.cells if self.rows else layer.extent
            z = profile["b" + suffix] * z + profile["a" + suffix] * self._cut(e, cells)
            after.append(self.grid.form.alone(z, one))
        return self._in_row(memory, after)

    def value_back(self, e: jax.Array, memory, one=None) -> jax.Array:
        """Minus the transpose applied to e, on the padded grid, given the adjoint's memory after the step."""
        if self.rows:
            return self._everywhere(e + memory[-1], transposed=True)
        d, back = self._everywhere(e, transposed=True), self.back
        for z, layer in zip(memory, self.layers, strict=True):
            # No division here: this has a single user, and one inside its branch makes that twice as slow.
            d = d + back.pad(back.difference(z, layer.reach, layer.extent.start), layer.reach)
        return d

    def _in_row(self, memory, slabs) -> tuple[jax.Array, ...]:
        """The memory with these slabs, and its row with them put in."""
        if not self.rows:
            return tuple(slabs)
        row = memory[-1]
        for x, layer in zip(slabs, self.layers, strict=True):
            row = lax.dynamic_update_slice_in_dim(row, x, layer.cells.start, self.axis + 1)
        return (*slabs, row)

    def adjoint_memory(self, cotangents, profiles) -> tuple[jax.Array, ...]:
        """The adjoint's memory from the cotangents of the memory variables after a step, in slabs."""
        found = []
        for x, layer, q in zip(cotangents, self.layers, profiles[self.axis][self.half], strict=True):
            if self.rows:
                found.append(over(q["a"], q["b"]) * x)
            else:
                found.append(over(q["a_extent"], q["b_extent"]) * self.pad(x, layer.cells, layer.extent))
        return self.with_row(found)

    def cotangent_memory(self, memory, profiles) -> tuple[jax.Array, ...]:
        """The inverse: the cotangents of the memory variables before a step."""
        found = []
        for z, layer, q in zip(self.without_row(memory), self.layers, profiles[self.axis][self.half], strict=True):
            z = z if self.rows else self._cut(z, layer.cells, layer.extent.start)
            found.append(over(q["b"], q["a"]) * z)
        return tuple(found)

    def profiles(self, dt, max_vel, pml_freq, dtype, share: float = 1.0) -> tuple[dict[str, np.ndarray], ...]:
        """Profiles of every layer, a and b where it has a memory and over its extent; for a share of its damping."""
        found = []
        for layer in self.layers:
            inner = self.grid.halo + (layer.width if layer.side == 0 else self.grid.face(self.axis) - layer.width - 1)
            depth = np.abs(np.arange(layer.cells.start, layer.cells.stop) + 0.5 * self.half - inner) / layer.width
            a, b = boundary.pml_profile_at(
                np.minimum(depth, 1), layer.width, self.grid.spacing[self.axis], dt, max_vel, pml_freq, share
            )
            lines = {
                name + suffix: layer.line(profile, cells, self.grid.ndim, dtype)
                for suffix, cells in (("", layer.cells), ("_extent", layer.extent))
                for name, profile in (("a", a), ("b", b))
            }
            found.append(lines)
        return tuple(found)


def transposed(derivatives, fields, memories, one) -> jax.Array:
    """Minus the sum of the transposes of derivatives, each applied to a field, given the memories after the step.

    In 3-D the parts are added one after the other. Together they have so many bounds checks that the compiler makes
    masked loads of them; those of memory that has no pages yet take hundreds of cycles each.
    """
    total = 0
    for k, (d, e, memory) in enumerate(zip(derivatives, fields, memories, strict=True)):
        total = total + d.value_back(e, memory, one)
        if e.ndim == 4 and k < len(fields) - 1:
            total, one = d.grid.form.materialize(total, one)
    return total


def over(x, y):
    """x / y of profiles, zero where y is zero."""
    return points.divide(jnp.asarray(x), jnp.asarray(y))


def all_profiles(grid: PaddedGrid, dt: float, max_vel: float, pml_freq: float, dtype, share: float = 1.0):
    """Profiles of both derivatives along every axis, ``[axis][half]``, for a share of the layers' damping."""
    return tuple(
        tuple(Derivative(grid, axis, half).profiles(dt, max_vel, pml_freq, dtype, share) for half in (False, True))
        for axis in range(grid.ndim)
    )
