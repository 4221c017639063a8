"""The largest stable time step on the rotated staggered grid (Saenger, Gold and Shapiro, 2000).

All derivatives of a field lie at one place there. So the derivatives d = (D_0 A_1, D_1 A_0) of a wave of the grid are
one vector, whatever the tensor is that they are multiplied by. Hence the square of the largest frequency of any medium
whose stiffnesses are nowhere more than those of one homogeneous isotropic medium, with the largest modulus M, is at
most

    M max(b) max(|d|^2)

with the largest buoyancy b at a corner. Each equation has its own M.

Reference:
    E. H. Saenger, N. Gold and S. A. Shapiro, "Modeling the propagation of elastic waves using a modified
    finite-difference grid", Wave Motion 31 (2000).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from jaxwave._numerics import boundary, stencils
from jaxwave.equations import stability
from jaxwave.equations.staggered import corner_mean

HALVINGS = 12
"""Of the interval in which the least modulus is sought."""


def largest_speed(
    stiffest: float, rho: np.ndarray, fastest: float, spacing: Sequence[float], accuracy: int,
    kinds: Sequence[str | None] | None,
) -> float:  # fmt: skip
    """The speed that the time step must be made for: see :meth:`jaxwave.Equation.largest_speed`.

    Args:
        stiffest: M (Pa).
        rho: Density [*cells] or [shot, *cells] (kg/m^3), 0 in vacuum but not everywhere.
        fastest: The largest speed of waves (m/s).
        spacing, accuracy, kinds: Of the grid and its faces.
    """
    ndim = len(spacing)
    rho = rho if rho.ndim > ndim else rho[None]
    lightest = corner_mean(rho.astype(float), boundary.pairs(kinds or (None,) * 2 * ndim))
    lightest = lightest[lightest > 0].min()
    found = stiffest / lightest * largest_difference(tuple(spacing), accuracy)
    of_one, share = stability.of_homogeneous(spacing, accuracy)
    if found <= of_one * (fastest / share) ** 2:
        return fastest
    return max(fastest, stability.speed_of(found, of_one, share))


def least(enough: Callable[[float], bool], low: float, high: float) -> float:
    """The least number from ``low`` to ``high`` that is enough, as ``high`` is, or a little more."""
    if enough(low):
        return low
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@functools.lru_cache
def largest_difference(spacing: tuple[float, ...], accuracy: int) -> float:
    """The largest eigenvalue of minus the Laplacian of averaged differences, on a periodic grid; less at free faces.

    A field that goes on as its antisymmetric image beyond a face is one of those on a periodic grid.
    """
    k = np.linspace(0, np.pi, 65)
    weights = stencils.STAGGERED[accuracy]
    difference = sum(2 * c * np.sin((j + 1 / 2) * k) for j, c in enumerate(weights)) ** 2
    average = sum(2 * c * (j + 1 / 2) * np.cos((j + 1 / 2) * k) for j, c in enumerate(weights)) ** 2

    def product(of_axis: int) -> np.ndarray:
        lines = (difference / h**2 if axis == of_axis else average for axis, h in enumerate(spacing))
        return functools.reduce(np.multiply.outer, lines)

    return float(sum(product(axis) for axis in range(len(spacing))).max()) * (1 + 1e-3)  # for what lies between the k
