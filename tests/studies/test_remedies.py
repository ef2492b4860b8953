"""The remedies study: its grid, its faults, and what it ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import saltation as st
from saltation.layers import watch
from saltation.layers.recurrent import neuron_layers
from saltation.studies import RemediesStudy
from saltation.studies.remedies.faults import FAULTS
from saltation.studies.remedies.report import overall, ranking, remedies_text
from saltation.studies.report.intervals import Interval

SMALL: dict[str, Any] = {
    "networks": ["vgg"],
    "faults": ["none", "silent"],
    "remedies": ["homeostasis"],
    "depth": 2,
    "base_channels": 4,
    "side": 8,
    "samples": 400,
    "epochs": 3,
    "lr": 1e-2,
    "seeds": [0, 1],
    "progress": False,
}


@pytest.mark.drawn
def test_silent_networks_are_mended_by_what_wakes_them(tmp_path: Path) -> None:
    """And healthy ones are left alone; the record, tables and figure have it."""
    study = RemediesStudy(out_dir=tmp_path, **SMALL)
    results = study.run()
    assert (results["status"] == "finished").all()
    assert len(results) == 2 * 2 * 2
    assert (results["energy_nj"] > 0).all()  # of the treated network after its training
    ranked = ranking(results).set_index(["fault", "remedy"])
    assert ranked.loc[("none", "homeostasis"), "refused"] == 2
    assert ranked.loc[("none", "homeostasis"), "difference"] == Interval(0.0, 0.0, 2)
    assert ranked.loc[("silent", "homeostasis"), "difference"].mean > 20
    assert ranked.loc[("silent", "none"), "value"] < 30
    assert [fault for fault, _ in ranked.index][:2] == ["none", "none"]
    assert ranked.xs("silent").index.tolist() == ["homeostasis", "none"]
    assert "| vgg | silent | homeostasis |" in (tmp_path / "summary.md").read_text()
    assert (tmp_path / "figures" / "remedies.png").is_file()
    again = RemediesStudy(out_dir=tmp_path, **SMALL | {"seeds": [0, 1, 2]}).run()
    assert again["id"].tolist()[:2] == results["id"].tolist()[:2]
    assert again["test_loss"].tolist()[:2] == results["test_loss"].tolist()[:2]


NETWORK = """
import torch, saltation as st

def build():
    x = torch.rand(6, 48, 5, generator=torch.Generator().manual_seed(0))
    y = x.mean(0).argmax(1)
    layers = [torch.nn.Linear(5, 24), st.LIF(beta=0.9), torch.nn.Linear(24, 5)]
    return torch.nn.Sequential(*layers), x, y, lambda out, y: LOSS(out.sum(0), y)

LOSS = torch.nn.functional.cross_entropy
"""


def test_a_users_network_is_given_by_a_file(tmp_path: Path) -> None:
    """With its own loss, by which remedies are then ranked: smaller is better."""
    (tmp_path / "mine.py").write_text(NETWORK)
    results = RemediesStudy(
        out_dir=tmp_path / "run",
        **SMALL
        | {
            "network": f"{tmp_path}/mine.py:build",
            "faults": ["silent"],
            "seeds": [0],
            "epochs": 10,
            "batch_size": 12,
        },
    ).run()
    assert (results["status"] == "finished").all()
    assert results["test_accuracy"].isna().all()
    ranked = ranking(results)
    assert ranked["remedy"].tolist() == ["homeostasis", "none"]
    assert ranked["value"].is_monotonic_increasing
    assert "held-out loss" in remedies_text(results)
    # Spikes, and their energy, where the network was woken: of the treated, trained one.
    by_remedy = results.set_index("remedy")
    assert by_remedy["synops"]["none"] < by_remedy["synops"]["homeostasis"]
    assert by_remedy["energy_nj"]["none"] < by_remedy["energy_nj"]["homeostasis"]


def test_faults_are_what_they_are_called() -> None:
    """Rates and widths of the networks that they are planted into."""
    x = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def planted(fault: str) -> tuple[list[float], Any]:
        torch.manual_seed(0)
        net = st.spiking_vgg(1, 4, 8, stages=3, blocks_per_stage=1, base_channels=8)
        FAULTS[fault](net, st.direct(x, 4))
        with watch(net) as seen:
            net(x)
        return [one.mean_spike_rate for one in seen.values()], net

    healthy, _ = planted("none")
    assert min(healthy) > 0.03
    assert max(planted("silent")[0]) == 0
    assert [rate > 0 for rate in planted("dead_layer")[0]][:2] == [True, False]
    steep, net = planted("steep")
    assert steep == healthy
    widths = [layer.surrogate.width for layer in neuron_layers(net).values()]
    assert widths == pytest.approx(3 * [0.01], rel=0.02)
    large, _ = planted("large")
    assert sum(large) > 1.5 * sum(healthy)
    _, net = planted("step_statistics")
    assert net.get_submodule("stages.0.0.norm").statistics == "step"


def row(remedy: str, seed: int, accuracy: float, fault: str = "steep") -> dict[str, Any]:
    return {
        "network": "vgg",
        "fault": fault,
        "remedy": remedy,
        "seed": seed,
        "test_accuracy": accuracy,
        "test_loss": 1.0,
        "refused": 0,
        "status": "finished",
    }


def test_differences_are_paired_and_helps_are_counted() -> None:
    """The seeds differ by forty points, the pairs by two to four."""
    table = pd.DataFrame(
        [
            *(row("none", seed, value) for seed, value in enumerate((20.0, 40.0, 60.0))),
            *(row("a", seed, value) for seed, value in enumerate((23.0, 42.0, 64.0))),
            *(row("b", seed, value) for seed, value in enumerate((18.0, 38.0, 57.0))),
        ]
    )
    ranked = ranking(table)
    assert ranked["remedy"].tolist() == ["a", "none", "b"]
    assert ranked["difference"][0].mean == pytest.approx(3)
    assert ranked["difference"][0].sign == 1
    counted = overall(ranked).set_index("remedy")
    assert counted.loc["a"].to_dict() == {
        "helps": 1,
        "harms": 0,
        "refused": 0,
        "of": 1,
        "mean": pytest.approx(3),
    }
    assert (counted.loc["b", "helps"], counted.loc["b", "harms"]) == (0, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"networks": ["vg"]}, "did you mean 'vgg'"),
        ({"faults": ["silnt"]}, "did you mean 'silent'"),
        ({"remedies": ["homeostasi"]}, "did you mean 'homeostasis'"),
        ({"depth": 5}, r"depth 5 does not fit"),
        ({"dataset": "digit"}, "did you mean 'digits'"),
        ({"network": "nowhere.py:build"}, "there is no file nowhere.py"),
        ({"network": "nowhere"}, "a network is given as FILE.py:FUNCTION"),
        ({"samples": 8}, "samples"),
    ],
)
def test_what_cannot_be_run_is_refused(changes: dict[str, Any], message: str) -> None:
    """Before there is a folder."""
    with pytest.raises(st.SaltationError, match=message):
        RemediesStudy(**SMALL | changes)
