"""A function for each equation: :func:`jaxwave.simulate` with the arguments that Deepwave's users know."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Any, Unpack

from jax.typing import ArrayLike

from jaxwave._results import AcousticResult, AcousticState, ElasticResult, ElasticState, Result, ScalarResult
from jaxwave._setup.call import Call
from jaxwave._setup.options import AcousticOptions, ElasticOptions, ScalarOptions, documented, to_call
from jaxwave._setup.problem import make_problem
from jaxwave._simulation import run
from jaxwave.equations.acoustic import Acoustic
from jaxwave.equations.base import Equation
from jaxwave.equations.elastic import Elastic
from jaxwave.equations.scalar import Scalar


@documented(ScalarOptions)
def scalar(
    v: ArrayLike, grid_spacing: float | Sequence[float], dt: float, **options: Unpack[ScalarOptions]
) -> ScalarResult:
    """Propagates waves by the scalar wave equation, laplacian(u) - u_tt / v^2 = f.

    Finite differences of order ``accuracy`` in space and 2 in time, with convolutional perfectly matched layers around
    the model (:mod:`jaxwave.equations.scalar` has the scheme). Differentiable with respect to ``v``,
    ``source_amplitudes`` and the initial wavefields, in reverse and forward mode; exact for the discrete scheme.

    Axes run from the slowest to the fastest: (z, y, x). Locations are cell numbers of the whole model. Within a step
    the order is record, update, inject: sample 0 of a record is the initial wavefield, and what is injected at sample t
    is first seen at sample t + 1.

    Args:
        v: Wave speed [*cells], or one model per shot [shot, *cells], in 1, 2 or 3 dimensions. Float32 or float64.
        grid_spacing: Cell size (metres), one number or one per axis.
        dt: Time step of sources and records (seconds). Above the stability limit each is divided into sub-steps:
            records are then the loop's values at their samples' times, and sources are interpolated between their
            samples, to 1 % for frequencies below 0.4 of the Nyquist frequency.
        source_amplitudes: Source time functions f [shot, source, nt].
        source_locations: Integer cells [shot, source, axis]. Sources at the same place add up.
        receiver_locations: Integer cells [shot, receiver, axis].
        boundary: What each face is, one word or one per face in the order of ``pml_width``: "pml" (a layer), "free"
            (u = 0 on it), "rigid" (du/dn = 0) or "periodic" (both faces of an axis). The last three
            have no layer, and lie half a cell outside the centre of the outermost cell. Default (None): "pml" where
            ``pml_width`` is not 0, else an edge with u = 0 beyond it.
        max_vel: Largest speed that the time step and the layers are made for. Default: the largest in ``v``; required
            where the values of ``v`` are not known, as under ``jit``. One that is too small is a :class:`SpeedWarning`.
        wavefield_0: Initial wavefield [shot, *region], or with the cells of the layers. Default 0.
        wavefield_m1: The same one step of the loop earlier. Default: that of a ``wavefield_0`` at rest at time 0, to
            second order in the time step, u[0] + (v dt)^2 laplacian(u[0]) / 2. Zeros that are given mean zeros.
        {options}

    Returns:
        A :class:`ScalarResult`; its last element is ``receiver_amplitudes`` [shot, receiver, nt].

    {raises}

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> out = jaxwave.scalar(
        ...     jnp.full((30, 40), 1500.0), 5.0, 1e-3,
        ...     source_amplitudes=jaxwave.wavelets.ricker(25.0, 100, 1e-3, 0.05).reshape(1, 1, -1),
        ...     source_locations=[[[2, 20]]], receiver_locations=[[[2, 10], [2, 30]]],
        ... )
        >>> out.receiver_amplitudes.shape
        (1, 2, 100)
    """
    out = run(make_problem(to_call("scalar", ScalarOptions, Scalar(v), grid_spacing, dt, options)))
    return ScalarResult(*_parts(out, ("wavefield_0", "wavefield_m1"), ("psi", "zeta")), *_records(out, Scalar(v)))


@documented(AcousticOptions)
def acoustic(
    v: ArrayLike, rho: ArrayLike, grid_spacing: float | Sequence[float], dt: float, **options: Unpack[AcousticOptions]
) -> AcousticResult:
    """Propagates waves by the acoustic equation with variable density, pressure and particle velocity:

    ::

        v_t = -grad(p) / rho + f / rho        p_t = -K div(v) + K q        K = rho v^2

    On a staggered grid (:mod:`jaxwave.equations.acoustic` has the scheme): pressure in the cells at t, the velocity
    along each axis half a cell after the cell of the same number and half a step of the loop earlier (``info.inner_dt``
    / 2, which is dt/2 without sub-steps). Differences of order ``accuracy`` in space and 2 in time, with convolutional
    perfectly matched layers around the model. Differentiable with respect to ``v``, ``rho``, the source amplitudes and
    the initial wavefields, in reverse and forward mode; exact for the discrete scheme.

    Axes run from the slowest to the fastest and are called z, y, x: y and x in 2-D, x in 1-D.

    A model gradient stores one array of the padded grid per step for ``v`` alone, and one more for each axis when it is
    taken for ``rho``.

    Args:
        v: Wave speed [*cells] (m/s), or one model per shot [shot, *cells], in 1, 2 or 3 dimensions. Float32 or float64.
            Positive, or 0 in vacuum.
        rho: Density (kg/m^3), the same. Between cells it is the mean of the two. 0 in vacuum, where nothing moves and
            no derivative is taken: its border is a free surface of any shape, in steps of cells. A source there
            raises, and a receiver warns.
        grid_spacing: Cell size (metres), one number or one per axis.
        dt: Time step of sources and records (seconds). Above the stability limit each is divided into sub-steps.
        sources: Amplitudes and locations by kind, as ``{"p": (amplitudes, locations), "x": ...}``: the same as the
            arguments ``source_amplitudes_p``, ``source_locations_p`` and so on.
        receivers: Locations by kind, as ``{"p": locations}``: the same as ``receiver_locations_p`` and so on.
        source_amplitudes_p: Volume injected per volume and time, q (1/s) [shot, source, nt]; adds K q dt to the
            pressure.
        source_amplitudes_z, source_amplitudes_y, source_amplitudes_x: Force per volume, f (N/m^3), along an axis, the
            same shape; adds f dt / rho to the velocity.
        source_locations_p, source_locations_z, source_locations_y, source_locations_x: Integer cells
            [shot, source, axis]. A force acts half a cell after its cell, along its axis.
        receiver_locations_p: Integer cells [shot, receiver, axis] where the pressure (Pa) is recorded.
        receiver_locations_z, receiver_locations_y, receiver_locations_x: The same for the velocity (m/s) along an axis,
            recorded half a cell after the cell and half a step of the loop (``info.inner_dt`` / 2) before the sample's
            time.
        boundary: What each face is, one word or one per face in the order of ``pml_width``: "pml" (a layer), "free"
            (p = 0 on it), "rigid" (v = 0 across it) or "periodic" (both faces of an axis). The last three
            have no layer, and lie half a cell outside the centre of the outermost cell. Default (None): "pml" where
            ``pml_width`` is not 0, else an edge with p = 0 beyond it.
        max_vel: Largest speed that the time step and the layers are made for. Default: the largest in ``v``, or more
            where a contrast of density needs it (at order 2 never; docs/time_steps.md has numbers); required where the
            values of a model are not known, as under ``jit``. One that is too small is a :class:`SpeedWarning`.
        pressure_0: Initial pressure [shot, *region], or with the cells of the layers. Default 0.
        vz_0, vy_0, vx_0: Initial velocities, half a step of the loop earlier: [shot, *region], or with the layers and
            the value before the first cell of their own axis, as they are returned. Default: what they must be for
            nothing to move at time 0, dt/2 grad(p) / rho of the initial pressure. Zeros that are given mean zeros.
        {options}

    Returns:
        An :class:`AcousticResult`, with records ``receiver_amplitudes_p``, ``_z``, ``_y`` and ``_x``.
    {raises}

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> out = jaxwave.acoustic(
        ...     jnp.full((30, 40), 1500.0), jnp.full((30, 40), 1000.0), 5.0, 1e-3,
        ...     source_amplitudes_p=jaxwave.wavelets.ricker(25.0, 100, 1e-3, 0.05).reshape(1, 1, -1),
        ...     source_locations_p=[[[2, 20]]], receiver_locations_p=[[[2, 10], [2, 30]]],
        ...     receiver_locations_y=[[[2, 10]]],
        ... )
        >>> out.receiver_amplitudes_p.shape, out.receiver_amplitudes_y.shape
        ((1, 2, 100), (1, 1, 100))

    Reference:
        R. W. Graves, Bull. Seism. Soc. Am. 86 (1996); P. Moczo et al., Bull. Seism. Soc. Am. 92 (2002).
    """
    equation = Acoustic(v, rho)
    out = run(make_problem(to_call("acoustic", AcousticOptions, equation, grid_spacing, dt, options)))
    return AcousticResult(*_parts(out, AcousticState._fields[:4], ("psi", "phi")), *_records(out, equation))


@documented(ElasticOptions)
def elastic(
    lamb: ArrayLike,
    mu: ArrayLike,
    buoyancy: ArrayLike,
    grid_spacing: float | Sequence[float],
    dt: float,
    **options: Unpack[ElasticOptions],
) -> ElasticResult:
    """Propagates waves by the isotropic elastic equation, particle velocity and stress:

    ::

        v_i,t = buoyancy (sum_j ds_ij/dx_j + f_i)
        s_ij,t = mu (dv_i/dx_j + dv_j/dx_i) + delta_ij lamb div(v) - q_ij

    On a staggered grid (:mod:`jaxwave.equations.elastic` has the scheme and its papers): normal stresses in the cells,
    the velocity along each axis half a cell after the cell of the same number, the other stresses half a cell after it
    along both their axes; stresses at t, velocities half a step of the loop earlier (``info.inner_dt`` / 2, which is
    dt/2 without sub-steps). Order, layers and derivatives are as of :func:`scalar`.

    Axes are called z, y, x from the slowest to the fastest: y and x in 2-D (plane strain), x in 1-D (a plane P wave).

    Sources are forces and moment tensors. A moment tensor M(t) (N m; in 2-D per metre of the third axis) that acts in a
    cell is the source q_ij = dM_ij/dt / (volume of the cell). Receivers record velocities, the pressure and the strain
    rate e_ij = (dv_i/dx_j + dv_j/dx_i) / 2, which is what a fibre senses. Components with two different axes lie half a
    cell after the cell along both. :class:`jaxwave.Hicks` with an ``offset`` of 0.5 along both axes has them anywhere
    else, as in the middle of a cell; a quarter of the amplitude at each of that cell's four corners is the cruder way.
    A model gradient stores, per step, so many arrays of the padded grid: 1 for ``lamb``, 3 (in 3-D 6) for ``mu``, 2
    (in 3-D 3) for ``buoyancy``, and no others.

    Args:
        lamb: Lame's first parameter [*cells] (Pa), or one model per shot [shot, *cells], in 1, 2 or 3 dimensions.
            Float32 or float64.
        mu: Lame's second parameter, the shear modulus (Pa), the same; 0 in a fluid. Between four cells it is their
            harmonic mean. ``lamb + mu``, in 3-D ``3 lamb + 2 mu``, must be positive: vs < vp, in 3-D vs < 0.866 vp.
        buoyancy: 1 / density (m^3/kg), the same. Between two cells the density is their mean. Cells whose ``lamb``,
            ``mu`` and ``buoyancy`` are all 0 are vacuum, where nothing moves and no derivative is taken: their border
            is a free surface of any shape, in steps of cells. A source there raises, and a receiver warns.
        grid_spacing: Cell size (metres), one number or one per axis.
        dt: Time step of sources and records (seconds). Above the stability limit each is divided into sub-steps.
        sources: Amplitudes and locations by kind, as ``{"p": (amplitudes, locations), "x": ...}``: the same as the
            arguments ``source_amplitudes_p``, ``source_locations_p`` and so on.
        receivers: Locations by kind, as ``{"p": locations}``: the same as ``receiver_locations_p`` and so on.
        source_amplitudes_p: Pressure rate, q (Pa/s) [shot, source, nt]; adds -q dt to each normal stress: an explosion.
        source_amplitudes_z, source_amplitudes_y, source_amplitudes_x: Force per volume, f (N/m^3), along an axis, the
            same shape; adds f dt buoyancy to the velocity.
        source_amplitudes_zz, source_amplitudes_yy, source_amplitudes_xx: Moment rate per volume, q_ii (Pa/s), the same
            shape; adds -q_ii dt to one normal stress.
        source_amplitudes_yz, source_amplitudes_xz, source_amplitudes_xy: The same of the other components, q_ij = q_ji.
        source_locations_p, source_locations_z, source_locations_y, source_locations_x: Integer cells
            [shot, source, axis]. A force acts half a cell after its cell, along its axis.
        source_locations_zz, source_locations_yy, source_locations_xx: The same, in the cell.
        source_locations_yz, source_locations_xz, source_locations_xy: The same, half a cell after the cell along both
            axes. All four cells around that point must be solid (checked where ``mu`` is known; where it is traced,
            such a source in a fluid does nothing), and it must not lie on a free face.
        receiver_locations_p: Integer cells [shot, receiver, axis] where the pressure (Pa) is recorded: minus the mean
            of the normal stresses.
        receiver_locations_z, receiver_locations_y, receiver_locations_x: The same for the velocity (m/s) along an axis,
            recorded half a cell after the cell and half a step of the loop (``info.inner_dt`` / 2) before the sample's
            time.
        receiver_locations_zz, receiver_locations_yy, receiver_locations_xx: The same for the strain rate (1/s), in the
            cell and half a step of the loop before the sample's time.
        receiver_locations_yz, receiver_locations_xz, receiver_locations_xy: The same, half a cell after the cell along
            both axes.
        boundary: What each face is, one word or one per face in the order of ``pml_width``: "pml" (a layer), "free"
            (no traction on it), "rigid" (no velocity) or "periodic" (both faces of an axis). The last three
            have no layer, and lie half a cell outside the centre of the outermost cell. Default (None): "pml" where
            ``pml_width`` is not 0, else "free".
        mpml_fraction: Fraction, from 0 to 1, of its damping that a layer has along the other axes too: a multi-axial
            PML. Waves that plates, ducts or soft layers guide may grow in plain layers, and do not with 0.05 to 0.1;
            but oblique waves are reflected more. Default 0: a plain PML.
        max_vel: Largest speed that the time step and the layers are made for. Default: the largest of P waves, or more
            where a contrast of density needs it (docs/time_steps.md has numbers); required where the values of a model
            are not known, as under ``jit``. One that is too small is a :class:`SpeedWarning`.
        vz_0, vy_0, vx_0: Initial velocities, half a step of the loop earlier: [shot, *region], or with the layers and
            the value before the first cell of their own axis, as they are returned. Default: what they must be for
            nothing to move at time 0, given the initial stresses. Zeros that are given mean zeros.
        sigmazz_0, sigmayz_0, sigmaxz_0, sigmayy_0, sigmaxy_0, sigmaxx_0: Initial stresses, the same.
        {options}

    Returns:
        An :class:`ElasticResult`, with records ``receiver_amplitudes_p``, ``_z``, ``_y``, ``_x`` and those of the
        strain rate.
    {raises}

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> vp, vs, rho = (jnp.full((30, 40), x) for x in (2500.0, 1400.0, 2100.0))
        >>> out = jaxwave.elastic(
        ...     *jaxwave.vpvsrho_to_lambmubuoyancy(vp, vs, rho), 5.0, 5e-4,
        ...     source_amplitudes_y=jaxwave.wavelets.ricker(25.0, 100, 5e-4, 0.05).reshape(1, 1, -1),
        ...     source_locations_y=[[[2, 20]]], receiver_locations_p=[[[2, 10], [2, 30]]],
        ...     receiver_locations_x=[[[2, 10]]], receiver_locations_xx=[[[2, 10], [2, 11]]],
        ... )
        >>> out.receiver_amplitudes_p.shape, out.receiver_amplitudes_x.shape, out.receiver_amplitudes_xx.shape
        ((1, 2, 100), (1, 1, 100), (1, 2, 100))
    """
    equation = Elastic(lamb, mu, buoyancy)
    out = run(make_problem(to_call("elastic", ElasticOptions, equation, grid_spacing, dt, options)))
    return ElasticResult(*_parts(out, ElasticState._fields[:9], ("psi", "phi")), *_records(out, equation))


def _parts(out: Result, wavefields: Sequence[str], memory: Sequence[str]) -> list[Any]:
    """The first fields of a result, in order; None for wavefields along axes that the model does not have."""
    state = out.state
    fields = [state.wavefields.get(name) for name in wavefields]
    return [*fields, *(state.memory[name] for name in memory), state.last_sources, out.is_finite, out.info]


def _records(out: Result, equation: Equation) -> list[Any]:
    """The records of all kinds of 3-D; None for kinds along axes that the model does not have."""
    return [out.records.get(kind) for kind in equation.receiver_kinds(3)]


PROPAGATORS: dict[str, tuple[Any, Equation, type]] = {
    "scalar": (scalar, Scalar(None), ScalarOptions),
    "acoustic": (acoustic, Acoustic(None, None), AcousticOptions),
    "elastic": (elastic, Elastic(None, None, None), ElasticOptions),
}
"""Each propagator by name, with its equation and its options."""


def call_of(propagator: str, *models_spacing_and_dt: Any, **arguments: Any) -> Call:
    """The call that the arguments of a propagator, by name, describe.

    Raises:
        TypeError, ValueError: If there is no such propagator, or argument.
    """
    if propagator not in PROPAGATORS:
        raise ValueError(f"`propagator`={propagator!r} is unknown; use {', '.join(map(repr, PROPAGATORS))}")
    function, equation, options = PROPAGATORS[propagator]
    given = dict(inspect.signature(function).bind(*models_spacing_and_dt, **arguments).arguments)
    models = {name: given.pop(name) for name in equation.models}
    spacing, dt = given.pop("grid_spacing"), given.pop("dt")
    return to_call(propagator, options, dataclasses.replace(equation, **models), spacing, dt, given)
