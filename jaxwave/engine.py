"""The time loops: forward or linearised, and adjoint. Plain JAX; :mod:`jaxwave.rules` makes them differentiable.

    run      x[t+1] = A(m) x[t] + B s[t] + sum of dm g(h[t]) over pairs (history h, perturbation dm);   d[t] = R x[t]
    adjoint  w[t] = A(m)^T w[t+1] + R^T y[t];   gradient of m = sum of w[t+1] g(h[t]);   of s = B^T w[t+1]

See :mod:`jaxwave.equations.base` for A, B, R and g. A run saves its history, the terms g(x[t]) encoded and kept as the
storage policy says, when asked to. Time is cut into chunks of stored entries, so that a policy that streams moves many
steps at a time; a policy that does not has one chunk.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxwave import observe
from jaxwave.equations.base import Equation
from jaxwave.storage.base import Storage, chunk_spec, empty_chunk


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything static about a run. Hashable: one plan, one compilation for given shapes.

    Attributes:
        equation: The discrete equation.
        storage: Policy for the history, with its codec.
        interval: Steps from one stored (and imaged) step to the next.
        observer: User callbacks, or None.
    """

    equation: Equation
    storage: Storage
    interval: int = 1
    observer: observe.Observer | None = None

    def entry_spec(self, x: Any) -> tuple[jax.ShapeDtypeStruct, ...]:
        """Arrays that one stored step of a run with states like ``x`` takes."""
        codec = self.storage.codec
        return tuple(s for g in self.equation.terms_shape(x) for s in codec.spec(g.shape, g.dtype))

    def encode(self, terms: tuple[jax.Array, ...]) -> list[jax.Array]:
        return [leaf for g in terms for leaf in self.storage.codec.encode(g)]

    def decode(self, leaves: list[jax.Array], x: Any) -> tuple[jax.Array, ...]:
        codec, leaves, terms = self.storage.codec, list(leaves), []
        for g in self.equation.terms_shape(x):
            n = len(codec.spec(g.shape, g.dtype))
            terms.append(codec.decode(leaves[:n], g.shape, g.dtype))
            leaves = leaves[n:]
        return tuple(terms)


class RunInputs(NamedTuple):
    """Operands of ``run``: coefficients, constants, pairs (history, dm), amplitudes [nt, shot, source], first state."""

    m: Any
    operands: Any
    pairs: Any
    amplitudes: Any
    state: Any


class AdjointInputs(NamedTuple):
    """Operands of ``adjoint``: coefficients, constants, histories, data [nt, shot, receiver], cotangent of a state."""

    m: Any
    operands: Any
    histories: Any
    data: Any
    state: Any


# ---- the loops: plain JAX ----


class _Chunks(NamedTuple):
    """How the stored entries divide: into ``full`` chunks of ``size``, and one of ``rest`` unless that is 0."""

    size: int
    full: int
    rest: int


def _chunks(plan: Plan, n_steps: int, x: Any, stored: bool) -> _Chunks:
    n_entries = n_steps // plan.interval
    size = plan.storage.chunk_size(n_entries, plan.entry_spec(x)) if stored else n_entries
    return _Chunks(size, n_entries // size, n_entries % size)


def _over_chunks(body, carry, series, chunks: _Chunks, interval: int, reverse: bool):
    """Applies ``body(carry, i, chunk of the series, size)`` to every chunk, in time order or against it.

    ``series`` [nt, ...] is cut into chunks of ``size * interval`` steps.
    """
    per = chunks.size * interval

    def full(carry):
        head = series[: chunks.full * per].reshape(chunks.full, per, *series.shape[1:])
        if chunks.full == 1:
            return body(carry, 0, head[0], chunks.size)
        scanned = (jnp.arange(chunks.full), head)
        carry, out = lax.scan(lambda carry, x: body(carry, *x, chunks.size), carry, scanned, reverse=reverse)
        return carry, _merge_leading(out)

    def rest(carry):
        return body(carry, chunks.full, series[chunks.full * per :], chunks.rest)

    stages = [full, rest] if chunks.rest else [full]
    outputs = []
    for stage in reversed(stages) if reverse else stages:
        carry, out = stage(carry)
        outputs.append(out)
    return carry, jnp.concatenate(outputs[::-1] if reverse else outputs) if chunks.rest else outputs[0]


def _over_entries(entry, carry, series, size: int, interval: int, reverse: bool):
    """Scans ``entry(carry, j, steps of the series)`` over the ``size`` entries of a chunk.

    Two entries an iteration when an entry is an odd number of steps: the two time levels of a leapfrog swap their
    buffers in every step, and after an even number are back in place, so that the loop copies nothing.
    """
    scanned = (jnp.arange(size), series.reshape(size, interval, *series.shape[1:]))
    unroll = 2 if interval % 2 and size > 1 else 1
    carry, out = lax.scan(lambda carry, x: entry(carry, *x), carry, scanned, reverse=reverse, unroll=unroll)
    return carry, _merge_leading(out)


def _over_unstored(step, carry, series, reverse: bool):
    """Scans ``step(carry, k, step of the series)`` over the steps k = 1, 2, ... of an entry that are not stored."""
    count = series.shape[0]
    if count == 0:
        return carry, series[:0]
    scanned = (jnp.arange(1, count + 1), series)
    return lax.scan(lambda carry, x: step(carry, *x), carry, scanned, reverse=reverse, unroll=min(2, count))


def _put_entry(chunk, leaves, j):
    return [lax.dynamic_update_index_in_dim(c, leaf, j, 0) for c, leaf in zip(chunk, leaves, strict=True)]


def _get_entry(chunk, j):
    return [lax.dynamic_index_in_dim(c, j, 0, keepdims=False) for c in chunk]


def _merge_leading(x):
    """The first two axes as one (not reshape(-1): there may be no points, hence no elements)."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def _join(first, others):
    return jnp.concatenate([first[None], others]) if others.shape[0] else first[None]


def run_loop(owner: jax.Array, inputs: RunInputs, plan: Plan, save: bool):
    """Forward or linearised loop.

    Args:
        owner: Number of the eager call that runs this, 0 if unknown (see :mod:`jaxwave.storage.registry`).
        inputs: Operands.
        plan: Static description.
        save: Whether to keep the history.

    Returns:
        Records [nt, shot, receiver], the final state and, if ``save``, the history.
    """
    m, operands, pairs, amplitudes, x = inputs
    equation, storage, interval = plan.equation, plan.storage, plan.interval
    spec, n_steps = plan.entry_spec(x), amplitudes.shape[0]
    chunks = _chunks(plan, n_steps, x, save or bool(pairs))
    observer = plan.observer if plan.observer and plan.observer.forward else None

    def advance(x, tick, t, s, scatter, keep):
        if observer:
            tick = observe.forward(observer, equation, tick, t, x)
        data = equation.record(operands, x)
        x, terms = equation.step(m, operands, x, scatter, keep)
        return equation.inject(operands, x, s), tick, data, terms

    def chunk_body(carry, i, series, size):
        x, tick, history = carry
        stored = [(dm, storage.get(h, i, chunk_spec(spec, size), +1)) for h, dm in pairs]

        def entry(carry, j, steps):
            x, tick, buffer = carry
            t = (i * chunks.size + j) * interval
            scatter = [(dm, plan.decode(_get_entry(chunk, j), x)) for dm, chunk in stored]
            x, tick, first, terms = advance(x, tick, t, steps[0], scatter, save)
            if save:
                buffer = _put_entry(buffer, plan.encode(terms), j)

            def unstored(carry, k, s):
                x, tick, data, _ = advance(*carry, t + k, s, [], False)
                return (x, tick), data

            (x, tick), others = _over_unstored(unstored, (x, tick), steps[1:], False)
            return (x, tick, buffer), _join(first, others)

        buffer = empty_chunk(spec, size) if save else []
        (x, tick, buffer), data = _over_entries(entry, (x, tick, buffer), series, size, interval, False)
        return (x, tick, storage.put(history, i, buffer) if save else history), data

    history = storage.open(spec, n_steps // interval, owner, [h for h, _ in pairs]) if save else []
    carry = (x, observe.first_tick(), history)
    (x, _, history), data = _over_chunks(chunk_body, carry, amplitudes, chunks, interval, False)
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
    spec, n_steps = plan.entry_spec(cotangent), data.shape[0]
    chunks = _chunks(plan, n_steps, cotangent, bool(histories))
    observer = plan.observer if plan.observer and plan.observer.backward else None

    def retreat(w, tick, t, y, gradients):
        ds = equation.adjoint_record(m, operands, w)
        w = equation.adjoint_step(m, operands, w)
        w = equation.adjoint_inject(m, operands, w, y)
        if observer:
            tick = observe.backward(observer, equation, tick, t, m, w, gradients)
        return w, tick, ds

    def chunk_body(carry, i, series, size):
        stored = [storage.get(h, i, chunk_spec(spec, size), -1) for h in histories]

        def entry(carry, j, steps):
            w, tick, gradients = carry
            t = (i * chunks.size + j) * interval

            def unstored(carry, k, y):
                w, tick, ds = retreat(*carry, t + k, y, gradients)
                return (w, tick), ds

            (w, tick), others = _over_unstored(unstored, (w, tick), steps[1:], True)
            gradients = [
                equation.gradient_add(g, w, plan.decode(_get_entry(chunk, j), cotangent))
                for g, chunk in zip(gradients, stored, strict=True)
            ]
            w, tick, first = retreat(w, tick, t, steps[0], gradients)
            return (w, tick, gradients), _join(first, others)

        return _over_entries(entry, carry, series, size, interval, True)

    w = equation.adjoint_start(m, operands, cotangent)
    carry = (w, observe.first_tick(), [equation.gradient_start(m, w) for _ in histories])
    (w, _, gradients), ds = _over_chunks(chunk_body, carry, data, chunks, interval, True)
    # Each stored step stands for ``interval`` steps of the imaging condition's sum over time.
    dm = [tuple(interval * g for g in equation.gradient_finish(m, gradient)) for gradient in gradients]
    return dm, ds, equation.adjoint_finish(m, operands, w)
