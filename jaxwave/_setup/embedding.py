"""Between a user's arrays and the padded grid: plain JAX, differentiated by JAX.

:func:`pad_inputs` makes the operands of the time loop from models, amplitudes, locations and wavefields;
:func:`unpad_outputs` makes records and a user's view of the final state from what the loop returns. What differs from
equation to equation comes from the equation.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxwave._numerics import points
from jaxwave._numerics.boundary import PaddedGrid
from jaxwave._setup import substeps
from jaxwave._setup.survey import Points
from jaxwave._timeloop.chunks import RunInputs
from jaxwave.equations.base import Equation, Operands


@dataclasses.dataclass(frozen=True)
class Setup:
    """What is static about a call, before the storage policy. Hashable.

    Attributes:
        n_before: Samples of each source that the run's first state has of an earlier run with sub-steps; None where the
            run begins anew or there are no sub-steps.
    """

    equation: Equation
    n_shots: int
    nt: int
    dt: float
    inner_dt: float
    step_ratio: int
    n_before: int | None = None

    @property
    def grid(self) -> PaddedGrid:
        return self.equation.grid

    @property
    def n_steps(self) -> int:
        """Steps of the loop."""
        return substeps.loop_steps(self.nt, self.step_ratio, self.n_before is not None)

    @property
    def first_sample(self) -> int:
        """The step of the loop that the first sample is recorded before."""
        return substeps.first_sample(self.step_ratio, self.n_before is not None)


class Arrays(NamedTuple):
    """The arrays of a checked call. Mappings are by name, or by kind of source or receiver.

    Attributes:
        models: [*cells] or [shot, *cells].
        amplitudes: [shot, source, nt].
        sources, receivers: Locations [shot, point, axis]; once they are on the padded grid, :class:`Points`.
        fields: Initial wavefields.
        memory: Memory variables of an earlier run, by group; None: zeros.
        before: With sub-steps, the samples of each source that an earlier run has left.
        start: The region's first cell.
    """

    models: Mapping[str, Any]
    amplitudes: Mapping[str, Any]
    sources: Mapping[str, Any]
    receivers: Mapping[str, Any]
    fields: Mapping[str, Any]
    memory: tuple[tuple[Any, ...], ...] | None
    before: Mapping[str, Any]
    start: Any


@functools.lru_cache(maxsize=8)
def profiles(equation: Equation, dt: float, max_vel: float, pml_freq: float, dtype):
    """The layers' profiles: NumPy arrays, computed once for each grid and set of numbers."""
    return equation.profiles(dt, max_vel, pml_freq, dtype)


def run_inputs(setup: Setup, arrays: Arrays, max_vel: float, pml_freq: float) -> tuple[RunInputs, jax.Array]:
    """The operands of a run, and the weights of its records."""
    m, operands, weights, amplitudes, x = pad_inputs(setup, arrays)
    layers = profiles(setup.equation, setup.inner_dt, max_vel, pml_freq, np.dtype(m[0].dtype))
    return RunInputs(m, operands._replace(profiles=layers), [], amplitudes, x), weights


@functools.partial(jax.jit, static_argnums=0)
def pad_inputs(setup: Setup, arrays: Arrays):
    """Coefficients, constants, weights of the records, injected amplitudes [step, shot, source], first state.

    The arrays are those of a checked problem, whose sources and receivers are :class:`Points` already.
    """
    models = {name: _on_interior(setup, model, arrays.start) for name, model in arrays.models.items()}
    dtype = next(iter(models.values())).dtype
    m = setup.equation.coefficients(models, setup.inner_dt)
    sources, receivers = arrays.sources, arrays.receivers
    cells = ({kind: found.cells for kind, found in points.items()} for points in (sources, receivers))
    operands = Operands(*cells, profiles=None)
    weights = jnp.concatenate([_no_points(setup, dtype), *(found.weight for found in receivers.values())], axis=1)
    state = setup.equation.zero_vacuum(m, first_state(setup, m, dtype, arrays.fields, arrays.memory))
    return m, operands, weights, _injected(setup, m, arrays, sources, dtype), state


def _on_interior(setup: Setup, model: jax.Array, start: jax.Array) -> jax.Array:
    """A model [1 or shot, *cells] on the region, which begins at cell ``start``, replicated into the layers.

    Where the region begins is an operand, so that one program serves the regions of a moving survey.
    """
    geometry = setup.grid
    if model.ndim == geometry.ndim:
        model = model[None]
    if model.shape[1:] != geometry.shape:
        model = lax.dynamic_slice(model, (0 * start[0], *start), (model.shape[0], *geometry.shape))
    return jnp.pad(model, [(0, 0), *geometry.faces], mode="edge")


def _no_points(setup: Setup, dtype) -> jax.Array:
    return jnp.zeros((setup.n_shots, 0), dtype)


def _injected(setup: Setup, m, arrays: Arrays, sources: Mapping[str, Points], dtype) -> jax.Array:
    """The increments of the wavefields at the sources: [step, shot, source], one kind of source after the other."""
    parts = [jnp.zeros((setup.n_steps, setup.n_shots, 0), dtype)]
    for kind, f in arrays.amplitudes.items():
        scale = setup.equation.source_scale(m, kind, sources[kind].cells, setup.inner_dt) * sources[kind].weight
        if setup.step_ratio == 1:
            parts.append(jnp.moveaxis(scale[:, :, None] * f, 2, 0))
        else:
            before = jnp.moveaxis(arrays.before[kind], 2, 0) if setup.n_before else None
            parts.append(scale[None] * substeps.interpolate(jnp.moveaxis(f, 2, 0), before, setup.step_ratio))
    return parts[-1] if len(parts) < 3 else jnp.concatenate(parts[1:], axis=2)


def first_state(setup: Setup, m, dtype, fields: Mapping[str, Any] = MappingProxyType({}), memory=None):
    """The state of given wavefields and memory variables; without, at rest."""
    equation, geometry = setup.equation, setup.grid
    zero = jnp.zeros((setup.n_shots, *geometry.padded), dtype)
    wavefields = {
        name: geometry.to_padded(fields[name], offset, equation.zero_faces(name)) if name in fields else zero
        for name, offset in equation.wavefield_offsets(geometry.ndim).items()
    }
    if fields and memory is None:
        wavefields = equation.at_rest(m, wavefields, wavefields.keys() - fields.keys())
    if memory is None:
        held = [[jnp.zeros((setup.n_shots, *geometry.held_shape(q)), dtype) for q in g] for g in equation.memory()]
    else:
        held = [
            [geometry.to_held(x, q) for x, q in zip(given, group, strict=True)]
            for given, group in zip(memory, equation.memory(), strict=True)
        ]
    return equation.pack(tuple(wavefields.values()), tuple(map(tuple, held)))


@functools.partial(jax.jit, static_argnums=0)
def unpad_outputs(setup: Setup, receivers: Mapping[str, Any], weights: jax.Array, data: jax.Array, x: Any):
    """Records [shot, receiver, nt] by kind; the final wavefields and memory variables as users see them; whether the
    wavefields are finite.
    """
    equation, geometry = setup.equation, setup.grid
    records = jnp.moveaxis(data[setup.first_sample :: setup.step_ratio], 0, 2) * weights[:, :, None]
    none = {kind: records[:, :0] for kind in equation.receiver_kinds(geometry.ndim)}
    wavefields, memory = equation.unpack(x)
    offsets = equation.wavefield_offsets(geometry.ndim)
    seen = {
        name: geometry.from_padded(field, offset)
        for (name, offset), field in zip(offsets.items(), wavefields, strict=True)
    }
    remembered = {
        name: tuple(geometry.from_held(y, q) for y, q in zip(held, group, strict=True))
        for name, held, group in zip(equation.memory_names, memory, equation.memory(), strict=True)
    }
    is_finite = jnp.stack([jnp.isfinite(field).all() for field in wavefields]).all()
    return {**none, **points.split(records, receivers)}, seen, remembered, is_finite


@functools.partial(jax.jit, static_argnums=0)
def last_samples(setup: Setup, amplitudes: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, jax.Array]:
    """The samples of each kind of source that a run which goes on from the final state needs."""
    if setup.n_before is None:
        return {kind: substeps.last_samples(f) for kind, f in amplitudes.items()}
    return {kind: substeps.last_samples(jnp.concatenate([before[kind], f], axis=-1)) for kind, f in amplitudes.items()}
