"""The time loops as XLA compiles them for GPUs that are not there: what a time step launches, moves and copies.

XLA decides what to fuse by a model of the target and of the size, so both are those of real problems; the steps are few.
Bounds are of JAX 0.10.2; where they are passed, ``python benchmarks/gpu_compiled.py`` shows all numbers.
"""

from pathlib import Path
from typing import NamedTuple

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="a source distribution has no benchmarks")


class Bound(NamedTuple):
    """The most that a time step of a loop may take.

    Attributes:
        kernels: Launches, without those that make single numbers.
        wavefields: Bytes read and written, over those of one wavefield of all shots.
        wavefield_copies: Copies of at least half a wavefield.
        copies: Those and smaller ones, from 4 KB on.
    """

    kernels: float
    wavefields: float
    wavefield_copies: float = 0
    copies: float = 0


# By case, program and target; what is compiled for the first takes 20 s.
FAST: dict[tuple[str, str, str], dict[str, Bound]] = {}
SLOW: dict[tuple[str, str, str], dict[str, Bound]] = {}


@pytest.mark.parametrize("bounds", [FAST, pytest.param(SLOW, marks=pytest.mark.slow)], ids=["few", "many"])
def test_a_time_step_stays_within_its_bounds(bounds, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_compiled
    import gpu_targets

    missing = gpu_targets.missing()
    if missing:
        pytest.skip(f"{missing}: CONTRIBUTING.md says what it takes to compile for a GPU")
    rows = {gpu_compiled.key(row): row for row in gpu_compiled.compile_all(list(bounds))}
    assert list(rows) == list(bounds)
    assert [text for names, row in rows.items() for text in passed(row, bounds[names])] == []


def passed(row, bounds):
    """What of a program passes its bounds, in words."""
    import gpu_compiled

    loops = {loop["role"]: loop for loop in row["loops"] if not loop["role"].startswith("segments")}
    assert set(loops) == set(bounds), gpu_compiled.key(row)
    for loop in row["loops"]:
        where = f"{'; '.join(gpu_compiled.key(row))}: {loop['role']}"
        if loop["remat_kernels"]:
            yield f"{where}: computes again what the device has room to keep"
        for x in loop["transfers"]:
            if x["with_host"] and not (x["starts_first"] and x["ends_last"]):
                yield f"{where}: {x['name']} does not last as long as the kernels"
    for role, bound in bounds.items():
        for quantity, most in bound._asdict().items():
            if loops[role][quantity] > most:
                yield f"{'; '.join(gpu_compiled.key(row))}: {role}: {loops[role][quantity]:.3g} {quantity}, not {most}"
