"""Forward pass of a convolution of spikes: the weights of the spikes in a window are added up.

The spikes of eight channels in the three pixels of a line of a window are a word of 24 bits; for
every bit that is 1, a row of weights, those to `FAN` or `WIDE` outputs, is added to the sums of a
pixel. The weights of eight channels stay in cache while the pixels of some lines or images go by.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu.conv.windows import (
    FAN,
    SIDE,
    WIDE,
    add_marked,
    add_marked_wide,
    turn,
    word,
)
from saltation.kernels.cpu.events.marks import CHANNELS, Marks
from saltation.kernels.cpu.runtime.buffers import Loan, lent
from saltation.kernels.cpu.runtime.jit import compiled, kernel
from saltation.kernels.cpu.runtime.simd import LANES, copy_row
from saltation.kernels.cpu.runtime.threads import spread

_WINDOW = SIDE * SIDE
_LINE = SIDE * CHANNELS  # bits of a line of a window
_IN_LINE = np.uint64((1 << _LINE) - 1)
_PIXELS = 256  # whose sums are worked on together


@kernel
def _pack(start: int, stop: int, weight: NDArray[Any], table: NDArray[Any]) -> None:
    """Parts ``start ... stop`` of ``table`` [parts, SIDE _LINE, fan], a part being ``fan`` outputs
    and eight channels, from ``weight`` [O, C, 9]."""
    outputs, channels, _ = weight.shape
    fan = table.shape[2]
    chunks = -(-channels // CHANNELS)
    for part in range(start, stop):
        block, chunk = part // chunks, part % chunks
        into, first, low = table[part], fan * block, CHANNELS * chunk
        wide, deep = min(fan, outputs - first), min(CHANNELS, channels - low)
        if wide < fan or deep < CHANNELS:
            into[:] = 0
        for w in range(_WINDOW):
            for c in range(deep):
                for o in range(wide):
                    into[CHANNELS * w + c, o] = weight[first + o, low + c, w]


@kernel
def _forward(
    start: int,
    stop: int,
    workers: int,
    group: int,
    lines: int,
    width: int,
    last: bool,
    marks: NDArray[Any],
    table: NDArray[Any],
    bias: NDArray[Any],
    sums: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Workers ``start ... stop``, each with its share of the groups of ``group`` images of ``out``
    [N, O, H W], or [N, H W, O] with channels ``last``, of which ``lines`` lines are worked on at a
    time; ``bias`` [O] or [0]; ``sums`` [workers, ., most] is scratch."""
    images, most = len(out), table.shape[2]
    outputs, size = (out.shape[2], out.shape[1]) if last else (out.shape[1], out.shape[2])
    groups, chunks = -(-images // group), marks.shape[1]
    for worker in range(start, stop):
        here = sums[worker]
        for number in range(groups * worker // workers, groups * (worker + 1) // workers):
            first, end = group * number, min(group * (number + 1), images)
            for block in range(-(-outputs // most)):
                fan = min(most, outputs - most * block)
                for top in range(0, size // width, lines):
                    below = min(top + lines, size // width)
                    here[: (end - first) * (below - top) * width] = 0
                    for k in range(chunks):
                        weights = table[block * chunks + k]
                        row = 0
                        for n in range(first, end):
                            for y in range(top, below):
                                _add_line(here, row, weights, marks[n, k], y, width)
                                row += width
                    for n in range(first, end):
                        pixels = (below - top) * width
                        area = (n - first) * pixels, pixels, fan, out[n], most * block, top * width
                        if last:
                            _copy_out(here, *area)
                        else:
                            _turn_out(here, *area)
                if len(bias):
                    for n in range(first, end):
                        for o in range(most * block, most * block + fan):
                            if last:
                                out[n, :, o] += bias[o]
                            else:
                                out[n, o] += bias[o]


@compiled
def _add_line(
    sums: NDArray[Any], row: int, weights: NDArray[Any], marks: NDArray[Any], y: int, width: int
) -> None:
    """Adds the weights of all spikes in the windows of line ``y`` to ``sums`` from ``row`` on."""
    stride, wide = width + 2, sums.shape[1] == WIDE
    for x in range(width):
        at = y * stride + x
        upper = word(marks, at) & _IN_LINE
        middle = word(marks, at + stride) & _IN_LINE
        lower = word(marks, at + 2 * stride) & _IN_LINE
        upper |= middle << np.uint64(_LINE)
        if wide:
            if upper:
                add_marked_wide(sums, row + x, weights, 0, upper)
            if lower:
                add_marked_wide(sums, row + x, weights, 2 * _LINE, lower)
        else:
            if upper:
                add_marked(sums, row + x, weights, 0, upper)
            if lower:
                add_marked(sums, row + x, weights, 2 * _LINE, lower)


@compiled
def _copy_out(
    sums: NDArray[Any],
    row: int,
    pixels: int,
    fan: int,
    out: NDArray[Any],
    channel: int,
    pixel: int,
) -> None:
    """Rows ``row ... row + pixels`` of ``sums`` [., fan] as rows of ``out`` [H W, O] from ``pixel``
    and ``channel`` on."""
    for i in range(pixels):
        copy_row(out, pixel + i, channel, sums, row + i, 0, fan)


@compiled
def _turn_out(
    sums: NDArray[Any],
    row: int,
    pixels: int,
    fan: int,
    out: NDArray[Any],
    channel: int,
    pixel: int,
) -> None:
    """Rows ``row ... row + pixels`` of ``sums`` [., fan] as columns of ``out`` [O, H W] from
    ``channel`` and ``pixel`` on."""
    size, most = out.shape[1], sums.shape[1]
    whole = pixels // LANES * LANES
    for o in range(0, fan, LANES):
        for i in range(0, whole, LANES):
            to = (channel + o) * size + pixel + i
            turn(sums, (row + i) * most + o, most, out, to, size)
        for i in range(whole, pixels):
            for k in range(LANES):
                out[channel + o + k, pixel + i] = sums[row + i, o + k]


def forward(spikes: Marks, weight: Tensor, bias: Tensor | None, last: bool = False) -> Tensor:
    """The convolution ``[N, O, H, W]`` of the spikes with ``weight`` [O, C, 3, 3] plus ``bias``;
    with ``last``, channels come last in memory."""
    images, channels, height, width = spikes.shape
    outputs = len(weight)
    most = FAN if outputs % WIDE else WIDE
    parts = -(-outputs // most) * -(-channels // CHANNELS)
    scratch = Loan()
    table = scratch.array(parts, SIDE * _LINE, most)
    flat = weight.detach().contiguous().view(outputs, channels, _WINDOW).numpy()
    spread(_pack, parts, flat, table, least=4)
    added = np.empty(0, np.float32) if bias is None else bias.detach().contiguous().numpy()
    group = max(1, min(images, _PIXELS // (height * width)))
    lines = max(1, min(height, _PIXELS // width))
    workers = max(1, min(torch.get_num_threads(), -(-images // group)))
    sums = scratch.array(workers, group * lines * width, most)
    size = height * width
    out = lent(images, size, outputs) if last else lent(images, outputs, size)
    arrays = (spikes.marks, table, added, sums, out.numpy())
    spread(_forward, workers, workers, group, lines, width, last, *arrays, least=1)
    return (out.mT if last else out).view(images, outputs, height, width)
