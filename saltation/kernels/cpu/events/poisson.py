"""The sampler of `kernels.sampling`, compiled: the same spikes, drawn only where one can be.

A block of the generator gives the top eight bits of sixteen draws, compared with those of the
threshold in vectors over the sites; the few that are equal, one draw in 256, are decided one by
one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu.events.octets import put_sixteen
from saltation.kernels.cpu.events.trains import WORD, list_events, words
from saltation.kernels.cpu.events.words import draw
from saltation.kernels.cpu.runtime.buffers import Loan
from saltation.kernels.cpu.runtime.jit import compiled, kernel
from saltation.kernels.cpu.runtime.simd import LANES, lowest, mask
from saltation.kernels.cpu.runtime.threads import spread
from saltation.kernels.events import Events
from saltation.kernels.sampling import REST, REST_BLOCKS, TOP, Sites
from saltation.kernels.support import apart
from saltation.random import epoch_word, key, philox

compiled(philox)

_WAITING = 64  # draws that are decided together


@kernel
def _count(start: int, stop: int, x: NDArray[Any], found: NDArray[Any]) -> None:
    """How many numbers of samples ``start ... stop`` of ``x`` [B, F] are not 0."""
    for b in range(start, stop):
        some = np.int32(0)
        for i in range(x.shape[1]):
            some += np.int32(x[b, i] != 0)
        found[b] = some


@kernel
def _active(
    start: int,
    stop: int,
    x: NDArray[Any],
    offsets: NDArray[Any],
    sites: NDArray[Any],
    rates: NDArray[Any],
) -> None:
    """Where the numbers of ``x`` that are not 0 are in their sample, and these."""
    width = x.shape[1]
    whole = width - width % LANES
    for b in range(start, stop):
        found, end = offsets[b], offsets[b + 1]
        for first in range(0, whole, LANES):
            found = put_sixteen(mask(x, b, first), first, sites, found, end)
        for i in range(whole, width):
            if x[b, i] != 0:
                sites[found] = i
                found += 1
        for e in range(offsets[b], end):
            rates[e] = x[b, sites[e]]


def active(x: Tensor) -> Sites:
    """What is not 0 in the float32 tensor ``x`` [B, F]."""
    numbers = x.contiguous().numpy()
    offsets = np.zeros(len(x) + 1, np.int64)
    spread(_count, len(x), numbers, offsets[1:], least=16)
    np.cumsum(offsets, out=offsets)
    sites, rates = np.empty(offsets[-1], np.int32), np.empty(offsets[-1])
    spread(_active, len(x), numbers, offsets, sites, rates, least=16)
    return Sites(*map(torch.from_numpy, (offsets, sites, rates)))


@kernel
def _sample(
    start: int,
    stop: int,
    workers: int,
    threshold: NDArray[Any],
    index: NDArray[Any],
    offsets: NDArray[Any],
    sites: NDArray[Any],
    bits: NDArray[Any],
    rows: NDArray[Any],
    places: NDArray[Any],
    codes: NDArray[Any],
    open_: NDArray[Any],
    epoch: int,
    k0: int,
    k1: int,
) -> None:
    """Workers ``start ... stop``, each with its share of the samples; ``codes`` [workers, 2, .] and
    ``open_`` [workers, 3, .] are scratch. ``threshold`` and ``sites`` are a vector longer than they
    need be."""
    steps, batch = rows.shape[1] - 1, len(rows)
    for worker in range(start, stop):
        code, those, waiting_room = codes[worker, 0], codes[worker, 1], open_[worker]
        for b in range(batch * worker // workers, batch * (worker + 1) // workers):
            lo, hi = offsets[b], offsets[b + 1]
            sample, waiting = index[b], 0
            bits[:, lo:hi] = 0
            limit, site = threshold[lo:hi], sites[lo:hi]
            for block in range(-(-steps // TOP)):
                first = TOP * block
                inside = np.int32((1 << min(TOP, steps - first)) - 1)
                some = 0
                for i in range(0, hi - lo, LANES):
                    which = draw(sites, threshold, lo + i, block, sample, epoch, k0, k1, code, i)
                    some = put_sixteen(which, i, those, some, len(those))
                while some and those[some - 1] >= hi - lo:  # behind the last site
                    some -= 1
                word, shift = bits[first // WORD, lo:hi], np.uint64(first % WORD)
                for i in range(hi - lo):
                    word[i] |= np.uint64(code[i] & inside) << shift
                for e in range(some):
                    i = those[e]
                    equal = (code[i] >> TOP) & inside
                    while equal:
                        waiting_room[0, waiting] = i
                        waiting_room[1, waiting] = first + lowest(np.uint64(equal))
                        equal &= equal - 1
                        waiting += 1
                        if waiting == _WAITING:
                            _decide(
                                lo, waiting, waiting_room, limit, site, bits, sample, epoch, k0, k1
                            )
                            waiting = 0
            _decide(lo, waiting, waiting_room, limit, site, bits, sample, epoch, k0, k1)
            list_events(lo, hi, bits, rows[b], places)


@compiled
def _decide(
    lo: int,
    waiting: int,
    open_: NDArray[Any],
    limit: NDArray[Any],
    site: NDArray[Any],
    bits: NDArray[Any],
    sample: int,
    epoch: int,
    k0: int,
    k1: int,
) -> None:
    """The draws whose top bits equal those of the threshold, by the others; ``open_`` [3, .] holds
    which site and step they are of."""
    which, step, below = open_[0], open_[1], open_[2]
    for e in range(waiting):
        i, t = which[e], step[e]
        w0, w1, w2, w3 = philox(REST_BLOCKS + t // REST, np.int64(site[i]), sample, epoch, k0, k1)
        k = t % REST
        w = w0 if k == 0 else (w1 if k == 1 else (w2 if k == 2 else w3))
        below[e] = w >> 8 < (limit[i] & 0xFFFFFF)
    for e in range(waiting):
        t = step[e]
        bits[t // WORD, lo + which[e]] |= np.uint64(below[e]) << np.uint64(t % WORD)


@apart
def bernoulli_trains(
    sites: Sites,
    threshold: Tensor,
    shape: tuple[int, int, int],
    index: Tensor,
    *,
    seed: int,
    epoch: int,
    stream: int,
) -> Events:
    """As `sampling.bernoulli_trains`, but the events."""
    steps, batch, features = shape
    count = len(threshold)
    offsets = sites.offsets.numpy()
    # A vector longer than they need be, for the draws of the last sites.
    site, limit = np.empty(count + LANES, np.int32), np.empty(count + LANES, np.int64)
    site[:count], limit[:count] = sites.sites.numpy(), threshold.numpy()
    site[count:] = limit[count:] = 0
    bits = np.empty((words(steps), count), np.uint64)
    rows = np.empty((batch, steps + 1), np.int64)
    np.multiply(offsets[:-1], steps, out=rows[:, 0])
    workers = max(1, min(torch.get_num_threads(), batch // 4))
    kept, scratch = Loan(), Loan()
    places = kept.array(count * steps, dtype=torch.int32)
    codes = scratch.array(workers, 2, features + LANES, dtype=torch.int32)
    open_ = scratch.array(workers, 3, _WAITING, dtype=torch.int64)
    numbers = (epoch_word(epoch, stream), *key(seed))
    arrays = (limit, index.contiguous().numpy(), offsets, site, bits, rows, places)
    spread(_sample, workers, workers, *arrays, codes, open_, *numbers, least=1)
    return Events(shape, offsets, site[:count], rows, places, bits, kept)
