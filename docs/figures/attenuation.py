"""Draws docs/images/attenuation.png: the quality factor of mechanisms, and the speeds of waves; needs matplotlib."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from jaxwave.attenuation import ConstantQ

BAND, REFERENCE, Q = (5.0, 50.0), 15.0, 30.0
IMAGE = Path(__file__).parents[1] / "images" / "attenuation.png"


def main() -> None:
    """Writes the picture."""
    frequencies = np.geomspace(1.0, 250.0, 400)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for number, colour in zip((1, 2, 3), ("#e69f00", "#56b4e9", "#0072b2"), strict=True):
        relaxation = ConstantQ(BAND, number, reference=REFERENCE)
        label = f"{number} mechanism{'s' if number > 1 else ''}"
        left.semilogx(frequencies, 1 / relaxation.inverse_q(frequencies, 1 / Q), color=colour, label=label)
        right.semilogx(frequencies, relaxation.speed(frequencies, 1 / Q), color=colour, label=label)
    left.axhline(Q, color="black", linewidth=0.8, linestyle="--")
    left.set(ylim=(0, 3 * Q), title="Quality factor", ylabel="Q", xlabel="frequency (Hz)")
    right.set(title="Phase speed over that at 15 Hz", xlabel="frequency (Hz)")
    right.plot(REFERENCE, 1, "ko", markersize=4)
    for ax in (left, right):
        ax.axvspan(*BAND, color="0.92", zorder=0)
        ax.legend(frameon=False)
    figure.savefig(IMAGE, dpi=100)


if __name__ == "__main__":
    main()
