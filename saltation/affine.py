"""Whether equations are affine in what they are given, and with which coefficients: exactly.

The equations are run on functions ``constant + factors . unknowns``, of which only sums and
products with numbers exist; anything else is refused, so nothing nonlinear passes for linear.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from saltation.operands import NoRuleError, Operand


class Affine(Operand):
    """``constant + sum_i factors[i] u_i``; coefficients are numbers or tensors, 0.0 where none."""

    def __init__(self, constant: Any, factors: tuple[Any, ...]) -> None:
        self.constant, self.factors = constant, factors

    def apply(self, op: str, *parts: Any) -> Any:
        if op in ("add", "sub", "neg"):
            one = _of(parts[0], len(self.factors))
            if op == "neg":
                return one._times(-1.0)
            other = _of(parts[1], len(self.factors))
            return one._plus(other if op == "add" else other._times(-1.0))
        if op == "mul" and not all(isinstance(part, Affine) for part in parts):
            one, factor = parts if isinstance(parts[0], Affine) else parts[::-1]
            return one._times(factor)
        if op == "div" and not isinstance(parts[1], Affine):
            return parts[0]._map(lambda c: c / parts[1])
        raise NoRuleError(f"{op} is not affine")

    def _map(self, function: Callable[[Any], Any]) -> Affine:
        kept = (c if is_zero(c) else function(c) for c in (self.constant, *self.factors))
        constant, *factors = kept
        return Affine(constant, tuple(factors))

    def _times(self, factor: Any) -> Affine:
        return self._map(lambda c: c * factor)

    def _plus(self, other: Affine) -> Affine:
        pairs = zip(self.factors, other.factors, strict=True)
        total = _sum(self.constant, other.constant)
        return Affine(total, tuple(_sum(a, b) for a, b in pairs))


class Unknown(Operand):
    """A coefficient of which is only known that it depends on the state, and so does all that is
    made of it."""

    rank = -1

    def apply(self, op: str, *parts: Any) -> Any:
        return self


def is_zero(coefficient: Any) -> bool:
    """Whether there is none; a tensor of zeros may be learned."""
    return not isinstance(coefficient, Tensor) and coefficient == 0


def _sum(a: Any, b: Any) -> Any:
    return b if is_zero(a) else a if is_zero(b) else a + b


def _of(value: Any, count: int) -> Affine:
    return value if isinstance(value, Affine) else Affine(value, (0.0,) * count)


def affine(function: Callable[..., Any], count: int) -> list[Affine] | None:
    """The results of ``function`` of so many unknowns, or None where one is not affine in them."""
    unknowns = [Affine(0.0, tuple(float(i == k) for k in range(count))) for i in range(count)]
    try:
        return [_of(result, count) for result in function(*unknowns)]
    except NoRuleError:
        return None
