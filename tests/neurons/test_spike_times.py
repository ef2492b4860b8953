"""What a grid does to the times of spikes, as the documentation states it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import saltation as st

D = torch.float64
TAU = 2.0
CURRENTS = torch.linspace(1.3, 2.5, 101, dtype=D)
# Of each scheme: error of v before any spike at dt = 1/4 and 1/16, of the fifth spike also at 1/64.
STATED = {
    "euler": ((3e-2, 7e-3), (0.36, 0.083, 0.022)),
    "rk2": ((1e-3, 8e-5), (0.66, 0.16, 0.039)),
    "rk4": ((1e-6, 4e-9), (0.65, 0.15, 0.039)),
    "exponential": ((0, 0), (0.65, 0.15, 0.039)),
}


def fifth(scheme: str, dt: float) -> Tensor:
    """Error of the fifth spike's time, for all currents."""
    layer = st.LIF(tau=TAU, dt=dt, scheme=scheme)
    counts = layer(CURRENTS.expand(int(18 / dt), 1, len(CURRENTS)))[:, 0].cumsum(0)
    assert counts[-1].min() >= 5
    period = TAU * torch.log(CURRENTS / (CURRENTS - 1))
    return ((counts < 5).sum(0) + 1) * dt - 5 * period


@pytest.mark.parametrize("scheme", st.LIF.neuron_type.schemes)
def test_every_scheme_is_first_order_through_spikes(scheme: str) -> None:
    steps = (1 / 4, 1 / 16, 1 / 64, 1 / 256)
    errors = [float(fifth(scheme, dt).abs().mean()) for dt in steps]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(1, abs=0.05)
    if scheme in STATED:
        assert errors[:3] == pytest.approx(STATED[scheme][1], rel=0.05)


@pytest.mark.parametrize("scheme", STATED)
def test_the_error_before_the_first_spike(scheme: str) -> None:
    for dt, stated in zip((1 / 4, 1 / 16), STATED[scheme][0], strict=True):
        layer = st.LIF(tau=TAU, dt=dt, scheme=scheme)
        v = layer.record(torch.full((int(1 / dt), 1, 1), 1.5, dtype=D)).h
        assert v is not None
        error = abs(float(v[-1]) - 1.5 * -math.expm1(-1 / TAU))
        assert error == pytest.approx(stated, rel=0.35, abs=1e-15)


def test_the_exact_scheme_is_late_by_half_a_step_at_every_spike() -> None:
    late = fifth("exponential", 1 / 64)
    assert 0 <= float(late.min()) <= float(late.max()) <= 5 / 64
    assert float(late.mean()) == pytest.approx(5 / 2 / 64, rel=0.05)
