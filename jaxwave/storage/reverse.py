"""Histories that are taken back in time: what the layers add is kept, and the wavefields at the end of each segment."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxwave._setup.validate.values import wholes
from jaxwave.storage import base
from jaxwave.storage.base import DeviceStorage, Footprint, Leaves, Spec, Storage, chunk_spec, empty_chunk, even_chunks
from jaxwave.storage.codecs import Codec, Raw
from jaxwave.storage.pinned import PinnedStorage
from jaxwave.storage.streamed import Streamed


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
    the wavefields are kept. For all equations, with every step stored.

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

    kind = "reversed"

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

    def kept_of(self, equation, x):
        """The ring, and the wavefields that steps are taken back from."""
        fields = jax.eval_shape(lambda x: (equation.ring(equation.enter(x)), equation.time_levels(x)), x)
        return tuple(map(base.specs, fields))

    def chunk_size(self, n_entries, spec, state):
        return even_chunks(n_entries, self.segment)

    # ---- the two histories: ring and wavefields; ``state`` is the pair of their fields ----

    def pack_spec(self, fields: Sequence) -> Spec:
        """What the ring of one step takes."""
        return base.encoded_spec(self.ring.codec, fields)

    def pack(self, fields: Sequence[jax.Array]) -> Leaves:
        """The ring of a step, as it is stored."""
        return base.encode(self.ring.codec, fields)

    def unpack(self, chunk: Leaves, j, fields: Sequence) -> Leaves:
        """The ring of entry ``j``, of the shapes of ``fields``."""
        return base.decode(self.ring.codec, base.get_entry(chunk, j), fields) if chunk else []

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
        return [*(chunk for _ in ring), base.put_entry(kept, levels, i)]

    def get_segment(self, saved: list[Leaves], i, size: int, count: int, state: tuple[Spec, Spec], direction: int):
        """Rings, where those of the ``count`` steps of segment ``i`` begin in them, and the wavefields at its end."""
        rings, states = self._tiers(size)
        layers, levels = state
        *ring, kept = saved
        if self.elsewhere:
            chunk = [x for r in ring for x in rings.get(r, i, chunk_spec(self.pack_spec(layers), count), direction)]
            return chunk, 0, [x[0] for x in states.get(kept, i, chunk_spec(levels, 1), direction)]
        return self.rings(saved), i * size, base.get_entry(kept, jnp.int32(i))
