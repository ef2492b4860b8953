"""Vector operations of convolutions: sums over windows of spikes, and blocks that are turned.

As in `simd`, which these complete, sums stay in registers while their terms are looked up.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from saltation.kernels.cpu.runtime.simd import (
    HAS_AVX512,
    LANES,
    VECTOR,
    constant,
    data_of,
    every_bit,
    vector_at,
)

SIDE = 3  # of a window
FAN = 64  # channels whose sums are kept in registers while weights are added
WIDE = 128  # the same, of layers with as many outputs: less is to be done around each row
PART = 32  # channels whose sums at all places of a window are kept in registers

_TURNED = 16 if HAS_AVX512 else 8  # rows and columns that are turned in registers

_I64 = ir.IntType(64)


def _generate_word(typing: Any, data: Any, place: Any) -> Any:
    """Eight bytes of ``data`` from ``place`` on as one number, the first of them lowest."""
    signature = types.uint64(data, types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first, _ = data_of(context, builder, signature.args[0], arguments[0], types.uint8)
        at = builder.gep(first, [arguments[1]])
        return builder.load(builder.bitcast(at, _I64.as_pointer()), align=1)

    return signature, generate


word: Any = intrinsic(_generate_word)


def _sums(builder: Any, vectors: int) -> list[Any]:
    """So many vectors of zeros in variables, which LLVM keeps in registers."""
    zero = ir.Constant(VECTOR, [0.0] * LANES)
    return [cgutils.alloca_once_value(builder, zero) for _ in range(vectors)]


def _add(builder: Any, total: Any, at: Any) -> None:
    builder.store(builder.fadd(builder.load(total), builder.load(at, align=4)), total)


def _add_to(builder: Any, at: Any, sums: Sequence[Any]) -> None:
    """What is stored from ``at`` on grows by the sums: two stages, which round less than one."""
    for k, total in enumerate(sums):
        here = vector_at(builder, at, k)
        number = builder.fadd(builder.load(here, align=4), builder.load(total))
        builder.store(number, here, align=4)


def _marked_adder(fan: int) -> Any:
    """Adds to ``into[row]`` [fan] the rows ``first + i`` of ``source`` [., fan], i being the bits
    of ``marks`` (uint64) that are 1, in their order."""

    def add(typing: Any, into: Any, row: Any, source: Any, first: Any, marks: Any) -> Any:
        signature = types.void(into, types.int64, source, types.int64, types.uint64)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            into, row, source, first, marks = arguments
            into, width = data_of(context, builder, signature.args[0], into)
            source, stride = data_of(context, builder, signature.args[2], source)
            into = builder.gep(into, [builder.mul(row, width)])
            source = builder.gep(source, [builder.mul(first, stride)])
            sums = _sums(builder, fan // LANES)
            with every_bit(builder, marks) as i:
                at = builder.gep(source, [builder.mul(i, stride)])
                for k, total in enumerate(sums):
                    _add(builder, total, vector_at(builder, at, k))
            _add_to(builder, into, sums)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(add)


add_marked, add_marked_wide = map(_marked_adder, (FAN, WIDE))


def _generate_add_windows(
    typing: Any,
    into: Any,
    row: Any,
    source: Any,
    places: Any,
    first: Any,
    last: Any,
    stride: Any,
) -> Any:
    """Adds to ``into[row]`` [SIDE SIDE PART] the windows of ``source`` [., PART], a map whose rows
    are ``stride`` long, that begin at ``places[first:last]``, in their order.

    A window is added backwards: the place of the spike first reached by the last weight.
    """
    i64 = types.int64
    signature = types.void(into, i64, source, places, i64, i64, i64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        into, row, source, places, first, last, stride = arguments
        into, width = data_of(context, builder, signature.args[0], into)
        source, _ = data_of(context, builder, signature.args[2], source)
        places, _ = data_of(context, builder, signature.args[3], places, types.int16)
        into = builder.gep(into, [builder.mul(row, width)])
        vectors = PART // LANES
        sums = _sums(builder, SIDE * SIDE * vectors)
        with cgutils.for_range_slice(builder, first, last, constant(1)) as (e, _):
            place = builder.zext(builder.load(builder.gep(places, [e])), _I64)
            for number, total in enumerate(sums):
                weight, k = divmod(number, vectors)
                y, x = divmod(SIDE * SIDE - 1 - weight, SIDE)
                line = builder.add(place, builder.mul(stride, constant(y)))
                at = builder.gep(source, [builder.mul(line, constant(PART))])
                _add(builder, total, vector_at(builder, at, vectors * x + k))
        _add_to(builder, into, sums)
        return context.get_dummy_value()

    return signature, generate


add_windows: Any = intrinsic(_generate_add_windows)


def _generate_turn(
    typing: Any, source: Any, start: Any, stride: Any, into: Any, to: Any, into_stride: Any
) -> Any:
    """Turns 16 rows of 16 numbers: row i begins at ``start + stride i`` of the flat ``source``, and
    its numbers go to ``to + i``, ``to + into_stride + i``, ... of the flat ``into``."""
    i64 = types.int64
    signature = types.void(source, i64, i64, into, i64, i64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, start, stride, into, to, into_stride = arguments
        source, _ = data_of(context, builder, signature.args[0], source)
        into, _ = data_of(context, builder, signature.args[3], into)

        kind = ir.VectorType(ir.FloatType(), _TURNED)

        def row(data: Any, first: Any, step: Any, i: int, column: int) -> Any:
            place = builder.add(first, builder.mul(step, constant(i)))
            at = builder.gep(data, [builder.add(place, constant(column))])
            return builder.bitcast(at, kind.as_pointer())

        parts = range(0, LANES, _TURNED)
        for above, left in itertools.product(parts, parts):
            rows = [
                builder.load(row(source, start, stride, above + i, left), align=4)
                for i in range(_TURNED)
            ]
            size = 1
            while size < _TURNED:
                # Blocks of that size off the diagonal change places, and so do those of twice it.
                rows = _swapped(builder, rows, size)
                size *= 2
            for i, turned in enumerate(rows):
                builder.store(turned, row(into, to, into_stride, left + i, above), align=4)
        return context.get_dummy_value()

    return signature, generate


def _swapped(builder: Any, rows: list[Any], size: int) -> list[Any]:
    swapped = list(rows)
    lanes = range(_TURNED)
    for i in lanes:
        if i & size:
            continue
        one, two = rows[i], rows[i | size]
        of_one = [lane if not lane & size else _TURNED + (lane ^ size) for lane in lanes]
        of_two = [lane | size if not lane & size else _TURNED + lane for lane in lanes]
        for at, order in ((i, of_one), (i | size, of_two)):
            mask = ir.Constant(ir.VectorType(ir.IntType(32), _TURNED), order)
            swapped[at] = builder.shuffle_vector(one, two, mask)
    return swapped


turn: Any = intrinsic(_generate_turn)
