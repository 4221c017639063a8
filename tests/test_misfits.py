"""Misfits: derivatives against differences, what they are at equal records, and against a delay."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import largest

import jaxwave
from jaxwave import misfits

DT, NT = 4e-3, 96
MISFITS = {
    "l2": misfits.l2,
    "huber": functools.partial(misfits.huber, threshold=0.3),
    "student_t": functools.partial(misfits.student_t, scale=0.5),
    "correlation": misfits.correlation,
    "global correlation": functools.partial(misfits.correlation, each_trace=False),
    "phase": misfits.phase,
    "envelope": misfits.envelope,
    "envelope, power 1": functools.partial(misfits.envelope, power=1.0),
    "travel_time": functools.partial(misfits.travel_time, dt=DT),
    "wasserstein": functools.partial(misfits.wasserstein, dt=DT),
    "wasserstein, softplus": functools.partial(misfits.wasserstein, dt=DT, positive="softplus"),
    "wasserstein 1": functools.partial(misfits.wasserstein, dt=DT, order=1),
    "matching_filter": functools.partial(misfits.matching_filter, dt=DT),
    "soft_dtw": functools.partial(misfits.soft_dtw, smoothing=0.05),
    "fourier": functools.partial(misfits.fourier, dt=DT, frequencies=(4.0, 7.0)),
}
SMOOTH = [name for name in MISFITS if name not in ("wasserstein 1", "huber")]  # their second derivatives jump
WIDE = ("envelope", "envelope, power 1", "travel_time", "wasserstein", "wasserstein 1", "matching_filter", "fourier")
every = pytest.mark.parametrize("name", MISFITS)


def ricker(peak, frequency=8.0):
    return jaxwave.wavelets.ricker(frequency, NT, DT, peak, dtype=jnp.float64)


@functools.cache
def records():
    """A predicted and an observed record [2, 2, nt] that are a little late, too large and rough."""
    rng = np.random.default_rng(0)
    observed = jnp.stack([jnp.stack([ricker(0.17), ricker(0.2, 9.0)]), jnp.stack([ricker(0.18, 7.0), ricker(0.21)])])
    late = jnp.stack([jnp.stack([ricker(0.18), ricker(0.205, 9.0)]), jnp.stack([ricker(0.172, 7.0), ricker(0.225)])])
    rough = jax.lax.map(lambda x: jnp.convolve(x, jnp.hanning(9), "same"), jnp.asarray(rng.standard_normal((4, NT))))
    return 1.2 * late + 0.02 * rough.reshape(2, 2, NT), observed


@every
def test_gradient(name):
    p, d = records()
    dp = jnp.stack([jnp.stack([ricker(0.19), ricker(0.2)]), jnp.stack([ricker(0.17), ricker(0.2, 7.0)])])
    f = jax.jit(lambda p: MISFITS[name](p, d))
    e = 1e-5
    want = (f(p + e * dp) - f(p - e * dp)) / (2 * e)
    assert abs(jnp.vdot(jax.grad(f)(p), dp) - want) < 1e-6 * abs(want)


@pytest.mark.parametrize("name", SMOOTH)
def test_hessian_product(name):
    p, d = records()
    dp = jnp.stack([jnp.stack([ricker(0.19), ricker(0.2)]), jnp.stack([ricker(0.17), ricker(0.2, 7.0)])])
    gradient = jax.jit(jax.grad(lambda p: MISFITS[name](p, d)))
    e = 1e-5
    want = (gradient(p + e * dp) - gradient(p - e * dp)) / (2 * e)
    got = jax.jvp(gradient, (p,), (dp,))[1]
    # Where the pieces of two distributions change their order, the second derivative jumps.
    assert largest(got - want) < (2e-2 if name.startswith("wasserstein") else 1e-4) * largest(want)


@every
def test_equal_records(name):
    _, d = records()
    value, gradient = jax.value_and_grad(lambda p: MISFITS[name](p, d))(d)
    assert abs(value) < 1e-12
    reference = largest(jax.grad(lambda p: MISFITS[name](p, d))(records()[0]))
    assert largest(gradient) < 1e-7 * reference or name == "wasserstein 1"  # of the size of a sum of signs


@every
def test_traces_that_are_not_there(name):
    """Zero traces in either record, and those without weight, add nothing and have a gradient without NaN."""
    p, d = records()
    with_gap, without = d.at[0, 1].set(0), p.at[1, 0].set(0)
    for predicted, observed in ((p, with_gap), (without, d), (0 * p, d), (p, 0 * d)):
        value, gradient = jax.value_and_grad(lambda p, d=observed: MISFITS[name](p, d))(predicted)
        assert np.isfinite(value) and np.isfinite(gradient).all()
    traces = jnp.asarray([[1.0, 0.0], [0.0, 1.0]])
    weights = traces if name == "travel_time" else traces[..., None]
    value, gradient = jax.value_and_grad(lambda p: MISFITS[name](p, d, weights=weights))(p)
    assert largest(gradient[0, 1]) == largest(gradient[1, 0]) == 0
    if name != "global correlation":
        each = [MISFITS[name](p[i, i], d[i, i]) for i in (0, 1)]
        # Frequency amplitudes are compared with the largest of the record.
        assert value == pytest.approx(float(sum(each)), rel=1e-10)


@every
def test_single_precision_and_mistakes(name):
    p, d = (jnp.asarray(x, jnp.float32) for x in records())
    value, gradient = jax.value_and_grad(lambda p: MISFITS[name](p, d))(p)
    assert value.dtype == gradient.dtype == jnp.float32
    assert value == pytest.approx(float(MISFITS[name](*records())), rel=2e-2)
    with pytest.raises(ValueError, match=r"the predicted record has shape \(2, 2, 96\), the observed one \(2, 96\)"):
        MISFITS[name](p, d[0])
    with pytest.raises(ValueError, match="`weights` of shape"):
        MISFITS[name](p, d, weights=jnp.ones((3, 1, 1, 1)))


@pytest.mark.parametrize("name", WIDE)
def test_minimum_is_wide(name):
    """Of a wavelet that is up to one and a half periods late the misfit grows with the delay; least squares do not."""
    # Envelopes that no longer overlap have the same misfit at every distance.
    delays = np.linspace(0, (1.0 if name.startswith("envelope") else 1.5) / 8.0, 12)[1:]
    value = jax.vmap(lambda t: MISFITS[name](ricker(0.16 + t), ricker(0.16)))
    if name == "fourier":  # half a period of the lowest frequency
        delays = np.linspace(0, 0.5 / 4.0, 8)[1:-1]
        value = jax.vmap(lambda t: misfits.fourier(ricker(0.16 + t), ricker(0.16), dt=DT, frequencies=(4.0,)))
    assert (np.diff(value(delays)) > 0).all()
    assert (
        np.diff(jax.vmap(lambda t: misfits.l2(ricker(0.16 + t), ricker(0.16)))(np.linspace(0, 1.5 / 8, 12))) < 0
    ).any()


def test_delays():
    t = np.array([0.0, 0.0013, -0.0171, 0.0402])
    d = jnp.stack([ricker(0.18)] * 4)
    found = misfits.delays(jax.vmap(lambda t: ricker(0.18 + t))(t), d, DT)
    np.testing.assert_allclose(found, t, atol=1e-6)
    # One cycle off is further than what is looked for.
    assert abs(misfits.delays(ricker(0.24), ricker(0.18), DT, longest=0.03)) <= 0.03 + DT


def test_wasserstein_of_pulses():
    pulse = jnp.zeros(NT).at[10].set(1.0)
    for order, want in ((1, 20 * DT), (2, (20 * DT) ** 2)):
        assert misfits.wasserstein(jnp.roll(pulse, 20), pulse, DT, order) == pytest.approx(want, rel=1e-12)
    halves = (jnp.roll(pulse, 20) + pulse) / 2**0.5  # half of the energy moves
    assert misfits.wasserstein(halves, pulse, DT) == pytest.approx(
        0.5 * (20 * DT) ** 2, rel=0.03
    )  # within a sample it is spread


def test_amplitudes_do_not_count():
    p, d = records()
    for name in ("correlation", "travel_time", "wasserstein"):
        assert MISFITS[name](3 * p, d) == pytest.approx(float(MISFITS[name](p, d)), rel=1e-9), name
    assert misfits.fourier(2 * d, d, DT, (5.0,)) == pytest.approx(4 * np.log(2) ** 2 / 2, rel=1e-9)


def test_gauss_newton_through_a_misfit():
    """A misfit in an inversion: the Hessian product of the whole, forward over reverse."""
    v, dt = jnp.full(40, 1500.0).at[20:].set(1700.0), 2e-3
    survey = dict(
        source_amplitudes=jaxwave.wavelets.ricker(20.0, 150, dt, 0.08, dtype=jnp.float64).reshape(1, 1, -1),
        source_locations=[[[3]]], receiver_locations=[[[10], [30]]], max_vel=1800.0, pml_freq=20.0, pml_width=4,
    )  # fmt: skip
    observed = jaxwave.scalar(v, 10.0, dt, **survey).receiver_amplitudes

    def f(v):
        return misfits.travel_time(jaxwave.scalar(v, 10.0, dt, **survey).receiver_amplitudes, observed, dt)

    start, dv = v.at[:20].set(1550.0), jnp.linspace(0.0, 1.0, 40)
    gradient = jax.jit(jax.grad(f))
    got = jax.jit(lambda v: jax.jvp(jax.grad(f), (v,), (dv,))[1])(start)
    want = (gradient(start + 1e-2 * dv) - gradient(start - 1e-2 * dv)) / 2e-2
    assert largest(got - want) < 1e-4 * largest(want)
