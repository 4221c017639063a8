"""Small random problems for any equation: models, sources and receivers of every kind, a first state."""

import collections
import contextlib
import dataclasses
import functools
from typing import Annotated, TypedDict, get_type_hints

import jax
import numpy as np
import pytest

import jaxwave
from jaxwave import _propagators
from jaxwave._setup.options import Options, to_call
from jaxwave._setup.problem import make_problem
from jaxwave.equations.registry import EQUATIONS
from jaxwave.equations.staggered import tensor
from jaxwave.equations.velocity_stress import VelocityStress

SPACING = (5.0, 7.0, 6.0)
RANGES = {  # units as in the propagators
    "v": (1500.0, 2500.0),
    "rho": (800.0, 2500.0),
    "lamb": (3e9, 6e9),
    "mu": (1e9, 3e9),
    "buoyancy": (1 / 2500.0, 1 / 1500.0),
    "epsilon": (0.1, 0.3),
    "delta": (-0.1, 0.1),
    "theta": (0.2, 0.8),
    "phi": (0.3, 1.2),
    "inverse_q": (0.02, 0.1),
    "inverse_qp": (0.05, 0.1),
    "inverse_qs": (0.02, 0.05),
    **dict.fromkeys(("c11", "c22", "c33"), (6e9, 12e9)),
    **dict.fromkeys(("c12", "c13", "c23", "c44", "c55", "c66"), (1e9, 2e9)),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """An equation in so many dimensions, with some of what can be asked for."""

    name: str
    ndim: int
    accuracy: int = 4
    n_shots: int = 2
    model_per_shot: bool = False
    nt: int = 14
    ratio: int = 1
    faces: tuple[str, ...] | None = None
    mpml_fraction: float = 0.0

    @property
    def physics(self):
        return EQUATIONS[self.name]

    @property
    def shape(self):
        return {1: (17,), 2: (8, 11), 3: (5, 6, 7)}[self.ndim]

    @property
    def widths(self):
        if self.faces:
            return tuple(3 if kind == "pml" else 0 for kind in self.faces)
        return {1: (3, 4), 2: (3, 0, 0, 4), 3: (2, 0, 0, 3, 2, 0)}[self.ndim]

    @property
    def spacing(self):
        return SPACING[: self.ndim]

    @property
    def max_vel(self):
        return 1.01 * self.physics.largest_speed(self.models(), self.spacing, self.accuracy, self.faces)

    @property
    def dt(self):
        """A little below the limit of ``ratio`` sub-steps."""
        return 0.99 * self.ratio * 0.6 / (self.max_vel * sum(1 / h**2 for h in self.spacing) ** 0.5)

    def models(self):
        rng = np.random.default_rng(self.ndim)
        shape = (self.n_shots, *self.shape) if self.model_per_shot else self.shape
        return {name: rng.uniform(*RANGES[name], shape) for name in self.physics.models}

    @property
    def settings(self):
        common = dict(accuracy=self.accuracy, pml_freq=25.0, max_vel=self.max_vel)
        fraction = self.mpml_fraction or (0.0 if self.physics.plain_layers else 0.1)
        multiaxial = {"mpml_fraction": fraction} if fraction else {}
        return {**common, **multiaxial, "pml_width": self.widths, "boundary": self.faces}

    @property
    def counts(self):
        """Sources and receivers of each kind; one of each where there are many kinds, so that runs take as long."""
        return (2, 3) if len(self.physics.source_kinds(self.ndim)) < 5 else (1, 1)

    def places(self, seed, n, kind, margin=0):
        """Random cells; none whose points lie on a rigid face, which is half a cell after the last one."""
        rng, offset = np.random.default_rng(seed), self.physics.point_offset(kind, self.ndim)
        found = [rng.integers(0, k - margin, (self.n_shots, n)) for k in self.shape]
        for axis in offset if self.faces else ():
            if self.faces[2 * axis + 1] == "rigid":
                found[axis] = np.minimum(found[axis], self.shape[axis] - 2)
        return np.stack(found, -1)

    def __str__(self):
        multiaxial = ["M-PML"] if self.mpml_fraction else []
        return "-".join([self.name, f"{self.ndim}D", *multiaxial, *(kind[:2] for kind in self.faces or ())])


# ---- equations that have no function of their own: the same arguments by name, and results like those ----


def call_of(name, grid_spacing, dt, **arguments):
    """The call that arguments like those of a propagator describe."""
    if name in _propagators.PROPAGATORS:
        return _propagators.call_of(name, grid_spacing=grid_spacing, dt=dt, **arguments)
    equation = EQUATIONS[name]
    models = {k: arguments.pop(k) for k in equation.models}
    return to_call(name, options_of(name), equation.with_models(models), grid_spacing, dt, arguments)


def propagate(name, **arguments):
    """The propagator of this name."""
    if name in _propagators.PROPAGATORS:
        return getattr(jaxwave, name)(**arguments)
    equation, (outcome, state) = EQUATIONS[name], results_of(name)
    out = _propagators.run(make_problem(call_of(name, **arguments)))
    fields = [out.state.wavefields.get(k) for k in equation.wavefield_offsets(equation.dimensions[-1])]
    memory = [out.state.memory[k] for k in equation.memory_names]
    records = [out.records.get(kind) for kind in equation.receiver_kinds(equation.dimensions[-1])]
    return outcome(*records, state(*fields, *memory, out.state.last_sources))


@functools.cache
def options_of(name):
    """What to_call asks of a propagator's options."""
    equation, anything = EQUATIONS[name], Annotated[object, None]
    points = [
        f"source_{what}_{kind}"
        for what in ("amplitudes", "locations")
        for kind in equation.source_kinds(equation.dimensions[-1])
    ]
    points += [f"receiver_locations_{kind}" for kind in equation.receiver_kinds(equation.dimensions[-1])]
    given = get_type_hints(Options, include_extras=True) | {"mpml_fraction": Annotated[float, 0.0]}
    return TypedDict(
        name, given | dict.fromkeys([*points, *equation.wavefield_offsets(equation.dimensions[-1])], anything)
    )


@functools.cache
def results_of(name):
    """What it returns, and the state in that."""
    equation = EQUATIONS[name]
    records = [f"receiver_amplitudes_{kind}" for kind in equation.receiver_kinds(equation.dimensions[-1])]
    fields = [*equation.wavefield_offsets(equation.dimensions[-1]), *equation.memory_names, "last_sources"]
    return collections.namedtuple("Outcome", [*records, "state"]), collections.namedtuple("FlatState", fields)


# ---- what is propagated ----


def suffixed(name, kind):
    return f"{name}_{kind}" if kind else name


def locations(case):
    """Sources and receivers of every kind; in the last cells no sources that need the cells beyond them."""
    needs, (n_sources, n_receivers) = case.physics.source_needs(case.ndim), case.counts
    sources = {
        suffixed("source_locations", kind): case.places(10 + i, n_sources, kind, int(kind in needs))
        for i, kind in enumerate(case.physics.source_kinds(case.ndim))
    }
    receivers = {
        suffixed("receiver_locations", kind): case.places(20 + i, n_receivers, kind)
        for i, kind in enumerate(case.physics.receiver_kinds(case.ndim))
    }
    return sources, receivers


@functools.cache
def inputs(case):
    """What can be differentiated, scaled so that sources and first state matter alike."""
    rng = np.random.default_rng(case.nt)
    amplitudes = {
        suffixed("source_amplitudes", kind): rng.standard_normal((case.n_shots, case.counts[0], case.nt))
        for kind in case.physics.source_kinds(case.ndim)
    }
    like = jax.eval_shape(lambda: run(case, {**case.models(), **amplitudes}).state)
    sizes = wavefield_sizes(case)
    state = type(like)(
        *(
            jax.tree.map(lambda s, size=sizes.get(name, 1.0): size * rng.standard_normal(s.shape), part)
            for name, part in zip(like._fields, like, strict=True)
        )
    )
    for name in amplitudes:
        amplitudes[name] *= source_size(case, name)
    if state.last_sources:
        samples = {
            kind: x * source_size(case, suffixed("source_amplitudes", kind))
            for kind, x in state.last_sources.samples.items()
        }
        state = state._replace(last_sources=dataclasses.replace(state.last_sources, samples=samples))
    return {**case.models(), **amplitudes, "initial_state": state}


def wavefield_sizes(case):
    """Pressures of 1 and the velocities that belong to them; of elastic waves, with more kinds of
    receivers to be balanced, phi too, which remembers the velocities' derivatives.
    """
    if case.name == "scalar":
        return {}
    impedance = 2000.0 * 1500.0
    sizes = {k: 1 / impedance for k in case.physics.wavefield_offsets(case.physics.dimensions[-1]) if k.startswith("v")}
    sizes |= {
        k: 0.03 for k in case.physics.wavefield_offsets(case.physics.dimensions[-1]) if k.startswith("relaxation")
    }  # is added every step
    if isinstance(case.physics, VelocityStress):
        sizes["phi"] = 1 / impedance / SPACING[0]
    return sizes


def source_size(case, name):
    if case.name == "scalar":
        return 0.3 / (2000 * case.dt) ** 2
    if name.endswith("_p"):
        return 1 / (1500 * 2000**2 * case.dt) if case.name == "acoustic" else 1 / case.dt
    if name.removeprefix("source_amplitudes_") in tensor(case.ndim):
        return 1 / case.dt
    return 1500 / (2000.0 * 1500.0 * case.dt)


def source_scale(case, kind, models, place):
    """What a source is multiplied by to be the transpose of a receiver of its kind; None if there is no such number.

    For a pressure rate, the stress that belongs to a unit of the strain whose product with the stress is recorded.
    Layers make averages no transposes of each other, as the damping changes across their width.
    """
    if case.name == "elastic_tti":
        return None
    if kind != "p" or case.name in ("scalar", "acoustic"):
        return 1.0
    if case.name != "elastic":  # the stresses of that strain differ, or relax
        return None
    return case.ndim * models["lamb"][tuple(place)] + 2 * models["mu"][tuple(place)]


def run(case, arguments, **options):
    """The propagator, with the case's settings and all its sources (if there are amplitudes) and receivers."""
    sources, receivers = locations(case)
    given = {name: x for name, x in sources.items() if name.replace("locations", "amplitudes") in arguments}
    settings = {**case.settings, **options}
    with expect_substeps(case):
        return propagate(
            case.name, grid_spacing=case.spacing, dt=case.dt, **arguments, **given, **receivers, **settings
        )


def responses(case, nt=60):
    """By kind of receiver, records [direction, kind of source, nt] of two places; with the second direction they swap.

    One run with a shot for each source. The model is the same for all, and the time step needs no sub-steps.
    """
    models = case.models() if not case.model_per_shot else {k: x[0] for k, x in case.models().items()}
    kinds = case.physics.source_kinds(case.ndim)
    there, back = np.array([[1] * case.ndim, [n - 2 for n in case.shape]])
    f = np.random.default_rng(8).standard_normal(nt)
    shots = {"source": np.array([there, back]), "receiver": np.array([back, there])}
    shots = {name: np.repeat(x, len(kinds), axis=0)[:, None] for name, x in shots.items()}
    survey = {}
    for number, kind in enumerate(kinds):
        amplitudes = np.zeros((2, len(kinds), 1, nt))
        amplitudes[:, number] = f
        survey[suffixed("source_amplitudes", kind)] = amplitudes.reshape(-1, 1, nt)
        for name, x in shots.items():
            survey[suffixed(f"{name}_locations", kind)] = x
    settings = dict(grid_spacing=case.spacing, dt=case.dt / case.ratio, **{**case.settings, "pml_width": 4})
    found = jax.jit(lambda models: records(propagate(case.name, **models, **survey, **settings)))(models)
    return {k: np.asarray(found[suffixed("receiver_amplitudes", k)]).reshape(2, len(kinds), nt) for k in kinds}


def expect_substeps(case):
    """The warning that a case with sub-steps must give."""
    return pytest.warns(jaxwave.SubstepWarning) if case.ratio > 1 else contextlib.nullcontext()


def records(out):
    return {name: x for name, x in out._asdict().items() if name.startswith("receiver_amplitudes") and x is not None}


def everything(case, arguments, **options):
    """Records and final state."""
    out = run(case, arguments, **options)
    return records(out), out.state


def random_like(seed, tree):
    """A direction of the size of what it is added to."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.standard_normal(np.shape(x)) * np.std(np.asarray(x)), tree)


def inner(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return sum(float(np.vdot(x, y)) for x, y in pairs)


def norm(a):
    return inner(a, a) ** 0.5
