"""Data in an ``.npz`` file: x_train, y_train, x_test, y_test, and perhaps dt."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saltation.data.dataset import Split
from saltation.data.files import read_exactly
from saltation.data.own.checks import (
    MOST_BYTES,
    classes_of,
    fingerprint,
    labels_of,
    limited,
    outputs_of,
    samples_of,
    targets_of,
)
from saltation.data.registry import Spec
from saltation.errors import DataError

_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def of_npz(path: Path) -> Spec:
    """What is in an ``.npz`` file, as NumPy writes it, compressed or not.

    ``x_train`` and ``x_test`` are images ``[N, C, H, W]`` or vectors ``[N, F]``, uint8 or numbers
    from 0 to 1, or sequences ``[N, T, F]`` of any numbers; ``y_train`` and ``y_test`` integers
    ``[N]``, or floating-point targets of every moment of sequences, ``[N, T, k]``. ``dt``, a
    number, is the time between the samples of a sequence, 1 if it is not there.

    Raises
    ------
    DataError
        If the file is damaged, lacks an array or holds what is no data. No object in it is made.
    """
    train, test, dt = _read(path)
    is_sequence = train.images.ndim == 3
    if dt is not None and not is_sequence:
        raise DataError(f"{path}: dt is of sequences [N, T, F], and x_train is none")
    regression = train.labels.is_floating_point() or test.labels.is_floating_point()
    return Spec(
        name=str(path),
        title=f"{path.name}, a file of yours",
        classes=(outputs_of if regression else classes_of)(train, test, path),
        shape=tuple(train.images.shape[1:]),
        samples=len(train),
        # What was read to describe it is not kept: it may be large.
        read=lambda _, *limits: limited(*_read(path)[:2], limits),
        bundled=True,
        fingerprint=fingerprint([path]),
        dt=(1.0 if dt is None else dt) if is_sequence else None,
        regression=regression,
    )


def _read(path: Path) -> tuple[Split, Split, float | None]:
    arrays = _arrays(path)
    splits = []
    for part in ("train", "test"):
        images = samples_of(arrays[f"x_{part}"], f"{path}: x_{part}")
        y, what = arrays[f"y_{part}"], f"{path}: y_{part}"
        is_target = y.dtype.kind == "f" and y.ndim == 3
        labels = targets_of(y, images, what) if is_target else labels_of(y, len(images), what)
        splits.append(Split(images, labels))
    dt = None
    if "dt" in arrays:
        given = arrays["dt"]
        dt = float(given.item()) if given.size == 1 and given.dtype.kind in "fiu" else math.nan
        if not 0 < dt < math.inf:
            raise DataError(f"{path}: dt must be one positive number, got {given}")
    return splits[0], splits[1], dt


def _arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        with zipfile.ZipFile(path) as archive:
            there = {name.removesuffix(".npy"): name for name in archive.namelist()}
            missing = [name for name in _ARRAYS if name not in there]
            if missing:
                found = ", ".join(sorted(there)[:8]) or "nothing"
                raise DataError(f"{path}: has no {', '.join(missing)} (it has {found})")
            wanted = [name for name in (*_ARRAYS, "dt") if name in there]
            claimed = sum(archive.getinfo(there[name]).file_size for name in wanted)
            if claimed > MOST_BYTES:
                raise DataError(
                    f"{path}: unpacks to {claimed / 2**30:.1f} GiB, and at most "
                    f"{MOST_BYTES / 2**30:g} are read"
                )
            return {name: _array(archive, there[name], f"{path}: {name}") for name in wanted}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path}: truncated or damaged .npz file ({reason})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _array(archive: zipfile.ZipFile, name: str, what: str) -> NDArray[np.generic]:
    """An array of numbers, of the size that its header says and no larger."""
    size = archive.getinfo(name).file_size
    with archive.open(name) as stream:
        try:
            version = np.lib.format.read_magic(stream)
            reader = {(1, 0): np.lib.format.read_array_header_1_0}.get(
                version, np.lib.format.read_array_header_2_0
            )
            shape, by_columns, dtype = reader(stream)
        except (ValueError, SyntaxError, tokenize.TokenError, RecursionError) as error:
            raise DataError(f"{what}: is no NumPy array ({type(error).__name__})") from error
        if dtype.hasobject or dtype.kind not in "fiub" or any(n < 0 for n in shape):
            raise DataError(f"{what}: is {dtype}, not numbers")
        wanted = math.prod(shape) * dtype.itemsize
        if wanted > size:
            raise DataError(f"{what}: is truncated ({size} bytes for an array {list(shape)})")
        content = read_exactly(stream, wanted)
    if len(content) < wanted:
        raise DataError(f"{what}: is truncated")
    array = np.frombuffer(content, dtype)
    array = array.reshape(shape, order="F" if by_columns else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)
