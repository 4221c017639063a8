"""Holds gradients on this device against a naive solution and against each other, and prints one line of JSON.

The float64 gradient of "device" is compared with that of the whole-array scheme of tests/reference.py, differentiated
by JAX alone; the float32 gradient of every storage mode and codec with that of "device" without compression.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
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
ROUNDING = 1e-10  # of float64, over the steps of both loops
# A few times what so small models and short runs show, where few roundings average out.
BOUNDS = {"none": 0.0, "int8": 3e-2, "bf16": 5e-3, "f16": 5e-4}


def main() -> None:
    """Runs the checks; those of the storage modes, which are many, on the first two cases only."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--small", action="store_true", help="one case and one lossy codec")
    small = p.parse_args().small
    jax.config.update("jax_enable_x64", True)
    device = jax.devices()[0]
    checks = [check_naive(case) for case in CASES[: 1 if small else None]]
    codecs = ("none", "int8") if small else worker_jaxwave.CODECS
    checks += [check for case in CASES[: 1 if small else 2] for check in check_storage(case, codecs)]
    facts = {
        "device": f"{device.platform}: {device.device_kind}",
        "device_memory_bytes": (device.memory_stats() or {}).get("bytes_limit"),
        "backend": f"jax {jax.__version__}",
    }
    print(json.dumps({**facts, "checks": checks}))


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


def check_storage(case: Case, codecs: Sequence[str]) -> list[dict[str, Any]]:
    """The float32 gradient of every mode with these codecs against that of "device" without compression."""
    base = gradient(case, "float32")
    with tempfile.TemporaryDirectory() as folder:
        return [
            _result("device, none", case, "float32", mode, codec, base,
                    gradient(case, "float32", storage=mode, compression=codec, path=folder), BOUNDS[codec])
            for mode in worker_jaxwave.MODES
            for codec in codecs
        ]  # fmt: skip


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
