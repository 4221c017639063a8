"""What absorbing layers add to an array: the *ring* that steps are taken back with.

Layers hold slabs: arrays over a few cells along one axis and the padded grid along the others. Those of different axes
overlap in the corners; their sum can be cut into boxes that do not.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
from jax import lax

from jaxwave._numerics.boundary import PaddedGrid, Range

Place = tuple[int, Range]
"""Where a slab is: an axis and cells of it."""

Box = tuple[Range, ...]
"""Cells of the padded grid."""


def box(grid: PaddedGrid, place: Place) -> Box:
    """All cells of a slab."""
    axis, cells = place
    return tuple(cells if a == axis else Range(0, n) for a, n in enumerate(grid.padded))


def boxes(grid: PaddedGrid, places: Sequence[Place]) -> list[Box]:
    """Cells of each slab that no earlier one has, for slabs at the faces of the padded grid."""
    left, found = [Range(0, n) for n in grid.padded], []
    for axis, cells in places:
        low, high = left[axis].start, left[axis].stop
        start, stop = max(cells.start, low), min(cells.stop, high)
        if start >= stop:
            continue
        found.append(tuple(Range(start, stop) if a == axis else whole for a, whole in enumerate(left)))
        left[axis] = max(Range(low, start), Range(stop, high), key=functools.partial(_inside, grid, axis))
    return found


def _inside(grid: PaddedGrid, axis: int, cells: Range) -> int:
    """How many of these cells are not beyond a face."""
    return min(cells.stop, grid.halo + grid.interior[axis]) - max(cells.start, grid.halo)


def gather(grid: PaddedGrid, places: Sequence[Place], slabs: Sequence[jax.Array]) -> list[jax.Array]:
    """The sum of slabs [shot, *cells], a part for each box."""
    found = []
    for cells in boxes(grid, places):
        inside = [q for place, x in zip(places, slabs, strict=True) if (q := _within(cells, place, x)) is not None]
        found.append(sum(inside[1:], inside[0]))
    return found


def _within(box: Box, place: Place, x: jax.Array) -> jax.Array | None:
    """A slab over the cells of a box, None where they do not meet."""
    axis, cells = place
    start, stop = max(cells.start, box[axis].start), min(cells.stop, box[axis].stop)
    if start >= stop:
        return None
    index = [slice(part.start, part.stop) for part in box]
    index[axis] = slice(start - cells.start, stop - cells.start)
    config = [(0, 0, 0)] * x.ndim
    config[axis + 1] = (start - box[axis].start, box[axis].stop - stop, 0)
    return lax.pad(x[(slice(None), *index)], x.dtype.type(0), config)


def add(g: jax.Array, parts: Sequence[jax.Array], cells: Sequence[Box]) -> jax.Array:
    """g with each part added at its cells.

    In place, hence of a g that is an array of its own: under pads the parts would be branches in the kernel of g, and a
    step back take up to twice as long.
    """
    for part, box in zip(parts, cells, strict=True):
        at = (0, *(along.start for along in box))
        g = lax.dynamic_update_slice(g, lax.dynamic_slice(g, at, part.shape) + part, at)
    return g
