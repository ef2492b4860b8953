"""Parts of convolutional networks: what is computed at every step, and what once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.models.blocks import (
    AvgPool,
    ConvBlock,
    MaxPool,
    SequenceBatchNorm,
    at_every_step,
)


def images(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_steps_in_one_call_and_a_repeated_step_once() -> None:
    """The steps behind each other, or the one there is; what comes of that one is a view again."""
    seen: list[list[int]] = []

    def halved(x: Tensor) -> Tensor:
        seen.append(list(x.shape))
        return x[:, :1] / 2

    x = images(5, 3, 2, 4, 4)
    torch.testing.assert_close(at_every_step(halved, x), x[:, :, :1] / 2)
    repeated = at_every_step(halved, st.direct(x[0], 5))
    torch.testing.assert_close(repeated, st.direct(x[0, :, :1] / 2, 5))
    assert repeated.stride(0) == 0
    assert seen == [[15, 2, 4, 4], [3, 2, 4, 4]]


def test_a_block_is_its_parts_step_by_step() -> None:
    """Convolution, normalisation and pooling of each step, and neurons over all of them."""
    torch.manual_seed(0)
    block, pool = ConvBlock(2, 4, "lif", beta=0.5).double(), AvgPool(2)
    x = images(3, 5, 2, 6, 6).double()
    conv, norm = block.conv, nn.BatchNorm2d(4).double()
    currents = torch.stack([norm(conv(step)) for step in x])
    expected = st.LIF(beta=0.5)(currents)
    spikes = block(x)
    assert 0.05 < spikes.mean() < 0.6
    assert torch.equal(spikes, expected)
    pooled = torch.stack([nn.functional.avg_pool2d(step, 2) for step in expected])
    assert torch.equal(pool(spikes), pooled)


def test_unknown_names_are_refused() -> None:
    """Each with a suggestion."""
    with pytest.raises(st.SaltationError, match="unknown neuron 'lift'; did you mean 'lif'"):
        ConvBlock(2, 4, "lift")
    with pytest.raises(st.SaltationError, match="unknown batch_norm 'al'; did you mean 'all'"):
        SequenceBatchNorm(2, "al")


@pytest.mark.parametrize("statistics", ["step", "all"])
def test_batch_norm_over_steps_or_samples(statistics: str) -> None:
    """Means 0 and variances 1 of each step, or of all; steps of different size tell them apart."""
    norm = SequenceBatchNorm(3, statistics)
    x = images(4, 5, 3, 6, 6) * torch.tensor([1.0, 2.0, 4.0, 8.0]).view(4, 1, 1, 1, 1) + 1
    y = norm(x)
    axes = (1, 3, 4) if statistics == "step" else (0, 1, 3, 4)
    torch.testing.assert_close(y.mean(axes), torch.zeros(y.mean(axes).shape), rtol=0, atol=1e-5)
    of_steps = y.var((1, 3, 4), correction=0)
    if statistics == "step":
        torch.testing.assert_close(of_steps, torch.ones(4, 3), rtol=0, atol=1e-3)
    else:
        assert (of_steps[1:] > 2 * of_steps[:-1]).all()
    assert norm.num_batches_tracked == (4 if statistics == "step" else 1)
    before = norm.running_var.clone()
    shown = norm.eval()(x)
    expected = (x - norm.running_mean.view(3, 1, 1)) / (before.view(3, 1, 1) + norm.eps).sqrt()
    torch.testing.assert_close(shown, expected)
    assert torch.equal(norm.running_var, before)


def _untracked(norm: SequenceBatchNorm) -> None:
    torch.func.replace_all_batch_norm_modules_(norm)


def _cumulative(norm: SequenceBatchNorm) -> None:
    # As torch.optim.swa_utils.update_bn does.
    norm.momentum = None


@pytest.mark.parametrize("change", [_untracked, _cumulative])
@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_as_torch_is_known_to_change_it(
    change: Callable[[SequenceBatchNorm], None], training: bool
) -> None:
    """Without running statistics, or with cumulative ones: as the steps one after the other."""
    norm, peer = SequenceBatchNorm(3).double(), nn.BatchNorm2d(3).double()
    change(norm)
    change(peer)  # type: ignore[arg-type]
    norm.train(training)
    peer.train(training)
    for x in (images(2, 4, 3, 5, 5).double(), st.direct(images(4, 3, 5, 5, seed=1).double(), 3)):
        torch.testing.assert_close(norm(x), torch.stack([peer(step) for step in x]))
    assert all(map(torch.allclose, norm.buffers(), peer.buffers()))


def test_threshold_dependent_batch_norm() -> None:
    """Mean 0 and deviation V_th over all steps together, which is what a block asks for."""
    x = images(4, 5, 3, 6, 6) * torch.tensor([1.0, 2.0, 4.0, 8.0]).view(4, 1, 1, 1, 1) + 1
    norm, plain = SequenceBatchNorm(3, "tdbn", 0.25), SequenceBatchNorm(3, "all")
    y = norm(x)
    torch.testing.assert_close(y, 0.25 * plain(x))
    torch.testing.assert_close(y.std((0, 1, 3, 4), correction=0), torch.full((3,), 0.25))
    made = ConvBlock(2, 4, "izhikevich", "tdbn", v_threshold=2.5)
    assert made.norm.weight.tolist() == [2.5] * 4
    assert ConvBlock(2, 4, "lif", "all", v_threshold=2.5).norm.weight.tolist() == [1.0] * 4


def test_threshold_dependent_batch_norm_is_spikingjellys() -> None:
    """The same currents and running statistics, in training and in evaluation."""
    peer = pytest.importorskip(
        "spikingjelly.activation_based.layer",
        reason="comparison with SpikingJelly needs: pip install --no-deps spikingjelly==2.0.0",
    ).ThresholdDependentBatchNorm2d(1.0, 0.5, 3)
    norm = SequenceBatchNorm(3, "tdbn", 0.5)
    for training in (True, True, False):
        x = images(4, 5, 3, 6, 6, seed=int(training))
        torch.testing.assert_close(norm.train(training)(x), peer.train(training)(x))
    assert all(map(torch.allclose, norm.buffers(), peer.buffers()))


@pytest.mark.parametrize("side", [4, 5])
def test_max_pooling_of_spikes_is_their_disjunction(side: int) -> None:
    """One where any of the window of 3x3 is, around every second pixel."""
    s = (images(2, 3, 1, side, side) > 1.5).float()
    pooled = MaxPool()(s)
    half = -(-side // 2)
    assert pooled.shape == (2, 3, 1, half, half)
    for i in range(half):
        for j in range(half):
            rows = slice(max(0, 2 * i - 1), 2 * i + 2)
            columns = slice(max(0, 2 * j - 1), 2 * j + 2)
            window = s[..., rows, columns].flatten(3).any(3).float()
            assert torch.equal(pooled[..., i, j], window)
