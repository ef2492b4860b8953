"""The record of a study: one SQLite file, written in whole steps.

Every trial has an id made from its settings, so the same trial is the same row whoever asks for
it. An epoch is recorded whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import re
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from saltation.errors import StoreError
from saltation.studies.engine import database
from saltation.studies.engine.rows import (
    DIVERGED,
    FAILED,
    FINISHED,
    INTERRUPTED,
    RUNNING,
    Damaged,
    Record,
    decoded,
)

__all__ = [
    "DIVERGED",
    "FAILED",
    "FINISHED",
    "INTERRUPTED",
    "RECORD",
    "RUNNING",
    "Store",
    "trial_id",
]

RECORD = "study.db"  # in the folder of a study
SCHEMA_VERSION = 1
_APPLICATION_ID = 0x53414C54  # "SALT"

_DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")

_SCHEMA = (
    """CREATE TABLE trials (
        id TEXT PRIMARY KEY,
        settings TEXT NOT NULL,
        status TEXT NOT NULL,
        reason TEXT NOT NULL DEFAULT '',
        environment TEXT NOT NULL,
        started TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
    )""",
    """CREATE TABLE epochs (
        trial TEXT NOT NULL REFERENCES trials(id) ON DELETE CASCADE,
        epoch INTEGER NOT NULL,
        metrics TEXT NOT NULL,
        PRIMARY KEY (trial, epoch)
    )""",
    # Tells this file from any other that may be put in its place.
    "CREATE TABLE identity (token TEXT NOT NULL)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


def trial_id(settings: Mapping[str, Any]) -> str:
    """12 hexadecimal digits that depend on the settings alone, not on their order."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class RecordLostError(StoreError):
    """A record that was deleted or replaced while it was written; what it held is in another."""


class Store:
    """The trials and epochs of a study.

    Parameters
    ----------
    path
        The SQLite file; made if missing.
    reads
        True to read what is there and change nothing: a missing file is then an error.

    Raises
    ------
    StoreError
        If the file is not a study's record, damaged, or of a version this release cannot read;
        from every method, if it cannot be read or written any more. What was recorded is kept.
    RecordLostError
        From what writes, if the file is not the one that was opened any more. All it held, and
        what was to be written, is then in a second file that the message names, and read from it.
    """

    def __init__(self, path: Path, *, reads: bool = False) -> None:
        self.path = path
        self._reads = reads
        self._copy: sqlite3.Connection | None = None
        if path.exists() and not path.is_file():
            raise StoreError(f"{path} cannot be opened as a study's record: it is no regular file")
        try:
            self._db = database.connect(path, reads=reads)
            self._open()
            self._place, self._token = database.place(path), None if reads else database.token(path)
            if not reads:
                # What a study needs to keep if the file is taken away from under it.
                self._copy = sqlite3.connect(":memory:", isolation_level=None)
                self._db.backup(self._copy)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{path} cannot be opened as a study's record: {error}") from error

    def _open(self) -> None:
        self._db.text_factory = database.text
        if self._reads:
            self._check_kind()
            return
        self._db.execute("PRAGMA foreign_keys = ON")
        # Looking and creating are one transaction: two processes may open a new file at once.
        self._db.execute("BEGIN IMMEDIATE")
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables:
            for statement in _SCHEMA:
                self._db.execute(statement)
            self._db.execute("INSERT INTO identity VALUES (?)", (secrets.token_hex(16),))
        self._db.execute("COMMIT")
        self._check_kind()
        # Kept in the file once set, and refused while others use it: they will have set it.
        with contextlib.suppress(sqlite3.OperationalError):
            self._db.execute("PRAGMA journal_mode = WAL")

    def _check_kind(self) -> None:
        """Refuse a file that is damaged, of somebody else, or of another version."""
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (health,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise sqlite3.DatabaseError(
                f"the file is damaged ({health}); a copy of it may be saved by sqlite3's .recover"
            )
        if application != _APPLICATION_ID:
            raise StoreError(f"{self.path} is an SQLite file, but not a study's record")
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{self.path} has schema version {version}; this release reads version "
                f"{SCHEMA_VERSION}"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was recorded is in it."""
        self._db.close()

    def status(self, trial: str) -> str | None:
        """Status of a trial, None if it is not there."""
        found = self.trials([trial])
        return found[0]["status"] if found else None

    def last_epoch(self, trial: str) -> int:
        """The last epoch of a trial that is recorded, 0 if there is none or its row is damaged."""
        found = self.trials([trial])
        return found[0]["epochs"][-1]["epoch"] if found and found[0]["epochs"] else 0

    def start(
        self, trial: str, settings: Mapping[str, Any], environment: dict[str, Any], after: int = 0
    ) -> None:
        """Begin a trial, or go on with it after an epoch, forgetting what was recorded beyond."""
        if after:
            self._write(
                ("DELETE FROM epochs WHERE trial = ? AND epoch > ?", (trial, after)),
                (
                    "UPDATE trials SET status = ?, reason = '', environment = ? WHERE id = ?",
                    (RUNNING, json.dumps(environment), trial),
                ),
            )
        else:
            self._write(
                *_forgotten(trial),
                (
                    "INSERT INTO trials (id, settings, status, environment) VALUES (?, ?, ?, ?)",
                    (trial, json.dumps(settings), RUNNING, json.dumps(environment)),
                ),
            )

    def forget(self, trial: str) -> None:
        """Take a trial out of the record."""
        self._write(*_forgotten(trial))

    def add_epoch(self, trial: str, epoch: int, metrics: dict[str, Any]) -> None:
        """Record one epoch."""
        self._write(
            (
                "INSERT INTO epochs (trial, epoch, metrics) VALUES (?, ?, ?)",
                (trial, epoch, json.dumps(metrics)),
            )
        )

    def end(self, trial: str, status: str, reason: str = "") -> None:
        """Close a trial as finished, interrupted, diverged or failed."""
        self._write(
            ("UPDATE trials SET status = ?, reason = ? WHERE id = ?", (status, reason, trial))
        )

    def trials(self, wanted: Iterable[str] | None = None) -> list[Record]:
        """The wanted trials that are there, in the order asked for; all, in the order begun.

        Those whose rows cannot be understood are left out: `damaged` names them.
        """
        return [row for row in self._rows(wanted) if not isinstance(row, Damaged)]

    def damaged(self) -> list[Damaged]:
        """The trials whose rows cannot be understood, and why."""
        return [row for row in self._rows(None) if isinstance(row, Damaged)]

    def begun(self) -> dict[str, str]:
        """When each trial was begun first, by its id: UTC, as in ``2026-03-09 21:04:59``."""
        with self._guarded():
            rows = self._db.execute("SELECT id, started FROM trials").fetchall()
        return {
            key: when
            for key, when in rows
            if isinstance(key, str) and isinstance(when, str) and _DATE.fullmatch(when)
        }

    def _rows(self, wanted: Iterable[str] | None) -> list[Record | Damaged]:
        with self._guarded():
            columns = "id, settings, status, reason, environment"
            query = f"SELECT {columns} FROM trials"
            if wanted is None:
                rows = self._db.execute(f"{query} ORDER BY rowid").fetchall()
            else:
                asked = (self._db.execute(f"{query} WHERE id = ?", (key,)) for key in wanted)
                rows = [row for one in asked for row in one.fetchall()]
            return [decoded(row, self._epochs(row[0])) for row in rows]

    def _epochs(self, trial: Any) -> list[tuple[Any, Any]]:
        return self._db.execute(
            "SELECT epoch, metrics FROM epochs WHERE trial = ? ORDER BY epoch", (trial,)
        ).fetchall()

    def _write(self, *statements: database.Statement) -> None:
        """Change the record, all or nothing, if it is still the one that was opened."""
        lost = self._what_became_of_it()
        if not lost:
            try:
                with self._guarded():
                    database.execute(self._db, statements)
            except StoreError as error:
                lost = self._what_became_of_it()
                cause = error.__cause__
                # A full disk or a lock is an operational error; a table that has gone is one too.
                gone = "no such" in str(cause) or "has no column" in str(cause)
                if not lost and isinstance(cause, sqlite3.OperationalError) and not gone:
                    raise
                lost = lost or f"changed from outside ({cause})"
        if self._copy is not None:
            database.execute(self._copy, statements)
        if lost:
            self._keep(lost)

    def _what_became_of_it(self) -> str:
        """Empty while the file at the path is the one that was opened."""
        try:
            if database.place(self.path) != self._place:
                return "replaced"
        except FileNotFoundError:
            return "deleted"
        except OSError as error:
            return f"put out of reach ({error.strerror})"
        # A file can be written over as it stands.
        return "" if database.token(self.path, self._token) == self._token else "overwritten"

    def _keep(self, lost: str) -> None:
        """Write what was recorded into a second file, and go on with that."""
        names = itertools.chain([database.KEPT], (f"study.kept-{n}.db" for n in itertools.count(2)))
        folder, message = self.path.parent, f"{self.path} was {lost} while the study ran"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            kept = next(path for path in map(folder.joinpath, names) if not os.path.lexists(path))
            with contextlib.closing(sqlite3.connect(kept)) as file:
                (self._copy or self._db).backup(file)
        except (OSError, sqlite3.Error) as error:
            raise RecordLostError(f"{message}, and could not be kept: {error}") from None
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        lost_name, self.path = self.path.name, kept
        self._db, self._place = database.connect(kept, reads=False), database.place(kept)
        self._db.text_factory = database.text
        raise RecordLostError(
            f"{message}: it was stopped. What was recorded is in {kept}; put that in the place of "
            f"{lost_name} to go on"
        )

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """An error of the database as one of ours, with nothing half written."""
        try:
            yield
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            raise StoreError(f"{self.path}: {error}. What was recorded before is kept") from error


def _forgotten(trial: str) -> list[database.Statement]:
    return [
        ("DELETE FROM epochs WHERE trial = ?", (trial,)),
        ("DELETE FROM trials WHERE id = ?", (trial,)),
    ]
