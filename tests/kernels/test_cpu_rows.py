"""Constants that differ between neurons, and their gradients out of the compiled loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import saltation as st
from saltation.kernels import dispatch, reference
from saltation.kernels.cpu.linear import chain
from saltation.kernels.cpu.neurons import loop
from saltation.kernels.events import events_of
from saltation.kernels.recurrent import Feedback, RecurrentState
from saltation.kernels.reference import Stage
from saltation.neurons import LIFNeuron
from saltation.neurons.base import Spike
from saltation.surrogate import Sigmoid


class Gained(LIFNeuron):
    """LIF with a gain and a decay for each neuron, from constants of any shape that fits."""

    gain: float = 1.0
    rate: float = 0.0

    def integrate(self, x: Tensor, state: Any, spike: Spike) -> Any:
        decay = torch.exp(-torch.as_tensor(self.rate))
        return self.State(decay * super().integrate(self.gain * x, state, spike).v)


def constants(*shape: int) -> Tensor:
    return 1 + 0.3 * torch.rand(shape, generator=torch.Generator().manual_seed(1))


def gradients(
    run: Any, neuron: Any, x: Tensor, v: Tensor, wanted: list[Tensor]
) -> tuple[Tensor, ...]:
    """Spikes, and gradients of ``wanted`` from random ones of spikes and last state."""
    trace = run(neuron, Sigmoid(), x, neuron.State(v), False)
    noise = torch.Generator().manual_seed(2)
    g = [torch.randn(o.shape, generator=noise).to(o.dtype) for o in (trace.spikes, trace.state.v)]
    outputs = [trace.spikes, trace.state.v]
    return trace.spikes.detach(), *torch.autograd.grad(outputs, wanted, g)


def inputs(steps: int, dtype: torch.dtype) -> list[Tensor]:
    noise = torch.Generator().manual_seed(0)
    x, v = 3 * torch.rand(steps, 3, 37, generator=noise), torch.rand(3, 37, generator=noise)
    return [part.to(dtype).requires_grad_() for part in (x, v)]


@pytest.mark.parametrize("shape", [(), (37,), (3, 1), (3, 37)], ids=str)
@pytest.mark.parametrize("jump", ["hard", "soft_delayed"])
@pytest.mark.parametrize("steps", [1, 20])
def test_learned_constants(shape: tuple[int, ...], jump: str, steps: int) -> None:
    """Spikes to the bit; gradients of currents, state and constants as float64 has them."""
    found = []
    for run, dtype in ((loop.run, torch.float32), (reference.run, torch.float64)):
        gain = constants(*shape).to(dtype).requires_grad_()
        rate = (0.1 * constants(37)).to(dtype).requires_grad_()
        neuron = Gained(jump=jump, gain=gain, rate=rate)
        x, v = inputs(steps, dtype)
        found.append(gradients(run, neuron, x, v, [x, v, gain, rate]))
    (spikes, *ours), (expected, *exact) = found
    assert 0 < spikes.sum() < spikes.numel()
    assert torch.equal(spikes.double(), expected)
    for one, two in zip(ours, exact, strict=True):
        assert one.shape == two.shape
        assert (one.double() - two).norm() <= 1e-5 * two.norm()


def fed_back(
    backend: str, dtype: torch.dtype, shape: tuple[int, ...], jump: str, memory: str
) -> tuple[Tensor, ...]:
    """`gradients` of neurons whose spikes feed back."""
    gain = constants(*shape).to(dtype).requires_grad_()
    rate = (0.1 * constants(37)).to(dtype).requires_grad_()
    neuron = Gained(jump=jump, gain=gain, rate=rate)
    x, v = inputs(12, dtype)
    noise = torch.Generator().manual_seed(3)
    weight = (0.2 * torch.randn(37, 37, generator=noise)).to(dtype).requires_grad_()
    spikes = (torch.rand(3, 37, generator=noise) < 0.3).to(dtype).requires_grad_()

    def run(neuron: Any, spike: Any, x: Tensor, state: Any, record: bool) -> Any:
        start = RecurrentState(spikes, state)
        feedback = Feedback(weight, None)
        done = dispatch.recurrent(backend, neuron, spike, x, feedback, start, record, memory)
        return done._replace(state=done.state.neuron)

    return gradients(run, neuron, x, v, [x, v, gain, rate, weight, spikes])


@pytest.mark.parametrize("shape", [(), (37,), (3, 37)], ids=str)
@pytest.mark.parametrize("jump", ["hard", "soft_delayed"])
@pytest.mark.parametrize("memory", ["store", "recompute"])
def test_learned_constants_of_neurons_that_feed_back(
    shape: tuple[int, ...], jump: str, memory: str
) -> None:
    """As alone, and the gradients of the weights and of the last spikes."""
    emitted, *ours = fed_back("cpu", torch.float32, shape, jump, memory)
    expected, *exact = fed_back("reference", torch.float64, shape, jump, memory)
    assert 0 < emitted.sum() < emitted.numel()
    assert torch.equal(emitted.double(), expected)
    for one, two in zip(ours, exact, strict=True):
        assert one.shape == two.shape
        assert (one.double() - two).norm() <= 1e-5 * two.norm()


def in_one_piece(
    run: Any, dtype: torch.dtype, shape: tuple[int, ...], jump: str, memory: str, again: bool
) -> list[Tensor]:
    """Output of two layers of neurons between three of weights, and gradients of all; ``again``
    with a graph of their own, which the reference makes."""
    noise = torch.Generator().manual_seed(4)
    x = st.poisson(0.2 * torch.rand(5, 30, generator=noise), 12, 1.0, seed=0)
    leaves: list[Tensor] = []
    stages = []
    for fan_in in (30, 37):
        weight = (1.5 * torch.rand(37, fan_in, generator=noise)).to(dtype).requires_grad_()
        gain = constants(*shape).to(dtype).requires_grad_()
        rate = (0.1 * constants(37)).to(dtype)
        neuron = Gained(jump=jump, gain=gain, rate=rate, v_threshold=2.0)
        stages.append(Stage(weight, None, neuron, Sigmoid(), memory))
        leaves += [weight, gain]
    last = torch.randn(4, 37, generator=noise).to(dtype).requires_grad_()
    spikes: Any = events_of(x) if run is chain.run else x.to(dtype)
    out = run(spikes, stages, last, None)
    g = torch.randn(out.shape, generator=torch.Generator().manual_seed(5)).to(dtype)
    return [out.detach(), *torch.autograd.grad(out, [*leaves, last], g, create_graph=again)]


@pytest.mark.parametrize("shape", [(), (37,)], ids=str)
@pytest.mark.parametrize(
    ("jump", "memory", "again"),
    [("hard", "store", False), ("soft", "recompute", False), ("hard", "store", True)],
)
def test_learned_constants_in_one_piece_with_weights(
    shape: tuple[int, ...], jump: str, memory: str, again: bool
) -> None:
    """Gradients of weights and constants as float64 has them."""
    ours = in_one_piece(chain.run, torch.float32, shape, jump, memory, again)
    exact = in_one_piece(reference.chain, torch.float64, shape, jump, memory, False)
    for one, two in zip(ours, exact, strict=True):
        assert one.shape == two.shape
        assert (one.double() - two).norm() <= 1e-5 * two.norm()


def test_a_chain_of_any_number_of_threads(threads: None) -> None:
    """The gradients of constants are the same bits, in the layer behind no product of torch's."""
    found = []
    for number in (1, 2, 5):
        torch.set_num_threads(number)
        found.append(in_one_piece(chain.run, torch.float32, (), "hard", "store", False)[3:5])
    for one, two, three in zip(*found, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)


def test_any_number_of_threads(threads: None) -> None:
    """The gradients of constants are the same bits."""
    gain = constants(5).requires_grad_()
    neuron = Gained(gain=gain)
    x = 3 * torch.rand(4, 3001, 5, generator=torch.Generator().manual_seed(0))
    found = []
    for number in (1, 2, 5):
        torch.set_num_threads(number)
        found.append(gradients(loop.run, neuron, x, torch.zeros(3001, 5), [gain])[1])
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_beyond_one_backward_pass() -> None:
    """Double backward is the reference's, of the constants too."""

    def second(run: Any) -> tuple[Tensor, ...]:
        gain = constants(37).requires_grad_()
        x, v = inputs(6, torch.float32)
        neuron = Gained(gain=gain)
        trace = run(neuron, Sigmoid(), x, neuron.State(v), False)
        loss = (trace.state.v * trace.state.v).sum()
        first = torch.autograd.grad(loss, [x, gain], create_graph=True)
        return torch.autograd.grad((first[0] ** 2).sum() + (first[1] ** 2).sum(), [x, gain])

    for one, two in zip(second(loop.run), second(reference.run), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


def test_what_it_refuses() -> None:
    """Constants of other neurons, in double precision, and within a chain."""
    x = torch.zeros(4, 3, 37)
    for gain, reason in (
        (constants(36), "constants [36] are not those of neurons [3, 37]"),
        (constants(2, 3, 37), "constants [2, 3, 37] are not"),
        (constants(37).double(), "torch.float64"),
    ):
        refused = loop.refuses(Gained(gain=gain), Sigmoid(), x, None, False)
        assert refused
        assert reason in refused
    weight = torch.zeros(37, 5)
    assert loop.refuses_between(Gained(gain=constants(37)), Sigmoid(), weight) is None
    learned = constants(37).requires_grad_()
    for options, reason in (
        ({"gain": constants(3, 37)}, "constants [3, 37] are not those of 37 neurons"),
        ({"gain": learned, "jump": "soft_delayed"}, "a spike acts in the step after its own"),
        ({"v_rest": learned}, "neurons differ, or learn, where they rest"),
        ({"gain": constants(37).double()}, "torch.float64"),
    ):
        refused = loop.refuses_between(Gained(**options), Sigmoid(), weight)
        assert refused
        assert reason in refused
    assert dispatch.resolve("auto", Gained(gain=constants(37)), Sigmoid(), x)[0].name == "cpu"
