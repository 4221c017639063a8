"""What each face of the model is, and what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxwave._numerics import boundary
from jaxwave._setup.names import Names
from jaxwave._setup.survey import Region
from jaxwave._setup.validate.grid import per_face
from jaxwave._setup.validate.values import is_many

REFLECTING = ("free", "rigid", "periodic")
"""Kinds of faces that stand at the model's edge and have no layer."""


def boundary_kinds(
    given: Any, pml_width: Any, ndim: int, plain: str | None, names: Names
) -> tuple[tuple[str | None, ...], tuple[int, ...]]:
    """The kind of each face, and the cells of its layer; ``plain`` is the default kind of a face without a layer."""
    words = given.tolist() if isinstance(given, np.ndarray) else given
    words = (words,) * (2 * ndim) if words is None or isinstance(words, str) else words
    if not isinstance(words, Sequence) or len(words) != 2 * ndim:
        raise ValueError(
            f"`{names.boundary}` must be one word or {2 * ndim} of them (first and last face of each axis, slowest "
            f"axis first); got {given!r}"
        )
    known = ("pml", *REFLECTING)
    for word in words:
        if word is not None and word not in known:
            raise ValueError(
                f"`{names.boundary}` has {word!r}; each must be one of {', '.join(map(repr, known))}, or None"
            )
    widths = per_face(names.pml_width, pml_width, ndim)
    if not is_many(pml_width):
        widths = tuple(0 if word in REFLECTING else n for word, n in zip(words, widths, strict=True))
    for number, (word, width) in enumerate(zip(words, widths, strict=True)):
        name = f"the {_side(number % 2)} face of axis {number // 2}"
        if word in REFLECTING and width > 0:
            raise ValueError(
                f"{name} is {word!r} in `{names.boundary}` and has a layer of {width} cells in `{names.pml_width}`; "
                "change one of them, to 'pml' or to 0"
            )
        if word == "pml" and width == 0:
            raise ValueError(
                f"{name} is 'pml' in `{names.boundary}` and has 0 cells in `{names.pml_width}`; give it at least 1"
            )
    for axis, pair in enumerate(boundary.pairs(words)):
        if pair.count("periodic") == 1:
            raise ValueError(f"`{names.boundary}` of axis {axis} are {list(pair)}; both must be 'periodic', or none")
    found = (word or ("pml" if n else plain) for word, n in zip(words, widths, strict=True))
    return tuple(found), widths


def reflecting(kinds: Sequence[str | None], known: Sequence[str], equation: str, names: Names) -> None:
    """That an equation can have faces of these kinds."""
    for number, word in enumerate(kinds):
        if word in REFLECTING and word not in known:
            raise ValueError(
                f"{equation} has no {word!r} faces, which the {_side(number % 2)} one of axis {number // 2} is in "
                f"`{names.boundary}`: take one of {', '.join(map(repr, ('pml', *known)))}"
            )


def _side(side: int) -> str:
    return ("first", "last")[side]


def room_at_faces(kinds: Sequence[str | None], shape: Sequence[int], accuracy: int, names: Names) -> None:
    """Checks that axes with reflecting or periodic faces have cells enough for the differences there."""
    for axis, (n, pair) in enumerate(zip(shape, boundary.pairs(kinds), strict=True)):
        found = [kind for kind in pair if kind in REFLECTING]
        if found and n < accuracy:
            raise ValueError(
                f"axis {axis} has {n} cells and a face that is {found[0]!r}, which needs at least "
                f"`{names.accuracy}`={accuracy} of them; use more cells, a lower accuracy, or a layer there "
                f"(`{names.pml_width}`)"
            )


def reaches_faces(kinds: Sequence[str | None], region: Region, shape: Sequence[int], names: Names) -> None:
    """Checks that a region reaches to those faces of the model that have no layer by being what they are."""
    for axis, pair in enumerate(boundary.pairs(kinds)):
        there = region.start[axis] == 0, region.stop[axis] == shape[axis]
        for side, kind in enumerate(pair):
            if kind in REFLECTING and not there[side]:
                raise ValueError(
                    f"the {_side(side)} face of axis {axis} is {kind!r} and stands at the model's edge, but `origin` "
                    f"and the initial wavefields cover cells {region.start[axis]} to {region.stop[axis] - 1} of "
                    f"{shape[axis]}; extend them to that edge, or give the face a layer (`{names.pml_width}`)"
                )
