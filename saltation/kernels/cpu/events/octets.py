"""Bits of eight sites, or eight steps, at a time.

Eight words of sites are turned into a byte per step (Warren, Hacker's Delight, 2nd ed., 7-3), whose
ones a table puts in order: a byte costs as much as a bit would.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from saltation.kernels.cpu.events.words import Words
from saltation.kernels.cpu.runtime.jit import compiled
from saltation.kernels.cpu.runtime.simd import data_of, lowest, ones, splat

EIGHT = 8

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)


def _turned(x: Any) -> Any:
    """Bit j of byte i of the words ``x`` goes to bit i of byte j."""
    for shift, those in (
        (7, 0x00AA00AA00AA00AA),
        (14, 0x0000CCCC0000CCCC),
        (28, 0x00000000F0F0F0F0),
    ):
        changed = (x ^ x >> shift) & those
        x = x ^ changed ^ changed * (1 << shift)
    return x


def _generate_turn_octets(typing: Any, words: Any, first: Any) -> Any:
    """Eight numbers of ``words`` (uint64) from ``first`` on, a bit per step, become a byte per
    step: its bit i is that of number i."""
    signature = types.void(words, types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words, first = arguments
        data, _ = data_of(context, builder, signature.args[0], words, types.uint64)
        wide, octets = ir.VectorType(_I64, EIGHT), ir.VectorType(_I8, EIGHT * EIGHT)
        at = builder.bitcast(builder.gep(data, [first]), wide.as_pointer())
        x = builder.bitcast(builder.load(at, align=8), octets)
        order = [EIGHT * (i % EIGHT) + i // EIGHT for i in range(EIGHT * EIGHT)]
        x = builder.shuffle_vector(x, x, ir.Constant(ir.VectorType(_I32, EIGHT * EIGHT), order))
        builder.store(_turned(Words(builder, builder.bitcast(x, wide))).value, at, align=8)
        return context.get_dummy_value()

    return signature, generate


turn_octets: Any = intrinsic(_generate_turn_octets)


def _generate_octet_of(typing: Any, words: Any, first: Any, step: Any) -> Any:
    """The byte of that step, of the eight words from ``first`` on that `turn_octets` turned."""
    signature = types.uint64(words, types.int64, types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words, first, step = arguments
        data, _ = data_of(context, builder, signature.args[0], words, types.uint64)
        at = builder.bitcast(builder.gep(data, [first]), _I8.as_pointer())
        return builder.zext(builder.load(builder.gep(at, [step])), _I64)

    return signature, generate


octet_of: Any = intrinsic(_generate_octet_of)


def _generate_put(typing: Any, octets: Any, base: Any, places: Any, to: Any) -> Any:
    """The eight bytes of a word, each plus ``base``, become ``places`` (int32) from ``to`` on."""
    signature = types.void(types.uint64, types.int64, places, types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        octets, base, places, to = arguments
        data, _ = data_of(context, builder, signature.args[2], places, types.int32)
        narrow = ir.VectorType(_I32, EIGHT)
        numbers = builder.zext(builder.bitcast(octets, ir.VectorType(_I8, EIGHT)), narrow)
        every = splat(builder, builder.trunc(base, _I32), narrow)
        at = builder.bitcast(builder.gep(data, [to]), narrow.as_pointer())
        builder.store(builder.add(numbers, every), at, align=4)
        return context.get_dummy_value()

    return signature, generate


_put: Any = intrinsic(_generate_put)


def _ones(octet: int) -> list[int]:
    return [i for i in range(EIGHT) if octet >> i & 1]


# Of every byte the places of its ones, side by side in a word, the first in the lowest byte.
_PLACES = np.array(
    [sum(i << EIGHT * n for n, i in enumerate(_ones(octet))) for octet in range(256)], np.uint64
)


@compiled
def put_octet(octet: Any, base: int, places: NDArray[Any], found: int, end: int) -> int:
    """The places of the ones of a byte, plus ``base``, from ``places[found]`` on; returns the index
    after the last. Nothing is written from ``end`` on."""
    if found + EIGHT <= end:  # all eight, of which those beyond the ones are written over
        _put(_PLACES[octet], base, places, found)
        return int(found + ones(octet))
    while octet:
        places[found] = base + lowest(octet)
        octet &= octet - np.uint64(1)
        found += 1
    return found


@compiled
def put_sixteen(bits: Any, base: int, places: NDArray[Any], found: int, end: int) -> int:
    """As `put_octet`, the ones of two bytes."""
    found = put_octet(bits & np.uint64(0xFF), base, places, found, end)
    return put_octet(bits >> np.uint64(EIGHT), base + EIGHT, places, found, end)
