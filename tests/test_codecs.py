"""Codecs by themselves: what they lose, what they hold, and the one that keeps a tolerance."""

import jax
import numpy as np
import pytest
from helpers import FREQ, amplitudes

import jaxwave
from jaxwave.storage import BFloat16, Float16, Int4, Int8, Int16, Raw, bounded

pytestmark = pytest.mark.optimised  # it is rounding that is bounded here

CODECS = {
    "raw": Raw(), "int4": Int4(), "int8": Int8(), "int16": Int16(), "bf16": BFloat16(), "f16": Float16(),
}  # fmt: skip


def stored(codec, x):
    """What is stored for ``x``, and what comes back: two programs, with nothing known of each other."""
    leaves = jax.jit(codec.encode)(x)
    return leaves, np.asarray(jax.jit(lambda leaves: codec.decode(leaves, x.shape, x.dtype))(leaves))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2, 16, 48), (1, 5, 7, 16), (3, 100)])
@pytest.mark.parametrize("name", list(CODECS))
def test_round_trip(name, shape, dtype):
    codec = CODECS[name]
    rng = np.random.default_rng(1)
    x = (rng.standard_normal(shape) * 10.0 ** rng.uniform(-20, 3, shape)).astype(dtype)
    leaves, got = stored(codec, x)
    assert [(leaf.shape, leaf.dtype) for leaf in leaves] == [(s.shape, s.dtype) for s in codec.spec(shape, dtype)]
    assert got.shape == shape and got.dtype == dtype
    error = np.abs(got - x)
    if name == "raw":
        assert error.max() == 0
    elif name == "bf16":
        assert (error <= np.abs(x) * 2.0**-8 + 1e-38).all()  # 8 significant bits, rounded
    else:
        n_cells = int(np.prod(shape[1:]))
        flat = np.pad(np.abs(x).reshape(shape[0], n_cells), [(0, 0), (0, -n_cells % codec.block)])
        largest = np.repeat(flat.reshape(shape[0], -1, codec.block).max(-1), codec.block, axis=1)[:, :n_cells]
        # Half a step of the code at the block's largest magnitude, and the rounding of the arithmetic itself, which in
        # float32 is 1e-5 of a step at 8 bits and 1e-2 at 16.
        step = {"int4": 1 / 14, "int8": 1.00001 / 254, "int16": 1.01 / 65534, "f16": 1.00001 * 2.0**-11}[name]
        assert (error.reshape(shape[0], n_cells) <= step * largest).all()


@pytest.mark.parametrize("name", list(CODECS))
def test_zeros_and_what_is_not_finite(name):
    codec, shape = CODECS[name], (1, 8, 64)

    @jax.jit
    def decode(leaves):
        return codec.decode(leaves, shape, np.float32)

    def there_and_back(x):
        return np.asarray(decode(encode(x)))

    encode = jax.jit(codec.encode)
    zeros = [np.zeros(s.shape, s.dtype) for s in codec.spec(shape, np.float32)]
    assert np.abs(decode(zeros)).max() == 0
    for bad in (np.nan, np.inf, -np.inf):
        x = np.ones(shape, np.float32)
        x[0, 3, 5] = bad
        assert not np.isfinite(there_and_back(x)).all()
    tiny = np.full(shape, 1e-40, np.float32)  # subnormal
    assert np.abs(there_and_back(tiny) - tiny).max() <= 1e-39


@pytest.mark.parametrize("tolerance", [0.5, 1 / 14, 0.07, 1 / 254, 1e-3, 1 / 65534, 1e-6])
def test_bounded_keeps_its_tolerance(tolerance):
    """Over magnitudes from end to end of float32; and no smaller codec would have done."""
    codec = bounded(tolerance)
    rng = np.random.default_rng(2)
    x = (rng.standard_normal((3, 4096)) * 10.0 ** rng.uniform(-34, 38, (3, 1)) / 4).astype(np.float32)
    got = stored(codec, x)[1].astype(np.float64)
    block = getattr(codec, "block", 1)
    largest = np.abs(x).reshape(3, -1, block).max(-1)
    error = np.abs(got - x).reshape(3, -1, block).max(-1)
    assert (error <= tolerance * largest * (1 + 1e-2)).all()  # the rounding of float32 itself, as seen at 16 bits
    smaller = {Int4: None, Int8: Int4(), Int16: Int8(), Raw: Int16()}[type(codec)]
    assert smaller is None or smaller.bound > tolerance


@pytest.fixture(scope="module")
def wavefield():
    """With quiet cells ahead of the wave and loud ones behind its front."""
    dt = 9e-4
    out = jaxwave.scalar(
        np.full((64, 64), 1500.0, np.float32), 5.0, dt, pml_width=0, max_vel=1800.0, pml_freq=FREQ,
        source_amplitudes=amplitudes(90, dt, delay=1.2 / FREQ).astype(np.float32), source_locations=[[[20, 30]]],
    )  # fmt: skip
    return np.asarray(out.wavefield_0)


@pytest.mark.parametrize("tolerance", [0.1, 1e-2, 1e-4])
def test_bounded_on_a_wavefield(tolerance, wavefield):
    """Relative to the block, and so to the field."""
    u, codec = wavefield, bounded(tolerance)
    error = np.abs(stored(codec, u)[1] - u).reshape(-1, codec.block)
    largest = np.abs(u).reshape(-1, codec.block).max(1, keepdims=True)
    assert largest.min() < 1e-6 * largest.max()
    assert (error <= tolerance * largest * (1 + 1e-2) + 1e-35).all()
    assert error.max() <= tolerance * largest.max()


def test_bounded_rejects_what_is_no_tolerance():
    for wrong in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="tolerance"):
            bounded(wrong)


@pytest.mark.parametrize(
    "wrong", [lambda: Int8(block=6), lambda: Int8(block=0), lambda: Int4(block=4), lambda: Float16(block=0)]
)
def test_bad_blocks_are_rejected(wrong):
    with pytest.raises(ValueError, match="block"):
        wrong()
