"""How much of its operands a fused computation has to read, from the regions of arrays that its result needs.

A kernel that reads an array at shifted places passes it once, if the cache does its part; a slice of an array is all
that is needed of it; and what is read under a pad is less than the pad's result. So the regions that each instruction
needs of its operands are followed from the result back to the parameters. A region is a set of boxes, and a number of
elements of which only their count is known, as of a slice that begins at a computed place.

This is a lower bound for one kernel: each element that is needed is read once. What is fetched twice because threads
that need it are far from each other is not in it.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator

import numpy as np
from hlo_text import Instruction

Box = tuple[tuple[int, int], ...]
"""First index and the one after the last, for each axis."""
MOST_BOXES = 24
"""Of an instruction within a kernel; more become the one that holds them, and the count may be too high."""


@dataclasses.dataclass(frozen=True)
class Region:
    """Part of an array.

    Attributes:
        boxes: Parts whose place is known; they may overlap.
        elsewhere: Elements besides, at places that are not known.
    """

    boxes: frozenset[Box] = frozenset()
    elsewhere: int = 0

    def __bool__(self) -> bool:
        return bool(self.boxes or self.elsewhere)

    def __or__(self, other: Region) -> Region:
        return Region(self.boxes | other.boxes, self.elsewhere + other.elsewhere)

    def moved(self, move: Callable[[Box], Box]) -> Region:
        """The region whose boxes are these, moved, without empty ones."""
        boxes = {move(box) for box in self.boxes}
        return Region(frozenset(box for box in boxes if all(stop > start for start, stop in box)), self.elsewhere)

    def count(self, dims: tuple[int, ...]) -> int:
        """Elements of it, in an array of these dimensions."""
        return min(volume(self.boxes) + self.elsewhere, math.prod(dims))

    def simple(self) -> Region:
        """The region itself, or the box that holds all of its boxes if they are many."""
        if len(self.boxes) <= MOST_BOXES:
            return self
        hull = tuple((min(a for a, _ in sides), max(b for _, b in sides)) for sides in zip(*self.boxes, strict=True))
        return Region(frozenset([hull]), self.elsewhere)


def whole(dims: tuple[int, ...]) -> Region:
    """All of an array."""
    return Region(frozenset([tuple((0, n) for n in dims)])) if 0 not in dims else Region()


def volume(boxes: Iterable[Box]) -> int:
    """Elements of the union of boxes."""
    boxes = list(boxes)
    if len(boxes) < 2:
        return sum(math.prod(stop - start for start, stop in box) for box in boxes)
    cuts = [sorted({edge for side in sides for edge in side}) for sides in zip(*boxes, strict=True)]
    inside = np.zeros([len(edges) - 1 for edges in cuts], bool)
    for box in boxes:
        inside[tuple(slice(c.index(a), c.index(b)) for (a, b), c in zip(box, cuts, strict=True))] = True
    sizes = np.ones((), np.int64)
    for edges in cuts:
        sizes = np.multiply.outer(sizes, np.diff(edges))
    return int(sizes[inside].sum())


def needed(instructions: list[Instruction], in_place: Collection[str] = ()) -> dict[str, Region]:
    """What the result of a computation needs of each of its instructions, parameters among them.

    Args:
        instructions: Of the computation.
        in_place: Names of those that update an array where it lies: they need what replaces part of it, and not the
            array.
    """
    by_name = {x.name: x for x in instructions}
    found = dict.fromkeys(by_name, Region())
    for x in results(instructions):
        found[x.name] |= whole(x.dims)
    for x in reversed(instructions):
        region = found[x.name]
        if not region or x.opcode in ("parameter", "constant", "iota", "tuple"):
            continue
        for k, part in _operand_regions(x, region.simple(), [by_name[name] for name in x.operands]):
            if part and not (x.name in in_place and k == 0):
                found[x.operands[k]] |= part
    return found


def results(instructions: list[Instruction]) -> list[Instruction]:
    """The instructions that make the result of a computation, or the arrays of a result that is a tuple."""
    by_name = {x.name: x for x in instructions}
    root = next(x for x in instructions if x.is_root)
    return [by_name[name] for name in root.operands] if root.opcode == "tuple" else [root]


# ---- what an instruction needs of its operands ----

Parts = Iterator[tuple[int, Region]]
Rule = Callable[[Instruction, Region, list[Instruction]], Parts]


def _operand_regions(x: Instruction, region: Region, operands: list[Instruction]) -> Parts:
    """For each operand, by number, what a region of the result needs of it."""
    return _RULES.get(x.opcode, _elementwise)(x, region, operands)


def _elementwise(x: Instruction, region: Region, operands: list[Instruction]) -> Parts:
    """The same of operands as large as the result, and all of the others."""
    for k, operand in enumerate(operands):
        yield k, region if operand.dims == x.dims else whole(operand.dims)


def _everything(x: Instruction, region: Region, operands: list[Instruction]) -> Parts:
    for k, operand in enumerate(operands):
        yield k, whole(operand.dims)


def _slice(x: Instruction, region: Region, operands: list[Instruction]) -> Parts:
    cuts = [[int(n or 1) for n in cut] for cut in re.findall(r"\[(\d+):\d+:?(\d*)\]", x.braces("slice"))]

    def move(box: Box) -> Box:
        return tuple((s + a * n, s + (b - 1) * n + 1) for (a, b), (s, n) in zip(box, cuts, strict=True))

    yield 0, region.moved(move)


def _pad(x: Instruction, region: Region, operands: list[Instruction]) -> Parts:
    """Interior padding, which stencils have none of, is taken to be none."""
    low = [int(n.split("_")[0]) for n in re.search(r"padding=([\d_x\-]+)", x.rest)[1].split("x")]
    dims = operands[0].dims
    yield 0, region.moved(lambda box: _cut(box, low, dims))
    yield 1, whole(operands[1].dims)


def _cut(box: Box, starts: Iterable[int], dims: tuple[int, ...]) -> Box:
    """The part of a box that lies in an array which begins at ``starts``, as that array has it."""
    return tuple((max(0, a - s), min(n, b - s)) for (a, b), s, n in zip(box, starts, dims, strict=True))


def _concatenate(x: Instruction, region: Region, operands: list[Instruction]) -> Parts:
    (axis,), start = x.numbers("dimensions"), 0
    for k, operand in enumerate(operands):
        starts = [start if d == axis else 0 for d in range(len(x.dims))]
        yield k, region.moved(lambda box, starts=starts, dims=operand.dims: _cut(box, starts, dims))
        start += operand.dims[axis]


def _broadcast(x: Instruction, region: Region, operands: list[Instruction]) -> Parts:
    axes = x.numbers("dimensions")
    found = region.moved(lambda box: tuple(box[d] for d in axes))
    yield 0, found if not region.elsewhere else whole(operands[0].dims)


def _transpose(x: Instruction, region: Region, operands: list[Instruction]) -> Parts:
    axes = x.numbers("dimensions")
    yield 0, region.moved(lambda box: tuple(box[axes.index(d)] for d in range(len(axes))))


def _reverse(x: Instruction, region: Region, operands: list[Instruction]) -> Parts:
    axes = x.numbers("dimensions")

    def move(box: Box) -> Box:
        sides = enumerate(zip(box, x.dims, strict=True))
        return tuple((n - b, n - a) if d in axes else (a, b) for d, ((a, b), n) in sides)

    yield 0, region.moved(move)


def _reshape(x: Instruction, region: Region, operands: list[Instruction]) -> Parts:
    """Axes of length 1 come and go; of any other change only the number of elements is kept."""
    before, after = operands[0].dims, x.dims
    if [n for n in before if n != 1] != [n for n in after if n != 1]:
        count = region.count(after)
        yield 0, whole(before) if count == math.prod(after) else Region(elsewhere=count)
        return

    def move(box: Box) -> Box:
        sides = iter([side for side, n in zip(box, after, strict=True) if n != 1])
        return tuple((0, 1) if n == 1 else next(sides) for n in before)

    yield 0, region.moved(move)


def _somewhere(x: Instruction, region: Region, operands: list[Instruction]) -> Parts:
    """As many elements as the result needs, at places that the other operands say."""
    yield 0, Region(elsewhere=region.count(x.dims))
    for k, operand in enumerate(operands[1:], 1):
        yield k, whole(operand.dims)


def _update(x: Instruction, region: Region, operands: list[Instruction]) -> Parts:
    """The array that is updated, and all that replaces part of it or says where."""
    yield 0, region
    for k, operand in enumerate(operands[1:], 1):
        yield k, whole(operand.dims)


def _reduce(x: Instruction, region: Region, operands: list[Instruction]) -> Parts:
    """Of arrays that are reduced together, whose initial values follow them."""
    axes = x.numbers("dimensions")
    for k, operand in enumerate(operands):
        if k >= len(operands) // 2:
            yield k, whole(operand.dims)
            continue

        def move(box: Box, dims: tuple[int, ...] = operand.dims) -> Box:
            sides = iter(box)
            return tuple((0, n) if d in axes else next(sides) for d, n in enumerate(dims))

        of_each = math.prod(operand.dims[d] for d in axes)
        yield k, Region(region.moved(move).boxes, region.elsewhere * of_each)


_RULES: dict[str, Rule] = {
    "slice": _slice, "pad": _pad, "concatenate": _concatenate, "broadcast": _broadcast, "transpose": _transpose,
    "reverse": _reverse, "bitcast": _reshape, "reshape": _reshape, "dynamic-slice": _somewhere, "gather": _somewhere,
    "dynamic-update-slice": _update, "scatter": _update, "reduce": _reduce,
    **dict.fromkeys(("reduce-window", "sort", "call", "fusion", "custom-call", "dot", "convolution"), _everything),
}  # fmt: skip
