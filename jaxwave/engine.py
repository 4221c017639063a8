"""The time loops: forward or linearised, and adjoint. Plain JAX; :mod:`jaxwave.rules` makes them differentiable.

    run      x[t+1] = A(m) x[t] + B s[t] + sum of dm g(h[t]) over pairs (history h, perturbation dm);   d[t] = R x[t]
    adjoint  w[t] = A(m)^T w[t+1] + R^T y[t];   gradient of m = sum of w[t+1] g(h[t]);   of s = B^T w[t+1]

See :mod:`jaxwave.equations.base` for A, B, R and g. A run saves its history, the terms g(x[t]) encoded and kept as the
storage policy says, when asked to: one part for each term, None for those of coefficients that are not differentiated.
Time is cut into chunks of stored entries, so that a policy that streams moves many steps at a time; a policy that does
not has one chunk.
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

Parts = tuple[Any, ...]
"""Something for each term of the equation: a part of a history, or None."""


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
        """Arrays that one term of one stored step of a run with states like ``x`` takes."""
        g = self.equation.term_shape(x)
        return tuple(self.storage.codec.spec(g.shape, g.dtype))

    def encode(self, term: jax.Array) -> list[jax.Array]:
        return list(self.storage.codec.encode(term))

    def decode(self, leaves: list[jax.Array], x: Any) -> jax.Array:
        g = self.equation.term_shape(x)
        return self.storage.codec.decode(list(leaves), g.shape, g.dtype)

    def differentiated(self, history: Parts) -> tuple[bool, ...]:
        """For each coefficient, whether a history serves its derivative."""
        slots = self.equation.slots
        served = {c for part, c in zip(history, slots, strict=True) if part is not None}
        return tuple(i in served for i in range(max(slots) + 1))

    def select(self, parts: Parts, coefficients: tuple[bool, ...]) -> Parts:
        """The parts of a history that serve these coefficients, None in place of the others."""
        slots = self.equation.slots
        return tuple(part if coefficients[c] else None for part, c in zip(parts, slots, strict=True))


class RunInputs(NamedTuple):
    """Operands of ``run``: coefficients, constants, pairs (history, dm), amplitudes [nt, shot, source], first state.

    A dm has None for the coefficients that its history does not serve.
    """

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


def _over_entries(entry, carry, series, size: int, interval: int, levels: int, reverse: bool):
    """Scans ``entry(carry, j, steps of the series)`` over the ``size`` entries of a chunk.

    With two time ``levels``, two entries an iteration when an entry is an odd number of steps: the levels of a leapfrog
    swap their buffers in every step, and after an even number are back in place, so that the loop copies nothing.
    """
    scanned = (jnp.arange(size), series.reshape(size, interval, *series.shape[1:]))
    unroll = 2 if levels == 2 and interval % 2 and size > 1 else 1
    carry, out = lax.scan(lambda carry, x: entry(carry, *x), carry, scanned, reverse=reverse, unroll=unroll)
    return carry, _merge_leading(out)


def _over_unstored(step, carry, series, levels: int, reverse: bool):
    """Scans ``step(carry, k, step of the series)`` over the steps k = 1, 2, ... of an entry that are not stored."""
    count = series.shape[0]
    if count == 0:
        return carry, series[:0]
    scanned = (jnp.arange(1, count + 1), series)
    return lax.scan(lambda carry, x: step(carry, *x), carry, scanned, reverse=reverse, unroll=min(levels, count))


def _each(function, *parts):
    """Applies a function to the parts that are there."""
    return tuple(None if xs[0] is None else function(*xs) for xs in zip(*parts, strict=True))


def _put_entry(chunk, leaves, j):
    return [lax.dynamic_update_index_in_dim(c, leaf, j, 0) for c, leaf in zip(chunk, leaves, strict=True)]


def _get_entry(chunk, j):
    return [lax.dynamic_index_in_dim(c, j, 0, keepdims=False) for c in chunk]


def _merge_leading(x):
    """The first two axes as one (not reshape(-1): there may be no points, hence no elements)."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def _join(first, others):
    return jnp.concatenate([first[None], others]) if others.shape[0] else first[None]


def run_loop(owner: jax.Array, inputs: RunInputs, plan: Plan, save: tuple[bool, ...]):
    """Forward or linearised loop.

    Args:
        owner: Number of the eager call that runs this, 0 if unknown (see :mod:`jaxwave.storage.registry`).
        inputs: Operands.
        plan: Static description.
        save: For each coefficient, whether to keep the history of its terms; empty if none is kept.

    Returns:
        Records [nt, shot, receiver], the final state and, if ``save``, the history.
    """
    m, operands, pairs, amplitudes, x = inputs
    equation, storage, interval = plan.equation, plan.storage, plan.interval
    spec, n_steps = plan.entry_spec(x), amplitudes.shape[0]
    chunks = _chunks(plan, n_steps, x, bool(save or pairs))
    slots = equation.slots
    wanted = plan.select((True,) * len(slots), save) if save else (None,) * len(slots)
    observer = plan.observer if plan.observer and plan.observer.forward else None

    def advance(x, tick, t, s, scatter, keep):
        if observer:
            tick = observe.forward(observer, equation, tick, t, x)
        data = equation.record(operands, x)
        x, terms = equation.step(m, operands, x, s, scatter, keep)
        return x, tick, data, terms

    def chunk_body(carry, i, series, size):
        x, tick, history = carry

        def fetch(part):
            return storage.get(part, i, chunk_spec(spec, size), +1)

        stored = [(dm, _each(fetch, h)) for h, dm in pairs]

        def entry(carry, j, steps):
            x, tick, buffer = carry
            t = (i * chunks.size + j) * interval
            scatter = [(dm, _each(lambda c: plan.decode(_get_entry(c, j), x), parts)) for dm, parts in stored]
            x, tick, first, terms = advance(x, tick, t, steps[0], scatter, wanted)
            buffer = _each(lambda c, g: _put_entry(c, plan.encode(g), j), buffer, terms)

            def unstored(carry, k, s):
                x, tick, data, _ = advance(*carry, t + k, s, [], (None,) * len(slots))
                return (x, tick), data

            (x, tick), others = _over_unstored(unstored, (x, tick), steps[1:], equation.levels, False)
            return (x, tick, buffer), _join(first, others)

        buffer = _each(lambda _: empty_chunk(spec, size), wanted)
        (x, tick, buffer), data = _over_entries(
            entry, (x, tick, buffer), series, size, interval, equation.levels, False
        )
        return (x, tick, _each(lambda b, h: storage.put(h, i, b), buffer, history)), data

    parents = [part for h, _ in pairs for part in h if part is not None]
    history = _each(lambda _: storage.open(spec, n_steps // interval, owner, parents), wanted)
    carry = (x, observe.first_tick(), history)
    (x, _, history), data = _over_chunks(chunk_body, carry, amplitudes, chunks, interval, False)
    return (data, x, history) if save else (data, x)


def adjoint_loop(inputs: AdjointInputs, plan: Plan):
    """Adjoint loop.

    Args:
        inputs: Operands.
        plan: Static description.

    Returns:
        The gradients of m (a list, one per history, with None for what it does not serve), of the amplitudes
        [nt, shot, source] and of the first state.
    """
    m, operands, histories, data, cotangent = inputs
    equation, storage, interval = plan.equation, plan.storage, plan.interval
    spec, n_steps = plan.entry_spec(cotangent), data.shape[0]
    chunks = _chunks(plan, n_steps, cotangent, bool(histories))
    observer = plan.observer if plan.observer and plan.observer.backward else None

    def retreat(w, tick, t, y, gradients, terms):
        w, ds, imaged = equation.adjoint_step(m, operands, w, list(zip(gradients, terms, strict=True)) if terms else [])
        w = equation.adjoint_inject(m, operands, w, y)
        gradients = imaged if terms else gradients
        if observer:
            tick = observe.backward(observer, equation, tick, t, m, w, gradients)
        return w, tick, ds, gradients

    def chunk_body(carry, i, series, size):

        def fetch(part):
            return storage.get(part, i, chunk_spec(spec, size), -1)

        stored = [_each(fetch, h) for h in histories]

        def entry(carry, j, steps):
            w, tick, gradients = carry
            t = (i * chunks.size + j) * interval

            def unstored(carry, k, y):
                w, tick, ds, _ = retreat(*carry, t + k, y, gradients, [])
                return (w, tick), ds

            (w, tick), others = _over_unstored(unstored, (w, tick), steps[1:], equation.levels, True)
            terms = [_each(lambda c: plan.decode(_get_entry(c, j), cotangent), parts) for parts in stored]
            w, tick, first, gradients = retreat(w, tick, t, steps[0], gradients, terms)
            return (w, tick, gradients), _join(first, others)

        return _over_entries(entry, carry, series, size, interval, equation.levels, True)

    w = equation.adjoint_start(m, operands, cotangent)
    zeros = [
        tuple(
            g if kept else None for g, kept in zip(equation.gradient_start(m, w), plan.differentiated(h), strict=True)
        )
        for h in histories
    ]
    carry = (w, observe.first_tick(), zeros)
    (w, _, gradients), ds = _over_chunks(chunk_body, carry, data, chunks, interval, True)
    # Each stored step stands for ``interval`` steps of the imaging condition's sum over time.
    dm = [_each(lambda g: interval * g, equation.gradient_finish(m, gradient)) for gradient in gradients]
    return dm, ds, equation.adjoint_finish(m, operands, w)
