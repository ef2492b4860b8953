"""Trials as tasks of a Ray cluster, or of a Ray of this machine."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from saltation.errors import ConfigError, StoreError
from saltation.studies.engine.attempt import Ended, Event, Lost, attempt
from saltation.studies.engine.config import resolve_device
from saltation.studies.engine.specification import Specification
from saltation.studies.engine.store import FAILED
from saltation.studies.engine.workers import RETRIES

LOCAL = "local"


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Within, this process is connected to a cluster: None for none.

    Parameters
    ----------
    address
        Of the cluster, or ``local`` for one on this machine while the study lasts.

    Raises
    ------
    ConfigError
        If Ray is not installed or there is no cluster at the address.
    """
    if address is None:
        yield
        return
    try:
        import ray
    except ImportError:
        raise ConfigError("--ray needs the package ray: pip install 'saltation[ray]'") from None
    _reach(address)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=None if address == LOCAL else address,
            include_dashboard=False if address == LOCAL else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"there is no Ray cluster at '{address}': {reason}") from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put its own in its place
    try:
        yield
    finally:
        ray.shutdown()


class OnRay:
    """A crew of Ray tasks, in a process that is `connected`.

    Every trial is a task, with the resources that its study declares.

    The events of all tasks come to this process, which alone writes the record. Checkpoints are
    written by the tasks: the study's folder must be one that all nodes share.

    Parameters
    ----------
    study, data
        Whose trials, and what all need; the data is sent to each node once.
    recorded
        The last recorded epoch of a trial, by its number.
    check
        Called now and then; may raise KeyboardInterrupt, which stops the tasks.
    """

    def __init__(
        self,
        study: Specification[Any],
        data: Any,
        recorded: Callable[[int], int],
        check: Callable[[], None],
    ) -> None:
        self._study, self._recorded, self._check = study, recorded, check
        self._study.folder = study.folder.resolve()  # tasks have working directories of their own
        import ray  # `connected` has seen that it is there

        self._ray = ray
        self._data = ray.put(data)

    def run(self, numbers: Iterable[int]) -> Generator[tuple[int, Event]]:
        """Run these trials, yielding what happens in each.

        A task whose worker or node is lost is begun anew once, on another.
        """
        ray = self._ray
        waiting = deque(numbers)
        losses: dict[int, int] = {}
        tasks: dict[Any, int] = {}
        try:
            while waiting or tasks:
                while waiting:
                    number = waiting.popleft()
                    try:
                        tasks[self._begin(number)] = number
                    except Exception as error:  # a study that cannot be sent
                        reason = (str(error).splitlines() or [""])[0]
                        name = type(error).__name__
                        yield number, Ended(FAILED, f"it cannot be sent ({name}: {reason})")
                if not tasks:
                    break
                self._check()
                ready, _ = ray.wait(list(tasks), num_returns=1, timeout=0.2, fetch_local=False)
                for task in ready:
                    number = tasks[task]
                    event = self._next(task)
                    if event is None:
                        del tasks[task]
                        continue
                    if isinstance(event, Lost):
                        del tasks[task]
                        losses[number] = losses.get(number, 0) + 1
                        if losses[number] > RETRIES:
                            event = Ended(FAILED, f"{event.reason}, as before")
                        else:
                            waiting.append(number)
                    yield number, event
        finally:
            for task in tasks:
                ray.cancel(task)

    def _begin(self, number: int) -> Any:
        needs = self._study.resources(self._study.trials()[number])
        task = self._ray.remote(_trial).options(num_returns="streaming", max_retries=0, **needs)
        return task.remote(self._study, number, self._data, self._recorded(number))

    def _next(self, task: Any) -> Event | None:
        """The next event of a task, `Lost` if there is none, None if it was its last."""
        errors = self._ray.exceptions
        try:
            event: Event = self._ray.get(next(task))
        except StopIteration:
            return None
        except errors.RayTaskError as error:
            if isinstance(error.cause, StoreError):
                raise StoreError(str(error.cause)) from None
            reason = (str(error.cause).splitlines() or [type(error.cause).__name__])[0]
            return Lost(f"its task failed ({reason})")
        except errors.RayError as error:
            return Lost(f"its task is lost ({type(error).__name__})")
        return event


def _reach(address: str) -> None:
    """See whether anybody listens at HOST:PORT: Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    # Ports beyond 65,535 and names that are none are no OSErrors.
    except (OSError, OverflowError, ValueError) as error:
        raise ConfigError(f"there is no Ray cluster at '{address}': {error}") from None


class _Unwatched:
    """The progress of a task: Ray itself interrupts it."""

    def batch(self, done: int, total: int) -> None:
        """Nothing to do."""


def _trial(study: Specification[Any], number: int, data: Any, recorded: int) -> Iterator[Event]:
    """What a task does."""
    device = resolve_device(study.config.device)
    yield from attempt(study, number, data, device, recorded, _Unwatched())
