"""What generated loops are made of: functions with named arguments, and matrices."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from llvmlite import ir
from numba.core import cgutils

from saltation.kernels.cpu.neurons.lowering import slots
from saltation.kernels.cpu.neurons.vector import Lanes
from saltation.kernels.cpu.runtime.native import SIGNATURE
from saltation.kernels.cpu.runtime.simd import LANES, VECTOR, constant, prefetch, splat
from saltation.kernels.program.graph import Graph

_F32, _I64 = ir.FloatType(), ir.IntType(64)
_ALIGNED = ir.Constant(ir.IntType(32), 4)  # bytes


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

    def splats(self, numbers: dict[int, Any]) -> dict[int, Lanes]:
        """These numbers as vectors."""
        return {s: Lanes(self.builder, splat(self.builder, n, VECTOR)) for s, n in numbers.items()}


class Matrix:
    """Rows of float32 numbers, ``stride`` numbers from one to the next."""

    def __init__(self, builder: Any, data: Any, stride: Any) -> None:
        self.builder, self._data, self._stride = builder, data, stride

    def at(self, row: Any, column: Any) -> Any:
        """Pointer to a number."""
        place = self.builder.add(self.builder.mul(row, self._stride), column)
        return self.builder.gep(self._data, [place])

    def load(self, row: Any, column: Any) -> Lanes:
        """The vector from ``column`` on."""
        return Lanes(self.builder, self.builder.load(self._vector(row, column), align=4))

    def store(self, lanes: Lanes, row: Any, column: Any) -> None:
        """Put them there."""
        self.builder.store(lanes.value, self._vector(row, column), align=4)

    def fetch(self, row: Any, column: Any) -> None:
        """Have the vector from ``column`` on on its way into cache."""
        prefetch(self.builder, self.at(row, column))

    def load_some(self, row: Any, column: Any, mask: Any) -> Lanes:
        """The vector from ``column`` on, where ``mask`` holds; else zeros."""
        at, zeros = self._vector(row, column), ir.Constant(VECTOR, [0.0] * LANES)
        given = at, _ALIGNED, mask, zeros
        return Lanes(self.builder, _call(self.builder, "load", VECTOR, given))

    def store_some(self, lanes: Lanes, row: Any, column: Any, mask: Any) -> None:
        """Put those there where ``mask`` holds."""
        given = lanes.value, self._vector(row, column), _ALIGNED, mask
        _call(self.builder, "store", ir.VoidType(), given)

    def _vector(self, row: Any, column: Any) -> Any:
        return self.builder.bitcast(self.at(row, column), VECTOR.as_pointer())

    def below(self, rows: Any) -> Matrix:
        """The same from that row on."""
        return Matrix(self.builder, self.at(rows, constant(0)), self._stride)


# Where a vector is: a matrix, the row and the column of its first number.
Place = tuple[Matrix, Any, Any]
K = TypeVar("K", bound=Hashable)


def loaded(places: Mapping[K, Place]) -> dict[K, Lanes]:
    """The vectors at these places."""
    return {key: matrix.load(row, column) for key, (matrix, row, column) in places.items()}


class Window:
    """A vector of neurons from ``place`` on, of which the loop may have fewer.

    All that is loaded must be asked for at once, and so what is stored: either has a branch.
    """

    def __init__(self, loop: Loop, place: Any) -> None:
        self.place = place
        builder = self._builder = loop.builder
        left = builder.sub(loop["width"], place)
        self._whole = builder.icmp_signed(">=", left, constant(LANES))
        lanes = ir.VectorType(_I64, LANES)
        numbers = ir.Constant(lanes, list(range(LANES)))
        self._mask = builder.icmp_signed("<", numbers, splat(builder, left, lanes))

    def loaded(self, places: Mapping[K, Place]) -> dict[K, Lanes]:
        """The vectors at these places."""
        builder = self._builder
        with builder.if_else(self._whole) as (whole, part):
            with whole:
                full = loaded(places)
                one = builder.block
            with part:
                some = {
                    key: matrix.load_some(row, column, self._mask)
                    for key, (matrix, row, column) in places.items()
                }
                two = builder.block
        found = {}
        for key in places:
            value = builder.phi(VECTOR)
            value.add_incoming(full[key].value, one)
            value.add_incoming(some[key].value, two)
            found[key] = Lanes(builder, value)
        return found

    def store(self, *values: tuple[Lanes, Matrix, Any]) -> None:
        """Put these vectors into rows of matrices."""
        with self._builder.if_else(self._whole) as (whole, part):
            with whole:
                for lanes, matrix, row in values:
                    matrix.store(lanes, row, self.place)
            with part:
                for lanes, matrix, row in values:
                    matrix.store_some(lanes, row, self.place, self._mask)


@contextmanager
def every_neuron(loop: Loop) -> Iterator[Window]:
    """A loop over vectors of the loop's ``width`` neurons."""
    bounds = constant(0), loop["width"], constant(LANES)
    with cgutils.for_range_slice(loop.builder, *bounds) as (place, _):
        yield Window(loop, place)


def _call(builder: Any, name: str, result: Any, given: Sequence[Any]) -> Any:
    """A load or store that is masked."""
    whole = f"llvm.masked.{name}.v{LANES}f32.p0"
    kind = ir.FunctionType(result, [part.type for part in given])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, whole), given)
