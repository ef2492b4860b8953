"""A network that is given to a study as a function of Python's."""

from __future__ import annotations

import functools
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import saltation as st
from saltation.errors import ConfigError
from saltation.studies import DepthStudy, IntegratorsStudy, RemediesStudy
from saltation.usercode import execute

FILE = """
import math
import saltation as st


def build(shape, classes):
    return st.Sequential(
        st.SpikeLinear(math.prod(shape), 4), st.LIF(), st.SpikeLinear(4, classes), st.Readout()
    )


class Net(st.Sequential):
    def __init__(self, shape, classes):
        super().__init__(*build(shape, classes))
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A user's file, imported."""
    (tmp_path / "of_a_user.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "of_a_user", raising=False)
    return importlib.import_module("of_a_user")


@pytest.mark.parametrize("study", [IntegratorsStudy, DepthStudy, RemediesStudy])
def test_a_function_is_kept_as_its_file_and_name(study: Any, module: Any, tmp_path: Path) -> None:
    """So that the study is that of the same function given as text, whose trials are the same."""
    named = f"{tmp_path / 'of_a_user.py'}:build"
    by_function = study(network=module.build, dataset="digits")
    assert by_function.config.network == named
    assert by_function.trials() == study(network=named, dataset="digits").trials()
    assert study(network=module.Net, dataset="digits").config.network == named[:-5] + "Net"


def wrapped(module: Any) -> Any:
    """A function of another that is not the one of its name."""

    @functools.wraps(module.build)
    def build(shape: Any, classes: Any) -> Any:
        return module.build(shape, classes)

    return build


def in_a_notebook(module: Any) -> Any:
    """A function of no file."""
    names: dict[str, Any] = {"__name__": "__nowhere__"}
    exec("def build(shape): pass", names)
    return names["build"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (lambda module: lambda shape: st.LIF(), "network '<lambda>' cannot be found again by its"),
        (wrapped, "of_a_user.py has another 'build' than the network that was given"),
        (in_a_notebook, r"network 'build' is in no file: .* give 'mine.py:build'"),
        (lambda module: module.build((2,), 2), "or as FILE.py:FUNCTION, got Sequential"),
        (lambda module: functools.partial(module.build, classes=2), "got partial"),
        (lambda module: nn.Module.train, "cannot be found again by its name"),
        (lambda module: 3, "got int"),
    ],
)
def test_what_workers_could_not_find_is_refused(module: Any, given: Any, reason: str) -> None:
    """In one line, with what to do."""
    with pytest.raises(ConfigError, match=reason) as told:
        IntegratorsStudy(network=given(module), dataset="digits")
    assert "\n" not in str(told.value)


def test_a_script_that_runs_its_study_when_it_is_imported_is_refused(tmp_path: Path) -> None:
    """It would run itself again and again; under its guard it runs."""
    study = "from saltation.studies import IntegratorsStudy\nIntegratorsStudy(network=build)\n"
    script = tmp_path / "script.py"
    script.write_text(FILE + study)
    with pytest.raises(ConfigError, match="runs a study of itself when it is imported: put what"):
        execute(script, "script_of_a_user")
    script.write_text(FILE + "if __name__ == '__main__':\n    " + study.replace("\n", "\n    "))
    assert execute(script, "script_of_a_user").build((2,), 2) is not None
