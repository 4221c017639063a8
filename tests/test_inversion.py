"""The building blocks of an inversion: filters, misfit, batches, correlation; and files."""

import os
from pathlib import Path

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


def smoothing_matrix(n, width):
    """The definition: rows that sum to one, of a Gaussian cut at four of its widths; cells beyond repeat the last."""
    reach = max(1, int(np.ceil(4 * width)))
    offset = np.arange(-reach, reach + 1)
    weight = np.exp(-0.5 * (offset / width) ** 2)
    matrix = np.zeros((n, n))
    rows, columns = np.broadcast_arrays(np.arange(n)[:, None], np.clip(np.arange(n)[:, None] + offset, 0, n - 1))
    np.add.at(matrix, (rows, columns), weight / weight.sum())
    return matrix


# Blocks have at most 128 cells: one, one that is full, two, several; windows in one block, over many, beyond the model.
@pytest.mark.parametrize(
    ("n", "width"), [(1, 2.7), (2, 0.1), (7, 500.0), (128, 2.7), (129, 2.7), (300, 40.0), (300, 500.0)]
)
def test_smoothing_is_the_product_with_its_matrix_and_so_is_its_derivative(n, width):
    x, y = np.random.default_rng(0).normal(size=(2, n, 3))
    matrix = smoothing_matrix(n, width)

    def smooth(x):
        return inversion.gaussian_smooth(x, (width, 0.0))

    np.testing.assert_allclose(smooth(x), matrix @ x, atol=20 * EPS)  # sums of numbers of some 1 that add up to 1
    _, pull = jax.vjp(smooth, x)
    np.testing.assert_allclose(pull(y)[0], matrix.T @ y, atol=200 * EPS)  # the last cell gets up to n of them
    np.testing.assert_allclose(jax.linear_transpose(smooth, x)(y)[0], matrix.T @ y, atol=200 * EPS)


def test_smoothing_takes_a_few_times_the_memory_of_the_model():
    model = jax.ShapeDtypeStruct((40, 8000), np.float32)  # a dense matrix would be 200 times as large
    for sigma in (10.0, (0.0, 300.0)):
        compiled = jax.jit(lambda x, sigma=sigma: inversion.gaussian_smooth(x, sigma)).lower(model).compile()
        memory = compiled.memory_analysis()
        assert memory.temp_size_in_bytes <= 8 * model.size * 4
        assert memory.generated_code_size_in_bytes < 4e6


def test_an_empty_record_is_filtered_and_smoothed():
    assert inversion.lowpass(np.zeros((2, 0), np.float32), 8.0, 0.004).shape == (2, 0)
    assert inversion.lowpass(np.zeros((0, 9), np.float32), 8.0, 0.004).dtype == np.float32
    assert inversion.gaussian_smooth(np.zeros((3, 0)), 2.0).shape == (3, 0)


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
        lambda: inversion.gaussian_smooth(np.ones((3, 3)), np.nan),
        lambda: inversion.lowpass(np.ones(9), 0.0, 0.004),
        lambda: inversion.lowpass(1.0, 8.0, 0.004),
        lambda: inversion.l2_misfit(np.ones((2, 0)), np.ones((2, 0))),
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


def test_a_checkpoint_holds_numbers_of_every_type(tmp_path):
    optimizer = optax.adam(1.0, mu_dtype=jnp.bfloat16)
    model = jnp.arange(12.0).reshape(3, 4)
    tree = {
        "adam": optimizer.update(model, optimizer.init(model))[1],
        "int4": jnp.array([1, -2], jnp.int4),
        "f8": np.arange(3).astype(jnp.float8_e4m3fn), "complex": np.array([1j]),
        "numbers": [3, 2.5, True, np.float16(2)],
        "none": None, "empty": np.zeros((2, 0)), "scalar": jnp.bfloat16(3),
    }  # fmt: skip
    io.save_checkpoint(tmp_path / "c.h5", tree)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), np.asarray(x).dtype), tree)
    for like in (tree, shapes):
        again = io.load_checkpoint(tmp_path / "c.h5", like)
        assert jax.tree.structure(again) == jax.tree.structure(tree)
        for a, b in zip(jax.tree.leaves(again), map(np.asarray, jax.tree.leaves(tree)), strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_a_checkpoint_of_another_structure_is_refused(tmp_path):
    io.save_checkpoint(tmp_path / "c.h5", {"vp": np.full(3, 3000.0), "vs": np.full(3, 1500.0)})
    zeros = np.zeros(3)
    for like in ({"rho": zeros, "vp": zeros}, [zeros, zeros], {"vp": {"vs": zeros}, "vs": zeros}):
        with pytest.raises(ValueError, match=r"holds an array for \['v[ps]'\] where one for"):
            io.load_checkpoint(tmp_path / "c.h5", like)
    io.save_checkpoint(tmp_path / "c.h5", zeros)
    with pytest.raises(ValueError, match="for the whole where"):
        io.load_checkpoint(tmp_path / "c.h5", [zeros])


def test_a_checkpoint_without_places_is_read(tmp_path):
    """As they were written at first: the metadata in an attribute, and leaves alone."""
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.attrs.update(jaxwave_checkpoint=1, metadata='{"band": 2}', leaves=1)
        file["leaf_0"] = np.arange(3)
    assert io.load_metadata(tmp_path / "c.h5") == {"band": 2}
    np.testing.assert_array_equal(io.load_checkpoint(tmp_path / "c.h5", {"v": np.zeros(3, int)})["v"], np.arange(3))


def test_metadata_may_be_long(tmp_path):
    long = {"history": list(range(20_000))}  # more than an attribute of HDF5 holds
    io.save_checkpoint(tmp_path / "c.h5", [], long)
    assert io.load_metadata(tmp_path / "c.h5") == long


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o664])
def test_a_file_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "c.h5"
    path.touch()
    path.chmod(mode)
    io.save_checkpoint(path, [np.zeros(1)])
    assert path.stat().st_mode & 0o7777 == mode


def test_a_new_file_has_the_permissions_of_any(tmp_path):
    (tmp_path / "any").touch()
    io.save_checkpoint(tmp_path / "c.h5", [np.zeros(1)])
    assert (tmp_path / "c.h5").stat().st_mode == (tmp_path / "any").stat().st_mode


@pytest.mark.parametrize("exists", [True, False])
def test_the_target_of_a_link_is_written(tmp_path, exists):
    real, link = tmp_path / "elsewhere" / "real.h5", tmp_path / "c.h5"
    real.parent.mkdir()
    if exists:
        real.touch()
    link.symlink_to("elsewhere/real.h5")
    io.save_checkpoint(link, [np.arange(3)])
    assert link.is_symlink() and not real.is_symlink()
    np.testing.assert_array_equal(io.load_checkpoint(real, [np.zeros(3, int)])[0], np.arange(3))
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["c.h5", "elsewhere", "real.h5"]


def test_what_is_no_file_is_not_replaced(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "protected").touch()
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "protected")  # root may write everywhere
    for name in ("pipe", "protected", "."):
        with pytest.raises(OSError, match="no regular file that may be written to; give another name, or remove it"):
            io.save_checkpoint(tmp_path / name, [np.zeros(1)])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pipe", "protected"]


def test_a_long_name_is_no_obstacle(tmp_path):
    io.save_checkpoint(tmp_path / ("n" * 255), [np.zeros(1)])
    assert [len(p.name) for p in tmp_path.iterdir()] == [255]


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
