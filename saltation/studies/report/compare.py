"""Studies side by side: what came out of each, and the settings in which they differ."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from saltation.errors import ConfigError
from saltation.studies.engine.config import CONFIG
from saltation.studies.engine.folder import summary
from saltation.studies.report import Column, Grid, in_words, write_page

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
    """

    outcomes: Grid
    settings: Grid
    damaged: list[str]


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
            *map(Column, ("run", "study")),
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
        [Column("setting"), *(Column(str(folder)) for folder in folders)],
        [[name, *of_runs] for name, of_runs in texts.items() if len(set(of_runs)) > 1],
    )
    return Comparison(outcomes, settings, [line for row in rows for line in row["damaged"]])


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
    mean = "–" if math.isnan(row["mean"]) else f"{row['mean']:.2f}"
    spread = "" if math.isnan(row["spread"]) else f" ± {row['spread']:.2f}"
    best = "–" if math.isnan(row["best"]) else f"{row['best']:.2f}"
    return [
        *(row["folder"], row["study"], str(row["trials"]), row["states"]),
        *(best, mean + spread, f"{row['seconds']:.0f}"),
    ]


def _setting(config: dict[str, Any], name: str) -> str:
    return in_words(config[name]) if name in config else _NOT_THERE
