"""Shots in groups on a CPU: how many, and that they change nothing but the order of a sum."""

import types

import contract
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import Case
from helpers import bitwise_equal
from test_structure import problem

from jaxwave._timeloop import groups
from jaxwave._timeloop.chunks import RunInputs
from jaxwave.storage import Recompute

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="a GPU runs all shots at once")


@pytest.mark.parametrize(
    ("n_shots", "mib", "n_groups"),
    [
        (1, 100, 1),
        (8, 1, 1),
        (8, 7.9, 1),
        (8, 8.1, 2),
        (16, 20, 4),
        (10, 20, 5),
        (7, 20, 3),
        (4, 999, 4),
        (64, 999, 16),
    ],
)
def test_a_group_fits_in_the_cache(n_shots, mib, n_groups, monkeypatch):
    """4 MiB for each of two cores; groups of one size where the shots can be divided so; not too many."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    state = jax.ShapeDtypeStruct((n_shots, int(mib * 2**18) // n_shots), jnp.float32)
    inputs = RunInputs((), {}, [], jax.ShapeDtypeStruct((10, n_shots, 1), jnp.float32), [state])
    plan = types.SimpleNamespace(observer=None, storage=types.SimpleNamespace(divisible=True))
    assert groups.count(inputs, plan) == n_groups


@pytest.fixture
def numbers(monkeypatch):
    """How many groups the runs of a test have: one for each shot, but at most three."""
    found, count = [], groups.count

    def noted(*args):
        found.append(count(*args))
        return found[-1]

    monkeypatch.setattr(groups, "count", noted)
    monkeypatch.setattr(groups, "CACHE", 1)
    monkeypatch.setattr(groups, "MOST", 3)
    jax.clear_caches()
    yield found
    jax.clear_caches()


def undivided(monkeypatch):
    monkeypatch.setattr(groups, "MOST", 1)
    jax.clear_caches()


CASES = [Case("scalar", 1, n_shots=5, model_per_shot=True), Case("acoustic", 1, n_shots=3, ratio=2)]
# Groups know nothing of an equation or its dimensions.
MORE = [
    Case("scalar", 2, n_shots=5), Case("acoustic", 2, n_shots=3, ratio=2),
    Case("elastic", 2, faces=("free", "pml", "periodic", "periodic")),
]  # fmt: skip


@pytest.mark.optimised
@pytest.mark.parametrize("case", [*CASES, *(pytest.param(x, marks=pytest.mark.slow) for x in MORE)], ids=str)
def test_each_shot_is_as_it_was(case, numbers, monkeypatch):
    """Records, final states and gradients, with sources and receivers of every kind and a first state."""
    arguments = contract.inputs(case)

    def misfit(arguments):
        found = contract.everything(case, arguments)
        return sum(jnp.sum(x**2) for x in jax.tree.leaves(found)), found

    gradient, found = jax.jit(jax.grad(misfit, has_aux=True))(arguments)
    assert set(numbers) == {min(case.n_shots, 3)}
    undivided(monkeypatch)
    whole, expected = jax.jit(jax.grad(misfit, has_aux=True))(arguments)
    assert numbers[-1] == 1
    assert bitwise_equal(found, expected)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13 * np.abs(b).max())


MODES = [
    {"storage_compression": "int8"},
    {"storage_mode": "cpu"},
    pytest.param({"storage_mode": "disk"}, marks=pytest.mark.slow),
    pytest.param({"storage_mode": Recompute(segments=3)}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("options", MODES, ids=str)
def test_every_storage_mode_and_derivative(options, numbers, monkeypatch, tmp_path):
    """A gradient and a product with the Hessian, of a batch."""
    v, misfit = problem((30,), 24, n_shots=4, storage_path=str(tmp_path), **options)
    vs = jnp.stack([v, v + 20])

    def products():
        return jax.jit(jax.vmap(lambda v: jax.jvp(jax.grad(misfit), (v,), (jnp.ones_like(v),))))(vs)

    found = products()
    assert set(numbers) == {2} or set(numbers) == {3}
    undivided(monkeypatch)
    for a, b in zip(found, products(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


def test_what_is_for_all_shots_is_not_divided(numbers):
    """A budget of bytes, and user callbacks."""
    seen = []
    budget = Recompute(memory=10 << 20)
    for options in ({"storage_mode": budget}, {"forward_callback": lambda state: seen.append(state.get_wavefield())}):
        v, misfit = problem((30,), 24, n_shots=4, **options)
        jax.block_until_ready(jax.jit(jax.grad(misfit))(v))
    assert set(numbers) == {1}
    assert seen
    assert {x.shape[0] for x in seen} == {4}
