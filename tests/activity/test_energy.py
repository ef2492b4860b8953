"""Operations against the counts of SpikingJelly and NeuroBench, and against counts by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from benchmarks.tutorials import TUTORIALS, reset
from tests.interop.conftest import snntorch, spikingjelly  # noqa: F401  # fixtures


def counted_by_spikingjelly(network: nn.Module, x: Tensor) -> tuple[int, int]:
    """SynOps and MACs of its counters, which listen to torch's operations.

    Without the MACs of batch normalisation, which in use is part of the weights before it.
    """
    from spikingjelly.activation_based.op_counter import mac, synop
    from spikingjelly.activation_based.op_counter.base import DispatchCounterMode

    counters = synop.SynOpCounter(), mac.MACCounter()
    reset("spikingjelly", network)
    with torch.no_grad(), DispatchCounterMode(list(counters)):
        network(x)
    reset("spikingjelly", network)
    found = [counter.get_counts()["Global"] for counter in counters]
    synops, macs = ({str(k): v for k, v in one.items() if "norm" not in str(k)} for one in found)
    return sum(synops.values()), sum(macs.values())


def neurobench(module: nn.Module, x: Tensor, everything: bool = False) -> tuple[int, bool]:
    """A layer's effective operations, and whether they are additions, as NeuroBench 2.3 has them.

    Its ``single_layer_MACs``: input and weights that are not zero become one, biases zero, and the
    layer's output is summed up. Inputs of -1, 0 and 1 are spikes.
    """
    spiking = not bool(((x != 0) & (x.abs() != 1)).any())
    layer: Any = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter[parameter != 0] = 1
        if layer.bias is not None:
            layer.bias.zero_()
        there = torch.ones_like(x) if everything else (x != 0).to(x.dtype)
        return int(layer.double()(there.double()).sum()), spiking


def counted_as_neurobench(network: nn.Module, run: Any) -> dict[str, int]:
    """Effective additions and MACs, and dense operations, of all layers with weights."""
    total = {"synops": 0, "effective_macs": 0, "dense": 0}

    def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen.append((module, args[0].clone()))

    seen: list[tuple[nn.Module, Tensor]] = []
    weighted = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    handles = [m.register_forward_pre_hook(hook) for m in weighted]
    run()
    for handle in handles:
        handle.remove()
    for module, x in seen:
        count, spiking = neurobench(module, x)
        total["synops" if spiking else "effective_macs"] += count
        total["dense"] += neurobench(module, x, everything=True)[0]
    return total


def livelier(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.weight.mul_(4)
    return network


@pytest.mark.parametrize("name", ["csnn", "gestures", "sew"])
def test_equal_to_spikingjelly(spikingjelly: Any, name: str) -> None:  # noqa: F811
    """SynOps are equal, of the original and of the converted network. Its MACs count the zeros
    that padding adds to a map as numbers; ours do not."""
    torch.manual_seed(0)
    one = TUTORIALS[name]
    network = livelier(one.make(0.05)).eval()
    x = one.input(2) if one.shown else one.input(2)[:3]
    x = x[..., :64, :64] if name == "gestures" else x
    if name == "gestures":
        network.conv_fc[22] = type(network.conv_fc[22])(
            network.conv_fc[22].in_features // 4, 512, step_mode="m"
        )
    synops, macs = counted_by_spikingjelly(network, x)
    for found in (st.energy(network, x), st.energy(st.from_spikingjelly(network), x)):
        assert found.synops == synops > 1000
        padded = 0
        for at, module in network.named_modules():
            seen = found.layers[at].operations if at in found.layers else None
            if isinstance(module, nn.Conv2d) and seen and seen.macs:
                # Maps keep their size, so that every input place is one of the output.
                padded += seen.inputs // module.in_channels * module.weight.numel() - seen.macs
        assert found.macs + padded == macs
    assert name == "gestures" or macs > 1000


@pytest.mark.parametrize("name", ["events", "recurrent", "dense"])
def test_equal_to_neurobench(snntorch: Any, name: str) -> None:  # noqa: F811
    """Effective additions, effective MACs and dense operations."""
    torch.manual_seed(0)
    one = TUTORIALS[name]
    network = livelier(one.make(0.05)).eval()
    x = one.input(2) if one.shown else one.input(2)[:6]
    theirs = counted_as_neurobench(network, lambda: one.run(network, x))
    found = st.energy(network, x)
    ours = {n: getattr(found.total, n) for n in theirs}
    assert ours == theirs
    assert theirs["synops"] > 1000
    converted = st.energy(st.from_snntorch(network), x)
    assert converted.total.synops == theirs["synops"]


def test_counts_by_hand() -> None:
    """A spike at a corner of a map reaches four outputs, one within nine; states are two."""
    x = torch.zeros(2, 1, 1, 4, 4)
    x[0, 0, 0, 0, 0] = x[1, 0, 0, 1, 1] = 1
    step = nn.Sequential(st.SpikeConv2d(1, 2, 3, padding=1, bias=False), st.CubaLIF())
    found = st.energy(step, x)
    assert found.synops == 2 * (4 + 9)
    assert (found.steps, found.samples, found.macs) == (2, 1, 0)
    assert found.updates == 2 * 2 * 2 * 16
    assert found.state_accesses == 2 * found.updates
    assert found.pj == pytest.approx(0.9 * 26 + 4.6 * 128)
    assert st.energy(step, x, addition=0, multiply_accumulate=1).pj == 128
    half = st.energy(step, x / 2)
    assert (half.synops, half.macs, half.total.effective_macs) == (0, 2 * 2 * 100, 26)


def test_feedback_and_products() -> None:
    """Recurrent spikes reach all neurons a step later; attention multiplies activities."""
    torch.manual_seed(0)
    layer = st.Recurrent(st.LIF(), 5)
    x = 3 * torch.rand(7, 3, 5)
    spikes = layer(x)
    found = st.energy(nn.Sequential(nn.Identity(), layer), x)
    assert found.synops == int(spikes[:-1].sum()) * 5 > 0
    assert found.layers["1"].spikes == int(spikes.sum())

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lif = st.LIF()

        def forward(self, x: Tensor) -> Tensor:
            s = self.lif(x)
            scores = s @ s.transpose(-2, -1)
            return torch.einsum("tbij,tbjk->tbik", scores, s)

    x = 3 * torch.rand(4, 2, 3, 6)
    spikes = st.LIF()(x)
    found = st.energy(Attention(), x)
    assert found.layers["products"].operations.synops == int(
        (spikes @ spikes.transpose(-2, -1)).sum()
    )
    assert found.uncounted == ("einsum",)
    assert "not counted: einsum" in str(found)

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.lif = nn.GRU(6, 6), st.LIF()

        def forward(self, x: Tensor) -> Tensor:
            return self.lif(self.gru(x)[0])

    assert st.energy(Gated(), 3 * torch.rand(4, 2, 6)).uncounted == ("gru (GRU)",)


def test_a_table_and_an_error() -> None:
    torch.manual_seed(0)
    network = st.Sequential(st.SpikeLinear(20, 8), st.LIF(), st.SpikeLinear(8, 3))
    x = st.poisson(torch.rand(4, 20), steps=10)
    lines = str(st.energy(network, x)).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["layer", "0", "1", "2", "together"]
    assert network(x).shape == (10, 4, 3)
    with pytest.raises(st.SaltationError, match="addition"):
        st.energy(network, x, addition=-1)
    with pytest.raises(st.SaltationError, match="found none"):
        st.energy(nn.Linear(2, 2), torch.rand(3, 2, 2))
