"""Data in an ``.npz`` file: x_train, y_train, x_test, y_test, and perhaps lengths and dt; or
recorded spikes."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from saltation.data.dataset import Split
from saltation.data.files import read_exactly
from saltation.data.own.checks import (
    MOST_BYTES,
    classes_of,
    fingerprint,
    labels_of,
    lengths_of,
    limited,
    outputs_of,
    samples_of,
    targets_of,
)
from saltation.data.own.events import Arrays, spikes_of
from saltation.data.registry import Spec
from saltation.data.trains import SpikeTrains
from saltation.errors import DataError

_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_SPIKES = (
    *("times_train", "units_train", "offsets_train", "y_train"),
    *("times_test", "units_test", "offsets_test", "y_test", "units_shape"),
)
_MORE = ("lengths_train", "lengths_test", "dt")


def of_npz(path: Path) -> Spec:
    """What is in an ``.npz`` file, as NumPy writes it, compressed or not.

    ``x_train`` and ``x_test`` are images ``[N, C, H, W]`` or vectors ``[N, F]``, uint8 or numbers
    from 0 to 1, or sequences ``[N, T, F]`` of any numbers; ``y_train`` and ``y_test`` integers
    ``[N]``, or floating-point targets: of samples ``[N, k]``, of every moment of sequences ``[N, T,
    k]``. ``lengths_train`` and ``lengths_test``, integers ``[N]``, are the moments of sequences
    that are padded. ``dt``, a number, is the time between the samples of a sequence, 1 if it is not
    there. In place of ``x_train`` and ``x_test`` there may be recorded spikes, see `spikes_of`.

    Raises
    ------
    DataError
        If the file is damaged, lacks an array or holds what is no data. No object in it is made.
    """
    train, test, dt = _read(path)
    is_sequence = isinstance(train.images, torch.Tensor) and train.images.ndim == 3
    if dt is not None and not is_sequence:
        raise DataError(f"{path}: dt is of sequences [N, T, F], and x_train is none")
    regression = train.labels.is_floating_point() or test.labels.is_floating_point()
    durations = [p.images.duration for p in (train, test) if isinstance(p.images, SpikeTrains)]
    if durations and not max(durations) > 0:
        raise DataError(f"{path}: the last spike has the time 0")
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
        duration=max(durations) if durations else None,
        regression=regression,
        of_moments=regression and train.labels.ndim == 3,
        lengths=train.lengths is not None,
    )


def _read(path: Path) -> tuple[Split, Split, float | None]:
    arrays = _arrays(path)
    train, test = (_split(arrays, part, path) for part in ("train", "test"))
    if (train.lengths is None) != (test.lengths is None):
        raise DataError(f"{path}: give both lengths_train and lengths_test, or neither")
    dt = None
    if "dt" in arrays:
        given = arrays["dt"]
        dt = float(given.item()) if given.size == 1 and given.dtype.kind in "fiu" else math.nan
        if not 0 < dt < math.inf:
            raise DataError(f"{path}: dt must be one positive number, got {given}")
    return train, test, dt


def _split(arrays: Arrays, part: str, path: Path) -> Split:
    y, what = arrays[f"y_{part}"], f"{path}: y_{part}"
    is_target = y.dtype.kind == "f" and y.ndim != 1
    images: Any
    if "units_shape" in arrays:
        images = spikes_of(arrays, part, str(path))
        if is_target and y.ndim != 2:
            raise DataError(f"{what} is {y.dtype} {list(y.shape)}: of spikes targets are [N, k]")
    else:
        images = samples_of(arrays[f"x_{part}"], f"{path}: x_{part}")
    labels = targets_of(y, images, what) if is_target else labels_of(y, len(images), what)
    given = arrays.get(f"lengths_{part}")
    lengths = None if given is None else lengths_of(given, images, f"{path}: lengths_{part}")
    return Split(images, labels, lengths)


def _arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        with zipfile.ZipFile(path) as archive:
            there = {name.removesuffix(".npy"): name for name in archive.namelist()}
            needed = _SPIKES if "times_train" in there else _ARRAYS
            missing = [name for name in needed if name not in there]
            if missing:
                found = ", ".join(sorted(there)[:8]) or "nothing"
                raise DataError(f"{path}: has no {', '.join(missing)} (it has {found})")
            both = [name for name in ("x_train", "x_test", *_MORE) if name in there]
            if needed is _SPIKES and both:
                raise DataError(f"{path}: has {both[0]} beside spikes, which have their own times")
            wanted = [name for name in (*needed, *_MORE) if name in there]
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
