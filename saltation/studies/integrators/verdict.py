"""What the trials of the integrators study say together, in sentences."""

from __future__ import annotations

import pandas as pd

from saltation.data import spec_of
from saltation.neurons import get_neuron, model_of
from saltation.studies.engine.store import DIVERGED, FINISHED
from saltation.studies.report.chance import guessing
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
        said += [] if is_error else _guessing(name, done, means)
        diverged = here[here["status"] == DIVERGED]
        if len(diverged):
            cells = dict.fromkeys(zip(diverged["scheme"], diverged["dt"], strict=True))
            where = ", ".join(f"{scheme} at dt {dt:g}" for scheme, dt in cells)
            said.append(f"{name}: {len(diverged)} of {len(here)} trials diverged ({where}).")
    return said if results["seed"].nunique() > 1 else [*said, ONE_SEED]


def _guessing(name: str, done: pd.DataFrame, means: pd.Series[float]) -> list[str]:
    """Cells that answer hardly better than who does not look, of which nothing is learned about
    schemes and steps."""
    known = guessing(done)
    low = means.iloc[:0] if known is None else means[means < known.below]
    if known is None or low.empty:
        return []
    data = spec_of(str(done["dataset"].iloc[0]))
    steps: dict[str, list[str]] = {}
    for scheme, dt in low.index:
        steps.setdefault(scheme, []).append(f"{dt:g}")
    cells = "; ".join(f"{scheme} at dt {', '.join(every)}" for scheme, every in steps.items())
    first = done.iloc[0]
    limit = data.samples if pd.isna(first["limit_train"]) else int(first["limit_train"])
    trained = int(first["epochs"]) * max(1, min(limit, data.samples) // int(first["batch_size"]))
    rates = done.groupby(["scheme", "dt"])["mean_spike_rate"].mean().reindex(low.index)
    return [
        f"{name}: after {trained:,} training steps still near guessing ({known.chance:.3g} %): "
        f"{cells}, with at most {rates.max():.2g} spikes per neuron and step. Before that is read "
        "as what a scheme or a step does, train for longer: a larger --lr or --epochs, a smaller "
        "--batch-size; or give more input, such as a longer --bio-time."
    ]


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
