"""Takes the figures of docs/elastic_inversion.md out of the executed notebook notebooks/elastic_inversion.ipynb.

A cell whose metadata name a ``docs_image`` is the source of the picture of that name.
"""

import base64
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Writes the pictures."""
    notebook = nbformat.read(ROOT / "notebooks" / "elastic_inversion.ipynb", as_version=4)
    for cell in notebook.cells:
        name = cell.metadata.get("docs_image")
        if name:
            (png,) = (output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {}))
            path = ROOT / "docs" / "images" / name
            path.write_bytes(base64.b64decode(png))
            print(f"{path}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
