"""The Markdown tables of a comparison's results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Results = dict[str, Any]
TITLES = {"jaxwave": "jaxwave", "deepwave": "Deepwave"}


def markdown(results: Results) -> str:
    """All tables of ``results``, under second-level headings."""
    parts = ["## Speed and memory", _measured_on(results)]
    for task, title in (("forward", "Forward"), ("gradient", "Forward and gradient")):
        parts += [f"### {title}", _speed_table(results, task)]
    if any(case.get("agreement") for case in results["cases"]):
        parts += ["### Agreement", _AGREEMENT, _agreement_table(results)]
    if results["storage"]:
        parts += ["## Storage", _STORAGE, *(_storage_section(s) for s in results["storage"])]
    if results["failures"]:
        parts += ["## Failures", "\n".join(f"- {x['error']}" for x in results["failures"])]
    return "\n\n".join(parts) + "\n"


_AGREEMENT = (
    "Relative L2 difference between the two libraries' records and gradients: over all receivers or cells, and over "
    "those at least the margin away from the model's faces. The absorbing layers are discretised differently."
)
_STORAGE = (
    "Forward and gradient with the wavefields kept in different places. The ratio is of times, to the same library's "
    "`device` without compression in the same round (the range over the rounds in brackets); the error is the relative "
    "L2 difference of the gradient from that run's."
)


def _measured_on(results: Results) -> str:
    machine, versions = results["machine"], results["versions"]
    memory = machine["memory_bytes"]
    size = f", {memory / 2**30:.0f} GiB" if memory else ""
    used = "; ".join(f"{TITLES[name]} {x['version']} ({x['backend']}) on {x['device']}" for name, x in versions.items())
    threads = next(iter(versions.values()))["threads"] if versions else machine["cores"]
    settings = results["settings"]
    load = "" if machine["load_average"] is None else f", load average {machine['load_average']:.1f} at the start"
    return (
        f"Measured on {results['date']} with {used}; {machine['cpu']}, {threads} threads{size}, {machine['system']}"
        f"{load}. "
        f"Medians of {settings['pairs']} processes of {settings['repeats']} timed runs each, in alternation; float32. "
        "Mcell/s counts every cell of the grid, absorbing layers included, for every shot and time step; the ratio is "
        "of times within a pair (range over the pairs in brackets). Peak memory is the process's, with the libraries "
        "themselves."
    )


def _speed_table(results: Results, task: str) -> str:
    names = list(results["versions"])
    both = len(names) == 2
    header = ["case", *(f"{TITLES[n]} Mcell/s" for n in names)] + (["ratio"] if both else [])
    header += [f"{TITLES[n]} peak RSS, MiB" for n in names] + ["compile, s"]
    rows = []
    for case in results["cases"]:
        summary = case["summary"][task]
        row = [case["label"], *(f"{summary[n]['mcells_per_s']:.0f}" for n in names)]
        row += [_range(*summary["speedup"].values())] if both else []
        row += [f"{summary[n]['peak_rss_bytes'] / 2**20:.0f}" for n in names]
        rows.append([*row, f"{summary['jaxwave']['compile_s']:.1f}"])
    return table(header, rows)


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
    header = ["library", "storage", "compression", "time, s", "ratio", "stored, MiB", "peak RSS, MiB", "gradient error"]
    rows = [
        [
            TITLES[r["library"]], r["storage"], r["compression"], f"{r['median_s']:.3f}",
            _range(r["ratio"], r["ratio_least"], r["ratio_most"]), f"{r['stored_bytes'] / 2**20:.0f}",
            f"{r['peak_rss_bytes'] / 2**20:.0f}", f"{r['gradient_error']:.1e}",
        ]
        for r in section["rows"]
    ]  # fmt: skip
    return f"### {section['label']}\n\n{table(header, rows)}"


def _range(middle: float, least: float, most: float) -> str:
    return f"{middle:.2f} ({least:.2f} to {most:.2f})"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; numbers stand in all columns but the first."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
