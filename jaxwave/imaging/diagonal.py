"""How strongly waves reach each cell: the diagonal of Gauss-Newton's matrix, and the source's energy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree

from jaxwave._jax_internals import is_traced
from jaxwave._setup import validate
from jaxwave._setup.call import Callbacks, Grid
from jaxwave._simulation import simulate
from jaxwave.equations.base import Equation
from jaxwave.imaging.batches import Batches, Predict, add, arrays, zeros


def illumination(
    predict: Predict,
    models: Any,
    survey: Any,
    key: jax.Array | None = None,
    samples: int = 4,
    batch: int | None = None,
) -> Any:
    """The illumination of sources and receivers together: the diagonal of L^T L.

    ::

        illumination_i = sum over records (L e_i)^2  =  E[(L^T w)_i^2],        w random signs

    How much the records depend on each cell, for ``illumination`` of :func:`migrate` and :func:`least_squares`.

    With a ``key`` it is estimated by images of random records, whose squares have it for their mean and are never
    negative. A sample is one transposed run, and its relative deviation about the root of 2, in every cell. Smooth the
    estimate (:func:`jaxwave.inversion.gaussian_smooth`) over a wavelength or more. That of
    :func:`jaxwave.optimization.gauss_newton_diagonal`, with random signs of the unknowns, propagates twice, and
    deviates by the other elements of the matrix's row, which are many where waves are longer than cells.

    Without a key it is exact, by one linearised run for each unknown: for small problems.

    Args:
        predict, models, survey, batch: As for :func:`migrate`.
        key: Of ``jax.random``. Default: none, the exact diagonal.
        samples: Of the estimate.

    Returns:
        A pytree like the models; not negative.

    Raises:
        TypeError, ValueError: As :func:`migrate`, and if ``samples`` is not at least 1.

    Example:
        >>> import jax, jax.numpy as jnp, jaxwave
        >>> predict = lambda m, survey: survey @ m
        >>> matrix = jnp.array([[[1.0, 2.0]], [[0.0, 1.0]], [[3.0, 0.0]]])
        >>> jaxwave.imaging.illumination(predict, jnp.zeros(2), matrix).tolist()
        [10.0, 5.0]
        >>> found = jaxwave.imaging.illumination(predict, jnp.zeros(2), matrix, jax.random.key(0), 200)
        >>> bool(jnp.allclose(found, jnp.array([10.0, 5.0]), rtol=0.2))
        True

    Reference:
        Y. Tang, "Target-oriented wave-equation least-squares migration/inversion with phase-encoded Hessian",
        Geophysics 74 (2009).
    """
    samples = validate.whole("samples", samples, 1)
    shots = Batches(predict, models, survey, batch)
    total = zeros(shots.models)
    for number, part in enumerate(shots.surveys):
        one = (
            _diagonal(shots, part) if key is None else _estimate(shots, part, jax.random.fold_in(key, number), samples)
        )
        total = add(total, one)
    return total


def _diagonal(shots: Batches, part: Any) -> Any:
    """The diagonal of a batch, one unit vector after the other."""
    push = shots.linearized(part).push
    flat, unravel = ravel_pytree(shots.models)

    def energy(i: jax.Array) -> jax.Array:
        records = push(unravel(jnp.zeros_like(flat).at[i].set(1)))
        return jnp.sum(jnp.stack([jnp.sum(x**2) for x in jax.tree.leaves(records)]))

    return unravel(lax.map(energy, jnp.arange(flat.size)))


def _estimate(shots: Batches, part: Any, key: jax.Array, samples: int) -> Any:
    """The mean square of a batch's images of random signs."""
    pull = shots.linearized(part).pull
    leaves, structure = jax.tree.flatten(shots.predicted(part))
    total = zeros(shots.models)
    for one in jax.random.split(key, samples):
        keys = jax.random.split(one, len(leaves))
        signs = [jax.random.rademacher(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
        image = pull(jax.tree.unflatten(structure, signs))
        total = add(total, jax.tree.map(lambda x: x**2 / samples, image))
    return total


def source_illumination(
    equation: Equation,
    grid: Grid,
    dt: float,
    *,
    wavefields: tuple[str, ...] | None = None,
    every: int = 1,
    batch: int | None = None,
    **arguments: Any,
) -> np.ndarray:
    """The energy that sources send through each cell, by which an image is divided in the correlation of Claerbout.

    ::

        illumination(x) = sum over shots of the integral over time of u(x, t)^2

    Runs the background once more; a callback adds up on the host, so no history is kept. :func:`illumination` knows the
    receivers too, and the unit of an image.

    Args:
        equation, grid, dt, arguments: As for :func:`jaxwave.simulate`; known values, not traced ones.
        wavefields: Names of the wavefields u whose squares are added, such as ``("vy_0", "vx_0")``. Default: the first
            of the equation.
        every: Time steps from one that is looked at to the next: a few are enough for waves that are well sampled.
        batch: Shots that run together. Default: all.

    Returns:
        Illumination [*cells], of the unit of u squared times seconds.

    Raises:
        TypeError, ValueError: As :func:`jaxwave.simulate`; if there is no such wavefield, there are no ``sources``, or
            values are traced.

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> wavelet = jaxwave.wavelets.ricker(25.0, 100, 1e-3, 0.05).reshape(1, 1, -1)
        >>> found = jaxwave.imaging.source_illumination(
        ...     jaxwave.Scalar(jnp.full((30, 40), 1500.0)), jaxwave.Grid(5.0), 1e-3, sources=(wavelet, [[[2, 20]]])
        ... )
        >>> found.shape, bool(found[4, 20] > found[12, 20] > found[24, 20])
        ((30, 40), True)

    Reference:
        J. F. Claerbout, "Toward a unified theory of reflector mapping", Geophysics 36 (1971).
    """
    validate.instance("equation", equation, Equation, "jaxwave.Scalar(v)")
    every = validate.whole("every", every, 1)
    if any(map(is_traced, jax.tree.leaves(equation))):
        raise TypeError("source_illumination adds up on the host and cannot be traced: call it outside of jit and grad")
    if arguments.get("sources") is None:
        raise ValueError("`sources` are required: without them nothing is illuminated")
    ndim = jnp.ndim(next(x for x in (getattr(equation, name) for name in equation.models) if x is not None))
    ndim = ndim if np.ndim(grid.spacing) == 0 else len(np.atleast_1d(np.asarray(grid.spacing)))
    known = tuple(equation.wavefield_offsets(ndim))
    names = known[:1] if wavefields is None else wavefields
    for name in names:
        if name not in known:
            raise ValueError(f"no wavefield {name!r} in {ndim} dimensions; there are {', '.join(known)}")
    total: list[np.ndarray] = []

    def add_up(state: Any) -> None:
        energy = sum(np.sum(np.square(state.get_wavefield(name)), axis=0) for name in names)
        total[:] = [energy + total[0] if total else energy]

    survey = arrays("sources", {k: arguments.pop(k) for k in ("sources", "receivers") if arguments.get(k) is not None})
    n_shots = len(jax.tree.leaves(survey)[0])
    size = n_shots if batch is None else validate.whole("batch", batch, 1)
    for first in range(0, n_shots, size):
        part = jax.tree.map(lambda x, first=first: x[first : first + size], survey)
        jax.block_until_ready(
            simulate(equation, grid, dt, callbacks=Callbacks(add_up, every=every), **arguments, **part)
        )
    jax.effects_barrier()
    return total[0] * (dt * every)
