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


def conv_loops(steps: int) -> dict[str, Callable[[], Step]]:
    """LIF forward and backward on currents ``[T, 32, 64, 32, 32]``."""
    shape = (steps, 32, 64, 32, 32)
    x, g = torch.randn(shape).requires_grad_(), torch.randn(shape)

    def spikingjelly() -> Step:
        from spikingjelly.activation_based import neuron

        node = neuron.LIFNode(tau=2.0, step_mode="m")

        def run(currents: Tensor) -> Tensor:
            node.reset()
            out: Tensor = node(currents)
            return out

        return _forward_and_backward(x, g, run)

    def snntorch() -> Step:
        import snntorch

        neuron = snntorch.Leaky(beta=0.5, reset_mechanism="zero")

        def run(currents: Tensor) -> Tensor:
            potential, out = neuron.init_leaky(), []
            for current in currents:
                spike, potential = neuron(current, potential)
                out.append(spike)
            return torch.stack(out)

        return _forward_and_backward(x, g, run)

    compiled: Any = torch.compile(_plain_loop)
    return {
        OURS: lambda: _forward_and_backward(x, g, st.LIF(tau=2.0, scheme="euler")),
        "SpikingJelly 2.0, multi-step": spikingjelly,
        "snnTorch 1.0, step by step": snntorch,
        "plain torch, torch.compile": lambda: _forward_and_backward(
            x, g, lambda currents: compiled(currents, 0.5)
        ),
    }
