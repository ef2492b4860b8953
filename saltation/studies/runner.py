"""How every training study runs: trials one after another, each recorded as it goes.

A trial that fails or diverges is recorded with its reason and the study goes on. Trials that are
already finished in the study's folder are not run again: an interrupted study goes on, and a grown
one adds to what is there.
"""

from __future__ import annotations

import datetime
import json
import math
import platform
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import pandas as pd
import torch
from filelock import FileLock, Timeout
from rich.console import RenderableType
from torch import Tensor, nn

import saltation
from saltation.errors import ConfigError, StabilityWarning, StoreError
from saltation.studies import tensorboard
from saltation.studies.checkpoints import Checkpoints
from saltation.studies.config import CONFIG, StudyConfig, as_json, resolve_device
from saltation.studies.files import write_whole
from saltation.studies.progress import StudyProgress, duration
from saltation.studies.report import write_report
from saltation.studies.stopping import stoppable
from saltation.studies.store import (
    DIVERGED,
    FAILED,
    FINISHED,
    INTERRUPTED,
    RECORD,
    Store,
    trial_id,
)
from saltation.training import Diverged, EpochRecord

STUDIES: dict[str, type[Study[Any]]] = {}

Config = TypeVar("Config", bound=StudyConfig)
Settings = dict[str, Any]


class Probe(NamedTuple):
    """Some test samples of a trial.

    Attributes
    ----------
    x
        What the network is given, ``[T, B, ...]``.
    y
        Labels ``[B]``.
    loss
        ``(output, y) -> scalar``; None for the cross-entropy of the output as it is.
    """

    x: Tensor
    y: Tensor
    loss: Callable[[Any, Tensor], Tensor] | None = None


class Study(ABC, Generic[Config]):
    """Base of the studies: a config, its trials, and the folder of their results.

    Parameters
    ----------
    config
        The study's config; or give its fields as keywords.

    Raises
    ------
    ConfigError
        If a setting cannot be run, before anything is.
    """

    name: ClassVar[str]
    config_type: ClassVar[type[StudyConfig]]

    def __init_subclass__(cls) -> None:
        STUDIES[cls.name] = cls

    def __init__(self, config: Config | None = None, **settings: Any) -> None:
        self.config: Config = (
            self.config_type.build(**settings) if config is None else config  # type: ignore[assignment]
        )
        now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        self.folder = self.config.out_dir or Path("runs") / f"{self.name}-{now}"

    @abstractmethod
    def trials(self) -> list[Settings]:
        """Settings of every trial, in order: plain values that together fix its result."""

    @abstractmethod
    def network(self, trial: Settings, data: Any) -> nn.Module:
        """The network of a trial, with the weights that torch's generator gives now."""

    @abstractmethod
    def probe(self, trial: Settings, data: Any, samples: int, device: torch.device) -> Probe:
        """The first test samples as the network takes them."""

    @abstractmethod
    def train(
        self,
        trial: Settings,
        data: Any,
        device: torch.device,
        progress: StudyProgress,
        checkpoints: Checkpoints,
    ) -> Iterator[EpochRecord]:
        """Run a trial with what `data` gave, yielding its epochs; 0 is the one before training.

        The first is that after ``checkpoints.epoch``.
        """

    @abstractmethod
    def label(self, trial: Settings) -> str:
        """A trial in a few words."""

    @abstractmethod
    def kernels(self, trial: Settings, device: torch.device) -> str:
        """Which time loop runs a trial's neurons, and why where it is not the first choice."""

    @abstractmethod
    def report(self, records: list[dict[str, Any]]) -> None:
        """Draw the recorded trials into the folder."""

    @abstractmethod
    def tables(self, results: pd.DataFrame) -> RenderableType:
        """What `run` returned, for the terminal."""

    def run(self) -> pd.DataFrame:
        """Run the trials that are not finished yet, write the folder, and return the results.

        A trial that was stopped goes on from the last epoch that was recorded.

        Returns
        -------
        DataFrame with one row per trial, as in ``results.csv``.

        Raises
        ------
        SaltationError
            If the data set or the folder cannot be used, before the first trial.
        KeyboardInterrupt
            On Ctrl-C or SIGTERM, after the step it was in, and after what is recorded has been
            written; on a second one at once.
        """
        device = resolve_device(self.config.device)
        if self.config.tensorboard:
            tensorboard.require()
        data = self.data(device)
        with self._held(), stoppable() as check:
            store = Store(self.folder / RECORD)
            try:
                with StudyProgress(
                    [self.work(trial) for trial in self.trials()],
                    self.config.epochs,
                    show=self.config.progress,
                    check=check,
                ) as progress:
                    if self.notes():
                        progress.say(self.notes())
                    for number, trial in enumerate(self.trials()):
                        if store.status(trial_id(trial)) in (FINISHED, DIVERGED):
                            progress.skip(number)
                            continue
                        check()
                        progress.trial(number, self.label(trial))
                        progress.done(self._run_trial(trial, data, device, store, progress))
            finally:
                records = store.trials(trial_id(trial) for trial in self.trials())
                if records:
                    self.write(records)
                store.close()
        return self.table(records)

    def data(self, device: torch.device) -> Any:
        """What all trials share, loaded before the first; nothing unless a study says otherwise."""

    def findings(self, record: dict[str, Any]) -> dict[str, Any]:
        """Columns of a recorded trial's row beside those that all studies have."""
        return {}

    def notes(self) -> str:
        """One line to read before the study starts; empty if there is nothing to say."""
        return ""

    def work(self, trial: Settings) -> float:
        """Expected cost of a trial relative to others, for the estimate of the time left."""
        return 1.0

    def write(self, records: list[dict[str, Any]]) -> None:
        """Write ``results.csv``, ``results.json``, the study's figures and ``report.html``."""
        table = self.table(records)
        write_whole(self.folder / "results.csv", table.to_csv(index=False))
        write_whole(self.folder / "results.json", json.dumps(records, indent=1))
        self.report(records)
        write_report(self)

    def table(self, records: list[dict[str, Any]]) -> pd.DataFrame:
        """A row per recorded trial, as ``results.csv`` has them."""
        return pd.DataFrame([row(record) | self.findings(record) for record in records])

    @contextmanager
    def _held(self) -> Iterator[None]:
        """The study's folder, with its config in it, for us alone."""
        lock = FileLock(self.folder / ".lock", timeout=0)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            write_whole(self.folder / CONFIG, as_json(self.name, self.config))
        except Timeout:
            raise ConfigError(
                f"another process is running the study in {self.folder}; wait for it, or give "
                "another --out-dir"
            ) from None
        except OSError as error:
            lock.release()
            raise ConfigError(f"out_dir '{self.folder}' cannot be written: {error}") from None
        try:
            yield
        finally:
            lock.release()

    def _run_trial(
        self,
        trial: Settings,
        data: Any,
        device: torch.device,
        store: Store,
        progress: StudyProgress,
    ) -> str:
        """Run and record one trial; its outcome in a line."""
        key = trial_id(trial)
        checkpoints = Checkpoints(self.folder / "checkpoints" / key, store.last_epoch(key))
        kernel = {"kernel": self.kernels(trial, device)}
        store.start(key, trial, environment(device) | kernel, after=checkpoints.epoch)
        seconds, last = 0.0, None
        board = self._board(trial, checkpoints.epoch) if self.config.tensorboard else None
        try:
            with warnings.catch_warnings():
                # The tables mark unstable steps; a warning per trial would bury the progress.
                warnings.simplefilter("ignore", StabilityWarning)
                for last in self.train(trial, data, device, progress, checkpoints):
                    found = metrics(last)
                    store.add_epoch(key, last.epoch, found)
                    if board:
                        board.add(last, found)
                    seconds += last.seconds
                    progress.epoch(last.epoch, f"test {last.test.accuracy:.2f} %")
        except Diverged as error:
            store.end(key, DIVERGED, str(error))
            return f"diverged: {error}"
        except KeyboardInterrupt:
            store.end(key, INTERRUPTED)
            raise
        except StoreError:
            raise  # no other trial could be recorded either
        except Exception as error:  # a failed trial must not end a night's study
            reason = f"{type(error).__name__}: {error}"
            store.end(key, FAILED, reason)
            return f"failed: {reason}"
        finally:
            if board:
                board.close()
        store.end(key, FINISHED)
        checkpoints.finish()
        accuracy = last.test.accuracy if last else float("nan")
        return f"test {accuracy:.2f} % in {duration(seconds)}"

    def _board(self, trial: Settings, after: int) -> tensorboard.Board:
        name = f"{self.label(trial)} {trial_id(trial)}"
        return tensorboard.Board(self.folder / "tensorboard" / name.replace("/", "-"), after)


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
    } | record.found
    return {name: _finite(value) for name, value in values.items()}


def _finite(value: Any) -> Any:
    """None in place of numbers that are not finite, for JSON has none such."""
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return value if math.isfinite(value) else None


def row(record: dict[str, Any]) -> dict[str, Any]:
    """A trial's settings, the numbers of its last epoch, seconds of all, its status."""
    # Tables of trials that all failed at once have this column too.
    last = record["epochs"][-1] if record["epochs"] else {"test_accuracy": math.nan}
    settings: dict[str, Any] = record["settings"]
    return (
        settings
        | {k: v for k, v in last.items() if k != "epoch" and not isinstance(v, list)}
        | {
            "epochs_run": sum(e["epoch"] > 0 for e in record["epochs"]),
            "seconds": sum(e["seconds"] for e in record["epochs"]),
            "status": record["status"],
            "reason": record["reason"],
            "kernel": record["environment"]["kernel"],
        }
    )


def environment(device: torch.device) -> dict[str, Any]:
    """What a result may depend on beside its settings."""
    return {
        "saltation": saltation.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
    }
