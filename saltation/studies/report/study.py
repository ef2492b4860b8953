"""The report of one study: what was asked, what came out, what went wrong, and how it was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import RenderableType

from saltation.errors import StoreError
from saltation.studies.engine.config import CONFIG
from saltation.studies.engine.outcome import name_of, outcome_of
from saltation.studies.engine.records import Contents, contents
from saltation.studies.engine.rows import Record
from saltation.studies.engine.specification import Specification
from saltation.studies.engine.store import FINISHED, trial_id
from saltation.studies.report.blocks import Block, Column, Grid, blocks, in_words
from saltation.studies.report.facts import environments_of, facts_of, verdict_of
from saltation.studies.report.figures import figures_in
from saltation.studies.report.page import write_page
from saltation.studies.report.trials import NO_TRIALS, trials_of

REPORT = "report.html"
SCRIPTS = ("sort.js", "chart.js", "trial.js", "trials.js")


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
    said = verdict_of(study, records, results, labels)
    unfinished = [record for record in records if record["status"] != FINISHED]
    try:
        config = json.loads((study.folder / CONFIG).read_text(encoding="utf-8"))
        return write_page(
            study.folder / REPORT,
            "report.html.j2",
            title=f"{study.name} study {study.folder.name}",
            study=study.name,
            folder=study.folder.name,
            question=study.question,
            verdict=said,
            facts=facts_of(found, labels),
            settings={name: value for name, value in config.items() if name != "study"},
            blocks=_blocks(study.tables(results), said) if records else [],
            figures=figures_in(study.folder / "figures"),
            trouble=[_trouble(record, labels[record["id"]]) for record in unfinished],
            not_begun=[label for key, label in labels.items() if key not in found.ids()],
            damaged=[str(row) for row in found.damaged],
            trials=trials_of(records, results) if records else NO_TRIALS,
            each=[(record["id"], labels[record["id"]], record) for record in records],
            best=_best(config.get("validation"), name_of(records)),
            others=_others(found.others),
            environments=environments_of(records),
            scripts=SCRIPTS,
        )
    except OSError as error:
        raise StoreError(
            f"the report of {study.folder} was not written: {error or type(error).__name__}"
        ) from error


def _best(validation: float | None, what: str) -> str:
    """What the best checkpoint of a trial is, whose score is ``what``."""
    if validation:
        return (
            f"The best checkpoint of a trial (best.pt) was chosen on {100 * validation:g} % of the "
            f"training samples, put aside for it. “{_column(what)} at best” is that of its "
            "epoch: the test set had no part in the choice."
        )
    return (
        f"The best checkpoint of a trial (best.pt) is the best on the test set: its {what} "
        "is too good to be reported. With --validation 0.1 it is chosen on a tenth of the training "
        "samples."
    )


def _column(what: str) -> str:
    """The column of a score, as the table of trials calls it."""
    return "Test loss" if what == "test error" else what.capitalize()


def _blocks(tables: RenderableType, said: list[str]) -> list[Block]:
    """What the study prints, without what the page has said first."""
    known = {"Verdict", *said}
    return [block for block in blocks(tables) if not isinstance(block, str) or block not in known]


def _trouble(record: Record, label: str) -> Trouble:
    return Trouble(label, record["status"], record["reason"], len(record["epochs"]))


def _others(records: list[Record]) -> Grid:
    """Trials in the record that the config does not ask for (any more), in a few words."""
    columns = [Column("status"), Column(name_of(records), number=True), Column("settings")]
    return Grid(
        columns,
        [
            [
                record["status"],
                str(outcome_of(record) or in_words(None)),
                ", ".join(f"{name} {in_words(v)}" for name, v in record["settings"].items()),
            ]
            for record in records
        ],
    )
