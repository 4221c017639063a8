"""Uninitialised arrays; on a CPU under Linux, large ones in huge pages.

XLA allocates the memory of a program anew in every call, and Linux hands new memory over in pages of 4 KiB, each at its
first touch: for a stored history, that takes longer than the time loop. Here the system is asked for pages of 2 MiB
(``madvise``, as NumPy asks for its own large arrays) by a function that XLA calls where such an array begins: a typed
foreign function (:mod:`jax.ffi`) written in Python. Its structures are those of ``xla/ffi/api/c_api.h``, version 0.3.

Where that is not to be had, arrays are as :func:`jax.lax.empty` makes them.
"""

from __future__ import annotations

import ctypes
import functools
import math
import mmap

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxwave import _jax_internals as jax_internals

LEAST = 4 << 20
"""Arrays of fewer bytes are left as they are."""


def empty(shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
    """An array whose elements are not set."""
    spec = jax.ShapeDtypeStruct(shape, dtype)
    if _bytes(spec) < LEAST or not _available():
        return lax.empty(shape, dtype)
    return _empty_p.bind(spec=spec)[0]


def _bytes(spec: jax.ShapeDtypeStruct) -> int:
    return math.prod(spec.shape) * jnp.dtype(spec.dtype).itemsize


def _plain(*, spec):
    return [lax.empty(spec.shape, spec.dtype)]


def _advised(*, spec):
    return [jax_internals.call_foreign_function(_TARGET, spec, nbytes=np.int64(_bytes(spec)))]


# In a program that the compiler divides among devices, the call would keep what it makes on one of them.
_empty_p = jax_internals.primitive(
    "wave_empty", lambda *, spec: [spec], _plain, _plain, on_platform={"cpu": _advised}, divided={"cpu": _plain}
)


# ---- the foreign function ----

_TARGET = "jaxwave_huge_pages"
_VERSION = 0, 3
_METADATA, _EXECUTE = 1, 3  # XLA_FFI_Extension_Metadata, XLA_FFI_ExecutionStage_EXECUTE


def _structure(**fields) -> type[ctypes.Structure]:
    return type("Structure", (ctypes.Structure,), {"_fields_": [*fields.items()]})


_to = ctypes.POINTER
_head = dict(struct_size=ctypes.c_size_t, extension=ctypes.c_void_p)
_Version = _structure(**_head, major=ctypes.c_int, minor=ctypes.c_int)
_Metadata = _structure(struct_size=ctypes.c_size_t, version=_Version, traits=ctypes.c_uint32)
_Extension = _structure(struct_size=ctypes.c_size_t, type=ctypes.c_int, next=ctypes.c_void_p, metadata=_to(_Metadata))
_Buffer = _structure(**_head, dtype=ctypes.c_int, data=ctypes.c_void_p)
_Buffers = _structure(**_head, size=ctypes.c_int64, types=ctypes.c_void_p, items=_to(_to(_Buffer)))
_Scalar = _structure(dtype=ctypes.c_int, value=_to(ctypes.c_int64))
_Attributes = _structure(
    **_head, size=ctypes.c_int64, types=ctypes.c_void_p, names=ctypes.c_void_p, items=_to(_to(_Scalar))
)
_Call = _structure(
    struct_size=ctypes.c_size_t,
    extension=_to(_Extension),
    api=ctypes.c_void_p,
    context=ctypes.c_void_p,
    stage=ctypes.c_int,
    arguments=_Buffers,
    results=_Buffers,
    attributes=_Attributes,
)


def _madvise(start: int, nbytes: int, advice: int) -> int:
    """madvise(2)."""
    return ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(nbytes), advice)


@ctypes.CFUNCTYPE(ctypes.c_void_p, _to(_Call))
def _advise(call):
    """What XLA calls: to learn the version, and for each array. Returns NULL, for no error."""
    call = call.contents
    if call.extension and call.extension.contents.type == _METADATA:
        version = call.extension.contents.metadata.contents.version
        version.major, version.minor = _VERSION
    elif call.stage == _EXECUTE:
        start = call.results.items[0].contents.data
        stop = start + call.attributes.items[0].contents.value[0]
        first, last = -(-start // mmap.PAGESIZE), stop // mmap.PAGESIZE
        _madvise(first * mmap.PAGESIZE, (last - first) * mmap.PAGESIZE, mmap.MADV_HUGEPAGE)


@functools.cache
def _available() -> bool:
    """Whether XLA knows the function now. (Not at import: an error would keep JAX from its CPU ever after.)"""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return False
    try:
        jax.devices("cpu")
    except RuntimeError:  # JAX was told to do without a CPU
        return False
    try:
        jax_internals.register_foreign_function(_TARGET, _advise, "cpu")
    except Exception as error:  # the interface is no longer that of this file
        jax_internals.leave_out("the foreign function for huge pages", "large histories take longer to write", error)
        return False
    return True
