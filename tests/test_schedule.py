"""The schedule of kept states: replayed step by step, and counted against the formula and a brute-force optimum."""

import functools

import numpy as np
import pytest

from jaxwave.storage.schedule import Schedule, optimal_advances, visits


@functools.cache
def brute_force(n, slots):
    """The fewest advances that reverse n chunks, by trying every place for the next state."""
    if n == 1:
        return 0
    if slots == 1:
        return n * (n - 1) // 2
    return min(k + brute_force(k, slots) + brute_force(n - k, slots - 1) for k in range(1, n))


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 7])
def test_formula_is_the_optimum(slots):
    assert [optimal_advances(n, slots) for n in range(1, 60)] == [brute_force(n, slots) for n in range(1, 60)]


@pytest.mark.parametrize(("n", "slots"), [(1, 1), (2, 1), (7, 1), (7, 2), (10, 3), (35, 3), (36, 3), (64, 5), (9, 20)])
def test_visits_reverse_every_chunk_in_as_many_advances_as_the_formula_says(n, slots):
    held, advances, order = {0: 0}, 0, []
    for visit in visits(n, slots):
        assert held[visit.slot] == visit.start <= visit.chunk
        advances += visit.chunk - visit.start
        for chunk, slot in visit.kept:
            assert visit.start < chunk <= visit.chunk and 0 < slot < slots
            held[slot] = chunk
        order.append(visit.chunk)
    assert order == list(range(n))[::-1]
    assert advances == optimal_advances(n, slots)


@pytest.mark.parametrize(("n", "slots"), [(2, 1), (7, 1), (10, 3), (35, 3), (36, 3), (64, 5)])
def test_tables_lead_to_the_start_of_every_chunk(n, slots):
    """As the compiled loops use them: first the sweep, then from the last chunk to the first."""
    table = Schedule(n, slots)
    assert not table.keeps_all and table.places == slots + 1
    places = np.full(table.places, -1)
    for i in range(n):
        places[table.sweep[i]] = i
    advances = 0
    for i in range(n)[::-1]:
        at = places[table.slot[i]]
        assert at == table.start[i]
        while at < i:
            at += 1
            places[table.keep[i, at]] = at
            advances += 1
        assert at == i
    assert advances == table.advances == optimal_advances(n, slots) - (n - 1)


def test_a_slot_for_every_chunk_needs_no_advance():
    table = Schedule(5, 5)
    assert table.keeps_all and table.places == 5 and table.advances == 0
    assert table.sweep.tolist() == [0, 1, 2, 3, 4]
