"""The cells of a shot that any of its points needs, and where the cells of each point are among them."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxwave._interpolation.stencils import Line, product
from jaxwave._setup.survey import IGNORE_LOCATION


def shared_cells(
    lines: Sequence[Line], live: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct cells of each shot [shot, cell, axis], and ``first`` and ``steps`` of :class:`Rows`."""
    *leading, last = lines
    low = np.where(last.used, last.cells, shape[-1]).min(-1)
    counts = (np.where(last.used, last.cells + 1, 0).max(-1) - low).astype(np.int16)  # a window's cells have no gaps
    live = functools.reduce(operator.and_, [line.used.any(-1) for line in lines], live)
    steps = np.where(last.used & live[..., None], last.cells - low[..., None], 0).astype(np.int32)

    # Each row of the model is one longer than it is, so that the cells of two rows are never consecutive.
    strides = [(shape[-1] + 1) * math.prod(shape[axis + 1 : -1]) for axis in range(len(leading))]
    dtype = np.int32 if (shape[-1] + 1) * math.prod(shape[:-1]) < 2**31 else np.int64
    first, found = np.empty((*live.shape, math.prod(line.n.size for line in leading)), np.int32), []
    for shot, places in enumerate(first):
        one = slice(shot, shot + 1)
        starts = [line.cells[one].astype(dtype) * dtype(n) for line, n in zip(leading, strides, strict=True)]
        starts = product([low[one, :, None].astype(dtype), *starts], operator.add)[0]
        used = product([live[one, :, None], *(line.used[one] for line in leading)], operator.and_)[0]
        starts[~used] = 0  # and no cells: no interval
        segments, lengths, at = _union(starts.ravel(), np.where(used, counts[shot][:, None], 0).ravel())
        found.append((segments, lengths))
        places.flat = at
    return _unrolled(found, shape), first, steps


def _union(starts: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The numbers that are in any of the intervals [start, start + count): as disjoint intervals in order, their
    starts and lengths; and the place of each given start among these numbers.
    """
    order = np.argsort(starts)
    in_order = starts[order]
    reach = in_order + counts[order]
    np.maximum.accumulate(reach, out=reach)
    new = np.ones(len(starts), bool)
    new[1:] = in_order[1:] > reach[:-1]
    bounds = np.append(np.flatnonzero(new), len(starts))
    segments = in_order[bounds[:-1]]
    lengths = reach[bounds[1:] - 1] - segments
    in_order -= np.repeat((segments - np.cumsum(lengths) + lengths).astype(starts.dtype), np.diff(bounds))
    places = np.empty(len(starts), np.int32)
    places[order] = in_order
    return segments, lengths, places


BLOCK = 2**13  # intervals that are unrolled at a time, in memory that is used again and so is touched but once


def _unrolled(found: Sequence[tuple[np.ndarray, np.ndarray]], shape: tuple[int, ...]) -> np.ndarray:
    """All cells [shot, cell, axis] of the disjoint intervals of each shot, filled up with those to ignore."""
    sizes = [int(lengths.sum()) for _, lengths in found]
    cells = np.empty((len(found), max(1, *sizes), len(shape)), np.int32)
    for own, size, (segments, lengths) in zip(cells, sizes, found, strict=True):
        before = np.cumsum(lengths) - lengths
        for some in (slice(i, i + BLOCK) for i in range(0, len(segments), BLOCK)):
            origins = np.stack(np.unravel_index(segments[some], (*shape[:-1], shape[-1] + 1)), axis=-1)
            origins[:, -1] -= before[some]
            part = np.repeat(origins.astype(np.int32), lengths[some], axis=0)
            place = before[some][0]
            part[:, -1] += np.arange(place, place + len(part), dtype=np.int32)
            own[place : place + len(part)] = part
        own[size:] = IGNORE_LOCATION
    return cells


def own_cells(lines: Sequence[Line], live: Any) -> tuple[Any, Any, Any]:
    """The same of points whose cells are not known: those of all, one after the other [shot, point * entry, axis]."""
    used = product([live[..., None], *(line.used for line in lines)], operator.and_)
    n_shots, n_points, n_entries = used.shape
    parts = [
        [line.cells if i == axis else 0 * line.cells for i, line in enumerate(lines)] for axis in range(len(lines))
    ]
    cells = jnp.stack([product(part, operator.add) for part in parts], axis=-1)
    cells = jnp.where(used[..., None], cells, IGNORE_LOCATION).reshape(n_shots, n_points * n_entries, len(lines))
    n_places = lines[-1].n.shape[0]
    first = np.arange(0, n_points * n_entries, n_places, dtype=np.int32).reshape(1, n_points, n_entries // n_places)
    steps = np.arange(n_places, dtype=np.int32).reshape(1, 1, n_places)
    first, steps = (jnp.broadcast_to(x, (n_shots, n_points, x.shape[2])) for x in (first, steps))
    return cells, first, steps
