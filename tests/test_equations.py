"""What every equation promises, in every number of dimensions: the contract, run over the registry."""

import dataclasses
import functools

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from contract import Case, everything, inner, inputs, norm, random_like, run
from helpers import bitwise_equal, largest

import jaxwave
from jaxwave import testing
from jaxwave._numerics.boundary import PaddedGrid
from jaxwave._propagators import PROPAGATORS
from jaxwave._setup.problem import make_problem
from jaxwave._timeloop.rules import run_p
from jaxwave.equations.registry import EQUATIONS
from jaxwave.storage import HostStorage, Reverse

ACCURACIES = {1: 8, 2: 4, 3: 2}
FACES = {
    1: [None, ("free", "rigid"), ("periodic",) * 2],
    2: [None, ("free", "pml", "rigid", "free"), ("periodic", "periodic", "pml", "rigid")],
    3: [None, ("rigid", "free", "periodic", "periodic", "pml", "free")],
}
"""None: the layers of ``Case.widths``, and plain faces."""


def faces_of(physics, faces):
    """The same for an equation that cannot have all of these: free in their place, or layers."""
    other = "free" if "free" in physics.reflecting else "pml"
    return faces and tuple(kind if kind in ("pml", *physics.reflecting) else other for kind in faces)


CASES = [
    Case(
        name,
        ndim,
        ACCURACIES[ndim],
        model_per_shot=ndim == 1,
        ratio=2 if ndim == 1 else 1,
        faces=faces_of(physics, faces),
    )
    for name, physics in EQUATIONS.items()
    for ndim in physics.dimensions
    for faces in FACES[ndim]
] + [
    Case("elastic", 2, 4, faces=("free", "pml", "pml", "pml"), mpml_fraction=0.3),
    Case("acoustic_tti", 2, 4, faces=("free", "pml", "pml", "pml"), mpml_fraction=0.3),
    Case("elastic_tti", 2, 4, faces=("periodic", "periodic", "pml", "pml"), mpml_fraction=0.3),
    Case("elastic", 3, 2, mpml_fraction=0.3),
]


def marked(slow, given=CASES):
    """The cases, those for which ``slow`` is true marked as such."""
    return [pytest.param(c, marks=pytest.mark.slow) if slow(c) else c for c in given]


def at_leisure(case):
    """The scalar equation has tests of its own, and what has no function of its own is a list of terms like the others.
    Reflecting faces run always for one equation and mix of kinds.
    """
    if case.name not in ("acoustic", "elastic"):
        return True
    if case.mpml_fraction:
        return case.ndim == 3
    return bool(case.faces) and str(case) != "elastic-2D-fr-pm-ri-fr"


most_cases = pytest.mark.parametrize("case", marked(lambda c: c.ndim == 3 or at_leisure(c)), ids=str)
PLANAR = [c for c in CASES if c.ndim == 2]
planar = pytest.mark.parametrize("case", marked(lambda c: c.faces or at_leisure(c), PLANAR), ids=str)
SMALLEST = dataclasses.replace(next(c for c in CASES if str(c) == "acoustic-1D"), ratio=1)
smallest_and_planar = pytest.mark.parametrize("case", [SMALLEST, *marked(lambda c: True, PLANAR)], ids=str)
"""For what has many large programs: always in one dimension, the others at leisure."""


def few(*names):
    """These cases always, for what other tests say of the others, but for the numbers."""
    return pytest.mark.parametrize("case", marked(lambda c: str(c) not in names), ids=str)


DECLARED = (
    "acoustic_vti-2D",
    "acoustic_tti-2D",
    "elastic_vti-2D",
    "elastic_tti-2D",
    "viscoacoustic-2D",
    "viscoelastic-2D",
    "elastic_orthorhombic-3D",
)
LAYERS_AND_FACES, MULTIAXIAL = "elastic-2D-fr-pm-ri-fr", "elastic-2D-M-PML-fr-pm-pm-pm"


def problem_of(case):
    """The checked call of a case."""
    given, (sources, receivers) = inputs(case), contract.locations(case)
    arguments = {**case.settings, **sources, **receivers, **given, "grid_spacing": case.spacing, "dt": case.dt}
    with contract.expect_substeps(case):
        return make_problem(contract.call_of(case.name, **arguments))


def reversible(case):
    """Whether a step can be taken back: not where anything relaxes."""
    return problem_of(case).plan.equation.reversible


@functools.cache
def model_misfit(case):
    """Half the sum of squares as a function of the models alone; each record counts alike."""
    given = inputs(case)
    models = {name: given[name] for name in case.physics.models}
    scale = jax.tree.map(lambda x: 1 / largest(x), jax.jit(lambda given: contract.records(run(case, given)))(given))

    def misfit(models, **options):
        found = contract.records(run(case, {**given, **models}, **options))
        return sum(jnp.sum((scale[name] * x) ** 2) / 2 for name, x in found.items())

    return models, misfit


@functools.cache
def gradient_of(case):
    """Of that misfit, its history on the device."""
    models, misfit = model_misfit(case)
    return jax.jit(jax.grad(misfit))(models)


# ---- derivatives ----


@few("acoustic-1D", "acoustic-2D", "elastic-2D")  # the next test has the loop's derivatives in the others
def test_dot_product_and_finite_differences(case):
    given, function = inputs(case), functools.partial(everything, case)
    dx, rng = random_like(1, given), np.random.default_rng(2)
    y = jax.tree.map(lambda s: rng.standard_normal(s.shape), jax.eval_shape(function, given))

    @jax.jit
    def derivatives(given, dx, y):
        _, push = jax.linearize(function, given)
        dot = push(dx)
        # Every record and field counts alike.
        y = jax.tree.map(lambda y, x: y * jnp.std(x) / (jnp.vdot(x, x) + 1e-300), y, dot)
        return dot, y, jax.linear_transpose(push, given)(y)[0]

    dot, y, pulled = derivatives(given, dx, y)
    # <J dx, y> = <dx, J^T y> for all inputs at once, relative to the norms that bound both sides. Rounding: the sums
    # have 1e3 to 1e4 terms.
    bound = sum(norm(a) * norm(b) for a, b in zip(jax.tree.leaves(dot), jax.tree.leaves(y), strict=True))
    assert abs(inner(dot, y) - inner(dx, pulled)) < 1e-12 * bound
    # Central differences: truncation 1e-10 and rounding 1e-16 / 1e-5, relative.
    e, function = 1e-5, jax.jit(function)
    up, down = (function(jax.tree.map(lambda x, d, s=s: x + s * e * d, given, dx)) for s in (1, -1))
    differences = jax.tree.map(lambda a, b: (a - b) / (2 * e), up, down)
    reference.assert_close(dot, differences, 1e-6)


@few("acoustic-1D", "acoustic-2D", "acoustic-3D", LAYERS_AND_FACES, MULTIAXIAL, *DECLARED)  # elastic-2D: the test above
def test_derivatives_equal_those_of_the_step_by_jax(case):
    """The adjoint, the imaging condition and Born, against JAX's own derivatives of a scan of the forward step."""
    testing.check_loop(problem_of(case), 1e-11)


@pytest.mark.parametrize("case", marked(lambda c: c.name != "acoustic" or c.ndim > 1 or c.faces), ids=str)
def test_taylor_remainder_shrinks_quadratically(case):
    models, misfit = model_misfit(case)
    direction = random_like(5, models)
    at = jax.jit(jax.value_and_grad(misfit))
    value, gradient = at(models)
    sizes = (0.005, 0.0025, 0.00125)
    values = [at(jax.tree.map(lambda x, d, s=s: x + s * d, models, direction))[0] for s in sizes]
    remainders = [abs(x - value - s * inner(gradient, direction)) for x, s in zip(values, sizes, strict=True)]
    slopes = np.diff(np.log(remainders)) / np.diff(np.log(sizes))
    # Third-order terms bend it by less than a tenth at half a per cent of the models.
    np.testing.assert_allclose(slopes, 2, atol=0.1)


@pytest.mark.slow
@planar
def test_hessian_products_are_symmetric_and_gauss_newton_is_positive(case):
    models, misfit = model_misfit(case)
    a, b = random_like(6, models), random_like(7, models)
    product = jax.jit(lambda d: jax.jvp(jax.grad(misfit), (models,), (d,))[1])
    ha, hb = product(a), product(b)
    assert abs(inner(ha, b) - inner(hb, a)) < 1e-10 * (abs(inner(ha, b)) + abs(inner(ha, a)))
    _, push = jax.linearize(lambda x: contract.records(run(case, {**inputs(case), **x})), models)
    pushed = push(a)
    (pulled,) = jax.linear_transpose(push, models)(pushed)
    assert inner(pulled, a) == pytest.approx(inner(pushed, pushed), rel=1e-11)


@smallest_and_planar
def test_hessian_products_of_one_model_along_all(case):
    """What is kept for the gradient may differ from what is kept for the direction."""
    models, misfit = model_misfit(case)
    direction = random_like(12, models)

    @jax.jit
    def products(models):
        whole = jax.jvp(jax.grad(misfit), (models,), (direction,))

        def gradient(name):
            return lambda models: jax.grad(lambda x: misfit({**models, name: x}))(models[name])

        return whole, {name: jax.jvp(gradient(name), (models,), (direction,)) for name in models}

    whole, each = products(models)
    for k, part in enumerate(whole):
        # The same sums in another order.
        reference.assert_close({name: found[k] for name, found in each.items()}, part, 1e-11)


# ---- storage ----


@smallest_and_planar
def test_storage_modes_give_the_same_gradient(case, tmp_path):
    (models, misfit), want = model_misfit(case), gradient_of(case)
    back = Reverse(segment=5), Reverse(ring=HostStorage(), segment=4)
    for mode in ("cpu", "disk", "recompute", *(back if reversible(case) else ())):
        path = {} if mode in back else {"storage_path": str(tmp_path)}
        gradient = jax.grad(functools.partial(misfit, storage_mode=mode, **path))
        got = (gradient if mode == "disk" else jax.jit(gradient))(models)  # as one program, or each loop by itself
        # Another program (chunks of another length), the same sums; few steps back, whose rounding is no larger.
        reference.assert_close(got, want, 1e-13)
    with pytest.raises(ValueError, match="keeps no wavefields"):
        jax.grad(functools.partial(misfit, storage_mode="none"))(models)
    rough = jax.jit(jax.grad(functools.partial(misfit, storage_compression=True)))(models)
    # Codes of 8 bits: 1/254 of the largest of 64 values each.
    reference.assert_close(rough, want, 3e-2)


@smallest_and_planar
def test_sampled_and_mapped_gradients(case):
    (models, misfit), want = model_misfit(case), gradient_of(case)
    mapped = jax.jit(jax.vmap(jax.grad(misfit)))(jax.tree.map(lambda x: jnp.stack([x, x]), models))
    # Another program, the same sums.
    reference.assert_close(jax.tree.map(lambda x: x[1], mapped), want, 1e-12)


@most_cases
def test_a_step_back_undoes_a_step(case):
    """With sources, faces and layers, and perturbations that scatter off terms; the terms come out as well."""
    if not reversible(case):
        models, misfit = model_misfit(case)
        with pytest.raises(ValueError, match="Reverse is not available for"):
            jax.grad(functools.partial(misfit, storage_mode=Reverse()))(models)
        return
    testing.check_step_back(problem_of(case), 1e-12)  # rounding of one step


def saved(jaxpr):
    """For each run in a jaxpr, the coefficients whose terms it keeps."""
    found = []
    for eqn in jaxpr.eqns:
        if eqn.primitive is run_p:
            found.append(eqn.params["save"])
        for inner_jaxpr in jax.extend.core.jaxprs_in_params(eqn.params):
            found += saved(inner_jaxpr)
    return found


@planar
def test_only_the_terms_of_differentiated_models_are_kept(case):
    given = inputs(case)
    models = {name: given[name] for name in case.physics.models}
    name = next(iter(models))

    def misfit(models):
        return sum(jnp.sum(x**2) for x in contract.records(run(case, {**given, **models})).values())

    def one(x):
        return misfit({**models, name: x})

    (kept,) = saved(jax.jit(jax.grad(one)).trace(models[name]).jaxpr.jaxpr)
    (all_kept,) = saved(jax.jit(jax.grad(misfit)).trace(models).jaxpr.jaxpr)
    assert all(all_kept) if reversible(case) else sum(all_kept) < len(all_kept)  # no model changes the rates
    assert sum(kept) == 1 if case.name in PROPAGATORS else 0 < sum(kept) < sum(all_kept)


@smallest_and_planar
def test_whatever_is_kept_the_derivative_is_the_same(case):
    models, misfit = model_misfit(case)
    name = next(iter(models))
    gradient = jax.jit(jax.grad(lambda x: misfit({**models, name: x})))(models[name])
    reference.assert_close(gradient, gradient_of(case)[name], 1e-12)


# ---- the wavefield ----


@pytest.mark.optimised
@few("acoustic-1D", LAYERS_AND_FACES)
def test_continuing_a_run_changes_nothing(case):
    given, half = inputs(case), case.nt // 2
    whole_records, whole_state = everything(case, given)
    sources = {name: x for name, x in given.items() if name.startswith("source_amplitudes")}
    rest = {name: x for name, x in given.items() if name not in sources}
    first, state = everything(case, {**rest, **{k: x[..., :half] for k, x in sources.items()}})
    rest["initial_state"] = state
    second, state = everything(case, {**rest, **{k: x[..., half:] for k, x in sources.items()}})
    joined = jax.tree.map(lambda a, b: np.concatenate([a, b], -1), first, second)
    assert bitwise_equal((joined, state), (whole_records, whole_state))


@most_cases
def test_reciprocity(case):
    """Source and receiver of one kind change places; the scale of the sources makes the step symmetric."""
    models = case.models() if not case.model_per_shot else {k: x[0] for k, x in case.models().items()}
    places = np.array([[1] * case.ndim, [n - 2 for n in case.shape]])
    for number, (kind, found) in enumerate(contract.responses(case).items()):
        there, back = found[:, number]
        assert largest(there) > 0
        # Exact but for rounding, which grows with the number of steps.
        scale = [contract.source_scale(case, kind, models, place) for place in places]
        if scale[0] is None:
            continue
        reference.assert_close(there * scale[0], back * scale[1], 1e-9)


@few("acoustic-1D", LAYERS_AND_FACES)
def test_single_precision(case):
    given, function = inputs(case), jax.jit(functools.partial(everything, case))
    single = function(jax.tree.map(lambda x: np.asarray(x, np.float32), given))
    double = function(given)
    assert {x.dtype for x in jax.tree.leaves(single)} == {np.dtype(np.float32)}
    # A few units in the last place for each step.
    reference.assert_close(single, double, 1e-4)


@planar
def test_callbacks_see_the_wavefields(case):
    given, seen = inputs(case), []
    wanted = set(case.physics.wavefield_offsets(case.ndim))

    def watch(state):
        seen.append((state.direction, {name: state.get_wavefield(name, "pml").shape for name in state.wavefield_names}))

    jax.block_until_ready(jax.jit(lambda given: run(case, given, forward_callback=watch, callback_frequency=7))(given))
    jax.effects_barrier()
    assert [d for d, _ in seen] == ["forward"] * 2
    interior = tuple(n + a + b for n, a, b in zip(case.shape, case.widths[::2], case.widths[1::2], strict=True))
    assert all(shapes == dict.fromkeys(wanted, (case.n_shots, *interior)) for _, shapes in seen)


def test_memory_estimate_counts_the_terms():
    case = next(c for c in CASES if str(c) == "elastic-2D")
    models = [inputs(case)[name] for name in case.physics.models]
    given = {**inputs(case), **contract.locations(case)[0], **contract.locations(case)[1]}
    given = {name: x for name, x in given.items() if name.endswith("_p")}  # terms do not depend on them
    found = contract.jaxwave.estimate_memory(
        *models, case.spacing, case.dt, propagator="elastic", storage_mode="cpu", **given, **case.settings
    )
    # Two arrays for lamb and mu, one for mu between the cells, two for the buoyancy.
    cells = np.prod(case.physics.on(PaddedGrid(case.shape, case.spacing, case.accuracy, case.widths)).grid.padded)
    assert found.history == found.host == 5 * case.nt * case.n_shots * cells * 8
    with pytest.raises(ValueError, match="`propagator`='tidal' is unknown; use 'scalar'"):
        contract.jaxwave.estimate_memory(*models, 5.0, 1e-3, propagator="tidal")


@pytest.mark.parametrize(("name", "ndim"), [(name, n) for name in PROPAGATORS for n in EQUATIONS[name].dimensions])
def test_records_that_were_not_asked_for_have_no_receivers(name, ndim):
    """Kinds along axes that the model does not have are None, so that records of several kinds can always be joined."""
    values = dict(v=1500.0, rho=1000.0, lamb=2e9, mu=1e9, buoyancy=5e-4)
    models = {k: np.full((5,) * ndim, values[k]) for k in EQUATIONS[name].models}
    kinds, known = EQUATIONS[name].receiver_kinds(ndim), EQUATIONS[name].receiver_kinds(3)

    def records(kind, result):
        return getattr(result, "_".join(["receiver_amplitudes", kind]).rstrip("_"))

    def propagate(*asked):
        places = {"_".join(["receiver_locations", k]).rstrip("_"): np.full((1, 2, ndim), 1) for k in asked}
        call = functools.partial(getattr(jaxwave, name), grid_spacing=10.0, dt=1e-3, nt=3, pml_width=2, pml_freq=20.0)
        return jax.eval_shape(lambda: call(**models, **places))

    results = [propagate(), propagate(kinds[0]), propagate(kinds[-1])]
    for result, asked in zip(results, (None, kinds[0], kinds[-1]), strict=True):
        for kind in known:
            found = records(kind, result)
            assert found is None if kind not in kinds else found.shape == (1, 2 if kind == asked else 0, 3)
        assert jax.tree.structure(result) == jax.tree.structure(results[0])
        joined = jax.eval_shape(functools.partial(jnp.concatenate, axis=1), [records(kind, result) for kind in kinds])
        assert joined.shape == (1, 0 if asked is None else 2, 3)
