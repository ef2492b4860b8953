"""Forward pass of a convolution of spikes: the weights of the spikes in a window are added up.

The spikes of eight channels in the three pixels of a line of a window are a word of 24 bits; for
every bit that is 1, a row of weights, those to `FAN` outputs, is added to the sums of a pixel. The
weights of eight channels stay in cache while the pixels of some lines or images go by.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu.conv.windows import FAN, SIDE, add_marked, turn, word
from saltation.kernels.cpu.events.marks import CHANNELS, Marks
from saltation.kernels.cpu.runtime.buffers import Loan, fresh
from saltation.kernels.cpu.runtime.jit import compiled, kernel
from saltation.kernels.cpu.runtime.simd import LANES
from saltation.kernels.cpu.runtime.threads import spread

_WINDOW = SIDE * SIDE
_LINE = SIDE * CHANNELS  # bits of a line of a window
_IN_LINE = np.uint64((1 << _LINE) - 1)
_PIXELS = 256  # whose sums are worked on together


@kernel
def _pack(start: int, stop: int, weight: NDArray[Any], table: NDArray[Any]) -> None:
    """Parts ``start ... stop`` of ``table`` [parts, SIDE _LINE, FAN], a part being `FAN` outputs
    and eight channels, from ``weight`` [O, C, 9]."""
    outputs, channels, _ = weight.shape
    chunks = -(-channels // CHANNELS)
    for part in range(start, stop):
        block, chunk = part // chunks, part % chunks
        into = table[part]
        for o in range(FAN):
            for c in range(CHANNELS):
                known = FAN * block + o < outputs and CHANNELS * chunk + c < channels
                for w in range(_WINDOW):
                    value = np.float32(0)
                    if known:
                        value = weight[FAN * block + o, CHANNELS * chunk + c, w]
                    into[CHANNELS * w + c, o] = value


@kernel
def _forward(
    start: int,
    stop: int,
    workers: int,
    group: int,
    lines: int,
    width: int,
    marks: NDArray[Any],
    table: NDArray[Any],
    bias: NDArray[Any],
    sums: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Workers ``start ... stop``, each with its share of the groups of ``group`` images of ``out``
    [N, O, H W], of which ``lines`` lines are worked on at a time; ``bias`` [O] or [0]; ``sums``
    [workers, ., FAN] is scratch."""
    images, outputs, size = out.shape
    groups, chunks = -(-images // group), marks.shape[1]
    for worker in range(start, stop):
        here = sums[worker]
        for number in range(groups * worker // workers, groups * (worker + 1) // workers):
            first, last = group * number, min(group * (number + 1), images)
            for block in range(-(-outputs // FAN)):
                fan = min(FAN, outputs - FAN * block)
                for top in range(0, size // width, lines):
                    below = min(top + lines, size // width)
                    here[: (last - first) * (below - top) * width] = 0
                    for k in range(chunks):
                        weights = table[block * chunks + k]
                        row = 0
                        for n in range(first, last):
                            for y in range(top, below):
                                _add_line(here, row, weights, marks[n, k], y, width)
                                row += width
                    for n in range(first, last):
                        row = (n - first) * (below - top) * width
                        _turn_out(
                            here, row, (below - top) * width, fan, out[n], FAN * block, top * width
                        )
                if len(bias):
                    for n in range(first, last):
                        for o in range(FAN * block, FAN * block + fan):
                            for i in range(size):
                                out[n, o, i] += bias[o]


@compiled
def _add_line(
    sums: NDArray[Any], row: int, weights: NDArray[Any], marks: NDArray[Any], y: int, width: int
) -> None:
    """Adds the weights of all spikes in the windows of line ``y`` to ``sums`` from ``row`` on."""
    stride = width + 2
    for x in range(width):
        at = y * stride + x
        upper = word(marks, at) & _IN_LINE
        middle = word(marks, at + stride) & _IN_LINE
        lower = word(marks, at + 2 * stride) & _IN_LINE
        if upper | middle:
            add_marked(sums, row + x, weights, 0, upper | middle << np.uint64(_LINE))
        if lower:
            add_marked(sums, row + x, weights, 2 * _LINE, lower)


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
    """Rows ``row ... row + pixels`` of ``sums`` [., FAN] as columns of ``out`` [O, H W] from
    ``channel`` and ``pixel`` on."""
    size = out.shape[1]
    whole = pixels // LANES * LANES
    for o in range(0, fan, LANES):
        for i in range(0, whole, LANES):
            to = (channel + o) * size + pixel + i
            turn(sums, (row + i) * FAN + o, FAN, out, to, size)
        for i in range(whole, pixels):
            for k in range(LANES):
                out[channel + o + k, pixel + i] = sums[row + i, o + k]


def forward(spikes: Marks, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution ``[N, O, H, W]`` of the spikes with ``weight`` [O, C, 3, 3] plus ``bias``."""
    images, channels, height, width = spikes.shape
    outputs = len(weight)
    parts = -(-outputs // FAN) * -(-channels // CHANNELS)
    scratch = Loan()
    table = scratch.array(parts, SIDE * _LINE, FAN)
    flat = weight.detach().contiguous().view(outputs, channels, _WINDOW).numpy()
    spread(_pack, parts, flat, table, least=4)
    added = np.empty(0, np.float32) if bias is None else bias.detach().contiguous().numpy()
    group = max(1, min(images, _PIXELS // (height * width)))
    lines = max(1, min(height, _PIXELS // width))
    workers = max(1, min(torch.get_num_threads(), -(-images // group)))
    sums = scratch.array(workers, group * lines * width, FAN)
    out = fresh(images, outputs, height, width)
    arrays = (spikes.marks, table, added, sums, out.flatten(2).numpy())
    spread(_forward, workers, workers, group, lines, width, *arrays, least=1)
    return out
