"""The acoustic wave equation with variable density, pressure and particle velocity on a staggered grid, with a PML.

Continuous, with K = rho v^2 (bulk modulus) and b = 1 / rho (buoyancy):

    v_t = -b grad p + b f        p_t = -K div v + K q

Discrete: p at the cells at times t, the velocity along each axis between two cells of that axis and half a time step
earlier. With D the staggered difference, the layers' profiles a and b_ (zero outside), B = b dt and K = rho v^2 dt:

    psi'_i = b_ psi_i + a D_i p          v'_i = v_i + B_i f_i - B_i (D_i p + psi'_i)           for each axis i
    phi'_i = b_ phi_i + a D_i v'_i       p'   = p + K q - K sum of (D_i v'_i + phi'_i)

The terms of the coefficients are -(D_i p + psi'_i) for B_i and -sum(D_i v'_i + phi'_i) for K. Between cells the density
is the arithmetic mean of its two neighbours (Moczo et al., 2002), so the buoyancy is 2 / (rho_1 + rho_2). In vacuum,
cells of rho = 0, K is zero, and so is B between two of them: a free surface of any shape, in steps of cells.

Along its own axis a velocity has one value more than there are cells; the first and the last lie on the faces. There
the fields go on as mirror images: the pressure antisymmetric at a free face, symmetric at a rigid one, the velocity
along the normal the other way round (:mod:`jaxwave.equations.closures`). A point on such a face stands for half a cell,
w = 1/2, and a force acts on w rho. At a face that is neither, and without a layer, the pressure is zero beyond.

With the adjoint scaled by the coefficients, P = K times the cotangent of p and U = B times that of v, its recursion has
the same updates, in reverse:

    Z'_i = b_ Z_i + a P          U'_i = U_i + B_i D_i (P + Z'_i)
    Y'_i = b_ Y_i + a U'_i       P'   = P + K sum of D_i (U'_i + Y'_i)

Every update is written as in :mod:`jaxwave.equations.scalar`, for the same reasons.

References:
    J. Virieux, "P-SV wave propagation in heterogeneous media: velocity-stress finite-difference method", Geophysics 51
    (1986); R. W. Graves, "Simulating seismic wave propagation in 3D elastic media using staggered-grid finite
    differences", Bull. Seism. Soc. Am. 86 (1996); P. Moczo et al., "3D heterogeneous staggered-grid finite-difference
    modeling of seismic motion with volume harmonic and arithmetic averaging of elastic moduli and densities", Bull.
    Seism. Soc. Am. 92 (2002).
"""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxwave.boundary import Grid, Memory
from jaxwave.equations import closures, points, staggered
from jaxwave.equations.derivative import Derivative, all_profiles, applied, transposed
from jaxwave.equations.staggered import Sum, components, unit

Memories = tuple[tuple[jax.Array, ...], ...]
"""For each axis, the memory variables of its layers."""


class AcousticState(NamedTuple):
    """p[t] and, for each axis, v[t - 1/2] on the padded grid; psi and phi of each axis and layer. Shots lead."""

    p: jax.Array
    v: tuple[jax.Array, ...]
    psi: Memories
    phi: Memories


class AcousticAdjoint(NamedTuple):
    """P, U, and the adjoint's memory over the layers' extents: Y belongs to psi, Z to phi."""

    p: jax.Array
    u: tuple[jax.Array, ...]
    y: Memories
    z: Memories


@dataclasses.dataclass(frozen=True)
class AcousticEquation:
    """See the module's text. Coefficients are K and one B for each axis, [1 or shot, *padded], zero in the halo."""

    grid: Grid

    dimensions = (1, 2, 3)
    models = MappingProxyType({"v": "positive", "rho": "not negative"})
    memory_names = ("psi", "phi")
    levels = 1
    sums = MappingProxyType({})
    plain_face = None
    matter = "rho"

    # ---- for the front end ----

    @staticmethod
    def wavefield_offsets(ndim: int) -> dict[str, tuple[int, ...]]:
        velocities = {f"v{name}_0": unit(ndim, axis) for axis, name in enumerate(components(ndim))}
        return {"pressure_0": unit(ndim), **velocities}

    @staticmethod
    def source_kinds(ndim: int) -> tuple[str, ...]:
        return ("p", *components(ndim))

    receiver_kinds = source_kinds

    def zero_faces(self, name: str) -> tuple[tuple[int, int], ...]:
        return staggered.zero_faces(self.grid, self.wavefield_offsets(self.grid.ndim)[name], "rigid")

    @staticmethod
    def source_needs(ndim: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        return {}

    point_offset = staticmethod(staggered.point_offset)

    @staticmethod
    def check_models(values, ndim) -> None:
        pass

    @staticmethod
    def smallest_speed(values) -> float:
        return float(np.where(values["rho"] > 0, values["v"], np.inf).min())

    @staticmethod
    def largest_speed(values, spacing, accuracy, kinds=None) -> float:
        """The largest speed, or more where the contrast of density needs a smaller time step than that allows."""
        ndim = len(spacing)
        v, rho = (x if x.ndim > ndim else x[None] for x in (values["v"], values["rho"]))
        if not rho.any():
            raise ValueError("`rho` is 0 everywhere: there is nothing but vacuum")
        largest = float(np.where(rho > 0, v, 0).max())
        return staggered.limiting_speed(largest, rho * v**2, rho, spacing, accuracy, kinds, closures.images)

    def coefficients(self, models, dt):
        grid, rho = self.grid, jnp.where(models["rho"] > 0, models["rho"], 0)  # no derivative where it is 0
        stiffness = grid.to_padded(dt * rho * models["v"] ** 2)
        return (stiffness, *staggered.buoyancies(self, rho, dt))

    def source_scale(self, m, kind, cells, dt):
        number = self.source_kinds(self.grid.ndim).index(kind)
        scale = points.at(m[number], cells)
        return scale if kind == "p" else scale / self._gradient[number - 1].weights_at(cells, scale.dtype)

    def profiles(self, dt, max_vel, pml_freq, dtype):
        return all_profiles(self.grid, dt, max_vel, pml_freq, dtype)

    def memory(self) -> tuple[tuple[Memory, ...], ...]:
        ndim = self.grid.ndim
        psi = [q for d in self._gradient for q in d.memory(unit(ndim, d.axis))]
        return tuple(psi), tuple(q for d in self._divergence for q in d.memory(unit(ndim)))

    def pack(self, wavefields, memory) -> AcousticState:
        psi, phi = (
            self._by_axis(group, derivatives)
            for group, derivatives in zip(memory, (self._gradient, self._divergence), strict=True)
        )
        return AcousticState(wavefields[0], tuple(wavefields[1:]), psi, phi)

    def unpack(self, x: AcousticState):
        return (x.p, *x.v), tuple(
            tuple(slab for d, memory in zip(derivatives, memories, strict=True) for slab in d.without_row(memory))
            for derivatives, memories in ((self._gradient, x.psi), (self._divergence, x.phi))
        )

    def at_rest(self, m, wavefields, missing):
        """v_i[-1/2] = B_i/2 D_i p[0]: minus what it will be half a step after."""
        p = wavefields["pressure_0"]
        velocities = {
            f"v{name}_0": b / 2 * d.plain(p)
            for name, b, d in zip(components(self.grid.ndim), m[1:], self._gradient, strict=True)
            if f"v{name}_0" in missing
        }
        return {**wavefields, **velocities}

    def confine(self, m, x):
        return x._replace(p=points.where_moved(x.p, m[0]), v=tuple(map(points.where_moved, x.v, m[1:])))

    # ---- geometry ----

    @property
    def slots(self) -> tuple[int, ...]:
        return tuple(range(1 + self.grid.ndim))

    @property
    def _gradient(self) -> tuple[Derivative, ...]:
        return self._along_axes(True)

    @property
    def _divergence(self) -> tuple[Derivative, ...]:
        return self._along_axes(False)

    def _along_axes(self, half: bool) -> tuple[Derivative, ...]:
        return tuple(Derivative(self.grid, i, half, closures.images(ends)) for i, ends in enumerate(self.grid.ends))

    def _by_axis(self, flat, derivatives) -> Memories:
        flat = list(flat)
        return tuple(d.with_row([flat.pop(0) for _ in d.layers]) for d in derivatives)

    def term_shape(self, x: AcousticState) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.p.shape, x.p.dtype)

    # ---- forward ----

    def step(self, m, operands, x, amplitudes, scatter, keep):
        stage, profiles = staggered.stage(self.grid, m[0], operands, amplitudes, scatter, keep), operands["profiles"]
        p, velocities, psi, phi = x
        terms, after, new_psi = [], [], []
        for axis, d in enumerate(self._gradient):
            g, memory = d.apply(p, psi[axis], profiles, stage.one)
            v, g = self._accelerate(stage, m, velocities, axis, -g)
            after.append(v)
            terms.append(g)
            new_psi.append(memory)
        divergence, phi = applied(self._divergence, after, phi, profiles, stage.one)
        p, g = self._compress(stage, m, p, -divergence)
        return AcousticState(p, tuple(after), tuple(new_psi), phi), (g, *terms)

    def _accelerate(self, stage, m, velocities, axis: int, g):
        """One velocity after a step, or before it, and its term."""
        v, g = stage.update(velocities[axis], m[1 + axis], g, 1 + axis, 1 + axis)
        return stage.inject(v, components(self.grid.ndim)[axis]), g

    def _compress(self, stage, m, p, g):
        """The pressure after a step, or before it, and its term."""
        p, g = stage.update(p, m[0], g, 0, 0)
        return stage.inject(p, "p"), g

    def record(self, operands, x):
        fields = dict(zip(self.receiver_kinds(self.grid.ndim), (x.p, *x.v), strict=True))
        return points.join([points.get(fields[k], cells) for k, cells in operands["receivers"].items()], x.p)

    # ---- backwards in time ----

    @property
    def _sums(self) -> tuple[Sum, ...]:
        """What the layers add to: D_i p for every axis, and the divergence."""
        return (*(Sum((d,)) for d in self._gradient), Sum(self._divergence))

    def ring(self, x: AcousticState) -> list[jax.Array]:
        memories = [*((psi,) for psi in x.psi), x.phi]
        return [part for each, q in zip(self._sums, memories, strict=True) for part in each.ring(q)]

    def levels_of(self, x: AcousticState) -> list[jax.Array]:
        return [x.p, *x.v]

    def reverse_step(self, m, operands, levels, amplitudes, scatter, ring, keep):
        stage = staggered.stage(self.grid, m[0], operands, amplitudes, scatter, keep, back=True)
        (p, *velocities), *gradient, divergence = levels, *self._sums
        *of_p, of_v = staggered.rings(self._sums, ring)
        p, g = self._compress(stage, m, p, -divergence.given(velocities, of_v, stage.one))
        before = [
            self._accelerate(stage, m, velocities, axis, -d.given([p], parts, stage.one))
            for axis, (d, parts) in enumerate(zip(gradient, of_p, strict=True))
        ]
        return [p, *(v for v, _ in before)], (g, *(term for _, term in before))

    # ---- adjoint ----

    def adjoint_step(self, m, operands, w, images):
        stiffness, *buoyancy = m
        one, profiles = points.one(stiffness, self.grid.halo), operands["profiles"]
        p, velocities, y, z = w
        after, new_z = [], []
        for axis, (d, b) in enumerate(zip(self._divergence, buoyancy, strict=True)):
            g, memory = d.transpose(p, z[axis], profiles, one)
            after.append(velocities[axis] + b * g)
            new_z.append(memory)
        fields = dict(zip(self.source_kinds(self.grid.ndim), (p, *after), strict=True))
        ds = self._adjoint_record(m, operands, fields)
        gradients = [
            tuple(
                None if total is None else total + field * g
                for total, g, field in zip(totals, terms, fields.values(), strict=True)
            )
            for totals, terms in images
        ]
        one, ds = points.after(one, ds, gradients)
        g, y = transposed(self._gradient, after, y, profiles, one)
        return AcousticAdjoint(p + stiffness * g, tuple(after), y, tuple(new_z)), ds, gradients

    def _adjoint_record(self, m, operands, fields):
        scale = dict(zip(fields, m, strict=True))
        found = [
            points.divide(points.get(fields[kind], cells), points.at(scale[kind], cells))
            for kind, cells in operands["sources"].items()
        ]
        return points.join(found, fields["p"])

    def adjoint_inject(self, m, operands, w, data):
        kinds = self.receiver_kinds(self.grid.ndim)
        fields, scale = dict(zip(kinds, (w.p, *w.u), strict=True)), dict(zip(kinds, m, strict=True))
        for kind, values in points.split(data, operands["receivers"]).items():
            cells = operands["receivers"][kind]
            fields[kind] = points.add(fields[kind], cells, points.at(scale[kind], cells) * values)
        p, *u = fields.values()
        return w._replace(p=p, u=tuple(u))

    def adjoint_start(self, m, operands, cotangent):
        stiffness, *buoyancy = m
        y, z = self._memories(operands, cotangent.psi, cotangent.phi, Derivative.adjoint_memory)
        u = tuple(b * v for b, v in zip(buoyancy, cotangent.v, strict=True))
        return AcousticAdjoint(stiffness * cotangent.p, u, y, z)

    def adjoint_finish(self, m, operands, w):
        stiffness, *buoyancy = m
        psi, phi = self._memories(operands, w.y, w.z, Derivative.cotangent_memory)
        v = tuple(points.divide(u, b) for u, b in zip(w.u, buoyancy, strict=True))
        return AcousticState(points.divide(w.p, stiffness), v, psi, phi)

    def _memories(self, operands, of_gradient, of_divergence, function):
        """Cotangents of memory variables from the adjoint's or the other way, negative as the terms are."""
        return (
            tuple(
                tuple(-x for x in function(d, memory, operands["profiles"]))
                for d, memory in zip(derivatives, memories, strict=True)
            )
            for derivatives, memories in ((self._gradient, of_gradient), (self._divergence, of_divergence))
        )

    # ---- gradient ----

    def gradient_start(self, m, w):
        return tuple(jnp.zeros_like(x) for x in (w.p, *w.u))

    def gradient_finish(self, m, gradient):
        return tuple(
            None if g is None else points.divide(points.sum_shots(g, c), c) for g, c in zip(gradient, m, strict=True)
        )

    # ---- for callbacks ----

    def model_gradients(self, m, gradient, dt):
        names = ("bulk_modulus", *(f"buoyancy_{name}" for name in components(self.grid.ndim)))
        found = zip(names, self.gradient_finish(m, gradient), strict=True)
        return {name: dt * g for name, g in found if g is not None}

    def wavefields(self, x):
        return dict(zip(self.wavefield_offsets(self.grid.ndim), (x.p, *x.v), strict=True))

    def adjoint_wavefields(self, m, w):
        unscaled = (points.divide(field, c) for field, c in zip((w.p, *w.u), m, strict=True))
        return dict(zip(self.wavefield_offsets(self.grid.ndim), unscaled, strict=True))
