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

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxwave._numerics import cuts, points
from jaxwave._numerics.derivative import transposed
from jaxwave.equations.base import State
from jaxwave.equations.layout import Key, layout, sum_to, times, total_of
from jaxwave.equations.leapfrog_step import LeapfrogStep


class LeapfrogEquation(LeapfrogStep):
    """An equation that is a scheme of terms and updates.

    A subclass writes its models, :meth:`scheme`, :meth:`moduli` and ``fastest``; and ``faces`` where its fields are
    reflected otherwise than a pressure, or :meth:`closures_of` where not all are alike.
    """

    # ---- adjoint ----

    def adjoint_step(self, m, operands, w, images):
        s, form, one, fields, memory = layout(self), self.grid.form, self._one(m), self.wavefields(w), list(w.memory)
        gradients, recorded = [total for total, _ in images], {}
        for number in reversed(range(len(s.scheme.stages))):
            fields |= self._seen(fields, number)
            gradients = [self._imaged(total, terms, fields, number)
                         for total, (_, terms) in zip(gradients, images, strict=True)]  # fmt: skip
            recorded |= self._injected(m, operands, fields, number)
            if number == 0:
                into = {kind: s.scheme.sources[kind].fields for kind in operands.sources}
                found = [total_of(recorded[kind, f] for f in into[kind]) for kind in into]
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
                        found.append(times(weight, fields[field]))
                    else:
                        unscaled.setdefault((c, weight), []).append(fields[field])
        products = [times(weight, self._value(m, c) * total_of(x)) for (c, weight), x in unscaled.items()]
        total = total_of([*products, *found])
        if not products and len(found) == 1:
            return total
        total = self.grid.form.alone(total, one)
        for axis, _ in scheme.derivatives(g):
            total = cuts.exchange(self.grid, total, axis)
        return total

    def _seen(self, fields, number: int) -> dict[str, jax.Array]:
        """The cotangents of fields that are those of terms as they are, with their halos as the neighbours have them.
        All else that reads them reads these too, so that they need not be copied.
        """
        scheme, found = layout(self).scheme, {}
        for f, update in scheme.stages[number].items():
            own = [part for _, g in update for part in (scheme.terms[g].of or (g,))]
            for axis in dict.fromkeys(axis for g in own for axis, _ in scheme.derivatives(g) if self.grid.cut(axis)):
                if f in scheme.scaled:
                    found[f] = cuts.exchange(self.grid, found.get(f, fields[f]), axis)
        return found

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
        return x - times(-weight, g) if weight < 0 else x + times(weight, g)

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
                totals[k] = totals[k] + total_of(total_of(x) * self._saved(terms, g) for g, x in of_term.items())
        return tuple(totals)

    def _injected(self, m, operands, fields, number: int) -> dict[tuple[str, str], jax.Array]:
        """The cotangents of what sources add to the fields of a stage: [shot, source] by kind and field."""
        s, found = layout(self), {}
        around = self._around(m, operands.sources)
        for kind, cells in operands.sources.items():
            for f in s.scheme.sources[kind].fields:
                if f in s.scheme.stages[number]:
                    near, weights = around.get(kind, (cells, None))
                    values = self._at(points.divide, m, f, points.get(fields[f], near), near)
                    values = values if weights is None else (weights * values.reshape(weights.shape)).sum(2)
                    found[kind, f] = values
        return found

    def _at(self, by, m, field: str, values: jax.Array, cells) -> jax.Array:
        """``by(values, c)`` with the coefficient at these cells that a field's cotangent is scaled by, if it is."""
        c = layout(self).scheme.scale_of(field)
        return values if c is None else by(values, points.at(self._value(m, c), cells))

    def _scaled(self, m, fields, by) -> tuple[jax.Array, ...]:
        scale = layout(self).scheme.scale_of
        found = zip(map(scale, layout(self).scheme.fields), fields, strict=True)
        return tuple(x if c is None else by(x, self._value(m, c)) for c, x in found)

    def adjoint_start(self, m, operands, cotangent):
        found = self._converted("adjoint_memory", operands, cotangent.memory, lambda x, weight: times(1 / weight, x))
        held = tuple(map(self.grid.form.hold, found))
        return State(self._scaled(m, cotangent.fields, lambda x, c: c * x), held)

    def adjoint_finish(self, m, operands, w):
        memory = map(self.grid.form.groups, w.memory)
        found = self._converted("cotangent_memory", operands, memory, lambda x, weight: times(weight, x))
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
        summed = (None if g is None else sum_to(g, c) for g, c in zip(gradient, m, strict=True))
        return tuple(
            points.divide(g, c) if g is not None and name in scaled else g
            for name, g, c in zip(scheme.coefficients, summed, m, strict=True)
        )

    def model_gradients(self, m, gradient, dt):
        found = zip(layout(self).scheme.coefficients, self.gradient_finish(m, gradient), strict=True)
        return {name: dt * g for name, g in found if g is not None}

    def adjoint_wavefields(self, m, w):
        return dict(zip(layout(self).scheme.fields, self._scaled(m, w.fields, points.divide), strict=True))

    def adjoint_inject(self, m, operands, w, data):
        fields = self.wavefields(w)

        def add(f: str, cells, values) -> None:
            values = self._at(lambda x, c: c * x, m, f, values, cells)
            fields[f] = self.grid.form.add(fields[f], cells, values)

        for kind, values in points.split(data, operands.receivers).items():
            cells, term = operands.receivers[kind], layout(self).scheme.receivers[kind]
            for f in self._recorded(term):
                add(f, cells, times(term.weight, values))
            for axis, f, near, weights in self._sampled(term, cells, values.dtype):
                spread = (weights * values[:, :, None]).reshape(near[0].shape)
                if axis is not None and self.grid.cut(axis):
                    # Into cells of the neighbours too, which have the coefficients there.
                    x = points.add(jnp.zeros_like(fields[f]), near, spread)
                    fields[f] = self._moved(m, f, fields[f], 1.0, cuts.fold(self.grid, x, axis))
                else:
                    add(f, near, spread)
        return w._replace(fields=tuple(fields.values()))
