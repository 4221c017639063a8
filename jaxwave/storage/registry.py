"""Which histories are alive, from the callbacks' point of view: a table of numbered histories and the rules of their
life.

A compiled program gives no sign of its end, and it may read a history several times (Gauss-Newton and Hessian products,
Jacobians). So a history that has been read to the end stays readable, *idle*, and makes way when the next one is
opened:

    writing --all chunks written--> complete --read to the end, no reader left--> idle --next open--> released

What a living history was derived from stays as long as it does. Python handles on a history pin it. The lock guards the
table alone; copies and file I/O run outside it, so that runs in several threads overlap.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np

from jaxwave.storage.errors import StorageError
from jaxwave.storage.ram import POOL

MAX_ID = 2**24 - 1  # a number travels through the compiled program as a float32
REMEMBERED = 64  # owners whose first error is kept
ABANDONED_AFTER = 3600.0  # seconds after which a reader that does not move is taken for dead: its run has failed


class History(Protocol):
    """What keeps the chunks of one history."""

    disk_bytes: int

    def write(self, i: int, leaves: Sequence[np.ndarray]) -> None: ...
    def read(self, i: int, step: int) -> list[np.ndarray]: ...
    def close(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class Stats:
    """What the registry holds. A history that is being read counts as such, whatever it is besides.

    Attributes:
        writing, complete, reading, idle: Histories in each state.
        pinned: Histories that a Python handle holds, in whatever state.
        ram_bytes: Memory in use, staging buffers of the disk tier included.
        pool_bytes: Memory that waits for reuse.
        disk_bytes: Size of the files.
    """

    writing: int
    complete: int
    reading: int
    idle: int
    pinned: int
    ram_bytes: int
    pool_bytes: int
    disk_bytes: int


@dataclasses.dataclass(eq=False)
class _Entry:
    """One history and where it stands in its life."""

    keeper: History
    n_chunks: int
    parents: frozenset[int]
    owner: int
    written: int = 0
    readers: int = 0
    was_read: bool = False
    pins: int = 0
    dropped: bool = False  # the last handle is gone
    last_use: float = 0.0

    @property
    def state(self) -> str:
        if self.written < self.n_chunks:
            return "writing"
        if self.readers:
            return "reading"
        return "idle" if self.was_read else "complete"

    @property
    def disposable(self) -> bool:
        """Whether nothing wants it any more, except perhaps a living descendant."""
        if self.pins or self.written < self.n_chunks:
            return False
        if self.readers:
            return time.monotonic() - self.last_use > ABANDONED_AFTER
        return self.was_read or self.dropped


class Registry:
    """The table of histories. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[int, _Entry] = {}
        self._last_id = 0
        self._released: dict[int, int] = {}
        self._errors: dict[int, BaseException] = {}
        self._unpinned: deque[int] = deque()
        self._settling = threading.Lock()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._reaper: threading.Thread | None = None

    def open(
        self,
        make: Callable[[], History],
        *,
        n_chunks: int,
        parents: Sequence[int] = (),
        owner: int = 0,
        retain: int = 0,
    ) -> int:
        """Number a new history, and release those that are idle.

        Args:
            make: Makes the keeper; called when the idle histories are gone.
            n_chunks: Chunks that will be written, in order.
            parents: Histories that are read while this one is written.
            owner: The Python call that runs, 0 if unknown.
            retain: Idle histories that stay, the most recently used ones.

        Raises:
            StorageError: If the keeper cannot be made or a parent is gone.
        """
        self._settle()
        try:
            with self._lock:
                for parent in parents:
                    self._find(parent)
                idle = [n for n, entry in self._entries.items() if entry.disposable and not entry.dropped]
                idle.sort(key=lambda n: self._entries[n].last_use)
                released = self._discard(self._dropped() | set(idle[: max(len(idle) - retain, 0)]), keep=parents)
            _close(released)
            keeper = make()
        except BaseException as error:
            self._record(owner, error)
            raise
        with self._lock:
            number = self._last_id % MAX_ID + 1
            while number in self._entries:
                number = number % MAX_ID + 1
            self._last_id = number
            self._entries[number] = _Entry(keeper, n_chunks, frozenset(parents), owner, last_use=time.monotonic())
        return number

    def write(self, number: int, i: int, leaves: Sequence[np.ndarray]) -> None:
        """Keep chunk ``i``, copied before the call returns.

        Raises:
            StorageError: If it is not the next chunk or cannot be kept; the history is then gone.
        """
        entry = self._lookup(number)
        try:
            if i != entry.written or i >= entry.n_chunks:
                raise StorageError(
                    f"chunk {i} of a stored wavefield was written after {entry.written} of its {entry.n_chunks} chunks"
                )
            entry.keeper.write(i, leaves)
        except BaseException as error:
            self._fail(number, entry, error)
            raise
        with self._lock:
            entry.written += 1
            entry.last_use = time.monotonic()

    def read(self, number: int, i: int, step: int) -> list[np.ndarray]:
        """The leaves of chunk ``i``; ``step`` (1 or -1) tells which chunk is wanted next.

        Raises:
            StorageError: If the history was released; or if it is incomplete or cannot be read, and is then gone.
        """
        entry = self._lookup(number)
        first, last = (0, entry.n_chunks - 1)[::step]
        try:
            if not 0 <= i < entry.n_chunks:
                raise StorageError(f"chunk {i} of a stored wavefield of {entry.n_chunks} chunks was read")
            with self._lock:
                if entry.written < entry.n_chunks:
                    raise StorageError(
                        f"a stored wavefield was read when {entry.written} of its {entry.n_chunks} chunks were written"
                    )
                entry.last_use = time.monotonic()
                entry.readers += i == first
            leaves = entry.keeper.read(i, step)
            if i == last:
                self._end_reader(entry)
        except BaseException as error:
            self._fail(number, entry, error)
            raise
        return leaves

    def _end_reader(self, entry: _Entry) -> None:
        with self._lock:
            entry.readers = max(entry.readers - 1, 0)
            entry.was_read = True
            released = self._discard(self._dropped())
        _close(released)

    def pin(self, owner: int) -> list[int]:
        """Hold the histories that this owner opened, for a Python handle; returns their numbers, for :meth:`unpin`."""
        with self._lock:
            if self._reaper is None or not self._reaper.is_alive():
                self._reaper = threading.Thread(target=self._reap, name="jaxwave-unpin", daemon=True)
                self._reaper.start()
            held = self._of(owner)
            for number in held:
                self._entries[number].pins += 1
        return held

    def unpin(self, number: int) -> None:
        """Let go of a pinned history, which is released at once or when its reader ends.

        It may be called by the garbage collector, between any two instructions of a thread that holds any lock. So it
        takes none; another thread, or whoever opens a history next, does the work.
        """
        self._unpinned.append(number)
        self._wake.put(None)

    def _reap(self) -> None:
        while True:
            self._wake.get()
            self._settle()

    def _settle(self) -> None:
        """Carry out the unpins. Its lock makes who opens a history wait for what is being released."""
        with self._settling:
            while self._unpinned:
                number = self._unpinned.popleft()
                with self._lock:
                    entry = self._entries.get(number)
                    if entry is not None:
                        entry.pins = max(entry.pins - 1, 0)
                        entry.dropped = not entry.pins
                    released = self._discard(self._dropped())
                _close(released)

    def abort(self, owner: int, reads: Sequence[int] = ()) -> None:
        """Release every history of this owner, whose run has failed; it does not go on reading those in ``reads``."""
        with self._lock:
            released = [self._remove(number) for number in self._of(owner)]
            for number in reads:
                if number in self._entries:
                    entry = self._entries[number]
                    entry.readers = max(entry.readers - 1, 0)
            released += self._discard(self._dropped())
        _close(released)

    def first_error(self, owner: int) -> BaseException | None:
        """The exception that made this owner's run fail, as far as storage knows.

        Callbacks cannot hand an exception through a compiled program, which turns it into text. The local variables of
        the frames that it went through are cleared: they hold chunks.
        """
        with self._lock:
            error = self._errors.get(owner)
        if error is not None:
            traceback.clear_frames(error.__traceback__)
        return error

    def require(self, number: int) -> None:
        """Check that a history is there to be read.

        Raises:
            StorageError: If it is not; the exception that made it fail, if one did.
        """
        with self._lock:
            error = self._errors.get(self._released.get(number, 0))
            if error is not None and number not in self._entries:
                raise error
            self._find(number)

    def owner_of(self, number: int) -> int:
        """The owner of a history that is alive or was released not long ago, else 0."""
        with self._lock:
            entry = self._entries.get(number)
            return entry.owner if entry else self._released.get(number, 0)

    def clear(self) -> None:
        """Release all histories and the memory that waits for reuse."""
        self._settle()
        with self._lock:
            released = [self._remove(number) for number in list(self._entries)]
        _close(released)
        POOL.clear()

    def stats(self) -> Stats:
        """What is held now."""
        self._settle()
        with self._lock:
            entries = list(self._entries.values())
            states = [entry.state for entry in entries]
        return Stats(
            **{state: states.count(state) for state in ("writing", "complete", "reading", "idle")},
            pinned=sum(entry.pins > 0 for entry in entries),
            ram_bytes=POOL.in_use,
            pool_bytes=POOL.free,
            disk_bytes=sum(entry.keeper.disk_bytes for entry in entries),
        )

    def _find(self, number: int) -> _Entry:
        entry = self._entries.get(number)
        if entry is None:
            raise StorageError(
                f"stored wavefield {number} was released, because a newer one was opened after it had been used; "
                "`retain=n` on the storage object keeps n more, e.g. `jaxwave.storage.HostStorage(retain=1)`"
            )
        return entry

    def _lookup(self, number: int) -> _Entry:
        try:
            with self._lock:
                return self._find(number)
        except StorageError as error:
            self._record(self._released.get(number, 0), error)
            raise

    def _of(self, owner: int) -> list[int]:
        """Histories of an owner; none is known to be of the unknown owner."""
        return [n for n, entry in self._entries.items() if owner and entry.owner == owner]

    def _dropped(self) -> set[int]:
        return {n for n, entry in self._entries.items() if entry.dropped and entry.disposable}

    def _discard(self, candidates: set[int], keep: Iterable[int] = ()) -> list[History]:
        """Remove the candidates from which nothing that stays was derived."""
        kept: set[int] = set()
        stay = [*(self._entries.keys() - candidates), *keep]
        while stay:
            number = stay.pop()
            if number in self._entries and number not in kept:
                kept.add(number)
                stay.extend(self._entries[number].parents)
        return [self._remove(number) for number in candidates - kept]

    def _remove(self, number: int) -> History:
        entry = self._entries.pop(number)
        _remember(self._released, number, entry.owner)
        return entry.keeper

    def _fail(self, number: int, entry: _Entry, error: BaseException) -> None:
        with self._lock:
            if self._entries.get(number) is entry:
                self._remove(number)
        entry.keeper.close()
        self._record(entry.owner, error)

    def _record(self, owner: int, error: BaseException) -> None:
        with self._lock:
            if owner and owner not in self._errors:
                _remember(self._errors, owner, error)


def _remember(table: dict, key: int, value: object) -> None:
    """Add to a table that forgets the oldest."""
    table[key] = value
    if len(table) > REMEMBERED:
        del table[next(iter(table))]


def _close(keepers: Iterable[History]) -> None:
    for keeper in keepers:
        keeper.close()


REGISTRY = Registry()
