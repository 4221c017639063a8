"""Records in SEG-Y files, with their geometry; needs the extra "segy" (segyio).

A file has traces in any order, each with a header; here they are gathers [shot, receiver, nt], with coordinates in
metres. Shots with fewer traces are filled up: their records are zeros, and their receivers are skipped by a propagator.
What is written back has the headers that were read, so that other programs find their traces again.

Reference:
    Society of Exploration Geophysicists, "SEG-Y revision 2.0 data exchange format" (2017).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from jaxwave._setup import validate
from jaxwave._setup.survey import IGNORE_LOCATION
from jaxwave.io import atomic

__all__ = ["Gathers", "from_survey", "read", "write"]

FOOT = 0.3048  # m
CENTIMETRES = 100  # in a metre: what coordinates are counted in
IEEE_FLOAT = 5  # the data format of 4 bytes that is NumPy's


@dataclasses.dataclass(frozen=True, eq=False)
class Gathers:
    """Records by shot, and where they were made.

    Attributes:
        records: [shot, receiver, nt], float32; zeros where a shot has fewer receivers.
        dt: Time step (s).
        sources: Coordinates [shot, (x, y, z)] (m); z is the depth, positive downwards.
        receivers: Coordinates [shot, receiver, (x, y, z)] (m); NaN where there is none.
        shots: The number of each shot in the file.
        traces: The number of each trace in the file, from 0 [shot, receiver]; -1 where there is none.
        headers: The header of each trace of the file [trace, 240] (bytes), in the order of the file.
        text, binary: The textual and the binary header of the file.
    """

    records: np.ndarray
    dt: float
    sources: np.ndarray
    receivers: np.ndarray
    shots: np.ndarray
    traces: np.ndarray
    headers: np.ndarray
    text: bytes
    binary: Mapping[int, int]

    @property
    def present(self) -> np.ndarray:
        """Which receivers there are [shot, receiver]: weights for a misfit."""
        return self.traces >= 0

    def cells(
        self, axes: str, origin: Sequence[float], spacing: float | Sequence[float], rounded: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sources [shot, 1, axis] and receivers [shot, receiver, axis] in cells of a model.

        Args:
            axes: The coordinates of the model's axes, from the slowest: "zx" of a section along x, "zyx" of a volume.
            origin: Coordinates (m) of the centre of the first cell, one per axis.
            spacing: Cell size (m), one number or one per axis.
            rounded: Whether to take the nearest cells, as integers. If False they are floats, for
                :class:`jaxwave.Hicks`.

        Returns:
            Both; a receiver that is missing has ``jaxwave.IGNORE_LOCATION`` in every coordinate.

        Raises:
            ValueError: If there is no such axis, or not one origin for each.
        """
        if not axes or set(axes) - set("xyz") or len(set(axes)) < len(axes):
            raise ValueError(f"`axes` must be made of x, y and z, each once, such as 'zx'; got {axes!r}")
        start, size = (np.asarray(x, float) for x in (origin, spacing))
        if start.shape != (len(axes),) or size.shape not in ((), (len(axes),)):
            raise ValueError(
                f"`origin` must have one number for each of {axes!r}, and `spacing` one or as many; got {origin} and "
                f"{spacing}"
            )
        columns = ["xyz".index(axis) for axis in axes]

        def to_cells(x: np.ndarray) -> np.ndarray:
            cells = (x[..., columns] - start) / size
            missing = np.isnan(cells)
            cells = np.where(missing, IGNORE_LOCATION, np.rint(cells) if rounded else cells)
            return cells.astype(np.int32) if rounded else cells

        return to_cells(self.sources[:, None]), to_cells(self.receivers)


def read(path: str | os.PathLike[str], shot: str = "FieldRecord") -> Gathers:
    """The gathers of a SEG-Y file.

    Coordinates are those of the trace headers with their scalars, in feet where the binary header says so. The depth of
    a source is its depth below the surface less the surface's elevation, that of a receiver minus its elevation.

    Args:
        path: The file.
        shot: The field of the trace headers that tells shots apart: "FieldRecord", "EnergySourcePoint" or another of
            segyio's ``TraceField``.

    Raises:
        ImportError: If segyio is not installed.
        ValueError: If the file is no SEG-Y file that can be read, has no traces, or says no time step.

    Example:
        ::

            gathers = jaxwave.segy.read("shots.sgy")
            sources, receivers = gathers.cells("zx", origin=(0.0, 0.0), spacing=12.5)
    """
    segyio = _segyio()
    with _opened(segyio, path) as file:
        fields = segyio.TraceField

        def of_traces(name: str) -> np.ndarray:
            if not hasattr(fields, name):
                raise ValueError(f"`shot`={name!r} is no field of trace headers; see segyio.TraceField")
            return np.asarray(file.attributes(getattr(fields, name))[:])

        if not file.tracecount:
            raise ValueError(f"{path} has no traces")
        dt = segyio.tools.dt(file, fallback_dt=0.0) / 1e6
        if dt <= 0:
            raise ValueError(f"{path} says no time step, neither for the file nor for its first trace")
        unit = FOOT if file.bin[segyio.BinField.MeasurementSystem] == 2 else 1.0
        across, up = (unit * _factor(of_traces(k)) for k in ("SourceGroupScalar", "ElevationScalar"))
        source = [of_traces(k) * across for k in ("SourceX", "SourceY")]
        source.append((of_traces("SourceDepth") - of_traces("SourceSurfaceElevation")) * up)
        receiver = [of_traces(k) * across for k in ("GroupX", "GroupY")]
        receiver.append(-of_traces("ReceiverGroupElevation") * up)
        raw = np.asarray(file.trace.raw[:], np.float32)
        headers = np.stack([np.frombuffer(bytes(file.header[k].buf), np.uint8) for k in range(file.tracecount)])
        numbers, binary = of_traces(shot), {int(k): int(v) for k, v in file.bin.items()}
        text = bytes(file.text[0])
    shots, first = np.unique(numbers, return_index=True)
    shots = shots[np.argsort(first)]  # in the order of the file
    members = [np.flatnonzero(numbers == k) for k in shots]
    traces = np.full((len(shots), max(map(len, members))), -1)
    for row, found in zip(traces, members, strict=True):
        row[: len(found)] = found
    present = traces >= 0
    place = np.where(present[..., None], np.stack(receiver, -1)[traces], np.nan)
    records = np.where(present[..., None], raw[traces], np.float32(0))
    return Gathers(records, dt, np.stack(source, -1)[traces[:, 0]], place, shots, traces, headers, text, binary)


def from_survey(records: Any, dt: float, sources: Any, receivers: Any) -> Gathers:
    """Gathers of records that were computed, with headers for a file of their own.

    Args:
        records: [shot, receiver, nt].
        dt: Time step (s), a whole number of microseconds.
        sources: Coordinates [shot, (x, y, z)] (m), z downwards. A file keeps centimetres.
        receivers: Coordinates [shot, receiver, (x, y, z)] (m).

    Raises:
        ValueError: If shapes do not belong together, or a file cannot say the time step.

    Example:
        >>> import numpy as np, jaxwave
        >>> there = np.zeros((2, 3, 3)) + 10 * np.arange(3)[:, None] * np.array([1, 0, 0])
        >>> gathers = jaxwave.segy.from_survey(np.zeros((2, 3, 50)), 1e-3, np.zeros((2, 3)), there)
        >>> sources, receivers = gathers.cells("zx", origin=(0.0, 0.0), spacing=5.0)
        >>> receivers[0].tolist()
        [[0, 0], [0, 2], [0, 4]]
    """
    records = np.asarray(validate.numpy_values("records", records), np.float32)
    sources, receivers = (np.asarray(x, float) for x in (sources, receivers))
    if records.ndim != 3 or receivers.shape != (*records.shape[:2], 3) or sources.shape != (len(records), 3):
        raise ValueError(
            "`records` must be [shot, receiver, nt], `sources` [shot, 3] and `receivers` [shot, receiver, 3]; got "
            f"{records.shape}, {sources.shape} and {receivers.shape}"
        )
    interval = round(1e6 * validate.positive("dt", dt))
    if abs(interval - 1e6 * dt) > 1e-3 or not 0 < interval < 2**15:
        raise ValueError(f"`dt` must be a whole number of microseconds below 32768, as files say it; got {dt} s")
    n_shots, n_receivers, nt = records.shape
    headers = np.zeros((n_shots, n_receivers, 240), np.uint8)

    def put(first: int, kind: str, values: Any) -> None:  # bytes are counted from 1
        size = np.dtype(kind).itemsize
        found = np.broadcast_to(np.rint(values), (n_shots, n_receivers)).astype(kind)[..., None]
        headers[..., first - 1 : first - 1 + size] = np.ascontiguousarray(found).view(np.uint8)

    shots, number = np.arange(1, n_shots + 1), np.arange(1, n_receivers + 1)
    traces = np.arange(n_shots * n_receivers).reshape(n_shots, n_receivers)
    put(1, ">i4", traces + 1)
    for first, values in ((9, shots[:, None]), (13, number), (17, shots[:, None])):
        put(first, ">i4", values)
    put(29, ">i2", 1)  # a seismic trace
    for first in (69, 71):
        put(first, ">i2", -CENTIMETRES)
    for first, values in (
        (41, -receivers[..., 2]), (49, sources[:, None, 2]), (73, sources[:, None, 0]), (77, sources[:, None, 1]),
        (81, receivers[..., 0]), (85, receivers[..., 1]),
    ):  # fmt: skip
        put(first, ">i4", CENTIMETRES * values)
    put(115, ">i2", nt)
    put(117, ">i2", interval)
    text = "".join(f"C{k:2d} {'SYNTHETIC RECORDS OF JAXWAVE' if k == 1 else ''}".ljust(80) for k in range(1, 41))
    return Gathers(
        records, interval / 1e6, sources, receivers, shots, traces, headers.reshape(-1, 240), text.encode("ascii"), {}
    )


def write(path: str | os.PathLike[str], gathers: Gathers, records: Any = None) -> None:
    """Writes gathers, with the headers and in the order of the file that they were read from.

    Samples are IEEE floats of 4 bytes, which are read back to the bit. The file takes the place of an old one when it
    is whole.

    Args:
        path: The file.
        gathers: What :func:`read` or :func:`from_survey` returned.
        records: Other records of the same shape in place of those of ``gathers``, such as predicted ones.

    Raises:
        ImportError: If segyio is not installed.
        ValueError: If the records have another shape.
        OSError: If the file cannot be written.
    """
    segyio = _segyio()
    new = gathers.records if records is None else validate.numpy_values("records", records)
    if new.shape != gathers.records.shape:
        raise ValueError(f"`records` have shape {new.shape}, those that were read {gathers.records.shape}")
    spec = segyio.spec()
    spec.format, spec.samples = IEEE_FLOAT, np.arange(new.shape[-1]) * gathers.dt * 1e3
    spec.tracecount = len(gathers.headers)
    with atomic(path) as temporary, segyio.create(str(temporary), spec) as file:
        file.text[0] = gathers.text
        own = {segyio.BinField.Samples: new.shape[-1], segyio.BinField.Format: IEEE_FLOAT,
               segyio.BinField.Interval: round(gathers.dt * 1e6)}  # fmt: skip
        file.bin.update({**gathers.binary, **{int(k): v for k, v in own.items()}})
        for number, index in zip(gathers.traces[gathers.present], np.argwhere(gathers.present), strict=True):
            header = file.header[int(number)]
            header.buf[:] = gathers.headers[number].tobytes()
            header.flush()
            file.trace[int(number)] = np.ascontiguousarray(new[tuple(index)], np.float32)


@contextmanager
def _opened(segyio: ModuleType, path: str | os.PathLike[str]) -> Iterator[Any]:
    """The file, without a geometry that segyio would look for."""
    try:
        file = segyio.open(str(path), ignore_geometry=True)
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError, ValueError, IndexError) as error:
        raise ValueError(f"{path} is no SEG-Y file that can be read, or is cut off: {error}") from error
    with file:
        yield file


def _factor(scalar: np.ndarray) -> np.ndarray:
    """What coordinates are multiplied by: a negative scalar divides, and 0 stands for 1."""
    scalar = np.where(scalar == 0, 1, scalar).astype(float)
    return np.where(scalar < 0, -1 / np.where(scalar < 0, scalar, 1), scalar)


def _segyio() -> ModuleType:
    try:
        import segyio
    except ImportError as error:
        raise ImportError('SEG-Y files need segyio: pip install "jaxwave[segy]"') from error
    return segyio
