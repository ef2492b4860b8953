"""DVS128 Gesture in its publisher's layout: read right, or refused by name."""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from saltation.data import load, spec_of
from saltation.data.recorded.aedat import polarity_events
from saltation.data.summary import in_words
from saltation.errors import DataError

HEADER = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n"
Events = list[tuple[int, int, int, int]]


def packet(events: Events, kind: int = 1, overflows: int = 0, size: int = 8) -> bytes:
    """Events (x, y, polarity, microseconds) as a packet."""
    body = b"".join(
        struct.pack("<Ii", x << 17 | y << 2 | on << 1 | 1, time) for x, y, on, time in events
    )
    n = len(events)
    return struct.pack("<hhiiiiii", kind, 0, size, 4, overflows, n, n, n) + body


def gestures(folder: Path, **changes: bytes) -> Path:
    """One recording to train on and one to test on, each with all eleven gestures."""
    folder.mkdir(exist_ok=True)
    for user, part in ((1, "train"), (2, "test")):
        name = f"user0{user}_led"
        rows = [f"{label},{1000 * label},{1000 * label + 900}" for label in range(1, 12)]
        events = [(label, 127, label % 2, 1000 * label + 500) for label in range(1, 12)]
        files = {
            f"trials_to_{part}.txt": f"{name}.aedat\n".encode(),
            f"{name}_labels.csv": "\n".join(["class,startTime_usec,endTime_usec", *rows]).encode(),
            # Another kind of events between two packets of these.
            f"{name}.aedat": HEADER
            + packet(events[:5])
            + packet(events[:2], kind=0)
            + packet(events[5:]),
        }
        for file, content in files.items():
            (folder / file).write_bytes(changes.get(file.replace(".", "_"), content))
    return folder


def test_gestures_as_published(tmp_path: Path) -> None:
    folder = gestures(tmp_path / "DvsGesture")
    data = load(str(folder))
    assert (data.shape, data.classes, data.duration) == ((2, 128, 128), 11, 0.9)
    assert data.train.labels.tolist() == list(range(11))
    third = data.train.images[torch.tensor([2])].recording
    assert third.times.tolist() == [0.5]
    assert third.units.tolist() == [(1 * 128 + 127) * 128 + 3]
    assert "spikes of [2, 128, 128] units over 0.9" in in_words(data)[0]
    assert len(load(str(folder), limit_train=4).train) == 4
    archive = tmp_path / "DvsGesture.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder, "DvsGesture")
    packed = load(str(archive))
    assert packed.train.images.recording.units.tolist() == (
        data.train.images.recording.units.tolist()
    )
    assert spec_of(str(archive)).samples == 11


def test_times_go_on_where_their_31_bits_end() -> None:
    content = HEADER + packet([(0, 0, 1, 2**31 - 1)]) + packet([(0, 0, 1, 4)], overflows=1)
    assert polarity_events(content, "a", 1, 1).times.tolist() == [2**31 - 1, 2**31 + 4]
    assert polarity_events(HEADER, "a", 1, 1).times.tolist() == []


def labels(*rows: str) -> bytes:
    return "\n".join(["class,startTime_usec,endTime_usec", *rows]).encode()


WRONG: dict[str, tuple[dict[str, bytes], str]] = {
    "another form": ({"user01_led_aedat": b"#!AER-DAT2.0\r\n"}, "is no AEDAT 3.1 file"),
    "empty": ({"user01_led_aedat": b""}, "is no AEDAT 3.1 file"),
    "header": ({"user01_led_aedat": HEADER[:-4]}, "truncated in its header"),
    "packet": ({"user01_led_aedat": HEADER + packet([])[:20]}, "truncated in the header of a"),
    "events": ({"user01_led_aedat": HEADER + packet([(1, 1, 1, 1)])[:-3]}, "is truncated"),
    "bomb": (
        {"user01_led_aedat": HEADER + struct.pack("<hhiiiiii", 1, 0, 8, 4, 0, *[2**31 - 1] * 3)},
        "is truncated",
    ),
    "negative number": (
        {"user01_led_aedat": HEADER + struct.pack("<hhiiiiii", 1, 0, 8, 4, 0, -1, -1, -1)},
        "claims -1 events",
    ),
    "size": ({"user01_led_aedat": HEADER + packet([(1, 1, 1, 1)], size=4)}, "of 4 bytes, not 8"),
    "far": ({"user01_led_aedat": HEADER + packet([(128, 3, 1, 1)])}, r"\(128, 3\), beyond 128"),
    "unsorted": (
        {"user01_led_aedat": HEADER + packet([(1, 1, 1, 9), (1, 1, 1, 8)])},
        "times are not sorted",
    ),
    "negative time": ({"user01_led_aedat": HEADER + packet([(1, 1, 1, -5)])}, "negative time"),
    "silent": ({"user01_led_aedat": HEADER}, "has no event from 1000 to 1900 microseconds"),
    "no names": ({"trials_to_test_txt": b"\n"}, "names no recording"),
    "names": ({"trials_to_test_txt": b"../../etc/passwd"}, "no NAME.aedat"),
    "binary": ({"trials_to_test_txt": b"\xff\xfe"}, "is no text"),
    "lost": ({"trials_to_test_txt": b"user09_lab.aedat"}, "has no user09_lab_labels.csv"),
    "columns": ({"user01_led_labels_csv": b"a,b\n"}, "its first line must be class,"),
    "no gesture": ({"user01_led_labels_csv": labels()}, "holds no gesture"),
    "texts": ({"user01_led_labels_csv": labels("1,x,2")}, "line 2 is not three integers"),
    "class": ({"user01_led_labels_csv": labels("12,1,2")}, "line 2 has class 12: they are 1 to"),
    "backwards": ({"user01_led_labels_csv": labels("1,9,2")}, "line 2 lasts from 9 to 2"),
    "empty class": ({"user01_led_labels_csv": labels("1,1000,1900")}, "class 2 of 11 has no"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_gestures_are_named(tmp_path: Path, what: str) -> None:
    changes, reason = WRONG[what]
    with pytest.raises(DataError, match=reason) as caught:
        load(str(gestures(tmp_path / "DvsGesture", **changes)))
    assert "\n" not in str(caught.value)
    assert "DvsGesture" in str(caught.value)


@pytest.mark.parametrize("cut", [lambda b: b[: len(b) // 2], lambda b: b[:20] + b"\0" * 40])
def test_damaged_archives_are_named(tmp_path: Path, cut: Callable[[bytes], bytes]) -> None:
    folder = gestures(tmp_path / "DvsGesture")
    archive = tmp_path / "DvsGesture.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder, "DvsGesture")
    archive.write_bytes(cut(archive.read_bytes()))
    with pytest.raises(DataError, match=r"DvsGesture\.tar\.gz"):
        load(str(archive))
