"""Shots on several devices, by ``shard_map`` and by sharded arguments; on two CPU devices in a process of its own."""

import subprocess
import sys

import pytest
from compilation import environment

PROGRAM = """
import os, sys
os.environ["XLA_FLAGS"] += " --xla_force_host_platform_device_count=2"
import jax, jax.numpy as jnp, numpy as np, jaxwave
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

jax.config.update("jax_enable_x64", True)
mesh = Mesh(np.array(jax.devices()), ("shots",))
n = 4
amplitudes = jnp.sin(0.5 * jnp.arange(n * 12.0)).reshape(n, 1, 12)
places = jnp.array([[[3 + i]] for i in range(n)])
v = 1500.0 + 5 * jnp.sin(jnp.arange(14.0))
dv = jnp.cos(jnp.arange(14.0))
folder = sys.argv[1]
spec = P(), P("shots"), P("shots")


def misfit(v, amplitudes, places, mode):
    out = jaxwave.scalar(v, 5.0, 1e-3, source_amplitudes=amplitudes, source_locations=places, pml_freq=25.0,
        receiver_locations=places + 2, max_vel=1510.0, pml_width=3, storage_mode=mode, storage_path=folder)
    return jnp.sum(out.receiver_amplitudes ** 2)


def close(found, want):  # rounding of float64, over the sum of the shots in another order
    np.testing.assert_allclose(found, want, rtol=1e-12, atol=1e-12 * float(jnp.abs(want).max()))


# One program for everything that is differentiated: value, gradients of both arguments, Hessian product.
def everything(misfit):
    def program(v, amplitudes, places):
        f = lambda v, a: misfit(v, a, places)
        value, (gv, ga) = jax.value_and_grad(f, (0, 1))(v, amplitudes)
        return value, gv, ga, jax.jvp(jax.grad(f), (v, amplitudes), (dv, 0 * amplitudes))[1]
    return program

want = jax.jit(everything(lambda *x: misfit(*x, "device")))(v, amplitudes, places)

for mode in sys.argv[2].split(","):
    mode = jaxwave.storage.PinnedStorage(steps_per_transfer=3) if mode == "pinned" else mode
    # With the default check_vma, a misfit that is a sum over the devices has the gradient of the whole survey.
    local = lambda v, a, p: misfit(v, a, p, mode)
    spread = jax.shard_map(lambda *x: jax.lax.psum(local(*x), "shots"), mesh=mesh, in_specs=spec, out_specs=P())
    if mode in ("device", "cpu") or not isinstance(mode, str):
        for found, expected in zip(jax.jit(everything(spread))(v, amplitudes, places), want, strict=True):
            close(found, expected)
    # The derivative taken within it, as in the loop of an optimiser that runs on all devices.
    inside = jax.shard_map(lambda v, a, p: jax.grad(lambda v: jax.lax.psum(local(v, a, p), "shots"))(v),
                           mesh=mesh, in_specs=spec, out_specs=P())
    close(jax.jit(inside)(v, amplitudes, places), want[1])
assert not os.listdir(folder)

put = lambda x, where: jax.device_put(x, NamedSharding(mesh, where))
sharded = [put(x, where) for x, where in zip((v, amplitudes, places), spec)]
for found, expected in zip(jax.jit(everything(lambda *x: misfit(*x, "device")))(*sharded), want, strict=True):
    close(found, expected)
close(jax.grad(lambda v: misfit(v, *sharded[1:], "device"))(sharded[0]), want[1])
pinned = jaxwave.storage.PinnedStorage()
for mode in ("cpu", pinned, jaxwave.storage.Recompute(checkpoints=pinned)):
    try:
        jax.jit(jax.grad(lambda *x: misfit(*x, mode)))(*sharded)
    except NotImplementedError as error:
        assert "jax.shard_map" in str(error) and '"recompute"' in str(error), error
    else:
        raise AssertionError("host memory in a program that the compiler divides")

# A history that is large enough for huge pages.
from jaxwave.storage import pages
pages.LEAST = 0
close(jax.jit(jax.grad(lambda *x: misfit(*x, "device")))(*sharded), want[1])
print("right")
"""


@pytest.mark.parametrize("modes", ["device,recompute,pinned", pytest.param("cpu,disk", marks=pytest.mark.slow)])
def test_every_way_to_divide_shots_among_devices_gives_the_same_derivatives(modes, tmp_path):
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(tmp_path), modes]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=900)
    assert (done.returncode, done.stdout.strip()) == (0, "right"), done.stderr[-3000:]
