"""What a study says: its trials, how each is trained, and what is made of the results."""

from __future__ import annotations

import datetime
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple

import pandas as pd
import torch
from rich.console import RenderableType
from torch import Tensor, nn
from typing_extensions import TypeVar

from saltation.ranks import Ranks
from saltation.studies.engine.checkpoints import Checkpoints
from saltation.studies.engine.config import SharedSettings, StudyConfig
from saltation.studies.engine.progress import BatchProgress
from saltation.studies.engine.results import NUMBERS, row
from saltation.studies.engine.rows import Record
from saltation.training import EpochRecord

Config = TypeVar("Config", bound=StudyConfig)


class TrialSettings(SharedSettings):
    """What trials of all studies have; a study's own say the rest."""

    seed: int


Trial = TypeVar("Trial", bound=Mapping[str, Any], default=Any)


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


class Specification(ABC, Generic[Config, Trial]):
    """What a study says: its config, its trials, and what is made of their results.

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
    question: ClassVar[str] = ""
    """What the study is there to answer, in a sentence; it heads the report."""
    config_type: ClassVar[type[StudyConfig]]
    needs: ClassVar[Mapping[str, type]] = {}
    """Metrics that every epoch of a trial must have for the study's tables and figures: names, and
    whether each is a number (float) or a list of them (list)."""
    data_parallel: ClassVar[bool] = False
    """Whether `train` trains with the other processes of ``self.ranks``."""

    def __init__(self, config: Config | None = None, **settings: Any) -> None:
        self.config: Config = (
            self.config_type.build(**settings) if config is None else config  # type: ignore[assignment]
        )
        self.folder = self.config.out_dir or _new_folder(self.name)
        self.ranks: Ranks | None = None

    @abstractmethod
    def trials(self) -> list[Trial]:
        """Settings of every trial, in order: plain values that together fix its result."""

    @abstractmethod
    def network(self, trial: Trial, data: Any) -> nn.Module:
        """The network of a trial, with the weights that torch's generator gives now."""

    @abstractmethod
    def probe(self, trial: Trial, data: Any, samples: int, device: torch.device) -> Probe:
        """The first test samples as the network takes them."""

    @abstractmethod
    def train(
        self,
        trial: Trial,
        data: Any,
        device: torch.device,
        progress: BatchProgress,
        checkpoints: Checkpoints,
    ) -> Iterator[EpochRecord]:
        """Run a trial with what `data` gave, yielding its epochs; 0 is the one before training.

        The first is that after ``checkpoints.epoch``.
        """

    @abstractmethod
    def label(self, trial: Trial) -> str:
        """A trial in a few words."""

    @abstractmethod
    def kernels(self, trial: Trial, device: torch.device) -> str:
        """Which time loop runs a trial's neurons, and why where it is not the first choice."""

    @abstractmethod
    def report(self, records: list[Record]) -> None:
        """Draw the recorded trials into the folder."""

    @abstractmethod
    def tables(self, results: pd.DataFrame) -> RenderableType:
        """What `run` returned, for the terminal."""

    def data(self, device: torch.device) -> Any:
        """What all trials share, loaded before the first; nothing unless a study says otherwise."""

    def findings(self, record: Record) -> dict[str, Any]:
        """Columns of a recorded trial's row beside those that all studies have."""
        return {}

    def verdict(self, results: pd.DataFrame) -> list[str]:
        """What the results say to the question, in plain sentences; none unless a study says."""
        return []

    def notes(self) -> str:
        """One line to read before the study starts; empty if there is nothing to say."""
        return ""

    def resources(self, trial: Trial) -> dict[str, float]:
        """What a trial takes of a cluster's node, by the names of Ray's options."""
        on_gpu = self.config.device == "auto" or self.config.device.startswith("cuda")
        gpus = float(on_gpu and torch.cuda.is_available())
        return {"num_cpus": self.config.threads, "num_gpus": gpus}

    def work(self, trial: Trial) -> float:
        """Expected cost of a trial relative to others, for the estimate of the time left."""
        return 1.0

    def checkpoints(self, trial: str) -> Path:
        """Folder of the checkpoints of the trial with this id."""
        return self.folder / "checkpoints" / trial

    def results(self, records: list[Record]) -> Any:
        """What ``results.json`` holds: the recorded trials, unless a study says otherwise."""
        return records

    def table(self, records: list[Record]) -> pd.DataFrame:
        """A row per recorded trial, as ``results.csv`` has them."""
        table = pd.DataFrame([row(record) | self.findings(record) for record in records])
        # Trials that all failed at once have no number, and tables and figures ask for some.
        missing = [name for name in (*NUMBERS, *self.needs) if name not in table]
        return table.assign(**dict.fromkeys(missing, math.nan)) if len(table) else table


def _new_folder(study: str) -> Path:
    """A folder in ``runs`` that is not there yet, whatever the clock says."""
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    names = itertools.chain([f"{study}-{now}"], (f"{study}-{now}-{i}" for i in itertools.count(2)))
    return next(path for path in (Path("runs") / name for name in names) if not path.exists())
