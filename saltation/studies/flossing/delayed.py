"""Tasks over a delay: what was shown first must still be known at the end.

Every cue is one of two symbols, each a group of input channels that spike at random while it is
shown. After the delay another group, the go cue, spikes while the answer is read. In between, and
in all other channels, there are few spikes.

``copy``: one cue, then the delay; the answer is its symbol.
``xor``: a cue, the delay, a second cue; the answer is whether the two differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from saltation.encoding import poisson
from saltation.errors import SaltationError, choose

TASKS = ("xor", "copy")
SYMBOLS = 2


class Trials(NamedTuple):
    """Some samples of a task.

    Attributes
    ----------
    spikes
        Zeros and ones ``[T, B, C]``.
    labels
        int64 ``[B]``.
    """

    spikes: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Delayed:
    """One task with one delay.

    Sample ``i`` has the symbols that the two lowest bits of ``i`` spell, so that any four in a row
    hold every case once and both answers twice. Its spikes are a function of (seed, epoch, stream,
    i) alone.

    Parameters
    ----------
    task : str
        ``xor`` or ``copy``.
    delay : int
        Steps between the cue and what follows it, at least 0.
    cue_steps, answer_steps : int
        Steps that a cue is shown, and that the answer is read.
    group : int
        Channels of a symbol, and of the go cue.
    rate, noise : float
        Probability of a spike in a step, in the channels that are shown and in all others.
    """

    task: str
    delay: int
    cue_steps: int = 4
    answer_steps: int = 4
    group: int = 4
    rate: float = 0.6
    noise: float = 0.02

    def __post_init__(self) -> None:
        choose("task", self.task, TASKS)
        for name, least in (("delay", 0), ("cue_steps", 1), ("answer_steps", 1), ("group", 1)):
            if getattr(self, name) < least:
                raise SaltationError(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name in ("rate", "noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise SaltationError(f"{name} must be from 0 to 1, got {getattr(self, name)}")

    @property
    def cues(self) -> tuple[int, ...]:
        """The steps at which cues begin."""
        second = self.cue_steps + self.delay
        return (0, second) if self.task == "xor" else (0,)

    @property
    def steps(self) -> int:
        """Steps of a trial."""
        return len(self.cues) * self.cue_steps + self.delay + self.answer_steps

    @property
    def channels(self) -> int:
        """Input channels: a group for every symbol, and that of the go cue."""
        return (SYMBOLS + 1) * self.group

    def draw(self, index: Tensor, *, seed: int, epoch: int, stream: int) -> Trials:
        """The samples of these numbers, int64 ``[B]``."""
        symbols = torch.stack([index & 1, index >> 1 & 1])[: len(self.cues)]
        # [T, B, group's number, place in the group]
        rates = torch.full(
            (self.steps, len(index), SYMBOLS + 1, self.group), self.noise, device=index.device
        )
        for start, shown in zip(self.cues, symbols, strict=True):
            rates[start : start + self.cue_steps, torch.arange(len(index)), shown] = self.rate
        rates[-self.answer_steps :, :, SYMBOLS] = self.rate
        trains = poisson(
            rates.flatten(2).transpose(0, 1),
            1,
            method="bernoulli",
            index=index,
            seed=seed,
            epoch=epoch,
            stream=stream,
        )
        return Trials(trains[0].transpose(0, 1).contiguous(), symbols.sum(0) % 2)

    def batches(
        self,
        samples: int,
        size: int,
        *,
        seed: int,
        epoch: int,
        stream: int,
        device: torch.device | None = None,
        first: int = 0,
    ) -> Iterator[Trials]:
        """One pass over ``samples`` of them from the ``first``, ``size`` at a time."""
        for index in torch.split(torch.arange(first, first + samples, device=device), size):
            yield self.draw(index, seed=seed, epoch=epoch, stream=stream)
