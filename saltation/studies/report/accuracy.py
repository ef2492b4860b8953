"""How wrong rates and spike times are at a scheme and dt, beside whether it is stable or learns."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import pandas as pd
from rich.console import Group
from rich.table import Table
from rich.text import Text

from saltation.errors import SaltationError
from saltation.neurons import Neuron, model_of
from saltation.numerics import Accuracy
from saltation.numerics.accuracy import Yardstick
from saltation.numerics.drives import usual
from saltation.numerics.recommend import percent

FIRST_ORDER = (
    "Through spikes every scheme on a grid is of first order: a spike is noticed at the end of its "
    "step. For a dt within a tolerance: saltation recommend."
)


def current_of(model: Neuron, given: float | None = None) -> float:
    """The constant current that errors are shown of: by default twice the smallest that keeps the
    neuron spiking."""
    return usual(model)[-1] if given is None else given


def errors_at(
    model: Neuron, points: Iterable[tuple[str, float]], current: float | None = None
) -> tuple[dict[tuple[str, float], Accuracy], str]:
    """Errors at each (scheme, dt) under one constant current, and a line that says what they are.

    None are there, and the line says why, where the neuron has no exact solution to measure by.
    """
    try:
        return _measured(model, tuple(points), current)
    except SaltationError as reason:
        return {}, f"no errors of rates and spike times: {reason}"


@functools.lru_cache(maxsize=32)
def _measured(
    model: Neuron, points: tuple[tuple[str, float], ...], current: float | None
) -> tuple[dict[tuple[str, float], Accuracy], str]:
    x = current_of(model, current)
    yardstick = Yardstick(model, [x])
    said = (
        f"rate and times: errors of rates and of spike times (in intervals) under the constant "
        f"current {x:g}, against the exact solution. {FIRST_ORDER}"
    )
    return {point: yardstick(*point) for point in points}, said


def in_cells(found: Accuracy) -> tuple[str, str]:
    """Both errors as the cells of a table have them."""
    return percent(found.rate_error, sign=True), percent(found.time_error)


def accuracy_tables(results: pd.DataFrame) -> Group:
    """The errors of every neuron, scheme and dt of a study, a table for each neuron."""
    parts: list[Table | Text] = []
    for neuron, rows in results.groupby("neuron", sort=False):
        dts, schemes = sorted(rows["dt"].unique()), list(dict.fromkeys(rows["scheme"]))
        model = model_of(str(neuron), tau=rows["tau"].iloc[0], scheme=schemes[0])
        points = [(str(scheme), float(dt)) for scheme in schemes for dt in dts]
        errors, said = errors_at(model, points)
        parts.append(Text(f"{model.title}, {said}"))
        if errors:
            table = Table("scheme")
            for dt in dts:
                table.add_column(f"dt {dt:g}", justify="right")
            for scheme in schemes:
                cells = (in_cells(errors[str(scheme), float(dt)]) for dt in dts)
                table.add_row(str(scheme), *(f"{rate}, {times}" for rate, times in cells))
            parts.append(table)
    return Group(*parts)
