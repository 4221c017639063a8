"""What a user asks for: the arguments of a simulation as frozen objects, before anything is checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax.typing import ArrayLike

from jaxwave._interpolation import Hicks
from jaxwave._results import State
from jaxwave._setup.decomposition import Decomposition
from jaxwave._setup.names import SIMULATE, Names
from jaxwave._timeloop.observe import CallbackState
from jaxwave.equations.base import Equation
from jaxwave.storage.auto import Auto
from jaxwave.storage.base import Storage

Places = ArrayLike | Hicks
"""Cells [shot, point, axis], or points between the cells."""
Sources = Mapping[str, tuple[ArrayLike | None, Places | None]] | tuple[ArrayLike, Places] | None
"""Amplitudes and locations by kind; of an equation with a single kind, a pair."""
Receivers = Mapping[str, Places] | Places | None
"""Locations by kind; of an equation with a single kind, locations."""


@dataclasses.dataclass(frozen=True)
class Boundary:
    """The faces of the model.

    Attributes:
        kinds: What each face is, one word or one per face (first and last of axis 0, of axis 1, ...): "pml" (an
            absorbing layer), "free", "rigid" or "periodic" (both faces of an axis). None: "pml" where ``pml_width`` is
            not 0, else the equation's plain face.
        pml_width: Cells of absorbing layer at each face: one number, or one per face.
        pml_freq: Frequency (Hz) that the layers absorb best. None: the peak of the sources' spectrum.
        mpml_fraction: Fraction of its damping that a layer has along the other axes, from 0 (a plain layer) to 1.
    """

    kinds: str | Sequence[str | None] | None = None
    pml_width: int | Sequence[int] = 20
    pml_freq: float | None = None
    mpml_fraction: float = 0.0


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where an equation is discretised.

    Attributes:
        spacing: Cell size (m): one number, or one per axis.
        accuracy: Order of the spatial differences: 2, 4, 6 or 8.
        boundary: The faces.
    """

    spacing: float | Sequence[float]
    accuracy: int = 4
    boundary: Boundary = Boundary()


@dataclasses.dataclass(frozen=True)
class Callbacks:
    """Functions that see the wavefields while they propagate.

    Attributes:
        forward: Called with a :class:`jaxwave.CallbackState` before a step's update; None: not called.
        backward: The same in the adjoint loop, with the adjoint wavefields and the gradients.
        every: Time steps from one call to the next.
    """

    forward: Callable[[CallbackState], Any] | None = None
    backward: Callable[[CallbackState], Any] | None = None
    every: int = 1


@dataclasses.dataclass(frozen=True)
class Call:
    """All arguments of a simulation, as they were given: see :func:`jaxwave.simulate`.

    Attributes:
        names: What the function that was called calls them, for messages.
    """

    equation: Equation
    grid: Grid
    dt: float
    sources: Sources = None
    receivers: Receivers = None
    nt: int | None = None
    wavefields: Mapping[str, ArrayLike] | None = None
    state: State | None = None
    max_vel: float | None = None
    survey_pad: int | Sequence[int | None] | None = None
    origin: Sequence[int] | None = None
    gradient_interval: int = 1
    storage: str | Storage | Auto = "device"
    callbacks: Callbacks = Callbacks()
    names: Names = SIMULATE
    decomposition: Decomposition | None = None

    @property
    def models(self) -> dict[str, Any]:
        """The equation's models by name."""
        return {name: getattr(self.equation, name) for name in self.equation.models}

    def with_models(self, models: Mapping[str, jax.Array]) -> Call:
        """The same with other models."""
        return dataclasses.replace(self, equation=self.equation.with_models(models))
