"""The benchmarks run, and write what they promise. No speed is tested."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"

pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="a source distribution has no benchmarks")


def _run(script: str, *arguments: object) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(BENCHMARKS / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _numbers(value):
    """All numbers within a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [x for item in value for x in _numbers(item)]
    return [value] if isinstance(value, (int, float)) else []


def test_worker_prints_one_line_of_finite_numbers():
    lines = _run("worker_jaxwave.py", "small-2d", "gradient", "--repeats", 2, "--compression", "int8").splitlines()
    assert len(lines) == 1
    sample = json.loads(lines[0])
    assert all(map(math.isfinite, _numbers(sample)))
    assert len(sample["times_s"]) == 2
    assert sample["norms"]["record"] > 0 and sample["norms"]["gradient"] > 0
    # 8 bits a cell, half a bit for the scales, and halos: well below float32's 32 bits for the cells alone.
    assert 0 < sample["stored_bytes"] < 40 * 2 * (40 + 40) * (48 + 40) * 2


def test_comparison_without_the_peer_writes_json_and_markdown(tmp_path):
    out = tmp_path / "results.json"
    _run("compare.py", "--no-peer", "--cases", "small-3d", "--pairs", 1, "--repeats", 1, "--out", out)
    results = json.loads(out.read_text())
    assert all(map(math.isfinite, _numbers(results)))
    assert results["failures"] == []
    (case,) = results["cases"]
    assert [s["task"] for s in case["samples"]] == ["forward", "gradient"]
    assert all(case["summary"][task]["jaxwave"]["mcells_per_s"] > 0 for task in ("forward", "gradient"))
    text = out.with_suffix(".md").read_text()
    assert text.count("3-D, 56 x 56 x 60, 1 shot, 12 steps, order 4") == 2  # once in either table
