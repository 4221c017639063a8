"""Sources of an inversion: the wavelet that the data have, and many shots as one."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxwave._setup import validate

__all__ = ["Encoded", "encoded", "fitted_wavelet"]


def fitted_wavelet(
    wavelet: ArrayLike, predicted: ArrayLike, observed: ArrayLike, weights: ArrayLike | None = None, level: float = 1e-4
) -> jax.Array:
    """The wavelet with which predicted records would fit observed ones best, by least squares at each frequency.

    Records are linear in the wavelet: with S its spectrum, and P and D those of the records,

    ::

        S' = S sum conj(P) D / (sum |P|^2 + level max sum |P|^2)

    summed over all traces: a closed form, which can be evaluated anew in each iteration, and differentiated.

    Args:
        wavelet: The one that the prediction was made with [nt]; or one for each shot [shot, nt], which is then fitted
            to its own traces.
        predicted, observed: Records [shot, receiver, nt].
        weights: Of traces or samples, broadcast to the records; 0 leaves them out.
        level: Fraction of the largest energy at a frequency below which the wavelet is not fitted but fades.

    Returns:
        The wavelet, of the same shape.

    Raises:
        ValueError: If shapes do not belong together.

    Reference:
        R. G. Pratt, "Seismic waveform inversion in the frequency domain, part 1", Geophysics 64 (1999).

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> guess, true = (jaxwave.wavelets.ricker(f, 200, 2e-3, 0.1) for f in (20.0, 15.0))
        >>> def record(wavelet):
        ...     return jaxwave.scalar(
        ...         jnp.full(40, 1500.0), 5.0, 2e-3, source_amplitudes=wavelet.reshape(1, 1, -1), max_vel=1500.0,
        ...         source_locations=[[[3]]], receiver_locations=[[[10], [20]]], pml_freq=20.0,
        ...     ).receiver_amplitudes
        >>> found = jaxwave.sources.fitted_wavelet(guess, record(guess), record(true))
        >>> bool(jnp.abs(found - true).max() < 0.05 * jnp.abs(true).max())
        True
    """
    s, p, d = validate.real_arrays(wavelet=wavelet, predicted=predicted, observed=observed)
    if p.ndim != 3 or p.shape != d.shape or s.shape not in (p.shape[-1:], (p.shape[0], p.shape[-1])):
        raise ValueError(
            "records must be [shot, receiver, nt], and the wavelet [nt] or [shot, nt]; got "
            f"{p.shape}, {d.shape} and {s.shape}"
        )
    level, n = validate.positive("level", level), 2 * p.shape[-1]
    w = jnp.ones_like(p) if weights is None else jnp.broadcast_to(jnp.asarray(weights, p.dtype), p.shape)
    over = (1,) if s.ndim == 2 else (0, 1)
    spectra = [jnp.fft.rfft(x * w, n) for x in (p, d)]
    power = jnp.sum(spectra[0].real ** 2 + spectra[0].imag ** 2, over)
    floor = level * power.max(-1, keepdims=True)
    transfer = jnp.sum(jnp.conj(spectra[0]) * spectra[1], over) / (power + jnp.where(floor > 0, floor, 1))
    return jnp.fft.irfft(jnp.fft.rfft(s, n) * transfer, n)[..., : s.shape[-1]].astype(s.dtype)


class Encoded(NamedTuple):
    """All shots as one.

    Attributes:
        amplitudes: [1, shot * source, nt].
        locations: Cells of all sources [1, shot * source, axis].
        observed: The records of such a shot [1, receiver, nt].
        signs: The code [shot].
    """

    amplitudes: jax.Array
    locations: jax.Array
    observed: jax.Array
    signs: jax.Array


def encoded(key: jax.Array, amplitudes: ArrayLike, locations: ArrayLike, observed: ArrayLike) -> Encoded:
    """All shots at once, each with a random sign: the expected gradient of least squares is that of all shots.

    Records are linear in the amplitudes, so the records of the one shot are the same sum. What shots have in common
    beside themselves, the crosstalk, has a mean of zero over the signs: draw new ones in each iteration. All shots must
    have the same receivers.

    Args:
        key: Of ``jax.random``.
        amplitudes: [shot, source, nt].
        locations: Cells [shot, source, axis].
        observed: Records [shot, receiver, nt], of the same receivers.

    Returns:
        An :class:`Encoded`; the receivers are those of one shot.

    Raises:
        ValueError: If the arrays have not the same number of shots.

    Reference:
        J. R. Krebs et al., "Fast full-wavefield seismic inversion using encoded sources", Geophysics 74 (2009).
    """
    f, d = validate.real_arrays(amplitudes=amplitudes, observed=observed)
    cells = jnp.asarray(locations)
    n = f.shape[0]
    if f.ndim != 3 or d.ndim != 3 or cells.shape[:2] != f.shape[:2] or d.shape[0] != n:
        raise ValueError(
            "amplitudes must be [shot, source, nt], locations [shot, source, axis] and records [shot, receiver, nt], "
            f"of as many shots; got {f.shape}, {cells.shape} and {d.shape}"
        )
    signs = jax.random.rademacher(key, (n, 1, 1), f.dtype)
    return Encoded(
        (signs * f).reshape(1, -1, f.shape[-1]), cells.reshape(1, -1, cells.shape[-1]),
        jnp.sum(signs * d, 0, keepdims=True), signs.reshape(-1),
    )  # fmt: skip
