"""Relaxation mechanisms in a scheme: memory variables beside a stress or pressure, by Crank-Nicolson.

A mechanism of strength tau and rate 1/T takes from a stress s with the modulus M, where g is the strain rate,

    s_t = M (1 + sum of tau) g - sum of r        r_t = -(r - M tau g) / T

With h = dt / (2 T), r between its values before and after a step, and R = r dt / (1 + h), which makes the coefficient
of R in s exactly 1:

    s' = s + dt M (1 + sum of tau / (1 + h)) g - sum of R
    R' = R - 2 h / (1 + h) R + dt M tau 2 h / (1 + h)^2 g

It is stable for every T, and takes energy from the waves for every tau >= 0. With fixed rates the coefficient of R is a
number that no model changes, and a gradient keeps no R.

Reference:
    J. O. A. Robertsson, J. O. Blanch and W. W. Symes, "Viscoelastic finite-difference modeling", Geophysics 59 (1994).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from jaxwave.attenuation import Relaxation
from jaxwave.equations.base import Equation
from jaxwave.equations.scheme import Pair, Scheme, Term


class Attenuating:
    """What equations with attenuation share: how fast waves are, which they are without it at frequency 0 or infinity.

    A subclass has a ``relaxation``, and an equation beside it that is without attenuation.
    """

    relaxation: Relaxation
    lossless: ClassVar[Equation]

    def without(self, values: Mapping[str, np.ndarray], ratio: Callable[[Any], Any]) -> dict[str, np.ndarray]:
        """Models of the lossless equation, whose moduli are in this ratio, of 1/Q, to those of the models."""
        raise NotImplementedError

    def smallest_speed(self, values: Mapping[str, np.ndarray], ndim: int) -> float:
        return self.lossless.smallest_speed(self.without(values, self.relaxation.relaxed), ndim)

    def fastest(self, values: Mapping[str, np.ndarray]) -> float:
        return self.lossless.fastest(self.without(values, self.relaxation.unrelaxed))

    def largest_speed(
        self, values: Mapping[str, np.ndarray], spacing: Sequence[float], accuracy: int,
        kinds: Sequence[str | None] | None = None, enough: float = 0.0,
    ) -> float:  # fmt: skip
        values = self.without(values, self.relaxation.unrelaxed)
        return self.lossless.largest_speed(values, spacing, accuracy, kinds, enough)


def fields_of(stress: str, relaxation: Relaxation) -> tuple[str, ...]:
    """The memory variables beside a stress, "relaxation1_pressure_0" and so on."""
    return tuple(f"relaxation{k + 1}_{stress}" for k in range(relaxation.number))


def stress_of(field: str) -> str:
    """The stress that a memory variable lies beside; of any other field itself."""
    return field.partition("_")[2] if field.startswith("relaxation") else field


def relaxing(scheme: Scheme, relaxation: Relaxation, stresses: Sequence[str]) -> Scheme:
    """A scheme, with mechanisms beside the stresses that the last stage updates.

    Of a coefficient "c" of a stress, its mechanisms have "c_1", "c_2" and so on; "rate_1" is that of the memory.
    """
    *others, last = scheme.stages
    fields, terms = dict(scheme.fields), dict(scheme.terms)
    last = dict(last)
    for stress in stresses:
        update: tuple[Pair, ...] = last[stress]
        for k, memory in enumerate(fields_of(stress, relaxation), 1):
            fields[memory] = scheme.fields[stress]
            terms[memory] = Term(((None, memory),))
            rate = _rate(k, scheme.fields[stress], relaxation)
            last[memory] = ((rate, memory), *((f"{c}_{k}", g) for c, g in update))
            last[stress] = (*last[stress], (-1.0, memory))
    scaled = tuple(field for field in scheme.scaled if field not in stresses)
    return dataclasses.replace(scheme, fields=fields, terms=terms, stages=(*others, last), scaled=scaled)


def _rate(k: int, place: Sequence[int], relaxation: Relaxation) -> str:
    """The coefficient of a memory variable, one for each place."""
    return f"rate_{k}" + "".join(f"_{axis}" for axis in place)


def coefficients(
    scheme: Scheme, relaxation: Relaxation, dt: float, rates: Sequence[Any], moduli: Mapping[str, Sequence[Any]]
) -> dict[str, Any]:
    """The coefficients of a scheme's stresses and their mechanisms.

    Args:
        scheme: The scheme with its mechanisms.
        relaxation: The mechanisms.
        dt: The time step.
        rates: Their rates (1/s).
        moduli: For each coefficient of a stress its modulus at frequency 0 times dt, and what each mechanism adds.
    """
    found: dict[str, Any] = {}
    halves = [dt * rate / 2 for rate in rates]
    for c, (modulus, *defects) in moduli.items():
        for k, (h, defect) in enumerate(zip(halves, defects, strict=True), 1):
            modulus = modulus + defect / (1 + h)
            found[f"{c}_{k}"] = defect * (2 * h / (1 + h) ** 2)
        found[c] = modulus
    for k, h in enumerate(halves, 1):
        places = {field for stage in scheme.stages for field in stage if field.startswith(f"relaxation{k}_")}
        found |= {_rate(k, scheme.fields[field], relaxation): -2 * h / (1 + h) for field in places}
    return found
