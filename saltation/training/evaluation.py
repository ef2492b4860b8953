"""The score of a network, and what its layers do, over a pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from saltation.layers import SpikeStatistics, noted, watch
from saltation.ranks import Ranks
from saltation.training.records import Score


class Batch(Protocol):
    """What the loop needs to know of a batch."""

    @property
    def labels(self) -> Tensor: ...


@torch.no_grad()
def evaluate(
    network: nn.Module,
    batches: Iterable[Batch],
    logits: Callable[[Any], Tensor],
    on_batch: Callable[[int], None] = lambda done: None,
    ranks: Ranks | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
) -> tuple[Score, dict[str, SpikeStatistics]]:
    """Score of ``network`` in evaluation mode, and spike statistics of its layers by name."""
    network.eval()
    tally = Tally()
    with watch(network) as statistics, noted():
        for done, batch in enumerate(batches, start=1):
            if not len(batch.labels):  # all of it is the part of other processes
                continue
            outputs = logits(batch)
            tally.add(loss(outputs, batch.labels), outputs, batch.labels)
            on_batch(done)
    if ranks is not None:
        for layer in statistics.values():
            layer.sites, layer.spikes = map(int, ranks.total([layer.sites, layer.spikes]))
            layer.counts = None if layer.counts is None else ranks.sum(layer.counts)
    return tally.score(ranks), statistics


class Tally:
    """Running sums of loss and correct answers, weighted by samples."""

    def __init__(self) -> None:
        self.loss = 0.0
        self.correct = 0.0
        self.samples = 0

    def add(self, loss: Tensor, outputs: Tensor, labels: Tensor) -> bool:
        """Add a batch; False if its loss is not finite."""
        value = loss.item()
        self.loss += value * len(labels)
        if labels.is_floating_point():
            self.correct = math.nan
        else:
            self.correct += int((outputs.argmax(1) == labels).sum())
        self.samples += len(labels)
        return math.isfinite(value)

    def score(self, ranks: Ranks | None) -> Score:
        sums: list[float] = [self.loss, self.correct, self.samples]
        loss, correct, samples = ranks.total(sums) if ranks else sums
        return Score(loss / samples, 100 * correct / samples)
