"""Shots on several devices: each propagates some of them, and what is exchanged is the sum of the gradients."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

__all__ = ["spread"]


def spread(survey: Any, mesh: Mesh | None = None, axis: str = "shots") -> Any:
    """A survey divided among devices by its shots: what ``jax.jit`` then compiles runs on all of them.

    JAX divides evenly. Where the shots do not, some are added that do nothing: their amplitudes and records are zeros,
    and their cells those of the last shot. They take time on devices that would wait otherwise, and add nothing to a
    sum of squares or a gradient.

    Args:
        survey: Arrays [shot, ...] or nested lists, or a pytree of them, such as a mapping of a propagator's arguments.
            Floats are amplitudes or records; integers are cells.
        mesh: The devices. Default: all that there are.
        axis: The axis of the mesh that the shots go along.

    Returns:
        The same tree, of arrays [shot, ...] that lie on the devices; with as many shots more as that takes.

    Raises:
        ValueError: If the arrays have not all the same number of shots, or the mesh has no such axis.

    Example:
        >>> import jax, jax.numpy as jnp, jaxwave
        >>> wavelet = jaxwave.wavelets.ricker(25.0, 100, 1e-3, 0.05)
        >>> survey = jaxwave.devices.spread(dict(
        ...     source_amplitudes=jnp.tile(wavelet, (4, 1, 1)),
        ...     source_locations=jnp.array([[[2, 10 * k]] for k in range(4)]),
        ...     receiver_locations=jnp.array([[[2, 5], [2, 35]]] * 4),
        ... ))
        >>> def energy(v, survey):
        ...     out = jaxwave.scalar(v, 5.0, 1e-3, max_vel=1500.0, pml_freq=25.0, **survey)
        ...     return jnp.sum(out.receiver_amplitudes ** 2)
        >>> jax.jit(jax.grad(energy))(jnp.full((30, 40), 1500.0), survey).shape
        (30, 40)
    """
    mesh = Mesh(np.array(jax.devices()), (axis,)) if mesh is None else mesh
    if axis not in mesh.axis_names:
        raise ValueError(f"`axis`={axis!r} is none of the mesh's axes, {mesh.axis_names}")
    survey = jax.tree.map(np.asarray, survey, is_leaf=lambda x: isinstance(x, list))
    counts = {x.shape[:1] for x in jax.tree.leaves(survey)}
    if len(counts) != 1 or () in counts:
        raise ValueError(f"all arrays must be [shot, ...] with one number of shots; got {sorted(counts)}")
    ((n_shots,),) = counts
    missing = -n_shots % mesh.shape[axis]
    where = NamedSharding(mesh, PartitionSpec(axis))

    def place(x: np.ndarray) -> Any:
        if missing and np.issubdtype(x.dtype, np.integer):
            x = np.concatenate([x, np.repeat(x[-1:], missing, axis=0)])
        elif missing:
            x = np.concatenate([x, np.zeros((missing, *x.shape[1:]), x.dtype)])
        return jax.device_put(x, where)

    return jax.tree.map(place, survey)
