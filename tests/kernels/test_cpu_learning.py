"""Compiled loops of layers that learn without gradients, against plain torch."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor

import saltation as st
from saltation.kernels import competition, dispatch_learning, plasticity, reference
from saltation.kernels.events import SpikeTensor, events_of
from saltation.kernels.plasticity import Pair
from saltation.kernels.reference import Stage
from tests.kernels.test_cpu_chain import added_up

SCHEMES = st.NEURONS["lif"].schemes


def stage(outputs: int, inputs: int, seed: int, grid: bool, **more: Any) -> Stage:
    """A layer at rest with random weights; on a grid every sum of them is exact in any order."""
    noise = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, generator=noise) * 2 / inputs**0.5
    if grid:
        weight = (256 * weight).round() / 256
    layer = st.LIF(dt=0.5, decay_input=False, v_threshold=0.3, **more)
    return layer.stage(weight.T.contiguous().T, None)


def trains(steps: int, batch: int, sites: int, seed: int) -> Tensor:
    """Spike trains of which some are silent and some nearly always on, as an image's are."""
    x = torch.rand(batch, sites, generator=torch.Generator().manual_seed(seed)) * 2 - 0.5
    return st.poisson(x.clamp(0, 1), steps, method="bernoulli", seed=seed)


@settings(max_examples=40)
@given(
    hidden=some.integers(1, 40) | some.integers(120, 140),
    outputs=some.integers(1, 20) | some.sampled_from([127, 128, 129]),
    sites=some.integers(1, 30),
    steps=some.integers(1, 20) | some.integers(60, 70),
    batch=some.integers(1, 5),
    scheme=some.sampled_from(SCHEMES),
    teach=some.sampled_from([0.0, 1.0]),
    threads=some.sampled_from([1, 2, 8]),
    seed=some.integers(0, 50),
)
def test_both_layers_equal_plain_torch(
    hidden: int,
    outputs: int,
    sites: int,
    steps: int,
    batch: int,
    scheme: str,
    teach: float,
    threads: int,
    seed: int,
) -> None:
    """Spikes and counts to the bit."""
    first = stage(hidden, sites, seed, True, scheme=scheme)
    second = stage(outputs, hidden, seed + 1, False, scheme=scheme)
    x = trains(steps, batch, sites, seed)
    taught = torch.zeros(batch, outputs)
    taught[:, seed % outputs] = teach
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours = dispatch_learning.fixed(x, first)
        winners = dispatch_learning.compete(ours.spikes, second, taught)
    finally:
        torch.set_num_threads(before)
    assert type(ours.spikes) is SpikeTensor
    plain = competition.fixed(x.clone(), first)
    assert torch.equal(ours.spikes.clone(), plain.spikes)
    assert torch.equal(ours.counts, plain.counts)
    currents = added_up(plain.spikes, second.weight, None, None) + taught
    start = second.neuron.rest(currents[0])
    spikes = reference.run(second.neuron, second.spike, currents, start).spikes
    expected = competition.winners(currents, spikes)
    if outputs <= 128:
        assert torch.equal(winners.spikes, expected)
    assert torch.equal(winners.counts, winners.spikes.sum(0))


def test_the_layers_of_the_property_test_spike() -> None:
    first, second = stage(40, 20, 0, True), stage(10, 40, 1, False)
    hidden = dispatch_learning.fixed(trains(60, 4, 20, 0), first)
    assert 0.1 < hidden.spikes.clone().mean() < 0.9
    assert (
        0.02
        < dispatch_learning.compete(hidden.spikes, second, torch.zeros(4, 10)).spikes.mean()
        < 0.1
    )


def test_of_equal_currents_the_first_wins() -> None:
    second = stage(5, 8, 0, True)._replace(weight=torch.ones(5, 8))
    x = trains(30, 3, 8, 1)
    for run in (dispatch_learning.compete, competition.compete):
        counts = run(x, second, torch.zeros(3, 5)).counts
        assert (counts[:, 0] > 0).all()
        assert (counts[:, 1:] == 0).all()


def test_a_bias_and_another_model_run_too() -> None:
    """The loops are those of every compiled model."""
    neurons = st.Izhikevich(dt=0.5, scheme="symplectic")
    bias = torch.arange(12) / 16
    first = neurons.stage(torch.full((12, 6), 0.25), bias)
    x = trains(40, 3, 6, 2)
    ours, plain = dispatch_learning.fixed(x, first), competition.fixed(x.clone(), first)
    assert ours.counts.sum() > 0
    assert torch.equal(ours.counts, plain.counts)


def test_spikes_without_bits_still_serve_layers_that_learn_by_gradient() -> None:
    """They hold what a backward pass asks for no more, so the dense product takes over."""
    spikes = dispatch_learning.fixed(trains(40, 4, 20, 3), stage(64, 20, 0, True)).spikes
    linear = st.SpikeLinear(64, 32)
    linear(spikes).square().sum().backward()
    (expected,) = torch.autograd.grad(
        torch.nn.functional.linear(spikes.clone(), linear.weight, linear.bias).square().sum(),
        linear.weight,
    )
    torch.testing.assert_close(linear.weight.grad, expected)


@settings(max_examples=40)
@given(
    hidden=some.integers(1, 40),
    outputs=some.integers(1, 20),
    steps=some.integers(1, 30),
    batch=some.integers(1, 4),
    keep=some.sampled_from([0.0, 0.5, 0.99]),
    a_minus=some.sampled_from([0.0, 0.5, 1.2]),
    threads=some.sampled_from([1, 3]),
    seed=some.integers(0, 50),
)
def test_plasticity_equals_plain_torch_to_rounding(
    hidden: int,
    outputs: int,
    steps: int,
    batch: int,
    keep: float,
    a_minus: float,
    threads: int,
    seed: int,
) -> None:
    """Pair by pair and step by step are sums of the same numbers."""
    noise = torch.Generator().manual_seed(seed)
    pre = trains(steps, batch, hidden, seed)
    post = (torch.rand(steps, batch, outputs, generator=noise) < 0.2).float()
    factor = torch.randint(-1, 2, (steps, batch), generator=noise).float()
    pair = Pair(0.75, a_minus, 0.9, 0.8, keep)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours = dispatch_learning.stdp(pre, post, factor, pair)
    finally:
        torch.set_num_threads(before)
    assert events_of(pre) is not None
    exact = plasticity.run(pre.clone().double(), post.double(), factor.double(), pair)
    torch.testing.assert_close(ours.double(), exact, rtol=1e-5, atol=1e-4)


def test_plasticity_of_plain_spikes_is_the_reference() -> None:
    pre, post = trains(5, 2, 4, 0).clone(), torch.ones(5, 2, 3)
    pair = Pair(1.0, 0.1, 0.9, 0.9, 0.5)
    factor = torch.ones(5, 2)
    assert torch.equal(
        dispatch_learning.stdp(pre, post, factor, pair), plasticity.run(pre, post, factor, pair)
    )
