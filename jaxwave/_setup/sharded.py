"""Arrays on a mesh with explicit axes, where the type of an array says how it is divided, as that of ``jax.make_mesh``.

What a propagator does to such arrays is left to the compiler, as on a mesh with automatic axes; what it returns says
again how it is divided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh
from jax.sharding import PartitionSpec as P

from jaxwave._setup.embedding import Arrays


def with_automatic_axes(outputs: Callable[[Arrays], tuple[Any, ...]], arrays: Arrays) -> Callable[[Arrays], Any]:
    """A function of the arrays of a call, for arrays on whatever mesh.

    Args:
        outputs: Returns three pytrees of arrays [shot, ...], and a number.
        arrays: What it will be called with.
    """
    mesh = _explicit_mesh(jax.tree.leaves(arrays))
    if mesh is None:
        return outputs
    shots = P(_axis_of_shots([arrays.amplitudes, arrays.sources, arrays.receivers, arrays.fields]))

    def call(arrays: Arrays) -> Any:
        with jax.sharding.use_abstract_mesh(mesh):
            return jax.sharding.auto_axes(outputs, out_sharding=(shots, shots, shots, P()))(arrays)

    return call


def automatic(mesh: Mesh | AbstractMesh) -> Any:
    """The same mesh with automatic axes."""
    types = (AxisType.Auto,) * len(mesh.axis_names)
    if isinstance(mesh, Mesh):
        return Mesh(mesh.devices, mesh.axis_names, axis_types=types)
    return AbstractMesh(mesh.axis_sizes, mesh.axis_names, axis_types=types)


def _explicit_mesh(leaves: Sequence[Any]) -> Any:
    """The mesh with explicit axes that arrays are on or that is set, if any."""
    meshes = [jax.sharding.get_abstract_mesh(), *(jax.typeof(x).sharding.mesh for x in leaves)]
    return next((mesh for mesh in meshes if AxisType.Explicit in mesh.axis_types), None)


def _axis_of_shots(parts: Sequence[Mapping[str, Any]]) -> Any:
    """The mesh axis that the shots go along, if any."""
    specs = (jax.typeof(x).sharding.spec for x in jax.tree.leaves(parts))
    return next((spec[0] for spec in specs if spec and spec[0] is not None), None)
