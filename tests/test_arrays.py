"""What every helper makes of arrays and numbers of every kind: the right thing, or a clear refusal."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import jaxwave
from jaxwave import Hicks, inversion, io, resample, storage
from jaxwave.grid import peak_frequency
from jaxwave.wavelets import gaussian, ormsby, ricker, tone_burst

# Integers of 16 bits whose squares and sums overflow.
RECORD = np.array([[3000.0, 1500, 2000, 1800], [2500, 3200, 1900, 2100]])
POINTS = np.array([[[5.0, 7.0]], [[6.0, 8.0]]])
HICKS = Hicks(POINTS + 0.5, (14, 16))
CELLS = HICKS.cells.shape[1]
MODEL = np.full((12, 14), 2000.0)
SURVEY = dict(source_amplitudes=np.ones((1, 1, 2)), source_locations=np.full((1, 1, 2), 3), pml_width=2, pml_freq=25.0)


def shape_of(function, *args, **kwargs):
    """What a propagator would return, its static facts included, without running it."""
    return jax.eval_shape(lambda: function(*args, **SURVEY | kwargs))


@dataclasses.dataclass(frozen=True)
class Helper:
    """A function of one array, an array that it takes, and what it does not share with the others."""

    call: callable
    example: np.ndarray
    integers: bool = True  # whether they become floats; else they are refused
    half: bool = False  # whether it takes half precision
    empty: str | None = None  # a part of its words about an empty array; None where that is as good as any


HELPERS = {
    "vpvsrho_to_lambmubuoyancy": Helper(lambda x: jaxwave.vpvsrho_to_lambmubuoyancy(x, x, x), RECORD),
    "vpvsrho_to_lambmubuoyancy, one": Helper(lambda x: jaxwave.vpvsrho_to_lambmubuoyancy(2000.0, 900.0, x), RECORD),
    "lambmubuoyancy_to_vpvsrho": Helper(lambda x: jaxwave.lambmubuoyancy_to_vpvsrho(x, x, x), RECORD),
    "gaussian_smooth": Helper(lambda x: inversion.gaussian_smooth(x, 1.0), RECORD),
    "gaussian_smooth, sigma": Helper(
        lambda x: inversion.gaussian_smooth(RECORD, x), np.array([1.0, 2.0]), half=True, empty="one number or 2"
    ),
    "lowpass": Helper(lambda x: inversion.lowpass(x, 20.0, 0.004), RECORD),
    "l2_misfit": Helper(lambda x: inversion.l2_misfit(x, np.zeros((2, 4))), RECORD, empty="shape"),
    "l2_misfit, observed": Helper(lambda x: inversion.l2_misfit(np.zeros((2, 4)), x), RECORD, empty="shape"),
    "correlation": Helper(lambda x: inversion.correlation(x, RECORD[::-1]), RECORD, half=True, empty="shape"),
    "peak_frequency": Helper(lambda x: peak_frequency(x, 0.004), RECORD[0] - 2000, half=True, empty="no dominant"),
    "upsample": Helper(lambda x: resample.upsample(x, 2), RECORD),
    "downsample": Helper(lambda x: resample.downsample(x, 2), RECORD),
    "cosine_taper_end": Helper(lambda x: resample.cosine_taper_end(x, 2), RECORD),
    "Hicks": Helper(lambda x: Hicks(x, (14, 16)).rows, POINTS, empty="`locations`"),
    "Hicks, directions": Helper(
        lambda x: Hicks(POINTS, (14, 16), dipole_direction=x).rows, np.array([1.0, 0.0]), empty="2 components"
    ),
    "Hicks.source": Helper(HICKS.source, np.ones((2, 1, 3)), integers=False),
    "Hicks.receiver": Helper(HICKS.receiver, np.ones((2, CELLS, 3)), integers=False),
    "scalar": Helper(
        lambda x: shape_of(jaxwave.scalar, x, 5.0, 1e-4).info.max_vel, MODEL, integers=False, empty="one cell"
    ),
    "scalar, amplitudes": Helper(
        lambda x: shape_of(jaxwave.scalar, MODEL, 5.0, 1e-4, source_amplitudes=x).receiver_amplitudes.shape,
        np.ones((1, 1, 3)), integers=False,
        empty="at least one",
    ),
    "scalar_born": Helper(
        lambda x: shape_of(jaxwave.scalar_born, MODEL, x, 5.0, 1e-4).background.info.max_vel, MODEL, integers=False,
        empty="shape",
    ),
}  # fmt: skip


def same(got, wanted, rtol=0.0):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol=rtol)


@pytest.fixture(params=list(HELPERS))
def helper(request):
    return HELPERS[request.param]


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int64])
@pytest.mark.parametrize("module", [np, jnp])
def test_integers_become_floats_or_are_refused(helper, module, dtype):
    if (helper.example < 0).any() and dtype == np.uint16:
        pytest.skip("negative numbers")
    given = module.asarray(helper.example, dtype)
    if helper.integers:
        same(helper.call(given), helper.call(helper.example))
    else:
        with pytest.raises(TypeError, match=rf"got dtype {np.dtype(dtype)}\. Convert it, .*astype"):
            helper.call(given)


def test_lists_are_arrays(helper):
    same(helper.call(helper.example.tolist()), helper.call(helper.example))


def test_masked_values_are_refused_and_others_are_as_good_as_any(helper):
    masked = np.ma.array(helper.example)
    same(helper.call(masked), helper.call(helper.example))
    masked[(0,) * masked.ndim] = np.ma.masked
    for given in (masked, list(masked)):
        with pytest.raises(ValueError, match=r"has 1 masked values, the first at index \(0,.*filled\("):
            helper.call(given)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_refused_unless_nothing_is_computed_in_it(helper, dtype):
    given = helper.example.astype(dtype)
    if helper.half:
        same(helper.call(given), helper.call(given.astype(float)))
    else:
        with pytest.raises(TypeError, match=rf"got dtype {np.dtype(dtype)}\. Convert"):
            helper.call(given)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x + 1j,
        lambda x: np.where(x == x.ravel()[0], None, x),
        lambda x: np.full(x.shape, "model.npy"),
        lambda x: np.full(x.shape, "2020-01-01", "datetime64[s]"),
    ],
    ids=["complex", "objects", "words", "dates"],
)
def test_what_are_no_real_numbers_is_refused(helper, change):
    with pytest.raises(TypeError, match="got dtype"):
        helper.call(change(helper.example))


def test_ragged_lists_are_refused(helper):
    ragged = [*helper.example.tolist(), []]
    with pytest.raises(ValueError, match="same length"):
        helper.call(ragged)


def test_empty_arrays(helper):
    given = helper.example[..., :0]
    if helper.empty is None:
        got = jax.tree.leaves(helper.call(given))
        assert all(x.size == 0 for x in got)
    else:
        with pytest.raises(ValueError, match=helper.empty):
            helper.call(given)


def test_of_several_arrays_the_widest_float_decides():
    # As records and models do that are computed with together; integers and numbers of Python's have no say.
    single, double = np.ones(3, np.float32), np.ones(3)
    for given, dtype in [
        ((single, 0, np.arange(3)), np.float32),
        ((single, double, 1.0), np.float64),
        ((np.arange(3), [1, 2, 3], 2), np.float64),
    ]:
        assert [x.dtype for x in jaxwave.vpvsrho_to_lambmubuoyancy(*given)] == [dtype] * 3
    vp = jax.grad(lambda vp: jaxwave.vpvsrho_to_lambmubuoyancy(vp, [1, 2], np.ones(2, np.int8))[0].sum())
    np.testing.assert_array_equal(vp(np.array([3.0, 4.0])), [6, 8])


def test_traced_integers_become_floats():
    lamb, _, _ = jax.jit(lambda vp: jaxwave.vpvsrho_to_lambmubuoyancy(vp, [0, 0], 2200))(jnp.array([3000, 4000]))
    np.testing.assert_allclose(lamb, [1.98e10, 3.52e10], rtol=1e-15)
    assert inversion.l2_misfit([jnp.float32(1), jnp.float32(2)], np.array([0, 0])) == 2.5


# ---- numbers ----

WAVELETS = {
    "ricker": lambda number: ricker(number(25), 100, number(1) / 500, number(0)),
    "gaussian": lambda number: gaussian(number(25), 100, 0.002, number(0)),
    # With 8 bits, the differences and sums of these corners overflow.
    "ormsby": lambda number: ormsby(number(5), number(60), number(100), number(120), 50, 0.002),
    "tone_burst": lambda number: tone_burst(number(25), number(5), 200, 0.002, number(0)),
}


@pytest.mark.parametrize("name", WAVELETS)
def test_wavelets_take_every_number(name):
    expected = WAVELETS[name](float)
    for number in (int, np.int8, np.int64, np.float64, np.array, jnp.array, lambda x: np.ma.array(x)):
        np.testing.assert_allclose(WAVELETS[name](number), expected, rtol=0, atol=1e-12)  # dt as a float32 or double
    for wrong in (lambda x: [x, x], lambda x: x + 0j, str, lambda x: np.ma.masked, lambda x: True):
        with pytest.raises(TypeError):
            ricker(wrong(25), 100, 0.002)


@pytest.mark.parametrize("number", [np.int8, np.uint64, np.array, jnp.array])
def test_options_of_a_run_are_integers_of_any_kind(number):
    def info(number):
        # Lists, for the options that have a number for each face or axis.
        out = shape_of(
            jaxwave.scalar, MODEL, number(5), 1e-4, accuracy=number(4), pml_width=[number(2)] * 4, survey_pad=number(3),
            model_gradient_sampling_interval=number(2), storage_mode="recompute",
        )  # fmt: skip
        return out.info

    assert info(number) == info(int)
    assert all(type(n) is int for n in info(number).pml_width)


POLICIES = [
    lambda number: storage.Auto(device=number(64), host=number(64), disk=number(0)),
    lambda number: storage.Recompute(segments=number(4), slots=number(2)),
    lambda number: storage.Recompute(memory=number(64)),
    lambda number: storage.Reverse(segment=number(8)),
    lambda number: storage.HostStorage(steps_per_transfer=number(8), retain=number(1)),
    lambda number: storage.DiskStorage(steps_per_transfer=number(8), retain=number(1)),
    lambda number: storage.Coarse(number(2)),
    lambda number: storage.Fourier(number(3)),
    lambda number: storage.Fourier([number(3), number(5)]),
    lambda number: storage.Int4(number(32)),
    lambda number: storage.Int8(number(64)),
    lambda number: storage.Int16(number(64)),
    lambda number: storage.Float16(number(64)),
    lambda number: storage.bounded(number(1)),
]


@pytest.mark.parametrize("make", POLICIES)
def test_policies_take_integers_of_any_kind_and_show_as_what_they_are(make):
    for number in (np.int8, np.uint64, np.array, jnp.array):
        assert (
            make(number) == make(int)
            and hash(make(number)) == hash(make(int))
            and repr(make(number)) == repr(make(int))
        )
    for wrong in (lambda x: x + 0.5j, str, lambda x: np.ma.masked, lambda x: -1):
        with pytest.raises((TypeError, ValueError)):
            make(wrong)


@pytest.mark.parametrize("wrong", [True, 2.5, "8"])
def test_policies_refuse_what_is_no_integer(wrong):
    for make in (
        lambda: storage.HostStorage(steps_per_transfer=wrong), lambda: storage.DiskStorage(retain=wrong),
        lambda: storage.Int8(wrong), lambda: storage.Float16(wrong), lambda: storage.Reverse(segment=wrong),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"`(steps_per_transfer|retain|block|segment)` must be .*; got"):
            make()


@pytest.mark.parametrize("words", [np.array, tuple, lambda x: np.array(x, object)])
def test_words_for_the_faces_in_an_array(words):
    out = shape_of(jaxwave.scalar, MODEL, 5.0, 1e-4, boundary=words(["free", "pml", "pml", "rigid"]))
    assert out.info.boundary == ("free", "pml", "pml", "rigid")
    assert all(type(word) is str for word in out.info.boundary)


# ---- locations ----

LOCATIONS = {
    "metres": (np.full((1, 1, 2), 15.0), TypeError, r"cell numbers, not metres.*rint.*Hicks"),
    "mask": (MODEL > 0, TypeError, r"np\.argwhere\(receiver_locations\)\[None\]"),
    "words": ([[["3", "4"]]], TypeError, "whole numbers"),
    "none": ([[]], ValueError, r"is empty, of shape \(1, 0\); leave it out, or .*np\.zeros\(\(1, 0, 2\), int\)"),
    "ragged": ([[[2, 5], [2, 6]], [[2, 8]]], ValueError, r"IGNORE_LOCATION in every coordinate.*amplitudes with zeros"),
    "masked": (np.ma.masked_equal([[[2, 5], [0, 0]]], 0), ValueError, r"filled\(jaxwave\.IGNORE_LOCATION\)"),
}


@pytest.mark.parametrize("case", LOCATIONS)
def test_what_are_no_cells_is_refused(case):
    given, error, words = LOCATIONS[case]
    with pytest.raises(error, match=words):
        shape_of(jaxwave.scalar, MODEL, 5.0, 1e-4, receiver_locations=given)


def test_the_advice_for_metres_finds_every_cell():
    spacing = 0.025
    x = np.linspace(0, 299 * spacing, 300)
    assert (np.rint(np.divide(x, spacing)).astype(int) == np.arange(300)).all()


@pytest.mark.parametrize("empty", [np.zeros((1, 0, 2)), np.zeros((1, 0, 2), int), jnp.zeros((1, 0, 2))])
def test_no_receivers_are_no_records(empty):
    assert shape_of(jaxwave.scalar, MODEL, 5.0, 1e-4, receiver_locations=empty).receiver_amplitudes.shape == (1, 0, 2)


@pytest.mark.parametrize("shot", [1, -1, np.int64(1), np.array(1), jnp.array(1), [1], np.array([False, True])])
def test_one_shot_of_a_hicks_keeps_its_axis(shot):
    one = HICKS[shot]
    same(one.source(np.ones((1, 1, 3))), HICKS.source(np.ones((2, 1, 3)))[1:])
    same(jax.jit(lambda f: HICKS[f])(1).rows, HICKS[1:].rows)


@pytest.mark.parametrize("wrong", [(0, 0), 0.5, True, None, "a", [[0]], ...])
def test_points_of_a_shot_stay_together(wrong):
    with pytest.raises(TypeError, match="index with a slice"):
        HICKS[wrong]
    for beyond in (2, -3, [0, 2], jnp.array(2)):
        with pytest.raises(IndexError, match="there are 2 shots"):
            HICKS[beyond]


# ---- files ----


def test_what_a_checkpoint_cannot_hold_is_refused(tmp_path):
    for wrong, error in [
        (np.ma.masked_less(RECORD, 2000), ValueError), (np.array([None]), TypeError), ("word", TypeError),
        (jax.random.key(0), TypeError),
    ]:  # fmt: skip
        with pytest.raises(error, match=r"tree\[0\]"):
            io.save_checkpoint(tmp_path / "c.h5", [wrong])
    assert not list(Path(tmp_path).iterdir())
