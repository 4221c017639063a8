"""Resampling of time series by a whole factor, in the frequency domain.

Zeros are appended meanwhile, so that what is at one end of a series does not come out at the other. The propagators do
not resample (:mod:`jaxwave._setup.substeps` says what they do with sub-steps); this is for other records and wavelets.

`upsample` and `downsample` act on the last axis, are linear, and keep the dtype. They are each other's transpose up
to the factor: ``downsample = upsample^T / step_ratio`` with the same options and no shift, so a gradient that flows
through one is the other.
"""

import operator

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxwave._setup import validate


def upsample(
    signal: ArrayLike,
    step_ratio: int,
    *,
    freq_taper_frac: float = 0.0,
    time_pad_frac: float = 1.0,
    time_taper: bool = False,
) -> jax.Array:
    """Interpolate a signal to a finer time step without adding frequencies.

    ::

        u(j dt / r) = 1/n sum_{|k| < n/2} S_k exp(2 pi i k j / (n r)),    j = 0 .. n r - 1

    with S the discrete Fourier transform of the n samples, those of the signal and the zeros after it, and r the ratio.
    The Nyquist frequency of an even number of samples is dropped. A signal that does not begin and end at 0 rings near
    those ends; ``time_taper`` is a remedy.

    Args:
        signal: Real array ``[..., n]``, sampled at dt. Integers become floats.
        step_ratio: Number of output samples per input sample, r. With 1 the signal is returned as it is.
        freq_taper_frac: Fraction of the band, at its upper end, to taper to zero with a cosine. Default 0.
        time_pad_frac: Zeros to append while resampling, as a fraction of the signal's length. Default 1, with which
            nothing wraps around. With 0 the signal is taken to be periodic.
        time_taper: Whether to taper the first and the last tenth of the result to zero. Default False.

    Returns:
        Array ``[..., n * step_ratio]`` of the signal's dtype, sampled at dt / r.

    Raises:
        ValueError: If ``step_ratio`` is not positive or a fraction is outside [0, 1].
        TypeError: If ``signal`` is not a float32, float64 or integer array or ``step_ratio`` is not an int.

    Example:
        >>> t = jnp.arange(16) / 16
        >>> fine = upsample(jnp.sin(2 * jnp.pi * t), 4, time_pad_frac=0.0)  # it is periodic
        >>> bool(jnp.allclose(fine, jnp.sin(2 * jnp.pi * jnp.arange(64) / 64), atol=1e-6))
        True

    Reference:
        R. E. Crochiere and L. R. Rabiner, "Multirate Digital Signal Processing", Prentice-Hall, 1983.
    """
    signal = _check(signal, step_ratio, freq_taper_frac, time_pad_frac)
    if step_ratio == 1 or signal.size == 0:
        return signal
    n_in = signal.shape[-1]
    padded = _pad_end(signal, int(time_pad_frac * n_in))
    n = padded.shape[-1]
    spectrum = _along_last_axis(_band(n, freq_taper_frac), padded) * jnp.fft.rfft(padded)
    out = step_ratio * jnp.fft.irfft(spectrum, n=n * step_ratio)[..., : n_in * step_ratio]
    if time_taper:
        out = out * _along_last_axis(_end_tapers(out.shape[-1]), out)
    return out.astype(signal.dtype)


def downsample(
    signal: ArrayLike,
    step_ratio: int,
    *,
    freq_taper_frac: float = 0.0,
    time_pad_frac: float = 1.0,
    time_taper: bool = False,
    shift: float = 0.0,
) -> jax.Array:
    """Keep one sample in ``step_ratio``, after removing the frequencies that the coarser step cannot carry.

    ::

        d(j dt r) = 1/(n r) sum_{|k| < n/2} S_k exp(2 pi i k (j - shift/r) / n),    j = 0 .. n - 1

    with S the discrete Fourier transform of the n r samples, those of the signal and the zeros after it, and r the
    ratio. Frequencies at and above the new Nyquist frequency are dropped. A signal that does not begin and end at 0
    rings near those ends; ``time_taper`` is a remedy.

    Args:
        signal: Real array ``[..., n * step_ratio]``, sampled at dt.
        step_ratio: Number of input samples per output sample, r. With 1 and no shift the signal is returned as it is.
        freq_taper_frac: Fraction of the remaining band, at its upper end, to taper to zero. Default 0.
        time_pad_frac: Zeros to append while resampling, as a fraction of the signal's length. Default 1, with which
            nothing wraps around. With 0 the signal is taken to be periodic.
        time_taper: Whether to taper the first and the last tenth of the signal to zero first. Default False.
        shift: Delay to apply, in samples of ``signal``. Default 0.

    Returns:
        Array ``[..., n]`` of the signal's dtype, sampled at dt * r.

    Raises:
        ValueError: If ``step_ratio`` is not positive or does not divide the length, or a fraction is outside [0, 1].
        TypeError: If ``signal`` is not a float32, float64 or integer array or ``step_ratio`` is not an int.

    Example:
        >>> fine = jnp.sin(2 * jnp.pi * jnp.arange(64) / 64)
        >>> bool(jnp.allclose(downsample(fine, 4, time_pad_frac=0.0), fine[::4], atol=1e-6))
        True

    Reference:
        R. E. Crochiere and L. R. Rabiner, "Multirate Digital Signal Processing", Prentice-Hall, 1983.
    """
    signal = _check(signal, step_ratio, freq_taper_frac, time_pad_frac)
    if (step_ratio == 1 and shift == 0) or signal.size == 0:
        return signal
    n_out, rest = divmod(signal.shape[-1], step_ratio)
    if rest:
        raise ValueError(
            f"the signal's {signal.shape[-1]} samples are not a multiple of step_ratio={step_ratio}; "
            f"pad it to {(n_out + 1) * step_ratio} or cut it to {n_out * step_ratio}"
        )
    tapered = signal * _along_last_axis(_end_tapers(signal.shape[-1]), signal) if time_taper else signal
    padded = _pad_end(tapered, int(time_pad_frac * n_out) * step_ratio)
    n = padded.shape[-1] // step_ratio
    spectrum = jnp.fft.rfft(padded)[..., : n // 2 + 1]
    spectrum = _along_last_axis(_band(n, freq_taper_frac), padded) * spectrum
    if shift != 0:
        delay = np.exp(-2j * np.pi * np.arange(n // 2 + 1) / padded.shape[-1] * shift)
        spectrum = spectrum * delay.astype(spectrum.dtype).reshape((1,) * (padded.ndim - 1) + (-1,))
    return (jnp.fft.irfft(spectrum, n=n)[..., :n_out] / step_ratio).astype(signal.dtype)


def cosine_taper_end(signal: ArrayLike, n_taper: int) -> jax.Array:
    """Taper the last samples of the last axis to zero with half a cosine.

    ::

        s_{n-m+i} *= (1 + cos(pi i / m)) / 2,    i = 1 .. m

    Args:
        signal: Array ``[..., n]``.
        n_taper: Number of samples to taper, m; all of them if it is more than n.

    Returns:
        The tapered array, of the signal's dtype; its last sample is zero if ``n_taper`` is positive.

    Raises:
        ValueError: If ``n_taper`` is negative.
        TypeError: If ``n_taper`` is not an int.

    Example:
        >>> cosine_taper_end(jnp.ones(5), 2).tolist()
        [1.0, 1.0, 1.0, 0.5, 0.0]
    """
    (signal,) = validate.real_arrays(signal=signal)
    return signal * _along_last_axis(_cosine_taper(signal.shape[-1], n_taper), signal)


def _cosine_taper(n: int, n_taper: int) -> np.ndarray:
    if operator.index(n_taper) < 0:
        raise ValueError(f"`n_taper`={n_taper} must not be negative")
    n_taper = min(n_taper, n)
    taper = np.ones(n)
    taper[n - n_taper :] = (1 + np.cos(np.pi * np.arange(1, n_taper + 1) / max(n_taper, 1))) / 2
    return taper


def _end_tapers(n: int) -> np.ndarray:
    """Weights that rise from 0 over the first tenth of n samples and fall to 0 over the last."""
    end = _cosine_taper(n, round(n / 10))
    return end * end[::-1]


def _band(n: int, freq_taper_frac: float) -> np.ndarray:
    """Weights of the ``n // 2 + 1`` frequencies of n samples: the taper, and nothing at the Nyquist frequency."""
    n_freq = n // 2 + 1
    weights = _cosine_taper(n_freq, int(freq_taper_frac * n_freq))
    if n % 2 == 0:
        weights[-1] = 0
    return weights


def _along_last_axis(weights: np.ndarray, signal: jax.Array) -> jax.Array:
    """Give real weights the rank and dtype that multiply the last axis of ``signal``."""
    return jnp.asarray(weights, signal.dtype).reshape((1,) * (signal.ndim - 1) + (-1,))


def _pad_end(signal: jax.Array, n_pad: int) -> jax.Array:
    return jnp.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(0, n_pad)])


def _check(signal: ArrayLike, step_ratio: int, freq_taper_frac: float, time_pad_frac: float) -> jax.Array:
    (signal,) = validate.real_arrays(signal=signal)
    if signal.ndim == 0:
        raise ValueError("`signal` is a scalar; its last axis must be time")
    if operator.index(step_ratio) < 1:
        raise ValueError(f"`step_ratio`={step_ratio} must be at least 1")
    for name, value in (("freq_taper_frac", freq_taper_frac), ("time_pad_frac", time_pad_frac)):
        if not 0 <= value <= 1:
            raise ValueError(f"`{name}`={value} must be between 0 and 1")
    return signal
