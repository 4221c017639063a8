"""How the loops save histories and read them back, chunk by chunk: as stored, or by taking steps again, or back.

A history that is taken again holds the operands of the run that made it. That run may itself have scattered
perturbations off other histories; those are then taken again alongside.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxwave._timeloop import observe
from jaxwave._timeloop.chunks import History, Parts, Plan, RecomputedHistory, RunInputs, StoredHistory, map_present
from jaxwave._timeloop.forward import forward_chunk
from jaxwave.storage.base import chunk_spec
from jaxwave.storage.pinned import opaque


def as_history(plan: Plan, inputs: RunInputs, saved: Any, wanted: tuple[bool, ...]) -> History:
    """What other runs read as the history of a run with these ``inputs`` that saved ``saved``."""
    return (
        RecomputedHistory(inputs._replace(state=saved), wanted)
        if plan.storage.replays
        else StoredHistory(saved, wanted)
    )


def tokens(history: History) -> list:
    """The tokens of a streamed history, and of those that it is made again from."""
    if isinstance(history, RecomputedHistory):
        return [
            *jax.tree.leaves(history.run.state),
            *(token for other, _ in history.run.born_sources for token in tokens(other)),
        ]
    return [part[0] for part in history.parts if part is not None]


def histories(plan: Plan, n_steps: int, x: Any, direction: int) -> Stored:
    """What saves and reads the histories of such runs.

    Args:
        plan: Static description of the runs.
        n_steps: Steps of the loop.
        x: A state, for its structure.
        direction: +1 or -1: in which order chunks are read.
    """
    kinds = {"stored": Stored, "recomputed": Replaying, "reversed": Reversing}
    kind = Pipelined if plan.storage.pipelined else kinds[plan.storage.kind]
    return kind(plan, n_steps, x, direction)


class Stored:
    """Terms are stored, and read as they are; see :func:`histories`."""

    def __init__(self, plan: Plan, n_steps: int, x: Any, direction: int) -> None:
        self._plan, self._x, self._n_steps, self._direction = plan, x, n_steps, direction
        self._size = plan.chunks(n_steps, x, True).size

    def open(self, save: tuple[bool, ...], owner: jax.Array, parents: Sequence[jax.Array]) -> Any:
        """Begins what a run saves."""
        sizes = self._plan.sizes(self._n_steps, self._x)
        return map_present(lambda _: self._plan.storage.open(*sizes, owner, parents), self._plan.wanted(save))

    def terms(self, save: tuple[bool, ...]) -> tuple[bool, ...]:
        """For which coefficients a run that saves makes chunks of terms."""
        return save

    def buffer(self, saved: Any, i, size: int, save: tuple[bool, ...]) -> tuple[Parts, Any]:
        """What a run that saves fills with the ``size`` entries of chunk ``i``, and the number of the first there."""
        spec = self._plan.pack_spec(self._x, self.terms(save))
        return map_present(lambda entry: self._plan.storage.buffer(entry, size), spec), 0

    def put(self, saved: Any, i, before: Any, after: Any, chunks: Parts) -> Any:
        """Chunk ``i``, as filled, into what is saved; ``before`` and ``after`` are the states at its ends."""
        return map_present(lambda chunk, part: self._plan.storage.put(part, i, chunk), chunks, saved)

    def close(self, saved: Any) -> Any:
        """What a run has saved, once all chunks are put."""
        return saved

    def start(self, history: History) -> Any:
        """What is carried from one ``read`` of this history to the next."""
        return ()

    def read(self, history: History, cursor: Any, i, size: int) -> tuple[Parts, Any]:
        """Chunk ``i``, of ``size`` entries, of each term; and the cursor for the next."""
        spec = chunk_spec(self._plan.entry_spec(self._x), size)
        return map_present(lambda part: self._plan.storage.get(part, i, spec, self._direction), history.parts), cursor

    # ---- for the adjoint loop, which goes through the entries of a chunk from the last to the first ----

    def enter(self, history: History, cursor: Any, i, size: int) -> tuple[Any, Any, Any]:
        """Chunk ``i``: what of it stays the same, and what changes from entry to entry; and the cursor for the next."""
        chunks, cursor = self.read(history, cursor, i, size)
        return chunks, (), cursor

    def entry(self, history: History, chunk: Any, front: Any, j, size: int) -> tuple[Parts, Any]:
        """The terms of entry ``j``, and what has changed."""
        plan = self._plan
        return map_present(lambda part: plan.decode(plan.storage.entry(part, j, size), self._x), chunk), front


class _Writing(NamedTuple):
    """What a run has saved, the chunk that is saved next, and how often the loop has turned."""

    parts: Parts
    chunk: Parts
    turn: jax.Array


class _Ahead(NamedTuple):
    """The chunk that is wanted next, and how often the loop has turned."""

    chunk: Parts
    turn: jax.Array


class Pipelined(Stored):
    """Terms are stored elsewhere than on the device, by copies that overlap with the steps: chunk i is written while
    chunk i + 1 is made, and fetched while the one before it, in the order of reading, is used.

    XLA gives a copy to the device's copy engine if its place is linear in the number of the turn, and any other to a
    kernel, which takes processors from the steps. So the places are counted here (the numbers that the loop is given
    come from an array), and a history has places for one chunk more at either end, which are written or fetched in the
    first or last turn and never used. Where XLA does not count right (:func:`jaxwave.storage.pinned.counts_right`), the
    numbers of the loop are taken after all.
    """

    def __init__(self, plan: Plan, n_steps: int, x: Any, direction: int) -> None:
        super().__init__(plan, n_steps, x, direction)
        self._chunks = plan.chunks(n_steps, x, True)
        self._last = self._chunks.full - (self._chunks.rest == 0)

    def open(self, save, owner, parents):
        chunk, _ = self.buffer((), 0, self._size, save)
        return _Writing(super().open(save, owner, parents), chunk, jnp.int32(0))

    def put(self, saved, i, before, after, chunks):
        i, turn = self._count(i, saved.turn)
        parts = saved.parts if _is_number(i, 0) else self._write(saved, i - 1)
        return _Writing(parts, chunks, turn)

    def close(self, saved):
        return self._write(saved, self._last)

    def _write(self, saved: _Writing, i) -> Parts:
        """What is saved, with chunk ``i`` in its place."""
        start = (i + 1) * self._size
        return map_present(lambda part, chunk: self._plan.storage.write(part, start, chunk), saved.parts, saved.chunk)

    def start(self, history):
        return _Ahead(self._fetch(history, 0 if self._direction > 0 else self._last), jnp.int32(0))

    def read(self, history, cursor, i, size):
        i, turn = self._count(i, cursor.turn)
        at_end = _is_number(i, self._last if self._direction > 0 else 0)
        ahead = cursor.chunk if at_end else self._fetch(history, i + self._direction)
        return map_present(lambda leaves: [x[:size] for x in leaves], cursor.chunk), _Ahead(ahead, turn)

    def _fetch(self, history: StoredHistory, i) -> Parts:
        """Chunk ``i`` on the device, with what follows it where it is shorter than the others."""
        start = (i + 1) * self._size
        return map_present(lambda part: self._plan.storage.read(part, start, self._size), history.parts)

    def _count(self, i, turn: jax.Array) -> tuple[Any, jax.Array]:
        """The number of a chunk, counted in a loop, and the turns with this one."""
        if isinstance(i, int):
            return i, turn
        if not self._plan.storage.counted:
            return opaque(i), turn
        return (turn if self._direction > 0 else self._chunks.full - 1 - turn), turn + 1


def _is_number(i, number: int) -> bool:
    """Whether i is this number; one that only the loop knows is not."""
    return isinstance(i, int) and i == number


class _Front(NamedTuple):
    """States at the start of a chunk, or where states are kept: of a run, and of those that it scatters off."""

    x: Any
    others: list


class Replaying(Stored):
    """States are kept, and the steps from them taken again."""

    def __init__(self, plan, n_steps, x, direction):
        super().__init__(plan, n_steps, x, direction)
        self._quiet = dataclasses.replace(plan, observer=None)
        self._leaves, self._structure = jax.tree.flatten(x)
        self._schedule = plan.storage.schedule(*plan.sizes(n_steps, x))
        self._ahead = plan.storage.checkpoints.pipelined  # states are fetched while those before them are used

    def open(self, save, owner, parents):
        return self._plan.storage.open(*self._plan.sizes(self._n_steps, self._x), owner, parents)

    def terms(self, save):
        return ()

    def put(self, saved, i, before, after, chunks):
        return self._plan.storage.put_state(saved, jnp.asarray(self._schedule.sweep)[i], self._leaves_of(before))

    def start(self, history):
        if self._schedule.keeps_all:
            first = 0 if self._direction > 0 else self._schedule.places - 1
            return self._front(history.run, first) if self._ahead else ()
        return self._front(history.run, 0) if self._direction > 0 else self._slots(history.run)

    def read(self, history, cursor, i, size):
        run, save = history.run, history.wanted
        if self._schedule.keeps_all:
            front = cursor if self._ahead else self._front(run, i)
            cursor = self._front(run, i + self._direction) if self._ahead else cursor
            return self._replay(run, front, i, size, save)[1], cursor
        if self._direction > 0:
            front, chunks = self._replay(run, cursor, i, size, save)
            return chunks, front
        front, cursor = self._advance(run, cursor, i)
        return self._replay(run, front, i, size, save)[1], cursor

    def _front(self, run: RunInputs, i) -> _Front:
        """The states that were kept at place ``i``."""
        return _Front(self._state(run.state, i), [self._front(h.run, i) for h, _ in run.born_sources])

    def _state(self, saved: Any, place) -> Any:
        kept = self._plan.storage.get_state(saved, place, self._leaves, self._direction)
        return self._plan.equation.enter(jax.tree.unflatten(self._structure, kept))

    def _leaves_of(self, x: Any) -> list[jax.Array]:
        return jax.tree.leaves(self._plan.equation.leave(x))

    def _replay(self, run: RunInputs, front: _Front, i, size: int, save: tuple[bool, ...]) -> tuple[_Front, Parts]:
        """From the start of chunk ``i`` to its end; and the chunks of the terms to save."""
        replayed = [
            self._replay(h.run, f, i, size, h.wanted) for (h, _), f in zip(run.born_sources, front.others, strict=True)
        ]
        stored = [(dm, chunks) for (_, dm), (_, chunks) in zip(run.born_sources, replayed, strict=True)]
        interval = self._plan.interval
        t = i * self._size * interval
        series = lax.dynamic_slice_in_dim(self._whole_entries(run.amplitudes), t, size * interval)
        carry = (front.x, observe.first_tick())
        spec, storage = self._plan.pack_spec(self._x, save), self._plan.storage
        buffer = map_present(lambda entry: storage.buffer(entry, size), spec)
        (x, _), chunks, _ = forward_chunk(self._quiet, run, carry, t, series, stored, save, buffer, 0)
        return _Front(x, [f for f, _ in replayed]), chunks

    def _whole_entries(self, amplitudes: jax.Array) -> jax.Array:
        """With steps added to a last entry that is shorter: nothing reads what is after its first step."""
        missing = -amplitudes.shape[0] % self._plan.interval
        return jnp.pad(amplitudes, [(0, missing), (0, 0), (0, 0)]) if missing else amplitudes

    # ---- where few states are kept, and change places ----

    def _slots(self, run: RunInputs) -> _Front:
        """The kept states of a run, and of those that it is replayed from."""
        return _Front(run.state, [self._slots(h.run) for h, _ in run.born_sources])

    def _load(self, slots: _Front, place) -> _Front:
        return _Front(self._state(slots.x, place), [self._load(s, place) for s in slots.others])

    def _save(self, slots: _Front, place, front: _Front) -> _Front:
        kept = self._plan.storage.put_state(slots.x, place, self._leaves_of(front.x))
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


class _Segment(NamedTuple):
    """What the steps of a segment are taken back with: of a run, and of those that it scatters off.

    ``ring`` has the rings of its steps from number ``first`` on, ``series`` the amplitudes.
    """

    ring: list[jax.Array]
    first: Any
    series: jax.Array
    others: list


class Reversing(Stored):
    """What the layers add is stored, and the wavefields at the end of each segment; steps are taken back from them.

    The adjoint loop takes the steps back along with its own. Against it, in a linearised run, the terms of a segment
    are made at once.
    """

    def __init__(self, plan, n_steps, x, direction):
        super().__init__(plan, n_steps, x, direction)
        *_, self._kept = plan.sizes(n_steps, x)

    def open(self, save, owner, parents):
        return self._plan.storage.open(*self._plan.sizes(self._n_steps, self._x), owner, parents)

    def buffer(self, saved, i, size, save):
        if not save or self._plan.storage.elsewhere:
            return super().buffer(saved, i, size, save)
        return (self._plan.storage.rings(saved),), i * self._size

    def put(self, saved, i, before, after, chunks):
        (chunk,) = chunks
        return self._plan.storage.put_segment(saved, i, self._size, chunk, self._plan.equation.time_levels(after))

    def read(self, history, cursor, i, size):
        plan, storage, spec = self._plan, self._plan.storage, self._plan.entry_spec(self._x)
        segment, front = self._load(history.run, i, size)

        def back(carry, j):
            front, buffer = carry
            terms, front = self._back(history, segment, front, j)
            buffer = map_present(lambda chunk, g: storage.keep(chunk, plan.encode(g), j, size), buffer, terms)
            return (front, buffer), None

        carry = (front, map_present(lambda _: storage.buffer(spec, size), plan.wanted(history.wanted)))
        unroll = min(plan.equation.levels, size)
        (_, buffer), _ = lax.scan(back, carry, jnp.arange(size), reverse=True, unroll=unroll)
        return buffer, cursor

    def enter(self, history, cursor, i, size):
        return *self._load(history.run, i, size), cursor

    def entry(self, history, chunk, front, j, size):
        terms, front = self._back(history, chunk, front, j)
        return map_present(lambda g: self._plan.decode(self._plan.encode(g), self._x), terms), front

    def _load(self, run: RunInputs, i, size: int) -> tuple[_Segment, _Front]:
        """Segment ``i``, and the wavefields at its end."""
        storage = self._plan.storage
        ring, first, levels = storage.get_segment(run.state, i, self._size, size, self._kept, self._direction)
        others = [self._load(h.run, i, size) for h, _ in run.born_sources]
        series = lax.dynamic_slice_in_dim(run.amplitudes, i * self._size, size)
        segment = _Segment(ring, first, series, [segment for segment, _ in others])
        return segment, _Front(levels, [front for _, front in others])

    def _back(self, history: RecomputedHistory, segment: _Segment, front: _Front, j) -> tuple[Parts, _Front]:
        """The terms of step ``j`` of a segment, and the wavefields before it."""
        plan, run = self._plan, history.run
        others = [
            self.entry(h, *x, j, 1) for (h, _), *x in zip(run.born_sources, segment.others, front.others, strict=True)
        ]
        scatter = [(dm, terms) for (_, dm), (terms, _) in zip(run.born_sources, others, strict=True)]
        ring = plan.storage.unpack(segment.ring, segment.first + j, self._kept[0])
        s, wanted = segment.series[j], plan.wanted(history.wanted)
        levels, terms = plan.equation.time_reversed_step(run.m, run.operands, front.x, s, scatter, ring, wanted)
        return terms, _Front(levels, [f for _, f in others])
