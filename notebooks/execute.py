"""Execute every notebook in this directory, or those named on the command line, and fail on the first error.

    python notebooks/execute.py [--save] [NOTEBOOK ...]

Notebooks run in a temporary copy of the directory, so that neither they nor anything beside them changes, and without
JAXWAVE_DATA, on the small models that they make themselves. With --save they see that variable, take as long as they
need, and their outputs are written into them.
"""

import argparse
import base64
import io
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

TIMEOUT_S = 600
"""Longest time that a single cell may take, when nothing is saved."""


def execute(path: Path, timeout: int | None) -> tuple[nbformat.NotebookNode, float]:
    """Run the notebook in its own directory and return it, with its outputs, and the seconds that it took."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=timeout, resources=resources, record_timing=False)
    start = time.perf_counter()
    client.execute()
    return notebook, time.perf_counter() - start


def main(arguments: list[str]) -> int:
    """Execute the notebooks and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NOTEBOOK", help="default: all in this directory")
    parser.add_argument("--save", action="store_true", help="write the outputs into the notebooks")
    options = parser.parse_args(arguments)
    if not options.save:
        os.environ.pop("JAXWAVE_DATA", None)
    here = Path(__file__).resolve().parent
    names = [Path(name).name for name in options.names] or sorted(path.name for path in here.glob("*.ipynb"))
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "notebooks"
        shutil.copytree(here, copy)
        for name in names:
            print(f"{name:<40}", end=" ", flush=True)
            try:
                notebook, seconds = execute(copy / name, None if options.save else TIMEOUT_S)
            except CellExecutionError as error:
                print(f"failed\n{error}", flush=True)
                return 1
            print(f"{seconds:6.1f} s", flush=True)
            if options.save:
                save(notebook, here / name)
    print(f"{len(names)} notebooks executed")
    return 0


def save(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook with its outputs, without the version of Python that ran it and with smaller pictures."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = in_256_colours(output.data["image/png"])
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)


def in_256_colours(png: str) -> str:
    """A picture in base64, with a palette in place of full colours: about half the size, and no difference to see."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    smaller = io.BytesIO()
    picture.save(smaller, "png", optimize=True)
    return base64.b64encode(smaller.getvalue()).decode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
