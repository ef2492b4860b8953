"""Progress of a study: a live bar in a terminal, a line an epoch elsewhere, or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn


class StudyProgress:
    """Where a study stands: trial k of n, epoch, batches per second, time left.

    Parameters
    ----------
    work
        Expected cost of every trial, in any common unit; the time left is estimated from it.
    epochs
        Epochs of a trial.
    show
        False for silence.
    check
        Called after every batch; it may raise.
    """

    def __init__(
        self,
        work: list[float],
        epochs: int,
        *,
        show: bool,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._work = work
        self._check = check
        self._epochs = epochs
        self._console = Console(stderr=True)
        self._live: Progress | None = None
        self._show = show
        self._start = time.monotonic()
        self._finished = 0.0  # work of the trials behind us
        self._skipped = 0.0  # and of those that cost no time
        self._trial = 0
        self._epoch = 1
        self._epoch_start = self._start
        self._label = ""
        if show and self._console.is_terminal:
            self._live = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[detail]}"),
                console=self._console,
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

    def trial(self, number: int, label: str) -> None:
        """Trial ``number`` (from 0) starts."""
        self._trial, self._label = number, label
        self._epoch, self._epoch_start = 1, time.monotonic()

    def skip(self, number: int) -> None:
        """Trial ``number`` need not run."""
        self._skipped += self._work[number]

    def batch(self, done: int, total: int) -> None:
        """``done`` of ``total`` batches of the current epoch are behind us."""
        self._check()
        if self._live:
            rate = done / max(time.monotonic() - self._epoch_start, 1e-9)
            share = (self._epoch - 1 + done / total) / self._epochs
            self._live.update(
                self._task,
                completed=share,
                description=f"trial {self._trial + 1}/{len(self._work)}  {self._label}",
                detail=f"epoch {self._epoch}/{self._epochs}  {rate:.1f} batches/s  "
                f"{self._left(share)} left",
            )

    def epoch(self, epoch: int, summary: str) -> None:
        """Epoch ``epoch`` (from 1) of the current trial is done."""
        if self._show and not self._live:
            self.say(
                f"trial {self._trial + 1}/{len(self._work)}  {self._label}  "
                f"epoch {epoch}/{self._epochs}  {summary}  {self._left(epoch / self._epochs)} left"
            )
        self._epoch, self._epoch_start = epoch + 1, time.monotonic()

    def done(self, outcome: str) -> None:
        """The current trial has ended."""
        self._finished += self._work[self._trial]
        self.say(f"trial {self._trial + 1}/{len(self._work)}  {self._label}  {outcome}")

    def say(self, line: str) -> None:
        """Print a line, unless silent."""
        if self._show:
            self._console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _left(self, share: float) -> str:
        done = self._finished + share * self._work[self._trial]
        remaining = sum(self._work) - self._skipped - done
        return duration((time.monotonic() - self._start) * remaining / done) if done else "?"


def duration(seconds: float) -> str:
    """Seconds as people say them: ``48 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
