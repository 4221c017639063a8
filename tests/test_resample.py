"""Resampling: exact for band-limited signals, transposes of each other, dtypes and messages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxwave.resample import cosine_taper_end, downsample, upsample

PERIODIC = {"time_pad_frac": 0.0}
OPTIONS = [
    {},
    PERIODIC,
    {"freq_taper_frac": 0.3},
    {"time_pad_frac": 0.35},
    {"time_taper": True},
    {"freq_taper_frac": 0.2, "time_pad_frac": 0.5, "time_taper": True},
]


def band_limited(n, ratio, delay=0.0):
    """A periodic signal with every frequency below the Nyquist of n samples, at ``n * ratio`` samples."""
    rng = np.random.default_rng(0)
    t = (np.arange(n * ratio) / ratio - delay) / n
    k = np.arange((n + 1) // 2)
    amplitude, phase = rng.normal(size=(2, len(k), 1))
    return np.sum(amplitude * np.cos(2 * np.pi * k[:, None] * t + phase), axis=0)


@pytest.mark.parametrize("ratio", [2, 3, 5])
@pytest.mark.parametrize("n", [1, 2, 15, 16])
def test_band_limited_signal_is_resampled_exactly(n, ratio):
    coarse, fine = band_limited(n, 1), band_limited(n, ratio)
    np.testing.assert_allclose(upsample(coarse, ratio, **PERIODIC), fine, atol=1e-13)
    np.testing.assert_allclose(downsample(fine, ratio, **PERIODIC), coarse, atol=1e-13)


def test_last_axis_of_any_rank():
    signals = np.stack([band_limited(9, 1, delay) for delay in (0.0, 1.0, 2.5)]).reshape(3, 1, 9)
    out = upsample(signals, 4, **PERIODIC)
    assert out.shape == (3, 1, 36)
    np.testing.assert_allclose(out[2, 0], band_limited(9, 4, 2.5), atol=1e-13)


def test_nyquist_is_dropped():
    alternating = (-1.0) ** np.arange(8)
    np.testing.assert_allclose(upsample(alternating, 3, **PERIODIC), 0, atol=1e-15)
    at_new_nyquist = np.cos(np.pi * np.arange(32) / 4)
    found = downsample(band_limited(8, 4) + at_new_nyquist, 4, **PERIODIC)
    np.testing.assert_allclose(found, band_limited(8, 1), atol=1e-13)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(("n", "ratio"), [(12, 2), (13, 3)])
def test_downsample_is_the_transpose_of_upsample(n, ratio, options):
    signal = jnp.asarray(np.random.default_rng(1).normal(size=n))

    @jax.jit
    def matrices(signal):
        up, down = (
            jax.jacobian(lambda x, f=f: f(x, ratio, **options))(jnp.zeros(m))
            for f, m in ((upsample, n), (downsample, n * ratio))
        )
        return up, down, upsample(signal, ratio, **options)

    up, down, fine = matrices(signal)
    np.testing.assert_allclose(down, up.T / ratio, atol=1e-15)
    np.testing.assert_allclose(fine, up @ signal, atol=1e-13)


@pytest.mark.parametrize("n", [20, 21])
def test_round_trip_keeps_all_but_the_nyquist_frequency(n):
    signal = np.random.default_rng(2).normal(size=n)
    spectrum = np.fft.rfft(signal)
    if n % 2 == 0:
        spectrum[-1] = 0
    there = upsample(signal, 3, **PERIODIC)
    np.testing.assert_allclose(downsample(there, 3, **PERIODIC), np.fft.irfft(spectrum, n), atol=1e-13)


@pytest.mark.parametrize("ratio", [1, 2])
def test_shift_delays_by_fine_samples(ratio):
    fine = band_limited(15, ratio)
    found = downsample(fine, ratio, shift=0.5, **PERIODIC)
    np.testing.assert_allclose(found, band_limited(15, 1, 0.5 / ratio), atol=1e-13)


def test_time_padding_stops_wrap_around():
    spike_at_end = np.zeros(64)
    spike_at_end[-1] = 1.0
    start = slice(0, 8)
    wrapped = np.abs(upsample(spike_at_end, 2, **PERIODIC)[start]).max()
    padded = np.abs(upsample(spike_at_end, 2)[start]).max()
    # The sinc at 1.5 samples is 1 / (1.5 pi); beyond the 60 to the end, or the 64 of the padding, it is below
    # 1 / (60 pi), and dropping the Nyquist frequency of 128 samples adds 1 / 128.
    assert wrapped == pytest.approx(1 / (1.5 * np.pi), rel=0.01)
    assert padded < 1 / (60 * np.pi) + 1 / 128


@pytest.mark.parametrize("function", [upsample, downsample])
def test_a_wave_at_the_end_leaves_the_start_alone(function):
    """A record that ends while a wave passes, of frequencies far below the Nyquist frequency."""
    late = np.exp(-(((np.arange(120) - 119) / 12) ** 2))
    # Its end is a jump by 1, which rings as 1 / (pi distance): at 100 samples or more, 1 / 300.
    assert np.abs(function(late, 2)[:10]).max() < 1 / 300
    # And to the maximum itself where it is periodic.
    assert np.abs(function(late, 2, **PERIODIC)[:10]).max() > 0.05


def test_tapers():
    np.testing.assert_allclose(cosine_taper_end(np.ones(6), 3), [1, 1, 1, 0.75, 0.25, 0])
    np.testing.assert_allclose(cosine_taper_end(np.ones((2, 2)), 5), [[0.5, 0], [0.5, 0]], atol=1e-16)
    np.testing.assert_array_equal(cosine_taper_end(np.ones(3), 0), np.ones(3))
    assert upsample(np.ones(10), 2, time_taper=True)[jnp.array([0, -1])].tolist() == [0, 0]
    # A tenth at each end, and nothing between.
    rise = (1 - np.cos(np.pi * np.arange(4) / 4)) / 2
    constant = upsample(np.ones(21), 2, time_taper=True, **PERIODIC)
    np.testing.assert_allclose(constant, [*rise, *[1] * 34, *rise[::-1]], atol=1e-13)
    tapered = np.abs(np.fft.rfft(upsample(np.eye(1, 21)[0], 2, freq_taper_frac=0.5, **PERIODIC)))
    # 11 frequencies, of which int(5.5) = 5 are tapered; upsampling by 2 doubles the amplitudes.
    np.testing.assert_allclose(tapered[:6], 2, atol=1e-12)
    np.testing.assert_allclose(tapered[6:11], 1 + np.cos(np.pi * np.arange(1, 6) / 5), atol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("options", OPTIONS)
def test_dtype_is_kept(dtype, options):
    signal = jnp.asarray(band_limited(16, 1), dtype)

    def all_of(signal):
        fine = upsample(signal, 2, **options)
        return fine, downsample(fine, 2, **options), downsample(fine, 2, shift=0.5), cosine_taper_end(signal, 3)

    assert all(x.dtype == dtype for x in jax.eval_shape(all_of, signal))


def test_jit_with_static_options():
    signal = band_limited(16, 1)
    jitted = jax.jit(upsample, static_argnames=("step_ratio", "freq_taper_frac"))
    expected = upsample(signal, 2, freq_taper_frac=0.1)
    np.testing.assert_allclose(jitted(signal, step_ratio=2, freq_taper_frac=0.1), expected, atol=1e-14)


def test_ratio_one_and_empty_signals_are_returned_as_they_are():
    signal = jnp.asarray(band_limited(8, 1))
    np.testing.assert_array_equal(upsample(signal, 1, freq_taper_frac=0.5), signal)
    np.testing.assert_array_equal(downsample(signal, 1, freq_taper_frac=0.5), signal)
    assert upsample(jnp.zeros((2, 0, 8)), 1).shape == (2, 0, 8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: upsample(np.ones(8), 0), ValueError, "`step_ratio`=0 must be at least 1"),
        (lambda: upsample(np.ones(8), 2.0), TypeError, "float"),
        (lambda: upsample(1j * np.ones(8), 2), TypeError, "dtype complex128"),
        (lambda: upsample(1.0, 2), ValueError, "last axis must be time"),
        (lambda: upsample(np.ones(8), 2, time_pad_frac=1.5), ValueError, "`time_pad_frac`=1.5"),
        (lambda: downsample(np.ones(8), 3), ValueError, "8 samples are not a multiple of step_ratio=3.*9.*6"),
        (lambda: cosine_taper_end(np.ones(8), -1), ValueError, "`n_taper`=-1"),
    ],
)
def test_bad_arguments_raise(call, error, message):
    with pytest.raises(error, match=message):
        call()
