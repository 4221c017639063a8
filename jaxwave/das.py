"""Distributed acoustic sensing: what a fibre records, the mean strain rate along itself over a gauge length."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxwave._interpolation import Hicks
from jaxwave._setup import validate
from jaxwave.equations.staggered import tensor

__all__ = ["Fibre"]


class Fibre:
    """A fibre along a polyline, with channels at equal distances, for any elastic equation.

    With t the fibre's unit tangent and e the strain rate, a point senses

    ::

        sin(a)^2 t e t + cos(a)^2 (tr(e) - t e t) / 2        a the wrapping angle

    and a channel the mean over a gauge length around its place. A straight fibre has a = 90 degrees and senses what is
    along it; one that is wound around a cable, at an angle a to the planes across it, senses what is across too.

    Attributes:
        channels: Places of the channels [channel, axis] (m).
        receivers: For each component of the strain rate its points, a :class:`jaxwave.Hicks`: the ``receivers`` of
            :func:`jaxwave.simulate`.

    Args:
        points: Vertices [vertex, axis] (m), from the centre of the model's first cell; axes (z, y, x).
        model_shape: Cells of the model.
        grid_spacing: Cell size (m), one number or one per axis.
        channel: Distance of neighbouring channels along the fibre (m).
        gauge: Gauge length (m).
        n_shots: Shots that it records.
        wrapping: Wrapping angle (degrees), 90 for a straight fibre; 30 is common in a cable.
        half_width: Of the interpolation (see :class:`jaxwave.Hicks`).

    Raises:
        ValueError: If the fibre is shorter than the gauge length, has vertices at one place, or leaves the model.

    Example:
        >>> import jax.numpy as jnp, jaxwave
        >>> vp, vs, rho = (jnp.full((60, 80), x) for x in (3e3, 1.7e3, 2e3))
        >>> solid = jaxwave.Elastic(*jaxwave.vpvsrho_to_lambmubuoyancy(vp, vs, rho))
        >>> path = [[40.0, 150.0], [250.0, 150.0], [250.0, 340.0]]
        >>> well = jaxwave.das.Fibre(path, vp.shape, 5.0, channel=10.0, gauge=20.0)
        >>> f = 1e6 * jaxwave.wavelets.ricker(25.0, 150, 7e-4, 0.05).reshape(1, 1, -1)
        >>> out = jaxwave.simulate(
        ...     solid, jaxwave.Grid(5.0, boundary=jaxwave.Boundary(pml_freq=25.0)), 7e-4,
        ...     sources={"y": (f, [[[5, 60]]])}, receivers=well.receivers,
        ... )
        >>> well.channels.shape, well.record(out.records).shape
        ((39, 2), (1, 39, 150))

    Reference:
        B. N. Kuvshinov, "Interaction of helically wound fibre-optic cables with plane seismic waves", Geophysical
        Prospecting 64 (2016).
    """

    def __init__(
        self,
        points: ArrayLike,
        model_shape: Sequence[int],
        grid_spacing: float | Sequence[float],
        channel: float,
        gauge: float,
        *,
        n_shots: int = 1,
        wrapping: float = 90.0,
        half_width: int = 4,
    ) -> None:
        vertices, ndim = np.asarray(points, float), len(model_shape)
        if vertices.ndim != 2 or len(vertices) < 2 or vertices.shape[1] != ndim or ndim not in (2, 3):
            raise ValueError(f"`points` must be [vertex, {ndim}], at least two in 2-D or 3-D; got {vertices.shape}")
        spacing = np.array(validate.spacing("grid_spacing", grid_spacing, ndim))
        channel, gauge = validate.positive("channel", channel), validate.positive("gauge", gauge)
        lengths = np.linalg.norm(np.diff(vertices, axis=0), axis=1)
        if not (lengths > 0).all():
            raise ValueError("`points` has two vertices at one place, one after the other")
        whole = lengths.sum()
        if whole < gauge:
            raise ValueError(f"the fibre is {whole:g} m long, less than the gauge length, `gauge`={gauge:g} m")
        count = int((whole - gauge) / channel * (1 + 1e-12)) + 1
        centres = gauge / 2 + channel * np.arange(count)
        within = max(1, math.ceil(2 * gauge / spacing.min()))  # two points in a cell
        along = centres[:, None] + gauge * ((np.arange(within) + 0.5) / within - 0.5)
        ends = np.concatenate([[0], np.cumsum(lengths)])

        def at(s: np.ndarray) -> np.ndarray:
            return np.stack([np.interp(s, ends, vertices[:, axis]) for axis in range(ndim)], -1)

        segment = np.clip(np.searchsorted(ends, along, side="right") - 1, 0, len(lengths) - 1)
        t = (np.diff(vertices, axis=0) / lengths[:, None])[segment]
        angle = math.radians(wrapping)
        axial, across = math.sin(angle) ** 2, math.cos(angle) ** 2 / 2
        cells = np.broadcast_to((at(along) / spacing).reshape(1, -1, ndim), (n_shots, count * within, ndim))
        self.channels = at(centres)
        self._weights: dict[str, np.ndarray] = {}
        self.receivers: dict[str, Hicks] = {}
        for kind, (i, j) in tensor(ndim).items():
            weight = (axial - across) * t[..., i] * t[..., j] * (1 if i == j else 2) + across * (i == j)
            if np.abs(weight).max() > 1e-12:
                offset = [0.5 if i != j and axis in (i, j) else 0.0 for axis in range(ndim)]
                self._weights[kind] = weight / within
                self.receivers[kind] = Hicks(cells, model_shape, half_width=half_width, offset=offset)

    def record(self, records: Mapping[str, Any]) -> jax.Array:
        """What the channels record [shot, channel, nt] (1/s), from the records of :attr:`receivers`.

        Args:
            records: By component [shot, point, nt]; others are not looked at.
        """
        return sum(
            (jnp.einsum("scgt,cg->sct", x.reshape(x.shape[0], *w.shape, x.shape[-1]), jnp.asarray(w, x.dtype))
             for x, w in ((jnp.asarray(records[kind]), w) for kind, w in self._weights.items())),
            jnp.zeros(()),
        )  # fmt: skip
