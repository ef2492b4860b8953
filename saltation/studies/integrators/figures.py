"""Figures of the integrators study, from recorded trials only."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saltation.neurons import get_neuron, model_of
from saltation.studies.engine.store import DIVERGED, FINISHED
from saltation.studies.report.drawing import STYLE, epochs_frame, save, scheme_style
from saltation.studies.report.tables import ACCURACY, inputs_of, measure_of

KINDS = {"impulse": "spikes as impulses", "held": "spikes held over a step"}


def draw_integrators(records: list[dict[str, Any]], folder: Path) -> None:
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
    """A metric against dt for every neuron and scheme: mean and standard deviation over seeds.

    A column of panels is a neuron, a row a kind of input.
    """
    neurons = list(dict.fromkeys(frame["neuron"]))
    kinds = list(dict.fromkeys(frame["input"]))
    if not neurons:
        return
    figure = Figure(figsize=(1.0 + 3.9 * len(neurons), 0.4 + 2.9 * len(kinds)))
    panels = figure.subplots(len(kinds), len(neurons), sharey=True, squeeze=False)
    for (kind, neuron), axes in zip(itertools.product(kinds, neurons), panels.flat, strict=True):
        here = frame[(frame["neuron"] == neuron) & (frame["input"] == kind)]
        for scheme, rows in here.groupby("scheme", sort=False):
            by_dt = rows[rows["status"] == FINISHED].groupby("dt")[metric]
            mean, spread = by_dt.mean(), by_dt.std().fillna(0.0)
            style = scheme_style(str(scheme))
            axes.errorbar(
                mean.index, mean, yerr=spread, capsize=2.5, label=scheme, clip_on=False, **style
            )
            _mark_diverged(axes, rows[rows["status"] == DIVERGED], metric, style["color"])
        axes.set_xscale("log")
        _mark_dts(axes, sorted(here["dt"].unique()))
        _mark_limits(axes, here)
        title = get_neuron(neuron).title
        of_kind = f", {KINDS[kind]}" if len(kinds) > 1 else ""
        axes.set_title(title + of_kind, loc="left", fontweight="bold", fontsize=9)
    for axes in panels[-1]:
        axes.set_xlabel("time step dt (in the unit of tau)")
        # Under the panels: curves may go anywhere.
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, fontsize=8)
    for axes in panels[:, 0]:
        axes.set_ylabel(label)
    # Accuracies that are all high are told apart; everything else is seen from 0 on.
    panels[0, 0].set_ylim(
        bottom=60 if metric == "test_accuracy" and frame[metric].min() > 65 else 0
    )
    seeds = frame["seed"].nunique()
    note = f"mean and standard deviation of {seeds} seeds" if seeds > 1 else "one seed"
    first = frame.iloc[0]
    figure.suptitle(
        f"{first['dataset']}, {' and '.join(KINDS[k] for k in kinds)}, {first['readout']} readout, "
        f"{first['epochs']} epochs, {note}",
        x=0.01,
        ha="left",
        fontsize=8,
        color="#555555",
    )
    save(figure, folder, name)


def _mark_diverged(axes: Axes, rows: pd.DataFrame, metric: str, colour: str) -> None:
    """Crosses where training diverged, at what the broken weights score; no line leads there."""
    if rows.empty:
        return
    axes.scatter(rows["dt"], rows[metric], marker="x", color=colour, s=36, zorder=3, clip_on=False)
    axes.annotate(
        "diverged",
        (rows["dt"].iloc[0], rows[metric].iloc[0]),
        xytext=(0, 5),
        textcoords="offset points",
        ha="center",
        fontsize=7,
        color=colour,
    )


def _mark_dts(axes: Axes, dts: list[float]) -> None:
    axes.set_xticks(dts, [f"{dt:g}" for dt in dts])
    axes.minorticks_off()


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
    for limit, schemes in limits.items():
        axes.axvline(limit, color="#777777", linewidth=1, linestyle=(0, (2, 2)), zorder=0)
        axes.annotate(
            f"{', '.join(schemes)} unstable beyond {limit:.3g}",
            (limit, 0.02),
            xycoords=("data", "axes fraction"),
            xytext=(-2, 0),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="bottom",
            fontsize=6.5,
            color="#555555",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )


def _against_energy(frame: pd.DataFrame, folder: Path) -> None:
    """Test accuracy against the energy of a sample, a panel for every neuron: a mark for every
    scheme and dt, means over seeds, the larger the longer the step."""
    neurons = list(dict.fromkeys(frame["neuron"]))
    figure = Figure(figsize=(1.0 + 3.9 * len(neurons), 3.6))
    panels = figure.subplots(1, len(neurons), sharey=True, squeeze=False)[0]
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
        axes.set_xlabel("energy of a sample (nJ), estimated")
        axes.set_title(get_neuron(neuron).title, loc="left", fontweight="bold", fontsize=9)
    panels[0].set_ylabel("test accuracy (%)")
    panels[0].legend(fontsize=8, loc="best")
    steps = ", ".join(f"{dt:g}" for dt in dts)
    figure.suptitle(
        f"larger marks: longer steps (dt = {steps}); 0.9 pJ a synaptic operation, 4.6 pJ an update",
        x=0.01,
        ha="left",
        fontsize=8,
        color="#555555",
    )
    save(figure, folder, "accuracy_energy")


def _learning_curves(frame: pd.DataFrame, folder: Path) -> None:
    """Test accuracy, or error, against epoch, a panel for every neuron, kind of input and dt."""
    column, label, _ = measure_of(frame)
    rows = list(dict.fromkeys(zip(frame["neuron"], frame["input"], strict=True)))
    dts = sorted(frame["dt"].unique())
    figure = Figure(figsize=(1.2 + 2.1 * len(dts), 0.9 + 2.0 * len(rows)))
    grid = figure.subplots(len(rows), len(dts), sharex=True, sharey=True, squeeze=False)
    for ((neuron, kind), dt), axes in zip(itertools.product(rows, dts), grid.flat, strict=True):
        of_row = (frame["neuron"] == neuron) & (frame["input"] == kind)
        here = frame[of_row & (frame["dt"] == dt)]
        for scheme, rows in here.groupby("scheme", sort=False):
            by_epoch = rows.groupby("epoch")[column]
            mean, spread = by_epoch.mean(), by_epoch.std().fillna(0.0)
            style = scheme_style(str(scheme)) | {"markersize": 2.5, "linewidth": 1.2}
            axes.plot(mean.index, mean, label=scheme, **style)
            axes.fill_between(
                mean.index, mean - spread, mean + spread, color=style["color"], alpha=0.15, lw=0
            )
        axes.set_title(f"{get_neuron(neuron).title}, {kind}, dt = {dt:g}", fontsize=8, loc="left")
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    for row in grid:
        row[0].set_ylabel(label)
    handles: dict[str, Any] = {}
    for axes in grid.flat:
        handles |= {label: h for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=min(6, len(handles)),
    )
    save(figure, folder, "learning_curves")
