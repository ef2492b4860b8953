"""Running torch code on symbols: what it does to them, as a graph.

Whatever does not meet a symbol is computed at once: numbers in double precision, tensors as torch
computes them. So a graph holds the operations on currents and states alone. A number that meets a
symbol becomes a ``number`` of the graph, a tensor becomes a ``row``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from saltation.kernels.program.graph import Graph, Node


class UntraceableError(Exception):
    """The step does something that has no form in a graph."""


class Builder:
    """A graph in the making; several may share one list of numbers and one of rows."""

    def __init__(self, numbers: list[float] | None = None, rows: list[Tensor] | None = None):
        self.nodes: list[Node] = []
        self.numbers = [] if numbers is None else numbers
        self.rows = [] if rows is None else rows
        self._inputs: dict[int, Symbol] = {}

    def apply(self, op: str, *parts: Any) -> Symbol:
        """The symbol of an operation on symbols, numbers and tensors."""
        return self.add(Node(op, tuple(self.symbol(part).place for part in parts)))

    def input(self, slot: int) -> Symbol:
        """The symbol of an input, always the same one."""
        if slot not in self._inputs:
            self._inputs[slot] = self.add(Node("input", slot=slot))
        return self._inputs[slot]

    def symbol(self, value: Any) -> Symbol:
        """``value`` in this graph."""
        if isinstance(value, Symbol):
            if value.builder is not self:
                raise UntraceableError("a value of another step is used")
            return value
        if isinstance(value, Tensor):
            if value.ndim == 0 and not value.requires_grad:
                return self._number(value.item())
            for slot, row in enumerate(self.rows):
                if row is value:
                    return self.add(Node("row", slot=slot))
            self.rows.append(value)
            return self.add(Node("row", slot=len(self.rows) - 1))
        return self._number(value)

    def _number(self, value: Any) -> Symbol:
        try:
            self.numbers.append(float(value))
        except (TypeError, ValueError, OverflowError):
            raise UntraceableError(f"a {type(value).__name__} meets the state") from None
        return self.add(Node("number", slot=len(self.numbers) - 1))

    def add(self, node: Node) -> Symbol:
        """The symbol of one more node."""
        self.nodes.append(node)
        return Symbol(self, len(self.nodes) - 1)

    def inline(self, graph: Graph, inputs: dict[int, Symbol]) -> list[Symbol]:
        """All nodes of ``graph`` once more, in this one, with ``inputs`` in place of its own."""
        made: list[Symbol] = []
        for node in graph.nodes:
            if node.op == "input" and node.slot in inputs:
                made.append(inputs[node.slot])
            elif node.op == "input":
                made.append(self.input(node.slot))
            else:
                places = tuple(made[place].place for place in node.inputs)
                made.append(self.add(node._replace(inputs=places)))
        return made

    def graph(self, *outputs: Symbol) -> Graph:
        """The graph of these results, without what they do not need."""
        wanted = {output.place for output in outputs}
        for place in range(len(self.nodes) - 1, -1, -1):
            if place in wanted:
                wanted.update(self.nodes[place].inputs)
        kept = sorted(wanted)
        places = {old: new for new, old in enumerate(kept)}
        nodes = (self.nodes[old] for old in kept)
        renamed = (n._replace(inputs=tuple(places[i] for i in n.inputs)) for n in nodes)
        return Graph(tuple(renamed), tuple(places[output.place] for output in outputs))


class Symbol:
    """A number for every neuron whose value is not known yet; takes the place of a tensor."""

    dtype = torch.float32
    device = torch.device("cpu")
    requires_grad = False

    def __init__(self, builder: Builder, place: int) -> None:
        self.builder, self.place = builder, place

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = getattr(function, "__name__", str(function)).strip("_")
        rule = _FUNCTIONS.get(name)
        if rule is None:
            raise UntraceableError(f"torch.{name} has no rule")
        try:
            return rule(*args, **(kwargs or {}))
        except TypeError:
            raise UntraceableError(f"torch.{name} is called in a form that has no rule") from None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        rule = _FUNCTIONS.get(name)
        if rule is None or name.startswith("_"):
            raise UntraceableError(f"Tensor.{name} has no rule")
        return lambda *args, **kwargs: rule(self, *args, **kwargs)

    def __bool__(self) -> bool:
        raise UntraceableError("it branches on the state: torch.where chooses without a branch")

    def __float__(self) -> float:
        raise UntraceableError("it makes a Python number of the state")

    __hash__ = object.__hash__

    def __add__(self, other: Any) -> Symbol:
        return self.builder.apply("add", self, other)

    def __radd__(self, other: Any) -> Symbol:
        # In torch a number comes second.
        return self.builder.apply("add", self, other)

    def __sub__(self, other: Any) -> Symbol:
        return self.builder.apply("sub", self, other)

    def __rsub__(self, other: Any) -> Symbol:
        return self.builder.apply("sub", other, self)

    def __mul__(self, other: Any) -> Symbol:
        return self.builder.apply("mul", self, other)

    def __rmul__(self, other: Any) -> Symbol:
        return self.builder.apply("mul", self, other)

    def __truediv__(self, other: Any) -> Symbol:
        return self.builder.apply("div", self, other)

    def __rtruediv__(self, other: Any) -> Symbol:
        # As in torch, where it is the reciprocal that is multiplied.
        if isinstance(other, Tensor):
            return self.builder.apply("div", other, self)
        reciprocal = self.builder.apply("div", 1.0, self)
        return reciprocal if other == 1 else self.builder.apply("mul", reciprocal, other)

    def __neg__(self) -> Symbol:
        return self.builder.apply("neg", self)

    def __abs__(self) -> Symbol:
        return self.builder.apply("abs", self)

    def __pow__(self, exponent: Any) -> Symbol:
        return _power(self, exponent)

    def __ge__(self, other: Any) -> Symbol:
        return self.builder.apply("ge", self, other)

    def __gt__(self, other: Any) -> Symbol:
        return self.builder.apply("gt", self, other)

    def __le__(self, other: Any) -> Symbol:
        return self.builder.apply("le", self, other)

    def __lt__(self, other: Any) -> Symbol:
        return self.builder.apply("lt", self, other)


def _first(*parts: Any) -> Builder:
    return next(part.builder for part in parts if isinstance(part, Symbol))


def _plain(op: str) -> Callable[..., Symbol]:
    return lambda *parts: _first(*parts).apply(op, *parts)


def _power(base: Symbol, exponent: Any) -> Symbol:
    """The powers that torch computes by products and roots."""
    if exponent == 2:
        return base.builder.apply("mul", base, base)
    if exponent == 3:
        return base.builder.apply("mul", base.builder.apply("mul", base, base), base)
    if exponent == 0.5:
        return base.builder.apply("sqrt", base)
    raise UntraceableError(f"the power {exponent!r} has no rule (2, 3 and 0.5 have)")


def _clamp(value: Symbol, min: Any = None, max: Any = None) -> Symbol:  # noqa: A002  # torch's names
    if min is not None:
        value = value.builder.apply("clamp_min", value, min)
    if max is not None:
        value = value.builder.apply("clamp_max", value, max)
    return value


def _filled(number: float) -> Callable[..., Symbol]:
    return lambda like, **_: like.builder.symbol(number)


def _full_like(like: Symbol, fill_value: Any, **_: Any) -> Symbol:
    return like.builder.symbol(fill_value)


def _to(value: Symbol, *_: Any, **__: Any) -> Symbol:
    """Of a mask 0 and 1; anything else already has the type."""
    op = value.builder.nodes[value.place].op
    return value.builder.apply("to", value) if op in ("ge", "gt", "le", "lt") else value


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{
        name: _plain(op)
        for op, names in {
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
        }.items()
        for name in names.split()
    },
    "radd": lambda one, other: one + other,
    "rmul": lambda one, other: one * other,
    "rsub": lambda one, other: other - one,
    "rdiv": lambda one, other: other / one,
    "rtruediv": lambda one, other: other / one,
    "square": lambda value: _power(value, 2),
    "pow": _power,
    "reciprocal": lambda value: value.builder.apply("div", 1.0, value),
    "clamp": _clamp,
    "clip": _clamp,
    "relu": lambda value: _clamp(value, min=0.0),
    "zeros_like": _filled(0.0),
    "ones_like": _filled(1.0),
    "full_like": _full_like,
    "to": _to,
    "type_as": _to,
    "float": _to,
}
