"""MNIST and Fashion-MNIST: known facts, layouts, and files that lie."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from saltation.data import load
from saltation.errors import DataError
from tests.data import make
from tests.data.conftest import real

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
FASHION_LABELS = np.array([9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9])
MNIST_LABELS = np.array([5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5])


def test_official_mnist() -> None:
    data = load("mnist", real("MNIST/raw"))
    assert data.train.images.shape == (60_000, 1, 28, 28)
    assert data.test.images.shape == (10_000, 1, 28, 28)
    assert data.train.labels[:3].tolist() == [5, 0, 4]
    assert data.test.labels[:3].tolist() == [7, 2, 1]
    assert data.train.labels.bincount().tolist() == [
        *(5923, 6742, 5958, 6131, 5842),
        *(5421, 5918, 6265, 5851, 5949),
    ]
    # 0.1306604762738429 * 255, the mean that every MNIST recipe subtracts.
    assert data.train.images.double().mean().item() == pytest.approx(33.318421, abs=1e-6)
    assert (data.classes, data.channels, data.side) == (10, 1, 28)


@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("mnist", "MNIST/raw"),
        ("mnist", "mnist"),
        ("mnist", "raw"),
        ("mnist", "."),
        ("fashion_mnist", "FashionMNIST/raw"),
        ("fashion_mnist", "fashion_mnist"),
        ("fashion_mnist", "fashion-mnist/data/fashion"),
    ],
)
def test_layouts(name: str, below: str, tmp_path: Path) -> None:
    make.mnist(tmp_path / "root" / below)
    assert len(load(name, tmp_path / "root").train) == 12


def test_gzipped_plain_and_dotted_files_are_equal(tmp_path: Path) -> None:
    plain = load("mnist", make.mnist(tmp_path / "plain"))
    for folder, rename in (("gz", "{}.gz"), ("dotted", "{}")):
        (tmp_path / folder).mkdir()
        for file in (tmp_path / "plain").iterdir():
            content = file.read_bytes()
            name = file.name.replace("-idx", ".idx") if folder == "dotted" else file.name
            written = gzip.compress(content) if folder == "gz" else content
            (tmp_path / folder / rename.format(name)).write_bytes(written)
        other = load("mnist", tmp_path / folder)
        assert torch.equal(other.train.images, plain.train.images)
        assert torch.equal(other.test.labels, plain.test.labels)


def test_a_bare_folder_is_fashion_only_if_its_name_says_so(tmp_path: Path) -> None:
    fashion = make.mnist(tmp_path / "FashionMNIST" / "raw")
    assert len(load("fashion_mnist", fashion).test) == 6
    with pytest.raises(DataError, match="not found"):
        load("mnist", fashion)
    with pytest.raises(DataError, match="not found"):
        load("fashion_mnist", make.mnist(tmp_path / "other"))


@pytest.mark.parametrize(
    ("name", "folder", "labels", "other"),
    [
        ("mnist", "MNIST", FASHION_LABELS, "fashion_mnist"),
        ("fashion_mnist", "FashionMNIST", MNIST_LABELS, "mnist"),
    ],
)
def test_one_set_under_the_name_of_the_other(
    name: str, folder: str, labels: np.ndarray, other: str, tmp_path: Path
) -> None:
    raw = make.mnist(tmp_path / folder / "raw")
    (raw / TRAIN_LABELS).write_bytes(make.idx(labels))
    with pytest.raises(DataError, match=f"{TRAIN_LABELS}: these are the labels of {other}, not"):
        load(name, tmp_path)


WHOLE = make.idx(make.images(12))
HUGE = struct.pack(">4I", 0x0803, 0xFFFFFFFF, 28, 28)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (TRAIN_IMAGES, make.idx(np.arange(12)), "truncated, 0 of|magic number 0x00000801 is not"),
        (TRAIN_IMAGES, b"\x00\x00\x0d\x03" + WHOLE[4:], "magic number 0x00000d03"),
        (TRAIN_IMAGES, b"", "0 bytes are no idx header"),
        (TRAIN_IMAGES, WHOLE[:-1], "truncated, 9407 of 9408 bytes"),
        (TRAIN_IMAGES, WHOLE + b"\x00", "more than the 9408 bytes"),
        (TRAIN_IMAGES, HUGE, "header declares"),
        (TRAIN_IMAGES, gzip.compress(WHOLE)[:-400], "truncated or damaged gzip"),
        (TRAIN_IMAGES, gzip.compress(WHOLE)[:-1], "truncated or damaged gzip"),
        (TRAIN_IMAGES, gzip.compress(WHOLE + bytes(1 << 24)), "more than the 9408 bytes"),
        (TRAIN_IMAGES, make.idx(make.images(12, side=32)), r"images of \[32, 32\] pixels"),
        (TRAIN_IMAGES, make.idx(make.images(11)), "11 images but 12 labels"),
        (TRAIN_IMAGES, make.idx(make.images(0)), "holds no images"),
        (TRAIN_LABELS, make.idx(np.full(12, 10)), r"label 10 is not in 0..9"),
    ],
)
def test_files_that_lie_are_refused_by_name(
    file: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (make.mnist(tmp_path) / file).write_bytes(content)
    with pytest.raises(DataError, match=message) as refusal:
        load("mnist", tmp_path)
    assert str(tmp_path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    make.mnist(tmp_path)
    (tmp_path / TRAIN_LABELS).unlink()
    (tmp_path / TRAIN_LABELS).mkdir()
    with pytest.raises(DataError, match=f"{TRAIN_LABELS}: cannot be read"):
        load("mnist", tmp_path)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    make.mnist(tmp_path)
    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\)"):
        load("mnist", tmp_path)
