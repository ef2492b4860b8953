"""Recorded spikes: events in continuous time, binned to the steps of any dt."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.errors import DataError, count, positive
from saltation.kernels.events import Events, SpikeTensor

_WORD = 64  # steps in a word of bits
_CHUNK = 256  # samples binned at once: bounds what sorting takes
_ROUNDING = 1e-9  # of a step: an event on the edge of a bin belongs to the one that begins there


class Recording(NamedTuple):
    """Events of N samples, one after another.

    Attributes
    ----------
    times
        float64 ``[E]``, at least 0.
    units
        int64 ``[E]``: which of the units, flat.
    offsets
        int64 ``[N + 1]``: those of sample n are ``offsets[n]`` up to ``offsets[n + 1]``.
    """

    times: NDArray[np.float64]
    units: NDArray[np.int64]
    offsets: NDArray[np.int64]


class _Binned(NamedTuple):
    """All samples at one dt, as `Events` has those of a batch; places and rows count from 0 in each
    sample."""

    sites: list[NDArray[np.int32]]
    rows: NDArray[np.int64]
    places: list[NDArray[np.int32]]
    bits: list[NDArray[np.uint64]]
    merged: int


class SpikeTrains:
    """Samples of recorded spikes, which take the place of images in a `Split`.

    Parameters
    ----------
    recording
        The events.
    shape
        Of the units, such as ``(2, 34, 34)`` or ``(700,)``.

    Raises
    ------
    DataError
        If times are negative or not finite, or units are not among those of the shape.
    """

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, recording: Recording, shape: tuple[int, ...]) -> None:
        self._recording, self._of = recording, shape
        self._index = np.arange(len(recording.offsets) - 1)
        _check(recording, math.prod(shape))
        self._binned = lru_cache(maxsize=4)(self._at)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def shape(self) -> torch.Size:
        """``[N, *units]``."""
        return torch.Size((len(self), *self._of))

    @property
    def ndim(self) -> int:
        """Of `shape`."""
        return 1 + len(self._of)

    def __getitem__(self, index: Any) -> SpikeTrains:
        """Some of the samples; what was binned is shared."""
        found = object.__new__(SpikeTrains)
        found.__dict__.update(self.__dict__)
        chosen = index.numpy() if isinstance(index, Tensor) else index
        found._index = self._index[chosen]
        return found

    def clone(self) -> SpikeTrains:
        """The same samples: nothing changes them."""
        return self

    def to(self, device: Any) -> SpikeTrains:
        """The same: events are binned on the CPU."""
        del device
        return self

    @property
    def counts(self) -> NDArray[np.int64]:
        """Events of every sample."""
        return np.diff(self._recording.offsets)[self._index]

    @property
    def recording(self) -> Recording:
        """The events of these samples, one sample after another."""
        times, units, offsets = self._recording
        sizes = self.counts
        ends = np.cumsum(sizes)
        # The place of every event in the whole recording.
        place = np.arange(sizes.sum()) + np.repeat(offsets[self._index] - (ends - sizes), sizes)
        return Recording(times[place], units[place], np.concatenate([[0], ends]))

    def replaced(self, recording: Recording) -> SpikeTrains:
        """Samples with these events, of the same units."""
        return SpikeTrains(recording, self._of)

    def lengths(self, steps: int, dt: float) -> Tensor:
        """Steps until the last event of every sample, int64 ``[B]``, from 1 to ``steps``.

        With `lengths_mask` what follows them has no part in readouts and losses.
        """
        steps, dt = count("steps", steps), positive("dt", dt)
        times, _, offsets = self.recording
        last = np.zeros(len(self))
        for n in range(len(self)):
            last[n] = times[offsets[n] : offsets[n + 1]].max(initial=0.0)
        found = np.floor(last / dt + _ROUNDING).astype(np.int64) + 1
        return torch.from_numpy(np.clip(found, 1, steps))

    @property
    def duration(self) -> float:
        """The time of the last event of any of the samples' recording."""
        times = self._recording.times
        return float(times.max()) if len(times) else 0.0

    def merged(self, steps: int, dt: float) -> float:
        """The fraction of all events that share their bin with another of their unit."""
        return self._binned(steps, dt).merged / max(1, len(self._recording.times))

    def at(self, steps: int, dt: float) -> Tensor:
        """The spikes at steps of ``dt``: of those of a unit in one step, one is left.

        Parameters
        ----------
        steps
            T; what comes later is left out, and an event at the very end is in the last step.
        dt
            Length of a step, in the unit of the times.

        Returns
        -------
        float32 ``[T, B, F]``, kept as events, with the units flat.
        """
        steps, dt = count("steps", steps), positive("dt", dt)
        binned = self._binned(steps, dt)
        sites = [binned.sites[n] for n in self._index]
        places = [binned.places[n] for n in self._index]
        rows = binned.rows[self._index]
        starts = np.cumsum([0, *map(len, places)])
        events = Events(
            shape=(steps, len(self), math.prod(self._of)),
            offsets=np.cumsum([0, *map(len, sites)]),
            sites=np.concatenate([np.empty(0, np.int32), *sites]),
            rows=rows + starts[:-1, None],
            places=np.concatenate([np.empty(0, np.int32), *places]),
            bits=np.concatenate(
                [np.empty((-(-steps // _WORD), 0), np.uint64)]
                + [binned.bits[n] for n in self._index],
                axis=1,
            ),
        )
        return SpikeTensor(events)

    def counted(self, steps: int, dt: float) -> Tensor:
        """How many spikes every unit has in every step of ``dt``.

        None are lost in long steps. An event at the very end is in the last step, as in `at`.

        Parameters
        ----------
        steps
            T; what comes later is left out.
        dt
            Length of a step, in the unit of the times.

        Returns
        -------
        float32 ``[T, B, *units]``.
        """
        steps, dt = count("steps", steps), positive("dt", dt)
        times, units, _ = self.recording
        width = math.prod(self._of)
        sample = np.repeat(np.arange(len(self)), self.counts)
        step = _step_of(times, steps, dt)
        key = ((step * len(self) + sample) * width + units)[step < steps]
        found = np.bincount(key, minlength=steps * len(self) * width).astype(np.float32)
        return torch.from_numpy(found).view(steps, len(self), *self._of)

    def _at(self, steps: int, dt: float) -> _Binned:
        samples = len(self._recording.offsets) - 1
        sites: list[Any] = []
        places: list[Any] = []
        bits: list[Any] = []
        rows = np.zeros((samples, steps + 1), np.int64)
        merged = 0
        for first in range(0, samples, _CHUNK):
            last = min(first + _CHUNK, samples)
            merged += self._bin(first, last, steps, dt, sites, places, bits, rows)
        return _Binned(sites, rows, places, bits, merged)

    def _bin(
        self,
        first: int,
        last: int,
        steps: int,
        dt: float,
        sites: list[Any],
        places: list[Any],
        bits: list[Any],
        rows: NDArray[np.int64],
    ) -> int:
        """Samples ``first`` up to ``last``; how many events another stands for."""
        times, units, offsets = self._recording
        here = slice(offsets[first], offsets[last])
        width = math.prod(self._of)
        sample = np.repeat(np.arange(last - first), np.diff(offsets[first : last + 1]))
        step = _step_of(times[here], steps, dt)
        known = step < steps
        key = (sample[known] * steps + step[known]) * width + units[here][known]
        found = np.unique(key)
        row, unit = found // width, found % width
        sample, step = row // steps, row % steps
        used = np.unique(sample * width + unit)  # the sites of each sample, ascending
        ends = np.searchsorted(used, np.arange(last - first + 1) * width)
        place = np.searchsorted(used, sample * width + unit)
        words = np.zeros((-(-steps // _WORD), len(used)), np.uint64)
        shifted = np.left_shift(np.uint64(1), (step % _WORD).astype(np.uint64))
        np.bitwise_or.at(words, (step // _WORD, place), shifted)
        counts = np.bincount(row, minlength=(last - first) * steps).reshape(-1, steps)
        rows[first:last, 1:] = counts.cumsum(1)
        starts = np.searchsorted(sample, np.arange(last - first + 1))
        for n in range(last - first):
            mine = slice(ends[n], ends[n + 1])
            sites.append((used[mine] - n * width).astype(np.int32))
            places.append((place[starts[n] : starts[n + 1]] - ends[n]).astype(np.int32))
            bits.append(words[:, mine])
        return len(key) - len(found)


def _step_of(times: NDArray[np.float64], steps: int, dt: float) -> NDArray[np.int64]:
    """The step of every event. That of the last event is where a recording ends, which is the end
    of the last step where dt divides it: it must not be lost."""
    place = times / dt
    step = np.floor(place + _ROUNDING).astype(np.int64)
    step[np.abs(place - steps) <= _ROUNDING * steps] = steps - 1
    return step


def _check(recording: Recording, width: int) -> None:
    times, units, offsets = recording
    if not np.isfinite(times).all():
        raise DataError(f"{int((~np.isfinite(times)).sum())} times of spikes are not finite")
    if len(times) and times.min() < 0:
        raise DataError(f"a spike has the time {times.min():g}: times are at least 0")
    if len(units) and (units.min() < 0 or units.max() >= width):
        wrong = units.min() if units.min() < 0 else units.max()
        raise DataError(f"a spike is of unit {wrong}: units are from 0 to {width - 1}")
    if len(times) != len(units) or offsets[-1] != len(times):
        raise DataError(f"{len(times)} times for {len(units)} units")
