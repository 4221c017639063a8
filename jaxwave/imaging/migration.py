"""Reverse-time migration, and the records that it is to be given."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxwave.imaging.batches import Batches, Predict, add, balance, zeros


def migrate(
    predict: Predict,
    models: Any,
    survey: Any,
    records: Any,
    batch: int | None = None,
    illumination: Any = None,
    level: float = 0.01,
) -> Any:
    """The image of reverse-time migration: the transpose of Born modelling, applied to records.

    ::

        image = L^T d,        L = d predict / d models at the background

    For each shot it correlates the source's wavefield with the records, propagated back in time. It is the derivative
    of the discrete scheme, so <L dm, d> = <dm, image> to rounding, for any equation and in every storage mode. With
    ``illumination`` the image is divided by it, so that depth and geometry weigh less.

    Args:
        predict: ``predict(models, survey)``, which returns records: an array [shot, receiver, nt] or a pytree of them.
            It is differentiated, so it must say ``max_vel``.
        models: The background: a pytree, such as the smooth speed [*cells] in m/s.
        survey: Arrays [shot, ...] or a pytree of them, such as amplitudes and locations.
        records: d, like what ``predict`` returns: the scattered field, without the direct wave (:func:`scattered`,
            :func:`top_mute`).
        batch: Shots in a batch: one history is kept at a time. Default: all. Batches of one size are compiled once.
        illumination: Like the models, or one array for all of them: of :func:`illumination` or
            :func:`source_illumination`. Default: none.
        level: Fraction of its largest value that is added to it.

    Returns:
        The image: a pytree like the models, in the unit of records squared over models if the records are predicted.

    Raises:
        TypeError, ValueError: If the survey's arrays have not all as many shots, records are not like the prediction's,
            ``batch`` is not at least 1, or ``illumination`` has not the models' shapes.

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> def predict(v, survey):
        ...     return jaxwave.scalar(v, 5.0, 1e-3, **survey, max_vel=1700.0, pml_freq=25.0).receiver_amplitudes
        >>> survey = dict(
        ...     source_amplitudes=jnp.tile(jaxwave.wavelets.ricker(25.0, 250, 1e-3, 0.05), (2, 1, 1)),
        ...     source_locations=[[[2, 10]], [[2, 30]]], receiver_locations=[[[2, x] for x in range(40)]] * 2,
        ... )
        >>> smooth = jnp.full((30, 40), 1500.0)
        >>> observed = predict(smooth.at[20:].set(1600.0), survey)
        >>> scattered = jaxwave.imaging.scattered(predict, smooth, survey, observed)
        >>> image = jaxwave.imaging.migrate(predict, smooth, survey, scattered, batch=1)
        >>> image.shape, abs(int(jnp.argmax(image[10:].sum(1))) + 10 - 20) < 2  # the reflector's depth
        ((30, 40), True)

    Reference:
        E. Baysal, D. D. Kosloff and J. W. C. Sherwood, "Reverse time migration", Geophysics 48 (1983); A. Tarantola,
        "Inversion of seismic reflection data in the acoustic approximation", Geophysics 49 (1984).
    """
    shots = Batches(predict, models, survey, batch, records)
    weights = None if illumination is None else balance(shots.models, illumination, level)
    image = zeros(shots.models)
    for part, data in zip(shots.surveys, shots.records, strict=True):
        image = add(image, shots.linearized(part).pull(data))
    return image if weights is None else jax.tree.map(jnp.divide, image, weights)


def scattered(predict: Predict, models: Any, survey: Any, records: Any, batch: int | None = None) -> Any:
    """What the background does not explain of records: ``records - predict(models, survey)``.

    Where the background is smooth, that removes the direct wave and leaves reflections, for :func:`migrate`.

    Args:
        predict, models, survey, records, batch: As for :func:`migrate`.

    Returns:
        A pytree like the records.

    Raises:
        TypeError, ValueError: As :func:`migrate`.

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> predict = lambda v, survey: v.sum() * survey
        >>> jaxwave.imaging.scattered(predict, jnp.ones(3), jnp.ones((2, 1)), jnp.full((2, 1), 5.0)).tolist()
        [[2.0], [2.0]]
    """
    shots = Batches(predict, models, survey, batch, records)
    found = [
        jax.block_until_ready(jax.tree.map(jnp.subtract, data, predict(shots.models, part)))
        for part, data in zip(shots.surveys, shots.records, strict=True)
    ]
    return jax.tree.map(lambda *x: jnp.concatenate(x), *found)
