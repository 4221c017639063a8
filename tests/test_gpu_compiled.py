"""The time loops as XLA compiles them for GPUs that are not there: what a time step launches, moves and copies.

XLA decides what to fuse by a model of the target and of the size, so both are those of real problems, with few steps.
The bounds are of JAX 0.10.2; where they are passed, ``python benchmarks/gpu_compiled.py`` shows all numbers.
"""

import json
import subprocess
import sys
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
FAST: dict[tuple[str, str, str], dict[str, Bound]] = {
    ("2d-300x8", "forward", "h100"): {
        "run": Bound(2.5, 5.5),
    },
    ("2d-300x8", "gradient", "h100"): {
        "saving run": Bound(3, 8.2),
        "adjoint": Bound(4, 8.8),
    },
    ("3d-256", "gradient", "h100"): {
        "saving run": Bound(4, 13),
        "adjoint": Bound(4.5, 13.2),
    },
    ("elastic-2d-300x4", "gradient", "h100"): {
        "saving run": Bound(7, 35.7),
        "adjoint": Bound(6.5, 38),
    },
}
SLOW: dict[tuple[str, str, str], dict[str, Bound]] = {
    ("2d-2000x8", "gradient", "h100"): {
        "saving run": Bound(4, 5.8),
        "adjoint": Bound(5, 6.7),
    },
    ("3d-256", "forward", "h100"): {
        "run": Bound(3.5, 9.7),
    },
    ("acoustic-2d-300x4", "gradient", "h100"): {
        "saving run": Bound(6, 20.1),
        "adjoint": Bound(6, 22),
    },
    ("acoustic-3d-120", "gradient", "h100"): {
        "saving run": Bound(6.5, 40.6),
        "adjoint": Bound(5.5, 42.4),
    },
    ("elastic-3d-100", "gradient", "h100"): {
        "saving run": Bound(9, 115.1),
        "adjoint": Bound(11, 126.5),
    },
    ("2d-300x8", "gradient, int8", "h100"): {
        "saving run": Bound(4.5, 9.6),
        "adjoint": Bound(4, 8),
    },
    ("2d-300x8", "gradient, recompute", "h100"): {
        "run": Bound(2.5, 5.5),
        "run again": Bound(2.5, 8.2),
        "adjoint": Bound(4, 8.8),
    },
    ("2d-300x8", "gradient", "t4"): {
        "saving run": Bound(4, 9.2),
        "adjoint": Bound(4, 8.8),
    },
    ("3d-256", "gradient", "t4"): {
        "saving run": Bound(4, 13),
        "adjoint": Bound(4.5, 13.2),
    },
    ("elastic-2d-300x4", "gradient", "t4"): {
        "saving run": Bound(7, 35.7),
        "adjoint": Bound(8.5, 43.7),
    },
}


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


# ---- what needs no compiler ----


@pytest.fixture
def rows(monkeypatch):
    """Rows as the worker prints them, of made-up loops: the T4 copies where the others do not."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_targets
    import worker_gpu_compiled
    from cases import COMPILED
    from hlo_loops import Kernel, Loop

    case = COMPILED["2d-300x8"]
    cells = case.cells * case.n_shots

    def row(program, target):
        kernels = [
            Kernel("step", "fusion", cells, 3 * 4 * cells, 4 * cells, False),
            Kernel("counter", "fusion", 1, 4, 4, False),
            Kernel("slab", "copy", cells // 10, 4 * cells // 10, 4 * cells // 10, True),
        ]
        kernels += [Kernel("field", "copy", cells, 4 * cells, 4 * cells, True)] * (target == "t4")
        made_up = [Loop("jit(f)/while", 30, 1, 0, 0, tuple(kernels), ())]
        facts = {"case": case.name, "label": case.label, "program": program, "target": target, "jax": "0"}
        described = worker_gpu_compiled.described(made_up, case, program, gpu_targets.TARGETS[target])
        return {**facts, "wavefield_bytes": 4 * cells, "device_bytes": 10**7, "host_bytes": 0, "loops": list(described)}

    programs = ("forward", "gradient", "gradient, reverse")
    return [row(program, target) for target in gpu_targets.TARGETS for program in programs]


def test_a_loop_of_two_steps_counts_half_of_what_an_iteration_does(rows):
    loop = rows[0]["loops"][0]
    assert (rows[0]["target"], loop["role"], loop["steps_per_iteration"]) == ("t4", "run", 2)
    assert (loop["kernels"], loop["scalar_kernels"]) == (1.5, 0.5)
    assert (loop["wavefield_copies"], loop["copies"]) == (0.5, 1)
    assert loop["wavefields"] == pytest.approx((4 + 2 + 0.2) / 2, rel=1e-4)  # and the counter's bytes
    assert loop["seconds"] == pytest.approx(loop["wavefields"] * 2880000 / 320e9, rel=1e-3)


def test_a_bound_that_is_passed_is_named(rows):
    assert list(passed(rows[0], {"run": Bound(1.5, 3.2, 0.5, 1)})) == []
    found = list(passed(rows[0], {"run": Bound(1, 3, 0, 0)}))
    assert found == [
        f"2d-300x8; forward; t4: run: {what}"
        for what in ("1.5 kernels, not 1", "3.1 wavefields, not 3", "0.5 wavefield_copies, not 0", "1 copies, not 0")
    ]
    rows[0]["loops"][0] |= {"remat_kernels": 0.5, "transfers": [
        {"name": "fetch", "with_host": True, "starts_first": True, "ends_last": False},
    ]}  # fmt: skip
    again, short = passed(rows[0], {"run": Bound(9, 9, 9, 9)})
    assert again.endswith("computes again what the device has room to keep")
    assert short.endswith("fetch does not last as long as the kernels")


def test_tables_come_from_the_json(rows, tmp_path):
    import gpu_compiled

    whole = gpu_compiled.markdown(rows)
    assert whole.count("| case |") == 3
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    script = BENCHMARKS.parent / "docs" / "figures" / "gpu_compiled.py"
    subprocess.run([sys.executable, script, tmp_path / "rows.json", "--out", tmp_path / "table.md"], check=True)
    text = (tmp_path / "table.md").read_text()
    first, second = text.split("Other storage policies, H100:")
    assert (
        "| 2-D, 300 x 300, 8 shots | run | 1.5 / 1 / 1 | 3.1 / 2.1 / 2.1 | 4.2 | 0.5 + 0.5 / 0 + 0.5 / 0 + 0.5 |"
        in first
    )
    assert "| 2-D, 300 x 300, 8 shots | reverse | saving run | 1 | 2.1 | 0 + 0.5 |" in second
