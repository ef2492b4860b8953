"""Dense rows times a matrix, for compiled loops.

A row of the matrix that has been loaded serves a group of rows at once. The product of one row does
not depend on the others: each number is a sum in the order of the matrix rows.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from torch import Tensor
from torch.nn import functional

from saltation.kernels.cpu.linear.source import padded
from saltation.kernels.cpu.runtime.jit import compiled
from saltation.kernels.cpu.runtime.simd import LANES, check

# So many sums fit in the registers of any machine with vectors of 8 or more numbers.
GROUP = 6

_I64 = ir.IntType(64)
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_FUSED = ("contract",)  # a product and its addition may round once


def panels(matrix: Tensor) -> Tensor:
    """``matrix`` [F, O] as columns of vectors, one below the other, ``[O / 16 * F, 16]``."""
    rows, width = matrix.shape
    whole = functional.pad(matrix.detach(), (0, padded(width) - width))
    return whole.view(rows, -1, LANES).transpose(0, 1).contiguous().view(-1, LANES)


def _generate(
    typing: Any, into: Any, row: Any, column: Any, factors: Any, matrix: Any, first: Any, last: Any
) -> Any:
    """``into[row + g, column:column + 16]`` for every g of the group: the sum of rows ``first ...
    last`` of ``matrix``, each times its number in row ``row + g`` of ``factors``."""
    for array in (into, factors, matrix):
        check(array)
    i64 = types.int64
    signature = types.void(into, i64, i64, factors, matrix, i64, i64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def place(number: int, row: Any, column: Any) -> Any:
            struct = context.make_array(signature.args[number])(context, builder, arguments[number])
            width = cgutils.unpack_tuple(builder, struct.shape)[1]
            return builder.gep(struct.data, [builder.add(builder.mul(row, width), column)])

        def vector(pointer: Any) -> Any:
            return builder.bitcast(pointer, _VECTOR.as_pointer())

        _, row, column, _, _, first, last = arguments
        rows = [builder.add(row, ir.Constant(_I64, g)) for g in range(GROUP)]
        zero = ir.Constant(_I64, 0)
        sources = [place(3, r, zero) for r in rows]
        nothing = ir.Constant(_VECTOR, [0.0] * LANES)
        sums = [cgutils.alloca_once_value(builder, nothing) for _ in rows]
        order = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        matrix = place(4, first, zero)
        count = builder.sub(last, first)
        with cgutils.for_range(builder, count, intp=_I64) as loop:
            at = builder.gep(matrix, [builder.mul(loop.index, ir.Constant(_I64, LANES))])
            numbers = builder.load(vector(at), align=4)
            for source, total in zip(sources, sums, strict=True):
                factor = builder.load(builder.gep(source, [loop.index]))
                one = builder.insert_element(undefined, factor, ir.Constant(ir.IntType(32), 0))
                all_ = builder.shuffle_vector(one, undefined, order)
                product = builder.fmul(all_, numbers, flags=_FUSED)
                builder.store(builder.fadd(builder.load(total), product, flags=_FUSED), total)
        for r, total in zip(rows, sums, strict=True):
            builder.store(builder.load(total), vector(place(0, r, column)), align=4)
        return context.get_dummy_value()

    return signature, generate


_multiply: Any = intrinsic(_generate)


@compiled
def multiply(into: Any, row: int, factors: Any, matrix: Any) -> None:
    """``into[row:row + GROUP] = factors[row:row + GROUP] @ M``, where ``matrix`` is M as `panels`.

    ``into`` is as wide as all panels together.
    """
    count = into.shape[1] // LANES
    height = len(matrix) // count
    for panel in range(count):
        _multiply(into, row, LANES * panel, factors, matrix, height * panel, height * (panel + 1))
