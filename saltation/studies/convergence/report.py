"""Table, figures and page of the convergence study, from its cells alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from saltation.neurons import get_neuron
from saltation.neurons.in_step import SPIKE_TIMES
from saltation.numerics.convergence import FLOOR as FLOORS
from saltation.numerics.convergence import Order, fitted_order
from saltation.schemes import SCHEMES
from saltation.studies.report.blocks import Column, Grid, in_words
from saltation.studies.report.drawing import STYLE, save, style_of
from saltation.studies.report.figures import figures_in
from saltation.studies.report.page import write_page

PAGE = "report.html"

_BEFORE = "error of the state (part of its range)"
_TIMES = "mean error of a spike's time (unit of dt)"
_EXACT: dict[str, Any] = {"color": "#000000", "linewidth": 4.0, "alpha": 0.25}


def orders(cells: pd.DataFrame) -> pd.DataFrame:
    """Fitted orders as text: a row per neuron and scheme; before the first spike, then of spike
    times by how they are found, and the error of these at the shortest step."""
    rows = []
    for (neuron, scheme), some in cells.groupby(["neuron", "scheme"], sort=False):
        first = some[some["spike_time"] == some["spike_time"].iloc[0]]
        row: dict[str, Any] = {
            "neuron": neuron,
            "scheme": scheme,
            "before the first spike": _in_words(first, "state"),
        }
        for kind in SPIKE_TIMES:
            own = some[some["spike_time"] == kind]
            if len(own):
                row[f"spike times, {kind}"] = str(_order(own, "times"))
                finest = own[own["dt"] == own["dt"].min()]
                row[f"error, {kind}"] = f"{finest['times'].iloc[0]:.1e}"
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def _order(rows: pd.DataFrame, of: str) -> Order:
    return fitted_order(rows["dt"].tolist(), rows[of].tolist(), FLOORS[of])


def _in_words(rows: pd.DataFrame, of: str) -> str:
    """The order, or that there is no error to fit one to."""
    return "exact" if (rows[of] <= FLOORS[of]).all() else str(_order(rows, of))


def draw(cells: pd.DataFrame, folder: Path) -> list[Path]:
    """Of every neuron: errors before and through spikes, and against the time spent."""
    paths: list[Path] = []
    with mpl.rc_context(STYLE):
        for neuron, some in cells.groupby("neuron", sort=False):
            paths += _draw_orders(str(neuron), some, folder)
            paths += _draw_work(str(neuron), some, folder)
    return paths


def _draw_orders(neuron: str, cells: pd.DataFrame, folder: Path) -> list[Path]:
    figure = Figure(figsize=(5.4, 10.2))
    before, grid, within = figure.subplots(3, 1)
    kinds = [kind for kind in SPIKE_TIMES if (cells["spike_time"] == kind).any()]
    first = cells[cells["spike_time"] == kinds[0]]
    for place, (scheme, rows) in enumerate(first.groupby("scheme", sort=False)):
        style, name = style_of(place), str(scheme)
        if _in_words(rows, "state") == "exact":
            before.plot([], [], label=f"{name}: exact", **style)
        else:
            _line(before, rows, "state", f"{name}: {_short(_order(rows, 'state'))}", style)
        if kinds[0] == "grid":
            _line(grid, rows, "times", f"{name}: {_short(_order(rows, 'times'))}", style)
    chosen = _best(cells)
    for place, kind in enumerate(kinds):
        rows = cells[(cells["scheme"] == chosen) & (cells["spike_time"] == kind)]
        label = f"{kind}: {_short(_order(rows, 'times'))}"
        _line(within, rows, "times", label, style_of(place))
    for axes, title, label in (
        (before, "before the first spike", _BEFORE),
        (grid, "through spikes on the grid", _TIMES),
        (within, f"through spikes within the step, {chosen}", _TIMES),
    ):
        axes.set(xlabel="dt (same unit as the time constants)", ylabel=label)
        _logarithmic(axes)
        lengths = sorted(cells["dt"].unique())[:: 1 if cells["dt"].nunique() < 5 else 2]
        axes.set_xticks(lengths, [f"{dt:.2g}" for dt in lengths])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title(title, fontsize=9, loc="left")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7.5, title="fitted order", title_fontsize=7.5)
    figure.suptitle(_title(neuron, cells), x=0.01, ha="left", fontsize=9)
    return save(figure, folder, f"orders_{neuron}")


def _draw_work(neuron: str, cells: pd.DataFrame, folder: Path) -> list[Path]:
    """Errors of spike times and rates against the time spent."""
    figure = Figure(figsize=(5.4, 8.6))
    panels = figure.subplots(2, 1)
    markers = {"grid": "o", "linear": "^", "hermite": "D"}
    schemes = list(dict.fromkeys(cells["scheme"]))
    for axes, of, label in (
        (panels[0], "times", _TIMES),
        (panels[1], "rate", "mean error of the rate (part of it)"),
    ):
        for (scheme, kind), rows in cells.groupby(["scheme", "spike_time"], sort=False):
            shown = rows[rows[of] > FLOORS["times"]].sort_values("seconds")
            own = {"marker": markers[str(kind)], "linewidth": 1.0}
            style = style_of(schemes.index(scheme)) | own
            if len(shown):
                axes.plot(shown["seconds"] * 1e3, shown[of], label=f"{scheme}, {kind}", **style)
        axes.set(xlabel="CPU time for one unit of time (ms)", ylabel=label)
        _logarithmic(axes)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", fontsize=7, ncols=3)
    figure.suptitle(_title(neuron, cells), x=0.01, ha="left", fontsize=9)
    return save(figure, folder, f"work_{neuron}")


def draw_rates(curves: pd.DataFrame, folder: Path) -> list[Path]:
    """Rates against currents, of the solutions and of steps, a panel for every neuron."""
    names = list(dict.fromkeys(curves["neuron"]))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.4, 0.3 + 3.3 * len(names)))
        panels = figure.subplots(len(names), 1, squeeze=False)[:, 0]
        for axes, neuron in zip(panels, names, strict=True):
            own = curves[curves["neuron"] == neuron]
            cases = own.groupby(["spike_time", "dt"], sort=False)
            for place, ((kind, dt), rows) in enumerate(cases):
                label = f"{rows['scheme'].iloc[0]}, {kind}, dt = {dt:.2g}" if dt else "exact"
                style = style_of(place) | {"marker": ""} if dt else _EXACT
                axes.plot(rows["current"], rows["rate"], label=label, **style)
            axes.set(xlabel="current", ylabel="rate (spikes per unit of time)")
            axes.set_title(get_neuron(str(neuron)).title, fontsize=9, loc="left")
            axes.legend(fontsize=7)
        return save(figure, folder, "rates")


def _line(axes: Axes, rows: pd.DataFrame, of: str, label: str, style: dict[str, Any]) -> None:
    shown = rows[rows[of] > FLOORS[of]].sort_values("dt")
    if len(shown):
        axes.plot(shown["dt"], shown[of], label=label, **style)


def _logarithmic(axes: Axes) -> None:
    """Both scales, if there is anything on them."""
    if axes.has_data():
        axes.set(xscale="log", yscale="log")


def _best(cells: pd.DataFrame) -> str:
    """The scheme of the highest order of those that are there."""
    there = [str(name) for name in dict.fromkeys(cells["scheme"])]
    return max(there, key=lambda name: SCHEMES[name].order)


def _short(order: Order) -> str:
    return "–" if np.isnan(order.value) else f"{order.value:.2f}"


def _title(neuron: str, cells: pd.DataFrame) -> str:
    currents = [float(x) for x in str(cells["currents"].iloc[0]).split()]
    under = f"{min(currents):g} to {max(currents):g}" if len(currents) > 1 else f"{currents[0]:g}"
    return f"{get_neuron(neuron).title}, {len(currents)} constant currents of {under}"


def verdict(cells: pd.DataFrame) -> list[str]:
    """What the orders say, a sentence for every neuron."""
    return [_said(str(neuron), some) for neuron, some in cells.groupby("neuron", sort=False)]


def _said(neuron: str, cells: pd.DataFrame) -> str:
    first = cells[cells["spike_time"] == cells["spike_time"].iloc[0]]
    parts = [_steepest(first, "state", "before the first spike")]
    for kind in SPIKE_TIMES:
        own = cells[cells["spike_time"] == kind]
        where = "through spikes on the grid" if kind == "grid" else f"with {kind} spike times"
        if len(own):
            parts.append(_steepest(own, "times", where))
    return f"{get_neuron(neuron).title}: {'; '.join(parts)}."


def _steepest(cells: pd.DataFrame, of: str, where: str) -> str:
    """The schemes that are exact, and the highest order of the others."""
    groups = {str(name): rows for name, rows in cells.groupby("scheme", sort=False)}
    exact = [name for name, rows in groups.items() if (rows[of] <= FLOORS[of]).all()]
    others = {n: _order(rows, of).value for n, rows in groups.items() if n not in exact}
    known = {name: value for name, value in others.items() if not np.isnan(value)}
    said = [f"{' and '.join(exact)} exact"] if exact else []
    if known:
        best = max(known, key=lambda name: known[name])
        said.append(f"at most order {known[best]:.1f} ({best})")
    return f"{where} {', '.join(said) or 'no order can be fitted'}"


def write_report(
    cells: pd.DataFrame,
    folder: Path,
    settings: dict[str, Any],
    planned: int,
    environment: dict[str, Any],
) -> Path:
    """The page with the verdict, the table of orders and the figures that are in the folder."""
    table = orders(cells)
    columns = [Column(str(name), number=str(name) not in ("neuron", "scheme")) for name in table]
    rows = [[str(value) for value in row] for row in table.itertuples(index=False)]
    missing = planned - len(cells)
    return write_page(
        folder / PAGE,
        "convergence.html.j2",
        title=f"convergence study {folder.name}",
        folder=folder.name,
        verdict=verdict(cells),
        missing=f"{missing} of {planned} cells are missing" if missing else "",
        orders=Grid(columns, rows),
        figures=figures_in(folder / "figures"),
        settings=settings,
        environment=Grid([*map(Column, environment)], [list(map(in_words, environment.values()))]),
    )
