"""Augmentation of recorded spikes: in their times, before they are binned to a step.

What happens to an event is a function of (seed, epoch, index of the sample, number of the event)
alone, so it is the same in any batch and order, and at any dt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation import random
from saltation.data.trains import Recording, SpikeTrains
from saltation.errors import Number, SaltationError, fraction, not_negative, number

# Sites of the generator: of events their number, and of a sample's own draw.
_SAMPLE = 1 << 31
# Which of the four draws of a place is for what.
_DROP, _ANGLE, _RADIUS = range(3)


def jitter(
    trains: SpikeTrains, index: Tensor, *, by: float, seed: int = 0, epoch: int = 0
) -> SpikeTrains:
    """Shift every event in time by a Gaussian number; before 0 it is taken to 0.

    Parameters
    ----------
    trains
        Samples of spikes.
    index
        int64 ``[B]``: each sample's index in its split.
    by
        Standard deviation, in the unit of the times.
    seed, epoch
        What the shifts are a function of, beside sample and event.

    Returns
    -------
    The same number of samples; those that were given are not changed.

    Raises
    ------
    SaltationError
        If a number is out of range, or there is not one index for every sample.
    """
    by = not_negative("by", by)
    found, drawn = _drawn(trains, index, seed, epoch)
    # Box & Muller (1958).
    normal = np.sqrt(-2 * np.log(drawn[_RADIUS])) * np.cos(2 * np.pi * drawn[_ANGLE])
    return trains.replaced(found._replace(times=np.maximum(found.times + by * normal, 0.0)))


def drop(
    trains: SpikeTrains, index: Tensor, *, p: float, seed: int = 0, epoch: int = 0
) -> SpikeTrains:
    """Leave out every event with probability ``p``, in [0, 1).

    Other parameters, result and errors are those of `jitter`.
    """
    p = fraction("p", p)
    found, drawn = _drawn(trains, index, seed, epoch)
    kept = drawn[_DROP] >= p
    before = np.concatenate([[0], np.cumsum(kept)])
    return trains.replaced(
        Recording(found.times[kept], found.units[kept], before[found.offsets].astype(np.int64))
    )


def speed(
    trains: SpikeTrains, index: Tensor, *, by: float, seed: int = 0, epoch: int = 0
) -> SpikeTrains:
    """Run every sample faster or slower, by a factor drawn uniformly in ``(1 - by, 1 + by)``.

    Times are divided by it. ``by`` is in [0, 1); other parameters, result and errors are those of
    `jitter`.
    """
    by = fraction("by", by)
    found = trains.recording
    _check(trains, index)
    (word, *_) = random.words(0, _SAMPLE, index.cpu(), seed=seed, epoch=epoch, stream=random.CROP)
    factor = 1 + by * (2 * _unit(word) - 1)
    return trains.replaced(
        found._replace(times=found.times / np.repeat(factor, np.diff(found.offsets)))
    )


def flip(
    trains: SpikeTrains, index: Tensor, *, p: float = 0.5, seed: int = 0, epoch: int = 0
) -> SpikeTrains:
    """Mirror a sample left to right with probability ``p``, from 0 to 1: every event of it.

    Units are of a camera, ``[..., H, W]``: x becomes ``W - 1 - x``. Other parameters, result and
    errors are those of `jitter`.
    """
    p = _probability("p", p)
    _check(trains, index)
    if trains.ndim < 3:
        raise SaltationError(
            f"events are mirrored of units [..., H, W], got {list(trains.shape[1:])}"
        )
    found = trains.recording
    word = random.uint32(seed, epoch, random.FLIP, index.cpu())
    mirrored = np.repeat(_unit(word) < p, np.diff(found.offsets))
    x = found.units % trains.shape[-1]
    units = np.where(mirrored, found.units - x + (trains.shape[-1] - 1 - x), found.units)
    return trains.replaced(found._replace(units=units))


@dataclass(frozen=True)
class AugmentEvents:
    """Jitter, dropping, speed and mirroring for training batches: ``augment`` of `batches`.

    0 turns one off.

    Parameters
    ----------
    jitter : float
        Standard deviation of the shift of an event, in the unit of the times.
    drop : float
        Probability that an event is left out.
    speed : float
        Greatest change of a sample's speed, as a fraction.
    flip : float
        Probability that a sample of a camera is mirrored left to right.
    """

    jitter: float = 0.0
    drop: float = 0.0
    speed: float = 0.0
    flip: float = 0.0

    def __post_init__(self) -> None:
        not_negative("jitter", self.jitter)
        fraction("drop", self.drop)
        fraction("speed", self.speed)
        _probability("flip", self.flip)

    def __call__(self, images: Any, index: Tensor, *, seed: int, epoch: int) -> SpikeTrains:
        """Augmented samples: first slower or faster, then shifted, then fewer, then
        mirrored."""
        found: SpikeTrains = images
        if self.speed:
            found = speed(found, index, by=self.speed, seed=seed, epoch=epoch)
        if self.jitter:
            found = jitter(found, index, by=self.jitter, seed=seed, epoch=epoch)
        if self.drop:
            found = drop(found, index, p=self.drop, seed=seed, epoch=epoch)
        if self.flip:
            found = flip(found, index, p=self.flip, seed=seed, epoch=epoch)
        return found


def _probability(what: str, given: Number) -> float:
    value = number(what, given, "a number from 0 to 1")
    if not 0 <= value <= 1:
        raise SaltationError(f"{what} must be a number from 0 to 1, got {value:g}")
    return value


def _check(trains: Any, index: Tensor) -> None:
    if not isinstance(trains, SpikeTrains) or index.shape != (len(trains),):
        kind = (
            f"{len(trains)} samples" if isinstance(trains, SpikeTrains) else type(trains).__name__
        )
        raise SaltationError(
            f"events are augmented of SpikeTrains with an index for each sample, got {kind} and "
            f"{list(index.shape)}"
        )


def _drawn(
    trains: Any, index: Tensor, seed: int, epoch: int
) -> tuple[Recording, list[NDArray[np.float64]]]:
    """The events of the samples, and four numbers in (0, 1) for each."""
    _check(trains, index)
    found: Recording = trains.recording
    sizes = np.diff(found.offsets)
    number = np.arange(len(found.times)) - np.repeat(found.offsets[:-1], sizes)
    sample = np.repeat(index.cpu().numpy(), sizes)
    words = random.words(
        0,
        torch.from_numpy(number),
        torch.from_numpy(sample),
        seed=seed,
        epoch=epoch,
        stream=random.CROP,
    )
    return found, [_unit(word) for word in words]


def _unit(word: Tensor) -> NDArray[np.float64]:
    return (word.double().numpy() + 0.5) / 2.0**32
