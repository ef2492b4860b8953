"""Products of spikes and weights whose cost follows the spikes.

A row of spikes times a matrix is the sum of the matrix rows where the spikes are, in the order of
the sites; the gradient of a matrix row is the sum of the gradients at the steps where its site
spiked, sample by sample and there in the order of time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from saltation.kernels.cpu.buffers import Loan, fresh
from saltation.kernels.cpu.jit import compiled, kernel
from saltation.kernels.cpu.simd import LANES, add_rows, copy_row, fetch
from saltation.kernels.cpu.threads import spread
from saltation.kernels.cpu.trains import WORD, words
from saltation.kernels.cpu.weigh import tables, weigh, whole_groups
from saltation.kernels.events import Events

# Columns of a matrix that are worked on at a time: all steps of them stay in the first cache.
BLOCK = 128
LINE = 256  # places that are looked up at a time
OFTEN = 3  # times that a sample's weights are taken, from which on they are copied
PART = 64
_AHEAD = 4  # sites ahead of the one that is worked on, whose rows are fetched into cache


class Source(NamedTuple):
    """Spikes and the weights they are multiplied with, for compiled code.

    ``weight`` is ``[F, O]``; ``bias`` is [O], or [0] where there is none.
    """

    offsets: NDArray[np.int64]
    sites: NDArray[np.int32]
    rows: NDArray[np.int64]
    places: NDArray[np.int32]
    bits: NDArray[np.uint64]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


def padded(width: int) -> int:
    """The next multiple of a vector's length."""
    return -(-width // LANES) * LANES


def columns(matrix: Tensor) -> Tensor:
    """``matrix`` [O, F] as its columns ``[F, O]``, contiguous, with zeros up to full vectors."""
    turned = matrix.detach().T
    missing = padded(len(matrix)) - len(matrix)
    return functional.pad(turned, (0, missing)) if missing else turned.contiguous()


def sourced(events: Events, weight: Tensor, bias: Tensor | None) -> Source:
    """Spikes, and weight ``[O, F]`` and bias ``[O]`` or None with O up to full vectors."""
    turned = columns(weight)
    added = np.zeros(0 if bias is None else turned.shape[1], np.float32)
    if bias is not None:
        added[: len(bias)] = bias.detach().numpy()
    e = events
    return Source(e.offsets, e.sites, e.rows, e.places, e.bits, turned.numpy(), added)


@compiled
def gather(lo: int, hi: int, first: int, width: int, source: Source, local: NDArray[Any]) -> None:
    """The weights of sites ``lo ... hi`` and neurons ``first ... first + width``, side by side."""
    for i in range(lo, hi):
        if i + _AHEAD < hi:
            fetch(source.weight, int(source.sites[i + _AHEAD]), first, width)
        copy_row(local, i - lo, 0, source.weight, int(source.sites[i]), first, width)


@kernel
def drive(
    b: int,
    end: int,
    first: int,
    width: int,
    source: Source,
    local: NDArray[Any],
    line: NDArray[Any],
    x: NDArray[Any],
) -> None:
    """Currents ``x`` [T, BLOCK] of sample ``b`` for neurons ``first ... first + width``, up to step
    ``end``; ``local`` [F, PART] and ``line`` are scratch for weights and places of the sample."""
    lo, hi = source.offsets[b], source.offsets[b + 1]
    rows = source.rows[b]
    # Weights that are taken often are worth a copy of them side by side, which stays in cache.
    often = rows[end] - rows[0] > OFTEN * (hi - lo)
    x[:end] = 0
    if often:
        for part in range(0, width, PART):
            size = min(PART, width - part)
            gather(lo, hi, first + part, size, source, local)
            for t in range(end):
                add_rows(x, t, part, local, 0, source.places, rows[t], rows[t + 1], size)
    else:
        for t in range(end):
            here = rows[t]
            while here < rows[t + 1]:
                count = min(len(line), rows[t + 1] - here)
                for e in range(count):
                    line[e] = source.sites[lo + source.places[here + e]]
                    fetch(source.weight, int(line[e]), first, width)
                add_rows(x, t, 0, source.weight, first, line, 0, count, width)
                here += count
    if len(source.bias):
        for t in range(end):
            for o in range(width):
                x[t, o] += source.bias[first + o]


@kernel
def _forward(
    start: int,
    stop: int,
    workers: int,
    source: Source,
    local: NDArray[Any],
    lines: NDArray[Any],
    x: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Workers ``start ... stop``, each with its share of the samples of ``out`` [T, B, O].

    ``local`` [workers, F, PART] and ``x`` [workers, T, BLOCK] are scratch.
    """
    steps, batch, size = out.shape
    for worker in range(start, stop):
        for b in range(batch * worker // workers, batch * (worker + 1) // workers):
            for first in range(0, size, BLOCK):
                width = min(BLOCK, -(-(size - first) // LANES) * LANES)
                drive(b, steps, first, width, source, local[worker], lines[worker], x[worker])
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
def _alive(gradient: NDArray[Any], alive: NDArray[Any], ends: NDArray[Any]) -> None:
    """Bits of the steps at which a sample's row of ``gradient`` [T, B, O] is not all zero, and the
    step after the last of them."""
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


def alive_steps(gradient: Tensor) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Where ``gradient`` [T, B, O] is not zero.

    Returns
    -------
    uint64 ``[T / 64, B]``, a bit for every step, and int64 ``[B]``, the step after the last.
    """
    steps, batch, _ = gradient.shape
    alive, ends = np.empty((words(steps), batch), np.uint64), np.empty(batch, np.int64)
    _alive(gradient.numpy(), alive, ends)
    return alive, ends


def forward(events: Events, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x @ weight.T + bias`` [T, B, O] for the spikes x."""
    steps, batch, sites = events.shape
    out = fresh(steps, batch, len(weight))
    workers = max(1, min(torch.get_num_threads(), batch // 2))
    scratch = Loan()
    local = scratch.array(workers, sites, PART)
    lines = scratch.array(workers, LINE, dtype=torch.int32)
    x = scratch.array(workers, steps, BLOCK)
    source = sourced(events, weight, bias)
    spread(_forward, workers, workers, source, local, lines, x, out.numpy(), least=1)
    return out


def backward(events: Events, weight: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of the weight ``[O, F]`` from that of the result ``[T, B, O]``."""
    steps, _, sites = events.shape
    width = gradient.shape[2]
    gradient = gradient.contiguous()
    _, ends = alive_steps(gradient)
    source = sourced(events, weight, None)
    size = padded(width)
    workers = max(1, min(torch.get_num_threads(), -(-size // BLOCK)))
    scratch = Loan()
    g = scratch.array(workers, whole_groups(steps), BLOCK)
    table = tables(scratch, workers)
    g_weight = torch.empty(sites, size)
    arrays = (ends, gradient.numpy(), g, table, g_weight.numpy(), np.empty(0, np.float32))
    spread(_backward, workers, workers, source, *arrays, least=1)
    return g_weight.T[:width]


def linear(x: Tensor, events: Events, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x @ weight.T + bias`` for spikes ``x`` [T, ..., F] with these events."""
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
                spikes = ctx.events.dense() if x is None else x
                g_weight = gradient.flatten(0, 1).T @ spikes.reshape(-1, weight.shape[1])
            else:
                g_weight = backward(ctx.events, weight, gradient)
        if ctx.needs_input_grad[3]:
            g_bias = gradient.flatten(0, 1).sum(0)
        return g_x, None, g_weight, g_bias
