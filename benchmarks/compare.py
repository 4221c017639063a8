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
import tables

TABLES = ("cases", "storage", "pml", "scaling")
OUT = Path(__file__).parent / "results"


def main() -> int:
    """Runs what the command line asks for; 1 if something failed or the libraries disagree."""
    arguments = _parser().parse_args()
    arguments.cases = cases.STANDARD[arguments.platform] if arguments.cases is None else arguments.cases
    libraries = [runner.Library("jaxwave", Path(sys.executable), arguments.platform)]
    if not arguments.no_peer:
        try:
            libraries.append(runner.Library("deepwave", peer.ensure(arguments.peer_python), arguments.platform))
        except peer.PeerError as error:
            print(error, file=sys.stderr)
            return 1
    settings = {key: getattr(arguments, key) for key in ("pairs", "repeats", "rounds", "platform")}
    results = empty_results({**settings, "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY")})
    _warn_if_busy(results["machine"])
    if arguments.resume and arguments.out.exists():
        results = continued(json.loads(arguments.out.read_text()), results)
    for table, name, measure in _work(arguments, libraries):
        if name in {part.get("case", part.get("by")) for part in results[table]}:
            continue
        print(f"{table}: {name}", file=sys.stderr)
        try:
            results[table].append(measure())
        except runner.WorkerError as error:
            print(error, file=sys.stderr)
            results["failures"].append({"case": name, "error": error.brief})
        write_results(results, arguments.out)  # after every case, so that an interruption loses one at the most
    print(report.markdown(results))
    disagreeing = [c["case"] for c in results["cases"] if c["agreement"] and not c["agreement"]["agrees"]]
    if disagreeing:
        print(f"the libraries differ by more than {tables.LIMIT:.0%} on {', '.join(disagreeing)}", file=sys.stderr)
    return 1 if disagreeing or results["failures"] else 0


def continued(earlier: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Results to go on with, without what failed in them.

    Raises:
        SystemExit: They were measured in another way or on another machine.
    """
    for what, keys in (("settings", now["settings"]), ("machine", ("cpu", "cores", "system"))):
        differing = [key for key in keys if earlier[what].get(key) != now[what][key]]
        if differing:
            raise SystemExit(f"cannot go on with these results: their {what} differ in {', '.join(differing)}")
    return {**earlier, "failures": []}


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--tables", nargs="*", choices=TABLES, default=TABLES, help="what to measure (default: everything)")

    def add_cases(option: str, default: tuple[str, ...] | None, of: str) -> None:
        shown = " ".join(default or cases.STANDARD["cpu"])
        p.add_argument(
            option,
            nargs="*",
            choices=cases.COMPARED,
            default=default,
            metavar="CASE",
            help=f"cases of {of} (default: {shown})",
        )

    add_cases("--cases", None, f"the comparison, out of {', '.join(cases.COMPARED)}")
    add_cases("--storage-cases", cases.STORAGE, "the storage table")
    add_cases("--pml-cases", cases.PML, "the table of the layers' cost")
    p.add_argument("--pairs", type=int, default=5, help="processes per library, case and task (default 5)")
    p.add_argument("--repeats", type=int, default=3, help="timed runs in each process (default 3)")
    p.add_argument("--rounds", type=int, default=3, help="processes per storage policy and scaling point (default 3)")
    p.add_argument("--storage-path", type=Path, help="directory for disk storage (default: the temporary one)")
    p.add_argument("--platform", choices=("cpu", "cuda"), default="cpu", help="where both run (default cpu)")
    p.add_argument("--peer-python", type=Path, help="a Python that has Deepwave, in place of one made here")
    p.add_argument("--no-peer", action="store_true", help="measure jaxwave alone")
    p.add_argument("--resume", action="store_true", help="add what is missing in the JSON to what is there")
    p.add_argument(
        "--out",
        type=Path,
        default=OUT / f"{datetime.date.today()}.json",
        help="JSON to write, with the Markdown beside it (default: results/DATE.json)",
    )
    return p


def _work(
    a: argparse.Namespace, libraries: list[runner.Library]
) -> list[tuple[str, str, Callable[[], dict[str, Any]]]]:
    """What is to be measured: which table it belongs to, the case, and a call that measures it."""
    measures = {
        "cases": (a.cases, lambda x: tables.compare_case(libraries, x, a.pairs, a.repeats)),
        "storage": (
            a.storage_cases,
            lambda x: tables.compare_storage(libraries, x, a.rounds, a.repeats, a.storage_path),
        ),
        "pml": (a.pml_cases, lambda x: tables.compare_pml(libraries[0], x, a.pairs, a.repeats)),
        "scaling": (tuple(cases.SCALING), lambda x: tables.measure_scaling(libraries[0], x, a.rounds)),
    }
    work = []
    for table in a.tables:
        names, measure = measures[table]
        work += [(table, name, lambda name=name, measure=measure: measure(name)) for name in names]
    return work


def empty_results(settings: dict[str, Any]) -> dict[str, Any]:
    """Results of which nothing has been measured yet."""
    tables = {table: [] for table in TABLES}
    machine = runner.machine()
    return {"date": str(datetime.date.today()), "machine": machine, "versions": {}, "settings": settings, **tables,
            "failures": []}  # fmt: skip


def write_results(results: dict[str, Any], out: Path) -> None:
    """Notes the versions that the samples name, and writes ``out`` and the Markdown beside it."""
    keys = ("version", "backend", "python", "threads", "device")
    for part in (x for table in TABLES for x in results[table]):
        for sample in part["samples"]:
            results["versions"].setdefault(sample["library"], {key: sample[key] for key in keys})
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=1) + "\n")
    out.with_suffix(".md").write_text(f"# Benchmark results\n\n{report.markdown(results)}")


def _warn_if_busy(machine: dict[str, Any]) -> None:
    if (machine["load_average"] or 0) > machine["cores"] / 2:
        print(
            f"the load average is {machine['load_average']:.1f} on {machine['cores']} cores: the peer's threads wait "
            "for each other in spinning barriers, which other processes on their cores make many times slower. "
            "Wait until the machine is quiet before believing any ratio",
            file=sys.stderr,
        )


if __name__ == "__main__":
    sys.exit(main())
