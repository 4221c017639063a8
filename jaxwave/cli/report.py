"""What the commands share: arguments for storage, progress, and plain words about what is done."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import platform
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp

from jaxwave._notices import SubstepWarning
from jaxwave._numerics.boundary import PaddedGrid
from jaxwave._results import RunInfo
from jaxwave._setup.substeps import loop_steps
from jaxwave.storage.codecs import CODECS, Raw, stored_bytes

PLACES = {"device": "in device memory", "cpu": "in host RAM", "disk": "in an HDF5 file"}


class UsageError(Exception):
    """The user has to change something; the message says what."""


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
    """Turns what jaxwave's validation raises into :class:`UsageError`: for code that checks, not for code that runs."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error


def number(kind: type, low: float, *, above: bool = False) -> Callable[[str], Any]:
    """An argparse type: a number from ``low``, or ``above`` it."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {'an integer' if kind is int else 'a number'}") from None
        if not (value > low if above else value >= low) or value == float("inf"):
            raise argparse.ArgumentTypeError(f"{text} must be {'above' if above else 'at least'} {low}")
        return value

    return parse


def add_storage_arguments(parser: argparse.ArgumentParser, storage: str, compression: str) -> None:
    """The three options that say where a gradient keeps its wavefields."""
    group = parser.add_argument_group("storage of the wavefields that the gradient needs")
    group.add_argument("--storage", choices=list(PLACES), default=storage, help="default: %(default)s")
    group.add_argument("--storage-path", default=".", metavar="DIR", help="for --storage disk; default: here")
    group.add_argument("--compression", choices=["none", *CODECS], default=compression, help="default: %(default)s")


def storage_options(arguments: Any) -> dict[str, Any]:
    """The same options as keywords of a propagator; from parsed arguments or anything with their attributes."""
    return {
        "storage_mode": arguments.storage,
        "storage_path": arguments.storage_path,
        "storage_compression": False if arguments.compression == "none" else arguments.compression,
    }


@contextlib.contextmanager
def quiet_substeps() -> Iterator[None]:
    """Silences :class:`jaxwave.SubstepWarning`: a command says the same in its report."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SubstepWarning)
        yield


@dataclasses.dataclass(frozen=True)
class Footprint:
    """Size of the wavefields that one gradient stores.

    Attributes:
        raw: Bytes without compression.
        stored: Bytes as they are stored.
        where: In words.
    """

    raw: int
    stored: int
    where: str

    def __str__(self) -> str:
        saved = f", {self.raw / self.stored:.1f} times less than uncompressed" if self.stored < self.raw else ""
        return f"{megabytes(self.stored)} stored {self.where}{saved} ({megabytes(self.raw)})"


def footprint(info: RunInfo, spacing: float, n_shots: int, nt: int, accuracy: int, storage: str) -> Footprint:
    """What a gradient of a run of the scalar equation stores: one float32 field for each step of the loop."""
    grid = PaddedGrid(info.region.shape, (spacing,) * len(info.region.shape), accuracy, info.pml_width, info.boundary)
    field, entries = (n_shots, *grid.padded), loop_steps(nt, info.step_ratio, goes_on=False)
    raw, stored = (entries * stored_bytes(codec, field, jnp.float32) for codec in (Raw(), info.storage.codec))
    return Footprint(raw, stored, PLACES[storage])


def megabytes(n: float) -> str:
    """Bytes in words, in powers of ten."""
    return f"{n / 1e9:.2f} GB" if n >= 1e9 else f"{n / 1e6:.1f} MB"


def substeps(info: RunInfo, dt: float) -> str:
    """Says whether the time step was divided, and why."""
    if info.step_ratio == 1:
        return f"time step {dt * 1e3:g} ms, stable as it is"
    return (
        f"time step {dt * 1e3:g} ms, divided into {info.step_ratio} sub-steps of {info.inner_dt * 1e3:.3g} ms "
        f"(stability at {info.max_vel:g} m/s)"
    )


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    packages = {name: version(name) for name in ("jax", "jaxlib", "numpy", "optax", "h5py")}
    machine = {"python": platform.python_version(), "device": str(jax.devices()[0])}
    return {"jaxwave": jaxwave_version(), **packages, **machine}


def jaxwave_version() -> str:
    """Version of jaxwave itself, also where it is imported from a source tree."""
    import jaxwave  # not at the top: the package imports before its commands do

    return jaxwave.__version__


class Progress:
    """A progress bar where tqdm is installed, else a line for every step.

    Args:
        total: Steps in all.
        done: Steps that were done before.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self._total, self._done, self._bar = total, done, None
        with contextlib.suppress(ImportError):
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, unit="it", dynamic_ncols=True)

    def step(self, text: str) -> None:
        """One more step is done, with this to say about it."""
        self._done += 1
        if self._bar is None:
            print(f"{self._done}/{self._total}  {text}", flush=True)
        else:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update()

    def say(self, text: str) -> None:
        """A line of its own."""
        if self._bar is None:
            print(text, flush=True)
        else:
            self._bar.write(text)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()


def save_figure(path: str | None, draw: Callable[[], Any]) -> None:
    """Write the figure that ``draw`` returns, if one is wanted and matplotlib is there."""
    if path is None:
        return
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print(f"no figure {path}: matplotlib is not installed (python -m pip install 'jaxwave[plot]')")
        return
    draw().savefig(path, dpi=110)
    print(f"figure: {path}")
