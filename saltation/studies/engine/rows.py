"""Rows of a study's record, taken apart with suspicion: anybody can write into an SQLite file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, NamedTuple, TypedDict

FINISHED, RUNNING, INTERRUPTED = "finished", "running", "interrupted"
DIVERGED, FAILED = "diverged", "failed"
STATUSES = (FINISHED, RUNNING, INTERRUPTED, DIVERGED, FAILED)


class Record(TypedDict):
    """A recorded trial.

    Attributes
    ----------
    id
        12 hexadecimal digits of its settings.
    settings
        As they were written: of an older study some that are there now may be missing.
    status, reason
        One of `STATUSES`, and why.
    environment
        What the result may depend on beside the settings.
    epochs
        Metrics of each, in order.
    """

    id: str
    settings: dict[str, Any]
    status: str
    reason: str
    environment: dict[str, Any]
    epochs: list[dict[str, Any]]


class Damaged(NamedTuple):
    """A trial whose rows cannot be used: its id, and what is wrong with them."""

    trial: str
    flaw: str

    def __str__(self) -> str:
        return f"trial {self.trial} is left out: {self.flaw}"


def decoded(
    row: tuple[Any, Any, Any, Any, Any], epochs: Iterable[tuple[Any, Any]]
) -> Record | Damaged:
    """A trial's rows as its record.

    Parameters
    ----------
    row
        Id, settings, status, reason and environment.
    epochs
        Number and metrics of its epochs, in order.
    """
    trial, settings, status, reason, environment = row
    shown = trial if isinstance(trial, str) else repr(trial)
    try:
        if not isinstance(trial, str):
            raise ValueError("its id is no text")
        if status not in STATUSES:
            allowed = ", ".join(STATUSES)
            raise ValueError(f"its status is {_short(status)} (allowed: {allowed})")
        if not isinstance(reason, str):
            raise ValueError(f"its reason is {_short(reason)}")
        metrics = []
        for number, text in epochs:
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise ValueError(f"an epoch has the number {_short(number)}")
            found = _mapping(f"the metrics of epoch {number}", text)
            if found.get("epoch", number) != number:
                raise ValueError(f"epoch {number} has the metrics of {_short(found['epoch'])}")
            metrics.append(found)
        return {
            "id": trial,
            "settings": _mapping("its settings", settings),
            "status": status,
            "reason": reason,
            "environment": _mapping("its environment", environment),
            "epochs": metrics,
        }
    except ValueError as error:
        return Damaged(shown, str(error))


def _mapping(what: str, text: Any) -> dict[str, Any]:
    """JSON text that maps names to values, all its numbers finite."""
    try:
        if not isinstance(text, str):
            raise ValueError(f"{type(text).__name__} and no text")
        found = json.loads(text, parse_constant=_refuse, parse_float=_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what} are not JSON ({error}): {_short(text)}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{what} are not a mapping: {_short(text)}")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"it has no {constant}")


def _number(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is too large")
    return value


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return f"'{text[:80]}{'...' if len(text) > 80 else ''}'"
