"""Histories in pinned host memory, which the device reads and writes by itself: no callback, and no stop of the stream.

The history is an ordinary array of the program that is in the memory space of the host (:class:`jax.memory.Space`). A
chunk of it is copied by the device's copy engine while kernels compute another: the loops
(:class:`jaxwave._timeloop.histories.Pipelined`) write the chunk before the one that they are making, and read the one
after the one that they use. So a history has a tangent like any other, and a program that stores one can be compiled
without a device, kept, and divided by ``shard_map``.
"""

from __future__ import annotations

import dataclasses
import math
import os

import jax
import jax.numpy as jnp
from jax import lax

from jaxwave._jax_internals import in_host_memory
from jaxwave._setup.validate.values import wholes
from jaxwave.storage import pages
from jaxwave.storage.base import Footprint, Leaves, Spec, Storage, chunk_spec, entry_bytes, transfer_size
from jaxwave.storage.codecs import Codec, Raw

CHUNKS_ON_DEVICE = 3
"""One that is computed or used, one on its way, and the copy that the compiler makes of it to start the next."""


@dataclasses.dataclass(frozen=True)
class PinnedStorage(Storage):
    """``storage_mode="cpu"`` on a GPU: the history is in pinned host memory, and copies overlap with the propagation.

    Memory: every term of every stored step, in pinned host memory; three chunks on the device. Work: one copy each way,
    which takes time only as far as it takes longer than the steps meanwhile. Derivatives: all. On a CPU both memories
    are the same, and the history is what it is under ``DeviceStorage``.

    XLA takes pinned memory from a pool, whose size the environment variable ``XLA_PJRT_GPU_HOST_MEMORY_LIMIT_GB`` sets
    before JAX starts: 64 GB if it is not set.

    Attributes:
        codec: Compression, applied on the device before the transfer.
        steps_per_transfer: Stored steps that one copy moves; ``None`` chooses from the field's size.
    """

    codec: Codec = Raw()
    steps_per_transfer: int | None = None
    counted: bool | None = None

    pipelined = True

    def __post_init__(self) -> None:
        wholes(self, "a number of steps, at least 1", 1, "steps_per_transfer")

    def chunk_size(self, n_entries, spec, state):
        return transfer_size(self.steps_per_transfer, n_entries, spec)

    def _places(self, n_entries: int, spec: Spec, state: Spec) -> Spec:
        """The history: places for one chunk more at either end, as :class:`jaxwave._timeloop.histories.Pipelined` asks."""
        size = self.chunk_size(n_entries, spec, state)
        return chunk_spec(spec, (math.ceil(n_entries / size) + 2) * size)

    def history_spec(self, n_entries, spec, state):
        return tuple(map(in_host_memory, self._places(n_entries, spec, state)))

    def open(self, n_entries, spec, state, owner, parents):
        return [to_host(pages.empty(s.shape, s.dtype)) for s in self._places(n_entries, spec, state)]

    def footprint(self, n_entries, spec, state):
        history = entry_bytes(self._places(n_entries, spec, state))
        chunk = self.chunk_size(n_entries, spec, state) * entry_bytes(spec)
        return Footprint(history, CHUNKS_ON_DEVICE * chunk, host=history)

    def write(self, history: Leaves, start, chunk: Leaves) -> Leaves:
        """A chunk into the history, its first entry as number ``start``."""
        return [_put(h, to_host(x), start) for h, x in zip(history, chunk, strict=True)]

    def read(self, history: Leaves, start, size: int) -> Leaves:
        """``size`` entries from number ``start`` on."""
        return [to_device(_get(h, start, size)) for h in history]


# Indices that are known not to be negative: XLA does not see what is linear through a case.


def _put(history: jax.Array, chunk: jax.Array, start) -> jax.Array:
    at = (jnp.int32(start), *[0] * (chunk.ndim - 1))
    return lax.dynamic_update_slice(history, chunk, at, allow_negative_indices=False)


def _get(history: jax.Array, start, size: int) -> jax.Array:
    at = (jnp.int32(start), *[0] * (history.ndim - 1))
    return lax.dynamic_slice(history, at, (size, *history.shape[1:]), allow_negative_indices=False)


def to_host(x: jax.Array) -> jax.Array:
    """The same array in the host's memory."""
    return jax.device_put(x, jax.memory.Space.Host)


def to_device(x: jax.Array) -> jax.Array:
    """The same array in the device's memory."""
    return jax.device_put(x, jax.memory.Space.Device)


def pool_bytes() -> int:
    """Bytes of pinned memory that XLA's pool takes at most."""
    return int(os.environ.get("XLA_PJRT_GPU_HOST_MEMORY_LIMIT_GB", 64)) * 2**30
