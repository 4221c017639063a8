"""Sources and receivers: that they are complete, finite and where something can be."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxwave.survey import IGNORE_LOCATION, Region, ignored
from jaxwave.validate.values import concrete, finite, first_true


def sources(names: tuple[str, str], amplitudes: jax.Array | None, places: Any | None) -> None:
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
    skip, last = ignored(x), np.asarray(region.stop) - 1
    x = np.where(skip[..., None], np.asarray(region.start), x)
    values = values if values.ndim > len(last) else values[None]
    shot = np.arange(len(x))[:, None] % len(values)
    bad = np.zeros(skip.shape, bool)
    for axis in axes:
        bad |= (x[..., axis] == last[axis]) & (faces[2 * axis + 1] in ("free", None))
    beyond = np.where([kind == "periodic" for kind in faces[1::2]], region.start, last)
    for step in itertools.product((0, 1), repeat=len(axes)):
        at = x.copy()
        at[..., axes] += step
        bad |= ~(values[(shot, *np.moveaxis(np.where(at > last, beyond, at), -1, 0))] > 0)
    bad &= ~skip
    if bad.any():
        shot, point = first_true(bad)
        raise ValueError(
            f"sources of kind {kind!r} act between their cell and the next ones along axes "
            f"{' and '.join(map(str, axes))}, where `{model}` must be positive; around cell {x[shot, point].tolist()} "
            f"(shot {shot}, index {point}) it is not, or a free face is near ({int(bad.sum())} of them). "
            "Move them into the solid, or use kinds that a fluid has: 'p' or forces"
        )
