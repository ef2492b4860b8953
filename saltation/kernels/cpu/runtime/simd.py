"""Vector operations that no loop over scalars becomes: sums of rows, and spikes as bits.

LLVM widens a loop over one row, but it neither keeps the running sums of a row in registers while
it walks over other rows, nor turns comparisons into a bit mask. Written for vectors of 16 numbers;
LLVM splits these where the machine's are shorter. Every operation rounds as in a plain loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

from saltation.kernels.cpu.runtime.jit import compiled

LANES = 16
# 32 registers of 16 numbers; else 16 registers, on x86 of 8 numbers.
HAS_AVX512 = "+avx512f" in get_host_cpu_features().split(",")

_I64 = ir.IntType(64)
VECTOR = ir.VectorType(ir.FloatType(), LANES)


def constant(number: int) -> Any:
    """An integer of 64 bits in code that is being generated."""
    return ir.Constant(_I64, number)


def check(kind: Any, dtype: Any = types.float32) -> None:
    """Refuse to compile for an array that is not C-ordered, or holds numbers of another type.

    What is generated here takes the bits in memory as they are: another type's would be read, and
    written, as numbers that mean nothing.
    """
    if not isinstance(kind, types.Array) or kind.layout != "C" or kind.dtype != dtype:
        raise TypeError(f"C-ordered arrays of {dtype} are worked on, not {kind}")


def data_of(
    context: Any, builder: Any, kind: Any, array: Any, dtype: Any = types.float32
) -> tuple[Any, Any]:
    """Pointer to the first number of a C-ordered array of ``dtype``, and the length of its last
    axis."""
    check(kind, dtype)
    struct = context.make_array(kind)(context, builder, array)
    return struct.data, cgutils.unpack_tuple(builder, struct.shape)[-1]


def vector_at(builder: Any, pointer: Any, number: int) -> Any:
    """Pointer to the vector of that number from ``pointer`` on."""
    at = builder.gep(pointer, [constant(LANES * number)])
    return builder.bitcast(at, VECTOR.as_pointer())


@contextmanager
def every_bit(builder: Any, bits: Any) -> Iterator[Any]:
    """A loop over the places of the bits that are 1, from the lowest on."""
    left = cgutils.alloca_once_value(builder, bits)
    head, body, end = (builder.append_basic_block(name) for name in ("head", "body", "end"))
    builder.branch(head)
    builder.position_at_end(head)
    now = builder.load(left)
    builder.cbranch(builder.icmp_unsigned("!=", now, constant(0)), body, end)
    builder.position_at_end(body)
    builder.store(builder.and_(now, builder.sub(now, constant(1))), left)
    yield builder.cttz(now, ir.Constant(ir.IntType(1), 1))
    builder.branch(head)
    builder.position_at_end(end)


def splat(builder: Any, value: Any, kind: Any) -> Any:
    """The vector of type ``kind`` whose numbers are all ``value``."""
    nothing, i32 = ir.Constant(kind, ir.Undefined), ir.IntType(32)
    one = builder.insert_element(nothing, value, ir.Constant(i32, 0))
    order = ir.Constant(ir.VectorType(i32, kind.count), [0] * kind.count)
    return builder.shuffle_vector(one, nothing, order)


def prefetch(builder: Any, at: Any) -> None:
    """Have the line of the cache at the pointer ``at`` on its way into it."""
    byte, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    for_writing, into_all_caches, of_data = (ir.Constant(i32, n) for n in (0, 3, 1))
    builder.call(function, [builder.bitcast(at, byte), for_writing, into_all_caches, of_data])


class Matrix:
    """A C-ordered array in code that is being generated, as rows of its last axis."""

    def __init__(
        self,
        context: Any,
        builder: Any,
        kind: Any,
        array: Any,
        width: int | None = None,
        dtype: Any = types.float32,
    ) -> None:
        """``width`` is the length of the last axis, where it is known."""
        check(kind, dtype)
        self.builder = builder
        struct = context.make_array(kind)(context, builder, array)
        self.data, self._shape = struct.data, cgutils.unpack_tuple(builder, struct.shape)
        self.width = self._shape[-1] if width is None else constant(width)

    def length(self, axis: int) -> Any:
        """Of that axis."""
        return self._shape[axis]

    def at(self, row: Any, column: Any) -> Any:
        """Pointer to a number."""
        place = self.builder.add(self.builder.mul(row, self.width), column)
        return self.builder.gep(self.data, [place])

    def load(self, row: Any, column: Any) -> Any:
        """The vector from ``column`` on."""
        return self.builder.load(vector_at(self.builder, self.at(row, column), 0), align=4)

    def store(self, vector: Any, row: Any, column: Any) -> None:
        """Put ``vector`` there."""
        at = vector_at(self.builder, self.at(row, column), 0)
        self.builder.store(vector, at, align=4)


def _adder(vectors: int) -> Any:
    """Adds rows over that many vectors of columns, with the sums in registers."""

    def add(
        typing: Any,
        into: Any,
        row: Any,
        column: Any,
        source: Any,
        source_column: Any,
        places: Any,
        first: Any,
        last: Any,
    ) -> Any:
        i64 = types.int64
        signature = types.void(into, i64, i64, source, i64, places, i64, i64)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            into, row, column, source, source_column, places, first, last = arguments
            into, width = data_of(context, builder, signature.args[0], into)
            source, stride = data_of(context, builder, signature.args[3], source)
            places, _ = data_of(context, builder, signature.args[5], places, types.int32)
            into = builder.gep(into, [builder.add(builder.mul(row, width), column)])
            source = builder.gep(source, [source_column])
            sums = [
                cgutils.alloca_once_value(
                    builder, builder.load(vector_at(builder, into, k), align=4)
                )
                for k in range(vectors)
            ]
            with cgutils.for_range_slice(builder, first, last, constant(1)) as (e, _):
                place = builder.sext(builder.load(builder.gep(places, [e])), _I64)
                at = builder.gep(source, [builder.mul(place, stride)])
                for k, total in enumerate(sums):
                    number = builder.load(vector_at(builder, at, k), align=4)
                    builder.store(builder.fadd(builder.load(total), number), total)
            for k, total in enumerate(sums):
                builder.store(builder.load(total), vector_at(builder, into, k), align=4)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(add)


_add_8, _add_4, _add_2, _add_1 = map(_adder, (8, 4, 2, 1))


@compiled
def add_rows(
    into: Any,
    row: int,
    column: int,
    source: Any,
    from_: int,
    places: Any,
    first: int,
    last: int,
    width: int,
) -> None:
    """``into[row, column:column + width] += source[p, from_:from_ + width]`` for every p of
    ``places[first:last]``, in their order.

    ``into`` and ``source`` are float32 matrices and ``width`` is a multiple of 16.
    """
    done = 0
    while done + 128 <= width:
        _add_8(into, row, column + done, source, from_ + done, places, first, last)
        done += 128
    if done + 64 <= width:
        _add_4(into, row, column + done, source, from_ + done, places, first, last)
        done += 64
    if done + 32 <= width:
        _add_2(into, row, column + done, source, from_ + done, places, first, last)
        done += 32
    if done < width:
        _add_1(into, row, column + done, source, from_ + done, places, first, last)


def _row(add: bool) -> Any:
    """Stores a vector of one array in another, or adds it there."""

    def move(
        typing: Any,
        into: Any,
        row: Any,
        column: Any,
        source: Any,
        source_row: Any,
        source_column: Any,
    ) -> Any:
        i64 = types.int64
        signature = types.void(into, i64, i64, source, i64, i64)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            into, row, column, source, *at = arguments
            target = Matrix(context, builder, signature.args[0], into)
            number = Matrix(context, builder, signature.args[3], source).load(*at)
            if add:
                number = builder.fadd(target.load(row, column), number)
            target.store(number, row, column)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(move)


_copy, _add = _row(add=False), _row(add=True)


@compiled
def copy_row(
    into: Any, row: int, column: int, source: Any, source_row: int, from_: int, width: int
) -> None:
    """``into[row, column:column + width] = source[source_row, from_:from_ + width]``, a multiple
    of 16 numbers."""
    for done in range(0, width, LANES):
        _copy(into, row, column + done, source, source_row, from_ + done)


@compiled
def add_row(into: Any, row: int, source: Any, source_row: int) -> None:
    """``into[row] += source[source_row]``, of as many columns, a multiple of 16."""
    for done in range(0, into.shape[1], LANES):
        _add(into, row, done, source, source_row, done)


def _generate_fetch(typing: Any, array: Any, row: Any, column: Any) -> Any:
    signature = types.void(array, types.int64, types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, row, column = arguments
        data, width = data_of(context, builder, signature.args[0], array)
        at = builder.gep(data, [builder.add(builder.mul(row, width), column)])
        prefetch(builder, at)
        return context.get_dummy_value()

    return signature, generate


_fetch: Any = intrinsic(_generate_fetch)


@compiled
def fetch(array: Any, row: int, column: int, width: int) -> None:
    """Have ``array[row, column:column + width]`` on its way into cache."""
    for done in range(0, width, LANES):
        _fetch(array, row, column + done)


def _generate_mask(typing: Any, array: Any, row: Any, column: Any) -> Any:
    """Bits of the 16 numbers of ``array`` [R, N] from ``column`` on in ``row``: 1 where not 0."""
    signature = types.uint64(array, types.int64, types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, row, column = arguments
        data, width = data_of(context, builder, signature.args[0], array)
        at = builder.gep(data, [builder.add(builder.mul(row, width), column)])
        numbers = builder.load(vector_at(builder, at, 0), align=4)
        bits = builder.fcmp_unordered("!=", numbers, ir.Constant(VECTOR, [0.0] * LANES))
        return builder.zext(builder.bitcast(bits, ir.IntType(LANES)), _I64)

    return signature, generate


mask: Any = intrinsic(_generate_mask)


def _generate_largest(typing: Any, array: Any, row: Any, width: Any) -> Any:
    """Bits of the greatest magnitude among the first ``width`` numbers, a multiple of 16, of
    ``array`` [R, N] in ``row``. Magnitudes are in the order of their bits, NaN above infinity."""
    signature = types.int64(array, types.int64, types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, row, width = arguments
        numbers = Matrix(context, builder, signature.args[0], array)
        kind = ir.VectorType(ir.IntType(32), LANES)
        most = cgutils.alloca_once_value(builder, ir.Constant(kind, [0] * LANES))
        sign = ir.Constant(kind, [0x7FFFFFFF] * LANES)
        with cgutils.for_range_slice(builder, constant(0), width, constant(LANES)) as (column, _):
            bits = builder.and_(builder.bitcast(numbers.load(row, column), kind), sign)
            known = builder.load(most)
            above = builder.icmp_unsigned(">", bits, known)
            builder.store(builder.select(above, bits, known), most)
        whole = ir.FunctionType(kind.element, [kind])
        name = f"llvm.vector.reduce.umax.v{LANES}i32"
        reduce = cgutils.get_or_insert_function(builder.module, whole, name)
        return builder.zext(builder.call(reduce, [builder.load(most)]), _I64)

    return signature, generate


largest: Any = intrinsic(_generate_largest)


def _generate_lowest(typing: Any, bits: Any) -> Any:
    """Number of the lowest bit of ``bits`` (uint64) that is 1; there must be one."""
    signature = types.int64(types.uint64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return signature, generate


lowest: Any = intrinsic(_generate_lowest)


def _generate_ones(typing: Any, bits: Any) -> Any:
    """How many bits of ``bits`` (uint64) are 1."""
    signature = types.int64(types.uint64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return signature, generate


ones: Any = intrinsic(_generate_ones)
