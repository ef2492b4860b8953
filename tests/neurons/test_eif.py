"""EIF: its rate by quadrature, its rheobase, and no overflow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import torch

import saltation as st
from saltation.neurons import EIFNeuron
from tests.neurons.runs import intervals, trains


@pytest.mark.parametrize("scheme", ["exponential", "rk4"])
def test_rate_is_the_integral(scheme: str) -> None:
    """All intervals are the integral of dv / (dv/dt) from reset to threshold, up to a step."""
    layer = st.EIF(tau=5.0, dt=0.02, scheme=scheme, v_reset=-0.2, delta=0.1)
    currents = [0.9, 1.2, 2.0]
    for x, train in zip(currents, trains(layer, currents, 150.0), strict=True):

        def pace(v: float, x: float = x) -> float:
            return 5.0 / (-v + 0.1 * math.exp((v - 0.8) / 0.1) + x)

        expected = scipy.integrate.quad(pace, -0.2, 1.0)[0]
        assert np.abs(intervals(train)[1:] - expected).max() < 0.025


def test_rheobase() -> None:
    """v_rheo - v_rest - delta, and where the current is a little less the potential is v_rheo."""
    layer = st.EIF(dt=0.5, v_rest=-0.1, v_rheo=0.7, delta=0.15)
    least = 0.8 - 0.15
    below, above = trains(layer, [least * 0.999, least * 1.01], 400.0)
    assert len(below) == 0
    assert len(above) > 0


def test_rests_where_nothing_changes() -> None:
    """Above v_rest by what the exponential adds."""
    neuron = EIFNeuron(v_rest=0.2, delta=0.3)
    (v,) = neuron.fixed_point
    assert v > 0.2
    assert -(v - 0.2) + 0.3 * math.exp((v - 0.8) / 0.3) == pytest.approx(0, abs=1e-14)


PUBLISHED = {"v_rheo": -50.0, "v_rest": -70.0, "v_reset": -58.0, "v_threshold": 0.0, "delta": 2.0}


@pytest.mark.parametrize("units", [{}, PUBLISHED], ids=["own", "mV"])
@pytest.mark.parametrize("model", ["EIF", "AdEx"])
def test_nothing_overflows(model: str, units: dict[str, float]) -> None:
    """In float32 and in every scheme, also where currents are a hundred thresholds, and where
    potentials that do not jump stay above the threshold; nor do gradients."""
    make: Any = getattr(st, model)
    scale = units.get("v_threshold", 1.0) - units.get("v_rest", 0.0)
    x = scale * torch.tensor([1.0, 3.0, 100.0, -100.0]).repeat(6, 1, 1)
    for scheme in make.neuron_type.schemes:
        for jump in make.neuron_type.jumps if not units else ("hard", "none"):
            layer = make(dt=0.5, scheme=scheme, jump=jump, backend="reference", **units)
            given = x.clone().requires_grad_()
            spikes, state = layer(given, layer.rest(x[0]))
            assert all(part.isfinite().all() for part in state)
            assert spikes[..., 2].sum() > 0
            (gradient,) = torch.autograd.grad(spikes.sum(), given)
            assert gradient.isfinite().all()


@pytest.mark.parametrize("make", [st.EIF, st.AdEx])
def test_bad_parameters_are_refused(make: Any) -> None:
    """An exponential that is none, or that float32 does not hold."""
    for delta in (0.0, -0.1, torch.tensor([0.1, 0.0])):
        with pytest.raises(st.SaltationError, match="delta must be above 0, got"):
            make(delta=delta)
    with pytest.raises(st.SaltationError, match=r"at most 60 delta above v_rheo, .* got 200 delta"):
        make(delta=0.001)
