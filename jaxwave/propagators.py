"""The functions that users call, one for each equation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.typing import ArrayLike

from jaxwave import substeps, validate
from jaxwave.embedding import finish, last_samples, run_inputs
from jaxwave.equations.acoustic import Acoustic
from jaxwave.equations.elastic import Elastic
from jaxwave.equations.scalar import Scalar
from jaxwave.observe import CallbackState
from jaxwave.problem import Problem, describe
from jaxwave.results import (
    AcousticResult,
    AcousticState,
    ElasticResult,
    ElasticState,
    LastSources,
    RunInfo,
    ScalarResult,
    WaveState,
)
from jaxwave.rules import propagate
from jaxwave.storage.base import Storage
from jaxwave.storage.codecs import Codec


def scalar(
    v: ArrayLike,
    grid_spacing: float | Sequence[float],
    dt: float,
    *,
    source_amplitudes: ArrayLike | None = None,
    source_locations: ArrayLike | None = None,
    receiver_locations: ArrayLike | None = None,
    nt: int | None = None,
    accuracy: int = 4,
    pml_width: int | Sequence[int] = 20,
    boundary: str | Sequence[str | None] | None = None,
    pml_freq: float | None = None,
    max_vel: float | None = None,
    survey_pad: int | Sequence[int | None] | None = None,
    origin: Sequence[int] | None = None,
    wavefield_0: ArrayLike | None = None,
    wavefield_m1: ArrayLike | None = None,
    initial_state: WaveState | None = None,
    model_gradient_sampling_interval: int = 1,
    freq_taper_frac: float = 0.0,
    time_pad_frac: float = 0.0,
    time_taper: bool = False,
    forward_callback: Callable[[CallbackState], Any] | None = None,
    backward_callback: Callable[[CallbackState], Any] | None = None,
    callback_frequency: int = 1,
    storage_mode: str | Storage = "device",
    storage_path: str = ".",
    storage_compression: bool | str | Codec = False,
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
        nt: Number of time steps; needed when there are no sources.
        accuracy: Order of the spatial differences: 2, 4, 6 or 8. Default 4.
        pml_width: Cells of absorbing layer at each face: one number (for all that have one), or first and last of each
            axis. Default 20.
        boundary: What each face is, one word or one per face in the order of ``pml_width``: "pml" (a layer), "free"
            (u = 0 on it), "rigid" (du/dn = 0) or "periodic" (both faces of an axis). The last three
            have no layer, and lie half a cell outside the centre of the outermost cell. Default (None): "pml" where
            ``pml_width`` is not 0, else an edge with u = 0 beyond it.
        pml_freq: Frequency (Hz) that the layers absorb best. Default: the peak of the sources' spectrum; where there is
            none above 0 Hz, or their values are not known, 0.1 / ``dt`` with a :class:`jaxwave.PmlFrequencyWarning`.
        max_vel: Largest speed that the time step and the layers are made for. Default: the largest in ``v``; required
            where the values of ``v`` are not known, as under ``jit``. One that is too small is a :class:`SpeedWarning`.
        survey_pad: Uses only the part of the model within so many cells of all sources and receivers: one number, or
            one per face, where None means to the model's edge, as does a face that is free, rigid or periodic. Default:
            the whole model.
        origin: First cell of the region that the initial wavefields cover (they then include its layers).
        wavefield_0: Initial wavefield [shot, *region], or with the cells of the layers. Default 0.
        wavefield_m1: The same one step of the loop earlier. Default: that of a ``wavefield_0`` at rest at time 0, to
            second order in the time step, u[0] + (v dt)^2 laplacian(u[0]) / 2. Zeros that are given mean zeros.
        initial_state: State of an earlier run, in place of the two wavefields: continues it exactly, with the same
            sources where there are sub-steps.
        model_gradient_sampling_interval: Steps of the loop from one contribution to the model gradient to the next. 1
            (the default) is exact; more stores less.
        freq_taper_frac, time_pad_frac, time_taper: Options of a resampling in the frequency domain. They do nothing, as
            there is none, and a :class:`jaxwave.NoEffectWarning` says so. Default 0, 0, False.
        forward_callback: Called with a :class:`jaxwave.CallbackState` every ``callback_frequency`` time steps, before
            the step's update.
        backward_callback: The same in the adjoint loop, with the adjoint wavefields.
        callback_frequency: Time steps from one call to the next. Default 1.
        storage_mode: Where a model gradient keeps its wavefields: "device", "cpu" (host RAM), "disk" (an HDF5 file),
            "recompute" (states at intervals; the rest is computed again), "auto" (the fastest that fits what is free,
            measured when a model is differentiated), "none" (nowhere: no model gradient), or a storage object from
            :mod:`jaxwave.storage`. A run that is not differentiated with respect to ``v`` stores nothing.
        storage_path: Directory for "disk" and "auto". Default: the working directory.
        storage_compression: False, True or "int8", "int4", "int16", "bf16", "f16", or a codec from
            :mod:`jaxwave.storage`.

    Returns:
        A :class:`ScalarResult`; its last element is ``receiver_amplitudes`` [shot, receiver, nt].

    Raises:
        TypeError, ValueError: If an argument is wrong; before anything runs.
        FloatingPointError: If the wavefield becomes non-finite (called eagerly; under ``jit`` see ``is_finite``).
        jaxwave.StorageError: If storage fails: a full disk, an altered file, ...
        jaxwave.BudgetError: Under "auto", if a model is differentiated and no policy fits.

    Warns:
        SubstepWarning, UnitWarning, PmlFrequencyWarning, DispersionWarning: See :doc:`api`.

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
    out = run(describe(Scalar(), **locals()))
    state = *out.wavefields.values(), *out.memory.values(), out.last_sources
    return ScalarResult(*state, out.is_finite, out.info, out.records[""])


def acoustic(
    v: ArrayLike,
    rho: ArrayLike,
    grid_spacing: float | Sequence[float],
    dt: float,
    *,
    sources: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    receivers: Mapping[str, ArrayLike] | None = None,
    source_amplitudes_p: ArrayLike | None = None,
    source_amplitudes_z: ArrayLike | None = None,
    source_amplitudes_y: ArrayLike | None = None,
    source_amplitudes_x: ArrayLike | None = None,
    source_locations_p: ArrayLike | None = None,
    source_locations_z: ArrayLike | None = None,
    source_locations_y: ArrayLike | None = None,
    source_locations_x: ArrayLike | None = None,
    receiver_locations_p: ArrayLike | None = None,
    receiver_locations_z: ArrayLike | None = None,
    receiver_locations_y: ArrayLike | None = None,
    receiver_locations_x: ArrayLike | None = None,
    nt: int | None = None,
    accuracy: int = 4,
    pml_width: int | Sequence[int] = 20,
    boundary: str | Sequence[str | None] | None = None,
    pml_freq: float | None = None,
    max_vel: float | None = None,
    survey_pad: int | Sequence[int | None] | None = None,
    origin: Sequence[int] | None = None,
    pressure_0: ArrayLike | None = None,
    vz_0: ArrayLike | None = None,
    vy_0: ArrayLike | None = None,
    vx_0: ArrayLike | None = None,
    initial_state: AcousticState | None = None,
    model_gradient_sampling_interval: int = 1,
    freq_taper_frac: float = 0.0,
    time_pad_frac: float = 0.0,
    time_taper: bool = False,
    forward_callback: Callable[[CallbackState], Any] | None = None,
    backward_callback: Callable[[CallbackState], Any] | None = None,
    callback_frequency: int = 1,
    storage_mode: str | Storage = "device",
    storage_path: str = ".",
    storage_compression: bool | str | Codec = False,
) -> AcousticResult:
    """Propagates waves by the acoustic equation with variable density, pressure and particle velocity:

    ::

        v_t = -grad(p) / rho + f / rho        p_t = -K div(v) + K q        K = rho v^2

    On a staggered grid (:mod:`jaxwave.equations.acoustic` has the scheme): pressure in the cells at t, the velocity
    along each axis half a cell after the cell of the same number and half a step of the loop earlier (``info.inner_dt``
    / 2, which is dt/2 without sub-steps). Differences of order ``accuracy`` in space and 2 in time, with convolutional
    perfectly matched layers around the model. Differentiable with respect to ``v``, ``rho``, the source amplitudes and
    the initial wavefields, in reverse and forward mode; exact for the discrete scheme.

    Axes run from the slowest to the fastest and are called z, y, x: y and x in 2-D, x in 1-D. What is not said here is
    as for :func:`scalar`.

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
        nt: Number of time steps; needed when there are no sources.
        accuracy: Order of the spatial differences: 2, 4, 6 or 8. Default 4.
        pml_width: Cells of absorbing layer at each face: one number (for all that have one), or first and last of each
            axis. Default 20.
        boundary: What each face is, one word or one per face in the order of ``pml_width``: "pml" (a layer), "free"
            (p = 0 on it), "rigid" (v = 0 across it) or "periodic" (both faces of an axis). The last three
            have no layer, and lie half a cell outside the centre of the outermost cell. Default (None): "pml" where
            ``pml_width`` is not 0, else an edge with p = 0 beyond it.
        pml_freq: Frequency (Hz) that the layers absorb best. Default: the peak of the sources' spectrum; where there is
            none above 0 Hz, or their values are not known, 0.1 / ``dt`` with a :class:`jaxwave.PmlFrequencyWarning`.
        max_vel: Largest speed that the time step and the layers are made for. Default: the largest in ``v``, or more
            where a contrast of density needs it (at order 2 never; docs/propagators.md has numbers); required where the
            values of a model are not known, as under ``jit``. One that is too small is a :class:`SpeedWarning`.
        survey_pad, origin: Choose the part of the model that is used.
        pressure_0: Initial pressure [shot, *region], or with the cells of the layers. Default 0.
        vz_0, vy_0, vx_0: Initial velocities, half a step of the loop earlier: [shot, *region], or with the layers and
            the value before the first cell of their own axis, as they are returned. Default: what they must be for
            nothing to move at time 0, dt/2 grad(p) / rho of the initial pressure. Zeros that are given mean zeros.
        initial_state: State of an earlier run, in place of the initial wavefields: continues it exactly, with the same
            sources where there are sub-steps.
        model_gradient_sampling_interval, freq_taper_frac, time_pad_frac, time_taper: As for :func:`scalar`.
        forward_callback, backward_callback, callback_frequency: The same. The wavefields are "pressure_0", "vx_0", ...;
            the gradients are those with respect to "bulk_modulus" and, between cells, "buoyancy_x", ...
        storage_mode, storage_path, storage_compression: Where a model gradient keeps its wavefields.

    Returns:
        An :class:`AcousticResult`, with records ``receiver_amplitudes_p``, ``_z``, ``_y`` and ``_x``.

    Raises:
        TypeError, ValueError: If an argument is wrong; before anything runs.
        FloatingPointError: If the wavefield becomes non-finite (called eagerly; under ``jit`` see ``is_finite``).
        jaxwave.StorageError: If storage fails: a full disk, an altered file, ...

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
    out = run(describe(Acoustic(), **by_name(locals())))
    fields = [out.wavefields.get(name) for name in AcousticState._fields[:4]]
    records = [out.records.get(kind) for kind in Acoustic().receiver_kinds(3)]
    return AcousticResult(*fields, *out.memory.values(), out.last_sources, out.is_finite, out.info, *records)


def elastic(
    lamb: ArrayLike,
    mu: ArrayLike,
    buoyancy: ArrayLike,
    grid_spacing: float | Sequence[float],
    dt: float,
    *,
    sources: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    receivers: Mapping[str, ArrayLike] | None = None,
    source_amplitudes_p: ArrayLike | None = None,
    source_amplitudes_z: ArrayLike | None = None,
    source_amplitudes_y: ArrayLike | None = None,
    source_amplitudes_x: ArrayLike | None = None,
    source_amplitudes_zz: ArrayLike | None = None,
    source_amplitudes_yz: ArrayLike | None = None,
    source_amplitudes_xz: ArrayLike | None = None,
    source_amplitudes_yy: ArrayLike | None = None,
    source_amplitudes_xy: ArrayLike | None = None,
    source_amplitudes_xx: ArrayLike | None = None,
    source_locations_p: ArrayLike | None = None,
    source_locations_z: ArrayLike | None = None,
    source_locations_y: ArrayLike | None = None,
    source_locations_x: ArrayLike | None = None,
    source_locations_zz: ArrayLike | None = None,
    source_locations_yz: ArrayLike | None = None,
    source_locations_xz: ArrayLike | None = None,
    source_locations_yy: ArrayLike | None = None,
    source_locations_xy: ArrayLike | None = None,
    source_locations_xx: ArrayLike | None = None,
    receiver_locations_p: ArrayLike | None = None,
    receiver_locations_z: ArrayLike | None = None,
    receiver_locations_y: ArrayLike | None = None,
    receiver_locations_x: ArrayLike | None = None,
    receiver_locations_zz: ArrayLike | None = None,
    receiver_locations_yz: ArrayLike | None = None,
    receiver_locations_xz: ArrayLike | None = None,
    receiver_locations_yy: ArrayLike | None = None,
    receiver_locations_xy: ArrayLike | None = None,
    receiver_locations_xx: ArrayLike | None = None,
    nt: int | None = None,
    accuracy: int = 4,
    pml_width: int | Sequence[int] = 20,
    boundary: str | Sequence[str | None] | None = None,
    pml_freq: float | None = None,
    mpml_fraction: float = 0.0,
    max_vel: float | None = None,
    survey_pad: int | Sequence[int | None] | None = None,
    origin: Sequence[int] | None = None,
    vz_0: ArrayLike | None = None,
    vy_0: ArrayLike | None = None,
    vx_0: ArrayLike | None = None,
    sigmazz_0: ArrayLike | None = None,
    sigmayz_0: ArrayLike | None = None,
    sigmaxz_0: ArrayLike | None = None,
    sigmayy_0: ArrayLike | None = None,
    sigmaxy_0: ArrayLike | None = None,
    sigmaxx_0: ArrayLike | None = None,
    initial_state: ElasticState | None = None,
    model_gradient_sampling_interval: int = 1,
    freq_taper_frac: float = 0.0,
    time_pad_frac: float = 0.0,
    time_taper: bool = False,
    forward_callback: Callable[[CallbackState], Any] | None = None,
    backward_callback: Callable[[CallbackState], Any] | None = None,
    callback_frequency: int = 1,
    storage_mode: str | Storage = "device",
    storage_path: str = ".",
    storage_compression: bool | str | Codec = False,
) -> ElasticResult:
    """Propagates waves by the isotropic elastic equation, particle velocity and stress, in 2-D or 3-D:

    ::

        v_i,t = buoyancy (sum_j ds_ij/dx_j + f_i)
        s_ij,t = mu (dv_i/dx_j + dv_j/dx_i) + delta_ij lamb div(v) - q_ij

    On a staggered grid (:mod:`jaxwave.equations.elastic` has the scheme): normal stresses in the cells, the velocity
    along each axis half a cell after the cell of the same number, the other stresses half a cell after it along both
    their axes; stresses at t, velocities half a step of the loop earlier (``info.inner_dt`` / 2, which is dt/2 without
    sub-steps). Differences of order ``accuracy`` in space and 2 in time, with convolutional perfectly matched layers
    around the model. Differentiable with respect to the models, the source amplitudes and the initial wavefields, in
    reverse and forward mode; exact for the discrete scheme.

    Axes run from the slowest to the fastest and are called z, y, x: y and x in 2-D, which is plane strain. What is not
    said here is as for :func:`scalar`.

    Sources are forces and moment tensors. A moment tensor M(t) (N m; in 2-D per metre of the third axis) that acts in a
    cell is the source q_ij = dM_ij/dt / (volume of the cell). Receivers record velocities, the pressure and the strain
    rate e_ij = (dv_i/dx_j + dv_j/dx_i) / 2, which is what a fibre senses. Components with two different axes lie half a
    cell after the cell along both. :class:`jaxwave.Hicks` with an ``offset`` of 0.5 along both axes has them anywhere
    else, as in the middle of a cell; a quarter of the amplitude at each of that cell's four corners is the cruder way.

    A model gradient stores, per step, so many arrays of the padded grid: 1 for ``lamb``, 3 (in 3-D 6) for ``mu``, 2
    (in 3-D 3) for ``buoyancy``, and no others.

    Args:
        lamb: Lame's first parameter [*cells] (Pa), or one model per shot [shot, *cells], in 2 or 3 dimensions. Float32
            or float64.
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
        nt: Number of time steps; needed when there are no sources.
        accuracy: Order of the spatial differences: 2, 4, 6 or 8. Default 4.
        pml_width: Cells of absorbing layer at each face: one number (for all that have one), or first and last of each
            axis. Default 20.
        boundary: What each face is, one word or one per face in the order of ``pml_width``: "pml" (a layer), "free"
            (no traction on it), "rigid" (no velocity) or "periodic" (both faces of an axis). The last three
            have no layer, and lie half a cell outside the centre of the outermost cell. Default (None): "pml" where
            ``pml_width`` is not 0, else "free".
        pml_freq: Frequency (Hz) that the layers absorb best. Default: the peak of the sources' spectrum; where there is
            none above 0 Hz, or their values are not known, 0.1 / ``dt`` with a :class:`jaxwave.PmlFrequencyWarning`.
        mpml_fraction: Fraction, from 0 to 1, of its damping that a layer has along the other axes too: a multi-axial
            PML. Waves that plates, ducts or soft layers guide may grow in plain layers, and do not with 0.05 to 0.1;
            but oblique waves are reflected more. Default 0: a plain PML.
        max_vel: Largest speed that the time step and the layers are made for. Default: the largest of P waves, or more
            where a contrast of density needs it (docs/propagators.md has numbers); required where the values of a model
            are not known, as under ``jit``. One that is too small is a :class:`SpeedWarning`.
        survey_pad, origin: Choose the part of the model that is used.
        vz_0, vy_0, vx_0: Initial velocities, half a step of the loop earlier: [shot, *region], or with the layers and
            the value before the first cell of their own axis, as they are returned. Default: what they must be for
            nothing to move at time 0, given the initial stresses. Zeros that are given mean zeros.
        sigmazz_0, sigmayz_0, sigmaxz_0, sigmayy_0, sigmaxy_0, sigmaxx_0: Initial stresses, the same.
        initial_state: State of an earlier run, in place of the initial wavefields: continues it exactly, with the same
            sources where there are sub-steps.
        model_gradient_sampling_interval, freq_taper_frac, time_pad_frac, time_taper: As for :func:`scalar`.
        forward_callback, backward_callback, callback_frequency: The same. The wavefields are "vx_0", "sigmaxx_0", ...;
            the gradients are those with respect to "lamb" and "mu" of the normal stresses and, between cells,
            "mu_xy", ..., "buoyancy_x", ...
        storage_mode, storage_path, storage_compression: Where a model gradient keeps its wavefields.

    Returns:
        An :class:`ElasticResult`, with records ``receiver_amplitudes_p``, ``_z``, ``_y``, ``_x`` and those of the
        strain rate.

    Raises:
        TypeError, ValueError: If an argument is wrong; before anything runs.
        FloatingPointError: If the wavefield becomes non-finite (called eagerly; under ``jit`` see ``is_finite``).
        jaxwave.StorageError: If storage fails: a full disk, an altered file, ...

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

    Reference:
        J. Virieux, Geophysics 51 (1986); A. R. Levander, Geophysics 53 (1988); P. Moczo et al., Bull. Seism. Soc. Am.
        92 (2002); moment tensors: K. Aki and P. G. Richards, Quantitative Seismology (2002), chapter 3; multi-axial
        PML: K. C. Meza-Fajardo and A. S. Papageorgiou, Bull. Seism. Soc. Am. 98 (2008).
    """
    out = run(describe(Elastic(), **by_name(locals())))
    fields = [out.wavefields.get(name) for name in ElasticState._fields[:9]]
    records = [out.records.get(kind) for kind in Elastic().receiver_kinds(3)]
    return ElasticResult(*fields, *out.memory.values(), out.last_sources, out.is_finite, out.info, *records)


def by_name(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with those in the mappings ``sources`` and ``receivers`` under names of their own."""
    flat = dict(arguments)
    sources, receivers = (validate.mapping(name, flat.pop(name, None)) for name in ("sources", "receivers"))
    given = {f"receiver_locations_{kind}": x for kind, x in receivers.items()}
    for kind, pair in sources.items():
        amplitudes, locations = validate.pair(f"sources[{kind!r}]", pair)
        given |= {f"source_amplitudes_{kind}": amplitudes, f"source_locations_{kind}": locations}
    for name, x in given.items():
        validate.once(name, flat.get(name))
        flat[name] = x
    return flat


class Outcome(NamedTuple):
    """What any run returns: wavefields and memory variables by name, records by kind of receiver."""

    wavefields: dict[str, jax.Array]
    memory: dict[str, tuple[jax.Array, ...]]
    last_sources: LastSources | None
    is_finite: jax.Array
    info: RunInfo
    records: dict[str, jax.Array]


def run(problem: Problem) -> Outcome:
    """Runs a checked call."""
    setup, info = problem.setup, problem.info
    inputs, weights = run_inputs(setup, problem.arrays, info.max_vel, info.pml_freq)
    data, x = propagate(inputs, problem.plan)
    records, wavefields, memory, is_finite = finish(setup, inputs.operands["receivers"], weights, data, x)
    if validate.surely_false(is_finite):
        raise FloatingPointError(
            f"the wavefield became non-finite within {setup.nt} steps of dt={setup.dt:g} s "
            f"({setup.step_ratio} sub-steps each, max_vel={info.max_vel:g}); check the source amplitudes and initial "
            "wavefields for values near the end of the floating-point range, and max_vel against the model"
        )
    # A compiled function returns mappings in alphabetical order.
    wavefields = {name: wavefields[name] for name in setup.equation.wavefield_offsets(setup.grid.ndim)}
    memory = {name: memory[name] for name in setup.equation.memory_names}
    return Outcome(wavefields, memory, _last_sources(problem), is_finite, info, records)


def _last_sources(problem: Problem) -> LastSources | None:
    """What a run with sub-steps leaves of its sources to the run that goes on."""
    setup, arrays = problem.setup, problem.arrays
    if setup.step_ratio == 1:
        return None
    samples = last_samples(setup, arrays["amplitudes"], arrays["before"])
    return LastSources(samples, setup.step_ratio, min((setup.n_before or 0) + setup.nt, substeps.REACH))
