"""How every training study runs: its trials, here or in workers, each recorded as it goes.

A trial that fails or diverges is recorded with its reason and the study goes on. Trials that are
already finished in the study's folder are not run again: an interrupted study goes on, and a grown
one adds to what is there.
"""

from __future__ import annotations

import datetime
import itertools
import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import pandas as pd
import torch
from filelock import FileLock, Timeout
from rich.console import RenderableType
from torch import Tensor, nn

from saltation.errors import ConfigError, StoreError, register
from saltation.ranks import Ranks
from saltation.studies import tensorboard
from saltation.studies.attempt import Crew
from saltation.studies.checkpoints import Checkpoints
from saltation.studies.cluster import OnRay, connected
from saltation.studies.config import CONFIG, StudyConfig, as_json, resolve_device
from saltation.studies.database import KEPT
from saltation.studies.files import check_folder, write_whole
from saltation.studies.progress import BatchProgress, StudyProgress
from saltation.studies.recording import Alone, follow, record
from saltation.studies.records import Contents, contents
from saltation.studies.report import write_report
from saltation.studies.results import row
from saltation.studies.stopping import stoppable
from saltation.studies.store import DIVERGED, FINISHED, RECORD, Store, trial_id
from saltation.studies.workers import Workers
from saltation.training import EpochRecord

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
    needs: ClassVar[Mapping[str, type]] = {}
    """Metrics that every epoch of a trial must have for the study's tables and figures: names, and
    whether each is a number (float) or a list of them (list)."""
    data_parallel: ClassVar[bool] = False
    """Whether `train` trains with the other processes of ``self.ranks``."""

    def __init_subclass__(cls) -> None:
        register("study", STUDIES, cls.name, cls)

    def __init__(self, config: Config | None = None, **settings: Any) -> None:
        self.config: Config = (
            self.config_type.build(**settings) if config is None else config  # type: ignore[assignment]
        )
        self.folder = self.config.out_dir or _new_folder(self.name)
        self.ranks: Ranks | None = None

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
        progress: BatchProgress,
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
        self.config.require_memory(device)
        if self.config.tensorboard:
            tensorboard.require()
        check_folder("out_dir", self.folder)
        if (self.folder / KEPT).is_file() and not (self.folder / RECORD).exists():
            raise ConfigError(
                f"{self.folder} has no {RECORD}, and what it held is in {KEPT}: rename that to "
                f"{RECORD} to go on, or move it away to begin anew"
            )
        if self.config.devices > 1:
            if not self.data_parallel:
                raise ConfigError(
                    f"the {self.name} study trains every trial in one process: devices must be 1, "
                    f"got {self.config.devices}"
                )
            self.ranks = Ranks(device, self.config.devices, self.config.strategy)
            device = self.ranks.fabric.device
            self.folder = self.ranks.tell(self.folder)
        data = self.data(device)
        if self.ranks is not None and self.ranks.rank:
            follow(self, self.ranks, data, device)
            self.ranks.close()
            raise SystemExit(0)  # the first process has the results
        with (
            connected(self.config.ray),
            self._held(),
            stoppable() as check,
            Store(self.folder / RECORD) as store,
        ):
            try:
                self._run(store, data, device, check)
            except BaseException:
                with suppress(Exception):  # what came first is what to tell
                    self._finish(store)
                raise
            if self.ranks is not None:
                self.ranks.close()
            return self._finish(store)

    def _run(
        self, store: Store, data: Any, device: torch.device, check: Callable[[], None]
    ) -> None:
        """Run the trials that are not finished."""
        trials = self.trials()
        work = [self.work(trial) for trial in trials]
        with StudyProgress(work, self.config.epochs, show=self.config.progress) as progress:
            if self.notes():
                progress.say(self.notes())
            found = contents(self, store)
            ids = set(map(trial_id, trials))
            for row, line in zip(found.damaged, found.lines(store.path), strict=True):
                anew = row.trial in ids
                warnings.warn(f"{line}{'; it begins anew' if anew else ''}", stacklevel=4)
                if anew:
                    store.forget(row.trial)
            ended = {r["id"] for r in found.asked if r["status"] in (FINISHED, DIVERGED)}
            left = []
            for number, trial in enumerate(trials):
                if trial_id(trial) in ended:
                    progress.skip(number)
                else:
                    left.append(number)
            crew = self._crew(store, data, device, check, progress)
            record(self, crew.run(left), store, progress)

    def _finish(self, store: Store) -> pd.DataFrame:
        """Write what is made from the record; the results."""
        found = contents(self, store)
        records = found.asked
        try:
            if records:
                self.write(found)
        except OSError as error:
            raise StoreError(
                f"the report of {self.folder} was not written: {error}. The record is kept: give "
                "the same command again"
            ) from error
        return self.table(records)

    def _crew(
        self,
        store: Store,
        data: Any,
        device: torch.device,
        check: Callable[[], None],
        progress: StudyProgress,
    ) -> Crew:
        """Who runs the trials."""
        trials = self.trials()

        def recorded(number: int) -> int:
            return store.last_epoch(trial_id(trials[number]))

        if self.config.ray is not None:
            return OnRay(self, data, recorded, check)
        if self.config.workers > 1:
            return Workers(self, self.config.workers, recorded, check)
        return Alone(self, data, device, recorded, check, progress)

    def data(self, device: torch.device) -> Any:
        """What all trials share, loaded before the first; nothing unless a study says otherwise."""

    def findings(self, record: dict[str, Any]) -> dict[str, Any]:
        """Columns of a recorded trial's row beside those that all studies have."""
        return {}

    def notes(self) -> str:
        """One line to read before the study starts; empty if there is nothing to say."""
        return ""

    def resources(self, trial: Settings) -> dict[str, float]:
        """What a trial takes of a cluster's node, by the names of Ray's options."""
        on_gpu = self.config.device == "auto" or self.config.device.startswith("cuda")
        gpus = float(on_gpu and torch.cuda.is_available())
        return {"num_cpus": self.config.threads, "num_gpus": gpus}

    def work(self, trial: Settings) -> float:
        """Expected cost of a trial relative to others, for the estimate of the time left."""
        return 1.0

    def write(self, found: Contents) -> None:
        """Write ``results.csv``, ``results.json``, the study's figures and ``report.html``."""
        records = found.asked
        table = self.table(records)
        write_whole(self.folder / "results.csv", table.to_csv(index=False))
        write_whole(self.folder / "results.json", json.dumps(self.results(records), indent=1))
        self.report(records)
        write_report(self, found)

    def results(self, records: list[dict[str, Any]]) -> Any:
        """What ``results.json`` holds: the recorded trials, unless a study says otherwise."""
        return records

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
            config = self.config.model_copy(update={"out_dir": self.folder})
            write_whole(self.folder / CONFIG, as_json(self.name, config))
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

    def checkpoints(self, trial: str) -> Path:
        """Folder of the checkpoints of the trial with this id."""
        return self.folder / "checkpoints" / trial


def _new_folder(study: str) -> Path:
    """A folder in ``runs`` that is not there yet, whatever the clock says."""
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    names = itertools.chain([f"{study}-{now}"], (f"{study}-{now}-{i}" for i in itertools.count(2)))
    return next(path for path in (Path("runs") / name for name in names) if not path.exists())
