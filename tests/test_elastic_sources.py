"""Moment-tensor sources and strain-rate receivers of the elastic propagator."""

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from contract import Case
from helpers import FREQ, bitwise_equal, largest, layered, wavelet
from test_acoustic_physics import derivative, injection
from test_elastic_physics import ALPHA, BETA, RHO, homogeneous
from test_structure import compiled, cpu_only, loop_lines, size_of

import jaxwave
from jaxwave.boundary import Grid
from jaxwave.equations.staggered import Derivative, components, tensor

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


@pytest.mark.parametrize(
    ("ndim", "n", "nt", "away"), [(2, 49, 600, (9, -6)), pytest.param(3, 33, 450, (8, 9, -6), marks=pytest.mark.slow)]
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


def test_strain_rate_of_a_double_couple():
    h, dt, nt, n, away = 5.0, 3e-4, 500, 49, np.array([9, -6])
    kinds = ("yy", "xy", "xx")
    out = jaxwave.elastic(
        *homogeneous((n, n)), h, dt, accuracy=8, pml_freq=FREQ, sources=in_shots(["xy"], injection(nt, dt), [24, 24]),
        receivers=dict.fromkeys(kinds, everywhere(24 + away, 1)),
    )  # fmt: skip
    t, e = np.arange(nt) * dt - dt / 2, 0.05
    wanted = {}
    for kind in kinds:
        place = away + half(kind, 2) - half("xy", 2)
        # Central differences over a tenth of a cell: 1e-4 of a wave of 60 m.
        slope = np.array(
            [
                (analytic("xy", 2, h, place + step, t) - analytic("xy", 2, h, place - step, t)) / (2 * e * h)
                for step in e * np.eye(2)
            ]
        )
        i, j = tensor(2)[kind]
        wanted[kind] = (slope[i, j] + slope[j, i]) / 2
    scale = max(map(largest, wanted.values()))
    for kind, want in wanted.items():
        assert largest(getattr(out, f"receiver_amplitudes_{kind}")[0, 0] - want) < 5e-3 * scale


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
def test_rows_of_a_derivative_are_those_of_its_matrix(accuracy, half_a_cell):
    """Applied to the identity, between layers, it gives the entries that receivers take their weights from."""
    grid = Grid((3, 21), (5.0, 7.0), accuracy, (0, 0, 2, 3))
    d = Derivative(grid, 1, half_a_cell)
    n = grid.padded[1]
    identity = jnp.broadcast_to(jnp.eye(n)[:, None, :], (n, grid.padded[0], n))
    want = d.pad(d.difference(identity, d.cells), d.cells)[:, 0].T
    dense = np.zeros((n, n))
    rows, columns, weights = d.entries()
    np.add.at(dense, (rows, columns), weights)
    np.testing.assert_array_equal(dense, want)
    x = np.random.default_rng(1).standard_normal((2, *grid.padded))
    cells = tuple(np.array(c) for c in ([[4, 4, 5], [5, 5, 4]], [[7, 12, 22], [9, 8, 15]]))
    near, weight = d.stencil(cells, x.dtype)
    shot = np.arange(2)[:, None]
    got = (weight * x[shot, near[0], near[1]].reshape(weight.shape)).sum(2)
    np.testing.assert_allclose(got, np.einsum("ij,szj->szi", dense, x)[shot, cells[0], cells[1]], rtol=1e-13)


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
    h, dt, nt, n, shape = 5.0, 3e-4, 450, 49, (49, 49)
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
    # Interpolation: 1e-3. The mean of four corners: (k h)^2 / 8 along each axis, of waves of 60 m.
    for out, limit in zip(records, (1e-2, 6e-2), strict=True):
        for kind, want in wanted.items():
            got = points[kind].receiver(getattr(out, f"receiver_amplitudes_{kind}"))[0, 0]
            assert largest(got - want) < limit * max(map(largest, wanted.values()))
    # In a corner, interpolation is nothing.
    exact = jaxwave.Hicks([[[24.5, 24.5]]], shape, offset=0.5)
    assert exact.cells.tolist() == [[[24, 24]]]
    np.testing.assert_array_equal(exact.source(f), f)
