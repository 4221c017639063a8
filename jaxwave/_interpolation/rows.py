"""The two maps: from amplitudes of points to those of cells, and from records of cells to those of points."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class Rows(NamedTuple):
    """The cells of all points' windows and their weights, row by row: a row is the cells of a window along the last
    axis, which have consecutive numbers among the cells of a shot.

    Entry [row, place] of a point has the weight ``weights[row] along[place]``, summed over terms, and is cell
    ``first[row] + steps[place]``, so that nothing here has the size of all entries: in 3-D a point has 8 of them for
    each of its rows.

    Attributes:
        weights: [shot, point, row, term]: the product of the weights along the other axes. There is one term; two for
            dipoles along the last axis and others, of which the second is the derivative along the last.
        along: [shot, point, place, term]: the weights along the last axis.
        first: [shot, point, row]: the number, among the cells of the shot, of the row's first cell.
        steps: [shot, point, place]: how far its cells are from that one.
    """

    weights: jax.Array | np.ndarray
    along: jax.Array | np.ndarray
    first: jax.Array | np.ndarray
    steps: jax.Array | np.ndarray

    def astype(self, dtype: Any) -> Rows:
        return self._replace(weights=self.weights.astype(dtype), along=self.along.astype(dtype))


# One entry of all stencils at a time: all of them at once would be (2 half_width) ** ndim times the records, and so
# would be what the derivative with respect to the weights keeps. Hence the checkpoint too, by which it gathers again.


def _over_entries(add: Any, total: jax.Array, rows: Rows) -> jax.Array:
    """``add(total, weight, slot)`` for every entry, with weights and slots [shot, point] of all points."""

    def row(total, of_row):
        @jax.checkpoint
        def place(total, of_place):
            return add(total, (of_row[0] * of_place[0]).sum(-1), of_row[1] + of_place[1]), None

        return lax.scan(place, total, _entries_first(rows.along, rows.steps))[0], None

    return lax.scan(row, total, _entries_first(rows.weights, rows.first))[0]


def _entries_first(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    return tuple(jnp.moveaxis(x, 2, 0) for x in arrays)


@jax.jit
def collect(rows: Rows, records: jax.Array) -> jax.Array:
    """Amplitudes [shot, point, time] of points, from records [shot, cell, time] of their cells."""
    shot = np.arange(records.shape[0])[:, None]
    nothing = jnp.zeros((*rows.first.shape[:2], records.shape[2]), records.dtype)
    return _over_entries(lambda total, w, slot: total + w[:, :, None] * records[shot, slot], nothing, rows)


@functools.partial(jax.jit, static_argnums=2)
def spread(rows: Rows, amplitudes: jax.Array, n_cells: int) -> jax.Array:
    """The transpose of :func:`collect`."""
    shot = np.arange(amplitudes.shape[0])[:, None]
    nothing = jnp.zeros((amplitudes.shape[0], n_cells, amplitudes.shape[2]), amplitudes.dtype)
    return _over_entries(lambda total, w, slot: total.at[shot, slot].add(w[:, :, None] * amplitudes), nothing, rows)
