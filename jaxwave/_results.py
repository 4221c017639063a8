"""What a propagator returns."""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import jax

from jaxwave._autotune.planning import Pending, StoragePlan
from jaxwave._setup.survey import Region
from jaxwave.storage.auto import Auto
from jaxwave.storage.base import Storage


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class RunInfo:
    """Static facts about a run.

    Attributes:
        step_ratio: Time steps of the loop per time step of the user (sub-steps).
        inner_dt: Time step of the loop, in seconds. Velocities and strain rates on a staggered grid are recorded half
            of it before their samples' times.
        max_vel: Maximum speed that the sub-steps and the absorbing layers were made for.
        pml_freq: Frequency that the absorbing layers were made for, in Hz.
        region: Part of the model that was used.
        pml_width: Cells of absorbing layer at each face.
        boundary: What each face is: "pml", "free", "rigid", "periodic", or None where fields are zero beyond it.
        policy: Where a gradient keeps its wavefields, as the program knows it; see ``storage``.
        mpml_fraction: Fraction of its damping that a layer has along the other axes (elastic equation).
        state_time: Time of the final state, in seconds from the first sample of the run: (nt - 1) dt + inner_dt, which
            is nt dt without sub-steps.
    """

    step_ratio: int
    inner_dt: float
    max_vel: float
    pml_freq: float
    region: Region
    pml_width: tuple[int, ...]
    boundary: tuple[str | None, ...]
    policy: Storage
    mpml_fraction: float = 0.0
    state_time: float | None = None

    @property
    def storage(self) -> Storage | Auto:
        """Where a gradient keeps its wavefields. Under ``storage_mode="auto"`` the request, and what was chosen once a
        gradient has asked for it.
        """
        chosen = self.storage_plan and self.storage_plan.chosen
        if isinstance(self.policy, Pending):
            return chosen.storage if chosen else self.policy.auto
        return self.policy

    @property
    def storage_plan(self) -> StoragePlan | None:
        """The options that ``storage_mode="auto"`` chose from, and why; None until a gradient has asked for it."""
        return self.policy.known if isinstance(self.policy, Pending) else None


@functools.partial(jax.tree_util.register_dataclass, data_fields=["samples"], meta_fields=["step_ratio", "n_samples"])
@dataclasses.dataclass(frozen=True)
class LastSources:
    """What a run with sub-steps needs besides wavefields to go on: the last samples of the sources.

    The state is at (nt - 1) dt + inner_dt. The sub-steps that are left of that step inject what lies between the last
    sample and the first of the run that goes on, and are taken by that run.

    Attributes:
        samples: [shot, source, ``n_samples``] for each kind of source of the run ("" for that of the scalar equation).
        step_ratio: Sub-steps of a step.
        n_samples: Number of samples, at most 7.
    """

    samples: dict[str, jax.Array]
    step_ratio: int
    n_samples: int


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["wavefields", "memory", "last_sources"], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class State:
    """Everything a run needs to go on exactly: pass it as ``state``.

    Attributes:
        wavefields: By name [shot, *region with layers], with one value more along the axes of their offset.
        memory: Memory variables of the absorbing layers, by group.
        last_sources: With sub-steps a :class:`LastSources`, None without.
    """

    wavefields: dict[str, jax.Array]
    memory: dict[str, tuple[jax.Array, ...]]
    last_sources: LastSources | None = None


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["records", "state", "is_finite", "info"], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class Result:
    """Result of :func:`jaxwave.simulate`: a pytree.

    Attributes:
        records: By kind of receiver [shot, receiver, nt]; [shot, 0, nt] of kinds that were not asked for.
        state: The final state, to continue from.
        is_finite: Whether the final wavefields hold no NaN and no infinity. Look at it under ``jit``; called eagerly,
            a simulation raises instead.
        info: Static facts about the run.
    """

    records: dict[str, jax.Array]
    state: State
    is_finite: jax.Array
    info: RunInfo

    @property
    def record(self) -> jax.Array:
        """The record of an equation with a single kind of receiver.

        Raises:
            ValueError: If there are several.
        """
        if len(self.records) > 1:
            kinds = ", ".join(map(repr, self.records))
            raise ValueError(f"there are records of several kinds, {kinds}; choose one with `records[kind]`")
        (found,) = self.records.values()
        return found


class WaveState(NamedTuple):
    """Everything a run needs to go on exactly: pass it as ``initial_state``.

    Attributes:
        wavefield_0: [shot, *region with layers].
        wavefield_m1: The same, one step of the loop earlier.
        psi: Memory variables of the layers: one array for each face that has one, in the order of ``pml_width``.
        zeta: The same.
        last_sources: With sub-steps a :class:`LastSources`, None without.
    """

    wavefield_0: jax.Array
    wavefield_m1: jax.Array
    psi: tuple[jax.Array, ...]
    zeta: tuple[jax.Array, ...]
    last_sources: LastSources | None = None


class ScalarResult(NamedTuple):
    """Result of :func:`jaxwave.scalar`: a pytree, with the record last.

    Attributes:
        wavefield_0: Final wavefield [shot, *region with layers], at time nt dt; with sub-steps one step of the loop
            after the last sample, at ``info.state_time``: what the source does further on is not known yet.
        wavefield_m1: Wavefield one step of the loop earlier.
        psi: Memory variables of the absorbing layers.
        zeta: The same.
        last_sources: The sources' last samples, None without sub-steps.
        is_finite: Whether the final wavefields hold no NaN and no infinity. Look at it under ``jit``; called eagerly,
            a propagator raises instead.
        info: Static facts about the run.
        receiver_amplitudes: [shot, receiver, nt]; [shot, 0, nt] without receivers.
    """

    wavefield_0: jax.Array
    wavefield_m1: jax.Array
    psi: tuple[jax.Array, ...]
    zeta: tuple[jax.Array, ...]
    last_sources: LastSources | None
    is_finite: jax.Array
    info: RunInfo
    receiver_amplitudes: jax.Array

    @property
    def state(self) -> WaveState:
        """The final state, to continue from."""
        return WaveState(*self[:5])


class AcousticState(NamedTuple):
    """Everything an acoustic run needs to go on exactly: pass it as ``initial_state``.

    Attributes:
        pressure_0: [shot, *region with layers].
        vz_0, vy_0, vx_0: Particle velocities, half a step of the loop earlier, with one value more along their own
            axis; None for axes that the model does not have.
        psi: Memory variables of the pressure's derivatives: one array for each face that has a layer, in the order of
            ``pml_width``.
        phi: The same of the velocities' derivatives.
        last_sources: With sub-steps a :class:`LastSources`, None without.
    """

    pressure_0: jax.Array
    vz_0: jax.Array | None
    vy_0: jax.Array | None
    vx_0: jax.Array
    psi: tuple[jax.Array, ...]
    phi: tuple[jax.Array, ...]
    last_sources: LastSources | None = None


class AcousticResult(NamedTuple):
    """Result of :func:`jaxwave.acoustic`: a pytree. Components along axes that the model does not have are None.

    Attributes:
        pressure_0: Final pressure [shot, *region with layers], at time nt dt; with sub-steps one step of the loop after
            the last sample, at ``info.state_time``.
        vz_0, vy_0, vx_0: Final particle velocities, half a step of the loop earlier. They lie between cells: along its
            own axis each has one value more than there are cells, and value i is half a cell before cell i. Along a
            periodic axis the first and the last are one point: the last has its value, the first is 0.
        psi: Memory variables of the absorbing layers.
        phi: The same.
        last_sources: The sources' last samples, None without sub-steps.
        is_finite: Whether the final wavefields hold no NaN and no infinity. Look at it under ``jit``; called eagerly,
            a propagator raises instead.
        info: Static facts about the run.
        receiver_amplitudes_p: Pressure [shot, receiver, nt]; [shot, 0, nt] if it was not asked for.
        receiver_amplitudes_z, receiver_amplitudes_y, receiver_amplitudes_x: Particle velocities, the same.
    """

    pressure_0: jax.Array
    vz_0: jax.Array | None
    vy_0: jax.Array | None
    vx_0: jax.Array
    psi: tuple[jax.Array, ...]
    phi: tuple[jax.Array, ...]
    last_sources: LastSources | None
    is_finite: jax.Array
    info: RunInfo
    receiver_amplitudes_p: jax.Array
    receiver_amplitudes_z: jax.Array | None
    receiver_amplitudes_y: jax.Array | None
    receiver_amplitudes_x: jax.Array

    @property
    def state(self) -> AcousticState:
        """The final state, to continue from."""
        return AcousticState(*self[:7])


class ElasticState(NamedTuple):
    """Everything an elastic run needs to go on exactly: pass it as ``initial_state``.

    Attributes:
        vz_0, vy_0, vx_0: Particle velocities [shot, *region with layers], half a step of the loop earlier, with one
            value more along their own axis; None for axes that the model does not have.
        sigmazz_0, sigmayy_0, sigmaxx_0: Normal stresses.
        sigmayz_0, sigmaxz_0, sigmaxy_0: The other stresses, with one value more along both of their axes.
        psi: Memory variables of the stresses' derivatives, for each component of the velocity, axis and layer; with an
            ``mpml_fraction`` the layers are those of all axes, beginning with the derivative's own.
        phi: The same of the velocities' derivatives.
        last_sources: With sub-steps a :class:`LastSources`, None without.
    """

    vz_0: jax.Array | None
    vy_0: jax.Array | None
    vx_0: jax.Array
    sigmazz_0: jax.Array | None
    sigmayz_0: jax.Array | None
    sigmaxz_0: jax.Array | None
    sigmayy_0: jax.Array | None
    sigmaxy_0: jax.Array | None
    sigmaxx_0: jax.Array
    psi: tuple[jax.Array, ...]
    phi: tuple[jax.Array, ...]
    last_sources: LastSources | None = None


class ElasticResult(NamedTuple):
    """Result of :func:`jaxwave.elastic`: a pytree. Components along axes that the model does not have are None.

    Attributes:
        vz_0, vy_0, vx_0: Final particle velocities [shot, *region with layers], half a step of the loop before the
            stresses. They lie between cells: along its own axis each has one value more than there are cells, and value
            i is half a cell before cell i. Along a periodic axis the first and the last are one point: the last has its
            value, the first is 0.
        sigmazz_0, sigmayy_0, sigmaxx_0: Final normal stresses, in the cells, at nt dt; with sub-steps at
            ``info.state_time``, one step of the loop after the last sample.
        sigmayz_0, sigmaxz_0, sigmaxy_0: The other stresses, between cells along both of their axes.
        psi, phi: Memory variables of the absorbing layers.
        last_sources: The sources' last samples, None without sub-steps.
        is_finite: Whether the final wavefields hold no NaN and no infinity. Look at it under ``jit``; called eagerly,
            a propagator raises instead.
        info: Static facts about the run.
        receiver_amplitudes_p: Pressure [shot, receiver, nt], minus the mean of the normal stresses; [shot, 0, nt] if it
            was not asked for.
        receiver_amplitudes_z, receiver_amplitudes_y, receiver_amplitudes_x: Particle velocities, the same.
        receiver_amplitudes_zz, receiver_amplitudes_yz, receiver_amplitudes_xz, receiver_amplitudes_yy,
            receiver_amplitudes_xy, receiver_amplitudes_xx: Strain rates, the same.
    """

    vz_0: jax.Array | None
    vy_0: jax.Array | None
    vx_0: jax.Array
    sigmazz_0: jax.Array | None
    sigmayz_0: jax.Array | None
    sigmaxz_0: jax.Array | None
    sigmayy_0: jax.Array | None
    sigmaxy_0: jax.Array | None
    sigmaxx_0: jax.Array
    psi: tuple[jax.Array, ...]
    phi: tuple[jax.Array, ...]
    last_sources: LastSources | None
    is_finite: jax.Array
    info: RunInfo
    receiver_amplitudes_p: jax.Array
    receiver_amplitudes_z: jax.Array | None
    receiver_amplitudes_y: jax.Array | None
    receiver_amplitudes_x: jax.Array
    receiver_amplitudes_zz: jax.Array | None
    receiver_amplitudes_yz: jax.Array | None
    receiver_amplitudes_xz: jax.Array | None
    receiver_amplitudes_yy: jax.Array | None
    receiver_amplitudes_xy: jax.Array | None
    receiver_amplitudes_xx: jax.Array | None

    @property
    def state(self) -> ElasticState:
        """The final state, to continue from."""
        return ElasticState(*self[:12])
