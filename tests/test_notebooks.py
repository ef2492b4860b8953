"""The notebooks of the documentation run, and what is stored in them was computed."""

from __future__ import annotations

import ast
import json
import warnings
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from matplotlib import pyplot as plt

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


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


def test_there_are_five() -> None:
    assert len(NOTEBOOKS) == 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_run(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In their order, without a warning, in plain Python; what they end with shows itself."""
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    names: dict[str, Any] = {"__name__": path.stem}
    for number, cell in enumerate(code_cells(path), start=1):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", DeprecationWarning)  # as for every reader
            # The figure of a notebook is shown in it; here there is nowhere to show it.
            warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")
            shown = run("".join(cell["source"]), f"{path.name}, cell {number}", names)
        forms = [getattr(shown, f"_repr_{form}_", None) for form in ("html", "png")]
        known = [form() for form in forms if form is not None]
        assert any(known) or not known, f"cell {number} ends with what does not show itself"
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
