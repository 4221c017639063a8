"""What a plan predicts against what a gradient takes, and "auto" under budgets from ample to none."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxwave
from jaxwave._autotune import planning
from jaxwave.storage import Auto, DeviceStorage, DiskStorage, Fourier, HostStorage, Int8, Recompute, Reverse

NT = 192
SURVEY = dict(
    source_amplitudes=jaxwave.wavelets.ricker(25.0, NT, 1e-3, 0.06, dtype=jnp.float32).reshape(1, 1, -1),
    source_locations=[[[20]]], receiver_locations=[[[8], [30]]], pml_freq=25.0, pml_width=5, max_vel=1600.0,
)  # fmt: skip
V = jnp.asarray(np.random.default_rng(0).uniform(1400, 1600, 1900), jnp.float32)


def misfit(v, storage):
    return jnp.sum(jaxwave.scalar(v, 5.0, 1e-3, **SURVEY, storage_mode=storage).receiver_amplitudes ** 2)


eager_gradient = jax.grad(misfit)


def gradient(storage):
    return jax.jit(lambda v: eager_gradient(v, storage))(V)


@functools.cache
def estimate(storage):
    """What the compiler says of the gradient under a policy."""
    return jaxwave.estimate_memory(V, 5.0, 1e-3, storage_mode=storage, **SURVEY)


def report(**budget):
    return jaxwave.plan(V, 5.0, 1e-3, storage_mode=Auto(**budget), **SURVEY)


@pytest.fixture(scope="module")
def ample(tmp_path_factory):
    """The plan without a limit, for a path that is the same in all tests."""
    path = str(tmp_path_factory.mktemp("store"))
    return path, report(path=path)


def named(plan, name):
    return next(option for option in plan.options if option.name == name)


def test_plan_lists_every_policy_the_fastest_first(ample):
    options = ample[1].options
    kinds = {type(option.storage) for option in options}
    assert kinds == {DeviceStorage, HostStorage, DiskStorage, Recompute, Reverse} and len(options) == 8
    seconds = [option.seconds for option in options]
    assert seconds == sorted(seconds) and seconds[0] > 0
    assert ample[1].chosen is options[0]
    assert all(option.name in str(ample[1]) for option in options)


@pytest.mark.parametrize(
    "name",
    ["device", "host RAM", "recompute", "recompute, states in host RAM", "reverse", "reverse, layers in host RAM"],
)
def test_predicted_device_bytes_are_the_compilers(name, ample):
    """Within 10 %: what is extrapolated from a short program, against the program of full length."""
    option = named(ample[1], name)
    compiled = estimate(option.storage)
    assert option.device == pytest.approx(compiled.device, rel=0.1)
    assert option.host == compiled.host + compiled.transfer


def test_auto_fits_five_budgets(ample):
    """From ample to barely enough for the state; and every gradient is the same."""
    path, plan = ample
    ask = {name: named(plan, name).device for name in ("device", "recompute", "host RAM")}
    least = named(report(path=path, device=0), "recompute").device
    budgets = [
        dict(), dict(host=0, disk=0), dict(device=ask["device"] - 1, host=0, disk=0),
        dict(device=ask["host RAM"] + 1000, disk=0), dict(device=int(1.02 * least), host=0, disk=0),
    ]  # fmt: skip
    want, chosen = gradient(DeviceStorage()), []
    for budget in budgets:
        fits = report(path=path, **budget)
        assert fits.chosen.device <= fits.budget.device and fits.chosen.host <= fits.budget.host
        # The user's own arrays come on top.
        assert estimate(fits.chosen.storage).device <= 1.1 * fits.budget.device
        got = gradient(Auto(path=path, **budget))
        assert float(jnp.abs(got - want).max()) <= 1e-5 * float(jnp.abs(want).max())
        chosen.append(fits.chosen.name)
    # Of those that fit, the time that was measured decides.
    assert chosen[2] in ("recompute", "reverse") and chosen[4] == "recompute"
    assert chosen[3] in ("host RAM", "reverse", "reverse, layers in host RAM")


def test_nothing_fits(ample):
    path = ample[0]
    with pytest.raises(jaxwave.BudgetError, match="no storage policy fits") as caught:
        eager_gradient(V, Auto(device=1000, path=path))
    assert "over the device budget" in str(caught.value) and caught.value.plan.chosen is None
    assert report(device=1000, path=path).chosen is None


def test_auto_by_name_under_jit_says_what_it_chose(ample):
    def run(v):
        out = jaxwave.scalar(v, 5.0, 1e-3, **SURVEY, storage_mode="auto", storage_path=ample[0])
        return jnp.sum(out.receiver_amplitudes**2), out.info

    grad, info = jax.jit(jax.grad(run, has_aux=True))(V)
    assert bool(jnp.isfinite(grad).all()) and info.storage_plan is ample[1]
    assert info.storage == info.storage_plan.chosen.storage


@pytest.fixture
def choices(monkeypatch):
    """Calls in which a policy is chosen, with none remembered; the first candidate is taken without measuring."""
    found = []

    def choose(case, auto):
        found.append(case)
        budget = planning.free_budget(auto)
        return planning.StoragePlan(
            budget, (planning.StorageOption("device", DeviceStorage(auto.codec), 0, 0, 0, 0.0),)
        )

    monkeypatch.setattr(planning, "_KNOWN", {})
    monkeypatch.setattr(planning, "_chosen", choose)
    return found


def test_auto_chooses_when_a_history_is_asked_for_and_once_for_a_kind_of_problem(choices):
    def run(v, **changes):
        survey = SURVEY | changes
        return jaxwave.scalar(v, 5.0, 1e-3, storage_mode="auto", **survey)

    def misfit(v, **changes):
        return jnp.sum(run(v, **changes).receiver_amplitudes ** 2)

    out = jax.eval_shape(run, V)
    assert out.info.storage == Auto() and out.info.storage_plan is None
    sources = SURVEY["source_amplitudes"]
    jax.eval_shape(jax.grad(lambda f: misfit(V, source_amplitudes=f)), sources)  # needs no history
    assert not choices

    def gradient(v, **changes):  # under jit within the derivative nobody knows at the call that it is differentiated
        return jax.eval_shape(jax.grad(jax.jit(lambda v: misfit(v, **changes))), v)

    gradient(V)
    assert len(choices) == 1 and out.info.storage == DeviceStorage() and out.info.storage_plan.chosen.name == "device"
    gradient(V + 1)
    gradient(V, max_vel=1601.0)
    gradient(V, pml_freq=24.0)
    gradient(V, source_amplitudes=2 * sources)
    gradient(V, receiver_locations=[[[9], [31]]])
    jax.eval_shape(jax.grad(misfit), V)
    assert len(choices) == 1
    gradient(V[:-1])
    assert len(choices) == 2


def test_a_plan_stays_within_its_budget(ample, monkeypatch):
    """What is over the budget is neither run nor compiled at full length, and says what it would take."""
    ran, full = [], []
    timed, compiled_bytes = planning.Trial._timed, planning._compiled_bytes
    monkeypatch.setattr(planning.Trial, "_timed", lambda trial: ran.append(trial) or timed(trial))
    monkeypatch.setattr(planning, "_compiled_bytes", lambda *a: full.append(a[1]) or compiled_bytes(*a))
    monkeypatch.setattr(planning, "_KNOWN", {})
    # Programs that are there already are taken, but no time of theirs.
    monkeypatch.setattr(planning.Trial, "seconds", property(planning.Trial.seconds.func))
    budget = 400_000  # a state is 16 kB, the whole history 1.5 MB
    plan = report(path=ample[0], device=budget, host=0, disk=0)
    assert named(plan, "device").refused == "over the device budget" and named(plan, "device").device > budget
    assert named(plan, "device").seconds == np.inf and " - " in str(plan)
    assert type(plan.chosen.storage) in (Recompute, Reverse) and plan.chosen.seconds < np.inf
    assert full == [plan.chosen.storage]
    assert ran and all(planning.device_bytes(trial._compiled) <= budget for trial in ran)


@pytest.mark.slow
def test_compression_is_kept(tmp_path):
    plan = report(codec=Int8(), path=str(tmp_path))
    raw = report(path=str(tmp_path))
    assert named(plan, "host RAM").storage.codec == Int8()
    assert named(plan, "host RAM").host < 0.4 * named(raw, "host RAM").host


def test_what_is_free():
    budget = planning.free_budget(Auto(device=10, disk=20))
    assert budget.device == 10 and budget.disk == 20 and 0 < budget.host <= planning.free_memory()
    assert planning.free_budget(Auto(device=1, host=2)).memory == float("inf")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Auto(device=-1), "`device` must be a whole number of bytes"),
        (lambda: Recompute(segments=0), "`segments` must be a positive integer"),
        (lambda: Recompute(segments=3, memory=10), "`memory` chooses the segments and the slots"),
        (lambda: Recompute(slots=2, checkpoints=HostStorage()), "must be on the device"),
        (lambda: eager_gradient(V, Recompute(memory=1000)), "does not hold two states"),
        (lambda: Fourier(), "one or more numbers in Hz"),
        (lambda: Fourier(frequencies=(1.0, 1.0)), "must differ"),
        (lambda: gradient(Fourier(frequencies=(600.0,))), "above 500 Hz"),
    ],
)
def test_bad_requests(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_bad_checkpoints():
    with pytest.raises(TypeError, match="must be a DeviceStorage, PinnedStorage, HostStorage or DiskStorage"):
        Recompute(checkpoints=Recompute())
    with pytest.raises(TypeError, match=r"must be a jaxwave\.storage\.Auto"):
        jaxwave.plan(V, 5.0, 1e-3, storage_mode="auto", **SURVEY)
