"""A graph of operations as Triton text, an expression for each node.

Operators round as torch's do, on condition that the text is compiled without contracting products
and sums. Functions whose last digit machines differ in are computed in double precision and rounded
once, as in every time loop.
"""

from __future__ import annotations

from collections.abc import Callable

from saltation.kernels.program.graph import Graph, Node

# By operation: the expression of its parts {0}, {1}, {2}, float32 numbers or masks.
OPERATIONS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "tl.div_rn({0}, {1})",
    "neg": "{0} * -1.0",  # for -x Triton 3.7 computes 0 - x, of 0 another zero
    "abs": "tl.abs({0})",
    "sqrt": "tl.sqrt_rn({0})",
    "exp": "tl.exp({0}.to(tl.float64)).to(tl.float32)",
    "expm1": "expm1({0}.to(tl.float64)).to(tl.float32)",
    "log": "tl.log({0}.to(tl.float64)).to(tl.float32)",
    "tanh": "tanh({0}.to(tl.float64)).to(tl.float32)",
    "sigmoid": "(1.0 / (1.0 + tl.exp(-{0}.to(tl.float64)))).to(tl.float32)",
    # NaN where either is: of NaN every comparison fails, and the other is chosen.
    "max": "tl.where({0} != {0}, {0}, tl.where({0} > {1}, {0}, {1}))",
    "min": "tl.where({0} != {0}, {0}, tl.where({0} < {1}, {0}, {1}))",
    "ge": "{0} >= {1}",
    "gt": "{0} > {1}",
    "le": "{0} <= {1}",
    "lt": "{0} < {1}",
    "where": "tl.where({0}, {1}, {2})",
    "to": "tl.where({0}, 1.0, 0.0)",
}
# To rounding in single precision, where nothing is decided by them.
FAST = {
    "div": "{0} / {1}",
    "sqrt": "tl.sqrt({0})",
    "exp": "tl.exp({0})",
    "sigmoid": "1.0 / (1.0 + tl.exp(-{0}))",
}

# exp(x) - 1 in double precision from exp and log (W. Kahan; Higham, Accuracy and Stability of
# Numerical Algorithms, 2002, 1.14.1), for what is a number in float32; and what follows from it.
FUNCTIONS = """
@triton.jit
def expm1(x):
    x = tl.where(x > 100.0, 100.0, tl.where(x < -50.0, -50.0, x))
    e = tl.exp(x)
    return tl.where(e == 1.0, x, (e - 1.0) * x / tl.log(e))


@triton.jit
def tanh(x):
    e = expm1(2.0 * x)
    return tl.where(x == 0.0, x, e / (e + 2.0))
"""

Names = Callable[[str, int], str]


def printed(
    graph: Graph, prefix: str, names: Names, *, fast: bool = False
) -> tuple[list[str], list[str]]:
    """Lines of the graph, and the names of its results.

    Parameters
    ----------
    graph
        The graph.
    prefix
        What the names that the lines define begin with.
    names
        ``(kind, slot) -> name`` of an ``input``, ``number`` or ``row``.
    fast
        Whether `FAST` is good enough.
    """
    operations = OPERATIONS | FAST if fast else OPERATIONS
    lines: list[str] = []
    known: list[str] = []
    wide: list[bool] = []  # of each node, whether neurons differ in it
    for place, node in enumerate(graph.nodes):
        wide.append(_is_wide(node, wide))
        if node.op in ("input", "number", "row"):
            known.append(names(node.op, node.slot))
        else:
            parts = (known[i] for i in node.inputs)
            known.append(f"{prefix}{place}")
            lines.append(f"{known[-1]} = {operations[node.op].format(*parts)}")
    for place in graph.outputs:
        if not wide[place]:  # what is the same for all neurons has no shape yet
            lines.append(f"{prefix}{place} = tl.full((BLOCK,), 0.0, tl.float32) + {known[place]}")
            known[place], wide[place] = f"{prefix}{place}", True
    return lines, [known[place] for place in graph.outputs]


def _is_wide(node: Node, wide: list[bool]) -> bool:
    return node.op in ("input", "row") or any(wide[i] for i in node.inputs)


def numbers(*graphs: Graph) -> list[int]:
    """Slots of the numbers in the graphs, ascending."""
    return sorted({node.slot for graph in graphs for node in graph.nodes if node.op == "number"})


def rows(*graphs: Graph) -> list[int]:
    """Slots of the rows in the graphs, ascending."""
    return sorted({node.slot for graph in graphs for node in graph.nodes if node.op == "row"})
