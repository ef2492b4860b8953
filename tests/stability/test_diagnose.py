"""Planted faults are named, in networks of three libraries, whose estimates are the same."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.stability import ESTIMATORS

D = torch.float64
WIDTHS = (12, 24, 24, 24, 5)


def weights(gain: float = 2.0) -> list[nn.Linear]:
    """Dense layers of a chain."""
    torch.manual_seed(1)
    made = [nn.Linear(a, b).to(D) for a, b in pairwise(WIDTHS)]
    with torch.no_grad():
        for one in made:
            one.weight *= gain
            one.bias += 0.4
    return made


def chain(linear: list[nn.Linear], neuron: Callable[[], nn.Module]) -> nn.Sequential:
    return nn.Sequential(*(m for one in linear for m in (one, neuron())))


def ours(linear: list[nn.Linear], alpha: float = 4.0) -> Any:
    spike = st.surrogate.Sigmoid(alpha)
    return chain(linear, lambda: st.LIF(beta=0.8, jump="hard", surrogate=spike))


def hidden(linear: list[nn.Linear], alpha: float = 4.0) -> Any:
    snntorch = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    from snntorch import surrogate

    return st.adapt(
        chain(
            linear,
            lambda: snntorch.Leaky(
                beta=0.8,
                reset_mechanism="zero",
                reset_delay=False,
                init_hidden=True,
                spike_grad=surrogate.sigmoid(slope=alpha),
            ),
        )
    )


class Explicit(nn.Module):
    """As in snnTorch's tutorials: the loop over time and all states in the forward pass."""

    def __init__(self, linear: list[nn.Linear], neurons: list[nn.Module]) -> None:
        super().__init__()
        self.linear, self.neurons = nn.ModuleList(linear), nn.ModuleList(neurons)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        states = [neuron.init_leaky() for neuron in self.neurons]
        spikes, potentials = [], []
        for step in x:
            for i, (linear, neuron) in enumerate(zip(self.linear, self.neurons, strict=True)):
                step, states[i] = neuron(linear(step), states[i])
            spikes.append(step)
            potentials.append(states[-1])
        return torch.stack(spikes), torch.stack(potentials)


def explicit(linear: list[nn.Linear], alpha: float = 4.0) -> Any:
    snntorch = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    from snntorch import surrogate

    neurons = [
        snntorch.Leaky(
            beta=0.8,
            reset_mechanism="zero",
            reset_delay=False,
            spike_grad=surrogate.sigmoid(slope=alpha),
        )
        for _ in linear
    ]
    return st.adapt(Explicit(linear, neurons), batch_dim=1)


def _jelly(linear: list[nn.Linear], alpha: float, mode: str) -> Any:
    reason = "SpikingJelly is not installed"
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron", reason=reason)
    from spikingjelly.activation_based import surrogate

    return st.adapt(
        chain(
            linear,
            lambda: neuron.LIFNode(
                tau=5.0,
                decay_input=False,
                step_mode=mode,
                surrogate_function=surrogate.Sigmoid(alpha),
            ),
        )
    )


def jelly(linear: list[nn.Linear], alpha: float = 4.0) -> Any:
    return _jelly(linear, alpha, "s")


def jelly_multi(linear: list[nn.Linear], alpha: float = 4.0) -> Any:
    return _jelly(linear, alpha, "m")


LIBRARIES = (ours, hidden, explicit, jelly, jelly_multi)


def libraries(peer: Any) -> Any:
    """Of the usual run ours and one peer, another for each fault."""
    return pytest.mark.parametrize(
        "build",
        [pytest.param(b, marks=() if b in (ours, peer) else pytest.mark.slow) for b in LIBRARIES],
    )


def batch(scale: float = 2.0) -> tuple[Tensor, Tensor]:
    noise = torch.Generator().manual_seed(2)
    return scale * torch.rand(10, 8, 12, generator=noise, dtype=D), torch.arange(8) % 5


def kinds(found: st.Diagnosis) -> dict[str, str]:
    return {finding.kind: finding.layer for finding in found.findings}


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("build", LIBRARIES[1:])
def test_the_estimate_is_the_same_in_every_library(build: Any, estimator: str) -> None:
    """Exponents and their gradients, with the same weights; evaluation and training mode."""
    linear, (x, _) = weights(), batch()
    found = []
    for network in (ours(linear), build(linear)):
        result = st.lyapunov(network, x, estimator=estimator)
        (gradient,) = torch.autograd.grad(result.exponent, linear[0].weight)
        found.append((result.exponents.detach(), gradient))
    tolerance = {"rtol": 2e-4, "atol": 2e-5}  # snnTorch's spikes and surrogates are float32
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(two, one, **tolerance)


@pytest.mark.parametrize("build", LIBRARIES)
def test_a_healthy_network(build: Any) -> None:
    """Nothing is found; the table has a row per layer; nothing is left behind in the network."""
    network = build(weights())
    module = network.network if hasattr(network, "network") else network
    before = {k: v.clone() for k, v in module.state_dict().items()}
    found = st.diagnose(network, *batch())
    assert kinds(found) == {}
    assert len(found.table) == 4
    assert "No fault was found" in str(found)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert all(p.grad is None for p in module.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


@libraries(hidden)
def test_weights_scaled_down(build: Any) -> None:
    """Layers fall silent: the first that does is named."""
    linear = weights()
    with torch.no_grad():
        for one in linear[1:]:
            one.weight *= 0.05
            one.bias *= 0.05
    found = st.diagnose(build(linear), *batch())
    assert kinds(found)["silent"] == found.layers[1].name
    assert "below threshold" in str(found)


@libraries(jelly_multi)
def test_a_dead_layer(build: Any) -> None:
    """A layer without weights is named, and that its input is zero."""
    linear = weights()
    with torch.no_grad():
        linear[2].weight.zero_()
        linear[2].bias.zero_()
    found = st.diagnose(build(linear), *batch())
    assert kinds(found)["silent"] == found.layers[2].name
    assert "zero everywhere" in str(found)


@libraries(explicit)
def test_dead_neurons(build: Any) -> None:
    """Most neurons of a layer are held far below threshold."""
    linear = weights()
    with torch.no_grad():
        linear[1].bias[:16] = -50
    found = st.diagnose(build(linear), *batch())
    assert kinds(found)["dead"] == found.layers[1].name


@libraries(jelly)
def test_a_surrogate_too_steep(build: Any) -> None:
    """Layers are active, but no potential is within the surrogate's reach."""
    found = st.diagnose(build(weights(), alpha=400.0), *batch())
    assert "steep surrogate" in kinds(found)
    assert "too steep" in str(found)


def _recurrent(library: str, gain: float) -> Any:
    torch.manual_seed(0)
    feedback = gain * torch.randn(24, 24, dtype=D) / 24**0.5
    first = nn.Linear(12, 24).to(D)
    if library == "saltation":
        layer = st.Recurrent(st.LIF(beta=0.8), 24).to(D)
        with torch.no_grad():
            layer.weight.copy_(feedback)
        return nn.Sequential(first, layer)
    if library == "snntorch":
        snntorch = pytest.importorskip("snntorch", reason="snnTorch is not installed")
        from snntorch import surrogate

        node = snntorch.RLeaky(
            beta=0.8,
            linear_features=24,
            init_hidden=True,
            reset_mechanism="zero",
            spike_grad=surrogate.sigmoid(slope=4),
        ).to(D)
        with torch.no_grad():
            node.recurrent.weight.copy_(feedback)
            node.recurrent.bias.zero_()
        return nn.Sequential(first, node)
    reason = "SpikingJelly is not installed"
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron", reason=reason)
    from spikingjelly.activation_based import layer as layers

    node = neuron.LIFNode(tau=5.0, decay_input=False)
    container = layers.LinearRecurrentContainer(node, 24, 24, bias=False).to(D)
    with torch.no_grad():
        container.rc.weight.copy_(torch.cat([torch.eye(24, dtype=D), feedback], 1))
    return nn.Sequential(first, container)


@pytest.mark.parametrize("library", ["saltation", "snntorch", "spikingjelly"])
def test_an_exploding_recurrent_matrix(library: str) -> None:
    """Perturbations grow in time; the same network with weak feedback has no such finding."""
    noise = torch.Generator().manual_seed(3)
    x = 2 * torch.rand(20, 6, 12, generator=noise, dtype=D)
    y = torch.arange(6) % 24
    assert "chaotic" in kinds(st.diagnose(_recurrent(library, 8.0), x, y))
    assert "chaotic" not in kinds(st.diagnose(_recurrent(library, 0.1), x, y))


def test_many_neurons_are_not_chaos() -> None:
    """A decaying network of 384 neurons over few steps: silent with depth, and nothing explodes."""
    torch.manual_seed(0)
    layers = [m for _ in range(6) for m in (nn.Linear(64, 64), st.LIF(beta=0.9))]
    net = nn.Sequential(*layers, nn.Linear(64, 10))
    found = st.diagnose(net, torch.rand(8, 16, 64), torch.arange(16) % 10)
    assert "silent" in kinds(found)
    assert "chaotic" not in kinds(found)


def test_values_that_are_not_finite() -> None:
    """The layer where they begin is named, and nothing fails on the way."""
    linear = weights()
    with torch.no_grad():
        linear[1].bias[0] = float("nan")
    found = st.diagnose(ours(linear), *batch())
    assert kinds(found) == {"not finite": "3"}
    assert found.tangent is None


def test_a_loss_without_weights_is_refused() -> None:
    """There is nothing to diagnose where nothing can be trained."""
    network = ours(weights()).requires_grad_(False)
    with pytest.raises(st.SaltationError, match="does not depend on any weight"):
        st.diagnose(network, *batch())


def test_gradient_health() -> None:
    """Norms and singular values as of the matrices; a convolution as out x (in k k)."""
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 4))
    net(torch.randn(5, 2, 4, 4)).square().sum().backward()
    conv, dense = st.gradient_health(net)
    values = torch.linalg.svdvals(net[0].weight.grad.flatten(1))  # type: ignore[union-attr, operator]
    assert conv.largest == pytest.approx(float(values[0]), rel=1e-5)
    assert conv.condition == pytest.approx(float(values[0] / values[-1]), rel=1e-3)
    assert dense.norm == pytest.approx(float(net[2].weight.grad.norm()), rel=1e-5)  # type: ignore[union-attr, operator]
