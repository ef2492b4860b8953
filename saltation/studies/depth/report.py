"""Summary of the depth study: its table, gradient health and verdict; and the script's file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Group
from rich.table import Table
from rich.text import Text

from saltation.stability import PENALTIES
from saltation.studies.depth.verdict import (
    Variant,
    difference,
    health,
    health_of,
    trials_of,
    unpenalised,
    variants,
    verdict,
)
from saltation.studies.engine.rows import Record
from saltation.studies.engine.store import DIVERGED, FINISHED
from saltation.studies.recipes import NONE, Recipe

if TYPE_CHECKING:
    from saltation.studies.depth.config import DepthConfig


def depth_grid(results: pd.DataFrame) -> pd.DataFrame:
    """A row per depth and way to regularise, as text.

    Accuracies are mean ± standard deviation of the finished trials in percent, those that diverged
    are counted; the difference is a mean over pairs of one seed with its interval of 95 %. λ, the
    norm of the gradient and κ, the worst condition number of a layer, are means (of κ geometric) of
    the last epoch: vanilla, then regularised. λ is the surrogate's, or that between two
    trajectories where the penalty is on that.
    """
    rows = []
    for depth in sorted(results["depth"].unique()):
        for variant in variants(results):
            plain = trials_of(results, variant.plain, depth)
            penalised = trials_of(results, variant, depth)
            both = plain, penalised
            rows.append(
                {
                    "depth": int(depth),
                    "penalty": str(variant),
                    "vanilla": _accuracy(plain),
                    "regularised": _accuracy(penalised),
                    "difference": str(difference(results, variant, depth)),
                    "λ": " / ".join(_mean(t[exponent_of(variant)], "+.2f") for t in both),
                    "gradient": " / ".join(_mean(t["gradient_norm"], ".2g") for t in both),
                    "κ": " / ".join(_geometric(t["condition"]) for t in both),
                }
            )
    return pd.DataFrame(rows)


def recipe_grid(results: pd.DataFrame) -> pd.DataFrame:
    """A row per depth and recipe without a penalty, as text; the difference is from the first
    recipe, and the ratio of gradients that of the first layer to the last (geometric mean)."""
    rows = []
    recipes = unpenalised(results)
    for depth in sorted(results["depth"].unique()):
        for recipe in recipes:
            trials = trials_of(results, recipe, depth)
            first = recipe == recipes[0]
            apart = "" if first else str(difference(results, recipe, depth, recipes[0]))
            rows.append(
                {
                    "depth": int(depth),
                    "recipe": str(recipe),
                    "accuracy": _accuracy(trials),
                    "difference": apart,
                    "train loss": _mean(trials.get("train_loss", _NO_NUMBERS), ".2f"),
                    "gradient ratio": _geometric(trials["gradient_ratio"]),
                }
            )
    return pd.DataFrame(rows)


def exponent_of(variant: Variant) -> str:
    """The column of the λ that a penalty is on."""
    return "exponent_finite" if variant.estimator == "finite" else "exponent"


def _accuracy(trials: pd.DataFrame) -> str:
    done = trials.loc[trials["status"] == FINISHED, "test_accuracy"]
    parts = []
    if len(done):
        spread = f" ± {done.std():.1f}" if len(done) > 1 else ""
        parts.append(f"{done.mean():.1f}{spread}")
    for status, some in trials[trials["status"] != FINISHED].groupby("status"):
        parts.append(f"{len(some)} {status}")
    return ", ".join(parts) or "none"


def _mean(values: pd.Series[Any], form: str) -> str:
    known = values.dropna().astype(float)
    return format(known.mean(), form) if len(known) else "none"


def _geometric(values: pd.Series[Any]) -> str:
    known = values.dropna().astype(float)
    if known.empty:
        return "none"
    if not (known > 0).all():
        return "0"
    return f"{math.exp(known.map(math.log).mean()):.0e}" if (known < math.inf).all() else "inf"


def _caption(results: pd.DataFrame) -> str:
    seeds = results["seed"].nunique()
    over = f"mean ± standard deviation of {seeds} seeds" if seeds > 1 else "one seed"
    return (
        f"test accuracy in %, {over}; difference in points with its 95 % interval; λ per step, "
        "gradient norm and worst condition number: vanilla / regularised"
    )


_NO_NUMBERS: pd.Series[Any] = pd.Series(dtype=float)
_RECIPES = (
    "recipes without a penalty: test accuracy in %, mean ± standard deviation; difference from the "
    "first in points, pairs of one seed, with its 95 % interval"
)


def _recipes(results: pd.DataFrame) -> pd.DataFrame:
    """The table of recipes, where it says more than that of penalties."""
    shown = len(unpenalised(results)) > 1 or not variants(results)
    return recipe_grid(results) if shown and len(results) else pd.DataFrame()


def depth_summary(results: pd.DataFrame) -> Group:
    """Table, health and verdict for the terminal; the table in two, for it is wide."""
    grid = depth_grid(results)
    tables: list[Any] = []
    recipes = _recipes(results)
    if not len(grid) and not len(recipes):
        return Group(Text("no trial has come far enough for a table"))
    if len(recipes):
        tables.append(Text(_RECIPES))
        tables.append(table := Table())
        for column in recipes.columns:
            table.add_column(column, justify="left" if column == "recipe" else "right")
        for row in recipes.itertuples(index=False):
            table.add_row(*map(str, row))
    if len(grid):
        tables.append(Text(_caption(results)))
    for columns in (["vanilla", "regularised", "difference"], ["λ", "gradient", "κ"]):
        if not len(grid):
            break
        tables.append(table := Table())
        for column in ["depth", "penalty", *columns]:
            table.add_column(column, justify="left" if column == "penalty" else "right")
        for row in grid[["depth", "penalty", *columns]].itertuples(index=False):
            table.add_row(*map(str, row))
    return Group(
        *tables,
        *(Text(line) for line in ["Gradient health", *health(results)]),
        *(Text(line) for line in ["Verdict", *verdict(results)]),
    )


def depth_text(results: pd.DataFrame) -> str:
    """The same in Markdown."""
    lines = []
    for caption, grid in ((_RECIPES, _recipes(results)), (_caption(results), depth_grid(results))):
        if not len(grid):
            continue
        words = ("penalty", "recipe")
        rule = ["---" if column in words else "---:" for column in grid.columns]
        rows = [list(map(str, grid.columns)), rule, *grid.astype(str).to_numpy().tolist()]
        lines += [caption, "", *(f"| {' | '.join(row)} |" for row in rows), ""]
    for title, said in (("Gradient health", health(results)), ("Verdict", verdict(results))):
        lines += ["", f"## {title}", "", *(f"- {line}" for line in said)]
    return "\n".join([*lines, ""])


def script_epochs(records: list[Record], config: DepthConfig) -> dict[str, Any]:
    """Epochs of the first seed, recipe and way to regularise, as the depth script wrote them.

    Returns
    -------
    ``{"vanilla": {depth: [epoch, ...]}, "lyapunov": {...}}`` with the script's names and units:
    accuracies from 0 to 1. Singular values are the extremes over all layers but the readout, and
    the condition number that of the worst layer.
    """
    recipe = str(config.recipes[0])
    penalty = config.reg_type[0]
    estimator = config.estimator[0] if penalty in PENALTIES else ""
    variant = Variant("" if penalty == NONE else penalty, estimator, recipe)
    found: dict[str, dict[str, Any]] = {"vanilla": {}, "lyapunov": {}}
    for record in records:
        s = record["settings"]
        if s["seed"] != config.all_seeds[0]:
            continue
        told = str(Recipe.of(s))
        if told != recipe or Variant.of(s, told) not in (variant, variant.plain):
            continue
        found["vanilla" if s["mode"] == "vanilla" else "lyapunov"][str(s["depth"])] = [
            _as_script(epoch, exponent_of(variant)) | {"diverged": record["status"] == DIVERGED}
            for epoch in record["epochs"]
            if epoch["epoch"] > 0
        ]
    return found


def _as_script(epoch: dict[str, Any], exponent: str) -> dict[str, Any]:
    worst = health_of(epoch)["condition"]
    largest = [value for value in epoch["largest_by_layer"] if value is not None]
    smallest = [value for value in epoch["smallest_by_layer"] if value is not None]
    return {
        "epoch": epoch["epoch"],
        "train_loss": epoch["train_loss"],
        "train_acc": _share(epoch["train_accuracy"]),
        "test_loss": epoch["test_loss"],
        "test_acc": _share(epoch["test_accuracy"]),
        "lyapunov": epoch[exponent],
        "grad_norm": epoch["gradient_norm"],
        "grad_max_sv": max(largest, default=None),
        "grad_min_sv": min(smallest, default=None),
        "grad_condition": worst if math.isfinite(worst) else None,
        "lr": epoch["lr"],
        "time_sec": epoch["seconds"],
    }


def _share(percent: float | None) -> float | None:
    return None if percent is None else percent / 100
