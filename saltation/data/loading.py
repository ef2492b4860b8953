"""`load`: a data set by name, from where it lies, at the side and size asked for."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from saltation.data.dataset import Dataset, Split
from saltation.data.own import spec_of
from saltation.data.places import find
from saltation.errors import SaltationError

# Images resized at once: bounds the float32 copy to some tens of MiB.
_CHUNK = 1000


def load(
    name: str,
    data_dir: str | Path | None = None,
    *,
    side: int | None = None,
    limit_train: int | None = None,
    limit_test: int | None = None,
) -> Dataset:
    """Read a data set into memory.

    Parameters
    ----------
    name
        A key of `DATASETS`, in any case: ``mnist``, ``MNIST``. Or the path of an ``.npz`` or
        ``.csv`` file, or of a folder of images; see `saltation.data.own`.
    data_dir
        Folder searched first, then ``$SALTATION_DATA``, then the user's cache. The layouts of
        the publishers and of torchvision are known, gzipped or not, archived or extracted.
    side
        Resize the images to this height and width in pixels.
    limit_train, limit_test
        Keep the first n samples in stored order. More than there are means all.

    Raises
    ------
    SaltationError
        If an argument is not allowed; before anything is read.
    MissingDataError
        If the set is in none of the folders.
    DataError
        If a file is damaged, mislabelled or hostile. Nothing in it is executed.
    """
    spec = spec_of(name)
    for what, given in (("side", side), ("limit_train", limit_train), ("limit_test", limit_test)):
        if given is not None and given < 1:
            raise SaltationError(f"{what} must be at least 1, got {given}")
    if side is not None and not spec.is_image:
        raise SaltationError(
            f"side resizes images, and {spec.name} holds samples of shape {list(spec.shape)}"
        )
    train, test = spec.read(find(spec, data_dir), limit_train, limit_test)
    if side is not None:
        train, test = (Split(resize(part.images, side), part.labels) for part in (train, test))
    return Dataset(spec.name, train, test, spec.classes, spec.dt, spec.duration, spec.regression)


def resize(images: Tensor, side: int) -> Tensor:
    """Resize images ``[N, C, H, W]`` to ``[N, C, side, side]`` bilinearly.

    Shrinking filters first (antialias), as Pillow does. Values of uint8 are rounded back to it.
    """
    if images.shape[-2:] == (side, side):
        return images
    resized = images.new_empty((*images.shape[:2], side, side))
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK].to(torch.float32)
        smooth = interpolate(chunk, (side, side), mode="bilinear", antialias=True)
        if images.dtype == torch.uint8:
            smooth.round_().clamp_(0, 255)
        resized[start : start + _CHUNK] = smooth
    return resized
