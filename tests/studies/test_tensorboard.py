"""What TensorBoard reads back of a study is what its record has."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

import saltation as st
from saltation.studies import FlossingStudy, IntegratorsStudy
from saltation.studies.engine.store import RECORD, Store
from saltation.studies.engine.tensorboard import Board
from saltation.training import EpochRecord, Score

accumulators = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator",
    reason="needs saltation[tensorboard]",
)

SMALL: dict[str, Any] = {
    "limit_train": 64,
    "limit_test": 32,
    "neurons": ["lif"],
    "schemes": ["exponential"],
    "dt": [1.0, 2.0],
    "steps": 5,
    "hidden": [16, 8],
    "epochs": 2,
    "batch_size": 32,
    "progress": False,
}


def read(folder: Path) -> Any:
    found = accumulators.EventAccumulator(
        str(folder), size_guidance={"scalars": 0, "histograms": 0}
    )
    found.Reload()
    return found


def test_scalars_and_spike_rates_of_every_epoch(tmp_path: Path) -> None:
    study = IntegratorsStudy(out_dir=tmp_path, tensorboard=True, **SMALL)
    study.run()
    with Store(tmp_path / RECORD) as store:
        records = store.trials()
    assert len(records) == 2
    for record in records:
        (folder,) = (tmp_path / "tensorboard").glob(f"*{record['id']}")
        assert folder.name.startswith(study.label(record["settings"]))
        board = read(folder)
        # The last epoch also says what a sample costs.
        names = {name for name, value in record["epochs"][-1].items() if value is not None}
        assert set(board.Tags()["scalars"]) == names - {"epoch"}
        for name in board.Tags()["scalars"]:
            written = [(event.step, event.value) for event in board.Scalars(name)]
            assert written == [
                (epoch["epoch"], pytest.approx(epoch[name], rel=1e-6))
                for epoch in record["epochs"]
                if name in epoch
            ]
        kinds = {f"{kind}/{layer}" for kind in ("spike_rate", "potential") for layer in "13"}
        assert set(board.Tags()["histograms"]) == kinds
        for layer, neurons in (("1", 16), ("3", 8)):
            events = board.Histograms(f"spike_rate/{layer}")
            assert [event.step for event in events] == [1, 2]
            assert {event.histogram_value.num for event in events} == {neurons}
            assert all(0 <= event.histogram_value.max <= 1 for event in events)
            potentials = board.Histograms(f"potential/{layer}")
            assert [event.step for event in potentials] == [1, 2]
            per_epoch = SMALL["steps"] * min(SMALL["batch_size"], SMALL["limit_test"]) * neurons
            assert {event.histogram_value.num for event in potentials} == {per_epoch}


def record(epoch: int) -> EpochRecord:
    statistics = st.SpikeStatistics()
    statistics.update(torch.ones(2, 1, 3))
    return EpochRecord(epoch, Score(1, 1), Score(1, 1), {"1": statistics}, 1.0, 0.1, 1.0)


def test_a_resumed_trial_hides_what_was_written_beyond_its_checkpoint(tmp_path: Path) -> None:
    for after, epochs, loss in ((0, (1, 2, 3), 1.0), (1, (2,), 2.0)):
        board = Board(tmp_path, "lif a/b", after)
        for epoch in epochs:
            board.add(record(epoch), {"epoch": epoch, "loss": loss, "spectrum": [1.0], "no": None})
        board.close()
    found = read(tmp_path / "lif a-b")
    assert [(e.step, e.value) for e in found.Scalars("loss")] == [(1, 1.0), (2, 2.0)]
    assert found.Tags()["scalars"] == ["loss"]


def test_without_the_package_nothing_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name)
    )
    study = IntegratorsStudy(out_dir=tmp_path / "never", tensorboard=True, **SMALL)
    with pytest.raises(st.ConfigError, match=r"pip install 'saltation\[tensorboard\]'"):
        study.run()
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("study", [IntegratorsStudy, FlossingStudy])
def test_watching_does_not_make_other_trials(study: Any, tmp_path: Path) -> None:
    """A study that was begun without goes on with it."""
    assert study(tensorboard=True).trials() == study().trials()
