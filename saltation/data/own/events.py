"""A user's own recorded spikes, as arrays of an ``.npz`` file."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from saltation.data.trains import Recording, SpikeTrains
from saltation.errors import DataError

Arrays = Mapping[str, NDArray[np.generic]]
_MOST_UNITS = 1 << 24


def spikes_of(arrays: Arrays, part: str, path: str) -> SpikeTrains:
    """The recordings of a part.

    Parameters
    ----------
    arrays
        Of the file: ``times_PART``, numbers ``[E]``, ascending in every recording; ``units_PART``,
        integers ``[E]``, flat; ``offsets_PART``, integers ``[N + 1]``: recording n has the events
        from ``offsets[n]`` up to ``offsets[n + 1]``; and ``units_shape``, integers, the shape of
        the units.
    part
        ``train`` or ``test``.
    path
        For messages.

    Raises
    ------
    DataError
        If an array is of another kind, or times, units or offsets are out of range or not sorted.
    """
    times, units, offsets = (arrays[f"{name}_{part}"] for name in ("times", "units", "offsets"))
    for name, given, kinds in (
        (f"times_{part}", times, "fiu"),
        (f"units_{part}", units, "iu"),
        (f"offsets_{part}", offsets, "iu"),
    ):
        if given.ndim != 1 or given.dtype.kind not in kinds:
            kind = "numbers" if kinds == "fiu" else "integers"
            raise DataError(
                f"{path}: {name} is {given.dtype} {list(given.shape)}: it holds {kind}, [n]"
            )
    ends = offsets.astype(np.int64)
    if len(ends) < 2 or ends[0] != 0 or ends[-1] != len(times) or (np.diff(ends) < 0).any():
        raise DataError(
            f"{path}: offsets_{part} must ascend from 0 to the {len(times)} events, a number more "
            "than recordings"
        )
    when = times.astype(np.float64)
    later = np.diff(when) >= 0
    later[ends[1:-1][(ends[1:-1] > 0) & (ends[1:-1] < len(when))] - 1] = True  # another recording
    try:
        found = SpikeTrains(Recording(when, units.astype(np.int64), ends), _shape(arrays, path))
    except DataError as error:
        raise DataError(f"{path}: {part}: {error}") from None
    if not later.all():
        raise DataError(f"{path}: times_{part} are not sorted, at event {int(later.argmin()) + 1}")
    return found


def _shape(arrays: Arrays, path: str) -> tuple[int, ...]:
    given = arrays["units_shape"]
    shape = tuple(int(n) for n in given) if given.dtype.kind in "iu" and given.ndim == 1 else ()
    if not 1 <= len(shape) <= 3 or min(shape) < 1 or math.prod(shape) > _MOST_UNITS:
        raise DataError(
            f"{path}: units_shape must be one to three integers from 1 on, such as [2, 128, 128], "
            f"got {given.tolist() if given.size < 9 else list(given.shape)}"
        )
    return shape
