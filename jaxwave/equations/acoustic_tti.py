"""The acoustic equation in a medium with a tilted axis of transverse isotropy (TTI), with a PML.

That of :mod:`jaxwave.equations.acoustic_vti` with an axis of symmetry n in any direction, which may change from place
to place. With the tensors N = n n^T along the axis and P = 1 - N across it, b = 1 / rho and Thomsen's epsilon and
delta,

    p_v,t = -(c33 div a + c13 div w) + q        a_t = -b N grad p_v
    p_h,t = -(c13 div a + c11 div w) + q        w_t = -b P grad p_h

    c33 = rho v^2        c11 = c33 (1 + 2 epsilon)        c13 = c33 sqrt(1 + 2 delta)

a is the part of the particle velocity along the axis, w that across it. Gradient and divergence are minus the
transposes of each other, also on the grid, b N and b P are symmetric and not negative, and so are the stiffnesses where
epsilon >= delta. So energy is conserved whatever the tilt, as it is not when the wave equation of a VTI medium is
rotated (Fletcher, Du and Fowler, 2009; Zhang, Zhang and Zhang, 2011; Duveneck and Bakker, 2011).

On the grid the pressures lie in the cells and all components of a and w at their corners, a rotated staggered grid
(Saenger, Gold and Shapiro, 2000). There all derivatives of a pressure are at one place, where N acts on them:

    D_i A_j p_v    the difference along an axis of the average along all others, both of the order of the grid

N at a corner is the mean of the cells around it, b the inverse of the mean of their densities.

These differences do not see a field that changes its sign from cell to cell along two axes; it stays for ever, and
fields like it move faster than waves do. Smooth sources send out none. So sources and receivers of all kinds lie at the
corner half a cell on along all axes: a source acts on the cells around it by the transpose of the average, with weights
whose transform vanishes at these wave numbers, and what is recorded is the average. Sources and receivers at other
points can be had by interpolation, :class:`jaxwave.Hicks` with an ``offset`` of 0.5.

At a free face both pressures are zero. At a rigid one a wave would be reflected as if the tilt were mirrored, so there
are none.

References:
    R. P. Fletcher, X. Du and P. J. Fowler, "Reverse time migration in tilted transversely isotropic (TTI) media",
    Geophysics 74 (2009); Y. Zhang, H. Zhang and G. Zhang, "A stable TTI reverse time migration and its implementation",
    Geophysics 76 (2011); E. Duveneck and P. M. Bakker, "Stable P-wave modeling for reverse-time migration in tilted TI
    media", Geophysics 76 (2011); E. H. Saenger, N. Gold and S. A. Shapiro, "Modeling the propagation of elastic waves
    using a modified finite-difference grid", Wave Motion 31 (2000).
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxwave._numerics import points
from jaxwave.equations import rotated_grid, stability
from jaxwave.equations.acoustic_vti import AcousticVTI, density, stiffnesses
from jaxwave.equations.base import Model, model
from jaxwave.equations.scheme import Scheme, Source, Term
from jaxwave.equations.staggered import components, corner_mean

SHRINK = 4
"""Units in the last place by which tensors are made smaller, so that none is negative by rounding: waves would grow."""


class AcousticTTI(AcousticVTI):
    """The acoustic equation in a TTI medium, whose axis of symmetry is tilted; in 2-D and 3-D.

    Along the axes (z, y, x) the axis of symmetry is (cos theta, sin theta sin phi, sin theta cos phi), along (y, x)
    (cos theta, sin theta). Where ``theta`` is 0 it is axis 0, as in :class:`jaxwave.AcousticVTI`, which has the same
    waves on another grid. Stable where epsilon >= delta, which is checked. Layers must be multi-axial, with an
    ``mpml_fraction`` of 0.1: waves grow in others. A gradient stores 2 arrays a step for ``v``, ``epsilon`` and
    ``delta``, and two for each axis for ``rho``, ``theta`` and ``phi``.

    Sources are of kind "p", pressure rates (Pa/s); receivers record the pressure or a component of the velocity. All
    lie half a cell after their cell along all axes.

    Attributes:
        v: Speed along the axis of symmetry [*cells] (m/s), or [shot, *cells]. Positive, or 0 in vacuum.
        epsilon: Thomsen's epsilon, the same: the speed across the axis is v sqrt(1 + 2 epsilon).
        delta: Thomsen's delta, the same; more than -1/2.
        rho: Density (kg/m^3), the same; 0 in vacuum.
        theta: Angle of the axis of symmetry from axis 0 (radians), the same; in 2-D positive towards the last axis.
        phi: Azimuth of the axis of symmetry, from the last axis to the one before it (radians), the same. In 2-D
            nothing depends on it.
    """

    theta: Model = model("finite")
    phi: Model = model("finite")

    reflecting = ("free", "periodic")
    plain_layers = False

    def scheme(self, ndim: int) -> Scheme:
        names, axes, pressures = components(ndim), range(ndim), ("pressurev_0", "pressureh_0")
        along, across = ([f"v{kind}{name}_0" for name in names] for kind in "vh")
        corner = tuple(axes)
        gradient = {
            f"gradient{kind}_{names[i]}": Term(((i, p),), -1, at=corner)
            for kind, p in zip("vh", pressures, strict=True)
            for i in axes
        }
        return Scheme(
            fields={**dict.fromkeys(pressures, ()), **dict.fromkeys((*along, *across), corner)},
            terms={
                "along": Term(tuple(enumerate(along)), -1, at=()),
                "across": Term(tuple(enumerate(across)), -1, at=()),
                **gradient,
                **{f"minus_{name}": Term(of=(f"gradienth_{name}",), weight=-1) for name in names},
            },
            stages=(
                {along[i]: tuple((_tensor(i, j), f"gradientv_{names[j]}") for j in axes) for i in axes}
                | {across[i]: (("buoyancy", f"gradienth_{names[i]}"),
                               *((_tensor(i, j), f"minus_{names[j]}") for j in axes)) for i in axes},
                {
                    "pressurev_0": (("c33", "along"), ("c13", "across")),
                    "pressureh_0": (("c13", "along"), ("c11", "across")),
                },
            ),
            sources={"p": Source(pressures, at=corner)},
            receivers={"p": Term(tuple((None, p) for p in (pressures[0], *[pressures[1]] * (ndim - 1))), 1 / ndim,
                                 at=corner)}
            | {name: Term(((None, along[i]), (None, across[i]))) for i, name in enumerate(names)},
        )  # fmt: skip

    def moduli(self, models, dt):
        ndim, ends = self.grid.ndim, self.grid.ends
        buoyancy = points.divide(dt, corner_mean(density(models), ends))
        filled = jnp.where(models["rho"] > 0, 1, 0).astype(models["v"].dtype)
        share, n = corner_mean(filled, ends), _axis_of(models, ndim)
        # N is 1 at most along its axis and 0 at least across it; rounded, it may be more or less.
        grain = SHRINK * float(jnp.finfo(models["v"].dtype).eps)
        tensor = {
            _tensor(i, j): (1 - (1 + (i != j)) * grain)
            * buoyancy
            * points.divide(corner_mean(filled * n[i] * n[j], ends), share)
            for i in range(ndim)
            for j in range(i, ndim)
        }
        return {**stiffnesses(models, dt), "buoyancy": buoyancy, **tensor}

    def largest_speed(self, values, spacing, accuracy, kinds=None, enough=0.0) -> float:
        """From the largest buoyancy, stiffness and difference: see :func:`_largest_stiffness`."""
        rho, fastest = values["rho"], self.fastest(values)
        if not rho.any():
            raise ValueError("`rho` is 0 everywhere: there is nothing but vacuum")
        return rotated_grid.largest_speed(_largest_stiffness(values), rho, fastest, spacing, accuracy, kinds)


def _tensor(i: int, j: int) -> str:
    """The name of a component of b N."""
    return f"along_{min(i, j)}{max(i, j)}"


def _axis_of(models, ndim: int) -> tuple:
    """The axis of symmetry, a unit vector."""
    theta, phi = models["theta"], models["phi"]
    flat = (jnp.sin(theta),) if ndim == 2 else (jnp.sin(theta) * jnp.sin(phi), jnp.sin(theta) * jnp.cos(phi))
    return jnp.cos(theta), *flat


# ---- the largest stable time step ----
#
# The square of the largest frequency is the largest eigenvalue of C K, with the stiffnesses C of the cells and K = diag
# (div b N grad, div b P grad). If in all cells C <= m J + (M - m) 1, with J = ((1, 1), (1, 1)) and constants 0 <= m <=
# M, it is at most M times the largest b times the largest eigenvalue s of the Laplacian of these differences, because N
# + P = 1: the squares of div(a + w), of div a and div w are s |(a, w)|^2 at most.


def _largest_stiffness(values) -> float:
    """The least M for which there is an m. In a homogeneous medium it is c11."""
    rho = values["rho"]
    c33 = (rho * values["v"] ** 2).astype(float)
    c11, c13 = c33 * (1 + 2 * values["epsilon"]), c33 * np.sqrt(1 + 2 * np.maximum(values["delta"], -0.5))
    c33, c11, c13 = (x[x > 0] if x is c33 else x[c33 > 0] for x in np.broadcast_arrays(c33, c11, c13))

    def enough(most: float) -> bool:
        # (M - c33) (M - c11) >= (c13 - m)^2
        reach = np.sqrt((most - c33) * (most - c11))
        return max((c13 - reach).max(), 0) <= min((c13 + reach).min(), most)

    least = float(max(c33.max(), c11.max())) * (1 + stability.ROUNDING)
    return rotated_grid.least(enough, least, 2 * least)  # enough with m = 0
