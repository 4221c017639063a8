"""The elastic equation in a medium with a tilted axis of transverse isotropy (TTI), in 2-D, with a PML.

That of :class:`jaxwave.ElasticVTI` with an axis of symmetry n = (cos theta, sin theta) along the axes (y, x), which may
change from place to place. In Voigt's numbers 3 is axis 0 and 1 the last one, and with b = 1 / rho and plane strain

    v_0,t = b (ds_33/dx_0 + ds_13/dx_1 + f_0)    e_33 = dv_0/dx_0    s_33,t = c33 e_33 + c13 e_11 + c35 g - q
    v_1,t = b (ds_13/dx_0 + ds_11/dx_1 + f_1)    e_11 = dv_1/dx_1    s_11,t = c13 e_33 + c11 e_11 + c15 g - q
                                g = dv_0/dx_1 + dv_1/dx_0      s_13,t = c35 e_33 + c15 e_11 + c55 g

with the stiffnesses along the axes of the grid, which follow from those along n by Bond's transformation
(:func:`jaxwave.anisotropy.rotated_stiffness`). A shear strain makes normal stresses here. On the usual staggered grid
these lie elsewhere, and it would have to be averaged; on the rotated one (Saenger, Gold and Shapiro, 2000) all stresses
lie in the cells, and both velocities at their corners:

    D_i A_j s    the difference along an axis of the average along the other, both of the order of the grid

So each cell has its own stiffness tensor, and no mean of stiffnesses is taken anywhere; b at a corner is the inverse of
the mean of the densities around it. Differences of the two kinds are minus the transposes of each other, the tensors
symmetric and not negative: energy is conserved whatever the tilt.

These differences do not see a field that changes its sign from cell to cell along both axes; it stays for ever, and
fields like it are waves too, with their directions mirrored. Smooth sources send out none. So a source of pressure lies
at a corner, and acts on the cells around it by the transpose of the average, with weights whose transform vanishes at
these wave numbers. A force acts on corners, and must be spread over several to be smooth.

At a free or a rigid face a wave would be reflected as if the tilt were mirrored, so there are none.

References:
    E. H. Saenger, N. Gold and S. A. Shapiro, "Modeling the propagation of elastic waves using a modified
    finite-difference grid", Wave Motion 31 (2000); E. H. Saenger and T. Bohlen, "Finite-difference modeling of
    viscoelastic and anisotropic wave propagation using the rotated staggered grid", Geophysics 69 (2004); B. A. Auld,
    "Acoustic fields and waves in solids", Wiley (1973).
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxwave._numerics import closures, points
from jaxwave.anisotropy import rotate
from jaxwave.equations import rotated_grid, stability
from jaxwave.equations.anisotropic import ElasticVTI
from jaxwave.equations.base import Model, model
from jaxwave.equations.scheme import Scheme, Source, Term
from jaxwave.equations.staggered import components, corner_mean, tensor

CORNER = (0, 1)
"""The axes along which velocities lie between the cells."""

ANGLES = np.linspace(0, np.pi / 2, 46)
"""From the axis of symmetry, of the plane waves whose speeds are looked at."""


class ElasticTTI(ElasticVTI):
    """The elastic equation in a TTI medium, whose axis of symmetry is tilted, in 2-D (plane strain).

    Along the axes (y, x) the axis of symmetry is (cos theta, sin theta). Where ``theta`` is 0 it is axis 0, as in
    :class:`jaxwave.ElasticVTI`, which has the same waves on another grid. ``ElasticTTI(*stiffness, theta)`` takes the
    models of :func:`jaxwave.anisotropy.thomsen_to_stiffness`. Layers must be multi-axial, with an ``mpml_fraction`` of
    0.1: waves grow in others. Faces are periodic or have layers. A gradient stores 3 arrays a step for the stiffnesses
    and ``theta``, and 2 for ``buoyancy``.

    Sources are of kind "p", pressure rates (Pa/s), and forces; receivers record the pressure, minus the mean of the
    normal stresses, or a component of the velocity. All lie half a cell after their cell along both axes. A force on a
    single corner also sends out waves that change their sign from cell to cell: give
    ``jaxwave.Hicks(cells, shape, offset=0.5)`` with whole numbers, the middle of a cell, half-way between corners.

    Attributes:
        c11, c13, c33: Normal stiffnesses [*cells] (Pa), or [shot, *cells]; ``c33`` is along the axis of symmetry. All
            are 0 in vacuum, and ``c13^2 < c11 c33`` elsewhere.
        c55: Shear stiffness across planes that hold the axis of symmetry, the same; 0 in a fluid.
        c66: Shear stiffness across the axis of symmetry, the same. In 2-D nothing depends on it.
        buoyancy: 1 / density (m^3/kg), the same; 0 in vacuum.
        theta: Angle of the axis of symmetry from axis 0 towards the last one (radians), the same.
    """

    theta: Model = model("finite")

    dimensions = (2,)
    default_boundary = None
    reflecting = ("periodic",)
    plain_layers = False

    def scheme(self, ndim: int) -> Scheme:
        names = components(ndim)
        v = [f"v{name}_0" for name in names]
        stress = {place: f"sigma{kind}_0" for kind, place in tensor(ndim).items()}
        pressures = tuple(stress[i, i] for i in CORNER)
        normal, strains = ((0, 0), (1, 1)), {"33": "strain_yy", "11": "strain_xx", "55": "strain_xy"}
        return Scheme(
            fields={**dict.fromkeys(v, CORNER), **dict.fromkeys((*(stress[i] for i in normal), stress[CORNER]), ())},
            terms={
                **{f"strain_{names[i] * 2}": Term(((i, v[i]),), at=()) for i in CORNER},
                "strain_xy": Term(((1, v[0]), (0, v[1])), at=()),
                **{f"force_{name}": Term(tuple((j, stress[min(i, j), max(i, j)]) for j in CORNER), at=CORNER)
                   for i, name in enumerate(names)},
            },
            stages=(
                {v[i]: (("buoyancy", f"force_{name}"),) for i, name in enumerate(names)},
                {
                    stress[0, 0]: (("c33", strains["33"]), ("c13", strains["11"]), ("c35", strains["55"])),
                    stress[1, 1]: (("c13", strains["33"]), ("c11", strains["11"]), ("c15", strains["55"])),
                    stress[CORNER]: (("c35", strains["33"]), ("c15", strains["11"]), ("c55", strains["55"])),
                },
            ),
            sources={"p": Source(pressures, weight=-1, at=CORNER)}
            | {name: Source((v[i],), "buoyancy") for i, name in enumerate(names)},
            receivers={"p": Term(tuple((None, p) for p in pressures), -1 / ndim, at=CORNER)}
            | {name: Term(((None, v[i]),)) for i, name in enumerate(names)},
        )  # fmt: skip

    def closures_of(self, axis, field):
        return closures.named(self.grid.ends[axis], {})

    def source_needs(self, ndim: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        return {}

    def moduli(self, models, dt):
        b = models["buoyancy"]
        c11, c13, c33, c55, theta = (
            jnp.where(b > 0, models[name], 0)  # no derivative in vacuum
            for name in ("c11", "c13", "c33", "c55", "theta")
        )
        stiffness = rotate(c11, c13, c33, c55, theta)._asdict()
        density = corner_mean(points.divide(1, b), self.grid.ends)
        return {**{name: dt * c for name, c in stiffness.items()}, "buoyancy": points.divide(dt, density)}

    # ---- what a medium must be ----

    def fastest(self, values) -> float:
        """The largest phase speed of P waves in any direction."""
        return float(np.sqrt(max(_phase(values, angle, 1).max() for angle in ANGLES)))

    def smallest_speed(self, values, ndim) -> float:
        """That of shear waves, or of P waves in fluids."""
        solid = np.broadcast_to(values["c55"] > 0, np.broadcast_shapes(*(x.shape for x in values.values())))
        slowest = np.inf
        for angle in ANGLES:
            square = np.where(solid, _phase(values, angle, -1), _phase(values, angle, 1))
            slowest = min(slowest, square[square > 0].min(initial=np.inf))
        return float(np.sqrt(slowest))

    def largest_speed(self, values, spacing, accuracy, kinds=None, enough=0.0) -> float:
        """From the largest buoyancy, stiffness and difference: see :func:`_largest_stiffness`."""
        b = values["buoyancy"]
        if not b.any():
            raise ValueError("`buoyancy` is 0 everywhere: there is nothing but vacuum")
        rho, fastest = points.divide(1, b.astype(float), np), self.fastest(values)
        return rotated_grid.largest_speed(_largest_stiffness(values), rho, fastest, spacing, accuracy, kinds)


def _phase(values, angle: float, sign: int) -> np.ndarray:
    """The squared phase speed of P (1) or shear waves (-1) at this angle from the axis of symmetry."""
    c11, c13, c33, c55, b = (values[name].astype(float) for name in ("c11", "c13", "c33", "c55", "buoyancy"))
    z, x = np.cos(angle) ** 2, np.sin(angle) ** 2
    along, across = c33 * z + c55 * x, c11 * x + c55 * z
    return b * ((along + across) / 2 + sign * np.hypot((along - across) / 2, (c13 + c55) * np.sqrt(z * x)))


# ---- the largest stable time step ----
#
# An isotropic tensor with the moduli M of P waves and m of shear waves is the same in all directions. The squares of
# the frequencies of its waves are b M and b m times that of the vector of differences, so that M counts if m <= M. The
# stiffness of a cell is at most this tensor if, along its own axis of symmetry,
#
#     c55 <= m        (M - c33) (M - c11) >= (c13 - (M - 2 m))^2


def _largest_stiffness(values) -> float:
    """The least M for which there is an m. In a homogeneous isotropic medium it is lamb + 2 mu."""
    c11, c13, c33, c55 = (
        x.astype(float) for x in np.broadcast_arrays(*(values[name] for name in ("c11", "c13", "c33", "c55")))
    )

    def enough(most: float) -> bool:
        reach = np.sqrt((most - c33) * (most - c11))
        return max((c13 - reach).max(), -most) <= min((c13 + reach).min(), most - 2 * c55.max())

    stiffest = np.maximum(c33, c11)
    low = float(max(stiffest.max(), c55.max())) * (1 + stability.ROUNDING)
    # With M = 2 m: a cell needs no more than its largest normal stiffness plus c13, or 2 c55.
    high = float(max((stiffest + np.abs(c13)).max(), 2 * c55.max())) * (1 + stability.ROUNDING)
    return rotated_grid.least(enough, low, max(low, high))
