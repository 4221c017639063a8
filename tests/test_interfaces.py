"""Contacts of fluids, solids and vacuum in the acoustic and elastic equations: speeds, exactness, stability."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from helpers import FREQ, amplitudes, largest, layered

import jaxwave

ALPHA, BETA, RHO = 2600.0, 1500.0, 2000.0
FLUID, FLUID_RHO = 1500.0, 1000.0


def phase_speed(first, second, distance, near, dt, freq):
    """Phase velocity at ``freq`` (Hz) between two receivers, of a wave whose velocity is ``near`` but for less than a
    period.
    """
    t = np.arange(len(first)) * dt
    spectra = np.stack([first, second]) @ np.exp(-2j * np.pi * freq * t)
    later = -np.angle(spectra[1] / spectra[0] * np.exp(2j * np.pi * freq * distance / near)) / (2 * np.pi * freq)
    return distance / (distance / near + later)


@pytest.mark.optimised
@pytest.mark.slow
@pytest.mark.parametrize("accuracy", [4, 8])
def test_speed_of_the_scholte_wave(accuracy):
    h, dt, nt, shape, top, delay, source = 4.0, 4e-4, 2100, (110, 240), 55, 0.08, 10
    vp, vs, rho = (np.full(shape, x) for x in (ALPHA, BETA, RHO))
    for model, value in ((vp, FLUID), (vs, 0.0), (rho, FLUID_RHO)):
        model[:top] = value
    receivers = (110, 190)
    out = jaxwave.elastic(
        *jaxwave.vpvsrho_to_lambmubuoyancy(vp, vs, rho), h, dt, accuracy=accuracy, pml_freq=FREQ,
        source_amplitudes_p=amplitudes(nt, dt, delay=delay), source_locations_p=[[[top - 1, source]]],
        receiver_locations_p=[[[top - 1, x] for x in receivers]],
    )  # fmt: skip
    want, t = reference.surface_speed(ALPHA, BETA, FLUID, FLUID_RHO / RHO), np.arange(nt) * dt
    # A window around the slow wave, whose amplitude two dimensions keep: the others came before.
    arrivals = [(x - source) * h / want + delay for x in receivers]
    windows = [np.exp(-(((t - arrival) / 0.04) ** 4)) for arrival in arrivals]
    got = np.asarray(out.receiver_amplitudes_p[0]) * windows
    distance = (receivers[1] - receivers[0]) * h
    # 15 cells to its wavelength. The contact is a step in cells, so this is of first order in their size.
    assert phase_speed(*got, distance, want, dt, 20.0) == pytest.approx(want, rel=5e-3)
    # Waves through the fluid or the solid would have lost half of theirs.
    assert largest(got[1]) > 0.8 * largest(got[0])


# ---- vacuum ----


def hills(shape):
    """Which cells of a rough topography are vacuum; one cell of it lies in the ground."""
    surface = 3 + np.random.default_rng(0).integers(0, 3, shape[1])
    empty = np.arange(shape[0])[:, None] < surface
    empty[shape[0] // 2, shape[1] // 2] = True
    return empty


def with_vacuum(name, shape):
    """Rough models of an equation with vacuum, its settings, and which cells are vacuum."""
    empty = hills(shape)
    v, rho = layered(shape, 2000.0, 3000.0), layered(shape, 1500.0, 2500.0, seed=1)
    rho[empty] = 0
    if name == "acoustic":
        models = {"v": v, "rho": rho}
    else:
        lamb, mu, buoyancy = jaxwave.vpvsrho_to_lambmubuoyancy(v, v / 2, rho)
        models = {"lamb": lamb, "mu": mu, "buoyancy": buoyancy}
    return {k: jnp.asarray(x) for k, x in models.items()}, empty


@functools.partial(jax.jit, static_argnames=("name", "nt", "accuracy"))
def shaken(name, models, nt, **options):
    """A run with sources and receivers in the ground, in vacuum and at its border.

    Under jit, where nobody knows what is vacuum: a source in it would raise.
    """
    rng = np.random.default_rng(3)
    places = np.array([[[9, 8], [4, 12], [0, 3]]])
    settings = dict(grid_spacing=(5.0, 6.0), dt=4e-4, pml_width=(0, 5, 4, 0), pml_freq=FREQ, max_vel=3600.0)
    sources = {
        "p": (1e6 * rng.standard_normal((1, 3, nt)) / (1 if name == "elastic" else 1e10), places),
        "x": (1e6 * rng.standard_normal((1, 3, nt)), places),
    }
    receivers = {"p": places + 1, "y": places + 1, "x": places}
    return getattr(jaxwave, name)(**models, sources=sources, receivers=receivers, **{**settings, **options})


@pytest.mark.parametrize(
    ("name", "accuracy"),
    [
        ("acoustic", 2), ("elastic", 4), pytest.param("acoustic", 4, marks=pytest.mark.slow),
        pytest.param("elastic", 2, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_derivatives_beside_vacuum_are_exact_and_none_are_in_it(name, accuracy):
    models, empty = with_vacuum(name, (14, 18))

    def records(models):
        out = shaken(name, models, 60, accuracy=accuracy)
        found = [getattr(out, f"receiver_amplitudes_{kind}") for kind in "pyx"]
        scale = [1.0, 4e6, 4e6]
        return jnp.concatenate([x * s for x, s in zip(found, scale, strict=True)], axis=1)

    rng = np.random.default_rng(4)
    along = {k: jnp.asarray(rng.standard_normal(x.shape)) * x for k, x in models.items()}
    y = jnp.asarray(rng.standard_normal(jax.eval_shape(records, models).shape))

    @jax.jit
    def derivatives(models, along, y):
        return jax.jvp(records, (models,), (along,))[1], jax.vjp(records, models)[1](y)[0]

    dot, pulled = derivatives(models, along, y)
    products = {k: float(jnp.vdot(pulled[k], along[k])) for k in models}
    assert abs(sum(products.values()) - float(jnp.vdot(dot, y))) < 1e-11 * sum(map(abs, products.values()))
    e = 1e-5
    function = jax.jit(records)
    up, down = (function({k: models[k] + s * e * along[k] for k in models}) for s in (1, -1))
    reference.assert_close(dot, (up - down) / (2 * e), 1e-6)
    for gradient in pulled.values():
        assert np.isfinite(gradient).all() and not np.asarray(gradient)[empty].any()


@pytest.mark.parametrize("name", ["acoustic", "elastic"])
def test_nothing_moves_in_vacuum(name):
    models, empty = with_vacuum(name, (14, 18))
    rng = np.random.default_rng(5)
    out = shaken(name, models, 60, accuracy=4, vx_0=rng.standard_normal((1, 14, 18)))
    # Where both neighbours along x are vacuum, of the cells without layers.
    inside = (slice(0, 14), slice(4, 22))
    vx = np.asarray(out.vx_0)[0, :14, 1:][inside]
    both = empty[:, :-1] & empty[:, 1:]
    assert both.any() and not vx[:, :-1][both].any() and vx[:, :-1][~both].any()
    pressure = out.pressure_0 if name == "acoustic" else out.sigmaxx_0
    pressure = np.asarray(pressure)[0, :14][inside]
    assert not pressure[empty].any() and pressure[~empty].any()


@pytest.mark.parametrize("name", ["acoustic", "elastic"])
def test_a_flat_border_of_vacuum_is_a_free_face_at_order_2(name):
    models, rows, nt = with_vacuum(name, (14, 18))[0], 6, 60
    empty = np.arange(14)[:, None] < rows
    hidden = {k: x if k == "v" else jnp.where(empty, 0, x) for k, x in models.items()}
    rng = np.random.default_rng(6)
    f, places = rng.standard_normal((1, 2, nt)), np.array([[[9, 4], [12, 10]]])

    def run(models, up, top):
        common = dict(grid_spacing=(5.0, 6.0), dt=4e-4, accuracy=2, pml_width=4, pml_freq=FREQ, max_vel=4200.0)
        points = places - [up, 0]
        out = getattr(jaxwave, name)(
            **models, **common, boundary=[top, "pml", "pml", "rigid"], sources={"y": (f, points)},
            receivers={"p": points, "x": points},
        )  # fmt: skip
        return out.receiver_amplitudes_p, out.receiver_amplitudes_x

    cut = {k: x[rows:] for k, x in models.items()}
    cut = {k: jnp.where(cut[k] == 0, largest(cut[k]), cut[k]) for k in cut}  # the hole in the ground filled
    hidden = {k: jnp.where(~jnp.asarray(empty) & (x == 0), largest(x), x) for k, x in hidden.items()}
    reference.assert_close(run(hidden, 0, "pml"), run(cut, rows, "free"), 1e-12)


@pytest.mark.optimised
@pytest.mark.slow
@pytest.mark.parametrize("accuracy", [2, 8])
def test_topography_is_stable(accuracy):
    shape, nt = (40, 60), 10_000
    empty = np.arange(40)[:, None] < 8 + 5 * np.sin(np.arange(60) / 6)
    # Poisson's ratio 0.45.
    vp, vs, rho = np.full(shape, 2500.0), np.full(shape, 754.0), np.where(empty, 0, 2000.0)
    models = jaxwave.vpvsrho_to_lambmubuoyancy(vp, vs, rho)
    out = jaxwave.elastic(
        *models, 5.0, 6e-4, accuracy=accuracy, pml_width=(0, 10, 10, 10), source_amplitudes_y=amplitudes(nt, 6e-4),
        source_locations_y=[[[20, 30]]], receiver_locations_y=[[[15, 20], [20, 40]]],
    )  # fmt: skip
    got = np.abs(np.asarray(out.receiver_amplitudes_y[0]))
    # Waves in single cells of the surface fade slowly.
    late, last = got[:, 4000:5000].max(), got[:, -1000:].max()
    assert last < 0.5 * late < 0.02 * got.max()


@pytest.mark.parametrize(
    ("name", "models", "message"),
    [
        ("acoustic", dict(v=2000.0, rho=0.0), "nothing but vacuum"),
        ("elastic", dict(lamb=0.0, mu=0.0, buoyancy=0.0), "nothing but vacuum"),
        ("elastic", dict(lamb=1e9, mu=0.0, buoyancy=0.0), "only vacuum has no buoyancy"),
        ("elastic", dict(lamb=0.0, mu=0.0, buoyancy=1e-3), "must be positive, or 0 together with"),
        ("acoustic", dict(v=2000.0, rho=-1.0), "`rho` must be finite and not negative"),
    ],
)
def test_impossible_vacuum_is_refused(name, models, message):
    filled = {"v": 1500.0, "rho": 1000.0, "lamb": 4e9, "mu": 1e9, "buoyancy": 1e-3}
    whole = "everywhere" if "nothing" in message else None
    given = {k: np.full((10, 12), x if whole else filled[k]) for k, x in models.items()}
    for k, x in models.items():
        given[k][2, 3] = x
    with pytest.raises(ValueError, match=message):
        getattr(jaxwave, name)(**given, grid_spacing=5.0, dt=1e-3, nt=2)


def test_vacuum_has_no_parameters_and_no_speeds():
    speeds = (np.array([2000.0, 2000.0]), np.array([1000.0, 1000.0]), np.array([2000.0, 0.0]))
    parameters = jaxwave.vpvsrho_to_lambmubuoyancy(*speeds)
    assert [float(x[1]) for x in parameters] == [0, 0, 0]
    back = jaxwave.lambmubuoyancy_to_vpvsrho(*parameters)
    np.testing.assert_allclose(np.stack(back), [[2000, 0], [1000, 0], [2000, 0]])
    slopes = jax.jacobian(lambda *m: jnp.stack(jaxwave.lambmubuoyancy_to_vpvsrho(*m)), (0, 1, 2))(*parameters)
    assert all(np.isfinite(x).all() for x in slopes)
