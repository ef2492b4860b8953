"""Perceptrons for features without places: against plain torch, step by step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, linear
from torch.nn.modules.batchnorm import _BatchNorm

import saltation as st
from saltation.models.mlp import image_mlp
from saltation.models.ms_mlp import ms_mlp

STEPS, BATCH, FEATURES, WIDTH, CLASSES = 6, 5, 3, 4, 2


def lif(currents: Tensor, beta: float, threshold: float, hard: bool) -> Tensor:
    """V <- beta V + I and a spike from the threshold on, behind which V is 0 (hard), or after which
    the threshold is subtracted in the next step."""
    potential, spike, spikes = torch.zeros_like(currents[0]), torch.zeros_like(currents[0]), []
    for current in currents:
        potential = beta * potential + current - (0 if hard else threshold * spike)
        spike = (potential >= threshold).double()
        potential = potential * (1 - spike) if hard else potential
        spikes.append(spike)
    return torch.stack(spikes)


def normalised(x: Tensor, norm: Any) -> Tensor:
    """With the statistics of all steps and samples."""
    rows = x.flatten(0, 1)
    return batch_norm(rows, None, None, norm.weight, norm.bias, training=True).view_as(x)


def random_input() -> Tensor:
    torch.manual_seed(0)
    return 2 * torch.rand(STEPS, BATCH, FEATURES, dtype=torch.float64)


def test_a_normalised_perceptron_is_its_plain_torch() -> None:
    x = random_input()
    network = image_mlp(
        (FEATURES,), CLASSES, 3, base_channels=WIDTH, steps=STEPS, batch_norm="all", beta=0.5
    ).double()
    maps = [m for m in network.modules() if isinstance(m, nn.Linear)]
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    assert [m.bias is None for m in maps] == [True] * 3 + [False]
    h = x
    for weights, norm in zip(maps[:-1], norms, strict=True):
        h = lif(normalised(linear(h, weights.weight), norm), 0.5, 1.0, hard=False)
    assert 0 < h.mean() < 1
    expected = linear(h, maps[-1].weight, maps[-1].bias).sum(0)
    torch.testing.assert_close(network(x), expected)


def test_a_residual_perceptron_is_its_plain_torch() -> None:
    x = random_input()
    network = ms_mlp((FEATURES,), CLASSES, 5, base_channels=WIDTH, steps=STEPS).double()
    maps: list[Any] = [m for m in network.modules() if isinstance(m, nn.Linear)]
    norms: list[Any] = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    assert [n.weight.abs().max().item() for n in norms] == [0.5, 0.5, 0.0, 0.5, 0.0]
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(0.5, 1.5)
    h = normalised(linear(x, maps[0].weight), norms[0])
    for first in (1, 3):
        branch = h
        for at in (first, first + 1):
            spikes = lif(branch, 0.25, 0.5, hard=True)
            branch = normalised(linear(spikes, maps[at].weight), norms[at])
        h = h + branch
    spikes = lif(h, 0.25, 0.5, hard=True)
    assert 0 < spikes.mean() < 1
    expected = linear(spikes, maps[-1].weight, maps[-1].bias).sum(0)
    torch.testing.assert_close(network(x), expected)


def test_a_fresh_residual_perceptron_hands_on_its_currents_at_any_depth() -> None:
    x = random_input().float()
    torch.manual_seed(1)
    outputs = []
    for depth in (3, 65):
        network = ms_mlp((FEATURES,), CLASSES, depth, base_channels=WIDTH, steps=STEPS)
        stem = next(m for m in network if isinstance(m, nn.Linear))
        nn.init.eye_(stem.weight)
        readout: Any = list(network)[-2]
        nn.init.ones_(readout.weight)
        outputs.append(network(x))
    torch.testing.assert_close(*outputs)


@pytest.mark.parametrize("statistics", ["step", "all", "tdbn", "per_step"])
def test_every_normalisation_takes_features(statistics: str) -> None:
    x = random_input().float()
    network = image_mlp(
        (FEATURES,), CLASSES, 2, base_channels=WIDTH, steps=STEPS, batch_norm=statistics
    )
    norm: Any = next(m for m in network.modules() if isinstance(m, _BatchNorm))
    for _ in range(100):
        network(x)
    currents = linear(x, next(m for m in network.modules() if isinstance(m, nn.Linear)).weight)
    own = currents.mean(1) if statistics == "per_step" else currents.mean((0, 1))
    torch.testing.assert_close(norm.running_mean, own.detach(), rtol=0.1, atol=0.02)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(st.SaltationError, match="odd number of layers of neurons, at least 3, got"):
        ms_mlp((3,), 2, 4)
    with pytest.raises(st.SaltationError, match="needs a normalisation"):
        ms_mlp((3,), 2, 5, batch_norm="none")
    network = image_mlp((3,), 2, 2, base_channels=4, steps=2, batch_norm="all")
    with pytest.raises(st.SaltationError, match=r"\[T, B, F\]"):
        network(torch.rand(3, 3))
