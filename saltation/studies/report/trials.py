"""All trials of a study for its page: a table, what is the same in all, and numbers to draw."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup

from saltation.studies.engine.rows import Record
from saltation.studies.report.blocks import Column, Grid, in_words

Records = list[Record]

ACCURACY, ERROR = "test_accuracy", "test_loss"
# Of what is recorded epoch by epoch a page has about so many numbers, whatever the study.
_ROOM = 60_000
_MOST_LAYERS = 200
_ALWAYS = {"id", "status", ACCURACY}


class Trials(NamedTuple):
    """The trials of a study.

    Attributes
    ----------
    grid
        A row per trial: settings in which trials differ, status, test accuracy or error, others.
    same
        Columns that are the same in every trial that has them, with their value, and columns that
        repeat another, with its name.
    data
        What the page's script is given, as JSON that is safe within HTML.
    """

    grid: Grid
    same: dict[str, str]
    data: Markup


NO_TRIALS = Trials(Grid([], []), {}, Markup("{}"))


def trials_of(records: Records, results: pd.DataFrame) -> Trials:
    """The trials, from their records and from their rows as ``results.csv`` has them."""
    settings = list(dict.fromkeys(name for record in records for name in record["settings"]))
    texts = {name: results[name].map(str) for name in results.columns}
    same: dict[str, str] = {}
    shown: list[str] = []
    seen: dict[tuple[str, ...], str] = {}
    for name in results.columns:
        known = texts[name][results[name].notna()]
        constant = len(records) > 1 and known.nunique() <= 1
        if name not in _ALWAYS and (constant or (len(records) == 1 and name in settings)):
            some = f" ({len(known)} trials have it)" if 0 < len(known) < len(records) else ""
            first = known.index[0] if len(known) else results.index[0]
            same[name] = _cell(name, results[name][first]) + some
        elif name in _ALWAYS or tuple(texts[name]) not in seen or len(records) == 1:
            seen.setdefault(tuple(texts[name]), name)
            shown.append(name)
        else:
            same[name] = f"as {_words(seen[tuple(texts[name])])}"
    # Where there is no accuracy, the error is what the table begins with.
    score = ACCURACY if results[ACCURACY].notna().any() or ERROR not in results else ERROR
    differing = [name for name in shown if name in settings]
    shown = [
        *differing,
        "status",
        score,
        *(c for c in shown if c not in {*differing, *_ALWAYS, score, "reason", "kernel"}),
        "id",
    ]
    numbers = {c for c in shown if pd.api.types.is_numeric_dtype(results[c])}
    columns = [Column(_words(c), c in numbers, kept=c == score) for c in shown]
    rows = results[shown].to_dict("records")
    grid = Grid(columns, [[_cell(str(name), value) for name, value in r.items()] for r in rows])
    data = {
        "shown": shown,
        "settings": differing,
        "numbers": [c for c in shown if c in numbers],
        "columns": list(results.columns),
        "constant": {
            str(name): _plain(results[name].iloc[0])
            for name in results.columns
            if texts[name].nunique() == 1
        },
        **_epochs(records),
    }
    varying = [name for name in data["columns"] if name not in data["constant"]]
    data["varying"] = varying
    data["rows"] = [
        [_plain(value) for value in row] for row in results[varying].itertuples(index=False)
    ]
    return Trials(grid, same, as_data(data))


def as_data(found: dict[str, Any]) -> Markup:
    """JSON as text of an element: nothing in it can end the element or begin another."""
    text = json.dumps(found, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return Markup(text)


def _epochs(records: Records) -> dict[str, Any]:
    """What was recorded epoch by epoch, every so-many-th where it is much, and of the last epoch
    the numbers of each layer."""
    names = list(
        dict.fromkeys(
            name
            for record in records
            for epoch in record["epochs"]
            for name, value in epoch.items()
            if name != "epoch" and not isinstance(value, list)
        )
    )
    whole = sum(len(record["epochs"]) for record in records) * max(1, len(names))
    every = max(1, math.ceil(whole / _ROOM))
    epochs = []
    layers = []
    for record in records:
        kept = [e for n, e in enumerate(reversed(record["epochs"])) if n % every == 0][::-1]
        epochs.append(
            [
                [epoch["epoch"] for epoch in kept],
                *([_short(epoch.get(name)) for epoch in kept] for name in names),
            ]
        )
        last = record["epochs"][-1] if record["epochs"] else {}
        layers.append(
            {
                name: [_short(part) for part in value]
                for name, value in last.items()
                if isinstance(value, list)
                and len(value) <= _MOST_LAYERS
                and not any(isinstance(part, list) for part in value)
            }
        )
    if sum(len(v) for found in layers for v in found.values()) > _ROOM // 3:
        layers = []
    return {"metrics": names, "every": every, "epochs": epochs, "layers": layers}


def _short(value: Any) -> Any:
    """A number of a curve with the digits that can be seen."""
    if not isinstance(value, float) or not math.isfinite(value):
        return _plain(value)
    return float(f"{value:.4g}")


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if hasattr(value, "item"):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    return in_words(value)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _cell(name: str, value: Any) -> str:
    """A result with the digits that mean something."""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.2f}" if name.endswith("accuracy") else f"{value:.4g}"
    return in_words(value)
