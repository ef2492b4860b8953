"""Spike trains of independent bins in plain torch: the reference sampler.

Step t of a site has a draw of 32 bits, and spikes where it is below the site's threshold. The top
eight bits, which nearly always decide, are byte ``t % 16`` of the generator's block ``t // 16``, so
that one call of the generator serves sixteen steps; the other 24 are the top bits of word ``t % 4``
of block ``2**31 + t // 4``, and need to be known only where the top eight equal the threshold's.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from saltation.random import words

TOP, REST = 16, 4  # steps per block
REST_BLOCKS = 1 << 31


class Sites(NamedTuple):
    """Where a batch of rates ``[B, F]`` is not 0.

    Attributes
    ----------
    offsets
        int64 ``[B + 1]``: those of sample b are from ``offsets[b]`` up to ``offsets[b + 1]``.
    sites
        int32 ``[N]``: their place in the sample, ascending within it.
    rates
        float64 ``[N]``.
    """

    offsets: Tensor
    sites: Tensor
    rates: Tensor


def active(x: Tensor) -> Sites:
    """What is not 0 in the tensor ``x`` [B, F]."""
    sample, sites = x.nonzero(as_tuple=True)
    offsets = torch.zeros(len(x) + 1, dtype=torch.int64, device=x.device)
    offsets[1:] = (x != 0).sum(1).cumsum(0)
    return Sites(offsets, sites.int(), x[sample, sites].double())


def draws(
    steps: int, site: Tensor, sample: Tensor, *, seed: int, epoch: int, stream: int
) -> Tensor:
    """The draws of each (site, sample): int64 ``[T, N]`` in [0, 2**32)."""
    place = {"seed": seed, "epoch": epoch, "stream": stream}
    top = torch.stack(
        [
            word >> shift & 0xFF
            for block in range(-(-steps // TOP))
            for word in words(block, site, sample, **place)
            for shift in (0, 8, 16, 24)
        ]
    )
    rest = torch.stack(
        [
            word >> 8
            for block in range(-(-steps // REST))
            for word in words(REST_BLOCKS + block, site, sample, **place)
        ]
    )
    return top[:steps] << 24 | rest[:steps]


def bernoulli_trains(
    sites: Sites,
    threshold: Tensor,
    shape: tuple[int, int, int],
    index: Tensor,
    *,
    seed: int,
    epoch: int,
    stream: int,
) -> Tensor:
    """Spikes of the sites that can have any.

    Parameters
    ----------
    sites
        Which these are.
    threshold
        int64 ``[N]``, in [0, 2**32]: each spikes in each step with probability ``threshold /
        2**32``. Integers, so that all backends decide alike.
    shape
        ``(T, B, F)``.
    index
        int64 ``[B]``: each sample's number, which with seed, epoch and stream fixes its train.

    Returns
    -------
    bool ``[T, B, F]``.
    """
    steps, size, features = shape
    batch = torch.arange(size, device=index.device).repeat_interleave(sites.offsets.diff())
    spikes = torch.zeros(steps, size * features, dtype=torch.bool, device=index.device)
    site = sites.sites.long()
    drawn = draws(steps, site, index[batch], seed=seed, epoch=epoch, stream=stream)
    spikes[:, batch * features + site] = drawn < threshold
    return spikes.view(shape)
