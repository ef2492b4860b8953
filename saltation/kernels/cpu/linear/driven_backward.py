"""A layer of neurons driven by weighted spikes, backward.

The gradients of the spikes of one sample, its time loop in reverse, and the gradients of the
weights, for a block of neurons at a time and only for steps that a gradient can reach. Arrays are
those of `driven_forward`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu.events.trains import WORD
from saltation.kernels.cpu.linear.currents import Scratch, ready, scratch_of
from saltation.kernels.cpu.linear.driven_forward import Kept, Stored, bias_of, run
from saltation.kernels.cpu.linear.source import BLOCK, Source, padded, sourced, without_weights
from saltation.kernels.cpu.linear.transpose import transposed
from saltation.kernels.cpu.linear.weigh import tables, weigh, whole_groups
from saltation.kernels.cpu.neurons.cell import Cell, address_of, back_driven
from saltation.kernels.cpu.runtime.buffers import Loan, fresh
from saltation.kernels.cpu.runtime.finite import NotFinite
from saltation.kernels.cpu.runtime.jit import kernel, subroutine
from saltation.kernels.cpu.runtime.simd import LANES, add_row, fetch
from saltation.kernels.cpu.runtime.threads import spread
from saltation.kernels.events import Events
from saltation.kernels.program.graph import Program
from saltation.kernels.reference import Stage


class Upstream(NamedTuple):
    """Gradient ``[T, B, C]`` of the currents that spikes gave to the next layer, few and sparse.

    ``alive`` is uint64 ``[T / 64, B]``, the steps at which a sample's row is not all zero;
    ``weight`` ``[C, O]`` is the next layer's and ``events`` are the spikes.
    """

    gradient: NDArray[np.float32]
    alive: NDArray[np.uint64]
    weight: NDArray[np.float32]
    events: Events


@subroutine
def _pull(
    b: int,
    end: int,
    first: int,
    width: int,
    alive: NDArray[Any],
    gradient: NDArray[Any],
    weight: NDArray[Any],
    g_s: NDArray[Any],
    origins: NDArray[Any],
) -> None:
    """Gradients ``g_s`` [., BLOCK] of the spikes, from those of the currents they gave the next
    layer, ``gradient`` [T, B, C], and its ``weight`` [C, O].

    ``origins[t]`` says where in it those of step t lie; the first row are the zeros of all steps at
    which there is no gradient.
    """
    g_s[0] = 0
    rows = 1
    for t in range(end):
        origins[t] = 0
        if alive[t // WORD, b] >> np.uint64(t % WORD) & np.uint64(1):
            row = g_s[rows, :width]
            origins[t] = BLOCK * rows
            rows += 1
            row[:] = 0
            for c in range(len(weight)):
                g = gradient[t, b, c]
                if g != 0:
                    source = weight[c, first : first + width]
                    for o in range(width):
                        row[o] += g * source[o]


@subroutine
def _scatter_next(
    b: int,
    end: int,
    first: int,
    width: int,
    alive: NDArray[Any],
    rows: NDArray[Any],
    places: NDArray[Any],
    gradient: NDArray[Any],
    row: NDArray[Any],
    into: NDArray[Any],
) -> None:
    """Adds to rows ``first ... first + width`` of the next weight's gradient ``into`` [O, C up to
    full vectors]; ``row`` [1, .] is scratch, as long and zero."""
    for t in range(end):
        if alive[t // WORD, b] >> np.uint64(t % WORD) & np.uint64(1):
            for c in range(gradient.shape[2]):
                row[0, c] = gradient[t, b, c]
            for e in range(rows[t], rows[t + 1]):
                if places[e] >= first + width:
                    break
                if places[e] >= first:
                    add_row(into, int(places[e]), row, 0)


@kernel
def _backward(
    start: int,
    stop: int,
    workers: int,
    stored: Stored,
    source: Source,
    bias: NDArray[Any],
    scratch: Scratch,
    x: NDArray[Any],
    states: NDArray[Any],
    marks: NDArray[Any],
    ends: NDArray[Any],
    alive: NDArray[Any],
    gradient: NDArray[Any],
    next_weight: NDArray[Any],
    next_rows: NDArray[Any],
    next_places: NDArray[Any],
    given: NDArray[Any],
    g_s: NDArray[Any],
    origins: NDArray[Any],
    row: NDArray[Any],
    g_x: NDArray[Any],
    table: NDArray[Any],
    g_out: NDArray[Any],
    g_weight: NDArray[Any],
    g_bias: NDArray[Any],
    g_next: NDArray[Any],
    learned: NDArray[Any],
    g_learned: NDArray[Any],
    finite: NDArray[Any],
    cell: Cell,
    back: Cell,
) -> None:
    """Workers ``start ... stop``, each with its share of the blocks of neurons.

    Divided by neurons, so that every number is a sum in the same order for any number of workers.
    The gradient of the spikes is ``given`` [B * T, O], or computed from that of the next layer;
    that of the currents is written to ``g_out`` [B, T, O] if it has room. What is learned of each
    neuron is added up in ``g_learned`` [learned, O], float64, from ``learned`` [workers, learned,
    BLOCK], a sample's. ``finite`` [workers] tells whether all of these are.
    """
    batch, size, steps = len(source.rows), source.weight.shape[1], source.rows.shape[1] - 1
    blocks = -(-size // BLOCK)
    for worker in range(start, stop):
        g_here, g_spike = g_x[worker], g_s[worker]
        finite[worker] = True
        row[worker] = 0
        for block in range(blocks * worker // workers, blocks * (worker + 1) // workers):
            first = BLOCK * block
            width = min(BLOCK, size - first)
            g_weight[:, first : first + width] = 0
            g_bias[first : first + width] = 0
            g_next[first : first + width] = 0
            g_learned[:, first : first + width] = 0
            for b in range(batch):
                end = ends[b]
                if g_out.size:
                    g_out[b, end:, first : first + width] = 0
                if end == 0:
                    continue
                currents = x[b if stored.x else worker, block if stored.x else 0]
                h = states[b if stored.states else worker, block if stored.states else 0]
                if not stored.states:
                    ready(b, source, worker, scratch)
                    run(
                        *(b, end, block, source, bias, worker, scratch),
                        *(currents, h, marks[worker], cell),
                    )
                else:  # the loop over time fetches those of all but the first neurons itself
                    for n in range(len(h)):
                        for t in range(end):
                            fetch(h[n], t, 0, LANES)
                upstream = g_spike
                if given.size:
                    upstream = given
                    for t in range(end):
                        origins[worker, t] = size * (steps * b + t) + first
                else:
                    _pull(
                        *(b, end, first, width, alive, gradient, next_weight),
                        *(g_spike, origins[worker]),
                    )
                    _scatter_next(
                        *(b, end, first, width, alive, next_rows[b], next_places),
                        *(gradient, row[worker], g_next),
                    )
                back_driven(
                    *(first, width, end, currents, h, upstream, origins[worker], g_here),
                    *(learned[worker], back),
                )
                for n in range(len(g_learned)):
                    for o in range(width):
                        g_learned[n, first + o] += learned[worker, n, o]
                if g_out.size:
                    for t in range(end):
                        for o in range(width):
                            g_out[b, t, first + o] = g_here[t, o]
                finite[worker] &= weigh(
                    *(b, end, first, width, source, g_here, table[worker], g_weight, g_bias)
                )


class Gradients(NamedTuple):
    """Of weight ``[O, F]``, bias ``[O]``, the next layer's weight ``[C, O]``, the currents ``[B, T,
    O]`` up to full vectors, if they were wanted, and what is learned of each neuron, ``[learned,
    O]``, in double precision."""

    weight: Tensor
    bias: Tensor
    next_weight: Tensor | None
    x: Tensor | None
    learned: Tensor


def backward(
    stage: Stage,
    program: Program,
    kept: Kept,
    ends: NDArray[np.int64],
    upstream: Upstream | Tensor,
    *,
    wants_x: bool,
) -> Gradients:
    """Gradients of one layer.

    Parameters
    ----------
    stage, program, kept
        As given to and returned by `forward`.
    ends
        int64 ``[B]``: no gradient reaches a sample's steps from here on.
    upstream
        What the next layer passes back: its own gradient, or that of the spikes ``[B, T, O]`` with
        O up to full vectors.
    wants_x
        Whether the gradient of the currents is asked for.

    Raises
    ------
    NotFinite
        If the gradient of a current is not.
    """
    steps, batch, sites = kept.events.shape
    width = len(stage.weight)
    kept_states, learns = len(program.kept), len(program.learned)
    again = not kept.stored.states
    if again:
        source = sourced(kept.events, stage.weight, stage.bias)
    else:
        source = without_weights(kept.events, width)
    size = source.weight.shape[1]
    workers = max(1, min(torch.get_num_threads(), -(-size // BLOCK)))
    scratch = Loan()
    none = np.empty((0, 0, 0), np.float32)
    if isinstance(upstream, Upstream):
        gradient, alive, following, spikes = upstream
        next_rows, next_places, given = spikes.rows, spikes.places, np.empty((0, 0), np.float32)
    else:
        gradient, following, given = (
            none,
            np.empty((0, 0), np.float32),
            upstream.flatten(0, 1).numpy(),
        )
        alive, next_rows = np.empty((0, 0), np.uint64), np.empty((0, 0), np.int64)
        next_places = np.empty(0, np.int32)
    g_weight = fresh(sites, size)
    g_bias = fresh(size if stage.bias is not None else 0)
    outputs = padded(gradient.shape[2])
    g_next = fresh(size, outputs)
    g_out = fresh(batch, steps, size) if wants_x else None
    g_learned = torch.zeros(learns, size, dtype=torch.float64)
    finite = np.empty(workers, np.bool_)
    back = kept.cell._replace(address=address_of(program, "backward driven"))
    spread(
        _backward,
        workers,
        workers,
        kept.stored,
        source,
        bias_of(source),
        scratch_of(scratch, workers, steps, sites if again else 0),
        kept.x if kept.stored.x else scratch.array(workers, 1, steps, BLOCK),
        scratch.array(workers, 1, kept_states, steps, BLOCK) if again else kept.states,
        scratch.array(workers, steps, -(-size // BLOCK) * BLOCK // LANES, dtype=torch.uint16),
        ends,
        alive,
        gradient,
        following,
        next_rows,
        next_places,
        given,
        scratch.array(workers, steps + 1, BLOCK),
        scratch.array(workers, steps, dtype=torch.int64),
        scratch.array(workers, 1, outputs),
        scratch.array(workers, whole_groups(steps), BLOCK),
        tables(scratch, workers),
        none if g_out is None else g_out.numpy(),
        g_weight.numpy(),
        g_bias.numpy(),
        g_next.numpy(),
        scratch.array(workers, learns, BLOCK),
        g_learned.numpy(),
        finite,
        kept.cell,
        back,
        least=1,
    )
    if not finite.all():
        raise NotFinite("the gradient of a current is not finite")
    return Gradients(
        torch.from_numpy(transposed(g_weight.numpy(), width, sites)[0]),
        g_bias[:width],
        g_next[:width, : len(following)].T.contiguous() if len(following) else None,
        g_out,
        g_learned[:, :width],
    )
