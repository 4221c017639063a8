"""Everything of JAX that is not its public interface; no other module of the package imports it, which a test checks.

Primitives and their rules, dead code, calls to the host, foreign functions, the question whether a value is traced, and
how values vary over the devices of a mesh. What differs between versions of JAX is found out here from what is there,
never from version numbers. An optimisation that does not fit the JAX that is installed is left out with one
:class:`CompatibilityWarning`; results stay right.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.interpreters import partial_eval as pe


class CompatibilityWarning(UserWarning):
    """An optimisation does not fit the installed version of JAX and is left out; results stay right."""


def leave_out(what: str, consequence: str, error: BaseException | None = None) -> None:
    """Warns that an optimisation does not fit the installed JAX. Callers see to it that they ask once a process."""
    reason = f" ({type(error).__name__}: {error})" if error else ""
    warnings.warn(
        f"{what} does not fit JAX {jax.__version__}{reason}: {consequence}; results are not affected. Use a version of "
        "JAX that jaxwave's documentation lists as tested, or report this",
        CompatibilityWarning, stacklevel=3,
    )  # fmt: skip


# ---- traced values ----


def is_traced(x: Any) -> bool:
    """Whether a value is known only to a program that is being traced."""
    return isinstance(x, jax.core.Tracer)


def platform_of(values: Sequence[Any]) -> str:
    """The platform on which an eager call with these operands runs."""
    arrays = (x for x in values if isinstance(x, jax.Array))
    devices = next((x.devices() for x in arrays), None)
    return next(iter(devices)).platform if devices else jax.default_backend()


def spans_devices(values: Sequence[Any]) -> bool:
    """Whether an eager call with these operands runs on several devices."""
    return any(isinstance(x, jax.Array) and len(x.sharding.device_set) > 1 for x in values)


# ---- symbolic zeros and undefined primals: what the rules of derivatives meet in place of arrays ----


def instantiate_zeros(x: Any) -> Any:
    """The array that a symbolic zero stands for, in the memory of its type; anything else as it is."""
    if is_zero(x) and x.aval.memory_space == jax.memory.Space.Host:
        return _zeros_on_host(x.aval.shape, x.aval.dtype)
    return ad.instantiate_zeros(x)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _zeros_on_host(shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Zeros in the host's memory, of which the device holds one row at a time."""
    host = jax.memory.Space.Host
    row = jax.device_put(jax.numpy.zeros((1, *shape[1:]), dtype), host)
    whole = jax.device_put(lax.empty(shape, dtype), host)
    return lax.fori_loop(0, shape[0], lambda i, x: lax.dynamic_update_slice_in_dim(x, row, i, 0), whole)


def is_symbol(x: Any) -> bool:
    """Whether x is a symbolic zero or an undefined primal, which are pytree nodes without leaves."""
    return isinstance(x, (ad.Zero, ad.UndefinedPrimal))


def is_zero(x: Any) -> bool:
    """Whether x is a symbolic zero."""
    return type(x) is ad.Zero


def is_undefined(x: Any) -> bool:
    """Whether x is an operand that a transposition is with respect to."""
    return ad.is_undefined_primal(x)


# ---- primitives ----


def primitive(
    name: str,
    shapes: Callable[..., Sequence[jax.ShapeDtypeStruct]],
    impl: Callable[..., Sequence[jax.Array]],
    program: Callable[..., Sequence[jax.Array]],
    *,
    on_platform: Mapping[str, Callable[..., Sequence[jax.Array]]] | None = None,
    divided: Mapping[str, Callable[..., Sequence[jax.Array]]] | None = None,
    jvp: Callable | None = None,
    transpose: Callable | None = None,
    batch: Callable | None = None,
    dead_code: Callable | None = None,
) -> Primitive:
    """A primitive with several results.

    Args:
        name: What programs print.
        shapes: Shapes and dtypes of the results, from types of the operands and the parameters.
        impl: What an eager call runs.
        program: What a compiled program runs, in terms of other primitives.
        on_platform: What it runs on some platforms instead.
        divided: What it runs there where the compiler divides the program among devices.
        jvp, transpose: Its rules, as JAX defines them.
        batch: Its rule under ``vmap``, as JAX defines it but for the primitive, which comes first.
        dead_code: From the list of used results and the equation: the list of used operands, and the equation to keep
            or None.
    """
    p = Primitive(name)
    p.multiple_results = True
    p.def_abstract_eval(lambda *avals, **params: _on_mesh(avals, shapes(*avals, **params)))
    p.def_impl(impl)
    on_platform, divided = on_platform or {}, divided or {}
    mlir.register_lowering(p, _lowering(program))
    for platform in {**on_platform, **divided}:
        whole = on_platform.get(platform, program)
        rule = _either(_lowering(divided.get(platform, whole)), _lowering(whole))
        mlir.register_lowering(p, rule, platform=platform)
    if jvp:
        ad.primitive_jvps[p] = jvp
    if transpose:
        ad.primitive_transposes[p] = transpose
    if batch:
        batching.primitive_batchers[p] = functools.partial(batch, p)
    if dead_code:
        _register_dead_code(p, dead_code)
    return p


def _lowering(program: Callable) -> Callable:
    lower = mlir.lower_fun(program, multiple_results=True)

    def rule(ctx, *operands, **params):
        # Within a primitive all values are those of one device, so their types need not say what they vary over.
        ctx = ctx.replace(avals_in=_invariant(ctx.avals_in), avals_out=_invariant(ctx.avals_out))
        return lower(ctx, *operands, **params)

    return rule


def _either(divided: Callable, whole: Callable) -> Callable:
    def rule(ctx, *operands, **params):
        return (divided if _is_divided(ctx) else whole)(ctx, *operands, **params)

    return rule


# ---- dead code ----


def _register_dead_code(p: Primitive, rule: Callable) -> None:
    """Registers a rule for dead code, if it fits; a rule of JAX gets the used results first and the equation last."""
    if _dead_code_fits():
        pe.dce_rules[p] = lambda used, *rest: rule(list(used), rest[-1])


@functools.cache
def _dead_code_fits() -> bool:
    """Whether a rule for dead code, made as above, does what it should to a small program."""
    probe = Primitive("wave_probe")
    probe.multiple_results = True
    probe.def_abstract_eval(lambda x: [x, x])
    try:
        pe.dce_rules[probe] = lambda used, *rest: ([True], rest[-1].replace(outvars=rest[-1].outvars[: sum(used)]))
        program = jax.make_jaxpr(lambda x: probe.bind(x)[0])(np.float32(0)).jaxpr
        (equation,) = pe.dce_jaxpr(program, [True])[0].eqns
        if len(equation.outvars) != 1:
            raise TypeError("an unused result was kept")
    except Exception as error:  # whatever an unknown version raises
        leave_out("the rule for dead code", "histories that nobody reads are saved all the same", error)
        return False
    return True


# ---- values on a mesh of devices ----


def vary_alike(operands: Sequence[jax.Array]) -> list[jax.Array]:
    """The operands, all varying over the mesh axes that any of them varies over (within ``shard_map``).

    The transpose of making an operand vary is a sum over the devices: of the gradients of a model that they share.
    """
    varying = [_varying(jax.typeof(x)) for x in operands]
    union = frozenset().union(*varying)
    lacking = [tuple(sorted(union - axes, key=str)) for axes in varying]
    return [lax.pcast(x, axes, to="varying") if axes else x for x, axes in zip(operands, lacking, strict=True)]


def _varying(aval) -> frozenset:
    """Mesh axes that values of a type vary over."""
    return getattr(getattr(aval, "mat", None), "varying", frozenset())


def _on_mesh(operands, results: Sequence[jax.ShapeDtypeStruct]) -> list:
    """Types of results on the mesh of the operands, varying over the same axes of it (see :func:`vary_alike`)."""
    avals = [x if isinstance(x, jax.core.ShapedArray) else jax.core.ShapedArray(x.shape, x.dtype) for x in results]
    like = next((x for x in operands if _varying(x)), None)
    if like is None:
        return avals
    return [
        aval.update(
            sharding=like.sharding.update(spec=jax.sharding.PartitionSpec(*[None] * aval.ndim)),
            manual_axis_type=like.mat,
        )
        for aval in avals
    ]


def _invariant(avals) -> list:
    return [x.update(manual_axis_type=x.mat.update(varying=frozenset())) if _varying(x) else x for x in avals]


def _is_divided(ctx) -> bool:
    """Whether the compiler will divide this program among devices. (Within ``shard_map`` it is divided already.)"""
    where = ctx.module_context.axis_context
    manual = getattr(where, "manual_axes", None)
    if manual is None:
        return getattr(where, "num_devices", None) not in (None, 1)
    return any(n > 1 for name, n in where.mesh.shape.items() if name not in manual)


# Within a primitive values do not say what they vary over, so the collectives of its loops are primitives too.


def shift(x: jax.Array, name: str, size: int, by: int) -> jax.Array:
    """x of the device before along an axis of the mesh (``by`` 1) or after (-1), of ``size`` devices; else zeros."""
    return _shift_p.bind(x, name=name, size=size, by=by)


def part_number(name: str) -> jax.Array:
    """The device's number along an axis of the mesh."""
    return _part_number_p.bind(name=name)


def _shift(x, *, name, size, by):
    x = x if name in _varying(jax.typeof(x)) else lax.pcast(x, name, to="varying")
    return lax.ppermute(x, name, [(k, k + by) for k in range(size) if 0 <= k + by < size])


_shift_p = Primitive("wave_shift")
_shift_p.def_abstract_eval(lambda x, **_: x)
mlir.register_lowering(_shift_p, mlir.lower_fun(_shift, multiple_results=False))
ad.deflinear2(_shift_p, lambda ct, x, name, size, by: [_shift_p.bind(ct, name=name, size=size, by=-by)])

_part_number_p = Primitive("wave_part_number")
_part_number_p.def_abstract_eval(lambda name: jax.core.ShapedArray((), np.dtype(np.int32)))
mlir.register_lowering(_part_number_p, mlir.lower_fun(lambda name: lax.axis_index(name), multiple_results=False))


# ---- memory spaces ----


def in_host_memory(spec: jax.ShapeDtypeStruct) -> Any:
    """The type of such an array in the host's memory, among the ``shapes`` of a primitive."""
    return jax.core.ShapedArray(spec.shape, spec.dtype, memory_space=jax.memory.Space.Host)


def keep_in_place(results: Sequence[jax.Array]) -> list[jax.Array]:
    """The results of a primitive, with those in the host's memory said to be so by an equation of its own.

    JAX lowers a program with memory spaces if it finds such an equation, and does not look into primitives for one.
    """
    host = jax.memory.Space.Host
    return [jax.device_put(x, host) if jax.typeof(x).memory_space == host else x for x in results]


def map_in_place(function: Callable, xs: Sequence[jax.Array]) -> list[jax.Array]:
    """``lax.map`` of a function with several results, for arrays in either memory.

    XLA makes what a scan stacks on the device, whatever its type says; so results in the host's memory are carried.
    """
    host, n = jax.memory.Space.Host, len(xs[0])
    results = jax.make_jaxpr(lambda xs: function([x[0] for x in xs]))(xs).out_avals
    stacked = [aval.memory_space != host for aval in results]

    def empty(aval):
        return jax.device_put(lax.empty((n, *aval.shape), aval.dtype), host)

    def one(kept, x):
        i, moving = x
        out = function(moving)
        kept = [
            None if stacks else lax.dynamic_update_index_in_dim(whole, part, i, 0)
            for stacks, whole, part in zip(stacked, kept, out, strict=True)
        ]
        return kept, [part if stacks else None for stacks, part in zip(stacked, out, strict=True)]

    start = [None if stacks else empty(aval) for stacks, aval in zip(stacked, results, strict=True)]
    kept, found = lax.scan(one, start, (jax.numpy.arange(n), xs))
    return [found[k] if stacks else kept[k] for k, stacks in enumerate(stacked)]


# ---- calls from a compiled program to the host ----


def host_call(function: Callable, result: Sequence[jax.ShapeDtypeStruct], *args: jax.Array) -> list[jax.Array]:
    """Calls ``function`` on the host while the program runs.

    ``jax.experimental.io_callback`` turns the arguments into JAX arrays first. Large ones are copied by the threads of
    XLA's pool, which on a CPU are the very threads that wait in callbacks when several programs run at once: they then
    wait for ever. Here the function is given views of XLA's buffers, which saves that copy too.

    No effect is declared to JAX: these calls are ordered by their data, inside primitives that carry the rules
    (:mod:`jaxwave._timeloop.rules`), and each has a result that is used. XLA knows of the side effect.

    Args:
        function: Takes NumPy arrays that are valid during the call only; returns a list of NumPy arrays, which are
            copied after it.
        result: Their shapes and dtypes.
        args: Arguments.

    Raises:
        NotImplementedError: If the compiler is to divide the program among several devices.
    """
    return _host_call_p.bind(*args, function=function, result=tuple(result))


def _host_call_now(*args, function, result):
    """What it does outside any program, as under ``jax.disable_jit``."""
    return [jax.numpy.array(x, s.dtype) for x, s in zip(function(*map(np.asarray, args)), result, strict=True)]


def _lower_host_call(ctx, *args, function, result):
    if _is_divided(ctx):
        raise NotImplementedError(
            "this storage mode keeps wavefields through host callbacks, and the compiler cannot divide those among "
            "devices. Call the propagator within jax.shard_map over the mesh axis of the shots, where each device has "
            'a history of its own, or use the storage mode "device" or "recompute"'
        )
    out, _, _ = mlir.emit_python_callback(
        ctx, function, None, list(args), ctx.avals_in, ctx.avals_out, has_side_effect=True, returns_token=False
    )
    return out


_host_call_p = Primitive("wave_host_call")
_host_call_p.multiple_results = True
_host_call_p.def_abstract_eval(lambda *avals, function, result: _on_mesh(avals, result))
_host_call_p.def_impl(_host_call_now)
mlir.register_lowering(_host_call_p, _lower_host_call)


# ---- foreign functions: what XLA calls by address ----


def register_foreign_function(name: str, function: Any, platform: str) -> None:
    """Makes a ctypes function known to XLA.

    Raises:
        RuntimeError: If XLA refuses it, since it is written for another version of the interface.
    """
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(function), platform=platform)


def call_foreign_function(name: str, result: jax.ShapeDtypeStruct, **attributes: Any) -> jax.Array:
    """The result of a registered function. It is called once for each call that is written: two are never made one."""
    return jax.ffi.ffi_call(name, result, has_side_effect=True)(**attributes)
