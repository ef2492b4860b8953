"""Tiny ImageNet: a small tree of the official layout, extracted and zipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from saltation.data import load
from saltation.errors import DataError
from tests.data import make

FOLDER = "tiny-imagenet-200"
FIRST = "train/n00000010/images/n00000010_0.JPEG"


def _write(root: Path, files: dict[str, bytes], *, zipped: bool) -> Path:
    root.mkdir(exist_ok=True)
    if zipped:
        make.zipped(root / f"{FOLDER}.zip", {f"{FOLDER}/{k}": v for k, v in files.items()})
    else:
        make.write(root / FOLDER, files)
    return root


@pytest.mark.parametrize("zipped", [False, True])
def test_order_labels_and_shades(zipped: bool, tmp_path: Path) -> None:
    root = _write(tmp_path / "data", make.tiny_imagenet(), zipped=zipped)
    data = load("tiny_imagenet", root)
    assert data.train.images.shape == (6, 3, 64, 64)
    # Classes take turns, in the sorted order of their ids.
    assert data.train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert data.test.labels.tolist() == [0, 1, 2]
    assert data.train.images[:, :, 0, 0].tolist() == [[s] * 3 for s in (0, 10, 20, 1, 11, 21)]
    assert data.test.images[:, 0, 0, 0].tolist() == [100, 101, 102]
    assert load("tiny_imagenet", root, limit_train=3).train.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (FIRST, b"no image", "not a readable JPEG"),
        (FIRST, make.jpeg(3)[:-300], "not a readable JPEG"),
        (FIRST, make.jpeg(3, side=4000), "image of 4000x4000 pixels, not 64x64"),
        (FIRST, bytes(2 << 20), "holds more than the 1048576 bytes"),
        ("wnids.txt", b"../../secrets\n", "is not a WordNet id"),
        ("wnids.txt", b"n00000010\nn00000010\n", "different ids"),
        ("wnids.txt", b"", "different ids"),
        ("wnids.txt", b"\xff\xfe", "not a text file"),
        ("val/val_annotations.txt", b"../x.JPEG\tn00000010\t0\n", "line 1 does not name"),
        ("val/val_annotations.txt", b"val_0.JPEG\tn00000099\t0\n", "line 1 does not name"),
        ("val/val_annotations.txt", b"gone.JPEG\tn00000010\t0\n", "gone.JPEG: "),
        ("val/val_annotations.txt", b"", "holds no images"),
    ],
)
def test_bad_files_are_refused_by_name(
    file: str, content: bytes, message: str, zipped: bool, tmp_path: Path
) -> None:
    files = make.tiny_imagenet(**{file: content})
    with pytest.raises(DataError, match=message) as refusal:
        load("tiny_imagenet", _write(tmp_path / "data", files, zipped=zipped))
    assert FOLDER in str(refusal.value)


def test_damaged_zip(tmp_path: Path) -> None:
    archive = _write(tmp_path, make.tiny_imagenet(), zipped=True) / f"{FOLDER}.zip"
    whole = archive.read_bytes()
    for content in (whole[:-100], b"", whole[:200] + bytes(200) + whole[400:]):
        archive.write_bytes(content)
        with pytest.raises(DataError, match=rf"{FOLDER}\.zip"):
            load("tiny_imagenet", tmp_path)


@pytest.mark.parametrize("zipped", [False, True])
def test_missing_class_folder(zipped: bool, tmp_path: Path) -> None:
    files = {k: v for k, v in make.tiny_imagenet().items() if "train/n00000010" not in k}
    with pytest.raises(DataError, match="n00000010"):
        load("tiny_imagenet", _write(tmp_path, files, zipped=zipped))
