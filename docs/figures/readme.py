"""Runs the example of README.md and draws docs/images/readme.png; needs matplotlib."""

import re
from pathlib import Path

import jax
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

ROOT = Path(__file__).parents[2]
CODE = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL).group(1)


def main() -> None:
    """Writes the picture."""
    made = {}
    exec(CODE, made)
    gradient = jax.grad(made["misfit"])(made["start"])
    width, depth = (0.01 * n for n in made["start"].shape[::-1])  # cells of 10 m, in km
    nt, dt = made["nt"], made["dt"]

    figure, axes = plt.subplots(2, 2, figsize=(10, 5.4), layout="constrained")
    section = dict(extent=(0, width, depth, 0), aspect="equal")
    for ax, title, model in zip(
        axes[0], ["True model", f"Inverted model, {len(made['misfits'])} steps"], [made["true"], made["v"]], strict=True
    ):
        image = ax.imshow(np.asarray(model) / 1000, cmap="viridis", vmin=1.5, vmax=2.6, **section)
        ax.set(title=title, xlabel="x (km)", ylabel="depth (km)")
    figure.colorbar(image, ax=axes[0], label="speed (km/s)", shrink=0.9)

    data = np.asarray(made["observed"])[2, 120:].T
    clip = np.quantile(np.abs(data), 0.98)
    axes[1, 0].imshow(data, cmap="gray", vmin=-clip, vmax=clip, extent=(0, width, nt * dt, 0), aspect="auto")
    axes[1, 0].set(title="Recorded at the bottom, shot 3", xlabel="x (km)", ylabel="time (s)")
    gradient = np.asarray(gradient) / float(np.quantile(np.abs(gradient), 0.995))
    axes[1, 1].imshow(gradient, cmap="RdBu", vmin=-1, vmax=1, **section)
    axes[1, 1].set(title="Gradient at the first step", xlabel="x (km)", ylabel="depth (km)")

    path = ROOT / "docs" / "images" / "readme.png"
    figure.savefig(path, dpi=100)
    print(f"{path}: {path.stat().st_size // 1000} kB; misfit {made['misfits'][0]:.3g} to {made['misfits'][-1]:.3g}")


if __name__ == "__main__":
    main()
