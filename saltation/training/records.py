"""What a training came to, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from saltation.layers import SpikeStatistics, merged


class Diverged(Exception):
    """A loss or gradient that is not finite, with the epoch and step (from 1) it appeared in."""

    def __init__(self, what: str, epoch: int, step: int) -> None:
        super().__init__(f"{what} is not finite at epoch {epoch}, step {step}")
        self.epoch, self.step = epoch, step


@dataclass(frozen=True)
class Score:
    """Mean loss, and accuracy in percent, over the samples of a pass.

    Where targets are numbers there is no accuracy: it is NaN, and the loss is what is measured.
    """

    loss: float
    accuracy: float

    @property
    def merit(self) -> float:
        """The larger the better: the accuracy, or for want of one the loss, negative."""
        return -self.loss if math.isnan(self.accuracy) else self.accuracy


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch came to.

    Attributes
    ----------
    epoch
        From 1.
    train
        Averages while the weights were changing.
    test
        Of the weights at the epoch's end.
    layers
        Statistics of every neuron layer on the test set, by its name.
    gradient_norm
        Mean over changes of the weights of the norm of the whole gradient, before clipping.
    lr
        Learning rate of the epoch.
    seconds
        Duration of training and evaluation.
    validation
        Of the weights at the epoch's end, on the split that was put aside, if one was.
    potentials
        Of every neuron layer on the first test batch, ``[T, B, ...]``, by its name, where they were
        asked for.
    found
        What else a study measured, by name: numbers, or lists of numbers.
    """

    epoch: int
    train: Score
    test: Score
    layers: dict[str, SpikeStatistics]
    gradient_norm: float
    lr: float
    seconds: float
    validation: Score | None = None
    potentials: dict[str, Tensor] = field(default_factory=dict)
    found: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spikes(self) -> SpikeStatistics:
        """Statistics of all neuron layers taken together."""
        return merged(self.layers)
