"""Convolutions that follow the spikes against torch's dense convolution."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import Tensor, nn
from torch.nn import functional

import saltation as st
from saltation.kernels.cpu.conv import backward as conv_backward
from saltation.kernels.cpu.conv import forward as conv_forward
from saltation.kernels.cpu.events.marks import Marks, mark

# Large enough to be worth a look, and no multiple of anything: 3 * 20 * 17 * 23 * 48.
IMAGES, FAN_IN, FAN_OUT, HEIGHT, WIDTH = 3, 20, 48, 17, 23


def pair(bias: bool = True, **options: Any) -> tuple[st.SpikeConv2d, nn.Conv2d]:
    """A layer of each kind with the same weights."""
    torch.manual_seed(0)
    given = {"kernel_size": 3, "padding": 1, "bias": bias} | options
    ours, dense = (kind(FAN_IN, FAN_OUT, **given) for kind in (st.SpikeConv2d, nn.Conv2d))
    ours.load_state_dict(dense.state_dict())
    assert isinstance(ours, st.SpikeConv2d)
    return ours, dense


def spikes(density: float, *shape: int) -> Tensor:
    """Random spikes."""
    shape = shape or (IMAGES, FAN_IN, HEIGHT, WIDTH)
    return (torch.rand(shape, generator=torch.Generator().manual_seed(1)) < density).float()


def normal(*shape: int) -> Tensor:
    """Random numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


def gradients(layer: nn.Conv2d, x: Tensor) -> tuple[Tensor, ...]:
    """Output, and the gradients of the input and all parameters."""
    x = x.clone().requires_grad_()
    y = layer(x)
    return (y, *torch.autograd.grad(y, (x, *layer.parameters()), normal(*y.shape).to(y)))


def apart(one: Tensor, two: Tensor) -> float:
    """Distance relative to the second."""
    return float((one - two).detach().norm() / two.detach().norm().clamp(min=1e-30))


@pytest.fixture
def by_spikes(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Notes the weights of every convolution that followed the spikes."""
    calls: list[torch.Size] = []
    forward = conv_forward.forward

    def noted(spikes: Marks, weight: Tensor, *rest: Any) -> Tensor:
        calls.append(weight.shape)
        return forward(spikes, weight, *rest)

    monkeypatch.setattr(conv_forward, "forward", noted)
    return calls


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("density", [0.0, 0.01, 0.1, 0.3, 0.6, 1.0])
def test_equals_the_dense_convolution(
    density: float, bias: bool, by_spikes: list[torch.Size]
) -> None:
    """Outputs and gradients within rounding of float64, by spikes where these are cheaper."""
    ours, dense = pair(bias)
    x = spikes(density)
    exact = gradients(dense.double(), x.double())
    for one, two in zip(gradients(ours, x), exact, strict=True):
        assert apart(one, two) < 1e-6
    assert len(by_spikes) == (density < 0.4)


@given(
    images=some.integers(1, 9),
    fan_in=some.integers(1, 19),
    sixteens=some.integers(1, 6),
    height=some.integers(1, 40),
    width=some.integers(1, 40),
    density=some.floats(0, 1),
    threads=some.sampled_from([1, 2, 3, 8]),
    bias=some.booleans(),
)
def test_any_shape(
    images: int,
    fan_in: int,
    sixteens: int,
    height: int,
    width: int,
    density: float,
    threads: int,
    bias: bool,
) -> None:
    """Output and gradient of the weight within rounding of float64."""
    before = torch.get_num_threads()
    x = spikes(density, images, fan_in, height, width)
    weight, shift = normal(16 * sixteens, fan_in, 3, 3), normal(16 * sixteens) if bias else None
    exact = functional.conv2d(
        x.double(), weight.double(), None if shift is None else shift.double(), padding=1
    )
    g = normal(*exact.shape)
    exact_g = nn.grad.conv2d_weight(x.double(), weight.shape, g.double(), padding=1)  # type: ignore[no-untyped-call]
    try:
        torch.set_num_threads(threads)
        marked = mark(x)
        assert marked is not None
        assert marked[1] == int(x.sum())
        assert apart(conv_forward.forward(marked[0], weight, shift), exact) < 1e-6
        assert apart(conv_backward.backward(marked[0], g), exact_g) < 1e-6
    finally:
        torch.set_num_threads(before)


def test_wide_and_narrow_maps() -> None:
    """Maps of which no two lines, or many images, are worked on together."""
    for shape in ((1, 8, 2, 900), (1, 8, 900, 2), (300, 8, 1, 1), (40, 8, 4, 4)):
        x, weight = spikes(0.2, *shape), normal(16, 8, 3, 3)
        exact = functional.conv2d(x.double(), weight.double(), padding=1)
        g = normal(*exact.shape)
        exact_g = nn.grad.conv2d_weight(x.double(), weight.shape, g.double(), padding=1)  # type: ignore[no-untyped-call]
        marked = mark(x)
        assert marked is not None
        assert apart(conv_forward.forward(marked[0], weight, None), exact) < 1e-6
        assert apart(conv_backward.backward(marked[0], g), exact_g) < 1e-6


@pytest.mark.parametrize("value", [0.5, -1.0, 2.0, -0.0, float("nan"), float("inf")])
def test_any_other_input_is_dense_to_the_bit(value: float, by_spikes: list[torch.Size]) -> None:
    """One number that is neither 0 nor 1, at the end or the start."""
    ours, dense = pair()
    for place in (0, -1):
        x = spikes(0.05)
        x.view(-1)[place] = value
        torch.testing.assert_close(ours(x), dense(x), rtol=0, atol=0, equal_nan=True)
    assert by_spikes == []


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2},
        {"padding": 0},
        {"padding": (1, 0)},
        {"dilation": 2},
        {"kernel_size": 5, "padding": 2},
        {"kernel_size": (3, 1)},
        {"groups": 2},
        {"padding_mode": "circular"},
        {"padding": "valid"},
    ],
)
def test_other_windows_are_dense(options: dict[str, Any], by_spikes: list[torch.Size]) -> None:
    """To the bit, gradients too."""
    ours, dense = pair(**options)
    for one, two in zip(gradients(ours, spikes(0.05)), gradients(dense, spikes(0.05)), strict=True):
        assert torch.equal(one, two)
    assert by_spikes == []


def test_same_padding_follows_the_spikes(by_spikes: list[torch.Size]) -> None:
    """It is one around a window of 3x3."""
    ours, dense = pair(padding="same")
    assert apart(ours(spikes(0.1)), dense(spikes(0.1))) < 1e-6
    assert len(by_spikes) == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_are_dense(dtype: torch.dtype, by_spikes: list[torch.Size]) -> None:
    """Only float32 is compiled, and not under autocast."""
    ours, dense = (layer.to(dtype) for layer in pair())
    assert torch.equal(ours(spikes(0.05).to(dtype)), dense(spikes(0.05).to(dtype)))
    ours, dense = pair()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours(spikes(0.05)), dense(spikes(0.05)))
    assert by_spikes == []


def test_any_number_of_threads(threads: None, by_spikes: list[torch.Size]) -> None:
    """Every bit of outputs and of the weight's gradients is the same with 1, 2, 3 and 8."""
    ours, _ = pair()
    x = spikes(0.1)
    torch.set_num_threads(1)
    y, _, g_weight, _ = gradients(ours, x)
    for number in (2, 3, 8):
        torch.set_num_threads(number)
        other, _, other_g_weight, _ = gradients(ours, x)
        assert torch.equal(y, other)
        assert torch.equal(g_weight, other_g_weight)
    assert len(by_spikes) == 4


def test_nothing_is_kept_without_gradients(by_spikes: list[torch.Size]) -> None:
    """Neither under no_grad nor where nobody asks for one; only what is asked for is computed."""
    ours, _ = pair()
    x = spikes(0.1)
    with torch.no_grad():
        assert ours(x).grad_fn is None
    y = ours(x)
    y.sum().backward()
    assert x.grad is None
    ours.requires_grad_(False)
    assert ours(x).grad_fn is None
    x.requires_grad_()
    ours(x).sum().backward()
    assert x.grad is not None
    assert len(by_spikes) == 4


def test_second_derivatives(by_spikes: list[torch.Size]) -> None:
    """Double backward is that of the dense convolution."""

    def second(layer: nn.Conv2d) -> tuple[Tensor, ...]:
        x = spikes(0.05).requires_grad_()
        wanted = (x, layer.weight)
        first = torch.autograd.grad((layer(x) ** 2).mean(), wanted, create_graph=True)
        return torch.autograd.grad(sum((g * g).sum() for g in first), wanted)  # type: ignore[arg-type]

    ours, dense = pair(bias=False)
    for one, two in zip(second(ours), second(dense), strict=True):
        assert apart(one, two) < 1e-5
    assert len(by_spikes) == 1


def test_forward_mode_and_transforms(by_spikes: list[torch.Size]) -> None:
    """They take the dense convolution."""
    ours, dense = pair()
    x = spikes(0.05)
    for one, two in zip(
        *(torch.func.jvp(f, (x,), (normal(*x.shape),)) for f in (ours, dense)), strict=True
    ):
        assert torch.equal(one, two)
    torch.testing.assert_close(torch.func.vmap(ours)(x.unsqueeze(1)).squeeze(1), dense(x))
    assert by_spikes == []


def test_sequences_and_other_layouts(by_spikes: list[torch.Size]) -> None:
    """``[T, B, C, H, W]`` are images behind each other, and memory may lie in any order."""
    ours, dense = pair()
    x = spikes(0.1, 4, 3, FAN_IN, HEIGHT, WIDTH)
    y = ours(x)
    assert y.shape == (4, 3, FAN_OUT, HEIGHT, WIDTH)
    assert apart(y[2], dense(x[2])) < 1e-6
    turned = spikes(0.1).to(memory_format=torch.channels_last)
    assert torch.equal(ours(turned), ours(spikes(0.1)))
    assert len(by_spikes) == 3


def test_wrong_shapes_are_the_errors_of_torch() -> None:
    """As with nn.Conv2d; no images are no result."""
    ours, _ = pair()
    with pytest.raises(RuntimeError, match="to have 20 channels, but got 21"):
        ours(spikes(0.05, IMAGES, FAN_IN + 1, HEIGHT, WIDTH))
    assert ours(torch.zeros(0, FAN_IN, 5, 5)).shape == (0, FAN_OUT, 5, 5)
    assert ours(torch.zeros(FAN_IN, 5, 5)).shape == (FAN_OUT, 5, 5)


def test_networks_use_it(by_spikes: list[torch.Size]) -> None:
    """Behind every layer of neurons of a VGG that is not pooled, with the weights of nn.Conv2d."""
    net = st.spiking_vgg(3, 10, 32, base_channels=16, neuron="lif", v_threshold=2.0)
    net(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))).sum().backward()
    assert by_spikes == [torch.Size([c, c, 3, 3]) for c in (16, 32, 64, 128)]
    torch.manual_seed(5)
    ours = st.SpikeConv2d(4, 16, 3)
    torch.manual_seed(5)
    assert torch.equal(ours.weight, nn.Conv2d(4, 16, 3).weight)
