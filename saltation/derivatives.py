"""Derivatives of the operations that equations are made of, each once, for every use.

A rule is the multiplication with a partial derivative. Forward mode applies it to the tangents of
the inputs and adds them up; reverse mode applies it to the gradient of the result. Source: Griewank
& Walther, "Evaluating derivatives", 2nd ed., 2008, chapter 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from saltation.operands import MASKS, OPERATIONS, Operand

# By operation, for each input: from what is multiplied, the result and the inputs.
Rule = Callable[..., Any]


def _zero(like: Any) -> Any:
    return 0.0 if isinstance(like, float) else torch.zeros_like(like)


def _times(t: Any, factor: Any) -> Any:
    """Their product; no operation where a tangent is the unit of its own direction."""
    if isinstance(t, float) and abs(t) == 1:
        return factor if t == 1 else -factor
    return t * factor


def _over(t: Any, out: Any, a: Any, b: Any) -> Any:
    """A tangent over a divisor; a number's reciprocal costs less."""
    return t * (1 / b) if isinstance(b, float | int) and b else t / b


def _chosen(mask: Any, one: Any, other: Any, like: Any) -> Any:
    """One or the other; torch makes float32 of two numbers, whatever else is float64."""
    if isinstance(like, Tensor):
        one, other = (
            torch.as_tensor(p, dtype=like.dtype, device=like.device) for p in (one, other)
        )
    return torch.where(mask, one, other)


def _shared(wins: str) -> tuple[Rule, Rule]:
    """`torch.maximum` and `torch.minimum` give each half where both are equal."""
    compare = OPERATIONS[wins]

    def first(t: Any, out: Any, a: Any, b: Any) -> Any:
        return _chosen(compare(a, b), t, _chosen(compare(b, a), _zero(t), 0.5 * t, out), out)

    return first, lambda t, out, a, b: first(t, out, b, a)


RULES: dict[str, tuple[Rule, ...]] = {
    "add": (lambda t, out, a, b: t, lambda t, out, a, b: t),
    "sub": (lambda t, out, a, b: t, lambda t, out, a, b: -t),
    "mul": (lambda t, out, a, b: _times(t, b), lambda t, out, a, b: _times(t, a)),
    "div": (_over, lambda t, out, a, b: -_times(t, out / b)),
    "neg": (lambda t, out, a: -t,),
    "abs": (lambda t, out, a: _chosen(a > 0.0, t, _chosen(a < 0.0, -t, _zero(t), out), out),),
    "sqrt": (lambda t, out, a: 0.5 * t / out,),
    "exp": (lambda t, out, a: _times(t, out),),
    "expm1": (lambda t, out, a: _times(t, out + 1.0),),
    "log": (lambda t, out, a: t / a,),
    "tanh": (lambda t, out, a: _times(t, 1.0 - out * out),),
    "sigmoid": (lambda t, out, a: _times(t, out * (1.0 - out)),),
    "max": _shared("gt"),
    "min": _shared("lt"),
    "clamp_min": (lambda t, out, a, b: _chosen(a >= b, t, _zero(t), out),),
    "clamp_max": (lambda t, out, a, b: _chosen(a <= b, t, _zero(t), out),),
    "where": (
        lambda t, out, mask, a, b: None,
        lambda t, out, mask, a, b: _chosen(mask, t, _zero(t), out),
        lambda t, out, mask, a, b: _chosen(mask, _zero(t), t, out),
    ),
    # Steps: their derivative is zero, or a surrogate's.
    **dict.fromkeys((*MASKS, "to", "detach"), ()),
}


class Dual(Operand):
    """A value and its derivatives in several directions, None where one is zero.

    Value and tangents may be tensors, symbols or numbers.
    """

    rank: float = 1

    def __init__(self, value: Any, *tangents: Any) -> None:
        self.value, self.tangents = value, tangents

    @property
    def dtype(self) -> Any:  # type: ignore[override]
        return getattr(self.value, "dtype", Operand.dtype)

    def apply(self, op: str, *parts: Any) -> Any:
        # Of its own kind: the other kind may be what it is made of.
        own = [part if type(part) is type(self) else None for part in parts]
        values = [p if d is None else d.value for p, d in zip(parts, own, strict=True)]
        out = OPERATIONS[op](*values)
        if not RULES[op]:
            return out
        tangents = []
        for direction in range(len(self.tangents)):
            total = None
            for rule, part in zip(RULES[op], own, strict=False):
                t = None if part is None else part.tangents[direction]
                term = None if t is None else rule(t, out, *values)
                total = term if total is None else total if term is None else total + term
            tangents.append(total)
        return type(self)(out, *tangents)


class Carried(Dual):
    """A value and its derivative in the one direction that a whole step carries along.

    Within the step there may be derivatives of its equations, for a scheme that takes them: those
    are made of it, each kind with its own direction.
    """

    rank = 0.5


def jacobian(function: Callable[..., Any], point: Any) -> tuple[list[Any], list[list[Any]]]:
    """The values of ``function(*point)``, n of n, and their derivatives ``[n][n]``, 0 or more.

    Entries are what the values are made of, tensors or symbols; numbers where they are constant.
    """
    count = len(point)
    duals = [Dual(p, *(1.0 if i == k else None for k in range(count))) for i, p in enumerate(point)]
    results = function(*duals)
    values = [r.value if type(r) is Dual else r for r in results]
    rows = [
        [0.0 if t is None else t for t in r.tangents] if type(r) is Dual else [0.0] * count
        for r in results
    ]
    return values, rows
