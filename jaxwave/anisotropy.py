"""Parameters of transversely isotropic media: Thomsen's, Alkhalifah's eta and stiffnesses, as differentiable functions.

The axis of symmetry is axis 0. With the speeds vp and vs along it and the stiffnesses of
:class:`jaxwave.ElasticVTI`, Thomsen's parameters are, exactly and for anisotropy of any strength,

    c33 = rho vp^2    c55 = rho vs^2    c11 = c33 (1 + 2 epsilon)    c66 = c55 (1 + 2 gamma)
    (c13 + c55)^2 = 2 delta c33 (c33 - c55) + (c33 - c55)^2

References:
    L. Thomsen, "Weak elastic anisotropy", Geophysics 51 (1986); T. Alkhalifah and I. Tsvankin, "Velocity analysis for
    transversely isotropic media", Geophysics 60 (1995).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxwave._numerics import points
from jaxwave._setup import validate

__all__ = [
    "Stiffness",
    "Thomsen",
    "TiltedStiffness",
    "elliptical_around",
    "eta",
    "from_eta",
    "mpml_fraction",
    "rotated_stiffness",
    "stiffness_to_thomsen",
    "thomsen_to_stiffness",
]  # fmt: skip


MOST_CELLS = 100_000
"""Cells of which :func:`mpml_fraction` looks, spread over the model."""


class Stiffness(NamedTuple):
    """The models of :class:`jaxwave.ElasticVTI`, in its order: ``ElasticVTI(*stiffness)``."""

    c11: jax.Array
    c13: jax.Array
    c33: jax.Array
    c55: jax.Array
    c66: jax.Array
    buoyancy: jax.Array


class TiltedStiffness(NamedTuple):
    """The stiffnesses in the plane of axis 0, direction 3, and the last axis, direction 1 (Pa)."""

    c11: jax.Array
    c13: jax.Array
    c15: jax.Array
    c33: jax.Array
    c35: jax.Array
    c55: jax.Array


class Thomsen(NamedTuple):
    """Speeds along the axis of symmetry (m/s), Thomsen's parameters and the density (kg/m^3)."""

    vp: jax.Array
    vs: jax.Array
    epsilon: jax.Array
    delta: jax.Array
    gamma: jax.Array
    rho: jax.Array


def thomsen_to_stiffness(
    vp: ArrayLike, vs: ArrayLike, epsilon: ArrayLike, delta: ArrayLike, gamma: ArrayLike, rho: ArrayLike
) -> Stiffness:
    """The stiffnesses of a VTI medium, by Thomsen's exact relations.

    Args:
        vp, vs: Speeds of P and S waves along the axis of symmetry (m/s), of any shape; ``vs`` is 0 in a fluid.
        epsilon, delta, gamma: Thomsen's parameters. ``gamma`` matters in 3-D alone.
        rho: Density (kg/m^3), 0 in vacuum.

    Returns:
        A :class:`Stiffness` (Pa; buoyancy in m^3/kg).

    Raises:
        TypeError: If an argument is neither of float32 nor of float64, nor of integers.
        ValueError: If ``delta`` is too small for a stiffness c13 to exist, where that is known.

    Example:
        >>> import jaxwave
        >>> c = jaxwave.anisotropy.thomsen_to_stiffness(3000.0, 1500.0, 0.2, 0.1, 0.0, 2000.0)
        >>> [round(float(x) / 1e9, 2) for x in c[:5]]
        [25.2, 10.69, 18.0, 4.5, 4.5]
        >>> [round(float(x), 3) for x in jaxwave.anisotropy.stiffness_to_thomsen(*c)]
        [3000.0, 1500.0, 0.2, 0.1, 0.0, 2000.0]
    """
    vp, vs, epsilon, delta, gamma, rho = validate.real_arrays(
        vp=vp, vs=vs, epsilon=epsilon, delta=delta, gamma=gamma, rho=rho
    )
    c33, c55 = rho * vp**2, rho * vs**2
    square = (c33 - c55) * (c33 * (1 + 2 * delta) - c55)
    known = validate.concrete(square)
    if known is not None and (known < 0).any():
        where = np.unravel_index(np.argmin(known), known.shape)
        raise ValueError(
            f"`delta` must be at least -(1 - vs^2 / vp^2) / 2 where vs < vp: there is no stiffness c13 otherwise; at "
            f"index {tuple(map(int, where))} it is {np.broadcast_to(np.asarray(delta), known.shape)[where]:g}"
        )
    root = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    return Stiffness(c33 * (1 + 2 * epsilon), root - c55, c33, c55, c55 * (1 + 2 * gamma), points.divide(1, rho))


def stiffness_to_thomsen(
    c11: ArrayLike, c13: ArrayLike, c33: ArrayLike, c55: ArrayLike, c66: ArrayLike, buoyancy: ArrayLike
) -> Thomsen:
    """The inverse of :func:`thomsen_to_stiffness`: 0 in vacuum, and gamma 0 in fluids.

    Args:
        c11, c13, c33, c55, c66: Stiffnesses (Pa), of any shape.
        buoyancy: 1 / density (m^3/kg).

    Raises:
        TypeError: If an argument is neither of float32 nor of float64, nor of integers.
    """
    c11, c13, c33, c55, c66, b = validate.real_arrays(c11=c11, c13=c13, c33=c33, c55=c55, c66=c66, buoyancy=buoyancy)
    vp, vs = (jnp.where(c * b > 0, jnp.sqrt(jnp.where(c * b > 0, c * b, 1)), 0) for c in (c33, c55))
    epsilon, gamma = points.divide(c11 - c33, 2 * c33), points.divide(c66 - c55, 2 * c55)
    delta = points.divide((c13 + c55) ** 2 - (c33 - c55) ** 2, 2 * c33 * (c33 - c55))
    return Thomsen(vp, vs, epsilon, delta, gamma, points.divide(1, b))


def rotated_stiffness(
    c11: ArrayLike, c13: ArrayLike, c33: ArrayLike, c55: ArrayLike, theta: ArrayLike
) -> TiltedStiffness:
    """The stiffnesses along the axes of the grid of a medium whose axis of symmetry is tilted (Bond's transformation).

    With k = (c11 + c33 - 2 c13 - 4 c55) / 4, s = sin(2 theta) and c = cos(2 theta) they are

        c33' = (c33 + c11) / 2 + c (c33 - c11) / 2 - k s^2      c13' = c13 + k s^2      c35' = s ((c33 - c11) / 4 + k c)
        c11' = (c33 + c11) / 2 - c (c33 - c11) / 2 - k s^2      c55' = c55 + k s^2      c15' = s ((c33 - c11) / 4 - k c)

    so that the angle changes nothing in an isotropic medium. Differentiable in all arguments.

    Args:
        c11, c13, c33, c55: Stiffnesses along the axis of symmetry, direction 3, and across it (Pa), of any shape.
        theta: Angle of the axis of symmetry from axis 0 towards the last axis (radians).

    Returns:
        A :class:`TiltedStiffness` (Pa).

    Raises:
        TypeError: If an argument is neither of float32 nor of float64, nor of integers.

    Reference:
        B. A. Auld, "Acoustic fields and waves in solids", Wiley (1973); Bond's transformation.

    Example:
        >>> import math, jaxwave
        >>> c = jaxwave.anisotropy.rotated_stiffness(25e9, 10e9, 18e9, 5e9, math.pi / 6)
        >>> [round(float(x) / 1e9, 2) for x in c]
        [22.69, 10.56, -1.84, 19.19, -1.19, 5.56]
        >>> c = jaxwave.anisotropy.rotated_stiffness(25e9, 10e9, 18e9, 5e9, math.pi / 2)  # the axes are exchanged
        >>> [round(float(x) / 1e9, 2) + 0 for x in c]
        [18.0, 10.0, 0.0, 25.0, 0.0, 5.0]
    """
    c11, c13, c33, c55, theta = validate.real_arrays(c11=c11, c13=c13, c33=c33, c55=c55, theta=theta)
    return rotate(c11, c13, c33, c55, theta)


def rotate(c11: jax.Array, c13: jax.Array, c33: jax.Array, c55: jax.Array, theta: jax.Array) -> TiltedStiffness:
    """:func:`rotated_stiffness` of arrays that have been checked."""
    sine, cosine = jnp.sin(2 * theta), jnp.cos(2 * theta)
    mean, half, k = (c33 + c11) / 2, (c33 - c11) / 2, (c11 + c33 - 2 * c13 - 4 * c55) / 4
    bulge = k * sine**2
    return TiltedStiffness(
        c11=mean - half * cosine - bulge,
        c13=c13 + bulge,
        c15=sine * (half / 2 - k * cosine),
        c33=mean + half * cosine - bulge,
        c35=sine * (half / 2 + k * cosine),
        c55=c55 + bulge,
    )


def eta(epsilon: ArrayLike, delta: ArrayLike) -> jax.Array:
    """Alkhalifah's eta, (epsilon - delta) / (1 + 2 delta), which moves diffractions in time (Alkhalifah and Tsvankin).

    Args:
        epsilon, delta: Thomsen's parameters, of any shape.
    """
    epsilon, delta = validate.real_arrays(epsilon=epsilon, delta=delta)
    return (epsilon - delta) / (1 + 2 * delta)


def from_eta(eta: ArrayLike, delta: ArrayLike) -> jax.Array:
    """Thomsen's epsilon from eta and delta, epsilon = delta + eta (1 + 2 delta).

    With eta >= 0 and delta > -1/2 the medium is one in which :class:`jaxwave.AcousticVTI` is stable, so an inversion
    that bounds eta by 0 never leaves these.

    Args:
        eta, delta: Of any shape.

    Example:
        >>> import jaxwave
        >>> epsilon = jaxwave.anisotropy.from_eta(0.1, 0.05)
        >>> round(float(epsilon), 3), round(float(jaxwave.anisotropy.eta(epsilon, 0.05)), 3)
        (0.16, 0.1)
    """
    eta, delta = validate.real_arrays(eta=eta, delta=delta)
    return delta + eta * (1 + 2 * delta)


def elliptical_around(epsilon: ArrayLike, delta: ArrayLike, cells: ArrayLike, radius: float) -> jax.Array:
    """Delta, with epsilon in its place around sources: an elliptical medium, where a source sends out no shear waves.

    Within ``radius`` / 2 cells of a source it is epsilon; from there to ``radius`` a raised cosine leads to delta.

    Args:
        epsilon, delta: Thomsen's parameters [*cells].
        cells: Cells of the sources [..., axis], as the locations of a propagator; known values.
        radius: Cells; a wavelength is enough.

    Returns:
        delta [*cells], for :class:`jaxwave.AcousticVTI`.

    Raises:
        ValueError: If the cells are not of as many axes as the models.

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> delta = jaxwave.anisotropy.elliptical_around(jnp.full((9, 9), 0.2), jnp.zeros((9, 9)), [[[0, 4]]], 4)
        >>> [round(float(x), 3) for x in delta[0]]
        [0.0, 0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.1, 0.0]
    """
    epsilon, delta = validate.real_arrays(epsilon=epsilon, delta=delta)
    shape, where = np.broadcast_shapes(epsilon.shape, delta.shape), np.asarray(cells)
    if where.ndim == 0 or where.shape[-1] != len(shape):
        raise ValueError(f"`cells` must be [..., {len(shape)}], for models of shape {shape}; got {where.shape}")
    radius = validate.positive("radius", radius)
    nearest = np.full(shape, np.inf)
    for cell in np.unique(where.reshape(-1, len(shape)), axis=0):
        square = 0.0
        for axis, index in enumerate(cell):
            along = (np.arange(shape[axis]) - index) ** 2
            square = square + along.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        nearest = np.minimum(nearest, np.sqrt(square))
    weight = (1 + np.cos(np.pi * np.clip(2 * nearest / radius - 1, 0, 1))) / 2
    return delta + jnp.asarray(weight, delta.dtype) * (epsilon - delta)


def mpml_fraction(stiffness: Stiffness) -> float:
    """The least ``mpml_fraction`` of a grid's layers with which plane waves in a VTI medium do not grow in them.

    A plain layer along an axis i damps a wave by the share k_i V_i / w of that axis, with V the group velocity; the
    shares of all axes add up to 1. Where one is negative, the wave grows. With a fraction p of the damping along the
    other axes too it decays if share + p (1 - share) >= 0, for weak damping. It is 0 for most rocks. In rough media
    more may be needed, as it may be in isotropic ones: waves that layers guide grow for other reasons.

    Args:
        stiffness: Known values of the models; vacuum is left out.

    Returns:
        The fraction, 5 % more than the least; 0 if none is needed.

    Raises:
        ValueError: If values are traced.

    Reference:
        E. Becache, S. Fauqueux and P. Joly, Journal of Computational Physics 188 (2003); K. C. Meza-Fajardo and A. S.
        Papageorgiou, Bull. Seism. Soc. Am. 98 (2008).

    Example:
        >>> import jaxwave
        >>> shale = jaxwave.anisotropy.thomsen_to_stiffness(3000.0, 1500.0, 0.2, 0.1, 0.0, 2000.0)
        >>> jaxwave.anisotropy.mpml_fraction(shale)
        0.0
        >>> strong = jaxwave.anisotropy.Stiffness(4e9, 7.5e9, 20e9, 2e9, 2e9, 1e-3)
        >>> round(jaxwave.anisotropy.mpml_fraction(strong), 2)
        0.27
    """
    known = [x for x in map(validate.concrete, stiffness[:4]) if x is not None]
    if len(known) < 4:
        raise ValueError("`stiffness` is traced; take the fraction of known models, outside `jax.jit`")
    c11, c13, c33, c55 = (x.reshape(-1) for x in np.broadcast_arrays(*known))
    there = np.flatnonzero(c33 > 0)
    some = there[:: max(1, len(there) // MOST_CELLS)]
    worst = 0.0
    for angle in np.linspace(0, np.pi / 2, 61)[1:-1]:
        z, x = np.cos(angle) ** 2, np.sin(angle) ** 2
        a, b = c33[some] * z + c55[some] * x, c11[some] * x + c55[some] * z
        mixed = (c13[some] + c55[some]) * np.sqrt(z * x)
        split = np.hypot((a - b) / 2, mixed)
        for mode in ((a + b) / 2 - split, (a + b) / 2 + split):
            # The eigenvector is (mixed, mode - a); of its square the share of axis 0 is a derivative along k_0.
            v, w = np.where(split > 0, mixed, 1), np.where(split > 0, mode - a, 0)
            size = np.maximum((v**2 + w**2) * mode, 1e-300)
            share = (v**2 * c33[some] * z + w**2 * c55[some] * z + v * w * mixed) / size
            share = np.where(mode > 1e-12 * (a + b), share, 0.5)  # no shear waves in a fluid
            worst = max(worst, float(-np.minimum(share, 1 - share).min(initial=0)))
    return 1.05 * worst / (1 + worst)
