"""Sources and receivers: where they are, which part of the model they need, and what they become on the padded grid."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxwave._numerics.boundary import PaddedGrid

IGNORE_LOCATION = -(2**31)
"""A location to skip: set every coordinate of a source or receiver to it. The source injects nothing, and the receiver
records zeros, so that shots with fewer of them than others can share one array."""


class Region(NamedTuple):
    """The part of the model that is used: cells [start, stop) per axis."""

    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))


class Points(NamedTuple):
    """Locations on the padded grid.

    Attributes:
        cells: Cell numbers, one array [shot, point] per axis.
        weight: [shot, point]: 1, 0 where the location is ignored, NaN where it lies outside the region (possible only
            when locations are traced; concrete ones are checked before anything runs).
    """

    cells: tuple[jax.Array | np.ndarray, ...]
    weight: jax.Array | np.ndarray


def ignored(locations: jax.Array | np.ndarray) -> jax.Array | np.ndarray:
    """Which of the locations [shot, point, axis] are to be skipped: [shot, point]."""
    return (locations == IGNORE_LOCATION).all(axis=-1)


def survey_region(
    shape: Sequence[int], locations: Sequence[np.ndarray], survey_pad: int | Sequence[int | None] | None
) -> Region:
    """The cells within ``survey_pad`` of all sources and receivers, of a model of this shape.

    Args:
        shape: Cells of the model.
        locations: Arrays [shot, point, axis].
        survey_pad: Cells around them: one number, or one per face (first, last of axis 0, ...) where None means to the
            edge of the model. None: the whole model.
    """
    ndim = len(shape)
    pads = [survey_pad] * (2 * ndim) if survey_pad is None or isinstance(survey_pad, int) else list(survey_pad)
    used = np.concatenate([x.reshape(-1, ndim)[~ignored(x).reshape(-1)] for x in locations] or [np.zeros((0, ndim))])
    start, stop = [0] * ndim, list(shape)
    for axis in range(ndim) if len(used) else ():
        low, high = pads[2 * axis], pads[2 * axis + 1]
        if low is not None:
            start[axis] = max(0, int(used[:, axis].min()) - low)
        if high is not None:
            stop[axis] = min(shape[axis], int(used[:, axis].max()) + high + 1)
    return Region(tuple(start), tuple(stop))


def place(locations: jax.Array | np.ndarray, start: np.ndarray, grid: PaddedGrid, dtype: Any) -> Points:
    """Model locations [shot, point, axis] as cells of the padded grid of a region that begins at cell ``start``.

    NumPy arrays stay with NumPy: a compiler would evaluate them again, slowly, where they are constants of a program.
    """
    if isinstance(locations, np.ndarray):
        return _place(locations, start, grid, dtype, np)
    return _place_traced(locations, start, grid, np.dtype(dtype))


@functools.partial(jax.jit, static_argnums=(2, 3))
def _place_traced(locations: jax.Array, start: jax.Array, grid: PaddedGrid, dtype: np.dtype) -> Points:
    return _place(locations, start, grid, dtype, jnp)


def _place(locations: Any, start: Any, grid: PaddedGrid, dtype: np.dtype, xp: Any) -> Points:
    skip = ignored(locations)
    local = locations - start.astype(locations.dtype)[None, None, :]
    inside = ((local >= 0) & (local < np.asarray(grid.shape, locations.dtype)[None, None, :])).all(axis=-1)
    usable = (inside & ~skip)[..., None]
    offset = np.asarray([grid.halo + low for low, _ in grid.faces], locations.dtype)[None, None, :]
    cells = (xp.where(usable, local, 0) + offset).astype(np.int32)
    weight = xp.where(skip, 0.0, xp.where(inside, 1.0, np.nan)).astype(dtype)
    return Points(tuple(cells[..., axis] for axis in range(grid.ndim)), weight)
