"""One chunk of steps forward, and how the loops read histories: from where they are stored, or by replaying them.

A history that is replayed is the :class:`~jaxwave.chunks.RunInputs` of the run that made it, with the states that the
policy kept in place of the first. Its run may itself have scattered perturbations off other histories; those are then
replayed alongside, so that what is known at the start of a chunk is a tree of states, the :class:`_Front`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxwave import observe
from jaxwave.chunks import Plan, RunInputs, join, over_entries, over_unstored
from jaxwave.storage.base import chunk_spec


def forward_chunk(plan: Plan, inputs: RunInputs, carry, t, series, stored, save: bool):
    """Steps through the entries of a chunk.

    Args:
        plan: Static description.
        inputs: Operands; the pairs, amplitudes and state are not looked at.
        carry: State, and the tick of the callbacks.
        t: Number of the first step.
        series: Amplitudes of these steps [step, shot, source].
        stored: Pairs (dm, chunk of the history that it multiplies).
        save: Whether to make a chunk of the terms.

    Returns:
        The carry, the chunk ([] unless ``save``) and the records [step, shot, receiver].
    """
    equation, storage, interval = plan.equation, plan.storage, plan.interval
    m, operands = inputs.m, inputs.operands
    size = series.shape[0] // interval
    observer = plan.observer if plan.observer and plan.observer.forward else None

    def advance(x, tick, t, s, scatter, keep):
        if observer:
            tick = observe.forward(observer, equation, tick, t, x)
        data = equation.record(operands, x)
        x, terms = equation.step(m, operands, x, scatter, keep)
        return equation.inject(operands, x, s), tick, data, terms

    def entry(carry, j, steps):
        x, tick, buffer = carry
        first_t = t + j * interval
        scatter = [(dm, plan.decode(storage.entry(chunk, j, size), x)) for dm, chunk in stored]
        x, tick, first, terms = advance(x, tick, first_t, steps[0], scatter, save)
        if save:
            buffer = storage.keep(buffer, plan.encode(terms), j, size)

        def unstored(carry, k, s):
            x, tick, data, _ = advance(*carry, first_t + k, s, [], False)
            return (x, tick), data

        (x, tick), others = over_unstored(unstored, (x, tick), steps[1:], False)
        return (x, tick, buffer), join(first, others)

    x, tick = carry
    buffer = storage.buffer(plan.entry_spec(x), size) if save else []
    (x, tick, buffer), data = over_entries(entry, (x, tick, buffer), series, size, interval, False)
    return (x, tick), buffer, data


# ---- reading histories ----


def as_history(plan: Plan, inputs: RunInputs, saved: list) -> Any:
    """What other runs read as the history of a run with these ``inputs`` that saved ``saved``."""
    return inputs._replace(state=saved) if plan.storage.replays else saved


def tokens(history: Any) -> list:
    """The tokens of a streamed history, and of those that it is replayed from."""
    if not isinstance(history, RunInputs):
        return [history[0]]
    return [history.state[0], *(token for other, _ in history.pairs for token in tokens(other))]


class _Front(NamedTuple):
    """The states at the start of a chunk: of a replayed run, and of those that it scatters off."""

    x: Any
    others: list


class Reader:
    """Reads the chunks of a history one after the other.

    Args:
        plan: Static description of the run.
        n_steps: Steps of the loop.
        x: A state, for its structure.
        direction: +1 or -1.
    """

    def __init__(self, plan: Plan, n_steps: int, x: Any, direction: int) -> None:
        self._plan = dataclasses.replace(plan, observer=None)
        self._size = plan.chunks(n_steps, x, True).size
        self._leaves, self._structure = jax.tree.flatten(x)
        self._spec = plan.entry_spec(x)
        self._direction = direction
        self._schedule = plan.schedule(n_steps, x)

    def start(self, history: Any) -> Any:
        """What is carried from one ``read`` of this history to the next."""
        if self._schedule is None or self._schedule.keeps_all:
            return ()
        return self._front(history, 0) if self._direction > 0 else self._slots(history)

    def read(self, history: Any, cursor: Any, i, size: int) -> tuple[list[jax.Array], Any]:
        """Chunk ``i``, of ``size`` entries, and the cursor for the next."""
        if self._schedule is None:
            return self._plan.storage.get(history, i, chunk_spec(self._spec, size), self._direction), cursor
        if self._schedule.keeps_all:
            return self._replay(history, self._front(history, i), i, size)[1], cursor
        if self._direction > 0:
            front, chunk = self._replay(history, cursor, i, size)
            return chunk, front
        front, cursor = self._advance(history, cursor, i)
        return self._replay(history, front, i, size)[1], cursor

    def _front(self, history: RunInputs, i) -> _Front:
        """The states that were kept at place ``i``."""
        kept = self._plan.storage.get_state(history.state, i, self._leaves, self._direction)
        return _Front(jax.tree.unflatten(self._structure, kept), [self._front(h, i) for h, _ in history.pairs])

    def _replay(self, history: RunInputs, front: _Front, i, size: int, save: bool = True):
        """From the start of chunk ``i`` to its end; with ``save``, also the chunk."""
        replayed = [self._replay(h, f, i, size) for (h, _), f in zip(history.pairs, front.others, strict=True)]
        stored = [(dm, chunk) for (_, dm), (_, chunk) in zip(history.pairs, replayed, strict=True)]
        per = self._plan.interval
        t = i * self._size * per
        series = lax.dynamic_slice_in_dim(history.amplitudes, t, size * per)
        carry = (front.x, observe.first_tick())
        (x, _), chunk, _ = forward_chunk(self._plan, history, carry, t, series, stored, save)
        return _Front(x, [f for f, _ in replayed]), chunk

    # ---- where few states are kept, and change places ----

    def _slots(self, history: RunInputs) -> _Front:
        """The kept states of a history, and of those that it is replayed from."""
        return _Front(history.state, [self._slots(h) for h, _ in history.pairs])

    def _advance(self, history: RunInputs, slots: _Front, i) -> tuple[_Front, _Front]:
        """The states at the start of chunk ``i``, and the slots with what was kept on the way there."""
        schedule, storage = self._schedule, self._plan.storage
        keep = jnp.asarray(schedule.keep)

        def load(slots: _Front, place) -> _Front:
            kept = storage.get_state(slots.x, place, self._leaves, self._direction)
            return _Front(jax.tree.unflatten(self._structure, kept), [load(s, place) for s in slots.others])

        def save(slots: _Front, place, front: _Front) -> _Front:
            kept = storage.put_state(slots.x, place, jax.tree.leaves(front.x))
            others = [save(s, place, f) for s, f in zip(slots.others, front.others, strict=True)]
            return _Front(kept, others)

        def one(j, carry):
            front, slots = carry
            front, _ = self._replay(history, front, j, self._size, save=False)
            return front, save(slots, keep[i, j + 1], front)

        front = load(slots, jnp.asarray(schedule.slot)[i])
        return lax.fori_loop(jnp.asarray(schedule.start)[i], jnp.int32(i), one, (front, slots))
