"""Sources and receivers at any points of a model."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxwave._interpolation import arguments
from jaxwave._interpolation.cells import own_cells, shared_cells
from jaxwave._interpolation.rows import Rows, collect, spread
from jaxwave._interpolation.sinc import Windows
from jaxwave._interpolation.stencils import (
    Mirror,
    line_of_stencils,
    product,
    roles_along_axes,
    row_weights,
    traced_row_weights,
)
from jaxwave._jax_internals import is_traced
from jaxwave._setup import validate
from jaxwave._setup.survey import ignored


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True, init=False, eq=False)
class Hicks:
    """Sources or receivers at any points of a model: cells for a propagator, and the way to and from their amplitudes.

    ::

        receiver:  d[point] = sum over cells of weight[point, cell] record[cell]
        source:    amplitude[cell] = sum over points of weight[point, cell] f[point]

    The weights are those of a Kaiser-windowed sinc (:mod:`jaxwave._interpolation`), 2 ``half_width`` cells along each
    axis. A coordinate that is a whole number, but for rounding, takes one cell with weight 1, exactly. The two maps are
    transposes of each other. With the default ``beta`` the largest relative error of a wave of at least 4 cells per
    wavelength, along one axis, is 2.3e-2, 4.8e-3, 1.3e-3, 2.4e-4 and 4.9e-5 for half widths of 2 to 6.

    Cells that several points of a shot need are propagated once; shots with fewer cells are filled up with
    ``IGNORE_LOCATION``. That needs the values of ``locations``. Where they are traced (under ``jit`` or ``vmap``), each
    point has the (2 ``half_width`` + 1) ** ndim cells of its own window, and a point for which an error would have been
    raised has weights of NaN. Either way the maps can be differentiated with respect to ``locations``. At a whole
    coordinate, where the window's end makes a small kink, the derivative is the mean of those on the two sides.

    An object is a pytree of its arrays, all with shots first; index it with shots to get some of them, or
    one, which keeps its axis: ``hicks[[3, 5]]``, ``hicks[3]``.

    Args:
        locations: Points [shot, point, axis] in cells of the whole model, as floats: (z, y, x). A point with
            ``IGNORE_LOCATION`` in every coordinate injects nothing and records zeros.
        model_shape: Cells of the model, one number per axis: ``v.shape``, without an axis of shots.
        half_width: Cells of the window on each side. Default 4.
        beta: Shape of the Kaiser window. Default: the best for wavenumbers up to pi / 2 per cell, for half widths 1 to
            10. Smaller ones trade accuracy there for a wider band: 4.14 with a half width of 4 suits 3 cells per
            wavelength, with errors of 1e-2.
        dipole_axis: Axis along which the points are dipoles. A receiver then records the derivative of the field along
            it, per cell (divide by the cell size); a source injects the derivative of a point source with respect to
            its own position: the limit of two sources f / e and -f / e that are e cells apart, f further along.
            Default: monopoles.
        dipole_direction: A vector [axis] of any direction in place of an axis, or one for each point
            [shot, point, axis]. The derivative is the sum over the axes of its component times the derivative per
            cell: a unit vector divided by the cell size gives one per metre, and a vector of zeros nothing. It can be
            traced and differentiated, and then needs the cells of all axes.
        offset: Where the field lives within a cell, in cells, one number or one per axis: 0.5 along x for a field at
            x + 1/2 on a staggered grid. Locations remain those of the whole cells. Default 0.
        mirror: What the field does at each face: -1 if it is antisymmetric about a plane there, as a pressure at a free
            surface, 1 if it is symmetric, 0 if nothing is known. One number, or first and last face of each axis, as
            ``pml_width``. Weights of cells beyond the plane are added to those of their mirror images, with the sign.
            Default 0.
        mirror_plane: Coordinates of the planes, in the order of the faces; None for the default, which is one cell
            outside the model (-1 or n) for -1, where :func:`jaxwave.scalar` has u = 0 next to a face of ``pml_width``
            0 without a name in ``boundary``, and half a cell outside (-1/2 or n - 1/2) for 1. Faces that are "free" or
            "rigid" are half a cell outside. They must be at, or halfway between, cells of the field.

    Raises:
        TypeError, ValueError: If an argument is wrong; if a point needs cells that the model does not have, or lies
            beyond a mirror.

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> v = jnp.full((30, 40), 1500.0)
        >>> source = jaxwave.Hicks([[[2.3, 20.5]]], v.shape, mirror=[-1, 0, 0, 0])
        >>> receivers = jaxwave.Hicks([[[10, 12.25], [10, 12.75], [10, 13]]], v.shape)
        >>> f = jaxwave.wavelets.ricker(25.0, 100, 1e-3, 0.05).reshape(1, 1, -1)
        >>> out = jaxwave.scalar(
        ...     v, 5.0, 1e-3, source_amplitudes=source.source(f), source_locations=source.cells,
        ...     receiver_locations=receivers.cells, pml_width=[0, 20, 20, 20], pml_freq=25.0,
        ... )
        >>> out.receiver_amplitudes.shape, receivers.receiver(out.receiver_amplitudes).shape
        ((1, 8, 100), (1, 3, 100))

    Reference:
        G. J. Hicks, "Arbitrary source and receiver positioning in finite-difference schemes using Kaiser windowed sinc
        functions", Geophysics 67 (2002).
    """

    cells: jax.Array | np.ndarray
    """Locations for a propagator: integers [shot, cell, axis]."""
    rows: Rows
    """Which of these cells each point needs, and with which weights."""
    model_shape: tuple[int, ...]
    """Cells of the model along each axis."""

    def __init__(
        self,
        locations: ArrayLike,
        model_shape: Sequence[int],
        *,
        half_width: int = 4,
        beta: float | None = None,
        dipole_axis: int | None = None,
        dipole_direction: ArrayLike | None = None,
        offset: float | Sequence[float] = 0.0,
        mirror: int | Sequence[int] = 0,
        mirror_plane: Sequence[float | None] | None = None,
    ) -> None:
        x = arguments.locations(locations)
        shape = arguments.model_shape(model_shape, x.shape[-1])
        offsets = arguments.offsets(offset, len(shape))
        faces = arguments.mirrors(mirror, mirror_plane, offsets, shape)
        direction = arguments.direction(dipole_axis, dipole_direction, x.shape)
        cells, rows = _layout(x, direction, shape, offsets, faces, arguments.windows(half_width, beta))
        self._fill(cells, rows, shape)

    def _fill(self, cells: Any, rows: Rows, model_shape: tuple[int, ...]) -> None:
        for name, value in (("cells", cells), ("rows", rows), ("model_shape", model_shape)):
            object.__setattr__(self, name, value)  # the one time that a frozen object is written to

    @property
    def weights(self) -> jax.Array | np.ndarray:
        """Weights of each point's cells: [shot, point, entry]. Large, and made anew each time: to be looked at."""
        weights, along = self.rows.weights, self.rows.along
        return sum(product([weights[..., i], along[..., i]], operator.mul) for i in range(along.shape[-1]))

    @property
    def slots(self) -> jax.Array | np.ndarray:
        """Which of the shot's cells they are: [shot, point, entry]. The same holds."""
        return product([self.rows.first, self.rows.steps], operator.add)

    def source(self, amplitudes: ArrayLike) -> jax.Array:
        """Amplitudes of the cells, from those of the points.

        Args:
            amplitudes: Source time functions of the points [shot, point, nt]. Float32 or float64.

        Returns:
            ``source_amplitudes`` [shot, cell, nt] for ``source_locations=self.cells``, of the same dtype.

        Raises:
            TypeError, ValueError: If ``amplitudes`` is not such an array.
        """
        return self.cell_amplitudes("amplitudes", amplitudes)

    def cell_amplitudes(self, name: str, f: ArrayLike) -> jax.Array:
        """The same of what messages call ``name``."""
        f = validate.real_array(name, f)
        arguments.check_amplitudes(name, f, "point", self.rows.first.shape[:2])
        return spread(self.rows.astype(f.dtype), f, self.cells.shape[1])

    def receiver(self, amplitudes: ArrayLike) -> jax.Array:
        """Records of the points, from those of the cells.

        Args:
            amplitudes: ``receiver_amplitudes`` [shot, cell, nt] of ``receiver_locations=self.cells``.

        Returns:
            Records [shot, point, nt], of the same dtype.

        Raises:
            TypeError, ValueError: If ``amplitudes`` is not such an array.
        """
        records = validate.real_array("amplitudes", amplitudes)
        arguments.check_amplitudes("amplitudes", records, "cell", self.cells.shape[:2])
        return collect(self.rows.astype(records.dtype), records)

    def __getitem__(self, shots: Any) -> Hicks:
        """Some of the shots: a slice, their numbers, or one of them, which keeps its axis.

        Raises:
            TypeError: If it is none of these.
            IndexError: If there is no such shot.
        """
        if not isinstance(shots, slice):
            shots = arguments.shot_numbers(shots, self.cells.shape[0])
        take = jnp.asarray if is_traced(shots) else lambda x: x
        return jax.tree.map(lambda x: take(x)[shots], self)

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[int, ...]]:
        return (self.cells, self.rows), self.model_shape

    @classmethod
    def tree_unflatten(cls, model_shape: tuple[int, ...], leaves: Sequence[Any]) -> Hicks:
        new = object.__new__(cls)
        new._fill(*leaves, model_shape)
        return new


def _layout(
    x: Any,
    direction: Any,
    shape: tuple[int, ...],
    offsets: tuple[float, ...],
    faces: tuple[tuple[Mirror, Mirror], ...],
    windows: Windows,
) -> tuple[Any, Rows]:
    """Cells and rows of a :class:`Hicks`."""
    value = validate.concrete(x)
    known, fixed = value is not None, isinstance(x, np.ndarray) and not isinstance(direction, jax.Array)
    xp = np if known else jnp
    value = value if known else lax.stop_gradient(x)
    skip = ignored(value)
    shift = np.asarray(offsets, x.dtype)
    placed = _rounded(value, shift) if fixed else value - shift[None, None, :]
    placed = xp.where(skip[..., None], 0, placed)
    roles, r = roles_along_axes(direction, len(shape)), windows.monopole.half_width
    axes = tuple(axis for axis, role in enumerate(roles) if role.dipole.any())
    lines = [
        line_of_stencils(placed[..., axis], fixed, role, r, size, pair)
        for axis, (role, size, pair) in enumerate(zip(roles, shape, faces, strict=True))
    ]
    bad = functools.reduce(operator.or_, [line.bad for line in lines]) & ~skip
    if known:
        arguments.check_reach(value, bad, shape, r)
    if fixed:
        weights, along = row_weights(placed, direction, axes, lines, windows, np)
    else:
        weights, along = traced_row_weights(x, shift, skip, direction, axes, lines, windows)
    weights = (np if fixed else jnp).where(skip[..., None, None], 0, weights)
    if known:
        cells, first, steps = shared_cells(lines, ~skip, shape)
    else:
        cells, first, steps = own_cells(lines, ~skip)
        along = jnp.where(bad[..., None, None], jnp.nan, along)
    return cells, Rows(weights, along, first, steps)


def _rounded(x: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Coordinates in cells of the field, on a cell if they are within a few roundings of it, as 0.3 / 0.1 is."""
    precision = np.finfo(x.dtype).eps
    x = x.astype(np.float64) - shift[None, None, :]
    whole = np.rint(x)
    return np.where(abs(x - whole) <= 4 * precision * np.maximum(abs(x), 1), whole, x)
