"""Writes docs/gpu_memory_table.md: the largest cubes whose gradient fits on a GPU.

python docs/figures/gpu_memory.py benchmarks/results/gpu-compiled.json
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxwave._propagators import call_of
from jaxwave._setup.embedding import pad_inputs
from jaxwave._setup.problem import make_problem
from jaxwave.storage import DeviceStorage, Int8, PinnedStorage, Recompute, Storage
from jaxwave.storage.base import Footprint

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from report import table  # noqa: E402 (found by the line above)

STEPS, WIDTH, STEP_OF_CUBES = 1000, 20, 4
GPUS = {"16 GB (T4)": 16e9, "40 GB (A100)": 40e9, "80 GB (A100, H100)": 80e9}
USABLE = 0.9  # of the memory: the rest is JAX's, CUDA's and what the allocator leaves between arrays
PINNED = 32e9  # half of XLA's pool of pinned memory, beyond which "cpu" streams by callbacks
COMPILED = {"scalar": "3d-256", "acoustic": "acoustic-3d-120", "elastic": "elastic-3d-100"}
SOURCE = {"scalar": "", "acoustic": "_p", "elastic": "_p"}
STORAGE: dict[str, Storage] = {
    '`"device"`': DeviceStorage(),
    '`"device"`, int8': DeviceStorage(Int8()),
    '`"cpu"`, int8': PinnedStorage(Int8()),
    '`"recompute"`': Recompute(),
}


def main() -> None:
    """Writes the table."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("results", type=Path, help="JSON written by benchmarks/gpu_compiled.py")
    p.add_argument("--out", type=Path, default=ROOT / "docs" / "gpu_memory_table.md")
    arguments = p.parse_args()
    rows = json.loads(arguments.results.read_text())
    lines = []
    for equation in COMPILED:
        loops = work_space(equation, rows)
        for name, storage in STORAGE.items():
            cubes = [largest(equation, storage, loops, USABLE * memory) for memory in GPUS.values()]
            lines.append([equation, name, *(said(equation, storage, n) for n in cubes)])
    arguments.out.write_text(table(["equation", "storage", *GPUS], lines) + "\n", encoding="utf-8")


def said(equation: str, storage: Storage, n: int) -> str:
    """A cube, and what its history takes in RAM."""
    host = footprint(equation, storage, n).host
    return f"{n}³" + (f" ({host / 1e9:.0f} GB of RAM)" if host else "")


def work_space(equation: str, rows: Sequence[dict[str, Any]]) -> float:
    """Bytes per cell that the gradient's program for an H100 takes besides its history."""
    row = next(r for r in rows if (r["case"], r["program"], r["target"]) == (COMPILED[equation], "gradient", "h100"))
    n = round((row["wavefield_bytes"] / 4) ** (1 / 3))
    loop = row["loops"][0]
    steps = round(loop["iterations"] * loop["steps_per_iteration"])
    history = footprint(equation, DeviceStorage(), n, steps).device
    return (row["device_bytes"] - history) / n**3


def largest(equation: str, storage: Storage, per_cell: float, budget: float) -> int:
    """Cells along the largest cube, layers included, that takes no more of the device than this."""

    def fits(n: int) -> bool:
        taken = footprint(equation, storage, n)
        return n**3 * per_cell + taken.device <= budget and taken.host <= PINNED

    low, high = 15, 500  # times STEP_OF_CUBES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(STEP_OF_CUBES * middle) else (low, middle)
    return STEP_OF_CUBES * low


@functools.cache
def footprint(equation: str, storage: Storage, n: int, steps: int = STEPS) -> Footprint:
    """What a history of so many steps takes, for one shot on a cube of n cells along each axis, layers included."""
    kind, seen = SOURCE[equation], []
    survey = {
        f"source_amplitudes{kind}": np.zeros((1, 1, steps), np.float32),
        f"source_locations{kind}": [[[1, 1, 1]]],
        f"receiver_locations{kind}": [[[2, 2, 2]]],
    }
    model = jax.ShapeDtypeStruct((n - 2 * WIDTH,) * 3, np.float32)

    def traced(*models: jax.Array) -> jax.Array:
        call = call_of(
            equation, *models, 10.0, 1e-3, **survey, max_vel=2000.0, pml_width=WIDTH, pml_freq=10.0,
            storage_mode=storage,
        )  # fmt: skip
        problem = make_problem(call)
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), problem.arrays)
        state = jax.eval_shape(functools.partial(pad_inputs, problem.setup), shapes)[-1]
        seen.append(problem.plan.footprint(problem.setup.n_steps, state))
        return models[0]

    jax.eval_shape(traced, *[model] * {"scalar": 1, "acoustic": 2, "elastic": 3}[equation])
    return seen[0]


if __name__ == "__main__":
    main()
