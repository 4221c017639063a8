"""Arrays: their dtypes, and that their ranks, shots and names agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import dtypes

from jaxwave.validate.values import concrete, is_many


def real_array(name: str, x: Any) -> jax.Array | np.ndarray:
    """A float32 or float64 array. What is not a JAX array yet stays with NumPy, so that its values are known under jit.

    Raises:
        TypeError: If it is anything else; integers too, since they have no derivative.
    """
    x = _array(name, x)
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"`{name}` must be a float32 or float64 array; got dtype {x.dtype}. Convert it, e.g. "
            f"{name}.astype(jnp.float32)"
        )
    return x if isinstance(x, jax.Array) else np.asarray(x, dtypes.canonicalize_dtype(x.dtype))


def _array(name: str, x: Any) -> Any:
    """``x`` if it is an array already, of NumPy or JAX; else one made of it."""
    if hasattr(x, "dtype"):
        return x
    try:
        return np.asarray(x)
    except ValueError as error:
        raise ValueError(
            f"`{name}` cannot be made into an array ({error}); give all its parts the same length"
        ) from None


def same_dtype(**arrays: jax.Array | None) -> jnp.dtype:
    """The dtype that all given arrays share."""
    found = {name: x.dtype for name, x in arrays.items() if x is not None}
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{name} is {dtype}" for name, dtype in found.items())
        raise TypeError(f"arrays of mixed dtypes: {listed}. Convert them to one dtype")
    return next(iter(found.values()))


def locations(name: str, x: Any) -> jax.Array | np.ndarray:
    """An integer array [shot, point, axis], of at least 32 bits so that cell numbers can be added to it."""
    x = _array(name, x)
    if not np.issubdtype(x.dtype, np.integer):
        raise TypeError(
            f"`{name}` must be an integer array of cell numbers; got dtype {x.dtype}. Use {name}.astype(int)"
        )
    if x.ndim != 3:
        raise ValueError(f"`{name}` must have shape [shot, point, axis]; got shape {x.shape}")
    if x.dtype in (np.int32, np.int64):
        return x
    return x.astype(np.int32) if isinstance(x, jax.Array) else x.astype(np.int64)


def dimensions(models: Mapping[str, Any], grid_spacing: Any, placed: Sequence[Any], fields: Sequence[Any]) -> int:
    """The number of space dimensions: from the locations, the spacing or initial wavefields, else the models' rank."""
    first, model = next(iter(models.items()))
    if placed:
        ndim, source = placed[0].shape[-1], f"locations have {placed[0].shape[-1]} coordinates (their last axis)"
    elif is_many(grid_spacing):
        ndim, source = len(grid_spacing), f"`grid_spacing` has {len(grid_spacing)} values"
    elif fields:
        ndim, source = fields[0].ndim - 1, f"initial wavefields have shape {fields[0].shape}, shots first"
    else:
        ndim, source = min(x.ndim for x in models.values()), f"`{first}` has shape {model.shape}"
    if ndim not in (1, 2, 3):
        raise ValueError(f"waves propagate in 1, 2 or 3 dimensions; {source}")
    for name, x in models.items():
        if x.ndim not in (ndim, ndim + 1):
            raise ValueError(
                f"`{name}` must have {ndim} dimensions, or {ndim + 1} with one model per shot, because {source}; got "
                f"shape {x.shape}"
            )
        if x.shape[-ndim:] != model.shape[-ndim:]:
            raise ValueError(
                f"all models must have the same cells; `{first}` has {model.shape[-ndim:]}, `{name}` {x.shape[-ndim:]}"
            )
    return ndim


def least_dimensions(physics: str, ndim: int, known: Sequence[int]) -> None:
    """Checks that an equation exists in so many dimensions."""
    if ndim not in known:
        raise ValueError(f"the {physics} equation is for {' or '.join(map(str, known))} dimensions; got {ndim}")


def kinds(what: str, given: Mapping[str, Any], known: Sequence[str], ndim: int) -> None:
    """Checks that the kinds of sources or receivers exist in so many dimensions."""
    for kind in given:
        if kind not in known:
            raise ValueError(
                f"there is no {what} of kind {kind!r} in {ndim} dimensions; use {', '.join(map(repr, known))} "
                "(components are named z, y, x from the slowest axis to the fastest: y and x in 2-D, x in 1-D)"
            )


def field_names(given: Mapping[str, Any], known: Mapping[str, Any], ndim: int) -> None:
    """Checks that the initial wavefields exist in so many dimensions."""
    for name in given:
        if name not in known:
            raise ValueError(f"there is no wavefield `{name}` in {ndim} dimensions; there are {', '.join(known)}")


def field_ranks(ndim: int, **fields: Any) -> None:
    """Checks that initial wavefields have an axis of shots and one per dimension."""
    for name, x in fields.items():
        if x is not None and x.ndim != ndim + 1:
            raise ValueError(
                f"`{name}` must have {ndim + 1} dimensions, the shots and {ndim} of space; got shape {x.shape}"
            )


def shots(**arrays: Any) -> int:
    """The number of shots, which all given arrays (shots leading) share; 1 if there are none."""
    found = {name: x.shape[0] for name, x in arrays.items() if x is not None}
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{name} has {n}" for name, n in found.items())
        raise ValueError(f"the number of shots (first axis) differs: {listed}")
    n_shots = next(iter(found.values()), 1)
    if n_shots == 0:
        raise ValueError(f"there must be at least one shot; got none in {', '.join(found)}")
    return n_shots


def model_shots(models: Mapping[str, Any], ndim: int, n_shots: int) -> None:
    """Checks that there is one model, or one per shot, and that it has cells."""
    for name, x in models.items():
        if x.ndim == ndim + 1 and x.shape[0] not in (1, n_shots):
            raise ValueError(
                f"`{name}` has {x.shape[0]} models, but there are {n_shots} shots; give one model, or one per shot"
            )
        if 0 in x.shape:
            raise ValueError(f"`{name}` must have at least one cell along each axis; got shape {x.shape}")


def state(initial_state: Any, parts: Sequence[str]) -> None:
    """Checks that ``initial_state`` has the parts of a state."""
    if not all(hasattr(initial_state, part) for part in parts):
        raise TypeError(
            f"`initial_state` must be the state of an earlier result, e.g. `result.state`, with the parts "
            f"{', '.join(parts)}; got {type(initial_state).__name__}"
        )


def same_substeps(initial_state: Any, last: Any, step_ratio: int) -> None:
    """Checks that a state is of a run with as many sub-steps; ``last`` is what it has of that run's sources."""
    before = 1 if last is None else last.step_ratio
    if initial_state is not None and before != step_ratio:
        raise ValueError(
            f"`initial_state` is of a run with {_divided(before)}, but this run has {_divided(step_ratio)}: its "
            "wavefields are another step apart. Give the `dt` and the `max_vel` of that run (result.info.max_vel)"
        )


def _divided(step_ratio: int) -> str:
    return f"{step_ratio} sub-steps a time step" if step_ratio > 1 else "no sub-steps"


def source_goes_on(samples: Mapping[str, Any], n_samples: int, amplitudes: Mapping[str, Any]) -> None:
    """Checks that the sources whose last samples a state has go on."""
    for kind, x in samples.items():
        word = f"of kind {kind!r} " if kind else ""
        f = amplitudes.get(kind)
        if f is None and not np.any(concrete(x) if concrete(x) is not None else x.size):
            continue
        if f is None:
            raise ValueError(
                f"the run that `initial_state` is of had {x.shape[1]} sources {word}and sub-steps, so their last "
                "samples count in this run too, which has none. Give them at the same places, with amplitudes of zeros "
                "where they have ended"
            )
        if x.shape != (*f.shape[:2], n_samples):
            raise ValueError(
                f"`initial_state` has the last samples of sources {word}of shape {x.shape} (shots, sources, samples); "
                f"this run needs {(*f.shape[:2], n_samples)}. Give the same sources, in the same order"
            )
        same_dtype(**{"source_amplitudes": f, "the samples of initial_state": x})
