"""The reverse sweep: from the gradients of a graph's results to those of what it was given."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from saltation.derivatives import RULES
from saltation.kernels.program.trace import Builder, Symbol


def sweep(
    builder: Builder,
    made: list[Symbol],
    gradients: Mapping[int, Symbol],
    wanted: Set[int],
    spike: Any,
) -> dict[int, Symbol]:
    """Gradients of the nodes ``wanted``, by place.

    Parameters
    ----------
    builder
        The graph to which the sweep is added.
    made
        The nodes whose results were computed, in order, in that graph.
    gradients
        Those of some of them, by place in the graph.
    wanted
        Places at which the sweep ends: inputs, rows, and spikes that acted late.
    spike
        The surrogate whose derivative stands in for that of ``spike``.
    """
    rules = RULES | {"spike": (lambda g, out, u: g * spike.derivative(u),)}
    needs = set(wanted)
    made = [symbol for symbol in made if symbol is not None]
    along = builder.along
    for symbol in made:
        if symbol.place in along and along[symbol.place][0] in needs:
            needs.add(symbol.place)
        if needs & set(builder.nodes[symbol.place].inputs):
            needs.add(symbol.place)
    found = {place: g for place, g in gradients.items() if place in needs}
    for symbol in reversed(made):
        place = symbol.place
        node = builder.nodes[place]
        if place not in found or place in wanted or not node.inputs:
            continue
        if place in along:
            of, derivative = along[place]
            if of in needs:
                part = found[place] * derivative
                found[of] = found[of] + part if of in found else part
            continue
        given = [Symbol(builder, of) for of in node.inputs]
        for rule, of in zip(rules[node.op], node.inputs, strict=False):
            part = rule(found[place], symbol, *given) if of in needs else None
            if part is not None:
                part = builder.symbol(part)
                found[of] = found[of] + part if of in found else part
    return {place: found[place] for place in wanted if place in found}
