"""Where the parts of a scheme are on a grid: the operators of its derivatives, stage by stage."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import jax

from jaxwave.equations import staggered
from jaxwave.equations.scheme import Scheme
from jaxwave.equations.staggered import Operator, Sum

if TYPE_CHECKING:
    from jaxwave.equations.leapfrog import LeapfrogEquation


class Key(NamedTuple):
    """A derivative in a term."""

    term: str
    axis: int
    field: str


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """Where the parts of a scheme are on a grid.

    Attributes:
        scheme: The scheme.
        coefficients, terms: Their numbers by name.
        stages: The derivatives in each stage.
        derivatives: Their operators.
    """

    scheme: Scheme
    coefficients: Mapping[str, int]
    terms: Mapping[str, int]
    stages: tuple[tuple[Key, ...], ...]
    derivatives: Mapping[Key, Operator]

    @functools.cached_property
    def cut(self) -> list[tuple[int, str]]:
        """Which fields are differentiated along axes that are cut, and along which: there they need halos."""
        read = [(key.axis, key.field) for key in self.derivatives]
        read += [(axis, f) for term in self.scheme.receivers.values() for axis, f in term.parts if axis is not None]
        grid = next(iter(self.derivatives.values())).grid
        return [(axis, field) for axis, field in dict.fromkeys(read) if grid.cut(axis)]

    def of_term(self, term: str) -> list[Key]:
        return [Key(term, axis, field) for axis, field in self.scheme.derivatives(term)]

    def operators(self, keys: Iterable[Key]) -> tuple[Operator, ...]:
        return tuple(self.derivatives[key] for key in keys)

    def sum_of(self, term: str) -> Sum:
        return Sum(self.operators(self.of_term(term)))

    @property
    def own(self) -> list[str]:
        """Terms with parts of their own."""
        return [term for term in self.scheme.terms if self.scheme.own(term)]


@functools.lru_cache(maxsize=64)
def layout(equation: LeapfrogEquation) -> Layout:
    """The layout of an equation's scheme on its grid."""
    grid = equation.grid
    scheme = scheme_of(equation, grid.ndim)
    stages, derivatives = [], {}
    for number in range(len(scheme.stages)):
        keys = [Key(g, *part) for g in scheme.of_stage(number) for part in scheme.derivatives(g)]
        for key in keys:
            at = staggered.unit(grid.ndim, *scheme.offset(scheme.terms[key.term]))
            derivatives[key] = equation.derivative(key.axis, key.field, at)
        stages.append(tuple(keys))
    numbers = ({name: i for i, name in enumerate(names)} for names in (scheme.coefficients, scheme.terms))
    return Layout(scheme, *numbers, tuple(stages), derivatives)


def scheme_of(equation: LeapfrogEquation, ndim: int) -> Scheme:
    """An equation's scheme in so many dimensions, made once."""
    return _scheme(equation.on(None), ndim)


@functools.lru_cache(maxsize=64)
def _scheme(equation: LeapfrogEquation, ndim: int) -> Scheme:
    return equation.scheme(ndim)


def total_of(parts: Iterable[jax.Array]) -> jax.Array:
    """The sum of arrays, without a zero to begin with: their bits are those of the sum written out."""
    first, *others = parts
    return sum(others, first)


def times(weight: float, x: jax.Array) -> jax.Array:
    """weight x; of a weight of 1 or -1 without a product."""
    return x if weight == 1 else -x if weight == -1 else weight * x


def sum_to(gradient: jax.Array, c: jax.Array) -> jax.Array:
    """A gradient [shot, *padded] summed over what shares the coefficient c."""
    axes = tuple(a for a, (n, k) in enumerate(zip(gradient.shape, c.shape, strict=True)) if k == 1 < n)
    return gradient.sum(axes, keepdims=True) if axes else gradient
