"""Runs the workers, each in a process of its own, and gathers what they print."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cases import CASES
from measure import TASKS, cpu_count, load_average

HERE = Path(__file__).parent
LIMIT = 0.03  # the two layers are discretised differently, and a little of each comes back from them
MARGIN = 20  # cells from the model's faces to the "inside"

Sample = dict[str, Any]


class WorkerError(RuntimeError):
    """A worker's process failed."""


@dataclasses.dataclass(frozen=True)
class Library:
    """A library and the Python that runs its worker.

    Attributes:
        name: "jaxwave" or "deepwave".
        python: The interpreter.
        platform: ``JAX_PLATFORMS`` of its process.
    """

    name: str
    python: Path
    platform: str = "cpu"

    def environment(self) -> dict[str, str]:
        """jaxwave comes from this checkout; the peer from its own environment."""
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        if self.name == "jaxwave":
            env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
            env["JAX_PLATFORMS"] = self.platform
        return env

    def run(self, case: str, task: str, *options: str | Path | int) -> Sample:
        """One process of the worker; its line of JSON.

        Raises:
            WorkerError: If the process fails.
        """
        command = [str(self.python), str(HERE / f"worker_{self.name}.py"), case, task, *map(str, options)]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment())
        if done.returncode:
            raise WorkerError(
                f"{self.name} failed on {case} ({task}) with exit status {done.returncode}:\n{done.stderr[-2000:]}"
            )
        sample = json.loads(done.stdout.splitlines()[-1])
        policy = f"{sample['storage']}, {sample['compression']}"
        print(f"  {self.name:9}{task:9}{policy:13}{sample['median_s']:9.4f} s", file=sys.stderr)
        return sample


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    pages = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    known = hasattr(os, "sysconf") and all(name in os.sysconf_names for name in pages)
    return {
        "cpu": _cpu_model(),
        "cores": cpu_count(),
        "memory_bytes": os.sysconf(pages[0]) * os.sysconf(pages[1]) if known else None,
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": load_average(),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), platform.processor())


# ---- the comparison ----


def compare_case(libraries: Sequence[Library], name: str, pairs: int, repeats: int) -> dict[str, Any]:
    """Runs one case ``pairs`` times with every library, in alternation; samples, their summary, and the agreement."""
    samples = []
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(pairs):
            for task in TASKS:
                for library in libraries if pair % 2 == 0 else libraries[::-1]:
                    saved = Path(folder) / f"{library.name}_{task}.npz"
                    sample = library.run(name, task, "--repeats", repeats, "--save", saved)
                    samples.append({"pair": pair, **sample})
        agreement = _agreement(name, Path(folder)) if len(libraries) == 2 else None
    summary = {task: _summary(samples, task, [x.name for x in libraries]) for task in TASKS}
    return {"case": name, "label": CASES[name].label, "summary": summary, "agreement": agreement, "samples": samples}


def _summary(samples: list[Sample], task: str, libraries: Sequence[str]) -> dict[str, Any]:
    chosen = {x: [s for s in samples if (s["library"], s["task"]) == (x, task)] for x in libraries}
    summary: dict[str, Any] = {
        library: {key: statistics.median(s[key] for s in runs) for key in
                  ("median_s", "mcells_per_s", "compile_s", "peak_rss_bytes", "rss_before_bytes", "stored_bytes")}
        for library, runs in chosen.items()
    }  # fmt: skip
    if len(libraries) == 2:
        ours, peers = (chosen[x] for x in libraries)
        ratios = [b["median_s"] / a["median_s"] for a, b in zip(ours, peers, strict=True)]
        summary["speedup"] = {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
    return summary


def _agreement(name: str, folder: Path) -> dict[str, Any]:
    """Relative L2 differences of the peer's records and gradients from jaxwave's."""
    ours, peers = (np.load(folder / f"{library}_gradient.npz") for library in ("jaxwave", "deepwave"))
    margin = min(MARGIN, min(CASES[name].shape) // 4)
    inside = {"record": (slice(None), slice(margin, -margin)), "gradient": (slice(margin, -margin),) * CASES[name].ndim}
    found: dict[str, Any] = {"limit": LIMIT, "margin_cells": margin}
    for key, cut in inside.items():
        found[key] = relative_difference(ours[key], peers[key])
        found[f"{key}_inside"] = relative_difference(ours[key][cut], peers[key][cut])
    found["agrees"] = found["record"] < LIMIT and found["gradient"] < LIMIT
    return found


def relative_difference(reference: np.ndarray, other: np.ndarray) -> float:
    """||other - reference|| / ||reference||, in float64."""
    a, b = reference.astype(np.float64), other.astype(np.float64)
    return float(np.linalg.norm(b - a) / np.linalg.norm(a))


# ---- the storage table ----

_POLICIES = {
    "jaxwave": [(mode, codec) for mode in ("device", "cpu", "disk") for codec in ("none", "int8", "bf16", "f16")],
    "deepwave": [(mode, codec) for mode in ("device", "disk") for codec in ("none", "int8")],
}


def compare_storage(
    libraries: Sequence[Library], name: str, rounds: int, repeats: int, path: Path | None
) -> dict[str, Any]:
    """Runs the gradient of one case with every storage policy, ``rounds`` times over."""
    samples = []
    with tempfile.TemporaryDirectory(dir=path) as folder:
        for number in range(rounds):
            for library, mode, codec in _policies(libraries):
                saved = Path(folder) / f"{library.name}_{mode}_{codec}.npz"
                sample = library.run(
                    name, "gradient", "--repeats", repeats, "--save", saved,
                    "--storage", mode, "--compression", codec, "--storage-path", folder,
                )  # fmt: skip
                samples.append({"round": number, **sample})
        rows = [_storage_row(samples, Path(folder), *policy) for policy in _policies(libraries)]
    return {"case": name, "label": CASES[name].label, "rows": rows, "samples": samples}


def _policies(libraries: Sequence[Library]) -> Iterator[tuple[Library, str, str]]:
    for library in libraries:
        for mode, codec in _POLICIES[library.name]:
            yield library, mode, codec


def _storage_row(samples: list[Sample], folder: Path, library: Library, mode: str, codec: str) -> dict[str, Any]:
    def chosen(mode: str, codec: str) -> list[Sample]:
        wanted = (library.name, mode, codec)
        return [s for s in samples if (s["library"], s["storage"], s["compression"]) == wanted]

    def gradient(mode: str, codec: str) -> np.ndarray:
        return np.load(folder / f"{library.name}_{mode}_{codec}.npz")["gradient"]

    runs, base = chosen(mode, codec), chosen("device", "none")
    ratios = [a["median_s"] / b["median_s"] for a, b in zip(runs, base, strict=True)]
    return {
        "library": library.name,
        "storage": mode,
        "compression": codec,
        "median_s": statistics.median(s["median_s"] for s in runs),
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_most": max(ratios),
        "stored_bytes": runs[0]["stored_bytes"],
        "peak_rss_bytes": statistics.median(s["peak_rss_bytes"] for s in runs),
        "gradient_error": relative_difference(gradient("device", "none"), gradient(mode, codec)),
    }
