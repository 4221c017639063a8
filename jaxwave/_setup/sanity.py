"""Whether a call makes sense as a whole: models, places, wavelengths and units against each other, as far as known.

What cannot be right raises; what may be meant warns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxwave import grid
from jaxwave._notices import DispersionWarning, SilentReceiverWarning, UnitWarning, warn
from jaxwave._setup import validate
from jaxwave._setup.embedding import Arrays
from jaxwave._setup.names import Names
from jaxwave._setup.survey import Region, ignored
from jaxwave.equations.base import Equation

LEAST_CELLS = 2.5
"""Cells to a wavelength at the sources' peak frequency below which a run warns. A quarter above that frequency, where a
Ricker wavelet has 0.9 of its largest amplitude, they are 2, and beyond that a grid carries no waves at all. What is
accurate needs more (``grid.recommended_points``); but there a user may have reasons."""

MANY_SUBSTEPS = 100
"""Sub-steps from which on a wrong unit is more likely than a model that needs them."""


def models(physics: Equation, given: Mapping[str, Any], ndim: int) -> None:
    """Checks models whose values are known against each other."""
    known = _known(given)
    if known is not None:
        physics.check_models(known, ndim)


def places(
    physics: Equation, ndim: int, arrays: Arrays, region: Region, faces: Sequence[str | None], names: Names
) -> None:
    """Refuses known sources that have no effect where they are, and warns of receivers that record nothing.

    Receivers only warn: some of a line across topography, or of an interpolation's window near it, may be in vacuum.
    """
    for kind, (model, axes) in physics.source_needs(ndim).items():
        if kind in arrays.sources:
            validate.positive_around(kind, arrays.sources[kind], model, arrays.models[model], axes, region, faces)
    matter = physics.matter
    if matter is None:
        return

    def silent_points(kind: str, x: Any) -> np.ndarray | None:
        return validate.silent_points(x, arrays.models[matter], physics.point_offset(kind, ndim), region, faces)

    for kind, x in arrays.sources.items():
        validate.no_silent_sources(names.sources(kind), x, silent_points(kind, x), arrays.amplitudes[kind], matter)
    for kind, x in arrays.receivers.items():
        silent = silent_points(kind, x)
        if silent is not None and silent.any():
            words = validate.where_silent(names.receivers(kind), x, silent, matter)
            warn(SilentReceiverWarning, f"{words}, so it records zeros; {validate.SILENT_REMEDY}")


def units(step_ratio: int, dt: float, max_vel: float, spacing: Sequence[float]) -> None:
    """Warns of a time step so long that the unit of it, of a length or of a speed is probably wrong."""
    if step_ratio >= MANY_SUBSTEPS:
        warn(
            UnitWarning,
            f"each time step is divided into {step_ratio}: in dt={dt:g} s a wave of max_vel={max_vel:g} m/s crosses "
            f"{dt * max_vel / min(spacing):.3g} cells of {min(spacing):g} m. Are these seconds, metres, and metres per "
            "second (not milliseconds, or kilometres)? Sampled like that, records hold little of what happens",
        )


def dispersion(
    physics: Equation, arrays: Arrays, dt: float, spacing: Sequence[float], accuracy: int, names: Names
) -> None:
    """Warns of sources whose waves are too short for the grid, where all values are known."""
    amplitudes, locations, values = map(_known, (arrays.amplitudes, arrays.sources, arrays.models))
    if not amplitudes or locations is None or values is None:
        return
    freq = grid.wavelet_frequency(
        [np.where(ignored(locations[kind])[..., None], 0, f) for kind, f in amplitudes.items()], dt
    )
    if freq is None:
        return
    speed = physics.smallest_speed(values, len(spacing))
    cells = grid.points_per_wavelength(speed, freq, spacing)
    if cells >= LEAST_CELLS:
        return
    need = grid.recommended_points(accuracy, len(spacing))
    warn(
        DispersionWarning,
        f"the sources are strongest at {freq:g} Hz, where waves of the smallest speed, {speed:g} m/s, have {cells:.2f} "
        f"cells of {max(spacing):g} m to a wavelength. A grid carries no waves of less than 2 cells, and this one up "
        f"to {grid.max_frequency(speed, spacing, need):.3g} Hz with {need:g} cells (1 % error in speed, "
        f"{names.accuracy}={accuracy}). Records will be wrong: use a finer grid, or lower frequencies",
    )


def _known(arrays: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """The values of arrays; None if any is traced."""
    values = {name: value for name, x in arrays.items() if (value := validate.concrete(x)) is not None}
    return values if len(values) == len(arrays) else None
