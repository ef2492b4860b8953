"""Advice that can be checked: the dt keeps its tolerance against the reference, twice it not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import saltation as st
from saltation.cli import main
from saltation.numerics.accuracy import Yardstick
from saltation.reference import Pulses, Steps, simulate
from tests.test_cli import refused

POISSON = Pulses.poisson
# Model and input; of pulses and pieces up to when.
PAIRS: dict[str, tuple[Any, Any, float | None]] = {
    "lif": (st.LIF(), 1.5, None),
    "cuba_lif": (st.CubaLIF(), POISSON(1.0, 40.0, charge=3.0, seed=1), 40.0),
    "izhikevich": (st.Izhikevich(), 0.5, None),
    "adex": (st.AdEx(), Steps([0, 15, 30], [1.5, 2.5, 1.2]), 45.0),
    "qif": (st.QIF(), POISSON(2.0, 40.0, charge=0.4, seed=2), 40.0),
    "adlif": (st.AdLIF(), POISSON(1.0, 40.0, charge=4.0, seed=3), 40.0),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_dt_keeps_the_tolerance_and_twice_it_does_not(name: str, full: bool) -> None:
    layer, given, t_end = PAIRS[name]
    tolerance = 0.01 if full else 0.03
    schemes = None if full else ["euler", "exponential"]
    advice = st.recommend(layer, tolerance, [given], t_end, schemes=schemes)
    measure = Yardstick(layer, [given], t_end)
    here = measure(advice.scheme, advice.dt)
    assert 0 < here.worst <= tolerance
    assert here.worst == max(abs(here.rate_error), here.time_error)
    twice = measure(advice.scheme, 2 * advice.dt).given
    assert min(abs(twice.rate), twice.time) > tolerance
    # And smaller ones keep it.
    for share in (0.9, 0.7, 0.45):
        assert measure(advice.scheme, share * advice.dt).worst <= tolerance


def test_against_the_reference_without_our_measure() -> None:
    """LIF under a constant current, left to itself in float64 from rest for 30 spikes."""
    advice = st.recommend(st.LIF(), 0.02, [1.5], schemes=["exponential"])

    def error(dt: float) -> float:
        exact = simulate(st.LIF(), 1.5, 80.0).spike_times[:30]
        x = torch.full((round(80.0 / dt), 1, 1), 1.5, dtype=torch.float64)
        spikes = st.LIF(dt=dt, backend="reference")(x)[:, 0, 0]
        found = dt * (1 + np.flatnonzero(spikes.numpy())[:30])
        return float(abs(exact[-1] / found[-1] - 1))

    assert error(advice.dt) <= 0.02 < error(2 * advice.dt)


def test_the_cheapest_is_first_and_no_scheme_is_beyond_its_limit() -> None:
    advice = st.recommend(st.Izhikevich(), 0.3, [0.5], schemes=["euler", "rk4", "exponential"])
    costs = [one.cost for one in advice.evidence if one.cost is not None and one.is_sharp]
    assert costs == sorted(costs)
    assert advice.scheme == advice.evidence[0].scheme
    for one in advice.evidence:
        assert one.dt is not None
        assert one.dt <= one.dt_limit
    assert str(advice).startswith(f"Izhikevich: scheme '{advice.scheme}', dt = {advice.dt:g} keeps")


def test_a_user_s_neuron_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import saltation as st\n\n\nclass Mine(st.Neuron):\n    tau: float = 3.0\n\n"
        "    def velocity(self, x, v):\n        return ((x - v) / self.tau,)\n"
    )
    main(
        [
            "recommend",
            "--neuron",
            f"{file}:Mine",
            "--tolerance",
            "5%",
            "--input",
            "1.5",
            "--schemes",
            "euler",
        ]
    )
    out = capsys.readouterr().out
    assert "Mine under 1.5, tolerance 5 %" in out
    # Its interval is 3 log 3 = 3.296.
    dt = st.recommend(st.LIF(tau=3.0), 0.05, [1.5], schemes=["euler"]).dt
    assert f"dt = {dt:g} keeps rates and spike times within 5 %" in out
    assert 0.05 * 3.296 / 2 < dt < 4 * 0.05 * 3.296


def test_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    def said(words: str) -> str:
        return refused(capsys, "recommend", *words.split())

    assert "did you mean 'lif'" in said("--neuron lift")
    assert "a number or a percentage, got 'few'" in said("--tolerance few")
    assert "tolerance must be from 0.0001 to 0.5, got 2" in said("--tolerance 2")
    assert "either --input or --poisson" in said("--input 1 --poisson 1 2")
    assert "a rate above 0" in said("--poisson 0 2")
    assert "did you mean 'euler'" in said("--schemes eulr")
    assert "does not spike on and on" in said("--input 0.5")
