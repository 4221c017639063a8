"""What later runs read of a run, its history. How it is saved and read is for the storage policy to say
(:meth:`jaxwave.storage.base.Storage.histories`).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax

from jaxwave.storage.entries import Parts

if TYPE_CHECKING:
    from jaxwave._timeloop.chunks import Plan, RunInputs


@functools.partial(jax.tree_util.register_dataclass, data_fields=["parts"], meta_fields=["wanted"])
@dataclasses.dataclass(frozen=True)
class StoredHistory:
    """A history that is stored.

    Attributes:
        parts: What is kept of each term, a list of arrays.
        wanted: For each coefficient, whether its terms are.
    """

    parts: Parts
    wanted: tuple[bool, ...]


@functools.partial(jax.tree_util.register_dataclass, data_fields=["run"], meta_fields=["wanted"])
@dataclasses.dataclass(frozen=True)
class RecomputedHistory:
    """A history under a policy that replays.

    Attributes:
        run: Operands of the run that made it, with the kept states in place of the first.
        wanted: For each coefficient, whether its terms are.
    """

    run: RunInputs
    wanted: tuple[bool, ...]


History = StoredHistory | RecomputedHistory
"""Both say which coefficients are wanted of it."""


def as_history(plan: Plan, inputs: RunInputs, saved: Any, wanted: tuple[bool, ...]) -> History:
    """What other runs read as the history of a run with these ``inputs`` that saved ``saved``."""
    return (
        RecomputedHistory(inputs._replace(state=saved), wanted)
        if plan.storage.replays
        else StoredHistory(saved, wanted)
    )


def tokens(history: History) -> list:
    """The tokens of a streamed history, and of those that it is made again from."""
    if isinstance(history, RecomputedHistory):
        return [
            *jax.tree.leaves(history.run.state),
            *(token for other, _ in history.run.born_sources for token in tokens(other)),
        ]
    return [part[0] for part in history.parts if part is not None]
