"""Storage of every k-th cell along each axis: what the bandwidth of the source needs, and no more."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxwave._setup.validate.values import wholes
from jaxwave.storage.codecs import Codec, Raw

NEIGHBOURS = 3  # samples on either side that a value between them is interpolated from


@dataclasses.dataclass(frozen=True)
class Coarse:
    """Keeps averages around every ``every``-th cell along each axis, and interpolates when the field is needed.

    ``every`` ** ndim times fewer cells, each compressed by ``codec``. The interpolation is Lagrange's of six samples,
    along each axis in turn, and the averages are its transpose; both are exact for polynomials of degree 5. So the
    error is set by the samples that a wavelength has: about 0.4 % of a sine at 8 of them, 2 % at 6, 13 % at 4. What is
    stored is as smooth as the wavefield but in the cells of the sources: there, and in some cells around, a gradient
    is smoothed. It pays where the grid is finer than the waves need, as at high orders and in fast rock.

    Args:
        every: Cells from one sample to the next, 2 or more.
        codec: Codec of the samples. Default: none.

    Example:
        >>> from jaxwave.storage import Coarse, DeviceStorage, Int8
        >>> DeviceStorage(Coarse(2, Int8()))
        DeviceStorage(codec=Coarse(every=2, codec=Int8(block=64)))
    """

    every: int = 2
    codec: Codec = Raw()

    def __post_init__(self) -> None:
        wholes(self, "a whole number of cells, 2 or more", 2, "every")

    def _shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], *(math.ceil(n / self.every) for n in shape[1:]))

    def encode(self, field):
        x = field
        for axis in range(1, field.ndim):
            x = _averages(x, axis, self.every)
        return self.codec.encode(x)

    def decode(self, leaves, shape, dtype):
        x = self.codec.decode(leaves, self._shape(shape), dtype)
        for axis in range(1, len(shape)):
            x = _between(x, axis, shape[axis], self.every)
        return x

    def spec(self, shape, dtype):
        return self.codec.spec(self._shape(shape), dtype)


def _weights(fraction: float) -> np.ndarray:
    """Lagrange's weights of the samples -2, ..., 3 for the value at ``fraction``, between the samples 0 and 1."""
    nodes = np.arange(1 - NEIGHBOURS, 1 + NEIGHBOURS)
    return np.array([np.prod([(fraction - b) / (a - b) for b in nodes if b != a]) for a in nodes])


def _between(x: jax.Array, axis: int, size: int, every: int) -> jax.Array:
    """``size`` cells of which the samples x are every ``every``-th, zero beyond them."""
    n = x.shape[axis]
    padded = jnp.pad(x, [(NEIGHBOURS - 1, NEIGHBOURS) if a == axis else (0, 0) for a in range(x.ndim)])
    near = [lax.slice_in_dim(padded, k, k + n, axis=axis) for k in range(2 * NEIGHBOURS)]
    phases = [x]
    for phase in range(1, every):
        terms = [x.dtype.type(w) * near[k] for k, w in enumerate(_weights(phase / every))]
        phases.append(sum(terms[1:], terms[0]))
    fine = jnp.stack(phases, axis=axis + 1).reshape(*x.shape[:axis], n * every, *x.shape[axis + 1 :])
    return lax.slice_in_dim(fine, 0, size, axis=axis)


def _averages(x: jax.Array, axis: int, every: int) -> jax.Array:
    """The transpose of :func:`_between`, divided by ``every``: samples of x without what they cannot hold."""
    n = x.shape[axis]
    samples = jax.ShapeDtypeStruct((*x.shape[:axis], math.ceil(n / every), *x.shape[axis + 1 :]), x.dtype)
    (found,) = jax.linear_transpose(lambda y: _between(y, axis, n, every), samples)(x)
    return found / every
