"""Penalties by name, and what minimising them does."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st

C, TARGET = 0.5, -0.1

VALUES = {
    "squared": lambda v: (v - TARGET) ** 2,
    "hinge": lambda v: max(0, v) ** 2,
    "asymmetric": lambda v: max(0, v) ** 2 + 0.1 * max(0, -v - 1) ** 2,
    "extreme": lambda v: max(0, v - C) ** 2,
    "adaptive_linear": lambda v: max(0, v - C) ** 3,
    "adaptive_exp": lambda v: (math.exp(max(0, v - C)) - 1) * max(0, v - C),
    "adaptive_sigmoid": lambda v: (v - TARGET) ** 2 / (1 + math.exp(-(v - C) / 0.5)),
    "mult_linear": lambda v: max(0, v) ** 2,
    "mult_squared": lambda v: max(0, v) ** 3,
    "mult_log": lambda v: math.log(1 + max(0, v)) * max(0, v),
    "floss": lambda v: v**2,
}


def test_there_are_eleven() -> None:
    """Those of the table, and no others."""
    assert list(st.PENALTIES) == list(VALUES)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("value", [-2.0, -0.3, 0.2, 1.7])
def test_values_by_hand(name: str, value: float) -> None:
    """Every formula, written in plain numbers."""
    got = st.PENALTIES[name](torch.tensor([value], dtype=torch.float64), TARGET, C)
    assert float(got) == pytest.approx(VALUES[name](value), abs=1e-12)


def test_floss_takes_the_mean_of_squares() -> None:
    """Over the first k exponents."""
    got = st.PENALTIES["floss"](torch.tensor([1.0, -2.0, 3.0]), 0.0, 0.0)
    assert float(got) == pytest.approx(14 / 3)


def net_and_input() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), st.LIF(dt=0.5), nn.Linear(8, 4), st.LIF(dt=0.5))
    return net, 5 * torch.rand(5, 7, 6)


def test_terms_are_due_every_so_often_and_warm_up() -> None:
    """Zero in between; the weight rises linearly; every estimate is logged with its error."""
    net, x = net_and_input()
    penalty = st.LyapunovPenalty(weight=2.0, every=3, samples=4, warmup_epochs=4)
    terms = [float(penalty(net, x, epoch).detach()) for epoch in (1, 1, 1, 2, 2, 2, 9)]
    assert [t != 0 for t in terms] == [True, False, False, True, False, False, True]
    first, second, third = penalty.history
    assert [m.call for m in penalty.history] == [0, 3, 6]
    for measured, share in ((first, 0.25), (second, 0.5), (third, 1.0)):
        assert measured.term == pytest.approx(2 * share * measured.exponent**2, rel=1e-5)
        assert 0 < measured.standard_error < 1
    assert terms[0] == pytest.approx(first.term)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty": "square"}, "penalty"),
        ({"estimator": "benettin"}, "estimator"),
        ({"weight": -1.0}, "weight"),
        ({"every": 0}, "every"),
        ({"k": 3}, "floss"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    """By name, before any work."""
    with pytest.raises(st.SaltationError, match=message):
        st.LyapunovPenalty(**options)


@pytest.mark.parametrize("gain", [0.5, 3.0])
def test_minimising_the_square_moves_a_recurrent_network_to_zero(gain: float) -> None:
    """From decay and from chaos to within 0.02 of λ = 0, by gradient descent on λ² alone."""
    torch.manual_seed(0)
    net = st.Recurrent(st.LIF(beta=0.9, surrogate=st.surrogate.Sigmoid(2.0)), 32)
    with torch.no_grad():
        net.weight.normal_(0, gain / 32**0.5)
    x = 0.3 * torch.rand(20, 8, 32)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    penalty = st.LyapunovPenalty(
        weight=1.0, penalty="floss", estimator="tangent", every=1, samples=None, transient=5
    )
    for _ in range(40):
        optimizer.zero_grad()
        penalty(net, x).backward()
        optimizer.step()
    with torch.no_grad():
        after = float(st.lyapunov(net, x, transient=5, seed=99).exponent)
    assert abs(penalty.history[0].exponent) > 0.08
    assert abs(after) < 0.02


def test_a_target_draws_a_deep_network_during_training() -> None:
    """Twelve layers, cross-entropy plus a squared penalty with target -0.1."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(12):
        linear = nn.Linear(24, 24)
        with torch.no_grad():
            linear.weight *= 4
        layers += [linear, st.LIF(beta=0.9, surrogate=st.surrogate.Sigmoid(4.0))]
    net = nn.Sequential(*layers, nn.Linear(24, 4))
    x, y = 2 * torch.rand(6, 16, 24), torch.randint(0, 4, (16,))
    penalty = st.LyapunovPenalty(weight=1.0, target=-0.1, every=1, samples=None)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x).mean(0), y) + penalty(net, x)
        loss.backward()
        optimizer.step()
    first, last = penalty.history[0].exponent, penalty.history[-1].exponent
    assert first > 0
    assert abs(last + 0.1) < 0.4 * abs(first + 0.1)
