"""The notebooks of the documentation run, and what is stored in them was computed."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import warnings
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from matplotlib import pyplot as plt

from saltation.studies import Study

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?")
# What differs from run to run, or has no words: addresses, pictures and marks of HTML.
PASSING = re.compile(r"(?: object)? at 0x[0-9a-f]+|<(svg|style)\b.*?</\1>|<[a-z/][^>]*>", re.DOTALL)


def code_cells(path: Path) -> list[dict[str, Any]]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run(source: str, name: str, names: dict[str, Any]) -> Any:
    """Run a cell; the value of the expression it ends with."""
    tree = ast.parse(source, name)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec", dont_inherit=True), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), name, "eval", dont_inherit=True), names)


def compare(text: str, stored: str, clock: bool) -> None:
    now, before = (PASSING.sub(" ", one) for one in (text, stored))
    assert NUMBER.sub("#", now).split() == NUMBER.sub("#", before).split()
    if not clock:
        for one, other in zip(NUMBER.findall(now), NUMBER.findall(before), strict=True):
            assert float(one) == pytest.approx(float(other), rel=0.05, abs=0.01)


def test_there_are_five() -> None:
    assert len(NOTEBOOKS) == 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_run(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In their order, without a warning, in plain Python; what they end with shows itself, and they
    print what is stored: the same words, and numbers within 5 % but for those of a clock."""
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    names: dict[str, Any] = {"__name__": path.stem}
    for number, cell in enumerate(code_cells(path), start=1):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", DeprecationWarning)  # as for every reader
            # The figure of a notebook is shown in it; here there is nowhere to show it.
            warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                shown = run("".join(cell["source"]), f"{path.name}, cell {number}", names)
        forms = [getattr(shown, f"_repr_{form}_", None) for form in ("html", "png")]
        known = [form() for form in forms if form is not None]
        assert any(known) or not known, f"cell {number} ends with what does not show itself"
        clock = "perf_counter" in "".join(cell["source"]) or isinstance(shown, Study)
        for output in cell["outputs"]:
            if output["output_type"] == "stream":
                compare(printed.getvalue(), "".join(output["text"]), clock)
            elif output["output_type"] == "execute_result":
                form = "html" if "text/html" in output["data"] else "plain"
                text = shown._repr_html_() if form == "html" else repr(shown)
                compare(text, "".join(output["data"][f"text/{form}"]), clock)
    plt.close("all")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_those_of_a_whole_run(path: Path) -> None:
    """Cells were run once each, from the first to the last; none failed or warned."""
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {"stream", "execute_result", "display_data"} >= {one["output_type"] for one in outputs}
    assert not [one for one in outputs if one.get("name") == "stderr"]
    assert path.stat().st_size < 400_000
