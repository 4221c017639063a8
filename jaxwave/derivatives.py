"""Born modelling, and the products of an inversion's second derivatives: a few lines of JAX each, as functions.

They work with every storage mode and codec, with sub-steps, and under ``jit`` and ``vmap``, because the propagators'
own derivatives do (:mod:`jaxwave.rules`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.typing import ArrayLike

from jaxwave import validate
from jaxwave.equations.scalar import Scalar
from jaxwave.propagators import scalar
from jaxwave.results import ScalarResult, WaveState


class BornResult(NamedTuple):
    """Result of :func:`scalar_born`: a pytree, with the scattered record last.

    Attributes:
        background: Result of the run in the unperturbed model.
        scattered: Final state of the scattered field.
        receiver_amplitudes: Record of the scattered field [shot, receiver, nt].
    """

    background: ScalarResult
    scattered: WaveState
    receiver_amplitudes: jax.Array


def scalar_born(v: ArrayLike, dv: ArrayLike, grid_spacing: Any, dt: float, **arguments: Any) -> BornResult:
    """Background and scattered field of a model ``v`` with a perturbation ``dv``, to first order: Born modelling.

    ::

        laplacian(u) - u_tt / v^2 = f,        laplacian(w) - w_tt / v^2 = -2 dv u_tt / v^3

    ``w`` is the derivative of ``u`` along ``dv``, exactly that of the discrete scheme: layers, sub-steps and resampling
    included. It is linear in ``dv``, and its reverse-mode derivative with respect to ``dv`` is migration.

    Costs the background run, which stores its history as ``storage_mode`` says (4 bytes a cell and step), and a run of
    the scattered field, which reads it. For many perturbations of one model use ``jax.linearize`` of
    :func:`jaxwave.scalar`, which propagates the background once.

    Args:
        v: Speed [*cells] or [shot, *cells], in m/s.
        dv: Its perturbation, of the same shape and dtype, in m/s.
        grid_spacing, dt, arguments: As for :func:`jaxwave.scalar`.

    Returns:
        A :class:`BornResult`; its last element is the scattered record [shot, receiver, nt].

    Raises:
        TypeError, ValueError: As :func:`jaxwave.scalar`, if ``dv`` does not have the shape and dtype of ``v``, and if
            ``storage_mode`` is "none".

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> v = jnp.full((30, 40), 1500.0)
        >>> out = jaxwave.scalar_born(
        ...     v, jnp.zeros_like(v).at[20, 20].set(10.0), 5.0, 1e-3,
        ...     source_amplitudes=jaxwave.wavelets.ricker(25.0, 200, 1e-3, 0.05).reshape(1, 1, -1),
        ...     source_locations=[[[2, 20]]], receiver_locations=[[[2, 10], [2, 30]]],
        ... )
        >>> out.receiver_amplitudes.shape, out.background.receiver_amplitudes.shape
        ((1, 2, 200), (1, 2, 200))

    Reference:
        A. Tarantola, "Inversion of seismic reflection data in the acoustic approximation", Geophysics 49 (1984).
    """
    v, dv = validate.real_array("v", v), validate.real_array("dv", dv)
    validate.same_dtype(v=v, dv=dv)
    if v.shape != dv.shape:
        raise ValueError(f"`dv` must have the shape of `v`; got {dv.shape} for {v.shape}")
    arguments["max_vel"] = validate.speed({"v": v}, Scalar().models, arguments.get("max_vel"), _fastest)[0]

    def run(v: jax.Array) -> tuple[tuple[WaveState, jax.Array], ScalarResult]:
        out = scalar(v, grid_spacing, dt, **arguments)
        return (out.state, out.receiver_amplitudes), out

    _, (scattered, record), background = jax.jvp(run, (v,), (dv,), has_aux=True)
    return BornResult(background, scattered, record)


def _fastest(values, _) -> float:
    return Scalar().fastest(values)


def hessian_product(misfit: Callable[[Any], jax.Array], v: Any, dv: Any) -> Any:
    """Product of a misfit's Hessian with a direction: forward over reverse.

    ::

        H dv = d/de gradient(misfit)(v + e dv)  at e = 0

    Costs about two gradients, and the memory of two: a history of the wavefield and one of its perturbation.

    Args:
        misfit: A scalar function of ``v``, with any number of propagators inside; pass ``max_vel`` to them.
        v: A pytree of models (or of whatever the misfit is a function of).
        dv: The direction: a pytree like ``v``.

    Returns:
        A pytree like ``v``.

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> v = jnp.array([1.0, 2.0])
        >>> jaxwave.hessian_product(lambda v: jnp.sum(v**4) / 12, v, jnp.ones(2)).tolist()
        [1.0, 4.0]

    Reference:
        B. A. Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6 (1994).
    """
    return jax.jvp(jax.grad(misfit), (v,), (dv,))[1]


def gauss_newton_product(
    forward: Callable[[Any], Any], v: Any, dv: Any, weight: Callable[[Any], Any] | None = None
) -> Any:
    """Product of the Gauss-Newton matrix with a direction: the linearised run, then its transpose, on one history.

    ::

        J^T W J dv,        J = derivative of forward at v

    Costs one run, one linearised run and one adjoint run, and stores one history. To multiply several directions at the
    same ``v``, take the two factors from ``jax.linearize`` and ``jax.linear_transpose`` yourself, which propagates the
    background once.

    Args:
        forward: Function of ``v`` that returns records (a pytree), as ``lambda v: jaxwave.scalar(v, ...)[-1]``.
        v: A pytree of models.
        dv: The direction: a pytree like ``v``.
        weight: Linear function W of records, such as the second derivative of the misfit with respect to them. Default:
            the identity, which belongs to half the sum of squares.

    Returns:
        A pytree like ``v``.

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> matrix = jnp.array([[1.0, 2.0], [0.0, 1.0], [3.0, 0.0]])
        >>> jaxwave.gauss_newton_product(lambda v: matrix @ v, jnp.zeros(2), jnp.array([1.0, 0.0])).tolist()
        [10.0, 2.0]

    Reference:
        R. G. Pratt, C. Shin and G. J. Hicks, Geophys. J. Int. 133 (1998).
    """
    _, push = jax.linearize(forward, v)
    records = push(dv)
    return jax.linear_transpose(push, v)(weight(records) if weight else records)[0]
