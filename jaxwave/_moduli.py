"""Elastic parameters: from speeds and density to those of the propagator, and back."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxwave._numerics import points
from jaxwave._setup import validate


def vpvsrho_to_lambmubuoyancy(vp: ArrayLike, vs: ArrayLike, rho: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Lame's parameters and buoyancy of an isotropic medium, from its speeds and density.

    ::

        lamb = rho (vp^2 - 2 vs^2)        mu = rho vs^2        buoyancy = 1 / rho

    Args:
        vp: Speed of P waves (m/s), of any shape. Float32 or float64, all in the wider of the two; integers become
            floats.
        vs: Speed of S waves (m/s), 0 in a fluid.
        rho: Density (kg/m^3), 0 in vacuum.

    Returns:
        ``lamb`` (Pa), ``mu`` (Pa), all three 0 in vacuum, and ``buoyancy`` (m^3/kg).

    Raises:
        TypeError: If an argument is neither, such as half precision, in which moduli overflow.
        ValueError: If an array has masked values.

    Example:
        >>> [round(float(x), 6) for x in vpvsrho_to_lambmubuoyancy(2000.0, 1000.0, 2000.0)]
        [4000000000.0, 2000000000.0, 0.0005]
    """
    vp, vs, rho = validate.real_arrays(vp=vp, vs=vs, rho=rho)
    mu = rho * vs**2
    return rho * vp**2 - 2 * mu, mu, points.divide(1, rho)


def lambmubuoyancy_to_vpvsrho(
    lamb: ArrayLike, mu: ArrayLike, buoyancy: ArrayLike
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Speeds and density of an isotropic medium, from Lame's parameters and its buoyancy.

    ::

        vp = sqrt((lamb + 2 mu) buoyancy)        vs = sqrt(mu buoyancy)        rho = 1 / buoyancy

    Args:
        lamb: First parameter (Pa), of any shape. Float32 or float64, all in the wider of the two; integers become
            floats.
        mu: Second parameter (Pa), 0 in a fluid. The derivative of ``vs`` with respect to it is 0 there.
        buoyancy: 1 / density (m^3/kg), 0 in vacuum.

    Returns:
        ``vp`` (m/s), ``vs`` (m/s) and ``rho`` (kg/m^3), 0 in vacuum.

    Raises:
        TypeError: If an argument is neither, such as half precision, in which moduli overflow.
        ValueError: If an array has masked values.

    Example:
        >>> [round(float(x)) for x in lambmubuoyancy_to_vpvsrho(4e9, 2e9, 0.0005)]
        [2000, 1000, 2000]
    """
    lamb, mu, buoyancy = validate.real_arrays(lamb=lamb, mu=mu, buoyancy=buoyancy)
    solid = mu > 0
    vs = jnp.where(solid, jnp.sqrt(jnp.where(solid, mu * buoyancy, 1)), 0)
    filled = buoyancy != 0
    vp = jnp.where(filled, jnp.sqrt(jnp.where(filled, (lamb + 2 * mu) * buoyancy, 1)), 0)
    return vp, vs, points.divide(1, buoyancy)
