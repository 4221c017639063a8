"""Optimised HLO, as XLA prints it, as instructions in computations."""

from __future__ import annotations

import dataclasses
import functools
import math
import re

BYTES = {
    "f64": 8, "s64": 8, "u64": 8, "c64": 8, "f32": 4, "s32": 4, "u32": 4, "f16": 2, "bf16": 2, "s16": 2, "u16": 2,
    "s8": 1, "u8": 1, "pred": 1,
}  # fmt: skip
_ARRAY = re.compile(rf"\b({'|'.join(BYTES)})\[([\d,]*)\]")
_START = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"\s*(ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([a-z][\w\-]*)\((.*)")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
        name: Its name.
        opcode: What it does.
        shape: Of its result, as it is printed: of an array, or of a tuple of arrays.
        operands: Names of the instructions that it reads.
        arguments: What stands between the parentheses: the operands, a parameter's number, a constant's value.
        rest: What follows them.
        is_root: Whether its result is that of the computation.
    """

    name: str
    opcode: str
    shape: str
    operands: tuple[str, ...]
    arguments: str
    rest: str
    is_root: bool

    @functools.cached_property
    def arrays(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Kind and dimensions of each array of the result."""
        return tuple((k, tuple(int(n) for n in d.split(",") if n)) for k, d in _ARRAY.findall(self.shape))

    @property
    def dims(self) -> tuple[int, ...]:
        """Dimensions of the result, or of the first of its arrays."""
        return self.arrays[0][1] if self.arrays else ()

    @property
    def item(self) -> int:
        """Bytes of an element of the result, or of the first of its arrays."""
        return BYTES[self.arrays[0][0]] if self.arrays else 0

    @property
    def bytes(self) -> int:
        """Bytes of the result."""
        return sum(BYTES[kind] * math.prod(dims) for kind, dims in self.arrays)

    def braces(self, name: str) -> str:
        """What stands in the braces of an attribute; "" if there is none of this name."""
        found = re.search(rf"\b{name}=\{{([^}}]*)\}}", self.rest)
        return found[1] if found else ""

    def numbers(self, name: str) -> list[int]:
        """The numbers in the braces of an attribute."""
        return [int(n) for n in re.findall(r"-?\d+", self.braces(name))]

    def computation(self, name: str) -> str | None:
        """The computation that an attribute names: what a fusion calls, the body of a loop."""
        found = re.search(rf"\b{name}=%?([\w.\-]+)", self.rest)
        return found[1] if found else None


@dataclasses.dataclass(frozen=True)
class Program:
    """The computations of a program by name, operands before those that read them, and the name of the first to run."""

    computations: dict[str, list[Instruction]]
    entry: str


def parse(text: str) -> Program:
    """The program that a text describes."""
    computations: dict[str, list[Instruction]] = {}
    lines, entry = None, ""
    for line in re.sub(r"/\*.*?\*/", "", text).splitlines():
        start = _START.match(line)
        if start:
            lines = computations.setdefault(start[2], [])
            entry = start[2] if start[1] else entry
        elif line.startswith("}"):
            lines = None
        elif lines is not None and (found := _INSTRUCTION.match(line)):
            lines.append(_instruction(*found.groups()))
    return Program(computations, entry)


def _instruction(root: str | None, name: str, shape: str, opcode: str, rest: str) -> Instruction:
    depth, end = 1, len(rest)
    for k, character in enumerate(rest):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            end = k
            break
    arguments = rest[:end]
    operands = () if opcode in ("constant", "parameter") else tuple(re.findall(r"%([\w.\-]+)", arguments))
    return Instruction(name, opcode, shape, operands, arguments, rest[end + 1 :], root is not None)
