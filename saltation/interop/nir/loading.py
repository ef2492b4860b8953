"""A graph as a network."""

from __future__ import annotations

import operator
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from saltation.errors import DataError, choose, positive
from saltation.interop.convert.network import Converted, Operation, Value
from saltation.interop.nir.graph import Graph, Node, graph_of
from saltation.interop.nir.nodes import Shape, made, shape_of, weights
from saltation.layers.recurrent import Recurrent
from saltation.layers.sequential import Sequential
from saltation.schemes import SCHEMES
from saltation.surrogate import Sigmoid, Surrogate, get_surrogate


def load(
    graph: str | Path | Any, *, scheme: str, dt: float, surrogate: str | Surrogate = Sigmoid()
) -> nn.Module:
    """The network of a NIR graph, whose equations are integrated by ``scheme`` with ``dt``.

    Neurons are NIR's: set to ``v_reset`` by a spike, which is where the potential exceeds its
    threshold. Spikes are 1 for a step. Feedback, of neurons to themselves or by a Linear or Affine,
    arrives a step later. Weights are parameters; constants of neurons are numbers, or one per
    neuron. `certificate` says how far the scheme and the step are from the graph's equations.

    Parameters
    ----------
    graph : path or nir.NIRGraph
        A file, or a graph in memory.
    scheme : str
        One of those of every model in it, such as ``exponential`` or ``euler``.
    dt : float
        Length of a step, in the unit of the graph's time constants (usually seconds).
    surrogate : str or Surrogate, default Sigmoid(alpha=4)
        The spike function, of which a graph says nothing.

    Returns
    -------
    Module
        Takes ``[T, B, ...]``. `Sequential` of the graph's nodes where it is a chain; with several
        outputs it returns a dictionary by their names.

    Raises
    ------
    DataError
        If the file or the graph is malformed, or has what saltation has none of; the message names
        the node.
    SaltationError
        If scheme, dt or surrogate are none.

    Examples
    --------
    >>> net = st.nir.load("braille.nir", scheme="exponential", dt=1e-4)
    """
    choose("scheme", scheme, SCHEMES)
    options = {
        "scheme": scheme,
        "dt": positive("dt", dt),
        "surrogate": get_surrogate(surrogate),
    }
    return _Network(graph_of(graph), options).made()


class _Network:
    def __init__(self, graph: Graph, options: dict[str, Any]) -> None:
        self._graph = graph
        self._options = options
        self._plan: list[Operation] = []
        self._modules: dict[str, nn.Module] = {}

    def made(self) -> nn.Module:
        values: dict[str, Value] = {}
        shapes: dict[str, Shape] = {}
        chained = True
        for name, node in self._graph.nodes.items():
            if node.kind == "Input":
                values[name] = self._add(Operation("input"))
                shapes[name] = shape_of(f"{self._graph.source}: '{name}'", node.fields["shape"])
                continue
            drives = self._graph.drives[name]
            chained &= len(drives) == 1 and values[drives[0]].place == len(self._plan) - 1
            x, shape = self._sum(name, drives, values, shapes)
            values[name], shapes[name] = self._node(name, node, x, shape)
        outputs = {
            name: self._sum(name, drives, values, shapes)[0]
            for name, drives in self._graph.outputs.items()
        }
        last = len(self._plan) - 1
        if chained and [v.place for v in outputs.values()] == [last]:
            return self._chain()
        output: Any = next(iter(outputs.values())) if len(outputs) == 1 else outputs
        return Converted("a NIR graph", self._modules, self._plan, output)

    def _chain(self) -> nn.Module:
        chain = Sequential()
        for name, module in self._modules.items():
            chain.add_module(name, module)
        return chain

    def _add(self, one: Operation) -> Value:
        self._plan.append(one)
        return Value(len(self._plan) - 1)

    def _sum(
        self, name: str, drives: list[str], values: dict[str, Value], shapes: dict[str, Shape]
    ) -> tuple[Value, Shape]:
        """What a node is given: the sum of what drives it."""
        total, shape = values[drives[0]], shapes[drives[0]]
        for other in drives[1:]:
            if shapes[other] != shape:
                raise DataError(
                    f"{self._graph.source}: node '{name}' is given {list(shape)} by '{drives[0]}' "
                    f"and {list(shapes[other])} by '{other}'"
                )
            total = self._add(Operation("function", operator.add, (total, values[other])))
        return total, shape

    def _node(self, name: str, node: Node, x: Value, shape: Shape) -> tuple[Value, Shape]:
        module, behind = made(name, node, shape, self._graph.source, self._options)
        spikes = node.kind in ("IF", "LIF", "CubaLIF")
        if node.feedback is not None:
            module = self._fed_back(name, node.feedback, module, shape)
        own = self._name(name)
        self._modules[own] = module
        value = self._add(Operation("neurons" if spikes else "module", own, (x,)))
        return (value._replace(part="spikes") if spikes else value), behind

    def _fed_back(self, name: str, by: str, layer: Any, shape: Shape) -> Recurrent:
        source = self._graph.source
        if len(shape) != 1:
            raise DataError(
                f"{source}: node '{name}' feeds back to itself, which is known of neurons in a row "
                f"alone, not of {list(shape)}"
            )
        (features,) = shape
        if by == name:
            made = Recurrent(layer, features)
            with torch.no_grad():
                made.weight.copy_(torch.eye(features))
            return made
        weight = weights(f"{source}: node '{by}'", self._graph.weights[by].fields, shape)
        if weight.out_features != features:
            raise DataError(
                f"{source}: node '{by}' gives {weight.out_features} numbers to the {features} "
                f"neurons '{name}'"
            )
        own = dict(weight.named_parameters())
        made = Recurrent(layer, features, bias="bias" in own)
        made.weight, made.bias = own["weight"], own.get("bias")
        return made

    def _name(self, name: str) -> str:
        """A name that a module may have, like that of the node."""
        own = re.sub(r"\W", "_", name) or "node"
        while own in self._modules or hasattr(Converted, own) or own in _TAKEN:
            own += "_"
        return own


_TAKEN = {"training", "original", "plan", "output"}
