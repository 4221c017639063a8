"""Filters of images, records and wavefields: functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxwave._setup import validate
from jaxwave._setup.survey import IGNORE_LOCATION


def laplacian(image: ArrayLike, grid_spacing: float | Sequence[float] = 1.0) -> jax.Array:
    """Minus the Laplacian of an image, which takes away what is smooth in it.

    ::

        filtered = -(d^2/dz^2 + ...) image,        a factor of |k|^2 = (2 w cos(theta) / v)^2 at each wavenumber

    Where both wavefields travel the same path, theta near 90 degrees, an image of reverse-time migration has smooth
    artefacts that are stronger than reflectors; there the factor is near 0. It also raises high frequencies by w^2,
    which a wavelet integrated twice would undo. Differences of second order; beyond its faces the image goes on with
    the value at the face. Linear, and its own transpose.

    Args:
        image: [*cells].
        grid_spacing: Cell size (m), one number or one per axis.

    Returns:
        The filtered image, of the same shape and polarity, in its unit per m^2.

    Raises:
        TypeError, ValueError: If ``image`` is no array of real numbers, or ``grid_spacing`` is not positive.

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> jaxwave.imaging.laplacian(jnp.array([5.0, 5.0, 6.0, 5.0, 5.0])).tolist()
        [0.0, -1.0, 2.0, -1.0, 0.0]

    Reference:
        Y. Zhang and J. Sun, "Practical issues in reverse time migration: true amplitude gathers, noise removal and
        harmonic source encoding", First Break 27 (2009).
    """
    (x,) = validate.real_arrays(image=image)
    total = jnp.zeros_like(x)
    for axis, h in enumerate(validate.spacing("grid_spacing", grid_spacing, x.ndim)):
        width = [(int(a == axis),) * 2 for a in range(x.ndim)]
        total = total - jnp.diff(jnp.pad(x, width, mode="edge"), n=2, axis=axis) / h**2
    return total


def offsets(
    source_locations: ArrayLike, receiver_locations: ArrayLike, grid_spacing: float | Sequence[float]
) -> np.ndarray:
    """Distances between each shot's first source and its receivers.

    Args:
        source_locations: Cells [shot, source, axis].
        receiver_locations: Cells [shot, receiver, axis].
        grid_spacing: Cell size (m), one number or one per axis.

    Returns:
        Distances [shot, receiver] in metres; infinite where a location is ``jaxwave.IGNORE_LOCATION``.

    Raises:
        TypeError, ValueError: If the locations are no such arrays, of as many shots and axes.

    Example:
        >>> import jaxwave
        >>> jaxwave.imaging.offsets([[[2, 10]]], [[[2, 13], [6, 10]]], 5.0).tolist()
        [[15.0, 20.0]]
    """
    s, r = (
        validate.numpy_values(name, x)
        for name, x in (("source_locations", source_locations), ("receiver_locations", receiver_locations))
    )
    if s.ndim != 3 or r.ndim != 3 or s.shape[::2] != r.shape[::2] or not s.shape[1]:
        raise ValueError(
            "locations must be [shot, source, axis] and [shot, receiver, axis], of as many shots and axes; got "
            f"{s.shape} and {r.shape}"
        )
    spacing = np.asarray(validate.spacing("grid_spacing", grid_spacing, s.shape[-1]))
    missing = (r == IGNORE_LOCATION).all(-1) | (s[:, :1] == IGNORE_LOCATION).all(-1)
    distance = np.linalg.norm((r - s[:, :1]) * spacing[None, None], axis=-1)
    return np.where(missing, np.inf, distance)


def top_mute(offsets: ArrayLike, nt: int, dt: float, speed: float, delay: float = 0.0, taper: float = 0.0) -> jax.Array:
    """Weights of records that are 0 before a straight line of arrivals, and 1 after it: removes the direct wave.

    ::

        weight = 0  for  t < delay + offset / speed,        then rises to 1 within the taper as sin^2

    Args:
        offsets: Distances [shot, receiver] (m), of :func:`offsets`.
        nt: Samples of the records.
        dt: Time between them (s).
        speed: Speed of the wave that is to go (m/s).
        delay: When it has left the source altogether (s): the wavelet's peak time and half of its length.
        taper: How long the rise takes (s).

    Returns:
        Weights [shot, receiver, nt], to multiply records by; 0 at infinite offsets.

    Raises:
        TypeError, ValueError: If a number is not positive, or ``taper`` is negative.

    Example:
        >>> import jaxwave
        >>> jaxwave.imaging.top_mute([[0.0, 20.0]], nt=5, dt=0.01, speed=1000.0).tolist()
        [[[1.0, 1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0, 1.0]]]
    """
    distance, nt = validate.numpy_values("offsets", offsets), validate.whole("nt", nt, 1)
    dt, speed = validate.positive("dt", dt), validate.positive("speed", speed)
    delay, taper = validate.number("delay", delay), validate.number("taper", taper)
    if not taper >= 0:
        raise ValueError(f"`taper` must not be negative; got {taper:g}")
    # A line through a sample includes it, whatever the rounding.
    late = np.arange(nt) * dt + 1e-6 * dt - delay - (distance / speed)[..., None]
    rise = np.clip(late / taper, 0, 1) if taper else np.where(late >= 0, 1.0, 0.0)
    return jnp.asarray(np.sin(0.5 * np.pi * rise) ** 2, jnp.result_type(float))


class UpDown(NamedTuple):
    """A wavefield in two parts, whose sum it is.

    Attributes:
        up: What travels towards smaller depths.
        down: What travels towards larger ones.
    """

    up: jax.Array
    down: jax.Array


def up_down(field: ArrayLike, depth_axis: int = -2, time_axis: int | None = -1, padding: bool = True) -> UpDown:
    """Separates waves that travel up from those that travel down, by the signs of frequency and wavenumber.

    ::

        down: w k < 0,    up: w k > 0        of the spectrum at exp(i (w t + k z)), z down

    Of records in a vertical well, of a history of snapshots, or of any array with a depth and a time axis. What has no
    sign, at w = 0 or k = 0, is divided equally, so the parts always add up to the field. Linear and differentiable.

    Without a time axis, ``field`` is a snapshot of the analytic signal: complex, u + i H u, with u of a run and H u of
    one whose wavelet is the Hilbert transform of the first one's (the imaginary part of its analytic signal, as of
    ``scipy.signal.hilbert``). It has positive frequencies alone, so the wavenumber's sign tells the direction.

    Args:
        field: Real, with a depth and a time axis; or complex, with a depth axis.
        depth_axis: Along which depth grows.
        time_axis: Along which time grows; None for a complex snapshot.
        padding: Whether zeros are assumed around the field. False takes it for periodic, which is right for waves that
            are.

    Returns:
        An :class:`UpDown` of real arrays of the field's shape.

    Raises:
        TypeError: If the field is complex and has a time axis, or is real and has none.
        ValueError: If the axes are the same, or not there.

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> z, t = jnp.arange(64)[:, None], jnp.arange(64)[None, :]
        >>> down = jnp.cos(2 * jnp.pi * (3 * t - 5 * z) / 64)
        >>> parts = jaxwave.imaging.up_down(down, padding=False)
        >>> bool(jnp.abs(parts.down - down).max() < 1e-4), bool(jnp.abs(parts.up).max() < 1e-4)
        (True, True)

    Reference:
        F. Liu, G. Zhang, S. A. Morton and J. P. Leveille, "An effective imaging condition for reverse-time migration
        using wavefield decomposition", Geophysics 76 (2011).
    """
    x = jnp.asarray(field)
    is_complex = jnp.issubdtype(x.dtype, jnp.complexfloating)
    if is_complex != (time_axis is None):
        raise TypeError(
            "`field` must be real and have a time axis, or be a complex snapshot (the analytic signal) with "
            f"`time_axis=None`; got {x.dtype} and `time_axis={time_axis}`"
        )
    if not is_complex:
        (x,) = validate.real_arrays(field=field)
    axes = [depth_axis] if time_axis is None else [depth_axis, time_axis]
    if not all(-x.ndim <= a < x.ndim for a in axes) or len({a % x.ndim for a in axes}) < len(axes):
        raise ValueError(f"`depth_axis` and `time_axis` must be two axes of `field`, of shape {x.shape}; got {axes}")
    axes = [a % x.ndim for a in axes]
    lengths = [(1 + padding) * x.shape[a] for a in axes]
    spectrum = jnp.fft.fftn(x, lengths, axes)
    direction = np.ones((1,) * x.ndim)
    for axis, n in zip(axes, lengths, strict=True):
        signs = np.sign(np.fft.fftfreq(n))
        signs[n // 2] *= n % 2  # the highest frequency of an even number has no sign
        direction = direction * np.expand_dims(signs, [a for a in range(x.ndim) if a != axis])
    shares = [(1 + d * direction) / 2 for d in (1, -1)]
    cut = tuple(slice(n) for n in x.shape)
    parts = [
        jnp.fft.ifftn(spectrum * jnp.broadcast_to(jnp.asarray(share, x.real.dtype), spectrum.shape), axes=axes).real[
            cut
        ]
        for share in shares
    ]
    return UpDown(*parts)
