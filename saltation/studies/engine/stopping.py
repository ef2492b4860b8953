"""Stopping a study from outside: after the step it is in, and at once if asked again."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stoppable(signals: tuple[signal.Signals, ...] = SIGNALS) -> Iterator[Callable[[], None]]:
    """Within, Ctrl-C and SIGTERM (which clusters send) only ask to stop.

    Yields
    ------
    A function to call between steps: it raises KeyboardInterrupt if that was asked. A second signal
    raises it wherever the program is. In a thread that gets no signals nothing changes.
    """
    asked: list[int] = []

    def ask(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    def check() -> None:
        if asked:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = {number: signal.signal(number, ask) for number in signals}
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
