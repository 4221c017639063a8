"""Between a user's arrays and the padded grid: plain JAX, differentiated by JAX.

:func:`prepare` makes the operands of the time loop from models, amplitudes, locations and initial wavefields;
:func:`finish` makes records and a user's view of the final state from what the loop returns.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxwave import boundary
from jaxwave.boundary import Grid
from jaxwave.equations.scalar import ScalarEquation, ScalarState
from jaxwave.resample import downsample, upsample
from jaxwave.results import WaveState
from jaxwave.survey import Region, place


@dataclasses.dataclass(frozen=True)
class Setup:
    """What is static about a call, before the storage policy. Hashable."""

    grid: Grid
    region: Region
    n_shots: int
    nt: int
    dt: float
    inner_dt: float
    step_ratio: int
    resampling: tuple[tuple[str, Any], ...]


@functools.lru_cache(maxsize=8)
def profiles(geometry: Grid, dt: float, max_vel: float, pml_freq: float, dtype):
    """The layers' profiles: NumPy arrays, computed once for each grid and set of numbers."""
    return boundary.pml_profiles(geometry, dt, max_vel, pml_freq, dtype)


@functools.partial(jax.jit, static_argnums=0)
def prepare(setup: Setup, arrays: dict[str, Any]):
    """Coefficients, constants, injected amplitudes [nt, shot, source] and first state of the loop."""
    geometry, v = setup.grid, arrays["v"]
    c = _coefficient(setup, v)
    none = jnp.zeros((setup.n_shots, 0, geometry.ndim), jnp.int32)
    sources, receivers = (
        place(none if arrays[name] is None else jnp.asarray(arrays[name]), setup.region, geometry, v.dtype)
        for name in ("sources", "receivers")
    )
    if arrays["amplitudes"] is None:
        amplitudes = jnp.zeros((setup.nt * setup.step_ratio, setup.n_shots, 0), v.dtype)
    else:
        f = upsample(arrays["amplitudes"], setup.step_ratio, **dict(setup.resampling))
        shot = np.arange(setup.n_shots)[:, None] if c.shape[0] > 1 else np.zeros((setup.n_shots, 1), int)
        scale = -c[(shot, *sources.cells)] * sources.weight
        amplitudes = jnp.moveaxis(scale[:, :, None] * f, 2, 0)
    operands = {"sources": sources.cells, "receivers": receivers.cells}
    return (c,), operands, receivers.weight, amplitudes, _first_state(setup, arrays)


def _coefficient(setup: Setup, v: jax.Array) -> jax.Array:
    """c = v^2 dt^2 on the padded grid [1 or shot, ...]: replicated into the layers, zero in the halo."""
    geometry = setup.grid
    if v.ndim == geometry.ndim:
        v = v[None]
    cut = tuple(slice(a, b) for a, b in zip(setup.region.start, setup.region.stop, strict=True))
    v = jnp.pad(v[(slice(None), *cut)], [(0, 0), *geometry.faces], mode="edge")
    return _to_padded(geometry, (v * setup.inner_dt) ** 2)


def _first_state(setup: Setup, arrays: dict[str, Any]) -> ScalarState:
    geometry = setup.grid
    x = ScalarEquation(geometry).zero_state(setup.n_shots, arrays["v"].dtype)
    fields, memory = arrays["fields"], arrays["memory"]
    if "wavefield_0" in fields:
        x = x._replace(u=_to_padded(geometry, fields["wavefield_0"]))
    if "wavefield_m1" in fields:
        x = x._replace(u_previous=_to_padded(geometry, fields["wavefield_m1"]))
    if memory is not None:
        psi, zeta = memory
        slabs = geometry.slabs
        x = x._replace(
            psi=tuple(_layer_to_slab(geometry, s, q, s.extent) for s, q in zip(slabs, psi, strict=True)),
            zeta=tuple(_layer_to_slab(geometry, s, q, s.reach) for s, q in zip(slabs, zeta, strict=True)),
        )
    return x


@functools.partial(jax.jit, static_argnums=0)
def finish(setup: Setup, weights: jax.Array, data: jax.Array, x: ScalarState):
    """Records [shot, receiver, nt], the user's view of the final state, and whether it is finite."""
    geometry = setup.grid
    records = downsample(jnp.moveaxis(data, 0, 2), setup.step_ratio, **dict(setup.resampling))
    state = WaveState(
        _from_padded(geometry, x.u),
        _from_padded(geometry, x.u_previous),
        tuple(_slab_to_layer(geometry, s, q, s.extent) for s, q in zip(geometry.slabs, x.psi, strict=True)),
        tuple(_slab_to_layer(geometry, s, q, s.reach) for s, q in zip(geometry.slabs, x.zeta, strict=True)),
    )
    is_finite = jnp.isfinite(x.u).all() & jnp.isfinite(x.u_previous).all()
    return records * weights[:, :, None], state, is_finite


def _margins(geometry: Grid) -> list[tuple[int, int]]:
    """Cells of the padded grid before and after the interior, per axis."""
    r = geometry.halo
    return [(r, total - n - r) for total, n in zip(geometry.padded, geometry.interior, strict=True)]


def _to_padded(geometry: Grid, x: jax.Array) -> jax.Array:
    return jnp.pad(x, [(0, 0), *_margins(geometry)])


def _from_padded(geometry: Grid, x: jax.Array) -> jax.Array:
    r = geometry.halo
    return x[(slice(None), *(slice(r, r + n) for n in geometry.interior))]


def layer_shape(geometry: Grid, slab) -> tuple[int, ...]:
    """Shape of a layer's memory variables as users see them."""
    return tuple(slab.layer.size if axis == slab.axis else n for axis, n in enumerate(geometry.interior))


def _layer_margins(geometry: Grid, slab, cells) -> list[tuple[int, int]]:
    margins = _margins(geometry)
    margins[slab.axis] = (slab.layer.start - cells.start, cells.stop - slab.layer.stop)
    return margins


def _layer_to_slab(geometry: Grid, slab, x: jax.Array, cells) -> jax.Array:
    """Memory variables of a layer, as users see them, into the slab that holds them."""
    return jnp.pad(x, [(0, 0), *_layer_margins(geometry, slab, cells)])


def _slab_to_layer(geometry: Grid, slab, x: jax.Array, cells) -> jax.Array:
    margins = _layer_margins(geometry, slab, cells)
    sizes = layer_shape(geometry, slab)
    return x[(slice(None), *(slice(lo, lo + n) for (lo, _), n in zip(margins, sizes, strict=True)))]
