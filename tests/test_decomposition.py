"""One model over several devices: equal to a run on one device in everything that it returns and in every derivative.

Programs run on four CPU devices, in processes of their own.
"""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh

import jaxwave
from jaxwave._numerics.boundary import PaddedGrid
from jaxwave._setup.pieces import of_field

PROGRAM = """
import os, re, sys
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
import jax, jax.numpy as jnp, numpy as np, jaxwave
from jax.sharding import Mesh
from jaxwave import IGNORE_LOCATION, storage

jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)
devices = np.array(jax.devices())


def cut(axes, shape=(4,), names=None, shots=None):
    names = names or tuple(name for name in axes if name)
    return jaxwave.Decomposition(Mesh(devices[: int(np.prod(shape))].reshape(shape), names), axes, shots)


def equation_of(which, shape):
    v, rho = rng.uniform(1500, 2500, shape), rng.uniform(1000, 2000, shape)
    q = jaxwave.attenuation.ConstantQ((5.0, 50.0), 2)
    return {
        "scalar": lambda: jaxwave.Scalar(v),
        "acoustic": lambda: jaxwave.Acoustic(v, rho),
        "elastic": lambda: jaxwave.Elastic(*jaxwave.vpvsrho_to_lambmubuoyancy(v, v / 1.8, rho)),
        "viscoacoustic": lambda: jaxwave.Viscoacoustic(v, rho, 0 * v + 0.02, relaxation=q),
        "acoustic_vti": lambda: jaxwave.AcousticVTI(v, 0 * v + 0.2, 0 * v + 0.1, rho),
    }[which]()


def survey(equation, shape, n_shots, nt):
    ndim = len(shape)
    places = np.stack([rng.integers(1, n - 1, (n_shots, 3)) for n in shape], -1)
    there = np.stack([rng.integers(0, n, (n_shots, 7)) for n in shape], -1)
    places[0, 1] = there[-1, 2] = IGNORE_LOCATION
    f = rng.standard_normal((n_shots, 3, nt))
    sources = {kind: (k * f, places) for k, kind in enumerate(equation.source_kinds(ndim), 1)}
    return sources, {kind: there for kind in equation.receiver_kinds(ndim)}


def close(name, found, want, rtol=1e-12):
    found, want = jax.tree.leaves(found), jax.tree.leaves(want)
    assert len(found) == len(want)
    for a, b in zip(found, want):
        assert a.shape == b.shape, (name, a.shape, b.shape)
        if b.size:
            np.testing.assert_allclose(a, b, rtol=0, atol=rtol * float(jnp.abs(b).max()), err_msg=name)


def check(which, shape, order, boundary, cuts, modes=("device",), nt=24, n_shots=2, dt=4e-4,
    products=False, more=True):
    equation, grid = equation_of(which, shape), jaxwave.Grid(5.0, order, boundary)
    sources, receivers = survey(equation, shape, n_shots, nt)

    def run(decomposition, equation, sources=sources, mode="device", **options):
        return jaxwave.simulate(equation, grid, dt, sources=sources, receivers=receivers, storage=mode,
            max_vel=2700.0, decomposition=decomposition, **options)

    def misfit(equation, sources, decomposition, mode):
        records = run(decomposition, equation, sources, mode).records
        return sum(jnp.sum(x ** 2) / jax.lax.stop_gradient(jnp.sum(x ** 2)) for x in records.values()), records

    amplitudes = {kind: f for kind, (f, _) in sources.items()}

    def gradients(decomposition, mode, equation=equation):
        def of(equation, amplitudes):
            with_places = {kind: (f, sources[kind][1]) for kind, f in amplitudes.items()}
            return misfit(equation, with_places, decomposition, mode)
        return jax.jit(jax.grad(of, (0, 1), has_aux=True))(equation, amplitudes)

    want = gradients(None, "device")
    if not more:
        for decomposition in cuts:
            close("gradient and records", gradients(decomposition, "device"), want)
        return
    one = run(None, equation)
    along = jax.tree.map(lambda x: x * rng.uniform(0.9, 1.1, x.shape), equation)

    def product(decomposition, mode):
        return jax.jvp(lambda e: gradients(decomposition, mode, e)[0][0], (equation,), (along,))[1]

    for decomposition in cuts:
        out = run(decomposition, equation)
        close("records", out.records, one.records)
        close("state", (out.state.wavefields, out.state.memory), (one.state.wavefields, one.state.memory))
        assert bool(out.is_finite)
        for mode in modes:
            close(str(mode), gradients(decomposition, mode), want, 1e-12 if mode != REVERSE else 1e-10)
        if products:
            close("product", product(decomposition, modes[0]), product(None, "device"))
        # Another run goes on from its state.
        after = run(decomposition, equation, state=out.state)
        close("goes on", after.records, run(None, equation, state=one.state).records)


REVERSE = storage.Reverse(segment=8)
PML = jaxwave.Boundary(None, 4, 25.0)
case = sys.argv[1]
if case == "scalar":
    # Uneven: 60 cells on four devices, 57 on two.
    cuts = [cut(("z", None)), cut(("z", "x"), (2, 2)), cut((None, "x"), (2, 2), ("s", "x"), "s")]
    check("scalar", (53, 49), 4, PML, cuts, ("device", "recompute", REVERSE), products=True)
elif case == "scalar, short":
    check("scalar", (21, 20), 4, PML, [cut(("z", "x"), (2, 2))], nt=12, more=False)
elif case == "elastic, short":
    layers = jaxwave.Boundary(("free", "pml", "pml", "pml"), (0, 4, 4, 4), 25.0)
    check("elastic", (9, 33), 4, layers, [cut((None, "x"), (2,))], nt=12, more=False)
elif case == "tiers":
    states_in_ram = storage.Recompute(checkpoints=storage.HostStorage())
    check("acoustic", (40, 41), 2, PML, [cut(("z", "x"), (2, 2))], ("cpu", "disk", states_in_ram))
elif case == "elastic":
    # Every kind of source and receiver: strain rates at a cut read cells on its other side.
    layers = jaxwave.Boundary(("free", "pml", "pml", "pml"), (0, 4, 4, 4), 25.0, 0.1)
    check("elastic", (20, 61), 8, layers, [cut((None, "x"), (3,))], ("device", REVERSE))
    check("elastic", (41, 41), 4, PML, [cut(("z", "x"), (2, 2))], dt=3e-3, nt=8)  # sub-steps
elif case == "acoustic 3-D":
    layers = jaxwave.Boundary(None, 2, 25.0)
    check("acoustic", (17, 20, 16), 4, layers, [cut(("z", "y", None), (2, 2)), cut((None, None, "x"), (2,))], nt=12)
elif case == "others":
    check("viscoacoustic", (20, 41), 4, PML, [cut((None, "x"), (2,))])
    check("acoustic_vti", (41, 20), 4, PML, [cut(("z", None), (2,))])
elif case == "resume":
    # An inversion on four devices goes on where it was on one, and on two.
    import optax, tempfile
    shape = (41, 40)
    truth = equation_of("acoustic", shape)
    grid, (sources, receivers) = jaxwave.Grid(5.0, 4, PML), survey(truth, shape, 2, 30)
    optimizer = optax.adam(5.0)

    def descend(decomposition):
        def records(equation):
            return jaxwave.simulate(equation, grid, 4e-4, sources=sources, receivers=receivers, max_vel=2700.0,
                decomposition=decomposition).records["p"]
        observed = records(truth)
        misfit = jax.jit(jax.value_and_grad(lambda equation: jnp.sum((records(equation) - observed) ** 2)))
        def step(state, iteration):
            equation, moments = state
            value, gradient = misfit(equation)
            update, moments = optimizer.update(gradient, moments)
            return (optax.apply_updates(equation, update), moments), value
        return step

    start = jaxwave.Acoustic(np.full(shape, 2000.0), np.full(shape, 1500.0))
    start = start, optimizer.init(start)
    path = tempfile.mkdtemp() + "/checkpoint.h5"
    for n, devices_used in ((2, cut(("z", None), (2,))), (4, None), (6, cut(("z", "x"), (2, 2)))):
        found = jaxwave.loop.run(descend(devices_used), start, n, checkpoint=path, every=1, progress=False)
    want = jaxwave.loop.run(descend(None), start, 6, progress=False)
    close("misfits", [np.array(found.misfits)], [np.array(want.misfits)], 1e-10)
    close("models", found.state[0], want.state[0], 1e-10)
elif case == "messages":
    # Two a step, of as many cells as the stencil reads beyond a cut; none of a wavefield, and no sum but at the end.
    decomposition = cut(("z", None))
    v = jnp.full((64, 40), 1500.0, jnp.float32)
    def records(v):
        return jaxwave.simulate(jaxwave.Scalar(v), jaxwave.Grid(5.0, 8, PML), 1e-3, nt=30, max_vel=1500.0,
            sources=(jnp.ones((1, 1, 30), jnp.float32), [[[20, 20]]]), receivers=[[[9, 9]]],
            decomposition=decomposition).records[""]
    text = jax.jit(records).lower(v).compile().as_text()
    bodies = [b for b in re.split(r"\\n}\\n", text) if "collective-permute" in b and "ENTRY" not in b]
    in_loop = [len(re.findall(r" collective-permute(?:-start)?\\(", b)) for b in bodies]
    assert max(in_loop) == 4, in_loop  # of a turn of two steps
    loop = bodies[in_loop.index(4)]
    sent = re.findall(r" = \\(?(f32\\[[0-9,]*\\]).* collective-permute(?:-start)?\\(", loop)
    columns = 40 + 8 + 8 + (-(40 + 8 + 8)) % 16
    assert set(sent) == {f"f32[1,4,{columns}]"}, sent
    assert not re.findall(r"all-gather|all-to-all|all-reduce", loop)
    # Each device takes a share of the memory, and that is what is estimated.
    one, share = (jaxwave.estimate_memory(jaxwave.Scalar(jax.ShapeDtypeStruct((240, 100), jnp.float32)),
        jaxwave.Grid(5.0, 4, PML), 1e-3, nt=100, max_vel=1500.0, receivers=[[[9, 9]]], decomposition=d)
        for d in (None, decomposition))
    assert 3.5 < one.history / share.history < 4 and one.device / share.device > 3.3, (one, share)
print("right")
"""


def run(case):
    environment = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1" if case != "messages" else "0"}
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, case], capture_output=True, text=True, timeout=900,
        env=environment,
    )  # fmt: skip
    assert out.stdout.endswith("right\n"), out.stdout + out.stderr


@pytest.mark.parametrize("case", ["scalar, short", "elastic, short", "messages"])
def test_equals_one_device(case):
    run(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["scalar", "elastic", "tiers", "acoustic 3-D", "others", "resume"])
def test_equals_one_device_in_all_cases(case):
    run(case)


MESH = AbstractMesh((4, 2), ("z", "x"))


def simulate(decomposition, equation=None, shape=(60, 40), **options):
    boundary = options.pop("boundary", jaxwave.Boundary(None, 4, 25.0))
    return jaxwave.simulate(
        equation or jaxwave.Scalar(np.full(shape, 1500.0)), jaxwave.Grid(5.0, 4, boundary), 1e-3, nt=3,
        receivers=[[[3, 3]]] * options.pop("shots", 1), decomposition=decomposition, **options,
    )  # fmt: skip


def test_what_cannot_be_divided_says_so():
    cut = jaxwave.Decomposition
    with pytest.raises(TypeError, match=r"must be a jaxwave.Decomposition"):
        simulate(MESH)
    with pytest.raises(ValueError, match="for each of the 2 axes"):
        simulate(cut(MESH, ("z",)))
    with pytest.raises(ValueError, match="cut at least one"):
        simulate(cut(MESH, (None, None)))
    with pytest.raises(ValueError, match=r"different axes of its mesh, which has \('z', 'x'\)"):
        simulate(cut(MESH, ("z", "z")))
    with pytest.raises(ValueError, match="3 shots do not divide evenly among 4"):
        simulate(cut(MESH, (None, "x"), "z"), shots=3)
    with pytest.raises(NotImplementedError, match="only absorbing layers and plain faces"):
        simulate(cut(MESH, ("z", None)), boundary=jaxwave.Boundary(("free", "pml", "pml", "pml"), (0, 4, 4, 4), 25.0))
    with pytest.raises(NotImplementedError, match="leave them out"):
        simulate(cut(MESH, ("z", None)), callbacks=jaxwave.Callbacks(forward=print))

    class Own(jaxwave.Scalar):
        divisible = False

    with pytest.raises(NotImplementedError, match="Own cannot be divided"):
        simulate(cut(MESH, ("z", None)), Own(np.full((60, 40), 1500.0)))


def test_the_remedy_for_parts_that_are_too_thin():
    """34 cells with layers: four parts would have too few, and the number that the message gives has enough."""
    with pytest.raises(ValueError, match=r"too few for 4 parts: each needs 12.* Use at most 2 parts"):
        simulate(jaxwave.Decomposition(MESH, ("z", None)), shape=(26, 40))
    grid = PaddedGrid((26, 40), (5.0, 5.0), 4, (4,) * 4)
    part = jaxwave.Decomposition(AbstractMesh((2,), ("z",)), ("z", None)).part(grid)
    assert part.face(0) >= 12


@pytest.mark.parametrize("offset", [(0, 0), (1, 0), (1, 1)])
def test_pieces_are_put_together_again(offset):
    grid = PaddedGrid((21, 26), (5.0, 5.0), 4, (2,) * 4)
    decomposition = jaxwave.Decomposition(AbstractMesh((2, 2), ("z", "x")), ("z", "x"))
    seen = np.random.default_rng(0).standard_normal((1, *grid.seen(offset)))
    x = grid.to_padded(jnp.asarray(seen), offset)
    pieces = of_field(decomposition.axes, grid, decomposition.part(grid), x.shape, None, offset)
    cut = pieces.cut(x)
    assert len(cut) == 2 ** sum(offset)
    assert all(n % 2 == 0 for n in cut[frozenset()].shape[1:])
    np.testing.assert_array_equal(pieces.join(cut), x)


def test_one_part_is_a_run_on_one_device():
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("z",))
    v = jnp.asarray(np.random.default_rng(0).uniform(1500, 2500, (20, 22)))

    def misfit(v, decomposition):
        out = jaxwave.simulate(
            jaxwave.Scalar(v), jaxwave.Grid(5.0, 4, jaxwave.Boundary(None, 3, 25.0)), 5e-4, max_vel=2500.0,
            sources=(jnp.ones((1, 1, 20)), [[[9, 9]]]), receivers=[[[3, 15]]], decomposition=decomposition,
        )  # fmt: skip
        return jnp.sum(out.records[""] ** 2)

    found = jax.jit(jax.grad(misfit), static_argnums=1)(v, jaxwave.Decomposition(mesh, ("z", None)))
    want = jax.jit(jax.grad(misfit), static_argnums=1)(v, None)
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-13 * float(jnp.abs(want).max()))
