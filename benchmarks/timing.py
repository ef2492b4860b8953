"""Contenders that take turns: medians and quartiles of the same rounds."""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

Step = Callable[[int], None]

# Seconds between turns. After a step OpenMP's threads go on waiting for more, each on a core, for
# milliseconds that would be taken from the next contender.
_REST = 0.05
_TURN = 4  # steps


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

    Each has a process of its own, as it would have in use: in one process each would pay for the
    memory that another returned. A turn is `_TURN` steps, of which the first wakes its threads and
    fills its caches, and the others count. Builders must be functions that can be pickled. A
    contender that cannot be built or run is left out, and why is said.
    """
    running: dict[str, _Contender] = {}
    for name, build in builders.items():
        contender = _Contender(build, warm_up)
        if contender.problem is None:
            running[name] = contender
        else:
            print(f"left out: {name}: {contender.problem}"[:300], file=sys.stderr)
    taken: dict[str, list[float]] = {name: [] for name in running}
    for number in range(rounds):
        for name, contender in running.items():
            time.sleep(_REST)
            ms = [contender.step(warm_up + _TURN * number + k) for k in range(_TURN)]
            taken[name] += ms[1:]
    for contender in running.values():
        contender.end()
    return {name: Times(ms) for name, ms in taken.items()}


class _Contender:
    """A process that takes steps when it is told to.

    Attributes
    ----------
    problem
        Why it cannot, or None.
    """

    def __init__(self, build: Callable[[], Step], warm_up: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, build, warm_up, torch.get_num_threads())
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        try:
            self.problem: str | None = self._pipe.recv()
        except EOFError:
            self.problem = "its process ended"

    def step(self, number: int) -> float:
        """Milliseconds of a step."""
        self._pipe.send(number)
        ms: float = self._pipe.recv()
        return ms

    def end(self) -> None:
        self._pipe.send(None)
        self._process.join()


def _serve(pipe: Any, build: Callable[[], Step], warm_up: int, threads: int) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    try:
        step = build()
        for number in range(warm_up):
            step(number)
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.send(None)
    while (number := pipe.recv()) is not None:
        start = time.perf_counter()
        step(number)
        pipe.send(1e3 * (time.perf_counter() - start))


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
