"""From the user's ``storage_mode`` to a storage object."""

from __future__ import annotations

from jaxwave.storage.base import DeviceStorage, NoStorage, Storage
from jaxwave.storage.codecs import Codec
from jaxwave.storage.recompute import Recompute
from jaxwave.storage.streamed import DiskStorage, HostStorage

MODES: dict[str, type[Storage]] = {
    "device": DeviceStorage,
    "cpu": HostStorage,
    "disk": DiskStorage,
    "recompute": Recompute,
    "none": NoStorage,
}


def as_storage(mode: str | Storage, path: str, codec: Codec) -> Storage:
    """The storage object that ``storage_mode``, ``storage_path`` and a codec describe.

    Raises:
        ValueError: If the mode is unknown.
        TypeError: If ``mode`` is neither a name nor a storage object.
    """
    if isinstance(mode, str):
        if mode not in MODES:
            raise ValueError(f"storage_mode={mode!r} is unknown; use {', '.join(map(repr, MODES))} or a storage object")
        return DiskStorage(codec, path=path) if mode == "disk" else MODES[mode](codec)
    if not isinstance(mode, Storage):
        raise TypeError(f"storage_mode must be a name or a storage object from jaxwave.storage; got {mode!r}")
    return mode
