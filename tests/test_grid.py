"""Stability and dispersion rules, and the dominant frequency."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxwave.grid import (
    COURANT_NUMBER,
    cfl_time_step,
    critical_courant_number,
    max_frequency,
    max_grid_spacing,
    peak_frequency,
    points_per_wavelength,
    recommended_points,
    substeps,
)
from jaxwave.wavelets import ormsby, ricker

# Weights of the standard differences at distances 1, 2, ... (second, centred; first, staggered).
SECOND = {
    2: [1],
    4: [4 / 3, -1 / 12],
    6: [3 / 2, -3 / 20, 1 / 90],
    8: [8 / 5, -1 / 5, 8 / 315, -1 / 560],
}
STAGGERED = {
    2: [1],
    4: [9 / 8, -1 / 24],
    6: [75 / 64, -25 / 384, 3 / 640],
    8: [1225 / 1024, -245 / 3072, 49 / 5120, -5 / 7168],
}


def seen_wavenumber(k, accuracy, staggered):
    """The wavenumber that the differences see, from their weights."""
    if staggered:
        return sum(2 * w * np.sin((m + 0.5) * k) for m, w in enumerate(STAGGERED[accuracy]))
    return np.sqrt(sum(2 * w * (1 - np.cos((m + 1) * k)) for m, w in enumerate(SECOND[accuracy])))


@pytest.mark.parametrize("grid_spacing", [(5.0,), (5.0, 5.0), (4.0, 10.0), (3.0, 6.0, 12.0)])
def test_time_step_is_the_largest_undivided_one(grid_spacing):
    limit = cfl_time_step(3000.0, grid_spacing)
    norm = math.sqrt(sum(1 / dx**2 for dx in grid_spacing))
    assert limit == pytest.approx(0.6 / (3000 * norm), rel=1e-14)
    assert substeps(limit, 3000.0, grid_spacing) == (limit, 1)
    assert substeps(limit * (1 + 1e-12), 3000.0, grid_spacing)[1] == 2


@pytest.mark.parametrize("dt", [0.004, -0.004])
def test_substeps_divide_the_step_and_keep_its_sign(dt):
    inner_dt, step_ratio = substeps(dt, 4500.0, (10.0, 10.0))
    assert step_ratio == math.ceil(0.004 * 4500 * math.sqrt(2) / 10 / 0.6) == 5
    assert inner_dt == dt / 5


def test_nothing_to_divide():
    assert substeps(0.0, 4500.0, (10.0, 10.0)) == (0.0, 1)
    assert substeps(0.004, 0.0, (10.0, 10.0)) == (0.004, 1)
    assert substeps(0.004, 4500.0, (10.0, 10.0), courant_number=0.85)[1] == 3


def test_a_single_spacing_is_one_dimensional():
    assert cfl_time_step(3000.0, 5.0) == cfl_time_step(3000.0, (5.0,)) > cfl_time_step(3000.0, (5.0, 5.0))


@pytest.mark.parametrize("staggered", [False, True])
@pytest.mark.parametrize("accuracy", [2, 4, 6, 8])
def test_critical_courant_number_follows_from_the_weights(accuracy, staggered):
    critical = critical_courant_number(accuracy, staggered)
    assert critical == pytest.approx(2 / seen_wavenumber(np.pi, accuracy, staggered), rel=1e-13)
    assert critical > COURANT_NUMBER


def test_points_frequency_and_spacing_agree():
    freq = max_frequency(1500.0, (10.0, 5.0), points=7.5)
    assert points_per_wavelength(1500.0, freq, (10.0, 5.0)) == pytest.approx(7.5)
    assert max_grid_spacing(1500.0, freq, points=7.5) == pytest.approx(10.0)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("accuracy", [2, 4, 6, 8])
def test_recommended_points_keep_the_velocity_error(accuracy, ndim):
    points = recommended_points(accuracy, ndim)

    def worst_error(points):
        k0 = 2 * np.pi / points
        errors = []
        for staggered in (False, True):
            k = seen_wavenumber(k0, accuracy, staggered)
            for c in (1e-6, COURANT_NUMBER / math.sqrt(ndim)):
                errors.append(abs(2 / c * np.arcsin(c * k / 2) / k0 - 1))
        return max(errors)

    assert all(worst_error(finer) <= 0.01 for finer in points + np.arange(0, 100, 0.1))
    assert worst_error(points - 0.2) > 0.01
    assert recommended_points(accuracy, ndim, error=0.001) > points


@pytest.mark.parametrize("freq", [3.0, 25.0, 61.7])
def test_peak_frequency_of_a_ricker_wavelet(freq):
    # Three digits are returned.
    assert peak_frequency(ricker(freq, 500, 0.004, 0.6), 0.004) == pytest.approx(freq, rel=5e-3)
    assert peak_frequency(ricker(25.0, 500, 0.004, 0.6), -0.004) == 25.0


def test_peak_frequency_ignores_delay_polarity_and_padding():
    early, late = ricker(10.0, 800, 0.002, 0.2), -ricker(10.0, 800, 0.002, 1.1)
    together = jnp.stack([early, late])[None]
    assert peak_frequency(together, 0.002) == peak_frequency(early, 0.002) == 10.0
    assert peak_frequency(jnp.pad(early, (0, 777)), 0.002) == 10.0


def test_peak_frequency_counts_every_array_alike():
    low, high = ricker(10.0, 800, 0.002, 0.4), ricker(40.0, 800, 0.002, 0.4)
    # Spread over a four times narrower band, the same energy has the higher peak, whatever the units.
    assert peak_frequency([low, 1e9 * high], 0.002) == pytest.approx(10.0, rel=0.01)
    assert peak_frequency([low, 1e-9 * high], 0.002) == pytest.approx(10.0, rel=0.01)


def test_peak_frequency_without_a_peak():
    for signal in (jnp.zeros((2, 1, 100)), jnp.ones(100), jnp.ones((1, 1, 1)), jnp.full(100, jnp.nan)):
        assert peak_frequency(signal, 0.004, default=25.0) == 25.0
        with pytest.raises(ValueError, match="no dominant frequency"):
            peak_frequency(signal, 0.004)


def test_peak_frequency_under_transformations():
    wavelet = ricker(25.0, 300, 0.004, 0.5)

    def scaled_energy(signal):
        return peak_frequency(signal, 0.004) * jnp.sum(signal**2)

    np.testing.assert_allclose(jax.grad(scaled_energy)(wavelet), 50 * wavelet)
    with pytest.raises(TypeError, match="compute it outside"):
        jax.jit(scaled_energy)(wavelet)


def test_flat_band_peak_is_inside_it():
    peak = peak_frequency(ormsby(5.0, 10.0, 40.0, 60.0, 1000, 0.002), 0.002)
    assert 9 < peak < 41


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cfl_time_step(0.0, 5.0), "`max_vel`=0.0 must be positive"),
        (lambda: cfl_time_step(1500.0, (5.0, 0.0)), "`grid_spacing`=.* must be positive"),
        (lambda: cfl_time_step(1500.0, ()), "`grid_spacing`="),
        (lambda: substeps(math.nan, 1500.0, 5.0), "`dt`=nan s must be finite"),
        (lambda: substeps(0.001, -1.0, 5.0), "`max_vel`=-1.0 m/s"),
        (lambda: substeps(0.001, 1500.0, 5.0, courant_number=0.0), "`courant_number`=0.0"),
        (lambda: critical_courant_number(5), "`accuracy`=5 must be 2, 4, 6 or 8"),
        (lambda: max_frequency(1500.0, 5.0, points=0), "`points`=0"),
        (lambda: recommended_points(4, 4), "`ndim`=4"),
        (lambda: recommended_points(4, 2, error=0.5), "`error`=0.5"),
        (lambda: peak_frequency(np.ones(4), 0.0), "`dt`=0.0"),
    ],
)
def test_bad_values_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call()
