"""The loop: epochs of optimisation and evaluation.

It knows neither data sets nor encoders: a `Task` yields batches and turns them into logits. A
record is yielded after each epoch, so that whoever consumes it decides what is stored and when to
stop.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.layers import SpikeStatistics, noted, watch_potentials
from saltation.ranks import Ranks
from saltation.snapshot import Keeper, Stateful, restore, take
from saltation.training.evaluation import Tally, evaluate
from saltation.training.optimisation import Optimisation
from saltation.training.records import Diverged, EpochRecord, Score
from saltation.training.task import Task


def fit(
    network: nn.Module,
    optimisation: Optimisation,
    task: Task | None = None,
    *,
    device: torch.device,
    on_batch: Callable[[int], None] = lambda done: None,
    keeper: Keeper | None = None,
    ranks: Ranks | None = None,
    potentials: bool = False,
    **parts: Any,
) -> Iterator[EpochRecord]:
    """Train ``network``, yielding a record after each epoch.

    Parameters
    ----------
    network
        Trained in place.
    optimisation
        How.
    task
        For what; or give its fields as keywords: ``train``, ``test`` and ``logits``, and where they
        are wanted ``loss``, ``validation`` and ``terms``.
    device
        Where the network runs; batches are expected there.
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
    **parts
        Fields of `Task`, in place of one.

    Raises
    ------
    SaltationError
        If both a task and parts of one are given.
    Diverged
        After the record of an epoch that was cut short because a loss or gradient was not finite.
        That record's test score is of the weights as the step left them: what a loop that does
        not look would go on with.
    """
    if task is not None and parts:
        raise SaltationError(f"give either a task or its parts, got a task and {', '.join(parts)}")
    task = Task(**parts) if task is None else task
    run = _Run(network, optimisation, task, ranks or Ranks(device), on_batch)
    return run.epochs(keeper, potentials)


@dataclass
class _Pass:
    """What a pass over the training set came to; ``diverged`` names what was not finite."""

    tally: Tally
    norms: float = 0.0
    step: int = 0
    changes: int = 0
    diverged: str = ""


class _Run:
    """One training: the network, what changes it, and whom it tells."""

    def __init__(
        self,
        network: nn.Module,
        optimisation: Optimisation,
        task: Task,
        ranks: Ranks,
        on_batch: Callable[[int], None],
    ) -> None:
        self._network, self._how, self._task = network, optimisation, task
        self._ranks, self._on_batch = ranks, on_batch
        optimizer = optimisation.optimizer_of(network)
        self._model, self._optimizer = ranks.fabric.setup(network, optimizer)
        self._schedule = optimisation.schedule_of(self._optimizer)
        self._parameters = [p for p in network.parameters() if p.requires_grad]

    @property
    def _parts(self) -> dict[str, Any]:
        """All that changes, by the names that snapshots have for it."""
        parts: dict[str, Any] = {"network": self._network, "optimizer": self._optimizer}
        if self._schedule is not None:
            parts["schedule"] = self._schedule
        terms = enumerate(self._task.terms)
        return parts | {f"term {i}": term for i, term in terms if isinstance(term, Stateful)}

    def epochs(self, keeper: Keeper | None, potentials: bool) -> Iterator[EpochRecord]:
        """As `fit` yields them."""
        if keeper is not None and keeper.epoch:
            restore(keeper.load(), self._parts)
        for epoch in range(1 + (keeper.epoch if keeper else 0), self._how.epochs + 1):
            start = time.perf_counter()
            lr = self._optimizer.param_groups[0]["lr"]
            trained = self._train(epoch)
            if self._schedule is not None and not trained.diverged:
                self._schedule.step()
            self._ranks.share(self._network.buffers())
            test, aside, layers = self._test(epoch, trained.step)
            seconds = time.perf_counter() - start
            seen = self._potentials(epoch) if potentials else {}
            if keeper is not None and not trained.diverged:
                keeper.save(epoch, take(self._parts), (aside or test).merit)
            yield EpochRecord(
                epoch=epoch,
                train=trained.tally.score(self._ranks),
                test=test,
                layers=layers,
                gradient_norm=trained.norms / max(trained.changes, 1),
                lr=lr,
                seconds=seconds,
                validation=aside,
                potentials=seen,
            )
            if trained.diverged:
                raise Diverged(trained.diverged, epoch, trained.step)

    def _train(self, epoch: int) -> _Pass:
        """One pass over the training set, or its part up to what is not finite."""
        done = _Pass(Tally())
        self._model.train()
        grouped = _grouped(self._task.train(epoch), self._how.accumulate)
        for done.step, (batch, place, size) in enumerate(grouped, start=1):
            total = self._loss(batch, epoch, done)
            if done.diverged:
                break
            if place == 0:
                self._optimizer.zero_grad()
            self._ranks.fabric.backward(total / size if size > 1 else total)
            if place == size - 1 and not self._change(done):
                break
            self._on_batch(done.step)
        return done

    def _loss(self, batch: Any, epoch: int, done: _Pass) -> Tensor:
        """Of a training batch, with all terms."""
        task, ranks = self._task, self._ranks
        with noted() as unseen:  # neurons are silent where their currents are NaN
            outputs = task.logits(self._model, batch, epoch, True)
        total = task.loss(outputs, batch.labels)
        finite = done.tally.add(total, outputs, batch.labels)
        if ranks.total([not finite or bool(unseen)])[0]:
            done.diverged = "a neuron's current" if finite and unseen else "the loss"
            return total
        for term in task.terms:
            total = total + term(self._network, batch, epoch)
        if task.terms and ranks.total([not math.isfinite(float(total.detach()))])[0]:
            done.diverged = "a term of the loss"
        return total

    def _change(self, done: _Pass) -> bool:
        """One change of the weights; whether it was finite."""
        norm = float(nn.utils.clip_grad_norm_(self._parameters, self._how.limit))
        done.norms += norm
        done.changes += 1
        self._optimizer.step()
        if not math.isfinite(norm):
            done.diverged = "the gradient"
        return not done.diverged

    def _test(
        self, epoch: int, done: int
    ) -> tuple[Score, Score | None, dict[str, SpikeStatistics]]:
        """Scores on the test set and on what was put aside, and what layers do on the test set."""
        counter = itertools.count(done + 1)

        # Not through the wrapped model, whose processes wait for each other: their numbers of test
        # batches may differ.
        def logits(batch: Any) -> Tensor:
            return self._task.logits(self._network, batch, epoch, False)

        def score(batches: Iterable[Any]) -> tuple[Score, dict[str, SpikeStatistics]]:
            return evaluate(
                self._network,
                batches,
                logits,
                lambda _: self._on_batch(next(counter)),
                self._ranks,
                self._task.loss,
            )

        test, layers = score(self._task.test(epoch))
        validation = self._task.validation
        return test, None if validation is None else score(validation(epoch))[0], layers

    def _potentials(self, epoch: int) -> dict[str, Tensor]:
        """Of every neuron layer on the first test batch."""
        with torch.no_grad(), noted(), watch_potentials(self._network) as seen:
            self._task.logits(self._network, next(iter(self._task.test(epoch))), epoch, False)
        return seen


def _grouped(batches: Iterable[Any], size: int) -> Iterator[tuple[Any, int, int]]:
    """Batches with their place in a group of so many, and its size; the last may be smaller."""
    left = iter(batches)
    while group := list(itertools.islice(left, size)):
        for place, batch in enumerate(group):
            yield batch, place, len(group)
