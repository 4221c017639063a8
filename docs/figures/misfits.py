"""Draws docs/images/misfits.png: misfits against the delay of a wavelet, and of one in noise; needs matplotlib."""

from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import jaxwave
from jaxwave import misfits

DT, NT, FREQUENCY, PEAK = 2e-3, 512, 10.0, 0.5
IMAGE = Path(__file__).parents[1] / "images" / "misfits.png"
SHOWN = {
    "l2": misfits.l2,
    "huber": lambda p, d: misfits.huber(p, d, 0.2),
    "student_t": lambda p, d: misfits.student_t(p, d, 0.2),
    "correlation": misfits.correlation,
    "phase": misfits.phase,
    "envelope": misfits.envelope,
    "travel_time": lambda p, d: misfits.travel_time(p, d, DT),
    "wasserstein, order 2": lambda p, d: misfits.wasserstein(p, d, DT),
    "wasserstein, order 1": lambda p, d: misfits.wasserstein(p, d, DT, 1),
    "matching_filter": lambda p, d: misfits.matching_filter(p, d, DT),
    "soft_dtw": misfits.soft_dtw,
    "fourier, 3 Hz": lambda p, d: misfits.fourier(p, d, DT, [3.0]),
}


def main() -> None:
    """Writes the picture."""
    jax.config.update("jax_enable_x64", True)
    delays = np.linspace(-0.2, 0.2, 161)
    late = jax.vmap(lambda t: jaxwave.wavelets.ricker(FREQUENCY, NT, DT, PEAK + t, dtype=jnp.float64))(delays)
    observed = late[len(delays) // 2]
    noise = np.random.default_rng(0).standard_normal(NT)
    noise = 0.15 * noise / np.abs(noise).max() * np.hanning(NT)
    figure, axes = plt.subplots(3, 4, figsize=(11, 6), sharex=True, layout="constrained")
    for ax, (name, misfit) in zip(axes.flat, SHOWN.items(), strict=True):
        for extra, colour, label in ((0 * noise, "#0072b2", "no noise"), (noise, "#e69f00", "noise of 15 %")):
            value = jax.vmap(lambda p, misfit=misfit, extra=extra: misfit(p, observed + extra))(late)
            ax.plot(delays * FREQUENCY, value / value.max(), color=colour, label=label)
        ax.set(title=name, yticks=[0, 1])
        ax.axvline(0, color="0.8", linewidth=0.8, zorder=0)
    axes[0, 0].legend(frameon=False, fontsize="small")
    figure.supxlabel("delay (periods)")
    figure.supylabel("misfit over its largest value")
    figure.savefig(IMAGE, dpi=100)


if __name__ == "__main__":
    main()
