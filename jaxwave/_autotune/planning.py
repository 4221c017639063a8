"""Which storage policy suits a problem, this machine and a budget: each is compiled for a few steps, timed if it fits.

A run of n steps is taken to need, on the device, what the short program needs beside its history, plus the footprint of
the whole history; and n times the seconds that a step took. What does not fit by that is refused and never run, so that
planning itself stays within the budget. The chosen policy is compiled at full length before it is used, so that the
compiler's own figure decides whether it fits.

A run carries the request (:class:`Pending`) until a rule of differentiation asks for a history, and only then is
anything measured: once for each kind of problem, which is what shapes the program. The values of models, the speed and
the frequency of the layers do not.
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

from jaxwave._setup.embedding import Arrays, Setup, pad_inputs, run_inputs
from jaxwave._setup.survey import Points
from jaxwave._timeloop.chunks import Plan
from jaxwave._timeloop.dispatch import compiler_options
from jaxwave._timeloop.rules import propagate
from jaxwave.storage.auto import Auto
from jaxwave.storage.base import DeviceStorage, Request, Storage
from jaxwave.storage.codecs import Codec
from jaxwave.storage.pinned import PinnedStorage, counts_right, pool_at_hand, pool_bytes
from jaxwave.storage.recompute import Recompute
from jaxwave.storage.reverse import Reverse
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
class StorageOption:
    """A policy with what a gradient takes under it.

    Attributes:
        name: In words.
        storage: The policy.
        device, host, disk: Bytes: the loops' work space and the history; ``host`` with chunks on their way.
        seconds: Predicted time of one gradient, without compilation; infinite where that was not measured, because it
            does not fit.
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
        budget: Bytes that they may take: ``device``, ``host`` and ``disk``.
        options: All of them, each a :class:`jaxwave.StorageOption`.
    """

    budget: Budget
    options: tuple[StorageOption, ...]

    @property
    def chosen(self) -> StorageOption | None:
        """The fastest option that fits, None if there is none."""
        return next((option for option in self.options if not option.refused), None)

    def __str__(self) -> str:
        lines = [f"{'policy':32} {'device':>10} {'host':>10} {'disk':>10} {'seconds':>9}"]
        for option in self.options:
            sizes = " ".join(f"{_size(getattr(option, name)):>10}" for name in ("device", "host", "disk"))
            verdict = option.refused or ("chosen: the fastest that fits" if option is self.chosen else "fits")
            seconds = f"{option.seconds:9.2f}" if option.seconds < math.inf else f"{'-':>9}"
            lines.append(f"{option.name:32} {sizes} {seconds}  {verdict}")
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
    device: str

    @property
    def n_steps(self) -> int:
        return self.setup.n_steps


def case(setup: Setup, plan: Plan, arrays: Arrays) -> Case:
    """The kind of problem of a checked call."""
    kinds = tuple(
        (name, tuple((kind, int(found.weight.shape[1])) for kind, found in getattr(arrays, name).items()))
        for name in ("sources", "receivers")
    )
    models = tuple((name, tuple(x.shape)) for name, x in arrays.models.items())
    dtype = np.dtype(next(iter(arrays.models.values())).dtype).name
    device = jax.local_devices()[0].device_kind
    return Case(setup, dataclasses.replace(plan, observer=None), kinds, models, dtype, device)


def _arrays(case: Case, nt: int) -> Arrays:
    """Arrays of the shapes of the problem, of ``nt`` steps of the user."""
    setup, kinds = case.setup, dict(case.kinds)
    axes = setup.grid.ndim

    def points(name):
        shapes = {kind: (setup.n_shots, n) for kind, n in kinds[name]}
        return {
            kind: Points((np.zeros(shape, np.int32),) * axes, np.ones(shape, case.dtype))
            for kind, shape in shapes.items()
        }

    amplitudes = {kind: np.zeros((setup.n_shots, n, nt), case.dtype) for kind, n in kinds["sources"]}
    models = {name: np.ones(shape, case.dtype) for name, shape in case.models}
    return Arrays(models, amplitudes, points("sources"), points("receivers"), {}, None, {}, np.zeros(axes, np.int32))


def _begun(case: Case, nt: int) -> Setup:
    """A run of ``nt`` steps of the user that begins anew."""
    return dataclasses.replace(case.setup, nt=nt, n_before=None)


def _compiled(case: Case, storage: Storage, nt: int, gradient: bool = True) -> Any:
    """A program of ``nt`` steps of the user, of the arrays of :func:`_arrays`: a gradient or a forward run."""
    setup, plan = _begun(case, nt), dataclasses.replace(case.plan, storage=storage)
    some_speed, some_freq = min(setup.grid.spacing) / (2 * setup.inner_dt), 0.1 / setup.dt  # operands of the program

    def misfit(models, arrays):
        inputs, _ = run_inputs(setup, arrays._replace(models=models), some_speed, some_freq)
        return jnp.sum(propagate(inputs, plan)[0] ** 2)

    program = jax.jit(jax.grad(misfit) if gradient else misfit, compiler_options=compiler_options() or None)
    arrays = jax.eval_shape(lambda: _arrays(case, nt))
    return program.lower(arrays.models, arrays).compile()


def device_bytes(compiled: Any) -> int:
    """Device memory of a compiled program: work space, arguments and results, as the compiler plans it."""
    analysis = compiled.memory_analysis()
    return analysis.temp_size_in_bytes + analysis.argument_size_in_bytes + analysis.output_size_in_bytes


def _outside_traces(function: Callable) -> Callable:
    """Runs a function in a thread of its own, outside of the traces of this one."""

    @functools.wraps(function)
    def call(*args):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(function, *args).result()

    return call


class Trial:
    """A program of a few steps of the user, compiled.

    Attributes:
        n_steps: Steps of the loop.
        base: Device bytes beside its history and its series.
    """

    def __init__(self, case: Case, storage: Storage, gradient: bool) -> None:
        nt = case.setup.nt
        self._case, self._compiled = case, _compiled(case, storage, nt, gradient)
        self.n_steps = _begun(case, nt).n_steps
        plan = dataclasses.replace(case.plan, storage=storage)
        held = plan.footprint(self.n_steps, _state(case)).device if gradient else 0
        self.base = max(0, device_bytes(self._compiled) - held - _series_bytes(case, nt))

    @functools.cached_property
    def seconds(self) -> float:
        """Time of a step of the loop: the program is run, with wavefields of zeros."""
        return _outside_traces(self._timed)() / self.n_steps

    def _timed(self) -> float:
        arrays, seconds = jax.device_put(_arrays(self._case, self._case.setup.nt)), []
        for _ in range(4):
            start = time.perf_counter()
            jax.block_until_ready(self._compiled(arrays.models, arrays))
            seconds.append(time.perf_counter() - start)
        return min(seconds[1:])


def _short(case: Case) -> int:
    """Steps of the user in a timed run."""
    setup = case.setup
    cells = setup.n_shots * math.prod(setup.grid.padded) * setup.step_ratio
    return _whole(case, min(max(LEAST_STEPS, int(CALIBRATION_WORK / cells)), setup.nt))


def _whole(case: Case, nt: int) -> int:
    """About ``nt`` steps of the user, that the sampling interval divides."""
    return max(case.plan.interval, nt // case.plan.interval * case.plan.interval)


def _within(case: Case, storage: Storage, room: float, least: int) -> int:
    """Steps of the user in a timed run whose history takes no more than this on the device, or ``least``."""
    plan, nt = dataclasses.replace(case.plan, storage=storage), _short(case)
    least = min(nt, _whole(case, least * case.plan.interval))
    while nt > least and plan.footprint(_begun(case, nt).n_steps, _state(case)).device > room:
        nt = max(_whole(case, nt // 2), least)
    return nt


def _try(case: Case, storage: Storage, nt: int | None = None, gradient: bool = True) -> Trial:
    """A trial of ``nt`` steps of the user; the same one for runs of every length."""
    return _measure(case._replace(setup=dataclasses.replace(case.setup, nt=nt or _short(case))), storage, gradient)


@functools.lru_cache(maxsize=32)
@_outside_traces
def _measure(case: Case, storage: Storage, gradient: bool) -> Trial:
    return Trial(case, storage, gradient)


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
    arrays, setup = _arrays(case, 1), _begun(case, 1)
    return jax.eval_shape(lambda: pad_inputs(setup, arrays)[-1])


# ---- choosing ----


class Candidate(NamedTuple):
    """A policy, and what it is measured by.

    Attributes:
        name: In words.
        storage: The policy.
        trial: A short program under it or its like.
    """

    name: str
    storage: Storage
    trial: Trial


def _candidates(case: Case, auto: Auto, budget: Budget) -> list[Candidate]:
    """All policies that the problem allows."""
    codec, disk = auto.codec, DiskStorage(auto.codec, path=auto.path)
    stored = [("device", DeviceStorage(codec)), ("host RAM", HostStorage(codec)), ("disk", disk)]
    if pool_at_hand():
        stored.insert(1, ("pinned host RAM", PinnedStorage(codec, counted=counts_right())))
    found = [Candidate(name, storage, _try(case, storage)) for name, storage in stored]
    room = _room(case, budget)
    nt = _within(case, Recompute(codec, segments=2), room - found[0].trial.base, LEAST_STEPS)
    replayed = _try(case, Recompute(codec, segments=2), nt)
    storage = _recompute_within(case, codec, int(room) - replayed.base)
    found.append(Candidate("recompute", storage, replayed))
    for name, tier in (("in host RAM", HostStorage()), ("on disk", DiskStorage(path=auto.path))):
        trial = _try(case, Recompute(codec, segments=2, checkpoints=tier), nt)
        found.append(Candidate(f"recompute, states {name}", Recompute(codec, checkpoints=tier), trial))
    if case.plan.equation.reversible and case.plan.interval == 1:
        tiers = ("reverse", DeviceStorage(codec)), ("reverse, layers in host RAM", HostStorage(codec))
        back = [(name, Reverse(codec, ring=tier)) for name, tier in tiers]
        found += [Candidate(name, storage, _try(case, storage)) for name, storage in back]
    return found


def _room(case: Case, budget: Budget) -> float:
    """Bytes on the device for history and work space."""
    return min(budget.device, budget.memory) - _series_bytes(case, case.setup.nt)


def _recompute_within(case: Case, codec: Codec, memory: int) -> Recompute:
    """The policy of the least work in so many bytes, or of the least memory where none fits."""
    storage = Recompute(codec, memory=max(1, memory))
    sizes = dataclasses.replace(case.plan, storage=storage).sizes(case.n_steps, _state(case))
    try:
        return storage.explicit(*sizes)
    except ValueError:
        return Recompute(codec, segments=case.plan.entries(case.n_steps), slots=1)


def _option(case: Case, budget: Budget, candidate: Candidate) -> StorageOption:
    name, storage, trial = candidate
    kept = dataclasses.replace(case.plan, storage=storage).footprint(case.n_steps, _state(case))
    device = trial.base + _series_bytes(case, case.setup.nt) + kept.device
    option = StorageOption(name, storage, device, kept.host + kept.transfer, kept.disk, math.inf)
    refused = _refusal(option, budget)
    seconds = math.inf if refused else _seconds(case, budget, candidate)
    return dataclasses.replace(option, refused=refused, seconds=seconds)


def _seconds(case: Case, budget: Budget, candidate: Candidate) -> float:
    """Time of a gradient: the trials are run, which take no more than what they stand for."""
    _, storage, trial = candidate
    if not isinstance(storage, Recompute):
        return case.n_steps * trial.seconds
    like = Recompute(storage.codec, segments=2)
    step = _try(case, like, _within(case, like, _room(case, budget) - trial.base, 2)).seconds
    plan, state, seconds = dataclasses.replace(case.plan, storage=storage), _state(case), case.n_steps * step
    schedule = storage.schedule(*plan.sizes(case.n_steps, state))
    if storage.streams:  # the states are kept elsewhere: two of them, in the trial
        seconds += schedule.places * max(0.0, trial.seconds - step) * trial.n_steps / 2
    if schedule.advances:
        size = plan.chunks(case.n_steps, state, True).size * plan.interval
        seconds += schedule.advances * size * _try(case, DeviceStorage(), gradient=False).seconds
    return seconds


def _refusal(option: StorageOption, budget: Budget) -> str:
    for name in ("device", "host", "disk"):
        if getattr(option, name) > getattr(budget, name):
            return f"over the {name} budget"
    if isinstance(option.storage, PinnedStorage) and option.host > pool_bytes():
        return "over the pool of pinned memory"
    return "over the free memory" if option.device + option.host > budget.memory else ""


_KNOWN: dict[tuple[Case, Auto], StoragePlan] = {}
"""The plan for each kind of problem, kept as long as the process lives."""


def storage_plan(case: Case, auto: Auto) -> StoragePlan:
    """The options for a problem; the chosen one is compiled at full length to be sure that it fits.

    Args:
        case: The problem.
        auto: The request.
    """
    if (case, auto) not in _KNOWN:
        _KNOWN[case, auto] = _chosen(case, auto)
    return _KNOWN[case, auto]


def _chosen(case: Case, auto: Auto) -> StoragePlan:
    budget = free_budget(auto)
    found = [_option(case, budget, candidate) for candidate in _candidates(case, auto, budget)]
    options = sorted(found, key=lambda option: option.seconds)
    while (plan := StoragePlan(budget, tuple(options))).chosen:
        option = dataclasses.replace(plan.chosen, device=_compiled_bytes(case, plan.chosen.storage))
        option = dataclasses.replace(option, refused=_refusal(option, budget))
        options[options.index(plan.chosen)] = option
        if not option.refused:
            break
    return StoragePlan(budget, tuple(options))


@dataclasses.dataclass(frozen=True)
class Pending(Request):
    """A request whose problem is known, in place of the policy of a run until a history is asked for.

    Attributes:
        auto: The request.
        case: The problem.
    """

    auto: Auto
    case: Case

    @property
    def codec(self) -> Codec:
        return self.auto.codec

    def settled(self, stored: int) -> Storage:
        """The policy that is chosen, measured if it was not before.

        Raises:
            BudgetError: If none fits.
        """
        plan = self.report()
        if plan.chosen is None:
            raise BudgetError(plan)
        return plan.chosen.storage

    def report(self) -> StoragePlan:
        """The options, measured if they were not before."""
        return storage_plan(self.case, self.auto)

    @property
    def known(self) -> StoragePlan | None:
        """The options if they were measured before, else None."""
        return _KNOWN.get((self.case, self.auto))
