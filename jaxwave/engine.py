"""The time loops: forward or linearised, and adjoint. Plain JAX; :mod:`jaxwave.rules` makes them differentiable.

    run      x[t+1] = A(m) x[t] + B s[t] + sum of dm g(h[t]) over pairs (history h, perturbation dm);   d[t] = R x[t]
    adjoint  w[t] = A(m)^T w[t+1] + R^T y[t];   gradient of m = sum of w[t+1] g(h[t]);   of s = B^T w[t+1]

See :mod:`jaxwave.equations.base` for A, B, R and g. A run saves its history, the terms g(x[t]) encoded and kept as the
storage policy says, when asked to. Time is cut into chunks of stored entries, so that a policy that streams moves many
steps at a time; a policy that does not has one chunk.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxwave import observe
from jaxwave.chunks import AdjointInputs, Plan, RunInputs, join, over_chunks, over_entries, over_unstored, state_spec
from jaxwave.replay import Reader, forward_chunk, tokens


def run_loop(owner: jax.Array, inputs: RunInputs, plan: Plan, save: bool):
    """Forward or linearised loop.

    Args:
        owner: Number of the eager call that runs this, 0 if unknown (see :mod:`jaxwave.storage.registry`).
        inputs: Operands.
        plan: Static description.
        save: Whether to keep the history.

    Returns:
        Records [nt, shot, receiver], the final state and, if ``save``, what is kept for the history.
    """
    storage, interval, pairs, x = plan.storage, plan.interval, inputs.pairs, inputs.state
    n_steps = inputs.amplitudes.shape[0]
    chunks = plan.chunks(n_steps, x, save or bool(pairs))
    reader = Reader(plan, n_steps, x, +1) if pairs else None
    schedule = plan.schedule(n_steps, x) if save else None
    save_terms = save and schedule is None

    def chunk_body(carry, i, series, size):
        x, tick, history, cursors = carry
        read = [reader.read(h, cursor, i, size) for (h, _), cursor in zip(pairs, cursors, strict=True)]
        stored = [(dm, chunk) for (_, dm), (chunk, _) in zip(pairs, read, strict=True)]
        if schedule:
            history = storage.put_state(history, jnp.asarray(schedule.sweep)[i], jax.tree.leaves(x))
        t = i * chunks.size * interval
        (x, tick), chunk, data = forward_chunk(plan, inputs, (x, tick), t, series, stored, save_terms)
        if save_terms:
            history = storage.put(history, i, chunk)
        return (x, tick, history, [cursor for _, cursor in read]), data

    history = []
    if save:
        parents = [token for h, _ in pairs for token in tokens(h)] if storage.streams else []
        history = storage.open(n_steps // interval, plan.entry_spec(x), state_spec(x), owner, parents)
    carry = (x, observe.first_tick(), history, [reader.start(h) for h, _ in pairs])
    (x, _, history, _), data = over_chunks(chunk_body, carry, inputs.amplitudes, chunks, interval, False)
    return (data, x, history) if save else (data, x)


def adjoint_loop(inputs: AdjointInputs, plan: Plan):
    """Adjoint loop.

    Args:
        inputs: Operands.
        plan: Static description.

    Returns:
        The gradients of m (a list, one per history), of the amplitudes [nt, shot, source] and of the first state.
    """
    m, operands, histories, data, cotangent = inputs
    equation, storage, interval = plan.equation, plan.storage, plan.interval
    chunks = plan.chunks(data.shape[0], cotangent, bool(histories))
    reader = Reader(plan, data.shape[0], cotangent, -1) if histories else None
    observer = plan.observer if plan.observer and plan.observer.backward else None

    def retreat(w, tick, t, y, gradients):
        ds = equation.adjoint_record(m, operands, w)
        w = equation.adjoint_step(m, operands, w)
        w = equation.adjoint_inject(m, operands, w, y)
        if observer:
            tick = observe.backward(observer, equation, tick, t, m, w, gradients)
        return w, tick, ds

    def chunk_body(carry, i, series, size):
        w, tick, gradients, cursors = carry
        read = [reader.read(h, cursor, i, size) for h, cursor in zip(histories, cursors, strict=True)]

        def entry(carry, j, steps):
            w, tick, gradients = carry
            t = (i * chunks.size + j) * interval

            def unstored(carry, k, y):
                w, tick, ds = retreat(*carry, t + k, y, gradients)
                return (w, tick), ds

            (w, tick), others = over_unstored(unstored, (w, tick), steps[1:], True)
            gradients = [
                equation.gradient_add(g, w, plan.decode(storage.entry(chunk, j, size), cotangent))
                for g, (chunk, _) in zip(gradients, read, strict=True)
            ]
            w, tick, first = retreat(w, tick, t, steps[0], gradients)
            return (w, tick, gradients), join(first, others)

        (w, tick, gradients), ds = over_entries(entry, (w, tick, gradients), series, size, interval, True)
        return (w, tick, gradients, [cursor for _, cursor in read]), ds

    w = equation.adjoint_start(m, operands, cotangent)
    gradients = [equation.gradient_start(m, w) for _ in histories]
    carry = (w, observe.first_tick(), gradients, [reader.start(h) for h in histories])
    (w, _, gradients, _), ds = over_chunks(chunk_body, carry, data, chunks, interval, True)
    # Each stored step stands for ``interval`` steps of the imaging condition's sum over time.
    dm = [tuple(interval * g for g in equation.gradient_finish(m, gradient)) for gradient in gradients]
    return dm, ds, equation.adjoint_finish(m, operands, w)
