"""The report in a browser: it answers to the pointer, fits, fetches nothing, runs no data."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from saltation.studies.engine.folder import study_of
from saltation.studies.engine.store import RECORD, Store
from saltation.studies.report import write_report
from saltation.studies.report.compare import compare, write_comparison
from tests.studies.browser import CHROMIUM, asked
from tests.studies.recorded import recorded
from tests.studies.test_report import HOSTILE_SVG, IMAGE, OUTCOMES, SCRIPT

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to show pages in"),
    pytest.mark.drawn,
]

USE = """
const rows = () => [...document.querySelectorAll("#trials tbody tr[data-i]")];
const seen_ = () => rows().filter((row) => !row.hidden);
const cell = (row, name) => {
  const heads = [...document.querySelectorAll("#trials thead th")].map((head) => head.textContent);
  return row.cells[heads.indexOf(name)].textContent;
};
const point = (i) => document.querySelector(`.plot [data-i="${i}"]`);
const over = (target) => target.dispatchEvent(new MouseEvent("mouseover", { bubbles: true }));
const control = (name) => [...document.querySelectorAll(".controls label")]
  .find((label) => label.textContent.startsWith(name)).querySelector("select");
const pick = (name, text) => {
  const select = control(name);
  select.value = [...select.options].find((option) => option.textContent === text).value;
  select.dispatchEvent(new Event("change"));
};
const out = {};
out.points = document.querySelectorAll(".plot [data-i]").length;
out.crosses = document.querySelectorAll(".plot .broken").length;
over(point(2));
out.tip = document.querySelector(".tip").textContent;
out.rowOfPoint = cell(document.querySelector("tr.near"), "test accuracy");
over(rows().find((row) => cell(row, "test accuracy") === "91.25").cells[0]);
out.pointOfRow = document.querySelector(".plot .near title").textContent;
point(2).dispatchEvent(new MouseEvent("click", { bubbles: true }));
const section = document.querySelectorAll("details.trial")[2];
out.opened = section.open;
section.dispatchEvent(new Event("toggle"));
out.curves = section.querySelectorAll("figure").length;
out.log = [...section.querySelectorAll("tbody tr")].map((row) => row.textContent);
pick("only scheme", "exponential");
out.filtered = seen_().map((row) => [cell(row, "scheme"), cell(row, "dt")]);
pick("only scheme", "all");
pick("group by", "dt");
out.groups = [...document.querySelectorAll("#trials .group")].map((row) => row.textContent);
pick("group by", "nothing");
const head = [...document.querySelectorAll("#trials th")]
  .find((one) => one.textContent === "test accuracy");
head.firstChild.click();
out.up = seen_().map((row) => cell(row, "test accuracy"));
head.firstChild.click();
out.down = seen_().map((row) => cell(row, "test accuracy"));
let saved;
URL.createObjectURL = (blob) => ((saved = blob), "blob:nothing");
HTMLAnchorElement.prototype.click = () => {};
document.querySelector(".controls button").click();
out.saved = saved.size;
out.page = getComputedStyle(document.body).backgroundColor;
out.text = getComputedStyle(document.querySelector(".drawing text")).fill;
const box = document.querySelector("#trials .scroll");
box.scrollLeft = 1e6;
const [kept, around] = [head.getBoundingClientRect(), box.getBoundingClientRect()];
out.kept = kept.left >= around.left - 1 && kept.right <= around.right + 1;
return out;
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = recorded(tmp_path_factory.mktemp("reports") / "demo", OUTCOMES)
    with Store(study.folder / RECORD) as store:
        study.report(store.trials())
    return write_report(study_of(study.folder))


def test_hover_filter_group_sort_and_save(page: Path, tmp_path: Path) -> None:
    seen = asked(page, USE, tmp_path)
    assert seen["errors"] == seen["blocked"] == seen["fetched"] == []
    found = seen["answer"]
    assert (found["points"], found["crosses"]) == (3, 1)  # one has no epoch
    assert found["tip"] == "lif exponential dt=0.5 seed=0: test accuracy 95.5, finished"
    assert found["rowOfPoint"] == "95.50"
    assert found["pointOfRow"].startswith("lif euler dt=0.5 seed=0: test accuracy 91.25")
    assert found["opened"]
    assert found["curves"] == 1  # of the accuracy; the other numbers do not change
    assert found["log"] == ["10.5850.1251.5", "20.595.50.1251.5"]
    assert found["filtered"] == [["exponential", "0.5"], ["exponential", "5"]]
    assert found["groups"] == [
        "dt 0.5: test accuracy 93.38 ± 3.01 %, mean ± standard deviation of 2 finished",
        "dt 5: no finished trial with a test accuracy",
    ]
    assert found["up"] == ["9.75", "91.25", "95.50", "–"]
    assert found["down"] == ["95.50", "91.25", "9.75", "–"]
    assert found["saved"] > 100
    assert found["kept"]
    assert (found["page"], found["text"]) == ("rgb(246, 247, 249)", "rgb(0, 0, 0)")


def test_what_follows_from_the_setting_across_groups_nothing(tmp_path: Path) -> None:
    """At one time steps follow from dt; the kind of input does not."""
    study = recorded(
        tmp_path / "both",
        [("finished", "", [50.0, 60.0 + n]) for n in range(4)],
        schemes=["exponential"],
        steps=None,
        bio_time=10.0,
        input=["impulse", "held"],
    )
    ask = """
    const labels = [...document.querySelectorAll(".controls label")];
    const chosen = (name) => labels.find((label) => label.textContent.startsWith(name))
      .querySelector("select").selectedOptions[0].textContent;
    return ["across", "group by"].map(chosen);
    """
    assert asked(write_report(study), ask, tmp_path)["answer"] == ["dt", "input"]


def test_it_fits_a_telephone_and_is_dark_where_the_reader_is(page: Path, tmp_path: Path) -> None:
    seen = asked(page, USE, tmp_path, width=400, dark=True)
    assert seen["width"] == 400
    assert seen["overflow"] <= 0
    assert seen["errors"] == seen["blocked"] == []
    assert seen["answer"]["kept"]
    # The ground is dark, what is written in figures is not.
    assert seen["answer"]["page"] == "rgb(15, 19, 24)"
    assert seen["answer"]["text"] == "rgb(230, 233, 237)"


def test_what_is_saved_is_what_the_results_hold(page: Path, tmp_path: Path) -> None:
    ask = """
    let saved;
    const Kept = Blob;
    window.Blob = class extends Kept {
      constructor(parts, options) {
        super(parts, options);
        saved = parts[0];
      }
    };
    HTMLAnchorElement.prototype.click = () => {};
    document.querySelector(".controls button").click();
    return saved;
    """
    study = study_of(page.parent)
    with Store(page.parent / RECORD, reads=True) as store:
        table = study.table(store.trials())
    rows = list(csv.DictReader(io.StringIO(asked(page, ask, tmp_path)["answer"])))
    expected = list(csv.DictReader(io.StringIO(table.to_csv(index=False))))
    assert [list(row) for row in rows] == [list(row) for row in expected]
    for row, other in zip(rows, expected, strict=True):
        for name, text in row.items():
            try:
                assert float(text) == float(other[name])
            except ValueError:
                assert text == other[name].strip("[]"), name


def test_no_data_runs(tmp_path: Path) -> None:
    closing = "</pre></script><script>alert(7)</script>"
    study = recorded(
        tmp_path / f"{SCRIPT} {IMAGE}",
        [("failed", f"{IMAGE}{closing}", []), ("finished", "", [50.0, 60.0])],
        environment={SCRIPT: IMAGE, "kernel": f"reference ({closing})"},
        data_dir=tmp_path / IMAGE / SCRIPT,
    )
    (study.folder / "figures").mkdir()
    (study.folder / "figures" / "x.svg").write_text(HOSTILE_SVG)
    ask = """
    document.querySelectorAll("details").forEach((one) => (one.open = true));
    for (const select of document.querySelectorAll(".controls select")) {
      for (const option of select.options) {
        select.value = option.value;
        select.dispatchEvent(new Event("change"));
      }
    }
    return document.querySelectorAll("img, script").length;
    """
    for path in (
        write_report(study_of(study.folder)),
        write_comparison(tmp_path, compare([study.folder, study.folder])),
    ):
        seen = asked(path, ask, tmp_path)
        # Only scripts that are meant run; a policy has nothing to block, for nothing is there.
        assert seen["alerts"] == seen["blocked"] == seen["fetched"] == seen["errors"] == []
        assert seen["answer"] == 3
