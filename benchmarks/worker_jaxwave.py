"""Times one case with jaxwave in this process, and prints one line of JSON. See README.md beside this file."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import jax
import jax.numpy as jnp
import measure
from cases import CASES, DT, FAST, FREQUENCY, PML_WIDTH, SPACING, Case, Problem, build

import jaxwave
from jaxwave.boundary import Grid
from jaxwave.storage.codecs import as_codec, stored_bytes

MODES, CODECS = ("device", "cpu", "disk"), ("none", "int8", "bf16", "f16")


def main() -> None:
    """Runs what the command line asks for."""
    arguments = measure.parser(__doc__, MODES, CODECS).parse_args()
    jax.config.update("jax_enable_x64", arguments.dtype == "float64")
    case = CASES[arguments.case]
    call = task(case, build(case, arguments.dtype), arguments)
    device = jax.devices()[0]
    measure.run(
        call, arguments, library="jaxwave", version=jaxwave.__version__, backend=f"jax {jax.__version__}",
        threads=measure.cpu_count(), device=f"{device.platform}: {device.device_kind}",
        stored_bytes=bytes_stored(case, arguments),
    )  # fmt: skip


def task(case: Case, problem: Problem, arguments: argparse.Namespace) -> Callable[[], tuple[jax.Array, ...]]:
    """The call to be timed: one compiled program, to the end of its run."""
    compression = False if arguments.compression == "none" else arguments.compression

    def record(v: jax.Array, amplitudes: jax.Array) -> jax.Array:
        out = jaxwave.scalar(
            v, SPACING, DT, source_amplitudes=amplitudes, source_locations=problem.sources,
            receiver_locations=problem.receivers, accuracy=case.accuracy, pml_width=PML_WIDTH, pml_freq=FREQUENCY,
            max_vel=FAST, storage_mode=arguments.storage, storage_path=arguments.storage_path,
            storage_compression=compression,
        )  # fmt: skip
        assert out.info.step_ratio == 1, "a case must not be divided into sub-steps, or rates count half of the work"
        return out.receiver_amplitudes

    def misfit(v: jax.Array, amplitudes: jax.Array) -> tuple[jax.Array, jax.Array]:
        data = record(v, amplitudes)
        return (data**2).sum(), data

    options = jaxwave.compiler_options() or None
    v, amplitudes = jnp.asarray(problem.v), jnp.asarray(problem.amplitudes)
    if arguments.task == "forward":
        forward = jax.jit(record, compiler_options=options)
        return lambda: (forward(v, amplitudes).block_until_ready(),)
    value_and_grad = jax.jit(jax.value_and_grad(misfit, has_aux=True), compiler_options=options)

    def gradient() -> tuple[jax.Array, ...]:
        (_, data), dv = jax.block_until_ready(value_and_grad(v, amplitudes))
        return data, dv

    return gradient


def bytes_stored(case: Case, arguments: argparse.Namespace) -> int:
    """Bytes of the history that a gradient keeps."""
    if arguments.task == "forward":
        return 0
    grid = Grid(case.shape, (SPACING,) * case.ndim, case.accuracy, (PML_WIDTH,) * (2 * case.ndim))
    codec = as_codec(False if arguments.compression == "none" else arguments.compression)
    return case.nt * stored_bytes(codec, (case.n_shots, *grid.padded), arguments.dtype)


if __name__ == "__main__":
    main()
