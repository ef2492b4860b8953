"""The spiking MLP: what it is made of, what it computes, what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import saltation as st
from saltation.layers import LAYERS, READOUTS, Readout, SpikeLinear


@pytest.mark.parametrize("neuron", LAYERS)
@pytest.mark.parametrize("readout", READOUTS)
def test_structure(neuron: str, readout: str) -> None:
    """Linear and neurons in turn; the output has neurons only where their spikes are counted."""
    made = st.spiking_mlp((5, 4, 3), neuron=neuron, readout=readout, dt=0.25)
    hidden = [SpikeLinear, LAYERS[neuron], SpikeLinear]
    output = [LAYERS[neuron]] if readout == "spike_count" else []
    assert [type(m) for m in made] == [*hidden, *output, Readout]
    assert made[-1].kind == readout
    assert made[1].neuron.dt == 0.25
    assert (made[0].weight.shape, made[2].weight.shape) == ((4, 5), (3, 4))
    assert made[0].bias is made[2].bias is None
    assert made(torch.ones(6, 2, 5)).shape == (2, 3)


def test_bias_and_depth() -> None:
    """Biases on request; two sizes are a linear readout; many make many layers."""
    assert [type(m) for m in st.spiking_mlp((5, 3))] == [SpikeLinear, Readout]
    deep = st.spiking_mlp((5, 4, 4, 4, 3), bias=True)
    assert sum(isinstance(m, st.LIF) for m in deep) == 3
    assert all(m.bias is not None for m in deep if isinstance(m, nn.Linear))


def test_output_by_hand() -> None:
    """x -> 2 x -> spikes at h >= 1 (beta 1/2, soft) -> 3 s -> mean."""
    made = st.spiking_mlp((1, 1, 1), readout="mean", beta=0.5, jump="soft")
    with torch.no_grad():
        made[0].weight.fill_(2.0)
        made[2].weight.fill_(3.0)
    # h: 0.5, 1.25 (spike, v 0.25), 0.625, 1.3125 (spike)
    x = torch.tensor([0.25, 0.5, 0.25, 0.5]).view(4, 1, 1)
    assert made(x).item() == 1.5


def test_spike_count_counts() -> None:
    """Logits are whole numbers between 0 and T, and gradients reach all weights."""
    made = st.spiking_mlp((6, 8, 3), readout="spike_count")
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.abs_()
    x = torch.rand(9, 4, 6, generator=torch.Generator().manual_seed(0)) * 3
    logits = made(x)
    assert set(logits.flatten().tolist()) <= set(map(float, range(10)))
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.parameters())


@pytest.mark.parametrize("sizes", [(), (5,), (5, 0, 3), (-1, 3)])
def test_bad_sizes_are_refused(sizes: tuple[int, ...]) -> None:
    """Fewer than two, or one below 1."""
    with pytest.raises(st.SaltationError, match="sizes must be two or more positive integers"):
        st.spiking_mlp(sizes)


@pytest.mark.parametrize(
    "names", [{"neuron": "lift"}, {"readout": "maxx"}, {"tao": 2.0}, {"scheme": "eulr"}]
)
def test_bad_names_are_refused(names: dict[str, object]) -> None:
    """Each with a suggestion."""
    with pytest.raises(st.SaltationError, match="did you mean"):
        st.spiking_mlp((5, 4, 3), **names)  # type: ignore[arg-type]
