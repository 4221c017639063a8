"""Processes that store histories, however they end, and what they leave: nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from histories import disk, eventually, read_back, save

from jaxwave.storage import janitor

PROLOGUE = f"""
import os, resource, signal, sys, threading, time
import numpy as np
from jaxwave.storage.hdf5 import Hdf5History
from jaxwave.storage.janitor import JANITOR
from jaxwave.storage.registry import REGISTRY
specs = [(({1 << 18},), np.dtype(np.uint8))]
def save(path, n=4):
    number = REGISTRY.open(lambda: Hdf5History(path, n, specs, 4 * n), n_chunks=n)
    for i in range(n):
        REGISTRY.write(number, i, [np.full((4, {1 << 18}), i, np.uint8)])
    return number
path = sys.argv[1]
"""


def start(code, path):
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", PROLOGUE + code, str(path)], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def process_exists(pid):
    return Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


HOLD = """
number = save(path)
print(JANITOR.watcher, os.getsid(JANITOR.watcher) != os.getsid(0), flush=True)
sys.stdin.readline()
REGISTRY.read(number, 0, 1)
"""


@pytest.mark.parametrize(
    ("ending", "code"),
    [("", 0), ("raise KeyError", 1), ("os._exit(3)", 3), ("SIGTERM", -signal.SIGTERM), ("SIGKILL", -signal.SIGKILL)],
)
def test_endings_leave_nothing(tmp_path, ending, code):
    path = tmp_path / 'it\'s a "path"\n$HOME *\\0101 é'
    path.mkdir()
    process = start(HOLD + ending * (code >= 0), path)
    watcher, apart = process.stdout.readline().split()
    assert apart == "True"  # Ctrl-C does not reach it
    assert len(list(path.iterdir())) == 1
    if code < 0:
        process.send_signal(-code)
    _, errors = process.communicate("\n")
    assert process.returncode == code
    assert bool(errors) == (code == 1)  # no warning, no message of a thread
    assert eventually(lambda: not list(path.iterdir()))
    assert eventually(lambda: not process_exists(watcher))


def test_two_processes_one_path_and_a_killed_watcher(registry, tmp_path):
    process = start(HOLD, tmp_path)
    killed = start(HOLD, tmp_path)
    process.stdout.readline()
    watcher = int(killed.stdout.readline().split()[0])
    own = save(registry, disk(tmp_path))
    assert len(list(tmp_path.iterdir())) == 3
    janitor.sweep(str(tmp_path))  # nobody is dead
    assert len(list(tmp_path.iterdir())) == 3
    os.kill(watcher, signal.SIGKILL)
    killed.kill()
    killed.communicate()
    assert len(list(tmp_path.iterdir())) == 3
    janitor.sweep(str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2
    read_back(registry, own)
    assert process.communicate("\n") == ("", "")  # it still reads its own
    assert not list(tmp_path.iterdir())


def test_watcher_is_replaced(tmp_path):
    process = start(
        """
save(path); first = JANITOR.watcher
files = len(os.listdir("/proc/self/fd"))
os.kill(first, signal.SIGKILL)
time.sleep(0.2)
save(path)
print(JANITOR.watcher not in (None, first), len(os.listdir("/proc/self/fd")) - files)
sys.stdout.flush(); os._exit(0)
""",
        tmp_path,
    )
    assert process.communicate() == ("True 2\n", "")  # the lock and the file of the second history
    assert eventually(lambda: not list(tmp_path.iterdir()))


def test_forked_child_removes_nothing(tmp_path):
    process = start(
        """
import warnings; warnings.simplefilter("ignore")  # JAX and Python warn of forks
number = save(path)
child = os.fork()
if not child: sys.exit()  # through atexit
os.waitpid(child, 0)
print(len(os.listdir(path)), REGISTRY.read(number, 3, -1)[0][0, 0])
""",
        tmp_path,
    )
    assert process.communicate() == ("1 3\n", "")
    assert not list(tmp_path.iterdir())


def test_file_size_limit(tmp_path):
    process = start(
        """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
try: save(path)
except OSError as error: print(type(error).__name__, path in str(error), "File too large" in str(error))
print(os.listdir(path), [t.name for t in threading.enumerate() if t.name == "jaxwave-disk"])
""",
        tmp_path,
    )
    assert process.communicate() == ("StorageError True True\n[] []\n", "")


def test_sweep_spares_what_is_not_ours(tmp_path):
    names = [janitor.fresh_name(str(tmp_path)) for _ in range(4)]
    orphan, young, shared, link = map(Path, names)
    foreign = tmp_path / "jaxwave-results-of-may"
    for directory, content in {
        orphan: [janitor.DATA_NAME], young: [janitor.DATA_NAME], shared: [janitor.DATA_NAME, "notes.txt"],
        foreign: [janitor.DATA_NAME],
    }.items():  # fmt: skip
        directory.mkdir()
        for name in content:
            (directory / name).touch()
        if directory != young:
            age = time.time() - 2 * janitor.ORPHAN_AGE
            os.utime(directory, (age, age))
    link.symlink_to(foreign)
    janitor.sweep(str(tmp_path))
    janitor.sweep(str(tmp_path / "missing"))
    assert set(tmp_path.iterdir()) == {young, shared, foreign, link}
    assert (shared / "notes.txt").exists()
    assert (foreign / janitor.DATA_NAME).exists()


def test_opening_sweeps(registry, tmp_path):
    left = tmp_path / "jaxwave-000000000000dead"
    left.mkdir()
    for name in (janitor.LOCK_NAME, janitor.DATA_NAME):
        (left / name).touch()
    save(registry, disk(tmp_path))
    assert len(list(tmp_path.iterdir())) == 1
    assert not left.exists()


def test_without_locks_and_watcher(registry, tmp_path, monkeypatch):
    """As on Windows."""
    monkeypatch.setattr(janitor, "fcntl", None)
    read_back(registry, save(registry, disk(tmp_path)))
    janitor.sweep(str(tmp_path))
    registry.clear()
    assert not list(tmp_path.iterdir())
