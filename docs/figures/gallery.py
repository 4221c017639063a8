"""Draws docs/images/gallery_*.png: a figure of each notebook, on the model that it makes itself; needs matplotlib.

    python docs/figures/gallery.py [NAME ...]

The cells of a notebook run in this process, in order, as far as the figure that is kept.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
FIGURES = {"forward_modelling": 1, "inversion_3d": 1, "attenuation_and_anisotropy": 5}
"""Which figure of a notebook is kept, by number; docs/images has pictures of the others already."""
WIDTH = 800  # pixels


def save(figure: plt.Figure, name: str) -> None:
    """Writes a figure as the gallery shows it."""
    path = IMAGES / f"gallery_{name}.png"
    figure.savefig(path, dpi=WIDTH / figure.get_figwidth(), pil_kwargs={"optimize": True})
    print(f"{path}: {path.stat().st_size // 1000} kB")


def notebook(name: str, number: int) -> None:
    """Runs the cells of a notebook until it has drawn figure ``number``, and saves that."""
    cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    made: dict = {"__name__": "notebook"}
    for cell in cells:
        code = "".join(cell["source"])
        if cell["cell_type"] != "code" or "HTML(" in code:
            continue
        if "%pip" in code:  # the package is here: what is left of the cell are its imports
            code = "import jaxwave\n" + code.rpartition("    import jaxwave\n")[-1]
        exec(compile(code, name, "exec"), made)
        if number < len(plt.get_fignums()):
            break
    save(plt.figure(plt.get_fignums()[number]), name)
    plt.close("all")


def processes() -> None:
    """Runs examples/processes.py on two processes, and draws what it has inverted."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "inverted.npz"
        command = [sys.executable, ROOT / "examples" / "processes.py", "--processes", "2", "--out", out]
        subprocess.run(command, check=True)
        inverted = np.load(out)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.9), layout="constrained", width_ratios=(3, 2))
    image = left.imshow(inverted["v"] / 1000, extent=(0, 0.9, 0.5, 0))
    left.set(title="Inverted model", xlabel="x (km)", ylabel="depth (km)")
    figure.colorbar(image, ax=left, label="speed (km/s)", shrink=0.8)
    right.plot(inverted["misfits"] / inverted["misfits"][0], "o-")
    right.set(title="Misfit of all shots", xlabel="step", ylabel="relative misfit")
    save(figure, "processes")


def main(names: list[str]) -> None:
    """Draws the figures of these names, or all."""
    os.environ.pop("JAXWAVE_DATA", None)
    for name, number in FIGURES.items():
        if not names or name in names:
            notebook(name, number)
    if not names or "processes" in names:
        processes()


if __name__ == "__main__":
    main(sys.argv[1:])
