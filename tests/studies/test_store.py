"""The record of a study, and files that are not one."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from saltation import DataError
from saltation.studies.engine.store import Store, trial_id


def test_an_id_depends_on_settings_and_not_on_their_order() -> None:
    assert trial_id({"a": 1, "b": 0.5}) == trial_id({"b": 0.5, "a": 1})
    assert trial_id({"a": 1, "b": 0.5}) != trial_id({"a": 1, "b": 0.25})


def test_what_is_recorded_is_read_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "study.db")
    store.start("one", {"dt": 0.1}, {"kernel": "reference"})
    store.add_epoch("one", 1, {"loss": 0.1 + 0.2})
    store.end("one", "finished")
    store.close()
    store = Store(tmp_path / "study.db")
    (trial,) = store.trials(["missing", "one"])
    assert trial["settings"] == {"dt": 0.1}
    assert trial["epochs"] == [{"loss": 0.1 + 0.2}]
    assert (store.status("one"), store.status("missing")) == ("finished", None)


def test_starting_again_forgets_the_unfinished_attempt(tmp_path: Path) -> None:
    store = Store(tmp_path / "study.db")
    for _ in range(2):
        store.start("one", {}, {"kernel": "reference"})
        store.add_epoch("one", 1, {"loss": 1.0})
    assert len(store.trials(["one"])[0]["epochs"]) == 1


def test_two_writers_do_not_lose_each_others_epochs(tmp_path: Path) -> None:
    a, b = Store(tmp_path / "study.db"), Store(tmp_path / "study.db")
    a.start("one", {}, {})
    b.start("two", {}, {})
    for epoch in range(20):
        a.add_epoch("one", epoch, {})
        b.add_epoch("two", epoch, {})
    assert [len(t["epochs"]) for t in a.trials(["one", "two"])] == [20, 20]


def test_many_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    for round_ in range(10):
        path = tmp_path / f"{round_}.db"
        with ThreadPoolExecutor(8) as pool:
            for opened in pool.map(lambda _, path=path: Store(path).close(), range(8)):
                assert opened is None
        journal = sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone()
        assert journal == ("wal",)


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    path.write_bytes(b"not a database, but somebody's file" * 100)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"study\.db cannot be opened"):
        Store(path)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE cookies (name TEXT)")
    other.commit()
    other.close()
    with pytest.raises(DataError, match="not a study's record"):
        Store(path)


def test_a_record_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    Store(path).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(DataError, match="schema version 99; this release reads version 1"):
        Store(path)


def test_who_reads_leaves_nothing_behind(tmp_path: Path) -> None:
    """Nor takes away what a writer has in the files beside the record, nor changes any."""
    path = tmp_path / "study.db"
    with Store(path) as store:
        store.start("a", {"seed": 0}, {"kernel": "cpu"})
    assert [one.name for one in tmp_path.iterdir()] == ["study.db"]
    before = path.stat().st_mtime_ns
    with Store(path, reads=True) as reader:
        assert [r["id"] for r in reader.trials()] == ["a"]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._db.execute("DELETE FROM trials")
    assert [one.name for one in tmp_path.iterdir()] == ["study.db"]
    assert path.stat().st_mtime_ns == before
    with Store(path) as writer:
        writer.start("b", {"seed": 1}, {"kernel": "cpu"})
        with Store(path, reads=True) as reader:
            assert len(reader.trials()) == 2
        assert {one.name for one in tmp_path.iterdir()} == {
            "study.db",
            "study.db-wal",
            "study.db-shm",
        }
        writer.start("c", {"seed": 2}, {"kernel": "cpu"})
    with Store(path, reads=True) as reader:
        assert len(reader.trials()) == 3
