"""Bytes against gradient error on Marmousi: every codec, at several sampling intervals of the imaging condition.

Writes docs/images/storage_error.png and docs/storage_error_table.md; needs matplotlib, and the environment variable
JAXWAVE_DATA: the directory that holds marmousi_vp.npy (20 m cells).
"""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import jaxwave
from jaxwave.storage import BFloat16, Coarse, DeviceStorage, Float16, Int4, Int8, Int16, Raw
from jaxwave.storage.codecs import stored_bytes

DOCS = Path(__file__).parents[1]
CODECS = {
    "none": Raw(), "f16": Float16(), "bf16": BFloat16(), "int16": Int16(), "int8": Int8(), "int4": Int4(),
    "every 2nd cell": Coarse(2), "every 2nd cell, int8": Coarse(2, Int8()),
}  # fmt: skip
INTERVALS = (1, 2, 4, 6, 8, 12)
FREQ, DT, NT, N_SHOTS, SPACING = 5.0, 1.5e-3, 1920, 4, 20.0
MUTED = 12  # rows from the sources that are left out where only every 2nd cell is kept
GOAL = (16, 0.01)  # so many times fewer bytes, at no more than this error


def main() -> None:
    """Measures, draws, writes."""
    true = np.load(Path(os.environ["JAXWAVE_DATA"]) / "marmousi_vp.npy")[:120, 180:420].astype(np.float32)
    start = true.copy()
    for _ in range(60):  # a smooth starting model, water kept
        start[24:] = _smooth(start[24:])
    gradient = _gradients(jnp.asarray(true), jnp.asarray(start))
    exact = gradient(Raw(), 1)
    field = (N_SHOTS, *true.shape)
    found = {}
    for name, codec in CODECS.items():
        for k in INTERVALS:
            ratio = 4 * np.prod(field) * k / stored_bytes(codec, field, jnp.float32)
            got = gradient(codec, k)
            rows = slice(MUTED if isinstance(codec, Coarse) else 0, None)
            found[name, k] = ratio, float(jnp.linalg.norm((got - exact)[rows]) / jnp.linalg.norm(exact[rows]))
            print(name, k, found[name, k], flush=True)
    _table(found)
    _draw(found)


def _smooth(v):
    padded = np.pad(v, 1, mode="edge")
    rows = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4


def _gradients(true, start):
    columns = true.shape[1]
    wavelet = jaxwave.wavelets.ricker(FREQ, NT, DT, 1.2 / FREQ, dtype=jnp.float32)
    survey = dict(
        source_amplitudes=jnp.tile(wavelet, (N_SHOTS, 1, 1)),
        source_locations=[[[1, columns * (2 * shot + 1) // (2 * N_SHOTS)]] for shot in range(N_SHOTS)],
        receiver_locations=[[[1, x] for x in range(0, columns, 2)]] * N_SHOTS, pml_freq=FREQ, max_vel=4700.0,
    )  # fmt: skip
    observed = jaxwave.scalar(true, SPACING, DT, **survey).receiver_amplitudes

    def gradient(codec, k):
        def misfit(v):
            out = jaxwave.scalar(
                v, SPACING, DT, **survey, storage_mode=DeviceStorage(codec), model_gradient_sampling_interval=k
            )
            return jnp.mean((out.receiver_amplitudes - observed) ** 2)

        return jax.jit(jax.grad(misfit), compiler_options=jaxwave.compiler_options())(start)

    return gradient


def _table(found) -> None:
    lines = ["| codec | " + " | ".join(f"every {k}" for k in INTERVALS) + " |", "|---" * (1 + len(INTERVALS)) + "|"]
    for name in CODECS:
        cells = [f"{found[name, k][0]:.1f}x, {100 * found[name, k][1]:.2g} %" for k in INTERVALS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    (DOCS / "storage_error_table.md").write_text("\n".join(lines) + "\n")


def _draw(found) -> None:
    figure, ax = plt.subplots(figsize=(7, 4.4), layout="constrained")
    for name, marker in zip(CODECS, "os^vDPX*", strict=True):
        line = np.array([found[name, k] for k in INTERVALS if found[name, k][1] > 0])
        ax.loglog(line[:, 0], 100 * line[:, 1], marker=marker, label=name)
    ax.axvline(GOAL[0], color="0.6", lw=0.8)
    ax.axhline(100 * GOAL[1], color="0.6", lw=0.8)
    ax.set(xlabel="times fewer bytes than float32 of every step", ylabel="relative L2 error of the gradient (%)")
    ax.set_xticks([1, 2, 4, 8, 16, 32, 64], [1, 2, 4, 8, 16, 32, 64])
    ax.minorticks_off()
    ax.legend(title="codec")
    figure.savefig(DOCS / "images" / "storage_error.png", dpi=110)


if __name__ == "__main__":
    main()
