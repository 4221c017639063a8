"""The host side of storage when something goes wrong: misuse, damaged files, full disks."""

import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from histories import BIG, PATIENCE, N, assert_chunk, disk, eventually, free, is_alive, leaves_of, ram, save

from jaxwave.storage import hdf5
from jaxwave.storage import registry as registry_module
from jaxwave.storage.errors import StorageError
from jaxwave.storage.hdf5 import check_path
from jaxwave.storage.ram import POOL


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
    keeper = registry._entries[number].keeper
    file = keeper._file.fileno()
    place = keeper._offsets[0] + (14 << 18) - 5000
    if damage == "truncated":
        os.ftruncate(file, place)
    else:
        os.pwrite(file, bytes([os.pread(file, 1, place)[0] ^ 1]) if damage == "altered" else bytes(4096), place)
    for i in (1, 2):
        assert_chunk(registry.read(number, i, 1), leaves_of(0, i, BIG, 4, 14))
    with pytest.raises(StorageError, match="truncated or altered") as caught:
        registry.read(number, 3, 1)
    assert f"{14 << 18} bytes under storage_path='{tmp_path}'" in str(caught.value)
    assert not is_alive(registry, number)
    assert keeper._file.closed


def test_truncation_is_seen_though_memory_still_holds_the_chunk(registry, tmp_path):
    layout = {"specs": BIG, "n": 1, "total": 4}
    registry.clear()
    before = POOL.in_use
    number = save(registry, disk(tmp_path, **layout), **layout)
    assert eventually(lambda: POOL.in_use == before)  # the thread that waits for work holds no block
    assert POOL.free == 1 << 20  # the one that comes next
    keeper = registry._entries[number].keeper
    os.ftruncate(keeper._file.fileno(), keeper._offsets[0] + (4 << 18) - 5000)
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
    with pytest.raises(
        StorageError, match=rf"of {total * 23} bytes.*too large: \d+ bytes are free.*use another"
    ) as caught:
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
    with pytest.raises(
        StorageError, match=rf"writing.* of {n << 20} bytes under .*{tmp_path}.*failed: No space left.*use another"
    ):
        write_until_it_fails(registry, number, layout)
    assert not list(tmp_path.iterdir())


def test_full_file_system(registry, small_disk):
    """The space is there at first, and then someone else takes it."""
    layout = {"specs": BIG, "n": 6, "total": 24}
    number = registry.open(disk(small_disk, **layout), n_chunks=6)
    (small_disk / "other").write_bytes(bytes(4 << 20))
    with pytest.raises(StorageError, match="No space left") as caught:
        write_until_it_fails(registry, number, layout)
    assert str(small_disk) in str(caught.value)
    assert [entry.name for entry in small_disk.iterdir()] == ["other"]
    assert free(small_disk) >= (4 << 20) - (64 << 10)


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
        release = pool.submit(registry.clear)
        assert eventually(lambda: keeper._closed)
        go.set()
        with pytest.raises(StorageError, match="released"):
            run.result(PATIENCE)
        release.result(PATIENCE)
    assert len(written) == 1  # the chunks that waited are not written any more
    assert not list(tmp_path.iterdir())
