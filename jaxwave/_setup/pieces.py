"""An array on the padded grid in pieces that divide evenly among devices, and as the part that a device has.

Of an axis that is cut, the cells of the interior are divided. A field that lies between the cells has a value on the
first face as well, half a cell before them: a piece of its own, which every device is given and the first part uses. So
an array of a grid with two such axes is four pieces, of which three are thin.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as P

from jaxwave._numerics.boundary import Memory, PaddedGrid

Faces = frozenset[int]
"""Axes along which a piece is the value on the first face."""


@dataclasses.dataclass(frozen=True)
class Pieces:
    """How an array [shot, *padded] is cut.

    Attributes:
        whole, part: The padded grid and that of a part.
        axes: For each axis the mesh axis that its cells are divided along, or None.
        on_face: Axes that are cut and have a value on the first face.
        of_layer: The axis, the side and the mesh axis of the layer that the array is of, if that axis is cut: the part
            with the face has it, with zeros in the others.
        shots: The mesh axis that the leading axis is divided along, or None.
        shape: The whole array's.
    """

    whole: PaddedGrid
    part: PaddedGrid
    axes: tuple[str | None, ...]
    on_face: tuple[int, ...]
    of_layer: tuple[int, int, str] | None
    shots: str | None
    shape: tuple[int, ...]

    @property
    def _cut(self) -> list[int]:
        return [axis for axis, name in enumerate(self.axes) if name]

    @property
    def _all(self) -> list[Faces]:
        choices = itertools.product((False, True), repeat=len(self.on_face))
        return [frozenset(itertools.compress(self.on_face, which)) for which in choices]

    @property
    def specs(self) -> dict[Faces, P]:
        """How each piece lies on the mesh."""
        return {
            faces: P(self.shots, *(None if axis in faces else name for axis, name in enumerate(self.axes)))
            for faces in self._all
        }

    # ---- the whole array ----

    def cut(self, x: jax.Array) -> dict[Faces, jax.Array]:
        """The pieces of the whole array, which divide evenly."""
        return {faces: self._piece(x, faces, self.whole, self._beyond) for faces in self._all}

    def join(self, pieces: Mapping[Faces, jax.Array]) -> jax.Array:
        """The whole array from its pieces."""
        found, r = dict(pieces), self.whole.halo
        for axis in self.on_face:
            found = {
                faces: jnp.concatenate([found[faces | {axis}], x], axis=axis + 1)
                for faces, x in found.items()
                if axis not in faces
            }
        (x,) = found.values()
        margins = [(0, 0)] * x.ndim
        for axis in self._cut:
            x = lax.slice_in_dim(x, 0, x.shape[axis + 1] - self._beyond(axis), axis=axis + 1)
            first = r - (axis in self.on_face)
            margins[axis + 1] = (first, self.shape[axis + 1] - first - x.shape[axis + 1])
        return jnp.pad(x, margins)

    def _beyond(self, axis: int) -> int:
        return self.part.interior[axis] - self.part.face(axis)

    # ---- the part of a device, within shard_map ----

    def build(self, pieces: Mapping[Faces, jax.Array]) -> jax.Array:
        """This device's part, with halos of zeros."""
        total = None
        for faces, x in pieces.items():
            margins = [(0, 0)] * x.ndim
            for axis in self._cut:
                first = self.part.halo - (axis in faces)
                margins[axis + 1] = (first, self.part.padded[axis] - first - x.shape[axis + 1])
            x = jnp.pad(self._mine(x, faces), margins)
            total = x if total is None else total + x
        assert total is not None
        return total

    def take(self, x: jax.Array) -> dict[Faces, jax.Array]:
        """The pieces from this device's part."""
        found = {}
        for faces in self._all:
            piece = self._mine(self._piece(x, faces, self.part, lambda _: 0), faces)
            names = [self.axes[axis] for axis in faces] + ([self.of_layer[2]] if self.of_layer else [])
            found[faces] = lax.psum(piece, tuple(names)) if names else piece
        return found

    def _mine(self, x: jax.Array, faces: Faces) -> jax.Array:
        """A piece in the parts that have it, else zeros."""
        for axis in faces:
            x = jnp.where(lax.axis_index(self.axes[axis]) == 0, x, 0)
        if self.of_layer:
            _, side, name = self.of_layer
            x = jnp.where(lax.axis_index(name) == (0 if side == 0 else lax.axis_size(name) - 1), x, 0)
        return x

    def _piece(self, x: jax.Array, faces: Faces, grid: PaddedGrid, beyond) -> jax.Array:
        r = grid.halo
        for axis in self._cut:
            n = grid.interior[axis]
            if axis in faces:
                x = lax.slice_in_dim(x, r - 1, r, axis=axis + 1)
            else:
                x = lax.slice_in_dim(x, r, r + n, axis=axis + 1)
                x = jnp.pad(x, [(0, beyond(axis)) if a == axis + 1 else (0, 0) for a in range(x.ndim)])
        return x


def of_field(
    axes: Sequence[str | None], whole: PaddedGrid, part: PaddedGrid, shape: Sequence[int], shots: str | None,
    offset: Sequence[int] | None = None,
) -> Pieces:  # fmt: skip
    """A coefficient [1 or shot, *padded], of one value along some axes perhaps, or a wavefield with an offset."""
    there = tuple(name if n > 1 else None for name, n in zip(axes, shape[1:], strict=True))
    on_face = (axis for axis, name in enumerate(there) if name and (offset is None or offset[axis]))
    return Pieces(whole, part, there, tuple(on_face), None, shots if shape[0] > 1 else None, tuple(shape))


def of_memory(
    axes: Sequence[str | None], whole: PaddedGrid, part: PaddedGrid, memory: Memory, of_part: Memory, n_shots: int,
    shots: str | None,
) -> Pieces:  # fmt: skip
    """A memory variable, as it is held."""
    assert memory.held.size == of_part.held.size
    shape, name = (n_shots, *whole.held_shape(memory)), axes[memory.axis]
    there = tuple(None if axis == memory.axis else other for axis, other in enumerate(axes))
    on_face = tuple(axis for axis, other in enumerate(there) if other and memory.offset[axis])
    layer = (memory.axis, int(memory.held.start > whole.halo), name) if name else None
    return Pieces(whole, part, there, on_face, layer, shots if n_shots > 1 else None, shape)
