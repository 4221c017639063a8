"""The elastic propagator against analytic solutions, the acoustic one, and the laws that any wavefield obeys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from helpers import FREQ, amplitudes, largest, layered
from test_acoustic_physics import derivative, injection

import jaxwave

ALPHA, BETA, RHO = 2600.0, 1500.0, 2000.0


def homogeneous(shape):
    return jaxwave.vpvsrho_to_lambmubuoyancy(*(np.full(shape, x) for x in (ALPHA, BETA, RHO)))


# ---- analytic solutions ----


@pytest.mark.optimised
def test_pressure_source_in_a_homogeneous_medium():
    # v = grad(psi) with lap(psi) - psi_tt / alpha^2 = q / (lamb + 2 mu), and p = -(lamb + mu) psi_t / alpha^2 in 2-D.
    h, dt, nt, n = 5.0, 2e-4, 700, 41
    lamb, mu, buoyancy = homogeneous((n, n))
    got = jaxwave.elastic(
        lamb, mu, buoyancy, h, dt, accuracy=8, pml_freq=FREQ, source_amplitudes_p=injection(nt, dt),
        source_locations_p=[[[20, 20]]], receiver_locations_p=[[[20, 30], [14, 14]]],
    ).receiver_amplitudes_p[0]  # fmt: skip
    factor = float(-(lamb[0, 0] + mu[0, 0]) / (ALPHA**2 * (lamb[0, 0] + 2 * mu[0, 0])))
    t = np.arange(nt) * dt
    for x, r in zip(got, (10 * h, 6 * 2**0.5 * h), strict=True):
        want = h**2 * reference.homogeneous_2d(lambda t: factor * derivative(t), r, ALPHA, t)
        # What the layers return, and the phase error of leapfrog.
        assert largest(x - want) < 3e-3 * largest(want)


@pytest.mark.optimised
@pytest.mark.parametrize(("ndim", "n", "nt"), [(2, 49, 700), pytest.param(3, 33, 450, marks=pytest.mark.slow)])
def test_force_in_a_homogeneous_medium(ndim, n, nt):
    h, dt, centre, width = 5.0, 3e-4, n // 2, 20
    receiver = [centre + 9] * (ndim - 1) + [centre - 6]
    kinds = "zyx"[-ndim:]
    out = jaxwave.elastic(
        *homogeneous((n,) * ndim), h, dt, accuracy=8, pml_freq=FREQ, pml_width=width,
        source_amplitudes_x=amplitudes(nt, dt), source_locations_x=[[[centre] * ndim]],
        receivers=dict.fromkeys(kinds, np.array([[receiver]])),
    )  # fmt: skip
    t = np.arange(nt) * dt - dt / 2
    solution = reference.line_force if ndim == 2 else reference.stokes
    wanted = {}
    for axis, kind in enumerate(kinds):
        # A velocity lies half a cell on along its own axis, and so does the force.
        place = [h * (r - centre + (a == axis) / 2 - (a == ndim - 1) / 2) for a, r in enumerate(receiver)]
        wanted[kind] = h**ndim * solution(derivative, place, ndim - 1, ALPHA, BETA, RHO, t)[axis]
    scale = max(map(largest, wanted.values()))
    for kind, want in wanted.items():
        got = np.asarray(getattr(out, f"receiver_amplitudes_{kind}")[0, 0])
        # S waves of 25 Hz and some 12 cells; the near field and the layers: 5e-3 of the largest component.
        assert largest(got - want) < 5e-3 * scale


@pytest.mark.parametrize(("accuracy", "faces"), [(4, "pml"), (2, ("pml", "free", "rigid", "pml"))])
def test_a_fluid_is_acoustic(accuracy, faces):
    shape, dt, nt = (20, 24), 4e-4, 120
    v, rho = layered(shape), layered(shape, 900.0, 2500.0, seed=1)
    stiffness, rng = rho * v**2, np.random.default_rng(2)
    q, f = rng.standard_normal((2, 1, 1, nt))
    place = np.array([[[6, 7]]])
    common = dict(
        grid_spacing=(5.0, 6.0), dt=dt, pml_width=6, boundary=faces, pml_freq=FREQ, max_vel=2500.0, accuracy=accuracy,
        receivers=dict.fromkeys("pyx", np.array([[[15, 3], [9, 20]]])),
    )  # fmt: skip
    force = (1e6 * f, np.array([[[11, 12]]]))
    fluid = jaxwave.acoustic(v, rho, **common, sources={"p": (q, place), "y": force})
    rate = stiffness[6, 7] * q
    solid = jaxwave.elastic(stiffness, 0 * v, 1 / rho, **common, sources={"p": (rate, place), "y": force})
    names = [f"receiver_amplitudes_{k}" for k in "pyx"] + ["vy_0", "vx_0"]
    # The same scheme (at faces at order 2, where both kinds of closures are one); rounding.
    for name in names:
        reference.assert_close(getattr(solid, name), getattr(fluid, name), 1e-11)
    assert not np.asarray(solid.sigmaxy_0).any()


# ---- layers ----


@pytest.mark.optimised
@pytest.mark.slow
def test_small_box_rings_like_free_space():
    h, dt, n, nt, centre = 5.0, 7e-4, 21, 350, 10
    pad = int(ALPHA * dt * nt / 2 / h) + 5
    around = np.stack(np.meshgrid(*[[1, centre, n - 2]] * 2, indexing="ij"), -1).reshape(-1, 2)
    records = []
    for extra, width in ((0, 20), (pad, 0)):
        out = jaxwave.elastic(
            *homogeneous((n + 2 * extra,) * 2), h, dt, pml_width=width, pml_freq=FREQ,
            source_amplitudes_y=amplitudes(nt, dt, delay=0.06), source_locations_y=[[[2 + extra] * 2]],
            receivers=dict.fromkeys("pyx", (around + extra)[None]),
        )  # fmt: skip
        records.append([out.receiver_amplitudes_p, out.receiver_amplitudes_y, out.receiver_amplitudes_x])
    for boxed, free in zip(*records, strict=True):
        # P and S waves that graze the faces are absorbed least.
        assert largest(boxed - free) < 2e-2 * largest(free)


# ---- fluids and parameters ----


def test_gradients_beside_a_fluid_are_finite_and_exact():
    shape, dt, nt, rng = (10, 11), 4e-4, 30, np.random.default_rng(3)
    vp, rho = layered(shape), layered(shape, 900.0, 2500.0, seed=1)
    vs = np.where(np.arange(10)[:, None] < 4, 0.0, 0.5 * vp)
    models = jaxwave.vpvsrho_to_lambmubuoyancy(vp, vs, rho)
    f = rng.standard_normal((1, 1, nt))

    def records(models):
        out = jaxwave.elastic(
            *models, 5.0, dt, pml_width=4, pml_freq=FREQ, max_vel=2500.0,
            sources={"p": (1e9 * f, [[[2, 3]]]), "x": (1e6 * f, [[[7, 5]]])},
            receivers=dict.fromkeys("pyx", np.array([[[6, 8], [1, 9]]])),
        )  # fmt: skip
        return [out.receiver_amplitudes_p, 1e6 * out.receiver_amplitudes_x]

    along = [x * 0.1 * rng.standard_normal(shape) for x in models]  # a fluid stays one
    y = [rng.standard_normal(x.shape) for x in jax.eval_shape(records, models)]

    @jax.jit
    def derivatives(models, along, y):
        return jax.jvp(records, (models,), (along,))[1], jax.vjp(records, models)[1](y)[0]

    dot, pulled = derivatives(models, tuple(along), y)
    assert all(np.isfinite(g).all() for g in pulled)
    left = sum(np.vdot(a, b) for a, b in zip(dot, y, strict=True))
    right = sum(np.vdot(a, b) for a, b in zip(along, pulled, strict=True))
    bound = sum(np.linalg.norm(a) * np.linalg.norm(b) for a, b in zip(dot, y, strict=True))
    assert abs(left - right) < 1e-12 * bound


def test_speeds_to_parameters_and_back():
    vp, vs, rho = layered((5, 6)), layered((5, 6), 0.0, 1000.0, seed=1), layered((5, 6), 900.0, 2500.0, seed=2)
    vs[0] = 0
    back = jaxwave.lambmubuoyancy_to_vpvsrho(*jaxwave.vpvsrho_to_lambmubuoyancy(vp, vs, rho))
    # A few roundings each.
    reference.assert_close(back, (vp, vs, rho), 1e-14)
    slope = jax.grad(lambda mu: jnp.sum(jaxwave.lambmubuoyancy_to_vpvsrho(1e9, mu, 1e-3)[1]))(jnp.zeros(3))
    assert not slope.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(mu=np.full((9, 9), -1.0)), "`mu` must be finite and not negative"),
        (dict(buoyancy=np.full((9, 9), -1e-3)), "`buoyancy` must be finite and not negative"),
        (dict(buoyancy=np.zeros((9, 9))), "`buoyancy` is 0 everywhere: there is nothing but vacuum"),
        (dict(lamb=np.full((9, 9), -9e9)), "`lamb` \\+ 2 `mu` must be positive"),
    ],
)
def test_wrong_models_are_refused(arguments, message):
    lamb, mu, buoyancy = (np.asarray(x) for x in homogeneous((9, 9)))
    given = dict(lamb=lamb, mu=mu, buoyancy=buoyancy, grid_spacing=5.0, dt=4e-4, nt=3, pml_width=3)
    with pytest.raises(ValueError, match=message):
        jaxwave.elastic(**{**given, **arguments})
