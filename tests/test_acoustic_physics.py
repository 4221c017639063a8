"""The acoustic propagator against analytic solutions, the scalar one, and the laws that any wavefield obeys."""

import jax
import numpy as np
import pytest
import reference
from helpers import FREQ, amplitudes, bitwise_equal, largest, layered, wavelet

import jaxwave
from jaxwave.equations.acoustic import Acoustic

RHO = 1200.0


def derivative(t, freq=FREQ, delay=0.08):
    """Time derivative of the wavelet."""
    a = (np.pi * freq * (t - delay)) ** 2
    return (2 * a - 3) * np.exp(-a) * 2 * (np.pi * freq) ** 2 * (t - delay)


def injection(nt, dt):
    """Samples of a volume source, which act half a step after their time."""
    return wavelet((np.arange(nt) + 0.5) * dt)[None, None]


# ---- analytic solutions ----


@pytest.mark.optimised
@pytest.mark.parametrize(
    ("ndim", "n", "nt", "dt"),
    [(1, 101, 1000, 2e-4), (2, 51, 800, 2.5e-4), pytest.param(3, 27, 500, 3e-4, marks=pytest.mark.slow)],
)
def test_volume_source_in_a_homogeneous_medium(ndim, n, nt, dt):
    # p solves the scalar equation with f = -rho q_t.
    v, h, centre = 1500.0, 5.0, n // 2
    along, diagonal = [centre] * ndim, [centre - 6] * ndim
    along[-1] += 10
    t = np.arange(nt) * dt
    got = jaxwave.acoustic(
        np.full((n,) * ndim, v), np.full((n,) * ndim, RHO), h, dt, accuracy=8, pml_freq=FREQ,
        source_amplitudes_p=injection(nt, dt), source_locations_p=[[[centre] * ndim]],
        receiver_locations_p=[[along, diagonal]],
    ).receiver_amplitudes_p[0]  # fmt: skip
    solution = (reference.homogeneous_1d, reference.homogeneous_2d, reference.homogeneous_3d)[ndim - 1]
    want = [h**ndim * solution(lambda t: -RHO * derivative(t), r, v, t) for r in (10 * h, 6 * h * ndim**0.5)]
    for x, y in zip(got, want, strict=True):
        # As for the scalar equation: what the layers return, and leapfrog's phase (5e-4 for dt = 0.3 ms, more for the
        # derivative of the wavelet).
        assert largest(x - y) < 2.5e-3 * largest(y)


def test_force_in_one_dimension():
    # p = sign(x) f(t - |x| / v) / 2 for a force f delta(x), and v = f(t - |x| / v) / (2 rho v).
    v, h, dt, nt, n = 1500.0, 5.0, 2e-4, 1000, 81
    out = jaxwave.acoustic(
        np.full(n, v), np.full(n, RHO), h, dt, accuracy=8, pml_freq=FREQ, source_amplitudes_x=amplitudes(nt, dt),
        source_locations_x=[[[40]]], receiver_locations_p=[[[30], [50]]], receiver_locations_x=[[[30], [50]]],
    )  # fmt: skip
    t = np.arange(nt) * dt
    for p, cell, sign in zip(out.receiver_amplitudes_p[0], (30, 50), (-1, 1), strict=True):
        want = sign * h / 2 * wavelet(t - abs(cell - 40.5) * h / v)
        assert largest(p - want) < 2e-3 * largest(want)
    for u, cell in zip(out.receiver_amplitudes_x[0], (30, 50), strict=True):
        want = h / (2 * RHO * v) * wavelet(t - dt / 2 - abs(cell - 40) * h / v)
        assert largest(u - want) < 2e-3 * largest(want)


@pytest.mark.parametrize(("v", "rho"), [((1500.0, 2500.0), (1000.0, 2200.0)), ((1500.0, 1500.0), (1000.0, 3000.0))])
def test_reflection_and_transmission_at_an_interface(v, rho):
    # At normal incidence the pressure changes by (Z2 - Z1) / (Z2 + Z1) and 2 Z2 / (Z2 + Z1).
    n, h, dt, nt, source, interface = 350, 2.5, 2e-4, 1600, 150, 200
    models = [np.where(np.arange(n) < interface, *pair) for pair in (v, rho)]
    same = [np.full(n, pair[0]) for pair in (v, rho)]
    survey = dict(
        source_amplitudes_p=injection(nt, dt), source_locations_p=[[[source]]],
        receiver_locations_p=[[[100], [250]]], pml_freq=FREQ, max_vel=max(v), accuracy=4, pml_width=40,
    )  # fmt: skip
    (before, after), (incident, beyond) = (
        jaxwave.acoustic(*pair, h, dt, **survey).receiver_amplitudes_p[0] for pair in (models, same)
    )
    z_1, z_2 = v[0] * rho[0], v[1] * rho[1]
    # Cells of either side meet half a cell after cell 199.
    t, a, b = np.arange(nt) * dt, interface - 0.5 - source, 250 - (interface - 0.5)
    path = a + interface - 0.5 - 100
    want = (z_2 - z_1) / (z_2 + z_1) * radiated(rho[0], v[0], h) * wavelet(t - path * h / v[0])
    # Leapfrog's phase and, of second order in the cell over the wavelength (1/24), the interface.
    assert largest(before - incident - want) < 1e-2 * largest(incident)
    want = 2 * z_2 / (z_2 + z_1) * radiated(rho[0], v[0], h) * wavelet(t - a * h / v[0] - b * h / v[1])
    assert largest(after - want) < 1e-2 * largest(beyond)


def radiated(rho, v, h):
    """Pressure that a volume source of one cell radiates: p = rho v h q(t - |x| / v) / 2."""
    return rho * v * h / 2


def test_constant_density_is_the_scalar_equation():
    # Order 2 on a staggered grid twice is order 2 on the plain one: the same numbers, with f = -rho dq/dt.
    v, rho, dt, nt, spacing = layered((20, 24)), 1700.0, 5e-4, 150, (5.0, 6.0)
    q = np.random.default_rng(0).standard_normal((1, 2, nt))
    places = dict(source=np.array([[[4, 5], [15, 12]]]), receiver=np.array([[[9, 9], [0, 23]]]))
    got = jaxwave.acoustic(
        v, np.full_like(v, rho), spacing, dt, accuracy=2, pml_width=0, source_amplitudes_p=q,
        source_locations_p=places["source"], receiver_locations_p=places["receiver"],
    ).receiver_amplitudes_p  # fmt: skip
    f = -rho * np.diff(q, axis=-1, prepend=0) / dt
    want = jaxwave.scalar(
        v, spacing, dt, accuracy=2, pml_width=0, source_amplitudes=f, source_locations=places["source"],
        receiver_locations=places["receiver"],
    ).receiver_amplitudes  # fmt: skip
    # Rounding, which differences and sums of 150 steps enlarge.
    reference.assert_close(got, want, 1e-10)


# ---- orders of convergence ----


@pytest.mark.parametrize(
    ("shape", "spacing", "width", "n_steps"), [((400,), (5.0,), 40.0, 500), ((160, 160), (4.0, 5.0), 36.0, 80)]
)
def test_order_of_convergence_in_space(shape, spacing, width, n_steps):
    # A Gaussian pressure, even in time, against leapfrog with exact derivatives: v(-dt/2) = dt grad(p) / (2 rho).
    v, dt, ndim = 1500.0, 5e-4, len(shape)

    def gaussian(h, shape, offset):
        lines = [(np.arange(n + o) - o / 2 - n // 2) * d for n, o, d in zip(shape, offset, h, strict=True)]
        x = np.meshgrid(*lines, indexing="ij")
        return np.exp(-sum(c**2 for c in x) / (2 * width**2)), x

    _, after = reference.leapfrog_in_exact_space(gaussian(spacing, shape, (0,) * ndim)[0], spacing, v, dt, n_steps)
    for accuracy in (2, 4, 6, 8):
        errors = []
        for coarsening in (2, 1):
            h, cells = [coarsening * d for d in spacing], [n // coarsening for n in shape]
            fields = {"pressure_0": gaussian(h, cells, (0,) * ndim)[0][None]}
            for axis, name in enumerate("zyx"[-ndim:]):
                g, x = gaussian(h, cells, [int(a == axis) for a in range(ndim)])
                fields[f"v{name}_0"] = (-dt / (2 * RHO) * x[axis] / width**2 * g)[None]
            out = jaxwave.acoustic(
                np.full(cells, v), np.full(cells, RHO), h, dt, nt=n_steps, accuracy=accuracy, pml_width=0, **fields
            )
            assert out.info.step_ratio == 1
            cut = (slice(None, None, coarsening),) * ndim
            errors.append(np.sqrt(np.mean((out.pressure_0[0] - after[cut]) ** 2)))
        # The next term of the error moves the measured order by 0.15 at these widths.
        assert np.log2(errors[0] / errors[1]) == pytest.approx(accuracy, abs=0.25), (accuracy, errors)


# ---- energy, faces and layers ----


def test_the_speed_in_vacuum_may_be_zero():
    """As the converter from moduli returns it: the same records and derivatives, to the last bit, as with any other."""
    v, rho = layered((14, 12)), np.full((14, 12), RHO)
    rho[:4] = 0
    empty = jaxwave.lambmubuoyancy_to_vpvsrho(rho * v**2, np.zeros_like(v), np.where(rho > 0, 1 / RHO, 0))
    assert not np.asarray(empty[0])[:4].any()
    given = dict(
        source_amplitudes_p=np.ones((1, 1, 8)), source_locations_p=[[[6, 5]]], receiver_locations_p=[[[8, 3]]],
        pml_width=2, pml_freq=25.0, max_vel=2500.0,
    )  # fmt: skip

    def power(v, rho):
        return (jaxwave.acoustic(v, rho, 5.0, 5e-4, **given).receiver_amplitudes_p ** 2).sum()

    both = jax.jit(jax.value_and_grad(power, argnums=(0, 1)))
    assert bitwise_equal(both(np.where(rho > 0, v, 0), rho), both(v, rho))
    out = jax.eval_shape(lambda: jaxwave.acoustic(np.where(rho > 0, v, 0), rho, 5.0, 5e-4, **given))
    assert out.info.max_vel == 2500.0


@pytest.mark.parametrize(
    ("v", "rho", "words"),
    [
        (
            [0.0, 1500],
            [1000.0, 1000],
            r"`v` must be finite and positive, or 0 where `rho` is 0; got 0.0 at index \(0,\)",
        ),
        ([-1.0, 1500], [0.0, 1000], "got -1.0"),
        ([np.nan, 1500], [0.0, 1000], "got nan"),
        ([0.0, 1500], [[0.0, 1000], [1000, 1000]], r"got 0.0 at index \(1, 0\) \(5 such"),  # rho for each shot
    ],
)
def test_the_speed_is_positive_in_matter(v, rho, words):
    with pytest.raises(ValueError, match=words):
        jaxwave.acoustic(np.tile(v, 5), np.tile(rho, 5), (5.0,), 5e-4, nt=1, pml_width=2, pml_freq=25.0)


def between(rho, axis):
    """Density between the cells of an axis and at its faces."""
    rho = np.pad(rho, [(1, 1) if a == axis else (0, 0) for a in range(rho.ndim)], mode="edge")
    low, high = (np.take(rho, np.arange(k, rho.shape[axis] - 1 + k), axis) for k in (0, 1))
    return (low + high) / 2


@pytest.mark.parametrize(("shape", "accuracy", "densest"), [((60,), 8, 3e3), ((14, 17), 4, 1e6), ((8, 9, 7), 2, 3e3)])
def test_reflecting_faces_conserve_energy(shape, accuracy, densest):
    # Also where the density of neighbours differs by a factor of a thousand, at the largest time step.
    spacing, rng = (5.0, 6.0, 4.0)[: len(shape)], np.random.default_rng(1)
    v, rho = layered(shape), np.exp(rng.uniform(np.log(1e3), np.log(densest), shape))
    limit = Acoustic().largest_speed(dict(v=v, rho=rho), spacing, accuracy)
    dt = jaxwave.grid.cfl_time_step(limit, spacing)
    settings = dict(accuracy=accuracy, pml_width=0)
    out = jaxwave.acoustic(v, rho, spacing, dt, nt=1, pressure_0=rng.standard_normal((2, *shape)), **settings)
    names = "zyx"[-len(shape) :]

    def energy(now):
        after = jaxwave.acoustic(v, rho, spacing, dt, nt=1, initial_state=now.state, **settings)
        total = (np.asarray(now.pressure_0) ** 2 / (rho * v**2)).reshape(2, -1).sum(1)
        for axis, name in enumerate(names):
            product = np.asarray(getattr(now, f"v{name}_0") * getattr(after, f"v{name}_0"))
            total = total + (product * between(rho, axis)).reshape(2, -1).sum(1)
        return total

    energies = [energy(out)]
    for _ in range(2):
        out = jaxwave.acoustic(v, rho, spacing, dt, nt=500, initial_state=out.state, **settings)
        energies.append(energy(out))
    # An invariant of the discrete scheme: only rounding can move it.
    np.testing.assert_allclose(energies[1:], [energies[0]] * 2, rtol=1e-9)
    assert all((e > 0).all() for e in energies)


def test_reflection_of_the_layers_in_one_dimension():
    v, h, dt, nt, n = 1500.0, 5.0, 1e-3, 500, 41
    pad = int(v * dt * nt / 2 / h) + 5

    def run(extra, width):
        cells = n + 2 * extra
        return jaxwave.acoustic(
            np.full(cells, v), np.full(cells, RHO), h, dt, pml_width=width, pml_freq=FREQ,
            source_amplitudes_p=amplitudes(nt, dt), source_locations_p=[[[extra]]],
            receiver_locations_p=[[[extra + n // 2]]],
        ).receiver_amplitudes_p  # fmt: skip

    free = run(pad, 0)
    # Both faces: twice the 1e-3 that the layer is made for.
    assert largest(run(0, 20) - free) < 2e-3 * largest(free)


@pytest.mark.parametrize("accuracy", [4, pytest.param(8, marks=pytest.mark.slow)])
def test_small_box_rings_like_free_space(accuracy):
    # All faces, edges and corners: a box, the source near one of its corners, every kind of source and receiver.
    v, h, dt, n, nt, centre = 1500.0, 5.0, 1e-3, 21, 350, 10
    pad = int(v * dt * nt / 2 / h) + 5
    around = np.stack(np.meshgrid(*[[1, centre, n - 2]] * 2, indexing="ij"), -1).reshape(-1, 2)
    records = []
    for extra, width in ((0, 20), (pad, 0)):
        cells = (n + 2 * extra,) * 2
        out = jaxwave.acoustic(
            np.full(cells, v), np.full(cells, RHO), h, dt, pml_width=width, pml_freq=FREQ, accuracy=accuracy,
            sources={"p": (amplitudes(nt, dt, delay=0.06), [[[2 + extra] * 2]])},
            receivers=dict.fromkeys("pyx", (around + extra)[None]),
        )  # fmt: skip
        records.append([out.receiver_amplitudes_p, out.receiver_amplitudes_y, out.receiver_amplitudes_x])
    for boxed, free in zip(*records, strict=True):
        # Grazing waves along the faces are absorbed least: a few times the 1e-3 of normal incidence.
        assert largest(boxed - free) < 8e-3 * largest(free)


# ---- what is peculiar to the call ----

SMALL = dict(grid_spacing=5.0, dt=8e-4, pml_freq=FREQ, pml_width=5)


def test_mappings_and_arguments_say_the_same():
    v, f = layered((12, 14)), np.random.default_rng(2).standard_normal((1, 1, 40))
    place, receiver = [[[3, 4]]], [[[8, 9]]]
    by_name = jaxwave.acoustic(
        v, 0 * v + RHO, **SMALL, source_amplitudes_y=f, source_locations_y=place, receiver_locations_p=receiver
    )
    mapped = jaxwave.acoustic(v, 0 * v + RHO, **SMALL, sources={"y": (f, place)}, receivers={"p": receiver})
    assert np.array_equal(by_name.receiver_amplitudes_p, mapped.receiver_amplitudes_p)
    assert by_name.receiver_amplitudes_z is None and by_name.receiver_amplitudes_x.shape == (1, 0, 40)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(rho=np.full((12, 13), RHO)), ValueError, "must have the same cells; `v` has"),
        (dict(rho=np.full((12, 14), -1.0)), ValueError, "`rho` must be finite and not negative; got -1.0"),
        (dict(source_amplitudes_x=np.ones((1, 1, 9))), ValueError, "`source_amplitudes_x` is given without"),
        (dict(sources={"q": (np.ones((1, 1, 9)), [[[1, 1]]])}), ValueError, "no source of kind 'q' in 2 dimensions"),
        (dict(receiver_locations_z=[[[1, 1]]]), ValueError, "no receiver of kind 'z' in 2 dimensions"),
        (dict(receivers=[[[1, 1]]]), TypeError, "`receivers` must be a mapping"),
        (dict(sources={"p": 3}), TypeError, r"`sources\['p'\]` must be a pair"),
        (dict(receivers={"p": [[[1, 1]]]}, receiver_locations_p=[[[1, 1]]]), ValueError, "is given twice"),
        (dict(vz_0=np.ones((1, 12, 14))), ValueError, "no wavefield `vz_0` in 2 dimensions"),
        (dict(vx_0=np.ones((1, 22, 24))), ValueError, r"\(1, 22, 25\) with the absorbing layers"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, message):
    given = {"v": np.full((12, 14), 2000.0), "rho": np.full((12, 14), RHO), "nt": 9, **SMALL, **arguments}
    given = {k: x for k, x in given.items() if k != "nt" or "source_amplitudes_x" not in arguments}
    with pytest.raises(error, match=message):
        jaxwave.acoustic(**given)


def test_kinds_of_sources_must_be_equally_long():
    v, place = np.full((12, 14), 2000.0), [[[3, 4]]]
    with pytest.raises(ValueError, match="same number of time samples; 'p' have 9, 'x' have 8"):
        jaxwave.acoustic(v, v, **SMALL, sources={"p": (np.ones((1, 1, 9)), place), "x": (np.ones((1, 1, 8)), place)})


@pytest.mark.optimised
def test_survey_pad_uses_part_of_the_models():
    v, rho = layered((30, 40)), layered((30, 40), 1000.0, 2000.0, seed=3)
    survey = dict(
        source_amplitudes_p=amplitudes(60, 8e-4), source_locations_p=np.array([[[12, 15]]]),
        receiver_locations_x=np.array([[[14, 22]]]), max_vel=2500.0,
    )  # fmt: skip
    part = jaxwave.acoustic(v, rho, **SMALL, **survey, survey_pad=4)
    moved = {k: x - [8, 11] if "locations" in k else x for k, x in survey.items()}
    whole = jaxwave.acoustic(v[8:19, 11:27], rho[8:19, 11:27], **SMALL, **moved)
    assert part.info.region.shape == (11, 16)
    assert np.array_equal(part.receiver_amplitudes_x, whole.receiver_amplitudes_x)
