"""The spiking MLP: what it is made of, what it computes, what it refuses."""

from __future__ import annotations

import numpy as np
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
    ("shape", "hint"),
    [
        ((4, 5), ": time is missing"),
        ((4, 5, 1, 1), ": images are rows of pixels"),
        ((4, 1, 5, 1), r": images .* saltation\.poisson\(x\.flatten\(1\), steps\)"),
        ((6, 4, 1, 5, 1), r": images are rows of pixels here, x\.flatten\(2\)"),
        ((6, 5, 4), ": features come last"),
        ((6, 4, 7), ""),
        ((0, 4, 5), ""),
        ((5,), ""),
    ],
)
def test_bad_inputs_are_refused(shape: tuple[int, ...], hint: str) -> None:
    """With the form that is expected, what was given, and what may be meant."""
    form = rf"floating-point spikes or currents \[T, B, 5\] .*, got torch\.float32 .*\]{hint}"
    with pytest.raises(st.SaltationError, match=form):
        st.spiking_mlp((5, 4, 3))(torch.rand(shape))


def test_inputs_that_are_no_numbers_are_refused() -> None:
    """Integers by their dtype; NaN where the first neurons see it."""
    made = st.spiking_mlp((5, 4, 3))
    with pytest.raises(st.SaltationError, match=r"floating-point .* got torch\.uint8"):
        made(torch.ones(6, 2, 5, dtype=torch.uint8))
    x = torch.rand(6, 2, 5)
    x[3, 1, 2] = torch.nan
    with pytest.raises(st.NotFiniteError, match="NaN or infinity in 4 of 48 values"):
        made(x)


def test_parts_of_the_network() -> None:
    """A cut one takes what its first module takes."""
    made = st.spiking_mlp((5, 4, 3))
    x = torch.rand(6, 2, 5)
    assert torch.equal(made[1:](made[:1](x)), made(x))
    assert made[1:2](torch.rand(6, 2, 9)).shape == (6, 2, 9)
    with pytest.raises(st.SaltationError, match=r"\[T, B, 5\]"):
        made[:2](torch.rand(6, 2, 4))


def test_numbers_of_numpy_and_torch() -> None:
    """Are sizes, too; text and single numbers are not."""
    for sizes in (np.array([5, 4, 3]), torch.Size([5, 4, 3]), [torch.tensor(5), np.int8(4), 3]):
        assert [m.in_features for m in st.spiking_mlp(sizes) if isinstance(m, nn.Linear)] == [5, 4]
    for wrong in (784, "ab", None, (5, 3.0), (5, True)):
        with pytest.raises(st.SaltationError, match="sizes must be two or more positive integers"):
            st.spiking_mlp(wrong)  # type: ignore[arg-type]
    with pytest.raises(st.SaltationError, match="bias must be True or False, got 'no'"):
        st.spiking_mlp((5, 3), bias="no")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "names", [{"neuron": "lift"}, {"readout": "maxx"}, {"tao": 2.0}, {"scheme": "eulr"}]
)
def test_bad_names_are_refused(names: dict[str, object]) -> None:
    """Each with a suggestion."""
    with pytest.raises(st.SaltationError, match="did you mean"):
        st.spiking_mlp((5, 4, 3), **names)  # type: ignore[arg-type]
