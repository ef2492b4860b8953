"""What a report says first: the verdict, how far the study is, and how and where it was made."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pandas as pd

from saltation.studies.engine.outcome import Outcome, outcome_of
from saltation.studies.engine.records import Contents
from saltation.studies.engine.rows import Record
from saltation.studies.engine.specification import Specification
from saltation.studies.engine.store import FINISHED
from saltation.studies.report.blocks import Column, Grid, in_words

Records = list[Record]
Fact = tuple[str, str, str]


def verdict_of(
    study: Specification[Any], records: Records, results: pd.DataFrame, labels: dict[str, str]
) -> list[str]:
    """What a study says to its question, or how far it is and which trial is the best."""
    if not records:
        return ["Nothing can be said: no trial is recorded yet."]
    said = []
    states = Counter(record["status"] for record in records)
    missing = len(labels) - states[FINISHED]
    if missing:
        said.append(
            f"Only {states[FINISHED]} of {len(labels)} trials finished: what follows is said of "
            "these."
            if states[FINISHED]
            else f"None of {len(labels)} trials finished, so there is no verdict."
        )
    if states[FINISHED]:
        own = study.verdict(results)
        best = _best(records)
        if not own and best is not None:
            own = [f"The best last {best[0].name} is {best[0]} ({labels[best[1]]})."]
        said += own
    return said


def facts_of(found: Contents, labels: dict[str, str]) -> list[Fact]:
    """What to know first: name, value, and what is to be said of it."""
    records = found.asked
    states = Counter(record["status"] for record in records)
    states["damaged"] = len({row.trial for row in found.damaged} & labels.keys())
    states["not begun"] = len(labels.keys() - found.ids())
    facts = [
        ("trials", str(len(labels)), ", ".join(f"{n} {state}" for state, n in states.items() if n)),
    ]
    best = _best(records)
    if best is not None:
        facts.append((f"best last {best[0].name}", str(best[0]), labels[best[1]]))
    seconds = sum(epoch["seconds"] for record in records for epoch in record["epochs"])
    facts.append(("training and tests", _duration(seconds), "sum over all trials"))
    begun = sorted(found.begun[r["id"]] for r in records if r["id"] in found.begun)
    if begun:
        last = begun[-1][11:] if begun[-1][:10] == begun[0][:10] else begun[-1]
        others = f"the last trial at {last}" if len(begun) > 1 else "its one trial"
        facts.append(("begun (UTC)", begun[0][:16], others))
    made = [record["environment"] for record in records]
    if made:
        facts.append(("made on", *_machine(made)))
    return facts


def environments_of(records: Records) -> Grid:
    """What trials ran on, a row for each combination, with their number."""
    counts = Counter(json.dumps(record["environment"]) for record in records)
    found = [(json.loads(text), count) for text, count in counts.items()]
    names = list(dict.fromkeys(name for environment, _ in found for name in environment))
    columns = [*map(Column, names), Column("trials", number=True)]
    return Grid(
        columns,
        [[*(in_words(e.get(name)) for name in names), str(count)] for e, count in found],
    )


def _best(records: Records) -> tuple[Outcome, str] | None:
    """The best last score of finished trials, and whose it is."""
    ended = ((outcome_of(r), r["id"]) for r in records if r["status"] == FINISHED)
    scores = [(found, name) for found, name in ended if found is not None]
    return max(scores, key=lambda one: (one[0].merit, one[1]), default=None)


def _machine(made: list[dict[str, Any]]) -> tuple[str, str]:
    """Machine and device, then versions: of all trials, or in how many ways they differ."""

    def of(name: str) -> str:
        texts = list(dict.fromkeys(in_words(e[name]) for e in made if name in e))
        return texts[0] if len(texts) == 1 else f"{len(texts)} different" if texts else ""

    machine = ", ".join(filter(None, (of("machine"), of("device"))))
    versions = [("saltation", of("saltation")), ("commit", of("commit")), ("torch", of("torch"))]
    return machine or "–", ", ".join(f"{name} {text}" for name, text in versions if text)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"
