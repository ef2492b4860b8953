"""The neuron loop alone, over convolutional shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import saltation as st
from benchmarks.networks import OURS, _plain_loop
from benchmarks.timing import Step


def _forward_and_backward(x: Tensor, g: Tensor, run: Callable[[Tensor], Tensor]) -> Step:
    def step(_: int) -> None:
        x.grad = None
        run(x).backward(g)

    return step


def made(name: str, steps: int) -> Step:
    """LIF forward and backward on currents ``[T, 32, 64, 32, 32]``, of that contender."""
    shape = (steps, 32, 64, 32, 32)
    noise = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=noise).requires_grad_()
    return _forward_and_backward(x, torch.randn(shape, generator=noise), LOOPS[name]())


Loop = Callable[[Tensor], Tensor]


def _spikingjelly() -> Loop:
    from spikingjelly.activation_based import neuron

    node = neuron.LIFNode(tau=2.0, step_mode="m")

    def run(currents: Tensor) -> Tensor:
        node.reset()
        out: Tensor = node(currents)
        return out

    return run


def _snntorch() -> Loop:
    import snntorch

    neuron = snntorch.Leaky(beta=0.5, reset_mechanism="zero")

    def run(currents: Tensor) -> Tensor:
        potential, out = neuron.init_leaky(), []
        for current in currents:
            spike, potential = neuron(current, potential)
            out.append(spike)
        return torch.stack(out)

    return run


def _compiled() -> Loop:
    loop: Any = torch.compile(_plain_loop)
    return lambda currents: loop(currents, 0.5)


LOOPS: dict[str, Callable[[], Loop]] = {
    OURS: lambda: st.LIF(tau=2.0, scheme="euler"),
    "SpikingJelly 2.0, multi-step": _spikingjelly,
    "snnTorch 1.0, step by step": _snntorch,
    "plain torch, torch.compile": _compiled,
}
