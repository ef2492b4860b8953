"""Figures of the depth study, from recorded trials only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saltation.studies.depth.verdict import Variant, health_of
from saltation.studies.engine.rows import Record
from saltation.studies.engine.store import DIVERGED, FINISHED
from saltation.studies.recipes import Recipe
from saltation.studies.report.drawing import STYLE, legend_below, note, save, style_of
from saltation.studies.report.intervals import Interval

# Beyond this a condition number in float64 is rounding; infinite ones are drawn here.
SINGULAR = 1e16
Records = list[Record]


def draw_depth(records: Records, folder: Path) -> None:
    """Accuracy and condition number against depth, λ against epoch, growth against layer."""
    shown = [r for r in records if r["status"] in (FINISHED, DIVERGED) and r["epochs"]]
    if not shown:
        return
    with mpl.rc_context(STYLE):
        _against_depth(shown, folder, "accuracy", "test accuracy (%)", _accuracy)
        _against_depth(shown, folder, "condition", "κ of the worst layer (1e16: singular)", _worst)
        _against_epoch(shown, folder)
        _against_layer(shown, folder)


def _way(record: Record) -> str:
    return str(Variant.of(record["settings"], str(Recipe.of(record["settings"]))))


def _styles(records: Records) -> dict[str, dict[str, Any]]:
    ways = dict.fromkeys(map(_way, records))
    return {way: style_of(place) for place, way in enumerate(ways)}


def _depths(records: Records) -> list[int]:
    return sorted({r["settings"]["depth"] for r in records})


def _accuracy(record: Record) -> float:
    value = record["epochs"][-1]["test_accuracy"]
    return math.nan if value is None else float(value)


def _worst(record: Record) -> float:
    return min(float(health_of(record["epochs"][-1])["condition"]), SINGULAR)


def _against_depth(
    records: Records,
    folder: Path,
    name: str,
    label: str,
    of: Callable[[Record], float],
) -> None:
    """A number of the last epoch against depth: lines of finished trials with bars or bands, and
    crosses of diverged ones."""
    logarithmic = name == "condition"
    figure = Figure(figsize=(5.6, 3.6))
    axes = figure.subplots()
    for way, style in _styles(records).items():
        mine = [r for r in records if _way(r) == way]
        done = [r for r in mine if r["status"] == FINISHED]
        if done:
            depths = _depths(done)
            values = [[of(r) for r in done if r["settings"]["depth"] == d] for d in depths]
            low, middle, high = zip(*(_band(v, logarithmic) for v in values), strict=True)
            if logarithmic:
                axes.plot(depths, middle, label=way, clip_on=False, **style)
                axes.fill_between(depths, low, high, color=style["color"], alpha=0.15, lw=0)
            else:  # a band would narrow towards a depth with one seed, as if that were sure
                bars = np.array(high) - middle
                axes.errorbar(depths, middle, bars, label=way, capsize=3, **style)
        _crosses(axes, [r for r in mine if r["status"] == DIVERGED], of, style["color"])
    axes.set_xscale("log", base=2)
    axes.set_xticks(_depths(records), [str(d) for d in _depths(records)])
    axes.minorticks_off()
    if logarithmic:
        # Of a single value the axis would have no extent.
        axes.set_ylim(1, 10 * max([1.0, *(v for v in map(of, records) if not math.isnan(v))]))
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 100)  # intervals of two seeds go beyond
    axes.set(xlabel="depth (layers of neurons)", ylabel=label)
    kind = "geometric mean and standard deviation" if logarithmic else "mean and 95 % interval"
    _finish(figure, [axes], records, kind)
    save(figure, folder, name)


def _band(values: list[float], logarithmic: bool) -> tuple[float, float, float]:
    """Mean with its interval of 95 %, which no single value has; with a logarithmic axis, the
    geometric mean with a standard deviation of the logarithms to both sides."""
    x = np.array(values, dtype=float)
    x = x[~np.isnan(x)]
    if not len(x):
        return math.nan, math.nan, math.nan
    if not logarithmic:
        found = Interval.of(x)
        return found.mean - found.half, found.mean, found.mean + found.half
    x = np.log(x)
    spread = x.std(ddof=1) if len(x) > 1 else 0.0
    low, middle, high = np.exp((x.mean() - spread, x.mean(), x.mean() + spread))
    return float(low), float(middle), float(high)


def _crosses(axes: Axes, records: Records, of: Callable[[Record], float], colour: str) -> None:
    """Diverged trials, at what the broken weights score; no line leads there."""
    for record in records:
        place = record["settings"]["depth"], of(record)
        if math.isnan(place[1]):
            continue
        axes.scatter(
            *place,
            marker="x",
            color=colour,
            s=40,
            lw=1.8,
            zorder=3,
            clip_on=False,
            label="diverged",
        )


def _against_epoch(records: Records, folder: Path) -> None:
    """λ against epoch, a panel per depth; the surrogate's in every panel, so that all compare."""

    def draw(axes: Axes, mine: Records, style: dict[str, Any], way: str) -> None:
        longest = max(len(r["epochs"]) for r in mine)
        grid = np.full((len(mine), longest), np.nan)
        for row, record in zip(grid, mine, strict=True):
            row[: len(record["epochs"])] = [
                math.nan if e["exponent"] is None else e["exponent"] for e in record["epochs"]
            ]
        _line(axes, np.arange(longest), grid, style, way)

    _panels(records, folder, "exponent", "epoch", "λ per step (surrogate's tangent)", draw)


def _against_layer(records: Records, folder: Path) -> None:
    """Growth of a perturbation from layer to layer after the last epoch, a panel per depth."""

    def draw(axes: Axes, mine: Records, style: dict[str, Any], way: str) -> None:
        grid = np.array(
            [
                [math.nan if g is None else g for g in r["epochs"][-1]["growth_by_layer"]]
                for r in mine
            ]
        )
        _line(axes, np.arange(2, grid.shape[1] + 2), grid, style, way)

    deep = [r for r in records if r["settings"]["depth"] > 1]
    if deep:
        _panels(deep, folder, "growth", "layer", "log growth from the layer before", draw)


def _line(axes: Axes, x: Any, grid: Any, style: dict[str, Any], way: str) -> None:
    """Mean over seeds ``[seeds, x]``, and a band of a standard deviation."""
    known = ~np.isnan(grid).all(0)
    if not known.any():
        return
    grid, x = grid[:, known], x[known]
    mean = np.nanmean(grid, 0)
    spread = np.nanstd(grid, 0) * math.sqrt(len(grid) / max(1, len(grid) - 1))
    every = max(1, len(x) // 6)
    axes.plot(x, mean, label=way, markevery=every, **style | {"markersize": 3, "linewidth": 1.2})
    axes.fill_between(x, mean - spread, mean + spread, color=style["color"], alpha=0.15, lw=0)


def _panels(
    records: Records,
    folder: Path,
    name: str,
    across: str,
    up: str,
    draw: Callable[[Axes, Records, dict[str, Any], str], None],
) -> None:
    depths = _depths(records)
    columns = min(2, len(depths))
    height = math.ceil(len(depths) / columns)
    figure = Figure(figsize=(5.6, 0.9 + 2.1 * height))
    grid = figure.subplots(height, columns, sharey=True, squeeze=False)
    panels = list(grid.flat)
    for axes in panels[len(depths) :]:
        axes.set_axis_off()
    for axes, depth in zip(panels, depths, strict=False):
        here = [r for r in records if r["settings"]["depth"] == depth]
        for way, style in _styles(records).items():
            mine = [r for r in here if _way(r) == way]
            if mine:
                draw(axes, mine, style, way)
        axes.axhline(0, color="#777777", linewidth=1, zorder=0)
        axes.set_title(f"depth {depth}", fontsize=8, loc="left")
        axes.set_xlabel(across)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    figure.supylabel(up, fontsize=9)
    _finish(figure, panels, records)
    save(figure, folder, name)


def _finish(
    figure: Figure, panels: Any, records: Records, kind: str = "mean and standard deviation"
) -> None:
    legend_below(figure, panels)
    counts = Counter((_way(r), r["settings"]["depth"]) for r in records)
    least, most = min(counts.values()), max(counts.values())
    seeds = str(most) if least == most else f"{least} to {most}"
    s = records[0]["settings"]
    over = f"{kind} of {seeds} seeds" if most > 1 else "one seed"
    note(
        figure,
        f"{s['dataset']}, {s['arch']} of width {s['base_channels']}, T = {s['T']}, "
        f"{s['epochs']} epochs, {over}",
    )
