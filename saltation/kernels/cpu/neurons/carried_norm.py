"""Batch normalisation of values and of one tangent of them, with gradients of both.

Of a channel, over its R rows, with c = x - mean(x), d = t - mean(t) and f = γ / sqrt(var + eps):

    y = c f + β,    dy = (d - q c) f,    q = mean(c d) / (var + eps).

With gradients g of y and h of dy, and E = sum h c, F = sum g c + sum h d - 3 q E, these lead to

    g_x = f (g - q h - (E d + F c) / (R (var + eps)) - mean(g) + q mean(h)),
    g_t = f (h - E c / (R (var + eps)) - mean(h)),

to (F + 2 q E) / sqrt(var + eps) of γ, and to sum g of β. Channels come last in memory; sums are
made of parts of rows, in double precision.

Source: Ioffe & Szegedy, "Batch normalization: accelerating deep network training by reducing
internal covariate shift", ICML 2015, and its derivative.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu.neurons.moments import ROWS
from saltation.kernels.cpu.runtime.buffers import lent_pair
from saltation.kernels.cpu.runtime.jit import kernel
from saltation.kernels.cpu.runtime.threads import spread


class _Known(NamedTuple):
    """Of every group and channel, float64 ``[S, C]``."""

    mean: NDArray[np.float64]
    mean_of_tangent: NDArray[np.float64]
    variance: NDArray[np.float64]  # and eps
    q: NDArray[np.float64]


@kernel
def _moments(start: int, stop: int, x: NDArray[Any], t: NDArray[Any], sums: NDArray[Any]) -> None:
    """Sums ``sums`` [S, parts, 4, C] of x, x², t and x t over parts ``start ... stop`` of the rows
    of ``x`` and ``t`` [S, R, C]."""
    parts, channels = sums.shape[1], x.shape[2]
    for number in range(start, stop):
        group, part = number // parts, number % parts
        sums[group, part] = 0
        one, two = sums[group, part, 0], sums[group, part, 1]
        three, four = sums[group, part, 2], sums[group, part, 3]
        for i in range(ROWS * part, min(ROWS * (part + 1), x.shape[1])):
            row, along = x[group, i], t[group, i]
            for c in range(channels):
                value, tangent = np.float64(row[c]), np.float64(along[c])
                one[c] += value
                two[c] += value * value
                three[c] += tangent
                four[c] += value * tangent


@kernel
def _normalise(
    start: int,
    stop: int,
    x: NDArray[Any],
    t: NDArray[Any],
    terms: NDArray[Any],
    y: NDArray[Any],
    along: NDArray[Any],
) -> None:
    """Values ``y`` and tangents ``along`` [S, R, C] of parts ``start ... stop``, with the ``terms``
    [5, S, C] mean, f, β, mean of the tangents, and q."""
    parts, channels = -(-x.shape[1] // ROWS), x.shape[2]
    for number in range(start, stop):
        group, part = number // parts, number % parts
        mean, f, shift = terms[0, group], terms[1, group], terms[2, group]
        mean_of_tangent, q = terms[3, group], terms[4, group]
        for i in range(ROWS * part, min(ROWS * (part + 1), x.shape[1])):
            value, tangent = x[group, i], t[group, i]
            one, two = y[group, i], along[group, i]
            for c in range(channels):
                centred = value[c] - mean[c]
                one[c] = centred * f[c] + shift[c]
                two[c] = ((tangent[c] - mean_of_tangent[c]) - centred * q[c]) * f[c]


@kernel
def _sums(
    start: int,
    stop: int,
    x: NDArray[Any],
    t: NDArray[Any],
    terms: NDArray[Any],
    g: NDArray[Any],
    h: NDArray[Any],
    sums: NDArray[Any],
) -> None:
    """Sums ``sums`` [S, parts, 5, C] of g, g c, h, h c and h d over parts ``start ... stop``, with
    the ``terms`` [2, S, C] mean and mean of the tangents."""
    parts, channels = sums.shape[1], x.shape[2]
    for number in range(start, stop):
        group, part = number // parts, number % parts
        mean, mean_of_tangent = terms[0, group], terms[1, group]
        sums[group, part] = 0
        one, two, three = sums[group, part, 0], sums[group, part, 1], sums[group, part, 2]
        four, five = sums[group, part, 3], sums[group, part, 4]
        for i in range(ROWS * part, min(ROWS * (part + 1), x.shape[1])):
            value, tangent = x[group, i], t[group, i]
            of_value, of_tangent = g[group, i], h[group, i]
            for c in range(channels):
                centred = np.float64(value[c] - mean[c])
                one[c] += np.float64(of_value[c])
                two[c] += np.float64(of_value[c]) * centred
                three[c] += np.float64(of_tangent[c])
                four[c] += np.float64(of_tangent[c]) * centred
                five[c] += np.float64(of_tangent[c]) * np.float64(tangent[c] - mean_of_tangent[c])


@kernel
def _back(
    start: int,
    stop: int,
    x: NDArray[Any],
    t: NDArray[Any],
    terms: NDArray[Any],
    g: NDArray[Any],
    h: NDArray[Any],
    g_x: NDArray[Any],
    g_t: NDArray[Any],
) -> None:
    """Gradients ``g_x`` and ``g_t`` [S, R, C] of parts ``start ... stop``, with the ``terms``
    [8, S, C] mean, mean of the tangents, f, q, E and F over R (var + eps), and what is taken from
    either."""
    parts, channels = -(-x.shape[1] // ROWS), x.shape[2]
    for number in range(start, stop):
        group, part = number // parts, number % parts
        mean, mean_of_tangent = terms[0, group], terms[1, group]
        f, q, e, k = terms[2, group], terms[3, group], terms[4, group], terms[5, group]
        less, lower = terms[6, group], terms[7, group]
        for i in range(ROWS * part, min(ROWS * (part + 1), x.shape[1])):
            value, tangent = x[group, i], t[group, i]
            of_value, of_tangent = g[group, i], h[group, i]
            one, two = g_x[group, i], g_t[group, i]
            for c in range(channels):
                centred, beside = value[c] - mean[c], tangent[c] - mean_of_tangent[c]
                left = of_value[c] - q[c] * of_tangent[c] - (e[c] * beside + k[c] * centred)
                one[c] = f[c] * (left - less[c])
                two[c] = f[c] * (of_tangent[c] - e[c] * centred - lower[c])


def _quietly() -> np.errstate:
    """Of numbers that are not finite come numbers that are not, without a word, as in torch."""
    return np.errstate(over="ignore", invalid="ignore")


def _known(x: Tensor, t: Tensor, eps: float) -> _Known:
    groups, rows, channels = x.shape
    parts = -(-rows // ROWS)
    sums = np.empty((groups, parts, 4, channels), np.float64)
    spread(_moments, groups * parts, x.numpy(), t.numpy(), sums, least=1)
    mean, square, along, product = (sums.sum(1) / rows).transpose(1, 0, 2)
    variance = np.maximum(square - mean * mean, 0) + eps
    return _Known(mean, along, variance, (product - mean * along) / variance)


def _singles(*terms: Any) -> NDArray[np.float32]:
    """As float32 ``[., S, C]``."""
    return np.stack(np.broadcast_arrays(*terms)).astype(np.float32)


def run(x: Tensor, t: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Normalised values and their tangents ``[S, R, C]``, each of the S groups by its own mean and
    variance, from ``x`` and ``t``; differentiable."""
    found: tuple[Tensor, Tensor] = _Norm.apply(eps, x, t, weight, bias)
    return found


class _Norm(torch.autograd.Function):
    """``(eps, x, t, weight, bias) -> (y, dy)``."""

    @staticmethod
    def forward(
        ctx: Any, eps: float, x: Tensor, t: Tensor, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, t, weight, bias)
        x, t = x.detach(), t.detach()
        with _quietly():
            ctx.eps, ctx.known = eps, _known(x, t, eps)
            mean, along, variance, q = ctx.known
            f = weight.detach().double().numpy() / np.sqrt(variance)
            terms = _singles(mean, f, bias.detach().numpy(), along, q)
        y, dy = lent_pair(*x.shape)
        parts = len(x) * -(-x.shape[1] // ROWS)
        spread(_normalise, parts, x.numpy(), t.numpy(), terms, y.numpy(), dy.numpy(), least=1)
        return y, dy

    @staticmethod
    def backward(ctx: Any, g: Tensor, h: Tensor) -> tuple[Tensor | None, ...]:
        given = ctx.saved_tensors
        if torch.is_grad_enabled():  # a graph is wanted, of operations that have derivatives
            wanted = ctx.needs_input_grad[1:]
            views = [part.view_as(part) for part in given]
            some = [view for view, needed in zip(views, wanted, strict=True) if needed]
            outputs = _plainly(ctx.eps, *views)
            found = iter(torch.autograd.grad(outputs, some, (g, h), create_graph=True))
            return None, *(next(found) if needed else None for needed in wanted)
        x, t, weight, _ = given
        with _quietly():
            return None, *_backward(ctx.known, x.detach(), t.detach(), weight.detach(), g, h)


def _backward(
    known: _Known, x: Tensor, t: Tensor, weight: Tensor, g: Tensor, h: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of ``x``, ``t``, ``weight`` and the bias from those of values and tangents."""
    groups, rows, channels = x.shape
    mean, along, variance, q = known
    given, both = (x.numpy(), t.numpy()), (g.contiguous().numpy(), h.contiguous().numpy())
    parts = -(-rows // ROWS)
    sums = np.empty((groups, parts, 5, channels), np.float64)
    spread(_sums, groups * parts, *given, _singles(mean, along), *both, sums, least=1)
    a, b, d, e, k = sums.sum(1).transpose(1, 0, 2)
    k = b + k - 3 * q * e
    size, deviation = rows * variance, np.sqrt(variance)
    f = weight.double().numpy() / deviation
    terms = _singles(mean, along, f, q, e / size, k / size, (a - q * d) / rows, d / rows)
    g_x, g_t = lent_pair(*x.shape)
    spread(_back, groups * parts, *given, terms, *both, g_x.numpy(), g_t.numpy(), least=1)
    g_weight = ((k + 2 * q * e) / deviation).sum(0).astype(np.float32)
    g_bias = a.sum(0).astype(np.float32)
    return g_x, g_t, torch.from_numpy(g_weight), torch.from_numpy(g_bias)


def _plainly(
    eps: float, x: Tensor, t: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """The same in torch's operations."""
    c, d = x - x.mean(1, keepdim=True), t - t.mean(1, keepdim=True)
    variance = c.square().mean(1, keepdim=True) + eps
    f = weight * variance.rsqrt()
    q = (c * d).mean(1, keepdim=True) / variance
    return c * f + bias, (d - q * c) * f
