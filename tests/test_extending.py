"""Equations from outside the package: nothing is registered, and all that the package does is there for them."""

import dataclasses
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxwave
from jaxwave import Equation, Hicks, Model, Scheme, Source, Term, model, testing
from jaxwave.storage import DiskStorage, HostStorage, Recompute, Reverse

AXES = "zyx"


class SH(jaxwave.LeapfrogEquation):
    """Antiplane shear waves: rho v_t = div s + f, s_t = mu grad v."""

    mu: Model = model("positive")
    rho: Model = model("positive")

    faces = MappingProxyType({"free": "even", "rigid": "odd"})

    def scheme(self, ndim):
        stress = {f"s{name}": (axis,) for axis, name in enumerate(AXES[-ndim:])}
        return Scheme(
            fields={"v": (), **stress},
            terms={"force": Term(tuple((axis, s) for s, (axis,) in stress.items()))}
            | {f"strain_{s}": Term(((axis, "v"),)) for s, (axis,) in stress.items()},
            stages=({s: ((f"mu_{s}", f"strain_{s}"),) for s in stress}, {"v": (("buoyancy", "force"),)}),
            sources={"f": Source(("v",), "buoyancy")},
            receivers={"v": Term(((None, "v"),)), "e": Term(((ndim - 1, "v"),), 0.5)},
        )

    def moduli(self, models, dt):
        between = {f"mu_s{name}": dt * mean(models["mu"], axis) for axis, name in enumerate(AXES[-self.grid.ndim :])}
        return {"buoyancy": dt / models["rho"], **between}

    def fastest(self, values):
        return float(np.sqrt((values["mu"] / values["rho"]).max()))


class Relaxing(jaxwave.LeapfrogEquation):
    """Pressure waves with one relaxation mechanism: p_t = -(1 + a) K div u - r, r_t = -(r + a K div u) / tau."""

    v: Model = model("positive")
    loss: Model = model("not negative")
    tau: float = 0.02

    def scheme(self, ndim):
        u = {f"u{name}": (axis,) for axis, name in enumerate(AXES[-ndim:])}
        return Scheme(
            fields={"p": (), "r": (), **u},
            terms={
                "div": Term(tuple((axis, name) for name, (axis,) in u.items()), -1),
                "relaxing": Term(((None, "r"),)),
            }
            | {f"grad_{name}": Term(((axis, "p"),), -1) for name, (axis,) in u.items()},
            stages=(
                {name: ((f"step_{name}", f"grad_{name}"),) for name in u},
                {"p": (("stiffness", "div"), (-1.0, "relaxing")), "r": (("rate", "relaxing"), ("gain", "div"))},
            ),
            sources={"p": Source(("p",))},
            receivers={"p": Term(((None, "p"),)), "r": Term(((None, "r"),))},
        )

    def moduli(self, models, dt):
        h, k, loss = dt / (2 * self.tau), dt * models["v"] ** 2, models["loss"]
        steps = {
            f"step_u{name}": dt * jnp.ones_like(mean(k, axis)) for axis, name in enumerate(AXES[-self.grid.ndim :])
        }
        memory = {"rate": -2 * h / (1 + h), "gain": 2 * h * loss * k / (1 + h) ** 2}  # of r dt / (1 + h)
        return {"stiffness": k * (1 + loss / (1 + h)), **memory, **steps}

    def fastest(self, values):
        return float((values["v"] * np.sqrt(1 + values["loss"])).max())


class Damped(Equation):
    """u_tt + 20 u_t = v^2 u_xx, with nothing but its step: the adjoint and all else are defaults."""

    v: Model = model("positive")
    dimensions = (1,)
    coefficients_of_terms = ((0,),)

    def wavefield_offsets(self, ndim):
        return {"u": (0,), "u_before": (0,)}

    def fastest(self, values):
        return float(values["v"].max())

    def coefficients(self, models, dt):
        return (self.grid.to_padded((models["v"] * dt / self.grid.spacing[0]) ** 2),)

    def step(self, m, operands, x, amplitudes, scatter, keep):
        u, before = x.fields
        g = jnp.zeros_like(u).at[:, 1:-1].set(u[:, 2:] - 2 * u[:, 1:-1] + u[:, :-2])
        after = 1.98 * u - 0.98 * before + m[0] * g
        for (dc,), (stored,) in scatter:
            after = after + dc * stored
        for cells in operands.sources.values():
            after = after.at[jnp.arange(len(after))[:, None], cells[0]].add(amplitudes)
        return x._replace(fields=(after, u)), (g if keep[0] else None,)

    def record(self, operands, x):
        (cells,) = operands.receivers.values()
        return x.fields[0][jnp.arange(len(x.fields[0]))[:, None], cells[0]]


def mean(x, axis):
    """Harmonic mean between the cells of an axis, and at its ends."""
    n = x.shape[axis + 1]
    low, high = (jnp.take(x, np.clip(np.arange(n + 1) + k, 0, n - 1), axis + 1) for k in (-1, 0))
    return 2 / (1 / low + 1 / high)


SHAPES = {1: (17,), 2: (9, 12), 3: (6, 7, 5)}
SPACING = (5.0, 7.0, 6.0)


def problem(equation, ndim, kinds, faces=None, n_shots=2, nt=16):
    """A small random problem of an equation with these kinds of sources and receivers."""
    rng = np.random.default_rng(ndim)

    def places(n):
        return np.stack([rng.integers(2, k - 2, (n_shots, n)) for k in SHAPES[ndim]], -1)

    sources, receivers = kinds
    amplitudes = {kind: rng.standard_normal((n_shots, 2, nt)) for kind in sources}
    boundary = jaxwave.Boundary(faces, tuple(2 * (f == "pml") for f in faces) if faces else 2, 25.0)
    speed = 1.05 * equation.on(None).largest_speed(
        {k: np.asarray(getattr(equation, k)) for k in equation.models}, SPACING[:ndim], 4, faces
    )
    dt = 0.55 / (speed * sum(1 / h**2 for h in SPACING[:ndim]) ** 0.5)
    return dict(
        equation=equation, grid=jaxwave.Grid(SPACING[:ndim], 4, boundary), dt=dt, max_vel=speed,
        sources={kind: (f, places(2)) for kind, f in amplitudes.items()},
        receivers={kind: places(3) for kind in receivers},
    )  # fmt: skip


def sh(ndim):
    rng = np.random.default_rng(ndim)
    return SH(rng.uniform(1e9, 4e9, SHAPES[ndim]), rng.uniform(1500.0, 2500.0, SHAPES[ndim]))


def relaxing(ndim):
    rng = np.random.default_rng(ndim)
    return Relaxing(rng.uniform(1500.0, 2500.0, SHAPES[ndim]), rng.uniform(0.0, 0.3, SHAPES[ndim]))


FACES = {
    1: ("free", "pml"),
    2: ("free", "pml", "rigid", "free"),
    3: ("periodic", "periodic", "pml", "pml", "rigid", "free"),
}
CASES = [
    pytest.param(make, kinds, ndim, faces, id=f"{make.__name__}-{ndim}D-{'faces' if faces else 'layers'}",
                 marks=pytest.mark.slow if ndim == 3 or (ndim == 2 and (make is relaxing or not faces)) else ())
    for make, kinds in ((sh, (["f"], ["v", "e"])), (relaxing, (["p"], ["p", "r"])))
    for ndim in (1, 2, 3)
    for faces in (None, FACES[ndim])
]  # fmt: skip


@pytest.mark.parametrize(("make", "kinds", "ndim", "faces"), CASES)
def test_a_scheme_from_outside_has_every_derivative(make, kinds, ndim, faces):
    given = problem(make(ndim), ndim, kinds, faces)
    testing.check_transposes(**given)
    testing.check_derivatives(**given)


def test_a_scheme_from_outside_has_every_storage_and_product(tmp_path):
    """With the derivatives above, of the same problem, that is all of ``check_equation``; and a file besides."""
    given = problem(sh(1), 1, (["f"], ["v", "e"]), FACES[1])
    testing.check_products(**given)
    storages = [HostStorage(), Recompute(segments=3), Reverse(segment=5), DiskStorage(path=str(tmp_path))]
    testing.check_storage(**given, storages=storages)
    testing.check_reversal(**given)


@pytest.mark.slow
def test_a_scheme_from_outside_has_policies_that_choose_or_move_states():
    given = problem(sh(1), 1, (["f"], ["v", "e"]), FACES[1])
    testing.check_storage(**given, storages=["auto", Recompute(segments=4, slots=2)])


def test_a_scheme_that_reads_what_it_updates_is_not_taken_back():
    given = problem(relaxing(1), 1, (["p"], ["p"]))
    testing.check_products(**given)
    testing.check_storage(**given)
    with pytest.raises(ValueError, match="has no step back in time"):
        jax.grad(lambda e: energy(**{**given, "equation": e}, storage=Reverse()))(given["equation"])


def test_an_equation_with_nothing_but_a_step():
    rng = np.random.default_rng(0)
    equation = Damped(rng.uniform(1500.0, 2500.0, 17))
    given = dict(
        equation=equation, grid=jaxwave.Grid(5.0, 2, jaxwave.Boundary(pml_width=0)), dt=1e-3, max_vel=2500.0,
        sources=(rng.standard_normal((2, 1, 15)), [[[4]], [[9]]]), receivers=[[[3], [12]], [[2], [5]]],
    )  # fmt: skip
    testing.check_equation(**given)


def energy(**given):
    return sum(jnp.sum(x**2) for x in jaxwave.simulate(**given).records.values())


def test_an_equation_of_gradients_is_what_optax_steps():
    given = problem(sh(2), 2, (["f"], ["v"]))
    equation = jax.tree.map(jnp.asarray, given.pop("equation"))
    value, gradient = jax.jit(jax.value_and_grad(lambda e: energy(equation=e, **given)))(equation)
    assert isinstance(gradient, SH) and gradient.mu.shape == equation.mu.shape
    optimiser = optax.sgd(1e-3)
    scaled = jax.tree.map(lambda g, x: g * (jnp.abs(x).max() ** 2 / value), gradient, equation)
    updates, _ = optimiser.update(scaled, optimiser.init(equation))
    assert energy(equation=optax.apply_updates(equation, updates), **given) < value


class Stepwise(SH):
    """SH waves with the stresses of each axis in a stage of their own, and a number for a coefficient."""

    memory_names = ("psi", "phi", "chi")

    def scheme(self, ndim):
        whole = super().scheme(ndim)
        first = [{field: update} for field, update in whole.stages[0].items()]
        return dataclasses.replace(whole, stages=(*first, whole.stages[1]))

    def moduli(self, models, dt):
        return {**super().moduli(models, dt), "buoyancy": dt / 2000.0}


class Weighted(SH):
    """SH waves with a force that is a weighted sum of terms, and a second one beside it that keeps its parts."""

    def scheme(self, ndim):
        whole = super().scheme(ndim)
        parts = {f"d_{s}": Term(((axis, s),)) for axis, s in whole.terms["force"].parts}
        force = {"force": Term(of=tuple(parts), weight=-2.0)}
        update = (("buoyancy", "force"), *(("along", g) for g in parts))
        changes = dict(stages=(whole.stages[0], {"v": update}), sources={"f": Source(("v",), "along", 2.0)})
        return dataclasses.replace(whole, terms=whole.terms | parts | force, **changes)

    def moduli(self, models, dt):
        found = super().moduli(models, dt)
        return {**found, "buoyancy": -0.25 * found["buoyancy"], "along": 0.5 * found["buoyancy"]}


def test_a_weighted_sum_of_terms_is_weighted_in_the_gradient_too():
    given = problem(sh(2), 2, (["f"], ["v"]))
    equation = given["equation"]
    gradients = [
        jax.grad(lambda e: energy(**{**given, "equation": e}))(made(equation.mu, equation.rho))
        for made in (SH, Weighted)
    ]
    testing.assert_close(gradients[1].rho, gradients[0].rho, 1e-11)
    testing.assert_close(gradients[1].mu, gradients[0].mu, 1e-11)
    testing.check_derivatives(**{**given, "equation": Weighted(equation.mu, equation.rho)})


def test_where_no_bound_follows_from_a_scheme_the_speed_must_be_given():
    given = problem(sh(2), 2, (["f"], ["v"]))
    models = {"mu": given["equation"].mu, "rho": np.full(SHAPES[2], 2000.0)}
    want = jaxwave.simulate(**{**given, "equation": SH(**models)}).records["v"]
    got = jaxwave.simulate(**{**given, "equation": Stepwise(**models)}).records["v"]
    testing.assert_close(got, want, 1e-12)
    with pytest.raises(
        ValueError, match=r"does not follow from its scheme, .* give `max_vel`, or write `largest_speed`"
    ):
        jaxwave.simulate(**{**given, "equation": Stepwise(**models), "max_vel": None})


def test_the_time_step_is_that_of_the_scheme():
    """A contrast makes the largest frequency larger than the largest speed does; the bound holds it, and is sharp."""
    rng = np.random.default_rng(3)
    rho = 1e3 * np.exp(rng.uniform(0, np.log(1e3), (40, 44)))
    values = {"mu": rho * 2000.0**2, "rho": rho}
    speed = SH().largest_speed(values, (5.0, 5.0), 8)
    assert 2000 < speed < 2300
    dt = 0.6 / (speed * (2 / 25) ** 0.5)
    given = dict(
        grid=jaxwave.Grid(5.0, 8, jaxwave.Boundary(pml_width=0)), dt=dt, nt=1, receivers={"v": [[[3, 3]]]},
        wavefields={"v": rng.standard_normal((1, 40, 44))},
    )  # fmt: skip
    out = jaxwave.simulate(SH(**values), **given)
    assert out.info.step_ratio == 1 and out.info.max_vel == speed


def test_points_between_cells_stand_for_locations():
    given = problem(sh(2), 2, (["f"], ["v"]))
    amplitudes = given["sources"]["f"][0]
    source = Hicks(np.array([[[4.3, 5.6]], [[4.0, 6.5]]]), SHAPES[2], half_width=2)
    receiver = Hicks(np.array([[[3.5, 5.5], [5.0, 8.25]]] * 2), SHAPES[2], half_width=2)
    given |= {"sources": {"f": (amplitudes[:, :1], source)}, "receivers": {"v": receiver}}
    got = jaxwave.simulate(**given).records["v"]
    given |= {"sources": {"f": (source.source(amplitudes[:, :1]), source.cells)}, "receivers": {"v": receiver.cells}}
    want = receiver.receiver(jaxwave.simulate(**given).records["v"])
    np.testing.assert_array_equal(got, want)
    testing.check_transposes(**given)


def test_runs_go_on_and_plans_are_made():
    given = problem(sh(1), 1, (["f"], ["v"]), nt=16)
    f, places = given["sources"]["f"]
    whole = jaxwave.simulate(**given)
    with pytest.raises(ValueError, match="records of several kinds, 'v', 'e'; choose one"):
        _ = whole.record
    first = jaxwave.simulate(**{**given, "sources": {"f": (f[..., :9], places)}})
    second = jaxwave.simulate(**{**given, "sources": {"f": (f[..., 9:], places)}}, state=first.state)
    joined = np.concatenate([first.records["v"], second.records["v"]], -1)
    np.testing.assert_allclose(joined, whole.records["v"], rtol=0, atol=1e-13 * np.abs(joined).max())
    positional = [given.pop(name) for name in ("equation", "grid", "dt")]
    estimate = jaxwave.estimate_memory(*positional, **given, storage="cpu")
    assert estimate.history == estimate.host > 0
    chosen = jaxwave.plan(*positional, **given, storage=jaxwave.storage.Auto(device=2**30)).chosen
    assert chosen is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(terms={"g": Term()}), "must have `parts`"),
        (dict(terms={"h": Term(((0, "u"),)), "i": Term(of=("h",)), "g": Term(of=("i",))}), "is a sum of sums"),
        (dict(terms={"g": Term(((0, "q"),))}), "names 'q', which is none of 'u', 'w'"),
        (dict(terms={"g": Term(((None, "u"),))}), "does not lie where the field 'w' does"),
        (dict(stages=({"w": (("c", "h"),)},)), "names 'h'"),
        (dict(stages=({"w": (("c", "g"),)}, {"w": (("c", "g"),)})), "updated in one stage"),
        (dict(sources={"s": Source(("u",))}), "source 's' names 'u'"),
        (dict(scaled=("w",), stages=({"w": (("c", "g"), ("d", "g"))},)), "cannot be `scaled`"),
    ],
)
def test_a_scheme_that_contradicts_itself_says_so(change, message):
    given = dict(
        fields={"u": (), "w": (0,)}, terms={"g": Term(((0, "u"),))}, stages=({"w": (("c", "g"),)},), sources={},
        receivers={},
    )  # fmt: skip
    Scheme(**given)
    with pytest.raises(ValueError, match=message):
        Scheme(**{**given, **change})


MULTIAXIAL = jaxwave.Grid(5.0, boundary=jaxwave.Boundary(mpml_fraction=0.1))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(equation=np.ones(17)), TypeError, "`equation` must be a jaxwave.Equation"),
        (dict(grid=5.0), TypeError, "`grid` must be a jaxwave.Grid"),
        (dict(equation=SH(np.full(17, 1e9))), TypeError, "`rho`"),
        (
            dict(sources={"x": (np.ones((1, 1, 4)), [[[3]]])}),
            ValueError,
            "no source of kind 'x' in 1 dimensions; use 'f'",
        ),
        (dict(sources={"f": np.ones((1, 1, 4))}), TypeError, "must be a pair"),
        (dict(equation=Damped(np.full((9, 9), 1e3)), receivers=[[[3, 3]]]), ValueError, "for 1 dimensions; got 2"),
        (
            dict(equation=Damped(np.full(17, 1e3)), receivers={"p": [[[3]]]}),
            ValueError,
            "has a single kind, without a name",
        ),
        (
            dict(equation=Damped(np.full(17, 1e3)), receivers=[[[3]]], grid=MULTIAXIAL),
            ValueError,
            "`grid.boundary.mpml_fraction`=0.1 is",
        ),
        (dict(wavefields={"q": np.ones((1, 17))}), ValueError, "no wavefield `q`"),
        (dict(storage="tape"), ValueError, "storage='tape' is unknown"),
        (dict(state=3), TypeError, "`state` must be the state of an earlier result"),
    ],
)
def test_bad_arguments_of_simulate_raise_before_anything_runs(change, error, message):
    given = dict(
        equation=SH(np.full(17, 1e9), np.full(17, 2e3)), grid=jaxwave.Grid(5.0), dt=1e-3, max_vel=1000.0, nt=4,
        receivers={"v": [[[3]]]},
    )  # fmt: skip
    with pytest.raises(error, match=message):
        jaxwave.simulate(**{**given, **change})


def test_linearised_runs_of_any_equation_are_derivatives():
    given = problem(sh(2), 2, (["f"], ["v"]))
    equation, along = given.pop("equation"), SH(None, np.random.default_rng(5).standard_normal(SHAPES[2]))
    out = jaxwave.born(equation, along, **given)

    def records(e):
        moved = SH(equation.mu, equation.rho + e * along.rho)
        return jaxwave.simulate(moved, **given).records["v"]

    difference = (records(1e-3) - records(-1e-3)) / 2e-3
    testing.assert_close(out.receiver_amplitudes["v"], difference, 1e-7)
    testing.assert_close(out.background.records["v"], records(0.0), 1e-14)
    with pytest.raises(TypeError, match="`perturbation` must be a SH"):
        jaxwave.born(equation, jaxwave.Scalar(along.rho), **given)
    with pytest.raises(ValueError, match=r"`perturbation\.mu` must have the shape of `mu`"):
        jaxwave.born(equation, SH(equation.mu[1:]), **given)
    with pytest.raises(ValueError, match="no model is perturbed"):
        jaxwave.born(equation, SH(), **given)


@pytest.mark.parametrize("name", ["acoustic", "elastic"])
def test_linearised_runs_by_the_propagators_names(name):
    rng = np.random.default_rng(6)
    shape, function = (9, 12), getattr(jaxwave, name)
    models = {"acoustic": (rng.uniform(1500, 2500, shape), rng.uniform(1e3, 2e3, shape))}.get(name) or (
        rng.uniform(3e9, 6e9, shape), rng.uniform(1e9, 3e9, shape), 1 / rng.uniform(1500, 2500, shape))  # fmt: skip
    options = dict(
        source_amplitudes_p=rng.standard_normal((1, 1, 20)), source_locations_p=[[[3, 4]]], pml_width=2, pml_freq=25.0,
        receiver_locations_p=[[[5, 6]]], receiver_locations_x=[[[5, 9]]], max_vel=3000.0,
    )  # fmt: skip
    along = [0.01 * x * rng.standard_normal(shape) for x in models]
    out = getattr(jaxwave, f"{name}_born")(*models, *along, 5.0, 5e-4, **options)
    _, want = jax.jvp(lambda *m: function(*m, 5.0, 5e-4, **options).receiver_amplitudes_x, models, tuple(along))
    testing.assert_close(out.receiver_amplitudes["x"], want, 1e-12)
    assert sorted(out.receiver_amplitudes) == sorted(
        ["p", "y", "x"] + (["yy", "xy", "xx"] if name == "elastic" else [])
    )
    assert type(out.scattered).__name__ == f"{name.capitalize()}State"


def test_elastic_waves_in_one_dimension_are_acoustic():
    rng = np.random.default_rng(7)
    v, rho = rng.uniform(2000, 3000, 24), rng.uniform(1500, 2500, 24)
    given = dict(
        grid=jaxwave.Grid(5.0, 4, jaxwave.Boundary(pml_width=5, pml_freq=25.0)), dt=5e-4, max_vel=3100.0,
        sources={"x": (rng.standard_normal((1, 1, 80)), [[[4]]])}, receivers={"p": [[[10], [18]]], "x": [[[7]]]},
    )  # fmt: skip
    modulus = rho * v**2
    got = jaxwave.simulate(jaxwave.Elastic(0.4 * modulus, 0.3 * modulus, 1 / rho), **given).records
    want = jaxwave.simulate(jaxwave.Acoustic(v, rho), **given).records
    testing.assert_close({kind: got[kind] for kind in want}, want, 1e-12)


# ---- the contract notices what is wrong ----


class HalfAdjoint(Damped):
    """An adjoint that forgets half of the state's cotangent."""

    def adjoint_step(self, m, operands, w, images):
        w, ds, gradients = super().adjoint_step(m, operands, w, images)
        return w._replace(fields=(0.5 * w.fields[0], w.fields[1])), ds, gradients


class HalfTerm(Damped):
    """A step that keeps half of its term."""

    def step(self, m, operands, x, amplitudes, scatter, keep):
        x, (g,) = super().step(m, operands, x, amplitudes, scatter, keep)
        return x, (None if g is None else 0.5 * g,)


class NoWayBack(Damped):
    """A step back that goes nowhere."""

    reversible = True

    def time_reversed_step(self, m, operands, levels, amplitudes, scatter, ring, keep):
        return levels, tuple(jnp.zeros_like(levels[0]) if wanted else None for wanted in keep)


@pytest.mark.parametrize(
    ("wrong", "check"),
    [
        (HalfAdjoint, testing.check_transposes),
        (HalfAdjoint, testing.check_derivatives),
        (HalfTerm, testing.check_derivatives),
        (NoWayBack, testing.check_reversal),
        (NoWayBack, testing.check_storage),
    ],
)
def test_the_contract_notices_what_is_wrong(wrong, check):
    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError, match=r"<J dx, y> =|relative difference"):
        check(
            wrong(rng.uniform(1500.0, 2500.0, 17)), jaxwave.Grid(5.0, 2, jaxwave.Boundary(pml_width=0)), 1e-3,
            max_vel=2500.0, sources=(rng.standard_normal((1, 1, 15)), [[[4]]]), receivers=[[[3], [12]]],
        )  # fmt: skip


def test_the_contract_is_exact_in_double_precision_alone():
    with pytest.raises(TypeError, match="set jax_enable_x64; `v` is float32"):
        testing.check_equation(Damped(np.full(17, 1e3, np.float32)), jaxwave.Grid(5.0), 1e-3, nt=3, receivers=[[[3]]])
