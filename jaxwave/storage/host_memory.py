"""The request for host memory on a GPU, whose tier depends on the size of the history."""

from __future__ import annotations

import dataclasses

from jaxwave.storage.base import Request, Storage
from jaxwave.storage.codecs import Codec, Raw
from jaxwave.storage.pinned import PinnedStorage, counts_right, pool_bytes
from jaxwave.storage.streamed import HostStorage


@dataclasses.dataclass(frozen=True)
class HostMemory(Request):
    """``storage_mode="cpu"`` on a GPU: ``PinnedStorage`` where a history takes no more than half of XLA's pool of
    pinned memory (a Hessian product keeps two), and ``HostStorage`` otherwise. It is one or the other once a model is
    differentiated.

    Attributes:
        codec: Compression, applied on the device before the transfer.
    """

    codec: Codec = Raw()

    def settled(self, stored: int) -> Storage:
        if 2 * stored > pool_bytes():
            return HostStorage(self.codec)
        return PinnedStorage(self.codec, counted=counts_right())
