"""Solutions without a time step, against closed forms, quadrature and a fine grid of its own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad

import saltation as st
from saltation.neurons import Neuron
from saltation.reference import Pulses, Steps, simulate
from tests.facts import lif_interval, lif_relaxation


def rk4(neuron: Any, x: float, state: Any, h: float) -> Any:
    k1 = neuron.rates(x, state)
    k2 = neuron.rates(x, state + h / 2 * k1)
    k3 = neuron.rates(x, state + h / 2 * k2)
    k4 = neuron.rates(x, state + h * k3)
    return state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def first_crossing(neuron: Any, x: float, state: Any, h: float) -> tuple[float, Any]:
    """By fixed steps, the last of them bisected."""

    def gap(u: Any) -> float:
        return float(u[0] - neuron.threshold(*u))

    time = 0.0
    while gap(after := rk4(neuron, x, state, h)) < 0:
        state, time = after, time + h
    low, high = 0.0, h
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if gap(rk4(neuron, x, state, middle)) >= 0 else (middle, high)
    return time + high, rk4(neuron, x, state, high)


@pytest.mark.parametrize("decay_input", [True, False])
def test_lif_has_its_closed_form(decay_input: bool) -> None:
    scale = 1 if decay_input else 1 / 2
    layer = st.LIF(tau=2.0, decay_input=decay_input, v_reset=-0.3)
    found = simulate(layer, 1.5 * scale, t_end=200)
    first = lif_interval(2.0, 0.0, 1.5, 1.0)
    period = lif_interval(2.0, -0.3, 1.5, 1.0)
    count = int((200 - first) / period) + 1
    assert len(found.spike_times) == count
    assert np.abs(found.spike_times - (first + period * np.arange(count))).max() < 1e-11
    v = found(np.array([1.0, first + 0.5]))[:, 0]
    assert v[0] == pytest.approx(lif_relaxation(1.0, 2.0, 0.0, 1.5), abs=1e-14)
    assert v[1] == pytest.approx(lif_relaxation(0.5, 2.0, -0.3, 1.5), abs=1e-12)


@pytest.mark.parametrize(("layer", "x"), [(st.QIF(tau=2.0), 0.5), (st.EIF(tau=2.0), 0.9)])
def test_periods_of_one_variable_are_integrals(layer: Any, x: float) -> None:
    """The time from reset to threshold is the integral of ``1 / f``."""
    neuron = layer.neuron

    def slowness(v: float) -> float:
        return 1 / float(neuron.rates(x, np.array([v]))[0])

    start = float(neuron.initial()[0])
    first, period = (quad(slowness, v, 1, epsrel=1e-12)[0] for v in (start, 0.0))
    found = simulate(layer, x, first + 10.5 * period).spike_times
    assert np.abs(found - (first + period * np.arange(11))).max() < 1e-10


def test_the_period_of_qif_has_a_closed_form() -> None:
    """``tau / r (atan((v_threshold - m) / r) - atan((v_reset - m) / r))``, the parabola's minimum
    at m and r^2 above zero there (Latham et al., 2000)."""
    x, m = 0.5, 0.4
    r = math.sqrt(x - m * m)
    period = 2.0 / r * (math.atan((1 - m) / r) - math.atan(-m / r))
    found = simulate(st.QIF(tau=2.0), x, 20.5 * period).spike_times
    assert np.abs(found - period * np.arange(1, 21)).max() < 1e-10


@pytest.mark.parametrize(
    ("layer", "x", "h"),
    [
        (st.Izhikevich(), 2.0, 2e-3),
        (st.Izhikevich2003(), 10.0, 4e-3),
        (st.AdEx(), 2.0, 4e-3),
        (st.AdLIF(), 4.0, 4e-3),
        (st.ALIF(), 3.0, 4e-3),
        (st.ResonateAndFire(), 0.8, 1e-2),
        (st.HodgkinHuxley(), 30.0, 4e-3),
    ],
)
def test_other_models_against_a_fine_grid(layer: Any, x: float, h: float) -> None:
    """Two spikes, with the model's jump between."""
    neuron = layer.neuron
    start = np.array([float(part) for part in neuron.initial()])
    first, before = first_crossing(neuron, x, start, h)
    expected = [first]
    if not isinstance(layer, st.HodgkinHuxley):
        after = np.array([float(p) for p in neuron.apply_jump(neuron.State(*before), 1.0)])
        expected.append(first + first_crossing(neuron, x, after, h)[0])
    found = simulate(layer, x, expected[-1] + 1e-3)
    assert found.spike_times == pytest.approx(expected, rel=1e-9)
    at = found.times == found.spike_times[0]
    assert found.states[at][0] == pytest.approx(before, rel=1e-8, abs=1e-8)


class Conductance(Neuron):
    """A user's: the input is a conductance, and the threshold goes up and down."""

    tau: float = 2.0
    reversal: float = 3.0

    def velocity(self, x: Any, v: Any, p: Any) -> Any:
        return (x * (self.reversal - v) - v) / self.tau, 1.0 + 0.0 * p

    def threshold(self, v: Any, p: Any) -> Any:
        return self.v_threshold + 0.2 * torch.sin(torch.as_tensor(3.0 * p))

    def initial(self) -> Any:
        return 0.0, 0.0


def test_a_users_model_with_operations_that_have_no_rule() -> None:
    neuron = Conductance()
    first, _ = first_crossing(neuron, 1.0, np.zeros(2), 2e-3)
    found = simulate(neuron, 1.0, 5.0)
    assert found.spike_times[0] == pytest.approx(first, rel=1e-10)
    # A pulse of conductance moves v towards the reversal, by exp(-charge / tau).
    pulsed = simulate(neuron, Pulses([1.0], [0.5]), 2.0)
    v = 3.0 * -math.expm1(-0.25)
    assert pulsed(1.0)[0] == pytest.approx(v, rel=1e-10)
    assert pulsed(2.0)[0] == pytest.approx(v * math.exp(-0.5), rel=1e-10)


@pytest.mark.parametrize(
    "layer", [st.LIF(), st.CubaLIF(), st.Izhikevich(), st.AdEx(), st.ResonateAndFire()]
)
def test_pulses_are_short_currents(layer: Any) -> None:
    """The error of a current in place of a pulse falls with its duration."""
    times, charges = np.array([1.0, 2.5, 4.0, 6.0]), np.array([0.9, 0.8, -0.5, 0.4])
    pulsed = simulate(layer, Pulses(times, charges), 8.0)
    errors = []
    for short in (1e-3, 1e-4):
        ends = np.stack([times, times + short], 1).ravel()
        values = np.stack([charges / short, 0 * charges], 1).ravel()
        held = simulate(layer, Steps([0.0, *ends], [0.0, *values]), 8.0)
        assert len(held.spike_times) == len(pulsed.spike_times)
        errors.append(float(np.abs(held(8.0) - pulsed(8.0)).max()))
    assert errors[1] < 0.15 * errors[0] < 1e-3


def test_inputs_in_pieces() -> None:
    """Steps of the neuron's dt, times and values, and `Steps` are one input."""
    layer = st.CubaLIF(dt=0.5)
    given = [3.0, 0.0, 2.0, 5.0, -1.0, 4.0]
    forms: list[Any] = [
        given,
        torch.tensor(given),
        (np.arange(6) * 0.5, given),
        Steps(np.arange(6) * 0.5, given),
        Pulses([], [], Steps(np.arange(6) * 0.5, given)),
    ]
    found = [simulate(layer, form, 3.0) for form in forms]
    assert len(found[0].spike_times)
    for other in found[1:]:
        assert other.spike_times.tolist() == found[0].spike_times.tolist()
        assert other(1.7).tolist() == found[0](1.7).tolist()


def test_impulses_of_steps_are_pulses() -> None:
    """A neuron whose input is impulses takes the charges of its steps at their beginnings, and a
    layer with an exact scheme has the same potential."""
    given = [0.4, 0.0, 0.9, 0.3]
    layer = st.LIF(dt=0.5, input="impulse")
    found = simulate(layer, given, 2.0)
    pulsed = simulate(st.LIF(), Pulses(np.arange(4) * 0.5, given), 2.0)
    assert found(1.9).tolist() == pulsed(1.9).tolist()
    h = layer.record(torch.tensor(given, dtype=torch.float64)[:, None, None]).h
    assert h is not None
    assert found(2.0)[0] == pytest.approx(float(h[-1]), rel=1e-13)


def test_learned_numbers_are_as_they_are_now() -> None:
    layer = st.PLIF(tau=st.learn(3.0))
    found = simulate(layer, 1.5, 20.0).spike_times
    assert found == pytest.approx(simulate(st.LIF(tau=3.0), 1.5, 20.0).spike_times, rel=1e-6)


def test_a_pulse_at_the_threshold_spikes_at_once() -> None:
    """As often as it brings the charge for, where the threshold is subtracted."""
    for jump, spikes, v in (("hard", 1, 0.0), ("soft", 2, 0.5)):
        found = simulate(st.LIF(tau=2.0, jump=jump), Pulses([1.0], [5.0]), 2.0)
        assert found.spike_times.tolist() == [1.0] * spikes
        assert found(1.0)[0] == v
        assert found(2.0)[0] == pytest.approx(v * math.exp(-0.5), rel=1e-14)


def test_a_peak_between_two_steps_of_the_solver() -> None:
    """A resonator is pushed over its threshold for a moment, or just not."""
    layer = st.ResonateAndFire(b=-0.1, omega=0.5)
    # v = q exp(b t) sin(omega t), largest where tan(omega t) = omega / -b.
    t = math.atan(5.0) / 0.5
    peak = math.exp(-0.1 * t) * math.sin(0.5 * t)
    for above in (1e-3, 1e-6, 1e-8, -1e-8, -1e-6):
        found = simulate(layer, Pulses([0.0], [(1 + above) / peak]), 30.0)
        assert len(found.spike_times) == int(above > 0)
        if above > 0:
            assert 0 < t - found.spike_times[0] < 3 * math.sqrt(above)
    with pytest.raises(st.SaltationError, match="touches its threshold"):
        simulate(layer, Pulses([0.0], [1 / peak]), 30.0)


def test_refractory_time() -> None:
    """The potential waits, the current that drives it does not."""
    period = lif_interval(2.0, 0.0, 1.5, 1.0)
    found = simulate(st.LIF(tau=2.0, dt=0.1, refractory=0.7), 1.5, 20.0).spike_times
    assert np.abs(np.diff(found) - period - 0.7).max() < 1e-12
    cuba = st.CubaLIF(tau=2.0, tau_syn=1.0, dt=0.1, refractory=0.7)
    held = simulate(cuba, Pulses([0.0], [9.0]), 6.0)
    at = held.spike_times[0]
    assert held(at + 0.5)[0] == 0.0
    assert held(at + 0.5)[1] == pytest.approx(9.0 * math.exp(-(at + 0.5)), rel=1e-9)


def test_poisson_pulses() -> None:
    drawn = Pulses.poisson(0.5, 4000.0, charge=2.0, seed=3)
    assert len(drawn.times) == pytest.approx(2000, abs=4 * math.sqrt(2000))
    assert (np.diff(drawn.times) > 0).all()
    assert set(drawn.charges) == {2.0}
    assert Pulses.poisson(0.5, 4000.0, seed=3).times.tolist() == drawn.times.tolist()
    assert Pulses.poisson(0.5, 4000.0, seed=4).times[0] != drawn.times[0]


class Runaway(Neuron):
    def velocity(self, x: Any, v: Any) -> Any:
        return (-(v**2) - 1.0,)

    def initial(self) -> Any:
        return (0.0,)


class Doubler(Neuron):
    def step(self, x: Any, v: Any) -> Any:
        return (2 * v + x,)


class Stuck(Neuron):
    def velocity(self, x: Any, v: Any) -> Any:
        return (x - v,)

    def jump(self, v: Any) -> Any:
        return (v + 0.1,)


@pytest.mark.parametrize(
    ("neuron", "given", "t_end", "says"),
    [
        (Doubler(), 1.0, 1.0, "discrete map"),
        (Runaway(), 1.0, 5.0, "Runaway at time 0 has a solution"),
        (Stuck(), 2.0, 5.0, "spikes without end"),
        (st.LIF(), math.nan, 1.0, "must be finite, got nan"),
        (st.LIF(), [1.0, math.inf], 1.0, "must be finite, got inf"),
        (st.LIF(), 1.0, 0.0, "t_end must be a finite number above 0"),
        (st.LIF(), 1.0, -3, "t_end must be a finite number above 0"),
        (st.LIF(), [1.0, 1.0], 3.0, "ends at 2, before t_end = 3"),
        (st.LIF(), ([0.0, 2.0, 1.0], [1.0, 2.0, 3.0]), 3.0, "must ascend from 0"),
        (st.LIF(), ([0.0, 2.0], [1.0]), 3.0, "2 times and 1 values"),
        (st.LIF(beta=0.9), 1.0, 1.0, "give tau"),
        (st.LIF(jump="soft_delayed"), 1.0, 1.0, "one step late"),
        (st.LIF(jump="none"), 1.0, 1.0, "every step above the threshold"),
        (st.LIF(tau=torch.tensor([1.0, 2.0])), 1.0, 1.0, "tau is a tensor"),
        (torch.nn.Sequential(torch.nn.ReLU(), torch.nn.ReLU()), 1.0, 1.0, "is that of a neuron"),
    ],
)
def test_refusals(neuron: Any, given: Any, t_end: float, says: str) -> None:
    with pytest.raises(st.SaltationError, match=says) as caught:
        simulate(neuron, given, t_end)
    assert "\n" not in str(caught.value)


def test_times_outside_are_refused() -> None:
    found = simulate(st.LIF(), 1.0, 2.0)
    with pytest.raises(st.SaltationError, match=r"known from 0 to 2, asked for 2\.5"):
        found([1.0, 2.5])
    with pytest.raises(st.SaltationError, match="initial state of LIF"):
        simulate(st.LIF(), 1.0, 2.0, initial=(0.0, 1.0))
