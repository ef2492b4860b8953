"""Small networks on digits of 8 x 8 pixels: some that learn, some with a planted fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import saltation as st
from saltation.models.mlp import image_mlp
from saltation.surrogate import ATan, FastSigmoid, Sigmoid, Triangle

_X, _Y = load_digits(return_X_y=True)
IMAGES, LABELS = torch.tensor(_X / 16, dtype=torch.float32), torch.tensor(_Y)
TRAINED = 1200  # the first so many


def sequence(indices: Any, steps: int = 8, drawn: bool = False) -> Tensor:
    """Rows of pixels, shown as they are or drawn as spikes: ``[T, B, 64]``."""
    return (st.poisson if drawn else st.direct)(IMAGES[indices], steps)


def squares(indices: Any, steps: int = 8) -> Tensor:
    """Images ``[T, B, 1, 8, 8]``."""
    return st.direct(IMAGES[indices].view(-1, 1, 8, 8), steps)


def chain(depth: int, width: int, *, norm: bool = False, **neurons: Any) -> nn.Sequential:
    """Linear layers and LIF neurons, with torch's own initial weights, and a linear readout."""
    made: list[nn.Module] = []
    for fan_in in [64, *[width] * (depth - 1)]:
        made += [nn.Linear(fan_in, width), *[nn.LayerNorm(width)] * norm, st.LIF(**neurons)]
    return nn.Sequential(*made, nn.Linear(width, 10))


def recurrent(width: int, **neurons: Any) -> nn.Sequential:
    layer = st.Recurrent(st.LIF(beta=0.9, **neurons), width)
    return nn.Sequential(nn.Linear(64, width), layer, nn.Linear(width, 10))


def changed(network: nn.Sequential, change: Callable[[nn.Sequential], Any]) -> nn.Sequential:
    with torch.no_grad():
        change(network)
    return network


def scaled(*factors: float) -> Callable[[nn.Sequential], None]:
    """Multiplies the weights of a chain's first layers, and their biases."""

    def change(network: nn.Sequential) -> None:
        linear = [m for m in network if isinstance(m, nn.Linear)]
        for layer, factor in zip(linear, factors, strict=False):
            layer.weight *= factor
            assert layer.bias is not None
            layer.bias *= factor

    return change


def shifted(number: int, by: float, neurons: int = 64) -> Callable[[nn.Sequential], None]:
    """Adds to the biases of the first neurons of a layer."""

    def change(network: nn.Sequential) -> None:
        layer = network[number]
        assert isinstance(layer, nn.Linear)
        layer.bias[:neurons] += by

    return change


Built = tuple[Callable[[], nn.Module], Callable[[Any], Tensor]]


def drawn(steps: int) -> Callable[[Any], Tensor]:
    return lambda indices: sequence(indices, steps, drawn=True)


# Networks that learn. Many begin with a silent layer or a surrogate of little reach.
HEALTHY: dict[str, Built] = {
    "one layer": (lambda: chain(1, 64, beta=0.8, jump="hard"), drawn(16)),
    "two layers, quiet": (lambda: chain(2, 128, beta=0.5, surrogate=FastSigmoid(5.0)), sequence),
    "two layers, triangle": (lambda: chain(2, 128, beta=0.5, surrogate=Triangle()), sequence),
    "three layers, steep": (
        lambda: chain(3, 128, beta=0.8, surrogate=FastSigmoid(25.0)),
        lambda indices: sequence(indices, 16),
    ),
    "normalised": (lambda: chain(4, 64, norm=True, beta=0.8), sequence),
    "perceptron": (lambda: st.spiking_mlp((64, 128, 10), beta=0.8), drawn(8)),
    "summed": (
        lambda: st.spiking_mlp((64, 64, 10), readout="sum", beta=0.9, surrogate=Triangle()),
        lambda indices: sequence(indices, 16),
    ),
    "as the studies'": (lambda: image_mlp((1, 8, 8), 10, 2, steps=8), squares),
    "recurrent": (lambda: recurrent(64, surrogate=Triangle()), sequence),
    "recurrent, steep": (lambda: recurrent(32, surrogate=FastSigmoid(25.0)), sequence),
    "vgg": (
        lambda: st.spiking_vgg(
            1, 10, 8, stages=2, blocks_per_stage=1, base_channels=8, steps=4, surrogate=ATan(2.0)
        ),
        lambda indices: squares(indices, 4),
    ),
}

# Networks with a fault, and the kind of the first finding.
FAULTY: dict[str, tuple[str, Built]] = {
    "weights too small": (
        "silent",
        (lambda: changed(chain(4, 32, beta=0.5), scaled(1, 0.05, 0.05, 0.05)), sequence),
    ),
    "far below threshold": (
        "silent",
        (lambda: changed(chain(2, 64, beta=0.8), shifted(2, -5)), sequence),
    ),
    "no weights": ("silent", (lambda: changed(chain(2, 64, beta=0.8), scaled(1, 0)), sequence)),
    "saturated": (
        "saturated",
        (lambda: changed(chain(2, 64, beta=0.8), shifted(2, 20)), sequence),
    ),
    "dead": ("dead", (lambda: changed(chain(1, 64, beta=0.8), shifted(0, -50, 40)), sequence)),
    "steep a hundredfold": (
        "steep surrogate",
        (lambda: chain(4, 64, norm=True, beta=0.8, surrogate=Sigmoid(400.0)), sequence),
    ),
    "as steep, not as deep": (
        "steep surrogate",
        (lambda: chain(2, 64, norm=True, beta=0.8, surrogate=FastSigmoid(2500.0)), sequence),
    ),
    "exploding over depth": (
        "exploding gradient",
        (lambda: chain(4, 64, norm=True, beta=0.8, surrogate=Sigmoid(40.0)), sequence),
    ),
    "vanishing over depth": (
        "vanishing gradient",
        (lambda: chain(8, 64, norm=True, beta=0.8, surrogate=FastSigmoid(10.0)), sequence),
    ),
    "chaotic": (
        "chaotic",
        (lambda: changed(recurrent(64), lambda net: net[1].weight.mul_(40)), sequence),
    ),
    "detached": (
        "no gradient",
        (lambda: nn.Sequential(chain(1, 64, beta=0.8)[:2], _Detach(), nn.Linear(64, 10)), sequence),
    ),
}


class _Detach(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


def accuracy_after(network: nn.Module, given: Callable[[Any], Tensor], epochs: int = 8) -> float:
    """Of samples that were not trained with."""
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    order = torch.Generator().manual_seed(0)

    def logits(indices: Tensor) -> Tensor:
        out: Tensor = network(given(indices))
        return out.mean(0) if out.ndim == 3 else out

    for _ in range(epochs):
        for indices in torch.randperm(TRAINED, generator=order).split(64):
            loss = nn.functional.cross_entropy(logits(indices), LABELS[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    rest = torch.arange(TRAINED, len(IMAGES))
    with torch.no_grad():
        return float((logits(rest).argmax(1) == LABELS[rest]).float().mean())
