"""What generated loops are made of: functions with named arguments, and matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from saltation.kernels.cpu.neurons.lowering import slots
from saltation.kernels.cpu.neurons.vector import Lanes
from saltation.kernels.cpu.runtime.native import SIGNATURE
from saltation.kernels.cpu.runtime.simd import constant, splat
from saltation.kernels.program.graph import Graph

_F32 = ir.FloatType()


class Loop:
    """A function that is being generated, with its arguments by name."""

    def __init__(self, names: Sequence[str]) -> None:
        self.module = ir.Module()
        function = ir.Function(self.module, SIGNATURE, "loop")
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self._values = {}
        for number, name in enumerate(names):
            at = self.builder.gep(function.args[0], [constant(number)])
            self._values[name] = self.builder.load(at, name=name)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def pointer(self, name: str, kind: Any = _F32) -> Any:
        """The argument as a pointer to numbers."""
        return self.builder.inttoptr(self[name], kind.as_pointer())

    def numbers(self, *graphs: Graph) -> dict[int, Any]:
        """The numbers that these graphs read, each loaded once, from the argument ``numbers``."""
        read = set().union(*(slots(graph, "number") for graph in graphs))
        first, known = self.pointer("numbers"), {}
        for slot in sorted(read):
            known[slot] = self.builder.load(self.builder.gep(first, [constant(slot)]))
        return known

    def splats(self, numbers: dict[int, Any], count: int) -> dict[int, Lanes]:
        """These numbers as vectors of ``count``."""
        kind = ir.VectorType(_F32, count)
        return {s: Lanes(self.builder, splat(self.builder, n, kind)) for s, n in numbers.items()}


class Matrix:
    """Rows of float32 numbers, ``stride`` numbers from one to the next."""

    def __init__(self, builder: Any, data: Any, stride: Any) -> None:
        self.builder, self._data, self._stride = builder, data, stride

    def at(self, row: Any, column: Any) -> Any:
        """Pointer to a number."""
        place = self.builder.add(self.builder.mul(row, self._stride), column)
        return self.builder.gep(self._data, [place])

    def load(self, row: Any, column: Any, count: int) -> Lanes:
        """The vector of ``count`` numbers from ``column`` on."""
        return Lanes(self.builder, self.builder.load(self._vector(row, column, count), align=4))

    def store(self, lanes: Lanes, row: Any, column: Any) -> None:
        """Put them there."""
        at = self._vector(row, column, lanes.value.type.count)
        self.builder.store(lanes.value, at, align=4)

    def _vector(self, row: Any, column: Any, count: int) -> Any:
        kind = ir.VectorType(_F32, count).as_pointer()
        return self.builder.bitcast(self.at(row, column), kind)

    def below(self, rows: Any) -> Matrix:
        """The same from that row on."""
        return Matrix(self.builder, self.at(rows, constant(0)), self._stride)
