"""A traced graph in the operations that loops know."""

from __future__ import annotations

import math
from typing import Any

from saltation.kernels.program.graph import Graph
from saltation.kernels.program.trace import Builder, Symbol

# Powers of 2 up to this one are float32, as their reciprocals are.
_EXPONENTS = 126

# What differs from another operation in its derivative alone.
_EQUAL = {"clamp_min": "max", "clamp_max": "min"}


def lowered(graph: Graph, numbers: list[float], rows: list[Any]) -> Graph:
    """``graph`` without what has a meaning in derivatives alone, with the same bits; ``numbers``
    and ``rows`` are those of its slots, and may become more."""
    whole = Builder(numbers, rows)
    made: list[Symbol] = []
    for node in graph.nodes:
        given = [made[place] for place in node.inputs]
        if node.op == "spike":
            made.append(whole.apply("to", whole.apply("ge", given[0], 0.0)))
        elif node.op == "detach":
            made.append(given[0])
        elif node.op == "div" and (factor := _factor(graph, node.inputs[1], numbers)):
            made.append(whole.apply("mul", given[0], factor))
        elif node.op in _EQUAL:
            made.append(whole.apply(_EQUAL[node.op], *given))
        else:
            made.append(whole.add(node._replace(inputs=tuple(one.place for one in given))))
    return whole.graph(*(made[place] for place in graph.outputs))


def _factor(graph: Graph, divisor: int, numbers: list[float]) -> float | None:
    """What gives the same bits multiplied as the node ``divisor`` divides: the reciprocal of a
    power of 2, at less cost."""
    node = graph.nodes[divisor]
    if node.op != "number":
        return None
    fraction, exponent = math.frexp(numbers[node.slot])
    exact = abs(fraction) == 0.5 and abs(exponent) < _EXPONENTS
    return 1 / numbers[node.slot] if exact else None
