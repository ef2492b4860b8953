"""Folders that results go to are looked at before the work; users who may write nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from saltation.cli import exponents, main, runs
from saltation.data import load
from saltation.errors import ConfigError, DataError, StoreError
from saltation.studies import IntegratorsStudy
from saltation.studies.engine.files import check_folder
from saltation.studies.engine.folder import study_of
from saltation.studies.report import page, write_report
from tests.studies.recorded import recorded
from tests.studies.test_resume import INTEGRATORS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mine"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IntegratorsStudy, "report", lambda *_: None)
        IntegratorsStudy(out_dir=folder, **INTEGRATORS | {"epochs": 1}).run()
    return folder


def places(tmp_path: Path) -> list[Path]:
    """Where nobody can make a folder, superusers neither."""
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    return [
        *(Path("/dev/null"), Path("/dev/null/x"), Path("/dev/null/x/y"), Path("/proc/x")),
        *(tmp_path / name for name in ("file", "file/x", "dangling", "dangling/x", "loop/x")),
        *(tmp_path / "with\0zero", tmp_path / ("long" * 100) / "x"),
    ]


def test_folders_that_cannot_be_made_are_known_before(tmp_path: Path) -> None:
    for place in places(tmp_path):
        with pytest.raises(ConfigError, match=r"^out_dir '.*' cannot be written: ") as refused:
            check_folder("out_dir", place)
        assert "\n" not in str(refused.value)
    before = sorted(tmp_path.iterdir())
    for place in (tmp_path, tmp_path / "a", tmp_path / "a" / "b" / "c", Path("relative")):
        check_folder("out_dir", place)
    assert sorted(tmp_path.iterdir()) == before
    assert not Path("relative").exists()


def test_commands_refuse_such_folders_before_they_work(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def works(*_: Any) -> None:
        raise AssertionError("it has begun")

    monkeypatch.setattr(exponents, "diagnose_checkpoint", works)
    monkeypatch.setattr(runs, "compare", works)
    monkeypatch.setattr(IntegratorsStudy, "data", works)
    best = next(run.glob("checkpoints/*/best.pt"))
    for place in ("/dev/null/x", str(best / "x"), "/proc/x/y"):
        for words in (
            ["lyapunov", str(best), "--out-dir", place],
            ["lyapunov", str(run), "--trial", best.parent.name, "--out-dir", place],
            ["stability", "--out-dir", place],
            ["compare", str(run), str(run), "--out", f"{place}/page.html"],
            ["study", "integrators", "--neurons", "lif", "--out-dir", place],
        ):
            with pytest.raises(SystemExit) as stop:
                main(words)
            assert stop.value.code == 2
            out, err = capsys.readouterr()
            assert out == ""
            assert err.count("\n") == 1
            assert place in err
            assert "cannot be written" in err


def test_a_trial_is_diagnosed_by_its_id(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["lyapunov", str(run), "--samples", "4"])
    out = capsys.readouterr().out
    keys = [folder.name for folder in (run / "checkpoints").iterdir()]
    assert all(key in out for key in keys)
    main(["lyapunov", str(run), "--trial", keys[0], "--samples", "4", "--out-dir", str(tmp_path)])
    assert f"diagnosis-{keys[0]}-epoch-00001.png" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["lyapunov", str(run), "--trial", "nobody"])
    err = capsys.readouterr().err
    assert all(key in err for key in keys)


def test_one_damaged_checkpoint_does_not_hide_the_others(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = sorted(run.glob("checkpoints/*/epoch-00001.pt"))
    content = one.read_bytes()
    one.write_bytes(content[:100])
    try:
        with pytest.warns(UserWarning, match="cannot be read as a checkpoint"):
            main(["lyapunov", str(run), "--samples", "4"])
    finally:
        one.write_bytes(content)
    out = capsys.readouterr().out
    assert f"trial {one.parent.name} of {run} (finished) has no checkpoint that can be read" in out
    assert other.parent.name in out


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match="digits come with scikit-learn, which cannot be used: "):
        load("digits")


def test_templates_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = recorded(tmp_path / "a", [("failed", "no", [])])
    monkeypatch.setattr(page._TEMPLATES, "loader", page.FileSystemLoader(tmp_path))
    page._TEMPLATES.cache.clear()  # type: ignore[union-attr]
    with pytest.raises(StoreError, match=r"the report of .* was not written: .*sort\.js"):
        write_report(study_of(study.folder))
    page._TEMPLATES.cache.clear()  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_user_who_may_write_into_one_folder_alone(tmp_path: Path) -> None:
    """Neither home nor caches; kernels are then compiled in the process."""
    nowhere = "/dev/null/x"
    homes = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR")
    words = "study integrators --neurons lif --schemes euler --dt 1 --steps 4 --hidden 8 --epochs 1"
    words += " --limit-train 64 --limit-test 32 --batch-size 32 --no-progress --out-dir run"
    code = "from saltation.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split()],
        cwd=tmp_path,
        env=os.environ | dict.fromkeys(homes, nowhere) | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "run" / "report.html").exists()
