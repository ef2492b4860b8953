"""What a loaded data set is: two splits of uint8 images and int64 labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from saltation.errors import DataError


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels of one part of a data set.

    Attributes
    ----------
    images
        uint8 ``[N, C, H, W]``, 0 (black) to 255.
    labels
        int64 ``[N]`` on the same device.

    Raises
    ------
    DataError
        If dtypes or shapes are not these.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise DataError(
                "images must be uint8 [N, C, H, W], got "
                f"{self.images.dtype} {list(self.images.shape)}"
            )
        if self.labels.dtype != torch.int64 or self.labels.ndim != 1:
            raise DataError(
                f"labels must be int64 [N], got {self.labels.dtype} {list(self.labels.shape)}"
            )
        if len(self.images) != len(self.labels):
            raise DataError(f"{len(self.images)} images but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, limit: int | None) -> Split:
        """The first ``limit`` samples in stored order; all where it is None or larger."""
        if limit is None or limit >= len(self):
            return self
        # A slice would keep the whole set alive.
        return Split(self.images[:limit].clone(), self.labels[:limit].clone())

    def to(self, device: torch.device | str) -> Split:
        """The same split on ``device``."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory; ``classes`` is the number of labels, not all of which need occur."""

    name: str
    train: Split
    test: Split
    classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image: channels, height, width."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for red, green and blue."""
        return self.shape[0]

    @property
    def side(self) -> int:
        """Height, and width, of the images in pixels."""
        return self.shape[1]

    def to(self, device: torch.device | str) -> Dataset:
        """The same data set on ``device``; batches are then made there."""
        return Dataset(self.name, self.train.to(device), self.test.to(device), self.classes)


def checked_split(images: Tensor, labels: Tensor, classes: int, source: Path) -> Split:
    """A `Split` of what a file held.

    Raises
    ------
    DataError
        Naming ``source``, if there are no images, counts differ or a label is not below
        ``classes``.
    """
    if len(images) == 0:
        raise DataError(f"{source}: holds no images")
    if len(images) != len(labels):
        raise DataError(f"{source}: {len(images)} images but {len(labels)} labels")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise DataError(f"{source}: label {wrong} is not in 0..{classes - 1}")
    return Split(images, labels.to(torch.int64))
