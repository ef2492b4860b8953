"""Figures from a study's table: their numbers are the table's."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from saltation.cli import main
from saltation.errors import SaltationError
from saltation.studies import figures
from saltation.studies.engine.folder import study_of
from saltation.studies.engine.records import contents
from saltation.studies.report.drawing import style_of
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
