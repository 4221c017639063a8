"""Histories of a few frequencies: running sums over time in place of the steps."""

from __future__ import annotations

import dataclasses
import functools
import math

import jax.numpy as jnp
import numpy as np

from jaxwave.storage.base import Footprint, Storage, chunk_spec, entry_bytes
from jaxwave.storage.codecs import Codec, Raw


@dataclasses.dataclass(frozen=True)
class Fourier(Storage):
    """Keeps the terms at chosen frequencies only, as running sums over time; the gradient is that of these frequencies.

    With G[t] the terms and w the frequencies, what is read back is their projection

        G_w[t] = 2/n sum over w of cos(w t) sum_s cos(w s) G[s] + sin(w t) sum_s sin(w s) G[s]

    so that the imaging condition is that of the frequency domain (Sirgue and others, *Frequency domain waveform
    inversion using time domain propagators*, First Break 2010). Exact with all n/2 + 1 frequencies of the run; with a
    few, the gradient is the part of it at those, and no longer the gradient of the misfit. Frequencies that are whole
    multiples of 1 / (duration of the run) do not leak into each other.

    Memory: two terms a frequency on the device, whatever the number of steps. Work: two multiplications and additions a
    frequency and cell in every stored step of both loops; with ``model_gradient_sampling_interval`` = k, every k-th.
    Derivatives: all, of the projected imaging condition: linearised runs and their transposes match.

    Attributes:
        frequencies: In Hz, below the Nyquist frequency of the stored steps.
        period: Time between stored steps (seconds); filled in by the propagator.
    """

    frequencies: tuple[float, ...] = ()
    period: float | None = None

    def __post_init__(self) -> None:
        frequencies = tuple(float(f) for f in self.frequencies)
        if not frequencies or not all(math.isfinite(f) and f >= 0 for f in frequencies):
            raise ValueError(f"Fourier: `frequencies` must be one or more numbers in Hz, at least 0; got {frequencies}")
        if len(set(frequencies)) < len(frequencies):
            raise ValueError(f"Fourier: `frequencies` must differ from each other; got {frequencies}")
        object.__setattr__(self, "frequencies", frequencies)

    @property
    def codec(self) -> Codec:
        """Sums are kept as they are: they change in every step, so rounding them would add up."""
        return Raw()

    def resolve(self, period):
        nyquist = 1 / (2 * period)
        if max(self.frequencies) > nyquist * (1 + 1e-9):
            raise ValueError(
                f"Fourier: frequency {max(self.frequencies):g} Hz is above {nyquist:g} Hz, the Nyquist frequency of "
                "stored steps; leave it out, or use a smaller model_gradient_sampling_interval"
            )
        return dataclasses.replace(self, period=period)

    def history_spec(self, n_entries, spec, state):
        return chunk_spec(spec, 2 * len(self.frequencies))

    def open(self, n_entries, spec, state, owner, parents):
        return []

    def footprint(self, n_entries, spec, state):
        return Footprint(2 * len(self.frequencies) * entry_bytes(spec))

    def buffer(self, spec, size):
        return [jnp.zeros((2 * len(self.frequencies), *s.shape), s.dtype) for s in spec]

    def keep(self, buffer, leaves, j, size):
        waves = jnp.asarray(_waves(self.frequencies, self.period, size))[j]
        return [b + _beside(waves, g) * g[None] for b, g in zip(buffer, leaves, strict=True)]

    def entry(self, chunk, j, size):
        waves = jnp.asarray(_waves(self.frequencies, self.period, size) * _weights(self.frequencies, self.period, size))
        return [sum(waves[j, k].astype(c.dtype) * c[k] for k in range(c.shape[0])) for c in chunk]


def _beside(waves, g):
    return waves.astype(g.dtype).reshape(-1, *[1] * g.ndim)


@functools.lru_cache(maxsize=16)
def _waves(frequencies: tuple[float, ...], period: float, size: int) -> np.ndarray:
    """Cosines and sines [step, 2 frequency]: a table, because float32 cannot tell the phase of a late step."""
    phase = 2 * np.pi * period * np.arange(size)[:, None] * np.asarray(frequencies)
    return np.concatenate([np.cos(phase), np.sin(phase)], axis=1)


def _weights(frequencies: tuple[float, ...], period: float, size: int) -> np.ndarray:
    """2 / n, and half of that at 0 and at the Nyquist frequency, where there is no sine."""
    f = 2 * period * np.asarray(frequencies)
    weight = np.where((f < 1e-12) | (np.abs(f - 1) < 1e-9), 1.0, 2.0) / size
    return np.concatenate([weight, weight])
