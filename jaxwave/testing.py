"""Checks that an equation keeps what the package promises of it: for equations of your own, and used by those here.

Each takes the arguments of :func:`jaxwave.simulate` for a small problem in double precision, and raises an
``AssertionError`` that says what differs and by how much. Amplitudes and models should be such that all of them matter.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxwave._setup.call import Call, Grid
from jaxwave._setup.embedding import run_inputs
from jaxwave._setup.problem import Problem, make_problem
from jaxwave._simulation import run
from jaxwave._timeloop.chunks import RunInputs
from jaxwave._timeloop.rules import propagate
from jaxwave.equations.base import Equation
from jaxwave.storage import BFloat16, HostStorage, Recompute, Reverse
from jaxwave.storage.base import Storage


def check_equation(equation: Equation, grid: Grid, dt: float, **arguments: Any) -> None:
    """All checks of this module.

    Args:
        equation, grid, dt, arguments: As for :func:`jaxwave.simulate`. Give ``max_vel``, because models are perturbed.

    Raises:
        AssertionError: If one of them fails.

    Example:
        >>> import jax, numpy as np, jaxwave.testing
        >>> jax.config.update("jax_enable_x64", True)
        >>> rng = np.random.default_rng(0)
        >>> jaxwave.testing.check_equation(
        ...     jaxwave.Scalar(rng.uniform(1500.0, 2000.0, 12)),
        ...     jaxwave.Grid(5.0, 2, jaxwave.Boundary(pml_width=[3, 0], pml_freq=25.0)), 1e-3, max_vel=2000.0,
        ...     sources=(rng.standard_normal((1, 1, 12)), [[[3]]]), receivers=[[[9]]],
        ... )
    """
    check_transposes(equation, grid, dt, **arguments)
    check_derivatives(equation, grid, dt, **arguments)
    check_products(equation, grid, dt, **arguments)
    check_storage(equation, grid, dt, **arguments)
    if _reversible(equation, grid, dt, arguments):
        check_reversal(equation, grid, dt, **arguments)


def check_transposes(equation: Equation, grid: Grid, dt: float, *, rtol: float = 1e-12, **arguments: Any) -> None:
    """Checks that the derivative and its transpose are transposes: <J dx, y> = <dx, J^T y>, models and sources at once.

    Raises:
        AssertionError: If the two differ by more than ``rtol`` of the norms that bound them.
    """
    call = _double(equation, grid, dt, arguments)
    function, at = _function(call)
    dx = _random_like(1, at)

    @jax.jit
    def products(at: Any, dx: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        _, push = jax.linearize(function, at)
        dot = push(dx)
        y = jax.tree.map(lambda d: d / (jnp.vdot(d, d) + 1e-300) ** 0.5, dot)
        (pulled,) = jax.linear_transpose(push, at)(y)
        bound = sum(_norm(a) * _norm(b) for a, b in zip(jax.tree.leaves(dot), jax.tree.leaves(y), strict=True))
        return _inner(dot, y), _inner(dx, pulled), bound

    there, back, bound = products(at, dx)
    assert bound > 0, "nothing depends on the models or the sources"
    assert abs(there - back) <= rtol * bound, f"<J dx, y> = {there}, but <dx, J^T y> = {back}"


def check_derivatives(equation: Equation, grid: Grid, dt: float, *, rtol: float = 1e-11, **arguments: Any) -> None:
    """Checks the loops' derivatives, forward and reverse, against JAX's own of a plain scan of ``Equation.step``.

    Raises:
        AssertionError: If they differ by more than ``rtol`` of the largest value of an array.
    """
    check_loop(make_problem(_double(equation, grid, dt, arguments)), rtol)


def check_loop(problem: Problem, rtol: float) -> None:
    """:func:`check_derivatives` of a checked call."""
    plan, m, operands, amplitudes, x = discrete(problem)
    discretised = plan.equation
    nothing = (None,) * len(discretised.coefficients_of_terms)

    def ours(m: Any, s: jax.Array, x: Any) -> Any:
        return propagate(RunInputs(m, operands, [], s, x), plan)

    def naive(m: Any, s: jax.Array, x: Any) -> Any:
        def step(x: Any, s: jax.Array) -> tuple[Any, jax.Array]:
            return discretised.step(m, operands, x, s, [], nothing)[0], discretised.record(operands, x)

        x, data = lax.scan(step, x, s)
        return data, x

    at = (m, amplitudes, x)
    # Perturbations stay where the variables live: no coefficient outside the interior, no memory outside its layer.
    along = jax.tree.map(lambda d, x: jnp.where(x == 0, 0, d), _random_like(3, at), at)
    y = _random_like(4, jax.tree.map(lambda s: np.ones(s.shape), jax.eval_shape(naive, *at)))

    def derivatives(function: Callable[..., Any], at: Any, along: Any, y: Any) -> tuple[Any, Any, Any]:
        out, push = jax.linearize(function, *at)
        return out, push(*along), jax.linear_transpose(push, *at)(y)

    got, want = (jax.jit(functools.partial(derivatives, f))(at, along, y) for f in (ours, naive))
    assert_close(got[:2], want[:2], rtol)
    # What the transpose says about cells that hold no value is left open.
    inside = [jax.tree.map(lambda g, x: jnp.where(x == 0, 0, g), found[2], at) for found in (got, want)]
    assert_close(inside[0], inside[1], rtol)


def check_reversal(equation: Equation, grid: Grid, dt: float, *, rtol: float = 1e-12, **arguments: Any) -> None:
    """Checks that a step back undoes a step, with sources, faces and layers, and finds its terms.

    Raises:
        AssertionError: If wavefields or terms differ by more than ``rtol`` of their largest value.
    """
    check_step_back(make_problem(_double(equation, grid, dt, arguments)), rtol)


def check_step_back(problem: Problem, rtol: float) -> None:
    """:func:`check_reversal` of a checked call."""
    plan, m, operands, amplitudes, x = discrete(problem)
    discretised = plan.equation
    every = (True,) * len(discretised.coefficients_of_terms)
    fields, memory = discretised.unpack(x)
    rng = np.random.default_rng(10)
    moved = tuple(jnp.where(f == 0, rng.standard_normal(f.shape), f) if not f.any() else f for f in fields)
    x = discretised.zero_vacuum(m, discretised.pack(moved, jax.tree.map(jnp.zeros_like, memory)))

    @jax.jit
    def there_and_back(m: Any, x: Any, dm: Any) -> tuple[Any, Any, Any]:
        for s in amplitudes[:4]:
            before = x
            x, terms = discretised.step(m, operands, before, s, [], every)
        scatter = [(dm, jax.tree.map(lambda g: 0.1 * g, terms))]
        x, terms = discretised.step(m, operands, before, s, scatter, every)
        levels, ring = discretised.time_levels(x), discretised.ring(x)
        back = discretised.time_reversed_step(m, operands, levels, s, scatter, ring, every)
        return (discretised.time_levels(before), terms), back, discretised.time_levels(x)

    dm = jax.tree.map(lambda c, d: jnp.where(c == 0, 0, d), m, _random_like(11, m))
    want, got, after = there_and_back(m, x, dm)
    for a, b in zip(want[0], after, strict=True):
        assert np.abs(a - b).max() > 0.01 * np.abs(a).max(), "a step changes nothing that could be undone"
    assert_close(got, want, rtol)


def check_products(equation: Equation, grid: Grid, dt: float, *, rtol: float = 1e-9, **arguments: Any) -> None:
    """Checks second derivatives: the Hessian is symmetric, the Gauss-Newton matrix symmetric and positive, and a
    gradient mapped over a batch is the gradient.

    Raises:
        AssertionError: If they are not, to ``rtol``.
    """
    call = _double(equation, grid, dt, arguments)
    misfit, models = _misfit(call)
    a, b = _random_like(6, models), _random_like(7, models)

    @jax.jit
    def products(models: Any) -> Any:
        of_hessian = [jax.jvp(jax.grad(misfit), (models,), (d,))[1] for d in (a, b)]
        _, push = jax.linearize(lambda m: run(make_problem(call.with_models(m))).records, models)
        of_gauss = [jax.linear_transpose(push, models)(push(d))[0] for d in (a, b)]
        twice = jax.tree.map(lambda x: jnp.stack([x, x]), models)
        return of_hessian, of_gauss, jax.vmap(jax.grad(misfit))(twice), jax.grad(misfit)(models)

    of_hessian, of_gauss, mapped, gradient = products(models)
    for name, (of_a, of_b) in (("Hessian", of_hessian), ("Gauss-Newton matrix", of_gauss)):
        one, other = _inner(of_a, b), _inner(of_b, a)
        scale = abs(one) + (abs(_inner(of_a, a)) * abs(_inner(of_b, b))) ** 0.5
        assert abs(one - other) <= rtol * scale, f"the {name} is not symmetric: {one} and {other}"
    assert _inner(of_gauss[0], a) > 0, "the Gauss-Newton matrix is not positive"
    assert_close(jax.tree.map(lambda x: x[1], mapped), gradient, rtol)


def check_storage(
    equation: Equation, grid: Grid, dt: float, *, storages: Sequence[str | Storage] | None = None, rtol: float = 1e-11,
    codec_rtol: float = 0.1, **arguments: Any,
) -> None:  # fmt: skip
    """Checks that the gradient is the same wherever its wavefields are kept, and nearly so when they are compressed.

    Args:
        storages: What to compare with "device". Default: host RAM, recomputation and, where the equation can step back,
            that.

    Raises:
        AssertionError: If gradients differ by more than ``rtol`` of their largest value, in bfloat16 ``codec_rtol``.
    """
    misfit, models = _misfit(_double(equation, grid, dt, arguments))
    if storages is None:
        storages = [
            "cpu",
            Recompute(segments=3),
            *([Reverse(segment=5)] if _reversible(equation, grid, dt, arguments) else []),
        ]

    def gradient(storage: Any) -> Any:
        return jax.jit(jax.grad(functools.partial(misfit, storage=storage)))(models)

    want = gradient("device")
    for storage in storages:
        assert_close(gradient(storage), want, rtol)
    assert_close(gradient(HostStorage(BFloat16())), want, codec_rtol)


# ---- shared ----


def discrete(problem: Problem) -> tuple[Any, Any, Any, jax.Array, Any]:
    """The plan of a checked call and what its loop is given: coefficients, constants, amplitudes and first state."""
    info = problem.info
    m, operands, _, amplitudes, x = run_inputs(problem.setup, problem.arrays, info.max_vel, info.pml_freq)[0]
    return problem.plan, m, operands, amplitudes, x


def assert_close(got: Any, want: Any, rtol: float) -> None:
    """The largest difference of two pytrees, leaf by leaf, is at most ``rtol`` of the largest value wanted.

    Raises:
        AssertionError: If it is more.
    """
    got, want = jax.tree.leaves(got), jax.tree.leaves(want)
    assert len(got) == len(want)
    for x, y in zip(got, want, strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert x.shape == y.shape, f"shapes {x.shape} and {y.shape}"
        scale, error = np.abs(y).max(initial=0), np.abs(x - y).max(initial=0)
        assert error <= rtol * scale, f"relative difference {error / scale if scale else np.inf:.2e} > {rtol:.0e}"


def _double(equation: Equation, grid: Grid, dt: float, arguments: Any) -> Call:
    call = Call(equation, grid, dt, **arguments)
    for name, x in call.models.items():
        if np.asarray(x).dtype != np.float64 or not jax.config.read("jax_enable_x64"):
            raise TypeError(f"checks are exact in float64 alone: set jax_enable_x64; `{name}` is {np.asarray(x).dtype}")
    return call


def _reversible(equation: Equation, grid: Grid, dt: float, arguments: Any) -> bool:
    return make_problem(_double(equation, grid, dt, arguments)).plan.equation.reversible


def _function(call: Call) -> tuple[Callable[[Any], Any], Any]:
    """Records and final wavefields as a function of models and amplitudes; and these."""
    sources: Any = call.sources if isinstance(call.sources, dict) else {"": call.sources} if call.sources else {}
    amplitudes = {kind: jnp.asarray(f) for kind, (f, _) in sources.items()}

    def function(at: Any) -> Any:
        models, f = at
        pairs = {kind: (f[kind], places) for kind, (_, places) in sources.items()}
        out = run(make_problem(dataclasses.replace(call.with_models(models), sources=pairs)))
        return out.records, out.state.wavefields

    return function, (jax.tree.map(jnp.asarray, call.models), amplitudes)


def _misfit(call: Call) -> tuple[Callable[..., jax.Array], Any]:
    """Half the sum of squares as a function of the models and of the storage; each record counts alike."""
    models = jax.tree.map(jnp.asarray, call.models)
    found = jax.jit(lambda m: run(make_problem(call.with_models(m))).records)(models)
    scale = {kind: 1 / (np.abs(np.asarray(x)).max(initial=0) or 1) for kind, x in found.items()}

    def misfit(models: Any, storage: Any = call.storage) -> jax.Array:
        records = run(make_problem(dataclasses.replace(call.with_models(models), storage=storage))).records
        return jnp.stack([jnp.sum((scale[kind] * x) ** 2) / 2 for kind, x in records.items()]).sum()

    return misfit, models


def _random_like(seed: int, tree: Any) -> Any:
    """A direction of the size of what it is added to."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.standard_normal(np.shape(x)) * (np.abs(np.asarray(x)).mean() or 1.0), tree)


def _inner(a: Any, b: Any) -> Any:
    return sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def _norm(a: Any) -> Any:
    return _inner(a, a) ** 0.5
