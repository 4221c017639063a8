"""Which storage policy suits a problem, this machine and a budget: each is compiled and timed for a few steps.

A run of n steps is taken to need, on the device, what the short program needs beside its history, plus the footprint of
the whole history; and n times the seconds that a step took. The chosen policy is compiled at full length before it is
used, so that the compiler's own figure decides whether it fits.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxwave.chunks import Plan
from jaxwave.dispatch import compiler_options
from jaxwave.embedding import Setup, prepare, run_inputs
from jaxwave.rules import propagate
from jaxwave.storage.auto import Auto
from jaxwave.storage.base import DeviceStorage, Storage
from jaxwave.storage.codecs import Codec
from jaxwave.storage.recompute import Recompute
from jaxwave.storage.reverse import Reverse, reversible
from jaxwave.storage.streamed import DiskStorage, HostStorage

CALIBRATION_WORK = 2e8  # cells times steps of a timed run: about a second on two cores
LEAST_STEPS = 16
KEPT_FREE = 0.1  # of what is free, when no budget is given


class Budget(NamedTuple):
    """Bytes that a gradient may take; ``memory`` bounds device and host together where they are the same."""

    device: int
    host: int
    disk: int
    memory: float = math.inf


@dataclasses.dataclass(frozen=True)
class Option:
    """A policy with what a gradient takes under it.

    Attributes:
        name: In words.
        storage: The policy.
        device, host, disk: Bytes: the loops' work space and the history; ``host`` with chunks on their way.
        seconds: Predicted time of one gradient, without compilation.
        refused: Why it does not fit, "" if it does.
    """

    name: str
    storage: Storage
    device: int
    host: int
    disk: int
    seconds: float
    refused: str = ""


@dataclasses.dataclass(frozen=True)
class StoragePlan:
    """The options for a problem, the fastest first.

    Attributes:
        budget: What they were held against.
        options: All of them.
    """

    budget: Budget
    options: tuple[Option, ...]

    @property
    def chosen(self) -> Option | None:
        """The fastest option that fits, None if there is none."""
        return next((option for option in self.options if not option.refused), None)

    def __str__(self) -> str:
        lines = [f"{'policy':32} {'device':>10} {'host':>10} {'disk':>10} {'seconds':>9}"]
        for option in self.options:
            sizes = " ".join(f"{_size(getattr(option, name)):>10}" for name in ("device", "host", "disk"))
            verdict = option.refused or ("chosen: the fastest that fits" if option is self.chosen else "fits")
            lines.append(f"{option.name:32} {sizes} {option.seconds:9.2f}  {verdict}")
        places = ", ".join(f"{name} {_size(getattr(self.budget, name))}" for name in ("device", "host", "disk"))
        return "\n".join([*lines, f"budget: {places}"])


class BudgetError(ValueError):
    """No storage policy fits into the budget.

    Attributes:
        plan: The :class:`StoragePlan`: what each would take.
    """

    def __init__(self, plan: StoragePlan) -> None:
        self.plan = plan
        super().__init__(
            f"no storage policy fits the gradient of this problem into the budget:\n{plan}\n"
            "Give more, compress what is stored, or propagate fewer shots at a time"
        )


def _size(nbytes: float) -> str:
    return f"{nbytes / 2**20:.1f} MiB" if nbytes < 2**40 else f"{nbytes / 2**40:.1f} TiB"


# ---- what is free ----


def free_budget(auto: Auto) -> Budget:
    """The budget of a request, with what is free for the places that it leaves open."""
    memory, disk = free_memory(), shutil.disk_usage(auto.path).free
    device = jax.local_devices()[0]
    shared = device.platform == "cpu"
    stats = None if shared else device.memory_stats()
    on_device = stats["bytes_limit"] - stats["bytes_in_use"] if stats else memory

    def limit(asked: int | None, free: float) -> int:
        return int((1 - KEPT_FREE) * free) if asked is None else asked

    both = math.inf if not shared or None not in (auto.device, auto.host) else int((1 - KEPT_FREE) * memory)
    return Budget(limit(auto.device, on_device), limit(auto.host, memory), limit(auto.disk, disk), both)


def free_memory() -> int:
    """Bytes of RAM that this process may still take: the least of what the system and its control group have."""
    free = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free.append(1024 * int(line.split()[1]))
    limit, used = (_lines(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if limit and used and limit[0] != "max":
        free.append(max(0, int(limit[0]) - int(used[0])))
    return min(free)


def _lines(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.read().splitlines()
    except OSError:
        return []


# ---- measuring ----


class Case(NamedTuple):
    """A problem as far as planning looks at it: static, so that what was measured for it is remembered."""

    setup: Setup
    plan: Plan
    kinds: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]  # sources and receivers: points of each kind
    models: tuple[tuple[str, tuple[int, ...]], ...]
    dtype: str
    max_vel: float
    pml_freq: float

    @property
    def n_steps(self) -> int:
        return self.setup.n_steps


def case(setup: Setup, plan: Plan, arrays: dict[str, Any], max_vel: float, pml_freq: float) -> Case:
    """What planning needs to know of a checked call."""
    kinds = tuple(
        (name, tuple((kind, int(x.shape[1])) for kind, x in arrays[name].items())) for name in ("sources", "receivers")
    )
    models = tuple((name, tuple(x.shape)) for name, x in arrays["models"].items())
    dtype = np.dtype(next(iter(arrays["models"].values())).dtype).name
    return Case(setup, dataclasses.replace(plan, observer=None), kinds, models, dtype, max_vel, pml_freq)


def _arrays(case: Case, nt: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Models, and the other arrays, of the shapes of the problem, of ``nt`` steps of the user."""
    setup, kinds = case.setup, dict(case.kinds)
    axes = setup.grid.ndim

    def points(name):
        return {kind: np.zeros((setup.n_shots, n, axes), np.int32) for kind, n in kinds[name]}

    amplitudes = {kind: np.zeros((setup.n_shots, n, nt), case.dtype) for kind, n in kinds["sources"]}
    models = {name: np.ones(shape, case.dtype) for name, shape in case.models}
    places = {name: points(name) for name in ("sources", "receivers")}
    return models, {"amplitudes": amplitudes, **places, "fields": {}, "memory": None, "before": {}}


def _begun(case: Case, nt: int) -> Setup:
    """A run of ``nt`` steps of the user that begins anew."""
    return dataclasses.replace(case.setup, nt=nt, n_before=None)


def _compiled(case: Case, storage: Storage, nt: int, gradient: bool = True) -> Any:
    """A program of ``nt`` steps of the user, of the arrays of :func:`_arrays`: a gradient or a forward run."""
    setup, plan = _begun(case, nt), dataclasses.replace(case.plan, storage=storage)

    def misfit(models, others):
        inputs, _ = run_inputs(setup, {**others, "models": models}, case.max_vel, case.pml_freq)
        return jnp.sum(propagate(inputs, plan)[0] ** 2)

    program = jax.jit(jax.grad(misfit) if gradient else misfit, compiler_options=compiler_options() or None)
    return program.lower(*jax.eval_shape(lambda: _arrays(case, nt))).compile()


def device_bytes(compiled: Any) -> int:
    """Device memory of a compiled program: work space, arguments and results, as the compiler plans it."""
    analysis = compiled.memory_analysis()
    return analysis.temp_size_in_bytes + analysis.argument_size_in_bytes + analysis.output_size_in_bytes


def _outside_traces(function: Callable) -> Callable:
    """Runs a function in a thread of its own: what JAX traces in this one does not see it."""

    @functools.wraps(function)
    def call(*args):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(function, *args).result()

    return call


class Measured(NamedTuple):
    """A program of a few steps.

    Attributes:
        seconds: Time a step.
        base: Device bytes beside its history and its series.
        per_state: Time to move a state between device and tier, where a replayed run keeps them elsewhere.
    """

    seconds: float
    base: int
    per_state: float = 0.0


def _short(case: Case) -> int:
    """Steps of the user in a timed run."""
    setup, interval = case.setup, case.plan.interval
    cells = setup.n_shots * math.prod(setup.grid.padded) * setup.step_ratio
    nt = min(max(LEAST_STEPS, int(CALIBRATION_WORK / cells)), setup.nt)
    return max(interval, nt // interval * interval)


@functools.lru_cache(maxsize=64)
@_outside_traces
def _measure(case: Case, storage: Storage, gradient: bool = True) -> Measured:
    """Compiles and times a few steps."""
    nt = _short(case)
    compiled, arrays, seconds = _compiled(case, storage, nt, gradient), jax.device_put(_arrays(case, nt)), []
    for _ in range(4):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arrays))
        seconds.append(time.perf_counter() - start)
    n_steps = _begun(case, nt).n_steps
    plan = dataclasses.replace(case.plan, storage=storage)
    held = plan.footprint(n_steps, _state(case)).device if gradient else 0
    return Measured(min(seconds[1:]) / n_steps, device_bytes(compiled) - held - _series_bytes(case, nt))


def _series_bytes(case: Case, nt: int) -> int:
    """Amplitudes, their gradients, records and their cotangents."""
    points = sum(n for _, kinds in case.kinds for _, n in kinds)
    return 2 * nt * case.setup.step_ratio * case.setup.n_shots * points * np.dtype(case.dtype).itemsize


@functools.lru_cache(maxsize=64)
@_outside_traces
def _compiled_bytes(case: Case, storage: Storage) -> int:
    """Device bytes of the whole gradient, from the compiler."""
    return device_bytes(_compiled(case, storage, case.setup.nt))


@functools.lru_cache(maxsize=64)
@_outside_traces
def _state(case: Case) -> Any:
    models, others = _arrays(case, 1)
    setup = _begun(case, 1)
    return jax.eval_shape(lambda: prepare(setup, {**others, "models": models})[-1])


# ---- choosing ----


def _candidates(case: Case, auto: Auto, budget: Budget) -> list[tuple[str, Storage, Measured]]:
    """Policies, with what was measured for each or for its like."""
    codec, disk = auto.codec, DiskStorage(auto.codec, path=auto.path)
    stored = [("device", DeviceStorage(codec)), ("host RAM", HostStorage(codec)), ("disk", disk)]
    found = [(name, storage, _measure(case, storage)) for name, storage in stored]
    replayed = _measure(case, Recompute(codec, segments=2))
    room = int(min(budget.device, budget.memory)) - replayed.base - _series_bytes(case, case.setup.nt)
    found.append(("recompute", _recompute_within(case, codec, room), replayed))
    for name, tier in (("in host RAM", HostStorage()), ("on disk", DiskStorage(path=auto.path))):
        elsewhere = _measure(case, Recompute(codec, segments=2, checkpoints=tier))
        moved = max(0.0, elsewhere.seconds - replayed.seconds) * _short(case) * case.setup.step_ratio / 2
        measured = Measured(replayed.seconds, elsewhere.base, moved)
        found.append((f"recompute, states {name}", Recompute(codec, checkpoints=tier), measured))
    if reversible(case.plan.equation) and case.plan.interval == 1:
        tiers = ("reverse", DeviceStorage(codec)), ("reverse, layers in host RAM", HostStorage(codec))
        back = [(name, Reverse(codec, ring=tier)) for name, tier in tiers]
        found += [(name, storage, _measure(case, storage)) for name, storage in back]
    return found


def _recompute_within(case: Case, codec: Codec, memory: int) -> Recompute:
    """What takes the least work in so many bytes; what takes the least memory where there are too few."""
    storage = Recompute(codec, memory=max(1, memory))
    try:
        dataclasses.replace(case.plan, storage=storage).chunks(case.n_steps, _state(case), True)
    except ValueError:
        return Recompute(codec, segments=case.plan.entries(case.n_steps), slots=1)
    return storage


def _option(case: Case, budget: Budget, name: str, storage: Storage, measured: Measured) -> Option:
    plan, state, n_steps = dataclasses.replace(case.plan, storage=storage), _state(case), case.n_steps
    kept, replays = plan.footprint(n_steps, state), isinstance(storage, Recompute)
    schedule = storage.schedule(*plan.sizes(n_steps, state)) if replays else None
    seconds = n_steps * measured.seconds
    if schedule:
        seconds += schedule.places * measured.per_state
    if schedule and schedule.advances:
        size = plan.chunks(n_steps, state, True).size * plan.interval
        seconds += schedule.advances * size * _measure(case, DeviceStorage(), False).seconds
    device = measured.base + _series_bytes(case, case.setup.nt) + kept.device
    option = Option(name, storage, device, kept.host + kept.transfer, kept.disk, seconds)
    return dataclasses.replace(option, refused=_refusal(option, budget))


def _refusal(option: Option, budget: Budget) -> str:
    for name in ("device", "host", "disk"):
        if getattr(option, name) > getattr(budget, name):
            return f"over the {name} budget"
    return "over the free memory" if option.device + option.host > budget.memory else ""


@functools.lru_cache(maxsize=64)
def storage_plan(case: Case, auto: Auto) -> StoragePlan:
    """The options for a problem; the chosen one is compiled at full length to be sure that it fits.

    Args:
        case: The problem.
        auto: The request.
    """
    budget = free_budget(auto)
    found = [_option(case, budget, *candidate) for candidate in _candidates(case, auto, budget)]
    options = sorted(found, key=lambda option: option.seconds)
    while (plan := StoragePlan(budget, tuple(options))).chosen:
        option = dataclasses.replace(plan.chosen, device=_compiled_bytes(case, plan.chosen.storage))
        option = dataclasses.replace(option, refused=_refusal(option, budget))
        options[options.index(plan.chosen)] = option
        if not option.refused:
            break
    return StoragePlan(budget, tuple(options))


def choose(case: Case, auto: Auto) -> StoragePlan:
    """The options for a problem, of which one fits.

    Raises:
        BudgetError: If none does.
    """
    plan = storage_plan(case, auto)
    if plan.chosen is None:
        raise BudgetError(plan)
    return plan
