"""What the time loops are made of: the static plan of a run, its operands, and scans over chunks, entries and steps.

Time is cut into chunks of stored entries, and an entry is ``interval`` steps, of which the first is stored. The last
entry is shorter where the interval does not divide the number of steps.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxwave._numerics.forms import Form
from jaxwave._timeloop import observe
from jaxwave._timeloop.histories import History, RecomputedHistory, StoredHistory
from jaxwave.equations.base import Equation
from jaxwave.storage.base import Footprint, Storage
from jaxwave.storage.entries import Parts, Spec, encoded_spec, entry_bytes, map_present


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

    def entry_spec(self, x: Any) -> Spec:
        """Arrays that one term of one stored step of a run with states like ``x`` takes."""
        return encoded_spec(self.storage.codec, [self.equation.term_shape(x)])

    def encode(self, term: jax.Array) -> list[jax.Array]:
        return list(self.storage.codec.encode(term))

    def decode(self, leaves: list[jax.Array], x: Any) -> jax.Array:
        g = self.equation.term_shape(x)
        return self.storage.codec.decode(list(leaves), g.shape, g.dtype)

    def in_form(self, form: Form) -> Plan:
        """The plan of loops that are written in this form."""
        return dataclasses.replace(self, equation=self.equation.in_form(form))

    # ---- which terms ----

    def wanted(self, coefficients: tuple[bool, ...]) -> Parts:
        """True for each term to keep for these coefficients, None for the others."""
        needed = [bool(coefficients) and any(coefficients[c] for c in cs) for cs in self.equation.coefficients_of_terms]
        spared = {i for i, summands in self.equation.derived_terms.items() if all(needed[k] for k in summands)}
        return tuple(True if needed[i] and i not in spared else None for i in range(len(needed)))

    def select(self, history: History, coefficients: tuple[bool, ...]) -> History:
        """The history for these coefficients alone."""
        if isinstance(history, RecomputedHistory):
            return dataclasses.replace(history, wanted=coefficients)
        wanted = list(self.wanted(coefficients))
        for i, summands in self.equation.derived_terms.items():
            if wanted[i] and history.parts[i] is None:
                for k in summands:
                    wanted[k] = True
        parts = (part if want else None for want, part in zip(wanted, history.parts, strict=True))
        return StoredHistory(tuple(parts), coefficients)

    def settled(self, n_steps: int, x: Any) -> Plan:
        """The plan of such a run once a history is asked for: with a policy where there may have been a request."""
        stored = self._most_terms * self.entries(n_steps) * entry_bytes(self.entry_spec(x))
        return dataclasses.replace(self, storage=self.storage.settled(stored))

    # ---- how time divides ----

    def history_spec(self, n_steps: int, x: Any, save: tuple[bool, ...]) -> Any:
        """What a run of ``n_steps`` with states like ``x`` saves for its history."""
        saved = list(self.storage.history_spec(*self.sizes(n_steps, x)))
        return saved if self.storage.replays else map_present(lambda _: saved, self.wanted(save))

    def chunks(self, n_steps: int, x: Any, stored: bool) -> Chunks:
        """How the steps of a run with states like ``x`` divide; one chunk if nothing is ``stored``."""
        n_entries = self.entries(n_steps)
        size = self.storage.chunk_size(*self.sizes(n_steps, x)) if stored else n_entries
        full = n_steps // self.interval // size  # without the shorter entry, which differs
        # The buffers of a chunk on its way and of the next one change places, like the levels of a leapfrog:
        # with one chunk to a turn the compiler makes the steps wait, so that it can do with one buffer.
        return Chunks(size, full, n_entries - full * size, 2 if stored and self.storage.pipelined else 1)

    def entries(self, n_steps: int) -> int:
        """Number of entries of a run of ``n_steps``."""
        return -(-n_steps // self.interval)

    def footprint(self, n_steps: int, x: Any) -> Footprint:
        """Bytes of the history of all terms."""
        parts = 1 if self.storage.replays else self._most_terms
        return Footprint(*(parts * n for n in self.storage.footprint(*self.sizes(n_steps, x))))

    def sizes(self, n_steps: int, x: Any) -> tuple[int, Spec, Any]:
        """What a policy is told of a run: entries; what is kept of one (of a term, or of all terms where chunks are
        made again); and a state, or the parts of one that the policy keeps.
        """
        terms = self._most_terms if self.storage.replays else 1
        return self.entries(n_steps), self.entry_spec(x) * terms, self.storage.kept_of(self.equation, x)

    @property
    def _most_terms(self) -> int:
        """How many terms are kept where all coefficients are differentiated."""
        return sum(map(bool, self.equation.coefficients_of_terms)) - len(self.equation.derived_terms)

    # ---- what a run saves of a step: parts ----

    def saved_terms(self, save: tuple[bool, ...]) -> Parts:
        """The terms that it needs for that."""
        return self.wanted(() if self.storage.keeps_rings else save)

    def pack_spec(self, x: Any, save: tuple[bool, ...]) -> tuple[Spec | None, ...]:
        """Arrays of each part, of a run with states like ``x``."""
        if self.storage.keeps_rings:
            return (self.storage.pack_spec(self.storage.kept_of(self.equation, x)[0]),) if save else ()
        return map_present(lambda _: self.entry_spec(x), self.wanted(save))

    def pack(self, x: Any, terms: Parts, save: tuple[bool, ...]) -> Parts:
        """The parts, from the state after the step and its terms."""
        if self.storage.keeps_rings:
            return (self.storage.pack(self.equation.ring(x)),) if save else ()
        return map_present(self.encode, terms)


class RunInputs(NamedTuple):
    """Operands of ``run``: coefficients, constants, Born sources, amplitudes [nt, shot, source], first state.

    A Born source is a pair (history, dm): a history, and the perturbation that multiplies its terms. A dm has None
    for the coefficients that its history does not serve.
    """

    m: Any
    operands: Any
    born_sources: Any
    amplitudes: Any
    state: Any


class AdjointInputs(NamedTuple):
    """Operands of ``adjoint``: coefficients, constants, histories, data [nt, shot, receiver], cotangent of a state."""

    m: Any
    operands: Any
    histories: Any
    data: Any
    state: Any


class Chunks(NamedTuple):
    """How the stored entries divide: into ``full`` chunks of ``size``, and one of ``rest`` unless that is 0.

    An entry that is shorter than the others is the last one of the rest. A turn of the loop takes ``together`` chunks.
    """

    size: int
    full: int
    rest: int
    together: int = 1


def over_chunks(body, carry, series, chunks: Chunks, interval: int, reverse: bool):
    """Applies ``body(carry, i, chunk of the series, size)`` to every chunk, in time order or against it.

    ``series`` [nt, ...] is cut into chunks of ``size * interval`` steps.
    """
    per = chunks.size * interval

    def full(carry):
        head = series[: chunks.full * per].reshape(chunks.full, per, *series.shape[1:])
        if chunks.full == 1:
            return body(carry, 0, head[0], chunks.size)
        scanned = (jnp.arange(chunks.full), head)
        carry, out = lax.scan(
            lambda carry, x: body(carry, *x, chunks.size), carry, scanned, reverse=reverse, unroll=chunks.together
        )
        return carry, _merge_leading(out)

    def rest(carry):
        return body(carry, chunks.full, series[chunks.full * per :], chunks.rest)

    stages = [stage for stage, n in ((full, chunks.full), (rest, chunks.rest)) if n]
    outputs = []
    for stage in reversed(stages) if reverse else stages:
        carry, out = stage(carry)
        outputs.append(out)
    return carry, in_order(outputs, reverse)


def over_entries(entries, carry, series, size: int, plan: Plan, reverse: bool):
    """Scans ``entries(carry, j, steps of the series)`` over the ``size`` entries of a chunk; a shorter one is its last.

    It is given the steps of as many entries, from number j on, as the loop's form takes in a turn, or fewer at the end.
    With two time levels, two turns an iteration where each is an odd number of steps: the levels of a leapfrog swap
    their buffers in every step, and after an even number are back in place, so that the loop copies nothing.
    """
    interval, levels = plan.interval, plan.equation.levels
    whole, short = divmod(series.shape[0], interval)
    together = plan.equation.grid.form.entries if interval == 1 else 1
    turns, left = divmod(whole, together)

    def equal(carry):
        per = together * interval
        steps = series[: turns * per].reshape(turns, per, *series.shape[1:])
        unroll = 2 if levels == 2 and per % 2 and turns > 1 else 1
        scanned = (together * jnp.arange(turns), steps)
        carry, out = lax.scan(lambda carry, x: entries(carry, *x), carry, scanned, reverse=reverse, unroll=unroll)
        return carry, _merge_leading(out)

    def fewer(carry):
        return entries(carry, whole - left, series[(whole - left) * interval : whole * interval])

    def shorter(carry):
        return entries(carry, size - 1, series[whole * interval :])

    stages = [stage for stage, n in ((equal, turns), (fewer, left), (shorter, short)) if n]
    outputs = []
    for stage in reversed(stages) if reverse else stages:
        carry, out = stage(carry)
        outputs.append(out)
    return carry, in_order(outputs, reverse)


def over_unstored(step, carry, series, levels: int, reverse: bool):
    """Scans ``step(carry, k, step of the series)`` over the steps k = 1, 2, ... of an entry that are not stored."""
    count = series.shape[0]
    if count == 0:
        return carry, series[:0]
    scanned = (jnp.arange(1, count + 1), series)
    return lax.scan(lambda carry, x: step(carry, *x), carry, scanned, reverse=reverse, unroll=min(levels, count))


def each_entry(steps, interval: int) -> list:
    """The steps of one entry after the other."""
    return [steps[k : k + interval] for k in range(0, steps.shape[0], interval)]


def join(first, others):
    """One sample and those of the other steps of its entry."""
    return jnp.concatenate([first[None], others]) if others.shape[0] else first[None]


def in_order(outputs: list, reverse: bool = False):
    """Outputs of consecutive parts of time, made against it if ``reverse``, in the order of time as one array."""
    return jnp.concatenate(outputs[::-1] if reverse else outputs) if len(outputs) > 1 else outputs[0]


def _merge_leading(x):
    """The first two axes as one (not reshape(-1): there may be no points, hence no elements)."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
