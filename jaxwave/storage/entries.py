"""What histories are made of: an entry is a list of arrays (the encoded terms of one step), a chunk is several entries
with a leading axis, and a chunk is as many as a policy moves at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxwave.storage import pages
from jaxwave.storage.codecs import Codec

Spec = tuple[jax.ShapeDtypeStruct, ...]
Leaves = list[jax.Array]
Parts = tuple[Any, ...]
"""Something for each term of the equation: a part of a history, a chunk or a term; or None."""


def map_present(function, *parts: Parts) -> Parts:
    """Applies a function to the parts that are there (in the first of several)."""
    return tuple(None if xs[0] is None else function(*xs) for xs in zip(*parts, strict=True))


def specs(arrays: Sequence[Any]) -> Spec:
    """The shapes and dtypes of arrays."""
    return tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays)


def entry_bytes(spec: Spec) -> int:
    """Bytes of one entry."""
    return sum(math.prod(s.shape) * jnp.dtype(s.dtype).itemsize for s in spec)


def chunk_spec(spec: Spec, size: int) -> Spec:
    """``size`` entries: a leading axis on every leaf."""
    return tuple(jax.ShapeDtypeStruct((size, *s.shape), s.dtype) for s in spec)


def empty_chunk(spec: Spec, size: int) -> Leaves:
    """An uninitialised chunk (a zeroed one would cost one more pass over the whole store)."""
    return [pages.empty(s.shape, s.dtype) for s in chunk_spec(spec, size)]


def put_entry(chunk: Leaves, leaves: Leaves, j) -> Leaves:
    """The chunk with entry ``j`` replaced."""
    return [lax.dynamic_update_index_in_dim(c, leaf, j, 0) for c, leaf in zip(chunk, leaves, strict=True)]


def get_entry(chunk: Leaves, j) -> Leaves:
    """Entry ``j`` of a chunk."""
    return [lax.dynamic_index_in_dim(c, j, 0, keepdims=False) for c in chunk]


# ---- several fields with one codec ----


def encoded_spec(codec: Codec, fields: Sequence) -> Spec:
    """What ``encode`` makes of such fields (arrays, or their shapes and dtypes)."""
    return tuple(s for f in fields for s in codec.spec(f.shape, f.dtype))


def encode(codec: Codec, fields: Sequence[jax.Array]) -> Leaves:
    """The stored arrays of all fields, one field after the other."""
    return [leaf for f in fields for leaf in codec.encode(f)]


def decode(codec: Codec, leaves: Leaves, fields: Sequence) -> Leaves:
    """The fields, of the shapes and dtypes of ``fields``."""
    out, leaves = [], list(leaves)
    for f in fields:
        n = len(codec.spec(f.shape, f.dtype))
        out.append(codec.decode(leaves[:n], f.shape, f.dtype))
        leaves = leaves[n:]
    return out


def even_chunks(n_entries: int, most: int) -> int:
    """Entries of a chunk: about ``most``, an even divisor where one is near, so that one loop serves all chunks."""
    most = max(1, min(most, n_entries))
    good = [k for k in range(most // 2 + 1, most + 1) if n_entries % k == 0]
    size = max([k for k in good if k % 2 == 0] or good or [most])
    return math.ceil(n_entries / math.ceil(n_entries / size))  # as even as they can be


TRANSFER_BYTES = 2**25
"""32 MiB a transfer: far above what one costs besides, far below a field in 3-D times the number of steps."""


def transfer_size(steps: int | None, n_entries: int, spec: Spec, least: int = 1) -> int:
    """Entries of a chunk that is transferred: about ``steps``; if None, about ``TRANSFER_BYTES``, but no more than a
    32nd of the run, so that what stays on the device is small against the history, and no fewer than ``least``.
    """
    if steps is not None:
        return math.ceil(n_entries / math.ceil(n_entries / min(steps, n_entries)))
    return even_chunks(n_entries, max(least, min(TRANSFER_BYTES // entry_bytes(spec), n_entries // 32)))
