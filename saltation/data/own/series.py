"""Data as time series in a ``.csv`` file."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.data.dataset import Split
from saltation.data.own.checks import (
    MOST_BYTES,
    classes_of,
    fingerprint,
    labels_of,
    limited,
    outputs_of,
    samples_of,
    targets_of,
)
from saltation.data.registry import Spec
from saltation.errors import DataError, UnitWarning

_LABEL, _PART, _SERIES = "label", "split", "series"
_TIMES = ("t", "time", "times", "timestamp", "seconds", "ms")
# How names of columns begin whose numbers are to be found: at every row, or of the series.
_TARGET, _OUTCOME = "target", "outcome"


def of_csv(path: Path) -> Spec:
    """What is in a ``.csv`` file of time series, a row for every moment of every series.

    Columns: ``series``, which series the row is of, its rows in order; ``split``, ``train`` or
    ``test``; and ``label``, the class of the series, an integer from 0. In place of the label there
    may be columns whose names begin with ``target``, numbers that are to be found at every row, or
    with ``outcome``, numbers that are to be found of the series, the same in all its rows. Every
    other column is a channel. Shorter series are padded with zeros at their ends, and their lengths
    kept.

    Raises
    ------
    DataError
        If columns are missing, values are no numbers, or a series has several labels or outcomes.
    """
    train, test = _read(path)
    regression = train.labels.is_floating_point()
    return Spec(
        name=str(path),
        title=f"{path.name}, a file of yours",
        classes=(outputs_of if regression else classes_of)(train, test, path),
        shape=tuple(train.images.shape[1:]),
        samples=len(train),
        read=lambda _, *limits: limited(*_read(path), limits),
        bundled=True,
        fingerprint=fingerprint([path]),
        dt=1.0,
        regression=regression,
        of_moments=train.labels.ndim == 3,
        lengths=train.lengths is not None,
    )


def _read(path: Path) -> tuple[Split, Split]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path}: is larger than the {MOST_BYTES / 2**30:g} GiB that are read")
        frame = pd.read_csv(path, compression=None)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, OverflowError) as error:  # what is no table, or no text
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: is no table of comma-separated values ({reason})") from error
    wanted = _wanted(frame, path)
    channels = [name for name in frame.columns if name not in (_SERIES, _PART, *wanted)]
    if not channels:
        there = ", ".join((_SERIES, _PART, *wanted))
        raise DataError(f"{path}: has no column beside {there}")
    index = [name for name in channels if str(name).startswith("Unnamed: ")]
    if index:
        raise DataError(
            f"{path}: column {1 + list(frame.columns).index(index[0])} has no name, as the index "
            "that pandas writes: to_csv(..., index=False)"
        )
    for name in (*channels, *(wanted if wanted != [_LABEL] else ())):
        if frame[name].dtype.kind not in "fiu":
            raise DataError(f"{path}: column {name} does not hold numbers throughout")
    _warn_of_times(frame, channels, path)
    wrong = set(frame[_PART].astype(str)) - {"train", "test"}
    if wrong:
        raise DataError(f"{path}: {_PART} must be train or test, got '{sorted(wrong)[0]}'")
    parts = {part: _series(frame, part, path) for part in ("train", "test")}
    longest = max(len(rows) for groups in parts.values() for rows in groups)
    even = all(len(rows) == longest for groups in parts.values() for rows in groups)
    size = 4 * longest * sum(map(len, parts.values())) * len(channels)
    if size > MOST_BYTES:
        raise DataError(f"{path}: takes more than {MOST_BYTES / 2**30:g} GiB, padded to {longest}")
    longer = None if even else longest
    train, test = (
        _split(parts[part], channels, wanted, longer, (path, part)) for part in ("train", "test")
    )
    return train, test


def _warn_of_times(frame: pd.DataFrame, channels: list[str], path: Path) -> None:
    """Say that a column of times is given to the network as a current that grows."""
    for name in channels:
        if (
            str(name).lower() in _TIMES
            and frame.groupby(_SERIES)[name].is_monotonic_increasing.all()
        ):
            warnings.warn(
                f"{path.name}: column {name} is taken for a channel, a current that grows; leave "
                "it out if it says when a row was measured: rows are one after the other, 1 apart",
                UnitWarning,
                stacklevel=2,
            )


def _wanted(frame: pd.DataFrame, path: Path) -> list[str]:
    """The columns of what is to be found."""
    of_rows, of_series = (
        [name for name in map(str, frame.columns) if name.startswith(beginning)]
        for beginning in (_TARGET, _OUTCOME)
    )
    there = ", ".join(map(str, frame.columns[:8]))
    given = [one for one in ([_LABEL] if _LABEL in frame else [], of_rows, of_series) if one]
    if len(given) > 1:
        both = ", ".join(one[0] for one in given)
        raise DataError(
            f"{path}: has columns {both}; give a label, or targets of rows, or outcomes of series"
        )
    missing = [name for name in (_SERIES, _PART) if name not in frame]
    missing += [] if given else [f"{_LABEL} (or {_TARGET}..., {_OUTCOME}...)"]
    if missing:
        raise DataError(f"{path}: has no column {', '.join(missing)} (it has {there})")
    return given[0]


def _series(frame: pd.DataFrame, part: str, path: Path) -> list[pd.DataFrame]:
    here = frame[frame[_PART] == part]
    if here.empty:
        raise DataError(f"{path}: has no series with {_PART} {part}")
    if here[_SERIES].isna().any():
        raise DataError(f"{path}: a row with {_PART} {part} has no {_SERIES}")
    return [rows for _, rows in here.groupby(_SERIES, sort=False)]


def _split(
    groups: list[pd.DataFrame],
    channels: list[str],
    wanted: list[str],
    longest: int | None,
    place: tuple[Path, str],
) -> Split:
    """Series as sequences, padded where they are not of one length."""

    def said(what: str) -> str:
        return f"{place[0]}: {what} of {place[1]}"

    samples = samples_of(_stacked(groups, channels, longest), said("samples"))
    lengths = None if longest is None else torch.tensor([len(rows) for rows in groups])
    if wanted[0].startswith(_TARGET):
        targets = targets_of(_stacked(groups, wanted, longest), samples, said("targets"))
        return Split(samples, targets, lengths)
    for rows in groups:
        for name in wanted:
            if rows[name].nunique(dropna=False) != 1:
                raise DataError(
                    f"{said(name)}: series {rows[_SERIES].iloc[0]} has more than one {name}"
                )
    found: Tensor
    if wanted == [_LABEL]:
        labels = np.array([rows[_LABEL].iloc[0] for rows in groups])
        found = labels_of(labels, len(samples), said(_LABEL))
    else:
        outcomes = np.stack([rows[wanted].iloc[0].to_numpy(np.float64) for rows in groups])
        found = targets_of(outcomes, samples, said("outcomes"))
    return Split(samples, found, lengths)


def _stacked(
    groups: list[pd.DataFrame], columns: list[str], longest: int | None
) -> NDArray[np.float64]:
    """``[N, T, columns]``, with zeros behind the ends."""
    values = [rows[columns].to_numpy(np.float64) for rows in groups]
    if longest is None:
        return np.stack(values)
    found = np.zeros((len(values), longest, len(columns)))
    for place, one in zip(found, values, strict=True):
        place[: len(one)] = one
    return found
