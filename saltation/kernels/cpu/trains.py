"""Events from bits: the part of every kernel that emits spikes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltation.kernels.cpu.jit import compiled, kernel
from saltation.kernels.cpu.simd import LANES, lowest, mask, ones

WORD = 64  # steps per word of bits
# One spike in so many bits: with more, a write for every bit costs less than a branch per spike.
_FEW = 8


def words(steps: int) -> int:
    """Words that hold the bits of so many steps."""
    return -(-steps // WORD)


@kernel
def list_events(
    lo: int,
    hi: int,
    bits: NDArray[Any],
    rows: NDArray[Any],
    places: NDArray[Any],
) -> None:
    """The bits of sites ``lo ... hi``, which are one sample's, as places.

    ``rows`` [T + 1] is the sample's and holds its start.
    """
    steps, found = len(rows) - 1, 0
    for i in range(lo, hi):
        for k in range(len(bits)):
            found += ones(bits[k, i])
    if _FEW * found < (hi - lo) * steps:
        _list_few(lo, hi, bits, rows, places)
    else:
        _list_places(lo, hi, bits, rows, places[rows[0] :])


@kernel
def emit(
    b: int,
    width: int,
    spikes: NDArray[Any],
    rows: NDArray[Any],
    places: NDArray[Any],
    bits: NDArray[Any],
) -> None:
    """The spikes of sample ``b``, a bit per neuron in ``spikes`` [T, .], as places, and if there is
    room for them as bits too."""
    lo, hi, found = width * b, width * (b + 1), rows[0]
    wanted = bits.size > 0
    if wanted:
        bits[:, lo:hi] = 0
    for t in range(len(spikes)):
        one = np.uint64(1) << np.uint64(t % WORD)
        for first in range(0, width, WORD):
            word = spikes[t, first // WORD]
            if first + WORD > width:
                word &= (np.uint64(1) << np.uint64(width - first)) - np.uint64(1)
            while word:
                site = first + lowest(word)
                word &= word - np.uint64(1)
                places[found] = site
                found += 1
                if wanted:
                    bits[t // WORD, lo + site] |= one
        rows[t + 1] = found


@compiled
def mark(s: NDArray[Any], width: int, marks: NDArray[Any], first: int) -> None:
    """Spikes ``s`` [T, N], zeros and ones, of ``width`` neurons as bits of ``marks`` [T, .],
    uint16, from neuron ``first`` on."""
    for t in range(len(s)):
        for o in range(0, width, LANES):
            marks[t, (first + o) // LANES] = mask(s, t, o)


@compiled
def _list_places(
    lo: int, hi: int, bits: NDArray[Any], rows: NDArray[Any], places: NDArray[Any]
) -> None:
    last = np.uint64(0)
    for t in range(len(rows) - 1):
        column, shift = bits[t // WORD, lo:hi], np.uint64(t % WORD)
        for i in range(len(column)):
            places[last] = i
            last += column[i] >> shift & np.uint64(1)
        rows[t + 1] = rows[0] + np.int64(last)


@compiled
def _list_few(
    lo: int, hi: int, bits: NDArray[Any], rows: NDArray[Any], places: NDArray[Any]
) -> None:
    rows[1:] = 0
    for i in range(lo, hi):
        for k in range(len(bits)):
            word = bits[k, i]
            while word:
                rows[WORD * k + lowest(word) + 1] += 1
                word &= word - np.uint64(1)
    end = rows[0]
    for t in range(1, len(rows)):
        count = rows[t]
        rows[t] = end
        end += count
    # Each row begins where the one before it ends, and walks up to its own end.
    for i in range(lo, hi):
        for k in range(len(bits)):
            word = bits[k, i]
            while word:
                row = WORD * k + lowest(word) + 1
                word &= word - np.uint64(1)
                places[rows[row]] = i - lo
                rows[row] += 1
