"""A model in parts, in programs that are compiled for several GPUs without one: what is sent in a step, and when."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="a source distribution has no benchmarks")


@pytest.fixture
def parts(monkeypatch):
    """The module that counts."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_targets
    import parts

    missing = gpu_targets.missing()
    if missing:
        pytest.skip(f"{missing}: CONTRIBUTING.md says what it takes to compile for a GPU")
    return parts


CASES = [("Scalar", (128, 128, 128), (2, 2)), ("Elastic", (128, 128, 128), (2,))]


@pytest.mark.parametrize(("name", "cells", "cut"), CASES)
def test_what_a_part_sends_is_counted_by_hand_and_hidden(parts, name, cells, cut):
    asked = [json.dumps([name, cells, cut, program]) for program in ("forward", "gradient")]
    done = subprocess.run(
        [sys.executable, parts.__file__, *asked], env=parts.environment(), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    forward, gradient = ([loop for loop in json.loads(line)["loops"] if loop["messages"]]
                         for line in done.stdout.splitlines())  # fmt: skip
    messages, size = parts.by_hand(name, list(cells), list(cut))
    (run,), (saving, adjoint) = forward, gradient
    for loop in (run, saving, adjoint):
        assert loop["bytes"] == size
        assert loop["messages"] <= messages  # XLA joins those of several fields
        assert loop["others"] == []
    assert run["over_kernels"] == saving["over_kernels"] == 1.0
    assert run["copies"] == adjoint["copies"] == 0.0
    assert saving["copies"] <= 0.5  # of the scalar equation, which has two time levels
