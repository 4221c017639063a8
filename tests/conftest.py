"""Settings and fixtures that all tests share."""

import gc
import os
import threading
from pathlib import Path

import jax
import numpy as np
import pytest
from histories import disk, ram

import jaxwave
from jaxwave.storage.registry import Registry

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")


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
    parser.addoption("--derivative-table", metavar="FILE", help="run all cells of test_policies.py and write the table")
    parser.addoption("--optimised", action="store_true", help="compile every test's programs as a user's are")


def pytest_runtest_setup(item):
    """Leave out LLVM's optimisations, which take more than half of the tests' time, unless a test is marked.

    What XLA makes of a program stays the same to the last instruction of HLO; rounding and speed differ.
    """
    quick = "optimised" not in item.keywords and not item.config.getoption("--optimised")
    changed = jax.config.read("jax_disable_most_optimizations") != quick
    jax.config.update("jax_disable_most_optimizations", quick)
    if changed or "matrix" in item.keywords:  # all cells in one file map more memory than a process may
        jax.clear_caches()


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--derivative-table"):
        items[:] = [item for item in items if "matrix" not in item.keywords]


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
