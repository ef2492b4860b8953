"""What the trials of the integrators study say together, in sentences."""

from __future__ import annotations

import pandas as pd

from saltation.neurons import get_neuron, model_of
from saltation.studies.engine.store import DIVERGED, FINISHED
from saltation.studies.report.tables import ERROR, inputs_of, measure_of

ONE_SEED = (
    "Of one seed nothing tells these differences from chance: --seeds 0 1 2 measures how much "
    "seeds differ."
)


def verdict(results: pd.DataFrame) -> list[str]:
    """Of every neuron: the best scheme and dt, where schemes differ most, and what those outside
    their limit of stability do. Accuracies, or errors, are means over seeds of finished trials."""
    kinds, measure = inputs_of(results), measure_of(results)
    is_error = measure is ERROR
    said = []
    for neuron, kind in dict.fromkeys(zip(results["neuron"], kinds, strict=True)):
        here = results[(results["neuron"] == neuron) & (kinds == kind)]
        done = here[(here["status"] == FINISHED) & here[measure.column].notna()]
        name = get_neuron(str(neuron)).title
        name += f", input {kind}" if kinds.nunique() > 1 else ""
        if done.empty:
            said.append(f"{name}: no trial finished.")
            continue
        means = done.groupby(["scheme", "dt"], sort=False)[measure.column].mean()
        scheme, dt = means.idxmin() if is_error else means.idxmax()
        parts = [f"best is {scheme} at dt {dt:g} with {_said(means[scheme, dt], is_error)}"]
        spans = means.groupby("dt").agg(["min", "max", "count"])
        several = spans[spans["count"] > 1]
        if len(several):
            most = (several["max"] - several["min"]).idxmax()
            low, high = several.loc[most, ["min", "max"]]
            ends = (
                f"from {low:.3g} to {high:.3g}" if is_error else f"from {low:.1f} to {high:.1f} %"
            )
            what = "errors" if is_error else "accuracies"
            parts.append(f"the scheme matters most at dt {most:g}, where {what} go {ends}")
        said.append(f"{name}: {'; '.join(parts)}.")
        said += _outside(str(neuron), name, done["tau"].iloc[0], means, is_error)
        diverged = here[here["status"] == DIVERGED]
        if len(diverged):
            cells = dict.fromkeys(zip(diverged["scheme"], diverged["dt"], strict=True))
            where = ", ".join(f"{scheme} at dt {dt:g}" for scheme, dt in cells)
            said.append(f"{name}: {len(diverged)} of {len(here)} trials diverged ({where}).")
    return said if results["seed"].nunique() > 1 else [*said, ONE_SEED]


def _said(value: float, is_error: bool) -> str:
    return f"an error of {value:.3g}" if is_error else f"{value:.1f} %"


def _outside(
    neuron: str, name: str, tau: float, means: pd.Series[float], is_error: bool
) -> list[str]:
    """Cells outside the limit of stability, beside the best at the same dt that is within."""
    stable = {
        (scheme, dt): model_of(neuron, tau=tau, dt=dt, scheme=scheme).is_stable
        for scheme, dt in means.index
    }
    said = []
    for dt in sorted({dt for _, dt in means.index}):
        here = means[means.index.get_level_values("dt") == dt]
        within = here[[stable[cell] for cell in here.index]]
        beyond = here[[not stable[cell] for cell in here.index]]
        if beyond.empty:
            continue
        cells = ", ".join(
            f"{scheme} {'with ' * is_error}{_said(value, is_error)}"
            for (scheme, _), value in beyond.items()
        )
        best = "no scheme is within its limit"
        if len(within):
            place = within.idxmin() if is_error else within.idxmax()
            best = f"the best within its limit is {place[0]} with {_said(within[place], is_error)}"
        said.append(f"{name}, dt {dt:g}: outside their limit of stability {cells}; {best}.")
    return said
