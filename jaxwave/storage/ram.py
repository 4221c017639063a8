"""Histories in host RAM, and the pool of memory that they share with the staging buffers of the disk tier.

The first touch of a fresh page costs some twenty times the copy into a warm one, so memory goes from history to
history through a pool. It must not go too early: XLA copies what a callback returns *after* the callback has returned,
and by then another thread may have released the history. So nobody gives a block back by hand. A block returns to the
pool when neither the history nor any array made on it is alive.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Sequence

import numpy as np

from jaxwave.storage.errors import StorageError

Spec = tuple[tuple[int, ...], np.dtype]

ALIGNMENT = 64  # what XLA asks of memory that it uses in place


class Block:
    """Aligned memory on loan from a pool."""

    __slots__ = ("_home", "_memory")

    def __init__(self, memory: np.ndarray, home: deque[np.ndarray]) -> None:
        self._memory = memory
        self._home = home

    @property
    def __array_interface__(self) -> dict:
        return self._memory.__array_interface__

    def array(self) -> np.ndarray:
        """The memory as bytes, in an array that keeps the block on loan; so does every view of it."""
        return np.asarray(self)

    def __del__(self) -> None:
        self._home.append(self._memory)  # no lock: the garbage collector may run this anywhere


class BufferPool:
    """Blocks that were used before, for those who ask for the same size again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: deque[np.ndarray] = deque()
        self._allocated = 0

    def take(self, nbytes: int) -> Block:
        """A block of ``nbytes`` with arbitrary content.

        When no free block has this size the free ones are dropped first, so that no more is held than what is in use
        plus what the present problem needs.

        Raises:
            StorageError: If the memory cannot be had.
        """
        with self._lock:
            memory = self._reuse(nbytes)
            if memory is None:
                self._allocated += nbytes
        if memory is None:
            try:
                memory = _aligned(nbytes)
            except MemoryError as error:
                with self._lock:
                    self._allocated -= nbytes
                raise StorageError(
                    f"no memory for a block of {nbytes} bytes of stored wavefield, with {self.in_use} bytes in use; "
                    'compress what is stored, use the storage mode "disk", or propagate fewer shots at a time'
                ) from error
        return Block(memory, self._free)

    def _reuse(self, nbytes: int) -> np.ndarray | None:
        """A free block of this size; if there is none, all free ones are dropped."""
        others = []
        try:
            while (memory := self._free.popleft()).nbytes != nbytes:
                others.append(memory)
        except IndexError:
            self._allocated -= sum(other.nbytes for other in others)
            return None
        self._free.extend(others)
        return memory

    def clear(self) -> None:
        """Give the free blocks back to the operating system."""
        with self._lock:
            self._reuse(-1)  # fits none, so drops all

    @property
    def free(self) -> int:
        """Bytes in blocks that wait for reuse."""
        return sum(memory.nbytes for memory in self._free.copy())

    @property
    def in_use(self) -> int:
        """Bytes in blocks on loan."""
        return self._allocated - self.free


POOL = BufferPool()


def _aligned(nbytes: int) -> np.ndarray:
    memory = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + nbytes]


def as_bytes(array: np.ndarray) -> np.ndarray:
    """The memory of an array as a row of bytes; a copy only where it is not contiguous."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


class ChunkLayout:
    """Where the leaves of a chunk stand in a block.

    All chunks but the last hold the same number of entries, which the first one written tells.

    Args:
        n_chunks: Chunks in the history.
        specs: Shape and dtype of one entry of each leaf.
        total_entries: Entries in the history.
    """

    def __init__(self, n_chunks: int, specs: Sequence[Spec], total_entries: int) -> None:
        self.n_chunks = n_chunks
        self.specs = [(tuple(shape), np.dtype(dtype)) for shape, dtype in specs]
        self.total_entries = total_entries
        self.entry_bytes = [math.prod(shape) * dtype.itemsize for shape, dtype in self.specs]
        self.size = 0

    @property
    def total_bytes(self) -> int:
        return self.total_entries * sum(self.entry_bytes)

    @property
    def block_bytes(self) -> int:
        """Bytes of the block for a chunk; the last chunk gets one of the same size, so that any block fits any."""
        return self._spans(self.size)[-1].stop

    def entries(self, i: int) -> int:
        """Entries in chunk ``i``."""
        return self.size if i < self.n_chunks - 1 else self.total_entries - i * self.size

    def _spans(self, entries: int) -> list[slice]:
        spans, start = [], 0
        for nbytes in self.entry_bytes:
            spans.append(slice(start, start + entries * nbytes))
            start += -(-entries * nbytes // ALIGNMENT) * ALIGNMENT
        return spans

    def parts(self, i: int, block: Block) -> list[np.ndarray]:
        """The bytes of each leaf of chunk ``i`` in ``block``."""
        memory = block.array()
        return [memory[span] for span in self._spans(self.entries(i))]

    def check(self, i: int, leaves: Sequence[np.ndarray]) -> None:
        """Refuse leaves that are not what the history was opened for."""
        if i == 0:
            self.size = len(leaves[0]) if leaves else 0
            if not (self.n_chunks - 1) * self.size < self.total_entries <= self.n_chunks * self.size:
                raise StorageError(
                    f"{self.total_entries} entries do not make {self.n_chunks} chunks of {self.size} entries"
                )
        want = [((self.entries(i), *shape), dtype) for shape, dtype in self.specs]
        got = [(leaf.shape, leaf.dtype) for leaf in leaves]
        if got != want:
            raise StorageError(f"chunk {i} of a stored wavefield has leaves {got}; the history was opened for {want}")

    def pack(self, i: int, leaves: Sequence[np.ndarray], block: Block) -> None:
        """Copy the leaves of chunk ``i`` into ``block``, as bytes: NumPy copies foreign dtypes one by one."""
        for part, leaf in zip(self.parts(i, block), leaves, strict=True):
            np.copyto(part, as_bytes(leaf))

    def unpack(self, i: int, block: Block) -> list[np.ndarray]:
        """The leaves of chunk ``i`` as read-only views of ``block``."""
        leaves = []
        for part, (shape, dtype) in zip(self.parts(i, block), self.specs, strict=True):
            leaf = part.view(dtype).reshape(self.entries(i), *shape)
            leaf.flags.writeable = False
            leaves.append(leaf)
        return leaves


class RamHistory:
    """A history in host RAM, one block for each chunk.

    Args:
        n_chunks: Chunks that will be written.
        specs: Shape (without the axis of entries) and dtype of each leaf.
        total_entries: Entries in all chunks together.
    """

    disk_bytes = 0

    def __init__(self, n_chunks: int, specs: Sequence[Spec], total_entries: int) -> None:
        self._layout = ChunkLayout(n_chunks, specs, total_entries)
        self._blocks: dict[int, Block] = {}

    def write(self, i: int, leaves: Sequence[np.ndarray]) -> None:
        """Copy chunk ``i``; the arrays are XLA's and valid during the call only."""
        self._layout.check(i, leaves)
        block = POOL.take(self._layout.block_bytes)
        self._layout.pack(i, leaves, block)
        self._blocks[i] = block

    def read(self, i: int, step: int) -> list[np.ndarray]:
        """The leaves of chunk ``i``, without a copy."""
        block = self._blocks.get(i)
        if block is None:
            raise StorageError(f"chunk {i} of a stored wavefield was released while it was being read")
        return self._layout.unpack(i, block)

    def close(self) -> None:
        """Let go of the memory."""
        self._blocks = {}
