"""Folders of studies with a record made by hand, for what reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from saltation.studies import IntegratorsStudy
from saltation.studies.engine.config import CONFIG, as_json
from saltation.studies.engine.store import RECORD, Store, trial_id

ENVIRONMENT = {"saltation": "0.1.0", "torch": "2.13.0", "device": "cpu", "kernel": "cpu"}


def recorded(
    folder: Path,
    outcomes: list[tuple[str, str, list[float]]],
    environment: dict[str, Any] = ENVIRONMENT,
    **settings: Any,
) -> IntegratorsStudy:
    """A study whose trials, in order, have these statuses, reasons and test accuracies."""
    shared: dict[str, Any] = {"neurons": ["lif"], "schemes": ["euler", "exponential"]}
    shared |= {"batch_size": 128, "lr": 1e-3}
    study = IntegratorsStudy(
        out_dir=folder,
        **shared | {"dt": [0.5, 5.0], "steps": 50, "epochs": 2, "progress": False} | settings,
    )
    folder.mkdir(parents=True)
    (folder / CONFIG).write_text(as_json("integrators", study.config))
    with Store(folder / RECORD) as store:
        for trial, (status, reason, accuracies) in zip(study.trials(), outcomes, strict=False):
            store.start(trial_id(trial), trial, environment)
            for number, accuracy in enumerate(accuracies, start=1):
                store.add_epoch(trial_id(trial), number, epoch(number, accuracy))
            store.end(trial_id(trial), status, reason)
    return study


def epoch(number: int, accuracy: float) -> dict[str, Any]:
    """Metrics of an epoch."""
    return {
        "epoch": number,
        "train_loss": 0.5,
        "test_accuracy": accuracy,
        "mean_spike_rate": 0.125,
        "seconds": 1.5,
    }
