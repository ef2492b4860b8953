"""What a loaded data set is: two splits of samples, images or sequences, and labels or targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saltation.errors import DataError


@dataclass(frozen=True, eq=False)
class Split:
    """Samples and labels of one part of a data set.

    Attributes
    ----------
    images
        uint8 ``[N, C, H, W]``, 0 (black) to 255, or float32 from 0 to 1; vectors are ``[N, 1, 1,
        F]``. Or sequences, float32 ``[N, T, F]``; or recorded spikes.
    labels
        int64 ``[N]`` on the same device; or targets, float32: ``[N, k]``, what is to be made of a
        sample, or of sequences ``[N, T, F]`` what is to be made of them at every moment, ``[N, T,
        k]``, NaN behind the end of a shorter one.
    lengths
        Of sequences that are padded at their ends, the moments that each has, int64 ``[N]``: what
        stands behind them becomes 0. None where all have as many.

    Raises
    ------
    DataError
        If dtypes, shapes or values are not these.
    """

    images: Any  # Tensor | SpikeTrains
    labels: Tensor
    lengths: Tensor | None = None

    def __post_init__(self) -> None:
        if isinstance(self.images, Tensor):
            self._check_images(self.images)
        kind = self.labels.dtype, self.labels.ndim
        if kind not in ((torch.int64, 1), (torch.float32, 2), (torch.float32, 3)):
            raise DataError(
                "labels must be int64 [N], or targets float32 [N, k] or [N, T, k], got "
                f"{self.labels.dtype} {list(self.labels.shape)}"
            )
        of_moments = self.images.shape[:2] if self.images.ndim == 3 else None
        if self.labels.ndim == 3 and self.labels.shape[:2] != of_moments:
            raise DataError(
                f"targets {list(self.labels.shape)} are of every moment of sequences [N, T, F], "
                f"got samples {list(self.images.shape)}"
            )
        if len(self.images) != len(self.labels):
            raise DataError(f"{len(self.images)} images but {len(self.labels)} labels")
        if self.lengths is not None:
            self._check_lengths(self.lengths)
            moments = torch.arange(self.images.shape[1], device=self.lengths.device)
            behind = (moments >= self.lengths[:, None])[..., None]
            object.__setattr__(self, "images", self.images.masked_fill(behind, 0))
            if self.labels.ndim == 3:
                object.__setattr__(self, "labels", self.labels.masked_fill(behind, torch.nan))

    def _check_lengths(self, lengths: Tensor) -> None:
        kind = lengths.dtype, lengths.shape
        if not isinstance(self.images, Tensor) or self.images.ndim != 3:
            raise DataError("lengths are of sequences [N, T, F]")
        if kind != (torch.int64, self.labels.shape[:1]):
            raise DataError(
                f"lengths must be int64 [{len(self)}], got {lengths.dtype} {list(lengths.shape)}"
            )
        moments = self.images.shape[1]
        if len(lengths) and not 1 <= int(lengths.min()) <= int(lengths.max()) <= moments:
            raise DataError(
                f"lengths must be from 1 to the {moments} moments of a sequence, got "
                f"{int(lengths.min())} to {int(lengths.max())}"
            )

    @staticmethod
    def _check_images(images: Tensor) -> None:
        kind = images.dtype, images.ndim
        if kind not in ((torch.uint8, 4), (torch.float32, 4), (torch.float32, 3)):
            raise DataError(
                "samples must be images, uint8 or float32 [N, C, H, W], or sequences, float32 "
                f"[N, T, F], got {images.dtype} {list(images.shape)}"
            )
        if kind == (torch.float32, 4) and images.numel() and images.device.type != "meta":
            low, high = (float(value) for value in images.aminmax())
            if not 0 <= low <= high <= 1:
                raise DataError(f"float32 images are from 0 to 1, got {low:g} to {high:g}")

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, limit: int | None) -> Split:
        """The first ``limit`` samples in stored order; all where it is None or larger."""
        if limit is None or limit >= len(self):
            return self
        # A slice would keep the whole set alive.
        return self._with(lambda part: part[:limit].clone())

    def chosen(self, index: Tensor) -> Split:
        """The samples at these places, int64 ``[n]``."""
        index = index.to(self.labels.device)
        return self._with(lambda part: part[index])

    def to(self, device: torch.device | str) -> Split:
        """The same split on ``device``."""
        return self._with(lambda part: part.to(device))

    def _with(self, change: Callable[[Any], Any]) -> Split:
        lengths = None if self.lengths is None else change(self.lengths)
        return Split(change(self.images), change(self.labels), lengths)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory; ``classes`` is the number of labels, not all of which need occur, and
    in ``regression``, where targets are sequences ``[T, classes]``, that of a moment's numbers, or
    where they are ``[classes]``, that of a sample's.

    ``dt`` is the time between the samples of a sequence, ``duration`` that of the last of recorded
    spikes; both are None for images.
    """

    name: str
    train: Split
    test: Split
    classes: int
    dt: float | None = None
    duration: float | None = None
    regression: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what a network is given at a step: channels, height and width of an image, or
        the features of a sequence."""
        images = self.train.images
        is_sequence = isinstance(images, Tensor) and images.ndim == 3
        return tuple(images.shape[2:] if is_sequence else images.shape[1:])

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """`shape`, of vectors without the channel and height that they do not have."""
        return self.shape[2:] if self.shape[:2] == (1, 1) else self.shape

    @property
    def of_moments(self) -> bool:
        """Whether there are targets of every moment, in place of labels or targets of samples."""
        return self.train.labels.ndim == 3

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for red, green and blue."""
        return self.shape[0]

    @property
    def side(self) -> int:
        """Height, and width, of the images in pixels."""
        return self.shape[1]

    def _repr_html_(self) -> str:
        """The data set in words, and its first images, in a notebook."""
        from saltation.data.cell import cell  # it imports this

        return cell(self)

    def to(self, device: torch.device | str) -> Dataset:
        """The same data set on ``device``; batches are then made there."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))


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
