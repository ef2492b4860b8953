"""Gradient of the weights of a dense 3x3 convolution by tiles, as in `winograd`.

Tiles of the input and of the gradient are transformed, their products are summed over tiles at each
of 36 points, and the sums are transformed back.
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
    gather_weights,
    spread_numbers,
    spread_results,
)
from saltation.kernels.cpu.conv.tiling import GAP, list_numbers, list_results, tiles_of
from saltation.kernels.cpu.conv.windows import SIDE
from saltation.kernels.cpu.runtime.buffers import Loan, lent
from saltation.kernels.cpu.runtime.finite import finite
from saltation.kernels.cpu.runtime.jit import compiled, kernel
from saltation.kernels.cpu.runtime.native import floats_at, longs_at
from saltation.kernels.cpu.runtime.simd import LANES
from saltation.kernels.cpu.runtime.threads import spread

_WINDOW = SIDE * SIDE
_TOGETHER = 48  # tiles of which one sum is made; the sums are added up in their order


@kernel
def _sum(
    start: int,
    stop: int,
    shares: int,
    fan: int,
    x: NDArray[Any],
    gradient: NDArray[Any],
    numbers: NDArray[Any],
    results: NDArray[Any],
    sums: NDArray[Any],
    places: NDArray[Any],
    zeros: NDArray[Any],
    taps: NDArray[Any],
    g_weight: NDArray[Any],
) -> None:
    """Parts ``start ... stop`` of ``g_weight`` [O, C, 9], each some panels of ``fan`` outputs and
    one of ``shares`` shares of the channels, from ``x`` [N, H, W, C] and ``gradient`` [N, H, W, O].

    ``numbers`` [parts, points, tiles channels + gap], ``results`` [., ., tiles outputs + gap],
    ``sums`` [., ., outputs channels + gap], where channels are whole `ROWS`, ``places`` [., points]
    and ``taps`` [., 9 LANES] are scratch.
    """
    tiles = tiles_of(*x.shape[:3])
    panels, sixteens, groups = gradient.shape[3] // fan, x.shape[3] // LANES, len(sums) // shares
    nothing = floats_at(zeros, 0)
    for part in range(start, stop):
        group, share = part // shares, part % shares
        output = fan * (panels * group // groups)
        wide = fan * (panels * (group + 1) // groups) - output
        channel = LANES * (sixteens * share // shares)
        deep = LANES * (sixteens * (share + 1) // shares) - channel
        a, b, c, where = numbers[part], results[part], sums[part], places[part]
        for first in range(0, tiles, _TOGETHER):
            count = min(_TOGETHER, tiles - first)
            for t in range(count):
                list_numbers(first + t, x, channel, nothing, where)
                to = floats_at(a, t * deep)
                spread_numbers(longs_at(where, 0), 0, to, a.shape[1], deep // LANES, 0)
                list_results(first + t, gradient, output, nothing, where)
                to = floats_at(b, t * wide)
                spread_results(longs_at(where, 0), 0, to, b.shape[1], wide // LANES, 0)
            for n in range(POINTS):
                _multiply(a[n], b[n], c[n], count, deep, wide, fan, first > 0)
        here = taps[part]
        for k in range(0, wide, LANES):
            for i in range(deep):
                at = floats_at(c, _row(k // fan, i, deep) * fan + k % fan)
                gather_weights(at, c.shape[1], floats_at(here, 0), LANES, 1, 0)
                for o in range(LANES):
                    for tap in range(_WINDOW):
                        g_weight[output + k + o, channel + i, tap] = here[LANES * tap + o]


@compiled
def _row(panel: int, channel: int, channels: int) -> int:
    """Of the sums: each panel has whole `ROWS` of channels."""
    return panel * (-(-channels // ROWS) * ROWS) + channel


@compiled
def _multiply(
    a: NDArray[Any],
    b: NDArray[Any],
    c: NDArray[Any],
    tiles: int,
    deep: int,
    wide: int,
    fan: int,
    more: bool,
) -> None:
    """``c`` [panels, deep, fan] (+)= ``a`` [tiles, deep] transposed times ``b`` [tiles, wide]."""
    for panel in range(wide // fan):
        for row in range(0, deep, ROWS):
            one, two = floats_at(a, row), floats_at(b, panel * fan)
            into = floats_at(c, _row(panel, row, deep) * fan)
            product(fan, one, 1, deep, two, wide, into, fan, tiles, more)


def gradient_of_weights(x: Tensor, gradient: Tensor) -> Tensor | None:
    """The gradient ``[O, C, 3, 3]`` of the weights from the input ``x`` [N, C, H, W] and that of
    the result, ``[N, O, H, W]``; None where it is not finite. Channels are multiples of 16, last in
    memory."""
    images, channels, height, width = x.shape
    outputs = gradient.shape[1]
    # Divided by weights, so that every number is a sum in the same order for any number of threads.
    fan, threads = fan_of(outputs), torch.get_num_threads()
    groups = min(threads, outputs // fan)
    shares = min(-(-threads // groups), channels // LANES)
    parts = groups * shares
    wide = -(-outputs // fan // groups) * fan
    deep = -(-channels // LANES // shares) * LANES
    together = min(_TOGETHER, tiles_of(images, height, width))
    loan = Loan()
    g_weight = lent(outputs, channels, SIDE, SIDE)
    spread(
        _sum,
        parts,
        shares,
        fan,
        x.detach().permute(0, 2, 3, 1).numpy(),
        gradient.detach().permute(0, 2, 3, 1).numpy(),
        loan.array(parts, POINTS, together * deep + GAP),
        loan.array(parts, POINTS, together * wide + GAP),
        loan.array(parts, POINTS, -(-deep // ROWS) * ROWS * wide + GAP),
        np.empty((parts, POINTS), np.int64),
        np.zeros(max(channels, outputs), np.float32),
        loan.array(parts, _WINDOW * LANES),
        g_weight.flatten(2).numpy(),
        least=1,
    )
    return g_weight if finite(g_weight) else None
