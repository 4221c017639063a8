"""Every derivative under every storage policy and codec: all equal what the history kept on the device gives.

With ``--derivative-table FILE`` the outcomes are written as the table of the documentation.
"""

import dataclasses
import functools
import warnings

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import largest

import jaxwave
from jaxwave._propagators import PROPAGATORS, call_of
from jaxwave._setup.embedding import pad_inputs
from jaxwave._setup.problem import make_problem
from jaxwave.equations.registry import EQUATIONS
from jaxwave.storage import (
    DeviceStorage,
    DiskStorage,
    Fourier,
    HostStorage,
    Int8,
    PinnedStorage,
    Raw,
    Recompute,
    Reverse,
)
from jaxwave.storage.entries import map_present
from jaxwave.storage.stored import Stored


def frequencies(n_steps, dt):
    """All frequencies of a run."""
    return tuple(k / (n_steps * dt) for k in range(n_steps // 2 + 1))


NT, DT, SPACING, FREQ, MAX_VEL = 40, 9e-4, 5.0, 40.0, 1800.0
LONG_DT = 2.7e-3
SHAPES = {1: (40,), 2: (13, 14), 3: (8, 9, 8)}
CODECS = {"raw": Raw(), "int8": Int8(block=16)}
POLICIES = {
    "device": lambda codec, path: DeviceStorage(codec),
    "cpu": lambda codec, path: HostStorage(codec, steps_per_transfer=7),
    "pinned": lambda codec, path: PinnedStorage(codec, steps_per_transfer=7),
    "disk": lambda codec, path: DiskStorage(codec, steps_per_transfer=8, path=path),
    "recompute": lambda codec, path: Recompute(codec),
    "recompute, 3 slots": lambda codec, path: Recompute(codec, segments=10, slots=3),
    "recompute, states in RAM": lambda codec, path: Recompute(codec, checkpoints=HostStorage()),
    "recompute, states pinned": lambda codec, path: Recompute(codec, checkpoints=PinnedStorage()),
    "recompute, states on disk": lambda codec, path: Recompute(codec, checkpoints=DiskStorage(path=path)),
    "reverse": lambda codec, path: Reverse(codec, segment=8),
    "reverse, layers in RAM": lambda codec, path: Reverse(codec, ring=HostStorage(), segment=7),
    "reverse, layers pinned": lambda codec, path: Reverse(codec, ring=PinnedStorage(), segment=7),
    "fourier, all frequencies": lambda codec, path: Fourier(frequencies=frequencies(NT, DT)),
}


# Kinds of sources and receivers, and the size that makes a record of about one.
SURVEYS = {
    "scalar": ([""], [""], 1e-2),
    "acoustic": (["p", "x"], ["p", "x"], 1e2),
    "elastic": (["x", "xy", "p"], ["x", "xy", "p"], 1e5),
}


def models(name, v):
    """The models of an equation as functions of one speed; the elastic one with a fluid, and vacuum above."""
    rho = 1000 + 0.5 * v
    if name == "scalar":
        return (v,)
    if name == "acoustic":
        return v, rho
    cells = np.arange(v.size).reshape(v.shape)
    mu = jnp.where(cells >= v.size // 2, rho * (v / 1.8) ** 2, 0)
    lamb, filled = rho * v**2 - 2 * mu, cells >= 2 * (v.shape[-1] if v.ndim > 1 else 1)
    return tuple(jnp.where(filled, x, 0) for x in (lamb, mu, 1 / rho))


@functools.cache
def problem(ndim, name="scalar"):
    """A model, a direction and a function (model, dt, options) -> records."""
    shape, rng, (sources, receivers, size) = SHAPES[ndim], np.random.default_rng(ndim), SURVEYS[name]
    there = EQUATIONS[name].source_kinds(ndim)
    sources, receivers = ([kind for kind in kinds if kind in there] for kinds in (sources, receivers))
    v = jnp.asarray(1500 + 200 * rng.random(shape))
    amplitudes = jaxwave.wavelets.ricker(FREQ, NT, DT, 1 / FREQ).reshape(1, 1, -1) * rng.uniform(1, 2, (2, 1, 1))
    lowest = 0 if name != "elastic" else [shape[0] // 2 + 1, *[0] * (ndim - 1)]  # in the solid
    places = {"source_locations": rng.integers(lowest, shape, (2, 2, ndim))[:, :1]}
    places["receiver_locations"] = rng.integers(0, shape, (2, 2, ndim))
    places["source_locations"] = np.minimum(places["source_locations"], np.array(shape) - 2)
    survey = {
        contract.suffixed(argument, kind): x
        for argument, x in {"source_amplitudes": jnp.asarray(amplitudes), **places}.items()
        for kind in (receivers if argument.startswith("receiver") else sources)
    }

    def records(v, dt=DT, **options):
        out = getattr(jaxwave, name)(
            *models(name, v), SPACING, dt, **survey,
            pml_width=[3] + [0] * (2 * v.ndim - 2) + [3], pml_freq=FREQ, max_vel=MAX_VEL, **options,
        )  # fmt: skip
        found = [getattr(out, contract.suffixed("receiver_amplitudes", kind)) for kind in receivers]
        return size * jnp.concatenate(found)

    return v, jnp.asarray(100 * rng.standard_normal(shape)), records


def misfit(records, v, **options):
    return jnp.sum(jnp.sin(records(v, **options)))


def grad(records, v, dv, **options):
    return jax.grad(lambda v: misfit(records, v, **options))(v)


def jit(records, v, dv, **options):
    return jax.jit(lambda v: grad(records, v, dv, **options))(v)


def jvp(records, v, dv, **options):
    return jax.jvp(lambda v: records(v, **options), (v,), (dv,))[1]


def gauss_newton(records, v, dv, **options):
    _, push = jax.linearize(lambda v: records(v, **options), v)
    return jax.linear_transpose(push, v)(push(dv))[0]


def hessian(records, v, dv, **options):
    return jax.jvp(lambda v: grad(records, v, dv, **options), (v,), (dv,))[1]


def vmap(records, v, dv, **options):
    return jax.vmap(lambda v: grad(records, v, dv, **options))(jnp.stack([v, v + dv]))


def substeps(records, v, dv, storage_mode):
    """A gradient with time steps that are divided, by 2 or 3."""
    if isinstance(storage_mode, Fourier):
        inner_dt, ratio = jaxwave.grid.substeps(LONG_DT, MAX_VEL, (SPACING,) * v.ndim)
        storage_mode = Fourier(frequencies=frequencies(ratio * (NT - 1) + 1, inner_dt))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jaxwave.SubstepWarning)
        return grad(records, v, dv, dt=LONG_DT, storage_mode=storage_mode)


DERIVATIVES = {f.__name__: f for f in (grad, jit, jvp, gauss_newton, hessian, vmap, substeps)}


def compiled(derivative, records, v, dv, **options):
    """A derivative as one program; eagerly each of its loops is one, and each operation between them."""
    return jax.jit(functools.partial(DERIVATIVES[derivative], records, **options))(v, dv)


@functools.cache
def on_the_device(derivative, codec, ndim, name):
    v, dv, records = problem(ndim, name)
    return compiled(derivative, records, v, dv, storage_mode=DeviceStorage(CODECS[codec]))


CELLS = [("scalar", 1, policy, codec) for policy in POLICIES for codec in CODECS]
CELLS += [("scalar", ndim, policy, "raw") for ndim in (2, 3) for policy in POLICIES]
CELLS += [
    (name, ndim, policy, "raw")
    for name in PROPAGATORS
    for ndim in EQUATIONS[name].dimensions
    for policy in POLICIES
    if name != "scalar" and policy.startswith("reverse")
]


GAUSS_NEWTON = ("cpu", "pinned", "recompute", "reverse")
VMAP = GAUSS_NEWTON
EAGER = ("device", *VMAP)


def marks(name, ndim, policy, codec, derivative):
    """Few of the cells run always, for time: compilations take nearly all of it. The documentation's table comes from
    all. The reversible steps of every equation are held against each other at least in one number of dimensions.

    Always, of the scalar equation in 1-D: the gradient under every policy and the product with the Hessian, which take
    the loops of all others; products with the Gauss-Newton matrix and batches where a history is kept in another way.
    On the device one derivative is always held against itself, but for the eager gradient. Gradients with sub-steps
    under every policy are in test_substeps.py, those of the acoustic equation in test_equations.py.
    """
    if (name, ndim, codec) == ("scalar", 1, "raw"):
        # The states of "recompute" are on disk, and what "reverse" keeps is in pinned memory, as they are in RAM.
        elsewhere = {"recompute, states on disk", "recompute, states pinned", "reverse, layers pinned"}
        hessian = POLICIES.keys() - {"device", *elsewhere}
        always = {"grad": POLICIES, "hessian": hessian, "gauss_newton": GAUSS_NEWTON, "vmap": VMAP, "jit": ["cpu"]}
        return [] if policy in always.get(derivative, ()) else [pytest.mark.slow]
    if (name, ndim, policy) == ("scalar", 2, "recompute, 3 slots"):
        return [pytest.mark.slow]
    if name != "scalar" and ndim == EQUATIONS[name].dimensions[0]:
        return [] if (name, policy, derivative) == ("acoustic", "reverse", "hessian") else [pytest.mark.slow]
    return [pytest.mark.matrix]


ALL_CELLS = [
    pytest.param(*cell, derivative, marks=marks(*cell, derivative)) for cell in CELLS for derivative in DERIVATIVES
]


@pytest.mark.parametrize(("name", "ndim", "policy", "codec", "derivative"), ALL_CELLS)
def test_derivatives(name, ndim, policy, codec, derivative, tmp_path, derivative_table):
    v, dv, records = problem(ndim, name)
    storage = POLICIES[policy](CODECS[codec], str(tmp_path))
    if storage.codec != CODECS[codec]:
        pytest.skip("this policy has no codec")
    want = on_the_device(derivative, codec, ndim, name)
    eagerly = derivative == "grad" and policy in EAGER
    got = (grad if eagerly else functools.partial(compiled, derivative))(records, v, dv, storage_mode=storage)
    assert largest(want) > 0
    # Rounding alone: the same operations, in programs that XLA compiles apart.
    assert largest(got - want) <= 1e-10 * largest(want)
    derivative_table.add((name, policy, codec, derivative, ndim))


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_derivatives_without_jit(policy, tmp_path):
    """As above, eagerly; gradients under some policies are so there too."""
    v, dv, records = problem(1)
    storage = POLICIES[policy](Raw(), str(tmp_path))
    for derivative in DERIVATIVES.keys() - {"jit"}:
        want = on_the_device(derivative, "raw", 1, "scalar")
        got = DERIVATIVES[derivative](records, v, dv, storage_mode=storage)
        assert largest(got - want) <= 1e-10 * largest(want), derivative


def test_fourier_is_the_part_of_the_gradient_at_its_frequencies():
    """What a band adds to the gradient does not depend on what else is kept. (What the model does to the amplitudes at
    the sources is in every gradient, whole: it needs no history.)
    """
    v, dv, records = problem(1)
    every = frequencies(NT, DT)

    def part(v, *bands):
        return grad(records, v, dv, storage_mode=Fourier(frequencies=tuple(f for band in bands for f in band)))

    first, band, last = every[:2], every[2:5], every[5:]
    some = (first, band), (first,), (every,), (first, last)
    both, one, whole, others = jax.jit(lambda v: [part(v, *bands) for bands in some])(v)
    added = both - one
    assert largest(added) > 0.01 * largest(whole)
    assert largest(added - (whole - others)) <= 1e-10 * largest(added)


def test_fourier_counts_what_the_run_cannot_tell_apart_once():
    v, dv, records = problem(1)
    few, close = (
        jit(records, v, dv, storage_mode=Fourier(frequencies=f)) for f in ((20.0, 60.0), (20.0, 20.001, 60.0, 60.001))
    )
    assert largest(few - close) < 0.05 * largest(few)


def history(v, **options):
    """Bytes of the history of a gradient, of which no program is made."""
    found = make_problem(call_of("scalar", v, SPACING, DT, **options))
    state = jax.eval_shape(lambda: pad_inputs(found.setup, found.arrays))[-1]
    return found.plan.footprint(found.setup.n_steps, state).history


def test_memory_of_fourier_does_not_depend_on_the_steps():
    v, _, _ = problem(1)
    survey = dict(source_locations=[[[5]]], receiver_locations=[[[9]]], pml_freq=FREQ, max_vel=MAX_VEL)

    def bytes_of(nt):
        fourier = Fourier(frequencies=(20.0, 40.0))
        return history(v, source_amplitudes=np.ones((1, 1, nt)), storage_mode=fourier, **survey)

    assert bytes_of(60) == bytes_of(600) > 0


def test_drift_of_a_run_taken_back_is_reset_by_segments():
    """In float32: 1e-6 within short segments; with the square of their length at worst in long ones."""
    rng, nt = np.random.default_rng(3), 600
    v = jnp.asarray(1500 + 200 * rng.random(60), jnp.float32)
    wavelet = jaxwave.wavelets.ricker(FREQ, nt, DT, 1 / FREQ, dtype=jnp.float32)

    def gradient(storage):
        def misfit(v):
            out = jaxwave.scalar(
                v, SPACING, DT, source_amplitudes=wavelet.reshape(1, 1, -1), source_locations=[[[9]]],
                receiver_locations=[[[5], [50]]], pml_width=[4, 0], pml_freq=FREQ, max_vel=MAX_VEL,
                storage_mode=storage,
            )  # fmt: skip
            return jnp.sum(out.receiver_amplitudes**2)

        return jax.jit(jax.grad(misfit))(v)

    want = gradient("device")
    errors = [largest(gradient(Reverse(segment=n)) - want) / largest(want) for n in (10, 600)]
    assert errors[0] < 1e-5 < 100 * errors[1]
    assert errors[1] < 600**2 * 6e-8  # rounding of every step, carried on linearly


def test_reverse_refuses_what_it_cannot_take_back():
    v, dv, records = problem(1)
    with pytest.raises(ValueError, match="model_gradient_sampling_interval must be 1"):
        grad(records, v, dv, storage_mode=Reverse(), model_gradient_sampling_interval=2)
    with pytest.raises(ValueError, match="not available for Equation, which has no step back in time"):
        Reverse().resolve(DT, 1, jaxwave.Equation())
    with pytest.raises(ValueError, match="`segment` must be a positive integer"):
        Reverse(segment=0)
    with pytest.raises(TypeError, match="`ring` must be"):
        Reverse(ring=Recompute())


@pytest.mark.hlo
def test_reverse_keeps_the_layers_alone():
    """Bytes a step: those of the cells that a layer reaches; with streamed layers the device holds a segment."""
    shape, nt = (60, 70), 400
    survey = dict(
        source_amplitudes=jnp.ones((1, 1, nt)), source_locations=[[[5, 5]]], receiver_locations=[[[9, 9]]],
        pml_freq=FREQ, pml_width=4, max_vel=MAX_VEL,
    )  # fmt: skip
    v = jnp.full(shape, 1500.0)
    stored, streamed = (
        jaxwave.estimate_memory(v, SPACING, DT, storage_mode=mode, **survey)
        for mode in (DeviceStorage(), Reverse(ring=HostStorage()))
    )
    assert history(v, storage_mode=Reverse(), **survey) < 0.5 * stored.history
    assert streamed.device < 0.1 * stored.device and streamed.host < 0.5 * stored.history


def test_recompute_within_a_memory():
    """States and segment take no more than what was given, and more memory means less work."""
    field, entries = jax.ShapeDtypeStruct((1, 1000), jnp.float64), 100
    spec, state, work = (field,), (field,) * 3, []
    for memory in (80_000, 160_000, 400_000, 4_000_000):
        storage = Recompute(memory=memory)
        schedule, size = storage.schedule(entries, spec, state), storage.chunk_size(entries, spec, state)
        kept = schedule.places * 24_000 + size * 8_000
        assert storage.footprint(entries, spec, state).device == kept <= memory
        work.append(schedule.advances * size)
    assert work == sorted(work, reverse=True) and work[-2] == work[-1] == 0 < work[0]


def test_gradient_within_a_memory():
    (v, dv, records), want = problem(1), on_the_device("grad", "raw", 1, "scalar")
    assert largest(jit(records, v, dv, storage_mode=Recompute(memory=8 * 2**10)) - want) <= 1e-10 * largest(want)


@pytest.mark.parametrize("policy", [DeviceStorage, HostStorage, Recompute, Reverse])
def test_a_policy_of_the_users_own_is_what_it_is_derived_from(policy):
    mine = type("Mine", (policy,), {})
    (v, dv, records), want = problem(1), on_the_device("grad", "raw", 1, "scalar")
    np.testing.assert_allclose(jit(records, v, dv, storage_mode=mine()), want, rtol=0, atol=1e-12 * np.abs(want).max())


class Halves(Stored):
    """Keeps half of each term, and reads twice what it finds: exactly the term."""

    def put(self, saved, i, before, after, chunks):
        return super().put(saved, i, before, after, map_present(lambda chunk: [x / 2 for x in chunk], chunks))

    def read(self, history, cursor, i, size):
        chunks, cursor = super().read(history, cursor, i, size)
        return map_present(lambda chunk: [2 * x for x in chunk], chunks), cursor


@dataclasses.dataclass(frozen=True)
class InHalves(HostStorage):
    def histories(self, plan, n_steps, x, direction):
        return Halves(plan, n_steps, x, direction)


@pytest.mark.parametrize("derivative", ["hessian", pytest.param("gauss_newton", marks=pytest.mark.slow)])
def test_a_policy_that_saves_and_reads_in_a_way_of_its_own(derivative):
    (v, dv, records), want = problem(1), on_the_device(derivative, "raw", 1, "scalar")
    got = compiled(derivative, records, v, dv, storage_mode=InHalves(steps_per_transfer=7))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * np.abs(want).max())
