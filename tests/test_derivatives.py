"""Born modelling and the products of second derivatives: every storage mode, with sub-steps, under jit and vmap."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import amplitudes, largest, layered

import jaxwave
from jaxwave import SubstepWarning


@pytest.fixture(autouse=True)
def nothing_left():
    """What a compiled program leaves behind until the next one runs is released with the test."""
    yield
    jaxwave.storage.clear()


SHAPES = {1: (40,), 2: (16, 18), 3: (8, 9, 10)}
MODES = ["device", "cpu", "disk"]


def problem(ndim, tmp_path, mode="device", codec=False, dt=6e-4, nt=60):
    """A rough model, two directions, and the records of two shots as a function of a model."""
    shape = SHAPES[ndim]
    v = jnp.asarray(layered(shape, 1500.0, 2000.0))
    dv, dw = (jnp.asarray(np.random.default_rng(seed).standard_normal(shape)) for seed in (1, 2))
    survey = dict(
        source_amplitudes=np.tile(amplitudes(nt, dt, delay=0.02), (2, 1, 1)),
        source_locations=np.stack([np.full((1, ndim), 2), np.full((1, ndim), 5)]),
        receiver_locations=np.tile(np.array([[3] * ndim, [6] * ndim]), (2, 1, 1)),
        pml_width=3, pml_freq=25.0, max_vel=2100.0, storage_mode=mode, storage_path=str(tmp_path),
        storage_compression=codec,
    )  # fmt: skip
    return v, dv, dw, dt, survey


def records(dt, survey):
    return lambda v: jaxwave.scalar(v, 5.0, dt, **survey).receiver_amplitudes


def misfit(dt, survey):
    return lambda v: 0.5 * jnp.sum((records(dt, survey)(v) - 1e-3) ** 2)


@pytest.mark.optimised
@pytest.mark.parametrize(
    ("ndim", "mode"),
    [
        pytest.param(ndim, mode, marks=[pytest.mark.slow] if ndim > 1 and (ndim, mode) != (2, "device") else [])
        for ndim in SHAPES
        for mode in MODES
    ],
)
def test_born_against_differences(ndim, mode, tmp_path):
    v, dv, _, dt, survey = problem(ndim, tmp_path, mode)
    out = jaxwave.scalar_born(v, dv, 5.0, dt, **survey)
    # A run that keeps nothing is the same in every mode, and so compiled once.
    runs = functools.partial(jaxwave.scalar, grid_spacing=5.0, dt=dt, **{**survey, "storage_mode": "none"})
    e = 1e-2  # m/s: the error of the difference falls with e^2 and rises with 1e-16 / e
    more, less, plain = (runs(v + s * dv) for s in (e, -e, 0))
    for got, a, b in (
        (out.receiver_amplitudes, more.receiver_amplitudes, less.receiver_amplitudes),
        (out.scattered.wavefield_0, more.wavefield_0, less.wavefield_0),
    ):
        assert largest(got - (a - b) / (2 * e)) <= 1e-6 * largest(got)
    assert largest(out.background.receiver_amplitudes - plain.receiver_amplitudes) == 0
    assert out.background.is_finite


def test_born_is_linear_and_its_transpose_is_the_gradient(tmp_path):
    v, dv, dw, dt, survey = problem(2, tmp_path)

    @jax.jit
    def born(d):
        return jaxwave.scalar_born(v, d, 5.0, dt, **survey).receiver_amplitudes

    a, b = born(dv), born(dw)
    assert largest(born(2 * dv - dw) - (2 * a - b)) <= 1e-13 * largest(a)
    y = jnp.asarray(np.random.default_rng(3).standard_normal(a.shape))
    migrated = jax.jit(jax.grad(lambda d: jnp.vdot(y, born(d))))(dw)
    assert abs(jnp.vdot(migrated, dv) - jnp.vdot(y, a)) <= 1e-12 * abs(jnp.vdot(y, a))


@pytest.mark.parametrize(
    ("dv", "error", "words"),
    [(np.ones((3, 3)), ValueError, "shape of `v`"), (np.ones((16, 18), np.float32), TypeError, "mixed dtypes")],
)
def test_born_refuses(dv, error, words, tmp_path):
    v, _, _, dt, survey = problem(2, tmp_path)
    with pytest.raises(error, match=words):
        jaxwave.scalar_born(v, dv, 5.0, dt, **survey)
    with pytest.raises(ValueError, match="keeps no wavefields"):
        jaxwave.scalar_born(v, jnp.ones_like(v), 5.0, dt, **{**survey, "storage_mode": "none"})


@pytest.mark.parametrize(
    ("substeps", "mode"),
    [
        pytest.param(substeps, mode, marks=[pytest.mark.slow] if substeps and mode != "device" else [])
        for substeps in (False, True)
        for mode in MODES
    ],
)
def test_hessian_product(substeps, mode, tmp_path):
    """Against differences of gradients; and symmetric. In 2-D and, where a history is kept elsewhere, in 1-D."""
    dt, ndim = 2e-3 if substeps else 6e-4, 2 if mode == "device" and not substeps else 1
    v, dv, dw, dt, survey = problem(ndim, tmp_path, mode, dt=dt, nt=40)
    f = misfit(dt, survey)
    # Eagerly each loop is a program, and each operation between them: once.
    compiled = (lambda f: f) if mode == "cpu" and not substeps else jax.jit
    product, gradient = compiled(lambda d: jaxwave.hessian_product(f, v, d)), compiled(jax.grad(f))

    def check():
        along = product(dv)
        e = 1e-2  # as above
        difference = (gradient(v + e * dv) - gradient(v - e * dv)) / (2 * e)
        assert largest(along - difference) <= 1e-6 * largest(along)
        a, b = jnp.vdot(dw, along), jnp.vdot(dv, product(dw))
        assert abs(a - b) <= 1e-10 * abs(a)

    if substeps:
        with pytest.warns(SubstepWarning):
            check()
    else:
        check()


@functools.cache
def exact_product(ndim):
    """Of the next test's problem, with its wavefields as they are on the device."""
    v, dv, _, dt, survey = problem(ndim, ".")
    return jax.jit(lambda d: jaxwave.gauss_newton_product(records(dt, survey), v, d))(dv)


@pytest.mark.parametrize(
    ("codec", "mode"),
    [
        (False, "device"),
        (False, "cpu"),
        pytest.param(False, "disk", marks=pytest.mark.slow),
        pytest.param("int8", "device", marks=pytest.mark.slow),
        pytest.param("int8", "cpu", marks=pytest.mark.slow),
        ("int8", "disk"),
    ],
)
def test_gauss_newton_product(codec, mode, tmp_path):
    """Symmetric, positive, and J^T W J with J from jax.jacfwd; what int8 loses it loses on both sides alike."""
    ndim = 2 if mode == "device" else 1
    v, dv, dw, dt, survey = problem(ndim, tmp_path, mode, codec)
    forward = records(dt, survey)
    compiled = (lambda f: f) if mode == "cpu" and not codec else jax.jit  # as above

    def product(forward, **options):
        return compiled(lambda d: jaxwave.gauss_newton_product(forward, v, d, **options))

    plain = product(forward)
    along = plain(dv)
    a, b = jnp.vdot(dw, along), jnp.vdot(dv, plain(dw))
    assert abs(a - b) <= 1e-10 * abs(a)
    assert jnp.vdot(dv, along) > 0
    weighted = product(forward, weight=lambda y: 3 * y)(dv)
    assert largest(weighted - 3 * along) <= 1e-12 * largest(along)
    exact = exact_product(ndim)
    assert largest(along - exact) <= (0.03 if codec else 1e-12) * largest(exact)


@pytest.mark.parametrize("mode", ["device", *(pytest.param(mode, marks=pytest.mark.slow) for mode in MODES[1:])])
def test_small_problems_as_matrices(mode, tmp_path):
    """jacfwd, jacrev and hessian of a few parameters agree, under jit, with one another and with the products."""
    v, _, _, dt, survey = problem(1, tmp_path, mode, nt=30)
    basis = jnp.zeros((3, *v.shape)).at[jnp.arange(3), jnp.array([4, 12, 20])].set(10.0)

    def records_of(p):
        return records(dt, survey)(v + jnp.tensordot(p, basis, 1))

    p = jnp.array([0.1, -0.2, 0.3])
    forward, reverse = (jax.jit(transform(records_of))(p) for transform in (jax.jacfwd, jax.jacrev))
    assert largest(forward - reverse) <= 1e-12 * largest(forward)

    def f(p):
        return 0.5 * jnp.sum((records_of(p) - 1e-3) ** 2)

    matrix = jax.jit(jax.hessian(f))(p)
    products = jax.jit(jax.vmap(lambda d: jaxwave.hessian_product(f, p, d)))(jnp.eye(3))
    assert largest(matrix - products) <= 1e-12 * largest(matrix)
    assert largest(matrix - matrix.T) <= 1e-10 * largest(matrix)
