"""Calls that cannot be right, or hardly: dead places, impossible media, wavelengths, units; and where warnings point.

Values are known while shapes are evaluated, so nothing here is compiled but where results are looked at.
"""

import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxwave
from jaxwave._numerics.boundary import PaddedGrid
from jaxwave._setup import validate
from jaxwave._setup.survey import Region, place
from jaxwave.equations.acoustic import Acoustic
from jaxwave.equations.elastic import Elastic
from jaxwave.grid import wavelet_frequency
from jaxwave.wavelets import ricker

SHAPE = (12, 14)
SOLID = (np.arange(12)[:, None] >= 4) * np.ones(SHAPE)
ELASTIC = jaxwave.vpvsrho_to_lambmubuoyancy(*(np.full(SHAPE, x) for x in (2500.0, 1400.0, 2000.0)))


def models(name, where=np.ones(SHAPE)):
    if name == "scalar":
        return (np.full(SHAPE, 2500.0),)
    if name == "acoustic":
        return np.full(SHAPE, 2500.0), 2000.0 * where
    return tuple(np.asarray(x) * where for x in ELASTIC)


def call(name, *given, h=5.0, dt=5e-4, f=None, source=(6, 7), receivers=None, kind="p", nt=200, **options):
    """A call whose shapes are evaluated."""
    f = ricker(40.0, nt, dt, 0.03) if f is None else f
    places = {} if receivers is None else receivers
    if name == "scalar":
        survey = dict(source_amplitudes=np.reshape(f, (1, 1, -1)), source_locations=[[source]])
    else:
        survey = dict(sources={kind: (np.reshape(f, (1, 1, -1)), [[source]])}, receivers=places)
    options = {"pml_freq": 40.0, "pml_width": 3, **survey, **options}
    return jax.eval_shape(lambda: getattr(jaxwave, name)(*(given or models(name)), h, dt, **options))


# ---- where a warning points ----


def pointed_at(category, run):
    """The file that the only warning of a category points at."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        run()
    found = [w for w in seen if w.category is category]
    assert len(found) == 1
    return found[0].filename


@pytest.mark.parametrize("name", ["scalar", "acoustic", "elastic"])
@pytest.mark.parametrize(
    ("category", "options"),
    [
        (jaxwave.SubstepWarning, dict(dt=2e-3, nt=100)),
        (jaxwave.UnitWarning, dict(dt=0.5, f=np.zeros(2))),
        (jaxwave.DispersionWarning, dict(h=30.0, pml_width=0)),
        (jaxwave.PmlFrequencyWarning, dict(f=np.ones(200), pml_freq=None)),
    ],
)
def test_warnings_point_at_the_users_line(name, category, options):
    assert pointed_at(category, lambda: call(name, **options)) == __file__


def test_warnings_of_born_modelling_point_at_the_users_line():
    """JAX calls the propagator there, which is called by the package."""
    v = np.full(SHAPE, 1500.0)

    def run():
        return jaxwave.scalar_born(v, v, 5.0, 5e-3, nt=4, receiver_locations=[[[2, 2]]], pml_width=3)

    assert pointed_at(jaxwave.SubstepWarning, lambda: jax.eval_shape(run)) == __file__
    assert pointed_at(jaxwave.SubstepWarning, lambda: jax.eval_shape(jax.jit(lambda: run()))) == __file__


# ---- places where nothing moves ----


@pytest.mark.parametrize("equation", [Acoustic, Elastic])
@pytest.mark.parametrize("faces", ["pml", "free", "rigid", "periodic"])
def test_silent_places_are_those_where_an_injection_is_nothing(equation, faces):
    """Every cell, kind of source and face: what the checks say of a place is what becomes of an amplitude there."""
    shape, width = (6, 5), 2 * (faces == "pml")
    where = np.random.default_rng(0).integers(0, 2, (1, *shape)) * np.ones((1, *shape))
    where[:, 3] = 1
    given = {"v": 1500 * where, "rho": 1e3 * where, "lamb": where, "mu": where, "buoyancy": where}
    grid = PaddedGrid(shape, (5.0, 5.0), 2, (width,) * 4, (faces,) * 4)
    eq, cells = equation().on(grid), np.array(list(itertools.product(*map(range, shape))))[None]
    points = place(cells, np.zeros(2, np.int32), grid, np.float64).cells

    @jax.jit
    def scales(given):
        padded = {name: jnp.pad(x, [(0, 0)] + [(width, width)] * 2, mode="edge") for name, x in given.items()}
        m = eq.coefficients(padded, 1e-3)
        return {kind: eq.source_scale(m, kind, points, 1e-3) for kind in ("p", "y", "x")}

    region, names = Region((0, 0), shape), {name: given[name] for name in eq.models}
    for kind, scale in scales(names).items():
        silent = validate.silent_points(cells, given[eq.matter], eq.point_offset(kind, 2), region, (faces,) * 4)
        assert np.array_equal(silent, np.broadcast_to(scale, silent.shape) == 0) and silent.any()


@pytest.mark.parametrize("name", ["acoustic", "elastic"])
def test_sources_in_vacuum_raise_and_receivers_warn(name):
    above, below, kinds = (3, 7), (4, 7), {"acoustic": "p", "elastic": "yy"}
    given, kind = models(name, SOLID), kinds[name]
    text = rf"`source_locations_{kind}` of shot 0, index 0 is \[3, 7\], in vacuum .* it injects nothing; move it"
    with pytest.raises(ValueError, match=text):
        call(name, *given, kind=kind, source=above)
    call(name, *given, kind=kind, source=below, receivers={"p": [[below]], "y": [[above]]})
    call(name, *given, kind=kind, source=above, f=np.zeros(200))  # nothing to inject
    call(name, *given, kind="y", source=above)  # between vacuum and the ground: its first cell moves
    with pytest.raises(ValueError, match="`source_locations_x` of shot 0"):
        call(name, *given, kind="x", source=above)
    with pytest.warns(jaxwave.SilentReceiverWarning, match=r"`receiver_locations_p` .*index 1 is \[3, 7\].*\(1 such"):
        call(name, *given, source=below, receivers={"p": [[below, above]]})
    # The remedy of the message.
    skipped = [jaxwave.IGNORE_LOCATION] * 2
    call(name, *given, source=below, receivers={"p": [[below, skipped]]})


def test_source_on_a_rigid_face_raises():
    with pytest.raises(ValueError, match=r"`source_locations_y` .*\[11, 7\].* on a rigid face"):
        call("acoustic", kind="y", source=(11, 7), boundary=["pml", "rigid", "pml", "pml"])
    call("acoustic", kind="x", source=(11, 7), boundary=["pml", "rigid", "pml", "pml"])


# ---- media that there are not ----


def test_vs_above_vp_names_the_cell():
    vs = np.full(SHAPE, 1400.0)
    vs[5, 6] = 2600.0
    bad = jaxwave.vpvsrho_to_lambmubuoyancy(np.full(SHAPE, 2500.0), vs, np.full(SHAPE, 2000.0))
    with pytest.raises(
        ValueError, match=r"`lamb` \+ `mu` must be positive.*vs < vp.*\(5, 6\), where vp=2500 and vs=2600 "
    ):
        call("elastic", *bad)
    with pytest.raises(ValueError, match=r"\(1 such cells\)"):
        call("elastic", *bad, max_vel=5000.0)
    vs[5, 6] = 2450.0  # allowed in plane strain
    call("elastic", *jaxwave.vpvsrho_to_lambmubuoyancy(np.full(SHAPE, 2500.0), vs, np.full(SHAPE, 2000.0)))
    cube = [np.broadcast_to(x, (4, *SHAPE)) for x in (np.full(SHAPE, 2500.0), vs, np.full(SHAPE, 2000.0))]
    with pytest.raises(ValueError, match=r"3 `lamb` \+ 2 `mu` must be positive.*0\.866 vp.*\(0, 5, 6\)"):
        call("elastic", *jaxwave.vpvsrho_to_lambmubuoyancy(*cube), source=(1, 2, 3))
    fluid = [np.array(x) for x in ELASTIC]
    fluid[1][:6] = 0.0
    for x in fluid:
        x[:2] = 0.0
    call("elastic", *fluid)


# ---- wavelengths ----


@pytest.mark.parametrize("name", ["scalar", "acoustic", "elastic"])
def test_dispersion_warning_says_what_the_grid_carries(name):
    slow = {"scalar": 2500, "acoustic": 2500, "elastic": 1400}[name]  # S waves
    h = slow / (40.0 * 2.4)
    with pytest.warns(jaxwave.DispersionWarning, match=rf"at 40 Hz, .* {slow} m/s, have 2\.40 cells") as seen:
        call(name, h=h)
    limit = jaxwave.grid.max_frequency(slow, h, jaxwave.grid.recommended_points(4))
    assert f"up to {limit:.3g} Hz" in str(seen[0].message)
    call(name, h=slow / (40.0 * 2.6))
    with pytest.warns(jaxwave.DispersionWarning):
        call(name, h=(5.0, h))  # the coarsest axis counts


def test_no_dispersion_warning_where_nothing_is_known_of_the_waves():
    noise, impulse = np.random.default_rng(1).standard_normal(200), np.eye(1, 200)
    for f in (noise, impulse, np.ones(200), np.zeros(200)):
        call("scalar", f=f, h=50.0)
        assert wavelet_frequency(f, 5e-4) is None
    vacuum = models("acoustic", SOLID)
    vacuum[0][:4] = 1.0  # a speed in vacuum, where nothing moves
    call("acoustic", *vacuum)
    traced = jax.jit(lambda f: call("scalar", f=f, h=50.0).receiver_amplitudes.shape[2] * f[0])
    jax.eval_shape(traced, np.zeros(200))


def test_a_few_of_many_traces_tell_the_frequency():
    f = np.tile(np.asarray(ricker(40.0, 200, 5e-4, 0.03)), (1000, 1, 1))
    assert wavelet_frequency([f, f[:3]], 5e-4) == pytest.approx(40, rel=0.01)  # of the parabola through the spectrum


# ---- the layers' frequency ----


def test_pml_freq_of_a_source_that_is_largest_at_0_hz():
    step = np.r_[np.zeros(20), np.ones(180)]
    with pytest.warns(jaxwave.PmlFrequencyWarning, match=r"largest at 0 Hz; using 200 Hz.*Pass pml_freq"):
        assert call("scalar", f=step, pml_freq=None).info.pml_freq == 200
    for silent in (np.zeros(200), np.ones(1)):  # nothing to absorb, or nothing to tell from
        assert call("scalar", f=silent, pml_freq=None).info.pml_freq == 200


# ---- units ----


def test_hundreds_of_substeps_ask_for_the_units():
    with (
        pytest.warns(jaxwave.SubstepWarning),
        pytest.warns(jaxwave.UnitWarning, match=r"into 590.*250 cells of 5 m.*seconds"),
    ):
        call("scalar", dt=0.5, f=np.zeros(2))
    with pytest.warns(jaxwave.SubstepWarning):
        call("scalar", dt=0.05, f=np.zeros(2))
