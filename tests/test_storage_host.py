"""The host side of storage: lives of histories, memory and files, and what is left when things go wrong."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import jax
import ml_dtypes
import numpy as np
import pytest

from jaxwave.storage import hdf5, janitor
from jaxwave.storage import registry as registry_module
from jaxwave.storage.errors import StorageError
from jaxwave.storage.hdf5 import Hdf5History, check_path
from jaxwave.storage.ram import ALIGNMENT, POOL, BufferPool, RamHistory
from jaxwave.storage.registry import MAX_ID, REGISTRY, Registry

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


@pytest.fixture
def registry():
    registry = Registry()
    yield registry
    registry.clear()
    assert not [thread for thread in threading.enumerate() if thread.name == "jaxwave-disk"]


@pytest.fixture(params=["ram", "disk"])
def make(request, tmp_path):
    return ram() if request.param == "ram" else disk(tmp_path)


# --- what is written is what is read -----------------------------------------------------------------------------


@pytest.mark.parametrize("tier", ["ram", "disk"])
@pytest.mark.parametrize(
    ("n", "total", "size"), [(3, 11, 4), (1, 5, 5), (4, 100, 30)], ids=["short last", "one chunk", "uneven"]
)
@pytest.mark.parametrize("dtype", [np.int8, np.float16, np.float32, np.float64, np.uint16, ml_dtypes.bfloat16])
def test_round_trip(registry, tmp_path, tier, n, total, size, dtype):
    layout = {"specs": [((3, 7), np.dtype(dtype)), ((), np.dtype(np.float32))], "n": n, "total": total}
    maker = ram(**layout) if tier == "ram" else disk(tmp_path, **layout)
    number = save(registry, maker, size=size, **layout)
    for step in (-1, 1, -1):
        read_back(registry, number, step=step, size=size, **layout)


def test_write_copies(registry, make):
    number = registry.open(make, n_chunks=N)
    for i in range(N):
        chunk = leaves_of(0, i)
        registry.write(number, i, chunk)
        for leaf in chunk:
            leaf[...] = 0
    read_back(registry, number)


def test_blocks_are_aligned_and_read_only(registry, make):
    number = save(registry, make)
    for leaf in registry.read(number, 0, 1):
        assert leaf.ctypes.data % ALIGNMENT == 0
        assert not leaf.flags.writeable


def test_through_compiled_callbacks(registry, make):
    number = save(registry, make)
    shapes = [jax.ShapeDtypeStruct((SIZE, *shape), dtype) for shape, dtype in SPECS]

    @jax.jit
    def program():
        return jax.experimental.io_callback(lambda: registry.read(number, 0, 1), shapes)

    assert_chunk([np.asarray(leaf) for leaf in program()], leaves_of(0, 0))


@pytest.mark.parametrize("step", [1, -1])
def test_readers_overlap(registry, make, step):
    number = save(registry, make)
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(read_back, registry, number, step=s) for s in (1, -1, step, step) * 10]
    for run in runs:
        run.result()
    assert registry.stats().idle == 1


def test_file_is_hdf5(registry, tmp_path):
    specs = [*SPECS, ((4,), np.dtype(ml_dtypes.bfloat16))]
    number = save(registry, disk(tmp_path, specs), specs=specs)
    registry.read(number, 0, 1)  # what was written behind is in the file now
    chunks = [leaves_of(0, i, specs) for i in range(N)]
    with h5py.File(next(tmp_path.glob("jaxwave-*/wavefields.h5")), "r", locking=False) as file:
        for k, (_, dtype) in enumerate(specs):
            dataset = file[f"leaf{k}"]
            assert dataset.attrs["dtype"] == dtype.name
            want = np.concatenate([chunk[k] for chunk in chunks])
            np.testing.assert_array_equal(dataset[...], want if dtype.isbuiltin == 1 else want.view(np.uint16))


# --- the life of a history ---------------------------------------------------------------------------------------


def test_states(registry, make):
    number = registry.open(make, n_chunks=N)
    assert registry.stats().writing == 1
    for i in range(N):
        registry.write(number, i, leaves_of(0, i))
    assert registry.stats().complete == 1
    registry.read(number, 0, 1)
    assert registry.stats().reading == 1
    registry.read(number, 1, 1)
    registry.read(number, 2, 1)
    assert registry.stats().idle == 1
    registry.release(number)
    registry.release(number)
    stats = registry.stats()
    assert (stats.idle, stats.disk_bytes) == (0, 0)


def test_idle_makes_way_and_others_stay(registry, make):
    idle, unread, reading = (save(registry, make, seed) for seed in range(3))
    read_back(registry, idle)
    read_back(registry, idle, step=-1)  # it stays readable
    registry.read(reading, 0, 1)
    writing = registry.open(make, n_chunks=N)
    assert [is_alive(registry, n) for n in (idle, unread, reading, writing)] == [False, True, True, True]
    with pytest.raises(StorageError, match=r"newer one was opened.*jaxwave\.storage\.HostStorage\(retain=1\)"):
        registry.read(idle, 0, 1)
    read_back(registry, unread, 1)


def test_retain_keeps_the_most_recently_used(registry, make):
    numbers = [save(registry, make, seed) for seed in range(3)]
    for k in (1, 0, 2, 0):
        read_back(registry, numbers[k], k)
    registry.open(make, n_chunks=N, retain=2)
    assert [is_alive(registry, n) for n in numbers] == [True, False, True]
    registry.open(make, n_chunks=N, retain=1)
    assert [is_alive(registry, n) for n in numbers] == [True, False, False]


def test_ancestors_of_the_living_stay(registry, make):
    first = save(registry, make, 1)
    read_back(registry, first, 1)
    second = registry.open(make, n_chunks=N, parents=[first])
    third = registry.open(make, n_chunks=N, parents=[second])
    read_back(registry, first, 1)
    save(registry, make)
    read_back(registry, first, 1)
    for number in (second, third):
        for i in range(N):
            registry.write(number, i, leaves_of(2, i))
    read_back(registry, second, 2)
    save(registry, make)
    assert is_alive(registry, first)  # the third was not read yet
    read_back(registry, third, 2)
    save(registry, make)
    assert not any(is_alive(registry, n) for n in (first, second, third))
    with pytest.raises(StorageError, match="retain=n"):
        registry.open(make, n_chunks=N, parents=[first])


def test_pin(registry, make, tmp_path):
    number = save(registry, make, 1, owner=7)
    assert registry.pin(0) == []
    assert registry.pin(7) == registry.pin(7) == [number]
    for _ in range(2):
        read_back(registry, number, 1)
        save(registry, make)
    assert registry.stats().pinned == 1
    registry.unpin(number)
    registry.stats()
    read_back(registry, number, 1)  # the second handle holds it
    registry.unpin(number)
    assert eventually(lambda: not is_alive(registry, number))  # without any other call
    registry.unpin(number)
    assert registry.stats().complete == 2


def test_pinned_directory_stays_and_idle_one_goes(registry, tmp_path):
    number = save(registry, disk(tmp_path), owner=1)
    held = registry.pin(1)
    read_back(registry, number)
    assert list(tmp_path.glob("jaxwave-*"))
    other = save(registry, disk(tmp_path), 2)
    assert len(list(tmp_path.glob("jaxwave-*"))) == 2
    read_back(registry, other, 2)
    assert len(list(tmp_path.glob("jaxwave-*"))) == 1
    read_back(registry, other, 2, step=-1)  # from the file that has no name any more
    assert registry.stats().disk_bytes > 0
    registry.unpin(held[0])
    registry.clear()
    assert not list(tmp_path.iterdir())


def test_unpin_waits_for_the_reader(registry, make):
    number = save(registry, make, owner=1)
    registry.pin(1)
    registry.read(number, 2, -1)
    registry.unpin(number)
    assert registry.stats().reading == 1
    assert_chunk(registry.read(number, 1, -1), leaves_of(0, 1))
    registry.read(number, 0, -1)
    assert not is_alive(registry, number)


def test_unpin_waits_for_what_was_derived(registry, make):
    parent = save(registry, make, owner=1)
    registry.pin(1)
    child = save(registry, make, 1, parents=[parent])
    registry.unpin(parent)
    assert registry.stats().complete == 2
    registry.release(child)
    registry.open(make, n_chunks=N)
    assert not is_alive(registry, parent)


def test_unpin_by_the_garbage_collector(registry, make):
    """The collector runs while this very thread holds every lock of the registry."""

    class Handle:
        pass

    def run():
        handle = Handle()
        handle.cycle = handle
        number = save(registry, make, owner=1)
        weakref.finalize(handle, registry.unpin, *registry.pin(1))
        del handle
        with registry._settling, registry._lock, POOL._lock, janitor.JANITOR._lock:
            gc.collect()
        registry.stats()
        return is_alive(registry, number)

    thread = ThreadPoolExecutor(1)
    assert thread.submit(run).result(PATIENCE) is False
    thread.shutdown()


def test_abandoned_reader(registry, make, monkeypatch):
    number = save(registry, make)
    registry.read(number, 0, 1)
    save(registry, make)
    assert is_alive(registry, number)
    monkeypatch.setattr(registry_module, "ABANDONED_AFTER", 0.0)
    save(registry, make)
    assert not is_alive(registry, number)


def test_numbers_wrap_around(registry):
    kept = [save(registry, ram(), seed) for seed in range(2)]
    registry._last_id = MAX_ID - 1
    numbers = [save(registry, ram(), seed) for seed in (5, 6)]
    assert numbers == [MAX_ID, 3]
    assert int(np.float32(MAX_ID)) == MAX_ID
    for seed, number in zip((0, 1, 5, 6), kept + numbers, strict=True):
        read_back(registry, number, seed)


def test_two_threads_write_at_the_same_time(registry):
    meeting = threading.Barrier(2)

    class Meeting(RamHistory):
        def write(self, i, leaves):
            meeting.wait(PATIENCE)  # broken unless both threads are here
            super().write(i, leaves)

        def read(self, i, step):
            meeting.wait(PATIENCE)
            return super().read(i, step)

    def run(seed):
        read_back(registry, save(registry, lambda: Meeting(N, SPECS, TOTAL), seed), seed)

    with ThreadPoolExecutor(2) as pool:
        for run in [pool.submit(run, seed) for seed in range(2)]:
            run.result()


def test_many_runs_in_threads(make):
    def run(seed):
        for k in range(25):
            number = save(REGISTRY, make, 100 * seed + k)
            read_back(REGISTRY, number, 100 * seed + k, step=-1)

    with ThreadPoolExecutor(3) as pool:
        for run in [pool.submit(run, seed) for seed in range(3)]:
            run.result()
    REGISTRY.clear()
    assert not REGISTRY._entries


# --- memory ------------------------------------------------------------------------------------------------------


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
@pytest.mark.parametrize("tier", ["ram", "disk"])
def test_memory_is_steady(registry, tmp_path, tier):
    layout = {"specs": BIG, "n": 4, "total": 14}
    maker = ram(**layout) if tier == "ram" else disk(tmp_path, **layout)
    chunks = [leaves_of(0, i, BIG, 4, 14) for i in range(4)]

    def history():
        number = registry.open(maker, n_chunks=4)
        for i, chunk in enumerate(chunks):
            registry.write(number, i, chunk)
        for i in (3, 2, 1, 0):
            assert_chunk(registry.read(number, i, -1), chunks[i])

    registry.clear()
    for _ in range(3):
        history()
    held, before, files = POOL._allocated, resident_bytes(), len(os.listdir("/proc/self/fd"))
    for _ in range(200):
        history()
    # One history is 4 MiB. The staging of the disk tier depends on how its thread keeps up: a few blocks more or less.
    assert POOL._allocated <= (held if tier == "ram" else 10 << 20)
    assert resident_bytes() - before < 16 << 20
    assert len(os.listdir("/proc/self/fd")) == files


def test_pool():
    pool = BufferPool()
    first, second = pool.take(1000), pool.take(1000)
    address = first.array().ctypes.data
    view = first.array()[10:20].view(np.int16)[1:]
    del first
    assert (pool.in_use, pool.free) == (2000, 0)  # a view of a view holds the block
    del view
    assert (pool.in_use, pool.free) == (1000, 1000)
    again = pool.take(1000)
    assert again.array().ctypes.data == address
    del again, second
    other = pool.take(500)
    assert (pool.in_use, pool.free) == (500, 0)  # what does not fit is dropped
    del other
    pool.clear()
    assert (pool.in_use, pool.free) == (0, 0)
    with pytest.raises(StorageError, match=rf'{2**62} bytes.*storage_mode="disk"'):
        pool.take(2**62)
    assert pool.in_use == 0


def test_what_was_read_outlives_the_release(registry, make):
    """XLA copies after the callback has returned, when another thread may have released the history."""
    number = save(registry, make, 1)
    chunks = [registry.read(number, i, 1) for i in range(N)]
    for seed in range(2, 5):
        read_back(registry, save(registry, make, seed), seed)
    assert not is_alive(registry, number)
    for i, chunk in enumerate(chunks):
        assert_chunk(chunk, leaves_of(1, i))


# --- failures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "misuse",
    [
        lambda registry, number: registry.write(number, 2, leaves_of(0, 2)),
        lambda registry, number: registry.write(number, 1, leaves_of(0, 2)),
        lambda registry, number: registry.write(number, 1, [leaf.astype(np.float64) for leaf in leaves_of(0, 1)]),
        lambda registry, number: registry.write(number, 1, leaves_of(0, 1)[:1]),
        lambda registry, number: registry.read(number, 0, 1),
    ],
    ids=["skips a chunk", "short chunk", "dtype", "too few leaves", "read while writing"],
)
def test_misuse(registry, make, tmp_path, misuse):
    number = registry.open(make, n_chunks=N, owner=3)
    registry.write(number, 0, leaves_of(0, 0))
    with pytest.raises(StorageError) as caught:
        misuse(registry, number)
    assert not is_alive(registry, number)
    assert not list(tmp_path.iterdir())
    assert registry.first_error(3) is caught.value


@pytest.mark.parametrize("misuse", ["write", "read"])
def test_beyond_the_end(registry, make, misuse):
    number = save(registry, make)
    with pytest.raises(StorageError, match="chunk 3"):
        registry.write(number, 3, leaves_of(0, 0)) if misuse == "write" else registry.read(number, 3, 1)


def test_abort_and_first_error(registry, make, tmp_path):
    failed, same, other = (save(registry, make, seed, owner=owner) for seed, owner in enumerate((1, 1, 2)))
    registry._entries[failed].keeper.read = lambda i, step: 1 / 0
    with pytest.raises(ZeroDivisionError) as caught:
        registry.read(failed, 0, 1)
    registry.abort(1)
    registry.abort(0)
    assert [is_alive(registry, n) for n in (failed, same, other)] == [False, False, True]
    with pytest.raises(StorageError):
        registry.read(same, 0, 1)
    assert registry.first_error(1) is caught.value
    assert registry.first_error(2) is None
    assert [registry.owner_of(n) for n in (failed, other, 99)] == [1, 2, 0]
    with pytest.raises(StorageError, match="retain"):
        registry.open(make, n_chunks=N, parents=[same], owner=4)
    assert isinstance(registry.first_error(4), StorageError)
    for owner in range(10, 10 + registry_module.REMEMBERED):
        registry._record(owner, ValueError())
    assert registry.first_error(1) is None


def test_first_error_holds_no_chunks(registry):
    number = save(registry, ram(), owner=1)
    chunks = []

    def fail(i, step):
        chunk = np.zeros(3)
        chunks.append(weakref.ref(chunk))
        raise ZeroDivisionError

    registry._entries[number].keeper.read = fail
    with pytest.raises(ZeroDivisionError):
        registry.read(number, 0, 1)
    assert registry.first_error(1) is not None
    assert chunks[0]() is None


@pytest.mark.parametrize("size", [0, 8, 4096, 3 * 4096, 10_000])
def test_checksum(size):
    data = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    whole = hdf5.checksum(data)
    for at in range(0, size, max(1, size // 200)):
        for value in (1, 128):
            data[at] ^= value
            assert hdf5.checksum(data) != whole
            data[at] ^= value
    assert hdf5.checksum(data) == whole
    if size > 4096:
        assert hdf5.checksum(np.concatenate([np.zeros(4096, np.uint8), data[4096:]])) != whole
        assert hdf5.checksum(np.concatenate([data[4096:8192], data[:4096], data[8192:]])) != whole


@pytest.mark.parametrize("damage", ["truncated", "altered", "zeroed"])
def test_damaged_file(registry, tmp_path, damage):
    layout = {"specs": BIG, "n": 4, "total": 14}
    number = save(registry, disk(tmp_path, **layout), size=4, **layout)
    registry.read(number, 0, 1)
    path = next(tmp_path.glob("jaxwave-*/wavefields.h5"))
    size = path.stat().st_size
    with path.open("r+b") as file:
        if damage == "truncated":
            file.truncate(size - 5000)  # HDF5 may have some bytes of its own at the end
        else:
            file.seek(size - 5000)
            new = bytes([file.read(1)[0] ^ 1]) if damage == "altered" else bytes(4096)
            file.seek(size - 5000)
            file.write(new)
    for i in (1, 2):
        assert_chunk(registry.read(number, i, 1), leaves_of(0, i, BIG, 4, 14))
    with pytest.raises(StorageError, match="truncated or altered") as caught:
        registry.read(number, 3, 1)
    assert str(path) in str(caught.value)
    assert not is_alive(registry, number)
    assert not list(tmp_path.iterdir())


def test_truncation_is_seen_though_memory_still_holds_the_chunk(registry, tmp_path):
    layout = {"specs": BIG, "n": 1, "total": 4}
    registry.clear()
    before = POOL.in_use
    number = save(registry, disk(tmp_path, **layout), **layout)
    assert eventually(lambda: POOL.in_use == before)  # the thread that waits for work holds no block
    assert POOL.free == 1 << 20  # the one that comes next
    path = next(tmp_path.glob("jaxwave-*/wavefields.h5"))
    os.truncate(path, path.stat().st_size - 5000)
    with pytest.raises(StorageError, match="truncated or altered"):
        registry.read(number, 0, 1)


def test_paths_that_cannot_be_used(registry, tmp_path):
    (tmp_path / "file").touch()
    check_path(str(tmp_path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    for bad in (tmp_path / "missing", tmp_path / "file", Path("/proc")):
        with pytest.raises(StorageError, match="must be an existing directory") as caught:
            check_path(str(bad))
        assert str(bad) in str(caught.value)
        with pytest.raises(StorageError, match="must be an existing directory"):
            registry.open(disk(bad), n_chunks=N)


def test_too_little_space_is_told_before(registry, tmp_path):
    total = 2**45
    with pytest.raises(StorageError, match=rf"need {total * 23} bytes, but \d+ are free") as caught:
        registry.open(disk(tmp_path, total=total), n_chunks=N, owner=1)
    assert str(tmp_path) in str(caught.value)
    assert registry.first_error(1) is caught.value
    assert not list(tmp_path.iterdir())


def write_until_it_fails(registry, number, layout):
    """The error comes from the thread, so with a later chunk or with the first read."""
    for i in range(layout["n"]):
        registry.write(number, i, leaves_of(0, i, BIG, 4, layout["total"]))
    registry.read(number, 0, 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("n", [1, 20])
def test_full_device(registry, tmp_path, n):
    layout = {"specs": BIG, "n": n, "total": 4 * n}
    number = registry.open(disk(tmp_path, **layout), n_chunks=n)
    keeper = registry._entries[number].keeper
    keeper._file.close()
    keeper._file = open("/dev/full", "r+b", buffering=0)
    with pytest.raises(StorageError, match=r"wavefields\.h5 of \d+ bytes failed: No space left"):
        write_until_it_fails(registry, number, layout)
    assert not list(tmp_path.iterdir())


def test_full_file_system(registry, tmp_path):
    """The space is there at first, and then someone else takes it."""
    mounted = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path)]
    try:
        subprocess.run(mounted, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting is not permitted")
    try:
        layout = {"specs": BIG, "n": 6, "total": 24}
        number = registry.open(disk(tmp_path, **layout), n_chunks=6)
        (tmp_path / "other").write_bytes(bytes(4 << 20))
        with pytest.raises(StorageError, match="No space left") as caught:
            write_until_it_fails(registry, number, layout)
        assert str(tmp_path) in str(caught.value)
        assert [entry.name for entry in tmp_path.iterdir()] == ["other"]
        assert os.statvfs(tmp_path).f_bfree * os.statvfs(tmp_path).f_frsize >= (4 << 20) - (64 << 10)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_release_frees_a_writer_that_waits(registry, tmp_path):
    layout = {"specs": BIG, "n": 20, "total": 80}
    number = registry.open(disk(tmp_path, **layout), n_chunks=20)
    keeper = registry._entries[number].keeper
    written, slow, go = [], threading.Event(), threading.Event()

    class Slow:
        def __init__(self, file):
            self.close, self.seek, self.file = file.close, file.seek, file

        def write(self, data):
            written.append(len(data))
            slow.set()
            go.wait(PATIENCE)
            return self.file.write(data)

    keeper._file = Slow(keeper._file)
    with ThreadPoolExecutor(2) as pool:
        run = pool.submit(write_until_it_fails, registry, number, layout)
        slow.wait(PATIENCE)
        assert eventually(lambda: len(keeper._writing) == hdf5.QUEUE_LENGTH - 1)  # it has taken one out, and waits
        release = pool.submit(registry.release, number)
        assert eventually(lambda: keeper._closing)
        go.set()
        with pytest.raises(StorageError, match="released"):
            run.result(PATIENCE)
        release.result(PATIENCE)
    assert len(written) == 1  # the chunks that waited are not written any more
    assert not list(tmp_path.iterdir())


# --- processes and what they leave -------------------------------------------------------------------------------

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
