"""Ranking of remedies, from recorded trials only."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Group
from rich.table import Table
from rich.text import Text

from saltation.studies.engine.store import FINISHED
from saltation.studies.report.drawing import STYLE, note, save, style_of
from saltation.studies.report.intervals import Interval

_NONE = "none"
_COLUMNS = 2  # of panels


def measure_of(results: pd.DataFrame) -> tuple[str, int]:
    """What remedies are ranked by, and its direction: accuracy in evaluation mode, or where a loss
    of the user's own gives none, that loss."""
    known = results["test_accuracy"].notna().any()
    return ("test_accuracy", 1) if known else ("test_loss", -1)


def ranking(results: pd.DataFrame) -> pd.DataFrame:
    """A row per network, fault and remedy, the best first.

    Columns: ``network``, ``fault``, ``remedy``, ``value`` (mean over seeds), ``difference`` (an
    `Interval` of the pairs of one seed with and without the remedy), ``refused`` (trials in which
    it did not fit the network, which trained without it) and ``trials`` (finished ones).
    """
    column, sign = measure_of(results)
    rows = []
    for (network, fault), trials in results.groupby(["network", "fault"], sort=False):
        done = trials[trials["status"] == FINISHED]
        plain = done[done["remedy"] == _NONE].set_index("seed")[column].astype(float)
        here = []
        for remedy in trials["remedy"].unique():
            mine = done[done["remedy"] == remedy].set_index("seed")
            values = mine[column].astype(float)
            here.append(
                {
                    "network": network,
                    "fault": fault,
                    "remedy": remedy,
                    "value": values.mean(),
                    "difference": Interval.of((values - plain).dropna()),
                    "refused": int((mine["refused"] > 0).sum()),
                    "trials": len(mine),
                }
            )
        rows += sorted(here, key=lambda row: (pd.isna(row["value"]), -sign * row["value"]))
    return pd.DataFrame(rows)


def overall(ranked: pd.DataFrame) -> pd.DataFrame:
    """A row per remedy: in how many of the networks with faults it helps and harms, so that the
    interval excludes 0, and its mean difference over all of them."""
    sign = 1 if ranked.attrs.get("sign", 1) > 0 else -1
    rows = []
    for remedy, mine in ranked.groupby("remedy", sort=False):
        if remedy == _NONE:
            continue
        signs = [sign * interval.sign for interval in mine["difference"]]
        means = pd.Series([interval.mean for interval in mine["difference"]]).dropna()
        rows.append(
            {
                "remedy": remedy,
                "helps": signs.count(1),
                "harms": signs.count(-1),
                "refused": int((mine["refused"] > 0).sum()),
                "of": len(mine),
                "mean": means.mean(),
            }
        )
    table = pd.DataFrame(rows, columns=["remedy", "helps", "harms", "refused", "of", "mean"])
    order = (sign * table["mean"]).sort_values(ascending=False, na_position="last").index
    return table.loc[order].reset_index(drop=True)


def _grids(results: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables as text."""
    ranked = ranking(results)
    column, ranked.attrs["sign"] = measure_of(results)
    form = "{:.1f}" if column == "test_accuracy" else "{:.3f}"
    shown = pd.DataFrame(
        {
            "network": ranked["network"],
            "fault": ranked["fault"],
            "remedy": ranked["remedy"],
            "accuracy" if column == "test_accuracy" else "loss": [
                "none" if pd.isna(value) else form.format(value) for value in ranked["value"]
            ],
            "difference": [
                "" if remedy == _NONE else _told(interval, column)
                for remedy, interval in zip(ranked["remedy"], ranked["difference"], strict=True)
            ],
            "refused": [
                f"{refused} of {count}" if refused else ""
                for refused, count in zip(ranked["refused"], ranked["trials"], strict=True)
            ],
        }
    )
    every = overall(ranked)
    every["mean"] = [
        "none"
        if pd.isna(value)
        else f"{value:+.1f}"
        if column == "test_accuracy"
        else f"{value:+.3f}"
        for value in every["mean"]
    ]
    return shown, every


def _told(interval: Interval, column: str) -> str:
    """An interval of points, or of losses, which are smaller numbers."""
    if column == "test_accuracy" or not interval.n:
        return str(interval)
    half = "" if pd.isna(interval.half) else f" ± {interval.half:.3f}"
    return f"{interval.mean:+.3f}{half}"


def _captions(results: pd.DataFrame) -> tuple[str, str]:
    what = "accuracy in %" if measure_of(results)[0] == "test_accuracy" else "loss"
    seeds = results["seed"].nunique()
    return (
        f"held-out {what} in evaluation mode after a short training, mean of {seeds} seeds, the "
        "best first; difference from no remedy, pairs of one seed, with its 95 % interval",
        "over all networks and faults: where the interval excludes 0, and the mean difference",
    )


def remedies_verdict(results: pd.DataFrame) -> list[str]:
    """The remedies that help in most places, and those that harm anywhere."""
    ranked = ranking(results)
    column, ranked.attrs["sign"] = measure_of(results)
    every = overall(ranked)
    every = every[every["mean"].notna()]
    if every.empty:
        return ["No remedy can be compared with none: there is no pair of finished trials."]
    unit = "points" if column == "test_accuracy" else "of the loss"
    form = "+.1f" if column == "test_accuracy" else "+.3f"
    first = every.iloc[0]
    over = f"{first['of']} networks and faults" if first["of"] > 1 else "one network and fault"
    said = [
        f"Largest mean difference from no remedy: {first['remedy']}, {first['mean']:{form}} {unit} "
        f"over {over}; it helps in {first['helps']} and harms in "
        f"{first['harms']} of them so that the interval of 95 % excludes 0."
    ]
    harms = [f"{row['remedy']} in {row['harms']}" for _, row in every.iterrows() if row["harms"]]
    said.append(f"Remedies that harm: {', '.join(harms) or 'none is shown to'}.")
    if results["seed"].nunique() < 2:
        said.append("Of one seed there is no interval: --seeds 0 1 2 gives one.")
    return said


def remedies_table(results: pd.DataFrame) -> Group:
    """Rankings for the terminal."""
    parts: list[Any] = []
    for caption, grid in zip(_captions(results), _grids(results), strict=True):
        table = Table()
        for column in grid.columns:
            words = column in ("network", "fault", "remedy")
            table.add_column(column, justify="left" if words else "right")
        before = None
        for row in grid.astype(str).to_dict("records"):
            place = row.get("network"), row.get("fault")
            if before not in (None, place):
                table.add_section()
            before = place if "fault" in row else None
            table.add_row(*row.values())
        parts += [Text(caption), table]
    return Group(*parts)


def remedies_text(results: pd.DataFrame) -> str:
    """The same in Markdown."""
    lines: list[str] = []
    for caption, grid in zip(_captions(results), _grids(results), strict=True):
        words = ("network", "fault", "remedy")
        rule = ["---" if column in words else "---:" for column in grid.columns]
        rows = [list(map(str, grid.columns)), rule, *grid.astype(str).to_numpy().tolist()]
        lines += [caption, "", *(f"| {' | '.join(row)} |" for row in rows), ""]
    return "\n".join(lines)


def draw_remedies(results: pd.DataFrame, folder: Path) -> None:
    """Differences from no remedy with their intervals, a panel per network and fault."""
    ranked = ranking(results)
    places = list(dict.fromkeys(zip(ranked["network"], ranked["fault"], strict=True)))
    remedies = [name for name in dict.fromkeys(results["remedy"]) if name != _NONE]
    if not remedies or ranked["value"].isna().all():
        return
    column, _ = measure_of(results)
    with mpl.rc_context(STYLE):
        height = math.ceil(len(places) / _COLUMNS)
        columns = min(_COLUMNS, len(places))
        size = (2.0 + 1.7 * columns, 0.5 + height * (0.7 + 0.26 * len(remedies)))
        figure = Figure(figsize=size)
        grid = figure.subplots(height, columns, sharey=True, squeeze=False)
        panels = list(grid.flat)
        for axes in panels[len(places) :]:
            axes.set_axis_off()
        for axes, (network, fault) in zip(panels, places, strict=False):
            here = ranked[(ranked["network"] == network) & (ranked["fault"] == fault)]
            found = here.set_index("remedy")["difference"]
            for place, remedy in enumerate(remedies):
                interval = found[remedy]
                half = 0.0 if pd.isna(interval.half) else interval.half
                axes.errorbar(
                    interval.mean,
                    place,
                    xerr=half,
                    fmt="o",
                    markersize=4,
                    color=style_of(0)["color"],
                )
            axes.axvline(0, color="#777777", linewidth=1, zorder=0)
            axes.set_title(f"{Path(str(network)).name}, {fault}", fontsize=8, loc="left")
            axes.set_xlabel("points" if column == "test_accuracy" else "loss")
        panels[0].set_yticks(range(len(remedies)), remedies)
        panels[0].invert_yaxis()
        note(
            figure,
            f"difference from no remedy, {results['seed'].nunique()} seeds, intervals of 95 %",
        )
        save(figure, folder, "remedies")
