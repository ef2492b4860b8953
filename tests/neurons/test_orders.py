"""Every scheme's order on strongly nonlinear models, against scipy, and steps through spikes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.integrate
import torch
from numpy.typing import NDArray

import saltation as st
from saltation.neurons import AdExNeuron, HodgkinHuxleyNeuron, Neuron
from tests.facts import ORDERS

F64 = torch.float64

# Model, its parameters, current, and the time to which it does not spike.
SYSTEMS: dict[str, tuple[Any, dict[str, float], float, float]] = {
    # Up the exponential: 1.3 of 1.6, with strong coupling.
    "adex": (AdExNeuron, {"tau_w": 3.0, "a": 0.8, "v_threshold": 1.6}, 1.1, 3.0),
    # Half up an action potential.
    "hodgkin_huxley": (HodgkinHuxleyNeuron, {}, 20.0, 1.1),
}


def solution(neuron: Neuron, x: float, time: float) -> NDArray[Any]:
    """The state at ``time`` from the start under constant current, by scipy at its tightest."""
    start = [float(part) for part in neuron.initial()]
    run = scipy.integrate.solve_ivp(
        lambda t, y: neuron.rates(x, y), (0, time), start, method="DOP853", rtol=1e-13, atol=1e-13
    )
    return np.asarray(run.y[:, -1])


def simulated(neuron: Neuron, x: float, steps: int) -> NDArray[Any]:
    """The state after so many steps."""
    drive = torch.full((1,), x, dtype=F64)
    state = neuron.rest(drive)
    for _ in range(steps):
        spikes, state, _ = neuron.step(drive, state, st.surrogate.Sigmoid())
        assert spikes.sum() == 0
    return torch.cat(state).numpy()


@pytest.mark.parametrize(
    ("system", "scheme"), [(s, n) for s, (model, *_) in SYSTEMS.items() for n in model.schemes]
)
def test_order_of_convergence(system: str, scheme: str) -> None:
    """The fitted order before the first spike is the scheme's, within 0.1.

    That of the variable of lowest order: in turn, the potential alone comes out of order 2.
    """
    model, parameters, x, time = SYSTEMS[system]
    exact = solution(model(**parameters), x, time)
    order = ORDERS[scheme]
    # A step of the exponential of a large Jacobian takes long.
    few = order > 2 or (scheme == "exponential" and system == "hodgkin_huxley")
    counts = np.array([48, 68, 96] if few else [96, 136, 192])
    found = [simulated(model(dt=time / n, scheme=scheme, **parameters), x, n) for n in counts]
    moved = np.abs(exact) > 1e-6  # the threshold of Hodgkin-Huxley does not
    errors = np.abs(np.array(found) - exact)[:, moved]
    assert errors.min() > 1e-12, "above the rounding floor"
    slopes = [-np.polyfit(np.log(counts), np.log(error), 1)[0] for error in errors.T]
    assert min(slopes) == pytest.approx(order, abs=0.1)


def test_far_currents_do_not_reach_what_is_coupled() -> None:
    """Where the potential explodes within a step, w stays where the equations have it: within what
    the threshold can do to it."""
    x = torch.full((1,), 1e4, dtype=F64)
    start = AdExNeuron.State(torch.tensor([0.99], dtype=F64), torch.tensor([0.1], dtype=F64))
    for scheme in AdExNeuron.schemes:
        if scheme == "symplectic_v":  # takes the new v by definition, held at the threshold
            continue
        neuron = AdExNeuron(dt=1.0, scheme=scheme, delta=0.02, v_rheo=0.5)
        h = neuron.integrate(x, start, torch.sign)
        assert h.v.item() > 1
        most = 1.0 / 20 * max(abs(0.1 * v - w) for v in (-1.0, 1.0) for w in (0.0, 0.1))
        assert abs(h.w.item() - 0.1) <= 1.01 * most
