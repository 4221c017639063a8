"""The isotropic elastic wave equation, particle velocity and stress on a staggered grid, with a PML.

Continuous, with Lame's parameters lamb and mu, the buoyancy b = 1 / rho and s the stress:

    v_i,t  = b (sum over j of ds_ij/dx_j + f_i)
    s_ii,t = lamb div v + 2 mu dv_i/dx_i - q_ii       s_ij,t = mu (dv_i/dx_j + dv_j/dx_i) - q_ij

Discrete: the normal stresses s_ii lie in the cells, s_ij half a cell on along i and j, both at times t; v_i half a cell
on along i, and half a time step earlier. Every derivative D has the memory of the absorbing layers
(:mod:`jaxwave._numerics.derivative`). With B_i = b dt, L = lamb dt, M = 2 mu dt, M_ij = mu dt:

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
differences have closures that make none (:mod:`jaxwave._numerics.closures`):

                                            free face    rigid face
    normal stress, velocity along normal    pinned       loose
    the other velocities, shear stresses    loose        pinned

They conserve the energy in which every point on or near a face counts with its weight w. A force acts on w rho, and
q_ij is spread over the weights of its place.

q is the rate of a moment tensor's density: a moment M(t) in one cell is q = M,t / (cell volume), and acts as the forces
-dq/dx of its equivalent body force (Aki and Richards, 2002, section 3.3). q_ij needs mu at its place, since a stress
that stays in a fluid would accelerate it for ever. Strain rates are recorded with the same D, without the memory of the
layers: e_k in the cells, e_ij / 2 half a cell on along i and j, of the velocities half a step of the loop before.

Some guided waves grow in plain layers. With the grid's ``mpml_fraction`` a layer damps the derivatives along the other
axes too (Meza-Fajardo and Papageorgiou, 2008; :mod:`jaxwave._numerics.multiaxial`).

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

import jax.numpy as jnp
import numpy as np

from jaxwave._numerics import points
from jaxwave.equations import stability, staggered
from jaxwave.equations.base import Model, model
from jaxwave.equations.scheme import Pair
from jaxwave.equations.staggered import tensor
from jaxwave.equations.velocity_stress import VelocityStress


class Elastic(VelocityStress):
    """The isotropic elastic equation.

    Attributes:
        lamb, mu: Lame's parameters [*cells] (Pa), or [shot, *cells]; mu is 0 in a fluid, both in vacuum.
        buoyancy: 1 / density (m^3/kg), the same; 0 in vacuum.
    """

    lamb: Model = model("finite")
    mu: Model = model("not negative")
    buoyancy: Model = model("not negative")

    sums = True

    def stresses(self, ndim: int) -> dict[str, tuple[Pair, ...]]:
        return {
            kind: (("lamb", "dilatation"), ("mu", f"strain_{kind}")) if i == j else ((f"mu_{kind}", f"strain_{kind}"),)
            for kind, (i, j) in tensor(ndim).items()
        }

    @staticmethod
    def shear(ndim: int) -> dict[str, str]:
        return {kind: "mu" for kind, (i, j) in tensor(ndim).items() if i != j}

    def moduli(self, models, dt):
        b, ends = models["buoyancy"], self.grid.ends
        lamb, mu = (jnp.where(b > 0, models[name], 0) for name in ("lamb", "mu"))  # no derivative in vacuum
        between = {f"mu_{kind}": dt * staggered.mu_between(mu, i, j, ends)
                   for kind, (i, j) in tensor(self.grid.ndim).items() if i < j}  # fmt: skip
        buoyancies = staggered.buoyancies(self.grid, points.divide(1, b), dt)
        return {"lamb": dt * lamb, "mu": 2 * dt * mu, **between, **buoyancies}

    def model_gradients(self, m, gradient, dt):
        found = super().model_gradients(m, gradient, dt)
        return {name: 2 * g if name == "mu" else g for name, g in found.items()}  # the coefficient is 2 mu dt

    # ---- what a medium must be ----

    @staticmethod
    def check_models(values, ndim) -> None:
        """Checks that every strain takes energy: that of plane strain in 2-D, that of all three axes in 3-D.

        In 1-D there are P waves alone, whose modulus is checked with their speed.
        """
        if ndim == 1:
            return
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
    def smallest_speed(values, ndim) -> float:
        """That of S waves in solids and of P waves in fluids and in 1-D."""
        lamb, mu, b = (values[name] for name in ("lamb", "mu", "buoyancy"))
        modulus = lamb + 2 * mu if ndim == 1 else np.where(mu > 0, mu, lamb)
        return float(np.sqrt(np.where(b > 0, modulus * b, np.inf).min()))

    @staticmethod
    def fastest(values) -> float:
        return float(np.sqrt(((values["lamb"] + 2 * values["mu"]) * values["buoyancy"]).max()))

    def largest_speed(self, values, spacing, accuracy, kinds=None, enough=0.0) -> float:
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
        fastest = self.fastest(values)
        stiffnesses, rho = (np.maximum(lamb, 0), mu), points.divide(1, b, np)
        return stability.limiting_speed(
            stability.Elastic, stiffnesses, rho, fastest, spacing, accuracy, kinds, enough
        )  # fmt: skip
