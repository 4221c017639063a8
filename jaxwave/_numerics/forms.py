"""The form in which the time loops are written, which depends on the compiler that gets them. The physics does not.

What decides the speed of a loop is which results the compiler makes arrays of, in how many kernels, and whether it can
write them in the place of old ones. XLA's two compilers want opposite things:

* On a CPU an array that is read several times is best made once, and the memory variables of each layer in a kernel of
  their own. An optimisation barrier is dropped before fusion, so an array ends in a division by a ``one`` that the
  compiler cannot know: too expensive to evaluate again.
* On a GPU a kernel costs microseconds to launch, and evaluating a derivative again costs less than writing it. A
  barrier stays until fusion and says where a kernel ends. All memory variables of a stage are one vector, which one
  concatenation writes: one kernel, whatever their shapes. Several steps make one turn of the loop, so that time levels
  are back in place and what is stored or recorded is written once a turn.

The form is chosen when a loop is lowered for a platform, for the whole loop (:mod:`jaxwave._timeloop.rules`), and is
part of the grid that an equation is on. Outside the loops states have the plain form.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxwave._numerics import points

Groups = Sequence[Sequence[jax.Array]]
"""Arrays in groups."""


@dataclasses.dataclass(frozen=True)
class Form:
    """The form for a CPU; without ``rows`` the plain one.

    Attributes:
        rows: Whether slabs of the last axis are laid out in whole rows too (see ``Derivative.rows``).
        entries: Entries that one turn of a loop takes.
        small: Values of a wavefield up to which a kernel less counts for more than memory that is read once more.
        divided: Whether the compiler divides the program among devices, by shots: nothing may then mix these.
    """

    rows: bool = False
    entries: int = 1
    small: int = 0
    divided: bool = False

    def one(self, c: jax.Array, halo: int) -> Any:
        """What :meth:`alone` and the functions of :mod:`points` divide by."""
        return points.opaque_one(c, halo, self.divided)

    def alone(self, x: jax.Array, one: Any) -> jax.Array:
        """x, which is read several times, as the compiler should have it: an array of its own."""
        return x / one

    def materialize(self, x: jax.Array, one: Any) -> tuple[jax.Array, Any]:
        """See :func:`points.materialize`."""
        return points.materialize(x, one, self.divided)

    def order_after(self, one: Any, ds: jax.Array, gradients: Any) -> tuple[Any, jax.Array]:
        """See :func:`points.order_after`."""
        return points.order_after(one, ds, gradients, self.divided)

    def after(self, y: jax.Array, read: jax.Array, gradients: Any) -> tuple[jax.Array, jax.Array, Any]:
        """What a step of the adjoint injects and has recorded, and the gradients that it has added to, where another
        step of the same turn follows: the fields that they were read from can then be updated in place.
        """
        return y, read, gradients

    def hold(self, groups: Groups) -> tuple[Any, ...]:
        """Memory variables as the state of a loop holds them; what several calls give may be joined."""
        return tuple(map(tuple, groups))

    def groups(self, held: Sequence[Any]) -> Groups:
        """The inverse of :meth:`hold`. States outside the loops are in groups already."""
        return [group for part in held for group in (part.groups if isinstance(part, Vector) else [part])]

    def written(self, arrays: Any) -> Any:
        """Arrays that the next stage starts from, and that nobody evaluates again."""
        return arrays

    def stored(self, found: Any, evaluate: Callable[..., Any], *operands: Any) -> Any:
        """What is stored of ``found``, which is ``evaluate(*operands)``: arrays that exist by themselves."""
        return found

    def sent(self, found: Any, evaluate: Callable[..., Any], n_points: int, *operands: Any) -> Any:
        """What neighbours are sent cells of: ``found``, or ``evaluate(*operands)``, which is equal, where cells of that
        can be on their way while ``found`` is computed. Values are added at ``n_points`` in it.
        """
        return found

    def add(self, x: jax.Array, cells: points.Cells, values: jax.Array) -> jax.Array:
        """x with values [shot, point] added at the cells."""
        if values.size == 1:
            # XLA makes a slice of a single addition, and of a loop without a scatter one kernel on one core, if it
            # takes it to be small, as JAX 0.12 does with most. So a zero is added as well.
            cells = tuple(jnp.concatenate([c, c], axis=1) for c in cells)
            values = jnp.concatenate([values, jnp.zeros_like(values)], axis=1)
        return points.add(x, cells, values)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["vector"], meta_fields=["shapes"])
@dataclasses.dataclass(frozen=True)
class Vector:
    """Arrays in groups, one after the other in one vector, or in one for each shot."""

    vector: jax.Array
    shapes: tuple[tuple[tuple[int, ...], ...], ...]

    @classmethod
    def of(cls, groups: Groups, by_shot: bool) -> Vector:
        flat = [x.reshape(*x.shape[:by_shot], -1) for group in groups for x in group]
        return cls(jnp.concatenate(flat, axis=-1), tuple(tuple(x.shape for x in group) for group in groups))

    @property
    def groups(self) -> list[list[jax.Array]]:
        axis = self.vector.ndim - 1
        sizes = [math.prod(shape[axis:]) for group in self.shapes for shape in group]
        spans = itertools.pairwise(itertools.accumulate(sizes, initial=0))
        return [
            [lax.slice_in_dim(self.vector, *next(spans), axis=axis).reshape(shape) for shape in group]
            for group in self.shapes
        ]


@dataclasses.dataclass(frozen=True)
class GpuForm(Form):
    """The form for a GPU."""

    entries: int = 2
    small: int = 2**23
    few: int = 4
    """Points of a shot up to which values are added by comparing cell numbers, within the kernel that updates x."""

    def one(self, c, halo):
        return None

    def alone(self, x, one):
        """Evaluated again wherever it is read."""
        return x

    def materialize(self, x, one):
        return x, one

    def order_after(self, one, ds, gradients):
        return one, ds

    def after(self, y, read, gradients):
        read, gradients = lax.optimization_barrier((read, gradients))
        if y.size and read.size:
            y = y * (1 + 0 * lax.stop_gradient(read[:, :1]))
        return y, read, gradients

    def hold(self, groups):
        return (lax.optimization_barrier(Vector.of(groups, self.divided)),) if any(groups) else super().hold(groups)

    def written(self, arrays):
        return lax.optimization_barrier(arrays)

    def stored(self, found, evaluate, *operands):
        """Evaluated again, from operands that the compiler does not know to be the same: were they the same to it, the
        kernel of the update would write the terms too, and another copy them into the store.
        """
        return evaluate(*lax.optimization_barrier(operands))

    def sent(self, found, evaluate, n_points, *operands):
        """Evaluated again, from operands that the compiler does not know to be the same, in the cells that are sent."""
        return found if n_points > self.few else evaluate(*lax.optimization_barrier(operands))

    def add(self, x, cells, values):
        if values.shape[1] > self.few:
            return points.add(lax.optimization_barrier(x), cells, values)
        lines, axes = (-1,) + (1,) * (x.ndim - 1), range(1, x.ndim)
        for j in range(values.shape[1]):
            number = (lax.broadcasted_iota(c.dtype, x.shape, axis) for axis, c in zip(axes, cells, strict=True))
            here = (n == c[:, j].reshape(lines) for n, c in zip(number, cells, strict=True))
            x = x + jnp.where(functools.reduce(jnp.logical_and, here), values[:, j].reshape(lines), 0)
        return x


PLAIN = Form()
CPU = Form(rows=True)
GPU = GpuForm()


def of_platform(platform: str, divided: bool = False) -> Form:
    """The form for the compiler of a platform, of a program that it divides among devices or of another."""
    form = CPU if platform == "cpu" else GPU
    return dataclasses.replace(form, divided=True) if divided else form
