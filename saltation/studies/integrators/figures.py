"""Figures of the integrators study, from recorded trials only."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saltation.neurons import get_neuron, model_of
from saltation.studies.engine.rows import Record
from saltation.studies.engine.store import DIVERGED, FINISHED
from saltation.studies.figures import lines
from saltation.studies.report.drawing import (
    DT,
    STYLE,
    dt_axis,
    epochs_frame,
    legend_below,
    note,
    save,
    scheme_style,
    style_of,
)
from saltation.studies.report.tables import ACCURACY, inputs_of, measure_of

_WIDTH = 5.4  # inches, so that it can be read on a telephone
_MOST_DTS = 6
KINDS = {"impulse": "spikes as impulses", "held": "spikes held over a step"}


def draw_integrators(records: list[Record], folder: Path) -> None:
    """Accuracy and spike rate against dt, and learning curves."""
    frame = epochs_frame(records)
    if frame.empty:
        return
    frame["input"] = inputs_of(frame)
    with mpl.rc_context(STYLE):
        last = frame[frame["epoch"] == frame.groupby("trial")["epoch"].transform("max")]
        last = last[last["status"].isin([FINISHED, DIVERGED])]
        column, label, _ = measure = measure_of(frame)
        is_accuracy = measure is ACCURACY
        against_dt(last, column, label, folder, "accuracy" if is_accuracy else "error")
        against_dt(last, "mean_spike_rate", "spikes per neuron and step", folder, "spike_rate")
        _learning_curves(frame, folder)
        if is_accuracy and "energy_nj" in last and last["energy_nj"].notna().any():
            _against_energy(last, folder)


def against_dt(frame: pd.DataFrame, metric: str, label: str, folder: Path, name: str) -> None:
    """A metric against dt: mean and standard deviation over seeds, a line for every scheme and a
    panel for every neuron and kind of input; of one scheme the kinds are lines of one panel."""
    kinds = list(dict.fromkeys(frame["input"]))
    of_kinds = len(kinds) > 1 and frame["scheme"].nunique() == 1
    apart: list[str | None] = [None] if of_kinds else [*kinds]
    places = list(itertools.product(dict.fromkeys(frame["neuron"]), apart))
    if not places:
        return
    height = 3.3 if len(places) < 3 else 2.7  # of many panels none fills a screen by itself
    figure = Figure(figsize=(_WIDTH, 0.5 + height * len(places)))
    panels = figure.subplots(len(places), 1, sharey=True, squeeze=False)[:, 0]
    for (neuron, kind), axes in zip(places, panels, strict=True):
        here = frame[frame["neuron"] == neuron]
        here = here if kind is None else here[here["input"] == kind]
        here = here.assign(input=here["input"].map(KINDS))
        by, styles = ("input", _of_kinds()) if of_kinds else ("scheme", None)
        lines(axes, here[here["status"] == FINISHED], metric, "dt", by, styles)
        _mark_diverged(axes, here[here["status"] == DIVERGED], metric, by)
        if len(here):
            dt_axis(axes, here["dt"].unique())
            _mark_limits(axes, here)
        title = get_neuron(neuron).title
        if of_kinds:
            title += f", {frame['scheme'].iloc[0]}"
        elif len(kinds) > 1:
            title += f", {KINDS[str(kind)]}"
        axes.set_title(title, loc="left", fontweight="bold", fontsize=9)
        axes.set(xlabel=DT, ylabel=label)
        # Under the panels: curves may go anywhere.
        handles, labels = axes.get_legend_handles_labels()
        drawn = {*here["scheme"], *here["input"]}
        order = sorted(range(len(labels)), key=lambda n: labels[n] not in drawn)
        axes.legend(
            [handles[n] for n in order],
            [labels[n] for n in order],
            loc="upper center",
            bbox_to_anchor=(0.5, -0.17 * 3.3 / height),
            ncols=2,
            fontsize=8,
        )
    # Accuracies that are all high are told apart; everything else is seen from 0 on.
    panels[0].set_ylim(bottom=60 if metric == "test_accuracy" and frame[metric].min() > 65 else 0)
    seeds = frame["seed"].nunique()
    over = f"mean and standard deviation of {seeds} seeds" if seeds > 1 else "one seed"
    first = frame.iloc[0]
    note(
        figure,
        f"{first['dataset']}, {' and '.join(KINDS[k] for k in kinds)}, {first['readout']} readout, "
        f"{first['epochs']} epochs, {over}",
    )
    save(figure, folder, name)


def _of_kinds() -> dict[str, dict[str, Any]]:
    """Styles of the kinds of input, by their words."""
    return {words: style_of(place) for place, words in enumerate(KINDS.values())}


def _mark_diverged(axes: Axes, rows: pd.DataFrame, metric: str, by: str) -> None:
    """Crosses where training diverged, at what the broken weights score; no line leads there."""
    label = "diverged"
    for name, some in rows.groupby(by, sort=False):
        style = scheme_style(str(name)) if by == "scheme" else _of_kinds()[str(name)]
        place = (some["dt"], some[metric])
        axes.scatter(
            *place,
            marker="x",
            color=style["color"],
            s=40,
            lw=1.8,
            zorder=3,
            clip_on=False,
            label=label,
        )
        label = ""  # one for all of them


_LIMITS = ((0, (2, 2)), (0, (6, 2)), (0, (1, 3)), (0, (8, 2, 1, 2)))


def _mark_limits(axes: Axes, rows: pd.DataFrame) -> None:
    """The stability limits that lie within reach of the axis, one line per distinct limit."""
    tau = float(rows["tau"].iloc[0])
    neuron = rows["neuron"].iloc[0]
    low, high = axes.get_xlim()
    limits: dict[float, list[str]] = {}
    for scheme in rows["scheme"].unique():
        limit = model_of(neuron, tau=tau, scheme=scheme).dt_limit
        if math.isfinite(limit) and low < limit < 2 * high:
            limits.setdefault(round(limit, 6), []).append(scheme)
    for place, (limit, schemes) in enumerate(sorted(limits.items())):
        axes.axvline(
            limit,
            color="#444444",
            linewidth=1.2,
            linestyle=_LIMITS[place % len(_LIMITS)],
            zorder=0,
            label=f"{', '.join(schemes)} unstable beyond {limit:.3g}",
        )


def _against_energy(frame: pd.DataFrame, folder: Path) -> None:
    """Test accuracy against the energy of a sample, a panel for every neuron: a mark for every
    scheme and dt, means over seeds, the larger the longer the step."""
    neurons = list(dict.fromkeys(frame["neuron"]))
    figure = Figure(figsize=(_WIDTH, 0.7 + 2.7 * len(neurons)))
    panels = figure.subplots(len(neurons), 1, sharey=True, squeeze=False)[:, 0]
    dts = sorted(frame["dt"].unique())
    for neuron, axes in zip(neurons, panels, strict=True):
        here = frame[(frame["neuron"] == neuron) & (frame["status"] == FINISHED)]
        for scheme, rows in here.groupby("scheme", sort=False):
            means = rows.groupby(["input", "dt"])[["energy_nj", "test_accuracy"]].mean()
            sizes = [18 + 22 * dts.index(dt) for _, dt in means.index]
            style = scheme_style(str(scheme))
            axes.scatter(
                means["energy_nj"],
                means["test_accuracy"],
                s=sizes,
                color=style["color"],
                marker=style.get("marker", "o"),
                label=scheme,
                alpha=0.8,
            )
        if len(here) and here["energy_nj"].max() > 20 * here["energy_nj"].min():
            axes.set_xscale("log")
        axes.set(xlabel="energy of a sample (nJ), estimated", ylabel="test accuracy (%)")
        axes.set_title(get_neuron(neuron).title, loc="left", fontweight="bold", fontsize=9)
    legend_below(figure, panels)
    steps = ", ".join(f"{dt:.3g}" for dt in dts)
    note(
        figure,
        f"larger marks: longer steps (dt = {steps}); 0.9 pJ a synaptic operation, 4.6 pJ an update",
    )
    save(figure, folder, "accuracy_energy")


def _learning_curves(frame: pd.DataFrame, folder: Path) -> None:
    """Test accuracy, or error, against epoch, a panel for every neuron, kind of input and dt; of
    many dts, six from the shortest to the longest."""
    column, label, _ = measure_of(frame)
    rows = list(dict.fromkeys(zip(frame["neuron"], frame["input"], strict=True)))
    kinds = frame["input"].nunique()
    every = sorted(frame["dt"].unique())
    places = np.linspace(0, len(every) - 1, min(_MOST_DTS, len(every))).round().astype(int)
    dts = [every[place] for place in places]
    panels = list(itertools.product(rows, dts))
    columns = min(2, len(dts))
    height = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(_WIDTH, 0.9 + 1.75 * height))
    grid = figure.subplots(height, columns, sharex=True, sharey=True, squeeze=False)
    for ((neuron, kind), dt), axes in zip(panels, grid.flat, strict=False):
        of_row = (frame["neuron"] == neuron) & (frame["input"] == kind)
        here = frame[of_row & (frame["dt"] == dt)]
        for scheme, mine in here.groupby("scheme", sort=False):
            by_epoch = mine.groupby("epoch")[column]
            mean, spread = by_epoch.mean(), by_epoch.std().fillna(0.0)
            style = scheme_style(str(scheme)) | {"markersize": 2.5, "linewidth": 1.2}
            axes.plot(mean.index, mean, label=scheme, markevery=max(1, len(mean) // 8), **style)
            axes.fill_between(
                mean.index, mean - spread, mean + spread, color=style["color"], alpha=0.15, lw=0
            )
        of_kind = f", {kind}" if kinds > 1 else ""
        title = f"{get_neuron(neuron).title}{of_kind}, dt = {dt:.3g}"
        axes.set_title(title, fontsize=8, loc="left")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    for number, axes in enumerate(grid.flat):
        axes.set_visible(number < len(panels))
        if len(panels) - columns <= number < len(panels):  # the last one of its column
            axes.set_xlabel("epoch")
            axes.tick_params(labelbottom=True)
    figure.supylabel(label, fontsize=9)
    legend_below(figure, grid.flat)
    if len(dts) < len(every):
        note(figure, f"{len(dts)} of {len(every)} dts")
    save(figure, folder, "learning_curves")
