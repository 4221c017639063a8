"""Sub-steps: records are the loop's own values, sources are interpolated locally, and runs go on bit for bit."""

import dataclasses
import functools
import warnings

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from helpers import bitwise_equal, largest, wavelet

import jaxwave
from jaxwave import NoEffectWarning, SubstepWarning
from jaxwave._setup import substeps
from jaxwave.storage import DeviceStorage, DiskStorage, Fourier, HostStorage, Recompute

# ---- the interpolation of sources ----


@pytest.mark.parametrize("step_ratio", [2, 3, 7])
def test_weights_are_exact_for_polynomials_and_to_one_percent_up_to_the_band(step_ratio):
    inside = np.arange(1, step_ratio) / step_ratio - 1
    for n in range(1, substeps.REACH + 2):
        w, nodes = substeps.weights(step_ratio, n), -np.arange(n)
        for power in range(min(n, substeps.EXACT)):
            # Rounding of sums of up to 8 terms of at most 7^5.
            np.testing.assert_allclose(w @ (1.0 * nodes) ** power, inside**power, atol=1e-11)
    omega = np.pi * np.linspace(0, substeps.BAND, 100)
    w, nodes = substeps.weights(step_ratio, substeps.REACH + 1), -np.arange(substeps.REACH + 1)
    errors = abs(w @ np.exp(1j * np.outer(nodes, omega)) - np.exp(1j * np.outer(inside, omega)))
    assert errors.max() < 0.01
    # Of a tenth of the Nyquist frequency, 20 samples to a period, order 6 leaves little.
    assert errors[:, omega <= 0.1 * np.pi].max() < 5e-5


@pytest.mark.parametrize("step_ratio", [2, 3])
def test_a_sample_depends_on_no_later_one(step_ratio):
    nt = 12
    matrix = jax.jacobian(lambda x: substeps.interpolate(x, None, step_ratio))(jnp.zeros(nt))
    assert matrix.shape == (substeps.loop_steps(nt, step_ratio, goes_on=False), nt)
    step, sample = np.nonzero(np.asarray(matrix))
    # A step of the loop after t_{i-1}, up to t_i, sees sample i and the seven before it.
    assert (sample <= -(-step // step_ratio)).all() and (sample >= -(-step // step_ratio) - substeps.REACH).all()
    np.testing.assert_array_equal(matrix[::step_ratio], np.eye(nt))


@pytest.mark.optimised
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_interpolation_in_parts_is_that_of_the_whole_bit_for_bit(dtype):
    x = np.random.default_rng(0).standard_normal((30, 5, 7)).astype(dtype)
    interpolate = jax.jit(substeps.interpolate, static_argnums=2)
    whole = interpolate(x, None, 3)
    for n in (1, 2, 7, 8, 29):
        before = np.moveaxis(substeps.last_samples(np.moveaxis(x[:n], 0, -1)), -1, 0)
        parts = interpolate(x[:n], None, 3), interpolate(x[n:], before, 3)
        assert bitwise_equal(np.concatenate(parts), whole)


# ---- records ----

V, RHO = 2500.0, 1000.0
MEDIA = {"scalar": (V,), "acoustic": (V, RHO), "elastic": jaxwave.vpvsrho_to_lambmubuoyancy(V, V / 2, RHO)}
KINDS = {"scalar": ("", [""]), "acoustic": ("p", ["p", "x"]), "elastic": ("p", ["p", "x", "xx"])}


def shot(name, dt, source, receiver=30):
    """Records of every kind, of a wave that passes as the record ends; 1-D but for the elastic equation."""
    ndim, (kind, receivers) = (2 if name == "elastic" else 1), KINDS[name]
    shape, beyond = (40,) if ndim == 1 else (5, 40), [0] * (2 * ndim - 2)
    models = [np.full(shape, float(x)) for x in MEDIA[name]]
    place = lambda x: [[[2] * (ndim - 1) + [x]]]  # noqa: E731
    out = getattr(jaxwave, name)(
        *models, 10.0, dt, pml_width=[*beyond, 6, 6], boundary=["periodic" for _ in beyond] + ["pml", "pml"],
        pml_freq=15.0, max_vel=V,
        **{contract.suffixed("source_amplitudes", kind): source, contract.suffixed("source_locations", kind): place(8)},
        **{contract.suffixed("receiver_locations", k): place(receiver) for k in receivers},
    )  # fmt: skip
    return {k: np.asarray(getattr(out, contract.suffixed("receiver_amplitudes", k)))[0, 0] for k in receivers}, out.info


@pytest.mark.parametrize("name", list(KINDS))
def test_a_record_is_what_the_loop_has_at_its_samples_times(name):
    """Velocities and strain rates too, half a step of the loop before; the record ends while the wave passes."""
    dt, nt = 8e-3 if name != "elastic" else 4e-3, 24 if name != "elastic" else 48

    def source(dt, nt):
        return wavelet(np.arange(nt) * dt, freq=10.0, delay=0.1)[None, None]

    with pytest.warns(SubstepWarning, match="Records are the loop's own values"):
        found, info = shot(name, dt, source(dt, nt))
    k = info.step_ratio
    assert k > 1
    n = substeps.loop_steps(nt, k, goes_on=False)
    assert info.state_time == pytest.approx(n * info.inner_dt)
    interpolated = jax.jit(substeps.interpolate, static_argnums=2)(source(dt, nt)[0, 0], None, k)
    same, own = (shot(name, info.inner_dt, f)[0] for f in (interpolated[None, None], source(info.inner_dt, n)))
    for kind, record in found.items():
        assert abs(record[-1]) > 0.1 * largest(record)
        # Two programs' rounding.
        reference.assert_close(record, same[kind][::k], 1e-12)
        # 10 Hz is 0.16 of the Nyquist frequency, the wavelet's end 0.4 of it (half that in elastic waves).
        assert largest(record - own[kind][::k]) < 0.005 * largest(own[kind])


# ---- going on ----

GOING_ON = [
    contract.Case("scalar", 1, ratio=3, nt=20),
    contract.Case("acoustic", 1, ratio=2, nt=20),
    contract.Case("elastic", 2, ratio=2, nt=12),
]


def part(case, arguments, span, state, **options):
    """A run of some of the samples, from a state or from rest."""
    sources = {k: x[..., span] for k, x in arguments.items() if k.startswith("source_amplitudes")}
    begin = {} if state is None else {"initial_state": state}
    models = {k: options.pop(k, x) for k, x in case.models().items()}
    return contract.run(case, {**models, **sources, **begin}, **options)


def joined(parts):
    records = [contract.records(out) for out in parts]
    return {k: np.concatenate([r[k] for r in records], axis=-1) for k in records[0]}


# Every part of another length is a program. Of fewer samples than a sub-step depends on, and of more.
CUTS = [(GOING_ON[0], (1, 2, 10)), (GOING_ON[1], (1, 2, 10))]
MORE_CUTS = [(x, cuts) for x in GOING_ON[:2] for cuts in [(5, 8), (x.nt - 1,)]]
MORE_CUTS += [(GOING_ON[2], cuts) for cuts in [(1,), (3, 9)]]


@pytest.mark.optimised
@pytest.mark.parametrize(
    ("case", "cuts"), [*CUTS, *(pytest.param(*x, marks=pytest.mark.slow) for x in MORE_CUTS)], ids=str
)
def test_runs_in_parts_equal_one_bit_for_bit(case, cuts):
    given = contract.inputs(case)
    whole = part(case, given, slice(None), None)
    parts, state = [], None
    for a, b in zip((0, *cuts), (*cuts, case.nt), strict=True):
        parts.append(part(case, given, slice(a, b), state))
        state = parts[-1].state
    assert bitwise_equal((joined(parts), state), (contract.records(whole), whole.state))
    assert jax.tree.structure(state) == jax.tree.structure(whole.state)


@pytest.mark.optimised
def test_a_run_goes_on_from_a_checkpoint(tmp_path):
    case = GOING_ON[1]
    given = contract.inputs(case)
    whole, first = part(case, given, slice(None), None), part(case, given, slice(11), None)
    jaxwave.io.save_checkpoint(tmp_path / "state.h5", first.state)
    like = jax.eval_shape(lambda: part(case, given, slice(11), None).state)
    state = jaxwave.io.load_checkpoint(tmp_path / "state.h5", jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), like))
    rest = part(case, given, slice(11, None), state)
    assert bitwise_equal((joined([first, rest]), rest.state), (contract.records(whole), whole.state))


@pytest.mark.optimised
def test_a_kind_of_source_that_comes_later_was_silent_before():
    case = GOING_ON[1]
    given = contract.inputs(case)
    late = {k: jnp.asarray(x) for k, x in given.items() if k.startswith("source")}
    late = {k: x if k.endswith("_p") else x.at[..., :9].set(0) for k, x in late.items()}
    whole = part(case, late, slice(None), None)
    for first in ({k: x for k, x in late.items() if k.endswith("_p")}, {}):
        if not first:
            late = {k: x.at[..., :9].set(0) for k, x in late.items()}
            whole = part(case, late, slice(None), None)
        start = part(case, first, slice(9), None, nt=9)
        rest = part(case, late, slice(9, None), start.state)
        assert bitwise_equal((joined([start, rest]), rest.state), (contract.records(whole), whole.state))


def test_a_scan_over_parts_of_a_run():
    case = GOING_ON[0]
    f = contract.inputs(case)["source_amplitudes"]
    whole = part(case, {"source_amplitudes": f}, slice(None), None)
    first = part(case, {"source_amplitudes": f[..., :8]}, slice(None), None)

    def more(state, f):
        out = part(case, {"source_amplitudes": f}, slice(None), state)
        return out.state, out.receiver_amplitudes

    state, records = jax.lax.scan(more, first.state, np.stack([f[..., 8:14], f[..., 14:]]))
    # Other programs' rounding, over 60 steps.
    reference.assert_close(jnp.concatenate([first.receiver_amplitudes, *records], -1), whole.receiver_amplitudes, 1e-12)
    reference.assert_close(state, whole.state, 1e-12)


def test_a_gradient_through_two_parts_is_that_of_one():
    case = GOING_ON[0]
    given = contract.inputs(case)
    f, weights = given["source_amplitudes"], np.random.default_rng(1).standard_normal(case.nt)

    def misfit(v, f, cut):
        spans, parts, state = ([slice(None)] if cut is None else [slice(cut), slice(cut, None)]), [], None
        for span in spans:
            parts.append(part(case, {"source_amplitudes": f}, span, state, v=v))
            state = parts[-1].state
        record = jnp.concatenate([out.receiver_amplitudes for out in parts], axis=-1)
        return (record * weights[None, None]).sum()

    # The same sums in other groups.
    one, two = (jax.jit(jax.grad(misfit, (0, 1)), static_argnums=2)(given["v"], f, cut) for cut in (None, 9))
    reference.assert_close(two, one, 1e-11)


# ---- states of other runs ----


def state_and_run():
    """A state with sub-steps, and what goes on from it."""
    f = np.ones((1, 2, 10))

    def run(dt=4e-3, f=f, **options):
        sources = {} if f is None else dict(source_amplitudes=f, source_locations=np.full((1, f.shape[1], 1), 3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SubstepWarning)
            return jaxwave.scalar(np.full(12, 2000.0), 5.0, dt, pml_width=2, pml_freq=20.0, **sources, **options)

    return run().state, run


def test_states_of_other_substeps_are_refused():
    state, run = state_and_run()
    for dt, words in ((1e-3, "this run has no sub-steps"), (2.9e-3, "this run has 2 sub-steps a time step")):
        with pytest.raises(ValueError, match=f"is of a run with 3 sub-steps a time step, but {words}"):
            run(dt=dt, initial_state=state)
    with pytest.raises(ValueError, match=r"a run with no sub-steps, but this run has 3.*max_vel"):
        run(initial_state=run(dt=1e-3).state)


def test_sources_must_go_on():
    state, run = state_and_run()
    with pytest.raises(ValueError, match=r"had 2 sources and sub-steps.*amplitudes of zeros where they have ended"):
        run(f=None, nt=4, initial_state=state)
    with pytest.raises(ValueError, match=r"of shape \(1, 2, 7\).*this run needs \(1, 3, 7\). Give the same sources"):
        run(f=np.ones((1, 3, 10)), initial_state=state)
    # The remedy; and what is over may be left out.
    silent = run(f=np.zeros((1, 2, 10)), initial_state=state).state
    assert largest(silent.last_sources.samples[""]) == 0 < largest(silent.wavefield_0)
    assert run(f=None, nt=4, initial_state=silent).state.last_sources.samples == {}


def test_options_of_a_resampling_warn_that_they_do_nothing():
    def run(**options):
        call = functools.partial(jaxwave.scalar, np.full(9, 1500.0), 5.0, 1e-3, nt=2, pml_freq=9.0, pml_width=2)
        jax.eval_shape(lambda: call(**options))

    with pytest.warns(NoEffectWarning, match="`time_pad_frac` and `time_taper` given, which does nothing") as seen:
        run(time_pad_frac=0.1, time_taper=True)
    assert seen[0].filename == __file__
    run(time_pad_frac=0.0, time_taper=False, freq_taper_frac=0.0)


# ---- gradients: every policy, and intervals that do not divide the number of steps ----


def sampled(interval, ratio=3, nt=12, **options):
    """A function v -> record, of 1 + 11 * 3 = 34 steps of the loop, and where to linearise it and along what."""
    case = contract.Case("scalar", 1, 2, n_shots=1, ratio=ratio, nt=nt)
    given = contract.inputs(case)
    sources = {k: x for k, x in given.items() if k.startswith("source")}

    def function(models):
        with_interval = {"model_gradient_sampling_interval": interval, **options}
        return contract.records(contract.run(case, {**models, **sources}, **with_interval))

    models = {k: jnp.asarray(x) for k, x in case.models().items()}
    return function, models, contract.random_like(3, models)


@pytest.mark.parametrize("interval", [1, 4, 50])
def test_linearised_runs_and_their_transposes_match(interval):
    function, models, along = sampled(interval)

    @jax.jit
    def both(models, along):
        _, push = jax.linearize(function, models)
        moved = push(along)
        return moved, jax.linear_transpose(push, models)(moved)[0]

    moved, pulled = both(models, along)
    # Rounding, of sums of some hundred terms.
    assert abs(contract.inner(moved, moved) / contract.inner(pulled, along) - 1) < 1e-12
    if interval == 1:
        e = 1e-4
        move = lambda s: jax.tree.map(lambda x, d: x + s * d, models, along)  # noqa: E731
        ahead, behind = (jax.jit(function)(move(s)) for s in (e, -e))
        # Differences: e^2 of a smooth function, and rounding over e.
        reference.assert_close(moved, jax.tree.map(lambda a, b: (a - b) / (2 * e), ahead, behind), 1e-6)


def test_the_last_stored_step_stands_for_the_steps_that_are_left():
    """The gradient of 4 + 4 + 3 steps is that of 8 steps and 3 steps with intervals of 4 and 3."""
    case = contract.Case("acoustic", 1, nt=11)
    given = contract.inputs(case)

    def misfit(models, cuts, intervals):
        records, state = [], None
        for a, b, interval in zip((0, *cuts), (*cuts, case.nt), intervals, strict=True):
            out = part(case, given, slice(a, b), state, model_gradient_sampling_interval=interval, **models)
            records.append(out.receiver_amplitudes_p)
            state = out.state
        return (jnp.concatenate(records, axis=-1) ** 2).sum()

    gradient = jax.jit(jax.grad(misfit), static_argnums=(1, 2))
    one, two = (gradient(case.models(), *how) for how in (((), (4,)), ((8,), (4, 3))))
    # The same sums in other groups.
    reference.assert_close(one, two, 1e-11)


POLICIES = {
    "host": lambda path: HostStorage(steps_per_transfer=3),
    "disk": lambda path: DiskStorage(path=str(path), steps_per_transfer=4),
    "recompute": lambda path: Recompute(segments=3),
    "recompute, few slots": lambda path: Recompute(segments=4, slots=1),
    "recompute on the host": lambda path: Recompute(segments=3, checkpoints=HostStorage()),
    "reverse": lambda path: jaxwave.storage.Reverse(segment=5),
}


@functools.cache
def gradient(interval, storage):
    function, models, _ = sampled(interval, storage_mode=storage)
    return jax.jit(jax.grad(lambda m: sum((x**2).sum() for x in function(m).values())))(models)


SLOW_POLICIES = ("disk", "recompute, few slots", "recompute on the host")  # the chunks of "disk" are those of "host"


@pytest.mark.parametrize(
    "policy", [pytest.param(name, marks=pytest.mark.slow if name in SLOW_POLICIES else ()) for name in POLICIES]
)
def test_every_policy_gives_the_same_gradient(policy, tmp_path):
    interval = 1 if policy == "reverse" else 3
    want, got = gradient(interval, DeviceStorage()), gradient(interval, POLICIES[policy](tmp_path))
    # Nothing is lost; states that are taken back are rounded.
    reference.assert_close(got, want, 1e-9 if policy == "reverse" else 1e-12)


def test_fourier_with_all_frequencies_is_exact():
    function, models, _ = sampled(1, nt=9)
    step = contract.Case("scalar", 1, 2, ratio=3, nt=9).dt / 3
    every = Fourier(tuple(k / (25 * step) for k in range(13)))
    gradients = [
        jax.jit(jax.grad(lambda m, f=f: sum((x**2).sum() for x in f(m).values())))(models)
        for f in (function, sampled(1, nt=9, storage_mode=every)[0])
    ]
    # A basis of 25 waves for 25 steps; rounding.
    reference.assert_close(*gradients, 1e-10)


# ---- callbacks ----


@pytest.mark.parametrize("goes_on", [False, True])
def test_callbacks_come_at_the_samples_times(goes_on):
    case = dataclasses.replace(GOING_ON[0], n_shots=1)
    f = contract.inputs(case)["source_amplitudes"]
    state = part(case, {"source_amplitudes": f}, slice(8), None).state if goes_on else None
    span, seen = slice(8, None) if goes_on else slice(None), []

    def watch(s):
        seen.append((s.direction, s.step, s.get_wavefield("wavefield_0") if s.direction == "forward" else None))

    def record(v):
        out = part(
            case, {"source_amplitudes": f}, span, state, v=v,
            forward_callback=watch, backward_callback=watch, callback_frequency=5,
        )  # fmt: skip
        return out.receiver_amplitudes

    found, pull = jax.vjp(record, case.models()["v"])
    jax.block_until_ready(pull(found))
    jax.effects_barrier()
    steps = list(range(0, found.shape[-1], 5))
    assert [s for d, s, _ in seen if d == "forward"] == steps
    assert [s for d, s, _ in seen if d == "backward"] == steps[::-1]
    cells = contract.locations(case)[1]["receiver_locations"][0, :, 0]
    for d, step, field in seen:
        if d == "forward":
            np.testing.assert_array_equal(field[0, cells], found[0, :, step])


@pytest.mark.parametrize("interval", [1, 2])
def test_a_callbacks_gradient_is_of_all_steps(interval):
    """Not of the stored ones alone. There are no sources whose scale depends on the model, nor layers to fold back."""
    rng, seen = np.random.default_rng(0), []
    fields = {name: jnp.asarray(rng.standard_normal((1, 12))) for name in ("wavefield_0", "wavefield_m1")}

    def loss(v):
        out = jaxwave.scalar(
            v, 5.0, 1e-3, nt=9, pml_width=0, pml_freq=9.0, max_vel=2000.0, **fields,
            receiver_locations=[[[3], [7]]], model_gradient_sampling_interval=interval,
            backward_callback=lambda s: seen.append(s.get_gradient()), callback_frequency=1,
        )  # fmt: skip
        return (out.receiver_amplitudes[..., interval + 1 :] ** 2).sum()

    v = jnp.asarray(rng.uniform(1500, 2000, 12))
    gradient = jax.block_until_ready(jax.grad(loss)(v))
    jax.effects_barrier()
    # The last call comes after the share of step 0 is added; rounding of some sums.
    reference.assert_close(seen[-1][0], gradient, 1e-12)
