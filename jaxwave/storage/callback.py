"""Calls from a compiled program to host functions that move wavefields: NumPy in, NumPy out.

``jax.experimental.io_callback`` turns the arguments into JAX arrays first. Large ones are copied by the threads of
XLA's pool, which on a CPU are the very threads that wait in callbacks when several programs run at once: they then wait
for ever. Here the function is given views of XLA's buffers, which saves that copy too.

No effect is declared to JAX: these calls are ordered by their data, inside primitives that carry the rules
(:mod:`jaxwave.rules`), and each has a result that is used. XLA knows of the side effect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
from jax.extend.core import Primitive
from jax.interpreters import mlir


def host_call(function: Callable, result: Sequence[jax.ShapeDtypeStruct], *args: jax.Array) -> list[jax.Array]:
    """Calls ``function`` on the host while the program runs.

    Args:
        function: Takes NumPy arrays that are valid during the call only; returns a list of NumPy arrays, which are
            copied after it.
        result: Their shapes and dtypes.
        args: Arguments.
    """
    return _host_call_p.bind(*args, function=function, result=tuple(result))


def _shapes(*args, function, result):
    return [jax.core.ShapedArray(s.shape, s.dtype) for s in result]


def _lower(ctx, *args, function, result):
    out, _, _ = mlir.emit_python_callback(
        ctx, function, None, list(args), ctx.avals_in, ctx.avals_out, has_side_effect=True, returns_token=False
    )
    return out


_host_call_p = Primitive("wave_host_call")
_host_call_p.multiple_results = True
_host_call_p.def_abstract_eval(_shapes)
mlir.register_lowering(_host_call_p, _lower)
