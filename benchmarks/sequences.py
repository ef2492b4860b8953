"""A training step on recorded spikes like those of SHD: 700 units, 256 adaptive neurons, T = 100.

Density 0.11, batches of 64, 20 classes, the mean over steps as the readout. saltation has adaptive
LIF neurons and bins the events of every batch; peers, which have no such neuron, have plain LIF
neurons, which are less work, and are given dense spikes that were binned before. Theirs is the
best form of each: the products with the input and output weights at once for all steps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import saltation as st
from benchmarks.memory import measure
from benchmarks.networks import OURS
from benchmarks.timing import Step
from saltation.data.trains import Recording, SpikeTrains

SNNTORCH, SPIKINGJELLY = "snnTorch 1.0, products at once", "SpikingJelly 2.0, multi-step"
TORCH = "plain torch, adaptive, products at once"


class Sizes(NamedTuple):
    """Of the workload: units, neurons, classes, steps, samples of a batch and batches in turn."""

    units: int = 700
    hidden: int = 256
    classes: int = 20
    steps: int = 100
    batch: int = 64
    batches: int = 4


SHD = Sizes()
_DENSITY = 0.11


def recording(sizes: Sizes) -> tuple[SpikeTrains, Tensor]:
    """Random events of that density, at most one in a unit and step, and labels."""
    noise = torch.Generator().manual_seed(0)
    samples = sizes.batches * sizes.batch
    spikes = torch.rand(samples, sizes.steps, sizes.units, generator=noise) < _DENSITY
    _, step, unit = spikes.nonzero(as_tuple=True)
    offsets = np.concatenate([[0], spikes.sum((1, 2)).cumsum(0).numpy()])
    trains = SpikeTrains(Recording(step.double().numpy(), unit.numpy(), offsets), (sizes.units,))
    return trains, torch.randint(sizes.classes, (samples,), generator=noise)


def _trained(network: nn.Module, logits: Callable[[int], Tensor], labels: Tensor, b: int) -> Step:
    """A step of fused Adam on the batches in turn."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    turns = len(labels) // b

    def step(number: int) -> None:
        first = number % turns * b
        loss = cross_entropy(logits(first), labels[first : first + b])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _ours(sizes: Sizes, recurrent: bool) -> Step:
    trains, labels = recording(sizes)
    neurons: nn.Module = st.ALIF(tau=20.0, tau_a=200.0)
    if recurrent:
        neurons = st.Recurrent(st.ALIF(tau=20.0, tau_a=200.0), sizes.hidden)
    network = st.Sequential(
        st.SpikeLinear(sizes.units, sizes.hidden, bias=False),
        neurons,
        st.SpikeLinear(sizes.hidden, sizes.classes, bias=False),
        st.Readout("mean"),
    )

    def logits(first: int) -> Tensor:
        chosen = trains[torch.arange(first, first + sizes.batch)]
        found: Tensor = network(chosen.at(sizes.steps, 1.0))
        return found

    return _trained(network, logits, labels, sizes.batch)


class _Peer(nn.Module):
    """Two linear layers around somebody's loop over the steps."""

    def __init__(self, sizes: Sizes, loop: nn.Module) -> None:
        super().__init__()
        self.first = nn.Linear(sizes.units, sizes.hidden, bias=False)
        self.loop = loop
        self.last = nn.Linear(sizes.hidden, sizes.classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.loop(self.first(x))).mean(0)
        return out


def _peer(sizes: Sizes, loop: nn.Module) -> Step:
    trains, labels = recording(sizes)
    dense = [
        trains[torch.arange(first, first + sizes.batch)].at(sizes.steps, 1.0).to_dense()
        for first in range(0, len(labels), sizes.batch)
    ]
    network = _Peer(sizes, loop)
    return _trained(
        network, lambda first: network(dense[first // sizes.batch]), labels, sizes.batch
    )


class _SnnTorch(nn.Module):
    def __init__(self, sizes: Sizes, recurrent: bool) -> None:
        import snntorch

        super().__init__()
        self.recurrent = recurrent
        self.neuron: Any = (
            snntorch.RLeaky(beta=0.95, linear_features=sizes.hidden)
            if recurrent
            else snntorch.Leaky(beta=0.95)
        )

    def forward(self, currents: Tensor) -> Tensor:
        out = []
        if self.recurrent:
            spike, potential = self.neuron.init_rleaky()
            for current in currents:
                spike, potential = self.neuron(current, spike, potential)
                out.append(spike)
        else:
            potential = self.neuron.init_leaky()
            for current in currents:
                spike, potential = self.neuron(current, potential)
                out.append(spike)
        return torch.stack(out)


class _SpikingJelly(nn.Module):
    def __init__(self, sizes: Sizes, recurrent: bool) -> None:
        from spikingjelly.activation_based import layer, neuron

        super().__init__()
        node = neuron.LIFNode(tau=20.0, step_mode="s" if recurrent else "m")
        self.neuron: Any = (
            layer.LinearRecurrentContainer(node, sizes.hidden, sizes.hidden, step_mode="m")
            if recurrent
            else node
        )

    def forward(self, currents: Tensor) -> Tensor:
        from spikingjelly.activation_based import functional

        functional.reset_net(self.neuron)
        out: Tensor = self.neuron(currents)
        return out


class _Torch(nn.Module):
    """The adaptive neuron as one writes it."""

    def __init__(self, sizes: Sizes, recurrent: bool) -> None:
        super().__init__()
        self.feedback = nn.Linear(sizes.hidden, sizes.hidden, bias=False) if recurrent else None
        self.spike = st.surrogate.Sigmoid(4.0)

    def forward(self, currents: Tensor) -> Tensor:
        v = a = s = torch.zeros_like(currents[0])
        out = []
        for current in currents:
            if self.feedback is not None:
                current = current + self.feedback(s)  # a step's own
            v = v + 0.05 * (current - v)
            s = self.spike(v - 1.0 - 0.1 * a)
            v = v * (1 - s)
            a = 0.995 * a + s
            out.append(s)
        return torch.stack(out)


def made(name: str, recurrent: bool, sizes: Sizes = SHD) -> Step:
    """A training step of that contender."""
    if name == OURS:
        return _ours(sizes, recurrent)
    loops: dict[str, Callable[[Sizes, bool], nn.Module]] = {
        SPIKINGJELLY: _SpikingJelly,
        SNNTORCH: _SnnTorch,
        TORCH: _Torch,
    }
    return _peer(sizes, loops[name](sizes, recurrent))


NAMES = (OURS, SPIKINGJELLY, SNNTORCH, TORCH)


class Long(NamedTuple):
    """Currents ``[B, T, F]`` with targets ``[B, T, k]``, of which ``steps`` are taken."""

    x: Tensor
    labels: Tensor
    steps: int


def in_windows(window: int, task: Long) -> Step:
    """Truncated backpropagation through adaptive neurons, a change of the weights per window."""
    network = st.Sequential(
        st.SpikeLinear(task.x.shape[2], 256),
        st.AdLIF(tau=10.0, tau_w=100.0),
        st.SpikeLinear(256, task.labels.shape[2]),
        st.LeakyIntegrator(10.0),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    x, targets = (part[:, : task.steps].transpose(0, 1) for part in (task.x, task.labels))

    def step(_: int) -> None:
        parts = torch.split(targets, window)
        for outputs, wanted in zip(st.in_windows(network, x, window), parts, strict=True):
            optimizer.zero_grad()
            st.mse_loss(outputs, wanted).backward()
            optimizer.step()

    return step


if __name__ == "__main__":
    noise = torch.Generator().manual_seed(0)
    long = Long(*(10 * torch.randn(64, 1000, n, generator=noise) for n in (64, 4)), 1000)
    print(f"{measure(partial(in_windows, int(sys.argv[1])), long):.0f}")
