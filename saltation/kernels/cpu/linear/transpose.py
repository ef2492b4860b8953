"""Matrices turned over, 16 rows at a time: weights are read by their columns, ``[F, O]``, and lie
in memory by rows as torch's do, ``[O, F]``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltation.kernels.cpu.conv.windows import turn
from saltation.kernels.cpu.runtime.buffers import fresh
from saltation.kernels.cpu.runtime.finite import none_in
from saltation.kernels.cpu.runtime.jit import kernel
from saltation.kernels.cpu.runtime.simd import LANES
from saltation.kernels.cpu.runtime.threads import spread

_LEAST = 8  # groups of 16 rows that are worth a thread


@kernel
def _transpose(
    start: int,
    stop: int,
    source: NDArray[Any],
    into: NDArray[Any],
    bits: NDArray[Any],
    found: NDArray[Any],
) -> None:
    """Rows ``16 start ... 16 stop`` of ``into`` [C, .], from the columns of ``source`` [R, .] with
    these numbers; beyond R zeros. ``bits`` is ``into`` as integers, and ``found`` is 1 for each
    group of rows in which all numbers are finite."""
    rows, stride = source.shape
    columns, to_stride = into.shape
    for group in range(start, stop):
        first = LANES * group
        last = min(first + LANES, columns)
        whole = rows // LANES * LANES if last - first == LANES else 0
        for r in range(0, whole, LANES):
            turn(source, r * stride + first, stride, into, first * to_stride + r, to_stride)
        finite = True
        for c in range(first, last):
            for r in range(whole, rows):
                into[c, r] = source[r, c]
            for r in range(rows, to_stride):
                into[c, r] = 0
            finite &= none_in(bits[c])
        found[group] = finite


def transposed(
    matrix: NDArray[np.float32], columns: int, width: int
) -> tuple[NDArray[np.float32], bool]:
    """The first ``columns`` of ``matrix`` [R, .] as rows ``[columns, width]``, zeros beyond R, and
    whether all their numbers are finite."""
    into = fresh(columns, width).numpy()
    found = np.empty(-(-columns // LANES), np.uint8)
    spread(_transpose, len(found), matrix, into, into.view(np.int32), found, least=_LEAST)
    return into, bool(found.all())
