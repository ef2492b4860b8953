"""The depth study: its grid, what it records and writes, and what modes share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

import saltation as st
from saltation.data import Batch, Dataset, Split, load
from saltation.stability import ESTIMATORS, PENALTIES
from saltation.studies import DepthStudy
from saltation.studies.depth import study as depth
from saltation.studies.depth import trial as depth_trial
from saltation.studies.depth.measures import measure
from saltation.studies.depth.network import driving, network_of
from saltation.studies.engine.checkpoints import Checkpoints
from saltation.studies.engine.folder import study_of
from saltation.studies.engine.progress import StudyProgress
from saltation.training import Task, fit

CPU, QUIET = torch.device("cpu"), StudyProgress([1.0], 1, show=False)
# A study of seconds: everything small but real.
SMALL: dict[str, Any] = {
    "dataset": "digits",
    "depths": [2, 4],
    "side": 16,
    "base_channels": 2,
    "T": 2,
    "epochs": 2,
    "batch_size": 32,
    "limit_train": 64,
    "limit_test": 32,
    "seeds": [0, 1],
    "lyap_every": 1,
    "progress": False,
}
FIGURES = ("accuracy", "condition", "exponent", "growth")
# Of an epoch, as the depth script named them.
SCRIPT = {
    *("epoch", "train_loss", "train_acc", "test_loss", "test_acc", "lyapunov", "grad_norm"),
    *("grad_max_sv", "grad_min_sv", "grad_condition", "lr", "time_sec"),
}
OPTIONS = {
    *("dataset", "depths", "T", "epochs", "batch_size", "lr", "lambda_reg", "lambda_target"),
    *("data_dir", "out_dir", "device", "seed", "no_progress", "reg_type", "warmup_epochs"),
    *("stable_init", "lyap_threshold"),
}


def study(folder: Path, **changes: Any) -> DepthStudy:
    return DepthStudy(out_dir=folder, **SMALL | changes)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the figures, which take longer than the trials."""
    monkeypatch.setattr(depth, "draw_depth", lambda *_: None)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("done")
    return folder, study(folder).run()


@pytest.mark.drawn
def test_writes_its_folder(done: tuple[Path, pd.DataFrame]) -> None:
    folder, results = done
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    figures = {f"figures/{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}
    assert names >= {"config.json", "study.db", "results.csv", "results.json", "summary.md"}
    assert names >= figures
    assert len(results) == 2 * 2 * 2
    assert (results["status"] == "finished").all()
    assert (results["epochs_run"] == 2).all()
    assert results["test_accuracy"].between(0, 100).all()
    assert (results["best_test_accuracy"] >= results["test_accuracy"]).all()
    assert "## Verdict" in (folder / "summary.md").read_text()


def test_config_and_results_have_the_fields_of_the_script(done: tuple[Path, pd.DataFrame]) -> None:
    folder, table = done
    config = json.loads((folder / "config.json").read_text())
    assert set(config) >= OPTIONS
    assert (config["seed"], config["seeds"], config["no_progress"]) == (0, [0, 1], True)
    assert config["out_dir"] == str(folder)
    assert study_of(folder).trials() == study(folder).trials()
    results = json.loads((folder / "results.json").read_text())
    assert len(results["trials"]) == len(table)
    first = table[(table["seed"] == 0) & (table["depth"] == 4)].set_index("mode")
    for method, mode in (("vanilla", "vanilla"), ("lyapunov", "regularised")):
        assert list(results[method]) == ["2", "4"]
        epochs = results[method]["4"]
        assert [e["epoch"] for e in epochs] == [1, 2]
        assert all(set(e) >= SCRIPT for e in epochs)
        assert 100 * epochs[-1]["test_acc"] == pytest.approx(first.loc[mode, "test_accuracy"])
        assert all(e["grad_max_sv"] >= e["grad_min_sv"] >= 0 for e in epochs)
        assert epochs[0]["lr"] == 1e-3


def test_records_every_epoch_and_the_one_before_training(done: tuple[Path, pd.DataFrame]) -> None:
    for trial in json.loads((done[0] / "results.json").read_text())["trials"]:
        layers = trial["settings"]["depth"]
        assert [e["epoch"] for e in trial["epochs"]] == [0, 1, 2]
        for epoch in trial["epochs"]:
            assert epoch["exponent"] is not None
            assert epoch["exponent_finite"] is not None
            assert len(epoch["growth_by_layer"]) == layers - 1
            for name in ("gradient", "largest", "smallest", "condition"):
                assert len(epoch[f"{name}_by_layer"]) == layers
        assert trial["epochs"][0]["test_accuracy"] is None
        for epoch in trial["epochs"][1:]:
            assert len(epoch["rate_by_layer"]) == len(epoch["dead_by_layer"]) == layers
            assert all(0 <= share <= 1 for share in epoch["rate_by_layer"])
            assert min(epoch[k] for k in ("gradient_norm", "seconds", "peak_memory", "lr")) > 0


@pytest.mark.usefixtures("undrawn")
def test_both_modes_start_from_the_same_weights_and_see_the_same_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights: list[list[Tensor]] = []
    orders: list[list[Tensor]] = []

    def watched(network: Any, how: Any, task: Task, **options: Any) -> Any:
        weights.append([p.detach().clone() for p in network.parameters()])
        orders.append([batch.index for epoch in (1, 2) for batch in task.train(epoch)])
        return fit(network, how, task, **options)

    monkeypatch.setattr(depth_trial, "fit", watched)
    results = study(tmp_path, depths=[2], lambda_reg=30.0, lambda_target=0.5).run()
    assert results["mode"].tolist() == ["vanilla", "vanilla", "regularised", "regularised"]
    for vanilla, regularised, other in ((0, 2, 1), (1, 3, 0)):
        assert all(map(torch.equal, weights[vanilla], weights[regularised]))
        assert all(map(torch.equal, orders[vanilla], orders[regularised]))
        assert not all(map(torch.equal, orders[vanilla], orders[other]))
    losses = results["train_loss"]
    assert losses[0] != losses[2]


@pytest.mark.usefixtures("undrawn")
def test_a_penalty_of_zero_trains_as_vanilla_to_the_bit(tmp_path: Path) -> None:
    """λ stays below the threshold, so that all that is left is the estimate: it draws nothing from
    torch's generator, dropout's, and leaves the running statistics alone."""
    results = study(tmp_path, depths=[2], seeds=[0], reg_type=["extreme"], lyap_threshold=9.0).run()
    vanilla, regularised = results["test_loss"]
    assert vanilla == regularised


def test_measuring_leaves_the_network_and_the_generator_alone(tmp_path: Path) -> None:
    (trial,) = study(tmp_path, depths=[2], seeds=[0]).trials()[:1]
    network = network_of(trial, (1, 16, 16), 10).eval()
    batch = Batch(torch.rand(8, 1, 16, 16), torch.arange(8), torch.arange(8))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    generator = torch.get_rng_state()
    first, second = (measure(network, batch, trial) for _ in range(2))
    assert first == second
    assert not network.training
    assert torch.equal(generator, torch.get_rng_state())
    assert all(torch.equal(before[n], value) for n, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_vanilla_trials_do_not_depend_on_the_penalty(tmp_path: Path) -> None:
    one = study(tmp_path).trials()
    other = study(tmp_path, reg_type=["hinge"], estimator=["finite"], lambda_reg=2.0).trials()
    for a, b in zip(one, other, strict=True):
        assert (a == b) == (a["mode"] == "vanilla")


def test_every_penalty_and_estimator_is_a_trial(tmp_path: Path) -> None:
    trials = study(
        tmp_path, depths=[2], reg_type=list(PENALTIES), estimator=list(ESTIMATORS)
    ).trials()
    found = {(t["reg_type"], t["estimator"]) for t in trials if t["mode"] == "regularised"}
    assert found == {(p, e) for p in PENALTIES for e in ESTIMATORS}
    assert len(PENALTIES) == 11
    for trial in trials:
        if trial["mode"] == "regularised":
            depth_trial.Regularisation(trial)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("arch", ["bare_vgg", "mlp"])
def test_other_architectures(arch: str, tmp_path: Path) -> None:
    results = study(
        tmp_path, arch=arch, depths=[3], seeds=[0], stable_init=True, gain=2.0, side=8
    ).run()
    assert results["status"].tolist() == ["finished", "finished"]


def test_gain_and_stable_init_scale_all_weights_but_the_readout(tmp_path: Path) -> None:
    def weights(**changes: Any) -> list[Tensor]:
        torch.manual_seed(0)
        trial = study(tmp_path, **changes).trials()[0]
        return [p.detach() for p in network_of(trial, (1, 16, 16), 10).parameters() if p.ndim > 1]

    plain, large, small = weights(), weights(gain=3.0), weights(stable_init=True)
    for one, two, half in zip(plain[:-1], large[:-1], small[:-1], strict=True):
        torch.testing.assert_close(two, 3 * one)
        torch.testing.assert_close(half, one / 2)
    assert torch.equal(plain[-1], large[-1])


def test_condition_numbers_leave_the_readout_out(tmp_path: Path) -> None:
    trial = study(tmp_path).trials()[0]
    network = network_of(trial, (1, 16, 16), 10)
    named = [name for name, p in network.named_parameters() if p.ndim > 1]
    assert named[-1] == "readout.weight"
    assert list(driving(network)) == named[:-1]


@pytest.mark.drawn
def test_a_diverged_trial_is_shown_and_the_study_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(network: Any, how: Any, task: Task, **options: Any) -> Any:
        if not task.terms:
            with torch.no_grad():
                network.readout.weight.fill_(torch.nan)
        return fit(network, how, task, **options)

    monkeypatch.setattr(depth_trial, "fit", breaking)
    results = study(tmp_path, depths=[2], seeds=[0]).run()
    assert results["status"].tolist() == ["diverged", "finished"]
    assert results["reason"][0] == "the loss is not finite at epoch 1, step 1"
    summary = (tmp_path / "summary.md").read_text()
    assert "1 diverged" in summary
    assert "Diverged, and not in any mean: depth 2 vanilla 1 of 1." in summary
    assert "gradients are not finite" in summary
    written = json.loads((tmp_path / "results.json").read_text())
    assert [e["diverged"] for e in written["vanilla"]["2"]] == [True]
    assert written["vanilla"]["2"][0]["train_loss"] is None
    assert "diverged" in (tmp_path / "figures" / "accuracy.svg").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": [10], "side": 32}, r"depth 10 does not fit .* \(nearest that fit: 8 and 12\)"),
        ({"depths": [4], "side": 8}, r"depth 4 does not fit .* \(nearest that fit: 3 and 6\)"),
        ({"depths": [4, 4]}, "values must differ"),
        ({"depths": []}, "depths"),
        ({"depths": [0]}, "depths: .* got 0"),
        ({"arch": "vg"}, "did you mean 'vgg'"),
        ({"reg_type": ["square"]}, "did you mean 'squared'"),
        ({"estimator": ["finit"]}, "did you mean 'finite'"),
        ({"lambda_reg": 0.0}, "lambda_reg"),
        ({"lambda_target": float("nan")}, "lambda_target"),
        ({"lyap_every": 0}, "lyap_every"),
        ({"lyap_samples": 0}, "lyap_samples"),
        ({"warmup_epochs": -1}, "warmup_epochs"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"gain": 0.0}, "gain"),
        ({"T": 0}, "T: "),
        ({"side": 0}, "side"),
        ({"base_channels": 0}, "base_channels"),
        ({"base_channels": 513}, "base_channels: .* got 513"),
        ({"seed": 3}, "either seed or seeds, got seed=3 and seeds=0 1"),
        ({"dataset": "mnsit"}, "did you mean 'mnist'"),
    ],
)
def test_bad_settings_are_refused_before_anything_runs(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(st.SaltationError, match=message):
        study(tmp_path / "never", **changes)
    assert not (tmp_path / "never").exists()


def test_one_seed_may_be_given_as_the_script_had_it(tmp_path: Path) -> None:
    settings = {name: value for name, value in SMALL.items() if name != "seeds"}
    assert {t["seed"] for t in DepthStudy(**settings, seed=7).trials()} == {7}
    assert {t["seed"] for t in DepthStudy(**settings).trials()} == {42}


def test_images_are_resized(tmp_path: Path) -> None:
    data = study(tmp_path).config.load()
    assert data.shape == (1, 16, 16)
    assert len(data.train) == 64
    assert load("digits").shape == (1, 8, 8)


@pytest.mark.parametrize(("channels", "changed"), [(1, False), (3, True)])
def test_photographs_are_augmented_and_grey_images_are_not(
    channels: int, changed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Tensor] = []

    def watched(network: Any, how: Any, task: Task, **options: Any) -> Any:
        shown.extend(next(iter(task.train(1)))[0:3:2])
        yield from ()

    monkeypatch.setattr(depth_trial, "fit", watched)
    images = torch.randint(256, (40, channels, 16, 16), dtype=torch.uint8)
    split = Split(images, torch.arange(40) % 10)
    one = study(tmp_path, depths=[1], seeds=[0])
    (trial, _), data = one.trials(), Dataset("any", split, split, 10)
    list(one.train(trial, data, CPU, QUIET, Checkpoints(tmp_path / "none", 0)))
    seen, index = shown
    assert torch.equal(seen, images[index] / 255) != changed
