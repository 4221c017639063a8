"""Pinned histories in programs that are compiled for a GPU without one: where chunks go, and when."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import gpu_compiler
import pytest

pytestmark = pytest.mark.skipif(
    not gpu_compiler.there(),
    reason="XLA's compiler for CUDA is not installed (jax-cuda13-plugin and jax-cuda13-pjrt of JAX's version)",
)
ROOT = Path(__file__).parents[1]


def found(*arguments):
    """What a process found that has XLA's compiler for CUDA beside that for the CPU."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, str(ROOT / "tests" / "gpu_compiler.py"), *arguments]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("gpu", gpu_compiler.GPUS)
def test_a_large_gradient(gpu):
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


def test_whether_xla_counts_right_is_told_by_the_loops_that_are_tried():
    """With places that the loops count themselves, a gradient's are right where those of the tried loops are."""
    got = found("tried", "h100")
    chunk = 4 * got["cells"] * got["steps"]
    right = [[0, chunk], [2 * chunk, chunk], [(got["turns"] - 1) * chunk, -chunk]]  # written; read forward; backward
    # Two chunks to a turn: 12 are written from place 0 on, and read from the last but one on, in place 11.
    size = 4 * math.prod(got["entry"]) * gpu_compiler.STEPS_PER_TRANSFER
    wanted = [[0, 2 * size], [size, 2 * size], [10 * size, -2 * size], [11 * size, -2 * size]]
    assert len(got["tried"]) == 3 and len(got["places"]) == 4  # all are linear, so all go to the copy engine
    assert (got["tried"] == right) == (got["places"] == wanted)
