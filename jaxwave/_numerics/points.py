"""What equations share: values at points of the padded grid, sources and receivers of several kinds."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import lax

Cells = tuple[jax.Array, ...]
"""Padded cell numbers of points: one array [shot, point] per axis."""


def opaque_one(c: jax.Array, halo: int, by_shot: bool) -> jax.Array:
    """A one that the compiler cannot know to be one: from a cell that is not padding.

    Dividing by it makes a result too expensive for XLA to compute again in each of its users. It is a number, with
    which CPUs' kernels are twice as fast in 3-D; or ``by_shot`` one for each, [1 or shot, 1, ...], so that devices
    with other shots need not wait for each other.
    """
    return 1 + 0 * _value(c, (halo,) * (c.ndim - 1), by_shot)


def materialize(x: jax.Array, one: jax.Array, by_shot: bool) -> tuple[jax.Array, jax.Array]:
    """x as an array that the compiler computes by itself, and the one to divide by in what it is used for."""
    x = x / one
    return x, one + 0 * lax.stop_gradient(_value(x, tuple(n // 2 for n in x.shape[1:]), by_shot))


def _value(x: jax.Array, cell: tuple[int, ...], by_shot: bool) -> jax.Array:
    """x in a cell: for each shot, or for the first."""
    return lax.slice(x, (0, *cell), (x.shape[0], *(i + 1 for i in cell))) if by_shot else x[(0, *cell)]


def order_after(one: jax.Array, ds: jax.Array, gradients, by_shot: bool) -> tuple[jax.Array, jax.Array]:
    """A one that is known only when these are, and ds as an array of its own.

    What is divided by it comes after all that read the fields to image them or to record ds. Where nothing says so, XLA
    does not see in a loop within a loop that they can be updated in place.
    """
    ds = ds / (one.reshape(-1, 1) if by_shot else one)
    for total in jax.tree.leaves((gradients, ds if ds.size else [])):
        found = lax.stop_gradient(_value(total, (0,) * (total.ndim - 1), by_shot))
        one = one + 0 * (found.reshape(-1, *one.shape[1:]) if by_shot else found)
    return one, ds


# By ``vmap`` the shots are a batch to XLA, which it can divide among devices. Were they numbered by an index, every
# device would hold all of them.


def at(c: jax.Array, cells: Cells) -> jax.Array:
    """Values [shot, point] of a coefficient [1 or shot, *padded]."""
    return get(c, cells) if c.shape[0] > 1 else c[0].at[cells].get(mode="promise_in_bounds")


def add(x: jax.Array, cells: Cells, values: jax.Array) -> jax.Array:
    """x with values [shot, point] added at the cells."""
    return jax.vmap(lambda x, cells, values: x.at[cells].add(values, mode="promise_in_bounds"))(x, cells, values)


def get(x: jax.Array, cells: Cells) -> jax.Array:
    """Values [shot, point] of x at the cells."""
    return jax.vmap(lambda x, cells: x.at[cells].get(mode="promise_in_bounds"))(x, cells)


def split(values: jax.Array, kinds: Mapping[str, Cells]) -> dict[str, jax.Array]:
    """Values [shot, point] of all kinds of points, which follow each other, by kind."""
    found, start = {}, 0
    for kind, cells in kinds.items():
        stop = start + cells[0].shape[1]
        found[kind] = values[:, start:stop]
        start = stop
    return found


def join(values: list[jax.Array], like: jax.Array) -> jax.Array:
    """The values of each kind, one after the other; [shot, 0] if there are none."""
    if not values:
        return jnp.zeros((like.shape[0], 0), like.dtype)
    return values[0] if len(values) == 1 else jnp.concatenate(values, axis=1)


def divide(x: jax.Array | float, by: jax.Array, xp=jnp) -> jax.Array:
    """x / by where ``by`` differs from zero, else zero; safe under differentiation."""
    safe = xp.where(by == 0, 1, by)
    return xp.where(by == 0, 0, x / safe)


def where_moved(x: jax.Array, c: jax.Array) -> jax.Array:
    """x where its coefficient c differs from zero; zero elsewhere, where nothing can change it."""
    return jnp.where(c == 0, 0, x)


def sum_shots(gradient: jax.Array, c: jax.Array) -> jax.Array:
    """A gradient [shot, ...] summed over the shots that share the coefficient c."""
    return gradient if c.shape[0] > 1 or gradient.shape[0] == 1 else gradient.sum(0, keepdims=True)
