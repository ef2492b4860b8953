"""What the depth study says: intervals, verdicts and words from known numbers, and its figures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

from saltation.studies.depth.figures import draw_depth
from saltation.studies.depth.report import depth_grid, depth_text
from saltation.studies.depth.verdict import (
    Interval,
    Variant,
    difference,
    health,
    health_of,
    verdict,
)

pytestmark = pytest.mark.drawn

SQUARED = Variant("squared", "telescoped")


def row(depth: int, mode: str, seed: int, accuracy: float, **changes: Any) -> dict[str, Any]:
    penalised = mode == "regularised"
    return {
        "depth": depth,
        "mode": mode,
        "seed": seed,
        "reg_type": "squared" if penalised else None,
        "estimator": "telescoped" if penalised else None,
        "test_accuracy": accuracy,
        "status": "finished",
        "exponent": -0.1,
        "exponent_finite": 0.5,
        "gradient_norm": 1.0,
        "condition": 100.0,
        "gradient_ratio": 1.0,
        "silent_layers": 0,
    } | changes


def results(accuracy: dict[tuple[int, str], list[float]]) -> pd.DataFrame:
    """A row for every seed of every (depth, mode)."""
    return pd.DataFrame(
        [
            row(depth, mode, seed, value)
            for (depth, mode), values in accuracy.items()
            for seed, value in enumerate(values)
        ]
    )


PAYS = {
    (4, "vanilla"): [50.0, 60.0, 55.0],
    (16, "vanilla"): [40.0, 50.0, 46.0],
    (4, "regularised"): [51.0, 61.0, 56.0],
    (16, "regularised"): [60.0, 71.0, 66.0],
}


def test_interval_is_students() -> None:
    """t(2) at 97.5 % is 4.3027; the values' standard deviation is 1."""
    found = Interval.of([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.half == pytest.approx(4.3027 / math.sqrt(3), abs=1e-4)
    assert found.sign == 0
    assert Interval.of([9.0, 10.0, 11.0]).sign == 1
    assert Interval.of([-9.0, -10.0, -11.0]).sign == -1
    assert str(Interval.of([1.0])) == "+1.0"
    assert Interval.of([1.0]).sign == 0
    assert str(Interval.of([])) == "none"


def test_differences_are_paired_by_seed() -> None:
    """The seeds differ by ten points, the pairs by one."""
    found = difference(results(PAYS), SQUARED, 4)
    assert (found.mean, found.half, found.n) == (1, 0, 3)


def test_depth_pays_where_the_interval_says_so() -> None:
    first, second, third = verdict(results(PAYS))
    assert first.startswith("squared (telescoped): it makes depth pay: from depth 4 to 16")
    assert (
        "by -9.7 ± 1.4 points without and by +9.7 ± 1.4 with it, a difference of +19.3 ± 1.4"
        in first
    )
    assert second.endswith("excludes 0: depth 4 +1.0 ± 0.0, depth 16 +20.3 ± 1.4.")
    assert "0.1 of the 2 differences" in third


@pytest.mark.parametrize(
    ("deep", "said"),
    [
        ([48.0, 58.0, 53.5], "depth costs less with it, but is not shown to pay"),
        ([30.0, 41.0, 36.0], "it makes depth pay less"),
        ([30.0, 71.0, 46.0], "not shown to make depth pay more or less"),
    ],
)
def test_verdict_follows_from_the_interval(deep: list[float], said: str) -> None:
    assert said in verdict(results(PAYS | {(16, "regularised"): deep}))[0]


def test_less_to_lose_is_no_gain() -> None:
    """Both end at chance; the penalty only spoiled the shallow network."""
    floor = {(16, "vanilla"): [10.0, 10.0, 10.5], (4, "regularised"): [40.0, 50.0, 45.5]}
    said = verdict(results(PAYS | floor | {(16, "regularised"): [10.0, 10.5, 10.0]}))[0]
    assert said.startswith(
        "squared (telescoped): it loses less with depth for what it is at depth 4 (-9.8 ± 0.7), "
        "not at 16 (+0.0 ± 1.2): "
    )


def test_one_seed_cannot_tell() -> None:
    """However large the difference."""
    said = verdict(results({key: values[:1] for key, values in PAYS.items()}))
    assert len(said) == 1
    assert said[0].startswith("squared (telescoped): cannot tell.")
    table = results({key: values[:1] for key, values in PAYS.items()})
    other = table[table["mode"] == "regularised"].assign(reg_type="hinge")
    (line,) = verdict(pd.concat([table, other]))
    assert line.startswith("squared (telescoped), hinge (telescoped): cannot tell.")
    grid = depth_grid(results({key: values[:1] for key, values in PAYS.items()}))
    assert grid["difference"].tolist() == ["+1.0", "+20.0"]


def test_two_seeds_of_which_one_diverged_cannot_tell_either() -> None:
    table = results({key: values[:2] for key, values in PAYS.items()})
    table.loc[(table["mode"] == "vanilla") & (table["seed"] == 1), "status"] = "diverged"
    said = verdict(table)
    assert said[0] == (
        "Diverged, and not in any mean: depth 4 vanilla 1 of 2, depth 16 vanilla 1 of 2."
    )
    assert "cannot tell" in said[1]
    grid = depth_grid(table)
    assert grid["vanilla"].tolist() == ["50.0, 1 diverged", "40.0, 1 diverged"]
    assert grid["regularised"].tolist() == ["56.0 ± 7.1", "65.5 ± 7.8"]


def test_one_recipe_without_penalties_is_asked_whether_depth_pays() -> None:
    grid = {(4, "vanilla"): [30.0, 31.0, 29.5], (16, "vanilla"): [40.0, 41.5, 39.0]}
    (said,) = verdict(results(grid))
    assert said.startswith("vanilla: depth pays: from depth 4 to 16 accuracy changes by +10.0 ± ")


def test_vanilla_alone_has_nothing_to_say() -> None:
    table = results({(4, "vanilla"): [50.0, 60.0]})
    assert verdict(table) == []
    assert depth_grid(table).empty
    assert "## Verdict" in depth_text(table)


def test_lambda_shown_is_the_one_that_is_penalised() -> None:
    table = results(PAYS)
    assert depth_grid(table)["λ"].tolist() == ["-0.10 / -0.10"] * 2
    table.loc[table["mode"] == "regularised", "estimator"] = "finite"
    assert depth_grid(table)["λ"].tolist() == ["+0.50 / +0.50"] * 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "well-conditioned gradients (κ up to 1.0e+02)"),
        ({"condition": 1e5}, "somewhat ill-conditioned"),
        ({"condition": math.inf}, "ill-conditioned gradients (κ up to inf)"),
        ({"condition": math.nan}, "gradients are not finite"),
        ({"gradient_ratio": 1e-5}, "vanishing towards the input (first layer 1.0e-05 of the last)"),
        ({"gradient_ratio": 1e5}, "exploding towards the input"),
        ({"gradient_ratio": math.nan}, "no gradient in the last layer"),
        ({"silent_layers": 3}, "3 silent layers"),
    ],
)
def test_health_in_words(changes: dict[str, Any], words: str) -> None:
    (line,) = health(pd.DataFrame([row(8, "vanilla", 0, 50.0, **changes)]))
    assert line.startswith("depth 8, vanilla: ")
    assert words in line


def test_health_of_an_epoch() -> None:
    epoch: dict[str, Any] = {
        "largest_by_layer": [1.0, 3.0, None],
        "smallest_by_layer": [0.5, 0.01, None],
        "gradient_by_layer": [2.0, 5.0, 8.0],
        "rate_by_layer": [0.2, 0.0, 1e-4],
    }
    found = health_of(epoch)
    assert found == {"condition": 300, "gradient_ratio": 0.25, "silent_layers": 2}
    assert health_of(epoch | {"smallest_by_layer": [0.5, 0.0, None]})["condition"] == math.inf
    gone = health_of(epoch | {"gradient_by_layer": [0.0, 0.0, 0.0]})
    assert math.isnan(gone["gradient_ratio"])


def record(depth: int, mode: str, seed: int, status: str = "finished") -> dict[str, Any]:
    epoch = {
        "test_accuracy": 50.0 + seed,
        "exponent": -0.1,
        "growth_by_layer": [0.5, None, 0.25][: depth - 1],
        "largest_by_layer": [1.0] * depth,
        "smallest_by_layer": [0.1 * (seed > 0)] * depth,
        "gradient_by_layer": [1.0] * depth,
    }
    settings: dict[str, Any] = {"depth": depth, "mode": mode, "seed": seed}
    settings |= {"dataset": "mnist", "arch": "vgg", "base_channels": 8, "T": 4, "epochs": 2}
    if mode != "vanilla":
        settings |= {"reg_type": "squared", "estimator": "finite"}
    return {"settings": settings, "status": status, "epochs": [epoch, epoch]}


def texts(path: Path) -> set[str]:
    svg = ElementTree.parse(path)
    return {"".join(e.itertext()).strip() for e in svg.iter("{http://www.w3.org/2000/svg}text")}


def test_figures_come_from_the_record_alone(tmp_path: Path) -> None:
    """One trial diverged, one has a singular gradient, one has no epoch."""
    records = [
        record(depth, mode, seed)
        for depth in (2, 4)
        for mode in ("vanilla", "regularised")
        for seed in (0, 1)
    ]
    records[0]["status"] = "diverged"
    records.append(record(2, "vanilla", 2, "failed") | {"epochs": []})
    draw_depth(records, tmp_path)
    assert {p.stem for p in tmp_path.iterdir()} == {"accuracy", "condition", "exponent", "growth"}
    shown = texts(tmp_path / "accuracy.svg")
    assert shown >= {"vanilla", "squared (finite)", "diverged", "test accuracy (%)"}
    assert "depth (layers of neurons)" in shown
    assert {"depth 2", "depth 4", "epoch"} <= texts(tmp_path / "exponent.svg")
    assert "layer" in texts(tmp_path / "growth.svg")


def test_nothing_to_draw_draws_nothing(tmp_path: Path) -> None:
    draw_depth([record(4, "vanilla", 0, "interrupted")], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_recipes_are_compared_with_the_first_and_depth_within_each() -> None:
    """One that gains ten points at depth 16 alone, so that depth pays with it."""
    rows = [
        row(depth, "vanilla", seed, accuracy + 2 * seed + (seed == 1) * 0.5, recipe=recipe)
        for recipe, depth, accuracy in (
            ("", 4, 50.0),
            ("", 16, 45.0),
            ("sigmoid:2", 4, 50.0),
            ("sigmoid:2", 16, 55.0),
        )
        for seed in range(3)
    ]
    for one in rows[-3:]:  # so that pairs differ
        one["test_accuracy"] += 0.1 * one["seed"]
    said = verdict(pd.DataFrame(rows))
    assert (
        said[0] == "vanilla: depth costs: from depth 4 to 16 accuracy changes by -5.0 ± 0.0 points."
    )
    assert said[1].startswith("sigmoid:2: depth pays: from depth 4 to 16 accuracy changes by +5.1")
    assert said[2].startswith(
        "sigmoid:2: differences from vanilla whose interval excludes 0: depth 16 +10.1"
    )
    assert "of the 2 differences" in said[3]
