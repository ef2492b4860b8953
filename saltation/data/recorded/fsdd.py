"""The free spoken digit data set (Jackson et al., "Jakobovski/free-spoken-digit-dataset", v1.0.8,
Zenodo, 2018): recordings of six speakers, as spikes of `cochlea`."""

from __future__ import annotations

import io
import re
import wave
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from saltation.data.dataset import Split
from saltation.data.files import read_file, read_tar_matching
from saltation.data.own.checks import fingerprint, limited
from saltation.data.places import find_part
from saltation.data.recorded.cochlea import CHANNELS, spikes_of
from saltation.data.registry import Spec
from saltation.data.trains import Recording, SpikeTrains
from saltation.errors import DataError, choose

_NAME = re.compile(r"(?:.*/)?(\d)_([a-z]+)_(\d+)\.wav")
_MOST = 1 << 22  # bytes of a recording
_LIMIT = 1 << 28  # bytes of the archive, unpacked
_TESTED = 5  # indices from 0 on that the publisher tests on
_LONGEST = 30.0  # seconds
ARCHIVE = "free-spoken-digit-dataset.tar.gz"


def is_here(place: Path) -> bool:
    """Whether a path is this set's archive, or a folder with its recordings."""
    if place.is_file():
        return place.name == ARCHIVE
    folder = find_part(place, ("recordings/",)) or place
    return any(_NAME.fullmatch(file.name) for file in folder.glob("*.wav"))


def of_fsdd(place: Path, held_out: str | None = None) -> Spec:
    """The set in its archive, or in a folder with ``recordings/DIGIT_SPEAKER_INDEX.wav``.

    Parameters
    ----------
    place
        The archive or folder.
    held_out
        A speaker to test on, and not to train on. Without one, the publisher's split: recordings
        0 to 4 of every speaker and digit are tested on.

    Raises
    ------
    DataError
        If there is no recording, one is damaged, or its form another than mono of 16 bits.
    SaltationError
        If nobody of that name speaks.
    """
    contents = _contents(place)
    speakers = sorted({speaker for _, speaker, _, _, _ in contents})
    if held_out is not None:
        choose("speaker", held_out, speakers)

    def is_test(speaker: str, index: int) -> bool:
        return index < _TESTED if held_out is None else speaker == held_out

    train, test = (
        _split([one for one in contents if is_test(one[1], one[2]) == tested], place)
        for tested in (False, True)
    )
    files = [place] if place.is_file() else sorted(_folder(place).glob("*.wav"))
    durations = (split.images.duration for split in (train, test))
    return Spec(
        name=str(place) + (f"#{held_out}" if held_out else ""),
        title="free spoken digits" + (f", {held_out} held out" if held_out else ""),
        classes=10,
        shape=(2 * CHANNELS,),
        samples=len(train),
        # Filtering takes seconds, and spikes are few: they are kept.
        read=lambda _, *limits: limited(train, test, limits),
        bundled=True,
        fingerprint=fingerprint(files) + (f"-{held_out}" if held_out else ""),
        duration=max(durations),
    )


def _folder(place: Path) -> Path:
    return find_part(place, ("recordings/",)) or place


def _contents(place: Path) -> list[tuple[int, str, int, str, bytes]]:
    """Digit, speaker, index, name and bytes of every recording, ordered so that classes mix."""
    if place.is_file():
        files = read_tar_matching(place, _NAME, _LIMIT)
    else:
        files = {
            file.name: bytes(read_file(file, _MOST))
            for file in sorted(_folder(place).glob("*.wav"))
            if _NAME.fullmatch(file.name)
        }
    found = []
    for name, content in files.items():
        match = _NAME.fullmatch(name)
        if match:
            found.append((int(match[1]), match[2], int(match[3]), name, content))
    if not found:
        raise DataError(f"{place}: holds no recording DIGIT_SPEAKER_INDEX.wav")
    return sorted(found, key=lambda one: (one[2], one[1], one[0]))


def _split(contents: list[tuple[int, str, int, str, bytes]], place: Path) -> Split:
    if not contents:
        raise DataError(f"{place}: no recording is left for one of the splits")
    sounds = [_sound(content, f"{place}: {name}") for _, _, _, name, content in contents]
    rates = {rate for _, rate in sounds}
    if len(rates) > 1:
        raise DataError(f"{place}: recordings have {min(rates)} to {max(rates)} samples a second")
    times, units = zip(*spikes_of([sound for sound, _ in sounds], rates.pop()), strict=True)
    offsets = np.cumsum([0, *map(len, times)])
    recording = Recording(np.concatenate(times), np.concatenate(units), offsets)
    labels = torch.tensor([digit for digit, *_ in contents])
    return Split(SpikeTrains(recording, (2 * CHANNELS,)), labels)


def _sound(content: bytes, what: str) -> tuple[NDArray[np.float64], int]:
    try:
        with wave.open(io.BytesIO(content)) as file:
            rate, frames = file.getframerate(), file.getnframes()
            if file.getnchannels() != 1 or file.getsampwidth() != 2:
                raise DataError(
                    f"{what}: has {file.getnchannels()} channels of "
                    f"{8 * file.getsampwidth()} bits, not one of 16"
                )
            if not 4000 <= rate <= 192_000 or frames > _LONGEST * rate:
                raise DataError(f"{what}: {frames} samples at {rate} Hz are none of speech")
            raw = file.readframes(frames)
    except (wave.Error, EOFError, OSError) as error:
        raise DataError(f"{what}: truncated or damaged .wav file ({error})") from error
    if len(raw) < 2 * frames:
        raise DataError(f"{what}: is truncated")
    return np.frombuffer(raw, "<i2").astype(np.float64), rate
