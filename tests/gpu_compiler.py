"""Looks into programs that are compiled for a GPU that is not there. A script for :mod:`test_gpu_pinned`, which prints
what it found as JSON; the process must be started with the variables of ``gpu_targets.environment``.
"""

import json
import re
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
LAYER = 20
CELLS, STEPS, STEPS_PER_TRANSFER = 256, 256, 4


def compiled(gpu, function, *shapes):
    """The executable of ``function(*shapes)``."""
    from gpu_targets import TARGETS
    from worker_gpu_compiled import compile_for

    return compile_for(TARGETS[gpu], function, shapes)


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
    """The grid that is held in memory."""
    from jaxwave._numerics.boundary import PaddedGrid

    return list(PaddedGrid(cells, (10.0,) * len(cells), 4, (LAYER,) * 2 * len(cells)).padded)


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
    sys.path.insert(0, str(BENCHMARKS))
    print(json.dumps(main(*sys.argv[1:])))
