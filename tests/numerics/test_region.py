"""Stability away from rest: closed forms, and what the integrators study ran into."""

from __future__ import annotations

import numpy as np
import pytest

import saltation as st
from saltation.numerics.region import bifurcation, overflows, radius, radius_along, radius_region
from saltation.studies.report.region import draw_region


def test_of_a_linear_neuron_it_is_the_same_everywhere() -> None:
    """Euler multiplies by 1 - dt / tau, at every potential."""
    found = radius_region(
        st.LIF(scheme="euler").neuron, np.array([1.0, 5.0]), np.linspace(-9, 1, 5)
    )
    assert found == pytest.approx(np.repeat([[0.5], [1.5]], 5, 1))


def test_of_the_quadratic_neuron_by_hand() -> None:
    """dt / tau a0 (2 v - v_rest - v_c) + 1 for Euler on QIF."""
    q = st.QIF(dt=0.8, scheme="euler").neuron
    v = np.array([[-3.0], [0.2], [0.9]])
    slope = q.a0 * (2 * v[:, 0] - q.v_rest - q.v_c)
    assert radius(q, 0.7, v) == pytest.approx(np.abs(1 + 0.8 / q.tau * slope))
    # Along the exact solution it goes between the values at reset and at threshold.
    along = radius_along(q, 0.6, 20.0)
    slopes = q.a0 * (2 * np.array([0.0, 1.0]) - q.v_rest - q.v_c)
    assert (along.min(), along.max()) == pytest.approx(np.abs(1 + 0.8 / q.tau * slopes), abs=0.02)


@pytest.mark.parametrize("scheme", ["euler", "symplectic", "exponential"])
def test_only_w_after_the_overshoot_overflows(scheme: str) -> None:
    """symplectic_v at dt 2 under -14, inside its limit at rest: 2 < 3.64; the others never."""
    deep = np.array([-60.0, -14.0, -13.0, 0.0])
    fragile = st.Izhikevich(dt=2.0, scheme="symplectic_v").neuron
    assert fragile.dt_limit > 2
    assert overflows(fragile, np.array([2.0]), deep).tolist() == [[True, True, False, False]]
    other = st.Izhikevich(dt=2.0, scheme=scheme).neuron
    assert not overflows(other, np.array([2.0, 3.0]), deep).any()


def test_bifurcation_of_euler() -> None:
    """One point below 2 tau, where v = x; then it swings through the reset."""
    visits = bifurcation(st.LIF(scheme="euler").neuron, np.array([1.0, 4.5]), -2.0)
    assert visits[0] == pytest.approx(-2.0, abs=1e-5)
    assert len(np.unique(visits[1])) > 1
    assert 0.0 in visits[1]


def test_what_is_not_drawn(tmp_path: object) -> None:
    with pytest.raises(st.SaltationError, match="at most 3 variables, and Hodgkin-Huxley has 5"):
        draw_region(tmp_path, st.HodgkinHuxley().neuron, 10.0)  # type: ignore[arg-type]
