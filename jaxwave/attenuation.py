"""Relaxation mechanisms: how a modulus depends on frequency, and what that makes of a quality factor.

A generalised standard linear solid is a spring beside n mechanisms. Its modulus is M at frequency 0 and

    M(w) = M (1 + sum over k of tau_k i w / (i w + rate_k))        1 / Q(w) = Im M(w) / Re M(w)

A mechanism is a rate (1/s) and a strength tau, which depends on Q. The model of the equations is 1/Q: 0 is exactly no
attenuation. An object of this module says how rates and strengths follow from it, and at which frequency the speeds of
a model are those of the waves (``reference``; None: at frequency 0, below all mechanisms).

References:
    H. Emmerich and M. Korn, "Incorporation of attenuation into time-domain computations of seismic wave fields",
    Geophysics 52 (1987); J. M. Carcione, D. Kosloff and R. Kosloff, "Wave propagation simulation in a linear
    viscoacoustic medium", Geophysical Journal 93 (1988); J. O. A. Robertsson, J. O. Blanch and W. W. Symes,
    "Viscoelastic finite-difference modeling", Geophysics 59 (1994).
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
from typing import Any, ClassVar

import numpy as np

from jaxwave._setup import validate

__all__ = ["ConstantQ", "Relaxation", "Zener"]

LOWEST_Q = 3.0
"""Of :class:`ConstantQ`: strengths are fitted for all larger ones."""


@dataclasses.dataclass(frozen=True)
class Relaxation(abc.ABC):
    """How relaxation mechanisms follow from 1/Q. Frozen and hashable: it is a static part of an equation.

    A subclass writes ``number``, the number of mechanisms, and :meth:`mechanisms`.

    Attributes:
        reference: Frequency (Hz) at which a model's speeds are those of the waves; None: frequency 0.
    """

    reference: float | None = dataclasses.field(default=None, kw_only=True)

    fixed_rates: ClassVar[bool] = True
    """Whether the rates are numbers, the same for every Q."""
    lowest_q: ClassVar[float] = 0.0
    """The smallest Q that the strengths are right for."""

    def __post_init__(self) -> None:
        if self.reference is not None:
            object.__setattr__(self, "reference", validate.positive("reference", self.reference))

    @property
    @abc.abstractmethod
    def number(self) -> int:
        """Number of mechanisms."""

    @abc.abstractmethod
    def mechanisms(self, inverse_q: Any) -> list[tuple[Any, Any]]:
        """Strength and rate (1/s) of each mechanism, from arrays of NumPy or JAX."""

    def modulus(self, frequency: Any, inverse_q: Any) -> Any:
        """The complex modulus at frequencies (Hz), over that at frequency 0."""
        w = 2 * np.pi * np.asarray(frequency)
        return 1 + sum(tau * 1j * w / (1j * w + rate) for tau, rate in self.mechanisms(inverse_q))

    def inverse_q(self, frequency: Any, inverse_q: Any) -> Any:
        """1/Q of the mechanisms at frequencies (Hz), for the 1/Q that is asked for."""
        m = self.modulus(frequency, inverse_q)
        return m.imag / m.real

    def speed(self, frequency: Any, inverse_q: Any) -> Any:
        """The phase speed of waves at frequencies (Hz), over the speed that a model gives.

        Example:
            >>> import jaxwave
            >>> relaxation = jaxwave.attenuation.ConstantQ((5.0, 50.0), reference=15.0)
            >>> [round(float(relaxation.speed(f, 1 / 30)), 4) for f in (5.0, 15.0, 50.0)]
            [0.9873, 1.0, 1.0142]
        """
        m = self.modulus(frequency, inverse_q)
        return self.relaxed(inverse_q) ** 0.5 / (m**-0.5).real

    def relaxed(self, inverse_q: Any) -> Any:
        """The modulus at frequency 0 over that which belongs to the model's speed: at most 1."""
        if self.reference is None:
            return 1.0
        w, real, imaginary = 2 * math.pi * self.reference, 1.0, 0.0
        for tau, rate in self.mechanisms(inverse_q):
            x = w / rate
            real, imaginary = real + tau * x**2 / (1 + x**2), imaginary + tau * x / (1 + x**2)
        # The square of the real part of 1 / sqrt(real + i imaginary), which is the slowness.
        size = (real**2 + imaginary**2) ** 0.5
        return (size + real) / (2 * size**2)

    def unrelaxed(self, inverse_q: Any) -> Any:
        """The modulus at infinite frequency, over that which belongs to the model's speed: at least 1."""
        return self.relaxed(inverse_q) * (1 + sum(tau for tau, _ in self.mechanisms(inverse_q)))

    def check(self, name: str, inverse_q: np.ndarray) -> None:
        """Checks values of 1/Q.

        Raises:
            ValueError: If a Q is too small for the mechanisms.
        """
        if self.lowest_q and (worst := inverse_q.max()) > 1.0001 / self.lowest_q:
            raise ValueError(
                f"`{name}` must be at most 1/{self.lowest_q:g}, a Q of {self.lowest_q:g}, down to which "
                f"{type(self).__name__} fits its mechanisms; got {worst:g} at index "
                f"{tuple(map(int, np.unravel_index(inverse_q.argmax(), inverse_q.shape)))}. `Zener` takes any"
            )


@dataclasses.dataclass(frozen=True)
class Zener(Relaxation):
    """One mechanism, whose Q is exact at one frequency (Carcione et al., 1988).

    Beside it Q(f) = (Q / 2) (f / frequency + frequency / f). Its rate depends on Q, so that the gradient for 1/Q stores
    the mechanism's memory besides the terms that all mechanisms need.

    Attributes:
        frequency: That of the smallest Q (Hz).

    Example:
        >>> import jaxwave
        >>> zener = jaxwave.attenuation.Zener(20.0)
        >>> [round(float(1 / zener.inverse_q(f, 1 / 30)), 1) for f in (10.0, 20.0, 40.0)]
        [37.5, 30.0, 37.5]
    """

    frequency: float

    fixed_rates = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "frequency", validate.positive("frequency", self.frequency))

    @property
    def number(self) -> int:
        return 1

    def mechanisms(self, inverse_q: Any) -> list[tuple[Any, Any]]:
        s = (1 + inverse_q**2) ** 0.5 + inverse_q
        return [(2 * inverse_q * s, 2 * math.pi * self.frequency * s)]


@dataclasses.dataclass(frozen=True)
class ConstantQ(Relaxation):
    """Mechanisms whose Q is nearly constant over a band, for every Q of at least 3 (Emmerich and Korn, 1987).

    Their rates are spread evenly over the logarithm of the band, and their strengths are those of least squares, for
    each Q on its own: polynomials in 1/Q that are fitted to them. Two mechanisms suffice for a decade, three for two.

    Attributes:
        band: Lowest and highest frequency (Hz).
        number: Number of mechanisms.

    Raises:
        ValueError: If the band is none, or so narrow for the mechanisms that some strengths would be negative: the
            medium would give waves energy.

    Example:
        >>> import jaxwave, numpy as np
        >>> relaxation = jaxwave.attenuation.ConstantQ((3.0, 30.0), 3)
        >>> bool(relaxation.error() < 0.03)
        True
        >>> np.round(1 / relaxation.inverse_q([3.0, 10.0, 30.0], 1 / 50)).tolist()
        [51.0, 50.0, 51.0]
    """

    band: tuple[float, float]
    number: int = 3

    lowest_q = LOWEST_Q

    def __post_init__(self) -> None:
        super().__post_init__()
        lowest, highest = (validate.positive("band", f) for f in self.band)
        if not lowest < highest:
            raise ValueError(f"ConstantQ: `band` must be a lower and a higher frequency (Hz); got {self.band}")
        validate.wholes(self, "a positive integer", 1, "number")
        object.__setattr__(self, "band", (lowest, highest))
        _fitted(self.band, self.number)

    def mechanisms(self, inverse_q: Any) -> list[tuple[Any, Any]]:
        rates, polynomials = _fitted(self.band, self.number)
        return [
            (inverse_q * functools.reduce(lambda sum_, c: sum_ * inverse_q + c, reversed(coefficients)), rate)
            for rate, coefficients in zip(rates, polynomials, strict=True)
        ]

    def error(self, lowest_q: float = 10.0) -> float:
        """The largest relative error of 1/Q within the band, of all Q from ``lowest_q`` on."""
        wanted = np.linspace(1e-6, 1 / lowest_q, 20)[:, None]
        return float(np.abs(self.inverse_q(np.geomspace(*self.band, 200), wanted) / wanted - 1).max())


def strengths(rates: np.ndarray, frequencies: np.ndarray, inverse_q: float) -> np.ndarray:
    """The strengths over 1/Q that give this 1/Q at frequencies (Hz), by least squares: the equation is linear in them.

    sum of tau_k (x_k / (1 + x_k^2) - x_k^2 / (1 + x_k^2) / Q) = 1 / Q        x_k = w / rate_k
    """
    x = 2 * np.pi * frequencies[:, None] / rates
    found: np.ndarray = np.linalg.lstsq((x - inverse_q * x**2) / (1 + x**2), np.ones(len(x)), rcond=None)[0]
    return found


@functools.cache
def _fitted(band: tuple[float, float], number: int) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
    """Rates, and for each mechanism the coefficients of its strength over 1/Q as a polynomial in 1/Q."""
    frequencies, inverse_qs = np.geomspace(*band, 200), np.linspace(0, 1 / LOWEST_Q, 30)
    middle, found = math.sqrt(band[0] * band[1]), []
    for spread in np.linspace(0.6, 1.2, 13) if number > 1 else [0.0]:
        rates = 2 * np.pi * middle * (np.geomspace(*band, number) / middle) ** spread if number > 1 else np.array(
            [2 * np.pi * middle])  # fmt: skip
        values = np.array([strengths(rates, frequencies, q) for q in inverse_qs])
        fit = np.polynomial.polynomial.polyfit(inverse_qs, values, 3)
        values = np.polynomial.polynomial.polyval(inverse_qs, fit).T
        if (values > 0).all():
            found.append((max(map(functools.partial(_error, rates, frequencies), inverse_qs, values)), rates, fit))
    if not found:
        raise ValueError(
            f"ConstantQ: {number} mechanisms are too many for the band {band} Hz: some of their strengths would be "
            "negative. Take fewer; three suffice for two decades"
        )
    _, rates, fit = min(found, key=lambda x: x[0])
    return tuple(map(float, rates)), tuple(tuple(map(float, coefficients)) for coefficients in fit.T)


def _error(rates: np.ndarray, frequencies: np.ndarray, inverse_q: float, values: np.ndarray) -> float:
    """The largest relative error of 1/Q, with strengths of ``values`` / Q."""
    x = 2 * np.pi * frequencies[:, None] / rates
    real = 1 + (inverse_q * values * x**2 / (1 + x**2)).sum(1)
    return float(np.abs((values * x / (1 + x**2)).sum(1) / real - 1).max())
