"""The scripts in examples/ do what they say."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="a source distribution has no examples")


def free_port():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def start(folder, processes, *options):
    out = folder / f"{processes}.npz"
    command = [sys.executable, "-W", "error", str(EXAMPLES / "processes.py"), "--processes", str(processes)]
    command += ["--port", str(free_port()), "--out", str(out), *options]
    # Files of the storage "disk" are made in the working directory.
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True), out


def finished(process, out):
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-3000:]
    return printed, dict(np.load(out))


@pytest.mark.parametrize(
    ("processes", "storage"),
    [(2, "cpu"), pytest.param(4, "device", marks=pytest.mark.slow), pytest.param(2, "disk", marks=pytest.mark.slow)],
)
def test_an_inversion_by_processes_is_that_by_one(processes, storage, tmp_path):
    options = "--steps", "2", "--shots", "3", "--storage", storage
    (_, want), (printed, got) = (finished(*start(tmp_path, n, *options)) for n in (1, processes))
    assert f"{processes} devices of {processes} processes" in printed
    # Sums over the shots in another order, in float32, through two steps of Adam.
    np.testing.assert_allclose(got["misfits"], want["misfits"], rtol=1e-4)
    np.testing.assert_allclose(got["v"], want["v"], atol=0.05)
    assert sorted(x.suffix for x in tmp_path.iterdir()) == [".npz", ".npz"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc")
def test_the_end_of_one_process_ends_the_others(tmp_path):
    process, _ = start(tmp_path, 2, "--steps", "100000", "--storage", "disk")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        deadline = time.monotonic() + 60
        while len(numbers := children.read_text().split()) < 2:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(15)  # within the inversion, if not before it
        assert process.poll() is None
        os.kill(int(numbers[1]), signal.SIGKILL)
        assert process.wait(timeout=60) == 1
    finally:
        process.kill()
        process.communicate()
    assert not any(Path(f"/proc/{n}").exists() for n in numbers)
    assert not list(tmp_path.iterdir())
