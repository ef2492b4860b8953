"""The generator on vectors of integers: the very rounds of `random.philox`, run on values of LLVM.

As in `vector`, Python functions in bare arithmetic become instructions on 16 numbers.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from saltation.kernels.cpu.runtime.simd import LANES, data_of, splat
from saltation.random import philox

_BYTES = 4  # of a word
_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)


def _splat(kind: Any, number: int) -> Any:
    return ir.Constant(kind, [number] * kind.count)


class Words:
    """A vector of 64-bit integers in code that is being generated."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def _call(self, name: str, other: Any) -> Words:
        value = other.value if isinstance(other, Words) else _splat(self.value.type, other)
        return Words(self.builder, getattr(self.builder, name)(self.value, value))

    def __add__(self, other: Any) -> Words:
        return self._call("add", other)

    def __mul__(self, other: Any) -> Words:
        return self._call("mul", other)

    def __and__(self, other: Any) -> Words:
        return self._call("and_", other)

    def __xor__(self, other: Any) -> Words:
        return self._call("xor", other)

    def __rshift__(self, other: Any) -> Words:
        return self._call("lshr", other)


def _generate_draw(
    typing: Any,
    site: Any,
    limit: Any,
    first: Any,
    block: Any,
    sample: Any,
    epoch: Any,
    k0: Any,
    k1: Any,
    codes: Any,
    to: Any,
) -> Any:
    """The sixteen draws of a block of sites ``first ... first + 16``, by their top eight bits.

    ``site`` are their counters (int32) and ``limit`` their thresholds (int64, at most 2^32). Bit t
    of a number of ``codes`` (int32), from ``to`` on, tells whether draw t is below the threshold,
    and bit 16 + t whether its top bits leave that open. Returns a bit per site, 1 where they leave
    any open.
    """
    i64 = types.int64
    signature = types.uint64(site, limit, i64, i64, i64, i64, i64, i64, codes, i64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sites, limits, first, *numbers, codes, to = arguments
        narrow, wide = ir.VectorType(_I32, LANES), ir.VectorType(_I64, LANES)
        octets = ir.VectorType(_I8, LANES * _BYTES)

        def vector(array: Any, position: int, start: Any, kind: Any) -> Any:
            dtype = types.int64 if kind is wide else types.int32
            data, _ = data_of(context, builder, signature.args[position], array, dtype)
            return builder.bitcast(builder.gep(data, [start]), kind.as_pointer())

        def every(number: Any) -> Words:
            return Words(builder, splat(builder, number, wide))

        block, sample, epoch, k0, k1 = map(every, numbers)
        counter = builder.zext(builder.load(vector(sites, 0, first, narrow), align=4), wide)
        drawn = philox(block, Words(builder, counter), sample, epoch, k0, k1)
        limit = builder.load(vector(limits, 1, first, wide), align=8)
        top = builder.trunc(builder.lshr(limit, _splat(wide, 24)), narrow)
        tops = builder.bitcast(builder.mul(top, _splat(narrow, 0x01010101)), octets)
        words = [builder.bitcast(builder.trunc(w.value, narrow), octets) for w in drawn]
        found = []
        for relation in ("<", "=="):
            holds = [builder.icmp_unsigned(relation, word, tops) for word in words]
            low, high = (_gathered(builder, holds[two : two + 2]) for two in (0, 2))
            found.append(builder.or_(low, builder.shl(high, _splat(narrow, 2 * _BYTES))))
        below, open_ = found
        code = builder.or_(below, builder.shl(open_, _splat(narrow, 4 * _BYTES)))
        # The top bits of 2^32 are one more than any of a draw.
        certain = builder.icmp_unsigned("==", top, _splat(narrow, 256))
        code = builder.select(certain, _splat(narrow, 0xFFFF), code)
        builder.store(code, vector(codes, 8, to, narrow), align=4)
        some = builder.icmp_unsigned(">", code, _splat(narrow, 0xFFFF))
        return builder.zext(builder.bitcast(some, ir.IntType(LANES)), _I64)

    return signature, generate


def _gathered(builder: Any, holds: list[Any]) -> Any:
    """What holds for the bytes of two words, as the lowest eight bits of each lane."""
    octets = ir.VectorType(_I8, LANES * _BYTES)
    narrow = ir.VectorType(_I32, LANES)
    total = None
    for number, mask in enumerate(holds):
        places = [1 << (_BYTES * number + i % _BYTES) for i in range(LANES * _BYTES)]
        bits = builder.select(mask, ir.Constant(octets, places), _splat(octets, 0))
        total = bits if total is None else builder.or_(total, bits)
    lanes = builder.bitcast(total, narrow)
    for shift in (16, 8):
        lanes = builder.or_(lanes, builder.lshr(lanes, _splat(narrow, shift)))
    return builder.and_(lanes, _splat(narrow, 0xFF))


draw: Any = intrinsic(_generate_draw)
