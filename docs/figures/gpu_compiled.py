"""Writes docs/gpu_compiled_table.md from the JSON of benchmarks/gpu_compiled.py.

python docs/figures/gpu_compiled.py benchmarks/results/gpu-compiled.json
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from gpu_targets import TARGETS  # noqa: E402 (found by the line above)
from report import table  # noqa: E402

Row = dict[str, Any]
PLAIN = ("forward", "gradient")  # programs of the first table; the second has those that store otherwise


def main() -> None:
    """Writes the tables."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("results", type=Path, help="JSON written by benchmarks/gpu_compiled.py")
    p.add_argument("--out", type=Path, default=ROOT / "docs" / "gpu_compiled_table.md")
    arguments = p.parse_args()
    arguments.out.write_text(markdown(json.loads(arguments.results.read_text())), encoding="utf-8")


def markdown(rows: list[Row]) -> str:
    """The two tables, with what they are of."""
    versions = sorted({row["jax"] for row in rows})
    first = (
        f"JAX {', '.join(versions)}. Numbers of several GPUs in the order {', '.join(short(name) for name in TARGETS)}."
    )
    second = f"Other storage policies, {short(list(TARGETS)[-1])}:"
    return "\n\n".join([first, targets_table(rows), second, policies_table(rows)]) + "\n"


def short(target: str) -> str:
    """A target's name in the tables."""
    return target.upper()


def targets_table(rows: list[Row]) -> str:
    """Forward runs and gradients on every target."""
    header = ["case", "loop", "kernels", "wavefields", "least", "copies", "time at least (µs)"]
    lines = []
    for label, role, loops in loops_by_target(rows):
        wavefield = loops[0][0]["wavefield_bytes"]
        lines.append([
            label, role, joined(loops, lambda x: f"{x['kernels']:.3g}"),
            joined(loops, lambda x: f"{x['wavefields']:.1f}"), f"{loops[0][1]['least_bytes'] / wavefield:.1f}",
            joined(loops, copies), joined(loops, lambda x: f"{x['seconds'] * 1e6:.0f}"),
        ])  # fmt: skip
    return table(header, lines)


def loops_by_target(rows: list[Row]) -> Iterator[tuple[str, str, list[tuple[Row, Row]]]]:
    """Case, loop, and for each target what there is to know of the program and of the loop."""
    found: dict[tuple[str, str], list[tuple[Row, Row]]] = {}
    for target in TARGETS:
        for row in rows:
            if row["target"] == target and row["program"] in PLAIN:
                for loop in row["loops"]:
                    found.setdefault((label(row), loop["role"]), []).append((row, loop))
    for (case, role), loops in found.items():
        yield case, role, loops


def joined(loops: list[tuple[Row, Row]], say: Callable[[Row], str]) -> str:
    """What there is to say of the loop on each target; once if it is always the same."""
    said = [say(loop) for _, loop in loops]
    return said[0] if len(set(said)) == 1 else " / ".join(said)


def copies(loop: Row) -> str:
    """Copies of whole wavefields and, where there are any, of smaller arrays."""
    others = loop["copies"] - loop["wavefield_copies"]
    return f"{loop['wavefield_copies']:.3g}" + (f" + {others:.3g}" if others else "")


def policies_table(rows: list[Row]) -> str:
    """Gradients under other storage policies on the last target."""
    header = ["case", "storage", "loop", "kernels", "wavefields", "copies", "time at least (µs)", "device memory (MB)"]
    lines = [
        [
            label(row), row["program"].removeprefix("gradient, "), loop["role"], f"{loop['kernels']:.3g}",
            f"{loop['wavefields']:.1f}", copies(loop), f"{loop['seconds'] * 1e6:.0f}",
            f"{row['device_bytes'] / 1e6:.0f}",
        ]
        for row in rows
        if row["target"] == list(TARGETS)[-1] and row["program"] not in PLAIN
        for loop in row["loops"]
        if not loop["role"].startswith("segments")
    ]  # fmt: skip
    return table(header, lines)


def label(row: Row) -> str:
    """A case without what all have in common."""
    return re.sub(r", \d+ steps|, order 4", "", row["label"])


if __name__ == "__main__":
    main()
