"""Wavelets: formulas, spectra, derivatives, dtypes and messages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxwave.wavelets import gaussian, ormsby, ricker, tone_burst

DT = 0.002
LENGTH = 1000
PEAK = 1.0
WAVELETS = {
    "ricker": lambda **kw: ricker(25.0, LENGTH, DT, PEAK, **kw),
    "gaussian": lambda **kw: gaussian(25.0, LENGTH, DT, PEAK, **kw),
    "gaussian1": lambda **kw: gaussian(25.0, LENGTH, DT, PEAK, order=1, **kw),
    "gaussian2": lambda **kw: gaussian(25.0, LENGTH, DT, PEAK, order=2, **kw),
    "ormsby": lambda **kw: ormsby(5.0, 10.0, 40.0, 60.0, LENGTH, DT, PEAK, **kw),
    "tone_burst": lambda **kw: tone_burst(25.0, 5, LENGTH, DT, PEAK - 0.1, **kw),
}


def spectrum(wavelet):
    """Frequencies in Hz and amplitudes, zero-padded to 0.05 Hz."""
    n = 10 * LENGTH
    return np.fft.rfftfreq(n, DT), np.abs(np.fft.rfft(np.asarray(wavelet), n))


@pytest.mark.parametrize("name", WAVELETS)
def test_shape_dtype_and_unit_peak(name):
    wavelet = WAVELETS[name]()
    assert wavelet.shape == (LENGTH,)
    assert wavelet.dtype == jnp.float64
    # Sampling at 2 ms misses the peak of a 25 Hz carrier by at most (2 pi 25 Hz 1 ms)^2 / 2 = 1.3 %, and the extrema of
    # the burst's sine lie a quarter of a cycle from the centre, where the envelope is cos^2(pi / 20) = 0.976.
    assert 0.976 * 0.987 < float(jnp.abs(wavelet).max()) <= 1


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", WAVELETS)
def test_dtype_is_honoured_without_losing_samples(name, dtype):
    wavelet = WAVELETS[name](dtype=dtype)
    assert wavelet.dtype == dtype
    # Float32 times are good to 6e-8 of 2 s, which is 1e-5 of a radian at 25 Hz; the rest is the dtype's own rounding.
    tolerance = 1e-4 + float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(wavelet.astype(float), WAVELETS[name](), atol=tolerance)


def test_ricker_values():
    t = np.arange(LENGTH) * DT - PEAK
    a = (np.pi * 25 * t) ** 2
    np.testing.assert_allclose(ricker(25.0, LENGTH, DT, PEAK), (1 - 2 * a) * np.exp(-a), atol=1e-14)


def test_default_peak_is_the_middle_of_the_record():
    np.testing.assert_array_equal(ricker(25.0, LENGTH, DT), ricker(25.0, LENGTH, DT, LENGTH * DT / 2))


@pytest.mark.parametrize(
    ("name", "peak"), [("ricker", 25), ("gaussian", 0), ("gaussian1", 25 / np.sqrt(2)), ("tone_burst", 25)]
)
def test_peak_frequency(name, peak):
    freq, amplitude = spectrum(WAVELETS[name]())
    # One frequency bin is 0.05 Hz; the negative-frequency image moves a five-cycle burst by less than 0.2 Hz.
    assert freq[amplitude.argmax()] == pytest.approx(peak, abs=0.2)


def test_gaussians_are_derivatives_of_each_other():
    def at(time, order):
        return gaussian(25.0, 1, 0.001, -time, order=order)[0]

    times = jnp.linspace(-0.03, 0.03, 13)
    scale = np.sqrt(2) * np.pi * 25
    first = jax.vmap(jax.grad(lambda t: at(t, 0)))(times)
    second = jax.vmap(jax.grad(lambda t: at(t, 1)))(times)
    np.testing.assert_allclose(first, scale * np.exp(-0.5) * jax.vmap(lambda t: at(t, 1))(times), atol=1e-12)
    np.testing.assert_allclose(second, scale * np.exp(0.5) * jax.vmap(lambda t: at(t, 2))(times), atol=1e-11)
    np.testing.assert_allclose(WAVELETS["gaussian2"](), -ricker(25.0, LENGTH, DT, PEAK), atol=1e-14)


def test_ormsby_spectrum_is_a_trapezium():
    freq, amplitude = spectrum(ormsby(5.0, 10.0, 40.0, 60.0, LENGTH, DT, PEAK))
    trapezium = np.interp(freq, [5, 10, 40, 60], [0, 1, 1, 0])
    flat = amplitude[np.searchsorted(freq, 25)]
    # The wavelet decays as 1/t^2 and is cut at 1 s, which leaves ripples of about 1/(pi^2 5 Hz 1 s) at the corners.
    np.testing.assert_allclose(amplitude / flat, trapezium, atol=0.025)


def test_tone_burst_is_zero_outside_and_sine_inside():
    burst = tone_burst(25.0, 5, LENGTH, DT, start_time=0.4, envelope="rectangular")
    t = np.arange(LENGTH) * DT
    inside = (t > 0.4 + 1e-9) & (t < 0.6 - 1e-9)
    np.testing.assert_allclose(burst[inside], np.sin(2 * np.pi * 25 * (t[inside] - 0.4)), atol=1e-12)
    np.testing.assert_allclose(burst[~inside], 0, atol=1e-12)


@pytest.mark.parametrize("envelope", ["hann", "gaussian"])
def test_tone_burst_envelopes_are_smooth_and_symmetric(envelope):
    burst = np.asarray(tone_burst(25.0, 5, 101, DT, envelope=envelope))
    np.testing.assert_allclose(burst, -burst[::-1], atol=1e-12)
    # The Gaussian is cut at three standard deviations, exp(-4.5) = 0.011, times the sine's first sample, 0.31.
    assert abs(burst[1]) < 0.005


def test_differentiable_and_jittable_in_frequency_and_time():
    jitted = jax.jit(ricker, static_argnums=1)
    np.testing.assert_allclose(jitted(25.0, LENGTH, DT, PEAK), ricker(25.0, LENGTH, DT, PEAK), atol=1e-14)

    def energy(freq, peak_time):  # in tens of Hz and hundredths of a second, so that differences suit both
        return jnp.sum(ricker(10 * freq, LENGTH, DT, peak_time / 100)[:480] ** 2)

    check_grads(energy, (2.5, 96.0), order=2, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ricker(0.0, 10, DT), "`freq`=0.0 Hz must be positive"),
        (lambda: ricker(float("nan"), 10, DT), "must be positive"),
        (lambda: ricker(300.0, 10, DT), "above the Nyquist frequency 250 Hz of dt=0.002 s"),
        (lambda: ricker(25.0, 0, DT), "`length`=0 must be a positive number"),
        (lambda: ricker(25.0, 10, 0.0), "`dt`=0.0 s must be positive"),
        (lambda: gaussian(25.0, 10, DT, order=3), "`order`=3 must be 0, 1 or 2"),
        (lambda: ormsby(10.0, 10.0, 40.0, 60.0, 10, DT), "0 <= f1 < f2 < f3 < f4"),
        (lambda: ormsby(5.0, 10.0, 40.0, 260.0, 10, DT), "`f4`=260 Hz is above the Nyquist"),
        (lambda: tone_burst(25.0, 0, 10, DT), "`cycles`=0 must be positive"),
        (lambda: tone_burst(25.0, 5, 99, DT), "use length>=100"),
        (lambda: tone_burst(25.0, 5, 100, DT, envelope="box"), "use one of"),
    ],
)
def test_bad_values_raise(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("keywords", [{"length": 10.0}, {"length": 10, "dtype": jnp.int32}])
def test_bad_types_raise(keywords):
    with pytest.raises(TypeError):
        ricker(25.0, dt=DT, **keywords)
