"""Parts alone: the neuron loop over convolutional shapes, and the forward pass of R-STDP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear, one_hot

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


class Reward(NamedTuple):
    """The network of R-STDP: LIF-LIF without decay of the input, teaching current, one winner."""

    hidden: Tensor
    out: Tensor
    steps: int = 200
    dt: float = 0.5
    gain: float = 5.0
    teach: float = 1.0

    def layer(self) -> st.LIF:
        """Its neurons."""
        return st.LIF(tau=2.0, dt=self.dt, scheme="euler", decay_input=False, v_threshold=0.3)


def winners(currents: Tensor, spikes: Tensor) -> Tensor:
    """Where any output of a sample spikes, only that of the largest current keeps its spike."""
    best = one_hot(currents.argmax(-1), currents.shape[-1]).to(spikes.dtype)
    return best * spikes.amax(-1, keepdim=True)


@torch.no_grad()
def reward_at_once(net: Reward, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Counts of both layers ``[B, .]`` from spikes ``[T, B, F]``, all steps at once."""
    weights = [st.SpikeLinear(*w.shape[::-1], bias=False) for w in (net.hidden, net.out)]
    for layer, weight in zip(weights, (net.hidden, net.out), strict=True):
        layer.weight.copy_(net.gain * weight)
    s = st.Sequential(weights[0], net.layer())(x)
    currents = weights[1](s) + net.teach * one_hot(labels, len(net.out))
    return s.sum(0), winners(currents, net.layer()(currents)).sum(0)


@torch.no_grad()
def reward_by_steps(net: Reward, x: Any, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The same as a plain loop; ``x`` yields the spikes ``[B, F]`` of one step after another."""
    z, teach = net.dt, net.teach * one_hot(labels, len(net.out))
    v = torch.zeros(len(labels), len(net.hidden))
    u = torch.zeros(len(labels), len(net.out))
    counts, outputs = torch.zeros_like(v), torch.zeros_like(u)
    for spikes in x:
        v = (1 - z / 2) * v + z * linear(spikes, net.gain * net.hidden)
        s = (v >= 0.3).float()
        v = v * (1 - s)
        currents = linear(s, net.gain * net.out) + teach
        u = (1 - z / 2) * u + z * currents
        o = (u >= 0.3).float()
        u = u * (1 - o)
        counts += s
        outputs += winners(currents, o)
    return counts, outputs


def reward_network(sites: int = 784) -> Reward:
    """Weights as ``nn.Linear`` draws them."""
    noise = torch.Generator().manual_seed(0)

    def weight(fan_out: int, fan_in: int) -> Tensor:
        return (2 * torch.rand(fan_out, fan_in, generator=noise) - 1) / fan_in**0.5

    return Reward(weight(256, sites), weight(10, 256))


def reward_forward(x: Tensor, labels: Tensor) -> dict[str, Callable[[], Step]]:
    """The forward pass of R-STDP on rates ``[B, F]``, encoding included."""
    net = reward_network(x.shape[1])
    p = x.clamp(max=1)

    def at_once(number: int) -> None:
        reward_at_once(net, st.poisson(p, net.steps, method="bernoulli", epoch=number), labels)

    def loop(_: int) -> None:
        reward_by_steps(net, ((torch.rand_like(p) < p).float() for _ in range(net.steps)), labels)

    def spikingjelly() -> Step:
        from spikingjelly.activation_based import neuron

        nodes = [neuron.LIFNode(tau=2.0, decay_input=False, v_threshold=0.3) for _ in range(2)]
        teach = net.teach * one_hot(labels, len(net.out))

        @torch.no_grad()
        def step(_: int) -> None:
            for node in nodes:
                node.reset()
            counts: Any = 0
            for _ in range(net.steps):
                s = nodes[0](linear((torch.rand_like(p) < p).float(), net.gain * net.hidden))
                currents = linear(s, net.gain * net.out) + teach
                counts = counts + winners(currents, nodes[1](currents))

        return step

    return {
        OURS: lambda: at_once,
        "plain torch loop": lambda: loop,
        "SpikingJelly 2.0, step by step": spikingjelly,
    }
