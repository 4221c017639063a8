"""Derivatives of the scalar propagator: against JAX's own of the naive scheme, and by their defining properties."""

import contextlib
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from jax.extend.core import jaxprs_in_params

import jaxwave
from jaxwave import SubstepWarning
from jaxwave._results import LastSources, WaveState
from jaxwave._timeloop.rules import adjoint_born_p, adjoint_p, run_p
from jaxwave.storage import registry

FREQ, MAX_VEL = 25.0, 2600.0


@dataclasses.dataclass(frozen=True)
class Case:
    """One of the pairwise combinations of what the scheme can be asked for."""

    shape: tuple[int, ...]
    accuracy: int
    widths: tuple[int, ...]
    n_shots: int
    model_per_shot: bool
    nt: int
    ratio: int = 1
    n_before: int = 0

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def spacing(self):
        return (5.0, 7.0, 6.0)[: self.ndim]

    @property
    def dt(self):
        """A little below the limit of ``ratio`` sub-steps."""
        norm = sum(1 / h**2 for h in self.spacing) ** 0.5
        return 0.99 * self.ratio * 0.6 / (MAX_VEL * norm)

    @property
    def interior(self):
        pairs = zip(self.shape, self.widths[::2], self.widths[1::2], strict=True)
        return tuple(n + lo + hi for n, lo, hi in pairs)

    def __str__(self):
        model = "per-shot" if self.model_per_shot else "shared"
        return f"{self.ndim}D-{self.accuracy}-{model}-x{self.ratio}"


CASES = [
    Case((21,), 2, (4, 7), 1, False, 24),
    Case((19,), 8, (0, 5), 3, True, 21, ratio=2, n_before=3),
    Case((9, 12), 4, (3, 5, 0, 6), 2, False, 22, ratio=3, n_before=7),
    Case((8, 11), 6, (2, 0, 4, 1), 2, True, 25),
    Case((10, 7), 8, (0, 0, 0, 0), 1, False, 20, ratio=2),
    Case((5, 7, 6), 4, (2, 3, 0, 4, 1, 2), 2, False, 18),
    Case((6, 5, 4), 2, (3, 0, 2, 2, 0, 1), 1, True, 16, ratio=2, n_before=7),
]
# Of two, no layers and sub-steps in 2-D, a model for each shot and sub-steps in 3-D, others have each by itself.
SLOW = CASES[4], CASES[6]
cases = pytest.mark.parametrize(
    "case", [pytest.param(c, marks=pytest.mark.slow) if c in SLOW else c for c in CASES], ids=str
)
# The test above it has the derivatives with respect to all at once; what is left out of them, one case shows.
some_cases = pytest.mark.parametrize(
    "case", [CASES[1], *(pytest.param(c, marks=pytest.mark.slow) for c in (CASES[2], CASES[5]))], ids=str
)


def random_like(rng, tree):
    return jax.tree.map(lambda x: rng.standard_normal(np.shape(x)) * np.std(np.asarray(x)), tree)


@functools.cache
def problem(case: Case):
    """What is differentiated (a dict of arrays), and the places of sources and receivers."""
    rng = np.random.default_rng(case.nt)
    models = (case.n_shots,) if case.model_per_shot else ()

    def fields():
        return rng.standard_normal((case.n_shots, *case.interior))

    layers = [
        (axis, width)
        for axis in range(case.ndim)
        for width in case.widths[2 * axis : 2 * axis + 2]
        if width
    ]  # fmt: skip

    def memory():
        return tuple(
            rng.standard_normal((case.n_shots, *(w if i == axis else n for i, n in enumerate(case.interior)))) * 0.1
            for axis, w in layers
        )

    inputs = {
        "v": rng.uniform(1500, 2500, (*models, *case.shape)),
        # The amplitude makes sources and initial fields matter alike; two of the three sources are at one place.
        "source_amplitudes": rng.standard_normal((case.n_shots, 3, case.nt)) * 0.3 / (2000 * case.dt / case.ratio) ** 2,
        "wavefield_0": fields(),
        "wavefield_m1": fields(),
        "psi": tuple(0.1 * x for x in memory()),
        "zeta": tuple(0.01 * x for x in memory()),
    }
    if case.n_before:  # the state of an earlier run with sub-steps
        size = np.std(inputs["source_amplitudes"])
        inputs["last_samples"] = size * rng.standard_normal((case.n_shots, 3, case.n_before))
    inputs = jax.tree.map(jnp.asarray, inputs)

    def places(n):
        return np.stack([rng.integers(0, k, (case.n_shots, n)) for k in case.shape], -1)

    sources, receivers = places(3), places(4)
    sources[:, 2] = sources[:, 0]
    return inputs, {"source_locations": sources, "receiver_locations": receivers}


def propagate(case: Case, inputs, **options):
    inputs = dict(inputs)
    state = [inputs.pop(name, None) for name in ("wavefield_0", "wavefield_m1", "psi", "zeta")]
    last = inputs.pop("last_samples", None)
    if case.ratio > 1 and not case.n_before:  # begins anew, with wavefields at its first sample; no layers
        inputs |= {"wavefield_0": state[0], "wavefield_m1": state[1]}
    elif state[2] is not None:
        last_sources = LastSources({"": last}, case.ratio, case.n_before) if case.n_before else None
        inputs["initial_state"] = WaveState(*state, last_sources)
    places = dict(problem(case)[1])
    if "source_amplitudes" not in inputs:
        del places["source_locations"]
    settings = dict(accuracy=case.accuracy, pml_width=case.widths, pml_freq=FREQ, max_vel=MAX_VEL)
    out = jaxwave.scalar(inputs.pop("v"), case.spacing, case.dt, **inputs, **places, **settings, **options)
    assert out.info.step_ratio == case.ratio
    state = out.state._asdict()
    last = state.pop("last_sources")
    found = {"last_samples": last.samples[""]} if last else {}
    return {"receiver_amplitudes": out.receiver_amplitudes, **state, **found}


def naive(case: Case, inputs):
    settings = dict(accuracy=case.accuracy, pml_width=case.widths, pml_freq=FREQ, max_vel=MAX_VEL)
    inputs = dict(inputs)
    return reference.scalar(inputs.pop("v"), case.spacing, case.dt, **inputs, **problem(case)[1], **settings)


def expect_substeps(case: Case):
    """The warning that a case with sub-steps must give."""
    return pytest.warns(SubstepWarning) if case.ratio > 1 else contextlib.nullcontext()


def inner(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return sum(float(np.vdot(x, y)) for x, y in pairs)


def norm(a):
    return inner(a, a) ** 0.5


# ---- first derivatives of records and final state, with respect to everything ----


@functools.cache
def directions(case: Case):
    """dx like the inputs and y like the results."""
    rng = np.random.default_rng(100 + case.nt)
    inputs = problem(case)[0]
    results = jax.eval_shape(functools.partial(naive, case), inputs)
    return random_like(rng, inputs), jax.tree.map(lambda s: rng.standard_normal(s.shape), results)


@cases
def test_first_derivatives_equal_those_of_the_naive_scheme(case):
    inputs, (dx, y) = problem(case)[0], directions(case)
    ours = functools.partial(propagate, case)

    def derivatives(inputs, dx, y):
        return *jax.jvp(ours, (inputs,), (dx,)), jax.vjp(ours, inputs)[1](y)[0]

    with expect_substeps(case):
        # Eagerly each loop is a program, and each operation between them: once.
        got_out, got_dot, got_pulled = (derivatives if case is CASES[0] else jax.jit(derivatives))(inputs, dx, y)

    @jax.jit
    def naively(inputs, dx, y):
        out, linear = jax.linearize(functools.partial(naive, case), inputs)
        return out, linear(dx), jax.linear_transpose(linear, inputs)(y)[0]

    out, out_dot, pulled = naively(inputs, dx, y)
    # Forward: the same sums in another order, over some 20 to 60 steps of a stable scheme.
    reference.assert_close(got_out, out, 1e-12)
    # Derivatives: sums over cells and steps with cancellation; leaf by leaf (v, sources, wavefields, memory).
    reference.assert_close(got_dot, out_dot, 1e-10)
    reference.assert_close(got_pulled, pulled, 1e-10)
    # <J dx, y> = <dx, J^T y>, for all inputs at once and relative to the norms that bound both sides.
    left, right = inner(got_dot, y), inner(dx, got_pulled)
    assert abs(left - right) < 1e-12 * norm(got_dot) * norm(y)


@some_cases
@pytest.mark.parametrize("names", [("v",), ("source_amplitudes",), ("wavefield_0", "wavefield_m1", "psi", "zeta")])
def test_dot_product(case, names):
    inputs, (dx, y) = problem(case)[0], directions(case)
    part = {name: inputs[name] for name in names}
    along = {name: dx[name] for name in names}

    def function(part):
        return propagate(case, {**inputs, **part})["receiver_amplitudes"]

    @jax.jit
    def derivatives(part, along, y):
        return jax.jvp(function, (part,), (along,))[1], jax.vjp(function, part)[1](y)[0]

    y = y["receiver_amplitudes"]
    with expect_substeps(case):
        out_dot, pulled = derivatives(part, along, y)
    left, right = inner(out_dot, y), inner(along, pulled)
    # Rounding, relative to the norms that bound both sides; the sums have 1e3 to 1e4 terms.
    assert abs(left - right) < 1e-12 * norm(out_dot) * norm(y)
    assert abs(left) > 1e-4 * norm(out_dot) * norm(y)


@pytest.mark.parametrize("case", [CASES[0], CASES[2], CASES[5]], ids=str)
def test_taylor_remainder_shrinks_quadratically(case):
    inputs = problem(case)[0]
    dv = 30 * np.random.default_rng(0).standard_normal(inputs["v"].shape)
    with expect_substeps(case):
        at = jax.jit(
            jax.value_and_grad(lambda v: (propagate(case, {**inputs, "v": v})["receiver_amplitudes"] ** 2).sum())
        )
        value, gradient = at(inputs["v"])
        sizes = (0.2, 0.1, 0.05)
        remainders = [abs(at(inputs["v"] + s * dv)[0] - value - s * inner(gradient, dv)) for s in sizes]
    slopes = np.diff(np.log(remainders)) / np.diff(np.log(sizes))
    # Third-order terms bend it by less than a tenth at 0.2 % of v and below.
    np.testing.assert_allclose(slopes, 2, atol=0.1)


def test_gradient_of_the_final_state_without_sources_or_receivers():
    case = CASES[0]
    inputs = {name: x for name, x in problem(case)[0].items() if name != "source_amplitudes"}
    settings = dict(accuracy=case.accuracy, pml_width=case.widths, pml_freq=FREQ, max_vel=MAX_VEL, nt=case.nt)
    state = WaveState(*(inputs[name] for name in WaveState._fields[:4]))

    def ours(v, state):
        return jaxwave.scalar(v, case.spacing, case.dt, initial_state=state, **settings).wavefield_0

    def naive(v, state):
        fields = dict(zip(WaveState._fields, state[:4], strict=False))
        return reference.scalar(v, case.spacing, case.dt, **fields, **settings)["wavefield_0"]

    got, want = (
        jax.jit(jax.grad(lambda *x, f=f: (f(*x) ** 2).sum(), (0, 1)))(inputs["v"], state) for f in (ours, naive)
    )
    # As above.
    reference.assert_close(got, want, 1e-10)


# ---- the ways of asking for a derivative ----


@pytest.fixture(scope="module")
def misfit():
    """A misfit of the model, ours and the naive one, on the 2-D case with one sub-step."""
    case = dataclasses.replace(CASES[2], ratio=1, n_before=0)
    inputs = problem(case)[0]
    data = np.random.default_rng(1).standard_normal((case.n_shots, 4, case.nt))

    def make(function):
        return lambda v: ((function(case, {**inputs, "v": v})["receiver_amplitudes"] - data) ** 2).sum()

    return case, make(propagate), make(naive), inputs["v"]


@pytest.mark.slow
def test_hessian_vector_product(misfit):
    _, loss, naive_loss, v = misfit
    dv = 30 * np.random.default_rng(2).standard_normal(v.shape)

    def product(loss):
        return jax.jit(lambda v, dv: jax.jvp(jax.grad(loss), (v,), (dv,)))(v, dv)

    (gradient, got), (naive_gradient, want) = product(loss), product(naive_loss)
    reference.assert_close(gradient, naive_gradient, 1e-10)
    # As first derivatives.
    reference.assert_close(got, want, 1e-10)
    # It is a Hessian: symmetric.
    other = 30 * np.random.default_rng(3).standard_normal(v.shape)
    back = jax.jvp(jax.grad(loss), (v,), (other,))[1]
    assert inner(got, other) == pytest.approx(inner(back, dv), abs=1e-12 * norm(got) * norm(other))


@pytest.mark.slow
def test_hessian_vector_product_mixes_model_and_sources():
    case = dataclasses.replace(CASES[1], ratio=1, n_before=0)
    inputs, (dx, _) = problem(case)[0], directions(case)
    names = ("v", "source_amplitudes", "wavefield_0")
    part, along = ({name: tree[name] for name in names} for tree in (inputs, dx))

    def loss(function):
        return lambda part: (function(case, {**inputs, **part})["receiver_amplitudes"] ** 2).sum()

    got, want = (jax.jvp(jax.grad(loss(f)), (part,), (along,))[1] for f in (propagate, naive))
    # As first derivatives.
    reference.assert_close(got, want, 1e-10)


def test_one_linearisation_serves_many_pushes_and_pulls(misfit):
    case, _, _, v = misfit
    inputs = problem(case)[0]

    def record(v):
        return propagate(case, {**inputs, "v": v})["receiver_amplitudes"]

    rng = np.random.default_rng(4)
    pushes, out = [30 * rng.standard_normal(v.shape) for _ in range(3)], record(v)
    pulls = [rng.standard_normal(out.shape) for _ in range(2)]

    linearised, push = jax.linearize(record, v)
    # Running with the history kept is another program: rounding.
    reference.assert_close(linearised, out, 1e-13)
    pushed = [push(dv) for dv in pushes]
    for dv, got in zip(pushes, pushed, strict=True):
        reference.assert_close(got, jax.jvp(record, (v,), (dv,))[1], 1e-13)
    # Linear: rounding only, three times.
    reference.assert_close(push(pushes[0] - 2 * pushes[1]), pushed[0] - 2 * pushed[1], 1e-12)

    pull = jax.vjp(record, v)[1]
    transposed = jax.linear_transpose(push, v)
    for y in pulls:
        (by_vjp,), (by_transpose,) = pull(y), transposed(y)
        reference.assert_close(by_transpose, by_vjp, 1e-13)
        for dv, got in zip(pushes, pushed, strict=True):
            assert abs(inner(got, y) - inner(dv, by_vjp)) < 1e-12 * norm(got) * norm(y)

    # Gauss-Newton: J^T J dv is symmetric, and positive.
    def gauss_newton(dv):
        return transposed(push(dv))[0]

    a, b = gauss_newton(pushes[0]), gauss_newton(pushes[1])
    assert inner(a, pushes[0]) == pytest.approx(norm(pushed[0]) ** 2, rel=1e-12)
    assert abs(inner(a, pushes[1]) - inner(b, pushes[0])) < 1e-12 * norm(a) * norm(pushes[1])


def test_a_run_is_linear_in_its_sources():
    case = CASES[3]
    inputs = problem(case)[0]

    def run(f):
        return propagate(case, {"v": inputs["v"], "source_amplitudes": f})["receiver_amplitudes"]

    f = inputs["source_amplitudes"]
    # A run is its own derivative: the same program but for the zero initial state.
    reference.assert_close(jax.jvp(run, (f,), (f,))[1], run(f), 1e-13)
    y = np.random.default_rng(5).standard_normal(run(f).shape)
    (transposed,) = jax.linear_transpose(run, f)(y)
    assert abs(inner(run(f), y) - inner(f, transposed)) < 1e-12 * norm(run(f)) * norm(y)


def test_jacobians_agree():
    case = Case((6,), 2, (2, 0), 1, False, 7)
    inputs = problem(case)[0]

    def record(v):
        return propagate(case, {**inputs, "v": v})["receiver_amplitudes"][0, 0]

    # Seven pulls and six pushes, mapped over; rounding.
    forward, reverse = (jax.jit(transform(record))(inputs["v"]) for transform in (jax.jacfwd, jax.jacrev))
    reference.assert_close(forward, reverse, 1e-12)


def test_gradient_under_vmap_and_jit(misfit):
    _, loss, _, v = misfit
    models = jnp.stack([v, 1.01 * v])
    separate = jnp.stack([jax.grad(loss)(x) for x in models])
    # Other programs, the same sums.
    reference.assert_close(jax.vmap(jax.grad(loss))(models), separate, 1e-12)
    reference.assert_close(jax.jit(jax.grad(loss))(v), separate[0], 1e-12)


def test_reverse_over_reverse_is_refused(misfit):
    _, loss, _, v = misfit
    with pytest.raises(NotImplementedError, match="forward over reverse"):
        jax.eval_shape(jax.grad(lambda v: (jax.grad(loss)(v) ** 2).sum()), v)
    with pytest.raises(NotImplementedError, match="forward over reverse"):
        jax.eval_shape(jax.grad(lambda v: (jax.jvp(loss, (v,), (v,))[1] ** 2).sum()), v)


# ---- sampling the imaging condition ----


def smooth_case(interval):
    """A record of a 2-D shot with about 16 cells per wavelength and 80 steps per period; and its derivative."""
    n, dt, nt, rng = 31, 5e-4, 400, np.random.default_rng(6)
    t = np.arange(nt) * dt
    a = (np.pi * FREQ * (t - 0.06)) ** 2
    f = ((1 - 2 * a) * np.exp(-a))[None, None]
    x = np.linspace(-1, 1, n)
    v = jnp.asarray(2000 + 300 * np.exp(-4 * (x[:, None] ** 2 + x[None, :] ** 2)))
    weights = f * rng.uniform(0.5, 1.5, (1, 8, 1))
    receivers = np.array([[[28, 2 + 3 * i] for i in range(8)]])

    def loss(v):
        out = jaxwave.scalar(
            v, 5.0, dt, source_amplitudes=f, source_locations=[[[2, 15]]], receiver_locations=receivers,
            pml_freq=FREQ, pml_width=10, max_vel=2400.0, model_gradient_sampling_interval=interval,
        ).receiver_amplitudes  # fmt: skip
        return (jnp.roll(weights, 60, axis=-1) * out).sum() + (out**2).sum()

    return np.asarray(jax.grad(loss)(v))


# Sampled, the sum over time of a product of two wavefields picks up what lies near multiples of the sampling frequency,
# 2000 Hz / interval. Wavefields of 25 Hz end near 75 Hz and their products near 150 Hz: at 500 Hz there is next to
# nothing, at 250 Hz little. Measured: 2e-9 and 1e-5.
SAMPLING_ERRORS = {4: 1e-7, 8: 1e-3}


@pytest.mark.slow
def test_sampled_imaging_condition_is_close_for_band_limited_sources():
    exact, errors = smooth_case(1), []
    for interval, limit in SAMPLING_ERRORS.items():
        sampled = smooth_case(interval)
        errors.append(np.abs(sampled - exact).max() / np.abs(exact).max())
        print(f"interval {interval}: {errors[-1]:.2e}")
        assert errors[-1] < limit, errors
    # It is an approximation: more so with a larger interval.
    assert errors[0] < errors[1]


def test_interval_applies_to_the_model_gradient_alone():
    case = CASES[3]
    inputs, (_, y) = problem(case)[0], directions(case)
    gradients = []
    for interval in (1, 5):
        function = functools.partial(propagate, case, model_gradient_sampling_interval=interval)

        @jax.jit
        def derivatives(inputs, y, function=function):
            out, pull = jax.vjp(function, inputs)
            return out, {k: g for k, g in pull(y)[0].items() if k != "v"}

        gradients.append(derivatives(inputs, y))
    # Other loops, the same sums.
    reference.assert_close(gradients[1], gradients[0], 1e-12)


# ---- what is not differentiated costs nothing ----


def test_sources_and_states_need_no_storage():
    case = CASES[3]
    inputs, (_, y) = problem(case)[0], directions(case)
    rest = {name: x for name, x in inputs.items() if name != "v"}

    def pull(**kw):
        return jax.jit(lambda rest, y: jax.vjp(lambda x: propagate(case, {**inputs, **x}, **kw), rest)[1](y)[0])(
            rest, y
        )

    # The adjoint loop is the same with and without a policy that could store.
    reference.assert_close(pull(storage_mode="none"), pull(), 1e-13)


DIFFERENTIATE = {
    "grad": lambda f, v: jax.grad(f)(v),
    "grad under jit": lambda f, v: jax.jit(jax.grad(f))(v),
    "jvp": lambda f, v: jax.jvp(f, (v,), (v,)),
    "grad under vmap": lambda f, v: jax.vmap(jax.grad(f))(v[None]),
}


@pytest.mark.parametrize("how", DIFFERENTIATE)
def test_model_gradient_without_storage_is_refused_before_anything_runs(how):
    calls = []

    def run(v):
        return jaxwave.scalar(
            v, 5.0, 5e-4, nt=4, wavefield_0=jnp.ones((1, 9)), max_vel=2500.0, storage_mode="none",
            forward_callback=calls.append,
        ).wavefield_0.sum()  # fmt: skip

    with pytest.raises(ValueError, match=r'the storage mode "none" keeps no wavefields.*use the storage mode "device"'):
        DIFFERENTIATE[how](run, jnp.full(9, 2000.0))
    jax.effects_barrier()
    assert not calls


def equations(jaxpr, primitive):
    """All equations of a primitive, in inner jaxprs too."""
    found = []
    for eqn in jaxpr.eqns:
        if eqn.primitive is primitive:
            found.append(eqn)
        for inner in jaxprs_in_params(eqn.params):
            found += equations(inner, primitive)
    return found


def saves(function, *args):
    """For each run in a function, after dead code has gone, whether it keeps its history."""
    jaxpr = jax.jit(function).trace(*args).jaxpr
    return [bool(eqn.params["save"]) for eqn in equations(jaxpr.jaxpr, run_p)]


def test_only_what_needs_a_history_saves_one():
    case = CASES[3]
    inputs = problem(case)[0]

    def loss(inputs):
        return (propagate(case, inputs)["receiver_amplitudes"] ** 2).sum()

    assert saves(loss, inputs) == [False]
    assert saves(jax.grad(lambda f: loss({**inputs, "source_amplitudes": f})), inputs["source_amplitudes"]) == [False]
    assert saves(jax.grad(lambda u: loss({**inputs, "wavefield_0": u})), inputs["wavefield_0"]) == [False]
    assert saves(jax.grad(lambda v: loss({**inputs, "v": v})), inputs["v"]) == [True]


def test_model_gradient_is_not_computed_for_sources_alone():
    case = CASES[3]
    inputs = problem(case)[0]
    gradient = jax.grad(lambda f: propagate(case, {**inputs, "source_amplitudes": f})["receiver_amplitudes"].sum())
    jaxpr = jax.jit(gradient).trace(inputs["source_amplitudes"]).jaxpr.jaxpr
    (adjoint,) = equations(jaxpr, adjoint_p)
    # Gradients of the sources and of the four parts of the state, and none of the model.
    n_state = len(jax.tree.leaves([inputs[k] for k in ("wavefield_0", "wavefield_m1", "psi", "zeta")]))
    assert len(adjoint.outvars) == 1 + n_state
    assert not equations(jaxpr, adjoint_born_p)


def test_a_forward_run_leaves_the_store_alone():
    case = CASES[0]
    inputs = problem(case)[0]
    before = registry.REGISTRY.stats(), registry.REGISTRY._last_id
    propagate(case, inputs, storage_mode="cpu")
    assert (registry.REGISTRY.stats(), registry.REGISTRY._last_id) == before
    gradient = jax.grad(lambda v: propagate(case, {**inputs, "v": v}, storage_mode="cpu")["wavefield_0"].sum())
    gradient(inputs["v"])
    assert registry.REGISTRY._last_id == before[1] + 1


def test_traced_and_known_models_give_the_same_gradient(misfit):
    _, loss, _, v = misfit
    scan = jax.lax.scan(lambda c, v: (c, jax.grad(loss)(v)), 0, v[None])[1][0]
    # Other programs, the same sums.
    reference.assert_close(scan, jax.grad(loss)(v), 1e-12)
