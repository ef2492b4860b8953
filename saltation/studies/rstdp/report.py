"""Tables and figures of the R-STDP study, from recorded trials only."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Group
from rich.table import Table
from rich.text import Text

from saltation.studies.engine.rows import Record
from saltation.studies.engine.store import FINISHED
from saltation.studies.report.drawing import (
    DT,
    STYLE,
    dt_axis,
    epochs_frame,
    legend_below,
    note,
    save,
    style_of,
)
from saltation.studies.report.tables import accuracy_cell

_ROWS = ("reward", "scheme", "steps")
_RATES = {
    "hidden_rate": "hidden spikes per neuron and step",
    "output_rate": "output spikes per neuron and step",
    "silent_samples": "samples without an output spike",
}
_MOST_IMAGES = 10  # trials whose weights are drawn


def rstdp_grid(results: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy as text: a row per reward, scheme and number of steps, a column per dt."""
    grid = {
        tuple(map(str, key)): {
            float(str(dt)): accuracy_cell(trials) for dt, trials in rows.groupby("dt", sort=True)
        }
        for key, rows in results.groupby(list(_ROWS), sort=False)
    }
    table = pd.DataFrame.from_dict(grid, orient="index")
    table.index = pd.MultiIndex.from_tuples(list(grid), names=list(_ROWS))
    return table[sorted(table.columns)].fillna("")


def rates_grid(results: pd.DataFrame) -> pd.DataFrame:
    """Rates of the finished trials: a row per reward, scheme, number of steps and dt.

    With ``silent_outputs``, how many outputs answered no test sample, where that was recorded.
    """
    done = results[results["status"] == FINISHED]
    shown = [name for name in (*_RATES, "silent_outputs") if name in done]
    return done.groupby([*_ROWS, "dt"], sort=False)[shown].mean()


def rstdp_tables(results: pd.DataFrame) -> Group:
    """Accuracies and rates, with their captions, for the terminal."""
    seeds = results["seed"].nunique()
    over = f"mean ± standard deviation of {seeds} seeds" if seeds > 1 else "one seed"
    accuracies = rstdp_grid(results)
    shown = Table(*_ROWS)
    for dt in accuracies.columns:
        shown.add_column(f"dt {dt:g}", justify="right")
    for key, row in accuracies.iterrows():
        shown.add_row(*_tuple(key), *row)
    parts: list[Table | Text] = [Text(f"test accuracy in %, {over}"), shown]
    if (results["status"] == FINISHED).any():
        grid = rates_grid(results)
        rates = Table(*_ROWS, "dt", *(str(name).replace("_", " ") for name in grid.columns))
        for key, row in grid.iterrows():
            *row_names, dt = _tuple(key)
            rates.add_row(*map(str, row_names), f"{dt:g}", *(f"{rate:.3f}" for rate in row))
        said = "spikes per neuron and step; samples without a spike; outputs without an answer"
        parts += [Text(said), rates]
    return Group(*parts)


def rstdp_verdict(results: pd.DataFrame) -> list[str]:
    """The best setting, the worst, and how often outputs never answer."""
    done = results[results["status"] == FINISHED]
    by = done.groupby([*_ROWS, "dt"], sort=False)
    means = by["test_accuracy"].mean()

    def cell(key: Any) -> str:
        reward, scheme, steps, dt = key
        return f"reward {reward}, {scheme}, T = {steps}, dt {dt:g} ({means[key]:.1f} %)"

    said = [f"Best on average: {cell(means.idxmax())}."]
    if len(means) > 1:
        said.append(f"Worst: {cell(means.idxmin())}.")
    if "silent_outputs" in done and done["silent_outputs"].notna().any():
        counted = done["silent_outputs"].dropna()
        some = int((counted > 0).sum())
        if some:
            spans = by["test_accuracy"].agg(lambda x: x.max() - x.min())
            said.append(
                f"In {some} of {len(counted)} trials outputs never answer; each costs its class, "
                "and which ones they are depends on the draw."
            )
            if (by["seed"].nunique() > 1).any():
                said.append(f"Seeds of one setting differ by up to {spans.max():.1f} points.")
        else:
            said.append(f"All outputs answer in all of {len(counted)} trials.")
    return said


def draw_rstdp(records: list[Record], folder: Path) -> None:
    """Accuracy against dt and against steps, rates against dt, and what each output sees."""
    done = [record for record in records if record["status"] == FINISHED]
    if not done:
        return
    frame = epochs_frame(done)
    last = frame[frame["epoch"] == frame["epochs"]]
    accuracy = {"test_accuracy": "test accuracy (%)"}
    with mpl.rc_context(STYLE):
        _lines(last, "dt", accuracy, folder, "accuracy")
        if last["steps"].nunique() > 1:
            _lines(last, "steps", accuracy, folder, "accuracy_by_steps")
        _lines(last, "dt", _RATES, folder, "rates")
        _images(done, folder)


def _lines(
    frame: pd.DataFrame, across: str, metrics: dict[str, str], folder: Path, name: str
) -> None:
    """A panel per metric, a line for every other setting: mean and deviation over seeds."""
    others = [k for k in ("reward", "scheme", "steps", "dt") if k != across]
    differ = [k for k in others if frame[k].nunique() > 1] or others[:2]
    figure = Figure(figsize=(5.4, 0.9 + 2.7 * len(metrics)))
    panels = figure.subplots(len(metrics), 1, squeeze=False)[:, 0]
    for axes, (metric, label) in zip(panels, metrics.items(), strict=True):
        for place, (key, rows) in enumerate(frame.groupby(differ, sort=False)):
            found = rows.groupby(across)[metric]
            mean, spread = found.mean(), found.std().fillna(0.0)
            title = ", ".join(_named(k, v) for k, v in zip(differ, _tuple(key), strict=True))
            style = style_of(place)
            axes.errorbar(
                mean.index, mean, yerr=spread, capsize=2.5, label=title, clip_on=False, **style
            )
        dt_axis(axes, frame[across].unique())
        axes.set(xlabel=_AXES[across], ylabel=label)
        axes.set_ylim(bottom=0)
    legend_below(figure, panels)
    seeds = frame["seed"].nunique()
    over = f"mean and standard deviation of {seeds} seeds" if seeds > 1 else "one seed"
    first = frame.iloc[0]
    note(figure, f"{first['dataset']}, {first['epochs']} epochs, {over}")
    save(figure, folder, name)


_AXES = {"dt": DT, "steps": "steps T"}


def _named(setting: str, value: Any) -> str:
    return {"steps": f"T = {value}", "dt": f"dt = {value}"}.get(setting, str(value))


def _tuple(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def _images(records: list[Record], folder: Path) -> None:
    """What each output sees, ``W_out W_in``: a row per trial of the first seed."""
    seed = records[0]["settings"]["seed"]
    chosen = [r for r in records if r["settings"]["seed"] == seed][:_MOST_IMAGES]
    classes = len(chosen[0]["epochs"][-1]["images"])
    figure = Figure(figsize=(5.4, 0.6 + (0.25 + 5.2 / classes) * len(chosen)))
    panels = figure.subplots(len(chosen), 1, squeeze=False)[:, 0]
    for axes, record in zip(panels, chosen, strict=True):
        seen = np.array(record["epochs"][-1]["images"])
        side = math.isqrt(seen.shape[1])
        # One picture a row, with a gap of one pixel: many small axes take seconds to draw.
        row = np.full((side, classes * (side + 1) - 1), np.nan)
        for number, image in enumerate(seen):
            first = number * (side + 1)
            row[:, first : first + side] = image.reshape(side, side)
        reach = np.abs(seen).max() or 1.0
        axes.imshow(row, cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="nearest")
        middles = (side + 1) * np.arange(classes) + (side - 1) / 2
        last = axes is panels[-1]
        axes.set_xticks(middles if last else [], map(str, range(classes if last else 0)))
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        s = record["settings"]
        # A title over the row: beside it, long names would be cut off.
        axes.set_title(
            f"{s['reward']}, T = {s['steps']}, {s['scheme']}, dt = {s['dt']:g}",
            fontsize=7,
            loc="left",
            pad=2,
        )
    note(figure, "what each output sees: red excites, blue inhibits, each row on its own scale")
    save(figure, folder, "weights")
