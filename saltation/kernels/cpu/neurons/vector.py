"""Equations as vector code: Python functions in bare arithmetic, run once on values of LLVM.

`rowwise` makes a loop over rows of arrays from a function on numbers. The function is called with
`Lanes`, whose operators emit the instructions; so the very equations that the reference applies to
tensors become loops in registers, whatever they contain, and no compiler has to prove anything
before it vectorises them. `Dual` numbers on top of them give exact derivatives (forward mode), so
that none is written by hand. Nothing but `Lanes.exp` is contracted, and nothing is reordered: every
other operation rounds as in torch.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from saltation.kernels.cpu.runtime.simd import LANES, check, splat

_F32, _I32, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)


class Lanes:
    """A vector of float32 numbers in code that is being generated."""

    dtype = None  # what tensors have and `surrogate.below` asks for

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def _new(self, value: Any) -> Lanes:
        return Lanes(self.builder, value)

    def _constant(self, number: float) -> Any:
        return ir.Constant(self.value.type, [float(number)] * self.value.type.count)

    def _other(self, other: Any) -> Any:
        return other.value if isinstance(other, Lanes) else self._constant(other)

    def _call(self, name: str, other: Any, swapped: bool = False) -> Any:
        if isinstance(other, Dual):
            return NotImplemented
        pair = (self.value, self._other(other))
        return self._new(getattr(self.builder, name)(*(pair[::-1] if swapped else pair)))

    def __add__(self, other: Any) -> Any:
        return self._call("fadd", other)

    def __sub__(self, other: Any) -> Any:
        return self._call("fsub", other)

    def __mul__(self, other: Any) -> Any:
        return self._call("fmul", other)

    def __truediv__(self, other: Any) -> Any:
        return self._call("fdiv", other)

    def __radd__(self, other: Any) -> Any:
        return self._call("fadd", other, swapped=True)

    def __rsub__(self, other: Any) -> Any:
        return self._call("fsub", other, swapped=True)

    def __rmul__(self, other: Any) -> Any:
        return self._call("fmul", other, swapped=True)

    def __neg__(self) -> Lanes:
        return self._new(self.builder.fneg(self.value))

    def __abs__(self) -> Lanes:
        plain = self._splat(0x7FFFFFFF)
        return self._float(self.builder.and_(self._bits(), plain))

    def __lt__(self, other: Any) -> _Mask:
        return _Mask(self, self.builder.fcmp_ordered("<", self.value, self._other(other)))

    def __gt__(self, other: Any) -> _Mask:
        return _Mask(self, self.builder.fcmp_ordered(">", self.value, self._other(other)))

    def __ge__(self, other: Any) -> _Mask:
        return _Mask(self, self.builder.fcmp_ordered(">=", self.value, self._other(other)))

    def clamp(self, low: Any, high: Any) -> Lanes:
        """``low ... high``; NaN stays."""
        at_most: Lanes = (self > high).choose(high, self)
        at_least: Lanes = (self < low).choose(low, at_most)
        return at_least

    def _splat(self, number: int) -> Any:
        count = self.value.type.count
        return ir.Constant(ir.VectorType(_I32, count), [number] * count)

    def _bits(self) -> Any:
        return self.builder.bitcast(self.value, ir.VectorType(_I32, self.value.type.count))

    def _float(self, bits: Any) -> Lanes:
        return self._new(self.builder.bitcast(bits, self.value.type))

    def _times_plus(self, factor: Any, term: Any) -> Lanes:
        """``self * factor + term``, rounded once or twice."""
        kind = self.value.type
        name = f"llvm.fmuladd.v{kind.count}f32"
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(kind, [kind] * 3), name
        )
        arguments = [self.value, self._other(factor), self._other(term)]
        return self._new(self.builder.call(function, arguments))

    def exp(self) -> Lanes:
        """exp to 3e-7, without a branch or a call; beyond 88.3 that of 88.3.

        Products are fused with sums where the machine can.
        """
        y = self.clamp(_LOWEST, _HIGHEST)
        z = y._times_plus(_LOG2_E, _ROUND)
        n = z - _ROUND
        r = n._times_plus(-_LOG_2_REST, n._times_plus(-_LOG_2, y))
        p = y._new(y._constant(_EXP[0]))
        for coefficient in _EXP[1:]:
            p = p._times_plus(r, coefficient)
        # n + 127 is the exponent of 2^n, and the lowest bits of z hold n.
        bias = self._splat(127 - struct.unpack("i", struct.pack("f", _ROUND))[0])
        exponent = self.builder.add(z._bits(), bias)
        scale = self._float(self.builder.shl(exponent, self._splat(23)))
        return (self < _LOWEST).choose(0.0, (p._times_plus(r * r, r) + 1.0) * scale)


_LOWEST, _HIGHEST, _LOG2_E = -87.33654, 88.3, 1.44269504
# log 2 in two parts, the first of few digits, so that its multiples are exact.
_LOG_2, _LOG_2_REST = 0.693359375, -2.12194440e-4
# Adding it to a number of moderate size leaves the nearest integer in the lowest bits.
_ROUND = 1.5 * 2**23
# exp(r) = 1 + r + r^2 P(r) for |r| <= log(2) / 2: Cephes, S. Moshier, 1992, expf.
_EXP = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)


class _Mask:
    """Which lanes a comparison holds for."""

    def __init__(self, lanes: Lanes, value: Any) -> None:
        self._lanes, self._value = lanes, value

    def choose(self, one: Any, other: Any) -> Lanes:
        """``one`` where it holds, else ``other``."""
        of = self._lanes
        return of._new(of.builder.select(self._value, of._other(one), of._other(other)))

    def to(self, dtype: None) -> Lanes:
        """1 where it holds, else 0, as the booleans of a tensor are converted."""
        return self.choose(1.0, 0.0)


class Dual:
    """A value and its derivatives in several directions, None where one is zero."""

    def __init__(self, value: Any, *tangents: Any) -> None:
        self.value, self.tangents = value, tangents

    def _map(self, value: Any, function: Callable[[Any], Any]) -> Dual:
        return Dual(value, *(None if t is None else function(t) for t in self.tangents))

    def _plus(self, other: Dual, value: Any, of_mine: Any, of_other: Any) -> Dual:
        def total(mine: Any, others: Any) -> Any:
            parts = [f(t) for f, t in ((of_mine, mine), (of_other, others)) if t is not None]
            return parts[0] + parts[1] if len(parts) == 2 else parts[0] if parts else None

        return Dual(value, *map(total, self.tangents, other.tangents))

    def __add__(self, other: Any) -> Dual:
        if not isinstance(other, Dual):
            return self._map(self.value + other, lambda t: t)
        return self._plus(other, self.value + other.value, lambda t: t, lambda t: t)

    def __radd__(self, other: Any) -> Dual:
        return self._map(other + self.value, lambda t: t)

    def __sub__(self, other: Any) -> Dual:
        if not isinstance(other, Dual):
            return self._map(self.value - other, lambda t: t)
        return self._plus(other, self.value - other.value, lambda t: t, lambda t: -t)

    def __rsub__(self, other: Any) -> Dual:
        return self._map(other - self.value, lambda t: -t)

    def __mul__(self, other: Any) -> Dual:
        if not isinstance(other, Dual):
            return self._map(self.value * other, lambda t: t * other)
        value, mine, others = self.value * other.value, self.value, other.value
        return self._plus(other, value, lambda t: t * others, lambda t: mine * t)

    def __rmul__(self, other: Any) -> Dual:
        return self._map(other * self.value, lambda t: other * t)

    def __neg__(self) -> Dual:
        return self._map(-self.value, lambda t: -t)

    def clamp(self, low: Any, high: Any) -> Dual:
        """``low ... high``, with derivative 0 where it is outside."""
        v = self.value
        return self._map(
            v.clamp(low, high), lambda t: (v < low).choose(0.0, (v > high).choose(0.0, t))
        )


def rowwise(function: Callable[..., Any], inputs: int) -> Any:
    """``function(*lanes, numbers) -> lanes`` as a loop over rows, for compiled code.

    The result is called as ``loop(arrays, origins, start, stop, numbers)``: ``arrays`` are
    C-ordered and float32; the first ``inputs`` are read and the others written, all at
    ``start ... stop`` counted from a flat place of their own in ``origins``; ``numbers`` is a named
    tuple of float32, in which a tuple of booleans stands for its length.
    """

    def loop(typing: Any, arrays: Any, origins: Any, start: Any, stop: Any, numbers: Any) -> Any:
        for array in arrays:
            check(array)
        signature = types.void(arrays, origins, types.int64, types.int64, numbers)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            arrays, origins, start, stop, numbers = arguments
            pointers = []
            for number, kind in enumerate(signature.args[0]):
                value = builder.extract_value(arrays, number)
                struct = context.make_array(kind)(context, builder, value)
                origin = builder.extract_value(origins, number)
                origin = builder.sext(origin, _I64) if origin.type.width < 64 else origin
                pointers.append(builder.gep(struct.data, [origin]))

            def body(place: Any, count: int) -> None:
                kind = ir.VectorType(_F32, count)
                at = [builder.bitcast(builder.gep(p, [place]), kind.as_pointer()) for p in pointers]
                lanes = [Lanes(builder, builder.load(p, align=4)) for p in at[:inputs]]
                known = numbers_of(builder, signature.args[4], numbers, kind)
                for result, p in zip(function(*lanes, known), at[inputs:], strict=True):
                    builder.store(result.value, p, align=4)

            whole = builder.and_(builder.sub(stop, start), ir.Constant(_I64, -LANES))
            middle = builder.add(start, whole)
            step = ir.Constant(_I64, LANES)
            with cgutils.for_range_slice(builder, start, middle, step) as (place, _):
                body(place, LANES)
            with cgutils.for_range_slice(builder, middle, stop, ir.Constant(_I64, 1)) as (place, _):
                body(place, 1)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(loop)


def numbers_of(builder: Any, kind: Any, value: Any, lanes: Any) -> Any:
    """The numbers of a tuple as `Lanes` of the type ``lanes``, in a tuple of its own class."""
    is_tuple: bool = isinstance(kind, types.BaseTuple)
    if isinstance(kind, types.UniTuple) and kind.dtype == types.boolean:
        return len(kind)
    if is_tuple:
        parts = [
            numbers_of(builder, part, builder.extract_value(value, number), lanes)
            for number, part in enumerate(kind)
        ]
        return kind.instance_class(*parts) if hasattr(kind, "instance_class") else tuple(parts)
    return Lanes(builder, splat(builder, value, lanes))
