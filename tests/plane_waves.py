"""Standing plane waves in a homogeneous medium with periodic faces: what they must be, in time, and what they are.

A wave of wave vector k keeps it, and every field is a function of time times cos or sin(k x). So the equation is a
system of ordinary differential equations with constant coefficients, solved here by eigenvectors.
"""

import jax.numpy as jnp
import numpy as np

import jaxwave


def solution(matrix, first, times):
    """x with x' = matrix x and x(0) = first, at these times: [time, component]."""
    values, vectors = np.linalg.eig(matrix)
    weights = np.linalg.solve(vectors, np.asarray(first, complex))
    return np.real(np.exp(np.outer(times, values)) * weights @ vectors.T)


def christoffel(stiffness, direction, buoyancy):
    """Squared phase speeds along a unit vector, ascending, and polarisations, in columns.

    ``stiffness(i, j, k, l)`` relates the stress ij to the strain kl.
    """
    n = len(direction)
    matrix = [
        [sum(stiffness(i, j, k, m) * direction[j] * direction[m] for j in range(n) for m in range(n)) for k in range(n)]
        for i in range(n)
    ]
    return np.linalg.eigh(buoyancy * np.array(matrix))


def places(shape, spacing, offset):
    """Coordinates of the points of a field in every cell, from the first cell's centre on."""
    axes = [h * (np.arange(n) + o / 2) for n, h, o in zip(shape, spacing, offset, strict=True)]
    return np.meshgrid(*axes, indexing="ij")


def phase(shape, spacing, k, offset):
    return sum(a * x for a, x in zip(k, places(shape, spacing, offset), strict=True))


def run(equation, spacing, dt, nt, wavefields, receivers, accuracy=8):
    """Records at cell 0 of a run with periodic faces: by kind [nt]."""
    ndim = len(spacing)
    grid = jaxwave.Grid(spacing, accuracy, jaxwave.Boundary("periodic", 0, 1.0))
    offsets = equation.wavefield_offsets(ndim)
    # A field has one value more along the axes of its offset: before the first cell, which is that of the last.
    given = {
        name: jnp.asarray(np.pad(x, [(1, 0) if o else (0, 0) for o in offsets[name]], mode="wrap"))[None]
        for name, x in wavefields.items()
    }
    out = jaxwave.simulate(
        equation, grid, dt, nt=nt, wavefields=given, receivers=dict.fromkeys(receivers, np.zeros((1, 1, ndim), int))
    )
    assert out.info.step_ratio == 1
    return {kind: np.asarray(out.records[kind][0, 0]) for kind in receivers}
