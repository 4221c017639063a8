"""The rules that make the time loops differentiable: three JAX primitives, closed under differentiation.

    run           (m, [(h, dm), ...], s, x0) -> records, final state [, history]     linear in (s, x0), the dm and the h
    adjoint       (m, [h, ...], y, xT)       -> gradients of m, of s, of x0          linear in (y, xT) and the h
    adjoint_born  the derivative of ``adjoint`` along (dm, dy, dxT)                  linear in those

The JVP of a run with respect to m is another run, which scatters dm off the history of the first: the Born
approximation. The transpose of that is the adjoint, and the other way round. A history is saved only where a rule asks
for it, so what is not differentiated costs nothing; one history serves the linearised run and its transpose, any number
of times. Under ``vmap`` each primitive becomes an explicit loop, right in every storage mode.

What is refused: transposing with respect to a history (reverse mode over a derivative of a derivative).
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxwave import _jax_internals as jax_internals
from jaxwave._jax_internals import instantiate_zeros, is_symbol, is_undefined, is_zero
from jaxwave._numerics import forms
from jaxwave._timeloop import dispatch, groups
from jaxwave._timeloop.chunks import AdjointInputs, Plan, RunInputs
from jaxwave._timeloop.engine import adjoint_loop, run_loop
from jaxwave._timeloop.histories import History, RecomputedHistory, as_history, tokens
from jaxwave.storage.entries import map_present


def propagate(inputs: RunInputs, plan: Plan):
    """Runs the equation: records [nt, shot, receiver] and the final state, differentiable in every way."""
    n = groups.count(inputs, plan)
    if n == 1:
        return _bind_run(inputs, plan, save=())
    return groups.join([_bind_run(part, plan, save=()) for part in groups.split(inputs, n)])


# ---- binding: pytrees to flat operands and back ----


def _bind(primitive, inputs, **params):
    leaves, tree = jax.tree.flatten(inputs)
    return jax_internals.keep_in_place(primitive.bind(*jax_internals.vary_alike(leaves), tree=tree, **params))


def _bind_run(inputs: RunInputs, plan: Plan, save: tuple[bool, ...]):
    out = _bind(run_p, inputs, plan=plan, save=save)
    n, state = len(jax.tree.leaves(inputs.state)), jax.tree.structure(inputs.state)
    parts = out[0], jax.tree.unflatten(state, out[1 : n + 1])
    if not save:
        return parts
    spec = plan.history_spec(inputs.amplitudes.shape[0], inputs.state, save)
    return (*parts, jax.tree.unflatten(jax.tree.structure(spec), out[n + 1 :]))


def _bind_adjoint(inputs: AdjointInputs, plan: Plan):
    return _split_adjoint(_bind(adjoint_p, inputs, plan=plan), inputs, plan)


def _split_adjoint(out, inputs: AdjointInputs, plan: Plan):
    """Flat outputs of ``adjoint`` as (list of dm, ds, dx0)."""
    gradients = jax.tree.structure(_gradients_like(inputs, plan), is_leaf=is_symbol)
    k = gradients.num_leaves
    dm = jax.tree.unflatten(gradients, out[:k])
    return dm, out[k], jax.tree.unflatten(_structure(inputs.state), out[k + 1 :])


def _gradients_like(inputs: AdjointInputs, plan: Plan):
    """For each history, the coefficients that it serves and None for the others."""
    return [tuple(c if kept else None for c, kept in zip(inputs.m, h.wanted, strict=True)) for h in inputs.histories]


# Symbolic zeros and undefined primals are pytree nodes without leaves; here each stands for an operand.


def _structure(tree):
    return jax.tree.structure(tree, is_leaf=is_symbol)


def _leaves(tree):
    return jax.tree.leaves(tree, is_leaf=is_symbol)


def _flat(*parts):
    return _leaves(parts)


def _all_zero(tree) -> bool:
    return all(is_zero(leaf) for leaf in _leaves(tree))


def _instantiate(tree):
    return jax.tree.map(instantiate_zeros, tree, is_leaf=is_symbol)


def _undefined(tree) -> bool:
    return any(is_undefined(leaf) for leaf in _leaves(tree))


def _unobserved(plan: Plan) -> Plan:
    """User callbacks see the wavefields, not their derivatives."""
    return dataclasses.replace(plan, observer=None)


def _linearised(plan: Plan) -> Plan:
    """The plan of a run of tangents: the forward callback does not see them; the backward one sees their transpose."""
    observer = plan.observer and dataclasses.replace(plan.observer, forward=None)
    return dataclasses.replace(plan, observer=observer)


def _refuse_history_transpose():
    raise NotImplementedError(
        "reverse-mode differentiation of a derivative of a propagator is not available: its history would have to be "
        "transposed. Use forward over reverse, e.g. jax.jvp(jax.grad(f), (v,), (dv,)) for a Hessian product"
    )


# ---- the loops as functions of flat operands ----


def _run_flat(owner, *leaves, tree, plan, form, save):
    return _flat(*run_loop(owner, jax.tree.unflatten(tree, leaves), plan.in_form(form), save))


def _adjoint_flat(owner, *leaves, tree, plan, form):
    return _flat(*adjoint_loop(jax.tree.unflatten(tree, leaves), plan.in_form(form)))


def _adjoint_born_flat(owner, *leaves, tree, plan, form):
    plan = plan.in_form(form)
    inputs, (dm, dy, dx) = jax.tree.unflatten(tree, leaves)

    def loop(m, data, state):
        return adjoint_loop(inputs._replace(m=m, data=data, state=state), plan)

    return _flat(*jax.jvp(loop, (inputs.m, inputs.data, inputs.state), (dm, dy, dx))[1])


# ---- shapes ----


def _run_shapes(*leaves, tree, plan, save):
    inputs = jax.tree.unflatten(tree, leaves)
    sample = jax.eval_shape(plan.equation.record, *jax.tree.map(_struct, (inputs.operands, inputs.state)))
    n_steps = inputs.amplitudes.shape[0]
    out = [jax.ShapeDtypeStruct((n_steps, *sample.shape), sample.dtype), inputs.state]
    if save:
        out.append(plan.history_spec(n_steps, inputs.state, save))
    return jax.tree.leaves(out)


def _adjoint_shapes(*leaves, tree, plan):
    return _adjoint_out(jax.tree.unflatten(tree, leaves), plan)


def _adjoint_born_shapes(*leaves, tree, plan):
    return _adjoint_out(jax.tree.unflatten(tree, leaves)[0], plan)


def _adjoint_out(inputs: AdjointInputs, plan: Plan):
    w = jax.eval_shape(plan.equation.adjoint_start, *jax.tree.map(_struct, (inputs.m, inputs.operands, inputs.state)))
    step = functools.partial(plan.equation.adjoint_step, images=[])
    _, sample, _ = jax.eval_shape(step, *jax.tree.map(_struct, (inputs.m, inputs.operands)), w)
    ds = jax.ShapeDtypeStruct((inputs.data.shape[0], *sample.shape), sample.dtype)
    return jax.tree.leaves([_gradients_like(inputs, plan), ds, inputs.state])


def _struct(x):
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


# ---- derivatives ----


def _run_jvp(primals, tangents, *, tree, plan, save):
    """d(run) = run of the tangents, scattering each perturbation off the history that it multiplies."""
    inputs, dots = jax.tree.unflatten(tree, primals), jax.tree.unflatten(tree, tangents)
    perturbed = tuple(not is_zero(dm) for dm in dots.m)
    if any(perturbed) and not plan.storage.stores:
        raise ValueError(
            'the storage mode "none" keeps no wavefields, so the derivative with respect to a model cannot be '
            'computed; use the storage mode "device", "cpu", "disk" or "recompute"'
        )
    if any(perturbed):
        plan = plan.settled(inputs.amplitudes.shape[0], inputs.state)  # "auto" chooses once a history is asked for
    wanted = tuple(a or b for a, b in zip(perturbed, save or perturbed, strict=True))
    data, state, *saved = _bind_run(inputs, plan, wanted if any(wanted) else ())
    history = as_history(plan, inputs, *saved, wanted) if saved else None
    out_dot = _bind_run(_tangent_run(plan, inputs, dots, history), _linearised(plan), save)
    kept = _kept(plan, inputs, saved[0], save) if save else []
    return _flat(data, state, *kept), _flat(*out_dot)


def _kept(plan: Plan, inputs: RunInputs, saved, save: tuple[bool, ...]):
    """What a run that was to save for these coefficients saved, out of what it saved for more."""
    if plan.storage.replays:
        return [saved]
    wanted = plan.wanted(save)
    if any(want and part is None for want, part in zip(wanted, saved, strict=True)):
        # A term is not kept beside those that it is the sum of.
        return _bind_run(inputs, _unobserved(plan), save)[2:]
    return [map_present(lambda _, part: part, wanted, saved)]


def _tangent_run(plan: Plan, inputs: RunInputs, dots: RunInputs, history: History) -> RunInputs:
    """The run whose results are the tangents of a run's, given that run's history."""
    pairs = []
    perturbed = tuple(not is_zero(dm) for dm in dots.m)
    if any(perturbed):
        pairs.append((plan.select(history, perturbed), tuple(None if is_zero(dm) else dm for dm in dots.m)))
    for (other, dm), (other_dot, dm_dot) in zip(inputs.born_sources, dots.born_sources, strict=True):
        if not _all_zero(dm_dot):
            pairs.append((other, _instantiate(dm_dot)))
        if not _all_zero(other_dot):
            pairs.append((_tangent_history(plan, other, other_dot), dm))
    return RunInputs(inputs.m, inputs.operands, pairs, _instantiate(dots.amplitudes), _instantiate(dots.state))


def _tangent_history(plan: Plan, history: History, dot: History) -> History:
    """The history of tangents: stored like the primal one, or replayed with it."""
    if isinstance(history, RecomputedHistory):
        return RecomputedHistory(_tangent_run(plan, history.run, dot.run, history), history.wanted)
    return _instantiate(dot)


def _run_transpose(cotangents, *leaves, tree, plan, save):
    inputs = jax.tree.unflatten(tree, leaves)
    n = _structure(inputs.state).num_leaves
    if any(not is_zero(ct) for ct in cotangents[n + 1 :]) or _undefined([h for h, _ in inputs.born_sources]):
        _refuse_history_transpose()
    wanted = [_undefined(dm) for _, dm in inputs.born_sources]
    histories = [h for (h, _), want in zip(inputs.born_sources, wanted, strict=True) if want]
    data, *state = (instantiate_zeros(ct) for ct in cotangents[: n + 1])
    state = jax.tree.unflatten(_structure(inputs.state), state)
    gradients, ds, dx = _bind_adjoint(AdjointInputs(inputs.m, inputs.operands, histories, data, state), plan)
    found = iter(gradients)
    pairs = [
        (_nothing(h), next(found) if want else _nothing(dm))
        for (h, dm), want in zip(inputs.born_sources, wanted, strict=True)
    ]
    return _flatten_with_none(RunInputs(_nothing(inputs.m), _nothing(inputs.operands), pairs, ds, dx), leaves)


def _adjoint_jvp(primals, tangents, *, tree, plan):
    inputs, dots = jax.tree.unflatten(tree, primals), jax.tree.unflatten(tree, tangents)
    quiet = _unobserved(plan)
    out = _bind_adjoint(inputs, plan)
    moved = AdjointInputs(inputs.m, inputs.operands, inputs.histories, *_instantiate((dots.data, dots.state)))
    if _all_zero(dots.m):
        out_dot = _bind_adjoint(moved, quiet)
    else:
        along = (_instantiate(dots.m), moved.data, moved.state)
        out_dot = _split_adjoint(_bind(adjoint_born_p, (inputs, along), plan=quiet), inputs, plan)
    if not _all_zero(dots.histories):
        moving = zip(inputs.histories, dots.histories, strict=True)
        rerun = inputs._replace(histories=[_tangent_history(plan, h, dot) for h, dot in moving])
        more = _bind_adjoint(rerun, quiet)[0]
        out_dot = (jax.tree.map(jnp.add, out_dot[0], more), *out_dot[1:])
    return _flat(*out), _flat(*out_dot)


def _adjoint_transpose(cotangents, *leaves, tree, plan):
    inputs = jax.tree.unflatten(tree, leaves)
    if _undefined(inputs.histories):
        _refuse_history_transpose()
    dm, ds, dx = _split_adjoint(cotangents, inputs, plan)
    pairs = [(h, _instantiate(g)) for h, g in zip(inputs.histories, dm, strict=True) if not _all_zero(g)]
    forward = RunInputs(inputs.m, inputs.operands, pairs, instantiate_zeros(ds), _instantiate(dx))
    data, state = _bind_run(forward, plan, save=())
    nothing = _nothing((inputs.m, inputs.operands, inputs.histories))
    return _flatten_with_none(AdjointInputs(*nothing, data, state), leaves)


def _adjoint_born_jvp(primals, tangents, *, tree, plan):
    raise NotImplementedError("third derivatives of a propagator are not available")


def _nothing(tree):
    return jax.tree.map(lambda _: _NOTHING, tree, is_leaf=is_symbol)


_NOTHING = object()


def _flatten_with_none(tree, leaves):
    """Cotangents for the operands that are undefined, None for the others."""
    flat = jax.tree.leaves(tree)
    return [ct if is_undefined(x) else None for ct, x in zip(flat, leaves, strict=True)]


# ---- batching and dead code ----


@functools.partial(jax.jit, static_argnames=("primitive", "mapped", "params"))
def _mapped(args, *, primitive, mapped, params):
    moving = tuple(a for a, moves in zip(args, mapped, strict=True) if moves)

    def one(moving):
        given = iter(moving)
        operands = (next(given) if moves else a for a, moves in zip(args, mapped, strict=True))
        return primitive.bind(*operands, **dict(params))

    return jax_internals.map_in_place(one, moving)


def _batch(primitive, args, dims, **params):
    mapped = tuple(d is not None for d in dims)
    args = [jnp.moveaxis(a, d, 0) if moves else a for a, d, moves in zip(args, dims, mapped, strict=True)]
    out = _mapped(args, primitive=primitive, mapped=mapped, params=tuple(params.items()))
    return out, [0] * len(out)


def _run_dce(used, eqn):
    """A run whose history nobody reads does not save it."""
    if not any(used):
        return [False] * len(eqn.invars), None
    state = jax.tree.unflatten(eqn.params["tree"], eqn.invars).state
    without = 1 + len(jax.tree.leaves(state))
    if eqn.params["save"] and not any(used[without:]):
        eqn = eqn.replace(params={**eqn.params, "save": ()}, outvars=eqn.outvars[:without])
    return [True] * len(eqn.invars), eqn


# ---- the primitives ----


def _primitive(name, flat, shapes, jvp, transpose, dead_code=None):
    def program(platform: str, divided: bool = False):
        return functools.partial(flat, np.int32(0), form=forms.of_platform(platform, divided))

    return jax_internals.primitive(
        name, shapes, functools.partial(_eager, flat), program("gpu"), on_platform={"cpu": program("cpu")},
        divided={platform: program(platform, True) for platform in ("cpu", "cuda", "rocm")}, jvp=jvp,
        transpose=transpose, batch=_batch, dead_code=dead_code,
    )  # fmt: skip


def _eager(flat, *leaves, tree, plan, **static):
    inputs = jax.tree.unflatten(tree, leaves)
    tokens = _tokens(inputs) if plan.storage.streams else []
    form = forms.of_platform(jax_internals.platform_of(leaves), jax_internals.spans_devices(leaves))
    out, owner = dispatch.execute(flat, *leaves, tokens=tokens, tree=tree, plan=plan, form=form, **static)
    if static.get("save") and plan.storage.streams:
        for token in out[1 + len(jax.tree.leaves(inputs.state)) :]:
            dispatch.bind_lifetime(token, owner)
    return out


def _tokens(inputs) -> list:
    """Tokens of the streamed histories that a primitive reads."""
    if isinstance(inputs, RunInputs):
        histories = [h for h, _ in inputs.born_sources]
    else:
        histories = (inputs if isinstance(inputs, AdjointInputs) else inputs[0]).histories
    return [token for h in histories for token in tokens(h)]


run_p = _primitive("wave_run", _run_flat, _run_shapes, _run_jvp, _run_transpose, _run_dce)
adjoint_p = _primitive("wave_adjoint", _adjoint_flat, _adjoint_shapes, _adjoint_jvp, _adjoint_transpose)
adjoint_born_p = _primitive("wave_adjoint_born", _adjoint_born_flat, _adjoint_born_shapes, _adjoint_born_jvp, None)
