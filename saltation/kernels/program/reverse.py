"""The reverse sweep: from the gradients of a graph's results to those of what it was given.

Derivatives of operations stand here once, in operations of the same kind, so that the sweep is
itself a graph. Source: Griewank & Walther, "Evaluating derivatives", 2nd ed., 2008, chapter 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any

from saltation.kernels.program.trace import Builder, Symbol

# From the gradient, the operation's result and its inputs to the inputs' gradients; None where
# there is none.
Rule = Callable[..., tuple[Any, ...]]


def _choose(mask: Symbol, one: Any, other: Any) -> Symbol:
    return mask.builder.apply("where", mask, one, other)


def _of_extreme(sign: str) -> Rule:
    """`torch.maximum` and `torch.minimum` share the gradient where both are equal."""

    def rule(g: Symbol, out: Symbol, a: Symbol, b: Symbol) -> tuple[Symbol, Symbol]:
        wins, loses = (a > b, a < b) if sign == "max" else (a < b, a > b)
        half = 0.5 * g
        of_a = _choose(wins, g, _choose(loses, 0.0, half))
        return of_a, _choose(loses, g, _choose(wins, 0.0, half))

    return rule


RULES: dict[str, Rule] = {
    "add": lambda g, out, a, b: (g, g),
    "sub": lambda g, out, a, b: (g, -g),
    "mul": lambda g, out, a, b: (g * b, g * a),
    "div": lambda g, out, a, b: (g / b, -(g / b * out)),
    "neg": lambda g, out, a: (-g,),
    "abs": lambda g, out, a: (_choose(a > 0.0, g, _choose(a < 0.0, -g, 0.0)),),
    "sqrt": lambda g, out, a: (0.5 * g / out,),
    "exp": lambda g, out, a: (g * out,),
    "expm1": lambda g, out, a: (g * (out + 1.0),),
    "log": lambda g, out, a: (g / a,),
    "tanh": lambda g, out, a: (g * (1.0 - out * out),),
    "sigmoid": lambda g, out, a: (g * (out * (1.0 - out)),),
    "max": _of_extreme("max"),
    "min": _of_extreme("min"),
    "clamp_min": lambda g, out, a, b: (_choose(a >= b, g, 0.0), None),
    "clamp_max": lambda g, out, a, b: (_choose(a <= b, g, 0.0), None),
    "where": lambda g, out, mask, a, b: (None, _choose(mask, g, 0.0), _choose(mask, 0.0, g)),
    **{op: lambda g, out, *given: (None,) * len(given) for op in ("ge", "gt", "le", "lt")},
    "to": lambda g, out, mask: (None,),
    "detach": lambda g, out, a: (None,),
}


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
    rules = RULES | {"spike": lambda g, out, u: (g * spike.derivative(u),)}
    needs = set(wanted)
    for symbol in made:
        if needs & set(builder.nodes[symbol.place].inputs):
            needs.add(symbol.place)
    found = {place: g for place, g in gradients.items() if place in needs}
    for symbol in reversed(made):
        place = symbol.place
        node = builder.nodes[place]
        if place not in found or place in wanted or not node.inputs:
            continue
        given = [Symbol(builder, of) for of in node.inputs]
        parts = rules[node.op](found[place], symbol, *given)
        for of, part in zip(node.inputs, parts, strict=True):
            if part is not None and of in needs:
                part = builder.symbol(part)
                found[of] = found[of] + part if of in found else part
    return {place: found[place] for place in wanted if place in found}
