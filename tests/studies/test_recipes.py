"""Recipes of the depth study: what they change, what they share, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy

import saltation as st
from saltation.data import Batch
from saltation.layers.recurrent import neuron_layers
from saltation.models import ARCHITECTURES
from saltation.stability import REMEDIES
from saltation.studies import DepthStudy
from saltation.studies.depth import study as depth
from saltation.studies.depth import trial as depth_trial
from saltation.studies.depth.network import network_of
from saltation.studies.depth.trial import EveryStep, Regularisation
from saltation.studies.recipes import Recipe, recipes, surrogate_of
from saltation.surrogate import FastSigmoid, Sigmoid
from saltation.training import fit
from tests.studies.test_depth import SMALL, study


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the figures, which take longer than the trials."""
    monkeypatch.setattr(depth, "draw_depth", lambda *_: None)


def test_a_recipe_is_the_settings_that_are_not_the_architectures_own() -> None:
    """So that trials without one keep their ids; and back."""
    assert Recipe().settings == {}
    assert str(Recipe()) == ""
    one = Recipe(surrogate="sigmoid:2", remedies="relay_start+cure")
    assert one.settings == {"surrogate": "sigmoid:2", "remedies": "relay_start+cure"}
    assert Recipe.of({"depth": 4, "surrogate": "sigmoid:2", "remedies": "relay_start+cure"}) == one
    assert str(one) == "sigmoid:2, relay_start+cure"


def test_surrogates_have_names_and_parameters() -> None:
    assert surrogate_of("sigmoid") == Sigmoid()
    assert surrogate_of("sigmoid:2") == Sigmoid(2.0)
    assert surrogate_of("fast_sigmoid:25") == FastSigmoid(25.0)


def test_every_combination_is_a_recipe_and_every_recipe_has_every_mode(tmp_path: Path) -> None:
    """The same depths and seeds of each; the benchmark's own trials are what they were."""
    settings: dict[str, Any] = {
        "surrogate": ["own", "sigmoid:2"],
        "batch_norm": ["own", "all"],
        "loss": ["cross_entropy", "tet"],
    }
    assert len(recipes(*settings.values(), ["kaiming"], ["none"])) == 8
    trials = study(tmp_path, reg_type=["squared", "depth_growth"], **settings).trials()
    assert len(trials) == 2 * 2 * 8 * 3
    grown = [t for t in trials if t.get("reg_type") == "depth_growth"]
    assert len(grown) == 2 * 2 * 8
    assert all("estimator" not in t for t in grown)
    assert all(trial in trials for trial in study(tmp_path).trials())
    alone = study(tmp_path, reg_type=["none"]).trials()
    assert {t["mode"] for t in alone} == {"vanilla"}
    assert [Regularisation(t) for t in grown[:1]]


def test_networks_are_made_by_their_recipe(tmp_path: Path) -> None:
    """Surrogate and statistics where they are named, and the benchmark's where not; the same
    initial weights."""
    made = []
    for recipe in ({}, {"surrogate": ["sigmoid:2"], "batch_norm": ["per_step"]}):
        (trial, *_) = study(tmp_path, depths=[4], seeds=[0], **recipe).trials()
        torch.manual_seed(trial["seed"])
        made.append(network_of(trial, (1, 16, 16), 10))
    spikes = [{layer.surrogate for layer in neuron_layers(net).values()} for net in made]
    assert spikes == [{FastSigmoid(25.0)}, {Sigmoid(2.0)}]
    norms = [type(net.get_submodule("stages.0.0.norm")).__name__ for net in made]
    assert norms == ["SequenceBatchNorm", "SpikingBatchNorm2d"]
    for one, two in zip(*(net.parameters() for net in made), strict=True):
        assert torch.equal(one, two)


def test_tet_is_the_loss_of_every_step() -> None:
    """The loss of the mean output and the term add up to it, with its gradient."""
    torch.manual_seed(0)
    net = ARCHITECTURES["vgg"].build((1, 8, 8), 4, 2, base_channels=4, steps=3).eval()
    batch = Batch(torch.rand(6, 1, 8, 8), torch.arange(6) % 4, torch.arange(6))
    plain = net(batch.images)
    term = EveryStep(net)
    logits = term.logits(net, batch, 1, True)
    torch.testing.assert_close(logits, plain)
    total = cross_entropy(logits, batch.labels) + term(net, batch, 1)
    torch.testing.assert_close(total, st.tet_loss(net(batch.images), batch.labels))


@pytest.mark.usefixtures("undrawn")
def test_recipes_are_trained_told_apart_and_loaded(tmp_path: Path) -> None:
    """One depth, two recipes, one with a remedy that fits, and one that does not."""
    results = study(
        tmp_path,
        depths=[4],
        seeds=[0, 1],
        reg_type=["none"],
        epochs=1,
        surrogate=["sigmoid:2"],
        loss=["tet"],
        remedies=["none", "surrogate_width", "relay_start"],
    ).run()
    assert (results["status"] == "finished").all()
    told = ["sigmoid:2, tet", "sigmoid:2, tet, surrogate_width", "sigmoid:2, tet, relay_start"]
    assert results["recipe"].unique().tolist() == told
    by_recipe = results.set_index(["recipe", "seed"])
    assert (by_recipe.loc[told[1], "remedies_applied"] == 1).all()
    assert (by_recipe.loc[told[2], "remedies_refused"] == 1).all()
    losses = by_recipe["train_loss"]
    assert losses[told[0], 0] == losses[told[2], 0]  # nothing was changed
    assert losses[told[0], 0] != losses[told[1], 0]
    summary = (tmp_path / "summary.md").read_text()
    assert f"| 4 | {told[1]} |" in summary
    assert f"trained without it: depth 4 {told[2]} 2 of 2." in summary
    script = json.loads((tmp_path / "results.json").read_text())
    assert list(script["vanilla"]) == ["4"]
    network = st.load(tmp_path, {"remedies": "surrogate_width", "seed": 1})
    widths = {layer.surrogate.width for layer in neuron_layers(network).values()}
    assert len(widths) == 4  # as measured, not as built
    assert Sigmoid(2.0).width not in widths


@pytest.mark.usefixtures("undrawn")
def test_a_trial_with_remedies_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A remedy that replaces modules is there again before the checkpoint is: the same bits."""
    changes: dict[str, Any] = {
        "depths": [4],
        "seeds": [0],
        "reg_type": ["none"],
        "remedies": ["statistics_per_step+surrogate_width"],
    }
    whole = study(tmp_path / "whole", **changes).run()

    def cut(*args: Any, **options: Any) -> Any:
        for record in fit(*args, **options):
            yield record
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(depth_trial, "fit", cut)
        with pytest.raises(KeyboardInterrupt):
            study(tmp_path / "cut", **changes).run()
    resumed = study(tmp_path / "cut", **changes).run()
    assert resumed["epochs_run"].tolist() == [2]
    columns = ["train_loss", "test_loss", "test_accuracy", "remedies_applied"]
    pd.testing.assert_frame_equal(resumed[columns], whole[columns])


@pytest.mark.usefixtures("undrawn")
def test_a_cure_is_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it finds is trained; it is asked with the trial's samples, rate and seed."""
    asked: list[dict[str, Any]] = []

    def found(network: Any, x: Any, y: Any, **options: Any) -> Any:
        asked.append(options | {"samples": len(y)})
        treatment = REMEDIES["surrogate_width"]().apply(network, x)
        return type("Cure", (), {"network": network, "lr": 0.5e-3, "treatments": [treatment]})()

    monkeypatch.setattr("saltation.studies.recipes.cure", found)
    results = study(
        tmp_path, depths=[2], seeds=[1], reg_type=["none"], epochs=1, remedies=["cure"]
    ).run()
    assert asked == [{"lr": 1e-3, "seed": 1, "samples": 64}]
    assert results["remedies_applied"].tolist() == [1]
    assert results["lr"].tolist() == [0.5e-3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surrogate": ["sigmod"]}, "did you mean 'sigmoid'"),
        ({"surrogate": ["sigmoid:x"]}, "a surrogate is NAME or NAME:NUMBER.*got 'sigmoid:x'"),
        ({"surrogate": ["sigmoid:-1"]}, "alpha"),
        ({"batch_norm": ["al"]}, "batch_norm"),
        ({"init": ["kaming"]}, "did you mean 'kaiming'"),
        ({"loss": ["ted"]}, "did you mean 'tet'"),
        ({"remedies": ["relay_star"]}, "did you mean 'relay_start'"),
        ({"remedies": ["cure+relay_star"]}, "did you mean 'relay_start'"),
        ({"arch": "bare_vgg", "batch_norm": ["all"]}, "'bare_vgg' has no choice of batch_norm"),
        ({"arch": "mlp", "loss": ["tet"]}, "'mlp' has no choice of loss 'tet'"),
        ({"batch_norm": ["all"], "estimator": ["finite"]}, "estimator 'finite' takes networks"),
        ({"reg_type": ["depth_growth"], "depths": [1, 2]}, "two layers of neurons or more"),
        ({"stable_init": True, "init": ["scaled"]}, "either stable_init or init"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    """Before anything runs."""
    with pytest.raises(st.SaltationError, match=message):
        DepthStudy(**SMALL | changes)
