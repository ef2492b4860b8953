"""Ctrl-C and SIGTERM while the command line starts and ends: one line, never a traceback.

Importing torch and the rest of the package takes seconds, and an interrupt in them would be told as
a traceback of somebody's import. So the package imports this module first, which sees whether the
process is the command ``saltation``, and only then touches signals.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
CODE = 130
"""What the command exits with when it was stopped."""


def leave_quietly() -> None:
    """From here on a signal ends the process in one line, for nothing is at work in it."""
    _on_signals(_leave)


@contextmanager
def interruptible() -> Iterator[None]:
    """Within, a signal raises KeyboardInterrupt, so that what is at work can be cleaned up."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _on_signals(signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            with _in_main_thread():
                signal.signal(number, handler)


def is_command() -> bool:
    """Whether this process is ``saltation`` or ``python -m saltation``."""
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":  # as it stands while the package itself is imported
        return not {"saltation", "saltation.__main__"}.isdisjoint(sys.orig_argv)
    # Processes that this one starts are given its name, but not on their command lines. Scripts of
    # Windows take the ending off it.
    return _named(program) and not {program, f"{program}.exe"}.isdisjoint(sys.orig_argv)


def is_worker() -> bool:
    """Whether this process was started by multiprocessing in a process of the command."""
    return "--multiprocessing-fork" in sys.orig_argv and _named(sys.argv[0])


def _named(program: str) -> bool:
    path = PurePath(program)
    return (path.parent.name if path.stem == "__main__" else path.stem) == "saltation"


def _leave(number: int, frame: Any) -> None:
    # Not an exception: an import may swallow it, or turn it into another.
    os.write(2, b"saltation: stopped\n")
    os._exit(CODE)


def _on_signals(handler: Any) -> None:
    for number in SIGNALS:
        # Whoever started us may have asked that Ctrl-C is ignored, as nohup and shells do.
        if signal.getsignal(number) is not signal.SIG_IGN:
            with _in_main_thread():
                signal.signal(number, handler)


@contextmanager
def _in_main_thread() -> Iterator[None]:
    """Elsewhere there are no signals to handle."""
    try:
        yield
    except ValueError:
        return


if is_command():
    leave_quietly()
elif is_worker():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command's process tells it, once
