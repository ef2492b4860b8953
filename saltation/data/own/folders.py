"""Data as folders of images: train and test, in each a folder for every class."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.data.dataset import Split
from saltation.data.own.checks import MOST_BYTES, classes_of, fingerprint, limited
from saltation.data.registry import Spec
from saltation.errors import DataError

_KINDS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
# Modes of more than 8 bits begin so: I, I;16, F.
_WIDE = "IF"
_TESTS = ("test", "val", "validation")
_MOST_PIXELS = 1 << 26


def of_folders(folder: Path) -> Spec:
    """What is in a folder with ``train`` and ``test`` (or ``val``), in each of them a folder of
    images for every class, as torchvision's ImageFolder has them.

    Classes are numbered in the order of their names. All images have the size of the first; with
    one grey image and one in colour, all are in colour.

    Raises
    ------
    DataError
        If a folder is missing or empty, or an image cannot be read or has another size.
    """
    parts = [_part(folder, ("train",)), _part(folder, _TESTS)]
    names = _classes(parts[0])
    others = [name for name in _classes(parts[1]) if name not in names]
    if others:
        raise DataError(f"{parts[1]}: there is no class {others[0]} in {parts[0]}")
    files = [_files(part, names) for part in parts]
    shape = _shape([file for part in files for file, _ in part])
    size = len(files[0]) + len(files[1])
    if size * int(np.prod(shape)) > MOST_BYTES:
        raise DataError(
            f"{folder}: {size} images of {list(shape)} take more than {MOST_BYTES / 2**30:g} GiB"
        )

    def read(
        _: Path, limit_train: int | None = None, limit_test: int | None = None
    ) -> tuple[Split, Split]:
        train, test = (_split(part, shape) for part in files)
        return limited(train, test, (limit_train, limit_test))

    train, test = read(folder)
    return Spec(
        name=str(folder),
        title=f"{folder.name}, a folder of yours",
        classes=classes_of(train, test, folder),
        shape=shape,
        samples=len(train),
        read=read,
        bundled=True,
        fingerprint=fingerprint(file for part in files for file, _ in part),
    )


def _part(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    there = sorted(entry.name for entry in folder.iterdir())[:8]
    raise DataError(
        f"{folder}: has no folder {' or '.join(names)} (it has {', '.join(there) or 'nothing'})"
    )


def _classes(part: Path) -> list[str]:
    names = sorted(entry.name for entry in part.iterdir() if entry.is_dir() and _is_seen(entry))
    if not names:
        raise DataError(f"{part}: has no folder of a class")
    return names


def _is_seen(entry: Path) -> bool:
    """Whether it is not hidden, as what editors and systems leave is."""
    return not entry.name.startswith(".")


def _files(part: Path, names: list[str]) -> list[tuple[Path, int]]:
    """Images with their class, each class in turn, so that the first of them are of all."""
    by_class = []
    for number, name in enumerate(names):
        place = part / name
        entries = sorted(place.iterdir()) if place.is_dir() else []
        found = [one for one in entries if one.suffix.lower() in _KINDS and _is_seen(one)]
        if not found:
            raise DataError(f"{place}: class {name} has no image ({', '.join(_KINDS)})")
        by_class.append([(file, number) for file in found])
    longest = max(map(len, by_class))
    return [files[i] for i in range(longest) for files in by_class if i < len(files)]


def _shape(files: list[Path]) -> tuple[int, int, int]:
    """Channels, height and width of all."""
    from PIL import Image, UnidentifiedImageError

    size, channels = None, 1
    for file in files:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with Image.open(file) as image:
                    here, colours = image.size, image.mode
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError) as error:
            raise DataError(f"{file}: cannot be read as an image ({error})") from error
        if here[0] * here[1] > _MOST_PIXELS:
            raise DataError(f"{file}: has {here[0]} x {here[1]} pixels, more than is read")
        size = size or here
        if here != size:
            raise DataError(
                f"{file}: has {here[0]} x {here[1]} pixels, {files[0].name} has "
                f"{size[0]} x {size[1]}; all must have one size"
            )
        channels = channels if colours in ("1", "L", "I;16", "I", "F") else 3
    if size is None:
        raise DataError("there is no image")
    return channels, size[1], size[0]


def _split(files: list[tuple[Path, int]], shape: tuple[int, int, int]) -> Split:
    images = torch.empty((len(files), *shape), dtype=torch.uint8)
    for place, (file, _) in enumerate(files):
        images[place] = _image(file, shape[0])
    return Split(images, torch.tensor([number for _, number in files]))


def _check_eight_bits(pixels: NDArray[np.generic], file: Path) -> None:
    """Refuse numbers that 8 bits would cut off, as those of cameras with more are."""
    low, high = float(pixels.min()), float(pixels.max())
    if not 0 <= low <= high <= 255 or (0 < high <= 1 and pixels.dtype.kind == "f"):
        raise DataError(
            f"{file}: has {pixels.dtype} pixels from {low:g} to {high:g}: images have 8 bits, 0 to "
            "255; give others in an .npz file as numbers from 0 to 1, x / x.max()"
        )


def _image(file: Path, channels: int) -> Tensor:
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode[0] in _WIDE:
                _check_eight_bits(np.array(image), file)
            pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{file}: truncated or damaged image ({error})") from error
    return torch.from_numpy(pixels).reshape(*pixels.shape[:2], channels).permute(2, 0, 1)
