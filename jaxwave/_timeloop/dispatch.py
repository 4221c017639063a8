"""How the time loops run when they are called eagerly, outside any ``jit`` of the user's.

An eager run is compiled with the options that suit it; its failures in a callback come back as the exceptions that the
host side raised; and the histories that it saved live exactly as long as the Python objects that refer to them.
"""

from __future__ import annotations

import functools
import itertools
import weakref

import jax
import jax.numpy as jnp
import numpy as np

from jaxwave._timeloop import observe
from jaxwave.storage.registry import REGISTRY

OPTIONS: dict[str, dict[str, object]] = {
    "cpu": {
        "xla_cpu_prefer_vector_width": 512,
        "xla_cpu_copy_insertion_use_region_analysis": True,
        # It makes a loop that it takes to be small one kernel on one core; in JAX 0.12 small is up to 1 GB a turn.
        "xla_disable_hlo_passes": "small-while-loop-hoisting",
    },
    # Without it the compiler lets the steps of a chunk wait for the copy of the one before to pinned memory, on a T4.
    # With the limit what all neighbours are sent is on its way at once, where a model is cut into parts.
    "gpu": {
        "xla_gpu_enable_latency_hiding_scheduler": True,
        "xla_gpu_experimental_parallel_collective_overlap_limit": 4,
    },
}

_owners = itertools.count(1)


@functools.cache
def compiler_options() -> dict[str, object]:
    """Compiler options that make the time loops faster on this backend: pass them to your own outermost ``jax.jit``.

    They are used without being asked for when a propagator is called eagerly. JAX takes them on the outermost ``jit``
    only, so a program that you compile yourself must name them. Without the ones that this version of the compiler does
    not know; empty where there are none.

    >>> import jax, jaxwave
    >>> step = jax.jit(lambda x: 2 * x, compiler_options=jaxwave.compiler_options())
    """
    options = OPTIONS.get(jax.default_backend(), {})
    return {name: value for name, value in options.items() if _known({name: value})}


def _known(options: dict[str, object]) -> bool:
    """Whether the compiler takes these options: one that it does not know makes it refuse a program."""
    try:
        jax.jit(jnp.negative, compiler_options=options).lower(np.float32(0)).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


@functools.cache
def _compiled(loop, static: tuple[str, ...]):
    return jax.jit(loop, static_argnames=static, compiler_options=compiler_options() or None)


def execute(loop, *args, tokens=(), **static):
    """Compiles and runs ``loop(owner, *args, **static)``.

    Args:
        loop: The function; its first argument is the number that the run's histories are opened under.
        args: Its array arguments.
        tokens: Tokens of the streamed histories that the run reads.
        static: Its static arguments.

    Returns:
        The loop's result and the owner.

    Raises:
        StorageError: Or whatever else the host side of the storage raised, or a callback of the user's.
    """
    owner = next(_owners) % 2**31
    reads = [int(token) for token in tokens if token]
    for number in reads:
        REGISTRY.require(number)
    plan, raised = static["plan"], []
    try:
        with observe.watch(plan.observer) as raised:
            out = _compiled(loop, tuple(static))(np.int32(owner), *args, **static)
            if plan.storage.streams or plan.observer:
                out = jax.block_until_ready(out)
    except BaseException as error:
        REGISTRY.abort(owner, reads)
        errors = (REGISTRY.first_error(n) for n in (owner, *map(REGISTRY.owner_of, reads)))
        original = next(filter(None, (*raised, *errors)), None)
        if original is None or not isinstance(error, Exception):
            raise
        raise original from None
    return out, owner


def bind_lifetime(token: jax.Array, owner: int) -> None:
    """Ties the histories opened under ``owner`` to ``token``: they are released when it is garbage."""
    for number in REGISTRY.pin(owner):
        weakref.finalize(token, REGISTRY.unpin, number).atexit = False
