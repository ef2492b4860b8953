"""Table and figures of the flossing study, from recorded trials only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Group
from rich.table import Table
from rich.text import Text

from saltation.studies.engine.rows import Record
from saltation.studies.engine.store import FINISHED
from saltation.studies.report.drawing import STYLE, legend_below, note, save, style_of

_MODES = {
    "none": "none",
    "before": "before training",
    "both": "before and during training",
}
_WIDTH = 5.6  # the legend's
_MOMENTS = ("before training", "after training")


def flossing_grid(results: pd.DataFrame) -> pd.DataFrame:
    """A row per task, delay and mode: accuracy, success and λ1 over seeds, as text.

    Accuracy is mean ± standard deviation of the finished trials; solved are so many of all. λ1 is a
    mean, of the network as drawn, before training and after.
    """
    rows = []
    for (task, delay, mode), trials in results.groupby(["task", "delay", "mode"], sort=False):
        done = trials[trials["status"] == FINISHED]
        rows.append(
            {
                "task": task,
                "delay": delay,
                "flossing": mode,
                "accuracy": _spread(done["test_accuracy"]),
                "solved": f"{int(trials['success'].sum())}/{len(trials)}",
                "λ1 drawn": _mean(trials["exponent_drawn"]),
                "before": _mean(trials["exponent_before"]),
                "after": _mean(trials["exponent_after"]),
            }
        )
    return pd.DataFrame(rows)


def _spread(values: pd.Series[Any]) -> str:
    spread = f" ± {values.std():.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{spread}" if len(values) else "none"


def _mean(values: pd.Series[Any]) -> str:
    known = values.dropna().astype(float)
    return f"{known.mean():.2f}" if len(known) else "none"


def flossing_table(results: pd.DataFrame, success_at: float) -> Group:
    """The grid, with its caption, for the terminal."""
    grid = flossing_grid(results)
    table = Table()
    for column in grid.columns:
        table.add_column(column, justify="left" if column in ("task", "flossing") else "right")
    task = None
    for row in grid.itertuples(index=False):
        if task not in (None, row.task):
            table.add_section()
        task = row.task
        table.add_row(*map(str, row))
    seeds = results["seed"].nunique()
    over = f"mean ± standard deviation of {seeds} seeds" if seeds > 1 else "one seed"
    return Group(
        Text(f"test accuracy in %, {over}; mean λ1 per step as drawn, before and after training"),
        table,
        Text(f"solved: test accuracy of {success_at:g} % or more. Chance is 50 %"),
    )


def flossing_verdict(results: pd.DataFrame) -> list[str]:
    """Of every task: how many trials were solved with each mode, and at which longest delay."""
    said = []
    for task, trials in results.groupby("task", sort=False):
        parts = []
        for mode, mine in trials.groupby("mode", sort=False):
            solved = mine[mine["success"].fillna(False).astype(bool)]
            reach = f", up to a delay of {solved['delay'].max():g}" if len(solved) else ""
            parts.append(f"{_MODES[str(mode)]} {len(solved)} of {len(mine)}{reach}")
        said.append(f"Task {task}, solved trials with flossing {'; '.join(parts)}.")
    return said


def draw_flossing(records: list[Record], folder: Path, success_at: float) -> None:
    """Accuracy against delay; spectra, and gradients over time, before and after training."""
    done = [record for record in records if record["status"] == FINISHED]
    if not done:
        return
    with mpl.rc_context(STYLE):
        _accuracy(done, folder, success_at)
        spectrum = _panels(done, "spectrum", "exponent", "λ per step", _draw_spectrum)
        _finish(*spectrum, _note(done, "mean ± standard deviation"))
        save(spectrum[0], folder, "spectrum")
        distance = "distance in time (steps)"
        gradient = _panels(done, "gradient_by_distance", distance, "gradient norm", _draw_gradient)
        _finish(*gradient, _note(done, "geometric mean and range"))
        save(gradient[0], folder, "gradient_by_distance")


def _accuracy(records: list[Record], folder: Path, success_at: float) -> None:
    """Test accuracy against delay: a panel per task, a line and a band per mode."""
    frame = pd.DataFrame(
        [r["settings"] | {"accuracy": r["epochs"][-1]["test_accuracy"]} for r in records]
    )
    tasks = list(dict.fromkeys(frame["task"]))
    figure = Figure(figsize=(max(_WIDTH, 1.0 + 3.4 * len(tasks)), 3.3))
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    for axes, task in zip(panels, tasks, strict=True):
        here = frame[frame["task"] == task]
        for mode, rows in here.groupby("mode", sort=False):
            by_delay = rows.groupby("delay")["accuracy"]
            mean, spread = by_delay.mean(), by_delay.std().fillna(0.0)
            style = _style(str(mode))
            axes.plot(mean.index, mean, label=_MODES[str(mode)], clip_on=False, **style)
            low, high = (mean - spread).clip(0, 100), (mean + spread).clip(0, 100)
            axes.fill_between(mean.index, low, high, color=style["color"], alpha=0.15, lw=0)
        axes.axhline(50, color="#777777", linewidth=1)
        axes.axhline(success_at, color="#777777", linewidth=1, linestyle=(0, (2, 2)))
        axes.set_title(task, loc="left", fontweight="bold", fontsize=9)
        axes.set(xlabel="delay (steps)", ylim=(30, 101))
        axes.set_xticks(sorted(here["delay"].unique()))
    panels[0].set_ylabel("test accuracy (%)")
    over = _note(records, "mean ± standard deviation")
    _finish(figure, panels, f"{over}; dashed: solved from {success_at:g} %; chance: 50 %")
    save(figure, folder, "accuracy")


def _panels(
    records: list[Record],
    what: str,
    across: str,
    up: str,
    draw: Callable[[Axes, str, Any], None],
) -> tuple[Figure, list[Axes]]:
    """What was recorded before and after training: two rows a task, a column per delay."""
    tasks = list(dict.fromkeys(r["settings"]["task"] for r in records))
    delays = sorted({r["settings"]["delay"] for r in records})
    places = [(task, moment) for task in tasks for moment in _MOMENTS]
    figure = Figure(figsize=(max(_WIDTH, 1.2 + 1.9 * len(delays)), 1.0 + 1.5 * len(places)))
    grid = figure.subplots(len(places), len(delays), sharex="col", sharey=True, squeeze=False)
    for row, (task, moment) in zip(grid, places, strict=True):
        for axes, delay in zip(row, delays, strict=True):
            for mode, values in _by_mode(records, task, delay, moment, what):
                draw(axes, mode, values)
            axes.set_title(f"{task}, delay {delay}", fontsize=8, loc="left")
        row[0].set_ylabel(f"{up},\n{moment}", fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel(across, fontsize=8)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    return figure, list(grid.flat)


def _by_mode(
    records: list[Record], task: str, delay: int, moment: str, what: str
) -> Iterator[tuple[str, Any]]:
    """For every mode an array [seeds, ...] of what was recorded of its trials at that moment."""
    place = 0 if moment == _MOMENTS[0] else -1
    found: dict[str, list[Any]] = {}
    for r in records:
        s = r["settings"]
        if (s["task"], s["delay"]) == (task, delay):
            found.setdefault(s["mode"], []).append(r["epochs"][place][what])
    for mode, values in found.items():
        yield mode, np.array(values, dtype=float)


def _draw_spectrum(axes: Axes, mode: str, values: Any) -> None:
    number = np.arange(1, values.shape[1] + 1)
    axes.errorbar(
        number, values.mean(0), _deviation(values), label=_MODES[mode], capsize=1.5, **_style(mode)
    )
    axes.axhline(0, color="#777777", linewidth=1, zorder=0)


def _draw_gradient(axes: Axes, mode: str, values: Any) -> None:
    """The geometric mean over seeds, and their range; zeros are left out."""
    with np.errstate(divide="ignore"):
        logs = np.where(values > 0, np.log(values), np.nan)
    distance = np.arange(values.shape[1])
    known = ~np.isnan(logs).all(0)
    style = _style(mode) | {"markersize": 3, "linewidth": 1.2}
    every = max(1, len(distance) // 6)
    axes.plot(
        distance[known],
        np.exp(np.nanmean(logs[:, known], 0)),
        label=_MODES[mode],
        markevery=every,
        **style,
    )
    low, high = (np.exp(f(logs[:, known], 0)) for f in (np.nanmin, np.nanmax))
    axes.fill_between(distance[known], low, high, color=style["color"], alpha=0.15, lw=0)
    axes.set_yscale("log")


def _deviation(values: Any) -> Any:
    return values.std(0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])


def _style(mode: str) -> dict[str, Any]:
    return style_of(list(_MODES).index(mode))


def _note(records: list[Record], shown: str) -> str:
    seeds = len({r["settings"]["seed"] for r in records})
    return f"{shown} of {seeds} seeds" if seeds > 1 else "one seed"


def _finish(figure: Figure, panels: Any, said: str) -> None:
    legend_below(figure, panels, title="flossing")
    note(figure, said)
