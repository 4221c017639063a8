"""Tilted elastic media: rotated stiffnesses, plane waves in every direction, energy, limits, and what is refused."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import plane_waves
import pytest
import reference
from helpers import largest
from tilted import at_leisure, check_order_of_the_grid, check_order_of_the_time_step, check_time_step

import jaxwave
from jaxwave import anisotropy

C = dict(c11=25e9, c13=10e9, c33=18e9, c55=5e9)
THETA, RHO = 0.6, 2000.0
MODELS = ("c11", "c13", "c33", "c55", "c66", "buoyancy", "theta")
LAYERS = jaxwave.Boundary(pml_width=4, pml_freq=25.0, mpml_fraction=0.1)
SPEED = 5500.0
"""More than that of any wave here."""


def medium(shape, theta=THETA, **changes):
    """A homogeneous medium."""
    given = {**C, "c66": 0.0, "buoyancy": 1 / RHO, "theta": theta, **changes}
    return jaxwave.ElasticTTI(**{name: np.full(shape, x) for name, x in given.items()})


def smooth(shape, low, high, seed):
    """A random field without short waves, periodic, with values from low to high."""
    k = [np.fft.fftfreq(n, 1 / n) for n in shape]
    x = np.random.default_rng(seed).standard_normal(shape)
    x = np.real(np.fft.ifft2(np.fft.fft2(x) * np.exp(-(np.add.outer(k[0] ** 2, k[1] ** 2) / 2.5**2))))
    return low + (high - low) * (x - x.min()) / (x.max() - x.min())


def medium_of(fields):
    """A medium from fields(low, high) that are all different; every strain takes energy."""
    c11, c33, theta = fields(15e9, 30e9), fields(12e9, 25e9), fields(-3.0, 3.0)
    c13 = fields(-0.2, 0.7) * np.sqrt(c11 * c33)
    return jaxwave.ElasticTTI(
        c11, c13, c33, fields(2e9, 6e9), np.zeros_like(c11), 1 / fields(1500.0, 2500.0), theta
    )  # fmt: skip


def smooth_medium(shape):
    seeds = iter(range(10))
    return medium_of(lambda low, high: smooth(shape, low, high, next(seeds)))


def rough_medium(shape):
    """Every cell its own."""
    rng = np.random.default_rng(0)
    return medium_of(lambda low, high: rng.uniform(low, high, shape))


def records(equation, grid, dt=3e-4, nt=120, at=([[[8, 8]]], [[[12, 5], [3, 11]]]), delay=0.04, kinds="pyx", **options):
    f = jaxwave.wavelets.ricker(25.0, nt, dt, delay, dtype=jnp.float64).reshape(1, 1, -1)
    out = jaxwave.simulate(
        equation, grid, dt, sources={"p": (1e6 * f, at[0])}, receivers=dict.fromkeys(kinds, at[1]),
        **{"max_vel": SPEED, **options},
    )  # fmt: skip
    return out.records


# ---- stiffnesses ----


def tensor_of(theta, c11, c13, c33, c55):
    """c_ijkl along the axes (0, last), of a tensor along an axis of symmetry (cos theta, sin theta)."""
    n, t = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
    nn, tt, nt = np.outer(n, n), np.outer(t, t), np.outer(n, t) + np.outer(t, n)
    outer = functools.partial(np.multiply.outer)
    return (
        c33 * outer(nn, nn) + c11 * outer(tt, tt) + c13 * (outer(nn, tt) + outer(tt, nn)) + c55 * outer(nt, nt)
    )  # fmt: skip


@pytest.mark.parametrize("theta", [0.0, 0.3, -1.2, np.pi / 2, 4.0])
def test_rotated_stiffnesses_are_those_of_the_rotated_tensor(theta):
    c, got = tensor_of(theta, **C), anisotropy.rotated_stiffness(**C, theta=theta)
    want = anisotropy.TiltedStiffness(
        c11=c[1, 1, 1, 1], c13=c[0, 0, 1, 1], c15=c[1, 1, 0, 1], c33=c[0, 0, 0, 0], c35=c[0, 0, 0, 1], c55=c[0, 1, 0, 1]
    )
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-14 * C["c11"])


def test_the_tilt_of_an_isotropic_stiffness_has_no_derivative():
    slope = jax.jacobian(lambda theta: jnp.stack(anisotropy.rotated_stiffness(9e9, 3e9, 9e9, 3e9, theta)))(0.7)
    assert not slope.any()


# ---- plane waves ----


def standing(waves, mode, fine, accuracy, dt, periods=1.0):
    """The relative error of a standing wave of velocity, and of the pressure with it."""
    lengths = np.array((120.0, 100.0))
    k = 2 * np.pi * np.array(waves) / lengths
    c = tensor_of(THETA, **C)
    squares, polarisations = plane_waves.christoffel(lambda *ijkl: c[ijkl], k / np.linalg.norm(k), 1 / RHO)
    w, a = np.sqrt(squares[mode]) * np.linalg.norm(k), polarisations[:, mode]
    shape = (12 * fine, 10 * fine)
    spacing, nt = tuple(lengths / shape), int(periods * 2 * np.pi / w / dt)
    equation = medium(shape)
    stress = np.einsum("ijkl,k,l", c, k, a) / w
    # v = a cos(k x) cos(w t), half a step before time 0; the stresses are zero then.
    start = {f"sigma{kind}_0": np.zeros(shape) for kind in ("yy", "xy", "xx")} | {
        f"v{name}_0": a[i] * np.cos(w * dt / 2) * np.cos(plane_waves.phase(shape, spacing, k, (1, 1)))
        for i, name in enumerate("yx")
    }
    got = plane_waves.run(equation, spacing, dt, nt, start, ("p", "y", "x"), accuracy)
    at, t = sum(k * np.array(spacing)) / 2, dt * np.arange(nt)
    wanted = {name: a[i] * np.cos(at) * np.cos(w * (t - dt / 2)) for i, name in enumerate("yx")}
    wanted["p"] = np.trace(stress) / 2 * np.sin(at) * np.sin(w * t)
    sizes = {"p": largest(stress), "y": 1.0, "x": 1.0}
    return max(largest(got[kind] - x) / sizes[kind] for kind, x in wanted.items())


@pytest.mark.parametrize("mode", [0, 1], ids=["qS", "qP"])
@pytest.mark.parametrize("waves", [(2, -1), at_leisure((1, 2)), at_leisure((1, 0)), at_leisure((0, 1)),
                                   at_leisure((1, 1))], ids=str)  # fmt: skip
def test_plane_waves_have_the_speeds_of_christoffel(waves, mode):
    check_order_of_the_time_step(lambda fine: standing(waves, mode, fine, 8, 4e-4 / fine), 1e-3)


@pytest.mark.parametrize("accuracy", [at_leisure(2), 4, at_leisure(8)])
def test_plane_waves_converge_with_the_order_of_the_grid(accuracy):
    check_order_of_the_grid(lambda fine: standing((1, 1), 1, fine, accuracy, 5e-6, 0.25), accuracy)


# ---- energy ----


def energies(equation, grid, dt, steps):
    """<s, s> - <s', s''> in the product of the compliance, of stresses a step before and after s, which no step
    changes: the energy that leapfrog conserves, but for the kinetic energy of velocities that no stress has made.
    """
    shape = equation.c11.shape
    c = anisotropy.rotated_stiffness(*(getattr(equation, name) for name in (*C, "theta")))
    matrix = np.array([[c.c33, c.c13, c.c35], [c.c13, c.c11, c.c15], [c.c35, c.c15, c.c55]])
    compliance = np.linalg.inv(np.moveaxis(matrix, (0, 1), (-2, -1)))
    names = ("sigmayy_0", "sigmaxx_0", "sigmaxy_0")
    start = {name: jnp.asarray(smooth(shape, -1, 1, seed))[None] for seed, name in enumerate(names, 20)}
    zero = {name: jnp.zeros((1, *(n + 1 for n in shape))) for name in ("vy_0", "vx_0")}

    def product(x, y):
        return np.einsum("iab,abij,jab", x, compliance, y)

    out = jaxwave.simulate(equation, grid, dt, nt=1, wavefields=start | zero, max_vel=SPEED)
    found, last = [], []
    for n in range(steps):
        last = [*last[-2:], np.array([out.state.wavefields[name][0] for name in names])]
        if len(last) == 3 and n % 40 < 3:
            found.append(product(last[1], last[1]) - product(last[0], last[2]))
        out = jaxwave.simulate(equation, grid, dt, nt=1, state=out.state, max_vel=SPEED)
    return np.array(found)


@pytest.mark.optimised
def test_energy_is_conserved_whatever_the_tilt():
    grid = jaxwave.Grid((5.0, 6.0), 8, jaxwave.Boundary("periodic", 0, 1.0))
    found = energies(smooth_medium((14, 17)), grid, 3e-4, 170)
    assert len(found) > 10
    np.testing.assert_allclose(found, found[0], rtol=1e-12)


def test_reciprocity_of_forces():
    """Of any two directions. Exact without layers; in them the damping changes across the width of an average."""
    there, back = np.array([[[3, 4]]]), np.array([[[11, 12]]])
    equation, f = smooth_medium((14, 17)), np.random.default_rng(0).standard_normal((1, 1, 100))
    grid = jaxwave.Grid((5.0, 6.0), 4, jaxwave.Boundary("periodic", 0, 1.0))

    def responses(source, first, second):
        out = jaxwave.simulate(
            equation, grid, 3e-4, sources={source: (f, first)}, receivers={"y": second, "x": second}, max_vel=SPEED
        )  # fmt: skip
        return {kind: np.asarray(x) for kind, x in out.records.items()}

    want, got = ({i: responses(i, *places) for i in "yx"} for places in ((there, back), (back, there)))
    for i, j in ("yy", "xx", "yx", "xy"):
        reference.assert_close(got[j][i], want[i][j], 1e-12)


# ---- limits ----


def test_a_tilt_of_90_degrees_exchanges_the_axes():
    given = {name: getattr(smooth_medium((18, 20)), name) for name in MODELS}
    tilted = jaxwave.ElasticTTI(**{**given, "theta": np.full((18, 20), np.pi / 2)})
    plain = jaxwave.ElasticTTI(**{name: 0 * x.T if name == "theta" else x.T for name, x in given.items()})
    first, second = np.array([[[8, 9]]]), np.array([[[12, 5], [3, 6]]])
    got = records(tilted, jaxwave.Grid((6.0, 5.0), 4, LAYERS), at=(first, second))
    want = records(plain, jaxwave.Grid((5.0, 6.0), 4, LAYERS), at=(first[..., ::-1], second[..., ::-1]))
    reference.assert_close(got, {"p": want["p"], "y": want["x"], "x": want["y"]}, 1e-11)


def test_a_negative_tilt_is_the_mirror_image():
    given = smooth_medium((18, 20))
    image = jaxwave.ElasticTTI(**{name: getattr(given, name)[:, ::-1] for name in MODELS})
    grid, second = jaxwave.Grid(5.0, 4, LAYERS), np.array([[[12, 5], [3, 6]]])
    got = records(dataclasses.replace(image, theta=-image.theta), grid, at=([[[8, 9]]], second))
    # The corner after cell k is the one after cell 18 - k of the image.
    want = records(given, grid, at=([[[8, 9]]], np.array([1, -1]) * second + [0, 18]))
    reference.assert_close(got, {**want, "x": -want["x"]}, 1e-11)


def test_in_isotropic_media_the_tilt_does_not_matter():
    given = smooth_medium((18, 20))
    same = dataclasses.replace(given, c33=given.c11, c13=given.c11 - 2 * given.c55)
    grid = jaxwave.Grid(5.0, 4, LAYERS)
    reference.assert_close(records(same, grid), records(dataclasses.replace(same, theta=0 * same.theta), grid), 1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["isotropic", "VTI"])
def test_the_untilted_medium_has_the_waves_of_the_other_grid(kind):
    """With a source of pressure, and a force that is spread from the middle of a cell."""
    errors = []
    for fine in (1, 3):  # cells are cut into odd numbers of cells, and the middle of one is that of another
        n, nt, dt = 40 * fine, 300 * fine, 4e-4 / fine
        at = 2 * np.pi * (np.arange(n) + 0.5) / n
        y, x = np.meshgrid(at, at, indexing="ij")
        c11, c55, b = 16e9 + 2e9 * np.cos(y) * np.cos(x), 4e9 + 1e9 * np.cos(x), 1 / (2000 + 300 * np.cos(y))
        c33, c13 = (c11, c11 - 2 * c55) if kind == "isotropic" else (0.8 * c11, 0.3 * c11)
        tilted = jaxwave.ElasticTTI(c11, c13, c33, c55, 0 * b, b, 0 * b)
        plain = jaxwave.Elastic(c13, c55, b) if kind == "isotropic" else jaxwave.ElasticVTI(c11, c13, c33, c55, c55, b)
        f = jaxwave.wavelets.ricker(25.0, nt, dt, 0.05, dtype=jnp.float64).reshape(1, 1, -1)
        first, second = (fine * np.array(k) + (fine - 1) / 2 for k in ([[[19, 15]]], [[[23, 13], [13, 25]]]))
        places = functools.partial(jaxwave.Hicks, model_shape=(n, n), half_width=8)

        def run(equation, offsets, fine=fine, dt=dt, f=f, first=first, second=second, places=places):
            grid, found = jaxwave.Grid(10.0 / fine, 8, jaxwave.Boundary("periodic", 0, 25.0)), {}
            for source, size in (("p", 1e6), ("y", 1.0)):
                out = jaxwave.simulate(
                    equation, grid, dt, max_vel=SPEED,
                    sources={source: (size * f * fine**2, places(first, offset=offsets[source]))},
                    receivers={kind: places(second, offset=offsets[kind]) for kind in "pyx"},
                )  # fmt: skip
                found |= {(source, kind): np.asarray(out.records[kind]) for kind in "pyx"}
            return found

        got = run(tilted, dict.fromkeys("pyx", 0.5))
        want = run(plain, {"p": 0.0, "y": (0.5, 0.0), "x": (0.0, 0.5)})
        errors.append({key: largest(got[key] - x) / largest(x) for key, x in want.items()})
    for key, error in errors[1].items():
        assert error < 1e-2, key
        assert errors[0][key] / error > 7, key  # stiffnesses and densities are averaged otherwise, to order 2


# ---- what is refused, and what is stable ----


def test_media_that_grow_plain_layers_and_faces_are_refused():
    grid, equation = jaxwave.Grid(5.0, 4, LAYERS), medium((16, 18))
    c13 = np.array(equation.c13)
    c13[3, 5] = 25e9
    with pytest.raises(ValueError, match=r"ElasticTTI: a strain would set energy free at index \(3, 5\)"):
        records(dataclasses.replace(equation, c13=c13), grid)
    plain = dataclasses.replace(LAYERS, mpml_fraction=0.0)
    with pytest.raises(ValueError, match=r"`grid.boundary.mpml_fraction` is 0, and waves of ElasticTTI grow for ever"):
        records(equation, jaxwave.Grid(5.0, 4, plain))
    for kind in ("free", "rigid"):
        faces = jaxwave.Boundary([kind, "pml", "pml", "pml"], [0, 4, 4, 4], 25.0, 0.1)
        with pytest.raises(ValueError, match=rf"ElasticTTI has no '{kind}' faces, which the first one of axis 0 is"):
            records(equation, jaxwave.Grid(5.0, 4, faces))
    with pytest.raises(ValueError, match="`buoyancy` is 0 everywhere"):
        equation.largest_speed({name: 0 * getattr(equation, name) for name in MODELS}, (5.0, 5.0), 4)


def test_nothing_moves_in_vacuum_and_nothing_depends_on_what_is_in_it():
    given = smooth_medium((18, 20))
    b = np.array(given.buoyancy)
    b[:6, 7:] = 0
    equation, grid = dataclasses.replace(given, buoyancy=b), jaxwave.Grid(5.0, 4, LAYERS)

    def misfit(equation):
        found = records(equation, grid, 2e-4, at=([[[8, 8]]], [[[12, 5], [9, 11]]]), max_vel=9000.0)
        return jnp.sum(found["p"] ** 2) + 1e13 * (jnp.sum(found["y"] ** 2) + jnp.sum(found["x"] ** 2))

    value, gradient = jax.value_and_grad(misfit)(equation)
    assert value > 0
    for name in MODELS:
        found = np.asarray(getattr(gradient, name))
        assert np.isfinite(found).all()
        assert not found[:6, 7:].any()
        assert name == "c66" or found[8:].any()  # in 2-D nothing depends on it


@pytest.mark.parametrize("faces", [(None,) * 4, ("periodic",) * 4])
@pytest.mark.parametrize("accuracy", [2, 8])
def test_the_time_step_is_below_the_limit_of_every_medium(accuracy, faces):
    """The largest frequency of a rough medium, by power iteration, against the bound."""
    check_time_step(rough_medium((8, 9)), np.random.default_rng(0), slice(2, 5), accuracy, faces)


def test_the_time_step_of_a_homogeneous_medium_is_that_of_its_fastest_wave():
    """But for anisotropy that no isotropic medium exceeds with the same speed."""
    isotropic = medium((6, 7), c11=18e9, c13=8e9, c33=18e9)
    models = {name: getattr(isotropic, name) for name in MODELS}
    assert isotropic.largest_speed(models, (5.0, 5.0), 4) == isotropic.fastest(models) == pytest.approx(3000.0)


@pytest.mark.parametrize("steps", [2000, at_leisure(20000)])
def test_rough_tilted_media_do_not_grow(steps):
    """In float32 at the largest stable step, with layers, tilts and anisotropy of any cell its own."""
    rng, equation = np.random.default_rng(1), jax.tree.map(np.float32, rough_medium((24, 26)))
    models = {name: getattr(equation, name) for name in equation.models}
    speed = equation.largest_speed(models, (5.0, 5.0), 4, ("pml",) * 4)
    dt = 0.999 * jaxwave.grid.COURANT_NUMBER / (speed * np.sqrt(2 / 25))
    grid = jaxwave.Grid(5.0, 4, jaxwave.Boundary("pml", 8, 25.0, 0.1))
    f, place = rng.standard_normal((1, 1, 100)).astype(np.float32), rng.integers(0, 23, (1, 20, 2))
    receivers = {"y": place, "x": place, "p": place}
    out = jaxwave.simulate(
        equation, grid, dt, sources={"p": (1e6 * f, [[[8, 9]]])}, receivers=receivers, max_vel=speed
    )  # fmt: skip
    assert out.info.step_ratio == 1
    later = jaxwave.simulate(equation, grid, dt, nt=steps, state=out.state, receivers=receivers, max_vel=speed)
    for kind, x in later.records.items():
        assert largest(x[..., -steps // 10 :]) < 0.3 * largest(out.records[kind])


@pytest.mark.slow
@pytest.mark.optimised
def test_waves_grow_in_layers_that_are_hardly_multiaxial():
    """Why plain ones are refused: a homogeneous tilted medium of strong anisotropy."""
    rng, one = np.random.default_rng(1), np.ones((40, 44), np.float32)
    stiffness = anisotropy.thomsen_to_stiffness(3000.0, 1500.0, 0.4, -0.1, 0.0, 2000.0)
    equation = jaxwave.ElasticTTI(*(np.float32(x) * one for x in stiffness), 0.8 * one)
    f, place = rng.standard_normal((1, 1, 100)).astype(np.float32), rng.integers(0, 39, (1, 20, 2))
    options, late = dict(receivers={"y": place}, max_vel=4100.0), {}
    for fraction in (1e-9, 0.1):
        grid = jaxwave.Grid(5.0, 4, jaxwave.Boundary("pml", 10, 25.0, fraction))
        out = jaxwave.simulate(equation, grid, 5e-4, sources={"p": (1e6 * f, [[[8, 9]]])}, **options)
        later = jaxwave.simulate(equation, grid, 5e-4, nt=6000, state=out.state, **options)
        late[fraction] = largest(later.records["y"][..., -300:]) / largest(out.records["y"])
    assert late[1e-9] > 100
    assert late[0.1] < 0.1
