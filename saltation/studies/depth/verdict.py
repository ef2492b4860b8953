"""What trials of the depth study say together: intervals over seeds, and words that follow from
them. Reads results as `results.csv` holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from saltation.studies.engine.store import DIVERGED, FINISHED
from saltation.studies.report.intervals import LEVEL, Interval

# Condition numbers of a gradient from which it is said to be ill-conditioned, and somewhat so.
_ILL, _SOMEWHAT = 1e6, 1e4
# Ratio of the gradients' norms of the first and the last layer from which one has vanished or
# exploded; a rate below which a layer is silent.
_FADED, _SILENT = 1e-3, 1e-3


class Variant(NamedTuple):
    """One way to train: a recipe, and a penalty or none.

    Attributes
    ----------
    reg_type, estimator
        Of the penalty; empty without one, and the latter of the penalty on growth over depth.
    recipe
        As `Recipe` says it; empty for what the architecture has by itself.
    """

    reg_type: str = ""
    estimator: str = ""
    recipe: str = ""

    @classmethod
    def of(cls, settings: Mapping[str, Any], recipe: str) -> Variant:
        """That of a trial."""
        if settings["mode"] == "vanilla":
            return cls(recipe=recipe)
        estimator = settings.get("estimator")
        # A table has NaN there.
        return cls(settings["reg_type"], estimator if isinstance(estimator, str) else "", recipe)

    @property
    def plain(self) -> Variant:
        """The same recipe without a penalty."""
        return Variant(recipe=self.recipe)

    def __str__(self) -> str:
        penalty = f"{self.reg_type} ({self.estimator})" if self.estimator else self.reg_type
        return ", ".join(filter(None, (self.recipe, penalty))) or "vanilla"


def ways(results: pd.DataFrame) -> list[Variant]:
    """All ways to train that were tried, in order."""
    told = results["recipe"] if "recipe" in results else [""] * len(results)
    rows: list[Any] = results.to_dict("records")
    return list(
        dict.fromkeys(Variant.of(row, recipe) for row, recipe in zip(rows, told, strict=True))
    )


def variants(results: pd.DataFrame) -> list[Variant]:
    """The ways to regularise that were tried, in order."""
    return [way for way in ways(results) if way.reg_type]


def unpenalised(results: pd.DataFrame) -> list[Variant]:
    """The recipes that were tried without a penalty, in order; the first is what others are
    compared with."""
    return [way for way in ways(results) if not way.reg_type]


def trials_of(results: pd.DataFrame, variant: Variant | None, depth: int) -> pd.DataFrame:
    """The trials of a depth, by seed: of a variant, or vanilla ones."""
    variant = variant or Variant()
    here = results["depth"] == depth
    if "recipe" in results:
        here &= results["recipe"] == variant.recipe
    here &= results["mode"] == ("regularised" if variant.reg_type else "vanilla")
    if variant.reg_type:
        here &= results["reg_type"] == variant.reg_type
        if variant.estimator:
            here &= results["estimator"] == variant.estimator
    return results[here].set_index("seed")


def accuracies(results: pd.DataFrame, variant: Variant | None, depth: int) -> pd.Series[Any]:
    """Last test accuracy in percent of the finished trials of a depth, by seed."""
    trials = trials_of(results, variant, depth)
    return trials.loc[trials["status"] == FINISHED, "test_accuracy"].astype(float)


def difference(
    results: pd.DataFrame, variant: Variant, depth: int, other: Variant | None = None
) -> Interval:
    """Accuracy minus that of another variant, seed by seed, of those that finished both ways; the
    other is the same recipe without a penalty unless it is given."""
    pairs = accuracies(results, variant, depth) - accuracies(results, other or variant.plain, depth)
    return Interval.of(pairs.dropna())


def gain(results: pd.DataFrame, variant: Variant | None) -> pd.Series[Any]:
    """Accuracy at the largest depth minus that at the smallest, by seed."""
    least, most = results["depth"].min(), results["depth"].max()
    return (accuracies(results, variant, most) - accuracies(results, variant, least)).dropna()


def verdict(results: pd.DataFrame) -> list[str]:
    """Whether recipes and penalties make depth pay: sentences that follow from intervals over
    seeds. Recipes are compared with the first, and penalties with their recipe without one."""
    said = [*_diverged(results), *refused(results)]
    recipes = unpenalised(results)
    depths = sorted(results["depth"].unique())
    penalised = variants(results)
    if len(depths) > 1 and (len(recipes) > 1 or not penalised):
        said += [depth_pays(results, recipe) for recipe in recipes]
    counted = 0
    unsaid = []
    for variant in [*recipes[1:], *penalised]:
        other = variant.plain if variant.reg_type else recipes[0]
        by_depth = {depth: difference(results, variant, depth, other) for depth in depths}
        if max(d.n for d in by_depth.values()) < 2:
            unsaid.append(str(variant))
            continue
        counted += sum(d.n > 1 for d in by_depth.values())
        if len(depths) > 1 and variant.reg_type:
            said.append(f"{variant}: {_does_depth_pay(results, variant)}")
        sure = [f"depth {depth} {d}" for depth, d in by_depth.items() if d.sign]
        said.append(
            f"{variant}: differences from {other} whose interval excludes 0: "
            f"{', '.join(sure) or 'none'}."
        )
    if unsaid:
        said.append(
            f"{', '.join(unsaid)}: cannot tell. Fewer than two seeds finished both ways, and one "
            "says nothing of how much seeds differ; give --seeds three or more."
        )
    if counted:
        said.append(
            f"Intervals of {LEVEL:.0%} over seeds. Were there no effect anywhere, "
            f"{counted * (1 - LEVEL):.2g} of the {counted} differences would be expected to "
            "exclude 0."
        )
    return said


def _does_depth_pay(results: pd.DataFrame, variant: Variant) -> str:
    least, most = results["depth"].min(), results["depth"].max()
    plain, regularised = gain(results, variant.plain), gain(results, variant)
    more = Interval.of((regularised - plain).dropna())
    mine = Interval.of(regularised)
    numbers = (
        f"from depth {least} to {most} accuracy changes by {Interval.of(plain)} points without and "
        f"by {mine} with it, a difference of {more}"
    )
    shallow, deep = (difference(results, variant, depth) for depth in (least, most))
    if more.n < 2:
        return f"cannot tell whether it makes depth pay ({numbers}; too few pairs of seeds)."
    # What is worse to begin with, or better, has less to lose, or more: that is nothing of depth.
    if more.sign and more.sign != deep.sign:
        return (
            f"it loses {'less' if more.sign > 0 else 'more'} with depth for what it is at depth "
            f"{least} ({shallow}), not at {most} ({deep}): {numbers}."
        )
    if more.sign > 0 and mine.sign > 0:
        return f"it makes depth pay: {numbers}."
    if more.sign > 0:
        return f"depth costs less with it, but is not shown to pay: {numbers}."
    if more.sign < 0:
        return f"it makes depth pay less: {numbers}."
    return f"not shown to make depth pay more or less: {numbers}."


def depth_pays(results: pd.DataFrame, variant: Variant) -> str:
    """Whether the deepest networks of a variant are better than the shallowest."""
    least, most = results["depth"].min(), results["depth"].max()
    more = Interval.of(gain(results, variant))
    if not more.n:
        return f"{variant}: cannot tell whether depth pays: no seed finished at both ends."
    numbers = f"from depth {least} to {most} accuracy changes by {more} points"
    if more.n < 2:
        return f"{variant}: cannot tell whether depth pays ({numbers}; too few seeds)."
    said = {1: "depth pays", -1: "depth costs", 0: "depth is not shown to pay or to cost"}
    return f"{variant}: {said[more.sign]}: {numbers}."


def refused(results: pd.DataFrame) -> list[str]:
    """Trials in which remedies did not fit the network, in words."""
    if "remedies_refused" not in results:
        return []
    found = []
    for depth in sorted(results["depth"].unique()):
        for variant in ways(results):
            counts = trials_of(results, variant, depth)["remedies_refused"].dropna()
            if (counts > 0).any():
                found.append(f"depth {depth} {variant} {int((counts > 0).sum())} of {len(counts)}")
    if not found:
        return []
    return [f"A remedy did not fit the network, which trained without it: {', '.join(found)}."]


def _diverged(results: pd.DataFrame) -> list[str]:
    found = []
    for depth in sorted(results["depth"].unique()):
        for variant in ways(results):
            trials = trials_of(results, variant, depth)
            count = int((trials["status"] == DIVERGED).sum())
            if count:
                found.append(f"depth {depth} {variant} {count} of {len(trials)}")
    if not found:
        return []
    return [f"Diverged, and not in any mean: {', '.join(found)}."]


def health_of(epoch: dict[str, Any] | None) -> dict[str, Any]:
    """Of a recorded epoch: worst condition number of a layer, gradient of the first over that of
    the last layer, and number of silent layers. NaN where the gradient is not finite, and of no
    epoch."""
    if epoch is None:
        return dict.fromkeys(("condition", "gradient_ratio", "silent_layers"), math.nan)
    pairs = list(zip(epoch["largest_by_layer"], epoch["smallest_by_layer"], strict=True))
    known = [(large, small) for large, small in pairs if large is not None and small is not None]
    norms = [math.nan if g is None else g for g in epoch["gradient_by_layer"]]
    first, last = norms[0], norms[-1]
    return {
        "condition": max(
            (large / small if small else math.inf for large, small in known), default=math.nan
        ),
        "gradient_ratio": first / last if last else math.nan,
        "silent_layers": sum(rate < _SILENT for rate in epoch.get("rate_by_layer", [])),
    }


def health(results: pd.DataFrame) -> list[str]:
    """Gradients and spikes at the end of training, in words: a line per depth and way."""
    lines = []
    for depth in sorted(results["depth"].unique()):
        for variant in ways(results):
            trials = trials_of(results, variant, depth)
            if len(trials):
                lines.append(f"depth {depth}, {variant}: {_in_words(trials)}")
    return lines


def _in_words(trials: pd.DataFrame) -> str:
    """Of the trials of one depth and way: medians over seeds."""
    condition = float(trials["condition"].median())
    ratio = float(trials["gradient_ratio"].median())
    silent = float(trials["silent_layers"].median())
    words = []
    if math.isnan(condition):
        return "gradients are not finite"
    if condition > _ILL:
        words.append(f"ill-conditioned gradients (κ up to {condition:.1e})")
    elif condition > _SOMEWHAT:
        words.append(f"somewhat ill-conditioned gradients (κ up to {condition:.1e})")
    else:
        words.append(f"well-conditioned gradients (κ up to {condition:.1e})")
    if math.isnan(ratio):
        words.append("no gradient in the last layer")
    elif ratio < _FADED:
        words.append(f"vanishing towards the input (first layer {ratio:.1e} of the last)")
    elif ratio > 1 / _FADED:
        words.append(f"exploding towards the input (first layer {ratio:.1e} of the last)")
    if silent >= 1:
        words.append(f"{silent:.0f} silent layers")
    return ", ".join(words)
