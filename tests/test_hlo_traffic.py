"""What is counted in optimised programs: regions that kernels read, bytes, copies, transfers, the least traffic."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="a source distribution has no benchmarks")


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def kernel(body, *parameters, result):
    """What a fusion moves: its parameters are p0, p1, ... of these shapes, and ``body`` ends in its ROOT."""
    import hlo_loops

    declared = [f"  %p{k} = {shape} parameter({k})" for k, shape in enumerate(parameters)]
    arguments = ", ".join(f"%a{k}" for k in range(len(parameters)))
    outside = [line.replace("%p", "%a").replace("parameter", "get-tuple-element") for line in declared]
    text = "\n".join([
        "%fused (p0: f32[]) -> f32[] {", *declared, *(f"  {line.strip()}" for line in body.strip().splitlines()), "}",
        "%body (t: f32[]) -> f32[] {", *outside,
        f"  ROOT %k = {result} fusion({arguments}), kind=kLoop, calls=%fused", "}",
        "ENTRY %main (x: f32[]) -> f32[] {",
        '  ROOT %w = f32[] while(%x), condition=%c, body=%body, backend_config={"known_trip_count":{"n":"7"}}', "}",
    ])  # fmt: skip
    (loop,) = hlo_loops.loops(text)
    (found,) = loop.kernels
    assert loop.iterations == 7
    return found


# ---- regions ----


def test_volume_of_overlapping_boxes_is_that_of_a_mask():
    import hlo_regions

    rng = np.random.default_rng(3)
    for ndim in (1, 2, 3):
        for number in (1, 2, 9):
            starts = rng.integers(0, 12, (number, ndim))
            boxes = [
                tuple((int(a), int(a + n)) for a, n in zip(s, rng.integers(1, 9, ndim), strict=True)) for s in starts
            ]
            mask = np.zeros((20,) * ndim, bool)
            for box in boxes:
                mask[tuple(slice(*side) for side in box)] = True
            assert hlo_regions.volume(boxes) == mask.sum()


def test_a_stencil_reads_each_cell_once():
    body = """
        %s0 = f32[6,10]{1,0} slice(%p0), slice={[0:6], [1:11]}
        %s1 = f32[6,10]{1,0} slice(%p0), slice={[1:7], [1:11]}
        %s2 = f32[6,10]{1,0} slice(%p0), slice={[2:8], [1:11]}
        %a0 = f32[6,10]{1,0} add(%s0, %s1)
        %a1 = f32[6,10]{1,0} add(%a0, %s2)
        %zero = f32[] constant(0)
        ROOT %r = f32[8,12]{1,0} pad(%a1, %zero), padding=1_1x1_1
    """
    found = kernel(body, "f32[8,12]{1,0}", result="f32[8,12]{1,0}")
    assert (found.read, found.written) == (4 * 8 * 10, 4 * 8 * 12)


def test_under_a_pad_only_what_the_result_keeps_is_read():
    """A slab is added to the last rows; two of its five rows are cut away by a negative padding."""
    body = """
        %zero = f32[] constant(0)
        %pad = f32[8,12]{1,0} pad(%p1, %zero), padding=5_-2x0_0
        ROOT %r = f32[8,12]{1,0} add(%p0, %pad)
    """
    found = kernel(body, "f32[8,12]{1,0}", "f32[5,12]{1,0}", result="f32[8,12]{1,0}")
    assert found.read == 4 * (8 + 3) * 12


def test_of_a_concatenation_each_part_is_read_as_far_as_it_is_needed():
    body = """
        %c = f32[9]{0} concatenate(%p0, %p1), dimensions={0}
        ROOT %r = f32[4]{0} slice(%c), slice={[3:7]}
    """
    assert kernel(body, "f32[4]{0}", "f32[5]{0}", result="f32[4]{0}").read == 4 * (1 + 3)


@pytest.mark.parametrize(("entries", "read"), [(2, 2), (20, 8)])
def test_entries_of_a_history_are_read_one_by_one_and_at_most_all(entries, read):
    slices = [
        f"%d{k} = f32[1,6]{{1,0}} dynamic-slice(%p0, %p1, %p1), dynamic_slice_sizes={{1,6}}" for k in range(entries)
    ]
    sums = [f"%s{k} = f32[1,6]{{1,0}} add(%{'s' if k else 'd'}{max(k - 1, 0)}, %d{k})" for k in range(entries)]
    body = "\n".join([*slices, *sums, f"ROOT %r = f32[6]{{0}} bitcast(%s{entries - 1})"])
    assert kernel(body, "f32[8,6]{1,0}", "s32[]", result="f32[6]{0}").read == 4 * 6 * read + 4


def test_an_update_of_a_history_is_made_in_place():
    body = """
        %e = f32[1,6]{1,0} bitcast(%p1)
        ROOT %r = f32[8,6]{1,0} dynamic-update-slice(%p0, %e, %p2, %p2)
    """
    found = kernel(body, "f32[8,6]{1,0}", "f32[6]{0}", "s32[]", result="f32[8,6]{1,0}")
    assert (found.read, found.written) == (4 * 6 + 4, 4 * 6)


def test_several_updates_of_one_array_are_made_in_place():
    body = """
        %u = f32[8,6]{1,0} dynamic-update-slice(%p0, %p1, %p2, %p2)
        %t = f32[8,6]{1,0} dynamic-update-slice(%u, %p1, %p2, %p2)
        ROOT %r = f32[1,8,6]{2,1,0} bitcast(%t)
    """
    found = kernel(body, "f32[8,6]{1,0}", "f32[2,6]{1,0}", "s32[]", result="f32[1,8,6]{2,1,0}")
    assert (found.read, found.written) == (4 * 2 * 6 + 4, 2 * 4 * 2 * 6)


def test_an_update_that_is_no_result_reads_its_array():
    body = """
        %u = f32[8,6]{1,0} dynamic-update-slice(%p0, %p1, %p2, %p2)
        ROOT %r = f32[8,6]{1,0} negate(%u)
    """
    found = kernel(body, "f32[8,6]{1,0}", "f32[2,6]{1,0}", "s32[]", result="f32[8,6]{1,0}")
    assert (found.read, found.written) == (4 * (8 * 6 + 2 * 6) + 4, 4 * 8 * 6)


def test_an_update_of_what_the_kernel_computes_is_a_pass_over_all_of_it():
    body = """
        %n = f32[8,6]{1,0} negate(%p0)
        ROOT %r = f32[8,6]{1,0} dynamic-update-slice(%n, %p1, %p2, %p2)
    """
    found = kernel(body, "f32[8,6]{1,0}", "f32[1,6]{1,0}", "s32[]", result="f32[8,6]{1,0}")
    assert (found.read, found.written) == (4 * (8 * 6 + 6) + 4, 4 * 8 * 6)


def test_a_scatter_touches_its_points_and_a_gather_reads_its_own():
    scatter = "ROOT %r = f32[8,6]{1,0} scatter(%p0, %p1, %p2), update_window_dims={}, to_apply=%add"
    found = kernel(scatter, "f32[8,6]{1,0}", "s32[3,2]{1,0}", "f32[3]{0}", result="f32[8,6]{1,0}")
    assert (found.read, found.written) == (4 * 6 + 4 * 3, 4 * 3)
    gather = "ROOT %r = f32[3]{0} gather(%p0, %p1), offset_dims={}, slice_sizes={1,1}"
    assert kernel(gather, "f32[8,6]{1,0}", "s32[3,2]{1,0}", result="f32[3]{0}").read == 4 * 3 + 4 * 6


def test_results_of_several_arrays_are_read_for_together_and_written_each():
    body = """
        %s = f32[2,6]{1,0} slice(%p0), slice={[0:2], [0:6]}
        %l = f32[2,6]{1,0} slice(%p0), slice={[1:3], [0:6]}
        ROOT %r = (f32[2,6]{1,0}, /*index=1*/f32[2,6]{1,0}) tuple(%s, %l)
    """
    found = kernel(body, "f32[8,6]{1,0}", result="(f32[2,6]{1,0}, f32[2,6]{1,0})")
    assert (found.read, found.written) == (4 * 3 * 6, 4 * 2 * 2 * 6)


def test_a_broadcast_reads_its_lines_and_a_reduction_all_that_it_sums():
    broadcast = """
        %b = f32[8,6]{1,0} broadcast(%p0), dimensions={1}
        ROOT %r = f32[8,2]{1,0} slice(%b), slice={[0:8], [1:3]}
    """
    assert kernel(broadcast, "f32[6]{0}", result="f32[8,2]{1,0}").read == 4 * 2
    reduction = """
        %zero = f32[] constant(0)
        %s = f32[6]{0} reduce(%p0, %zero), dimensions={0}, to_apply=%add
        ROOT %r = f32[2]{0} slice(%s), slice={[4:6]}
    """
    assert kernel(reduction, "f32[8,6]{1,0}", result="f32[2]{0}").read == 4 * 8 * 2


def test_axes_that_are_turned_or_of_one_cell_keep_their_regions_and_other_shapes_their_number():
    def read(change, shape):
        body = f"%c = {shape}{{1,0}} {change}\nROOT %r = f32[2,3]{{1,0}} slice(%c), slice={{[1:3], [0:3]}}"
        half = "%s = f32[2,3]{1,0} slice(%p0), slice={[1:3], [0:3]}\n"  # the same cells, where they are not moved
        both = half + body.replace("ROOT %r", "%t") + "\nROOT %r = f32[2,3]{1,0} add(%s, %t)"
        return kernel(both, "f32[8,6]{1,0}", result="f32[2,3]{1,0}").read / 4

    assert read("transpose(%p0), dimensions={1,0}", "f32[6,8]") == 6 + 6 - 4  # rows 1, 2 and columns 1, 2
    assert read("reverse(%p0), dimensions={0}", "f32[8,6]") == 6 + 6
    assert read("bitcast(%p0)", "f32[4,12]") == 6 + 6  # of another shape only the number is known
    through = "%b = f32[1,8,6]{2,1,0} bitcast(%p0)\nROOT %r = f32[1,2,3]{2,1,0} slice(%b), slice={[0:1], [1:3], [0:3]}"
    assert kernel(through, "f32[8,6]{1,0}", result="f32[1,2,3]{2,1,0}").read == 4 * 6


@pytest.mark.hlo
@pytest.mark.optimised
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="reads what the CPU compiler writes")
def test_what_a_compiled_kernel_reads_is_what_its_result_depends_on():
    """Against the non-zeros of a Jacobian, for one kernel with a stencil, a slab under a pad and a reversed axis."""
    import hlo_loops

    def step(x):
        inner = x[2:-2, 3:-1] - 2 * x[1:-3, 3:-1] + x[2:-2, 4:]
        slab = jnp.sin(x[:3, 5:9])[::-1]
        return lax.pad(inner, 0.0, [(1, 1, 0), (0, 0, 0)]) + lax.pad(slab, 0.0, [(4, 5, 0), (6, 2, 0)])

    x = jnp.asarray(np.random.default_rng(0).random((14, 16)))

    def loop(x, y):
        # What is updated is only written, and the kernel reads x.
        return lax.fori_loop(0, 5, lambda i, y: lax.dynamic_update_index_in_dim(y, step(x + i), i, 0), y)

    text = jax.jit(loop).lower(x, jnp.zeros((5, 12, 12))).compile().as_text()
    (found,) = hlo_loops.loops(text)
    main = max(found.kernels, key=lambda k: k.read)
    depends = np.count_nonzero(np.any(jax.jacobian(step)(x).reshape(-1, x.size) != 0, axis=0))
    assert 0 <= main.read / 8 - depends <= 4  # beside the numbers of the entry, which are read too


# ---- loops ----

# Two segments of three iterations: a run again and the adjoint that needs it; a copy of a field, one kernel that
# computes something again, a buffer that nothing fills, and an entry of a history fetched from the host meanwhile.
SEGMENTS = """
%copied (p: f32[2000]) -> f32[2000] {
  %p = f32[2000]{0} parameter(0)
  ROOT %c = f32[2000]{0} copy(%p)
}

%fetched (h: f32[5,2000], i: s32[]) -> f32[1,2000] {
  %h = f32[5,2000]{1,0:S(5)} parameter(0)
  %i = s32[] parameter(1)
  ROOT %d = f32[1,2000]{1,0} dynamic-slice(%h, %i, %i), dynamic_slice_sizes={1,2000}
}

%again (t: (s32[], f32[2000])) -> (s32[], f32[2000]) {
  %t = (s32[], f32[2000]{0}) parameter(0)
  %i = s32[] get-tuple-element(%t), index=0
  %u = f32[2000]{0} get-tuple-element(%t), index=1
  %n = f32[2000]{0} negate(%u)
  %n.remat = f32[2000]{0} negate(%u)
  %one = s32[] constant(1)
  %next = s32[] add(%i, %one)
  %f = f32[2000]{0} fusion(%n), kind=kLoop, calls=%copied
  ROOT %r = (s32[], f32[2000]{0}) tuple(%next, %f)
}

%adjoint (t: (s32[], f32[2000], f32[5,2000])) -> (s32[], f32[2000], f32[5,2000]) {
  %t = (s32[], f32[2000]{0}, f32[5,2000]{1,0:S(5)}) parameter(0)
  %i = s32[] get-tuple-element(%t), index=0
  %w = f32[2000]{0} get-tuple-element(%t), index=1
  %h = f32[5,2000]{1,0:S(5)} get-tuple-element(%t), index=2
  %start = ((f32[5,2000]{1,0:S(5)}, s32[]), f32[1,2000]{1,0}, u32[]) fusion-start(%h, %i), kind=kLoop, calls=%fetched
  %m = f32[2000]{0} negate(%w)
  %k = f32[2000]{0} negate(%m)
  %done = f32[1,2000]{1,0} fusion-done(%start)
  %next = s32[] add(%i, %i)
  ROOT %r = (s32[], f32[2000]{0}, f32[5,2000]{1,0:S(5)}) tuple(%next, %k, %h)
}

%segment (t: (s32[], f32[2000])) -> (s32[], f32[2000]) {
  %t = (s32[], f32[2000]{0}) parameter(0)
  %empty = f32[5,2000]{1,0} custom-call(), custom_call_target="AllocateBuffer"
  %a = (s32[], f32[2000]{0}) while(%t), condition=%c, body=%again, metadata={op_name="jit(g)/transpose(jvp())/while/body/while"}, backend_config={"known_trip_count":{"n":"3"}}
  %b = (s32[], f32[2000]{0}) while(%a), condition=%c, body=%adjoint, metadata={op_name="jit(g)/transpose(jvp())/while/body/while"}, backend_config={"known_trip_count":{"n":"3"}}
  ROOT %r = (s32[], f32[2000]{0}) tuple(%b, %b)
}

ENTRY %main (x: f32[2000]) -> f32[2000] {
  %x = f32[2000]{0} parameter(0)
  %s = (s32[], f32[2000]{0}) while(%x), condition=%c, body=%segment, metadata={op_name="jit(g)/transpose(jvp())/while"}, backend_config={"known_trip_count":{"n":"2"}}
  ROOT %r = f32[2000]{0} get-tuple-element(%s), index=1
}
"""  # noqa: E501 (lines of HLO)


def test_loops_within_loops_are_counted_by_themselves():
    import hlo_loops

    segments, again, adjoint = hlo_loops.loops(SEGMENTS)
    assert (segments.iterations, segments.repeats, segments.within, segments.parents) == (2, 1, 2, 0)
    assert segments.kernels == ()  # an empty buffer starts nothing, and the loops have their own
    assert (again.iterations, again.repeats, again.within, again.parents) == (3, 2, 0, 1)
    assert [k.name for k in again.kernels] == ["n", "n.remat", "next", "f"]
    assert [k.is_scalar for k in again.kernels] == [False, False, True, False]
    assert [k.is_remat for k in again.kernels] == [False, True, False, False]
    assert [k.is_copy for k in again.kernels] == [False, False, False, True]
    assert [(k.read, k.written) for k in again.kernels if not k.is_scalar] == [(8000, 8000)] * 3
    assert [k.name for k in adjoint.kernels] == ["m", "k", "next"]


def test_loops_are_told_apart_by_what_surrounds_them():
    import hlo_loops
    import worker_gpu_compiled

    found = hlo_loops.loops(SEGMENTS)
    backward = ["segments of the adjoint", "run again", "adjoint"]
    assert worker_gpu_compiled.roles(found, "gradient, recompute") == backward
    forward = hlo_loops.loops(SEGMENTS.replace("transpose(jvp())", "jvp()"))
    assert worker_gpu_compiled.roles(forward, "gradient, recompute") == ["segments of the run", "run", "run"]
    assert worker_gpu_compiled.roles(found[2:], "gradient") == ["adjoint"]
    assert worker_gpu_compiled.roles(forward[2:], "gradient") == ["saving run"]


@pytest.mark.parametrize(
    ("late", "early", "during"), [(False, False, 2), (True, False, 1), (False, True, 1), (True, True, 0)]
)
def test_a_transfer_is_placed_among_the_kernels(late, early, during):
    """It starts before all of them and ends after all, or after the first, or before the second."""
    import hlo_loops

    lines = SEGMENTS.splitlines()
    at = {
        name: next(k for k, line in enumerate(lines) if f"%{name} = " in line) for name in ("start", "m", "k", "done")
    }
    order = [*(["m", "start"] if late else ["start", "m"]), *(["done", "k"] if early else ["k", "done"])]
    moved = [lines[at[name]] for name in order]
    text = "\n".join([*lines[: at["start"]], *moved, *lines[at["done"] + 1 :]])
    (transfer,) = hlo_loops.loops(text)[2].transfers
    assert (transfer.with_host, transfer.bytes, transfer.during) == (True, 8000, during)
    assert (transfer.starts_first, transfer.ends_last) == (not late, not early)


# ---- the least that a step moves ----


@pytest.mark.parametrize(
    ("name", "fields", "coefficients", "terms", "memory"),
    [
        # u[t] and u[t-1] in, u[t+1] out; v^2 dt^2; its Laplacian; psi and zeta.
        ("2d-300x8", 3, 1, 1, 2),
        ("3d-256", 3, 1, 1, 2),
        # p and both v in, v out; p and v in, p out. B twice and K; one derivative of p and of v along each axis.
        ("acoustic-2d-300x4", 5 + 4, 3, 3, 2),
        ("acoustic-3d-120", 7 + 5, 4, 4, 2),
        # Velocities and stresses in, velocities out; the same in, stresses out. B of each velocity, lambda, mu in the
        # cells and at each shear stress; e_k for every axis in place of their sum. Along an axis one derivative of each
        # velocity, and as many of stresses.
        ("elastic-2d-300x4", 5 + 2 + 5 + 3, 2 + 2 + 1, 2 + 2 + 1, 4),
        ("elastic-3d-100", 9 + 3 + 9 + 6, 3 + 2 + 3, 3 + 3 + 3, 6),
    ],
)
def test_passes_of_a_step(name, fields, coefficients, terms, memory):
    import cases
    import least_traffic

    found = least_traffic.passes(cases.COMPILED[name])
    assert found == least_traffic.Passes(fields, coefficients, terms, memory)


def test_least_bytes_add_up():
    import cases
    import least_traffic

    case = cases.COMPILED["2d-300x8"]
    field = 4 * 8 * 300**2
    run = 3 * field + field / 8
    layers = 2 * 2 * 4 * 8 * (2 * 2 * 20 * 300)  # psi and zeta, in and out, in both layers of both axes
    least = {loop: least_traffic.least_bytes(case, loop, layers=False) for loop in least_traffic.LOOPS}
    assert least == {"run": run, "saving run": run + field, "adjoint": run + field + 2 * field / 8}
    assert least_traffic.least_bytes(case, "run") == pytest.approx(run + layers, rel=1e-12)
    # 8 bits a cell in place of 32, and a float32 scale for some cells.
    int8 = least_traffic.least_bytes(case, "saving run", "int8", layers=False) - run
    assert field / 4 < int8 < 0.35 * field
    assert math.isclose(least_traffic.wavefield_bytes(case), field)
