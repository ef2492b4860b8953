"""Losses of every step's output: against plain torch, and models that give such outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st


def plain(outputs: Tensor, labels: Tensor, lamb: float, phi: float) -> Tensor:
    """The paper's loss, a step after the other, from exponentials."""
    total = outputs.new_zeros(())
    for step in outputs:
        entropy = outputs.new_zeros(())
        square = outputs.new_zeros(())
        for sample, label in zip(step, labels.tolist(), strict=True):
            entropy = entropy - (sample[label].exp() / sample.exp().sum()).log()
            square = square + sum((o - phi) ** 2 for o in sample) / len(sample)
        total = total + ((1 - lamb) * entropy + lamb * square) / len(labels)
    return total / len(outputs)


@pytest.mark.parametrize(("lamb", "phi"), [(0.0, 1.0), (0.05, 1.0), (0.5, -0.3), (1e-3, 0.5)])
@pytest.mark.parametrize("steps", [1, 4])
def test_tet_is_the_papers(steps: int, lamb: float, phi: float) -> None:
    """The value and its gradient, in float64."""
    noise = torch.Generator().manual_seed(0)
    outputs = 3 * torch.randn(steps, 6, 5, generator=noise, dtype=torch.float64)
    outputs.requires_grad_()
    labels = torch.tensor([0, 4, 2, 2, 1, 3])
    one = st.tet_loss(outputs, labels, regulariser=lamb, target=phi)
    two = plain(outputs, labels, lamb, phi)
    torch.testing.assert_close(one, two, rtol=0, atol=1e-12)
    (mine,) = torch.autograd.grad(one, outputs)
    (other,) = torch.autograd.grad(two, outputs)
    torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)


def test_every_step_has_to_answer() -> None:
    """Where one step answers for all, the loss of the mean is small and that of TET is not."""
    outputs = torch.zeros(4, 2, 3)
    outputs[0, :, 1] = 40.0
    labels = torch.tensor([1, 1])
    assert nn.functional.cross_entropy(outputs.mean(0), labels) < 1e-3
    assert st.tet_loss(outputs, labels) > 0.75 * torch.tensor(3.0).log() - 1e-6


MAKES: dict[str, Any] = {
    "vgg": lambda **o: st.spiking_vgg(2, 5, 8, stages=2, base_channels=4, v_threshold=0.2, **o),
    "sew_resnet": lambda **o: st.sew_resnet("basic", (1, 1), 2, 5, width=4, v_threshold=0.2, **o),
    "spikformer": lambda **o: st.spikformer(
        2, 5, 8, patch=2, depth=1, width=8, heads=2, v_threshold=0.2, **o
    ),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", MAKES)
def test_logits_are_the_mean_of_the_outputs(name: str, training: bool) -> None:
    """Also in training, where the same spikes are dropped; for images and sequences."""
    torch.manual_seed(0)
    network = MAKES[name](steps=3, per_step=True).double()
    x = 2 * torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        network.readout.bias.fill_(0.3)
        for _ in range(20):  # for running statistics with which there are spikes
            network(x)
    network.train(training)
    for given, steps in ((x, 3), (torch.stack([x, 0 * x]), 2)):
        results = []
        for network.per_step in (True, False):
            torch.manual_seed(5)
            results.append(network(given))
        outputs, logits = results
        assert outputs.shape == (steps, 4, 5)
        assert outputs.std(0).max() > 1e-3
        torch.testing.assert_close(outputs.mean(0), logits, rtol=0, atol=1e-10)


def test_outputs_of_a_step_are_those_of_its_spikes() -> None:
    """The readout of the spikes times T of a VGG, whose logits are of their sum."""
    torch.manual_seed(0)
    network = MAKES["vgg"](steps=3, per_step=True).eval()
    x = 2 * torch.randn(4, 2, 8, 8)
    spikes = network.stages(st.direct(x, 3)).flatten(2)
    assert 0 < spikes.mean() < 1
    torch.testing.assert_close(network(x), torch.stack([network.readout(3 * s) for s in spikes]))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((torch.zeros(4, 3), torch.zeros(4).long()), {}, r"\[T, B, classes\] .* got \[4, 3\]"),
        ((torch.zeros(0, 4, 3), torch.zeros(4).long()), {}, r"at least one, got \[0, 4, 3\]"),
        (([1.0], torch.zeros(4).long()), {}, "got list"),
        ((torch.zeros(2, 4, 3), torch.zeros(2).long()), {}, r"got torch.int64 \[2\]"),
        ((torch.zeros(2, 4, 3), torch.zeros(4)), {}, r"got torch.float32 \[4\]"),
        (
            (torch.zeros(2, 4, 3), torch.zeros(4).long()),
            {"regulariser": 1.0},
            r"regulariser must be in \[0, 1\), got 1.0",
        ),
        (
            (torch.zeros(2, 4, 3), torch.zeros(4).long()),
            {"target": float("nan")},
            "target must be finite, got nan",
        ),
    ],
)
def test_bad_arguments_are_refused(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(st.SaltationError, match=message):
        st.tet_loss(*arguments, **options)


def test_squared_error_of_steps_that_count() -> None:
    """Weighted as the mask says, over the scale; nothing outside it has an effect, NaN neither."""
    torch.manual_seed(0)
    outputs = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.randn(4, 2, 3, dtype=torch.float64)
    errors = (outputs - targets).square().mean(-1)
    torch.testing.assert_close(st.mse_loss(outputs, targets, scale=2.0), errors.mean() / 2)
    weights = torch.tensor([[1.0, 1.0], [1.0, 0.5], [1.0, 0.0], [0.0, 0.0]]).double()
    wrong = torch.where(weights[..., None] > 0, outputs, torch.nan)
    found = st.mse_loss(wrong, targets, mask=weights)
    torch.testing.assert_close(found, (errors * weights).sum() / 4.5)
    (gradient,) = torch.autograd.grad(found, outputs)
    assert gradient.isfinite().all()
    assert gradient[3].abs().max() == gradient[2, 1].abs().max() == 0


def test_every_step_has_a_label_and_samples_end_early() -> None:
    """Labels of steps, and steps that do not count, as in a plain loop over both."""
    torch.manual_seed(0)
    outputs, labels = torch.randn(4, 2, 3), torch.randint(3, (4, 2))
    mask = st.lengths_mask(torch.tensor([4, 2]), 4)
    each = [
        torch.nn.functional.cross_entropy(outputs[t, b : b + 1], labels[t, b : b + 1])
        for t in range(4)
        for b in range(2)
        if mask[t, b]
    ]
    torch.testing.assert_close(st.tet_loss(outputs, labels, mask=mask), torch.stack(each).mean())
    same = st.tet_loss(outputs, labels[0].expand(4, 2))
    torch.testing.assert_close(st.tet_loss(outputs, labels[0]), same)
    with pytest.raises(st.SaltationError, match=r"shape of outputs, \[4, 2, 3\], got"):
        st.mse_loss(outputs, outputs[:, :, :1])
