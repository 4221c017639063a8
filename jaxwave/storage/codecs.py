"""Compression of stored wavefields: small objects with ``encode``, ``decode`` and ``spec``.

A codec turns one field [shot, ...] into a list of arrays ("leaves") and back, on the device, before anything is
transferred. Leaves are always floating point, because a stored history has a tangent (second derivatives store one)
and JAX gives integers none: 8-bit codes travel four to a float32 *word*, as bits. Two rules that every codec keeps:
leaves of zeros decode to zeros, and a field that holds a NaN or an infinity decodes to one that is not finite.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxwave._setup.validate.values import number, wholes

Leaves = list[jax.Array]


class Codec(Protocol):
    """Lossless or lossy storage of one field. Frozen and hashable."""

    def encode(self, field: jax.Array) -> Leaves:
        """The arrays to be stored for ``field`` [shot, ...]."""

    def decode(self, leaves: Leaves, shape: tuple[int, ...], dtype) -> jax.Array:
        """The field of this shape and dtype from its stored arrays."""

    def spec(self, shape: tuple[int, ...], dtype) -> list[jax.ShapeDtypeStruct]:
        """Shapes and dtypes of the arrays that ``encode`` makes of such a field."""


def stored_bytes(codec: Codec, shape: tuple[int, ...], dtype) -> int:
    """Bytes that one field takes once encoded."""
    return sum(math.prod(s.shape) * jnp.dtype(s.dtype).itemsize for s in codec.spec(shape, dtype))


@dataclasses.dataclass(frozen=True)
class Raw:
    """No compression: every bit is kept."""

    def encode(self, field):
        return [field]

    def decode(self, leaves, shape, dtype):
        return leaves[0]

    def spec(self, shape, dtype):
        return [jax.ShapeDtypeStruct(shape, dtype)]


@dataclasses.dataclass(frozen=True)
class BFloat16:
    """bfloat16: half the bytes of float32, its range, 8 significant bits.

    The bits travel as float16: XLA:CPU widens a bfloat16 array whenever one of its entries is written, the whole store
    in every step, which is a hundred times slower.
    """

    def encode(self, field):
        return [lax.bitcast_convert_type(field.astype(jnp.bfloat16), jnp.float16)]

    def decode(self, leaves, shape, dtype):
        return lax.bitcast_convert_type(leaves[0], jnp.bfloat16).astype(dtype)

    def spec(self, shape, dtype):
        return [jax.ShapeDtypeStruct(shape, jnp.float16)]


class _Blocks:
    """What codecs with a scale per block share: a shot's cells, in memory order, cut into blocks of ``block`` cells."""

    block: int

    def _n_blocks(self, shape: tuple[int, ...]) -> int:
        return math.ceil(math.prod(shape[1:]) / self.block)

    def _split(self, field: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The field as [shot, blocks, block] and the largest magnitude of each block."""
        n_shots, n_cells = field.shape[0], math.prod(field.shape[1:])
        n_blocks = self._n_blocks(field.shape)
        flat = field.reshape(n_shots, n_cells)
        if n_blocks * self.block != n_cells:
            flat = jnp.pad(flat, [(0, 0), (0, n_blocks * self.block - n_cells)])
        blocks = flat.reshape(n_shots, n_blocks, self.block)
        return blocks, jnp.abs(blocks).max(axis=2)

    def _join(self, blocks: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        flat = blocks.reshape(shape[0], -1)
        return flat[:, : math.prod(shape[1:])].reshape(shape)


def _reciprocal(x: jax.Array) -> jax.Array:
    """1 / x, and 0 where x is too small for that to be finite (such a block is stored as zeros)."""
    usable = x >= 1024 * jnp.finfo(x.dtype).tiny
    return jnp.where(usable | ~jnp.isfinite(x), 1 / jnp.where(usable | ~jnp.isfinite(x), x, 1), 0)


class _Integers(_Blocks):
    """What codecs of ``bits`` bits a cell share: uniform quantization to -top..top of a block's largest magnitude."""

    bits: int

    @property
    def _per_word(self) -> int:
        return 32 // self.bits

    @property
    def _top(self) -> int:
        return 2 ** (self.bits - 1) - 1

    @property
    def bound(self) -> float:
        """Largest error of a cell, relative to the largest magnitude in its block."""
        return 1 / (2 * self._top)

    def __post_init__(self) -> None:
        need = f"a positive multiple of {self._per_word} cells"
        wholes(self, need, self._per_word, "block")
        if self.block % self._per_word:
            raise ValueError(f"{type(self).__name__}: `block` must be {need}; got {self.block}")

    def encode(self, field):
        blocks, largest = self._split(field)
        codes = jnp.round(blocks * (self._top * _reciprocal(largest))[:, :, None])
        # Several codes to a word, cells a part of a block apart: each part is then one contiguous vector operation.
        parts = codes.astype(jnp.int32).reshape(*codes.shape[:2], self._per_word, self.block // self._per_word)
        parts = parts & (2**self.bits - 1)
        words = parts[:, :, 0]
        for k in range(1, self._per_word):
            words = words | parts[:, :, k] << self.bits * k
        return [lax.bitcast_convert_type(words, jnp.float32), largest]

    def decode(self, leaves, shape, dtype):
        words = lax.bitcast_convert_type(leaves[0], jnp.int32)[:, :, None, :]
        # Shift each code to the top and back with its sign.
        left = jnp.arange(32 - self.bits, -1, -self.bits, dtype=jnp.int32)[None, None, :, None]
        codes = lax.shift_right_arithmetic(jnp.left_shift(words, left), jnp.int32(32 - self.bits))
        scale = leaves[1].astype(dtype) / self._top
        return self._join(codes.astype(dtype) * scale[:, :, None, None], shape)

    def spec(self, shape, dtype):
        grid = (shape[0], self._n_blocks(shape))
        words = (*grid, self.block // self._per_word)
        return [jax.ShapeDtypeStruct(words, jnp.float32), jax.ShapeDtypeStruct(grid, dtype)]


@dataclasses.dataclass(frozen=True)
class Int4(_Integers):
    """4 bits a cell: the error of a cell is at most 1/14 of the largest magnitude in its block.

    Attributes:
        block: Cells that share a scale, a multiple of 8. Smaller blocks are more accurate and take more space:
            4 + 32 / block bits a cell in float32.
    """

    block: int = 32
    bits = 4


@dataclasses.dataclass(frozen=True)
class Int8(_Integers):
    """8 bits a cell: the error of a cell is at most 1/254 of the largest magnitude in its block.

    Attributes:
        block: Cells that share a scale, a multiple of 4. Smaller blocks are more accurate and take more space:
            8 + 32 / block bits a cell in float32.
    """

    block: int = 64
    bits = 8


@dataclasses.dataclass(frozen=True)
class Int16(_Integers):
    """16 bits a cell: the error of a cell is at most 1/65534 of the largest magnitude in its block.

    Attributes:
        block: Cells that share a scale, a multiple of 2.
    """

    block: int = 64
    bits = 16


@dataclasses.dataclass(frozen=True)
class Float16(_Blocks):
    """float16 scaled by block: half the bytes of float32, 11 significant bits.

    Without the scale, wavefields of small amplitude would vanish below float16's range.

    Attributes:
        block: Cells that share a scale.
    """

    block: int = 256

    def __post_init__(self) -> None:
        wholes(self, "a positive number of cells", 1, "block")

    def encode(self, field):
        blocks, largest = self._split(field)
        return [(blocks * _reciprocal(largest)[:, :, None]).astype(jnp.float16), largest]

    def decode(self, leaves, shape, dtype):
        return self._join(leaves[0].astype(dtype) * leaves[1][:, :, None], shape)

    def spec(self, shape, dtype):
        grid = (shape[0], self._n_blocks(shape))
        return [jax.ShapeDtypeStruct((*grid, self.block), jnp.float16), jax.ShapeDtypeStruct(grid, dtype)]


CODECS: dict[str, Codec] = {
    "int8": Int8(), "bf16": BFloat16(), "f16": Float16(), "int4": Int4(), "int16": Int16(),
}  # fmt: skip


def bounded(tolerance: float) -> Codec:
    """The smallest codec whose error in a cell is at most ``tolerance`` times the largest magnitude in its block.

    Blocks are 32 or 64 neighbouring cells; the error relative to the largest magnitude of the field is smaller still.
    The bound is that of the quantization; float32's own rounding adds 1 % to it
    at 16 bits. A block whose largest magnitude is below 1e-35 (float32) is stored as zeros.

    Args:
        tolerance: Relative error, positive: from 1/14 on 4 bits do, from 1/254 on 8, from 1/65534 on 16; below that
            nothing is compressed.

    Raises:
        TypeError: If ``tolerance`` is not a number.
        ValueError: If it is not positive.

    >>> bounded(0.1), bounded(0.01), bounded(1e-4)
    (Int4(block=32), Int8(block=64), Int16(block=64))
    """
    tolerance = number("tolerance", tolerance)
    if not tolerance > 0:
        raise ValueError(f"`tolerance` must be positive; got {tolerance!r}")
    return next((codec for codec in (Int4(), Int8(), Int16()) if codec.bound <= tolerance), Raw())


def as_codec(compression: bool | str | Codec) -> Codec:
    """The codec that ``storage_compression`` names.

    Args:
        compression: ``False`` (none), ``True`` (``"int8"``), a name in :data:`CODECS`, or a codec object.

    Raises:
        ValueError: If the name is unknown.
        TypeError: If the object is not a codec.
    """
    if isinstance(compression, (bool, np.bool_)):
        return CODECS["int8"] if compression else Raw()
    if isinstance(compression, str):
        if compression not in CODECS:
            raise ValueError(
                f"storage_compression={compression!r} is unknown; use False, True, "
                f"{', '.join(map(repr, CODECS))} or a codec object from jaxwave.storage"
            )
        return CODECS[compression]
    if not all(hasattr(compression, name) for name in ("encode", "decode", "spec")):
        raise TypeError(
            f"storage_compression must be a bool, a name or a codec with encode, decode and spec; got {compression!r}"
        )
    return compression
