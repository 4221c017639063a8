"""Looks into the compiled time loops of one case, and prints one line of JSON: kernels, bandwidth, streamed storage."""

from __future__ import annotations

import argparse
import collections
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hlo_loops
import jax
import jax.numpy as jnp
from cases import CASES, Case
from least_traffic import least_bytes
from measure import TASKS
from worker_jaxwave import program

ROUNDS = 5


def main() -> None:
    """Runs what the command line asks for."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("case", choices=CASES)
    p.add_argument("--copy-mib", type=int, default=1024, help="size of the copy that measures the bandwidth")
    arguments = p.parse_args()
    case = CASES[arguments.case]
    bandwidth = copy_bandwidth(arguments.copy_mib * 2**20)
    line = {"case": case.name, "label": case.label, "copy_bytes_per_s": bandwidth}
    for task in TASKS:
        line[task] = profile(case, task, bandwidth)
    print(json.dumps({**line, "streamed": streamed(case)}))


def profile(case: Case, task: str, bandwidth: float) -> dict[str, Any]:
    """Kernels, time and least traffic of a time step of one task."""
    compiled, inputs = program(case, task)
    executable = compiled.lower(*inputs).compile()

    def call() -> Any:
        return jax.block_until_ready(executable(*inputs))

    call()
    per_step = statistics.median(seconds(call) for _ in range(ROUNDS)) / case.nt
    least = least_bytes_of(case, task)
    return {
        "s_per_step": per_step,
        "least_bytes_per_step": least,
        "fraction_of_copy_bandwidth": least / bandwidth / per_step,
        "loops": loops(executable.as_text(), case.nt),
        "traced": traced(call, case.nt),
    }


def seconds(call: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def copy_bandwidth(size: int) -> float:
    """Bytes read and written per second by the fastest of several passes over an array of ``size`` bytes."""
    x = jnp.ones(size // 4, jnp.float32)
    negate = jax.jit(jnp.negative)
    negate(x).block_until_ready()
    return 2 * size / min(seconds(lambda: negate(x).block_until_ready()) for _ in range(10))


def least_bytes_of(case: Case, task: str) -> float:
    """Bytes that a time step must move, if every array passes once and the layers cost nothing."""
    kinds = ("run",) if task == "forward" else ("saving run", "adjoint")
    return sum(least_bytes(case, kind, layers=False) for kind in kinds)


# ---- what runs in a step ----


def loops(text: str, nt: int) -> list[dict[str, Any]]:
    """The time loops of a compiled program, by its text: what one time step launches.

    Args:
        text: The optimised HLO.
        nt: Time steps; how many of them an iteration makes follows from the number of iterations.
    """
    found = []
    for loop in hlo_loops.loops(text):
        steps = nt / (loop.iterations * loop.repeats)
        launched = [x.opcode for x in loop.kernels] + [x.opcode for x in loop.transfers]
        found.append({
            "iterations": loop.iterations, "steps_per_iteration": steps,
            "instructions": dict(collections.Counter(launched)), "kernels_per_step": len(launched) / steps,
        })  # fmt: skip
    return found


def traced(call: Callable[[], Any], nt: int) -> dict[str, float] | None:
    """Kernels and copies that a time step really starts, by the profiler, and their time; None but on a GPU."""
    if jax.default_backend() != "gpu":
        return None
    with tempfile.TemporaryDirectory() as folder:
        try:
            with jax.profiler.trace(folder):
                call()
        except RuntimeError:  # the profiler may lack the rights; the rest is worth having without it
            return None
        data = [jax.profiler.ProfileData.from_file(str(path)) for path in Path(folder).rglob("*.xplane.pb")]
        durations = [x for part in data for x in _on_streams(part)]
    if not durations:
        return None
    return {"kernels_per_step": len(durations) / nt, "busy_s_per_step": sum(durations) * 1e-9 / nt}


def _on_streams(data: Any) -> Iterator[float]:
    """Nanoseconds of every kernel and copy on the streams of a GPU."""
    for plane in data.planes:
        for line in plane.lines:
            if plane.name.startswith("/device:GPU") and line.name.startswith("Stream"):
                yield from (event.duration_ns for event in line.events)


def streamed(case: Case) -> dict[str, float]:
    """Time of a gradient that keeps int8 in host RAM, over that of one that keeps everything on the device."""
    policies = {"device": {}, "streamed": {"storage": "cpu", "compression": "int8"}}
    calls = {}
    for name, policy in policies.items():
        compiled, inputs = program(case, "gradient", **policy)
        calls[name] = lambda compiled=compiled, inputs=inputs: jax.block_until_ready(compiled(*inputs))
        calls[name]()
    times = [{name: seconds(call) for name, call in calls.items()} for _ in range(ROUNDS)]
    ratios = [x["streamed"] / x["device"] for x in times]
    return {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}


if __name__ == "__main__":
    main()
