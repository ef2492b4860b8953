"""The networks that a study trained, found by the ids or the settings of their trials."""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from saltation.data import Dataset, spec_of
from saltation.data.dataset import Split
from saltation.errors import ConfigError, DataError, StabilityWarning, choose
from saltation.studies.engine.checkpoints import BEST, Checkpoints, read
from saltation.studies.engine.config import DataConfig
from saltation.studies.engine.folder import study_of
from saltation.studies.engine.records import Contents, contents
from saltation.studies.engine.rows import Record
from saltation.studies.engine.store import FINISHED, RECORD
from saltation.studies.engine.study import Study

WHICH = ("last", "best")
# Of the trials that there are, so many are named where one was asked for that is not there.
_NAMED = 8


class Trained(NamedTuple):
    """A network that a study trained.

    Attributes
    ----------
    settings
        Of its trial.
    record
        What the store has of the trial.
    epoch
        The epoch whose weights these are.
    network
        In evaluation mode.
    """

    settings: dict[str, Any]
    record: Record
    epoch: int
    network: nn.Module


def load(
    run: str | os.PathLike[str],
    trial: str | Mapping[str, Any] | None = None,
    *,
    which: str = "last",
) -> nn.Module:
    """The network that a trial of a study trained, with its weights, in evaluation mode.

    >>> network = st.load("runs/mine", "3f0c5e9a1b27")  # doctest: +SKIP
    >>> network = st.load("runs/mine", {"scheme": "euler", "dt": 0.5})  # doctest: +SKIP

    Parameters
    ----------
    run
        Folder of the study.
    trial
        Its id, as tables and ``results.csv`` have it, or the beginning of one; or some of its
        settings, if no other trial has the same. Not needed where a study has one trial.
    which
        ``last``: the weights whose accuracy tables and reports have; ``best``: those of the epoch
        with the best accuracy on the validation split. In a study without one that is the best on
        the test set, whose test accuracy is too good to be reported: a warning says so.

    Returns
    -------
    The network, on the CPU. The data set of the study need not be there; the file of a network of
    the user's must be, for it is built anew.

    Raises
    ------
    ConfigError
        If there is no such study or trial, or several; the message names those that there are.
    DataError
        If the trial has no checkpoint that can be read.
    """
    folder = Path(run)
    choose("which", which, WHICH)
    study = study_of(folder, device="cpu")
    record = recorded_trial(study, contents(study), trial)
    found = _trained(study, blank(study), record, checkpoint_of(study, record, which))
    if record["status"] != FINISHED and which == "last":
        warnings.warn(
            f"trial {record['id']} of {folder} is {record['status']}: the weights are those after "
            f"epoch {found.epoch}",
            stacklevel=2,
        )
    if which == "best" and not record["settings"].get("validation"):
        warnings.warn(
            f"{BEST} of trial {record['id']} is the best on the test set (epoch {found.epoch}): "
            "its test accuracy is too good to be reported; a study with validation chooses on a "
            "split of the training set",
            stacklevel=2,
        )
    return found.network


def recorded_trial(
    study: Study[Any], found: Contents, trial: str | Mapping[str, Any] | None
) -> Record:
    """The record of the trial with this id, or the beginning of one, or these settings.

    Raises
    ------
    ConfigError
        If there is none, or more than one.
    """
    records = [*found.asked, *found.others]
    if isinstance(trial, str):
        chosen = [r for r in records if r["id"] == trial] or [
            r for r in records if trial and r["id"].startswith(trial)
        ]
        asked = f"with the id '{trial}'"
        for row in found.damaged:
            if not chosen and row.trial == trial:
                raise ConfigError(f"{study.folder / RECORD}: {row}")
    elif trial is None:
        chosen, asked = records, "at all"
    else:
        known = dict.fromkeys(name for r in records for name in r["settings"])
        for name in trial if records else ():
            choose("setting of a trial", name, known)
        chosen = [
            r for r in records if all(r["settings"].get(k) == value for k, value in trial.items())
        ]
        asked = f"with {', '.join(f'{name}={value!r}' for name, value in trial.items())}"
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        raise ConfigError(
            f"{len(chosen)} trials of {study.folder} are meant, and one must be: "
            f"{_listed(study, chosen)}"
        )
    ids = [r["id"] for r in records]
    near = difflib.get_close_matches(trial, ids) if isinstance(trial, str) else []
    shown = [r for r in records if r["id"] in near] or records
    raise ConfigError(
        f"{study.folder} has no trial {asked}; "
        + (f"it has {_listed(study, shown)}" if shown else "nothing is recorded in it")
    )


def _listed(study: Study[Any], records: list[Record]) -> str:
    names = [f"{r['id']} ({label_of(study, r)})" for r in records[:_NAMED]]
    more = len(records) - _NAMED
    return "; ".join(names) + (f"; and {more} more" if more > 0 else "")


def label_of(study: Study[Any], record: Record) -> str:
    """A recorded trial in a few words, whatever config it is of."""
    try:
        return study.label(record["settings"])
    except (KeyError, TypeError, ValueError):  # a trial of another config
        return ", ".join(f"{name} {value}" for name, value in record["settings"].items())


def checkpoint_of(study: Study[Any], record: Record, which: str = "last") -> Path:
    """The file with the last weights of a trial that can be read and are recorded, or the best.

    Raises
    ------
    DataError
        If there is none.
    """
    folder = study.checkpoints(record["id"])
    if which == "best":
        path = folder / BEST
        if not os.path.lexists(path):
            raise DataError(f"trial {record['id']} of {study.folder} has no {BEST}")
        return path
    recorded = record["epochs"][-1]["epoch"] if record["epochs"] else 0
    last = Checkpoints(folder, recorded)
    if not last.epoch:
        raise DataError(
            f"trial {record['id']} of {study.folder} ({record['status']}) has no checkpoint that "
            "can be read"
        )
    return last.path(last.epoch)


def trained(
    study: Study[Any], data: Any, only: Path | None = None, left_out: list[str] | None = None
) -> Iterator[Trained]:
    """The networks of a study's trials with the weights of their last checkpoints.

    Parameters
    ----------
    study
        As `study_of` gives it.
    data
        What ``study.data`` gave.
    only
        One checkpoint; without it the last of every trial that has any.
    left_out
        Gets a line for every trial whose row or checkpoint cannot be used.

    Raises
    ------
    DataError
        If the one checkpoint cannot be read, or belongs to no trial of the study.
    """
    found = contents(study)
    records = [*found.asked, *found.others]
    if only is not None:
        records = [one for one in records if one["id"] == only.resolve().parent.name]
        if not records:
            raise DataError(f"{only} belongs to no trial of the study in {study.folder}")
        yield _trained(study, data, records[0], only)
        return
    left_out = [] if left_out is None else left_out
    left_out += found.lines(study.folder / RECORD)
    for record in records:
        if not any(study.checkpoints(record["id"]).glob("epoch-*.pt")):
            continue
        try:
            one = _trained(study, data, record, checkpoint_of(study, record))
        except DataError as error:
            left_out.append(str(error))
            continue
        yield one


def _trained(study: Study[Any], data: Any, record: Record, path: Path) -> Trained:
    saved = read(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StabilityWarning)  # it was trained all the same
            network = study.network(record["settings"], data)
        network.load_state_dict(saved["snapshot"]["network"])
    except Exception as error:  # settings and weights may be anybody's
        reason = (str(error).splitlines() or [""])[-1].strip()
        raise DataError(
            f"{path} does not fit the network of its trial: {reason or type(error).__name__}"
        ) from None
    return Trained(record["settings"], record, saved["epoch"], network.eval())


def blank(study: Study[Any]) -> Any:
    """What a network is built from: the study's data set, without samples if it has one."""
    config = study.config
    if not isinstance(config, DataConfig):
        return study.data(torch.device("cpu"))
    spec = spec_of(config.dataset)
    side = getattr(config, "side", None)
    shape = (spec.shape[0], side, side) if side and spec.is_image else spec.shape
    images = torch.empty((0, *shape), dtype=torch.uint8 if spec.dt is None else torch.float32)
    nothing = Split(images, torch.empty(0, dtype=torch.int64))
    return Dataset(spec.name, nothing, nothing, spec.classes, spec.dt, regression=spec.regression)
