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
along the normal the other way round (:mod:`jaxwave._numerics.closures`). A point on such a face stands for half a cell,
w = 1/2, and a force acts on w rho. At a face that is neither, and without a layer, the pressure is zero beyond.

With the adjoint scaled by the coefficients, P = K times the cotangent of p and U = B times that of v, its recursion has
the same updates, in reverse:

    Z'_i = b_ Z_i + a P          U'_i = U_i + B_i D_i (P + Z'_i)
    Y'_i = b_ Y_i + a U'_i       P'   = P + K sum of D_i (U'_i + Y'_i)

References:
    J. Virieux, "P-SV wave propagation in heterogeneous media: velocity-stress finite-difference method", Geophysics 51
    (1986); R. W. Graves, "Simulating seismic wave propagation in 3D elastic media using staggered-grid finite
    differences", Bull. Seism. Soc. Am. 86 (1996); P. Moczo et al., "3D heterogeneous staggered-grid finite-difference
    modeling of seismic motion with volume harmonic and arithmetic averaging of elastic moduli and densities", Bull.
    Seism. Soc. Am. 92 (2002).
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxwave.equations import stability
from jaxwave.equations.base import Model, model
from jaxwave.equations.leapfrog import LeapfrogEquation
from jaxwave.equations.scheme import Scheme, Source, Term
from jaxwave.equations.staggered import buoyancies, components


class Acoustic(LeapfrogEquation):
    """The acoustic equation with variable density: v_t = -grad(p) / rho + f / rho, p_t = -K div(v) + K q, K = rho v^2.

    Attributes:
        v: Wave speed [*cells] (m/s), or [shot, *cells]. Positive, or 0 in vacuum.
        rho: Density (kg/m^3), the same; 0 in vacuum.
    """

    v: Model = model("positive where rho")
    rho: Model = model("not negative")

    matter = "rho"

    def scheme(self, ndim: int) -> Scheme:
        names = components(ndim)
        v = {name: f"v{name}_0" for name in names}
        gradient = {f"gradient_{name}": Term(((axis, "pressure_0"),), -1) for axis, name in enumerate(names)}
        return Scheme(
            fields={"pressure_0": (), **{v[name]: (axis,) for axis, name in enumerate(names)}},
            terms={"divergence": Term(tuple(enumerate(v.values())), -1), **gradient},
            stages=(
                {v[name]: ((f"buoyancy_{name}", f"gradient_{name}"),) for name in names},
                {"pressure_0": (("bulk_modulus", "divergence"),)},
            ),
            sources={"p": Source(("pressure_0",), "bulk_modulus")}
            | {name: Source((v[name],), f"buoyancy_{name}") for name in names},
            receivers={"p": Term(((None, "pressure_0"),))} | {name: Term(((None, v[name]),)) for name in names},
            scaled=("pressure_0", *v.values()),
        )

    def moduli(self, models, dt):
        rho = jnp.where(models["rho"] > 0, models["rho"], 0)  # no derivative where it is 0
        return {"bulk_modulus": dt * rho * models["v"] ** 2, **buoyancies(self.grid, rho, dt)}

    @staticmethod
    def smallest_speed(values, ndim) -> float:
        return float(np.where(values["rho"] > 0, values["v"], np.inf).min())

    @staticmethod
    def fastest(values) -> float:
        return float(np.where(values["rho"] > 0, values["v"], 0).max())

    def largest_speed(self, values, spacing, accuracy, kinds=None, enough=0.0) -> float:
        ndim = len(spacing)
        v, rho = (x if x.ndim > ndim else x[None] for x in (values["v"], values["rho"]))
        if not rho.any():
            raise ValueError("`rho` is 0 everywhere: there is nothing but vacuum")
        stiffness, fastest = np.where(rho > 0, rho * v**2, 0), self.fastest(values)
        return stability.limiting_speed(stability.Acoustic, [stiffness], rho, fastest, spacing, accuracy, kinds, enough)
