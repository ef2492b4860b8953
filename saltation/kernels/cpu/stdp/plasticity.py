"""Spike-timing-dependent plasticity event by event, sample by sample.

What a pair of spikes adds to a synapse reaches its weight through every later third factor. Summed
from the last step back, with the decay of the eligibility, these are one number per step, known
before the first pair is: so a pair is one addition, and the eligibility itself is not needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu.linear.source import padded
from saltation.kernels.cpu.runtime.buffers import Loan, fresh
from saltation.kernels.cpu.runtime.finite import NotFinite, finite
from saltation.kernels.cpu.runtime.jit import f32, kernel
from saltation.kernels.cpu.runtime.threads import spread
from saltation.kernels.events import Events
from saltation.kernels.plasticity import Pair


@kernel
def _change(
    start: int,
    stop: int,
    workers: int,
    offsets: NDArray[Any],
    sites: NDArray[Any],
    rows: NDArray[Any],
    places: NDArray[Any],
    post: NDArray[Any],
    factor: NDArray[Any],
    x: NDArray[Any],
    y: NDArray[Any],
    minus: NDArray[Any],
    gain: NDArray[Any],
    change: NDArray[Any],
    p: Pair,
) -> None:
    """Workers ``start ... stop``, each with its share of the samples of ``change`` [B, C, H].

    Traces ``x`` [workers, H] and ``y`` [workers, C up to full vectors], depression ``minus``
    [workers, H, C up to full vectors] and ``gain`` [workers, T] are scratch.
    """
    steps, batch, classes = post.shape
    for w in range(start, stop):
        before, after, down, later = x[w], y[w], minus[w], gain[w]
        for b in range(batch * w // workers, batch * (w + 1) // workers):
            up, lo = change[b], offsets[b]
            before[:] = 0
            after[:] = 0
            down[:] = 0
            up[:] = 0
            total = np.float32(0)
            for back in range(1, steps + 1):
                total = factor[steps - back, b] + p.keep * total
                later[steps - back] = total
            fired = False
            for t in range(steps):
                reach = later[t]
                for h in range(len(before)):
                    before[h] *= p.keep_pre
                first, last = rows[b, t], rows[b, t + 1]
                for e in range(first, last):
                    before[sites[lo + places[e]]] += np.float32(1)
                if fired:
                    for c in range(len(after)):
                        after[c] *= p.keep_post
                    if reach != 0:
                        weight = p.a_minus * reach
                        for e in range(first, last):
                            row = down[sites[lo + places[e]]]
                            for c in range(len(row)):
                                row[c] += weight * after[c]
                for c in range(classes):
                    if post[t, b, c] != 0:
                        fired = True
                        after[c] += np.float32(1)
                        row, weight = up[c], p.a_plus * reach
                        for h in range(len(row)):
                            row[h] += weight * before[h]
            for c in range(classes):
                row = up[c]
                for h in range(len(row)):
                    row[h] -= down[h, c]


def forward(events: Events, post: Tensor, factor: Tensor, pair: Pair) -> Tensor:
    """As `plasticity.run` for presynaptic spikes ``events``, to rounding; raises `NotFinite` if the
    other spikes or the third factor are not."""
    if not (finite(post) and finite(factor)):
        raise NotFinite("the third factor is not finite")
    _, batch, sites = events.shape
    classes = post.shape[2]
    workers = max(1, min(torch.get_num_threads(), batch))
    change = fresh(batch, classes, sites)
    scratch = Loan()
    size = padded(classes)
    spread(
        _change,
        workers,
        workers,
        events.offsets,
        events.sites,
        events.rows,
        events.places,
        post.contiguous().numpy(),
        factor.contiguous().numpy(),
        scratch.array(workers, sites),
        scratch.array(workers, size),
        scratch.array(workers, sites, size),
        scratch.array(workers, len(post)),
        change.numpy(),
        f32(pair),
        least=1,
    )
    return change
