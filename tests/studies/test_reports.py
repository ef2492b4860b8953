"""Tables and figures of the integrators study, and the report on schemes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

import saltation as st
from saltation.studies import draw_schemes, scheme_table
from saltation.studies.integrators.figures import draw_integrators
from saltation.studies.report.tables import integrators_grid

pytestmark = pytest.mark.drawn


def row(scheme: str, dt: float, seed: int, accuracy: float, status: str = "finished") -> Any:
    return {
        "neuron": "lif",
        "scheme": scheme,
        "dt": dt,
        "seed": seed,
        "tau": 2.0,
        "test_accuracy": accuracy,
        "status": status,
    }


def test_grid_shows_mean_spread_instability_and_trouble() -> None:
    results = pd.DataFrame(
        [
            row("euler", 0.5, 0, 90.0),
            row("euler", 0.5, 1, 92.0),
            row("euler", 5.0, 0, 70.0),
            row("euler", 5.0, 1, 9.8, "diverged"),
            row("exponential", 0.5, 0, 91.0),
            row("exponential", 5.0, 0, math.nan, "failed"),
        ]
    )
    grid = integrators_grid(results, "lif")
    assert grid.loc["euler", 0.5] == "91.0 ± 1.4"
    assert grid.loc["euler", 5.0] == "70.0, 1 diverged (9.8) !"
    assert grid.loc["exponential", 0.5] == "91.0"
    assert grid.loc["exponential", 5.0] == "failed"


def record(scheme: str, dt: float, accuracy: list[float], status: str) -> Any:
    settings = {
        "neuron": "lif",
        "scheme": scheme,
        "dt": dt,
        "seed": 0,
        "tau": 2.0,
        "dataset": "digits",
        "readout": "max",
        "epochs": 2,
    }
    epochs = [
        {"epoch": i, "test_accuracy": a, "mean_spike_rate": 0.1} for i, a in enumerate(accuracy, 1)
    ]
    return {"id": f"{scheme}{dt}", "status": status, "settings": settings, "epochs": epochs}


def test_figures_are_drawn_with_their_texts(tmp_path: Path) -> None:
    records = [
        record("euler", 0.5, [80.0, 90.0], "finished"),
        record("euler", 5.0, [50.0], "diverged"),
        record("exponential", 5.0, [80.0, 95.0], "finished"),
    ]
    draw_integrators(records, tmp_path)
    svg = ElementTree.parse(tmp_path / "accuracy.svg")
    texts = {"".join(e.itertext()).strip() for e in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert {"test accuracy (%)", "euler unstable beyond 4", "diverged", "LIF"} <= texts
    assert (tmp_path / "accuracy.png").stat().st_size > 5000


def test_of_one_scheme_kinds_of_input_are_lines_of_one_panel(tmp_path: Path) -> None:
    records = [
        one | {"settings": one["settings"] | {"input": kind}}
        for kind, broken in (("impulse", "finished"), ("held", "diverged"))
        for one in (
            record("euler", 0.5, [80.0, 90.0], "finished"),
            record("euler", 5.0, [50.0], broken),
        )
    ]
    draw_integrators(records, tmp_path)
    svg = ElementTree.parse(tmp_path / "accuracy.svg")
    texts = ["".join(e.itertext()) for e in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("time step dt (same unit as tau)") == 1
    assert {"LIF, euler", "spikes as impulses", "spikes held over a step", "diverged"} <= {*texts}


def test_nothing_to_draw_draws_nothing(tmp_path: Path) -> None:
    draw_integrators([record("euler", 0.5, [], "failed")], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_scheme_table_at_the_limit_of_euler() -> None:
    table = scheme_table("lif", tau=2.0, dt=5.0)
    assert table.loc["euler", ["order", "dt_limit", "stable", "growth"]].tolist() == [
        1,
        pytest.approx(4.0),
        False,
        pytest.approx(1.5),
    ]
    assert table.loc["rk4", "dt_limit"] == pytest.approx(2 * 2.785293563405282)
    # rk3, ssprk3, rk4, the exact one and the two implicit ones.
    assert table["stable"].sum() == 6
    assert table.loc["exponential", "growth"] == pytest.approx(math.exp(-2.5))
    assert bool(table.loc["exponential", "exact"])
    assert bool(scheme_table("cuba_lif").loc["exponential", "exact"])
    assert not scheme_table("izhikevich").loc["exponential", "exact"]


@pytest.mark.parametrize("neuron", st.NEURONS)
def test_scheme_figure_for_every_neuron(neuron: str, tmp_path: Path) -> None:
    png, svg = draw_schemes(tmp_path, neuron, dt=5.0)
    assert png.stat().st_size > 5000
    assert "perturbations of rest grow" in svg.read_text()


def test_scheme_table_refuses_unknown_parameters() -> None:
    with pytest.raises(st.SaltationError, match="did you mean 'tau'"):
        scheme_table("lif", tao=2.0)
