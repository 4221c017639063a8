"""Building blocks of an inversion, whatever the physics: filters, a misfit, batches of shots, a measure of success.

They are plain functions of arrays, made for a loop with optax; `docs/inversion.md` puts them together.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxwave.jax_internals import is_traced


def gaussian_smooth(
    model: ArrayLike, sigma: float | Sequence[float], grid_spacing: float | Sequence[float] = 1.0
) -> jax.Array:
    """Smooth a model with a Gaussian, for a starting model or against roughness in an update.

    ::

        smooth(x) = sum_y g(x - y) model(y),    g(d) ~ exp(-d^2 / (2 sigma^2)),    sum g = 1

    Along each axis in turn, cut at four standard deviations. Beyond its faces the model goes on with the value at the
    face, so that a constant stays what it is. Linear and differentiable.

    Args:
        model: Model [*cells], of any number of dimensions and a floating-point type.
        sigma: Standard deviation (metres), one number or one per axis. 0 leaves an axis as it is.
        grid_spacing: Cell size (metres), one number or one per axis. Default 1: ``sigma`` is in cells.

    Returns:
        The smoothed model, of the same shape and type.

    Raises:
        ValueError: If ``sigma`` is negative, ``grid_spacing`` is not positive, or their number is not that of the axes.

    Example:
        >>> import jax.numpy as jnp
        >>> layers = jnp.repeat(jnp.array([1500.0, 2500.0]), 50)[:, None]
        >>> [round(float(v), -1) for v in gaussian_smooth(layers, (100.0, 0.0), 20.0)[44:56:4, 0]]
        [1640.0, 1880.0, 2190.0]
    """
    model = jnp.asarray(model)
    sigmas, spacings = _per_axis("sigma", sigma, model.ndim), _per_axis("grid_spacing", grid_spacing, model.ndim)
    if min(sigmas, default=0) < 0 or min(spacings, default=1) <= 0:
        raise ValueError(f"`sigma`={sigma} must not be negative, and `grid_spacing`={grid_spacing} must be positive")
    for axis, width in enumerate(s / dx for s, dx in zip(sigmas, spacings, strict=True)):
        if width > 0:
            matrix = _smoothing_matrix(model.shape[axis], width).astype(model.dtype)
            smoothed = jnp.tensordot(matrix, model, (1, axis), precision="highest")
            model = jnp.moveaxis(smoothed, 0, axis)
    return model


def lowpass(data: ArrayLike, cutoff: ArrayLike, dt: float, order: int = 4) -> jax.Array:
    """Low-pass filter along the last axis without moving anything in time, for inversion from low frequencies to high.

    The amplitude response is that of a Butterworth filter applied forwards and backwards::

        H(f) = 1 / (1 + (f / cutoff)^(2 order))

    Apply it to predicted and observed data alike: it is linear, and differentiable in the data. Zeros are assumed
    before and after the record.

    Args:
        data: Records [..., nt].
        cutoff: Frequency at which half of the amplitude is left (Hz). May be traced, so that one program serves all
            bands.
        dt: Time step (seconds).
        order: Order of the filter; higher is steeper and rings longer. Default 4.

    Returns:
        The filtered records, of the same shape and type.

    Raises:
        ValueError: If ``cutoff``, ``dt`` or ``order`` is not positive.

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
    data = jnp.asarray(data)
    traced = is_traced(cutoff)
    if not dt > 0 or not order > 0 or (not traced and not float(cutoff) > 0):
        raise ValueError(f"`cutoff`={cutoff} Hz, `dt`={dt} s and `order`={order} must be positive")
    nt = data.shape[-1]
    frequencies = jnp.asarray(np.fft.rfftfreq(2 * nt, dt), data.dtype)
    response = 1 / (1 + (frequencies / cutoff) ** (2 * order))
    spectrum = jnp.fft.rfft(data, 2 * nt) * response.reshape((1,) * (data.ndim - 1) + (-1,))
    return jnp.fft.irfft(spectrum, 2 * nt)[..., :nt].astype(data.dtype)


def l2_misfit(predicted: ArrayLike, observed: ArrayLike) -> jax.Array:
    """Mean-square misfit of two records, the plainest that there is.

    ::

        misfit = mean (predicted - observed)^2

    Args:
        predicted: Records of any shape, e.g. [shot, receiver, nt].
        observed: Records of the same shape.

    Returns:
        The misfit, a scalar.

    Raises:
        ValueError: If the shapes differ (broadcasting would hide a mistake).

    Example:
        >>> import jax.numpy as jnp
        >>> float(l2_misfit(jnp.ones((2, 3)), jnp.zeros((2, 3))))
        1.0

    Reference:
        A. Tarantola, "Inversion of seismic reflection data in the acoustic approximation", Geophysics 49(8), 1259-1266,
        1984.
    """
    if np.shape(predicted) != np.shape(observed):
        raise ValueError(f"the predicted record has shape {np.shape(predicted)}, the observed one {np.shape(observed)}")
    return jnp.mean((jnp.asarray(predicted) - jnp.asarray(observed)) ** 2)


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
    """How much an update looks like the anomaly that was to be found, whatever its size.

    ::

        correlation = sum update anomaly / sqrt(sum update^2 sum anomaly^2)

    Args:
        update: Inverted minus initial model, of any shape.
        anomaly: True minus initial model, of the same shape.

    Returns:
        1 where one is a positive multiple of the other, 0 where they have nothing in common (or one is zero), -1 where
        the sign is wrong.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> round(correlation([0.0, 2.0, 2.0], [0.0, 100.0, 0.0]), 3)  # the right cell and another one
        0.707
    """
    a, b = np.asarray(update, float), np.asarray(anomaly, float)
    if a.shape != b.shape:
        raise ValueError(f"the update has shape {a.shape} and the anomaly {b.shape}")
    norm = math.sqrt(np.vdot(a, a) * np.vdot(b, b))
    return float(np.vdot(a, b) / norm) if norm else 0.0


def _per_axis(name: str, value: float | Sequence[float], ndim: int) -> tuple[float, ...]:
    values = np.atleast_1d(np.asarray(value, float))
    if values.size not in (1, ndim):
        raise ValueError(f"`{name}`={value} must be one number or {ndim}, one per axis of the model")
    return tuple(np.broadcast_to(values, (ndim,)).tolist())


def _smoothing_matrix(n: int, width: float) -> np.ndarray:
    """Matrix that smooths ``n`` cells with a Gaussian ``width`` cells wide; cells beyond the ends repeat the last one.

    A matrix product is as fast as a convolution at these sizes, has no corner cases, and JAX transposes it.
    """
    reach = max(1, math.ceil(4 * width))
    offset = np.arange(-reach, reach + 1)
    weight = np.exp(-0.5 * (offset / width) ** 2)
    matrix = np.zeros((n, n))
    rows, columns = np.broadcast_arrays(np.arange(n)[:, None], np.clip(np.arange(n)[:, None] + offset, 0, n - 1))
    np.add.at(matrix, (rows, columns), weight / weight.sum())
    return matrix
