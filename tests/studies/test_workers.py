"""Trials in several processes: the same results, whoever dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from saltation.cli import main
from saltation.errors import ConfigError
from saltation.studies import DepthStudy, IntegratorsStudy
from saltation.studies.engine.config import as_json
from saltation.studies.engine.folder import study_of
from saltation.studies.engine.store import Store
from tests.studies.test_resume import INTEGRATORS, recorded


def study(folder: Path, **changes: Any) -> IntegratorsStudy:
    return IntegratorsStudy(out_dir=folder, **INTEGRATORS | {"dt": [0.5, 1.0]} | changes)


def by_id(folder: Path) -> Any:
    """Trials as recorded, whatever the order."""
    return sorted(recorded(folder), key=lambda trial: trial["id"])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("alone")
    return folder, study(folder).run()


def test_results_do_not_depend_on_the_number_of_workers(alone: Any, tmp_path: Path) -> None:
    folder, results = alone
    both = study(tmp_path, workers=2).run()
    assert by_id(tmp_path) == by_id(folder)
    assert both.drop(columns="seconds").equals(results.drop(columns="seconds"))
    assert (tmp_path / "config.json").read_text() == (folder / "config.json").read_text()


@pytest.mark.slow
def test_convolutions_do_not_either(tmp_path: Path) -> None:
    """To the bit, whatever the threads of the process that starts them; a number that is asked for
    is part of the settings."""
    before = torch.get_num_threads()
    small = {"dataset": "digits", "side": 8, "depths": [3], "base_channels": 16, "T": 2}
    small |= {"epochs": 2, "batch_size": 32, "limit_train": 128, "limit_test": 32}
    found = []
    try:
        for threads, workers in ((1, 1), (2, 1), (2, 2)):
            torch.set_num_threads(threads)
            folder = tmp_path / f"{threads} {workers}"
            DepthStudy(out_dir=folder, seeds=[0], workers=workers, **small).run()
            assert torch.get_num_threads() == threads
            found.append(by_id(folder))
    finally:
        torch.set_num_threads(before)
    assert found[0][0]["environment"]["threads"] == 1
    assert found[0] == found[1] == found[2]
    two = DepthStudy(out_dir=tmp_path / "two", threads=2, **small)
    assert study_of(tmp_path / "1 1").config.threads == 1
    assert two.trials()[0]["threads"] == 2
    assert "threads" not in DepthStudy(out_dir=tmp_path / "one", **small).trials()[0]


def test_a_worker_that_is_killed_costs_nothing(
    alone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its trial goes on in another process."""
    add, killed = Store.add_epoch, []

    def add_and_kill(self: Store, *arguments: Any) -> None:
        add(self, *arguments)
        if not killed:
            killed.append(multiprocessing.active_children()[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(Store, "add_epoch", add_and_kill)
    study(tmp_path, workers=2, progress=True).run()
    assert by_id(tmp_path) == by_id(alone[0])
    err = capfd.readouterr().err
    assert err.count("its worker died (SIGKILL: memory may have run out); trying again") == 1


@pytest.mark.slow
def test_a_trial_that_kills_two_workers_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, starts = Store.start, []

    def start_and_kill(self: Store, trial: str, settings: Any, *rest: Any) -> None:
        start(self, trial, settings, *rest)
        starts.append(trial)
        if len(starts) <= 2:
            (child,) = multiprocessing.active_children()
            os.kill(child.pid or 0, signal.SIGKILL)

    monkeypatch.setattr(Store, "start", start_and_kill)
    small = {"workers": 2, "schemes": ["euler"], "dt": [1.0]}
    results = study(tmp_path, **small).run()
    assert results["status"].tolist() == ["failed"]
    assert results["reason"][0].startswith("its worker died (SIGKILL")
    assert results["reason"][0].endswith("as before")
    # It is tried again when the study is.
    assert study(tmp_path, **small).run()["status"].tolist() == ["finished"]


# What Python runs first in every process: it strikes in those of workers alone.
STRIKES = {
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL: memory may have run out"),
    "leaves": ("os._exit(7)", "exit code 7"),
}


@pytest.mark.parametrize("strike", ["leaves", pytest.param("killed", marks=pytest.mark.slow)])
def test_workers_that_die_at_once_leave_failed_trials(
    strike: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the record, the report and the table, with the reason; the command exits with 1."""
    code, cause = STRIKES[strike]
    message = f"its worker died before it began ({cause}), as before"
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, signal, sys\nif '--multiprocessing-fork' in sys.orig_argv:\n    {code}\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    folder = tmp_path / "run"
    config = study(folder, dt=[1.0]).config
    folder.mkdir()
    (folder / "config.json").write_text(as_json("integrators", config))
    with pytest.raises(SystemExit) as stop:
        main(["resume", str(folder), "--workers", "2", "--no-progress"])
    assert stop.value.code == 1
    assert "no trial of the study in" in capsys.readouterr().err
    trials = recorded(folder)
    assert [trial["status"] for trial in trials] == ["failed"] * 2
    assert [trial["reason"] for trial in trials] == [message] * 2
    assert (folder / "report.html").read_text().count(f'<td class="reason">{message}') == 2
    assert (folder / "results.csv").read_text().count(message) == 2
    # Whoever repairs the machine goes on.
    monkeypatch.undo()
    assert study_of(folder, progress=False).run()["status"].tolist() == ["finished"] * 2


def test_a_study_that_workers_cannot_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be packed here, or not be unpacked there, where a module is missing."""
    some: Any = study(tmp_path / "a", workers=2, dt=[1.0])
    some.note = lambda: 0
    results = some.run()
    assert results["status"].tolist() == ["failed"] * 2
    assert all(reason.startswith("no worker can be started (") for reason in results["reason"])
    assert [trial["status"] for trial in recorded(tmp_path / "a")] == ["failed"] * 2

    only_here = types.ModuleType("only_here")
    only_here.Note = type("Note", (), {"__module__": "only_here"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "only_here", only_here)
    some = study(tmp_path / "b", workers=2, dt=[1.0])
    some.note = only_here.Note()
    reason = "its worker cannot begin (ModuleNotFoundError: No module named 'only_here')"
    assert some.run()["reason"].tolist() == [reason] * 2


def test_sigterm_stops_workers_and_a_resumed_study_is_whole(alone: Any, tmp_path: Path) -> None:
    """What a cluster does when the time is up."""
    config = study(tmp_path, epochs=200).config
    (tmp_path / "config.json").write_text(as_json("integrators", config))
    code = (
        "from pathlib import Path\n"
        "from saltation.cli import main\n"
        "if __name__ == '__main__':\n"
        f"    main(['resume', {str(tmp_path)!r}, '--workers', '2', '--no-progress'])\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (tmp_path / "study.db").exists():
            with Store(tmp_path / "study.db") as store:
                if sum(len(trial["epochs"]) for trial in store.trials()) >= 4:
                    break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert f"saltation resume {tmp_path}" in err
    states = {trial["status"] for trial in recorded(tmp_path)}
    assert "interrupted" in states
    assert "running" not in states
    assert study_of(tmp_path).config.epochs == 200


def test_ray_gives_the_same(alone: Any, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs saltation[ray]")
    folder, results = alone
    there = study(tmp_path, ray="local").run()
    assert by_id(tmp_path) == by_id(folder)
    assert there.drop(columns="seconds").equals(results.drop(columns="seconds"))


def test_ray_tasks_that_are_lost_are_begun_again(
    alone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="needs saltation[ray]")
    if not Path("/proc").is_dir():
        pytest.skip("the task's process is looked for in /proc, which is not here")
    add, killed = Store.add_epoch, []

    def add_and_kill(self: Store, *arguments: Any) -> None:
        add(self, *arguments)
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            if not killed and process.read_bytes().startswith(b"ray::_trial"):
                killed.append(int(process.parent.name))
                os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(Store, "add_epoch", add_and_kill)
    study(tmp_path, ray="local", progress=True).run()
    assert len(killed) == 1
    assert capfd.readouterr().err.count("; trying again") == 1
    assert by_id(tmp_path) == by_id(alone[0])


def test_ray_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs saltation[ray]")
    with pytest.raises(ConfigError, match=r"there is no Ray cluster at '127\.0\.0\.1:1'"):
        study(tmp_path, ray="127.0.0.1:1").run()
    with pytest.raises(ConfigError, match="either workers or ray"):
        study(tmp_path, ray="local", workers=2)
