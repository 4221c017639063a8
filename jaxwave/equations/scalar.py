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

How the updates are written decides their speed tenfold in XLA. Every update is elementwise in the array that it
replaces, and stencils enter through one pad of their result, so that XLA works in place and on all cores. What becomes
an array of its own is up to the form of the loops (:mod:`jaxwave._numerics.forms`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxwave._numerics import closures, cuts, points, ring, stencils
from jaxwave._numerics.boundary import Layer, Memory, Range, pml_profiles
from jaxwave.equations.base import Equation, Model, model


class ScalarState(NamedTuple):
    """u[t], u[t-1] on the padded grid, and psi of each layer over its extent, zeta over its reach; shots lead."""

    u: jax.Array
    u_previous: jax.Array
    memory: Any


class ScalarAdjoint(NamedTuple):
    """c lambda at two times, and Z = a times the cotangent of zeta and P = -a times that of psi of each layer."""

    mu: jax.Array
    mu_next: jax.Array
    memory: Any


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
    divisible = True

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
        return ScalarState(*wavefields, tuple(map(tuple, memory)))

    def unpack(self, x: ScalarState):
        return (x.u, x.u_previous), x.memory

    def enter(self, x: ScalarState) -> ScalarState:
        first, second = x.memory
        return x._replace(u=self._exchanged(x.u), memory=self._hold(first, lambda _: second))

    def leave(self, x: ScalarState) -> ScalarState:
        return x._replace(memory=tuple(map(tuple, self.grid.form.groups(x.memory))))

    def _hold(self, first: Sequence[jax.Array], second: Callable[..., Sequence[jax.Array]]):
        """Memory variables of two kinds as a loop holds them; ``second(first)`` are those that are made of the first.

        One vector for both evaluates the first again in the second, which saves a kernel. Where a wavefield is large,
        time goes with what is read, and there are two vectors.
        """
        form, cells = self.grid.form, math.prod(self.grid.padded)
        if self.grid.ndim < 3 and (not first or first[0].shape[0] * cells <= form.small):
            return form.hold([first, second(first)])
        held = form.hold([first])
        (first,) = form.groups(held)
        return form.written(held + form.hold([second(first)]))

    def wavefields(self, x: ScalarState) -> dict[str, jax.Array]:
        return {"wavefield_0": x.u, "wavefield_m1": x.u_previous}

    def term_shape(self, x: ScalarState) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.u.shape, x.u.dtype)

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

    def _exchanged(self, u: jax.Array, sent: jax.Array | None = None) -> jax.Array:
        """u with its halos as the neighbours have them, along axes that are cut (see :func:`cuts.exchange`)."""
        for axis in range(self.grid.ndim):
            u = cuts.exchange(self.grid, u, axis, sent)
        return u

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
        (c,), form = m, self.grid.form
        one, u = form.one(c, self.grid.halo), x.u
        memory = self._remembered(u, x.memory, operands.profiles, one)
        g = self._term(u, memory)
        g = form.alone(g, one) if keep[0] else g
        stored = form.stored(g, self._term, u, memory) if keep[0] else None

        def updated(g: jax.Array, u: jax.Array, u_previous: jax.Array) -> jax.Array:
            u_next = 2 * u - u_previous + c * g
            for (dc,), (of_history,) in scatter:
                u_next = u_next + dc * of_history
            for cells in operands.sources.values():
                u_next = form.add(u_next, cells, amplitudes)
            return u_next

        def again(u: jax.Array, u_previous: jax.Array, memory: Any) -> jax.Array:
            return updated(self._term(u, memory), u, u_previous)

        u_next = form.written(updated(g, u, x.u_previous))
        if self.grid.cuts:
            u_next = self._exchanged(u_next, form.sent(u_next, again, amplitudes.shape[1], u, x.u_previous, memory))
        return ScalarState(u_next, u, memory), (stored,)

    def _remembered(self, u: jax.Array, memory, profiles, one):
        """psi and zeta after the step."""
        form, layers = self.grid.form, self.grid.layers
        psi, zeta = form.groups(memory)
        psi = [
            form.alone(p["b_extent"] * q + self._pad(p["a_layer"] * self._d(u, s, s.cells), s, s.cells, s.extent), one)
            for p, q, s in zip(profiles, psi, layers, strict=True)
        ]

        def zeta_after(psi: Sequence[jax.Array]) -> list[jax.Array]:
            return [
                form.alone(p["b_reach"] * z + p["a_reach"] * (self._d2(u, s, s.reach) + self._d_psi(q, s)), one)
                for p, q, z, s in zip(profiles, psi, zeta, layers, strict=True)
            ]

        return self._hold(psi, zeta_after)

    def _term(self, u: jax.Array, memory) -> jax.Array:
        """G, given psi and zeta after the step."""
        g = self._laplacian(u)
        for q, z, s in zip(*self.grid.form.groups(memory), self.grid.layers, strict=True):
            g = g + self._pad(z + self._d_psi(q, s), s, s.reach, self._everywhere(s))
        return g

    def _d_psi(self, psi: jax.Array, layer: Layer) -> jax.Array:
        return self._d(psi, layer, layer.reach, layer.extent.start)

    def record(self, operands, x):
        return points.join([points.get(x.u, cells) for cells in operands.receivers.values()], x.u)

    # ---- backwards in time ----

    def ring(self, x: ScalarState) -> list[jax.Array]:
        """zeta + D psi of every layer, each cell once."""
        psi, zeta = self.grid.form.groups(x.memory)
        added = [z + self._d_psi(q, s) for z, q, s in zip(zeta, psi, self.grid.layers, strict=True)]
        return ring.gather(self.grid, self._reached, added)

    @property
    def _reached(self) -> list[ring.Place]:
        return [(s.axis, s.reach) for s in self.grid.layers]

    def time_reversed_step(self, m, operands, levels, amplitudes, scatter, layers, keep):
        """From u[t+1] and u[t] to u[t] and u[t-1], and G[t], given what the layers add to it."""
        (c,) = m
        u_next, u = levels
        form = self.grid.form
        g = form.alone(self._laplacian(u), form.one(c, self.grid.halo))
        g = ring.add(g, layers, ring.boxes(self.grid, self._reached))
        u_previous = 2 * u - u_next + c * g
        for (dc,), (stored,) in scatter:
            u_previous = u_previous + dc * stored
        for cells in operands.sources.values():
            u_previous = form.add(u_previous, cells, amplitudes)
        return [u, self._exchanged(u_previous)], (g if keep[0] else None,)

    # ---- adjoint ----

    def adjoint_step(self, m, operands, w, images):
        w = w._replace(mu=self._exchanged(w.mu))
        (c,), form, mu = m, self.grid.form, w.mu
        ds = self._adjoint_record(m, operands, w)
        gradients = [(total + mu * g,) for (total,), (g,) in images]
        one, ds = form.order_after(form.one(c, self.grid.halo), ds, gradients)
        memory = self._remembered_back(mu, w.memory, operands.profiles, one)
        before = 2 * mu - w.mu_next + c * self._adjoint_term(mu, memory)
        return ScalarAdjoint(form.written(before), mu, memory), ds, gradients

    def _remembered_back(self, mu: jax.Array, memory, profiles, one):
        """Z and P after the step."""
        form, layers = self.grid.form, self.grid.layers
        z, p = form.groups(memory)
        seen = [stencils.cells(mu, s.axis + 1, s.extent.start, s.extent.size) for s in layers]
        z = [
            form.alone(q["b_extent"] * x + q["a_extent"] * y, one)
            for q, x, y in zip(profiles, z, seen, strict=True)
        ]  # fmt: skip

        def derivative(z: jax.Array, s: Layer) -> jax.Array:
            return self._d(mu, s, s.cells) + self._d(z, s, s.cells, s.extent.start)

        def p_after(z: Sequence[jax.Array]) -> list[jax.Array]:
            return [
                form.alone(q["b_extent"] * y + self._pad(q["a_layer"] * derivative(x, s), s, s.cells, s.extent), one)
                for q, x, y, s in zip(profiles, z, p, layers, strict=True)
            ]

        return self._hold(z, p_after)

    def _adjoint_term(self, mu: jax.Array, memory) -> jax.Array:
        """What c multiplies, given Z and P after the step."""
        g = self._laplacian(mu)
        for z, p, s in zip(*self.grid.form.groups(memory), self.grid.layers, strict=True):
            inner = self._d2(z, s, s.reach, s.extent.start) + self._d(p, s, s.reach, s.extent.start)
            g = g + self._pad(inner, s, s.reach, self._everywhere(s))
        return g

    def adjoint_inject(self, m, operands, w, data):
        mu = w.mu
        for cells in operands.receivers.values():
            mu = self.grid.form.add(mu, cells, points.at(m[0], cells) * data)
        return w._replace(mu=mu)

    def _adjoint_record(self, m, operands, w):
        found = [points.divide(points.get(w.mu, cells), points.at(m[0], cells)) for cells in operands.sources.values()]
        return points.join(found, w.mu)

    def adjoint_start(self, m, operands, cotangent):
        (c,) = m
        z, p = [], []
        for q, cot_psi, cot_zeta, s in zip(operands.profiles, *cotangent.memory, self.grid.layers, strict=True):
            ratio = points.divide(q["a_extent"], q["b_extent"])
            z.append(ratio * self._pad(cot_zeta, s, s.reach, s.extent))
            p.append(-ratio * cot_psi)
        return ScalarAdjoint(c * cotangent.u, -c * cotangent.u_previous, self._hold(z, lambda _: p))

    def adjoint_finish(self, m, operands, w):
        (c,) = m
        psi, zeta = [], []
        for q, z, p, s in zip(operands.profiles, *self.grid.form.groups(w.memory), self.grid.layers, strict=True):
            ratio = points.divide(q["b_extent"], q["a_extent"])
            full = ratio * z
            zeta.append(stencils.cells(full, s.axis + 1, s.reach.start - s.extent.start, s.reach.size))
            psi.append(-ratio * p)
        return ScalarState(points.divide(w.mu, c), -points.divide(w.mu_next, c), (tuple(psi), tuple(zeta)))

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
