"""The isotropic elastic wave equation, particle velocity and stress on a staggered grid, with a PML.

Continuous, with Lame's parameters lamb and mu, the buoyancy b = 1 / rho and s the stress:

    v_i,t  = b (sum over j of ds_ij/dx_j + f_i)
    s_ii,t = lamb div v + 2 mu dv_i/dx_i - q_ii       s_ij,t = mu (dv_i/dx_j + dv_j/dx_i) - q_ij

Discrete: the normal stresses s_ii lie in the cells, s_ij half a cell on along i and j, both at times t; v_i half a cell
on along i, and half a time step earlier. Every derivative D has the memory of the absorbing layers
(:mod:`jaxwave.equations.derivative`). With B_i = b dt, L = lamb dt, M = 2 mu dt, M_ij = mu dt:

    g_i  = sum over j of D_j s_ij     v'_i  = v_i + B_i (f_i + g_i)
    e_k  = D_k v'_k                   s'_kk = s_kk + L sum(e) + M e_k - q_kk dt
    e_ij = D_j v'_i + D_i v'_j        s'_ij = s_ij + M_ij e_ij - q_ij dt

The terms of the coefficients are g_i for B_i, sum(e) for L, every e_k for M and e_ij for M_ij: 5 arrays a step in 2-D
and 9 in 3-D where all are differentiated, since sum(e) is not kept beside the e_k. Between cells the density is the
arithmetic mean of its neighbours, and mu the harmonic mean of the four around a point, zero if one of them is a fluid
(Moczo et al., 2002). Beyond a face the stress is zero. Vacuum has lamb = mu = b = 0 and no mass: beside it B is that of
half a cell, and between two of its cells zero. So its border is a free surface of any shape, in steps of cells (Bohlen
and Saenger, 2006; Zeng et al., 2012).

At a free face the traction vanishes, at a rigid one the velocity. The face is the outer boundary of the last cell: the
velocity along its normal and the shear stresses across it have a value on it, the normal stresses and the other
velocities half a cell inside. Mirror images would be wrong, because the velocities have a kink at a free face, so the
differences have closures that make none (:mod:`jaxwave.equations.closures`):

                                            free face    rigid face
    normal stress, velocity along normal    pinned       loose
    the other velocities, shear stresses    loose        pinned

They conserve the energy in which every point on or near a face counts with its weight w. A force acts on w rho, and
q_ij is spread over the weights of its place.

q is the rate of a moment tensor's density: a moment M(t) in one cell is q = M,t / (cell volume), and acts as the forces
-dq/dx of its equivalent body force (Aki and Richards, 2002, section 3.3). q_ij needs mu at its place, since a stress
that stays in a fluid would accelerate it for ever. Strain rates are recorded with the same D, without the memory of the
layers: e_k in the cells, e_ij / 2 half a cell on along i and j, of the velocities at t - dt/2.

Some guided waves grow in plain layers. With the grid's ``mpml_fraction`` a layer damps the derivatives along the other
axes too (Meza-Fajardo and Papageorgiou, 2008; :mod:`jaxwave.equations.multiaxial`).

In the adjoint the cotangents T of the stresses are carried as they are, because a fluid has no inverse of M, and
multiplied by the coefficients once a step; those of the velocities are scaled, U_i = B_i times the cotangent of v_i.

References:
    J. Virieux, "P-SV wave propagation in heterogeneous media: velocity-stress finite-difference method", Geophysics 51
    (1986); A. R. Levander, "Fourth-order finite-difference P-SV seismograms", Geophysics 53 (1988); P. Moczo et al.,
    "3D heterogeneous staggered-grid finite-difference modeling of seismic motion with volume harmonic and arithmetic
    averaging of elastic moduli and densities", Bull. Seism. Soc. Am. 92 (2002); T. Bohlen and E. H. Saenger, "Accuracy
    of heterogeneous staggered-grid finite-difference modeling of Rayleigh waves", Geophysics 71 (2006); C. Zeng et al.,
    "An improved vacuum formulation for 2D finite-difference modeling of Rayleigh waves including surface topography and
    internal discontinuities", Geophysics 77 (2012); K. C. Meza-Fajardo and A. S. Papageorgiou, "A nonconvolutional,
    split-field, perfectly matched layer for wave propagation in isotropic and anisotropic elastic media: stability
    analysis", Bull. Seism. Soc. Am. 98 (2008).
"""

from __future__ import annotations

import dataclasses
import functools
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxwave.boundary import Grid, Memory
from jaxwave.equations import closures, multiaxial, points, staggered
from jaxwave.equations.derivative import Derivative, applied, transposed
from jaxwave.equations.multiaxial import MultiAxial
from jaxwave.equations.staggered import Sum, components, tensor, unit

Memories = tuple[tuple[tuple[jax.Array, ...], ...], ...]
"""Memory variables ``[i][j]`` of the layers of axis j: of D_j s_ij or of D_j v_i."""


class ElasticState(NamedTuple):
    """v[t - 1/2], normal stresses and the others (in the order of ``pairs``) at t, on the padded grid; memory."""

    v: tuple[jax.Array, ...]
    normal: tuple[jax.Array, ...]
    shear: tuple[jax.Array, ...]
    psi: Memories
    phi: Memories


class ElasticAdjoint(NamedTuple):
    """U, T, and the adjoint's memory over the layers' extents: y belongs to psi, z to phi."""

    u: tuple[jax.Array, ...]
    normal: tuple[jax.Array, ...]
    shear: tuple[jax.Array, ...]
    y: Memories
    z: Memories


@dataclasses.dataclass(frozen=True)
class ElasticEquation:
    """See the module's text. Coefficients are L, M, each M_ij and each B_i, [1 or shot, *padded], zero in the halo."""

    grid: Grid

    dimensions = (2, 3)
    models = MappingProxyType({"lamb": "finite", "mu": "not negative", "buoyancy": "not negative"})
    memory_names = ("psi", "phi")
    levels = 1
    plain_face = "free"
    matter = "buoyancy"

    # ---- for the front end ----

    @staticmethod
    def wavefield_offsets(ndim: int) -> dict[str, tuple[int, ...]]:
        names = components(ndim)
        found = {f"v{name}_0": unit(ndim, i) for i, name in enumerate(names)}
        found |= {f"sigma{name}{name}_0": unit(ndim) for name in names}
        return found | {f"sigma{names[j]}{names[i]}_0": unit(ndim, i, j) for i, j in pairs(ndim)}

    @staticmethod
    def source_kinds(ndim: int) -> tuple[str, ...]:
        return ("p", *components(ndim), *tensor(ndim))

    receiver_kinds = source_kinds

    def zero_faces(self, name: str) -> tuple[tuple[int, int], ...]:
        offset = self.wavefield_offsets(self.grid.ndim)[name]
        return staggered.zero_faces(self.grid, offset, "rigid" if name.startswith("v") else "free")

    @staticmethod
    def source_needs(ndim: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        return {kind: ("mu", axes) for kind, axes in tensor(ndim).items() if axes[0] != axes[1]}

    point_offset = staticmethod(staggered.point_offset)

    @staticmethod
    def check_models(values, ndim) -> None:
        """Checks that every strain takes energy: that of plane strain in 2-D, that of all three axes in 3-D."""
        lamb, mu, b = np.broadcast_arrays(*(values[name] for name in ("lamb", "mu", "buoyancy")))
        bulk = lamb + mu if ndim == 2 else 3 * lamb + 2 * mu
        bad = (b > 0) & ~(bulk > 0)
        if bad.any():
            where = np.unravel_index(np.argmax(bad), bad.shape)
            words, factor = ("`lamb` + `mu`", "") if ndim == 2 else ("3 `lamb` + 2 `mu`", "0.866 ")
            vp, vs = (float(np.sqrt(max(x[where], 0) * b[where])) for x in (lamb + 2 * mu, mu))
            raise ValueError(
                f"{words} must be positive wherever there is matter, which in {ndim}-D means vs < {factor}vp: a strain "
                f"would set energy free otherwise, and waves grow for ever. It is {bulk[where]:g} Pa at index "
                f"{tuple(map(int, where))}, where vp={vp:g} and vs={vs:g} m/s ({int(bad.sum())} such cells). Bound vs "
                "by vp, e.g. invert for vp and vs / vp"
            )

    @staticmethod
    def smallest_speed(values) -> float:
        """That of S waves in solids and of P waves in fluids."""
        lamb, mu, b = (values[name] for name in ("lamb", "mu", "buoyancy"))
        return float(np.sqrt(np.where(b > 0, np.where(mu > 0, mu, lamb) * b, np.inf).min()))

    @staticmethod
    def largest_speed(values, spacing, accuracy, kinds=None) -> float:
        """The largest speed, or more where the contrast of density needs a smaller time step than that allows."""
        ndim = len(spacing)
        lamb, mu, b = (values[k] if values[k].ndim > ndim else values[k][None] for k in ("lamb", "mu", "buoyancy"))
        stiffness, vacuum = lamb + 2 * mu, b == 0
        if vacuum.all():
            raise ValueError("`buoyancy` is 0 everywhere: there is nothing but vacuum")
        if (vacuum & ((lamb != 0) | (mu != 0))).any():
            raise ValueError(
                "`buoyancy` is 0 in cells whose `lamb` or `mu` is not; only vacuum has no buoyancy, and there all "
                "three are 0"
            )
        if not (vacuum | (stiffness > 0)).all():
            raise ValueError(
                f"`lamb` + 2 `mu` must be positive, or 0 together with `buoyancy` (vacuum); got {stiffness.min():g}"
            )
        largest, rho = float(np.sqrt((stiffness * b).max())), points.divide(1, b, np)
        closed = functools.partial(closures.elastic, normal=True)
        return staggered.limiting_speed(largest, stiffness, rho, spacing, accuracy, kinds, closed)

    def coefficients(self, models, dt):
        grid, ndim = self.grid, self.grid.ndim
        b = models["buoyancy"]
        lamb, mu = (jnp.where(b > 0, models[name], 0) for name in ("lamb", "mu"))  # no derivative in vacuum
        between = [
            (dt * _mu_between(mu, i, j, grid.ends), unit(ndim, i, j), self.zero_faces(self._shear_name(i, j)))
            for i, j in pairs(ndim)
        ]
        shear, buoyancy = (grid.to_padded(*x) for x in between), staggered.buoyancies(self, points.divide(1, b), dt)
        return (grid.to_padded(dt * lamb), grid.to_padded(2 * dt * mu), *shear, *buoyancy)

    def source_scale(self, m, kind, cells, dt):
        lamb, mu, shears, buoyancy = self._split(m)
        n = self.grid.ndim
        if kind in components(n):
            axis = components(n).index(kind)
            scale = points.at(buoyancy[axis], cells)
            return scale / self._of_stress(axis)[axis].weights_at(cells, scale.dtype)
        axes = tensor(n).get(kind)
        if axes not in pairs(n):
            return jnp.where(points.at(lamb + mu, cells) == 0, 0, -dt)  # no stress in vacuum
        scale = jnp.where(points.at(shears[pairs(n).index(axes)], cells) == 0, 0, -dt)  # no shear in a fluid
        for i, j in (axes, axes[::-1]):
            scale = scale / self._of_velocity(i)[j].weights_at(cells, shears[0].dtype)
        return scale

    def profiles(self, dt, max_vel, pml_freq, dtype):
        return multiaxial.profiles(self.grid, dt, max_vel, pml_freq, dtype)

    def memory(self) -> tuple[tuple[Memory, ...], ...]:
        axes = range(self.grid.ndim)
        psi = [q for i in axes for d in self._of_stress(i) for q in d.memory(unit(self.grid.ndim, i))]
        phi = [q for i in axes for d in self._of_velocity(i) for q in d.memory(self._stress_offset(i, d.axis))]
        return tuple(psi), tuple(phi)

    def pack(self, wavefields, memory) -> ElasticState:
        n = self.grid.ndim
        psi, phi = map(self._by_derivative, memory, (self._of_stress, self._of_velocity))
        return ElasticState(
            tuple(wavefields[:n]), tuple(wavefields[n : 2 * n]), tuple(wavefields[2 * n :]), psi, phi
        )  # fmt: skip

    def unpack(self, x: ElasticState):
        return (*x.v, *x.normal, *x.shear), tuple(
            tuple(slab for i in range(self.grid.ndim) for d in of(i) for slab in d.without_row(memories[i][d.axis]))
            for of, memories in ((self._of_stress, x.psi), (self._of_velocity, x.phi))
        )

    def at_rest(self, m, wavefields, missing):
        """v_i[-1/2] = -B_i/2 times the sum of D_j s_ij[0]: minus what it will be half a step after."""
        n, fields = self.grid.ndim, tuple(wavefields.values())
        x = ElasticState((), fields[n : 2 * n], fields[2 * n :], (), ())
        velocities = {}
        for i, (name, b) in enumerate(zip(components(n), self._split(m)[3], strict=True)):
            if f"v{name}_0" in missing:
                force = sum(d.plain(self._stress(x, i, j)) for j, d in enumerate(self._of_stress(i)))
                velocities[f"v{name}_0"] = -b / 2 * force
        return {**wavefields, **velocities}

    def confine(self, m, x):
        return x._replace(v=tuple(map(points.where_moved, x.v, self._split(m)[3])))

    # ---- geometry ----

    @property
    def slots(self) -> tuple[int, ...]:
        n = self.grid.ndim
        return (0, *(1,) * n, *range(2, 2 + len(pairs(n)) + n))

    @property
    def sums(self) -> dict[int, tuple[int, ...]]:
        return {0: tuple(range(1, 1 + self.grid.ndim))}

    def _volume(self, terms):
        """The term of L, from those of M if it was not kept."""
        return sum(terms[1 : 1 + self.grid.ndim]) if terms[0] is None else terms[0]

    def _split(self, m):
        """L, M, the M_ij and the B_i."""
        n = len(pairs(self.grid.ndim))
        return m[0], m[1], m[2 : 2 + n], m[2 + n :]

    def _of_stress(self, i: int) -> tuple[Derivative | MultiAxial, ...]:
        """D_j of s_ij, for every j."""
        return tuple(self._derivative(i, j, unit(self.grid.ndim, i)) for j in range(self.grid.ndim))

    def _of_velocity(self, i: int) -> tuple[Derivative | MultiAxial, ...]:
        """D_j of v_i, for every j."""
        return tuple(self._derivative(i, j, self._stress_offset(i, j)) for j in range(self.grid.ndim))

    def _derivative(self, i: int, j: int, offset: tuple[int, ...]) -> Derivative | MultiAxial:
        """D_j, with values at ``offset``, of s_ij or v_i."""
        ends = closures.elastic(self.grid.ends[j], normal=i == j)
        return multiaxial.damped(Derivative(self.grid, j, bool(offset[j]), ends), offset)

    def _shear_name(self, i: int, j: int) -> str:
        names = components(self.grid.ndim)
        return f"sigma{names[j]}{names[i]}_0"

    def _stress_offset(self, i: int, j: int) -> tuple[int, ...]:
        return unit(self.grid.ndim) if i == j else unit(self.grid.ndim, i, j)

    def _by_derivative(self, flat, derivatives) -> Memories:
        flat = list(flat)
        return tuple(
            tuple(d.with_row([flat.pop(0) for _ in d.layers]) for d in derivatives(i)) for i in range(self.grid.ndim)
        )

    def _stress(self, x, i: int, j: int) -> jax.Array:
        return x.normal[i] if i == j else x.shear[pairs(self.grid.ndim).index((min(i, j), max(i, j)))]

    def term_shape(self, x: ElasticState) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.normal[0].shape, x.normal[0].dtype)

    # ---- forward ----

    def step(self, m, operands, x, amplitudes, scatter, keep):
        n, profiles, psi, phi = self.grid.ndim, operands["profiles"], {}, {}
        stage = staggered.stage(self.grid, m[0], operands, amplitudes, scatter, keep)

        def force(i):
            fields = [self._stress(x, i, j) for j in range(n)]
            total, psi[i] = applied(self._of_stress(i), fields, x.psi[i], profiles, stage.one)
            return total

        def strain(i, j):
            both = _both(i, j)
            derivatives, fields = [self._of_velocity(a)[b] for a, b in both], [velocities[a] for a, _ in both]
            total, found = applied(derivatives, fields, [x.phi[a][b] for a, b in both], profiles, stage.one)
            phi.update(zip(both, found, strict=True))
            return total

        velocities, moved = self._accelerate(stage, m, x.v, force)
        normal, shear, strained = self._load(stage, m, x.normal, x.shear, strain)
        psi = tuple(psi[i] for i in range(n))
        phi = tuple(tuple(phi[i, j] for j in range(n)) for i in range(n))
        return ElasticState(velocities, normal, shear, psi, phi), (*strained, *moved)

    def _accelerate(self, stage, m, velocities, force):
        """The velocities after a step, or before it, and their terms g_i = force(i)."""
        n, found = self.grid.ndim, []
        for i, (name, b) in enumerate(zip(components(n), self._split(m)[3], strict=True)):
            number = len(m) - n + i
            v, g = stage.update(velocities[i], b, force(i), number, number + n - 1)
            found.append((stage.inject(v, name), g))
        return tuple(v for v, _ in found), tuple(g for _, g in found)

    def _load(self, stage, m, normal, shear, strain):
        """The stresses after a step, or before it, and their terms: e_k = strain(k, k) and e_ij = strain(i, j)."""
        lamb, mu, shears, _ = self._split(m)
        n, names, one, keep = self.grid.ndim, components(self.grid.ndim), stage.one, stage.keep
        e = [stage.alone(strain(k, k)) for k in range(n)]
        div = sum(e[1:], e[0])
        if keep[0]:
            div = div / one
        normal = [stage.add(stage.add(s, lamb * div), mu * ek) for s, ek in zip(normal, e, strict=True)]
        for dm, terms in stage.scatter:
            if dm[0] is not None:
                normal = [stage.add(s, dm[0] * self._volume(terms)) for s in normal]
            if dm[1] is not None:
                normal = [stage.add(s, dm[1] * terms[1 + k]) for k, s in enumerate(normal)]
        normal = [stage.inject(stage.inject(s, "p"), 2 * name) for s, name in zip(normal, names, strict=True)]
        found = []
        for k, (i, j) in enumerate(pairs(n)):
            s, g = stage.update(shear[k], shears[k], strain(i, j), 2 + k, 1 + n + k)
            found.append((stage.inject(s, names[j] + names[i]), g))
        kept = (div if keep[0] else None, *(ek if keep[1 + k] else None for k, ek in enumerate(e)))
        return tuple(normal), tuple(s for s, _ in found), (*kept, *(g for _, g in found))

    def record(self, operands, x):
        n, found = self.grid.ndim, []
        for kind, cells in operands["receivers"].items():
            if kind == "p":
                found.append(sum(points.get(s, cells) for s in x.normal) / -n)
            elif kind in tensor(n):
                parts = self._strain_rate(kind, cells, x.v[0].dtype)
                found.append(sum((w * points.get(x.v[i], near).reshape(w.shape)).sum(2) for i, near, w in parts))
            else:
                found.append(points.get(x.v[components(n).index(kind)], cells))
        return points.join(found, x.v[0])

    def _strain_rate(self, kind: str, cells: points.Cells, dtype):
        """A strain rate as a sum over weighted velocities: their component, and what ``Derivative.stencil`` returns."""
        i, j = tensor(self.grid.ndim)[kind]
        if i == j:
            yield i, *self._of_velocity(i)[i].stencil(cells, dtype)
            return
        half = jnp.full(cells[0].shape, 0.5, dtype)
        for axis, side in self.zero_faces(self._shear_name(i, j)):  # neither stress nor strain
            half = jnp.where(cells[axis] == self.grid.halo - 1 + side * self.grid.interior[axis], 0, half)
        for a, b in ((i, j), (j, i)):
            near, weights = self._of_velocity(a)[b].stencil(cells, dtype)
            yield a, near, half[..., None] * weights

    # ---- backwards in time ----

    @property
    def _sums(self) -> tuple[Sum, ...]:
        """What the layers add to: every strain, then every force."""
        strains = (Sum(tuple(self._of_velocity(a)[b] for a, b in _both(i, j))) for i, j in self._strained)
        return (*strains, *(Sum(self._of_stress(i)) for i in range(self.grid.ndim)))

    @property
    def _strained(self) -> tuple[tuple[int, int], ...]:
        n = self.grid.ndim
        return (*((k, k) for k in range(n)), *pairs(n))

    def ring(self, x: ElasticState) -> list[jax.Array]:
        memories = [*([x.phi[a][b] for a, b in _both(i, j)] for i, j in self._strained), *x.psi]
        return [part for each, q in zip(self._sums, memories, strict=True) for part in each.ring(q)]

    def levels_of(self, x: ElasticState) -> list[jax.Array]:
        return [*x.v, *x.normal, *x.shear]

    def reverse_step(self, m, operands, levels, amplitudes, scatter, ring, keep):
        stage = staggered.stage(self.grid, m[0], operands, amplitudes, scatter, keep, back=True)
        n, sums, rings = self.grid.ndim, self._sums, staggered.rings(self._sums, ring)
        v, normal, shear = levels[:n], levels[n : 2 * n], levels[2 * n :]

        def strain(i, j):
            k = self._strained.index((i, j))
            return sums[k].given([v[a] for a, _ in _both(i, j)], rings[k], stage.one)

        def force(i):
            k = len(self._strained) + i
            return sums[k].given([self._stress(before, i, j) for j in range(n)], rings[k], stage.one)

        normal, shear, strained = self._load(stage, m, normal, shear, strain)
        before = ElasticState((), normal, shear, (), ())
        v, moved = self._accelerate(stage, m, v, force)
        return [*v, *normal, *shear], (*strained, *moved)

    # ---- adjoint ----

    def adjoint_step(self, m, operands, w, images):
        lamb, mu, shears, buoyancy = self._split(m)
        n, one, profiles = self.grid.ndim, points.one(lamb, self.grid.halo), operands["profiles"]
        trace = sum(w.normal[1:], w.normal[0])
        stressed = w._replace(
            normal=tuple((lamb * trace + mu * s) / one for s in w.normal),
            shear=tuple(c * s / one for c, s in zip(shears, w.shear, strict=True)),
        )

        u, z = [], []
        for i, b in enumerate(buoyancy):
            fields = [self._stress(stressed, i, j) for j in range(n)]
            g, memory = transposed(self._of_velocity(i), fields, w.z[i], profiles, one)
            u.append(w.u[i] - b * g)
            z.append(memory)
        ds = self._adjoint_record(m, operands, w, u)
        gradients = [self._imaged(gradient, terms, trace, w, u) for gradient, terms in images]
        one, ds = points.after(one, ds, gradients)
        normal, shear, y = [], [], {}
        for k, s in enumerate(w.normal):
            g, y[k, k] = self._of_stress(k)[k].transpose(u[k], w.y[k][k], profiles, one)
            normal.append(s - g)
        for s, (i, j) in zip(w.shear, pairs(n), strict=True):
            g, (y[i, j], y[j, i]) = transposed(
                (self._of_stress(i)[j], self._of_stress(j)[i]), (u[i], u[j]), (w.y[i][j], w.y[j][i]), profiles, one
            )
            shear.append(s - g)
        y = tuple(tuple(y[i, j] for j in range(n)) for i in range(n))
        return ElasticAdjoint(tuple(u), tuple(normal), tuple(shear), y, tuple(z)), ds, gradients

    def _imaged(self, gradient, terms, trace, w, u):
        """A gradient with the imaging condition of one step added."""
        n, found = self.grid.ndim, list(gradient)
        if gradient[0] is not None:
            found[0] = gradient[0] + trace * self._volume(terms)
        if gradient[1] is not None:
            found[1] = gradient[1] + sum(s * e for s, e in zip(w.normal, terms[1 : 1 + n], strict=True))
        for k, field in enumerate((*w.shear, *u)):
            if gradient[2 + k] is not None:
                found[2 + k] = gradient[2 + k] + field * terms[1 + n + k]
        return tuple(found)

    def _adjoint_record(self, m, operands, w, u):
        found, buoyancy, stresses = [], self._split(m)[3], tensor(self.grid.ndim)
        for kind, cells in operands["sources"].items():
            if kind == "p":
                found.append(sum(points.get(s, cells) for s in w.normal))
            elif kind in stresses:
                found.append(points.get(self._stress(w, *stresses[kind]), cells))
            else:
                i = components(self.grid.ndim).index(kind)
                found.append(points.divide(points.get(u[i], cells), points.at(buoyancy[i], cells)))
        return points.join(found, w.u[0])

    def adjoint_inject(self, m, operands, w, data):
        n, u, normal, buoyancy = self.grid.ndim, list(w.u), w.normal, self._split(m)[3]
        for kind, values in points.split(data, operands["receivers"]).items():
            cells = operands["receivers"][kind]
            if kind == "p":
                normal = tuple(points.add(s, cells, values / -n) for s in normal)
            elif kind in tensor(n):
                for i, near, weights in self._strain_rate(kind, cells, values.dtype):
                    parts = (weights * values[:, :, None]).reshape(near[0].shape)
                    u[i] = points.add(u[i], near, points.at(buoyancy[i], near) * parts)
            else:
                i = components(n).index(kind)
                u[i] = points.add(u[i], cells, points.at(buoyancy[i], cells) * values)
        return w._replace(u=tuple(u), normal=normal)

    def adjoint_start(self, m, operands, cotangent):
        y, z = self._memories(operands, cotangent.psi, cotangent.phi, "adjoint_memory")
        u = tuple(b * v for b, v in zip(self._split(m)[3], cotangent.v, strict=True))
        return ElasticAdjoint(u, cotangent.normal, cotangent.shear, y, z)

    def adjoint_finish(self, m, operands, w):
        psi, phi = self._memories(operands, w.y, w.z, "cotangent_memory")
        return ElasticState(tuple(map(points.divide, w.u, self._split(m)[3])), w.normal, w.shear, psi, phi)

    def _memories(self, operands, of_stress, of_velocity, name: str):
        """What a derivative's method ``name`` makes of memory variables."""
        axes, profiles = range(self.grid.ndim), operands["profiles"]
        return (
            tuple(tuple(getattr(d, name)(memories[i][d.axis], profiles) for d in derivatives(i)) for i in axes)
            for derivatives, memories in ((self._of_stress, of_stress), (self._of_velocity, of_velocity))
        )

    # ---- gradient ----

    def gradient_start(self, m, w):
        zero = jnp.zeros_like(w.u[0])
        return (zero,) * len(m)

    def gradient_finish(self, m, gradient):
        total = [None if g is None else points.sum_shots(g, c) for g, c in zip(gradient, m, strict=True)]
        n = self.grid.ndim
        scaled = (None if g is None else points.divide(g, c) for g, c in zip(total[-n:], m[-n:], strict=True))
        return (*total[:-n], *scaled)

    # ---- for callbacks ----

    def model_gradients(self, m, gradient, dt):
        names = components(self.grid.ndim)
        between = [f"mu_{names[j]}{names[i]}" for i, j in pairs(len(names))] + [f"buoyancy_{name}" for name in names]
        found = zip(("lamb", "mu", *between), self.gradient_finish(m, gradient), strict=True)
        return {name: (2 * dt if name == "mu" else dt) * g for name, g in found if g is not None}

    def wavefields(self, x):
        return dict(zip(self.wavefield_offsets(self.grid.ndim), (*x.v, *x.normal, *x.shear), strict=True))

    def adjoint_wavefields(self, m, w):
        v = map(points.divide, w.u, self._split(m)[3])
        return dict(zip(self.wavefield_offsets(self.grid.ndim), (*v, *w.normal, *w.shear), strict=True))


def pairs(ndim: int) -> tuple[tuple[int, int], ...]:
    """The pairs of different axes."""
    return tuple((i, j) for i in range(ndim) for j in range(i + 1, ndim))


def _both(i: int, j: int) -> tuple[tuple[int, int], ...]:
    """The derivatives in a strain: of v_a along b for each (a, b)."""
    return ((i, j),) if i == j else ((i, j), (j, i))


def _mu_between(mu: jax.Array, i: int, j: int, ends) -> jax.Array:
    """mu half a cell on along i and j: the harmonic mean of four cells, zero beside a fluid.

    Beyond rigid faces the outermost cells are repeated, beyond periodic ones come those of the other end, and beyond
    all others mu is zero; ``ends`` are the kinds of each axis's faces.
    """
    for axis in (i, j):
        # Both ends at once where they are periodic, because each is padded with the other.
        sides = [((1, 1), "wrap")]
        if "periodic" not in ends[axis]:
            modes = ["edge" if kind == "rigid" else "constant" for kind in ends[axis]]
            sides = list(zip(((1, 0), (0, 1)), modes, strict=True))
        for beyond, mode in sides:
            mu = jnp.pad(mu, [beyond if a == axis + 1 else (0, 0) for a in range(mu.ndim)], mode=mode)

    def corner(di, dj):
        cut = [slice(None)] * mu.ndim
        for axis, d in ((i + 1, di), (j + 1, dj)):
            cut[axis] = slice(d, d + mu.shape[axis] - 1)
        return mu[tuple(cut)]

    corners = [corner(di, dj) for di in (0, 1) for dj in (0, 1)]
    solid = (corners[0] > 0) & (corners[1] > 0) & (corners[2] > 0) & (corners[3] > 0)
    slowness = sum(1 / jnp.where(solid, c, 1) for c in corners)
    return jnp.where(solid, 4 / slowness, 0)
