"""Spikes of images as bits: a byte per pixel for eight channels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu.runtime.buffers import Loan
from saltation.kernels.cpu.runtime.jit import kernel
from saltation.kernels.cpu.runtime.simd import LANES, mask
from saltation.kernels.cpu.runtime.threads import spread

CHANNELS = 8  # of a byte
_BYTE = np.uint64(0xFF)
_ONE = np.float32(1).view(np.int32)


class Marks(NamedTuple):
    """Spikes ``[N, C, H, W]`` as bits.

    Attributes
    ----------
    marks
        uint8 ``[N, C / 8, (H + 2) (W + 2) + 8]``: bit c % 8 of byte c // 8 of a pixel; pixels have
        a border of zeros, and there is room for a word behind the last.
    shape
        ``(N, C, H, W)``.
    loan
        Held for as long as the array is used.
    """

    marks: NDArray[np.uint8]
    shape: tuple[int, int, int, int]
    loan: Loan


@kernel
def _mark(
    start: int,
    stop: int,
    x: NDArray[Any],
    width: int,
    line: NDArray[Any],
    marks: NDArray[Any],
    found: NDArray[Any],
) -> None:
    """Marks of images ``start ... stop`` of ``x`` [N, C, H W], the bits of float32 numbers as
    integers; ``found`` [N] is how many ones there are, or -1 where another number is. ``line`` [N,
    H W] is scratch."""
    channels, size = x.shape[1], x.shape[2]
    for n in range(start, stop):
        found[n] = 0
        pixels = line[n]
        for k in range(marks.shape[1]):
            pixels[:] = 0
            some, spikes = np.int32(0), np.int32(0)
            for c in range(CHANNELS * k, min(CHANNELS * (k + 1), channels)):
                row, bit = x[n, c], np.uint8(1 << (c % CHANNELS))
                for i in range(size):
                    some += np.int32(row[i] != 0)
                    spikes += np.int32(row[i] == _ONE)
                    pixels[i] |= bit if row[i] != 0 else np.uint8(0)
            if some != spikes:
                found[n] = -1
                break
            found[n] += spikes
            into = marks[n, k]
            into[:] = 0
            for y in range(size // width):
                at = (y + 1) * (width + 2) + 1
                for i in range(width):
                    into[at + i] = pixels[y * width + i]


@kernel
def _mark_rows(
    start: int,
    stop: int,
    x: NDArray[Any],
    bits: NDArray[Any],
    height: int,
    width: int,
    marks: NDArray[Any],
    found: NDArray[Any],
) -> None:
    """As `_mark`, of images whose channels come last: ``x`` [N H W, C], and its ``bits``."""
    channels = x.shape[1]
    whole = channels // LANES * LANES
    for n in range(start, stop):
        found[n] = 0
        for k in range(marks.shape[1]):
            marks[n, k, : width + 2] = 0
            marks[n, k, (height + 1) * (width + 2) :] = 0
        for y in range(height):
            at = (y + 1) * (width + 2)
            for k in range(marks.shape[1]):
                marks[n, k, at] = 0
                marks[n, k, at + width + 1] = 0
            for i in range(width):
                pixel = (n * height + y) * width + i
                some, spikes = np.int32(0), np.int32(0)
                for c in range(channels):
                    some += np.int32(bits[pixel, c] != 0)
                    spikes += np.int32(bits[pixel, c] == _ONE)
                if some != spikes:
                    found[n] = -1
                    break
                found[n] += spikes
                for c in range(0, whole, LANES):
                    two = mask(x, pixel, c)
                    marks[n, c // CHANNELS, at + 1 + i] = np.uint8(two & _BYTE)
                    marks[n, c // CHANNELS + 1, at + 1 + i] = np.uint8(two >> np.uint64(CHANNELS))
                for k in range(whole // CHANNELS, marks.shape[1]):
                    byte = np.uint8(0)
                    for c in range(CHANNELS * k, min(CHANNELS * (k + 1), channels)):
                        one = np.uint8(1 << (c % CHANNELS))
                        byte |= one if bits[pixel, c] != 0 else np.uint8(0)
                    marks[n, k, at + 1 + i] = byte
            if found[n] < 0:
                break


def has_channels_last(x: Tensor) -> bool:
    """Whether channels come last in memory, and only last: one channel, say, is in both forms."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def mark(x: Tensor) -> tuple[Marks, int] | None:
    """The spikes ``x`` [N, C, H, W] as bits, and how many they are; None where ``x`` holds other
    numbers than zeros and ones."""
    images, channels, height, width = x.shape
    loan = Loan()
    slots = (height + 2) * (width + 2) + 8
    marks = loan.array(images, -(-channels // CHANNELS), slots, dtype=torch.uint8)
    found = np.empty(images, np.int64)
    if not has_channels_last(x):
        whole = x.detach().contiguous().view(torch.int32).flatten(2).numpy()
        line = np.empty((images, height * width), np.uint8)
        spread(_mark, images, whole, width, line, marks, found, least=1)
    else:
        rows = x.detach().permute(0, 2, 3, 1).flatten(0, 2).numpy()
        spread(_mark_rows, images, rows, rows.view(np.int32), height, width, marks, found, least=1)
    if (found < 0).any():
        return None
    return Marks(marks, (images, channels, height, width), loan), int(found.sum())
