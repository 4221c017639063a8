"""Draws docs/images/models.png: the generated models; needs matplotlib."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from jaxwave import models

IMAGE = Path(__file__).parents[1] / "images" / "models.png"


def main() -> None:
    """Writes the picture."""
    layered = models.layers((100, 150), [1500.0, 2000.0, 2400.0, 3000.0], tops=[15, 45, 75])
    shown = {
        "layers, with a lens": models.lens(layered, 0.15, (58, 75), (8, 30)),
        "camembert": models.camembert(),
        "overthrust": models.overthrust((100, 250)),
        "breast": models.breast((160, 160)),
    }
    figure, axes = plt.subplots(1, 4, figsize=(12, 2.2), layout="constrained", width_ratios=(1.5, 1, 2.5, 1))
    for ax, (name, v) in zip(axes, shown.items(), strict=True):
        low, high = np.quantile(v, [0.01, 0.99])
        image = ax.imshow(v, vmin=low, vmax=high)
        ax.set(title=name, xticks=[], yticks=[])
        figure.colorbar(image, ax=ax, label="m/s" if name == "breast" else None)
    figure.savefig(IMAGE, dpi=100)


if __name__ == "__main__":
    main()
