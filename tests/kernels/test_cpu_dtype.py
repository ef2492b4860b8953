"""Compiled kernels work in float32, whatever torch's default is, and refuse anything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import saltation as st
from saltation.kernels import dispatch_learning
from saltation.kernels.cpu.conv import windows
from saltation.kernels.cpu.linear import subsets
from saltation.kernels.cpu.runtime import simd
from saltation.kernels.cpu.runtime.jit import kernel
from saltation.kernels.plasticity import Pair
from saltation.kernels.reference import Stage

OTHERS = [torch.float64, torch.float16, torch.bfloat16]


@pytest.fixture(autouse=True)
def default() -> Iterator[None]:
    """Restores the default that a test changes."""
    yield
    torch.set_default_dtype(torch.float32)


def spikes(*shape: int) -> Tensor:
    """A dense tensor of few spikes, float32."""
    return (torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.1).float()


def events(steps: int = 40) -> Tensor:
    """Events of 40 sites."""
    rates = torch.rand(30, 40, generator=torch.Generator().manual_seed(0)) * 0.2
    return st.poisson(rates, steps=steps)


def stage(inputs: int, outputs: int, neuron: Any) -> Stage:
    weight = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(1))
    return Stage(weight, torch.zeros(outputs), neuron.neuron, neuron.surrogate)


def mlp(*sizes: int, **settings: Any) -> tuple[Any, Tensor]:
    """A network whose neurons spike, and its input."""
    return st.spiking_mlp(sizes, v_threshold=0.1, **settings), events()


def learned(x: Tensor, first: Stage, last: Stage, teach: Tensor, factor: Tensor) -> list[Tensor]:
    """A fixed layer, a layer of winners, and what plasticity makes of them."""
    hidden = dispatch_learning.fixed(x, first)
    out = dispatch_learning.compete(hidden.spikes, last, teach)
    change = dispatch_learning.stdp(
        hidden.spikes, out.spikes, factor, Pair(0.1, 0.1, 0.9, 0.9, 0.9)
    )
    return [hidden.counts, out.spikes, out.counts, change]


CASES: dict[str, Callable[[], tuple[Any, Tensor]]] = {
    "linear": lambda: (st.SpikeLinear(40, 33), events()),
    "dense spikes": lambda: (st.SpikeLinear(300, 64), spikes(20, 64, 300)),
    "narrow chain": lambda: mlp(40, 33, 10),
    "wide chain": lambda: mlp(40, 33, 70),
    "deep chain": lambda: mlp(40, 33, 21, 10),
    "recomputed": lambda: mlp(40, 33, 10, memory="recompute"),
    "izhikevich": lambda: mlp(40, 33, 10, neuron="izhikevich"),
    "neurons": lambda: (st.LIF(jump="soft_delayed"), torch.randn(9, 4, 20)),
    "recurrent": lambda: (st.Recurrent(st.LIF(), 33, bias=True), torch.randn(9, 7, 33)),
    "recurrent, izhikevich": lambda: (st.Recurrent(st.Izhikevich(), 33), torch.randn(9, 7, 33)),
    "convolution": lambda: (st.SpikeConv2d(8, 16, 3, padding=1), spikes(32, 8, 18, 18)),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_under_any_default(name: str) -> None:
    torch.manual_seed(0)
    layer, x = CASES[name]()
    if type(x) is Tensor and not name.startswith(("dense", "conv")):
        x.requires_grad_()

    def run() -> list[Tensor]:
        y = layer(x)
        g = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(1))
        wanted = [*layer.parameters(), *([x] if x.requires_grad else [])]
        return [y.detach(), *torch.autograd.grad(y, wanted, g)]

    expected = run()
    assert all(bool(part.isfinite().all()) and part.dtype == torch.float32 for part in expected)
    assert expected[-1].abs().sum() > 0
    for dtype in OTHERS:
        torch.set_default_dtype(dtype)
        assert all(map(torch.equal, run(), expected)), dtype


@pytest.mark.slow
def test_learning_under_any_default() -> None:
    neuron = st.LIF(v_threshold=0.1)
    parts = stage(40, 33, neuron), stage(33, 10, neuron), torch.ones(30, 10), torch.ones(40, 30)
    x = events()
    expected = learned(x, *parts)
    assert all(part.abs().sum() > 0 for part in expected)
    for dtype in OTHERS:
        torch.set_default_dtype(dtype)
        assert all(map(torch.equal, learned(x, *parts), expected)), dtype


def _add(into: Any, source: Any) -> None:
    simd.add_rows(into, 0, 0, source, 0, np.zeros(1, np.int32), 0, 1, 16)


def _copy(into: Any, source: Any) -> None:
    simd.copy_row(into, 0, 0, source, 0, 0, 16)


def _fill(into: Any, source: Any) -> None:
    subsets.fill_table(into, 0, source, 0, 0, 16)


def _turn(into: Any, source: Any) -> None:
    windows.turn(source, 0, 16, into, 0, 16)


@pytest.mark.parametrize("operation", [_add, _copy, _fill, _turn])
@pytest.mark.parametrize("wrong", [np.float64, np.int32])
def test_other_numbers_are_refused(operation: Any, wrong: Any) -> None:
    """In whichever of their arrays, when a loop is compiled; nothing is written."""
    for kinds in ((np.float32, wrong), (wrong, np.float32)):
        into, source = (np.zeros((16, 32), kind) for kind in kinds)
        with pytest.raises(Exception, match="arrays of float32"):
            kernel(operation)(into, source)
        assert not into.any()
