"""The request to have a policy chosen: see :mod:`jaxwave._autotune.planning` for how."""

from __future__ import annotations

import dataclasses

from jaxwave._setup.validate.values import wholes
from jaxwave.storage.codecs import Codec, Raw


@dataclasses.dataclass(frozen=True)
class Auto:
    """``storage_mode="auto"``: the fastest policy that fits into a budget.

    It is chosen from ``DeviceStorage``, ``PinnedStorage`` (on a GPU), ``HostStorage``, ``DiskStorage``, ``Recompute``
    (states on the device, in RAM or on disk) and, if every step is stored, ``Reverse`` (layers on the device or in RAM)
    when a model is first differentiated, and stays the same for that kind of problem (shapes, equation, time step) as
    long as the process lives; a run that is not differentiated measures nothing. :func:`jaxwave.plan` shows what it
    would choose and why.

    Attributes:
        codec: Compression of what is stored.
        device, host, disk: Bytes that a gradient may take in each place. Default: what is free at that moment, with a
            tenth left over. On a CPU, ``device`` and ``host`` are the same memory, and both together must be free.
        path: Directory for files.
    """

    codec: Codec = Raw()
    device: int | None = None
    host: int | None = None
    disk: int | None = None
    path: str = "."

    def __post_init__(self) -> None:
        wholes(self, "a whole number of bytes, at least 0", 0, "device", "host", "disk")
