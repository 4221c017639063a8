"""Born modelling, and the products of an inversion's second derivatives: a few lines of JAX each, as functions.

They work with every storage mode and codec, with sub-steps, and under ``jit`` and ``vmap``, because the propagators'
own derivatives do (:mod:`jaxwave._timeloop.rules`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Unpack

import jax
from jax.typing import ArrayLike

from jaxwave._propagators import acoustic, call_of, elastic, scalar
from jaxwave._results import Result, State
from jaxwave._setup import validate
from jaxwave._setup.call import Call, Grid
from jaxwave._setup.options import AcousticOptions, ElasticOptions, ScalarOptions
from jaxwave._setup.problem import known_max_vel
from jaxwave._simulation import simulate
from jaxwave.equations.base import Equation


class BornResult(NamedTuple):
    """Result of a linearised run: a pytree, with the scattered records last.

    Attributes:
        background: Result of the run in the unperturbed model.
        scattered: Final state of the scattered field.
        receiver_amplitudes: Records of the scattered field [shot, receiver, nt]: of :func:`scalar_born` an array, else
            a mapping by kind of receiver.
    """

    background: Any
    scattered: Any
    receiver_amplitudes: Any


def born(equation: Equation, perturbation: Equation, grid: Grid, dt: float, **arguments: Any) -> BornResult:
    """Background and scattered field of an equation whose models are perturbed, to first order: Born modelling.

    The scattered field is the derivative of the field along ``perturbation``, exactly that of the discrete scheme:
    layers and sub-steps included. It is linear in the perturbation, and its reverse-mode derivative with respect to it
    is migration.

    Costs the background run, which stores its history as ``storage`` says, and a run of the scattered field, which
    reads it. For many perturbations of one model use ``jax.linearize`` of :func:`jaxwave.simulate`, which propagates
    the background once.

    Args:
        equation: The equation with its models.
        perturbation: The same equation with perturbations in place of the models; None where there is none.
        grid, dt, arguments: As for :func:`jaxwave.simulate`.

    Returns:
        A :class:`BornResult`: the :class:`jaxwave.Result` of the background, the scattered :class:`jaxwave.State` and
        the scattered records by kind of receiver.

    Raises:
        TypeError, ValueError: As :func:`jaxwave.simulate`, if a perturbation does not have the shape and dtype of its
            model, and if ``storage`` is "none".

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> v, rho = jnp.full((30, 40), 1500.0), jnp.full((30, 40), 1000.0)
        >>> out = jaxwave.born(
        ...     jaxwave.Acoustic(v, rho), jaxwave.Acoustic(None, jnp.zeros_like(rho).at[20, 20].set(10.0)),
        ...     jaxwave.Grid(5.0), 1e-3, receivers={"p": [[[2, 10], [2, 30]]]},
        ...     sources={"p": (jaxwave.wavelets.ricker(25.0, 200, 1e-3, 0.05).reshape(1, 1, -1), [[[2, 20]]])},
        ... )
        >>> out.receiver_amplitudes["p"].shape, out.background.records["p"].shape
        ((1, 2, 200), (1, 2, 200))

    Reference:
        A. Tarantola, "Inversion of seismic reflection data in the acoustic approximation", Geophysics 49 (1984).
    """
    validate.instance("equation", equation, Equation, "jaxwave.Scalar(v)")
    if type(perturbation) is not type(equation):
        raise TypeError(
            f"`perturbation` must be a {type(equation).__name__}, as `equation` is; got {type(perturbation).__name__}"
        )
    validate.arguments("born", arguments, inspect.signature(simulate).parameters)
    names = {name: f"perturbation.{name}" for name in equation.models}
    arguments["max_vel"] = known_max_vel(Call(equation, grid, dt, **arguments))

    def run(models: dict[str, jax.Array]) -> tuple[tuple[State, dict[str, jax.Array]], Result]:
        out = simulate(equation.with_models(models), grid, dt, **arguments)
        return (out.state, out.records), out

    models, along = ({name: getattr(e, name) for name in names} for e in (equation, perturbation))
    return _born(run, models, along, names)


def scalar_born(
    v: ArrayLike, dv: ArrayLike, grid_spacing: Any, dt: float, **options: Unpack[ScalarOptions]
) -> BornResult:
    """Background and scattered field of a model ``v`` with a perturbation ``dv``: :func:`born` of the scalar equation.

    ::

        laplacian(u) - u_tt / v^2 = f,        laplacian(w) - w_tt / v^2 = -2 dv u_tt / v^3

    Args:
        v: Speed [*cells] or [shot, *cells], in m/s.
        dv: Its perturbation, of the same shape and dtype, in m/s.
        grid_spacing, dt, options: As for :func:`jaxwave.scalar`.

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
    """
    return _born_of(scalar, {"v": v}, (dv,), grid_spacing, dt, options)


def acoustic_born(
    v: ArrayLike, rho: ArrayLike, dv: ArrayLike | None, drho: ArrayLike | None, grid_spacing: Any, dt: float,
    **options: Unpack[AcousticOptions],
) -> BornResult:  # fmt: skip
    """:func:`born` of the acoustic equation, with the arguments of :func:`jaxwave.acoustic`.

    Args:
        v, rho: The models.
        dv, drho: Their perturbations, of the same shape and dtype; None where there is none.
        grid_spacing, dt, options: As for :func:`jaxwave.acoustic`.

    Returns:
        A :class:`BornResult`.

    Raises:
        TypeError, ValueError: As :func:`born`.
    """
    return _born_of(acoustic, {"v": v, "rho": rho}, (dv, drho), grid_spacing, dt, options)


def elastic_born(
    lamb: ArrayLike, mu: ArrayLike, buoyancy: ArrayLike, dlamb: ArrayLike | None, dmu: ArrayLike | None,
    dbuoyancy: ArrayLike | None, grid_spacing: Any, dt: float, **options: Unpack[ElasticOptions],
) -> BornResult:  # fmt: skip
    """:func:`born` of the elastic equation, with the arguments of :func:`jaxwave.elastic`.

    Args:
        lamb, mu, buoyancy: The models.
        dlamb, dmu, dbuoyancy: Their perturbations, of the same shape and dtype; None where there is none.
        grid_spacing, dt, options: As for :func:`jaxwave.elastic`.

    Returns:
        A :class:`BornResult`.

    Raises:
        TypeError, ValueError: As :func:`born`.
    """
    models = {"lamb": lamb, "mu": mu, "buoyancy": buoyancy}
    return _born_of(elastic, models, (dlamb, dmu, dbuoyancy), grid_spacing, dt, options)


def _born_of(
    propagator: Callable[..., Any], models: dict[str, Any], perturbations: Sequence[Any], grid_spacing: Any, dt: float,
    options: Mapping[str, Any],
) -> BornResult:  # fmt: skip
    """A linearised run of a propagator."""
    name, call = "receiver_amplitudes", call_of(propagator.__name__, *models.values(), grid_spacing, dt, **options)
    options = {**options, "max_vel": known_max_vel(call)}

    def run(models: dict[str, jax.Array]) -> Any:
        out = propagator(**models, grid_spacing=grid_spacing, dt=dt, **options)
        records = {field: x for field, x in out._asdict().items() if field.startswith(name) and x is not None}
        by_kind = {field.removeprefix(f"{name}_"): x for field, x in records.items()}
        return (out.state, records.get(name, by_kind)), out

    names = {model: f"d{model}" for model in models}
    return _born(run, models, dict(zip(models, perturbations, strict=True)), names)


def _born(
    run: Callable[[dict[str, jax.Array]], Any], models: dict[str, Any], along: dict[str, Any], names: dict[str, str]
) -> BornResult:
    """The derivative of ``run(models) -> ((state, records), result)`` along perturbations, called ``names``."""
    models = {name: validate.real_array(name, x) for name, x in models.items()}
    given = {name: validate.real_array(names[name], x) for name, x in along.items() if x is not None}
    if not given:
        raise ValueError(f"no model is perturbed: give one of {', '.join(f'`{name}`' for name in names.values())}")
    for name, x in given.items():
        validate.same_dtype(**{name: models[name], names[name]: x})
        if x.shape != models[name].shape:
            raise ValueError(f"`{names[name]}` must have the shape of `{name}`; got {x.shape} for {models[name].shape}")

    def of_perturbed(perturbed: dict[str, jax.Array]) -> Any:
        return run({**models, **perturbed})

    of_given = {name: models[name] for name in given}
    _, (scattered, records), background = jax.jvp(of_perturbed, (of_given,), (given,), has_aux=True)
    return BornResult(background, scattered, records)


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
