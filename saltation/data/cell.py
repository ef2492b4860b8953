"""A data set as a notebook shows it: in words, with its first images."""

from __future__ import annotations

from pathlib import Path

import torch

from saltation import inline
from saltation.data.dataset import Dataset
from saltation.data.summary import in_words
from saltation.data.trains import SpikeTrains

_SHOWN = 10  # images
_HEIGHT = 64  # of each, in pixels of the screen


def cell(data: Dataset) -> str:
    """The data set as HTML."""
    words = inline.text("\n".join(in_words(data)))
    images = data.train.images
    if isinstance(images, SpikeTrains) or images.ndim != 4 or data.sample_shape != data.shape:
        return words
    if data.channels not in (1, 3) or not len(images):
        return words

    def draw(path: Path) -> Path:
        from matplotlib.image import imsave  # slow to import

        # Side by side; large enough that single pixels are seen.
        row = torch.cat(list(images[:_SHOWN].cpu()), -1)
        grey = row.expand(3, -1, -1).movedim(0, -1).numpy()
        times = max(1, _HEIGHT // data.side)
        imsave(path, grey.repeat(times, 0).repeat(times, 1))
        return path

    labels = ", ".join(map(str, data.train.labels[:_SHOWN].tolist()))
    return words + inline.figure(draw, f"Its first training images, of the classes {labels}")
