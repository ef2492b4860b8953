"""A trial's row in the table of results."""

from __future__ import annotations

from typing import Any

from saltation.studies.engine.rows import Record

# What every study measures, in its table whatever became of the trials.
NUMBERS = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


def row(record: Record) -> dict[str, Any]:
    """A trial's id and settings, the numbers of its last epoch, seconds of all, its status."""
    last = record["epochs"][-1] if record["epochs"] else {}
    settings: dict[str, Any] = record["settings"]
    return (
        {"id": record["id"]}
        | settings
        | {k: v for k, v in last.items() if k != "epoch" and not isinstance(v, list)}
        | {
            **chosen(record["epochs"]),
            "epochs_run": sum(e["epoch"] > 0 for e in record["epochs"]),
            "seconds": sum(e["seconds"] for e in record["epochs"]),
            "status": record["status"],
            "reason": record["reason"],
            "kernel": record["environment"]["kernel"],
        }
    )


def chosen(epochs: list[dict[str, Any]]) -> dict[str, Any]:
    """Of a trial with a validation split the epoch that is the best on it, and its test accuracy:
    a number to report, for the test set had no part in the choice. Where there is no accuracy,
    that of the smallest loss, and its test loss."""
    known = [e for e in epochs if e.get("validation_accuracy") is not None]
    if not known:
        losses = [e for e in epochs if e.get("validation_loss") is not None]
        if not losses:
            return {}
        least = min(losses, key=lambda epoch: epoch["validation_loss"])
        return {"best_epoch": least["epoch"], "test_loss_at_best": least["test_loss"]}
    best = max(known, key=lambda epoch: epoch["validation_accuracy"])  # the first of equals
    return {
        "best_epoch": best["epoch"],
        "test_accuracy_at_best": best["test_accuracy"],
    }
