"""The largest stable time step of any scheme of two stages: a bound that holds for every medium.

As :mod:`jaxwave.equations.stability` has it for the acoustic and the elastic equation, tile by tile: the square of the
largest frequency is at most the largest eigenvalue of M, the product of the two stages with all signs positive, and for
every positive vector x at most the largest of (M x)_i / x_i (Collatz, 1942; Wielandt, 1950). Here M follows from the
scheme, and all cells are worked on at once.

What is left out makes no wave faster: layers, which damp, and terms that are fields as they are, which decay.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np

from jaxwave._numerics import boundary
from jaxwave._numerics.along_axis import AlongAxis, table
from jaxwave._numerics.boundary import PaddedGrid
from jaxwave._numerics.derivative import Derivative
from jaxwave.equations import stability, staggered
from jaxwave.equations.scheme import Scheme

if TYPE_CHECKING:
    from jaxwave.equations.leapfrog import LeapfrogEquation

Fields = dict[str, np.ndarray]


def largest_speed(
    equation: LeapfrogEquation, values: Mapping[str, np.ndarray], spacing: Sequence[float], accuracy: int,
    kinds: Sequence[str | None] | None, enough: float,
) -> float:  # fmt: skip
    """The speed that the time step must be made for: see :meth:`Equation.largest_speed`.

    Raises:
        ValueError: If it does not follow from the scheme, and no speed is given.
    """
    ndim, fastest = len(spacing), equation.fastest(values)
    stages = _order(equation.scheme(ndim))
    if stages is None and enough > 0:
        return fastest  # nothing better is known than what was given
    if stages is None:
        raise ValueError(
            f"the largest stable time step of {type(equation).__name__} does not follow from its scheme, which must "
            "have two stages that differentiate nothing they update; give `max_vel`, or write `largest_speed`"
        )
    of_one, share = stability.of_homogeneous(spacing, accuracy)
    needed, enough = (of_one * (speed / share) ** 2 / (1 + stability.ROUNDING) for speed in (fastest, enough))
    models = {name: x if x.ndim > ndim else x[None] for name, x in values.items()}
    found = needed
    for shot in range(max(x.shape[0] for x in models.values())):
        one = {name: x[shot % len(x)] for name, x in models.items()}
        found = max(found, _bound(equation, one, tuple(spacing), accuracy, kinds, stages, needed, max(enough, found)))
    return fastest if found <= needed else stability.speed_of(found, of_one, share)


def _bound(
    equation: LeapfrogEquation, models: Fields, spacing: tuple[float, ...], accuracy: int,
    kinds: Sequence[str | None] | None, stages: tuple[int, int], needed: float, enough: float,
) -> float:  # fmt: skip
    """An upper bound of the largest eigenvalue of M, or ``needed`` if that is one."""
    kinds = tuple(kinds or ("pml",) * 2 * len(spacing))
    beyond = tuple(accuracy if kind == "pml" else 0 for kind in kinds)  # cells that continue the medium
    models = {name: np.pad(x, boundary.pairs(beyond), mode="edge")[None] for name, x in models.items()}
    shape = next(iter(models.values())).shape[1:]
    plain = tuple(None if kind == "pml" else kind for kind in kinds)
    discrete = equation.on(PaddedGrid(shape, spacing, accuracy, (0,) * len(kinds), plain))
    scheme = discrete.scheme(len(spacing))
    with jax.ensure_compile_time_eval():
        m = [np.abs(np.asarray(c[0])) for c in _coefficients(discrete, models)]
    coefficients = {c: np.broadcast_to(x, discrete.grid.padded) for c, x in zip(scheme.coefficients, m, strict=True)}
    x = {f: np.sqrt(sum(_value(coefficients, c) for c, g in scheme.stages[stages[-1]][f] if scheme.all_derivatives(g)))
         for f in scheme.stages[stages[-1]]}  # fmt: skip
    bounds: list[float] = []
    while len(bounds) < stability.STEPS:
        y = x
        for stage in stages:
            y = _product(discrete, scheme, coefficients, stage, y)
        bounds.append(max(float(stability.ratio(y[f], x[f]).max()) for f in x))
        if bounds[-1] <= max(needed, enough) or (len(bounds) > 4 and bounds[-1] > stability.GAIN * bounds[-5]):
            break
        limit = np.float32(max(needed, bounds[-1] / 2))  # x grows by a factor of two at most
        x = {f: np.maximum(x[f], y[f] / limit) for f in x}
    return max(min(bounds), needed)


@functools.partial(jax.jit, static_argnums=0)
def _coefficients(equation: LeapfrogEquation, models: Fields) -> tuple[jax.Array, ...]:
    return tuple(c.astype(np.float32) for c in equation.coefficients(models, 1.0))


def _order(scheme: Scheme) -> tuple[int, int] | None:
    """The two stages, that which updates fewer fields last: x are its fields. None if M is not their product."""
    for stage in scheme.stages:
        read = {field for update in stage.values() for _, g in update for _, field in scheme.all_derivatives(g)}
        if len(scheme.stages) != 2 or read & set(stage):
            return None
    return (0, 1) if len(scheme.stages[1]) <= len(scheme.stages[0]) else (1, 0)


def _product(equation: LeapfrogEquation, scheme: Scheme, coefficients: Fields, stage: int, x: Fields) -> Fields:
    """What a stage adds to its fields, with all signs positive."""
    terms: Fields = {}

    def term(g: str) -> np.ndarray:
        if g not in terms:
            parts = [term(part) for part in scheme.terms[g].of]
            at = scheme.offset(scheme.terms[g])
            for axis, field in scheme.derivatives(g):
                d = Derivative(equation.grid, axis, axis in at, equation.closures_of(axis, field))
                means = equation.means(axis, field, staggered.unit(equation.grid.ndim, *at))
                parts.append(functools.reduce(lambda y, along: _absolute(along, y), (*means, d), x[field]))
            terms[g] = np.float32(abs(scheme.terms[g].weight)) * sum(parts[1:], parts[0])
        return terms[g]

    return {
        field: sum(_value(coefficients, c) * term(g) for c, g in update if scheme.all_derivatives(g))
        for field, update in scheme.stages[stage].items()
    }


def _value(coefficients: Fields, c: str | float) -> np.ndarray | np.float32:
    return coefficients[c] if isinstance(c, str) else np.float32(abs(c))


def _absolute(d: AlongAxis, x: np.ndarray) -> np.ndarray:
    """|D| x."""
    columns, weights = table(d)
    shape = [-1 if axis == d.axis else 1 for axis in range(x.ndim)]
    found = np.zeros_like(x)
    for column, weight in zip(columns.T, np.abs(weights.T).astype(x.dtype), strict=True):
        if weight.any():
            found += weight.reshape(shape) * x.take(column, d.axis)
    return found
