"""What a study's record says of its trials, and which of its rows say nothing that can be used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from saltation.studies.engine.lock import is_abandoned
from saltation.studies.engine.rows import FINISHED, INTERRUPTED, RUNNING, Damaged, Record
from saltation.studies.engine.specification import Specification
from saltation.studies.engine.store import RECORD, Store, trial_id

# Numbers that every recorded epoch has; None stands for one that is not finite.
_NUMBERS = ("epoch", "seconds", "test_accuracy")


class Contents(NamedTuple):
    """A record, read.

    Attributes
    ----------
    asked
        The recorded trials of the study, in its order.
    others
        Trials that its config does not ask for, in the order begun.
    damaged
        Those whose rows are wrong, which are in neither.
    begun
        When each trial was begun first, by its id, in UTC.
    """

    asked: list[Record]
    others: list[Record]
    damaged: list[Damaged]
    begun: Mapping[str, str] = MappingProxyType({})

    def ids(self) -> set[str]:
        """Of all trials that have a row."""
        trials = [*self.asked, *self.others]
        return {r["id"] for r in trials} | {row.trial for row in self.damaged}

    def lines(self, path: Path) -> list[str]:
        """One for each damaged row, with the file."""
        return [f"{path}: {row}" for row in self.damaged]


def contents(study: Specification[Any], store: Store | None = None) -> Contents:
    """Read the record in a study's folder, or a ``store`` that is open.

    A trial under way in a study that nobody runs, for its process was killed, is interrupted.

    Raises
    ------
    StoreError
        If it cannot be read at all.
    """
    if store is None:
        with Store(study.folder / RECORD, reads=True) as opened:
            return contents(study, opened)
    places = {trial_id(trial): place for place, trial in enumerate(study.trials())}
    trials, damaged = store.trials(), store.damaged()
    for record in trials:
        if record["status"] == RUNNING and is_abandoned(study.folder):
            record["status"] = INTERRUPTED
    known = {record["id"] for record in trials}
    asked: list[Record] = []
    others: list[Record] = []
    for record in trials:
        key, of = record["id"], trial_id(record["settings"])
        flaw = ""
        if key in places and key != of:
            flaw = "its settings are not those that its id is made from"
        elif key != of and (of in known or of in places):
            flaw = f"its settings are those of trial {of}"
        flaw = flaw or _flaw(record, study.needs if key in places else {})
        if not flaw and key in places:
            flaw = _odd(study, record)
        if flaw:
            damaged.append(Damaged(key, flaw))
        else:
            (asked if key in places else others).append(record)
    ordered = sorted(asked, key=lambda r: places[r["id"]])
    return Contents(ordered, others, damaged, store.begun())


def _flaw(record: Record, needs: Mapping[str, type]) -> str:
    """What is wrong with a trial's metrics; empty if nothing is."""
    if not isinstance(record["environment"].get("kernel"), str):
        return "its environment has no kernel"
    last: int | None = None
    sizes: dict[str, int] = {}
    for metrics in record["epochs"]:
        for name in _NUMBERS:
            if name not in metrics or not _is_number(metrics[name]):
                return f"an epoch has no {name} that is a number"
        epoch, score, seconds = (metrics[name] for name in ("epoch", "test_accuracy", "seconds"))
        if seconds is None or seconds < 0:
            return f"epoch {epoch} took {seconds} seconds"
        if score is not None and not 0 <= score <= 100:
            return f"epoch {epoch} has a test_accuracy of {score} %"
        for name, value in metrics.items():
            if not _is_number(value) and not _are_numbers(value):
                return f"{name} of epoch {epoch} is {str(value)[:40]!r}"
            if isinstance(value, list) and sizes.setdefault(name, len(value)) != len(value):
                return f"{name} of epoch {epoch} has {len(value)} numbers, not {sizes[name]}"
        for name, kind in needs.items():
            if name not in metrics:
                return f"epoch {epoch} has no {name}"
            if isinstance(metrics[name], list) != (kind is list):
                return f"{name} of epoch {epoch} is {str(metrics[name])[:40]!r}"
        if epoch != (last + 1 if last is not None else min(epoch, 1)):
            return f"epoch {epoch} follows {'none' if last is None else last}"
        last = epoch
    asked = record["settings"].get("epochs")
    if record["status"] == FINISHED and (last is None or (isinstance(asked, int) and last < asked)):
        return f"it is finished with {last or 0} of {'its' if asked is None else asked} epochs"
    return ""


def _is_number(value: Any) -> bool:
    # Whole numbers of any length can stand in JSON.
    return value is None or (isinstance(value, int | float) and abs(value) < 1e300)


def _are_numbers(value: Any, deep: int = 0) -> bool:
    return (
        isinstance(value, list)
        and deep < 4
        and all(_is_number(part) or _are_numbers(part, deep + 1) for part in value)
    )


def _odd(study: Specification[Any], record: Record) -> str:
    """What keeps a study from making something of a record that looks sound."""
    try:
        study.findings(record)
    except (KeyError, IndexError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        return f"its metrics do not fit together ({type(error).__name__}: {error})"
    return ""
