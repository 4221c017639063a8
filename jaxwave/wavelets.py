"""Source wavelets: Ricker, Gaussian and its derivatives, Ormsby, and tone bursts.

Every wavelet has a peak amplitude of one (of its envelope, for a tone burst), is sampled at ``t = i dt`` for
``i = 0 .. length - 1``, and is differentiable in its frequencies and times. Under `jax.jit` only ``length``,
``order``, ``envelope`` and ``dtype`` have to be static. Any consistent units will do: seconds and hertz, or
microseconds and megahertz.
"""

import itertools
import math
import operator

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jaxwave._jax_internals import is_traced
from jaxwave._setup import validate


def ricker(
    freq: ArrayLike,
    length: int,
    dt: ArrayLike,
    peak_time: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Return a Ricker wavelet, the negative second derivative of a Gaussian.

    ::

        w(t) = (1 - 2 a) exp(-a),    a = (pi freq (t - peak_time))^2

    Its amplitude spectrum peaks at ``freq``; above ``2.5 freq`` it is less than 4 % of the peak.

    Args:
        freq: Peak frequency, in Hz.
        length: Number of time samples.
        dt: Time sampling interval, in s.
        peak_time: Time of the peak, in s. ``1.5 / freq`` starts the wavelet close to zero. Default: the middle of
            the record, ``length * dt / 2``.
        dtype: Floating-point type of the result. Default: JAX's default float.

    Returns:
        The wavelet, of shape ``[length]``.

    Raises:
        ValueError: If ``freq``, ``length`` or ``dt`` is not positive, or ``freq`` is above the Nyquist frequency.
        TypeError: If ``length`` is not an int, a number is none, or ``dtype`` is not a floating-point type.

    Example:
        >>> wavelet = ricker(25.0, 200, 0.004, peak_time=0.06)
        >>> wavelet.shape, int(wavelet.argmax())
        ((200,), 15)

    Reference:
        N. Ricker, "The form and laws of propagation of seismic wavelets", Geophysics 18(1), 10-40, 1953.
    """
    freq, dt, peak_time = _numbers(freq=freq, dt=dt, peak_time=peak_time)
    _check_samples(length, dt)
    _check_frequency("freq", freq, dt)
    a = (math.pi * freq * _time(length, dt, peak_time, dtype)) ** 2
    return ((1 - 2 * a) * jnp.exp(-a)).astype(_float_dtype(dtype))


def gaussian(
    freq: ArrayLike,
    length: int,
    dt: ArrayLike,
    peak_time: ArrayLike | None = None,
    order: int = 0,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Return a Gaussian or one of its first two time derivatives, scaled to unit peak.

    ::

        order 0:  g(t) = exp(-x^2),    x = pi freq (t - peak_time)
        order 1:  g'(t)  / max|g'|  = -sqrt(2) x exp(1/2 - x^2)
        order 2:  g''(t) / max|g''| = (2 x^2 - 1) exp(-x^2), the negative of `ricker`

    The amplitude spectrum peaks at 0, ``freq / sqrt(2)`` and ``freq`` for orders 0, 1 and 2.

    Args:
        freq: Peak frequency of the second derivative, in Hz.
        length: Number of time samples.
        dt: Time sampling interval, in s.
        peak_time: Time of the centre of the Gaussian, in s. Default: ``length * dt / 2``.
        order: Number of time derivatives, 0, 1 or 2. Default 0.
        dtype: Floating-point type of the result. Default: JAX's default float.

    Returns:
        The wavelet, of shape ``[length]``.

    Raises:
        ValueError: If ``freq``, ``length`` or ``dt`` is not positive, ``freq`` is above the Nyquist frequency, or
            ``order`` is not 0, 1 or 2.
        TypeError: If ``length`` is not an int, a number is none, or ``dtype`` is not a floating-point type.

    Example:
        >>> wavelet = gaussian(25.0, 200, 0.004, peak_time=0.06, order=1)
        >>> round(abs(float(wavelet[15])), 6)  # the derivative is zero at the centre
        0.0

    Reference:
        The Gaussian wavelets are the Hermite functions of I. Daubechies, "Ten Lectures on Wavelets", SIAM, 1992.
    """
    freq, dt, peak_time = _numbers(freq=freq, dt=dt, peak_time=peak_time)
    _check_samples(length, dt)
    _check_frequency("freq", freq, dt)
    x = math.pi * freq * _time(length, dt, peak_time, dtype)
    if order == 0:
        wavelet = jnp.exp(-(x**2))
    elif order == 1:
        wavelet = -math.sqrt(2) * x * jnp.exp(0.5 - x**2)
    elif order == 2:
        wavelet = (2 * x**2 - 1) * jnp.exp(-(x**2))
    else:
        raise ValueError(f"`order`={order!r} must be 0, 1 or 2")
    return wavelet.astype(_float_dtype(dtype))


def ormsby(
    f1: ArrayLike,
    f2: ArrayLike,
    f3: ArrayLike,
    f4: ArrayLike,
    length: int,
    dt: ArrayLike,
    peak_time: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Return an Ormsby wavelet, whose amplitude spectrum is a trapezium with the corners f1, f2, f3, f4.

    ::

        w(t) = [ (R(f4) - R(f3)) / (f4 - f3) - (R(f2) - R(f1)) / (f2 - f1) ] / (f4 + f3 - f2 - f1)
        R(f) = (f sinc(f (t - peak_time)))^2,    sinc(x) = sin(pi x) / (pi x)

    Args:
        f1: Low cut, below which the spectrum is zero, in Hz. May be 0.
        f2: Low pass, from which the spectrum is flat, in Hz.
        f3: High pass, up to which the spectrum is flat, in Hz.
        f4: High cut, above which the spectrum is zero, in Hz.
        length: Number of time samples.
        dt: Time sampling interval, in s.
        peak_time: Time of the peak, in s. Default: ``length * dt / 2``.
        dtype: Floating-point type of the result. Default: JAX's default float.

    Returns:
        The wavelet, of shape ``[length]``.

    Raises:
        ValueError: If ``length`` or ``dt`` is not positive, the corners do not satisfy ``0 <= f1 < f2 < f3 < f4``, or
            ``f4`` is above the Nyquist frequency.
        TypeError: If ``length`` is not an int, a number is none, or ``dtype`` is not a floating-point type.

    Example:
        >>> wavelet = ormsby(5.0, 10.0, 40.0, 60.0, 500, 0.002, peak_time=0.5)
        >>> int(wavelet.argmax())
        250

    Reference:
        H. Ryan, "Ricker, Ormsby, Klauder, Butterworth - a choice of wavelets", CSEG Recorder 19(7), 1994.
    """
    f1, f2, f3, f4, dt, peak_time = _numbers(f1=f1, f2=f2, f3=f3, f4=f4, dt=dt, peak_time=peak_time)
    _check_samples(length, dt)
    _check_corners(f1, f2, f3, f4)
    _check_frequency("f4", f4, dt)
    t = _time(length, dt, peak_time, dtype)

    def ramp(f: ArrayLike) -> jax.Array:
        return (f * jnp.sinc(f * t)) ** 2

    wavelet = (ramp(f4) - ramp(f3)) / (f4 - f3) - (ramp(f2) - ramp(f1)) / (f2 - f1)
    return (wavelet / (f4 + f3 - f2 - f1)).astype(_float_dtype(dtype))


def tone_burst(
    freq: ArrayLike,
    cycles: ArrayLike,
    length: int,
    dt: ArrayLike,
    start_time: ArrayLike = 0.0,
    envelope: str = "hann",
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Return a sine of a given number of cycles under an envelope, as used in ultrasound and testing.

    ::

        w(t) = E(x) sin(2 pi freq (t - start_time)),    x = 2 freq (t - start_time) / cycles - 1,    |x| <= 1

    Outside the burst, ``|x| > 1``, it is zero.

    Args:
        freq: Frequency of the sine, in Hz.
        cycles: Number of cycles in the burst; need not be whole.
        length: Number of time samples.
        dt: Time sampling interval, in s.
        start_time: Time at which the burst starts, in s. Default 0.
        envelope: ``"hann"``: E = cos^2(pi x / 2); ``"gaussian"``: E = exp(-(3 x)^2 / 2), cut at three standard
            deviations; or ``"rectangular"``: E = 1. Default ``"hann"``.
        dtype: Floating-point type of the result. Default: JAX's default float.

    Returns:
        The wavelet, of shape ``[length]``.

    Raises:
        ValueError: If ``freq``, ``cycles``, ``length`` or ``dt`` is not positive, ``freq`` is above the Nyquist
            frequency, the burst does not fit in the record, or ``envelope`` is unknown.
        TypeError: If ``length`` is not an int, a number is none, or ``dtype`` is not a floating-point type.

    Example:
        >>> wavelet = tone_burst(1e6, 5, 400, 2e-8, start_time=1e-6)
        >>> bool((wavelet[:50] == 0).all()), bool((wavelet[301:] == 0).all())
        (True, True)
    """
    freq, cycles, dt, start_time = _numbers(freq=freq, cycles=cycles, dt=dt, start_time=start_time)
    _check_samples(length, dt)
    _check_frequency("freq", freq, dt)
    _check_burst(freq, cycles, length, dt, start_time)
    if envelope not in _ENVELOPES:
        raise ValueError(f"`envelope`={envelope!r} is unknown; use one of {sorted(_ENVELOPES)}")
    phase = freq * _time(length, dt, start_time, dtype)
    x = 2 * phase / cycles - 1
    burst = _ENVELOPES[envelope](x) * jnp.sin(2 * math.pi * phase)
    return jnp.where(jnp.abs(x) <= 1, burst, 0).astype(_float_dtype(dtype))


_ENVELOPES = {
    "hann": lambda x: jnp.cos(math.pi / 2 * x) ** 2,
    "gaussian": lambda x: jnp.exp(-((3 * x) ** 2) / 2),
    "rectangular": jnp.ones_like,
}


def _float_dtype(dtype: DTypeLike | None) -> jnp.dtype:
    dtype = jnp.result_type(float if dtype is None else dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"`dtype`={dtype} must be a floating-point type such as jnp.float32")
    return dtype


def _time(length: int, dt: ArrayLike, origin: ArrayLike | None, dtype: DTypeLike | None) -> jax.Array:
    """Sample times relative to ``origin``, in at least single precision: half precision cannot count samples."""
    precision = jnp.promote_types(_float_dtype(dtype), jnp.float32)
    origin = length * dt / 2 if origin is None else origin
    return jnp.arange(length, dtype=precision) * dt - origin


def _numbers(**given: ArrayLike | None) -> list[ArrayLike | None]:
    """Numbers as floats, whose products do not overflow as those of NumPy's small integers; traced ones as they are."""
    return [x if x is None or _is_traced(x) else validate.number(name, x) for name, x in given.items()]


def _is_traced(*values: ArrayLike) -> bool:
    return any(is_traced(value) for value in values)


def _check_samples(length: int, dt: ArrayLike) -> None:
    if operator.index(length) <= 0:
        raise ValueError(f"`length`={length} must be a positive number of samples")
    if not _is_traced(dt) and not 0 < float(dt) < math.inf:
        raise ValueError(f"`dt`={dt} s must be positive and finite")


def _check_frequency(name: str, freq: ArrayLike, dt: ArrayLike) -> None:
    if _is_traced(freq):
        return
    if not 0 < float(freq) < math.inf:
        raise ValueError(f"`{name}`={freq} Hz must be positive and finite")
    if not _is_traced(dt) and float(freq) > 0.5 / float(dt):
        raise ValueError(
            f"`{name}`={freq:g} Hz is above the Nyquist frequency {0.5 / dt:g} Hz of dt={dt:g} s; "
            f"use a lower frequency or dt<={validate.at_most(0.5 / freq)}"
        )


def _check_corners(*corners: ArrayLike) -> None:
    if _is_traced(*corners):
        return
    if not (corners[0] >= 0 and all(low < high for low, high in itertools.pairwise(corners))):
        raise ValueError(f"corner frequencies {corners} Hz must satisfy 0 <= f1 < f2 < f3 < f4")


def _check_burst(freq: ArrayLike, cycles: ArrayLike, length: int, dt: ArrayLike, start_time: ArrayLike) -> None:
    if _is_traced(freq, cycles, dt, start_time):
        return
    if not 0 < float(cycles) < math.inf:
        raise ValueError(f"`cycles`={cycles:g} must be positive and finite")
    end_time, record = float(start_time + cycles / freq), float(length * dt)
    if start_time < 0 or end_time > record * (1 + 1e-12):  # a whole number of samples may be a rounding shorter
        raise ValueError(
            f"the burst from {start_time:g} s to {end_time:g} s does not fit in the record from 0 to {record:g} s; "
            f"use length>={math.ceil(end_time / dt)}, fewer cycles or another start_time"
        )
