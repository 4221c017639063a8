"""The benchmark problems, in NumPy alone: both workers, and the comparison of them, build the same arrays from here."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

SLOW, FAST = 2000.0, 2500.0  # speeds of the two layers, m/s
SPACING = 10.0  # m
DT = 1e-3  # s: below both libraries' limit in 3-D, 0.6 dx / (sqrt(3) FAST), so that neither divides it
RATIO = 1.7  # of the speeds of P and S waves
EPSILON, DELTA, Q = 0.08, 0.03, 50.0  # Thomsen's parameters, quality factor
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
        equation: Name of the propagator. Sources and receivers are of its kind "p".
    """

    name: str
    shape: tuple[int, ...]
    n_shots: int
    nt: int
    accuracy: int = 4
    source_depth: int = SOURCE_DEPTH
    pml_width: int = PML_WIDTH
    equation: str = "scalar"

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, in the order of the propagator's arguments."""
        return {
            "scalar": ("v",),
            "acoustic": ("v", "rho"),
            "elastic": ("lamb", "mu", "buoyancy"),
            "acoustic_vti": ("v", "epsilon", "delta", "rho"),
            "elastic_vti": ("c11", "c13", "c33", "c55", *(["c66"] if self.ndim == 3 else []), "buoyancy"),
            "viscoacoustic": ("v", "rho", "inverse_q"),
        }[self.equation]

    @property
    def results(self) -> tuple[str, ...]:
        """Names of what a gradient returns: the record and a gradient for each model."""
        several = len(self.models) > 1
        return ("record", *(f"gradient_{name}" for name in self.models)) if several else ("record", "gradient")

    @property
    def suffix(self) -> str:
        """What the names of arguments end with for sources and receivers of pressure."""
        return "" if self.equation == "scalar" else "_p"

    @property
    def kind(self) -> str:
        """The kind of its sources and receivers."""
        return self.suffix.removeprefix("_")

    @property
    def max_vel(self) -> float:
        """What the time step and the layers are made for: the fastest waves of VTI and attenuating media are faster."""
        return FAST if self.equation in ("scalar", "acoustic", "elastic") else 1.37 * FAST

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
        which = "" if self.equation == "scalar" else f"{self.equation.replace('_vti', ' VTI')}, "
        return f"{which}{self.ndim}-D, {size}, {shots}, {self.nt} steps, order {self.accuracy}"

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
        models: The models [*cells] by name, in SI units.
        amplitudes: Source time functions [shot, 1, nt].
        sources: Cells of the sources [shot, 1, axis].
        receivers: Cells of the receivers [shot, receiver, axis].
    """

    models: dict[str, np.ndarray]
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
_STAGGERED = [
    Case("acoustic-2d-300x4", (260, 260), 4, 500, equation="acoustic"),
    Case("acoustic-3d-120", (80, 80, 80), 1, 100, equation="acoustic"),
    Case("elastic-2d-300x4", (260, 260), 4, 400, equation="elastic"),
    Case("elastic-3d-100", (60, 60, 60), 1, 80, equation="elastic"),
]
_MEDIA = [
    Case("acoustic-vti-2d-300x4", (260, 260), 4, 400, equation="acoustic_vti"),
    Case("acoustic-vti-3d-120", (80, 80, 80), 1, 80, equation="acoustic_vti"),
    Case("viscoacoustic-2d-300x4", (260, 260), 4, 400, equation="viscoacoustic"),
    Case("viscoacoustic-3d-120", (80, 80, 80), 1, 80, equation="viscoacoustic"),
    Case("elastic-vti-2d-300x4", (260, 260), 4, 400, equation="elastic_vti"),
    Case("elastic-vti-3d-100", (60, 60, 60), 1, 60, equation="elastic_vti"),
]
# They fill a GPU: gradients keep 43, 19 and 32 GiB.
_LARGE = [
    Case("2d-2000x32", (1960, 1960), 32, 90),
    Case("3d-256", (216, 216, 216), 1, 300),
    Case("3d-384", (344, 344, 344), 1, 150),
]
_SMALL = [
    Case("small-2d", (40, 48), 2, 40),
    Case("small-3d", (16, 16, 20), 1, 12),
    Case("small-elastic", (30, 40), 2, 40, equation="elastic"),
]
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
_BOTH_ORDERS = [*_COMMON, *_LARGE]
_COMPARED = [*_BOTH_ORDERS, *(c.with_order_8 for c in _BOTH_ORDERS), *_SMALL, *_STAGGERED, *_MEDIA]
COMPARED = {case.name: case for case in _COMPARED + _INSIDE}
CASES = COMPARED | {
    case.name: case for case in [*(c.without_pml for c in _COMPARED), *(c for row in SCALING.values() for c in row)]
}


def _both_orders(*names: str) -> tuple[str, ...]:
    return tuple(x for name in names for x in (name, f"{name}-order8"))


# Compiled for a GPU that is not there, and looked at. A few steps tell what many do. Of the largest problem even fewer:
# with 60 steps its history takes half of a T4's memory, and XLA computes parts of a step again to save some.
_FEW = [dataclasses.replace(case, nt=60) for case in (CASES["2d-300x8"], CASES["3d-256"], *_STAGGERED, *_MEDIA)]
COMPILED = {case.name: case for case in [_FEW[0], Case("2d-2000x8", (1960, 1960), 8, 24), *_FEW[1:]]}
# The defaults for a platform; the order is that of the tables.
STANDARD = {
    "cpu": (
        *_both_orders("2d-300x8", "2d-1000x1", "marmousi-size", "3d-120", "3d-120x2", "3d-200"),
        *(case.name for case in _STAGGERED + _MEDIA),
    ),
    "cuda": _both_orders("2d-1000x1", "marmousi-size", "2d-2000x32", "3d-200", "3d-256", "3d-384"),
}
STORAGE = ("2d-300x8", "3d-120")  # one 2-D and one 3-D case, for the storage table
PML = ("2d-300x8", "2d-1000x1", "marmousi-size", "3d-120", "3d-200")


def build(case: Case, dtype: str = "float32") -> Problem:
    """The arrays of ``case``, in the given precision."""
    return Problem(_models(case, dtype), _amplitudes(case, dtype), _sources(case), _receivers(case))


def _models(case: Case, dtype: str) -> dict[str, np.ndarray]:
    """Two layers; the density is Gardner's (kg/m^3)."""
    v = np.full(case.shape, SLOW)
    v[case.interface :] = FAST
    rho = 310 * v**0.25
    mu = rho * (v / RATIO) ** 2
    values = {"v": v, "rho": rho, "lamb": rho * v**2 - 2 * mu, "mu": mu, "buoyancy": 1 / rho}
    values |= {"epsilon": 0 * v + EPSILON, "delta": 0 * v + DELTA, "inverse_q": 0 * v + 1 / Q}
    c33, root = rho * v**2, np.sqrt((rho * v**2 - mu) * (rho * v**2 * (1 + 2 * DELTA) - mu))
    values |= {"c11": c33 * (1 + 2 * EPSILON), "c33": c33, "c13": root - mu, "c55": mu, "c66": mu}
    return {name: values[name].astype(dtype) for name in case.models}


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
