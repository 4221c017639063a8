"""Migration, least-squares migration, gathers, illumination and filters against dense matrices and JAX's products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import amplitudes, largest, layered
from reference import assert_close

import jaxwave
from jaxwave import imaging

SHAPE, H, DT, NT, N_SHOTS = (10, 14), 5.0, 1e-3, 90, 3
MAX_VEL = 2000.0
V = jnp.asarray(layered(SHAPE, 1500.0, 1900.0))
RECEIVERS = np.array([[[2, x] for x in range(1, 13, 3)]] * N_SHOTS)
SOURCES = np.array([[[1, 2]], [[1, 7]], [[1, 12]]])
SURVEY = dict(
    source_amplitudes=np.tile(amplitudes(NT, DT, delay=0.04)[0], (N_SHOTS, 1, 1)), source_locations=SOURCES,
    receiver_locations=RECEIVERS.tolist(),
)  # fmt: skip
RECORDS = np.random.default_rng(0).standard_normal((N_SHOTS, 4, NT))


def predictor(storage="device"):
    def predict(v, survey):
        return jaxwave.scalar(
            v, H, DT, **survey, max_vel=MAX_VEL, pml_freq=25.0, pml_width=4, storage_mode=storage
        ).receiver_amplitudes

    return predict


PREDICT = predictor()


def array_survey():
    return {name: np.asarray(x) for name, x in SURVEY.items()}


@pytest.fixture(scope="module")
def small():
    """A prediction in 1-D, its background and survey, and the matrix of its derivative."""

    def predict(v, survey):
        return jaxwave.scalar(v, H, DT, **survey, max_vel=MAX_VEL, pml_freq=25.0, pml_width=4).receiver_amplitudes

    v = jnp.asarray(layered((16,), 1500.0, 1700.0))
    survey = dict(
        source_amplitudes=np.random.default_rng(2).standard_normal((2, 1, 60)),
        source_locations=np.full((2, 1, 1), 2), receiver_locations=np.array([[[1], [14]]] * 2),
    )  # fmt: skip
    matrix = jax.jacobian(lambda v: predict(v, survey))(v).reshape(-1, 16)
    return predict, v, survey, matrix


# ---- migration ----


@pytest.fixture(scope="module")
def image():
    return imaging.migrate(PREDICT, V, SURVEY, RECORDS)


def test_an_image_is_the_transpose_of_born(image):
    dv = jnp.asarray(np.random.default_rng(1).standard_normal(SHAPE))
    born = jaxwave.scalar_born(V, dv, H, DT, **SURVEY, max_vel=MAX_VEL, pml_freq=25.0, pml_width=4).receiver_amplitudes
    products = float(jnp.vdot(born, RECORDS)), float(jnp.vdot(dv, image))
    # Rounding of sums with terms of both signs, in units of the norms.
    assert abs(products[0] - products[1]) < 1e-12 * float(jnp.linalg.norm(born)) * np.linalg.norm(RECORDS)
    assert abs(products[0] - products[1]) < 1e-12 * float(jnp.linalg.norm(dv) * jnp.linalg.norm(image))
    assert_close(image, jax.vjp(lambda v: PREDICT(v, array_survey()), V)[1](jnp.asarray(RECORDS))[0], 1e-13)


def test_batches_add_up_to_the_whole(image):
    assert_close(imaging.migrate(PREDICT, V, SURVEY, RECORDS, batch=2), image, 1e-12)


@pytest.mark.parametrize(
    "storage", ["cpu", *(pytest.param(name, marks=pytest.mark.slow) for name in ("recompute", "disk"))]
)
def test_storage_makes_no_difference(image, storage):
    assert_close(imaging.migrate(predictor(storage), V, SURVEY, RECORDS, batch=2), image, 1e-12)


def test_one_history_is_kept_at_a_time():
    imaging.migrate(predictor("cpu"), V, SURVEY, RECORDS, batch=1)
    assert jaxwave.storage.stats().ram_bytes <= 1.1 * NT * 8 * np.prod(np.add(SHAPE, 20))


def test_several_models_and_kinds_of_records():
    """Any equation: the image is an equation of images."""
    grid = jaxwave.Grid(H, boundary=jaxwave.Boundary(pml_width=4, pml_freq=25.0))
    v, rho = np.full(30, 1500.0), np.full(30, 1000.0)
    shots = {
        "sources": {"p": (np.tile(amplitudes(NT, DT, delay=0.04)[0], (2, 1, 1)), [[[2]], [[5]]])},
        "receivers": {"p": [[[3], [9]]] * 2, "x": [[[4]]] * 2},
    }

    def predict(equation, survey):
        records = jaxwave.simulate(equation, grid, DT, **survey, max_vel=1600.0).records
        return {kind: records[kind] for kind in "px"}

    rng, models = np.random.default_rng(0), jaxwave.Acoustic(v, rho)
    records = {"p": rng.standard_normal((2, 2, NT)), "x": rng.standard_normal((2, 1, NT))}
    found = imaging.migrate(predict, models, shots, records, batch=1)
    along = jaxwave.Acoustic(jnp.asarray(rng.standard_normal(30)), jnp.asarray(rng.standard_normal(30)))
    born = jaxwave.born(models, along, grid, DT, **shots, max_vel=1600.0).receiver_amplitudes
    terms = [float(jnp.vdot(born[kind], records[kind])) for kind in "px"]
    pulled = [float(jnp.vdot(along.v, found.v)), float(jnp.vdot(along.rho, found.rho))]
    assert sum(terms) == pytest.approx(sum(pulled), rel=1e-12, abs=1e-12 * sum(map(abs, terms + pulled)))
    offsets = {"p": np.array([[5.0, 30.0], [10.0, 20.0]]), "x": np.array([[10.0], [5.0]])}
    gathers = imaging.offset_gathers(predict, models, shots, records, offsets, [0.0, 7.0, 25.0, 99.0])
    assert gathers.v.shape == (3, 30)
    assert_close(gathers.v.sum(0), found.v, 1e-12)
    assert_close(gathers.rho.sum(0), found.rho, 1e-12)


def test_illumination_divides_the_image(image):
    weights = np.random.default_rng(1).uniform(0, 1, SHAPE)
    found = imaging.migrate(PREDICT, V, SURVEY, RECORDS, illumination=weights, level=0.1)
    assert_close(found, image / (weights + 0.1 * weights.max()), 1e-12)


def test_an_image_is_a_function_like_others():
    """Between the cells, under jit, and differentiable with respect to the records, of which it is linear."""
    rng = np.random.default_rng(0)
    v, dv = rng.uniform(1500, 1700, 30), rng.standard_normal(30)
    survey = dict(
        source_amplitudes=np.tile(amplitudes(60, DT, delay=0.03)[0], (3, 1, 1)),
        source_locations=jaxwave.Hicks(rng.uniform(3, 20, (3, 1, 1)), (30,)),
        receiver_locations=jaxwave.Hicks(rng.uniform(3, 20, (3, 2, 1)), (30,)),
    )
    records = jnp.asarray(rng.standard_normal((3, 2, 60)))

    def product(v, records):
        return jnp.vdot(dv, imaging.migrate(PREDICT, v, survey, records, batch=2))

    found, pulled = jax.jit(jax.value_and_grad(product, 1))(jnp.asarray(v), records)
    born = jax.jvp(lambda v: PREDICT(v, survey), (v,), (dv,))[1]
    assert_close(pulled, born, 1e-12)
    assert abs(found - jnp.vdot(born, records)) < 1e-12 * jnp.linalg.norm(born) * jnp.linalg.norm(records)


def test_scattered_records_are_those_without_the_background(small):
    predict, v, survey, _ = small
    records = np.random.default_rng(1).standard_normal((2, 2, 60))
    assert_close(imaging.scattered(predict, v, survey, predict(v, survey) + records, batch=1), records, 1e-12)


# ---- least squares ----


def test_least_squares_is_that_of_the_dense_matrix(small):
    predict, v, survey, matrix = small
    rng = np.random.default_rng(3)
    data = rng.standard_normal((2, 2, 60))
    want = np.linalg.lstsq(matrix, data.ravel())[0]
    found = imaging.least_squares(predict, v, survey, data, 60, batch=1, tolerance=1e-12)
    assert_close(found.image, want, 1e-7)  # the condition number, about 1e3, squared in normal equations, times 1e-13
    best = 0.5 * float(np.sum((matrix @ want - data.ravel()) ** 2))
    assert found.misfits[0] == pytest.approx(0.5 * np.sum(data**2), rel=1e-12)
    assert found.misfits[-1] == pytest.approx(best, rel=1e-10)
    assert all(np.diff(found.misfits) < 1e-12 * found.misfits[0])


@pytest.mark.parametrize("options", [{}, {"batch": 1, "keep": True}], ids=["one batch", "kept"])
def test_consistent_data_are_reached(small, options):
    predict, v, survey, matrix = small
    true = np.random.default_rng(4).standard_normal(16)
    seen, weights = [], imaging.illumination(predict, v, survey, batch=1)
    found = imaging.least_squares(
        predict, v, survey, (matrix @ true).reshape(2, 2, 60), 60, illumination=weights, level=1e-3, watch=seen.append,
        tolerance=1e-11, **options,
    )  # fmt: skip
    assert found.misfits[-1] < 1e-18 * found.misfits[0]
    assert_close(found.image, true, 1e-7)
    assert len(seen) == len(found.misfits) - 1 and seen[-1].misfits == found.misfits
    assert_close(seen[-1].image, found.image, 1e-15)


def test_damping_is_that_of_the_dense_matrix(small):
    predict, v, survey, matrix = small
    data = np.random.default_rng(3).standard_normal((2, 2, 60))
    found = imaging.least_squares(predict, v, survey, data, 60, damping=0.05, tolerance=1e-13, batch=1).image
    gradient = matrix.T @ data.ravel()
    shift = 0.05 * np.sum((matrix @ gradient) ** 2) / np.sum(gradient**2)
    assert_close(found, np.linalg.solve(matrix.T @ matrix + shift * np.eye(16), gradient), 1e-10)


def test_no_data_make_no_image(small):
    predict, v, survey, _ = small
    found = imaging.least_squares(predict, v, survey, np.zeros((2, 2, 60)), 5, batch=1)
    assert not found.image.any() and found.misfits == [0.0]


# ---- illumination ----


def test_illumination_is_the_diagonal(small):
    predict, v, survey, matrix = small
    want = np.sum(np.square(matrix), axis=0)
    assert_close(imaging.illumination(predict, v, survey, batch=1), want, 1e-12)
    estimate = imaging.illumination(predict, v, survey, jax.random.key(0), 60, batch=1)
    # The relative deviation of a sample is at most the root of 2; four deviations of the mean of 60.
    assert (np.abs(estimate - want) < 4 * (2 / 60) ** 0.5 * want).all()
    assert (estimate >= 0).all() and (estimate != want).any()


def test_source_illumination_is_the_energy_of_the_wavefield():
    grid = jaxwave.Grid(H, boundary=jaxwave.Boundary(pml_width=4, pml_freq=25.0))
    medium, shots = jaxwave.Scalar(V[:, 0]), {"sources": (SURVEY["source_amplitudes"], SOURCES[..., :1])}
    out = jaxwave.simulate(medium, grid, DT, **shots, receivers=np.tile(np.arange(SHAPE[0])[:, None], (3, 1, 1)))
    want = DT * np.sum(np.square(out.record), axis=(0, 2))
    assert_close(imaging.source_illumination(medium, grid, DT, batch=2, **shots), want, 1e-12)
    sampled = imaging.source_illumination(medium, grid, DT, every=3, **shots)
    assert_close(sampled, want, 0.05)  # 11 samples a period at the peak frequency, 4 at twice the highest


# ---- gathers ----


def test_offset_gathers_add_up_to_the_image(image):
    distance = imaging.offsets(SOURCES, RECEIVERS, H)
    assert distance[0].tolist() == pytest.approx([5 * (1 + k**2) ** 0.5 for k in (1, 2, 5, 8)])
    found = imaging.offset_gathers(PREDICT, V, SURVEY, RECORDS, distance, [0.0, 20.0, 40.0, 99.0], batch=2)
    assert found.shape == (3, *SHAPE)
    assert_close(found.sum(0), image, 1e-12)
    near = np.where(distance[..., None] < 20, RECORDS, 0)
    assert 0 < np.count_nonzero(near) < near.size
    assert_close(found[0], imaging.migrate(PREDICT, V, SURVEY, near), 1e-12)


def test_offsets_of_places_that_are_left_out():
    places = np.array([[[2, 3], [jaxwave.IGNORE_LOCATION] * 2]])
    assert imaging.offsets([[[2, 1]]], places, (5.0, 10.0)).tolist() == [[20.0, np.inf]]


def test_time_lags_are_delays_of_the_receivers_wavefield(image):
    found = imaging.time_lag_gathers(PREDICT, V, SURVEY, RECORDS, [0, 4, -4, 1000], batch=2)
    assert_close(found[0], image, 1e-12)
    late = np.concatenate([np.zeros((N_SHOTS, 4, 4)), RECORDS[..., :-4]], axis=-1)
    early = np.concatenate([RECORDS[..., 4:], np.zeros((N_SHOTS, 4, 4))], axis=-1)
    for one, records in zip(found[1:], (late, early, 0 * late), strict=True):
        assert_close(one, imaging.migrate(PREDICT, V, SURVEY, records), 1e-12)


# ---- filters ----


def test_laplacian():
    z, x = np.mgrid[:30, :40] * 5.0
    wave = np.cos(0.1 * z + 0.2 * x)
    exact = (4 * np.sin(0.25) ** 2 + 4 * np.sin(0.5) ** 2) / 25  # of second differences
    assert_close(imaging.laplacian(wave, 5.0)[1:-1, 1:-1], exact * wave[1:-1, 1:-1], 1e-12)
    assert largest(imaging.laplacian(np.full((4, 5), 3.0))) == 0
    a, b = np.random.default_rng(0).standard_normal((2, 7, 9))
    products = [float(jnp.vdot(x, imaging.laplacian(y, (2.0, 3.0)))) for x, y in ((a, b), (b, a))]
    assert products[0] == pytest.approx(products[1], rel=1e-12)


def test_top_mute():
    weights = np.asarray(imaging.top_mute([[0.0, 300.0, np.inf]], 200, 2e-3, 1500.0, delay=0.04, taper=0.02))
    t = np.arange(200) * 2e-3
    for trace, arrival in zip(weights[0], (0.04, 0.24), strict=False):
        assert not trace[t < arrival - 1e-9].any() and (trace[t > arrival + 0.021] == 1).all()
        assert trace[np.argmin(np.abs(t - arrival - 0.01))] == pytest.approx(0.5, abs=1e-3)
        assert (np.diff(trace) >= 0).all()
    assert not weights[0, 2].any()


@pytest.mark.parametrize("axes", [(0, 1), (-1, -2)])
def test_periodic_plane_waves_are_separated_exactly(axes):
    z, t = np.mgrid[:32, :48]
    down = sum(np.cos(2 * np.pi * (w * t / 48 - k * z / 32) + w) for w, k in ((3, 2), (7, 5), (10, 15)))
    up = sum(np.cos(2 * np.pi * (w * t / 48 + k * z / 32) + k) for w, k in ((2, 3), (5, 5), (23, 15)))
    field = (down + up) if axes == (0, 1) else (down + up).T
    found = imaging.up_down(field, *axes, padding=False)
    for part, want in zip(found, (up, down), strict=True):
        assert_close(part if axes == (0, 1) else part.T, want, 1e-12)


def test_waves_of_a_vertical_well_are_separated():
    """Records of a run with a source above and one below: each part is the record of its own source."""
    grid = jaxwave.Grid(H, boundary=jaxwave.Boundary(pml_width=30, pml_freq=25.0))
    f, well = amplitudes(450, DT), np.arange(30, 90)[None, :, None]

    def record(*sources):
        shot = dict(sources=(np.tile(f, (1, len(sources), 1)), np.array(sources)[None, :, None]), receivers=well)
        return jaxwave.simulate(jaxwave.Scalar(np.full(120, 1500.0)), grid, DT, **shot).record[0]

    both, down, up = record(10, 110), record(10), record(110)
    found = imaging.up_down(both)
    inside = np.s_[12:-12]  # but for a wavelength at the ends of the well, where a wave stops as no wave does
    assert_close(found.up + found.down, both, 1e-12)
    assert largest(found.down[inside] - down[inside]) < 0.05 * largest(down)
    assert largest(found.up[inside] - up[inside]) < 0.05 * largest(up)


def test_a_snapshot_is_separated_by_its_analytic_signal():
    z = np.arange(600) * 5.0
    packets = {s: np.exp(-(((z - c) / 150) ** 2) + 0.1j * s * (z - c)) for s, c in ((-1, 1000.0), (1, 2000.0))}
    # exp(i (w t + k z)): the wavenumber of waves that travel down is negative.
    found = imaging.up_down(packets[-1] + packets[1], depth_axis=0, time_axis=None)
    assert_close(found.down, packets[-1].real, 1e-9)
    assert_close(found.up, packets[1].real, 1e-9)


# ---- mistakes ----


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: imaging.migrate(3, V, SURVEY, RECORDS), TypeError, "`predict` must be a function"),
        (lambda: imaging.migrate(PREDICT, V, SURVEY, RECORDS[:2]), ValueError, "`records` must have the shape of what"),
        (lambda: imaging.migrate(PREDICT, V, SURVEY, {"p": RECORDS}), ValueError, "`records` must be like what"),
        (lambda: imaging.migrate(PREDICT, V, {"a": 3.0}, RECORDS), ValueError, "`survey` must be an array"),
        (
            lambda: imaging.migrate(PREDICT, V, SURVEY | {"source_locations": SOURCES[:2]}, RECORDS),
            ValueError, "of one number of shots",
        ),
        (lambda: imaging.migrate(PREDICT, V, SURVEY, RECORDS, batch=0), ValueError, "`batch` must be at least 1"),
        (
            lambda: imaging.migrate(PREDICT, V, SURVEY, RECORDS, illumination=np.ones(3)),
            ValueError, "`illumination` must have the shapes of the models",
        ),
        (
            lambda: imaging.migrate(PREDICT, V, SURVEY, RECORDS, illumination=V, level=0.0),
            ValueError, "`level` must be positive",
        ),
        (lambda: imaging.least_squares(PREDICT, V, SURVEY, RECORDS, 0), ValueError, "`iterations` must be at least 1"),
        (
            lambda: imaging.least_squares(PREDICT, V, SURVEY, RECORDS, damping=-1.0),
            ValueError, "`damping` must not be negative",
        ),
        (lambda: imaging.illumination(PREDICT, V, SURVEY, samples=0), ValueError, "`samples` must be at least 1"),
        (
            lambda: imaging.offset_gathers(PREDICT, V, SURVEY, RECORDS, np.ones((3, 3)), [0.0, 1.0]),
            ValueError, "`offsets` must be those of the records' traces",
        ),
        (
            lambda: imaging.offset_gathers(PREDICT, V, SURVEY, RECORDS, np.ones((3, 4)), [1.0, 0.0]),
            ValueError, "`edges` must be increasing",
        ),
        (lambda: imaging.time_lag_gathers(PREDICT, V, SURVEY, RECORDS, []), ValueError, "`lags` is empty"),
        (lambda: imaging.time_lag_gathers(PREDICT, V, SURVEY, RECORDS, [0.5]), TypeError, "`lags` must be an integer"),
        (lambda: imaging.laplacian(V, -1.0), ValueError, "spacing"),
        (lambda: imaging.offsets([[2, 1]], [[[2, 1]]], 5.0), ValueError, "locations must be"),
        (lambda: imaging.top_mute([[1.0]], 5, 1e-3, 1500.0, taper=-1.0), ValueError, "`taper` must not be negative"),
        (lambda: imaging.up_down(np.ones((3, 4)), time_axis=None), TypeError, "must be real and have a time axis"),
        (lambda: imaging.up_down(np.ones((3, 4)) + 0j), TypeError, "must be real and have a time axis"),
        (lambda: imaging.up_down(np.ones((3, 4)), 1, -1), ValueError, "must be two axes of `field`"),
        (
            lambda: imaging.source_illumination(jaxwave.Scalar(V), jaxwave.Grid(H), DT, nt=3),
            ValueError, "`sources` are required",
        ),
        (
            lambda: imaging.source_illumination(
                jaxwave.Scalar(V), jaxwave.Grid(H), DT, sources=(RECORDS[:, :1], SOURCES), wavefields=("p",)
            ),
            ValueError, "no wavefield 'p' in 2 dimensions",
        ),
        (
            lambda: jax.eval_shape(
                lambda v: imaging.source_illumination(
                    jaxwave.Scalar(v), jaxwave.Grid(H), DT, sources=(RECORDS[:, :1], SOURCES)
                ), V,
            ),
            TypeError, "cannot be traced",
        ),
    ],
)  # fmt: skip
def test_mistakes(call, error, message):
    with pytest.raises(error, match=message):
        call()
