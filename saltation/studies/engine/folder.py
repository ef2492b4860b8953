"""Studies found again by their folders, and how far each is."""

from __future__ import annotations

import contextlib
import json
import math
import os
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

from saltation.errors import ConfigError, SaltationError, choose
from saltation.studies.engine.config import CONFIG
from saltation.studies.engine.database import KEPT
from saltation.studies.engine.inputs import recall
from saltation.studies.engine.outcome import outcome_of
from saltation.studies.engine.records import Contents, contents
from saltation.studies.engine.store import FINISHED, RECORD
from saltation.studies.engine.study import STUDIES, Study
from saltation.studies.engine.untrained import UNTRAINED, untrained_study_of


def study_of(folder: Path, **changes: Any) -> Study[Any]:
    """The study whose results are in ``folder``, to be run again or asked about them.

    Parameters
    ----------
    folder
        What ``--out-dir`` named, or what was made in ``runs/``.
    **changes
        Settings in place of those of its config.

    Raises
    ------
    ConfigError
        If there is no study, one this release does not know, or one that trains nothing.
    """
    path = folder / CONFIG
    try:
        if not path.is_file():
            raise ConfigError(f"there is no study in {folder}: it has no {CONFIG}")
        settings = json.loads(path.read_text(encoding="utf-8"))
        name = settings.pop("study")
    except ConfigError:
        raise
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path} is not the config of a study: {error!r}") from None
    if name in UNTRAINED:
        raise ConfigError(f"the {name} study in {folder} trains nothing: it has no trials")
    recall(folder)
    try:
        study = STUDIES[choose("study", name, STUDIES)]
        return study(study.config_type.build(**settings | {"out_dir": folder} | changes))
    except (SaltationError, TypeError, OverflowError, RecursionError) as error:
        if any(str(error).startswith(f"{name}:") for name in changes):
            raise ConfigError(str(error)) from None  # what is asked now, not what is stored
        raise ConfigError(f"the study in {folder} cannot be read: {error}") from None


def run_and_checkpoint(path: Path) -> tuple[Path, Path | None]:
    """The run that ``path`` is, or that it is a checkpoint of, and the checkpoint.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    if path.is_dir():
        return path, None
    if path.suffix == ".pt" and path.is_file():
        path = path.resolve()  # its name alone may have been given
        if len(path.parents) > 2:
            return path.parents[2], path
    raise ConfigError(
        f"'{path}' is neither the folder of a study nor a checkpoint in one "
        "(RUN/checkpoints/TRIAL/best.pt)"
    )


def summary(folder: Path) -> dict[str, Any]:
    """What stands in a study's record, in a row: how many trials are in which state, and scores.

    Returns
    -------
    ``folder``, ``study``, ``trials`` (of a study that trains nothing its cells), ``states``;
    ``best``, ``mean`` and ``spread``: the best, the mean and the standard deviation of the last
    test accuracies of finished trials, or where targets are numbers of their errors
    (``is_error``), as in reports (nan for want of trials); ``seconds`` of all trials; ``damaged``,
    a line for each row of the record that is left out.

    Raises
    ------
    ConfigError, StoreError
        If there is no study there or its record cannot be read.
    """
    untrained = untrained_study_of(folder)
    if untrained is not None:
        there, planned = untrained.cells(folder)
        states = Counter({"computed": there, "missing": planned - there})
        return _row(folder, untrained.name, planned, states)
    study = study_of(folder, device="cpu")  # wherever it ran
    traces = (RECORD, "checkpoints", "results.csv", KEPT)
    begun = any(os.path.lexists(folder / name) for name in traces)
    found = contents(study) if begun else Contents([], [], [])
    records = [*found.asked, *found.others]
    states = Counter(record["status"] for record in records)
    states["damaged"] = len(found.damaged)
    ended = [outcome_of(r) for r in records if r["status"] == FINISHED]
    scores = [score for score in ended if score is not None]
    finished = [score.value for score in scores]
    return _row(folder, study.name, len(study.trials()), states) | {
        "best": max(scores, key=lambda one: one.merit).value if scores else math.nan,
        "is_error": any(score.is_error for score in scores),
        "mean": statistics.fmean(finished) if finished else math.nan,
        "spread": statistics.stdev(finished) if len(finished) > 1 else math.nan,
        "seconds": sum(epoch["seconds"] for r in records for epoch in r["epochs"]),
        "damaged": found.lines(folder / RECORD),
    }


def _row(folder: Path, study: str, planned: int, states: Counter[str]) -> dict[str, Any]:
    """What `summary` says of a study of which it knows no score."""
    said = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    return {
        "folder": str(folder),
        "study": study,
        "trials": planned,
        "states": said or "not begun",
        **dict.fromkeys(("best", "mean", "spread", "seconds"), math.nan),
        "is_error": False,
        "damaged": [],
    }


def runs_in(folder: Path) -> list[Path]:
    """Folders of studies in ``folder`` or one level below it, newest last; folders that may have
    been some, for they are empty, cannot be looked into, or have a part of one, are among them.

    Raises
    ------
    ConfigError
        If the folder itself cannot be read.
    """
    try:
        below = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise ConfigError(f"the folder {folder} cannot be read: {error.strerror}") from None
    found = [path for path in below if _may_be_study(path)]
    if any((folder / name).exists() for name in (CONFIG, RECORD)):
        found.insert(0, folder)
    return sorted(found, key=_last_written)


def _may_be_study(path: Path) -> bool:
    try:
        names = {one.name for one in path.iterdir()}
    except OSError:
        return True
    return not names or bool(names & {CONFIG, RECORD, "checkpoints"})


def _last_written(path: Path) -> float:
    for one in (path / RECORD, path):
        with contextlib.suppress(OSError):
            return one.stat().st_mtime
    return 0.0
