"""Studies that were stopped or killed go on to what they would have been."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

import saltation as st
from saltation.errors import ConfigError, StoreError
from saltation.studies import (
    DepthStudy,
    FlossingStudy,
    IntegratorsStudy,
    RSTDPStudy,
    Study,
)
from saltation.studies.engine.checkpoints import Checkpoints, read
from saltation.studies.engine.folder import study_of
from saltation.studies.engine.recording import Alone
from saltation.studies.engine.stopping import stoppable
from saltation.studies.engine.store import Store

SHARED: dict[str, Any] = {"epochs": 3, "batch_size": 16, "progress": False, "schedule": "cosine"}
INTEGRATORS: dict[str, Any] = SHARED | {
    "dataset": "digits",
    "limit_train": 64,
    "limit_test": 32,
    "neurons": ["lif"],
    "schemes": ["euler", "exponential"],
    "dt": [1.0],
    "steps": 5,
    "hidden": [16],
}
FLOSSING: dict[str, Any] = SHARED | {
    "tasks": ["xor"],
    "delays": [3],
    "modes": ["before", "both"],
    "seeds": [0],
    "hidden": 8,
    "train_samples": 64,
    "test_samples": 32,
    "k": 2,
    "floss_steps": 2,
    "floss_window": 4,
    "floss_samples": 2,
    "floss_every": 3,
}
DEPTH: dict[str, Any] = SHARED | {
    "dataset": "digits",
    "limit_train": 64,
    "limit_test": 32,
    "depths": [1],
    "seeds": [0],
    "base_channels": 2,
    "side": 8,
    "T": 2,
}
RSTDP: dict[str, Any] = {
    "dataset": "digits",
    "limit_train": 64,
    "limit_test": 32,
    "schemes": ["euler", "exponential"],
    "dt": [0.05],
    "steps": [20],
    "hidden": 16,
    "epochs": 3,
    "batch_size": 16,
    "test_batch_size": 16,
    "progress": False,
}


def integrators(folder: Path) -> IntegratorsStudy:
    return IntegratorsStudy(out_dir=folder, **INTEGRATORS)


def flossing(folder: Path) -> FlossingStudy:
    return FlossingStudy(out_dir=folder, **FLOSSING)


def depth(folder: Path) -> DepthStudy:
    return DepthStudy(out_dir=folder, **DEPTH)


def rstdp(folder: Path) -> RSTDPStudy:
    return RSTDPStudy(out_dir=folder, **RSTDP)


STUDIES = {"integrators": integrators, "flossing": flossing, "depth": depth, "rstdp": rstdp}


def recorded(folder: Path) -> Any:
    """Everything in the store but what depends on the clock."""
    with Store(folder / "study.db") as store:
        trials = store.trials()
    for trial in trials:
        for epoch in trial["epochs"]:
            del epoch["seconds"]
            epoch.pop("peak_memory", None)
    return trials


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each study comes to if nothing stops it."""
    found = {}
    for name, study in STUDIES.items():
        folder = tmp_path_factory.mktemp(name)
        study(folder).run()
        found[name] = recorded(folder)
    return found


@pytest.mark.parametrize("name", STUDIES)
def test_stopped_at_every_batch(
    name: str, whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt gets one batch further than an epoch; all together come to the same bits."""
    batch, left = Alone.batch, [0]

    def stopping(self: Alone, done: int, total: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        batch(self, done, total)

    monkeypatch.setattr(Alone, "batch", stopping)
    stops = 0
    while stops < 50:
        left[0] = 7  # of 6 in an epoch
        try:
            STUDIES[name](tmp_path).run()
            break
        except KeyboardInterrupt:
            stops += 1
    assert 4 <= stops < 50
    assert recorded(tmp_path) == whole[name]


def _run(folder: str) -> None:
    os.environ["NUMBA_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    study_of(Path(folder)).run()


def test_killed_at_random_moments(tmp_path: Path) -> None:
    """SIGKILL, 20 times, wherever it strikes."""
    torch.set_num_threads(1)
    once = tmp_path / "once"
    integrators(once).run()
    folder = tmp_path / "killed"
    folder.mkdir()
    (folder / "config.json").write_bytes((once / "config.json").read_bytes())
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["saltation.studies.engine.folder", "saltation.studies"])
    noise, kills = random.Random(0), 0
    longest = 0.2
    while kills < 20:
        process = context.Process(target=_run, args=(str(folder),))
        process.start()
        process.join(noise.uniform(0, longest))
        if process.is_alive():
            os.kill(process.pid or 0, signal.SIGKILL)
            kills += 1
            longest *= 1.1  # so that it gets somewhere, whatever the machine
        process.join()
        if process.exitcode == 0:  # all the way: once more from the beginning
            assert recorded(folder) == recorded(once)
            for path in folder.rglob("*"):
                if path.is_file() and path.name != "config.json":
                    path.unlink()
    study_of(folder).run()
    assert recorded(folder) == recorded(once)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    kept = Checkpoints(folder, 0)
    for epoch, score in ((1, 10.0), (2, 30.0), (3, 20.0)):
        kept.save(epoch, {"network": {"w": torch.full((2,), float(epoch))}}, score)
    assert sorted(p.name for p in folder.iterdir()) == [
        "best.pt",
        "epoch-00002.pt",
        "epoch-00003.pt",
    ]
    assert read(folder / "best.pt")["epoch"] == 2
    last = folder / "epoch-00003.pt"
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"epoch-00003\.pt cannot be read as a checkpoint"):
        found = Checkpoints(folder, 3)
    assert found.epoch == 2
    assert found.load()["network"]["w"].tolist() == [2, 2]
    # What the record has not heard of is not gone on from.
    assert Checkpoints(folder, 1).epoch == 0


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    folder = tmp_path / "trial"
    folder.mkdir()
    torch.save(Hostile(), folder / "epoch-00001.pt")
    with pytest.warns(UserWarning, match="cannot be read as a checkpoint"):
        assert Checkpoints(folder, 1).epoch == 0
    assert not (tmp_path / "ran").exists()


def test_two_at_once(tmp_path: Path) -> None:
    study = integrators(tmp_path)
    with (
        FileLock(tmp_path / ".lock"),
        pytest.raises(ConfigError, match="another process is running the study"),
    ):
        study.run()
    assert not (tmp_path / "study.db").exists()


def test_a_full_disk_ends_the_study_and_keeps_what_it_has(
    tmp_path: Path, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, calls = Checkpoints.save, []

    def full(self: Checkpoints, epoch: int, snapshot: Any, score: float) -> None:
        calls.append(epoch)
        if len(calls) == 3:

            def no_space(path: Path, content: Any) -> None:
                raise OSError(28, "No space left on device")

            with monkeypatch.context() as patch:
                patch.setattr("saltation.studies.engine.checkpoints.write_whole", no_space)
                save(self, epoch, snapshot, score)
        save(self, epoch, snapshot, score)

    monkeypatch.setattr(Checkpoints, "save", full)
    with pytest.raises(StoreError, match="No space left on device"):
        integrators(tmp_path).run()
    assert len(recorded(tmp_path)[0]["epochs"]) == 2
    integrators(tmp_path).run()
    assert recorded(tmp_path) == whole["integrators"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_step_and_a_second_one_does_not(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stoppable() as check:
        check()
        signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no study in"),
        ("{", "is not the config of a study"),
        ("[]", "is not the config of a study"),
        ('{"epochs": 3}', "is not the config of a study"),
        ('{"study": "integrator"}', "did you mean 'integrators'"),
        ('{"study": "integrators", "epoch": 3}', "epoch"),
    ],
)
def test_folders_that_are_no_study(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with (
        pytest.raises(ConfigError, match=message)
        if "mean" not in message
        else pytest.raises(st.SaltationError, match=message)
    ):
        study_of(tmp_path)


def test_a_study_is_found_by_its_folder(tmp_path: Path) -> None:
    study: Study[Any] = integrators(tmp_path)
    study.run()
    found = study_of(tmp_path)
    assert found.trials() == study.trials()
    assert json.loads((tmp_path / "config.json").read_text())["study"] == "integrators"
