"""Records with rows that anybody may have written, and records taken away while a study runs."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from saltation.cli import main
from saltation.cli.terminal import console
from saltation.errors import ConfigError, StoreError
from saltation.studies import IntegratorsStudy
from saltation.studies.engine.folder import study_of, summary
from saltation.studies.engine.lock import lock_of
from saltation.studies.engine.records import contents
from saltation.studies.engine.store import RecordLostError, Store, trial_id
from saltation.studies.report import write_report
from tests.studies.recorded import epoch
from tests.studies.recorded import recorded as made
from tests.studies.test_report import Page
from tests.studies.test_resume import INTEGRATORS, recorded

FOUR = [("finished", "", [50.0, 90.0 + i]) for i in range(4)]


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 400)


def change(folder: Path, statement: str, *values: Any) -> None:
    """Run a statement on the record, as SQLite's own shell would."""
    with closing(sqlite3.connect(folder / "study.db")) as db, db:
        db.execute(statement, values)


METRICS = json.dumps(epoch(2, 95.0))
ROWS: dict[str, tuple[str, str]] = {
    "settings damaged": ("UPDATE trials SET settings = '{\"dt\": ' WHERE id = ?", "settings are"),
    "settings a list": ("UPDATE trials SET settings = '[]' WHERE id = ?", "not a mapping"),
    "settings a number": ("UPDATE trials SET settings = 5 WHERE id = ?", "not a mapping"),
    "settings a blob": ("UPDATE trials SET settings = x'7b7d' WHERE id = ?", "no text"),
    "settings of no trial": ("UPDATE trials SET settings = '{}' WHERE id = ?", "id is made from"),
    "settings no UTF-8": (
        "UPDATE trials SET settings = CAST(x'7bff' AS TEXT) WHERE id = ?",
        "no text",
    ),
    "deep settings": (
        "UPDATE trials SET settings = replace(hex(zeroblob(60000)), '00', '[') WHERE id = ?",
        "recursion",
    ),
    "status unknown": ("UPDATE trials SET status = 'done' WHERE id = ?", "its status is 'done'"),
    "status empty": ("UPDATE trials SET status = '' WHERE id = ?", "its status is ''"),
    "reason a blob": ("UPDATE trials SET reason = x'00' WHERE id = ?", "its reason is"),
    "environment damaged": ("UPDATE trials SET environment = 'x' WHERE id = ?", "environment are"),
    "environment empty": ("UPDATE trials SET environment = '{}' WHERE id = ?", "no kernel"),
    "metrics damaged": ("UPDATE epochs SET metrics = '{' WHERE trial = ?", "metrics of epoch 1"),
    "metrics missing": (
        "UPDATE epochs SET metrics = '{}' WHERE trial = ?",
        "an epoch has no epoch",
    ),
    "metrics a list": ("UPDATE epochs SET metrics = '[1]' WHERE trial = ?", "not a mapping"),
    "metrics NaN": (
        "UPDATE epochs SET metrics = replace(metrics, '0.125', 'NaN') WHERE trial = ?",
        "it has no NaN",
    ),
    "metrics infinite": (
        "UPDATE epochs SET metrics = replace(metrics, '0.125', '1e999') WHERE trial = ?",
        "too large",
    ),
    "metrics enormous": (
        f"UPDATE epochs SET metrics = replace(metrics, '0.125', '{10**400}') WHERE trial = ?",
        "mean_spike_rate of epoch 1 is",
    ),
    "a text for a rate": (
        "UPDATE epochs SET metrics = replace(metrics, '0.125', '\"low\"') WHERE trial = ?",
        "mean_spike_rate of epoch 1 is 'low'",
    ),
    "a list for a rate": (
        "UPDATE epochs SET metrics = replace(metrics, '0.125', '[0.5]') WHERE trial = ?",
        "mean_spike_rate of epoch 1 is",
    ),
    "no rate": (
        "UPDATE epochs SET metrics = replace(metrics, 'mean_spike', 'x') WHERE trial = ?",
        "has no mean_spike_rate",
    ),
    "no seconds": (
        "UPDATE epochs SET metrics = replace(metrics, '1.5', 'null') WHERE trial = ?",
        "took None seconds",
    ),
    "an accuracy of 9,000": (
        "UPDATE epochs SET metrics = replace(metrics, '50.0', '9000') WHERE trial = ?",
        "test_accuracy of 9000 %",
    ),
    "an accuracy in words": (
        "UPDATE epochs SET metrics = replace(metrics, '50.0', '\"high\"') WHERE trial = ?",
        "no test_accuracy that is a number",
    ),
    "an epoch's number wrong": (
        "UPDATE epochs SET epoch = epoch + 3 WHERE trial = ?",
        "epoch 4 has the metrics of '1'",
    ),
    "the first epoch gone": ("DELETE FROM epochs WHERE trial = ? AND epoch = 1", "epoch 2 follows"),
    "the last epoch gone": ("DELETE FROM epochs WHERE trial = ? AND epoch = 2", "with 1 of 2 ep"),
    "all epochs gone": ("DELETE FROM epochs WHERE trial = ?", "with 0 of 2 epochs"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_damaged_row_is_named_and_left_out(name: str, tmp_path: Path) -> None:
    """The other trials are as they were."""
    study = made(tmp_path / "a", FOUR)
    key = trial_id(study.trials()[3])  # that with the best accuracy
    statement, message = ROWS[name]
    change(study.folder, statement, key)
    found = contents(study)
    assert [row.trial for row in found.damaged] == [key]
    assert message in found.damaged[0].flaw
    assert "\n" not in found.damaged[0].flaw
    assert [record["id"] for record in found.asked] == [trial_id(t) for t in study.trials()[:3]]
    row = summary(study.folder)
    assert (row["states"], row["best"]) == ("3 finished, 1 damaged", 92.0)
    write_report(study, found)


@pytest.mark.parametrize("name", ["settings damaged", "metrics missing", "status unknown"])
def test_no_command_stumbles_over_a_damaged_row(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The study it is of is not hidden, nor its neighbour."""
    folder, other = tmp_path / "a", tmp_path / "b"
    study = made(folder, FOUR)
    made(other, FOUR)
    key = trial_id(study.trials()[3])
    change(folder, ROWS[name][0], key)
    line = contents(study).lines(folder / "study.db")[0]
    assert line.startswith(f"{folder / 'study.db'}: trial {key} is left out: ")
    main(["runs", str(tmp_path)])
    out = capsys.readouterr().out
    assert line in out
    assert "92.00 %" in out
    assert "93.00 %" in out  # the neighbour's
    main(["compare", str(folder), str(other)])
    assert line in capsys.readouterr().out
    main(["report", str(folder)])
    assert line in capsys.readouterr().out
    page = Page(folder / "report.html")
    assert f"trial {key} is left out" in page.text("li")
    assert "3 finished, 1 damaged" in page.text("dd")
    assert len(page.rows["All trials"]) == 1 + 3
    assert "92.00 %" in page.text("dd")
    with pytest.raises(SystemExit) as stop:
        main(["lyapunov", str(folder), "--trial", key])
    assert stop.value.code == 2
    assert f"trial {key} is left out" in capsys.readouterr().err


def test_rows_that_are_not_of_this_study(tmp_path: Path) -> None:
    """A trial twice, epochs of nobody, a table of somebody else, an id that is no text."""
    study = made(tmp_path / "a", FOUR)
    folder, key = study.folder, trial_id(study.trials()[0])
    change(folder, "CREATE TABLE cookies (name TEXT)")
    change(folder, "INSERT INTO cookies VALUES ('x')")
    change(folder, "INSERT INTO epochs VALUES ('nobody', 1, '{}')")
    columns = "settings, status, reason, environment, started"
    for twin in ("'0123456789ab'", "x'00'", "NULL"):
        change(
            folder,
            f"INSERT INTO trials SELECT {twin}, {columns} FROM trials WHERE id = ?",
            key,
        )
    found = contents(study)
    assert len(found.asked) == 4
    assert found.others == []
    assert [(row.trial, row.flaw) for row in found.damaged] == [
        ("b'\\x00'", "its id is no text"),
        ("None", "its id is no text"),
        ("0123456789ab", f"its settings are those of trial {key}"),
    ]
    write_report(study)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that nothing happened to."""
    folder = tmp_path_factory.mktemp("once")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IntegratorsStudy, "report", _nothing)
        IntegratorsStudy(out_dir=folder, **INTEGRATORS).run()
    return folder


def _nothing(study: IntegratorsStudy, records: Any) -> None:
    """Figures take longer than everything else here."""


def test_a_damaged_row_begins_anew_when_the_study_is_resumed(
    once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(IntegratorsStudy, "report", _nothing)
    folder = tmp_path / "run"
    shutil.copytree(once, folder)
    study = study_of(folder)
    key = trial_id(study.trials()[0])
    change(folder, "UPDATE epochs SET metrics = '{}' WHERE trial = ? AND epoch = 2", key)
    with pytest.warns(UserWarning, match=rf"study\.db: trial {key} is left out.*begins anew"):
        results = study_of(folder).run()
    assert results["status"].tolist() == ["finished"] * 2
    by_id = {trial["id"]: trial for trial in recorded(folder)}
    assert by_id == {trial["id"]: trial for trial in recorded(once)}


def deleted(folder: Path) -> None:
    (folder / "study.db").unlink()


def all_deleted(folder: Path) -> None:
    for path in folder.glob("study.db*"):
        path.unlink()


def folder_deleted(folder: Path) -> None:
    shutil.rmtree(folder)


def moved(folder: Path) -> None:
    (folder / "study.db").rename(folder / "elsewhere.db")


def replaced_by_nothing(folder: Path) -> None:
    deleted(folder)
    (folder / "study.db").touch()


def replaced_by_another(folder: Path) -> None:
    made(folder / "other", FOUR)
    (folder / "other" / "study.db").replace(folder / "study.db")


def written_over(folder: Path) -> None:
    made(folder / "other", FOUR)
    (folder / "study.db").write_bytes((folder / "other" / "study.db").read_bytes())


def filled_with_text(folder: Path) -> None:
    (folder / "study.db").write_bytes(b"not a database " * 4000)


def emptied(folder: Path) -> None:
    os.truncate(folder / "study.db", 0)


def rows_deleted(folder: Path) -> None:
    change(folder, "DELETE FROM trials")


def tables_dropped(folder: Path) -> None:
    change(folder, "DROP TABLE epochs")


ACCIDENTS = [
    *(deleted, all_deleted, folder_deleted, moved, replaced_by_nothing, replaced_by_another),
    *(written_over, filled_with_text, emptied, rows_deleted, tables_dropped),
]


@pytest.mark.parametrize("accident", ACCIDENTS)
def test_a_record_that_is_taken_away(
    accident: Callable[[Path], None],
    once: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The study stops at the next write, in one line and with exit code 1; nothing is lost."""
    folder, add, adds = tmp_path / "run", Store.add_epoch, []

    def add_and_strike(self: Store, *arguments: Any) -> None:
        add(self, *arguments)
        if self.path == folder / "study.db":
            adds.append(arguments)
            if len(adds) == 4:  # the second trial's first epoch
                accident(folder)

    monkeypatch.setattr(Store, "add_epoch", add_and_strike)
    monkeypatch.setattr(IntegratorsStudy, "report", _nothing)
    words = "study integrators --neurons lif --schemes euler exponential --dt 1 --steps 5 --hidden"
    words += " 16 --epochs 3 --batch-size 16 --limit-train 64 --limit-test 32 --schedule cosine"
    with pytest.raises(SystemExit) as stop:
        main([*words.split(), "--no-progress", "--out-dir", str(folder)])
    assert stop.value.code == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert str(folder / "study.db") in err
    assert str(folder / "study.kept.db") in err
    assert len(adds) == 4
    # All that was recorded, and what was about to be, is in the second file, and in the report.
    with Store(folder / "study.kept.db", reads=True) as store:
        kept = store.trials()
    assert [len(trial["epochs"]) for trial in kept] == [3, 2]
    assert len((folder / "results.csv").read_text().splitlines()) == 1 + 2
    # In the place of the record it is one.
    monkeypatch.setattr(Store, "add_epoch", add)
    for path in folder.glob("study.db*"):
        path.unlink()
    if (folder / "config.json").exists():
        with pytest.raises(ConfigError, match=r"what it held is in study\.kept\.db: rename"):
            study_of(folder, progress=False).run()
    (folder / "study.kept.db").rename(folder / "study.db")
    if (folder / "config.json").exists():
        study_of(folder, progress=False).run()
        assert recorded(folder) == recorded(once)


def test_a_second_loss_takes_another_name(tmp_path: Path) -> None:
    (tmp_path / "study.kept.db").write_text("of yesterday")
    with Store(tmp_path / "study.db") as store:
        store.start("one", {}, {})
        deleted(tmp_path)
        with pytest.raises(RecordLostError, match=r"study\.kept-2\.db"):
            store.add_epoch("one", 1, {})
        assert len(store.trials()[0]["epochs"]) == 1
    assert (tmp_path / "study.kept.db").read_text() == "of yesterday"


def test_reading_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no study\.db"):
        Store(tmp_path / "study.db", reads=True)
    os.mkfifo(tmp_path / "study.db")
    with pytest.raises(StoreError, match="no regular file"):
        Store(tmp_path / "study.db")
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]


def test_a_record_is_read_while_it_is_written(tmp_path: Path) -> None:
    """As reports do."""
    with Store(tmp_path / "study.db") as store:
        store.start("one", {}, {})
        with Store(tmp_path / "study.db", reads=True) as reader:
            store.add_epoch("one", 1, {})
            assert len(reader.trials()[0]["epochs"]) == 1


def test_what_runs_cannot_read_it_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And lists the rest."""
    runs = tmp_path / "runs"
    made(runs / "good", FOUR)
    for name in ("newer", "broken", "record", "nothing", "alien", "bomb", "config_fifo"):
        shutil.copytree(runs / "good", runs / name)
    path = runs / "newer" / "config.json"
    path.write_text(
        path.read_text().replace('"epochs"', '"setting_of_a_later_release": 1, "epochs"')
    )
    (runs / "broken" / "config.json").write_text("{")
    (runs / "record" / "study.db").write_bytes(b"x" * 5000)
    (runs / "alien" / "config.json").write_text('{"study": "dreams"}')
    (runs / "bomb" / "config.json").write_text("[" * 100_000)
    (runs / "config_fifo" / "config.json").unlink()
    os.mkfifo(runs / "config_fifo" / "config.json")
    shutil.rmtree(runs / "nothing")
    (runs / "nothing").mkdir()
    (runs / "half").mkdir()
    shutil.copy(runs / "good" / "study.db", runs / "half")
    (runs / "only_config").mkdir()
    shutil.copy(runs / "good" / "config.json", runs / "only_config")
    shutil.copytree(runs / "good", runs / "lost")
    (runs / "lost" / "study.db").unlink()
    (runs / "lost" / "checkpoints").mkdir()
    (runs / "figures").mkdir()
    (runs / "figures" / "a.png").touch()
    main(["runs", str(runs)])
    lines = capsys.readouterr().out.splitlines()
    for name, reason in {
        "newer": "unknown setting 'setting_of_a_later_release'",
        "broken": "is not the config of a study",
        "record": "study.db cannot be opened",
        "nothing": "it has no config.json",
        "alien": "unknown study 'dreams'",
        "bomb": "is not the config of a study",
        "config_fifo": "it has no config.json",
        "half": "it has no config.json",
        "lost": "there is no study.db",
    }.items():
        (line,) = [one for one in lines if one.startswith(f"{runs / name} cannot be read: ")]
        assert reason in line
        (row,) = [one for one in lines if one.startswith("│") and f"{runs / name} " in one]
        assert "cannot be read" in row
    (good,) = [line for line in lines if f"{runs / 'good'} " in line]
    assert "4 finished" in good
    assert "93.00 %" in good
    (not_begun,) = [line for line in lines if f"{runs / 'only_config'} " in line]
    assert "not begun" in not_begun
    assert not [line for line in lines if str(runs / "figures") in line]
    main(["runs", str(runs / "lost")])
    assert f"{runs / 'lost'} cannot be read: there is no study.db" in capsys.readouterr().out
    # One that is asked for by name is refused in a line with its folder.
    for words in (["report"], ["lyapunov"], ["resume"], ["compare", str(runs / "good")]):
        with pytest.raises(SystemExit) as stop:
            main([*words, str(runs / "newer")])
        assert stop.value.code == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert str(runs / "newer") in err
        assert "setting_of_a_later_release" in err


def test_the_trials_of_one_study_and_their_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = made(tmp_path / "a", [*FOUR[:2], ("failed", "no", []), ("diverged", "no", [9.0])])
    main(["runs", str(study.folder)])
    out = capsys.readouterr().out
    for trial in study.trials():
        (line,) = [one for one in out.splitlines() if trial_id(trial) in one]
        assert study.label(trial) in line
    results = study.table(contents(study).asked)
    assert results["id"].tolist() == [trial_id(trial) for trial in study.trials()]
    write_report(study)
    head, *rows = Page(study.folder / "report.html").rows["All trials"]
    assert [row[head.index("id")] for row in rows] == results["id"].tolist()


@pytest.mark.skipif(sys.platform == "win32", reason="a lock cannot be looked at there")
def test_what_was_killed_is_not_running(tmp_path: Path) -> None:
    """A process that is killed cannot write that its trials are; that nobody holds the lock can."""
    study = made(tmp_path / "a", [("finished", "", [50.0, 60.0]), ("running", "", [50.0])])

    def states() -> list[str]:
        return [record["status"] for record in contents(study).asked]

    assert states() == ["finished", "running"]  # no lock: nothing is known
    with lock_of(study.folder):
        assert states() == ["finished", "running"]
    (study.folder / ".lock").touch()
    assert states() == ["finished", "interrupted"]
    assert summary(study.folder)["states"] == "1 finished, 1 interrupted"


def test_a_wrong_change_is_no_flaw_of_the_study(tmp_path: Path) -> None:
    folder = made(tmp_path / "a", []).folder
    with pytest.raises(ConfigError, match=r"^workers: .*got -3"):
        study_of(folder, workers=-3)
