"""Steps of neurons as graphs of operations on numbers, without a backend.

A graph says in which order which operations round; nothing in it is simplified or reordered, so
that a loop made of it gives the bits of the torch operations that it was traced from.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

# Operations whose result is a mask; `where` chooses by one, `to` makes it 0 or 1.
COMPARISONS = frozenset({"ge", "gt", "le", "lt"})


class Node(NamedTuple):
    """One operation.

    Attributes
    ----------
    op
        ``input``, ``number`` (the same for all neurons), ``row`` (one for each neuron); ``add sub
        mul div neg abs sqrt exp expm1 log tanh sigmoid max min`` as in torch; ``ge gt le lt``,
        whose result is a mask; ``where`` of a mask and two numbers, ``to`` (a mask as 0 and 1).
    inputs
        Places of earlier nodes.
    slot
        Of ``input``, ``number`` and ``row``: which one.
    """

    op: str
    inputs: tuple[int, ...] = ()
    slot: int = -1


class Graph(NamedTuple):
    """Operations in order, and the places of the nodes that are its results."""

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]

    def reads(self) -> frozenset[int]:
        """Slots of the inputs that a result depends on."""
        needed, found = set(self.outputs), set()
        for place in range(len(self.nodes) - 1, -1, -1):
            if place in needed:
                node = self.nodes[place]
                needed.update(node.inputs)
                if node.op == "input":
                    found.add(node.slot)
        return frozenset(found)


@dataclass(frozen=True, eq=False)
class Program:
    """One step of a neuron with V state variables, the potential first, and its derivative.

    Attributes
    ----------
    variables
        V.
    forward
        From the current (slot 0) and the state (1 ... V) to the state before the jump (V of them),
        the spike, 0 or 1, and the state after the jump (V).
    jump
        From the state before the jump (slots 0 ... V - 1) to that after it (V).
    backward
        From the gradients of the step's results to those of what it was given. Inputs are
        `Slots`; results are the gradients of the current, of the state before the step (V), with
        ``late`` of the spike of the step before, and of every row that is `learned`.
    kept
        Variables whose value before the jump backward reads, ascending: those it reads itself, and
        those from which `jump` gives the state before the next step.
    reads_current, reads_before
        Whether backward reads the current, and which variables of the state before the step.
    late
        Whether a spike also acts in the step after its own.
    numbers
        float32: values of the ``number`` slots of all three graphs.
    rows
        Values of the ``row`` slots: tensors that broadcast to one step's currents.
    learned
        Slots of the rows whose gradients are wanted.
    """

    variables: int
    forward: Graph
    jump: Graph
    backward: Graph
    kept: tuple[int, ...]
    reads_current: bool
    reads_before: tuple[int, ...]
    late: bool
    numbers: NDArray[np.float32]
    rows: tuple[Tensor, ...] = ()
    learned: tuple[int, ...] = ()

    @cached_property
    def key(self) -> str:
        """The same for programs that differ in nothing but their numbers and rows."""
        parts = self.forward, self.jump, self.backward, self.learned
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]

    def with_rows(self, rows: tuple[Tensor, ...]) -> Program:
        """The same program of other rows."""
        other = replace(self, rows=rows)
        vars(other)["key"] = self.key
        return other


class Slots:
    """Inputs of `Program.backward` for V variables."""

    SPIKE, CURRENT = 0, 1  # gradient of the spike; the step's current

    def __init__(self, variables: int) -> None:
        v = variables
        self.after = range(2, 2 + v)  # gradients of the state after the jump
        self.before = range(2 + v, 2 + 2 * v)  # the state before the step
        self.h = range(2 + 2 * v, 2 + 3 * v)  # the state before the jump
        self.late = 2 + 3 * v  # gradient of this step's spike from the step after it


def describe(graph: Graph) -> str:
    """The graph as text, a node in a line."""

    def line(place: int, node: Node) -> str:
        what: Any = node.slot if node.op in ("input", "number", "row") else node.inputs
        return f"{place}: {node.op} {what}"

    return "\n".join(line(place, node) for place, node in enumerate(graph.nodes))
