"""The values of models, and the largest speed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxwave._setup.validate.values import concrete, first_true, positive

RULES = {
    "positive": ("positive", lambda x: np.isfinite(x) & (x > 0)),
    "not negative": ("not negative", lambda x: np.isfinite(x) & (x >= 0)),
    "finite": ("finite", np.isfinite),
}


def speed(
    models: Mapping[str, Any], rules: Mapping[str, str], max_vel: float | None, largest: Callable[[Any, float], float]
) -> tuple[float, float | None]:
    """The maximum speed, ``max_vel`` or what the models need; and what they need, None if their values are not known.

    Args:
        models: Arrays by name.
        rules: For each, what its values must be: a key of ``RULES``; with " where " and another's name, only where
            that is not 0, and not negative there.
        max_vel: What the user gave.
        largest: What models with known values need; if it is less than the second argument it may be anything less.

    Raises:
        ValueError: If a value breaks its rule, if ``max_vel`` is not positive, or if it is missing while a model is
            traced.
    """
    if max_vel is not None:
        max_vel = positive("max_vel", max_vel)
    values = {name: concrete(x) for name, x in models.items()}
    for name, value in values.items():
        if value is not None:
            _check_values(name, value, rules[name], values)
    unknown = [name for name, value in values.items() if value is None]
    if not unknown:
        needed = largest(values, max_vel or 0.0)
        return max_vel or needed, needed
    if max_vel is None:
        raise ValueError(
            f"`max_vel` is required where the values of `{unknown[0]}` are not known (under jit, vmap or scan): "
            "the number of sub-steps and the absorbing layers depend on it. Pass the largest speed that the model "
            "may reach"
        )
    return max_vel, None


def _check_values(name: str, value: np.ndarray, rule: str, values: Mapping[str, np.ndarray | None]) -> None:
    rule, _, other = rule.partition(" where ")
    words, holds = RULES[rule]
    bad = ~holds(value)
    if other:  # is not 0, as far as that is known
        filled = np.asarray(False if values[other] is None else values[other] != 0)
        bad = (bad & filled) | ~RULES["not negative"][1](value)
        words = f"{words}, or 0 where `{other}` is 0"
    if bad.any():
        where, value = first_true(bad), np.broadcast_to(value, bad.shape)
        need = "finite" if words == "finite" else f"finite and {words}"
        raise ValueError(f"`{name}` must be {need}; got {value[where]} at index {where} ({int(bad.sum())} such cells)")
