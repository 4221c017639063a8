"""Histories in pinned host memory, which the device reads and writes by itself: no callback, and no stop of the stream.

The history is an ordinary array of the program that is in the memory space of the host (:class:`jax.memory.Space`). A
chunk of it is on its way while kernels compute another: the loops write the chunk before the one that they are making,
and read the one after the one that they use (:class:`Pipelined`). So a history has a tangent like any other, and a
program that stores one can be compiled without a device, kept, and divided by ``shard_map``.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxwave._jax_internals import in_host_memory
from jaxwave._setup.validate.values import wholes
from jaxwave.storage import pages
from jaxwave.storage.base import Footprint, Storage
from jaxwave.storage.codecs import Codec, Raw
from jaxwave.storage.entries import Leaves, Parts, Spec, chunk_spec, entry_bytes, map_present, transfer_size
from jaxwave.storage.stored import Stored

if TYPE_CHECKING:
    from jaxwave._timeloop.chunks import Plan
    from jaxwave._timeloop.histories import StoredHistory

CHUNKS_ON_DEVICE = 3
"""One that is made or used, one on its way, and the copy that the compiler makes of it to start the next."""

LEAST_STEPS = 2
"""In a chunk: after an odd number of steps the levels of a leapfrog have changed buffers, and are copied back."""

POOL_LIMIT = "XLA_PJRT_GPU_HOST_MEMORY_LIMIT_GB"


@dataclasses.dataclass(frozen=True)
class PinnedStorage(Storage):
    """``storage_mode="cpu"`` on a GPU: the history is in pinned host memory, and copies overlap with the propagation.

    Memory: every term of every stored step and two chunks, in pinned host memory; three chunks on the device. Work: a
    copy each way, which takes time as far as it takes longer than the steps meanwhile. Derivatives: all. On a CPU both
    memories are the same, and nothing is gained over ``DeviceStorage``.

    XLA takes pinned memory from a pool, whose size the environment variable ``XLA_PJRT_GPU_HOST_MEMORY_LIMIT_GB`` sets
    before JAX starts: 64 GB if it is not set.

    Attributes:
        codec: Compression, applied on the device before the transfer.
        steps_per_transfer: Stored steps that one copy moves; ``None`` chooses from the field's size.
        counted: Whether the loops count the places of chunks themselves, for copies by the device's copy engine in
            place of kernels. Some versions of XLA count wrong, so ``None`` tries it once a process. It is False where
            there is no GPU to try it on, also when compiling for one: set it if the version is known to be right.
    """

    codec: Codec = Raw()
    steps_per_transfer: int | None = None
    counted: bool | None = None

    pipelined = True

    def __post_init__(self) -> None:
        wholes(self, "a number of steps, at least 1", 1, "steps_per_transfer")

    def resolve(self, period, interval, equation):
        return self if self.counted is not None else dataclasses.replace(self, counted=counts_right())

    def histories(self, plan, n_steps, x, direction):
        return Pipelined(plan, n_steps, x, direction)

    def chunk_size(self, n_entries, spec, state):
        return transfer_size(self.steps_per_transfer, n_entries, spec, LEAST_STEPS)

    def _places(self, n_entries: int, spec: Spec, state: Spec) -> Spec:
        """The history, with places for one chunk more at either end."""
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

    # Of chunks that have ``steps_per_transfer`` entries, as the tier of a policy that replays.

    def put(self, history, i, chunk):
        return self.write(history, (opaque(i) + 1) * self.steps_per_transfer, chunk)

    def get(self, history, i, spec, direction):
        return self.read(history, (opaque(i) + 1) * self.steps_per_transfer, spec[0].shape[0])

    def write(self, history: Leaves, start, chunk: Leaves) -> Leaves:
        """A chunk into the history, its first entry in place ``start``."""
        return [write(h, to_host(x), start) for h, x in zip(history, chunk, strict=True)]

    def read(self, history: Leaves, start, size: int) -> Leaves:
        """``size`` entries from place ``start`` on."""
        return [to_device(read(h, start, size)) for h in history]


def to_host(x: jax.Array) -> jax.Array:
    """The same array in the host's memory."""
    return jax.device_put(x, jax.memory.Space.Host)


def to_device(x: jax.Array) -> jax.Array:
    """The same array in the device's memory."""
    return jax.device_put(x, jax.memory.Space.Device)


def opaque(i) -> jax.Array:
    """A number of which XLA does not know how it comes about."""
    return lax.optimization_barrier(jnp.int32(i))


# A start is never negative, and JAX is told so: XLA does not see through the case that it would make of it.


def write(history: jax.Array, chunk: jax.Array, start) -> jax.Array:
    """Entries of an array replaced from ``start`` on, within one memory."""
    at = (jnp.int32(start), *[jnp.int32(0)] * (chunk.ndim - 1))
    return lax.dynamic_update_slice(history, chunk, at, allow_negative_indices=False)


def read(history: jax.Array, start, size: int) -> jax.Array:
    """``size`` entries of an array from ``start`` on, within one memory."""
    at = (jnp.int32(start), *[jnp.int32(0)] * (history.ndim - 1))
    return lax.dynamic_slice(history, at, (size, *history.shape[1:]), allow_negative_indices=False)


# ---- for the loops ----


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
    first or last turn and never used. Where XLA does not count right (:func:`counts_right`), the
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


# ---- what there is on this machine ----


def pool_bytes() -> int:
    """Bytes of pinned memory that XLA's pool takes at most."""
    return int(os.environ.get(POOL_LIMIT, 64)) * 2**30


def pool_at_hand() -> bool:
    """Whether programs run on a device that has memory of its own, and pinned memory of the host beside it."""
    if jax.default_backend() == "cpu":
        return False
    return "pinned_host" in {memory.kind for memory in jax.local_devices()[0].addressable_memories()}


@functools.cache
def counts_right() -> bool:
    """Whether XLA puts chunks where a loop that counts their places itself wants them, on the GPU that there is.

    Versions before the correction of openxla/xla#46231 take the number of the turn for the place, in silence.
    """
    if jax.local_devices()[0].platform == "cpu":
        return False
    with ThreadPoolExecutor(1) as pool:  # what is traced in this thread does not see it
        back, forth = pool.submit(lambda: [x.tolist() for x in jax.jit(counted_loops)()]).result()
    return back == forth[::-1] == [*range(TURNS)][::-1]


TURNS, STEPS, CELLS = 8, 4, 4096  # of the loops that are tried


def counted_loops() -> tuple[jax.Array, jax.Array]:
    """Chunks whose numbers are their content are written, and read backward and forward, as by the time loops."""

    def chunk(number):
        return jnp.full((STEPS, CELLS), number, jnp.float32)

    def put(carry, _):
        turn, history, last = carry
        return (turn + 1, write(history, to_host(last), turn * STEPS), chunk(turn)), None

    def numbers(history, direction):
        def get(carry, _):
            turn, ahead = carry
            number = turn if direction > 0 else TURNS - 1 - turn
            following = to_device(read(history, (number + direction + 1) * STEPS, STEPS))
            return (turn + 1, following), ahead.mean()

        first = to_device(read(history, (1 if direction > 0 else TURNS) * STEPS, STEPS))
        return lax.scan(get, (jnp.int32(0), first), length=TURNS)[1]

    history = to_host(lax.empty(((TURNS + 2) * STEPS, CELLS), jnp.float32))
    (_, history, last), _ = lax.scan(put, (jnp.int32(0), history, chunk(0)), length=TURNS)
    history = write(history, to_host(last), TURNS * STEPS)
    return numbers(history, -1), numbers(history, +1)
