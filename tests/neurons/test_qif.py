"""QIF: its rate in closed form, its rheobase, where it rests."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import saltation as st
from saltation.neurons import QIFNeuron
from tests.neurons.runs import intervals, trains


def period(n: QIFNeuron, x: float) -> float:
    """Time from reset to threshold above the rheobase: the integral of dv / (dv/dt)."""
    middle = (n.v_rest + n.v_c) / 2
    root = math.sqrt(x / n.a0 - (n.v_c - n.v_rest) ** 2 / 4)
    ends = (math.atan((v - middle) / root) for v in (n.v_threshold, n.v_reset))
    up, down = ends
    return n.tau / (n.a0 * root) * (up - down)


@pytest.mark.parametrize("scheme", ["exponential", "rk4"])
def test_rate_is_the_closed_form(scheme: str) -> None:
    """All intervals are the solution's, up to a step of the grid."""
    layer = st.QIF(tau=3.0, dt=0.02, scheme=scheme, v_rest=-0.2, v_reset=-0.5, a0=1.5)
    currents = [0.45, 0.8, 2.0]
    for x, train in zip(currents, trains(layer, currents, 120.0), strict=True):
        expected = period(layer.neuron, x)  # type: ignore[arg-type]
        assert np.abs(intervals(train)[1:] - expected).max() < 0.025
        assert intervals(train).mean() == pytest.approx(expected + 0.01, abs=0.01)


def test_rheobase() -> None:
    """a0 (v_c - v_rest)^2 / 4: below it the neuron stays where the current holds it."""
    layer = st.QIF(dt=0.5, v_rest=-0.1, v_c=0.7, a0=2.0)
    least = 2.0 * 0.8**2 / 4
    below, above = trains(layer, [least * 0.999, least * 1.01], 300.0)
    assert len(below) == 0
    assert len(above) > 0


def test_rests_at_v_rest() -> None:
    """Which is stable as long as v_c is above it: the rate there is a0 (v_rest - v_c) / tau."""
    neuron = QIFNeuron(tau=4.0, v_rest=-0.3, v_c=0.5, a0=1.5)
    assert neuron.rest(torch.zeros(2)).v.tolist() == [pytest.approx(-0.3)] * 2
    assert neuron.jacobian.item() == pytest.approx(-1.5 * 0.8 / 4)
    assert not QIFNeuron(v_rest=0.9).is_stable
