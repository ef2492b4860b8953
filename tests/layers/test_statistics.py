"""Spike statistics: counts by hand, merging over batches, and a watch that leaves nothing."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import nn

import saltation as st
from saltation.errors import SaltationError
from saltation.layers import counted, merged, watch_potentials


def numbers(statistics: st.SpikeStatistics) -> list[float]:
    """All figures of a statistic."""
    return [
        statistics.mean_spike_rate,
        statistics.active_fraction,
        statistics.silent_fraction,
        statistics.dead_fraction,
    ]


def test_by_hand() -> None:
    """Two steps, two samples, three neurons; the last never spikes."""
    statistics = st.SpikeStatistics()
    statistics.update(torch.tensor([[[1.0, 0, 0], [1, 1, 0]], [[0, 0, 0], [1, 0, 0]]]))
    assert numbers(statistics) == pytest.approx([4 / 12, 4 / 12, 8 / 12, 1 / 3])
    assert statistics.rates is not None
    assert statistics.rates.tolist() == pytest.approx([3 / 4, 1 / 4, 0])


def test_before_the_first_batch() -> None:
    """No figure is made up."""
    assert all(map(math.isnan, numbers(st.SpikeStatistics())))
    assert st.SpikeStatistics().rates is None


@given(some.lists(some.integers(1, 5), min_size=1, max_size=4), some.integers(0, 1000))
def test_batches_add_up(sizes: list[int], seed: int) -> None:
    """Batches of any sizes one by one are all of them at once; dead means in none of them."""
    noise = torch.Generator().manual_seed(seed)
    spikes = (torch.rand(3, sum(sizes), 2, 4, generator=noise) < 0.15).float()
    whole, parts = st.SpikeStatistics(), st.SpikeStatistics()
    whole.update(spikes)
    for part in spikes.split(sizes, dim=1):
        parts.update(part)
    assert numbers(parts) == numbers(whole)
    assert parts.dead_fraction == pytest.approx(1 - spikes.amax(dim=(0, 1)).mean().item(), abs=1e-6)


def test_other_neurons_are_refused() -> None:
    """One neuron would be added to all of three."""
    statistics = st.SpikeStatistics()
    statistics.update(torch.ones(2, 2, 3))
    before = numbers(statistics)
    for neurons in (1, 4):
        with pytest.raises(st.SaltationError, match=f"of 3 neurons .* the spikes of {neurons}"):
            statistics.update(torch.ones(2, 2, neurons))
    with pytest.raises(st.SaltationError, match=r"spikes must be \[T, B, ...\], got"):
        statistics.update(torch.ones(3))
    assert numbers(statistics) == before


def network() -> nn.Sequential:
    """Two hidden layers that spike under positive input."""
    made = st.spiking_mlp((3, 4, 5, 2))
    for parameter in made.parameters():
        nn.init.constant_(parameter, 1.0)
    return made


def test_watch_counts_what_the_layers_emit() -> None:
    """By the names of the layers, over all calls in the block."""
    made = network()
    x = torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(0))
    with st.watch(made) as statistics:
        made(x)
        made(x[:3])
    assert list(statistics) == ["1", "3"]
    first = [made[:2](x), made[:2](x[:3])]
    assert statistics["1"].spikes == sum(int(s.sum()) for s in first) > 0
    assert statistics["1"].sites == (6 + 3) * 2 * 4
    assert statistics["3"].sites == (6 + 3) * 2 * 5


def test_watch_counts_calls_with_a_state() -> None:
    """A layer that returns (spikes, state) is counted by its spikes."""
    layer = st.LIF()
    x = torch.full((4, 2, 3), 10.0)
    with st.watch(nn.Sequential(layer)) as statistics:
        layer(x, layer.rest(x[0]))
    assert statistics["0"].mean_spike_rate == 1.0


def test_watch_removes_its_hooks_even_after_an_error() -> None:
    """After the block nothing is counted and no hook is left."""
    made = network()
    with pytest.raises(KeyError), st.watch(made) as statistics:
        raise KeyError
    made(torch.ones(2, 1, 3))
    assert statistics["1"].sites == 0
    assert all(not m._forward_hooks for m in made.modules())


def test_watch_does_not_change_outputs_or_gradients() -> None:
    """Watching is looking only."""
    made = network()
    x = torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (plain,) = torch.autograd.grad(made(x).sum(), x)
    with st.watch(made):
        (watched,) = torch.autograd.grad(made(x).sum(), x)
    assert torch.equal(plain, watched)


def test_merged_takes_layers_together() -> None:
    """Rates weigh by sites, dead neurons by neurons."""
    one, two = st.SpikeStatistics(), st.SpikeStatistics()
    one.update(torch.tensor([[[1.0, 0.0]]]))
    two.update(torch.zeros(1, 1, 6))
    whole = merged({"one": one, "two": two, "unused": st.SpikeStatistics()})
    assert numbers(whole) == pytest.approx([1 / 8, 1 / 8, 7 / 8, 7 / 8])
    assert math.isnan(merged({}).dead_fraction)


def test_potentials_of_the_first_call() -> None:
    """Those of `record`, of every layer; outputs are what they are without."""
    torch.manual_seed(0)
    net = st.spiking_mlp((6, 5, 4), readout="spike_count", dt=0.5)
    x = st.poisson(torch.rand(3, 6), steps=7)
    plain = net(x)
    with watch_potentials(net) as kept:
        assert torch.equal(net(x), plain)
        net(x * 0)
    first = net[1].record(net[0](x))  # type: ignore[operator, union-attr]
    assert set(kept) == {"1", "3"}
    torch.testing.assert_close(kept["1"], first.h)
    assert kept["3"].shape == (7, 3, 4)
    assert torch.equal((kept["1"] >= 1).float(), first.spikes)


def test_steps_behind_the_end_of_a_sample_are_not_counted() -> None:
    """Whether a layer is called with all steps, or with some after the other."""
    layer, mask = st.LIF(), st.lengths_mask(torch.tensor([5, 2]), 6)
    x = torch.full((6, 2, 3), 9.0)  # spikes at every step
    with st.watch(layer) as statistics:
        with counted(mask):
            layer(x)
        with counted(mask):
            for some in x.split(4):
                layer(some)
        layer(x)
    (one,) = statistics.values()
    assert (one.spikes, one.sites) == (2 * 7 * 3 + 36, 2 * 7 * 3 + 36)
    with pytest.raises(SaltationError, match=r"mask must be \[T, B\] = \[6, 2\], got \[5, 2\]"):
        st.SpikeStatistics().update(x, mask[:5])
