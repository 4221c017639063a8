"""What the time loop asks of an equation.

An equation is a frozen, hashable description (grid, order, ...). Its methods are pure functions of arrays: no I/O, no
Python branch on a traced value. The state advances by

    x[t+1] = A(m) x[t] + B s[t],        d[t] = R x[t]

with coefficients m, injected amplitudes s and recorded data d. A(m) is linear in m, and m multiplies *terms* g(x) of
the state: what the gradient with respect to m needs from step t is g(x[t]) alone, and the linearised (Born) run adds
dm g.

The adjoint state may be scaled as suits the equation; only ``adjoint_start``, ``adjoint_finish`` and the accumulation
know how.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jax

Coefficients = tuple[jax.Array, ...]
Terms = tuple[jax.Array, ...]
State = Any
Operands = Mapping[str, Any]


class Equation(Protocol):
    """The discrete equation. Arrays of a state have the shots as their leading axis."""

    def step(
        self, m: Coefficients, operands: Operands, x: State, scatter: Sequence[tuple[Coefficients, Terms]], save: bool
    ) -> tuple[State, Terms]:
        """A(m) x plus the sum of dm g over ``scatter``; and g(x), materialised when ``save``."""

    def inject(self, operands: Operands, x: State, amplitudes: jax.Array) -> State:
        """x plus B s, for amplitudes [shot, source]."""

    def record(self, operands: Operands, x: State) -> jax.Array:
        """R x: [shot, receiver]."""

    def terms_shape(self, x: State) -> tuple[jax.ShapeDtypeStruct, ...]:
        """Shapes of g(x) for states like ``x``."""

    def adjoint_start(self, m: Coefficients, operands: Operands, cotangent: State) -> Any:
        """The adjoint state whose unscaled value is the cotangent of a state."""

    def adjoint_step(self, m: Coefficients, operands: Operands, w: Any) -> Any:
        """Transpose of A(m)."""

    def adjoint_inject(self, m: Coefficients, operands: Operands, w: Any, data: jax.Array) -> Any:
        """w plus the transpose of R applied to data [shot, receiver]."""

    def adjoint_record(self, m: Coefficients, operands: Operands, w: Any) -> jax.Array:
        """Transpose of B: [shot, source]."""

    def adjoint_finish(self, m: Coefficients, operands: Operands, w: Any) -> State:
        """The cotangent of a state from the adjoint state."""

    def gradient_start(self, m: Coefficients, w: Any) -> Terms:
        """Zero accumulators of the gradient."""

    def gradient_add(self, gradient: Terms, w: Any, terms: Terms) -> Terms:
        """Adds the imaging condition of one step: adjoint times stored terms."""

    def gradient_finish(self, m: Coefficients, gradient: Terms) -> Coefficients:
        """The gradient with respect to m: unscaled, and summed over shots that share a model."""

    def model_gradients(self, m: Coefficients, gradient: Terms, dt: float) -> dict[str, jax.Array]:
        """Named gradients with respect to the user's models on the padded grid, for callbacks."""

    def wavefields(self, x: State) -> dict[str, jax.Array]:
        """Named physical wavefields on the padded grid, for callbacks."""

    def adjoint_wavefields(self, m: Coefficients, w: Any) -> dict[str, jax.Array]:
        """Named adjoint wavefields on the padded grid, for callbacks."""
