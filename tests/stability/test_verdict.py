"""Verdicts: planted faults are named first, and networks that learn are left in peace."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import saltation as st
from saltation.stability.layer import Layer
from saltation.stability.looks import LOOKS
from tests.stability.digits import FAULTY, HEALTHY, LABELS, accuracy_after, chain, sequence

BATCH = torch.arange(1300, 1332)


def diagnosed(network: nn.Module, given: Callable[[Any], Tensor] = sequence) -> st.Diagnosis:
    return st.diagnose(network, given(BATCH), LABELS[BATCH])


@pytest.mark.parametrize("name", HEALTHY)
def test_networks_that_learn_raise_no_alarm(name: str) -> None:
    build, given = HEALTHY[name]
    torch.manual_seed(0)
    found = diagnosed(build(), given)
    assert [str(finding) for finding in found.findings] == []
    assert found.trial is not None
    assert found.trial.after < found.trial.before


@pytest.mark.slow
@pytest.mark.parametrize("name", HEALTHY)
def test_they_do_learn(name: str) -> None:
    """Without which it says little that there is no alarm."""
    build, given = HEALTHY[name]
    torch.manual_seed(0)
    assert accuracy_after(build(), given) > 0.8


@pytest.mark.parametrize("name", FAULTY)
def test_a_planted_fault_is_named_first(name: str) -> None:
    kind, (build, given) = FAULTY[name]
    torch.manual_seed(0)
    assert diagnosed(build(), given).findings[0].kind == kind


# The gradient over the whole depth.


def layers(gradients: list[float]) -> list[Layer]:
    """Healthy but for the gradients of their inputs."""
    return [
        Layer(f"n{i}", 0.2, 0.1, 0.1, 1.0, 0.8, g, 1.0, 0.4, -0.3, 0.5, True, 0.0)
        for i, g in enumerate(gradients)
    ]


def looked_at(gradients: list[float]) -> list[Any]:
    return [finding for look in LOOKS for finding in look(layers(gradients))]


@pytest.mark.parametrize(
    ("per_layer", "number", "kind"),
    [
        (3.0, 16, "vanishing gradient"),
        (1 / 3, 16, "exploding gradient"),
        (2.0, 12, "vanishing gradient"),
        (9.0, 5, "vanishing gradient"),
        (1 / 9, 5, "exploding gradient"),
        (5.0, 4, ""),
        (1.3, 16, ""),
        (1.0, 40, ""),
    ],
)
def test_a_change_over_the_whole_depth(per_layer: float, number: int, kind: str) -> None:
    """No two neighbours differ tenfold; the words have the factor, the number and its root."""
    found = looked_at([per_layer**i for i in range(number)])
    assert [finding.kind for finding in found] == ([kind] if kind else [])
    if kind:
        factor = max(per_layer, 1 / per_layer)
        assert found[0].layer == "n0"
        assert f"over {number - 1} layers" in found[0].what
        assert f"{factor ** (number - 1):.2g}-fold" in found[0].what
        assert f"{factor:.3g}-fold per layer" in found[0].what


def test_one_jump_and_the_whole() -> None:
    """The neighbours are named, and the whole too where it is more than they are."""
    (jump,) = looked_at([1.0, 50.0, 50.0])
    assert jump.layer == "n0"
    assert "50-fold" in jump.what
    assert "per layer" not in jump.what
    (both,) = looked_at([1e-6, 50e-6, 1e-3, 1.0 / 50])
    assert "20-fold" in both.what or "50-fold" in both.what
    assert "over 3 layers, the gradient shrinks 2e+04-fold" in both.what


def test_a_fall_in_the_middle() -> None:
    """Between the layers where it begins and ends, whatever the gradient does outside."""
    (found,) = looked_at([1e-4, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 0.5])
    assert "from 'n5' to 'n0'" in found.what or "from 'n5' to 'n1'" in found.what


# Weights without a gradient.


class Between(nn.Module):
    """Two linear layers, with something done to what comes after the neurons, or to the output."""

    def __init__(self, after: Any = None, late: Any = None, classes: int = 10) -> None:
        super().__init__()
        self.a, self.norm, self.lif = nn.Linear(64, 30), nn.LayerNorm(30), st.LIF(beta=0.8)
        self.b = nn.Linear(30, classes)
        self.after = after or (lambda s: s)
        self.late = late or (lambda o: o)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.late(self.b(self.after(self.lif(self.norm(self.a(x))))))
        return out


BEFORE = ("a.weight", "a.bias", "norm.weight", "norm.bias")
ALL = (*BEFORE, "b.weight", "b.bias")


@pytest.mark.parametrize(
    ("network", "names"),
    [
        (lambda: Between(after=lambda s: s.detach()), BEFORE),
        (lambda: Between(after=lambda s: s.data), BEFORE),
        (lambda: Between(after=lambda s: torch.from_numpy(s.detach().numpy())), BEFORE),
        (lambda: Between(after=lambda s: 0 * s), BEFORE),
        (lambda: Between(after=lambda s: (s > 0.5).float()), BEFORE),
        (lambda: Between(late=lambda o: o.detach()), ALL),
        (lambda: Between(late=lambda o: 0 * o), ALL),
        (lambda: Between(late=lambda o: torch.softmax(1e4 * o.mean(0), 1)), ALL),
        (lambda: Between(late=lambda o: torch.sigmoid(o * 1e-3 + 1e3)), ALL),
        (lambda: Between(late=lambda o: o.clamp(5, 6)), ALL),
        (lambda: Between(late=lambda o: o.round().detach() + 0 * o), ALL),
    ],
)
def test_weights_without_a_gradient_are_named(
    network: Callable[[], nn.Module], names: tuple[str, ...]
) -> None:
    """Matrices, biases and norms; the first finding, and nothing else is said to lack one."""
    torch.manual_seed(0)
    found = diagnosed(network())
    assert found.findings[0].kind == "no gradient"
    named = [name for f in found.findings if f.kind == "no gradient" for name in f.weights]
    assert set(named) == set(names) or set(named) == {*names, "b.weight"}
    assert all(f"'{name}'" in str(found) for name in names)


def test_one_logit() -> None:
    """Cross-entropy of one class is always 0: said, with every weight."""
    torch.manual_seed(0)
    found = st.diagnose(Between(classes=1), sequence(BATCH), torch.zeros(32).long())
    assert found.findings[0].kind == "one class"
    assert set(found.findings[1].weights) == set(ALL)
    assert math.isnan(found.chance)


def test_a_batch_that_is_learnt_is_no_fault() -> None:
    """The loss is exactly 0 and so is every gradient, but the output is right."""
    torch.manual_seed(0)
    network, x = Between(late=lambda o: 1e5 * o), sequence(BATCH)
    found = st.diagnose(network, x, network(x).mean(0).argmax(1))
    assert found.loss == 0
    assert "no gradient" not in [finding.kind for finding in found.findings]


@pytest.mark.parametrize("gain", [1.0, 30.0])
def test_a_softmax_in_front_of_the_loss(gain: float) -> None:
    torch.manual_seed(0)
    found = diagnosed(Between(late=lambda o: torch.softmax(gain * o, -1)))
    assert [finding.kind for finding in found.findings] == ["softmax twice"]
    assert "cannot fall below 1.461" in str(found)
    assert "softmax" not in str(diagnosed(Between(late=lambda o: torch.log_softmax(o, -1))))


def test_unused_and_frozen_weights() -> None:
    """Those of a module that is never called are a finding; frozen ones are named, and no fault."""
    torch.manual_seed(0)
    network = Between()
    network.spare = nn.Linear(3, 3)
    network.a.requires_grad_(False)
    found = diagnosed(network)
    assert [(f.kind, f.weights) for f in found.findings] == [
        ("unused", ("spare.weight", "spare.bias"))
    ]
    assert [(f.kind, f.weights) for f in found.notes] == [("frozen", ("a.weight", "a.bias"))]
    assert "no fault: 'a.weight', 'a.bias' are frozen" in str(found)


def test_a_learned_decay_without_a_gradient() -> None:
    """Parameters of no dimension count."""
    snntorch = pytest.importorskip("snntorch", reason="snnTorch is not installed")

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            kinds = {"beta": 0.8, "learn_beta": True, "init_hidden": True}
            self.a, self.lif = nn.Linear(64, 30), snntorch.Leaky(**kinds)
            self.b = nn.Linear(30, 10)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.b(self.lif(self.a(x)).detach())
            return out

    assert "lif.beta" in diagnosed(Net()).findings[0].weights


def test_a_bias_in_front_of_a_normalisation_is_no_finding() -> None:
    """Its gradient is zero but for rounding, as it must be."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv1d(1, 8, 3), nn.BatchNorm1d(8)
            self.lif, self.out = st.LIF(beta=0.8), nn.Linear(8 * 62, 10)

        def forward(self, x: Tensor) -> Tensor:
            steps, samples = x.shape[:2]
            current = self.norm(self.conv(x.reshape(-1, 1, 64)))
            spikes = self.lif(current.reshape(steps, samples, 8, 62))
            out: Tensor = self.out(spikes.flatten(2))
            return out

    torch.manual_seed(0)
    assert diagnosed(Net()).findings == []


# Values that are not finite.


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["0.weight", "0.bias", "4.weight", "4.bias"])
def test_a_weight_that_is_not_finite_is_named_first(name: str, value: float) -> None:
    torch.manual_seed(0)
    network = chain(2, 32, beta=0.8)
    with torch.no_grad():
        dict(network.named_parameters())[name].flatten()[3] = value
    found = diagnosed(network)
    assert (found.findings[0].kind, found.findings[0].layer) == ("not finite", name)
    assert f"'{name}' is not finite: 1 of" in found.findings[0].what
    assert found.trial is None
    assert "no trial: values are not finite" in str(found)


def test_buffers_that_are_not_finite() -> None:
    """A running mean that is NaN is named, in training mode too; a mask of -inf is not."""
    torch.manual_seed(0)
    network = Between()
    network.register_buffer("mask", torch.full((3, 3), -math.inf))
    network.other = nn.BatchNorm1d(4)
    network.other.requires_grad_(False)
    assert diagnosed(network).findings == []
    network.other.running_mean[1] = math.nan
    found = diagnosed(network).findings
    assert [finding.layer for finding in found] == ["other.running_mean"]


def test_a_loss_that_is_not_finite_in_the_trial() -> None:
    """What is finite at first may diverge."""
    torch.manual_seed(0)
    network = Between()
    start = float(network.b.bias[0].detach())

    def loss(output: Tensor, y: Tensor) -> Tensor:
        moved = abs(float(network.b.bias[0].detach()) - start) > 2.5e-3
        return cross_entropy(output.mean(0), y) / (0 if moved else 1)

    found = st.diagnose(network, sequence(BATCH), LABELS[BATCH], loss=loss)
    assert found.findings[0].kind == "not finite"
    assert "the loss diverges: 3 steps of Adam" in str(found)
