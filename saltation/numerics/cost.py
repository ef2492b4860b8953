"""What a step costs, counted and not timed, so that advice is the same on every machine."""

from __future__ import annotations

from saltation.kernels.program.program import program_of
from saltation.neurons import Neuron
from saltation.operands import NoRuleError
from saltation.surrogate import Sigmoid

# In additions: about what vector code takes.
_WEIGHTS = {"div": 5, "sqrt": 5, "exp": 20, "expm1": 20, "log": 20, "tanh": 20, "sigmoid": 20}
_FREE = {"input", "number", "row"}


def cost_of(model: Neuron) -> float | None:
    """Operations of a step in units of an addition; None where the step has no graph."""
    try:
        nodes = program_of(model, Sigmoid()).forward.nodes
    except NoRuleError:
        return None
    return float(sum(_WEIGHTS.get(node.op, 1) for node in nodes if node.op not in _FREE))
