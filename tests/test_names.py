"""Messages of `simulate` name its own arguments, not those of the propagators, and their advice works there."""

import ast
import re
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxwave
from jaxwave import IGNORE_LOCATION, Acoustic, Boundary, Callbacks, Elastic, Grid, Hicks, Scalar, storage
from jaxwave._propagators import PROPAGATORS
from jaxwave._setup import options
from jaxwave.storage import StorageError

SHAPE = (12, 14)
V = np.full(SHAPE, 1500.0)
F = np.ones((2, 1, 8))
PLACES, RECEIVERS = np.full((2, 1, 2), 3), np.full((2, 3, 2), 5)
FIELD = np.ones((2, *SHAPE))
LAYERS = Boundary(pml_width=2, pml_freq=25.0)
GRID = Grid(5.0, boundary=LAYERS)
SCALAR = dict(equation=Scalar(V), grid=GRID, dt=1e-3, sources=(F, PLACES), receivers=RECEIVERS)
ACOUSTIC = dict(
    equation=Acoustic(V, V), grid=GRID, dt=1e-3, sources={"p": (F, PLACES)}, receivers={"p": RECEIVERS, "y": RECEIVERS}
)
SOLID = np.full(SHAPE, 4e9), np.full(SHAPE, 2e9), np.full(SHAPE, 5e-4)
ELASTIC = dict(equation=Elastic(*SOLID), grid=GRID, dt=5e-4, sources={"xy": (F, PLACES)}, receivers={"p": RECEIVERS})
WAVELET = np.full((2, 1, 1), 1.0) * np.asarray(jaxwave.wavelets.ricker(40.0, 200, 1e-3, 0.03))
SLOW = dict(dt=4e-3)  # with which steps are divided


def of(defaults, function=jaxwave.simulate):
    """Calls with some arguments changed, that check and trace but do not run."""
    return lambda **changes: lambda: jax.eval_shape(lambda: function(**defaults | changes))


scalar, acoustic, elastic = map(of, (SCALAR, ACOUSTIC, ELASTIC))
no_sources = of({name: x for name, x in SCALAR.items() if name not in ("sources", "receivers")})


def grid(spacing=5.0, accuracy=4, **boundary):
    return Grid(spacing, accuracy, Boundary(**{"pml_width": 2, "pml_freq": 25.0} | boundary))


def changed(x, index, value):
    x = np.array(x)
    x[index] = value
    return x


def after(first, second):
    """A run that goes on from another."""

    def call():
        def both():
            state = jaxwave.simulate(**SCALAR | first).state
            return jaxwave.simulate(**SCALAR | {"state": state} | second)

        return jax.eval_shape(both)

    return call


def gradient(**changes):
    def misfit(v):
        out = jaxwave.simulate(**SCALAR | {"equation": Scalar(v), "max_vel": 1500.0} | changes)
        return out.record.sum()

    return lambda: jax.eval_shape(jax.grad(misfit), V)


def born(**changes):
    defaults = {"perturbation": Scalar(V), "max_vel": 1500.0}
    return lambda: jax.eval_shape(lambda: jaxwave.born(**SCALAR | defaults | changes))


CELLS = PLACES + 2
METRES = CELLS * 5.0 - 1e-9
BETWEEN = Hicks(np.full((2, 1, 2), 5.5), SHAPE)
FLUID = changed(SOLID[1], np.s_[:6], 0.0)
VACUUM = Acoustic(changed(V, 0, 0.0), changed(V, 0, 0.0))

# Name: a call that fails, its error, words of its message, and calls that follow the advice.
ARRAYS = {
    "amplitudes, type": (
        scalar(sources=(F.astype(int), PLACES)), TypeError, "`sources[0]` must be a float32",
        scalar(sources=(F.astype(int).astype(float), PLACES)),
    ),
    "amplitudes of a kind": (
        acoustic(sources={"p": (F + 0j, PLACES)}), TypeError, "sources['p'][0].real",
        acoustic(sources={"p": ((F + 0j).real, PLACES)}),
    ),
    "amplitudes, shape": (
        scalar(sources=(F[0], PLACES)), ValueError, "`sources[0]` must have shape [shot, source, nt]", scalar(),
    ),
    "amplitudes, values": (
        scalar(sources=(changed(F, (1, 0, 3), np.nan), PLACES)), ValueError, "`sources[0]` must be finite", scalar(),
    ),
    "amplitudes, shots": (
        scalar(receivers=RECEIVERS[:1]), ValueError, "sources[0] has 2, receivers has 1", scalar(),
    ),
    "amplitudes between cells": (
        scalar(sources=(F[:, :, 0], BETWEEN)), ValueError, "`sources[0]` must have shape [shot, point, nt]",
        scalar(sources=(F, BETWEEN)),
    ),
    "mixed types": (
        acoustic(sources={"p": (F.astype("f"), PLACES)}), TypeError, "sources['p'][0] is float32. Convert", acoustic(),
    ),
    "agreement": (
        scalar(sources=(F, RECEIVERS)), ValueError, "`sources[0]` (2, 1, 8) and `sources[1]` (2, 3, 2) must agree",
        scalar(),
    ),
    "locations missing": (
        scalar(sources=(F, None)), ValueError, "`sources[0]` is given without `sources[1]`; give both or neither",
        scalar(), scalar(sources=None, nt=8),
    ),
    "amplitudes missing": (
        acoustic(sources={"p": (None, PLACES)}), ValueError, "`sources['p'][1]` is given without `sources['p'][0]`",
        acoustic(), acoustic(sources=None, nt=8),
    ),
    "metres": (
        scalar(sources=(F, METRES)), TypeError, "np.rint(np.divide(sources[1], grid.spacing)).astype(int)",
        scalar(sources=(F, np.rint(np.divide(METRES, GRID.spacing)).astype(int))),
        scalar(sources=(F, np.rint(PLACES - 1e-9).astype(int))), scalar(sources=(F, Hicks(METRES / 5.0, SHAPE))),
    ),
    "a mask": (
        scalar(sources=None, nt=3, receivers=V > 0), TypeError, "np.argwhere(receivers)[None]",
        scalar(sources=None, nt=3, receivers=np.argwhere(V > 0)[None]),
    ),
    "no locations": (
        acoustic(sources=None, nt=3, receivers={"p": [[]]}), ValueError, "`receivers['p']` is empty",
        acoustic(sources=None, nt=3, receivers={"p": np.zeros((1, 0, 2), int)}),
    ),
    "ragged locations": (
        scalar(receivers=[[[2, 5], [2, 6]], [[2, 8]]]), ValueError, "`receivers` cannot be made into an array",
        scalar(receivers=[[[2, 5], [2, 6]], [[2, 8], [IGNORE_LOCATION] * 2]]),
    ),
    "masked locations": (
        scalar(receivers=np.ma.masked_equal(changed(RECEIVERS, (0, 0), 9), 9)), ValueError,
        "receivers.filled(jaxwave.IGNORE_LOCATION)",
        scalar(receivers=np.ma.masked_equal(changed(RECEIVERS, (0, 0), 9), 9).filled(IGNORE_LOCATION)),
    ),
    "outside": (
        acoustic(receivers={"p": changed(RECEIVERS, (1, 2), 14)}), ValueError,
        "`receivers['p']` of shot 1, index 2 is [14, 14]",
        acoustic(receivers={"p": changed(RECEIVERS, (1, 2), IGNORE_LOCATION)}),
    ),
    "source outside": (
        scalar(sources=(F, PLACES - 9)), ValueError, "`sources[1]` of shot 0, index 0 is [-6, -6]", scalar(),
    ),
    "coordinates": (
        scalar(receivers=np.ones((2, 3, 3), int)), ValueError, "`receivers` must have 2 coordinates", scalar(),
    ),
    "wavefields, type": (
        no_sources(nt=3, wavefields={"wavefield_0": FIELD.astype(int)}), TypeError,
        "wavefields['wavefield_0'].astype(np.float32)", no_sources(nt=3, wavefields={"wavefield_0": FIELD}),
    ),
    "wavefields, shape": (
        no_sources(nt=3, wavefields={"wavefield_0": FIELD[:, 1:]}), ValueError,
        "`wavefields['wavefield_0']` must have shape (2, 12, 14)",
        no_sources(nt=3, wavefields={"wavefield_0": FIELD}),
        no_sources(nt=3, wavefields={"wavefield_0": np.ones((2, 16, 18))}),
    ),
    "wavefields, rank": (
        scalar(wavefields={"wavefield_0": V}), ValueError, "`wavefields['wavefield_0']` must have 3 dimensions",
        scalar(wavefields={"wavefield_0": FIELD}),
    ),
    "wavefields, name": (
        scalar(wavefields={"u": FIELD}), ValueError, "no wavefield `u` in 2 dimensions; there are wavefield_0",
        scalar(wavefields={"wavefield_0": FIELD}),
    ),
    "wavefields, array": (
        scalar(wavefields=FIELD), TypeError, "`wavefields` must be a mapping from names of wavefields",
        scalar(wavefields={"wavefield_0": FIELD}),
    ),
    "model between cells": (
        scalar(equation=Scalar(V[1:]), receivers=BETWEEN), ValueError,
        "`receivers` was made for a model of (12, 14) cells, but `v` has (11, 14)",
        scalar(equation=Scalar(V[1:]), receivers=Hicks(np.full((2, 1, 2), 5.5), (11, 14))),
        scalar(equation=Scalar(np.stack([V] * 2)), receivers=BETWEEN), scalar(survey_pad=6, receivers=BETWEEN),
    ),
    "model of sources between cells": (
        acoustic(equation=Acoustic(V[:, 1:], V[:, 1:]), sources={"p": (F, BETWEEN)}), ValueError,
        "`sources['p'][1]` was made for a model of (12, 14) cells, but `v` has (12, 13)",
        acoustic(
            equation=Acoustic(V[:, 1:], V[:, 1:]), sources={"p": (F, Hicks(np.full((2, 1, 2), 5.5), (12, 13)))},
        ),
    ),
    "dimensions between cells": (
        scalar(receivers=Hicks(np.full((2, 1, 3), 5.5), (12, 12, 14))), ValueError,
        "`receivers` was made for a model of (12, 12, 14) cells, but `v` has (12, 14)", scalar(receivers=BETWEEN),
    ),
}  # fmt: skip

CALLS = {
    "equation": (scalar(equation=V), TypeError, "e.g. jaxwave.Scalar(v)", scalar(equation=Scalar(V))),
    "grid": (scalar(grid=5.0), TypeError, "e.g. jaxwave.Grid(5.0)", scalar(grid=Grid(5.0))),
    "boundary": (
        scalar(grid=Grid(5.0, boundary="free")), TypeError, "`grid.boundary` must be a jaxwave.Boundary, e.g.",
        scalar(grid=Grid(5.0, boundary=Boundary("free"))),
    ),
    "callbacks": (
        scalar(callbacks=print), TypeError, "e.g. jaxwave.Callbacks(forward=print)",
        scalar(callbacks=Callbacks(forward=print)),
    ),
    "a callback": (
        scalar(callbacks=Callbacks(forward=3)), TypeError, "`callbacks.forward` must be a function of one argument",
        scalar(callbacks=Callbacks(forward=print)),
    ),
    "the adjoint's callback": (
        scalar(callbacks=Callbacks(backward=3)), TypeError, "`callbacks.backward` must be a function of one argument",
        scalar(callbacks=Callbacks(backward=print)),
    ),
    "frequency of callbacks": (
        scalar(callbacks=Callbacks(forward=print, every=0)), ValueError, "`callbacks.every` must be at least 1",
        scalar(callbacks=Callbacks(forward=print, every=1)),
    ),
    "sources, pair": (
        scalar(sources=F), TypeError, "`sources` must be a pair (amplitudes, locations)", scalar(sources=(F, PLACES)),
    ),
    "sources, pair of a kind": (
        acoustic(sources={"p": F}), TypeError, "`sources['p']` must be a pair (amplitudes, locations)",
        acoustic(sources={"p": (F, PLACES)}),
    ),
    "sources without a kind": (
        acoustic(sources=(F, PLACES)), ValueError, "sources={'p': (amplitudes, locations)}",
        acoustic(sources={"p": (F, PLACES)}),
    ),
    "receivers without a kind": (
        acoustic(receivers=RECEIVERS), ValueError, "receivers={'p': locations}", acoustic(receivers={"p": RECEIVERS}),
    ),
    "unknown kind": (
        acoustic(sources={"q": (F, PLACES)}), ValueError, "use 'p', 'y', 'x'",
        *(acoustic(sources={kind: (F, PLACES)}) for kind in "pyx"),
    ),
    "a kind too many": (
        scalar(receivers={"p": RECEIVERS}), ValueError, "give the locations in place of a mapping", scalar(),
    ),
    "steps": (
        no_sources(), ValueError, "is required when there are no amplitudes in `sources`", no_sources(nt=3),
        no_sources(nt=3, sources=(F[..., :3], PLACES)),
    ),
    "steps twice": (
        scalar(nt=9), ValueError, "`nt`=9 contradicts amplitudes in `sources`, which have 8", scalar(), scalar(nt=8),
    ),
    "steps of kinds": (
        acoustic(sources={"p": (F, PLACES), "x": (F[..., 1:], PLACES)}), ValueError,
        "amplitudes in `sources` of all kinds must have the same number of time samples",
        acoustic(sources={"p": (F, PLACES), "x": (F, PLACES)}),
    ),
    "no samples": (
        scalar(sources=(F[..., :0], PLACES)), ValueError, "amplitudes in `sources` must have at least one", scalar(),
    ),
    "interval": (
        scalar(gradient_interval=0), ValueError, "`gradient_interval` must be at least 1", scalar(gradient_interval=1),
    ),
    "region": (
        scalar(survey_pad=2, origin=(0, 0), wavefields={"wavefield_0": FIELD}), ValueError, "give one of them",
        scalar(survey_pad=2), scalar(origin=(0, 0), wavefields={"wavefield_0": FIELD}),
    ),
    "speed": (
        lambda: jax.eval_shape(lambda v: jaxwave.simulate(**SCALAR | {"equation": Scalar(v)}), V), ValueError,
        "`max_vel` is required",
        lambda: jax.eval_shape(lambda v: jaxwave.simulate(**SCALAR | {"equation": Scalar(v), "max_vel": 1500.0}), V),
    ),
    "shear in a fluid": (
        elastic(equation=Elastic(SOLID[0], FLUID, SOLID[2])), ValueError, "use kinds that a fluid has: 'p' or forces",
        elastic(equation=Elastic(SOLID[0], FLUID, SOLID[2]), sources={"p": (F, PLACES)}),
        elastic(equation=Elastic(SOLID[0], FLUID, SOLID[2]), sources={"xy": (F, PLACES + 5)}),
    ),
    "source in vacuum": (
        acoustic(equation=VACUUM, sources={"p": (F, 0 * PLACES)}), ValueError, "`sources['p'][1]` of shot 0, index 0",
        acoustic(equation=VACUUM), acoustic(equation=VACUUM, sources={"p": (F, 0 * PLACES + IGNORE_LOCATION)}),
    ),
}  # fmt: skip

FACES = {
    "spacing": (
        scalar(grid=grid((5.0,) * 3)), ValueError, "`grid.spacing` must be a number or 2 numbers",
        scalar(grid=grid((5.0, 5.0))), scalar(grid=grid(5.0)),
    ),
    "spacing, value": (
        scalar(grid=grid(-5.0)), ValueError, "`grid.spacing` must be positive", scalar(grid=grid(5.0)),
    ),
    "spacing and models": (
        no_sources(nt=3, grid=grid((5.0,) * 3)), ValueError, "because `grid.spacing` has 3 values",
        no_sources(nt=3, grid=grid((5.0,) * 2)),
    ),
    "accuracy": (
        scalar(grid=grid(accuracy=3)), ValueError, "`grid.accuracy` must be one of (2, 4, 6, 8)",
        *(scalar(grid=grid(accuracy=n)) for n in (2, 4, 6, 8)),
    ),
    "width": (
        scalar(grid=grid(pml_width=-1)), ValueError, "`grid.boundary.pml_width` must be at least 0",
        scalar(grid=grid(pml_width=0)),
    ),
    "widths": (
        scalar(grid=grid(pml_width=[1, 2])), ValueError, "`grid.boundary.pml_width` must be one number or 4 of them",
        scalar(grid=grid(pml_width=[1, 2, 1, 2])),
    ),
    "frequency": (
        scalar(grid=grid(pml_freq=0.0)), ValueError, "`grid.boundary.pml_freq` must be positive",
        scalar(grid=grid(pml_freq=25.0)),
    ),
    "a word": (
        scalar(grid=grid(kinds="hard")), ValueError, "`grid.boundary.kinds` has 'hard'; each must be one of 'pml', ",
        *(scalar(grid=grid(kinds=word)) for word in ("pml", "free", "rigid", "periodic", None)),
    ),
    "words": (
        scalar(grid=grid(kinds=["free", "pml"])), ValueError, "`grid.boundary.kinds` must be one word or 4 of them",
        scalar(grid=grid(kinds=["free", "pml", "pml", "pml"])),
    ),
    "periodic": (
        scalar(grid=grid(kinds=["periodic", None, None, None])), ValueError, "`grid.boundary.kinds` of axis 0 are",
        scalar(grid=grid(kinds=["periodic", "periodic", None, None])),
    ),
    "layer and face": (
        scalar(grid=grid(kinds="free", pml_width=[2] * 4)), ValueError,
        "in `grid.boundary.kinds` and has a layer of 2 cells in `grid.boundary.pml_width`",
        scalar(grid=grid(kinds="pml", pml_width=[2] * 4)), scalar(grid=grid(kinds="free", pml_width=0)),
    ),
    "no layer": (
        scalar(grid=grid(kinds="pml", pml_width=[0, 2, 2, 2])), ValueError,
        "has 0 cells in `grid.boundary.pml_width`; give it at least 1",
        scalar(grid=grid(kinds="pml", pml_width=[1, 2, 2, 2])),
    ),
    "room": (
        no_sources(nt=2, equation=Scalar(V[:3]), grid=grid(kinds="free")), ValueError,
        "`grid.accuracy`=4 of them; use more cells, a lower accuracy, or a layer there (`grid.boundary.pml_width`)",
        no_sources(nt=2, equation=Scalar(V[:4]), grid=grid(kinds="free")),
        no_sources(nt=2, equation=Scalar(V[:3]), grid=grid(accuracy=2, kinds="free")),
        no_sources(nt=2, equation=Scalar(V[:3]), grid=grid(pml_width=[2, 2, 0, 0])),
    ),
    "origin": (
        no_sources(
            nt=2, grid=grid(kinds=["free", *["pml"] * 3]), origin=(2, 2), wavefields={"wavefield_0": FIELD[:, :9, :12]}
        ),
        ValueError, "or give the face a layer (`grid.boundary.pml_width`)",
        no_sources(
            nt=2, grid=grid(kinds=["free", *["pml"] * 3]), origin=(0, 2), wavefields={"wavefield_0": FIELD[:, :9, :12]}
        ),
        no_sources(nt=2, grid=grid(kinds="pml"), origin=(2, 2), wavefields={"wavefield_0": FIELD[:, :9, :12]}),
    ),
    "fraction": (
        elastic(grid=grid(mpml_fraction=2.0)), ValueError, "`grid.boundary.mpml_fraction` must be a number from 0 to 1",
        elastic(grid=grid(mpml_fraction=0.1)),
    ),
    "fraction of an equation without": (
        scalar(grid=grid(mpml_fraction=0.1)), ValueError, "`grid.boundary.mpml_fraction`=0.1 is for equations on",
        scalar(grid=grid()), elastic(grid=grid(mpml_fraction=0.1)),
    ),
}  # fmt: skip

STATES = {
    "no state": (scalar(state=FIELD), TypeError, "`state` must be the state of an earlier result", after({}, {})),
    "of another equation": (
        acoustic(state=jaxwave.State({}, {"psi": (), "zeta": ()})), ValueError, "`state` is of another equation",
        lambda: jax.eval_shape(
            lambda: jaxwave.simulate(**ACOUSTIC, state=jaxwave.simulate(**ACOUSTIC).state)
        ),
    ),
    "and wavefields": (
        after({}, {"wavefields": {"wavefield_0": FIELD}}), ValueError, "`state` and the initial wavefields exclude",
        after({}, {}),
    ),
    "of another model": (
        after({"equation": Scalar(V[1:])}, {}), ValueError, "`state` belongs to another grid or other layers: its",
        after({}, {}),
    ),
    "of other layers": (
        after({"grid": grid(pml_width=[2, 2, 2, 3])}, {"grid": grid(pml_width=[2, 3, 2, 2])}), ValueError,
        "`state` belongs to another grid", after({}, {}),
    ),
    "of other sub-steps": (
        after({}, SLOW), ValueError, "`state` is of a run with no sub-steps", after(SLOW, SLOW), after({}, {}),
    ),
    "sources that end": (
        after(SLOW, SLOW | {"sources": None, "nt": 8}), ValueError, "the run that `state` is of had 1 sources",
        after(SLOW, SLOW | {"sources": (0 * F, PLACES)}),
    ),
    "other sources": (
        after(SLOW, SLOW | {"sources": (np.ones((2, 3, 8)), RECEIVERS)}), ValueError, "`state` has the last samples",
        after(SLOW, SLOW),
    ),
}  # fmt: skip

STORAGE = {
    "name": (
        scalar(storage="tape"), ValueError, "storage='tape' is unknown; use",
        *(scalar(storage=name) for name in ("device", "cpu", "disk", "recompute", "none")),
    ),
    "object": (scalar(storage=3), TypeError, "storage must be a name or a storage object", scalar(storage="device")),
    "directory": (
        scalar(storage=storage.DiskStorage(path="/missing/directory")), StorageError,
        "`path` must be an existing directory", scalar(storage=storage.DiskStorage(path=".")),
    ),
    "steps back": (
        scalar(storage=storage.Reverse(), gradient_interval=2), ValueError, "so gradient_interval must be 1",
        scalar(storage=storage.Reverse()), scalar(storage=storage.Recompute(), gradient_interval=2),
    ),
    "frequencies": (
        scalar(storage=storage.Fourier((50.0, 300.0)), gradient_interval=2), ValueError,
        "or use a smaller gradient_interval",
        scalar(storage=storage.Fourier((50.0, 300.0))),
        scalar(storage=storage.Fourier((50.0,)), gradient_interval=2),
    ),
    "none": (
        gradient(storage="none"), ValueError, 'use the storage mode "device", "cpu", "disk" or "recompute"',
        *(gradient(storage=name) for name in ("device", "cpu", "disk", "recompute")),
    ),
}  # fmt: skip

DERIVATIVES = {
    "type": (born(perturbation=V), TypeError, "`perturbation` must be a Scalar", born(perturbation=Scalar(V))),
    "shape": (
        born(perturbation=Scalar(V[1:])), ValueError, "`perturbation.v` must have the shape of `v`",
        born(perturbation=Scalar(V)),
    ),
    "nothing": (born(perturbation=Scalar(None)), ValueError, "give one of `perturbation.v`", born()),
    "argument": (
        born(pml_width=2), TypeError, "born() got an unexpected keyword argument 'pml_width'",
        born(grid=Grid(5.0, boundary=Boundary(pml_width=2, pml_freq=25.0))),
    ),
    "storage": (born(storage="none"), ValueError, 'use the storage mode "device"', born(storage="device")),
    "amplitudes": (born(sources=(F[0], PLACES)), ValueError, "`sources[0]` must have shape", born()),
    "speed": (
        born(max_vel=None, sources=(F[0], PLACES)), ValueError, "`sources[0]` must have shape", born(max_vel=None),
    ),
    "product": (
        lambda: jaxwave.gauss_newton_product(
            lambda v: jaxwave.simulate(**SCALAR | {"equation": Scalar(v), "grid": grid(pml_width=-1)}).record, V, V
        ),
        ValueError, "`grid.boundary.pml_width`",
    ),
    "memory": (
        lambda: jaxwave.estimate_memory(*list(SCALAR.values())[:3], receivers=RECEIVERS), ValueError,
        "no amplitudes in `sources`",
    ),
    "memory, argument": (
        lambda: jaxwave.estimate_memory(*list(SCALAR.values())[:3], pml_freq=25.0), TypeError,
        "simulate() got an unexpected keyword argument 'pml_freq'",
    ),
    "plan": (
        lambda: jaxwave.plan(*list(SCALAR.values())[:3], storage="cpu"), TypeError,
        "`storage` of a plan must be a jaxwave.storage.Auto",
    ),
}  # fmt: skip

TABLES = dict(arrays=ARRAYS, calls=CALLS, faces=FACES, states=STATES, storage=STORAGE, derivatives=DERIVATIVES)
CASES = {f"{group}: {name}": case for group, table in TABLES.items() for name, case in table.items()}

FIELDS = {name for _, equation, _ in PROPAGATORS.values() for name in equation.wavefield_offsets(3)}
"""Names of wavefields: keys of `wavefields`, too."""
FOREIGN = {name for _, _, given in PROPAGATORS.values() for name in options.defaults(given)} | {"grid_spacing"}
FOREIGN -= {*jaxwave.simulate.__annotations__, *FIELDS}
WORDS = {"accuracy", "boundary"}
"""Those that messages also have as plain words."""
NAMED = re.compile(
    rf"(?<![\w.])({'|'.join(FOREIGN - WORDS)})(?!\w)|`({'|'.join(WORDS)})`|(?<![\w.])({'|'.join(WORDS)})="
)


def foreign(message):
    return [found.group() for found in NAMED.finditer(message)]


def test_arguments_of_propagators_are_found():
    assert foreign("`pml_width` and grid_spacing=5, source_amplitudes_p, `boundary`, accuracy=4") == [
        "pml_width", "grid_spacing", "source_amplitudes_p", "`boundary`", "accuracy=",
    ]  # fmt: skip
    assert not foreign("`grid.boundary.pml_width`, a lower accuracy, wavefields['wavefield_0'], grid.accuracy=4")


@pytest.mark.filterwarnings("ignore::jaxwave.SubstepWarning", "ignore::jaxwave.PmlFrequencyWarning")
@pytest.mark.parametrize("name", CASES)
def test_messages_name_what_was_given_and_their_advice_works(name):
    fails, error, words, *remedies = CASES[name]
    with pytest.raises(error) as raised:
        fails()
    assert words in str(raised.value)
    if not words.startswith(("born()", "simulate()")):  # which name the argument that they do not have
        assert not foreign(str(raised.value))
    for remedy in remedies:
        remedy()


WARNINGS = {
    "sub-steps": (scalar(**SLOW), jaxwave.SubstepWarning, "and grid.spacing=[5.0, 5.0]", scalar()),
    "frequency of the layers": (
        lambda: jax.eval_shape(
            lambda f: jaxwave.simulate(**SCALAR | {"sources": (f, PLACES), "grid": grid(pml_freq=None)}), F
        ),
        jaxwave.PmlFrequencyWarning, "Pass grid.boundary.pml_freq",
        lambda: jax.eval_shape(lambda f: jaxwave.simulate(**SCALAR | {"sources": (f, PLACES)}), F),
    ),
    "0 Hz": (
        scalar(grid=grid(pml_freq=None)), jaxwave.PmlFrequencyWarning, "Pass grid.boundary.pml_freq", scalar(),
    ),
    "wavelengths": (
        scalar(sources=(WAVELET, PLACES), grid=grid(30.0)), jaxwave.DispersionWarning, "grid.accuracy=4",
        scalar(sources=(WAVELET, PLACES)),
    ),
    "receivers in vacuum": (
        acoustic(equation=VACUUM, receivers={"p": 0 * RECEIVERS}), jaxwave.SilentReceiverWarning,
        "`receivers['p']` of shot 0", acoustic(equation=VACUUM),
    ),
    "speed": (scalar(max_vel=900.0), jaxwave.SpeedWarning, "Use max_vel>=1500", scalar(max_vel=1500.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", WARNINGS)
def test_warnings_name_what_was_given_and_their_advice_works(name):
    warns, category, words, *remedies = WARNINGS[name]
    with pytest.warns(category) as told:
        warns()
    (message,) = (str(w.message) for w in told)
    assert words in message and not foreign(message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for remedy in remedies:
            remedy()


PACKAGE = Path(jaxwave.__file__).parent
CHECKS = [PACKAGE / "_setup" / f"{name}.py" for name in ("problem", "sanity")]
CHECKS += sorted((PACKAGE / "_setup" / "validate").glob("*.py"))
ONLY_OF_PROPAGATORS = {"old_state"}
"""Checks of a propagator's own kinds of arguments."""


@pytest.mark.parametrize("path", CHECKS, ids=lambda path: path.stem)
def test_no_message_of_a_check_has_a_name_of_its_own(path):
    """A new check that writes an argument's name into its message would be wrong for one of the two interfaces."""
    found = []
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(function, ast.FunctionDef) and function.name not in ONLY_OF_PROPAGATORS:
            told = [x for x in ast.walk(function) if isinstance(x, ast.Raise | ast.Call)]
            strings = {x for call in told for x in ast.walk(call) if isinstance(x, ast.Constant)}
            found += [name for x in strings if isinstance(x.value, str) for name in foreign(x.value)]
    assert found == []
