"""What cannot be followed is named in one line, and what could be misread is not read at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.errors import SaltationError


@pytest.fixture
def x() -> Tensor:
    return 2 * torch.rand(10, 8, 20, generator=torch.Generator().manual_seed(0))


def refused(network: Any, x: Tensor, words: str, *, every: bool = True) -> None:
    """One line that holds these words, from the exponents and, if from ``every``, all the rest."""
    torch.manual_seed(0)
    calls: list[Callable[[], Any]] = [lambda: st.lyapunov(network, x)]
    if every:
        calls += [
            lambda: st.depth_growth(network, x),
            lambda: st.LyapunovPenalty()(network, x),
            lambda: st.diagnose(network, x, torch.zeros(x.shape[1], dtype=torch.int64)),
        ]
    for call in calls:
        with pytest.raises(SaltationError) as error:
            call()
        assert words in str(error.value)
        assert "\n" not in str(error.value)


# snnTorch


class Handed(nn.Module):
    """A layer whose state is handed from step to step, with what is done in between."""

    def __init__(self, snntorch: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.into, self.back = nn.Linear(20, 16), nn.Linear(16, 16)
        self.neurons = snntorch.Leaky(beta=0.9)

    def forward(self, x: Tensor) -> Tensor:
        mem, spikes, out = self.neurons.init_leaky(), torch.zeros(x.shape[1], 16), []
        for step in x:
            current, mem = self.between(self.into(step), mem, spikes)
            spikes, mem = self.neurons(current, mem)
            out.append(spikes)
        return torch.stack(out)

    def between(self, current: Tensor, mem: Tensor, spikes: Tensor) -> tuple[Tensor, Tensor]:
        return current, mem


class Inhibited(Handed):
    def between(self, current: Tensor, mem: Tensor, spikes: Tensor) -> tuple[Tensor, Tensor]:
        return current, mem - 0.1 * spikes.mean(1, keepdim=True) if mem.numel() else mem


class FedBack(Handed):
    def between(self, current: Tensor, mem: Tensor, spikes: Tensor) -> tuple[Tensor, Tensor]:
        return current + self.back(spikes), mem


class Detached(Handed):
    def between(self, current: Tensor, mem: Tensor, spikes: Tensor) -> tuple[Tensor, Tensor]:
        return current, mem.detach()


def test_states_that_are_changed_outside(snntorch: Any, x: Tensor) -> None:
    """Of which the given state would not be the one the neurons begin with."""
    refused(Inhibited(snntorch), x, "neurons 'neurons' are given a state that is not the one")


def test_states_that_are_detached_are_the_same(snntorch: Any, x: Tensor) -> None:
    """Truncated backpropagation changes gradients of a loss, not the map."""
    one, two = (st.lyapunov(kind(snntorch), x).exponents for kind in (Handed, Detached))
    torch.testing.assert_close(one, two)


def test_spikes_fed_back_by_hand(snntorch: Any, x: Tensor) -> None:
    """They carry a perturbation past the states, so nothing that rescales states is right; growth
    that is never rescaled is: it equals the recurrent layer's, whose state has the spikes in it."""
    network = FedBack(snntorch)
    words = "something else is handed on from step to step"
    refused(network, x, words, every=False)
    with pytest.raises(SaltationError, match=words):
        st.lyapunov(network, x, estimator="finite")
    found = st.diagnose(network, x, torch.zeros(8, dtype=torch.int64))
    assert found.finite is None
    telescoped = st.lyapunov(network, x, estimator="telescoped").exponent
    assert found.tangent is not None
    assert float(found.tangent.exponent) == pytest.approx(float(telescoped.detach()))


class Twice(nn.Module):
    """One object for two layers."""

    def __init__(self, neurons: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.neurons = nn.Linear(20, 16), nn.Linear(16, 16), neurons

    def forward(self, x: Tensor) -> Tensor:
        return self.neurons(self.b(self.neurons(self.a(x))))


class TwiceHanded(Twice):
    def forward(self, x: Tensor) -> Tensor:
        one, two = self.neurons.init_leaky(), self.neurons.init_leaky()
        out = []
        for step in x:
            spikes, one = self.neurons(self.a(step), one)
            spikes, two = self.neurons(self.b(spikes), two)
            out.append(spikes)
        return torch.stack(out)


def test_one_module_for_two_layers(snntorch: Any, spikingjelly: Any, x: Tensor) -> None:
    """Modules that keep their state are refused; those of saltation keep none."""
    words = "make a module for each layer"
    refused(Twice(snntorch.Leaky(beta=0.9, init_hidden=True)), x, words)
    refused(TwiceHanded(snntorch.Leaky(beta=0.9)), x, words)
    refused(Twice(spikingjelly.neuron.LIFNode()), x, words)
    multi = "called 2 times in one step: one module cannot be two layers"
    refused(Twice(spikingjelly.neuron.LIFNode(step_mode="m")), x, multi)
    shared, apart = Twice(st.LIF(beta=0.9)), Twice(st.LIF(beta=0.9))
    chain = nn.Sequential(apart.a, apart.neurons, apart.b, st.LIF(beta=0.9))
    one, two = (st.lyapunov(network, x).exponents for network in (shared, chain))
    torch.testing.assert_close(one, two)


def test_static_input_for_a_network_that_takes_steps(snntorch: Any) -> None:
    """Samples are not taken for steps: not where shapes differ, nor where they would fit."""

    def leaky(*layers: nn.Module) -> nn.Sequential:
        chain = (m for one in layers for m in (one, snntorch.Leaky(beta=0.9, init_hidden=True)))
        return nn.Sequential(*chain)

    square = leaky(nn.Linear(64, 64), nn.Linear(64, 64))
    refused(square, torch.rand(32, 64), "needs the input [T, B, ...], got [32, 64]")
    conv = leaky(nn.Conv2d(3, 3, 3))
    refused(conv, torch.rand(8, 3, 12, 12), "needs the input [T, B, ...], got [8, 3, 12, 12]")
    flat = nn.Sequential(nn.Flatten(), *leaky(nn.Linear(784, 16)))
    images = torch.rand(32, 1, 28, 28)
    refused(flat, images, "can be read as 32 samples and as 32 steps of one", every=False)
    assert st.lyapunov(st.adapt(flat, batch_dim=1), images).exponents.shape == (1, 1)


def test_a_batch_that_neurons_do_not_see(snntorch: Any, x: Tensor) -> None:
    """What is said of the samples is compared with what neurons see."""
    for told in (0, 2):
        network = st.adapt(Handed(snntorch), batch_dim=told)
        refused(network, x, f"with dimension {told} as the samples", every=False)

    def walk(network: nn.Module, x: Tensor, end: Callable[[], None]) -> None:
        for step in x.transpose(0, 1):
            network(step[None])
            end()

    refused(st.adapt(Handed(snntorch), walk=walk), x, "dimension 1 of the input", every=False)


def test_random_numbers_in_forward(snntorch: Any, x: Tensor) -> None:
    """Copies of a sample would be shown different spikes: no two trajectories, no several vectors;
    one vector sees one draw. torch's generator does not advance."""

    class Encoding(Handed):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(torch.bernoulli(x.clamp(0, 1).expand(6, *x.shape)))

    network, image = Encoding(snntorch), x[0] / 2
    before = torch.get_rng_state()
    assert st.lyapunov(network, image).horizon == 6
    for options in ({"estimator": "finite"}, {"k": 2}):
        with pytest.raises(SaltationError, match="copies of every sample"):
            st.lyapunov(network, image, **options)
    assert torch.equal(torch.get_rng_state(), before)


def test_neurons_that_are_not_known(snntorch: Any, x: Tensor) -> None:
    """Subclasses of known neurons are those; others are named, never left out."""

    class Mine(snntorch.Leaky):  # type: ignore[name-defined, misc]
        pass

    def pair(first: Any, **options: Any) -> Any:
        torch.manual_seed(0)
        second = snntorch.Leaky(beta=0.9, init_hidden=True)
        return nn.Sequential(nn.Linear(20, 16), first(**options), nn.Linear(16, 5), second)

    known = {"beta": 0.9, "init_hidden": True}
    one, two = (
        st.diagnose(pair(k, **known), x, torch.zeros(8).long()) for k in (snntorch.Leaky, Mine)
    )
    assert [layer.name for layer in two.layers] == ["1", "3"]
    assert one.layers == two.layers
    parallel = pair(snntorch.LeakyParallel, input_size=16, hidden_size=16)
    refused(parallel, x, "'1' is a LeakyParallel; of snnTorch's neurons saltation knows Leaky")
    lstm = pair(snntorch.SLSTM, input_size=16, hidden_size=16, init_hidden=True)
    refused(lstm, x, "'1' is a SLSTM")
    mixed = nn.Sequential(pair(snntorch.Leaky, **known), st.LIF())
    refused(mixed, x, "found saltation, snntorch")


# SpikingJelly


def test_modules_of_spikingjelly(spikingjelly: Any, x: Tensor) -> None:
    """A result, or one line that names the module."""
    from spikingjelly.activation_based import functional, layer

    neuron = spikingjelly.neuron

    def around(*modules: Any, mode: str = "m") -> nn.Module:
        torch.manual_seed(0)
        ends = layer.Linear(20, 30), layer.Linear(30, 10)
        network = nn.Sequential(ends[0], *modules, ends[1], neuron.LIFNode())
        functional.set_step_mode(network, mode)
        return network

    for named in (
        neuron.PSN(T=10),
        neuron.SlidingPSN(k=2, step_mode="m"),
        neuron.MaskedPSN(k=2, T=10, step_mode="m"),
        neuron.GatedLIFNode(T=10),
        neuron.NonSpikingLIFNode(),
        layer.Delay(1),
    ):
        refused(around(named), x, f"'1' is a {type(named).__name__}", every=False)
    expected = st.lyapunov(around(neuron.LIFNode()), x).exponents
    for mode in "sm":
        dropped = around(neuron.LIFNode(), layer.Dropout(0.5), mode=mode)
        torch.testing.assert_close(st.lyapunov(dropped, x).exponents, expected)
        assert dropped[2].training
        assert dropped[2].mask is None
    containers = []
    for mode in "sm":
        container = layer.LinearRecurrentContainer(neuron.LIFNode(), 30, 30)
        network = around(mode=mode)
        network.insert(1, container)
        container.step_mode = mode
        torch.manual_seed(1)
        nn.init.normal_(container.rc.weight, std=0.2)
        nn.init.zeros_(container.rc.bias)
        containers.append(st.lyapunov(network, x).exponents)
    torch.testing.assert_close(*containers)


# saltation


class Late(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(x[:3]), x[:-3]])


class ZScore(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0)) / x.std(0)


class First(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Any:
        return self.module(x)[0]


@pytest.mark.parametrize("front", [First(nn.GRU(16, 16)), Late(), ZScore()], ids=str)
def test_modules_that_look_along_time(front: nn.Module) -> None:
    """The network is run whole, where that gives the answer, or refused."""
    torch.manual_seed(1)
    x = torch.rand(20, 8, 16) * 2
    spike = st.surrogate.ATan(2.0)
    network = nn.Sequential(front, nn.Linear(16, 16), st.LIF(beta=0.9, surrogate=spike))
    with torch.no_grad():
        network[1].weight *= 4
        network[1].bias += 0.5
    # The exponents of a layer that is given the same currents.
    currents = network[1](network[0](x)).detach()
    for estimator in ("tangent", "telescoped"):
        found = st.lyapunov(network, x, estimator=estimator).exponents
        torch.testing.assert_close(found, st.lyapunov(network[2], currents).exponents)
    assert st.depth_growth(network, x).norms.shape == (1, 8)
    assert st.diagnose(network, x, torch.zeros(8, dtype=torch.int64)).finite is None
    for options in ({"estimator": "finite"}, {"k": 2}):
        with pytest.raises(SaltationError, match="looks along time"):
            st.lyapunov(network, x, **options)


class Remembering(nn.Module):
    """A state of its own, which nobody sees."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.kept is not None and self.kept.shape == x.shape:
            x = x + 0.5 * self.kept
        self.kept = x
        return x


def test_states_that_are_not_seen(snntorch: Any, x: Tensor) -> None:
    """A module that remembers is found by a second pass."""
    front = nn.Linear(20, 16)
    ours = nn.Sequential(front, Remembering(), st.LIF(beta=0.9))
    refused(ours, x, "keeps a state that is not a neuron's", every=False)
    theirs = snntorch.Leaky(beta=0.9, init_hidden=True)
    refused(nn.Sequential(front, Remembering(), theirs), x, "keeps a state", every=False)


class Streaming(nn.Module):
    """Layers that are stepped by hand."""

    def __init__(self, call: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.into, self.neurons, self.call = nn.Linear(20, 16), st.LIF(beta=0.9), call

    def forward(self, x: Tensor) -> Tensor:
        if self.call == "record":
            return self.neurons.record(self.into(x)).spikes
        state, out = None, []
        for step in x:
            spikes, state = self.neurons.step(self.into(step), state)
            out.append(spikes)
        return torch.stack(out)


def test_layers_that_are_stepped_are_seen(x: Tensor) -> None:
    """By `watch`, estimates and diagnosis alike; a recorded layer by estimates and diagnosis."""
    network = Streaming("step")
    chain = nn.Sequential(network.into, network.neurons)
    torch.testing.assert_close(st.lyapunov(network, x).exponents, st.lyapunov(chain, x).exponents)
    with st.watch(network) as seen:
        network(x)
    with st.watch(chain) as expected:
        chain(x)
    assert seen["neurons"].mean_spike_rate == expected["1"].mean_spike_rate > 0
    recording, labels = Streaming("record"), torch.zeros(8).long()
    torch.testing.assert_close(st.lyapunov(recording, x).exponents, st.lyapunov(chain, x).exponents)
    told = [st.diagnose(one, x, labels).layers[0].rate for one in (recording, chain)]
    assert told[0] == told[1] > 0
    assert "record" not in recording.neurons.__dict__


def test_compiled_networks(x: Tensor) -> None:
    """They are run as written, their spikes counted under the names of the network within."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(20, 16), st.LIF(beta=0.9), nn.Linear(16, 5))
    inner = nn.Sequential(network[0], torch.compile(network[1]), network[2])
    expected = st.lyapunov(network, x).exponents
    with st.watch(network) as plain:
        network(x)
    for compiled in (torch.compile(network), inner):
        torch.testing.assert_close(st.lyapunov(compiled, x).exponents, expected)
        assert st.diagnose(compiled, x, torch.zeros(8).long()).layers[0].rate > 0
        with st.watch(compiled) as seen:
            compiled(x)
        assert seen["1"].mean_spike_rate == plain["1"].mean_spike_rate


def test_neurons_that_are_not_called(x: Tensor) -> None:
    """They are named."""
    network = Streaming("step")
    network.spare = st.LIF()
    with pytest.warns(UserWarning, match="neurons 'spare' are in the network"):
        st.lyapunov(network, x)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (torch.rand(10, 8, 20).long(), "must be a floating-point tensor"),
        ([1.0, 2.0], "must be a floating-point tensor"),
        (torch.rand(20), "must be a floating-point tensor"),
        (
            torch.full((10, 8, 20), float("nan")),
            "got NaN or infinity in 1600 of",
        ),
        (torch.rand(0, 8, 20), "must be a floating-point tensor"),
        (torch.rand(8, 20), "to show one input for T steps give st.direct(x, T)"),
        (torch.rand(10, 8, 5), "the network cannot take the input [10, 8, 5]"),
    ],
)
def test_inputs(given: Any, words: str) -> None:
    """One line says what is expected."""
    network = nn.Sequential(nn.Linear(20, 16), st.LIF())
    for call in (st.lyapunov, st.depth_growth, lambda net, x: st.LyapunovPenalty()(net, x)):
        with pytest.raises(SaltationError) as error:
            call(network, given)
        assert words in str(error.value)
