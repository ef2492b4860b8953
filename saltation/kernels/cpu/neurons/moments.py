"""Mean and variance of the channels of maps, in double precision."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu.runtime.jit import kernel
from saltation.kernels.cpu.runtime.threads import spread

ROWS = 256  # of which one sum is made; the sums of all such parts are added up in their order


class Statistics(NamedTuple):
    """Mean and variance, float64 ``[S, C]``, of each of ``S`` groups of so many ``rows``."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    rows: int


@kernel
def _sum(start: int, stop: int, x: NDArray[Any], sums: NDArray[Any]) -> None:
    """Sums and sums of squares ``sums`` [S, parts, 2, C], in double precision, of parts
    ``start ... stop`` of the groups of ``x`` [S, rows, C]."""
    parts, channels = sums.shape[1], x.shape[2]
    for number in range(start, stop):
        group, part = number // parts, number % parts
        one, two = sums[group, part, 0], sums[group, part, 1]
        one[:] = 0
        two[:] = 0
        for i in range(ROWS * part, min(ROWS * (part + 1), x.shape[1])):
            row = x[group, i]
            for c in range(channels):
                value = np.float64(row[c])
                one[c] += value
                two[c] += value * value


def statistics(x: Tensor) -> Statistics:
    """Of every group and channel of ``x`` [S, rows, C], contiguous."""
    groups, rows, channels = x.shape
    parts = -(-rows // ROWS)
    sums = np.empty((groups, parts, 2, channels), np.float64)
    spread(_sum, groups * parts, x.detach().numpy(), sums, least=1)
    total = sums.sum(1)
    mean = total[:, 0] / rows
    return Statistics(mean, np.maximum(total[:, 1] / rows - mean * mean, 0), rows)
