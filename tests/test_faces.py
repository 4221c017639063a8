"""Faces that reflect or are periodic: their closures, mirror images, energy, stability, surface waves."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from helpers import FREQ, amplitudes, dense, largest, layered, wavelet
from jax import lax

import jaxwave
from jaxwave._numerics import points
from jaxwave._numerics.boundary import PaddedGrid
from jaxwave._numerics.derivative import Derivative
from jaxwave._numerics.stencils import STAGGERED
from jaxwave._propagators import call_of
from jaxwave._setup.embedding import run_inputs
from jaxwave._setup.problem import make_problem
from jaxwave.equations.layout import scheme_of
from jaxwave.equations.registry import EQUATIONS
from jaxwave.equations.staggered import components, tensor

ORDERS = (2, 4, 6, 8)
REFLECTING = [("odd", "even"), ("even", "odd"), ("pinned", "loose"), ("loose", "pinned")]

# ---- closures ----


def both_ways(accuracy, pair, n, spacing=1.0):
    """N [cell, point], G [point, cell] and w [point] of an axis."""
    grid, r = PaddedGrid((n,), (spacing,), accuracy, (0, 0)), accuracy // 2
    cells, between = slice(r, r + n), slice(r - 1, r + n)
    to_cells, to_points = (Derivative(grid, 0, half, pair) for half in (False, True))
    return dense(to_cells)[cells, between], dense(to_points)[between, cells], to_cells.weights[between]


@pytest.mark.parametrize("accuracy", ORDERS)
@pytest.mark.parametrize("pair", [*REFLECTING, ("periodic",) * 2, (None, "pinned"), (None, None)])
def test_the_two_derivatives_are_negative_transposes_in_the_energy(accuracy, pair):
    for n in (accuracy, accuracy + 1, 2 * accuracy + 1, 30):
        to_cells, to_points, w = both_ways(accuracy, pair, n)
        # Sums of a few products of weights of order 1.
        np.testing.assert_allclose(w[:, None] * to_points, -to_cells.T, atol=1e-14)
        assert (w > 0.4).all()


@pytest.mark.parametrize("accuracy", ORDERS)
@pytest.mark.parametrize("pair", REFLECTING)
def test_compiled_derivatives_are_the_matrices(accuracy, pair):
    n, h, rng = 2 * accuracy + 3, 2.5, np.random.default_rng(0)
    grid = PaddedGrid((3, n), (1.0, h), accuracy, (0,) * 4)
    for half in (False, True):
        d = Derivative(grid, 1, half, pair)
        for matrix, function, seen in ((dense(d), d.value, d.back), (-dense(d).T, d.value_back, d)):
            x = np.zeros((2, *grid.padded))
            x[..., seen.cells.start : seen.cells.stop] = rng.standard_normal((2, grid.padded[0], seen.cells.size))
            got = function(jnp.asarray(x), ())
            np.testing.assert_allclose(got, np.einsum("ij,szj->szi", matrix, x), atol=1e-14)


@pytest.mark.parametrize("accuracy", ORDERS)
def test_elastic_closures_are_exact_for_linear_fields(accuracy):
    n, h = 25, 5.0
    cells, between, one = h * (np.arange(n) + 0.5), h * np.arange(n + 1.0), np.ones
    # At the first face what is pinned vanishes there; at the last one, fields that are linear and vanish there.
    for pair in (("pinned", "pinned"), ("loose", "loose")):
        to_cells, to_points, w = both_ways(accuracy, pair, n, h)
        vanishing, free = (to_points @ cells, to_cells @ between) if pair[0] == "pinned" else (to_cells @ between, None)
        np.testing.assert_allclose(vanishing[: n // 2], 1, rtol=1e-13)
        if pair[0] == "pinned":
            np.testing.assert_allclose(free, 1, rtol=1e-13)
            np.testing.assert_allclose(to_cells @ one(n + 1), 0, atol=1e-14)
        else:
            np.testing.assert_allclose((to_points @ cells)[1:-1], 1, rtol=1e-13)
            np.testing.assert_allclose(to_points @ one(n), 0, atol=1e-14)
        # The weights integrate linear fields.
        np.testing.assert_allclose([w.sum(), w @ between], [n, n * n * h / 2], rtol=1e-13)


def test_at_order_2_both_kinds_of_closures_are_one():
    for image, other in (("odd", "pinned"), ("even", "loose")):
        for a, b in zip(both_ways(2, (image,) * 2, 9), both_ways(2, (other,) * 2, 9), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-15)


@pytest.mark.parametrize("accuracy", ORDERS)
def test_images_keep_the_order(accuracy):
    # The derivatives of what is antisymmetric or symmetric about both faces, at two spacings.
    errors = []
    for n in (24, 48):
        h = 1 / n
        cells, between = h * (np.arange(n) + 0.5), h * np.arange(n + 1)
        k = 3 * np.pi
        odd, even = both_ways(accuracy, ("odd",) * 2, n, h), both_ways(accuracy, ("even",) * 2, n, h)
        errors.append(
            [
                largest(odd[1] @ np.sin(k * cells) - k * np.cos(k * between)),
                largest(odd[0] @ np.cos(k * between) + k * np.sin(k * cells)),
                largest(even[1] @ np.cos(k * cells) + k * np.sin(k * between)),
                largest(even[0] @ np.sin(k * between) - k * np.cos(k * cells)),
            ]
        )
    # The next term moves the measured order by less than a tenth at 16 cells per wavelength.
    np.testing.assert_allclose(np.log2(np.divide(*errors)), accuracy, atol=0.1)


@pytest.mark.parametrize("accuracy", ORDERS)
@pytest.mark.parametrize("pair", REFLECTING)
def test_reflecting_faces_take_nothing_off_the_time_step(accuracy, pair):
    to_cells, _, w = both_ways(accuracy, pair, 60)
    largest_difference = np.linalg.norm(to_cells / np.sqrt(w), 2)
    interior = 2 * np.abs(STAGGERED[accuracy]).sum()
    # A little less than in the interior: these faces take nothing off the time step.
    assert 0.995 * interior < largest_difference <= (1 + 1e-14) * interior


# ---- mirror images ----


def doubled(x, axis, last):
    """A model continued beyond its first (last) face by its image."""
    return np.concatenate([x, np.flip(x, axis)] if last else [np.flip(x, axis), x], axis)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("kind", "sign"), [("free", -1), ("rigid", 1)])
@pytest.mark.parametrize(
    ("name", "accuracy"),
    [
        ("scalar", 8),
        pytest.param("scalar", 2, marks=pytest.mark.slow),
        pytest.param("acoustic", 8, marks=pytest.mark.slow),
        ("acoustic", 4),
    ],
)
def test_a_face_is_a_plane_of_symmetry(name, accuracy, kind, sign, last):
    shape, dt, nt, axis = (13, 18), 6e-4, 120, 0
    n, rng = shape[axis], np.random.default_rng(1)
    models = (layered(shape),) if name == "scalar" else (layered(shape), layered(shape, 900.0, 2500.0, seed=1))
    # Kinds of points with the symmetry of their field, and where they lie relative to the cell, along the normal.
    kinds = {"": (sign, 0)} if name == "scalar" else {"p": (sign, 0), "x": (sign, 0), "y": (-sign, 1)}
    # A velocity of row n - 1 lies on the last face, where it moves if that is free.
    rows = {0: [1, 5], 1: [0, n - 1 if last and kind == "free" else 4]}

    def image(place, between):
        """The row of a point in the doubled model, and that of its image."""
        here = place if last else n + place
        return here, 2 * n - 1 - between - here

    sources, receivers, large_sources, large_receivers = {}, {}, {}, {}
    for field, (symmetry, between) in kinds.items():
        f = rng.standard_normal((1, 2, nt))
        places = np.array([[[rows[between][0], 4], [rows[between][1], 13]]])
        images = [[[image(z, between)[k], x] for z, x in places[0].tolist()] for k in (0, 1)]
        sources[field], receivers[field] = (f, places), places
        large_sources[field] = (np.concatenate([f, symmetry * f], axis=1), np.array([images[0] + images[1]]))
        large_receivers[field] = np.array([images[0]])

    faces = ("pml", kind, None, None) if last else (kind, None, "pml", "pml")

    def run(models, sources, receivers, faces):
        common = dict(accuracy=accuracy, pml_width=4, pml_freq=FREQ, max_vel=2500.0, boundary=faces)
        if name == "acoustic":
            out = jaxwave.acoustic(*models, (5.0, 6.0), dt, **common, sources=sources, receivers=receivers)
            scale = dict(p=1.0, x=1e6, y=1e6)
            return [scale[k] * getattr(out, f"receiver_amplitudes_{k}") for k in kinds]
        (f, s), r = sources[""], receivers[""]
        survey = dict(source_amplitudes=f, source_locations=s, receiver_locations=r)
        return [jaxwave.scalar(*models, (5.0, 6.0), dt, **common, **survey).receiver_amplitudes]

    got = run(models, sources, receivers, faces)
    large = tuple(doubled(x, axis, last) for x in models)
    want = run(large, large_sources, large_receivers, None)
    # The same sums in another order.
    reference.assert_close(got, want, 1e-12)


@pytest.mark.parametrize(("name", "accuracy"), [("scalar", 8), ("acoustic", 4), ("elastic", 8)])
def test_a_periodic_model_has_no_first_cell(name, accuracy):
    shape, nt, by, rng = (12, 9), 80, (5, 0), np.random.default_rng(2)
    v, rho = layered(shape), layered(shape, 900.0, 2500.0, seed=1)
    models = {
        "scalar": (v,),
        "acoustic": (v, rho),
        "elastic": [np.asarray(x) for x in jaxwave.vpvsrho_to_lambmubuoyancy(v, 0.5 * v, rho)],
    }[name]
    kinds, f = ("",) if name == "scalar" else ("p", "y", "x"), rng.standard_normal((1, 2, nt))
    # (A velocity along x in column 8 lies on the rigid face.)
    places, seen = np.array([[[10, 3], [11, 6]]]), np.array([[[0, 2], [11, 7], [5, 4]]])

    def run(shift):
        moved = [np.roll(x, shift, (0, 1)) for x in models]
        there, here = ((x + np.array(shift)) % np.array(shape) for x in (places, seen))
        survey = {}
        for kind in kinds:
            end = f"_{kind}" if kind else ""
            survey |= {f"source_amplitudes{end}": f, f"source_locations{end}": there, f"receiver_locations{end}": here}
        out = getattr(jaxwave, name)(
            *moved, (5.0, 6.0), 5e-4, accuracy=accuracy, boundary=["periodic", "periodic", "pml", "rigid"], pml_width=4,
            pml_freq=FREQ, max_vel=2500.0, **survey,
        )  # fmt: skip
        return [x for key, x in out._asdict().items() if key.startswith("receiver") and x is not None and x.size]

    got, want = run(by), run((0, 0))
    assert all(map(largest, want))
    # The same sums in another order.
    reference.assert_close(got, want, 1e-12)


# ---- energy and stability ----


def settled(name, models, spacing, dt, **settings):
    """The equation of a call without sources, its operands and coefficients."""
    given = dict(zip(EQUATIONS[name].models, models, strict=True))
    problem = make_problem(call_of(name, **given, **{"nt": 1, **settings}, grid_spacing=spacing, dt=dt))
    equation, info = problem.plan.equation, problem.info
    m, operands, _, _, x = run_inputs(problem.setup, problem.arrays, info.max_vel, info.pml_freq)[0]
    nothing = (None,) * len(equation.coefficients_of_terms)

    def step(x):
        shots = jnp.zeros((jax.tree.leaves(x)[0].shape[0], 0))
        return equation.step(m, operands, x, shots, [], nothing)[0]

    return equation, m, step, x, info


def energy(equation, m, x, after):
    """The discrete energy of a state, with the one a step later; an invariant of the scheme without layers."""
    grid, divide = equation.grid, points.divide

    def over(x, c):
        return jnp.sum(divide(x, c))

    if equation.memory_names == ("psi", "zeta"):
        applied = divide(after.u - 2 * x.u + x.u_previous, m[0])
        return over((x.u - x.u_previous) ** 2, m[0]) - jnp.sum(x.u_previous * applied)
    offsets, names = equation.wavefield_offsets(grid.ndim), components(grid.ndim)
    now, later = equation.wavefields(x), equation.wavefields(after)
    c = dict(zip(scheme_of(equation, grid.ndim).coefficients, m, strict=True))

    def weighted(field, values):
        """Values of a field, each times the share of a cell that its point stands for."""
        for axis in np.flatnonzero(offsets[field]):
            d = Derivative(grid, int(axis), True, equation.closures_of(int(axis), field))
            values = values * d.weights.reshape([-1 if a == axis + 1 else 1 for a in range(grid.ndim + 1)])
        return values

    total = sum(over(weighted(f, now[f] * later[f]), c[f"buoyancy_{k}"]) for k, f in ((k, f"v{k}_0") for k in names))
    if "pressure_0" in now:
        return total + over(now["pressure_0"] ** 2, c["bulk_modulus"])
    normal = [now[f"sigma{k}{k}_0"] for k in names]
    held, trace = grid.ndim * c["lamb"] + c["mu"], sum(normal)
    total += sum(over(s * (s - divide(c["lamb"], held) * trace), c["mu"]) for s in normal)
    for kind in (kind for kind, (i, j) in tensor(grid.ndim).items() if i < j):
        total += over(weighted(f"sigma{kind}_0", now[f"sigma{kind}_0"] ** 2), c[f"mu_{kind}"])
    return total


def started(equation, x, fields):
    """A state with these wavefields."""
    return x._replace(fields=tuple({**equation.wavefields(x), **fields}.values()))


def rough(name, shape, contrast):
    """Models in which neighbours differ by up to this factor."""
    rng = np.random.default_rng(3)

    def field(low):
        return low * np.exp(rng.uniform(0, np.log(contrast), shape))

    return {
        "scalar": (field(1500.0),),
        "acoustic": (layered(shape), field(1e3)),
        "elastic": (field(1e8), field(1e8), field(1e-5)),
    }[name]


def box(name, shape, spacing, accuracy, faces, contrast):
    """A model with all faces reflecting, at the largest time step."""
    models, kinds = rough(name, shape, contrast), (faces,) * 2 * len(shape) if isinstance(faces, str) else faces
    limit = EQUATIONS[name].largest_speed(
        dict(zip(EQUATIONS[name].models, models, strict=True)), spacing, accuracy, kinds
    )
    return settled(name, models, spacing, jaxwave.grid.cfl_time_step(limit, spacing), accuracy=accuracy, boundary=faces)


MIXED = ("rigid", "free", "free", "rigid")


@pytest.mark.parametrize(
    "faces",
    [
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("free", "rigid", "periodic")),
        MIXED,
        ("periodic", "periodic", "free", "rigid"),
    ],
)
@pytest.mark.parametrize(("name", "accuracy"), [("scalar", 4), ("acoustic", 8), ("elastic", 4), ("elastic", 8)])
def test_reflecting_faces_conserve_energy(name, accuracy, faces):
    # Neighbours differ by a factor of up to a hundred; the largest time step; 10,000 steps.
    equation, m, step, x, info = box(name, (12, 13), (5.0, 6.0), accuracy, faces, 100)
    assert info.step_ratio == 1
    rng = np.random.default_rng(4)
    noise = jax.tree.map(lambda y: rng.standard_normal(y.shape), x)
    # Only where there is something: a wavefield is zero wherever its coefficient is.
    if name == "elastic":
        start = started(
            equation, x, {f"sigma{k}{k}_0": jnp.where(m[1] > 0, noise.fields[2 + i], 0) for i, k in enumerate("yx")}
        )
    elif name == "acoustic":
        start = started(equation, x, {"pressure_0": jnp.where(m[0] > 0, noise.fields[0], 0)})
    else:
        start = x._replace(u=jnp.where(m[0] > 0, noise.u, 0), u_previous=jnp.where(m[0] > 0, noise.u, 0))

    @jax.jit
    def energies(x):
        def thousand(x, _):
            x = lax.fori_loop(0, 999, lambda _, x: step(x), x)
            after = step(x)
            return after, energy(equation, m, x, after)

        first = energy(equation, m, x, step(x))
        return first, lax.scan(thousand, x, None, length=10)[1]

    first, later = energies(start)
    assert first > 0
    # An invariant of the discrete scheme: only rounding can move it.
    np.testing.assert_allclose(later, first, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["acoustic", "elastic"])
def test_energy_in_three_dimensions(name):
    faces = ("rigid", "free", "periodic", "periodic", "free", "free")
    equation, m, step, x, _ = box(name, (7, 8, 6), (5.0, 6.0, 4.0), 4, faces, 100)
    noise = np.random.default_rng(5).standard_normal(m[0].shape)
    if name == "elastic":
        start = started(
            equation,
            x,
            {f"sigma{k}{k}_0": jnp.where(m[1] > 0, w * noise, 0) for k, w in zip("zyx", (1, -2, 3), strict=True)},
        )
    else:
        start = started(equation, x, {"pressure_0": jnp.where(m[0] > 0, noise, 0)})
    run = jax.jit(lambda x: lax.fori_loop(0, 2000, lambda _, x: step(x), x))
    end = run(start)
    first, last = (float(energy(equation, m, y, step(y))) for y in (start, end))
    assert first > 0
    np.testing.assert_allclose(last, first, rtol=1e-9)


def largest_frequency(equation, step, x):
    """The largest frequency times dt of the staggered equations: sqrt of the largest eigenvalue of -B D C D."""
    names = [f"v{k}_0" for k in components(equation.grid.ndim)]
    shape = x.fields[0].shape[1:]
    cells = [(k, *place) for k in range(len(names)) for place in np.ndindex(*shape)]

    @jax.jit
    def matrix(_):
        rows = [jnp.zeros((len(cells), *shape)) for _ in names]
        for k in range(len(rows)):
            mine = [n for n, (kk, *_) in enumerate(cells) if kk == k]
            rows[k] = (
                rows[k]
                .reshape(len(cells), -1)
                .at[jnp.array(mine), jnp.arange(len(mine))]
                .set(1.0)
                .reshape(rows[k].shape)
            )
        zero = jax.tree.map(lambda y: jnp.zeros((len(cells), *y.shape[1:])), x)
        after = step(started(equation, zero, dict(zip(names, rows, strict=True))))
        after = equation.wavefields(step(started(equation, after, dict.fromkeys(names, jnp.zeros_like(rows[0])))))
        return jnp.concatenate([after[name].reshape(len(cells), -1) for name in names], axis=1)

    return float(np.sqrt(-np.linalg.eigvals(np.asarray(matrix(0))).real.min()))


# All orders: test_no_frequency_is_above_the_bound_which_is_sharp, and the norm of each derivative above.
@pytest.mark.parametrize("accuracy", [4, 8, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 6))])
@pytest.mark.parametrize("faces", [*(pytest.param(kind, marks=pytest.mark.slow) for kind in ("free", "rigid")), MIXED])
def test_elastic_faces_need_no_smaller_time_step(accuracy, faces):
    shape, spacing = (9, 8), (5.0, 6.0)
    for models in (rough("elastic", shape, 1), rough("elastic", shape, 100)):
        given = dict(zip(("lamb", "mu", "buoyancy"), models, strict=True))
        kinds = (faces,) * 4 if isinstance(faces, str) else faces
        limit = EQUATIONS["elastic"].largest_speed(given, spacing, accuracy, kinds)
        dt = jaxwave.grid.cfl_time_step(limit, spacing)
        equation, _, step, x, _ = settled("elastic", models, spacing, dt, accuracy=accuracy, boundary=faces)
        # Leapfrog is stable up to 2.
        assert largest_frequency(equation, step, x) < 2


@pytest.mark.slow
@pytest.mark.parametrize(("vs", "left"), [(0.6, 1e-4), (0.3015, 0.1)])
def test_a_free_surface_beside_layers_is_stable(vs, left):
    # Poisson's ratios of 0.22 and 0.45; 10,000 steps.
    shape, vp, nt, dt = (24, 30), 2500.0, 10_000, 5e-4
    models = jaxwave.vpvsrho_to_lambmubuoyancy(*(np.full(shape, x) for x in (vp, vs * vp, 2000.0)))
    out = jaxwave.elastic(
        *models, 5.0, dt, boundary=("free", "pml", "pml", "pml"), pml_width=15, pml_freq=FREQ,
        source_amplitudes_y=amplitudes(nt, dt), source_locations_y=[[[2, 8]]], receiver_locations_y=[[[0, 25]]],
    )  # fmt: skip
    early, late = (largest(out.receiver_amplitudes_y[..., cut]) for cut in (slice(1000, 2000), slice(-1000, None)))
    # Waves leave. The layers hold back low frequencies, of slow S waves more than of others, with or without the face.
    assert early < left * largest(out.receiver_amplitudes_y)
    assert late <= early


# ---- surface waves ----

ALPHA, BETA, RHO = 2000.0, 2000.0 / 3**0.5, 2000.0


@pytest.mark.parametrize("accuracy", [4, pytest.param(8, marks=pytest.mark.slow)])
def test_speed_of_a_rayleigh_wave(accuracy):
    # A standing wave, one wavelength on a periodic axis, begins as the mode's velocities without stress.
    n, depth, h, periods = 16, 40, 5.0, 10
    k, c = 2 * np.pi / (n * h), reference.surface_speed(ALPHA, BETA)
    p, s = (k * np.sqrt(1 - (c / speed) ** 2) for speed in (ALPHA, BETA))
    b = 2 * k * p / (k**2 + s**2)
    x, z = h * (np.arange(n) + 0.5), h * (np.arange(depth) + 0.5)
    z_face, x_face = h * np.arange(depth + 1), h * np.arange(n + 1)
    along = ((-k * np.exp(-p * z) + b * s * np.exp(-s * z))[:, None] * np.sin(k * x_face))[None]
    down = ((-p * np.exp(-p * z_face) + b * k * np.exp(-s * z_face))[:, None] * np.cos(k * x))[None]
    along[..., 0] = 0  # the last value stands for it
    dt = jaxwave.grid.cfl_time_step(ALPHA, (h, h))
    nt = int(periods * 2 * np.pi / (k * c * dt))
    models = jaxwave.vpvsrho_to_lambmubuoyancy(*(np.full((depth, n), q) for q in (ALPHA, BETA, RHO)))
    out = jaxwave.elastic(
        *models, h, dt, nt=nt, accuracy=accuracy, boundary=("free", "rigid", "periodic", "periodic"), vy_0=down,
        vx_0=along, receiver_locations_y=[[[0, 0]]],
    )  # fmt: skip
    record, t = np.asarray(out.receiver_amplitudes_y)[0, 0], (np.arange(nt) - 0.5) * dt

    def left(speed):
        waves = np.stack([np.cos(k * speed * t), np.sin(k * speed * t)], 1)
        return np.linalg.lstsq(waves, record, rcond=None)[1][0]

    speeds = c * np.linspace(0.98, 1.02, 401)
    measured = speeds[np.argmin([left(speed) for speed in speeds])]
    # 16 cells per wavelength; the closures are of second order.
    assert abs(measured / c - 1) < 5e-3


def lamb_misfit(h, accuracy):
    """Error of the vertical velocity due to a vertical force on the surface, relative to the largest value."""
    distance, beside, deep = 80.0, 40.0, 60.0
    dt = 1e-4 * h
    nt, source, rows = round(0.2 / dt), round(beside / h), round(deep / h)
    shape = rows, round((distance + 2 * beside) / h)
    record = jaxwave.elastic(
        *jaxwave.vpvsrho_to_lambmubuoyancy(*(np.full(shape, q) for q in (ALPHA, BETA, RHO))), h, dt,
        accuracy=accuracy, boundary=("pml", "free", "pml", "pml"), pml_freq=FREQ,
        source_amplitudes_y=amplitudes(nt, dt, delay=0.06), source_locations_y=[[[rows - 1, source]]],
        receiver_locations_y=[[[rows - 1, source + round(distance / h)]]],
    ).receiver_amplitudes_y[0, 0]  # fmt: skip
    t = (np.arange(nt) - 0.5) * dt
    want = h**2 * reference.lamb(lambda t: wavelet(t, delay=0.06), distance, ALPHA, BETA, RHO, t)
    return largest(record - want) / largest(want)


@pytest.mark.slow
@pytest.mark.parametrize("accuracy", [4, 8])
def test_lambs_problem(accuracy):
    # A Rayleigh wave of 25 Hz has 11, 21 and 43 cells; the receiver is two wavelengths away.
    errors = [lamb_misfit(h, accuracy) for h in (4.0, 2.0, 1.0)]
    assert errors[2] < 0.02
    # The closures are of second order; the next term, and what the layers return, bend it.
    assert np.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.3)


# ---- the call ----

SMALL = dict(grid_spacing=5.0, dt=8e-4, nt=3, pml_freq=FREQ, max_vel=2500.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(boundary="open"), "`boundary` has 'open'; each must be one of 'pml', 'free', 'rigid', 'periodic'"),
        (dict(boundary=["free"]), r"`boundary` must be one word or 4 of them"),
        (dict(boundary=["free", None, None, None], pml_width=[5] * 4), "first face of axis 0 is 'free' .* layer of 5"),
        (dict(boundary=[None] * 3 + ["pml"], pml_width=0), "last face of axis 1 is 'pml' in `boundary` and has 0"),
        (dict(boundary=["periodic", None, None, None]), "`boundary` of axis 0 are .* both must be 'periodic', or none"),
        (dict(boundary=[None, None, "rigid", None], accuracy=8), "axis 1 has 7 cells and a face that is 'rigid'"),
        (
            dict(boundary=["free", None, None, None], pml_width=0, wavefield_0=np.ones((1, 8, 7)), origin=[2, 0]),
            "first face of axis 0 is 'free' and stands at the model's edge, but `origin`",
        ),
    ],
)
def test_wrong_faces_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        jaxwave.scalar(np.full((12, 7), 2000.0), **{**SMALL, **arguments})


def test_which_faces_there_are():
    v, mixed = np.full((12, 14), 2000.0), ["free", "pml", None, None]
    elastic = jaxwave.vpvsrho_to_lambmubuoyancy(v, 0.5 * v, v)
    for models, function, plain in (((v,), jaxwave.scalar, None), (elastic, jaxwave.elastic, "free")):
        for given, width, kinds, widths in (
            (None, 6, ("pml",) * 4, (6,) * 4),
            (None, (6, 0, 0, 5), ("pml", plain, plain, "pml"), (6, 0, 0, 5)),
            ("rigid", 20, ("rigid",) * 4, (0,) * 4),
            (mixed, 6, ("free", "pml", "pml", "pml"), (0, 6, 6, 6)),
            (mixed, (0, 3, 0, 5), ("free", "pml", plain, "pml"), (0, 3, 0, 5)),
        ):
            # What stands there can be given again.
            for faces, pml_width in ((given, width), (kinds, widths)):
                call = functools.partial(function, *models, **SMALL, boundary=faces, pml_width=pml_width)
                info = jax.eval_shape(call).info
                assert (info.boundary, info.pml_width) == (kinds, widths)


def test_part_of_the_model_reaches_its_reflecting_faces():
    survey = dict(
        source_amplitudes=amplitudes(60, 8e-4), source_locations=[[[12, 15]]], receiver_locations=[[[14, 22]]],
        grid_spacing=5.0, dt=8e-4, pml_freq=FREQ, pml_width=5, max_vel=2500.0,
    )  # fmt: skip
    out = jaxwave.scalar(layered((30, 40)), **survey, survey_pad=4, boundary=["free", "pml", "pml", "rigid"])
    assert out.info.region == ((0, 11), (19, 40))


def test_what_lies_on_a_face_stays_zero_there():
    # Whatever an initial wavefield says, a velocity is zero on a rigid face, and the first value of a periodic axis is
    # not used.
    shape, rng = (9, 10), np.random.default_rng(0)
    fields = dict(vy_0=rng.standard_normal((1, 10, 10)), vx_0=rng.standard_normal((1, 9, 11)))
    v = layered(shape)
    out = jaxwave.acoustic(v, v, **SMALL, boundary=["rigid", "rigid", "periodic", "periodic"], **fields)
    assert not np.asarray(out.vy_0)[:, [0, -1]].any() and not np.asarray(out.vx_0)[..., 0].any()
    assert np.asarray(out.vx_0)[..., -1].all()


@pytest.mark.parametrize("last", [False, True])
def test_points_between_cells_fold_at_a_free_face(last):
    # A source and a receiver a quarter of a cell inside the face of a wavefield that is antisymmetric about it: those
    # of the model without the face, with the source's image.
    n, m, dt, depth = 20, 24, 6e-4, 0.25
    row = n - 0.5 - depth if last else depth - 0.5
    f, side = amplitudes(150, dt), dict(accuracy=8, pml_width=6, pml_freq=FREQ, max_vel=2000.0)
    source, receiver = [[[row, 8.5]]], [[[row + (-2.5 if last else 2.5), 14.25]]]
    plane = n - 0.5 if last else -0.5
    where = dict(
        mirror=[0, -1, 0, 0] if last else [-1, 0, 0, 0],
        mirror_plane=[None, plane, None, None] if last else [plane] + [None] * 3,
    )

    def run(rows, sources, receivers, amplitudes_, **faces):
        out = jaxwave.scalar(
            np.full((rows, m), 2000.0), 5.0, dt, source_amplitudes=sources.source(amplitudes_),
            source_locations=sources.cells, receiver_locations=receivers.cells, **side, **faces,
        )  # fmt: skip
        return receivers.receiver(out.receiver_amplitudes)

    points = [jaxwave.Hicks(np.array(x), (n, m), **where) for x in (source, receiver)]
    got = run(n, *points, f, boundary=("pml", "free", None, None) if last else ("free", None, None, None))
    shift = 0 if last else n
    here = [[row + shift, 8.5], [2 * (n - 0.5) - row - shift, 8.5]]
    large = [jaxwave.Hicks(np.array(x), (2 * n, m)) for x in ([here], [[[receiver[0][0][0] + shift, 14.25]]])]
    want = run(2 * n, *large, np.concatenate([f, -f], axis=1))
    # The same weights, summed before or after.
    reference.assert_close(got, want, 1e-11)
