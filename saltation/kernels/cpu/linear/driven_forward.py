"""A layer of neurons driven by weighted spikes, forward, sample by sample.

The currents of one sample, all steps of a block of neurons, stay in cache between the product that
adds them up and the time loop that consumes them; spikes leave as events.

Weights ``[O, F]`` are read by columns, ``[F, O]``, and neurons in blocks of `BLOCK`, whose arrays
over all steps are matrices of their own; O is filled up to full vectors and blocks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from saltation.kernels.cpu.events.trains import emit, words
from saltation.kernels.cpu.linear.currents import Scratch, crowded, ready, scratch_of, sum_tables
from saltation.kernels.cpu.linear.source import BLOCK, OFTEN, PART, Source, gather, sourced
from saltation.kernels.cpu.neurons.cell import Cell, cell_of, run_driven
from saltation.kernels.cpu.runtime.buffers import Loan
from saltation.kernels.cpu.runtime.finite import NotFinite, none_in
from saltation.kernels.cpu.runtime.jit import kernel, subroutine
from saltation.kernels.cpu.runtime.simd import LANES
from saltation.kernels.cpu.runtime.threads import spread
from saltation.kernels.events import Events, every_site
from saltation.kernels.program.graph import Program
from saltation.kernels.reference import Stage


class Stored(NamedTuple):
    """Which arrays have an entry per sample; the others have one per worker, used again."""

    x: bool
    states: bool


class Kept(NamedTuple):
    """What backward needs of a layer.

    Currents ``x`` [., blocks, T, BLOCK] and states ``[., blocks, ., T, BLOCK]`` at the end of each
    step before the jump, as far as they were stored; and the neurons as they were then.
    """

    events: Events
    x: NDArray[np.float32]
    states: NDArray[np.float32]
    stored: Stored
    loan: Loan
    cell: Cell


@subroutine
def run(
    b: int,
    end: int,
    block: int,
    source: Source,
    bias: NDArray[Any],
    worker: int,
    scratch: Scratch,
    x: NDArray[Any],
    states: NDArray[Any],
    marks: NDArray[Any],
    cell: Cell,
) -> None:
    """``states`` [., T, BLOCK] and spikes ``marks`` [T, .] of a block of neurons in sample ``b`` up
    to step ``end``; ``x`` [T, BLOCK] gets the currents, if backward reads them, or is scratch."""
    lo, hi, rows = source.offsets[b], source.offsets[b + 1], source.rows[b]
    local, line = scratch.local[worker], scratch.line[worker]
    spikes = rows[end] - rows[0]
    places = source.places[rows[0] :]
    first = BLOCK * block
    stop = min(BLOCK, source.weight.shape[1] - first)
    summed = crowded(b, source)
    # Weights that are taken often are worth a copy of them side by side, which stays in cache.
    often = summed or spikes > OFTEN * (hi - lo)
    weight, found = (local, places) if often else (source.weight, line)
    if summed:
        x[:end] = 0
    elif not often:
        for e in range(spikes):
            line[e] = source.sites[lo + places[e]]
    for part in range(0, stop, PART):
        width = min(PART, stop - part)
        at = first + part
        if summed:
            sum_tables(b, end, at, width, source, worker, scratch, x, part)
        elif often:
            gather(lo, hi, at, width, source, local)
        if often:
            at = 0
        run_driven(
            *(summed, weight, at, found, rows, end, x, bias, first, part, width),
            *(states, marks, cell),
        )


@kernel
def _forward(
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
    spikes: NDArray[Any],
    rows: NDArray[Any],
    places: NDArray[Any],
    bits: NDArray[Any],
    finite: NDArray[Any],
    width: int,
    cell: Cell,
) -> None:
    """Workers ``start ... stop``, each with its share of the samples.

    ``marks`` [workers, T, .], which is the same memory as ``spikes``, is scratch; the spikes go to
    ``rows``, ``places`` and ``bits``. ``finite`` [workers] tells whether all potentials are.
    """
    batch, steps = len(rows), rows.shape[1] - 1
    for worker in range(start, stop):
        finite[worker] = True
        for b in range(batch * worker // workers, batch * (worker + 1) // workers):
            ready(b, source, worker, scratch)
            for block in range(-(-source.weight.shape[1] // BLOCK)):
                currents = x[b if stored.x else worker, block if stored.x else 0]
                h = states[b if stored.states else worker, block if stored.states else 0]
                run(
                    *(b, steps, block, source, bias, worker, scratch),
                    *(currents, h, marks[worker], cell),
                )
                # NaN lasts, and an infinity, in every model: the last step tells of all.
                known = min(BLOCK, width - BLOCK * block)
                for n in range(len(h)):
                    finite[worker] &= none_in(h[n, steps - 1].view(np.int32)[:known])
            emit(b, width, spikes[worker], rows[b], places, bits)


def bias_of(source: Source) -> NDArray[np.float32]:
    """The bias, also where there is none."""
    return source.bias if len(source.bias) else np.zeros(source.weight.shape[1], np.float32)


def forward(
    stage: Stage, program: Program, events: Events, *, keep: bool, trains: bool
) -> tuple[Events, Kept | None]:
    """Spikes of the neurons, which are at rest before the first step.

    Parameters
    ----------
    stage, program, events
        The layer, the program of its neurons, and the spikes that drive it.
    keep
        Whether `backward` will be called.
    trains
        Whether the next layer will ask for the spikes site by site.

    Raises
    ------
    NotFinite
        If a weight is not finite, or with ``keep`` a potential: backward leaves out the steps
        that no gradient reaches, where it would have become NaN.
    """
    steps, batch, sites = events.shape
    width = len(stage.weight)
    source = sourced(events, stage.weight, stage.bias)
    blocks = -(-source.weight.shape[1] // BLOCK)
    workers = max(1, min(torch.get_num_threads(), batch // 2))
    store = keep and stage.memory == "store"
    stored = Stored(x=store and program.reads_current, states=store)
    kept, scratch, emitted = Loan(), Loan(), Loan()
    x = (
        kept.array(batch, blocks, steps, BLOCK)
        if stored.x
        else scratch.array(workers, 1, steps, BLOCK)
    )
    states = (
        kept.array(batch, blocks, len(program.kept), steps, BLOCK)
        if store
        else scratch.array(workers, 1, len(program.kept), steps, BLOCK)
    )
    marks = scratch.array(workers, steps, blocks * BLOCK // LANES, dtype=torch.uint16)
    rows = np.empty((batch, steps + 1), np.int64)
    rows[:, 0] = np.arange(batch) * (steps * width)
    places = emitted.array(batch * steps * width, dtype=torch.int32)
    bits = emitted.array(words(steps), batch * width if trains else 0, dtype=torch.uint64)
    finite = np.empty(workers, np.bool_)
    cell = cell_of(stage.neuron, program, width, "forward driven")
    spread(
        _forward,
        workers,
        workers,
        stored,
        source,
        bias_of(source),
        scratch_of(scratch, workers, steps, sites),
        x,
        states,
        marks,
        marks.view(np.uint64),
        rows,
        places,
        bits,
        finite,
        width,
        cell,
        least=1,
    )
    if keep and not finite.all():
        raise NotFinite("a potential is not finite")
    spikes = Events((steps, batch, width), *every_site(batch, width), rows, places, bits, emitted)
    return spikes, Kept(events, x, states, stored, kept, cell) if keep else None
