"""The warning about an unstable step: when, how often, and what it says."""

from __future__ import annotations

import warnings

import pytest
import torch

import saltation as st


def message(caught: pytest.WarningsRecorder) -> str:
    """The text of the only warning."""
    assert len(caught) == 1
    return str(caught[0].message)


@pytest.mark.parametrize(("scheme", "limit"), [("euler", "4"), ("rk2", "4"), ("rk4", "5.571")])
def test_lif_outside_its_limit(scheme: str, limit: str) -> None:
    """Once, at construction, naming the limit in numbers and in tau, and the way out."""
    with pytest.warns(st.StabilityWarning) as caught:
        layer = st.LIF(tau=2.0, dt=6.0, scheme=scheme)
    text = message(caught)
    assert f"dt <= {limit} (= {float(limit) / 2:.4g} tau)" in text or scheme == "rk4"
    assert f"Use dt <= {limit}" in text
    assert "without a limit: exponential, implicit_euler, trapezoid." in text
    assert text.endswith("for a dt that is both, saltation recommend.")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(torch.ones(3, 2))
        layer.step(torch.ones(2))


def test_the_factor_and_its_sign_are_told() -> None:
    """Euler at z = 3: every step multiplies by -2."""
    with pytest.warns(st.StabilityWarning, match="multiplies it by -2 and changes its sign"):
        st.LIF(tau=2.0, dt=6.0, scheme="euler")


def test_the_warning_points_to_the_line_that_made_the_layer() -> None:
    """Not to a line inside the package."""
    with pytest.warns(st.StabilityWarning) as caught:
        st.LIF(tau=2.0, dt=6.0, scheme="euler")
    assert caught[0].filename == __file__


def test_izhikevich_outside_its_limit() -> None:
    """The default parameters' fast mode is 1/2: with Euler the limit is near 4."""
    limit = st.Izhikevich(scheme="euler").neuron.dt_limit
    with pytest.warns(st.StabilityWarning) as caught:
        st.Izhikevich(scheme="euler", dt=5.0)
    text = message(caught)
    assert f"limit dt <= {limit:.4g}:" in text
    assert "without a limit: exponential, exponential_split, exponential_symplectic." in text


@pytest.mark.parametrize(("scheme", "limit"), [("euler", 4.0), ("rk2", 4.0), ("rk4", 5.5705)])
def test_silent_at_and_inside_the_limit(scheme: str, limit: float) -> None:
    """dt = 2 tau is neutral, not growing; pytest turns the warning into an error."""
    assert st.LIF(tau=2.0, dt=limit, scheme=scheme).neuron.is_stable
    assert st.LIF(tau=2.0, dt=0.1, scheme=scheme).neuron.is_stable


@pytest.mark.parametrize("scheme", ["exponential", "implicit_euler", "trapezoid"])
def test_schemes_without_a_limit_never_warn(scheme: str) -> None:
    """At any step."""
    assert st.LIF(tau=0.01, dt=1e4, scheme=scheme).neuron.is_stable


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_beta_never_warns(beta: float) -> None:
    """A decay per step in [0, 1] cannot grow."""
    assert st.LIF(beta=beta).neuron.is_stable
