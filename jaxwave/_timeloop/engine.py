"""The time loops: forward or linearised, and adjoint. :mod:`jaxwave._timeloop.rules` makes them differentiable.

    run      x[t+1] = A(m) x[t] + B s[t] + sum of dm g(h[t]) over pairs (history h, perturbation dm);   d[t] = R x[t]
    adjoint  w[t] = A(m)^T w[t+1] + R^T y[t];   gradient of m = sum of w[t+1] g(h[t]);   of s = B^T w[t+1]

See :mod:`jaxwave.equations.base` for A, B, R and g. A run saves its history, when asked to: the terms g(x[t]), encoded
and kept as the storage policy says, a part for each term and None for those of coefficients that are not
differentiated; or the states from which to replay them. Time is cut into chunks of stored entries, so that a policy
that streams or replays handles many steps at a time; another has one chunk.
"""

from __future__ import annotations

from typing import Any

import jax

from jaxwave._timeloop import observe
from jaxwave._timeloop.chunks import (
    AdjointInputs,
    Plan,
    RunInputs,
    each_entry,
    in_order,
    join,
    over_chunks,
    over_entries,
    over_unstored,
)
from jaxwave._timeloop.forward import forward_chunk
from jaxwave._timeloop.histories import tokens
from jaxwave.storage.entries import map_present
from jaxwave.storage.stored import Stored


def _histories(plan: Plan, n_steps: int, x: Any, direction: int, stored: bool) -> Stored:
    """What saves and reads the histories of a loop, if any are ``stored``.

    Raises:
        NotImplementedError: If they are in pinned memory, in a program that is divided among devices.
    """
    if stored and plan.storage.pinned and plan.equation.grid.form.divided:
        raise NotImplementedError(
            "this storage mode keeps wavefields in pinned host memory, which the compiler leaves on the devices in a "
            "program that it divides among them. Call the propagator within jax.shard_map over the mesh axis of the "
            'shots, where each device has a history of its own, or use the storage mode "device" or "recompute"'
        )
    return plan.storage.histories(plan, n_steps, x, direction)


def run_loop(owner: jax.Array, inputs: RunInputs, plan: Plan, save: tuple[bool, ...]):
    """Forward or linearised loop.

    Args:
        owner: Number of the eager call that runs this, 0 if unknown (see :mod:`jaxwave.storage.registry`).
        inputs: Operands.
        plan: Static description.
        save: For each coefficient, whether to keep the history of its terms; empty if none is kept.

    Returns:
        Records [nt, shot, receiver], the final state and, if ``save``, what is kept for the history.
    """
    pairs, n_steps = inputs.born_sources, inputs.amplitudes.shape[0]
    chunks = plan.chunks(n_steps, inputs.state, bool(save or pairs))
    keeper = _histories(plan, n_steps, inputs.state, +1, bool(save or pairs))

    def chunk_body(carry, i, series, size):
        x, tick, saved, cursors = carry
        read = [keeper.read(h, cursor, i, size) for (h, _), cursor in zip(pairs, cursors, strict=True)]
        stored = [(dm, parts) for (_, dm), (parts, _) in zip(pairs, read, strict=True)]
        t = i * chunks.size * plan.interval
        buffer = keeper.buffer(saved, i, size, save)
        (after, tick), terms, data = forward_chunk(
            plan, inputs, (x, tick), t, series, stored, keeper.terms(save), *buffer
        )
        if save:
            saved = keeper.put(saved, i, x, after, terms)
        return (after, tick, saved, [cursor for _, cursor in read]), data

    parents = [token for h, _ in pairs for token in tokens(h)] if plan.storage.streams else []
    saved = keeper.open(save, owner, parents) if save else ()
    carry = (plan.equation.enter(inputs.state), observe.first_tick(), saved, [keeper.start(h) for h, _ in pairs])
    (x, _, saved, _), data = over_chunks(chunk_body, carry, inputs.amplitudes, chunks, plan.interval, False)
    x = plan.equation.leave(x)
    return (data, x, keeper.close(saved)) if save else (data, x)


def adjoint_loop(inputs: AdjointInputs, plan: Plan):
    """Adjoint loop.

    Args:
        inputs: Operands.
        plan: Static description.

    Returns:
        The gradients of m (a list, one per history, with None for what it does not serve), of the amplitudes
        [nt, shot, source] and of the first state.
    """
    m, operands, kept, data, cotangent = inputs
    equation, interval, levels = plan.equation, plan.interval, plan.equation.levels
    form = equation.grid.form
    chunks = plan.chunks(data.shape[0], cotangent, bool(kept))
    keeper = _histories(plan, data.shape[0], cotangent, -1, bool(kept))
    observer = plan.observer if plan.observer and plan.observer.backward else None

    def retreat(w, tick, t, y, gradients, terms, last=False):
        w, ds, imaged = equation.adjoint_step(m, operands, w, list(zip(gradients, terms, strict=True)) if terms else [])
        gradients = imaged if terms else gradients
        if not last:
            y, ds, gradients = form.after(y, ds, gradients)
        w = equation.adjoint_inject(m, operands, w, y)
        if observer:
            tick = observe.backward(observer, equation, tick, t, m, w, gradients, interval)
        return w, tick, ds, gradients

    def chunk_body(carry, i, series, size):
        w, tick, gradients, cursors = carry
        read = [keeper.enter(h, cursor, i, size) for h, cursor in zip(kept, cursors, strict=True)]

        def entry(carry, j, steps, last):
            fronts, w, tick, gradients = carry
            t = (i * chunks.size + j) * interval

            def unstored(carry, k, y):
                w, tick, ds, _ = retreat(*carry, t + k, y, gradients, [])
                return (w, tick), ds

            (w, tick), others = over_unstored(unstored, (w, tick), steps[1:], levels, True)
            found = [
                keeper.entry(h, chunk, front, j, size) for h, (chunk, *_), front in zip(kept, read, fronts, strict=True)
            ]
            images = [terms for terms, _ in found]
            if steps.shape[0] < interval:  # the last entry, which stands for fewer steps
                images = [map_present(lambda g: g * (steps.shape[0] / interval), terms) for terms in images]
            w, tick, first, gradients = retreat(w, tick, t, steps[0], gradients, images, last)
            return ([front for _, front in found], w, tick, gradients), join(first, others)

        def entries(carry, j, steps):
            outputs = []
            for k, part in reversed(list(enumerate(each_entry(steps, interval)))):
                carry, ds = entry(carry, j + k, part, k == 0)
                outputs.append(ds)
            return carry, in_order(outputs, reverse=True)

        carry = ([front for _, front, _ in read], w, tick, gradients)
        (_, w, tick, gradients), ds = over_entries(entries, carry, series, size, plan, True)
        return (w, tick, gradients, [cursor for *_, cursor in read]), ds

    w = equation.adjoint_start(m, operands, cotangent)
    served = [tuple(needed or None for needed in h.wanted) for h in kept]
    gradients = [map_present(lambda _, zero: zero, needed, equation.gradient_start(m, w)) for needed in served]
    carry = (w, observe.first_tick(), gradients, [keeper.start(h) for h in kept])
    (w, _, gradients, _), ds = over_chunks(chunk_body, carry, data, chunks, interval, True)
    # Each stored step stands for ``interval`` steps of the imaging condition's sum over time.
    dm = [map_present(lambda g: interval * g, equation.gradient_finish(m, gradient)) for gradient in gradients]
    return dm, ds, equation.adjoint_finish(m, operands, w)
