"""Histories in pinned host memory: on a CPU, where it is the same memory, so that all but the copies can be tested."""

import functools

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import bitwise_equal
from jax.interpreters import ad
from test_policies import DT, SPACING, gauss_newton, grad, problem, vmap

import jaxwave
from jaxwave import _jax_internals as jax_internals
from jaxwave._autotune import planning
from jaxwave._timeloop import groups
from jaxwave.storage import (
    BFloat16,
    Coarse,
    DeviceStorage,
    HostMemory,
    HostStorage,
    Int8,
    PinnedStorage,
    Raw,
    Recompute,
    Reverse,
    modes,
    pinned,
)

HOST = jax.memory.Space.Host
SURVEY = dict(
    source_amplitudes=np.ones((1, 1, 640)), source_locations=[[[5]]], receiver_locations=[[[9]]], pml_freq=40.0,
    pml_width=4, max_vel=1800.0,
)  # fmt: skip


def program(derivative, v, dv, records, **options):
    return jax.jit(functools.partial(derivative, records, **options))(v, dv)


def on_host(tree):
    return [x for x in jax.tree.leaves(tree) if jax.typeof(x).memory_space == HOST]


@pytest.mark.optimised
@pytest.mark.parametrize(
    ("interval", "counted", "sizes"),
    # Of 40 steps: one chunk; two; two and a rest; five and a rest. Of 14 entries, the last one shorter: two and a rest;
    # thirteen, two to a turn, and a rest.
    [
        (1, True, (14,)),
        (3, True, (1,)),
        pytest.param(1, False, (7,), marks=pytest.mark.slow),
        pytest.param(1, True, (40, 20, 7), marks=pytest.mark.slow),
        pytest.param(3, False, (5,), marks=pytest.mark.slow),
    ],
)
def test_gradients_are_those_of_the_device_to_the_last_bit(interval, counted, sizes):
    v, dv, records = problem(1)
    options = {"model_gradient_sampling_interval": interval}
    want = program(grad, v, dv, records, storage_mode="device", **options)
    for size in sizes:
        storage = PinnedStorage(steps_per_transfer=size, counted=counted)
        assert bitwise_equal(program(grad, v, dv, records, storage_mode=storage, **options), want), size


@pytest.mark.optimised
@pytest.mark.parametrize(
    "codec", [Int8(block=16), pytest.param(Coarse(2, BFloat16()), marks=pytest.mark.slow)], ids=str
)
def test_codecs(codec):
    """What is compressed before it is copied is what is compressed and stays."""
    v, dv, records = problem(1)
    want, got = (
        program(grad, v, dv, records, storage_mode=storage)
        for storage in (DeviceStorage(codec), PinnedStorage(codec, steps_per_transfer=7))
    )
    assert bitwise_equal(got, want)


@pytest.mark.parametrize("counted", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_read_forward(counted):
    """By a linearised run, with its chunks in the order of time."""
    v, dv, records = problem(1)
    want = program(gauss_newton, v, dv, records, storage_mode="device")
    storage = PinnedStorage(steps_per_transfer=7, counted=counted)
    got = program(gauss_newton, v, dv, records, storage_mode=storage)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * np.abs(want).max())  # rounding


@pytest.mark.parametrize(
    "case",
    [contract.Case("acoustic", 2), pytest.param(contract.Case("elastic", 2), marks=pytest.mark.slow)],
    ids=str,
)
def test_several_terms(case):
    """Each has a history of its own, of an equation with several models."""

    def gradient(storage):
        def misfit(models):
            found = contract.records(contract.run(case, {**arguments, **models}, storage_mode=storage))
            return sum(jnp.sum(jnp.sin(x)) for x in found.values())

        return jax.jit(jax.grad(misfit))(models)

    arguments = contract.inputs(case)
    models = {name: arguments[name] for name in case.physics.models}
    want, got = gradient("device"), gradient(PinnedStorage(steps_per_transfer=3))
    for name, x in want.items():
        np.testing.assert_allclose(got[name], x, rtol=0, atol=1e-12 * np.abs(x).max())  # rounding


def test_a_history_stays_on_the_host_between_two_programs():
    """Called eagerly, a run is one program and its adjoint another."""
    v, _, records = problem(1)
    storage = PinnedStorage(steps_per_transfer=7)
    value, pull = jax.vjp(lambda v: records(v, storage_mode=storage), v)
    (history,) = on_host(pull)
    assert history.shape[0] == (6 + 2) * 7  # six chunks and two places more
    want = jax.vjp(lambda v: records(v, storage_mode="device"), v)[1](value)[0]
    once, twice = pull(value)[0], pull(value)[0]
    assert bitwise_equal(once, twice)
    np.testing.assert_allclose(once, want, rtol=0, atol=1e-12 * np.abs(want).max())  # rounding


@pytest.mark.parametrize(
    "storage",
    [PinnedStorage(Int8()), Recompute(checkpoints=PinnedStorage(BFloat16())), Reverse(ring=PinnedStorage())],
    ids=["int8", "recompute", "reverse"],
)
def test_what_is_on_the_host_is_what_was_estimated(storage):
    def misfit(v):
        return jnp.sum(jaxwave.scalar(v, SPACING, DT, **SURVEY, storage_mode=storage).receiver_amplitudes ** 2)

    v = problem(1)[0]
    program = jax.make_jaxpr(lambda v: jax.tree.leaves(jax.vjp(misfit, v)[1]))(v)
    there = [aval for aval in program.out_avals if aval.memory_space == HOST]
    estimate = jaxwave.estimate_memory(v, SPACING, DT, **SURVEY, storage_mode=storage)
    assert sum(aval.size * aval.dtype.itemsize for aval in there) == estimate.host > 0


def test_a_batch_of_histories_stays_on_the_host():
    v, dv, records = problem(1)
    storage = PinnedStorage(steps_per_transfer=7)
    pulls = jax.vmap(lambda v: jax.vjp(lambda v: records(v, storage_mode=storage), v)[1])(jnp.stack([v, v + dv]))
    (histories,) = on_host(pulls)
    assert histories.shape[:2] == (2, 8 * 7)


def test_a_batch():
    """Each of its gradients is the one that it would be alone."""
    v, dv, records = problem(1)
    storage = PinnedStorage(steps_per_transfer=7)
    got = program(vmap, v, dv, records, storage_mode=storage)
    want = [program(grad, x, dv, records, storage_mode=storage) for x in (v, v + dv)]
    np.testing.assert_allclose(got, jnp.stack(want), rtol=0, atol=1e-12 * np.abs(got).max())  # rounding


def test_zeros_of_the_host():
    """What stands for the tangent of a history that has none is in the memory of the history."""
    like = jax.typeof(jax.device_put(jnp.ones((5, 2, 3)), HOST))
    zeros = jax_internals.instantiate_zeros(ad.Zero(like))
    assert jax.typeof(zeros) == like and not np.asarray(zeros).any()


def test_groups_of_shots(monkeypatch):
    v, dv, records = problem(1)
    storage = PinnedStorage(steps_per_transfer=7)
    want = program(grad, v, dv, records, storage_mode=storage)
    monkeypatch.setattr(groups, "CACHE", 1)
    pull = jax.vjp(lambda v: records(v, storage_mode=storage), v)[1]
    assert len(on_host(pull)) == 2  # one history for each of the two shots
    got = pull(jnp.cos(records(v)))[0]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * np.abs(want).max())  # rounding


def test_no_callback():
    v, _, records = problem(1)
    for storage in (PinnedStorage(), Recompute(checkpoints=PinnedStorage()), Reverse(ring=PinnedStorage())):
        text = jax.jit(lambda v, storage=storage: grad(records, v, v, storage_mode=storage)).lower(v).as_text()
        assert "callback" not in text
    assert "callback" in jax.jit(lambda v: grad(records, v, v, storage_mode=HostStorage())).lower(v).as_text()


# ---- the request for host memory ----


def test_cpu_is_callbacks_on_a_cpu():
    assert modes.as_storage("cpu", ".", Raw()) == HostStorage()
    assert not pinned.pool_at_hand()


def test_cpu_is_pinned_memory_on_a_gpu_as_far_as_the_pool_goes(monkeypatch):
    monkeypatch.setattr(modes, "pool_at_hand", lambda: True)
    storage = modes.as_storage("cpu", ".", Int8())
    assert storage == HostMemory(Int8())
    assert storage.settled(2**30) == PinnedStorage(Int8(), counted=False)
    assert storage.settled(33 * 2**30) == HostStorage(Int8())  # the pool has 64 GB, for two histories
    monkeypatch.setenv(pinned.POOL_LIMIT, "80")
    assert storage.settled(33 * 2**30) == PinnedStorage(Int8(), counted=False)


@pytest.mark.parametrize(("limit", "callbacks"), [("64", False), ("0", True)])
def test_the_tier_is_chosen_when_a_model_is_differentiated(monkeypatch, limit, callbacks):
    monkeypatch.setattr(modes, "pool_at_hand", lambda: True)
    monkeypatch.setenv(pinned.POOL_LIMIT, limit)
    v, dv, records = problem(1)
    text = jax.jit(lambda v: grad(records, v, dv, storage_mode="cpu")).lower(v).as_text()
    assert ("callback" in text) == callbacks
    assert bitwise_equal(jax.jit(lambda v: records(v, storage_mode="cpu"))(v), jax.jit(records)(v))


def test_the_loops_that_are_tried_on_a_gpu():
    """Where both memories are one, they find what they should."""
    back, forth = (x.tolist() for x in jax.jit(pinned.counted_loops)())
    assert forth == list(range(pinned.TURNS)) and back == forth[::-1]
    assert pinned.counts_right() is False  # there is no GPU to try them on


@pytest.mark.slow
def test_plans_list_pinned_memory_where_there_is_some(monkeypatch):
    monkeypatch.setattr(planning, "pool_at_hand", lambda: True)
    nothing = jaxwave.storage.Auto(device=0, host=0, disk=0)  # so that nothing is timed
    report = jaxwave.plan(problem(1)[0], SPACING, DT, **SURVEY, storage_mode=nothing)
    (option,) = (option for option in report.options if isinstance(option.storage, PinnedStorage))
    assert option.name == "pinned host RAM" and option.refused == "over the device budget"
    enough = planning.Budget(2**50, 2**50, 2**50)
    assert planning._refusal(option, enough) == ""
    monkeypatch.setenv(pinned.POOL_LIMIT, "0")
    assert planning._refusal(option, enough) == "over the pool of pinned memory"


# ---- sizes and arguments ----


def test_footprint():
    """The history with two chunks more is on the host, and three chunks are on the device."""
    v, _, _ = problem(1)
    size = functools.partial(jaxwave.estimate_memory, v, SPACING, DT, **SURVEY)
    device, host = size(storage_mode="device"), size(storage_mode=PinnedStorage())
    assert host.host == host.history == device.history * (32 + 2) // 32  # chunks of a 32nd of the run
    assert host.transfer == host.disk == 0
    entries = PinnedStorage(steps_per_transfer=10)
    spec = (jax.ShapeDtypeStruct((2, 50), jnp.float32),)
    kept = entries.footprint(95, spec, ())
    assert (kept.device, kept.host) == (3 * 10 * 400, (10 + 2) * 10 * 400)


def test_a_transfer_has_two_steps_at_least():
    """Of fields that are larger than a transfer should be."""
    spec = (jax.ShapeDtypeStruct((2**25,), jnp.float32),)
    assert PinnedStorage().chunk_size(100, spec, ()) == 2
    assert HostStorage().chunk_size(100, spec, ()) == 1


def test_wrong_arguments():
    with pytest.raises(ValueError, match="`steps_per_transfer` must be a number of steps, at least 1"):
        PinnedStorage(steps_per_transfer=0)
    with pytest.raises(TypeError, match="`checkpoints` must be a DeviceStorage, PinnedStorage, HostStorage or"):
        Recompute(checkpoints=Reverse())
    with pytest.raises(ValueError, match="states that change places must be on the device"):
        Recompute(checkpoints=PinnedStorage(), slots=3)
