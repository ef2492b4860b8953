"""Contenders that take turns: medians and quartiles of the same rounds."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

Step = Callable[[int], None]


class Times(NamedTuple):
    """Milliseconds of the rounds of one contender."""

    ms: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.ms)

    @property
    def quartiles(self) -> tuple[float, float]:
        low, _, high = statistics.quantiles(self.ms, n=4)
        return low, high


def race(builders: Mapping[str, Callable[[], Step]], rounds: int, warm_up: int) -> dict[str, Times]:
    """Time a step of every contender in every round, after ``warm_up`` rounds that do not count.

    A contender that cannot be built or run is left out, and why is said.
    """
    steps: dict[str, Step] = {}
    for name, build in builders.items():
        try:
            step = build()
            for number in range(warm_up):
                step(number)
            steps[name] = step
        except Exception as error:
            print(f"left out: {name}: {type(error).__name__}: {error}"[:300], file=sys.stderr)
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(warm_up, warm_up + rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step(number)
            taken[name].append(1e3 * (time.perf_counter() - start))
    return {name: Times(ms) for name, ms in taken.items()}


def table(title: str, results: Mapping[str, Mapping[str, Times]], own: str = "saltation") -> str:
    """A markdown table: settings across, contenders down, with the ratio to the first of ours."""
    columns = list(results)
    names = list(dict.fromkeys(name for times in results.values() for name in times))
    lines = [f"### {title}", "", "| ms: median (quartiles) | " + " | ".join(columns) + " |"]
    lines.append("| --- |" + " ---: |" * len(columns))
    for name in names:
        cells = []
        for column in columns:
            times = results[column].get(name)
            if times is None:
                cells.append("")
                continue
            low, high = times.quartiles
            cell = f"{times.median:.1f} ({low:.1f}-{high:.1f})"
            ours = results[column].get(own)
            if ours is not None and name != own:
                cell += f", {times.median / ours.median:.1f} x"
            cells.append(cell)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])
