"""The padded grid and its absorbing faces.

A wavefield lives on the *padded* grid: the model's cells, the cells of the perfectly matched layers (PML) around them,
a halo of ``accuracy // 2`` zeros, and enough cells to make the last axis a multiple of 16 (vector loads stay aligned).
The halo never changes, because the coefficient of the wave equation is zero there.

A PML adds memory variables that differ from zero in the layer only, so they are kept in *slabs*: one for each face that
has a layer, as thick as the layer and its stencil's reach, spanning the padded grid along the other axes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxwave._numerics.cuts import Cut
from jaxwave._numerics.forms import PLAIN, Form

ALIGNMENT = 16
REFLECTION = 1e-3  # theoretical reflection coefficient at normal incidence that sets the strength of the layer


def pairs(of_faces: Sequence) -> tuple[tuple, ...]:
    """What there is one of for each face, as one (first, last) pair per axis."""
    return tuple(zip(of_faces[::2], of_faces[1::2], strict=True))


@dataclasses.dataclass(frozen=True)
class Range:
    """Cells [start, stop) of one axis of the padded grid."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


@dataclasses.dataclass(frozen=True)
class Layer:
    """One absorbing layer, as a difference along its axis sees it: cells of that axis of the padded grid.

    Attributes:
        axis: Axis of the model (0 is the slowest).
        side: 0 for the face at the first cell, 1 for the one at the last.
        width: Cells of the layer.
        cells: Where the difference has a memory: where the profile differs from zero.
        reach: Cells that the memory influences through one more difference.
        extent: Cells that this difference reads: ``reach`` and its halo.
        outer: Whether it is there: a part within a grid has the cells of a layer, and does not damp.
    """

    axis: int
    side: int
    width: int
    cells: Range
    reach: Range
    extent: Range
    outer: bool = True

    def line(self, profile: np.ndarray, over: Range, ndim: int, dtype: np.dtype) -> np.ndarray:
        """A profile [cells] over other cells of the axis, zero outside; with all axes of an array of shots."""
        line = np.zeros(over.size, dtype)
        if self.outer:
            line[self.cells.start - over.start : self.cells.stop - over.start] = profile
        return line.reshape([over.size if a == self.axis + 1 else 1 for a in range(ndim + 1)])


@dataclasses.dataclass(frozen=True)
class Memory:
    """Where one memory variable lives: as the equation holds it, and the part of it that differs from zero.

    Attributes:
        axis: Axis of the layer.
        layer: Cells of that axis that a user sees.
        held: Cells of that axis that are held in memory; the padded grid along the others.
        offset: As for a wavefield (see :meth:`PaddedGrid.margins`).
    """

    axis: int
    layer: Range
    held: Range
    offset: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class PaddedGrid:
    """Geometry of the padded grid. Static and hashable.

    Attributes:
        shape: Cells of the model region, without layers.
        spacing: Cell size per axis, in metres (any unit, used consistently).
        accuracy: Order of the spatial differences.
        pml_width: Cells of the layer at each face: (first, last) of axis 0, of axis 1, ...
        kinds: What each face is, in the same order: "pml", "free", "rigid", "periodic", or None where the fields are
            zero beyond it. Default: "pml" or None.
        mpml_fraction: Fraction of its damping that a layer has along the other axes. 0: a plain PML.
        form: How loops on this grid are written.
        cuts: Of a part of a grid, how each axis is cut; None for those that are not.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    accuracy: int
    pml_width: tuple[int, ...]
    kinds: tuple[str | None, ...] | None = None
    mpml_fraction: float = 0.0
    form: Form = PLAIN
    cuts: tuple[Cut | None, ...] = ()

    def cut(self, axis: int) -> Cut | None:
        """How an axis is cut, if it is."""
        return self.cuts[axis] if self.cuts else None

    def face(self, axis: int) -> int:
        """The cell of the interior that the last outer face of an axis comes before."""
        cut = self.cut(axis)
        return self.interior[axis] - (cut.beyond if cut else 0)

    def has_face(self, axis: int, side: int) -> bool:
        """Whether a face is an outer one of the whole grid."""
        cut = self.cut(axis)
        return cut is None or cut.is_outer(side)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def halo(self) -> int:
        return self.accuracy // 2

    @property
    def faces(self) -> tuple[tuple[int, int], ...]:
        """Layer widths as one (first, last) pair per axis."""
        return pairs(self.pml_width)

    @property
    def ends(self) -> tuple[tuple[str | None, str | None], ...]:
        """What the faces are, as one (first, last) pair per axis."""
        return pairs(self.kinds or tuple("pml" if width else None for width in self.pml_width))

    @property
    def interior(self) -> tuple[int, ...]:
        """Cells of the model and its layers: what a full wavefield shows a user."""
        return tuple(n + lo + hi for n, (lo, hi) in zip(self.shape, self.faces, strict=True))

    @property
    def padded(self) -> tuple[int, ...]:
        """Cells that are held in memory."""
        sizes = [n + 2 * self.halo for n in self.interior]
        sizes[-1] = math.ceil(sizes[-1] / ALIGNMENT) * ALIGNMENT
        return tuple(sizes)

    def seen(self, offset: Sequence[int]) -> tuple[int, ...]:
        """Cells of a wavefield that a user sees: those of the model and its layers, and one more where it is offset."""
        return tuple(n + o for n, o in zip(self.interior, offset, strict=True))

    def margins(self, offset: Sequence[int]) -> list[tuple[int, int]]:
        """Cells of the padded grid before and after those that a user sees, per axis.

        ``offset`` is 1 along the axes where a wavefield lies half a cell after the cell of its number. It then has one
        value more than there are cells: the first is half a cell before the first cell.
        """
        r = self.halo
        return [(r - o, total - n - r) for o, total, n in zip(offset, self.padded, self.interior, strict=True)]

    def to_padded(
        self, x: jax.Array, offset: Sequence[int] | None = None, without: Sequence[tuple[int, int]] = ()
    ) -> jax.Array:
        """A wavefield [shot, *cells], as a user sees it, on the padded grid; with zeros for what it has on the faces
        ``without``, (axis, side), which it must be offset along.
        """
        margins = self.margins(offset or (0,) * self.ndim)
        for axis, side in without:
            n, (before, after) = x.shape[axis + 1], margins[axis]
            x = lax.slice_in_dim(x, 1 - side, n - side, axis=axis + 1)
            margins[axis] = (before + 1 - side, after + side)
        return jnp.pad(x, [(0, 0), *margins])

    def from_padded(self, x: jax.Array, offset: Sequence[int] | None = None) -> jax.Array:
        """The part of a padded wavefield that a user sees."""
        offset = offset or (0,) * self.ndim
        return _cut(x, self.margins(offset), self.seen(offset))

    def memory_shape(self, memory: Memory) -> tuple[int, ...]:
        """Shape of a memory variable as users see it."""
        seen = self.seen(memory.offset)
        return tuple(memory.layer.size if axis == memory.axis else n for axis, n in enumerate(seen))

    def held_shape(self, memory: Memory) -> tuple[int, ...]:
        """Shape of a memory variable as it is held."""
        return tuple(memory.held.size if axis == memory.axis else n for axis, n in enumerate(self.padded))

    def to_held(self, x: jax.Array, memory: Memory) -> jax.Array:
        """A memory variable, as users see it, as it is held."""
        return jnp.pad(x, [(0, 0), *self._memory_margins(memory)])

    def from_held(self, x: jax.Array, memory: Memory) -> jax.Array:
        """The part of a memory variable that users see."""
        return _cut(x, self._memory_margins(memory), self.memory_shape(memory))

    def _memory_margins(self, memory: Memory) -> list[tuple[int, int]]:
        margins, layer, held = self.margins(memory.offset), memory.layer, memory.held
        margins[memory.axis] = (layer.start - held.start, held.stop - layer.stop)
        return margins

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, as centred differences see them: one for each face that has one."""
        r, found = self.halo, []
        for axis, widths in enumerate(self.faces):
            n = self.face(axis)
            for side, width in enumerate(widths):
                if width:
                    cells = Range(r, r + width) if side == 0 else Range(r + n - width, r + n)
                    reach = Range(max(r, cells.start - r), min(r + n, cells.stop + r))
                    extent = Range(reach.start - r, reach.stop + r)
                    found.append(Layer(axis, side, width, cells, reach, extent, self.has_face(axis, side)))
        return tuple(found)


def _cut(x: jax.Array, margins: Sequence[tuple[int, int]], sizes: Sequence[int]) -> jax.Array:
    """An array [shot, ...] without its margins."""
    return x[(slice(None), *(slice(lo, lo + n) for (lo, _), n in zip(margins, sizes, strict=True)))]


def pml_profile(
    width: int, spacing: float, dt: float, max_vel: float, pml_freq: float
) -> tuple[np.ndarray, np.ndarray]:
    """Profiles a and b of a complex-frequency-shifted convolutional PML, from the outer edge inwards.

    The memory variable of a derivative D obeys psi' = b psi + a D, with b = exp(-(sigma + alpha) dt) and
    a = sigma / (sigma + alpha) (b - 1); sigma grows quadratically to 3 max_vel ln(1000) / (2 L) over the width L, and
    alpha falls linearly from pi pml_freq at the inner edge to 0 at the outer one (Roden and Gedney, 2000, Microw. Opt.
    Technol. Lett. 27; Komatitsch and Martin, 2007, Geophysics 72; Pasalic and McGarry, 2010, SEG).

    Returns:
        a, b: float64 arrays [width].
    """
    return pml_profile_at(np.arange(width, 0, -1) / width, width, spacing, dt, max_vel, pml_freq)


def pml_profile_at(
    depth: np.ndarray, width: int, spacing: float, dt: float, max_vel: float, pml_freq: float, share: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """The profiles a and b at these depths, from 0 at the inner edge of a layer to 1 at its outermost cell.

    ``share`` is the part of sigma that is taken.
    """
    sigma = share * 3 * max_vel * math.log(1 / REFLECTION) / (2 * width * spacing) * depth**2
    alpha = math.pi * pml_freq * (1 - depth)
    b = np.exp(-(sigma + alpha) * dt)
    return sigma / (sigma + alpha) * (b - 1), b


def pml_profiles(
    grid: PaddedGrid, dt: float, max_vel: float, pml_freq: float, dtype: np.dtype
) -> tuple[dict[str, np.ndarray], ...]:
    """Profiles of every layer, laid out for the update: a and b over its ``extent`` and ``reach``.

    They are operands of the compiled loop rather than constants in it, so that a new maximum speed compiles nothing.
    """
    profiles = []
    for layer in grid.layers:
        a, b = pml_profile(layer.width, grid.spacing[layer.axis], dt, max_vel, pml_freq)
        if layer.side == 1:
            a, b = a[::-1], b[::-1]
        lines = {"a_layer": (a, layer.cells), "a_reach": (a, layer.reach), "b_reach": (b, layer.reach)}
        lines |= {"a_extent": (a, layer.extent), "b_extent": (b, layer.extent)}
        profiles.append({name: layer.line(x, over, grid.ndim, dtype) for name, (x, over) in lines.items()})
    return tuple(profiles)
