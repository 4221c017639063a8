"""An inversion whose shots are divided among processes, each with devices of its own.

    python examples/processes.py --processes 2            # on one machine, on its CPU
    srun --ntasks-per-node=4 python examples/processes.py # under SLURM, with a GPU for each task

Every process runs this whole file. JAX knows the devices of all of them; the arrays of the shots are divided among the
devices, and what is exchanged is the sum of the gradients, in every step. Process 0 prints and saves.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, help="start so many processes here; otherwise the cluster has")
    parser.add_argument("--process", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=12355, help="port of the first process, on one machine")
    parser.add_argument("--shots", type=int, default=6)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--storage", default="device", choices=("device", "cpu", "disk", "recompute"))
    parser.add_argument("--out", type=Path, default=Path("inverted.npz"))
    return parser.parse_args()


def start(n: int) -> int:
    """Starts this file in ``n`` processes, and ends all when one fails."""
    command = [sys.executable, __file__, *sys.argv[1:]]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    children = [subprocess.Popen([*command, "--process", str(k)], env=environment) for k in range(n)]
    try:
        while any(child.poll() is None for child in children):
            if any(child.poll() for child in children):
                break  # the others would wait for it
            time.sleep(0.1)
        return int(any(child.poll() != 0 for child in children))
    finally:
        for child in children:
            child.kill()
            child.wait()


def main(a: argparse.Namespace) -> None:
    import jax

    if a.process is None:
        jax.distributed.initialize()  # SLURM, Open MPI and the like say where the others are
    else:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"localhost:{a.port}", a.processes, a.process)
    import jax.numpy as jnp
    import optax
    from jax.sharding import Mesh, PartitionSpec

    import jaxwave

    z, x = np.mgrid[:50, :90]
    start = (1600.0 + 15.0 * z).astype(np.float32)
    true = start + np.float32(200) * (np.hypot(z - 25, x - 45) < 9)
    nt, dt = 450, 1.4e-3
    wavelet = np.asarray(jaxwave.wavelets.ricker(10.0, nt, dt, peak_time=0.12))
    columns = np.linspace(5, 84, a.shots).astype(int)
    receivers = [[depth, cell] for depth in (2, 47) for cell in range(90)]
    mesh = Mesh(np.array(jax.devices()), ("shots",))
    survey = jaxwave.devices.spread(
        {
            "source_amplitudes": np.tile(wavelet, (a.shots, 1, 1)),
            "source_locations": np.array([[[2, column]] for column in columns]),
            "receiver_locations": np.array([receivers] * a.shots),
        },
        mesh,
    )

    def record(v, survey):
        out = jaxwave.scalar(v, 10.0, dt, **survey, max_vel=2800.0, pml_freq=10.0, storage_mode=a.storage)
        return out.receiver_amplitudes

    def of_all(function, result):
        """A function of a model and some shots, on every device with its own."""
        shots = PartitionSpec("shots")
        return jax.shard_map(function, mesh=mesh, in_specs=(PartitionSpec(), shots, shots), out_specs=result)

    observed = jax.jit(of_all(lambda v, survey, _: record(v, survey), PartitionSpec("shots")))(
        true, survey, survey["source_amplitudes"]
    )

    def misfit(v, survey, observed):
        return jax.lax.psum(jnp.sum((record(v, survey) - observed) ** 2), "shots")

    optimizer = optax.adam(20.0)

    @jax.jit
    def step(v, state, survey, observed):
        value, gradient = jax.value_and_grad(of_all(misfit, PartitionSpec()))(v, survey, observed)
        update, state = optimizer.update(gradient, state)
        return optax.apply_updates(v, update), state, value

    v, misfits = jnp.asarray(start), []
    state = optimizer.init(v)
    for _ in range(a.steps):
        v, state, value = step(v, state, survey, observed)
        misfits.append(float(value))
    if jax.process_index() == 0:
        error = np.linalg.norm(np.asarray(v) - true) / np.linalg.norm(start - true)
        print(f"{jax.device_count()} devices of {jax.process_count()} processes: misfit {misfits[0]:.4g} to "
              f"{misfits[-1]:.4g}, error of the model {error:.2f} of that at the start")  # fmt: skip
        np.savez(a.out, v=np.asarray(v), misfits=misfits)
    jax.distributed.shutdown()


if __name__ == "__main__":
    given = arguments()
    if given.processes and given.process is None:
        sys.exit(start(given.processes))
    main(given)
