"""Arrays: their dtypes, and that their ranks, shots and names agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import dtypes

from jaxwave._jax_internals import is_traced
from jaxwave._setup.names import Names
from jaxwave._setup.validate.values import concrete, first_true, is_many

RAGGED = "give all its parts the same length"
FEWER = (
    f"{RAGGED}: fill shots that have fewer than others up, locations with jaxwave.IGNORE_LOCATION in every coordinate "
    "and amplitudes with zeros"
)


def real_array(name: str, x: Any, ragged: str = RAGGED) -> jax.Array | np.ndarray:
    """A float32 or float64 array. What is not a JAX array yet stays with NumPy, so that its values are known under jit.

    Raises:
        TypeError: If it is anything else; integers too, since they have no derivative.
        ValueError: As :func:`array`.
    """
    x = array(name, x, ragged=ragged)
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"`{name}` must be a float32 or float64 array; got dtype {x.dtype}. {conversion(name, x)}")
    return x if isinstance(x, jax.Array) else np.asarray(x, dtypes.canonicalize_dtype(x.dtype))


def amplitudes(name: str, x: Any) -> jax.Array | np.ndarray:
    """A float32 or float64 array of amplitudes [shot, source, time]."""
    return real_array(name, x, FEWER)


def real_arrays(**given: Any) -> tuple[jax.Array, ...]:
    """Arguments of a helper as JAX arrays: float32, float64 or integers, which become floats.

    All get the type of the floats among them, the widest; integers alone that of JAX's default. A number of Python's
    remains one, so that it takes the type of the arrays that it meets.

    Raises:
        TypeError: If one is neither.
        ValueError: As :func:`array`.
    """
    numbers = {name: float(x) for name, x in given.items() if type(x) in (int, float)}
    arrays = {name: array(name, x) for name, x in given.items() if name not in numbers}
    whole = [name for name, x in arrays.items() if x.dtype.kind in "biu"]
    arrays |= {name: real_array(name, x) for name, x in arrays.items() if name not in whole}
    dtype = jnp.result_type(*[x for name, x in arrays.items() if name not in whole] or [float])
    arrays = {name: x if x.dtype == dtype else x.astype(dtype) for name, x in arrays.items()}
    return tuple(jnp.asarray((numbers | arrays)[name]) for name in given)


def numpy_values(name: str, x: Any) -> np.ndarray:
    """Real numbers of any type, whose values are known, in NumPy's double precision.

    Raises:
        TypeError: If they are not real, or traced.
        ValueError: As :func:`array`.
    """
    x = array(name, jax.lax.stop_gradient(x) if is_traced(x) else x)
    if is_traced(x):
        raise TypeError(
            f"the values of `{name}` are needed, which are not known inside jax.jit or jax.vmap; compute it outside "
            "and pass it in"
        )
    if x.dtype.kind not in "biu" and not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"`{name}` must be real numbers; got dtype {x.dtype}. {conversion(name, x)}")
    return np.asarray(x, float)


def array(name: str, x: Any, fill: str = "value", ragged: str = RAGGED) -> jax.Array | np.ndarray:
    """``x`` if it is an array already, of NumPy or JAX; else a NumPy array made of it.

    Args:
        name: What it is.
        x: An array, or nested sequences.
        fill: What masked values may be filled with.
        ragged: What to do about parts of different lengths.

    Raises:
        ValueError: If it is ragged, or some of its values are masked: an array without the mask would hold whatever is
            under it.
    """
    if isinstance(x, jax.Array):
        return x
    if isinstance(x, list | tuple) and any(map(np.ma.is_masked, x)):
        x = np.ma.stack(x)
    if np.ma.is_masked(x):
        where = first_true(np.ma.getmaskarray(x))
        raise ValueError(
            f"`{name}` has {np.ma.count_masked(x)} masked values, the first at index {where}; say what they are, "
            f"e.g. with {name}.filled({fill})"
        )
    try:
        return np.asarray(x)
    except jax.errors.TracerArrayConversionError:
        return jnp.asarray(x)  # a list of traced numbers
    except ValueError as error:
        raise ValueError(f"`{name}` cannot be made into an array ({error}); {ragged}") from None


def conversion(name: str, x: Any) -> str:
    """How to convert an array of another type, or of something else than real numbers."""
    kind = x.dtype.kind
    if kind == "c":
        return f"Give its real part, {name}.real, or its magnitude, abs({name})"
    if kind in "SU":
        return f"Read the file first, e.g. with jaxwave.io.load_model({name})"
    if kind == "O":
        return f"Fill in what is missing, and make numbers of it, e.g. np.array({name}.tolist(), np.float32)"
    module = "jnp" if isinstance(x, jax.Array) else "np"
    return f"Convert it, e.g. {name}.astype({module}.float32), or {module}.asarray({name}, {module}.float32) of a list"


def same_dtype(**arrays: Any) -> jnp.dtype:
    """The dtype that all given arrays share."""
    found = {name: x.dtype for name, x in arrays.items() if x is not None}
    if len(set(found.values())) > 1:
        listed = ", ".join(f"{name} is {dtype}" for name, dtype in found.items())
        raise TypeError(f"arrays of mixed dtypes: {listed}. Convert them to one dtype")
    return next(iter(found.values()))


def locations(name: str, x: Any, spacing: str) -> jax.Array | np.ndarray:
    """An integer array [shot, point, axis], of at least 32 bits so that cell numbers can be added to it.

    Args:
        name: What it is.
        x: An array, or nested sequences.
        spacing: What the cell size is called.
    """
    x = array(name, x, "jaxwave.IGNORE_LOCATION", FEWER)
    if x.size == 0 and x.ndim != 3:
        raise ValueError(
            f"`{name}` is empty, of shape {x.shape}; leave it out, or give an array of shape [shot, 0, axis] if there "
            "are none, such as np.zeros((1, 0, 2), int)"
        )
    if x.size and not np.issubdtype(x.dtype, np.integer):
        raise TypeError(
            f"`{name}` must be an integer array of cell numbers, not metres; got dtype {x.dtype}. "
            f"{_cells(name, x, spacing)}"
        )
    if x.ndim != 3:
        raise ValueError(f"`{name}` must have shape [shot, point, axis]; got shape {x.shape}")
    if x.dtype in (np.int32, np.int64):
        return x
    return x.astype(np.int32) if isinstance(x, jax.Array) else x.astype(np.int64)


def _cells(name: str, x: Any, spacing: str) -> str:
    """How to make integer cells of another array."""
    module = "jnp" if isinstance(x, jax.Array) else "np"
    if x.dtype.kind == "b":
        return f"Of a mask of the model's cells: {module}.argwhere({name})[None]"
    if x.dtype.kind in "fV":
        return (
            f"Round metres to the nearest cell with {module}.rint({module}.divide({name}, {spacing})).astype(int) "
            f"and cells with {module}.rint({name}).astype(int), or place points between the cells with jaxwave.Hicks"
        )
    return f"Make whole numbers of it, e.g. np.array({name}, int)"


def dimensions(
    models: Mapping[str, Any], spacing: Any, placed: Sequence[Any], fields: Sequence[Any], names: Names
) -> int:
    """The number of space dimensions: from the locations, the spacing or initial wavefields, else the models' rank."""
    first, model = next(iter(models.items()))
    if placed:
        ndim, source = placed[0].shape[-1], f"locations have {placed[0].shape[-1]} coordinates (their last axis)"
    elif is_many(spacing):
        ndim, source = len(spacing), f"`{names.spacing}` has {len(spacing)} values"
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


def same_model(name: str, shape: tuple[int, ...], models: Mapping[str, Any]) -> None:
    """Checks that points between the cells, of a model of this shape, are of the models that they are used with."""
    model, x = next(iter(models.items()))
    cells = x.shape[-len(shape) :]
    if cells != shape:
        raise ValueError(
            f"`{name}` was made for a model of {shape} cells, but `{model}` has {cells}: its cells and weights are of "
            f"that model. Make it for this one, as jaxwave.Hicks(locations, {cells})"
        )


def least_dimensions(physics: str, ndim: int, known: Sequence[int]) -> None:
    """Checks that an equation exists in so many dimensions."""
    if ndim not in known:
        raise ValueError(f"the {physics} equation is for {' or '.join(map(str, known))} dimensions; got {ndim}")


def kinds(what: str, given: Mapping[str, Any], known: Sequence[str], ndim: int) -> None:
    """Checks that the kinds of sources or receivers exist in so many dimensions."""
    for kind in given:
        if kind not in known and tuple(known) == ("",):
            raise ValueError(
                f"there is no {what} of kind {kind!r}: this equation has a single kind, without a name; give "
                f"{'a pair (amplitudes, locations)' if what == 'source' else 'the locations'} in place of a mapping"
            )
        if kind not in known:
            if not kind:
                parts = "(amplitudes, locations)" if what == "source" else "locations"
                raise ValueError(
                    f"{what}s of this equation are of several kinds; give a mapping from kinds to them, such as "
                    f"{what}s={{{known[0]!r}: {parts}}}"
                )
            raise ValueError(
                f"there is no {what} of kind {kind!r} in {ndim} dimensions; use {', '.join(map(repr, known))} "
                "(components are named z, y, x from the slowest axis to the fastest: y and x in 2-D, x in 1-D)"
            )


def field_names(given: Mapping[str, Any], known: Mapping[str, Any], ndim: int) -> None:
    """Checks that the initial wavefields exist in so many dimensions."""
    for name in given:
        if name not in known:
            raise ValueError(f"there is no wavefield `{name}` in {ndim} dimensions; there are {', '.join(known)}")


def field_ranks(ndim: int, fields: Mapping[str, Any], names: Names) -> None:
    """Checks that initial wavefields have an axis of shots and one per dimension."""
    for name, x in fields.items():
        if x is not None and x.ndim != ndim + 1:
            raise ValueError(
                f"`{names.fields(name)}` must have {ndim + 1} dimensions, the shots and {ndim} of space; got shape "
                f"{x.shape}"
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


def state(given: Any, groups: Sequence[str], name: str) -> None:
    """Checks that a state has the memory variables of an equation, whose groups have these names."""
    if not all(hasattr(given, part) for part in ("wavefields", "memory", "last_sources")):
        raise TypeError(f"`{name}` must be the state of an earlier result, `result.state`; got {type(given).__name__}")
    if set(given.memory) != set(groups):
        raise ValueError(
            f"`{name}` is of another equation: its memory variables are {', '.join(given.memory) or 'none'}, those of "
            f"this one {', '.join(groups) or 'none'}"
        )


def old_state(initial_state: Any, parts: Sequence[str]) -> None:
    """Checks that ``initial_state`` has the parts of a state."""
    if not all(hasattr(initial_state, part) for part in parts):
        raise TypeError(
            f"`initial_state` must be the state of an earlier result, e.g. `result.state`, with the parts "
            f"{', '.join(parts)}; got {type(initial_state).__name__}"
        )


def same_substeps(given: Any, last: Any, step_ratio: int, name: str) -> None:
    """Checks that a state is of a run with as many sub-steps; ``last`` are the last samples of that run's sources."""
    before = 1 if last is None else last.step_ratio
    if given is not None and before != step_ratio:
        raise ValueError(
            f"`{name}` is of a run with {_divided(before)}, but this run has {_divided(step_ratio)}: its "
            "wavefields are another step apart. Give the `dt` and the `max_vel` of that run (result.info.max_vel)"
        )


def _divided(step_ratio: int) -> str:
    return f"{step_ratio} sub-steps a time step" if step_ratio > 1 else "no sub-steps"


def source_goes_on(samples: Mapping[str, Any], n_samples: int, amplitudes: Mapping[str, Any], names: Names) -> None:
    """Checks that the sources whose last samples a state has go on."""
    for kind, x in samples.items():
        word = f"of kind {kind!r} " if kind else ""
        f = amplitudes.get(kind)
        if f is None and not np.any(concrete(x) if concrete(x) is not None else x.size):
            continue
        if f is None:
            raise ValueError(
                f"the run that `{names.state}` is of had {x.shape[1]} sources {word}and sub-steps, so their last "
                "samples count in this run too, which has none. Give them at the same places, with amplitudes of zeros "
                "where they have ended"
            )
        if x.shape != (*f.shape[:2], n_samples):
            raise ValueError(
                f"`{names.state}` has the last samples of sources {word}of shape {x.shape} (shots, sources, samples); "
                f"this run needs {(*f.shape[:2], n_samples)}. Give the same sources, in the same order"
            )
        same_dtype(**{names.amplitudes(kind): f, f"the samples of {names.state}": x})
