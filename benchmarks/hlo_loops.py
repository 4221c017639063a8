"""What the loops of an optimised program launch on a device: kernels, the bytes they must move, copies, transfers.

Each instruction that starts something is a kernel, but for the two halves of an asynchronous one, which are a transfer.
Loops are those whose number of iterations the compiler knows. What a loop within a loop launches is counted there, and
not in the loop around it.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator

from hlo_regions import needed, results
from hlo_text import Instruction, Program, parse

# Instructions that start nothing.
FREE = {
    "parameter", "tuple", "get-tuple-element", "constant", "bitcast", "after-all", "optimization-barrier",
    "partition-id", "replica-id",
}  # fmt: skip
_REPLACEMENT = {"dynamic-update-slice": 1, "scatter": 2}  # the operand that replaces part of the first one
HOST = "S(5)"  # the memory space of the host, in a layout


@dataclasses.dataclass(frozen=True)
class Kernel:
    """What one launch moves.

    Attributes:
        name: Of its instruction.
        opcode: Of its instruction.
        largest: Elements of the largest array that it writes.
        read: Bytes that it must read at least: each element that the result depends on once.
        written: Bytes that it writes.
        is_copy: Whether it does nothing but to copy.
    """

    name: str
    opcode: str
    largest: int
    read: int
    written: int
    is_copy: bool

    @property
    def is_scalar(self) -> bool:
        """Whether it makes single numbers, as a loop's counter is."""
        return self.largest <= 1

    @property
    def is_remat(self) -> bool:
        """Whether it computes something again, because the device had no room to keep it."""
        return ".remat" in self.name


@dataclasses.dataclass(frozen=True)
class Transfer:
    """An asynchronous copy or update, from its start to its end.

    Attributes:
        name: Of the instruction that starts it.
        opcode: Of that instruction.
        bytes: What it moves.
        with_host: Whether one side is memory of the host.
        starts_first: Whether it starts before every kernel of the iteration that makes more than single numbers.
        ends_last: Whether it is waited for after all of those, and in the same iteration.
        during: How many of those lie between.
    """

    name: str
    opcode: str
    bytes: int
    with_host: bool
    starts_first: bool
    ends_last: bool
    during: int


@dataclasses.dataclass(frozen=True)
class Loop:
    """One loop.

    Attributes:
        operation: What it comes from, as JAX names it.
        iterations: Of one execution.
        repeats: Iterations of the loops around it, multiplied.
        parents: Number of loops around it.
        within: Number of loops in its body.
        kernels: What an iteration launches, in order.
        transfers: What it moves asynchronously.
    """

    operation: str
    iterations: int
    repeats: int
    parents: int
    within: int
    kernels: tuple[Kernel, ...]
    transfers: tuple[Transfer, ...]


def loops(text: str) -> list[Loop]:
    """The loops of an optimised program, in the order in which they run; one that holds others comes before them."""
    program = parse(text)
    return list(_loops_in(program, program.entry, 1, 0))


def launched(program: Program, computation: str) -> Iterator[tuple[str, Instruction]]:
    """What a computation and those that it calls launch, in order: (computation, instruction), loops among them."""
    for x in program.computations[computation]:
        if x.opcode == "call":  # parallel fusions of a CPU, command buffers of a GPU
            yield from launched(program, x.computation("to_apply"))
        elif x.opcode not in FREE and "AllocateBuffer" not in x.rest:
            yield computation, x


def _loops_in(program: Program, computation: str, repeats: int, parents: int) -> Iterator[Loop]:
    for _, x in launched(program, computation):
        iterations = _iterations(x)
        if iterations is None:
            continue
        body = x.computation("body")
        inner = list(_loops_in(program, body, repeats * iterations, parents + 1))
        operation = x.rest.partition('op_name="')[2].partition('"')[0]
        yield Loop(operation, iterations, repeats, parents, len(inner), *_launches(program, body))
        yield from inner


def _iterations(x: Instruction) -> int | None:
    """Of a loop; None of anything else, and where the compiler does not know."""
    if x.opcode != "while":
        return None
    number = re.search(r'known_trip_count\D*?"n":"(\d+)"', x.rest)
    return int(number[1]) if number else None


def _launches(program: Program, body: str) -> tuple[tuple[Kernel, ...], tuple[Transfer, ...]]:
    kernels: list[tuple[int, Kernel]] = []
    starts: dict[str, tuple[int, str, Instruction]] = {}
    ends: dict[str, int] = {}
    for k, (computation, x) in enumerate(launched(program, body)):
        if x.opcode.endswith("-start"):
            starts[x.name] = k, computation, x
        elif x.opcode.endswith(("-done", "-update")) and x.operands:
            ends[x.operands[0]] = k
        elif _iterations(x) is None:
            kernels.append((k, _kernel(program, computation, x)))
    at = [k for k, kernel in kernels if not kernel.is_scalar]
    transfers = []
    for k, computation, x in starts.values():
        end = ends.get(x.name, -1)
        transfers.append(
            Transfer(
                name=x.name, opcode=x.opcode, bytes=min(_traffic(program, computation, x)), with_host=HOST in x.shape,
                starts_first=all(k < other for other in at), ends_last=all(other < end for other in at),
                during=sum(k < other < end for other in at),
            )
        )  # fmt: skip
    return tuple(kernel for _, kernel in kernels), tuple(transfers)


def _kernel(program: Program, computation: str, x: Instruction) -> Kernel:
    largest = max((math.prod(dims) for _, dims in x.arrays), default=0)
    body = program.computations.get(x.computation("calls") or "", []) if x.opcode == "fusion" else [x]
    work = {y.opcode for y in body} - FREE
    return Kernel(x.name, x.opcode, largest, *_traffic(program, computation, x), work == {"copy"})


def _traffic(program: Program, computation: str, x: Instruction) -> tuple[int, int]:
    """Bytes that an instruction reads and writes."""
    body = program.computations.get(x.computation("calls") or "") if x.opcode.startswith("fusion") else None
    if body is None:
        if x.opcode == "custom-call":
            return _operands_whole(program, computation, x), x.bytes
        body = _alone(program, computation, x)
    updates = _updates_in_place(body)
    regions = needed(body, {y.name for chain in updates.values() for y in chain})
    read = sum(regions[y.name].count(y.dims) * y.item for y in body if y.opcode == "parameter")
    written = 0
    for y in {y.name: y for y in results(body)}.values():  # a result may stand in a tuple twice
        made_of = updates.get(y.name)
        written += sum(_replacement(body, update).bytes for update in made_of) if made_of else y.bytes
    return read, written


def _operands_whole(program: Program, computation: str, x: Instruction) -> int:
    by_name = {y.name: y for y in program.computations[computation]}
    return sum(by_name[name].bytes for name in set(x.operands) & set(by_name))


def _alone(program: Program, computation: str, x: Instruction) -> list[Instruction]:
    """A computation of this instruction only: its operands are parameters."""
    by_name = {y.name: y for y in program.computations[computation]}
    operands = [by_name[name] for name in dict.fromkeys(x.operands)]
    parameters = [dataclasses.replace(y, opcode="parameter", operands=(), is_root=False) for y in operands]
    opcode = x.opcode.removesuffix("-start")
    return [*parameters, dataclasses.replace(x, opcode=opcode, is_root=True)]


def _updates_in_place(body: list[Instruction]) -> dict[str, list[Instruction]]:
    """By the name of a result: the updates that make it of an array that the kernel is given, where that array lies."""
    by_name, found = {y.name: y for y in body}, {}

    def origin(y: Instruction) -> Instruction:
        while y.opcode == "bitcast":
            y = by_name[y.operands[0]]
        return y

    for result in results(body):
        chain, y = [], origin(result)
        while y.opcode in _REPLACEMENT:
            chain.append(y)
            y = origin(by_name[y.operands[0]])
        if chain and y.opcode == "parameter":
            found[result.name] = chain
    return found


def _replacement(body: list[Instruction], update: Instruction) -> Instruction:
    """What an update puts into its array."""
    return next(y for y in body if y.name == update.operands[_REPLACEMENT[update.opcode]])
