"""What objects show in a notebook: figures within, and every text escaped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import saltation as st
from saltation import inline
from saltation.activity.costs import Energy
from saltation.activity.recording import Recording
from saltation.data import Dataset, Split
from saltation.numerics.mapping import Mapping
from saltation.numerics.recommend import Recommendation
from saltation.stability.cure import Cure
from saltation.studies import IntegratorsStudy
from saltation.studies.engine.store import FAILED, FINISHED, RECORD
from tests.studies.recorded import recorded

EVIL = "<script>alert(1)</script>"
SAFE = "&lt;script&gt;"
PICTURE = re.compile(r'<img alt="[^"<]+" style="max-width: 100%" src="data:image/png;base64,\w')


def test_texts_are_escaped() -> None:
    for shown in (inline.text(EVIL), inline.listing([EVIL]), inline.title(EVIL)):
        assert SAFE in shown
        assert "<script" not in shown


def evil_network() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential()
    net.add_module("in", nn.Linear(6, 5))
    net.add_module(EVIL, st.LIF(dt=1.0))
    net.add_module("out", nn.Linear(5, 3))
    return net, torch.rand(4, 8, 6), torch.randint(0, 3, (8,))


def test_a_diagnosis_and_exponents_show_findings_and_figures() -> None:
    net, x, y = evil_network()
    found = st.diagnose(net, x, y, trial=0)
    shown = found._repr_html_()
    assert SAFE in shown
    assert "<script" not in shown
    assert len(PICTURE.findall(shown)) == 1
    assert "λ1" in shown
    exponents = st.lyapunov(net, x)._repr_html_()
    assert PICTURE.search(exponents)
    assert f"{exponents.count('<img')} {exponents.count('<pre')}" == "1 1"


@pytest.mark.parametrize("kind", [Cure, Energy, Mapping, Recommendation, Recording])
def test_what_prints_as_a_table_shows_it(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as the constructor's call with every number in it."""
    monkeypatch.setattr(kind, "__str__", lambda _: EVIL)
    one = tuple.__new__(kind) if issubclass(kind, tuple) else object.__new__(kind)
    shown = one._repr_html_()
    assert SAFE in shown
    assert "<script" not in shown


def test_a_diagnosis_of_weights_that_are_not_finite_says_so() -> None:
    net, x, y = evil_network()
    with torch.no_grad():
        net[0].weight.fill_(float("nan"))  # type: ignore[index]
    shown = st.diagnose(net, x, y)._repr_html_()
    assert "the weight &#x27;in.weight&#x27; is not finite: 30 of 30 values" in shown
    assert "no trial: values are not finite" in shown


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_data_set_shows_its_first_images(channels: int) -> None:
    """Where they are grey or of three colours, and its name as text."""
    split = Split(torch.randint(0, 256, (4, channels, 8, 8)).byte(), torch.arange(4) % 2)
    shown = Dataset(EVIL, split, split, 2)._repr_html_()
    assert SAFE in shown
    assert "<script" not in shown
    assert bool(PICTURE.search(shown)) == (channels != 2)
    assert ("of the classes 0, 1, 0, 1" in shown) == (channels != 2)


def test_sequences_show_in_words() -> None:
    split = Split(torch.rand(4, 7, 5), torch.arange(4) % 2)
    assert "<img" not in Dataset("s", split, split, 2, dt=1.0)._repr_html_()


def test_a_study_shows_how_far_it_is(tmp_path: Path) -> None:
    """Before its first trial, and with trials that failed or finished."""
    fresh = IntegratorsStudy(neurons=["lif"], dt=[0.5], out_dir=tmp_path / "<b>a")
    assert "&lt;b&gt;a: not begun" in fresh._repr_html_()
    assert "<b>a" not in fresh._repr_html_()
    outcomes = [(FAILED, EVIL, [20.0]), (FINISHED, "", [50.0, 87.5])]
    study = recorded(tmp_path / "study", outcomes, dt=[0.5])
    (study.folder / "figures").mkdir()
    (study.folder / "figures" / "accuracy.png").write_bytes(b"no picture, but shown as one")
    shown = study._repr_html_()
    assert "1 failed, 1 finished" in shown
    assert SAFE in shown
    assert "<script" not in shown
    assert "87.5" in shown
    assert PICTURE.search(shown)
    (study.folder / RECORD).write_bytes(b"nothing")
    assert "cannot be opened" in study._repr_html_()


def test_figures_show_themselves_without_pyplot() -> None:
    net = st.spiking_mlp((6, 5, 3), dt=1.0)
    seen = st.record(net, torch.rand(4, 2, 6))
    for figure in (seen.raster(), seen.traces(next(iter(seen.layers)), neurons=[0])):
        assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
