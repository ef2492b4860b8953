"""Products of spikes and weights whose cost follows the spikes.

A row of spikes times a matrix is the sum of the matrix rows where the spikes are; the gradient of
the matrix is the row's gradient added to those same rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from saltation.kernels.cpu.jit import kernel, spread

_ONE = np.float32(1).view(np.int32)
_BLOCK = 16  # numbers that are passed over at once where all are zero


@kernel
def _count(start: int, stop: int, x: NDArray[Any], counts: NDArray[Any]) -> None:
    """Ones in each row of ``x`` [R, F]; -1, and no further row is read, where another number is.

    Here and below ``x`` holds the bits of float32 numbers as integers.
    """
    for r in range(start, stop):
        row = x[r]
        ones, others = np.int32(0), np.int32(0)
        for f in range(len(row)):
            ones += np.int32(row[f] == _ONE)
            others += np.int32((row[f] != 0) & (row[f] != _ONE))
        counts[r] = ones
        if others:
            counts[r] = -1
            return


@kernel
def _gather(
    start: int,
    stop: int,
    x: NDArray[Any],
    ends: NDArray[Any],
    weight: NDArray[Any],
    places: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Rows ``start ... stop`` of ``out`` [R, O] from ``weight`` [F, O]; notes the spikes' places.

    A row's places end at ``ends[r]``, and one spare place lies before the next row's, because a
    place is written before it is known whether it counts: that saves a branch.
    """
    zero = np.float32(0)
    for r in range(start, stop):
        row, into = x[r], out[r]
        first = ends[r - 1] + 1 if r else 0
        last = first
        for low in range(0, len(row), _BLOCK):
            block = row[low : low + _BLOCK]
            some = np.int32(0)
            for f in range(len(block)):
                some |= block[f]
            if some:
                for f in range(len(block)):
                    places[last] = low + f
                    last += np.int64(block[f] != 0)
        for o in range(len(into)):
            into[o] = zero
        fours = first + (last - first) // 4 * 4
        for e in range(first, fours, 4):
            w0, w1 = weight[places[e]], weight[places[e + 1]]
            w2, w3 = weight[places[e + 2]], weight[places[e + 3]]
            for o in range(len(into)):
                into[o] = (((into[o] + w0[o]) + w1[o]) + w2[o]) + w3[o]
        for e in range(fours, last):
            w0 = weight[places[e]]
            for o in range(len(into)):
                into[o] += w0[o]


@kernel
def _scatter(
    start: int,
    stop: int,
    gradient: NDArray[Any],
    ends: NDArray[Any],
    places: NDArray[Any],
    into: NDArray[Any],
) -> None:
    """Rows ``start ... stop`` of the gradient ``into`` [F, O] of the weight.

    Divided by the rows of the result, so that each is a sum in the order of the samples.
    """
    for f in range(start, stop):
        for o in range(into.shape[1]):
            into[f, o] = 0
    for r in range(len(gradient)):
        source = gradient[r]
        for e in range(ends[r - 1] + 1 if r else 0, ends[r]):
            f = places[e]
            if f >= stop:
                break
            if f >= start:
                target = into[f]
                for o in range(len(source)):
                    target[o] += source[o]


def worthwhile(rows: int, fan_in: int, fan_out: int) -> bool:
    """Whether products of this size are worth a look at their density."""
    return fan_out >= 16 and rows * fan_in * fan_out >= 2**23


def sparse_enough(density: float, fan_out: int) -> bool:
    """Whether a spike's work costs less than the dense product's share.

    Forward and weight gradient together on one core of an AMD EPYC with AVX-512, 6400 rows of 784:
    31 ns per spike for 256 outputs and 5 ns for 10, against 0.042 ns per weight and row of torch's
    product. They are equal at densities of 0.33 (256 outputs) and 0.05 (10).
    """
    return density < 0.38 * fan_out / (fan_out + 64)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x @ weight.T + bias`` for ``x`` [..., F] and ``weight`` [O, F], float32 on a CPU."""
    fan_out, fan_in = weight.shape
    rows = x.numel() // fan_in
    if worthwhile(rows, fan_in, fan_out):
        flat = x.detach().reshape(rows, fan_in).contiguous()
        counts = torch.zeros(rows, dtype=torch.int32)
        spread(_count, rows, flat.view(torch.int32).numpy(), counts.numpy(), least=64)
        ones = counts.sum().item()
        if counts.min() >= 0 and sparse_enough(ones / flat.numel(), fan_out):
            return _product(x, weight, bias, flat, counts)
    return functional.linear(x, weight, bias)


def _product(*arguments: Any) -> Tensor:
    return _Product.apply(*arguments)  # type: ignore[no-untyped-call, no-any-return]


class _Product(torch.autograd.Function):
    """`linear` by events; ``counts`` [R] are the ones in each row of ``flat`` [R, F]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, flat: Tensor, counts: Tensor
    ) -> Tensor:
        rows = len(flat)
        ends = counts.cumsum(0) + torch.arange(rows)
        places = torch.empty(int(ends[-1]) + 1, dtype=torch.int32)
        out = torch.empty(rows, len(weight))
        columns = weight.detach().T.contiguous()
        arrays = (part.numpy() for part in (flat.view(torch.int32), ends, columns, places, out))
        spread(_gather, rows, *arrays, least=64)
        ctx.save_for_backward(x, weight, ends, places)
        if bias is not None:
            out += bias
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, ends, places = ctx.saved_tensors
        g_x = g_weight = g_bias = None
        flat = gradient.reshape(len(ends), -1).contiguous()
        if ctx.needs_input_grad[0]:
            g_x = (flat @ weight).view(x.shape)
        if ctx.needs_input_grad[1]:
            if torch.is_grad_enabled():  # a graph is built: in operations that have derivatives
                g_weight = flat.T @ x.reshape(len(ends), -1)
            else:
                into = torch.empty(weight.shape[1], weight.shape[0])
                arrays = (part.numpy() for part in (flat, ends, places, into))
                spread(_scatter, len(into), *arrays, least=32)
                g_weight = into.T
        if ctx.needs_input_grad[2]:
            g_bias = flat.sum(0)
        return g_x, g_weight, g_bias, None, None
