"""Wrong arguments raise before anything runs, and the message says what was wrong, what was got, and what would do."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxwave
from jaxwave import IGNORE_LOCATION
from jaxwave import _simulation as simulation
from jaxwave.storage import HostStorage
from jaxwave.storage.errors import StoragePathError

N_SHOTS, SHAPE, NT = 2, (12, 14), 8
V = np.full(SHAPE, 1500.0)
F = np.ones((N_SHOTS, 1, NT))
SOURCES = np.full((N_SHOTS, 1, 2), 3)
RECEIVERS = np.full((N_SHOTS, 3, 2), 5)
FIELD = np.ones((N_SHOTS, *SHAPE))
GOOD = dict(
    v=V, grid_spacing=5.0, dt=1e-3, source_amplitudes=F, source_locations=SOURCES, receiver_locations=RECEIVERS,
    pml_width=3, pml_freq=25.0,
)  # fmt: skip
LEFT_OUT = object()
NO_SOURCES = dict(source_amplitudes=LEFT_OUT, source_locations=LEFT_OUT)
EMPTY = dict(NO_SOURCES, receiver_locations=LEFT_OUT)


def call(**changes):
    arguments = {name: x for name, x in {**GOOD, **changes}.items() if x is not LEFT_OUT}
    return jaxwave.scalar(arguments.pop("v"), arguments.pop("grid_spacing"), arguments.pop("dt"), **arguments)


def changed(x, index, value):
    x = np.array(x)
    x[index] = value
    return x


@pytest.fixture
def nothing_runs(monkeypatch):
    def run(*_):
        raise AssertionError("the propagator ran")

    monkeypatch.setattr(simulation, "propagate", run)


def test_the_arguments_that_the_others_are_changed_from_are_good():
    assert call().receiver_amplitudes.shape == (N_SHOTS, 3, NT)


def test_the_fixture_notices_a_run(nothing_runs):
    with pytest.raises(AssertionError, match="the propagator ran"):
        call()


BAD = {
    # arrays: shape
    "v: one dimension too few": (dict(v=V[0]), ValueError, "`v` must have 2 dimensions, or 3", "got shape (14,)"),
    "v: two too many": (dict(v=V[None, None]), ValueError, "`v` must have 2 dimensions, or 3", "(1, 1, 12, 14)"),
    "v: models and shots": (dict(v=np.full((3, *SHAPE), 1500.0)), ValueError, "`v` has 3 models", "2 shots", "one per"),
    "v: no cells": (dict(EMPTY, v=np.ones((0, 5)), nt=3), ValueError, "`v` must have at least one cell", "(0, 5)"),
    "v: 4-D": (dict(EMPTY, v=np.ones((2,) * 5), nt=3), ValueError, "1, 2 or 3 dimensions", "(2, 2, 2, 2, 2)"),
    "v: ragged": (dict(v=[[1.0, 2.0], [3.0]]), ValueError, "`v` cannot be made into an array", "same length"),
    "amplitudes: rank": (dict(source_amplitudes=F[0]), ValueError, "[shot, source, nt]", "got shape (1, 8)"),
    "amplitudes: no samples": (dict(source_amplitudes=F[..., :0]), ValueError, "at least one time sample"),
    "amplitudes: sources": (
        dict(source_amplitudes=np.ones((2, 3, NT))), ValueError, "(2, 3, 8)", "(2, 1, 2)", "agree in shots and sources",
    ),
    "amplitudes: shots": (dict(source_amplitudes=np.ones((3, 1, NT))), ValueError, "(3, 1, 8)", "agree in shots"),
    "receivers: shots": (
        dict(receiver_locations=RECEIVERS[:1]), ValueError, "number of shots", "source_amplitudes has 2",
        "receiver_locations has 1",
    ),
    "receivers: rank": (dict(receiver_locations=RECEIVERS[0]), ValueError, "[shot, point, axis]", "got shape (3, 2)"),
    "receivers: coordinates": (
        dict(receiver_locations=np.ones((2, 3, 3), int)), ValueError, "`receiver_locations` must have 2 coordinates",
        "(2, 3, 3)",
    ),
    "sources: coordinates": (
        dict(source_locations=np.ones((2, 1, 3), int)), ValueError, "locations have 3 coordinates", "(12, 14)",
    ),
    "sources: 4 coordinates": (
        dict(source_locations=np.ones((2, 1, 4), int)), ValueError, "1, 2 or 3 dimensions", "4 coordinates",
    ),
    "receivers: ragged": (dict(receiver_locations=[[[1, 2], [3]]]), ValueError, "`receiver_locations` cannot be"),
    "wavefield: cells": (
        dict(wavefield_0=FIELD[:, :5]), ValueError, "`wavefield_0` must have shape (2, 12, 14)", "(2, 18, 20)",
        "got (2, 5, 14)",
    ),
    "wavefield: rank": (dict(wavefield_m1=V), ValueError, "`wavefield_m1` must have 3 dimensions", "got shape (12,"),
    "wavefield: shots": (dict(wavefield_0=FIELD[:1]), ValueError, "number of shots", "wavefield_0 has 1"),
    "no shots": (
        dict(source_amplitudes=F[:0], source_locations=SOURCES[:0], receiver_locations=RECEIVERS[:0]), ValueError,
        "at least one shot", "got none",
    ),
    # arrays: dtype
    "v: integers": (dict(v=V.astype(int)), TypeError, "`v` must be a float32 or", "int64", "v.astype("),
    "v: complex": (dict(v=V + 0j), TypeError, "`v` must be a float32 or float64", "complex128"),
    "v: bool": (dict(v=V > 0), TypeError, "`v` must be a float32 or float64", "bool"),
    "v: float16": (dict(v=V.astype(np.float16)), TypeError, "`v` must be a float32 or float64", "float16"),
    "v: None": (dict(v=None), TypeError, "`v` must be a float32 or float64", "object"),
    "v: file name": (dict(v="marmousi.npy"), TypeError, "`v` must be a float32 or float64", "<U12"),
    "amplitudes: integers": (dict(source_amplitudes=F.astype(int)), TypeError, "`source_amplitudes` must be", "int64"),
    "amplitudes: complex": (dict(source_amplitudes=F + 0j), TypeError, "`source_amplitudes` must be", "complex128"),
    "amplitudes: bool": (dict(source_amplitudes=F > 0), TypeError, "`source_amplitudes` must be", "bool"),
    "wavefield: integers": (dict(wavefield_0=FIELD.astype(int)), TypeError, "`wavefield_0` must be", "int64"),
    "mixed: amplitudes": (
        dict(source_amplitudes=F.astype(np.float32)), TypeError, "mixed dtypes", "v is float64",
        "source_amplitudes is float32", "one dtype",
    ),
    "mixed: wavefield": (dict(wavefield_m1=FIELD.astype(np.float32)), TypeError, "mixed", "wavefield_m1 is float32"),
    "receivers: float": (
        dict(receiver_locations=RECEIVERS + 0.0), TypeError, "`receiver_locations` must be an integer array", "float64",
        ".astype(int)",
    ),
    "sources: bool": (dict(source_locations=SOURCES > 0), TypeError, "`source_locations` must be an integer", "bool"),
    # partners
    "amplitudes without locations": (
        dict(source_locations=LEFT_OUT), ValueError, "`source_amplitudes` is given without `source_locations`", "both",
    ),
    "locations without amplitudes": (
        dict(source_amplitudes=LEFT_OUT), ValueError, "`source_locations` is given without `source_amplitudes`", "both",
    ),
    "no nt": (dict(NO_SOURCES), ValueError, "`nt`", "is required when there are no source_amplitudes"),
    "nt contradicts": (dict(nt=9), ValueError, "`nt`=9 contradicts", "8 time samples", "leave nt out"),
    "nt: zero": (dict(NO_SOURCES, nt=0), ValueError, "`nt` must be at least 1", "got 0"),
    "nt: float": (dict(NO_SOURCES, nt=8.0), TypeError, "`nt` must be an integer", "got 8.0"),
    "nt: bool": (dict(NO_SOURCES, nt=True), TypeError, "`nt` must be an integer", "got True"),
    # values
    "receiver outside": (
        dict(receiver_locations=changed(RECEIVERS, (1, 2, 1), 14)), ValueError,
        "`receiver_locations` of shot 1, index 2 is [5, 14]", "[0, 0] to [11, 13]", "1 such", "IGNORE_LOCATION",
    ),
    "source outside": (
        dict(source_locations=changed(SOURCES, (1, 0, 0), -1)), ValueError,
        "`source_locations` of shot 1, index 0 is [-1, 3]", "[0, 0] to [11, 13]",
    ),
    "half ignored": (
        dict(source_locations=changed(SOURCES, (0, 0, 1), IGNORE_LOCATION)), ValueError, "shot 0, index 0",
        "in every coordinate",
    ),
    "outside the origin's region": (
        dict(origin=(2, 3), wavefield_0=np.ones((2, 10, 9)), receiver_locations=changed(RECEIVERS, (0, 1), (6, 6))),
        ValueError, "`receiver_locations` of shot 0, index 1 is [6, 6]", "[2, 3] to [5, 5]",
    ),
    **{
        f"v: {value}": (
            dict(v=changed(V, (2, 3), value)), ValueError, "`v` must be finite and positive", f"got {value}",
            "at index (2, 3)", "1 such",
        )
        for value in (np.nan, np.inf, 0.0, -1.0)
    },
    "amplitudes: NaN": (
        dict(source_amplitudes=changed(F, (1, 0, 3), np.nan)), ValueError, "`source_amplitudes` must be finite",
        "got nan", "(1, 0, 3)",
    ),
    "amplitudes: infinite": (
        dict(source_amplitudes=changed(F, (0, 0, 7), -np.inf)), ValueError, "must be finite", "got -inf", "(0, 0, 7)",
    ),
    **{
        f"{name}: {value}": (dict({name: value}), ValueError, f"`{name}` must be positive and finite", f"got {value:g}")
        for name in ("grid_spacing", "dt", "pml_freq", "max_vel")
        for value in (0.0, -2.0, np.nan, np.inf)
    },
    **{
        f"{name}: {value!r}": (dict({name: value}), TypeError, f"`{name}` must be a number", f"got {value!r}")
        for name in ("grid_spacing", "dt", "pml_freq", "max_vel")
        for value in ("5", 1j, True)
    },
    "dt: None": (dict(dt=None), TypeError, "`dt` must be a number", "got None"),
    "dt: array": (dict(dt=np.ones(2)), TypeError, "`dt` must be a number", "got array"),
    "spacing: one of them": (dict(grid_spacing=(5.0, -1.0)), ValueError, "`grid_spacing` must be positive", "got -1"),
    "spacing: count": (dict(grid_spacing=(5.0,) * 3), ValueError, "`grid_spacing` must be a number or 2", "got 3"),
    **{
        f"accuracy: {value!r}": (dict(accuracy=value), ValueError, "`accuracy` must be one of (2, 4, 6", repr(value))
        for value in (3, 0, 10, "4", None)
    },
    "pml_width: count": (dict(pml_width=(1, 2, 3)), ValueError, "`pml_width` must be one number or 4", "got 3"),
    "pml_width: nested": (dict(pml_width=[[1, 2], [3, 4]]), ValueError, "`pml_width` must be one number or 4", "got 2"),
    "pml_width: negative": (dict(pml_width=-1), ValueError, "`pml_width` must be at least 0", "got -1"),
    "pml_width: one negative": (dict(pml_width=(1, 1, -2, 1)), ValueError, "`pml_width` must be at least 0", "got -2"),
    "pml_width: float": (dict(pml_width=3.5), TypeError, "`pml_width` must be an integer", "got 3.5"),
    "pml_width: None": (dict(pml_width=None), TypeError, "`pml_width` must be an integer", "got None"),
    "interval: zero": (dict(model_gradient_sampling_interval=0), ValueError, "must be at least 1", "got 0"),
    "interval: float": (dict(model_gradient_sampling_interval=2.0), TypeError, "must be an integer", "got 2.0"),
    **{
        f"{name}: {value!r}": (dict({name: value}), ValueError, f"`{name}` must be a number from 0", f"got {value!r}")
        for name in ("freq_taper_frac", "time_pad_frac")
        for value in (1.5, -0.1, np.nan, "a")
    },
    "time_taper": (dict(time_taper=0.3), TypeError, "`time_taper` must be True or False", "got 0.3"),
    # regions
    "survey_pad: negative": (dict(survey_pad=-1), ValueError, "`survey_pad` must be at least 0", "got -1"),
    "survey_pad: count": (dict(survey_pad=(1, None)), ValueError, "`survey_pad` must be one number or 4", "got 2"),
    "survey_pad: float": (dict(survey_pad=1.5), TypeError, "`survey_pad` must be an integer", "got 1.5"),
    "survey_pad and origin": (
        dict(survey_pad=2, origin=(0, 0), wavefield_0=FIELD), ValueError, "`survey_pad` and `origin`", "give one",
    ),
    "origin: no wavefields": (dict(origin=(0, 0)), ValueError, "`origin` places initial wavefields", "none are given"),
    "origin: count": (dict(origin=(0,), wavefield_0=FIELD), ValueError, "`origin` must be 2 cell numbers", "got (0,)"),
    "origin: a number": (dict(origin=3, wavefield_0=FIELD), ValueError, "`origin` must be 2 cell numbers", "got 3"),
    "origin: float": (dict(origin=(0.0, 1.0), wavefield_0=FIELD), TypeError, "`origin` must be an integer", "got 0.0"),
    "origin: negative": (dict(origin=(-1, 0), wavefield_0=FIELD), ValueError, "`origin` must be at least 0", "got -1"),
    "origin: beyond": (
        dict(origin=(3, 8), wavefield_0=FIELD), ValueError, "`origin`=[3, 8]", "to [9, 16] of a model of [12, 14]",
    ),
    "origin: nothing but layers": (
        dict(origin=(0, 0), wavefield_0=np.ones((2, 6, 14))), ValueError, "`origin`=[0, 0]", "(6, 14)", "[3, 3, 3, 3]",
    ),
    # storage
    "mode: unknown": (dict(storage_mode="gpu"), ValueError, "storage_mode='gpu' is unknown", "'device', 'cpu', 'disk'"),
    "mode: None": (dict(storage_mode=None), TypeError, "storage_mode must be a name or a storage object", "got None"),
    "codec: unknown": (dict(storage_compression="zip"), ValueError, "storage_compression='zip' is", "'int8', 'bf16'"),
    "codec: a number": (dict(storage_compression=7), TypeError, "storage_compression must be a bool", "got 7"),
    "codec with an object": (
        dict(storage_mode=HostStorage(), storage_compression="bf16"), ValueError,
        "`storage_compression` is given together", "HostStorage(codec=Int8())",
    ),
    "path: None": (dict(storage_mode="disk", storage_path=None), TypeError, "`storage_path` must be", "got None"),
    # callbacks
    "forward callback": (dict(forward_callback=3), TypeError, "`forward_callback` must be a function", "got 3"),
    "backward callback": (dict(backward_callback="f"), TypeError, "`backward_callback` must be a function", "got 'f'"),
    "callback frequency": (dict(callback_frequency=0), ValueError, "`callback_frequency` must be at least 1", "got 0"),
    "callback frequency: float": (dict(callback_frequency=1.5), TypeError, "`callback_frequency` must be an integer"),
    # states
    "state: not one": (dict(initial_state=FIELD), TypeError, "`initial_state` must be the state", "got ndarray"),
    "state: a pair": (dict(initial_state=(FIELD, FIELD)), TypeError, "`initial_state` must be the state", "got tuple"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_raise(case, nothing_runs):
    changes, error, *parts = BAD[case]
    with pytest.raises(error) as raised:
        call(**changes)
    for part in parts:
        assert part in str(raised.value)


# What must be known when the program is built, and what the message says of it.
TRACED = {
    "v": (V, "`max_vel` is required where the values of `v` are not known"),
    "dt": (1e-3, "`dt` must be a number, not a traced value"),
    "grid_spacing": (5.0, "`grid_spacing` must be a number, not a traced value"),
    "pml_freq": (25.0, "`pml_freq` must be a number, not a traced value"),
    "max_vel": (1600.0, "`max_vel` must be a number, not a traced value"),
    "accuracy": (4, "`accuracy` must be a number, not a traced value"),
    "pml_width": ((1, 2, 3, 4), "`pml_width` must be an integer"),
    "survey_pad": (3, "`survey_pad` must be an integer"),
    "nt": (NT, "`nt` must be an integer"),
    "model_gradient_sampling_interval": (2, "`model_gradient_sampling_interval` must be an integer"),
    "freq_taper_frac": (0.1, "`freq_taper_frac` must be a number from 0 to 1"),
    "time_taper": (True, "`time_taper` must be True or False"),
}


@pytest.mark.parametrize("name", TRACED)
def test_traced_values_of_static_arguments_raise(name, nothing_runs):
    value, message = TRACED[name]
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        jax.jit(lambda x: call(**{name: x}).wavefield_0)(value)


def test_derivatives_of_static_arguments_raise(nothing_runs):
    with pytest.raises(TypeError, match="`dt` must be a number, not a traced value"):
        jax.grad(lambda dt: call(dt=dt).wavefield_0.sum())(1e-3)


def test_survey_pad_needs_known_locations(nothing_runs):
    with pytest.raises(ValueError, match=r"`survey_pad` needs locations whose values are known.*close over them"):
        jax.jit(lambda x: call(receiver_locations=x, survey_pad=2).wavefield_0)(RECEIVERS)


@pytest.mark.parametrize("name", ["v", "source_amplitudes"])
def test_values_are_checked_while_they_are_differentiated(name, nothing_runs):
    bad = jnp.asarray(GOOD[name]).at[0, 0].set(jnp.nan)
    with pytest.raises(ValueError, match=f"`{name}` must be finite"):
        jax.grad(lambda x: call(**{name: x}).wavefield_0.sum())(bad)


def test_what_a_jitted_function_closes_over_is_known():
    # No `max_vel`, no `pml_freq` and a `survey_pad`: all of them need values.
    f = F * np.sin(np.arange(NT))
    for wavelet in (f, jnp.asarray(f)):

        def run(scale, f=wavelet):
            return scale * call(source_amplitudes=f, pml_freq=None, survey_pad=2).receiver_amplitudes

        # Two programs' rounding.
        np.testing.assert_allclose(jax.jit(run)(2.0), run(2.0), rtol=1e-12, atol=1e-15)
    with pytest.raises(ValueError, match="`v` must be finite and positive; got -1500"):
        jax.jit(lambda x: x * call(v=-V).wavefield_0)(2.0)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64])
def test_integers_of_any_width_are_locations(dtype):
    # Cell numbers of this grid, with its layers, do not fit into 8 bits.
    v, u_0 = np.full((300, 4), 1500.0), np.random.default_rng(0).standard_normal((1, 300, 4))
    places = np.array([[[120, 3], [0, 0]]], dtype)

    def run(places):
        return jaxwave.scalar(v, 5.0, 1e-3, nt=1, wavefield_0=u_0, receiver_locations=places, pml_width=(90, 0, 0, 0))

    assert np.array_equal(run(places).receiver_amplitudes[0, :, 0], u_0[0, [120, 0], [3, 0]])
    assert np.array_equal(run(jnp.asarray(places)).receiver_amplitudes[0, :, 0], u_0[0, [120, 0], [3, 0]])


# ---- states of other runs ----


def state_of(**changes):
    arguments = dict(pml_width=3, nt=1, wavefield_0=FIELD) | changes
    return jaxwave.scalar(arguments.pop("v", V), 5.0, 1e-3, **arguments).state


def test_state_of_another_grid_raises():
    state = state_of(pml_width=4)
    with pytest.raises(ValueError, match=r"`initial_state` belongs to another grid.*\(2, 18, 20\).*got \(2, 20, 22\)"):
        call(initial_state=state)


def test_state_of_other_layers_raises():
    # The wavefields fit, the memory of the layers does not.
    state = state_of(v=np.full((14, 14), 1500.0), pml_width=(2, 2, 3, 3), wavefield_0=np.ones((2, 14, 14)))
    with pytest.raises(ValueError, match=r"`initial_state` belongs to another grid.*memory variables have shapes"):
        call(initial_state=state)


def test_state_of_another_number_of_shots_raises():
    with pytest.raises(ValueError, match=r"number of shots.*wavefield_0 has 1"):
        call(initial_state=state_of(wavefield_0=FIELD[:1]))


def test_state_of_another_dtype_raises():
    single = jax.tree.map(lambda x: x.astype(np.float32), state_of())
    with pytest.raises(TypeError, match=r"mixed dtypes.*wavefield_0 is float32"):
        call(initial_state=single)
    with pytest.raises(TypeError, match=r"mixed dtypes.*a memory variable of initial_state is float32"):
        call(initial_state=state_of()._replace(psi=single.psi))


def test_state_and_wavefields_exclude_each_other():
    with pytest.raises(ValueError, match="`initial_state` and the initial wavefields exclude each other; give one"):
        call(initial_state=state_of(), wavefield_0=FIELD)


# ---- directories ----


def test_missing_directory_raises(tmp_path, nothing_runs):
    missing = tmp_path / "missing"
    for path in (missing, str(missing)):
        with pytest.raises(StoragePathError, match=r"storage_path=.*missing.*must be an existing directory"):
            call(storage_mode="disk", storage_path=path)
    # It is not looked at where nothing goes to disk.
    with pytest.raises(AssertionError, match="the propagator ran"):
        call(storage_mode="cpu", storage_path=missing)


def test_file_in_place_of_a_directory_raises(tmp_path, nothing_runs):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StoragePathError, match=r"storage_path=.*must be an existing directory in which you may write"):
        call(storage_mode="disk", storage_path=file)
