"""Tilted anisotropic media: averages, plane waves in every direction, energy, limits, faces, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import plane_waves
import pytest
import reference
from helpers import largest
from tilted import at_leisure, check_order_of_the_grid, check_order_of_the_time_step, check_time_step

import jaxwave
from jaxwave._numerics import stencils

V, EPSILON, DELTA, RHO, THETA, PHI = 2500.0, 0.25, 0.1, 2000.0, 0.6, 0.5


def medium(shape, v=V, epsilon=EPSILON, delta=DELTA, rho=RHO, theta=THETA, phi=PHI):
    """A medium of numbers, or of arrays."""
    return jaxwave.AcousticTTI(*(np.broadcast_to(np.asarray(x), shape) for x in (v, epsilon, delta, rho, theta, phi)))


def smooth(shape, low, high, seed):
    """A random field without short waves, periodic, with values from low to high."""
    x = np.random.default_rng(seed).standard_normal(shape)
    for axis, n in enumerate(shape):
        k = np.fft.fftfreq(n, 1 / n).reshape([-1 if a == axis else 1 for a in range(len(shape))])
        x = np.real(np.fft.ifft(np.fft.fft(x, axis=axis) * np.exp(-((k / 2.5) ** 2)), axis=axis))
    return low + (high - low) * (x - x.min()) / (x.max() - x.min())


def smooth_medium(shape, dtype=float):
    delta = smooth(shape, -0.1, 0.2, 1)
    return medium(
        shape, smooth(shape, 2000.0, 3000.0, 2), delta + smooth(shape, 0.02, 0.2, 3), delta,
        smooth(shape, 1500.0, 2500.0, 4), smooth(shape, -3.0, 3.0, 5), smooth(shape, -3.0, 3.0, 6),
    )  # fmt: skip


# ---- averages ----


@pytest.mark.parametrize("accuracy", stencils.ACCURACIES)
def test_averages_are_exact_for_polynomials_of_their_order(accuracy):
    x = np.arange(-5.0, 6.0)
    for degree in range(accuracy):
        got = stencils.staggered_mean(jnp.asarray(x**degree), 0, 4, 3, accuracy, True)
        np.testing.assert_allclose(got, np.array([-0.5, 0.5, 1.5]) ** degree, rtol=0, atol=1e-11)


def test_schemes_say_where_their_terms_lie():
    fields, stages = {"p": (), "u": (0, 1)}, ({"u": (("b", "g"),)}, {"p": (("c", "d"),)})
    given = dict(fields=fields, stages=stages, sources={}, receivers={})
    d = jaxwave.Term(((0, "u"),), at=())
    scheme = jaxwave.Scheme(terms={"g": jaxwave.Term(((0, "p"), (1, "p")), at=(0, 1)), "d": d}, **given)
    assert scheme.averaged((0, "p"), (0, 1)) == (1,)
    assert scheme.averaged((0, "u"), ()) == (1,)
    with pytest.raises(ValueError, match=r"the parts of term 'g' lie at different places.*say where, with `at`"):
        jaxwave.Scheme(terms={"g": jaxwave.Term(((0, "p"), (1, "p"))), "d": d}, **given)
    with pytest.raises(ValueError, match="term 'g' averages a field that it does not differentiate"):
        jaxwave.Scheme(terms={"g": jaxwave.Term(((None, "p"),), at=(0, 1)), "d": d}, **given)
    with pytest.raises(ValueError, match=r"source 's' is spread over cells, `at`=\(0, 1\), and can have no `scale`"):
        dataclasses.replace(scheme, sources={"s": jaxwave.Source(("p",), "c", at=(0, 1))})


# ---- plane waves ----


def axis_of(theta, phi, ndim):
    return np.array([np.cos(theta), np.sin(theta) * np.sin(phi), np.sin(theta) * np.cos(phi)] if ndim == 3 else
                    [np.cos(theta), np.sin(theta)])  # fmt: skip


def modes(k, epsilon=EPSILON, delta=DELTA):
    """Frequencies of plane waves, ascending, and pressures (p_v, p_h) in columns."""
    n = axis_of(THETA, PHI, len(k))
    along = (k @ n) ** 2
    c = V**2 * np.array([[1, np.sqrt(1 + 2 * delta)], [np.sqrt(1 + 2 * delta), 1 + 2 * epsilon]])
    squares, pressures = map(np.real, np.linalg.eig(c @ np.diag([along, k @ k - along])))  # complex in new NumPy
    order = np.argsort(squares)
    return np.sqrt(np.maximum(squares[order], 0)), pressures[:, order]


def standing(waves, mode, fine, accuracy, dt, periods=1.0):
    """The relative error of a standing wave of pressure, and of the velocities with it."""
    ndim, lengths = len(waves), np.array((120.0, 100.0, 110.0)[: len(waves)])
    k = 2 * np.pi * np.array(waves) / lengths
    w, pressures = modes(k)
    w, p, n = w[mode], pressures[:, mode], axis_of(THETA, PHI, ndim)
    shape = tuple(fine * m for m in ((12, 10, 11) if ndim == 2 else (8, 8, 8))[:ndim])
    spacing, nt = tuple(lengths / shape), int(periods * 2 * np.pi / w / dt)
    equation = medium(shape)
    offsets, names = equation.wavefield_offsets(ndim), "zyx"[-ndim:]
    velocity = {"v": (k @ n) * n * p[0] / RHO, "h": (k - (k @ n) * n) * p[1] / RHO}

    def phase(offset):
        return plane_waves.phase(shape, spacing, k, offset)

    # p = p cos(k x) cos(w t); the velocities are half a step before time 0.
    start = {f"pressure{kind}_0": x * np.cos(phase((0,) * ndim)) for kind, x in zip("vh", p, strict=True)} | {
        f"v{kind}{name}_0": x[i] / w * np.sin(-w * dt / 2) * np.sin(phase(offsets[f"v{kind}{name}_0"]))
        for kind, x in velocity.items()
        for i, name in enumerate(names)
    }
    got = plane_waves.run(equation, spacing, dt, nt, start, ("p", *names), accuracy)
    at, t = sum(k * np.array(spacing)) / 2, dt * np.arange(nt)
    wanted = {"p": (p[0] + (ndim - 1) * p[1]) / ndim * np.cos(at) * np.cos(w * t)} | {
        name: sum(x[i] for x in velocity.values()) / w * np.sin(at) * np.sin(w * (t - dt / 2))
        for i, name in enumerate(names)
    }
    sizes = {"p": largest(p), **dict.fromkeys(names, largest(list(velocity.values())) / w)}
    return max(largest(got[kind] - x) / sizes[kind] for kind, x in wanted.items())


@pytest.mark.parametrize(
    ("waves", "mode"), [((2, -1), 1), at_leisure((1, 2), 1), at_leisure((1, 2), 0), at_leisure((2, -1), 0)], ids=str
)
def test_plane_waves_have_the_frequencies_of_the_dispersion_relation(waves, mode):
    """Of P (mode 1) and of the shear waves that such a medium has."""
    check_order_of_the_time_step(lambda fine: standing(waves, mode, fine, 8, 4e-4 / fine), 3e-4)


@pytest.mark.parametrize("accuracy", [at_leisure(2), 4, at_leisure(8)])
def test_plane_waves_converge_with_the_order_of_the_grid(accuracy):
    # By factors of 3.4, 14 and 137: 8 cells to the wavelength are few.
    check_order_of_the_grid(lambda fine: standing((1, 1), 1, fine, accuracy, 1e-5, 0.25), accuracy)


@pytest.mark.slow
@pytest.mark.optimised
def test_plane_waves_in_three_dimensions():
    # P, then the shear wave, which is slow: 1e-6 is left of both errors.
    check_order_of_the_time_step(lambda fine: standing((1, 1, -1), 1, fine, 8, 4e-4 / fine), 3e-4)
    assert standing((1, 1, -1), 0, 2, 8, 2e-4) < 1e-5


# ---- energy ----


def energies(equation, grid, dt, steps):
    """|p|^2 - <p', p''> in the product of the compliance, of pressures a step before and after p, which no step
    changes: the energy that leapfrog conserves, but for the kinetic energy of velocities that no pressure has made.
    """
    ndim, shape = len(grid.spacing), equation.v.shape
    s = np.sqrt(1 + 2 * equation.delta)
    c33 = equation.rho * equation.v**2 * (1 + 2 * equation.epsilon - s**2)
    start = {f"pressure{kind}_0": jnp.asarray(smooth(shape, -1, 1, seed))[None] for seed, kind in enumerate("vh", 7)}
    zero = {
        name: jnp.zeros((1, *(n + 1 for n in shape))) for name in equation.wavefield_offsets(ndim) if name[0] == "v"
    }

    def product(x, y):
        (a, b), (c, d) = x, y
        return ((a * c * (1 + 2 * equation.epsilon) - s * (a * d + b * c) + b * d) / c33).sum()

    out = jaxwave.simulate(equation, grid, dt, nt=1, wavefields=start | zero)
    found, last = [], []
    for n in range(steps):
        last = [*last[-2:], [np.asarray(out.state.wavefields[name][0]) for name in start]]
        if len(last) == 3 and n % 40 < 3:
            found.append(product(last[1], last[1]) - product(last[0], last[2]))
        out = jaxwave.simulate(equation, grid, dt, nt=1, state=out.state)
    return np.array(found)


@pytest.mark.optimised
@pytest.mark.parametrize("kinds", ["periodic", "free"])
def test_energy_is_conserved_whatever_the_tilt(kinds):
    equation = smooth_medium((14, 17))
    grid = jaxwave.Grid((5.0, 6.0), 8, jaxwave.Boundary(kinds, 0, 1.0))
    found = energies(equation, grid, 6e-4, 170)
    assert len(found) > 10
    np.testing.assert_allclose(found, found[0], rtol=1e-12)


# ---- limits ----


def records(equation, grid, dt=4e-4, nt=120, at=None, delay=0.04, **options):
    ndim = equation.v.ndim
    f = jaxwave.wavelets.ricker(25.0, nt, dt, delay, dtype=jnp.float64).reshape(1, 1, -1)
    first, second = at or ([[[8] * ndim]], [[[12] * (ndim - 1) + [5], [3] * (ndim - 1) + [11]]])
    return jaxwave.simulate(
        equation, grid, dt, sources={"p": (f, first)}, receivers={"p": second}, **{"max_vel": 3900.0, **options}
    ).records["p"]  # fmt: skip


LAYERS = jaxwave.Boundary(pml_width=4, pml_freq=25.0, mpml_fraction=0.1)


@pytest.mark.parametrize("ndim", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_tilt_of_90_degrees_exchanges_the_axes(ndim):
    shape, spacing = (18, 20, 22)[3 - ndim :], (6.0, 5.0, 5.5)[3 - ndim :]
    given = {name: x for name, x in vars(smooth_medium(shape)).items() if name in ("v", "epsilon", "delta", "rho")}
    tilted = jaxwave.AcousticTTI(**given, theta=np.full(shape, np.pi / 2), phi=np.zeros(shape))
    exchanged = {name: np.swapaxes(x, 0, -1) for name, x in given.items()}
    zero = np.zeros(shape[::-1])
    plain = jaxwave.AcousticTTI(**exchanged, theta=zero, phi=zero)
    first, second = np.array([[[8, 9, 10][:ndim]]]), np.array([[[12, 5, 4][:ndim], [3, 6, 13][:ndim]]])
    want = records(plain, jaxwave.Grid(spacing[::-1], 4, LAYERS), at=(first[..., ::-1], second[..., ::-1]))
    got = records(tilted, jaxwave.Grid(spacing, 4, LAYERS), at=(first, second))
    reference.assert_close(got, want, 1e-11)


def test_in_isotropic_media_the_tilt_does_not_matter():
    given = smooth_medium((18, 20))
    zero = 0 * given.v
    same = dataclasses.replace(given, epsilon=zero, delta=zero)
    grid = jaxwave.Grid(5.0, 4, LAYERS)
    reference.assert_close(records(same, grid), records(dataclasses.replace(same, theta=zero), grid), 1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["isotropic", "elliptical"])
def test_the_untilted_medium_has_the_waves_of_the_other_grid(kind):
    """Without the short shear waves of other media, which every source sends out in its own way."""
    errors = []
    for fine in (1, 2, 4):
        n = 30 * fine
        at = (np.arange(n) + 0.5) / n  # cells are cut into cells
        y, x = np.meshgrid(at, at, indexing="ij")
        v, rho, zero = 2500 + 300 * np.cos(np.pi * y) * np.cos(np.pi * x), 2000 + 300 * np.cos(np.pi * y), 0 * x
        epsilon = zero if kind == "isotropic" else 0.2 + 0.1 * np.cos(np.pi * x)
        layers = jaxwave.Boundary("free", 0, 25.0)
        # Points of the region that is the same on all grids, in cells.
        first, second = (np.array(place) * n - 0.5 for place in ([[[0.5, 0.4]]], [[[0.6, 0.3], [0.3, 0.7]]]))
        options = dict(grid=jaxwave.Grid(300.0 / n, 8, layers), dt=6e-4 / fine, nt=240 * fine, delay=0.08)

        def between(offset, first=first, second=second, v=v):
            return [jaxwave.Hicks(place, v.shape, half_width=8, offset=offset) for place in (first, second)]

        tilted = records(jaxwave.AcousticTTI(v, epsilon, epsilon, rho, zero, zero), at=between(0.5), **options)
        plain = records(jaxwave.AcousticVTI(v, epsilon, epsilon, rho), at=between(0.0), **options)
        errors.append(largest(tilted - plain) / largest(plain))
    assert errors[1] < 5e-3
    assert errors[0] / errors[1] > 3.5  # the density is averaged otherwise, to order 2
    assert errors[1] / errors[2] > 3.5


# ---- free faces ----


@pytest.mark.slow
def test_free_faces_are_right_in_tilted_elliptical_media():
    """A plane wave and its reflection between two free faces, which have other angles: an exact solution."""
    errors, (height, length), epsilon, bounces = [], (100.0, 120.0), 0.3, 3
    for fine in (1, 2, 4):
        shape = (20 * fine, 24 * fine)
        equation, dt = medium(shape, epsilon=epsilon, delta=epsilon), 2e-4 / fine
        nt, n, s = 100 * fine, axis_of(THETA, PHI, 2), np.sqrt(1 + 2 * epsilon)
        m = V**2 * (np.outer(n, n) + s**2 * (np.eye(2) - np.outer(n, n)))
        kx, apart = 2 * np.pi / length, np.pi * bounces / height
        k = [-m[0, 1] / m[0, 0] * kx + sign * apart for sign in (1, -1)]
        w = np.sqrt(m[0, 0] * (apart**2 - (m[0, 1] / m[0, 0] * kx) ** 2) + m[1, 1] * kx**2)

        def wave(offset, t, weights, h=5 / fine, shape=shape, k=k, w=w, kx=kx):
            """The sum of the two waves with these weights; the first cell is half a cell from the face."""
            y, x = ((np.arange(-o, count) + (1 + o) / 2) * h for count, o in zip(shape, offset, strict=True))
            return sum(a * np.cos(q * y[:, None] + kx * x - w * t) for a, q in zip(weights, k, strict=True))[None]

        def fields(t, before, n=n, s=s, k=k, w=w, kx=kx, wave=wave):
            found = {"pressurev_0": wave((0, 0), t, (1, -1)), "pressureh_0": s * wave((0, 0), t, (1, -1))}
            for kind, name, i in (("v", "y", 0), ("v", "x", 1), ("h", "y", 0), ("h", "x", 1)):
                of_waves = [np.array([q, kx]) for q in k]
                along = [(q @ n) * n for q in of_waves]
                part = along if kind == "v" else [s * (q - a) for q, a in zip(of_waves, along, strict=True)]
                weights = [sign * q[i] / RHO / w for sign, q in zip((1, -1), part, strict=True)]
                found[f"v{kind}{name}_0"] = wave((1, 1), t - before, weights)
            return {name: jnp.asarray(x) for name, x in found.items()}

        faces = jaxwave.Boundary(["free", "free", "periodic", "periodic"], 0, 1.0)
        grid = jaxwave.Grid(5.0 / fine, 8, faces)
        got = jaxwave.simulate(equation, grid, dt, nt=nt, wavefields=fields(0.0, dt / 2)).state.wavefields
        want = fields(nt * dt, dt / 2)
        errors.append(max(largest(got[f] - want[f]) / largest(want[f]) for f in ("pressurev_0", "pressureh_0")))

    assert errors[2] < 5e-3
    assert errors[0] / errors[1] > 2.5


# ---- what is refused, and what is stable ----


def test_media_that_grow_plain_layers_and_rigid_faces_are_refused():
    grid, equation = jaxwave.Grid(5.0, 4, LAYERS), medium((16, 18))
    delta = np.array(equation.delta)
    delta[3, 5] = 0.3
    with pytest.raises(ValueError, match=r"`epsilon` must be at least `delta`.*At index \(3, 5\) `epsilon` is 0.25"):
        records(dataclasses.replace(equation, delta=delta), grid)
    plain = dataclasses.replace(LAYERS, mpml_fraction=0.0)
    with pytest.raises(ValueError, match=r"`grid.boundary.mpml_fraction` is 0, and waves of AcousticTTI grow for ever"):
        records(equation, jaxwave.Grid(5.0, 4, plain))
    rigid = jaxwave.Boundary(["free", "rigid", "pml", "pml"], [0, 0, 4, 4], 25.0, 0.1)
    with pytest.raises(ValueError, match=r"AcousticTTI has no 'rigid' faces, which the last one of axis 0 is"):
        records(equation, jaxwave.Grid(5.0, 4, rigid))


def test_nothing_moves_in_vacuum_and_nothing_depends_on_what_is_in_it():
    given = smooth_medium((18, 20))
    rho = np.array(given.rho)
    rho[:6, 7:] = 0
    equation, grid = dataclasses.replace(given, rho=rho), jaxwave.Grid(5.0, 4, LAYERS)
    at = [[[8, 8]]], [[[12, 5], [9, 11]]]
    value, gradient = jax.value_and_grad(lambda x: jnp.sum(records(x, grid, 3e-4, at=at, max_vel=5500.0) ** 2))(
        equation
    )
    assert value > 0
    for name in equation.models:
        found = np.asarray(getattr(gradient, name))
        assert np.isfinite(found).all()
        assert not found[:6, 7:].any()
        assert name == "phi" or found[8:].any()  # in 2-D there is no azimuth


@pytest.mark.parametrize("faces", [(None,) * 4, ("periodic",) * 4, ("free",) * 4])
@pytest.mark.parametrize("accuracy", [2, 8])
def test_the_time_step_is_below_the_limit_of_every_medium(accuracy, faces):
    """The largest frequency of a rough medium, by power iteration, against the bound."""
    rng, shape = np.random.default_rng(0), (8, 9)
    delta = rng.uniform(-0.3, 0.3, shape)
    equation = medium(
        shape, rng.uniform(1500, 4000, shape), delta + rng.uniform(0, 0.3, shape), delta,
        rng.uniform(500, 3000, shape), rng.uniform(-3, 3, shape),
    )  # fmt: skip
    check_time_step(equation, rng, slice(0, 2), accuracy, faces)


@pytest.mark.parametrize("steps", [300, at_leisure(20000)])
def test_rough_tilted_media_do_not_grow(steps):
    """In float32 at the largest stable step, with layers and a free face, tilts and anisotropy of any cell its own."""
    shape, rng = (24, 26), np.random.default_rng(0)
    delta = rng.uniform(-0.2, 0.3, shape)
    equation = medium(
        shape, rng.uniform(1500, 4000, shape), delta + rng.uniform(0, 0.3, shape), delta,
        rng.uniform(500, 3000, shape), rng.uniform(-3, 3, shape),
    )  # fmt: skip
    equation = jax.tree.map(np.float32, equation)
    kinds = ("free", "pml", "pml", "pml")
    models = {name: getattr(equation, name) for name in equation.models}
    speed = equation.largest_speed(models, (5.0, 5.0), 4, kinds)
    dt = 0.999 * jaxwave.grid.COURANT_NUMBER / (speed * np.sqrt(2 / 25))
    grid = jaxwave.Grid(5.0, 4, jaxwave.Boundary(kinds, [0, 8, 8, 8], 25.0, 0.1))
    f, place = rng.standard_normal((1, 1, 100)).astype(np.float32), {"p": rng.integers(0, 23, (1, 20, 2))}
    out = jaxwave.simulate(equation, grid, dt, sources={"p": (f, [[[8, 9]]])}, receivers=place, max_vel=speed)
    assert out.info.step_ratio == 1
    later = jaxwave.simulate(equation, grid, dt, nt=steps, state=out.state, receivers=place, max_vel=speed)
    assert largest(later.records["p"][..., -steps // 10 :]) < largest(out.records["p"])
