"""Storage policies and codecs: see :mod:`jaxwave.storage.base` and :mod:`jaxwave.storage.codecs`."""

from jaxwave.storage.base import DeviceStorage, DiskStorage, HostStorage, NoStorage
from jaxwave.storage.codecs import BFloat16, Codec, Float16, Int8, Raw
from jaxwave.storage.errors import StorageError, StoragePathError

__all__ = [
    "BFloat16",
    "Codec",
    "DeviceStorage",
    "DiskStorage",
    "Float16",
    "HostStorage",
    "Int8",
    "NoStorage",
    "Raw",
    "StorageError",
    "StoragePathError",
]
