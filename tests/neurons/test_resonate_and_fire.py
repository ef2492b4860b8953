"""Resonate-and-fire: its resonance and decay; the balanced form against a plain loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import saltation as st
from saltation.neurons import BalancedResonateAndFireNeuron, ResonateAndFireNeuron
from saltation.schemes import SCHEMES

F64 = torch.float64
B, OMEGA = -0.15, 0.6


def test_it_resonates() -> None:
    """Amplitudes of v under oscillating currents are those of the transfer function, of which the
    largest is at sqrt(omega^2 - b^2)."""
    peak = math.sqrt(OMEGA**2 - B**2)
    tried = torch.tensor([0.5, 0.8, 0.95, 1.0, 1.05, 1.2, 2.0], dtype=F64) * peak
    dt, steps = 0.05, 2400
    t = (torch.arange(steps, dtype=F64)[:, None, None] + 0.5) * dt  # the middles of the steps
    layer = st.ResonateAndFire(dt=dt, b=B, omega=OMEGA, jump="none", v_threshold=1e3)
    h = layer.record(torch.sin(tried * t)).h
    assert h is not None
    found = h[-800:, 0].abs().amax(0).numpy()
    s = 1j * tried.numpy()
    np.testing.assert_allclose(found, np.abs(OMEGA / ((s - B) ** 2 + OMEGA**2)), rtol=5e-3)
    assert found.argmax() == 3


def test_it_decays_and_turns_as_it_should() -> None:
    """Without input z is multiplied by exp((b + i omega) dt), at any step."""
    start = ResonateAndFireNeuron.State(*torch.tensor([[0.1], [0.7]], dtype=F64))
    for dt in (0.1, 1.0, 7.0):
        _, state = st.ResonateAndFire(dt=dt, b=B, omega=OMEGA).step(torch.zeros(1).double(), start)
        z = complex(0.7, 0.1) * np.exp(complex(B, OMEGA) * dt)
        assert (state.u.item(), state.v.item()) == pytest.approx((z.real, z.imag), abs=1e-14)


def test_a_spike_resets_both() -> None:
    h = ResonateAndFireNeuron.State(torch.tensor([1.2, 0.9]), torch.tensor([0.7, 0.7]))
    spikes, after = ResonateAndFireNeuron(v_reset=0.3).fire(h, st.surrogate.Sigmoid())
    assert spikes.tolist() == [1, 0]
    assert after.v.tolist() == pytest.approx([0.3, 0.9])
    assert after.u.tolist() == pytest.approx([0.0, 0.7])


def test_euler_without_balance_grows() -> None:
    """Unless dt < -2 b / (b^2 + omega^2); balanced it neither grows nor decays."""
    assert ResonateAndFireNeuron(b=B, omega=OMEGA, scheme="euler").dt_limit == pytest.approx(
        -2 * B / (B**2 + OMEGA**2), rel=1e-6
    )
    dt, omega = 0.01, 20.0
    balanced = BalancedResonateAndFireNeuron(
        dt=dt, scheme="euler", omega=omega, b=(math.sqrt(1 - (dt * omega) ** 2) - 1) / dt
    )
    oscillation = balanced.jacobian[:2, :2]
    assert SCHEMES["euler"].radius(oscillation, dt) == pytest.approx(1, abs=1e-14)


def test_balanced_against_a_plain_loop() -> None:
    """Of complex numbers, with Euler's steps: a spike raises threshold and damping."""
    dt, omega, tau_q = 0.01, 20.0, 0.1
    b = (math.sqrt(1 - (dt * omega) ** 2) - 1) / dt - 1.0
    layer = st.BalancedResonateAndFire(dt=dt, scheme="euler", omega=omega, b=b, tau_q=tau_q)
    x = 40 * torch.randn(900, 1, dtype=F64, generator=torch.Generator().manual_seed(0))
    z, q, fired = 0j, 0.0, []
    for x_t in x.flatten().tolist():
        z, q = z + dt * (complex(b - q, omega) * z + x_t), q - dt * q / tau_q
        fired.append(float(z.real >= 1 + q))
        q += fired[-1]
    trace = layer.record(x)
    assert 5 < sum(fired) < 300
    assert trace.spikes.flatten().tolist() == fired
    assert complex(trace.state.v.item(), trace.state.u.item()) == pytest.approx(z, rel=1e-11)
