"""Every message that gives a remedy: the call that gets it fails with these words, and the remedied calls run."""

import re
import warnings

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxwave
from jaxwave import IGNORE_LOCATION, Hicks, inversion, io, resample, storage, wavelets
from jaxwave._results import WaveState

SHAPE = (12, 14)
V = np.full(SHAPE, 1500.0)
F = np.ones((2, 1, 8))
SOURCES, RECEIVERS = np.full((2, 1, 2), 3), np.full((2, 3, 2), 5)
FIELD = np.ones((2, *SHAPE))
SCALAR = dict(
    v=V, grid_spacing=5.0, dt=1e-3, source_amplitudes=F, source_locations=SOURCES, receiver_locations=RECEIVERS,
    pml_width=2, pml_freq=25.0,
)  # fmt: skip
ACOUSTIC = dict(v=V, rho=V, grid_spacing=5.0, dt=1e-3, nt=4, pml_width=2, pml_freq=25.0)
ELASTIC = dict(
    lamb=np.full(SHAPE, 4e9), mu=np.full(SHAPE, 2e9), buoyancy=np.full(SHAPE, 5e-4), grid_spacing=5.0, dt=5e-4,
    pml_width=2, pml_freq=25.0,
)  # fmt: skip
NO_SOURCES = dict(source_amplitudes=None, source_locations=None, receiver_locations=None)


def of(function, defaults):
    """Calls of a propagator with some arguments changed, that check and trace but do not run it."""

    def with_changes(**changes):
        def call():
            return jax.eval_shape(lambda: function(**defaults | changes))

        return call

    return with_changes


scalar, acoustic, elastic = (
    of(function, defaults)
    for function, defaults in ((jaxwave.scalar, SCALAR), (jaxwave.acoustic, ACOUSTIC), (jaxwave.elastic, ELASTIC))
)


def hicks(locations=((5.5, 6.5),), shape=SHAPE, **options):
    return lambda: Hicks(np.array([locations], float), shape, **options)


def gradient(**changes):
    """A gradient with respect to the model, traced and not run."""

    def misfit(v):
        return jaxwave.scalar(**SCALAR | {"v": v, "max_vel": 1500.0} | changes).receiver_amplitudes.sum()

    return lambda: jax.eval_shape(jax.grad(misfit), V)


def masked(x, value):
    return np.ma.masked_equal(x, value)


def changed(x, index, value):
    x = np.array(x)
    x[index] = value
    return x


CELLS = SOURCES + 2
METRES = CELLS * 5.0 - 1e-9  # which `.astype(int)` would make the cell before
PLACED = Hicks(METRES / 5.0, SHAPE)
EARLIER = WaveState(FIELD, FIELD, (), ())
FLUID = changed(ELASTIC["mu"], np.s_[:6], 0.0)
SHEAR = dict(source_amplitudes_xy=F, source_locations_xy=SOURCES)

# Name: a call that fails, its error, words of its message, and calls that follow the advice.
ARRAYS = {
    "integers": (scalar(v=V.astype(int)), TypeError, "v.astype(np.float32)", scalar(v=V.astype(int).astype(float))),
    "a list of integers": (
        scalar(v=V.astype(int).tolist(), source_amplitudes=F.astype("f")), TypeError,
        "np.asarray(v, np.float32) of a list",
        scalar(v=np.asarray(V.astype(int).tolist(), np.float32), source_amplitudes=F.astype("f")),
    ),
    "half precision": (
        lambda: inversion.gaussian_smooth(V.astype(np.float16), 1.0), TypeError, "model.astype(np.float32)",
        lambda: inversion.gaussian_smooth(V.astype(np.float16).astype(np.float32), 1.0),
    ),
    "complex": (
        scalar(v=V + 1j), TypeError, "its real part, v.real, or its magnitude, abs(v)", scalar(v=(V + 1j).real),
        scalar(v=abs(V + 1j)),
    ),
    "missing": (
        scalar(v=np.where(V == 1500, V, None)), TypeError, "np.array(v.tolist(), np.float32)",
        scalar(v=np.array(np.where(V == 1500, V, None).tolist(), np.float32), source_amplitudes=F.astype(np.float32)),
    ),
    "ragged": (scalar(v=[[1.0, 2.0], [3.0]]), ValueError, "all its parts the same length", scalar(v=V.tolist())),
    "ragged amplitudes": (
        scalar(source_amplitudes=[[[1.0] * 8], [[1.0] * 8] * 2]), ValueError, "amplitudes with zeros",
        scalar(
            source_amplitudes=[[[1.0] * 8, [0.0] * 8], [[1.0] * 8] * 2],
            source_locations=[[[3, 3], [IGNORE_LOCATION] * 2], [[3, 3], [3, 4]]],
        ),
    ),
    "masked": (scalar(v=masked(changed(V, 0, 9e9), 9e9)), ValueError, "v.filled(value)",
               scalar(v=masked(changed(V, 0, 9e9), 9e9).filled(1500.0))),
    "mixed": (
        scalar(source_amplitudes=F.astype("f")), TypeError, "Convert them to one dtype",
        scalar(source_amplitudes=F.astype("f").astype(float)),
    ),
    "traced lists": (
        lambda: jax.jit(lambda x: inversion.correlation([x], [x]))(1.0), TypeError, "compute it outside",
        lambda: inversion.correlation([1.0], [1.0]),
    ),
    "models": (
        scalar(v=np.stack([V] * 3)), ValueError, "one model, or one per shot", scalar(v=V), scalar(v=np.stack([V] * 2)),
    ),
    "records": (
        lambda: inversion.l2_misfit(np.ones((1, 0)), np.ones((1, 0))), ValueError, "at least one sample",
        lambda: inversion.l2_misfit(np.ones((1, 1)), np.ones((1, 1))),
    ),
    "a record without time": (
        lambda: inversion.lowpass(1.0, 20.0, 0.004), ValueError, "shape [..., nt]",
        lambda: inversion.lowpass([1.0], 20.0, 0.004),
    ),
    "smoothing": (
        lambda: inversion.gaussian_smooth(V, (1.0,) * 3), ValueError, "one number or 2",
        lambda: inversion.gaussian_smooth(V, (1.0,) * 2), lambda: inversion.gaussian_smooth(V, 1.0),
    ),
}  # fmt: skip

SURVEY = {
    "metres": (
        scalar(source_locations=METRES), TypeError, "np.rint(np.divide(source_locations, grid_spacing)).astype(int)",
        lambda: np.testing.assert_array_equal(np.rint(np.divide(METRES, 5.0)).astype(int), CELLS),
        scalar(source_locations=np.rint(np.divide(METRES.tolist(), 5.0)).astype(int)),
        scalar(source_locations=np.rint((CELLS - 1e-9).tolist()).astype(int)),
        scalar(source_locations=PLACED.cells, source_amplitudes=PLACED.source(F)),
    ),
    "metres, JAX": (
        scalar(source_locations=jnp.asarray(METRES)), TypeError, "jnp.rint(jnp.divide(source_locations, grid_spacing))",
        scalar(source_locations=jnp.rint(jnp.divide(jnp.asarray(METRES), 5.0)).astype(int)),
    ),
    "a mask": (
        scalar(receiver_locations=V > 0), TypeError, "np.argwhere(receiver_locations)[None]",
        scalar(**NO_SOURCES | dict(nt=3, receiver_locations=np.argwhere(V > 0)[None])),
    ),
    "empty": (
        scalar(**NO_SOURCES | dict(nt=3, receiver_locations=[[]])), ValueError, "leave it out",
        scalar(**NO_SOURCES, nt=3), scalar(**NO_SOURCES | dict(nt=3, receiver_locations=np.zeros((1, 0, 2), int))),
    ),
    "ragged": (
        scalar(receiver_locations=[[[2, 5], [2, 6]], [[2, 8]]]), ValueError, "jaxwave.IGNORE_LOCATION",
        scalar(receiver_locations=[[[2, 5], [2, 6]], [[2, 8], [IGNORE_LOCATION, IGNORE_LOCATION]]]),
    ),
    "masked": (
        scalar(receiver_locations=masked(changed(RECEIVERS, (0, 0), 9), 9)), ValueError,
        "filled(jaxwave.IGNORE_LOCATION)",
        scalar(receiver_locations=masked(changed(RECEIVERS, (0, 0), 9), 9).filled(IGNORE_LOCATION)),
    ),
    "outside": (
        scalar(receiver_locations=changed(RECEIVERS, (1, 2), 14)), ValueError, "in every coordinate to skip one",
        scalar(receiver_locations=changed(RECEIVERS, (1, 2), IGNORE_LOCATION)),
    ),
    "partners": (
        scalar(source_locations=None), ValueError, "give both or neither", scalar(),
        scalar(source_locations=None, source_amplitudes=None, nt=8),
    ),
    "kinds": (
        acoustic(receivers={"q": RECEIVERS}), ValueError, "use 'p', 'y', 'x'",
        *(acoustic(receivers={kind: RECEIVERS}) for kind in "pyx"),
    ),
    "twice": (
        acoustic(receivers={"p": RECEIVERS}, receiver_locations_p=RECEIVERS), ValueError, "give it once",
        acoustic(receivers={"p": RECEIVERS}), acoustic(receiver_locations_p=RECEIVERS),
    ),
    "pairs": (
        acoustic(sources={"p": F}, nt=None), TypeError, "a pair (amplitudes, locations)",
        acoustic(sources={"p": (F, SOURCES)}, nt=None),
    ),
    "shear in a fluid": (
        elastic(mu=FLUID, **SHEAR), ValueError,
        "Move them into the solid, or use kinds that a fluid has: 'p' or forces",
        elastic(mu=FLUID, source_amplitudes_xy=F, source_locations_xy=SOURCES + 5),
        elastic(mu=FLUID, source_amplitudes_p=F, source_locations_p=SOURCES),
        elastic(mu=FLUID, source_amplitudes_y=F, source_locations_y=SOURCES),
    ),
    "steps": (
        scalar(**NO_SOURCES), ValueError, "`nt`, the number of time steps, is required", scalar(**NO_SOURCES, nt=3),
    ),
    "steps twice": (scalar(nt=9), ValueError, "leave nt out", scalar()),
    "survey_pad, traced": (
        lambda: jax.jit(lambda x: jaxwave.scalar(**SCALAR | dict(receiver_locations=x, survey_pad=2))[0])(RECEIVERS),
        ValueError, "close over them instead of passing them through jit, or leave survey_pad out",
        scalar(survey_pad=2),
        lambda: jax.eval_shape(lambda x: jaxwave.scalar(**SCALAR | dict(receiver_locations=x))[0], RECEIVERS),
    ),
    "region": (
        scalar(survey_pad=2, origin=(0, 0), wavefield_0=FIELD), ValueError, "give one of them",
        scalar(survey_pad=2), scalar(origin=(0, 0), wavefield_0=np.ones((2, 12, 14))),
    ),
    "state and wavefields": (
        scalar(initial_state=EARLIER, wavefield_0=FIELD), ValueError, "give one of them", scalar(wavefield_0=FIELD),
    ),
    "state": (
        scalar(initial_state=FIELD), TypeError, "the state of an earlier result, e.g. `result.state`",
        lambda: jax.eval_shape(
            lambda: jaxwave.scalar(**SCALAR, initial_state=jaxwave.scalar(**SCALAR).state)
        ),
    ),
}  # fmt: skip

GRID = {
    "max_vel": (
        lambda: jax.eval_shape(lambda v: jaxwave.scalar(**SCALAR | {"v": v}), V), ValueError, "Pass the largest speed",
        lambda: jax.eval_shape(lambda v: jaxwave.scalar(**SCALAR | {"v": v, "max_vel": 1500.0}), V),
    ),
    "layer and face": (
        scalar(boundary="free", pml_width=[2, 2, 2, 2]), ValueError, "change one of them, to 'pml' or to 0",
        scalar(boundary="pml", pml_width=[2, 2, 2, 2]), scalar(boundary="free", pml_width=0),
    ),
    "no layer": (
        scalar(boundary="pml", pml_width=[0, 2, 2, 2]), ValueError, "give it at least 1",
        scalar(boundary="pml", pml_width=[1, 2, 2, 2]),
    ),
    "a word": (
        scalar(boundary="hard"), ValueError, "each must be one of 'pml', 'free', 'rigid', 'periodic', or None",
        *(scalar(boundary=word) for word in ("pml", "free", "rigid", "periodic", None)),
    ),
    "words": (
        scalar(boundary=["free", "pml"]), ValueError, "one word or 4 of them", scalar(boundary="free"),
        scalar(boundary=["free", "pml", "pml", "pml"]),
    ),
    "periodic": (
        scalar(boundary=["periodic", None, None, None]), ValueError, "both must be 'periodic', or none",
        scalar(boundary=["periodic", "periodic", None, None]), scalar(boundary=None),
    ),
    "room": (
        scalar(**NO_SOURCES | dict(v=V[:3], boundary="free", nt=2)), ValueError,
        "use more cells, a lower accuracy, or a layer there (`pml_width`)",
        scalar(**NO_SOURCES | dict(v=V[:4], boundary="free", nt=2)),
        scalar(**NO_SOURCES | dict(v=V[:3], boundary="free", nt=2, accuracy=2)),
        scalar(**NO_SOURCES | dict(v=V[:3], boundary=["pml", "pml", "free", "free"], pml_width=[2, 2, 0, 0], nt=2)),
    ),
    "origin": (
        scalar(**NO_SOURCES | dict(
            boundary=["free", "pml", "pml", "pml"], origin=(2, 2), wavefield_0=np.ones((2, 9, 12)), nt=2)), ValueError,
        "extend them to that edge, or give the face a layer (`pml_width`)",
        scalar(**NO_SOURCES | dict(
            boundary=["free", "pml", "pml", "pml"], origin=(0, 2), wavefield_0=np.ones((2, 9, 12)), nt=2)),
        scalar(**NO_SOURCES | dict(boundary="pml", origin=(2, 2), wavefield_0=np.ones((2, 9, 12)), nt=2)),
    ),
    "spacing": (
        scalar(grid_spacing=(5.0,) * 3), ValueError, "a number or 2 numbers", scalar(grid_spacing=(5.0, 5.0)),
    ),
    "accuracy": (scalar(accuracy=3), ValueError, "(2, 4, 6, 8)", *(scalar(accuracy=n) for n in (2, 4, 6, 8))),
    "vacuum": (
        elastic(nt=2, buoyancy=changed(ELASTIC["buoyancy"], 0, 0.0)), ValueError, "there all three are 0",
        elastic(nt=2, **{k: changed(ELASTIC[k], 0, 0.0) for k in ("lamb", "mu", "buoyancy")}),
    ),
    "speed in vacuum": (
        acoustic(v=changed(V, 0, 0.0)), ValueError, "or 0 where `rho` is 0",
        acoustic(v=changed(V, 0, 0.0), rho=changed(V, 0, 0.0)), acoustic(v=V),
    ),
}  # fmt: skip


def power(v):
    return (jaxwave.scalar(**SCALAR | {"v": v, "max_vel": 1500.0}).receiver_amplitudes ** 2).sum()


STORAGE = {
    "a mode": (
        scalar(storage_mode="gpu"), ValueError, "'device', 'cpu', 'disk', 'recompute', 'auto', 'none'",
        *(scalar(storage_mode=mode) for mode in ("device", "cpu", "disk", "recompute", "none")),
        scalar(storage_mode=storage.HostStorage()),
    ),
    "a codec": (
        scalar(storage_compression="zip"), ValueError, "'int8', 'bf16', 'f16', 'int4', 'int16' or a codec object",
        *(scalar(storage_compression=c) for c in (False, True, "int8", "bf16", "f16", "int4", "int16", storage.Int8())),
    ),
    "two codecs": (
        scalar(storage_mode=storage.HostStorage(), storage_compression="int8"), ValueError, "HostStorage(codec=Int8())",
        scalar(storage_mode=storage.HostStorage(codec=storage.Int8())),
    ),
    "none": (
        gradient(storage_mode="none"), ValueError, 'use the storage mode "device", "cpu", "disk" or "recompute"',
        *(gradient(storage_mode=mode) for mode in ("device", "cpu", "disk", "recompute")),
    ),
    "blocks": (
        lambda: storage.Int8(6), ValueError, "a positive multiple of 4", lambda: storage.Int8(8),
    ),
    "memory and segments": (
        lambda: storage.Recompute(memory=100, segments=3), ValueError, "give it or them",
        lambda: storage.Recompute(memory=100), lambda: storage.Recompute(segments=3),
    ),
    "states elsewhere": (
        lambda: storage.Recompute(slots=2, checkpoints=storage.HostStorage()), ValueError,
        "give `segments` alone with checkpoints=HostStorage",
        lambda: storage.Recompute(segments=2, checkpoints=storage.HostStorage()),
    ),
    "memory": (
        gradient(storage_mode=storage.Recompute(memory=100)), ValueError,
        "(`Recompute(checkpoints=HostStorage())`, which needs no `memory`), or propagate fewer shots",
        gradient(storage_mode=storage.Recompute(checkpoints=storage.HostStorage())),
        gradient(storage_mode=storage.Recompute(memory=10**6)),
    ),
    "reverse": (
        scalar(storage_mode=storage.Reverse(), model_gradient_sampling_interval=2), ValueError,
        "Use Recompute, or store the terms",
        *(scalar(storage_mode=s, model_gradient_sampling_interval=2) for s in (storage.Recompute(), "device", "cpu")),
        scalar(storage_mode=storage.Reverse()),
    ),
    "fourier": (
        scalar(storage_mode=storage.Fourier((50.0, 300.0)), model_gradient_sampling_interval=2), ValueError,
        "leave it out, or use a smaller model_gradient_sampling_interval",
        scalar(storage_mode=storage.Fourier((50.0,)), model_gradient_sampling_interval=2),
        scalar(storage_mode=storage.Fourier((50.0, 300.0))),
    ),
    "directory": (
        scalar(storage_mode="disk", storage_path="/missing/directory"), storage.StoragePathError,
        "an existing directory in which you may write", scalar(storage_mode="disk", storage_path="."),
    ),
    "reverse over a derivative": (
        lambda: jax.eval_shape(jax.grad(lambda v: (jax.grad(power)(v) ** 2).sum()), V), NotImplementedError,
        "jax.jvp(jax.grad(f), (v,), (dv,))", lambda: jax.eval_shape(lambda v: jax.jvp(jax.grad(power), (v,), (V,)), V),
    ),
    "plan": (
        lambda: jaxwave.plan(V, 5.0, 1e-3, storage_mode="auto"), TypeError, "jaxwave.storage.Auto",
    ),
    "propagator": (
        lambda: jaxwave.estimate_memory(V, 5.0, 1e-3, propagator="tidal"), ValueError,
        "use 'scalar', 'acoustic', 'elastic'",
    ),
}  # fmt: skip


T = np.arange(8.0)
HELPERS = {
    "window": (
        hicks([(1.5, 6.0)]), ValueError,
        "Use mirror=-1 at a face that reflects, a smaller half_width, a whole number for that coordinate",
        hicks([(1.5, 6.0)], mirror=[-1, 0, 0, 0]), hicks([(1.5, 6.0)], half_width=2), hicks([(1.0, 6.0)]),
        hicks([(5.5, 10.0)], (16, 14)), hicks([(IGNORE_LOCATION, IGNORE_LOCATION)]),
    ),
    "points in half precision": (
        lambda: Hicks(np.full((1, 1, 2), 5.5, np.float16), SHAPE), TypeError, "locations.astype(np.float32)",
        lambda: Hicks(np.full((1, 1, 2), 5.5, np.float16).astype(np.float32), SHAPE),
    ),
    "no points": (
        lambda: Hicks([[]], SHAPE), ValueError, "np.zeros((1, 0, 2))", lambda: Hicks(np.zeros((1, 0, 2)), SHAPE),
    ),
    "masked points": (
        lambda: Hicks(masked([[[5.5, 5.5], [0.0, 0.0]]], 0), SHAPE), ValueError, "filled(jaxwave.IGNORE_LOCATION)",
        lambda: Hicks(masked([[[5.5, 5.5], [0.0, 0.0]]], 0).filled(IGNORE_LOCATION), SHAPE),
    ),
    "ragged points": (
        lambda: Hicks([[[5.5, 5.5], [6.5, 6.5]], [[5.5, 5.5]]], SHAPE), ValueError,
        "IGNORE_LOCATION in every coordinate",
        lambda: Hicks([[[5.5, 5.5], [6.5, 6.5]], [[5.5, 5.5], [IGNORE_LOCATION] * 2]], SHAPE),
    ),
    "model_shape": (hicks(shape=(1, *SHAPE)), ValueError, "Leave out an axis of shots", hicks(shape=SHAPE)),
    "another model": (
        scalar(receiver_locations=Hicks(np.full((2, 1, 2), 5.5), (13, 14))), ValueError,
        "`receiver_locations` was made for a model of (13, 14) cells, but `v` has (12, 14)",
        scalar(receiver_locations=Hicks(np.full((2, 1, 2), 5.5), SHAPE)),
    ),
    "half_width": (
        hicks([(12.0, 12.0)], (24, 26), half_width=11), ValueError, "give one, or use at most 10",
        hicks([(12.0, 12.0)], (24, 26), half_width=11, beta=17.0), hicks([(12.0, 12.0)], (24, 26), half_width=10),
    ),
    "dipoles": (
        hicks(dipole_axis=0, dipole_direction=[1, 0]), ValueError, "give one of them", hicks(dipole_axis=0),
        hicks(dipole_direction=[1, 0]),
    ),
    "mirror_plane": (
        hicks(mirror_plane=[-1, None, None, None]), ValueError, "give -1 or 1 there, or None",
        hicks(mirror=[-1, 0, 0, 0], mirror_plane=[-1, None, None, None]),
        hicks(mirror=[1, 0, 0, 0], mirror_plane=[-1, None, None, None]), hicks(mirror_plane=[None] * 4),
    ),
    "mirror between": (
        hicks(mirror=[-1, 0, 0, 0], mirror_plane=[-0.3, None, None, None]), ValueError, "or halfway between two",
        *(hicks(mirror=[-1, 0, 0, 0], mirror_plane=[x, None, None, None]) for x in (-0.5, 0.0)),
    ),
    "one of the points": (
        lambda: hicks()()[0, 0], TypeError, "a slice, a shot's number, a list or an array of them, or a mask [1]",
        *((lambda i=i: hicks()()[i]) for i in (slice(0, 1), 0, [0], np.array([0]), np.array([True]))),
    ),
    "resampling": (
        lambda: resample.downsample(T, 3), ValueError, "pad it to 9 or cut it to 6",
        lambda: resample.downsample(np.pad(T, (0, 1)), 3), lambda: resample.downsample(T[:6], 3),
    ),
    "burst": (
        lambda: wavelets.tone_burst(25.0, 5, 99, 0.002), ValueError,
        "use length>=100, fewer cycles or another start_time",
        lambda: wavelets.tone_burst(25.0, 5, 100, 0.002), lambda: wavelets.tone_burst(25.0, 4, 99, 0.002),
    ),
    "envelope": (
        lambda: wavelets.tone_burst(25.0, 5, 100, 0.002, envelope="box"), ValueError,
        "use one of ['gaussian', 'hann', 'rectangular']",
        *(
            (lambda e=e: wavelets.tone_burst(25.0, 5, 100, 0.002, envelope=e))
            for e in ("gaussian", "hann", "rectangular")
        ),
    ),
    "dtype": (
        lambda: wavelets.ricker(25.0, 9, 0.002, dtype=int), TypeError, "such as jnp.float32",
        lambda: wavelets.ricker(25.0, 9, 0.002, dtype=jnp.float32),
    ),
    "peak": (
        lambda: jaxwave.grid.peak_frequency(np.zeros(9), 0.004), ValueError, "pass `default` or the frequency itself",
        lambda: jaxwave.grid.peak_frequency(np.zeros(9), 0.004, default=25.0),
    ),
    "random keys": (
        lambda: io.save_checkpoint("unused", [jax.random.key(0)]), TypeError, "jax.random.key_data(key)",
        lambda: io._numbers("", jax.random.key_data(jax.random.key(0))),
    ),
}  # fmt: skip

CASES = {
    f"{group}: {name}": case
    for group, table in dict(arrays=ARRAYS, survey=SURVEY, grid=GRID, storage=STORAGE, helpers=HELPERS).items()
    for name, case in table.items()
}


@pytest.mark.parametrize("name", CASES)
def test_advice_works(name):
    fails, error, words, *remedies = CASES[name]
    with pytest.raises(error) as raised:
        fails()
    assert words in str(raised.value)
    for remedy in remedies:
        remedy()


def test_advice_about_files_works(tmp_path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.update(v=V, rho=V)
    for name, words in {"v.txt": r"read from a \.npy, \.h5 or \.hdf5 file", "v.h5": "name one of rho, v"}.items():
        with pytest.raises(ValueError, match=words):
            io.load_model(tmp_path / name)
    np.testing.assert_array_equal(io.load_model(tmp_path / "v.h5", "rho"), V)
    with pytest.raises(TypeError, match="Put what is none into `metadata`"):
        io.save_checkpoint(tmp_path / "c.h5", ["Adam", V])
    io.save_checkpoint(tmp_path / "c.h5", [V], {"optimizer": "Adam"})
    with pytest.raises(OSError, match="give another name, or remove it"):
        io.save_checkpoint(tmp_path, [V])
    np.save(tmp_path / "v.npy", V)
    with pytest.raises(TypeError, match=r"with jaxwave\.io\.load_model\(v\)"):
        scalar(v=str(tmp_path / "v.npy"))()
    scalar(v=io.load_model(tmp_path / "v.npy"))()


@pytest.mark.parametrize("freq", [0.7, 25.0, 300.001, 1 / 3, 2.0e6 / 7])
def test_the_time_step_of_the_advice_carries_the_frequency(freq):
    with pytest.raises(ValueError, match="use a lower frequency or dt<=") as raised:
        wavelets.ricker(freq, 10, 0.6 / freq)
    dt = float(re.search(r"dt<=(\S+)", str(raised.value)).group(1))
    assert dt == pytest.approx(0.5 / freq, rel=1e-5)
    wavelets.ricker(freq, 10, dt)


@pytest.mark.parametrize(("freq", "cycles", "dt", "start"), [(37.5, 3, 0.0015, 0.13), (25.0, 5, 0.002, 0.0)])
def test_the_length_of_the_advice_holds_the_burst(freq, cycles, dt, start):
    with pytest.raises(ValueError, match="use length>=") as raised:
        wavelets.tone_burst(freq, cycles, 3, dt, start)
    wavelets.tone_burst(freq, cycles, int(re.search(r"length>=(\d+)", str(raised.value)).group(1)), dt, start)


def test_a_warning_is_gone_when_its_advice_is_followed():
    traced = jax.jit(lambda f: jaxwave.scalar(**SCALAR | {"source_amplitudes": f, "pml_freq": None})[0])
    with pytest.warns(jaxwave.PmlFrequencyWarning, match="Pass pml_freq"):
        jax.eval_shape(traced, F)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.eval_shape(lambda f: jaxwave.scalar(**SCALAR | {"source_amplitudes": f})[0], F)
