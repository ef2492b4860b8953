"""Hodgkin-Huxley: rest, threshold of sustained firing, action potentials, the gates' rates."""

from __future__ import annotations

import math

import pytest
import torch

import saltation as st
from saltation.neurons import HodgkinHuxleyNeuron
from tests.neurons.runs import trains

F64 = torch.float64


def test_rest() -> None:
    """-65 mV, where the gates are at the values of 1952; it starts there."""
    neuron = HodgkinHuxleyNeuron()
    v, m, h, n, r = neuron.fixed_point
    assert v == pytest.approx(-65.0, abs=0.01)
    assert (m, h, n, r) == pytest.approx((0.0529, 0.5961, 0.3177, 0.0), abs=3e-4)
    assert neuron.is_stable
    start = neuron.rest(torch.zeros(1, dtype=F64))
    assert [part.item() for part in start] == pytest.approx([-65.0, m, h, n, 0.0], abs=3e-4)


def test_sustained_firing() -> None:
    """From 6.2-6.3 uA/cm^2 on it fires for ever, below it stops after a few spikes; 68 per second
    at 10, once for every action potential."""
    layer = st.HodgkinHuxley(dt=0.025)
    times = trains(layer, [2.0, 6.1, 6.35, 10.0], 500.0)
    assert len(times[0]) == 0
    assert len(times[1]) >= 1
    assert times[1][-1] < 250
    assert times[2][-1] > 470
    assert len(times[3]) / 0.5 == pytest.approx(68, abs=2)


def test_an_action_potential_is_one_spike() -> None:
    """As many spikes as the potential rises through 0, which it does up to 40 mV and more."""
    layer = st.HodgkinHuxley(dt=0.05)
    trace = layer.record(
        torch.full((800, 2), 20.0, dtype=F64) * torch.tensor([0.5, 1.5], dtype=F64)
    )
    assert trace.h is not None
    rises = ((trace.h[1:] >= 0) & (trace.h[:-1] < 0)).sum(0)
    assert rises.min() >= 2
    assert trace.spikes.sum(0).tolist() == rises.tolist()
    assert 35 < trace.h[:, 0].max() < 50
    every = st.HodgkinHuxley(dt=0.05, jump="none").record(torch.full((800, 1), 10.0, dtype=F64))
    assert every.spikes.sum() == (every.h >= 0).sum() > 5 * rises[0]


@pytest.mark.parametrize("v", [-40.0, -55.0, -40.0 + 1e-3, -55.0 - 9.9e-3, -40.0101, 200.0, -200.0])
def test_rates_where_both_sides_vanish(v: float) -> None:
    """x / (1 - exp(-x)) and its derivative at x = 0 and near, against their series; and far."""
    neuron = HodgkinHuxleyNeuron()
    at = torch.tensor([v], dtype=F64, requires_grad=True)
    zero = torch.zeros(1, dtype=F64)
    opening = neuron.velocity(0.0, at, zero, zero, zero, zero)
    for which, of_v, factor in ((1, v + 40, 1.0), (3, v + 55, 0.1)):
        x = max(min(v, 150.0), -150.0) + (of_v - v)
        x /= 10
        exact = 1 + x / 2 + x**2 / 12 if abs(x) < 2e-3 else x / -math.expm1(-x)
        assert opening[which].item() == pytest.approx(factor * exact, rel=1e-13)
        (slope,) = torch.autograd.grad(opening[which].sum(), at, retain_graph=True)
        if abs(x) < 2e-3:
            assert slope.item() == pytest.approx(factor / 10 * (0.5 + x / 6), rel=1e-6)
        assert slope.isfinite().all()


@pytest.mark.parametrize(
    ("scheme", "steps"), [("exponential_split", 100), ("exponential", 10), ("rk4", 100)]
)
def test_nothing_overflows(scheme: str, steps: int) -> None:
    """Currents of both signs, in float32, with gradients."""
    layer = st.HodgkinHuxley(dt=0.02, scheme=scheme, backend="reference")
    far = 300.0 if "split" in scheme else 10.0  # beyond, steps of 0.02 are too long for gates
    x = torch.tensor([-far, 0.0, 30.0, 10 * far]).repeat(steps, 1, 1).requires_grad_()
    spikes, state = layer(x, layer.rest(x[0]))
    assert all(part.isfinite().all() for part in state)
    assert spikes[:, 0, 2].sum() == (steps == 100)
    assert torch.autograd.grad(spikes.sum(), x)[0].isfinite().all()
