"""Studies side by side: the numbers, the settings that differ, and what is refused."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from saltation.errors import ConfigError, StoreError
from saltation.studies.engine.folder import summary
from saltation.studies.engine.store import RECORD
from saltation.studies.report.compare import compare, write_comparison
from saltation.studies.report.intervals import Interval
from saltation.studies.report.pairs import Difference, Pairs, draw_pairs
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


def test_equal_trials_are_paired_by_seed(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    scores = [80.0, 82.0, 70.0, 71.0, 60.0]
    trials = [(*FINISHED, [50.0, score]) for score in scores]
    settings = {"dt": [0.5, 5.0], "seeds": [0, 1], "schemes": ["euler", "exponential"]}
    recorded(one, trials, **settings)
    more = [
        (*FINISHED, [50.0, score + up]) for score, up in zip(scores, (1, 3, 0, 0, 9), strict=True)
    ]
    more[4] = ("diverged", "no", [50.0, 99.0])
    recorded(other, more, lr=0.01, **settings)
    found = compare([one, other])
    # 1 and 3 have the mean 2, and s / √2 = 1 of it; Student's quantile with one degree is 12.706.
    assert [row[1:] for row in found.differences.rows] == [
        ["dt 0.5", "2", "81.00", "83.00", "+2.00 ± 12.71"],
        ["dt 5", "2", "70.50", "70.50", "+0.00 ± 0.00"],
    ]
    assert found.left == [
        f"{other}: 4 pairs; without an equal in the other are 1 finished trials of the first study "
        "and 0 of the other"
    ]
    assert found.figure is not None
    assert "difference of test accuracy (points)" in found.figure.svg


def test_long_names_are_whole_and_in_the_figure(tmp_path: Path) -> None:
    """In lines: none is cut, and what is drawn beside them keeps its place."""
    setting = "scheme exponential_symplectic, dt 0.123457"
    folder = tmp_path / "_".join(["a_study_of_many_words"] * 6)
    differences = [Difference(setting, 50.0, 51.0, Interval.of([1.0, 1.5]))] * 2
    drawn = draw_pairs([(str(folder), Pairs(differences, ""))])
    assert drawn is not None
    root = ElementTree.fromstring(drawn.svg)
    width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
    texts = {"".join(text.itertext()): text for text in root.iter("text")}
    assert "exponential_symplectic, dt" in " ".join(texts)
    assert "0.123457" in " ".join(texts)
    assert str(folder) in "".join(texts)
    assert all(len(text) < 45 for text in texts if text in str(folder))
    assert width == pytest.approx(5.6 * 72)
    assert height < 3 * 72


def test_trials_of_other_seeds_are_no_pairs(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("other", 1)):
        recorded(tmp_path / name, [(*FINISHED, [50.0, 60.0])], dt=[0.5], seeds=[seed])
    found = compare([tmp_path / "one", tmp_path / "other"])
    assert found.differences.rows == []
    assert found.figure is None
    assert "0 pairs" in found.left[0]


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
    assert page.rows["Equal trials"][1:] == compare(two).differences.rows
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
