"""The lock of a study's folder: who runs the study holds it."""

from __future__ import annotations

import sys
from pathlib import Path

from filelock import FileLock

NAME = ".lock"
# Seconds, in which whoever only looks whether the lock is held has let go of it.
_PATIENCE = 0.2


def lock_of(folder: Path) -> FileLock:
    """The lock of a study's folder, to be held while it is run."""
    return FileLock(folder / NAME, timeout=_PATIENCE)


def is_abandoned(folder: Path) -> bool:
    """Whether it is sure that nobody runs a study that was begun: a lock is there and not held."""
    if sys.platform == "win32":  # it cannot be looked at without being taken
        return False
    import fcntl

    try:
        with (folder / NAME).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # held, not there, or not to be found out
        return False
    return True
