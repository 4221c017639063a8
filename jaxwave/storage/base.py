"""Where the wavefields that a gradient needs are kept: what the time loop asks of a policy, and the two plainest ones.

The time loop saves an *entry* (the encoded terms of one step) at a time into a *chunk* of several. A policy says how
many entries make a chunk and what becomes of a full one:

    device: one chunk for the whole run; the chunk is the history.
    host, disk (:mod:`jaxwave.storage.streamed`): chunks leave the device as they fill, and come back one by one.
    pinned (:mod:`jaxwave.storage.pinned`): the same, by the device itself, while it computes the next chunk.
    recompute (:mod:`jaxwave.storage.recompute`): chunks are thrown away and made again from the state at their start.
    fourier (:mod:`jaxwave.storage.fourier`): one chunk, into which every entry is added at a few frequencies.

A *history* is a list of arrays; it has a tangent of the same shapes (second derivatives store one), which the policy
reads back in the same way. So everything that a policy does to an entry is linear but for rounding, and a history of
zeros reads as zeros.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxwave.storage import pages
from jaxwave.storage.codecs import Codec, Raw

Spec = tuple[jax.ShapeDtypeStruct, ...]
Leaves = list[jax.Array]


def specs(arrays: Sequence[Any]) -> Spec:
    """The shapes and dtypes of arrays."""
    return tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays)


def entry_bytes(spec: Spec) -> int:
    """Bytes of one entry."""
    return sum(math.prod(s.shape) * jnp.dtype(s.dtype).itemsize for s in spec)


def chunk_spec(spec: Spec, size: int) -> Spec:
    """``size`` entries: a leading axis on every leaf."""
    return tuple(jax.ShapeDtypeStruct((size, *s.shape), s.dtype) for s in spec)


def empty_chunk(spec: Spec, size: int) -> Leaves:
    """An uninitialised chunk (a zeroed one would cost one more pass over the whole store)."""
    return [pages.empty(s.shape, s.dtype) for s in chunk_spec(spec, size)]


def put_entry(chunk: Leaves, leaves: Leaves, j) -> Leaves:
    """The chunk with entry ``j`` replaced."""
    return [lax.dynamic_update_index_in_dim(c, leaf, j, 0) for c, leaf in zip(chunk, leaves, strict=True)]


def get_entry(chunk: Leaves, j) -> Leaves:
    """Entry ``j`` of a chunk."""
    return [lax.dynamic_index_in_dim(c, j, 0, keepdims=False) for c in chunk]


# ---- several fields with one codec ----


def encoded_spec(codec: Codec, fields: Sequence) -> Spec:
    """What ``encode`` makes of such fields (arrays, or their shapes and dtypes)."""
    return tuple(s for f in fields for s in codec.spec(f.shape, f.dtype))


def encode(codec: Codec, fields: Sequence[jax.Array]) -> Leaves:
    """The stored arrays of all fields, one field after the other."""
    return [leaf for f in fields for leaf in codec.encode(f)]


def decode(codec: Codec, leaves: Leaves, fields: Sequence) -> Leaves:
    """The fields, of the shapes and dtypes of ``fields``."""
    out, leaves = [], list(leaves)
    for f in fields:
        n = len(codec.spec(f.shape, f.dtype))
        out.append(codec.decode(leaves[:n], f.shape, f.dtype))
        leaves = leaves[n:]
    return out


def even_chunks(n_entries: int, most: int) -> int:
    """Entries of a chunk: about ``most``, an even divisor where one is near, so that one loop serves all chunks."""
    most = max(1, min(most, n_entries))
    good = [k for k in range(most // 2 + 1, most + 1) if n_entries % k == 0]
    size = max([k for k in good if k % 2 == 0] or good or [most])
    return math.ceil(n_entries / math.ceil(n_entries / size))  # as even as they can be


TRANSFER_BYTES = 2**25
"""32 MiB a transfer: far above what one costs besides, far below a field in 3-D times the number of steps."""


def transfer_size(steps: int | None, n_entries: int, spec: Spec, least: int = 1) -> int:
    """Entries of a chunk that is transferred: about ``steps``; if None, about ``TRANSFER_BYTES``, but no more than a
    32nd of the run, so that what stays on the device is small against the history, and no fewer than ``least``.
    """
    if steps is not None:
        return math.ceil(n_entries / math.ceil(n_entries / min(steps, n_entries)))
    return even_chunks(n_entries, max(least, min(TRANSFER_BYTES // entry_bytes(spec), n_entries // 32)))


class Footprint(NamedTuple):
    """Bytes that a history takes.

    Attributes:
        history: The history, wherever it is, with what is held to read it.
        device: The part of it that is on the device.
        host: Host RAM of the storage.
        transfer: Host RAM that chunks take on their way between device and host.
        disk: The file.
    """

    history: int
    device: int
    host: int = 0
    transfer: int = 0
    disk: int = 0


class Storage(abc.ABC):
    """A policy. Frozen and hashable.

    Attributes:
        codec: Compression of the entries.
        stores: Whether gradients for models can be had.
        streams: Whether histories live behind host callbacks. The history is then a *token*, a float that numbers it.
        kind: How terms are had later: "stored"; "recomputed" from saved states; or "reversed", by steps back from the
            last state (:mod:`jaxwave._timeloop.histories` has a class for each).
        divisible: Whether shots may be run in groups, each with a history of its own.
        pipelined: Whether chunks are on their way to and from the history while the loops compute others; the policy
            then has ``write`` and ``read`` in place of ``put`` and ``get`` (see :mod:`jaxwave.storage.pinned`).
    """

    codec: Codec
    stores: bool = True
    streams: bool = False
    kind: ClassVar[Literal["stored", "recomputed", "reversed"]] = "stored"
    divisible: bool = True
    pipelined: ClassVar[bool] = False

    @property
    def replays(self) -> bool:
        """Whether terms are made again rather than kept."""
        return self.kind != "stored"

    def kept_of(self, equation: Any, x: Any) -> Any:
        """What of a state like ``x`` a policy is told: its arrays' shapes and dtypes, or those that it keeps."""
        return specs(jax.tree.leaves(x))

    def resolve(self, period: float, interval: int, equation: object) -> Storage:
        """The policy for a run of an equation whose stored steps are ``interval`` steps, ``period`` seconds, apart.

        Raises:
            ValueError: If it does not suit such a run.
        """
        return self

    def settled(self, stored: int) -> Storage:
        """The policy itself. A request for one (:class:`jaxwave._autotune.planning.Pending`,
        :class:`jaxwave.storage.host_memory.HostMemory`) chooses it now, told what the terms of all stored steps take.
        """
        return self

    def chunk_size(self, n_entries: int, spec: Spec, state: Spec) -> int:
        """Entries in a chunk, of a run with entries like ``spec`` and states like ``state``."""
        return n_entries

    @abc.abstractmethod
    def history_spec(self, n_entries: int, spec: Spec, state: Spec) -> Spec:
        """The arrays that make a history."""

    @abc.abstractmethod
    def open(self, n_entries: int, spec: Spec, state: Spec, owner: jax.Array, parents: Sequence[jax.Array]) -> Leaves:
        """Begins a history.

        Args:
            n_entries, spec, state: As for ``chunk_size``.
            owner: Number of the eager call that runs this, 0 if unknown.
            parents: Tokens of the streamed histories that are read while this one is written.
        """

    @abc.abstractmethod
    def footprint(self, n_entries: int, spec: Spec, state: Spec) -> Footprint:
        """Bytes that such a history takes."""

    def buffer(self, spec: Spec, size: int) -> Leaves:
        """An empty chunk."""
        return empty_chunk(spec, size)

    def keep(self, buffer: Leaves, leaves: Leaves, j, size: int) -> Leaves:
        """Entry ``j`` into a chunk of ``size``."""
        return put_entry(buffer, leaves, j)

    def keep_together(self, buffer: Leaves, entries: Sequence[Leaves], j, size: int) -> Leaves:
        """Several entries, from number ``j`` on, into a chunk of ``size``: at once unless ``keep`` is one's own."""
        if len(entries) > 1 and type(self).keep is Storage.keep:
            together = [jnp.stack(leaves) for leaves in zip(*entries, strict=True)]
            return [lax.dynamic_update_slice_in_dim(c, new, j, 0) for c, new in zip(buffer, together, strict=True)]
        for k, leaves in enumerate(entries):
            buffer = self.keep(buffer, leaves, j + k, size)
        return buffer

    def entry(self, chunk: Leaves, j, size: int) -> Leaves:
        """Entry ``j`` of a chunk of ``size``."""
        return get_entry(chunk, j)

    def put(self, history: Leaves, i, chunk: Leaves) -> Leaves:
        """A full chunk into the history."""
        return chunk

    def get(self, history: Leaves, i, spec: Spec, direction: int) -> Leaves:
        """Chunk ``i``; ``spec`` is that of the chunk. ``direction`` is +1 or -1: the chunk wanted next."""
        return list(history)


class Request(Storage):
    """What stands for a policy that is chosen once a history is asked for, by ``settled``."""

    def history_spec(self, n_entries, spec, state):
        raise self._unsettled()

    def open(self, n_entries, spec, state, owner, parents):
        raise self._unsettled()

    def footprint(self, n_entries, spec, state):
        raise self._unsettled()

    def _unsettled(self) -> AssertionError:
        return AssertionError("a history is asked for before its policy was chosen")


@dataclasses.dataclass(frozen=True)
class NoStorage(Storage):
    """``storage_mode="none"``: nothing is kept. Gradients for sources and initial wavefields need nothing stored;
    the gradient for a model is refused.
    """

    codec: Codec = Raw()
    stores = False

    def history_spec(self, n_entries, spec, state):
        return ()

    def open(self, n_entries, spec, state, owner, parents):
        return []

    def footprint(self, n_entries, spec, state):
        return Footprint(0, 0)


@dataclasses.dataclass(frozen=True)
class DeviceStorage(Storage):
    """``storage_mode="device"``: the history stays in the device's memory.

    Memory: every term of every stored step. Work: none besides the gradient's own. Derivatives: all.

    Attributes:
        codec: Compression of what is stored (see :mod:`jaxwave.storage.codecs`).
    """

    codec: Codec = Raw()

    def history_spec(self, n_entries, spec, state):
        return chunk_spec(spec, n_entries)

    def open(self, n_entries, spec, state, owner, parents):
        return []

    def footprint(self, n_entries, spec, state):
        history = n_entries * entry_bytes(spec)
        return Footprint(history, history)
