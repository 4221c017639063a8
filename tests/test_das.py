"""Fibres: linear fields of strain are recorded exactly, and the derivative of a fibre's record is right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import amplitudes

import jaxwave
from jaxwave.das import Fibre
from jaxwave.equations.staggered import tensor

SHAPE, SPACING = (40, 44), (5.0, 4.0)


def of_linear_fields(fibre, ndim, spacing, strain):
    """Records of one sample of strains that are linear functions of the place (m): strain(kind, x)."""
    found = {}
    for kind, hicks in fibre.receivers.items():
        i, j = tensor(ndim)[kind]
        offset = np.array([0.5 * (i != j and axis in (i, j)) for axis in range(ndim)])
        there = (np.asarray(hicks.cells) + offset) * spacing
        found[kind] = hicks.receiver(strain(kind, there)[..., None])
    return found


def strain_of(ndim, seed=0):
    rng = np.random.default_rng(seed)
    parts = {kind: (rng.standard_normal(), rng.standard_normal(ndim) / 100) for kind in tensor(ndim)}
    return lambda kind, x: parts[kind][0] + x @ parts[kind][1]


def tensor_at(strain, x, ndim):
    e = np.zeros((ndim, ndim))
    for kind, (i, j) in tensor(ndim).items():
        e[i, j] = e[j, i] = strain(kind, x)
    return e


@pytest.mark.parametrize("wrapping", [90.0, 30.0])
@pytest.mark.parametrize("ndim", [2, 3])
def test_straight_fibres_record_the_strain_along_them(ndim, wrapping):
    shape, spacing = ((40, 44), (5.0, 4.0)) if ndim == 2 else ((24, 26, 28), (5.0, 4.0, 6.0))
    ends = np.array([[30.0, 35.0, 50.0], [85.0, 62.0, 110.0]])[:, :ndim]
    fibre, strain = Fibre(ends, shape, spacing, channel=7.0, gauge=12.0, wrapping=wrapping), strain_of(ndim)
    length = np.linalg.norm(ends[1] - ends[0])
    t = (ends[1] - ends[0]) / length
    assert len(fibre.channels) == int((length - 12) / 7) + 1
    np.testing.assert_allclose(fibre.channels[0], ends[0] + 6 * t)
    got = fibre.record(of_linear_fields(fibre, ndim, np.array(spacing), strain))[0, :, 0]
    a = np.radians(wrapping)
    for value, x in zip(got, fibre.channels, strict=True):  # the mean of a linear field is that of the middle
        e = tensor_at(strain, x, ndim)
        want = np.sin(a) ** 2 * t @ e @ t + np.cos(a) ** 2 * (np.trace(e) - t @ e @ t) / 2
        # Interpolation of a field that is linear, and of all wavenumbers: 1e-3.
        assert value == pytest.approx(want, abs=3e-3)


def test_a_fibre_around_a_corner():
    """Half of a gauge length lies along each axis, and no shear is sensed."""
    fibre = Fibre([[20.0, 100.0], [100.0, 100.0], [100.0, 40.0]], SHAPE, SPACING, channel=10.0, gauge=20.0)
    assert set(fibre.receivers) == {"yy", "xx"}
    corner = int(np.argmin(np.linalg.norm(fibre.channels - [100.0, 100.0], axis=1)))
    records = {kind: np.full((1, x.rows.first.shape[1], 1), value) for (kind, x), value in
               zip(fibre.receivers.items(), (3.0, 5.0), strict=True)}  # fmt: skip
    found = fibre.record(records)[0, :, 0]
    np.testing.assert_allclose([found[0], found[corner], found[-1]], [3.0, 4.0, 5.0], atol=1e-12)


def test_in_a_propagator_and_its_derivative():
    models = jaxwave.vpvsrho_to_lambmubuoyancy(*(np.full(SHAPE, x) for x in (2500.0, 1400.0, 2000.0)))
    fibre = Fibre([[60.0, 40.0], [130.0, 120.0]], SHAPE, SPACING, channel=15.0, gauge=20.0)
    grid = jaxwave.Grid(SPACING, 4, jaxwave.Boundary(None, 5, 25.0))

    def record(lamb):
        out = jaxwave.simulate(
            jaxwave.Elastic(lamb, *models[1:]), grid, 6e-4, max_vel=2600.0,
            sources={"y": (1e6 * amplitudes(140, 6e-4, delay=0.04), [[[8, 22]]])}, receivers=fibre.receivers,
        )  # fmt: skip
        return fibre.record(out.records)

    lamb, d = jnp.asarray(models[0]), 1e7 * jnp.asarray(np.random.default_rng(0).standard_normal(SHAPE))
    y, push = jax.jvp(record, (lamb,), (d,))
    assert y.shape == (1, len(fibre.channels), 140) and np.abs(y).max() > 0
    _, pull = jax.vjp(record, lamb)
    z = jnp.asarray(np.random.default_rng(1).standard_normal(y.shape))
    assert jnp.vdot(push, z) == pytest.approx(float(jnp.vdot(d, pull(z)[0])), rel=1e-10)


def test_fibres_that_cannot_be():
    with pytest.raises(ValueError, match="less than the gauge length"):
        Fibre([[20.0, 20.0], [25.0, 20.0]], SHAPE, SPACING, channel=1.0, gauge=10.0)
    with pytest.raises(ValueError, match="two vertices at one place"):
        Fibre([[20.0, 20.0], [20.0, 20.0]], SHAPE, SPACING, channel=1.0, gauge=10.0)
    with pytest.raises(ValueError, match=r"`points` must be \[vertex, 2\]"):
        Fibre([[20.0, 20.0, 1.0]], SHAPE, SPACING, channel=1.0, gauge=10.0)
