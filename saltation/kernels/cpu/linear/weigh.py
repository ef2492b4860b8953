"""Gradients of weights that were multiplied with spikes: sums over the steps at which they came."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltation.kernels.cpu.events.trains import WORD
from saltation.kernels.cpu.linear.source import Source
from saltation.kernels.cpu.linear.subsets import (
    COLUMNS,
    GROUP,
    SUBSETS,
    add_bits,
    add_subsets,
    fill_table,
)
from saltation.kernels.cpu.runtime.buffers import Loan
from saltation.kernels.cpu.runtime.finite import INFINITY
from saltation.kernels.cpu.runtime.jit import compiled, subroutine
from saltation.kernels.cpu.runtime.simd import fetch, largest

# Measured: a sum from a table costs as much as 5 / 4 rows, because its part of a weight's row is
# short, and all sums of a group cost as much to make as so many to take.
_FILLING = 16
_AHEAD = 3  # sites ahead of the one that is worked on, whose gradients are fetched into cache


def whole_groups(steps: int) -> int:
    """``steps`` up to a whole number of groups."""
    return -(-steps // GROUP) * GROUP


def tables(loan: Loan, workers: int) -> NDArray[np.float32]:
    """Scratch for `weigh`, for each worker."""
    return loan.array(workers, WORD // GROUP * SUBSETS, COLUMNS)


@compiled
def _reached(g_x: NDArray[Any], end: int, width: int) -> tuple[int, int, bool]:
    """First step, and the step after the last, at which a current's gradient is not zero, and
    whether all are finite."""
    low, high, most = end, 0, 0
    for t in range(end):
        here = largest(g_x, t, width)
        if here:
            low, high = min(low, t), t + 1
        most = max(most, here)
    return low, high, most < INFINITY


@subroutine
def weigh(
    b: int,
    end: int,
    first: int,
    width: int,
    source: Source,
    g_x: NDArray[Any],
    table: NDArray[Any],
    g_weight: NDArray[Any],
    g_bias: NDArray[Any],
) -> bool:
    """Adds sample ``b``, whose currents have the gradient ``g_x`` [T, BLOCK] up to step ``end``, to
    columns ``first ... first + width`` of the gradients ``g_weight`` [F, O] and ``g_bias`` [O], or
    [0] where nobody asks for it.

    ``g_x`` has whole groups of steps; what lies behind ``end`` is written over. Returns whether all
    of it up to there is finite.
    """
    low, high, finite = _reached(g_x, end, width)
    if low >= high:
        return finite
    if len(g_bias):
        into = g_bias[first : first + width]
        for t in range(low, high):
            row = g_x[t]
            for o in range(width):
                into[o] += row[o]
    g_x[high : -(-high // GROUP) * GROUP] = 0
    sites = source.offsets[b + 1] - source.offsets[b]
    spikes = source.rows[b, high] - source.rows[b, low]
    groups = -(-high // GROUP) - low // GROUP
    by_table = 4 * spikes > 5 * groups * (sites + _FILLING)
    for k in range(low // WORD, -(-high // WORD)):
        before, after = max(low - WORD * k, 0), min(high - WORD * k, WORD)
        if by_table:
            _from_tables(b, k, before, after, first, width, source, g_x, table, g_weight)
        else:
            _one_by_one(b, k, before, after, first, width, source, g_x, g_weight)
    return finite


@compiled
def _from_tables(
    b: int,
    k: int,
    before: int,
    after: int,
    first: int,
    width: int,
    source: Source,
    g_x: NDArray[Any],
    table: NDArray[Any],
    g_weight: NDArray[Any],
) -> None:
    """The steps ``before ... after`` of word ``k``."""
    group = before // GROUP
    groups = -(-after // GROUP) - group
    shift = np.uint64(GROUP * group)
    for part in range(0, width, COLUMNS):
        size = min(COLUMNS, width - part)
        for g in range(groups):
            fill_table(table, g, g_x, WORD * k + GROUP * (group + g), part, size)
        for i in range(source.offsets[b], source.offsets[b + 1]):
            word = source.bits[k, i] >> shift
            add_subsets(g_weight, int(source.sites[i]), first + part, table, word, groups, size)


@compiled
def _one_by_one(
    b: int,
    k: int,
    before: int,
    after: int,
    first: int,
    width: int,
    source: Source,
    g_x: NDArray[Any],
    g_weight: NDArray[Any],
) -> None:
    """The steps ``before ... after`` of word ``k``."""
    inside = ~np.uint64(0) >> np.uint64(WORD - after) & ~np.uint64(0) << np.uint64(before)
    last = source.offsets[b + 1] - 1
    for i in range(source.offsets[b], source.offsets[b + 1]):
        fetch(g_weight, int(source.sites[min(i + _AHEAD, last)]), first, width)
        word = source.bits[k, i] & inside
        if word:
            add_bits(g_weight, int(source.sites[i]), first, g_x, WORD * k, word, width)
