"""What is measured: libraries against each other, storage policies, the cost of absorbing layers, scaling."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cases import CASES, SCALED_BY, SCALING
from measure import TASKS
from runner import Library, Sample

LIMIT = 0.03  # the two layers are discretised differently, and a little of each comes back from them
MARGIN = 20  # cells from the model's faces to the "inside"
SCALING_REPEATS = 7  # the smallest points take a few milliseconds

_MEDIANS = (
    "median_s", "mcells_per_s", "compile_s", "peak_rss_bytes", "rss_before_bytes", "device_peak_bytes", "stored_bytes",
)  # fmt: skip
_POLICIES = {
    "jaxwave": [(mode, codec) for mode in ("device", "cpu", "disk") for codec in ("none", "int8", "bf16", "f16")],
    "deepwave": [(mode, codec) for mode in ("device", "cpu", "disk") for codec in ("none", "int8")],
}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def relative_difference(reference: np.ndarray, other: np.ndarray) -> float:
    """||other - reference|| / ||reference||, in float64."""
    a, b = reference.astype(np.float64), other.astype(np.float64)
    return float(np.linalg.norm(b - a) / np.linalg.norm(a))


def _ratios(samples: Sequence[Sample], base: Sequence[Sample], key: str) -> dict[str, float]:
    return spread([a[key] / b[key] for a, b in zip(samples, base, strict=True)])


def _alternated(items: Sequence[Any], number: int) -> Sequence[Any]:
    """In order, and in the next round the other way round, so that no item gains from a machine that slows down."""
    return items if number % 2 == 0 else items[::-1]


# ---- the libraries against each other ----


def compare_case(libraries: Sequence[Library], name: str, pairs: int, repeats: int) -> dict[str, Any]:
    """Runs one case ``pairs`` times with every library, in alternation; samples, their summary, and the agreement."""
    with tempfile.TemporaryDirectory() as folder:
        samples = [s for pair in range(pairs) for s in run_pair(libraries, name, pair, repeats, Path(folder))]
        return summarise_case(libraries, name, samples, Path(folder))


def run_pair(
    libraries: Sequence[Library], name: str, pair: int, repeats: int, folder: Path, timeout: float | None = None
) -> list[Sample]:
    """Both tasks of a case with every library once; records and gradients are saved in ``folder``."""
    samples = []
    for task in TASKS:
        for library in _alternated(libraries, pair):
            saved = folder / f"{name}_{library.name}_{task}.npz"
            sample = library.run(name, task, "--repeats", repeats, "--save", saved, timeout=timeout)
            samples.append({"pair": pair, **sample})
    return samples


def summarise_case(libraries: Sequence[Library], name: str, samples: list[Sample], folder: Path) -> dict[str, Any]:
    """What the results say of a case: medians, ratios, and how far the libraries agree."""
    summary = {task: _summary(samples, task, [x.name for x in libraries]) for task in TASKS}
    agreement = _agreement(name, folder) if len(libraries) == 2 else None
    return {"case": name, "label": CASES[name].label, "summary": summary, "agreement": agreement, "samples": samples}


def _summary(samples: list[Sample], task: str, libraries: Sequence[str]) -> dict[str, Any]:
    chosen = {x: [s for s in samples if (s["library"], s["task"]) == (x, task)] for x in libraries}
    summary: dict[str, Any] = {
        library: {key: statistics.median(s[key] for s in runs) for key in _MEDIANS if runs[0][key] is not None}
        for library, runs in chosen.items()
    }
    if len(libraries) == 2:
        ours, peers = (chosen[x] for x in libraries)
        summary["speedup"] = _ratios(peers, ours, "median_s")
        summary["rss_ratio"] = _ratios(peers, ours, "peak_rss_bytes")
    return summary


def _agreement(name: str, folder: Path) -> dict[str, Any]:
    """Relative L2 differences of the peer's records and gradients from jaxwave's."""
    ours, peers = (np.load(folder / f"{name}_{library}_gradient.npz") for library in ("jaxwave", "deepwave"))
    margin = min(MARGIN, min(CASES[name].shape) // 4)
    inside = {"record": (slice(None), slice(margin, -margin)), "gradient": (slice(margin, -margin),) * CASES[name].ndim}
    found: dict[str, Any] = {"limit": LIMIT, "margin_cells": margin}
    for key, cut in inside.items():
        # The worst of the models' gradients.
        pairs = [(ours[x], peers[x]) for x in CASES[name].results if x.startswith(key)]
        found[key] = max(relative_difference(a, b) for a, b in pairs)
        found[f"{key}_inside"] = max(relative_difference(a[cut], b[cut]) for a, b in pairs)
    found["agrees"] = found["record"] < LIMIT and found["gradient"] < LIMIT
    return found


# ---- storage ----


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
            if (library.name, library.platform, mode) != ("deepwave", "cpu", "cpu"):  # there it is "device"
                yield library, mode, codec


def _storage_row(samples: list[Sample], folder: Path, library: Library, mode: str, codec: str) -> dict[str, Any]:
    def chosen(mode: str, codec: str) -> list[Sample]:
        wanted = (library.name, mode, codec)
        return [s for s in samples if (s["library"], s["storage"], s["compression"]) == wanted]

    def gradient(mode: str, codec: str) -> np.ndarray:
        return np.load(folder / f"{library.name}_{mode}_{codec}.npz")["gradient"]

    runs, base = chosen(mode, codec), chosen("device", "none")
    return {
        "library": library.name,
        "storage": mode,
        "compression": codec,
        **{key: statistics.median(s[key] for s in runs) for key in _MEDIANS if runs[0][key] is not None},
        "time_ratio": _ratios(runs, base, "median_s"),
        "rss_ratio": _ratios(runs, base, "peak_rss_bytes"),
        "gradient_error": relative_difference(gradient("device", "none"), gradient(mode, codec)),
    }


# ---- jaxwave alone ----


def compare_pml(library: Library, name: str, pairs: int, repeats: int) -> dict[str, Any]:
    """Forward runs of one case, and of a grid of the same size that has no layers, in alternation."""
    names = (name, f"{name}-no-pml")
    samples = [
        {"pair": pair, **library.run(x, "forward", "--repeats", repeats)}
        for pair in range(pairs)
        for x in _alternated(names, pair)
    ]
    layers, plain = ([s for s in samples if s["case"] == x] for x in names)
    return {
        "case": name,
        "label": CASES[name].label,
        "fraction_in_layers": CASES[name].in_layers,
        "with_s": statistics.median(s["median_s"] for s in layers),
        "without_s": statistics.median(s["median_s"] for s in plain),
        "ratio": _ratios(layers, plain, "median_s"),
        "samples": samples,
    }


def measure_scaling(library: Library, by: str, rounds: int) -> dict[str, Any]:
    """How time grows with the cells, the shots or the steps; a process for each point, task and round.

    Args:
        library: jaxwave.
        by: "cells", "shots" or "steps".
        rounds: How often every point is measured.
    """
    samples = [
        {"round": number, **library.run(case.name, task, "--repeats", SCALING_REPEATS)}
        for number in range(rounds)
        for case in _alternated(SCALING[by], number)
        for task in TASKS
    ]
    points = [_scaling_point(samples, by, case.name) for case in SCALING[by]]
    deviation = {}
    for task in TASKS:
        each = [point[f"{task}_s"] / point["n"] for point in points]
        deviation[task] = max(each) / each[-1] - 1
    return {"by": by, "points": points, "deviation": deviation, "samples": samples}


def _scaling_point(samples: list[Sample], by: str, name: str) -> dict[str, Any]:
    case, runs = CASES[name], {task: [s for s in samples if (s["case"], s["task"]) == (name, task)] for task in TASKS}
    point: dict[str, Any] = {"case": name, "label": case.label, "n": SCALED_BY[by](case)}
    for task in TASKS:
        point[f"{task}_s"] = statistics.median(s["median_s"] for s in runs[task])
        point[f"{task}_s_per_step"] = point[f"{task}_s"] / case.nt
    last = runs["gradient"][-1]
    return {**point, "temp_bytes": last["temp_bytes"], "stored_bytes": last["stored_bytes"]}
