"""Events in files of the form AEDAT 3.1, as cameras with iniVation's software write them.

Lines of text that begin with #, then packets: 28 bytes that say what is in one, and its events. Of
these only polarity events are read, eight bytes each: 32 bits of which the first (the least) says
whether the event is valid, the second its polarity, 15 are y and 15 x; and 31 bits of microseconds,
which begin anew as often as the packet says.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from saltation.errors import DataError

_FIRST, _LAST = b"#!AER-DAT3.1", b"#!END-HEADER\r\n"
_MOST_TEXT = 1 << 16
# Type, source, size of an event, offset of its time, overflows, capacity, number, valid.
_PACKET = struct.Struct("<hhiiiiii")
_POLARITY, _SIZE = 1, 8


class Polarity(NamedTuple):
    """Valid polarity events: microseconds int64, ascending; x and y; whether light rose."""

    times: NDArray[np.int64]
    x: NDArray[np.int32]
    y: NDArray[np.int32]
    on: NDArray[np.bool_]


def polarity_events(content: bytes, what: str, width: int, height: int) -> Polarity:
    """The polarity events of a file.

    Parameters
    ----------
    content
        Of the file.
    what
        Its name, for messages.
    width, height
        Of the camera, in pixels.

    Raises
    ------
    DataError
        If it is of another form or truncated, or events are out of range or not sorted.
    """
    place = _behind_text(content, what)
    words: list[NDArray[np.uint32]] = []
    times: list[NDArray[np.int64]] = []
    while place < len(content):
        if place + _PACKET.size > len(content):
            raise DataError(f"{what}: is truncated in the header of a packet, at byte {place}")
        kind, _, size, _, overflows, capacity, number, valid = _PACKET.unpack_from(content, place)
        told = f"{what}: the packet at byte {place}"
        if size < 1 or not 0 <= valid <= number <= capacity or overflows < 0:
            raise DataError(f"{told} claims {number} events of {size} bytes, {valid} of them valid")
        place += _PACKET.size
        if number * size > len(content) - place:
            raise DataError(f"{told} is truncated")
        if kind == _POLARITY:
            if size != _SIZE:
                raise DataError(f"{told} has polarity events of {size} bytes, not {_SIZE}")
            pairs = np.frombuffer(content, "<u4", 2 * number, place).reshape(-1, 2)
            pairs = pairs[(pairs[:, 0] & 1) == 1]
            if (pairs[:, 1] >> 31).any():
                raise DataError(f"{told} has a negative time")
            words.append(pairs[:, 0])
            times.append(pairs[:, 1].astype(np.int64) + (overflows << 31))
        place += number * size
    word = np.concatenate([np.empty(0, np.uint32), *words])
    time = np.concatenate([np.empty(0, np.int64), *times])
    x, y = ((word >> shift & 0x7FFF).astype(np.int32) for shift in (17, 2))
    if len(word) and (x.max() >= width or y.max() >= height):
        raise DataError(
            f"{what}: has an event at ({x.max()}, {y.max()}), beyond {width} x {height} pixels"
        )
    if (np.diff(time) < 0).any():
        raise DataError(f"{what}: times are not sorted")
    return Polarity(time, x, y, (word >> 1 & 1).astype(np.bool_))


def _behind_text(content: bytes, what: str) -> int:
    """Where the packets begin."""
    if not content.startswith(_FIRST):
        raise DataError(f"{what}: is no AEDAT 3.1 file, which begins with {_FIRST.decode()}")
    end = content.find(_LAST, 0, _MOST_TEXT)
    if end < 0:
        raise DataError(f"{what}: is truncated in its header")
    return end + len(_LAST)
