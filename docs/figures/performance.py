"""Draws the figures of docs/performance.md from a benchmark's JSON and writes its tables; needs matplotlib.

    python docs/figures/performance.py benchmarks/results/DATE.json

Writes docs/images/performance_*.png and docs/performance_table.md, prints the short table, and puts that between the
markers `<!-- benchmark:start -->` and `<!-- benchmark:end -->` of README.md where there are any.
"""

import argparse
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import report  # noqa: E402 (found by the line above)

Results = dict[str, Any]
TASKS = {"forward": ("forward", "#3b6fb6"), "gradient": ("forward and gradient", "#e08a2e")}
MODES = {"device": ("on the device", "#333333"), "cpu": ("in host RAM", "#3b6fb6"), "disk": ("on disk", "#c0504d")}
CODECS = {"none": "o", "f16": "D", "bf16": "^", "int8": "s"}
MARKERS = re.compile(r"(<!-- benchmark:start -->\n).*?(<!-- benchmark:end -->)", re.DOTALL)


def main() -> None:
    """Writes the pictures, the tables and the README's part."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("results", type=Path, help="JSON written by benchmarks/compare.py")
    p.add_argument(
        "--root", type=Path, default=ROOT, help="directory that holds README.md and docs (default: this one)"
    )
    arguments = p.parse_args()
    results, docs = json.loads(arguments.results.read_text()), arguments.root / "docs"
    (docs / "images").mkdir(parents=True, exist_ok=True)
    compared = any("speedup" in case["summary"]["forward"] for case in results["cases"])
    figures = {"ratios": (ratios, compared), "scaling": (scaling, results["scaling"]),
               "storage": (storage, results["storage"])}  # fmt: skip
    for name, (draw, measured) in figures.items():
        if measured:
            path = docs / "images" / f"performance_{name}.png"
            draw(results).savefig(path, dpi=100)  # 800 pixels wide
            print(f"{path.name}: {path.stat().st_size // 1000} kB", file=sys.stderr)
    (docs / "performance_table.md").write_text(report.markdown(results))
    short = report.short(results)
    print(short)
    readme = arguments.root / "README.md"
    if readme.is_file():
        text = readme.read_text(encoding="utf-8")
        readme.write_text(MARKERS.sub(lambda found: f"{found[1]}{short}\n{found[2]}", text), encoding="utf-8")


def ratios(results: Results) -> Figure:
    """Bars: the peer's time over jaxwave's for each case and task, with the range over the pairs."""
    cases = [case for case in results["cases"] if "speedup" in case["summary"]["forward"]]
    figure = Figure(figsize=(8, 1.3 + 0.44 * len(cases)), layout="constrained")
    ax = figure.subplots()
    for k, (task, (label, colour)) in enumerate(TASKS.items()):
        found = [case["summary"][task]["speedup"] for case in cases]
        middle = np.array([x["median"] for x in found])
        errors = [middle - [x["least"] for x in found], [x["most"] for x in found] - middle]
        places = np.arange(len(cases)) + 0.38 * k - 0.19
        ax.barh(places, middle, 0.36, xerr=errors, color=colour, label=label, error_kw={"elinewidth": 1, "alpha": 0.6})
        for place, x in zip(places, found, strict=True):
            ax.annotate(
                f"{x['median']:.2f}", (x["most"], place), (5, 0), textcoords="offset points", va="center", fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
            )  # fmt: skip
    ax.axvline(1, color="black", linewidth=1, linestyle="--")
    ax.set_yticks(range(len(cases)), [_short_label(case["label"]) for case in cases], fontsize=9)
    ax.invert_yaxis()
    ax.margins(x=0.1, y=0.01)
    peer, ours = (results["versions"][name]["version"] for name in ("deepwave", "jaxwave"))
    ax.set_xlabel(f"time of Deepwave {peer} / time of jaxwave {ours}")
    _legend_above(figure, ax)
    return figure


def _short_label(label: str) -> str:
    """A case without its number of time steps, which its ratio does not depend on."""
    return re.sub(r", \d+ steps", "", label)


def _legend_above(figure: Figure, ax: Axes) -> None:
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)


def scaling(results: Results) -> Figure:
    """Time against cells, shots and steps, beside what would be proportional to the largest problem's."""
    sections = results["scaling"]
    figure = Figure(figsize=(8, 3.3), layout="constrained")
    for ax, section in zip(np.ravel(figure.subplots(1, len(sections))), sections, strict=True):
        n = np.array([point["n"] for point in section["points"]])
        for task, (label, colour) in TASKS.items():
            seconds = np.array([point[f"{task}_s"] for point in section["points"]])
            ax.loglog(n, seconds, "o-", color=colour, label=label, markersize=5)
            ax.loglog(n, seconds[-1] * n / n[-1], "--", color="0.5", linewidth=1, zorder=0,
                      label="proportional" if task == "gradient" else None)  # fmt: skip
        noun = "time steps" if section["by"] == "steps" else section["by"]
        ax.set_xlabel(f"number of {noun}")
        deviation = ", ".join(f"{task} {section['deviation'][task]:+.0%}" for task in TASKS)
        ax.set_title(f"deviation from proportional:\n{deviation}", fontsize=9)
        labels = [f"{math.sqrt(x):.0f}²" if section["by"] == "cells" else f"{x}" for x in n]
        ax.set_xticks(n, labels, fontsize=9)
        ax.minorticks_off()
        ax.grid(alpha=0.3)
    figure.axes[0].set_ylabel("time (s)")
    _legend_above(figure, figure.axes[0])
    return figure


def storage(results: Results) -> Figure:
    """Time of a gradient against the bytes that it stores; a colour for each mode and a marker for each codec."""
    sections = results["storage"]
    figure = Figure(figsize=(8, 4), layout="constrained")
    for ax, section in zip(np.ravel(figure.subplots(1, len(sections), sharey=True)), sections, strict=True):
        rows = [row for row in section["rows"] if row["library"] == "jaxwave"]
        for mode, (_, colour) in MODES.items():
            chosen = sorted((r for r in rows if r["storage"] == mode), key=lambda r: r["stored_bytes"])
            x, y = [r["stored_bytes"] / 2**20 for r in chosen], [r["time_ratio"]["median"] for r in chosen]
            ax.plot(x, y, color=colour, linewidth=1, alpha=0.5)
            for r, a, b in zip(chosen, x, y, strict=True):
                ax.plot(a, b, CODECS[r["compression"]], color=colour, markersize=6)
        ax.axhline(1, color="black", linewidth=0.8, linestyle="--")
        ax.margins(0.08)
        ax.set(xlim=(0, None), xlabel="stored (MiB)")
        ax.set_title(_short_label(section["label"]), fontsize=9)
        ax.grid(alpha=0.3)
    figure.axes[0].set_ylim(0, None)  # of all: they share it, so not before everything is drawn
    figure.axes[0].set_ylabel("time / that of device memory, no codec")
    modes = [Line2D([], [], color=colour, marker="o", label=label) for label, colour in MODES.values()]
    codecs = [Line2D([], [], color="0.4", marker=m, linestyle="", label="no codec" if c == "none" else c)
              for c, m in CODECS.items()]  # fmt: skip
    figure.legend(handles=modes + codecs, loc="outside upper center", ncols=7, frameon=False, fontsize=8.5,
                  columnspacing=1.2, handletextpad=0.4)  # fmt: skip
    return figure


if __name__ == "__main__":
    main()
