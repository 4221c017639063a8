"""Draws docs/images/anisotropy.png: wavefronts in isotropic and VTI media; needs matplotlib."""

from pathlib import Path

import jax
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import jaxwave

N, H, DT, NT = 301, 5.0, 6e-4, 400
V, RHO, EPSILON, DELTA, FREQUENCY, PEAK = 2500.0, 2200.0, 0.25, 0.05, 30.0, 0.045
CENTRE = N // 2
IMAGE = Path(__file__).parents[1] / "images" / "anisotropy.png"


def pressure(epsilon: float, delta: np.ndarray) -> np.ndarray:
    """The mean pressure of a point source in the middle at time NT * DT."""
    whole = np.ones((N, N), np.float32)
    medium = jaxwave.AcousticVTI(V * whole, epsilon * whole, np.float32(delta), RHO * whole)
    grid = jaxwave.Grid(H, 8, jaxwave.Boundary(None, 20, FREQUENCY))
    source = jaxwave.wavelets.ricker(FREQUENCY, NT, DT, peak_time=PEAK).reshape(1, 1, -1)
    out = jaxwave.simulate(medium, grid, DT, max_vel=3200.0, sources={"p": (source, [[[CENTRE, CENTRE]]])})
    fields = (np.asarray(out.state.wavefields[name][0]) for name in ("pressurev_0", "pressureh_0"))
    return (sum(fields) / 2)[20:-20, 20:-20]


def wavefront(epsilon: float, delta: float, time: float) -> np.ndarray:
    """Points [2, angle] where energy is after some time: group velocity times time, from the dispersion relation."""
    c33 = RHO * V**2
    c11, c13 = c33 * (1 + 2 * epsilon), c33 * (1 + 2 * delta) ** 0.5

    def frequency(k: jax.Array) -> jax.Array:  # the larger root of Christoffel's equation without shear stiffness
        x, z = k[1] ** 2 * c11, k[0] ** 2 * c33
        return (((x + z) + ((x - z) ** 2 + 4 * (c13 * k[0] * k[1]) ** 2) ** 0.5) / 2 / RHO) ** 0.5

    angles = np.linspace(0, 2 * np.pi, 361) + 1e-3
    return time * np.asarray(jax.vmap(jax.grad(frequency))(np.stack([np.cos(angles), np.sin(angles)], -1))).T


def main() -> None:
    """Writes the picture."""
    whole = np.ones((N, N))
    around = jaxwave.anisotropy.elliptical_around(EPSILON * whole, DELTA * whole, [[CENTRE, CENTRE]], 17.0)
    panels = [
        ("Isotropic", 0.0, 0 * whole, 0.0),
        ("VTI, epsilon 0.25, delta 0.05", EPSILON, DELTA * whole, DELTA),
        ("The same, elliptical around the source", EPSILON, np.asarray(around), DELTA),
    ]
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.2), layout="constrained", sharey=True)
    extent = (-CENTRE * H, CENTRE * H, CENTRE * H, -CENTRE * H)
    fields = [pressure(epsilon, delta) for _, epsilon, delta, _ in panels]
    clip = 0.3 * np.abs(fields[0]).max()
    for ax, p, (title, epsilon, _, front) in zip(axes, fields, panels, strict=True):
        ax.imshow(p, cmap="RdBu", vmin=-clip, vmax=clip, extent=extent)
        z, x = wavefront(epsilon, front, NT * DT - PEAK)
        ax.plot(x, z, color="white", linewidth=0.8)
        ax.set(title=title, xlabel="x (m)", xlim=(-600, 600), ylim=(600, -600))
    axes[0].set(ylabel="depth (m)")
    figure.savefig(IMAGE, dpi=100)


if __name__ == "__main__":
    main()
