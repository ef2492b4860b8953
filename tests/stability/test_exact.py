"""Exponents of the equations themselves, with exact spike times."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import saltation as st
from saltation.stability.exact import Run

D = torch.float64


def constant(x: float, steps: int) -> Tensor:
    return torch.full((steps, 1), x, dtype=D)


@pytest.mark.parametrize("decay_input", [True, False])
def test_a_periodic_neuron_keeps_its_phase(decay_input: bool) -> None:
    """What the flow forgets between two spikes, exp(-P / tau), the jump gives back, f+ / f-; left
    is what was forgotten since the last."""
    tau, dt, steps, x = 2.0, 0.5, 40, 1.5
    scale = 1 if decay_input else 1 / tau
    layer = st.LIF(tau=tau, dt=dt, decay_input=decay_input)
    found = st.true_exponents(layer, constant(scale * x, steps))
    period = tau * math.log(x / (x - 1))
    time = steps * dt
    spikes = int(time / period)
    assert found.settings["spikes"] == spikes
    expected = -(time - spikes * period) / tau / time
    assert float(found.exponent) == pytest.approx(expected, abs=1e-9)


def test_below_threshold() -> None:
    """-1 / tau, and -1 / tau_syn too where there is a synapse."""
    assert float(st.true_exponents(st.LIF(tau=3.0), constant(0.5, 9)).exponent) == pytest.approx(
        -1 / 3
    )
    pair = st.true_exponents(st.CubaLIF(tau=2.0, tau_syn=5.0), constant(0.5, 400)).spectrum
    assert pair.tolist() == pytest.approx([-1 / 5, -1 / 2], abs=2e-2)
    assert float(pair.sum()) == pytest.approx(-1 / 5 - 1 / 2, abs=1e-9)


@pytest.mark.parametrize("jump", ["hard", "soft"])
@pytest.mark.parametrize(
    "layer", [st.LIF, st.CubaLIF, st.Izhikevich], ids=["lif", "cuba_lif", "izhikevich"]
)
def test_tangents_against_two_solutions(layer: Any, jump: str) -> None:
    """The volume of the frame after spikes at other times, from solutions begun a little apart."""
    model = layer(tau=2.0, dt=1.0, jump=jump).neuron
    currents = np.array([1.7, 2.3, 1.4, 2.9, 1.6, 2.2])
    rest = np.array([float(part) for part in model.rest(torch.zeros((), dtype=D))])
    frame = np.eye(len(rest))
    run = Run(model, currents, rest, frame)
    assert run.spikes >= 2
    eps = 1e-5
    ends = [
        (
            Run(model, currents, rest + eps * m, frame).state
            - Run(model, currents, rest - eps * m, frame).state
        )
        / (2 * eps)
        for m in frame
    ]
    expected = math.log(abs(np.linalg.det(np.stack(ends, 1))))
    assert run.growth.sum() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (st.LIF(beta=0.9), constant(1, 3), "give tau and not beta"),
        (st.LIF(jump="none"), constant(1, 3), "jumps 'hard' or 'soft'"),
        (st.LIF(), torch.ones(3), r"\[T, B\]"),
        (st.LIF(), torch.ones(3, 1, dtype=torch.int64), "floating-point"),
    ],
)
def test_what_has_no_exponents_is_refused(layer: Any, x: Tensor, message: str) -> None:
    with pytest.raises(st.SaltationError, match=message):
        st.true_exponents(layer, x)
    with pytest.raises(st.SaltationError, match="transient"):
        st.true_exponents(st.LIF(), constant(1, 3), transient=3)
