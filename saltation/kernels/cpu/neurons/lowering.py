"""A graph of operations as vector code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from saltation.kernels.cpu.neurons.vector import Lanes
from saltation.kernels.program.graph import Graph

# What a slot of a kind (``input``, ``number``, ``row``) holds.
Source = Callable[[str, int], Lanes]

_COMPARISONS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}

_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "abs": abs,
    "sqrt": Lanes.sqrt,
    "exp": Lanes.exp,
    "expm1": Lanes.expm1,
    "log": Lanes.log,
    "tanh": Lanes.tanh,
    "sigmoid": Lanes.sigmoid,
    "max": Lanes.max,
    "min": Lanes.min,
}
# To 3e-7 of 1, where nothing is decided by them.
_FAST: dict[str, Callable[..., Any]] = {
    "exp": Lanes.fast_exp,
    "sigmoid": lambda a: a.one() / ((-a).fast_exp() + 1.0),
}


def lowered(
    graph: Graph, source: Source, wanted: Sequence[int] | None = None, *, fast: bool = False
) -> list[Lanes]:
    """The results of ``graph``, all or those of the places ``wanted`` among them; what they do not
    need is not emitted.

    With ``fast``, exponentials are those of `Lanes.fast_exp`, products that are only added or
    subtracted are fused with that, and divisions by a number are by its reciprocal; else every bit
    is that of the torch operations that the graph was made of.
    """
    outputs = [graph.outputs[i] for i in (range(len(graph.outputs)) if wanted is None else wanted)]
    operations = _OPERATIONS | _FAST if fast else _OPERATIONS
    places = needed(graph, outputs)
    uses = Counter(i for place in places for i in graph.nodes[place].inputs) + Counter(outputs)
    values: dict[int, Any] = {}

    def product(place: int) -> tuple[Lanes, Lanes] | None:
        """The factors of a product that nothing else uses."""
        node = graph.nodes[place]
        if node.op != "mul" or uses[place] > 1:
            return None
        return values[node.inputs[0]], values[node.inputs[1]]

    for place in places:
        node = graph.nodes[place]
        parts = [values[i] for i in node.inputs]
        if node.op in ("input", "number", "row"):
            values[place] = source(node.op, node.slot)
        elif node.op in _COMPARISONS:
            values[place] = parts[0].holds(_COMPARISONS[node.op], parts[1])
        elif node.op == "where":
            values[place] = parts[1].chosen(parts[0], parts[2])
        elif node.op == "to":
            some = values[graph.nodes[node.inputs[0]].inputs[0]]
            values[place] = some.one().chosen(parts[0], 0.0)
        elif fast and node.op == "add" and (factors := product(node.inputs[0])):
            values[place] = factors[0].times_plus(factors[1], parts[1])
        elif fast and node.op == "add" and (factors := product(node.inputs[1])):
            values[place] = factors[0].times_plus(factors[1], parts[0])
        elif fast and node.op == "sub" and (factors := product(node.inputs[1])):
            values[place] = (-factors[0]).times_plus(factors[1], parts[0])
        elif fast and node.op == "sub" and (factors := product(node.inputs[0])):
            values[place] = factors[0].times_plus(factors[1], -parts[1])
        elif fast and node.op == "div" and graph.nodes[node.inputs[1]].op == "number":
            values[place] = parts[0] * (parts[1].one() / parts[1])
        else:
            values[place] = operations[node.op](*parts)
    return [values[place] for place in outputs]


def needed(graph: Graph, outputs: Sequence[int]) -> list[int]:
    """Places of the nodes that these depend on, in order."""
    found = set(outputs)
    for place in range(len(graph.nodes) - 1, -1, -1):
        if place in found:
            found.update(graph.nodes[place].inputs)
    return sorted(found)


def slots(graph: Graph, kind: str, wanted: Sequence[int] | None = None) -> set[int]:
    """Slots of that kind which the results need."""
    outputs = graph.outputs if wanted is None else [graph.outputs[i] for i in wanted]
    nodes = (graph.nodes[place] for place in needed(graph, outputs))
    return {node.slot for node in nodes if node.op == kind}
