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
    times: NDArray[Any],
    rows: NDArray[Any],
    places: NDArray[Any],
) -> None:
    """The bits of sites ``lo ... hi``, which are one sample's, as times and as places.

    ``rows`` [T + 1] is the sample's and holds its start.
    """
    steps, found = len(rows) - 1, 0
    for i in range(lo, hi):
        for k in range(len(bits)):
            found += ones(bits[k, i])
    if _FEW * found < (hi - lo) * steps:
        _list_few(lo, hi, found, bits, times, rows, places)
    else:
        list_times(lo, hi, steps, bits, times[rows[0] :])
        _list_places(lo, hi, bits, rows, places[rows[0] :])


@kernel
def emit(
    b: int,
    width: int,
    spikes: NDArray[Any],
    rows: NDArray[Any],
    places: NDArray[Any],
    bits: NDArray[Any],
    times: NDArray[Any],
) -> None:
    """The spikes of sample ``b``, a bit per neuron in ``spikes`` [T, .], as places, and if there is
    room for them as bits and times too."""
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
    if wanted:
        list_times(lo, hi, len(spikes), bits, times[rows[0] :])


@compiled
def mark(s: NDArray[Any], width: int, marks: NDArray[Any], first: int) -> None:
    """Spikes ``s`` [T, N], zeros and ones, of ``width`` neurons as bits of ``marks`` [T, .],
    uint16, from neuron ``first`` on."""
    for t in range(len(s)):
        for o in range(0, width, LANES):
            marks[t, (first + o) // LANES] = mask(s, t, o)


@kernel
def list_times(lo: int, hi: int, steps: int, bits: NDArray[Any], times: NDArray[Any]) -> None:
    """The bits of sites ``lo ... hi`` as times."""
    last = np.uint64(0)
    for i in range(lo, hi):
        for k in range(len(bits)):
            word = bits[k, i]
            for t in range(min(WORD, steps - WORD * k)):
                # Written before it is known whether it counts; what does not is written over.
                times[last] = WORD * k + t
                last += word >> np.uint64(t) & np.uint64(1)


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
    lo: int,
    hi: int,
    found: int,
    bits: NDArray[Any],
    times: NDArray[Any],
    rows: NDArray[Any],
    places: NDArray[Any],
) -> None:
    steps, e = len(rows) - 1, rows[0]
    rows[1:] = 0
    for i in range(lo, hi):
        for k in range(len(bits)):
            word = bits[k, i]
            while word:
                t = WORD * k + lowest(word)
                word &= word - np.uint64(1)
                times[e] = t
                rows[t + 1] += 1
                e += 1
    for t in range(steps):
        rows[t + 1] += rows[t]
    # From the last site to the first, so that the end of each row walks down to its start.
    for i in range(hi - 1, lo - 1, -1):
        for k in range(len(bits)):
            for _ in range(ones(bits[k, i])):
                e -= 1
                row = times[e] + 1
                rows[row] -= 1
                places[rows[row]] = i - lo
    start = rows[1]
    rows[:steps] = rows[1:]
    rows[steps] = start + found
