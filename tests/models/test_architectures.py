"""Networks by name and depth: what fits, what is refused, and that all of them are alike to use."""

from __future__ import annotations

import pytest
import torch

import saltation as st
from saltation.layers.recurrent import neuron_layers
from saltation.models import ARCHITECTURES
from saltation.models.sew_resnet import counts_of
from saltation.models.spikformer import blocks_of, spikformer_of_depth
from saltation.models.vgg import stages_of, vgg_of_depth

every = pytest.mark.parametrize("name", ARCHITECTURES)


@every
@pytest.mark.parametrize("init", ["kaiming", "scaled"])
def test_depth_is_the_number_of_neuron_layers(name: str, init: str) -> None:
    """Images and sequences of them give logits, and λ can be estimated."""
    kind = ARCHITECTURES[name]
    depth = {"sew_resnet": 5, "ms_resnet": 5, "ms_mlp": 5, "spikformer": 10}.get(name, 4)
    assert kind.check(depth, 16) == depth
    torch.manual_seed(0)
    network = kind.build((3, 16, 16), 7, depth, base_channels=3, steps=2, init=init).eval()
    beside = ("shortcut", "key", "value")
    path = [name for name in neuron_layers(network) if not any(part in name for part in beside)]
    assert len(path) == depth
    x = torch.rand(5, 3, 16, 16)
    assert network(x).shape == (5, 7)
    torch.testing.assert_close(network(x), network(st.direct(x, 2)))
    assert torch.isfinite(st.lyapunov(network, st.direct(x, 2)).exponent)
    with pytest.raises(st.SaltationError, match="unknown init"):
        kind.build((3, 16, 16), 7, depth, base_channels=3, steps=2, init="kaimin")


@every
def test_a_depth_that_is_refused_is_refused_with_depths_that_fit(name: str) -> None:
    kind = ARCHITECTURES[name]
    for depth in range(-1, 20):
        try:
            assert kind.check(depth, 32) == depth
        except st.SaltationError as error:
            _, _, near = str(error).partition("nearest that fit: ")
            for other in near.rstrip(")").split(" and "):
                assert kind.check(int(other), 32) == int(other)


@pytest.mark.parametrize(
    ("depth", "side", "parts"),
    [
        *((1, 32, (1, 1)), (3, 32, (3, 1)), (4, 32, (4, 1)), (8, 32, (4, 2)), (16, 32, (4, 4))),
        *((5, 32, None), (0, 32, None), (6, 8, (3, 2)), (4, 8, None), (1, 1, None)),
    ],
)
def test_stages_of_a_depth(depth: int, side: int, parts: tuple[int, int] | None) -> None:
    assert stages_of(depth, side) == parts


@pytest.mark.parametrize(
    ("depth", "side", "counts"),
    [
        *((3, 32, (1,)), (9, 32, (1, 1, 1, 1)), (17, 32, (2, 2, 2, 2)), (33, 32, (4, 4, 4, 4))),
        *((1, 32, None), (4, 32, None), (11, 32, None), (7, 4, (1, 1, 1)), (9, 4, None)),
    ],
)
def test_blocks_of_a_depth(depth: int, side: int, counts: tuple[int, ...] | None) -> None:
    assert counts_of(depth, side) == counts


@pytest.mark.parametrize(
    ("depth", "blocks"), [(10, 1), (15, 2), (25, 4), (5, None), (0, None), (-5, None), (12, None)]
)
def test_blocks_of_a_spikformer(depth: int, blocks: int | None) -> None:
    assert blocks_of(depth) == blocks


@pytest.mark.parametrize(
    ("side", "base", "positions", "heads"),
    [(32, 48, 8, 12), (28, 4, 7, 1), (8, 3, 4, 3), (6, 8, 6, 2), (7, 2, 7, 2)],
)
def test_spikformers_fit_any_image(side: int, base: int, positions: int, heads: int) -> None:
    """Four patches side by side or more, and 4-384 with 48 channels."""
    network = spikformer_of_depth((1, side, side), 10, 10, base_channels=base, steps=2)
    attention = network.encoders[0].attention
    assert attention.heads == heads  # type: ignore[union-attr]
    seen: list[torch.Size] = []
    network.position.register_forward_hook(lambda *given: seen.append(given[2].shape))
    assert network(torch.rand(3, 1, side, side)).shape == (3, 10)
    assert seen == [torch.Size([2, 3, 8 * base, positions, positions])]


def test_refusals() -> None:
    with pytest.raises(st.SaltationError, match="nearest that fit: 10 and 15"):
        ARCHITECTURES["spikformer"].check(11, 32)
    with pytest.raises(st.SaltationError, match="no whole number of blocks"):
        spikformer_of_depth((1, 8, 8), 10, 11)
    with pytest.raises(st.SaltationError, match="nearest that fit: 4 and 8"):
        ARCHITECTURES["vgg"].check(6, 32)
    with pytest.raises(st.SaltationError, match="nearest that fit: none"):
        ARCHITECTURES["vgg"].check(1, 1)
    with pytest.raises(st.SaltationError, match=r"nearest that fit: 1\)"):
        ARCHITECTURES["mlp"].check(0, 32)
    with pytest.raises(st.SaltationError, match="do not divide"):
        vgg_of_depth((1, 32, 32), 10, 6)
    with pytest.raises(st.SaltationError, match="depth must be at least 1, got 0"):
        ARCHITECTURES["mlp"].build((1, 8, 8), 10, 0)


def test_rows_of_pixels_are_no_images() -> None:
    with pytest.raises(st.SaltationError, match=r"images \[B, C, H, W\],? or .*, got \[2, 64\]"):
        ARCHITECTURES["mlp"].build((1, 8, 8), 10, 1)(torch.rand(2, 64))


def test_bare_vgg_has_no_normalisation() -> None:
    network = ARCHITECTURES["bare_vgg"].build((1, 16, 16), 10, 4, base_channels=2)
    assert {p.ndim for n, p in network.stages.named_parameters()} == {4}  # type: ignore[union-attr]
