"""Checkpoints of a trial: what it needs to go on from an epoch as if it had never stopped."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from saltation.errors import DataError, StoreError
from saltation.snapshot import Snapshot
from saltation.studies.files import write_whole

_NAME = re.compile(r"epoch-(\d+)\.pt")


class Checkpoints:
    """The checkpoints of one trial: of the last two epochs, and of the best.

    Parameters
    ----------
    folder
        Where they are; made when the first is written.
    recorded
        The last epoch in the study's record: checkpoints beyond it are of epochs that nobody has
        heard of, and are not used.
    writes
        False for one of several processes that train together: one of them writes for all.

    Attributes
    ----------
    epoch
        The epoch after which the trial can go on, the newest whose checkpoint can be read; 0 if
        there is none. One that cannot be read is passed over with a warning.
    """

    def __init__(self, folder: Path, recorded: int, *, writes: bool = True) -> None:
        self.folder = folder
        self._writes = writes
        self.epoch = 0
        self._snapshot: Snapshot | None = None
        self._best = float("-inf")
        for epoch in sorted(epochs(folder), reverse=True):
            if epoch > recorded:
                continue
            try:
                saved = read(self._path(epoch))
            except DataError as error:
                warnings.warn(f"{error}; going back to the one before", stacklevel=2)
                continue
            self.epoch, self._snapshot, self._best = epoch, saved["snapshot"], saved["best"]
            break

    def load(self) -> Snapshot:
        """The snapshot after `epoch`.

        Raises
        ------
        DataError
            If there is none.
        """
        if self._snapshot is None:
            raise DataError(f"{self.folder} has no checkpoint to go on from")
        return self._snapshot

    def save(self, epoch: int, snapshot: Snapshot, score: float) -> None:
        """Write the checkpoint of an epoch, as the best too if its ``score`` is the largest.

        Raises
        ------
        StoreError
            If the folder cannot be written; the checkpoints before it are kept.
        """
        if not self._writes:
            return
        best, self._best = self._best, max(self._best, score)
        buffer = io.BytesIO()
        torch.save({"epoch": epoch, "snapshot": snapshot, "best": self._best}, buffer)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._path(epoch), buffer.getvalue())
            if score > best:
                write_whole(self.folder / "best.pt", buffer.getvalue())
        except OSError as error:
            raise StoreError(f"the checkpoint of epoch {epoch} was not written: {error}") from error
        for old in epochs(self.folder):
            if old not in (epoch, epoch - 1):
                self._path(old).unlink(missing_ok=True)

    def _path(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:05d}.pt"


def keep_last(folder: Path) -> None:
    """Of a finished trial only the last checkpoint is kept, beside the best."""
    for path in sorted(folder.glob("epoch-*.pt"))[:-1]:
        path.unlink(missing_ok=True)


def epochs(folder: Path) -> list[int]:
    """Epochs that have a checkpoint in ``folder``, read or not."""
    found = (_NAME.fullmatch(path.name) for path in folder.glob("epoch-*.pt"))
    return [int(match[1]) for match in found if match]


def read(path: Path) -> dict[str, Any]:
    """What is in a checkpoint: ``epoch``, ``snapshot`` and ``best``, the best score until then.

    Only tensors and plain values are loaded from it, whatever else it may hold.

    Raises
    ------
    DataError
        If it is damaged or not a checkpoint.
    """
    try:
        saved: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in as many ways as there are parts in it
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path} cannot be read as a checkpoint: {reason}") from error
    if not isinstance(saved, dict) or not {"epoch", "snapshot", "best"} <= saved.keys():
        raise DataError(f"{path} is not a checkpoint of a study")
    found: dict[str, Any] = saved
    return found
