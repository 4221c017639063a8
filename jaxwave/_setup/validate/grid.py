"""The grid and its steps: cell size, order, numbers of cells and of time steps, and the region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from jaxwave._jax_internals import is_traced
from jaxwave._numerics.stencils import ACCURACIES
from jaxwave._setup.validate.values import is_many, positive, whole
from jaxwave.equations.base import Equation


def spacing(name: str, given: Any, ndim: int) -> tuple[float, ...]:
    """One cell size per axis."""
    if not is_many(given):
        return (positive(name, given),) * ndim
    values = tuple(positive(name, h) for h in given)
    if len(values) != ndim:
        raise ValueError(f"`{name}` must be a number or {ndim} numbers, one per axis; got {len(values)}")
    return values


def accuracy(name: str, order: Any) -> int:
    """A supported order of the differences."""
    if is_traced(order):
        raise TypeError(f"`{name}` must be a number, not a traced value: it is part of the compiled program")
    order = order.item() if isinstance(order, jax.Array) and order.ndim == 0 else order
    if order not in ACCURACIES:
        raise ValueError(f"`{name}` must be one of {ACCURACIES}; got {order!r}")
    return int(order)


def per_face(name: str, value: Any, ndim: int, optional: bool = False) -> tuple[int | None, ...]:
    """A count of cells for each face, from one number or 2 * ndim of them."""
    given = list(value) if is_many(value) else [value] * (2 * ndim)
    if len(given) != 2 * ndim:
        raise ValueError(
            f"`{name}` must be one number or {2 * ndim} of them (first and last face of each axis, slowest axis first);"
            f" got {len(given)}"
        )
    return tuple(None if optional and x is None else whole(name, x, 0) for x in given)


def region_choice(survey_pad: Any, origin: Any, ndim: int, has_fields: bool) -> None:
    """Checks that at most one of ``survey_pad`` and ``origin`` chooses the region."""
    if survey_pad is not None and origin is not None:
        raise ValueError("`survey_pad` and `origin` both choose the region; give one of them")
    if origin is not None:
        if not has_fields:
            raise ValueError("`origin` places initial wavefields in the model, but none are given")
        if not is_many(origin) or len(origin) != ndim:
            raise ValueError(f"`origin` must be {ndim} cell numbers, one per axis; got {origin!r}")


def multiaxial(name: str, fraction: float, equation: Equation, layers: bool) -> None:
    """Checks that an equation whose layers have no multi-axial form is not asked for one, and that one is asked for
    where waves grow in the others.
    """
    known = type(equation).__name__
    if fraction and not equation.multiaxial:
        raise ValueError(
            f"`{name}`={fraction:g} is for equations on a staggered grid; the layers of {known} damp along "
            "their own axis alone. Leave it out"
        )
    if layers and not fraction and not equation.plain_layers:
        raise ValueError(
            f"`{name}` is 0, and waves of {known} grow for ever in layers that damp along their own axis alone; give "
            f"`{name}`=0.1"
        )


def steps(nt: int | None, amplitudes: Mapping[str, Any], name: str) -> int:
    """The number of time steps, from the amplitudes of all kinds of sources, called ``name``, or from ``nt``."""
    if not amplitudes:
        if nt is None:
            raise ValueError(f"`nt`, the number of time steps, is required when there are no {name}")
        return whole("nt", nt, 1)
    found = {x.shape[-1] for x in amplitudes.values()}
    if len(found) > 1:
        listed = ", ".join(f"{kind!r} have {x.shape[-1]}" for kind, x in amplitudes.items())
        raise ValueError(f"{name} of all kinds must have the same number of time samples; {listed}")
    (samples,) = found
    if nt is not None and whole("nt", nt, 1) != samples:
        raise ValueError(f"`nt`={nt} contradicts {name}, which have {samples} time samples; leave nt out")
    if samples == 0:
        raise ValueError(f"{name} must have at least one time sample; got none")
    return samples
