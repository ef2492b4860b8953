"""The report of a study: all of it is there, nothing is fetched, and nothing in it can run."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from saltation.errors import StoreError
from saltation.studies import IntegratorsStudy
from saltation.studies.engine.folder import study_of
from saltation.studies.engine.store import RECORD, Store, trial_id
from saltation.studies.report import write_report
from saltation.studies.report.blocks import Column, Grid, Verbatim, blocks, in_words
from saltation.studies.report.figures import figures_in
from saltation.studies.report.trials import as_data
from tests.studies.recorded import ENVIRONMENT, epoch, recorded

pytestmark = pytest.mark.drawn

OUTCOMES = [
    ("finished", "", [80.0, 91.25]),
    ("diverged", "the gradient is not finite at epoch 1, step 3", [9.75]),
    ("finished", "", [85.0, 95.5]),
    ("failed", "RuntimeError: out of luck", []),
]
SCRIPT, IMAGE = "<script>alert(1)", '"><img src=x onerror=alert(2)>'
# What an element of a page may point to something with.
POINTERS = {"src", "href", "action", "data", "srcset", "poster", "xlink:href"}


class Page(HTMLParser):
    """The elements of a page as browsers see them, and the texts of those that are asked for."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: dict[str, list[list[str]]] = {}
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self._region = ""
        self.feed(self.source)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag == "div":
            self._region = dict(attributes).get("aria-label") or self._region
        if tag == "tr":
            self.rows.setdefault(self._region, []).append([])
        if tag in ("td", "th"):
            self.rows[self._region][-1].append("")
        if tag not in ("meta", "img", "link"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts.setdefault(tag, []).append(data)
        if {"td", "th"} & set(self._open):
            self.rows[self._region][-1][-1] += data

    def text(self, tag: str = "main") -> str:
        return " ".join(" ".join(self.texts.get(tag, [])).split())

    def values(self, attribute: str) -> list[str]:
        return [a[attribute] or "" for _, a in self.elements if attribute in a]


def report(study: IntegratorsStudy, *, figures: bool = False) -> Page:
    if figures:
        with Store(study.folder / RECORD) as store:
            study.report(store.trials())
    return Page(write_report(study_of(study.folder)))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("reports") / "demo"
    return report(recorded(folder, OUTCOMES), figures=True)


def test_every_trial_is_in_it_with_what_came_out(page: Page) -> None:
    head, *trials = page.rows["All trials"]
    assert head[:3] == ["scheme", "dt", "status"]
    accuracy = head.index("test accuracy")
    assert [[*row[:3], row[accuracy]] for row in trials] == [
        ["euler", "0.5", "finished", "91.25"],
        ["euler", "5", "diverged", "9.75"],
        ["exponential", "0.5", "finished", "95.50"],
        ["exponential", "5", "failed", "–"],
    ]
    # Accuracies, then the errors of rate and spike times.
    table = page.rows["Table of the study"]
    assert table[:3] == [
        ["scheme", "dt 0.5", "dt 5"],
        ["euler", "91.2", "diverged (9.8) !"],
        ["exponential", "95.5", "failed"],
    ]
    assert [row[0] for row in table[3:]] == ["scheme", "euler", "exponential"]
    assert all("%" in cell for row in table[4:] for cell in row[1:])
    assert "! outside the scheme's stability limit" in page.text()


def test_it_says_what_was_asked_what_failed_and_how_to_do_it_again(page: Page) -> None:
    assert page.rows["Trials that have not finished"][1:] == [
        ["lif euler dt=5 seed=0", "diverged", OUTCOMES[1][1], "1"],
        ["lif exponential dt=5 seed=0", "failed", OUTCOMES[3][1], "0"],
    ]
    assert "4 2 finished, 1 diverged, 1 failed" in page.text("dd")
    assert "95.50 % lif exponential dt=0.5 seed=0" in page.text("dd")
    assert "best last test accuracy" in page.text("dt")
    assert "is the best on the test set: its test accuracy is too good" in page.text("p")
    assert "schemes euler, exponential" in page.text("dl")
    assert "saltation study integrators --config config.json" in page.text("pre")
    (made,) = page.rows["Versions and environment"][1:]
    assert made == [*ENVIRONMENT.values(), "4"]


def test_it_needs_nothing_but_itself(page: Page) -> None:
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"link", "iframe", "object", "embed", "base", "img"}
    pointers = [v for name in POINTERS for v in page.values(name)]
    assert pointers
    assert all(value.startswith("#") for value in pointers)
    assert "://" not in page.source
    assert "@import" not in page.source
    assert set(re.findall(r"url\((.)", page.source)) == {"#"}


def test_figures_have_ids_of_their_own_and_a_text_alternative(page: Page) -> None:
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    pointed = {value[1:] for value in page.values("href")}
    pointed |= set(re.findall(r"url\(#([^)]+)\)", page.source))
    labels = page.values("aria-labelledby")
    assert len(labels) == 3  # the figures of the study
    assert pointed | {one for label in labels for one in label.split()} <= set(ids)
    assert "test accuracy (%)" in page.text("desc")
    assert "euler unstable beyond 4" in page.text("desc")
    assert page.values("role").count("img") == 3


def test_only_the_script_of_the_page_may_run(page: Page) -> None:
    policy = next(a["content"] or "" for tag, a in page.elements if "http-equiv" in a)
    assert "default-src 'none'" in policy
    (script,) = re.findall(r"<script>(.*?)</script>", page.source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


HOSTILE_SVG = f"""<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
 viewBox="0 0 9 9" onload="alert(3)" id="root"><script>alert(4)</script>
<style>* {{color: red}}</style>
<foreignObject><body xmlns="http://www.w3.org/1999/xhtml"><img src="x"/></body></foreignObject>
<a xlink:href="javascript:alert(5)"><text>gone</text></a><!-- a comment -->
<image xlink:href="https://example.org/x.png"/><use xlink:href="other.svg#a"/>
<rect style="fill: url(https://example.org/#a)" clip-path="url('#quoted')" onclick="alert(6)"/>
<text>{SCRIPT.replace("<", "&lt;")}</text><text>{IMAGE.replace("<", "&lt;")}</text></svg>"""


def test_markup_from_names_reasons_and_configs_stays_text(tmp_path: Path) -> None:
    study = recorded(
        tmp_path / f"{SCRIPT} {IMAGE}",
        [("failed", f"ValueError: {SCRIPT} {IMAGE}</script>", [])],
        environment={SCRIPT: IMAGE, "kernel": f"reference ({SCRIPT})"},
        data_dir=tmp_path / IMAGE / SCRIPT,
    )
    with Store(study.folder / RECORD) as store:
        store.start("0123456789ab", {SCRIPT: IMAGE}, {"kernel": "cpu"})
        store.end("0123456789ab", "failed", IMAGE)
        store.start("ba9876543210", {SCRIPT: IMAGE}, {"kernel": "cpu"})
        store.end("ba9876543210", SCRIPT + IMAGE, IMAGE)  # no status that there is
    figures = study.folder / "figures"
    figures.mkdir()
    (figures / f"{SCRIPT}{IMAGE}.svg").write_text(HOSTILE_SVG)
    (figures / "broken.svg").write_text(f"<svg>{SCRIPT}")
    found = report(study)
    tags = [tag for tag, _ in found.elements]
    assert tags.count("script") == 1
    assert not {"img", "a", "foreignobject"} & set(tags)
    assert tags.count("style") == tags.count("body") == 1
    attributes = {name for _, a in found.elements for name in a}
    assert not [name for name in attributes if name.startswith("on")]
    assert found.values("href") == []
    assert "example.org" not in found.source
    assert "javascript:" not in found.source
    for text in (SCRIPT, IMAGE):
        assert text in found.text("h1")
        assert text in found.text("dl")  # the config
        assert text in found.text("desc")
        assert text in found.text("figcaption")
        assert any(text in cell for cell in found.rows["Trials that have not finished"][1])
        assert any(text in cell for row in found.rows["Versions and environment"] for cell in row)
        assert any(text in cell for cell in found.rows["Trials with other settings"][1])
        assert text in found.text("li")
    assert "The figure “broken” could not be read" in found.text("figcaption")


def test_a_study_of_failures_alone_is_reported(tmp_path: Path) -> None:
    study = recorded(tmp_path / "a", [("failed", f"OSError: {i}", []) for i in range(4)])
    found = report(study, figures=True)
    assert len(found.rows["All trials"]) == 1 + 4
    assert found.rows["Table of the study"][1] == ["euler", "failed", "failed !"]
    assert "best last test accuracy" not in found.text("dt")
    assert "svg" not in {tag for tag, _ in found.elements}


def test_a_study_under_way_and_one_not_begun(tmp_path: Path) -> None:
    under_way = report(recorded(tmp_path / "a", [OUTCOMES[0], ("running", "", [50.0])]))
    assert "4 1 finished, 1 running, 2 not begun" in under_way.text("dd")
    assert "Not begun: lif exponential dt=0.5 seed=0; lif exponential dt=5" in under_way.text("p")
    not_begun = report(recorded(tmp_path / "b", []))
    assert "No trial is recorded yet" in not_begun.text("p")
    assert "4 4 not begun" in not_begun.text("dd")
    done = report(recorded(tmp_path / "c", [OUTCOMES[0]] * 4))
    assert "Nothing: every trial has finished" in done.text("p")
    assert "Not begun" not in done.text()


def test_trials_of_an_earlier_config_stand_apart(tmp_path: Path) -> None:
    study = recorded(tmp_path / "a", [OUTCOMES[0]] * 4)
    with Store(study.folder / RECORD) as store:
        store.start("0123456789ab", {"neuron": "lif", "dt": 0.25}, {"kernel": "cpu"})
        store.add_epoch("0123456789ab", 1, epoch(1, 12.5))
        store.end("0123456789ab", "finished")
    found = report(study)
    assert len(found.rows["All trials"]) == 1 + 4
    (other,) = found.rows["Trials with other settings"][1:]
    assert other == ["finished", "12.50 %", "neuron lif, dt 0.25"]


def test_a_thousand_trials_fit_in_two_megabytes(tmp_path: Path, full: bool) -> None:
    """With all their curves, layers and digits; here a part of them unless all is asked for."""
    seeds, epochs = (63, 20) if full else (2, 5)
    rng, dts = random.Random(0), [0.1, 0.5, 1.0, 5.0, 2.0, 0.2, 0.05, 0.02]
    names = ("train_loss", "train_accuracy", "test_loss", "silent_fraction", "gradient_norm", "lr")
    study = recorded(tmp_path / "a", [], dt=dts, seeds=list(range(seeds)), epochs=epochs)
    with Store(study.folder / RECORD) as store:
        for trial in study.trials():
            store.start(trial_id(trial), trial, ENVIRONMENT)
            for number in range(1, epochs + 1):
                found = epoch(number, 100 * rng.random())
                found |= {name: rng.random() for name in names}
                found["growth_by_layer"] = [rng.random() for _ in range(3)]
                store.add_epoch(trial_id(trial), number, found)
            store.end(trial_id(trial), "finished")
        study.report(store.trials())
    path = write_report(study)
    count = len(study.trials())
    assert count >= 32
    assert len(Page(path).rows["All trials"]) == 1 + count
    # What does not grow with trials is figures, the script and the style.
    assert path.stat().st_size < 250_000 + 1_750 * count


def test_columns_that_say_nothing_stand_in_the_head(page: Page) -> None:
    head = page.rows["All trials"][0]
    assert "readout" not in head
    assert "mean spike rate" not in head
    assert "mean spike rate 0.125 (3 trials have it)" in page.text("dl")
    assert "The same in all trials" in page.text("summary")
    assert "readout max" in page.text("dl")
    assert head[-1] == "id"


def test_data_for_the_script_ends_no_element() -> None:
    text = as_data({"a": "</pre><script>&", "b": [1.5, None]})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"a": "</pre><script>&", "b": [1.5, None]}


def test_colours_of_a_figure_may_follow_the_page_and_pictures_may_not(tmp_path: Path) -> None:
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">'
    path = '<path d="M 0.123456 1" style="stroke: #0072B2; fill: #777777; color: #123456"/>'
    (tmp_path / "a.svg").write_text(f"{head}{path}</svg>")
    (tmp_path / "b.svg").write_text(f"{head}{path}<image/></svg>")
    plain, picture = figures_in(tmp_path)
    assert "stroke: var(--colour-0, #0072b2); fill: var(--grey-7, #777777)" in plain.svg
    assert "color: #123456" in plain.svg
    assert 'd="M 0.12 1"' in plain.svg
    assert (plain.light, picture.light) == (False, True)
    assert "var(" not in picture.svg


def test_a_wide_figure_is_moved_in_its_box_before_it_is_too_small(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text('<svg width="662.4pt"><path d="M 0 0"/></svg>')
    (figure,) = figures_in(tmp_path)
    assert 'style="min-width: 530px"' in figure.svg


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    study = recorded(tmp_path / "a", [])
    (study.folder / "report.html").mkdir()
    with pytest.raises(StoreError, match="was not written"):
        write_report(study)


def test_what_the_terminal_shows_becomes_blocks() -> None:
    table = Table("name", "[b]x[/b]")
    table.columns[1].justify = "right"
    table.add_row("a", Text("[1]"))
    table.add_row("[red]b[/red]", "2")
    first, grid, drawn = blocks(Group(Text("[caption]"), Group(table), Panel("boxed")))
    assert first == "[caption]"
    assert grid == Grid([Column("name"), Column("x", number=True)], [["a", "[1]"], ["b", "2"]])
    assert isinstance(drawn, Verbatim)
    assert "boxed" in drawn


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, "–"), (float("nan"), "–"), (True, "yes"), (False, "no"), (3, "3")),
        *((1e-05, "1e-05"), (0.1 + 0.2, "0.3"), ([0.5, 2.0], "0.5, 2"), ("lif", "lif")),
    ],
)
def test_values_in_words(value: Any, text: str) -> None:
    assert in_words(value) == text


def test_no_figures_no_folder(tmp_path: Path) -> None:
    assert figures_in(tmp_path / "figures") == []
