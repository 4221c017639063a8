"""Histories that are not kept: the states at the start of segments are, and the steps between are taken again."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp

from jaxwave._setup.validate.values import wholes
from jaxwave.storage import base
from jaxwave.storage.base import DeviceStorage, Leaves, Spec, Storage, chunk_spec, empty_chunk, entry_bytes, even_chunks
from jaxwave.storage.codecs import Codec, Raw
from jaxwave.storage.pinned import PinnedStorage
from jaxwave.storage.schedule import Schedule, schedule
from jaxwave.storage.streamed import Streamed


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

    kind = "recomputed"

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
    def elsewhere(self) -> bool:
        """Whether the states are kept elsewhere than on the device."""
        return self.checkpoints.streams or self.checkpoints.pipelined

    @property
    def divisible(self) -> bool:
        return self.memory is None  # which is for all shots

    def resolve(self, period, interval, equation):
        return dataclasses.replace(self, checkpoints=self.checkpoints.resolve(period, interval, equation))

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
        return base.encoded_spec(self.checkpoints.codec, state)

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
        kept = base.encode(self.checkpoints.codec, x)
        if self.elsewhere:
            return self._tier.put(history, place, [leaf[None] for leaf in kept])
        return base.put_entry(history, kept, place)

    def get_state(self, history: Leaves, place, x: Leaves, direction: int) -> Leaves:
        """The arrays of a state, of the shapes of ``x``; ``direction`` tells which place comes next."""
        if self.elsewhere:
            one = chunk_spec(self._state_spec(x), 1)
            kept = [leaf[0] for leaf in self._tier.get(history, place, one, direction)]
        else:
            kept = base.get_entry(history, jnp.int32(place))
        return base.decode(self.checkpoints.codec, kept, x)
