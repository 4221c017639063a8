"""An equation of first order in time as data: fields, terms and updates in stages; and what follows from the list.

    term     g = w (sum of D_axis field)     a derivative along an axis, or the field itself where the axis is None
    update   field += sum of c g             over pairs of a coefficient c and a term g

All updates of a stage read the fields as they were before it; the stages follow each other. So the acoustic equation
has two stages: the velocities from the gradient of the pressure, and the pressure from the divergence of the new
velocities. A derivative leads half a cell on along its axis, or half a cell back: from where its field lies to where
the fields lie that its term updates. If these lie elsewhere, the term says where, and its fields are averaged along the
axes in which the places differ (:mod:`jaxwave._numerics.averaged`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import NamedTuple

Part = tuple[int | None, str]
"""A derivative along an axis of a field; of None: the field itself."""

Pair = tuple[str | float, str]
"""A coefficient, by name or as a fixed number, and a term by name."""


class Term(NamedTuple):
    """A sum that coefficients multiply, or that receivers record.

    Attributes:
        parts: What is added.
        weight: What the sum is multiplied by.
        of: In place of parts: terms that this is the sum of. It is not kept for a gradient where all of those are.
        at: The axes along which it lies between the cells, where its derivatives (or the fields that a receiver
            records) do not lead there: their fields are averaged along the other axes. None: where they lead.
    """

    parts: tuple[Part, ...] = ()
    weight: float = 1.0
    of: tuple[str, ...] = ()
    at: tuple[int, ...] | None = None


class Source(NamedTuple):
    """What a kind of source does: in each step its amplitude times a scale is added to fields.

    Attributes:
        fields: The fields; all lie at the same place.
        scale: The coefficient that multiplies the amplitude; None: the time step, where anything moves the fields.
        weight: A factor of it.
        at: The axes along which the source lies between the cells, if elsewhere than the fields: they get what is the
            transpose of their average there. ``scale`` is None then.
    """

    fields: tuple[str, ...]
    scale: str | None = None
    weight: float = 1.0
    at: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Scheme:
    """An equation in some number of dimensions.

    Attributes:
        fields: The wavefields by name, and the axes along which each lies between the cells.
        terms: The terms by name.
        stages: For each stage the updates by field: pairs of a coefficient and a term.
        sources: What each kind of source does.
        receivers: What each kind of receiver records. Derivatives in it are those without absorbing layers.
        scaled: Fields whose adjoint is carried times the one coefficient that they are updated with. That saves an
            array; but where the coefficient is 0 the field must be 0 at all times, since its derivatives are lost.
    """

    fields: Mapping[str, tuple[int, ...]]
    terms: Mapping[str, Term]
    stages: tuple[Mapping[str, tuple[Pair, ...]], ...]
    sources: Mapping[str, Source]
    receivers: Mapping[str, Term]
    scaled: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self)

    # ---- coefficients ----

    @property
    def updates(self) -> list[tuple[str, str | float, str]]:
        """All (field, coefficient, term)."""
        return [(field, c, g) for stage in self.stages for field, update in stage.items() for c, g in update]

    @property
    def coefficients(self) -> tuple[str, ...]:
        """Names of the coefficients, in the order of the terms that they are first used with."""
        order = {g: i for i, g in enumerate(self.terms)}
        used = sorted((pair for pair in self.updates if isinstance(pair[1], str)), key=lambda pair: order[pair[2]])
        return tuple(dict.fromkeys(str(c) for _, c, _ in used))

    def place_of(self, coefficient: str) -> str:
        """A field that is updated with this coefficient, which lies where the field does."""
        return next(field for field, c, _ in self.updates if c == coefficient)

    def scale_of(self, field: str) -> str | None:
        """The coefficient that a field's adjoint is carried times."""
        return next(str(c) for f, c, _ in self.updates if f == field) if field in self.scaled else None

    def coefficients_of(self, term: str) -> tuple[str, ...]:
        """The coefficients that multiply a term."""
        return tuple(dict.fromkeys(c for _, c, g in self.updates if g == term and isinstance(c, str)))

    # ---- terms ----

    def own(self, term: str) -> bool:
        """Whether a term has parts of its own."""
        return not self.terms[term].of

    def of_stage(self, number: int) -> tuple[str, ...]:
        """The terms that a stage evaluates, those that are the sum of others last."""
        used = {g for update in self.stages[number].values() for _, g in update}
        used |= {part for g in used for part in self.terms[g].of}
        return tuple(sorted((g for g in self.terms if g in used), key=lambda g: not self.own(g)))

    def read_in(self, number: int) -> tuple[str, ...]:
        """The fields that the terms of a stage are made of."""
        return tuple(dict.fromkeys(field for g in self.of_stage(number) for _, field in self.terms[g].parts))

    def users(self, term: str) -> int:
        """How often the updates read a term, by itself or in a sum."""
        return sum(g == term or term in self.terms[g].of for _, _, g in self.updates)

    def derivatives(self, term: str) -> tuple[Part, ...]:
        return tuple(part for part in self.terms[term].parts if part[0] is not None)

    def all_derivatives(self, term: str) -> tuple[Part, ...]:
        """Those of a term and of the terms that it is the sum of."""
        return self.derivatives(term) + sum((self.derivatives(part) for part in self.terms[term].of), ())

    def undifferentiated(self, term: str) -> tuple[str, ...]:
        """The fields that are in a term as they are."""
        return tuple(field for axis, field in self.terms[term].parts if axis is None)

    def offset(self, term: Term) -> frozenset[int]:
        """The axes along which a term lies between the cells."""
        if term.at is not None:
            return frozenset(term.at)
        return _place(self, term.parts[0]) if term.parts else self.offset(self.terms[term.of[0]])

    def averaged(self, part: Part, at: Iterable[int]) -> tuple[int, ...]:
        """The axes along which the field of a part is averaged, in a term that lies between the cells along ``at``."""
        return tuple(sorted(_place(self, part) ^ frozenset(at)))

    @property
    def averages(self) -> bool:
        """Whether anything is averaged."""
        return any(x.at is not None for named in (self.terms, self.receivers, self.sources) for x in named.values())

    @property
    def reversible(self) -> bool:
        """Whether a step can be taken back: no stage reads what it updates."""
        return all(not set(self.read_in(k)) & set(stage) for k, stage in enumerate(self.stages))


def _check(scheme: Scheme) -> None:
    """Checks that a scheme says what it must.

    Raises:
        ValueError: If it names something that there is not, or things do not lie where they must.
    """
    for name, term in {**scheme.terms, **scheme.receivers}.items():
        if bool(term.parts) == bool(term.of) or not term.weight:
            raise ValueError(f"term {name!r} must have `parts`, or else `of`, and a `weight` that is not 0; got {term}")
        _known(f"term {name!r}", [f for _, f in term.parts], scheme.fields)
        _known(f"term {name!r}", term.of, scheme.terms)
        if any(scheme.terms[part].of for part in term.of):
            raise ValueError(f"term {name!r} is a sum of sums; name the terms with parts of their own; got {term.of}")
        places = {_place(scheme, part) for part in term.parts}
        if len(places) > 1 and term.at is None:
            raise ValueError(f"the parts of term {name!r} lie at different places: {term.parts}; say where, with `at`")
        if name in scheme.terms and any(scheme.averaged((None, f), scheme.offset(term)) for f in
                                        scheme.undifferentiated(name)):  # fmt: skip
            raise ValueError(f"term {name!r} averages a field that it does not differentiate; receivers alone can")
        if term.of and term.at is not None:
            raise ValueError(f"term {name!r} is a sum of others, and lies where they do; leave out `at`")
    updated = [field for stage in scheme.stages for field in stage]
    if len(updated) != len(set(updated)):
        raise ValueError(f"each field must be updated in one stage; got {updated}")
    for field, c, g in scheme.updates:
        _known(f"the update of {field!r}", [field], scheme.fields)
        _known(f"the update of {field!r}", [g], scheme.terms)
        if scheme.offset(scheme.terms[g]) != frozenset(scheme.fields[field]):
            raise ValueError(f"term {g!r} does not lie where the field {field!r} does, which it updates")
        if isinstance(c, str) and set(scheme.fields[scheme.place_of(c)]) != set(scheme.fields[field]):
            raise ValueError(f"coefficient {c!r} multiplies terms at different places; give it a name for each")
    for kind, source in scheme.sources.items():
        _known(f"source {kind!r}", source.fields, updated)
        _known(f"source {kind!r}", [] if source.scale is None else [source.scale], scheme.coefficients)
        if source.at is not None and source.scale is not None:
            raise ValueError(f"source {kind!r} is spread over cells, `at`={source.at}, and can have no `scale`")
    for field in scheme.scaled:
        of_field = [c for f, c, _ in scheme.updates if f == field]
        if len(of_field) != 1 or not isinstance(of_field[0], str):
            raise ValueError(f"{field!r} cannot be `scaled`: it must be updated with one coefficient; got {of_field}")


def _place(scheme: Scheme, part: Part) -> frozenset[int]:
    """The axes along which a part lies between the cells, where nothing is averaged."""
    axis, field = part
    return frozenset(scheme.fields[field]) ^ (frozenset() if axis is None else {axis})


def _known(where: str, names: Iterable[str], there: Iterable[str]) -> None:
    for name in names:
        if name not in there:
            raise ValueError(f"{where} names {name!r}, which is none of {', '.join(map(repr, there))}")
