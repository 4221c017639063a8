"""Contacts of fluids, solids and vacuum in the acoustic and elastic equations: speeds, exactness, stability."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from helpers import FREQ, amplitudes, largest, layered

import jaxwave

ALPHA, BETA, RHO = 2600.0, 1500.0, 2000.0
FLUID, FLUID_RHO = 1500.0, 1000.0


def scholte_speed():
    """Speed of the wave along the plane contact of a fluid and a solid half-space.

    The root of Rayleigh's function with the fluid's load (J. G. Scholte, Mon. Not. R. Astron. Soc. Geophys. Suppl. 5,
    1947), which is positive at the slowest of the three speeds and negative towards 0.
    """

    def secular(c):
        p, s, f = (np.sqrt(1 - (c / v) ** 2) for v in (ALPHA, BETA, FLUID))
        return (2 - (c / BETA) ** 2) ** 2 - 4 * p * s + FLUID_RHO / RHO * (c / BETA) ** 4 * p / f

    low, high = 100.0, 0.999999 * min(BETA, FLUID)
    assert secular(low) < 0 < secular(high)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if secular(middle) < 0 else (low, middle)
    return low


def phase_speed(records, distance, dt, freq):
    """Phase velocity at ``freq`` (Hz) of one wave that passes two receivers so far apart, at most half a period off."""
    t = np.arange(records.shape[-1]) * dt
    first, second = np.asarray(records) @ np.exp(-2j * np.pi * freq * t)
    delay = -np.angle(second / first) / (2 * np.pi * freq)
    return delay, distance


@pytest.mark.parametrize("accuracy", [4, 8])
def test_speed_of_the_scholte_wave(accuracy):
    h, dt, nt, shape, top = 4.0, 4e-4, 1700, (150, 300), 75
    vp, vs, rho = (np.full(shape, x) for x in (ALPHA, BETA, RHO))
    for model, value in ((vp, FLUID), (vs, 0.0), (rho, FLUID_RHO)):
        model[:top] = value
    receivers = [[top - 1, x] for x in (150, 250)]
    out = jaxwave.elastic(
        *jaxwave.vpvsrho_to_lambmubuoyancy(vp, vs, rho), h, dt, accuracy=accuracy, pml_freq=FREQ,
        source_amplitudes_p=amplitudes(nt, dt), source_locations_p=[[[top - 1, 10]]],
        receiver_locations_p=[receivers],
    )  # fmt: skip
    np.save(f"/tmp/w/scholte{accuracy}.npy", out.receiver_amplitudes_p[0])
