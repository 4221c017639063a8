"""From the user's ``storage_mode`` to a storage object."""

from __future__ import annotations

from jaxwave.storage.auto import Auto
from jaxwave.storage.base import DeviceStorage, NoStorage, Storage
from jaxwave.storage.codecs import Codec
from jaxwave.storage.host_memory import HostMemory
from jaxwave.storage.pinned import pool_at_hand
from jaxwave.storage.recompute import Recompute
from jaxwave.storage.streamed import DiskStorage, HostStorage

MODES: dict[str, type] = {
    "device": DeviceStorage,
    "cpu": HostStorage,
    "disk": DiskStorage,
    "recompute": Recompute,
    "auto": Auto,
    "none": NoStorage,
}


def as_storage(mode: str | Storage | Auto, path: str, codec: Codec) -> Storage | Auto:
    """The storage object that ``storage_mode``, ``storage_path`` and a codec describe.

    Raises:
        ValueError: If the mode is unknown.
        TypeError: If ``mode`` is neither a name nor a storage object.
    """
    if isinstance(mode, str):
        if mode not in MODES:
            raise ValueError(f"storage_mode={mode!r} is unknown; use {', '.join(map(repr, MODES))} or a storage object")
        if mode == "cpu" and pool_at_hand():
            return HostMemory(codec)
        return MODES[mode](codec, path=path) if mode in ("disk", "auto") else MODES[mode](codec)
    if not isinstance(mode, Storage | Auto):
        raise TypeError(f"storage_mode must be a name or a storage object from jaxwave.storage; got {mode!r}")
    return mode
