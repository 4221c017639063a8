"""Histories that are taken back in time: what the layers add is kept, and the wavefields at the end of each segment."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxwave._setup.validate.values import wholes
from jaxwave.storage.base import DeviceStorage, Footprint, Storage
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
    even_chunks,
    get_entry,
    map_present,
    put_entry,
    specs,
)
from jaxwave.storage.pinned import PinnedStorage
from jaxwave.storage.stored import Stored
from jaxwave.storage.streamed import Streamed

if TYPE_CHECKING:
    from jaxwave._timeloop.chunks import RunInputs
    from jaxwave._timeloop.histories import RecomputedHistory


@dataclasses.dataclass(frozen=True)
class Reverse(Storage):
    """Takes the steps back from the last: a wave equation without absorbing layers runs in both directions.

    What the layers add to the differences of the wavefields is kept (the *ring*); with it the updates of a step are
    undone, the last one first. Of the scalar equation, with the part R of the layers in the term G:

        u[t-1] = 2 u[t] - u[t+1] + c (L(u[t]) + R[t]) + s[t]

    and of one of first order, of velocities v and pressure or stresses s, with the differences D:

        s = s' - K (D v' + R') - ...        v = v' - B (D s + R) - ...

    (boundary saving: D. Yang et al., *RTM using effective boundary saving*, Computers & Geosciences 68, 2014). Rounding
    grows along the way, with the square of the number of steps at worst, and is reset at the end of each segment, where
    the wavefields are kept. For all equations without attenuation, with every step stored.

    Memory: the ring of every step and the wavefields once a segment, where ``ring`` says; in a linearised run besides,
    on the device, the terms of one segment. Work: one more run, without layers. Derivatives: all.

    Attributes:
        codec: Compression of the terms that have been taken back.
        ring: Where ring and wavefields go, ``DeviceStorage``, ``HostStorage`` or ``DiskStorage``; its codec compresses
            the ring alone.
        segment: Steps of a segment.
    """

    codec: Codec = Raw()
    ring: Storage = DeviceStorage()
    segment: int = 32

    replays = True
    keeps_rings = True

    def __post_init__(self) -> None:
        wholes(self, "a positive integer", 1, "segment")
        if not isinstance(self.ring, DeviceStorage | PinnedStorage | Streamed):
            raise TypeError(
                f"Reverse: `ring` must be a DeviceStorage, PinnedStorage, HostStorage or DiskStorage; got {self.ring!r}"
            )

    @property
    def streams(self) -> bool:
        return self.ring.streams

    @property
    def pinned(self) -> bool:
        return self.ring.pinned

    @property
    def elsewhere(self) -> bool:
        """Whether the ring is kept elsewhere than on the device."""
        return self.ring.streams or self.ring.pipelined

    def resolve(self, period, interval, equation):
        if interval != 1:
            raise ValueError(
                "Reverse takes back every step, so model_gradient_sampling_interval must be 1; "
                f"got {interval}. Use Recompute, or store the terms"
            )
        if not equation.reversible:
            raise ValueError(
                f"Reverse is not available for {type(equation).__name__}, which has no step back in time. Use "
                "Recompute, or store the terms"
            )
        return dataclasses.replace(self, ring=self.ring.resolve(period, interval, equation))

    def histories(self, plan, n_steps, x, direction):
        return Reversing(plan, n_steps, x, direction)

    def kept_of(self, equation, x):
        """The ring, and the wavefields that steps are taken back from."""
        fields = jax.eval_shape(lambda x: (equation.ring(equation.enter(x)), equation.time_levels(x)), x)
        return tuple(map(specs, fields))

    def chunk_size(self, n_entries, spec, state):
        return even_chunks(n_entries, self.segment)

    # ---- the two histories: ring and wavefields; ``state`` is the pair of their fields ----

    def pack_spec(self, fields: Sequence) -> Spec:
        """What the ring of one step takes."""
        return encoded_spec(self.ring.codec, fields)

    def pack(self, fields: Sequence[jax.Array]) -> Leaves:
        """The ring of a step, as it is stored."""
        return encode(self.ring.codec, fields)

    def unpack(self, chunk: Leaves, j, fields: Sequence) -> Leaves:
        """The ring of entry ``j``, of the shapes of ``fields``."""
        return decode(self.ring.codec, get_entry(chunk, j), fields) if chunk else []

    def _tiers(self, size: int) -> tuple[Storage, Storage]:
        """Where the two go, with the rings of a segment or its wavefields to a transfer."""
        states = dataclasses.replace(self.ring, codec=Raw())
        if not self.elsewhere:
            return self.ring, states
        return (
            dataclasses.replace(self.ring, steps_per_transfer=size),
            dataclasses.replace(states, steps_per_transfer=1),
        )

    def _parts(self, n_entries: int, spec: Spec, state: tuple[Spec, Spec]):
        """Tier, number of entries and one entry, of each of the two that has anything to keep."""
        layers, levels = state
        size = self.chunk_size(n_entries, spec, state)
        rings, states = self._tiers(size)
        parts = [(rings, n_entries, self.pack_spec(layers))] if layers else []
        return [*parts, (states, math.ceil(n_entries / size), levels)]

    def history_spec(self, n_entries, spec, state):
        return [
            tier.history_spec(n, entry, ()) if self.elsewhere else chunk_spec(entry, n)
            for tier, n, entry in self._parts(n_entries, spec, state)
        ]

    def open(self, n_entries, spec, state, owner, parents):
        return [
            tier.open(n, entry, (), owner, parents) if self.elsewhere else empty_chunk(entry, n)
            for tier, n, entry in self._parts(n_entries, spec, state)
        ]

    def footprint(self, n_entries, spec, state):
        kept = [tier.footprint(n, entry, ()) for tier, n, entry in self._parts(n_entries, spec, state)]
        return Footprint(*(sum(place) for place in zip(*kept, strict=True)))

    def rings(self, saved: list[Leaves]) -> Leaves:
        """The rings of all steps, where they are on the device."""
        return saved[0] if len(saved) > 1 else []

    def put_segment(self, saved: list[Leaves], i, size: int, chunk: Leaves, levels: Leaves) -> list[Leaves]:
        """Keeps segment ``i``, of segments of ``size`` steps: its rings, and the wavefields at its end.

        On the device ``chunk`` has the rings of all steps, with those of the segment put in.
        """
        rings, states = self._tiers(size)
        *ring, kept = saved
        if self.elsewhere:
            ring = [rings.put(r, i, chunk) for r in ring]
            return [*ring, states.put(kept, i, [level[None] for level in levels])]
        return [*(chunk for _ in ring), put_entry(kept, levels, i)]

    def get_segment(self, saved: list[Leaves], i, size: int, count: int, state: tuple[Spec, Spec], direction: int):
        """Rings, where those of the ``count`` steps of segment ``i`` begin in them, and the wavefields at its end."""
        rings, states = self._tiers(size)
        layers, levels = state
        *ring, kept = saved
        if self.elsewhere:
            chunk = [x for r in ring for x in rings.get(r, i, chunk_spec(self.pack_spec(layers), count), direction)]
            return chunk, 0, [x[0] for x in states.get(kept, i, chunk_spec(levels, 1), direction)]
        return self.rings(saved), i * size, get_entry(kept, jnp.int32(i))


# ---- for the loops ----


class _Front(NamedTuple):
    """Wavefields from which a step is taken back: of a run, and of those that it scatters off."""

    levels: list[jax.Array]
    others: list


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
        levels, terms = plan.equation.time_reversed_step(run.m, run.operands, front.levels, s, scatter, ring, wanted)
        return terms, _Front(levels, [f for _, f in others])
