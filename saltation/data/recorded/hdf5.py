"""Spiking speech in HDF5 files: SHD and SSC (Cramer, Stradmann, Schemmel & Zenke, "The Heidelberg
spiking data sets for the systematic evaluation of spiking neural networks", IEEE Transactions on
Neural Networks and Learning Systems, 2022)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from saltation.data.dataset import Split
from saltation.data.own.checks import MOST_BYTES, classes_of, fingerprint, labels_of, limited
from saltation.data.registry import Spec
from saltation.data.trains import Recording, SpikeTrains
from saltation.errors import DataError

UNITS = 700
_SECONDS = 1000  # ms


def of_hdf5(path: Path) -> Spec:
    """The set that a file ``*_train.h5`` is of, or a folder that holds one, with ``*_test.h5``
    beside it.

    A file has ``spikes/times``, in seconds, and ``spikes/units``, 0 to 699, an array for every
    recording, and ``labels``. Times here are in milliseconds.

    Raises
    ------
    DataError
        If h5py or a file is missing, a file is damaged or refers to others, or times, units or
        labels are out of range or not of equal number.
    """
    train_file = path if path.is_file() else _named(path, "train")
    if not train_file.stem.endswith("train"):
        raise DataError(f"{train_file}: give the file *_train.h5; *_test.h5 is found beside it")
    test_file = train_file.with_name(train_file.name.replace("train", "test"))
    if not test_file.is_file():
        raise DataError(f"{train_file}: there is no {test_file.name} beside it")

    def read(
        _: Path, limit_train: int | None = None, limit_test: int | None = None
    ) -> tuple[Split, Split]:
        return limited(_split(train_file), _split(test_file), (limit_train, limit_test))

    train, test = read(path)
    durations = (split.images.duration for split in (train, test))
    return Spec(
        name=str(path),
        title=f"{train_file.stem.removesuffix('_train').upper()}, spiking speech",
        classes=classes_of(train, test, path),
        shape=(UNITS,),
        samples=len(train),
        read=read,
        bundled=True,
        fingerprint=fingerprint([train_file, test_file]),
        duration=max(durations),
    )


def is_here(folder: Path) -> bool:
    """Whether a folder holds such files."""
    return any(folder.glob("*_train.h5"))


def _named(folder: Path, part: str) -> Path:
    found = sorted(folder.glob(f"*_{part}.h5"))
    if len(found) != 1:
        raise DataError(
            f"{folder}: has {len(found)} files *_{part}.h5, and one is read; give its path"
        )
    return found[0]


def _split(file: Path) -> Split:
    try:
        import h5py
    except ImportError:
        raise DataError(f"{file}: HDF5 files need h5py (pip install h5py)") from None
    try:
        with h5py.File(file, "r") as opened:
            times, units, labels = (
                _dataset(opened, name, file) for name in ("spikes/times", "spikes/units", "labels")
            )
            if not len(times) == len(units) == len(labels):
                raise DataError(
                    f"{file}: {len(times)} arrays of times, {len(units)} of units and "
                    f"{len(labels)} labels"
                )
            return _recordings(times, units, np.asarray(labels[:]), file)
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{file}: truncated or damaged HDF5 file ({reason})") from error


def _dataset(opened: Any, name: str, file: Path) -> Any:
    """A data set of the file itself, one-dimensional."""
    import h5py

    place: Any = opened
    for part in name.split("/"):
        if not isinstance(place, h5py.Group) or part not in place:
            raise DataError(f"{file}: has no {name}")
        if not isinstance(place.get(part, getlink=True), h5py.HardLink):
            raise DataError(f"{file}: {name} is a link to somewhere else")
        place = place[part]
    if not isinstance(place, h5py.Dataset) or place.ndim != 1:
        raise DataError(f"{file}: {name} is no list of arrays")
    if place.is_virtual or place.external:
        raise DataError(f"{file}: {name} lies in another file")
    return place


def _recordings(times: Any, units: Any, labels: Any, file: Path) -> Split:
    if len(labels) == 0:
        raise DataError(f"{file}: holds no recording")
    every_time, every_unit, total = [], [], 0
    for n in range(len(labels)):
        time, unit = np.asarray(times[n]), np.asarray(units[n])
        what = f"{file}: recording {n}"
        if time.dtype.kind != "f" or unit.dtype.kind not in "iu" or time.ndim != 1:
            raise DataError(f"{what}: times are {time.dtype} and units {unit.dtype}")
        if len(time) != len(unit):
            raise DataError(f"{what}: {len(time)} times for {len(unit)} units")
        if (np.diff(time) < 0).any():
            raise DataError(f"{what}: times are not sorted")
        total += 16 * len(time)
        if total > MOST_BYTES:
            raise DataError(f"{file}: has more than {MOST_BYTES // 16} spikes")
        every_time.append(time.astype(np.float64) * _SECONDS)
        every_unit.append(unit.astype(np.int64))
    offsets = np.cumsum([0, *map(len, every_time)])
    recording = Recording(np.concatenate(every_time), np.concatenate(every_unit), offsets)
    try:
        trains = SpikeTrains(recording, (UNITS,))
    except DataError as error:
        raise DataError(f"{file}: {error}") from None
    found = labels_of(labels, len(trains), f"{file}: labels")
    return Split(trains, torch.as_tensor(found))
