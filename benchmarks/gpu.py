"""Everything to be known of jaxwave on a GPU, within a few minutes: right gradients, speed, and a look into the loops.

See README.md beside this file. Runs offline; what no longer fits into the time is left out and named.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import compare
import report
import runner
import tables
from cases import CASES, COMPARED, STANDARD

PROFILED = ("3d-256", "2d-1000x1")
PEER = "import deepwave, torch; assert torch.cuda.is_available() or {platform!r} == 'cpu'"
SHARE_OF_CHECKS = 0.5  # of the time: more than they need, less than everything if one hangs
SHARE_OF_PROFILE = 0.25  # kept back from the first round of the comparison
MARGIN = 5.0  # s, to write the results


class Budget:
    """The time that is left."""

    def __init__(self, minutes: float) -> None:
        self.total = 60 * minutes
        self._end = time.monotonic() + self.total

    def left(self) -> float:
        """Seconds that are left."""
        return self._end - time.monotonic() - MARGIN


def main() -> int:
    """Runs what the command line asks for; 1 if something failed, disagreed or was wrong."""
    arguments = _parser().parse_args()
    budget = Budget(arguments.minutes)
    libraries = _libraries(arguments)
    settings = {"pairs": 1 if arguments.small else 5, "repeats": 5, "minutes": arguments.minutes,
                "platform": arguments.platform, "peer": len(libraries) == 2}  # fmt: skip
    results = {**compare.empty_results(settings), "checks": [], "profile": [], "skipped": []}
    names = ("small-2d",) if arguments.small else arguments.cases

    small = ["--small"] if arguments.small else []
    limit = SHARE_OF_CHECKS * budget.total
    # The last check to begin gets a third of the time.
    facts = _script(results, limit, libraries[0], "gpu_checks.py", "--seconds", f"{limit * 2 / 3:.0f}", *small)
    results["checks"] = facts.get("checks", [])
    for name in facts.get("left_out", []):
        _skip(results, name, "no time left for this check")
    out = arguments.out or compare.OUT / f"{_slug(facts.get('device', arguments.platform))}.json"
    names = _that_fit(results, names, facts.get("device_memory_bytes"))
    with tempfile.TemporaryDirectory() as folder:
        comparison = Comparison(libraries, results, budget, Path(folder))
        for number in range(settings["pairs"]):
            comparison.round(names, number, reserve=0 if number else SHARE_OF_PROFILE * budget.total)
            compare.write_results(results, out)  # after every round, in case of an interruption
            if number == 0:
                _profile(results, budget, libraries[0], arguments.small)
    compare.write_results(results, out)
    print(report.markdown(results))
    agreed = all(case["agreement"]["agrees"] for case in results["cases"] if case["agreement"])
    return 0 if agreed and not results["failures"] and all(x["passed"] for x in results["checks"]) else 1


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--minutes", type=float, default=8.0, help="time that it may take (default 8)")
    p.add_argument("--platform", choices=("cuda", "cpu"), default="cuda", help="where to run (default cuda)")
    p.add_argument(
        "--cases", nargs="+", choices=COMPARED, metavar="CASE", help="problems, in the order of their importance",
        default=sorted(STANDARD["cuda"], key=lambda x: CASES[x].accuracy),
    )  # fmt: skip
    p.add_argument("--small", action="store_true", help="tiny cases, only to try the script out")
    p.add_argument("--peer-python", type=Path, help="a Python that has Deepwave (default: this one, if it has)")
    p.add_argument("--out", type=Path, help="JSON to write, with the Markdown beside it (default: results/DEVICE.json)")
    return p


def _libraries(arguments: argparse.Namespace) -> list[runner.Library]:
    """jaxwave, and the peer if there is a Python that can run it on this platform."""
    libraries = [runner.Library("jaxwave", Path(sys.executable), arguments.platform)]
    python = arguments.peer_python or Path(sys.executable)
    command = [str(python), "-c", PEER.format(platform=arguments.platform)]
    if subprocess.run(command, capture_output=True).returncode == 0:
        libraries.append(runner.Library("deepwave", python, arguments.platform))
    else:
        print("no Python with Deepwave for this platform: jaxwave is measured alone", file=sys.stderr)
    return libraries


def _profile(results: dict[str, Any], budget: Budget, library: runner.Library, small: bool) -> None:
    """Looks into the loops of the profiled cases that fit."""
    left_out = {x["what"] for x in results["skipped"]}
    for name in ("small-2d",) if small else PROFILED:
        if name not in left_out:
            size = ["--copy-mib", "16"] if small else []
            found = _script(results, budget.left(), library, "gpu_loop.py", name, *size)
            results["profile"] += [found] if found else []


def _script(results: dict[str, Any], limit: float, library: runner.Library, *command: str) -> dict[str, Any]:
    """What a script of this directory prints; nothing, and a note, if it fails or takes longer than ``limit`` (s)."""
    print(" ".join(command), file=sys.stderr)
    what = " ".join(x for x in command[:2] if not x.startswith("-"))
    if limit <= MARGIN:
        _skip(results, what, "no time left")
        return {}
    try:
        return runner.run_json([str(library.python), *command], what, library.environment(), limit)
    except runner.WorkerError as error:
        print(error, file=sys.stderr)
        results["failures"].append({"case": what, "error": error.brief})
        return {}


def _skip(results: dict[str, Any], what: str, why: str) -> None:
    print(f"left out: {what}: {why}", file=sys.stderr)
    results["skipped"].append({"what": what, "why": why})


def _that_fit(results: dict[str, Any], names: Sequence[str], memory: int | None) -> list[str]:
    """The cases whose gradient fits into the device's memory (bytes; None: unknown)."""
    fitting = []
    for name in names:
        case = CASES[name]
        # The stored steps, and a dozen arrays of the loops; rows are rounded up, hence 5 %.
        needed = 1.05 * 4 * case.cells * case.n_shots * (case.nt + 12)
        if memory is None or needed < memory:
            fitting.append(name)
        else:
            _skip(results, name, f"needs {needed / 2**30:.0f} GiB of the device's {memory / 2**30:.0f}")
    return fitting


def _slug(device: str) -> str:
    """The device's name as that of a file."""
    return re.sub(r"[^a-z0-9]+", "-", device.split(": ", 1)[-1].lower()).strip("-")


class Comparison:
    """Rounds over the cases; each is a pair of processes, and no case waits for another one's repetitions."""

    def __init__(
        self, libraries: Sequence[runner.Library], results: dict[str, Any], budget: Budget, folder: Path
    ) -> None:
        self.libraries, self.results, self.budget, self.folder = libraries, results, budget, folder
        self.samples: dict[str, list[runner.Sample]] = {}
        self.left_out: set[str] = set()
        self.durations: dict[str, float] = {}  # s

    def round(self, names: Sequence[str], number: int, reserve: float = 0.0) -> None:
        """One pair of each case, as far as ``reserve`` seconds stay untouched."""
        for name in names:
            left = self.budget.left() - reserve
            expected = self.durations.get(name, max(self.durations.values(), default=0.0))
            if left <= expected:
                if name not in self.left_out:
                    why = f"{expected:.0f} s expected, {max(left, 0):.0f} left"
                    _skip(self.results, f"{name}, from pair {number + 1} on", why)
                self.left_out.add(name)
                continue
            start = time.monotonic()
            try:
                pair = tables.run_pair(
                    self.libraries, name, number, self.results["settings"]["repeats"], self.folder, timeout=left
                )
            except runner.WorkerError as error:
                print(error, file=sys.stderr)
                self.results["failures"].append({"case": name, "error": error.brief})
                continue
            self.samples.setdefault(name, []).extend(pair)
            self.durations[name] = time.monotonic() - start
        self.results["cases"] = [
            tables.summarise_case(self.libraries, name, self.samples[name], self.folder)
            for name in names
            if name in self.samples
        ]


if __name__ == "__main__":
    sys.exit(main())
