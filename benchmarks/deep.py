"""A training step of the depth benchmark's network: convolutions, batch normalisation, LIF.

The peer is the same network in snnTorch, one step of time after the other, the way that its
tutorials and the depth benchmark have it; regularised, with a second trajectory beside the first in
every layer behind the first convolution, which is pulled back after every step (Benettin et al.).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy

import saltation as st
from benchmarks.networks import OURS
from benchmarks.timing import Step
from saltation.surrogate import FastSigmoid

EPS, TARGET, WEIGHT = 1e-4, -0.1, 0.3
RECOMPUTED = f"{OURS}, memory='recompute'"
REGULARISED = f"{OURS}, regularised"
PEER = "snnTorch 1.0, step by step"
PEER_REGULARISED = "snnTorch 1.0, two trajectories every step"


class Images(NamedTuple):
    """A batch ``[B, 3, side, side]``, labels, blocks in each of 4 stages, channels, and steps."""

    x: Tensor
    labels: Tensor
    blocks: int = 2
    base_channels: int = 64
    steps: int = 4


def batch(size: int = 32, side: int = 32) -> Images:
    """Random images; time does not depend on what they show."""
    noise = torch.Generator().manual_seed(0)
    x = torch.rand(size, 3, side, side, generator=noise)
    return Images(x, torch.randint(10, (size,), generator=noise))


def _trainer(network: nn.Module, loss: Callable[[], Tensor]) -> Step:
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4)

    def step(_: int) -> None:
        value = loss()
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()

    return step


def ours(task: Images, penalised: bool = False, **options: Any) -> Step:
    """saltation, its penalty with the defaults: four samples in every fourth step."""
    options = {"surrogate": FastSigmoid(25.0), "batch_norm": "step"} | options
    network = st.spiking_vgg(
        3,
        10,
        task.x.shape[-1],
        blocks_per_stage=task.blocks,
        base_channels=task.base_channels,
        steps=task.steps,
        **options,
    )
    penalty = st.LyapunovPenalty(weight=WEIGHT, penalty="squared", target=TARGET)

    def loss() -> Tensor:
        value = cross_entropy(network(task.x), task.labels)
        return value + penalty(network, st.direct(task.x, task.steps)) if penalised else value

    return _trainer(network, loss)


class Looped(nn.Module):
    """The network in snnTorch."""

    def __init__(self, task: Images) -> None:
        super().__init__()
        import snntorch

        self.steps, self.blocks = task.steps, task.blocks
        self.layers, self.neurons = nn.ModuleList(), nn.ModuleList()
        channels, spike = 3, snntorch.surrogate.fast_sigmoid(slope=25)
        for stage in range(4):
            width = min(512, task.base_channels * 2**stage)
            for _ in range(task.blocks):
                conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
                nn.init.kaiming_normal_(conv.weight, mode="fan_out")
                self.layers.append(nn.Sequential(conv, nn.BatchNorm2d(width)))
                self.neurons.append(snntorch.Leaky(beta=0.9, spike_grad=spike))
                channels = width
        side = task.x.shape[-1] // 16
        self.readout = nn.Sequential(nn.Dropout(0.25), nn.Linear(channels * side * side, 10))

    def forward(self, x: Tensor, trajectories: int = 1) -> tuple[Tensor, Tensor]:
        """Logits of the first trajectory, and the mean exponent where there are two."""
        potentials: list[Tensor] = []
        total: Any = 0
        growth: Any = 0
        for _ in range(self.steps):
            s = x
            for i, (layer, neuron) in enumerate(zip(self.layers, self.neurons, strict=True)):
                current = layer(s)
                if i == 0:
                    current = torch.cat([current] * trajectories)
                if len(potentials) == i:
                    potentials.append(self._start(current, trajectories))
                s, potentials[i] = neuron(current, potentials[i])
                if i % self.blocks == self.blocks - 1:
                    s = avg_pool2d(s, 2)
            total = total + s[: len(x)].flatten(1)
            if trajectories == 2:
                growth = growth + self._pull_back(potentials)
        exponent = growth.mean() / self.steps if trajectories == 2 else torch.zeros(())
        return self.readout(total), exponent

    @staticmethod
    def _start(current: Tensor, trajectories: int) -> Tensor:
        rest = torch.zeros_like(current)
        if trajectories == 1:
            return rest
        first, second = rest.chunk(2)
        return torch.cat([first, second + EPS * torch.randn_like(second)])

    @staticmethod
    def _pull_back(potentials: list[Tensor]) -> Tensor:
        """Logarithm of the growth ``[B]`` since the last step; distances are EPS again."""
        pairs = [potential.chunk(2) for potential in potentials]
        apart = [(two - one) for one, two in pairs]
        distance = (sum((d**2).flatten(1).sum(1) for d in apart) + 1e-12).sqrt()  # type: ignore[union-attr]
        scale = (EPS / distance)[:, None, None, None]
        potentials[:] = [
            torch.cat([one, one + scale * d]) for (one, _), d in zip(pairs, apart, strict=True)
        ]
        return (distance / EPS).log()


def peer(task: Images, penalised: bool = False) -> Step:
    """snnTorch; penalised, with the second trajectory in every training step."""
    network = Looped(task)

    def loss() -> Tensor:
        logits, exponent = network(task.x, 2 if penalised else 1)
        value = cross_entropy(logits, task.labels)
        return value + WEIGHT * (exponent - TARGET) ** 2 if penalised else value

    return _trainer(network, loss)


DEEP: dict[str, Callable[[Images], Step]] = {
    OURS: ours,
    RECOMPUTED: lambda task: ours(task, memory="recompute"),
    PEER: peer,
    REGULARISED: lambda task: ours(task, penalised=True),
    PEER_REGULARISED: lambda task: peer(task, penalised=True),
}


def repeated(name: str, task: Images, times: int) -> Step:
    """So many training steps of a contender in one, for those whose steps are not all alike."""
    step = DEEP[name](task)

    def several(number: int) -> None:
        for n in range(times):
            step(times * number + n)

    return several
