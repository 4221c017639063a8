"""What both workers share: their command line, the timing of a call, and the line of JSON that they print."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cases import CASES

TASKS = ("forward", "gradient")


def parser(description: str, modes: Sequence[str], codecs: Sequence[str]) -> argparse.ArgumentParser:
    """The command line of a worker."""
    p = argparse.ArgumentParser(description=description)
    p.add_argument("case", choices=CASES)
    p.add_argument("task", choices=TASKS, help="forward: records alone; gradient: records and their misfit's gradient")
    p.add_argument("--repeats", type=int, default=3, help="timed runs after the warm-up (default 3)")
    p.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    p.add_argument("--storage", choices=modes, default=modes[0], help="where the gradient's wavefields are kept")
    p.add_argument("--compression", choices=codecs, default="none", help="how they are compressed")
    p.add_argument("--storage-path", default=".", help="directory for --storage disk (default: the working directory)")
    p.add_argument("--save", type=Path, help=".npz for the record and the gradients of the last run")
    return p


def cpu_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_average() -> float | None:
    """Processes that wanted a core over the last minute, where the system counts them."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def peak_rss() -> int:
    """Most bytes that this process has had resident so far. (Linux starts from what its parent had resident.)"""
    value = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return value if sys.platform == "darwin" else value * 1024


def run(
    call: Callable[[], tuple[Any, ...]],
    arguments: argparse.Namespace,
    after: Callable[[], dict[str, Any]],
    to_numpy: Callable[[Any], np.ndarray] = np.asarray,
    **facts: Any,
) -> None:
    """Warms ``call`` up, times it, saves its result and prints the line of JSON.

    Args:
        call: Runs the task to its end and returns the record and, for a gradient, those of the models.
        arguments: The worker's command line.
        after: Called once the timed runs are over; what it returns goes into the line, as the device's peak memory.
        to_numpy: Makes a NumPy array of one that ``call`` returned.
        facts: What else the line should hold: versions, threads, device, bytes stored.
    """
    rss_before = peak_rss()
    first, _, result = _timed(call)
    times, cpu_times = [], []
    for _ in range(arguments.repeats):
        del result  # as a user's loop would, and so that two never count in the peak
        seconds, cpu_seconds, result = _timed(call)
        times.append(seconds)
        cpu_times.append(cpu_seconds)
    rss = peak_rss()
    later = after()
    arrays = dict(zip(CASES[arguments.case].results, map(to_numpy, result), strict=False))
    if arguments.save:
        np.savez(arguments.save, **arrays)
    median = statistics.median(times)
    line = {
        "case": arguments.case,
        "task": arguments.task,
        "dtype": arguments.dtype,
        "storage": arguments.storage,
        "compression": arguments.compression,
        "times_s": times,
        "cpu_times_s": cpu_times,
        "median_s": median,
        "first_s": first,
        "compile_s": max(first - median, 0.0),
        "mcells_per_s": CASES[arguments.case].cell_updates / median / 1e6,
        "rss_before_bytes": rss_before,
        "peak_rss_bytes": rss,
        "norms": {name: float(np.linalg.norm(x.astype(np.float64))) for name, x in arrays.items()},
        "load_average": load_average(),
        "python": platform.python_version(),
        **later,
        **facts,
    }
    print(json.dumps(line))


def _timed(call: Callable[[], tuple[Any, ...]]) -> tuple[float, float, tuple[Any, ...]]:
    """Seconds on the clock, seconds of all threads together, and the result."""
    start, cpu_start = time.perf_counter(), time.process_time()
    result = call()
    return time.perf_counter() - start, time.process_time() - cpu_start, result
