"""Graphs as vector code: every operation against torch, to the bit where nothing is fast."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from saltation.kernels.cpu.neurons import lowering
from saltation.kernels.cpu.neurons.generated import Loop, Matrix, every_neuron
from saltation.kernels.cpu.runtime.native import address_of
from saltation.kernels.cpu.runtime.simd import LANES, constant
from saltation.kernels.program.graph import Graph, Node


def run(graph: Graph, *inputs: Tensor, fast: bool = False) -> Tensor:
    """The first result of ``graph`` at all places of one-dimensional inputs."""
    loop = Loop(("width", "out", *(f"x{n}" for n in range(len(inputs)))))
    rows = [
        Matrix(loop.builder, loop.pointer(name), constant(0))
        for name in ("out", *(f"x{n}" for n in range(len(inputs))))
    ]

    with every_neuron(loop) as window:
        at = constant(0), window.place
        given = window.loaded({slot: (row, *at) for slot, row in enumerate(rows[1:])})
        found = lowering.lowered(graph, lambda kind, slot: given[slot], fast=fast)
        window.store((found[0], rows[0], constant(0)))
    loop.builder.ret_void()
    size = len(inputs[0])
    out = torch.full((size + LANES,), math.nan)
    arrays = [part.numpy() for part in (out, *inputs)]
    frame = np.array([size, *(array.ctypes.data for array in arrays)], np.int64)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address_of(loop.module))(frame.ctypes.data)
    assert out[size:].isnan().all()  # nothing is written behind the last neuron
    return out[:size]


def operation(op: str, count: int) -> Graph:
    """One operation on so many inputs; of a comparison, its mask as numbers."""
    nodes = [*(Node("input", slot=slot) for slot in range(count)), Node(op, tuple(range(count)))]
    if op in ("ge", "gt", "le", "lt"):
        nodes.append(Node("to", (count,)))
    return Graph(tuple(nodes), (len(nodes) - 1,))


def same(one: Tensor, two: Tensor) -> bool:
    """Every bit, but that NaN is NaN; also the sign of zero."""
    numbers = ~two.isnan()
    bits = torch.equal(one[numbers].view(torch.int32), two[numbers].view(torch.int32))
    return bits and bool(one[~numbers].isnan().all())


EDGES = [0.0, -0.0, 1.0, -1.0, 1e-45, -1e-40, 1e-20, 1e38, -1e38, math.inf, -math.inf, math.nan]

EXACT = {
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": torch.log,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


@pytest.mark.parametrize("op", EXACT)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0, 110.0])
def test_functions_are_rounded_once(op: str, scale: float) -> None:
    """What torch finds in double precision, rounded; subnormal results and the ends included."""
    x = scale * torch.randn(50_001, generator=torch.Generator().manual_seed(0))
    x = torch.cat([torch.tensor(EDGES), x.abs() if op == "log" else x])
    assert same(run(operation(op, 1), x), EXACT[op](x.double()).float())


@pytest.mark.parametrize("op", EXACT)
def test_fast_functions(op: str) -> None:
    """To 4e-7 where nothing is decided by them."""
    x = torch.linspace(-30, 30, 10_001) if op != "log" else torch.linspace(0.01, 30, 10_001)
    exact = EXACT[op](x.double())
    ours = run(operation(op, 1), x, fast=True).double()
    torch.testing.assert_close(ours, exact, rtol=4e-7, atol=4e-7 if op == "tanh" else 0)


ARITHMETIC = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "max": torch.maximum,
    "min": torch.minimum,
    "ge": lambda a, b: (a >= b).float(),
    "gt": lambda a, b: (a > b).float(),
    "le": lambda a, b: (a <= b).float(),
    "lt": lambda a, b: (a < b).float(),
}


@pytest.mark.parametrize("op", ARITHMETIC)
def test_operations_on_two(op: str) -> None:
    """All pairs of zeros, infinities, NaN and numbers."""
    edges = torch.tensor(EDGES)
    a, b = (part.flatten().contiguous() for part in torch.meshgrid(edges, edges, indexing="ij"))
    ours, expected = run(operation(op, 2), a, b), ARITHMETIC[op](a, b)
    if op in ("max", "min"):  # of two zeros torch takes one here and the other there
        ours, expected = ours + 0.0, expected + 0.0
    assert same(ours, expected)


@pytest.mark.parametrize("op", ["neg", "abs", "sqrt"])
def test_operations_on_one(op: str) -> None:
    """Rounded correctly: torch's own root of float32 numbers is not always."""
    x = torch.cat([torch.tensor(EDGES), torch.randn(1000, generator=torch.Generator())])
    assert same(run(operation(op, 1), x), getattr(torch, op)(x.double()).float())


@pytest.mark.parametrize("size", [1, 15, 16, 17, 100])
def test_any_length(size: int) -> None:
    """Whole vectors and what is left over, to the bit; a choice by a mask."""
    nodes = (
        *(Node("input", slot=slot) for slot in range(2)),
        Node("gt", (0, 1)),
        Node("where", (2, 0, 1)),
        Node("mul", (3, 0)),
        Node("add", (4, 1)),
    )
    u, v = torch.randn(2, size, generator=torch.Generator().manual_seed(0)).unbind(0)
    ours = run(Graph(nodes, (5,)), u.clone(), v.clone())
    assert torch.equal(ours, torch.where(u > v, u, v) * u + v)


def test_nothing_is_contracted() -> None:
    """A product and a sum round twice, as torch's do: a fused one would differ somewhere."""
    nodes = (*(Node("input", slot=slot) for slot in range(3)), Node("mul", (0, 1)))
    graph = Graph((*nodes, Node("add", (3, 2))), (4,))
    u, v, w = torch.randn(3, 10_000, generator=torch.Generator().manual_seed(0)).unbind(0)
    ours = run(graph, u.clone(), v.clone(), w.clone())
    assert torch.equal(ours, u * v + w)
    fused = (u.double() * v.double() + w.double()).float()
    assert not torch.equal(ours, fused)


def test_what_is_not_needed_is_not_there() -> None:
    """Only the wanted results, and the slots that they read."""
    nodes = (*(Node("input", slot=slot) for slot in range(2)), Node("number", slot=3))
    graph = Graph((*nodes, Node("add", (0, 2)), Node("neg", (1,))), (3, 4))
    assert lowering.needed(graph, [4]) == [1, 4]
    assert lowering.slots(graph, "input", [0]) == {0}
    assert lowering.slots(graph, "number") == {3}
