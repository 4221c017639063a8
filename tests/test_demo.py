"""The 3-D demonstration: the single step of the manual in every storage mode, and the command itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxwave import compiler_options
from jaxwave._numerics.boundary import PaddedGrid
from jaxwave.cli import demo, main, report
from jaxwave.inversion import l2_misfit
from jaxwave.storage.registry import REGISTRY


@functools.cache
def observed():
    true, _ = demo.models()
    return np.asarray(demo.simulate(true, demo.survey()).receiver_amplitudes)


@functools.cache
def misfit_program(**storage):
    shots, data = demo.survey(), observed()

    def loss(v):
        return l2_misfit(demo.simulate(v, shots, **storage).receiver_amplitudes, data)

    return jax.jit(jax.value_and_grad(loss), compiler_options=compiler_options() or None)


@pytest.mark.optimised
@pytest.mark.slow  # six programs, some five seconds each
@pytest.mark.parametrize("compression", [False, "int8"])
@pytest.mark.parametrize("storage", ["device", "cpu", "disk"])
def test_one_step_of_gradient_descent_lowers_the_misfit(storage, compression, tmp_path):
    """The step of Deepwave's manual: a mean-square misfit, optax.sgd(1e8)."""
    _, initial = demo.models()
    options = {"storage_path": str(tmp_path)} if storage == "disk" else {}
    loss = misfit_program(storage_mode=storage, storage_compression=compression, **options)
    optimizer = optax.sgd(1e8)
    before, gradient = loss(initial)
    change, _ = optimizer.update(gradient, optimizer.init(initial))
    after, _ = loss(optax.apply_updates(initial, change))
    assert float(after) < 0.999 * float(before)  # 0.4 % down; float32 resolves 1e-5 of the misfit


@pytest.mark.optimised
@pytest.mark.slow
def test_the_footprint_is_what_storage_holds():
    shots, (_, initial) = demo.survey(), demo.models()
    storage = {"storage_mode": "cpu", "storage_compression": "int8"}
    info = jax.eval_shape(lambda v: demo.simulate(v, shots, **storage), initial).info
    size = report.footprint(info, demo.SPACING, n_shots=4, nt=demo.NT, accuracy=4, storage="cpu")
    REGISTRY.clear()
    jax.block_until_ready(misfit_program(**storage)(initial))
    assert REGISTRY.stats().ram_bytes == pytest.approx(size.stored, rel=0.01)  # blocks are rounded up to 64 bytes
    assert size.raw == 4 * 4 * np.prod(PaddedGrid(demo.SHAPE, (10.0,) * 3, 4, demo.PML_WIDTH).padded) * demo.NT * 2


@pytest.mark.optimised
@pytest.mark.slow
def test_the_command_reports_what_it_did(capsys, tmp_path):
    assert main(["demo", "--iterations", "1", "--storage", "disk", "--storage-path", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for fact in ("2 sub-steps", "in an HDF5 file", "3.8 times less", "down by", "correlation", "1 iterations in"):
        assert fact in said
    assert list(tmp_path.iterdir()) == []


def test_the_update_is_smooth_bounded_and_spares_the_top():
    true, initial = demo.models()
    assert true[demo.BLOCK].min() == 1600 and int((true != initial).sum()) == 4 * 5 * 5
    x = jnp.zeros(demo.SHAPE, jnp.float32).at[0].set(1e3).at[5, 15, 15].set(1e5)
    model = demo.to_model(x, initial)
    assert float(jnp.abs(model[0] - initial[0]).max()) == 0
    assert demo.MIN_VEL <= float(model.min()) and float(model.max()) == demo.MAX_VEL


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--storage", "none"], "invalid choice: 'none'"),
        (["--compression", "zip"], "invalid choice: 'zip'"),
        (["--iterations", "0"], "must be at least 1"),
        (["--iterations", "many"], "is not an integer"),
        (["--storage", "disk", "--storage-path", "/nowhere"], "/nowhere"),
    ],
)
def test_mistakes_end_in_a_message(options, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["demo", *options])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_a_missing_matplotlib_is_said(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    report.save_figure("figure.png", lambda: pytest.fail("drawn"))
    assert "matplotlib is not installed" in capsys.readouterr().out
