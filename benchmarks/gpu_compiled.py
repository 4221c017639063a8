"""What the time loops launch, move and copy on GPUs that are not there: their programs are compiled and looked at.

    python benchmarks/gpu_compiled.py --targets h100 t4

needs no GPU, but the extra "gpu-tests" (see CONTRIBUTING.md). Programs of JAX's version, to be run nowhere; what is
counted is said in README.md beside this file. The results go to a JSON, in which programs that are not compiled again
stay as they were, and are printed as tables.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cases import COMPILED
from gpu_targets import TARGETS, environment, missing
from worker_gpu_compiled import PROGRAMS

Row = dict[str, Any]
"""What there is to know of a program on a target."""

WORKER = Path(__file__).with_name("worker_gpu_compiled.py")
OUT = Path(__file__).with_name("results") / "gpu-compiled.json"


def main() -> None:
    """Compiles what the command line asks for, and writes."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cases", nargs="+", choices=COMPILED, default=list(COMPILED), metavar="CASE")
    p.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS), metavar="PROGRAM")
    p.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS), metavar="TARGET")
    p.add_argument("--out", type=Path, default=OUT, help="JSON to write")
    arguments = p.parse_args()
    if missing():
        raise SystemExit(f"{missing()}; CONTRIBUTING.md says what to install")
    wanted = [(c, q, t) for t in arguments.targets for c in arguments.cases for q in arguments.programs]
    rows = {key(row): row for row in json.loads(arguments.out.read_text())} if arguments.out.is_file() else {}
    for row in compile_all(wanted):
        rows[key(row)] = row
        print("; ".join(key(row)), file=sys.stderr)
        arguments.out.write_text(json.dumps(in_order(rows.values()), indent=1) + "\n")
    print(markdown([rows[names] for names in wanted]))


def key(row: Row) -> tuple[str, str, str]:
    """The names of a row's case, program and target."""
    return row["case"], row["program"], row["target"]


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Sorted as cases, programs and targets are listed."""
    order = [list(names) for names in (COMPILED, PROGRAMS, TARGETS)]
    return sorted(rows, key=lambda row: [names.index(x) for names, x in zip(order, key(row), strict=True)])


def compile_all(wanted: Sequence[tuple[str, str, str]]) -> Iterator[Row]:
    """Compiles programs, (case, program, target) each, in one process; rows come as they are ready."""
    command = [sys.executable, str(WORKER), *map("; ".join, wanted)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        raise SystemExit(f"{WORKER.name} ended with status {process.returncode}")


# ---- tables ----

COLUMNS = (
    "case", "program", "loop", "kernels", "single numbers", "wavefields", "least", "over least", "copies",
    "smaller copies", "again", "at least, µs", "program, MB",
)  # fmt: skip


def markdown(rows: Iterable[Row]) -> str:
    """A table for each target."""
    rows = in_order(rows)
    parts = []
    for name, target in TARGETS.items():
        of_target = [row for row in rows if row["target"] == name and "loops" in row]
        if of_target:
            parts.append(f"**{target.label}**, {target.bandwidth / 1e9:.0f} GB/s\n\n{_table(of_target)}")
    return "\n\n".join([*parts, *_notes(rows)]) + "\n"


def _table(rows: Iterable[Row]) -> str:
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|---|---|" + "---:|" * (len(COLUMNS) - 3)]
    for row in rows:
        for loop in row["loops"]:
            lines.append(f"| {' | '.join(_cells(row, loop))} |")
    return "\n".join(lines)


def _cells(row: Row, loop: dict[str, Any]) -> list[str]:
    """A loop as a line of the table."""
    moved, least = loop["bytes_read"] + loop["bytes_written"], loop["least_bytes"]
    others = loop["copies"] - loop["wavefield_copies"]
    return [
        row["label"], row["program"], loop["role"], f"{loop['kernels']:.3g}", f"{loop['scalar_kernels']:.3g}",
        f"{loop['wavefields']:.1f}", f"{least / row['wavefield_bytes']:.1f}" if least else "",
        f"{moved / least:.2f}" if least else "", f"{loop['wavefield_copies']:.3g}", f"{others:.3g}",
        f"{loop['remat_kernels']:.3g}", f"{loop['seconds'] * 1e6:.0f}", f"{row['device_bytes'] / 1e6:.0f}"
        + (f" + {row['host_bytes'] / 1e6:.0f} of the host" if row["host_bytes"] else ""),
    ]  # fmt: skip


def _notes(rows: Iterable[Row]) -> Iterator[str]:
    """What is moved to and from the host."""
    moved = [
        f"- {row['label']}, {row['program']}, {row['target']}, {loop['role']}: {_transfer(loop, transfer)}"
        for row in rows
        for loop in row["loops"]
        for transfer in loop["transfers"]
        if transfer["with_host"]
    ]
    if moved:
        yield "To and from the host, in an iteration:\n\n" + "\n".join(moved)


def _transfer(loop: dict[str, Any], transfer: dict[str, Any]) -> str:
    """How much it moves, and whether the kernels of an iteration run meanwhile."""
    kernels = round(loop["kernels"] * loop["steps_per_iteration"])
    first = "before the first kernel" if transfer["starts_first"] else "after the first kernel"
    last = "after the last" if transfer["ends_last"] else "before the last"
    meanwhile = f"{transfer['during']} of {kernels} kernels meanwhile"
    return f"{transfer['bytes'] / 1e6:.1f} MB, started {first}, waited for {last} ({meanwhile})"


if __name__ == "__main__":
    main()
