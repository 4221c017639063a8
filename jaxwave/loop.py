"""The loop of an inversion, for those who want one: progress, checkpoints, and a figure while it runs.

It knows nothing of waves: a step is a function of a state and the number of the iteration. What it adds to a ``for``
loop is that a process that is killed goes on where it was, to the bit.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxwave import io
from jaxwave._setup import validate

__all__ = ["Progress", "run"]


class Progress(NamedTuple):
    """Where an inversion is.

    Attributes:
        state: What the last step returned.
        misfits: The misfits of all iterations, those before a resumption included.
    """

    state: Any
    misfits: list[float]


def run(
    step: Callable[[Any, int], tuple[Any, Any]],
    state: Any,
    iterations: int,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 10,
    settings: dict[str, Any] | None = None,
    watch: Callable[[Progress], Any] | None = None,
    progress: bool = True,
) -> Progress:
    """Takes steps, and goes on where an earlier process was.

    Args:
        step: ``step(state, iteration)``, which returns the new state and the misfit before the step. The state is a
            pytree of arrays, such as a model and an optax state. For a resumption to be exact, what else a step depends
            on must follow from the iteration (:func:`jaxwave.inversion.shot_batch` does).
        state: The first state.
        iterations: Number of the last iteration, counted from the first start.
        checkpoint: A file that the state is written to; where it exists, the run goes on from it. Default: none.
        every: Iterations from one writing, and call of ``watch``, to the next; both also happen at the end.
        settings: What the run depends on, as far as JSON can say it: a checkpoint of other settings is refused.
        watch: Called with a :class:`Progress`, to draw a figure or print a line.
        progress: Whether to show a bar, where tqdm is installed.

    Returns:
        The last state, and the misfits of all iterations.

    Raises:
        ValueError: If the checkpoint belongs to another run, or has more iterations than are asked for.
        FloatingPointError: If a misfit is not finite; the checkpoint is that before.

    Example:
        >>> import jax, jax.numpy as jnp, jaxwave, optax
        >>> optimizer = optax.adam(0.3)
        >>> @jax.jit
        ... def descend(x, state):
        ...     value, gradient = jax.value_and_grad(lambda x: jnp.sum((x - 3.0) ** 2))(x)
        ...     update, state = optimizer.update(gradient, state)
        ...     return (optax.apply_updates(x, update), state), value
        >>> x = jnp.zeros(2)
        >>> found = jaxwave.loop.run(lambda s, i: descend(*s), (x, optimizer.init(x)), 150, progress=False)
        >>> [round(float(x), 2) for x in found.state[0]], len(found.misfits)
        ([3.0, 3.0], 150)
    """
    iterations, every = validate.whole("iterations", iterations, 1), validate.whole("every", every, 1)
    path = Path(checkpoint) if checkpoint is not None else None
    state, misfits = _resumed(path, state, settings or {}, iterations)
    for i in _shown(len(misfits), iterations, progress):
        new, value = step(state, i)
        misfit = float(value)
        if not math.isfinite(misfit):
            raise FloatingPointError(f"the misfit of iteration {i} is {misfit}; the state before it is what is kept")
        state, misfits = new, [*misfits, misfit]
        if (i + 1) % every == 0 or i + 1 == iterations:
            if path is not None:
                io.save_checkpoint(path, jax.block_until_ready(state), {"misfits": misfits, "settings": settings or {}})
            if watch is not None:
                watch(Progress(state, misfits))
    return Progress(state, misfits)


def _resumed(path: Path | None, state: Any, settings: dict[str, Any], iterations: int) -> tuple[Any, list[float]]:
    """The state to go on from, and the misfits until there."""
    if path is None or not path.exists():
        return state, []
    kept = io.load_metadata(path)
    if kept.get("settings") != settings:
        raise ValueError(
            f"{path} is of a run with settings {kept.get('settings')}, not {settings}; go on with those, or remove it"
        )
    misfits: list[float] = kept["misfits"]
    if len(misfits) > iterations:
        raise ValueError(f"{path} has {len(misfits)} iterations, more than the {iterations} asked for; remove it")
    return io.load_checkpoint(path, like=state), misfits


def _shown(start: int, stop: int, progress: bool) -> Iterator[int] | Sequence[int]:
    """The numbers of the iterations, with a bar if there can be one."""
    if progress:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            return range(start, stop)
        bar: Iterator[int] = iter(tqdm(range(start, stop), initial=start, total=stop))
        return bar
    return range(start, stop)
