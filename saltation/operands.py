"""What takes the place of a tensor in torch code: symbols, affine functions, values with tangents.

A neuron's equations are ordinary torch operations. Run on tensors they compute; run on an `Operand`
they tell what they do, because every operation on one ends in its `Operand.apply` under one of few
names. An operation that has no name here is refused.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class NoRuleError(Exception):
    """An operation that has no rule for what it was applied to; the message names it."""


class Operand(ABC):
    """Base of what may stand for a tensor; every operation on it goes through `apply`."""

    dtype = torch.float32
    device = torch.device("cpu")
    requires_grad = False
    ndim = 1
    rank: float = 0  # above those of which it may be made

    @abstractmethod
    def apply(self, op: str, *parts: Any) -> Any:
        """The result of ``op`` on ``parts``, one of which is this; the others may be numbers,
        tensors or operands of the same kind.

        The names are those of `OPERATIONS`.
        """

    def call(self, function: Callable[..., Any]) -> tuple[Any, ...]:
        """``function`` of this alone; see `of_one`."""
        return tuple(function(self))

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = getattr(function, "__name__", str(function)).strip("_")
        rule = _FUNCTIONS.get(name)
        if rule is None:
            raise NoRuleError(f"torch.{name} has no rule")
        try:
            return rule(*args, **(kwargs or {}))
        except TypeError:
            raise NoRuleError(f"torch.{name} has no rule in the form it is called in") from None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        rule = _FUNCTIONS.get(name)
        if rule is None or name.startswith("_"):
            raise NoRuleError(f"Tensor.{name} has no rule")
        return lambda *args, **kwargs: rule(self, *args, **kwargs)

    def __bool__(self) -> bool:
        raise NoRuleError("it branches on the state: torch.where chooses without a branch")

    def __float__(self) -> float:
        raise NoRuleError("it makes a Python number of the state")

    __hash__ = object.__hash__

    def __add__(self, other: Any) -> Any:
        return _apply("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return _apply("add", self, other)  # in torch a number comes second

    def __sub__(self, other: Any) -> Any:
        return _apply("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        return _apply("sub", other, self)

    def __mul__(self, other: Any) -> Any:
        return _apply("mul", self, other)

    def __rmul__(self, other: Any) -> Any:
        return _apply("mul", self, other)

    def __truediv__(self, other: Any) -> Any:
        return _apply("div", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        if isinstance(other, Tensor):
            return _apply("div", other, self)
        # As in torch, where the reciprocal is multiplied with the number.
        reciprocal = _apply("div", 1.0, self)
        return reciprocal if other == 1 else _apply("mul", reciprocal, other)

    def __neg__(self) -> Any:
        return _apply("neg", self)

    def __abs__(self) -> Any:
        return _apply("abs", self)

    def __pow__(self, exponent: Any) -> Any:
        return _power(self, exponent)

    def __ge__(self, other: Any) -> Any:
        return _apply("ge", self, other)

    def __gt__(self, other: Any) -> Any:
        return _apply("gt", self, other)

    def __le__(self, other: Any) -> Any:
        return _apply("le", self, other)

    def __lt__(self, other: Any) -> Any:
        return _apply("lt", self, other)


def _apply(op: str, *parts: Any) -> Any:
    """By the part that knows most: a value with tangents may be made of symbols."""
    operands = (part for part in parts if isinstance(part, Operand))
    return max(operands, key=lambda part: part.rank).apply(op, *parts)


def of_one(function: Callable[..., Any], value: Any) -> tuple[Any, ...]:
    """``function(value)``, a tuple that depends on nothing else with a derivative.

    Where it is long it is cheaper to take its derivative along with it than to go back through it,
    which needs all that was computed on the way.
    """
    return value.call(function) if isinstance(value, Operand) else tuple(function(value))


# Every operation, as computed on numbers, tensors and symbols.
OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "neg": operator.neg,
    "abs": abs,
    "sqrt": torch.sqrt,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": torch.log,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "max": torch.maximum,
    "min": torch.minimum,
    "clamp_min": lambda value, low: torch.clamp(value, min=low),
    "clamp_max": lambda value, high: torch.clamp(value, max=high),
    "ge": operator.ge,
    "gt": operator.gt,
    "le": operator.le,
    "lt": operator.lt,
    "where": torch.where,
    "detach": lambda value: value.detach(),
}

MASKS = frozenset({"ge", "gt", "le", "lt"})


def _plain(op: str) -> Callable[..., Any]:
    return lambda *parts: _apply(op, *parts)


def _power(base: Operand, exponent: Any) -> Any:
    """The powers that torch computes by products and roots."""
    if exponent == 1:
        return base
    if exponent == 2:
        return base * base
    if exponent == 3:
        return base * base * base
    if exponent == 0.5:
        return _apply("sqrt", base)
    raise NoRuleError(f"the power {exponent!r} has no rule (1, 2, 3 and 0.5 have)")


def _clamp(value: Operand, min: Any = None, max: Any = None) -> Any:  # noqa: A002  # torch's names
    # A bound that is no number has a derivative of its own.
    if min is not None:
        value = _apply("max" if isinstance(min, Tensor | Operand) else "clamp_min", value, min)
    if max is not None:
        value = _apply("min" if isinstance(max, Tensor | Operand) else "clamp_max", value, max)
    return value


_NAMES = {
    "add": "add",
    "sub": "sub subtract",
    "mul": "mul multiply",
    "div": "div divide true_divide truediv",
    "neg": "neg negative",
    "abs": "abs absolute",
    "sqrt": "sqrt",
    "exp": "exp",
    "expm1": "expm1",
    "log": "log",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "max": "maximum",
    "min": "minimum",
    "ge": "ge greater_equal",
    "gt": "gt greater",
    "le": "le less_equal",
    "lt": "lt less",
    "where": "where",
    "detach": "detach",
}

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _plain(op) for op, names in _NAMES.items() for name in names.split()},
    "radd": lambda one, other: one + other,
    "rmul": lambda one, other: one * other,
    "rsub": lambda one, other: other - one,
    "rdiv": lambda one, other: other / one,
    "rtruediv": lambda one, other: other / one,
    "square": lambda value: _power(value, 2),
    "pow": _power,
    "reciprocal": lambda value: 1 / value,
    "clamp": _clamp,
    "clip": _clamp,
    "relu": lambda value: _clamp(value, min=0.0),
    "to": lambda value, *_, **__: value.apply("to", value),
    "type_as": lambda value, _: value.apply("to", value),
    "float": lambda value: value.apply("to", value),
    # A filled tensor meets others as its number does.
    "zeros_like": lambda like, **_: 0.0,
    "ones_like": lambda like, **_: 1.0,
    "full_like": lambda like, fill_value, **_: fill_value,
}
