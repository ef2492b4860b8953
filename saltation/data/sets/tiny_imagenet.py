"""`tiny_imagenet`: 200 classes of 64x64 colour JPEGs, in the zip or extracted.

Le & Yang, "Tiny ImageNet visual recognition challenge", Stanford CS 231N, 2015: 500 training
and 50 validation images per class. The validation set is used as the test set, because the
labels of the official test set are not public.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
import zipfile
import zlib
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from saltation.data.dataset import Split, checked_split
from saltation.data.files import read_exactly, read_file
from saltation.data.registry import Download, Spec, register
from saltation.errors import DataError

_FOLDER = "tiny-imagenet-200"
_TOPS = ("tiny_imagenet", "TinyImageNet", "tiny-imagenet")
_CLASSES = 200
_SHAPE = (3, 64, 64)
_TEXT_LIMIT = 4 << 20
_JPEG_LIMIT = 1 << 20
# Images of a split, of which the official one has 100,000; and bytes of a list of 120,000 files.
_MOST_IMAGES = 120_000
_LIST_LIMIT = 24_000_000

# What zipfile raises on a damaged, encrypted or unreadable archive.
_ZIP_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error),
    *(EOFError, OSError, NotImplementedError, RuntimeError, ValueError),
)
# What Pillow raises on a damaged or oversized image.
_JPEG_DAMAGE = (
    *(OSError, SyntaxError, ValueError, struct.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)


class _Tree(Protocol):
    """Files below the folder of the set; names are relative, with forward slashes."""

    where: Path

    def names(self, folder: str) -> list[str]: ...

    def read(self, name: str, limit: int) -> bytes: ...


class _Folder:
    def __init__(self, where: Path) -> None:
        self.where = where

    def names(self, folder: str) -> list[str]:
        try:
            return [path.name for path in (self.where / folder).iterdir()]
        except OSError as error:
            raise DataError(f"{self.where / folder}: cannot be read ({error.strerror})") from error

    def read(self, name: str, limit: int) -> bytes:
        return bytes(read_file(self.where / name, limit))


class _Zip:
    def __init__(self, where: Path) -> None:
        self.where = where
        try:
            # Before zipfile makes an object of every entry that the list claims to have.
            with where.open("rb") as file:
                end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
            if end and end[5] > _LIST_LIMIT:
                raise DataError(f"{where}: a list of files of {end[5]} bytes")
            self._archive = zipfile.ZipFile(where)
        except DataError:
            raise
        except _ZIP_DAMAGE as error:
            raise DataError(f"{where}: not a readable zip archive ({error})") from error
        self._names: dict[str, list[str]] = defaultdict(list)
        for path in self._archive.namelist():
            folder, _, name = path.rpartition("/")
            self._names[folder].append(name)

    def close(self) -> None:
        self._archive.close()

    def names(self, folder: str) -> list[str]:
        return self._names[f"{_FOLDER}/{folder}"]

    def read(self, name: str, limit: int) -> bytes:
        source = self.where / name
        try:
            member = self._archive.getinfo(f"{_FOLDER}/{name}")
        except KeyError:
            raise DataError(f"{source}: not in the archive") from None
        # Other methods inflate without bound within one read.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{source}: compressed in a way that this archive never is")
        try:
            with self._archive.open(member) as stream:
                content = read_exactly(stream, limit + 1)
        except _ZIP_DAMAGE as error:
            raise DataError(f"{source}: truncated or damaged ({error})") from error
        if len(content) > limit:
            raise DataError(f"{source}: holds more than the {limit} bytes its layout allows")
        return bytes(content)


def _lines(tree: _Tree, name: str) -> list[str]:
    try:
        return tree.read(name, _TEXT_LIMIT).decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{tree.where / name}: not a text file") from error


def _wnids(tree: _Tree) -> list[str]:
    """The WordNet ids of the classes, sorted: their order is the label, as in torchvision."""
    wnids = sorted(_lines(tree, "wnids.txt"))
    source = tree.where / "wnids.txt"
    if not 0 < len(wnids) <= _CLASSES or len(set(wnids)) < len(wnids):
        raise DataError(f"{source}: {len(wnids)} lines are not up to {_CLASSES} different ids")
    for wnid in wnids:
        if not re.fullmatch(r"n\d{8}", wnid):
            raise DataError(f"{source}: {wnid!r} is not a WordNet id")
    return wnids


def _train_files(tree: _Tree, wnids: list[str]) -> list[list[str]]:
    files = []
    for folder in (f"train/{wnid}/images" for wnid in wnids):
        names = sorted(name for name in tree.names(folder) if name.endswith(".JPEG"))
        if not names:
            raise DataError(f"{tree.where / folder}: holds no JPEG images")
        files.append([f"{folder}/{name}" for name in names])
    return files


def _test_files(tree: _Tree, wnids: list[str]) -> list[list[str]]:
    files: dict[str, list[str]] = {wnid: [] for wnid in wnids}
    for number, line in enumerate(_lines(tree, "val/val_annotations.txt"), start=1):
        match = re.match(r"(\w+\.JPEG)\t(n\d{8})\t", line)
        if match is None or match[2] not in files:
            source = tree.where / "val/val_annotations.txt"
            raise DataError(f"{source}: line {number} does not name an image and its class")
        files[match[2]].append(f"val/images/{match[1]}")
    return list(files.values())


def _split(tree: _Tree, by_class: list[list[str]], limit: int | None) -> Split:
    """Decode images, one of each class in turn, so that the first n are balanced."""
    count = sum(map(len, by_class))
    if count > _MOST_IMAGES:
        raise DataError(f"{tree.where}: {count} images in a split (at most {_MOST_IMAGES})")
    rounds = max(map(len, by_class))
    files = [
        (names[turn], label)
        for turn in range(rounds)
        for label, names in enumerate(by_class)
        if turn < len(names)
    ][:limit]
    images = torch.empty((len(files), *_SHAPE), dtype=torch.uint8)
    for image, (name, _) in zip(images, files, strict=True):
        pixels = _decode(tree.read(name, _JPEG_LIMIT), tree.where / name)
        image.copy_(torch.from_numpy(pixels).permute(2, 0, 1))
    labels = torch.tensor([label for _, label in files])
    return checked_split(images, labels, _CLASSES, tree.where)


def _decode(content: bytes, source: Path) -> np.ndarray:
    """A JPEG as uint8 [64, 64, 3]; the few grey ones get three equal channels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
                size = image.size
                # The size stands in the header: nothing larger is ever decoded.
                pixels = np.array(image.convert("RGB")) if size == _SHAPE[1:] else None
    except UnidentifiedImageError as error:
        raise DataError(f"{source}: not a readable JPEG image") from error
    except _JPEG_DAMAGE as error:
        raise DataError(f"{source}: not a readable JPEG image ({error})") from error
    if pixels is None:
        raise DataError(f"{source}: image of {size[0]}x{size[1]} pixels, not 64x64")
    return pixels


def _read(where: Path, limit_train: int | None, limit_test: int | None) -> tuple[Split, Split]:
    if not where.is_file():
        return _read_tree(_Folder(where), limit_train, limit_test)
    with closing(_Zip(where)) as tree:
        return _read_tree(tree, limit_train, limit_test)


def _read_tree(tree: _Tree, limit_train: int | None, limit_test: int | None) -> tuple[Split, Split]:
    wnids = _wnids(tree)
    train = _split(tree, _train_files(tree, wnids), limit_train)
    return train, _split(tree, _test_files(tree, wnids), limit_test)


register(
    Spec(
        name="tiny_imagenet",
        title="Tiny ImageNet colour photographs, 64x64",
        classes=_CLASSES,
        shape=_SHAPE,
        samples=100_000,
        read=_read,
        parts=(("wnids.txt",), ("train/",), ("val/",)),
        folders=(_FOLDER, *_TOPS),
        tops=(*_TOPS, _FOLDER),
        archives=tuple(f"{folder}{_FOLDER}.zip" for folder in ("", *(f"{top}/" for top in _TOPS))),
        bare_if="tiny[-_ ]?imagenet",
        telling=True,
        downloads=(
            Download(
                f"{_FOLDER}.zip",
                "md5:90528d7ca1a48142e341f4ef8d21d0de",
                (
                    "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
                    "https://zenodo.org/records/10720917/files/tiny-imagenet-200.zip?download=1",
                ),
            ),
        ),
    )
)
