"""Runs the workers, each in a process of its own; what they print, and what they ran on."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from measure import cpu_count, load_average

HERE = Path(__file__).parent

Sample = dict[str, Any]


class WorkerError(RuntimeError):
    """A process failed or took too long."""

    @property
    def brief(self) -> str:
        """What failed, and the last line of why; folders are left out, as results are made public."""
        lines = str(self).splitlines()
        return re.sub(r"(?<![\w.])/(?:[^\s/:'\"]+/)+", "", " ".join(dict.fromkeys([lines[0], lines[-1]])))


@dataclasses.dataclass(frozen=True)
class Library:
    """A library and the Python that runs its worker.

    Attributes:
        name: "jaxwave" or "deepwave".
        python: The interpreter.
        platform: "cpu" or "cuda".
    """

    name: str
    python: Path
    platform: str = "cpu"

    def run(self, case: str, task: str, *options: str | Path | float, timeout: float | None = None) -> Sample:
        """One process of the worker; its line of JSON.

        Raises:
            WorkerError: If the process fails, or takes longer than ``timeout`` seconds.
        """
        device = [] if self.name == "jaxwave" else ["--device", self.platform]
        command = [str(self.python), f"worker_{self.name}.py", case, task, *device, *map(str, options)]
        sample = run_json(command, f"{self.name} on {case} ({task})", self.environment(), timeout)
        policy = f"{sample['storage']}, {sample['compression']}"
        print(f"  {self.name:9}{case:24}{task:9}{policy:13}{sample['median_s']:9.4f} s", file=sys.stderr)
        return sample

    def environment(self) -> dict[str, str]:
        """jaxwave comes from this checkout; the peer from its own environment."""
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        if self.name == "jaxwave":
            env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
            env["JAX_PLATFORMS"] = {"cpu": "cpu", "cuda": "cuda,cpu"}[self.platform]  # the host's for its callbacks
        return env


def run_json(command: list[str], what: str, environment: dict[str, str], timeout: float | None = None) -> Sample:
    """Runs a script of this directory; the JSON in the last line that it prints.

    Raises:
        WorkerError: If the process fails, or takes longer than ``timeout`` seconds.
    """
    command = [command[0], str(HERE / command[1]), *command[2:]]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise WorkerError(f"{what}: stopped after {timeout:.0f} s") from None
    if done.returncode:
        raise WorkerError(f"{what} failed with exit status {done.returncode}:\n{done.stderr[-2000:].strip()}")
    return json.loads(done.stdout.splitlines()[-1])


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
