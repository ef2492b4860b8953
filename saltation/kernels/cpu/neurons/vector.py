"""Vectors of float32 numbers in code that is being generated, and their elementary functions.

Nothing is reordered and, but for `Lanes.fast_exp`, nothing is contracted: every operation rounds as
in torch. `exp`, `expm1`, `log`, `tanh` and `sigmoid` are computed in double precision and rounded
once, so that they are what ``torch.exp(x.double()).float()`` gives.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from llvmlite import ir
from numba.core import cgutils

_F32, _F64, _I32, _I64 = ir.FloatType(), ir.DoubleType(), ir.IntType(32), ir.IntType(64)


class Lanes:
    """A vector of floating-point numbers; operators take another one, or a number."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def _new(self, value: Any) -> Lanes:
        return Lanes(self.builder, value)

    def _other(self, other: Any) -> Any:
        if isinstance(other, Lanes):
            return other.value
        return ir.Constant(self.value.type, [float(other)] * self.value.type.count)

    def __add__(self, other: Any) -> Lanes:
        return self._new(self.builder.fadd(self.value, self._other(other)))

    def __sub__(self, other: Any) -> Lanes:
        return self._new(self.builder.fsub(self.value, self._other(other)))

    def __mul__(self, other: Any) -> Lanes:
        return self._new(self.builder.fmul(self.value, self._other(other)))

    def __truediv__(self, other: Any) -> Lanes:
        return self._new(self.builder.fdiv(self.value, self._other(other)))

    def __neg__(self) -> Lanes:
        return self._new(self.builder.fneg(self.value))

    def __abs__(self) -> Lanes:
        width = self._integers().element.width
        plain = self._integer(2 ** (width - 1) - 1)
        return self._float(self.builder.and_(self._bits(), plain))

    def holds(self, comparison: str, other: Any) -> Any:
        """The mask of the lanes in which it does; in none where either is NaN."""
        return self.builder.fcmp_ordered(comparison, self.value, self._other(other))

    def chosen(self, mask: Any, other: Any) -> Lanes:
        """The number itself where ``mask`` holds, else ``other``."""
        return self._new(self.builder.select(mask, self.value, self._other(other)))

    def max(self, other: Any) -> Lanes:
        """The greater; NaN where either is."""
        return self._outer(">", other)

    def min(self, other: Any) -> Lanes:
        """The smaller; NaN where either is."""
        return self._outer("<", other)

    def _outer(self, comparison: str, other: Any) -> Lanes:
        # Where the other is NaN the comparison fails, and it is chosen.
        return self.chosen(self._nan(), self.chosen(self.holds(comparison, other), other))

    def _nan(self) -> Any:
        return self.builder.fcmp_unordered("uno", self.value, self.value)

    def clamp(self, low: float, high: float) -> Lanes:
        """``low ... high``; NaN stays."""
        at_most = self._constant(high).chosen(self.holds(">", high), self)
        return self._constant(low).chosen(self.holds("<", low), at_most)

    def one(self) -> Lanes:
        """1 in every lane."""
        return self._constant(1.0)

    def _constant(self, number: float) -> Lanes:
        return self._new(self._other(number))

    def sqrt(self) -> Lanes:
        """The square root, rounded correctly."""
        return self._call("sqrt")

    def times_plus(self, factor: Any, term: Any) -> Lanes:
        """``self * factor + term``, rounded once where the machine can, else twice."""
        return self._call("fmuladd", self._other(factor), self._other(term))

    def _call(self, name: str, *others: Any) -> Lanes:
        kind = self.value.type
        whole = f"llvm.{name}.v{kind.count}f{64 if kind.element == _F64 else 32}"
        parameters = [kind] * (1 + len(others))
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(kind, parameters), whole
        )
        return self._new(self.builder.call(function, [self.value, *others]))

    def _integers(self) -> Any:
        kind = self.value.type
        return ir.VectorType(_I64 if kind.element == _F64 else _I32, kind.count)

    def _integer(self, number: int) -> Any:
        kind = self._integers()
        return ir.Constant(kind, [number] * kind.count)

    def _bits(self) -> Any:
        return self.builder.bitcast(self.value, self._integers())

    def _float(self, bits: Any) -> Lanes:
        return self._new(self.builder.bitcast(bits, self.value.type))

    def _double(self) -> Lanes:
        kind = ir.VectorType(_F64, self.value.type.count)
        return self._new(self.builder.fpext(self.value, kind))

    def _single(self) -> Lanes:
        kind = ir.VectorType(_F32, self.value.type.count)
        return self._new(self.builder.fptrunc(self.value, kind))

    def fast_exp(self) -> Lanes:
        """exp of float32 to 3e-7, in float32; beyond 88.3 that of 88.3.

        Products are fused with sums where the machine can.
        """
        y = self.clamp(_LOWEST, _HIGHEST)
        z = y.times_plus(1 / math.log(2), _ROUND)
        n = z - _ROUND
        r = n.times_plus(-_LOG_2_REST, n.times_plus(-_LOG_2, y))
        p = self._constant(_EXP[0])
        for coefficient in _EXP[1:]:
            p = p.times_plus(r, coefficient)
        # n + 127 is the exponent of 2^n, and the lowest bits of z hold n.
        bias = self._integer(127 - struct.unpack("i", struct.pack("f", _ROUND))[0])
        exponent = self.builder.add(z._bits(), bias)
        scale = self._float(self.builder.shl(exponent, self._integer(23)))
        value = (p.times_plus(r * r, r) + 1.0) * scale
        return self._constant(0.0).chosen(self.holds("<", _LOWEST), value)

    def exp(self) -> Lanes:
        """exp of float32, rounded correctly."""
        minus_one, scale = self._double()._reduced_expm1()
        return minus_one.times_plus(scale, scale)._single()

    def expm1(self) -> Lanes:
        """exp - 1 of float32, rounded correctly."""
        return self._double()._expm1()._single()

    def tanh(self) -> Lanes:
        """Hyperbolic tangent of float32, rounded correctly."""
        twice = (self._double() * 2.0)._expm1()
        return (twice / (twice + 2.0))._single().chosen(self.holds("!=", 0.0), self)

    def sigmoid(self) -> Lanes:
        """Logistic function of float32, rounded correctly."""
        minus_one, scale = (-self._double())._reduced_expm1()
        return (minus_one.one() / (minus_one.times_plus(scale, scale) + 1.0))._single()

    def _expm1(self) -> Lanes:
        """exp - 1 in double precision to 1e-15, where exp of float32 is a number."""
        minus_one, scale = self._reduced_expm1()
        return minus_one.times_plus(scale, scale - 1.0).chosen(self.holds("!=", 0.0), self)

    def _reduced_expm1(self) -> tuple[Lanes, Lanes]:
        """exp(r) - 1 and 2^n in double precision for x = r + n log 2, |r| <= log(2) / 2.

        Beyond 250 of either sign that of 250, which is neither in float32.
        """
        y = self.clamp(-250.0, 250.0)
        z = y.times_plus(1 / math.log(2), _ROUND_64)
        n = z - _ROUND_64
        r = n.times_plus(-_LOG_2_REST_64, n.times_plus(-_LOG_2_64, y))
        p = self._constant(_EXP_64[0])
        for coefficient in _EXP_64[1:]:
            p = p.times_plus(r, coefficient)
        bias = self._integer(1023 - struct.unpack("q", struct.pack("d", _ROUND_64))[0])
        exponent = self.builder.add(z._bits(), bias)
        scale = self._float(self.builder.shl(exponent, self._integer(52)))
        return p.times_plus(r * r, r), scale

    def log(self) -> Lanes:
        """Natural logarithm of float32, rounded correctly."""
        x = self._double()
        # x = m 2^n with m from sqrt(1/2) to sqrt(2).
        half = struct.unpack("q", struct.pack("d", math.sqrt(0.5)))[0]
        above = self.builder.sub(x._bits(), x._integer(half))
        n = self.builder.ashr(above, x._integer(52))
        m = x._float(self.builder.sub(x._bits(), self.builder.shl(n, x._integer(52))))
        s = (m - 1.0) / (m + 1.0)
        q = s * s
        p = x._constant(_LOG_64[0])
        for coefficient in _LOG_64[1:]:
            p = p.times_plus(q, coefficient)
        count = x._new(self.builder.sitofp(n, x.value.type))
        value = count.times_plus(_LOG_2_REST_64, (s * q).times_plus(p, s + s))
        value = count.times_plus(_LOG_2_64, value)
        # Of 0, and of what is below it or NaN; and of infinity.
        outside = x._constant(-math.inf).chosen(x.holds("==", 0.0), math.nan)
        value = value.chosen(x.holds(">", 0.0), outside)
        return x.chosen(x.holds("==", math.inf), value)._single()


_LOWEST, _HIGHEST = -87.33654, 88.3
# log 2 in two parts, the first of few digits, so that its multiples are exact.
_LOG_2, _LOG_2_REST = 0.693359375, -2.12194440e-4
_LOG_2_64 = 6.93147180369123816490e-01
_LOG_2_REST_64 = 1.90821492927058770002e-10
# Adding it to a number of moderate size leaves the nearest integer in the lowest bits.
_ROUND, _ROUND_64 = 1.5 * 2.0**23, 1.5 * 2.0**52
# exp(r) = 1 + r + r^2 P(r) for |r| <= log(2) / 2: Cephes, S. Moshier, 1992, expf; Taylor's series.
_EXP = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)
_EXP_64 = tuple(1 / math.factorial(n) for n in range(13, 1, -1))
# log m = 2 artanh(s) = 2 s + s^3 P(s^2) with s = (m - 1) / (m + 1).
_LOG_64 = tuple(2 / n for n in range(23, 1, -2))
