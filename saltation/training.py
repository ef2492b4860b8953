"""The one training loop: epochs of optimisation and evaluation, over lightning-fabric.

The loop knows neither data sets nor encoders: it is handed two functions that yield batches and
one that turns a batch into logits. It yields a record after each epoch, so that whoever consumes
it decides what is stored and when to stop.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR

from saltation.errors import SaltationError, choose, count, positive
from saltation.layers import SpikeStatistics, merged, noted, watch, watch_potentials
from saltation.ranks import Ranks
from saltation.snapshot import Keeper, Stateful, restore, take

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": lambda parameters, lr, weight_decay: torch.optim.SGD(
        parameters, lr=lr, weight_decay=weight_decay, momentum=0.9
    ),
}
SCHEDULES = ("none", "cosine")


class Batch(Protocol):
    """What the loop needs to know of a batch."""

    @property
    def labels(self) -> Tensor: ...


class Diverged(Exception):
    """A loss or gradient that is not finite, with the epoch and step (from 1) it appeared in."""

    def __init__(self, what: str, epoch: int, step: int) -> None:
        super().__init__(f"{what} is not finite at epoch {epoch}, step {step}")
        self.epoch, self.step = epoch, step


@dataclass(frozen=True)
class Optimisation:
    """How weights are changed.

    Parameters
    ----------
    epochs : int
        Passes over the training set.
    lr : float
        Learning rate, at the start where a schedule changes it.
    optimizer : str
        ``adam``, ``adamw`` or ``sgd`` (momentum 0.9).
    schedule : str
        ``none``, or ``cosine`` annealing to zero over the epochs.
    weight_decay : float
        L2 penalty (``adam``, ``sgd``) or decoupled decay (``adamw``).
    clip : float, optional
        Largest norm of the gradient; larger ones are scaled down to it.
    accumulate : int
        Batches whose mean gradient one change of the weights follows: as a batch that many times as
        large, in the memory of one. What is left at the end of an epoch is a change too.
    """

    epochs: int
    lr: float = 1e-3
    optimizer: str = "adam"
    schedule: str = "none"
    weight_decay: float = 0.0
    clip: float | None = None
    accumulate: int = 1

    def __post_init__(self) -> None:
        choose("optimizer", self.optimizer, OPTIMIZERS)
        choose("schedule", self.schedule, SCHEDULES)
        positive("lr", self.lr)
        if self.epochs < 1:
            raise SaltationError(f"epochs must be at least 1, got {self.epochs}")
        count("accumulate", self.accumulate)
        if not 0 <= self.weight_decay < math.inf:
            raise SaltationError(f"weight_decay must be at least 0, got {self.weight_decay}")
        if self.clip is not None:
            positive("clip", self.clip)


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
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def spikes(self) -> SpikeStatistics:
        """Statistics of all neuron layers taken together."""
        return merged(self.layers)


def fit(
    network: nn.Module,
    optimisation: Optimisation,
    *,
    train: Callable[[int], Iterable[Batch]],
    test: Callable[[int], Iterable[Batch]],
    logits: Callable[[nn.Module, Any, int, bool], Tensor],
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
    validation: Callable[[int], Iterable[Batch]] | None = None,
    device: torch.device,
    terms: Sequence[Callable[[nn.Module, Any, int], Tensor]] = (),
    on_batch: Callable[[int], None] = lambda done: None,
    keeper: Keeper | None = None,
    ranks: Ranks | None = None,
    potentials: bool = False,
) -> Iterator[EpochRecord]:
    """Train ``network``, yielding a record after each epoch.

    Parameters
    ----------
    network
        Trained in place.
    optimisation
        How.
    train, test
        ``epoch -> batches`` with labels, epochs counted from 1.
    logits
        ``(network, batch, epoch, training) -> [B, classes]``.
    loss
        ``(logits, labels) -> scalar``, the mean over a batch. Labels may be targets, floating-point
        numbers of any shape that begins with the batch; there is then no accuracy.
    validation
        As ``test``, of samples that are in neither: their accuracy, or for want of one their loss,
        tells the keeper which epoch is the best. Without it that of the test set does.
    device
        Where the network runs; batches are expected there.
    terms
        Each ``(network, batch, epoch) -> scalar`` is added to the loss of every training batch.
        The recorded losses are without them.
    on_batch
        Called after each batch with the number done in the epoch, of training, test and validation
        together.
    keeper
        Is given a snapshot after every epoch, before the record is yielded; training goes on from
        the one it has, to the same results as if it had never stopped. Terms that have a
        ``state_dict`` are in it.
    ranks
        The processes that train together, this one alone if not given. Each is handed its part of
        every batch, of one size in all; the records are of all parts.
    potentials
        Whether records have them; it takes one more test batch, beside the epoch's seconds.

    Raises
    ------
    Diverged
        After the record of an epoch that was cut short because a loss or gradient was not finite.
        That record's test score is of the weights as the step left them: what a loop that does
        not look would go on with.
    """
    ranks = ranks or Ranks(device)
    optimizer = OPTIMIZERS[optimisation.optimizer](
        network.parameters(), lr=optimisation.lr, weight_decay=optimisation.weight_decay
    )
    model, optimizer = ranks.fabric.setup(network, optimizer)
    cosine = optimisation.schedule == "cosine"
    schedule = CosineAnnealingLR(optimizer, optimisation.epochs) if cosine else None
    parameters = [p for p in network.parameters() if p.requires_grad]
    limit = math.inf if optimisation.clip is None else optimisation.clip

    parts: dict[str, Any] = {"network": network, "optimizer": optimizer}
    if schedule is not None:
        parts["schedule"] = schedule
    parts |= {f"term {i}": term for i, term in enumerate(terms) if isinstance(term, Stateful)}
    if keeper is not None and keeper.epoch:
        restore(keeper.load(), parts)

    for epoch in range(1 + (keeper.epoch if keeper else 0), optimisation.epochs + 1):
        start = time.perf_counter()
        lr = optimizer.param_groups[0]["lr"]
        tally, norms, step, changes = _Tally(), 0.0, 0, 0
        diverged = ""
        model.train()
        grouped = _grouped(train(epoch), optimisation.accumulate)
        for step, (batch, place, size) in enumerate(grouped, start=1):
            with noted() as unseen:  # neurons are silent where their currents are NaN
                outputs = logits(model, batch, epoch, True)
            total = loss(outputs, batch.labels)
            finite = tally.add(total, outputs, batch.labels)
            if ranks.total([not finite or bool(unseen)])[0]:
                diverged = "a neuron's current" if finite and unseen else "the loss"
                break
            for term in terms:
                total = total + term(network, batch, epoch)
            if terms and ranks.total([not math.isfinite(float(total.detach()))])[0]:
                diverged = "a term of the loss"
                break
            if place == 0:
                optimizer.zero_grad()
            ranks.fabric.backward(total / size if size > 1 else total)
            if place < size - 1:
                on_batch(step)
                continue
            norm = float(nn.utils.clip_grad_norm_(parameters, limit))
            norms += norm
            changes += 1
            optimizer.step()
            if not math.isfinite(norm):
                diverged = "the gradient"
                break
            on_batch(step)
        if schedule is not None and not diverged:
            schedule.step()
        ranks.share(network.buffers())
        done = [step]

        # Not through the wrapped model, whose processes wait for each other: their numbers of test
        # batches may differ.
        def untouched(batch: Any, epoch: int = epoch) -> Tensor:
            return logits(network, batch, epoch, False)

        def tested(_: int, done: list[int] = done) -> None:
            done[0] += 1
            on_batch(done[0])

        test_score, layers = evaluate(network, test(epoch), untouched, tested, ranks, loss)
        aside: Score | None = None
        if validation is not None:
            aside, _ = evaluate(network, validation(epoch), untouched, tested, ranks, loss)
        seconds = time.perf_counter() - start
        seen: dict[str, Tensor] = {}
        if potentials:
            with torch.no_grad(), noted(), watch_potentials(network) as seen:
                logits(network, next(iter(test(epoch))), epoch, False)
        if keeper is not None and not diverged:
            keeper.save(epoch, take(parts), (aside or test_score).merit)
        yield EpochRecord(
            epoch=epoch,
            train=tally.score(ranks),
            test=test_score,
            layers=layers,
            gradient_norm=norms / max(changes, 1),
            lr=lr,
            seconds=seconds,
            validation=aside,
            potentials=seen,
        )
        if diverged:
            raise Diverged(diverged, epoch, step)


def _grouped(batches: Iterable[Any], size: int) -> Iterator[tuple[Any, int, int]]:
    """Batches with their place in a group of so many, and its size; the last may be smaller."""
    left = iter(batches)
    while group := list(itertools.islice(left, size)):
        for place, batch in enumerate(group):
            yield batch, place, len(group)


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
    tally = _Tally()
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


class _Tally:
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
