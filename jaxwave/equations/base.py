"""What the front end and the time loop ask of an equation.

An equation is a frozen, hashable description (grid, order, ...). Its methods are pure functions of arrays: no I/O, no
Python branch on a traced value. The state advances by

    x[t+1] = A(m) x[t] + B s[t],        d[t] = R x[t]

with coefficients m, injected amplitudes s and recorded data d. A(m) may be a product of stages, each linear in its own
coefficients. A coefficient multiplies *terms* g(x) of the state: what the gradient with respect to it needs from step t
is g(x[t]) alone, and the linearised (Born) run adds dm g at the same place. ``slots`` says which coefficient each term
belongs to; all terms have one shape.

Sources and receivers of several kinds follow each other along the last axis of s and d, in the order of
``operands["sources"]`` and ``operands["receivers"]``, which map the kinds that there are to cells of the padded grid.
``operands["profiles"]`` is what ``profiles`` returned.

The adjoint state may be scaled as suits the equation; only the equation knows how.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import jax
import numpy as np

from jaxwave.boundary import Grid, Memory

Coefficients = tuple[jax.Array, ...]
Partial = tuple[jax.Array | None, ...]
"""One array for each coefficient or term, None for those that are not wanted."""
State = Any
Operands = Mapping[str, Any]
Cells = tuple[jax.Array, ...]


class Equation(Protocol):
    """The discrete equation. Arrays of a state have the shots as their leading axis.

    Attributes:
        grid: The padded grid.
        dimensions: Numbers of dimensions that it exists in.
        models: The user's models by name, and what their values must be (see ``validate.RULES``).
        memory_names: Names of the groups of memory variables in a user's state.
        levels: Time levels that a wavefield is held at: 2 in a leapfrog of second order, whose levels swap in every
            step; 1 where everything is updated in place.
        slots: For each term, the number of its coefficient.
        sums: Terms that are the sum of others, by number: one is not kept where all of those are, and is then None
            among the terms that are handed back.
        matter: The model that is 0 in vacuum, where nothing moves; None if there is no vacuum.
        plain_face: What a face without a layer is where nothing is asked for: a kind (see ``Grid.kinds``).
    """

    grid: Grid
    dimensions: ClassVar[tuple[int, ...]]
    models: ClassVar[Mapping[str, str]]
    memory_names: ClassVar[tuple[str, ...]]
    levels: ClassVar[int]
    slots: tuple[int, ...]
    sums: Mapping[int, tuple[int, ...]]
    plain_face: ClassVar[str | None]
    matter: ClassVar[str | None]

    # ---- for the front end: what a user gives and sees ----

    @staticmethod
    def wavefield_offsets(ndim: int) -> dict[str, tuple[int, ...]]:
        """A user's wavefields by name, in the order of ``pack``, and along which axes they lie between the cells."""

    @staticmethod
    def source_kinds(ndim: int) -> tuple[str, ...]:
        """Kinds of sources, as in the names of arguments; "" for the only one."""

    @staticmethod
    def receiver_kinds(ndim: int) -> tuple[str, ...]:
        """Kinds of receivers."""

    def zero_faces(self, name: str) -> tuple[tuple[int, int], ...]:
        """The faces (axis, side) on which a wavefield, by name, stays zero. It is offset along their axes."""

    @staticmethod
    def source_needs(ndim: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """For kinds of sources that some cells cannot hold: a model that must be positive in the source's cell and in
        the next ones along some axes, and these axes.
        """

    @staticmethod
    def point_offset(kind: str, ndim: int) -> tuple[int, ...]:
        """The axes along which sources and receivers of this kind lie half a cell after their cell."""

    @staticmethod
    def check_models(values: Mapping[str, np.ndarray], ndim: int) -> None:
        """Checks models whose values are known against each other.

        Raises:
            ValueError: If there can be no such medium.
        """

    @staticmethod
    def smallest_speed(values: Mapping[str, np.ndarray]) -> float:
        """The smallest speed of waves, of models whose values are known."""

    @staticmethod
    def largest_speed(
        values: Mapping[str, np.ndarray], spacing: Sequence[float], accuracy: int,
        kinds: Sequence[str | None] | None = None,
    ) -> float:  # fmt: skip
        """The speed that the time step and the layers must be made for, of models whose values are known and faces of
        these kinds (see ``Grid.kinds``).
        """

    def coefficients(self, models: Mapping[str, jax.Array], dt: float) -> Coefficients:
        """m on the padded grid [1 or shot, *padded], from models on the interior; differentiated by JAX."""

    def source_scale(self, m: Coefficients, kind: str, cells: Cells, dt: float) -> jax.Array | float:
        """What a user's amplitudes are multiplied by before they are injected: [shot, source]."""

    def profiles(self, dt: float, max_vel: float, pml_freq: float, dtype: np.dtype) -> Any:
        """Profiles of the absorbing layers: a pytree of NumPy arrays."""

    def memory(self) -> tuple[tuple[Memory, ...], ...]:
        """Where the memory variables of each group live."""

    def pack(self, wavefields: Sequence[jax.Array], memory: Sequence[Sequence[jax.Array]]) -> State:
        """A state from padded wavefields and groups of memory variables."""

    def unpack(self, x: State) -> tuple[tuple[jax.Array, ...], tuple[tuple[jax.Array, ...], ...]]:
        """The inverse of ``pack``."""

    def at_rest(
        self, m: Coefficients, wavefields: Mapping[str, jax.Array], missing: Collection[str]
    ) -> Mapping[str, jax.Array]:
        """The first wavefields, by name on the padded grid. Those that are ``missing`` are zero; where they belong to
        an earlier time they are made such that nothing moves at time 0, to second order in the time step.
        """

    def confine(self, m: Coefficients, x: State) -> State:
        """A first state without values that no step can change, because their coefficient is zero (vacuum)."""

    # ---- for the time loop ----

    def step(
        self,
        m: Coefficients,
        operands: Operands,
        x: State,
        amplitudes: jax.Array,
        scatter: Sequence[tuple[Partial, Partial]],
        keep: Sequence[Any],
    ) -> tuple[State, Partial]:
        """A(m) x + B s plus the sum of dm g over ``scatter``, for amplitudes s [shot, source]; and g(x), materialised
        for the terms that ``keep`` is true for.
        """

    def record(self, operands: Operands, x: State) -> jax.Array:
        """R x: [shot, receiver]."""

    def term_shape(self, x: State) -> jax.ShapeDtypeStruct:
        """Shape of each term of g(x) for states like ``x``."""

    def adjoint_start(self, m: Coefficients, operands: Operands, cotangent: State) -> Any:
        """The adjoint state whose unscaled value is the cotangent of a state."""

    def adjoint_step(
        self, m: Coefficients, operands: Operands, w: Any, images: Sequence[tuple[Partial, Partial]]
    ) -> tuple[Any, jax.Array, list[Partial]]:
        """The transpose of a step: of A(m), of B [shot, source], and the imaging condition, which adds adjoint times
        terms to the gradient of each pair (gradient, terms).
        """

    def adjoint_inject(self, m: Coefficients, operands: Operands, w: Any, data: jax.Array) -> Any:
        """w plus the transpose of R applied to data [shot, receiver]."""

    def adjoint_finish(self, m: Coefficients, operands: Operands, w: Any) -> State:
        """The cotangent of a state from the adjoint state."""

    def gradient_start(self, m: Coefficients, w: Any) -> tuple[jax.Array, ...]:
        """Zero accumulators of the gradient, one for each coefficient."""

    def gradient_finish(self, m: Coefficients, gradient: Partial) -> Partial:
        """The gradient with respect to m: unscaled, and summed over shots that share a model."""

    # ---- for callbacks ----

    def model_gradients(self, m: Coefficients, gradient: Partial, dt: float) -> dict[str, jax.Array]:
        """Named gradients on the padded grid."""

    def wavefields(self, x: State) -> dict[str, jax.Array]:
        """Named physical wavefields on the padded grid."""

    def adjoint_wavefields(self, m: Coefficients, w: Any) -> dict[str, jax.Array]:
        """Named adjoint wavefields on the padded grid."""


class Reversible(Equation, Protocol):
    """An equation whose steps can be taken back in time, given what is lossy in them.

    The terms of a step follow from the wavefields around it but for what absorbing layers add: the *ring*. With the
    terms, the updates of a step can be undone, the last one first.
    """

    def ring(self, x: State) -> list[jax.Array]:
        """What the layers added to the terms of the step that ended in x; [] if there are none."""

    def levels_of(self, x: State) -> list[jax.Array]:
        """The arrays of a state that steps are taken back from: its wavefields."""

    def reverse_step(
        self, m: Coefficients, operands: Operands, levels: list[jax.Array], amplitudes: jax.Array,
        scatter: Sequence[tuple[Partial, Partial]], ring: list[jax.Array], keep: Sequence[Any],
    ) -> tuple[list[jax.Array], Partial]:  # fmt: skip
        """The wavefields that :meth:`step` started from, from those after it, its operands and its ring; and its terms,
        materialised where ``keep`` is true.
        """
