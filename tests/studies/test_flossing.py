"""The flossing study: its grid, what it records, and reports from the record alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
import torch

import saltation as st
from saltation.studies import FlossingStudy
from saltation.studies.flossing import study as flossing
from saltation.studies.flossing import trial as flossing_trial
from saltation.studies.flossing.report import draw_flossing, flossing_grid
from saltation.studies.flossing.trial import floss, measure, network_of

CPU = torch.device("cpu")
# A study of seconds: everything small but real.
SMALL: dict[str, Any] = {
    "tasks": ["xor", "copy"],
    "delays": [2, 5],
    "seeds": [0],
    "hidden": 16,
    "epochs": 2,
    "train_samples": 64,
    "test_samples": 32,
    "batch_size": 16,
    "k": 3,
    "floss_steps": 3,
    "floss_window": 6,
    "floss_samples": 2,
    "floss_every": 2,
    "progress": False,
}
FIGURES = ("accuracy", "spectrum", "gradient_by_distance")


def study(folder: Path, **changes: Any) -> FlossingStudy:
    return FlossingStudy(out_dir=folder, **SMALL | changes)


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(a.drop(columns="seconds"), b.drop(columns="seconds"))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("done")
    return folder, study(folder).run()


@pytest.mark.drawn
def test_writes_its_folder(done: tuple[Path, pd.DataFrame]) -> None:
    folder, results = done
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    figures = {f"figures/{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}
    tables = {"config.json", "study.db", "results.csv", "results.json", "report.html"}
    assert names >= tables | figures
    table = pd.read_csv(folder / "results.csv")
    assert len(table) == len(results) == 2 * 2 * 3
    assert (table["status"] == "finished").all()
    assert (table["epochs_run"] == 2).all()
    assert table["success"].dtype == bool
    assert table["test_accuracy"].between(0, 100).all()
    assert table[["exponent_drawn", "exponent_before", "exponent_after"]].notna().all(axis=None)
    assert not any("[" in str(value) for value in table.to_numpy().flat)


def test_records_every_epoch_and_the_one_before_training(done: tuple[Path, pd.DataFrame]) -> None:
    for trial in json.loads((done[0] / "results.json").read_text()):
        settings, epochs = trial["settings"], trial["epochs"]
        steps = flossing.task_of(settings).steps
        assert [e["epoch"] for e in epochs] == [0, 1, 2]
        for epoch in epochs:
            assert len(epoch["spectrum"]) == 3
            assert epoch["spectrum"][0] == epoch["exponent"]
            assert len(epoch["gradient_by_distance"]) == steps
            assert 0 <= epoch["mean_spike_rate"] <= 1
            assert epoch["test_loss"] > 0
        assert epochs[0]["train_loss"] is None
        assert epochs[0]["gradient_norm"] is None
        assert all(e["gradient_norm"] > 0 and e["train_loss"] > 0 for e in epochs[1:])
        flossed = settings["mode"] != "none"
        assert (epochs[0]["spectrum"] != epochs[0]["spectrum_drawn"]) == flossed


def test_modes_share_what_comes_before(done: tuple[Path, pd.DataFrame]) -> None:
    for _, trials in done[1].groupby(["task", "delay"]):
        by_mode = trials.set_index("mode")
        assert by_mode["exponent_drawn"].nunique() == 1
        assert by_mode.loc["before", "exponent_before"] == by_mode.loc["both", "exponent_before"]
        assert by_mode.loc["before", "test_loss"] != by_mode.loc["both", "test_loss"]


def test_settings_of_flossing_do_not_touch_trials_without_it(tmp_path: Path) -> None:
    one, other = study(tmp_path).trials(), study(tmp_path, floss_lr=0.5, floss_every=7).trials()
    for a, b in zip(one, other, strict=True):
        assert (a == b) == (a["mode"] == "none")


def test_flossing_moves_exponents_towards_zero(tmp_path: Path) -> None:
    settings = {"hidden": 32, "k": 4, "floss_steps": 20, "floss_window": 9}
    (trial,) = study(tmp_path, tasks=["copy"], delays=[5], modes=["before"], **settings).trials()
    torch.manual_seed(0)
    network = network_of(trial)
    readout = network[2].weight.clone()
    drawn = measure(network, trial, CPU)["spectrum"]
    floss(network, trial, CPU)
    flossed = measure(network, trial, CPU)["spectrum"]
    assert max(drawn) < -0.2
    assert all(abs(b) < abs(a) - 0.02 for a, b in zip(drawn, flossed, strict=True))
    assert torch.equal(network[2].weight, readout)


def test_gradients_by_distance_are_those_of_single_samples(tmp_path: Path) -> None:
    (trial,) = study(tmp_path, tasks=["copy"], delays=[5], modes=["none"]).trials()
    torch.manual_seed(0)
    network = network_of(trial)
    found = measure(network, trial, CPU)["gradient_by_distance"]
    index = torch.arange(flossing_trial._MEASURED) + flossing_trial._PLACE
    x, labels = flossing.task_of(trial).draw(index, seed=0, epoch=0, stream=flossing_trial.TEST)
    norms = []
    for i in range(len(labels)):
        currents = network[0](x[:, i : i + 1]).detach().requires_grad_()
        outputs = network[2](network[1](currents))
        logits = outputs[-trial["answer_steps"] :].mean(0)
        torch.nn.functional.cross_entropy(logits, labels[i : i + 1]).backward()
        norms.append(currents.grad[:, 0].norm(dim=1))
    expected = torch.stack(norms).mean(0).flip(0)
    torch.testing.assert_close(torch.tensor(found), expected, rtol=1e-4, atol=1e-9)


def test_flossing_that_breaks_the_network_is_a_diverged_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        flossing_trial,
        "_penalty",
        lambda *a, **k: lambda network, x: network[0].weight.sum() * torch.nan,
    )
    results = study(tmp_path, tasks=["copy"], delays=[2], modes=["none", "before"]).run()
    assert results["status"].tolist() == ["finished", "diverged"]
    assert results["reason"][1] == "the flossing penalty is not finite at epoch 0, step 1"
    assert results["success"].tolist()[1] is False
    assert flossing_grid(results)["accuracy"][1] == "none"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ["xro"]}, "did you mean 'xor'"),
        ({"tasks": []}, "tasks"),
        ({"tasks": ["xor", "xor"]}, "values must differ"),
        ({"delays": [0]}, "delays: .* got 0"),
        ({"delays": []}, "delays"),
        ({"modes": ["befor"]}, "did you mean 'before'"),
        ({"modes": []}, "modes"),
        ({"seeds": [-1]}, "seeds"),
        ({"neuron": "liff"}, "did you mean 'lif'"),
        ({"surrogate": "atna"}, "did you mean 'atan'"),
        ({"hidden": 0}, "hidden"),
        ({"k": 17}, "k must be at most the 16 neurons of the layer, got 17"),
        ({"k": 0}, "k: "),
        ({"tau": 0.0}, "tau"),
        ({"gain": -1.0}, "gain"),
        ({"noise": 1.5}, "noise: .* got 1.5"),
        ({"success_at": 101.0}, "success_at"),
        ({"floss_steps": 0}, "floss_steps"),
        ({"floss_lr": float("nan")}, "floss_lr"),
        ({"floss_window": 0}, "floss_window"),
        ({"floss_every": 0}, "floss_every"),
        ({"floss_weight": 0.0}, "floss_weight"),
        ({"epochs": 0}, "epochs"),
        ({"device": "tpu9"}, "device 'tpu9' cannot be used"),
        ({"dataset": "digits"}, "unknown setting 'dataset'"),
    ],
)
def test_bad_settings_are_refused_before_anything_runs(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(st.SaltationError, match=message):
        study(tmp_path / "never", **changes)
    assert not (tmp_path / "never").exists()


def test_any_neuron_can_be_flossed(tmp_path: Path) -> None:
    results = study(
        tmp_path, neuron="izhikevich", tasks=["xor"], delays=[2], modes=["both"], epochs=1
    ).run()
    assert results["status"].tolist() == ["finished"]


def record(task: str, delay: int, mode: str, seed: int, accuracy: float, status: str) -> Any:
    epoch = {
        "test_accuracy": accuracy,
        "spectrum": [-0.1, -0.2],
        "gradient_by_distance": [1e-2, 1e-3, 0.0],
    }
    settings = {"task": task, "delay": delay, "mode": mode, "seed": seed}
    return {"settings": settings, "status": status, "epochs": [epoch, epoch]}


def texts(path: Path) -> set[str]:
    svg = ElementTree.parse(path)
    return {"".join(e.itertext()).strip() for e in svg.iter("{http://www.w3.org/2000/svg}text")}


@pytest.mark.drawn
def test_figures_come_from_the_record_alone(tmp_path: Path) -> None:
    records = [
        record("xor", delay, mode, seed, 60.0 + seed, "finished")
        for delay in (5, 20)
        for mode in ("none", "both")
        for seed in (0, 1)
    ]
    records.append({"settings": {}, "status": "failed", "epochs": []})
    draw_flossing(records, tmp_path, 95.0)
    assert {p.stem for p in tmp_path.iterdir()} == set(FIGURES)
    assert texts(tmp_path / "accuracy.svg") >= {
        *("xor", "delay (steps)", "test accuracy (%)"),
        *("none", "before and during training"),
    }
    assert "distance in time (steps)" in texts(tmp_path / "gradient_by_distance.svg")
    assert {"xor, delay 20", "exponent"} <= texts(tmp_path / "spectrum.svg")


def test_nothing_to_draw_draws_nothing(tmp_path: Path) -> None:
    draw_flossing([record("xor", 5, "none", 0, 50.0, "interrupted")], tmp_path, 95.0)
    assert list(tmp_path.iterdir()) == []


def test_grid_shows_mean_spread_success_and_trouble() -> None:
    shared = {"task": "xor", "delay": 5, "mode": "none", "exponent_drawn": -0.25}
    results = pd.DataFrame(
        [
            shared | {"test_accuracy": 90.0, "success": False, "status": "finished"},
            shared | {"test_accuracy": 98.0, "success": True, "status": "finished"},
            shared | {"test_accuracy": 50.0, "success": False, "status": "diverged"},
        ]
    ).assign(exponent_before=[-0.1, -0.2, None], exponent_after=[0.0, 0.1, None])
    (row,) = flossing_grid(results).to_dict("records")
    assert row["accuracy"] == "94.0 ± 5.7"
    assert row["solved"] == "1/3"
    assert (row["λ1 drawn"], row["before"], row["after"]) == ("-0.25", "-0.15", "0.05")
