"""The passes of a trial over a data set: what it is trained, tested and chosen on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from saltation.data import Augment, Batch, Dataset, batches
from saltation.data.dataset import Split
from saltation.ranks import Ranks
from saltation.studies.engine.validation import validation_batches


class Passes(NamedTuple):
    """The batches of an epoch.

    Attributes
    ----------
    train, test
        ``epoch -> batches``, as `Task` takes them.
    validation
        As ``test``, of what was put aside; None if nothing was.
    batches
        Their number in an epoch, of all three together.
    """

    train: Callable[[int], Iterator[Batch]]
    test: Callable[[int], Iterator[Batch]]
    validation: Callable[[int], Iterator[Batch]] | None
    batches: int


def passes(
    data: Dataset,
    aside: Split,
    size: int,
    seed: int,
    ranks: Ranks | None = None,
    augment: Augment | None = None,
) -> Passes:
    """Passes in batches of ``size``, the training set in an order that follows from the seed.

    A last training batch that is not whole is dropped, unless it is the only one.
    """
    whole = len(data.train) >= size
    part = ranks.part if ranks else (0, 1)
    tests = sum(-(-len(split) // size) for split in (data.test, aside))

    def train(epoch: int) -> Iterator[Batch]:
        return batches(
            data.train,
            size,
            seed=seed,
            epoch=epoch,
            shuffle=True,
            drop_last=whole,
            augment=augment,
            part=part,
        )

    return Passes(
        train=train,
        test=lambda _: batches(data.test, size, part=part),
        validation=(lambda _: validation_batches(aside, size, part)) if len(aside) else None,
        batches=(len(data.train) // size if whole else 1) + tests,
    )
