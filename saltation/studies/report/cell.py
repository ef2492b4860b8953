"""A study as a notebook shows it: how far it is, what came out, and its figures."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from saltation import inline
from saltation.errors import StoreError
from saltation.studies.engine.records import contents
from saltation.studies.engine.specification import Specification
from saltation.studies.engine.store import FINISHED, RECORD

# Of a trial's row these are shown even where all trials have the same.
_ALWAYS = ("id", "status", "test_accuracy")
# What came of it at length, which stands in the report.
_NEVER = ("reason", "kernel")


def cell(study: Specification[Any]) -> str:
    """The study as HTML, from its record; nothing in it is taken for markup."""
    planned = len(study.trials())
    head = f"{study.name} study of {planned} trials in {study.folder}"
    if not (study.folder / RECORD).exists():
        return inline.title(f"{head}: not begun")
    try:
        found = contents(study)
    except StoreError as error:
        return inline.title(head) + inline.text(str(error))
    states = Counter(record["status"] for record in found.asked)
    shown = ", ".join(f"{number} {state}" for state, number in states.items()) or "not begun"
    parts = [inline.title(f"{head}: {shown}")]
    reasons = [r for r in found.asked if r["status"] != FINISHED and r["reason"]]
    lines = [f"{study.label(r['settings'])}: {r['status']}, {r['reason']}" for r in reasons]
    lines += found.lines(study.folder / RECORD)
    parts.append(inline.listing(lines))
    if found.asked:
        parts.append(_differing(study.table(found.asked)))
    for path in sorted((study.folder / "figures").glob("*.png")):
        parts.append(inline.picture(path, path.stem.replace("_", " ").replace("-", " ")))
    return "".join(parts)


def _differing(table: pd.DataFrame) -> str:
    """The columns in which trials differ."""
    many = {c for c in table.columns if table[c].map(str).nunique() > 1} - {*_NEVER}
    shown = [c for c in table.columns if c in many or c in _ALWAYS]
    return table[shown].to_html(index=False, float_format="{:.4g}".format, na_rep="–")
