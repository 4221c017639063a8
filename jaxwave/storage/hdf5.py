"""Histories in HDF5 files, written behind and read ahead by a thread of their own.

h5py lays the file out, one contiguous dataset for each leaf with the entries along the first axis, and is closed before
the first chunk comes. The chunks then go by plain writes to the places that the datasets have in the file. Any HDF5
program can read it all the same, but nothing waits for the lock under which h5py does all the work of a process, a full
disk is an ordinary error, and closing cannot fail.
"""

from __future__ import annotations

import os
import queue
import shutil
import threading
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import h5py
import numpy as np

from jaxwave.storage.errors import StorageError, StoragePathError
from jaxwave.storage.janitor import DATA_NAME, JANITOR, fresh_name
from jaxwave.storage.ram import POOL, Block, ChunkLayout, Spec

QUEUE_LENGTH = 3  # chunks on their way to the file; more would only hold more memory
PAGE_WORDS = 512
REMEDY = "use another `storage_path`, compress what is stored, or propagate fewer shots at a time"


def check_path(path: str) -> None:
    """Refuse a directory in which nothing can be made, by trying.

    Raises:
        StoragePathError: If ``path`` does not exist, is no directory or is not writable.
    """
    directory = fresh_name(path)
    try:
        os.mkdir(directory, 0o700)
        os.rmdir(directory)
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: str, error: OSError) -> StoragePathError:
    return StoragePathError(
        f"cannot store wavefields under storage_path={path!r}: {error.strerror}; "
        "`storage_path` must be an existing directory in which you may write"
    )


def checksum(part: np.ndarray) -> tuple[int, int]:
    """A number for a row of bytes that changes with any byte, and one that also changes with the order of its pages.

    Sums of 64-bit words, page by page, are some six times as fast as a CRC of all bytes.
    """
    whole = part.size // (8 * PAGE_WORDS) * (8 * PAGE_WORDS)
    sums = np.add.reduce(part[:whole].view(np.uint64).reshape(-1, PAGE_WORDS), axis=1)
    return int(np.add.reduce(sums)), zlib.crc32(part[whole:], zlib.crc32(sums))


class _Worker:
    """A thread that does jobs in order. It is a daemon: an executor's threads would be waited for at exit."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future, Callable] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="jaxwave-disk", daemon=True)
        self._thread.start()

    def submit(self, job: Callable) -> Future:
        future: Future = Future()
        self._jobs.put((future, job))
        return future

    def stop(self) -> None:
        """End the thread when the jobs are done."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            future, job = item
            try:
                future.set_result(job())
            except BaseException as error:
                future.set_exception(error)
            del item, future, job  # they hold a block, which another history may want while this thread waits


class Hdf5History:
    """A history in an HDF5 file, in a temporary directory of its own under ``storage_path``.

    Args:
        storage_path: An existing directory.
        n_chunks: Chunks that will be written.
        specs: Shape (without the axis of entries) and dtype of each leaf.
        total_entries: Entries in all chunks together.

    Raises:
        StorageError: If the directory or the file cannot be made, or the disk has not enough space.
    """

    def __init__(self, storage_path: str, n_chunks: int, specs: Sequence[Spec], total_entries: int) -> None:
        self._layout = ChunkLayout(n_chunks, specs, total_entries)
        self.disk_bytes = self._layout.total_bytes
        try:
            free = shutil.disk_usage(storage_path).free
            self._directory = JANITOR.claim(storage_path)
        except OSError as error:
            raise _unusable(storage_path, error) from error
        if self.disk_bytes > free:
            JANITOR.remove(self._directory)
            raise StorageError(
                f"the wavefields need {self.disk_bytes} bytes, but {free} are free under "
                f"storage_path={storage_path!r}; {REMEDY}"
            )
        self._closing = False
        self._lock = threading.Lock()  # for what is submitted and whether it may be
        self._checksums: dict[int, list[tuple[int, int]]] = {}
        self._writing: deque[Future] = deque()
        self._ahead: dict[tuple[int, int], Future] = {}
        self._path = os.path.join(self._directory, DATA_NAME)
        try:
            self._offsets = _create(self._path, self._layout)
            self._file = open(self._path, "r+b", buffering=0)
        except (OSError, RuntimeError) as error:  # h5py raises the latter when closing fails
            JANITOR.remove(self._directory)
            raise self._failure("creating", error) from error
        self._worker = _Worker()

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
            self._writing.append(self._submit(lambda: self._save(i, block)))

    def read(self, i: int, step: int) -> list[np.ndarray]:
        """The leaves of chunk ``i``, and a head start for chunk ``i + step``."""
        for future in self._writing:
            future.result()
        with self._lock:
            future = self._ahead.pop((step, i), None) or self._submit(lambda: self._load(i))
            following = (step, i + step)
            if 0 <= i + step < self._layout.n_chunks and following not in self._ahead:
                self._ahead[following] = self._submit(lambda: self._load(i + step))
                if len(self._ahead) > QUEUE_LENGTH:  # left by readers that never came back
                    del self._ahead[next(iter(self._ahead))]
        return self._layout.unpack(i, future.result())

    def park(self) -> None:
        """Take the file out of the file system; it stays readable here. (Windows does not allow that.)"""
        if os.name == "posix":
            JANITOR.remove(self._directory)

    def close(self) -> None:
        """End the thread and remove the file."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self._ahead.clear()
        self._worker.stop()
        self._file.close()
        JANITOR.remove(self._directory)
        self.disk_bytes = 0

    def _submit(self, job: Callable) -> Future:
        self._check_open()
        return self._worker.submit(job)

    def _check_open(self) -> None:
        if self._closing:
            raise StorageError(f"the stored wavefields {self._path} were released while they were in use")

    def _save(self, i: int, block: Block) -> None:
        parts = self._layout.parts(i, block)
        self._checksums[i] = [checksum(part) for part in parts]
        self._transfer("writing", i, parts)

    def _load(self, i: int) -> Block:
        block = POOL.take(self._layout.block_bytes)
        parts = self._layout.parts(i, block)
        self._transfer("reading", i, parts)
        if [checksum(part) for part in parts] != self._checksums[i]:
            raise self._altered()
        return block

    def _transfer(self, doing: str, i: int, parts: list[np.ndarray]) -> None:
        """Move the leaves of chunk ``i`` to or from their places in the file."""
        self._check_open()  # what was submitted before the history was closed need not be done any more
        move = self._file.write if doing == "writing" else self._file.readinto
        try:
            for part, offset, nbytes in zip(parts, self._offsets, self._layout.entry_bytes, strict=True):
                self._file.seek(offset + i * self._layout.size * nbytes)
                left = memoryview(part)
                while len(left):  # the system moves 2 GiB at most, and less when the disk is nearly full
                    moved = move(left)
                    if not moved:
                        raise self._altered()
                    left = left[moved:]
        except StorageError:
            raise
        except OSError as error:
            raise self._failure(doing, error) from error

    def _altered(self) -> StorageError:
        return StorageError(
            f"the file of stored wavefields {self._path} was truncated or altered while in use; "
            "let nothing else write to it, and propagate again"
        )

    def _failure(self, doing: str, error: OSError | RuntimeError) -> StorageError:
        return StorageError(
            f"{doing} the file of stored wavefields {self._path} of {self.disk_bytes} bytes failed: "
            f"{getattr(error, 'strerror', None) or error}; {REMEDY}"
        )


def _create(path: str, layout: ChunkLayout) -> list[int]:
    """Lay out the file; returns where the data of each leaf start.

    HDF5's own file locks are off: the file is ours alone, and several network file systems refuse them.
    """
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    offsets = []
    with h5py.File(path, "w", locking=False) as file:
        for number, (shape, dtype) in enumerate(layout.specs):
            native = dtype if dtype.isbuiltin == 1 else np.dtype(f"u{dtype.itemsize}")  # HDF5 has no bfloat16
            space = h5py.h5s.create_simple((layout.total_entries, *shape))
            kind = h5py.h5t.py_create(native, logical=True)
            dataset = h5py.Dataset(h5py.h5d.create(file.id, f"leaf{number}".encode(), kind, space, creation))
            dataset.attrs["dtype"] = dtype.name
            offsets.append(dataset.id.get_offset())
    return offsets
