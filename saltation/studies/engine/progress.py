"""Progress of a study: a live bar in a terminal or a notebook, else a line a trial, or nothing."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from saltation.studies.engine.cell import CellProgress, in_notebook

SELDOM = 10.0
"""Seconds after which a trial that lasts is told of by its epochs, too."""


class BatchProgress(Protocol):
    """Who is told how far a trial is."""

    def batch(self, done: int, total: int) -> None:
        """``done`` of ``total`` batches of the current epoch are behind us.

        Raises
        ------
        KeyboardInterrupt
            If the trial is to stop here.
        """


class StudyProgress:
    """Where a study stands: trials done and running, epochs, batches per second, time left.

    Parameters
    ----------
    work
        Expected cost of every trial, in any common unit; the time left is estimated from it, at the
        speed since the first batch. What is compiled before that is compiled once.
    epochs
        Epochs of a trial.
    show
        False for silence.
    """

    def __init__(self, work: list[float], epochs: int, *, show: bool) -> None:
        self._work = work
        self._epochs = epochs
        # Where lines go: in a notebook all of them into one display.
        self._cell = CellProgress() if show and in_notebook() else None
        terminal = Console(stderr=True)
        self._console: CellProgress | Console = self._cell or terminal
        self._live: Progress | None = None
        self._show = show
        self._start: tuple[float, float] | None = None  # when, and after which work of this run
        self._said = time.monotonic()
        self._before = 0.0  # work that others, or an earlier run, had done
        self._finished = 0.0  # and that was done since
        self._labels: dict[int, str] = {}  # of the running trials
        self._shares: dict[int, float] = {}  # of them that are behind us
        self._from: dict[int, float] = {}  # and where they began
        if show and not self._cell and terminal.is_terminal:
            self._live = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[detail]}"),
                console=terminal,
                transient=True,
            )
            self._task = self._live.add_task("", total=1.0, detail="")

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()
        if self._cell:
            self._cell.end()

    def skip(self, number: int) -> None:
        """Trial ``number`` (from 0) need not run."""
        self._before += self._work[number]

    def begin(self, number: int, label: str, after: int) -> None:
        """Trial ``number`` starts, or goes on after an epoch."""
        self._labels[number] = label
        self._shares[number] = self._from[number] = after / self._epochs
        if after:
            self.say(f"{self._name(number)}  goes on after epoch {after}")

    def epoch(self, number: int, epoch: int, summary: str) -> None:
        """Epoch ``epoch`` (from 1) of a trial is done."""
        self._shares[number] = epoch / self._epochs
        self._measure()
        seldom = time.monotonic() - self._said >= SELDOM
        if self._show and not self._live and seldom and epoch < self._epochs:
            self.say(
                f"{self._name(number)}  epoch {epoch}/{self._epochs}  {summary}  "
                f"{self._left()} left"
            )
        self._draw(number, f"epoch {min(epoch + 1, self._epochs)}/{self._epochs}")

    def within(self, number: int, epoch: int, done: int, total: int, rate: float) -> None:
        """``done`` of ``total`` batches after an epoch of a trial are behind us."""
        self._shares[number] = min(1.0, (epoch + done / total) / self._epochs)
        self._measure()
        self._draw(number, f"epoch {epoch + 1}/{self._epochs}  {rate:.1f} batches/s")

    def lost(self, number: int, reason: str) -> None:
        """A trial is given to somebody else."""
        self.say(f"{self._name(number)}  {reason}; trying again")
        self._forget(number)

    def done(self, number: int, outcome: str) -> None:
        """A trial has ended."""
        self._finished += self._work[number] * (1 - self._from.get(number, 0.0))
        self._before += self._work[number] * self._from.get(number, 0.0)
        name = self._name(number)
        self._forget(number)
        left = self._left()
        self.say(f"{name}  {outcome}{'' if left in ('?', '0 s') else f'  {left} left'}")

    def say(self, line: str) -> None:
        """Print a line, unless silent."""
        self._said = time.monotonic()
        if self._show:
            self._console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _name(self, number: int) -> str:
        return f"trial {number + 1}/{len(self._work)}  {self._labels.get(number, '')}"

    def _forget(self, number: int) -> None:
        for known in (self._labels, self._shares, self._from):
            known.pop(number, None)

    def _draw(self, number: int, detail: str) -> None:
        if not self._live and not self._cell:
            return
        others = len(self._labels) - 1
        what = self._name(number) + (f" and {others} more" if others else "")
        share, detail = self._done(self._before) / sum(self._work), f"{detail}  {self._left()} left"
        if self._cell:
            self._cell.draw(share, f"{what}  {detail}")
        elif self._live:
            self._live.update(self._task, completed=share, description=what, detail=detail)

    def _done(self, work: float) -> float:
        """``work`` and what was done in this run of the trials that ended or are running."""
        running = (self._work[n] * (s - self._from[n]) for n, s in self._shares.items())
        return work + self._finished + sum(running)

    def _measure(self) -> None:
        """Begin to measure the speed, if this is the first that is told."""
        if self._start is None:
            self._start = time.monotonic(), self._done(0.0)

    def _left(self) -> str:
        if self._start is None:
            return "?"
        (start, before), done = self._start, self._done(0.0)
        if done <= before:
            return "?"
        running = sum(self._work[n] * s for n, s in self._from.items())
        remaining = sum(self._work) - self._before - running - done
        return duration((time.monotonic() - start) * remaining / (done - before))


def duration(seconds: float) -> str:
    """Seconds as people say them: ``48 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
