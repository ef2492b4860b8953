"""Tables and heat maps of the transfer study: trained dt x run dt, for every mapping."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table
from rich.text import Text

from saltation.neurons import get_neuron
from saltation.studies.engine.rows import Record
from saltation.studies.engine.store import FINISHED
from saltation.studies.report.chance import guessing
from saltation.studies.report.drawing import STYLE, note, save
from saltation.studies.report.tables import inputs_of

WORDS = {
    "naive": "only dt changed",
    "charge": "charge of a spike kept",
    "current": "current of a spike kept",
}


def transfer_grids(results: pd.DataFrame) -> dict[tuple[str, str, str, str], pd.DataFrame]:
    """Accuracies ``mean ± deviation`` by neuron, scheme, input and mapping: a row per dt that a
    network was trained at, a column per dt that it was run at."""
    return {key: _text(mean, spread) for key, mean, spread in _grids(results)}


def _grids(
    results: pd.DataFrame,
) -> Iterator[tuple[tuple[str, str, str, str], pd.DataFrame, pd.DataFrame]]:
    """Mean and standard deviation over seeds of the finished trials."""
    done = results[results["status"] == FINISHED].assign(input=lambda frame: inputs_of(frame))
    for key, rows in done.groupby(["neuron", "scheme", "input"], sort=False):
        neuron, scheme, kind = map(str, key)
        for mapping in WORDS:
            start = f"{mapping} at "
            columns = [c for c in map(str, rows) if c.startswith(start) and rows[c].notna().any()]
            if not columns:
                continue
            by_dt = rows.groupby("dt", sort=True)[columns]
            names = {c: float(c.removeprefix(start)) for c in columns}
            mean, spread = (
                f.rename(columns=names).sort_index(axis=1) for f in (by_dt.mean(), by_dt.std())
            )
            yield (neuron, scheme, kind, mapping), mean, spread


def _text(mean: pd.DataFrame, spread: pd.DataFrame) -> pd.DataFrame:
    cells = mean.map(lambda value: f"{value:.1f}")
    return cells.where(spread.isna(), cells + spread.map(lambda value: f" ± {value:.1f}"))


def transfer_verdict(results: pd.DataFrame) -> list[str]:
    """Of every neuron, scheme and input: what each mapping loses away from the trained dt.

    Networks that stay near guessing have nothing to lose and do not count.
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    untaught: dict[tuple[str, str, str], list[float]] = {}
    known = guessing(results)
    least = -np.inf if known is None else known.below
    for (neuron, scheme, kind, mapping), mean, _ in _grids(results):
        table = {float(str(own)): row.to_dict() for own, row in mean.iterrows()}
        low = [own for own, row in table.items() if own in row and row[own] < least]
        if low:
            untaught[neuron, scheme, kind] = low
        lost = [
            row[own] - value
            for own, row in table.items()
            if own not in low and own in row and np.isfinite(row[own])
            for dt, value in row.items()
            if dt != own and np.isfinite(value)
        ]
        if lost:
            mean_lost, most = (round(float(of), 1) + 0.0 for of in (np.mean(lost), max(lost)))
            loss = f"{mean_lost:.1f} points on average, at most {most:.1f}"
            found.setdefault((neuron, scheme, kind), []).append(f"{WORDS[mapping]}: {loss}")
    return [
        f"{get_neuron(neuron).title} {scheme}, input {kind}, accuracy lost at other dt than that "
        f"of the training: {'; '.join(parts)}."
        for (neuron, scheme, kind), parts in found.items()
    ] + [
        f"{get_neuron(neuron).title} {scheme}, input {kind}: trained at dt "
        f"{', '.join(f'{own:g}' for own in low)} networks stay near guessing and have nothing to "
        "lose elsewhere; train for longer: a larger --lr or --epochs, a smaller --batch-size."
        for (neuron, scheme, kind), low in untaught.items()
    ]


def transfer_tables(results: pd.DataFrame) -> Group:
    """One table for every neuron, scheme, input and mapping, with its caption."""
    seeds = results["seed"].nunique()
    over = f"mean ± standard deviation of {seeds} seeds" if seeds > 1 else "one seed"
    parts: list[Table | Text] = []
    for (neuron, scheme, kind, mapping), grid in transfer_grids(results).items():
        table = Table("trained at")
        for dt in grid.columns:
            table.add_column(f"run at {dt:g}", justify="right")
        for trained, row in grid.iterrows():
            table.add_row(f"dt {trained:g}", *row)
        title = f"{get_neuron(neuron).title} {scheme}, input {kind}, {WORDS[mapping]}"
        parts += [Text(f"{title}: test accuracy in %, {over}"), table]
    return Group(*parts) if parts else Group(Text("no trial is finished"))


def draw_transfer(records: list[Record], folder: Path) -> None:
    """A heat map for every mapping, a row of them for every neuron, scheme and input."""
    rows = []
    for record in records:
        if record["status"] != FINISHED or not record["epochs"]:
            continue
        last, settings = record["epochs"][-1], record["settings"]
        found = {
            f"{mapping} at {dt}": value
            for mapping in WORDS
            for dt, value in zip(settings["run_dt"], last.get(f"at_dt_{mapping}", []), strict=False)
        }
        rows.append({"status": FINISHED, **settings, **found})
    grids = {key: mean for key, mean, _ in _grids(pd.DataFrame(rows))} if rows else {}
    if not grids:
        return
    of_row = list(dict.fromkeys(key[:3] for key in grids))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.4 + 2.6 * len(WORDS), 0.5 + 2.7 * len(of_row)))
        panels = figure.subplots(len(of_row), len(WORDS), squeeze=False)
        low = min(float(grid.min().min()) for grid in grids.values())
        high = max(float(grid.max().max()) for grid in grids.values())
        for row, (neuron, scheme, kind) in zip(panels, of_row, strict=True):
            for axes, mapping in zip(row, WORDS, strict=True):
                grid = grids.get((neuron, scheme, kind, mapping))
                if grid is None:
                    axes.set_axis_off()
                    continue
                _heat(axes, grid, low, high)
                title = f"{get_neuron(neuron).title} {scheme}, {kind}"
                axes.set_title(f"{title}\n{WORDS[mapping]}", fontsize=8, loc="left")
        note(figure, "test accuracy (%)")
        save(figure, folder, "transfer")


def _heat(axes: Axes, grid: pd.DataFrame, low: float, high: float) -> None:
    """Accuracies as numbers, the higher the lighter."""
    values: NDArray[np.float64] = grid.to_numpy(dtype=np.float64)
    # Colours that a page leaves as they are, for dark writing on them.
    axes.pcolormesh(
        np.arange(values.shape[1] + 1) - 0.5,
        np.arange(values.shape[0] + 1) - 0.5,
        values,
        cmap=LinearSegmentedColormap.from_list("light", ["#86a3c9", "#eef4fb"]),
        vmin=low,
        vmax=max(high, low + 1),
        linewidth=0,
    )
    axes.invert_yaxis()
    for (i, k), value in np.ndenumerate(values):
        if np.isfinite(value):
            said: Any = {"ha": "center", "va": "center", "fontsize": 9, "color": "#100f0f"}
            axes.text(k, i, f"{value:.1f}", **said)
    axes.set_xticks(range(len(grid.columns)), [f"{dt:g}" for dt in grid.columns])
    axes.set_yticks(range(len(grid.index)), [f"{dt:g}" for dt in grid.index])
    axes.set(xlabel="run at dt (same unit as tau)", ylabel="trained at dt (same unit as tau)")
    axes.grid(False)
