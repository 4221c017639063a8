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
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxwave.storage.codecs import Codec, Raw
from jaxwave.storage.entries import Leaves, Spec, chunk_spec, empty_chunk, entry_bytes, get_entry, put_entry, specs
from jaxwave.storage.stored import Stored

if TYPE_CHECKING:
    from jaxwave._timeloop.chunks import Plan


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
        replays: Whether terms are made again rather than kept.
        keeps_rings: Whether what is kept of a step is what its layers add (:meth:`jaxwave.Equation.ring`), not terms.
        divisible: Whether shots may be run in groups, each with a history of its own.
        pipelined: Whether chunks are on their way to and from the history while the loops compute others; the policy
            then has ``write`` and ``read`` in place of ``put`` and ``get`` (see :mod:`jaxwave.storage.pinned`).
    """

    codec: Codec
    stores: bool = True
    streams: bool = False
    replays: ClassVar[bool] = False
    keeps_rings: ClassVar[bool] = False
    divisible: bool = True
    pipelined: ClassVar[bool] = False

    @property
    def pinned(self) -> bool:
        """Whether anything of a history is in pinned host memory."""
        return self.pipelined

    def histories(self, plan: Plan, n_steps: int, x: Any, direction: int) -> Stored:
        """What saves and reads the histories of such runs, chunk by chunk; the arguments are those of ``Stored``."""
        return Stored(plan, n_steps, x, direction)

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
