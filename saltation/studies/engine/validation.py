"""A part of the training set, put aside to choose the best checkpoint on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from saltation import random
from saltation.data import Batch, Dataset, batches
from saltation.data.dataset import Split
from saltation.errors import ConfigError

# Samples put aside are numbered from here, so that they get spikes that no other sample gets.
FIRST = 1 << 31


def held_out(data: Dataset, fraction: float, seed: int) -> tuple[Dataset, Split]:
    """A data set without a part of its training samples, and that part.

    Parameters
    ----------
    data
        Whose test set is not looked at.
    fraction
        Of the training samples, at least 0 and below 1; their number is rounded.
    seed
        What the choice is a function of, beside the number of samples.

    Raises
    ------
    ConfigError
        If ``fraction`` is above 0 and either part would be empty.
    """
    count = number_held_out(len(data.train), fraction)
    order = random.permutation(len(data.train), seed, 0)  # orders of epochs begin with 1
    aside, kept = (part.sort().values for part in (order[:count], order[count:]))
    return (
        replace(data, train=data.train.chosen(kept)) if count else data,
        data.train.chosen(aside),
    )


def number_held_out(samples: int, fraction: float) -> int:
    """How many of so many training samples are put aside.

    Raises
    ------
    ConfigError
        If ``fraction`` is above 0 and that is none, or all.
    """
    count = round(fraction * samples)
    if fraction and not 0 < count < samples:
        which = "none" if count == 0 else "all"
        raise ConfigError(
            f"validation={fraction:g} of {samples} training samples is {which}: give more samples "
            "or another fraction"
        )
    return count


def validation_batches(
    split: Split, batch_size: int, part: tuple[int, int] = (0, 1)
) -> Iterator[Batch]:
    """One pass over samples that were put aside, under numbers of their own."""
    for batch in batches(split, batch_size, part=part):
        yield batch._replace(index=batch.index + FIRST)
