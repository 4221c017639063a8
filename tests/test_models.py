"""Generated models: what they are made of, and the same every time."""

import numpy as np
import pytest

from jaxwave import models


def test_layers():
    v = models.layers((10, 3, 4), [1500.0, 2000.0, 2500.0], tops=[2, 7])
    assert v.shape == (10, 3, 4) and v.dtype == np.float32
    np.testing.assert_array_equal(v[:, 1, 2], [1500.0] * 2 + [2000.0] * 5 + [2500.0] * 3)
    np.testing.assert_array_equal(models.layers((5,), [1800.0]), np.full(5, 1800.0, np.float32))
    for tops in ([3], [5, 2], [2, 5, 7]):
        with pytest.raises(ValueError, match="`tops` must have 2 increasing numbers"):
            models.layers((10, 4), [1.0, 2.0, 3.0], tops)


def test_lens_and_camembert():
    flat = np.full((21, 31), 2000.0)
    v = models.lens(flat, -0.1, (10, 15), (3, 6))
    assert (v[10, 10:21] == 1800).all() and v[10, 8] == v[6, 15] == 2000 and (flat == 2000).all()
    disc = models.camembert((40, 40)) > 2600
    assert disc.sum() == pytest.approx(np.pi * 10**2, rel=0.05)
    ball = models.camembert((40, 40, 40)) > 2600
    assert ball.sum() == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.05)
    with pytest.raises(ValueError, match="`centre` must have 2 numbers"):
        models.lens(flat, 0.1, (1, 2, 3), 2)


@pytest.mark.parametrize("shape", [(60, 120), (24, 20, 40)])
def test_overthrust(shape):
    v = models.overthrust(shape)
    assert v.shape == shape and v.dtype == np.float32
    assert 2200 <= v.min() < 2600 and 4500 < v.max() <= 5500
    rows = v.reshape(shape[0], -1).mean(1)
    assert rows[-shape[0] // 4 :].mean() > 1.3 * rows[: shape[0] // 4].mean()
    # Layers that are slower than what is above them.
    assert (np.diff(v, axis=0) < 0).mean() > 0.02
    assert (models.overthrust(shape, seed=1) != v).mean() > 0.5
    np.testing.assert_array_equal(models.overthrust(shape), v)
    with pytest.raises(ValueError, match="`shape` must have 2 or 3 axes"):
        models.overthrust((10,))


@pytest.mark.parametrize("shape", [(120, 130), (40, 40, 40)])
def test_breast(shape):
    v = models.breast(shape, water=1500.0)
    assert v.shape == shape and (v[0] == 1500).all() and (v[..., -1] == 1500).all()
    inside = v != 1500
    assert 0.25 < inside.mean() < 0.6
    for low, high, least in ((1425, 1455, 0.2), (1515, 1545, 0.08), (1550, 1590, 0.002), (1599, 1601, 0.05)):
        assert (inside & (v > low) & (v < high)).sum() > least * inside.sum()
    np.testing.assert_array_equal(models.breast(shape, water=1500.0), v)
