"""The transfer study: networks of one dt at others, and what is written of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import saltation as st
from saltation.data import load
from saltation.studies import TransferStudy
from saltation.studies.transfer.report import transfer_grids, transfer_verdict
from saltation.studies.transfer.study import accuracy, network_of

pytestmark = pytest.mark.drawn

SMALL: dict[str, Any] = {
    "dataset": "digits",
    "limit_train": 200,
    "limit_test": 100,
    "dt": [1.0, 0.5],
    "bio_time": 6.0,
    "hidden": [16],
    "epochs": 2,
    "batch_size": 20,
    "lr": 0.02,
    "progress": False,
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("transfer")
    return folder, TransferStudy(out_dir=folder, **SMALL).run()


def test_a_network_at_its_own_dt_is_itself(done: tuple[Path, pd.DataFrame]) -> None:
    """Whatever the mapping; and the accuracy there is the study's own."""
    _, results = done
    assert results["status"].tolist() == ["finished"] * 4
    assert results["test_accuracy"].max() > 30
    for _, row in results.iterrows():
        own = f"{row['dt']:g}"
        mappings = ["naive", "charge"] + (["current"] if row["input"] == "held" else [])
        assert [row[f"{mapping} at {own}"] for mapping in mappings] == [row["test_accuracy"]] * len(
            mappings
        )


def test_every_mapping_has_a_table_and_a_panel(done: tuple[Path, pd.DataFrame]) -> None:
    """Of impulses, which have no current, two."""
    folder, results = done
    grids = transfer_grids(results)
    kinds = [(kind, mapping) for _, _, kind, mapping in grids]
    held = [("held", mapping) for mapping in ("naive", "charge", "current")]
    assert kinds == [*held, ("impulse", "naive"), ("impulse", "charge")]
    for grid in grids.values():
        assert grid.index.tolist() == grid.columns.tolist() == [0.5, 1.0]
    assert (folder / "figures" / "transfer.png").is_file()
    assert "charge at 0.5" in pd.read_csv(folder / "results.csv").columns
    pd.testing.assert_frame_equal(TransferStudy(out_dir=folder, **SMALL).run(), results)


def test_networks_that_learned_nothing_have_nothing_to_lose(
    done: tuple[Path, pd.DataFrame],
) -> None:
    """Their 0 points would read as if a mapping kept everything."""
    _, results = done
    held = results[results["input"] == "held"]
    fine = transfer_verdict(held)
    low = held.copy()
    low.loc[low["dt"] == 1.0, [c for c in map(str, low) if " at " in c]] = 10.0
    told = transfer_verdict(low)
    assert len(fine) == 1
    assert len(told) == 2
    assert "trained at dt 1 networks stay near guessing" in told[1]
    low.loc[:, [c for c in map(str, low) if " at " in c]] = 10.0
    assert [line for line in transfer_verdict(low) if "lost" in line] == []


def test_mapped_networks_have_the_weights_of_their_dt(tmp_path: Path) -> None:
    """A held spike of half the duration is worth half: naive and charge tell apart what it does."""
    study = TransferStudy(out_dir=tmp_path, **SMALL | {"input": ["held"]})
    trial = study.trials()[0]
    assert trial["run_steps"] == [6, 12]
    data = load("digits", limit_test=100)
    torch.manual_seed(0)
    network = network_of(trial, data)
    with torch.no_grad():
        network[0].weight.mul_(3)
    mapped = st.at_dt(network, 0.5).network
    found = accuracy(network, trial, data, 0.5, "charge")
    own = accuracy(mapped, trial | {"dt": 0.5, "steps": 12}, data, 0.5, "naive")
    assert found == own


def test_steps_are_refused(tmp_path: Path) -> None:
    """At another dt they would be another time."""
    with pytest.raises(st.ConfigError, match="give bio_time in place of steps"):
        TransferStudy(out_dir=tmp_path, **SMALL | {"bio_time": None, "steps": 10})
