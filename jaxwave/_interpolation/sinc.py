"""The windowed sinc: its shape, and the weights of cells along one axis."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

# The beta that makes the largest error for wavenumbers up to pi / 2 per cell (4 cells per wavelength) as small as it
# can be, for half widths 1 to 10. Those for monopoles are Hicks's to 0.02 up to a half width of 7, and better from
# there. Those for dipoles belong to a window that is halved at its ends, as it is here. Hicks's is 0 there, whereby a
# dipole on a cell loses more of its stencil than any other, and the least error is 20 to 60 % larger.
MONOPOLE_BETA = (1.24, 2.94, 4.53, 6.31, 7.92, 9.42, 10.97, 12.60, 14.16, 15.70)
DIPOLE_BETA = (1.00, 2.92, 4.83, 6.30, 7.78, 9.47, 11.07, 12.60, 14.12, 15.75)

NEAR = 0.03  # cells from the sinc's centre within which its series is used, which has no 0 / 0: exact to 1e-17


class Window(NamedTuple):
    """A Kaiser window, and whether the sinc in it is differentiated (a dipole)."""

    half_width: int
    beta: float
    derivative: bool


class Windows(NamedTuple):
    """Those of a point and of its derivative, the same along every axis."""

    monopole: Window
    dipole: Window


def kaiser_sinc_weights(fraction: Any, n: Any, window: Window, xp: Any = jnp) -> Any:
    """Weights of cells around a point, along one axis. Differentiable to any order.

    Args:
        fraction: How far the points are past their cells [...], from 0 to 1.
        n: How many cells the others are from these [entry].
        window: The window.
        xp: jax.numpy or numpy.

    Returns:
        [..., entry].
    """
    n = n.astype(fraction.dtype).reshape((1,) * fraction.ndim + (-1,))
    sign = xp.where(n % 2 == 0, 1, -1).astype(fraction.dtype)
    a = fraction[..., None]
    d = n - a  # from the point to the cell
    # The sine and cosine of pi d, by those of an angle from 0 to pi / 2: 0 at every cell, exactly, where the point is
    # on one, and not the difference of large numbers where it is near to one.
    first = a <= 0.5
    angle = np.pi * xp.where(first, a, 1 - a)
    sine, cosine = -sign * xp.sin(angle), sign * xp.where(first, 1, -1).astype(a.dtype) * xp.cos(angle)

    near = abs(d) < NEAR
    away = xp.where(near, 1, d)
    t = np.pi * xp.where(near, d, 0)
    t2 = t * t
    sinc = xp.where(near, 1 - t2 / 6 * (1 - t2 / 20 * (1 - t2 / 42 * (1 - t2 / 72))), sine / (np.pi * away))
    if window.derivative:
        series = np.pi * t * (-1 / 3 + t2 / 30 * (1 - t2 / 28 * (1 - t2 / 54)))
        sinc = -xp.where(near, series, (cosine - sinc) / away)  # d falls as the point advances
    return sinc * _kaiser(d, window, xp)


def _kaiser(d: Any, window: Window, xp: Any) -> Any:
    """The window at distances ``d``: 1 at 0, exactly, and halved at its ends, where it falls to 0."""
    q = (d / window.half_width) ** 2
    coefficients = _kaiser_series(window.beta)
    value = 0 * q
    for c in reversed(coefficients):
        value = c + (1 - q) * value
    slope = sum(k * c for k, c in enumerate(coefficients))
    value = xp.where(q == 0, 1 - slope * q, value)
    return xp.where(q < 1, value, xp.where(q == 1, value / 2, 0))


@functools.lru_cache(maxsize=64)
def _kaiser_series(beta: float) -> tuple[float, ...]:
    """Coefficients of I0(beta sqrt(s)) / I0(beta) in powers of s, in which it has no square root to differentiate."""
    terms = [1.0]
    while terms[-1] > 1e-18 * sum(terms) or len(terms) <= beta / 2:
        terms.append(terms[-1] * (beta / (2 * len(terms))) ** 2)
    total = sum(reversed(terms))
    return tuple(t / total for t in terms)
