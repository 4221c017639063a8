"""Figures of the commands. Everything here needs matplotlib, which is imported where it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike


def sections(true: ArrayLike, initial: ArrayLike, inverted: ArrayLike, spacing: float, block: tuple[slice, ...]) -> Any:
    """Vertical and horizontal sections through the block of three 3-D models, on one colour scale.

    Args:
        true, initial, inverted: Models (m/s) [z, y, x].
        spacing: Cell size (metres).
        block: Where the anomaly is: the sections pass through its middle, and dashes mark its outline.

    Returns:
        The matplotlib figure.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    models = {"true": np.asarray(true), "initial": np.asarray(initial), "inverted": np.asarray(inverted)}
    z, y, _ = ((s.start + s.stop) // 2 for s in block)
    low, high = (f(m.min() if f is min else m.max() for m in models.values()) for f in (min, max))
    nz, ny, nx = models["true"].shape
    figure = Figure(figsize=(9.5, 4.6), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True, height_ratios=(nz, ny))
    cuts = (
        (lambda m: m[:, y], 0, "z (m)", f"y = {(y + 0.5) * spacing:g} m"),
        (lambda m: m[z], 1, "y (m)", f"z = {(z + 0.5) * spacing:g} m"),
    )
    for row, (cut, axis, label, place) in enumerate(cuts):
        for ax, (name, model) in zip(axes[row], models.items(), strict=True):
            section = cut(model)
            extent = (0, nx * spacing, section.shape[0] * spacing, 0)
            image = ax.imshow(section, extent=extent, vmin=low, vmax=high, cmap="viridis", aspect="equal")
            corner = (block[2].start * spacing, block[axis].start * spacing)
            size = ((s.stop - s.start) * spacing for s in (block[2], block[axis]))
            ax.add_patch(Rectangle(corner, *size, fill=False, linestyle="--", edgecolor="white"))
            ax.set_title(f"{name}, {place}", fontsize=10)
            if row == 1:
                ax.set_xlabel("x (m)")
        axes[row, 0].set_ylabel(label)
    figure.colorbar(image, ax=axes, label="wave speed (m/s)", shrink=0.8)
    return figure


def inversion_2d(
    models: Mapping[str, np.ndarray], spacing: float, freqs: Sequence[float], misfits: np.ndarray, errors: np.ndarray
) -> Any:
    """Models one above the other on one colour scale, and below them how misfit and model error went.

    Args:
        models: Models (m/s) [z, x] by name.
        spacing: Cell size (metres).
        freqs: Upper frequency of every band (Hz).
        misfits: Relative misfit [band, iteration].
        errors: Root-mean-square model error (m/s) at the start and after every band.

    Returns:
        The matplotlib figure.
    """
    from matplotlib.figure import Figure

    nz, nx = next(iter(models.values())).shape
    low, high = (f(m.min() if f is min else m.max() for m in models.values()) for f in (min, max))
    height = 7 * nz / nx + 0.45
    figure = Figure(figsize=(8.5, height * len(models) + 2.6), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(height * len(models), 2.6))
    axes = np.atleast_1d(upper.subplots(len(models), 1, sharex=True))
    for ax, (name, model) in zip(axes, models.items(), strict=True):
        extent = (0, nx * spacing / 1e3, nz * spacing / 1e3, 0)
        image = ax.imshow(model, extent=extent, vmin=low, vmax=high, cmap="viridis", aspect="equal")
        ax.set_title(name, fontsize=10)
        ax.set_ylabel("depth (km)")
    axes[-1].set_xlabel("distance (km)")
    upper.colorbar(image, ax=axes, label="wave speed (m/s)", shrink=0.6)

    left, right = lower.subplots(1, 2)
    for band, (freq, values) in enumerate(zip(freqs, misfits, strict=True)):
        left.semilogy(band * misfits.shape[1] + 1 + np.arange(values.size), values, ".-", label=f"up to {freq:g} Hz")
    left.set(xlabel="iteration", ylabel="relative misfit of the batch")
    left.legend(fontsize=8, ncols=len(freqs), loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    right.plot(range(len(errors)), errors, "o-")
    right.set_xticks(range(len(errors)), ["start", *(f"{freq:g} Hz" for freq in freqs)])
    right.set(xlabel="after band", ylabel="model error (m/s, rms)", ylim=(0, None))
    return figure
