"""A small dense product whose sums stay in registers, of which larger ones are made."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from saltation.kernels.cpu.runtime.jit import compiled
from saltation.kernels.cpu.runtime.simd import HAS_AVX512, LANES, VECTOR, constant, splat, vector_at

ROWS = 6  # of a product: with four vectors of columns 24 sums, which registers of AVX-512 hold

FANS = 64, 32, 16  # columns of a product
# Of which the sums, and what is added to them, stay in registers: without AVX-512 those of 16.
_WIDEST = 64 if HAS_AVX512 else 16

_POINTER = ir.FloatType().as_pointer()


def multiply_add(builder: Any, one: Any, two: Any, total: Any) -> Any:
    """``one two + total``, rounded once where the machine can."""
    kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
    name = f"llvm.fmuladd.v{LANES}f32"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [one, two, total])


def _product(fan: int) -> Any:
    """Products with that many columns."""
    vectors = fan // LANES

    def product(
        typing: Any,
        a: Any,
        row: Any,
        deep: Any,
        b: Any,
        line: Any,
        c: Any,
        width: Any,
        depth: Any,
        more: Any,
    ) -> Any:
        signature = types.void(*[types.int64] * 8, types.boolean)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, row, deep, b, line, c, width, depth, more = arguments
            a, b, c = (builder.inttoptr(at, _POINTER) for at in (a, b, c))
            rows = [builder.gep(a, [builder.mul(row, constant(r))]) for r in range(ROWS)]
            lines = [builder.gep(c, [builder.mul(width, constant(r))]) for r in range(ROWS)]
            places = [vector_at(builder, at, k) for at in lines for k in range(vectors)]
            zero = ir.Constant(VECTOR, [0.0] * LANES)
            sums = [cgutils.alloca_once_value(builder, zero) for _ in places]
            with cgutils.for_range_slice(builder, constant(0), depth, constant(1)) as (n, _):
                at = builder.gep(b, [builder.mul(n, line)])
                terms = [builder.load(vector_at(builder, at, k), align=4) for k in range(vectors)]
                step = builder.mul(n, deep)
                for r, first in enumerate(rows):
                    number = splat(builder, builder.load(builder.gep(first, [step])), VECTOR)
                    for term, total in zip(terms, sums[vectors * r :], strict=False):
                        found = multiply_add(builder, number, term, builder.load(total))
                        builder.store(found, total)
            # What is there is added at the end: two stages, which round less than one.
            with builder.if_then(more):
                for at, total in zip(places, sums, strict=True):
                    there = builder.load(at, align=4)
                    builder.store(builder.fadd(builder.load(total), there), total)
            for at, total in zip(places, sums, strict=True):
                builder.store(builder.load(total), at, align=4)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(product)


_product_64, _product_32, _product_16 = map(_product, FANS)


@compiled
def product(
    fan: int,
    a: int,
    row: int,
    deep: int,
    b: int,
    line: int,
    c: int,
    width: int,
    depth: int,
    more: bool,
) -> None:
    """``c[r, :fan] (+)= sum over k < depth of a[r, k] b[k, :fan]`` for `ROWS` rows r; with ``more``
    it is added to what is in ``c``.

    ``a``, ``b`` and ``c`` are addresses of float32 numbers. In ``a`` rows are ``row`` numbers apart
    and columns ``deep``, in ``b`` rows ``line``, in ``c`` rows ``width``.
    """
    if fan == 64:
        _product_64(a, row, deep, b, line, c, width, depth, more)
    elif fan == 32:
        _product_32(a, row, deep, b, line, c, width, depth, more)
    else:
        _product_16(a, row, deep, b, line, c, width, depth, more)


def fan_of(columns: int) -> int:
    """Columns of the products of which ``columns``, a multiple of 16, are made."""
    return next(fan for fan in FANS if fan <= _WIDEST and columns % fan == 0)
