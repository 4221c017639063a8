"""The multi-axial PML (M-PML): layers that damp the derivatives along the other axes too.

A layer of axis k stretches that axis by s_k = 1 + sigma_k / (alpha_k + i w). Elastic waves whose energy runs against
their phase along k grow in any such layer; plates and ducts guide some. The remedy is to stretch every other axis j by
a fraction p of it,

    s_jk = 1 + p sigma_k / (alpha_k + i w),    so that    s_jk - 1 = p (s_k - 1)

which damps whatever is in the layer. It is no longer perfectly matched: waves that meet it obliquely are reflected
more. In the layers of k the derivative d along j, which has the memory psi of its own layers already, becomes

    psi_k' = b psi_k + a d        d + psi_k'

with the profiles a and b of p sigma_k and alpha_k: the damping is a fraction of the layer's, the frequency shift is the
layer's. This is a filter in time at each point, hence its own transpose.

Where layers of several axes meet, the stretchings multiply, as in a PML of second order (Correia and Jin, 2005), where
Meza-Fajardo and Papageorgiou add the dampings. To first order it is the same, each filter needs the profile of one line
only, and as a product of functions of one coordinate each the stretching leaves source and receiver exactly reciprocal.

References:
    K. C. Meza-Fajardo and A. S. Papageorgiou, "A nonconvolutional, split-field, perfectly matched layer for wave
    propagation in isotropic and anisotropic elastic media: stability analysis", Bull. Seism. Soc. Am. 98 (2008);
    C. Zeng et al., "Application of the multiaxial perfectly matched layer (M-PML) to near-surface seismic modeling with
    Rayleigh waves", Geophysics 76 (2011); D. Correia and J.-M. Jin, "On the development of a higher-order PML", IEEE
    Trans. Antennas Propag. 53 (2005).
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax

from jaxwave._numerics import ring, stencils
from jaxwave._numerics.boundary import Layer, Memory, PaddedGrid, Range
from jaxwave._numerics.derivative import Derivative, all_profiles, over


class Profiles(NamedTuple):
    """Profiles ``[axis][half]`` of the layers, and those by which they damp the derivatives along other axes."""

    along: tuple
    across: tuple


@dataclasses.dataclass(frozen=True)
class MultiAxial:
    """A derivative whose values, at ``offset``, are damped by the layers of the other axes too.

    It stands in for a :class:`Derivative`. Memory variables of its own layers come first, then those of the others.
    """

    derivative: Derivative
    offset: tuple[int, ...]

    @property
    def grid(self) -> PaddedGrid:
        return self.derivative.grid

    @property
    def axis(self) -> int:
        return self.derivative.axis

    @property
    def across(self) -> tuple[Derivative, ...]:
        """The derivatives along the other axes that lead to the same points; their layers are where this is damped."""
        n = self.grid.ndim
        return tuple(Derivative(self.grid, k, bool(self.offset[k])) for k in range(n) if k != self.axis)

    @property
    def layers(self) -> tuple[Layer, ...]:
        return sum((d.layers for d in self.across), self.derivative.layers)

    def memory(self, offset: tuple[int, ...]) -> tuple[Memory, ...]:
        return sum((d.memory(offset) for d in self.across), self.derivative.memory(offset))

    @property
    def places(self) -> list[ring.Place]:
        return sum((d.places for d in self.across), self.derivative.places)

    def plain(self, x: jax.Array, one: Any = None) -> jax.Array:
        return self.derivative.plain(x)

    def weights_at(self, cells, dtype) -> jax.Array:
        return self.derivative.weights_at(cells, dtype)

    def stencil(self, cells, dtype):
        return self.derivative.stencil(cells, dtype)

    def with_row(self, slabs) -> tuple[jax.Array, ...]:
        n = len(self.derivative.layers)
        return (*self.derivative.with_row(slabs[:n]), *slabs[n:])

    def without_row(self, memory) -> tuple[jax.Array, ...]:
        own, others = self._split(memory)
        return (*self.derivative.without_row(own), *others)

    def _split(self, memory):
        """The memory variables of the derivative itself, and those of the layers of other axes."""
        n = len(self.derivative.layers) + self.derivative.rows
        return tuple(memory[:n]), tuple(memory[n:])

    def _profiles(self, profiles: Profiles) -> list[dict[str, jax.Array]]:
        """Of the layers of the other axes."""
        return [profile for d in self.across for profile in profiles.across[d.axis][d.half]]

    @property
    def _places(self) -> list[tuple[Derivative, Range]]:
        """Where the layers of the other axes are."""
        return [(d, layer.cells) for d in self.across for layer in d.layers]

    def _damped(self, x: jax.Array, memory, back: bool = False) -> jax.Array:
        """x as the layers of the other axes leave it, given their memory after the step."""
        of_layers = list(zip(self._places, memory, strict=True))
        for (d, cells), q in reversed(of_layers) if back else of_layers:
            x = x + d.pad(q, cells)
        return x

    def _damp(self, x: jax.Array, memory, profiles: Profiles, one, back: bool = False) -> tuple[jax.Array, ...]:
        """The memory of the layers of the other axes after the step, one axis after the other."""
        places, after, found = self._places, list(memory), self._profiles(profiles)
        for n in reversed(range(len(after))) if back else range(len(after)):
            (d, cells), profile = places[n], found[n]
            seen = stencils.cells(x, d.axis + 1, cells.start, cells.size)
            after[n] = self.grid.form.alone(profile["b"] * after[n] + profile["a"] * seen, one)
            x = x + d.pad(after[n], cells)
        return tuple(after)

    def remember(self, x: jax.Array, memory, profiles: Profiles, one) -> tuple[jax.Array, ...]:
        """As :meth:`Derivative.remember`."""
        own, others = self._split(memory)
        own = self.derivative.remember(x, own, profiles.along, one)
        return (*own, *self._damp(self.derivative.value(x, own), others, profiles, one))

    def value(self, x: jax.Array, memory, one: Any = None) -> jax.Array:
        """As :meth:`Derivative.value`."""
        own, others = self._split(memory)
        return self._damped(self.derivative.value(x, own), others)

    def remember_back(self, e: jax.Array, memory, profiles: Profiles, one) -> tuple[jax.Array, ...]:
        """As :meth:`Derivative.remember_back`: the same in reverse order."""
        own, others = self._split(memory)
        others = self._damp(e, others, profiles, one, back=True)
        e = self._damped_back(e, others, one)
        return (*self.derivative.remember_back(e, own, profiles.along, one), *others)

    def value_back(self, e: jax.Array, memory, one) -> jax.Array:
        """As :meth:`Derivative.value_back`."""
        own, others = self._split(memory)
        return self.derivative.value_back(self._damped_back(e, others, one), own, one)

    def _damped_back(self, e: jax.Array, memory, one) -> jax.Array:
        """e as the layers of the other axes leave it: an array of its own, as the stencil reads it several times, which
        is dear under pads.
        """
        return self.grid.form.alone(self._damped(e, memory, back=True), one)

    def adjoint_memory(self, cotangents, profiles: Profiles) -> tuple[jax.Array, ...]:
        """As :meth:`Derivative.adjoint_memory`; zero where the derivative has no value, because its transpose looks."""
        n = len(self.derivative.layers)
        own, others = cotangents[:n], cotangents[n:]
        d, scales = self.derivative, (over(q["a"], q["b"]) for q in self._profiles(profiles))
        valued = (stencils.cells(x, d.axis + 1, d.cells.start, d.cells.size) for x in others)
        others = (scale * d.pad(x, d.cells) for scale, x in zip(scales, valued, strict=True))
        return (*d.adjoint_memory(own, profiles.along), *others)

    def cotangent_memory(self, memory, profiles: Profiles) -> tuple[jax.Array, ...]:
        """As :meth:`Derivative.cotangent_memory`."""
        own, others = self._split(memory)
        scales = (over(q["b"], q["a"]) for q in self._profiles(profiles))
        others = (scale * x for scale, x in zip(scales, others, strict=True))
        return (*self.derivative.cotangent_memory(own, profiles.along), *others)


def damped(derivative: Derivative, offset: tuple[int, ...]) -> Derivative | MultiAxial:
    """A derivative with values at ``offset`` under the layers of its grid."""
    return MultiAxial(derivative, offset) if derivative.grid.mpml_fraction else derivative


def profiles(grid: PaddedGrid, dt: float, max_vel: float, pml_freq: float, dtype) -> Profiles | tuple:
    """Profiles for what :func:`damped` makes."""
    given = grid, dt, max_vel, pml_freq, dtype
    along = all_profiles(*given)
    return Profiles(along, all_profiles(*given, grid.mpml_fraction)) if grid.mpml_fraction else along
