"""Spikformer: counts, agreement with SpikingJelly, its attention, what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.models.spikformer import SCALE, Spikformer
from tests.models.peer import WEIGHTED, images, imported, spread, take


def small(in_channels: int = 2, size: int = 8, **options: Any) -> Spikformer:
    """One block of 16 channels and 2 heads on patches of 2."""
    torch.manual_seed(0)
    options = {"patch": 2, "depth": 1, "width": 16, "heads": 2, "v_threshold": 0.5, **options}
    return st.spikformer(in_channels, 5, size, **options)


@pytest.mark.parametrize(
    ("depth", "width", "heads", "patch", "size", "classes", "millions"),
    # Tables 1 and 2 of the paper, which cuts digits off in some rows.
    [
        (4, 256, 8, 4, 32, 10, 4.15),
        (2, 384, 12, 4, 32, 10, 5.76),
        (4, 384, 12, 4, 32, 10, 9.32),
        (8, 384, 12, 16, 224, 1000, 16.81),
        (8, 512, 8, 16, 224, 1000, 29.68),
        (8, 768, 12, 16, 224, 1000, 66.34),
    ],
)
def test_parameters_are_those_of_the_paper(
    depth: int, width: int, heads: int, patch: int, size: int, classes: int, millions: float
) -> None:
    """To a hundredth of a million."""
    options = {"patch": patch, "depth": depth, "width": width, "heads": heads}
    with torch.device("meta"):
        made = st.spikformer(3, classes, size, **options)  # type: ignore[arg-type]
    assert sum(p.numel() for p in made.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)


def test_parameters_by_formula_and_of_spikingjelly() -> None:
    """9,320,122 of 4-384 for CIFAR; without biases those of SpikingJelly's network."""
    d = 384
    stem = 9 * (3 * d // 8 + d // 8 * d // 4 + d // 4 * d // 2 + d // 2 * d + d * d)
    norms = 2 * (d // 8 + d // 4 + d // 2 + d + d)
    block = 4 * d * d + 8 * d * d + 2 * (4 * d + 4 * d + d)
    readout = 10 * (d + 1)
    without = stem + norms + 4 * block + readout
    with torch.device("meta"):
        counts = [
            sum(p.numel() for p in st.spikformer(3, 10, bias=bias).parameters())
            for bias in (True, False)
        ]
    theirs = imported("model.spikformer").spikformer_cifar10()
    assert counts[1] == without == sum(p.numel() for p in theirs.parameters())
    assert counts[0] == without + 4 * (d + 4 * d + d) == 9_320_122


def test_defaults_are_those_of_the_authors() -> None:
    """LIF of tau 2 by Euler's scheme, detached; threshold 1, half of it behind the products."""
    made = small(v_threshold=1.0)
    layers = {name: m for name, m in made.named_modules() if isinstance(m, st.LIF)}
    assert len(layers) == 5 + 5 + 2
    for name, layer in layers.items():
        neuron = layer.neuron
        assert (neuron.affine_step.m, neuron.affine_step.n) == (((0.5,),), (0.5,))
        assert (neuron.jump, neuron.v_reset, neuron.detach_reset) == ("hard", 0.0, True)
        assert neuron.v_threshold == (0.5 if name.endswith("attention.attention") else 1.0)
        assert layer.surrogate == st.surrogate.Sigmoid(4.0)
    assert small(beta=0.9).stem[0].neurons.neuron.beta == 0.9


def as_the_paper(theirs: Any) -> Any:
    """SpikingJelly's network with its pooling behind the neurons, where the paper has it."""
    stages = theirs.patch_embed.stages
    for place, stage in enumerate(stages):
        block = stage.conv_bn.block
        if len(block) == 3:
            pool = imported("layer").SeqToANNContainer(block[2])
            del block[2]
            stages[place] = nn.Sequential(stage, pool)
    return theirs


def in_their_order(network: Spikformer) -> list[nn.Module]:
    """The modules with weights, queries, keys and values as one."""
    found: list[nn.Module] = []

    def merged(parts: list[Any]) -> nn.Module:
        whole = nn.Module()
        for name, tensor in parts[0].state_dict().items():
            same = tensor.ndim == 0
            values = [part.state_dict()[name] for part in parts]
            whole.register_buffer(name, tensor if same else torch.cat(values))
        return whole

    def add(module: nn.Module) -> None:
        found.extend(m for m in module.modules() if isinstance(m, WEIGHTED))

    add(network.stem)
    add(network.position)
    for encoder in network.encoders:
        attention = encoder.attention
        parts = [attention.query, attention.key, attention.value]
        found += [merged([p.conv for p in parts]), merged([p.norm for p in parts])]
        add(attention.out)
        add(encoder.mlp)
    add(network.readout)
    return found


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [8, 32])
def test_agrees_with_spikingjelly(size: int, training: bool) -> None:
    """Logits and gradients, in float64, from the same weights; with fewer and with more
    positions than channels of a head."""
    made = small(3, size, patch=4, depth=2, width=48, heads=4, bias=False, v_threshold=1.0).double()
    spread(made)
    other = as_the_paper(
        imported("model.spikformer").Spikformer(
            img_size_h=size,
            img_size_w=size,
            patch_size=4,
            num_classes=5,
            embed_dims=48,
            num_heads=4,
            depths=2,
        )
    ).double()
    imported("functional").set_step_mode(other, "m")
    take(other, in_their_order(made))
    x = images(4, 2, 3, size, size).double()
    one, two = made.train(training)(x), other.train(training)(x).mean(0)
    assert one.std() > 1e-3
    torch.testing.assert_close(one, two, rtol=0, atol=1e-10)
    (first,) = torch.autograd.grad(one.square().sum(), [made.stem[0].conv.weight])
    weight = other.patch_embed.stages[0].conv_bn.block[0].weight
    (second,) = torch.autograd.grad(two.square().sum(), [weight])
    torch.testing.assert_close(first, second, rtol=0, atol=1e-9 * first.abs().max().item())


@pytest.mark.parametrize("positions", [1, 3, 9])
def test_attention_by_loops(positions: int) -> None:
    """Of every head: the count of common spikes of query and key, times the value's."""
    attention = small().encoders[0].attention
    query, key, value = (
        (images(2, 3, 16, positions, 1, seed=seed) > 0).float() for seed in range(3)
    )
    for name, spikes in (("query", query), ("key", key), ("value", value)):
        part = nn.Module()
        part.forward = lambda _, spikes=spikes: spikes  # type: ignore[assignment, misc]
        setattr(attention, name, part)
    given: list[Tensor] = []
    attention.attention.register_forward_pre_hook(lambda _, x: given.append(x[0]))
    attention(query)
    expected = torch.zeros(2, 3, 16, positions)
    for head in (slice(0, 8), slice(8, 16)):
        for i in range(positions):
            for j in range(positions):
                common = (query[:, :, head, i, 0] * key[:, :, head, j, 0]).sum(-1, keepdim=True)
                expected[:, :, head, i] += SCALE * common * value[:, :, head, j, 0]
    assert torch.equal(given[0], expected[..., None])


@pytest.mark.parametrize(("patch", "positions"), [(1, 16), (2, 8), (4, 4), (8, 2), (16, 1)])
def test_patches(patch: int, positions: int) -> None:
    """Of 16 pixels a side."""
    made, seen = small(2, 16, patch=patch), []
    made.encoders.register_forward_hook(lambda _, x, y: seen.append((x[0].shape, y.shape)))
    assert made(images(3, 2, 16, 16)).shape == (3, 5)
    assert seen == [((4, 3, 16, positions, positions),) * 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 3}, "patch must be one of 1, 2, 4, 8, 16, got 3"),
        ({"size": 9}, "size must be a multiple of patch = 2, got 9"),
        ({"width": 20}, "width must be a multiple of 8, got 20"),
        ({"heads": 3}, "width must be a multiple of heads = 3, got 16"),
        ({"depth": 0}, "depth must be a positive integer, got 0"),
        ({"mlp_ratio": 1.5}, "mlp_ratio must be a positive integer, got 1.5"),
        ({"neuron": "lift"}, "unknown neuron 'lift'; did you mean 'lif'"),
        ({"init": "truncate"}, "unknown init 'truncate'; did you mean 'truncated'"),
        ({"batch_norm": "tbdn"}, "unknown batch_norm 'tbdn'; did you mean 'tdbn'"),
        ({"tao": 2.0}, "unknown LIF parameter 'tao'; did you mean 'tau'"),
        ({"attention_threshold": 0.0}, "v_reset must be below v_threshold = 0"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    """What is wrong, what was given, what is allowed."""
    with pytest.raises(st.SaltationError, match=message):
        small(**options)
