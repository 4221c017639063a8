"""Holds gradients on this device against a naive solution and against each other, and prints one line of JSON.

The float64 gradient of "device" is compared with that of the whole-array scheme of tests/reference.py, differentiated
by JAX alone; the float32 gradient of every storage mode and codec with that of "device" without compression.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import worker_jaxwave
from cases import DT, FAST, FREQUENCY, SPACING, Case, build
from tables import relative_difference

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import reference

CASES = (
    Case("2-D, order 4", (30, 36), 2, 60, pml_width=10),
    Case("3-D, order 8", (14, 16, 18), 1, 30, accuracy=8, pml_width=6),
    Case("2-D, order 8", (30, 36), 2, 60, accuracy=8, pml_width=10),
    Case("3-D, order 4", (14, 16, 18), 1, 30, pml_width=6),
)
STAGGERED = (
    Case("acoustic", (30, 36), 2, 60, pml_width=10, equation="acoustic"),
    Case("elastic", (30, 36), 2, 60, pml_width=10, equation="elastic"),
)
Check = Callable[[], dict[str, Any]]
ROUNDING = 1e-10  # of float64, over the steps of both loops
# A few times what so small models and short runs show, where few roundings average out. Without a codec, the kernels of
# another loop may contract products and sums differently.
BOUNDS = {"none": 1e-6, "int8": 3e-2, "bf16": 5e-3, "f16": 5e-4}


def main() -> None:
    """Runs the checks, the most important first, and names those that there was no time for."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--small", action="store_true", help="one case and one lossy codec")
    p.add_argument("--seconds", type=float, default=math.inf, help="no check begins later than that")
    arguments, start = p.parse_args(), time.monotonic()
    jax.config.update("jax_enable_x64", True)
    device, checks, left_out = jax.devices()[0], [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, check in _small(folder) if arguments.small else _all(folder):
            if time.monotonic() - start > arguments.seconds:
                left_out.append(name)
                continue
            checks.append(check())
            print(f"{time.monotonic() - start:6.0f} s  {name}: {checks[-1]['difference']:.1e}", file=sys.stderr)
    facts = {
        "device": f"{device.platform}: {device.device_kind}",
        "device_memory_bytes": (device.memory_stats() or {}).get("bytes_limit"),
        "backend": f"jax {jax.__version__}",
    }
    print(json.dumps({**facts, "checks": checks, "left_out": left_out}))


def _small(folder: str) -> Iterator[tuple[str, Check]]:
    """One case and one lossy codec."""
    yield _naive(CASES[0])
    for codec in ("none", "int8"):
        for mode in worker_jaxwave.MODES:
            yield _stored(CASES[0], mode, codec, folder)


def _all(folder: str) -> Iterator[tuple[str, Check]]:
    """Every equation, mode and codec. Each program takes seconds to compile, so what others imply comes last."""
    yield _naive(CASES[0])
    for mode in (*worker_jaxwave.MODES[1:], "recompute"):
        yield _stored(CASES[0], mode, "none", folder)
    yield from (_stored(case, "cpu", "int8", folder) for case in STAGGERED)
    yield _naive(CASES[1])
    yield from (_stored(CASES[1], mode, codec, folder) for codec in ("none", "int8") for mode in ("cpu", "disk"))
    yield from (_stored(CASES[0], "device", codec, folder) for codec in worker_jaxwave.CODECS[1:])
    yield from (_stored(CASES[0], mode, codec, folder) for mode in ("cpu", "disk") for codec in ("bf16", "f16"))
    yield from map(_naive, CASES[2:])


def _naive(case: Case) -> tuple[str, Check]:
    return f"{case.name}, naive", functools.partial(check_naive, case)


def _stored(case: Case, mode: str, codec: str, folder: str) -> tuple[str, Check]:
    return f"{case.name}, {mode}, {codec}", functools.partial(check_storage, case, mode, codec, folder)


def check_naive(case: Case) -> dict[str, Any]:
    """The float64 gradient against plain automatic differentiation of a scan over whole arrays."""
    problem = build(case, "float64")

    def misfit(v: jax.Array) -> jax.Array:
        out = reference.scalar(
            v, (SPACING,) * case.ndim, DT, max_vel=FAST, pml_freq=FREQUENCY,
            pml_width=(case.pml_width,) * 2 * case.ndim, accuracy=case.accuracy,
            source_amplitudes=problem.amplitudes, source_locations=problem.sources,
            receiver_locations=problem.receivers,
        )  # fmt: skip
        return (out["receiver_amplitudes"] ** 2).sum()

    naive = np.asarray(jax.jit(jax.grad(misfit))(problem.models["v"]))
    return _result("naive autodiff", case, "float64", "device", "none", naive, gradient(case, "float64"), ROUNDING)


def check_storage(case: Case, mode: str, codec: str, folder: str) -> dict[str, Any]:
    """The float32 gradient of a storage mode and codec against that of "device" without compression."""
    found = gradient(case, "float32", storage=mode, compression=codec, path=folder)
    return _result("device, none", case, "float32", mode, codec, _kept_on_device(case), found, BOUNDS[codec])


@functools.cache
def _kept_on_device(case: Case) -> np.ndarray:
    return gradient(case, "float32")


def gradient(case: Case, dtype: str, **policy: str) -> np.ndarray:
    """The gradient of a case with a storage policy."""
    program, inputs = worker_jaxwave.program(case, "gradient", dtype, **policy)
    return np.asarray(program(*inputs)[1])


def _result(
    against: str, case: Case, dtype: str, mode: str, codec: str, want: np.ndarray, got: np.ndarray, bound: float
) -> dict[str, Any]:
    difference = relative_difference(want, got)
    return {
        "against": against, "case": case.name, "dtype": dtype, "storage": mode, "compression": codec,
        "difference": difference, "bound": bound, "passed": difference <= bound and bool(np.abs(got).max() > 0),
    }  # fmt: skip


if __name__ == "__main__":
    main()
