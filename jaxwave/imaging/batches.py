"""A survey in batches of shots, and the derivative of the prediction of one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxwave._setup import validate

Predict = Callable[[Any, Any], Any]
"""From models and a survey to records."""


class Linearized(NamedTuple):
    """The derivative L of a prediction at the background, which holds the history of one batch.

    Attributes:
        push: L: from perturbations of the models to records.
        pull: Its transpose: from records to an image.
    """

    push: Callable[[Any], Any]
    pull: Callable[[Any], Any]


class Batches:
    """A checked survey, cut into batches.

    Args:
        predict: The prediction.
        models: The background.
        survey: Pytree of arrays [shot, ...].
        batch: Shots in a batch; None for all.
        records: Pytree of arrays [shot, ...] that is to be like the prediction's; None if there is none.

    Attributes:
        models: The background, as arrays.
        surveys: The survey of each batch.
        records: The records of each batch, in the prediction's dtype.
        shots: The numbers of each batch's shots, as slices.
    """

    def __init__(self, predict: Predict, models: Any, survey: Any, batch: int | None, records: Any = None) -> None:
        if not callable(predict):
            raise TypeError(
                f"`predict` must be a function of models and a survey that returns records; got {predict!r}"
            )
        self.predict, self.models = predict, jax.tree.map(jnp.asarray, models)
        survey = arrays("survey", survey)
        self.n_shots = len(jax.tree.leaves(survey)[0])
        size = self.n_shots if batch is None else validate.whole("batch", batch, 1)
        self.shots = [slice(a, min(a + size, self.n_shots)) for a in range(0, self.n_shots, size)]
        self.surveys = self.cut(survey)
        self.records: list[Any] = [None] * len(self.shots)
        if records is not None:
            self.records = self.cut(self._alike(records))

    def cut(self, tree: Any) -> list[Any]:
        """Arrays [shot, ...] of each batch."""
        return [jax.tree.map(lambda x, part=part: x[part], tree) for part in self.shots]

    def linearized(self, survey: Any) -> Linearized:
        """The derivative of a batch: runs the background. The history is freed with what is returned."""
        _, push = jax.linearize(lambda models: self.predict(models, survey), self.models)
        pull = jax.linear_transpose(push, self.models)
        return Linearized(push, lambda records: pull(records)[0])

    def predicted(self, survey: Any) -> Any:
        """Shapes and dtypes of the records of a batch."""
        return jax.eval_shape(lambda: self.predict(self.models, survey))

    def _alike(self, records: Any) -> Any:
        """Records of all shots, if they are like those that are predicted, in their dtype."""
        records, like = arrays("records", records), self.predicted(self.surveys[0])
        found, wanted = (jax.tree.map(lambda _: "*", x) for x in (records, like))
        if found != wanted:
            raise ValueError(f"`records` must be like what `predict` returns, {wanted}; got {found}")
        for given, one in zip(jax.tree.leaves(records), jax.tree.leaves(like), strict=True):
            shape = (self.n_shots, *one.shape[1:])
            if given.shape != shape:
                raise ValueError(f"`records` must have the shape of what `predict` returns, {shape}; got {given.shape}")
        return jax.tree.map(lambda x, one: jnp.asarray(x, one.dtype), records, like)


def arrays(name: str, tree: Any) -> Any:
    """A pytree of arrays [shot, ...] of as many shots; nested lists become arrays."""
    tree = jax.tree.map(lambda x: np.asarray(x) if isinstance(x, list) else x, tree, is_leaf=_is_list)
    shapes = [jnp.shape(x) for x in jax.tree.leaves(tree)]
    if not shapes or len({shape[:1] for shape in shapes}) != 1 or shapes[0][:1] in ((), (0,)):
        raise ValueError(
            f"`{name}` must be an array [shot, ...] or a pytree of them, of one number of shots; got shapes {shapes}"
        )
    return tree


def balance(models: Any, illumination: Any, level: float) -> Any:
    """For each model what an image is divided by: the illumination, and a fraction of its largest value."""
    level = validate.positive("level", level)
    leaves, structure = jax.tree.flatten(models)
    given: list[Any] = jax.tree.leaves(illumination)
    if len(given) == 1:
        given = given * len(leaves)
    shapes = [jnp.shape(x) for x in given], [x.shape for x in leaves]
    if shapes[0] != shapes[1]:
        raise ValueError(f"`illumination` must have the shapes of the models, {shapes[1]}; got {shapes[0]}")
    weights = [jnp.asarray(w, x.dtype) for w, x in zip(given, leaves, strict=True)]
    return jax.tree.unflatten(structure, [w + level * jnp.where(w.max() > 0, w.max(), 1) for w in weights])


def add(a: Any, b: Any) -> Any:
    """The sum of two trees, when it is there: the next batch waits, so that there is one history at a time."""
    return jax.block_until_ready(jax.tree.map(jnp.add, a, b))


def zeros(models: Any, *lead: int) -> Any:
    """An image [*lead, *cells] of nothing."""
    return jax.tree.map(lambda x: jnp.zeros((*lead, *x.shape), x.dtype), models)


def _is_list(x: Any) -> bool:
    return isinstance(x, list)
