"""Building blocks of an inversion, whatever the physics: filters, a misfit, batches of shots, a measure of success.

They are plain functions of arrays, made for a loop with optax; `docs/inversion.md` puts them together.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxwave._jax_internals import is_traced
from jaxwave._setup import validate


def gaussian_smooth(
    model: ArrayLike, sigma: float | Sequence[float], grid_spacing: float | Sequence[float] = 1.0
) -> jax.Array:
    """Smooth a model with a Gaussian, for a starting model or against roughness in an update.

    ::

        smooth(x) = sum_y g(x - y) model(y),    g(d) ~ exp(-d^2 / (2 sigma^2)),    sum g = 1

    Along each axis in turn, cut at four standard deviations. Beyond its faces the model goes on with the value at the
    face, so that a constant stays what it is. Linear and differentiable.

    Args:
        model: Model [*cells], of any number of dimensions. Float32 or float64; integers become floats.
        sigma: Standard deviation (metres), one number or one per axis. 0 leaves an axis as it is.
        grid_spacing: Cell size (metres), one number or one per axis. Default 1: ``sigma`` is in cells.

    Returns:
        The smoothed model, of the same shape and type.

    Raises:
        TypeError: If ``model`` is no such array.
        ValueError: If ``sigma`` is negative or not finite, ``grid_spacing`` is not positive, or their number is not
            that of the axes; if ``model`` has masked values.

    Example:
        >>> import jax.numpy as jnp
        >>> layers = jnp.repeat(jnp.array([1500.0, 2500.0]), 50)[:, None]
        >>> [round(float(v), -1) for v in gaussian_smooth(layers, (100.0, 0.0), 20.0)[44:56:4, 0]]
        [1640.0, 1880.0, 2190.0]
    """
    (model,) = validate.real_arrays(model=model)
    sigmas, spacings = _per_axis("sigma", sigma, model.ndim), _per_axis("grid_spacing", grid_spacing, model.ndim)
    if not all(0 <= s < math.inf for s in sigmas) or not all(0 < dx < math.inf for dx in spacings):
        raise ValueError(f"`sigma`={sigma} must not be negative, and `grid_spacing`={grid_spacing} must be positive")
    for axis, width in enumerate(s / dx for s, dx in zip(sigmas, spacings, strict=True)):
        if width > 0 and model.size:
            model = _smoothed(model, axis, width)
    return model


def lowpass(data: ArrayLike, cutoff: ArrayLike, dt: float, order: int = 4) -> jax.Array:
    """Low-pass filter along the last axis without moving anything in time, for inversion from low frequencies to high.

    The amplitude response is that of a Butterworth filter applied forwards and backwards::

        H(f) = 1 / (1 + (f / cutoff)^(2 order))

    Apply it to predicted and observed data alike: it is linear, and differentiable in the data. Zeros are assumed
    before and after the record.

    Args:
        data: Records [..., nt]. Float32 or float64; integers, as an oscilloscope's, become floats.
        cutoff: Frequency at which half of the amplitude is left (Hz). May be traced, so that one program serves all
            bands.
        dt: Time step (seconds).
        order: Order of the filter; higher is steeper and rings longer. Default 4.

    Returns:
        The filtered records, of the same shape and type.

    Raises:
        TypeError: If ``data`` is no such array.
        ValueError: If ``cutoff``, ``dt`` or ``order`` is not positive, or ``data`` has masked values or no time axis.

    Example:
        >>> import jax.numpy as jnp
        >>> t = jnp.arange(1000) * 0.004
        >>> low, high = jnp.sin(2 * jnp.pi * 3 * t), jnp.sin(2 * jnp.pi * 20 * t)
        >>> error = lowpass(low + high, 8.0, 0.004) - low
        >>> bool(jnp.abs(error[100:-100]).max() < 0.01)
        True

    Reference:
        C. Bunks, F. M. Saleck, S. Zaleski and G. Chavent, "Multiscale seismic waveform inversion", Geophysics 60(5),
        1457-1473, 1995.
    """
    (data,) = validate.real_arrays(data=data)
    traced = is_traced(cutoff)
    if not dt > 0 or not order > 0 or (not traced and not float(cutoff) > 0):
        raise ValueError(f"`cutoff`={cutoff} Hz, `dt`={dt} s and `order`={order} must be positive")
    if data.ndim == 0:
        raise ValueError("`data` is a number; its last axis must be time: give an array of shape [..., nt]")
    nt = data.shape[-1]
    if data.size == 0:
        return data
    frequencies = jnp.asarray(np.fft.rfftfreq(2 * nt, dt), data.dtype)
    response = 1 / (1 + (frequencies / cutoff) ** (2 * order))
    spectrum = jnp.fft.rfft(data, 2 * nt) * response.reshape((1,) * (data.ndim - 1) + (-1,))
    return jnp.fft.irfft(spectrum, 2 * nt)[..., :nt].astype(data.dtype)


def l2_misfit(predicted: ArrayLike, observed: ArrayLike) -> jax.Array:
    """Mean-squared (L2) misfit of two records.

    ::

        misfit = mean (predicted - observed)^2

    Args:
        predicted: Records of any shape, e.g. [shot, receiver, nt]. Float32 or float64; integers become floats.
        observed: Records of the same shape.

    Returns:
        The misfit, a scalar.

    Raises:
        TypeError: If a record is no such array.
        ValueError: If the shapes differ (broadcasting would hide a mistake), if the records are empty, or if one has
            masked values.

    Example:
        >>> import jax.numpy as jnp
        >>> float(l2_misfit(jnp.ones((2, 3)), jnp.zeros((2, 3))))
        1.0

    Reference:
        A. Tarantola, "Inversion of seismic reflection data in the acoustic approximation", Geophysics 49(8), 1259-1266,
        1984.
    """
    predicted, observed = validate.real_arrays(predicted=predicted, observed=observed)
    if predicted.shape != observed.shape:
        raise ValueError(f"the predicted record has shape {predicted.shape}, the observed one {observed.shape}")
    if predicted.size == 0:
        raise ValueError(
            f"the records are empty, of shape {predicted.shape}, and have no mean; give at least one sample"
        )
    return jnp.mean((predicted - observed) ** 2)


def shot_batch(n_shots: int, batch: int, seed: int, iteration: int) -> np.ndarray:
    """Shots that an iteration uses: always equally many, in an order that depends on nothing but the arguments.

    All shots are shuffled, used, shuffled again, and so on, so each is used equally often. A fixed size needs one
    compilation. Without hidden state, an inversion that is resumed at an iteration goes on as if never interrupted.

    Args:
        n_shots: Number of shots.
        batch: Shots per iteration.
        seed: Seed of the shuffles.
        iteration: Number of the iteration, from 0.

    Returns:
        Shot numbers [batch], in increasing order.

    Raises:
        ValueError: If ``batch`` is not from 1 to ``n_shots``, or ``seed`` or ``iteration`` is negative.

    Example:
        >>> [shot_batch(6, 3, seed=1, iteration=i).tolist() for i in range(2)]
        [[0, 2, 4], [1, 3, 5]]
    """
    n_shots, batch, seed, iteration = (operator.index(n) for n in (n_shots, batch, seed, iteration))
    if not 1 <= batch <= n_shots:
        raise ValueError(f"`batch`={batch} must be from 1 to the number of shots, {n_shots}")
    if seed < 0 or iteration < 0:
        raise ValueError(f"`seed`={seed} and `iteration`={iteration} must not be negative")
    first = iteration * batch
    rounds = range(first // n_shots, (first + batch - 1) // n_shots + 1)
    order = np.concatenate([np.random.default_rng((seed, r)).permutation(n_shots) for r in rounds])
    offset = first - rounds[0] * n_shots
    return np.sort(order[offset : offset + batch])


def correlation(update: ArrayLike, anomaly: ArrayLike) -> float:
    """Correlation of an update with the anomaly that was to be found, whatever their sizes.

    ::

        correlation = sum update anomaly / sqrt(sum update^2 sum anomaly^2)

    Args:
        update: Inverted minus initial model, of any shape.
        anomaly: True minus initial model, of the same shape.

    Returns:
        1 where one is a positive multiple of the other, 0 where they have nothing in common (or one is zero), -1 where
        the sign is wrong.

    Raises:
        TypeError: If one is no array of real numbers.
        ValueError: If the shapes differ, or one has masked values.

    Example:
        >>> round(correlation([0.0, 2.0, 2.0], [0.0, 100.0, 0.0]), 3)  # the right cell and another one
        0.707
    """
    a, b = validate.numpy_values("update", update), validate.numpy_values("anomaly", anomaly)
    if a.shape != b.shape:
        raise ValueError(f"the update has shape {a.shape} and the anomaly {b.shape}")
    norm = math.sqrt(np.vdot(a, a) * np.vdot(b, b))
    return float(np.vdot(a, b) / norm) if norm else 0.0


def _per_axis(name: str, value: float | Sequence[float], ndim: int) -> tuple[float, ...]:
    values = np.atleast_1d(validate.numpy_values(name, value))
    if values.size not in (1, ndim):
        raise ValueError(f"`{name}`={value} must be one number or {ndim}, one per axis of the model")
    return tuple(np.broadcast_to(values, (ndim,)).tolist())


BLOCK = 128  # cells, at most, of the blocks below: matrices of this size multiply as fast as large ones, and are 64 kB


@functools.partial(jax.jit, static_argnums=(1, 2))
def _smoothed(x: jax.Array, axis: int, width: float) -> jax.Array:
    """x smoothed along an axis with a Gaussian ``width`` cells wide; cells beyond the ends repeat the last one.

    But for those cells it is a product with a band matrix, whose rows are all the same. That of blocks of cells is a
    product with one small matrix for each distance between two blocks: a few times the model in memory, and as fast as
    a convolution at every width. The cells beyond the ends add multiples of the first and the last cell.
    """
    n, lead = x.shape[axis], [size for a, size in enumerate(x.shape) if a != axis]
    rows = jnp.moveaxis(x, axis, -1).reshape(-1, n)
    weights, beyond = _gaussian_weights(width, n)
    near = len(weights) // 2
    count = -(-n // BLOCK)
    size = -(-n // count)
    spans = (size - 1 + 2 * near) // size + 1  # blocks that a block depends on
    blocks = jnp.pad(rows, [(0, 0), (near, (count + spans - 1) * size - n - near)]).reshape(len(rows), -1, size)
    place = size * np.arange(spans)[:, None, None] + np.arange(size)[:, None] - np.arange(size)
    matrices = np.where((place >= 0) & (place <= 2 * near), weights[np.clip(place, 0, 2 * near)], 0).astype(x.dtype)

    def add(total, span):
        k, matrix = span
        return total + jnp.matmul(lax.dynamic_slice_in_dim(blocks, k, count, 1), matrix, precision="highest"), None

    total, _ = lax.scan(add, jnp.zeros((len(rows), count, size), x.dtype), (np.arange(spans), matrices))
    ends = np.stack([beyond, beyond[::-1]]).astype(x.dtype)
    smooth = total.reshape(len(rows), -1)[:, :n] + jnp.matmul(rows[:, [0, n - 1]], ends, precision="highest")
    return jnp.moveaxis(smooth.reshape(*lead, n), -1, axis)


def _gaussian_weights(width: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Of a Gaussian on an axis of ``n`` cells: its weights at the distances that they have, from the negative ones to
    the positive; and the sum of those that each cell [n] has for cells before the first.
    """
    reach = max(1, math.ceil(4 * width))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    weights /= weights.sum()
    below = np.concatenate([[0], np.cumsum(weights)])
    near = min(reach, n - 1)
    return weights[reach - near : reach + near + 1], below[np.maximum(reach - np.arange(n), 0)]
