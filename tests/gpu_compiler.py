"""Programs compiled for a GPU that is not there: XLA's compiler takes the description of one in place of a device.

Needs JAX's own packages for CUDA 13 (``jax-cuda13-plugin`` and ``jax-cuda13-pjrt``, of JAX's version) and ``ptxas``,
which ``nvidia-cuda-nvcc`` brings. Nothing can be run. As a script, for :mod:`test_gpu_pinned`: prints what it found as
JSON.
"""

import importlib.util
import json
import os
import re
import sys

NEEDED = "jax_plugins.xla_cuda13"
HALO, LAYER = 2, 20
CELLS, STEPS, STEPS_PER_TRANSFER = 256, 256, 4

# cores, shared memory of a core, bandwidth, L2, clock, memory, capability, shared memory of a block, threads, units
GPUS = {
    "t4": ("Tesla T4", 40, 65536, 320064000000, 4194304, 1.59, 15843721216, 7, 5, 65536, 1024, 64),
    "h100": ("NVIDIA H100 80GB HBM3", 132, 233472, 3352320000000, 52428800, 1.98, 84929347584, 9, 0, 232448, 2048, 128),
}


def there() -> bool:
    """Whether JAX's packages for CUDA are installed."""
    try:
        return importlib.util.find_spec(NEEDED) is not None
    except ModuleNotFoundError:
        return False


def target(gpu: str) -> str:
    """The description of a GPU as XLA reads it."""
    name, cores, shared, bandwidth, l2, clock, memory, major, minor, block, threads, units = GPUS[gpu]
    return f"""gpu_device_info {{ threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
      shared_memory_per_core: {shared} threads_per_core_limit: {threads} core_count: {cores} fpus_per_core: {units}
      block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535 memory_bandwidth: {bandwidth}
      l2_cache_size: {l2} clock_rate_ghz: {clock} device_memory_size: {memory} shared_memory_per_block_optin: {block}
      cuda_compute_capability {{ major: {major} minor: {minor} }} registers_per_core_limit: 65536
      registers_per_block_limit: 65536 }} platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 7 }}
      runtime_version {{ major: 13 minor: 0 patch: 0 }} device_description_str: "{name}" """


def compiled(gpu, function, *shapes):
    """The executable of ``function(*shapes)``."""
    import jax
    from jax.experimental import topologies

    topology = topologies.get_topology_desc(platform="cuda", target_config=target(gpu), topology="1x1x1")
    mesh = topologies.make_mesh(topology, (1,), ("devices",))
    where = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where) for x in shapes]
    jax.default_backend = lambda: "gpu"  # which chooses the formulation of some parts
    # It is on for an H100 and off for a T4, where transfers would then wait for the steps.
    options = {"xla_gpu_enable_latency_hiding_scheduler": True}
    return jax.jit(function, out_shardings=where).lower(*shapes).compile(compiler_options=options)


def gradient(cells, steps, storage):
    """A gradient of the scalar equation and the shape of its model."""
    import jax
    import jax.numpy as jnp

    import jaxwave

    ndim, wavelet = len(cells), jnp.ones((1, 1, steps), jnp.float32)

    def misfit(v):
        out = jaxwave.scalar(
            v, 10.0, 1e-3, source_amplitudes=wavelet, source_locations=[[[5] * ndim]], pml_width=LAYER,
            receiver_locations=[[[9] * ndim]], pml_freq=10.0, max_vel=2000.0, storage_mode=storage,
        )  # fmt: skip
        return jnp.sum(out.receiver_amplitudes**2)

    return jax.grad(misfit), jax.ShapeDtypeStruct(cells, jnp.float32)


def transfers(text):
    """For each loop that moves chunks: starts and ends of transfers and loops of steps, in the order of launch."""
    found = []
    for body in re.split(r"\n\}\n", re.sub(r"/\*.*?\*/", "", text)):
        events = []
        for name, operation in re.findall(r"\n +(?:ROOT )?%(\S+) = .*? (while|fusion-start|fusion-done)\(", body):
            moved = re.match(r"dynamic-(?:update-)?slice-(start|done)(\S*)", name)
            if moved:
                events.append(f"{moved[1]}{moved[2]}")
            elif operation == "while":
                events.append("steps")
        if not body.lstrip().startswith("ENTRY") and any(event.startswith("start") for event in events):
            found.append(events)
    return found


def places(text, entry):
    """Where XLA took chunks of such entries to go to or come from, as [first, stride] in bytes; sorted."""
    shape = ",".join(map(str, entry))
    lines = re.findall(rf" = f32\[\d+,{shape}\]\S* dynamic-(?:update-)?slice\(.*", text)
    told = [re.search(r'"dynamic_slice_config":\{.*"byte_offset":"(\d+)","byte_stride":"(-?\d+)"', x) for x in lines]
    return sorted([int(x[1]), int(x[2])] for x in told if x)


def padded(cells):
    """The grid that is held in memory: with layers and halos, the last axis rounded up to a multiple of 16."""
    *others, last = (n + 2 * LAYER + 2 * HALO for n in cells)
    return [*others, -(-last // 16) * 16]


def main(task, gpu):
    from jaxwave.storage import PinnedStorage, pinned

    if task == "large":
        cells = (CELLS,) * 3
        program = compiled(gpu, *gradient(cells, STEPS, PinnedStorage(steps_per_transfer=STEPS_PER_TRANSFER)))
        memory, entry = program.memory_analysis(), [1, *padded(cells)]
        return {
            "device": memory.temp_size_in_bytes, "host": memory.host_temp_size_in_bytes, "entry": entry,
            "transfers": transfers(program.as_text()), "places": places(program.as_text(), entry),
        }  # fmt: skip
    storage = PinnedStorage(steps_per_transfer=STEPS_PER_TRANSFER, counted=True)
    program, tried = compiled(gpu, *gradient((2000,), 48, storage)), compiled(gpu, pinned.counted_loops)
    entry = [1, *padded((2000,))]
    return {
        "entry": entry, "places": places(program.as_text(), entry),
        "tried": places(tried.as_text(), [pinned.CELLS]), "turns": pinned.TURNS, "steps": pinned.STEPS,
        "cells": pinned.CELLS,
    }  # fmt: skip


if __name__ == "__main__":
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
    os.environ["JAX_PLATFORMS"] = "cpu,cuda"
    print(json.dumps(main(*sys.argv[1:])))
