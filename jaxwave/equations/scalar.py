"""The scalar wave equation with a convolutional PML.

Continuous:  laplacian(u) - u_tt / v^2 = f.  Discrete, with c = v^2 dt^2, D and D2 the centred first and second
differences along one axis, and the layer's profiles a and b (zero outside the layer):

    psi[t+1]  = b psi[t]  + a D u[t]                       one psi and one zeta for each axis
    zeta[t+1] = b zeta[t] + a (D2 u[t] + D psi[t+1])
    G         = sum over axes of D2 u[t] + D psi[t+1] + zeta[t+1]
    u[t+1]    = 2 u[t] - u[t-1] + c G + s[t]

The only term that the gradient of c needs is G. With the adjoint state scaled by c, mu = c lambda, its recursion is

    Z' = b Z + a mu        P' = b P + a D(mu + Z')        mu[t-1] = 2 mu[t] - mu[t+1] + c sum(D2 mu + D2 Z' + D P')

the same main update with the same zero halo: the operator of the interior is self-adjoint up to the scaling.

At a face without a layer the second differences see mirror images beyond it: antisymmetric ones at a free face, so that
u = 0 there, symmetric ones at a rigid face (:mod:`jaxwave._numerics.closures`). They are symmetric matrices, so nothing
else changes.

How the updates are written decides their speed tenfold in XLA on a CPU:

* every update is elementwise in the array that it replaces, and stencils enter through one pad of their result, so
  that XLA works in place and on all cores;
* a result that has several users ends in a division by ``one`` (a traced 1), which makes it too expensive for XLA to
  duplicate into its users; a duplicate would keep the old array alive and force a copy of it in every step.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxwave._numerics import closures, points, ring, stencils
from jaxwave._numerics.boundary import Layer, Memory, Range, pml_profiles
from jaxwave.equations.base import Equation, Model, model


class ScalarState(NamedTuple):
    """u[t], u[t-1] on the padded grid, and per layer psi over its extent and zeta over its reach; shots lead."""

    u: jax.Array
    u_previous: jax.Array
    psi: tuple[jax.Array, ...]
    zeta: tuple[jax.Array, ...]


class ScalarAdjoint(NamedTuple):
    """c lambda at two times, and per layer Z = a times the cotangent of zeta, P = -a times that of psi (extents)."""

    mu: jax.Array
    mu_next: jax.Array
    z: tuple[jax.Array, ...]
    p: tuple[jax.Array, ...]


class Scalar(Equation):
    """The scalar equation. Its coefficients are (c,), c [1 or shot, *padded], zero outside the interior.

    Attributes:
        v: Wave speed [*cells] (m/s), or [shot, *cells].
    """

    v: Model = model("positive")

    memory_names = ("psi", "zeta")
    levels = 2
    coefficients_of_terms = ((0,),)
    reversible = True

    # ---- for the front end ----

    def wavefield_offsets(self, ndim: int) -> dict[str, tuple[int, ...]]:
        return {"wavefield_0": (0,) * ndim, "wavefield_m1": (0,) * ndim}

    @staticmethod
    def fastest(values) -> float:
        """Also what the time step is made for. The largest frequency of v L v is at most that of L times the largest v,
        at a face too: L is a part there of that with images.
        """
        return float(values["v"].max())

    @staticmethod
    def smallest_speed(values, ndim) -> float:
        return float(values["v"].min())

    def coefficients(self, models, dt):
        return (self.grid.to_padded((models["v"] * dt) ** 2),)

    def source_scale(self, m, kind, cells, dt):
        return -points.at(m[0], cells)

    def profiles(self, dt, max_vel, pml_freq, dtype):
        return pml_profiles(self.grid, dt, max_vel, pml_freq, dtype)

    def memory(self) -> tuple[tuple[Memory, ...], ...]:
        layers, centred = self.grid.layers, (0,) * self.grid.ndim
        return tuple(tuple(Memory(s.axis, s.cells, cells(s), centred) for s in layers) for cells in (_extent, _reach))

    def pack(self, wavefields, memory) -> ScalarState:
        return ScalarState(*wavefields, *memory)

    def unpack(self, x: ScalarState):
        return (x.u, x.u_previous), (x.psi, x.zeta)

    def at_rest(self, m, wavefields, missing):
        """u[-1] = u[0] + c/2 laplacian(u[0]), as of any u that is even in time; the layers remember nothing yet."""
        if "wavefield_m1" not in missing:
            return wavefields
        u = wavefields["wavefield_0"]
        return {**wavefields, "wavefield_m1": u + m[0] / 2 * self._laplacian(u)}

    # ---- geometry ----

    def _d(self, x: jax.Array, layer: Layer, cells: Range, origin: int = 0) -> jax.Array:
        """First difference along the layer's axis at ``cells``, of an array that begins at cell ``origin``."""
        grid, axis = self.grid, layer.axis
        return stencils.first_difference(
            x, axis + 1, cells.start - origin, cells.size, grid.accuracy, grid.spacing[axis]
        )

    def _d2(self, x: jax.Array, layer: Layer, cells: Range, origin: int = 0) -> jax.Array:
        grid, axis = self.grid, layer.axis
        return stencils.second_difference(
            x, axis + 1, cells.start - origin, cells.size, grid.accuracy, grid.spacing[axis]
        )

    def _pad(self, x: jax.Array, layer: Layer, cells: Range, into: Range) -> jax.Array:
        """An array over ``cells`` of the layer's axis, padded with zeros to ``into``."""
        config = [(0, 0, 0)] * x.ndim
        config[layer.axis + 1] = (cells.start - into.start, into.stop - cells.stop, 0)
        return lax.pad(x, x.dtype.type(0), config)

    def _laplacian(self, u: jax.Array) -> jax.Array:
        grid, r, last = self.grid, self.grid.halo, self.grid.ndim - 1
        found = [
            closures.second(grid.accuracy, closures.images(e), n) for e, n in zip(grid.ends, grid.interior, strict=True)
        ]
        found = [[p.scaled(1 / h**2).moved(r, r) for p in x] for x, h in zip(found, grid.spacing, strict=True)]
        # XLA on a CPU vectorises a stencil with lines for weights along the last axis, and along the others, if there
        # are layers too, only products of lines with the cells next to a face.
        plain = range(grid.ndim if not found[last] else last)
        total = jnp.zeros_like(u)
        if plain:
            inner = stencils.laplacian(u, r, grid.interior, grid.accuracy, grid.spacing, plain)
            total = self._pad_axes(inner, {axis: Range(r, r + n) for axis, n in enumerate(grid.interior)})
        for axis in plain:
            for patch in found[axis]:
                total = total + patch.spread(grid.padded[axis]).of(u, axis + 1)
        if found[last]:
            cells = Range(r, r + grid.interior[last])
            weights = {k: w / grid.spacing[last] ** 2 for k, w in stencils.second_weights(grid.accuracy).items()}
            weights, far = closures.with_patches(weights, found[last], cells)
            line = stencils.weighted(u, last + 1, cells.start, cells.size, weights)
            total = total + self._pad_axes(line, {last: cells})
            for patch in far:
                total = total + self._pad_axes(patch.of(u, last + 1), {last: patch.rows})
        return total

    def _pad_axes(self, x: jax.Array, cells: dict[int, Range]) -> jax.Array:
        """An array over these cells of the model's axes, and the whole of others, padded with zeros."""
        config = [(0, 0, 0)] * x.ndim
        for axis, span in cells.items():
            config[axis + 1] = (span.start, self.grid.padded[axis] - span.stop, 0)
        return lax.pad(x, x.dtype.type(0), config)

    def _everywhere(self, layer: Layer) -> Range:
        return Range(0, self.grid.padded[layer.axis])

    # ---- forward ----

    def step(self, m, operands, x, amplitudes, scatter, keep):
        (c,) = m
        one, profiles, layers = points.opaque_one(c, self.grid.halo), operands.profiles, self.grid.layers
        u, u_previous, psi, zeta = x
        psi = tuple(
            (p["b_extent"] * q + self._pad(p["a_layer"] * self._d(u, s, s.cells), s, s.cells, s.extent)) / one
            for p, q, s in zip(profiles, psi, layers, strict=True)
        )
        d_psi = [self._d(q, s, s.reach, s.extent.start) for q, s in zip(psi, layers, strict=True)]
        zeta = tuple(
            (p["b_reach"] * z + p["a_reach"] * (self._d2(u, s, s.reach) + dq)) / one
            for p, z, dq, s in zip(profiles, zeta, d_psi, layers, strict=True)
        )
        g = self._laplacian(u)
        for z, dq, s in zip(zeta, d_psi, layers, strict=True):
            g = g + self._pad(z + dq, s, s.reach, self._everywhere(s))
        if keep[0]:
            g = g / one
        u_next = 2 * u - u_previous + c * g
        for (dc,), (stored,) in scatter:
            u_next = u_next + dc * stored
        for cells in operands.sources.values():
            u_next = points.add(u_next, cells, amplitudes)
        return ScalarState(u_next, u, psi, zeta), (g if keep[0] else None,)

    def record(self, operands, x):
        return points.join([points.get(x.u, cells) for cells in operands.receivers.values()], x.u)

    # ---- backwards in time ----

    def ring(self, x: ScalarState) -> list[jax.Array]:
        """zeta + D psi of every layer, each cell once."""
        added = [
            z + self._d(q, s, s.reach, s.extent.start) for z, q, s in zip(x.zeta, x.psi, self.grid.layers, strict=True)
        ]
        return ring.gather(self.grid, self._reached, added)

    @property
    def _reached(self) -> list[ring.Place]:
        return [(s.axis, s.reach) for s in self.grid.layers]

    def time_reversed_step(self, m, operands, levels, amplitudes, scatter, layers, keep):
        """From u[t+1] and u[t] to u[t] and u[t-1], and G[t], given what the layers add to it."""
        (c,) = m
        u_next, u = levels
        g = self._laplacian(u) / points.opaque_one(c, self.grid.halo)
        g = ring.add(g, layers, ring.boxes(self.grid, self._reached))
        u_previous = 2 * u - u_next + c * g
        for (dc,), (stored,) in scatter:
            u_previous = u_previous + dc * stored
        for cells in operands.sources.values():
            u_previous = points.add(u_previous, cells, amplitudes)
        return [u, u_previous], (g if keep[0] else None,)

    # ---- adjoint ----

    def adjoint_step(self, m, operands, w, images):
        (c,) = m
        ds = self._adjoint_record(m, operands, w)
        gradients = [(total + w.mu * g,) for (total,), (g,) in images]
        one, ds = points.order_after(points.opaque_one(c, self.grid.halo), ds, gradients)
        profiles, layers = operands.profiles, self.grid.layers
        mu, mu_next, z, p = w
        z = tuple(
            (q["b_extent"] * y + q["a_extent"] * stencils.cells(mu, s.axis + 1, s.extent.start, s.extent.size)) / one
            for q, y, s in zip(profiles, z, layers, strict=True)
        )
        p = tuple(
            (
                q["b_extent"] * y
                + self._pad(
                    q["a_layer"] * (self._d(mu, s, s.cells) + self._d(zs, s, s.cells, s.extent.start)),
                    s, s.cells, s.extent,
                )
            )
            / one
            for q, y, zs, s in zip(profiles, p, z, layers, strict=True)
        )  # fmt: skip
        g = self._laplacian(mu)
        for zs, ps, s in zip(z, p, layers, strict=True):
            inner = self._d2(zs, s, s.reach, s.extent.start) + self._d(ps, s, s.reach, s.extent.start)
            g = g + self._pad(inner, s, s.reach, self._everywhere(s))
        return ScalarAdjoint(2 * mu - mu_next + c * g, mu, z, p), ds, gradients

    def adjoint_inject(self, m, operands, w, data):
        mu = w.mu
        for cells in operands.receivers.values():
            mu = points.add(mu, cells, points.at(m[0], cells) * data)
        return w._replace(mu=mu)

    def _adjoint_record(self, m, operands, w):
        found = [points.divide(points.get(w.mu, cells), points.at(m[0], cells)) for cells in operands.sources.values()]
        return points.join(found, w.mu)

    def adjoint_start(self, m, operands, cotangent):
        (c,) = m
        u, u_previous, psi, zeta = cotangent
        z, p = [], []
        for q, cot_psi, cot_zeta, s in zip(operands.profiles, psi, zeta, self.grid.layers, strict=True):
            ratio = points.divide(q["a_extent"], q["b_extent"])
            z.append(ratio * self._pad(cot_zeta, s, s.reach, s.extent))
            p.append(-ratio * cot_psi)
        return ScalarAdjoint(c * u, -c * u_previous, tuple(z), tuple(p))

    def adjoint_finish(self, m, operands, w):
        (c,) = m
        psi, zeta = [], []
        for q, z, p, s in zip(operands.profiles, w.z, w.p, self.grid.layers, strict=True):
            ratio = points.divide(q["b_extent"], q["a_extent"])
            full = ratio * z
            zeta.append(stencils.cells(full, s.axis + 1, s.reach.start - s.extent.start, s.reach.size))
            psi.append(-ratio * p)
        return ScalarState(points.divide(w.mu, c), -points.divide(w.mu_next, c), tuple(psi), tuple(zeta))

    # ---- gradient ----

    def gradient_start(self, m, w):
        return (jnp.zeros_like(w.mu),)

    def gradient_finish(self, m, gradient):
        (c,) = m
        return (points.divide(points.sum_shots(gradient[0], c), c),)

    # ---- for callbacks ----

    def model_gradients(self, m, gradient, dt):
        return {"v": 2 * dt * jnp.sqrt(m[0]) * self.gradient_finish(m, gradient)[0]}  # c = (v dt)^2

    def adjoint_wavefields(self, m, w):
        return {"wavefield_0": points.divide(w.mu, m[0]), "wavefield_m1": points.divide(w.mu_next, m[0])}


def _extent(layer: Layer) -> Range:
    return layer.extent


def _reach(layer: Layer) -> Range:
    return layer.reach
