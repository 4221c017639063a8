"""Small histories in RAM and in files, with known content."""

import shutil
import time

import numpy as np

from jaxwave.storage.hdf5 import Hdf5History
from jaxwave.storage.ram import RamHistory

SPECS = [((3, 5), np.dtype(np.int8)), ((2,), np.dtype(np.float32))]
TOTAL, SIZE = 11, 4
N = 3  # chunks of 4, 4 and 3 entries
BIG = [((1 << 18,), np.dtype(np.uint8))]  # four entries make a chunk of 1 MiB
PATIENCE = 20.0  # seconds; only what hangs for good takes so long


def leaves_of(seed, i, specs=SPECS, size=SIZE, total=TOTAL):
    rng = np.random.default_rng([seed, i])
    entries = min(size, total - i * size)
    return [
        rng.integers(0, 256, (entries, *shape, dtype.itemsize), np.uint8).view(dtype)[..., 0] for shape, dtype in specs
    ]


def ram(specs=SPECS, n=N, total=TOTAL):
    return lambda: RamHistory(n, specs, total)


def disk(path, specs=SPECS, n=N, total=TOTAL):
    return lambda: Hdf5History(str(path), n, specs, total)


def save(registry, make, seed=0, specs=SPECS, n=N, total=TOTAL, size=SIZE, **options):
    number = registry.open(make, n_chunks=n, **options)
    for i in range(n):
        registry.write(number, i, leaves_of(seed, i, specs, size, total))
    return number


def assert_chunk(got, want):
    assert [leaf.dtype for leaf in got] == [leaf.dtype for leaf in want]
    assert [leaf.shape for leaf in got] == [leaf.shape for leaf in want]
    assert [leaf.tobytes() for leaf in got] == [leaf.tobytes() for leaf in want]


def read_back(registry, number, seed=0, step=1, specs=SPECS, n=N, total=TOTAL, size=SIZE):
    for i in range(n)[::step]:
        assert_chunk(registry.read(number, i, step), leaves_of(seed, i, specs, size, total))


def is_alive(registry, number):
    return number in registry._entries


def eventually(condition):
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def free(path):
    """Bytes that are free on the file system of ``path``."""
    return shutil.disk_usage(path).free
