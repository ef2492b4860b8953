"""Checkpoints of a trial: what it needs to go on from an epoch as if it had never stopped."""

from __future__ import annotations

import io
import math
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from saltation.errors import DataError, StoreError
from saltation.snapshot import Snapshot
from saltation.studies.engine.files import remove, write_whole
from saltation.studies.engine.fingerprint import fingerprint, not_finite

BEST = "best.pt"
# What the best checkpoint is the best on.
VALIDATION, TEST = "validation split", "test set"
_NAME = re.compile(r"epoch-(\d+)\.pt")
# How much larger than its file a checkpoint may get when it is read: a tensor can be one stored
# number shown a billion times.
_GROWTH, _SMALL = 16, 1 << 26


class Checkpoints:
    """The checkpoints of one trial: of the last two epochs, and of the best.

    Parameters
    ----------
    folder
        Where they are; made when the first is written.
    recorded
        The last epoch in the study's record: checkpoints beyond it are of epochs that nobody has
        heard of, and are not used.
    best_on
        The part of the data that the scores are on: the validation split or the test set.
    writes
        False for one of several processes that train together: one of them writes for all.

    Attributes
    ----------
    epoch
        The epoch after which the trial can go on, the newest whose checkpoint can be read; 0 if
        there is none. One that cannot be read is passed over with a warning.
    """

    def __init__(
        self, folder: Path, recorded: int, *, best_on: str = TEST, writes: bool = True
    ) -> None:
        self.folder = folder
        self._writes, self._best_on = writes, best_on
        self.epoch = 0
        self._snapshot: Snapshot | None = None
        self._best = float("-inf")
        for epoch in sorted(epochs(folder), reverse=True):
            if epoch > recorded:
                continue
            try:
                saved = read(self.path(epoch))
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
        content: dict[str, Any] = {"epoch": epoch, "trial": self.folder.name}
        content |= {"best": self._best, "best_on": self._best_on}
        content |= {"snapshot": snapshot, "not_finite": not_finite(snapshot)}
        buffer = io.BytesIO()
        torch.save(content | {"fingerprint": fingerprint(content)}, buffer)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.path(epoch), buffer.getvalue())
            if score > best:
                write_whole(self.folder / BEST, buffer.getvalue())
        except OSError as error:
            raise StoreError(f"the checkpoint of epoch {epoch} was not written: {error}") from error
        for old in epochs(self.folder):
            if old not in (epoch, epoch - 1):
                remove(self.path(old))

    def path(self, epoch: int) -> Path:
        """The file of an epoch."""
        return self.folder / f"epoch-{epoch:05d}.pt"


def keep_last(folder: Path) -> None:
    """Of a finished trial only the last checkpoint is kept, beside the best."""
    for epoch in sorted(epochs(folder))[:-1]:
        remove(folder / f"epoch-{epoch:05d}.pt")


def epochs(folder: Path) -> list[int]:
    """Epochs that have a checkpoint in ``folder``, read or not: regular files alone are."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.glob("epoch-*.pt"))
    numbers = {int(match[1]) for match, path in found if match and path.is_file()}
    return [n for n in numbers if (folder / f"epoch-{n:05d}.pt").is_file()]


def read(path: Path) -> dict[str, Any]:
    """What is in a checkpoint: ``epoch``, ``snapshot``, ``best``, the best score until then, and
    ``best_on``, what part of the data that is a score on.

    Only tensors and plain values are loaded from it, whatever else it may hold, and only if they
    are what was written: the file has a fingerprint of them, of its trial and of its epoch.

    Raises
    ------
    DataError
        If it is damaged or changed, of another trial or epoch, or not a checkpoint.
    """
    if not path.is_file():
        raise DataError(f"{path} cannot be read as a checkpoint: it is not a regular file")
    try:
        _check_size(path)
        saved: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in as many ways as there are parts in it
        raise DataError(f"{path} cannot be read as a checkpoint: {_reason(error)}") from error
    if not isinstance(saved, dict) or not {"epoch", "snapshot", "best"} <= saved.keys():
        raise DataError(f"{path} is not a checkpoint of a study")
    if wrong := _wrong(path, saved):
        raise DataError(f"{path} cannot be read as a checkpoint: {wrong}")
    found: dict[str, Any] = {"best_on": TEST} | saved
    return found


def _check_size(path: Path) -> None:
    """Refuse, before anything is unpacked, a file that holds more than its size."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as file:
        parts = file.infolist()
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ValueError("its parts are compressed, which those of a checkpoint are not")
    if sum(part.file_size for part in parts) > size:
        raise ValueError("its parts are larger than the file")


def _reason(error: Exception) -> str:
    """Why a file was not loaded, in a line that gives no advice to load it all the same."""
    text = str(error)
    if "weights_only" in text or "weights only" in text.lower():
        culprit = re.search(r"GLOBAL ([\w.]+)|Unsupported (?:operand|class) ([\w.]+)", text)
        named = f" ({culprit[1] or culprit[2]})" if culprit else ""
        return f"it holds more than tensors and plain values{named}, and nothing of it was loaded"
    return (text.splitlines() or [type(error).__name__])[0]


def _wrong(path: Path, saved: dict[str, Any]) -> str:
    """What is wrong inside a checkpoint; empty if nothing is."""
    epoch, best, snapshot = saved["epoch"], saved["best"], saved["snapshot"]
    if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 1:
        return f"its epoch is {_shown(epoch)}"
    named = _NAME.fullmatch(path.name)
    if named and int(named[1]) != epoch:
        return f"it is of epoch {epoch}"
    if isinstance(best, bool) or not isinstance(best, int | float) or math.isnan(best):
        return f"its best score is {_shown(best)}"
    if not isinstance(snapshot, dict):
        return f"its snapshot is {_shown(snapshot)}"
    if "trial" in saved and saved["trial"] != path.resolve().parent.name:
        return f"it is of the trial {_shown(saved['trial'])}"
    room = max(_SMALL, _GROWTH * path.stat().st_size)
    try:
        content = {name: value for name, value in saved.items() if name != "fingerprint"}
        found = fingerprint(content, room)
        # Files of earlier releases have neither; of theirs the network must be finite.
        allowed = saved.get("not_finite", [*snapshot.keys() - {"network"}])
        strange = [name for name in not_finite(snapshot) if name not in allowed]
    except (TypeError, ValueError, RecursionError, RuntimeError) as error:
        return str(error)
    if strange:
        return f"its {', '.join(strange)} has values that are not finite"
    if saved.get("fingerprint", found) != found:
        return "its content is not what was written"
    return ""


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, int | float | str) else type(value).__name__
    return text if len(text) < 50 else f"{text[:50]}..."
