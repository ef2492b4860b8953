"""One convolution of spikes, forward and backward, over densities of its input."""

from __future__ import annotations

import torch
from torch import nn

import saltation as st
from benchmarks.networks import OURS
from benchmarks.timing import Step

CONVOLUTIONS: dict[str, type[nn.Conv2d]] = {OURS: st.SpikeConv2d, "torch": nn.Conv2d}
DENSITIES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5)


def made(name: str, density: float, channels: int, side: int) -> Step:
    """3x3, from and to that many channels, of 128 images (T = 4, batch 32)."""
    noise = torch.Generator().manual_seed(0)
    shape = (128, channels, side, side)
    x = (torch.rand(shape, generator=noise) < density).float().requires_grad_()
    g = torch.randn(shape, generator=noise)
    layer = CONVOLUTIONS[name](channels, channels, 3, padding=1, bias=False)

    def step(_: int) -> None:
        x.grad = layer.weight.grad = None
        layer(x).backward(g)

    return step
