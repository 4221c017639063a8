"""Off-grid sources and receivers: the weights, the two maps, what they cost, and what is refused."""

import sys
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import largest

from jaxwave import IGNORE_LOCATION, Hicks
from jaxwave._interpolation.sinc import DIPOLE_BETA, MONOPOLE_BETA

# The largest errors that Hicks states for wavenumbers up to pi / 2 per cell and half widths of 1 to 8.
MONOPOLE_ERROR = (1.72e-1, 2.32e-2, 4.79e-3, 1.34e-3, 2.43e-4, 4.88e-5, 9.79e-6, 2.19e-6)
DIPOLE_ERROR = (1.57, 1.97e-1, 3.39e-2, 6.81e-3, 1.52e-3, 2.46e-4, 5.29e-5, 1.40e-5)
K_MAX = np.pi / 2

SHAPES = {1: (60,), 2: (24, 26), 3: (14, 15, 16)}


def scattered(ndim, n_points, n_shots=2, seed=0, margin=4):
    """Random points, as deep in the model as a window needs."""
    rng = np.random.default_rng(seed)
    return rng.uniform(margin, np.array(SHAPES[ndim]) - 1 - margin, (n_shots, n_points, ndim))


def dense(hicks, shape):
    """The weights as an array [shot, point, *cells]."""
    out = np.zeros((*hicks.weights.shape[:2], *shape))
    weights, slots, cells = (np.asarray(x) for x in (hicks.weights, hicks.slots, hicks.cells))
    shot, point, entry = np.nonzero(weights)
    where = cells[shot, slots[shot, point, entry]]
    np.add.at(out, (shot, point, *where.T), weights[shot, point, entry])
    return out


def spectral_error(half_width, beta, dipole, k):
    """Largest error of plane waves exp(i k x) at points throughout a cell, on it too, and of their derivatives."""
    x = 20 + np.linspace(0, 1, 41)
    hicks = Hicks(x[None, :, None], [42], half_width=half_width, beta=beta, dipole_axis=0 if dipole else None)
    waves = np.exp(1j * np.arange(42)[:, None] * k)
    want = np.exp(1j * x[:, None] * k) * (1j * k if dipole else 1)
    return largest(dense(hicks, [42])[0] @ waves - want)


# ---- weights ----


@pytest.mark.parametrize("half_width", range(1, 11))
def test_error_is_what_the_method_promises(half_width):
    k = np.linspace(0, K_MAX, 60)
    for dipole, stated in ((False, MONOPOLE_ERROR), (True, DIPOLE_ERROR)):
        # From there on his are limited by something else than the window: 8e-7 and 1e-5 for a half width of 9.
        limit = stated[half_width - 1] if half_width <= len(stated) else stated[-1] / 4
        assert spectral_error(half_width, None, dipole, k) <= limit * 1.01  # stated with three digits
        for fraction in (0.5, 0.7):
            assert spectral_error(half_width, None, dipole, np.array([fraction * K_MAX])) <= limit * 1.01


@pytest.mark.parametrize("half_width", range(1, 11))
def test_no_other_window_does_better(half_width):
    k = np.linspace(0, K_MAX, 60)
    for dipole, table in ((False, MONOPOLE_BETA), (True, DIPOLE_BETA)):
        best = spectral_error(half_width, None, dipole, k)
        for other in (-0.5, -0.1, 0.1, 0.5):
            assert spectral_error(half_width, table[half_width - 1] + other, dipole, k) > best


def test_plane_waves_in_every_direction():
    shape, points = SHAPES[3], scattered(3, 40, n_shots=1)
    k = np.array([0.6, -0.5, 0.7]) * K_MAX
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    plain = dense(Hicks(points, shape), shape)[0]
    want = np.exp(1j * points[0] @ k)
    # Errors of the axes add up, each at most that of the table.
    assert largest(np.tensordot(plain, np.exp(1j * grid @ k), 3) - want) <= 3 * MONOPOLE_ERROR[3]
    bounds = DIPOLE_ERROR[3] + 2 * MONOPOLE_ERROR[3] * abs(k)
    for axis in range(3):
        dipoles = dense(Hicks(points, shape, dipole_axis=axis), shape)[0]
        assert largest(np.tensordot(dipoles, np.exp(1j * grid @ k), 3) - 1j * k[axis] * want) <= bounds[axis]
    directions = np.random.default_rng(2).uniform(-1, 1, points.shape)
    dipoles = dense(Hicks(points, shape, dipole_direction=directions), shape)[0]
    errors = abs(np.tensordot(dipoles, np.exp(1j * grid @ k), 3) - 1j * (directions[0] @ k) * want)
    assert (errors <= abs(directions[0]) @ bounds).all()


@pytest.mark.parametrize("ndim", SHAPES)
def test_whole_coordinates_take_one_cell(ndim):
    shape = SHAPES[ndim]
    points = np.random.default_rng(1).integers(0, shape, (2, 5, ndim))  # the model's edge included
    hicks = Hicks(points, shape)
    assert hicks.weights.shape == (2, 5, 1) and (hicks.weights == 1).all()
    for shot in range(2):
        assert (hicks.cells[shot][hicks.slots[shot, :, 0]] == points[shot]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_moves_no_point_off_the_grid(dtype):
    x = np.arange(4, 1000, dtype=dtype)[None, :, None] * dtype(0.1)
    assert (x / dtype(0.1) != np.rint(x / dtype(0.1))).any()
    assert Hicks(x / dtype(0.1), [1000]).weights.shape == (1, 996, 1)
    assert Hicks(np.full((1, 1, 1), dtype(0.3) / dtype(0.1) + dtype(0.5)), [8], offset=0.5).weights.shape == (1, 1, 1)
    assert Hicks(np.full((1, 1, 1), 20 + 1e-12), [40]).weights.shape == (1, 1, 8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_coordinates_where_they_are_traced(dtype):
    points = np.random.default_rng(1).integers(4, 10, (1, 5, 2)).astype(dtype)
    hicks = jax.jit(lambda x: Hicks(x, (14, 14)))(points)
    assert hicks.weights.dtype == dtype
    assert set(np.unique(hicks.weights)) == {0.0, 1.0}
    cells = np.asarray(hicks.cells)[0][np.asarray(hicks.weights).ravel() == 1]
    assert (cells == points[0]).all()


def test_dipole_on_a_cell():
    hicks = Hicks([[[20.0]]], [40], dipole_axis=0)
    weights = dense(hicks, [40])[0, 0]
    assert weights[20] == 0
    assert (weights[21:25] == -weights[19:15:-1]).all() and weights[21] > 0
    assert np.count_nonzero(weights) == 8


@pytest.mark.parametrize("ndim", SHAPES)
def test_directions_of_dipoles_add_up(ndim):
    """Each component times the derivative along its axis, of points between cells, on cells and at mirrors."""
    shape, options = SHAPES[ndim], dict(mirror=[-1, 1] * ndim)
    points = scattered(ndim, 6, margin=1)
    points[0, 1:3, -1], points[0, 2:4, 0] = 6, 7
    points[1, 3], points[1, 4] = 5, IGNORE_LOCATION
    directions = np.random.default_rng(7).standard_normal(points.shape)
    directions[0, 2], directions[1, 2], directions[1, 3] = 0, np.eye(ndim)[0], np.eye(ndim)[-1]

    hicks = Hicks(points, shape, dipole_direction=directions, **options)
    axes = [dense(Hicks(points, shape, dipole_axis=axis, **options), shape) for axis in range(ndim)]
    want = sum(x * directions[..., i].reshape(2, 6, *(1,) * ndim) for i, x in enumerate(axes))
    assert largest(dense(hicks, shape) - want) <= 4e-15
    assert (dense(hicks, shape)[0, 2] == 0).all()
    traced = jax.jit(lambda x, d: Hicks(x, shape, dipole_direction=d, **options))(points, directions)
    partly = jax.jit(lambda d: Hicks(points, shape, dipole_direction=d, **options))(directions)
    for other in (traced, partly):
        assert largest(dense(other, shape) - want) <= 4e-15
    assert hicks.rows.along.shape[-1] == min(ndim, 2)  # terms: the last axis, and all others together


@pytest.mark.parametrize("axis", [0, 1])
def test_a_direction_along_an_axis_is_that_axis(axis):
    points = scattered(2, 5)
    points[:, 1] = np.rint(points[:, 1])
    by_axis = Hicks(points, SHAPES[2], dipole_axis=axis)
    by_vector = Hicks(points, SHAPES[2], dipole_direction=np.eye(2, dtype=int)[axis])
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), by_axis, by_vector))
    nothing = Hicks(points, SHAPES[2], dipole_direction=[0, 0])
    assert nothing.cells.shape == (2, 1, 2) and (nothing.weights == 0).all()


@pytest.mark.slow
def test_directions_can_be_found():
    """Records are linear in the direction, and so their derivative along another one is the record in that one."""
    points, shape = scattered(3, 4), SHAPES[3]
    field = np.random.default_rng(8).standard_normal(shape)
    first, second = np.random.default_rng(9).standard_normal((2, *points.shape))

    def record(x, **dipole):
        hicks = Hicks(x, shape, **dipole)
        cells = np.moveaxis(np.maximum(hicks.cells, 0), -1, 0)  # ignored ones are anywhere
        return hicks.receiver(jnp.asarray(field[tuple(cells)])[:, :, None])

    def directed(d):
        return record(points, dipole_direction=d)

    def slopes(**dipole):
        return jax.grad(lambda x: jnp.sum(record(x, **dipole)))(points)

    got = jax.jit(lambda d, change: jax.jvp(directed, (d,), (change,))[1])(first, second)
    assert largest(got - directed(second)) <= 1e-13 * largest(got)
    by_axis = sum(first[..., axis, None] * slopes(dipole_axis=axis) for axis in range(3))
    assert largest(slopes(dipole_direction=first) - by_axis) <= 1e-13 * largest(by_axis)  # rounding of 512 terms


@pytest.mark.parametrize("dipole_axis", [None, 1])
def test_shift_by_whole_cells(dipole_axis):
    points = np.array([[[7.25, 6.5], [6.0, 7.875]]])
    hicks, moved = (Hicks(points + s, (20, 20), dipole_axis=dipole_axis) for s in (0, 5))
    assert (hicks.weights == moved.weights).all()
    assert (hicks.cells + 5 == moved.cells).all()


def test_offset_is_where_the_field_lives():
    """A field at (z + 1/4, x + 1/2), sampled from a wave, gives the wave at the points themselves."""
    points, k = scattered(2, 20, n_shots=1, margin=5), np.array([0.3, 0.4])
    wave = np.exp(1j * ((np.arange(24)[:, None] + 0.25) * k[0] + (np.arange(26)[None, :] + 0.5) * k[1]))
    weights = dense(Hicks(points, SHAPES[2], offset=[0.25, 0.5]), SHAPES[2])[0]
    assert largest(np.tensordot(weights, wave, 2) - np.exp(1j * points[0] @ k)) <= 2 * MONOPOLE_ERROR[3]
    shifted = Hicks(points - np.array([0.5, 0.5]), SHAPES[2])
    assert (Hicks(points, SHAPES[2], offset=0.5).weights == shifted.weights).all()


@pytest.mark.parametrize(
    ("sign", "plane", "offset", "field"),
    [
        (-1, None, 0.0, lambda z: np.sin(0.4 * (z + 1))),
        (-1, -0.5, 0.0, lambda z: np.sin(0.4 * (z + 0.5))),
        (-1, 0, 0.0, lambda z: np.sin(0.4 * z)),
        (1, None, 0.0, lambda z: np.cos(0.4 * (z + 0.5))),
        (1, 0, 0.0, lambda z: np.cos(0.4 * z)),
        (1, 0, 0.5, lambda z: np.cos(0.4 * z)),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_mirror_continues_the_field(sign, plane, offset, field, last):
    """Down to the plane, a field of that symmetry is as well interpolated as it is anywhere."""
    n, z = 30, np.linspace(plane or 0, 6, 25)
    cells = np.arange(n) + offset
    faces = dict(mirror=[sign, 0], mirror_plane=[plane, None])
    if last:
        # The same seen from the other end, where the last cell is at n - 1 + offset.
        end = n - 1 + 2 * offset
        z, cells = end - z, end - cells
        faces = {name: x[::-1] for name, x in faces.items()}
        faces["mirror_plane"] = [None, None if plane is None else end - plane]
        cells = cells[::-1]
        record, want = field(end - cells), field(end - z)
    else:
        record, want = field(cells), field(z)
    weights = dense(Hicks(z[None, :, None], [n], offset=offset, **faces), [n])[0]
    assert largest(weights @ record - want) <= MONOPOLE_ERROR[3]


# ---- the two maps ----


@pytest.mark.parametrize(("ndim", "dipole_axis"), [(1, None), (2, 0), (3, None)])
def test_maps_are_transposes(ndim, dipole_axis):
    hicks = Hicks(
        scattered(ndim, 7, margin=2), SHAPES[ndim], dipole_axis=dipole_axis, mirror=[-1, 1] * ndim,
        mirror_plane=[None, SHAPES[ndim][0] - 0.5] + [None] * (2 * ndim - 2),
    )  # fmt: skip
    rng = np.random.default_rng(3)
    f, d = rng.standard_normal((2, 7, 5)), rng.standard_normal((2, hicks.cells.shape[1], 5))
    left, right = jnp.vdot(hicks.source(f), d), jnp.vdot(f, hicks.receiver(d))
    assert abs(left - right) <= 1e-14 * np.linalg.norm(f) * np.linalg.norm(d)
    # Each is what the derivative of the other is, too.
    pulled = jax.linear_transpose(hicks.receiver, jnp.asarray(d))(jnp.asarray(f))[0]
    assert largest(pulled - hicks.source(f)) <= 1e-14 * largest(pulled)
    pulled = jax.linear_transpose(hicks.source, jnp.asarray(f))(jnp.asarray(d))[0]
    assert largest(pulled - hicks.receiver(d)) <= 1e-14 * largest(pulled)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_that_of_the_amplitudes(dtype):
    points = scattered(2, 6).astype(np.float32)  # its own dtype decides nothing
    hicks = Hicks(points, SHAPES[2])
    f = np.random.default_rng(4).standard_normal((2, 6, 8))
    out = hicks.source(f.astype(dtype))
    back = hicks.receiver(out)
    assert out.dtype == back.dtype == dtype
    exact = hicks.receiver(hicks.source(f))
    assert largest(back - exact) <= (1e-6 if dtype == np.float32 else 0) * largest(exact)  # rounding of 64 terms


@pytest.mark.optimised
def test_under_jit_and_vmap():
    hicks = Hicks(scattered(2, 6), SHAPES[2])
    f = np.random.default_rng(4).standard_normal((3, 2, 6, 8))
    want = np.stack([hicks.source(x) for x in f])
    assert largest(jax.vmap(hicks.source)(f) - want) == 0
    inside = jax.jit(lambda h, x: h.source(x))(hicks, f[0])  # an object is an argument like any other
    assert largest(inside - want[0]) <= 1e-15
    many = jax.tree.map(lambda *x: jnp.stack(x), hicks, hicks)
    assert largest(jax.vmap(lambda h, x: h.source(x))(many, f[:2]) - want[:2]) <= 1e-15
    product = jax.jvp(lambda x: hicks.receiver(hicks.source(x)), (f[0],), (f[1],))[1]
    assert largest(product - hicks.receiver(want[1])) <= 1e-15


def test_traced_and_known_locations_give_the_same():
    points, shape = scattered(2, 6), SHAPES[2]
    points[0, 2] = IGNORE_LOCATION
    known, options = Hicks(points, shape, mirror=[-1, 0, 0, 0]), dict(mirror=[-1, 0, 0, 0])
    traced = jax.jit(lambda x: Hicks(x, shape, **options))(points)
    mapped = jax.jit(jax.vmap(lambda x: Hicks(x[None], shape, **options)))(points)
    assert traced.cells.shape == (2, 6 * 81, 2)
    want = dense(known, shape)
    assert largest(dense(traced, shape) - want) <= 1e-15
    assert largest(dense(jax.tree.map(lambda x: x[:, 0], mapped), shape) - want) <= 1e-15


def test_some_shots():
    points = scattered(2, 6, n_shots=4)
    hicks = Hicks(points, SHAPES[2])
    some = hicks[np.array([2, 0])]
    want = dense(Hicks(points[[2, 0]], SHAPES[2]), SHAPES[2])
    assert largest(dense(some, SHAPES[2]) - want) == 0
    assert dense(hicks[1:3], SHAPES[2]).shape == (2, 6, *SHAPES[2])


def test_cells_are_shared():
    """A line of receivers at half a cell's spacing needs the rows of its window once, and no more."""
    x = 10 + np.arange(1000) / 2 + 0.125
    line = np.stack([np.full(1000, 20.5), x], axis=-1)
    hicks = Hicks(np.stack([line, line[::-1]]), (40, 530))
    assert hicks.cells.shape == (2, 8 * (500 + 7), 2)
    flat = hicks.cells[0] @ np.array([530, 1])
    assert (np.diff(flat) > 0).all()


@pytest.mark.parametrize("shape", [(9, 40), (12, 13, 14), (20, 12, 8)])
def test_no_cell_is_propagated_twice_or_without_need(shape):
    """Rows that are as long as the model, mirrors at both ends, points on cells, and ones to ignore."""
    ndim = len(shape)
    points = np.random.default_rng(6).uniform(-0.4, np.array(shape) - 0.6, (3, 5, ndim))
    points[0, :2, -1] = np.rint(points[0, :2, -1])
    points[1, 2] = np.rint(points[1, 2])
    points[2, 1] = IGNORE_LOCATION
    mirror = [1] * (2 * ndim)
    hicks = Hicks(points, shape, mirror=mirror)
    weights = dense(hicks, shape)
    for own, cells in zip(weights, hicks.cells, strict=True):
        cells = cells[(cells != IGNORE_LOCATION).all(-1)]
        needed = np.argwhere((own != 0).any(0))  # in the order of their numbers
        assert (cells == needed).all()
    traced = jax.jit(lambda x: Hicks(x, shape, mirror=mirror))(points)
    assert largest(dense(traced, shape) - weights) <= 1e-15


def test_shots_with_fewer_cells_are_filled_up():
    points = np.full((2, 2, 2), float(IGNORE_LOCATION))
    points[0] = [[10.5, 10.5], [12, 12]]
    hicks = Hicks(points, SHAPES[2])
    assert hicks.cells.shape == (2, 64, 2)  # the whole cell is among the others
    assert (hicks.cells[1] == IGNORE_LOCATION).all()
    f = np.ones((2, 2, 3))
    assert largest(hicks.source(f)[1]) == 0
    assert largest(hicks.receiver(np.ones((2, 64, 3)))[1]) == 0
    nothing = Hicks(points[1:], SHAPES[2])
    assert nothing.cells.shape == (1, 1, 2)
    for none in (Hicks(points[:, :0], SHAPES[2]), jax.jit(lambda x: Hicks(x, SHAPES[2]))(points[:, :0])):
        assert none.receiver(np.ones((2, none.cells.shape[1], 3))).shape == (2, 0, 3)
    # Cells far apart are found by sorting rather than with a table.
    far = Hicks([[[5.5, 5.5], [9990.5, 9990.5]]], (10000, 10000))
    assert far.cells.shape == (1, 128, 2) and (far.slots == np.arange(128).reshape(1, 2, 64)).all()


# ---- what it costs ----


def test_setup_has_no_loop_over_points():
    def calls(n):
        points = np.linspace(4, 8, 2 * n).reshape(1, n, 2)
        seen = []
        sys.setprofile(lambda frame, event, arg: seen.append(event))
        try:
            Hicks(points, (14, 14))
        finally:
            sys.setprofile(None)
        return len(seen)

    calls(10)
    assert calls(20000) <= calls(20) + 20


@pytest.mark.parametrize("scatter", [False, True])
def test_setup_holds_no_array_of_all_entries(scatter):
    """Of points in 3-D, 512 entries each: less memory than their weights and numbers would take, next to the cells."""
    shape = (80, 80, 80) if scatter else (16, 16, 16)
    points = np.random.default_rng(0).uniform(4, np.array(shape) - 5, (1, 4000, 3))
    Hicks(points[:, :10], shape)  # what is made once
    tracemalloc.start()
    try:
        hicks = Hicks(points, shape)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    entries = 4000 * 512
    kept = sum(np.asarray(x).nbytes for x in hicks.rows)
    assert hicks.weights.size == entries and hicks.weights.dtype == np.float64
    assert kept <= 2 * entries  # 64 rows and 8 places, of 8 + 4 bytes each, are 1.7 bytes an entry
    assert peak - hicks.cells.nbytes <= entries * (8 + 4)


@pytest.mark.hlo
@pytest.mark.parametrize("differentiate", [False, True])
def test_maps_do_not_hold_all_entries_at_once(differentiate):
    """Less memory than four times the records, where all products of weights and records are 64 times as much."""
    hicks = Hicks(np.stack([np.full(200, 20.5), 10.2 + np.arange(200)], axis=-1)[None], (40, 230))
    records = np.zeros((1, hicks.cells.shape[1], 300))

    def power(weights, along, records):
        rows = hicks.rows._replace(weights=weights, along=along)
        changed = jax.tree.unflatten(jax.tree.structure(hicks), [hicks.cells, *rows])
        return jnp.sum(changed.receiver(records) ** 2)

    function = jax.grad(power, argnums=(0, 1, 2)) if differentiate else power
    compiled = jax.jit(function).lower(hicks.rows.weights, hicks.rows.along, records).compile()
    assert compiled.memory_analysis().temp_size_in_bytes <= 4 * records.nbytes


# ---- positions ----


@pytest.mark.parametrize("dipole_axis", [None, 0])
def test_derivatives_of_weights(dipole_axis):
    """The first two, of a smooth field's value, without holes where sines and distances are 0."""
    k = 0.3

    def value(x):
        hicks = Hicks(x[None, None, None], [40], half_width=8, dipole_axis=dipole_axis)
        wave = jnp.sin(k * jnp.asarray(hicks.cells)[:, :, 0])[:, :, None]
        return hicks.receiver(wave)[0, 0, 0]

    def slope(x):
        return jax.jvp(value, (x,), (1.0,))[1]

    waves = [jnp.sin, jnp.cos, lambda x: -jnp.sin(x), lambda x: -jnp.cos(x)]
    order = 0 if dipole_axis is None else 1
    derivatives = jax.jit(lambda x: (value(x), *jax.jvp(slope, (x,), (1.0,))))
    for x in 20 + np.array([0.0, 1e-9, 0.02, 0.0299, 0.0301, 0.5, 0.5 + 1e-9, 0.97, 1 - 1e-9]):
        for i, got in enumerate(derivatives(x)):
            # Of an error of 2e-6 (9e-6 for dipoles) whose wavenumbers are at most pi or so.
            assert abs(got - k ** (order + i) * waves[order + i](k * x)) <= 2e-5 * np.pi**i


# ---- what is refused ----


@pytest.mark.parametrize(
    ("locations", "shape", "options", "error", "words"),
    [
        ([[[2.5, 10.0]]], (24, 26), {}, ValueError, r"reaches outside the model of cells 0 to \[23, 25\].*mirror=-1"),
        ([[[10.0, 22.5]]], (24, 26), {}, ValueError, r"shot 0, index 0 is \[10.0, 22.5\]"),
        ([[[-1.5, 10.0]]], (24, 26), dict(mirror=[-1, 0, 0, 0]), ValueError, "beyond a mirror"),
        ([[[2.0, 24.0]]], (24, 26), dict(dipole_axis=1), ValueError, "half width 4 reaches outside"),
        ([[[10.0, np.nan]]], (24, 26), {}, ValueError, "must be finite"),
        ([[10.0, 10.0]], (24, 26), {}, ValueError, r"\[shot, point, axis\]"),
        (np.zeros((0, 1, 2)), (24, 26), {}, ValueError, "at least one shot"),
        ([[["a", "b"]]], (24, 26), {}, TypeError, "real numbers"),
        ([[[10.0, 10.0]]], (1, 24, 26), {}, ValueError, "Leave out an axis of shots"),
        ([[[10.0, 10.0]]], (24, 26), dict(half_width=0), ValueError, "at least 1"),
        ([[[10.0, 10.0]]], (24, 26), dict(half_width=4.0), TypeError, "integer"),
        ([[[10.0, 10.0]]], (24, 26), dict(half_width=11), ValueError, "no default `beta`"),
        ([[[10.0, 10.0]]], (24, 26), dict(beta=-1.0), ValueError, "positive"),
        ([[[10.0, 10.0]]], (24, 26), dict(dipole_axis=2), ValueError, "from 0 to 1"),
        ([[[10.0, 10.0]]], (24, 26), dict(dipole_direction=[1, 0], dipole_axis=0), ValueError, "give one of them"),
        ([[[10.0, 10.0]]], (24, 26), dict(dipole_direction=[1, 0, 0]), ValueError, "2 components, or one for each"),
        ([[[10.0, 10.0]]], (24, 26), dict(dipole_direction=[[1, 0]]), ValueError, r"got shape \(1, 2\)"),
        ([[[10.0, 10.0]]], (24, 26), dict(dipole_direction=[1, np.inf]), ValueError, "must be finite"),
        ([[[10.0, 10.0]]], (24, 26), dict(dipole_direction=["z", "x"]), TypeError, "real numbers"),
        ([[[2.0, 2.5]]], (24, 26), dict(dipole_direction=[0, 1]), ValueError, "reaches outside"),
        ([[[10.0, 10.0]]], (24, 26), dict(offset=[0.5]), ValueError, "one per axis"),
        ([[[10.0, 10.0]]], (24, 26), dict(offset="x"), TypeError, "finite numbers"),
        ([[[10.0, 10.0]]], (24, 26), dict(mirror=[-1, 0]), ValueError, "first and last face"),
        ([[[10.0, 10.0]]], (24, 26), dict(mirror=2), ValueError, "-1, 0 or 1"),
        ([[[10.0, 10.0]]], (24, 26), dict(mirror=-1, mirror_plane=-0.3), ValueError, "halfway between two"),
        ([[[10.0, 10.0]]], (24, 26), dict(mirror_plane=[-1, None, None, None]), ValueError, "`mirror` is 0"),
    ],
)  # fmt: skip
def test_wrong_arguments(locations, shape, options, error, words):
    with pytest.raises(error, match=words):
        Hicks(locations, shape, **options)


def test_wrong_amplitudes():
    hicks = Hicks([[[10.5, 10.0]]], SHAPES[2])
    with pytest.raises(ValueError, match=r"\[shot, point, nt\] with 1 shots and 1 points; got shape \(1, 8, 5\)"):
        hicks.source(np.zeros((1, 8, 5)))
    with pytest.raises(ValueError, match=r"\[shot, cell, nt\] with 1 shots and 8 cells; got shape \(1, 1, 5\)"):
        hicks.receiver(np.zeros((1, 1, 5)))
    with pytest.raises(TypeError, match="float32 or float64"):
        hicks.source(np.zeros((1, 1, 5), int))


def test_a_derivative_needs_the_whole_window():
    def total(x):
        return jnp.sum(jnp.asarray(Hicks(x, SHAPES[2]).weights))

    points = np.array([[[2.0, 10.0]]])
    assert total(points) == 1
    with pytest.raises(ValueError, match="unless it is differentiated"):
        jax.grad(total)(points)
    assert np.isnan(jax.jit(total)(points))
    assert np.isfinite(jax.jit(jax.grad(total))(points + 2)).all()
