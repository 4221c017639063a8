"""Sub-steps: which steps of the loop belong to the user's, and the sources between the user's samples.

The user's sample i is at t_i = i dt, and the loop steps by dt / k. A record's sample i is what the loop has at t_i. A
source has its own samples at the t_i; between t_{i-1} and t_i it is a weighted sum of sample i and those before it, so
that a record's sample depends on no later sample of a source, as it does without sub-steps.

A run of nt samples therefore ends one step of the loop after t_{nt-1}: the next one would need the sample to come. With
the state go the sources' last samples, and a run that begins with it takes the k - 1 steps that were left first. So two
runs make the same steps as one.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

EXACT = 6
"""Number of powers of time, from 0 on, that are interpolated exactly."""

FITTED = 2
"""Number of samples more, with which the sinusoids up to ``BAND`` are fitted."""

BAND = 0.4
"""Part of the Nyquist frequency up to which sources are interpolated to 1 %."""

REACH = EXACT + FITTED - 1
"""Number of earlier samples that a sample's interval needs."""


def loop_steps(nt: int, step_ratio: int, goes_on: bool) -> int:
    """Steps of the loop in a run of ``nt`` samples, which begins anew or goes on from a state."""
    return nt * step_ratio - (0 if goes_on else step_ratio - 1)


def first_sample(step_ratio: int, goes_on: bool) -> int:
    """The step of the loop that the first sample is recorded before; the others follow ``step_ratio`` apart."""
    return step_ratio - 1 if goes_on else 0


@functools.lru_cache(maxsize=64)
def weights(step_ratio: int, n_samples: int) -> np.ndarray:
    """Weights [sub-step, sample] of the last ``n_samples`` samples, the newest first, inside the last interval.

    ::

        f(t_{i-1} + j dt / k) = sum_q w[j - 1, q] f(t_i - q dt),    j = 1 .. k - 1

    The polynomial through the newest ``EXACT`` samples, plus multiples of that many-fold differences, of which the
    first is at the newest sample: the multiples have the least squared error over the sinusoids up to ``BAND``. (A
    polynomial through all would be exact for two powers more and less accurate from a fifth of the Nyquist frequency.)
    """
    order = min(n_samples, EXACT)
    extra = n_samples - order
    inside = np.arange(1, step_ratio) / step_ratio - 1  # in samples from the newest
    nodes = -np.arange(n_samples, dtype=float)
    found = np.zeros((step_ratio - 1, n_samples))
    for q in range(order):
        others = np.delete(nodes[:order], q)
        found[:, q] = np.prod((inside[:, None] - others) / (nodes[q] - others), axis=1)
    if extra:
        difference = [(-1.0) ** q * math.comb(order, q) for q in range(order + 1)]
        shifted = np.array([[0.0] * j + difference + [0.0] * (extra - 1 - j) for j in range(extra)])
        waves = np.exp(1j * np.pi * BAND * np.linspace(0, 1, 201)[1:, None] * np.concatenate([nodes, inside]))
        at_nodes, at_inside = waves[:, :n_samples], waves[:, n_samples:]
        fit, missing = at_nodes @ shifted.T, at_inside - at_nodes @ found.T
        pair = [np.concatenate([x.real, x.imag]) for x in (fit, missing)]
        found += np.linalg.lstsq(*pair, rcond=None)[0].T @ shifted
    return found


def interpolate(samples: jax.Array, before: jax.Array | None, step_ratio: int) -> jax.Array:
    """A source at the steps of the loop; linear in it.

    One interval after the other, in a loop: the numbers then are the same to the last bit in runs of any length, which
    a compiler that sees all at once does not promise.

    Args:
        samples: The samples of this run [sample, ...].
        before: Samples that a state has of an earlier run, the newest last; None where a run begins anew, and its first
            step is at the first sample.
        step_ratio: Sub-steps of a step.

    Returns:
        [step of the loop, ...], as many as :func:`loop_steps` says.
    """
    nt, n_before = samples.shape[0], 0 if before is None else before.shape[0]
    found = [weights(step_ratio, n + 1) for n in range(REACH + 1)]
    table = jnp.asarray(np.stack([np.pad(w, [(0, 0), (0, REACH + 1 - w.shape[1])]) for w in found]), samples.dtype)
    n_intervals = max(nt, 2)  # a loop of one would be no loop
    n_earlier = np.minimum(np.arange(n_before, n_before + n_intervals), REACH)
    recent = jnp.zeros((REACH, *samples.shape[1:]), samples.dtype)
    if n_before:
        recent = recent.at[:n_before].set(before[::-1])

    def interval(recent, new):
        sample, count = new
        known = jnp.concatenate([sample[None], recent])  # the newest first
        w = table[count].reshape(step_ratio - 1, REACH + 1, *(1,) * sample.ndim)
        inside = sum(w[:, q] * known[q][None] for q in range(REACH + 1))
        return known[:-1], jnp.concatenate([inside, sample[None]])

    series = (jnp.pad(samples, [(0, n_intervals - nt)] + [(0, 0)] * (samples.ndim - 1)), jnp.asarray(n_earlier))
    _, fine = lax.scan(interval, recent, series)
    fine = fine[:nt].reshape(nt * step_ratio, *samples.shape[1:])
    return fine if n_before else fine[step_ratio - 1 :]


def last_samples(samples: jax.Array) -> jax.Array:
    """The last samples of [..., sample], which a run that goes on needs."""
    return samples[..., max(samples.shape[-1] - REACH, 0) :]
