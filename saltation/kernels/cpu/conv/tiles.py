"""Tiles of maps, and what the matrices of `toom` make of them: vector operations over channels.

A tile is a vector for each of its places. As in `windows`, what is made of it stays in registers or
in the first cache until it is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from saltation.kernels.cpu.conv.gemm import multiply_add
from saltation.kernels.cpu.conv.toom import Rows, toom
from saltation.kernels.cpu.runtime.simd import LANES, VECTOR, constant, vector_at

RESULTS = 4  # in a line of a tile
NUMBERS = RESULTS + 2  # that they need
POINTS = NUMBERS**2  # at which they are multiplied

# Results are rounded to some 3e-6 of the largest; with whole points it is 1e-5.
TOOM = toom([Fraction(point) for point in ("0", "3/4", "-3/4", "4/3", "-4/3")])

_I64 = ir.IntType(64)
_FLOAT = ir.FloatType().as_pointer()


def transposed(matrix: Rows) -> Rows:
    """Columns as rows."""
    return tuple(zip(*matrix, strict=True))


def _sum(builder: Any, factors: Sequence[Fraction], terms: Sequence[Any]) -> Any:
    """Sum of the terms, vectors, times their factors."""
    # Ones first: what follows them is rounded once.
    pairs = [(f, t) for f, t in zip(factors, terms, strict=True) if f]
    pairs.sort(key=lambda pair: pair[0] != 1)
    total = None
    for factor, term in pairs:
        number = ir.Constant(VECTOR, [float(factor)] * LANES)
        if total is None:
            total = term if factor == 1 else builder.fmul(term, number)
        elif factor == 1:
            total = builder.fadd(total, term)
        else:
            total = multiply_add(builder, term, number, total)
    return total


def _opposite(one: Sequence[Fraction], two: Sequence[Fraction]) -> bool:
    """Whether these are powers of a point and of its negative."""
    return tuple(two) == tuple(f * (-1) ** i for i, f in enumerate(one))


def _by_rows(builder: Any, matrix: Rows, terms: Sequence[Any]) -> list[Any]:
    """``matrix`` times a column of vectors; rows at opposite points share even and odd parts."""
    results: list[Any] = []
    while len(results) < len(matrix):
        row, *below = matrix[len(results) : len(results) + 2]
        if below and _opposite(row, below[0]):
            even, odd = (_sum(builder, row[i::2], terms[i::2]) for i in (0, 1))
            results += [builder.fadd(even, odd), builder.fsub(even, odd)]
        else:
            results.append(_sum(builder, row, terms))
    return results


def _by_columns(builder: Any, matrix: Rows, terms: Sequence[Any]) -> list[Any]:
    """`_by_rows` where columns are at opposite points: even rows take their terms' sum, odd rows
    the difference."""
    columns, place = transposed(matrix), 0
    used, sums, differences = [], [], []
    while place < len(columns):
        column, *after = columns[place : place + 2]
        one, *two = terms[place : place + 2]
        paired = bool(after) and _opposite(column, after[0])
        used.append(column)
        sums.append(builder.fadd(one, two[0]) if paired else one)
        differences.append(builder.fsub(one, two[0]) if paired else one)
        place += 1 + paired
    parts = [differences if i % 2 else sums for i in range(len(matrix))]
    rows = transposed(tuple(used))
    return [_sum(builder, row, part) for row, part in zip(rows, parts, strict=True)]


def _places(builder: Any, base: Any, step: Any | None) -> Callable[[int], Any]:
    """Pointer to the first number of each place: listed at the address ``base``, or from there on,
    ``step`` numbers apart."""

    def listed(number: int) -> Any:
        at = builder.gep(builder.inttoptr(base, _I64.as_pointer()), [constant(number)])
        return builder.inttoptr(builder.load(at), _FLOAT)

    def regular(number: int) -> Any:
        first = builder.inttoptr(base, _FLOAT)
        return builder.gep(first, [builder.mul(step, constant(number))])

    return listed if step is None else regular


def _transform(
    matrix: Rows, product: Any, *, from_list: bool = False, to_list: bool = False
) -> Any:
    """Makes tiles ``matrix x matrix^T`` of tiles ``x``, for vectors of channels at every place;
    where results go to a list of places, it is noted whether they are finite."""
    size, made = len(matrix[0]), len(matrix)

    def transform(
        typing: Any, source: Any, step: Any, into: Any, apart: Any, vectors: Any, seen: Any
    ) -> Any:
        """So many ``vectors`` of one tile.

        ``source`` and ``into`` are addresses of its first place, with the others ``step`` and
        ``apart`` numbers from each other, or of a list of the addresses of its places. The vector
        at the address ``seen`` becomes NaN where a result is not finite.
        """
        signature = types.void(*[types.int64] * 6)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source, step, into, apart, vectors, seen = arguments
            given = _places(builder, source, None if from_list else step)
            wanted = _places(builder, into, None if to_list else apart)
            zero = ir.Constant(VECTOR, [0.0] * LANES)
            all_of = cgutils.alloca_once_value(builder, zero)
            with cgutils.for_range_slice(builder, constant(0), vectors, constant(1)) as (n, _):
                offset = builder.mul(n, constant(LANES))

                def at(place: Any) -> Any:
                    return vector_at(builder, builder.gep(place, [offset]), 0)

                columns = []
                for j in range(size):
                    places = [given(size * i + j) for i in range(size)]
                    column = [builder.load(at(place), align=4) for place in places]
                    columns.append(product(builder, matrix, column))
                for i in range(made):
                    line = product(builder, matrix, [column[i] for column in columns])
                    for j, result in enumerate(line):
                        builder.store(result, at(wanted(made * i + j)), align=4)
                        if to_list:
                            total = multiply_add(builder, result, zero, builder.load(all_of))
                            builder.store(total, all_of)
            if to_list:
                here = vector_at(builder, builder.inttoptr(seen, _FLOAT), 0)
                total = builder.fadd(builder.load(here, align=4), builder.load(all_of))
                builder.store(total, here, align=4)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(transform)


spread_numbers = _transform(TOOM.numbers, _by_rows, from_list=True)
spread_weights = _transform(TOOM.weights, _by_rows)
gather_results = _transform(TOOM.results, _by_columns, to_list=True)
# The gradient of the weights is the transposed of all that.
spread_results = _transform(transposed(TOOM.results), _by_rows, from_list=True)
gather_weights = _transform(transposed(TOOM.weights), _by_columns)
