"""A layer in which one neuron wins every step: currents of its spikes, time loop and competition of
one sample after another."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.competition import Emitted
from saltation.kernels.cpu.linear.currents import Scratch, drive, ready, scratch_of
from saltation.kernels.cpu.linear.source import BLOCK, Source, sourced
from saltation.kernels.cpu.neurons.cell import Cell, cell_of, run_rested
from saltation.kernels.cpu.runtime.buffers import Loan, fresh
from saltation.kernels.cpu.runtime.finite import NotFinite, finite
from saltation.kernels.cpu.runtime.jit import compiled, kernel
from saltation.kernels.cpu.runtime.threads import spread
from saltation.kernels.events import Events
from saltation.kernels.program.program import program_of
from saltation.kernels.reference import Stage

MOST = BLOCK  # neurons that can compete here


@compiled
def _winner(x: NDArray[Any], s: NDArray[Any], width: int) -> int:
    """Of currents ``x`` and spikes ``s`` of one step: the neuron that keeps its spike, or -1."""
    best, some = 0, False
    for o in range(width):
        some |= s[o] != 0
        if x[o] > x[best]:
            best = o
    return best if some else -1


@kernel
def _compete(
    start: int,
    stop: int,
    workers: int,
    source: Source,
    teach: NDArray[Any],
    scratch: Scratch,
    x: NDArray[Any],
    running: NDArray[Any],
    s: NDArray[Any],
    out: NDArray[Any],
    counts: NDArray[Any],
    cell: Cell,
) -> None:
    """Workers ``start ... stop``, each with its share of the samples and with scratch of its own;
    spikes go to ``out`` [T, B, O], their number to ``counts`` [B, O]."""
    steps, batch, width = out.shape
    size = source.weight.shape[1]
    for w in range(start, stop):
        currents, spikes = x[w], s[w]
        for b in range(batch * w // workers, batch * (w + 1) // workers):
            ready(b, source, w, scratch)
            drive(b, steps, 0, size, source, w, scratch, currents)
            for t in range(steps):
                for o in range(width):
                    currents[t, o] += teach[b, o]
            run_rested(size, steps, currents, running[w], spikes, cell)
            counts[b] = 0
            for t in range(steps):
                out[t, b] = 0
                best = _winner(currents[t], spikes[t], width)
                if best >= 0:
                    out[t, b, best] = 1
                    counts[b, best] += 1


def forward(events: Events, stage: Stage, teach: Tensor) -> Emitted:
    """As `competition.compete` for the spikes ``events``, whose weights are added up as in
    `currents`; at most `MOST` neurons. Raises `NotFinite` if a weight or a current is not."""
    if not finite(teach) or not (stage.bias is None or finite(stage.bias)):
        raise NotFinite("a current is not finite")
    steps, batch, sites = events.shape
    width = len(stage.weight)
    source = sourced(events, stage.weight, stage.bias)
    variables = len(stage.neuron.State._fields)
    workers = max(1, min(torch.get_num_threads(), batch))
    loan = Loan()
    out, counts = fresh(steps, batch, width), fresh(batch, width)
    spread(
        _compete,
        workers,
        workers,
        source,
        np.ascontiguousarray(teach.detach().numpy()),
        scratch_of(loan, workers, steps, sites),
        loan.array(workers, steps, BLOCK),
        loan.array(workers, variables, BLOCK),
        loan.array(workers, steps, BLOCK),
        out.numpy(),
        counts.numpy(),
        cell_of(stage.neuron, program_of(stage.neuron, stage.spike), width, "forward"),
        least=1,
    )
    return Emitted(out, counts)
