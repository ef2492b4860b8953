"""The penalty on growth over depth: known values, its gradient, and what minimising it does."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.surrogate import Rectangle, Sigmoid, Smooth

STEPS, BETA, HALF_WIDTH = 5, 0.7, 50.0


def linear_chain(*weights: float) -> nn.Sequential:
    """Layers of three neurons that answer in proportion to their potential, each driven by the one
    of its own place: a linear map that is known."""
    modules: list[nn.Module] = []
    for weight in (1.0, *weights):
        line = nn.Linear(3, 3)
        with torch.no_grad():
            line.weight.copy_(weight * torch.eye(3))
            line.bias.fill_(-weight / 2)  # graded spikes are about 1/2: stay where it is linear
        modules += [line, st.LIF(beta=BETA, jump="none", surrogate=Smooth(Rectangle(HALF_WIDTH)))]
    return nn.Sequential(*modules).double()


def growth_by_hand(first: float, second: float) -> list[float]:
    """Of the chain 1, first, second: in layer l the perturbation is k^l binom(t + l, l) β^(t+1)."""
    norms = [
        math.sqrt(sum((math.comb(t + order, order) * BETA ** (t + 1)) ** 2 for t in range(STEPS)))
        for order in range(3)
    ]
    slope = 1 / (2 * HALF_WIDTH)
    gains = [first * slope, second * slope]
    return [math.log(gains[i] * norms[i + 1] / norms[i]) for i in range(2)]


def test_a_linear_chain_has_the_value_that_is_computed_by_hand() -> None:
    """Mean of squared distances from the target, whatever perturbation is drawn."""
    x = torch.rand(STEPS, 6, 3, dtype=torch.float64)
    expected = growth_by_hand(40.0, 250.0)
    for seed in (0, 9):
        penalty = st.DepthPenalty(weight=0.5, target=0.2, seed=seed)
        term = float(penalty(linear_chain(40.0, 250.0), x).detach())
        assert penalty.history[0].growth == pytest.approx(expected, rel=1e-12)
        assert term == pytest.approx(0.5 * sum((g - 0.2) ** 2 for g in expected) / 2, rel=1e-12)


def smooth_network() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    options: dict[str, Any] = {"surrogate": Smooth(Sigmoid(3.0)), "detach_reset": False}
    net = st.spiking_vgg(
        1, 3, 8, stages=3, blocks_per_stage=1, base_channels=2, batch_norm="all", **options
    )
    return net.double(), torch.rand(3, 5, 1, 8, 8, dtype=torch.float64)


def test_the_gradient_is_that_of_finite_differences() -> None:
    """Of every kind of weight, in a network that is smooth as it stands, with normalisation."""
    net, x = smooth_network()

    def term() -> Tensor:
        return st.DepthPenalty(weight=1.0, samples=3)(net, x)

    weights = {name: p for name, p in net.named_parameters() if "readout" not in name}
    gradients = torch.autograd.grad(term(), list(weights.values()))
    for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
        at = int(gradient.abs().argmax())
        flat, eps = weight.data.view(-1), 1e-6
        values = []
        for change in (eps, -2 * eps):
            flat[at] += change
            values.append(float(term().detach()))
        flat[at] += eps
        numeric = (values[0] - values[1]) / (2 * eps)
        assert float(gradient.view(-1)[at]) == pytest.approx(numeric, rel=1e-5), name


@pytest.mark.parametrize("batch_norm", ["step", "all"])
def test_it_is_the_growth_that_is_measured(batch_norm: str) -> None:
    """`depth_growth` of the same samples and perturbation, also where the network is whole."""
    torch.manual_seed(1)
    net = st.spiking_vgg(
        1, 10, 8, stages=2, base_channels=4, batch_norm=batch_norm, surrogate=Sigmoid(2.0)
    )
    x = torch.rand(5, 1, 8, 8)
    penalty = st.DepthPenalty(samples=2, seed=3)
    term = penalty(net, x)
    growth = st.depth_growth(net, x[:2], seed=3).growth.detach().mean(1)
    assert penalty.history[0].growth == pytest.approx(growth.tolist(), rel=1e-5)
    assert float(term.detach()) == pytest.approx(0.1 * float(growth.square().mean()), rel=1e-5)


def test_minimising_it_brings_growth_to_the_target() -> None:
    """From far away, with the samples and perturbations that a training has."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for fan_in in (6, 24, 24, 24):
        layers += [nn.Linear(fan_in, 24), st.LIF(beta=0.9, surrogate=Sigmoid(2.0))]
    net, x = nn.Sequential(*layers), torch.rand(4, 32, 6)
    penalty = st.DepthPenalty(weight=1.0, every=1)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    before = float(st.depth_growth(net, x).growth.detach().mean(1).abs().max())
    for _ in range(60):
        optimizer.zero_grad()
        penalty(net, x).backward()
        optimizer.step()
    assert before > 0.8
    assert float(st.depth_growth(net, x).growth.detach().mean(1).abs().max()) < 0.3


def test_terms_are_due_every_so_often_and_go_on_from_a_state() -> None:
    """Zero in between, a weight that rises over epochs, and the same after a restart."""
    net, x = linear_chain(40.0, 250.0), torch.rand(STEPS, 2, 3, dtype=torch.float64)
    penalty = st.DepthPenalty(every=3, warmup_epochs=4)
    terms = [float(penalty(net, x, epoch).detach()) for epoch in (1, 1, 1, 2, 2)]
    assert [t != 0 for t in terms] == [True, False, False, True, False]
    assert terms[3] == pytest.approx(2 * terms[0], rel=1e-12)
    resumed = st.DepthPenalty(every=3, warmup_epochs=4)
    resumed.load_state_dict(penalty.state_dict())
    assert [float(resumed(net, x, 4).detach()) for _ in range(2)] == pytest.approx(
        [0, 4 * terms[0]], rel=1e-12
    )
    assert resumed.history[:2] == penalty.history


def test_layers_that_nothing_reaches_are_left_out_and_said() -> None:
    """One chain is cut behind the second layer: the ratio in front of the cut remains."""
    net, x = linear_chain(40.0, 250.0, 250.0), torch.rand(STEPS, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        net[4].weight.zero_()  # type: ignore[union-attr, operator]
    penalty = st.DepthPenalty(weight=1.0, every=1)
    with pytest.warns(UserWarning, match="does not reach 2 layers"):
        term = float(penalty(net, x).detach())
    first = growth_by_hand(40.0, 250.0)[0]
    assert term == pytest.approx(first**2, rel=1e-12)
    assert penalty.history[0].lost == 2
    assert [math.isnan(g) for g in penalty.history[0].growth] == [False, True, True]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it was said once
        penalty(net, x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": 0.0}, "weight"),
        ({"target": math.inf}, "target must be a finite number, got inf"),
        ({"every": 0}, "every must be an integer of at least 1, got 0"),
        ({"samples": 1.5}, "samples must be an integer of at least 1, got 1.5"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    """By name, before any work."""
    with pytest.raises(st.SaltationError, match=message):
        st.DepthPenalty(**options)


def test_one_layer_is_refused() -> None:
    """It has no growth from layer to layer."""
    with pytest.raises(st.SaltationError, match="two layers of neurons or more, got one"):
        st.DepthPenalty()(nn.Sequential(nn.Linear(2, 2), st.LIF()), torch.rand(3, 2, 2))
