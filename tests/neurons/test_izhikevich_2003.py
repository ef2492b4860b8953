"""Izhikevich's neuron of 2003: the kinds of cells of his figure 2, his program, where it rests."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import saltation as st
from saltation.neurons import Izhikevich2003Neuron
from tests.neurons.runs import intervals, trains

# a, b, c, d
CELLS = {
    "regular spiking": (0.02, 0.2, -65, 8),
    "intrinsically bursting": (0.02, 0.2, -55, 4),
    "chattering": (0.02, 0.2, -50, 2),
    "fast spiking": (0.1, 0.2, -65, 2),
}


@pytest.fixture(scope="module")
def spikes() -> dict[str, NDArray[np.float64]]:
    """Of all kinds at once, at a current of 10, over 400 ms."""
    a, b, c, d = (
        torch.tensor(column, dtype=torch.float32) for column in zip(*CELLS.values(), strict=True)
    )
    layer = st.Izhikevich2003(dt=0.1, scheme="rk4", a=a, b=b, d=d, v_reset=c)
    return dict(zip(CELLS, trains(layer, [10.0] * 4, 400.0), strict=True))


def test_regular_spiking(spikes: dict[str, NDArray[np.float64]]) -> None:
    """A first interval that is short, then one that stays."""
    between = intervals(spikes["regular spiking"])
    assert between[1:].max() / between[1:].min() < 1.2
    assert between[-1] > 1.5 * between[0]


def test_intrinsically_bursting(spikes: dict[str, NDArray[np.float64]]) -> None:
    """A burst at the onset, then single spikes."""
    between = intervals(spikes["intrinsically bursting"])
    assert (between[:2] < 8).all()
    assert (between[-4:] > 2 * between[:2].max()).all()


def test_chattering(spikes: dict[str, NDArray[np.float64]]) -> None:
    """Bursts of spikes a few ms apart, again and again."""
    between = intervals(spikes["chattering"])
    pauses = between > 20
    assert pauses.sum() >= 4
    assert between[~pauses].max() < 6
    assert (np.diff(np.flatnonzero(pauses)) == 5).all()


def test_fast_spiking(spikes: dict[str, NDArray[np.float64]]) -> None:
    """At a high rate without adaptation."""
    between = intervals(spikes["fast spiking"])
    assert between[2:].max() / between[2:].min() < 1.1
    assert len(spikes["fast spiking"]) > 2.5 * len(spikes["regular spiking"])


def test_his_program() -> None:
    """Euler's steps as in the paper, spikes tested at the end of a step: to rounding."""
    layer = st.Izhikevich2003(dt=0.5, scheme="euler")
    x = 4 + 4 * torch.rand(600, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    v, u, fired = -65.0, -65.0 * 0.2, []
    for x_t in x.flatten().tolist():
        dv = 0.04 * v**2 + 5 * v + 140 - u + x_t
        v, u = v + 0.5 * dv, u + 0.5 * 0.02 * (0.2 * v - u)
        fired.append(float(v >= 30))
        if fired[-1]:
            v, u = -65.0, u + 8
    trace = layer.record(x)
    assert sum(fired) > 3
    assert trace.spikes.flatten().tolist() == fired
    assert trace.state.u.item() == pytest.approx(u, rel=1e-12)


def test_rest() -> None:
    """Where v is -70 and u is b v; beyond b = 0.267 there is none, and the neuron spikes."""
    neuron = Izhikevich2003Neuron()
    assert neuron.fixed_point == pytest.approx((-70.0, -14.0), rel=1e-12)
    assert neuron.is_stable
    restless = st.Izhikevich2003(b=0.3)
    with pytest.raises(st.SaltationError, match=r"no resting state .* b must be below 0\.267"):
        _ = restless.neuron.fixed_point
    assert len(trains(restless, [0.0], 500.0)[0]) > 1
