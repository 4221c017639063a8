"""Shots in groups, so that the wavefields of a group stay in the cache of a CPU from one time step to the next.

Shots do not meet in a run: each group is a run of its own, with a history of its own. More than one is worth while only
where all wavefields do not fit in the cache and those of fewer shots do, so never on a GPU, which wants all at once.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxwave._timeloop.chunks import Plan, RunInputs

CACHE = 4 << 20
"""Bytes for each core that the state of a group may take. Gradients read and write three times as much in a step."""

MOST = 16
"""Groups at most: each adds its loops to the program, which are compiled a little longer."""


def count(inputs: RunInputs, plan: Plan) -> int:
    """The number of groups that a run is divided into: of equal size where a number near this divides the shots.

    User callbacks see all shots at once, so there is one group then. Where there are several devices, each should have
    its share of the shots of a group, so the number is one that leaves every device as many, or there is one group.
    """
    n_shots, devices = inputs.amplitudes.shape[1], jax.local_device_count()
    if n_shots == 1 or plan.observer or not plan.storage.divisible or jax.default_backend() != "cpu":
        return 1
    state = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(inputs.state))
    least = min(max(n_shots // devices, 1), MOST, -(-state // (CACHE * (os.cpu_count() or 1))))
    even = next((n for n in range(least, min(2 * least, MOST) + 1) if n_shots % (n * devices) == 0), None)
    return even or (least if devices == 1 else 1)


def split(inputs: RunInputs, n_groups: int) -> list[RunInputs]:
    """The operands of each group's run: group k has shots k, k + n_groups and so on, which lie on all devices."""
    return [_of_shots(inputs, slice(k, None, n_groups)) for k in range(n_groups)]


def _of_shots(inputs: RunInputs, shots: slice) -> RunInputs:
    def cut(tree):
        return jax.tree.map(lambda x: x[shots], tree)

    points = {name: cut(getattr(inputs.operands, name)) for name in ("sources", "receivers")}
    m = jax.tree.map(lambda c: c[shots] if c.shape[0] > 1 else c, inputs.m)
    return RunInputs(
        m, inputs.operands._replace(**points), inputs.born_sources, inputs.amplitudes[:, shots], cut(inputs.state)
    )


def join(results: Sequence[tuple]) -> tuple:
    """Records [nt, shot, receiver] and final states of all groups."""
    data, states = zip(*results, strict=True)
    return _interleave(data, 1), jax.tree.map(lambda *x: _interleave(x, 0), *states)


def _interleave(parts: Sequence[jax.Array], axis: int) -> jax.Array:
    """Shots k, k + n and so on of each part k of n, in their order; the first parts may have one more."""
    most, n_shots = parts[0].shape[axis], sum(x.shape[axis] for x in parts)
    padded = [jnp.concatenate([x, x[_first(axis)]], axis) if x.shape[axis] < most else x for x in parts]
    x = jnp.stack(padded, axis + 1)
    return lax.slice_in_dim(x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :]), 0, n_shots, axis=axis)


def _first(axis: int) -> tuple[slice, ...]:
    return (slice(None),) * axis + (slice(1),)
