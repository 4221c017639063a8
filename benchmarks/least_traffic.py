"""The bytes that a time step must move at least, of every equation."""

from __future__ import annotations

import dataclasses

from cases import SPACING, Case

from jaxwave._numerics.boundary import PaddedGrid
from jaxwave.equations.registry import EQUATIONS
from jaxwave.storage.codecs import as_codec, stored_bytes

LOOPS = ("run", "saving run", "adjoint")


@dataclasses.dataclass(frozen=True)
class Passes:
    """How often a step passes over arrays of the size of a wavefield.

    Attributes:
        fields: Wavefields that are read or written.
        coefficients: Coefficients that are read; all shots share them.
        terms: Terms that a gradient keeps.
        memory: Memory variables for each axis, within its layers.
    """

    fields: int
    coefficients: int
    terms: int
    memory: float


def passes(case: Case) -> Passes:
    """Those of a forward step.

    The scalar equation reads two time levels and writes one. Of a staggered one every stage reads the fields that it
    differentiates and those that it updates, and writes these: the next stage needs them from neighbouring cells.
    """
    equation = EQUATIONS[case.equation].on(grid_of(case))
    terms = len(equation.coefficients_of_terms) - len(equation.derived_terms)
    if equation.levels == 2:
        return Passes(fields=3, coefficients=1, terms=terms, memory=2)
    scheme, fields = equation.scheme(case.ndim), 0
    for k, updated in enumerate(scheme.stages):
        read = {field for term in scheme.of_stage(k) for _, field in scheme.terms[term].parts}
        fields += len(read | set(updated)) + len(updated)
    derivatives = {part for term in scheme.terms.values() for part in term.parts if part[0] is not None}
    return Passes(fields, len(scheme.coefficients), terms, memory=len(derivatives) / case.ndim)


def grid_of(case: Case) -> PaddedGrid:
    """The padded grid of a case."""
    return PaddedGrid(case.shape, (SPACING,) * case.ndim, case.accuracy, (case.pml_width,) * (2 * case.ndim))


def wavefield_bytes(case: Case) -> int:
    """Bytes of one wavefield of all shots in float32, absorbing layers included."""
    return 4 * case.cells * case.n_shots


def least_bytes(case: Case, loop: str, compression: str = "none", layers: bool = True) -> float:
    """Bytes that a step of a loop must move, if every array that it needs passes once.

    A "run" moves its fields and reads the coefficients; a "saving run" writes the terms besides; an "adjoint" moves as
    many fields as a run, reads the terms, and reads and writes the sum over time for each coefficient, once for all
    shots.

    Args:
        case: The problem.
        loop: One of ``LOOPS``.
        compression: Codec of the terms.
        layers: Whether the memory variables of the absorbing layers count, each read and written once in its layers.
    """
    found, field = passes(case), wavefield_bytes(case)
    total = field * (found.fields + found.coefficients / case.n_shots)
    if layers:
        in_layers = sum(2 * case.pml_width / n for n in case.grid)
        total += 2 * field * found.memory * in_layers
    if loop != "run":
        codec, shape = as_codec(False if compression == "none" else compression), (case.n_shots, *case.grid)
        total += found.terms * stored_bytes(codec, shape, "float32")
    if loop == "adjoint":
        total += 2 * field * found.coefficients / case.n_shots
    return total
