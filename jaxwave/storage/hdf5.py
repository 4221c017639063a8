"""Histories in HDF5 files without a name, written behind and read ahead by a thread of their own.

A file without a name needs nobody to clean up: the system frees it when its last descriptor is closed, whatever ended
the process.

h5py makes the layout, one contiguous dataset for each leaf with the entries along the first axis. All is written by
plain writes, the chunks to the places that the datasets have in the file. Any HDF5 program could read it all the same,
but nothing waits for the lock under which h5py does all the work of a process, a full disk is an ordinary error, and
neither closing nor a forked child writes anything.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import tempfile
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import BinaryIO

import h5py
import numpy as np

from jaxwave.storage.errors import StorageError, StoragePathError
from jaxwave.storage.ram import POOL, Block, ChunkLayout, Spec

QUEUE_LENGTH = 3  # chunks on their way to the file; more would only hold more memory
PAGE = 4096  # bytes; the system copies whole pages faster
REMEDY = "use another `storage_path`, compress what is stored, or propagate fewer shots at a time"


def nameless_file(path: str) -> BinaryIO:
    """A file in the directory ``path`` that is gone when it is closed.

    On POSIX systems it has no name from the start, or loses it at once where the file system does not allow that.
    Windows deletes it with its last handle.

    Raises:
        StoragePathError: If ``path`` does not exist, is no directory or is not writable.
    """
    try:
        return tempfile.TemporaryFile(prefix="jaxwave-", suffix=".h5", dir=path, buffering=0)
    except OSError as error:
        raise StoragePathError(
            f"cannot store wavefields under storage_path={path!r}: {error.strerror}; "
            "`storage_path` must be an existing directory in which you may write"
        ) from error


def check_path(path: str) -> None:
    """Refuse a directory in which no file can be made, by trying.

    Raises:
        StoragePathError: As :func:`nameless_file`.
    """
    nameless_file(path).close()


def checksum(part: np.ndarray) -> tuple[int, int]:
    """A number for a row of bytes that changes with any byte, and one that also changes with the order of its pages.

    Sums of 64-bit words, page by page, are some six times as fast as a CRC of all bytes.
    """
    whole = part.size // PAGE * PAGE
    sums = np.add.reduce(part[:whole].view(np.uint64).reshape(-1, PAGE // 8), axis=1)
    return int(np.add.reduce(sums)), zlib.crc32(part[whole:], zlib.crc32(sums))


class Hdf5History:
    """A history in an HDF5 file of its own without a name.

    Args:
        storage_path: An existing directory, on the disk that takes the file.
        n_chunks: Chunks that will be written.
        specs: Shape (without the axis of entries) and dtype of each leaf.
        total_entries: Entries in all chunks together.

    Raises:
        StorageError: If the file cannot be made, or the disk has not enough space.
    """

    def __init__(self, storage_path: str, n_chunks: int, specs: Sequence[Spec], total_entries: int) -> None:
        self._layout = ChunkLayout(n_chunks, specs, total_entries)
        self._what = f"the stored wavefields of {self._layout.total_bytes} bytes under storage_path={storage_path!r}"
        self._file = nameless_file(storage_path)
        try:
            with self._telling("creating"):
                free = shutil.disk_usage(storage_path).free
                if self._layout.total_bytes > free:
                    raise StorageError(f"{self._what} are too large: {free} bytes are free there; {REMEDY}")
                self._offsets = _lay_out(self._file, self._layout)
        except BaseException:
            self._file.close()
            raise
        self.disk_bytes = self._layout.total_bytes
        self._closed = False
        self._lock = threading.Lock()  # for what is submitted and whether it may be
        self._jobs: queue.SimpleQueue[tuple[Future, Callable, tuple] | None] = queue.SimpleQueue()
        self._checksums: dict[int, list[tuple[int, int]]] = {}
        self._writing: deque[Future] = deque()
        self._ahead: dict[int, Future] = {}
        # An executor would refuse work when the main thread has ended, while other threads still run.
        self._thread: threading.Thread | None = threading.Thread(target=self._work, name="jaxwave-disk", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # Python 3.12 starts none then: whoever submits work does it
            self._thread = None

    def write(self, i: int, leaves: Sequence[np.ndarray]) -> None:
        """Copy chunk ``i`` and leave it to the thread; the arrays are XLA's and valid during the call only.

        An error in the thread is raised by a later call.
        """
        self._layout.check(i, leaves)
        while len(self._writing) >= QUEUE_LENGTH or (self._writing and self._writing[0].done()):
            self._writing.popleft().result()
        block = POOL.take(self._layout.block_bytes)
        self._layout.pack(i, leaves, block)
        with self._lock:
            self._writing.append(self._submit(self._save, i, block))

    def read(self, i: int, step: int) -> list[np.ndarray]:
        """The leaves of chunk ``i``, and a head start for chunk ``i + step``."""
        for future in self._writing:
            future.result()
        following = i + step
        with self._lock:
            future = self._ahead.pop(i, None) or self._submit(self._load, i)
            if 0 <= following < self._layout.n_chunks and following not in self._ahead:
                self._ahead[following] = self._submit(self._load, following)
                if len(self._ahead) > QUEUE_LENGTH:  # left by readers that never came back
                    del self._ahead[next(iter(self._ahead))]
        return self._layout.unpack(i, future.result())

    def close(self) -> None:
        """End the thread and with it the file. What waits to be written or read need not be done any more."""
        with self._lock:
            self._closed = True
            self._ahead.clear()
            self._jobs.put(None)
        if self._thread is not None:
            self._thread.join()
        self._file.close()
        self.disk_bytes = 0

    def _submit(self, job: Callable, *args) -> Future:
        self._check_open()
        future: Future = Future()
        if self._thread is None:
            self._do(future, job, args)
        else:
            self._jobs.put((future, job, args))
        return future

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError(f"{self._what} were released while they were in use")

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            self._do(*item)
            del item  # it holds a block, which another history may want while this thread waits

    def _do(self, future: Future, job: Callable, args: tuple) -> None:
        try:
            self._check_open()
            future.set_result(job(*args))
        except BaseException as error:
            future.set_exception(error)

    def _save(self, i: int, block: Block) -> None:
        parts = self._layout.parts(i, block)
        self._checksums[i] = [checksum(part) for part in parts]
        self._transfer("writing", self._file.write, i, parts)

    def _load(self, i: int) -> Block:
        block = POOL.take(self._layout.block_bytes)
        parts = self._layout.parts(i, block)
        self._transfer("reading", self._file.readinto, i, parts)
        if [checksum(part) for part in parts] != self._checksums[i]:
            raise self._altered()
        return block

    def _transfer(self, doing: str, move: Callable, i: int, parts: list[np.ndarray]) -> None:
        """Move the leaves of chunk ``i`` to or from their places in the file."""
        with self._telling(doing):
            for part, offset, nbytes in zip(parts, self._offsets, self._layout.entry_bytes, strict=True):
                self._file.seek(offset + i * self._layout.size * nbytes)
                while len(part):  # the system moves 2 GiB at most, and less when the disk is nearly full
                    moved = move(part)
                    if not moved:
                        raise self._altered()
                    part = part[moved:]

    def _altered(self) -> StorageError:
        return StorageError(
            f"{self._what} were truncated or altered while in use, or their file system lost what was written; "
            "propagate again, or use another `storage_path`"
        )

    @contextlib.contextmanager
    def _telling(self, doing: str) -> Iterator[None]:
        """Say of an error of the system what it was about."""
        try:
            yield
        except StorageError:
            raise
        except OSError as error:
            raise StorageError(f"{doing} {self._what} failed: {error.strerror}; {REMEDY}") from error


class _Sketch:
    """A file for h5py that remembers what is written: an error of a true one would be lost on its way through HDF5."""

    def __init__(self) -> None:
        self.writes: list[tuple[int, bytes]] = []
        self.size = self.place = 0

    def seek(self, place: int, whence: int = os.SEEK_SET) -> None:
        self.place = place + (self.size if whence == os.SEEK_END else 0)

    def tell(self) -> int:
        return self.place

    def read(self, size: int) -> bytes:
        raise NotImplementedError("a new file is not read")

    def write(self, data: bytes) -> None:
        self.writes.append((self.place, bytes(data)))

    def truncate(self, size: int) -> None:
        self.size = size

    def flush(self) -> None:
        pass


def _lay_out(file: BinaryIO, layout: ChunkLayout) -> list[int]:
    """Make the datasets; returns where the data of each begin."""
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # or there are no places yet
    early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    offsets, sketch = [], _Sketch()
    with h5py.File(sketch, "w", alignment_threshold=PAGE, alignment_interval=PAGE) as hdf5:
        for number, (shape, dtype) in enumerate(layout.specs):
            native = dtype if dtype.isbuiltin == 1 else np.dtype(f"u{dtype.itemsize}")  # HDF5 has no bfloat16
            dataset = hdf5.create_dataset(f"leaf{number}", (layout.total_entries, *shape), native, dcpl=early)
            dataset.attrs["dtype"] = dtype.name
            offsets.append(dataset.id.get_offset())
    for place, data in sketch.writes:
        file.seek(place)
        file.write(data)
    file.truncate(sketch.size)
    return offsets
