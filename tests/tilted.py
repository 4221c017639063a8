"""What the tests of both equations in tilted media share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxwave
from jaxwave._numerics.boundary import PaddedGrid
from jaxwave.equations.base import Operands, State


def at_leisure(*values):
    """A case that is slow."""
    return pytest.param(*values, marks=pytest.mark.slow)


def check_order_of_the_time_step(error, limit):
    """Of ``error(fine)``, where the grid and the time step are so many times finer. Order 8 in space is given: what is
    left is the time step's error, of order 2.
    """
    errors = [error(fine) for fine in (2, 4)]
    assert errors[1] < limit
    assert errors[0] / errors[1] > 3.5


def check_order_of_the_grid(error, accuracy):
    """Of ``error(fine)``, where the grid is so many times finer. The time step's error is 1e-7."""
    errors = [error(fine) for fine in (1, 2)]
    assert errors[0] / errors[1] > 0.5 * 2**accuracy


def check_time_step(equation, rng, updated, accuracy, faces):
    """The largest frequency of a medium, by power iteration, against the bound.

    ``updated`` are the fields of the last stage, as a slice: a step off rest makes C K of them, whose largest
    eigenvalue is that frequency squared.
    """
    spacing, h = (5.0, 7.0), 1e-4
    models = {name: getattr(equation, name) for name in equation.models}
    shape = next(iter(models.values())).shape
    speed = equation.largest_speed(models, spacing, accuracy, faces)
    grid = PaddedGrid(shape, spacing, accuracy, (0,) * 4, faces)
    discrete = equation.on(grid)
    m = discrete.coefficients({name: jnp.asarray(x)[None] for name, x in models.items()}, h)
    fields = [jnp.zeros((1, *grid.padded)) for _ in discrete.wavefield_offsets(2)]
    operands = Operands({}, {}, discrete.profiles(h, 1.0, 1.0, np.dtype(float)))

    @jax.jit
    def squared(s):
        x = list(fields)
        x[updated] = s
        x = State(tuple(x), (((),) * 4,) * 2)
        x = discrete.step(m, operands, x, jnp.zeros((1, 0)), [], (False,) * len(discrete.coefficients_of_terms))[0]
        return [(a - b) / h**2 for a, b in zip(s, x.fields[updated], strict=True)]

    s = [grid.to_padded(jnp.asarray(rng.standard_normal((1, *shape)))) for _ in fields[updated]]
    for _ in range(300):
        s = squared(s)
        size = float(jnp.sqrt(sum(jnp.sum(x**2) for x in s)))
        s = [x / size for x in s]
    longest = 2 / np.sqrt(size)
    used = jaxwave.grid.COURANT_NUMBER / (speed * np.sqrt(sum(1 / a**2 for a in spacing)))
    assert used < longest
    assert used > 0.25 * longest
