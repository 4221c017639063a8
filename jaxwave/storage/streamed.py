"""Histories that leave the device through host callbacks: to host RAM, or to HDF5 files.

The history that travels through the program is a *token*, a float that numbers it. Callbacks are unordered as far as
JAX knows, and ordered by this token, which each one takes and returns. Token 0 is the history of zeros (what a symbolic
zero tangent is instantiated to).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxwave._jax_internals import host_call
from jaxwave._setup.validate.values import wholes
from jaxwave.storage.base import Footprint, Storage
from jaxwave.storage.codecs import Codec, Raw
from jaxwave.storage.entries import entry_bytes, transfer_size
from jaxwave.storage.hdf5 import QUEUE_LENGTH, Hdf5History
from jaxwave.storage.ram import RamHistory
from jaxwave.storage.registry import REGISTRY

# Copies of a chunk that are alive while it passes between a compiled program and a callback, freed ones that the
# allocator holds on to included. Measured (JAX 0.10 and 0.11, Linux), for 2 to 40 MB a chunk.
COPIES_IN_TRANSFER = 3

TOKEN = jax.ShapeDtypeStruct((), np.float32)


@dataclasses.dataclass(frozen=True)
class Streamed(Storage):
    """What the tiers behind host callbacks share.

    Attributes:
        codec: Compression, applied on the device before the transfer.
        steps_per_transfer: Stored steps that one callback moves; ``None`` chooses from the field's size.
        retain: Histories kept readable after their first complete use when newer ones are opened. 0 suits gradients;
            raise it when one compiled program returns to an earlier linearisation after making a new one.
    """

    codec: Codec = Raw()
    steps_per_transfer: int | None = None
    retain: int = 0

    streams = True

    def __post_init__(self) -> None:
        wholes(self, "a number of steps, at least 1", 1, "steps_per_transfer")
        wholes(self, "a number of histories, at least 0", 0, "retain")

    def keeper(self, n_chunks: int, specs: list, n_entries: int) -> Callable:
        """A function that makes the host-side keeper of a new history."""
        raise NotImplementedError

    def chunk_size(self, n_entries, spec, state):
        return transfer_size(self.steps_per_transfer, n_entries, spec)

    def history_spec(self, n_entries, spec, state):
        return (TOKEN,)

    def open(self, n_entries, spec, state, owner, parents):
        n_chunks = math.ceil(n_entries / self.chunk_size(n_entries, spec, state))
        specs = [(s.shape, np.dtype(s.dtype)) for s in spec]

        def callback(owner, *parents):
            ancestors = [int(p) for p in parents if p]
            number = REGISTRY.open(
                self.keeper(n_chunks, specs, n_entries),
                n_chunks=n_chunks, parents=ancestors, owner=int(owner), retain=self.retain,
            )  # fmt: skip
            return [np.float32(number)]

        return host_call(callback, [TOKEN], owner, *parents)

    def _chunks(self, n_entries, spec, state) -> tuple[int, int]:
        """Chunks, and bytes of one."""
        size = self.chunk_size(n_entries, spec, state)
        return math.ceil(n_entries / size), size * entry_bytes(spec)

    def put(self, history, i, chunk):
        def callback(token, i, *leaves):
            REGISTRY.write(int(token), int(i), list(leaves))
            return [np.float32(token)]

        return host_call(callback, [TOKEN], history[0], jnp.int32(i), *chunk)

    def get(self, history, i, spec, direction):
        def callback(token, i):
            if not token:
                return [np.zeros(s.shape, s.dtype) for s in spec]
            return REGISTRY.read(int(token), int(i), direction)

        return host_call(callback, spec, history[0], jnp.int32(i))


@dataclasses.dataclass(frozen=True)
class HostStorage(Streamed):
    """``storage_mode="cpu"`` on a CPU: chunks are streamed to host RAM, into buffers that are reused from call to call.

    Memory: every term of every stored step, in RAM; a few chunks on the device. Work: the copies, which overlap with
    the propagation only on a GPU, where :class:`PinnedStorage` needs no callbacks. Derivatives: all.
    """

    def keeper(self, n_chunks, specs, n_entries):
        return lambda: RamHistory(n_chunks, specs, n_entries)

    def footprint(self, n_entries, spec, state):
        n_chunks, chunk = self._chunks(n_entries, spec, state)
        history = n_entries * entry_bytes(spec)
        return Footprint(history, chunk, host=history, transfer=min(COPIES_IN_TRANSFER, n_chunks) * chunk)


@dataclasses.dataclass(frozen=True)
class DiskStorage(Streamed):
    """``storage_mode="disk"``: chunks are streamed to an HDF5 file in the directory ``path``, written behind and read
    ahead by a background thread. The file has no name there and ends with the history or the process.

    Memory: every term of every stored step, in the file; a few chunks in RAM and on the device. Work: the transfers,
    which overlap with the propagation as far as the disk keeps up. Derivatives: all.

    Attributes:
        path: Directory on the disk that takes the file.
    """

    path: str = "."

    def keeper(self, n_chunks, specs, n_entries):
        return lambda: Hdf5History(self.path, n_chunks, specs, n_entries)

    def footprint(self, n_entries, spec, state):
        n_chunks, chunk = self._chunks(n_entries, spec, state)
        history = n_entries * entry_bytes(spec)
        host = min(QUEUE_LENGTH + 1, n_chunks) * chunk  # one being filled, the others on their way
        return Footprint(history, chunk, host, min(COPIES_IN_TRANSFER, n_chunks) * chunk, disk=history)
