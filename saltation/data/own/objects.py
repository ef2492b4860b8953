"""Data that a program has in memory, as a file that every study reads."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from saltation.data.dataset import Dataset, Split
from saltation.data.own.checks import MOST_BYTES
from saltation.data.quiet import pooch
from saltation.data.trains import SpikeTrains
from saltation.errors import DataError, SaltationError, positive, shown

Arrays = dict[str, NDArray[np.generic]]
_FORM = (
    "data from Python are a saltation.data.Dataset, or (train, test), each a torch.utils.data "
    "Dataset, a saltation.data.Split or (x, y)"
)


def as_file(train: Any, test: Any = None, *, dt: float | None = None) -> str:
    """Write data from memory into an ``.npz`` file, whose path every study and command takes.

    Parameters
    ----------
    train, test
        Each a map-style ``torch.utils.data.Dataset`` of ``(x, y)``, a `Split`, or ``(x, y)``:
        tensors or arrays. Samples and labels are as in an ``.npz`` file; sequences ``[T, F]`` of a
        ``Dataset`` may be of different lengths, and are then padded. Or a whole `Dataset` of
        `saltation.data` alone.
    dt
        The time between the samples of sequences; 1 without it.

    Returns
    -------
    str
        The path of a file in the user's cache, named after its content: the same data are the same
        file, so that their trials are found again.

    Raises
    ------
    SaltationError
        If they are none of these, or dt is not positive.
    DataError
        If a sample is no array of numbers, or all take more than is read.
    """
    if test is None and isinstance(train, Dataset):
        train, test, dt = train.train, train.test, train.dt if dt is None else dt
    elif test is None:
        raise SaltationError(f"{_FORM}, got {shown(train)}")
    arrays: Arrays = {}
    for part, given in (("train", train), ("test", test)):
        arrays |= {
            name if name == "units_shape" else f"{name}_{part}": array
            for name, array in _arrays(given, part).items()
        }
    lengths = [f"lengths_{part}" for part in ("train", "test")]
    if any(name in arrays for name in lengths):
        _pad_alike(arrays)
    if dt is not None:
        arrays["dt"] = np.array(positive("dt", dt))
    if sum(array.nbytes for array in arrays.values()) > MOST_BYTES:
        raise DataError(f"data from Python take more than {MOST_BYTES / 2**30:g} GiB")
    return str(_written(arrays))


def _written(arrays: Arrays) -> Path:
    whole = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        whole.update(f"{name} {array.dtype.str} {array.shape}".encode())
        whole.update(np.ascontiguousarray(array).data)
    folder = Path(pooch.os_cache("saltation")) / "given"
    path = folder / f"{whole.hexdigest()[:16]}.npz"
    if path.exists():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        Path(file.name).replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error
    return path


def _arrays(given: Any, part: str) -> Arrays:
    """The arrays of a part, by their names in the file without it."""
    if isinstance(given, Split):
        return _of_split(given)
    if isinstance(given, tuple | list) and len(given) == 2:
        return {"x": _array(given[0], f"{part}: x"), "y": _array(given[1], f"{part}: y")}
    if isinstance(given, TorchDataset):
        return _of_items(given, part)
    raise SaltationError(f"{_FORM}, got {shown(given)} to {part}")


def _of_split(split: Split) -> Arrays:
    labels = split.labels.cpu()
    found: Arrays = {"y": (labels if split.lengths is None else labels.nan_to_num()).numpy()}
    if isinstance(split.images, SpikeTrains):
        times, units, offsets = split.images.recording
        shape = np.array(split.images.shape[1:], np.int64)
        return found | {
            "times": times,
            "units": units,
            "offsets": offsets,
            "units_shape": shape,
        }
    images = split.images.cpu().numpy()
    if images.ndim == 4 and images.shape[1:3] == (1, 1):
        images = images[:, 0, 0]  # vectors, as a file has them
    if split.lengths is not None:
        found["lengths"] = split.lengths.cpu().numpy()
    return found | {"x": images}


def _of_items(items: Any, part: str) -> Arrays:
    """Of a map-style data set, one sample after another."""
    try:
        count = len(items)
    except TypeError:
        raise SaltationError(
            f"{part}: a data set without a length cannot be trained on in epochs, got "
            f"{type(items).__name__}"
        ) from None
    if not count:
        raise DataError(f"{part}: the data set holds no sample")
    x, y, size = [], [], 0
    for n in range(count):
        item = items[n]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(f"{part}: sample {n} is {type(item).__name__}, not (x, y)")
        x.append(_array(item[0], f"{part}: x of sample {n}"))
        y.append(_array(item[1], f"{part}: y of sample {n}"))
        size += x[-1].nbytes + y[-1].nbytes
        if size > MOST_BYTES:
            raise DataError(f"{part}: takes more than {MOST_BYTES / 2**30:g} GiB")
    lengths = [len(one) for one in x if one.ndim == 2]
    if len(lengths) == count and len(set(lengths)) > 1:
        of_moments = all(one.ndim == 2 and len(one) == len(a) for one, a in zip(y, x, strict=True))
        found = {"x": _padded(x, max(lengths), part), "lengths": np.array(lengths)}
        return found | {"y": _padded(y, max(lengths), part) if of_moments else _stacked(y, part)}
    return {"x": _stacked(x, part), "y": _stacked(y, part)}


def _stacked(arrays: list[NDArray[np.generic]], part: str) -> NDArray[np.generic]:
    kinds = {(one.shape, one.dtype) for one in arrays}
    if len(kinds) > 1:
        (a, b), (c, d) = list(kinds)[:2]
        raise DataError(f"{part}: samples are {b} {list(a)} and {d} {list(c)}; all must be alike")
    return np.stack(arrays)


def _padded(arrays: list[NDArray[np.generic]], steps: int, part: str) -> NDArray[np.generic]:
    return _stacked([_extended(one, steps) for one in arrays], part)


def _extended(array: NDArray[np.generic], steps: int) -> NDArray[np.generic]:
    """With zeros behind its end."""
    behind = [(0, steps - len(array))] + [(0, 0)] * (array.ndim - 1)
    return np.pad(array, behind)


def _pad_alike(arrays: Arrays) -> None:
    """Both parts to the moments of the longer, with lengths for both."""
    steps = max(arrays[f"x_{part}"].shape[1] for part in ("train", "test"))
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        arrays.setdefault(f"lengths_{part}", np.full(len(x), x.shape[1]))
        for name in ("x", "y") if y.ndim == 3 else ("x",):
            one = arrays[f"{name}_{part}"]
            behind = ((0, 0), (0, steps - one.shape[1]), (0, 0))
            arrays[f"{name}_{part}"] = np.pad(one, behind)


def _array(given: Any, what: str) -> NDArray[np.generic]:
    """Numbers as an array; a sample that is none says so."""
    if isinstance(given, Tensor):
        given = given.detach().cpu()
        given = given.float() if given.dtype == torch.bfloat16 else given
        array: NDArray[np.generic] = given.numpy()
        return array
    if isinstance(given, Mapping | str):
        raise DataError(f"{what} is {type(given).__name__}, not numbers")
    try:
        found = np.asarray(given)
    except ValueError:
        found = np.asarray(None)
    if found.dtype.kind not in "fiub":
        raise DataError(f"{what} is {type(given).__name__}, not numbers: a tensor or an array")
    return found
