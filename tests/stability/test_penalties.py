"""Penalties by name, and what minimising them does."""

from __future__ import annotations

import copy
import math
import warnings
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.surrogate import FastSigmoid

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
        ({"samples": 0}, "samples must be an integer of at least 1, got 0"),
        ({"qr_every": 0.5}, "qr_every must be an integer of at least 1, got 0.5"),
        ({"transient": -1}, "transient must be an integer of at least 0, got -1"),
        ({"seed": "a"}, "seed must be an integer of at least 0, got 'a'"),
        ({"target": float("nan")}, "target must be a finite number, got nan"),
        ({"threshold": "2"}, "threshold must be a finite number, got '2'"),
        ({"unbiased": True, "penalty": "hinge"}, r"'hinge' has no unbiased .*squared, floss"),
        ({"unbiased": True, "samples": 1}, "unbiased needs samples of at least 2, got 1"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    """By name, before any work."""
    with pytest.raises(st.SaltationError, match=message):
        st.LyapunovPenalty(**options)


def neuron_by_neuron(samples: int = 6) -> tuple[nn.Module, Tensor]:
    """Samples with exponents of their own: one neuron each, so that λ depends on no perturbation
    that is drawn, only on the input."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 1), st.LIF(beta=0.9))
    with torch.no_grad():
        net[0].weight.fill_(1.0)
    return net, 2 * torch.rand(5, samples, 1)


@pytest.mark.parametrize(
    ("name", "estimator"), [("squared", "telescoped"), ("squared", "tangent"), ("floss", "tangent")]
)
def test_expectations_over_all_pairs_of_samples(name: str, estimator: str) -> None:
    """Of two of N samples: f(mean) + S² / 2 (1 - 2 / N) as it is; unbiased it is f(mean) - S² / N,
    of which the expectation is that of the population's mean, as S² / N is its variance."""
    net, x = neuron_by_neuron()
    with torch.no_grad():
        each = st.lyapunov(net, x).exponents[0].double()
    n, spread = len(each), float(each.var())
    target = TARGET if name == "squared" else 0.0
    whole = (float(each.mean()) - target) ** 2
    options: dict[str, Any] = {"weight": 1.0, "penalty": name, "target": target, "every": 1}
    plain = st.LyapunovPenalty(samples=2, estimator=estimator, **options)
    unbiased = st.LyapunovPenalty(samples=2, estimator=estimator, unbiased=True, **options)
    terms: list[list[float]] = [[], []]
    with torch.no_grad():
        for pair in combinations(range(n), 2):
            for found, penalty in zip(terms, (plain, unbiased), strict=True):
                found.append(float(penalty(net, x[:, list(pair)])))
    means = [sum(found) / len(found) for found in terms]
    assert spread > 1e-3
    assert means[0] == pytest.approx(whole + spread / 2 * (1 - 2 / n), rel=1e-4)
    assert means[1] == pytest.approx(whole - spread / n, rel=1e-4, abs=1e-7)


def test_the_unbiased_gradient_is_its_own() -> None:
    """The variance that is subtracted is differentiated too."""
    net, x = neuron_by_neuron()
    net = net.double()
    weight = next(net.parameters())
    penalty = st.LyapunovPenalty(weight=1.0, every=1, samples=None, unbiased=True)
    (gradient,) = torch.autograd.grad(penalty(net, x.double()), weight)
    each = st.lyapunov(net, x.double()).exponents[0]
    (expected,) = torch.autograd.grad(each.mean() ** 2 - each.var() / len(each), weight)
    torch.testing.assert_close(gradient, expected)
    with pytest.raises(st.SaltationError, match="a batch of at least 2 samples, got 1"):
        penalty(net, x[:, :1].double())


def test_a_rescaled_penalty_has_the_mean_of_one_at_every_call() -> None:
    """Left out, three calls of four are missing in the mean."""
    net, x = neuron_by_neuron()
    means = {}
    for every, rescale in ((1, False), (4, False), (4, True), (1, True)):
        penalty = st.LyapunovPenalty(every=every, rescale=rescale, warmup_epochs=2)
        with torch.no_grad():
            terms = [float(penalty(net, x, epoch)) for epoch in (1, 1, 1, 1, 2, 2, 2, 2)]
        means[every, rescale] = sum(terms) / len(terms)
    assert means[4, False] == pytest.approx(means[1, False] / 4)
    assert means[4, True] == pytest.approx(means[1, False])
    assert means[1, True] == means[1, False]


def test_what_was_lost_or_cut_is_in_the_record_and_said_once() -> None:
    """One line for each, and a number for every call."""
    silent = nn.Sequential(nn.Linear(6, 8), st.LIF(beta=0.0, surrogate="rectangle"))
    x = torch.rand(5, 7, 6)
    with torch.no_grad():
        silent[0].weight.zero_()
        silent[0].bias.zero_()
    penalty = st.LyapunovPenalty(every=1)
    with pytest.warns(UserWarning, match=r"^LyapunovPenalty, call 0: 20 times a .* was lost"):
        penalty(silent, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        penalty(silent, x)
        penalty(silent, x)
    assert [one.floored for one in penalty.history] == [20, 20, 20]
    torch.manual_seed(0)
    chaotic = st.Recurrent(st.LIF(beta=0.9, surrogate=st.surrogate.Sigmoid(2.0)), 16)
    nn.init.normal_(chaotic.weight, std=2.5)
    x = 0.1 * torch.randn(60, 4, 16)
    penalty = st.LyapunovPenalty(every=1)
    with pytest.warns(UserWarning, match="the gradient was cut"):
        penalty(chaotic, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        penalty(chaotic, x)
    assert all(one.cuts > 0 and one.floored == 0 for one in penalty.history)


def test_a_term_that_moves_nothing_says_so() -> None:
    """All weights frozen; without gradients the value is what was asked for."""
    net, x = net_and_input()
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    penalty = st.LyapunovPenalty(every=1)
    with pytest.warns(UserWarning, match="nothing that can be trained moves the exponents"):
        term = penalty(net, x)
    assert not term.requires_grad
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        penalty(net, x)
        with torch.no_grad():
            value = st.LyapunovPenalty(every=1)(net, x)
        with torch.inference_mode():
            other = st.LyapunovPenalty(every=1)(net, x)
    assert float(value) == float(term) == float(other)


def test_a_penalty_goes_on_from_its_state() -> None:
    """Also from a state of four numbers a call, as it was before lost perturbations were kept."""
    net, x = net_and_input()
    penalty = st.LyapunovPenalty(every=2)
    for _ in range(3):
        penalty(net, x)
    state = penalty.state_dict()
    other = st.LyapunovPenalty(every=2)
    other.load_state_dict(state)
    assert other.history == penalty.history
    assert float(other(net, x)) == 0
    assert float(other(net, x).detach()) == pytest.approx(_next(penalty, net, x))
    old = {"calls": 3, "history": [entry[:4] for entry in state["history"]]}
    other.load_state_dict(old)
    assert [one.floored for one in other.history] == [0, 0]
    assert [one[:4] for one in other.history] == old["history"]


def _next(penalty: st.LyapunovPenalty, net: nn.Module, x: Tensor) -> float:
    penalty(net, x)
    return float(penalty(net, x).detach())


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


def test_of_a_convolutional_network_as_in_double_precision() -> None:
    """Convolutions, normalisation and neurons are kernels there that carry both."""
    torch.manual_seed(0)
    form: Any = {"stages": 1, "base_channels": 32, "steps": 3, "batch_norm": "step"}
    network = st.spiking_vgg(3, 10, 8, surrogate=FastSigmoid(2.0), **form)
    x = torch.rand(8, 3, 8, 8)
    found = []
    for net, images in ((network, x), (copy.deepcopy(network).double(), x.double())):
        penalty = st.LyapunovPenalty(weight=1.0, target=-0.1, samples=None)
        term = penalty(net, st.direct(images, 3))
        weights = list(net.stages.parameters())
        options: Any = {"allow_unused": True, "materialize_grads": True}
        found.append([term.detach(), *torch.autograd.grad(term, weights, **options)])
    for one, exact in zip(*found, strict=True):
        assert (one - exact).abs().max() <= 2e-5 * exact.abs().max()
