"""Gradients of a dense 3x3 convolution: by tiles where that takes less time, else torch's."""

from __future__ import annotations

import torch
from torch import Tensor

from saltation.kernels.cpu.conv.tiling import tiles_of
from saltation.kernels.cpu.conv.winograd import convolved
from saltation.kernels.cpu.conv.winograd_weights import gradient_of_weights
from saltation.kernels.cpu.events.marks import has_channels_last
from saltation.kernels.cpu.runtime.simd import LANES

NARROW = 4  # lines up to which torch's dense products take longer with channels last
_FEWEST = 32  # channels, of either side, from which tiles take less time
_PLACES = 8  # of a map for each of its tiles, which have 16
_TABLE = 2**14  # numbers of a table of weights that the work on a tile outweighs


def by_tiles(maps: Tensor, outputs: int) -> bool:
    """Whether gradients by tiles take less time than torch's, of maps ``[N, C, H, W]`` whose
    channels are last in memory.

    That of the input, on one core of an AMD EPYC with AVX-512: 1.4 to 2 times less with 32
    channels, 1.7 to 2.5 with 64, 2 to 3.3 with 128 and more. Tiles of maps of 5x5 are mostly empty,
    and with few tiles the weights' transform is most of the work.
    """
    images, channels, height, width = maps.shape
    tiles = tiles_of(images, height, width)
    wide = min(channels, outputs) >= _FEWEST and channels % LANES == outputs % LANES == 0
    full = images * height * width >= _PLACES * tiles
    return wide and full and tiles * _TABLE >= channels * outputs


def gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Those ``wanted`` of the input ``x`` [N, C, H, W], the weight [O, C, 3, 3] and the bias, from
    that of the result, ``[N, O, H, W]``.

    By tiles they are rounded to some 3e-6 of the largest (see `tiles`), torch's to 0.3e-6 to 3e-6.
    Where one would not be finite so, and where a graph is built, they are torch's.
    """
    g_x = g_weight = None
    if not torch.is_grad_enabled() and has_channels_last(gradient):
        tiled = by_tiles(x, len(weight))
        if wanted[0] and tiled:
            g_x = convolved(gradient, weight, backwards=True)
        if wanted[1] and tiled and has_channels_last(x):
            g_weight = gradient_of_weights(x, gradient)
    left = wanted[0] and g_x is None, wanted[1] and g_weight is None, wanted[2]
    if any(left):
        if x.shape[3] <= NARROW:
            x, gradient = x.contiguous(), gradient.contiguous()
        given = [len(weight)], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, left
        found = torch.ops.aten.convolution_backward(gradient, x, weight, *given)
        g_x, g_weight = found[0] if left[0] else g_x, found[1] if left[1] else g_weight
        return g_x, g_weight, found[2]
    return g_x, g_weight, None
