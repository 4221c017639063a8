"""Small models to try things on: layers, lenses, and generated ones that look like what is inverted.

All are speeds [*cells] in m/s, float32, made by NumPy from their arguments alone: the same every time. Axes run from
the slowest to the fastest, and the first is the depth. Larger published ones are read with :mod:`jaxwave.io`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from jaxwave._setup import validate

__all__ = ["breast", "camembert", "layers", "lens", "overthrust"]

Array = np.ndarray


def layers(shape: Sequence[int], speeds: Sequence[float], tops: Sequence[float] | None = None) -> Array:
    """Flat layers.

    Args:
        shape: Cells along each axis.
        speeds: Of the layers, from above (m/s).
        tops: First row of each layer but the first, in cells. Default: layers of equal thickness.

    Raises:
        ValueError: If there is not one top for each speed but the first, in increasing order.

    Example:
        >>> import jaxwave
        >>> jaxwave.models.layers((6, 2), [1500.0, 2000.0, 3000.0])[:, 0].tolist()
        [1500.0, 1500.0, 2000.0, 2000.0, 3000.0, 3000.0]
    """
    shape, n = _shape(shape), len(speeds)
    tops = shape[0] * np.arange(1, n) / n if tops is None else np.asarray(tops, float)
    if not n or tops.shape != (n - 1,) or (np.diff(tops) <= 0).any():
        raise ValueError(f"`tops` must have {n - 1} increasing numbers, one for each speed but the first; got {tops}")
    column = np.asarray(speeds, np.float32)[np.searchsorted(tops, np.arange(shape[0]), side="right")]
    return np.ascontiguousarray(np.broadcast_to(column.reshape(-1, *[1] * (len(shape) - 1)), shape))


def lens(model: Array, contrast: float, centre: Sequence[float], radii: float | Sequence[float]) -> Array:
    """A model with an ellipsoid in it, whose speed differs by a fraction.

    Args:
        model: Speed [*cells].
        contrast: Fraction by which the speed is larger in the ellipsoid.
        centre: Cells, one number per axis.
        radii: Cells, one number or one per axis.

    Example:
        >>> import jaxwave, numpy as np
        >>> float(jaxwave.models.lens(np.full((9, 9), 2000.0), 0.1, (4, 4), 2)[4, 5])
        2200.0
    """
    found = np.array(model, np.float32)
    inside = _distance(found.shape, centre, radii) < 1
    found[inside] *= np.float32(1 + contrast)
    return found


def camembert(shape: Sequence[int] = (101, 101), speed: float = 2500.0, contrast: float = 0.2) -> Array:
    """A disc, or ball, in the middle of a homogeneous medium, a quarter of it in radius: hard to find from one side.

    Reference:
        O. Gauthier, J. Virieux and A. Tarantola, "Two-dimensional nonlinear inversion of seismic waveforms: numerical
        results", Geophysics 51 (1986).

    Example:
        >>> import jaxwave
        >>> sorted({float(v) for v in jaxwave.models.camembert().ravel()})
        [2500.0, 3000.0]
    """
    shape = _shape(shape)
    return lens(np.full(shape, speed), contrast, [(n - 1) / 2 for n in shape], min(shape) / 4)


def overthrust(
    shape: Sequence[int] = (100, 250), seed: int = 0, slowest: float = 2200.0, fastest: float = 5500.0
) -> Array:
    """Folded layers of a thrust belt: contrasts of both signs, two faults along which layers moved up, a weathered top.

    Speed grows with depth, with layers of random thickness and speed. Above a fault everything is shifted along it.

    Args:
        shape: Cells along each axis, 2 or 3 of them.
        seed: Of the layers and folds.
        slowest, fastest: Speeds at the top and at the bottom (m/s).

    Raises:
        ValueError: If there are not 2 or 3 axes.
    """
    shape, rng = _shape(shape), np.random.default_rng(seed)
    if len(shape) not in (2, 3):
        raise ValueError(f"`shape` must have 2 or 3 axes; got {shape}")
    z, *across = (axis / (n - 1) for axis, n in zip(np.indices(shape, float), shape, strict=True))
    x = across[-1]
    for position, dip, throw in ((0.35, 0.9, 0.10), (0.62, 1.3, 0.14)):
        # In 3-D the faults are oblique.
        along = x - position - (0.15 * across[0] if len(across) == 2 else 0)
        above = (along > 0) & (z < 0.85 - dip * along)
        fades = np.clip(along / 0.05, 0, 1)
        z = np.where(above, z + throw * fades, z)
    fold = sum(
        size * np.sin(2 * np.pi * (number * x + phase + (0.4 * across[0] if len(across) == 2 else 0)))
        for number, phase, size in zip((1, 2, 3.3), rng.uniform(size=3), (0.06, 0.03, 0.012), strict=True)
    )
    depth = np.clip(z + fold * np.clip(1.5 * z, 0, 1), 0, 1.6)
    edges = np.cumsum(rng.uniform(0.02, 0.09, 40))
    trend = slowest + (fastest - slowest) * np.clip(edges, 0, 1) ** 0.8
    speeds = np.clip(trend * rng.uniform(0.86, 1.14, len(edges)), slowest, fastest)
    return speeds[np.searchsorted(edges, depth)].astype(np.float32)


def breast(shape: Sequence[int] = (160, 160), seed: int = 0, water: float = 1480.0) -> Array:
    """A breast in water, in the plane of a ring of transducers: skin, fat, glands in clusters, and two tumours.

    Speeds are those that are found in vivo: fat 1440, glands 1530, tumours 1570 and 1550, skin 1600 m/s, with
    variations of half a per cent within a tissue.

    Args:
        shape: Cells along each axis; the breast takes 0.8 of each.
        seed: Of the tissues.
        water: Speed around it (m/s).

    Reference:
        C. Li, N. Duric, P. Littrup and L. Huang, "In vivo breast sound-speed imaging with ultrasound tomography",
        Ultrasound in Medicine and Biology 35 (2009).

    Example:
        >>> import jaxwave
        >>> v = jaxwave.models.breast()
        >>> float(v[0, 0]), bool(v.max() > 1590)
        (1480.0, True)
    """
    shape, rng = _shape(shape), np.random.default_rng(seed)
    middle, radii = [(n - 1) / 2 for n in shape], [0.4 * n for n in shape]
    away = _distance(shape, middle, radii) * (1 + 0.04 * _smooth_noise(rng, shape, 0.25))
    skin = 1 - 2.5 / min(radii)  # two and a half cells thick
    glands = (_smooth_noise(rng, shape, 0.05) > 0.3 - 1.2 * (0.6 - away)) & (away < 0.8)
    v = np.full(shape, 1440.0)
    v[glands] = 1530.0
    for speed, radius, place in ((1570.0, 0.09, (0.12, 0.18)), (1550.0, 0.06, (-0.2, -0.1))):
        centre = [m + f * n for m, n, f in zip(middle, shape, np.resize(place, len(shape)), strict=True)]
        v[_distance(shape, centre, [radius * n for n in shape]) < 1] = speed
    v *= 1 + 0.005 * _smooth_noise(rng, shape, 0.03)
    v[away > skin] = 1600.0
    v[away > 1] = water
    return v.astype(np.float32)


def _shape(shape: Sequence[int]) -> tuple[int, ...]:
    found = tuple(validate.whole("shape", n, 2) for n in shape)
    if not found:
        raise ValueError("`shape` must have at least one axis")
    return found


def _distance(shape: Sequence[int], centre: Sequence[float], radii: float | Sequence[float]) -> Array:
    """Of each cell from a centre, in radii."""
    sizes = np.broadcast_to(np.asarray(radii, float), (len(shape),))
    if len(centre) != len(shape):
        raise ValueError(f"`centre` must have {len(shape)} numbers, one per axis; got {list(centre)}")
    square = sum(((axis - c) / r) ** 2 for axis, c, r in zip(np.indices(shape, float), centre, sizes, strict=True))
    return np.sqrt(square)


def _smooth_noise(rng: np.random.Generator, shape: Sequence[int], correlation: float) -> Array:
    """Gaussian noise of a correlation length that is a fraction of the model, with a standard deviation of 1."""
    spectrum = np.fft.rfftn(rng.standard_normal(shape))
    k = [np.fft.fftfreq(n) * n for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1]) * shape[-1]]
    square = sum(np.square(x) for x in np.meshgrid(*k, indexing="ij"))
    spectrum *= np.exp(-square * (math.pi * correlation) ** 2 / 2)
    found = np.fft.irfftn(spectrum, shape, axes=range(len(shape)))
    return (found - found.mean()) / found.std()
