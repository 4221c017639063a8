"""Invert for a block in a small 3-D model, in a minute or two on a laptop.

A 10 x 30 x 30 model of 1500 m/s holds a block of 1600 m/s. Four shots in the corners of its top face are recorded in
every cell of that face, and the block is found from the records, starting without it.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxwave import inversion
from jaxwave._propagators import scalar
from jaxwave._results import ScalarResult
from jaxwave._timeloop.dispatch import compiler_options
from jaxwave.cli import figures, report
from jaxwave.wavelets import ricker

SHAPE, SPACING = (10, 30, 30), 10.0
BLOCK = (slice(4, 8), slice(13, 18), slice(13, 18))
BACKGROUND, ANOMALY = 1500.0, 1600.0
MIN_VEL, MAX_VEL = 1350.0, 1700.0
FREQ, NT, DT = 25.0, 150, 0.004
PML_WIDTH = (0, 20, 20, 20, 20, 20)
SMOOTHNESS = 8.0
"""Standard deviation (metres) below which an update has no detail; the shortest wavelength is some 25 m."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--iterations", type=report.number(int, 1), default=25, help="default: %(default)s")
    parser.add_argument("--noise", type=report.number(float, 0), default=0.0, metavar="FRACTION",
                        help="noise in the records, relative to their root mean square; default: none")  # fmt: skip
    parser.add_argument("--seed", type=report.number(int, 0), default=0, help="of the noise; default: %(default)s")
    parser.add_argument("--figure", metavar="FILE", help="draw true, initial and inverted models (needs matplotlib)")
    report.add_storage_arguments(parser, storage="cpu", compression="int8")


def run(arguments: argparse.Namespace) -> int:
    """Carry out the command."""
    storage = report.storage_options(arguments)
    true, initial = models()
    shots = survey()
    with report.usage_errors():
        info = jax.eval_shape(lambda v: simulate(v, shots, **storage), initial).info
    size = report.footprint(info, SPACING, n_shots=4, nt=NT, accuracy=4, storage=arguments.storage)
    print(f"{initial.size} unknown speeds; 4 shots, 900 receivers, {NT} samples; {report.substeps(info, DT)}")
    print(f"each gradient: {size}")

    start = time.perf_counter()
    model, misfits = invert(true, initial, arguments, storage)
    print(f"{arguments.iterations} iterations in {time.perf_counter() - start:.0f} s, compilation included")
    fall = 100 * (1 - misfits[-1] / misfits[0])
    print(f"misfit {misfits[0]:.3e} -> {misfits[-1]:.3e}, down by {fall:.1f} %")
    print(f"correlation of the update with the block: {inversion.correlation(model - initial, true - initial):.2f}")
    report.save_figure(arguments.figure, lambda: figures.sections(true, initial, model, SPACING, BLOCK))
    return 0


def models() -> tuple[jax.Array, jax.Array]:
    """True and initial model (m/s)."""
    initial = jnp.full(SHAPE, BACKGROUND, jnp.float32)
    return initial.at[BLOCK].set(ANOMALY), initial


def survey() -> dict[str, np.ndarray]:
    """Four shots in the corners of the top face, receivers in all of its cells."""
    _, ny, nx = SHAPE
    corners = np.array([[0, 0, 0], [0, 0, nx - 1], [0, ny - 1, 0], [0, ny - 1, nx - 1]])
    y, x = np.mgrid[:ny, :nx]
    face = np.stack([np.zeros_like(y), y, x], axis=-1).reshape(1, -1, 3)
    wavelet = np.asarray(ricker(FREQ, NT, DT, 1.5 / FREQ, dtype=jnp.float32))
    return {
        "source_amplitudes": np.tile(wavelet, (4, 1, 1)),
        "source_locations": corners[:, None],
        "receiver_locations": np.repeat(face, 4, axis=0),
    }


def simulate(v: jax.Array, shots: dict[str, np.ndarray], **storage: Any) -> ScalarResult:
    """Shoot the survey over a model."""
    with report.quiet_substeps():
        return scalar(v, SPACING, DT, **shots, pml_width=PML_WIDTH, pml_freq=FREQ, max_vel=MAX_VEL, **storage)


def invert(
    true: jax.Array, initial: jax.Array, arguments: argparse.Namespace, storage: dict[str, Any]
) -> tuple[jax.Array, list[float]]:
    """Find the block from records of the true model; returns the model, and the misfit before and after every step."""
    options, shots = compiler_options() or None, survey()
    record = jax.jit(lambda v: simulate(v, shots).receiver_amplitudes, compiler_options=options)
    clean = record(true)
    noise = jax.random.normal(jax.random.key(arguments.seed), clean.shape, clean.dtype)
    observed = clean + arguments.noise * jnp.std(clean) * noise
    # L-BFGS takes a first step of length one (m/s, over all cells) where the gradient is longer than that.
    unit = 1e-4 * inversion.l2_misfit(record(initial), observed)

    def objective(x: jax.Array) -> jax.Array:
        predicted = simulate(to_model(x, initial), shots, **storage).receiver_amplitudes
        return inversion.l2_misfit(predicted, observed) / unit

    value_and_grad = jax.jit(jax.value_and_grad(objective), compiler_options=options)
    optimizer = optax.chain(optax.scale_by_lbfgs(memory_size=10), optax.scale(-1.0))
    update = jax.jit(optimizer.update)
    x, misfits = jnp.zeros_like(initial), []
    state = optimizer.init(x)
    with report.Progress(arguments.iterations + 1) as progress:
        for i in range(arguments.iterations + 1):
            value, gradient = value_and_grad(x)
            misfits.append(float(value * unit))
            progress.step(f"misfit {misfits[-1]:.3e}")
            if i < arguments.iterations:
                change, state = update(gradient, state, x)
                x = optax.apply_updates(x, change)
    return to_model(x, initial), misfits


def to_model(x: jax.Array, initial: jax.Array) -> jax.Array:
    """The model from what the optimizer changes: an update that is smooth, and fades out at the sources and receivers.

    L-BFGS then looks for the block in the space of plausible models, where the gradient has no spikes.
    """
    depth = np.arange(SHAPE[0], dtype=np.float32)[:, None, None]
    fade = jnp.asarray(1 - np.exp(-0.5 * (depth / 1.5) ** 2))
    update = fade * inversion.gaussian_smooth(x, SMOOTHNESS, SPACING)
    return jnp.clip(initial + update, MIN_VEL, MAX_VEL)
