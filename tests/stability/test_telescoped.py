"""One vector over long windows: the exponents of `tangent`, and gradients that can be used."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import saltation as st

D = torch.float64


def chain(*neurons: nn.Module, gain: float = 1.0) -> nn.Sequential:
    """Linear layers of 16 and these neurons in turn."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for i, one in enumerate(neurons):
        layers += [nn.Linear(16 if i else 6, 16), one]
    net = nn.Sequential(*layers)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(gain)
    return net


def recurrent(gain: float) -> nn.Sequential:
    layer = st.Recurrent(st.LIF(beta=0.9, surrogate=st.surrogate.Sigmoid(2.0)), 16)
    net = chain(layer, st.LIF(beta=0.9))
    nn.init.normal_(layer.weight, std=gain / 4)
    return net


def drive(steps: int) -> Tensor:
    noise = torch.Generator().manual_seed(1)
    return 2 * torch.rand(steps, 2, 6, generator=noise)


NETWORKS: dict[str, Callable[[], nn.Sequential]] = {
    "beta 0.001": lambda: chain(st.LIF(beta=0.001)),
    "beta 0.2": lambda: chain(st.LIF(beta=0.2)),
    "beta 0.9": lambda: chain(st.LIF(beta=0.9)),
    "beta 0.99": lambda: chain(st.LIF(beta=0.99)),
    "a fast layer before a slow one": lambda: chain(st.LIF(beta=0.2), st.LIF(beta=0.99)),
    "a slow layer before a fast one": lambda: chain(st.LIF(beta=0.99), st.LIF(beta=0.2)),
    "dt 0.05": lambda: chain(st.LIF(tau=2.0, dt=0.05)),
    "dt 5": lambda: chain(st.LIF(tau=2.0, dt=5.0)),
    "dt 20": lambda: chain(st.LIF(tau=2.0, dt=20.0)),
    "CUBA": lambda: chain(st.CubaLIF(dt=4.0)),
    "Izhikevich": lambda: chain(st.Izhikevich(dt=1.0), gain=3),
    "soft resets, steep": lambda: chain(
        *(st.LIF(beta=0.5, jump="soft", surrogate=st.surrogate.Sigmoid(25.0)) for _ in range(2)),
        gain=4,
    ),
    "six layers": lambda: chain(*(st.LIF(beta=0.5) for _ in range(6)), gain=2),
    "chaos": lambda: recurrent(10.0),
    "strong chaos": lambda: recurrent(40.0),
}
STRONG = ("chaos", "strong chaos")


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("steps", [4, 24])
def test_long_windows_have_the_exponents_of_tangent(name: str, steps: int) -> None:
    """To rounding in single precision, and so has the gradient, which is neither 0 nor infinite."""
    net, x = NETWORKS[name](), drive(steps)
    found = st.lyapunov(net, x, estimator="telescoped")
    expected = st.lyapunov(net, x)
    torch.testing.assert_close(found.exponents, expected.exponents, rtol=1e-4, atol=1e-4)
    assert found.floored == expected.floored == 0
    assert found.horizon == steps
    assert bool((found.norms.square().sum(1) - 1).abs().max() < 1e-5)
    weights = list(net.parameters())
    gradients = [
        torch.cat(
            [g.flatten() for g in torch.autograd.grad(one.exponent, weights) if g is not None]
        )
        for one in (found, expected)
    ]
    size = float(gradients[0].norm())
    assert 1e-8 < size < 1e12
    if not found.cuts:
        assert float((gradients[0] - gradients[1]).norm()) < 1e-3 * size
    assert name in STRONG or not found.cuts


def test_a_thousand_steps() -> None:
    """Where the whole growth, 1e-700, is no number."""
    net, x = NETWORKS["beta 0.2"](), drive(1000)
    found = st.lyapunov(net, x, estimator="telescoped")
    with torch.no_grad():
        expected = st.lyapunov(net, x)
    torch.testing.assert_close(found.exponents, expected.exponents, rtol=1e-4, atol=1e-4)
    assert float(found.exponent.detach()) == pytest.approx(math.log(0.2), abs=0.02)
    (gradient,) = torch.autograd.grad(found.exponent, [net[0].weight])
    assert 1e-8 < float(gradient.norm()) < 1


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("steps", [200, 1000])
def test_every_network_over_long_windows(name: str, steps: int) -> None:
    """As above, for all of them."""
    net, x = NETWORKS[name](), drive(steps)
    found = st.lyapunov(net, x, estimator="telescoped")
    with torch.no_grad():
        expected = st.lyapunov(net, x)
    torch.testing.assert_close(found.exponents, expected.exponents, rtol=1e-2, atol=1e-3)
    (gradient,) = torch.autograd.grad(found.exponent, [net[0].weight])
    assert 1e-8 < float(gradient.norm()) < 1e12
    assert name in STRONG or not found.cuts


def test_the_default_penalty_at_a_large_step() -> None:
    """T = 50 at dt = 2: -1.00, where a floor of 1e-12 on the whole growth gave -0.585."""
    torch.manual_seed(0)
    net = st.spiking_mlp((30, 24, 10), dt=2.0)
    x = st.poisson(torch.rand(8, 30) * 0.05, steps=50, dt=2.0)
    penalty = st.LyapunovPenalty(weight=1.0, penalty="squared", target=-0.1)
    penalty(net, x).backward()
    assert penalty.history[0].exponent == pytest.approx(-1.0015, abs=1e-3)
    assert penalty.history[0].floored == penalty.history[0].cuts == 0
    gradient = next(net.parameters()).grad
    assert gradient is not None
    assert float(gradient.norm()) == pytest.approx(0.0206, rel=0.02)


def unconnected(seed: int, features: int) -> st.Recurrent:
    torch.manual_seed(seed)
    net = st.Recurrent(st.LIF(beta=0.9, surrogate=st.surrogate.Sigmoid(2.0)), features)
    nn.init.normal_(net.weight, std=10 / features**0.5)
    return net


def test_a_gradient_is_cut_where_states_are_chaotic() -> None:
    """A size that can be trained with, in place of 1e13; without a gradient nothing is cut."""
    net = unconnected(1, 32)
    x = torch.randn(150, 4, 32)
    found = st.lyapunov(net, x, estimator="telescoped")
    whole = st.lyapunov(net, x)
    (cut,) = torch.autograd.grad(found.exponent, [net.weight])
    (full,) = torch.autograd.grad(whole.exponent, [net.weight])
    assert float(found.exponent.detach()) > 0.1
    assert found.cuts > 1
    assert "the gradient was cut" in str(found)
    assert not float(full.norm()) < 1e9
    assert float(cut.norm()) < 1e7
    with torch.no_grad():
        plain = st.lyapunov(net, x, estimator="telescoped")
    assert plain.cuts == 0
    torch.testing.assert_close(plain.exponents, found.exponents.detach())


def test_a_cut_takes_nothing_from_a_gradient_that_does_not_explode() -> None:
    """Silent neurons: perturbations grow by e^63, but states depend on no weight, and directions
    pass their part on."""
    net = unconnected(0, 16)
    x = 0.1 * torch.randn(60, 4, 16)
    gradients = []
    for estimator in ("telescoped", "tangent"):
        found = st.lyapunov(net, x, estimator=estimator)
        assert float(found.exponent.detach()) > 1
        assert (found.cuts > 2) == (estimator == "telescoped")
        gradients.append(torch.autograd.grad(found.exponent, [net.weight])[0])
    torch.testing.assert_close(*gradients, rtol=1e-2, atol=1e-4)


def test_what_is_lost_counts_as_step_by_step() -> None:
    """Some samples lose their perturbation at once, some later, some never: the same for both."""
    layer = st.LIF(beta=0.5, surrogate=st.surrogate.Rectangle(0.1))
    x = torch.zeros(40, 4, 5)
    x[0, 0] = x[21, 1] = x[30:, 2] = 9.0  # a spike far from threshold resets everything
    x[21, 1, 0] = 0.0
    found = st.lyapunov(layer, x, estimator="telescoped")
    expected = st.lyapunov(layer, x)
    torch.testing.assert_close(found.exponents, expected.exponents)
    assert found.floored == expected.floored == 40 + 10
    assert torch.isfinite(found.exponents).all()


def test_states_that_are_not_finite_show() -> None:
    """As in torch, and in the sample that has them alone; here they come of an overflow."""
    net, x = chain(st.LIF(beta=0.9)), drive(40)
    x[20, 1] = torch.finfo(x.dtype).max
    found = st.lyapunov(net, x, estimator="telescoped")
    assert found.exponents.isnan().tolist() == [[False, True]]
    assert found.floored == 0


def test_double_precision_takes_longer_stretches_of_contraction() -> None:
    """The same exponent in either; nothing is gone through twice where there is room."""
    net, x = chain(st.LIF(tau=2.0, dt=20.0)), drive(32)
    spans = []
    for dtype in (torch.float32, D):
        found = st.lyapunov(net.to(dtype), x.to(dtype), estimator="telescoped")
        assert float(found.exponent.detach()) == pytest.approx(-10, abs=0.05)
        spans.append(found.spans)
    assert spans[1] == (16, 16)
    assert max(spans[0]) < 16


def test_networks_that_look_along_time_are_taken_whole() -> None:
    """With statistics over all steps a part of the steps is another network."""
    torch.manual_seed(0)
    net = st.spiking_vgg(1, 3, 8, stages=2, blocks_per_stage=1, base_channels=4, batch_norm="all")
    x = torch.rand(20, 3, 1, 8, 8)
    assert st.lyapunov(net, x, estimator="telescoped").spans == (20,)
    net.eval()
    assert st.lyapunov(net, x, estimator="telescoped").spans == (16, 4)


class Showing(nn.Module):
    """An image is shown for so many steps within the network."""

    def __init__(self, steps: int, beta: float) -> None:
        super().__init__()
        self.steps, self.neurons = steps, st.LIF(beta=beta)

    def forward(self, x: Tensor) -> Tensor:
        spikes: Tensor = self.neurons(x.expand(self.steps, *x.shape))
        return spikes.mean(0)


@pytest.mark.parametrize("estimator", ["telescoped", "tangent"])
def test_what_cannot_be_pulled_back_is_right_or_refused(estimator: str) -> None:
    """0.01^40 is no number in single precision, 0.01^15 and 0.5^40 are."""
    for beta, steps, dtype in ((0.5, 40, torch.float32), (0.01, 15, torch.float32), (0.01, 40, D)):
        found = st.lyapunov(
            Showing(steps, beta).to(dtype), torch.zeros(3, 6, dtype=dtype), estimator=estimator
        )
        assert found.spans == (steps,)
        assert found.floored == 0
        assert float(found.exponent) == pytest.approx(math.log(beta), abs=0.2)
    with pytest.raises(st.SaltationError, match=r"within 40 steps .* float32 can hold"):
        st.lyapunov(Showing(40, 0.01), torch.zeros(3, 6), estimator=estimator)


def test_networks_that_are_called_step_by_step() -> None:
    """Every step is renormalised: what `tangent` gives, and the same gradient."""
    snntorch = pytest.importorskip("snntorch", reason="needs: pip install snntorch==1.0.0")
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for fan_in in (6, 8):
        layers += [nn.Linear(fan_in, 8), snntorch.Leaky(beta=0.2, init_hidden=True)]
    net, x = nn.Sequential(*layers), drive(100)
    gradients = []
    for estimator in ("telescoped", "tangent"):
        found = st.lyapunov(net, x, estimator=estimator)
        assert float(found.exponent.detach()) == pytest.approx(math.log(0.2), abs=0.1)
        gradients.append(torch.autograd.grad(found.exponent, [net[0].weight])[0])
    torch.testing.assert_close(*gradients)
    assert float(gradients[0].norm()) > 0


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    """No warning over long windows with contraction."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        penalty = st.LyapunovPenalty()
        penalty(chain(st.LIF(beta=0.2)), drive(100)).backward()
