"""Studies side by side: what came out of each, and the settings in which they differ."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from saltation.errors import ConfigError, StoreError
from saltation.studies.engine.config import CONFIG
from saltation.studies.engine.folder import study_of, summary
from saltation.studies.engine.records import contents
from saltation.studies.engine.rows import Record
from saltation.studies.report import Column, Grid, in_words, write_page
from saltation.studies.report.figures import InlineFigure
from saltation.studies.report.intervals import Interval
from saltation.studies.report.pairs import Pairs, draw_pairs, pair

PAGE = "compare.html"
_NOT_THERE = "not a setting"


class Comparison(NamedTuple):
    """Several studies.

    Attributes
    ----------
    outcomes
        A row per study.
    settings
        A row per setting that is not the same in all of them, a column per study.
    damaged
        A line for each row of a record that is left out.
    differences
        A row per setting that equal trials of the first study and another have.
    left
        What could not be paired, in lines.
    figure
        Of the differences; None if there are none.
    """

    outcomes: Grid
    settings: Grid
    damaged: list[str]
    differences: Grid
    left: list[str]
    figure: InlineFigure | None


def compare(folders: Sequence[Path]) -> Comparison:
    """Set studies side by side.

    Raises
    ------
    ConfigError, StoreError
        If there are fewer than two, or a folder has no study that can be read.
    """
    if len(folders) < 2:
        raise ConfigError(f"compare takes the folders of two studies or more, got {len(folders)}")
    rows = list(map(summary, folders))
    outcomes = Grid(
        [
            Column("run", broken=True),
            Column("study"),
            Column("trials", number=True),
            Column("states"),
            *(Column(name, number=True) for name in ("best", "mean ± sd", "seconds")),
        ],
        list(map(_outcome, rows)),
    )
    configs = [json.loads((folder / CONFIG).read_text(encoding="utf-8")) for folder in folders]
    names = dict.fromkeys(name for config in configs for name in config)
    texts = {name: [_setting(config, name) for config in configs] for name in names}
    settings = Grid(
        [Column("setting"), *(Column(str(folder), broken=True) for folder in folders)],
        [[name, *of_runs] for name, of_runs in texts.items() if len(set(of_runs)) > 1],
    )
    damaged = [line for row in rows for line in row["damaged"]]
    return Comparison(outcomes, settings, damaged, *_paired(folders, [r["study"] for r in rows]))


def _paired(
    folders: Sequence[Path], studies: list[str]
) -> tuple[Grid, list[str], InlineFigure | None]:
    """Equal trials of the first study and each other: their differences, and what is left."""
    found: list[tuple[str, Pairs]] = []
    left = []
    first = _records(folders[0])
    for folder, study in zip(folders[1:], studies[1:], strict=True):
        if study != studies[0]:
            left.append(f"{folder}: studies of {study} and {studies[0]} have no equal trials")
            continue
        pairs = pair(first, _records(folder))
        found.append((str(folder), pairs))
        if pairs.left or not pairs.differences:
            left.append(f"{folder}: {pairs.left or 'no finished trials are equal'}")
    columns = [
        *(Column(name, broken=True) for name in ("compared with the first", "setting")),
        *(Column(name, number=True) for name in ("pairs", "first", "other", "difference")),
    ]
    rows = [
        [
            *(name, d.setting, str(d.points.n)),
            *(f"{value:.{_digits(d.is_error)}f}" for value in (d.first, d.other)),
            _points(d.points, _digits(d.is_error)),
        ]
        for name, pairs in found
        for d in pairs.differences
    ]
    return Grid(columns, rows), left, draw_pairs(found)


def _records(folder: Path) -> list[Record]:
    try:
        return contents(study_of(folder, device="cpu")).asked
    except StoreError:  # not begun
        return []


def _digits(is_error: bool) -> int:
    """Behind the point: of accuracies in percent two, of errors four."""
    return 4 if is_error else 2


def _points(found: Interval, digits: int) -> str:
    half = "" if math.isnan(found.half) else f" ± {found.half:.{digits}f}"
    return f"{found.mean:+.{digits}f}{half}"


def write_comparison(path: Path, comparison: Comparison) -> Path:
    """Write a comparison as a page: to ``path``, or as ``compare.html`` if that is a folder.

    Raises
    ------
    ConfigError
        If it cannot be written.
    """
    page = path / PAGE if path.is_dir() else path
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        return write_page(page, "compare.html.j2", title="Studies compared", **comparison._asdict())
    except OSError as error:
        raise ConfigError(f"'{page}' cannot be written: {error}") from None


def _outcome(row: dict[str, Any]) -> list[str]:
    digits = _digits(row["is_error"])
    mean = "–" if math.isnan(row["mean"]) else f"{row['mean']:.{digits}f}"
    spread = "" if math.isnan(row["spread"]) else f" ± {row['spread']:.{digits}f}"
    best = "–" if math.isnan(row["best"]) else f"{row['best']:.{digits}f}"
    best += " (error)" if row["is_error"] else ""
    return [
        *(row["folder"], row["study"], str(row["trials"]), row["states"]),
        *(best, mean + spread, f"{row['seconds']:.0f}"),
    ]


def _setting(config: dict[str, Any], name: str) -> str:
    return in_words(config[name]) if name in config else _NOT_THERE
