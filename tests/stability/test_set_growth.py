"""Weights scaled until what is measured is what was asked for."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st

D = torch.float64


def drive(*shape: int, seed: int = 1) -> Tensor:
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=D)


def chain(sizes: tuple[int, ...] = (20, 40, 40, 40, 30), **more: Any) -> nn.Sequential:
    """Linear layers and neurons in turn, and a readout."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), st.LIF(beta=0.9, **more)]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 5)).to(D)


def residual(**more: Any) -> nn.Module:
    torch.manual_seed(0)
    return st.sew_resnet("basic", (1, 1), 1, 5, width=8, **more).to(D)


def pictures() -> Tensor:
    return st.direct(drive(12, 1, 8, 8), 4)


def snntorch_chain() -> Any:
    snntorch = pytest.importorskip("snntorch", reason="needs: pip install snntorch==1.0.0")
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise((20, 40, 40)):
        beta = torch.tensor(0.9, dtype=D)
        layers += [nn.Linear(fan_in, fan_out), snntorch.Leaky(beta=beta, init_hidden=True)]
    return st.adapt(nn.Sequential(*layers).to(D))


CASES: dict[str, tuple[Callable[[], Any], Callable[[], Tensor]]] = {
    "chain": (chain, lambda: drive(8, 16, 20)),
    "residual": (residual, pictures),
    "residual in evaluation": (lambda: residual(batch_norm="tdbn").eval(), pictures),
    "snntorch": (snntorch_chain, lambda: drive(8, 16, 20)),
}


def state(network: Any) -> dict[str, Tensor]:
    """Copies of all parameters and statistics, and which modules are in training."""
    module = network if isinstance(network, nn.Module) else network.network
    modes = {name: torch.tensor(m.training) for name, m in module.named_modules()}
    return {**copy.deepcopy(module.state_dict()), **modes}


@pytest.mark.parametrize("target", [0.0, -0.7])
@pytest.mark.parametrize("case", CASES)
def test_growth_over_depth_meets_the_target(case: str, target: float) -> None:
    """Measured again, in every layer; only the weights that drive neurons changed, by factors."""
    make, inputs = CASES[case]
    network, x = make(), inputs()
    before = state(network)
    started = st.depth_growth(network, x).growth.detach().mean(1)
    assert float((started - target).abs().max()) > 0.2
    done = st.set_depth_growth(network, x, target, tolerance=0.04)
    found = st.depth_growth(network, x)
    torch.testing.assert_close(found.growth.detach(), done.reached.growth)
    assert float((found.growth.detach().mean(1) - target).abs().max()) <= 0.04
    assert tuple(done.factors) == found.layers[1:]
    after, changed = state(network), []
    for name, tensor in before.items():
        if not torch.equal(tensor, after[name]):
            changed.append(name)
            factor = (after[name] / tensor).flatten()
            torch.testing.assert_close(factor, factor[:1].expand_as(factor))
    assert len(changed) == len(done.factors)
    assert all(name.endswith("weight") for name in changed)
    if case.startswith("residual"):
        assert all(".norm." in name for name in changed)
    module = network if isinstance(network, nn.Module) else network.network
    assert all(p.grad is None and p.requires_grad for p in module.parameters())


def test_it_is_the_network_and_not_the_perturbation() -> None:
    """Other perturbations and other samples grow alike."""
    network = chain((20, *[60] * 7))
    st.set_depth_growth(network, drive(8, 32, 20))
    for seed in (1, 2, 3):
        found = st.depth_growth(network, drive(8, 32, 20, seed=seed + 5), seed=seed)
        assert float(found.growth.detach().mean(1).abs().max()) < 0.15


@pytest.mark.parametrize("estimator", ["tangent", "telescoped", "finite"])
def test_exponent_meets_the_target(estimator: str) -> None:
    """Measured again; all weights that drive neurons by one factor, the readout's not."""
    network, x = chain(surrogate=st.surrogate.Sigmoid(4.0)), drive(8, 16, 20)
    settings: dict[str, Any] = {"estimator": estimator}
    if estimator == "finite":  # far enough apart for spikes to differ
        settings |= {"transient": 1, "eps": 1.0}
    before = state(network)
    target = float(st.lyapunov(network, x, **settings).exponent.detach()) + 0.1
    done = st.set_lyapunov(network, x, target, tolerance=0.03, **settings)
    with torch.no_grad():
        found = st.lyapunov(network, x, **settings)
    assert float(found.exponent) == pytest.approx(float(done.reached.exponent))
    assert abs(float(found.exponent) - target) <= 0.03
    after = state(network)
    assert done.factor != 1
    for name, tensor in before.items():
        driving = name.endswith("weight") and name != "8.weight"
        torch.testing.assert_close(after[name], tensor * done.factor if driving else tensor)


def test_recurrent_weights_are_scaled_too() -> None:
    """A random recurrent network brought to the edge of chaos, from both sides."""
    for size in (0.2, 20.0):
        torch.manual_seed(0)
        layer = st.Recurrent(st.LIF(beta=0.9, surrogate=st.surrogate.Sigmoid(4.0)), 50)
        network = nn.Sequential(nn.Linear(20, 50), layer).to(D)
        with torch.no_grad():
            layer.weight.mul_(size)
        kept, x = layer.weight.clone(), drive(40, 8, 20)
        done = st.set_lyapunov(network, x, 0.0, transient=10)
        assert abs(float(st.lyapunov(network, x, transient=10).exponent.detach())) <= 0.02
        torch.testing.assert_close(layer.weight, done.factor * kept)


def test_nothing_is_done_where_nothing_is_to_be_done() -> None:
    """One pass, factor 1, and the weights bit for bit."""
    network, x = chain(), drive(8, 16, 20)
    exponent = float(st.lyapunov(network, x).exponent.detach())
    reached = st.set_lyapunov(network, x, exponent)
    assert (reached.factor, reached.passes) == (1.0, 1)
    st.set_depth_growth(network, x, -1.0)
    before = state(network)
    again = st.set_depth_growth(network, x, -1.0)
    assert again.passes == 1
    assert set(again.factors.values()) == {1.0}
    after = state(network)
    assert all(torch.equal(before[name], after[name]) for name in before)


class Twice(nn.Module):
    """Two layers of neurons behind one and the same map, or one layer called twice."""

    def __init__(self, again: str) -> None:
        super().__init__()
        self.linear, self.other = nn.Linear(6, 6), nn.Linear(6, 6)
        self.one, self.two = st.LIF(), st.LIF()
        self.again = again

    def forward(self, x: Tensor) -> Tensor:
        s = self.one(self.linear(x))
        if self.again == "map":
            return self.two(self.linear(s))
        if self.again == "neurons":
            return self.one(self.other(s))
        return self.two(s)


class Steps(nn.Module):
    """Normalisation of each step, without a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.norm(step) for step in x])


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Twice("map"), "'linear' drives both 'one' and 'two': they cannot be scaled apart"),
        (Twice("neurons"), r"'one \(call 2\)': a neuron module that is called more than once"),
        (Twice("nothing"), "the neurons 'two' are driven by no weight of their own"),
        (nn.Sequential(nn.Linear(6, 6), st.LIF()), "two layers of neurons or more, got one"),
        (
            nn.Sequential(nn.Linear(6, 6), st.LIF(), nn.Linear(6, 6), Steps(), st.LIF()),
            r"'3.norm', which drives the neurons '4', has no weight .*affine=True",
        ),
        (nn.Linear(6, 6), "found none"),
    ],
)
def test_networks_that_cannot_be_set_are_named(network: nn.Module, message: str) -> None:
    """What is wrong, and where."""
    with pytest.raises(st.SaltationError, match=message):
        st.set_depth_growth(network, torch.rand(3, 2, 6))


def test_attention_has_no_weight_of_its_own() -> None:
    """So that growth over depth is refused, and the exponent is set by the other layers."""
    torch.manual_seed(0)
    network = st.spikformer(1, 5, 8, patch=4, depth=1, width=16, heads=2, v_threshold=0.5).to(D)
    x = pictures()
    with pytest.raises(st.SaltationError, match=r"'encoders\.0\.attention\.attention' are driven"):
        st.set_depth_growth(network, x)
    target = float(st.lyapunov(network, x).exponent.detach()) + 0.05
    done = st.set_lyapunov(network, x, target)
    assert abs(float(done.reached.exponent) - target) <= 0.02


def test_targets_out_of_reach_are_refused_and_nothing_is_changed() -> None:
    """A silent network decays by beta a step; a steep surrogate passes little on."""
    network, x = chain(), drive(8, 16, 20)
    before = state(network)
    with pytest.raises(st.SaltationError, match=r"-5.0 was not found .* from -0\.\d+ to \+0\.\d+"):
        st.set_lyapunov(network, x, -5.0)
    steep = chain((20, 4, 4, 4), surrogate=st.surrogate.Rectangle(1e-3))
    kept = state(steep)
    with pytest.raises(st.SaltationError, match=r"growth of 0.0 .* was not reached in \d+ passes"):
        st.set_depth_growth(steep, x)
    for one, values in ((network, before), (steep, kept)):
        after = state(one)
        assert all(torch.equal(values[name], after[name]) for name in values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": math.nan}, "target must be a finite number, got nan"),
        ({"tolerance": 0.0}, "tolerance must be a finite number above 0, got 0.0"),
        ({"passes": 0}, "passes must be an integer of at least 1, got 0"),
        ({"passes": 2.0}, "passes must be an integer of at least 1, got 2.0"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    """By both functions."""
    for function in (st.set_depth_growth, st.set_lyapunov):
        with pytest.raises(st.SaltationError, match=message):
            function(chain(), drive(2, 2, 20), **options)
