"""Measures what compiler options, groups of shots, pages, allocator and host devices are worth on a CPU; its memory.

    python benchmarks/tuning.py

Every setting is a process of its own, in alternation with the others; writes JSON and the table of docs/performance.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import report
import runner
from cases import CASES, DT, FAST, FREQUENCY, SPACING, build

OUT = Path(__file__).parent / "results" / "tuning-cpu.json"
DOCS = Path(__file__).parents[1] / "docs" / "performance_tuning.md"
BASE = "as it comes"
SETTINGS: dict[str, dict[str, str]] = {
    BASE: {},
    "without `jaxwave.compiler_options()`": {"PLAIN": "1"},
    "all shots in one group": {"ONE_GROUP": "1"},
    "histories in small pages": {"SMALL_PAGES": "1"},
    "huge pages for everything": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
    "freed memory kept": {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)},
    "a host device for each core, shots divided": {},
}
TASKS = ("forward", "gradient")
WORKING_SETS = (8, 16, 32, 64, 128, 256)  # MiB


def main() -> None:
    """Runs what the command line asks for."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cases", nargs="*", choices=CASES, default=("2d-300x8", "marmousi-size", "3d-120"), metavar="CASE")
    p.add_argument("--rounds", type=int, default=3, help="processes per setting (default 3)")
    p.add_argument("--repeats", type=int, default=5, help="timed runs in each process, after two (default 5)")
    p.add_argument("--out", type=Path, default=OUT)
    p.add_argument("--docs", type=Path, default=DOCS, help="the Markdown table")
    p.add_argument("--worker", nargs=3, metavar=("CASE", "SETTING", "REPEATS"), help=argparse.SUPPRESS)
    arguments = p.parse_args()
    if arguments.worker:
        case, setting, repeats = arguments.worker
        print(json.dumps(_measure(case, setting, int(repeats))))
        return
    samples = [
        {"round": number, "case": case, "setting": setting, **_run(case, setting, arguments.repeats)}
        for number in range(arguments.rounds)
        for case in arguments.cases
        for setting in SETTINGS
        if _applies(case, setting)
    ]
    results = {"date": str(datetime.date.today()), "machine": runner.machine(), "bandwidth": _bandwidth(),
               "samples": samples}  # fmt: skip
    arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    text = _markdown(results, arguments.cases)
    arguments.docs.write_text(text)
    print(text)


def _devices(setting: str) -> bool:
    return setting.startswith("a host device")


def _applies(case: str, setting: str) -> bool:
    return not _devices(setting) or CASES[case].n_shots > 1


def _run(case: str, setting: str, repeats: int) -> dict[str, Any]:
    """One process."""
    library = runner.Library("jaxwave", Path(sys.executable))
    environment = {**library.environment(), **SETTINGS[setting]}
    if _devices(setting):
        cores = math.gcd(CASES[case].n_shots, runner.cpu_count())
        environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={cores}"
    command = [sys.executable, "tuning.py", "--worker", case, setting, str(repeats)]
    sample = runner.run_json(command, f"{case}, {setting}", environment)
    print(f"  {case:12}{setting:45}{sample['forward']:8.4f}{sample['gradient']:8.4f} s", file=sys.stderr)
    return sample


# ---- in the process that is measured ----


def _measure(name: str, setting: str, repeats: int) -> dict[str, float]:
    """Median seconds of a forward run and of a gradient that keeps its wavefields on the device."""
    import jax

    import jaxwave
    from jaxwave._timeloop import groups
    from jaxwave.storage import pages

    if "ONE_GROUP" in os.environ:
        groups.MOST = 1
    if "SMALL_PAGES" in os.environ:
        pages.LEAST = sys.maxsize
    options = None if "PLAIN" in os.environ else jaxwave.compiler_options() or None
    misfit, inputs = _misfit(name, spread=_devices(setting))
    functions = {"forward": misfit, "gradient": jax.value_and_grad(misfit)}
    found = {}
    for task in TASKS:
        compiled = jax.jit(functions[task], compiler_options=options)
        seconds = [_seconds(lambda compiled=compiled: jax.block_until_ready(compiled(*inputs)))
                   for _ in range(repeats + 2)]  # fmt: skip
        found[task] = statistics.median(seconds[2:])  # the first compiles, the next may still fetch memory
    return found


def _misfit(name: str, spread: bool) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The sum of squared records of a case, and its inputs; with the shots divided among the devices if ``spread``."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import Mesh
    from jax.sharding import PartitionSpec as P

    import jaxwave

    case, problem = CASES[name], build(CASES[name])

    def misfit(v, amplitudes, sources, receivers):
        out = jaxwave.scalar(
            v, SPACING, DT, source_amplitudes=amplitudes, source_locations=sources, receiver_locations=receivers,
            accuracy=case.accuracy, pml_width=case.pml_width, pml_freq=FREQUENCY, max_vel=FAST,
        )  # fmt: skip
        total = jnp.sum(out.receiver_amplitudes**2)
        return jax.lax.psum(total, "shots") if spread else total

    inputs = tuple(map(jnp.asarray, (problem.models["v"], problem.amplitudes, problem.sources, problem.receivers)))
    if not spread:
        return misfit, inputs
    mesh, shots = Mesh(jax.devices(), ("shots",)), P("shots")
    specs = (P(), shots, shots, shots)
    return jax.shard_map(misfit, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=False), inputs


def _bandwidth() -> dict[str, float]:
    """Bytes per second by MiB of working set, of an update that reads three arrays and overwrites one of them."""
    import jax
    import jax.numpy as jnp

    import jaxwave

    found = {}
    for mib in WORKING_SETS:
        arrays = tuple(jnp.full((mib * 2**20 // 12 // 4096, 4096), k, jnp.float32) for k in (1, 2, 3))
        passes = 4096 // mib

        def run(x, y, z, passes=passes):
            return jax.lax.fori_loop(0, passes, lambda _, x: 0.9 * x + 0.1 * y - 0.1 * z, x)

        compiled = jax.jit(run, compiler_options=jaxwave.compiler_options() or None)
        calls = [_seconds(lambda compiled=compiled, a=arrays: compiled(*a).block_until_ready()) for _ in range(4)]
        found[str(mib)] = passes * 4 * arrays[0].nbytes / min(calls[1:])
    return found


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


# ---- the table ----


def _markdown(results: dict[str, Any], names: list[str]) -> str:
    def ratio(case: str, setting: str, task: str) -> str:
        chosen = {(s["setting"], s["round"]): s[task] for s in results["samples"] if s["case"] == case}
        ratios = [chosen[BASE, number] / value for (x, number), value in chosen.items() if x == setting]
        if not ratios:
            return ""
        return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"

    header = ["setting", *(f"{CASES[name].label}: {task}" for name in names for task in TASKS)]
    rows = [[setting, *(ratio(name, setting, task) for name in names for task in TASKS)]
            for setting in SETTINGS if setting != BASE]  # fmt: skip
    machine = results["machine"]
    sizes = results["bandwidth"]
    rates = report.table(["working set, MiB", *sizes], [["GB/s", *(f"{x / 1e9:.0f}" for x in sizes.values())]])
    return (
        "How many times faster a setting makes a run, below 1 slower (median of the rounds, and their range), "
        f"measured on {results['date']}; {machine['cpu']}, {machine['cores']} threads.\n\n"
        f"{report.table(header, rows)}\n\n"
        "What its memory delivers to an update that reads three arrays and overwrites one, on all cores:\n\n"
        f"{rates}\n"
    )


if __name__ == "__main__":
    main()
