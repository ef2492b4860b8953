"""Exponents of spiking networks, against independent computations."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.models.vgg import BENCHMARK
from saltation.stability import ESTIMATORS
from saltation.stability.frames import Orthonormal

D = torch.float64


def network(smooth: bool = False, sizes: tuple[int, ...] = (6, 10, 8, 5), **more: Any) -> Any:
    torch.manual_seed(0)
    spike: Any = st.surrogate.Sigmoid(4.0)
    spike = st.surrogate.Smooth(spike) if smooth else spike
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), st.LIF(dt=0.5, surrogate=spike, **more)]
    return nn.Sequential(*layers).to(D)


def drive(steps: int = 12, samples: int = 3) -> Tensor:
    noise = torch.Generator().manual_seed(1)
    return 6 * torch.rand(steps, samples, 6, generator=noise, dtype=D)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    "scheme", ["euler", "exponential", "implicit_euler", "rk2", "rk4", "trapezoid"]
)
def test_a_layer_below_threshold(scheme: str, estimator: str) -> None:
    """Without spikes a perturbation is multiplied by A every step: the exponent is log |A|."""
    layer = st.LIF(dt=0.7, scheme=scheme, surrogate=st.surrogate.Rectangle(0.1))
    a = layer.neuron.affine_step.m[0][0]
    x = torch.zeros(8, 3, 20, dtype=D)
    found = st.lyapunov(layer, x, estimator=estimator, transient=int(estimator == "finite"))
    torch.testing.assert_close(found.exponents, torch.full((1, 3), math.log(abs(a)), dtype=D))


@pytest.mark.parametrize("recurrent", [False, True])
def test_small_perturbations_are_tangents(recurrent: bool) -> None:
    """On a smooth network the two-trajectory estimate goes to the tangent one as eps goes to 0."""
    net = network(smooth=True)
    if recurrent:
        smooth = st.surrogate.Smooth(st.surrogate.Sigmoid(4.0))
        net = nn.Sequential(*net[:-1], st.Recurrent(st.LIF(dt=0.5, surrogate=smooth), 5)).to(D)
    x = drive()
    tangent = st.lyapunov(net, x, transient=1).growth
    errors = [
        float(
            (st.lyapunov(net, x, estimator="finite", eps=eps, transient=1).growth - tangent)
            .abs()
            .max()
        )
        for eps in (1e-3, 1e-5)
    ]
    assert errors[1] < 1e-3
    assert errors[1] < errors[0] / 20


def test_telescoped_is_tangent() -> None:
    """All steps of a layer at once give what step by step gives, and the same gradient."""
    net, x = network(), drive()
    gradients = []
    for estimator in ("tangent", "telescoped"):
        found = st.lyapunov(net, x, estimator=estimator)
        gradients.append((found.exponents, torch.autograd.grad(found.exponent, net[0].weight)[0]))
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize(
    ("estimator", "k"), [("tangent", 1), ("tangent", 3), ("telescoped", 1), ("finite", 1)]
)
@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_gradients_against_differences(estimator: str, k: int, norm: str | None) -> None:
    """Of λ with respect to weights, on smooth networks in float64."""
    net = network(smooth=True)
    if norm:
        extra: nn.Module = _OverTime(nn.BatchNorm1d(10)) if norm == "batch" else nn.LayerNorm(10)
        net = nn.Sequential(net[0], extra, *net[1:]).to(D)
    x, weight = drive(6), net[0].weight

    def value() -> Tensor:
        found = st.lyapunov(net, x, estimator=estimator, k=k, qr_every=2 if k > 1 else 1)
        return (found.spectrum * torch.arange(1, k + 1)).sum()

    (gradient,) = torch.autograd.grad(value(), weight)
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2), dtype=D)
    with torch.no_grad():
        weight += 1e-5 * direction
        above = value()
        weight -= 2e-5 * direction
        below = value()
    expected = float((above - below) / 2e-5)
    assert float((gradient * direction).sum()) == pytest.approx(expected, rel=2e-4, abs=1e-8)


class _OverTime(nn.Module):
    """Normalisation of each step by itself, so that steps at once and one by one agree."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.norm(step) for step in x])


def _blocks(net: Any) -> list[Any]:
    return [part for stage in net.stages for part in stage if hasattr(part, "conv")]


def _chain(net: Any) -> list[Any]:
    """Convolutions, norms, neurons and pools in their order."""
    parts = [part for stage in net.stages for part in stage]
    made = [(p.conv, p.norm, p.neurons) if hasattr(p, "conv") else (p,) for p in parts]
    return [module for group in made for module in group]


class _Plain:
    """The two-trajectory estimate of a spiking VGG's convolutions, norms, LIF neurons and pools,
    written out by itself."""

    def __init__(self, net: nn.Module, eps: float, seed: int) -> None:
        self.net, self.eps = net, eps
        self.noise = torch.Generator().manual_seed(seed)

    def __call__(self, x: Tensor) -> Tensor:
        states: list[Tensor] = []
        total = torch.zeros(x.shape[1], dtype=x.dtype)
        for t in range(len(x)):
            h, number, new = torch.cat([x[t], x[t]]), 0, []
            for module in _chain(self.net):
                if not isinstance(module, st.LIF):
                    h = module(h) if isinstance(module, nn.Conv2d) else module(h[None])[0]
                    continue
                if t == 0:
                    rest = torch.zeros_like(h[: len(h) // 2])
                    moved = self.eps * torch.randn(rest.shape, generator=self.noise).to(h.dtype)
                    states.append(torch.cat([rest, moved]))
                v = 0.9 * states[number] + h - (states[number] >= 1).to(h.dtype)
                h = (v >= 1).to(h.dtype)
                new.append(v)
                number += 1
            differences = [v[len(v) // 2 :] - v[: len(v) // 2] for v in new]
            distance = sum((d**2).flatten(1).sum(1) for d in differences).sqrt()  # type: ignore[union-attr]
            total += (distance / self.eps).log()
            states = [
                torch.cat([v[: len(v) // 2], v[: len(v) // 2] + self._scaled(d, distance)])
                for v, d in zip(new, differences, strict=True)
            ]
        return total / len(x)

    def _scaled(self, d: Tensor, distance: Tensor) -> Tensor:
        return d * (self.eps / distance).view(-1, 1, 1, 1)


@pytest.mark.parametrize("training", [True, False])
def test_two_trajectories_written_out(training: bool) -> None:
    """Equal to a plain loop over the depth benchmark's network with the same perturbation."""
    torch.manual_seed(0)
    net = st.spiking_vgg(3, 5, 16, base_channels=4, dropout=0, **BENCHMARK).to(D)
    net.train(training)
    assert len(_blocks(net)) == 8
    x = st.direct(torch.rand(4, 3, 16, 16, dtype=D) * 3, 5)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    found = st.lyapunov(net, x, estimator="finite", eps=1e-4, seed=7)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    with torch.no_grad():
        expected = _Plain(net, 1e-4, 7)(x)
    torch.testing.assert_close(found.exponents[0].detach(), expected)


def test_a_dead_network_has_floors_and_no_nan() -> None:
    """Potentials that are thrown away every step: floored, flagged, gradients finite."""
    layer = st.LIF(beta=0.0)
    net = nn.Sequential(nn.Linear(4, 5), layer)
    with torch.no_grad():
        net[0].weight.zero_()  # type: ignore[union-attr, operator]
    for estimator in ESTIMATORS:
        found = st.lyapunov(net, torch.rand(4, 2, 4), estimator=estimator)
        assert found.floored > 0
        assert torch.isfinite(found.exponents).all()
        (gradient,) = torch.autograd.grad(found.exponent, net[0].weight, allow_unused=True)
        assert gradient is None or torch.isfinite(gradient).all()


def test_more_vectors_than_a_trajectory_has_directions() -> None:
    """Spike and potential both follow from what was before the jump: 2 F numbers, rank F."""
    torch.manual_seed(0)
    net = st.Recurrent(st.LIF(dt=0.5), 6)
    x = 1 + torch.rand(10, 2, 6)
    found = st.lyapunov(net, x, k=8, transient=2)
    assert found.spectrum[6:].tolist() == pytest.approx([math.log(1e-12)] * 2)
    assert found.floored == 2 * 2 * 8
    assert st.lyapunov(net, x, k=6, transient=2).floored == 0
    with pytest.raises(st.SaltationError, match="a state of 12 numbers has no 13 exponents"):
        st.lyapunov(net, x, k=13)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_network_in_training_is_left_as_it_was(estimator: str) -> None:
    """Also where one step is normalised for all: no running statistic counts the estimate."""
    torch.manual_seed(0)
    net = st.spiking_vgg(1, 3, 8, stages=2, blocks_per_stage=1, base_channels=4, batch_norm="step")
    x = st.direct(torch.rand(3, 1, 8, 8), 4)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    st.lyapunov(net, x, estimator=estimator)
    st.diagnose(net, x, torch.arange(3))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.dropout.training


def test_stretches_that_reach_into_the_transient_do_not_count() -> None:
    """With decompositions every 5 steps a transient of 7 begins to count at 10."""
    net, x = network(), drive(20)
    found = st.lyapunov(net, x, qr_every=5, transient=7)
    assert (found.transient, found.horizon, found.spans) == (10, 10, (5, 5))
    with pytest.raises(st.SaltationError, match="at most 15"):
        st.lyapunov(net, x, qr_every=5, transient=17)


def test_orthonormal_frames_with_dependent_vectors() -> None:
    """A column that depends on others becomes zero, the rest stay orthonormal, derivatives hold."""
    a = torch.randn(2, 6, generator=torch.Generator().manual_seed(0), dtype=D)
    b = torch.randn(2, 6, generator=torch.Generator().manual_seed(1), dtype=D)
    v = torch.cat([a, 2 * a, b]).requires_grad_()
    frame = Orthonormal([v], 3)
    q = frame.q[0].view(3, 2, 6)
    assert frame.floored.tolist() == [[False, False], [True, True], [False, False]]
    gram = torch.einsum("ibn,jbn->bij", q, q).detach()
    expected = torch.diag(torch.tensor([1.0, 0.0, 1.0], dtype=D)).expand(2, 3, 3)
    torch.testing.assert_close(gram, expected)
    (gradient,) = torch.autograd.grad(frame.log.sum(), v)
    assert torch.isfinite(gradient).all()


def test_depth_growth_finds_a_weak_layer() -> None:
    """A layer whose weights are a thousandth of what they were shows where it is."""
    net = network()
    found = st.depth_growth(net, drive())
    assert found.layers == ("1", "3", "5")
    assert found.growth.shape == (2, 3)
    torch.testing.assert_close(found.growth, found.norms.log().diff(dim=0))
    with torch.no_grad():
        net[2].weight *= 1e-3
    weak = st.depth_growth(net, drive())
    assert (weak.growth[0] < found.growth[0] - 4).all()


def test_a_layer_that_is_used_twice_has_two_states() -> None:
    """Each under a name of its own; hooks are gone afterwards."""
    net, x = network(), drive()
    shared = st.LIF(dt=0.5)
    net = nn.Sequential(net[0], shared, net[2], shared).to(D)
    found = st.lyapunov(net, x)
    assert found.layers == ("1", "1 (call 2)")
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 9}, "samples must be from 1 to the batch's 3"),
        ({"transient": 12}, "transient must be less than the input's 12 steps"),
        ({"estimator": "telescoped", "transient": 2}, "transient must be 0"),
        ({"k": 2, "estimator": "finite"}, "one vector"),
        ({"qr_every": 0}, "qr_every"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    """What is wrong, what was given, what is allowed."""
    with pytest.raises(st.SaltationError, match=message):
        st.lyapunov(network(), drive(), **options)


def test_networks_without_neurons_are_refused() -> None:
    """And what they may hold is said."""
    for call in (st.lyapunov, st.depth_growth, lambda net, x: st.adapt(net)):
        with pytest.raises(
            st.SaltationError, match=r"saltation, snntorch, spikingjelly and norse, found none"
        ):
            call(nn.Linear(2, 2), torch.rand(3, 2, 2))


@pytest.mark.drawn
def test_result_prints_and_draws(tmp_path: Any) -> None:
    """A short table and a figure."""
    found = st.lyapunov(network(), drive(), k=2)
    text = str(found)
    assert all(part in text for part in ("λ1", "λ2", "3 samples, 12 steps"))
    assert found.plot(tmp_path / "a" / "lyapunov.png").stat().st_size > 1000
