"""Histories that are not kept: the states at the start of segments are, and the steps between are taken again."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxwave._setup.validate.values import wholes
from jaxwave._timeloop import observe
from jaxwave._timeloop.forward import forward_chunk
from jaxwave.storage.base import DeviceStorage, Storage
from jaxwave.storage.codecs import Codec, Raw
from jaxwave.storage.entries import (
    Leaves,
    Parts,
    Spec,
    chunk_spec,
    decode,
    empty_chunk,
    encode,
    encoded_spec,
    entry_bytes,
    even_chunks,
    get_entry,
    map_present,
    put_entry,
)
from jaxwave.storage.pinned import PinnedStorage
from jaxwave.storage.schedule import Schedule, schedule
from jaxwave.storage.stored import Stored
from jaxwave.storage.streamed import Streamed

if TYPE_CHECKING:
    from jaxwave._timeloop.chunks import RunInputs


@dataclasses.dataclass(frozen=True)
class Recompute(Storage):
    """``storage_mode="recompute"``: keeps states of the run, and takes the steps between them again.

    Memory: the kept states (each some 2 to 4 times one wavefield), where ``checkpoints`` says, and on the device the
    terms of one segment. Work: one more forward run, and with fewer slots than segments the advances of the binomial
    schedule (:mod:`jaxwave.storage.schedule`). Derivatives: all.

    Attributes:
        codec: Compression of the terms of the segment that is being replayed.
        segments: Number of segments, equal but for the last. Default: what takes the least memory.
        slots: States that are kept at a time; with fewer than segments they change places. Default: one per segment.
        memory: Bytes on the device for states and segment together, in place of the two numbers: the schedule with the
            least work that fits is taken.
        checkpoints: Where the states are kept, ``DeviceStorage``, ``PinnedStorage``, ``HostStorage`` or
            ``DiskStorage``, with a codec for the states. Elsewhere than on the device every segment has a slot.
    """

    codec: Codec = Raw()
    segments: int | None = None
    slots: int | None = None
    memory: int | None = None
    checkpoints: Storage = DeviceStorage()

    replays = True

    def __post_init__(self) -> None:
        wholes(self, "a positive integer", 1, "segments", "slots", "memory")
        if self.memory is not None and (self.segments is not None or self.slots is not None):
            raise ValueError("Recompute: `memory` chooses the segments and the slots; give it or them")
        if not isinstance(self.checkpoints, DeviceStorage | PinnedStorage | Streamed):
            raise TypeError(
                "Recompute: `checkpoints` must be a DeviceStorage, PinnedStorage, HostStorage or DiskStorage; "
                f"got {self.checkpoints!r}"
            )
        if self.elsewhere and (self.slots is not None or self.memory is not None):
            raise ValueError(
                "Recompute: states that change places must be on the device; give `segments` alone with "
                f"checkpoints={type(self.checkpoints).__name__}"
            )

    @property
    def streams(self) -> bool:
        return self.checkpoints.streams

    @property
    def pinned(self) -> bool:
        return self.checkpoints.pinned

    @property
    def elsewhere(self) -> bool:
        """Whether the states are kept elsewhere than on the device."""
        return self.checkpoints.streams or self.checkpoints.pipelined

    @property
    def divisible(self) -> bool:
        return self.memory is None  # which is for all shots

    def resolve(self, period, interval, equation):
        return dataclasses.replace(self, checkpoints=self.checkpoints.resolve(period, interval, equation))

    def histories(self, plan, n_steps, x, direction):
        return Replaying(plan, n_steps, x, direction)

    # ---- sizes ----

    def chunk_size(self, n_entries, spec, state):
        return self._layout(n_entries, spec, state)[0]

    def explicit(self, n_entries: int, spec: Spec, state: Spec) -> Recompute:
        """The same with ``segments`` and ``slots`` in place of ``memory``: shots may then run in groups, each of which
        takes its share.

        Raises:
            ValueError: If two states and one step do not fit.
        """
        size, slots = self._layout(n_entries, spec, state)
        return dataclasses.replace(self, segments=math.ceil(n_entries / size), slots=slots, memory=None)

    def schedule(self, n_entries: int, spec: Spec, state: Spec) -> Schedule:
        """Which states are kept in a run with entries like ``spec`` and states like ``state``."""
        size, slots = self._layout(n_entries, spec, state)
        return schedule(math.ceil(n_entries / size), slots)

    def _layout(self, n_entries: int, spec: Spec, state: Spec) -> tuple[int, int]:
        """Entries in a segment, and slots."""
        term, kept = entry_bytes(spec), entry_bytes(self._state_spec(state))
        if self.memory is not None:
            return self._within(self.memory, n_entries, term, kept)
        if self.segments is not None:
            size = math.ceil(n_entries / min(self.segments, n_entries))
        else:
            size = even_chunks(n_entries, round(math.sqrt(n_entries * kept / term)))
        n = math.ceil(n_entries / size)
        return size, min(self.slots or n, n)

    def _within(self, memory: int, n_entries: int, term: int, kept: int) -> tuple[int, int]:
        """The segment and the slots with the least work that fit in so many bytes."""
        choices = []
        for size in sorted({even_chunks(n_entries, math.ceil(1.2**k)) for k in range(80) if 1.2**k <= 1.2 * n_entries}):
            n = math.ceil(n_entries / size)
            room = (memory - size * term) // kept
            slots = n if room >= n else room - 1  # one more place is needed where states change places
            if slots >= 1:
                choices.append((size * schedule(n, slots).advances, size * term + schedule(n, slots).places * kept,
                                size, min(slots, n)))  # fmt: skip
        if not choices:
            least = 2 * kept + term
            raise ValueError(
                f"Recompute: memory={memory} bytes does not hold two states and the terms of one step, {least} bytes; "
                "give more, keep the states elsewhere (`Recompute(checkpoints=HostStorage())`, which needs no "
                "`memory`), or propagate fewer shots at a time"
            )
        return min(choices)[2:]

    def _state_spec(self, state: Spec) -> Spec:
        return encoded_spec(self.checkpoints.codec, state)

    @property
    def _tier(self) -> PinnedStorage | Streamed:
        """The tier elsewhere, one state to a transfer."""
        return dataclasses.replace(self.checkpoints, steps_per_transfer=1)

    # ---- states ----

    def history_spec(self, n_entries, spec, state):
        places, kept = self.schedule(n_entries, spec, state).places, self._state_spec(state)
        return self._tier.history_spec(places, kept, ()) if self.elsewhere else chunk_spec(kept, places)

    def open(self, n_entries, spec, state, owner, parents):
        places, kept = self.schedule(n_entries, spec, state).places, self._state_spec(state)
        return self._tier.open(places, kept, (), owner, parents) if self.elsewhere else empty_chunk(kept, places)

    def footprint(self, n_entries, spec, state):
        size, _ = self._layout(n_entries, spec, state)
        places, kept = self.schedule(n_entries, spec, state).places, self._state_spec(state)
        tier = self._tier if self.elsewhere else self.checkpoints
        states = tier.footprint(places, kept, ())
        segment = size * entry_bytes(spec)
        return states._replace(history=states.history + segment, device=states.device + segment)

    def put_state(self, history: Leaves, place, x: Leaves) -> Leaves:
        """Keeps the arrays of a state."""
        kept = encode(self.checkpoints.codec, x)
        if self.elsewhere:
            return self._tier.put(history, place, [leaf[None] for leaf in kept])
        return put_entry(history, kept, place)

    def get_state(self, history: Leaves, place, x: Leaves, direction: int) -> Leaves:
        """The arrays of a state, of the shapes of ``x``; ``direction`` tells which place comes next."""
        if self.elsewhere:
            one = chunk_spec(self._state_spec(x), 1)
            kept = [leaf[0] for leaf in self._tier.get(history, place, one, direction)]
        else:
            kept = get_entry(history, jnp.int32(place))
        return decode(self.checkpoints.codec, kept, x)


# ---- for the loops ----


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
