"""The depth study on recorded spikes and on sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import saltation as st
from saltation.data import load
from saltation.studies import DepthStudy
from saltation.studies.depth.network import sequence_of
from saltation.studies.engine.folder import study_of

SMALL: dict[str, Any] = {
    "dataset": "bsd",
    "arch": "mlp",
    "T": 20,
    "beta": 0.5,
    "depths": [3],
    "base_channels": 6,
    "epochs": 1,
    "batch_size": 32,
    "limit_train": 64,
    "limit_test": 32,
    "surrogate": ["sigmoid:2"],
    "seeds": [0],
    "reg_type": ["none"],
    "progress": False,
}


def test_spikes_are_counted_in_the_steps_of_the_trial(tmp_path: Path) -> None:
    study = DepthStudy(out_dir=tmp_path, **SMALL)
    trains: Any = load("bsd", limit_train=4).train.images
    found = sequence_of(trains, study.trials()[0])
    assert found.shape == (20, 4, 10)
    times, units, offsets = trains.recording
    expected = torch.zeros(20, 4, 10)
    for n in range(4):
        for at in range(offsets[n], offsets[n + 1]):
            expected[int(times[at] // 10), n, units[at]] += 1  # 200 ms in 20 steps
    assert torch.equal(found, expected)
    # The last spike is on the edge of the last step, and counts.
    assert trains.counted(4, trains.duration / 4).sum() == len(times)
    end = int(trains.duration)
    last = trains.at(end, 1.0)[end - 1]
    for n in range(4):
        mine = slice(offsets[n], offsets[n + 1])
        assert set(last[n].nonzero().flatten().tolist()) == set(
            units[mine][times[mine] >= end - 1].tolist()
        )
    assert (times == end).any()
    assert expected.max() > 1


def test_remedies_are_applied_to_what_sees_spikes(tmp_path: Path) -> None:
    recipes = {"batch_norm": ["all"], "remedies": ["none", "hard_reset+relay_start"]}
    results = DepthStudy(out_dir=tmp_path, **SMALL | recipes).run()
    assert (results["status"] == "finished").all()
    assert results["test_accuracy"].between(0, 100).all()
    assert (results["synops"] > 0).all()
    applied = results.groupby("remedies", dropna=False)["remedies_applied"].max()
    assert applied["hard_reset+relay_start"] == 2


def test_penalties_are_estimated_on_spikes(tmp_path: Path) -> None:
    penalties = {"arch": "ms_mlp", "reg_type": ["squared", "depth_growth"]}
    results = DepthStudy(out_dir=tmp_path, **SMALL | penalties).run()
    assert (results["status"] == "finished").all()
    assert sorted(results["reg_type"].dropna()) == ["depth_growth", "squared"]


def test_a_network_of_ones_own_is_given_the_units_of_the_recording(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import saltation as st\n"
        "def build(shape, classes, depth):\n"
        "    assert shape == (10,)\n"
        "    return st.spiking_mlp((*shape, *[5] * depth, classes), neuron='lif', beta=0.5)\n"
    )
    mine = {
        "network": f"{file}:build",
        "surrogate": ["own"],
        "arch": "vgg",
        "beta": None,
        "base_channels": 64,
    }
    results = DepthStudy(out_dir=tmp_path / "study", **SMALL | mine).run()
    assert (results["status"] == "finished").all()
    with pytest.raises(st.SaltationError, match="builds the whole network: give no beta"):
        DepthStudy(out_dir=tmp_path / "other", **SMALL | mine | {"beta": 0.5})


def test_sequences_have_steps_of_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((40, 9, 4), dtype=np.float32)
    y = np.arange(40) % 2
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    own = {name: value for name, value in SMALL.items() if name != "T"} | {"dataset": str(path)}
    study = DepthStudy(out_dir=tmp_path / "study", **own)
    assert study.trials()[0]["T"] == 9
    images = load(str(path)).train.images
    given = sequence_of(images[:3], study.trials()[0])
    torch.testing.assert_close(given, torch.from_numpy(x[:3]).transpose(0, 1))
    assert (study.run()["status"] == "finished").all()
    assert study_of(tmp_path / "study").trials() == study.trials()
    with pytest.raises(st.SaltationError, match="sequences of 9 samples, which are the steps"):
        DepthStudy(out_dir=tmp_path / "other", **own, T=5)


def test_sequences_of_different_lengths_are_refused(tmp_path: Path) -> None:
    x, y = np.ones((6, 9, 4), dtype=np.float32), np.arange(6) % 2
    lengths = np.arange(6) + 2
    path = tmp_path / "mine.npz"
    arrays = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    np.savez(path, lengths_train=lengths, lengths_test=lengths, **arrays)
    own = {name: value for name, value in SMALL.items() if name != "T"} | {"dataset": str(path)}
    with pytest.raises(st.SaltationError, match="sequences of different lengths"):
        DepthStudy(out_dir=tmp_path / "study", **own)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"T": None}, "spikes over a time of 200, which are counted in steps: say how many"),
        ({"arch": "vgg"}, r"recorded spikes, and vgg takes images \(allowed: mlp or ms_mlp"),
        ({"dataset": "mackey_glass"}, "this study compares accuracies"),
        ({"beta": 1.5}, "beta"),
        ({"arch": "ms_mlp", "depths": [4]}, "nearest that fit: 3 and 5"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    settings = {k: v for k, v in {**SMALL, **changes}.items() if v is not None}
    with pytest.raises(st.SaltationError, match=message):
        DepthStudy(out_dir=tmp_path, **settings)
