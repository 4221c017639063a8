"""The steps of any equation that is a scheme: forward and back in time; with its state, coefficients and receivers.

:class:`jaxwave.equations.leapfrog.LeapfrogEquation` adds the adjoint, and says what a scheme means.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxwave._numerics import averaged, closures, cuts, multiaxial, points
from jaxwave._numerics.averaged import Mean
from jaxwave._numerics.boundary import Memory
from jaxwave._numerics.derivative import Derivative
from jaxwave.equations import scheme_bound, staggered
from jaxwave.equations.base import Equation, State
from jaxwave.equations.layout import layout, scheme_of, times, total_of
from jaxwave.equations.scheme import Scheme, Term
from jaxwave.equations.staggered import Operator


class LeapfrogStep(Equation):
    """An equation with a scheme, without its adjoint."""

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
            source = scheme.sources[kind]
            return tuple(sorted(scheme.fields[source.fields[0]] if source.at is None else source.at))
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
        if source.at is not None:
            return jnp.full(cells[0].shape, source.weight * dt, m[0].dtype)
        if source.scale is None:
            moved = functools.reduce(jnp.logical_or, (points.at(self._moves(m, f), cells) for f in source.fields))
            scale = jnp.where(moved, source.weight * dt, 0)
        else:
            scale = times(source.weight, points.at(m[s.coefficients[source.scale]], cells))
        field = source.fields[0]
        for axis in sorted(s.scheme.fields[field]):  # next to a face a point stands for less than a cell
            d = Derivative(self.grid, axis, True, self.closures_of(axis, field))
            scale = scale / d.weights_at(cells, m[0].dtype)
        return scale

    def _moves(self, m, field: str) -> jax.Array:
        """Where any coefficient of a derivative in a field's updates differs from zero: [1 or shot, *padded]."""
        s = layout(self)
        updates = [(c, g) for f, c, g in s.scheme.updates if f == field]
        of_field = [c for c, g in updates if s.scheme.all_derivatives(g)] or [c for c, _ in updates]
        moved = (m[s.coefficients[c]] != 0 if isinstance(c, str) else jnp.asarray(c != 0) for c in of_field)
        found = functools.reduce(jnp.logical_or, moved)
        return jnp.broadcast_to(found, (*(found.shape[:1] or (1,)), *self.grid.padded))

    def profiles(self, dt, max_vel, pml_freq, dtype):
        return multiaxial.profiles(self.grid, dt, max_vel, pml_freq, dtype)

    def derivative(self, axis: int, field: str, at: tuple[int, ...]) -> Operator:
        """The derivative of a field along an axis, with values at this offset."""
        d = Derivative(self.grid, axis, bool(at[axis]), self.closures_of(axis, field))
        return averaged.averaged(multiaxial.damped(d, at), self.means(axis, field, at))

    def means(self, axis: int | None, field: str, at: tuple[int, ...]) -> tuple[Mean, ...]:
        """The averages of a field that its derivative along an axis (of None: the field) is taken of at this offset."""
        scheme, ends = scheme_of(self, self.grid.ndim), [k for k, half in enumerate(at) if half]
        return tuple(
            Mean(self.grid, k, k not in scheme.fields[field], self.closures_of(k, field))
            for k in scheme.averaged((axis, field), ends)
        )

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
        return State(tuple(self._exchanged(self.wavefields(x)).values()), tuple(map(form.hold, with_rows)))

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
                found[field] = total_of(-self._value(m, c) / 2 * self._plain(g, wavefields) for c, g in update)
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
        return own if own is not None else times(term.weight, total_of(terms[s.terms[part]] for part in term.of))

    def _plain(self, g: str, fields: Mapping[str, jax.Array]) -> jax.Array:
        """A term without absorbing layers."""
        s = layout(self)
        term = s.scheme.terms[g]
        parts = [self._plain(part, fields) for part in term.of]
        parts += [s.derivatives[key].plain(fields[key.field]) for key in s.of_term(g)]
        parts += [fields[f] for f in s.scheme.undifferentiated(g)]
        return times(term.weight, total_of(parts))

    def _one(self, m) -> Any:
        """See ``Form.one``; of a coefficient that is an array."""
        return self.grid.form.one(next(c for c in m if c.shape[-1] > 1), self.grid.halo)

    # ---- forward, and back in time ----

    def step(self, m, operands, x, amplitudes, scatter, keep):
        fields, memory, form = self.wavefields(x), list(x.memory), self.grid.form
        stage = self._spread(m, staggered.Stage.of(form, self._one(m), operands, amplitudes, scatter, keep))

        def remember(number: int, fields):
            memory[number] = self._remembered(number, fields, memory[number], operands.profiles, stage.one)
            return memory[number]

        terms = self._advance(stage, m, fields, remember, functools.partial(self._total, stage.one))
        return State(tuple(fields.values()), tuple(memory)), terms

    def _exchanged(
        self, fields: Mapping[str, jax.Array], sent: Mapping[str, jax.Array] | None = None
    ) -> dict[str, jax.Array]:
        """Fields with their halos as the neighbours have them, along axes that are cut and that a stage differentiates
        (see :func:`cuts.exchange`).
        """
        found = dict(fields)
        for axis, field in layout(self).cut:
            if field in found:
                found[field] = cuts.exchange(self.grid, found[field], axis, sent and sent[field])
        return found

    def _remembered(self, number: int, fields, held, profiles, one):
        """The memory variables of a stage after the step."""
        s, form = layout(self), self.grid.form
        keys = s.stages[number]
        found = zip(keys, s.operators(keys), form.groups(held), strict=True)
        return form.hold([d.remember(fields[k.field], slabs, profiles, one) for k, d, slabs in found])

    def _total(self, one, number: int, g: str, fields, held) -> jax.Array:
        """The sum of the derivatives in a term of a stage, given its memory variables after the step."""
        s = layout(self)
        keys = s.stages[number]
        found = zip(keys, s.operators(keys), self.grid.form.groups(held), strict=True)
        return total_of(d.value(fields[k.field], slabs, one) for k, d, slabs in found if k.term == g)

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
            own = {f: fields[f] for f in s.scheme.stages[number]}
            update = functools.partial(self._all_updated, stage, m, number)
            new = stage.form.written(update(own, found))
            if self.grid.cuts:
                new = self._exchanged(new, stage.form.sent(
                    new, lambda own, *given, update=update, evaluate=evaluate: update(own, evaluate(*given)),
                    sum(s.shape[1] for s in stage.amplitudes.values()), own, *given,
                ))  # fmt: skip
            fields |= new
        return tuple(kept.get(g) for g in s.terms)

    def _terms(self, stage: staggered.Stage, number: int, total, fields, held) -> dict[str, jax.Array]:
        """The terms of a stage."""
        s, found = layout(self), {}
        for g in s.scheme.of_stage(number):
            keep, term = stage.keep[s.terms[g]], s.scheme.terms[g]
            if term.of:
                found[g] = times(term.weight, total_of(found[part] for part in term.of))
                found[g] = stage.form.alone(found[g], stage.one) if keep else found[g]
            else:
                keys = s.of_term(g)
                parts = [total(number, g, fields, held)] if keys else []
                parts += [fields[f] for f in s.scheme.undifferentiated(g)]
                found[g] = times(term.weight, total_of(parts))
                # An array of its own if several updates would compute it again.
                found[g] = stage.alone(found[g]) if keep or (keys and s.scheme.users(g) > 1) else found[g]
        return found

    def _all_updated(self, stage, m, number: int, fields, terms) -> dict[str, jax.Array]:
        """The fields of a stage after their updates."""
        updates = layout(self).scheme.stages[number]
        return {f: self._updated(stage, m, f, update, fields[f], terms) for f, update in updates.items()}

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

    def _spread(self, m, stage: staggered.Stage) -> staggered.Stage:
        """The stage with what each source adds that lies elsewhere than its fields, to all cells around it."""
        cells, amplitudes = dict(stage.cells), dict(stage.amplitudes)
        for kind, (near, weights) in self._around(m, cells).items():
            cells[kind] = near
            amplitudes[kind] = (weights * amplitudes[kind][:, :, None]).reshape(near[0].shape)
        return stage._replace(cells=cells, amplitudes=amplitudes)

    def _around(self, m, cells: Mapping[str, points.Cells]) -> dict[str, tuple[points.Cells, jax.Array]]:
        """For sources that lie elsewhere than their fields, the cells around them, and how much these get of their
        amplitude: [shot, source, entry]. Nothing where nothing moves the fields.
        """
        s, found = layout(self), {}
        for kind, at in cells.items():
            source = s.scheme.sources[kind]
            if source.at is not None:
                offset = staggered.unit(self.grid.ndim, *source.at)
                near, weights = averaged.at_points(reversed(self.means(None, source.fields[0], offset)), at, m[0].dtype)
                moved = (points.at(self._moves(m, f), near) for f in source.fields)
                moved = functools.reduce(jnp.logical_or, moved).reshape(-1, *weights.shape[1:])
                found[kind] = near, jnp.where(moved, weights, 0)
        return found

    @property
    def reversible(self) -> bool:
        return layout(self).scheme.reversible

    @property
    def divisible(self) -> bool:
        return not layout(self).scheme.averages

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
        stage = self._spread(m, stage)
        sums = {g: s.sum_of(g) for g in s.own}
        rings = dict(zip(sums, staggered.rings(list(sums.values()), ring), strict=True))

        def total(number: int, g: str, fields, rings) -> jax.Array:
            return sums[g].given([fields[k.field] for k in s.of_term(g)], rings[g], stage.one)

        terms = self._advance(stage, m, fields, lambda number, fields: rings, total)
        return list(fields.values()), terms

    # ---- receivers ----

    def record(self, operands, x):
        fields, found = self.wavefields(x), []
        for kind, cells in operands.receivers.items():
            term = layout(self).scheme.receivers[kind]
            plain = [points.get(fields[f], cells) for f in self._recorded(term)]
            parts = [times(term.weight, total_of(plain))] if plain else []
            for _, f, near, w in self._sampled(term, cells, x.fields[0].dtype):
                parts.append((w * points.get(fields[f], near).reshape(w.shape)).sum(2))
            found.append(total_of(parts))
        return points.join(found, x.fields[0])

    def _sampled(self, term: Term, cells: points.Cells, dtype):
        """The derivatives and averages in what is recorded as weighted values: axis of the derivative or None, field,
        cells and weights [shot, point, entry].
        """
        n, scheme = self.grid.ndim, layout(self).scheme
        at = staggered.unit(n, *scheme.offset(term))
        weight = term.weight
        for axis, side in self._zero_faces_at(at):
            on_face = cells[axis] == self.grid.halo - 1 + side * self.grid.interior[axis]
            weight = jnp.where(on_face, 0, jnp.full(cells[0].shape, weight, dtype))
        for axis, f in term.parts:
            means = self.means(axis, f, at)
            if axis is not None:
                near, weights = self.derivative(axis, f, at).stencil(cells, dtype)
            elif means:
                near, weights = averaged.at_points(reversed(means), cells, dtype)
            if axis is not None or means:
                scaled = weight[..., None] * weights if isinstance(weight, jax.Array) else times(weight, weights)
                yield axis, f, near, scaled

    def _recorded(self, term: Term) -> list[str]:
        """The fields in what is recorded that are taken as they are."""
        at = staggered.unit(self.grid.ndim, *layout(self).scheme.offset(term))
        return [f for axis, f in term.parts if axis is None and not self.means(None, f, at)]

    def _zero_faces_at(self, at: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        """The faces on which a field with this offset stays zero, and its time derivative does."""
        offsets = self.wavefield_offsets(self.grid.ndim)
        return next((self.zero_faces(name) for name, offset in offsets.items() if offset == at), ())
