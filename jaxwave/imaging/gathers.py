"""Common-image gathers: the image in parts, which agree where the background is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxwave._setup import validate
from jaxwave.imaging.batches import Batches, Predict, add, arrays, zeros


def offset_gathers(
    predict: Predict,
    models: Any,
    survey: Any,
    records: Any,
    offsets: Any,
    edges: Sequence[float],
    batch: int | None = None,
) -> Any:
    """Surface-offset gathers: an image for each class of distances between source and receiver.

    ::

        image_k = L^T (d where edges[k] <= offset < edges[k + 1], else 0)

    The images of all classes add up to that of :func:`migrate`, if the classes hold all traces. Where the background is
    right above it, a reflector has the same depth in all of them: it is flat along the offset. It curves up where the
    background is too slow, and down where it is too fast. A batch's background is run once, its transpose once for each
    class.

    Args:
        predict, models, survey, records, batch: As for :func:`migrate`.
        offsets: Of each trace [shot, receiver], of :func:`offsets`; a pytree of them like the records if kinds of
            receivers lie at different places.
        edges: Of the classes, increasing: one number more than classes, in the offsets' unit.

    Returns:
        Images [class, *cells]: a pytree like the models.

    Raises:
        TypeError, ValueError: As :func:`migrate`; if the offsets are not those of the records' traces, or the edges are
            not increasing.

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> predict = lambda m, survey: survey * m  # one shot of three traces
        >>> ones = jnp.ones((1, 3, 2))
        >>> jaxwave.imaging.offset_gathers(
        ...     predict, jnp.array(0.0), ones, ones, [[10.0, 20.0, 90.0]], [0.0, 50.0, 100.0]
        ... ).tolist()
        [4.0, 2.0]

    Reference:
        W. A. Mulder and A. P. E. ten Kroode, "Automatic velocity analysis by differential semblance optimization",
        Geophysics 67 (2002).
    """
    classes = validate.numpy_values("edges", edges)
    if classes.ndim != 1 or classes.size < 2 or not (np.diff(classes) > 0).all():
        raise ValueError(f"`edges` must be increasing, one number more than there are classes; got {edges!r}")
    shots = Batches(predict, models, survey, batch, records)
    leaves = [jax.tree.leaves(data) for data in shots.records]
    places = jax.tree.leaves(arrays("offsets", offsets))
    places = places * len(leaves[0]) if len(places) == 1 else places
    wanted = [(shots.n_shots, *x.shape[1:-1]) for x in leaves[0]]
    if [x.shape for x in places] != wanted:
        raise ValueError(f"`offsets` must be those of the records' traces, {wanted}; got {[x.shape for x in places]}")

    def weighed(number: int, k: int) -> Any:
        near = [jnp.asarray(x[shots.shots[number]]) for x in places]
        kept = [((x >= classes[k]) & (x < classes[k + 1]))[..., None] for x in near]
        masked = [jnp.where(mask, x, 0) for mask, x in zip(kept, leaves[number], strict=True)]
        return jax.tree.unflatten(jax.tree.structure(shots.records[number]), masked)

    return _images(shots, classes.size - 1, weighed)


def time_lag_gathers(
    predict: Predict, models: Any, survey: Any, records: Any, lags: Sequence[int], batch: int | None = None
) -> Any:
    """Time-lag gathers: images of records that are delayed, which focus at no lag where the background is right.

    ::

        image(x, k) = L^T d(t - k dt)  =  sum over t of S(x, t) R(x, t - k dt)

    S stands for the source's wavefield and R for the records propagated back. A delay of the records is one of R, since
    the medium does not change in time; so this is exactly the extended image of lag tau = k dt / 2, with S at t + tau
    and R at t - tau, at the cost of one transposed run for each lag.

    Args:
        predict, models, survey, records, batch: As for :func:`migrate`.
        lags: k, in samples of the records, of either sign. What a delay moves over an end of the record is lost.

    Returns:
        Images [lag, *cells]: a pytree like the models.

    Raises:
        TypeError, ValueError: As :func:`migrate`; if there are no lags, or they are no integers.

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> predict = lambda m, survey: survey * m
        >>> survey, records = jnp.array([[[0.0, 1.0, 2.0]]]), jnp.array([[[3.0, 4.0, 5.0]]])
        >>> jaxwave.imaging.time_lag_gathers(predict, jnp.array(0.0), survey, records, [-1, 0, 1]).tolist()
        [5.0, 14.0, 11.0]

    Reference:
        P. Sava and S. Fomel, "Time-shift imaging condition in seismic migration", Geophysics 71 (2006).
    """
    delays = [validate.whole("lags", k, -(2**31)) for k in lags]
    if not delays:
        raise ValueError("`lags` is empty; give the delays in samples, such as range(-20, 21, 2)")
    shots = Batches(predict, models, survey, batch, records)
    return _images(
        shots,
        len(delays),
        lambda number, k: jax.tree.map(lambda x: _delayed(x, delays[k]), shots.records[number]),
    )


def _images(shots: Batches, count: int, records: Callable[[int, int], Any]) -> Any:
    """Images [count, *cells] of ``records(batch, number)``, with one history for all of a batch."""
    total = zeros(shots.models, count)
    for number, part in enumerate(shots.surveys):
        derivative = shots.linearized(part)
        images = [jax.block_until_ready(derivative.pull(records(number, k))) for k in range(count)]
        del derivative
        total = add(total, jax.tree.map(lambda *x: jnp.stack(x), *images))
    return total


def _delayed(x: ArrayLike, k: int) -> jax.Array:
    """x [..., t - k], zero where there was nothing."""
    x = jnp.asarray(x)
    k = max(-x.shape[-1], min(k, x.shape[-1]))
    empty = jnp.zeros((*x.shape[:-1], abs(k)), x.dtype)
    return jnp.concatenate([empty, x[..., : x.shape[-1] - k]] if k >= 0 else [x[..., -k:], empty], axis=-1)
