"""Figures of a study's results, from the table that it returned or ``results.csv``.

>>> from saltation.studies import figures
>>> results = IntegratorsStudy(dataset="digits", dt=[0.5, 5.0], epochs=5).run()
>>> figures.accuracy(results).savefig("accuracy.pdf")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saltation.errors import SaltationError, choose
from saltation.schemes import SCHEMES
from saltation.studies.engine.store import FINISHED
from saltation.studies.report.drawing import DT, STYLE, dt_axis, scheme_style, style_of

__all__ = ["accuracy"]


def accuracy(
    results: pd.DataFrame,
    *,
    across: str = "dt",
    by: str = "scheme",
    metric: str = "test_accuracy",
    ax: Axes | None = None,
    size: tuple[float, float] = (5.4, 3.6),
) -> Figure:
    """Test accuracy, or another number, of the finished trials against a setting.

    Points are means over all trials of the same two settings, bars their standard deviations. Of a
    study that varies more than two, take the rows of one neuron, say, first.

    Parameters
    ----------
    results : DataFrame
        A row per trial, as `Study.run` returns and ``results.csv`` holds them.
    across : str, default "dt"
        Column along the horizontal axis; of numbers.
    by : str, default "scheme"
        Column that tells lines apart.
    metric : str, default "test_accuracy"
        Column along the vertical axis; accuracies are in percent.
    ax : Axes, optional
        To draw into; a figure of its own unless given.
    size : (float, float), default (5.4, 3.6)
        Width and height in inches of a figure of its own.

    Returns
    -------
    The figure; ``savefig`` of it writes PDF, SVG or PNG by the ending of the name.

    Raises
    ------
    SaltationError
        If a column is not there, or no trial is finished.
    """
    for name in (across, by, metric, "status"):
        choose("column of results", name, [str(column) for column in results.columns])
    done = results[(results["status"] == FINISHED) & results[metric].notna()]
    if done.empty:
        raise SaltationError(f"there is nothing to draw: no finished trial has a {metric}")
    if not pd.api.types.is_numeric_dtype(done[across]):
        raise SaltationError(f"across must be a column of numbers, got {across!r}")
    with mpl.rc_context(STYLE):
        axes: Axes = Figure(figsize=size).subplots() if ax is None else ax
        lines(axes, done, metric, across, by)
        if across == "dt":
            dt_axis(axes, done["dt"].unique())
        unit = " (%)" if metric.endswith("accuracy") else ""
        label = DT if across == "dt" else across.replace("_", " ")
        axes.set(xlabel=label, ylabel=metric.replace("_", " ") + unit)
        axes.legend(title=by, fontsize=8, title_fontsize=8)
    figure: Any = axes.get_figure()
    drawn: Figure = figure
    return drawn


def lines(
    axes: Axes,
    frame: pd.DataFrame,
    metric: str,
    across: str,
    by: str,
    styles: Mapping[str, dict[str, Any]] | None = None,
) -> None:
    """A line for each value of a column, through means, with bars of standard deviations; in styles
    by these values where they are given."""
    for place, (name, rows) in enumerate(frame.groupby(by, sort=False)):
        found = rows.groupby(across)[metric]
        mean, spread = found.mean(), found.std().fillna(0.0)
        style = scheme_style(str(name)) if name in SCHEMES else style_of(place)
        style = style if styles is None else styles[str(name)]
        axes.errorbar(
            mean.index, mean, yerr=spread, capsize=2.5, label=str(name), clip_on=False, **style
        )
