"""One attempt at a trial, as the events that the study's record is made of.

The same attempt runs here, in a worker process or on a cluster; who runs it passes its events on,
and only the study writes them down.
"""

from __future__ import annotations

import functools
import math
import platform
import subprocess
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

import saltation
from saltation.errors import StabilityWarning, StoreError
from saltation.snapshot import UnfitSnapshotError
from saltation.studies.engine.checkpoints import TEST, VALIDATION, Checkpoints
from saltation.studies.engine.specification import Specification
from saltation.studies.engine.store import DIVERGED, FAILED, FINISHED, trial_id
from saltation.studies.engine.tensorboard import Board
from saltation.training import Diverged, EpochRecord

if TYPE_CHECKING:
    from saltation.studies.engine.progress import BatchProgress


@dataclass(frozen=True)
class Begun:
    """The attempt goes on after an epoch (0: from the beginning), in an environment."""

    after: int
    environment: dict[str, Any]


@dataclass(frozen=True)
class Epoch:
    """An epoch came to its end; if it is to go on from it, its checkpoint is written."""

    number: int
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """The attempt came to its end: finished, diverged or failed, and why. One that failed may not
    have begun."""

    status: str
    reason: str = ""


@dataclass(frozen=True)
class Lost:
    """Who ran the attempt is gone, and why; another will be made."""

    reason: str


Event = Begun | Epoch | Ended | Lost


class Crew(Protocol):
    """Who runs trials."""

    def run(self, numbers: Iterable[int]) -> Generator[tuple[int, Event]]:
        """Run the trials of these numbers, in any order, yielding what happens in each.

        An event is recorded before the next is asked for.
        """


def attempt(
    study: Specification[Any],
    number: int,
    data: Any,
    device: torch.device,
    recorded: int,
    progress: BatchProgress,
) -> Iterator[Event]:
    """Run a trial, on from its last checkpoint that is of a ``recorded`` epoch, on as many threads
    as the study says: its bits may depend on their number.

    Raises
    ------
    StoreError
        If a checkpoint cannot be written; other errors end the trial, not the study.
    KeyboardInterrupt
        If ``progress`` raises it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(study.config.threads)
    try:
        yield from _attempt(study, study.trials()[number], data, device, recorded, progress)
    finally:
        torch.set_num_threads(before)


def _attempt(
    study: Specification[Any],
    trial: Mapping[str, Any],
    data: Any,
    device: torch.device,
    recorded: int,
    progress: BatchProgress,
) -> Iterator[Event]:
    """A trial, begun again from the checkpoint before where one does not fit."""
    folder = study.checkpoints(trial_id(trial))
    writes = study.ranks is None or not study.ranks.rank
    try:
        kernel = {"kernel": study.kernels(trial, device)}
    except Exception as error:
        yield Ended(FAILED, f"{type(error).__name__}: {error}")
        return
    while True:
        best_on = VALIDATION if trial.get("validation") else TEST
        checkpoints = Checkpoints(folder, recorded, writes=writes, best_on=best_on)
        yield Begun(checkpoints.epoch, environment(device) | kernel)
        try:
            yield from _epochs(study, trial, data, device, progress, checkpoints, writes)
        except UnfitSnapshotError as error:
            # Only who trains knows what a snapshot must hold.
            path = checkpoints.path(checkpoints.epoch)
            warnings.warn(f"{path}: {error}; going back to the one before", stacklevel=2)
            recorded = checkpoints.epoch - 1
            continue
        except Diverged as error:
            yield Ended(DIVERGED, str(error))
        except StoreError:
            raise  # no other trial could be recorded either
        except Exception as error:  # a failed trial must not end a night's study
            yield Ended(FAILED, f"{type(error).__name__}: {error}")
        else:
            yield Ended(FINISHED)
        return


def _epochs(
    study: Specification[Any],
    trial: Mapping[str, Any],
    data: Any,
    device: torch.device,
    progress: BatchProgress,
    checkpoints: Checkpoints,
    writes: bool,
) -> Iterator[Epoch]:
    """The epochs of a trial as it goes on from its checkpoint."""
    board = None
    try:
        if study.config.tensorboard and writes:
            name = f"{study.label(trial)} {trial_id(trial)}"
            board = Board(study.folder / "tensorboard", name, checkpoints.epoch)
        with warnings.catch_warnings():
            # The tables mark unstable steps; a warning per trial would bury the progress.
            warnings.simplefilter("ignore", StabilityWarning)
            for record in study.train(trial, data, device, progress, checkpoints):
                found = metrics(record)
                if board:
                    board.add(record, found)
                yield Epoch(record.epoch, found)
    finally:
        if board:
            board.close()


def metrics(record: EpochRecord) -> dict[str, Any]:
    """An epoch as the names of the tables; accuracies in percent, None where not finite."""
    values = {
        "epoch": record.epoch,
        "train_loss": record.train.loss,
        "train_accuracy": record.train.accuracy,
        "test_loss": record.test.loss,
        "test_accuracy": record.test.accuracy,
        "mean_spike_rate": record.spikes.mean_spike_rate,
        "silent_fraction": record.spikes.silent_fraction,
        "active_fraction": record.spikes.active_fraction,
        "dead_fraction": record.spikes.dead_fraction,
        "gradient_norm": record.gradient_norm,
        "lr": record.lr,
        "seconds": record.seconds,
        **record.found,
    }
    if record.validation is not None:
        values["validation_loss"] = record.validation.loss
        values["validation_accuracy"] = record.validation.accuracy
    return {name: _finite(value) for name, value in values.items()}


def _finite(value: Any) -> Any:
    """None in place of numbers that are not finite, for JSON has none such."""
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return value if math.isfinite(value) else None


def environment(device: torch.device) -> dict[str, Any]:
    """What a result may depend on beside its settings."""
    return {
        "saltation": saltation.__version__,
        **_commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
    }


@functools.cache
def _commit() -> dict[str, str]:
    """The package's commit where it runs from a checkout, and whether files differ from it."""
    root = Path(saltation.__file__).parents[1]
    if not (root / ".git").exists():
        return {}
    words = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": done.stdout.strip()} if done.returncode == 0 else {}
