"""Dense 3x3 convolutions by tiles of 4x4 results, each of 36 multiplications in place of 144.

Channels lie last in memory. Some tiles are transformed together, multiplied with the transformed
weights at each of 36 points, and transformed back, all of it in cache (see `toom`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu.conv.gemm import ROWS, fan_of, product
from saltation.kernels.cpu.conv.tiles import (
    POINTS,
    gather_results,
    spread_numbers,
    spread_weights,
)
from saltation.kernels.cpu.conv.tiling import GAP, list_numbers, list_results, tiles_of
from saltation.kernels.cpu.conv.windows import SIDE
from saltation.kernels.cpu.runtime.buffers import Loan, lent
from saltation.kernels.cpu.runtime.jit import compiled, kernel
from saltation.kernels.cpu.runtime.native import floats_at, longs_at
from saltation.kernels.cpu.runtime.simd import LANES
from saltation.kernels.cpu.runtime.threads import spread

_WINDOW = SIDE * SIDE
_TABLE = 2**17  # numbers of a point's table of weights that fill the cache by themselves
# Tiles that are multiplied together: few, so that all of theirs stays in cache; many where the
# table does not, which is read anew for every block of them.
_FEW, _MANY = 24, 64


@kernel
def _transform(
    start: int,
    stop: int,
    weight: NDArray[Any],
    backwards: bool,
    fan: int,
    table: NDArray[Any],
    taps: NDArray[Any],
) -> None:
    """Columns of ``table`` [points, panels rows fan + gap] in the blocks ``start ... stop`` of 16,
    from ``weight`` [O, C, 9].

    Rows are input channels and columns outputs; ``backwards`` the other way round, and windows are
    turned by half a turn. ``taps`` [blocks, 9 LANES] is scratch.
    """
    rows = weight.shape[0] if backwards else weight.shape[1]
    for block in range(start, stop):
        column, here = LANES * block, taps[block]
        for row in range(rows):
            for k in range(LANES):
                for tap in range(_WINDOW):
                    if backwards:
                        value = weight[row, column + k, _WINDOW - 1 - tap]
                    else:
                        value = weight[column + k, row, tap]
                    here[LANES * tap + k] = value
            to = floats_at(table, (column // fan * rows + row) * fan + column % fan)
            spread_weights(floats_at(here, 0), LANES, to, table.shape[1], 1, 0)


@kernel
def _convolve(
    start: int,
    stop: int,
    workers: int,
    fan: int,
    x: NDArray[Any],
    table: NDArray[Any],
    numbers: NDArray[Any],
    products: NDArray[Any],
    places: NDArray[Any],
    aside: NDArray[Any],
    seen: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Workers ``start ... stop``, each with its share of the blocks of tiles, from ``x`` [N, H, W,
    I] to ``out`` [N, H, W, K].

    ``numbers`` [workers, points, tiles I + gap], ``products`` [., ., tiles K + gap] and ``places``
    [., points] are scratch; ``aside`` [., 2, .] become a pixel of zeros and one that nobody reads.
    ``seen`` [., LANES] becomes NaN where a result is not finite.
    """
    images, height, width, deep = x.shape
    wide = out.shape[3]
    tiles = tiles_of(images, height, width)
    each = (numbers.shape[2] - GAP) // deep
    blocks = -(-tiles // each)
    for worker in range(start, stop):
        a, c, where = numbers[worker], products[worker], places[worker]
        aside[worker] = 0
        seen[worker] = 0
        zeros, unread = floats_at(aside[worker], 0), floats_at(aside[worker], aside.shape[2])
        found = floats_at(seen[worker], 0)
        for block in range(blocks * worker // workers, blocks * (worker + 1) // workers):
            first = each * block
            count = min(each, tiles - first)
            for t in range(count):
                list_numbers(first + t, x, 0, zeros, where)
                to = floats_at(a, t * deep)
                spread_numbers(longs_at(where, 0), 0, to, a.shape[1], deep // LANES, 0)
            for n in range(POINTS):
                _multiply(a[n], table[n], c[n], count, deep, wide, fan)
            for t in range(count):
                list_results(first + t, out, 0, unread, where)
                at = floats_at(c, t * wide)
                gather_results(at, c.shape[1], longs_at(where, 0), 0, wide // LANES, found)


@compiled
def _multiply(
    a: NDArray[Any], b: NDArray[Any], c: NDArray[Any], rows: int, deep: int, wide: int, fan: int
) -> None:
    """``c`` [rows, wide] is ``a`` [rows, deep] times ``b`` [panels, deep, fan]. Rows are worked on
    in blocks of `ROWS`, of which the last is written whole."""
    for panel in range(wide // fan):
        for row in range(0, rows, ROWS):
            one, two = floats_at(a, row * deep), floats_at(b, panel * deep * fan)
            into = floats_at(c, row * wide + panel * fan)
            product(fan, one, deep, 1, two, fan, into, wide, deep, False)


def convolved(x: Tensor, weight: Tensor, backwards: bool = False) -> Tensor | None:
    """The convolution ``[N, O, H, W]`` of ``x`` [N, C, H, W] with ``weight`` [O, C, 3, 3], zeros
    around; None where a result is not finite. ``backwards``, the gradient [N, C, H, W] of its input
    from that of the result, ``x`` [N, O, H, W]. Channels are multiples of 16, last in memory."""
    images, deep, height, width = x.shape
    wide = weight.shape[1] if backwards else len(weight)
    loan = Loan()
    fan = fan_of(wide)
    table = loan.array(POINTS, deep * wide + GAP)
    taps = loan.array(wide // LANES, _WINDOW * LANES)
    flat = weight.detach().contiguous().flatten(2).numpy()
    spread(_transform, wide // LANES, flat, backwards, fan, table, taps, least=1)
    tiles = tiles_of(images, height, width)
    workers = min(torch.get_num_threads(), tiles)
    each = _together(tiles, workers, _MANY if deep * wide >= _TABLE else _FEW)
    out = lent(images, height, width, wide)
    seen = np.empty((workers, LANES), np.float32)
    spread(
        _convolve,
        workers,
        workers,
        fan,
        x.detach().permute(0, 2, 3, 1).numpy(),
        table,
        loan.array(workers, POINTS, each * deep + GAP),
        loan.array(workers, POINTS, each * wide + GAP),
        np.empty((workers, POINTS), np.int64),
        loan.array(workers, 2, max(deep, wide)),
        seen,
        out.numpy(),
        least=1,
    )
    return out.permute(0, 3, 1, 2) if np.isfinite(seen).all() else None


def _together(tiles: int, workers: int, most: int) -> int:
    """Tiles of a block, whole `ROWS` of them: so many that all workers have equal work."""
    rounds = -(-tiles // (workers * most))
    each = -(-tiles // (workers * rounds))
    return -(-each // ROWS) * ROWS
