"""Currents of one sample: sums of the weights of its spikes, one by one or from tables.

One by one they are added in the order of the inputs. Where inputs spike often, every subset of four
inputs has its sum in a table, and four inputs cost one row per step however many of them spike (see
`subsets`): weights are then added in the order of the inputs within each four, and these in theirs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from saltation.kernels.cpu.events.octets import EIGHT, octet_of, turn_octets
from saltation.kernels.cpu.events.trains import WORD, words
from saltation.kernels.cpu.linear.source import OFTEN, PART, Source, gather
from saltation.kernels.cpu.linear.subsets import (
    COLUMNS,
    FOURS,
    GROUP,
    SUBSETS,
    add_fours,
    fill_table,
)
from saltation.kernels.cpu.runtime.buffers import Loan
from saltation.kernels.cpu.runtime.jit import compiled, subroutine
from saltation.kernels.cpu.runtime.simd import add_rows, fetch

_TOGETHER = FOURS * GROUP  # sites whose tables are made at a time, which stay in the first cache


class Scratch(NamedTuple):
    """What each worker needs for the currents of a sample.

    Weights of its sites ``local`` [workers, F, PART], places of its spikes ``line`` [workers, .],
    spikes by step ``by_step`` [workers, F / 64, T], and sums ``table`` [workers, ., COLUMNS].
    """

    local: NDArray[np.float32]
    line: NDArray[np.int32]
    by_step: NDArray[np.uint64]
    table: NDArray[np.float32]


def scratch_of(loan: Loan, workers: int, steps: int, sites: int) -> Scratch:
    """As much as is needed for so many steps and sites."""
    return Scratch(
        loan.array(workers, sites + _TOGETHER, PART),
        loan.array(workers, OFTEN * sites, dtype=torch.int32),
        loan.array(workers, words(sites), steps, dtype=torch.uint64),
        loan.array(workers, FOURS * SUBSETS, COLUMNS),
    )


@compiled
def crowded(b: int, source: Source) -> bool:
    """Whether tables are worth making for sample ``b``.

    Measured: making them costs as much as 16 rows for every four sites, and a sum from them as much
    as 8 / 5 of a row. All steps count, so that any number of them is added up in the same way.
    """
    rows, sites = source.rows[b], source.offsets[b + 1] - source.offsets[b]
    steps = len(rows) - 1
    return bool(5 * (rows[steps] - rows[0]) > sites * (2 * steps + 20))


@subroutine
def turn(b: int, source: Source, by_step: NDArray[Any]) -> None:
    """The spikes of sample ``b``, in ``by_step`` [F / 64, T]: bit i % 64 of word i // 64 is 1 where
    its i-th site spikes."""
    lo, hi, rows = source.offsets[b], source.offsets[b + 1], source.rows[b]
    steps = len(rows) - 1
    by_step[:] = 0
    if not source.bits.size:
        places = source.places[rows[0] :]
        for t in range(steps):
            number, word = np.uint32(0), np.uint64(0)
            for place in places[rows[t] - rows[0] : rows[t + 1] - rows[0]]:
                here = np.uint32(place) // np.uint32(WORD)
                if here != number:
                    by_step[number, t] = word
                    number, word = here, np.uint64(0)
                word |= np.uint64(1) << np.uint64(np.uint32(place) % np.uint32(WORD))
            by_step[number, t] = word
        return
    octets = np.empty(EIGHT, np.uint64)
    for first in range(0, hi - lo, EIGHT):
        shift = np.uint64(first % WORD)
        for k in range(len(source.bits)):
            for i in range(EIGHT):
                known = first + i < hi - lo
                octets[i] = source.bits[k, lo + first + i] if known else np.uint64(0)
            turn_octets(octets, 0)
            for t in range(min(WORD, steps - WORD * k)):
                by_step[first // WORD, WORD * k + t] |= octet_of(octets, 0, t) << shift


@compiled
def ready(b: int, source: Source, worker: int, scratch: Scratch) -> None:
    """What the currents of sample ``b`` need once, for any number of blocks of neurons."""
    if crowded(b, source):
        turn(b, source, scratch.by_step[worker])


@subroutine
def sum_tables(
    b: int,
    end: int,
    first: int,
    width: int,
    source: Source,
    worker: int,
    scratch: Scratch,
    x: NDArray[Any],
    column: int,
) -> None:
    """Adds the currents of a `crowded` sample up to step ``end``, for at most `PART` neurons from
    ``first`` on, to ``x`` [T, .] from ``column`` on; it is `ready`."""
    lo, hi = source.offsets[b], source.offsets[b + 1]
    local, table, by_step = scratch.local[worker], scratch.table[worker], scratch.by_step[worker]
    gather(lo, hi, first, width, source, local)
    local[hi - lo : hi - lo + _TOGETHER] = 0
    for part in range(0, width, COLUMNS):
        size = min(COLUMNS, width - part)
        for site in range(0, hi - lo, _TOGETHER):
            for g in range(FOURS):
                fill_table(table, g, local, site + GROUP * g, part, size)
            shift = np.uint64(site % WORD)
            spikes = by_step[site // WORD]
            for t in range(end):
                add_fours(x, t, column + part, table, spikes[t] >> shift, size)


@subroutine
def drive(
    b: int,
    end: int,
    first: int,
    width: int,
    source: Source,
    worker: int,
    scratch: Scratch,
    x: NDArray[Any],
) -> None:
    """Currents ``x`` [T, .] of sample ``b``, which is `ready`, for neurons ``first ... first +
    width``, up to step ``end``."""
    lo, hi = source.offsets[b], source.offsets[b + 1]
    rows, local, line = source.rows[b], scratch.local[worker], scratch.line[worker]
    x[:end] = 0
    if crowded(b, source):
        for part in range(0, width, PART):
            size = min(PART, width - part)
            sum_tables(b, end, first + part, size, source, worker, scratch, x, part)
    # Weights that are taken often are worth a copy of them side by side, which stays in cache.
    elif rows[end] - rows[0] > OFTEN * (hi - lo):
        for part in range(0, width, PART):
            size = min(PART, width - part)
            gather(lo, hi, first + part, size, source, local)
            for t in range(end):
                add_rows(x, t, part, local, 0, source.places, rows[t], rows[t + 1], size)
    else:
        for t in range(end):
            for e in range(rows[t], rows[t + 1]):
                line[e - rows[t]] = source.sites[lo + source.places[e]]
                fetch(source.weight, int(line[e - rows[t]]), first, width)
            add_rows(x, t, 0, source.weight, first, line, 0, rows[t + 1] - rows[t], width)
    if len(source.bias):
        for t in range(end):
            for o in range(width):
                x[t, o] += source.bias[first + o]
