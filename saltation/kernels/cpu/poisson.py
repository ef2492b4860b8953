"""The sampler of `kernels.sampling`, compiled: the same bits, drawn only where a spike can be."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation import random
from saltation.kernels.cpu.jit import compiled, kernel, source_of, spread
from saltation.random import epoch_word, key, philox

_SOURCE = source_of(random)

compiled(philox)


@kernel
def _sample(
    start: int,
    stop: int,
    threshold: NDArray[Any],
    index: NDArray[Any],
    site: NDArray[Any],
    limit: NDArray[Any],
    bits: NDArray[Any],
    spikes: NDArray[Any],
    epoch: int,
    k0: int,
    k1: int,
    source: int = _SOURCE,
) -> None:
    """Samples ``start ... stop``; ``site``, ``limit`` and ``bits`` of [B, F] are scratch."""
    steps, _, sites = spikes.shape
    for b in range(start, stop):
        sample = index[b]
        places, limits, words = site[b], limit[b], bits[b]
        possible = 0
        for f in range(sites):
            if threshold[b, f] > 0:
                places[possible] = f
                limits[possible] = threshold[b, f]
                possible += 1
        for block in range((steps + 3) // 4):
            # Four draws as four bits: one array to write, so that the loop is vectorised.
            for i in range(possible):
                w0, w1, w2, w3 = philox(block, places[i], sample, epoch, k0, k1)
                m = limits[i]
                words[i] = (w0 < m) | (w1 < m) << 1 | (w2 < m) << 2 | (w3 < m) << 3
            for t in range(4 * block, min(4 * block + 4, steps)):
                row, bit = spikes[t, b], t - 4 * block
                for f in range(sites):
                    row[f] = 0
                for i in range(possible):
                    row[places[i]] = (words[i] >> bit) & 1


@torch.compiler.disable  # type: ignore[untyped-decorator]
def bernoulli_trains(
    threshold: Tensor, steps: int, index: Tensor, *, seed: int, epoch: int, stream: int
) -> Tensor:
    """As `sampling.bernoulli_trains`, but float32 ``[T, B, F]``, 1 where a spike is."""
    batch, sites = threshold.shape
    spikes = torch.empty(steps, batch, sites)
    site, limit, bits = (torch.empty(batch, sites, dtype=torch.int64) for _ in range(3))
    arrays = (
        part.numpy()
        for part in (threshold.contiguous(), index.contiguous(), site, limit, bits, spikes)
    )
    spread(_sample, batch, *arrays, epoch_word(epoch, stream), *key(seed), least=4)
    return spikes
