"""Studies found again by their folders, and the networks they trained."""

from __future__ import annotations

import json
import math
import statistics
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from saltation.errors import ConfigError, DataError, StabilityWarning, choose
from saltation.studies.checkpoints import epochs, read
from saltation.studies.config import CONFIG
from saltation.studies.runner import STUDIES, Settings, Study
from saltation.studies.store import FINISHED, RECORD, Store


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
        If there is no study, or one this release does not know.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise ConfigError(f"there is no study in {folder}: it has no {CONFIG}")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        name = settings.pop("study")
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is not the config of a study: {error!r}") from None
    study = STUDIES[choose("study", name, STUDIES)]
    return study(**settings | {"out_dir": folder} | changes)


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

    settings: Settings
    record: dict[str, Any]
    epoch: int
    network: nn.Module


def trained(study: Study[Any], data: Any, only: Path | None = None) -> Iterator[Trained]:
    """The networks of a study's trials with the weights of their last checkpoints.

    Parameters
    ----------
    study
        As `study_of` gives it.
    data
        What ``study.data`` gave.
    only
        One checkpoint; without it the last of every trial that has any.

    Raises
    ------
    DataError
        If a checkpoint cannot be read, or belongs to no trial of the study.
    """
    place = study.folder / "checkpoints"
    with Store(study.folder / RECORD) as store:
        records = store.trials()
    if only is not None:
        records = [one for one in records if one["id"] == only.parent.name]
        if not records:
            raise DataError(f"{only} belongs to no trial of the study in {study.folder}")
    for record in records:
        found = sorted(epochs(place / record["id"]))
        if only is None and not found:
            continue
        path = only or place / record["id"] / f"epoch-{found[-1]:05d}.pt"
        saved = read(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StabilityWarning)  # it was trained all the same
            network = study.network(record["settings"], data)
        try:
            network.load_state_dict(saved["snapshot"]["network"])
        except (KeyError, RuntimeError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise DataError(
                f"{path} does not fit the network of its trial with this data: {reason}"
            ) from None
        yield Trained(record["settings"], record, saved["epoch"], network.eval())


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
    ``folder``, ``study``, ``trials``, ``states``; ``best``, ``mean`` and ``spread``: the largest,
    the mean and the standard deviation of the last test accuracies of finished trials, as in
    reports (nan for want of trials); ``seconds`` of all trials.

    Raises
    ------
    ConfigError, StoreError
        If there is no study there or its record cannot be read.
    """
    study = study_of(folder, device="cpu")  # wherever it ran
    with Store(folder / RECORD) as store:
        records = store.trials()
    states: dict[str, int] = {}
    for record in records:
        states[record["status"]] = states.get(record["status"], 0) + 1
    ended = [r["epochs"][-1]["test_accuracy"] for r in records if r["status"] == FINISHED]
    finished = [score for score in ended if score is not None]
    return {
        "folder": str(folder),
        "study": study.name,
        "trials": len(study.trials()),
        "states": ", ".join(f"{count} {state}" for state, count in states.items()) or "not begun",
        "best": max(finished, default=math.nan),
        "mean": statistics.fmean(finished) if finished else math.nan,
        "spread": statistics.stdev(finished) if len(finished) > 1 else math.nan,
        "seconds": sum(epoch["seconds"] for r in records for epoch in r["epochs"]),
    }


def runs_in(folder: Path) -> list[Path]:
    """Folders of studies in ``folder`` or one level below it, newest last."""
    found = [p.parent for p in (*folder.glob(CONFIG), *folder.glob(f"*/{CONFIG}"))]
    return sorted(
        (p for p in found if (p / RECORD).is_file()),
        key=lambda p: (p / RECORD).stat().st_mtime,
    )
