"""What of JAX is not public is used in one file, which does without where it does not fit."""

import ast
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.interpreters import partial_eval

import jaxwave
from jaxwave import _jax_internals as jax_internals

PRIVATE = ("jax._src", "jax.core", "jax.extend", "jax.ffi", "jax.interpreters", "jax.lib", "jaxlib")
PACKAGE = Path(jaxwave.__file__).parent


def private_names(source: str) -> list[str]:
    """Names of modules of JAX that are not public, imported or reached as attributes."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            found.append(ast.unparse(node))
    return [name for name in found if any(f"{name}.".startswith(f"{module}.") for module in PRIVATE)]


def test_private_names_are_found():
    assert private_names("from jax.interpreters import ad") == ["jax.interpreters.ad"]
    assert private_names("import jax\nisinstance(x, jax.core.Tracer)") == ["jax.core.Tracer", "jax.core"]
    assert private_names("import jax.extend.core") == ["jax.extend.core"]
    assert private_names("import jax\njax.tree.leaves(x)\nfrom jax import lax") == []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_one_file_alone_uses_what_is_not_public(path):
    assert path.name == "_jax_internals.py" or private_names(path.read_text()) == []


# ---- dead code ----


def misfit(v, **options):
    out = jaxwave.scalar(
        v, 5.0, 1e-3, source_amplitudes=jnp.ones((1, 1, 3)), source_locations=[[[3]]], receiver_locations=[[[4]]],
        max_vel=1500.0, pml_freq=25.0, pml_width=0, **options,
    )  # fmt: skip
    return jnp.sum(out.receiver_amplitudes**2)


MODEL = jnp.full(6, 1500.0)


def saving_runs(program) -> list[bool]:
    """For each run of a program, whether it saves a history, after dead code is removed."""
    jaxpr = jax.make_jaxpr(program)(MODEL, MODEL).jaxpr
    pruned = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0]
    return [bool(eqn.params["save"]) for eqn in pruned.eqns if eqn.primitive.name == "wave_run"]


def test_a_history_that_nobody_reads_is_not_saved():
    def value_alone(v, dv):
        return jax.jvp(misfit, (v,), (dv,))[0]

    assert jax_internals._dead_code_fits()
    assert saving_runs(value_alone) == [False]


def test_without_the_rule_for_dead_code_there_is_one_warning_and_the_same_gradient(monkeypatch):
    want = jax.jit(jax.grad(misfit))(MODEL)
    rule = partial_eval.dce_rules.pop(jaxwave._timeloop.rules.run_p)
    try:
        monkeypatch.setattr(partial_eval, "dce_jaxpr", lambda *_: (_ for _ in ()).throw(TypeError("another signature")))
        fits = jax_internals._dead_code_fits.__wrapped__
        with pytest.warns(jax_internals.CompatibilityWarning, match="another signature.*not affected") as caught:
            assert not fits()
        assert len(caught) == 1
        monkeypatch.undo()
        jax.clear_caches()
        np.testing.assert_array_equal(jax.jit(jax.grad(misfit))(MODEL), want)
    finally:
        partial_eval.dce_rules[jaxwave._timeloop.rules.run_p] = rule


# ---- without jit ----


@pytest.mark.parametrize("mode", ["device", "cpu", "disk"])
def test_storage_modes_run_where_jit_is_disabled(mode, tmp_path):
    want = jax.grad(misfit)(MODEL)
    with jax.disable_jit():
        found = jax.grad(lambda v: misfit(v, storage_mode=mode, storage_path=str(tmp_path)))(MODEL)
    # Each operation is rounded by itself, where a compiled loop contracts products and sums.
    np.testing.assert_allclose(found, want, rtol=1e-12, atol=1e-12 * float(jnp.abs(want).max()))
    jaxwave.storage.clear()
    assert not list(tmp_path.iterdir())
