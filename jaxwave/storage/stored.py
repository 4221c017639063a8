"""How the loops save a history and read it back, chunk by chunk: as it was stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax

from jaxwave.storage.entries import Parts, chunk_spec, map_present

if TYPE_CHECKING:
    from jaxwave._timeloop.chunks import Plan
    from jaxwave._timeloop.histories import History


class Stored:
    """What saves and reads the histories of some runs: terms are stored, and read as they are.

    Args:
        plan: Static description of the runs.
        n_steps: Steps of the loop.
        x: A state, for its structure.
        direction: +1 or -1: in which order chunks are read.
    """

    def __init__(self, plan: Plan, n_steps: int, x: Any, direction: int) -> None:
        self._plan, self._x, self._n_steps, self._direction = plan, x, n_steps, direction
        self._size = plan.chunks(n_steps, x, True).size

    def open(self, save: tuple[bool, ...], owner: jax.Array, parents: Sequence[jax.Array]) -> Any:
        """Begins what a run saves."""
        sizes = self._plan.sizes(self._n_steps, self._x)
        return map_present(lambda _: self._plan.storage.open(*sizes, owner, parents), self._plan.wanted(save))

    def terms(self, save: tuple[bool, ...]) -> tuple[bool, ...]:
        """For which coefficients a run that saves makes chunks of terms."""
        return save

    def buffer(self, saved: Any, i, size: int, save: tuple[bool, ...]) -> tuple[Parts, Any]:
        """What a run that saves fills with the ``size`` entries of chunk ``i``, and the number of the first there."""
        spec = self._plan.pack_spec(self._x, self.terms(save))
        return map_present(lambda entry: self._plan.storage.buffer(entry, size), spec), 0

    def put(self, saved: Any, i, before: Any, after: Any, chunks: Parts) -> Any:
        """Chunk ``i``, as filled, into what is saved; ``before`` and ``after`` are the states at its ends."""
        return map_present(lambda chunk, part: self._plan.storage.put(part, i, chunk), chunks, saved)

    def close(self, saved: Any) -> Any:
        """What a run has saved, once all chunks are put."""
        return saved

    def start(self, history: History) -> Any:
        """What is carried from one ``read`` of this history to the next."""
        return ()

    def read(self, history: History, cursor: Any, i, size: int) -> tuple[Parts, Any]:
        """Chunk ``i``, of ``size`` entries, of each term; and the cursor for the next."""
        spec = chunk_spec(self._plan.entry_spec(self._x), size)
        return map_present(lambda part: self._plan.storage.get(part, i, spec, self._direction), history.parts), cursor

    # ---- for the adjoint loop, which goes through the entries of a chunk from the last to the first ----

    def enter(self, history: History, cursor: Any, i, size: int) -> tuple[Any, Any, Any]:
        """Chunk ``i``: what of it stays the same, and what changes from entry to entry; and the cursor for the next."""
        chunks, cursor = self.read(history, cursor, i, size)
        return chunks, (), cursor

    def entry(self, history: History, chunk: Any, front: Any, j, size: int) -> tuple[Parts, Any]:
        """The terms of entry ``j``, and what has changed."""
        plan = self._plan
        return map_present(lambda part: plan.decode(plan.storage.entry(part, j, size), self._x), chunk), front
