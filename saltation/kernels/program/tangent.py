"""From a neuron and its spike function to the program of a step that carries one tangent.

The step is traced on values with tangents, so that both are results of one graph, and so are, by a
reverse sweep over it, the gradients of both: what a penalty on Lyapunov exponents asks for.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import FunctionType, MethodType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltation.derivatives import Carried
from saltation.kernels.program.graph import Graph
from saltation.kernels.program.lowering import lowered
from saltation.kernels.program.reverse import sweep
from saltation.kernels.program.trace import Builder, Symbol
from saltation.neurons.base import Neuron
from saltation.operands import NoRuleError
from saltation.surrogate import Surrogate


@dataclass(frozen=True, eq=False)
class TangentProgram:
    """One step of a neuron with V state variables and one tangent.

    Attributes
    ----------
    variables
        V.
    forward
        From the current and its tangent (slots 0 and 1), the state (V) and its tangent (V) to the
        spike and its tangent, the state after the jump (V) and its tangent (V).
    backward
        From what ``forward`` was given, in its slots, and behind them the gradients of its results
        to those of what it was given.
    numbers
        float32: values of the ``number`` slots of both.
    """

    variables: int
    forward: Graph
    backward: Graph
    numbers: NDArray[np.float32]

    @property
    def given(self) -> int:
        """How many numbers of a neuron ``forward`` is given, and how many results it has."""
        return 2 + 2 * self.variables

    @cached_property
    def key(self) -> str:
        """The same for programs that differ in nothing but their numbers."""
        return hashlib.sha256(repr((self.forward, self.backward)).encode()).hexdigest()[:32]


def carrying(surrogate: Surrogate, spike: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``spike`` of values with a tangent, which becomes that of the surrogate's primitive."""

    def carried(u: Any) -> Any:
        if not isinstance(u, Carried) or u.tangents[0] is None:
            return spike(u.value if isinstance(u, Carried) else u)
        return Carried(spike(u.value), u.tangents[0] * surrogate.derivative(u.value))

    return carried


def tangent_program_of(neuron: Neuron, spike: Any) -> TangentProgram | str:
    """The program of one step of ``neuron`` with a tangent, or why there is none."""
    if any(isinstance(value, FunctionType | MethodType) for value in vars(neuron).values()):
        return "a method was replaced on the object itself"
    if neuron.spike_time != "grid":
        return f"with spike_time='{neuron.spike_time}' a jump takes the state at the start too"
    if neuron.tensors:
        return f"its constants {', '.join(neuron.tensors)} are tensors"
    if not isinstance(spike, Surrogate) or type(spike).__call__ is not Surrogate.__call__:
        return f"spikes are 0 and 1, not those of {type(spike).__name__}"
    return _known(neuron, spike)


@functools.lru_cache(maxsize=256)
def _known(neuron: Neuron, surrogate: Surrogate) -> TangentProgram | str:
    try:
        return _traced(neuron, surrogate)
    except NoRuleError as reason:
        return str(reason)
    except (TypeError, AttributeError, RuntimeError, ValueError) as reason:
        return f"{type(reason).__name__}: {reason}"


def _traced(neuron: Neuron, surrogate: Surrogate) -> TangentProgram:
    count = len(neuron.State._fields)
    numbers: list[float] = []
    rows: list[Any] = []
    builder = Builder(numbers, rows)

    def spike(u: Any) -> Symbol:
        if not isinstance(u, Symbol):
            raise NoRuleError("the spike does not depend on the state")
        return builder.apply("spike", u)

    x, dx, *state = (builder.input(slot) for slot in range(2 + 2 * count))
    pairs = map(Carried, state[:count], state[count:])
    carried = carrying(surrogate, spike)
    h = neuron.integrate(Carried(x, dx), neuron.State(*pairs), carried)
    s, after = neuron.fire(neuron.State(*h), carried)
    parts = [part if isinstance(part, Carried) else Carried(part, None) for part in (s, *after)]
    values = [builder.symbol(part.value) for part in parts]
    tangents = [builder.symbol(0.0 if (t := p.tangents[0]) is None else t) for p in parts]
    results = [values[0], tangents[0], *values[1:], *tangents[1:]]
    if rows:
        raise NoRuleError("constants are tensors")

    made = [Symbol(builder, place) for place in range(len(builder.nodes))]
    forward = builder.graph(*results)
    gradients: dict[int, Symbol] = {}
    for slot, result in enumerate(results, start=len(results)):
        seed = builder.input(slot)
        # Two results may be one node, such as a variable that does not jump.
        other = gradients.get(result.place)
        gradients[result.place] = seed if other is None else other + seed
    wanted = [x, dx, *state]
    found = sweep(builder, made, gradients, {symbol.place for symbol in wanted}, surrogate)
    g = [found.get(symbol.place) for symbol in wanted]
    backward = builder.graph(*(builder.symbol(0.0 if one is None else one) for one in g))
    forward, backward = (lowered(graph, numbers, rows) for graph in (forward, backward))
    return TangentProgram(count, forward, backward, np.array(numbers, np.float32))
