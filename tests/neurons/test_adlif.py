"""adLIF: its published schemes by hand, their limits, and the decay that they keep or lose."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import torch

import saltation as st
from saltation.neurons import AdLIFNeuron

F64 = torch.float64


def radius(scheme: str, a: float, dt: float, tau: float, tau_w: float) -> float:
    """Largest eigenvalue of the step that the neuron makes."""
    step = AdLIFNeuron(tau, dt, scheme, tau_w=tau_w, a=a).affine_step
    assert step is not None
    return float(np.abs(np.linalg.eigvals(np.array(step.m))).max())


def limit(scheme: str, dt: float, tau: float, tau_w: float) -> float:
    """The largest a at which no mode grows."""
    return scipy.optimize.brentq(
        lambda a: radius(scheme, a, dt, tau, tau_w) - 1 - 1e-12, 1.0, 1e5, xtol=1e-9, rtol=1e-12
    )


# dt, tau, tau_w: limits of split and symplectic as SPEC rounds them.
LIMITS = [(1.0, 25.0, 60.0, 85.0, 6001), (1.0, 5.0, 60.0, 65.0, 1204), (5.0, 5.0, 60.0, None, 52)]


@pytest.mark.parametrize(("dt", "tau", "tau_w", "split", "symplectic"), LIMITS)
def test_limits(
    dt: float, tau: float, tau_w: float, split: float | None, symplectic: float
) -> None:
    """Of a, to 1e-5 of the formulas, and as published."""
    alpha, beta = math.exp(-dt / tau), math.exp(-dt / tau_w)
    both = (1 - alpha) * (1 - beta)
    found = limit("exponential_split", dt, tau, tau_w)
    assert found == pytest.approx((1 - alpha * beta) / both, rel=1e-5)
    assert split is None or round(found, 1) == split
    found = limit("exponential_symplectic", dt, tau, tau_w)
    assert found == pytest.approx((1 + alpha) * (1 + beta) / both, rel=1e-5)
    assert round(found) == symplectic


@pytest.mark.parametrize("scheme", ["exponential", "exponential_symplectic"])
@pytest.mark.parametrize("dt", [0.1, 1.0, 2.0])
def test_oscillations_decay_as_they_do(scheme: str, dt: float) -> None:
    """Per unit of time, at every step: the determinant of a step is alpha beta."""
    exact = math.exp(-(1 / 25 + 1 / 60) / 2)
    assert exact == pytest.approx(0.97206, abs=5e-6)
    assert radius(scheme, 120.0, dt, 25.0, 60.0) ** (1 / dt) == pytest.approx(exact, rel=1e-12)


def test_the_split_scheme_diverges() -> None:
    """At a = 120 and dt = 1 by 1.01128 per unit of time, and warns."""
    assert radius("exponential_split", 120.0, 1.0, 25.0, 60.0) == pytest.approx(1.01128, abs=5e-6)
    with pytest.warns(
        st.StabilityWarning, match="joint oscillation of v and w .* 0.9721 ± 0.2786i, so it grows"
    ):
        st.AdLIF(tau=25.0, tau_w=60.0, a=120.0, scheme="exponential_split")


def test_steps_by_hand() -> None:
    """w from the old v, or from the new one; the exact step by scipy's exponential."""
    start = AdLIFNeuron.State(torch.tensor([0.4], dtype=F64), torch.tensor([0.3], dtype=F64))
    alpha, beta = math.exp(-0.5 / 3), math.exp(-0.5 / 7)
    v = alpha * 0.4 + (1 - alpha) * (2.0 - 0.3)
    matrix = np.array([[-1 / 3, -1 / 3, 2 / 3], [1.5 / 7, -1 / 7, 0], [0, 0, 0]])
    exact = scipy.linalg.expm(0.5 * matrix) @ [0.4, 0.3, 1.0]
    for scheme, expected in {
        "exponential_split": (v, beta * 0.3 + (1 - beta) * 1.5 * 0.4),
        "exponential_symplectic": (v, beta * 0.3 + (1 - beta) * 1.5 * v),
        "exponential": tuple(exact[:2]),
        "symplectic_v": (0.4 + 0.5 / 3 * 1.3, 0.3 + 0.5 / 7 * (1.5 * (0.4 + 0.5 / 3 * 1.3) - 0.3)),
        "symplectic": (0.4 + 0.5 / 3 * (1.6 - (0.3 + 0.5 / 7 * 0.3)), 0.3 + 0.5 / 7 * 0.3),
    }.items():
        layer = st.AdLIF(tau=3.0, tau_w=7.0, dt=0.5, a=1.5, scheme=scheme)
        spikes, state = layer.step(torch.tensor([2.0], dtype=F64), start)
        assert spikes.item() == 0
        assert (state.v.item(), state.w.item()) == pytest.approx(expected, rel=1e-14)
