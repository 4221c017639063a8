"""What does not show in the numbers: compilations, copies inside the compiled loops, callbacks, memory."""

import functools
import math
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxwave
from jaxwave._numerics.boundary import PaddedGrid
from jaxwave._timeloop import dispatch
from jaxwave.storage import Reverse
from jaxwave.storage.registry import REGISTRY, Registry

pytestmark = pytest.mark.hlo
DT = 8e-4


def problem(shape, nt, n_shots=1, **options):
    ndim = len(shape)
    sources = np.full((n_shots, 1, ndim), 2)
    receivers = np.tile(np.arange(8)[None, :, None], (n_shots, 1, ndim))
    survey = dict(
        source_amplitudes=jnp.ones((n_shots, 1, nt), jnp.float32), source_locations=sources,
        receiver_locations=receivers, pml_width=8, pml_freq=20.0, max_vel=2000.0,
    )  # fmt: skip

    def misfit(v):
        return jnp.sum(jaxwave.scalar(v, 5.0, DT, **survey, **options).receiver_amplitudes ** 2)

    return jnp.full(shape, 1500.0, jnp.float32), misfit


def compiled(function, v):
    return jax.jit(function, compiler_options=jaxwave.compiler_options() or None).lower(v).compile()


# ---- compilations ----


@pytest.fixture
def compilations():
    """A list that grows by one with every compilation."""
    events = []

    def listen(name, duration, **_):
        if name.endswith("backend_compile_duration"):
            events.append(name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("mode", ["device", pytest.param("cpu", marks=pytest.mark.slow), "disk"])
def test_new_values_compile_nothing(mode, compilations, tmp_path):
    v, _ = problem((20, 22), 40)

    def gradient(v, wavelet, place):
        def misfit(v):
            out = jaxwave.scalar(
                v, 5.0, DT, source_amplitudes=wavelet, source_locations=place, receiver_locations=place, pml_width=8,
                storage_mode=mode, storage_path=str(tmp_path),
            )  # fmt: skip
            return jnp.sum(out.receiver_amplitudes**2)

        return jax.value_and_grad(misfit)(v)

    wavelet = jaxwave.wavelets.ricker(20.0, 40, DT, 0.02, dtype=jnp.float32).reshape(1, 1, -1)
    # Another speed, so another maximum and other layers; another source and another place.
    other = v + 40, 2 * wavelet
    first = gradient(v, wavelet, np.array([[[2, 3]]]))
    assert compilations
    compilations.clear()
    second = gradient(*other, np.array([[[4, 9]]]))
    jax.block_until_ready((first, second))
    assert compilations == []


def test_a_moving_survey_compiles_nothing_while_its_regions_have_one_size(compilations):
    """A streamer in two shots, each with the part of the model around it."""
    v, _ = problem((16, 60), 20)
    wavelet = jaxwave.wavelets.ricker(20.0, 20, DT, 0.01, dtype=jnp.float32).reshape(1, 1, -1)

    def gradient(v, x):
        def misfit(v):
            receivers = np.array([[[2, x - 3], [2, x + 4]]])
            out = jaxwave.scalar(
                v, 5.0, DT, source_amplitudes=wavelet, source_locations=[[[2, x]]], receiver_locations=receivers,
                pml_width=4, pml_freq=20.0, max_vel=2000.0, survey_pad=6,
            )  # fmt: skip
            assert out.info.region.start == (0, x - 9)
            return jnp.sum(out.receiver_amplitudes**2)

        return jax.grad(misfit)(v)

    first = gradient(v, 15)
    assert compilations
    compilations.clear()
    second = gradient(v, 35)
    assert compilations == []
    # The model is the same everywhere, so the gradient moves with the survey.
    assert np.array_equal(np.roll(first, 20, axis=1), second) and np.any(second)


def test_known_locations_reach_the_compiler_as_cells():
    """What follows from them is not left to the compiler, which would evaluate it from constants, slowly."""
    v, _ = problem((20, 22), 8)
    places = np.zeros((1, 1000, 2), int)

    def primitives(receivers):
        def run(v, *traced):
            given = traced[0] if traced else receivers
            return jaxwave.scalar(v, 5.0, DT, nt=8, receiver_locations=given, pml_width=4, max_vel=2000.0)[-1]

        return run

    closed = str(jax.make_jaxpr(primitives(places))(v))
    traced = str(jax.make_jaxpr(primitives(None))(v, places))
    integers = re.compile(r"i\d+\[1,1000,2\] = \w+")
    assert not integers.findall(closed) and integers.findall(traced)


# ---- the compiled loops ----


def loop_lines(hlo):
    """Lines of all computations but the entry, where what is done once lives."""
    inside, lines = False, []
    for line in hlo.splitlines():
        if line.startswith(("%", "ENTRY")):
            inside = line.startswith("%")
        elif inside:
            lines.append(line)
    return lines


def size_of(line):
    """Elements of the array that a line of HLO makes."""
    shape = re.search(r"= \w+\[([\d,]*)\]", line)
    return int(np.prod([int(n) for n in shape.group(1).split(",")])) if shape and shape.group(1) else 1


def large_copies(hlo, least):
    """Copies in the loops of arrays of at least ``least`` elements."""
    copies = [line for line in loop_lines(hlo) if re.search(r" copy\((?!%transpose)", line)]
    return [line.strip() for line in copies if size_of(line) >= least]


cpu_only = pytest.mark.skipif(jax.default_backend() != "cpu", reason="reads what the CPU compiler writes")


@functools.cache
def text_of(task, shape, n_shots=1, **options):
    """The HLO of a forward run or a gradient."""
    v, misfit = problem(shape, 64, n_shots=n_shots, **options)
    return compiled(jax.grad(misfit) if task == "gradient" else misfit, v).as_text()


PLANE, SPACE = (64, 70), (30, 32, 34)
IN_RAM = {"storage_mode": "cpu", "storage_compression": True}
FACES = {"boundary": ("free", None, None, "rigid")}, {"boundary": ("free", *(None,) * 3, "periodic", "periodic")}


@cpu_only
@pytest.mark.parametrize(
    ("task", "shape", "options"),
    [
        *(("gradient", *case) for case in ((PLANE, {}), (PLANE, IN_RAM), (PLANE, FACES[0]))),
        # In 3-D the kernels of a step are counted, copies with them: test_kernels_per_step.
        pytest.param("gradient", SPACE, {}, marks=pytest.mark.slow),
        # The loop of a forward run is in a gradient's program too, with what it stores.
        ("forward", PLANE, {}),
        ("forward", SPACE, FACES[1]),
        *(
            pytest.param("forward", *case, marks=pytest.mark.slow)
            for case in ((SPACE, {}), (PLANE, IN_RAM), (PLANE, FACES[0]))
        ),
        pytest.param("gradient", SPACE, FACES[1], marks=pytest.mark.slow),
    ],
)
def test_no_copy_in_the_loops(task, shape, options):
    """Wavefields and slabs are updated in place: a copy of either would cost a pass over it in every step."""
    # The smallest slab is thicker than the layer and spans the other axes.
    smallest_slab = 2 * 8 * int(np.prod(sorted(shape)[:-1]))
    assert large_copies(text_of(task, shape, n_shots=2, **options), smallest_slab) == []


def called(hlo):
    """Lines of the computations that are called whole, each one kernel: those of what XLA takes to be small."""
    names = re.findall(r" call\(.*to_apply=(%[\w.-]+)", hlo)
    inside, lines = False, []
    for line in hlo.splitlines():
        if line.startswith(("%", "ENTRY")):
            inside = line.split()[0] in names
        elif inside:
            lines.append(line.strip())
    return lines


@cpu_only
@pytest.mark.parametrize("options", [True, False])
@pytest.mark.parametrize("shape", [(64, 70), (30, 32, 34)])
def test_loops_use_all_cores(shape, options):
    """XLA makes one kernel on one core of a loop that it takes to be small: of these, where nothing prevents it."""
    v, misfit = problem(shape, 64)
    text = (compiled(misfit, v) if options else jax.jit(misfit).lower(v).compile()).as_text()
    assert any(" while(" in line for line in text.splitlines())
    assert not any(" while(" in line for line in called(text))


@cpu_only
def test_an_option_that_the_compiler_does_not_know_leaves_the_others(monkeypatch):
    known = jaxwave.compiler_options()
    assert known
    for unknown in ({"xla_cpu_no_such_option": True}, {"xla_cpu_prefer_vector_width": "wide"}):
        monkeypatch.setitem(dispatch.OPTIONS, "cpu", known | unknown)
        found = dispatch.compiler_options.__wrapped__()
        assert found == {name: value for name, value in known.items() if name not in unknown}


# Passes over arrays as large as a slab in one time step of the acoustic equation, in 2-D with four layers. Forward: psi
# of each layer and two velocities, phi of each layer and the pressure; the two layers of the last axis are copied into
# rows, of psi and of phi. A gradient stores three terms, each by itself and into the store; its adjoint has Y and Z of
# each layer, the same copies, three wavefields and three sums.
ACOUSTIC_KERNELS = {"forward": 2 * 4 + 3 + 2 * 2, "gradient": (2 * 4 + 3 + 2 * 2 + 2 * 3) + (2 * 4 + 2 * 2 + 3 + 3)}


def staggered_problem(name, shape, nt, faces, **options):
    ndim = len(shape)
    models = {"acoustic": (1500.0, 1000.0), "elastic": (2e9, 1e9, 5e-4)}[name]
    survey = dict(
        source_amplitudes_p=jnp.ones((1, 1, nt), jnp.float32), source_locations_p=np.full((1, 1, ndim), 2),
        receiver_locations_p=np.arange(4)[None, :, None] + np.zeros((1, 1, ndim), int), pml_width=8, pml_freq=20.0,
        max_vel=2000.0, boundary=faces, **options,
    )  # fmt: skip

    def misfit(models):
        return jnp.sum(getattr(jaxwave, name)(*models, 5.0, DT, **survey).receiver_amplitudes_p ** 2)

    return tuple(jnp.full(shape, x, jnp.float32) for x in models), misfit


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(("lamb",), marks=pytest.mark.slow),
        pytest.param(("mu",), marks=pytest.mark.slow),
        pytest.param(("lamb", "mu"), marks=pytest.mark.slow),
        ("lamb", "mu", "buoyancy"),
    ],
)
def test_elastic_gradients_keep_each_term_once(wanted):
    """div v for lamb alone; both dv_k/dx_k with mu, which makes div v their sum; the shear strain; two forces."""
    names = ("lamb", "mu", "buoyancy")

    def temporary(nt):
        models, misfit = staggered_problem("elastic", (40, 48), nt, None)
        given = dict(zip(names, models, strict=True))

        def of(some):
            return misfit(tuple((given | some)[name] for name in names))

        compiled = jax.jit(jax.grad(of)).lower({name: given[name] for name in wanted}).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    terms = {("lamb",): 1, ("mu",): 3, ("lamb", "mu"): 3, names: 5}[wanted]
    entry = 4 * 60 * 80  # layers of 8, a halo of 2, and a last axis of whole vectors
    assert temporary(300) - temporary(100) == pytest.approx(200 * terms * entry, rel=0.05)


@cpu_only
@pytest.mark.parametrize(
    ("name", "shape", "faces"),
    [
        ("acoustic", (64, 70), None),
        pytest.param("elastic", (64, 70), None, marks=pytest.mark.slow),
        pytest.param("acoustic", (64, 70), ("free", None, None, "rigid"), marks=pytest.mark.slow),
        ("elastic", (64, 70), ("free", None, None, None)),
        pytest.param("elastic", (64, 70), ("rigid", "free", "periodic", "periodic"), marks=pytest.mark.slow),
        pytest.param("elastic", (30, 32, 34), ("free", *(None,) * 5), marks=pytest.mark.slow),
    ],
)
def test_staggered_equations_copy_nothing_in_their_loops(name, shape, faces):
    models, misfit = staggered_problem(name, shape, 64, faces)
    for task in ("forward", "gradient"):
        text = compiled(misfit if task == "forward" else jax.grad(misfit), models).as_text()
        smallest_slab = 8 * int(np.prod(sorted(shape)[:-1]))
        assert large_copies(text, smallest_slab) == []
        if name == "acoustic":  # faces without a layer take none
            found = kernels(text, smallest_slab)
            assert 0 < len(found) <= ACOUSTIC_KERNELS[task], "\n".join(found)


@cpu_only
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("scalar", (64, 70)),
        pytest.param("acoustic", (64, 70), marks=pytest.mark.slow),
        ("elastic", (64, 70)),
        pytest.param("elastic", (30, 32, 34), marks=pytest.mark.slow),
    ],
)
def test_steps_are_taken_back_in_place(name, shape):
    """No copy in a loop over steps within one over segments, neither of what is taken back nor of the adjoint's."""
    make = problem if name == "scalar" else functools.partial(staggered_problem, name, faces=None)
    models, misfit = make(shape=shape, nt=64, storage_mode=Reverse(segment=16))
    text = compiled(jax.grad(misfit), models).as_text()
    smallest_slab = 8 * int(np.prod(sorted(shape)[:-1]))
    assert large_copies(text, smallest_slab) == []


@cpu_only
def test_main_update_runs_on_all_cores():
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one core")
    v, misfit = problem((300, 300), 16)
    text = compiled(misfit, v).as_text()
    parallel = [line for line in text.splitlines() if "outer_dimension_partitions" in line]
    assert max(map(size_of, parallel), default=0) >= 300 * 300


# Passes over memory in one time step. Forward: for each face psi, D psi and zeta, and the wavefield; a saved step adds
# the stored term and its copy into the store. Adjoint: for each face Z and P, and the wavefield; the gradient's sum.
KERNELS = {
    ("forward", 2): 4 * 3 + 1,
    ("forward", 3): 6 * 3 + 1,
    ("gradient", 2): (4 * 3 + 1 + 2) + (4 * 2 + 1 + 1),
    ("gradient", 3): (6 * 3 + 1 + 2) + (6 * 2 + 1 + 1),
}


def kernels(hlo, least):
    """Fusions and updates in the bodies of the loops that make an array of at least ``least`` elements.

    But for the injection of a source, which is counted as an update of the wavefield and touches one cell of it.
    """
    bodies = set(re.findall(r"body=%([\w.-]+)", hlo))
    found, inside = [], False
    for line in hlo.splitlines():
        if line.startswith(("%", "ENTRY")):
            inside = line.startswith("%") and line[1:].split(" ", 1)[0] in bodies
        elif inside and re.search(r"\} (fusion|dynamic-update-slice|copy)\(", line) and size_of(line) >= least:
            found.append(line.strip())
    return [line for line in found if "/scatter-add" not in line]


@cpu_only
@pytest.mark.parametrize(("task", "ndim"), KERNELS)
def test_kernels_per_step(task, ndim):
    """Each is one more pass over memory, and one more launch on a GPU."""
    shape = PLANE if ndim == 2 else SPACE
    found = kernels(text_of(task, shape), 2 * 8 * int(np.prod(sorted(shape)[:-1])))
    assert 0 < len(found) <= 2 * KERNELS[task, ndim], "\n".join(found)  # two steps an iteration


@cpu_only
@pytest.mark.parametrize("shape", [(300, 300), (60, 62, 64)])
def test_every_pass_over_the_wavefield_runs_on_all_cores(shape):
    """But for the copy into the store, which XLA leaves to one."""
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one core")
    v, misfit = problem(shape, 16)
    passes = kernels(compiled(jax.grad(misfit), v).as_text(), int(np.prod(shape)))
    serial = [
        x for x in passes if "outer_dimension_partitions" not in x and "dynamic-update-slice" not in x.split("=")[0]
    ]
    assert passes and serial == []


@functools.cache
def device_bytes(shape, **storage):
    """Of a gradient with 300 steps."""
    v, misfit = problem(shape, 300, **storage)
    return compiled(jax.grad(misfit), v).memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("shape", [(120, 130), (30, 32, 34)])
def test_device_memory_is_the_stored_terms_and_little_more(shape):
    """At most 30 % more than the history, state and work space included."""
    padded = math.prod(PaddedGrid(shape, (5.0,) * len(shape), 4, (8,) * 2 * len(shape)).padded)
    assert device_bytes(shape) <= 1.3 * 300 * 4 * padded


@pytest.mark.parametrize(("nt", "chunks"), [(64, 32), (100, 50), (31, 31)])
def test_number_of_callbacks(nt, chunks, monkeypatch):
    """One write and one read for each chunk, a 32nd of the run or so for fields as small as these."""
    calls = {"write": 0, "read": 0}
    for name in calls:
        real = getattr(Registry, name)

        def counted(self, *args, name=name, real=real):
            calls[name] += 1
            return real(self, *args)

        monkeypatch.setattr(Registry, name, counted)
    v, misfit = problem((30,), nt, storage_mode="cpu")
    jax.block_until_ready(jax.jit(jax.grad(misfit))(v))
    assert calls == {"write": chunks, "read": chunks}


# ---- memory ----


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(120, 130), (30, 32, 34)])
def test_streamed_modes_keep_little_on_the_device(shape, tmp_path):
    """At most a tenth of what "device" takes: the loops' state and one chunk instead of the history."""
    assert device_bytes(shape, storage_mode="cpu") <= device_bytes(shape) / 10
    assert device_bytes(shape, storage_mode="disk", storage_path=str(tmp_path)) <= device_bytes(shape) / 10


MEASURE = """
import sys, jax, jax.numpy as jnp, numpy as np, jaxwave
from jaxwave.storage.registry import REGISTRY

mode, compression, path = sys.argv[1], sys.argv[2] == "True", sys.argv[3]
v, nt = jnp.full((300, 300), 1500.0, jnp.float32), 640
options = dict(
    source_amplitudes=jnp.ones((2, 1, nt), jnp.float32), source_locations=np.full((2, 1, 2), 2),
    receiver_locations=np.full((2, 5, 2), 3), pml_freq=20.0, max_vel=2000.0,
    storage_mode=mode, storage_compression=compression, storage_path=path,
)
seen = []
def watch(state):
    seen.append(REGISTRY.stats())
estimate = jaxwave.estimate_memory(v, 5.0, 8e-4, **options)
callback = watch if mode == "disk" else None
misfit = lambda v: jnp.sum(
    jaxwave.scalar(v, 5.0, 8e-4, backward_callback=callback, callback_frequency=320, **options).receiver_amplitudes ** 2
)
run = jax.jit(jax.grad(misfit), compiler_options=jaxwave.compiler_options()).lower(v).compile()

def memory(which):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(which))

with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak starts again from here
before = memory("VmRSS")
jax.block_until_ready(run(v))
grown = memory("VmHWM") - before
after = REGISTRY.stats()
print(estimate.device, estimate.host, estimate.transfer, estimate.disk, grown)
print(after.ram_bytes + after.pool_bytes, max([0, *(s.disk_bytes for s in seen)]))
"""


def estimated_and_measured(mode, compressed, path):
    command = [sys.executable, "-c", MEASURE, mode, str(compressed), str(path)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [int(x) for x in out.split()]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("mode", "compressed"), [("device", False), ("cpu", False), ("cpu", True)])
def test_memory_estimate_against_measurement(mode, compressed, tmp_path):
    """Within 10 %: the RAM that a gradient takes (device and host are one here), and what the storage holds of it."""
    device, host, transfer, _, grown, held, _ = estimated_and_measured(mode, compressed, tmp_path)
    assert abs(device + host + transfer - grown) <= 0.1 * grown
    assert abs(host - held) <= 0.1 * held


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_disk_estimate_against_measurement(tmp_path):
    """The file within 10 %; the RAM is an upper bound: how many chunks are under way depends on the disk's speed."""
    device, host, transfer, disk, grown, held, file_size = estimated_and_measured("disk", False, tmp_path)
    assert abs(disk - file_size) <= 0.1 * file_size
    assert 0 < held <= host
    assert grown <= 1.2 * (device + host + transfer) < 0.5 * disk


def test_registry_is_idle_after_a_gradient():
    v, misfit = problem((30,), 64, storage_mode="cpu")
    jax.block_until_ready(jax.jit(jax.grad(misfit))(v))
    REGISTRY.clear()
    stats = REGISTRY.stats()
    assert stats.ram_bytes == stats.pool_bytes == stats.disk_bytes == 0
