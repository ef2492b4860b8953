"""`digits`: the handwritten digits that come with scikit-learn; nothing to download.

1,797 grey images of 8x8 pixels in 10 classes (Alpaydin & Kaynak, "Optical recognition of
handwritten digits", UCI machine learning repository, 1998; its test part).
"""

from __future__ import annotations

from pathlib import Path

import torch

from saltation.data.dataset import Split
from saltation.data.registry import Spec, register
from saltation.errors import DataError

# Stored values are counts of ink in 4x4 blocks of pixels.
_INK = 16


def _read(_: Path, limit_train: int | None, limit_test: int | None) -> tuple[Split, Split]:
    # Here, because importing scikit-learn takes about a second.
    try:
        from sklearn.datasets import load_digits

        stored = load_digits()
    except (ImportError, OSError) as error:  # it may want memory or files that a user has not
        reason = str(error).splitlines()[0]
        raise DataError(f"digits come with scikit-learn, which cannot be used: {reason}") from None
    ink = torch.from_numpy(stored.images)
    images = (ink * 255 / _INK).round().to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(stored.target).to(torch.int64)
    # A fixed split: every fifth image of each digit. The writers follow each other in the stored
    # order, so both parts hold digits of all of them.
    place = torch.nn.functional.one_hot(labels).cumsum(0).gather(1, labels.unsqueeze(1)).squeeze(1)
    is_test = place % 5 == 0
    train = Split(images[~is_test], labels[~is_test])
    test = Split(images[is_test], labels[is_test])
    return train.first(limit_train), test.first(limit_test)


register(
    Spec(
        name="digits",
        title="scikit-learn's handwritten digits, 8x8",
        classes=10,
        shape=(1, 8, 8),
        samples=1_442,
        read=_read,
        bundled=True,
    )
)
