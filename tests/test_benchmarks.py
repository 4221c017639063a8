"""The benchmarks run, and write what they promise. No speed is tested."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from compilation import environment

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"

pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="a source distribution has no benchmarks")


def _run(script: Path, *arguments: object) -> str:
    here = {**environment(), "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, str(script), *map(str, arguments)], capture_output=True, text=True, env=here)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _numbers(value):
    """All numbers within a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [x for item in value for x in _numbers(item)]
    return [value] if isinstance(value, (int, float)) else []


def _read(path: Path, *private: Path):
    """A JSON file whose numbers are finite and which names none of the ``private`` directories."""
    text = path.read_text()
    assert not any(str(folder) in text for folder in (ROOT, *private))
    results = json.loads(text)
    assert all(map(math.isfinite, _numbers(results)))
    return results


class FakeLibrary:
    """Takes the seconds that ``time`` gives for (case, task, storage, compression); its gradients are ones."""

    platform = "cpu"

    def __init__(self, name, time):
        self.name, self.time = name, time

    def run(self, case, task, *options, timeout=None):
        given = dict(zip(options[::2], options[1::2], strict=True))
        storage, compression = given.get("--storage", "device"), given.get("--compression", "none")
        if "--save" in given:
            np.savez(given["--save"], record=np.ones((2, 90, 9)), gradient=np.ones((90, 90)))
        sample = dict.fromkeys(("mcells_per_s", "compile_s", "rss_before_bytes", "temp_bytes", "threads"), 2)
        return {
            **sample,
            "library": self.name,
            "case": case,
            "task": task,
            "storage": storage,
            "compression": compression,
            "median_s": self.time(case, task, storage, compression),
            "peak_rss_bytes": 2**20 * (4 if storage == "device" else 1),
            "stored_bytes": 2**20 // (4 if compression == "int8" else 1),
            "device_peak_bytes": None,
            "version": "0",
            "backend": "none",
            "python": "3",
            "device": "cpu: cpu",
        }


@pytest.fixture
def made_up(monkeypatch):
    """Results of two libraries that take known times, by the same code as real ones."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import cases
    import compare
    import tables

    def ours(case, task, storage, compression):
        seconds = (2.0 if task == "gradient" else 1.0) * (0.8 if case.endswith("-no-pml") else 1.0)
        seconds *= {"device": 1.0, "cpu": 1.5, "disk": 2.0}[storage] * (0.5 if compression == "int8" else 1.0)
        thing, _, n = case.rpartition("-")
        return seconds * (0.5 + int(n) / 100) if thing in cases.SCALING else seconds

    both = [FakeLibrary("jaxwave", ours), FakeLibrary("deepwave", lambda *_: 3.0)]
    settings = {"pairs": 2, "repeats": 1, "rounds": 2, "platform": "cpu"}
    return {
        **compare.empty_results(settings),
        "cases": [tables.compare_case(both, "2d-300x8", 2, 1)],
        "storage": [tables.compare_storage(both, "2d-300x8", 2, 1, None)],
        "pml": [tables.compare_pml(both[0], "2d-300x8", 2, 1)],
        "scaling": [tables.measure_scaling(both[0], by, 2) for by in cases.SCALING],
    }


def test_ratios_and_deviations_are_those_of_the_times(made_up):
    (case,) = made_up["cases"]
    assert case["summary"]["forward"]["speedup"] == {"median": 3.0, "least": 3.0, "most": 3.0}
    assert case["summary"]["gradient"]["speedup"]["median"] == 1.5
    assert case["agreement"]["agrees"] and case["agreement"]["gradient"] == 0
    rows = {(r["library"], r["storage"], r["compression"]): r for r in made_up["storage"][0]["rows"]}
    assert len(rows) == 12 + 4  # every mode and codec; on a CPU the peer's "cpu" is its "device"
    assert rows["jaxwave", "cpu", "int8"]["time_ratio"]["median"] == 0.75
    assert rows["jaxwave", "cpu", "int8"]["rss_ratio"]["median"] == 0.25
    assert rows["deepwave", "disk", "int8"]["time_ratio"]["median"] == 1.0
    assert made_up["pml"][0]["ratio"]["median"] == pytest.approx(1.25)
    shots = next(x for x in made_up["scaling"] if x["by"] == "shots")
    assert [point["n"] for point in shots["points"]] == [1, 4, 16, 64]
    # The time is 0.5 + n / 100 by construction.
    assert shots["deviation"]["forward"] == pytest.approx(0.51 / ((0.5 + 0.64) / 64) - 1)
    for section in made_up["scaling"]:
        assert section["points"][-1]["n"] == 64 * section["points"][0]["n"]


def test_a_grid_without_layers_has_as_many_cells(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import cases

    for name in cases.PML:
        plain = cases.CASES[f"{name}-no-pml"]
        assert plain.grid == plain.shape == cases.CASES[name].grid
        assert plain.in_layers == 0 < cases.CASES[name].in_layers


def test_errors_in_results_name_no_directory(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import runner

    error = runner.WorkerError("jaxwave failed:\nTraceback\nOSError: no '/home/some one/x/file.h5' in /tmp/a/b")
    assert "home" not in error.brief and "/tmp" not in error.brief and "OSError" in error.brief


# A loop as XLA writes it for a GPU: 50 iterations, with a command buffer, an asynchronous copy and a Triton kernel.
GPU_PROGRAM = """
%command_buffer (p0: f32[8]) -> f32[8] {
  %p0 = f32[8]{0} parameter(0)
  %f1 = f32[8]{0} fusion(%p0), kind=kLoop, calls=%fused
  ROOT %f2 = f32[8]{0} fusion(%f1), kind=kLoop, calls=%fused
}

%body (t: (s32[], f32[8])) -> (s32[], f32[8]) {
  %t = (s32[], f32[8]{0}) parameter(0)
  %g = f32[8]{0} get-tuple-element(%t), index=1
  %start = (f32[8]{0}, f32[8]{0}, u32[]) copy-start(%g)
  %done = f32[8]{0} copy-done(%start)
  %c = f32[8]{0} call(%done), to_apply=%command_buffer
  %k = (f32[8]{0}, /*index=1*/u8[0]{0}) custom-call(%c), custom_call_target="__gpu$xla.gpu.triton"
  ROOT %r = (s32[], f32[8]{0}) tuple(%i, %k)
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %w = (s32[], f32[8]{0}) while(%x), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"50"}}
}
"""


def test_kernels_in_a_loop_are_counted(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_loop

    (loop,) = gpu_loop.loops(GPU_PROGRAM, nt=100)
    assert loop["instructions"] == {"copy-start": 1, "fusion": 2, "custom-call": 1}
    assert loop["steps_per_iteration"] == 2 and loop["kernels_per_step"] == 2


def test_figures_and_tables_come_from_the_json(made_up, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import compare

    compare.write_results(made_up, tmp_path / "results.json")
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- benchmark:start -->\nold\n<!-- benchmark:end -->\nafter\n")
    _run(ROOT / "docs" / "figures" / "performance.py", tmp_path / "results.json", "--root", tmp_path)
    for name in ("ratios", "scaling", "storage"):
        picture = (tmp_path / "docs" / "images" / f"performance_{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert int.from_bytes(picture[16:20], "big") == 800  # pixels wide
    text = readme.read_text()
    assert "old" not in text and text.startswith("before\n") and text.endswith("<!-- benchmark:end -->\nafter\n")
    assert "| 2-D, 300 x 300, 8 shots, 500 steps, order 4 | 3.00 | 1.50 | 0.75 | 1.00 |" in text
    table = (tmp_path / "docs" / "performance_table.md").read_text()
    assert all(f"\n{title}\n" in f"\n{table}" for title in ("## Speed and memory", "## Storage", "## Scaling"))


def test_worker_prints_one_line_of_finite_numbers():
    worker = BENCHMARKS / "worker_jaxwave.py"
    lines = _run(worker, "small-2d", "gradient", "--repeats", 2, "--compression", "int8").splitlines()
    assert len(lines) == 1
    sample = json.loads(lines[0])
    assert all(map(math.isfinite, _numbers(sample)))
    assert len(sample["times_s"]) == 2
    assert sample["norms"]["record"] > 0 and sample["norms"]["gradient"] > 0
    # 8 bits a cell, half a bit for the scales, and halos: well below float32's 32 bits for the cells alone.
    assert 0 < sample["stored_bytes"] < 40 * 2 * (40 + 40) * (48 + 40) * 2
    assert sample["stored_bytes"] < sample["temp_bytes"]  # the history is part of what the program allocates


@pytest.mark.slow
def test_comparison_without_the_peer_writes_json_and_markdown(tmp_path):
    out = tmp_path / "results.json"
    _run(
        BENCHMARKS / "compare.py", "--no-peer", "--tables", "cases", "pml", "--cases", "small-3d", "--pml-cases",
        "small-2d", "--pairs", 1, "--repeats", 1, "--out", out,
    )  # fmt: skip
    results = _read(out, tmp_path)
    assert results["failures"] == []
    (case,) = results["cases"]
    assert [s["task"] for s in case["samples"]] == ["forward", "gradient"]
    assert all(case["summary"][task]["jaxwave"]["mcells_per_s"] > 0 for task in ("forward", "gradient"))
    assert results["pml"][0]["ratio"]["median"] > 0
    text = out.with_suffix(".md").read_text()
    assert text.count("3-D, 56 x 56 x 60, 1 shot, 12 steps, order 4") == 2  # once for each task


def test_results_are_continued_under_the_same_conditions(made_up):
    import compare

    made_up["failures"] = [{"case": "3d-120", "error": "killed"}]
    assert compare.continued(made_up, compare.empty_results(made_up["settings"])) == {**made_up, "failures": []}
    with pytest.raises(SystemExit, match="their settings differ in pairs"):
        compare.continued(made_up, compare.empty_results({**made_up["settings"], "pairs": 7}))


@pytest.mark.slow
def test_gpu_script_checks_measures_and_profiles_on_a_cpu(tmp_path):
    out = tmp_path / "gpu.json"
    _run(BENCHMARKS / "gpu.py", "--platform", "cpu", "--small", "--minutes", 8, "--out", out)
    results = _read(out, tmp_path)
    assert results["failures"] == results["skipped"] == []
    assert len(results["checks"]) == 1 + 3 * 2 and all(check["passed"] for check in results["checks"])
    assert [case["case"] for case in results["cases"]] == ["small-2d"]
    (profile,) = results["profile"]
    assert len(profile["gradient"]["loops"]) > len(profile["forward"]["loops"]) > 0  # the adjoint's come on top
    assert all(loop["kernels_per_step"] > 0 for loop in profile["gradient"]["loops"])
    assert 0 < profile["forward"]["fraction_of_copy_bandwidth"]
    assert "## Gradients on this device" in out.with_suffix(".md").read_text()


def test_gpu_script_keeps_its_time_by_leaving_out(tmp_path):
    out = tmp_path / "gpu.json"
    _run(BENCHMARKS / "gpu.py", "--platform", "cpu", "--small", "--minutes", 0.01, "--out", out)
    results = _read(out, tmp_path)
    assert len(results["skipped"]) == 3 and results["cases"] == results["profile"] == results["checks"] == []


@pytest.mark.slow
def test_points_are_measured_by_their_number(tmp_path):
    out = tmp_path / "points.json"
    _run(BENCHMARKS / "points.py", "--numbers", 20, 40, "--repeats", 1, "--out", out)
    cases = _read(out, tmp_path)["cases"]
    assert [case["points"] for case in cases] == [20, 40] * 4
    assert all(case["peak_bytes"] >= case["cells_bytes"] + case["rows_bytes"] > 0 for case in cases)
    assert out.with_suffix(".md").read_text().count("\n") == 2 + len(cases)
