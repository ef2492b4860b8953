"""The convergence study: its cells, its table and figures, and going on with it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import saltation as st
from saltation.cli import main
from saltation.studies.convergence import report
from saltation.studies.convergence.study import CELLS, Convergence

SMALL = "study convergence --neurons lif --schemes rk4 --dt 0.2 0.1 --currents 1.5 1.7"


def test_the_command_writes_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Table, figures and page; a second run computes nothing again, and one row lost is made."""
    monkeypatch.setenv("COLUMNS", "120")
    words = [*SMALL.split(), "--t-end", "3", "--out-dir", str(tmp_path)]
    main(words)
    told = capsys.readouterr().out
    assert "│ lif    │ rk4" in told
    cells = pd.read_csv(tmp_path / CELLS)
    assert len(cells) == 3 * 2
    rk4 = cells[(cells.scheme == "rk4") & (cells.spike_time == "hermite")]
    assert rk4.times.max() < 1e-5
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3
    assert "before the first spike" in page
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"orders_lif.png", "work_lif.png", "rates.png"} <= drawn

    before = (tmp_path / CELLS).read_text(encoding="utf-8")
    (tmp_path / CELLS).write_text(before[:-20], encoding="utf-8")  # stopped within a row
    monkeypatch.setattr("saltation.studies.convergence.report.draw", lambda *_: [])
    main(words)
    after = pd.read_csv(tmp_path / CELLS)
    assert after.drop(columns="seconds").equals(cells.drop(columns="seconds"))
    assert after.seconds[:-1].equals(cells.seconds[:-1])


def test_orders_as_text() -> None:
    """Exact schemes are called so; the others have an interval."""
    rows = [
        {"neuron": "lif", "scheme": scheme, "spike_time": "grid", "dt": dt}
        | {"state": state * dt, "times": dt}
        for scheme, state in (("exponential", 0.0), ("euler", 1.0))
        for dt in (0.1, 0.2, 0.4)
    ]
    found = report.orders(pd.DataFrame(rows)).set_index("scheme")
    assert found.loc["exponential", "before the first spike"] == "exact"
    assert found.loc["euler", "before the first spike"] == "1.00 ± 0.00"
    assert found.loc["euler", "error, grid"] == "1.0e-01"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"neurons": ("lifx",)}, "did you mean 'lif'"),
        ({"schemes": ("rk5",)}, "unknown scheme 'rk5'"),
        ({"spike_times": ("cubic",)}, "unknown spike_time 'cubic'"),
        ({"schemes": ("symplectic",), "neurons": ("lif",)}, "lif has none of the schemes"),
        ({"dt": (0.0,)}, "above 0"),
        ({"neurons": ()}, "at least one"),
    ],
)
def test_mistakes(settings: dict[str, tuple[object, ...]], says: str) -> None:
    with pytest.raises(st.SaltationError, match=says):
        Convergence(**settings)  # type: ignore[arg-type]


def test_a_table_of_something_else_is_not_taken_for_cells(tmp_path: Path) -> None:
    (tmp_path / CELLS).write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(st.SaltationError, match="no table of this study"):
        Convergence(neurons=("lif",)).run(tmp_path)
