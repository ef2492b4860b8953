"""Disks, files and clocks that misbehave: told in a line, and nothing recorded is lost."""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from saltation.errors import ConfigError, StoreError
from saltation.studies import IntegratorsStudy
from saltation.studies.engine import files, specification
from saltation.studies.engine import study as engine_study
from saltation.studies.engine.store import Store
from tests.studies.test_resume import INTEGRATORS, integrators, recorded


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    integrators(folder).run()
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of some hundred kilobytes, that `mount` can be told to let grow."""
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=240k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_up(small_disk: Path, whole: Path) -> None:
    """The study ends in an error that says so; with more room it goes on to the same record."""
    folder = small_disk / "run"
    with pytest.raises((StoreError, ConfigError), match=r"No space left|disk.* full|database"):
        integrators(folder).run()
    before = recorded(folder)
    assert sum(len(trial["epochs"]) for trial in before) >= 1
    remount = ["mount", "-o", "remount,size=50m", str(small_disk)]
    subprocess.run(remount, check=True)
    integrators(folder).run()
    after = recorded(folder)
    assert after == recorded(whole)
    assert before[0]["epochs"] == after[0]["epochs"][: len(before[0]["epochs"])]


def test_a_damaged_page_is_told_and_the_file_left_alone(tmp_path: Path, whole: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    path = folder / "study.db"
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(4096))
    damaged = path.read_bytes()
    with pytest.raises(StoreError, match=r"study\.db.*(damaged|malformed|disk image)"):
        integrators(folder).run()
    assert path.read_bytes() == damaged
    # What was written from the record is still there.
    assert (folder / "results.csv").read_bytes() == (whole / "results.csv").read_bytes()


def test_a_folder_that_only_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told before anything runs. (A superuser can write anywhere: the refusal is played.)"""

    def refuse(path: Path, content: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(engine_study, "write_whole", refuse)
    with pytest.raises(ConfigError, match=r"out_dir .* cannot be written: .*Permission denied"):
        integrators(tmp_path).run()
    assert not (tmp_path / "study.db").exists()


def test_a_file_that_somebody_reads_is_replaced_once_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows replaces and removes no file that is open. (The refusal is played.)"""
    path = tmp_path / "best.pt"
    path.write_bytes(b"old")
    refusals = [5, 32]

    def in_use(number: int) -> OSError:
        error = PermissionError(13, "used by another process", str(path))
        error.winerror = number  # type: ignore[attr-defined]
        return error

    def replace(temporary: Path, target: Path) -> None:
        if refusals:
            raise in_use(refusals.pop())
        os.replace(temporary, target)  # noqa: PTH105

    monkeypatch.setattr(Path, "replace", replace)
    files.write_whole(path, b"new")
    assert path.read_bytes() == b"new"

    refusals += [5, 32]
    monkeypatch.setattr(files, "_PATIENCE", 0.0)
    with pytest.raises(PermissionError, match="used by another process"):
        files.write_whole(path, b"newer")
    assert [one.name for one in tmp_path.iterdir()] == ["best.pt"]
    assert path.read_bytes() == b"new"

    def stay(file: Path, missing_ok: bool) -> None:
        raise in_use(32)

    monkeypatch.setattr(Path, "unlink", stay)
    files.remove(path)
    assert path.exists()


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Lustre where it is mounted without flock; told by a line of ours."""

    def refuse(lock: Any) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.raises(ConfigError, match=r"out_dir .* cannot be locked.* no flock"):
        integrators(tmp_path).run()
    assert not (tmp_path / "study.db").exists()


def test_a_record_that_only_reads(tmp_path: Path, whole: Path) -> None:
    """A record on a disk that was mounted read-only."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    with Store(folder / "study.db") as store:
        store._db.execute("PRAGMA query_only = ON")
        with pytest.raises(StoreError, match="readonly database"):
            store.add_epoch("some", 1, {})


def test_a_clock_that_goes_back_mixes_no_studies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new study never takes the folder of one that is there, though the time is the same."""

    class Stopped(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Stopped:
            return cls(2026, 1, 1)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(specification.datetime, "datetime", Stopped)
    folders = []
    for _ in range(3):
        study = IntegratorsStudy(**INTEGRATORS | {"epochs": 1, "schemes": ["euler"]})
        study.run()
        folders.append(study.folder.name)
    assert folders == [f"integrators-20260101-000000{end}" for end in ("", "-2", "-3")]
