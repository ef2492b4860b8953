"""Events from bits: the part of every kernel that emits spikes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltation.kernels.cpu.events.octets import EIGHT, octet_of, put_octet, turn_octets
from saltation.kernels.cpu.runtime.jit import compiled, subroutine
from saltation.kernels.cpu.runtime.simd import LANES, lowest, mask, ones

WORD = 64  # steps per word of bits
_FEW = 8  # spikes of a word up to which they are listed one by one


def words(steps: int) -> int:
    """Words that hold the bits of so many steps."""
    return -(-steps // WORD)


@subroutine
def list_events(
    lo: int, hi: int, bits: NDArray[Any], rows: NDArray[Any], places: NDArray[Any]
) -> None:
    """The bits of sites ``lo ... hi``, which are one sample's, as places.

    ``rows`` [T + 1] is the sample's and holds its start.
    """
    steps, count, found = len(rows) - 1, hi - lo, rows[0]
    end = found
    turned = np.empty(-(-count // EIGHT) * EIGHT, np.uint64)
    for k in range(len(bits)):
        column = bits[k, lo:hi]
        for i in range(count):
            end += ones(column[i])
    for k in range(len(bits)):
        column = bits[k, lo:hi]
        for i in range(count):
            turned[i] = column[i]
        for i in range(count, len(turned)):
            turned[i] = 0
        for first in range(0, count, EIGHT):
            turn_octets(turned, first)
        for t in range(min(WORD, steps - WORD * k)):
            for first in range(0, count, EIGHT):
                # What lies behind the end may be another sample's.
                found = put_octet(octet_of(turned, first, t), first, places, found, end)
            rows[WORD * k + t + 1] = found


@subroutine
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
    end = found + len(spikes) * width
    wanted = bits.size > 0
    if wanted:
        bits[:, lo:hi] = 0
    for t in range(len(spikes)):
        one, row = np.uint64(1) << np.uint64(t % WORD), t // WORD
        for first in range(0, width, WORD):
            word = spikes[t, first // WORD]
            if first + WORD > width:
                word &= (np.uint64(1) << np.uint64(width - first)) - np.uint64(1)
            if wanted:
                left = word
                while left:
                    bits[row, lo + first + lowest(left)] |= one
                    left &= left - np.uint64(1)
            if ones(word) > _FEW:
                for base in range(first, first + WORD, EIGHT):
                    found = put_octet(word & np.uint64(0xFF), base, places, found, end)
                    word >>= np.uint64(EIGHT)
            while word:
                places[found] = first + lowest(word)
                word &= word - np.uint64(1)
                found += 1
        rows[t + 1] = found


@compiled
def mark(s: NDArray[Any], width: int, marks: NDArray[Any], first: int) -> None:
    """Spikes ``s`` [T, N], zeros and ones, of ``width`` neurons as bits of ``marks`` [T, .],
    uint16, from neuron ``first`` on."""
    for t in range(len(s)):
        for o in range(0, width, LANES):
            marks[t, (first + o) // LANES] = mask(s, t, o)
