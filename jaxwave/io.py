"""Models and checkpoints in files: NumPy and HDF5, written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import jax
import jax.numpy as jnp
import numpy as np

from jaxwave._setup import validate

CHECKPOINT_VERSION = 1


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path whose file takes the place of ``path`` if the block ends well.

    Whoever reads ``path`` finds the old file or the new one, never half of one, whenever the process is killed. The
    temporary file lies in the same directory, since a file system replaces in one step only within itself. The new file
    has the permissions of the old one, or those of any new file; of a symbolic link, its target is replaced. (Another
    hard link keeps the old content.)

    Args:
        path: The file to be written.

    Yields:
        The path to write to.

    Raises:
        OSError: If the directory does not exist or cannot be written to, or ``path`` is write-protected or no regular
            file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "note.txt"
        >>> with atomic(path) as temporary:
        ...     _ = temporary.write_text("done")
        >>> path.read_text()
        'done'
    """
    target = Path(os.path.realpath(path))
    exists = target.exists()
    if exists and not (target.is_file() and os.access(target, os.W_OK)):
        raise OSError(f"{path} is no regular file that may be written to; give another name, or remove it")
    # A part of the name: with all of it, that of the temporary file could be too long.
    temporary = target.with_name(f".{target.name[:64]}.{secrets.token_hex(6)}.part")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # as any new file, less the umask
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())  # the content reaches the disk before the name does
        if exists:
            os.chmod(temporary, target.stat().st_mode & 0o7777)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def save_checkpoint(path: str | os.PathLike, tree: Any, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a pytree of arrays, such as a model and an optax state, to an HDF5 file; atomically.

    Args:
        path: The file, replaced if it exists.
        tree: Pytree whose leaves are arrays or numbers of any type that JAX has, bfloat16 included.
        metadata: What else has to be known to go on, as far as JSON can say it. Default: nothing.

    Raises:
        OSError: If the file cannot be written; an older one at ``path`` is then unharmed.
        TypeError: If a leaf is no array of numbers, or ``metadata`` cannot be said in JSON.
        ValueError: If a leaf has masked values.

    Example:
        >>> import optax, tempfile, jax.numpy as jnp
        >>> path = Path(tempfile.mkdtemp()) / "checkpoint.h5"
        >>> model = jnp.full((3, 4), 1500.0)
        >>> save_checkpoint(path, (model, optax.adam(10.0).init(model)), {"iteration": 7})
        >>> load_metadata(path)
        {'iteration': 7}
    """
    leaves = [(name, _numbers(name, leaf)) for name, leaf in _named_leaves(tree)]
    text = json.dumps(dict(metadata or {}))
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update(jaxwave_checkpoint=CHECKPOINT_VERSION, leaves=len(leaves))
        file["metadata"] = text  # no attribute, which would have to be short
        for i, (name, leaf) in enumerate(leaves):
            file[f"leaf_{i}"] = _as_bits(leaf)
            file[f"leaf_{i}"].attrs.update(dtype=leaf.dtype.name, place=name)


def load_checkpoint(path: str | os.PathLike, like: Any) -> Any:
    """Read a pytree that :func:`save_checkpoint` wrote; every bit is as it was.

    Args:
        path: The file.
        like: A pytree of the same structure, shapes and types; its values do not matter. ``jax.ShapeDtypeStruct`` will
            do.

    Returns:
        The pytree, with NumPy arrays as leaves.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no checkpoint, or one of something else than ``like``: of other keys, fields or places, or
            of other shapes or types.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "checkpoint.h5"
        >>> save_checkpoint(path, {"v": np.ones(3)})
        >>> load_checkpoint(path, like={"v": np.zeros(3)})
        {'v': array([1., 1., 1.])}
    """
    expected, structure = _named_leaves(like), jax.tree.structure(like)
    with h5py.File(path) as file:
        _require_checkpoint(path, file)
        if file.attrs["leaves"] != len(expected):
            raise ValueError(f"{path} holds {file.attrs['leaves']} arrays where {len(expected)} are expected")
        stored = [file[f"leaf_{i}"] for i in range(len(expected))]
        places = [x.attrs.get("place", name) for x, (name, _) in zip(stored, expected, strict=True)]
        leaves = [_from_bits(x[()], x.attrs.get("dtype")) for x in stored]
    for place, leaf, (name, want) in zip(places, leaves, expected, strict=True):
        want = want if hasattr(want, "dtype") else np.asarray(want)
        if place != name:
            raise ValueError(f"{path} holds an array for {place or 'the whole'} where one for {name} is expected")
        if (leaf.shape, leaf.dtype) != (want.shape, want.dtype):
            found, wanted = (f"{x.dtype}{list(x.shape)}" for x in (leaf, want))
            raise ValueError(f"{path} holds an array of {found} for {name} where {wanted} is expected")
    return jax.tree.unflatten(structure, leaves)


def _named_leaves(tree: Any) -> list[tuple[str, Any]]:
    """The leaves of a pytree, each with its place in it: ``[0]['vp']``, ``[1].mu``."""
    return [(jax.tree_util.keystr(place), leaf) for place, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]]


def _numbers(name: str, leaf: Any) -> np.ndarray:
    """A leaf as NumPy has it."""
    name = f"tree{name}"
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.extended):
        raise TypeError(
            f"`{name}` is an array of {leaf.dtype}; save the numbers behind it, e.g. jax.random.key_data(key)"
        )
    x = np.asarray(validate.array(name, leaf))
    if not (jnp.issubdtype(x.dtype, jnp.number) or x.dtype == bool):
        raise TypeError(f"`{name}` must be an array of numbers; got dtype {x.dtype}. Put what is none into `metadata`")
    return x


def _as_bits(x: np.ndarray) -> np.ndarray:
    """Types that are none of NumPy's own, such as bfloat16, as integers: HDF5 would keep neither name nor meaning."""
    return x.view(f"u{x.dtype.itemsize}") if x.dtype.kind == "V" else x


def _from_bits(x: Any, dtype: str | None) -> np.ndarray:
    """What was stored, in the type of this name."""
    x = np.asarray(x)
    return x if dtype in (None, x.dtype.name) else x.view(jnp.dtype(dtype))


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
        return json.loads(file["metadata"].asstr()[()] if "metadata" in file else file.attrs["metadata"])


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
