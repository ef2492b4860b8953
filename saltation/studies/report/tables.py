"""Tables for the terminal and for Markdown, from results as `results.csv` holds them."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
from rich.console import Group
from rich.table import Table
from rich.text import Text

from saltation.neurons import get_neuron, model_of


class Measure(NamedTuple):
    """What trials are compared by.

    Attributes
    ----------
    column
        Of the results.
    label
        On axes and over tables, with its unit.
    form
        Of a number.
    """

    column: str
    label: str
    form: str


ACCURACY = Measure("test_accuracy", "test accuracy (%)", "{:.1f}")
# The mean squared error over the variance of the training targets.
ERROR = Measure("test_loss", "test error / variance", "{:.3f}")


def measure_of(results: pd.DataFrame) -> Measure:
    """The measure of a study: of its trials that have targets in place of labels the error."""
    return ERROR if "task" in results and (results["task"] == "regression").any() else ACCURACY


def inputs_of(results: pd.DataFrame) -> pd.Series:
    """What a spike was to a neuron in each trial; before there was a choice it was held."""
    if "input" not in results:
        return pd.Series("held", index=results.index)
    return results["input"].fillna("held")


def integrators_grid(results: pd.DataFrame, neuron: str, kind: str | None = None) -> pd.DataFrame:
    """Test accuracy, or error, of one neuron as text: a row per scheme, a column per dt.

    ``kind`` is an ``input``, of which there must be one without it.

    A cell is the mean and standard deviation over seeds; ``!`` marks a step outside the
    scheme's stability limit; trials that diverged or failed are counted, with the accuracy that
    weights which are not finite still score.
    """
    rows = results[results["neuron"] == neuron]
    rows = rows if kind is None else rows[inputs_of(rows) == kind]
    grid: dict[str, dict[float, str]] = {}
    for scheme, of_scheme in rows.groupby("scheme", sort=False):
        grid[str(scheme)] = {}
        for dt, cell in of_scheme.groupby("dt", sort=True):
            stable = model_of(neuron, tau=cell["tau"].iloc[0], dt=dt, scheme=scheme).is_stable
            grid[str(scheme)][float(str(dt))] = accuracy_cell(cell) + ("" if stable else " !")
    return pd.DataFrame(grid).T


def accuracy_cell(trials: pd.DataFrame) -> str:
    """Mean and standard deviation of the finished trials, and how many were not."""
    done = trials[trials["status"] == "finished"]
    measure = measure_of(trials)
    parts = []
    if len(done):
        found = done[measure.column]
        spread = f" ± {measure.form.format(found.std())}" if len(done) > 1 else ""
        parts.append(f"{measure.form.format(found.mean())}{spread}")
    for status, some in trials[trials["status"] != "finished"].groupby("status"):
        how_many = "" if len(some) == len(trials) == 1 else f"{len(some)} "
        # What a loop that does not look would report of it.
        score = some[measure.column].mean()
        then = (
            f" ({measure.form.format(score)})" if status == "diverged" and pd.notna(score) else ""
        )
        parts.append(f"{how_many}{status}{then}")
    return ", ".join(parts)


def integrators_tables(results: pd.DataFrame) -> Group:
    """One table per neuron and kind of input, with its caption, for the terminal."""
    seeds = results["seed"].nunique()
    over = f"mean ± standard deviation of {seeds} seeds" if seeds > 1 else "one seed"
    parts: list[Table | Text] = []
    for neuron, kind in dict.fromkeys(zip(results["neuron"], inputs_of(results), strict=True)):
        grid = integrators_grid(results, neuron, kind)
        table = Table("scheme")
        for dt in grid.columns:
            table.add_column(f"dt {dt:g}", justify="right")
        for scheme, row in grid.iterrows():
            table.add_row(str(scheme), *row.fillna(""))
        what = f"{get_neuron(neuron).title}, input {kind}"
        measure = "test accuracy in %" if measure_of(results) is ACCURACY else ERROR.label
        parts += [Text(f"{what}: {measure}, {over}"), table]
        if grid.map(lambda cell: str(cell).endswith("!")).to_numpy().any():
            parts.append(Text("! outside the scheme's stability limit"))
    return Group(*parts)
