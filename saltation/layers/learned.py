"""Parameters of neurons that are learned, and the ranges that they are kept in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from saltation.errors import Number, SaltationError, choose, number, shown
from saltation.neurons import made
from saltation.neurons.base import Neuron

CONSTRAINTS = ("auto", "none", "positive", "unit", "stable")
# Values of a parameter that are looked at to find where the scheme is stable, and how far inside
# its limit a parameter stays: float32 must not round it out of it.
_GRID, _MARGIN = 400, 1e-5


@dataclass(frozen=True)
class Learned:
    """A parameter that is learned; see `learn`."""

    value: Any
    constraint: str | tuple[float, float]


def learn(value: Number | Tensor, constraint: str | tuple[Number, Number] = "auto") -> Learned:
    """A parameter of a neuron layer that is learned, such as ``st.LIF(tau=st.learn(2.0))``.

    Parameters
    ----------
    value : float or Tensor
        Where it starts: one number for the layer, or a tensor that broadcasts to one step's
        currents, such as ``[F]``, or ``[C, 1, 1]`` behind a convolution.
    constraint : str or (float, float), default "auto"
        Two numbers: between them. ``positive``: above 0; ``unit``: in (0, 1); ``stable``: above 0
        and where the scheme is stable with the layer's dt; ``none``; ``auto``: positive for time
        constants, unit for the ``beta`` of LIF, else none. What is learned is a number that any
        value of which is allowed: its softplus above the lower bound, or its logistic function
        between two bounds.

    Raises
    ------
    SaltationError
        If the value or constraint is none.
    """
    if isinstance(constraint, str):
        choose("constraint", constraint, CONSTRAINTS)
    else:
        constraint = _bounds(constraint)
    if isinstance(value, Tensor):
        if not value.is_floating_point():
            raise SaltationError(f"a learned parameter must be floating point, got {value.dtype}")
        return Learned(value.detach().clone(), constraint)
    return Learned(number("a learned parameter", value), constraint)


def _bounds(given: Any) -> tuple[float, float]:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise SaltationError(f"a constraint is a name or two numbers, got {shown(given)}")
    low, high = (number("a bound of a learned parameter", value) for value in given)
    if not -math.inf < low < high < math.inf:
        raise SaltationError(
            f"the bounds of a learned parameter must be finite and ascend, got {low:g} and {high:g}"
        )
    return low, high


@dataclass(frozen=True)
class Range:
    """An open interval and the function from all numbers onto it."""

    low: float = -math.inf
    high: float = math.inf

    def value(self, raw: Tensor) -> Tensor:
        """The parameter, from what is learned."""
        if math.isinf(self.low):
            return raw
        if math.isinf(self.high):
            # Its linear part from where float64 sees no difference.
            return self.low + functional.softplus(raw, threshold=40.0)
        return self.low + (self.high - self.low) * torch.sigmoid(raw)

    def raw(self, value: Tensor) -> Tensor:
        """What is learned, from the parameter."""
        if math.isinf(self.low):
            return value
        above = value.double() - self.low
        if math.isinf(self.high):
            return (above + torch.log(-torch.expm1(-above))).to(value.dtype)
        return torch.logit(above / (self.high - self.low)).to(value.dtype)


def range_of(neuron: Neuron, name: str, learned: Learned) -> Range:
    """The range that the parameter ``name`` of ``neuron`` is kept in.

    Raises
    ------
    SaltationError
        If the value that it starts from is outside.
    """
    constraint = learned.constraint
    if constraint == "auto":
        constraint = "positive" if name.startswith("tau") else neuron.ranges.get(name, "none")
    value = torch.as_tensor(learned.value, device="cpu")
    if not isinstance(constraint, str):
        found = Range(*constraint)
    elif constraint == "stable":
        found = _stable(neuron, name, value)
    else:
        found = {"none": Range(), "positive": Range(0.0), "unit": Range(0.0, 1.0)}[constraint]
    if not bool(((value > found.low) & (value < found.high)).all()):
        raise SaltationError(
            f"{neuron.title} {name} is learned in ({found.low:g}, {found.high:g}), "
            f"got {shown(learned.value)} to start from"
        )
    return found


def _stable(neuron: Neuron, name: str, value: Tensor) -> Range:
    """Where the scheme is stable, around ``value``, with the other parameters as they are."""

    def is_stable(at: float) -> bool:
        return bool(neuron.with_values({name: at}).is_stable)

    if neuron.tensors and set(neuron.tensors) != {name}:
        others = ", ".join(n for n in neuron.tensors if n != name)
        raise SaltationError(
            f"{neuron.title} {name} cannot be kept stable beside {others}, which the limit depends "
            "on: learn one parameter of the layer, or give both another constraint"
        )
    low, high = float(value.min()), float(value.max())
    if low <= 0 or not (is_stable(low) and is_stable(high)):
        raise SaltationError(
            f"{neuron.title} with scheme '{neuron.scheme}' and dt = {neuron.dt:g} is not stable "
            f"with {name} = {low if not low > 0 or not is_stable(low) else high:g}, where it starts"
        )
    lower = _edge(is_stable, low, 1 / 1.05)
    upper = _edge(is_stable, high, 1.05)
    return Range(lower * (1 + _MARGIN) if lower else 0.0, upper * (1 - _MARGIN))


def _edge(is_stable: Any, start: float, factor: float) -> float:
    """Where stability ends on the way from ``start``; 0 or infinity if it does not."""
    inside = start
    for _ in range(_GRID):
        outside = inside * factor
        if not is_stable(outside):
            for _ in range(60):
                middle = math.sqrt(inside * outside)
                inside, outside = (middle, outside) if is_stable(middle) else (inside, middle)
            return inside
        inside = outside
    return 0.0 if factor < 1 else math.inf


class Varied(nn.Module):
    """Base of layers whose neurons' parameters may be tensors, fixed or learned.

    What is learned stands in ``learned``, a parameter by name; what is a tensor and fixed, in
    buffers ``fixed_<name>``.
    """

    _plain: Neuron
    _ranges: dict[str, Range]
    _replaced: Neuron | None = None

    def _set_neuron(self, model: Any, given: dict[str, Any]) -> None:
        """Make the neuron of numbers, and register what is learned or a tensor."""
        for name in model.learns:
            if _is_plain(given.get(name)):
                given[name] = learn(given.get(name, getattr(model, name)))
        tensors = {
            n: v
            for n, v in given.items()
            if isinstance(v, Learned | Tensor) and made.may_vary(model, n)
        }
        values = {n: _value(v) for n, v in tensors.items()}
        self._plain = model(**{**given, **values})
        self._ranges, raw = {}, {}
        for name, v in tensors.items():
            if isinstance(v, nn.Parameter):
                raw[name], self._ranges[name] = v, Range()
            elif isinstance(v, Learned):
                self._ranges[name] = range_of(self._plain, name, v)
                start = torch.as_tensor(v.value, dtype=torch.get_default_dtype())
                raw[name] = nn.Parameter(self._ranges[name].raw(start))
            elif v.ndim:
                self.register_buffer(f"fixed_{name}", v.detach().clone())
        if raw:
            self.learned = nn.ParameterDict(raw)

    @property
    def neuron(self) -> Neuron:
        """The neurons' model with its parameters as they are now."""
        if self._replaced is not None:
            return self._replaced
        names = [n for n in self._plain.tensors if n not in self._ranges]
        if not names and not self._ranges:
            return self._plain
        values: dict[str, Any] = {n: self._buffers[f"fixed_{n}"] for n in names}
        for name, range_ in self._ranges.items():
            value = range_.value(self.learned[name])
            if math.isinf(range_.low) and name.startswith("tau") and not bool((value > 0).all()):
                raise SaltationError(
                    f"{self._plain.title} {name} was learned and is now {value.min().item():g}, "
                    f"not above 0: saltation.learn keeps it there"
                )
            values[name] = value
        neuron: Neuron = self._plain.with_values(values)
        return neuron

    @neuron.setter
    def neuron(self, neuron: Neuron) -> None:
        self._replaced = neuron


def _is_plain(value: Any) -> bool:
    return not isinstance(value, Learned | Tensor)


def _value(given: Any) -> Any:
    return given.value if isinstance(given, Learned) else given.detach()
