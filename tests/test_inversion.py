"""The building blocks of an inversion: filters, misfit, batches, correlation; and files."""

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxwave import inversion, io

EPS = np.finfo(float).eps


def test_smoothing_spreads_a_spike_as_a_gaussian_of_unit_sum():
    spike = jnp.zeros((81, 61)).at[40, 30].set(1.0)
    smooth = np.asarray(inversion.gaussian_smooth(spike, (30.0, 40.0), (10.0, 20.0)))
    z, x = np.meshgrid((np.arange(81) - 40) * 10.0, (np.arange(61) - 30) * 20.0, indexing="ij")
    for axis, (distance, sigma) in enumerate([(z, 30.0), (x, 40.0)]):
        spread = np.sqrt((smooth * distance**2).sum())
        assert spread == pytest.approx(sigma, rel=2e-3), axis  # cut at 4 sigma, which takes 1e-3 of the variance
    assert smooth.sum() == pytest.approx(1, abs=1e-12)


def test_smoothing_keeps_constants_linearity_dtype_and_zero_width():
    model = np.random.default_rng(0).normal(size=(7, 5, 6))
    constant = inversion.gaussian_smooth(np.full((7, 5, 6), 1500.0), 40.0)  # far wider than the model
    np.testing.assert_allclose(constant, 1500.0, rtol=1e-13)
    np.testing.assert_array_equal(inversion.gaussian_smooth(model, 0.0), model)
    assert inversion.gaussian_smooth(model.astype(np.float32), 1.0).dtype == np.float32
    axis = inversion.gaussian_smooth(model, (0.0, 2.0, 0.0))
    np.testing.assert_allclose(axis[3:4], inversion.gaussian_smooth(model[3:4], (0.0, 2.0, 0.0)), rtol=1e-13)


def test_lowpass_keeps_the_phase_and_follows_its_response():
    nt, dt = 2000, 0.002
    t = np.arange(nt) * dt - 2.0
    envelope = np.exp(-((t / 0.5) ** 2))
    for freq in (2.0, 6.0, 12.0):
        signal = np.cos(2 * np.pi * freq * t) * envelope
        filtered = inversion.lowpass(signal, 6.0, dt)
        expected = 1 / (1 + (freq / 6.0) ** 8)
        gain = np.vdot(filtered, signal) / np.vdot(signal, signal)
        assert gain == pytest.approx(expected, abs=0.01)  # the envelope's spectrum is some 0.5 Hz wide
        shifted = np.vdot(filtered, np.sin(2 * np.pi * freq * t) * envelope) / np.vdot(signal, signal)
        assert abs(shifted) < 1e-6


def test_lowpass_is_linear_and_selfadjoint():
    a, b = np.random.default_rng(1).normal(size=(2, 3, 50))

    def low(x):
        return inversion.lowpass(x, 20.0, 0.004)

    np.testing.assert_allclose(low(2 * a - b), 2 * low(a) - low(b), atol=1e-13)
    _, pull = jax.vjp(low, jnp.asarray(a))
    np.testing.assert_allclose(pull(jnp.asarray(b))[0], low(b), atol=1e-13)


def test_lowpass_takes_a_traced_cutoff():
    data = np.random.default_rng(2).normal(size=(2, 40)).astype(np.float32)
    traced = jax.jit(lambda cutoff: inversion.lowpass(data, cutoff, 0.004))(10.0)
    assert traced.dtype == np.float32
    np.testing.assert_allclose(traced, inversion.lowpass(data, 10.0, 0.004), atol=1e-5)


def test_batches_use_every_shot_equally_often_and_depend_on_the_iteration_alone():
    drawn = [inversion.shot_batch(10, 4, seed=3, iteration=i) for i in range(10)]
    assert all(len(batch) == 4 for batch in drawn)
    assert np.all(np.bincount(np.concatenate(drawn)) == 4)
    np.testing.assert_array_equal(inversion.shot_batch(10, 4, 3, 7), drawn[7])
    assert any(not np.array_equal(inversion.shot_batch(10, 4, 4, i), drawn[i]) for i in range(3))


def test_correlation_ignores_size_and_sees_sign():
    anomaly = np.array([[0.0, 100.0], [0.0, 0.0]])
    assert inversion.correlation(0.01 * anomaly, anomaly) == pytest.approx(1)
    assert inversion.correlation(-anomaly, anomaly) == pytest.approx(-1)
    assert inversion.correlation(np.zeros((2, 2)), anomaly) == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: inversion.gaussian_smooth(np.ones((3, 3)), -1.0),
        lambda: inversion.gaussian_smooth(np.ones((3, 3)), (1.0, 1.0, 1.0)),
        lambda: inversion.gaussian_smooth(np.ones((3, 3)), 1.0, 0.0),
        lambda: inversion.lowpass(np.ones(9), 0.0, 0.004),
        lambda: inversion.l2_misfit(np.ones((2, 3)), np.ones((1, 3))),
        lambda: inversion.shot_batch(4, 5, 0, 0),
        lambda: inversion.correlation(np.ones(3), np.ones(4)),
    ],
)
def test_mistakes_are_named(call):
    with pytest.raises(ValueError, match=r"sigma|grid_spacing|cutoff|shape|batch"):
        call()


def test_checkpoint_gives_an_optimizer_back_to_the_last_bit(tmp_path):
    model = jnp.linspace(1500.0, 4000.0, 12, dtype=jnp.float32).reshape(3, 4)
    optimizer = optax.adam(10.0)
    _, state = optimizer.update(jnp.sin(model), optimizer.init(model), model)
    path = tmp_path / "checkpoint.h5"
    io.save_checkpoint(path, (model, state), {"band": 1})
    again = io.load_checkpoint(path, like=(model, optimizer.init(model)))
    assert jax.tree.structure(again) == jax.tree.structure((model, state))
    jax.tree.map(np.testing.assert_array_equal, again, (model, state))
    assert io.load_metadata(path) == {"band": 1}


def test_checkpoint_of_something_else_is_refused(tmp_path):
    path = tmp_path / "checkpoint.h5"
    io.save_checkpoint(path, [np.zeros(3)])
    for like in ([np.zeros(4)], [np.zeros(3, np.float32)], [np.zeros(3), np.zeros(3)]):
        with pytest.raises(ValueError, match="expected"):
            io.load_checkpoint(path, like)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["v"] = np.zeros(3)
    with pytest.raises(ValueError, match="no checkpoint"):
        io.load_metadata(tmp_path / "other.h5")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "checkpoint.h5"
    io.save_checkpoint(path, [np.arange(3)])
    with pytest.raises(TypeError), io.atomic(path) as temporary, h5py.File(temporary, "w") as file:
        file["half"] = np.zeros(3)
        raise TypeError("interrupted")
    np.testing.assert_array_equal(io.load_checkpoint(path, [np.zeros(3, int)])[0], np.arange(3))
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.h5"]


def test_models_are_read_from_numpy_and_hdf5(tmp_path):
    model = np.random.default_rng(0).normal(size=(4, 5))
    np.save(tmp_path / "v.npy", model)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["group/v"] = model
    np.testing.assert_array_equal(io.load_model(tmp_path / "v.npy"), model)
    np.testing.assert_array_equal(io.load_model(tmp_path / "v.h5"), model)
    with h5py.File(tmp_path / "v.h5", "a") as file:
        file["rho"] = model
    np.testing.assert_array_equal(io.load_model(tmp_path / "v.h5", "group/v"), model)
    with pytest.raises(ValueError, match="name one of group/v, rho"):
        io.load_model(tmp_path / "v.h5")
    with pytest.raises(ValueError, match=r"\.npy, \.h5"):
        io.load_model(tmp_path / "v.txt")
