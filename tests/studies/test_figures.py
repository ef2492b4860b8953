"""Figures from a study's table: their numbers are the table's."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.figure import Figure

from saltation.cli import main
from saltation.errors import SaltationError
from saltation.schemes import SCHEMES
from saltation.studies import figures
from saltation.studies.engine.folder import study_of
from saltation.studies.engine.records import contents
from saltation.studies.report.drawing import COLOURS, STYLE, legend_below, scheme_style, style_of
from tests.studies.recorded import recorded

pytestmark = pytest.mark.drawn


@pytest.fixture
def results(tmp_path: Path) -> pd.DataFrame:
    scores = [80.0, 84.0, 70.0, 70.0, 90.0, 92.0]
    outcomes = [("finished", "", [10.0, score]) for score in scores] + [("diverged", "no", [9.0])]
    study = recorded(tmp_path / "a", outcomes, seeds=[0, 1])
    return study.table(contents(study_of(tmp_path / "a")).asked)


def test_means_and_deviations_are_drawn(results: pd.DataFrame) -> None:
    figure = figures.accuracy(results)
    (axes,) = figure.axes
    euler, exponential = (bars.lines[0] for bars in axes.containers)
    assert euler.get_xydata().tolist() == [[0.5, 82.0], [5.0, 70.0]]
    assert exponential.get_xydata().tolist() == [[0.5, 91.0]]  # the diverged trial has no part
    (bar,) = axes.containers[1].lines[2]
    assert bar.get_segments()[0][:, 1] == pytest.approx([91 - 2**0.5, 91 + 2**0.5])
    assert axes.get_xlabel() == "time step dt (same unit as tau)"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["euler", "exponential"]


def test_into_axes_that_are_given_and_of_a_size(results: pd.DataFrame, tmp_path: Path) -> None:
    outer = Figure()
    axes = outer.subplots(1, 2)[1]
    assert figures.accuracy(results, across="seed", by="dt", ax=axes) is outer
    assert axes.get_xlabel() == "seed"
    own = figures.accuracy(results, size=(3, 2))
    assert own.get_size_inches().tolist() == [3, 2]
    own.savefig(tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_mistakes(results: pd.DataFrame) -> None:
    with pytest.raises(SaltationError, match="did you mean 'scheme'"):
        figures.accuracy(results, by="schema")
    with pytest.raises(SaltationError, match="across must be a column of numbers, got 'scheme'"):
        figures.accuracy(results, across="scheme")
    with pytest.raises(SaltationError, match="no finished trial has a test_accuracy"):
        figures.accuracy(results[results["status"] != "finished"])


def test_pdf_where_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = recorded(tmp_path / "a", [("finished", "", [80.0, 90.0])])
    study.report(contents(study).asked)
    assert not list(study.folder.glob("figures/*.pdf"))
    main(["report", str(study.folder), "--pdf"])
    assert f"figures: {study.folder / 'figures'}" in capsys.readouterr().out
    names = sorted(path.stem for path in study.folder.glob("figures/*.pdf"))
    assert names == sorted(path.stem for path in study.folder.glob("figures/*.svg"))


def test_styles_are_told_apart_in_grey() -> None:
    """By dash and marker, however many are compared; the first eight by either."""
    styles = [style_of(place) for place in range(20)]
    assert len({(str(s["linestyle"]), s["marker"]) for s in styles}) == 20
    assert len({str(s["linestyle"]) for s in styles[:8]}) == 8
    assert len({s["marker"] for s in styles[:8]}) == 8


def test_every_scheme_has_a_colour_of_its_own_also_in_the_dark() -> None:
    assert len({scheme_style(scheme)["color"] for scheme in SCHEMES}) == len(SCHEMES)
    style = files("saltation.studies.report") / "templates" / "style.css"
    dark = re.findall(r"--colour-(\d+): (#\w{6})", style.read_text(encoding="utf-8"))
    assert [int(place) for place, _ in dark] == list(range(len(COLOURS)))
    assert len({colour for _, colour in dark}) == len(COLOURS)


@pytest.mark.parametrize("length", [10, 22, 36, 60])
def test_a_legend_is_no_wider_than_its_figure(length: int) -> None:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.6))
        axes = figure.subplots()
        for place in range(4):
            axes.plot([0, 1], [place, 0], label=f"{place}".ljust(length, "n"), **style_of(place))
        legend_below(figure, [axes])
        figure.draw_without_rendering()
        box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
