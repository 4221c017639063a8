"""What equations on a staggered grid share: the updates of a step, forward and back, their coefficients between cells,
and the bound of the time step.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxwave import boundary, stencils
from jaxwave.boundary import Grid
from jaxwave.equations import closures, points, ring
from jaxwave.equations.derivative import Derivative
from jaxwave.grid import COURANT_NUMBER, critical_courant_number


class Stage(NamedTuple):
    """What the updates of a step have in common. A step back subtracts what the step added.

    Attributes:
        one: See :func:`points.one`.
        scatter, keep: As for ``Equation.step``.
        cells, amplitudes: Where to inject, and what [shot, source], by kind.
        back: Whether the step is taken back.
    """

    one: jax.Array
    scatter: Sequence[tuple[Any, Any]]
    keep: Sequence[Any]
    cells: Mapping[str, points.Cells]
    amplitudes: Mapping[str, jax.Array]
    back: bool = False

    def add(self, field, x):
        return field - x if self.back else field + x

    def alone(self, g):
        """g as an array of its own, which it is already in a step back."""
        return g if self.back else g / self.one

    def update(self, field, c, g, number: int, slot: int):
        """field + c g, with what perturbations of c scatter; and g by itself if it is kept, else None.

        ``number`` is that of the coefficient, ``slot`` that of its only term g.
        """
        if self.keep[slot]:
            g = self.alone(g)
        field = self.add(field, c * g)
        for dm, terms in self.scatter:
            if dm[number] is not None:
                field = self.add(field, dm[number] * terms[slot])
        return field, g if self.keep[slot] else None

    def inject(self, field, kind: str):
        """field with the sources of this kind, if there are any."""
        if kind not in self.amplitudes:
            return field
        s = self.amplitudes[kind]
        return points.add(field, self.cells[kind], -s if self.back else s)


def stage(grid: Grid, c, operands, amplitudes, scatter, keep, back: bool = False) -> Stage:
    """The stage of a step with these arguments; c is any coefficient."""
    sources = operands["sources"]
    return Stage(points.one(c, grid.halo), scatter, keep, sources, points.split(amplitudes, sources), back)


@dataclasses.dataclass(frozen=True)
class Sum:
    """A sum of derivatives, each of a field of its own. Its ring are the memory variables of all of them."""

    derivatives: tuple[Derivative, ...]

    @property
    def boxes(self) -> list[ring.Box]:
        """The cells of each part of the ring."""
        return [ring.box(d.grid, place) for d in self.derivatives for place in d.places]

    def ring(self, memories) -> list[jax.Array]:
        """What the layers added to it in the step that ended with this memory, one for each derivative."""
        return [x for d, memory in zip(self.derivatives, memories, strict=True) for x in d.without_row(memory)]

    def given(self, fields, parts, one) -> jax.Array:
        """The sum on the padded grid, given its ring."""
        plain = [d.plain(x) for d, x in zip(self.derivatives, fields, strict=True)]
        return ring.add(sum(plain[1:], plain[0]) / one, parts, self.boxes)


def rings(sums: Sequence[Sum], parts: Sequence[jax.Array]) -> list[list[jax.Array]]:
    """The rings of several sums, which follow each other, by sum."""
    parts = iter(parts)
    return [list(itertools.islice(parts, len(each.boxes))) for each in sums]


def buoyancy_between(rho, axis: int, ends=(None, None)):
    """Buoyancy between the cells of an axis: of the arithmetic mean of the density; at a face that of its cell.

    Zero between cells of vacuum (rho = 0). Beside one, half of the other cell's mass is moved by its stress alone.
    ``ends`` are the kinds of the axis's faces, which matter if they are periodic.
    """
    xp = np if isinstance(rho, np.ndarray) else jnp
    width = [(1, 1) if a == axis + 1 else (0, 0) for a in range(rho.ndim)]
    rho = xp.pad(rho, width, mode="wrap" if "periodic" in ends else "edge")
    n = rho.shape[axis + 1] - 1
    low, high = (rho[(slice(None),) * (axis + 1) + (slice(k, k + n),)] for k in (0, 1))
    return points.divide(2, low + high, xp)


def components(ndim: int) -> tuple[str, ...]:
    """Names of the axes, from the slowest: the last is always x."""
    return tuple("zyx"[-ndim:])


def tensor(ndim: int) -> dict[str, tuple[int, int]]:
    """The components of a symmetric tensor by name, and their axes i <= j: "yy" (0, 0), "xy" (0, 1), "xx" (1, 1)."""
    names = components(ndim)
    return {names[j] + names[i]: (i, j) for i in range(ndim) for j in range(i, ndim)}


def point_offset(kind: str, ndim: int) -> tuple[int, ...]:
    """The axes along which a velocity, or a component of a tensor, lies half a cell after its cell; of "p" none."""
    if kind == "p":
        return ()
    return tuple(sorted(components(ndim).index(name) for name in set(kind))) if len(set(kind)) == len(kind) else ()


def unit(ndim: int, *axes: int) -> tuple[int, ...]:
    """The offset of a wavefield that lies between cells along these axes."""
    return tuple(int(axis in axes) for axis in range(ndim))


def buoyancies(equation, rho, dt: float) -> tuple[jax.Array, ...]:
    """Buoyancy times dt between the cells of each axis on the padded grid; zero where the velocity stays zero."""
    grid = equation.grid
    return tuple(
        grid.to_padded(
            dt * buoyancy_between(rho, axis, grid.ends[axis]), unit(grid.ndim, axis), equation.zero_faces(f"v{name}_0")
        )
        for axis, name in enumerate(components(grid.ndim))
    )


def zero_faces(grid: Grid, offset: Sequence[int], zero_at: str) -> tuple[tuple[int, int], ...]:
    """Faces (axis, side) on which a field with this offset stays zero: those of the kind ``zero_at``, and the first of
    a periodic axis, which the last one stands for.
    """
    return tuple(
        (axis, side)
        for axis in range(grid.ndim)
        for side, kind in enumerate(grid.ends[axis])
        if offset[axis] and (kind == zero_at or (kind == "periodic" and side == 0))
    )


def effective_speed(stiffness: np.ndarray, buoyancy: list[np.ndarray], spacing, accuracy: int, ends) -> float:
    """The speed of a homogeneous medium that would limit the time step as this one does, or a little more.

    From a bound of the largest frequency of K N b W^-1 N^T by Cauchy's inequality, exact where the medium is
    homogeneous, where N are the differences from points to cells with their closures and W the points' weights:

        w^2 <= max over cells i of K_i sum over axes and points j of |N_ij| b_j S_j / w_j,    S_j = sum over i of |N_ij|

    Away from faces S is 2 sum(|c|) / dx, with the stencil's weights c.

    Args:
        stiffness: K at the cells [model, *cells].
        buoyancy: For each axis b between the cells, [model, *cells] with one value more along the axis.
        spacing: Cell size per axis.
        accuracy: Order of the differences.
        ends: For each axis the closures of its two faces; where there is none, the medium goes on beyond.
    """
    c, total = np.abs(stencils.STAGGERED[accuracy]), 0.0
    for axis, (b, h, pair) in enumerate(zip(buoyancy, spacing, ends, strict=True)):
        n, along = stiffness.shape[axis + 1], axis + 1
        line, patches = closures.bound(accuracy, pair, n)
        y = np.moveaxis(b, along, -1) * line
        wide = [
            np.zeros_like(y[..., :1]) if end else y[..., cut]
            for end, cut in zip(pair, (slice(1), slice(-1, None)), strict=True)
        ]
        r = len(c)
        wide = np.concatenate([*[wide[0]] * r, y, *[wide[1]] * r], axis=-1)
        part = sum(w * (wide[..., r + k + 1 : r + k + 1 + n] + wide[..., r - k : r - k + n]) for k, w in enumerate(c))
        for patch in patches:
            part[..., patch.rows.start : patch.rows.stop] += (
                y[..., patch.columns.start : patch.columns.stop] @ patch.matrix.T
            )
        total = total + np.moveaxis(part, -1, along) / h**2
    largest = (2 * c.sum()) ** 2 * sum(1 / h**2 for h in spacing)
    return float(np.sqrt((stiffness * total).max() / largest))


def limiting_speed(largest: float, stiffness, rho, spacing, accuracy: int, kinds, closed) -> float:
    """The largest speed or, if that would allow an unstable time step, the speed that allows the limit.

    ``kinds`` are those of the faces or None, ``closed`` makes the closures of a pair of them.
    """
    ends = boundary.pairs(kinds or (None,) * 2 * len(spacing))
    buoyancy = [buoyancy_between(rho, axis, pair) for axis, pair in enumerate(ends)]
    margin = COURANT_NUMBER / critical_courant_number(accuracy, staggered=True)
    return max(largest, margin * effective_speed(stiffness, buoyancy, spacing, accuracy, tuple(map(closed, ends))))
