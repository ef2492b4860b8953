"""What happens in trials, written into the study's record and shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import torch

from saltation.studies.engine.attempt import Begun, Ended, Epoch, Event, Lost, attempt, environment
from saltation.studies.engine.checkpoints import keep_last
from saltation.studies.engine.progress import StudyProgress, duration
from saltation.studies.engine.specification import Specification
from saltation.studies.engine.store import FAILED, FINISHED, INTERRUPTED, Store, trial_id

if TYPE_CHECKING:
    from saltation.ranks import Ranks


class Alone:
    """The crew that is this process, one trial after another.

    Parameters
    ----------
    study, data, device
        Whose trials, with what they need, and where.
    recorded
        The last recorded epoch of a trial, by its number.
    check
        Called after every batch; may raise KeyboardInterrupt.
    progress
        Is told of batches.
    """

    def __init__(
        self,
        study: Specification[Any],
        data: Any,
        device: torch.device,
        recorded: Callable[[int], int],
        check: Callable[[], None],
        progress: StudyProgress,
    ) -> None:
        self._study, self._data, self._device = study, data, device
        self._recorded, self._check, self._progress = recorded, check, progress

    def run(self, numbers: Iterable[int]) -> Generator[tuple[int, Event]]:
        """Run these trials, yielding what happens in each."""
        for number in numbers:
            self._check()
            self._number, self._epoch, self._since = number, 0, time.monotonic()
            job = number, self._recorded(number)
            if self._study.ranks is not None:
                self._study.ranks.tell(job)
            events = attempt(self._study, number, self._data, self._device, job[1], self)
            for event in events:
                if isinstance(event, Begun | Epoch):
                    self._epoch = event.after if isinstance(event, Begun) else event.number
                    self._since = time.monotonic()
                yield number, event
        if self._study.ranks is not None:
            self._study.ranks.tell()

    def batch(self, done: int, total: int) -> None:
        """As in `BatchProgress`."""
        self._check()
        rate = done / max(time.monotonic() - self._since, 1e-9)
        self._progress.within(self._number, self._epoch, done, total, rate)


def follow(study: Specification[Any], ranks: Ranks, data: Any, device: torch.device) -> None:
    """Take part in the trials that the first of several processes runs, until it runs none."""
    while job := ranks.tell():
        number, recorded = job
        for event in attempt(study, number, data, device, recorded, _Following()):
            if isinstance(event, Ended) and event.status == FAILED:
                raise SystemExit(1)  # the first process may be waiting for us


class _Following:
    """The progress of a process whose trials another one tells of."""

    def batch(self, done: int, total: int) -> None:
        """Nothing to do."""


def record(
    study: Specification[Any],
    events: Generator[tuple[int, Event]],
    store: Store,
    progress: StudyProgress,
) -> None:
    """Write the events of a study's trials into its store, and show them.

    Raises
    ------
    KeyboardInterrupt
        If a crew was stopped, after its unfinished trials were marked.
    """
    trials = study.trials()
    running: dict[int, _Told] = {}
    begun: set[int] = set()  # and not ended
    with closing(events):  # workers end with it
        try:
            for number, event in events:
                key = trial_id(trials[number])
                told = running.setdefault(number, _Told())
                if isinstance(event, Begun):
                    begun.add(number)
                    store.start(key, trials[number], event.environment, event.after)
                    progress.begin(number, study.label(trials[number]), event.after)
                elif isinstance(event, Epoch):
                    store.add_epoch(key, event.number, event.metrics)
                    progress.epoch(number, event.number, told.epoch(event.metrics))
                elif isinstance(event, Lost):
                    progress.lost(number, event.reason)
                    del running[number]
                else:
                    if number not in begun:  # whoever was to run it died first
                        nowhere = environment(torch.device("cpu")) | {"kernel": "none: not begun"}
                        store.start(key, trials[number], nowhere, store.last_epoch(key))
                    store.end(key, event.status, event.reason)
                    if event.status == FINISHED:
                        keep_last(study.checkpoints(key))
                    begun.discard(number)
                    progress.done(number, told.outcome(event))
                    del running[number]
        except KeyboardInterrupt:
            for number in begun:
                store.end(trial_id(trials[number]), INTERRUPTED)
            raise


class _Told:
    """What the user is told of a trial."""

    def __init__(self) -> None:
        self._seconds, self._tested = 0.0, ""

    def epoch(self, metrics: dict[str, Any]) -> str:
        self._seconds += metrics["seconds"]
        accuracy, error = metrics["test_accuracy"], metrics.get("test_loss")
        if accuracy is not None:
            self._tested = f"test {accuracy:.2f} %"
        else:  # targets are numbers, or nothing is trained yet
            self._tested = "before training" if error is None else f"test error {error:.4f}"
        return self._tested

    def outcome(self, event: Ended) -> str:
        if event.status == FINISHED:
            return f"{self._tested} in {duration(self._seconds)}"
        return f"{event.status}: {event.reason}"
