"""The same neurons in every library, as modules from currents to spikes ``[T, B, ...]``.

Leaky integrate-and-fire, ``v += (x - v) / 2``, threshold 1, reset to 0 in the same step. Surrogates
are each library's own: their cost is alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import saltation as st
from benchmarks.networks import OURS, _plain_loop, _Spike


class _SpikingJelly(nn.Module):
    """Multi-step: on a GPU its Triton kernels, where Triton is installed."""

    def __init__(self) -> None:
        super().__init__()
        from spikingjelly.activation_based import neuron

        self.node = neuron.LIFNode(tau=2.0, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        self.node.reset()
        return self.node(x)  # type: ignore[no-any-return]


class _SnnTorch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        import snntorch

        self.node = snntorch.Leaky(beta=0.5, reset_mechanism="zero", reset_delay=False)

    def forward(self, x: Tensor) -> Tensor:
        potential, out = torch.zeros_like(x[0]), []
        for current in 0.5 * x:  # its input is not scaled
            spike, potential = self.node(current, potential)
            out.append(spike)
        return torch.stack(out)


class _Norse(nn.Module):
    """Step by step; compiled, each step."""

    def __init__(self, compiled: bool = False) -> None:
        super().__init__()
        from norse.torch import LIFBoxCell, LIFBoxParameters

        p = LIFBoxParameters(tau_mem_inv=torch.tensor(0.5), v_th=torch.tensor(1.0))
        cell = LIFBoxCell(p=p, dt=1.0)
        self.cell: Any = torch.compile(cell) if compiled else cell

    def forward(self, x: Tensor) -> Tensor:
        state, out = None, []
        for current in x:
            spike, state = self.cell(current, state)
            out.append(spike)
        return torch.stack(out)


class _Plain(nn.Module):
    """A loop in torch alone, each step of it compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.step: Any = torch.compile(_step)

    def forward(self, x: Tensor) -> Tensor:
        v, out = torch.zeros_like(x[0]), []
        for current in x:
            spike, v = self.step(current, v)
            out.append(spike)
        return torch.stack(out)


def _step(current: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    h = v + 0.5 * (current - v)
    s: Tensor = _Spike.apply(h - 1.0)
    return s, h * (1 - s)


NEURONS: dict[str, Callable[[], nn.Module]] = {
    OURS: lambda: st.LIF(tau=2.0, scheme="euler"),
    "SpikingJelly 2.0, multi-step": _SpikingJelly,
    "snnTorch 1.0": _SnnTorch,
    "Norse 1.1": _Norse,
    "Norse 1.1, torch.compile": lambda: _Norse(compiled=True),
    "plain torch, torch.compile": _Plain,
}


def differing(name: str, device: str) -> float:
    """Share of the spikes on random currents that are not those of plain torch."""
    x = 3 * torch.rand(20, 8, 50, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.no_grad():
        found = NEURONS[name]().to(device)(x)
        return (found != _plain_loop(x, 0.5)).float().mean().item()
