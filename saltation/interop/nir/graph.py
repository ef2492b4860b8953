"""The structure of a graph: one level, one input, an order, and feedback by itself."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from saltation.errors import DataError
from saltation.interop.nir.reading import FIELDS, check_fields, known, read

NEURONS = ("IF", "LIF", "CubaLIF")
# What may stand between neurons and themselves.
_WEIGHTS = ("Linear", "Affine")


class Node(NamedTuple):
    """A node.

    Attributes
    ----------
    kind
        Its type in NIR.
    fields
        Arrays, or text.
    feedback
        Of neurons, the name of the weights that feed their spikes back to them; their own name
        where they drive themselves; else None.
    """

    kind: str
    fields: dict[str, Any]
    feedback: str | None = None


class Graph(NamedTuple):
    """A graph without cycles and subgraphs.

    Attributes
    ----------
    nodes
        By name, every one behind those that drive it; weights of feedback are not among them.
    drives
        The names of those that drive a node.
    weights
        Of feedback, by name.
    outputs
        For every output its name and the name of what drives it.
    source
        For messages.
    """

    nodes: dict[str, Node]
    drives: dict[str, list[str]]
    weights: dict[str, Node]
    outputs: dict[str, list[str]]
    source: str


def tree_of(given: Any) -> tuple[dict[str, Any], str]:
    """The root node of a file, or of a graph in memory, as plain data, and what to call it."""
    if isinstance(given, str | Path):
        return read(given), str(given)
    if not hasattr(given, "nodes") or not hasattr(given, "to_dict"):
        raise DataError(f"a NIR graph must be a file or a nir.NIRGraph, got {type(given).__name__}")
    return _plain(given.to_dict(), "the graph"), "the graph"


def _plain(node: dict[str, Any], where: str) -> dict[str, Any]:
    kind = str(node.get("type"))
    known(kind, where, "the graph")
    fields = {
        k: v for k, v in node.items() if k not in ("type", "metadata", "version") and v is not None
    }
    check_fields(kind, list(fields), where, "the graph")
    found: dict[str, Any] = {"type": kind}
    for name, value in fields.items():
        if name == "nodes":
            found[name] = {str(k): _plain(n, f"node '{k}'") for k, n in value.items()}
        elif name == "edges":
            found[name] = [(str(a), str(b)) for a, b in value]
        elif isinstance(value, str):
            found[name] = value
        else:
            found[name] = np.asarray(value)
            if found[name].dtype.kind not in "iuf":
                raise DataError(f"the graph: '{name}' of {where} is no array of numbers")
    return found


def graph_of(given: Any) -> Graph:
    """The graph of a file or of a ``nir.NIRGraph``, checked and put into an order.

    Raises
    ------
    DataError
        If it is malformed, or has a cycle that is more than neurons feeding back to themselves.
    """
    tree, source = tree_of(given)
    if tree["type"] != "NIRGraph":
        tree = _alone(tree)
    nodes, edges = _flat(tree, "", source)
    _check_values(nodes, source)
    inputs = [n for n, node in nodes.items() if node["type"] == "Input"]
    outputs = [n for n, node in nodes.items() if node["type"] == "Output"]
    if len(inputs) != 1 or not outputs:
        raise DataError(
            f"{source}: a graph needs one input and an output, it has {len(inputs)} and "
            f"{len(outputs)}"
        )
    before: dict[str, list[str]] = {name: [] for name in nodes}
    for a, b in edges:
        before[b].append(a)
    feedback = _feedback(nodes, before)
    weights = {w: nodes[w] for n, w in feedback.items() if w != n}
    drives = {
        name: [a for a in found if a != feedback.get(name)]
        for name, found in before.items()
        if name not in weights
    }
    try:
        order = list(TopologicalSorter(drives).static_order())
    except CycleError as error:
        told = " -> ".join(map(str, error.args[1]))
        raise DataError(
            f"{source}: {told} is a cycle, of which nothing says where a step's delay is: only "
            f"neurons that feed back to themselves, directly or by Linear or Affine, can be loaded"
        ) from None
    for name in order:
        if not drives[name] and nodes[name]["type"] != "Input":
            raise DataError(f"{source}: nothing drives node '{name}'")
    return Graph(
        {n: _node(nodes[n], feedback.get(n)) for n in order if nodes[n]["type"] != "Output"},
        {n: drives[n] for n in order},
        {name: _node(node, None) for name, node in weights.items()},
        {n: drives[n] for n in outputs},
        source,
    )


def _node(node: dict[str, Any], feedback: str | None) -> Node:
    fields = {name: value for name, value in node.items() if name != "type"}
    return Node(node["type"], fields, feedback)


def _alone(node: dict[str, Any]) -> dict[str, Any]:
    """A graph of one node."""
    sizes = np.asarray(np.shape(node.get("r", node.get("scale", ()))))
    if node["type"] in _WEIGHTS and np.ndim(node["weight"]) == 2:
        out, into = np.shape(node["weight"])
        shapes = np.array([into]), np.array([out])
    else:
        shapes = sizes, sizes
    return {
        "type": "NIRGraph",
        "nodes": {
            "input": {"type": "Input", "shape": shapes[0]},
            "node": node,
            "output": {"type": "Output", "shape": shapes[1]},
        },
        "edges": [("input", "node"), ("node", "output")],
    }


def _flat(
    graph: dict[str, Any], prefix: str, source: str
) -> tuple[dict[str, dict[str, Any]], list[tuple[str, str]]]:
    """Nodes and edges with those of subgraphs among them, under their names with theirs before."""
    nodes: dict[str, dict[str, Any]] = {}
    edges: list[tuple[str, str]] = []
    into: dict[str, list[str]] = {}
    out: dict[str, list[str]] = {}
    for name, node in graph["nodes"].items():
        full = prefix + name
        if node["type"] != "NIRGraph":
            nodes[full] = node
            into[name] = out[name] = [full]
            continue
        inner, links = _flat(node, f"{full}.", source)
        ends = {
            kind: [n for n in inner if inner[n]["type"] == kind] for kind in ("Input", "Output")
        }
        own = {n for found in ends.values() for n in found if n.startswith(f"{full}.")}
        if len(ends["Input"]) != 1 or len(ends["Output"]) != 1:
            raise DataError(f"{source}: subgraph '{full}' needs one input and one output")
        (first,), (last,) = ends["Input"], ends["Output"]
        into[name] = [b for a, b in links if a == first]
        out[name] = [a for a, b in links if b == last]
        if own & {*into[name], *out[name]}:
            raise DataError(f"{source}: in subgraph '{full}' the input is the output")
        nodes |= {n: one for n, one in inner.items() if n not in own}
        edges += [(a, b) for a, b in links if a not in own and b not in own]
    seen: set[tuple[str, str]] = set()
    for a, b in graph["edges"]:
        for end in (a, b):
            if end not in graph["nodes"]:
                raise DataError(f"{source}: edge '{a}' -> '{b}' names a node that is not there")
        if (a, b) in seen:
            raise DataError(f"{source}: edge '{a}' -> '{b}' is there twice")
        seen.add((a, b))
        edges += [(x, y) for x in out[a] for y in into[b]]
    return nodes, edges


def _feedback(nodes: dict[str, dict[str, Any]], before: dict[str, list[str]]) -> dict[str, str]:
    """By the name of neurons, what feeds their spikes back to them: weights, or themselves."""
    found: dict[str, str] = {}
    for name, drivers in before.items():
        if nodes[name]["type"] not in NEURONS:
            continue
        if name in drivers:
            found[name] = name
            continue
        for weights in drivers:
            after = [b for b, those in before.items() if weights in those]
            closed = before[weights] == [name] and after == [name]
            if nodes[weights]["type"] in _WEIGHTS and closed:
                found[name] = weights
    return found


def _check_values(nodes: dict[str, dict[str, Any]], source: str) -> None:
    for name, node in nodes.items():
        for field in FIELDS[node["type"]]:
            value = node.get(field) if field else None
            if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
                continue
            if not np.isfinite(value).all():
                raise DataError(f"{source}: '{field}' of node '{name}' is not finite")
            if field is not None and field.startswith("tau") and not (value > 0).all():
                raise DataError(f"{source}: '{field}' of node '{name}' must be above 0")
