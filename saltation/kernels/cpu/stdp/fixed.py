"""A layer whose weights are fixed, driven by spike trains, some of which are on at most steps.

An image's brightest pixels spike nearly always. Their weights are added up once per sample, and
taken away where they are silent: the work is in the changes, of which there are at most half as
many as steps. No derivative goes through this loop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from saltation.kernels.competition import Emitted
from saltation.kernels.cpu.events.trains import WORD, emit, list_events, mark, words
from saltation.kernels.cpu.linear.source import BLOCK, PART, Source, sourced
from saltation.kernels.cpu.neurons.cell import Cell, cell_of, run_rested
from saltation.kernels.cpu.runtime.buffers import Loan, fresh
from saltation.kernels.cpu.runtime.jit import kernel, subroutine
from saltation.kernels.cpu.runtime.simd import LANES, add_rows, copy_row, ones
from saltation.kernels.cpu.runtime.threads import spread
from saltation.kernels.events import Events, SpikeTensor, every_site
from saltation.kernels.program.program import program_of
from saltation.kernels.reference import Stage


@subroutine
def _changes(
    b: int,
    steps: int,
    source: Source,
    mostly: NDArray[Any],
    bits: NDArray[Any],
    rows: NDArray[Any],
    places: NDArray[Any],
) -> None:
    """Which sites of sample ``b`` are on at most steps, and where every site is not as usual: as
    events of ``bits`` [words, F]."""
    lo, count = source.offsets[b], source.offsets[b + 1] - source.offsets[b]
    for i in range(count):
        on = 0
        for k in range(len(bits)):
            on += ones(source.bits[k, lo + i])
        mostly[i] = 2 * on > steps
        for k in range(len(bits)):
            word = source.bits[k, lo + i]
            if mostly[i]:
                word = ~word
                inside = steps - WORD * k
                if inside < WORD:
                    word &= (np.uint64(1) << np.uint64(inside)) - np.uint64(1)
            bits[k, i] = word
    rows[0] = 0
    list_events(0, count, bits, rows, places)


@subroutine
def _drive(
    b: int,
    first: int,
    width: int,
    source: Source,
    mostly: NDArray[Any],
    rows: NDArray[Any],
    places: NDArray[Any],
    local: NDArray[Any],
    base: NDArray[Any],
    x: NDArray[Any],
) -> None:
    """Currents ``x`` [T, BLOCK] of sample ``b`` for neurons ``first ... first + width``; ``local``
    [F, PART] and ``base`` [1, PART] are scratch."""
    lo, count = source.offsets[b], source.offsets[b + 1] - source.offsets[b]
    for part in range(0, width, PART):
        size = min(PART, width - part)
        at = first + part
        usual = base[0, :size]
        usual[:] = 0
        if len(source.bias):
            for o in range(size):
                usual[o] = source.bias[at + o]
        for i in range(count):
            site = int(source.sites[lo + i])
            if mostly[i]:
                # Slices, so that the loop is vectorised.
                row, into = source.weight[site, at : at + size], local[i, :size]
                for o in range(size):
                    usual[o] += row[o]
                    into[o] = -row[o]
            else:
                copy_row(local, i, 0, source.weight, site, at, size)
        for t in range(len(x)):
            copy_row(x, t, part, base, 0, 0, size)
            add_rows(x, t, part, local, 0, places, rows[t], rows[t + 1], size)


@kernel
def _forward(
    start: int,
    stop: int,
    workers: int,
    source: Source,
    mostly: NDArray[Any],
    bits: NDArray[Any],
    rows: NDArray[Any],
    places: NDArray[Any],
    local: NDArray[Any],
    base: NDArray[Any],
    x: NDArray[Any],
    running: NDArray[Any],
    s: NDArray[Any],
    marks: NDArray[Any],
    spikes: NDArray[Any],
    out_rows: NDArray[Any],
    out_places: NDArray[Any],
    no_bits: NDArray[Any],
    counts: NDArray[Any],
    cell: Cell,
) -> None:
    """Workers ``start ... stop``, each with its share of the samples and with scratch of its own;
    ``marks`` [workers, T, .] is the same memory as ``spikes``, which go to ``out_rows`` and
    ``out_places``, their number to ``counts`` [B, O]."""
    batch, size, width = len(out_rows), source.weight.shape[1], counts.shape[1]
    steps = x.shape[1]
    for w in range(start, stop):
        for b in range(batch * w // workers, batch * (w + 1) // workers):
            _changes(b, steps, source, mostly[w], bits[w], rows[w], places[w])
            for block in range(-(-size // BLOCK)):
                first = BLOCK * block
                part = min(BLOCK, size - first)
                _drive(
                    *(b, first, part, source, mostly[w], rows[w], places[w]),
                    *(local[w], base[w], x[w]),
                )
                here = s[w]
                run_rested(part, steps, x[w], running[w], here, cell)
                mark(here, part, marks[w], first)
                known = min(part, width - first)
                total = counts[b, first : first + known]
                total[:] = 0
                for t in range(steps):
                    for o in range(known):
                        total[o] += here[t, o]
            emit(b, width, spikes[w], out_rows[b], out_places, no_bits)


def forward(events: Events, stage: Stage) -> Emitted:
    """As `competition.fixed` for the spikes ``events``, to the rounding of sums; the spikes have
    no bits."""
    steps, batch, sites = events.shape
    width = len(stage.weight)
    source = sourced(events, stage.weight, stage.bias)
    blocks = -(-source.weight.shape[1] // BLOCK)
    variables = len(stage.neuron.State._fields)
    workers = max(1, min(torch.get_num_threads(), batch))
    scratch, kept = Loan(), Loan()
    rows = np.empty((batch, steps + 1), np.int64)
    rows[:, 0] = np.arange(batch) * (steps * width)
    places = kept.array(batch * steps * width, dtype=torch.int32)
    bits = np.empty((words(steps), 0), np.uint64)
    counts = fresh(batch, width)
    marks = scratch.array(workers, steps, blocks * BLOCK // LANES, dtype=torch.uint16)
    spread(
        _forward,
        workers,
        workers,
        source,
        scratch.array(workers, sites, dtype=torch.uint8),
        scratch.array(workers, words(steps), sites, dtype=torch.uint64),
        scratch.array(workers, steps + 1, dtype=torch.int64),
        scratch.array(workers, steps * sites, dtype=torch.int32),
        scratch.array(workers, sites, PART),
        scratch.array(workers, 1, PART),
        scratch.array(workers, steps, BLOCK),
        scratch.array(workers, variables, BLOCK),
        scratch.array(workers, steps, BLOCK),
        marks,
        marks.view(np.uint64),
        rows,
        places,
        bits,
        counts.numpy(),
        cell_of(stage.neuron, program_of(stage.neuron, stage.spike), width, "forward"),
        least=1,
    )
    spikes = Events((steps, batch, width), *every_site(batch, width), rows, places, bits, kept)
    return Emitted(SpikeTensor(spikes), counts)
