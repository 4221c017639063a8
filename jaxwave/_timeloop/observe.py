"""User callbacks from inside the time loops: the wavefields every so many steps, for movies and monitoring.

Callbacks are ordered by a *tick*, a number that each takes and returns and that the loop carries.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import io_callback

from jaxwave._numerics.boundary import PaddedGrid

VIEWS = ("inner", "pml", "full")

_watching: dict[Observer, list[list[BaseException]]] = {}
_watching_lock = threading.Lock()


@dataclasses.dataclass(frozen=True)
class CallbackState:
    """What a callback is given. Arrays are NumPy copies: keep them as you like.

    Attributes:
        step: Time step, in the user's steps; the wavefields are those before its update.
        nt: Number of the user's time steps.
        dt: The user's time step, in seconds.
        direction: "forward" or "backward".
    """

    step: int
    nt: int
    dt: float
    direction: str
    _grid: PaddedGrid
    _wavefields: Mapping[str, np.ndarray]
    _gradients: Mapping[str, np.ndarray]

    @property
    def wavefield_names(self) -> tuple[str, ...]:
        """Names that :meth:`get_wavefield` takes."""
        return tuple(self._wavefields)

    def get_wavefield(self, name: str = "wavefield_0", view: str = "inner") -> np.ndarray:
        """A wavefield [shot, ...] (backward: the adjoint wavefield).

        Args:
            name: One of :attr:`wavefield_names`.
            view: "inner" (the model's cells), "pml" (and the absorbing layers) or "full" (all that is in memory).

        Raises:
            ValueError: If the name or the view is unknown.
        """
        return self._view(self._wavefields, name, view)

    def get_gradient(self, name: str = "v", view: str = "inner") -> np.ndarray:
        """The gradient with respect to a model accumulated so far [1 or shot, ...] (backward only).

        Raises:
            ValueError: If the name or the view is unknown, or no gradient is being computed.
        """
        return self._view(self._gradients, name, view)

    def _view(self, fields: Mapping[str, np.ndarray], name: str, view: str) -> np.ndarray:
        if name not in fields:
            raise ValueError(f"no field {name!r} in a {self.direction} callback; there are {tuple(fields)}")
        if view not in VIEWS:
            raise ValueError(f"view={view!r} is unknown; use one of {VIEWS}")
        grid, field = self._grid, fields[name]
        if view == "full":
            return field
        margin = [lo if view == "inner" else 0 for lo, _ in grid.faces]
        sizes = grid.shape if view == "inner" else grid.interior
        cut = tuple(slice(grid.halo + lo, grid.halo + lo + n) for lo, n in zip(margin, sizes, strict=True))
        return field[(slice(None), *cut)]


@dataclasses.dataclass(frozen=True)
class Observer:
    """Callbacks and when to call them. Hashed by the functions' identity: pass the same function, not a new lambda,
    to avoid recompiling.

    Attributes:
        forward, backward: Called with a :class:`CallbackState`, or None.
        every: The user's steps from one call to the next.
        step_ratio: Steps of the loop per step of the user.
        nt: The user's steps.
        dt: The user's time step.
        first: The step of the loop at the user's first one.
    """

    forward: Callable[[CallbackState], Any] | None
    backward: Callable[[CallbackState], Any] | None
    every: int
    step_ratio: int
    nt: int
    dt: float
    first: int = 0


@contextlib.contextmanager
def watch(observer: Observer | None) -> Iterator[list[BaseException]]:
    """A list that gets what the callbacks of an observer raise while the block runs.

    A compiled program turns an exception into text; whoever runs it may raise the exception itself instead.
    """
    raised: list[BaseException] = []
    if observer is None:
        yield raised
        return
    with _watching_lock:
        _watching.setdefault(observer, []).append(raised)
    try:
        yield raised
    finally:
        with _watching_lock:
            others = [found for found in _watching.pop(observer) if found is not raised]
            if others:
                _watching[observer] = others


def first_tick() -> jax.Array:
    """The tick before any call."""
    return jnp.zeros((), jnp.int32)


def forward(observer: Observer, equation, tick, t, x):
    """Calls the forward callback if it is due at step ``t`` of the loop; returns the next tick."""
    return _call(observer, observer.forward, "forward", equation.grid, tick, t, lambda: (equation.wavefields(x), {}))


def backward(observer: Observer, equation, tick, t, m, w, gradients, interval: int):
    """Calls the backward callback if it is due at step ``t`` of the loop; returns the next tick.

    The sums ``gradients`` are over one step in ``interval``.
    """

    def fields():
        inner_dt = observer.dt / observer.step_ratio
        whole = jax.tree.map(lambda g: g if interval == 1 else interval * g, gradients)
        named = equation.model_gradients(m, whole[0], inner_dt) if gradients else {}
        return equation.adjoint_wavefields(m, w), named

    return _call(observer, observer.backward, "backward", equation.grid, tick, t, fields)


def _call(observer: Observer, function, direction: str, grid: PaddedGrid, tick, t, fields):
    def on_host(tick, t, *named):
        wavefields, gradients = ({name: np.array(field) for name, field in fields.items()} for fields in named)
        step = (int(t) - observer.first) // observer.step_ratio
        try:
            function(CallbackState(step, observer.nt, observer.dt, direction, grid, wavefields, gradients))
        except BaseException as error:
            for raised in _watching.get(observer, ()):
                raised.append(error)
            raise
        return np.int32(tick + 1)

    def call():
        return io_callback(on_host, jax.ShapeDtypeStruct((), np.int32), tick, t, *fields())

    due = (t - observer.first) % (observer.every * observer.step_ratio) == 0  # never before the first one
    return lax.cond(due, call, lambda: tick)
