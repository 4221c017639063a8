"""Any equation that is a scheme of terms and updates: its steps forward and back in time, and their adjoint.

A subclass of :class:`LeapfrogEquation` gives the scheme (:mod:`jaxwave.equations.scheme`) and the coefficients. With
the updates of a stage

    f' = f + sum over its pairs of c g        g = w (sum of D x, with the memory of the layers)

what the gradient with respect to a coefficient needs of a step are the terms that it multiplies; the linearised step
adds dm g at the same place; and in the adjoint, with F the cotangent of a field f and e that of a term,

    e = sum over its pairs of c F        X' = X + w D^T e for each field x in it        gradient of c += F g

with the stages in reverse. A field that the scheme says is *scaled* carries U = c F: e is then U itself, and U' = U +
c w D^T e. The gradient of c comes out multiplied by c, and is divided once at the end.

All updates are written so that XLA makes one kernel of each: see :mod:`jaxwave.equations.scalar` for the reasons.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from jaxwave._numerics import closures, multiaxial, points
from jaxwave._numerics.boundary import Memory
from jaxwave._numerics.derivative import Derivative, transposed
from jaxwave._numerics.multiaxial import MultiAxial
from jaxwave.equations import scheme_bound, staggered
from jaxwave.equations.base import Equation, State
from jaxwave.equations.scheme import Scheme, Term
from jaxwave.equations.staggered import Sum


class Key(NamedTuple):
    """A derivative in a term."""

    term: str
    axis: int
    field: str


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """Where the parts of a scheme are on a grid.

    Attributes:
        scheme: The scheme.
        coefficients, terms: Their numbers by name.
        stages: The derivatives in each stage.
        derivatives: Their operators.
    """

    scheme: Scheme
    coefficients: Mapping[str, int]
    terms: Mapping[str, int]
    stages: tuple[tuple[Key, ...], ...]
    derivatives: Mapping[Key, Derivative | MultiAxial]

    def of_term(self, term: str) -> list[Key]:
        return [Key(term, axis, field) for axis, field in self.scheme.derivatives(term)]

    def operators(self, keys: Iterable[Key]) -> tuple[Derivative | MultiAxial, ...]:
        return tuple(self.derivatives[key] for key in keys)

    def sum_of(self, term: str) -> Sum:
        return Sum(self.operators(self.of_term(term)))

    @property
    def own(self) -> list[str]:
        """Terms with parts of their own."""
        return [term for term in self.scheme.terms if self.scheme.own(term)]


@functools.lru_cache(maxsize=64)
def layout(equation: LeapfrogEquation) -> Layout:
    """The layout of an equation's scheme on its grid."""
    grid = equation.grid
    scheme = scheme_of(equation, grid.ndim)
    stages, derivatives = [], {}
    for number in range(len(scheme.stages)):
        keys = [Key(g, *part) for g in scheme.of_stage(number) for part in scheme.derivatives(g)]
        for key in keys:
            at = staggered.unit(grid.ndim, *scheme.offset(scheme.terms[key.term]))
            derivatives[key] = equation.derivative(key.axis, key.field, at)
        stages.append(tuple(keys))
    numbers = ({name: i for i, name in enumerate(names)} for names in (scheme.coefficients, scheme.terms))
    return Layout(scheme, *numbers, tuple(stages), derivatives)


def scheme_of(equation: LeapfrogEquation, ndim: int) -> Scheme:
    """An equation's scheme in so many dimensions, made once."""
    return _scheme(equation.on(None), ndim)


@functools.lru_cache(maxsize=64)
def _scheme(equation: LeapfrogEquation, ndim: int) -> Scheme:
    return equation.scheme(ndim)


class LeapfrogEquation(Equation):
    """An equation that is a scheme of terms and updates.

    A subclass writes its models, :meth:`scheme`, :meth:`moduli` and ``fastest``; and ``faces`` where its fields are
    reflected otherwise than a pressure, or :meth:`closures_of` where not all are alike.
    """

    multiaxial = True
    memory_names = ("psi", "phi")  # of the derivatives in each stage
    faces: ClassVar[Mapping[str, str]] = MappingProxyType({"free": "odd", "rigid": "even"})
    """What fields in the cells do at a reflecting face: "odd" if they vanish there, "even" if their derivative does."""

    # ---- what a subclass writes ----

    def scheme(self, ndim: int) -> Scheme:
        """The equation in so many dimensions."""
        raise NotImplementedError

    def moduli(self, models: Mapping[str, jax.Array], dt: float) -> Mapping[str, Any]:
        """The coefficients by name, times dt: arrays [1 or shot, *cells], of the values that the fields have which they
        multiply (one more than there are cells along the axes of their offset), or numbers.
        """
        raise NotImplementedError

    def closures_of(self, axis: int, field: str) -> tuple[closures.Closure, closures.Closure]:
        """What the derivative of a field along an axis does at the two faces. Default: as ``faces`` says."""
        return closures.named(self.grid.ends[axis], self.faces)

    # ---- for the front end ----

    def wavefield_offsets(self, ndim: int) -> dict[str, tuple[int, ...]]:
        return {name: staggered.unit(ndim, *axes) for name, axes in scheme_of(self, ndim).fields.items()}

    def source_kinds(self, ndim: int) -> tuple[str, ...]:
        return tuple(scheme_of(self, ndim).sources)

    def receiver_kinds(self, ndim: int) -> tuple[str, ...]:
        return tuple(scheme_of(self, ndim).receivers)

    def point_offset(self, kind: str, ndim: int) -> tuple[int, ...]:
        scheme = scheme_of(self, ndim)
        if kind in scheme.sources:
            return tuple(sorted(scheme.fields[scheme.sources[kind].fields[0]]))
        return tuple(sorted(scheme.offset(scheme.receivers[kind])))

    def zero_faces(self, name: str) -> tuple[tuple[int, int], ...]:
        """A field that lies on a face is zero there if its derivative's closure is that of a field which vanishes."""
        axes = layout(self).scheme.fields[name]
        return tuple(
            (axis, side)
            for axis in sorted(axes)
            for side, closure in enumerate(self.closures_of(axis, name))
            if closure in ("even", "loose") or (closure == "periodic" and side == 0)
        )

    def largest_speed(self, values, spacing, accuracy, kinds=None, enough=0.0) -> float:
        return scheme_bound.largest_speed(self, values, spacing, accuracy, kinds, enough)

    def coefficients(self, models, dt):
        scheme, given = layout(self).scheme, self.moduli(models, dt)
        dtype = next(iter(models.values())).dtype
        return tuple(self._padded(jnp.asarray(given[c], dtype), scheme.place_of(c)) for c in scheme.coefficients)

    def _padded(self, c: jax.Array, field: str) -> jax.Array:
        n = self.grid.ndim
        if c.ndim == 0:
            return c.reshape((1,) * (n + 1))
        return self.grid.to_padded(c, self.wavefield_offsets(n)[field], self.zero_faces(field))

    def source_scale(self, m, kind, cells, dt):
        s = layout(self)
        source = s.scheme.sources[kind]
        if source.scale is None:
            moved = functools.reduce(jnp.logical_or, (points.at(self._moves(m, f), cells) for f in source.fields))
            scale = jnp.where(moved, source.weight * dt, 0)
        else:
            scale = _times(source.weight, points.at(m[s.coefficients[source.scale]], cells))
        field = source.fields[0]
        for axis in sorted(s.scheme.fields[field]):  # next to a face a point stands for less than a cell
            d = Derivative(self.grid, axis, True, self.closures_of(axis, field))
            scale = scale / d.weights_at(cells, m[0].dtype)
        return scale

    def _moves(self, m, field: str) -> jax.Array:
        """Where any coefficient of a field differs from zero: [1 or shot, *padded]."""
        s = layout(self)
        of_field = (c for f, c, _ in s.scheme.updates if f == field)
        moved = (m[s.coefficients[c]] != 0 if isinstance(c, str) else jnp.asarray(c != 0) for c in of_field)
        found = functools.reduce(jnp.logical_or, moved)
        return jnp.broadcast_to(found, (*(found.shape[:1] or (1,)), *self.grid.padded))

    def profiles(self, dt, max_vel, pml_freq, dtype):
        return multiaxial.profiles(self.grid, dt, max_vel, pml_freq, dtype)

    def derivative(self, axis: int, field: str, at: tuple[int, ...]) -> Derivative | MultiAxial:
        """The derivative of a field along an axis, with values at this offset."""
        d = Derivative(self.grid, axis, bool(at[axis]), self.closures_of(axis, field))
        return multiaxial.damped(d, at)

    # ---- state: memory variables by stage and derivative ----

    def memory(self) -> tuple[tuple[Memory, ...], ...]:
        s, n = layout(self), self.grid.ndim
        at = {g: staggered.unit(n, *s.scheme.offset(t)) for g, t in s.scheme.terms.items()}
        return tuple(tuple(q for k in keys for q in s.derivatives[k].memory(at[k.term])) for keys in s.stages)

    def pack(self, wavefields, memory) -> State:
        s, found = layout(self), []
        for keys, group in zip(s.stages, memory, strict=True):
            slabs = iter(group)
            found.append(tuple(tuple(next(slabs) for _ in d.layers) for d in s.operators(keys)))
        return State(tuple(wavefields), tuple(found))

    def unpack(self, x: State):
        return x.fields, tuple(tuple(slab for slabs in stage for slab in slabs) for stage in x.memory)

    def enter(self, x: State) -> State:
        s, form = layout(self), self.grid.form
        with_rows = [
            [d.with_row(slabs) for d, slabs in zip(s.operators(keys), stage, strict=True)]
            for keys, stage in zip(s.stages, x.memory, strict=True)
        ]
        return State(x.fields, tuple(map(form.hold, with_rows)))

    def leave(self, x: State) -> State:
        return State(x.fields, tuple(self._slabs(number, stage) for number, stage in enumerate(x.memory)))

    def _slabs(self, number: int, held: Any) -> tuple[tuple[jax.Array, ...], ...]:
        """The memory variables of a stage by derivative, without rows."""
        s = layout(self)
        operators = s.operators(s.stages[number])
        return tuple(d.without_row(x) for d, x in zip(operators, self.grid.form.groups(held), strict=True))

    def wavefields(self, x: State) -> dict[str, jax.Array]:
        return dict(zip(layout(self).scheme.fields, x.fields, strict=True))

    def term_shape(self, x: State) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.fields[0].shape, x.fields[0].dtype)

    def at_rest(self, m, wavefields, missing):
        """Fields of the first stage are half a step earlier: minus what they will be half a step after."""
        s, found = layout(self), dict(wavefields)
        for field, update in s.scheme.stages[0].items():
            if field in missing and len(s.scheme.stages) > 1:
                found[field] = _sum(-self._value(m, c) / 2 * self._plain(g, wavefields) for c, g in update)
        return found

    def zero_vacuum(self, m, x: State) -> State:
        return x._replace(fields=self._scaled(m, x.fields, points.where_moved))

    # ---- terms and coefficients ----

    @property
    def coefficients_of_terms(self) -> tuple[tuple[int, ...], ...]:
        s = layout(self)
        return tuple(tuple(s.coefficients[c] for c in s.scheme.coefficients_of(g)) for g in s.terms)

    @property
    def derived_terms(self) -> dict[int, tuple[int, ...]]:
        s = layout(self)
        return {s.terms[g]: tuple(s.terms[part] for part in t.of) for g, t in s.scheme.terms.items() if t.of}

    def _value(self, m, c: str | float):
        return m[layout(self).coefficients[c]] if isinstance(c, str) else c

    def _saved(self, terms, g: str) -> jax.Array:
        """A term out of those that were kept."""
        s = layout(self)
        own, term = terms[s.terms[g]], s.scheme.terms[g]
        return own if own is not None else _times(term.weight, _sum(terms[s.terms[part]] for part in term.of))

    def _plain(self, g: str, fields: Mapping[str, jax.Array]) -> jax.Array:
        """A term without absorbing layers."""
        s = layout(self)
        term = s.scheme.terms[g]
        parts = [self._plain(part, fields) for part in term.of]
        parts += [s.derivatives[key].plain(fields[key.field]) for key in s.of_term(g)]
        parts += [fields[f] for f in s.scheme.undifferentiated(g)]
        return _times(term.weight, _sum(parts))

    def _one(self, m) -> Any:
        """See ``Form.one``; of a coefficient that is an array."""
        return self.grid.form.one(next(c for c in m if c.shape[-1] > 1), self.grid.halo)

    # ---- forward, and back in time ----

    def step(self, m, operands, x, amplitudes, scatter, keep):
        fields, memory, form = self.wavefields(x), list(x.memory), self.grid.form
        stage = staggered.Stage.of(form, self._one(m), operands, amplitudes, scatter, keep)

        def remember(number: int, fields):
            memory[number] = self._remembered(number, fields, memory[number], operands.profiles, stage.one)
            return memory[number]

        terms = self._advance(stage, m, fields, remember, self._total)
        return State(tuple(fields.values()), tuple(memory)), terms

    def _remembered(self, number: int, fields, held, profiles, one):
        """The memory variables of a stage after the step."""
        s, form = layout(self), self.grid.form
        keys = s.stages[number]
        found = zip(keys, s.operators(keys), form.groups(held), strict=True)
        return form.hold([d.remember(fields[k.field], slabs, profiles, one) for k, d, slabs in found])

    def _total(self, number: int, g: str, fields, held) -> jax.Array:
        """The sum of the derivatives in a term of a stage, given its memory variables after the step."""
        s = layout(self)
        keys = s.stages[number]
        found = zip(keys, s.operators(keys), self.grid.form.groups(held), strict=True)
        return _sum(d.value(fields[k.field], slabs) for k, d, slabs in found if k.term == g)

    def _advance(
        self, stage: staggered.Stage, m, fields: dict[str, jax.Array], remember, total
    ) -> tuple[jax.Array | None, ...]:
        """Makes all updates of a step in ``fields``, or takes them back, the last stage first. Returns the terms kept.

        ``remember(number, fields)`` is what ``total(number, term, fields, memory)``, the sum of the derivatives in a
        term of a stage, is given of the layers.
        """
        s, kept = layout(self), {}
        order = range(len(s.scheme.stages))
        for number in reversed(order) if stage.back else order:
            evaluate = functools.partial(self._terms, stage, number, total)
            given = {f: fields[f] for f in s.scheme.read_in(number)}, remember(number, fields)
            found = evaluate(*given)
            names = [g for g in found if stage.keep[s.terms[g]]]
            if names:
                stored = stage.form.stored(found, evaluate, *given)
                kept |= {g: stored[g] for g in names}
            fields |= stage.form.written(
                {f: self._updated(stage, m, f, update, fields[f], found)
                 for f, update in s.scheme.stages[number].items()}
            )  # fmt: skip
        return tuple(kept.get(g) for g in s.terms)

    def _terms(self, stage: staggered.Stage, number: int, total, fields, held) -> dict[str, jax.Array]:
        """The terms of a stage."""
        s, found = layout(self), {}
        for g in s.scheme.of_stage(number):
            keep, term = stage.keep[s.terms[g]], s.scheme.terms[g]
            if term.of:
                found[g] = _times(term.weight, _sum(found[part] for part in term.of))
                found[g] = stage.form.alone(found[g], stage.one) if keep else found[g]
            else:
                keys = s.of_term(g)
                parts = [total(number, g, fields, held)] if keys else []
                parts += [fields[f] for f in s.scheme.undifferentiated(g)]
                found[g] = _times(term.weight, _sum(parts))
                # An array of its own if several updates would compute it again.
                found[g] = stage.alone(found[g]) if keep or (keys and s.scheme.users(g) > 1) else found[g]
        return found

    def _updated(self, stage, m, field: str, update, x: jax.Array, terms: Mapping[str, jax.Array]) -> jax.Array:
        """A field after its update, with what perturbations of its coefficients scatter and what sources inject."""
        s = layout(self)
        for c, g in update:
            x = stage.add(x, self._value(m, c) * terms[g])
        for dm, stored in stage.scatter:
            for c, g in update:
                if isinstance(c, str) and dm[s.coefficients[c]] is not None:
                    x = stage.add(x, dm[s.coefficients[c]] * self._saved(stored, g))
        for kind, source in s.scheme.sources.items():
            x = stage.inject(x, kind) if field in source.fields else x
        return x

    @property
    def reversible(self) -> bool:
        return layout(self).scheme.reversible

    def ring(self, x: State) -> list[jax.Array]:
        s, form, held = layout(self), self.grid.form, {}
        for keys, stage in zip(s.stages, x.memory, strict=True):
            held |= dict(zip(keys, form.groups(stage), strict=True))
        return [part for g in s.own for part in s.sum_of(g).ring([held[k] for k in s.of_term(g)])]

    def time_levels(self, x: State) -> list[jax.Array]:
        return list(x.fields)

    def time_reversed_step(self, m, operands, levels, amplitudes, scatter, ring, keep):
        s, fields = layout(self), dict(zip(layout(self).scheme.fields, levels, strict=True))
        stage = staggered.Stage.of(self.grid.form, self._one(m), operands, amplitudes, scatter, keep, back=True)
        sums = {g: s.sum_of(g) for g in s.own}
        rings = dict(zip(sums, staggered.rings(list(sums.values()), ring), strict=True))

        def total(number: int, g: str, fields, rings) -> jax.Array:
            return sums[g].given([fields[k.field] for k in s.of_term(g)], rings[g], stage.one)

        terms = self._advance(stage, m, fields, lambda number, fields: rings, total)
        return list(fields.values()), terms

    # ---- adjoint ----

    def adjoint_step(self, m, operands, w, images):
        s, form, one, fields, memory = layout(self), self.grid.form, self._one(m), self.wavefields(w), list(w.memory)
        gradients, recorded = [total for total, _ in images], {}
        for number in reversed(range(len(s.scheme.stages))):
            gradients = [self._imaged(total, terms, fields, number)
                         for total, (_, terms) in zip(gradients, images, strict=True)]  # fmt: skip
            recorded |= self._injected(m, operands, fields, number)
            if number == 0:
                into = {kind: s.scheme.sources[kind].fields for kind in operands.sources}
                found = [_sum(recorded[kind, f] for f in into[kind]) for kind in into]
                one, ds = form.order_after(one, points.join(found, w.fields[0]), gradients)
            e = {g: self._cotangent(m, fields, g, number, one) for g in s.scheme.of_stage(number) if s.scheme.own(g)}
            held = zip(s.stages[number], s.operators(s.stages[number]), form.groups(memory[number]), strict=True)
            slabs = [d.remember_back(e[k.term], x, operands.profiles, one) for k, d, x in held]
            memory[number] = form.hold(slabs)
            self._retreat(m, fields, e, dict(zip(s.stages[number], form.groups(memory[number]), strict=True)), one)
        return State(tuple(fields.values()), tuple(memory)), ds, gradients

    def _cotangent(self, m, fields, g: str, number: int, one: jax.Array) -> jax.Array:
        """The cotangent of a term, from those of the fields that it updates, by itself or in a sum."""
        scheme, unscaled, found = layout(self).scheme, {}, []
        for field, update in scheme.stages[number].items():
            for c, term in update:
                if term == g or g in scheme.terms[term].of:
                    weight = 1.0 if term == g else scheme.terms[term].weight
                    if field in scheme.scaled:
                        found.append(_times(weight, fields[field]))
                    else:
                        unscaled.setdefault((c, weight), []).append(fields[field])
        products = [_times(weight, self._value(m, c) * _sum(x)) for (c, weight), x in unscaled.items()]
        total = _sum([*products, *found])
        return self.grid.form.alone(total, one) if products or len(found) > 1 else total

    def _retreat(self, m, fields, e: Mapping[str, jax.Array], slabs: Mapping[Key, Any], one) -> None:
        """Adds to the cotangents of fields what the terms of a stage read, in place, given the memory by derivative."""
        s, after = layout(self), {}
        for field in s.scheme.fields:
            for weight in dict.fromkeys(t.weight for t in s.scheme.terms.values()):
                mine = [k for k in slabs if k.field == field and s.scheme.terms[k.term].weight == weight]
                if mine:
                    g = transposed(s.operators(mine), [e[k.term] for k in mine], [slabs[k] for k in mine], one)
                    after[field] = self._moved(m, field, after.get(field, fields[field]), -weight, g)
            for g in e:
                if field in s.scheme.undifferentiated(g):
                    x = after.get(field, fields[field])
                    after[field] = self._moved(m, field, x, s.scheme.terms[g].weight, e[g])
        fields |= self.grid.form.written(after)

    def _moved(self, m, field: str, x: jax.Array, weight: float, g: jax.Array) -> jax.Array:
        """A cotangent, scaled if it is, after weight g is added to it."""
        c = layout(self).scheme.scale_of(field)
        g = g if c is None else self._value(m, c) * g
        return x - _times(-weight, g) if weight < 0 else x + _times(weight, g)

    def _imaged(self, totals, terms, fields, number: int):
        """A gradient with the imaging condition of a stage added."""
        s, by_term = layout(self), {}
        for field, update in s.scheme.stages[number].items():
            for c, g in update:
                if isinstance(c, str):
                    by_term.setdefault(c, {}).setdefault(g, []).append(fields[field])
        totals = list(totals)
        for c, of_term in by_term.items():
            k = s.coefficients[c]
            if totals[k] is not None:
                totals[k] = totals[k] + _sum(_sum(x) * self._saved(terms, g) for g, x in of_term.items())
        return tuple(totals)

    def _injected(self, m, operands, fields, number: int) -> dict[tuple[str, str], jax.Array]:
        """The cotangents of what sources add to the fields of a stage: [shot, source] by kind and field."""
        s = layout(self)
        return {
            (kind, f): self._at(points.divide, m, f, points.get(fields[f], cells), cells)
            for kind, cells in operands.sources.items()
            for f in s.scheme.sources[kind].fields
            if f in s.scheme.stages[number]
        }

    def _at(self, by, m, field: str, values: jax.Array, cells) -> jax.Array:
        """``by(values, c)`` with the coefficient at these cells that a field's cotangent is scaled by, if it is."""
        c = layout(self).scheme.scale_of(field)
        return values if c is None else by(values, points.at(self._value(m, c), cells))

    def _scaled(self, m, fields, by) -> tuple[jax.Array, ...]:
        scale = layout(self).scheme.scale_of
        found = zip(map(scale, layout(self).scheme.fields), fields, strict=True)
        return tuple(x if c is None else by(x, self._value(m, c)) for c, x in found)

    def adjoint_start(self, m, operands, cotangent):
        found = self._converted("adjoint_memory", operands, cotangent.memory, lambda x, weight: _times(1 / weight, x))
        held = tuple(map(self.grid.form.hold, found))
        return State(self._scaled(m, cotangent.fields, lambda x, c: c * x), held)

    def adjoint_finish(self, m, operands, w):
        memory = map(self.grid.form.groups, w.memory)
        found = self._converted("cotangent_memory", operands, memory, lambda x, weight: _times(weight, x))
        return State(self._scaled(m, w.fields, points.divide), found)

    def _converted(self, method: str, operands, memory, weighted):
        """Cotangents of memory variables from the adjoint's, or the other way; the adjoint's are without weights."""
        s = layout(self)
        return tuple(
            tuple(tuple(weighted(x, s.scheme.terms[k.term].weight)
                        for x in getattr(s.derivatives[k], method)(slabs, operands.profiles))
                  for k, slabs in zip(keys, stage, strict=True))
            for keys, stage in zip(s.stages, memory, strict=True)
        )  # fmt: skip

    # ---- gradient ----

    def gradient_start(self, m, w):
        return (jnp.zeros_like(w.fields[0]),) * len(m)

    def gradient_finish(self, m, gradient):
        scheme = layout(self).scheme
        scaled = {scheme.scale_of(f) for f in scheme.scaled}
        summed = (None if g is None else _sum_to(g, c) for g, c in zip(gradient, m, strict=True))
        return tuple(
            points.divide(g, c) if g is not None and name in scaled else g
            for name, g, c in zip(scheme.coefficients, summed, m, strict=True)
        )

    def model_gradients(self, m, gradient, dt):
        found = zip(layout(self).scheme.coefficients, self.gradient_finish(m, gradient), strict=True)
        return {name: dt * g for name, g in found if g is not None}

    def adjoint_wavefields(self, m, w):
        return dict(zip(layout(self).scheme.fields, self._scaled(m, w.fields, points.divide), strict=True))

    # ---- receivers ----

    def record(self, operands, x):
        fields, found = self.wavefields(x), []
        for kind, cells in operands.receivers.items():
            term = layout(self).scheme.receivers[kind]
            plain = [points.get(fields[f], cells) for axis, f in term.parts if axis is None]
            parts = [_times(term.weight, _sum(plain))] if plain else []
            for f, near, w in self._sampled(term, cells, x.fields[0].dtype):
                parts.append((w * points.get(fields[f], near).reshape(w.shape)).sum(2))
            found.append(_sum(parts))
        return points.join(found, x.fields[0])

    def adjoint_inject(self, m, operands, w, data):
        fields = self.wavefields(w)

        def add(f: str, cells, values) -> None:
            values = self._at(lambda x, c: c * x, m, f, values, cells)
            fields[f] = self.grid.form.add(fields[f], cells, values)

        for kind, values in points.split(data, operands.receivers).items():
            cells, term = operands.receivers[kind], layout(self).scheme.receivers[kind]
            for axis, f in term.parts:
                if axis is None:
                    add(f, cells, _times(term.weight, values))
            for f, near, weights in self._sampled(term, cells, values.dtype):
                add(f, near, (weights * values[:, :, None]).reshape(near[0].shape))
        return w._replace(fields=tuple(fields.values()))

    def _sampled(self, term: Term, cells: points.Cells, dtype):
        """The derivatives in what is recorded as weighted values: field, cells and weights [shot, point, entry]."""
        n, scheme = self.grid.ndim, layout(self).scheme
        at = staggered.unit(n, *scheme.offset(term))
        weight = term.weight
        for axis, side in self._zero_faces_at(at):
            on_face = cells[axis] == self.grid.halo - 1 + side * self.grid.interior[axis]
            weight = jnp.where(on_face, 0, jnp.full(cells[0].shape, weight, dtype))
        for axis, f in term.parts:
            if axis is not None:
                near, weights = self.derivative(axis, f, at).stencil(cells, dtype)
                yield f, near, weight[..., None] * weights if isinstance(weight, jax.Array) else _times(weight, weights)

    def _zero_faces_at(self, at: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        """The faces on which a field with this offset stays zero, and its time derivative does."""
        offsets = self.wavefield_offsets(self.grid.ndim)
        return next((self.zero_faces(name) for name, offset in offsets.items() if offset == at), ())


def _sum(parts: Iterable[jax.Array]) -> jax.Array:
    first, *others = parts
    return sum(others, first)


def _times(weight: float, x: jax.Array) -> jax.Array:
    return x if weight == 1 else -x if weight == -1 else weight * x


def _sum_to(gradient: jax.Array, c: jax.Array) -> jax.Array:
    """A gradient [shot, *padded] summed over what shares the coefficient c."""
    axes = tuple(a for a, (n, k) in enumerate(zip(gradient.shape, c.shape, strict=True)) if k == 1 < n)
    return gradient.sum(axes, keepdims=True) if axes else gradient
