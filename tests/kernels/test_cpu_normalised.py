"""Batch normalisation and the neurons behind it as one, against torch's normalisation and the
reference loop in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.kernels import reference
from saltation.kernels.cpu.neurons import behind_norm
from saltation.models.blocks import ConvBlock, SequenceBatchNorm, channels_last

CHANNELS = 32


def maps(steps: int, seed: int = 0, samples: int = 5, height: int = 7, width: int = 6) -> Tensor:
    """Currents ``[T, B, C, H, W]`` far from mean 0, channels last."""
    noise = torch.Generator().manual_seed(seed)
    x = 3 + 2 * torch.randn(steps, samples, CHANNELS, height, width, generator=noise)
    return channels_last(x)


def affine(seed: int = 1) -> tuple[Tensor, Tensor]:
    """Weight and bias of the normalisation."""
    noise = torch.Generator().manual_seed(seed)
    return 1 + torch.rand(CHANNELS, generator=noise), torch.rand(CHANNELS, generator=noise)


def normalised(x: Tensor, weight: Tensor, bias: Tensor, together: bool) -> Tensor:
    """Torch's, in the precision of ``x``."""
    parts = [x.flatten(0, 1)] if together else list(x)
    done = [
        nn.functional.batch_norm(part, None, None, weight, bias, training=True) for part in parts
    ]
    return torch.stack(done).view_as(x)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    "layer",
    [
        st.LIF(
            beta=0.9, jump="soft_delayed", detach_reset=True, surrogate=st.surrogate.Sigmoid(2.0)
        ),
        st.LIF(dt=0.5, surrogate=st.surrogate.Triangle()),
        st.AdLIF(dt=0.5),
    ],
    ids=["soft_delayed", "triangle", "adlif"],
)
def test_equals_normalisation_and_reference(
    layer: st.layers.neuron.SpikingLayer, shared: bool, together: bool
) -> None:
    """Spikes the reference's of the currents in float64; gradients within rounding of float64."""
    steps, neuron, spike = 4, layer.neuron, layer.surrogate
    x = maps(1 if shared else steps).requires_grad_()
    weight, bias = (part.requires_grad_() for part in affine())
    out = behind_norm.run(x, steps, together, weight, bias, 1e-5, neuron, spike)
    assert out is not None
    g = torch.randn(out[0].shape, generator=torch.Generator().manual_seed(3))
    found = torch.autograd.grad(out[0], (x, weight, bias), g)

    parts = [part.detach().double().requires_grad_() for part in (x, weight, bias)]
    currents = normalised(*parts, together).expand(steps, *x.shape[1:])
    exact = reference.run(neuron, spike, currents, neuron.rest(currents[0])).spikes
    assert torch.equal(out[0].double(), exact)
    assert 0.02 < float(exact.detach().mean()) < 0.9
    for one, two in zip(found, torch.autograd.grad(exact, parts, g.double()), strict=True):
        assert (one.double() - two).norm() < 2e-5 * two.norm()


def test_statistics_in_double_precision() -> None:
    """Mean and variance of numbers far from 0, of which float32 sums would lose the variance."""
    x = maps(2) + 3000
    weight, bias = affine()
    layer = st.LIF(beta=0.9)
    out = behind_norm.run(x, 2, False, weight, bias, 1e-5, layer.neuron, layer.surrogate)
    assert out is not None
    exact = x.double().permute(0, 2, 1, 3, 4).flatten(2)
    torch.testing.assert_close(torch.from_numpy(out[1].mean), exact.mean(2), rtol=1e-12, atol=0)
    found = torch.from_numpy(out[1].variance)
    torch.testing.assert_close(found, exact.var(2, unbiased=False), rtol=1e-8, atol=0)


@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_threads(threads: int) -> None:
    """The same bits, more parts than threads."""
    before = torch.get_num_threads()
    layer = st.LIF(beta=0.9)

    def gradients() -> list[Tensor]:
        x = maps(3, samples=40, height=9, width=9).requires_grad_()
        weight, bias = (part.requires_grad_() for part in affine())
        out = behind_norm.run(x, 3, False, weight, bias, 1e-5, layer.neuron, layer.surrogate)
        assert out is not None
        g = torch.randn(out[0].shape, generator=torch.Generator().manual_seed(3))
        return [out[0].detach(), *torch.autograd.grad(out[0], (x, weight, bias), g)]

    try:
        torch.set_num_threads(2)
        two = gradients()
        torch.set_num_threads(threads)
        assert all(map(torch.equal, gradients(), two))
    finally:
        torch.set_num_threads(before)


def made(batch_norm: str, fan_in: int = 3) -> ConvBlock:
    """A block with random weights."""
    torch.manual_seed(0)
    return ConvBlock(fan_in, CHANNELS, "lif", batch_norm, beta=0.9)


@pytest.mark.parametrize("batch_norm", ["step", "all", "tdbn"])
@pytest.mark.parametrize("repeated", [False, True])
def test_running_statistics_are_torchs(batch_norm: str, repeated: bool) -> None:
    """In a block, in one piece and module by module: the same buffers, spikes and gradients."""
    noise = torch.Generator().manual_seed(4)
    x = torch.rand(1 if repeated else 3, 4, 3, 8, 8, generator=noise)
    x = channels_last(x.expand(3, -1, -1, -1, -1))
    one = made(batch_norm)
    two = copy.deepcopy(one)
    seen: list[Tensor] = []
    two.norm.register_forward_hook(lambda module, given, out: seen.append(out))
    spikes, apart = one(x), two(x)
    assert len(seen) == 1  # a hook sees what it always sees
    assert torch.equal(spikes, apart)
    for (name, mine), theirs in zip(one.norm.named_buffers(), two.norm.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7, msg=name)
    spikes[..., 0].sum().backward()
    apart[..., 0].sum().backward()
    for mine, theirs in zip(one.parameters(), two.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert (mine.grad - theirs.grad).norm() < 1e-5 * theirs.grad.norm()


def test_second_derivatives() -> None:
    """A penalty on gradients: those of torch's operations."""
    x = maps(2, samples=2, height=3, width=3).requires_grad_()
    weight, bias = (part.requires_grad_() for part in affine())
    layer = st.LIF(beta=0.9)
    out = behind_norm.run(x, 2, False, weight, bias, 1e-5, layer.neuron, layer.surrogate)
    assert out is not None
    (g,) = torch.autograd.grad(out[0][..., 0].sum(), x, create_graph=True)
    found = torch.autograd.grad((g * g).sum(), (x, weight))
    parts = [part.detach().double().requires_grad_() for part in (x, weight, bias)]
    currents = normalised(*parts, False)
    spikes = reference.run(
        layer.neuron, layer.surrogate, currents, layer.neuron.rest(currents[0])
    ).spikes
    (g,) = torch.autograd.grad(spikes[..., 0].sum(), parts[0], create_graph=True)
    for one, two in zip(found, torch.autograd.grad((g * g).sum(), parts[:2]), strict=True):
        assert (one.double() - two).norm() < 1e-4 * two.norm()


def test_numbers_that_are_not_finite_are_refused() -> None:
    """As by the modules one by one, and nothing enters the running statistics before."""
    block = made("step", fan_in=16)
    x = channels_last(torch.zeros(2, 3, 16, 8, 8))
    assert isinstance(block.norm, SequenceBatchNorm)
    block.conv.weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(st.errors.NotFiniteError):
        block(x + 1)
    assert block.norm.into(block.neurons, maps(2) * float("nan"), 2) is None


def test_spikes_can_be_changed_in_place() -> None:
    """As those of a layer: what a network does to them next is its own business."""
    spikes = made("step")(channels_last(torch.rand(3, 2, 3, 8, 8)))
    spikes[0] = 0
    spikes.sum().backward()
    assert not spikes[0].any()
