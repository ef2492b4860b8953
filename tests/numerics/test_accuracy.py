"""Errors on a grid against exact solutions: where they are known by hand, and their order."""

from __future__ import annotations

import math

import numpy as np
import pytest

import saltation as st
from saltation.numerics.accuracy import NEAR
from saltation.numerics.drives import on_grid, usual
from saltation.reference import Pulses, Steps


@pytest.mark.parametrize("dt", [0.1, 0.5, 1.0])
def test_of_an_exact_scheme_on_lif_is_the_grid_s(dt: float) -> None:
    """Every interval is rounded up to whole steps: tau log(x / (x - 1)) to its ceiling."""
    found = st.accuracy(st.LIF(tau=2.0, dt=dt), [1.5])
    exact = [2 * math.log(1.5 * f / (1.5 * f - 1)) for f in NEAR]
    rates = [t / (dt * math.ceil(t / dt)) - 1 for t in exact]
    assert found.rate_error == pytest.approx(min(rates), abs=1e-4)
    times = [abs(dt * math.ceil(t / dt) - t) / t for t in exact]
    assert found.time_error == pytest.approx(max(times), abs=2e-4)
    assert found.given.rate == pytest.approx(rates[0], abs=1e-4)
    assert found.spikes == 12


@pytest.mark.parametrize("scheme", ["euler", "rk4"])
def test_every_scheme_is_of_first_order_through_spikes(scheme: str) -> None:
    """rk4 as well: from dt 0.4 to 0.025 the error falls sixteenfold, not 65,536-fold."""
    errors = [st.accuracy(st.QIF(dt=dt, scheme=scheme), [0.4]).time_error for dt in (0.4, 0.025)]
    assert 8 < errors[0] / errors[1] < 32


def test_two_pulses_by_hand() -> None:
    """LIF that hardly leaks: pulses of 0.6 tau at 1, 2, 3, ... spike at every second one."""
    pulses = Pulses(np.arange(1.0, 9.0), 0.6 * 200)
    neuron = st.LIF(tau=200.0, dt=0.25)
    found = st.accuracy(neuron, [pulses], t_end=9.0)
    # Each is held over the step that it begins, so spikes are late by a step, and that of an
    # interval of two: of the first by a step of 2.
    assert found.spikes == 4
    assert found.time_error == pytest.approx(0.25 / 2, abs=1e-4)
    assert found.rate_error == pytest.approx(2 / 2.25 - 1, abs=1e-4)


def test_impulses_get_the_charge_of_a_step() -> None:
    """Pulses at beginnings of steps act there; the spike is noticed one step later, each time."""
    pulses = Pulses(np.arange(1.0, 9.0), 0.6 * 200)
    found = st.accuracy(st.LIF(tau=200.0, dt=0.25, input="impulse"), [pulses], t_end=9.0)
    assert found.spikes == 4
    assert found.time_error == pytest.approx(0.25 / 2, abs=1e-4)
    # At twice the dt twice as late: with held input the charge would be that of a current.
    twice = st.accuracy(st.LIF(tau=200.0, dt=0.5, input="impulse"), [pulses], t_end=9.0)
    assert twice.time_error == pytest.approx(0.5 / 2, abs=1e-4)


def test_the_charge_of_an_input_is_kept() -> None:
    drive = Pulses(
        [0.0, 0.3, 0.3, 1.1, 2.0], [1.0, 2.0, 3.0, 4.0, 5.0], Steps([0, 0.5], [1.0, 3.0])
    )
    x = on_grid(drive, 0.0, 0.4, 5)
    # 1 until 0.5, then 3: 0.4, 0.1 + 0.9, 1.2, 1.2, 1.2; a pulse at 2.0 comes after the last step.
    assert 0.4 * x == pytest.approx([0.4 + 6.0, 1.0, 1.2 + 4.0, 1.2, 1.2])
    # A pulse at a later start has acted; the ones after it have not.
    assert 0.4 * on_grid(drive, 0.3, 0.4, 2)[0] == pytest.approx(0.2 + 0.6)


def test_usual_currents_are_multiples_of_the_rheobase() -> None:
    """That of LIF is its threshold. QIF at its own, a0 (v_c - v_rest)^2 / 4, takes for ever."""
    low, high = usual(st.LIF().neuron)
    assert low / 1.3 == pytest.approx(1.0, abs=0.08)
    assert high / low == pytest.approx(2 / 1.3, rel=0.01)
    q = st.QIF().neuron
    least = q.a0 * (q.v_c - q.v_rest) ** 2 / 4
    assert 1.0 < usual(q)[0] / 1.3 / least < 1.5


def test_what_cannot_be_measured() -> None:
    with pytest.raises(st.SaltationError, match="does not spike on and on under the current"):
        st.accuracy(st.LIF(), [0.9])
    with pytest.raises(st.SaltationError, match="needs t_end"):
        st.accuracy(st.LIF(), [Pulses([1.0], [3.0])])
    with pytest.raises(st.SaltationError, match="spikes 1 times up to 9"):
        st.accuracy(st.LIF(), [Pulses([1.0], [3.0])], t_end=9.0)
    with pytest.raises(st.SaltationError, match="accuracy is that of a neuron, got str"):
        st.accuracy("lif")
    with pytest.raises(st.SaltationError, match="with 'linear' spikes have times within a step"):
        st.accuracy(st.LIF(spike_time="linear"))
    with pytest.raises(st.SaltationError, match="takes charges: give Pulses"):
        st.accuracy(st.LIF(input="impulse"), [1.5])
    with pytest.raises(st.SaltationError, match="without refractory"):
        st.accuracy(st.LIF(refractory=2.0))
