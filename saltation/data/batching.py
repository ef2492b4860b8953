"""Batches of a split: an order of indices, then slices of tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from saltation import random
from saltation.data.augment import Augment
from saltation.data.augment_events import AugmentEvents
from saltation.data.dataset import Split
from saltation.errors import SaltationError


class Batch(NamedTuple):
    """Some samples of a split.

    Attributes
    ----------
    images
        float32 ``[B, C, H, W]`` in [0, 1], or sequences ``[B, T, F]``.
    labels
        int64 ``[B]``; or targets, float32 ``[B, k]`` or ``[B, T, k]``.
    index
        int64 ``[B]``: each sample's place in its split, which names it to the generator.
    lengths
        Of sequences, the moments that each has, int64 ``[B]``; None where all have as many.
    """

    images: Tensor
    labels: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs
    lengths: Tensor | None = None


def batches(
    split: Split,
    batch_size: int,
    *,
    seed: int = 0,
    epoch: int = 0,
    shuffle: bool = False,
    drop_last: bool = False,
    augment: Augment | AugmentEvents | None = None,
    part: tuple[int, int] = (0, 1),
) -> Iterator[Batch]:
    """One pass over a split, on the device it lies on.

    Parameters
    ----------
    batch_size
        Samples per batch; the last batch may be smaller.
    seed, epoch
        What the order, and the augmentation, are a function of.
    shuffle
        Whether to use a random order rather than the stored one.
    drop_last
        Leave out a last batch that is not full.
    augment
        Applied to each batch; without it images come as they are stored.
    part
        ``(i, n)``: of every batch only the i-th sample (from 0) and every n-th after it, for one
        of n processes that share it.

    Raises
    ------
    SaltationError
        If ``batch_size`` is below 1, or ``drop_last`` would leave no batch at all. Raised by
        the call, not by the first batch.
    """
    if batch_size < 1:
        raise SaltationError(f"batch_size must be at least 1, got {batch_size}")
    count = len(split)
    if drop_last and batch_size > count:
        raise SaltationError(
            f"drop_last leaves no batch: batch_size {batch_size} is above the {count} samples"
        )
    order = random.permutation(count, seed, epoch) if shuffle else torch.arange(count)
    order = order.to(split.labels.device)
    end = count - count % batch_size if drop_last else count

    def generate() -> Iterator[Batch]:
        for start in range(0, end, batch_size):
            index = order[start : min(start + batch_size, end)][part[0] :: part[1]]
            images = split.images[index]
            if images.dtype == torch.uint8:
                images = images.to(torch.float32).div_(255)
            if augment is not None:
                images = augment(images, index, seed=seed, epoch=epoch)
            lengths = None if split.lengths is None else split.lengths[index]
            yield Batch(images, split.labels[index], index, lengths)

    return generate()
