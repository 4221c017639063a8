"""Times one case with jaxwave in this process, and prints one line of JSON. See README.md beside this file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import measure
from cases import CASES, DT, FREQUENCY, SPACING, Case, build

import jaxwave
from jaxwave._numerics.boundary import PaddedGrid
from jaxwave.equations.registry import EQUATIONS
from jaxwave.storage.base import Storage
from jaxwave.storage.codecs import as_codec, stored_bytes
from jaxwave.storage.modes import as_storage

MODES, CODECS = ("device", "cpu", "disk"), ("none", "int8", "bf16", "f16")


def main() -> None:
    """Runs what the command line asks for."""
    arguments = measure.parser(__doc__, MODES, CODECS).parse_args()
    jax.config.update("jax_enable_x64", arguments.dtype == "float64")
    case, device = CASES[arguments.case], jax.devices()[0]
    compiled, inputs = program(case, arguments.task, arguments.dtype, arguments.storage, arguments.compression,
                               arguments.storage_path)  # fmt: skip
    stored = bytes_stored(case, arguments.dtype, arguments.compression) if arguments.task == "gradient" else 0

    def after() -> dict[str, int | None]:
        return {
            "device_peak_bytes": (device.memory_stats() or {}).get("peak_bytes_in_use"),
            "temp_bytes": compiled.lower(*inputs).compile().memory_analysis().temp_size_in_bytes,
        }

    measure.run(
        lambda: jax.block_until_ready(compiled(*inputs)), arguments, after=after, library="jaxwave",
        version=jaxwave.__version__, backend=f"jax {jax.__version__}", threads=measure.cpu_count(),
        device=f"{device.platform}: {device.device_kind}", stored_bytes=stored,
    )  # fmt: skip


def program(
    case: Case, task: str, dtype: str = "float32", storage: str = "device", compression: str = "none", path: str = "."
) -> tuple[Any, tuple[dict[str, jax.Array], jax.Array]]:
    """What :func:`function` makes, jitted as a user is told to, and its inputs."""
    task_function, inputs = function(case, task, dtype, storage, compression, path)
    return jax.jit(task_function, compiler_options=jaxwave.compiler_options() or None), inputs


def function(
    case: Case,
    task: str,
    dtype: str = "float32",
    storage: str | Storage = "device",
    compression: str = "none",
    path: str = ".",
) -> tuple[Callable[..., Any], tuple[dict[str, jax.Array], jax.Array]]:
    """A function that returns the record and, for the task "gradient", the gradients of the models; and its inputs.

    Args:
        case: The problem.
        task: "forward" or "gradient".
        dtype: Precision.
        storage, compression: Where the gradient's wavefields are kept, and how they are compressed.
        path: Directory for the storage "disk".
    """
    problem, known = build(case, dtype), equation_of(case)
    kept = storage if isinstance(storage, Storage) else as_storage(
        storage, path, as_codec(False if compression == "none" else compression))  # fmt: skip
    grid = jaxwave.Grid(SPACING, case.accuracy, jaxwave.Boundary(None, case.pml_width, FREQUENCY))

    def record(models: dict[str, jax.Array], amplitudes: jax.Array) -> tuple[jax.Array]:
        unused = {name: models["c55"] for name in set(known.models) - set(models)}  # c66 in 2-D
        out = jaxwave.simulate(
            known.with_models({**models, **unused}), grid, DT, max_vel=case.max_vel,
            sources={case.kind: (amplitudes, problem.sources)}, receivers={case.kind: problem.receivers},
            storage=kept,
        )  # fmt: skip
        assert out.info.step_ratio == 1, "a case must not be divided into sub-steps, or rates count half of the work"
        return (out.records[case.kind],)

    def misfit(models: dict[str, jax.Array], amplitudes: jax.Array) -> tuple[jax.Array, jax.Array]:
        (data,) = record(models, amplitudes)
        return (data**2).sum(), data

    def gradient(models: dict[str, jax.Array], amplitudes: jax.Array) -> tuple[jax.Array, ...]:
        (_, data), found = jax.value_and_grad(misfit, has_aux=True)(models, amplitudes)
        return data, *(found[name] for name in case.models)

    inputs = (jax.tree.map(jnp.asarray, problem.models), jnp.asarray(problem.amplitudes))
    return {"forward": record, "gradient": gradient}[task], inputs


def equation_of(case: Case) -> jaxwave.Equation:
    """The equation of a case, without its models; with the mechanisms that Deepwave has by default."""
    if case.equation == "viscoacoustic":
        return jaxwave.Viscoacoustic(relaxation=jaxwave.attenuation.Zener(FREQUENCY))
    return EQUATIONS[case.equation]


def bytes_stored(case: Case, dtype: str = "float32", compression: str = "none") -> int:
    """Bytes of the history that a gradient keeps."""
    grid = PaddedGrid(case.shape, (SPACING,) * case.ndim, case.accuracy, (case.pml_width,) * (2 * case.ndim))
    codec = as_codec(False if compression == "none" else compression)
    equation = equation_of(case).on(grid)
    terms = len(equation.coefficients_of_terms) - len(equation.derived_terms)
    return terms * case.nt * stored_bytes(codec, (case.n_shots, *grid.padded), dtype)


if __name__ == "__main__":
    main()
