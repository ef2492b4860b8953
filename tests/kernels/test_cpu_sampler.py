"""The compiled sampler draws the bits of the reference sampler."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import Tensor

import saltation as st
from saltation.kernels import dispatch, sampling


def thresholds(batch: int, sites: int, seed: int) -> Tensor:
    """All kinds: never, always, rarely, nearly always, and anything between."""
    noise = torch.Generator().manual_seed(seed)
    ends = torch.tensor([0, 2**32, 1, 2**32 - 1])
    kind = torch.randint(0, 8, (batch, sites), generator=noise)
    inner = torch.randint(0, 2**32, (batch, sites), generator=noise)
    return torch.where(kind < 4, ends[kind.clamp(max=3)], inner)


@given(
    batch=some.integers(1, 9),
    sites=some.integers(1, 40),
    steps=some.integers(1, 13),
    first=some.integers(0, 2**32 - 10),
    seed=some.integers(0, 2**64 - 1),
    epoch=some.integers(0, 2**28 - 1),
    stream=some.integers(0, 15),
)
def test_equal_bits(
    batch: int, sites: int, steps: int, first: int, seed: int, epoch: int, stream: int
) -> None:
    """Any shape, index, seed, epoch and stream."""
    threshold = thresholds(batch, sites, seed % 1000)
    index = torch.arange(first, first + batch).flip(0)
    draw = {"seed": seed, "epoch": epoch, "stream": stream}
    ours = dispatch.bernoulli_trains(threshold, steps, index, torch.float32, **draw)
    expected = sampling.bernoulli_trains(threshold, steps, index, **draw)
    assert ours.dtype == torch.float32
    assert torch.equal(ours, expected.float())


def test_any_number_of_threads(threads: None) -> None:
    """The same bits with 1, 2, 3 and 8, and in double precision, which takes the reference."""
    x = 2 * torch.rand(37, 50, generator=torch.Generator().manual_seed(0))
    expected = st.poisson(x.double(), 11, 0.5, seed=3).float()
    for number in (1, 2, 3, 8):
        torch.set_num_threads(number)
        # The same probabilities: float32 rates are widened before anything is computed.
        assert torch.equal(st.poisson(x, 11, 0.5, seed=3), expected)
