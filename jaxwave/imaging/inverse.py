"""Least-squares migration: the perturbation whose Born records are the observed ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxwave._setup import validate
from jaxwave.imaging.batches import Batches, Linearized, Predict, add, balance, zeros


class LeastSquaresImage(NamedTuple):
    """The result of :func:`least_squares`.

    Attributes:
        image: The perturbation of the models: a pytree like them.
        misfits: Half the sum of (L image - d)^2, before the first iteration and after each.
    """

    image: Any
    misfits: list[float]


def least_squares(
    predict: Predict,
    models: Any,
    survey: Any,
    records: Any,
    iterations: int = 10,
    *,
    batch: int | None = None,
    illumination: Any = None,
    level: float = 0.01,
    damping: float = 0.0,
    tolerance: float = 0.0,
    keep: bool = False,
    watch: Callable[[LeastSquaresImage], Any] | None = None,
) -> LeastSquaresImage:
    """Least-squares reverse-time migration by preconditioned conjugate gradients on the normal equations.

    ::

        minimize  |L m - d|^2 / 2,        L = d predict / d models,        m = P y,    P = (illumination)^(-1/2)

    :func:`migrate` gives L^T d, whose amplitudes and sharpness are those of the survey and the wavelet. This gives the
    perturbation m itself, in the models' unit, as far as the data tell. An iteration is one pass over the shots: the
    background (once for all iterations, if there is one batch or ``keep``), then a linearised run L p and its transpose
    L^T L p on the same history. In exact arithmetic the misfit falls in every iteration.

    Args:
        predict, models, survey, records, batch, illumination, level: As for :func:`migrate`; the illumination is the
            preconditioner here, and changes how fast the solution is approached, not which it is.
        iterations: At most.
        damping: Added to the matrix P L^T L P, in units of its largest eigenvalue as the first product shows it.
        tolerance: Residual of the normal equations, over that at the start, at which the iteration ends.
        keep: Keeps the histories of all batches, which saves the runs of the background and takes the memory of all
            shots; with ``storage`` "disk", the disk's.
        watch: Called with a :class:`LeastSquaresImage` after each iteration, to draw or to save.

    Returns:
        A :class:`LeastSquaresImage`.

    Raises:
        TypeError, ValueError: As :func:`migrate`; if ``iterations`` is not at least 1, or ``damping`` or ``tolerance``
            is negative.

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> predict = lambda m, survey: survey @ m  # any function that is linear, or is to be linearised
        >>> matrix = jnp.array([[[1.0, 2.0]], [[0.0, 1.0]], [[3.0, 0.0]]])  # of three shots
        >>> found = jaxwave.imaging.least_squares(predict, jnp.zeros(2), matrix, matrix @ jnp.array([1.0, -1.0]), 2)
        >>> [round(float(x), 4) for x in found.image], found.misfits[-1] < 1e-6 * found.misfits[0]
        ([1.0, -1.0], True)

    Reference:
        G. Nemeth, C. Wu and G. T. Schuster, "Least-squares migration of incomplete reflection data", Geophysics 64
        (1999); W. Dai, P. Fowler and G. T. Schuster, "Multi-source least-squares reverse time migration", Geophysical
        Prospecting 60 (2012).
    """
    iterations, keep = validate.whole("iterations", iterations, 1), validate.flag("keep", keep)
    damping, tolerance = (_not_negative(*x) for x in (("damping", damping), ("tolerance", tolerance)))
    normal = _Normal(Batches(predict, models, survey, batch, records), illumination, level, keep)
    data = normal.shots.records
    r = normal.migrated(data)
    x, p, square = normal.zeros(), r, _inner(r, r)
    start, shift, misfits = square, 0.0, [sum(float(_inner(d, d)) for d in data) / 2]
    for number in range(iterations):
        if not float(square) > 0:
            break
        pushed, along, curvature = normal.product(p)
        if number == 0:
            shift = damping * float(curvature / square)
        along, curvature = _plus(along, shift, p), curvature + shift * _inner(p, p)
        if not float(curvature) > 0:
            break
        length = square / curvature
        x, r = _plus(x, length, p), _plus(r, -length, along)
        data = [_plus(d, -length, q) for d, q in zip(data, pushed, strict=True)]
        misfits.append(sum(float(_inner(d, d)) for d in data) / 2)
        before, square = square, _inner(r, r)
        p = _plus(r, square / before, p)
        if watch is not None:
            watch(LeastSquaresImage(normal.scaled(x), list(misfits)))
        if float(square / start) ** 0.5 <= tolerance:
            break
    return LeastSquaresImage(normal.scaled(x), misfits)


class _Normal:
    """The preconditioned normal equations, batch by batch."""

    def __init__(self, shots: Batches, illumination: Any, level: float, keep: bool) -> None:
        self.shots = shots
        self.kept: dict[int, Linearized] | None = {} if keep or len(shots.surveys) == 1 else None
        weights = None if illumination is None else balance(shots.models, illumination, level)
        self.scale = None if weights is None else jax.tree.map(lambda w: w**-0.5, weights)

    def zeros(self) -> Any:
        return zeros(self.shots.models)

    def scaled(self, x: Any) -> Any:
        """P x."""
        return x if self.scale is None else jax.tree.map(jnp.multiply, self.scale, x)

    def linearized(self, number: int) -> Linearized:
        """The derivative of a batch, made anew unless it is kept."""
        if self.kept is None:
            return self.shots.linearized(self.shots.surveys[number])
        if number not in self.kept:
            self.kept[number] = self.shots.linearized(self.shots.surveys[number])
        return self.kept[number]

    def migrated(self, records: list[Any]) -> Any:
        """P L^T d."""
        image = self.zeros()
        for number, data in enumerate(records):
            image = add(image, self.linearized(number).pull(data))
        return self.scaled(image)

    def product(self, p: Any) -> tuple[list[Any], Any, jax.Array]:
        """L P p by batches, P L^T L P p, and the square of the first."""
        perturbation, image, pushed = self.scaled(p), self.zeros(), []
        for number in range(len(self.shots.surveys)):
            derivative = self.linearized(number)
            pushed.append(derivative.push(perturbation))
            image = add(image, derivative.pull(pushed[-1]))
            del derivative  # its history, before the next one is made
        return pushed, self.scaled(image), sum((_inner(q, q) for q in pushed[1:]), _inner(pushed[0], pushed[0]))


def _plus(a: Any, factor: Any, b: Any) -> Any:
    """a + factor b."""
    return jax.tree.map(lambda x, y: x + jnp.asarray(factor, x.dtype) * y, a, b)


def _inner(a: Any, b: Any) -> jax.Array:
    first, *others = [jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)]
    return sum(others, first)


def _not_negative(name: str, x: float) -> float:
    x = validate.number(name, x)
    if not x >= 0:
        raise ValueError(f"`{name}` must not be negative; got {x:g}")
    return x
