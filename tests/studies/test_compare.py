"""Studies side by side: the numbers, the settings that differ, and what is refused."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from saltation.errors import ConfigError, StoreError
from saltation.studies.engine.folder import summary
from saltation.studies.engine.store import RECORD
from saltation.studies.report.compare import compare, write_comparison
from tests.studies.recorded import recorded
from tests.studies.test_report import IMAGE, SCRIPT, Page

FINISHED = ("finished", "")


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    one, other = tmp_path / "one", tmp_path / "other"
    recorded(
        one,
        [(*FINISHED, [50.0, 90.0]), (*FINISHED, [40.0, 94.0]), ("diverged", "no", [99.0])],
    )
    recorded(other, [(*FINISHED, [60.0, 70.0])], dt=[0.5], lr=0.01, data_dir=other)
    return [one, other]


def test_outcomes_by_hand(two: list[Path]) -> None:
    grid = compare(two).outcomes
    assert [column.head for column in grid.columns] == [
        *("run", "study", "trials", "states", "best", "mean ± sd", "seconds"),
    ]
    # The deviation of 90 and 94 is 2 sqrt(2); a diverged trial, at 99, has no part in any of it.
    assert grid.rows == [
        [str(two[0]), "integrators", "4", "2 finished, 1 diverged", "94.00", "92.00 ± 2.83", "8"],
        [str(two[1]), "integrators", "2", "1 finished", "70.00", "70.00", "3"],
    ]


def test_settings_that_differ_and_no_others(two: list[Path]) -> None:
    grid = compare(two).settings
    assert [column.head for column in grid.columns] == ["setting", *map(str, two)]
    assert grid.rows == [
        ["lr", "0.001", "0.01"],
        ["data_dir", "–", str(two[1])],
        ["dt", "0.5, 5", "0.5"],
    ]
    assert compare([two[0], two[0]]).settings.rows == []


def test_a_setting_that_only_one_has(two: list[Path]) -> None:
    path = two[0] / "config.json"
    path.write_text(path.read_text().replace('"tau": 2.0,', ""))
    assert ["tau", "not a setting", "2"] in compare(two).settings.rows


def test_without_a_finished_trial_no_number_is_made_up(tmp_path: Path, two: list[Path]) -> None:
    recorded(tmp_path / "failed", [("failed", "no", [])])
    assert summary(tmp_path / "failed")["states"] == "1 failed"
    assert math.isnan(summary(tmp_path / "failed")["mean"])
    assert compare([*two, tmp_path / "failed"]).outcomes.rows[-1][4:] == ["–", "–", "0"]


def test_the_page(two: list[Path], tmp_path: Path) -> None:
    path = write_comparison(tmp_path / "pages" / "mine.html", compare(two))
    assert path == tmp_path / "pages" / "mine.html"
    page = Page(path)
    assert page.rows["What came out"][1:] == compare(two).outcomes.rows
    assert page.rows["Settings that differ"][1:] == compare(two).settings.rows
    assert "://" not in page.source
    assert write_comparison(tmp_path, compare(two)) == tmp_path / "compare.html"


def test_markup_in_names_and_settings_stays_text(tmp_path: Path) -> None:
    folders = [tmp_path / SCRIPT, tmp_path / IMAGE]
    for folder in folders:
        recorded(folder, [(*FINISHED, [60.0, 70.0])], data_dir=folder)
    page = Page(write_comparison(tmp_path, compare(folders)))
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 1
    assert "img" not in tags
    assert [row[0] for row in page.rows["What came out"][1:]] == list(map(str, folders))
    assert page.rows["Settings that differ"][1] == ["data_dir", *map(str, folders)]


def test_what_is_no_study_is_refused_by_name(two: list[Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=f"no study in {re.escape(str(tmp_path / 'empty'))}"):
        compare([two[0], tmp_path / "empty"])
    with pytest.raises(ConfigError, match="two studies or more, got 1"):
        compare(two[:1])
    (two[1] / RECORD).write_bytes(b"x" * 200)
    with pytest.raises(StoreError, match=re.escape(str(two[1]))):
        compare(two)
    with pytest.raises(ConfigError, match="cannot be written"):
        write_comparison(two[0] / RECORD / "x.html", compare([two[0], two[0]]))
