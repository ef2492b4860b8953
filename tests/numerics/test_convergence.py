"""How errors fall with dt: the orders that the literature has, for every model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import saltation as st
from saltation.neurons import NEURONS
from saltation.numerics.convergence import (
    errors_of,
    exact,
    fitted_order,
    order_before,
    order_of_times,
    rates,
    solutions,
    steps_before,
)
from tests.facts import ORDERS, lif_interval
from tests.neurons.test_in_step import DRIVES

OURS = sorted(n for n, model in NEURONS.items() if model.__module__.startswith("saltation."))
# Errors of high order are next to rounding at short steps, those of low order want them.
STEPS = {1: (32, 48), 2: (24, 36), 4: (16, 28)}


@pytest.mark.parametrize("name", OURS)
def test_orders_before_the_first_spike(name: str) -> None:
    """1, 1, 2 and 4, within 0.1, for every model."""
    model: Any = NEURONS[name]
    x, _ = DRIVES[name]
    known = exact(model(), [x], 1.5 if x > 10 else 3.0)
    known = known._replace(t_end=known.first)
    finer = 2 if name == "hodgkin_huxley" else 1
    for scheme in ("euler", "symplectic", "rk2", "rk4"):
        if scheme in model.schemes:
            order = ORDERS[scheme]
            lengths = steps_before(known, [finer * n for n in STEPS[order]])
            found = [errors_of(model(dt=dt, scheme=scheme), known) for dt in lengths]
            assert order_before(found).value == pytest.approx(order, abs=0.1), scheme


@pytest.mark.parametrize(
    ("kind", "least", "most"), [("grid", 0.75, 1.25), ("linear", 1.75, 2.25), ("hermite", 3, 4.5)]
)
def test_orders_of_spike_times(kind: str, least: float, most: float) -> None:
    """1 on the grid, 2 by a line, 3 or more by a cubic, with rk4."""
    model: Any = NEURONS["alif"]
    known = exact(model(), np.linspace(2.4, 3.2, 8), 2.5)
    lengths = steps_before(known, (3, 5, 8, 13))
    found = [errors_of(model(dt=dt, scheme="rk4", spike_time=kind), known) for dt in lengths]
    order = order_of_times(found)
    assert least < order.value < most
    assert order.low < order.value < order.high
    assert order.n >= 3


def test_errors_by_hand() -> None:
    """LIF by its exact scheme: before a spike nothing, and each of them late by what is left of a
    step."""
    x, dt = 1.5, 0.25
    period = lif_interval(2.0, 0.0, x, 1.0)
    known = exact(st.LIF(tau=2.0).neuron, [x], 7.0)
    found = errors_of(st.LIF(tau=2.0, dt=dt).neuron, known)
    late = math.ceil(period / dt) * dt
    assert found.state < 1e-14
    assert found.times == pytest.approx(np.mean([k * (late - period) for k in (1, 2, 3)]))
    assert found.rate == pytest.approx(1 - period / late)
    assert found.counts == 0


def test_spikes_that_are_not_there_are_no_small_errors() -> None:
    """Where spikes are missing, or too many, there is no error of times, but one of counts."""
    known = exact(st.LIF(tau=2.0).neuron, [8.0], 6.0)
    found = errors_of(st.LIF(tau=2.0, dt=1.0).neuron, known)
    assert math.isnan(found.times)
    assert math.isnan(found.rate)
    assert found.counts == len(known.times[0]) - 6
    fewer = known._replace(times=[known.times[0][:3]])
    found = errors_of(st.LIF(tau=2.0, dt=0.05).neuron, fewer)
    assert math.isnan(found.times)
    assert found.counts > 3


def test_orders_are_slopes_with_an_interval() -> None:
    dts = [1, 1 / 2, 1 / 4, 1 / 8]
    clean = fitted_order(dts, [3 * dt**2 for dt in dts])
    assert clean == pytest.approx((2, 2, 2, 4))
    noisy = fitted_order(
        dts, [3 * dt**2 * f for dt, f in zip(dts, (1, 1.3, 0.8, 1.1), strict=True)]
    )
    assert noisy.low < 2 < noisy.high
    assert fitted_order(dts, [1.0, 0.25, 1e-14, math.nan], 1e-12).n == 2
    assert math.isnan(fitted_order(dts, [0.0] * 4).value)
    assert str(fitted_order(dts, [0.0] * 4)) == "–"


def test_rates() -> None:
    """Of solutions and of steps, against the closed form; nothing below the threshold."""
    currents = np.array([0.5, 1.5, 3.0])
    expected = [0.0, *(1 / lif_interval(2.0, 0.0, x, 1.0) for x in currents[1:])]
    neuron = st.LIF(tau=2.0, dt=0.05, spike_time="hermite").neuron
    assert rates(neuron, currents, 8.0, stepped=False) == pytest.approx(expected, rel=1e-12)
    assert rates(neuron, currents, 8.0) == pytest.approx(expected, rel=1e-5)


def test_neurons_that_no_current_moves() -> None:
    with pytest.raises(st.SaltationError, match="no constant current from"):
        solutions(st.LIF(v_threshold=1e6).neuron)
    with pytest.raises(st.SaltationError, match=r"does not spike under a current of 0\.5"):
        exact(st.LIF().neuron, [0.5], 10.0)
