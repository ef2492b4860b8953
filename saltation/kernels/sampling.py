"""Spike trains of independent bins in plain torch: the reference sampler."""

from __future__ import annotations

import torch
from torch import Tensor

from saltation.random import words


def bernoulli_trains(
    threshold: Tensor, steps: int, index: Tensor, *, seed: int, epoch: int, stream: int
) -> Tensor:
    """Spikes where a 32-bit draw lies below the site's threshold.

    Parameters
    ----------
    threshold
        int64 ``[B, F]`` in [0, 2**32]: a site spikes in each step with probability
        ``threshold / 2**32``. Integers, so that all backends decide alike.
    steps
        T.
    index
        int64 ``[B]``: each sample's number, which with seed, epoch and stream fixes its train.

    Returns
    -------
    bool ``[T, B, F]``.
    """
    batch, sites = threshold.shape
    spikes = torch.zeros(steps, batch * sites, dtype=torch.bool, device=threshold.device)
    possible = threshold.flatten().nonzero().squeeze(1)
    limit = threshold.flatten()[possible]
    sample, site = index[possible // sites], possible % sites
    for block in range((steps + 3) // 4):
        draws = words(block, site, sample, seed=seed, epoch=epoch, stream=stream)
        for t, draw in enumerate(draws[: steps - 4 * block], start=4 * block):
            spikes[t, possible] = draw < limit
    return spikes.view(steps, batch, sites)
