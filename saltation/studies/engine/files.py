"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path

from saltation.errors import ConfigError

# Windows replaces and removes no file that somebody has open, and says so by one of these. Whoever
# reads one of ours, as another command or a search for viruses does, is done in less than so long.
_IN_USE, _PATIENCE = (5, 32), 5.0  # numbers of Windows, seconds


def check_folder(what: str, folder: Path) -> None:
    """See that files can be written into ``folder`` before the work whose results go there.

    It need not be there yet; nothing is made or left behind.

    Raises
    ------
    ConfigError
        If it cannot be made or written; the message begins with ``what`` it is for.
    """
    try:
        there = folder.absolute()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(there)  # a name may be too long, or none at all
        while not os.path.lexists(there) and there != there.parent:
            there = there.parent
        if not there.is_dir():
            raise NotADirectoryError(0, f"'{there}' is no folder")
        # Asking for permissions says nothing of disks that only read.
        with tempfile.TemporaryFile(dir=there):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{what} '{folder}' cannot be written: {reason}") from None


def write_whole(path: Path, content: str | bytes) -> None:
    """Write ``path``: whoever reads it, whenever, finds the old content or the new.

    The new one is on the disk before it takes the old one's name.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            # Names of files may hold bytes that are no text: those are written as escapes.
            if isinstance(content, str):
                content = content.encode(errors="backslashreplace")
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Take a file away that is of no use any more; on Windows it stays while somebody reads it."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if not _in_use(error):
            raise


def _replace(temporary: Path, path: Path) -> None:
    """Give it the name of ``path``, once nobody reads that any more."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            temporary.replace(path)
            return
        except OSError as error:
            if not _in_use(error) or time.monotonic() > end:
                raise
        time.sleep(0.02)


def _in_use(error: OSError) -> bool:
    return getattr(error, "winerror", None) in _IN_USE
