"""Time and memory of one gradient under every storage policy, against what `jaxwave.plan` predicts; and "auto" under
five budgets. Each runs in a process of its own.

    python benchmarks/policies.py --cells 120 --steps 300 --out benchmarks/results/policies-cpu.json

writes the JSON and, beside it, a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import measure

MIB = 2**20
POLICIES = (
    "device", "device, int8", "host RAM", "host RAM, int8", "disk", "disk, int8", "recompute",
    "recompute, 4 slots", "recompute, states in host RAM", "recompute, states on disk", "reverse",
    "reverse, layers int8 in host RAM", "fourier, 8 frequencies",
)  # fmt: skip


def main() -> None:
    """Measures in order, and writes."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cells", type=int, default=120, help="cells along each of the three axes (default 120)")
    p.add_argument("--steps", type=int, default=300, help="time steps (default 300)")
    p.add_argument("--repeats", type=int, default=3, help="timed gradients (default 3)")
    p.add_argument("--out", type=Path, default=Path("policies.json"), help="JSON to write")
    p.add_argument("--worker", help=argparse.SUPPRESS)
    p.add_argument("--budget", type=json.loads, help=argparse.SUPPRESS)
    arguments = p.parse_args()
    if arguments.worker:
        print(json.dumps(work(arguments)))
        return
    plan = spawn(arguments, "plan")
    found = {name: spawn(arguments, name) for name in POLICIES}
    report = {
        "cells": arguments.cells, "steps": arguments.steps, "cores": measure.cpu_count(),
        "versions": plan.pop("versions"), "plan": plan, "policies": found, "auto": under_budgets(arguments, plan),
    }  # fmt: skip
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text(markdown(report))
    print(markdown(report))


def spawn(arguments: argparse.Namespace, worker: str, **budget: int) -> dict[str, Any]:
    """Runs this script in a process of its own; returns what it measured."""
    command = [
        sys.executable, __file__, "--worker", worker, "--budget", json.dumps(budget), "--cells", str(arguments.cells),
        "--steps", str(arguments.steps), "--repeats", str(arguments.repeats),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{worker}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    print(worker, budget or "", {k: v for k, v in found.items() if not isinstance(v, dict | list)}, flush=True)
    return found


def under_budgets(arguments: argparse.Namespace, plan: dict[str, Any]) -> list[dict[str, Any]]:
    """ "auto" from ample to barely enough for the state, and with too little."""
    device = {option["name"]: option["device"] for option in plan["options"]}
    budgets = [
        {},
        {"device": device["device"] * 2 // 3, "host": 16 * 2**30, "disk": 0},
        {"device": device["device"] * 2 // 3, "host": 0, "disk": 0},
        {"device": device["host RAM"] + 8 * MIB, "host": 2**30, "disk": 64 * 2**30},
        {"device": plan["least"] * 103 // 100, "host": 0, "disk": 0},
    ]
    return [{"budget": budget, **spawn(arguments, "auto", **budget)} for budget in budgets]


def work(arguments: argparse.Namespace) -> dict[str, Any]:
    """What one process measures."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import jaxwave
    from jaxwave.storage import Auto, DeviceStorage, DiskStorage, Fourier, HostStorage, Int8, Recompute, Reverse

    n, nt, spacing, dt, freq = arguments.cells, arguments.steps, 10.0, 1e-3, 12.0
    rng = np.random.default_rng(0)
    v = jnp.asarray(1500 + 1000 * np.linspace(0, 1, n)[:, None, None] + 100 * rng.random((n, n, n)), jnp.float32)
    places = np.stack(np.meshgrid([3], np.arange(4, n, 8), np.arange(4, n, 8), indexing="ij"), -1).reshape(1, -1, 3)
    survey = dict(
        source_amplitudes=jaxwave.wavelets.ricker(freq, nt, dt, 1.2 / freq, dtype=jnp.float32).reshape(1, 1, -1),
        source_locations=[[[3, n // 2, n // 2]]], receiver_locations=places, pml_freq=freq, max_vel=2600.0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(dir=".") as path:
        storage = {
            "device": DeviceStorage(), "device, int8": DeviceStorage(Int8()),
            "host RAM": HostStorage(), "host RAM, int8": HostStorage(Int8()),
            "disk": DiskStorage(path=path), "disk, int8": DiskStorage(Int8(), path=path),
            "recompute": Recompute(), "recompute, 4 slots": Recompute(segments=30, slots=4),
            "recompute, states in host RAM": Recompute(checkpoints=HostStorage()),
            "recompute, states on disk": Recompute(checkpoints=DiskStorage(path=path)),
            "reverse": Reverse(), "reverse, layers int8 in host RAM": Reverse(ring=HostStorage(Int8())),
            "fourier, 8 frequencies": Fourier(frequencies=tuple(np.linspace(4.0, 25.0, 8).round(1).tolist())),
            "plan": Auto(path=path), "auto": Auto(path=path, **arguments.budget),
        }[arguments.worker]  # fmt: skip
        if arguments.worker == "plan":
            plan = jaxwave.plan(v, spacing, dt, storage_mode=storage, **survey)
            options = [
                {key: getattr(option, key) for key in ("name", "device", "host", "disk", "seconds", "refused")}
                for option in plan.options
            ]
            tight = jaxwave.plan(v, spacing, dt, storage_mode=Auto(device=0, path=path), **survey)
            least = next(option.device for option in tight.options if option.name == "recompute")
            versions = {"jax": jax.__version__, "jaxwave": jaxwave.__version__}
            return {"options": options, "least": least, "versions": versions}
        if arguments.worker == "auto":
            plan = jaxwave.plan(v, spacing, dt, storage_mode=storage, **survey)
            storage, chosen = plan.chosen.storage, plan.chosen.name

        def misfit(v):
            out = jaxwave.scalar(v, spacing, dt, storage_mode=storage, **survey)
            return jnp.sum(out.receiver_amplitudes**2)

        program = jax.jit(jax.grad(misfit), compiler_options=jaxwave.compiler_options()).lower(v).compile()
        before, seconds = measure.peak_rss(), []
        for _ in range(arguments.repeats + 1):
            start = time.perf_counter()
            gradient = jax.block_until_ready(program(v))
            seconds.append(time.perf_counter() - start)
        size = jaxwave.estimate_memory(v, spacing, dt, storage_mode=storage, **survey)
    facts = {
        "seconds": statistics.median(seconds[1:]), "rss_growth": measure.peak_rss() - before, "device": size.device,
        "host": size.host + size.transfer, "disk": size.disk, "norm": float(jnp.linalg.norm(gradient)),
    }  # fmt: skip
    return {**facts, "chosen": chosen} if arguments.worker == "auto" else facts


def markdown(report: dict[str, Any]) -> str:
    """The report as tables."""
    predicted = {option["name"]: option for option in report["plan"]["options"]}
    head = (
        f"{report['cells']}³ cells with layers of 20, {report['steps']} steps, float32, {report['cores']} cores, "
        f"JAX {report['versions']['jax']}. Sizes in MiB; growth: of the process's peak resident memory.\n\n"
        "| policy | device | host | disk | growth | time (s) | planned device | planned time (s) |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|\n"
    )
    rows = []
    for name, got in report["policies"].items():
        plan = predicted.get(name)
        said = f"{plan['device'] / MIB:.0f} | {plan['seconds']:.1f}" if plan else " | "
        sizes = " | ".join(f"{got[key] / MIB:.0f}" for key in ("device", "host", "disk", "rss_growth"))
        rows.append(f"| {name} | {sizes} | {got['seconds']:.1f} | {said} |")
    auto = [
        "\n| budget: device | host | disk | chosen | device | host | time (s) |",
        "|---:|---:|---:|---|---:|---:|---:|",
    ]
    for got in report["auto"]:
        limits = " | ".join(
            f"{got['budget'][key] / MIB:.0f}" if key in got["budget"] else "free" for key in ("device", "host", "disk")
        )
        took = f"{got['device'] / MIB:.0f} | {got['host'] / MIB:.0f} | {got['seconds']:.1f}"
        auto.append(f"| {limits} | {got['chosen']} | {took} |")
    return "\n".join([head + "\n".join(rows), *auto]) + "\n"


if __name__ == "__main__":
    main()
