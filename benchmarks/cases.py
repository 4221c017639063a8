"""The benchmark problems, in NumPy alone: both workers, and the comparison of them, build the same arrays from here."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

SLOW, FAST = 2000.0, 2500.0  # speeds of the two layers, m/s
SPACING = 10.0  # m
DT = 1e-3  # s: below both libraries' limit in 3-D, 0.6 dx / (sqrt(3) FAST), so that neither divides it
FREQUENCY = 25.0  # Hz: 8 cells to the wavelength at the wavelet's peak
PML_WIDTH = 20  # cells
SOURCE_DEPTH = 2  # cells


@dataclasses.dataclass(frozen=True)
class Case:
    """One problem: a two-layer model, sources in a line, and a line of receivers in every cell one row below it.

    Attributes:
        name: What the command line calls it.
        shape: Cells of the model, without absorbing layers.
        n_shots: Shots, of one source each, spread evenly along the last axis.
        nt: Time steps.
        accuracy: Order of the differences in space.
        source_depth: Row of the sources. Default 2.
        pml_width: Cells of absorbing layer on every face.
    """

    name: str
    shape: tuple[int, ...]
    n_shots: int
    nt: int
    accuracy: int = 4
    source_depth: int = SOURCE_DEPTH
    pml_width: int = PML_WIDTH

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def grid(self) -> tuple[int, ...]:
        """Cells of the grid along each axis, absorbing layers included."""
        return tuple(n + 2 * self.pml_width for n in self.shape)

    @property
    def cells(self) -> int:
        """Cells of the grid."""
        return math.prod(self.grid)

    @property
    def in_layers(self) -> float:
        """Fraction of the cells that are in an absorbing layer."""
        return 1 - math.prod(self.shape) / self.cells

    @property
    def cell_updates(self) -> int:
        """What rates count: cells x shots x time steps."""
        return self.cells * self.n_shots * self.nt

    @property
    def interface(self) -> int:
        """First row of the fast layer: near enough to the sources for its reflection to be recorded."""
        return self.source_depth + min(self.shape[0] // 8, 40)

    @property
    def label(self) -> str:
        """The case in words, for tables."""
        size = " x ".join(map(str, self.grid))
        shots = "1 shot" if self.n_shots == 1 else f"{self.n_shots} shots"
        return f"{self.ndim}-D, {size}, {shots}, {self.nt} steps, order {self.accuracy}"

    @property
    def with_order_8(self) -> Case:
        """The same with differences of order 8."""
        return dataclasses.replace(self, name=f"{self.name}-order8", accuracy=8)

    @property
    def without_pml(self) -> Case:
        """The same number of cells, all of them of the model."""
        return dataclasses.replace(self, name=f"{self.name}-no-pml", shape=self.grid, pml_width=0)


@dataclasses.dataclass(frozen=True)
class Problem:
    """The arrays of a case.

    Attributes:
        v: Speed [*cells], m/s.
        amplitudes: Source time functions [shot, 1, nt].
        sources: Cells of the sources [shot, 1, axis].
        receivers: Cells of the receivers [shot, receiver, axis].
    """

    v: np.ndarray
    amplitudes: np.ndarray
    sources: np.ndarray
    receivers: np.ndarray


_COMMON = [
    Case("2d-300x8", (260, 260), 8, 500),
    Case("2d-1000x1", (960, 960), 1, 300),
    Case("marmousi-size", (173, 561), 16, 300),
    Case("3d-120", (80, 80, 80), 1, 100),
    Case("3d-120x2", (80, 80, 80), 2, 100),
    Case("3d-200", (160, 160, 160), 1, 60),
]
# They fill a GPU: gradients keep 43, 19 and 32 GiB.
_LARGE = [
    Case("2d-2000x32", (1960, 1960), 32, 90),
    Case("3d-256", (216, 216, 216), 1, 300),
    Case("3d-384", (344, 344, 344), 1, 150),
]
_SMALL = [Case("small-2d", (40, 48), 2, 40), Case("small-3d", (16, 16, 20), 1, 12)]
# Nothing reaches the layers: waves travel at most 30 of the 60 cells to them.
_INSIDE = [
    Case("inside-2d", (120, 120), 1, 120, source_depth=60),
    Case("inside-3d", (56, 56, 56), 1, 60, source_depth=28),
]
# Points of the scaling table: one thing grows 64-fold, the others stay.
SCALING = {
    "cells": [Case(f"cells-{n}", (n - 2 * PML_WIDTH,) * 2, 1, 100) for n in (256, 512, 1024, 2048)],
    "shots": [Case(f"shots-{n}", (60, 60), n, 200) for n in (1, 4, 16, 64)],
    "steps": [Case(f"steps-{n}", (216, 216), 1, n) for n in (100, 400, 1600, 6400)],
}
SCALED_BY = {"cells": lambda case: case.cells, "shots": lambda case: case.n_shots, "steps": lambda case: case.nt}
_COMPARED = [*_COMMON, *(c.with_order_8 for c in _COMMON), *_LARGE, *(c.with_order_8 for c in _LARGE), *_SMALL]
COMPARED = {case.name: case for case in _COMPARED + _INSIDE}
CASES = COMPARED | {
    case.name: case for case in [*(c.without_pml for c in _COMPARED), *(c for row in SCALING.values() for c in row)]
}


def _both_orders(*names: str) -> tuple[str, ...]:
    return tuple(x for name in names for x in (name, f"{name}-order8"))


# The defaults for a platform; the order is that of the tables.
STANDARD = {
    "cpu": _both_orders("2d-300x8", "2d-1000x1", "marmousi-size", "3d-120", "3d-120x2", "3d-200"),
    "cuda": _both_orders("2d-1000x1", "marmousi-size", "2d-2000x32", "3d-200", "3d-256", "3d-384"),
}
STORAGE = ("2d-300x8", "3d-120")  # one 2-D and one 3-D case, for the storage table
PML = ("2d-300x8", "2d-1000x1", "marmousi-size", "3d-120", "3d-200")


def build(case: Case, dtype: str = "float32") -> Problem:
    """The arrays of ``case``, in the given precision."""
    v = np.full(case.shape, SLOW, dtype)
    v[case.interface :] = FAST
    return Problem(v, _amplitudes(case, dtype), _sources(case), _receivers(case))


def ricker(frequency: float, nt: int, dt: float, peak_time: float) -> np.ndarray:
    """Ricker wavelet (1 - 2 a) exp(-a), a = (pi f (t - peak_time))^2."""
    a = (math.pi * frequency * (np.arange(nt) * dt - peak_time)) ** 2
    return (1 - 2 * a) * np.exp(-a)


def _amplitudes(case: Case, dtype: str) -> np.ndarray:
    wavelet = ricker(FREQUENCY, case.nt, DT, 1 / FREQUENCY).astype(dtype)
    return np.tile(wavelet, (case.n_shots, 1, 1))


def _sources(case: Case) -> np.ndarray:
    """Even spacing along the last axis, in the middle of those between."""
    cells = np.empty((case.n_shots, 1, case.ndim), np.int64)
    cells[..., 0] = case.source_depth
    cells[..., 1:-1] = [n // 2 for n in case.shape[1:-1]]
    cells[:, 0, -1] = (np.arange(case.n_shots) + 0.5) * case.shape[-1] / case.n_shots
    return cells


def _receivers(case: Case) -> np.ndarray:
    cells = np.empty((case.n_shots, case.shape[-1], case.ndim), np.int64)
    cells[..., 0] = case.source_depth + 1
    cells[..., 1:-1] = [n // 2 for n in case.shape[1:-1]]
    cells[..., -1] = np.arange(case.shape[-1])
    return cells
