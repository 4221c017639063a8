"""Settings and fixtures that all tests share."""

import gc
import os
import subprocess
import threading
from pathlib import Path

# Eigenvalues of small matrices: a thread for each core of each process waits more than it works.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import numpy as np
import pytest
from compilation import Compiler, drop_old_programs, keep_programs
from histories import disk, ram

import jaxwave
from jaxwave.storage.registry import Registry

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
keep_programs()
COMPILER = Compiler()


@pytest.fixture(scope="module", autouse=True)
def nothing_left_to_the_next_file():
    """Stored wavefields, their threads and compiled programs end with the file that made them.

    Each compiled program maps memory a few hundred times, and Linux allows a process 65,530 maps: a run of all files
    in one process would go over that and crash.
    """
    yield
    gc.collect()
    jaxwave.storage.clear()
    jax.clear_caches()


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the slow tests too")
    parser.addoption("--derivative-table", metavar="FILE", help="run all cells of test_policies.py and write the table")
    parser.addoption("--optimised", action="store_true", help="compile every test's programs as a user's are")


def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        drop_old_programs()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """A process for each core, or for each file that is named; none for one, which would wait for them to start."""
    files = {argument.split("::")[0] for argument in config.args if ".py" in argument}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processes = min(cores, len(files)) if files else cores
    return processes if processes > 1 else 0


def pytest_collection_finish(session):
    """What there is by now stays: the garbage collector, which tracing calls often, need not look at it each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def pytest_runtest_setup(item):
    """Leave out the compiler's optimisations, which take most of the tests' time, unless a test is marked."""
    optimised = "optimised" in item.keywords or item.config.getoption("--optimised")
    changed = COMPILER.set(optimised=optimised, as_hlo="hlo" in item.keywords)
    if changed or "matrix" in item.keywords:  # all cells in one file map more memory than a process may
        jax.clear_caches()


def pytest_collection_modifyitems(config, items):
    """Slow tests run with ``--slow``, with a ``-m`` that lets them, and when they are named; cells with the table."""
    table, named = config.getoption("--derivative-table"), any("::" in argument for argument in config.args)
    slow = table or named or config.getoption("--slow") or config.option.markexpr
    out = [("matrix" in x.keywords and not table) or ("slow" in x.keywords and not slow) for x in items]
    config.hook.pytest_deselected(items=[x for x, left in zip(items, out, strict=True) if left])
    items[:] = [x for x, left in zip(items, out, strict=True) if not left]
    files = {}  # in each, those that are compiled alike one after the other, since another way begins anew
    items.sort(key=lambda x: (files.setdefault(x.path, len(files)), "optimised" in x.keywords, "hlo" in x.keywords))


@pytest.fixture
def registry():
    """A registry of histories, empty at the end, with its threads gone."""
    registry = Registry()
    yield registry
    registry.clear()
    assert not [thread for thread in threading.enumerate() if thread.name == "jaxwave-disk"]


@pytest.fixture(params=["ram", "disk"])
def make(request, tmp_path):
    """Makes the keeper of a history, in RAM or in a file."""
    return ram() if request.param == "ram" else disk(tmp_path)


@pytest.fixture
def small_disk(tmp_path):
    """The directory of an empty file system of 8 MiB, which cannot be unmounted while a file in it is open."""
    mounted = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path)]
    try:
        subprocess.run(mounted, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting is not permitted")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.fixture(scope="session")
def derivative_table(request):
    """Collects (equation, policy, codec, derivative, dimensions) that were tested, for the documentation's table."""
    found = set()
    yield found
    path = request.config.getoption("--derivative-table")
    if path:
        Path(path).write_text(_as_table(found))


def _as_table(found) -> str:
    rows = sorted({cell[:3] for cell in found})
    columns = sorted({derivative for *_, derivative, _ in found})
    lines = ["| equation | policy | codec | " + " | ".join(columns) + " |", "|---" * (3 + len(columns)) + "|"]
    for row in rows:
        cells = [sorted(n for *key, n in found if key == [*row, column]) for column in columns]
        lines.append(f"| {' | '.join(row)} | " + " | ".join(" ".join(f"{n}-D" for n in cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def marmousi() -> np.ndarray:
    """P velocity of the Marmousi model in m/s, axes (z, x), 20 m cells; the test is skipped where there is none.

    It is read from ``marmousi_vp.npy`` in the directory that the environment variable JAXWAVE_DATA names, or else in
    ``shared/data`` beside the repository.
    """
    beside = Path(__file__).parents[2] / "shared" / "data"
    path = Path(os.environ.get("JAXWAVE_DATA", beside)) / "marmousi_vp.npy"
    if not path.is_file():
        pytest.skip(f"no {path.name}: set JAXWAVE_DATA to the directory that holds it")
    return np.load(path)
