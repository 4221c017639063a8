"""Misfits of records: what an inversion makes small, from least squares to those that a large delay does not mislead.

Each takes a predicted and an observed record [..., nt], time last, and returns a number. ``weights`` [..., nt], or of
any shape that broadcasts to it, are 0 where a sample does not count: a mute, a missing trace, noise. Traces that are
zero, or have no weight, add nothing and have no gradient. All are differentiable twice with respect to the predicted
record, except where said, so that Gauss-Newton and Hessian products work.

What they cost is nothing beside a propagation. What they are for shows in their values against a delay of the record::

    l2, huber, student_t                      minimum in the right cycle alone, half a period wide
    correlation, phase                        the same width; amplitudes do not count, or only along a trace
    envelope, travel_time, wasserstein, ...   one minimum over several periods
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxwave._setup import validate

__all__ = [
    "correlation", "delays", "envelope", "fourier", "huber", "l2", "matching_filter", "phase", "soft_dtw", "student_t",
    "travel_time", "wasserstein",
]  # fmt: skip


# ---- of each sample ----


def l2(predicted: ArrayLike, observed: ArrayLike, weights: ArrayLike | None = None) -> jax.Array:
    """Half the sum of squared residuals: sum of w (p - d)^2 / 2.

    Args:
        predicted, observed: Records p and d of one shape.
        weights: w, broadcast to it.

    Reference:
        A. Tarantola, "Inversion of seismic reflection data in the acoustic approximation", Geophysics 49 (1984).

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> float(jaxwave.misfits.l2(jnp.array([1.0, 2.0]), jnp.zeros(2), weights=jnp.array([1.0, 0.0])))
        0.5
    """
    p, d, w = _records(predicted, observed, weights)
    return jnp.sum(w * (p - d) ** 2) / 2


def huber(predicted: ArrayLike, observed: ArrayLike, threshold: float, weights: ArrayLike | None = None) -> jax.Array:
    """Least squares for residuals of at most ``threshold``, and their size beyond: outliers count less.

    Args:
        predicted, observed: Records of one shape.
        threshold: In the records' unit. The second derivative jumps there.
        weights: Broadcast to that shape.

    Reference:
        A. Guitton and W. W. Symes, "Robust inversion of seismic data using the Huber norm", Geophysics 68 (2003).
    """
    p, d, w = _records(predicted, observed, weights)
    threshold = validate.positive("threshold", threshold)
    size = jnp.abs(p - d)
    near = jnp.minimum(size, threshold)
    return jnp.sum(w * near * (size - near / 2))


def student_t(
    predicted: ArrayLike, observed: ArrayLike, scale: float, freedom: float = 1.0, weights: ArrayLike | None = None
) -> jax.Array:
    """Minus the logarithm of Student's t distribution of the residuals: outliers hardly count at all.

    ::

        sum of w (k + 1) / 2 log(1 + ((p - d) / scale)^2 / k)

    Args:
        predicted, observed: Records p and d of one shape.
        scale: Width of the distribution, in the records' unit.
        freedom: Degrees of freedom k; 1 is Cauchy's distribution.
        weights: w, broadcast to that shape.

    Reference:
        A. Y. Aravkin, T. van Leeuwen and F. Herrmann, "Robust full-waveform inversion using the Student's
        t-distribution", SEG Technical Program Expanded Abstracts (2011).
    """
    p, d, w = _records(predicted, observed, weights)
    scale, k = validate.positive("scale", scale), validate.positive("freedom", freedom)
    return (k + 1) / 2 * jnp.sum(w * jnp.log1p(((p - d) / scale) ** 2 / k))


# ---- of shapes, whatever the amplitude ----


def correlation(
    predicted: ArrayLike, observed: ArrayLike, weights: ArrayLike | None = None, each_trace: bool = True
) -> jax.Array:
    """How far records are from being multiples of each other: ``1 - <p, d> / (|p| |d|)``, which is from 0 to 2.

    Args:
        predicted, observed: Records p and d of one shape.
        weights: Multiply both.
        each_trace: Whether every trace is compared by itself, and the results added up: amplitudes along a gather do
            not count. If False the whole records are.

    Reference:
        Y. Choi and T. Alkhalifah, "Application of multi-source waveform inversion to marine streamer data using the
        global correlation norm", Geophysical Prospecting 60 (2012).

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> trace = jnp.sin(jnp.arange(50.0))
        >>> round(float(jaxwave.misfits.correlation(3 * trace, trace)), 6)
        0.0
    """
    p, d, w = _records(predicted, observed, weights)
    p, d = (x * w if each_trace else (x * w).reshape(-1) for x in (p, d))
    return jnp.sum(jnp.where(_is_there(p) & _is_there(d), 1 - jnp.sum(_unit(p) * _unit(d), -1), 0))


def phase(
    predicted: ArrayLike, observed: ArrayLike, weights: ArrayLike | None = None, level: float = 0.01
) -> jax.Array:
    """Difference of the instantaneous phases, as points on the unit circle: ``sum of w |P/|P| - D/|D||^2 / 2``.

    P and D are the analytic signals of p and d. As exponentials the phases do not wrap.

    Args:
        predicted, observed: Records of one shape.
        weights: w, broadcast to it.
        level: Fraction of the observed trace's largest envelope below which phases count less and less.

    Reference:
        Y. O. Yuan et al., "The exponentiated phase measurement, and objective-function hybridization for adjoint
        waveform tomography", Geophysical Journal International 221 (2020).
    """
    p, d, w = _records(predicted, observed, weights)

    floor = _floor(d, level**2)

    def direction(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        re, im = _analytic(x)
        size = lax.rsqrt(re**2 + im**2 + floor)
        return re * size, im * size

    (pr, pi), (dr, di) = direction(p), direction(d)
    return jnp.sum(w * ((pr - dr) ** 2 + (pi - di) ** 2)) / 2


# ---- of energy and its time ----


def envelope(
    predicted: ArrayLike, observed: ArrayLike, weights: ArrayLike | None = None, power: float = 2.0
) -> jax.Array:
    """Least squares of envelopes raised to a power: ``sum of w (|P|^q - |D|^q)^2 / 2``, P and D the analytic signals.

    Args:
        predicted, observed: Records of one shape.
        weights: w, broadcast to it.
        power: q. 2 has the smoothest misfit; 1 weighs weak arrivals more.

    Reference:
        E. Bozdag, J. Trampert and J. Tromp, "Misfit functions for full waveform inversion based on instantaneous phase
        and envelope measurements", Geophysical Journal International 185 (2011); R.-S. Wu, J. Luo and B. Wu, "Seismic
        envelope inversion and modulation signal model", Geophysics 79 (2014).
    """
    p, d, w = _records(predicted, observed, weights)
    power, floor = validate.positive("power", power), _floor(d, 1e-6)

    def raised(x: jax.Array) -> jax.Array:
        re, im = _analytic(x)
        square = re**2 + im**2
        if power == 2:
            return square
        return (square + floor) ** (power / 2)

    return jnp.sum(w * (raised(p) - raised(d)) ** 2) / 2


def delays(predicted: ArrayLike, observed: ArrayLike, dt: float, longest: float | None = None) -> jax.Array:
    """By how much each predicted trace is later than the observed one (s): where their cross-correlation is largest.

    Between samples the correlation is that of the band-limited traces. Its maximum is found by Newton's method, through
    which the delay has its exact first and second derivatives.

    Args:
        predicted, observed: Records [..., nt] of one shape.
        dt: Time step (s).
        longest: Largest delay that is looked for (s). Default: the record's length.

    Returns:
        The delays [...]; 0 where a trace is zero.

    Reference:
        Y. Luo and G. T. Schuster, "Wave-equation traveltime inversion", Geophysics 56 (1991).

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> ricker = lambda peak: jaxwave.wavelets.ricker(20.0, 200, 2e-3, peak)
        >>> round(float(jaxwave.misfits.delays(ricker(0.2034), ricker(0.2), 2e-3)), 5)
        0.0034
    """
    p, d, _ = _records(predicted, observed, None)
    dt, nt = validate.positive("dt", dt), p.shape[-1]
    most = nt - 1 if longest is None else min(nt - 1, int(validate.positive("longest", longest) / dt))
    n = 2 * nt
    spectrum = jnp.fft.rfft(p, n) * jnp.conj(jnp.fft.rfft(d, n))
    lags = jnp.fft.irfft(lax.stop_gradient(spectrum), n)
    near = jnp.concatenate([lags[..., : most + 1], lags[..., n - most :]], -1)
    first = jnp.argmax(near, -1)
    first = jnp.where(first > most, first - (2 * most + 1), first).astype(p.dtype)
    found = _is_there(p) & _is_there(d)
    spectrum = jnp.where(found[..., None], spectrum, 1)  # a pulse at 0
    first = jnp.where(found, first, 0)
    w = _along_time(2 * np.pi * np.arange(n // 2 + 1) / n, p)

    def newton(lag: jax.Array, spectrum: jax.Array) -> jax.Array:
        turned = spectrum * jnp.exp(1j * w * lag[..., None])
        slope, bend = -jnp.sum(w * turned.imag, -1), -jnp.sum(w**2 * turned.real, -1)
        step = jnp.where(bend < 0, -slope / jnp.where(bend < 0, bend, 1), 0)
        return jnp.clip(lag + jnp.clip(step, -0.5, 0.5), first - 1, first + 1)

    lag = functools.reduce(lambda lag, _: newton(lag, lax.stop_gradient(spectrum)), range(6), first)
    for _ in range(2):  # from the solution, each of these has one more derivative right
        lag = newton(lag, spectrum)
    return jnp.where(found, dt * lag, 0)


def travel_time(
    predicted: ArrayLike, observed: ArrayLike, dt: float, longest: float | None = None,
    weights: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """Half the sum of squared delays of the traces (:func:`delays`): sum of w t^2 / 2, in s^2.

    Args:
        predicted, observed: Records [..., nt] of one shape.
        dt: Time step (s).
        longest: Largest delay that is looked for (s).
        weights: w, of the traces [...].
    """
    found = delays(predicted, observed, dt, longest)
    w = jnp.ones((), found.dtype) if weights is None else _weights(weights, found)
    return jnp.sum(w * found**2) / 2


def wasserstein(
    predicted: ArrayLike, observed: ArrayLike, dt: float, order: int = 2, positive: str = "square",
    sharpness: float = 1.0, weights: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """What it takes to move one trace's energy in time to where the other's is, summed over traces: s^2, or s.

    With F and G the parts of the energy that have arrived until a time, W2^2 is the integral of (G^-1(y) - F^-1(y))^2
    over y from 0 to 1, and W1 that of ``|F - G|`` over time.

    Args:
        predicted, observed: Records [..., nt] of one shape.
        dt: Time step (s).
        order: 2 or 1. Of order 1 the second derivative is 0.
        positive: What makes traces positive, which energy must be: "square"; or "softplus", of the trace over its
            root mean square, which keeps polarity apart.
        sharpness: Of "softplus": its argument at the root mean square.
        weights: Of the samples; multiply the energy of both.

    Reference:
        Y. Yang, B. Engquist, J. Sun and B. F. Hamfeldt, "Application of optimal transport and the quadratic Wasserstein
        metric to full-waveform inversion", Geophysics 83 (2018); L. Metivier et al., "Measuring the misfit between
        seismograms using an optimal transport distance", Geophysical Journal International 205 (2016).

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> ricker = lambda peak: jaxwave.wavelets.ricker(20.0, 400, 2e-3, peak)
        >>> moved = jaxwave.misfits.wasserstein(ricker(0.5), ricker(0.2), 2e-3)
        >>> round(float(moved**0.5), 4)
        0.3
    """
    p, d, w = _records(predicted, observed, weights)
    dt = validate.positive("dt", dt)
    if order not in (1, 2):
        raise ValueError(f"`order` must be 1 or 2; got {order!r}")
    if positive not in ("square", "softplus"):
        raise ValueError(f"`positive` must be 'square' or 'softplus'; got {positive!r}")

    def arrived(x: jax.Array) -> jax.Array:
        """The fraction of the energy until the end of each sample [..., nt]."""
        if positive == "square":
            energy = w * x**2
        else:
            energy = w * jax.nn.softplus(sharpness * _unit(x) * x.shape[-1] ** 0.5)
        total = energy.sum(-1, keepdims=True)
        return jnp.cumsum(energy / jnp.where(total > 0, total, 1), -1)

    f, g = arrived(p), arrived(d)
    here = _is_there(p * w) & _is_there(d * w)
    if order == 1:
        found = dt * jnp.sum(jnp.abs(f - g), -1)
    else:
        nt, traces = p.shape[-1], f.reshape(-1, p.shape[-1])
        found = dt**2 * jax.vmap(_squared_transport)(traces, g.reshape(-1, nt)).reshape(p.shape[:-1])
    return jnp.sum(jnp.where(here, found, 0))


def _squared_transport(f: jax.Array, g: jax.Array) -> jax.Array:
    """The integral of (G^-1 - F^-1)^2 for distributions that grow linearly within a sample, in samples squared.

    Between the levels at which a sample of either ends both are linear, and Gauss's rule of two points is exact.
    """
    nt = f.shape[0]
    times = jnp.arange(nt + 1, dtype=f.dtype)
    f, g = (jnp.concatenate([jnp.zeros(1, x.dtype), x / jnp.where(x[-1] > 0, x[-1], 1)]) for x in (f, g))
    levels = jnp.sort(jnp.concatenate([f, g[1:-1]]))

    def inverse(x: jax.Array, y: jax.Array) -> jax.Array:
        k = jnp.clip(jnp.searchsorted(lax.stop_gradient(x), lax.stop_gradient(y), side="right") - 1, 0, nt - 1)
        rise = x[k + 1] - x[k]
        return times[k] + jnp.where(rise > 0, (y - x[k]) / jnp.where(rise > 0, rise, 1), 0)

    middle, half = (levels[:-1] + levels[1:]) / 2, jnp.diff(levels) / 2
    points = (middle - half / 3**0.5, middle + half / 3**0.5)
    return jnp.sum(half * sum((inverse(f, y) - inverse(g, y)) ** 2 for y in points))


def matching_filter(
    predicted: ArrayLike, observed: ArrayLike, dt: float, level: float = 1e-3, weights: ArrayLike | None = None
) -> jax.Array:
    """Adaptive waveform inversion: how far from time 0 the filters are that turn observed traces into predicted ones.

    ::

        sum over traces of |t f|^2 / |f|^2 / 2        F = (P conj(D) + e) / (|D|^2 + e)        e = level max |D|^2

    Args:
        predicted, observed: Records [..., nt] of one shape.
        dt: Time step (s).
        level: Where a trace has less energy than this fraction of its largest, the filter changes nothing.
        weights: Multiply both records.

    Returns:
        The misfit, in s^2.

    Reference:
        M. Warner and L. Guasch, "Adaptive waveform inversion: theory", Geophysics 81 (2016).
    """
    p, d, w = _records(predicted, observed, weights)
    dt, n = validate.positive("dt", dt), 2 * p.shape[-1]
    spectra = [jnp.fft.rfft(x * w, n) for x in (p, d)]
    power = spectra[1].real ** 2 + spectra[1].imag ** 2
    floor = validate.positive("level", level) * power.max(-1, keepdims=True)
    floor = jnp.where(floor > 0, floor, 1)
    f = jnp.fft.irfft((spectra[0] * jnp.conj(spectra[1]) + floor) / (power + floor), n)
    times = _along_time(dt * np.fft.fftfreq(n, 1 / n), p)
    return jnp.sum(jnp.sum((times * f) ** 2, -1) / jnp.sum(f**2, -1)) / 2


def soft_dtw(
    predicted: ArrayLike, observed: ArrayLike, smoothing: float = 0.01, weights: ArrayLike | None = None
) -> jax.Array:
    """Soft dynamic time warping: the least squares that stretching both traces in time leaves, with a soft minimum.

    Traces are divided by the observed one's largest value, and the result is that of the two less half of each with
    itself, which is 0 where they are equal. It takes time and memory of nt^2 a trace: for records of few samples.

    Args:
        predicted, observed: Records [..., nt] of one shape.
        smoothing: Of the minimum; 0.001 is nearly sharp.
        weights: Multiply both records.

    Reference:
        M. Cuturi and M. Blondel, "Soft-DTW: a differentiable loss function for time-series", ICML (2017); M. Blondel,
        A. Mensch and J.-P. Vert, "Differentiable divergences between time series", AISTATS (2021).
    """
    p, d, w = _records(predicted, observed, weights)
    smoothing, nt = validate.positive("smoothing", smoothing), p.shape[-1]
    size = jnp.abs(d * w).max(-1, keepdims=True)
    p, d = ((x * w / jnp.where(size > 0, size, 1)).reshape(-1, nt) for x in (p, d))
    warp = jax.vmap(functools.partial(_warping_cost, smoothing=smoothing))
    found = warp(p, d) - (warp(p, p) + warp(d, d)) / 2
    return jnp.sum(jnp.where(size.reshape(-1) > 0, found, 0))


def _warping_cost(x: jax.Array, y: jax.Array, smoothing: float) -> jax.Array:
    """The cost of the best alignment of two traces, by anti-diagonals."""
    n = x.shape[0]
    infinite = jnp.asarray(1e10, x.dtype)
    i = jnp.arange(n)

    def diagonal(carry: tuple[jax.Array, jax.Array], k: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        before, last = carry  # the two diagonals before this one, by row
        j = k - i
        cost = (x - y[jnp.clip(j, 0, n - 1)]) ** 2
        above = jnp.concatenate([infinite[None], last[:-1]])
        beside = jnp.concatenate([jnp.where(k == 0, 0, infinite)[None], before[:-1]])
        least = jnp.stack([above, last, beside])
        soft = -smoothing * jax.nn.logsumexp(-least / smoothing, axis=0)
        now = jnp.where((j >= 0) & (j < n), cost + soft, infinite)
        return (last, now), now[-1]

    start = (jnp.full(n, infinite), jnp.full(n, infinite))
    return lax.scan(diagonal, start, jnp.arange(2 * n - 1))[1][-1]


# ---- in the frequency domain ----


def fourier(
    predicted: ArrayLike, observed: ArrayLike, dt: float, frequencies: Sequence[float], level: float = 1e-3,
    weights: ArrayLike | None = None,
) -> jax.Array:  # fmt: skip
    """Amplitudes and phases at some frequencies: ``sum of (log|P/D|^2 + arg(P/D)^2) / 2``, the logarithmic misfit.

    A phase is from -pi to pi, so records must be within half a period of the frequency: begin with the lowest.

    Args:
        predicted, observed: Records [..., nt] of one shape.
        dt: Time step (s).
        frequencies: The frequencies (Hz).
        level: Fraction of a record's largest amplitude below which a trace does not count at a frequency.
        weights: Multiply both records.

    Reference:
        C. Shin and D.-J. Min, "Waveform inversion using a logarithmic wavefield", Geophysics 71 (2006).
    """
    p, d, w = _records(predicted, observed, weights)
    times = validate.positive("dt", dt) * np.arange(p.shape[-1])
    waves = np.exp(-2j * np.pi * np.outer(times, np.asarray(frequencies, float)))
    re, im = (jnp.asarray(x, p.dtype) for x in (waves.real, waves.imag))
    (pr, pi), (dr, di) = ([jnp.matmul(x * w, a, precision="highest") for a in (re, im)] for x in (p, d))
    power, wanted = pr**2 + pi**2, dr**2 + di**2
    counts = (wanted > level**2 * wanted.max()) & (power > 0)
    safe = jnp.where(counts, power, 1), jnp.where(counts, wanted, 1)
    amplitude = jnp.log(safe[0] / safe[1]) / 2
    angle = jnp.arctan2(jnp.where(counts, pi * dr - pr * di, 0), jnp.where(counts, pr * dr + pi * di, 1))
    return jnp.sum(jnp.where(counts, amplitude**2 + angle**2, 0)) / 2


# ---- shared ----


def _records(
    predicted: ArrayLike, observed: ArrayLike, weights: ArrayLike | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The two records and their weights, checked."""
    p, d = validate.real_arrays(predicted=predicted, observed=observed)
    if p.shape != d.shape:
        raise ValueError(f"the predicted record has shape {p.shape}, the observed one {d.shape}")
    if p.ndim == 0 or p.size == 0:
        raise ValueError(f"records must be [..., nt] with at least one sample; got shape {p.shape}")
    return p, d, jnp.ones((), p.dtype) if weights is None else _weights(weights, p)


def _weights(weights: ArrayLike, like: jax.Array) -> jax.Array:
    (w,) = validate.real_arrays(weights=jnp.asarray(weights, like.dtype))
    try:
        return jnp.broadcast_to(w, like.shape)
    except ValueError:
        raise ValueError(f"`weights` of shape {w.shape} do not broadcast to the records' shape {like.shape}") from None


def _along_time(x: np.ndarray, like: jax.Array) -> jax.Array:
    """A series [n] for arrays [..., n]."""
    return jnp.asarray(x, like.dtype).reshape((1,) * (like.ndim - 1) + (-1,))


def _floor(d: jax.Array, fraction: float) -> jax.Array:
    """A fraction of the largest squared value of each observed trace; 1 where it is zero."""
    square = (d**2).max(-1, keepdims=True)
    return jnp.where(square > 0, fraction * square, 1)


def _is_there(x: jax.Array) -> jax.Array:
    """Which traces are not zero."""
    return (x != 0).any(-1)


def _unit(x: jax.Array) -> jax.Array:
    """Traces over their norms; those that are zero as they are."""
    square = jnp.sum(x**2, -1, keepdims=True)
    return x * lax.rsqrt(jnp.where(square > 0, square, 1))


def _analytic(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Real and imaginary part of the analytic signal, as of a trace with zeros before and after it."""
    n = 2 * x.shape[-1]
    spectrum = jnp.fft.rfft(x, n)
    turn = np.ones(n // 2 + 1)
    turn[0] = turn[-1] = 0  # constant and Nyquist frequency have no direction of turning
    return x, jnp.fft.irfft(-1j * _along_time(turn, x) * spectrum, n)[..., : x.shape[-1]].astype(x.dtype)
