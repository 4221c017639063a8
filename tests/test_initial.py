"""Runs that begin with a wavefield at rest, as in photoacoustics: order, meaning, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import largest, layered

import jaxwave
from jaxwave import SubstepWarning

N, H, C, RHO = 120, 5.0, 2000.0, 1500.0
BELL = np.exp(-(((np.arange(N) - 60.0) / 6.0) ** 2))


def record(name, dt, nt):
    """What a bell of pressure makes at a point 25 cells away, in the plane of a wave along x: [nt]."""
    options = dict(nt=nt, pml_freq=25.0, max_vel=C, accuracy=8)
    if name == "scalar":
        out = jaxwave.scalar(np.full(N, C), H, dt, wavefield_0=BELL[None], receiver_locations=[[[85]]], **options)
        return out.receiver_amplitudes[0, 0]
    if name == "acoustic":
        models = np.full(N, C), np.full(N, RHO)
        out = jaxwave.acoustic(*models, H, dt, pressure_0=BELL[None], receivers={"p": [[[85]]]}, **options)
        return out.receiver_amplitudes_p[0, 0]
    models = (np.full((8, N), x) for x in (RHO * C**2, 0.0, 1 / RHO))
    stress = -np.tile(BELL, (1, 8, 1))
    out = jaxwave.elastic(
        *models, H, dt, sigmaxx_0=stress, sigmayy_0=stress, receivers={"p": [[[4, 85]]]},
        boundary=["periodic", "periodic", "pml", "pml"], **options,
    )  # fmt: skip
    return out.receiver_amplitudes_p[0, 0]


@pytest.mark.parametrize("name", ["scalar", "acoustic", "elastic"])
def test_a_pressure_at_rest_parts_in_two_halves(name):
    """d'Alembert: u(x, t) = (u0(x - c t) + u0(x + c t)) / 2."""
    dt, nt = 5e-4, 200

    def true(times):
        return sum(np.exp(-((((85 - 60) * H + s * C * times) / (6 * H)) ** 2)) for s in (1, -1)) / 2

    error = [largest(record(name, step, n) - true(step * np.arange(n))) for step, n in ((dt, nt), (dt / 2, 2 * nt))]
    # A bell of 6 cells at order 8 has an error in space below 1e-6, so that of second order in time is all there is. An
    # initial velocity of u0 / dt, or one half a step too early, has errors of 20 and of 0.05.
    assert error[0] < 6e-3 and 3.8 < error[0] / error[1] < 4.2


def test_the_first_step_from_rest_is_half_of_one():
    v, dt = layered((9, 11)), 5e-4
    u = np.random.default_rng(0).standard_normal((1, 9, 11))

    def after(nt=1, dt=dt, **given):
        return jaxwave.scalar(v, 5.0, dt, nt=nt, max_vel=2500.0, pml_freq=25.0, pml_width=3, **given)

    still = after(wavefield_0=u)
    kicked = after(wavefield_0=u, wavefield_m1=np.zeros_like(u))
    assert np.array_equal(still.wavefield_m1[:, 3:-3, 3:-3], u)
    # Given zeros mean zeros: u1 = 2 u0 - 0 + c lap, which at rest is u0 + c lap / 2. (Up to two cells from the layers,
    # whose memory begins there, a step has further terms.)
    got, want = (x[:, 5:-5, 5:-5] for x in (still.wavefield_0, kicked.wavefield_0 / 2))
    assert largest(got - want) < 1e-14 * largest(want)  # rounding
    # One step earlier is one step of the loop.
    with pytest.warns(SubstepWarning, match="divided into 2"):
        divided = after(nt=2, dt=1.5e-3, wavefield_0=u)  # ends one step of the loop after the second sample
    assert divided.info.step_ratio == 2
    thrice = after(nt=3, dt=7.5e-4, wavefield_0=u)
    assert all(map(np.array_equal, jax.tree.leaves(divided.state), jax.tree.leaves(thrice.state)))


def test_given_velocities_mean_what_they_say():
    models = np.full((9, 11), 2000.0), np.full((9, 11), 1500.0)
    p, zero = np.random.default_rng(0).standard_normal((1, 9, 11)), np.zeros((1, 9, 11))

    def after(**given):
        return jaxwave.acoustic(*models, 5.0, 5e-4, nt=1, pml_freq=25.0, pml_width=3, pressure_0=p, **given)

    still, kicked, one = after(), after(vy_0=zero, vx_0=zero), after(vx_0=zero)
    # v(dt/2) is -dt/2 grad p / rho from rest, and twice that from zero at -dt/2.
    for got, want in ((still.vy_0, kicked.vy_0 / 2), (still.vx_0, kicked.vx_0 / 2), (one.vy_0, kicked.vy_0 / 2)):
        assert largest((got - want)[:, 4:-4, 4:-4]) < 1e-14 * largest(want)  # rounding
    assert np.array_equal(one.vx_0, kicked.vx_0)


def test_derivatives_with_respect_to_model_and_initial_pressure():
    """Against central differences, and the transpose against the derivative itself; layers included."""
    rng = np.random.default_rng(1)
    v, u = layered((8, 9)), rng.standard_normal((1, 8, 9))
    dv, du, y = 100 * rng.standard_normal(v.shape), rng.standard_normal(u.shape), rng.standard_normal((1, 2, 30))

    def data(v, u):
        return jaxwave.scalar(
            v, 5.0, 5e-4, nt=30, wavefield_0=u, receiver_locations=[[[1, 1], [6, 7]]], max_vel=3000.0, pml_freq=25.0,
            pml_width=3,
        ).receiver_amplitudes  # fmt: skip

    @jax.jit
    def both(v, u):
        out, push = jax.linearize(data, v, u)
        return push(dv, du), jax.linear_transpose(push, v, u)(jnp.asarray(y)), out

    born, (gv, gu), _ = both(v, u)
    e = 1e-5
    differences = (both(v + e * dv, u + e * du)[2] - both(v - e * dv, u - e * du)[2]) / (2 * e)
    # The third derivative times e^2 / 6 and rounding over e are both below 1e-9.
    assert largest(born - differences) < 1e-8 * largest(born)
    dot = np.vdot(born, y)
    assert abs(np.vdot(dv, gv) + np.vdot(du, gu) - dot) < 1e-12 * np.linalg.norm(born) * np.linalg.norm(y)
