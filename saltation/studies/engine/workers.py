"""Trials in processes of this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from multiprocessing.connection import Connection, wait
from typing import Any, cast

import torch

from saltation.errors import StoreError
from saltation.studies.engine.attempt import Ended, Event, Lost, attempt
from saltation.studies.engine.config import resolve_device
from saltation.studies.engine.specification import Specification
from saltation.studies.engine.stopping import stoppable
from saltation.studies.engine.store import FAILED

# How often a trial is begun anew whose worker died.
RETRIES = 1
_POLL = 0.2  # seconds from one look at the keyboard to the next
_PATIENCE = 60.0  # seconds that a worker has to finish the step it is in


class Workers:
    """Processes that share the trials of a study.

    Parameters
    ----------
    study
        Whose trials.
    count
        Number of processes.
    recorded
        The last recorded epoch of a trial, by its number.
    check
        Called now and then; may raise KeyboardInterrupt, which stops the workers after the step
        they are in.
    """

    def __init__(
        self,
        study: Specification[Any],
        count: int,
        recorded: Callable[[int], int],
        check: Callable[[], None],
    ) -> None:
        self._study, self._count = study, count
        self._recorded, self._check = recorded, check

    def run(self, numbers: Iterable[int]) -> Generator[tuple[int, Event]]:
        """Run these trials, yielding what happens in each.

        A worker that dies takes its trial with it once: the trial is given to another. Trials that
        no worker can be started for have failed.
        """
        waiting = deque(numbers)
        deaths: dict[int, int] = {}
        crew: dict[Any, _Worker] = {}
        why = ""

        def hire() -> str:
            """Start one more; why it could not be, if it could not."""
            try:
                worker = _Worker(self._study)
            except Exception as error:  # a study that cannot be sent, a machine without memory
                return f"no worker can be started ({_said(error)})"
            crew[worker.events] = worker
            return ""

        try:
            for _ in range(min(self._count, len(waiting))):
                why = why or hire()
            while crew or waiting:
                if not crew:
                    yield waiting.popleft(), Ended(FAILED, why)
                    continue
                for worker in crew.values():
                    if worker.number is None and waiting:
                        number = waiting.popleft()
                        worker.begin(number, self._recorded(number))
                for events in [c for c, w in crew.items() if w.number is None]:
                    crew.pop(events).stop()
                self._check()
                for events in wait(list(crew), _POLL):
                    worker = crew[events]
                    number = cast(int, worker.number)
                    event = worker.event()
                    if isinstance(event, Lost):
                        del crew[worker.events]
                        deaths[number] = deaths.get(number, 0) + 1
                        if deaths[number] > RETRIES:
                            event = Ended(FAILED, f"{event.reason}, as before")
                        else:
                            waiting.appendleft(number)
                        why = hire() or why
                    yield number, event
        finally:
            for worker in crew.values():
                worker.stop()
            for worker in crew.values():
                worker.join()


class _Worker:
    """One process, seen from outside.

    Attributes
    ----------
    events
        Where its events arrive.
    number
        Of the trial it runs, None while it has none.
    """

    def __init__(self, study: Specification[Any]) -> None:
        context = multiprocessing.get_context("spawn")
        # Unpacked where an error can be told of: what Python unpacks by itself dies without a word.
        packed = pickle.dumps(study)
        self.events, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, packed), daemon=True)
        try:
            self._process.start()
        except BaseException:
            self.events.close()
            raise
        finally:
            theirs.close()
        self.number: int | None = None
        self._begun = False

    def begin(self, number: int, recorded: int) -> None:
        """Give it a trial."""
        self.number, self._begun = number, False
        with contextlib.suppress(OSError):  # it is dead, and `event` will say so
            self.events.send((number, recorded))

    def event(self) -> Event:
        """The next event that it has sent; `Lost` if it is dead.

        Raises
        ------
        StoreError
            If it could not write.
        """
        try:
            event: Event | StoreError = self.events.recv()
        except (EOFError, OSError):
            self.join()
            when = "" if self._begun else " before it began"
            return Lost(f"its worker died{when} ({_cause(self._process.exitcode)})")
        if isinstance(event, StoreError):
            raise event
        self._begun = True
        if isinstance(event, Ended):
            self.number = None
        return event

    def stop(self) -> None:
        """Ask it to end: after the step it is in, if it is in one."""
        self.events.close()
        self._process.terminate()

    def join(self) -> None:
        """Wait until it has ended, and end it if it does not."""
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _cause(code: int | None) -> str:
    """An exit code in words."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"{name}: memory may have run out" if name == "SIGKILL" else name
    return f"exit code {code}"


class _Watching:
    """The progress of a worker: looks whether it is still wanted."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._next = 0.0

    def batch(self, done: int, total: int) -> None:
        """Go on, unless asked to stop or the study's process is gone."""
        self._check()
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _POLL
            parent = multiprocessing.parent_process()
            if parent is not None and not parent.is_alive():
                raise KeyboardInterrupt


def _serve(events: Connection, packed: bytes) -> None:
    """What a worker does: run the trials it is given until nobody gives any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the study's process tells us, once
    study: Specification[Any] | None = None
    data: Any = None
    device = torch.device("cpu")
    while True:
        try:
            number, recorded = events.recv()
        except (EOFError, OSError):
            return
        with stoppable((signal.SIGTERM,)) as check:
            try:
                if study is None:
                    unpacked = pickle.loads(packed)
                    device = resolve_device(unpacked.config.device)
                    data = unpacked.data(device)
                    study = unpacked
                for event in attempt(study, number, data, device, recorded, _Watching(check)):
                    events.send(event)
            except StoreError as error:
                events.send(StoreError(str(error)))
            except (KeyboardInterrupt, BrokenPipeError):
                sys.exit(0)
            except Exception as error:  # of a study that it cannot have, or of its data
                events.send(Ended(FAILED, f"its worker cannot begin ({_said(error)})"))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
