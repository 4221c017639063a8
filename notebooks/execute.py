"""Execute every notebook in this directory, or those named on the command line, and fail on the first error.

    python notebooks/execute.py [NOTEBOOK ...]

Notebooks run in a temporary copy of the directory, so that neither they nor anything beside them changes.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

TIMEOUT_S = 600
"""Longest time that a single cell may take."""


def execute(path: Path) -> float:
    """Run the notebook in its own directory and return the seconds that it took."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=TIMEOUT_S, resources={"metadata": {"path": str(path.parent)}})
    start = time.perf_counter()
    client.execute()
    return time.perf_counter() - start


def main(names: list[str]) -> int:
    """Execute the notebooks and return the exit status."""
    here = Path(__file__).resolve().parent
    names = [Path(name).name for name in names] or sorted(path.name for path in here.glob("*.ipynb"))
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "notebooks"
        shutil.copytree(here, copy)
        for name in names:
            print(f"{name:<40}", end=" ", flush=True)
            try:
                print(f"{execute(copy / name):6.1f} s", flush=True)
            except CellExecutionError as error:
                print(f"failed\n{error}", flush=True)
                return 1
    print(f"{len(names)} notebooks executed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
