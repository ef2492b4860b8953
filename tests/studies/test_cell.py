"""The progress of a study in a notebook: one display, whatever happens."""

from __future__ import annotations

import re
import sys
import types
from typing import Any

import pytest

from saltation.studies.engine import progress
from saltation.studies.engine.cell import in_notebook
from saltation.studies.engine.progress import StudyProgress


class Screen:
    """What a notebook would show: the objects displayed, and how often each was drawn anew."""

    def __init__(self) -> None:
        self.shown: list[Any] = []
        self.updates = 0

    def display(self, shown: Any, *, display_id: bool) -> Screen:
        assert display_id
        self.shown.append(shown)
        return self

    def update(self, shown: Any) -> None:
        assert shown is self.shown[-1]
        self.updates += 1


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    found = Screen()
    module = types.ModuleType("IPython.display")
    module.display = found.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    return found


def test_one_display_and_nothing_printed(
    screen: Screen, capsys: pytest.CaptureFixture[str]
) -> None:
    with StudyProgress([1.0] * 20, 2, show=True) as shown:
        for number in range(20):
            shown.begin(number, "<b>lif", 0)
            shown.within(number, 0, 3, 10, 5.0)
            shown.epoch(number, 1, "test 50 %")
            during = screen.shown[0]._repr_html_()
            shown.done(number, "finished, 87.5 %")
    assert len(screen.shown) == 1
    assert "<progress" in during
    (last,) = screen.shown
    after = last._repr_html_()
    assert "<progress" not in after
    assert "trial 20/20  &lt;b&gt;lif  finished, 87.5 %" in after
    assert re.search(r"\.\.\. \d+ lines before", after)
    assert repr(last).count("\n") == 12
    assert "trial 20/20  <b>lif  finished" in repr(last)
    assert capsys.readouterr() == ("", "")


def test_silence(screen: Screen) -> None:
    with StudyProgress([1.0], 1, show=False) as shown:
        shown.begin(0, "lif", 0)
        shown.within(0, 0, 1, 2, 1.0)
        shown.done(0, "finished")
    assert screen.shown == []


def test_only_a_kernel_is_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither plain Python nor IPython's terminal is one."""
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook()
    for shell, expected in (
        (None, False),
        (object(), False),
        (types.SimpleNamespace(kernel=1), True),
    ):
        module = types.ModuleType("IPython")
        module.get_ipython = lambda shell=shell: shell  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "IPython", module)
        assert in_notebook() == expected
