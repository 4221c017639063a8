"""One model over several devices: each propagates a part of the grid and exchanges what lies next to a cut.

The whole problem is set up as for one device, and JAX divides that as it does any program. The time loop runs within
``shard_map``: :func:`propagate_parts` cuts its operands into parts, each with a halo for what its neighbours have, and
puts what comes out together again.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AbstractMesh, Mesh
from jax.sharding import PartitionSpec as P

from jaxwave._numerics.boundary import PaddedGrid
from jaxwave._numerics.cuts import Cut
from jaxwave._setup.embedding import Arrays, Setup, first_state, pad_inputs
from jaxwave._setup.pieces import Pieces, of_field, of_memory
from jaxwave._setup.sharded import automatic
from jaxwave._timeloop.chunks import Plan, RunInputs
from jaxwave._timeloop.rules import propagate
from jaxwave.equations.base import Equation, Operands


@dataclasses.dataclass(frozen=True)
class Decomposition:
    """How one model is divided among the devices of a mesh.

    A part holds its wavefields, layers and history. Before each derivative along a cut axis, ``accuracy / 2`` cells are
    exchanged with either neighbour.

    Attributes:
        mesh: The devices.
        axes: For each axis of the model, from the slowest, the axis of the mesh that it is cut along; None: it is not.
        shots: The axis of the mesh that shots are divided along. None: all devices of a part propagate all.

    Example:
        >>> import jax, jax.numpy as jnp, jaxwave, numpy as np
        >>> mesh = jax.sharding.Mesh(np.array(jax.devices()), ("z",))
        >>> out = jaxwave.simulate(
        ...     jaxwave.Scalar(jnp.full((40, 50), 1500.0)), jaxwave.Grid(5.0), 1e-3,
        ...     sources=(jaxwave.wavelets.ricker(25.0, 100, 1e-3, 0.05).reshape(1, 1, -1), [[[2, 20]]]),
        ...     receivers=[[[2, 10], [30, 30]]], decomposition=jaxwave.Decomposition(mesh, ("z", None)),
        ... )
        >>> out.records[""].shape
        (1, 2, 100)
    """

    mesh: Mesh | AbstractMesh
    axes: tuple[str | None, ...]
    shots: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.mesh, Mesh | AbstractMesh):
            object.__setattr__(self, "mesh", automatic(self.mesh))

    @property
    def cut_axes(self) -> tuple[int, ...]:
        """The model's axes that are cut."""
        return tuple(axis for axis, name in enumerate(self.axes) if name is not None)

    @property
    def names(self) -> tuple[str, ...]:
        """The mesh axes that the model is cut along."""
        return tuple(name for name in self.axes if name is not None)

    def part(self, grid: PaddedGrid, index: Sequence[int] | None = None) -> PaddedGrid:
        """The grid of a part: of any, or of the one with these numbers along the axes that are cut."""
        cuts, shape = [], list(grid.shape)
        numbers = iter(index) if index is not None else None
        for axis, name in enumerate(self.axes):
            if name is None:
                cuts.append(None)
                continue
            parts = self.mesh.shape[name]
            cells = -(-grid.interior[axis] // parts)
            shape[axis] = cells - sum(grid.faces[axis])
            number = None if numbers is None else next(numbers)
            cuts.append(Cut(name, parts, cells * parts - grid.interior[axis], number))
        return dataclasses.replace(grid, shape=tuple(shape), cuts=tuple(cuts))

    def part_of(self, equation: Equation, index: Sequence[int] | None = None) -> Any:
        """The equation on the grid of a part."""
        return equation.on(self.part(equation.grid, index))


@functools.lru_cache(maxsize=8)
def profiles_of_parts(
    decomposition: Decomposition, equation: Equation, dt: float, max_vel: float, pml_freq: float, dtype: np.dtype
) -> Any:
    """The profiles of the layers of all parts, one after the other, as NumPy arrays [part, ...]."""
    every = np.ndindex(*(decomposition.mesh.shape[name] for name in decomposition.names))
    parts = [decomposition.part_of(equation, i).profiles(dt, max_vel, pml_freq, dtype) for i in every]
    return jax.tree.map(lambda *x: np.stack(x), *parts)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def propagate_parts(decomposition: Decomposition, setup: Setup, plan: Plan, arrays: Arrays, layers: Any):
    """Runs an equation in parts; ``layers`` are :func:`profiles_of_parts`.

    Returns:
        The cells of the receivers, the weights of the records, the records [nt, shot, receiver] and the final state, as
        of a run on one device.
    """
    m, operands, weights, amplitudes, x = pad_inputs(setup, arrays)
    part = decomposition.part_of(plan.equation)
    shots = decomposition.shots
    of_m = [of_field(decomposition.axes, setup.grid, part.grid, c.shape, shots) for c in m]
    of_x = _of_state(decomposition, setup, part.grid)
    begins_at_rest = not arrays.fields and arrays.memory is None
    given = None if begins_at_rest else _cut(of_x, setup.equation.unpack(x))
    local = setup_of_part(decomposition, setup)

    def run(m, cells, amplitudes, given, layers):
        m = tuple(pieces.build(c) for pieces, c in zip(of_m, m, strict=True))
        (sources, of_source), (receivers, of_receiver) = (_in_part(decomposition, part.grid, c) for c in cells)
        if given is None:
            x = first_state(local, m, dtype=m[0].dtype)
        else:
            fields, memory = jax.tree.map(lambda pieces, x: pieces.build(x), of_x, given, is_leaf=_is_pieces)
            x = part.pack(fields, memory)
        operands = Operands(sources, receivers, jax.tree.map(lambda line: line[0], layers))
        inputs = RunInputs(m, operands, [], jnp.where(of_source, amplitudes, 0), x)
        data, x = propagate(inputs, dataclasses.replace(plan, equation=part))
        # A receiver is in one part; what the others read at the cell in its place does not count.
        data = lax.psum(jnp.where(of_receiver, data, 0), decomposition.names)
        taken = jax.tree.map(lambda pieces, x: pieces.take(x), of_x, part.unpack(x), is_leaf=_is_pieces)
        return data, taken

    specs_of_x = jax.tree.map(lambda pieces: pieces.specs, of_x, is_leaf=_is_pieces)
    divided = jax.shard_map(
        run,
        mesh=decomposition.mesh,
        in_specs=(
            [pieces.specs for pieces in of_m], P(shots), P(None, shots),
            None if given is None else specs_of_x, P(decomposition.names),
        ),
        out_specs=(P(None, shots), specs_of_x),
    )  # fmt: skip
    found = [pieces.cut(c) for pieces, c in zip(of_m, m, strict=True)]
    data, taken = divided(found, (operands.sources, operands.receivers), amplitudes, given, layers)
    fields, memory = jax.tree.map(lambda pieces, x: pieces.join(x), of_x, taken, is_leaf=_is_pieces)
    return operands.receivers, weights, data, setup.equation.pack(fields, memory)


def setup_of_part(decomposition: Decomposition, setup: Setup) -> Setup:
    """What is static about the run of one part."""
    n_shots = setup.n_shots // _size(decomposition.mesh, decomposition.shots)
    return dataclasses.replace(setup, equation=decomposition.part_of(setup.equation), n_shots=n_shots)


def _of_state(decomposition: Decomposition, setup: Setup, part: PaddedGrid) -> Any:
    """How the wavefields and memory variables of a state are cut: a :class:`Pieces` for each."""
    equation, grid, axes = setup.equation, setup.grid, decomposition.axes
    shape = (setup.n_shots, *grid.padded)
    fields = tuple(
        of_field(axes, grid, part, shape, decomposition.shots, offset)
        for offset in equation.wavefield_offsets(grid.ndim).values()
    )
    mine = equation.on(part).memory()
    memory = tuple(
        tuple(of_memory(axes, grid, part, q, p, setup.n_shots, decomposition.shots)
              for q, p in zip(group, group_of_part, strict=True))
        for group, group_of_part in zip(equation.memory(), mine, strict=True)
    )  # fmt: skip
    return fields, memory


def _cut(of_x: Any, x: Any) -> Any:
    return jax.tree.map(lambda pieces, x: pieces.cut(x), of_x, tuple(x), is_leaf=_is_pieces)


def _is_pieces(x: Any) -> bool:
    return isinstance(x, Pieces)


def _size(mesh: Mesh | AbstractMesh, name: str | None) -> int:
    return 1 if name is None else mesh.shape[name]


def _in_part(decomposition: Decomposition, part: PaddedGrid, points: Mapping[str, tuple[jax.Array, ...]]):
    """Cells of the whole grid as those of this part, by kind, and which of all [shot, point] are in it. Others are at
    its first cell.
    """
    found, inside = {}, []
    for kind, cells in points.items():
        moved, here = list(cells), jnp.ones(cells[0].shape, bool)
        for axis in decomposition.cut_axes:
            n = part.interior[axis]
            moved[axis] = cells[axis] - n * lax.axis_index(decomposition.axes[axis]).astype(cells[axis].dtype)
            here &= (moved[axis] >= part.halo) & (moved[axis] < part.halo + n)
        found[kind] = tuple(jnp.where(here, c, part.halo) for c in moved)
        inside.append(here)
    return found, jnp.concatenate(inside, axis=1)[None] if inside else jnp.ones((), bool)


def check(decomposition: Decomposition, setup: Setup, plan: Plan) -> None:
    """Checks that a problem can be divided so.

    Raises:
        TypeError: If it is no :class:`Decomposition`.
        ValueError: If the mesh has no such axes, parts are too thin, or an axis that is cut has faces that reflect.
        NotImplementedError: If the equation or what was asked for cannot be divided.
    """
    if not isinstance(decomposition, Decomposition):
        raise TypeError(
            "`decomposition` must be a jaxwave.Decomposition, e.g. jaxwave.Decomposition(mesh, ('z', None)); got "
            f"{type(decomposition).__name__}"
        )
    grid, mesh, equation = setup.grid, decomposition.mesh, plan.equation
    used = [name for name in (*decomposition.axes, decomposition.shots) if name is not None]
    if len(decomposition.axes) != grid.ndim or not decomposition.names:
        raise ValueError(
            f"`decomposition.axes` must name a mesh axis, or None, for each of the {grid.ndim} axes of the model, and "
            f"cut at least one; got {decomposition.axes}"
        )
    if len(set(used)) < len(used) or not set(used) <= set(mesh.axis_names):
        raise ValueError(
            f"`decomposition` must name different axes of its mesh, which has {mesh.axis_names}; got axes="
            f"{decomposition.axes}, shots={decomposition.shots!r}"
        )
    if not equation.divisible:
        raise NotImplementedError(
            f"{type(equation).__name__} cannot be divided: its step does not exchange what it differentiates, which "
            "those of a scalar equation and of a jaxwave.LeapfrogEquation without averages do. Divide the shots "
            "instead: jaxwave.devices.spread"
        )
    if plan.observer:
        raise NotImplementedError("`callbacks` see whole wavefields; leave them out with `decomposition`")
    n_devices = _size(mesh, decomposition.shots)
    if setup.n_shots % n_devices:
        raise ValueError(
            f"{setup.n_shots} shots do not divide evenly among {n_devices} devices along {decomposition.shots!r}; add "
            "shots without amplitude, as jaxwave.devices.spread does, or leave `shots` out"
        )
    _check_axes(decomposition, grid)


def _check_axes(decomposition: Decomposition, grid: PaddedGrid) -> None:
    part = decomposition.part(grid)
    for axis in decomposition.cut_axes:
        kinds, parts = grid.ends[axis], decomposition.mesh.shape[decomposition.axes[axis]]
        if any(kind not in (None, "pml") for kind in kinds):
            raise NotImplementedError(
                f"axis {axis} cannot be cut: its faces are {kinds}, and only absorbing layers and plain faces can be "
                "along an axis that is cut. Cut another axis"
            )
        least = sum(grid.faces[axis]) + grid.accuracy
        if parts > 1 and part.face(axis) < least:
            n = grid.interior[axis]
            enough = next(k for k in range(parts - 1, 0, -1) if k == 1 or n - (k - 1) * -(-n // k) >= least)
            raise ValueError(
                f"{n} cells along axis {axis}, with its layers, are too few for {parts} parts: each needs {least} "
                f"(both layers and the stencil's {grid.accuracy}), and the last would have {part.face(axis)}. Use at "
                f"most {enough} parts, thinner layers, or cut another axis"
            )
