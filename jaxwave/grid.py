"""Rules for choosing the grid and the time step: stability, dispersion and the dominant frequency.

All functions take and return plain Python numbers and are meant to be called outside `jax.jit`.
"""

import math
from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike

from jaxwave._setup import validate

COURANT_NUMBER = 0.6
"""Default Courant number: stable for every accuracy, number of dimensions and kind of grid, with the speed that the
medium needs (`RunInfo.max_vel`): its largest, or on a staggered grid more for a great contrast of density."""

POINTS_PER_WAVELENGTH = 6.0
"""Default sampling of the shortest wavelength: 1 % error in velocity or less for accuracy 4 to 8 in 2-D and 3-D."""

_FFT_LIMIT = 2**18
_MIN_PEAK_BIN = 64
_FEW_TRACES = 64


def cfl_time_step(
    max_vel: float, grid_spacing: float | Sequence[float], courant_number: float = COURANT_NUMBER
) -> float:
    """Return the largest time step that propagation takes without dividing it into sub-steps.

    ::

        dt = courant_number / (max_vel ||1/dx||_2),    ||1/dx||_2 = sqrt(sum_i 1/dx_i^2)

    Args:
        max_vel: Largest velocity in the model, in m/s.
        grid_spacing: Cell size along each axis, in m. A single number is a 1-D grid: write ``(dx, dx)`` in 2-D.
        courant_number: Courant number of the step. Default `COURANT_NUMBER`.

    Returns:
        The time step, in s; `substeps` leaves it undivided.

    Raises:
        ValueError: If an argument is not positive and finite.

    Example:
        >>> round(cfl_time_step(4500.0, (10.0, 10.0)), 6)
        0.000943

    Reference:
        R. Courant, K. Friedrichs and H. Lewy, "On the partial difference equations of mathematical physics",
        Mathematische Annalen 100, 32-74, 1928.
    """
    _check_positive(max_vel=max_vel, courant_number=courant_number)
    dt = courant_number / (max_vel * math.hypot(*(1 / dx for dx in _spacings(grid_spacing))))
    while _cfl_ratio(dt, max_vel, grid_spacing, courant_number) > 1:  # rounding
        dt = math.nextafter(dt, 0.0)
    return dt


def substeps(
    dt: float, max_vel: float, grid_spacing: float | Sequence[float], courant_number: float = COURANT_NUMBER
) -> tuple[float, int]:
    """Divide a time step into the smallest number of equal parts that are stable.

    ::

        step_ratio = max(1, ceil(|dt| max_vel ||1/dx||_2 / courant_number)),    inner_dt = dt / step_ratio

    Args:
        dt: Time step of the sources and records, in s; negative to run backwards in time.
        max_vel: Largest velocity in the model, in m/s. With 0 nothing moves, and the step is not divided.
        grid_spacing: Cell size along each axis, in m. A single number is a 1-D grid: write ``(dx, dx)`` in 2-D.
        courant_number: Courant number of the inner step. Default `COURANT_NUMBER`.

    Returns:
        ``inner_dt`` in s, with the sign of ``dt``, and ``step_ratio``.

    Raises:
        ValueError: If ``dt`` is not finite, ``max_vel`` is negative, or another argument is not positive and finite.

    Example:
        >>> substeps(0.004, 4500.0, (10.0, 10.0))
        (0.0008, 5)

    Reference:
        R. Courant, K. Friedrichs and H. Lewy, "On the partial difference equations of mathematical physics",
        Mathematische Annalen 100, 32-74, 1928.
    """
    _check_positive(courant_number=courant_number)
    if not math.isfinite(dt):
        raise ValueError(f"`dt`={dt} s must be finite")
    if not 0 <= max_vel < math.inf:
        raise ValueError(f"`max_vel`={max_vel} m/s must be finite and not negative")
    step_ratio = max(1, math.ceil(_cfl_ratio(dt, max_vel, grid_spacing, courant_number)))
    return dt / step_ratio, step_ratio


def critical_courant_number(accuracy: int = 4, staggered: bool = False) -> float:
    """Return the Courant number above which the leapfrog scheme is unstable.

    ::

        C = 2 / (k dx),    k the wavenumber that the differences see at the grid's shortest wavelength, 2 dx

    Args:
        accuracy: Order of the differences in space: 2, 4, 6 or 8. Default 4.
        staggered: Whether the grid is staggered, as in the acoustic and elastic equations. Default False.

    Returns:
        The critical Courant number.

    Raises:
        ValueError: If ``accuracy`` is not 2, 4, 6 or 8.

    Example:
        >>> round(critical_courant_number(4), 4), round(critical_courant_number(4, staggered=True), 4)
        (0.866, 0.8571)

    Reference:
        A. R. Levander, "Fourth-order finite-difference P-SV seismograms", Geophysics 53(11), 1425-1436, 1988.
    """
    return 2 / float(_numerical_wavenumber(np.pi, accuracy, staggered))


def points_per_wavelength(min_vel: float, max_freq: float, grid_spacing: float | Sequence[float]) -> float:
    """Return the number of cells in the shortest wavelength, along the axis with the largest cells.

    ::

        points = min_vel / (max_freq max_i dx_i)

    Args:
        min_vel: Smallest velocity other than zero in the model, in m/s (S velocity, in an elastic one).
        max_freq: Highest frequency that matters, in Hz: about ``2.5 freq`` for a Ricker wavelet.
        grid_spacing: Cell size, or sizes along each axis, in m.

    Returns:
        Cells per wavelength; `recommended_points` says how many are needed.

    Raises:
        ValueError: If an argument is not positive and finite.

    Example:
        >>> points_per_wavelength(1500.0, 25.0, (10.0, 5.0))
        6.0
    """
    _check_positive(min_vel=min_vel, max_freq=max_freq)
    return min_vel / (max_freq * max(_spacings(grid_spacing)))


def max_frequency(
    min_vel: float, grid_spacing: float | Sequence[float], points: float = POINTS_PER_WAVELENGTH
) -> float:
    """Return the highest frequency that a grid carries with a given number of points per wavelength.

    ::

        max_freq = min_vel / (points max_i dx_i)

    Args:
        min_vel: Smallest velocity other than zero in the model, in m/s.
        grid_spacing: Cell size, or sizes along each axis, in m.
        points: Cells per wavelength. Default `POINTS_PER_WAVELENGTH`; see `recommended_points`.

    Returns:
        The frequency, in Hz.

    Raises:
        ValueError: If an argument is not positive and finite.

    Example:
        >>> max_frequency(1500.0, (10.0, 10.0))
        25.0
    """
    _check_positive(min_vel=min_vel, points=points)
    return min_vel / (points * max(_spacings(grid_spacing)))


def max_grid_spacing(min_vel: float, max_freq: float, points: float = POINTS_PER_WAVELENGTH) -> float:
    """Return the largest cell size that gives a number of points per shortest wavelength.

    ::

        dx = min_vel / (points max_freq)

    Args:
        min_vel: Smallest velocity other than zero in the model, in m/s.
        max_freq: Highest frequency that matters, in Hz.
        points: Cells per wavelength. Default `POINTS_PER_WAVELENGTH`; see `recommended_points`.

    Returns:
        The cell size, in m.

    Raises:
        ValueError: If an argument is not positive and finite.

    Example:
        >>> max_grid_spacing(1500.0, 25.0)
        10.0
    """
    _check_positive(min_vel=min_vel, max_freq=max_freq, points=points)
    return min_vel / (points * max_freq)


def recommended_points(accuracy: int = 4, ndim: int = 2, error: float = 0.01) -> float:
    """Return how many points per wavelength keep the error in phase velocity below a limit.

    For a plane wave along an axis, leapfrog in time and differences in space travel at ::

        v_num / v = 2 asin(c k/2) / (c k0),    c = v dt/dx,    k0 = 2 pi / points,

    where k is the wavenumber that the differences see instead of k0. The result is the smallest number for which the
    error is below the limit there and at every finer sampling, for regular and staggered differences, and for the
    smallest and the largest time step: c = 0 and c = `COURANT_NUMBER` / sqrt(ndim) (equal spacing). At high accuracy
    the larger time step decides, and a smaller one allows fewer points.

    Args:
        accuracy: Order of the differences in space: 2, 4, 6 or 8. Default 4.
        ndim: Number of dimensions: 1, 2 or 3. Default 2.
        error: Largest relative error in phase velocity. Default 0.01.

    Returns:
        Points per wavelength, rounded up to a tenth.

    Raises:
        ValueError: If ``accuracy`` is not 2, 4, 6 or 8, ``ndim`` not 1, 2 or 3, or ``error`` not in (1e-5, 0.1).

    Example:
        >>> [recommended_points(accuracy) for accuracy in (2, 4, 6, 8)]
        [12.9, 5.3, 5.0, 5.5]

    Reference:
        R. M. Alford, K. R. Kelly and D. M. Boore, "Accuracy of finite-difference modeling of the acoustic wave
        equation", Geophysics 39(6), 834-842, 1974.
    """
    if ndim not in (1, 2, 3):
        raise ValueError(f"`ndim`={ndim} must be 1, 2 or 3")
    if not 1e-5 < error < 0.1:
        raise ValueError(f"`error`={error} must be between 1e-5 and 0.1")
    k0 = np.geomspace(2 * np.pi / 1500, np.pi, 20_000)  # radians per cell, from 1500 points per wavelength to 2
    fails = np.zeros(k0.shape, bool)
    for staggered in (False, True):
        k = _numerical_wavenumber(k0, accuracy, staggered)
        c = COURANT_NUMBER / math.sqrt(ndim)
        fails |= np.abs(k / k0 - 1) > error
        fails |= np.abs(2 / c * np.arcsin(c * k / 2) / k0 - 1) > error
    last_good = k0[np.argmax(fails) - 1]
    return math.ceil(20 * np.pi / last_good) / 10


def peak_frequency(signal: ArrayLike | Sequence[ArrayLike], dt: float, default: float | None = None) -> float:
    """Return the frequency at which signals carry the most energy.

    The energy spectra of all traces are added, so neither delays nor polarities matter::

        peak_frequency = argmax_f sum_traces |S(f)|^2

    between frequencies by a parabola through the logarithms of the three largest values, and rounded to three digits:
    a Ricker wavelet gives its own frequency. Among several arrays, say a pressure and a velocity source, each counts
    equally, whatever its unit.

    Args:
        signal: Array ``[..., nt]``, or a sequence of them. Inside `jax.grad` and `jax.jvp` their values are read.
        dt: Time sampling interval, in s.
        default: Value to return when there is no such frequency: the signal is zero, has a single sample, or has its
            largest value at frequency zero. Default None: raise.

    Returns:
        The frequency, in Hz, at most the Nyquist frequency.

    Raises:
        ValueError: If there is no such frequency and no ``default``, or ``dt`` is zero.
        TypeError: If the values cannot be read, inside `jax.jit` or `jax.vmap`.

    Example:
        >>> from jaxwave.wavelets import ricker
        >>> peak_frequency(ricker(25.0, 300, 0.004, peak_time=0.06), 0.004)
        25.0
    """
    if dt == 0 or not math.isfinite(dt):
        raise ValueError(f"`dt`={dt} s must be finite and not zero")
    given = signal if isinstance(signal, list | tuple) and np.ndim(signal[0] if signal else 0) else [signal]
    arrays = [validate.numpy_values("signal", array) for array in given]
    arrays = [array for array in arrays if array.size and array.ndim and array.shape[-1] > 1]
    n_time = n_fft = max((array.shape[-1] for array in arrays), default=0)
    energy = _energy_spectrum(arrays, n_fft)
    peak = int(np.argmax(energy)) if np.isfinite(energy).all() else 0
    if 0 < peak < _MIN_PEAK_BIN:  # too few frequencies for the parabola: zeros appended in time add more
        n_fft = min(-(-_MIN_PEAK_BIN // peak) * n_time, max(n_time, _FFT_LIMIT))
        energy = _energy_spectrum(arrays, n_fft)
        peak = int(np.argmax(energy))
    if peak == 0:
        if default is None:
            raise ValueError("`signal` has no dominant frequency above zero; pass `default` or the frequency itself")
        return default
    freq = (peak + _parabola_vertex(energy, peak)) / (n_fft * abs(dt))
    return min(float(f"{freq:.3g}"), 0.5 / abs(dt))


def wavelet_frequency(signal: ArrayLike | Sequence[ArrayLike], dt: float) -> float | None:
    """Return the dominant frequency of sources that are wavelets, or None.

    It is None for what has no dominant frequency above zero, and for impulses and noise: signals with more than a
    twentieth of their energy above half the Nyquist frequency, from which the time step says nothing about the waves
    that are looked for. Of many traces a few are looked at, evenly spaced, since they are mostly alike.

    Args:
        signal: Array ``[..., nt]``, or a sequence of them, whose values are known.
        dt: Time sampling interval, in s.

    Returns:
        The frequency, in Hz.

    Example:
        >>> from jaxwave.wavelets import ricker
        >>> wavelet_frequency(ricker(25.0, 300, 0.004, peak_time=0.06), 0.004)
        25.0
        >>> wavelet_frequency([1.0] + [0.0] * 99, 0.004) is None
        True
    """
    arrays = [np.asarray(array) for array in (signal if isinstance(signal, list | tuple) else [signal])]
    arrays = [array.reshape(-1, array.shape[-1]) for array in arrays if array.size and array.ndim]
    few = [array[:: -(-len(array) // _FEW_TRACES)] for array in arrays]
    if not few:
        return None
    energy = _energy_spectrum(few, max(array.shape[-1] for array in few))
    if not energy.sum() > 0 or energy[len(energy) // 2 :].sum() > 0.05 * energy.sum():
        return None
    return peak_frequency(few, dt, default=0.0) or None


def _energy_spectrum(arrays: list[np.ndarray], n_fft: int) -> np.ndarray:
    """Energy at each frequency, every array normalised to a total of one."""
    total = np.zeros(n_fft // 2 + 1)
    for array in arrays:
        traces = array.reshape(-1, array.shape[-1])
        scale = np.abs(traces).max() or 1.0
        energy = sum(np.abs(np.fft.rfft(trace / scale, n_fft)) ** 2 for trace in traces)
        total += energy / (energy.sum() or 1.0)
    return total


def _parabola_vertex(energy: np.ndarray, peak: int) -> float:
    """Position of the maximum relative to bin ``peak``, between -1/2 and 1/2."""
    if peak + 1 >= len(energy):
        return 0.0
    left, middle, right = np.log(energy[peak - 1 : peak + 2] + np.finfo(float).tiny)
    curvature = left - 2 * middle + right
    return float(np.clip(0.5 * (left - right) / curvature, -0.5, 0.5)) if curvature < 0 else 0.0


def _numerical_wavenumber(k0: ArrayLike, accuracy: int, staggered: bool) -> np.ndarray:
    """Wavenumber times spacing that differences of an order see, from that of the wave, ``k0``.

    With s = sin(k0/2) the exact answers are the series of arcsin, and order 2M keeps M terms: for second differences
    k^2 = 2 sum_j (2s)^(2j) / (j^2 binom(2j, j)), for staggered ones k = 2 sum_j binom(2j, j) s^(2j+1) / (4^j (2j+1)).
    """
    if accuracy not in (2, 4, 6, 8):
        raise ValueError(f"`accuracy`={accuracy} must be 2, 4, 6 or 8")
    s, terms = np.sin(np.asarray(k0) / 2), accuracy // 2
    if staggered:
        return 2 * sum(math.comb(2 * j, j) * s ** (2 * j + 1) / (4**j * (2 * j + 1)) for j in range(terms))
    return np.sqrt(2 * sum((2 * s) ** (2 * j) / (j**2 * math.comb(2 * j, j)) for j in range(1, terms + 1)))


def _cfl_ratio(dt: float, max_vel: float, grid_spacing: float | Sequence[float], courant_number: float) -> float:
    spacings = _spacings(grid_spacing)
    finest = min(spacings)
    norm = math.hypot(*(finest / dx for dx in spacings))
    return abs(dt) * max_vel * norm / finest / courant_number


def _spacings(grid_spacing: float | Sequence[float]) -> tuple[float, ...]:
    spacings = tuple(float(dx) for dx in np.atleast_1d(grid_spacing))
    if not spacings or not all(0 < dx < math.inf for dx in spacings):
        raise ValueError(f"`grid_spacing`={grid_spacing} m must be positive and finite along every axis")
    return spacings


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"`{name}`={value} must be positive and finite")
