"""Gradient of the weights of a convolution of spikes: gradients around the spikes are added up.

Each channel has a list of the places of its spikes, and for each of them the 3x3 gradients that it
reached are added to sums that stay in registers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu.conv.windows import PART, SIDE, add_windows, turn, word
from saltation.kernels.cpu.events.marks import CHANNELS, Marks, has_channels_last
from saltation.kernels.cpu.runtime.buffers import Loan, lent
from saltation.kernels.cpu.runtime.jit import compiled, kernel
from saltation.kernels.cpu.runtime.simd import LANES, copy_row, lowest, ones
from saltation.kernels.cpu.runtime.threads import spread

WIDEST = 8192  # pixels of a line; three lines are numbered in 16 bits
_WINDOW = SIDE * SIDE
_ONE_CHANNEL = np.uint64(0x0101010101010101)
_PLACES = 340  # of the map of gradients that is worked on together


class Tiles(NamedTuple):
    """Parts of a batch that are worked on together: some images, or some lines of one.

    Attributes
    ----------
    images, lines
        Of a tile.
    bands
        Tiles of an image, 1 where a tile holds whole images.
    total
        Of tiles.
    """

    images: int
    lines: int
    bands: int
    total: int


def _tiles(images: int, height: int, width: int) -> Tiles:
    whole = (height + 2) * (width + 2)
    if whole <= _PLACES:
        group = min(_PLACES // whole, images)
        return Tiles(group, height, 1, -(-images // group))
    lines = max(1, _PLACES // (width + 2) - 2)
    bands = -(-height // lines)
    return Tiles(1, lines, bands, images * bands)


@compiled
def _bounds(t: int, tiles: Tiles, images: int, height: int) -> tuple[int, int, int, int]:
    """First and last image and line of tile ``t``."""
    first = t // tiles.bands * tiles.images
    top = t % tiles.bands * tiles.lines
    return first, min(first + tiles.images, images), top, min(top + tiles.lines, height)


@kernel
def _count(
    start: int,
    stop: int,
    marks: NDArray[Any],
    tiles: Tiles,
    height: int,
    width: int,
    found: NDArray[Any],
) -> None:
    """Spikes of tiles ``start ... stop``."""
    stride = width + 2
    for t in range(start, stop):
        first, last, top, below = _bounds(t, tiles, len(marks), height)
        total = np.int64(0)
        for n in range(first, last):
            for k in range(marks.shape[1]):
                for i in range((top + 1) * stride, (below + 1) * stride):
                    total += ones(np.uint64(marks[n, k, i]))
        found[t] = total


@kernel
def _list(
    start: int,
    stop: int,
    marks: NDArray[Any],
    tiles: Tiles,
    height: int,
    width: int,
    rows: NDArray[Any],
    places: NDArray[Any],
) -> None:
    """The spikes of tiles ``start ... stop`` as ``places`` in the tile's map of gradients, channel
    by channel; ``rows`` [tiles, C + 1] holds where each channel's begin, the first of them known.
    """
    stride = width + 2
    for t in range(start, stop):
        first, last, top, below = _bounds(t, tiles, len(marks), height)
        e, map_size = rows[t, 0], (below - top + 2) * stride
        origin, end = (top + 1) * stride + 1, (below + 1) * stride
        for c in range(rows.shape[1] - 1):
            channel = _ONE_CHANNEL << np.uint64(c % CHANNELS)
            for n in range(first, last):
                here = marks[n, c // CHANNELS]
                base = (n - first) * map_size - origin
                for at in range(origin, end, 8):
                    left = word(here, at) & channel
                    if at + 8 > end:
                        left &= (np.uint64(1) << np.uint64(8 * (end - at))) - np.uint64(1)
                    while left:
                        places[e] = base + at + (lowest(left) >> 3)
                        left &= left - np.uint64(1)
                        e += 1
            rows[t, c + 1] = e


@kernel
def _backward(
    start: int,
    stop: int,
    parts: int,
    tiles: Tiles,
    height: int,
    width: int,
    rows: NDArray[Any],
    places: NDArray[Any],
    channels_last: bool,
    gradient: NDArray[Any],
    turned: NDArray[Any],
    maps: NDArray[Any],
    sums: NDArray[Any],
    g_weight: NDArray[Any],
) -> None:
    """Parts ``start ... stop`` of ``g_weight`` [O, C, 9], each `PART` outputs and one of ``parts``
    shares of the channels, from ``gradient`` [N, O, H W], or [N, H W, O] with ``channels_last``.

    Divided by weights, so that every number is a sum in the same order for any number of threads.
    ``turned`` and ``maps`` [., places, PART] and ``sums`` [., C, 9 PART] are scratch.
    """
    outputs, channels = g_weight.shape[:2]
    for part in range(start, stop):
        block, share = part // parts, part % parts
        low, high = channels * share // parts, channels * (share + 1) // parts
        fan = min(PART, outputs - PART * block)
        total, here = sums[part], maps[part]
        total[low:high] = 0
        here[:] = 0
        for t in range(tiles.total):
            first, last, top, below = _bounds(t, tiles, len(gradient), height)
            area = first, last, top, below, height, width, PART * block, fan
            if channels_last:
                _map_rows(gradient, *area, here)
            else:
                _map(gradient, *area, turned[part], here)
            for c in range(low, high):
                add_windows(total, c, here, places, rows[t, c], rows[t, c + 1], width + 2)
        for c in range(low, high):
            for w in range(_WINDOW):
                for o in range(fan):
                    g_weight[PART * block + o, c, w] = total[c, PART * w + o]


@compiled
def _map(
    gradient: NDArray[Any],
    first: int,
    last: int,
    top: int,
    below: int,
    height: int,
    width: int,
    channel: int,
    fan: int,
    turned: NDArray[Any],
    into: NDArray[Any],
) -> None:
    """Gradients of ``fan`` channels of images ``first ... last`` in lines ``top - 1 ... below``,
    pixel by pixel, with zeros beside and, where the image ends, above and below them."""
    stride, size = width + 2, height * width
    above, under = max(top - 1, 0), min(below + 1, height)
    pixels = (under - above) * width
    whole = pixels // LANES * LANES
    for n in range(first, last):
        for o in range(0, fan, LANES):
            base = (n * gradient.shape[1] + channel + o) * size + above * width
            for i in range(0, whole, LANES):
                turn(gradient, base + i, size, turned, i * PART + o, PART)
            for i in range(whole, pixels):
                for k in range(LANES):
                    turned[i, o + k] = gradient[n, channel + o + k, above * width + i]
        for y in range(top - 1, below + 1):
            at = ((n - first) * (below - top + 2) + y - top + 1) * stride + 1
            if y < 0 or y >= height:
                into[at : at + width] = 0
            else:
                for i in range(width):
                    for o in range(fan):
                        into[at + i, o] = turned[(y - above) * width + i, o]


@compiled
def _map_rows(
    gradient: NDArray[Any],
    first: int,
    last: int,
    top: int,
    below: int,
    height: int,
    width: int,
    channel: int,
    fan: int,
    into: NDArray[Any],
) -> None:
    """As `_map`, of ``gradient`` [N, H W, O]."""
    for n in range(first, last):
        for y in range(top - 1, below + 1):
            at = ((n - first) * (below - top + 2) + y - top + 1) * (width + 2) + 1
            if y < 0 or y >= height:
                into[at : at + width] = 0
            else:
                for i in range(width):
                    copy_row(into, at + i, 0, gradient[n], y * width + i, channel, fan)


def backward(spikes: Marks, gradient: Tensor) -> Tensor:
    """The gradient ``[O, C, 3, 3]`` of the weight from that of the result, ``[N, O, H, W]``."""
    images, channels, height, width = spikes.shape
    outputs = gradient.shape[1]
    tiles = _tiles(images, height, width)
    area = (tiles.total, spikes.marks, tiles, height, width)
    found = np.zeros(tiles.total + 1, np.int64)
    spread(_count, *area, found[1:], least=1)
    starts = found.cumsum()
    rows = np.empty((tiles.total, channels + 1), np.int64)
    rows[:, 0] = starts[:-1]
    scratch = Loan()
    places = scratch.array(int(starts[-1]), dtype=torch.int16)
    spread(_list, *area, rows, places, least=1)
    blocks = -(-outputs // PART)
    shares = -(-torch.get_num_threads() // blocks)
    parts = blocks * shares
    size = tiles.images * (tiles.lines + 2) * (width + 2)
    g_weight = lent(outputs, channels, SIDE, SIDE)
    last = has_channels_last(gradient)
    flat = gradient.permute(0, 2, 3, 1).flatten(1, 2) if last else gradient.contiguous().flatten(2)
    spread(
        _backward,
        parts,
        shares,
        tiles,
        height,
        width,
        rows,
        places,
        last,
        flat.numpy(),
        scratch.array(parts, size, PART),
        scratch.array(parts, size, PART),
        scratch.array(parts, channels, _WINDOW * PART),
        g_weight.flatten(2).numpy(),
        least=1,
    )
    return g_weight
