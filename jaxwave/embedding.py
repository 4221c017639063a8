"""Between a user's arrays and the padded grid: plain JAX, differentiated by JAX.

:func:`prepare` makes the operands of the time loop from models, amplitudes, locations and initial wavefields;
:func:`finish` makes records and a user's view of the final state from what the loop returns. What is peculiar to a
physics comes from its equation.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxwave.boundary import Grid
from jaxwave.chunks import RunInputs
from jaxwave.equations import points
from jaxwave.equations.base import Equation
from jaxwave.resample import downsample, upsample
from jaxwave.survey import Points


@dataclasses.dataclass(frozen=True)
class Setup:
    """What is static about a call, before the storage policy. Hashable."""

    equation: Equation
    n_shots: int
    nt: int
    dt: float
    inner_dt: float
    step_ratio: int
    resampling: tuple[tuple[str, Any], ...]

    @property
    def grid(self) -> Grid:
        return self.equation.grid


@functools.lru_cache(maxsize=8)
def profiles(equation: Equation, dt: float, max_vel: float, pml_freq: float, dtype):
    """The layers' profiles: NumPy arrays, computed once for each grid and set of numbers."""
    return equation.profiles(dt, max_vel, pml_freq, dtype)


def run_inputs(setup: Setup, arrays: dict[str, Any], max_vel: float, pml_freq: float) -> tuple[RunInputs, jax.Array]:
    """The operands of a run, and the weights of its records."""
    m, operands, weights, amplitudes, x = prepare(setup, arrays)
    layers = profiles(setup.equation, setup.inner_dt, max_vel, pml_freq, np.dtype(m[0].dtype))
    return RunInputs(m, {**operands, "profiles": layers}, [], amplitudes, x), weights


@functools.partial(jax.jit, static_argnums=0)
def prepare(setup: Setup, arrays: dict[str, Any]):
    """Coefficients, constants, weights of the records, injected amplitudes [nt, shot, source], first state.

    The arrays are those of a checked problem, whose sources and receivers are :class:`Points` already.
    """
    models = {name: _on_interior(setup, model, arrays["start"]) for name, model in arrays["models"].items()}
    dtype = next(iter(models.values())).dtype
    m = setup.equation.coefficients(models, setup.inner_dt)
    sources, receivers = arrays["sources"], arrays["receivers"]
    operands = {
        "sources": {kind: found.cells for kind, found in sources.items()},
        "receivers": {kind: found.cells for kind, found in receivers.items()},
    }
    weights = jnp.concatenate([_no_points(setup, dtype), *(found.weight for found in receivers.values())], axis=1)
    state = setup.equation.confine(m, _first_state(setup, m, arrays))
    return m, operands, weights, _injected(setup, m, arrays["amplitudes"], sources, dtype), state


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


def _injected(setup: Setup, m, amplitudes: Mapping[str, Any], sources: Mapping[str, Points], dtype) -> jax.Array:
    """What is added to the wavefields in each step: [nt, shot, source], one kind of source after the other."""
    parts = [jnp.zeros((setup.nt * setup.step_ratio, setup.n_shots, 0), dtype)]
    for kind, f in amplitudes.items():
        f = upsample(f, setup.step_ratio, **dict(setup.resampling))
        scale = setup.equation.source_scale(m, kind, sources[kind].cells, setup.inner_dt) * sources[kind].weight
        parts.append(jnp.moveaxis(scale[:, :, None] * f, 2, 0))
    return parts[-1] if len(parts) < 3 else jnp.concatenate(parts[1:], axis=2)


def _first_state(setup: Setup, m, arrays: dict[str, Any]):
    equation, geometry, fields, memory = setup.equation, setup.grid, arrays["fields"], arrays["memory"]
    dtype = next(iter(arrays["models"].values())).dtype
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
def finish(setup: Setup, receivers: Mapping[str, Any], weights: jax.Array, data: jax.Array, x: Any):
    """Records [shot, receiver, nt] by kind; the final wavefields and memory variables as users see them; whether the
    wavefields are finite.
    """
    equation, geometry = setup.equation, setup.grid
    records = downsample(jnp.moveaxis(data, 0, 2), setup.step_ratio, **dict(setup.resampling)) * weights[:, :, None]
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
