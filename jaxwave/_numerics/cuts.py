"""Axes of the grid that are cut into parts, one on each device along an axis of a mesh.

A part holds its own cells and, beyond a cut, a halo of ``accuracy / 2`` cells that belong to its neighbours. In a halo
the coefficients are zero, so an update leaves it wrong. What is differentiated along a cut axis is exchanged after each
update, so that in a loop all halos are as the neighbours have them; but for corners, which no stencil reads.

All parts run one program. What only outer faces have, the profiles of the layers, is zero on other parts; and where the
cells do not divide evenly, the last part ends with cells that are ``beyond`` the outer face, where nothing moves.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import lax

from jaxwave import _jax_internals as jax_internals

if TYPE_CHECKING:
    from jaxwave._numerics.boundary import PaddedGrid


@dataclasses.dataclass(frozen=True)
class Cut:
    """How an axis of the grid is cut.

    Attributes:
        name: The axis of the mesh.
        parts: Their number.
        beyond: Cells that the last part has beyond the outer face.
        index: The part whose layers are described. None: any part, with the layers of both faces.
    """

    name: str
    parts: int
    beyond: int = 0
    index: int | None = None

    def is_outer(self, side: int) -> bool:
        """Whether the part has the outer face of this side."""
        return self.index is None or self.index == (0 if side == 0 else self.parts - 1)


def exchange(grid: PaddedGrid, x: jax.Array, axis: int, sent: jax.Array | None = None) -> jax.Array:
    """x [shot, *padded] with the halos along an axis as the neighbours have them; as it is where that is not cut.

    What the first part holds in front of its cells is its own: fields that lie between cells have a value on the face.
    The neighbours are sent cells of ``sent``, which is equal to x; by default of x.
    """
    cut = grid.cut(axis)
    if cut is None or cut.parts == 1:
        return x
    r, n = grid.halo, grid.interior[axis]
    sent = x if sent is None else sent
    before = _shifted(sent, axis, n, r, cut, +1)
    after = _shifted(sent, axis, r, r, cut, -1)
    own = lax.slice_in_dim(x, 0, r, axis=axis + 1)
    before = jnp.where(jax_internals.part_number(cut.name) == 0, own, before)
    x = lax.dynamic_update_slice_in_dim(x, before, 0, axis + 1)
    return lax.dynamic_update_slice_in_dim(x, after, r + n, axis + 1)


def fold(grid: PaddedGrid, x: jax.Array, axis: int) -> jax.Array:
    """The transpose of :func:`exchange`: what halos hold is added to the cells of the neighbours that they are of."""
    cut = grid.cut(axis)
    if cut is None or cut.parts == 1:
        return x
    r, n = grid.halo, grid.interior[axis]
    low = jnp.where(jax_internals.part_number(cut.name) == 0, 0, lax.slice_in_dim(x, 0, r, axis=axis + 1))
    x = _added(x, -low, 0, axis)
    x = _added(x, jax_internals.shift(low, cut.name, cut.parts, -1), n, axis)
    x = _added(x, _shifted(x, axis, r + n, r, cut, +1), r, axis)
    zeros = jnp.zeros_like(low)
    return lax.dynamic_update_slice_in_dim(x, zeros, r + n, axis + 1)


def _shifted(x: jax.Array, axis: int, start: int, size: int, cut: Cut, by: int) -> jax.Array:
    """These cells of the part before (``by`` 1) or after (-1); zeros where there is none."""
    cells = lax.slice_in_dim(x, start, start + size, axis=axis + 1)
    return jax_internals.shift(cells, cut.name, cut.parts, by)


def _added(x: jax.Array, values: jax.Array, start: int, axis: int) -> jax.Array:
    at = lax.slice_in_dim(x, start, start + values.shape[axis + 1], axis=axis + 1)
    return lax.dynamic_update_slice_in_dim(x, at + values, start, axis + 1)
