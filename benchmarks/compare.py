"""Measures jaxwave beside Deepwave and writes the result as JSON and Markdown. See README.md beside this file."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import peer
import report
import runner

DOCS = Path(__file__).parents[1] / "docs" / "performance_table.md"
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Runs what the command line asks for; 1 if something failed or the libraries disagree."""
    arguments = _parser().parse_args()
    libraries = [runner.Library("jaxwave", Path(sys.executable), arguments.jax_platform)]
    if not arguments.no_peer:
        try:
            libraries.append(runner.Library("deepwave", peer.ensure(arguments.peer_python)))
        except peer.PeerError as error:
            print(error, file=sys.stderr)
            return 1
    results = _empty(arguments)
    _warn_if_busy(results["machine"])
    for kind, name, measure in _work(arguments, libraries):
        print(f"{kind}: {name}", file=sys.stderr)
        try:
            results[kind].append(measure())
        except runner.WorkerError as error:
            print(error, file=sys.stderr)
            results["failures"].append({"case": name, "error": _brief(error)})
        _note_versions(results)
        _write(results, arguments)  # after every case, so that an interruption loses one at the most
    print(report.markdown(results))
    disagreeing = [c["case"] for c in results["cases"] if c["agreement"] and not c["agreement"]["agrees"]]
    if disagreeing:
        print(f"the libraries differ by more than {runner.LIMIT:.0%} on {', '.join(disagreeing)}", file=sys.stderr)
    return 1 if disagreeing or results["failures"] else 0


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument(
        "--cases",
        nargs="*",
        choices=cases.CASES,
        default=cases.STANDARD,
        metavar="CASE",
        help=f"cases to compare (default: {' '.join(cases.STANDARD)}; all: {' '.join(cases.CASES)})",
    )
    p.add_argument("--pairs", type=int, default=5, help="processes per library, case and task (default 5)")
    p.add_argument("--repeats", type=int, default=3, help="timed runs in each process (default 3)")
    p.add_argument("--storage-table", action="store_true", help="also measure every storage mode and codec")
    p.add_argument(
        "--storage-cases",
        nargs="*",
        choices=cases.CASES,
        default=cases.STORAGE,
        metavar="CASE",
        help=f"cases of that table (default: {' '.join(cases.STORAGE)})",
    )
    p.add_argument("--storage-rounds", type=int, default=3, help="processes per storage policy (default 3)")
    p.add_argument("--storage-path", type=Path, help="directory for disk storage (default: the temporary one)")
    p.add_argument("--jax-platform", default="cpu", help="JAX_PLATFORMS of jaxwave's process (default cpu)")
    p.add_argument("--peer-python", type=Path, help="a Python that has Deepwave, in place of one made here")
    p.add_argument("--no-peer", action="store_true", help="measure jaxwave alone")
    p.add_argument(
        "--out",
        type=Path,
        default=RESULTS / f"{datetime.date.today()}.json",
        help="JSON to write, with the Markdown beside it (default: results/DATE.json)",
    )
    p.add_argument("--write-docs", action="store_true", help=f"also write the Markdown to docs/{DOCS.name}")
    return p


def _work(
    arguments: argparse.Namespace, libraries: list[runner.Library]
) -> list[tuple[str, str, Callable[[], dict[str, Any]]]]:
    """What is to be measured: which list of the results it belongs to, the case, and a call that measures it."""
    a = arguments
    work = [("cases", x, lambda x=x: runner.compare_case(libraries, x, a.pairs, a.repeats)) for x in a.cases]
    if a.storage_table:
        work += [
            (
                "storage",
                x,
                lambda x=x: runner.compare_storage(libraries, x, a.storage_rounds, a.repeats, a.storage_path),
            )
            for x in a.storage_cases
        ]
    return work


def _empty(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "date": str(datetime.date.today()),
        "machine": runner.machine(),
        "versions": {},
        "settings": {
            **{key: getattr(arguments, key) for key in ("pairs", "repeats", "storage_rounds", "jax_platform")},
            "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        },
        "cases": [],
        "storage": [],
        "failures": [],
    }


def _brief(error: Exception) -> str:
    """What failed, and the last line of why: results hold no paths of the machine that they come from."""
    lines = str(error).splitlines()
    return f"{lines[0]} {lines[-1]}"


def _warn_if_busy(machine: dict[str, Any]) -> None:
    if (machine["load_average"] or 0) > machine["cores"] / 2:
        print(
            f"the load average is {machine['load_average']:.1f} on {machine['cores']} cores: the peer's threads wait "
            "for each other in spinning barriers, which other processes on their cores make many times slower. "
            "Wait until the machine is quiet before believing any ratio",
            file=sys.stderr,
        )


def _note_versions(results: dict[str, Any]) -> None:
    keys = ("version", "backend", "python", "threads", "device")
    for part in (*results["cases"], *results["storage"]):
        for sample in part["samples"]:
            results["versions"].setdefault(sample["library"], {key: sample[key] for key in keys})


def _write(results: dict[str, Any], arguments: argparse.Namespace) -> None:
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    text = report.markdown(results)
    arguments.out.with_suffix(".md").write_text(f"# Benchmark results\n\n{text}")
    if arguments.write_docs:
        DOCS.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
