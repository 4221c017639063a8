"""Storage policies and codecs: see :mod:`jaxwave.storage.base` and :mod:`jaxwave.storage.codecs`."""

from jaxwave.storage.auto import Auto
from jaxwave.storage.base import DeviceStorage, NoStorage, Storage
from jaxwave.storage.coarse import Coarse
from jaxwave.storage.codecs import BFloat16, Codec, Float16, Int4, Int8, Int16, Raw, bounded
from jaxwave.storage.errors import StorageError, StoragePathError
from jaxwave.storage.fourier import Fourier
from jaxwave.storage.host_memory import HostMemory
from jaxwave.storage.pinned import PinnedStorage
from jaxwave.storage.recompute import Recompute
from jaxwave.storage.registry import REGISTRY, Stats
from jaxwave.storage.reverse import Reverse
from jaxwave.storage.streamed import DiskStorage, HostStorage


def clear() -> None:
    """Releases every stored history and all memory that waits for reuse.

    Seldom needed: what a pullback holds is released with it, and what a compiled program left behind makes way for the
    next history. Pullbacks that are still held raise :class:`StorageError` afterwards.
    """
    REGISTRY.clear()


def stats() -> Stats:
    """What the storage holds now: histories by state, and bytes in host RAM and on disk.

    >>> import jaxwave
    >>> jaxwave.storage.clear()
    >>> jaxwave.storage.stats().ram_bytes
    0
    """
    return REGISTRY.stats()


__all__ = [
    "Auto",
    "BFloat16",
    "Coarse",
    "Codec",
    "DeviceStorage",
    "DiskStorage",
    "Float16",
    "Fourier",
    "HostMemory",
    "HostStorage",
    "Int4",
    "Int8",
    "Int16",
    "NoStorage",
    "PinnedStorage",
    "Raw",
    "Recompute",
    "Reverse",
    "Storage",
    "StorageError",
    "StoragePathError",
    "bounded",
    "clear",
    "stats",
]
