"""Storage seen from the user's call: every mode and codec gives the right gradient, and leaves nothing behind."""

import functools
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compilation import environment
from helpers import first_line

import jaxwave
from jaxwave.storage import DeviceStorage, DiskStorage, Float16, HostStorage, Recompute, Reverse
from jaxwave.storage.registry import REGISTRY

DT, SPACING, FREQ, MAX_VEL = 9e-4, 5.0, 25.0, 1800.0
PATIENCE = 30.0  # seconds; only what hangs for good takes so long


@pytest.fixture(autouse=True)
def nothing_left(tmp_path):
    """Every test of this file ends with no live history and an empty storage path."""
    yield
    gc.collect()
    REGISTRY.clear()
    assert REGISTRY.stats().disk_bytes == 0
    assert list(tmp_path.iterdir()) == []


PLANE = (24, 27)


def problem(shape=(60,), n_shots=2, nt=120, per_shot=False, dtype=jnp.float64, seed=0, pml_width=0):
    """A random layered model and a survey near its top: a function of (v, **options) that gives the misfit.

    In one dimension without absorbing layers, which take most of the time that compiling takes.
    """
    rng = np.random.default_rng(seed)
    ndim = len(shape)
    depth = np.linspace(0, 1, shape[0]).reshape(-1, *[1] * (ndim - 1))
    v = 1500 + 150 * depth + 100 * rng.random((n_shots,) * per_shot + shape)
    sources = rng.integers(0, shape, (n_shots, 1, ndim))
    receivers = rng.integers(0, shape, (n_shots, 6, ndim))
    wavelet = np.asarray(jaxwave.wavelets.ricker(FREQ, nt, DT, 1.2 / FREQ, dtype=dtype))
    amplitudes = jnp.asarray(np.tile(wavelet, (n_shots, 1, 1)) * rng.uniform(0.5, 1.5, (n_shots, 1, 1)), dtype)
    weights = jnp.asarray(rng.standard_normal((n_shots, 6, nt)), dtype)

    def misfit(v, **options):
        out = jaxwave.scalar(
            v, SPACING, DT, source_amplitudes=amplitudes, source_locations=sources, receiver_locations=receivers,
            pml_width=6 if ndim > 1 else pml_width, pml_freq=FREQ, max_vel=MAX_VEL, **options,
        )  # fmt: skip
        return jnp.sum(jnp.sin(1e-2 * out.receiver_amplitudes) * weights)

    return jnp.asarray(v, dtype), misfit


def relative(a, b):
    return float(jnp.linalg.norm(jnp.ravel(a - b)) / jnp.linalg.norm(jnp.ravel(b)))


# ---- lossless modes equal "device" bit for bit ----


@pytest.mark.optimised
@pytest.mark.parametrize(
    ("shape", "nt", "per_shot", "interval"),
    [
        ((60,), 131, False, 1),
        pytest.param(PLANE, 120, False, 1, marks=pytest.mark.slow),
        pytest.param((20, 17), 120, True, 3, marks=pytest.mark.slow),
        pytest.param((9, 10, 11), 64, False, 2, marks=pytest.mark.slow),
    ],
)
def test_streamed_gradient_equals_device_bit_for_bit(shape, nt, per_shot, interval, tmp_path):
    v, misfit = problem(shape, nt=nt, per_shot=per_shot)
    options = {"model_gradient_sampling_interval": interval}
    want = jax.grad(misfit)(v, **options)
    assert float(jnp.abs(want).max()) > 0
    modes = [{"storage_mode": "cpu"}, {"storage_mode": DiskStorage(path=str(tmp_path), steps_per_transfer=7)}]
    for mode in modes:
        assert bool((jax.grad(misfit)(v, **options, **mode) == want).all()), mode


@pytest.mark.parametrize("policy", [Recompute, Reverse])
def test_a_policy_derived_from_one_that_replays_runs_as_that_does(policy):
    class Derived(policy):
        pass

    v, misfit = problem(shape=(40,), n_shots=1, nt=40, pml_width=[0, 6])
    modes = policy(), Derived()
    want, got = jax.jit(lambda v: [jax.grad(misfit)(v, storage_mode=mode) for mode in modes])(v)
    assert bool((got == want).all()) and float(jnp.abs(want).max()) > 0


@pytest.mark.optimised
def test_under_jit(tmp_path):
    v, misfit = problem()

    @functools.partial(jax.jit, static_argnums=0)
    def gradient(mode, v):
        return jax.value_and_grad(misfit)(v, storage_mode=mode, storage_path=str(tmp_path))

    want_value, want = gradient("device", v)
    for mode in ("cpu", "disk"):
        value, got = gradient(mode, v)
        assert bool((got == want).all()) and float(value) == float(want_value), mode


@pytest.mark.optimised
@pytest.mark.parametrize("codec", ["int8", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bf16", "f16"))])
def test_compressed_modes_agree_with_each_other(codec, tmp_path):
    v, misfit = problem()
    mode = {"storage_mode": "cpu" if codec == "bf16" else "disk", "storage_path": str(tmp_path)}

    @jax.jit
    def gradients(v):
        return [jax.grad(misfit)(v, storage_compression=codec, **options) for options in ({}, mode)]

    want, got = gradients(v)
    assert bool((got == want).all()) and float(jnp.abs(want).max()) > 0


@pytest.mark.optimised
def test_true_means_int8():
    v, misfit = problem(nt=60)
    want, got = jax.jit(lambda v: [jax.grad(misfit)(v, storage_compression=codec) for codec in ("int8", True)])(v)
    assert bool((got == want).all()) and float(jnp.abs(want).max()) > 0


@pytest.mark.slow
@pytest.mark.optimised
def test_optax_loop_inside_scan(tmp_path):
    v, misfit = problem(PLANE, nt=60)
    optimizer = optax.sgd(1e3)

    def invert(mode):
        def step(carry, _):
            v, state = carry
            value, gradient = jax.value_and_grad(misfit)(v, storage_mode=mode, storage_path=str(tmp_path))
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(v, updates), state), value

        return jax.jit(lambda v: jax.lax.scan(step, (v, optimizer.init(v)), None, length=5))(v)

    (want, _), want_values = invert("device")
    assert float(want_values[-1]) < float(want_values[0])
    for mode in ("cpu", "disk"):
        (got, _), values = invert(mode)
        assert bool((got == want).all()) and bool((values == want_values).all()), mode


# ---- codecs ----

# Relative L2 error of the gradient. Quantization to n significant bits, uncorrelated between cells and steps,
# averages out over time: measured 0.5 % (int8), 0.3 % (bf16) and 0.01 % (f16) on the models below; the bounds leave 3x.
# The steps of int4 are 18 times those of int8, those of int16 a 258th.
GRADIENT_ERROR = {"int4": 0.5, "int8": 0.03, "int16": 0.00012, "bf16": 0.01, "f16": 0.0005}


@functools.cache
def without_a_codec(dtype):
    v, misfit = problem(PLANE, dtype=dtype)
    return jax.jit(jax.grad(misfit))(v)


@pytest.mark.parametrize(
    ("codec", "dtype"),
    [
        # The codecs themselves are tested in both precisions in test_codecs.py.
        pytest.param(codec, dtype, marks=pytest.mark.slow if codec != "int8" and dtype == jnp.float64 else ())
        for codec in GRADIENT_ERROR
        for dtype in (jnp.float32, jnp.float64)
    ],
)
def test_gradient_error_of_codecs(codec, dtype):
    v, misfit = problem(PLANE, dtype=dtype)
    gradient = jax.jit(jax.grad(functools.partial(misfit, storage_compression=codec)))
    error = relative(gradient(v), without_a_codec(dtype))
    assert 1e-7 < error < GRADIENT_ERROR[codec]


@pytest.mark.slow
def test_gradient_error_of_codecs_on_marmousi(marmousi):
    true = jnp.asarray(marmousi[::3, 100:400:3], jnp.float32)
    columns = true.shape[1]
    start = jnp.asarray(np.tile(np.asarray(true).mean(1, keepdims=True), (1, columns)), jnp.float32)
    sources = np.stack([np.full(4, 1), np.linspace(5, columns - 6, 4).astype(int)], -1)[:, None]
    receivers = np.tile(np.stack([np.full(columns, 1), np.arange(columns)], -1), (4, 1, 1))
    wavelet = jaxwave.wavelets.ricker(4.0, 400, 4e-3, 0.3, dtype=jnp.float32)

    def data(v, **options):
        return jaxwave.scalar(
            v, 60.0, 4e-3, source_amplitudes=jnp.tile(wavelet, (4, 1, 1)), source_locations=sources,
            receiver_locations=receivers, pml_freq=4.0, max_vel=5500.0, **options,
        ).receiver_amplitudes  # fmt: skip

    observed = data(true)
    gradient = jax.grad(lambda v, **options: jnp.sum((data(v, **options) - observed) ** 2))
    want = gradient(start)
    for codec, bound in GRADIENT_ERROR.items():
        assert relative(gradient(start, storage_compression=codec), want) < bound, codec


# ---- how often, how long ----


@pytest.mark.optimised
@pytest.mark.parametrize("mode", ["device", "cpu", "disk"])
def test_pullback_twice_and_interleaved(mode, tmp_path):
    v, misfit = problem()
    options = {"storage_mode": mode, "storage_path": str(tmp_path)}
    want = jax.grad(misfit)(v)
    _, first = jax.vjp(lambda v: misfit(v, **options), v)
    _, second = jax.vjp(lambda v: misfit(v, **options), 1.01 * v)
    one = jnp.ones(())
    assert bool((first(one)[0] == want).all())
    other = second(one)[0]
    jax.grad(misfit)(0.99 * v, **options)
    assert bool((first(one)[0] == want).all())
    assert bool((second(one)[0] == other).all()) and relative(other, want) > 1e-3


@pytest.mark.parametrize("mode", ["cpu", pytest.param("disk", marks=pytest.mark.slow)])
def test_pullback_that_leaves_a_compiled_program(mode, tmp_path):
    """Its history has no Python handle: it is right as long as it is there, and then says what to do."""
    v, misfit = problem()
    options = {"storage_mode": mode, "storage_path": str(tmp_path)}
    make = jax.jit(lambda v: jax.vjp(lambda v: misfit(v, **options), v)[1])
    pull, one = make(v), jnp.ones(())
    want = jax.grad(misfit)(v)
    first, second = pull(one)[0], pull(one)[0]
    assert relative(first, want) < 1e-12 and bool((first == second).all())  # the loops are compiled apart
    jax.block_until_ready(make(1.01 * v))
    with pytest.raises((jaxwave.StorageError, jax.errors.JaxRuntimeError), match="retain"):
        jax.block_until_ready(pull(one))


@pytest.mark.slow
def test_gauss_newton_loop_in_one_program(tmp_path):
    """A history that is read many times inside a compiled program serves every time."""
    v, _ = problem(PLANE)
    sources, receivers = np.array([[[2, 5]]]), np.array([[[2, 20], [15, 3]]])
    wavelet = jaxwave.wavelets.ricker(FREQ, 100, DT, 0.04, dtype=v.dtype).reshape(1, 1, -1)

    def data(v, mode):
        return jaxwave.scalar(
            v, SPACING, DT, source_amplitudes=wavelet, source_locations=sources, receiver_locations=receivers,
            pml_width=6, pml_freq=FREQ, max_vel=MAX_VEL, storage_mode=mode, storage_path=str(tmp_path),
        ).receiver_amplitudes  # fmt: skip

    def power_iteration(v, mode):
        _, push = jax.linearize(lambda v: data(v, mode), v)
        pull = jax.linear_transpose(push, v)
        return jax.lax.fori_loop(0, 4, lambda _, x: pull(push(x))[0] / jnp.linalg.norm(x), jnp.ones_like(v))

    want, *found = (jax.jit(functools.partial(power_iteration, mode=mode))(v) for mode in ("device", "cpu", "disk"))
    assert all(relative(got, want) < 1e-12 for got in found)  # the loops are compiled apart


@pytest.mark.parametrize("mode", ["cpu", pytest.param("disk", marks=pytest.mark.slow)])
def test_vmap_keeps_histories_apart(mode, tmp_path):
    v, misfit = problem(nt=60)
    models = jnp.stack([v, 1.02 * v, 0.97 * v])
    gradient = jax.grad(lambda v: misfit(v, storage_mode=mode, storage_path=str(tmp_path)))
    want = jnp.stack([jax.grad(misfit)(m) for m in models])
    for mapped in (jax.vmap(gradient), jax.jit(jax.vmap(gradient))):
        assert relative(mapped(models), want) < 1e-12  # the loops are compiled apart


@pytest.mark.optimised
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["cpu", "disk"])
def test_hundreds_of_gradients_leak_nothing(mode, tmp_path):
    """After 200 gradients, eager and compiled, memory and directory are what they were after a few."""
    v, misfit = problem((40, 40), nt=64)
    gradient = jax.grad(lambda v: misfit(v, storage_mode=mode, storage_path=str(tmp_path), storage_compression=True))
    compiled = jax.jit(gradient)
    history_bytes = 64 * 2 * 56 * 64 * 2

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc to read the resident memory from")
    for k in range(6):
        jax.block_until_ready((gradient(v + 0.1 * k), compiled(v + 0.1 * k)))
    before, stats = resident(), REGISTRY.stats()
    for k in range(100):
        jax.block_until_ready((gradient(v + 0.1 * k), compiled(v + 0.1 * k)))
        assert list(tmp_path.iterdir()) == []
    # A leak of every history would be 200 of them; the allocator's own play is far below 10.
    assert resident() - before < 10 * history_bytes
    assert REGISTRY.stats() == stats


def test_dropped_pullbacks_release_their_histories(tmp_path):
    v, misfit = problem(nt=64)
    for _ in range(5):
        _, pull = jax.vjp(lambda v: misfit(v, storage_mode="disk", storage_path=str(tmp_path)), v)
        assert REGISTRY.stats().disk_bytes > 0
        del pull
        gc.collect()
        assert REGISTRY.stats().disk_bytes == 0
        assert list(tmp_path.iterdir()) == []


def test_what_is_not_needed_is_not_saved(tmp_path):
    """A forward call, a gradient for the sources, and a compiled program that drops the gradient open no history."""
    v, misfit = problem(nt=64)
    opened = REGISTRY._last_id
    options = {"storage_mode": "disk", "storage_path": str(tmp_path)}
    jax.block_until_ready(misfit(v, **options))
    jax.block_until_ready(jax.jit(lambda v: jax.value_and_grad(misfit)(v, **options)[0])(v))
    assert REGISTRY._last_id == opened
    jax.block_until_ready(jax.grad(misfit)(v, **options))
    assert REGISTRY._last_id == opened + 1


# ---- at the same time ----


@pytest.mark.optimised
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["cpu", "disk"])
def test_threads(mode, tmp_path):
    # Large enough that whatever copies an array leaves it to the pool of threads that the programs run on.
    v, misfit = problem((220, 220), n_shots=4, nt=64)
    gradient = jax.grad(lambda v: misfit(v, storage_mode=mode, storage_path=str(tmp_path)))
    models = [v, 1.02 * v, 1.01 * v, 0.99 * v]
    want, wrong = [gradient(m) for m in models], []

    def work(k):
        for _ in range(4):
            if not bool((gradient(models[k]) == want[k]).all()):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert wrong == []


SCRIPT = """
import sys, time, jax, jax.numpy as jnp, jaxwave
jax.config.update("jax_enable_x64", True)
v = jnp.linspace(1500.0, 1700.0, 900).reshape(30, 30)
wavelet = jaxwave.wavelets.ricker(25.0, {nt}, 1e-3, 0.05, dtype=v.dtype).reshape(1, 1, -1)

def misfit(v, mode, callback=None):
    return (jaxwave.scalar(
        v, 5.0, 1e-3, source_amplitudes=wavelet, source_locations=[[[2, 15]]],
        receiver_locations=[[[2, 5], [2, 25]]], pml_width=6, pml_freq=25.0, storage_mode=mode,
        storage_path=sys.argv[1], backward_callback=callback, callback_frequency=10,
    ).receiver_amplitudes ** 2).sum()
"""


def start(tmp_path, body, nt=100):
    script = SCRIPT.format(nt=nt) + textwrap.dedent(body)
    command = [sys.executable, "-c", script, str(tmp_path)]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_share_a_path(tmp_path):
    body = """
    want = jax.grad(misfit)(v, "device")
    for _ in range(10):
        assert bool((jax.grad(misfit)(v, "disk") == want).all())
    print("done")
    """
    running = [start(tmp_path, body) for _ in range(2)]
    for process in running:
        out, err = process.communicate(timeout=4 * PATIENCE)
        assert process.returncode == 0 and out.strip() == "done", err
    assert list(tmp_path.iterdir()) == []


WAIT_IN_THE_ADJOINT = """
def pause(state):
    print("adjoint", flush=True)
    time.sleep(60)

jax.block_until_ready(jax.grad(misfit)(v, "disk", pause))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_killed_in_the_adjoint_loop(how, tmp_path):
    process = start(tmp_path, WAIT_IN_THE_ADJOINT)
    assert first_line(process).strip() == "adjoint"
    assert list(tmp_path.iterdir()) == []
    process.send_signal(how)
    if how == signal.SIGINT:
        process.send_signal(signal.SIGKILL)  # Ctrl-C waits for compiled code; a user then kills
    process.communicate(timeout=PATIENCE)
    assert list(tmp_path.iterdir()) == []


# ---- when storage fails ----


def test_altered_file_is_told(tmp_path):
    v, misfit = problem()
    _, pull = jax.vjp(lambda v: misfit(v, storage_mode="disk", storage_path=str(tmp_path)), v)
    (entry,) = REGISTRY._entries.values()
    file = entry.keeper._file.fileno()
    os.pwrite(file, b"altered" * 1000, os.fstat(file).st_size // 2)
    with pytest.raises(jaxwave.StorageError, match=str(tmp_path)):
        pull(jnp.ones(()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["forward_callback", "backward_callback"])
def test_exception_in_a_callback_leaves_nothing(tmp_path, caplog, where):
    v, misfit = problem()
    caplog.set_level("CRITICAL", "jax._src.callback")  # a record of the exception would hold the pullback

    def fail(state):
        raise ZeroDivisionError

    options = {"storage_mode": "disk", "storage_path": str(tmp_path), "callback_frequency": 30}
    with pytest.raises(ZeroDivisionError):
        jax.grad(misfit)(v, **options, **{where: fail})
    gc.collect()
    stats = REGISTRY.stats()
    assert stats.disk_bytes == stats.ram_bytes == 0
    assert not [thread for thread in threading.enumerate() if thread.name == "jaxwave-disk"]
    assert list(tmp_path.iterdir()) == []


def limited(tmp_path, body):
    """Runs with files limited to 1 MiB."""
    header = """
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
    """
    process = start(tmp_path, textwrap.dedent(header) + textwrap.dedent(body), nt=400)
    return process, *process.communicate(timeout=2 * PATIENCE)


@pytest.mark.slow
def test_full_disk_is_told(tmp_path):
    body = """
    for run in (jax.grad(misfit), jax.jit(jax.grad(misfit), static_argnums=1)):
        try:
            jax.block_until_ready(run(v, "disk") if run is not None else None)
        except jaxwave.StorageError as error:
            assert sys.argv[1] in str(error), error
            print("eager")
        except ValueError as error:
            assert "max_vel" in str(error)
            print("jit")
    want = jax.grad(misfit)(v, "device")
    assert bool((jax.grad(misfit)(v, "cpu") == want).all())
    print("goes on")
    """
    process, out, err = limited(tmp_path, body)
    assert process.returncode == 0 and out.split("\n")[:3] == ["eager", "jit", "goes on"], err
    assert list(tmp_path.iterdir()) == []


def test_full_disk_under_jit_is_told(tmp_path):
    body = """
    f = jax.jit(jax.grad(lambda v: (jaxwave.scalar(
        v, 5.0, 1e-3, source_amplitudes=wavelet, source_locations=[[[2, 15]]], receiver_locations=[[[2, 5]]],
        pml_width=6, pml_freq=25.0, max_vel=1700.0, storage_mode="disk", storage_path=sys.argv[1],
    ).receiver_amplitudes ** 2).sum()))
    try:
        jax.block_until_ready(f(v))
    except jax.errors.JaxRuntimeError as error:
        assert sys.argv[1] in str(error), error
        print("told")
    """
    process, out, err = limited(tmp_path, body)
    assert process.returncode == 0 and out.strip() == "told", err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.optimised
def test_storage_object_in_place_of_the_strings():
    v, misfit = problem(nt=60)
    objects = DeviceStorage(Float16()), HostStorage(Float16(), steps_per_transfer=5)

    @jax.jit
    def gradients(v):
        by_words = jax.grad(misfit)(v, storage_compression="f16")
        return by_words, [jax.grad(misfit)(v, storage_mode=storage) for storage in objects]

    want, found = gradients(v)
    assert all(bool((got == want).all()) for got in found) and float(jnp.abs(want).max()) > 0
