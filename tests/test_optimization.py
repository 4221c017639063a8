"""Transformations of updates, penalties, bounds and Newton steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import amplitudes, largest

import jaxwave
from jaxwave import misfits, optimization


def apply(transformation, updates, unknowns=None):
    state = transformation.init(unknowns if unknowns is not None else updates)
    return jax.jit(transformation.update)(updates, state, unknowns)[0]


def test_masked_smoothed_and_divided():
    rng = np.random.default_rng(0)
    g = {"v": jnp.asarray(rng.standard_normal((12, 15))), "rho": jnp.asarray(rng.standard_normal((12, 15)))}
    mask = (np.arange(12) > 3)[:, None] * np.ones((12, 15))
    assert not apply(optimization.masked(mask), g)["rho"][:4].any()
    wanted = jaxwave.inversion.gaussian_smooth(g["v"], 20.0, 10.0)
    np.testing.assert_allclose(apply(optimization.smoothed(20.0, 10.0), g)["v"], wanted, rtol=1e-12)
    weights = rng.uniform(0, 1, (12, 15))
    found = apply(optimization.divided_by(weights, 0.1), g)["v"]
    np.testing.assert_allclose(found, g["v"] / (weights + 0.1 * weights.max()), rtol=1e-12)
    with pytest.raises(ValueError, match="`level` must be positive"):
        optimization.divided_by(weights, 0.0)


def test_largest_change_and_bounds():
    g, x = {"a": jnp.array([1.0, -4.0]), "b": jnp.array([2.0])}, {"a": jnp.array([10.0, 20.0]), "b": jnp.array([30.0])}
    found = apply(optimization.largest_change(8.0), g)
    np.testing.assert_array_equal(found["a"], [2.0, -8.0])
    np.testing.assert_array_equal(found["b"], [4.0])
    assert not apply(optimization.largest_change(8.0), jax.tree.map(jnp.zeros_like, g))["a"].any()
    bounded = apply(optimization.kept_within(17.0, 31.0), g, x)
    np.testing.assert_array_equal(bounded["a"], [7.0, -3.0])
    np.testing.assert_array_equal(bounded["b"], [1.0])
    with pytest.raises(ValueError, match="kept_within needs the unknowns"):
        apply(optimization.kept_within(17.0, 31.0), g)


def test_in_a_chain_with_optax():
    optimizer = optax.chain(
        optimization.smoothed(1.0), optimization.divided_by(np.ones((8, 8))), optax.adam(300.0),
        optimization.masked(np.arange(8.0)[:, None] > 1), optimization.kept_within(1500.0, 2500.0),
    )  # fmt: skip
    v = jnp.full((8, 8), 2000.0)
    state = optimizer.init(v)
    for _ in range(5):
        gradient = jnp.ones((8, 8))
        update, state = optimizer.update(gradient, state, v)
        v = optax.apply_updates(v, update)
    assert (v[:2] == 2000).all() and (v[2:] == 1500).all()


@pytest.mark.parametrize("penalty", [optimization.tikhonov, optimization.total_variation])
def test_penalties(penalty):
    x = jnp.asarray(np.random.default_rng(0).standard_normal((7, 9)))
    assert abs(penalty(jnp.full((7, 9), 3.0))) < 1e-12
    step = jnp.zeros((10, 10)).at[5:].set(2.0)
    # One difference of 2 over 4 m in 10 of 100 cells.
    want = 0.5 * 0.25 * 10 / 100 if penalty is optimization.tikhonov else 0.5 * 10 / 100
    assert penalty(step, 4.0) == pytest.approx(want, rel=3e-3)
    d, e = jnp.asarray(np.random.default_rng(1).standard_normal((7, 9))), 1e-6
    slope = (penalty(x + e * d, (2.0, 3.0)) - penalty(x - e * d, (2.0, 3.0))) / (2 * e)
    assert jnp.vdot(jax.grad(penalty)(x, (2.0, 3.0)), d) == pytest.approx(float(slope), rel=1e-6)
    with pytest.raises(ValueError, match="spacing"):
        penalty(x, (1.0, 2.0, 3.0))


def test_tikhonov_of_a_reference():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((7, 9)))
    assert optimization.tikhonov(x, reference=x) == 0


def test_bounds_by_another_unknown():
    speeds = optimization.Between(1400.0, 5000.0)
    v = jnp.linspace(1405.0, 4990.0, 20)
    np.testing.assert_allclose(speeds.model(speeds.unknown(v)), v, rtol=1e-10)
    assert np.isfinite(speeds.unknown(jnp.array([1000.0, 1400.0, 6000.0]))).all()
    far = speeds.model(jnp.array([-1e3, 1e3]))
    np.testing.assert_array_equal(far, [1400.0, 5000.0])


# ---- Newton steps ----


def test_a_quadratic_problem_is_solved_in_one_step():
    rng = np.random.default_rng(0)
    matrix, data = jnp.asarray(rng.standard_normal((30, 12))), jnp.asarray(rng.standard_normal(30))

    def predict(x):
        return matrix @ jnp.concatenate([x["a"], x["b"]])

    start = {"a": jnp.ones(5), "b": jnp.zeros(7)}
    step = optimization.gauss_newton_step(predict, lambda y: misfits.l2(y, data), start, iterations=40, tolerance=1e-13)
    found = jnp.concatenate([start[k] + step.update[k] for k in ("a", "b")])
    np.testing.assert_allclose(found, jnp.linalg.lstsq(matrix, data)[0], atol=1e-9)
    assert step.value == pytest.approx(float(misfits.l2(predict(start), data)))
    assert len(step.residuals) <= 14 and step.residuals[-1] < 1e-12
    damped = optimization.gauss_newton_step(
        predict, lambda y: misfits.l2(y, data), start, iterations=40, tolerance=1e-13, damping=10.0
    )
    assert largest(damped.update["b"]) < 0.5 * largest(step.update["b"])


@pytest.mark.parametrize("storage", ["device", "cpu"])
def test_a_step_through_a_propagator(storage):
    v = np.full(40, 1500.0)
    true = v.copy()
    true[18:24] = 1560.0
    dt, nt = 1.7e-3, 170
    survey = dict(
        source_amplitudes=amplitudes(nt, dt), source_locations=[[[3]]], receiver_locations=[[[10], [36]]],
        max_vel=1700.0, pml_freq=25.0, pml_width=5, storage_mode=storage,
    )  # fmt: skip

    def predict(v):
        return jaxwave.scalar(v, 5.0, dt, **survey).receiver_amplitudes

    observed = predict(true)
    before = float(misfits.l2(predict(v), observed))
    step = optimization.gauss_newton_step(predict, lambda y: misfits.l2(y, observed), jnp.asarray(v), 8)
    assert step.value == pytest.approx(before)
    after = float(misfits.l2(predict(v + step.update), observed))
    gradient = jax.grad(lambda v: misfits.l2(predict(v), observed))(jnp.asarray(v))
    steepest = min(
        float(misfits.l2(predict(v - a * gradient / jnp.abs(gradient).max()), observed)) for a in (5, 10, 20, 40, 80)
    )
    assert after < 0.1 * before and after < 0.5 * steepest
    assert all(np.diff(step.residuals) < 0) or len(step.residuals) > 1


def test_no_step_where_the_gradient_is_zero():
    step = optimization.gauss_newton_step(lambda x: 2 * x, lambda y: jnp.sum(y**2), jnp.zeros(3))
    assert not step.update.any() and step.residuals == []
    upside_down = optimization.gauss_newton_step(lambda x: x, lambda y: -jnp.sum(y**2), jnp.ones(3))
    np.testing.assert_allclose(upside_down.update, 2.0)  # minus the gradient


def test_the_diagonal_of_gauss_newton():
    rng = np.random.default_rng(0)
    matrix = jnp.asarray(rng.standard_normal((30, 12)) * np.linspace(0.1, 3, 12))
    found = optimization.gauss_newton_diagonal(
        lambda x: matrix @ jnp.concatenate([x["a"], x["b"]]), {"a": jnp.ones(5), "b": jnp.zeros(7)},
        jax.random.key(0), 400,
    )  # fmt: skip
    whole = matrix.T @ matrix
    want = jnp.diagonal(whole)
    deviation = jnp.sqrt((whole**2).sum(1) - want**2) / 400**0.5
    # The deviation is the norm of the other elements of a row, over the root of the number of samples.
    assert (jnp.abs(jnp.concatenate([found["a"], found["b"]]) - want) < 4 * deviation).all()
    assert np.corrcoef(jnp.concatenate([found["a"], found["b"]]), want)[0, 1] > 0.98
    orthogonal = optimization.gauss_newton_diagonal(lambda x: 2 * x, jnp.ones(4), jax.random.key(0), 1)
    np.testing.assert_allclose(orthogonal, 4.0)
