"""AdEx: the firing patterns of Naud et al. (2008) at their parameters; a step by hand."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import saltation as st
from saltation.neurons import AdExNeuron
from tests.neurons.runs import intervals, trains

# Table 1 of Naud et al.: C (pF), g_L (nS), E_L, V_T, Delta_T (mV), a (nS), tau_w (ms), b (pA),
# V_r (mV), I (pA).
PATTERNS = {
    "tonic": (200, 10, -70, -50, 2, 2, 30, 0, -58, 500),
    "adapting": (200, 12, -70, -50, 2, 2, 300, 60, -58, 500),
    "initial burst": (130, 18, -58, -50, 2, 4, 150, 120, -50, 400),
    "bursting": (200, 10, -58, -50, 2, 2, 120, 100, -46, 210),
    "accelerating": (200, 12, -70, -50, 2, -10, 300, 0, -58, 300),
    "transient": (100, 10, -65, -50, 2, 10, 90, 100, -47, 180),
}


@pytest.fixture(scope="module", params=["rk4", "exponential"])
def spikes(request: pytest.FixtureRequest) -> dict[str, NDArray[np.float64]]:
    """Of all patterns at once, one neuron each, over half a second.

    Up to a threshold of 0 mV, where the upstroke is e^25: w must not follow what a step makes of v.
    """
    rows = [
        torch.tensor(column, dtype=torch.float32) for column in zip(*PATTERNS.values(), strict=True)
    ]
    c, g, e, v_t, delta, a, tau_w, b, v_r, current = rows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", st.UnitWarning)  # 6000 steps in tau_w
        layer = st.AdEx(
        tau=c / g, tau_w=tau_w, dt=0.05, scheme=request.param, delta=delta, a=a / g, b=b / g,
        v_rheo=v_t, v_rest=e, v_threshold=0.0, v_reset=v_r,
    )  # fmt: skip
    return dict(zip(PATTERNS, trains(layer, (current / g).tolist(), 500.0), strict=True))


def test_tonic(spikes: dict[str, NDArray[np.float64]]) -> None:
    """The same interval throughout."""
    between = intervals(spikes["tonic"])
    assert between.max() / between.min() < 1.1
    assert between[8:].max() / between[8:].min() < 1.02


def test_adapting(spikes: dict[str, NDArray[np.float64]]) -> None:
    """Ever longer intervals, several times the first in the end."""
    between = intervals(spikes["adapting"])
    assert (np.diff(between) > -0.11).all()
    assert between[-1] > 2 * between[0]


def test_initial_burst(spikes: dict[str, NDArray[np.float64]]) -> None:
    """A burst at the onset, then single spikes at one interval."""
    between = intervals(spikes["initial burst"])
    assert between[0] < 10
    assert between[-1] > 5 * between[0]
    late = between[between > 5 * between[0]]
    assert late[1:].max() / late[1:].min() < 1.1


def test_bursting(spikes: dict[str, NDArray[np.float64]]) -> None:
    """Bursts of two spikes or more, again and again."""
    between = intervals(spikes["bursting"])
    pauses = between > 3 * between.min()
    assert pauses.sum() >= 3
    assert (~pauses).sum() >= pauses.sum()
    sizes = np.diff(np.flatnonzero(pauses))
    assert (sizes >= 2).all()


def test_accelerating(spikes: dict[str, NDArray[np.float64]]) -> None:
    """A late first spike, and ever shorter intervals: a is below 0."""
    between = intervals(spikes["accelerating"])
    assert spikes["accelerating"][0] > between[-1]
    assert (np.diff(between) < 0.11).all()
    assert between[-1] < 0.9 * between[0]


def test_transient(spikes: dict[str, NDArray[np.float64]]) -> None:
    """Spikes at the onset, none later."""
    assert 0 < len(spikes["transient"]) < 10
    assert spikes["transient"][-1] < 100


def test_a_step_by_hand() -> None:
    """Euler's; then the jump."""
    start = AdExNeuron.State(*torch.tensor([[0.6], [0.3]], dtype=torch.float64))
    layer = st.AdEx(dt=0.5, scheme="euler", v_rest=0.1, v_reset=-0.2, a=0.4, b=0.25)
    spikes, after = layer.step(torch.tensor([9.0]).double(), start)
    v = 0.6 + 0.25 * (-0.5 + 0.2 * math.exp(-1.0) - 0.3 + 9.0)
    assert v > 1
    assert spikes.item() == 1
    assert after.v.item() == pytest.approx(-0.2, rel=1e-15)
    assert after.w.item() == pytest.approx(0.3 + 0.025 * (0.4 * 0.5 - 0.3) + 0.25, rel=1e-14)
