"""Attenuation: the mechanisms against the Q that is asked for, and the waves against the mechanisms."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import plane_waves
import pytest
import reference
from helpers import largest, layered

import jaxwave
from jaxwave.attenuation import ConstantQ, Relaxation, Zener

BAND = (5.0, 50.0)


# ---- mechanisms ----


@pytest.mark.parametrize(("number", "band", "limit"), [(2, BAND, 0.05), (3, BAND, 0.025), (3, (2.0, 100.0), 0.035)])
def test_q_is_constant_over_the_band(number, band, limit):
    relaxation = ConstantQ(band, number)
    frequencies = np.geomspace(*band, 101)
    for q in (10.0, 30.0, 100.0, 1000.0):
        found = 1 / relaxation.inverse_q(frequencies, 1 / q)
        assert np.abs(found / q - 1).max() < limit * 1.05
        assert all(tau > 0 for tau, _ in relaxation.mechanisms(1 / q))
    assert relaxation.error() < limit
    assert relaxation.error(3.0) < 2.2 * limit


def test_one_mechanism_is_exact_at_its_frequency():
    for q in (2.0, 10.0, 300.0):
        assert 1 / Zener(20.0).inverse_q(20.0, 1 / q) == pytest.approx(q, rel=1e-12)
        assert 1 / Zener(20.0).inverse_q(60.0, 1 / q) == pytest.approx(q / 2 * (3 + 1 / 3), rel=1e-12)


@pytest.mark.parametrize("relaxation", [ConstantQ(BAND, 3), Zener(20.0)])
def test_no_attenuation_is_exact(relaxation):
    assert all(tau == 0 for tau, _ in relaxation.mechanisms(0.0))
    assert relaxation.relaxed(0.0) == relaxation.unrelaxed(0.0) == 1


@pytest.mark.parametrize("kind", [lambda f: ConstantQ(BAND, 3, reference=f), lambda f: Zener(20.0, reference=f)])
def test_speeds_are_those_of_the_reference_frequency(kind):
    for f in (3.0, 15.0, 80.0):
        assert kind(f).speed(f, 1 / 20) == pytest.approx(1, abs=1e-14)
    # Causality: a nearly constant Q has a speed that grows by 1 / (pi Q) for each factor of e in frequency.
    slow, fast = ConstantQ(BAND, 3, reference=15.0).speed([10.0, 25.0], 1 / 50)
    assert (fast - slow) / np.log(2.5) == pytest.approx(1 / (np.pi * 50), rel=0.03)
    assert kind(None).speed(1e-6, 1 / 20) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConstantQ((50.0, 5.0)), "a lower and a higher frequency"),
        (lambda: ConstantQ(BAND, 6), "6 mechanisms are too many for the band"),
        (lambda: ConstantQ(BAND, 0), "number"),
        (lambda: Zener(-1.0), "`frequency` must be positive"),
        (lambda: Zener(1.0, reference=0.0), "`reference` must be positive"),
    ],
)
def test_mechanisms_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def survey(kinds, nt=60):
    f = np.random.default_rng(3).standard_normal((1, 1, nt))
    sources = {"p": (f, [[[6, 7]]]), "y": (1e3 * f, [[[12, 11]]])}
    return {"sources": sources, "receivers": dict.fromkeys(kinds, np.array([[[15, 3], [4, 12]]]))}


def balanced(records):
    """A misfit to which each record counts alike, and the records that there are."""
    found = {kind: x for kind, x in records.items() if x.size}
    return sum(jnp.sum((x / jax.lax.stop_gradient(jnp.abs(x).max())) ** 2) for x in found.values()), found


GRID = jaxwave.Grid((5.0, 6.0), 4, jaxwave.Boundary(("free", "pml", "pml", "rigid"), (0, 5, 5, 0), 25.0))


def test_models_that_cannot_be():
    v, rho, some = np.full((20, 16), 2000.0), np.full((20, 16), 1000.0), np.full((20, 16), 0.01)
    with pytest.raises(TypeError, match="`relaxation` must say which mechanisms attenuate"):
        jaxwave.Viscoacoustic(v, rho, some)
    with pytest.raises(TypeError, match="mechanisms of fixed rates"):
        jaxwave.Viscoelastic(v, v, v, some, some, relaxation=Zener(20.0))
    rough = some.copy()
    rough[3, 4] = 0.5
    medium = jaxwave.Viscoacoustic(v, rho, rough, relaxation=ConstantQ(BAND))
    with pytest.raises(
        ValueError, match=r"`inverse_q` must be at most 1/3.*got 0.5 at index \(3, 4\). `Zener` takes any"
    ):
        jaxwave.simulate(medium, GRID, 5e-4, **survey("p"))
    jaxwave.simulate(dataclasses.replace(medium, relaxation=Zener(20.0)), GRID, 4e-4, **survey("p"))  # the remedy
    lamb, mu, b = jaxwave.vpvsrho_to_lambmubuoyancy(v, v / 1.5, rho)
    uneven = jaxwave.Viscoelastic(lamb, mu, b, some / 4, some, relaxation=ConstantQ(BAND))
    with pytest.raises(ValueError, match=r"`inverse_qp` must be about 0\.00489 or more") as error:
        jaxwave.simulate(uneven, GRID, 5e-4, **survey("p"))
    enough = float(str(error.value).partition("be about ")[2].split()[0])
    jaxwave.simulate(dataclasses.replace(uneven, inverse_qp=0 * some + enough), GRID, 5e-4, **survey("p"))


# ---- without attenuation ----


def test_without_attenuation_it_is_the_acoustic_equation():
    v, rho = layered((20, 16)), layered((20, 16), 900.0, 2500.0, seed=1)

    def misfit(equation, scale=1.0):
        given = survey("pyx")
        amplitudes, cells = given["sources"]["p"]
        given["sources"]["p"] = (amplitudes * scale, cells)
        out = jaxwave.simulate(equation, GRID, 5e-4, max_vel=2600.0, **given)
        return balanced(out.records)

    # The acoustic equation's source is a volume rate, whose pressure rate is K times as large; K must not be inverted.
    bulk = rho[6, 7] * v[6, 7] ** 2
    value = jax.value_and_grad(misfit, has_aux=True)
    for relaxation in (ConstantQ(BAND, 3), Zener(20.0), ConstantQ(BAND, 2, reference=15.0)):
        lossy = jaxwave.Viscoacoustic(v, rho, 0 * v, relaxation=relaxation)
        (_, got), gradient = value(lossy)
        (_, want), expected = value(jaxwave.Acoustic(v, rho), 1 / bulk)
        reference.assert_close(got, want, 1e-13)
        away = np.ones_like(v)
        away[6, 7] = 0
        reference.assert_close(
            (away * gradient.v, away * gradient.rho), (away * expected.v, away * expected.rho), 1e-12
        )
        assert largest(gradient.inverse_q) > 0


@pytest.mark.parametrize("ndim", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_without_attenuation_it_is_the_elastic_equation(ndim):
    shape, kinds = ((20, 16), "pyx") if ndim == 2 else ((40,), "px")
    vp, rho = layered(shape, 2200.0, 2600.0), layered(shape, 1800.0, 2500.0, seed=1)
    models = jaxwave.vpvsrho_to_lambmubuoyancy(vp, vp / 1.8, rho)
    grid = GRID if ndim == 2 else jaxwave.Grid(5.0, 4, jaxwave.Boundary(("free", "pml"), (0, 5), 25.0))
    given = survey(kinds)
    if ndim == 1:
        f = given["sources"]["p"][0]
        given = {"sources": {"p": (f, [[[6]]])}, "receivers": dict.fromkeys(kinds, np.array([[[15], [4]]]))}

    def misfit(equation):
        out = jaxwave.simulate(equation, grid, 5e-4, max_vel=2700.0, **given)
        return balanced(out.records)

    value = jax.value_and_grad(misfit, has_aux=True)
    (_, got), gradient = value(jaxwave.Viscoelastic(*models, 0 * vp, 0 * vp, relaxation=ConstantQ(BAND, 2)))
    (_, want), expected = value(jaxwave.Elastic(*models))
    reference.assert_close(got, want, 1e-13)
    for name in ("lamb", "mu", "buoyancy"):
        reference.assert_close(getattr(gradient, name), getattr(expected, name), 1e-12)


# ---- waves ----

V, RHO, Q = 2000.0, 1500.0, 20.0
CELLS = 16
FREQUENCY = 20.0  # of the lossless wave


def relaxing(modulus, relaxation, inverse_q, k):
    """v and a stress s of cos(k x) and sin(k x), and the mechanisms' r: x' = matrix x."""
    modulus = modulus * relaxation.relaxed(inverse_q)
    taus, rates = zip(*relaxation.mechanisms(inverse_q), strict=True)
    n = len(taus)
    matrix = np.zeros((2 + n, 2 + n))
    matrix[0, 1] = k / RHO  # v_t = s_x / rho
    matrix[1, 0] = -k * modulus * (1 + sum(taus))  # s_t = M (1 + sum of tau) v_x - sum of r
    matrix[1, 2:] = -1
    for i, (tau, rate) in enumerate(zip(taus, rates, strict=True)):  # r_t = -(r - M tau v_x) rate
        matrix[2 + i, 0], matrix[2 + i, 2 + i] = -k * modulus * tau * rate, -rate
    return matrix


@pytest.mark.parametrize("relaxation", [ConstantQ(BAND, 3, reference=15.0), Zener(20.0)])
def test_the_waves_are_those_of_the_complex_modulus(relaxation):
    """The frequency of a standing wave solves rho w^2 = M(w) k^2: what the other tests hold the waves against."""
    k = 2 * np.pi * FREQUENCY / V
    values = np.linalg.eigvals(relaxing(RHO * V**2, relaxation, 1 / Q, k))
    (w,) = (1j * x for x in values if x.imag < -1)
    taus, rates = zip(*relaxation.mechanisms(1 / Q), strict=True)
    modulus = RHO * V**2 * relaxation.relaxed(1 / Q)
    modulus *= 1 + sum(t * -1j * w / (-1j * w + r) for t, r in zip(taus, rates, strict=True))
    assert abs(RHO * w**2 / (modulus * k**2) - 1) < 1e-12
    # Its amplitude decays as exp(-w t / (2 Q)), to first order in 1/Q: the speed grows by 1 / (pi Q) with log w.
    assert -2 * w.imag / w.real == pytest.approx(
        float(relaxation.inverse_q(w.real / 2 / np.pi, 1 / Q)), rel=2 / np.pi / Q
    )


def errors(run, exact, finest=2):
    """The relative errors of runs with so many times the steps and cells."""
    found = []
    for fine in range(finest):
        got, times = run(2**fine)
        want = exact(times)
        found.append(largest(got - want) / largest(want))
    return found


@pytest.mark.optimised
@pytest.mark.parametrize("relaxation", [ConstantQ(BAND, 3, reference=15.0), Zener(20.0)])
def test_a_pressure_wave_decays_as_its_mechanisms_say(relaxation):
    length = V / FREQUENCY
    k = 2 * np.pi / length

    def run(fine):
        n, dt, nt = CELLS * fine, 1e-3 / fine, 150 * fine
        h = length / n
        models = (np.full(n, x) for x in (V, RHO, 1 / Q))
        equation = jaxwave.Viscoacoustic(*models, relaxation=relaxation)
        start = {"pressure_0": np.cos(plane_waves.phase((n,), (h,), (k,), (0,)))}
        return plane_waves.run(equation, (h,), dt, nt, start, "p")["p"], dt * np.arange(nt)

    def exact(times):  # p = -s, v = 0 at first: s of cos(k x) and v of sin(k x) have the same matrix with -k
        matrix = relaxing(RHO * V**2, relaxation, 1 / Q, k)
        return plane_waves.solution(matrix, [0, 1, *[0] * relaxation.number], times)[:, 1]

    coarse, fine = errors(run, exact)
    # Second order in time; three wavelengths of a wave that falls to a half.
    assert fine < 3e-3
    assert coarse / fine == pytest.approx(4, rel=0.05)


@pytest.mark.optimised
@pytest.mark.parametrize(("polarisation", "speed", "q"), [("x", 2000.0, 30.0), ("y", 1100.0, 20.0)], ids=["P", "S"])
def test_elastic_waves_decay_as_their_own_q_says(polarisation, speed, q):
    relaxation = ConstantQ(BAND, 3, reference=15.0)
    length = speed / FREQUENCY
    k = 2 * np.pi / length
    modulus = RHO * speed**2

    def run(fine):
        n, dt, nt = CELLS * fine, 5e-4 / fine * speed / 2000.0, 300 * fine
        h = length / n
        models = jaxwave.vpvsrho_to_lambmubuoyancy(*(np.full((8, n), x) for x in (2000.0, 1100.0, RHO)))
        equation = jaxwave.Viscoelastic(*models, *(np.full((8, n), 1 / x) for x in (30.0, 20.0)), relaxation=relaxation)
        stress = f"sigmax{polarisation}_0"
        offset = equation.wavefield_offsets(2)[stress]
        start = {stress: np.sin(plane_waves.phase((8, n), (h, h), (0, k), offset))}
        if polarisation == "x":  # the other normal stress, which follows and drives nothing
            start["sigmayy_0"] = 0 * start[stress]
        times = dt * np.arange(nt) - dt / 2
        got = plane_waves.run(equation, (h, h), dt, nt, start, polarisation)[polarisation]
        return got / np.cos(k * h / 2 * (polarisation == "x")), times  # at its offset along x

    def exact(times):
        return plane_waves.solution(relaxing(modulus, relaxation, 1 / q, k), [0, 1, 0, 0, 0], times)[:, 0]

    coarse, fine = errors(run, exact)
    assert fine < 2e-3
    assert coarse / fine == pytest.approx(4, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["acoustic", "elastic"])
def test_rough_lossy_media_do_not_grow(kind):
    """20,000 steps in float32 at the largest stable step, with layers and free faces."""
    shape, rng = (24, 26), np.random.default_rng(0)
    v, rho = (np.float32(layered(shape, *span, seed)) for seed, span in enumerate([(800.0, 4000.0), (500.0, 3000.0)]))
    inverse_q = np.float32(rng.uniform(0, 0.3, shape))
    relaxation = ConstantQ(BAND, 3)
    if kind == "acoustic":
        equation = jaxwave.Viscoacoustic(v, rho, inverse_q, relaxation=relaxation)
    else:
        models = jaxwave.vpvsrho_to_lambmubuoyancy(v, v * np.float32(rng.uniform(0, 0.7, shape)), rho)
        equation = jaxwave.Viscoelastic(*models, inverse_q, inverse_q, relaxation=relaxation)
    boundary = jaxwave.Boundary(("free", "pml", "free", "rigid"), (0, 6, 0, 0), 25.0, 0.1 * (kind == "elastic"))
    dt = 0.999 * jaxwave.grid.cfl_time_step(
        equation.largest_speed({k: getattr(equation, k) for k in equation.models}, (5.0, 5.0), 4), (5.0, 5.0)
    )
    f = np.float32(np.random.default_rng(1).standard_normal((1, 1, 100)))
    out = jaxwave.simulate(
        equation,
        jaxwave.Grid(5.0, 4, boundary),
        dt,
        nt=100,
        sources={"p": (f, [[[5, 5]]])},
        receivers={"p": [[[9, 9]]]},
    )
    later = jaxwave.simulate(
        equation, jaxwave.Grid(5.0, 4, boundary), dt, nt=20000, state=out.state, receivers={"p": [[[9, 9]]]}
    )
    at_middle, at_end = (largest(later.records["p"][..., part]) for part in (slice(9000, 10000), slice(-1000, None)))
    # Of an elastic medium the source leaves a static stress.
    assert at_end < (1e-2 if kind == "acoustic" else 2) * largest(out.records["p"])
    assert at_end <= 1.01 * at_middle


def test_a_relaxation_of_the_users_own():
    """Any frozen object that gives strengths and rates."""

    @dataclasses.dataclass(frozen=True)
    class Single(Relaxation):
        number = 1

        def mechanisms(self, inverse_q):
            return [(2 * inverse_q, 100.0)]

    v = layered((20, 16))
    found = jaxwave.simulate(
        jaxwave.Viscoacoustic(v, 0 * v + 1000.0, 0 * v + 0.1, relaxation=Single()), GRID, 4e-4, **survey("p")
    )
    lossless = jaxwave.simulate(
        jaxwave.Viscoacoustic(v, 0 * v + 1000.0, 0 * v, relaxation=Single()), GRID, 4e-4, **survey("p")
    )
    assert 1e-3 < largest(found.records["p"] - lossless.records["p"]) / largest(lossless.records["p"]) < 1
