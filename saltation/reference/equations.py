"""A model's equations as functions of numbers, in double precision.

Written in torch operations, they cost a solver that asks for one point after the other more than
the solver itself. So they are run once on names, and what they do to them is compiled as Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from saltation.derivatives import Dual
from saltation.neurons import Neuron
from saltation.operands import NoRuleError, Operand
from saltation.reference.passage import Vector

# Of the largest value of a variable: how far a derivative along the solution looks.
_AHEAD = 1e-6


class _Name(Operand):
    """The name of a number that is not known yet; lines of Python say how it is computed."""

    def __init__(self, lines: list[str], name: str) -> None:
        self._lines, self.name = lines, name

    def apply(self, op: str, *parts: Any) -> Any:
        given = ", ".join(map(written, parts))
        form = _INFIX.get(op)
        text = f"{op}_({given})" if form is None else form.format(*map(written, parts))
        name = f"t{len(self._lines)}"
        self._lines.append(f"{name} = {text}")
        return _Name(self._lines, name)


def written(value: Any) -> str:
    """A number, or the name of one."""
    if isinstance(value, _Name):
        return value.name
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        raise NoRuleError(f"a {type(value).__name__} meets the state") from None
    return repr(number) if math.isfinite(number) else f"float('{number}')"


_INFIX = {
    "add": "{} + {}",
    "sub": "{} - {}",
    "mul": "{} * {}",
    "neg": "-{}",
    "abs": "abs({})",
    "ge": "{} >= {}",
    "gt": "{} > {}",
    "le": "{} <= {}",
    "lt": "{} < {}",
    "detach": "{}",
}


def _or(function: Callable[[float], float], beyond: float) -> Callable[[float], float]:
    """``function``, as torch has it where Python refuses."""

    def value(x: float) -> float:
        try:
            return function(x)
        except OverflowError:
            return beyond
        except ValueError:
            return -math.inf if x == 0 else math.nan

    return value


def _div(a: float, b: float) -> float:
    return a / b if b else float(np.divide(a, b))


_OF_NUMBERS: dict[str, Callable[..., Any]] = {
    "div_": _div,
    "sqrt_": _or(math.sqrt, math.inf),
    "exp_": _or(math.exp, math.inf),
    "expm1_": _or(math.expm1, math.inf),
    "log_": _or(math.log, math.inf),
    "tanh_": math.tanh,
    "sigmoid_": lambda x: 1 / (1 + math.exp(-x)) if x > -700 else 0.0,
    "max_": max,
    "min_": min,
    "clamp_min_": max,
    "clamp_max_": min,
    "where_": lambda mask, a, b: a if mask else b,
    "to_": float,
}
_OF_ARRAYS: dict[str, Callable[..., Any]] = {
    "div_": np.divide,
    "sqrt_": np.sqrt,
    "exp_": np.exp,
    "expm1_": np.expm1,
    "log_": np.log,
    "tanh_": np.tanh,
    "sigmoid_": lambda x: 1 / (1 + np.exp(-x)),
    "max_": np.maximum,
    "min_": np.minimum,
    "clamp_min_": np.maximum,
    "clamp_max_": np.minimum,
    "where_": np.where,
    "to_": lambda x: np.asarray(x, float),
}


class Equations:
    """Velocity and threshold of ``model``, with the derivatives that event detection needs.

    States are arrays ``[n]``, or ``[n, N]`` of N points. All are functions of one input current.
    """

    def __init__(self, model: Neuron) -> None:
        self._model = model
        self.count = len(type(model).State._fields)
        try:
            self._numbers, self._arrays = _compiled(model, self.count)
        except (NoRuleError, TypeError, ValueError, RuntimeError, AttributeError):
            self._numbers = self._arrays = _Plain(model).rows

    def velocity(self, x: float, state: Vector) -> Vector:
        """``[n]`` or ``[n, N]``."""
        return self._rows(x, state)[: self.count]

    def gap(self, state: Vector) -> Any:
        """The potential less its threshold."""
        return self._rows(0.0, state)[self.count]

    def speed(self, x: float, state: Vector) -> Any:
        """The time derivative of `gap` along the solution."""
        return self._rows(x, state)[self.count + 1]

    def gain(self, x: float, state: Vector) -> Vector:
        """The derivative of the velocity with respect to the current."""
        return self._rows(x, state)[self.count + 2 :]

    def turn(self, x: float, state: Vector) -> float:
        """The second time derivative of `gap`, from two points close to each other."""
        f = self.velocity(x, state)
        fastest = float(np.max(np.abs(f) / (np.abs(state) + np.abs(state).max() * 1e-3 + 1e-300)))
        s = _AHEAD / fastest if fastest > 0 else 1.0
        ahead, behind = self.speed(x, state + s * f), self.speed(x, state - s * f)
        return float(ahead - behind) / (2 * s)

    def _rows(self, x: float, state: Vector) -> Vector:
        if state.ndim == 1:
            return np.array(self._numbers(x, *state.tolist()), float)
        with np.errstate(all="ignore"):
            return np.array(np.broadcast_arrays(*self._arrays(x, *state)), float)


def _compiled(model: Neuron, count: int) -> list[Callable[..., Any]]:
    """Velocity, gap, speed and gain of numbers, and of arrays."""
    lines: list[str] = []
    names = [_Name(lines, name) for name in ("x", *(f"y{i}" for i in range(count)))]
    x, *state = names
    velocity = list(model.velocity(x, *state))
    threshold = model.threshold(*(Dual(y, f) for y, f in zip(state, velocity, strict=True)))
    speed = velocity[0]
    if isinstance(threshold, Dual):
        rise = threshold.tangents[0]
        threshold, speed = threshold.value, speed if rise is None else speed - rise
    driven = model.velocity(Dual(x, 1.0), *state)
    gain = [f.tangents[0] or 0.0 if isinstance(f, Dual) else 0.0 for f in driven]
    results = [*velocity, state[0] - threshold, speed, *gain]
    body = "\n    ".join([*lines, f"return {', '.join(map(written, results))},"])
    text = f"def rows(x, {', '.join(y.name for y in state)}):\n    {body}\n"
    found = []
    for functions in (_OF_NUMBERS, _OF_ARRAYS):
        place: dict[str, Any] = dict(functions)
        exec(text, place)
        found.append(place["rows"])
    return found


class _Plain:
    """The same by torch itself, for equations with operations that have no rule."""

    def __init__(self, model: Neuron) -> None:
        self._model = model

    def rows(self, x: Any, *state: Any) -> list[Any]:
        with torch.enable_grad():
            y = [torch.tensor(part, dtype=torch.float64, requires_grad=True) for part in state]
            current = torch.full_like(y[0], x, requires_grad=True)
            # With every variable, so that each has a derivative and the shape of a state.
            none = 0.0 * (sum(y) + current)
            f = [part + none for part in self._model.velocity(current, *y)]
            above = y[0] - self._model.threshold(*y) + none
            slopes = torch.autograd.grad(above.sum(), y, retain_graph=True)
            speed = sum(slope * part for slope, part in zip(slopes, f, strict=True))
            gain = [torch.autograd.grad(p.sum(), current, retain_graph=True)[0] for p in f]
        return [part.detach().numpy() for part in (*f, above, speed, *gain)]
