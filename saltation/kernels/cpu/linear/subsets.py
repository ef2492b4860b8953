"""Sums of the rows that the bits of a word name, one by one or from a table of all sums of four.

With a table of the sums of every subset of four rows, a site costs one row for four steps, however
many of its spikes are there (the method of the four Russians: Arlazarov, Dinic, Kronrod & Faradzev,
1970). The table of `COLUMNS` columns stays in the first cache.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from saltation.kernels.cpu.events.trains import WORD
from saltation.kernels.cpu.runtime.jit import compiled
from saltation.kernels.cpu.runtime.simd import LANES, Matrix, constant, every_bit

GROUP = 4  # rows of a group
SUBSETS = 1 << GROUP
MOST_GROUPS = WORD // GROUP
COLUMNS = 32  # of a table
FOURS = 4  # groups that `add_fours` takes a sum of

_I64 = ir.IntType(64)


def _filler(vectors: int) -> Any:
    """A group's sums over that many vectors of columns."""

    def fill(typing: Any, table: Any, group: Any, source: Any, row: Any, column: Any) -> Any:
        signature = types.void(table, types.int64, source, types.int64, types.int64)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            into = Matrix(context, builder, signature.args[0], arguments[0], COLUMNS)
            source = Matrix(context, builder, signature.args[2], arguments[2])
            _, group, _, row, column = arguments
            first = builder.mul(group, constant(SUBSETS))
            for k in range(vectors):
                at = builder.add(column, constant(LANES * k))
                rows = [
                    source.load(builder.add(row, constant(number)), at) for number in range(GROUP)
                ]
                sums = [ir.Constant(rows[0].type, [0.0] * LANES)]
                for one in rows:
                    sums += [one, *(builder.fadd(total, one) for total in sums[1:])]
                for number, total in enumerate(sums):
                    into.store(total, builder.add(first, constant(number)), constant(LANES * k))
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(fill)


def _from_table(vectors: int) -> Any:
    """Adds a row of every group over that many vectors of columns, with the sums in registers."""

    def add(
        typing: Any, into: Any, row: Any, column: Any, table: Any, word: Any, groups: Any
    ) -> Any:
        i64 = types.int64
        signature = types.void(into, i64, i64, table, types.uint64, i64)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            into = Matrix(context, builder, signature.args[0], arguments[0])
            table = Matrix(context, builder, signature.args[3], arguments[3], COLUMNS)
            _, row, column, _, word, groups = arguments
            places = [builder.add(column, constant(LANES * k)) for k in range(vectors)]
            sums = [cgutils.alloca_once_value(builder, into.load(row, at)) for at in places]
            # Unrolled, and entered where the last group is; nothing is counted on the way.
            blocks = [builder.append_basic_block(f"group{g}") for g in range(MOST_GROUPS)]
            end = builder.append_basic_block("end")
            choice = builder.switch(groups, end)
            for g, block in enumerate(blocks):
                choice.add_case(constant(g + 1), block)
                builder.position_at_end(block)
                subset = builder.and_(
                    builder.lshr(word, constant(GROUP * g)), constant(SUBSETS - 1)
                )
                at = builder.add(subset, constant(SUBSETS * g))
                for k, total in enumerate(sums):
                    number = table.load(at, constant(LANES * k))
                    builder.store(builder.fadd(builder.load(total), number), total)
                builder.branch(blocks[g - 1] if g else end)
            builder.position_at_end(end)
            for at, total in zip(places, sums, strict=True):
                into.store(builder.load(total), row, at)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(add)


def _from_fours(vectors: int) -> Any:
    """Adds a row of each of `FOURS` groups over that many vectors of columns."""

    def add(typing: Any, into: Any, row: Any, column: Any, table: Any, word: Any) -> Any:
        i64 = types.int64
        signature = types.void(into, i64, i64, table, types.uint64)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            into = Matrix(context, builder, signature.args[0], arguments[0])
            table = Matrix(context, builder, signature.args[3], arguments[3], COLUMNS)
            _, row, column, _, word = arguments
            places = [builder.add(column, constant(LANES * k)) for k in range(vectors)]
            sums = [into.load(row, at) for at in places]
            for g in range(FOURS):
                bits = builder.lshr(word, constant(GROUP * g))
                subset = builder.and_(bits, constant(SUBSETS - 1))
                at = builder.add(subset, constant(SUBSETS * g))
                rows = [table.load(at, constant(LANES * k)) for k in range(vectors)]
                sums = [builder.fadd(*pair) for pair in zip(sums, rows, strict=True)]
            for at, total in zip(places, sums, strict=True):
                into.store(total, row, at)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(add)


def _from_rows(vectors: int) -> Any:
    """Adds the rows of a word's bits over that many vectors of columns, sums in registers."""

    def add(
        typing: Any,
        into: Any,
        row: Any,
        column: Any,
        source: Any,
        first: Any,
        from_: Any,
        word: Any,
    ) -> Any:
        i64 = types.int64
        signature = types.void(into, i64, i64, source, i64, i64, types.uint64)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            into = Matrix(context, builder, signature.args[0], arguments[0])
            source = Matrix(context, builder, signature.args[3], arguments[3])
            _, row, column, _, first, from_, word = arguments
            places = [builder.add(column, constant(LANES * k)) for k in range(vectors)]
            sums = [cgutils.alloca_once_value(builder, into.load(row, at)) for at in places]
            with every_bit(builder, word) as lowest:
                at = builder.add(first, lowest)
                for k, total in enumerate(sums):
                    number = source.load(at, builder.add(from_, constant(LANES * k)))
                    builder.store(builder.fadd(builder.load(total), number), total)
            for at, total in zip(places, sums, strict=True):
                into.store(builder.load(total), row, at)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(add)


_fill_2, _fill_1 = _filler(2), _filler(1)
_from_table_2, _from_table_1 = _from_table(2), _from_table(1)
_fours_2, _fours_1 = _from_fours(2), _from_fours(1)
_rows_8, _rows_4, _rows_2, _rows_1 = map(_from_rows, (8, 4, 2, 1))


@compiled
def fill_table(table: Any, group: int, source: Any, row: int, column: int, width: int) -> None:
    """The sums of all subsets of the rows ``source[row:row + GROUP, column:column + width]`` as
    rows of ``table`` [., COLUMNS], those of group number ``group``."""
    if width == COLUMNS:
        _fill_2(table, group, source, row, column)
    else:
        _fill_1(table, group, source, row, column)


@compiled
def add_subsets(
    into: Any, row: int, column: int, table: Any, word: Any, groups: int, width: int
) -> None:
    """Adds to ``into[row, column:column + width]`` the sums of the rows that the bits of ``word``
    name, a sum of each of ``groups`` groups of ``table``."""
    if width == COLUMNS:
        _from_table_2(into, row, column, table, word, groups)
    else:
        _from_table_1(into, row, column, table, word, groups)


@compiled
def add_fours(into: Any, row: int, column: int, table: Any, word: Any, width: int) -> None:
    """Adds to ``into[row, column:column + width]`` the sums of the rows that the lowest bits of
    ``word`` name, a sum of each of `FOURS` groups of ``table``, the first group first."""
    if width == COLUMNS:
        _fours_2(into, row, column, table, word)
    else:
        _fours_1(into, row, column, table, word)


@compiled
def add_bits(
    into: Any, row: int, column: int, source: Any, first: int, word: Any, width: int
) -> None:
    """``into[row, column:column + width] += source[first + t, :width]`` for every bit t of
    ``word``, in their order; ``width`` is a multiple of 16."""
    done = 0
    while done + 128 <= width:
        _rows_8(into, row, column + done, source, first, done, word)
        done += 128
    if done + 64 <= width:
        _rows_4(into, row, column + done, source, first, done, word)
        done += 64
    if done + 32 <= width:
        _rows_2(into, row, column + done, source, first, done, word)
        done += 32
    if done < width:
        _rows_1(into, row, column + done, source, first, done, word)
