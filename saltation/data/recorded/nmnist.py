"""N-MNIST: saccades over MNIST's digits, seen by an event camera (Orchard, Jayawant, Cohen &
Thakor, "Converting static image datasets to spiking neuromorphic datasets using saccades",
Frontiers in Neuroscience, 2015)."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from saltation.data.dataset import Split
from saltation.data.files import read_exactly, read_file
from saltation.data.own.checks import MOST_BYTES, fingerprint, limited
from saltation.data.places import find_part
from saltation.data.registry import Spec
from saltation.data.trains import Recording, SpikeTrains
from saltation.errors import DataError

_SIDE = 34
_RECORD = 5  # bytes
_MEMBER = re.compile(r"(?:.*/)?(\d)/\d+\.bin")
_MOST = 1 << 24  # bytes of a recording; the largest published has 40 thousand


def is_here(folder: Path) -> bool:
    """Whether a folder looks like this set's."""
    train = find_part(folder, ("Train.zip", "Train/"))
    if train is None:
        return False
    return train.is_file() or any(train.glob("*/*.bin"))


def of_nmnist(folder: Path) -> Spec:
    """The set in a folder with ``Train.zip`` and ``Test.zip``, or both extracted.

    A recording is a file of records of five bytes: x, y, and 24 bits of which the first is the
    polarity and the others are microseconds. Times here are in milliseconds, and units ``[2, 34,
    34]`` are polarity, y and x.

    Raises
    ------
    DataError
        If a part is missing or damaged, or a record is out of range.
    """
    parts = []
    for name in ("Train", "Test"):
        part = find_part(folder, (f"{name}.zip", f"{name}/"))
        if part is None:
            raise DataError(f"{folder}: has no {name}.zip or folder {name}")
        parts.append(part)

    def read(
        _: Path, limit_train: int | None = None, limit_test: int | None = None
    ) -> tuple[Split, Split]:
        train, test = (_split(part) for part in parts)
        return limited(train, test, (limit_train, limit_test))

    train, test = read(folder)
    files = [f for part in parts for f in ([part] if part.is_file() else sorted(part.glob("*/*")))]
    durations = (split.images.duration for split in (train, test))
    return Spec(
        name=str(folder),
        title="N-MNIST",
        classes=10,
        shape=(2, _SIDE, _SIDE),
        samples=len(train),
        read=read,
        bundled=True,
        fingerprint=fingerprint(files),
        duration=max(durations),
    )


def _split(part: Path) -> Split:
    contents = _zipped(part) if part.is_file() else _extracted(part)
    if not contents:
        raise DataError(f"{part}: holds no recording LABEL/NUMBER.bin")
    # By number, which mixes the classes as the published order of MNIST does.
    contents.sort(key=lambda one: (one[1].rpartition("/")[2], one[0]))
    times, units = [], []
    for _, name, content in contents:
        found = _events(content, f"{part}: {name}")
        times.append(found[0])
        units.append(found[1])
    offsets = np.cumsum([0, *map(len, times)])
    recording = Recording(np.concatenate(times), np.concatenate(units), offsets)
    labels = torch.tensor([label for label, _, _ in contents])
    return Split(SpikeTrains(recording, (2, _SIDE, _SIDE)), labels)


def _zipped(part: Path) -> list[tuple[int, str, bytes]]:
    try:
        with zipfile.ZipFile(part) as archive:
            named = ((m, _named(m.filename)) for m in archive.infolist())
            members = [(member, label) for member, label in named if label >= 0]
            claimed = sum(member.file_size for member, _ in members)
            if claimed > MOST_BYTES or any(member.file_size > _MOST for member, _ in members):
                raise DataError(f"{part}: claims to unpack to {claimed} bytes, more than is read")
            contents = []
            for member, label in members:
                with archive.open(member) as stream:
                    content = bytes(read_exactly(stream, member.file_size))
                contents.append((label, member.filename, content))
            return contents
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{part}: truncated or damaged zip archive ({reason})") from error
    except OSError as error:
        raise DataError(f"{part}: cannot be read ({error.strerror or error})") from error


def _extracted(part: Path) -> list[tuple[int, str, bytes]]:
    files = [(file, _named(file.as_posix())) for file in sorted(part.glob("*/*.bin"))]
    return [
        (label, f"{file.parent.name}/{file.name}", bytes(read_file(file, _MOST)))
        for file, label in files
        if label >= 0
    ]


def _named(name: str) -> int:
    """The class of a recording, or -1 of what is none."""
    found = _MEMBER.fullmatch(name)
    return int(found[1]) if found else -1


def _events(content: bytes, what: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Times in ms and flat units."""
    if not content or len(content) % _RECORD:
        raise DataError(f"{what}: has {len(content)} bytes, and a record has {_RECORD}")
    raw = np.frombuffer(content, np.uint8).reshape(-1, _RECORD).astype(np.int64)
    x, y, polarity = raw[:, 0], raw[:, 1], raw[:, 2] >> 7
    if max(x.max(), y.max()) >= _SIDE:
        raise DataError(f"{what}: has an event at ({x.max()}, {y.max()}), beyond {_SIDE} pixels")
    microseconds = (raw[:, 2] & 127) << 16 | raw[:, 3] << 8 | raw[:, 4]
    if (np.diff(microseconds) < 0).any():
        raise DataError(f"{what}: times are not sorted")
    return microseconds / 1000, (polarity * _SIDE + y) * _SIDE + x
