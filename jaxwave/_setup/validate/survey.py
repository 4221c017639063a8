"""Sources and receivers: that they are complete, finite and where something can be."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxwave._setup.survey import IGNORE_LOCATION, Region, ignored
from jaxwave._setup.validate.values import concrete, finite, first_true


def sources(names: tuple[str, str], amplitudes: Any | None, places: Any | None) -> None:
    """Checks that amplitudes and locations, arguments of these names, come together, agree in shape and are finite."""
    if (amplitudes is None) != (places is None):
        given, missing = names[:: 1 if places is None else -1]
        raise ValueError(f"`{given}` is given without `{missing}`; give both or neither")
    if amplitudes.ndim != 3:
        raise ValueError(f"`{names[0]}` must have shape [shot, source, nt]; got shape {amplitudes.shape}")
    if amplitudes.shape[:2] != places.shape[:2]:
        raise ValueError(
            f"`{names[0]}` {amplitudes.shape} and `{names[1]}` {places.shape} must agree in shots and sources (their "
            "first two axes)"
        )
    finite(names[0], amplitudes, "shot, source, time")


def inside(name: str, places: Any | None, region: Region, ndim: int) -> None:
    """Checks that concrete locations lie in the region."""
    if places is None:
        return
    if places.shape[-1] != ndim:
        raise ValueError(
            f"`{name}` must have {ndim} coordinates per location (its last axis); got shape {places.shape}"
        )
    value = concrete(places)
    if value is None:
        return
    outside = ((value < np.asarray(region.start)) | (value >= np.asarray(region.stop))).any(-1) & ~ignored(value)
    if outside.any():
        shot, point = first_true(outside)
        raise ValueError(
            f"`{name}` of shot {shot}, index {point} is {value[shot, point].tolist()}, outside the region of cells "
            f"{list(region.start)} to {[n - 1 for n in region.stop]} ({int(outside.sum())} such locations). Locations "
            f"are cell numbers of the whole model, slowest axis first; use jaxwave.IGNORE_LOCATION ({IGNORE_LOCATION}) "
            "in every coordinate to skip one"
        )


def positive_around(
    kind: str, places: Any, model: str, values: Any, axes: Sequence[int], region: Region, faces: Sequence[str | None]
) -> None:
    """Checks that a model, if known, is positive in the cells of sources and in the next ones along ``axes``.

    The region's last cells are continued into layers and beyond rigid ``faces``; at a free one there is no next cell.
    """
    x, values = concrete(places), concrete(values)
    if x is None or values is None:
        return
    last, bad = np.asarray(region.stop) - 1, np.zeros(x.shape[:2], bool)
    for axis in axes:
        bad |= (x[..., axis] == last[axis]) & (faces[2 * axis + 1] in ("free", None))
    for value in _around(x, values, axes, region, faces):
        bad |= ~(value > 0)
    bad &= ~ignored(x)
    if bad.any():
        shot, point = first_true(bad)
        raise ValueError(
            f"sources of kind {kind!r} act between their cell and the next ones along axes "
            f"{' and '.join(map(str, axes))}, where `{model}` must be positive; around cell {x[shot, point].tolist()} "
            f"(shot {shot}, index {point}) it is not, or a free face is near ({int(bad.sum())} of them). "
            "Move them into the solid, or use kinds that a fluid has: 'p' or forces"
        )


def _around(x: np.ndarray, values: np.ndarray, axes: Sequence[int], region: Region, faces: Sequence[str | None]):
    """A model in the cells x [shot, point, axis] and in the next ones along ``axes``, one after the other.

    The region's last cells are continued into layers and beyond faces.
    """
    last = np.asarray(region.stop) - 1
    x = np.where(ignored(x)[..., None], np.asarray(region.start), x)
    values = values if values.ndim > len(last) else values[None]
    shot = np.arange(len(x))[:, None] % len(values)
    beyond = np.where([kind == "periodic" for kind in faces[1::2]], region.start, last)
    for step in itertools.product((0, 1), repeat=len(axes)):
        at = x.copy()
        for axis, by in zip(axes, step, strict=True):
            at[..., axis] += by
        yield values[(shot, *np.moveaxis(np.where(at > last, beyond, at), -1, 0))]


SILENT_REMEDY = (
    f"move it to where there is matter, or skip it with jaxwave.IGNORE_LOCATION ({IGNORE_LOCATION}) in every coordinate"
)


def silent_points(
    places: Any, values: Any, axes: Sequence[int], region: Region, faces: Sequence[str | None]
) -> np.ndarray | None:
    """Which points [shot, point] lie where nothing can move, None if that is not known.

    That is between cells of vacuum alone, where the model is 0; and on a rigid face, for points that lie half a cell
    after their cell along one axis, as velocities do.

    Args:
        places: Locations [shot, point, axis].
        values: The model that is 0 in vacuum.
        axes: Axes along which the points lie half a cell after their cell.
        region: Part of the model that is used.
        faces: What each face is.
    """
    x, values = concrete(places), concrete(values)
    if x is None or values is None:
        return None
    silent = np.ones(x.shape[:2], bool)
    for value in _around(x, values, axes, region, faces):
        silent &= value == 0
    if len(axes) == 1:
        (axis,) = axes
        silent |= (x[..., axis] == region.stop[axis] - 1) & (faces[2 * axis + 1] == "rigid")
    return silent & ~ignored(x)


def where_silent(name: str, places: Any, silent: np.ndarray, model: str) -> str:
    """The first of the silent points, in words."""
    shot, point = first_true(silent)
    return (
        f"`{name}` of shot {shot}, index {point} is {concrete(places)[shot, point].tolist()}, in vacuum (`{model}` is "
        f"0) or on a rigid face, where nothing moves ({int(silent.sum())} such locations)"
    )


def no_silent_sources(name: str, places: Any, silent: np.ndarray | None, amplitudes: Any, model: str) -> None:
    """Checks that no source lies where it has no effect, but for those whose amplitudes are known to be zero."""
    if silent is None:
        return
    values = concrete(amplitudes)
    if values is not None:
        silent = silent & values.any(-1)
    if silent.any():
        raise ValueError(f"{where_silent(name, places, silent, model)}, so it injects nothing; {SILENT_REMEDY}")
