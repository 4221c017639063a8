"""Compiles programs for GPUs that are not there, and prints a line of JSON for each. See gpu_compiled.py beside this.

The process must be started with the variables of ``gpu_targets.environment``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
from cases import COMPILED, Case
from gpu_targets import TARGETS, Target
from hlo_loops import Kernel, Loop, loops
from jax.experimental import topologies
from least_traffic import least_bytes, wavefield_bytes
from worker_jaxwave import function

import jaxwave
from jaxwave._timeloop.dispatch import OPTIONS
from jaxwave.storage import Recompute, Reverse

PROGRAMS: dict[str, dict[str, Any]] = {
    "forward": {"task": "forward"},
    "gradient": {"task": "gradient"},
    "gradient, int8": {"task": "gradient", "compression": "int8"},
    "gradient, recompute": {"task": "gradient", "storage": Recompute()},
    "gradient, reverse": {"task": "gradient", "storage": Reverse()},
}
SLAB = 4096  # bytes: no copy of as many is one of an index or of a record


def main() -> None:
    """Compiles what the command line names, as "case; program; target" each."""
    for argument in sys.argv[1:]:
        names = argument.split("; ")
        print(json.dumps(compiled(*names)), flush=True)


def compiled(case_name: str, program: str, target_name: str) -> dict[str, Any]:
    """What a program of a case launches, moves and allocates on a GPU."""
    case, target = COMPILED[case_name], TARGETS[target_name]
    facts = {
        "case": case_name, "label": case.label, "program": program, "target": target_name, "jax": jax.__version__,
        "jaxwave": jaxwave.__version__, "wavefield_bytes": wavefield_bytes(case),
    }  # fmt: skip
    executable = compile_for(target, *function(case, **PROGRAMS[program]))
    memory, found = executable.memory_analysis(), loops(executable.as_text())
    return {
        **facts, "device_bytes": memory.temp_size_in_bytes, "host_bytes": memory.host_temp_size_in_bytes,
        "loops": list(described(found, case, program, target)),
    }  # fmt: skip


def compile_for(target: Target, task_function: Callable[..., Any], inputs: Any) -> Any:
    """The executable of a function for one such GPU.

    Args:
        target: The GPU.
        task_function: It must not be jitted, with options of the compiler for a CPU.
        inputs: Its arguments, as arrays or shapes.
    """
    topology = topologies.get_topology_desc(platform="cuda", target_config=target.description, topology="1x1x1")
    mesh = topologies.make_mesh(topology, (1,), ("device",))
    here = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), inputs)
    with mock.patch.object(jax, "default_backend", lambda: "gpu"):  # by which jaxwave divides shots into groups
        return jax.jit(task_function, out_shardings=here).lower(*shapes).compile(compiler_options=OPTIONS["gpu"])


def described(found: list[Loop], case: Case, program: str, target: Target) -> Iterator[dict[str, Any]]:
    """What a time step takes in each loop."""
    names = roles(found, program)
    for loop, role in zip(found, names, strict=True):
        iterations = sum(x.iterations * x.repeats for x, name in zip(found, names, strict=True) if name == role)
        yield {
            "role": role, "operation": loop.operation, "iterations": loop.iterations, "repeats": loop.repeats,
            "steps_per_iteration": case.nt / iterations, **per_step(loop, case, case.nt / iterations, target),
            "least_bytes": least(case, role, program),
            "transfers": [vars(transfer) for transfer in loop.transfers],
        }  # fmt: skip


def roles(found: list[Loop], program: str) -> list[str]:
    """What each loop is for.

    JAX names the loops of the reverse pass as transposes. One of them that another one follows, beside it, takes again
    the steps which that one needs; a loop that holds others has one iteration for each segment.
    """
    names = []
    for loop, after in zip(found, [*found[1:], None], strict=True):
        transposed = "transpose(" in loop.operation
        if loop.within:
            names.append("segments of the adjoint" if transposed else "segments of the run")
        elif transposed:
            beside = after is not None and not after.within and after.parents == loop.parents
            names.append("run again" if beside else "adjoint")
        else:
            names.append("run" if program in ("forward", "gradient, recompute") else "saving run")
    return names


def per_step(loop: Loop, case: Case, steps: float, target: Target) -> dict[str, float]:
    """Kernels, bytes and copies of a time step, of a loop that makes so many in an iteration; no inner loop's."""
    kernels = loop.kernels
    read, written = (sum(getattr(k, x) for k in kernels) / steps for x in ("read", "written"))
    large = [k for k in kernels if k.is_copy and k.written >= SLAB]

    def count(which: Callable[[Kernel], bool]) -> int:
        return sum(map(which, kernels))

    return {
        "kernels": count(lambda k: not k.is_scalar) / steps, "scalar_kernels": count(lambda k: k.is_scalar) / steps,
        "bytes_read": read, "bytes_written": written, "wavefields": (read + written) / wavefield_bytes(case),
        "seconds": (read + written) / target.bandwidth,
        "wavefield_copies": sum(2 * k.written >= wavefield_bytes(case) for k in large) / steps,
        "copies": len(large) / steps, "bytes_copied": sum(k.written for k in large) / steps,
        "remat_kernels": count(lambda k: k.is_remat) / steps,
    }  # fmt: skip


def least(case: Case, role: str, program: str) -> float | None:
    """Bytes that a step must move at least; None where that is not known."""
    if "segments" in role or "reverse" in program:
        return None
    compression = PROGRAMS[program].get("compression", "none")
    return least_bytes(case, "saving run" if role == "run again" else role, compression)


if __name__ == "__main__":
    main()
