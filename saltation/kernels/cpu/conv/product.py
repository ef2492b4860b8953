"""Convolutions whose cost follows the spikes: 3x3 windows, stride 1, zeros around.

Gradients of the input are dense products with the weights (see `gradients`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from saltation.kernels.cpu.conv import backward as conv_backward
from saltation.kernels.cpu.conv import forward as conv_forward
from saltation.kernels.cpu.conv.gradients import NARROW, by_tiles, gradients
from saltation.kernels.cpu.conv.windows import FAN
from saltation.kernels.cpu.events.marks import Marks, has_channels_last, mark
from saltation.kernels.cpu.runtime.finite import finite
from saltation.kernels.cpu.runtime.simd import LANES
from saltation.kernels.support import joined

_LEAST = 2**20  # inputs times outputs that are worth a look


def sparse_enough(density: float, outputs: int) -> bool:
    """Whether a spike's work costs less than the dense product's share.

    A training step on one core of an AMD EPYC with AVX-512, dense gradients of the input included,
    beside torch's: equal at densities of 0.7 and more with multiples of 64 outputs, 0.6 with 32,
    0.45 with 16. Forward alone: 0.7 to 0.9, 0.4, 0.26; sums of fewer outputs than `FAN` are padded.
    """
    return density < 0.55 * outputs / (-(-outputs // FAN) * FAN)


def dense(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Torch's convolution, its result in memory as ``x`` is, with gradients that may be rounded
    otherwise."""
    wanted = any(part is not None and part.requires_grad for part in (x, weight, bias))
    tiled = has_channels_last(x) and x.shape[1] == weight.shape[1] and by_tiles(x, len(weight))
    if torch.is_grad_enabled() and wanted and tiled:
        out: Tensor = _Dense.apply(x, weight, bias)
        return out
    return _dense(x, weight, bias)


def of_both(x: Tensor, tangent: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The convolutions of ``x`` and of its ``tangent`` [N, C, H, W]. Channels come last then where
    gradients by tiles take less time: there is a gradient for each of both."""
    if x.shape[1] == weight.shape[1] and by_tiles(x, len(weight)):
        both = (part.contiguous(memory_format=torch.channels_last) for part in (x, tangent))
        out: tuple[Tensor, Tensor] = _OfBoth.apply(*both, weight)
        return out
    values, tangents = dense(torch.cat([x, tangent]), weight, None).unflatten(0, (2, len(x)))
    return values, tangents


def _dense(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Of narrow maps with channels last in the other form: a seventh faster with 256 to 512
    channels of 4x4, what is turned over included."""
    if x.shape[3] > NARROW or not has_channels_last(x):
        return functional.conv2d(x, weight, bias, padding=1)
    out = functional.conv2d(x.contiguous(), weight, bias, padding=1)
    return out.contiguous(memory_format=torch.channels_last)


def run(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """The convolution of the spikes ``x``; None where ``x`` is something else or it would not
    pay, or where a weight is not finite."""
    if len(weight) % LANES or x.shape[1] != weight.shape[1]:
        return None
    # Lines must fit the numbers of `_list`, and little costs less than a look at it.
    if x.shape[3] > conv_backward.WIDEST or x.numel() * len(weight) < _LEAST:
        return None
    marked = mark(x)
    if marked is None or not sparse_enough(marked[1] / x.numel(), len(weight)):
        return None
    if not finite(weight):
        return None
    wanted = any(part is not None and part.requires_grad for part in (x, weight, bias))
    # The result lies in memory as its input does, as with torch.
    last = has_channels_last(x)
    if not torch.is_grad_enabled() or not wanted:
        return conv_forward.forward(marked[0], weight, bias, last)
    out: Tensor = _Convolution.apply(marked[0], last, x, weight, bias)
    return out


class _Convolution(torch.autograd.Function):
    """``(marks, last, x, weight, bias) -> [N, O, H, W]``; ``last`` is where channels lie."""

    @staticmethod
    def forward(
        ctx: Any,
        spikes: Marks,
        last: bool,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        ctx.spikes = spikes
        ctx.save_for_backward(x, weight)
        return conv_forward.forward(spikes, weight, bias, last)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        *_, wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        # Where a graph is built, in operations that have derivatives.
        dense = torch.is_grad_enabled() or not finite(gradient)
        wanted = wants_x, wants_weight and dense, wants_bias
        g_x, g_weight, g_bias = gradients(gradient, x, weight, wanted)
        if wants_weight and not dense:
            g_weight = conv_backward.backward(ctx.spikes, gradient)
        return None, None, g_x, g_weight, g_bias


class _OfBoth(torch.autograd.Function):
    """``(x, tangent, weight) -> (values, tangents)`` [N, O, H, W], channels last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tangent: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, tangent, weight)
        values = run(x, weight, None)
        if values is None:
            values = _dense(x, weight, None)
        return values, _dense(tangent, weight, None)

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        *both, weight = ctx.saved_tensors
        wants_x, wants_tangent, wants_weight = ctx.needs_input_grad
        wanted = wants_x or wants_tangent, wants_weight, False
        again = torch.is_grad_enabled()
        x, gradient = (torch.cat(pair) if again else _joined(*pair) for pair in (both, given))
        g_x, g_weight, _ = gradients(gradient, x, weight, wanted)
        g_both = (None, None) if g_x is None else g_x.unflatten(0, (2, len(g_x) // 2))
        return *g_both, g_weight


def _joined(x: Tensor, tangent: Tensor) -> Tensor:
    """Both behind one another in the batch, channels last."""
    last = (part.permute(0, 2, 3, 1).contiguous() for part in (x, tangent))
    return joined(*last).flatten(0, 1).permute(0, 3, 1, 2)


class _Dense(torch.autograd.Function):
    """``(x, weight, bias) -> [N, O, H, W]``, torch's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _dense(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        return gradients(gradient, x, weight, ctx.needs_input_grad)
