"""From sound to spikes: a bank of band-pass filters, and changes of level.

Each channel is a second-order Butterworth band-pass filter from the centre of the channel below to
that of the channel above; centres are spaced evenly in the logarithm from 100 Hz to 0.45 of the
sampling rate. The output is rectified, averaged over a millisecond and smoothed with a time
constant of 8 ms; its level is the logarithm, in units of `STEP`, above a floor of `FLOOR` below the
loudest moment of the recording. Where it has risen by a level since the channel's last spike the
channel's first unit spikes, where it has fallen by one its second: as an event camera does for
light (send-on-delta; Miskowicz, "Send-on-delta concept: an event-based data reporting strategy",
Sensors, 2006). Spikes of several levels in one millisecond are spread evenly over it. Times are in
milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHANNELS = 32
STEP = 3.0  # dB between two levels
FLOOR = 45.0  # dB
_LOWEST = 100.0  # Hz
_SMOOTH = 8.0  # ms
_TOGETHER = 64  # sounds filtered at once


def spikes_of(
    sounds: Sequence[NDArray[np.float64]], rate: int
) -> list[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Times in ms, ascending, and units, 0 to ``2 CHANNELS - 1``, of each sound ``[samples]``.

    Parameters
    ----------
    sounds
        Each on any scale: levels are relative to its loudest moment.
    rate
        Samples per second.
    """
    found: list[Any] = [None] * len(sounds)
    # Sounds of about equal length are filtered together; what follows the end of one changes
    # nothing before it.
    by_length = sorted(range(len(sounds)), key=lambda n: len(sounds[n]))
    for first in range(0, len(sounds), _TOGETHER):
        chosen = by_length[first : first + _TOGETHER]
        power = _powers([sounds[n] for n in chosen], rate)
        per_ms = rate // 1000
        moments = [len(sounds[n]) // per_ms for n in chosen]
        loudest = [mine[:end].max(initial=0) for mine, end in zip(power, moments, strict=True)]
        levels = _levels(power, np.array(loudest))
        for n, mine, end in zip(chosen, levels, moments, strict=True):
            found[n] = _changes(mine[:end])
    return found


def _powers(sounds: list[NDArray[np.float64]], rate: int) -> NDArray[np.float64]:
    """Smoothed amplitude ``[sounds, ms, CHANNELS]``."""
    from scipy import signal  # the import takes long

    per_ms = rate // 1000
    moments = max(1, max(map(len, sounds)) // per_ms)
    padded = np.zeros((len(sounds), moments * per_ms))
    for row, sound in zip(padded, sounds, strict=True):
        row[: len(sound)] = sound[: moments * per_ms]
    centres = np.geomspace(_LOWEST, 0.45 * rate, CHANNELS)
    apart = centres[1] / centres[0]
    decay = np.exp(-1 / _SMOOTH)
    power = np.empty((len(sounds), moments, CHANNELS))
    for c, centre in enumerate(centres):
        band = centre / apart, min(centre * apart, 0.499 * rate)
        filtered = signal.sosfilt(signal.butter(1, band, "bandpass", fs=rate, output="sos"), padded)
        averaged = np.abs(filtered).reshape(len(sounds), moments, per_ms).mean(2)
        power[:, :, c] = signal.lfilter([1 - decay], [1, -decay], averaged)
    return power


def _levels(power: NDArray[np.float64], loudest: NDArray[np.float64]) -> NDArray[np.int64]:
    """Levels ``[sounds, ms, CHANNELS]`` that were reported last, 0 at the floor; ``loudest``
    [sounds] is the largest power of each."""
    relative = power / np.where(loudest > 0, loudest, 1)[:, None, None]
    decibels = 20 * np.log10(np.maximum(relative, 1e-12)) + FLOOR
    exact = np.maximum(decibels, 0) / STEP
    levels = np.empty(power.shape, np.int64)
    last = np.zeros((len(power), power.shape[2]), np.int64)
    for moment in range(power.shape[1]):
        here = exact[:, moment]
        rise, fall = np.floor(here - last), np.floor(last - here)
        last = last + np.maximum(rise, 0).astype(np.int64) - np.maximum(fall, 0).astype(np.int64)
        levels[:, moment] = last
    return levels


def _changes(level: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Times and units of the changes of level, from silence on."""
    rise = np.diff(level, axis=0, prepend=0)
    moment, channel = np.nonzero(rise)
    number = np.abs(rise[moment, channel])
    unit = np.where(rise[moment, channel] > 0, channel, CHANNELS + channel)
    place = np.arange(number.sum()) - np.repeat(number.cumsum() - number, number)
    times = np.repeat(moment, number) + (place + 0.5) / np.repeat(number, number)
    order = np.argsort(times, kind="stable")
    return times[order], np.repeat(unit, number)[order]
