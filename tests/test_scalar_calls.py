"""What a call of the scalar propagator promises: survey, regions, continuing, failures, callbacks, transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from helpers import FREQ, amplitudes, bitwise_equal, largest, layered

import jaxwave
from jaxwave import IGNORE_LOCATION, PmlFrequencyWarning, SubstepWarning
from jaxwave._timeloop import observe
from jaxwave.wavelets import ricker

# ---- sources and receivers ----

SMALL = dict(grid_spacing=5.0, dt=8e-4, pml_freq=FREQ, pml_width=8)
# Every layer takes its time to compile.
ONE_LAYER, CORNER = SMALL | {"pml_width": [8, 0, 0, 0]}, SMALL | {"pml_width": [8, 0, 0, 8]}


def test_sources_at_one_place_add_up_and_receivers_repeat():
    v, f = layered((15, 17)), np.random.default_rng(2).standard_normal((1, 3, 80))
    places = np.array([[[4, 5], [9, 2], [4, 5]]])
    receivers = np.array([[[7, 7], [4, 5], [7, 7]]])
    out = jaxwave.scalar(
        v, **ONE_LAYER, source_amplitudes=f, source_locations=places, receiver_locations=receivers
    ).receiver_amplitudes
    merged = np.stack([f[:, 0] + f[:, 2], f[:, 1]], axis=1)
    want = jaxwave.scalar(
        v, **ONE_LAYER, source_amplitudes=merged, source_locations=places[:, :2], receiver_locations=receivers
    ).receiver_amplitudes
    assert np.array_equal(out[:, 0], out[:, 2])
    # The sum is rounded after the addition here, and before it there.
    reference.assert_close(out, want, 1e-13)


@pytest.mark.optimised
def test_ignored_locations_are_absent():
    v, f = layered((15, 17)), np.random.default_rng(3).standard_normal((2, 2, 60))
    skip = [IGNORE_LOCATION] * 2
    sources = np.array([[[4, 5], skip], [skip, [9, 2]]])
    receivers = np.array([[skip, [3, 3]], [[3, 3], skip]])
    out = jaxwave.scalar(
        v, **ONE_LAYER, source_amplitudes=f, source_locations=sources, receiver_locations=receivers
    ).receiver_amplitudes
    want = jaxwave.scalar(
        v, **ONE_LAYER, source_amplitudes=f[[0, 1], [0, 1]][:, None], source_locations=[[[4, 5]], [[9, 2]]],
        receiver_locations=[[[3, 3]]] * 2,
    ).receiver_amplitudes  # fmt: skip
    assert np.array_equal(out[0, 1], want[0, 0]) and np.array_equal(out[1, 0], want[1, 0])
    assert not out[0, 0].any() and not out[1, 1].any()


def test_all_locations_ignored_gives_silence():
    skip = [[[IGNORE_LOCATION] * 2]]
    out = jaxwave.scalar(
        layered((9, 8)), **SMALL, source_amplitudes=np.ones((1, 1, 20)), source_locations=skip, receiver_locations=skip
    )
    assert not out.receiver_amplitudes.any() and not out.wavefield_0.any()


def test_traced_location_outside_the_model_gives_nan():
    # Known locations raise before anything runs; traced ones cannot.
    def record(receivers):
        return jaxwave.scalar(
            layered((9, 8)), **SMALL, nt=3, wavefield_0=np.ones((1, 9, 8)), receiver_locations=receivers
        ).receiver_amplitudes

    out = jax.jit(record)(np.array([[[8, 7], [9, 7], [IGNORE_LOCATION] * 2]]))
    assert np.isfinite(out[0, 0]).all() and np.isnan(out[0, 1]).all() and not out[0, 2].any()


def test_order_within_a_step_is_record_update_inject():
    v, dt, shape = 1500.0, SMALL["dt"], (11, 12)
    u_0 = np.random.default_rng(4).standard_normal((1, *shape))
    out = jaxwave.scalar(
        np.full(shape, v), **SMALL, nt=1, wavefield_0=u_0, receiver_locations=[[[5, 6], [0, 11]]]
    ).receiver_amplitudes
    # The initial field itself, untouched.
    assert np.array_equal(out[0, :, 0], u_0[0, [5, 0], [6, 11]])

    f = np.zeros((1, 1, 6))
    f[0, 0, 2] = 3.0
    out = jaxwave.scalar(
        np.full(shape, v), **SMALL, source_amplitudes=f, source_locations=[[[5, 6]]], receiver_locations=[[[5, 6]]]
    ).receiver_amplitudes[0, 0]
    assert not out[:3].any()
    # One multiplication, rounded once or twice.
    assert out[3] == pytest.approx(-(v**2) * dt**2 * 3.0, rel=1e-15)


def test_no_sources_no_receivers_no_fields():
    out = jaxwave.scalar(layered((9, 8)), **SMALL, nt=5)
    assert out.receiver_amplitudes.shape == (1, 0, 5) and not out.wavefield_0.any()
    out = jaxwave.scalar(layered((3, 9, 8)), (5.0, 5.0), 8e-4, nt=5, pml_width=2)
    assert out.receiver_amplitudes.shape == (3, 0, 5)


# ---- regions of the model ----


@pytest.mark.optimised
def test_survey_pad_equals_the_cropped_model():
    v, f = layered((40, 50)), np.random.default_rng(5).standard_normal((2, 1, 60))
    sources, receivers = np.array([[[12, 20]], [[14, 22]]]), np.array([[[10, 25]], [[15, 18]]])

    def run(v, shift=0, **kw):
        return jaxwave.scalar(
            v, **CORNER, max_vel=2500.0, source_amplitudes=f, source_locations=sources - shift,
            receiver_locations=receivers - shift, **kw,
        )  # fmt: skip

    out = run(v, survey_pad=6)
    assert out.info.region == ((4, 12), (22, 32))
    cropped = run(v[4:22, 12:32], np.array([4, 12])[None, None])
    assert bitwise_equal((out.receiver_amplitudes, out.state), (cropped.receiver_amplitudes, cropped.state))

    # Per face; None means to the model's edge, and a pad that reaches beyond the model ends there.
    assert run(v, survey_pad=(None, 3, 100, None)).info.region == ((0, 0), (19, 50))
    uneven = run(v, survey_pad=(None, 3, 2, 7))
    assert uneven.info.region == ((0, 16), (19, 33))
    cropped = run(v[:19, 16:33], np.array([0, 16])[None, None])
    assert bitwise_equal(uneven.receiver_amplitudes, cropped.receiver_amplitudes)


@pytest.mark.optimised
def test_survey_pad_equals_the_whole_model_until_waves_reach_its_edge():
    # A cell is reached at most accuracy/2 = 2 cells per step; 12 cells there and back need 12 steps.
    v, f = layered((60, 60)), np.random.default_rng(6).standard_normal((1, 1, 12))

    def run(pad):
        return jaxwave.scalar(
            v,
            **SMALL | {"pml_width": 0},
            source_amplitudes=f,
            source_locations=[[[30, 30]]],
            receiver_locations=[[[31, 29]]],
            survey_pad=pad,
        ).receiver_amplitudes

    cropped, whole = run(12), run(None)
    assert largest(whole) > 0
    # The same sums in the same order, on arrays of another shape: equal but for fused multiplications.
    reference.assert_close(cropped, whole, 1e-14)


def test_survey_pad_skips_ignored_locations():
    receivers = np.array([[[10, 25], [IGNORE_LOCATION] * 2]])
    out = jaxwave.scalar(layered((40, 50)), **SMALL, nt=2, receiver_locations=receivers, survey_pad=4)
    assert out.info.region == ((6, 21), (15, 30))


@pytest.mark.optimised
def test_origin_places_initial_wavefields():
    v, rng = layered((30, 40)), np.random.default_rng(7)
    whole = rng.standard_normal((1, 12 + 16, 14 + 16))
    out = jaxwave.scalar(
        v, **SMALL, max_vel=2500.0, nt=20, wavefield_0=whole, origin=(5, 9), receiver_locations=[[[6, 10]]]
    )
    assert out.info.region == ((5, 9), (17, 23))
    cropped = jaxwave.scalar(
        v[5:17, 9:23], **SMALL, max_vel=2500.0, nt=20, wavefield_0=whole, receiver_locations=[[[1, 1]]]
    )
    assert bitwise_equal(out.receiver_amplitudes, cropped.receiver_amplitudes)


@pytest.mark.optimised
def test_wavefields_without_layers_are_padded_with_zeros():
    v, u = layered((12, 14)), np.random.default_rng(8).standard_normal((1, 12, 14))
    inner = jaxwave.scalar(v, **SMALL, nt=10, wavefield_0=u)
    full = jaxwave.scalar(v, **SMALL, nt=10, wavefield_0=np.pad(u, [(0, 0), (8, 8), (8, 8)]))
    assert bitwise_equal(inner.state, full.state)


# ---- continuing a run ----


@pytest.mark.optimised
@pytest.mark.parametrize(
    ("shape", "widths", "accuracy", "first", "nt"),
    [
        ((50,), 10, 8, 30, 60),
        pytest.param((50,), (0, 3), 2, 16, 31, marks=pytest.mark.slow),
        pytest.param((16, 19), 6, 4, 21, 43, marks=pytest.mark.slow),  # in 2-D: an example of docs/propagators.md
        pytest.param((16, 19), (0, 5, 2, 0), 6, 1, 30, marks=pytest.mark.slow),
        pytest.param((7, 9, 8), (3, 4, 0, 2, 5, 1), 4, 13, 27, marks=pytest.mark.slow),
    ],
)
def test_two_runs_equal_one_bit_for_bit(shape, widths, accuracy, first, nt):
    rng, ndim = np.random.default_rng(9), len(shape)
    v, f = layered((2, *shape)), rng.standard_normal((2, 2, nt))
    sources = np.stack([rng.integers(0, n, (2, 2)) for n in shape], -1)
    receivers = np.stack([rng.integers(0, n, (2, 3)) for n in shape], -1)

    def run(f, **kw):
        return jaxwave.scalar(
            v, (5.0,) * ndim, 5e-4, source_amplitudes=f, source_locations=sources, receiver_locations=receivers,
            pml_width=widths, accuracy=accuracy, pml_freq=FREQ, max_vel=2600.0, **kw,
        )  # fmt: skip

    whole, start = run(f), run(f[..., :first])
    rest = run(f[..., first:], initial_state=start.state)
    joined = np.concatenate([start.receiver_amplitudes, rest.receiver_amplitudes], axis=-1)
    assert bitwise_equal(rest.state, whole.state)
    assert bitwise_equal(joined, whole.receiver_amplitudes)


@pytest.mark.optimised
def test_initial_wavefields_continue_a_run_without_layers():
    v, f = layered((14, 13)), np.random.default_rng(10).standard_normal((1, 1, 40))

    def run(f, **kw):
        return jaxwave.scalar(v, 5.0, 8e-4, pml_width=0, source_amplitudes=f, source_locations=[[[3, 4]]], **kw)

    start = run(f[..., :17])
    rest = run(f[..., 17:], wavefield_0=start.wavefield_0, wavefield_m1=start.wavefield_m1)
    assert bitwise_equal(rest.state, run(f).state)


# ---- models, grids and dtypes ----


def test_a_model_per_shot_equals_separate_runs():
    v, rng = layered((3, 15, 17)), np.random.default_rng(11)
    f = rng.standard_normal((3, 1, 50))
    sources, receivers = rng.integers(0, 15, (3, 1, 2)), rng.integers(0, 15, (3, 2, 2))

    def run(v, s):
        return jaxwave.scalar(
            v,
            **ONE_LAYER,
            max_vel=2500.0,
            source_amplitudes=f[s],
            source_locations=sources[s],
            receiver_locations=receivers[s],
        ).receiver_amplitudes

    together = run(v, slice(None))
    separate = np.concatenate([run(v[i], slice(i, i + 1)) for i in range(3)])
    # The same sums per cell; vector instructions may fuse them differently in arrays of another shape.
    reference.assert_close(together, separate, 1e-13)
    one = run(v[:1], slice(None))
    reference.assert_close(one, run(v[0], slice(None)), 1e-13)


def test_spacing_belongs_to_its_axis():
    v, f = layered((13, 17)), np.random.default_rng(12).standard_normal((1, 1, 60))

    def run(v, h, s, r, widths):
        return jaxwave.scalar(
            v, h, 1e-3, source_amplitudes=f, source_locations=[[s]], receiver_locations=[[r]], pml_width=widths,
            pml_freq=FREQ,
        ).receiver_amplitudes  # fmt: skip

    upright = run(v, (5.0, 8.0), [2, 3], [10, 9], (3, 4, 5, 6))
    turned = run(v.T, (8.0, 5.0), [3, 2], [9, 10], (5, 6, 3, 4))
    # Transposed: the same terms, summed in another order.
    reference.assert_close(turned, upright, 1e-12)
    # Lengths and speeds in other units: what matters is v dt / h. A power of two changes no digit but the amplitude's.
    scaled = run(4 * v, (20.0, 32.0), [2, 3], [10, 9], (3, 4, 5, 6)) / 16
    reference.assert_close(scaled, upright, 1e-13)


def test_stretched_spacing_is_seen_by_a_plane_wave():
    # Uniform along axis 0 with reflecting faces there far away: a 1-D wave along axis 1, at that axis's spacing.
    v, h, dt, nt = 1500.0, (50.0, 5.0), 1e-3, 40
    u = np.exp(-(((np.arange(80) - 40) / 4) ** 2))
    line = jaxwave.scalar(np.full(80, v), h[1], dt, nt=nt, wavefield_0=u[None], pml_width=0).wavefield_0[0]
    n = 2 * 2 * nt + 1  # the edges are felt two cells a step
    plane = jaxwave.scalar(
        np.full((n, 80), v), h, dt, nt=nt, wavefield_0=np.tile(u, (1, n, 1)), pml_width=0
    ).wavefield_0[0, n // 2]
    # The differences along axis 0 cancel but for rounding.
    reference.assert_close(plane, line, 1e-12)


def test_float32_is_close_to_float64():
    v, f = layered((20, 24)), amplitudes(200, 8e-4, delay=0.06)
    places = dict(source_locations=[[[4, 5]]], receiver_locations=[[[15, 18]]])
    single = jaxwave.scalar(v.astype(np.float32), **CORNER, source_amplitudes=f.astype(np.float32), **places)
    double = jaxwave.scalar(v, **CORNER, source_amplitudes=f, **places)
    assert all(x.dtype == np.float32 for x in jax.tree.leaves(single.state))
    assert single.receiver_amplitudes.dtype == np.float32
    # Rounding of 6e-8 per step adds up to 200 times that, or its square root if random; and once more in leapfrog's
    # second difference.
    reference.assert_close(single.receiver_amplitudes, double.receiver_amplitudes, 2e-5)


# ---- sub-steps ----


@pytest.mark.parametrize("ndim", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_substeps_equal_a_run_at_the_small_step(ndim):
    v, dt, nt = np.full((30,) * ndim, 1500.0), 6e-3, 160
    places = dict(source_locations=[[[10] * ndim]], receiver_locations=[[[17] * ndim, [3] * ndim]])
    f = amplitudes(nt, dt, freq=10.0, delay=0.2)
    common = dict(places, pml_freq=10.0)
    with pytest.warns(SubstepWarning, match="divided into"):
        coarse = jaxwave.scalar(v, 5.0, dt, source_amplitudes=f, **common)
    ratio = coarse.info.step_ratio
    assert ratio == reference.step_ratio_of(dt, 1500.0, (5.0,) * ndim) > 1
    assert coarse.info.inner_dt == dt / ratio
    fine_f = amplitudes(nt * ratio, dt / ratio, freq=10.0, delay=0.2)
    fine = jaxwave.scalar(v, 5.0, dt / ratio, source_amplitudes=fine_f, **common)
    assert fine.info.step_ratio == 1
    # The wavelet ends near 25 Hz, 0.3 of the Nyquist frequency of 83 Hz, where sources are interpolated to some 3e-3.
    reference.assert_close(coarse.receiver_amplitudes, fine.receiver_amplitudes[..., ::ratio], 2e-3)


# ---- failures while running ----


def overflowing(v):
    f = np.full((1, 1, 30), 1e38, np.float32)
    return jaxwave.scalar(
        v,
        **SMALL,
        max_vel=2500.0,
        source_amplitudes=1e0 * f,
        source_locations=[[[3, 3]]],
        receiver_locations=[[[4, 4]]],
    )


def test_overflow_raises_eagerly_and_is_flagged_under_jit():
    v = np.full((9, 8), 2500.0, np.float32)
    with pytest.raises(FloatingPointError, match="non-finite within 30 steps"):
        overflowing(v)
    assert not jax.jit(lambda v: overflowing(v).is_finite)(v)
    fine = jax.jit(lambda v: jaxwave.scalar(v, **SMALL, max_vel=2500.0, nt=3).is_finite)(v)
    assert fine


# ---- callbacks ----


class Recorder:
    """A callback that keeps what it is given."""

    def __init__(self):
        self.states = []

    def __call__(self, state):
        self.states.append(state)


def callback_run(v, f, **kw):
    return jaxwave.scalar(
        v, 5.0, 8e-4, pml_width=(3, 4, 0, 5), pml_freq=FREQ, max_vel=2500.0, source_amplitudes=f,
        source_locations=[[[4, 5]]], receiver_locations=[[[8, 9]]], **kw,
    )  # fmt: skip


@pytest.mark.parametrize("under_jit", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_forward_callback_sees_the_wavefields(under_jit):
    v, f, seen = layered((12, 14)), np.random.default_rng(13).standard_normal((1, 1, 20)), Recorder()

    def run(v):
        return callback_run(v, f, forward_callback=seen, callback_frequency=6).receiver_amplitudes

    jax.block_until_ready((jax.jit(run) if under_jit else run)(v))
    jax.effects_barrier()
    assert [(s.step, s.nt, s.dt, s.direction) for s in seen.states] == [
        (t, 20, 8e-4, "forward") for t in (0, 6, 12, 18)
    ]
    for state in seen.states:
        assert state.wavefield_names == ("wavefield_0", "wavefield_m1")
        inner, pml, full = (state.get_wavefield("wavefield_0", view) for view in ("inner", "pml", "full"))
        assert inner.shape == (1, 12, 14) and pml.shape == (1, 19, 19) and full.ndim == 3
        assert np.array_equal(pml[:, 3:15, :14], inner)
        if state.step == 0:
            assert not pml.any()
            continue
        until = callback_run(v, f[..., : state.step])
        # The same loop, cut short; compiled apart, so equal to the last bit but one.
        reference.assert_close(pml, until.wavefield_0, 1e-14)
        reference.assert_close(state.get_wavefield("wavefield_m1", "pml"), until.wavefield_m1, 1e-14)
    with pytest.raises(ValueError, match="no field 'v'"):
        seen.states[0].get_gradient()
    with pytest.raises(ValueError, match="no field 'u'"):
        seen.states[0].get_wavefield("u")
    with pytest.raises(ValueError, match="view='all' is unknown"):
        seen.states[0].get_wavefield(view="all")


@pytest.mark.parametrize("under_jit", [pytest.param(False, marks=pytest.mark.slow), True])
def test_backward_callback_sees_the_adjoint_wavefields(under_jit):
    v, rng, seen = layered((12, 14)), np.random.default_rng(14), Recorder()
    f, weights = rng.standard_normal((1, 1, 20)), rng.standard_normal((1, 1, 20))

    def loss(v):
        return (callback_run(v, f, backward_callback=seen, callback_frequency=9).receiver_amplitudes * weights).sum()

    gradient = jax.grad(loss)
    jax.block_until_ready((jax.jit(gradient) if under_jit else gradient)(v))
    jax.effects_barrier()
    assert [(s.step, s.direction) for s in seen.states] == [(t, "backward") for t in (18, 9, 0)]
    for state in seen.states:
        # The adjoint wavefield at t is the derivative of what follows with respect to the wavefield at t.
        def rest(u, state=state):
            out = jaxwave.scalar(
                v, 5.0, 8e-4, pml_width=(3, 4, 0, 5), pml_freq=FREQ, max_vel=2500.0, nt=20 - state.step, wavefield_0=u,
                wavefield_m1=np.zeros((1, 19, 19)), receiver_locations=[[[8, 9]]],
            )  # fmt: skip
            return (out.receiver_amplitudes * weights[..., state.step :]).sum()

        want = jax.jit(jax.grad(rest))(np.zeros((1, 19, 19)))
        # Linear in the wavefields, so the source plays no part; two programs' rounding.
        reference.assert_close(state.get_wavefield("wavefield_0", "pml"), want, 1e-12)
        assert state.get_gradient("v", "inner").shape == (1, 12, 14)
    # Nothing at the last step; and all but the first step's share at the end.
    assert largest(seen.states[-1].get_gradient()) > largest(seen.states[0].get_gradient())


def test_callback_steps_count_the_users_steps():
    seen = Recorder()
    with pytest.warns(SubstepWarning):
        out = jaxwave.scalar(np.full(20, 2000.0), 5.0, 4e-3, nt=6, forward_callback=seen, callback_frequency=2)
    assert out.info.step_ratio == 3
    jax.effects_barrier()
    assert [s.step for s in seen.states] == [0, 2, 4]


class Enough(Exception):
    """What a user's callback may raise."""


@pytest.mark.parametrize("error", [Enough("seen"), KeyboardInterrupt()], ids=["exception", "interrupt"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_callbacks_exception_comes_out_of_an_eager_call_as_it_is(direction, error):
    def stop(state):
        if state.step == 6:
            raise error

    options = {f"{direction}_callback": stop, "callback_frequency": 6, "storage_mode": "cpu"}

    def run(v):
        return callback_run(v, np.ones((1, 1, 12)), **options).receiver_amplitudes.sum()

    with pytest.raises(type(error)) as raised:
        (run if direction == "forward" else jax.grad(run))(layered((12, 14)))
    assert raised.value is error
    assert jaxwave.storage.stats().writing == 0
    assert not observe._watching


def test_a_callbacks_exception_under_jit_is_told_in_the_text():
    def stop(state):
        raise Enough("seen")

    with pytest.raises(jax.errors.JaxRuntimeError, match="Enough: seen"):
        jax.block_until_ready(jax.jit(lambda v: callback_run(v, np.ones((1, 1, 4)), forward_callback=stop)[-1])(
            layered((12, 14))
        ))  # fmt: skip
    assert not observe._watching


# ---- transformations ----

FIXED = dict(SMALL, max_vel=2500.0)


def record(v, f):
    """One shot."""
    return jaxwave.scalar(
        v, **FIXED, source_amplitudes=f, source_locations=[[[3, 4]]], receiver_locations=[[[8, 5], [1, 1]]]
    ).receiver_amplitudes


@pytest.fixture(scope="module")
def looped():
    """Three models and sources, one after the other."""
    v, f = layered((3, 10, 9)), np.random.default_rng(15).standard_normal((3, 1, 1, 30))
    return v, f, np.stack([record(*x) for x in zip(v, f, strict=True)])


@pytest.mark.parametrize(
    "transformation", ["jit", "map", "scan", pytest.param("vmap", marks=pytest.mark.slow), "vmap of one", "jit of vmap"]
)
def test_transformations_equal_a_python_loop(transformation, looped):
    v, f, want = looped
    v, f = jnp.asarray(v), jnp.asarray(f)
    if transformation == "jit":
        got = jnp.stack([jax.jit(record)(*x) for x in zip(v, f, strict=True)])
    elif transformation == "map":
        got = jax.lax.map(lambda x: record(*x), (v, f))
    elif transformation == "scan":
        got = jax.lax.scan(lambda total, x: (total + 1, record(*x)), 0, (v, f))[1]
    elif transformation == "vmap":
        got = jax.vmap(record)(v, f)
    elif transformation == "jit of vmap":
        got = jax.jit(jax.vmap(record))(v, f)
    else:
        got = jax.vmap(record, in_axes=(None, 0))(v[0], f)
        want = np.stack([record(v[0], x) for x in f])
    # Other programs, the same sums: rounding may differ in the last place.
    reference.assert_close(got, want, 1e-13)


@pytest.mark.slow
def test_a_gradient_descent_in_a_scan_equals_a_python_loop(looped):
    _, f, want = looped

    def loss(v):
        return ((record(v, f[0]) - want[1]) ** 2).sum()

    def update(v):
        return v - 0.1 / largest(want) ** 2 * jax.grad(loss)(v)

    start = jnp.full((10, 9), 2000.0)
    scanned, _ = jax.lax.scan(lambda v, _: (update(v), None), start, None, length=3)
    looped = start
    for _ in range(3):
        looped = update(looped)
    assert largest(looped - start) > 1e-6
    # As above; the update is small against v.
    reference.assert_close(scanned - start, looped - start, 1e-8)


def test_unknown_source_values_need_pml_freq_or_warn():
    f = jnp.ones((1, 1, 5))
    run = jax.jit(
        lambda f: (
            jaxwave.scalar(
                np.full(9, 1500.0), 5.0, 1e-3, pml_width=2, source_amplitudes=f, source_locations=[[[3]]]
            ).wavefield_0
        )
    )
    with pytest.warns(PmlFrequencyWarning, match="Pass pml_freq"):
        run(f)


def test_pml_freq_is_found_from_the_sources():
    skip = [[[3], [IGNORE_LOCATION]]]
    f = np.concatenate([ricker(20.0, 300, 1e-3)[None, None], ricker(60.0, 300, 1e-3)[None, None]], axis=1)
    out = jaxwave.scalar(np.full(9, 1500.0), 5.0, 1e-3, source_amplitudes=f, source_locations=skip)
    # Three digits are kept; the ignored source does not count.
    assert out.info.pml_freq == pytest.approx(20.0, rel=5e-3)
