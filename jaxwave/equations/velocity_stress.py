"""What elastic equations share: velocities and stresses on a staggered grid, whatever relates stress to strain.

    v_i,t = b (sum over j of ds_ij/dx_j + f_i)        s_ij,t = what a subclass says of the strain rates - q_ij

The normal stresses lie in the cells, s_ij half a cell on along i and j, v_i half a cell on along i and half a time step
earlier. So a normal stress may follow from all normal strain rates, and a shear stress from its own: isotropic,
transversely isotropic and orthorhombic media whose axes are those of the grid. :mod:`jaxwave.equations.elastic` has the
faces, which are right for all of them: they say what the derivatives of stress and velocity are, and nothing of what
lies between the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from jaxwave._numerics import closures
from jaxwave.equations.leapfrog import LeapfrogEquation
from jaxwave.equations.relaxing import stress_of
from jaxwave.equations.scheme import Pair, Scheme, Source, Term
from jaxwave.equations.staggered import components, tensor


class VelocityStress(LeapfrogEquation):
    """An elastic equation.

    A subclass writes its models, "buoyancy" among them, ``fastest``, ``moduli``, :meth:`stresses` and :meth:`shear`.
    """

    default_boundary = "free"
    matter = "buoyancy"
    sums: ClassVar[bool] = False
    """Whether the updates of stresses have the term "dilatation", the sum of the normal strain rates."""

    def stresses(self, ndim: int) -> Mapping[str, tuple[Pair, ...]]:
        """The updates of the stresses by component, "yy" (of the strain rates "strain_yy" and so on)."""
        raise NotImplementedError

    @staticmethod
    def shear(ndim: int) -> dict[str, str]:
        """For each shear component the model of its stiffness."""
        raise NotImplementedError

    def scheme(self, ndim: int) -> Scheme:
        names, axes = components(ndim), range(ndim)
        v = [f"v{name}_0" for name in names]
        kinds = dict(sorted(tensor(ndim).items(), key=lambda x: x[1][0] != x[1][1]))  # the normal ones first
        stress = {place: f"sigma{kind}_0" for kind, place in kinds.items()}
        strain = {kind: _strain(v, *place) for kind, place in kinds.items()}
        normal = tuple(f"strain_{kind}" for kind, (i, j) in kinds.items() if i == j)
        force = {f"force_{name}": Term(tuple((j, stress[min(i, j), max(i, j)]) for j in axes))
                 for i, name in enumerate(names)}  # fmt: skip
        updates = self.stresses(ndim)
        return Scheme(
            fields={v[i]: (i,) for i in axes}
            | {stress[place]: () if place[0] == place[1] else place for place in kinds.values()},
            terms=({"dilatation": Term(of=normal)} if self.sums else {})
            | {f"strain_{kind}": Term(strain[kind]) for kind in kinds}
            | force,
            stages=(
                {v[i]: ((f"buoyancy_{name}", f"force_{name}"),) for i, name in enumerate(names)},
                {stress[place]: updates[kind] for kind, place in kinds.items()},
            ),
            sources={"p": Source(tuple(stress[i, i] for i in axes), weight=-1)}
            | {name: Source((v[i],), f"buoyancy_{name}") for i, name in enumerate(names)}
            | {kind: Source((stress[place],), weight=-1) for kind, place in tensor(ndim).items()},
            receivers={"p": Term(tuple((None, stress[i, i]) for i in axes), -1 / ndim)}
            | {name: Term(((None, v[i]),)) for i, name in enumerate(names)}
            | {kind: Term(strain[kind], 1 / len(strain[kind])) for kind in tensor(ndim)},
            scaled=tuple(v),
        )

    def closures_of(self, axis, field):
        """Normal to a face lie the velocity and the stress whose component is that axis alone."""
        name = components(self.grid.ndim)[axis]
        return closures.elastic(self.grid.ends[axis], normal=stress_of(field) in (f"v{name}_0", f"sigma{name}{name}_0"))

    def source_needs(self, ndim: int) -> dict[str, tuple[str, tuple[int, ...]]]:
        return {kind: (model, tensor(ndim)[kind]) for kind, model in self.shear(ndim).items()}


def _strain(v: list[str], i: int, j: int) -> tuple[tuple[int, str], ...]:
    """The parts of a strain rate: dv_i/dx_i, or twice the shear strain rate, dv_i/dx_j + dv_j/dx_i."""
    return ((i, v[i]),) if i == j else ((j, v[i]), (i, v[j]))
