"""One chunk of steps forward: of a run, of a linearised run, or of one that is taken again."""

from __future__ import annotations

from jax import lax

from jaxwave._timeloop import observe
from jaxwave._timeloop.chunks import (
    Plan,
    RunInputs,
    each_entry,
    in_order,
    join,
    over_entries,
    over_unstored,
)
from jaxwave.storage.entries import map_present


def forward_chunk(plan: Plan, inputs: RunInputs, carry, t, series, stored, save: tuple[bool, ...], buffer, first):
    """Steps through the entries of a chunk.

    Args:
        plan: Static description.
        inputs: Operands; the pairs, amplitudes and state are not looked at.
        carry: State, and the tick of the callbacks.
        t: Number of the first step.
        series: Amplitudes of these steps [step, shot, source].
        stored: Pairs (dm, chunks of the history that it multiplies).
        save: For each coefficient, whether a history is to serve it; empty if nothing is saved.
        buffer: Parts to save entries in, the first of this chunk as number ``first``.

    Returns:
        The carry, the buffer and the records [step, shot, receiver].
    """
    equation, storage, interval = plan.equation, plan.storage, plan.interval
    m, operands = inputs.m, inputs.operands
    size, wanted, nothing = plan.entries(series.shape[0]), plan.saved_terms(save), plan.wanted(())
    observer = plan.observer if plan.observer and plan.observer.forward else None

    def advance(x, tick, t, s, scatter, keep):
        if observer:
            tick = observe.forward(observer, equation, tick, t, x)
        data = equation.record(operands, x)
        if equation.grid.cuts:
            # What is recorded is read before the step: the exchange writes into the wavefields, which would be copied.
            x, data = lax.optimization_barrier((x, data))
        x, terms = equation.step(m, operands, x, s, scatter, keep)
        return x, tick, data, terms

    def entry(x, tick, j, steps):
        first_t = t + j * interval
        count = steps.shape[0]  # the steps that the stored one stands for
        scatter = [
            (
                dm if count == 1 else map_present(lambda g: count * g, dm),
                map_present(lambda chunk: plan.decode(storage.entry(chunk, j, size), x), chunks),
            )
            for dm, chunks in stored
        ]
        x, tick, record, terms = advance(x, tick, first_t, steps[0], scatter, wanted)
        kept = plan.pack(x, terms, save)

        def unstored(carry, k, s):
            x, tick, data, _ = advance(*carry, first_t + k, s, [], nothing)
            return (x, tick), data

        (x, tick), others = over_unstored(unstored, (x, tick), steps[1:], equation.levels, False)
        return x, tick, kept, join(record, others)

    def entries(carry, j, steps):
        x, tick, buffer = carry
        found, records = [], []
        for k, part in enumerate(each_entry(steps, interval)):
            x, tick, kept, record = entry(x, tick, j + k, part)
            found.append(kept)
            records.append(record)
        buffer = map_present(lambda chunk, *parts: storage.keep_together(chunk, parts, first + j, size), buffer, *found)
        return (x, tick, buffer), in_order(records)

    x, tick = carry
    (x, tick, buffer), data = over_entries(entries, (x, tick, buffer), series, size, plan, False)
    return (x, tick), buffer, data
