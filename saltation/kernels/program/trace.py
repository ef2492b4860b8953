"""Running torch code on symbols: what it does to them, as a graph.

Whatever does not meet a symbol is computed at once: numbers in double precision, tensors as torch
computes them. So a graph holds the operations on currents and states alone. A number that meets a
symbol becomes a ``number`` of the graph, a tensor becomes a ``row``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from saltation.derivatives import Dual
from saltation.kernels.program.graph import Graph, Node
from saltation.operands import MASKS, NoRuleError, Operand


class Builder:
    """A graph in the making; several may share one list of numbers and one of rows."""

    def __init__(self, numbers: list[float] | None = None, rows: list[Tensor] | None = None):
        self.nodes: list[Node] = []
        self.numbers = [] if numbers is None else numbers
        self.rows = [] if rows is None else rows
        self._inputs: dict[int, Symbol] = {}
        self.calls: list[Call] = []
        # Of results of calls: what they depend on, and their derivative.
        self.along: dict[int, tuple[int, Any]] = {}

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
                raise NoRuleError("a value of another step is used")
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
            raise NoRuleError(f"a {type(value).__name__} meets the state") from None
        return self.add(Node("number", slot=len(self.numbers) - 1))

    def add(self, node: Node) -> Symbol:
        """The symbol of one more node."""
        self.nodes.append(node)
        return Symbol(self, len(self.nodes) - 1)

    def inline(
        self, graph: Graph, inputs: dict[int, Symbol], calls: Sequence[Call] = ()
    ) -> list[Symbol]:
        """All nodes of ``graph`` once more, in this one, with ``inputs`` in place of its own.

        Of ``calls`` the derivatives are computed along with the results.
        """
        made: list[Any] = []
        firsts = {call.first: call for call in calls}
        for place, node in enumerate(graph.nodes):
            if place in firsts:
                made += self._called(firsts[place], made)
            if place < len(made):
                continue
            if node.op == "input" and node.slot in inputs:
                made.append(inputs[node.slot])
            elif node.op == "input":
                made.append(self.input(node.slot))
            else:
                places = tuple(made[i].place for i in node.inputs)
                made.append(self.add(node._replace(inputs=places)))
        return made

    def _called(self, call: Call, made: list[Any]) -> list[Any]:
        """What stands in the places of a call; None for what only the call itself needs."""
        value = made[call.value]
        results = call.function(Dual(value, 1.0))
        places: list[Any] = [None] * (call.last - call.first + 1)
        for place, result in zip(call.results, results, strict=True):
            places[place - call.first] = result.value
            self.along[result.value.place] = (value.place, result.tangents[0])
        return places

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


class Call(NamedTuple):
    """A function of one value, and where its operations are in a graph: ``first ... last``."""

    function: Callable[..., Any]
    value: int
    first: int
    last: int
    results: tuple[int, ...]


class Symbol(Operand):
    """A number for every neuron whose value is not known yet."""

    def __init__(self, builder: Builder, place: int) -> None:
        self.builder, self.place = builder, place

    def call(self, function: Callable[..., Any]) -> tuple[Any, ...]:
        first = len(self.builder.nodes)
        results = [self.builder.symbol(result) for result in function(self)]
        places = tuple(result.place for result in results)
        last = len(self.builder.nodes) - 1
        self.builder.calls.append(Call(function, self.place, first, last, places))
        return tuple(results)

    def apply(self, op: str, *parts: Any) -> Any:
        if op == "to" and self.builder.nodes[self.place].op not in MASKS:
            return self  # it has the type already
        return self.builder.apply(op, *parts)
