"""The form of the loops for a GPU gives what the form for a CPU gives, and each platform gets its own."""

import functools

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from contract import Case

import jaxwave
from jaxwave._numerics import forms
from jaxwave.storage import DeviceStorage, HostStorage, Int8, PinnedStorage, Raw, Recompute, Reverse

CASES = [
    Case("scalar", 2),
    Case("elastic", 2, nt=5),
    pytest.param(Case("elastic", 2, faces=("free", "rigid", "pml", "pml"), mpml_fraction=0.2), marks=pytest.mark.slow),
    pytest.param(Case("scalar", 3), marks=pytest.mark.slow),
    pytest.param(Case("scalar", 1), marks=pytest.mark.slow),
    pytest.param(Case("acoustic", 2), marks=pytest.mark.slow),
    pytest.param(Case("acoustic", 3), marks=pytest.mark.slow),
    pytest.param(Case("elastic", 3), marks=pytest.mark.slow),
]
POLICIES = [
    pytest.param(Recompute(segments=4, slots=2), marks=pytest.mark.slow, id="recompute"),
    pytest.param(Reverse(segment=5), id="reverse"),
    pytest.param(DeviceStorage(Int8(block=16)), marks=pytest.mark.slow, id="device, int8"),
    pytest.param(HostStorage(steps_per_transfer=5), marks=pytest.mark.slow, id="cpu"),
    pytest.param(PinnedStorage(steps_per_transfer=4), marks=pytest.mark.slow, id="pinned"),
    pytest.param(Reverse(Raw(), ring=HostStorage(), segment=6), marks=pytest.mark.slow, id="reverse, layers in RAM"),
]


def in_form(form, monkeypatch, function, *arguments):
    """What a function gives with eager loops in this form."""
    monkeypatch.setattr(forms, "of_platform", lambda platform, divided=False: form)
    return function(*arguments)


def derivatives(case, direction, given, **options):
    """Results, the gradient of their square, and its derivative along a direction, which takes a linearised run."""
    run = functools.partial(contract.everything, case, **options)

    def misfit(given):
        return sum(jnp.vdot(x, x) for x in jax.tree.leaves(run(given)))

    gradient, product = jax.jvp(jax.grad(misfit), (given,), (direction,))
    return run(given), gradient, product


def assert_same(case, monkeypatch, tolerance=1e-12, others=(forms.GPU,), **options):
    given = contract.inputs(case)
    arguments = functools.partial(derivatives, case, **options), contract.random_like(5, given), given
    want = in_form(forms.CPU, monkeypatch, *arguments)
    for form in others:
        got = in_form(form, monkeypatch, *arguments)
        for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            reference.assert_close(x, y, tolerance)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_derivative_is_the_same(case, monkeypatch):
    assert_same(case, monkeypatch)


@pytest.mark.parametrize("model_per_shot", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_forms_of_divided_programs_are_the_same(model_per_shot, monkeypatch):
    case = Case("acoustic", 2, nt=12, model_per_shot=model_per_shot)
    assert_same(case, monkeypatch, others=[forms.of_platform(name, divided=True) for name in ("cpu", "cuda")])


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_is_the_same(policy, monkeypatch):
    # A code of int8 may round the other way where the last bit of a value differs.
    assert_same(Case("scalar", 2, nt=15), monkeypatch, 0.02 if isinstance(policy.codec, Int8) else 1e-12,
                storage_mode=policy)  # fmt: skip


def test_sampled_gradients_are_the_same(monkeypatch):
    assert_same(Case("scalar", 2, nt=13), monkeypatch, model_gradient_sampling_interval=3)


def test_many_sources_are_the_same(monkeypatch):
    """More than are compared with every cell, two of them at one place."""
    n, rng = forms.GPU.few + 3, np.random.default_rng(0)
    cells = rng.integers(0, 12, (2, n, 2))
    cells[:, 1] = cells[:, 0]
    f = rng.standard_normal((2, n, 20))

    def run(f):
        out = jaxwave.scalar(np.full((12, 13), 1500.0), 5.0, 1e-3, source_amplitudes=f, source_locations=cells,
                             receiver_locations=cells, pml_width=3, max_vel=1500.0)  # fmt: skip
        return out.receiver_amplitudes

    want, got = (in_form(form, monkeypatch, jax.vjp, run, f) for form in (forms.CPU, forms.GPU))
    reference.assert_close(got[0], want[0], 1e-13)
    y = rng.standard_normal(want[0].shape)
    reference.assert_close(*(in_form(form, monkeypatch, pull, y) for form, (_, pull) in
                             ((forms.GPU, got), (forms.CPU, want))), 1e-13)  # fmt: skip


@pytest.mark.parametrize("platform, barriers", [("cpu", False), ("cuda", True)])
def test_each_platform_is_lowered_in_its_form(platform, barriers):
    """Wherever it is lowered: this needs no GPU."""
    case = Case("scalar", 2)
    program = jax.jit(jax.grad(lambda given: jnp.sum(contract.run(case, given).receiver_amplitudes ** 2)))
    text = program.trace(contract.inputs(case)).lower(lowering_platforms=(platform,)).as_text()
    assert ("optimization_barrier" in text) == barriers
