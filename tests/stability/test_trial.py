"""The trial of a diagnosis: evidence that costs the network nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import saltation as st
from saltation.stability import trial as trials
from tests.stability.digits import LABELS, chain, sequence

BATCH = torch.arange(1300, 1316)


class Everything(nn.Module):
    """Normalisation, dropout, random numbers, tied weights, and a counter of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm1d(64), nn.Dropout(0.5)
        self.a, self.b, self.out = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.b.weight = self.a.weight
        self.one, self.two = st.LIF(beta=0.8), st.LIF(beta=0.8)
        self.register_buffer("seen", torch.zeros(()))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen += 1
        current = self.norm(self.a(x).flatten(0, 1)).view(x.shape)
        current = 2 * current + 0.01 * torch.randn_like(current)
        out: Tensor = self.out(self.dropout(self.two(self.b(self.one(current)))))
        return out


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def state_of(network: nn.Module) -> dict[str, Any]:
    return {name: (t, t.clone(), t._version) for name, t in tensors_of(network).items()}


def test_the_network_is_left_as_it_was() -> None:
    """The same tensors with the same values, unwritten; gradients, attributes, random numbers."""
    torch.manual_seed(0)
    network = Everything()
    x, y = sequence(BATCH), LABELS[BATCH]
    cross_entropy(network(x).mean(0), y).backward()
    gradients = {n: p.grad for n, p in network.named_parameters()}
    before, random, calls = state_of(network), torch.get_rng_state(), network.calls
    found = st.diagnose(network, x, y)
    assert found.trial is not None
    assert found.trial.after < found.trial.before
    after = tensors_of(network)
    assert before.keys() == after.keys()
    for name, (tensor, values, version) in before.items():
        assert after[name] is tensor, name
        assert torch.equal(tensor, values), name
        assert tensor._version == version, name
    assert network.b.weight is network.a.weight
    assert all(p.grad is gradients[n] for n, p in network.named_parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert network.training
    assert network.calls == calls
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_a_network_that_cannot_be_copied() -> None:
    """Hidden states with a gradient, from a pass of the user's: snnTorch's after every step."""
    snntorch = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    torch.manual_seed(0)
    neuron = snntorch.Leaky(beta=0.8, init_hidden=True)
    network = nn.Sequential(nn.Linear(64, 32), neuron, nn.Linear(32, 10))
    network(sequence(BATCH)[0])
    hidden = neuron.mem
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(network)
    found = st.diagnose(network, sequence(BATCH), LABELS[BATCH])
    assert found.trial is not None
    assert found.trial.after < found.trial.before
    assert neuron.mem is hidden


def test_a_walk_that_knows_the_network_by_itself() -> None:
    """A loop that refers to the user's own variable is the one that is trained."""
    torch.manual_seed(0)
    network = chain(1, 32, beta=0.8)

    def walk(_: nn.Module, x: Tensor, end: Any) -> None:
        for step in x.split(1):
            network(step)
            end()

    adapted = st.adapt(network, walk=walk)

    def loss(output: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(output.flatten(0, 1).mean(0), y)

    before = state_of(network)
    found = st.diagnose(adapted, sequence(BATCH), LABELS[BATCH], loss=loss)
    plain = st.diagnose(network, sequence(BATCH), LABELS[BATCH])
    assert found.trial is not None
    assert plain.trial is not None
    assert found.trial.losses == pytest.approx(plain.trial.losses, rel=1e-4)
    assert all(torch.equal(t, v) for t, v, _ in before.values())


def test_the_trial_is_adam_on_the_batch() -> None:
    """To the losses of a loop written out."""
    torch.manual_seed(0)
    network = chain(1, 32, beta=0.8)
    x, y = sequence(BATCH), LABELS[BATCH]
    found = st.diagnose(network, x, y, trial=4)
    optimizer, losses = torch.optim.Adam(network.parameters(), lr=1e-3), []
    for _ in range(5):
        loss = cross_entropy(network(x).mean(0), y)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert found.trial is not None
    assert found.trial.losses == pytest.approx(losses, rel=1e-5)
    assert f"trial: 4 steps of Adam, loss {losses[0]:.4g} -> {losses[-1]:.4g}" in str(found)


def test_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for, or too costly, unless a number of steps is given; each is said."""
    torch.manual_seed(0)
    network, x, y = chain(1, 32, beta=0.8), sequence(BATCH), LABELS[BATCH]
    found = st.diagnose(network, x, y, trial=0)
    assert (found.trial, found.untried) == (None, "trial=0")
    assert "no trial: trial=0" in str(found)
    for name, what in (("MOST_PARAMETERS", "parameters"), ("MOST_SITES", "spikes to decide")):
        with monkeypatch.context() as patch:
            patch.setattr(trials, name, 10)
            assert what in st.diagnose(network, x, y).untried
            asked = st.diagnose(network, x, y, trial=2).trial
            assert asked is not None
            assert asked.steps == 2


@pytest.mark.parametrize("steps", [-1, 1.5, True, "3"])
def test_steps_that_cannot_be(steps: Any) -> None:
    network, x, y = chain(1, 32, beta=0.8), sequence(BATCH), LABELS[BATCH]
    with pytest.raises(st.SaltationError, match="trial must be a number of steps of at least 0"):
        st.diagnose(network, x, y, trial=steps)


def test_a_trial_that_fails_is_told() -> None:
    """A loss that takes the initial weights only: the diagnosis is there, without a trial."""
    torch.manual_seed(0)
    network, x, y = chain(1, 32, beta=0.8), sequence(BATCH), LABELS[BATCH]
    mine = network[0].weight

    def loss(output: Tensor, y: Tensor) -> Tensor:
        if network[0].weight is not mine:
            raise RuntimeError("these are not my weights\nat all")
        return cross_entropy(output.mean(0), y)

    found = st.diagnose(network, x, y, loss=loss)
    assert found.trial is None
    assert found.untried == "RuntimeError: these are not my weights"
    assert network[0].weight is mine


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_gradients(mode: Any) -> None:
    """The diagnosis is the same within."""
    torch.manual_seed(0)
    network, y = chain(1, 32, beta=0.8), LABELS[BATCH]
    outside = st.diagnose(network, sequence(BATCH), y)
    with mode():
        inside = st.diagnose(network, sequence(BATCH), y)
    assert str(inside) == str(outside)


def test_evidence_is_in_the_words() -> None:
    """What the trial contradicts is told, and no fault; what it does not, says so."""
    torch.manual_seed(0)
    wakes = chain(2, 128, beta=0.5, surrogate=st.surrogate.Triangle())
    found = st.diagnose(wakes, sequence(BATCH), LABELS[BATCH])
    assert found.findings == []
    assert found.notes[0].kind == "silent"
    assert "No fault was found." in str(found)
    assert "no fault: activity dies at '3'" in str(found)
    assert "yet the weights before it learn" in str(found)
    with torch.no_grad():
        wakes[2].bias -= 5  # type: ignore[operator]
    stays = st.diagnose(wakes, sequence(BATCH), LABELS[BATCH])
    assert "the loss is at ln(classes) = 2.303 and stays there for 50 steps of Adam" in str(stays)
