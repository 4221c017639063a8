"""The acoustic equation in a vertically transversely isotropic (VTI) medium, with a PML.

The elastic equation without shear stiffness, whose normal stresses then differ: minus them are the pressures p_v along
the axis of symmetry, which is axis 0, and p_h across it. With Thomsen's epsilon and delta,

    c33 = rho v^2        c11 = c33 (1 + 2 epsilon)        c13 = c33 sqrt(1 + 2 delta)

    z = dv_0/dx_0                             h = sum of dv_i/dx_i over the other axes
    p_v,t = -(c33 z + c13 h) + q              p_h,t = -(c13 z + c11 h) + q
    v_0,t = -b dp_v/dx_0 + b f_0              v_i,t = -b dp_h/dx_i + b f_i

The pressure that is recorded is the mean over all axes, (p_v + (n - 1) p_h) / n in n dimensions. On the grid of the
acoustic equation (:mod:`jaxwave.equations.acoustic`), with the same faces and layers.

It conserves energy where the stiffness is not negative, c11 c33 >= c13^2, hence epsilon >= delta: otherwise waves grow
for ever. Where epsilon differs from delta a source sends out a slow, diamond-shaped shear wave besides (Alkhalifah,
1998; Grechka, Zhang and Rector, 2004), unless the medium around it is elliptical, epsilon = delta:
:func:`jaxwave.anisotropy.elliptical_around` makes it so.

References:
    T. Alkhalifah, "An acoustic wave equation for anisotropic media", Geophysics 65 (2000); E. Duveneck et al.,
    "Acoustic VTI wave equations and their application for anisotropic reverse-time migration", SEG Expanded Abstracts
    (2008); V. Grechka, L. Zhang and J. W. Rector, "Shear waves in acoustic anisotropic media", Geophysics 69 (2004).
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxwave.equations.base import Model, model
from jaxwave.equations.leapfrog import LeapfrogEquation
from jaxwave.equations.scheme import Scheme, Source, Term
from jaxwave.equations.staggered import buoyancies, components


class AcousticVTI(LeapfrogEquation):
    """The acoustic equation in a VTI medium, whose axis of symmetry is axis 0; in 2-D and 3-D.

    Sources of kind "p" are pressure rates (Pa/s), the others forces. Stable where epsilon >= delta, which is checked;
    :func:`jaxwave.anisotropy.from_eta` makes such media from parameters that an inversion may change at will. Where
    both are 0 it is :class:`jaxwave.Acoustic` to rounding. A gradient stores 2 arrays a step for ``v``, ``epsilon`` and
    ``delta``, and one for each axis for ``rho``.

    Attributes:
        v: Speed along the axis of symmetry [*cells] (m/s), or [shot, *cells]. Positive, or 0 in vacuum.
        epsilon: Thomsen's epsilon, the same: the speed across the axis is v sqrt(1 + 2 epsilon).
        delta: Thomsen's delta, the same; more than -1/2.
        rho: Density (kg/m^3), the same; 0 in vacuum.
    """

    v: Model = model("positive where rho")
    epsilon: Model = model("finite")
    delta: Model = model("finite")
    rho: Model = model("not negative")

    dimensions = (2, 3)
    matter = "rho"

    def scheme(self, ndim: int) -> Scheme:
        names, across = components(ndim), range(1, ndim)
        v = [f"v{name}_0" for name in names]
        pressure = ["pressurev_0", *["pressureh_0"] * (ndim - 1)]
        return Scheme(
            fields={"pressurev_0": (), "pressureh_0": (), **{v[axis]: (axis,) for axis in range(ndim)}},
            terms={
                "along": Term(((0, v[0]),), -1),
                "across": Term(tuple((axis, v[axis]) for axis in across), -1),
                **{f"gradient_{names[axis]}": Term(((axis, pressure[axis]),), -1) for axis in range(ndim)},
            },
            stages=(
                {v[axis]: ((f"buoyancy_{name}", f"gradient_{name}"),) for axis, name in enumerate(names)},
                {
                    "pressurev_0": (("c33", "along"), ("c13", "across")),
                    "pressureh_0": (("c13", "along"), ("c11", "across")),
                },
            ),
            sources={"p": Source(("pressurev_0", "pressureh_0"))}
            | {name: Source((v[axis],), f"buoyancy_{name}") for axis, name in enumerate(names)},
            receivers={"p": Term(tuple((None, p) for p in pressure), 1 / ndim)}
            | {name: Term(((None, v[axis]),)) for axis, name in enumerate(names)},
            scaled=tuple(v),
        )

    def moduli(self, models, dt):
        return {**stiffnesses(models, dt), **buoyancies(self.grid, density(models), dt)}

    # ---- what a medium must be ----

    @staticmethod
    def check_models(values, ndim) -> None:
        epsilon, delta, rho = np.broadcast_arrays(*(values[name] for name in ("epsilon", "delta", "rho")))
        low = (rho > 0) & ~(delta > -0.5)
        if low.any():
            where = np.unravel_index(np.argmax(low), low.shape)
            raise ValueError(f"`delta` must be more than -1/2; got {delta[where]:g} at index {tuple(map(int, where))}")
        bad = (rho > 0) & (epsilon < delta)
        if bad.any():
            where = np.unravel_index(np.argmax(np.where(bad, delta - epsilon, -1)), bad.shape)
            raise ValueError(
                "`epsilon` must be at least `delta` wherever there is matter: a strain would set energy free "
                f"otherwise, and waves grow for ever. At index {tuple(map(int, where))} `epsilon` is "
                f"{epsilon[where]:g} and `delta` {delta[where]:g} ({int(bad.sum())} such cells). Bound them, e.g. "
                "`epsilon=jnp.maximum(epsilon, delta)`, or invert for eta (`jaxwave.anisotropy.from_eta`)"
            )

    @staticmethod
    def smallest_speed(values, ndim) -> float:
        slowest = values["v"] * np.sqrt(1 + 2 * np.clip(np.minimum(values["epsilon"], values["delta"]), -0.49, 0))
        return float(np.where(values["rho"] > 0, slowest, np.inf).min())

    @staticmethod
    def fastest(values) -> float:
        fastest = values["v"] * np.sqrt(1 + 2 * np.maximum(values["epsilon"], 0))
        return float(np.where(values["rho"] > 0, fastest, 0).max())


def density(models):
    """rho, without a derivative in vacuum."""
    return jnp.where(models["rho"] > 0, models["rho"], 0)


def stiffnesses(models, dt):
    """The stiffnesses by name, times dt; without derivatives in vacuum."""
    delta = jnp.where(models["rho"] > 0, models["delta"], 0)
    c33 = dt * density(models) * models["v"] ** 2
    return {"c33": c33, "c11": c33 * (1 + 2 * models["epsilon"]), "c13": c33 * jnp.sqrt(1 + 2 * delta)}
