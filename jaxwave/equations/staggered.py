"""What equations on a staggered grid share: the updates of a step, forward and back, and coefficients between cells."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxwave._numerics import points, ring
from jaxwave._numerics.averaged import Averaged
from jaxwave._numerics.boundary import PaddedGrid
from jaxwave._numerics.derivative import Derivative
from jaxwave._numerics.forms import Form
from jaxwave._numerics.multiaxial import MultiAxial

Operator = Derivative | MultiAxial | Averaged
"""A derivative in a term."""


class Stage(NamedTuple):
    """What the updates of a step have in common. A step back subtracts what the step added.

    Attributes:
        form: How it is written.
        one: See ``Form.one``.
        scatter, keep: As for ``Equation.step``.
        cells, amplitudes: Where to inject, and what [shot, source], by kind.
        back: Whether the step is taken back.
    """

    form: Form
    one: Any
    scatter: Sequence[tuple[Any, Any]]
    keep: Sequence[Any]
    cells: Mapping[str, points.Cells]
    amplitudes: Mapping[str, jax.Array]
    back: bool = False

    @classmethod
    def of(cls, form, one, operands, amplitudes, scatter, keep, back: bool = False) -> Stage:
        """The stage of a step with these arguments."""
        sources = operands.sources
        return cls(form, one, scatter, keep, sources, points.split(amplitudes, sources), back)

    def add(self, field, x):
        return field - x if self.back else field + x

    def alone(self, g):
        """g as an array of its own, which it is already in a step back."""
        return g if self.back else self.form.alone(g, self.one)

    def inject(self, field, kind: str):
        """field with the sources of this kind, if there are any."""
        if kind not in self.amplitudes:
            return field
        s = self.amplitudes[kind]
        return self.form.add(field, self.cells[kind], -s if self.back else s)


@dataclasses.dataclass(frozen=True)
class Sum:
    """A sum of derivatives, each of a field of its own. Its ring are the memory variables of all of them."""

    derivatives: tuple[Operator, ...]

    @property
    def boxes(self) -> list[ring.Box]:
        """The cells of each part of the ring."""
        return [ring.box(d.grid, place) for d in self.derivatives for place in d.places]

    def ring(self, memories) -> list[jax.Array]:
        """What the layers added to it in the step that ended with this memory, one for each derivative."""
        return [x for d, memory in zip(self.derivatives, memories, strict=True) for x in d.without_row(memory)]

    def given(self, fields, parts, one) -> jax.Array:
        """The sum on the padded grid, given its ring."""
        plain = [d.plain(x, one) for d, x in zip(self.derivatives, fields, strict=True)]
        return ring.add(self.derivatives[0].grid.form.alone(sum(plain[1:], plain[0]), one), parts, self.boxes)


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


def buoyancies(grid: PaddedGrid, rho: jax.Array, dt: float) -> dict[str, jax.Array]:
    """Buoyancy times dt between the cells of each axis: "buoyancy_y", "buoyancy_x"."""
    return {
        f"buoyancy_{name}": dt * buoyancy_between(rho, axis, grid.ends[axis])
        for axis, name in enumerate(components(grid.ndim))
    }


def mu_between(mu, i: int, j: int, ends):
    """mu half a cell on along i and j: the harmonic mean of four cells, zero beside a fluid.

    Beyond rigid faces the outermost cells are repeated, beyond periodic ones come those of the other end, and beyond
    all others mu is zero; ``ends`` are the kinds of each axis's faces.
    """
    xp = np if isinstance(mu, np.ndarray) else jnp
    corners = _corners(mu, i, j, ends)
    solid = (corners[0] > 0) & (corners[1] > 0) & (corners[2] > 0) & (corners[3] > 0)
    slowness = sum(1 / xp.where(solid, c, 1) for c in corners)
    return xp.where(solid, 4 / slowness, 0)


def mean_between(x, i: int, j: int, ends):
    """The arithmetic mean of the four cells around the points half a cell on along i and j."""
    return sum(_corners(x, i, j, ends)) / 4


def corner_mean(x, ends):
    """The arithmetic mean of the cells around every corner, where those beyond faces repeat the outermost ones; beyond
    periodic faces come those of the other end. One value more than there are cells along each axis.
    """
    xp = np if isinstance(x, np.ndarray) else jnp
    for axis, kinds in enumerate(ends, start=1):
        beyond = [(int(a == axis),) * 2 for a in range(x.ndim)]
        x = xp.pad(x, beyond, mode="wrap" if "periodic" in kinds else "edge")
        n = x.shape[axis] - 1
        low, high = (x[(slice(None),) * axis + (slice(k, k + n),)] for k in (0, 1))
        x = (low + high) / 2
    return x


def _corners(x, i: int, j: int, ends) -> list:
    """The values of the four cells around these points; beyond faces those that :func:`mu_between` names."""
    xp = np if isinstance(x, np.ndarray) else jnp
    for axis in (i, j):
        # Both ends at once where they are periodic, because each is padded with the other.
        sides = [((1, 1), "wrap")]
        if "periodic" not in ends[axis]:
            modes = ["edge" if kind == "rigid" else "constant" for kind in ends[axis]]
            sides = list(zip(((1, 0), (0, 1)), modes, strict=True))
        for beyond, mode in sides:
            x = xp.pad(x, [beyond if a == axis + 1 else (0, 0) for a in range(x.ndim)], mode=mode)

    def corner(di, dj):
        cut = [slice(None)] * x.ndim
        for axis, d in ((i + 1, di), (j + 1, dj)):
            cut[axis] = slice(d, d + x.shape[axis] - 1)
        return x[tuple(cut)]

    return [corner(di, dj) for di in (0, 1) for dj in (0, 1)]


def components(ndim: int) -> tuple[str, ...]:
    """Names of the axes, from the slowest: the last is always x."""
    return tuple("zyx"[-ndim:])


def tensor(ndim: int) -> dict[str, tuple[int, int]]:
    """The components of a symmetric tensor by name, and their axes i <= j: "yy" (0, 0), "xy" (0, 1), "xx" (1, 1)."""
    names = components(ndim)
    return {names[j] + names[i]: (i, j) for i in range(ndim) for j in range(i, ndim)}


def unit(ndim: int, *axes: int) -> tuple[int, ...]:
    """The offset of a wavefield that lies between cells along these axes."""
    return tuple(int(axis in axes) for axis in range(ndim))
