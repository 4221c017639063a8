"""One chunk of steps forward, and how the loops read histories: from where they are stored, or by replaying them.

A history that is replayed holds the operands of the run that made it. That run may itself have scattered perturbations
off other histories; those are replayed alongside, so that what is known at the start of a chunk is a tree of states,
the :class:`_Front`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxwave import observe
from jaxwave.chunks import History, Parts, Plan, Replayed, RunInputs, each, join, over_entries, over_unstored
from jaxwave.storage.base import chunk_spec


def forward_chunk(plan: Plan, inputs: RunInputs, carry, t, series, stored, save: tuple[bool, ...]):
    """Steps through the entries of a chunk.

    Args:
        plan: Static description.
        inputs: Operands; the pairs, amplitudes and state are not looked at.
        carry: State, and the tick of the callbacks.
        t: Number of the first step.
        series: Amplitudes of these steps [step, shot, source].
        stored: Pairs (dm, chunks of the history that it multiplies).
        save: For each coefficient, whether to make chunks of its terms; empty for none.

    Returns:
        The carry, the chunks and the records [step, shot, receiver].
    """
    equation, storage, interval = plan.equation, plan.storage, plan.interval
    m, operands = inputs.m, inputs.operands
    size, wanted, nothing = series.shape[0] // interval, plan.wanted(save), plan.wanted(())
    observer = plan.observer if plan.observer and plan.observer.forward else None

    def advance(x, tick, t, s, scatter, keep):
        if observer:
            tick = observe.forward(observer, equation, tick, t, x)
        data = equation.record(operands, x)
        x, terms = equation.step(m, operands, x, s, scatter, keep)
        return x, tick, data, terms

    def entry(carry, j, steps):
        x, tick, buffer = carry
        first_t = t + j * interval
        scatter = [
            (dm, each(lambda chunk: plan.decode(storage.entry(chunk, j, size), x), chunks)) for dm, chunks in stored
        ]
        x, tick, first, terms = advance(x, tick, first_t, steps[0], scatter, wanted)
        buffer = each(lambda chunk, g: storage.keep(chunk, plan.encode(g), j, size), buffer, terms)

        def unstored(carry, k, s):
            x, tick, data, _ = advance(*carry, first_t + k, s, [], nothing)
            return (x, tick), data

        (x, tick), others = over_unstored(unstored, (x, tick), steps[1:], equation.levels, False)
        return (x, tick, buffer), join(first, others)

    x, tick = carry
    buffer = each(lambda _: storage.buffer(plan.entry_spec(x), size), wanted)
    (x, tick, buffer), data = over_entries(entry, (x, tick, buffer), series, size, interval, equation.levels, False)
    return (x, tick), buffer, data


# ---- reading histories ----


def as_history(plan: Plan, inputs: RunInputs, saved: Any, wanted: tuple[bool, ...]) -> History:
    """What other runs read as the history of a run with these ``inputs`` that saved ``saved``."""
    return Replayed(inputs._replace(state=saved), wanted) if plan.storage.replays else saved


def tokens(history: History) -> list:
    """The tokens of a streamed history, and of those that it is replayed from."""
    if isinstance(history, Replayed):
        return [history.run.state[0], *(token for other, _ in history.run.pairs for token in tokens(other))]
    return [part[0] for part in history if part is not None]


class _Front(NamedTuple):
    """States at the start of a chunk, or where states are kept: of a run, and of those that it scatters off."""

    x: Any
    others: list


class Reader:
    """Reads the chunks of histories one after the other.

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

    def start(self, history: History) -> Any:
        """What is carried from one ``read`` of this history to the next."""
        if self._schedule is None or self._schedule.keeps_all:
            return ()
        return self._front(history.run, 0) if self._direction > 0 else self._slots(history.run)

    def read(self, history: History, cursor: Any, i, size: int) -> tuple[Parts, Any]:
        """Chunk ``i``, of ``size`` entries, of each term; and the cursor for the next."""
        if self._schedule is None:
            spec = chunk_spec(self._spec, size)
            return each(lambda part: self._plan.storage.get(part, i, spec, self._direction), history), cursor
        run, save = history.run, history.wanted
        if self._schedule.keeps_all:
            return self._replay(run, self._front(run, i), i, size, save)[1], cursor
        if self._direction > 0:
            front, chunks = self._replay(run, cursor, i, size, save)
            return chunks, front
        front, cursor = self._advance(run, cursor, i)
        return self._replay(run, front, i, size, save)[1], cursor

    def _front(self, run: RunInputs, i) -> _Front:
        """The states that were kept at place ``i``."""
        kept = self._plan.storage.get_state(run.state, i, self._leaves, self._direction)
        return _Front(jax.tree.unflatten(self._structure, kept), [self._front(h.run, i) for h, _ in run.pairs])

    def _replay(self, run: RunInputs, front: _Front, i, size: int, save: tuple[bool, ...]) -> tuple[_Front, Parts]:
        """From the start of chunk ``i`` to its end; and the chunks of the terms to save."""
        replayed = [
            self._replay(h.run, f, i, size, h.wanted) for (h, _), f in zip(run.pairs, front.others, strict=True)
        ]
        stored = [(dm, chunks) for (_, dm), (_, chunks) in zip(run.pairs, replayed, strict=True)]
        interval = self._plan.interval
        t = i * self._size * interval
        series = lax.dynamic_slice_in_dim(run.amplitudes, t, size * interval)
        carry = (front.x, observe.first_tick())
        (x, _), chunks, _ = forward_chunk(self._plan, run, carry, t, series, stored, save)
        return _Front(x, [f for f, _ in replayed]), chunks

    # ---- where few states are kept, and change places ----

    def _slots(self, run: RunInputs) -> _Front:
        """The kept states of a run, and of those that it is replayed from."""
        return _Front(run.state, [self._slots(h.run) for h, _ in run.pairs])

    def _load(self, slots: _Front, place) -> _Front:
        kept = self._plan.storage.get_state(slots.x, place, self._leaves, self._direction)
        return _Front(jax.tree.unflatten(self._structure, kept), [self._load(s, place) for s in slots.others])

    def _save(self, slots: _Front, place, front: _Front) -> _Front:
        kept = self._plan.storage.put_state(slots.x, place, jax.tree.leaves(front.x))
        return _Front(kept, [self._save(s, place, f) for s, f in zip(slots.others, front.others, strict=True)])

    def _advance(self, run: RunInputs, slots: _Front, i) -> tuple[_Front, _Front]:
        """The states at the start of chunk ``i``, and the slots with what was kept on the way there."""
        schedule = self._schedule
        keep = jnp.asarray(schedule.keep)

        def one(j, carry):
            front, slots = carry
            front, _ = self._replay(run, front, j, self._size, ())
            return front, self._save(slots, keep[i, j + 1], front)

        front = self._load(slots, jnp.asarray(schedule.slot)[i])
        return lax.fori_loop(jnp.asarray(schedule.start)[i], jnp.int32(i), one, (front, slots))
