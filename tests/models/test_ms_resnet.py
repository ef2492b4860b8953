"""MS-ResNet: counts, agreement with plain torch, what passes a fresh network, what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import saltation as st
from saltation.layers.recurrent import neuron_layers
from saltation.models import ARCHITECTURES
from saltation.models.ms_resnet import MSResNet, ms_of_depth
from tests.models.peer import images

# In millions, as published (Hu et al., 2024), and what the shapes of He et al. give exactly: a
# basic block's three projections are normalised, and so is the stem.
PARAMETERS = {18: (11.69, 11_693_736), 34: (21.80, 21_801_896), 104: (77.28, 77_284_264)}


class Spike(torch.autograd.Function):
    """A step, with the derivative 1 within half a unit of threshold."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * (ctx.saved_tensors[0].abs() < 0.5).to(gradient.dtype)


def plain_neurons(x: Tensor) -> Tensor:
    """``v = 0.25 v (1 - s) + x``, threshold 0.5, no gradient through the reset."""
    v = s = torch.zeros_like(x[0])
    out = []
    for step in x:
        v = 0.25 * v * (1 - s.detach()) + step
        s = Spike.apply(v - 0.5)  # type: ignore[no-untyped-call]
        out.append(s)
    return torch.stack(out)


class Plain:
    """The forward pass written out, with weights taken in the order in which a network names them.

    tdBN is a batch normalisation of steps and samples together, in training with their statistics.
    """

    def __init__(self, network: MSResNet, training: bool) -> None:
        self.state = dict(network.state_dict(keep_vars=True))
        self.training = training

    def conv(self, x: Tensor, name: str, stride: int) -> Tensor:
        weight = self.state[f"{name}.weight"]
        bias = self.state.get(f"{name}.bias")
        pad = weight.shape[-1] // 2
        return torch.stack([functional.conv2d(s, weight, bias, stride, pad) for s in x])

    def norm(self, x: Tensor, name: str) -> Tensor:
        gamma, beta = (self.state[f"{name}.{part}"] for part in ("weight", "bias"))
        mean, var = (self.state[f"{name}.running_{part}"] for part in ("mean", "var"))
        if self.training:
            mean, var = x.mean((0, 1, 3, 4)), x.var((0, 1, 3, 4), correction=0)
        form = (-1, 1, 1)
        y = (x - mean.view(form)) / (var.view(form) + 1e-5).sqrt()
        return gamma.view(form) * y + beta.view(form)

    def block(self, x: Tensor, name: str, stride: int, pooled: bool) -> Tensor:
        first, second = f"{name}.branch.0", f"{name}.branch.1"
        y = self.norm(self.conv(plain_neurons(x), f"{first}.convs.0", stride), f"{first}.norm")
        y = self.norm(self.conv(plain_neurons(y), f"{second}.convs.0", 1), f"{second}.norm")
        inner = f"{name}.shortcut.1" if pooled else f"{name}.shortcut"
        if f"{inner}.convs.0.weight" not in self.state:
            return y + x
        if pooled:
            x = torch.stack([functional.avg_pool2d(s, 2) for s in x])
            stride = 1
        return y + self.norm(self.conv(x, f"{inner}.convs.0", stride), f"{inner}.norm")

    def __call__(self, x: Tensor, counts: tuple[int, ...], stem: str, pooled: bool) -> Tensor:
        strides = {"cifar": [1], "imagenet": [2], "deep": [2, 1, 1]}[stem]
        for number, stride in enumerate(strides):
            x = self.conv(x, f"stem.convs.{number}", stride)
        x = self.norm(x, "stem.norm")
        for stage, count in enumerate(counts):
            for number in range(count):
                stride = 2 if number == 0 and (stage or stem != "cifar") else 1
                x = self.block(x, f"stages.{stage}.{number}", stride, pooled and stride == 2)
        features = plain_neurons(x).mean((0, 3, 4))
        return functional.linear(features, self.state["readout.weight"], self.state["readout.bias"])


def spread(network: nn.Module) -> None:
    """Statistics, factors and offsets other than those of a fresh network, whose branches are 0."""
    noise = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor, low in (
                    (module.weight, 0.4),
                    (module.bias, -0.1),
                    (module.running_mean, -0.3),
                    (module.running_var, 0.5),
                ):
                    tensor.copy_(low + 0.6 * torch.rand(tensor.shape, generator=noise))  # type: ignore[union-attr]


@pytest.mark.parametrize("depth", PARAMETERS)
def test_parameters_are_those_of_the_paper(depth: int) -> None:
    """104 layers are the stem, two in each of 51 blocks, and the readout."""
    with torch.device("meta"):
        made = getattr(st, f"ms_resnet{depth}")()
    count = sum(p.numel() for p in made.parameters())
    published, exact = PARAMETERS[depth]
    assert count == exact
    assert round(count / 1e6, 2) == published
    convolutions = [n for n, m in made.named_modules() if isinstance(m, nn.Conv2d)]
    assert sum("shortcut" not in name for name in convolutions) + 1 == depth
    assert sum("shortcut" in name for name in convolutions) == 4
    assert len(neuron_layers(made)) == depth - 1
    assert made.steps == 6


@pytest.mark.parametrize("depth", [20, 110, 482])
def test_parameters_of_the_networks_for_cifar(depth: int) -> None:
    """By the formula of their shapes; ResNet-110 has the 1.7 M of He et al."""
    n = (depth - 2) // 6
    expected = 9 * 3 * 16 + 2 * 16 + 65 * 10
    for stage, width in enumerate((16, 32, 64)):
        expected += 2 * n * (9 * width * width + 2 * width)
        if stage:
            expected -= 9 * width * width // 2  # the first convolution has half the inputs
            expected += width * width // 2 + 2 * width
    with torch.device("meta"):
        made = st.ms_resnet_cifar(depth)
    count = sum(p.numel() for p in made.parameters())
    assert count == expected
    assert depth != 110 or round(count / 1e6, 1) == 1.7
    assert len(neuron_layers(made)) == depth - 1


@pytest.mark.parametrize(
    ("stem", "pooled", "side"),
    [("cifar", False, 8), ("imagenet", False, 16), ("deep", True, 16), ("cifar", True, 8)],
)
def test_equals_plain_torch(stem: str, pooled: bool, side: int) -> None:
    """Logits in training and evaluation, and gradients of all weights, in float64."""
    torch.manual_seed(0)
    counts = (2, 1)
    made = st.ms_resnet(counts, 2, 5, stem=stem, pooled=pooled, width=4, steps=3).double()
    spread(made)
    weight = images(4, 5, seed=2).double()
    for x in (images(4, 2, side, side).double(), images(3, 4, 2, side, side).double()):
        sequence = x if x.ndim == 5 else st.direct(x, 3)
        for training in (False, True):
            one = made.train(training)(x)
            two = Plain(made, training)(sequence, counts, stem, pooled)
            assert one.std() > 1e-2
            torch.testing.assert_close(one, two, rtol=0, atol=1e-10)
            for mine, other in zip(
                torch.autograd.grad((weight * one).sum(), list(made.parameters())),
                torch.autograd.grad((weight * two).sum(), list(made.parameters())),
                strict=True,
            ):
                largest = other.abs().max().item()
                torch.testing.assert_close(mine, other, rtol=0, atol=1e-9 * largest + 1e-12)
            spread(made)


def test_defaults_are_those_of_the_authors() -> None:
    """v = 0.25 v + x, threshold 0.5, hard reset without a gradient, a rectangle of half-width 0.5,
    factors that begin at the threshold, and at 0 where a branch ends."""
    made = st.ms_resnet((1, 1), 2, 5, width=4)
    for layer in neuron_layers(made).values():
        neuron: Any = layer.neuron  # type: ignore[union-attr]
        assert (neuron.affine_step.m, neuron.affine_step.n) == (((0.25,),), (1.0,))
        assert (neuron.v_threshold, neuron.jump, neuron.detach_reset) == (0.5, "hard", True)
        assert layer.surrogate == st.surrogate.Rectangle(0.5)
    for name, module in made.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.statistics == "tdbn"  # type: ignore[attr-defined]
            first = 0.0 if name.endswith("branch.1.norm") else 0.5
            assert module.weight.tolist() == [first] * len(module.weight)


@pytest.mark.parametrize("batch_norm", ["step", "all", "tdbn", "per_step"])
def test_a_fresh_network_passes_currents_and_gradients_on(batch_norm: str) -> None:
    """Unchanged through 30 blocks, where the shape is kept."""
    torch.manual_seed(0)
    made = st.ms_resnet((30,), 2, 5, width=8, batch_norm=batch_norm, steps=3)
    currents = images(3, 4, 8, 6, 6).requires_grad_()
    passed = made.stages(currents)
    assert torch.equal(passed, currents)
    gradient = images(*passed.shape, seed=1)
    torch.testing.assert_close(torch.autograd.grad(passed, currents, gradient)[0], gradient)


def test_forty_nine_layers_learn_a_batch() -> None:
    """Of random images, in a few steps, with gradients in every convolution but the fresh zeros."""
    torch.manual_seed(0)
    made = ms_of_depth((1, 8, 8), 4, 49, base_channels=4, steps=2)
    x, y = images(32, 1, 8, 8), torch.arange(32) % 4
    optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
    losses = []
    for _ in range(25):
        loss = functional.cross_entropy(made(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert all(
        p.grad is not None and p.grad.count_nonzero() for p in made.parameters() if p.ndim == 4
    )


def test_depth_is_the_number_of_neuron_layers() -> None:
    """Two in each block and one behind them, as the study counts."""
    kind = ARCHITECTURES["ms_resnet"]
    for depth in (9, 17, 65):
        assert kind.check(depth, 16) == depth
        made = kind.build((1, 16, 16), 10, depth, base_channels=2, steps=2)
        assert len(neuron_layers(made)) == depth
        assert {type(m) for m in made.modules() if "Norm" in type(m).__name__} == {
            st.SpikingBatchNorm2d
        }
    with pytest.raises(st.SaltationError, match="nearest that fit: 9 and 17"):
        kind.check(11, 16)


@pytest.mark.parametrize("side", [(7, 7), (9, 12), (5, 8)])
@pytest.mark.parametrize("pooled", [False, True])
def test_any_size(side: tuple[int, int], pooled: bool) -> None:
    """Odd sides too, halved upwards by convolutions and poolings alike."""
    made = st.ms_resnet((1, 1, 1), 2, 5, width=4, stem="deep", pooled=pooled, steps=2)
    assert made(images(3, 2, *side)).shape == (3, 5)


@pytest.mark.parametrize("training", [False, True])
def test_logits_are_the_mean_of_the_outputs(training: bool) -> None:
    """With the same features dropped in all steps."""
    torch.manual_seed(0)
    made = st.ms_resnet((1, 1), 2, 5, width=8, dropout=0.5, steps=3, per_step=True).double()
    spread(made.train(training))
    x = images(4, 2, 8, 8).double()
    results = []
    for made.per_step in (True, False):
        torch.manual_seed(5)
        results.append(made(x))
    outputs, logits = results
    assert outputs.shape == (3, 4, 5)
    assert outputs.std(0).max() > 1e-3
    torch.testing.assert_close(outputs.mean(0), logits, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"counts": ()}, "blocks of one stage or more, got none"),
        ({"counts": (1, 0)}, "counts must be a positive integer, got 0"),
        ({"width": 0}, "width must be a positive integer, got 0"),
        ({"steps": 2.5}, "steps must be a positive integer, got 2.5"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"stem": "cifer"}, "unknown stem 'cifer'; did you mean 'cifar'"),
        ({"neuron": "lift"}, "unknown neuron 'lift'; did you mean 'lif'"),
        ({"batch_norm": "none"}, "needs a normalisation"),
        ({"batch_norm": "tbdn"}, "unknown batch_norm 'tbdn'; did you mean 'tdbn'"),
        ({"init": "kaimin"}, "unknown init 'kaimin'; did you mean 'kaiming'"),
        ({"tao": 2.0}, "unknown LIF parameter 'tao'; did you mean 'tau'"),
    ],
)
def test_bad_options_are_refused(arguments: dict[str, Any], message: str) -> None:
    """What is wrong, what was given, what is allowed."""
    with pytest.raises(st.SaltationError, match=message):
        st.ms_resnet(**{"counts": (1,), "in_channels": 2, "classes": 5, "width": 4, **arguments})


def test_depths_for_cifar_are_refused_with_those_that_fit() -> None:
    with pytest.raises(st.SaltationError, match=r"6 n \+ 2, got 100 .nearest that fit: 98 and 104"):
        st.ms_resnet_cifar(100)
    for depth in (2, 3, 7, 1):
        with pytest.raises(st.SaltationError, match="nearest that fit: 8 and 14"):
            st.ms_resnet_cifar(depth)
    with pytest.raises(st.SaltationError, match="4 layers of neurons are no pairs"):
        ms_of_depth((1, 16, 16), 10, 4)
