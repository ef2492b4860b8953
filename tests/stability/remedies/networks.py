"""The same small networks in three libraries, and inputs for them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st

SIZES = (20, 40, 40, 40)


def imported(name: str) -> Any:
    """A peer; the test is skipped where it is missing."""
    return pytest.importorskip(name, reason="comparison with peers needs: pip install of the peers")


def spikes(steps: int = 8, samples: int = 24, features: int = 20, seed: int = 1) -> Tensor:
    noise = torch.Generator().manual_seed(seed)
    return (torch.rand(steps, samples, features, generator=noise) < 0.4).float()


def linears(sizes: tuple[int, ...] = SIZES, gain: float = 2.0) -> list[nn.Linear]:
    """The same in every library: random weights, times a gain."""
    torch.manual_seed(0)
    made = [nn.Linear(a, b) for a, b in pairwise((*sizes, 5))]
    with torch.no_grad():
        for linear in made[:-1]:
            linear.weight.mul_(gain)
    return made


def chained(neuron: Callable[[], nn.Module], maps: list[nn.Linear]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for one in maps[:-1]:
        layers += [one, neuron()]
    return nn.Sequential(*layers, maps[-1])


class Looped(nn.Module):
    """snnTorch's usual form: the loop over steps and the states are in the network.

    A normalisation stands in front of the second layer of neurons, if there is to be one.
    """

    def __init__(self, maps: list[nn.Linear], neuron: Callable[[], Any], norm: bool) -> None:
        super().__init__()
        self.maps = nn.ModuleList(maps)
        self.neurons = nn.ModuleList([neuron() for _ in maps[:-1]])
        self.norm = nn.BatchNorm1d(maps[1].out_features) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        potentials = [None] * len(self.neurons)
        out = []
        for s in x:
            for place, neuron in enumerate(self.neurons):
                current = self.maps[place](s)
                if place == 1:
                    current = self.norm(current)
                before = potentials[place]
                v = torch.zeros_like(current) if before is None else before
                s, potentials[place] = neuron(current, v)
            out.append(self.maps[-1](s))
        return torch.stack(out)


def saltation_chain(maps: list[nn.Linear], norm: bool = False) -> tuple[nn.Module, int]:
    return chained(lambda: st.LIF(beta=0.9, surrogate=st.surrogate.FastSigmoid(25.0)), maps), 1


def snntorch_hidden(maps: list[nn.Linear], norm: bool = False) -> tuple[nn.Module, int]:
    snn = imported("snntorch")
    surrogate = imported("snntorch.surrogate").fast_sigmoid(slope=25)
    return chained(lambda: snn.Leaky(beta=0.9, init_hidden=True, spike_grad=surrogate), maps), 1


def snntorch_loop(maps: list[nn.Linear], norm: bool = False) -> tuple[nn.Module, int]:
    snn = imported("snntorch")
    surrogate = imported("snntorch.surrogate").fast_sigmoid(slope=25)
    return Looped(maps, lambda: snn.Leaky(beta=0.9, spike_grad=surrogate), norm), 1


def spikingjelly(mode: str) -> Callable[..., tuple[nn.Module, int]]:
    def make(maps: list[nn.Linear], norm: bool = False) -> tuple[nn.Module, int]:
        neuron = imported("spikingjelly.activation_based.neuron")
        functional = imported("spikingjelly.activation_based.functional")
        surrogate = imported("spikingjelly.activation_based.surrogate").ATan(alpha=30.0)
        network = chained(
            lambda: neuron.LIFNode(
                tau=2.0, decay_input=False, surrogate_function=surrogate, detach_reset=True
            ),
            maps,
        )
        if norm:
            network.insert(3, nn.BatchNorm1d(maps[1].out_features))
        functional.set_step_mode(network, mode)
        return network, 1

    return make


LIBRARIES: dict[str, Callable[..., tuple[nn.Module, int]]] = {
    "saltation": saltation_chain,
    "snntorch hidden": snntorch_hidden,
    "snntorch loop": snntorch_loop,
    "spikingjelly s": spikingjelly("s"),
    "spikingjelly m": spikingjelly("m"),
}


def adapted(made: tuple[nn.Module, int]) -> Any:
    """The network as `saltation.adapt` takes it, its samples in dimension 1."""
    return st.adapt(made[0], batch_dim=made[1])
