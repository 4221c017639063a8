"""Wavelets, models and comparisons that tests share."""

import select

import jax
import numpy as np

FREQ = 25.0


def wavelet(t, freq=FREQ, delay=0.08):
    """A Ricker wavelet as a function of time, below 1e-15 of its peak at t = 0."""
    a = (np.pi * freq * (t - delay)) ** 2
    return (1 - 2 * a) * np.exp(-a)


def amplitudes(nt, dt, freq=FREQ, delay=0.08):
    """One shot with one source."""
    return np.asarray(wavelet(np.arange(nt) * dt, freq, delay))[None, None]


def layered(shape, low=1500.0, high=2500.0, seed=0):
    """A rough model: every cell has its own speed."""
    return np.random.default_rng(seed).uniform(low, high, shape)


def largest(x):
    return float(np.abs(np.asarray(x)).max())


def bitwise_equal(a, b):
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x.shape == y.shape and np.array_equal(x, y) for x, y in leaves)


def dense(derivative):
    """A staggered derivative as a matrix over the padded axis, without its layers."""
    found = np.zeros((derivative.grid.padded[derivative.axis],) * 2)
    rows, columns, weights = derivative.entries()
    np.add.at(found, (rows, columns), weights)
    return found


def first_line(process, seconds=120):
    """The next line that a process prints; it is killed, and the test fails, if it prints none for so long."""
    if not select.select([process.stdout], [], [], seconds)[0]:
        process.kill()
        raise TimeoutError(f"the process printed nothing in {seconds} s; then: {process.communicate()[1]}")
    return process.stdout.readline()
