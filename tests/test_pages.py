"""Huge pages for what a gradient keeps on a CPU: that they are asked for, change no number, and can be done without."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from compilation import environment
from helpers import bitwise_equal
from test_structure import compiled, cpu_only, large_copies, problem, staggered_problem

from jaxwave.storage import Recompute, Reverse, pages

linux_cpu = pytest.mark.skipif(
    jax.default_backend() != "cpu" or not sys.platform.startswith("linux"), reason="advice for Linux, for a CPU"
)


@pytest.fixture
def anew():
    """Programs of this test are its own."""
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.fixture
def every_array(anew, monkeypatch):
    monkeypatch.setattr(pages, "LEAST", 0)


@pytest.fixture
def advised(anew, monkeypatch):
    """The ranges of memory that are advised, in bytes."""
    found, madvise = [], pages._madvise

    def noted(start, nbytes, advice):
        status = madvise(start, nbytes, advice)
        found.append((start, nbytes, status))
        return status

    monkeypatch.setattr(pages, "_madvise", noted)
    return found


@linux_cpu
@pytest.mark.parametrize(("name", "terms"), [("acoustic", 3), pytest.param("elastic", 5, marks=pytest.mark.slow)])
def test_what_is_stored_is_asked_for_in_huge_pages(name, terms, advised):
    """One array for each term, which is all of the history but for the ends of its first and last page."""
    models, misfit = staggered_problem(name, (60, 70), 300, None)
    jax.block_until_ready(jax.jit(jax.grad(misfit))(models))
    stored = 300 * 4 * (60 + 16 + 4) * 96  # layers of 8, a halo of 2, a last axis of whole vectors
    assert [status for *_, status in advised] == [0] * terms
    assert all(stored - 8192 <= nbytes <= stored and start % 4096 == 0 for start, nbytes, _ in advised)


@linux_cpu
def test_small_arrays_are_left_alone(advised):
    v, misfit = problem((20, 22), 40)
    jax.block_until_ready(jax.grad(misfit)(v))
    assert advised == []


@pytest.mark.hlo
@cpu_only
def test_arrays_of_one_shape_stay_apart(every_array):
    """They are not taken for the same one, and nothing is copied."""

    def both():
        return [pages.empty((1000,), jnp.float32).at[k].set(k) for k in range(2)]

    assert "copy(" not in jax.jit(both).lower().compile().as_text()
    first, second = jax.jit(both)()
    assert (float(first[0]), float(second[1])) == (0.0, 1.0)


@pytest.mark.hlo
@cpu_only
@pytest.mark.parametrize("name", ["acoustic", pytest.param("elastic", marks=pytest.mark.slow)])
def test_loops_copy_nothing(name, every_array):
    models, misfit = staggered_problem(name, (64, 70), 64, None)
    text = compiled(jax.grad(misfit), models).as_text()
    assert ("jaxwave_huge_pages" in text) == pages._available()
    assert large_copies(text, 8 * 64) == []


def once(misfit, v):
    """A gradient."""
    return jax.jit(jax.grad(misfit))(v)


def twice(misfit, v):
    """A gradient and a product with the Hessian."""
    return jax.jit(lambda v: jax.jvp(jax.grad(misfit), (v,), (jnp.ones_like(v),)))(v)


def further(misfit, v):
    """A gradient in a batch, and one that takes the run again."""
    both = jax.jit(lambda v: (jax.vmap(jax.grad(misfit))(jnp.stack([v, v + 20])), jax.grad(jax.checkpoint(misfit))(v)))
    return both(v)


def test_every_derivative_is_the_same_with_and_without(every_array, monkeypatch):
    v, misfit = problem((30,), 39, n_shots=2)
    found = *twice(misfit, v), *further(misfit, v)
    monkeypatch.setattr(pages, "LEAST", sys.maxsize)
    jax.clear_caches()
    assert bitwise_equal(found, (*twice(misfit, v), *further(misfit, v)))


POLICIES = [
    {}, pytest.param({"storage_compression": "int8"}, marks=pytest.mark.slow),
    {"storage_mode": "cpu", "storage_compression": "int8"},
    {"storage_mode": Recompute()}, {"storage_mode": Reverse(segment=7)}, {"model_gradient_sampling_interval": 3},
]  # fmt: skip


@pytest.mark.parametrize("derivative", [once, pytest.param(twice, marks=pytest.mark.slow)])
@pytest.mark.parametrize("options", POLICIES, ids=str)
def test_nothing_is_read_that_was_not_written(options, derivative, anew, monkeypatch):
    """The memory's former content does not matter: not even if it is all NaN."""
    v, misfit = problem((30,), 39, n_shots=2, **options)
    found, made = derivative(misfit, v), []

    def dirty(shape, dtype):
        made.append(shape)
        return jnp.full(shape, jnp.nan if jnp.issubdtype(dtype, jnp.floating) else 77, dtype)

    monkeypatch.setattr(pages, "empty", dirty)
    jax.clear_caches()
    assert bitwise_equal(found, derivative(misfit, v))
    assert made


UNKNOWN_INTERFACE = """
import jax, jax.numpy as jnp, numpy as np, jaxwave
from jaxwave.storage import pages

pages._VERSION = 1, 0
place, v = np.array([[[3, 4]]]), jnp.full((60, 70), 1500.0, jnp.float32)
misfit = lambda v: jnp.sum(jaxwave.scalar(
    v, 5.0, 8e-4, source_amplitudes=jnp.ones((1, 1, 300), jnp.float32), source_locations=place,
    receiver_locations=place + 5, max_vel=2000.0, pml_freq=20.0).receiver_amplitudes ** 2)
assert float(jnp.abs(jax.grad(misfit)(v)).max()) > 0
print(pages._available())
"""


def test_another_interface_is_done_without():
    """If XLA says that it knows no such foreign functions, arrays are JAX's own; nothing fails."""
    command = [sys.executable, "-c", UNKNOWN_INTERFACE]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr
