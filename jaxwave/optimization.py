"""What steps of an inversion are made of: transformations of gradients for optax, penalties, bounds, Newton steps.

The transformations are optax's (``optax.GradientTransformation``) and are chained with its own. They act on every array
of the updates alike; ``optax.multi_transform`` has others for other arrays::

    optimizer = optax.chain(
        jaxwave.optimization.smoothed(60.0, grid_spacing=10.0),
        jaxwave.optimization.divided_by(illumination),
        optax.adam(20.0),
        jaxwave.optimization.kept_within(1400.0, 4500.0),
    )
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxwave._setup import validate
from jaxwave.inversion import gaussian_smooth

__all__ = [
    "Between", "NewtonStep", "divided_by", "gauss_newton_diagonal", "gauss_newton_step", "kept_within",
    "largest_change", "masked", "smoothed", "tikhonov", "total_variation",
]  # fmt: skip


# ---- transformations of updates ----


def masked(mask: ArrayLike) -> optax.GradientTransformation:
    """Multiplies updates by a mask: 0 where nothing is to change (water, cells around the sources), up to 1 elsewhere.

    Last in a chain, so that momentum or scaling do not bring back what it has removed.

    Args:
        mask: Broadcast to every array.
    """
    return optax.stateless(lambda updates, _: jax.tree.map(lambda g: g * jnp.broadcast_to(mask, g.shape), updates))


def smoothed(
    sigma: float | Sequence[float], grid_spacing: float | Sequence[float] = 1.0
) -> optax.GradientTransformation:
    """Smooths updates with a Gaussian: see :func:`jaxwave.inversion.gaussian_smooth`.

    Args:
        sigma: Standard deviation (m), one number or one per axis.
        grid_spacing: Cell size (m), one number or one per axis. Default 1: ``sigma`` is in cells.
    """
    return optax.stateless(lambda updates, _: jax.tree.map(lambda g: gaussian_smooth(g, sigma, grid_spacing), updates))


def divided_by(weights: ArrayLike, level: float = 0.01) -> optax.GradientTransformation:
    """Divides updates by weights, such as the illumination or the diagonal of a Hessian: cells far from sources and
    receivers then change as much as those near them.

    Args:
        weights: Not negative, broadcast to every array.
        level: Fraction of their largest value that is added to them.

    Raises:
        ValueError: If ``level`` is not positive.
    """
    level = validate.positive("level", level)
    w = jnp.asarray(weights)
    w = w + level * w.max()
    return optax.stateless(lambda updates, _: jax.tree.map(lambda g: g / jnp.broadcast_to(w, g.shape), updates))


def largest_change(change: float) -> optax.GradientTransformation:
    """Scales updates such that the largest one has this size: a step in the model's own unit, whatever the misfit's.

    Args:
        change: In the unit of the unknowns, such as 20 m/s.

    Example:
        >>> import jax.numpy as jnp, jaxwave, optax
        >>> optimizer = optax.chain(jaxwave.optimization.largest_change(20.0), optax.scale(-1.0))
        >>> update, _ = optimizer.update(jnp.array([1e-8, -4e-8]), optimizer.init(jnp.zeros(2)))
        >>> update.tolist()
        [-5.0, 20.0]
    """
    change = validate.positive("change", change)

    def scaled(updates: Any, _: Any) -> Any:
        largest = jnp.max(jnp.stack([jnp.abs(g).max() for g in jax.tree.leaves(updates)]))
        return jax.tree.map(lambda g: g * (change / jnp.where(largest > 0, largest, 1)), updates)

    return optax.stateless(scaled)


def kept_within(low: ArrayLike, high: ArrayLike) -> optax.GradientTransformation:
    """Cuts updates such that the unknowns stay within bounds. Last in a chain; ``update`` must be given the unknowns.

    Args:
        low, high: The bounds, broadcast to every array.

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> bounded = jaxwave.optimization.kept_within(1500.0, 4000.0)
        >>> v = jnp.array([1510.0, 2000.0])
        >>> update, _ = bounded.update(jnp.array([-50.0, 30.0]), bounded.init(v), v)
        >>> update.tolist()
        [-10.0, 30.0]
    """

    def cut(updates: Any, unknowns: Any) -> Any:
        if unknowns is None:
            raise ValueError("kept_within needs the unknowns: call `optimizer.update(gradient, state, unknowns)`")
        return jax.tree.map(
            lambda g, x: jnp.clip(x + g, jnp.broadcast_to(low, x.shape), jnp.broadcast_to(high, x.shape)) - x,
            updates, unknowns,
        )  # fmt: skip

    return optax.stateless(cut)


# ---- penalties ----


def tikhonov(model: ArrayLike, grid_spacing: float | Sequence[float] = 1.0, reference: ArrayLike = 0.0) -> jax.Array:
    """Half the mean square of the gradient of a model less a reference: it is small for smooth models.

    Args:
        model: [*cells].
        grid_spacing: Cell size (m), one number or one per axis.
        reference: What to be like, broadcast to the model.
    """
    (x,) = validate.real_arrays(model=model)
    x = x - jnp.broadcast_to(jnp.asarray(reference, x.dtype), x.shape)
    return sum(jnp.sum((d / h) ** 2) for d, h in _differences(x, grid_spacing)) / (2 * x.size)


def total_variation(
    model: ArrayLike, grid_spacing: float | Sequence[float] = 1.0, smoothing: float = 1e-3
) -> jax.Array:
    """The mean size of the gradient of a model: it is small for models of few, sharp contrasts.

    Args:
        model: [*cells].
        grid_spacing: Cell size (m), one number or one per axis.
        smoothing: What is added to the gradient's square, squared, in its unit: makes it differentiable at 0.

    Reference:
        L. I. Rudin, S. Osher and E. Fatemi, "Nonlinear total variation based noise removal algorithms", Physica D 60
        (1992).
    """
    (x,) = validate.real_arrays(model=model)
    smoothing = validate.positive("smoothing", smoothing)
    square = jnp.full(x.shape, smoothing**2, x.dtype)
    for d, h in _differences(x, grid_spacing):
        square = square.at[tuple(slice(n) for n in d.shape)].add((d / h) ** 2)
    return jnp.mean(jnp.sqrt(square) - smoothing)


def _differences(x: jax.Array, grid_spacing: float | Sequence[float]) -> list[tuple[jax.Array, float]]:
    """Differences of neighbours along each axis, and their distances."""
    spacing = validate.spacing("grid_spacing", grid_spacing, x.ndim)
    return [(jnp.diff(x, axis=axis), h) for axis, h in enumerate(spacing)]


# ---- other unknowns ----


class Between(NamedTuple):
    """A model between bounds as a function of an unknown without any: low + (high - low) sigmoid(u).

    Attributes:
        low, high: The bounds.

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> speeds = jaxwave.optimization.Between(1400.0, 5000.0)
        >>> u = speeds.unknown(jnp.array([1500.0, 3000.0]))
        >>> [round(float(v)) for v in speeds.model(u)], round(float(speeds.model(jnp.array(50.0))))
        ([1500, 3000], 5000)
    """

    low: float
    high: float

    def model(self, unknown: ArrayLike) -> jax.Array:
        """The model."""
        return self.low + (self.high - self.low) * jax.nn.sigmoid(jnp.asarray(unknown))

    def unknown(self, model: ArrayLike) -> jax.Array:
        """The unknown of a model that is between the bounds; where it is not, of one that is just between them."""
        share = jnp.clip((jnp.asarray(model) - self.low) / (self.high - self.low), 1e-4, 1 - 1e-4)
        return jnp.log(share) - jnp.log1p(-share)


# ---- Newton steps ----


class NewtonStep(NamedTuple):
    """A step of Gauss-Newton.

    Attributes:
        update: What to add to the unknowns.
        value: The misfit before it.
        residuals: Of the normal equations, over that at the start, after each iteration of conjugate gradients.
    """

    update: Any
    value: jax.Array
    residuals: list[float]


def gauss_newton_step(
    predict: Callable[[Any], Any],
    misfit: Callable[[Any], jax.Array],
    unknowns: Any,
    iterations: int = 10,
    tolerance: float = 0.1,
    damping: float = 0.0,
) -> NewtonStep:
    """A truncated Gauss-Newton step: conjugate gradients on (J^T H J + damping) x = -g, with one history for all.

    J is the derivative of the prediction, which is linearised once, so that all products with J and its transpose read
    one history, under every storage policy. H is the Hessian of the misfit with respect to the records, which must not
    be negative (``jaxwave.misfits.l2``, ``huber`` near the data, ``wasserstein``); where a product says that it is, the
    iteration ends.

    Args:
        predict: From the unknowns (a pytree) to the records.
        misfit: From the records to a number.
        unknowns: Where the step begins.
        iterations: Of conjugate gradients at most; each propagates twice.
        tolerance: Residual of the normal equations, over that at the start, at which they end.
        damping: Added to the matrix, in units of its largest eigenvalue as the first product shows it.

    Returns:
        A :class:`NewtonStep`. For a misfit that is quadratic in the unknowns its update leads to the minimum.

    Reference:
        L. Metivier, R. Brossier, J. Virieux and S. Operto, "Full waveform inversion and the truncated Newton method",
        SIAM Journal on Scientific Computing 35 (2013).
    """
    iterations = validate.whole("iterations", iterations, 1)
    records, push = jax.linearize(predict, unknowns)
    pull = jax.linear_transpose(push, unknowns)
    value, dy = jax.value_and_grad(misfit)(records)

    def product(x: Any) -> Any:
        return pull(jax.jvp(jax.grad(misfit), (records,), (push(x),))[1])[0]

    r = jax.tree.map(jnp.negative, pull(dy)[0])
    x, p, square = jax.tree.map(jnp.zeros_like, r), r, _inner(r, r)
    start, residuals, shift = square, [], 0.0
    for number in range(iterations):
        if not float(square) > 0:
            break
        along = product(p)
        if number == 0:
            shift = damping * float(_inner(p, along) / square)
        along = _plus(along, shift, p)
        curvature = _inner(p, along)
        if not float(curvature) > 0:
            x = r if number == 0 else x  # steepest descent, or what there is
            break
        length = square / curvature
        x, r = _plus(x, length, p), _plus(r, -length, along)
        before, square = square, _inner(r, r)
        p = _plus(r, square / before, p)
        residuals.append(float((square / start) ** 0.5))
        if residuals[-1] <= tolerance:
            break
    return NewtonStep(x, value, residuals)


def gauss_newton_diagonal(predict: Callable[[Any], Any], unknowns: Any, key: jax.Array, samples: int = 8) -> Any:
    """An estimate of the diagonal of J^T J, how much records depend on each unknown: for :func:`divided_by`.

    The mean of z (J^T J z) over vectors z of random signs, whose expectation it is. J is linearised once, at one
    history. The estimate is noisy: smooth it. Negative values, which the diagonal has not, are set to 0.

    Args:
        predict: From the unknowns (a pytree) to the records.
        unknowns: Where J is taken.
        key: Of ``jax.random``.
        samples: Vectors; each propagates twice.

    Returns:
        A pytree like the unknowns.

    Reference:
        C. Bekas, E. Kokiopoulou and Y. Saad, "An estimator for the diagonal of a matrix", Applied Numerical Mathematics
        57 (2007).
    """
    samples = validate.whole("samples", samples, 1)
    _, push = jax.linearize(predict, unknowns)
    pull = jax.linear_transpose(push, unknowns)
    leaves, structure = jax.tree.flatten(unknowns)
    total = jax.tree.map(jnp.zeros_like, unknowns)
    for one in jax.random.split(key, samples):
        signs = [jax.random.rademacher(k, x.shape, x.dtype) for k, x in
                 zip(jax.random.split(one, len(leaves)), map(jnp.asarray, leaves), strict=True)]  # fmt: skip
        z = jax.tree.unflatten(structure, signs)
        total = jax.tree.map(lambda t, a, b: t + a * b / samples, total, z, pull(push(z))[0])
    return jax.tree.map(lambda x: jnp.maximum(x, 0), total)


def _plus(a: Any, factor: Any, b: Any) -> Any:
    """a + factor b."""
    return jax.tree.map(lambda x, y: x + factor * y, a, b)


def _inner(a: Any, b: Any) -> jax.Array:
    return sum((jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)), jnp.zeros(()))
