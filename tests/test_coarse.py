"""Storage of every k-th cell: its interpolation, what it must not lose, and its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxwave
from jaxwave.storage import Coarse, DeviceStorage, HostStorage, Int8, Raw
from jaxwave.storage.codecs import stored_bytes


def there_and_back(codec, x):
    return np.asarray(jax.jit(lambda leaves: codec.decode(leaves, x.shape, x.dtype))(jax.jit(codec.encode)(x)))


@pytest.mark.parametrize("every", [2, 3])
@pytest.mark.parametrize("shape", [(2, 41), (1, 40, 43), (2, 37, 38, 40)])
def test_polynomials_come_back_exactly(every, shape):
    rng = np.random.default_rng(0)
    x = np.ones(shape)
    for axis, n in enumerate(shape[1:], start=1):
        line = np.polynomial.Polynomial(rng.standard_normal(6))(np.linspace(-1, 1, n))
        x = x * line.reshape([n if a == axis else 1 for a in range(len(shape))])
    got = there_and_back(Coarse(every), jnp.asarray(x))
    # Where all cells that are averaged and interpolated are within the field.
    inside = (slice(None), *(slice(6 * every, n - 6 * every) for n in shape[1:]))
    assert got[inside].size > 0
    np.testing.assert_allclose(got[inside], x[inside], rtol=0, atol=1e-13 * np.abs(x).max())


@pytest.mark.parametrize(("samples", "bound"), [(8, 4.4e-3), (6, 2.2e-2), (4, 0.14)])
def test_error_of_a_sine(samples, bound):
    cells = np.arange(400)
    x = np.sin(2 * np.pi * cells / (2 * samples) + 0.3)[None]
    error = np.abs(there_and_back(Coarse(2), jnp.asarray(x)) - x)[0, 20:-20].max()
    assert 0.3 * bound < error < bound


def test_fewer_cells_and_the_inner_codec():
    shape = (1, 64, 64, 64)
    assert stored_bytes(Raw(), shape, jnp.float32) == 8 * stored_bytes(Coarse(2), shape, jnp.float32)
    assert stored_bytes(Coarse(2, Int8()), shape, jnp.float32) < stored_bytes(Raw(), shape, jnp.float32) / 30


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("codec", [Coarse(2), Coarse(3, Int8())])
def test_what_is_not_finite_is_not_lost_between_the_samples(bad, codec):
    x = np.zeros((2, 16, 16), np.float32)
    x[1, 5, 7] = bad
    got = there_and_back(codec, jnp.asarray(x))
    assert not got[0].any() and not np.isfinite(got[1]).all()


@pytest.mark.parametrize("every", [0, 1, 2.0, True])
def test_bad_steps_are_refused(every):
    with pytest.raises(ValueError, match="`every` must be"):
        Coarse(every)


@pytest.mark.slow
@pytest.mark.optimised
def test_gradient_between_sources_and_receivers():
    # 12 cells to the wavelength of the peak frequency, 5 to the shortest; rows away from where waves are not smooth.
    dt, nt = 9e-4, 260
    wavelet = jaxwave.wavelets.ricker(25.0, nt, dt, 0.05, dtype=jnp.float64)
    survey = dict(
        source_amplitudes=wavelet.reshape(1, 1, -1), source_locations=[[[2, 20]]], pml_freq=25.0, max_vel=1600.0,
        receiver_locations=[[[37, x] for x in range(0, 40, 4)]],
    )  # fmt: skip

    def gradient(storage):
        def misfit(v):
            return jnp.sum(jaxwave.scalar(v, 5.0, dt, storage_mode=storage, **survey).receiver_amplitudes ** 2)

        return np.asarray(jax.grad(misfit)(jnp.full((40, 40), 1500.0)))

    want, got = gradient(DeviceStorage()), gradient(DeviceStorage(Coarse(2)))
    rows = slice(10, 30)
    assert 1e-4 < np.linalg.norm((got - want)[rows]) / np.linalg.norm(want[rows]) < 0.03
    np.testing.assert_array_equal(gradient(HostStorage(Coarse(2))), got)
