"""Random crop and flip as tensor arithmetic on a whole batch.

What happens to a sample is a function of (seed, epoch, index of the sample) alone, so it is
the same in any batch, in any order and on any device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from saltation import random
from saltation.errors import SaltationError


def random_crop(images: Tensor, index: Tensor, *, padding: int, seed: int, epoch: int) -> Tensor:
    """Shift each image by up to ``padding`` pixels each way; zeros come in at the edges.

    The same as cutting a random window of the image's own size out of the image padded with
    zeros (He et al., "Deep residual learning for image recognition", CVPR 2016, 4.2).

    Parameters
    ----------
    images
        ``[B, C, H, W]`` of any dtype.
    index
        int64 ``[B]``: each sample's index in its split.

    Returns
    -------
    A tensor of the shape and dtype of ``images``.

    Raises
    ------
    SaltationError
        If ``padding`` is negative or the shapes are not these.
    """
    _check(images, index)
    _check_padding(padding)
    height, width = images.shape[-2:]
    top = random.uint32(seed, epoch, random.CROP, index, draw=0) % (2 * padding + 1)
    left = random.uint32(seed, epoch, random.CROP, index, draw=1) % (2 * padding + 1)
    # A view [B, C, top, left, H, W] of every window; only the chosen ones are copied.
    windows = pad(images, (padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(images), device=images.device), :, top, left]


def random_flip(images: Tensor, index: Tensor, *, seed: int, epoch: int) -> Tensor:
    """Mirror each image left to right with probability one half.

    Parameters, result and errors are those of `random_crop`.
    """
    _check(images, index)
    flipped = random.uint32(seed, epoch, random.FLIP, index) % 2 == 1
    return torch.where(flipped[:, None, None, None], images.flip(-1), images)


@dataclass(frozen=True)
class Augment:
    """Crop and flip for training batches; ``padding=0`` and ``flip=False`` turn them off."""

    padding: int = 4
    flip: bool = True

    def __post_init__(self) -> None:
        _check_padding(self.padding)

    def __call__(self, images: Tensor, index: Tensor, *, seed: int, epoch: int) -> Tensor:
        """Augmented images of the shape and dtype of ``images``; see `random_crop`."""
        if self.padding:
            images = random_crop(images, index, padding=self.padding, seed=seed, epoch=epoch)
        if self.flip:
            images = random_flip(images, index, seed=seed, epoch=epoch)
        return images


def _check_padding(padding: int) -> None:
    if padding < 0:
        raise SaltationError(f"padding must be at least 0, got {padding}")


def _check(images: Tensor, index: Tensor) -> None:
    if images.ndim != 4 or index.shape != images.shape[:1]:
        raise SaltationError(
            "images must be [B, C, H, W] and index [B], got "
            f"{list(images.shape)} and {list(index.shape)}"
        )
