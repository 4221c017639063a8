"""What the front end and the time loop ask of an equation.

On a grid an equation is a frozen, hashable description. Its methods are pure functions of arrays: no I/O, no Python
branch on a traced value. The state advances by

    x[t+1] = A(m) x[t] + B s[t],        d[t] = R x[t]

with coefficients m, injected amplitudes s and recorded data d. A(m) may be a product of stages, each linear in its own
coefficients. A coefficient multiplies *terms* g(x) of the state: what the gradient with respect to it needs from step t
is g(x[t]) alone, and the linearised (Born) run adds dm g at the same place. ``coefficients_of_terms`` says which of
them multiply each term; all terms have one shape.

Sources and receivers of several kinds follow each other along the last axis of s and d, in the order of
``operands.sources`` and ``operands.receivers``, which map the kinds that there are to cells of the padded grid.
``operands.profiles`` is what ``profiles`` returned.

The adjoint state may be scaled as suits the equation; only the equation knows how.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Self, cast, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxwave._numerics import points
from jaxwave._numerics.boundary import Memory, PaddedGrid
from jaxwave._numerics.forms import Form

Model = ArrayLike | None
"""A model's values [*cells] or [shot, *cells]; None in an equation on a grid."""
Coefficients = tuple[jax.Array, ...]
Partial = tuple[jax.Array | None, ...]
"""One array for each coefficient or term, None for those that are not wanted."""
Cells = tuple[jax.Array, ...]


class Operands(NamedTuple):
    """Constants of a run: the cells of sources and receivers by kind, and what ``profiles`` returned."""

    sources: Mapping[str, Cells]
    receivers: Mapping[str, Cells]
    profiles: Any


class State(NamedTuple):
    """Fields on the padded grid, and memory variables in groups. Shots lead."""

    fields: tuple[jax.Array, ...]
    memory: tuple[Any, ...]


def model(values: str) -> Any:
    """A field of an equation that is a model.

    Args:
        values: What its values must be: "positive", "not negative" or "finite"; with " where " and the name of another
            model, only where that is not 0, and not negative elsewhere.
    """
    return dataclasses.field(default=None, metadata={"values": values})


@dataclass_transform(frozen_default=True, field_specifiers=(model, dataclasses.field))
@dataclasses.dataclass(frozen=True)
class Equation:
    """An equation, with its models; and the discrete equation on a grid, without. Either is a frozen dataclass.

    With its models, ``Acoustic(v, rho)``, it is what a user propagates waves with: a pytree whose leaves are the
    models, so that a gradient with respect to it is an equation of gradients, which an optimiser can step. In the time
    loop :meth:`on` has put it on a grid, and it is a hashable description, whose methods are given all arrays: those of
    a state have the shots as their leading axis. Fields of a subclass that are not made by :func:`model` are static.

    A subclass writes its models, :meth:`wavefield_offsets`, the kinds of sources and receivers, :meth:`fastest`,
    :meth:`coefficients`, ``coefficients_of_terms``, :meth:`step` and :meth:`record`. All other members have a default:
    the adjoint is the transpose of the step that JAX makes, which is exact and 2 to 6 times slower than one that is
    written by hand.

    Attributes:
        grid: The padded grid.
        dimensions: Numbers of dimensions that it exists in.
        memory_names: Names of the groups of memory variables in a user's state.
        levels: Time levels that a wavefield is held at: 2 in a leapfrog of second order, whose levels swap in every
            step; 1 where everything is updated in place.
        coefficients_of_terms: For each term, the numbers of the coefficients that multiply it.
        derived_terms: Terms that are the sum of others, by number: one is not kept where all of those are, and is then
            None among the terms that are handed back.
        matter: The model that is 0 in vacuum, where nothing moves; None if there is no vacuum.
        default_boundary: What a face without a layer is where nothing is asked for: a kind (see ``PaddedGrid.kinds``).
        reversible: Whether :meth:`time_reversed_step` takes a step back.
        divisible: Whether one model can be cut into parts, on several devices: its steps exchange what they
            differentiate (``_numerics/cuts.py``).
        multiaxial: Whether its layers can damp derivatives along other axes (``Boundary.mpml_fraction``).
        plain_layers: Whether they need not, because waves do not grow in layers that do not.
        reflecting: The kinds of faces without a layer that it can have.
    """

    grid: PaddedGrid = dataclasses.field(default=cast(PaddedGrid, None), kw_only=True, repr=False)

    dimensions: ClassVar[tuple[int, ...]] = (1, 2, 3)
    memory_names: ClassVar[tuple[str, ...]] = ()
    levels: ClassVar[int] = 1
    default_boundary: ClassVar[str | None] = None
    matter: ClassVar[str | None] = None
    reversible: ClassVar[Any] = False
    divisible: ClassVar[Any] = False
    multiaxial: ClassVar[bool] = False
    plain_layers: ClassVar[bool] = True
    reflecting: ClassVar[tuple[str, ...]] = ("free", "rigid", "periodic")
    coefficients_of_terms: ClassVar[Any] = ()
    derived_terms: ClassVar[Mapping[int, tuple[int, ...]]] = MappingProxyType({})

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        dataclasses.dataclass(frozen=True)(cls)
        fields = {f.name: "values" in f.metadata for f in dataclasses.fields(cls)}
        leaves = [name for name, is_model in fields.items() if is_model]
        jax.tree_util.register_dataclass(cls, leaves, [name for name in fields if name not in leaves])

    @property
    def models(self) -> dict[str, str]:
        """The models by name, and what their values must be."""
        return {f.name: f.metadata["values"] for f in dataclasses.fields(self) if "values" in f.metadata}

    def on(self, grid: PaddedGrid | None) -> Self:
        """The discrete equation on a grid; on None, what of it is the same on all grids."""
        return self.with_models(dict.fromkeys(self.models), grid)

    def with_models(self, models: Mapping[str, Any], grid: PaddedGrid | None = None) -> Self:
        """The equation with other models, by name."""
        changes: dict[str, Any] = {**models, "grid": grid}
        return dataclasses.replace(self, **changes)

    # ---- for the front end: what a user gives and sees ----

    def wavefield_offsets(self, ndim: int) -> dict[str, tuple[int, ...]]:
        """A user's wavefields by name, in the order of ``pack``, and along which axes they lie between the cells."""
        raise NotImplementedError

    def source_kinds(self, ndim: int) -> tuple[str, ...]:
        """Kinds of sources, as in the names of arguments; "" for the only one."""
        return ("",)

    def receiver_kinds(self, ndim: int) -> tuple[str, ...]:
        """Kinds of receivers."""
        return ("",)

    def zero_faces(self, name: str) -> tuple[tuple[int, int], ...]:
        """The faces (axis, side) on which a wavefield, by name, stays zero. It is offset along their axes."""
        return ()

    def source_needs(self, ndim: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        """For kinds of sources that some cells cannot hold: a model that must be positive in the source's cell and in
        the next ones along some axes, and these axes.
        """
        return {}

    def point_offset(self, kind: str, ndim: int) -> tuple[int, ...]:
        """The axes along which sources and receivers of this kind lie half a cell after their cell."""
        return ()

    def check_models(self, values: Mapping[str, np.ndarray], ndim: int) -> None:
        """Checks models whose values are known against each other.

        Raises:
            ValueError: If there can be no such medium.
        """

    def fastest(self, values: Mapping[str, np.ndarray]) -> float:
        """The largest speed of waves in models whose values are known."""
        raise NotImplementedError

    def smallest_speed(self, values: Mapping[str, np.ndarray], ndim: int) -> float:
        """The smallest speed of waves, of models whose values are known: what warns of a coarse grid. Default: the
        largest, so that only grids warn which are too coarse everywhere.
        """
        return self.fastest(values)

    def largest_speed(
        self, values: Mapping[str, np.ndarray], spacing: Sequence[float], accuracy: int,
        kinds: Sequence[str | None] | None = None, enough: float = 0.0,
    ) -> float:  # fmt: skip
        """The speed that the time step must be made for, of models whose values are known and faces of these kinds
        (see ``PaddedGrid.kinds``): the largest, or more where that would allow an unstable step. If it is less than
        ``enough``, any number between them will do. Default: the largest.
        """
        return self.fastest(values)

    def coefficients(self, models: Mapping[str, jax.Array], dt: float) -> Coefficients:
        """m on the padded grid [1 or shot, *padded], from models on the interior; differentiated by JAX."""
        raise NotImplementedError

    def source_scale(self, m: Coefficients, kind: str, cells: Cells, dt: float) -> jax.Array | float:
        """What a user's amplitudes are multiplied by before they are injected: [shot, source]. Default: dt."""
        return jnp.full(cells[0].shape, dt, m[0].dtype)

    def profiles(self, dt: float, max_vel: float, pml_freq: float, dtype: np.dtype) -> Any:
        """Profiles of the absorbing layers: a pytree of NumPy arrays. Default: none, of an equation without layers."""
        return ()

    def memory(self) -> tuple[tuple[Memory, ...], ...]:
        """Where the memory variables of each group live."""
        return ((),) * len(self.memory_names)

    def pack(self, wavefields: Sequence[jax.Array], memory: Sequence[Sequence[jax.Array]]) -> Any:
        """A state from padded wavefields and groups of memory variables."""
        return State(tuple(wavefields), tuple(map(tuple, memory)))

    def unpack(self, x: Any) -> tuple[tuple[jax.Array, ...], tuple[tuple[jax.Array, ...], ...]]:
        """The inverse of ``pack``."""
        return x.fields, x.memory

    def at_rest(
        self, m: Coefficients, wavefields: Mapping[str, jax.Array], missing: Collection[str]
    ) -> Mapping[str, jax.Array]:
        """The first wavefields, by name on the padded grid. Those that are ``missing`` are zero; where they belong to
        an earlier time they are made such that nothing moves at time 0, to second order in the time step.
        """
        return wavefields

    def zero_vacuum(self, m: Coefficients, x: Any) -> Any:
        """A first state without values that no step can change, because their coefficient is zero (vacuum)."""
        return x

    # ---- for the time loop ----

    def in_form(self, form: Form) -> Self:
        """The equation for loops that are written in another form."""
        return dataclasses.replace(self, grid=dataclasses.replace(self.grid, form=form))

    def enter(self, x: Any) -> Any:
        """A state as the loop carries it. Default: as it is."""
        return x

    def leave(self, x: Any) -> Any:
        """The inverse."""
        return x

    def step(
        self,
        m: Coefficients,
        operands: Operands,
        x: Any,
        amplitudes: jax.Array,
        scatter: Sequence[tuple[Partial, Partial]],
        keep: Sequence[Any],
    ) -> tuple[Any, Partial]:
        """A(m) x + B s plus the sum of dm g over ``scatter``, for amplitudes s [shot, source]; and g(x), materialised
        for the terms that ``keep`` is true for.
        """
        raise NotImplementedError

    def record(self, operands: Operands, x: Any) -> jax.Array:
        """R x: [shot, receiver]."""
        raise NotImplementedError

    def term_shape(self, x: Any) -> jax.ShapeDtypeStruct:
        """Shape of each term of g(x) for states like ``x``."""
        field = self.unpack(x)[0][0]
        return jax.ShapeDtypeStruct(field.shape, field.dtype)

    def adjoint_start(self, m: Coefficients, operands: Operands, cotangent: Any) -> Any:
        """The adjoint state whose unscaled value is the cotangent of a state."""
        return cotangent

    def adjoint_step(
        self, m: Coefficients, operands: Operands, w: Any, images: Sequence[tuple[Partial, Partial]]
    ) -> tuple[Any, jax.Array, list[Partial]]:
        """The transpose of a step: of A(m), of B [shot, source], and the imaging condition, which adds adjoint times
        terms to the gradient of each pair (gradient, terms).
        """
        nothing = (None,) * len(self.coefficients_of_terms)
        field = self.unpack(w)[0][0]
        n_sources = sum(cells[0].shape[1] for cells in operands.sources.values())
        totals = [total for total, _ in images]

        def linear(x: Any, s: jax.Array, dms: Any) -> Any:
            scatter = [(dm, terms) for dm, (_, terms) in zip(dms, images, strict=True)]
            return self.step(m, operands, x, s, scatter, nothing)[0]

        like = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (w, totals))
        s = jax.ShapeDtypeStruct((field.shape[0], n_sources), field.dtype)
        w, ds, found = jax.linear_transpose(linear, like[0], s, like[1])(w)
        return w, ds, jax.tree.map(jnp.add, totals, found)

    def adjoint_inject(self, m: Coefficients, operands: Operands, w: Any, data: jax.Array) -> Any:
        """w plus the transpose of R applied to data [shot, receiver]."""
        (found,) = jax.linear_transpose(lambda x: self.record(operands, x), w)(data)
        return jax.tree.map(jnp.add, w, found)

    def adjoint_finish(self, m: Coefficients, operands: Operands, w: Any) -> Any:
        """The cotangent of a state from the adjoint state."""
        return w

    def gradient_start(self, m: Coefficients, w: Any) -> tuple[jax.Array, ...]:
        """Zero accumulators of the gradient, one for each coefficient."""
        n_shots = self.unpack(w)[0][0].shape[0]
        return tuple(jnp.zeros((n_shots, *c.shape[1:]), c.dtype) for c in m)

    def gradient_finish(self, m: Coefficients, gradient: Partial) -> Partial:
        """The gradient with respect to m: unscaled, and summed over shots that share a model."""
        return tuple(None if g is None else points.sum_shots(g, c) for g, c in zip(gradient, m, strict=True))

    # ---- back in time, where a step can be taken back, given what is lossy in it ----
    #
    # The terms of a step follow from the wavefields around it but for what absorbing layers add: the *ring*. With the
    # terms, the updates of a step can be undone, the last one first.

    def ring(self, x: Any) -> list[jax.Array]:
        """What the layers added to the terms of the step that ended in x; [] if there are none."""
        return []

    def time_levels(self, x: Any) -> list[jax.Array]:
        """The arrays of a state that steps are taken back from: its wavefields."""
        return list(self.unpack(x)[0])

    def time_reversed_step(
        self, m: Coefficients, operands: Operands, levels: list[jax.Array], amplitudes: jax.Array,
        scatter: Sequence[tuple[Partial, Partial]], ring: list[jax.Array], keep: Sequence[Any],
    ) -> tuple[list[jax.Array], Partial]:  # fmt: skip
        """The wavefields that :meth:`step` started from, from those after it, its operands and its ring; and its terms,
        materialised where ``keep`` is true.
        """
        raise NotImplementedError

    # ---- for callbacks ----

    def model_gradients(self, m: Coefficients, gradient: Partial, dt: float) -> dict[str, jax.Array]:
        """Named gradients on the padded grid. Default: of the coefficients, by number."""
        found = self.gradient_finish(m, gradient)
        return {f"coefficient_{k}": g for k, g in enumerate(found) if g is not None}

    def wavefields(self, x: Any) -> dict[str, jax.Array]:
        """Named physical wavefields on the padded grid."""
        return dict(zip(self.wavefield_offsets(self.grid.ndim), self.unpack(x)[0], strict=True))

    def adjoint_wavefields(self, m: Coefficients, w: Any) -> dict[str, jax.Array]:
        """Named adjoint wavefields on the padded grid."""
        return self.wavefields(w)
