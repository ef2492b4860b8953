"""DVS128 Gesture: hands and arms before an event camera (Amir et al., "A low power, fully
event-based gesture recognition system", CVPR 2017), in files of the form AEDAT 3.1."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from saltation.data.dataset import Split
from saltation.data.files import read_file, read_tar_matching
from saltation.data.own.checks import MOST_BYTES, fingerprint
from saltation.data.places import find_part
from saltation.data.recorded.aedat import Polarity, polarity_events
from saltation.data.registry import Spec
from saltation.data.trains import Recording, SpikeTrains
from saltation.errors import DataError

ARCHIVE = "DvsGesture.tar.gz"
_SIDE, _CLASSES = 128, 11
_LISTS = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}
_COLUMNS = ["class", "startTime_usec", "endTime_usec"]
# Members of the archive: all that are read, and those that say which samples there are.
_WANTED = re.compile(r"(?:[^/]+/)?([^/]+\.(?:aedat|csv|txt))")
_TABLES = re.compile(r"(?:[^/]+/)?([^/]+\.(?:csv|txt))")
_NAME = re.compile(r"[A-Za-z0-9_.-]+\.aedat")
_TEXT, _MOST = 1 << 20, 1 << 30  # bytes of a list or table, and of a recording
_LONGEST = 600_000_000  # microseconds of a gesture
_PER_EVENT = 16  # bytes in memory


class _Gesture(NamedTuple):
    """A row of a recording's table: its class from 0, and from when to when in microseconds."""

    label: int
    start: int
    end: int


# The content of a file by its name, of at most so many bytes.
_Reader = Callable[[str, int], bytes]


def is_here(place: Path) -> bool:
    """Whether a path is this set's archive, or a folder with its lists of recordings."""
    if place.is_file():
        return place.name == ARCHIVE
    return find_part(place, (_LISTS["train"],)) is not None


def of_dvs128(place: Path) -> Spec:
    """The set in its archive, or in a folder with its ``trials_to_train.txt`` and
    ``trials_to_test.txt``.

    Both name recordings ``NAME.aedat``; ``NAME_labels.csv`` says from when to when which of 11
    gestures was made, and each is a sample. Times are in milliseconds from the beginning of the
    gesture, and units ``[2, 128, 128]`` are polarity, y and x. Recordings are read as far as they
    are wanted: with ``limit_train`` and ``limit_test`` the rest stays on the disk.

    Raises
    ------
    DataError
        If a file is missing or damaged, a gesture is out of range or without an event, or all of
        them take more than is read.
    """
    read_one = _reader(place, _TABLES)
    tables = {part: _tables(read_one, part, place) for part in _LISTS}
    for label in range(_CLASSES):
        if not any(g.label == label for table in tables["train"].values() for g in table):
            raise DataError(f"{place}: class {label + 1} of {_CLASSES} has no training sample")
    gestures = [g for part in tables.values() for table in part.values() for g in table]

    def read(
        _: Path, limit_train: int | None = None, limit_test: int | None = None
    ) -> tuple[Split, Split]:
        one = _reader(place, _WANTED)
        return (
            _split(one, tables["train"], limit_train, place),
            _split(one, tables["test"], limit_test, place),
        )

    files = [place] if place.is_file() else sorted(e for e in place.iterdir() if e.is_file())
    return Spec(
        name=str(place),
        title="DVS128 Gesture",
        classes=_CLASSES,
        shape=(2, _SIDE, _SIDE),
        samples=sum(map(len, tables["train"].values())),
        read=read,
        bundled=True,
        fingerprint=fingerprint(files),
        duration=max(g.end - g.start for g in gestures) / 1000,
    )


def _reader(place: Path, wanted: re.Pattern[str]) -> _Reader:
    if place.is_file():
        members = {
            str(match[1]): content
            for name, content in read_tar_matching(place, wanted, MOST_BYTES).items()
            if (match := wanted.fullmatch(name))
        }

        def from_archive(name: str, most: int) -> bytes:
            if name not in members:
                raise DataError(f"{place}: has no {name}")
            if len(members[name]) > most:
                raise DataError(f"{place}: {name} holds more than the {most} bytes that are read")
            return members[name]

        return from_archive

    def from_folder(name: str, most: int) -> bytes:
        file = find_part(place, (name,))
        if file is None:
            raise DataError(f"{place}: has no {name}")
        return bytes(read_file(file, most))

    return from_folder


def _tables(read_one: _Reader, part: str, place: Path) -> dict[str, list[_Gesture]]:
    """The gestures of every recording of a part, by its name."""
    text = _text(read_one(_LISTS[part], _TEXT), f"{place}: {_LISTS[part]}")
    names = [line.strip() for line in text.splitlines() if line.strip()]
    for name in names:
        if not _NAME.fullmatch(name):
            raise DataError(f"{place}: {_LISTS[part]} has the line '{name[:60]}', no NAME.aedat")
    if not names:
        raise DataError(f"{place}: {_LISTS[part]} names no recording")
    found = {}
    for name in dict.fromkeys(names):
        table = f"{name.removesuffix('.aedat')}_labels.csv"
        found[name] = _table(read_one(table, _TEXT), f"{place}: {table}")
    return found


def _text(content: bytes, what: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{what}: is no text ({error.reason})") from None


def _table(content: bytes, what: str) -> list[_Gesture]:
    rows = list(csv.reader(io.StringIO(_text(content, what))))
    if not rows or [cell.strip() for cell in rows[0]] != _COLUMNS:
        raise DataError(f"{what}: its first line must be {','.join(_COLUMNS)}")
    found = []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        try:
            label, start, end = (int(cell) for cell in row)
        except ValueError:
            raise DataError(f"{what}: line {number} is not three integers") from None
        if not 1 <= label <= _CLASSES:
            raise DataError(f"{what}: line {number} has class {label}: they are 1 to {_CLASSES}")
        if not 0 <= start < end <= start + _LONGEST:
            raise DataError(f"{what}: line {number} lasts from {start} to {end} microseconds")
        found.append(_Gesture(label - 1, start, end))
    if not found:
        raise DataError(f"{what}: holds no gesture")
    return found


def _split(
    read_one: _Reader, tables: dict[str, list[_Gesture]], limit: int | None, place: Path
) -> Split:
    times: list[NDArray[np.float64]] = []
    units: list[NDArray[np.int64]] = []
    labels: list[int] = []
    total = 0
    for name, gesture, events in _gestures(read_one, tables, place):
        if limit is not None and len(labels) >= limit:
            break
        first, last = np.searchsorted(events.times, (gesture.start, gesture.end))
        if first == last:
            raise DataError(
                f"{place}: {name} has no event from {gesture.start} to {gesture.end} microseconds"
            )
        total += _PER_EVENT * int(last - first)
        if total > MOST_BYTES:
            raise DataError(
                f"{place}: takes more than {MOST_BYTES / 2**30:g} GiB; give limit_train and "
                "limit_test"
            )
        here = slice(first, last)
        times.append((events.times[here] - gesture.start) / 1000)
        units.append(_flat(events, here))
        labels.append(gesture.label)
    recording = Recording(
        np.concatenate(times), np.concatenate(units), np.cumsum([0, *map(len, times)])
    )
    return Split(SpikeTrains(recording, (2, _SIDE, _SIDE)), torch.tensor(labels))


def _gestures(
    read_one: _Reader, tables: dict[str, list[_Gesture]], place: Path
) -> Iterator[tuple[str, _Gesture, Polarity]]:
    """Every gesture with the events of its recording, which is read when its first is wanted."""
    for name, table in tables.items():
        events = polarity_events(read_one(name, _MOST), f"{place}: {name}", _SIDE, _SIDE)
        for gesture in table:
            yield name, gesture, events


def _flat(events: Polarity, here: slice) -> NDArray[np.int64]:
    p, y, x = (part[here].astype(np.int64) for part in (events.on, events.y, events.x))
    return (p * _SIDE + y) * _SIDE + x
