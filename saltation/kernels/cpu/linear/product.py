"""Products of spikes and weights whose cost follows the spikes.

A row of spikes times a matrix is the sum of the matrix rows where the spikes are (see `currents`);
the gradient of a matrix row is the sum of the gradients at the steps where its site
spiked, sample by sample and there in the order of time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu.events.trains import WORD, words
from saltation.kernels.cpu.linear.currents import Scratch, drive, ready, scratch_of
from saltation.kernels.cpu.linear.source import BLOCK, Source, padded, sourced, without_weights
from saltation.kernels.cpu.linear.transpose import transposed
from saltation.kernels.cpu.linear.weigh import tables, weigh, whole_groups
from saltation.kernels.cpu.runtime.buffers import Loan, fresh
from saltation.kernels.cpu.runtime.finite import NotFinite, none_in
from saltation.kernels.cpu.runtime.jit import kernel
from saltation.kernels.cpu.runtime.simd import LANES
from saltation.kernels.cpu.runtime.threads import spread
from saltation.kernels.events import Events


@kernel
def _forward(
    start: int,
    stop: int,
    workers: int,
    source: Source,
    scratch: Scratch,
    x: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Workers ``start ... stop``, each with its share of the samples of ``out`` [T, B, O];
    ``x`` [workers, T, BLOCK] is scratch too."""
    steps, batch, size = out.shape
    for worker in range(start, stop):
        for b in range(batch * worker // workers, batch * (worker + 1) // workers):
            ready(b, source, worker, scratch)
            for first in range(0, size, BLOCK):
                width = min(BLOCK, -(-(size - first) // LANES) * LANES)
                drive(b, steps, first, width, source, worker, scratch, x[worker])
                for t in range(steps):
                    for o in range(min(width, size - first)):
                        out[t, b, first + o] = x[worker, t, o]


@kernel
def _backward(
    start: int,
    stop: int,
    workers: int,
    source: Source,
    ends: NDArray[Any],
    gradient: NDArray[Any],
    g: NDArray[Any],
    table: NDArray[Any],
    g_weight: NDArray[Any],
    g_bias: NDArray[Any],
) -> None:
    """Workers ``start ... stop``, each with its share of the blocks of columns of ``g_weight``
    [F, O], from ``gradient`` [T, B, O]; ``g`` [workers, T, BLOCK] and ``table`` [workers, ., .] are
    scratch.

    Divided by columns, so that every number is a sum in the same order for any number of workers.
    """
    batch, size = len(ends), g_weight.shape[1]
    blocks = -(-size // BLOCK)
    for worker in range(start, stop):
        here = g[worker]
        here[:] = 0
        for block in range(blocks * worker // workers, blocks * (worker + 1) // workers):
            first = BLOCK * block
            width = min(BLOCK, size - first)
            known = min(width, gradient.shape[2] - first)
            g_weight[:, first : first + width] = 0
            g_bias[first : first + width] = 0
            for b in range(batch):
                for t in range(ends[b]):
                    for o in range(known):
                        here[t, o] = gradient[t, b, first + o]
                weigh(b, ends[b], first, width, source, here, table[worker], g_weight, g_bias)


@kernel
def _alive(gradient: NDArray[Any], alive: NDArray[Any], ends: NDArray[Any]) -> bool:
    """Bits of the steps at which a sample's row of ``gradient`` [T, B, O] is not all zero, and the
    step after the last of them; returns whether all of it is finite."""
    alive[:] = 0
    ends[:] = 0
    for t in range(len(gradient)):
        for b in range(gradient.shape[1]):
            row = gradient[t, b]
            some = np.int64(0)
            for o in range(len(row)):
                some |= np.int64(row[o] != 0)
            if some:
                alive[t // WORD, b] |= np.uint64(1) << np.uint64(t % WORD)
                ends[b] = t + 1
    return none_in(gradient.view(np.int32).reshape(-1))


def alive_steps(gradient: Tensor) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Where ``gradient`` [T, B, O] is not zero.

    Returns
    -------
    uint64 ``[T / 64, B]``, a bit for every step, and int64 ``[B]``, the step after the last.

    Raises
    ------
    NotFinite
        If it holds NaN or an infinity.
    """
    steps, batch, _ = gradient.shape
    alive, ends = np.empty((words(steps), batch), np.uint64), np.empty(batch, np.int64)
    if not _alive(gradient.numpy(), alive, ends):
        raise NotFinite("a gradient is not finite")
    return alive, ends


def forward(events: Events, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x @ weight.T + bias`` [T, B, O] for the spikes x; raises as `columns`."""
    steps, batch, sites = events.shape
    out = fresh(steps, batch, len(weight))
    workers = max(1, min(torch.get_num_threads(), batch // 2))
    loan = Loan()
    scratch = scratch_of(loan, workers, steps, sites)
    x = loan.array(workers, steps, BLOCK)
    source = sourced(events, weight, bias)
    spread(_forward, workers, workers, source, scratch, x, out.numpy(), least=1)
    return out


def backward(events: Events, gradient: Tensor) -> Tensor:
    """The gradient of the weight ``[O, F]`` from that of the result ``[T, B, O]``."""
    steps, _, sites = events.shape
    width = gradient.shape[2]
    gradient = gradient.contiguous()
    try:
        _, ends = alive_steps(gradient)
    except NotFinite:
        return dense_backward(events.dense(), gradient)
    source = without_weights(events, width)
    size = padded(width)
    workers = max(1, min(torch.get_num_threads(), -(-size // BLOCK)))
    scratch = Loan()
    g = scratch.array(workers, whole_groups(steps), BLOCK)
    table = tables(scratch, workers)
    g_weight = fresh(sites, size)
    arrays = (ends, gradient.numpy(), g, table, g_weight.numpy(), np.empty(0, np.float32))
    spread(_backward, workers, workers, source, *arrays, least=1)
    return torch.from_numpy(transposed(g_weight.numpy(), width, sites)[0])


def dense_backward(x: Tensor, gradient: Tensor) -> Tensor:
    """The same for ``x`` [T, ..., F] as a dense product."""
    return gradient.flatten(0, 1).T @ x.reshape(-1, x.shape[-1])


def linear(x: Tensor, events: Events, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x @ weight.T + bias`` for spikes ``x`` [T, ..., F] with these events; raises as
    `columns`."""
    out: Tensor = _Product.apply(x, events, weight, bias)
    return out if x.ndim == 3 else out.view(*x.shape[:-1], -1)


class _Product(torch.autograd.Function):
    """``(x, events, weight, bias) -> currents [T, B, O]``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, events: Events, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.events, ctx.shape = events, x.shape
        ctx.save_for_backward(x if x.requires_grad else None, weight)
        return forward(events, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        g_x = g_weight = g_bias = None
        if ctx.needs_input_grad[0]:
            g_x = (gradient @ weight).view(ctx.shape)
        if ctx.needs_input_grad[2]:
            if torch.is_grad_enabled():  # a graph is built: in operations that have derivatives
                g_weight = dense_backward(ctx.events.dense() if x is None else x, gradient)
            else:
                g_weight = backward(ctx.events, gradient)
        if ctx.needs_input_grad[3]:
            g_bias = gradient.flatten(0, 1).sum(0)
        return g_x, None, g_weight, g_bias
