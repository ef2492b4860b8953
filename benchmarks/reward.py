"""A training batch of R-STDP on spike counts: encoding, both layers with one winner per step, and
the change of the output weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn.functional import linear, one_hot

import saltation as st
from benchmarks.networks import OURS
from benchmarks.timing import Step
from saltation.kernels.competition import winners
from saltation.learning import RSTDP, WinnerTakeAllNetwork

STEPS, DT, TEACH, LR = 200, 0.5, 1.0, 0.05

Counts = tuple[Tensor, Tensor]


def by_steps(net: WinnerTakeAllNetwork, x: Iterable[Tensor], labels: Tensor) -> Counts:
    """Counts of both layers in a plain loop; ``x`` yields the spikes ``[B, F]`` of every step."""
    z, teach = DT, TEACH * one_hot(labels, net.output.out_features)
    hidden, out = net.input_gain * net.input.weight, net.output_gain * net.output.weight
    v = torch.zeros(len(labels), len(hidden))
    u = torch.zeros(len(labels), len(out))
    counts, outputs = torch.zeros_like(v), torch.zeros_like(u)
    for spikes in x:
        v = (1 - z / 2) * v + z * linear(spikes, hidden)
        s = (v >= 0.3).float()
        v = v * (1 - s)
        currents = linear(s, out) + teach
        u = (1 - z / 2) * u + z * currents
        o = (u >= 0.3).float()
        u = u * (1 - o)
        counts += s
        outputs += winners(currents, o)
    return counts, outputs


Images = tuple[Tensor, Tensor]


def _learner(images: Images, counts: Callable[[WinnerTakeAllNetwork, int], Counts]) -> Step:
    torch.manual_seed(0)
    rule, net = RSTDP(LR), WinnerTakeAllNetwork(images[0].shape[1], dt=DT)

    @torch.no_grad()
    def step(number: int) -> None:
        rule.apply(net.output.weight, rule.change(*counts(net, number), images[1], STEPS))

    return step


def _ours(images: Images) -> Step:
    x, labels = images

    def counts(net: WinnerTakeAllNetwork, number: int) -> Counts:
        activity = net(st.poisson(x, STEPS, method="bernoulli", epoch=number), labels, TEACH)
        return activity.hidden_counts, activity.output_counts

    return _learner(images, counts)


def _plain(images: Images) -> Step:
    x, labels = images

    def counts(net: WinnerTakeAllNetwork, _: int) -> Counts:
        return by_steps(net, ((torch.rand_like(x) < x).float() for _ in range(STEPS)), labels)

    return _learner(images, counts)


def _spikingjelly(images: Images) -> Step:
    from spikingjelly.activation_based import neuron

    x, labels = images
    nodes = [neuron.LIFNode(tau=2.0, decay_input=False, v_threshold=0.3) for _ in range(2)]
    teach = TEACH * one_hot(labels, 10)

    def counts(net: WinnerTakeAllNetwork, _: int) -> Counts:
        hidden, out = net.input_gain * net.input.weight, net.output_gain * net.output.weight
        for node in nodes:
            node.reset()
        emitted, won = torch.zeros(len(x), len(hidden)), torch.zeros(len(x), len(out))
        for _ in range(STEPS):
            s = nodes[0](linear((torch.rand_like(x) < x).float(), hidden))
            currents = linear(s, out) + teach
            emitted += s
            won += winners(currents, nodes[1](currents))
        return emitted, won

    return _learner(images, counts)


# A batch of images as probabilities ``[B, F]`` of a spike, and labels, to a step of training.
REWARD: dict[str, Callable[[Images], Step]] = {
    OURS: _ours,
    "plain torch loop": _plain,
    "SpikingJelly 2.0, step by step": _spikingjelly,
}
