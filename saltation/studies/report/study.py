"""The report of one study: what was asked, what came out, what went wrong, and how it was made."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from saltation.errors import StoreError
from saltation.studies.engine.config import CONFIG
from saltation.studies.engine.records import Contents, contents
from saltation.studies.engine.specification import Specification
from saltation.studies.engine.store import FINISHED, trial_id
from saltation.studies.report.blocks import Column, Grid, blocks, in_words
from saltation.studies.report.figures import figures_in
from saltation.studies.report.page import write_page

REPORT = "report.html"


class Trouble(NamedTuple):
    """A trial that has not finished: which, its status and reason, and the epochs it had."""

    trial: str
    status: str
    reason: str
    epochs: int


def write_report(study: Specification[Any], found: Contents | None = None) -> Path:
    """Write ``report.html`` into a study's folder, from its record, config and figures.

    Parameters
    ----------
    study
        Whose folder.
    found
        Its record, if it has been read already.

    Returns
    -------
    Its path.

    Raises
    ------
    StoreError
        If the folder cannot be read or written.
    """
    labels = {trial_id(trial): study.label(trial) for trial in study.trials()}
    found = contents(study) if found is None else found
    records = found.asked
    results = study.table(records)
    unfinished = [record for record in records if record["status"] != FINISHED]
    try:
        config = json.loads((study.folder / CONFIG).read_text(encoding="utf-8"))
        return write_page(
            study.folder / REPORT,
            "report.html.j2",
            title=f"{study.name} study {study.folder.name}",
            study=study.name,
            folder=study.folder.name,
            facts=_facts(found, labels),
            settings={name: value for name, value in config.items() if name != "study"},
            blocks=list(blocks(study.tables(results))) if records else [],
            figures=figures_in(study.folder / "figures"),
            trouble=[_trouble(record, labels[record["id"]]) for record in unfinished],
            not_begun=[label for key, label in labels.items() if key not in found.ids()],
            damaged=[str(row) for row in found.damaged],
            trials=_trials(records, results) if records else Grid([], []),
            best=_best(config.get("validation")),
            others=_others(found.others),
            environments=_environments(records),
        )
    except OSError as error:
        raise StoreError(
            f"the report of {study.folder} was not written: {error or type(error).__name__}"
        ) from error


def _facts(found: Contents, labels: dict[str, str]) -> list[tuple[str, str, str]]:
    """What to know first: name, value, and what is to be said of it."""
    records = found.asked
    states = Counter(record["status"] for record in records)
    states["damaged"] = len({row.trial for row in found.damaged} & labels.keys())
    states["not begun"] = len(labels.keys() - found.ids())
    facts = [
        ("trials", str(len(labels)), ", ".join(f"{n} {state}" for state, n in states.items() if n)),
    ]
    scores = [(record["epochs"][-1]["test_accuracy"], record["id"]) for record in _ended(records)]
    if scores:
        best, key = max(scores)
        facts.append(("best last test accuracy", f"{best:.2f} %", labels[key]))
    seconds = sum(epoch["seconds"] for record in records for epoch in record["epochs"])
    facts.append(("training and tests", f"{seconds:.0f} s", "sum over all trials"))
    return facts


def _best(validation: float | None) -> str:
    """What the best checkpoint of a trial is."""
    if validation:
        return (
            f"The best checkpoint of a trial (best.pt) was chosen on {100 * validation:g} % of the "
            "training samples, put aside for it. “Test accuracy at best” is that of its epoch: the "
            "test set had no part in the choice."
        )
    return (
        "The best checkpoint of a trial (best.pt) is the best on the test set: its test accuracy "
        "is too good to be reported. With --validation 0.1 it is chosen on a tenth of the training "
        "samples."
    )


def _ended(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Finished trials that have a test accuracy."""
    return [
        r
        for r in records
        if r["status"] == FINISHED and r["epochs"] and r["epochs"][-1]["test_accuracy"] is not None
    ]


def _trouble(record: dict[str, Any], label: str) -> Trouble:
    return Trouble(label, record["status"], record["reason"], len(record["epochs"]))


def _trials(records: list[dict[str, Any]], results: pd.DataFrame) -> Grid:
    """A row per trial: the settings in which trials differ, and what came out."""
    settings = list(dict.fromkeys(name for record in records for name in record["settings"]))
    differing = [name for name in settings if results[name].map(str).nunique() > 1]
    found = [c for c in results.columns if c not in {*settings, "status", "reason", "kernel"}]
    shown = [*differing, "status", *found]
    numbers = {c for c in shown if pd.api.types.is_numeric_dtype(results[c])}
    columns = [Column(c.replace("_", " "), c in numbers) for c in shown]
    rows = results[shown].to_dict("records")
    return Grid(columns, [[_cell(str(name), value) for name, value in r.items()] for r in rows])


def _cell(name: str, value: Any) -> str:
    """A result with the digits that mean something."""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.2f}" if name.endswith("accuracy") else f"{value:.4g}"
    return in_words(value)


def _others(records: list[dict[str, Any]]) -> Grid:
    """Trials in the record that the config does not ask for (any more), in a few words."""
    columns = [Column("status"), Column("test accuracy", number=True), Column("settings")]
    return Grid(
        columns,
        [
            [
                record["status"],
                in_words(record["epochs"][-1]["test_accuracy"] if record["epochs"] else None),
                ", ".join(f"{name} {in_words(v)}" for name, v in record["settings"].items()),
            ]
            for record in records
        ],
    )


def _environments(records: list[dict[str, Any]]) -> Grid:
    """What trials ran on, a row for each combination, with their number."""
    counts = Counter(json.dumps(record["environment"]) for record in records)
    found = [(json.loads(text), count) for text, count in counts.items()]
    names = list(dict.fromkeys(name for environment, _ in found for name in environment))
    columns = [*map(Column, names), Column("trials", number=True)]
    return Grid(
        columns,
        [[*(in_words(e.get(name)) for name in names), str(count)] for e, count in found],
    )
