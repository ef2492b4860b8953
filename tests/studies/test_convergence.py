"""The convergence study: its cells, its table and figures, and going on with it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import saltation as st
from saltation.cli import main
from saltation.cli.terminal import console
from saltation.studies.convergence import report
from saltation.studies.convergence.study import CELLS, CONDITIONS, Convergence
from saltation.studies.engine.config import CONFIG
from saltation.studies.engine.untrained import untrained_study_of

pytestmark = pytest.mark.drawn

SMALL = "study convergence --neurons lif --schemes rk4 --dt 0.2 0.1 --currents 1.5 1.7"


def test_the_command_writes_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Table, figures and page; a second run computes nothing again, and one row lost is made."""
    monkeypatch.setattr(console, "width", 120)
    tmp_path = tmp_path / "run"
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
    assert "LIF: before the first spike at most order 4." in page
    assert "missing" not in page
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"orders_lif.png", "work_lif.png", "rates.png"} <= drawn

    before = (tmp_path / CELLS).read_text(encoding="utf-8")
    (tmp_path / CELLS).write_text(before[:-20], encoding="utf-8")  # stopped within a row
    monkeypatch.setattr("saltation.studies.convergence.report.draw", lambda *_: [])
    main(["runs", str(tmp_path.parent)])
    assert "convergence │ 6      │ 5 computed, 1 missing" in capsys.readouterr().out
    main(["report", str(tmp_path)])
    assert "1 of 6 cells are missing" in (tmp_path / "report.html").read_text(encoding="utf-8")
    main(["resume", str(tmp_path)])  # its settings are those that were given at first
    after = pd.read_csv(tmp_path / CELLS)
    assert after.drop(columns="seconds").equals(cells.drop(columns="seconds"))
    assert after.seconds[:-1].equals(cells.seconds[:-1])


def test_what_is_of_networks_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Commands about networks and trials say in a line that there are none."""
    (tmp_path / CONFIG).write_text('{"study": "convergence", "neurons": ["lif"]}')
    own = '{"lif": {"currents": "1.5", "t_end": 3.0, "dt": [0.1]}}'
    (tmp_path / CONDITIONS).write_text(f'{{"conditions": {own}, "environment": {{}}}}')
    for words, says in (
        (f"compare {tmp_path} {tmp_path}", "trains nothing: it has no trials"),
        (f"lyapunov {tmp_path}", "trains nothing: it has no trials"),
        (f"resume {tmp_path} --workers 2", "trains nothing: leave out --workers"),
        (f"report {tmp_path} --recordings", "has no networks: leave out --recordings"),
        (f"report {tmp_path}", f"{CELLS} has none of the study's cells yet"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(words.split())
        assert stop.value.code == 2
        told = capsys.readouterr().err
        assert says in told
        assert told.count("\n") == 1
    (tmp_path / CONFIG).write_text('{"study": "convergence", "neuron": "lif"}')
    with pytest.raises(st.SaltationError, match=r"cannot be read: .*'neuron'"):
        untrained_study_of(tmp_path)


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
