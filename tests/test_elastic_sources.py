"""Moment-tensor sources and strain-rate receivers of the elastic propagator."""

import re

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from contract import Case
from helpers import FREQ, bitwise_equal, dense, largest, wavelet
from test_acoustic_physics import derivative, injection
from test_elastic_physics import ALPHA, BETA, RHO, homogeneous
from test_structure import compiled, cpu_only, loop_lines, size_of

import jaxwave
from jaxwave._numerics.boundary import PaddedGrid
from jaxwave._numerics.derivative import Derivative
from jaxwave.equations.staggered import components, tensor

planar_and_slow_3d = pytest.mark.parametrize("ndim", [2, pytest.param(3, marks=pytest.mark.slow)])


def matrix(kind, ndim):
    """The moment tensor [axis, axis] of a kind of source."""
    if kind == "p":
        return np.eye(ndim)
    i, j = tensor(ndim)[kind]
    found = np.zeros((ndim, ndim))
    found[i, j] = found[j, i] = 1
    return found


def half(kind, ndim):
    """Where a kind of source or receiver lies within its cell [axis], in cells."""
    axes = tensor(ndim).get(kind, tuple(a for a, name in enumerate(components(ndim)) if name == kind))
    return np.array([0.5 * (a in axes and axes.count(a) < 2) for a in range(ndim)])


def in_shots(kinds, f, place):
    """The argument ``sources`` for one source of each kind at one cell, each in a shot of its own."""
    used = {kind: np.zeros((len(kinds), 1, f.shape[-1])) for kind in kinds}
    for shot, kind in enumerate(kinds):
        used[kind][shot] = f[0]
    return {kind: (x, everywhere(place, len(kinds))) for kind, x in used.items()}


def everywhere(places, n_shots):
    """Places [point, axis] in every shot."""
    return np.tile(np.atleast_2d(places), (n_shots, 1, 1))


def analytic(kind, ndim, h, away, t):
    """Velocity [component, time] in a full space due to a source cell of a kind, ``away`` [axis] in cells."""
    solution = reference.line_moment if ndim == 2 else reference.moment
    return h**ndim * solution((wavelet, derivative), h * np.asarray(away), matrix(kind, ndim), ALPHA, BETA, RHO, t)


# ---- analytic solutions ----


def moment_errors(ndim, h, dt, nt, n, away, accuracy=8):
    """Of velocities due to a normal and an off-diagonal component and an explosion, over the largest value."""
    centre, kinds, names = np.full(ndim, n // 2), ("xx", "x" + components(ndim)[0], "p"), components(ndim)
    out = jaxwave.elastic(
        *homogeneous((n,) * ndim), h, dt, accuracy=accuracy, pml_freq=FREQ,
        sources=in_shots(kinds, injection(nt, dt), centre),
        receivers=dict.fromkeys(names, everywhere(centre + away, len(kinds))),
    )  # fmt: skip
    t, errors = np.arange(nt) * dt - dt / 2, []
    for shot, kind in enumerate(kinds):
        got = [np.asarray(getattr(out, f"receiver_amplitudes_{name}")[shot, 0]) for name in names]
        want = [
            analytic(kind, ndim, h, away + half(name, ndim) - half(kind, ndim), t)[axis]
            for axis, name in enumerate(names)
        ]
        errors.append(largest(np.subtract(got, want)) / largest(np.array(want)))
    return errors


@pytest.mark.optimised
@pytest.mark.parametrize(
    ("ndim", "n", "nt", "away"), [(2, 49, 600, (9, -6)), pytest.param(3, 27, 430, (6, 7, -5), marks=pytest.mark.slow)]
)
def test_moments_in_a_homogeneous_medium(ndim, n, nt, away):
    # As for a force: 2e-3 are found.
    errors = moment_errors(ndim, 5.0, 3e-4, nt, n, away)
    assert max(errors) < 4e-3, errors


@pytest.mark.slow
def test_moments_converge():
    # With half the cells and steps, at order 4: better than the second order of the time steps.
    coarse, fine = (moment_errors(2, 10.0 / k, 6e-4 / k, 300 * k, 24 * k + 1, (5 * k, -4 * k), 4) for k in (1, 2))
    assert all(a > 8 * b for a, b in zip(coarse, fine, strict=True)), (coarse, fine)
    assert max(fine) < 2e-2


# ---- the discrete scheme ----


@planar_and_slow_3d
def test_equal_normal_components_are_an_explosion(ndim):
    place = [4, 5, 6][:ndim]
    f = np.random.default_rng(0).standard_normal((1, 1, 60))
    common = dict(
        grid_spacing=5.0, dt=4e-4, pml_width=5, pml_freq=FREQ,
        receivers=dict.fromkeys(("p", *components(ndim)), everywhere(np.add(place, 2), 1)),
    )  # fmt: skip
    models = homogeneous((12,) * ndim)
    whole, parts = (
        jaxwave.elastic(*models, sources={kind: (f, everywhere(place, 1)) for kind in kinds}, **common)
        for kinds in (("p",), [2 * name for name in components(ndim)])
    )
    assert largest(whole.receiver_amplitudes_p) > 0
    reference.assert_close(contract.records(parts), contract.records(whole), 1e-14)


@pytest.mark.parametrize("accuracy", [2, 4, 6, 8])
@pytest.mark.parametrize("half_a_cell", [False, True])
@pytest.mark.parametrize("closures", [(None, None), ("pinned", "loose"), ("periodic", "periodic")])
def test_rows_of_a_derivative_are_those_of_its_matrix(accuracy, half_a_cell, closures):
    """Applied to the identity it gives the entries that receivers take their weights from, at faces too."""
    grid = PaddedGrid((3, 21), (5.0, 7.0), accuracy, (2, 3, 0, 0))
    d = Derivative(grid, 1, half_a_cell, closures)
    n, held = grid.padded[1], np.zeros(grid.padded[1])
    held[d.back.cells.start : d.back.cells.stop] = 1
    identity = np.broadcast_to(np.eye(n)[:, None, :], (n, grid.padded[0], n))
    want = jax.jit(lambda x: d.value(x, ()))(identity)[:, 0].T
    rows = dense(d)
    np.testing.assert_allclose(rows, np.asarray(want) * held, rtol=0, atol=1e-15)
    x = np.random.default_rng(1).standard_normal((2, *grid.padded)) * held
    first, last = d.cells.start, d.cells.stop - 1
    cells = np.array([[4, 4, 5], [5, 5, 4]]), np.array([[first, 12, last], [last - 1, 8, first + 1]])
    near, weight = d.stencil(cells, x.dtype)
    shot = np.arange(2)[:, None]
    got = (weight * x[shot, near[0], near[1]].reshape(weight.shape)).sum(2)
    np.testing.assert_allclose(got, np.einsum("ij,szj->szi", rows, x)[shot, cells[0], cells[1]], rtol=1e-13)


@planar_and_slow_3d
def test_strain_rate_is_that_of_the_recorded_velocity(ndim):
    """Of the same sample, so dt/2 before its time: from the first one, which is the initial velocity's."""
    shape, spacing, names, accuracy = (14, 15, 16)[-ndim:], (5.0, 6.0, 4.0)[:ndim], components(ndim), 4
    rng = np.random.default_rng(2)
    initial = {f"v{name}_0": rng.standard_normal((1, *shape)) for name in names}
    cell = np.array([6, 7, 8])[:ndim]
    reach = np.arange(-2, 3)
    around = np.stack(np.meshgrid(*[reach] * ndim, indexing="ij"), -1)
    models = [x * (1 + 0.1 * rng.random(shape)) for x in homogeneous(shape)]
    out = jaxwave.elastic(
        *models, spacing, 3e-4, nt=12, accuracy=accuracy, pml_width=5, pml_freq=FREQ, **initial,
        receivers=dict.fromkeys(names, (cell + around).reshape(1, -1, ndim))
        | dict.fromkeys(tensor(ndim), everywhere(cell, 1)),
    )  # fmt: skip
    v = [np.asarray(getattr(out, f"receiver_amplitudes_{k}"))[0].reshape(*around.shape[:-1], 12) for k in names]

    def slope(component, axis):
        """dv_component / dx_axis, at the cell or half a cell after it."""
        line = np.moveaxis(v[component], axis, 0)[(slice(None), *(2,) * (ndim - 1))]
        w, ahead = np.array([1 / 24, -9 / 8, 9 / 8, -1 / 24]) / spacing[axis], component != axis
        return np.tensordot(w, line[0 + ahead : 4 + ahead], 1)

    for kind, (i, j) in tensor(ndim).items():
        want = (slope(i, j) + slope(j, i)) / 2
        assert largest(want[0]) > 0
        np.testing.assert_allclose(
            getattr(out, f"receiver_amplitudes_{kind}")[0, 0], want, rtol=0, atol=1e-13 * largest(want)
        )


@planar_and_slow_3d
def test_reciprocity_across_components(ndim):
    """A moment's work is q_ij e_ij summed over both orders of i and j: twice one of them off the diagonal."""
    case = Case("elastic", ndim)
    kinds = case.physics.source_kinds(ndim)
    found = contract.responses(case)
    work = {kind: 1 if i == j else 2 for kind, (i, j) in tensor(ndim).items()}

    def response(direction, source, receiver):
        if receiver == "p":  # what a pressure rate works on: the divergence
            return sum(found[2 * name][direction, kinds.index(source)] for name in components(ndim))
        return work.get(receiver, 1) * found[receiver][direction, kinds.index(source)]

    for a in kinds:
        for b in kinds:
            there, back = response(0, a, b), response(1, b, a)
            if (a in components(ndim)) != (b in components(ndim)):
                # A force is the rate of an impulse, q that of a moment: one more derivative, and half a step to half
                # a step either way.
                force_first = a in components(ndim)
                moved = np.diff(back if force_first else there)[1:] / case.dt
                there, back = (there[1:-1], moved) if force_first else (moved, back[1:-1])
            assert largest(there) > 0
            # Rounding.
            reference.assert_close(there, back, 1e-9)


# ---- between the cells, in part of a model ----


def test_between_the_cells():
    """A double couple in the middle of a cell: by interpolation, and of its four corners; strain along a fibre."""
    h, dt, nt, shape = 5.0, 3e-4, 450, (49, 49)
    f, middle = injection(nt, dt), np.array([24, 24])
    point = np.array([33.4, 17.7])
    source = jaxwave.Hicks(middle[None, None].astype(float), shape, offset=0.5)
    points = {"xx": jaxwave.Hicks(point[None, None], shape), "xy": jaxwave.Hicks(point[None, None], shape, offset=0.5)}
    corners = middle - np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    records = [
        jaxwave.elastic(
            *homogeneous(shape), h, dt, accuracy=8, pml_freq=FREQ, sources={"xy": given},
            receivers={kind: x.cells for kind, x in points.items()},
        )
        for given in (
            (source.source(f), source.cells),
            (np.repeat(f, 4, axis=1) / 4, corners[None]),
        )
    ]  # fmt: skip
    t, e = np.arange(nt) * dt - dt / 2, 0.05

    def slope(component, axis):
        step = e * np.eye(2)[axis]
        up, down = (analytic("xy", 2, h, point - middle + s * step, t)[component] for s in (1, -1))
        return (up - down) / (2 * e * h)

    wanted = {"xx": slope(1, 1), "xy": (slope(0, 1) + slope(1, 0)) / 2}
    # As on the grid; the mean of four corners loses (k h)^2 / 8 along each axis, of waves of 60 m and shorter.
    for out, limit in zip(records, (4e-3, 8e-2), strict=True):
        for kind, want in wanted.items():
            got = points[kind].receiver(getattr(out, f"receiver_amplitudes_{kind}"))[0, 0]
            assert largest(got - want) < limit * max(map(largest, wanted.values()))
    # In a corner, interpolation is nothing.
    exact = jaxwave.Hicks([[[24.5, 24.5]]], shape, offset=0.5)
    assert exact.cells.tolist() == [[[24, 24]]]
    np.testing.assert_array_equal(exact.source(f), f)


@pytest.mark.optimised
@pytest.mark.parametrize("name", ["acoustic", pytest.param("elastic", marks=pytest.mark.slow)])
def test_part_of_a_model_is_the_model_that_was_cut_out(name):
    """With sources and receivers of all kinds: records and derivatives, and going on from the state of a part."""
    physics, shape, nt, start, stop = contract.EQUATIONS[name], (20, 24), 24, (5, 4), (20, 17)
    rng = np.random.default_rng(4)
    models = {k: rng.uniform(*contract.RANGES[k], shape) for k in physics.models}
    kinds = physics.source_kinds(2)
    f = {kind: rng.standard_normal((1, 1, nt)) for kind in kinds}
    settings = dict(
        grid_spacing=5.0, dt=4e-4, pml_width=(4, 0, 3, 5), pml_freq=FREQ,
        max_vel=1.01 * physics.largest_speed(models, (5.0, 5.0), 4),
    )  # fmt: skip

    def run(models, moved, steps, **options):
        places = np.array([[[9, 9]]]) - moved
        return getattr(jaxwave, name)(
            **models, **settings, **options, sources={k: (x[..., steps], places) for k, x in f.items()},
            receivers=dict.fromkeys(kinds, np.array([[[12, 11], [7, 13]]]) - moved),
        )  # fmt: skip

    def part(models, steps=slice(None), **options):
        return run(models, 0, steps, survey_pad=[2, None, 5, 3], **options)

    def cut(models):
        return run({k: x[start[0] : stop[0], start[1] : stop[1]] for k, x in models.items()}, start, slice(None))

    def misfit(function, models):
        found = contract.records(function(models))
        return sum(jnp.sum((x / scale[name]) ** 2) for name, x in found.items())

    got, want = part(models), cut(models)
    assert (got.info.region.start, got.info.region.stop) == (start, stop)
    assert bitwise_equal((contract.records(got), got.state), (contract.records(want), want.state))
    assert len(contract.records(got)) == len(kinds) and all(largest(x) > 0 for x in contract.records(got).values())
    scale = {name: largest(x) for name, x in contract.records(got).items()}
    gradients = [
        jax.jit(jax.grad(lambda m, function=function: misfit(function, m)))(models) for function in (part, cut)
    ]
    # The same program, but for what cuts the region out.
    reference.assert_close(*gradients, 1e-13)
    first = part(models, slice(0, 10))
    rest = part(models, slice(10, None), initial_state=first.state)
    joined = [
        np.concatenate(x, -1) for x in zip(*(contract.records(o).values() for o in (first, rest)), strict=True)
    ]  # fmt: skip
    assert bitwise_equal((joined, rest.state), (list(contract.records(got).values()), got.state))


# ---- what cannot be, and what it costs ----


def beside_a_fluid(cell, mu=None, **options):
    """A run with a source of kind "xy" in a model whose first five rows are fluid, and no layer at the last face."""
    lamb, buoyancy = np.full((12, 12), RHO * (ALPHA**2 - 2 * BETA**2)), np.full((12, 12), 1 / RHO)
    solid = np.where(np.arange(12)[:, None] < 5, 0.0, RHO * BETA**2 + 0 * lamb)
    f = np.random.default_rng(5).standard_normal((1, 1, 20))
    return jaxwave.elastic(
        lamb, solid if mu is None else mu(solid), buoyancy, 5.0, 4e-4, pml_width=[4, 0, 4, 4], pml_freq=FREQ,
        max_vel=ALPHA, source_amplitudes_xy=f, source_locations_xy=[[cell]], receiver_locations_p=[[[7, 7]]], **options,
    )  # fmt: skip


@pytest.mark.parametrize("cell", [[2, 3], [4, 3], [11, 3]])
def test_a_moment_without_rigidity_is_refused(cell):
    with pytest.raises(ValueError, match=r"kind 'xy' act between .* axes 0 and 1, where `mu` must be positive; around"):
        beside_a_fluid(cell)
    # Where mu is not known, such a source does nothing.
    out = jax.jit(lambda one: beside_a_fluid(cell, lambda mu: one * mu))(1.0)
    assert not np.asarray(out.receiver_amplitudes_p).any() and not np.asarray(out.sigmaxy_0).any()


def test_a_moment_beside_layers_and_fluids():
    for cell in ([5, 3], [10, 11], [jaxwave.IGNORE_LOCATION] * 2):
        out = beside_a_fluid(cell)
        assert (largest(out.receiver_amplitudes_p) > 0) == (cell[0] >= 0)
    # One model for each shot, each with a fluid elsewhere.
    lamb, mu, buoyancy = (np.asarray(x) for x in homogeneous((12, 12)))
    rows = np.arange(12)[:, None]
    mu = np.stack([np.where(rows < 5, 0, mu), np.where(rows > 6, 0, mu)])
    given = dict(source_amplitudes_xy=np.ones((2, 1, 3)), pml_width=4, pml_freq=FREQ)
    jaxwave.elastic(lamb, mu, buoyancy, 5.0, 4e-4, source_locations_xy=[[[8, 3]], [[3, 3]]], **given)
    with pytest.raises(ValueError, match=r"around cell \[6, 3\] \(shot 1, index 0\) .* \(1 of them\)"):
        jaxwave.elastic(lamb, mu, buoyancy, 5.0, 4e-4, source_locations_xy=[[[8, 3]], [[6, 3]]], **given)


@pytest.mark.parametrize(("name", "kind"), [("elastic", "zz"), ("elastic", "yx"), ("acoustic", "xx")])
def test_unknown_components_are_refused(name, kind):
    models = (np.full((9, 9), 2e9), np.full((9, 9), 1e9), np.full((9, 9), 5e-4))[: 2 if name == "acoustic" else 3]
    with pytest.raises(ValueError, match=f"there is no receiver of kind '{kind}' in 2 dimensions; use 'p', 'y', 'x'"):
        getattr(jaxwave, name)(*models, 5.0, 4e-4, nt=3, receivers={kind: [[[1, 1]]]}, max_vel=1e9)


@pytest.mark.hlo
@cpu_only
def test_strain_rates_copy_nothing_in_the_loops():
    shape, n, nt = (64, 70), 2, 64  # the records are smaller than a slab
    models = tuple(np.full(shape, x, np.float32) for x in (2e9, 1e9, 5e-4))
    kinds = ("yy", "xy", "xx")
    survey = dict(
        sources={k: (np.ones((1, 1, nt), np.float32), np.full((1, 1, 2), 9)) for k in kinds}, pml_width=8,
        receivers=dict.fromkeys(kinds, np.arange(n)[None, :, None] + np.zeros((1, 1, 2), int)), pml_freq=20.0,
        max_vel=2000.0,
    )  # fmt: skip

    def misfit(models):
        out = jaxwave.elastic(*models, 5.0, 8e-4, **survey)
        return sum(jnp.sum(getattr(out, f"receiver_amplitudes_{k}") ** 2) for k in kinds)

    lines = loop_lines(compiled(jax.grad(misfit), models).as_text())
    copies = [line for line in lines if re.search(r" copy\((?!%transpose)", line)]
    assert [line.strip() for line in copies if size_of(line) >= 8 * min(shape)] == []
