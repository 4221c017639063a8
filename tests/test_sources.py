"""Wavelets that are found, and shots that are encoded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import largest

import jaxwave
from jaxwave import sources

DT, NT = 1.7e-3, 180
V = jnp.full(40, 1500.0).at[20:].set(1700.0)


def ricker(frequency, peak=0.09):
    return jaxwave.wavelets.ricker(frequency, NT, DT, peak, dtype=jnp.float64)


def record(v, amplitudes, cells, receivers=(8, 30)):
    there = np.array([[[k] for k in receivers]] * len(amplitudes))
    return jaxwave.scalar(
        v, 5.0, DT, source_amplitudes=amplitudes, source_locations=cells, receiver_locations=there, max_vel=1700.0,
        pml_freq=20.0, pml_width=6,
    ).receiver_amplitudes  # fmt: skip


CELLS = np.array([[[3]], [[15]], [[33]]])


def test_one_wavelet_for_all_shots():
    guess, true = ricker(20.0), 1.7 * ricker(16.0, 0.11)
    predicted, observed = (record(V, jnp.tile(s, (3, 1, 1)), CELLS) for s in (guess, true))
    found = sources.fitted_wavelet(guess, predicted, observed, level=1e-8)
    assert largest(found - true) < 5e-3 * largest(true)
    # Dead traces are left out.
    broken = observed.at[1, 0].set(1e6)
    weights = np.ones((3, 2, 1))
    weights[1, 0] = 0
    found = sources.fitted_wavelet(guess, predicted, broken, weights, level=1e-8)
    assert largest(found - true) < 5e-3 * largest(true)


def test_a_wavelet_for_each_shot():
    guess = jnp.stack([ricker(20.0)] * 3)
    true = jnp.stack([ricker(16.0), -ricker(18.0, 0.1), 0.3 * ricker(20.0)])
    predicted, observed = (record(V, s[:, None], CELLS) for s in (guess, true))
    found = sources.fitted_wavelet(guess, predicted, observed, level=1e-8)
    assert found.shape == (3, NT)
    assert largest(found - true) < 1e-2 * largest(true)
    with pytest.raises(ValueError, match="records must be"):
        sources.fitted_wavelet(guess[:2], predicted, observed)


def test_records_of_encoded_shots_are_the_sum():
    f = jnp.stack([ricker(20.0), ricker(15.0), ricker(18.0)])[:, None]
    one = sources.encoded(jax.random.key(3), f, CELLS, record(V, f, CELLS))
    assert set(np.abs(one.signs)) == {1.0} and one.amplitudes.shape == (1, 3, NT)
    found = record(V, one.amplitudes, one.locations)
    assert largest(found - one.observed) < 1e-12 * largest(one.observed)
    with pytest.raises(ValueError, match="of as many shots"):
        sources.encoded(jax.random.key(3), f, CELLS[:2], one.observed)


def test_the_mean_gradient_over_the_codes_is_that_of_all_shots():
    f = jnp.stack([ricker(20.0), ricker(15.0)])[:, None]
    observed, start = record(V, f, CELLS[:2]), V.at[10:14].add(30.0)

    def misfit(v, f, cells, observed):
        return jaxwave.misfits.l2(record(v, f, cells), observed)

    gradient = jax.jit(jax.grad(misfit))
    by_code = {}
    for seed in range(20):
        one = sources.encoded(jax.random.key(seed), f, CELLS[:2], observed)
        by_code[float(one.signs[0] * one.signs[1])] = gradient(start, *one[:3])
    assert set(by_code) == {1.0, -1.0}
    mean = (by_code[1.0] + by_code[-1.0]) / 2
    want = gradient(start, f, CELLS[:2], observed)
    assert largest(mean - want) < 1e-11 * largest(want)
    assert largest(by_code[1.0] - want) > 1e-2 * largest(want)  # crosstalk of a single code
