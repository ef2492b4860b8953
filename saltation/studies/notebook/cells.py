"""The cells of a part of the notebook: what our seeds gave, what it printed, and the verdict."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any, NamedTuple

from saltation.studies.engine.folder import study_of
from saltation.studies.engine.records import contents
from saltation.studies.engine.rows import Record
from saltation.studies.engine.store import DIVERGED, FINISHED, trial_id
from saltation.studies.notebook.parts import Part, Printed
from saltation.studies.notebook.verdict import INSIDE, OUTSIDE, interval, verdict
from saltation.studies.report import Column, Grid

# Settings that may differ from the notebook's and leave the cells comparable.
_FREE = ("seeds", "dt", "schemes", "data_dir", "device", "threads")


class Cell(NamedTuple):
    """One metric of one cell.

    Attributes
    ----------
    part, where, metric
        Which: the part's name, the cell's settings, the metric's name.
    ours
        A number per finished trial; where all diverged, what the weights that were left give.
    diverged
        How many trials diverged.
    printed
        By the notebook, if it was.
    verdict
        See `saltation.studies.notebook.verdict.verdict`.
    """

    part: str
    where: tuple[Any, ...]
    metric: str
    ours: list[float]
    diverged: int
    printed: Printed | None
    verdict: str


class Result(NamedTuple):
    """A part as it was run.

    Attributes
    ----------
    part
        Which.
    cells
        Of all metrics, in order.
    missing
        Trials that are not finished, in words.
    changed
        Settings that are not the notebook's, in words: then there is no verdict.
    seconds
        Of all trials.
    """

    part: Part
    cells: list[Cell]
    missing: list[str]
    changed: list[str]
    seconds: float


def result_of(part: Part, folder: Path) -> Result:
    """What is recorded of a part in its folder.

    Raises
    ------
    ConfigError, StoreError
        If it cannot be read.
    """
    study = study_of(folder, device="cpu")
    asked = study.config.recorded()
    own = study.config_type.build(**part.settings).recorded()
    changed = [
        f"{name} {asked.get(name)} (the notebook: {value})"
        for name, value in own.items()
        if name not in _FREE and asked.get(name) != value
    ]
    records = contents(study).asked
    ended = [r for r in records if r["status"] in (FINISHED, DIVERGED) and r["epochs"]]
    grouped: dict[tuple[Any, ...], list[Record]] = {}
    for record in ended:
        where = tuple(record["settings"][name] for name in part.cells)
        grouped.setdefault(where, []).append(record)
    done = {record["id"] for record in ended}
    return Result(
        part,
        [
            _cell(part, where, metric, some, bool(changed))
            for where, some in grouped.items()
            for metric in part.metrics
        ],
        [study.label(trial) for trial in study.trials() if trial_id(trial) not in done],
        changed,
        sum(epoch["seconds"] for record in records for epoch in record["epochs"]),
    )


def _cell(
    part: Part, where: tuple[Any, ...], metric: str, some: list[Record], is_other: bool
) -> Cell:
    finished = [record for record in some if record["status"] == FINISHED]
    values = [record["epochs"][-1].get(metric) for record in finished or some]
    ours = [float(value) for value in values if value is not None]
    printed = part.printed.get((metric, *where))
    said = verdict(ours, printed)
    if is_other and said in (INSIDE, OUTSIDE):
        said = "other settings: no verdict"
    diverged = sum(record["status"] == DIVERGED for record in some)
    return Cell(part.name, where, metric, ours, diverged, printed, said)


def in_words(cell: Cell) -> str:
    """What our seeds gave: mean and standard deviation."""
    if not cell.ours:
        return "–"
    digits = 1 if cell.metric == "test_accuracy" else 2
    mean = f"{statistics.fmean(cell.ours):.{digits}f}"
    spread = f" ± {statistics.stdev(cell.ours):.{digits}f}" if len(cell.ours) > 1 else ""
    fate = f", {cell.diverged} diverged" if cell.diverged and digits == 1 else ""
    return f"{mean}{spread} ({len(cell.ours)}{fate})"


def printed_in_words(printed: Printed | None) -> str:
    """What the notebook printed: a number, or a range."""
    if printed is None:
        return "–"
    digits = max(0, -math.floor(math.log10(printed.digit)))
    low, high = f"{printed.low:.{digits}f}", f"{printed.high:.{digits}f}"
    return low if low == high else f"{low}-{high}"


def grid_of(result: Result) -> Grid:
    """A part as a table: a row per cell and metric."""
    part = result.part
    columns = [
        *map(Column, (*part.cells, "what")),
        Column("here", number=True),
        Column("printed", number=True),
        Column("verdict"),
    ]
    rows = [
        [
            *(f"{value:g}" if isinstance(value, float) else str(value) for value in cell.where),
            part.metrics[cell.metric],
            in_words(cell),
            printed_in_words(cell.printed),
            cell.verdict,
        ]
        for cell in result.cells
    ]
    return Grid(columns, rows)


def outside(result: Result) -> list[str]:
    """The cells whose printed numbers are no further draws of ours, a line each."""
    lines = []
    for cell in result.cells:
        if cell.verdict == OUTSIDE and cell.printed is not None:
            low, high = interval(cell.ours, cell.printed.draws)
            where = ", ".join(
                f"{name} {value}" for name, value in zip(result.part.cells, cell.where, strict=True)
            )
            lines.append(
                f"{result.part.title}, {where}: {result.part.metrics[cell.metric]} printed "
                f"{printed_in_words(cell.printed)}, here {in_words(cell)}, another draw "
                f"{low:.4g} to {high:.4g}"
            )
    return lines
