"""What is left in ``storage_path``, and taken there, when processes end in every way: nothing."""

import signal
import subprocess
import sys

import pytest
from helpers import first_line
from histories import disk, eventually, free, read_back, save

PROLOGUE = f"""
import os, resource, signal, sys, threading, time
import numpy as np
from jaxwave.storage.hdf5 import Hdf5History
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


HOLD = """
number = save(path)
REGISTRY.read(number, 0, 1)  # all is in the file now
print("there", flush=True)
sys.stdin.readline()
REGISTRY.read(number, 1, 1)
"""


@pytest.mark.parametrize(
    ("ending", "code"),
    [("", 0), ("raise KeyError", 1), ("os._exit(3)", 3), ("SIGTERM", -signal.SIGTERM), ("SIGKILL", -signal.SIGKILL)],
)
def test_endings_leave_nothing(tmp_path, ending, code):
    path = tmp_path / 'it\'s a "path"\n$HOME *\\0101 é'
    path.mkdir()
    process = start(HOLD + ending * (code >= 0), path)
    assert first_line(process) == "there\n"
    assert not list(path.iterdir())
    if code < 0:
        process.send_signal(-code)
    _, errors = process.communicate("\n")
    assert process.returncode == code
    assert bool(errors) == (code == 1)  # no warning, no message of a thread
    assert not list(path.iterdir())


def test_space_is_freed_with_the_last_process(small_disk):
    """That is the one that was killed, or a child that it had forked."""
    before = free(small_disk)
    code = """
number = save(path)
REGISTRY.read(number, 0, 1)
if os.fork():
    print("there", flush=True)
    time.sleep(60)
sys.stdin.readline()
os._exit(0)
"""
    process = start(code, small_disk)
    assert first_line(process) == "there\n"
    assert before - free(small_disk) >= 4 << 20
    process.kill()
    process.wait()
    assert before - free(small_disk) >= 4 << 20
    process.communicate()  # closes the pipe from which the child reads, and waits for the one to which it writes
    assert not list(small_disk.iterdir())
    assert eventually(lambda: free(small_disk) == before)


def test_killed_while_writing(tmp_path):
    """No moment of a history's life leaves a name: from its start to its end, over and over."""
    process = start("print(flush=True)\nwhile True: save(path); REGISTRY.clear()", tmp_path)
    first_line(process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list(tmp_path.iterdir())


def test_two_processes_one_path(registry, tmp_path):
    process, killed = start(HOLD, tmp_path), start(HOLD, tmp_path)
    for running in (process, killed):
        first_line(running)
    own = save(registry, disk(tmp_path))
    killed.kill()
    killed.communicate()
    read_back(registry, own)
    assert process.communicate("\n") == ("", "")  # it still reads its own
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["sys.exit()", "REGISTRY.clear(); os._exit(0)", "REGISTRY.clear(); save(path)"])
def test_forked_child_leaves_the_file_alone(tmp_path, ending):
    process = start(
        f"""
import warnings; warnings.simplefilter("ignore")  # JAX and Python warn of forks
number = save(path)
child = os.fork()
if not child:
    {ending}
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
print([REGISTRY.read(number, i, -1)[0][0, 0] == i for i in (3, 2, 1, 0)], REGISTRY.stats().disk_bytes)
""",
        tmp_path,
    )
    assert process.communicate() == (f"{[True] * 4} {4 << 20}\n".replace("True", "np.True_"), "")


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


def test_a_thread_goes_on_when_the_main_thread_has_ended(tmp_path):
    process = start(
        """
def work():
    threading.main_thread().join()
    number = save(path)
    print([int(REGISTRY.read(number, i, -1)[0][0, 0]) for i in (3, 2, 1, 0)], flush=True)
threading.Thread(target=work).start()
""",
        tmp_path,
    )
    assert process.communicate() == ("[3, 2, 1, 0]\n", "")
