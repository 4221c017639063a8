"""The peer's own virtual environment: its PyTorch and jaxwave's JAX need not agree on any version."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ENVIRONMENT = Path(__file__).parents[1] / ".venv-peer"
PACKAGES = ("deepwave==0.1.0", "torch==2.13.0", "numpy")
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"  # PyTorch without the gigabytes of CUDA


class PeerError(RuntimeError):
    """There is no Python that can run the peer."""


def ensure(python: Path | None) -> Path:
    """A Python that has the peer: ``python``, or that of an environment which is made if it is not there yet.

    Raises:
        PeerError: If ``python`` does not have the peer, or the environment cannot be made.
    """
    if python is not None:
        if not _usable(python):
            raise PeerError(f"`--peer-python` {python} cannot import {', '.join(PACKAGES)}; install them there")
        return python
    python = ENVIRONMENT / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not _usable(python):
        _make(python)
    return python


def _usable(python: Path) -> bool:
    command = [str(python), "-c", "import deepwave, numpy, torch; torch.from_numpy(numpy.zeros(1))"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def _make(python: Path) -> None:
    print(f"making the peer's environment {ENVIRONMENT.name} (a few hundred megabytes, once)", file=sys.stderr)
    steps = [
        [sys.executable, "-m", "venv", str(ENVIRONMENT)],
        [str(python), "-m", "pip", "install", "--quiet", "--extra-index-url", CPU_WHEELS, *PACKAGES],
    ]
    for command in steps:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise PeerError(
                f"the peer's environment could not be made: `{' '.join(command[1:4])}` failed with\n"
                f"{done.stderr.strip()[-2000:]}\n"
                "Name a Python that has the peer with --peer-python, or leave it out with --no-peer"
            )
    if not _usable(python):
        raise PeerError(f"{', '.join(PACKAGES)} were installed but cannot be imported; delete {ENVIRONMENT.name}")
