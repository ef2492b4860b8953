"""What a user's samples and labels must be, whatever file they come in."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.data.dataset import Split
from saltation.errors import DataError, LayoutWarning

MOST_BYTES = 4 << 30
"""Of samples in memory: a file that claims more is taken for a bomb."""
_MOST_CLASSES = 100_000


def samples_of(x: NDArray[np.generic], what: str) -> Tensor:
    """Samples as a `Split` holds them: uint8 or float32 images ``[N, C, H, W]``, vectors as images
    ``[N, 1, 1, F]``, float32 sequences ``[N, T, F]``.

    Parameters
    ----------
    x
        ``[N, C, H, W]``, ``[N, F]`` or ``[N, T, F]``.
    what
        File and array, for messages.

    Raises
    ------
    DataError
        If the shape is another, there is nothing, or values are not what rates or currents can be.
    """
    shape = list(x.shape)
    if x.ndim not in (2, 3, 4) or 0 in shape:
        raise DataError(
            f"{what} has shape {shape}: samples are images [N, C, H, W], vectors [N, F] or "
            "sequences [N, T, F]"
        )
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise DataError(
            f"{what} is {x.dtype}: samples are uint8 (0 to 255) or floating-point numbers"
        )
    if x.ndim == 3 and x.dtype == np.uint8:
        raise DataError(
            f"{what} is uint8 {shape}: grey images are [N, 1, H, W], as of x[:, None]; sequences "
            "[N, T, F] are floating-point numbers"
        )
    if x.dtype == np.uint8 and x.max() == 1:
        raise DataError(
            f"{what} is uint8 with values of 0 and 1, and uint8 goes to 255: give x * 255, or "
            "x.astype(np.float32)"
        )
    if x.ndim == 3 and shape[1] == shape[2] >= 8 and 0 <= x.min() <= x.max() <= 1:
        warnings.warn(
            f"{what} has shape {shape} and is taken for sequences of {shape[1]} moments; grey "
            "images are [N, 1, H, W], as of x[:, None]",
            LayoutWarning,
            stacklevel=2,
        )
    if x.ndim == 4 and shape[1] not in (1, 2, 3, 4) and shape[3] in (1, 3, 4):
        raise DataError(f"{what} has shape {shape}: channels come first, [N, C, H, W]")
    if x.dtype == np.uint8:
        found = torch.from_numpy(np.ascontiguousarray(x))
    else:
        _check_finite(x, what)
        with np.errstate(over="ignore"):
            single = np.ascontiguousarray(x, np.float32)
        _check_finite(single, f"{what} in float32")
        found = torch.from_numpy(single)
        if x.ndim != 3:
            _check_rates(found, what)
    return found[:, None, None] if x.ndim == 2 else found


def _check_finite(x: NDArray[np.generic], what: str) -> None:
    wrong = ~np.isfinite(x)
    if wrong.any():
        first = [int(i) for i in np.argwhere(wrong)[0]]
        raise DataError(
            f"{what} has {int(wrong.sum())} numbers that are not finite, the first at {first}"
        )


def _check_rates(x: Tensor, what: str) -> None:
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > 1:
        raise DataError(
            f"{what} has values from {low:g} to {high:g}: they become spike rates and must lie in "
            "0 to 1, as of (x - x.min()) / (x.max() - x.min()); currents over time are sequences "
            "[N, T, F]"
        )


def labels_of(y: NDArray[np.generic], samples: int, what: str) -> Tensor:
    """Labels as int64 ``[N]``.

    Raises
    ------
    DataError
        If they are no integers, below 0, or not as many as there are samples.
    """
    if y.dtype.kind not in "iu" or y.ndim != 1:
        hint = _as_labels(y)
        raise DataError(
            f"{what} is {y.dtype} {list(y.shape)}: labels are integers [N], from 0 to classes - 1"
            f"{hint}"
        )
    if len(y) != samples:
        raise DataError(
            f"{what} has {len(y)} labels for {samples} samples, which come first: [N, ...]"
        )
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= _MOST_CLASSES:
        wrong = low if low < 0 else high
        raise DataError(f"{what} has the label {wrong}: labels are from 0 to classes - 1")
    return torch.from_numpy(y.astype(np.int64))


def _as_labels(y: NDArray[np.generic]) -> str:
    """What makes labels, or targets, of these."""
    if y.ndim == 2 and y.shape[1] == 1:
        return "; as of y[:, 0]"
    if y.ndim == 2 and _is_one_hot(y):
        return "; as of y.argmax(1)"
    if y.dtype.kind in "OUS":
        return "; as of pandas.factorize(y)[0]"
    if y.ndim != 1 or y.dtype.kind not in "fb":
        return ""
    if y.dtype.kind == "b" or bool((y.astype(np.float64) % 1 == 0).all()):
        return "; as of y.astype(int)"
    return "; targets are [N, k], as of y[:, None]"


def _is_one_hot(y: NDArray[np.generic]) -> bool:
    """Whether every row has one 1 and zeros."""
    return y.shape[1] > 1 and bool((((y == 0) | (y == 1)).all(1) & (y.sum(1) == 1)).all())


def targets_of(y: NDArray[np.generic], samples: Any, what: str) -> Tensor:
    """Targets as float32: ``[N, k]`` of samples, or ``[N, T, k]`` of every moment of sequences.

    Raises
    ------
    DataError
        If there are not as many as samples or moments, these are no sequences, or numbers are not
        finite.
    """
    shape = tuple(samples.shape)
    fits = y.shape[:2] == shape[:2] if y.ndim == len(shape) == 3 else y.shape[:1] == shape[:1]
    if not fits or y.ndim not in (2, 3) or (y.ndim, len(shape)) == (3, 4) or 0 in y.shape:
        raise DataError(
            f"{what} is {y.dtype} {list(y.shape)}: labels are integers [N]; targets are "
            "floating-point numbers [N, k], or [N, T, k], one row for every moment of sequences "
            f"[N, T, F], and the samples are {list(shape)}"
        )
    _check_finite(y, what)
    if y.ndim == 2 and _is_one_hot(y):
        raise DataError(
            f"{what} has a 1 in every row and zeros beside it: these are labels, as of "
            "y.argmax(1); floating-point numbers [N, k] are targets"
        )
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(y, np.float32)
    _check_finite(single, f"{what} in float32")
    return torch.from_numpy(single)


def lengths_of(lengths: NDArray[np.generic], samples: Tensor, what: str) -> Tensor:
    """The moments of sequences that are padded, as int64 ``[N]``.

    Raises
    ------
    DataError
        If samples are no sequences, or there is not one integer from 1 to T for each.
    """
    if samples.ndim != 3:
        raise DataError(f"{what}: lengths are of sequences [N, T, F], and the samples are none")
    if lengths.dtype.kind not in "iu" or lengths.shape != (len(samples),):
        raise DataError(
            f"{what} is {lengths.dtype} {list(lengths.shape)}: lengths are integers "
            f"[{len(samples)}], one for every sequence"
        )
    low, high, most = int(lengths.min()), int(lengths.max()), samples.shape[1]
    if not 1 <= low <= high <= most:
        wrong = low if low < 1 else high
        raise DataError(f"{what} has the length {wrong}: sequences have 1 to {most} moments")
    return torch.from_numpy(lengths.astype(np.int64))


def outputs_of(train: Split, test: Split, where: Path) -> int:
    """The number of targets at a moment, or of a sample, which is the same in both.

    Raises
    ------
    DataError
        If it is not, or one has labels, or samples differ in shape.
    """
    for what, a, b in (("samples", train.images, test.images), ("y", train.labels, test.labels)):
        if a.shape[1:] != b.shape[1:] or a.dtype != b.dtype:
            raise DataError(
                f"{where}: {what} to train on are {a.dtype} {list(a.shape)}, those to test on "
                f"{b.dtype} {list(b.shape)}"
            )
    return train.labels.shape[-1]


def classes_of(train: Split, test: Split, where: Path) -> int:
    """The number of classes: of every one there is a training sample.

    Raises
    ------
    DataError
        If there is none of one.
    """
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            f"{where}: training samples have shape {list(train.images.shape[1:])}, those to test "
            f"on {list(test.images.shape[1:])}"
        )
    if train.images.dtype != test.images.dtype:
        raise DataError(
            f"{where}: training samples are {train.images.dtype}, those to test on "
            f"{test.images.dtype}"
        )
    classes = 1 + int(max(train.labels.max(), test.labels.max()))
    counts = torch.bincount(train.labels, minlength=classes)
    empty = [k for k in range(classes) if counts[k] == 0]
    if empty:
        more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
        hint = " (labels are from 0: give y - 1)" if empty == [0] else ""
        raise DataError(
            f"{where}: class {empty[0]}{more} of {classes} has no training sample{hint}"
        )
    if classes < 2:
        raise DataError(f"{where}: all samples are of one class")
    return classes


def limited(
    train: Split, test: Split, limits: tuple[int | None, int | None]
) -> tuple[Split, Split]:
    """The first samples of both, as far as there are limits."""
    return train.first(limits[0]), test.first(limits[1])


def fingerprint(files: Iterable[Path]) -> str:
    """What changes when the content of one of the files does."""
    whole = hashlib.sha256()
    for file in files:
        try:
            with file.open("rb") as stream:
                whole.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror or error})") from error
    return whole.hexdigest()[:16]
