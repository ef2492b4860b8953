"""The compiled sampler draws the spikes of the reference sampler."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import Tensor

import saltation as st
from saltation.kernels import dispatch_sampling, sampling
from saltation.kernels.events import events_of


def thresholds(places: int, seed: int) -> Tensor:
    """All kinds: never, always, rarely, nearly always, near a multiple of 2**24, and others."""
    noise = torch.Generator().manual_seed(seed)
    ends = torch.tensor([0, 2**32, 1, 2**32 - 1, 7 << 24, (9 << 24) - 1])
    kind = torch.randint(0, 12, (places,), generator=noise)
    inner = torch.randint(0, 2**32, (places,), generator=noise)
    return torch.where(kind < 6, ends[kind.clamp(max=5)], inner)


@given(
    batch=some.integers(1, 9),
    sites=some.integers(1, 40),
    steps=some.integers(1, 40) | some.integers(60, 70) | some.integers(125, 140),
    first=some.integers(0, 2**32 - 10),
    seed=some.integers(0, 2**64 - 1),
    epoch=some.integers(0, 2**28 - 1),
    stream=some.integers(0, 15),
)
def test_equal_bits(
    batch: int, sites: int, steps: int, first: int, seed: int, epoch: int, stream: int
) -> None:
    """Any shape, index, seed, epoch and stream, where some of the sites are left out."""
    noise = torch.Generator().manual_seed(seed % 1000)
    some_sites = sampling.active((torch.rand(batch, sites, generator=noise) < 0.7).double())
    threshold = thresholds(len(some_sites.sites), seed % 1000)
    given_ = (some_sites, threshold, (steps, batch, sites))
    index = torch.arange(first, first + batch).flip(0)
    draw = {"seed": seed, "epoch": epoch, "stream": stream}
    ours = dispatch_sampling.bernoulli_trains(*given_, index, torch.float32, **draw)
    expected = sampling.bernoulli_trains(*given_, index, **draw)
    assert ours.dtype == torch.float32
    assert torch.equal(ours, expected.float())


def test_half_of_the_equal_bytes_are_decided_by_the_rest() -> None:
    """A threshold in the middle of a byte: draws with this byte on top go by their rest."""
    site = torch.arange(4000)
    draws = sampling.draws(16, site, torch.zeros_like(site), seed=0, epoch=0, stream=0)
    same = draws >> 24 == 100
    threshold = torch.full((4000,), (100 << 24) + (1 << 23))
    spikes = sampling.bernoulli_trains(
        sampling.active(torch.ones(1, 4000)),
        threshold,
        (16, 1, 4000),
        torch.zeros(1).long(),
        seed=0,
        epoch=0,
        stream=0,
    )
    share = spikes[:, 0][same].float().mean().item()
    assert same.sum() > 150
    assert abs(share - 0.5) < 4 * 0.5 / same.sum().item() ** 0.5


@given(
    batch=some.integers(0, 40),
    sites=some.integers(0, 40),
    density=some.sampled_from([0.0, 0.1, 0.9, 1.0]),
    seed=some.integers(0, 99),
)
def test_equal_sites(batch: int, sites: int, density: float, seed: int) -> None:
    """What is not 0, of any memory order, as the reference finds it."""
    noise = torch.Generator().manual_seed(seed)
    x = torch.rand(sites, batch, generator=noise).T
    x = x * (torch.rand(batch, sites, generator=noise) < density)
    for ours, expected in zip(dispatch_sampling.active(x), sampling.active(x), strict=True):
        assert ours.dtype == expected.dtype
        assert torch.equal(ours, expected)


def test_any_number_of_threads(threads: None) -> None:
    """The same bits with 1, 2, 3 and 8, and in double precision, which takes the reference."""
    x = 2 * torch.rand(37, 50, generator=torch.Generator().manual_seed(0))
    expected = st.poisson(x.double(), 11, 0.5, seed=3).float()
    for number in (1, 2, 3, 8):
        torch.set_num_threads(number)
        # The same probabilities: float32 rates are widened before anything is computed.
        assert torch.equal(st.poisson(x, 11, 0.5, seed=3), expected)


def test_more_steps_than_16_bits_can_number() -> None:
    """A train of any length is drawn as events."""
    x = torch.tensor([[0.5, 0.0, 2.0]])
    spikes = st.poisson(x, 2**16 + 3, 0.5)
    assert events_of(spikes) is not None
    assert torch.equal(spikes, st.poisson(x.double(), 2**16 + 3, 0.5).float())


@given(
    density=some.sampled_from([0.0, 0.01, 0.3, 0.9]),
    steps=some.integers(1, 130),
    seed=some.integers(0, 99),
)
def test_events_are_the_same_by_step_and_by_site(density: float, steps: int, seed: int) -> None:
    """Rows of places and bits describe one train."""
    x = torch.rand(3, 17, generator=torch.Generator().manual_seed(seed))
    x = x * (x < 0.6) * density
    spikes = st.poisson(x, steps, 3.0, seed=seed)
    events = events_of(spikes)
    assert events is not None
    dense = spikes.to(torch.int64)
    assert events.total == dense.sum()
    for b in range(3):
        lo, hi = events.offsets[b], events.offsets[b + 1]
        for i in range(lo, hi):
            train = dense[:, b, events.sites[i]]
            bits = [int(events.bits[t // 64, i]) >> (t % 64) & 1 for t in range(steps)]
            assert bits == train.tolist()
        for t in range(steps):
            places = events.places[events.rows[b, t] : events.rows[b, t + 1]]
            sites = events.sites[lo + places]
            assert sites.tolist() == dense[t, b].nonzero().squeeze(1).tolist()
