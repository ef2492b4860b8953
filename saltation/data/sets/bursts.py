"""`bsd`: burst sequence detection (Baronig, Ferrand, Sabathiel & Legenstein, "Advancing
spatio-temporal processing through adaptation in spiking neural networks", Nature Communications,
2025): which bursts tell a class, among others that tell nothing?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from saltation import random
from saltation.data.dataset import Split
from saltation.data.generated import Generated, check_between
from saltation.data.registry import Spec, register
from saltation.data.trains import Recording, SpikeTrains
from saltation.errors import SaltationError, count, positive

_CHUNK = 500  # samples drawn at once: bounds the memory for random numbers
# Sites of the generator behind those of the channels' spikes.
_TIMES, _CHOICE = 1 << 16, 1 << 17


@dataclass(frozen=True)
class BurstSequences(Generated):
    """Bursts in some channels at times that tell the class, in the others at any time.

    A class is a choice of ``telling`` channels and a time for the burst of each, drawn once from
    the seed. In a sample of the class these channels burst at their times; every other channel
    bursts once too, at a time of its own, uniformly drawn. So neither how many spikes there are nor
    which channels spike says anything: only when some of them do. Sample i is of class i modulo the
    classes.

    Taken from the published task and its configuration: 10 channels, 200 steps of 1 ms, 20 classes,
    3 channels that tell a class, a probability of a spike in a step of 0.05 that rises to 0.8 as a
    Gaussian with a standard deviation of 3.16 steps around the time of the burst, times between a
    tenth and 0.85 of the duration, the same in all samples of a class; 8,000 samples of which a
    fifth is tested on (the tenth of validation is among the training samples here; studies put one
    aside with ``validation``). Chosen here: all classes have as many samples.

    Parameters
    ----------
    classes, channels, telling : int
        Classes, input channels, and channels that tell a class, fewer than all.
    steps : int
        Duration in ms.
    width : float
        Standard deviation of the probability of a burst in ms, at most a quarter of the duration.
    probability : (float, float)
        Of a spike in a ms, without a burst and at the peak of one.
    within : (float, float)
        The part of the duration in which bursts are, from 0 to 1.
    seed : int
        Of classes and samples.

    Raises
    ------
    SaltationError
        If a number is out of range.
    """

    classes: int = 20
    channels: int = 10
    telling: int = 3
    steps: int = 200
    width: float = math.sqrt(10.0)
    probability: tuple[float, float] = (0.05, 0.8)
    within: tuple[float, float] = (0.1, 0.85)
    seed: int = 0

    name = "bsd"
    title = "burst sequence detection, generated (Baronig et al., 2025)"
    sizes = (6_400, 1_600)

    def __post_init__(self) -> None:
        for name in ("classes", "channels", "telling", "steps"):
            count(name, getattr(self, name))
        if self.telling >= self.channels:
            raise SaltationError(
                f"telling must be fewer than the {self.channels} channels, got {self.telling}"
            )
        if 4 * positive("width", self.width) > self.steps:
            raise SaltationError(
                f"width must be at most steps / 4 = {self.steps / 4:g}, got {self.width:g}"
            )
        check_between("probability", self.probability, 0.0)
        if self.probability[1] > 1:
            raise SaltationError(f"probability must be at most 1, got {self.probability}")
        check_between("within", self.within, 0.0)
        if self.within[1] > 1:
            raise SaltationError(f"within must be at most 1, got {self.within}")

    def templates(self) -> Tensor:
        """Times of the bursts of every class, float64 ``[classes, channels]`` in ms, NaN in the
        channels that tell nothing."""
        number, channel = torch.arange(self.classes)[:, None], torch.arange(self.channels)
        order, times, *_ = self.uniform(0, _CHOICE + channel, number, random.ORDER)
        chosen = order.argsort(1) < self.telling
        return torch.where(chosen, self._at(times), torch.nan)

    def bursts(self, index: Tensor, *, stream: int = random.TRAIN) -> Tensor:
        """Times of the bursts of samples, float64 ``[B, channels]`` in ms."""
        anywhere = self._at(
            self.uniform(0, _TIMES + torch.arange(self.channels), index[:, None], stream)[0]
        )
        told = self.templates()[index % self.classes]
        return torch.where(told.isnan(), anywhere, told)

    def spikes(self, index: Tensor, *, stream: int = random.TRAIN) -> Tensor:
        """Spikes of samples in steps of 1 ms, bool ``[B, steps, channels]``."""
        time = torch.arange(self.steps, dtype=torch.float64)[None, :, None] + 0.5
        low, high = self.probability
        bump = torch.exp(
            -(((time - self.bursts(index, stream=stream)[:, None]) / self.width) ** 2) / 2
        )
        blocks = torch.arange(-(-self.steps // 4))[None, :, None]
        site = torch.arange(self.channels)
        drawn = self.uniform(blocks, site, index[:, None, None], stream)  # [4, B, blocks, channels]
        drawn = drawn.permute(1, 2, 0, 3).flatten(1, 2)[:, : self.steps]
        return drawn < low + (high - low) * bump

    def split(self, samples: int, *, stream: int = random.TRAIN) -> Split:
        times, units, sizes = [], [], []
        index = torch.arange(samples)
        for chunk in torch.split(index, _CHUNK):
            spikes = self.spikes(chunk, stream=stream)
            _, time, unit = spikes.nonzero(as_tuple=True)
            times.append(time.double().numpy())
            units.append(unit.numpy())
            sizes.append(spikes.sum((1, 2)).numpy())
        recording = Recording(
            np.concatenate(times), np.concatenate(units), np.cumsum([0, *np.concatenate(sizes)])
        )
        return Split(SpikeTrains(recording, (self.channels,)), index % self.classes)

    def spec(self) -> Spec:
        return Spec(
            name=self.name,
            title=self.title,
            classes=self.classes,
            shape=(self.channels,),
            samples=self.sizes[0],
            read=self.read,
            bundled=True,
            duration=float(self.steps),
        )

    def _at(self, drawn: Tensor) -> Tensor:
        first, last = self.within
        return self.steps * (first + (last - first) * drawn)


register(BurstSequences().spec())
