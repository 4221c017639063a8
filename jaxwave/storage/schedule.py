"""Which states to keep, and from which of them to start again, when chunks are reversed one by one.

Given the state at the start of a run of ``n`` chunks and ``slots`` places for states (that one included), the chunks
are wanted from the last to the first. The optimal schedule is binomial (A. Griewank and A. Walther, *Algorithm 799:
revolve*, ACM Trans. Math. Softw. 26, 2000): it needs

    t(n, s) = r n - C(s + r, s + 1)        with r such that C(s + r - 1, s) < n <= C(s + r, s)

steps of one chunk forward, the first sweep (n - 1 of them) included.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


def optimal_advances(n: int, slots: int) -> int:
    """t(n, s): the fewest steps of a chunk forward that reverse ``n`` chunks with ``slots`` states."""
    r = 0
    while math.comb(slots + r, slots) < n:
        r += 1
    return r * n - math.comb(slots + r, slots + 1)


class Visit(NamedTuple):
    """How the start of a chunk is reached.

    Attributes:
        chunk: The chunk that is reversed.
        slot: Where the state is from which to go.
        start: The chunk at whose start that state is.
        kept: Pairs (chunk, slot): what to keep on the way.
    """

    chunk: int
    slot: int
    start: int
    kept: tuple[tuple[int, int], ...]


def visits(n: int, slots: int) -> Iterator[Visit]:
    """The chunks from the last to the first; the first visit is the sweep over the whole run."""
    return _reverse(0, n, 0, tuple(range(1, slots)), (0, 0), ())


def _reverse(low, high, slot, free, origin, kept) -> Iterator[Visit]:
    """Chunks [low, high), when the state at ``low`` is (or comes) in ``slot`` and the slots ``free`` may be used.

    ``origin`` is where the way to the last of them begins, and ``kept`` what is kept on it before ``low``.
    """
    if not free or high - low == 1:
        yield Visit(high - 1, *origin, kept)
        for chunk in range(high - 2, low - 1, -1):
            yield Visit(chunk, slot, low, ())
        return
    middle = low + _split(high - low, len(free) + 1)
    yield from _reverse(middle, high, free[0], free[1:], origin, (*kept, (middle, free[0])))
    yield from _reverse(low, middle, slot, free, (slot, low), ())


@functools.cache
def _split(n: int, slots: int) -> int:
    """Chunks before the next kept state."""
    costs = [k + optimal_advances(k, slots) + optimal_advances(n - k, slots - 1) for k in range(1, n)]
    return 1 + costs.index(min(costs))


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The visits as tables, for a compiled loop.

    Where there is a slot for every chunk, the state at the start of chunk i is kept in place i and nothing changes.
    Otherwise one more place, the last, takes the state of the way; after the first sweep that is the start of the last
    chunk.

    Attributes:
        n: Chunks.
        slots: Places for states that are kept.
    """

    n: int
    slots: int

    @property
    def keeps_all(self) -> bool:
        return self.slots >= self.n

    @property
    def places(self) -> int:
        """States in memory."""
        return self.n if self.keeps_all else self.slots + 1

    @property
    def advances(self) -> int:
        """Steps of a chunk forward besides the first sweep and one replay of each chunk."""
        return 0 if self.keeps_all else optimal_advances(self.n, self.slots) - (self.n - 1)

    @functools.cached_property
    def _visits(self) -> list[Visit]:
        return list(visits(self.n, self.slots))

    @functools.cached_property
    def sweep(self) -> np.ndarray:
        """Place for the state at the start of each chunk in the first sweep [n]."""
        if self.keeps_all:
            return np.arange(self.n, dtype=np.int32)
        return self.keep[self.n - 1, : self.n]

    @functools.cached_property
    def slot(self) -> np.ndarray:
        """Place from which the way to each chunk begins [n]."""
        table = np.full(self.n, self.slots, np.int32)
        for visit in self._visits[1:]:
            table[visit.chunk] = visit.slot
        return table

    @functools.cached_property
    def start(self) -> np.ndarray:
        """Chunk at whose start the state in that place is [n]."""
        table = np.full(self.n, self.n - 1, np.int32)
        for visit in self._visits[1:]:
            table[visit.chunk] = visit.start
        return table

    @functools.cached_property
    def keep(self) -> np.ndarray:
        """Place for the state at the start of chunk k on the way to chunk i [i, k]."""
        table = np.full((self.n, self.n), self.slots, np.int32)
        table[self.n - 1, 0] = 0
        for visit in self._visits:
            for chunk, slot in visit.kept:
                table[visit.chunk, chunk] = slot
        return table


@functools.lru_cache(maxsize=64)
def schedule(n: int, slots: int) -> Schedule:
    """A schedule, with its tables made once."""
    return Schedule(n, min(slots, n))
