"""Equal trials of two studies, and how their test accuracies differ."""

from __future__ import annotations

import io
import json
import math
import textwrap
from collections import Counter, defaultdict
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from saltation.studies.engine.outcome import Outcome, outcome_of
from saltation.studies.engine.rows import Record
from saltation.studies.engine.store import FINISHED
from saltation.studies.report.blocks import in_words
from saltation.studies.report.drawing import STYLE, note, style_of
from saltation.studies.report.figures import InlineFigure, inline_svg
from saltation.studies.report.intervals import Interval

Records = list[Record]

_SEED = "seed"
_MOST = 60  # settings that are drawn


class Difference(NamedTuple):
    """Trials of one setting that both studies have, by seed.

    Attributes
    ----------
    setting
        What tells it from others, in words.
    first, other
        Mean test accuracies of the paired trials in percent, or errors.
    points
        Other minus first, seed by seed.
    is_error
        Whether they are errors, of which less is better.
    """

    setting: str
    first: float
    other: float
    points: Interval
    is_error: bool = False


class Pairs(NamedTuple):
    """All differences of a study from the first.

    Attributes
    ----------
    differences
        By setting, in the order of the first study.
    left
        What was not paired, in a line; empty if everything was.
    """

    differences: list[Difference]
    left: str


def pair(first: Records, other: Records) -> Pairs:
    """Pair finished trials that are equal but for what is one value in each of both studies.

    A setting that differs between the studies as a whole, such as a learning rate, tells no pairs
    apart; every other one must be equal, the seed always.
    """
    apart = _differing(first, other)
    ours, theirs = (_by_key(records, apart) for records in (first, other))
    # Two trials of one study that are equal so far have no partner of their own.
    keys = [k for k, found in ours.items() if len(found) == len(theirs.get(k, [])) == 1]
    told = _telling([ours[key][0]["settings"] for key in keys], apart)
    groups: defaultdict[str, list[tuple[Outcome, Outcome]]] = defaultdict(list)
    for key in keys:
        settings = ours[key][0]["settings"]
        words = ", ".join(f"{name} {in_words(settings[name])}" for name in told)
        groups[words or "all"].append((_score(ours[key][0]), _score(theirs[key][0])))
    differences = [
        Difference(
            setting,
            math.fsum(a.value for a, _ in found) / len(found),
            math.fsum(b.value for _, b in found) / len(found),
            Interval.of(b.value - a.value for a, b in found),
            found[0][0].is_error,
        )
        for setting, found in groups.items()
    ]
    alone = [len(_finished(first)) - len(keys), len(_finished(other)) - len(keys)]
    left = (
        f"{len(keys)} pairs; without an equal in the other are {alone[0]} finished trials of the "
        f"first study and {alone[1]} of the other"
        if any(alone)
        else ""
    )
    return Pairs(differences, left)


def draw_pairs(found: list[tuple[str, Pairs]]) -> InlineFigure | None:
    """Differences with their intervals, a panel for each study that is compared with the first."""
    shown = [(name, pairs.differences[:_MOST]) for name, pairs in found if pairs.differences]
    if not shown:
        return None
    labels = [[_wrapped(d.setting) for d in differences] for _, differences in shown]
    # Inches of a row, that of the longest label, so that none reaches into another.
    rows = [0.1 + 0.14 * max(1 + label.count("\n") for label in some) for some in labels]
    heights = [0.6 + row * len(some) for row, some in zip(rows, labels, strict=True)]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 0.7 + sum(heights)))
        panels = figure.subplots(len(shown), 1, squeeze=False, sharex=True, height_ratios=heights)[
            :, 0
        ]
        for axes, some, (name, differences) in zip(panels, labels, shown, strict=True):
            for place, one in enumerate(differences):
                half = 0.0 if math.isnan(one.points.half) else one.points.half
                # Sure ones are full, others hollow: that is seen in grey too.
                better = -one.points.sign if one.is_error else one.points.sign
                style = {"color": style_of(0 if better >= 0 else 1)["color"]}
                style |= {"markerfacecolor": style["color"] if one.points.sign else "#ffffff"}
                axes.errorbar(one.points.mean, place, xerr=half, fmt="o", ms=5, capsize=3, **style)
            axes.axvline(0, color="#777777", linewidth=1, zorder=0)
            axes.set_yticks(range(len(differences)), some)
            axes.set_ylim(len(differences) - 0.4, -0.6)
            axes.set_title(_wrapped(name, 42), fontsize=8, loc="left")
        kinds = {one.is_error for _, differences in shown for one in differences}
        names = {False: "test accuracy (points)", True: "test error (over the variance)"}
        panels[-1].set_xlabel(f"difference of {' or '.join(names[kind] for kind in sorted(kinds))}")
        cut = max(len(pairs.differences) for _, pairs in found)
        most = f"; the first {_MOST} of {cut} settings" if cut > _MOST else ""
        note(
            figure,
            f"other minus first, mean and 95 % interval over seeds; full: it excludes 0{most}",
        )
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return inline_svg(file.getvalue(), "differences of equal trials", "pairs-")


def _finished(records: Records) -> Records:
    return [r for r in records if r["status"] == FINISHED and outcome_of(r)]


def _score(record: Record) -> Outcome:
    found = outcome_of(record)
    if found is None:
        raise ValueError(f"trial {record['id']} has no score")
    return found


def _values(records: Records) -> dict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        for name, value in record["settings"].items():
            found[name].add(json.dumps(value, sort_keys=True))
    return found


def _differing(first: Records, other: Records) -> set[str]:
    """Settings of one value in each study, and not the same one, or that only one of them has."""
    ours, theirs = _values(first), _values(other)
    return {
        name
        for name in ours.keys() | theirs.keys()
        if name != _SEED
        and len(ours.get(name, ())) <= 1
        and len(theirs.get(name, ())) <= 1
        and ours.get(name) != theirs.get(name)
    }


def _by_key(records: Records, apart: set[str]) -> dict[str, Records]:
    found: defaultdict[str, Records] = defaultdict(list)
    for record in _finished(records):
        key = {name: value for name, value in record["settings"].items() if name not in apart}
        found[json.dumps(key, sort_keys=True)].append(record)
    return found


def _telling(settings: list[dict[str, Any]], apart: set[str]) -> list[str]:
    """Names of the settings that differ among paired trials, but for the seed."""
    counts: Counter[str] = Counter()
    for name in dict.fromkeys(name for one in settings for name in one):
        counts[name] = len({json.dumps(one.get(name), sort_keys=True) for one in settings})
    return [n for n, count in counts.items() if count > 1 and n != _SEED and n not in apart]


def _wrapped(text: str, letters: int = 32) -> str:
    """The whole text, in lines that leave room for what is drawn beside them."""
    return textwrap.fill(text, letters, break_on_hyphens=False)
