"""ALIF: its threshold rises with a spike and falls back with its time constant."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import saltation as st
from tests.neurons.runs import intervals, trains

F64 = torch.float64


def test_the_threshold_decays() -> None:
    """After one spike by exp(-t / tau_a): a current is just enough, or not, at the known time."""
    layer = st.ALIF(tau=0.5, tau_a=15.0, dt=0.5, beta=0.6)
    pulse = torch.zeros(60, 2, dtype=F64)
    pulse[0] = 1e3
    at = 40
    threshold = 1 + 0.6 * math.exp(-at * 0.5 / 15)
    pulse[at] = torch.tensor([0.999, 1.001], dtype=F64) * threshold / -math.expm1(-1)
    trace = layer.record(pulse)
    assert trace.spikes[0].tolist() == [1, 1]
    assert trace.spikes[1:at].sum() == 0
    assert trace.spikes[at].tolist() == [0, 1]
    assert trace.states.a[at, 0].item() == pytest.approx(math.exp(-at * 0.5 / 15), rel=1e-13)
    assert trace.states.a[at, 1].item() == pytest.approx(1 + math.exp(-at * 0.5 / 15), rel=1e-13)


def test_intervals_lengthen() -> None:
    """Under constant current, up to where a spike adds what an interval takes."""
    layer = st.ALIF(tau=10.0, tau_a=100.0, dt=0.05, beta=0.2)
    (train,) = trains(layer, [2.5], 600.0)
    between = intervals(train)
    assert (np.diff(between) > -0.06).all()
    assert between[-1] > 1.5 * between[0]
    a = 1 / math.expm1(between[-1] / 100)  # just before a spike, in the end
    assert between[-1] == pytest.approx(10 * math.log(2.5 / (2.5 - 1 - 0.2 * a)), abs=0.12)


def test_soft_jumps_subtract_the_threshold_as_it_is() -> None:
    """Raised by earlier spikes; a rises in hard and soft jumps alone."""
    start = (torch.tensor([0.5], dtype=F64), torch.tensor([2.0], dtype=F64))
    for jump, v, a in (("hard", -0.5, 1.0), ("soft", None, 1.0), ("none", None, 0.0)):
        layer = st.ALIF(jump=jump, v_reset=-0.5)
        trace = layer.record(torch.full((1, 1), 9.0, dtype=F64), start)
        assert trace.h is not None
        decayed = 2 * math.exp(-1 / 20)
        taken = 1 + 0.2 * decayed if jump == "soft" else 0.0
        expected = trace.h.item() - taken if v is None else v
        assert trace.state.v.item() == pytest.approx(expected, rel=1e-14)
        assert trace.state.a.item() == pytest.approx(decayed + a, rel=1e-14)
    with pytest.raises(st.SaltationError, match="unknown ALIF jump 'soft_delayed'"):
        st.ALIF(jump="soft_delayed")
