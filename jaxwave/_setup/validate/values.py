"""One value at a time: numbers, flags, paths, functions, and whether a value is known at all."""

from __future__ import annotations

import decimal
import math
import numbers
import operator
import os
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax

from jaxwave._jax_internals import is_traced


def concrete(x: Any) -> np.ndarray | None:
    """The value of an array as NumPy, also while it is being differentiated.

    None if it is traced, or if other processes hold parts of it.
    """
    if is_traced(x):
        x = lax.stop_gradient(x)
    return None if is_traced(x) or not getattr(x, "is_fully_addressable", True) else np.asarray(x)


def surely_false(flag: Any) -> bool:
    """Whether a flag is known, and false."""
    value = concrete(flag)
    return value is not None and not bool(value)


def number(name: str, x: Any) -> float:
    """A real number, of Python, NumPy or JAX, as Python's."""
    if is_traced(x):
        raise TypeError(f"`{name}` must be a number, not a traced value: it is part of the compiled program")
    is_array = isinstance(x, jax.Array | np.ndarray) and x.ndim == 0 and x.dtype.kind in "iuf"
    if isinstance(x, bool) or np.ma.is_masked(x) or not (isinstance(x, numbers.Real) or is_array):
        raise TypeError(f"`{name}` must be a number; got {x!r}")
    return float(x)


def positive(name: str, x: Any) -> float:
    """A positive, finite number."""
    x = number(name, x)
    if not (math.isfinite(x) and x > 0):
        raise ValueError(f"`{name}` must be positive and finite; got {x:g}")
    return x


def at_most(x: float) -> str:
    """``x`` rounded down to six digits, for a message that gives an upper limit."""
    return f"{decimal.Context(prec=6, rounding=decimal.ROUND_FLOOR).create_decimal_from_float(x):g}"


def at_least(x: float) -> str:
    """``x`` rounded up to six digits, for a message that gives a lower limit."""
    return f"{decimal.Context(prec=6, rounding=decimal.ROUND_CEILING).create_decimal_from_float(x):g}"


def whole(name: str, x: Any, least: int) -> int:
    """An integer of at least ``least``, of Python, NumPy or JAX, as Python's."""
    try:
        n = None if isinstance(x, bool) or np.ma.is_masked(x) else operator.index(x)
    except TypeError:  # a traced integer's too
        n = None
    if n is None:
        raise TypeError(f"`{name}` must be an integer; got {x!r}")
    if n < least:
        raise ValueError(f"`{name}` must be at least {least}; got {n}")
    return n


def wholes(policy: Any, need: str, least: int, *names: str) -> None:
    """Checks fields of a frozen object that are integers or None, and keeps them as Python's integers.

    For ``__post_init__``. NumPy's are as good, but a policy is to be shown, hashed and stored as what it says.

    Args:
        policy: The object.
        need: What they must be, in words.
        least: The least that they may be.
        names: The fields.
    """
    for name in names:
        value = getattr(policy, name)
        if value is None:
            continue
        try:
            object.__setattr__(policy, name, whole(name, value, least))
        except (TypeError, ValueError):
            raise ValueError(f"{type(policy).__name__}: `{name}` must be {need}; got {value!r}") from None


def flag(name: str, x: Any) -> bool:
    """A bool."""
    if not isinstance(x, bool | np.bool_):
        raise TypeError(f"`{name}` must be True or False; got {x!r}")
    return bool(x)


def fraction(name: str, x: Any) -> float:
    """A number from 0 to 1."""
    try:
        value = number(name, x)
    except TypeError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ValueError(f"`{name}` must be a number from 0 to 1; got {x!r}")
    return value


def path(name: str, x: Any) -> str:
    """A path as a string."""
    if not isinstance(x, str | os.PathLike):
        raise TypeError(f"`{name}` must be the name of a directory; got {x!r}")
    return os.fspath(x)


def callbacks(name: str, frequency: Any, functions: Mapping[str, Any]) -> int:
    """Checks the callbacks, by their names; returns the number of steps from one call to the next."""
    for function_name, function in functions.items():
        if function is not None and not callable(function):
            raise TypeError(f"`{function_name}` must be a function of one argument, a CallbackState; got {function!r}")
    return whole(name, frequency, 1)


def mapping(name: str, x: Any, keys: str = "kinds, such as 'p' or 'x'") -> Mapping[str, Any]:
    """A mapping, by default from kinds of sources or receivers; empty for None."""
    if x is not None and not isinstance(x, Mapping):
        raise TypeError(f"`{name}` must be a mapping from {keys}; got {type(x).__name__}")
    return x or {}


def pair(name: str, x: Any) -> tuple[Any, Any]:
    """Amplitudes and locations."""
    if not isinstance(x, tuple | list) or len(x) != 2:
        raise TypeError(f"`{name}` must be a pair (amplitudes, locations); got {type(x).__name__}")
    return x[0], x[1]


def instance(name: str, x: Any, kind: type, example: str) -> None:
    """Checks that ``x`` is one of a class."""
    if not isinstance(x, kind):
        raise TypeError(f"`{name}` must be a jaxwave.{kind.__name__}, e.g. {example}; got {x!r:.80}")


def arguments(function: str, given: Iterable[str], known: Container[str]) -> None:
    """Checks that keyword arguments are those of a function."""
    for name in given:
        if name not in known:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


def once(name: str, x: Any) -> None:
    """Checks that what a mapping gives is not given as an argument too."""
    if x is not None:
        raise ValueError(f"`{name}` is given twice, as an argument and in a mapping; give it once")


def is_many(x: Any) -> bool:
    """Whether ``x`` is several numbers rather than one; they may be traced."""
    return (isinstance(x, Sequence) and not isinstance(x, str)) or getattr(x, "ndim", 0) > 0


def finite(name: str, x: Any, axes: str) -> None:
    """Checks that an array is finite, if it is known; ``axes`` says what its indices count."""
    value = concrete(x)
    if value is not None and not np.isfinite(value).all():
        where = first_true(~np.isfinite(value))
        raise ValueError(f"`{name}` must be finite; got {value[where]} at [{axes}] = {where}")


def first_true(bad: np.ndarray) -> tuple[int, ...]:
    """Index of the first true value."""
    return tuple(int(i) for i in np.argwhere(bad)[0])
