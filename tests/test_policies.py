"""Every derivative under every storage policy and codec: all equal what the history kept on the device gives.

With ``--derivative-table FILE`` the outcomes are written as the table of the documentation.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import largest

import jaxwave
from jaxwave.storage import DeviceStorage, DiskStorage, Fourier, HostStorage, Int8, Raw, Recompute

NT, DT, SPACING, FREQ, MAX_VEL = 40, 9e-4, 5.0, 40.0, 1800.0
SHAPES = {1: (40,), 2: (13, 14), 3: (8, 9, 8)}
CODECS = {"raw": Raw(), "int8": Int8(block=16)}
POLICIES = {
    "device": lambda codec, path: DeviceStorage(codec),
    "cpu": lambda codec, path: HostStorage(codec, steps_per_transfer=7),
    "disk": lambda codec, path: DiskStorage(codec, steps_per_transfer=7, path=path),
    "recompute": lambda codec, path: Recompute(codec),
    "recompute, 3 slots": lambda codec, path: Recompute(codec, segments=9, slots=3),
    "recompute, states in RAM": lambda codec, path: Recompute(codec, checkpoints=HostStorage()),
    "recompute, states on disk": lambda codec, path: Recompute(codec, checkpoints=DiskStorage(path=path)),
    "fourier, all frequencies": lambda codec, path: Fourier(frequencies=tuple(k / (NT * DT) for k in range(21))),
}


@functools.cache
def problem(ndim):
    """A model, a direction and a function (model, dt, options) -> records."""
    shape, rng = SHAPES[ndim], np.random.default_rng(ndim)
    v = jnp.asarray(1500 + 200 * rng.random(shape))
    amplitudes = jaxwave.wavelets.ricker(FREQ, NT, DT, 1 / FREQ).reshape(1, 1, -1) * rng.uniform(1, 2, (2, 1, 1))
    places = {name: rng.integers(0, shape, (2, 2, ndim)) for name in ("source_locations", "receiver_locations")}
    places["source_locations"] = places["source_locations"][:, :1]

    def records(v, dt=DT, **options):
        out = jaxwave.scalar(
            v, SPACING, dt, source_amplitudes=jnp.asarray(amplitudes), **places, pml_width=3, pml_freq=FREQ,
            max_vel=MAX_VEL, **options,
        )  # fmt: skip
        return 1e-2 * out.receiver_amplitudes

    return v, jnp.asarray(100 * rng.standard_normal(shape)), records


def misfit(records, v, **options):
    return jnp.sum(jnp.sin(records(v, **options)))


def grad(records, v, dv, **options):
    return jax.grad(lambda v: misfit(records, v, **options))(v)


def jit(records, v, dv, **options):
    return jax.jit(lambda v: grad(records, v, dv, **options))(v)


def jvp(records, v, dv, **options):
    return jax.jvp(lambda v: records(v, **options), (v,), (dv,))[1]


def gauss_newton(records, v, dv, **options):
    _, push = jax.linearize(lambda v: records(v, **options), v)
    return jax.linear_transpose(push, v)(push(dv))[0]


def hessian(records, v, dv, **options):
    return jax.jvp(lambda v: grad(records, v, dv, **options), (v,), (dv,))[1]


def vmap(records, v, dv, **options):
    return jax.vmap(lambda v: grad(records, v, dv, **options))(jnp.stack([v, v + dv]))


@pytest.mark.filterwarnings("ignore::jaxwave.SubstepWarning")
def substeps(records, v, dv, **options):
    return grad(records, v, dv, dt=3 * DT, **options)


DERIVATIVES = {f.__name__: f for f in (grad, jit, jvp, gauss_newton, hessian, vmap)}


@functools.cache
def on_the_device(derivative, codec, ndim):
    v, dv, records = problem(ndim)
    return DERIVATIVES[derivative](records, v, dv, storage_mode=DeviceStorage(CODECS[codec]))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("ndim", SHAPES)
def test_derivatives(ndim, policy, codec, tmp_path, record_property):
    v, dv, records = problem(ndim)
    storage = POLICIES[policy](CODECS[codec], str(tmp_path))
    if storage.codec != CODECS[codec]:
        pytest.skip("this policy has no codec")
    for derivative, function in DERIVATIVES.items():
        want = on_the_device(derivative, codec, ndim)
        got = function(records, v, dv, storage_mode=storage)
        assert largest(want) > 0
        # Rounding alone: the same operations, in programs that XLA compiles apart.
        assert largest(got - want) <= 1e-10 * largest(want), derivative
        record_property("derivative", (policy, codec, ndim, derivative))
