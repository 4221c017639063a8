"""Models and checkpoints in files: NumPy and HDF5, written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np

CHECKPOINT_VERSION = 1


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path whose file takes the place of ``path`` if the block ends well.

    Whoever reads ``path`` finds the old file or the new one, never half of one, whenever the process is killed. The
    temporary file lies in the same directory, since a file system replaces in one step only within itself.

    Args:
        path: The file to be written.

    Yields:
        The path to write to.

    Raises:
        OSError: If the directory does not exist or cannot be written to.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "note.txt"
        >>> with atomic(path) as temporary:
        ...     _ = temporary.write_text("done")
        >>> path.read_text()
        'done'
    """
    path = Path(path).absolute()
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())  # the content reaches the disk before the name does
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_checkpoint(path: str | os.PathLike, tree: Any, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a pytree of arrays, such as a model and an optax state, to an HDF5 file; atomically.

    Args:
        path: The file, replaced if it exists.
        tree: Pytree whose leaves are arrays or numbers.
        metadata: What else has to be known to go on, as far as JSON can say it. Default: nothing.

    Raises:
        OSError: If the file cannot be written; an older one at ``path`` is then unharmed.
        TypeError: If ``metadata`` cannot be said in JSON.

    Example:
        >>> import optax, tempfile, jax.numpy as jnp
        >>> path = Path(tempfile.mkdtemp()) / "checkpoint.h5"
        >>> model = jnp.full((3, 4), 1500.0)
        >>> save_checkpoint(path, (model, optax.adam(10.0).init(model)), {"iteration": 7})
        >>> load_metadata(path)
        {'iteration': 7}
    """
    leaves, _ = jax.tree.flatten(tree)
    text = json.dumps(dict(metadata or {}))
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update(jaxwave_checkpoint=CHECKPOINT_VERSION, metadata=text, leaves=len(leaves))
        for i, leaf in enumerate(leaves):
            file[f"leaf_{i}"] = np.asarray(leaf)


def load_checkpoint(path: str | os.PathLike, like: Any) -> Any:
    """Read a pytree that :func:`save_checkpoint` wrote; every bit is as it was.

    Args:
        path: The file.
        like: A pytree of the same structure, shapes and types; its values do not matter.

    Returns:
        The pytree, with NumPy arrays as leaves.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no checkpoint, or one of something else than ``like``.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "checkpoint.h5"
        >>> save_checkpoint(path, {"v": np.ones(3)})
        >>> load_checkpoint(path, like={"v": np.zeros(3)})
        {'v': array([1., 1., 1.])}
    """
    expected, structure = jax.tree.flatten(like)
    with h5py.File(path) as file:
        _require_checkpoint(path, file)
        if file.attrs["leaves"] != len(expected):
            raise ValueError(f"{path} holds {file.attrs['leaves']} arrays where {len(expected)} are expected")
        leaves = [file[f"leaf_{i}"][()] for i in range(len(expected))]
    for leaf, want in zip(map(np.asarray, leaves), map(np.asarray, expected), strict=True):
        if (leaf.shape, leaf.dtype) != (want.shape, want.dtype):
            found, wanted = (f"{x.dtype}{list(x.shape)}" for x in (leaf, want))
            raise ValueError(f"{path} holds an array of {found} where {wanted} is expected")
    return jax.tree.unflatten(structure, leaves)


def load_metadata(path: str | os.PathLike) -> dict[str, Any]:
    """Read the metadata that :func:`save_checkpoint` wrote.

    Args:
        path: The file.

    Returns:
        The metadata.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no checkpoint.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "checkpoint.h5"
        >>> save_checkpoint(path, [], {"band": 2})
        >>> load_metadata(path)["band"]
        2
    """
    with h5py.File(path) as file:
        _require_checkpoint(path, file)
        return json.loads(file.attrs["metadata"])


def load_model(path: str | os.PathLike, dataset: str | None = None) -> np.ndarray:
    """Read a model from a NumPy or an HDF5 file.

    Args:
        path: A file that ends in .npy, .h5 or .hdf5.
        dataset: Name of the dataset in an HDF5 file. Default: the only one.

    Returns:
        The model, as it is stored.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the file is of another kind, or the dataset is missing or has to be named.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "model.npy"
        >>> np.save(path, np.full((20, 30), 1500.0))
        >>> load_model(path).shape
        (20, 30)
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if suffix not in (".h5", ".hdf5"):
        raise ValueError(f"{path}: a model is read from a .npy, .h5 or .hdf5 file")
    with h5py.File(path) as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        if dataset is None and len(names) == 1:
            dataset = names[0]
        if dataset not in names:
            what = "it holds no single dataset" if dataset is None else f"it holds no dataset {dataset!r}"
            raise ValueError(f"{path}: {what}; name one of {', '.join(names) or 'none'}")
        return file[dataset][()]


def _require_checkpoint(path: str | os.PathLike, file: h5py.File) -> None:
    if file.attrs.get("jaxwave_checkpoint") != CHECKPOINT_VERSION:
        raise ValueError(f"{path} is no checkpoint that this version of jaxwave can read")
