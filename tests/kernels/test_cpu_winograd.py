"""Gradients of dense convolutions by tiles, against torch's in float64."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import Tensor, nn
from torch.nn import functional

import saltation as st
from saltation.kernels.cpu.conv import gradients as conv_gradients
from saltation.kernels.cpu.conv.tiles import TOOM
from saltation.kernels.cpu.conv.toom import toom
from saltation.kernels.cpu.conv.winograd import convolved
from saltation.kernels.cpu.conv.winograd_weights import gradient_of_weights

MOST = 1e-5  # of the largest number, that a gradient may be off


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Random numbers, channels last in memory."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return x.contiguous(memory_format=torch.channels_last)


def off(one: Tensor | None, two: Tensor) -> float:
    """The largest distance, relative to the largest number of the second."""
    assert one is not None
    return float((one - two).abs().max() / two.abs().max())


def exactly(x: Tensor, weight: Tensor, g: Tensor) -> tuple[Tensor, ...]:
    """Convolution, and gradients of its input and weight, in the precision of what is given."""
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    y = functional.conv2d(x, weight, padding=1)
    return (y.detach(), *torch.autograd.grad(y, (x, weight), g))


@pytest.mark.parametrize("points", [(0, 1, -1), (0, 1, -1, 2), (0, Fraction(1, 2), -3, 2, 5)])
def test_matrices_are_exact(points: tuple[int, ...]) -> None:
    """Results of any numbers and weights are those of the sums, in fractions."""
    made = toom([Fraction(point) for point in points])
    size, results = len(made.numbers), len(made.results)
    for place in range(size):
        for tap in range(3):
            at = [row[place] * weights[tap] for row, weights in zip(*made[:2], strict=True)]
            for i, row in enumerate(made.results):
                found = sum(a * b for a, b in zip(row, at, strict=True))
                assert found == (place == i + tap)
    assert size == results + 2 == len(points) + 1
    assert len(TOOM.results) == 4


@given(
    images=some.integers(1, 5),
    inputs=some.integers(1, 5),
    outputs=some.integers(1, 5),
    height=some.integers(1, 11),
    width=some.integers(1, 11),
    threads=some.sampled_from([1, 2, 3]),
)
def test_any_shape(
    images: int, inputs: int, outputs: int, height: int, width: int, threads: int
) -> None:
    """Convolution and gradients near float64's, with the same bits for any number of threads."""
    x = normal(images, 16 * inputs, height, width)
    weight = normal(16 * outputs, 16 * inputs, 3, 3, seed=1)
    g = normal(images, 16 * outputs, height, width, seed=2)
    y, g_x, g_weight = exactly(x.double(), weight.double(), g.double())
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, threads):
            torch.set_num_threads(count)
            ours = convolved(x, weight), convolved(g, weight, True), gradient_of_weights(x, g)
            found.append(ours)
    finally:
        torch.set_num_threads(before)
    for one, again, exact in zip(*found, (y, g_x, g_weight), strict=True):
        assert off(one, exact) < MOST
        assert one is not None
        assert again is not None
        assert torch.equal(one, again)


@pytest.mark.parametrize(
    ("inputs", "outputs", "side"), [(64, 64, 32), (128, 256, 8), (512, 512, 4)]
)
def test_rounding_of_deep_layers(inputs: int, outputs: int, side: int) -> None:
    """Layers of a VGG: off by at most 5e-6 of the largest; torch's own are by 0.3e-6 to 6.4e-6,
    depending on the machine."""
    x, g = normal(16, inputs, side, side), normal(16, outputs, side, side, seed=1)
    weight = normal(outputs, inputs, 3, 3, seed=2) / inputs**0.5
    _, g_x, g_weight = exactly(x.double(), weight.double(), g.double())
    _, torch_x, torch_weight = exactly(x, weight, g)
    assert off(convolved(g, weight, backwards=True), g_x) < 5e-6
    assert off(gradient_of_weights(x, g), g_weight) < 5e-6
    assert off(torch_x, g_x) > 2e-7
    assert off(torch_weight, g_weight) > 2e-7


def pair(bias: bool = True) -> tuple[st.SpikeConv2d, nn.Conv2d]:
    """A layer of each kind with the same weights."""
    torch.manual_seed(0)
    ours, dense = st.SpikeConv2d(48, 64, 3, padding=1, bias=bias), nn.Conv2d(48, 64, 3, padding=1)
    ours.load_state_dict({k: v for k, v in dense.state_dict().items() if bias or k != "bias"})
    return ours, dense


@pytest.fixture
def tiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes what was computed by tiles."""
    calls: list[str] = []
    for name in ("convolved", "gradient_of_weights"):

        def noted(*given: Tensor, name: str = name, **options: bool) -> Tensor | None:
            calls.append(name)
            found: Tensor | None = globals()[name](*given, **options)
            return found

        monkeypatch.setattr(conv_gradients, name, noted)
    return calls


def results(layer: nn.Conv2d, x: Tensor, g: Tensor) -> tuple[Tensor, ...]:
    """Output and all gradients."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = layer(x)
    return (y.detach(), *torch.autograd.grad(y, (x, *layer.parameters()), g))


@pytest.mark.parametrize("spikes", [False, True])
def test_layers_take_it(spikes: bool, tiled: list[str]) -> None:
    """With channels last, gradients are by tiles, except a weight's around spikes, which follows
    them; outputs are torch's of what is dense."""
    ours, dense = pair()
    x, g = normal(8, 48, 14, 14), normal(8, 64, 14, 14, seed=1)
    x = (x > 1).float() if spikes else x
    found, torchs = results(ours, x, g), results(dense, x, g)
    exact = results(dense.double(), x.double(), g.double())
    assert tiled == ["convolved"] + ["gradient_of_weights"] * (not spikes)
    for one, two in zip(found, exact, strict=True):
        assert off(one, two) < MOST
    assert spikes or torch.equal(found[0], torchs[0])
    assert found[1].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 3e38])
def test_not_finite_is_torchs(value: float) -> None:
    """What is not finite, or would not be so on the way, is the gradient that torch gives."""
    ours, dense = pair(bias=False)
    x, g = normal(8, 48, 14, 14), normal(8, 64, 14, 14, seed=1)
    g[3, 40, 6, 6] = value
    dense.bias = None
    for one, two in zip(results(ours, x, g), results(dense, x, g), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True)


def test_elsewhere_it_is_torchs(tiled: list[str]) -> None:
    """Channels that lie first, few of them, mostly empty tiles, few tiles; and gradients have
    theirs."""
    ours, dense = pair()
    x, g = normal(8, 48, 14, 14), normal(8, 64, 14, 14, seed=1)
    found, torchs = (results(layer, x.contiguous(), g.contiguous()) for layer in (ours, dense))
    assert all(map(torch.equal, found, torchs))
    assert tiled == []
    assert not conv_gradients.by_tiles(normal(8, 16, 14, 14), 64)
    assert not conv_gradients.by_tiles(normal(8, 40, 14, 14), 64)
    assert not conv_gradients.by_tiles(normal(8, 64, 5, 5), 64)
    assert not conv_gradients.by_tiles(normal(4, 512, 4, 4), 512)
    assert conv_gradients.by_tiles(normal(16, 512, 4, 4), 512)

    x, twice = normal(2, 48, 6, 6).requires_grad_(), []
    for layer in (ours, dense):
        first = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)[0]
        twice += torch.autograd.grad(first.square().sum(), layer.weight)
    assert off(twice[0], twice[1]) < MOST
