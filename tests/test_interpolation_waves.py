"""Off-grid sources and receivers in a propagator: the waves that they make and record, and gradients of positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from helpers import amplitudes, largest, layered, wavelet
from test_interpolation import SHAPES, scattered

import jaxwave
from jaxwave import IGNORE_LOCATION, Hicks


def propagate(v, h, dt, sources, receivers, f, **options):
    out = jaxwave.scalar(
        v, h, dt, source_amplitudes=sources.source(f), source_locations=sources.cells,
        receiver_locations=receivers.cells, **options,
    )  # fmt: skip
    return receivers.receiver(out.receiver_amplitudes)


DT, SPEED, FREQ, DELAY = 2.5e-4, 1500.0, 20.0, 0.1


def ricker(t):
    """Below 1e-15 of its peak at t = 0."""
    return wavelet(t, FREQ, DELAY)


SOLUTIONS = {2: reference.homogeneous_2d, 3: reference.homogeneous_3d}


# No layers are needed: what the model's edge reflects comes back after the end. 760 steps are 285 m, the wave sets out
# after 75 m, and by way of the edge it is more than 210 m to any receiver.
N, NT = 56, 760


@pytest.mark.optimised
@pytest.mark.parametrize("ndim", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_waves_converge_to_the_analytic_solution(ndim):
    rng = np.random.default_rng(5)
    place = 140 + rng.uniform(-5, 5, ndim)
    directions = rng.uniform(-1, 1, (6, ndim))
    places = place + 50 * directions / np.abs(directions).max(axis=-1, keepdims=True)
    distances = np.linalg.norm(places - place, axis=-1)
    t = np.arange(NT) * DT
    exact = np.stack([SOLUTIONS[ndim](ricker, r, SPEED, t) for r in distances])

    def error(h, move):
        """Of all receivers, relative to the nearest one's largest value, with points that are moved in cells."""
        shape = (round(5.0 * N / h),) * ndim
        points = [Hicks(move(x / h)[None], shape) for x in (place[None], places)]
        want = h**ndim * exact
        got = propagate(np.full(shape, SPEED), h, DT, *points, ricker(t)[None, None], accuracy=8, pml_width=0)
        return largest(got[0] - want) / largest(want)

    coarse, fine, nearest = error(10.0, lambda x: x), error(5.0, lambda x: x), error(5.0, np.round)
    # 3 cells per shortest wavelength (2.5 times the wavelet's frequency), then 6, where the window has at most 1.3e-3.
    assert fine < 1.3e-3 and fine < coarse / 4
    assert fine < nearest / 100


@pytest.mark.parametrize("direction", [(1, 0), (0, 1), (0.6, -0.8)])
def test_dipoles_are_derivatives(direction):
    """A source's along its position, a receiver's along its own, of the analytic solution."""
    h, shape, e = 5.0, (N, N), 1e-3
    place, away = np.array([28.3, 27.6]), np.array([35.8, 36.4])
    t = np.arange(NT) * DT

    def exact(step):
        r = h * np.linalg.norm(away + step * np.array(direction) - place)
        return h**2 * reference.homogeneous_2d(ricker, r, SPEED, t)

    want = (exact(e) - exact(-e)) / (2 * e)
    monopoles, dipoles = (
        [Hicks(x[None, None], shape, half_width=5, dipole_direction=d) for x in (place, away)]
        for d in (None, direction)
    )
    for source, receiver, sign in ((monopoles[0], dipoles[1], 1), (dipoles[0], monopoles[1], -1)):
        got = propagate(np.full(shape, SPEED), h, DT, source, receiver, ricker(t)[None, None], accuracy=8, pml_width=0)
        # The 9.5e-4 of a dipole is relative to the wavenumber, 0.4 per cell at the wavelet's frequency.
        assert largest(sign * got[0, 0] - want) <= 2.5e-3 * largest(want)


@pytest.mark.parametrize(("ndim", "dipole_axis", "width"), [(1, None, 4), (2, None, 0), (2, 0, 4), (3, 2, 0)])
def test_reciprocity(ndim, dipole_axis, width):
    """Exact, as it is between cells: the transpose of the maps is all that is added."""
    shape, dt = SHAPES[ndim], 8e-4
    here, there = scattered(ndim, 2, n_shots=1)[0]
    v, f = layered(shape), amplitudes(120, dt, delay=0.04)
    a, b = Hicks([[here]], shape, dipole_axis=dipole_axis), Hicks([[there]], shape)
    options = dict(pml_width=width, pml_freq=25.0)
    forth, back = propagate(v, 6.0, dt, a, b, f, **options), propagate(v, 6.0, dt, b, a, f, **options)
    assert largest(forth - back) <= 1e-9 * largest(forth)


@pytest.mark.parametrize(("last", "depth"), [(False, 0.4), (True, -0.7)])
def test_a_face_mirrors_a_source(last, depth):
    """Of order 2, it is what the negative source behind it makes in a model twice as large."""
    n, nx, dt = 18, 24, 8e-4
    v = layered((n, nx))
    twice = np.concatenate([v[::-1], v[:1], v])  # the plane has cells of its own, whose speed has no effect
    f = amplitudes(150, dt, delay=0.04)
    source, receivers = np.array([[depth, 11.7]]), np.array([[0.3, 8.2], [9.4, 15.5], [-0.5, 12.0]])

    def flip(x):
        return np.stack([n - 1 - x[:, 0], x[:, 1]], axis=-1) if last else x

    mirror = [0, -1, 0, 0] if last else [-1, 0, 0, 0]
    points = [Hicks(flip(x)[None], (n, nx), mirror=mirror) for x in (source, receivers)]
    got = propagate(
        v[::-1] if last else v, 6.0, dt, *points, f, accuracy=2, max_vel=2500.0, pml_width=0
    )  # fmt: skip
    behind = np.array([[-2 - depth, 11.7]])
    large = [Hicks(x[None] + np.array([n + 1, 0]), twice.shape) for x in (np.concatenate([source, behind]), receivers)]
    want = propagate(twice, 6.0, dt, *large, np.concatenate([f, -f], axis=1), accuracy=2, max_vel=2500.0, pml_width=0)
    assert largest(got - want) <= 1e-10 * largest(want)


POINTS = np.array([[7.3, 8], [11, 10.4], [9, 6], [9.5, 6.8], [0.6, 12.3], [IGNORE_LOCATION, IGNORE_LOCATION]])


@pytest.mark.parametrize(
    ("points", "dipole_axis", "known"), [(POINTS[:, :1], None, True), (POINTS, None, False), (POINTS[:, :1], 0, False)]
)
def test_gradient_of_positions(points, dipole_axis, known):
    """Of a source and receivers, some of them near a mirror, where their values are known and cells are shared or not.

    The misfits that are differenced have traced locations in either case.
    """
    shape, dt = (18, 20)[: points.shape[1]], 8e-4
    v, f = layered(shape), amplitudes(60, dt, delay=0.03)
    mirror = [-1, 0, 0, 0][: 2 * len(shape)]

    def misfit(points):
        sources = Hicks(points[None, :1], shape, dipole_axis=dipole_axis, mirror=mirror)
        receivers = Hicks(points[None, 1:], shape, mirror=mirror)
        record = propagate(v, 6.0, dt, sources, receivers, f, accuracy=2, pml_width=0, pml_freq=25.0, max_vel=2500.0)
        return 1e-4 * jnp.sum((record + 0.1) ** 2)

    gradient = (jax.grad(misfit) if known else jax.jit(jax.grad(misfit)))(points)
    assert (gradient[-1] == 0).all()
    misfit = jax.jit(misfit)
    step = 1e-5  # cells. Where the window has a kink, this differences its two sides, and the error is of first order.
    for seed in range(3):
        d = np.random.default_rng(seed).standard_normal(points.shape)
        d[-1] = 0
        want = (misfit(points + step * d) - misfit(points - step * d)) / (2 * step)
        assert abs(jnp.vdot(gradient, d) - want) <= 1e-6 * np.linalg.norm(gradient) * np.linalg.norm(d)
