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

from saltation.kernels.cpu.buffers import Loan
from saltation.kernels.cpu.jit import compiled, kernel
from saltation.kernels.cpu.simd import lowest
from saltation.kernels.cpu.support import apart
from saltation.kernels.cpu.threads import spread
from saltation.kernels.cpu.trains import WORD, list_events, words
from saltation.kernels.events import Events
from saltation.kernels.sampling import REST, REST_BLOCKS, TOP
from saltation.random import epoch_word, key, philox

compiled(philox)

_WAITING = 64  # draws that are decided together


@kernel
def _active(x: NDArray[Any], places: NDArray[Any], rates: NDArray[Any]) -> int:
    """Flat places of the numbers of ``x`` that are not 0, and these; how many there are."""
    found = 0
    for i in range(len(x)):
        places[found] = i
        rates[found] = x[i]
        found += x[i] != 0
    return found


def active(x: Tensor) -> tuple[Tensor, Tensor]:
    """Flat places (int64) and values (float64) of what is not 0 in the float32 tensor ``x``."""
    places = torch.empty(x.numel() + 1, dtype=torch.int64)
    rates = torch.empty(x.numel() + 1, dtype=torch.float64)
    found = _active(x.reshape(-1).numpy(), places.numpy(), rates.numpy())
    return places[:found], rates[:found]


@compiled
def _bits(word: int, top: int, first: int) -> int:
    """Of the four bytes of ``word``, from bit ``first`` on: which are below ``top``; and from 16
    bits higher on: which are equal to it."""
    b0, b1, b2, b3 = word & 255, (word >> 8) & 255, (word >> 16) & 255, word >> 24
    below = (b0 < top) | (b1 < top) << 1 | (b2 < top) << 2 | (b3 < top) << 3
    equal = (b0 == top) | (b1 == top) << 1 | (b2 == top) << 2 | (b3 == top) << 3
    return (below | equal << TOP) << first


@kernel
def _sample(
    start: int,
    stop: int,
    threshold: NDArray[Any],
    index: NDArray[Any],
    offsets: NDArray[Any],
    sites: NDArray[Any],
    bits: NDArray[Any],
    rows: NDArray[Any],
    places: NDArray[Any],
    times: NDArray[Any],
    found: NDArray[Any],
    open_: NDArray[Any],
    epoch: int,
    k0: int,
    k1: int,
) -> None:
    """Samples ``start ... stop``; ``found``, as long as ``sites``, and ``open_`` [B, 3, .] are
    scratch."""
    steps = rows.shape[1] - 1
    for b in range(start, stop):
        lo, hi = offsets[b], offsets[b + 1]
        sample, waiting = index[b], 0
        bits[:, lo:hi] = 0
        limit, site, code = threshold[lo:hi], sites[lo:hi], found[lo:hi]
        for block in range(-(-steps // TOP)):
            first = TOP * block
            inside = (1 << min(TOP, steps - first)) - 1
            # One array is written, so that the loop is vectorised.
            for i in range(hi - lo):
                w0, w1, w2, w3 = philox(block, np.int64(site[i]), sample, epoch, k0, k1)
                top = limit[i] >> 24
                code[i] = (
                    _bits(w0, top, 0) | _bits(w1, top, 4) | _bits(w2, top, 8) | _bits(w3, top, 12)
                )
            for i in range(hi - lo):
                spikes, equal = code[i] & inside, (code[i] >> TOP) & inside
                bits[first // WORD, lo + i] |= np.uint64(spikes) << np.uint64(first % WORD)
                while equal:
                    open_[b, 0, waiting] = i
                    open_[b, 1, waiting] = first + lowest(np.uint64(equal))
                    equal &= equal - 1
                    waiting += 1
                    if waiting == open_.shape[2]:
                        _decide(lo, waiting, open_[b], limit, site, bits, sample, epoch, k0, k1)
                        waiting = 0
        _decide(lo, waiting, open_[b], limit, site, bits, sample, epoch, k0, k1)
        list_events(lo, hi, bits, times, rows[b], places)


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
    batch: Tensor,
    site: Tensor,
    threshold: Tensor,
    shape: tuple[int, int, int],
    index: Tensor,
    *,
    seed: int,
    epoch: int,
    stream: int,
) -> Events:
    """As `sampling.bernoulli_trains`, but the events."""
    steps, size, _ = shape
    offsets = torch.searchsorted(batch, torch.arange(size + 1)).numpy()
    sites = site.to(torch.int32).numpy()
    bits = np.empty((words(steps), len(sites)), np.uint64)
    rows = np.empty((size, steps + 1), np.int64)
    np.multiply(offsets[:-1], steps, out=rows[:, 0])
    loan = Loan()
    places = loan.array(len(sites) * steps, dtype=torch.int32)
    times = loan.array(len(sites) * steps, dtype=torch.int16)
    found, open_ = np.empty(len(sites), np.int64), np.empty((size, 3, _WAITING), np.int64)
    numbers = (epoch_word(epoch, stream), *key(seed))
    arrays = (threshold.numpy(), index.contiguous().numpy(), offsets, sites, bits, rows, places)
    spread(_sample, size, *arrays, times, found, open_, *numbers, least=4)
    return Events(shape, offsets, sites, rows, places, bits, times, loan)
