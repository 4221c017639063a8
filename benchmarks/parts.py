"""What programs of a model in parts send, compiled for several H100s that are not there; and what that may cost.

    python benchmarks/parts.py            compiles, and writes results/parts-compiled.json and docs/parts_table.md

It needs what gpu_compiled.py beside this does. Times are a model of what was counted, not measured: a step's bytes over
the bandwidth of the device's memory, and for each stage of a step a message to either neighbour, over that of the link
after its latency.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpu_targets import TARGETS, environment, missing

HERE = Path(__file__).parent
RESULT = HERE / "results" / "parts-compiled.json"
TABLE = HERE.parent / "docs" / "parts_table.md"
CASES = [
    ("Scalar", (2048, 2048), (4,)),
    ("Scalar", (256, 256, 256), (4,)),
    ("Scalar", (256, 256, 256), (2, 2)),
    ("Scalar", (512, 512, 256), (8, 8)),
    ("Acoustic", (256, 256, 256), (4,)),
    ("Elastic", (192, 192, 192), (4,)),
]
ACCURACY, LAYER, STEPS = 4, 20, 32
FIELDS = {"Scalar": 1, "Acoustic": 2, "Elastic": 6}
"""Fields that are differentiated along each axis, in 3-D."""
STAGES = {"Scalar": 1, "Acoustic": 2, "Elastic": 2}
LINKS = {"NVLink": (450e9, 5e-6), "InfiniBand": (50e9, 15e-6)}
"""Bytes a second in one direction for each device (NVLink of an H100; 400 Gb/s), and the time before the first one (s);
stated by their makers, and assumed."""
ENOUGH = 0.9


def main() -> None:
    if sys.argv[1:]:
        for line in sys.argv[1:]:
            print(json.dumps(compiled(*json.loads(line))), flush=True)
        return
    if why := missing():
        raise SystemExit(why)
    asked = [json.dumps([*case, program]) for case in CASES for program in ("forward", "gradient")]
    out = subprocess.run(
        [sys.executable, __file__, *asked], env=environment(), stdout=subprocess.PIPE, text=True, check=True
    )
    found = [json.loads(line) for line in out.stdout.splitlines()]
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    TABLE.write_text("\n".join(table(found)) + "\n")


def compiled(name: str, cells: list[int], parts: list[int], program: str) -> dict[str, Any]:
    """What the loops of a program send in a step."""
    from unittest import mock

    import jax
    import jax.numpy as jnp
    from hlo_loops import loops
    from jax.experimental import topologies

    import jaxwave
    from jaxwave._timeloop.dispatch import OPTIONS

    target, ndim, axes = TARGETS["h100"], len(cells), "zyx"[: len(parts)]
    topology = topologies.get_topology_desc(
        platform="cuda", target_config=target.description, topology=f"1x1x{math.prod(parts)}"
    )
    mesh = topologies.make_mesh(topology, tuple(parts), tuple(axes))
    decomposition = jaxwave.Decomposition(mesh, (*axes, *[None] * (ndim - len(parts))))
    equation = getattr(jaxwave, name)
    grid = jaxwave.Grid(10.0, ACCURACY, jaxwave.Boundary(None, LAYER, 10.0))
    kind = "" if name == "Scalar" else "p"
    wavelet, where = jnp.ones((1, 1, STEPS), jnp.float32), [[[LAYER] * ndim]]

    def misfit(*models: jax.Array) -> jax.Array:
        out = jaxwave.simulate(
            equation(*models), grid, 1e-3, max_vel=2000.0, sources={kind: (wavelet, where)}, receivers={kind: where},
            decomposition=decomposition,
        )  # fmt: skip
        return jnp.sum(out.records[kind] ** 2)

    models = [jax.ShapeDtypeStruct(cells, jnp.float32)] * len(equation().models)
    function = misfit if program == "forward" else jax.grad(misfit, argnums=tuple(range(len(models))))
    here = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    models = [jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here) for x in models]
    with mock.patch.object(jax, "default_backend", lambda: "gpu"):
        executable = jax.jit(function).lower(*models).compile(compiler_options=OPTIONS["gpu"])
    described = []
    for loop in loops(executable.as_text()):
        per = STEPS / loop.iterations
        sent = [x for x in loop.transfers if x.opcode.startswith("collective-permute")]
        others = [x.opcode for x in loop.transfers if x not in sent]
        described.append({
            "messages": len(sent) / per, "bytes": sum(x.bytes for x in sent) / per, "others": others,
            "over_kernels": sum(x.during > 0 for x in sent) / max(len(sent), 1),
            "moved": sum(k.read + k.written for k in loop.kernels) / per,
            "copies": sum(k.is_copy and k.largest == math.prod(held(cells, parts)) for k in loop.kernels) / per,
        })  # fmt: skip
    return {
        "equation": name, "cells": cells, "parts": parts, "program": program, "jax": jax.__version__,
        "device_bytes": executable.memory_analysis().temp_size_in_bytes, "loops": described,
    }  # fmt: skip


def by_hand(name: str, cells: list[int], parts: list[int]) -> tuple[int, int]:
    """Messages and bytes that a part within the grid sends in a step."""
    sizes = held(cells, parts)
    faces = [ACCURACY // 2 * math.prod(sizes) // sizes[axis] for axis in range(len(parts))]
    return 2 * FIELDS[name] * len(parts), 2 * FIELDS[name] * 4 * sum(faces)


def held(cells: list[int], parts: list[int]) -> list[int]:
    """Cells that a part holds, with its halos."""
    along = (*parts, *[1] * (len(cells) - len(parts)))
    sizes = [-(-(n + 2 * LAYER) // k) + ACCURACY for n, k in zip(cells, along, strict=True)]
    sizes[-1] += -sizes[-1] % 16
    return sizes


def smallest(name: str, moved_per_cell: float, link: str) -> int:
    """Cells along each axis of the smallest cube, cut along one axis, that a step's messages slow down by less than a
    tenth if nothing is computed meanwhile.
    """
    bandwidth, latency = LINKS[link]
    for n in range(16, 4096, 8):
        computing = n**3 * moved_per_cell / TARGETS["h100"].bandwidth
        sending = STAGES[name] * latency + FIELDS[name] * 4 * (ACCURACY // 2) * n**2 / bandwidth
        if computing >= ENOUGH * (computing + sending):
            return n
    raise ValueError("no part is large enough")


def table(found: list[dict[str, Any]]) -> Iterator[str]:
    yield "| equation, cells, parts | in a step | messages | by hand | MB | by hand | over kernels | smallest part |"
    yield "|---|---|---:|---:|---:|---:|---:|---|"
    for x in found:
        name, cells, parts = x["equation"], x["cells"], x["parts"]
        messages, size = by_hand(name, cells, parts)
        label = f"{name}, {' x '.join(map(str, cells))}, {' x '.join(map(str, parts))}"
        roles = ["forward"] if x["program"] == "forward" else ["saving", "adjoint"]
        for role, loop in zip(roles, (loop for loop in x["loops"] if loop["messages"]), strict=True):
            per_cell = loop["moved"] / (math.prod(n + 2 * LAYER for n in cells) / math.prod(parts))
            cubes = [f"{smallest(name, per_cell, link)}³" for link in LINKS] if len(cells) == 3 else []
            sent = f"{loop['messages']:g} | {messages} | {loop['bytes'] / 1e6:.2f} | {size / 1e6:.2f}"
            yield f"| {label} | {role} | {sent} | {loop['over_kernels']:.0%} | {', '.join(cubes)} |"


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
