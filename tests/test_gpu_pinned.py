"""Pinned histories in programs that are compiled for a GPU without one: where chunks go, and when."""

import json
import math
import subprocess
import sys

import gpu_compiler
import pytest

pytestmark = pytest.mark.skipif(not gpu_compiler.BENCHMARKS.is_dir(), reason="a source distribution has no benchmarks")


@pytest.fixture
def found(monkeypatch):
    """A function that says what a process found that has XLA's compiler for CUDA beside that for the CPU."""
    monkeypatch.syspath_prepend(str(gpu_compiler.BENCHMARKS))
    import gpu_targets

    missing = gpu_targets.missing()
    if missing:
        pytest.skip(f"{missing}: CONTRIBUTING.md says what it takes to compile for a GPU")

    def run(*arguments):
        command = [sys.executable, gpu_compiler.__file__, *arguments]
        done = subprocess.run(command, env=gpu_targets.environment(), capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.mark.parametrize("gpu", ["t4", "h100"])
def test_a_large_gradient(found, gpu):
    got = found("large", gpu)
    history = 4 * math.prod(got["entry"]) * gpu_compiler.STEPS
    assert history <= got["host"] < 1.05 * history  # two chunks more than the steps
    assert got["device"] < history / 10

    assert len(got["transfers"]) == 2  # the loop forward and the adjoint one
    for events in got["transfers"]:
        starts = [event for event in events if event.startswith("start")]
        assert len(starts) == 2 == events.count("steps")  # two chunks to a turn
        for start in starts:  # all steps of a chunk are launched while the copy is on its way
            meanwhile = events[events.index(start) : events.index(start.replace("start", "done"))]
            assert "steps" in meanwhile
    # No place is one that XLA takes as known before: whether it counts right cannot be tried without a GPU.
    assert got["places"] == []


def test_whether_xla_counts_right_is_told_by_the_loops_that_are_tried(found):
    """With places that the loops count themselves, a gradient's are right where those of the tried loops are."""
    got = found("tried", "h100")
    chunk = 4 * got["cells"] * got["steps"]
    right = [[0, chunk], [2 * chunk, chunk], [(got["turns"] - 1) * chunk, -chunk]]  # written; read forward; backward
    # Two chunks to a turn: 12 are written from place 0 on, and read from the last but one on, in place 11.
    size = 4 * math.prod(got["entry"]) * gpu_compiler.STEPS_PER_TRANSFER
    wanted = [[0, 2 * size], [size, 2 * size], [10 * size, -2 * size], [11 * size, -2 * size]]
    assert len(got["tried"]) == 3 and len(got["places"]) == 4  # all are linear, so all go to the copy engine
    assert (got["tried"] == right) == (got["places"] == wanted)
