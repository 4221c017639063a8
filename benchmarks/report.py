"""The Markdown tables of a comparison's results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Results = dict[str, Any]
TITLES = {"jaxwave": "jaxwave", "deepwave": "Deepwave"}
TASKS = {"forward": "Forward", "gradient": "Forward and gradient"}
MIB = 2**20


def markdown(results: Results) -> str:
    """All tables of ``results``, under second-level headings."""
    parts = ["## Speed and memory", _measured_on(results)]
    if results["cases"]:
        for task, title in TASKS.items():
            parts += [f"### {title}", _speed_table(results, task)]
    if any(case["agreement"] for case in results["cases"]):
        parts += ["### Agreement", _AGREEMENT, _agreement_table(results)]
    if results["storage"]:
        parts += ["## Storage", _STORAGE, *(_storage_section(s) for s in results["storage"])]
    if results["pml"]:
        parts += ["## Cost of the absorbing layers", _PML, _pml_table(results)]
    if results["scaling"]:
        parts += ["## Scaling", _SCALING, *(_scaling_section(s) for s in results["scaling"])]
    if results.get("checks"):
        parts += ["## Gradients on this device", _CHECKS, _checks_table(results)]
    if results.get("profile"):
        parts += ["## Time loops", _PROFILE, _profile_table(results)]
    if results.get("skipped"):
        parts += ["## Left out", "\n".join(f"- {x['what']}: {x['why']}" for x in results["skipped"])]
    if results["failures"]:
        parts += ["## Failures", "\n".join(f"- {x['error']}" for x in results["failures"])]
    return "\n\n".join(parts) + "\n"


def short(results: Results) -> str:
    """The few numbers for a README: ratios to the peer, and what storing elsewhere costs."""
    header = ["case", "forward", "gradient", "int8 in RAM", "int8 on disk"]
    stored = {
        section["case"]: {(r["storage"], r["compression"]): r for r in section["rows"] if r["library"] == "jaxwave"}
        for section in results["storage"]
    }
    rows = []
    for case in results["cases"]:
        ratios = [case["summary"][task].get("speedup", {}).get("median") for task in TASKS]
        kept = stored.get(case["case"], {})
        ratios += [kept[mode, "int8"]["time_ratio"]["median"] if kept else None for mode in ("cpu", "disk")]
        rows.append([case["label"], *("" if x is None else f"{x:.2f}" for x in ratios)])
    names = results["versions"]
    peer = f"{TITLES['deepwave']} {names['deepwave']['version']}" if "deepwave" in names else "The peer"
    return (
        f"{peer}'s time over jaxwave's for a forward run and a gradient (above 1, jaxwave is faster), and jaxwave's "
        "time for a gradient that keeps its wavefields as int8 in host RAM or on disk over that of one that keeps them "
        f"uncompressed on the device:\n\n{table(header, rows)}\n\n"
        f"{_processor(results)}, {results['date']}; float32, medians."
    )


_AGREEMENT = (
    "Relative L2 difference between the two libraries' records and gradients: over all receivers or cells, and over "
    "those at least the margin away from the model's faces. The absorbing layers are discretised differently."
)
_STORAGE = (
    "Forward and gradient with the wavefields kept in different places. The ratios are of time and of the process's "
    "peak memory, to the same library's `device` without compression in the same round (the range over the rounds in "
    "brackets); the error is the relative L2 difference of the gradient from that run's."
)
_PML = (
    "Time of a forward run over that on a grid of as many cells without absorbing layers, in alternation (range over "
    "the pairs in brackets)."
)
_SCALING = (
    "Time as one thing grows 64-fold and the others stay. The deviation is the largest time per cell, shot or step "
    "over that of the largest problem, less 1: 0 if time is proportional, more if small problems pay something extra. "
    "Device memory is what the compiled gradient allocates beyond its inputs and outputs, over the stored wavefields "
    "alone."
)
_CHECKS = (
    "Relative L2 differences: of the float64 gradient from automatic differentiation of a naive scan over whole "
    "arrays, and of the float32 gradient of every storage mode and codec from that of `device` without compression."
)
_PROFILE = (
    "Kernels per time step are counted in the bodies of the compiled loops (forward, then adjoint) and, on a GPU, by "
    "the profiler. Bandwidth is the least traffic of a step over its time, as a fraction of what a plain copy reaches. "
    "Streamed is the time of a gradient that keeps int8 in host RAM over that of one that keeps all on the device."
)


def _processor(results: Results) -> str:
    """The device, or the processor with its threads if that is it."""
    machine = results["machine"]
    ours = results["versions"].get("jaxwave", {"device": "cpu", "threads": machine["cores"]})
    if not ours["device"].startswith("cpu"):
        return ours["device"].split(": ", 1)[1]
    return f"{machine['cpu']}, {ours['threads']} threads"


def _measured_on(results: Results) -> str:
    machine, settings = results["machine"], results["settings"]
    memory = machine["memory_bytes"]
    size = f", {memory / 2**30:.0f} GiB" if memory else ""
    used = "; ".join(f"{TITLES[n]} {x['version']} ({x['backend']})" for n, x in results["versions"].items())
    load = "" if machine["load_average"] is None else f", load average {machine['load_average']:.1f} at the start"
    counts = [len({s["pair"] for s in case["samples"]}) for case in results["cases"]] or [settings["pairs"]]
    pairs = str(counts[0]) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    plural = "" if pairs == "1" else "es"
    both = (
        "Where a cell holds two numbers, they are jaxwave's and Deepwave's. "
        if "deepwave" in results["versions"]
        else ""
    )
    return (
        f"Measured on {results['date']} with {used}; {_processor(results)}{size}, {machine['system']}{load}. "
        f"Medians of {pairs} process{plural} of {settings['repeats']} timed runs each, in alternation; float32. "
        "Mcell/s counts every cell of the grid, absorbing layers included, for every shot and time step; the ratio is "
        "of times within a pair, above 1 where jaxwave is faster (range over the pairs in brackets). Peak RSS is the "
        f"process's, with the libraries themselves; compile is what a first call takes beyond a later one. {both}"
    ).rstrip()


def _speed_table(results: Results, task: str) -> str:
    cases = [(case["label"], case["summary"][task]) for case in results["cases"]]
    names = [name for name in TITLES if name in cases[0][1]]

    def each(summary: dict[str, Any], key: str, unit: int, style: str) -> str:
        values = [format(summary[n][key] / unit, style) if key in summary[n] else "" for n in names]
        return " / ".join(values) if any(values) else ""

    columns = {
        "time, s": lambda x: each(x, "median_s", 1, ".3f"),
        "ratio": lambda x: _range(x["speedup"]) if "speedup" in x else "",
        "Mcell/s": lambda x: each(x, "mcells_per_s", 1, ".0f"),
        "peak RSS, MiB": lambda x: each(x, "peak_rss_bytes", MIB, ".0f"),
        "device peak, MiB": lambda x: each(x, "device_peak_bytes", MIB, ".0f"),
        "compile, s": lambda x: each(x, "compile_s", 1, ".1f"),
    }
    filled = {title: [make(summary) for _, summary in cases] for title, make in columns.items()}
    filled = {title: column for title, column in filled.items() if any(column)}
    return table(["case", *filled], [list(row) for row in zip((x for x, _ in cases), *filled.values(), strict=True)])


def _agreement_table(results: Results) -> str:
    keys = ("record", "record_inside", "gradient", "gradient_inside")
    header = ["case", "records", "records inside", "gradients", "gradients inside", "margin, cells"]
    compared = [case for case in results["cases"] if case["agreement"]]
    rows = [
        [case["label"], *(f"{case['agreement'][k]:.1e}" for k in keys), str(case["agreement"]["margin_cells"])]
        for case in compared
    ]
    return table(header, rows)


def _storage_section(section: dict[str, Any]) -> str:
    header = ["library", "storage", "compression", "time, s", "time ratio", "stored, MiB", "peak RSS, MiB",
              "memory ratio", "gradient error"]  # fmt: skip
    rows = [
        [
            TITLES[r["library"]], r["storage"], r["compression"], f"{r['median_s']:.3f}", _range(r["time_ratio"]),
            f"{r['stored_bytes'] / MIB:.0f}", f"{r['peak_rss_bytes'] / MIB:.0f}", _range(r["rss_ratio"]),
            f"{r['gradient_error']:.1e}",
        ]
        for r in section["rows"]
    ]  # fmt: skip
    return f"### {section['label']}\n\n{table(header, rows)}"


def _pml_table(results: Results) -> str:
    header = ["case", "cells in layers", "with layers, s", "without, s", "ratio"]
    rows = [
        [
            p["label"],
            f"{p['fraction_in_layers']:.0%}",
            f"{p['with_s']:.3f}",
            f"{p['without_s']:.3f}",
            _range(p["ratio"]),
        ]
        for p in results["pml"]
    ]
    return table(header, rows)


def _scaling_section(section: dict[str, Any]) -> str:
    header = ["problem", "forward, ms per step", "gradient, ms per step", "device memory / stored"]
    rows = [
        [
            p["label"], *(f"{1e3 * p[f'{task}_s_per_step']:.3f}" for task in TASKS),
            f"{p['temp_bytes'] / p['stored_bytes']:.3f}",
        ]
        for p in section["points"]
    ]  # fmt: skip
    deviation = ", ".join(f"{task} {section['deviation'][task]:+.0%}" for task in TASKS)
    return f"### With {section['by']}\n\n{table(header, rows)}\n\nDeviation: {deviation}."


def _checks_table(results: Results) -> str:
    header = ["case", "precision", "storage", "compression", "against", "difference", "bound", "passed"]
    rows = [
        [
            x["case"], x["dtype"], x["storage"], x["compression"], x["against"], f"{x['difference']:.1e}",
            f"{x['bound']:.0e}", "yes" if x["passed"] else "NO",
        ]
        for x in results["checks"]
    ]  # fmt: skip
    return table(header, rows)


def _profile_table(results: Results) -> str:
    header = ["case", "task", "ms per step", "bandwidth", "kernels, compiled", "kernels, profiler", "streamed"]
    rows = []
    for part in results["profile"]:
        for task in TASKS:
            x = part[task]
            compiled = ", ".join(f"{loop['kernels_per_step']:.1f}" for loop in x["loops"])
            traced = f"{x['traced']['kernels_per_step']:.1f}" if x["traced"] else ""
            streamed = _range(part["streamed"]) if task == "gradient" else ""
            speed = [f"{1e3 * x['s_per_step']:.3f}", f"{x['fraction_of_copy_bandwidth']:.0%}"]
            rows.append([part["label"], task, *speed, compiled, traced, streamed])
    return table(header, rows)


def _range(x: dict[str, float]) -> str:
    return f"{x['median']:.2f} ({x['least']:.2f} to {x['most']:.2f})"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; numbers stand in all columns but the first."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
