"""Data as time series in a ``.csv`` file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from saltation.data.dataset import Split
from saltation.data.own.checks import (
    MOST_BYTES,
    classes_of,
    fingerprint,
    labels_of,
    limited,
    samples_of,
)
from saltation.data.registry import Spec
from saltation.errors import DataError

_LABEL, _PART, _SERIES = "label", "split", "series"
_NEEDED = (_SERIES, _LABEL, _PART)


def of_csv(path: Path) -> Spec:
    """What is in a ``.csv`` file of time series, a row for every moment of every series.

    Columns: ``series``, which series the row is of, its rows in order; ``label``, the class of the
    series, an integer from 0; ``split``, ``train`` or ``test``; every other column is a channel.
    All series have the same length.

    Raises
    ------
    DataError
        If columns are missing, values are no numbers, or series are of different lengths.
    """
    train, test = _read(path)
    return Spec(
        name=str(path),
        title=f"{path.name}, a file of yours",
        classes=classes_of(train, test, path),
        shape=tuple(train.images.shape[1:]),
        samples=len(train),
        read=lambda _, *limits: limited(*_read(path), limits),
        bundled=True,
        fingerprint=fingerprint([path]),
        dt=1.0,
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
    missing = [name for name in _NEEDED if name not in frame]
    if missing:
        there = ", ".join(map(str, frame.columns[:8]))
        raise DataError(f"{path}: has no column {', '.join(missing)} (it has {there})")
    channels = [name for name in frame.columns if name not in _NEEDED]
    if not channels:
        raise DataError(f"{path}: has no column beside {', '.join(_NEEDED)}")
    for name in channels:
        if frame[name].dtype.kind not in "fiu":
            raise DataError(f"{path}: column {name} does not hold numbers throughout")
    wrong = set(frame[_PART].astype(str)) - {"train", "test"}
    if wrong:
        raise DataError(f"{path}: {_PART} must be train or test, got '{sorted(wrong)[0]}'")
    return _split(frame, "train", channels, path), _split(frame, "test", channels, path)


def _split(frame: pd.DataFrame, part: str, channels: list[str], path: Path) -> Split:
    here = frame[frame[_PART] == part]
    if here.empty:
        raise DataError(f"{path}: has no series with {_PART} {part}")
    groups = [rows for _, rows in here.groupby(_SERIES, sort=False)]
    lengths = {len(rows) for rows in groups}
    if len(lengths) > 1:
        raise DataError(
            f"{path}: series have from {min(lengths)} to {max(lengths)} rows; all must have one "
            "length"
        )
    for rows in groups:
        if rows[_LABEL].nunique() != 1:
            raise DataError(f"{path}: series {rows[_SERIES].iloc[0]} has more than one label")
    values = np.stack([rows[channels].to_numpy(np.float64) for rows in groups])
    labels = np.array([rows[_LABEL].iloc[0] for rows in groups])
    samples = samples_of(values, f"{path}: {part}")
    return Split(samples, labels_of(labels, len(samples), f"{path}: {_LABEL} of {part}"))
