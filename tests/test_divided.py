"""Programs that the compiler divides among devices by shots: what is exchanged, and what each device holds.

On four CPU devices, in a process of its own.
"""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import contextlib, os, re, sys
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
import jax, jax.numpy as jnp, numpy as np, jaxwave
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from jaxwave import storage

jax.config.update("jax_enable_x64", True)
mesh = Mesh(np.array(jax.devices()), ("shots",))
rng = np.random.default_rng(0)
n, shape, nt = 8, (24, 28), 30
which = sys.argv[1]
v, rho = rng.uniform(1500, 2500, shape), rng.uniform(1000, 2000, shape)
equation = {
    "scalar": lambda: jaxwave.Scalar(v),
    "acoustic": lambda: jaxwave.Acoustic(v, rho),
    "elastic": lambda: jaxwave.Elastic(*jaxwave.vpvsrho_to_lambmubuoyancy(v, v / 1.8, rho)),
    "viscoacoustic": lambda: jaxwave.Viscoacoustic(
        v, rho, 0 * v + 0.02, relaxation=jaxwave.attenuation.ConstantQ((5.0, 50.0), 2)),
}[which]()
kind = "" if which == "scalar" else "p"
grid = jaxwave.Grid(5.0, 4, jaxwave.Boundary(None, 5, 25.0))
amplitudes = rng.standard_normal((n, 2, nt))
places = rng.integers(2, 20, (n, 2, 2))
there = rng.integers(2, 20, (n, 3, 2))


def simulate(equation, amplitudes, places, there, mode="device"):
    return jaxwave.simulate(equation, grid, 5e-4, max_vel=2600.0, sources={kind: (amplitudes, places)},
        receivers={kind: there}, storage=mode)


def misfit(equation, amplitudes, places, there, mode="device"):
    return jnp.sum(simulate(equation, amplitudes, places, there, mode).records[kind] ** 2)


def close(found, want):  # sums over the shots in another order
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
        assert a.shape == b.shape
        if not b.size:
            continue
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11 * float(jnp.abs(b).max()))


given = equation, amplitudes, places, there
specs = P(), P("shots"), P("shots"), P("shots")
sharded = tuple(jax.device_put(x, NamedSharding(mesh, s)) for x, s in zip(given, specs))
one = tuple(jax.device_put(x, jax.devices()[0]) for x in given)
direction = jax.tree.map(lambda x: x * rng.uniform(0.9, 1.1, x.shape), equation)


def product(equation, *survey):
    return jax.jvp(jax.grad(lambda e: misfit(e, *survey)), (equation,), (direction,))[1]


def born(equation, *survey):
    return jax.jvp(lambda e: simulate(e, *survey).records, (equation,), (direction,))[1]


def normal(equation, *survey):
    _, push = jax.linearize(lambda e: simulate(e, *survey).records, equation)
    return jax.linear_transpose(push, equation)(push(direction))[0]


def gradient(mode):
    return lambda *x: jax.grad(lambda e, *s: misfit(e, *s, mode))(*x)


programs = {
    "records": (lambda *x: simulate(*x).records, 0),
    "gradient": (gradient("device"), 1),
    "int8": (gradient(storage.DeviceStorage(storage.Int8())), 1),
    "recompute": (gradient("recompute"), 1),
    "reverse": (gradient(storage.Reverse(segment=8)), 1),
    "born": (born, 0),
    "normal": (normal, 1),
    "product": (product, 1),
}
if which == "viscoacoustic":
    del programs["reverse"]
explicit = jax.make_mesh((4,), ("shots",), axis_types=(jax.sharding.AxisType.Explicit,))


def lowered(function, x):
    if "explicit" not in sys.argv or x is one:
        return jax.jit(function).lower(*x)
    with jax.set_mesh(explicit):
        return jax.jit(function).lower(*x)


if "explicit" in sys.argv:  # types say how arrays are divided, as those on a mesh of jax.make_mesh do
    sharded = tuple(jax.device_put(x, NamedSharding(explicit, s)) for x, s in zip(given, specs))
    with jax.set_mesh(explicit):
        records = jax.jit(simulate)(*sharded).records[kind]
    assert jax.typeof(records).sharding.spec[0] == "shots", jax.typeof(records)
    close(records, simulate(*one).records[kind])
for name in sys.argv[2].split(","):
    function, sums = programs[name]
    divided, whole = (lowered(function, x).compile() for x in (sharded, one))
    with contextlib.nullcontext() if "explicit" not in sys.argv else jax.set_mesh(explicit):
        result = divided(*sharded)
    close(result, whole(*one))
    text = divided.as_text()
    # The sums over the shots at the end, and nothing else, is exchanged. XLA may make one message of all.
    exchanged = re.findall(r"^.* (all-reduce|all-gather|collective-permute|all-to-all)(?:-start)?\\(", text, re.M)
    assert set(exchanged) <= ({"all-reduce"} if sums else set()), (name, exchanged)
    assert len(exchanged) == sums, (name, exchanged)
    assert not sums or " all-reduce" in text[text.index("\\nENTRY"):], name
    ratio = whole.memory_analysis().temp_size_in_bytes / divided.memory_analysis().temp_size_in_bytes
    assert ratio > 2.5, (name, ratio)  # layers' profiles and models are on all devices
    print(name, f"{ratio:.1f}")
if "eager" in sys.argv:
    records = simulate(*sharded).records[kind]
    assert records.sharding.is_equivalent_to(NamedSharding(mesh, P("shots")), 3), records.sharding
    close(records, simulate(*one).records[kind])
    close(jax.grad(misfit)(*sharded), jax.grad(misfit)(*one))
    # Five shots on four devices: three that do nothing are added.
    some = jaxwave.devices.spread((amplitudes[:5], places[:5], there[:5]), mesh)
    assert [x.shape[0] for x in some] == [8] * 3 and len(some[0].sharding.device_set) == 4
    close(jax.jit(jax.grad(misfit))(equation, *some), jax.grad(misfit)(equation, *(x[:5] for x in one[1:])))
print("right")
"""


CASES = [
    ("scalar", "gradient", ""),
    ("acoustic", "gradient", "explicit"),
    pytest.param("scalar", "records,product", "eager", marks=pytest.mark.slow),
    pytest.param("scalar", "int8,recompute,reverse,born,normal", "", marks=pytest.mark.slow),
    pytest.param("acoustic", "records,recompute,reverse,product", "eager", marks=pytest.mark.slow),
    pytest.param("elastic", "gradient,recompute,normal,product", "", marks=pytest.mark.slow),
    pytest.param("viscoacoustic", "gradient,recompute,product", "", marks=pytest.mark.slow),
]


@pytest.mark.hlo
@pytest.mark.parametrize(("equation", "programs", "eager"), CASES)
def test_programs_divide_by_shots_and_exchange_the_sum_alone(equation, programs, eager):
    command = [sys.executable, "-W", "error", "-c", PROGRAM, equation, programs, eager]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=900)
    assert (done.returncode, done.stdout.strip().splitlines()[-1:]) == (0, ["right"]), done.stdout + done.stderr[-3000:]
