"""How every training study is run: its trials, here or in workers, each recorded as it goes.

A trial that fails or diverges is recorded with its reason and the study goes on. Trials that are
already finished in the study's folder are not run again: an interrupted study goes on, and a grown
one adds to what is there.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pandas as pd
import torch
from filelock import Timeout

from saltation.errors import ConfigError, StoreError, register
from saltation.ranks import Ranks
from saltation.studies.engine import tensorboard
from saltation.studies.engine.attempt import Crew
from saltation.studies.engine.cluster import OnRay, connected
from saltation.studies.engine.config import CONFIG, as_json, resolve_device
from saltation.studies.engine.database import KEPT
from saltation.studies.engine.files import check_folder, write_whole
from saltation.studies.engine.inputs import keep
from saltation.studies.engine.lock import lock_of
from saltation.studies.engine.progress import StudyProgress
from saltation.studies.engine.recording import Alone, follow, record
from saltation.studies.engine.records import Contents, contents
from saltation.studies.engine.specification import Config, Specification, Trial
from saltation.studies.engine.stopping import stoppable
from saltation.studies.engine.store import DIVERGED, FINISHED, RECORD, Store, trial_id
from saltation.studies.engine.workers import Workers
from saltation.studies.report import write_report
from saltation.studies.report.cell import cell

STUDIES: dict[str, type[Study[Any]]] = {}


class Study(Specification[Config, Trial]):
    """A study that can be run, on from where its folder is. The base of all studies.

    Parameters
    ----------
    config
        The study's config; or give its fields as keywords.

    Raises
    ------
    ConfigError
        If a setting cannot be run, before anything is.
    """

    def __init_subclass__(cls) -> None:
        register("study", STUDIES, cls.name, cls)

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

    def write(self, found: Contents) -> None:
        """Write ``results.csv``, ``results.json``, the study's figures and ``report.html``."""
        records = found.asked
        table = self.table(records)
        write_whole(self.folder / "results.csv", table.to_csv(index=False))
        write_whole(self.folder / "results.json", json.dumps(self.results(records), indent=1))
        self.report(records)
        write_report(self, found)

    def _repr_html_(self) -> str:
        """How far it is, what came out, and its figures, in a notebook."""
        return cell(self)

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

    @contextmanager
    def _held(self) -> Iterator[None]:
        """The study's folder, with its config in it, for us alone."""
        lock = lock_of(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            config = self.config.model_copy(update={"out_dir": self.folder})
            write_whole(self.folder / CONFIG, as_json(self.name, config))
            keep(self.folder, config)
        except Timeout:
            raise ConfigError(
                f"another process is running the study in {self.folder}; wait for it, or give "
                "another --out-dir"
            ) from None
        except NotImplementedError:
            # What filelock raises there; newer ones look for a file instead.
            raise ConfigError(
                f"out_dir '{self.folder}' cannot be locked, so that two processes could write into "
                "it: its file system has no flock; give an --out-dir on another"
            ) from None
        except OSError as error:
            lock.release()
            raise ConfigError(f"out_dir '{self.folder}' cannot be written: {error}") from None
        try:
            yield
        finally:
            lock.release()
