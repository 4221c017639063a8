"""Time and memory that `jaxwave.Hicks` takes to place points between the cells, by their number.

    python benchmarks/points.py --out benchmarks/results/points-cpu.json

writes the JSON and, beside it, a Markdown table. Times are processor time of one core, so that company on the machine
matters little; each case runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import measure
import numpy as np

SHAPES = {
    "2-D, scattered": (1000, 1200), "3-D, scattered": (300, 300, 300), "3-D, far apart": (1000, 1000, 1000),
    "3-D, a surface": (300, 300, 300),
}  # fmt: skip
NUMBERS = (1000, 10_000, 100_000)


def main() -> None:
    """Measures in order, and writes."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--repeats", type=int, default=5, help="timed set-ups of each case (default 5)")
    p.add_argument("--numbers", type=int, nargs="+", default=NUMBERS, help="how many points")
    p.add_argument("--out", type=Path, default=Path("points.json"), help="JSON to write")
    p.add_argument("--worker", choices=SHAPES, help=argparse.SUPPRESS)
    arguments = p.parse_args()
    if arguments.worker:
        print(json.dumps(work(arguments)))
        return
    found = [spawn(arguments, case, number) for case in SHAPES for number in arguments.numbers]
    report = {
        "cores": measure.cpu_count(), "load_average": measure.load_average(), "versions": {"numpy": np.__version__},
        "cases": found,
    }  # fmt: skip
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text(markdown(report))
    print(markdown(report))


def spawn(arguments: argparse.Namespace, case: str, number: int) -> dict[str, Any]:
    """Runs this script in a process of its own; returns what it measured."""
    command = [
        sys.executable, __file__, "--worker", case, "--numbers", str(number), "--repeats", str(arguments.repeats),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{case}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def work(arguments: argparse.Namespace) -> dict[str, Any]:
    """What one process measures: of points that lie between the cells along every axis, 5 cells from the edge."""
    import jaxwave

    case, number, shape = arguments.worker, arguments.numbers[0], SHAPES[arguments.worker]
    points = np.random.default_rng(0).uniform(5, np.array(shape) - 6, (1, number, len(shape)))
    if case.endswith("surface"):
        points[..., 0] = 10.5
    seconds = []
    for _ in range(arguments.repeats + 1):
        start = time.process_time()
        hicks = jaxwave.Hicks(points, shape)
        seconds.append(time.process_time() - start)
    sizes = {
        "distinct_cells": hicks.cells.shape[1], "cells_bytes": hicks.cells.nbytes,
        "rows_bytes": sum(x.nbytes for x in hicks.rows),
    }  # fmt: skip
    del hicks
    tracemalloc.start()
    jaxwave.Hicks(points, shape)
    _, peak = tracemalloc.get_traced_memory()
    return {
        "case": case, "points": number, "shape": shape, "seconds": statistics.median(seconds[1:]), "samples": seconds,
        "peak_bytes": peak, **sizes,
    }  # fmt: skip


def markdown(report: dict[str, Any]) -> str:
    """The report as a table."""
    lines = [
        "| points | number | cells of the model | cells that they need | set-up, s | its peak, MB | of which cells | "
        "and the rest of the object |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for got in report["cases"]:
        shape = " x ".join(map(str, got["shape"]))
        sizes = " | ".join(f"{got[key] / 1e6:.1f}" for key in ("peak_bytes", "cells_bytes", "rows_bytes"))
        counts = f"{got['points']:,} | {shape} | {got['distinct_cells']:,}"
        lines.append(f"| {got['case']} | {counts} | {got['seconds']:.3f} | {sizes} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
