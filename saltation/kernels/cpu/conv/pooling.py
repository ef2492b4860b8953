"""Means of windows of 2x2 of maps whose channels are last in memory, in one pass over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu.runtime.buffers import lent, lent_pair
from saltation.kernels.cpu.runtime.jit import kernel
from saltation.kernels.cpu.runtime.threads import spread

_ZERO, _QUARTER = np.float32(0), np.float32(0.25)


@kernel
def _mean(start: int, stop: int, x: NDArray[Any], out: NDArray[Any]) -> None:
    """Lines ``start ... stop`` of all of ``out`` [N, H / 2, W / 2, C] from ``x`` [N, H, W, C]."""
    _, height, width, channels = out.shape
    for line in range(start, stop):
        n, y = line // height, line % height
        for i in range(width):
            upper, right = x[n, 2 * y, 2 * i], x[n, 2 * y, 2 * i + 1]
            lower, last = x[n, 2 * y + 1, 2 * i], x[n, 2 * y + 1, 2 * i + 1]
            mean = out[n, y, i]
            for c in range(channels):
                # In torch's order, from 0 on.
                mean[c] = (_ZERO + upper[c] + right[c] + lower[c] + last[c]) * _QUARTER


@kernel
def _backward(start: int, stop: int, g: NDArray[Any], out: NDArray[Any]) -> None:
    """Lines ``start ... stop`` of the gradients ``out`` [N, H, W, C] of what `_mean` took, from
    those of the means; a last line or pixel that is in no window has 0."""
    _, height, width, channels = out.shape
    lines, pixels = g.shape[1], g.shape[2]
    for line in range(start, stop):
        n, y = line // height, line % height
        within = 2 * pixels if y // 2 < lines else 0
        # Rows are taken out where it is sure that they are used: else they are counted as
        # references, one after the other for all threads.
        for i in range(within):
            given, to = g[n, y // 2, i // 2], out[n, y, i]
            for c in range(channels):
                to[c] = given[c] * _QUARTER
        for i in range(within, width):
            for c in range(channels):
                out[n, y, i, c] = _ZERO


def pooled(x: Tensor) -> Tensor:
    """``[N, C, H, W]`` to ``[N, C, H / 2, W / 2]``, rounded down, with the bits of torch's."""
    out: tuple[Tensor] = _Pool.apply(x)
    return out[0]


def pooled_both(x: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor]:
    """`pooled` values and their tangents, which lie behind one another."""
    out: tuple[Tensor, Tensor] = _Pool.apply(x, tangent)
    return out


def _lent(count: int, *shape: int) -> tuple[Tensor, ...]:
    return lent_pair(*shape) if count == 2 else (lent(*shape),)


class _Pool(torch.autograd.Function):
    """`pooled` of one or two, channels last."""

    @staticmethod
    def forward(ctx: Any, *maps: Tensor) -> tuple[Tensor, ...]:
        ctx.shape = maps[0].shape
        images, channels, height, width = ctx.shape
        out = _lent(len(maps), images, height // 2, width // 2, channels)
        for x, into in zip(maps, out, strict=True):
            rows = x.detach().permute(0, 2, 3, 1).numpy()
            spread(_mean, images * (height // 2), rows, into.numpy(), least=4)
        return tuple(part.permute(0, 3, 1, 2) for part in out)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        if torch.is_grad_enabled():  # an operation that has a derivative
            like = gradients[0].new_empty(1).expand(ctx.shape)
            given = [2, 2], [2, 2], [0, 0], False, True, None
            back = torch.ops.aten.avg_pool2d_backward
            return tuple(back(g, like, *given) for g in gradients)
        images, channels, height, width = ctx.shape
        out = _lent(len(gradients), images, height, width, channels)
        for g, into in zip(gradients, out, strict=True):
            rows = g.permute(0, 2, 3, 1).contiguous().numpy()
            spread(_backward, images * height, rows, into.numpy(), least=4)
        return tuple(part.permute(0, 3, 1, 2) for part in out)
