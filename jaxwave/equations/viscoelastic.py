"""The isotropic elastic equation with attenuation of P and S waves, by relaxation mechanisms, on a staggered grid.

As :mod:`jaxwave.equations.elastic`, with moduli that depend on frequency: P = lamb + 2 mu by the mechanisms' strengths
tau_p, and mu by tau_s, at the same rates (:mod:`jaxwave.attenuation`). Each stress has a memory variable for each
mechanism (:mod:`jaxwave.equations.relaxing`), updated with the strain rates of the stress. At a face it is what its
stress is: without a traction it has none.

Between cells mu is the harmonic mean of four, at frequency 0 and with each mechanism more: the compliance of cells that
share a stress is the mean of theirs at every frequency, which this is at the lowest and the highest. What mechanism k
adds is the difference of two harmonic means, H_k - H_k-1, without its cancellation: with M_k = mu (1 + tau_1 + ... +
tau_k) in each cell,

    H_k - H_k-1 = H_k H_k-1 (mean of the cells' 1 / M_k-1 - 1 / M_k)

References:
    J. O. A. Robertsson, J. O. Blanch and W. W. Symes, "Viscoelastic finite-difference modeling", Geophysics 59 (1994);
    J. M. Carcione, "Seismic modeling in viscoelastic media", Geophysics 58 (1993).
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np

from jaxwave._numerics import points
from jaxwave.attenuation import Relaxation
from jaxwave.equations import relaxing, staggered
from jaxwave.equations.base import Model, model
from jaxwave.equations.elastic import Elastic
from jaxwave.equations.scheme import Scheme
from jaxwave.equations.staggered import tensor


class Viscoelastic(relaxing.Attenuating, Elastic):
    """The isotropic elastic equation with attenuation, in 1-D (P waves), 2-D and 3-D.

    With the sources, receivers and wavefields of :class:`jaxwave.Elastic`, and its results to rounding where both 1/Q
    are 0. A gradient stores no more than that of the elastic equation.

    Attributes:
        lamb, mu: Lame's parameters [*cells] (Pa), or [shot, *cells], at the frequency ``relaxation.reference``; mu is 0
            in a fluid, both in vacuum.
        buoyancy: 1 / density (m^3/kg), the same; 0 in vacuum.
        inverse_qp, inverse_qs: 1/Q of P and S waves, the same; 0 where they are not attenuated. A change of volume must
            not gain energy: in 3-D 1/Qp >= (4/3) (vs/vp)^2 / Qs, nearly.
        relaxation: The mechanisms, of fixed rates: a :class:`jaxwave.attenuation.ConstantQ`.
    """

    inverse_qp: Model = model("not negative")
    inverse_qs: Model = model("not negative")
    relaxation: Relaxation = dataclasses.field(default=None, kw_only=True)  # type: ignore[assignment]

    lossless = Elastic()

    def __post_init__(self) -> None:
        if not (isinstance(self.relaxation, Relaxation) and self.relaxation.fixed_rates):
            raise TypeError(
                "Viscoelastic: `relaxation` must give mechanisms of fixed rates, which P and S waves share, such as "
                f"jaxwave.attenuation.ConstantQ((5.0, 50.0)); got {self.relaxation!r}"
            )

    def scheme(self, ndim: int) -> Scheme:
        stresses = [f"sigma{kind}_0" for kind in tensor(ndim)]
        return relaxing.relaxing(super().scheme(ndim), self.relaxation, stresses)

    def moduli(self, models, dt):
        found, b, ends = super().moduli(models, dt), models["buoyancy"], self.grid.ends
        lamb, mu = (jnp.where(b > 0, models[name], 0) for name in ("lamb", "mu"))
        p, s = (dt * self._levels(x, models[q]) for x, q in ((lamb + 2 * mu, "inverse_qp"), (mu, "inverse_qs")))
        rates = [rate for _, rate in self.relaxation.mechanisms(0.0)]
        moduli = {"lamb": list(p - 2 * s), "mu": list(2 * s)}
        for kind, (i, j) in tensor(self.grid.ndim).items():
            if i != j:
                moduli[f"mu_{kind}"] = _between(s, i, j, ends)
        scheme = self.scheme(self.grid.ndim)
        return {**found, **relaxing.coefficients(scheme, self.relaxation, dt, rates, moduli)}

    def _levels(self, modulus, inverse_q):
        """The modulus at frequency 0, and what each mechanism adds to it: on a new leading axis."""
        relaxed = modulus * self.relaxation.relaxed(inverse_q)
        return jnp.stack([relaxed, *(relaxed * tau for tau, _ in self.relaxation.mechanisms(inverse_q))])

    # ---- what a medium must be ----

    def check_models(self, values, ndim) -> None:
        for name in ("inverse_qp", "inverse_qs"):
            self.relaxation.check(name, values[name])
        self.lossless.check_models(self.without(values, self.relaxation.relaxed), ndim)
        self._check_volume(values, ndim)

    def _check_volume(self, values, ndim: int) -> None:
        """Checks that no mechanism gives energy to a change of volume."""
        lamb, mu, qp, qs = np.broadcast_arrays(*(values[name] for name in ("lamb", "mu", "inverse_qp", "inverse_qs")))
        stiffness, share = lamb + 2 * mu, 2 * (ndim - 1) / ndim * mu  # less the share that is no change of volume
        of_p, of_s = (
            m * self.relaxation.relaxed(q) * np.stack([tau for tau, _ in self.relaxation.mechanisms(q)])
            for m, q in ((stiffness, qp), (share, qs))
        )
        bad = (of_p < (1 - 1e-5) * of_s).any(0)
        if bad.any():
            where = np.unravel_index(np.argmax(bad), bad.shape)
            raise ValueError(
                f"`inverse_qp` is too small beside `inverse_qs`: a change of volume would gain energy. At index "
                f"{tuple(map(int, where))} they are {qp[where]:g} and {qs[where]:g}, and `inverse_qp` must be about "
                f"{1.1 * qs[where] * share[where] / stiffness[where]:.3g} or more ({int(bad.sum())} such cells)"
            )

    @staticmethod
    def without(values, ratio):
        """Models of a medium without attenuation, whose moduli are in these ratios to those of the models."""
        lamb, mu, b, qp, qs = np.broadcast_arrays(
            *(values[name] for name in ("lamb", "mu", "buoyancy", "inverse_qp", "inverse_qs"))
        )
        p, s = (lamb + 2 * mu) * ratio(qp), mu * ratio(qs)
        return {"lamb": p - 2 * s, "mu": s, "buoyancy": b}


def _between(levels, i: int, j: int, ends) -> list:
    """Moduli half a cell on along i and j, from those of the cells: at frequency 0, and what each mechanism adds."""
    modulus, found = levels[0], [staggered.mu_between(levels[0], i, j, ends)]
    lower = found[0]
    for defect in levels[1:]:
        higher = modulus + defect
        gap = points.divide(defect, modulus * higher)
        upper = staggered.mu_between(higher, i, j, ends)
        found.append(upper * lower * staggered.mean_between(gap, i, j, ends))
        modulus, lower = higher, upper
    return found
