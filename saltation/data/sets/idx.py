"""`mnist` and `fashion_mnist`: four files in the idx format, gzipped or not.

An idx file is a magic number (two zero bytes, 0x08 for unsigned bytes, the number of
dimensions), the dimensions as big-endian 32-bit integers, then the bytes (LeCun, Cortes &
Burges, "The MNIST database of handwritten digits", 1998). Fashion-MNIST (Xiao, Rasul &
Vollgraf, 2017) copies names, magic numbers and sizes; only the contents tell them apart.
"""

from __future__ import annotations

import math
import struct
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from saltation.data.dataset import Split, checked_split
from saltation.data.files import opened, read_exactly
from saltation.data.places import find_part
from saltation.data.registry import Download, Spec, register
from saltation.errors import DataError

_CLASSES = 10
_SHAPE = (1, 28, 28)
# Bytes a header may declare, five times what the official files have; the digits of EMNIST, the
# largest known set of these classes and shape, have 188 million.
_LIMIT = 1 << 28

_STEMS = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}

# The official order begins with these labels; ten of them agree by chance once in 10**10.
_FIRST_LABELS = {
    ("mnist", "train"): [5, 0, 4, 1, 9, 2, 1, 3, 1, 4],
    ("mnist", "test"): [7, 2, 1, 0, 4, 1, 4, 9, 5, 9],
    ("fashion_mnist", "train"): [9, 0, 0, 3, 0, 2, 7, 2, 5, 5],
    ("fashion_mnist", "test"): [9, 2, 1, 1, 6, 1, 4, 6, 5, 7],
}


def _names(stem: str) -> tuple[str, ...]:
    """The names a file goes by; the dotted ones come from old unpacking tools."""
    dotted = stem.replace("-idx", ".idx")
    return stem, f"{stem}.gz", dotted, f"{dotted}.gz"


def read_idx(path: Path, dimensions: int) -> Tensor:
    """An idx file of unsigned bytes as a uint8 tensor.

    Raises
    ------
    DataError
        If the magic number is not that of unsigned bytes in so many dimensions, or the
        dimensions do not fit the number of bytes.
    """
    expected_magic = 0x0800 + dimensions
    with opened(path) as stream:
        header = read_exactly(stream, 4 + 4 * dimensions)
        if len(header) < 4 + 4 * dimensions:
            raise DataError(f"{path}: truncated, {len(header)} bytes are no idx header")
        magic, *shape = struct.unpack(f">{1 + dimensions}I", header)
        if magic != expected_magic:
            raise DataError(
                f"{path}: magic number 0x{magic:08x} is not 0x{expected_magic:08x}, "
                f"that of an idx file of unsigned bytes in {dimensions} dimension(s)"
            )
        size = math.prod(shape)
        if size > _LIMIT:
            raise DataError(f"{path}: header declares {shape}, more than {_LIMIT} bytes")
        content = read_exactly(stream, size)
        if len(content) < size:
            raise DataError(f"{path}: truncated, {len(content)} of {size} bytes for {shape}")
        if stream.read(1):
            raise DataError(f"{path}: more than the {size} bytes that its header {shape} declares")
    # frombuffer refuses an empty buffer; the empty set is refused by name further on.
    flat = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0).byte()
    return flat.reshape(shape)


def _read_part(name: str, part: str, where: Path) -> Split:
    image_file, label_file = (_existing(where, stem) for stem in _STEMS[part])
    images, labels = read_idx(image_file, 3), read_idx(label_file, 1)
    if tuple(images.shape[1:]) != _SHAPE[1:]:
        raise DataError(f"{image_file}: images of {list(images.shape[1:])} pixels, not [28, 28]")
    for (other, other_part), first in _FIRST_LABELS.items():
        if other != name and other_part == part and labels[: len(first)].tolist() == first:
            raise DataError(f"{label_file}: these are the labels of {other}, not of {name}")
    return checked_split(images.unsqueeze(1), labels, _CLASSES, label_file)


def _existing(where: Path, stem: str) -> Path:
    return find_part(where, _names(stem)) or where / stem


def _read(
    name: str, where: Path, limit_train: int | None, limit_test: int | None
) -> tuple[Split, Split]:
    train, test = (_read_part(name, part, where) for part in ("train", "test"))
    return train.first(limit_train), test.first(limit_test)


def _register(
    name: str,
    title: str,
    folders: tuple[str, ...],
    tops: tuple[str, ...],
    bare_folders: tuple[str, ...],
    bare_if: str,
    mirrors: tuple[str, ...],
    md5: tuple[str, ...],
) -> None:
    stems = [*_STEMS["train"], *_STEMS["test"]]
    register(
        Spec(
            name=name,
            title=title,
            classes=_CLASSES,
            shape=_SHAPE,
            samples=60_000,
            read=partial(_read, name),
            parts=tuple(_names(stem) for stem in stems),
            folders=folders,
            tops=tops,
            bare_folders=bare_folders,
            bare_if=bare_if,
            downloads=tuple(
                Download(
                    path=f"{folders[0]}/{stem}.gz",
                    checksum=f"md5:{digest}",
                    urls=tuple(f"{mirror}/{stem}.gz" for mirror in mirrors),
                )
                for stem, digest in zip(stems, md5, strict=True)
            ),
        )
    )


_register(
    "mnist",
    "MNIST handwritten digits, 28x28",
    folders=("MNIST/raw", "MNIST"),
    tops=("MNIST",),
    bare_folders=("raw", "."),
    bare_if="^(?!.*fashion)",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
        "https://raw.githubusercontent.com/fgnt/mnist/master",
    ),
    md5=(
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
)

_FASHION = ("FashionMNIST", "fashion_mnist", "fashion-mnist")

_register(
    "fashion_mnist",
    "Fashion-MNIST articles of clothing, 28x28",
    folders=tuple(
        f"{top}{below}"
        for top in _FASHION
        # The last is where a clone of the publishers' repository has them.
        for below in ("/raw", "", "/data/fashion")
    ),
    tops=_FASHION,
    bare_folders=("raw", "data/fashion", "."),
    bare_if="fashion",
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
    ),
    md5=(
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
)
