"""What a network is trained for: its samples, what it makes of them, and the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from saltation.training.evaluation import Batch


@dataclass(frozen=True)
class Task:
    """What a network is trained for.

    Parameters
    ----------
    train, test : callable
        ``epoch -> batches`` with labels, epochs counted from 1.
    logits : callable
        ``(network, batch, epoch, training) -> [B, classes]``.
    loss : callable
        ``(logits, labels) -> scalar``, the mean over a batch. Labels may be targets, floating-point
        numbers of any shape that begins with the batch; there is then no accuracy.
    validation : callable, optional
        As ``test``, of samples that are in neither: their accuracy, or for want of one their loss,
        tells which epoch is the best. Without it that of the test set does.
    terms : sequence of callables
        Each ``(network, batch, epoch) -> scalar`` is added to the loss of every training batch.
        Recorded losses are without them.
    """

    train: Callable[[int], Iterable[Batch]]
    test: Callable[[int], Iterable[Batch]]
    logits: Callable[[nn.Module, Any, int, bool], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy
    validation: Callable[[int], Iterable[Batch]] | None = None
    terms: Sequence[Callable[[nn.Module, Any, int], Tensor]] = ()
