"""Batch normalisation of every step apart: against plain torch, over calls, and what it refuses."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st

Norm = st.SpikingBatchNorm1d | st.SpikingBatchNorm2d


class Plain(nn.Module):
    """BNTT from its formulas: means and variances written out, running ones with momentum 0.1."""

    def __init__(self, channels: int, steps: int, own: bool, bias: bool) -> None:
        super().__init__()
        shape = (steps, channels) if own else (channels,)
        self.gamma = nn.Parameter(torch.ones(shape))
        self.beta = nn.Parameter(torch.zeros(shape)) if bias else None
        self.mean, self.var = torch.zeros(steps, channels), torch.ones(steps, channels)

    def forward(self, x: Tensor) -> Tensor:
        out = []
        for t in range(len(x)):
            by_channel = x[t].transpose(0, 1).flatten(1)
            if self.training:
                n = by_channel.shape[1]
                mean = by_channel.sum(1) / n
                var = ((by_channel - mean[:, None]) ** 2).sum(1) / n
                with torch.no_grad():
                    self.mean[t] = 0.9 * self.mean[t] + 0.1 * mean
                    self.var[t] = 0.9 * self.var[t] + 0.1 * var * n / (n - 1)
            else:
                mean, var = self.mean[t], self.var[t]
            gamma = self.gamma[t] if self.gamma.ndim == 2 else self.gamma
            y = gamma[:, None] * (by_channel - mean[:, None]) / (var[:, None] + 1e-5).sqrt()
            if self.beta is not None:
                y = y + (self.beta[t] if self.beta.ndim == 2 else self.beta)[:, None]
            out.append(y.view_as(x[t].transpose(0, 1)).transpose(0, 1))
        return torch.stack(out)


def sequence(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers whose mean and deviation grow from step to step."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    grow = torch.arange(1.0, shape[0] + 1, dtype=torch.float64).view(-1, *[1] * (len(shape) - 1))
    return grow * (x + 0.5)


def drawn(norm: nn.Module) -> None:
    """Factors and offsets that are not those of a fresh module."""
    noise = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(0.5 + torch.rand(parameter.shape, generator=noise))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", ["shared", "per_step"])
@pytest.mark.parametrize("shape", [(3, 5, 4, 6, 6), (3, 5, 4), (3, 5, 4, 7), (1, 6, 4)])
def test_equals_plain_torch(shape: tuple[int, ...], affine: str, bias: bool) -> None:
    """Outputs, gradients and running statistics, over three batches and then in evaluation."""
    kind = st.SpikingBatchNorm2d if len(shape) == 5 else st.SpikingBatchNorm1d
    norm = kind(4, steps=3, affine=affine, bias=bias)
    peer = Plain(4, 3, affine == "per_step", bias)
    for module in (norm, peer):
        module.double()
        drawn(module)
    peer.mean, peer.var = peer.mean.double(), peer.var.double()
    for seed in range(4):
        training = seed < 3
        x = sequence(*shape, seed=seed).requires_grad_()
        one, two = norm.train(training)(x), peer.train(training)(x)
        torch.testing.assert_close(one, two, rtol=0, atol=1e-10)
        weight = sequence(*shape, seed=9)
        for mine, other in zip(
            torch.autograd.grad((weight * one).sum(), [x, *norm.parameters()]),
            torch.autograd.grad((weight * two).sum(), [x, *peer.parameters()]),
            strict=True,
        ):
            torch.testing.assert_close(mine, other, rtol=0, atol=1e-8)
        torch.testing.assert_close(norm.running_mean, peer.mean, rtol=0, atol=1e-12)
        torch.testing.assert_close(norm.running_var, peer.var, rtol=0, atol=1e-12)
    assert norm.num_batches_tracked.tolist() == [3] * shape[0] + [0] * (3 - shape[0])


def test_evaluation_normalises_as_training_does() -> None:
    """After many batches every step has mean 0 and deviation 1, which one running mean has not."""
    norm = st.SpikingBatchNorm2d(2, steps=4)
    shared = nn.BatchNorm2d(2)
    for seed in range(60):
        x = sequence(4, 16, 2, 5, 5, seed=seed).float()
        norm(x)
        for step in x:
            shared(step)
    x = sequence(4, 64, 2, 5, 5, seed=99).float()
    y = norm.eval()(x)
    assert y.mean((1, 3, 4)).abs().max() < 0.1
    assert (y.std((1, 3, 4)) - 1).abs().max() < 0.1
    mixed = torch.stack([shared.eval()(step) for step in x])
    assert mixed.mean((1, 3, 4)).abs().max() > 0.2
    assert mixed.std((1, 3, 4)).max() > 2 * mixed.std((1, 3, 4)).min()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine", ["shared", "per_step"])
def test_a_repeated_step_is_a_sequence_of_copies(
    affine: str, momentum: float | None, training: bool
) -> None:
    """Outputs and statistics; in training with one γ the result is a view again."""
    norm = st.SpikingBatchNorm2d(3, 4, affine=affine, momentum=momentum).double()
    drawn(norm)
    norm(sequence(4, 6, 3, 5, 5))
    other = copy.deepcopy(norm).train(training)
    norm.train(training)
    x = st.direct(sequence(1, 6, 3, 5, 5, seed=1)[0], 4)
    y = norm(x)
    torch.testing.assert_close(y, other(x.contiguous()))
    assert (y.stride(0) == 0) == (training and affine == "shared")
    for one, two in zip(norm.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("training", [False, True])
def test_without_running_statistics(training: bool) -> None:
    """As torch.func takes them away: the batch's own, in evaluation too."""
    norm = st.SpikingBatchNorm1d(3, 2).double().train(training)
    torch.func.replace_all_batch_norm_modules_(norm)
    x = sequence(2, 6, 3)
    torch.testing.assert_close(norm(x).mean(1), torch.zeros(2, 3, dtype=torch.float64))
    repeated = st.direct(x[0], 2)
    torch.testing.assert_close(norm(repeated)[1], norm(x)[0])


def test_state_is_saved_and_loaded() -> None:
    """Into a module of as many steps; a checkpoint of one running mean is refused by torch."""
    norm = st.SpikingBatchNorm2d(3, 2, affine="per_step")
    norm(sequence(2, 4, 3, 5, 5).float())
    other = st.SpikingBatchNorm2d(3, 2, affine="per_step")
    other.load_state_dict(norm.state_dict())
    x = sequence(2, 4, 3, 5, 5, seed=1).float()
    assert torch.equal(norm.eval()(x), other.eval()(x))
    with pytest.raises(RuntimeError, match="size mismatch for running_mean"):
        other.load_state_dict(nn.BatchNorm2d(3).state_dict())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("affine", ["shared", "per_step"])
def test_estimators_know_which_step_is_next(affine: str, training: bool) -> None:
    """They run networks one step at a time: each step has its own statistics, γ and β there, too.

    With the first step's for all, growth over depth would be that of another network.
    """
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(6, 32),
        st.SpikingBatchNorm1d(32, 5, affine=affine),
        st.LIF(tau=2.0),
        nn.Linear(32, 32),
        st.SpikingBatchNorm1d(32, 5, affine=affine),
        st.LIF(tau=2.0),
    ).double()
    drawn(net[1])
    drawn(net[4])
    for seed in range(20):
        net(sequence(5, 16, 6, seed=seed))
    net.train(training)
    x = sequence(5, 16, 6, seed=50)
    seen: dict[str, list[Tensor]] = {"whole": [], "steps": []}
    handle = net[5].register_forward_hook(lambda _, __, y: seen["whole"].append(y))
    net.train(False)(x)
    handle.remove()
    net.train(training)
    buffers = [b.clone() for b in net.buffers()]
    handle = net[5].register_forward_hook(lambda _, __, y: seen["steps"].append(y))
    found = st.lyapunov(net, x, estimator="tangent")
    handle.remove()
    assert found.exponents.isfinite().all()
    assert all(map(torch.equal, buffers, net.buffers()))
    assert [norm.begins for norm in (net[1], net[4])] == [0, 0]
    if not training:
        assert 0.05 < seen["whole"][0].mean() < 0.9
        steps = [y for y in seen["steps"] if y.shape[:2] == (1, 16)]  # others are of probes
        assert torch.equal(torch.cat(steps[-5:]).detach(), seen["whole"][0])


BAD_CALLS: list[tuple[Any, str]] = [
    (torch.zeros(2, 4, 5), r"sequences \[T, B, 3\] or \[T, B, 3, L\] of at least one step"),
    (torch.zeros(4, 3), "at least one step, got torch.float32"),
    (torch.zeros(0, 4, 3), r"got torch.float32 \[0, 4, 3\]"),
    (torch.zeros(2, 4, 3, dtype=torch.int64), "floating-point sequences"),
    (torch.zeros(3, 4, 3), "statistics of 2 steps, got a sequence that ends with step 3"),
    (torch.zeros(2, 1, 3), "one value per step and channel in training"),
]


@pytest.mark.parametrize(("x", "message"), BAD_CALLS)
def test_bad_inputs_are_refused(x: Tensor, message: str) -> None:
    """Other channels, dimensions and types; more steps than there are statistics."""
    with pytest.raises(st.SaltationError, match=message):
        st.SpikingBatchNorm1d(3, 2)(x)


def test_a_step_that_was_not_trained_is_refused_in_evaluation() -> None:
    """Where others were; a fresh module has means 0 and variances 1, as torch's."""
    norm = st.SpikingBatchNorm1d(3, 4)
    x = sequence(4, 5, 3).float()
    torch.testing.assert_close(norm.eval()(x), x, rtol=1e-4, atol=0)
    norm.train()(x[:2])
    assert norm.eval()(x[:2]).isfinite().all()
    with pytest.raises(st.SaltationError, match=r"trained on steps up to 2, got .* step 3"):
        norm(x)
    with pytest.raises(st.SaltationError, match=r"of 4 steps, got .* ends with step 5"):
        norm.eval()(sequence(5, 5, 3).float())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 0, "steps": 2}, "channels must be a positive integer, got 0"),
        ({"channels": 2, "steps": 2.0}, "steps must be a positive integer, got 2.0"),
        ({"channels": 2, "steps": True}, "steps must be a positive integer, got True"),
        ({"channels": 2, "steps": 2, "affine": "per step"}, "did you mean 'per_step'"),
    ],
)
def test_bad_options_are_refused(arguments: dict[str, Any], message: str) -> None:
    """What was given, what is allowed."""
    for kind in (st.SpikingBatchNorm1d, st.SpikingBatchNorm2d):
        with pytest.raises(st.SaltationError, match=message):
            kind(**arguments)


def _models() -> Any:
    return {
        "vgg": lambda **o: st.spiking_vgg(2, 5, 8, stages=2, base_channels=4, dropout=0.0, **o),
        "sew": lambda **o: st.sew_resnet("basic", (1, 1), 2, 5, width=4, **o),
        "spikformer": lambda **o: st.spikformer(
            2, 5, 8, patch=2, depth=1, width=8, heads=2, v_threshold=0.2, **o
        ),
    }


@pytest.mark.parametrize("name", _models())
def test_models_take_it_by_name(name: str) -> None:
    """In training they are those with `step`; statistics are kept of every step apart."""
    made = []
    for batch_norm in ("step", "per_step"):
        torch.manual_seed(0)
        made.append(_models()[name](steps=3, batch_norm=batch_norm).double())
    step, per_step = made
    x = 2 * torch.randn(6, 2, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    for _ in range(40):
        torch.testing.assert_close(per_step(x), step(x), rtol=0, atol=1e-9)
    norms = [m for m in per_step.modules() if isinstance(m, st.SpikingBatchNorm2d)]
    assert len(norms) == sum(isinstance(m, nn.BatchNorm2d) for m in step.modules())
    assert {norm.steps for norm in norms} == {3}
    for one, two in itertools.pairwise(norms[1].running_mean):
        assert not torch.allclose(one, two)
    with pytest.raises(st.SaltationError, match="statistics of 3 steps"):
        per_step(st.direct(x, 4))
