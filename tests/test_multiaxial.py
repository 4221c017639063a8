"""The multi-axial PML: its filters, its stability where a plain PML grows, and what it reflects."""

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from contract import Case
from helpers import FREQ, amplitudes, largest
from jax import lax
from test_structure import compiled, cpu_only, large_copies, staggered_problem

import jaxwave
from jaxwave._numerics.boundary import PaddedGrid
from jaxwave._numerics.forms import CPU
from jaxwave._propagators import call_of
from jaxwave._setup.problem import make_problem
from jaxwave.equations.elastic import Elastic
from jaxwave.equations.layout import layout

BETA, RHO = 1500.0, 2000.0


# ---- what it does to a derivative ----


def damping(n, widths, spacing, offset, max_vel):
    """sigma and alpha at the points of an axis that a user sees, layers of these widths included; alpha is not 0."""
    place, sigma, alpha = np.arange(n + offset) - offset / 2, np.zeros(n + offset), np.ones(n + offset)
    for width, inwards in zip(widths, (place, n - 1 - place), strict=True):
        depth = np.clip((width - inwards) / max(width, 1), 0, 1)
        inside = (depth > 0) & (width > 0)
        sigma[inside] = (3 * max_vel * np.log(1000) / (2 * max(width, 1) * spacing) * depth**2)[inside]
        alpha[inside] = (np.pi * FREQ * (1 - depth))[inside] + 1e-300
    return sigma, alpha


@pytest.mark.parametrize("faces", [(4, 3, 5, 2), (4, 0, 2, 3, 0, 3)])
def test_every_axis_is_stretched_in_every_layer(faces):
    """Of a field that stays as it is (w = 0) a derivative ends divided by each s = 1 + sigma / alpha, exactly."""
    ndim, p, dt, max_vel = len(faces) // 2, 0.3, 1e-2, 2500.0
    grid = PaddedGrid((6, 7, 5)[:ndim], (5.0, 6.0, 7.0)[:ndim], 4, faces, None, p, CPU)
    equation = Elastic().on(grid)
    profiles = equation.profiles(dt, max_vel, FREQ, np.dtype(float))
    x, steps = jnp.asarray(np.random.default_rng(0).standard_normal((1, *grid.padded))), 400
    derivatives = list(layout(equation).derivatives.values())

    def step(memories):
        after = [d.remember(x, memory, profiles, 1.0) for d, memory in zip(derivatives, memories, strict=True)]
        return [d.value(x, memory) for d, memory in zip(derivatives, after, strict=True)], after

    @jax.jit
    def late_and_plain():
        zeros = [d.with_row([jnp.zeros((1, *grid.held_shape(q))) for q in d.memory(d.offset)]) for d in derivatives]
        late = lax.fori_loop(0, steps, lambda _, memories: step(memories)[1], zeros)
        plain = [d.derivative._everywhere(x) for d in derivatives]
        return [
            [grid.from_padded(values, d.offset) for d, values in zip(derivatives, found, strict=True)]
            for found in (step(late)[0], plain)
        ]

    for d, got, want in zip(derivatives, *late_and_plain(), strict=True):
        for axis, widths in enumerate(grid.faces):
            sigma, alpha = damping(grid.interior[axis], widths, grid.spacing[axis], d.offset[axis], max_vel)
            line = 1 / (1 + (1 if axis == d.axis else p) * sigma / alpha)
            want = want * line.reshape([-1 if a == axis + 1 else 1 for a in range(ndim + 1)])
        # The slowest memory fades as exp(-p sigma t): nothing is left of it.
        reference.assert_close(got, want, 1e-12)


def test_zero_is_the_plain_layer():
    case = Case("elastic", 2)
    given = {**contract.inputs(case), **contract.locations(case)[0], **contract.locations(case)[1]}
    given = {**case.settings, **given, "grid_spacing": case.spacing, "dt": case.dt}
    del given["initial_state"]
    plain, zero, some = (
        make_problem(call_of(case.name, **given, **options))
        for options in ({}, {"mpml_fraction": 0.0}, {"mpml_fraction": 0.1})
    )
    assert plain.plan == zero.plan != some.plan
    assert (plain.info.mpml_fraction, some.info.mpml_fraction) == (0.0, 0.1)
    # Two of the four faces have a layer: each derivative has one, and with a fraction both.
    assert [len(group) for group in plain.plan.equation.memory()] == [4, 4]
    assert [len(group) for group in some.plan.equation.memory()] == [8, 8]


def test_state_of_plain_layers_is_refused():
    case = Case("elastic", 2)
    with pytest.raises(ValueError, match="`initial_state` belongs to another grid or other layers"):
        contract.run(case, contract.inputs(case), mpml_fraction=0.1)


def test_little_changes_little():
    case = Case("elastic", 2)
    given = {name: x for name, x in contract.inputs(case).items() if name != "initial_state"}
    plain, some = (contract.records(contract.run(case, given, mpml_fraction=p)) for p in (0.0, 1e-7))
    change = max(largest(some[name] - plain[name]) / largest(plain[name]) for name in plain)
    assert 1e-12 < change < 1e-6  # as the fraction, times the steps that a wave is in a layer


@pytest.mark.slow
@pytest.mark.hlo
@cpu_only
@pytest.mark.parametrize("shape", [(64, 70), (30, 32, 34)])
def test_nothing_is_copied_in_the_loops(shape):
    models, misfit = staggered_problem("elastic", shape, 64, None, mpml_fraction=0.1)
    smallest_slab = 8 * int(np.prod(sorted(shape)[:-1]))
    for function in (misfit, jax.grad(misfit)):
        assert large_copies(compiled(function, models).as_text(), smallest_slab) == []


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), "0.1", None])
def test_wrong_fractions_are_refused(value):
    with pytest.raises(ValueError, match="`mpml_fraction` must be a number from 0 to 1; got"):
        jaxwave.elastic(*[np.ones((9, 9))] * 3, 5.0, 4e-4, nt=3, pml_width=3, mpml_fraction=value)


# ---- why it is there ----

SURFACE, PLATE, DUCT = ("free", *("pml",) * 3), ("free", "free", "pml", "pml"), ("rigid", "rigid", "pml", "pml")


def speeds(shape, poisson):
    """Of P and S waves, the same in all cells."""
    return np.full(shape, BETA * np.sqrt((2 - 2 * poisson) / (1 - 2 * poisson))), np.full(shape, BETA)


def soft_layer(shape=(30, 50), thickness=8):
    """Wet sediment, of a Poisson's ratio of 0.48, on rock."""
    top = np.arange(shape[0])[:, None] + np.zeros(shape) < thickness
    return np.where(top, 1500.0, 2500.0), np.where(top, 300.0, 1400.0)


def late_sizes(models, boundary, nt, fraction, width=20):
    """The rms velocity of a random start of unit size, after a half and after all of the steps."""
    (alpha, beta), h = models, 5.0
    shape = alpha.shape
    rng, names = np.random.default_rng(0), [f"v{name}_0" for name in "zyx"[-len(shape) :]]
    state, found = {name: rng.standard_normal((1, *shape)) for name in names}, []
    for _ in range(2):
        out = jaxwave.elastic(
            *jaxwave.vpvsrho_to_lambmubuoyancy(alpha, beta, np.full(shape, RHO)), h,
            0.57 * h / alpha.max() / len(shape) ** 0.5, nt=nt // 2, boundary=boundary,
            pml_width=[0 if kind != "pml" else width for kind in boundary], pml_freq=FREQ, mpml_fraction=fraction,
            **state,
        )  # fmt: skip
        found.append(np.sqrt(np.mean([np.square(getattr(out, name)).mean() for name in names])))
        state = {"initial_state": out.state}
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("models", "boundary", "nt", "growth"),
    [
        (soft_layer(), SURFACE, 4000, 100),
        (speeds((12, 60), 0.48), PLATE, 4000, 50),
        (speeds((12, 60), 0.25), PLATE, 10000, 20),
        (speeds((12, 60), 0.4), PLATE, 10000, 300),
        (speeds((12, 60), 0.48), PLATE, 10000, 1e5),
        (speeds((12, 60), 0.4), DUCT, 10000, 1e3),
    ],
)
def test_guided_waves_grow_in_plain_layers_only(models, boundary, nt, growth):
    """Some guided waves carry energy against their phase, which a plain PML at the end of their guide amplifies."""
    half, whole = late_sizes(models, boundary, nt, 0.0)
    assert whole > growth * half
    half, whole = late_sizes(models, boundary, nt, 0.1)
    assert whole < half < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("fraction", [0.05, 0.3, 1.0])
@pytest.mark.parametrize(
    ("shape", "boundary"), [((30, 30), ("pml",) * 4), ((30, 40), SURFACE), ((9, 10, 11), ("free", *("pml",) * 5))]
)
@pytest.mark.parametrize("poisson", [0.25, 0.48])
def test_nothing_grows_in_corners(shape, boundary, poisson, fraction):
    nt, width = (10000, 10) if len(shape) == 2 else (4000, 5)
    half, whole = late_sizes(speeds(shape, poisson), boundary, nt, fraction, width)
    # What is left are a few short waves, whose velocity comes and goes.
    assert whole < 1.5 * half < 0.3


@pytest.mark.slow
def test_reflections_of_oblique_waves():
    """A P wave that meets a layer at 0 and 45 degrees: the numbers of the documentation."""
    h, dt, nt, depth, top, alpha = 5.0, 7e-4, 640, 20, 130, 2600.0
    f, columns = amplitudes(nt, dt, delay=0.06), (1, 2 * depth)

    def run(extra, fraction):
        shape = (60 + extra, 100)
        models = jaxwave.vpvsrho_to_lambmubuoyancy(*(np.full(shape, x) for x in (alpha, BETA, RHO)))
        return jaxwave.elastic(
            *models, h, dt, pml_freq=FREQ, mpml_fraction=fraction,
            sources={"p": (f, [[[depth + extra, 30]]])},
            receivers={"p": [[[depth + extra, 30 + column] for column in columns]]},
        ).receiver_amplitudes_p[0]  # fmt: skip

    def reflected(fraction):
        got, want = run(0, fraction), run(top, fraction)
        # The direct wave, spread over the way to the layer and back.
        ways = np.hypot(2 * depth, columns) / columns[1]
        return [largest(a - b) / largest(want[1]) * way**0.5 for a, b, way in zip(got, want, ways, strict=True)]

    assert max(reflected(0.0)) < 5e-4
    straight, oblique = reflected(0.1)
    assert straight < 4e-4 and 5e-4 < oblique < 2e-3
