"""Anisotropic equations: their limits, plane waves in every direction, what they refuse, and their parameters."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import plane_waves
import pytest
import reference
from helpers import largest, layered

import jaxwave
from jaxwave import anisotropy

VP, VS, EPSILON, DELTA, GAMMA, RHO = 2500.0, 1300.0, 0.25, 0.1, 0.15, 2000.0


# ---- parameters ----


def test_thomsen_and_back():
    rng = np.random.default_rng(0)
    vp, rho = rng.uniform(2000, 4000, 50), rng.uniform(1500, 2500, 50)
    vs, (epsilon, delta, gamma) = vp * rng.uniform(0.2, 0.7, 50), rng.uniform(-0.2, 0.4, (3, 50))
    given = (vp, vs, epsilon, delta, gamma, rho)
    found = anisotropy.stiffness_to_thomsen(*anisotropy.thomsen_to_stiffness(*given))
    for name, x, y in zip(found._fields, found, given, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12, err_msg=name)


def test_isotropic_media_vacuum_and_fluids():
    c = anisotropy.thomsen_to_stiffness(VP, VS, 0.0, 0.0, 0.0, RHO)
    lamb, mu, b = jaxwave.vpvsrho_to_lambmubuoyancy(VP, VS, RHO)
    np.testing.assert_allclose(c, (lamb + 2 * mu, lamb, lamb + 2 * mu, mu, mu, b), rtol=1e-13)
    assert not any(anisotropy.thomsen_to_stiffness(VP, VS, 0.1, 0.1, 0.1, 0.0))
    gradient = jax.grad(lambda rho: sum(anisotropy.thomsen_to_stiffness(VP, 0.0, 0.1, 0.1, 0.0, rho)))(0.0)
    assert np.isfinite(gradient)
    fluid = anisotropy.thomsen_to_stiffness(VP, 0.0, EPSILON, DELTA, 0.0, RHO)
    np.testing.assert_allclose(fluid.c13, RHO * VP**2 * np.sqrt(1 + 2 * DELTA), rtol=1e-13)
    with pytest.raises(ValueError, match=r"there is no stiffness c13 otherwise; at index \(1,\) it is -0.45"):
        anisotropy.thomsen_to_stiffness(VP, VS, 0.0, np.array([0.0, -0.45]), 0.0, RHO)


def test_eta_bounds_what_is_stable():
    eta, delta = np.random.default_rng(0).uniform(0, 0.5, (2, 50)) * np.array([[1], [2]]) - np.array([[0], [0.45]])
    epsilon = anisotropy.from_eta(eta, delta)
    assert (np.asarray(epsilon) >= delta).all()
    np.testing.assert_allclose(anisotropy.eta(epsilon, delta), eta, atol=1e-14)


def test_elliptical_around_sources():
    epsilon, delta = np.full((20, 20), 0.3), np.full((20, 20), 0.1)
    found = anisotropy.elliptical_around(epsilon, delta, [[[2, 3]], [[15, 10]]], 6.0)
    assert found[2, 3] == found[15, 10] == found[15, 13] == 0.3
    assert found[9, 19] == found[15, 16] == 0.1
    assert 0.1 < found[15, 14] < 0.3
    with pytest.raises(ValueError, match=r"`cells` must be \[..., 2\]"):
        anisotropy.elliptical_around(epsilon, delta, [[1, 2, 3]], 6.0)


# ---- isotropic and elliptical limits ----

BOUNDARIES = {2: ("free", "pml", "pml", "rigid"), 3: ("free", "pml", "pml", "rigid", "pml", "pml")}
WIDTHS = {2: (0, 5, 5, 0), 3: (0, 3, 3, 0, 3, 3)}
SHAPES = {2: (20, 16), 3: (9, 8, 10)}


def misfit(equation, ndim, forces, nt=60, scale=1.0, max_vel=2900.0):
    f = np.random.default_rng(3).standard_normal((1, 1, nt))
    first, second = np.array([[[4] * ndim]]), np.array([[[5] * (ndim - 1) + [7]]])
    grid = jaxwave.Grid((5.0, 6.0, 5.0)[:ndim], 4, jaxwave.Boundary(BOUNDARIES[ndim], WIDTHS[ndim], 25.0))
    kinds = [kind for kind in equation.receiver_kinds(ndim) if len(kind) == 1 or forces]
    out = jaxwave.simulate(
        equation, grid, 4e-4, max_vel=max_vel, sources={"p": (scale * f, first), "x": (1e3 * f, second)},
        receivers=dict.fromkeys(kinds, second),
    )  # fmt: skip
    return sum(jnp.sum((x / jax.lax.stop_gradient(jnp.abs(x).max())) ** 2) for x in out.records.values()), out.records


@pytest.mark.parametrize("ndim", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_isotropic_elastic_media(ndim):
    shape = SHAPES[ndim]
    vp, rho = layered(shape, 2200.0, 2600.0), layered(shape, 1800.0, 2500.0, seed=1)
    given = jaxwave.vpvsrho_to_lambmubuoyancy(vp, vp / 1.8, rho)

    def vti(lamb, mu, b):
        p = lamb + 2 * mu
        return jaxwave.ElasticVTI(p, lamb, p, mu, mu, b)

    def orthorhombic(lamb, mu, b):
        p = lamb + 2 * mu
        return jaxwave.ElasticOrthorhombic(p, p, p, lamb, lamb, lamb, mu, mu, mu, b)

    def value(medium):
        return jax.jit(jax.value_and_grad(lambda x: misfit(medium(*x), ndim, True), has_aux=True))(given)

    (_, want), expected = value(jaxwave.Elastic)
    for medium in [vti, orthorhombic] if ndim == 3 else [vti]:
        (_, got), gradient = value(medium)
        reference.assert_close(got, want, 1e-12)
        reference.assert_close(gradient, expected, 1e-11)


@pytest.mark.parametrize("ndim", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_isotropic_acoustic_media(ndim):
    v, rho = layered(SHAPES[ndim], 2000.0, 2600.0), layered(SHAPES[ndim], 1800.0, 2500.0, seed=1)
    bulk = (rho * v**2)[(4,) * ndim]

    def value(medium, scale):
        return jax.jit(jax.value_and_grad(lambda x: misfit(medium(*x), ndim, False, scale=scale), has_aux=True))(
            (v, rho)
        )

    (_, want), expected = value(jaxwave.Acoustic, 1 / bulk)  # its source is a volume rate
    (_, got), gradient = value(lambda v, rho: jaxwave.AcousticVTI(v, 0 * v, 0 * v, rho), 1.0)
    reference.assert_close(got, want, 1e-12)
    away = np.ones_like(v)
    away[(4,) * ndim] = 0
    reference.assert_close([away * x for x in gradient], [away * x for x in expected], 1e-11)


@pytest.mark.slow
def test_vti_is_orthorhombic():
    c = anisotropy.thomsen_to_stiffness(*(layered(SHAPES[3], 0.9 * x, x, k) for k, x in enumerate(
        (VP, VS, EPSILON, DELTA, GAMMA, RHO))))  # fmt: skip
    same = jaxwave.ElasticOrthorhombic(
        c.c11, c.c11, c.c33, c.c11 - 2 * c.c66, c.c13, c.c13, c.c55, c.c55, c.c66, c.buoyancy
    )
    want, got = (misfit(x, 3, True, max_vel=3200.0)[1] for x in (jaxwave.ElasticVTI(*c), same))
    reference.assert_close(got, want, 1e-12)


# ---- plane waves ----


def vti_stiffness(c11, c13, c33, c55, c66):
    """(ij, kl) with axis 0 as the axis of symmetry."""

    def stiffness(i, j, k, m):
        if {i, j} == {k, m} and i != j:
            return c55 if 0 in (i, j) else c66
        if i == j and k == m:
            return c33 if i == k == 0 else c13 if 0 in (i, k) else c11 if i == k else c11 - 2 * c66
        return 0.0

    return stiffness


@pytest.mark.optimised
@pytest.mark.parametrize("waves", [(1, 2), (2, 1), (1, -2)], ids=str)
@pytest.mark.parametrize("mode", [0, 1], ids=["qS", "qP"])
def test_elastic_plane_waves_have_the_speeds_of_christoffel(waves, mode):
    c = anisotropy.thomsen_to_stiffness(VP, VS, EPSILON, DELTA, GAMMA, RHO)
    found = standing(jaxwave.ElasticVTI, c, vti_stiffness(*map(float, c[:5])), waves, mode)
    assert found[1] < 2e-3
    assert found[0] / found[1] == pytest.approx(4, rel=0.1)


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("mode", [0, 1, 2])
def test_plane_waves_in_three_dimensions(mode):
    c = anisotropy.thomsen_to_stiffness(VP, VS, EPSILON, DELTA, GAMMA, RHO)
    found = standing(jaxwave.ElasticVTI, c, vti_stiffness(*map(float, c[:5])), (1, 2, -1), mode)
    assert found[1] < 2e-3
    assert found[0] / found[1] == pytest.approx(4, rel=0.1)


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("mode", [0, 1, 2])
def test_orthorhombic_plane_waves(mode):
    # x, y and z are directions 1, 2 and 3; axis 0 is z.
    c = dict(c11=9e9, c22=9.84e9, c33=5.9375e9, c12=3.6e9, c13=2.25e9, c23=2.4e9, c44=2e9, c55=1.6e9, c66=2.182e9)

    def stiffness(i, j, k, m):
        voigt = "321"
        if {i, j} == {k, m} and i != j:
            return c[{frozenset((0, 1)): "c44", frozenset((0, 2)): "c55", frozenset((1, 2)): "c66"}[frozenset((i, j))]]
        if i == j and k == m:
            return c["c" + "".join(sorted(voigt[i] + voigt[k]))]
        return 0.0

    found = standing(jaxwave.ElasticOrthorhombic, (*c.values(), 1 / RHO), stiffness, (1, 2, -1), mode)
    assert found[1] < 2e-3
    assert found[0] / found[1] == pytest.approx(4, rel=0.2)  # at 8 cells to the wavelength space counts a little


@pytest.mark.optimised
@pytest.mark.parametrize("waves", [(1, 2), (3, 1)], ids=str)
def test_acoustic_plane_waves_have_the_speeds_of_christoffel(waves):
    c33 = RHO * VP**2
    c = c33 * (1 + 2 * EPSILON), c33 * (1 + 2 * DELTA) ** 0.5, c33, 0.0, 0.0
    found = standing(jaxwave.AcousticVTI, (VP, EPSILON, DELTA, RHO), vti_stiffness(*c), waves, 1)
    assert found[1] < 2e-3
    assert found[0] / found[1] == pytest.approx(4, rel=0.1)


def standing(medium, parameters, stiffness, waves, mode, periods=1.5):
    """The relative errors of a standing wave on a grid, and on one with twice the cells and steps."""
    ndim, errors = len(waves), []
    lengths = np.array((240.0, 200.0, 220.0)[:ndim])
    k = 2 * np.pi * np.array(waves) / lengths
    squares, vectors = plane_waves.christoffel(stiffness, k / np.linalg.norm(k), 1 / RHO)
    w, a = np.linalg.norm(k) * squares[mode] ** 0.5, vectors[:, mode]
    names = "zyx"[-ndim:]
    for fine in (1, 2):
        shape = tuple(fine * n for n in ((24, 20, 22) if ndim == 2 else (18, 16, 16))[:ndim])
        spacing = tuple(lengths / shape)
        dt = (4e-4 if ndim == 2 else 6e-4) / fine
        nt = int(periods * 2 * np.pi / w / dt)
        equation = medium(*(np.full(shape, float(x)) for x in parameters))
        offsets = equation.wavefield_offsets(ndim)
        # v = a cos(k x) cos(w t), half a step before time 0; the stresses are 0 there.
        start = {
            f"v{name}_0": a[i]
            * np.cos(w * dt / 2)
            * np.cos(plane_waves.phase(shape, spacing, k, offsets[f"v{name}_0"]))
            for i, name in enumerate(names)
        }
        got = plane_waves.run(equation, spacing, dt, nt, start, names)
        times = dt * np.arange(nt) - dt / 2
        wanted = [a[i] * np.cos(k[i] * spacing[i] / 2) * np.cos(w * times) for i in range(ndim)]
        errors.append(max(largest(got[name] - x) for name, x in zip(names, wanted, strict=True)))
    return errors


# ---- what is refused, and what is stable ----

SMALL = (16, 18)


def simulated(equation, dt=4e-4, **options):
    f = np.random.default_rng(3).standard_normal((1, 1, 20)).astype(jax.tree.leaves(equation)[0].dtype)
    grid = jaxwave.Grid(5.0, 4, jaxwave.Boundary(None, 4, 25.0))
    return jaxwave.simulate(equation, grid, dt, sources={"p": (f, [[[4, 4]]])}, receivers={"p": [[[9, 9]]]}, **options)


def test_acoustic_media_that_grow_are_refused():
    v, rho, epsilon, delta = (np.full(SMALL, x) for x in (2000.0, 1000.0, 0.1, 0.05))
    delta[3, 5] = 0.2
    medium = jaxwave.AcousticVTI(v, epsilon, delta, rho)
    with pytest.raises(ValueError, match=r"`epsilon` must be at least `delta`.*At index \(3, 5\) `epsilon` is 0.1"):
        simulated(medium)
    simulated(dataclasses.replace(medium, epsilon=jnp.maximum(epsilon, delta)))  # the remedy
    delta[3, 5] = -0.6
    with pytest.raises(ValueError, match=r"`delta` must be more than -1/2; got -0.6 at index \(3, 5\)"):
        simulated(medium)
    rho[3, 5] = 0  # in vacuum it does not matter
    simulated(dataclasses.replace(medium, rho=rho))


def test_elastic_media_that_grow_are_refused():
    c = anisotropy.thomsen_to_stiffness(*(np.full(SMALL, x) for x in (VP, VS, EPSILON, DELTA, GAMMA, RHO)))
    c13 = np.array(c.c13)
    c13[2, 3] = 1.01 * float((c.c11[0, 0] * c.c33[0, 0]) ** 0.5)
    with pytest.raises(
        ValueError, match=r"free at index \(2, 3\).*not positive definite.*c13\^2 must be below c11 c33"
    ):
        simulated(jaxwave.ElasticVTI(*c._replace(c13=c13)))
    c13[2, 3] *= 0.98
    simulated(jaxwave.ElasticVTI(*c._replace(c13=c13)))
    fluid = anisotropy.thomsen_to_stiffness(*(np.full(SMALL, np.float32(x)) for x in (VP, 0, 0.1, 0.1, 0, RHO)))
    simulated(jaxwave.ElasticVTI(*fluid))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["acoustic", "elastic"])
def test_rough_anisotropic_media_do_not_grow(kind):
    """20,000 steps in float32 at the largest stable step, with a layer and free and rigid faces.

    In the plain layer beside such an elastic medium waves grow, whatever the time step.
    """
    shape, rng = (24, 26), np.random.default_rng(0)
    v, rho = (np.float32(layered(shape, *span, seed)) for seed, span in enumerate([(1500.0, 4000.0), (500.0, 3000.0)]))
    delta = np.float32(rng.uniform(-0.2, 0.3, shape))
    epsilon = delta + np.float32(rng.uniform(0, 0.3, shape))
    if kind == "acoustic":
        equation = jaxwave.AcousticVTI(v, epsilon, delta, rho)
    else:
        vs, gamma = v * np.float32(rng.uniform(0.2, 0.5, shape)), np.float32(rng.uniform(-0.1, 0.2, shape))
        equation = jaxwave.ElasticVTI(*anisotropy.thomsen_to_stiffness(v, vs, epsilon, delta, gamma, rho))
    grid = jaxwave.Grid(5.0, 4, jaxwave.Boundary(("free", "pml", "free", "rigid"), (0, 6, 0, 0), 25.0, 0.1))
    models = {name: np.asarray(getattr(equation, name)) for name in equation.models}
    dt = 0.999 * jaxwave.grid.cfl_time_step(equation.largest_speed(models, (5.0, 5.0), 4), (5.0, 5.0))
    f = np.float32(np.random.default_rng(1).standard_normal((1, 1, 100)))
    place = {"p": [[[9, 9]]]}
    out = jaxwave.simulate(equation, grid, dt, sources={"x": (1e4 * f, [[[5, 5]]])}, receivers=place)
    assert out.info.step_ratio == 1
    later = jaxwave.simulate(equation, grid, dt, nt=20000, state=out.state, receivers=place)
    assert largest(later.records["p"][..., -1000:]) < 2 * largest(out.records["p"])


GROWING = anisotropy.Stiffness(4e9, 7.5e9, 20e9, 2e9, 2e9, 1e-3)
"""A medium in which group and phase velocity along an axis have other signs (Becache et al., 2003)."""


def test_the_fraction_of_layers():
    assert 0.05 < anisotropy.mpml_fraction(GROWING) < 0.3
    assert anisotropy.mpml_fraction(anisotropy.thomsen_to_stiffness(VP, VS, 0.0, 0.0, 0.0, RHO)) == 0
    with pytest.raises(ValueError, match="`stiffness` is traced"):
        jax.jit(lambda c33: anisotropy.mpml_fraction(GROWING._replace(c33=c33)))(20e9)


@pytest.mark.slow
def test_waves_that_grow_in_plain_layers_do_not_in_those_of_the_fraction():
    c, fraction = GROWING, anisotropy.mpml_fraction(GROWING)
    media = jaxwave.ElasticVTI(*(np.full((40, 40), x) for x in c))
    f = jaxwave.wavelets.ricker(40.0, 60, 4.5e-4, 0.02, dtype=jnp.float64).reshape(1, 1, -1)
    largest_ones = []
    for p in (0.0, fraction):
        grid = jaxwave.Grid(5.0, 4, jaxwave.Boundary(None, 10, 40.0, p))
        place = {"x": [[[20, 20]]]}
        first = jaxwave.simulate(media, grid, 4.5e-4, max_vel=4600.0, sources={"x": (f, [[[20, 20]]])}, receivers=place)
        later = jaxwave.simulate(media, grid, 4.5e-4, max_vel=4600.0, nt=1500, state=first.state, receivers=place)
        largest_ones.append(largest(later.records["x"][..., -100:]) / largest(first.records["x"]))
    assert largest_ones[0] > 1 > 0.05 > largest_ones[1]
