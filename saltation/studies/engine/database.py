"""What the record of a study needs of SQLite: opening, and telling one file from another."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from saltation.errors import StoreError

KEPT = "study.kept.db"  # what is left of a record that was taken away while it was written
Statement = tuple[str, tuple[Any, ...]]


def connect(path: Path, *, reads: bool) -> sqlite3.Connection:
    """Open a file of SQLite, to read it only or to write it, in which case it is made if missing.

    Raises
    ------
    StoreError
        If it is to be read and not there.
    sqlite3.Error
        If it cannot be opened.
    """
    # Autocommit: each statement is a transaction, or opens one by itself.
    if not reads:
        return sqlite3.connect(path, timeout=30, isolation_level=None)
    if not path.is_file():
        kept = path.with_name(KEPT)
        hint = f"; {kept.name} is what is left of one" if kept.is_file() else ""
        raise StoreError(f"there is no {path.name} in {path.parent}: nothing is recorded{hint}")
    journal = path.with_name(f"{path.name}-wal")
    unwritten = journal.exists() and journal.stat().st_size
    # SQLite puts files beside one that it reads, where nobody else has, and only who may write
    # takes them away again; that is left to who wrote, where there is something in them.
    if not os.access(path.parent, os.W_OK):
        options = "mode=ro" if unwritten else "mode=ro&immutable=1"
    else:
        options = "mode=ro" if unwritten else "mode=rw"
    uri = f"{path.absolute().as_uri()}?{options}"
    db = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None)
    db.execute("PRAGMA query_only = ON")
    return db


def execute(db: sqlite3.Connection, statements: Iterable[Statement]) -> None:
    """Run statements, all or none; one that updates must find what it updates."""
    db.execute("BEGIN IMMEDIATE")
    for statement, values in statements:
        changed = db.execute(statement, values).rowcount
        if statement.startswith("UPDATE") and not changed:
            db.execute("ROLLBACK")
            raise sqlite3.IntegrityError("a trial that was begun is not in it")
    db.execute("COMMIT")


def place(path: Path) -> tuple[int, int]:
    """What tells a file from another of its name."""
    status = path.stat()
    return status.st_dev, status.st_ino


def token(path: Path, otherwise: str | None = None) -> str | None:
    """The identity of a record as somebody finds it who opens it now; ``otherwise`` if it is in
    use. Through SQLite: whoever else closes a file of it takes away the locks of this process."""
    try:
        with contextlib.closing(connect(path, reads=True)) as db:
            row = db.execute("SELECT token FROM identity").fetchone()
    except sqlite3.OperationalError as error:
        # A record of an earlier release has none.
        return None if "no such table" in str(error) else otherwise
    except (sqlite3.Error, StoreError):
        return None
    return str(row[0]) if row else None


def text(raw: bytes) -> str | bytes:
    """A text of the database; as bytes if it is none, so that whoever reads it can tell."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
