"""The R-STDP study: its grid, what it records, and reports from the record alone."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
import torch

import saltation as st
from saltation.data import batches, load
from saltation.kernels.events import dense_of
from saltation.learning import RSTDP, PairSTDP, TraceRSTDP, WinnerTakeAllNetwork
from saltation.random import TEST, TRAIN
from saltation.studies import RSTDPStudy
from saltation.studies.rstdp import study as rstdp
from saltation.studies.rstdp.report import draw_rstdp, rates_grid, rstdp_grid
from saltation.studies.rstdp.trial import RULES, cost_of_competing, rule_of, run_trial

# A study of seconds: everything small but real.
SMALL: dict[str, Any] = {
    "dataset": "digits",
    "limit_train": 200,
    "limit_test": 100,
    "schemes": ["euler", "exponential"],
    "dt": [0.05, 0.5],
    "steps": [10, 20],
    "hidden": 24,
    "epochs": 2,
    "batch_size": 16,
    "test_batch_size": 40,
    "progress": False,
}
ONE: dict[str, Any] = {"schemes": ["euler"], "dt": [0.05], "steps": [20]}
FIGURES = ("accuracy", "accuracy_by_steps", "rates", "weights")
RATES = ("hidden_rate", "output_rate", "silent_samples")


def study(folder: Path, **changes: Any) -> RSTDPStudy:
    return RSTDPStudy(out_dir=folder, **SMALL | changes)


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(a.drop(columns="seconds"), b.drop(columns="seconds"))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("done")
    return folder, study(folder).run()


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take most of the time of a study this small."""
    monkeypatch.setattr(rstdp, "draw_rstdp", lambda *a: None)


@pytest.mark.drawn
def test_writes_its_folder(done: tuple[Path, pd.DataFrame]) -> None:
    folder, results = done
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    figures = {f"figures/{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}
    assert names >= {"config.json", "study.db", "results.csv", "results.json"} | figures
    table = pd.read_csv(folder / "results.csv")
    assert len(table) == len(results) == 2 * 2 * 2
    assert (table["status"] == "finished").all()
    assert (table["epochs_run"] == 2).all()
    assert table["test_accuracy"].between(0, 100).all()
    assert table["test_accuracy"].max() > 20
    for name in (*RATES, *(f"train_{name}" for name in RATES)):
        assert table[name].between(0, 1).all()
    # 4.6 pJ for each update of a state and 0.9 for each synaptic operation.
    updates = (table["energy_nj"] - 0.9e-3 * table["synops"]) / 4.6e-3
    assert (updates - table["steps"] * (24 + 10)).abs().max() < 1e-6
    assert not any("[" in str(value) for value in table.to_numpy().flat)


def test_operations_of_competing_outputs_are_spikes_times_weights() -> None:
    """Whether the input is kept as events or is a dense tensor."""
    torch.manual_seed(0)
    network = WinnerTakeAllNetwork(6, 5, 3)
    x = st.poisson(torch.rand(4, 6), 20, method="bernoulli", seed=0)
    hidden = float(network(x).hidden_counts.sum())
    assert hidden > 0
    for given in (x, dense_of(x)):
        found = cost_of_competing(network, given)
        assert found["synops"] == (float(dense_of(x).sum()) * 5 + hidden * 3) / 4


def test_records_every_epoch(done: tuple[Path, pd.DataFrame]) -> None:
    for trial in json.loads((done[0] / "results.json").read_text()):
        first, last = trial["epochs"]
        assert (first["epoch"], last["epoch"]) == (1, 2)
        assert (first["teach"], last["teach"]) == (1.0, 0.95)
        assert first["train_loss"] > 0
        assert "images" not in first
        assert [len(image) for image in last["images"]] == [64] * 10


def test_a_trial_is_the_loop_of_the_public_parts(tmp_path: Path, undrawn: None) -> None:
    """The same numbers from batches, encoder, network and rule."""
    (row,) = study(tmp_path, **ONE, train_batches=9).run().to_dict("records")
    data = load("digits", limit_train=200, limit_test=100)
    torch.manual_seed(0)
    net, rule = WinnerTakeAllNetwork(64, 24, 10, dt=0.05), RSTDP(0.05, "pm1", 5.0, 0.0)

    def encoded(batch: Any, epoch: int, stream: int) -> torch.Tensor:
        x, place = batch.images.flatten(1), {"index": batch.index, "epoch": epoch}
        return st.poisson(x, 20, method="bernoulli", stream=stream, **place)

    for epoch, teach in ((1, 1.0), (2, 0.95)):
        trained = right = 0
        order = batches(data.train, 16, epoch=epoch, shuffle=True, drop_last=True)
        for batch in itertools.islice(order, 9):
            activity = net(encoded(batch, epoch, TRAIN), batch.labels, teach)
            right += int((activity.answers == batch.labels).sum())
            trained += 16
            rule.learn(net.output.weight, activity, batch.labels)
    (test,) = batches(data.test, 100)
    activity = net(encoded(test, 2, TEST))
    assert row["train_accuracy"] == pytest.approx(100 * right / trained)
    assert row["test_accuracy"] == int((activity.answers == test.labels).sum())
    assert row["silent_samples"] == pytest.approx(activity.silent.float().mean().item())
    spoke = set(activity.answers[~activity.silent].tolist())
    assert row["silent_outputs"] == 10 - len(spoke)
    assert row["hidden_rate"] == pytest.approx(activity.hidden.mean().item())
    assert row["output_rate"] == pytest.approx(activity.outputs.mean().item())
    loss = torch.nn.functional.cross_entropy(activity.output_counts, test.labels)
    assert row["test_loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_the_size_of_test_batches_does_not_matter(
    done: tuple[Path, pd.DataFrame], tmp_path: Path, undrawn: None
) -> None:
    other = study(tmp_path, **ONE, test_batch_size=7).run()
    one = done[1].query("scheme == 'euler' and dt == 0.05 and steps == 20")
    assert other["test_accuracy"].tolist() == one["test_accuracy"].tolist()
    assert other["silent_samples"].tolist() == one["silent_samples"].tolist()


@pytest.mark.parametrize("reward", RULES)
def test_every_reward_runs_with_its_rule(reward: str, tmp_path: Path, undrawn: None) -> None:
    (row,) = study(tmp_path, reward=[reward], **ONE).run().to_dict("records")
    assert row["status"] == "finished"
    (trial,) = study(tmp_path, reward=[reward], **ONE).trials()
    rule = rule_of(trial)
    assert rule.lr == 0.05
    if isinstance(rule, TraceRSTDP | PairSTDP):
        assert rule.dt == 0.05
        assert ("tau_eligibility" in trial) == isinstance(rule, TraceRSTDP)
    else:
        assert isinstance(rule, RSTDP)
        assert "tau_plus" not in trial


def test_an_interrupted_study_goes_on_to_the_same_numbers(
    done: tuple[Path, pd.DataFrame],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    undrawn: None,
) -> None:
    calls = []

    def interrupted(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run_trial(*args)

    monkeypatch.setattr(rstdp, "run_trial", interrupted)
    part: dict[str, Any] = ONE | {"dt": [0.05, 0.5]}
    with pytest.raises(KeyboardInterrupt):
        study(tmp_path, **part).run()
    statuses = pd.read_csv(tmp_path / "results.csv")["status"]
    assert statuses.tolist() == ["finished", "interrupted"]
    monkeypatch.setattr(rstdp, "run_trial", run_trial)
    rows = done[1].query("scheme == 'euler' and steps == 20").reset_index(drop=True)
    same(study(tmp_path, **part).run(), rows)
    monkeypatch.setattr(rstdp, "run_trial", lambda *a: pytest.fail("a trial was run again"))
    same(study(tmp_path, **part).run(), rows)


def test_settings_of_pairs_do_not_touch_rules_of_counts(tmp_path: Path) -> None:
    rewards = ["pm1", "trace_end"]
    one = study(tmp_path, reward=rewards).trials()
    other = study(tmp_path, reward=rewards, tau_eligibility=7.0, total=3.0).trials()
    for a, b in zip(one, other, strict=True):
        assert (a == b) == (a["reward"] == "pm1")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reward": ["pm2"]}, "unknown reward 'pm2'; did you mean 'pm1'"),
        ({"schemes": ["symplectic"]}, "symplectic"),
        ({"schemes": ["eulr"]}, "did you mean 'euler'"),
        ({"lr": 0.0}, "lr: input should be greater than 0, got 0.0"),
        ({"teach": -1.0}, "teach: input should be greater than or equal to 0"),
        ({"teach_decay": 1.5}, "teach_decay: input should be less than or equal to 1"),
        ({"optimizer": "adam"}, "unknown setting 'optimizer'"),
    ],
)
def test_refuses_before_it_starts(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(st.ConfigError, match=message):
        RSTDPStudy(**settings)


def test_grids_show_mean_and_spread_and_rates(done: tuple[Path, pd.DataFrame]) -> None:
    results = done[1].copy()
    results["seed"] = 0
    again = results.assign(seed=1, test_accuracy=results["test_accuracy"] + 2)
    grid = rstdp_grid(pd.concat([results, again]))
    first = results.query("scheme == 'euler' and dt == 0.5 and steps == 20")["test_accuracy"]
    assert grid.loc[("pm1", "euler", "20"), 0.5] == f"{first.iloc[0] + 1:.1f} ± 1.4"
    assert grid.columns.tolist() == [0.05, 0.5]
    # Rates of both layers, samples without a spike, and outputs without an answer.
    assert rates_grid(results).shape == (8, 4)


@pytest.mark.drawn
def test_figures_are_drawn_from_the_record(done: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    draw_rstdp(json.loads((done[0] / "results.json").read_text()), tmp_path)
    svg = ElementTree.parse(tmp_path / "rates.svg")
    texts = {"".join(e.itertext()).strip() for e in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert {"samples without an output spike", "exponential, T = 20", "0.05"} <= texts
    assert (tmp_path / "weights.png").stat().st_size > 5000


def test_nothing_to_draw_draws_nothing(tmp_path: Path) -> None:
    draw_rstdp([{"status": "failed", "settings": {}, "epochs": []}], tmp_path)
    assert list(tmp_path.iterdir()) == []
