"""Where the wavefields that a gradient needs are kept: one object per policy, one protocol for the time loop.

The time loop saves an *entry* (the encoded terms of one step) at a time into a *chunk* of several. A policy says how
many entries make a chunk and what becomes of a full one:

    device: one chunk for the whole run; the chunk is the history.
    host, disk: chunks leave the device through a callback as they fill, and come back one by one in the adjoint loop.
        The history that travels through the program is a *token*, a float that numbers it. Callbacks are unordered as
        far as JAX knows, and ordered by this token, which each one takes and returns. Token 0 is the history of zeros
        (what a symbolic zero tangent is instantiated to).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxwave.storage.callback import host_call
from jaxwave.storage.codecs import Codec, Raw
from jaxwave.storage.registry import REGISTRY

Spec = tuple[jax.ShapeDtypeStruct, ...]
TOKEN = jax.ShapeDtypeStruct((), np.float32)


def entry_bytes(spec: Spec) -> int:
    """Bytes of one entry."""
    return sum(math.prod(s.shape) * jnp.dtype(s.dtype).itemsize for s in spec)


def chunk_spec(spec: Spec, size: int) -> Spec:
    """``size`` entries: a leading axis on every leaf."""
    return tuple(jax.ShapeDtypeStruct((size, *s.shape), s.dtype) for s in spec)


def empty_chunk(spec: Spec, size: int) -> list[jax.Array]:
    """An uninitialised chunk (a zeroed one would cost one more pass over the whole store)."""
    return [lax.empty(s.shape, s.dtype) for s in chunk_spec(spec, size)]


@dataclasses.dataclass(frozen=True)
class NoStorage:
    """``storage_mode="none"``: nothing is kept. Gradients for sources and initial wavefields need nothing stored;
    the gradient for a model is refused.
    """

    codec: Codec = Raw()
    stores = False
    streams = False

    def chunk_size(self, n_entries: int, spec: Spec) -> int:
        return n_entries


@dataclasses.dataclass(frozen=True)
class DeviceStorage:
    """``storage_mode="device"``: the history stays in the device's memory.

    Attributes:
        codec: Compression of what is stored (see :mod:`jaxwave.storage.codecs`).
    """

    codec: Codec = Raw()
    stores = True
    streams = False

    def chunk_size(self, n_entries: int, spec: Spec) -> int:
        return n_entries

    def history_spec(self, n_entries: int, spec: Spec) -> Spec:
        return chunk_spec(spec, n_entries)

    def open(self, spec: Spec, n_entries: int, owner: jax.Array, parents: Sequence[list]) -> list[jax.Array]:
        return []

    def put(self, history: list[jax.Array], i, chunk: list[jax.Array]) -> list[jax.Array]:
        return chunk

    def get(self, history: list[jax.Array], i, spec: Spec, direction: int) -> list[jax.Array]:
        return list(history)


@dataclasses.dataclass(frozen=True)
class _Streamed:
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

    stores = True
    streams = True
    transfer_bytes = 2**25  # 32 MiB a callback: far above its overhead, far below a field in 3-D times nt

    def __post_init__(self) -> None:
        if self.steps_per_transfer is not None and self.steps_per_transfer < 1:
            raise ValueError(f"steps_per_transfer must be at least 1; got {self.steps_per_transfer}")
        if self.retain < 0:
            raise ValueError(f"retain must not be negative; got {self.retain}")

    def keeper(self, n_chunks: int, specs: list, n_entries: int) -> Callable:
        """A function that makes the host-side keeper of a new history."""
        raise NotImplementedError

    def chunk_size(self, n_entries: int, spec: Spec) -> int:
        """Entries per transfer: about ``transfer_bytes``, but no more than a 32nd of the run, so that what stays on the
        device is small against the history, and an even divisor where one is near, so that one loop serves all chunks.
        """
        if self.steps_per_transfer is not None:
            size = min(self.steps_per_transfer, n_entries)
        else:
            most = max(1, min(self.transfer_bytes // entry_bytes(spec), n_entries // 32))
            good = [k for k in range(most // 2 + 1, most + 1) if n_entries % k == 0]
            size = max([k for k in good if k % 2 == 0] or good or [most])
        return math.ceil(n_entries / math.ceil(n_entries / size))  # chunks as even as they can be

    def history_spec(self, n_entries: int, spec: Spec) -> Spec:
        return (TOKEN,)

    def open(self, spec: Spec, n_entries: int, owner: jax.Array, parents: Sequence[list]) -> list[jax.Array]:
        n_chunks = math.ceil(n_entries / self.chunk_size(n_entries, spec))
        specs = [(s.shape, np.dtype(s.dtype)) for s in spec]

        def callback(owner, *parents):
            ancestors = [int(p) for p in parents if p]
            number = REGISTRY.open(
                self.keeper(n_chunks, specs, n_entries),
                n_chunks=n_chunks, parents=ancestors, owner=int(owner), retain=self.retain,
            )  # fmt: skip
            return [np.float32(number)]

        return host_call(callback, [TOKEN], owner, *(p[0] for p in parents))

    def put(self, history: list[jax.Array], i, chunk: list[jax.Array]) -> list[jax.Array]:
        def callback(token, i, *leaves):
            REGISTRY.write(int(token), int(i), list(leaves))
            return [np.float32(token)]

        return host_call(callback, [TOKEN], history[0], jnp.int32(i), *chunk)

    def get(self, history: list[jax.Array], i, spec: Spec, direction: int) -> list[jax.Array]:
        """Chunk ``i``; ``spec`` is that of the chunk. ``direction`` is +1 or -1: the chunk wanted next."""

        def callback(token, i):
            if not token:
                return [np.zeros(s.shape, s.dtype) for s in spec]
            return REGISTRY.read(int(token), int(i), direction)

        return host_call(callback, spec, history[0], jnp.int32(i))


@dataclasses.dataclass(frozen=True)
class HostStorage(_Streamed):
    """``storage_mode="cpu"``: chunks are streamed to host RAM, into buffers that are reused from call to call."""

    def keeper(self, n_chunks, specs, n_entries):
        from jaxwave.storage.ram import RamHistory

        return lambda: RamHistory(n_chunks, specs, n_entries)


@dataclasses.dataclass(frozen=True)
class DiskStorage(_Streamed):
    """``storage_mode="disk"``: chunks are streamed to an HDF5 file in a temporary directory of its own under ``path``,
    written behind and read ahead by a background thread.

    Attributes:
        path: Directory that holds the temporary one.
    """

    path: str = "."

    def keeper(self, n_chunks, specs, n_entries):
        from jaxwave.storage.hdf5 import Hdf5History

        return lambda: Hdf5History(self.path, n_chunks, specs, n_entries)


Storage = NoStorage | DeviceStorage | HostStorage | DiskStorage
MODES: dict[str, type] = {"device": DeviceStorage, "cpu": HostStorage, "disk": DiskStorage, "none": NoStorage}


def as_storage(mode: str | Storage, path: str, codec: Codec) -> Storage:
    """The storage object that ``storage_mode``, ``storage_path`` and a codec describe.

    Raises:
        ValueError: If the mode is unknown.
        TypeError: If ``mode`` is neither a name nor a storage object.
    """
    if isinstance(mode, str):
        if mode not in MODES:
            raise ValueError(f"storage_mode={mode!r} is unknown; use {', '.join(map(repr, MODES))} or a storage object")
        return DiskStorage(codec, path=path) if mode == "disk" else MODES[mode](codec)
    if not isinstance(mode, Storage):
        raise TypeError(f"storage_mode must be a name or a storage object from jaxwave.storage; got {mode!r}")
    return mode
