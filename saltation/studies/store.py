"""The record of a study: one SQLite file, written in whole steps.

Every trial has an id made from its settings, so the same trial is the same row whoever asks for
it. An epoch is recorded whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from saltation.errors import StoreError

RECORD = "study.db"  # in the folder of a study
SCHEMA_VERSION = 1
_APPLICATION_ID = 0x53414C54  # "SALT"

FINISHED, RUNNING, INTERRUPTED = "finished", "running", "interrupted"
DIVERGED, FAILED = "diverged", "failed"

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
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


def trial_id(settings: dict[str, Any]) -> str:
    """12 hexadecimal digits that depend on the settings alone, not on their order."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Store:
    """The trials and epochs of a study.

    Parameters
    ----------
    path
        The SQLite file; made if missing.

    Raises
    ------
    StoreError
        If the file is not a study's record, damaged, or of a version this release cannot read;
        from every method, if it cannot be read or written any more. What was recorded is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # Autocommit: each statement below is a transaction, or opens one by itself.
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._open()
        except sqlite3.Error as error:
            raise StoreError(f"{path} cannot be opened as a study's record: {error}") from error

    def _open(self) -> None:
        self._db.execute("PRAGMA foreign_keys = ON")
        # Looking and creating are one transaction: two processes may open a new file at once.
        self._db.execute("BEGIN IMMEDIATE")
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables:
            for statement in _SCHEMA:
                self._db.execute(statement)
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        self._db.execute("COMMIT")
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
        # Kept in the file once set, and refused while others use it: they will have set it.
        with contextlib.suppress(sqlite3.OperationalError):
            self._db.execute("PRAGMA journal_mode = WAL")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was recorded is in it."""
        self._db.close()

    def status(self, trial: str) -> str | None:
        """Status of a trial, None if it is not there."""
        with self._guarded():
            row = self._db.execute("SELECT status FROM trials WHERE id = ?", (trial,)).fetchone()
        return row[0] if row else None

    def last_epoch(self, trial: str) -> int:
        """The last epoch of a trial that is recorded, 0 if there is none."""
        with self._guarded():
            row = self._db.execute("SELECT max(epoch) FROM epochs WHERE trial = ?", (trial,))
            (last,) = row.fetchone()
        return last or 0

    def start(
        self, trial: str, settings: dict[str, Any], environment: dict[str, Any], after: int = 0
    ) -> None:
        """Begin a trial, or go on with it after an epoch, forgetting what was recorded beyond."""
        with self._guarded():
            self._db.execute("BEGIN IMMEDIATE")
            if after:
                self._db.execute("DELETE FROM epochs WHERE trial = ? AND epoch > ?", (trial, after))
                self._db.execute(
                    "UPDATE trials SET status = ?, reason = '', environment = ? WHERE id = ?",
                    (RUNNING, json.dumps(environment), trial),
                )
            else:
                self._db.execute("DELETE FROM trials WHERE id = ?", (trial,))
                self._db.execute(
                    "INSERT INTO trials (id, settings, status, environment) VALUES (?, ?, ?, ?)",
                    (trial, json.dumps(settings), RUNNING, json.dumps(environment)),
                )
            self._db.execute("COMMIT")

    def add_epoch(self, trial: str, epoch: int, metrics: dict[str, Any]) -> None:
        """Record one epoch."""
        with self._guarded():
            self._db.execute(
                "INSERT INTO epochs (trial, epoch, metrics) VALUES (?, ?, ?)",
                (trial, epoch, json.dumps(metrics)),
            )

    def end(self, trial: str, status: str, reason: str = "") -> None:
        """Close a trial as finished, interrupted, diverged or failed."""
        with self._guarded():
            self._db.execute(
                "UPDATE trials SET status = ?, reason = ? WHERE id = ?", (status, reason, trial)
            )

    def trials(self, wanted: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """The wanted trials that are there, in the order asked for; all, in the order begun.

        Each is a dict of id, settings, status, reason, environment and epochs, a list of metrics.
        """
        with self._guarded():
            if wanted is None:
                rows = self._db.execute("SELECT id FROM trials ORDER BY rowid").fetchall()
                wanted = [trial for (trial,) in rows]
            found = (self._trial(trial) for trial in wanted)
            return [trial for trial in found if trial is not None]

    def _trial(self, trial: str) -> dict[str, Any] | None:
        row = self._db.execute(
            "SELECT settings, status, reason, environment FROM trials WHERE id = ?", (trial,)
        ).fetchone()
        if row is None:
            return None
        epochs = self._db.execute(
            "SELECT metrics FROM epochs WHERE trial = ? ORDER BY epoch", (trial,)
        ).fetchall()
        return {
            "id": trial,
            "settings": json.loads(row[0]),
            "status": row[1],
            "reason": row[2],
            "environment": json.loads(row[3]),
            "epochs": [json.loads(metrics) for (metrics,) in epochs],
        }

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
