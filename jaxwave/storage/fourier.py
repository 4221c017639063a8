"""Histories of a few frequencies: running sums over time in place of the steps."""

from __future__ import annotations

import dataclasses
import functools
import math

import jax.numpy as jnp
import numpy as np

from jaxwave._setup.validate.values import is_many, number
from jaxwave.storage.base import Footprint, Storage
from jaxwave.storage.codecs import Codec, Raw
from jaxwave.storage.entries import chunk_spec, entry_bytes

DISTINCT = 1e-4  # of the largest singular value: waves below do not count as a direction of their own


@dataclasses.dataclass(frozen=True)
class Fourier(Storage):
    """Keeps the terms at chosen frequencies only, as running sums over time; the gradient is that of these frequencies.

    What is read back in place of the terms G[t] is their projection on the cosines and sines of the frequencies over
    the run. For whole multiples of 1 / (duration of the run) that is

        G_w[t] = 2/n sum over w of cos(w t) sum_s cos(w s) G[s] + sin(w t) sum_s sin(w s) G[s]

    and the imaging condition is that of the frequency domain (L. Sirgue, J. Etgen and U. Albertin, *3D frequency
    domain waveform inversion using time domain finite difference methods*, EAGE 2008). Exact with all n/2 + 1 of them;
    with a few, the gradient is the part of it at those, and no longer the gradient of the misfit. (What comes from the
    model at the sources, by which amplitudes are scaled, needs no terms and is always whole.)

    Memory: two terms a frequency on the device, whatever the number of steps. Work: two multiplications and additions a
    frequency and cell in every stored step of both loops; with ``model_gradient_sampling_interval`` = k, every k-th.
    Derivatives: all, of the projected imaging condition: linearised runs and their transposes match.

    Attributes:
        frequencies: One or several, in Hz, below the Nyquist frequency of the stored steps.
        period: Time between stored steps (seconds); filled in by the propagator.
    """

    frequencies: tuple[float, ...] = ()
    period: float | None = None

    def __post_init__(self) -> None:
        given = self.frequencies if is_many(self.frequencies) else (self.frequencies,)
        frequencies = tuple(number("Fourier: frequencies", f) for f in given)
        if not frequencies or not all(math.isfinite(f) and f >= 0 for f in frequencies):
            raise ValueError(f"Fourier: `frequencies` must be one or more numbers in Hz, at least 0; got {frequencies}")
        if len(set(frequencies)) < len(frequencies):
            raise ValueError(f"Fourier: `frequencies` must differ from each other; got {frequencies}")
        object.__setattr__(self, "frequencies", frequencies)

    @property
    def codec(self) -> Codec:
        """Sums are kept as they are: they change in every step, so rounding them would add up."""
        return Raw()

    def resolve(self, period, interval, equation):
        nyquist = 1 / (2 * period)
        if max(self.frequencies) > nyquist * (1 + 1e-9):
            raise ValueError(
                f"Fourier: frequency {max(self.frequencies):g} Hz is above {nyquist:g} Hz, the Nyquist frequency of "
                "stored steps; leave it out, or use a smaller model_gradient_sampling_interval"
            )
        return dataclasses.replace(self, period=period)

    def _waves(self, n_entries: int) -> np.ndarray:
        return _waves(self.frequencies, self.period, n_entries)

    def history_spec(self, n_entries, spec, state):
        return chunk_spec(spec, self._waves(n_entries).shape[1])

    def open(self, n_entries, spec, state, owner, parents):
        return []

    def footprint(self, n_entries, spec, state):
        sums = self._waves(n_entries).shape[1] * entry_bytes(spec)
        return Footprint(sums, sums)

    def buffer(self, spec, size):
        return [jnp.zeros((self._waves(size).shape[1], *s.shape), s.dtype) for s in spec]

    def keep(self, buffer, leaves, j, size):
        waves = jnp.asarray(self._waves(size))[j]
        return [
            b + waves.astype(g.dtype).reshape(-1, *[1] * g.ndim) * g[None] for b, g in zip(buffer, leaves, strict=True)
        ]

    def entry(self, chunk, j, size):
        waves = jnp.asarray(self._waves(size))[j]
        return [sum(waves[k].astype(c.dtype) * c[k] for k in range(c.shape[0])) for c in chunk]


@functools.lru_cache(maxsize=16)
def _waves(frequencies: tuple[float, ...], period: float, size: int) -> np.ndarray:
    """An orthonormal basis [step, wave] of the cosines and sines: a table, as float32 cannot tell a late step's phase.

    Sines that are zero, and waves that the run is too short to tell from the others, are left out.
    """
    phase = 2 * np.pi * period * np.arange(size)[:, None] * np.asarray(frequencies)
    basis, strength, _ = np.linalg.svd(np.concatenate([np.cos(phase), np.sin(phase)], axis=1), full_matrices=False)
    return basis[:, strength > DISTINCT * strength[0]]
