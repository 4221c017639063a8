"""The acoustic equation with variable density and attenuation, by relaxation mechanisms, on a staggered grid.

Continuous, with K the bulk modulus at frequency 0, and for each mechanism its strength tau and its rate 1/T
(:mod:`jaxwave.attenuation`):

    v_t = -b grad p + b f      p_t = -K (1 + sum of tau) div v - sum of r + q      r_t = -(r + K tau div v) / T

Discrete as the acoustic equation (:mod:`jaxwave.equations.acoustic`), with r by Crank-Nicolson
(:mod:`jaxwave.equations.relaxing`). The largest stable step is that of the modulus at infinite frequency,
K (1 + sum of tau), at which the fronts of waves run.

Reference:
    J. M. Carcione, D. Kosloff and R. Kosloff, "Wave propagation simulation in a linear viscoacoustic medium",
    Geophysical Journal 93 (1988).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxwave.attenuation import Relaxation
from jaxwave.equations import relaxing
from jaxwave.equations.acoustic import Acoustic
from jaxwave.equations.base import Model, model
from jaxwave.equations.scheme import Scheme, Source


class Viscoacoustic(relaxing.Attenuating, Acoustic):
    """The acoustic equation with variable density and attenuation.

    Sources of kind "p" are pressure rates (Pa/s). Without attenuation, 1/Q = 0, it is :class:`jaxwave.Acoustic` to
    rounding. A gradient for ``v`` and ``inverse_q`` stores one array a step, as that for ``v`` alone does.

    Attributes:
        v: Wave speed [*cells] (m/s), or [shot, *cells], at the frequency ``relaxation.reference``. Positive, or 0 in
            vacuum.
        rho: Density (kg/m^3), the same; 0 in vacuum.
        inverse_q: 1/Q, the inverse quality factor, the same; 0 where nothing is attenuated.
        relaxation: The mechanisms: a :class:`jaxwave.attenuation.ConstantQ`, ``Zener``, or one of your own.
    """

    inverse_q: Model = model("not negative")
    relaxation: Relaxation = dataclasses.field(default=None, kw_only=True)  # type: ignore[assignment]

    lossless = Acoustic()

    def __post_init__(self) -> None:
        if not isinstance(self.relaxation, Relaxation):
            raise TypeError(
                f"{type(self).__name__}: `relaxation` must say which mechanisms attenuate, such as "
                f"jaxwave.attenuation.ConstantQ((5.0, 50.0)); got {self.relaxation!r}"
            )

    def scheme(self, ndim: int) -> Scheme:
        lossless = super().scheme(ndim)
        lossless = dataclasses.replace(lossless, sources={**lossless.sources, "p": Source(("pressure_0",))})
        return relaxing.relaxing(lossless, self.relaxation, ["pressure_0"])

    def moduli(self, models, dt):
        found, inverse_q = super().moduli(models, dt), models["inverse_q"]
        bulk = found["bulk_modulus"] * self.relaxation.relaxed(inverse_q)
        strengths, rates = zip(*self.relaxation.mechanisms(inverse_q), strict=True)
        scheme, moduli = self.scheme(self.grid.ndim), {"bulk_modulus": [bulk, *(bulk * tau for tau in strengths)]}
        return {**found, **relaxing.coefficients(scheme, self.relaxation, dt, rates, moduli)}

    # ---- what a medium must be ----

    def check_models(self, values, ndim) -> None:
        self.relaxation.check("inverse_q", values["inverse_q"])

    @staticmethod
    def without(values, ratio):
        """Models of a medium without attenuation, whose modulus is in this ratio to that of the speeds."""
        v, rho = np.broadcast_arrays(values["v"] * np.sqrt(ratio(values["inverse_q"])), values["rho"])
        return {"v": v, "rho": rho}
