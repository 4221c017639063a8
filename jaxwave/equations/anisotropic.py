"""Elastic equations whose stiffness depends on direction, with the axes of the grid as axes of symmetry, and a PML.

Velocities and stresses, on the grid and with the faces of :mod:`jaxwave.equations.elastic`; with Voigt's numbers of the
stiffnesses, where 3 is the direction of axis 0 (z in 3-D, y in 2-D), 1 that of the last axis (x) and 2 the one between:

    s_33,t = c33 e_33 + c13 e_11 + c23 e_22      s_13,t = 2 c55 e_13
    s_11,t = c13 e_33 + c11 e_11 + c12 e_22      s_23,t = 2 c44 e_23
    s_22,t = c23 e_33 + c12 e_11 + c22 e_22      s_12,t = 2 c66 e_12

Vertical transverse isotropy (VTI) has c22 = c11, c23 = c13, c44 = c55 and c12 = c11 - 2 c66. Between cells the shear
stiffnesses are the harmonic mean of four cells, zero beside a fluid, as mu is in the isotropic equation.

The energy is that of a strain, and no strain may set any free: the normal stiffnesses must be positive definite, the
others not negative. Free faces have no traction, and closures of the differences that conserve the energy whatever
relates stress to strain; mirror images do not. In some anisotropic media waves grow in plain layers, where along an
axis group and phase velocity point opposite ways (Becache, Fauqueux and Joly, 2003), and do not with a grid's
``mpml_fraction``.

References:
    L. Thomsen, "Weak elastic anisotropy", Geophysics 51 (1986); I. Tsvankin, "Anisotropic parameters and P-wave
    velocity for orthorhombic media", Geophysics 62 (1997); E. Becache, S. Fauqueux and P. Joly, "Stability of perfectly
    matched layers, group velocities and anisotropic waves", Journal of Computational Physics 188 (2003).
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxwave._numerics import points
from jaxwave.equations import staggered
from jaxwave.equations.base import Model, model
from jaxwave.equations.scheme import Pair
from jaxwave.equations.staggered import tensor
from jaxwave.equations.velocity_stress import VelocityStress


class Anisotropic(VelocityStress):
    """What the two equations share. A subclass writes its models, and :meth:`of_axes`."""

    def of_axes(self, ndim: int) -> dict[tuple[int, int], str]:
        """The stiffness (a model, or "c12") between normal strains of axes i <= j, and of shear strains i < j."""
        raise NotImplementedError

    def shear(self, ndim: int) -> dict[str, str]:
        raise NotImplementedError

    def stiffnesses(self, models) -> dict[str, jnp.ndarray]:
        """The normal stiffnesses by name."""
        return {name: models[name] for name in self.models if name in self.of_axes(3).values()}

    def stresses(self, ndim: int) -> dict[str, tuple[Pair, ...]]:
        kinds, normal = tensor(ndim), self.of_axes(ndim)
        axes = {kind: i for kind, (i, j) in kinds.items() if i == j}
        return {
            kind: tuple((normal[min(i, axes[k]), max(i, axes[k])], f"strain_{k}") for k in axes)
            if i == j
            else ((f"c_{kind}", f"strain_{kind}"),)
            for kind, (i, j) in kinds.items()
        }

    def moduli(self, models, dt):
        b, ndim, ends = models["buoyancy"], self.grid.ndim, self.grid.ends
        models = {name: jnp.where(b > 0, x, 0) for name, x in models.items()}  # no derivative in vacuum
        normal = {name: dt * x for name, x in self.stiffnesses(models).items()}
        between = {f"c_{kind}": dt * staggered.mu_between(models[name], *tensor(ndim)[kind], ends)
                   for kind, name in self.shear(ndim).items()}  # fmt: skip
        return {**normal, **between, **staggered.buoyancies(self.grid, points.divide(1, b), dt)}

    # ---- what a medium must be ----

    def check_models(self, values, ndim) -> None:
        """Checks that no strain sets energy free."""
        shape = np.broadcast_shapes(*(x.shape for x in values.values()))
        c, filled = self.stiffnesses(values), values["buoyancy"] > 0
        matrix = np.empty((*shape, ndim, ndim))
        for (i, j), name in self.of_axes(ndim).items():
            matrix[..., i, j] = matrix[..., j, i] = c[name]
        size = np.abs(matrix).max((-1, -2))
        least = np.where(filled, np.linalg.eigvalsh(matrix)[..., 0], size)
        bad = least < -1e-5 * size  # rounding of a fluid's stiffnesses, the least of which is 0
        if bad.any():
            where = np.unravel_index(np.argmax(bad), shape)
            found = ", ".join(f"{name}={np.broadcast_to(x, shape)[where]:g}" for name, x in c.items())
            raise ValueError(
                f"{type(self).__name__}: a strain would set energy free at index {tuple(map(int, where))}, and waves "
                f"grow for ever: the normal stiffnesses, {found} Pa, are not positive definite there ({int(bad.sum())} "
                "such cells). In 2-D c13^2 must be below c11 c33"
            )

    def fastest(self, values) -> float:
        """The largest speed along an axis."""
        normal = [self.stiffnesses(values)[name] for (i, j), name in self.of_axes(3).items() if i == j]
        return float(np.sqrt((np.maximum.reduce(np.broadcast_arrays(*normal)) * values["buoyancy"]).max()))

    def smallest_speed(self, values, ndim) -> float:
        """That of shear waves along an axis, or of P waves in fluids."""
        b, slowest = values["buoyancy"], np.inf
        normal = np.minimum.reduce(np.broadcast_arrays(
            *(self.stiffnesses(values)[name] for (i, j), name in self.of_axes(ndim).items() if i == j)))  # fmt: skip
        for name in set(self.shear(ndim).values()):
            modulus = np.where(values[name] > 0, values[name], normal)
            slowest = min(slowest, np.sqrt(np.where(b > 0, modulus * b, np.inf)).min())
        return float(slowest)


class ElasticVTI(Anisotropic):
    """The elastic equation in a vertically transversely isotropic (VTI) medium; axis 0 is its axis of symmetry.

    In 2-D (plane strain) and 3-D, with the sources, receivers and wavefields of :class:`jaxwave.Elastic`, which it is
    to rounding where ``c11 = c33 = lamb + 2 mu``, ``c13 = lamb`` and ``c55 = c66 = mu``.
    :func:`jaxwave.anisotropy.thomsen_to_stiffness` gives the models from speeds and Thomsen's parameters.

    Attributes:
        c11, c13, c33: Normal stiffnesses [*cells] (Pa), or [shot, *cells]; ``c33`` is along axis 0. All are 0 in
            vacuum. In 2-D ``c13^2 < c11 c33``, in 3-D ``c13^2 < (c11 - c66) c33``.
        c55: Shear stiffness across planes that hold axis 0, the same; 0 in a fluid.
        c66: Shear stiffness across axis 0, the same. In 2-D nothing depends on it.
        buoyancy: 1 / density (m^3/kg), the same; 0 in vacuum.
    """

    c11: Model = model("not negative")
    c13: Model = model("finite")
    c33: Model = model("not negative")
    c55: Model = model("not negative")
    c66: Model = model("not negative")
    buoyancy: Model = model("not negative")

    dimensions = (2, 3)

    def of_axes(self, ndim):
        across = {(i, i): "c11" for i in range(1, ndim)}
        beside = {(1, 2): "c12"} if ndim == 3 else {}
        return {(0, 0): "c33", **{(0, i): "c13" for i in range(1, ndim)}, **across, **beside}

    @staticmethod
    def shear(ndim):
        return {kind: "c66" if i else "c55" for kind, (i, j) in tensor(ndim).items() if i != j}

    def stiffnesses(self, models):
        return {**super().stiffnesses(models), "c12": models["c11"] - 2 * models["c66"]}


class ElasticOrthorhombic(Anisotropic):
    """The elastic equation in an orthorhombic medium whose planes of symmetry are those of the grid; in 3-D.

    With the sources, receivers and wavefields of :class:`jaxwave.Elastic`. Directions 1, 2 and 3 are those of x, y and
    z, the last, the middle and the first axis.

    Attributes:
        c11, c22, c33, c12, c13, c23: Normal stiffnesses [*cells] (Pa), or [shot, *cells], which must be positive
            definite together; 0 in vacuum.
        c44, c55, c66: Shear stiffnesses of the planes yz, xz and xy, the same; 0 in a fluid.
        buoyancy: 1 / density (m^3/kg), the same; 0 in vacuum.
    """

    c11: Model = model("not negative")
    c22: Model = model("not negative")
    c33: Model = model("not negative")
    c12: Model = model("finite")
    c13: Model = model("finite")
    c23: Model = model("finite")
    c44: Model = model("not negative")
    c55: Model = model("not negative")
    c66: Model = model("not negative")
    buoyancy: Model = model("not negative")

    dimensions = (3,)

    def of_axes(self, ndim):
        return {(0, 0): "c33", (1, 1): "c22", (2, 2): "c11", (0, 1): "c23", (0, 2): "c13", (1, 2): "c12"}

    @staticmethod
    def shear(ndim):
        return {"yz": "c44", "xz": "c55", "xy": "c66"}
