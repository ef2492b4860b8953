"""Parameters that are learned, or one per neuron: ranges, gradients, state dicts, refusals."""

from __future__ import annotations

import copy
import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.layers.learned import Range

F64 = torch.float64


@pytest.mark.parametrize("range_", [Range(), Range(0.0), Range(0.0, 1.0), Range(0.5, 2.5)])
def test_ranges_go_there_and_back(range_: Range) -> None:
    """Every value inside is met to rounding, and every number is inside."""
    low, high = max(range_.low, -50.0), min(range_.high, 50.0)
    inside = low + (high - low) * torch.linspace(0.001, 0.999, 41, dtype=F64)
    torch.testing.assert_close(range_.value(range_.raw(inside)), inside, rtol=1e-12, atol=1e-12)
    far = range_.value(torch.tensor([-30.0, 30.0], dtype=F64))
    assert ((far > range_.low) & (far < range_.high)).all()


def plif_loop(
    x: Tensor, raw: Tensor, weight: Tensor, out: Tensor, dt: float
) -> tuple[Tensor, Tensor]:
    """A PLIF network as one writes it: output currents' mean, and tau."""
    tau = nn.functional.softplus(raw)
    decay = torch.exp(-dt / tau)
    spike = st.surrogate.Sigmoid(4.0)
    v = torch.zeros(x.shape[1], weight.shape[0], dtype=x.dtype)
    total = torch.zeros(x.shape[1], out.shape[0], dtype=x.dtype)
    for x_t in x:
        h = decay * v + (1 - decay) * (x_t @ weight.T)
        s = spike(h - 1.0)
        v = (1 - s) * h
        total = total + s @ out.T
    return total / len(x), tau


def test_tau_is_learned_as_in_a_plain_loop() -> None:
    """After 200 steps of Adam in float64, to 1e-4."""
    torch.manual_seed(0)
    x = (torch.rand(12, 16, 10, dtype=F64) < 0.4).to(F64)
    target = torch.randn(16, 3, dtype=F64)
    dt = 0.5
    net = nn.Sequential(
        nn.Linear(10, 8, bias=False),
        st.PLIF(dt=dt, backend="reference"),
        nn.Linear(8, 3, bias=False),
    ).double()
    with torch.no_grad():
        net[0].weight.mul_(8)
    weights = [net[0].weight, net[2].weight]
    own = [w.detach().clone().requires_grad_() for w in weights]
    raw = torch.tensor(math.log(math.expm1(2.0)), dtype=F64, requires_grad=True)
    ours = torch.optim.Adam(net.parameters(), lr=0.02)
    plain = torch.optim.Adam([*own, raw], lr=0.02)
    for _ in range(200):
        for optimizer, made in (
            (ours, lambda: net(x).mean(0)),
            (plain, lambda: plif_loop(x, raw, *own, dt)[0]),
        ):
            optimizer.zero_grad()
            (made() - target).square().mean().backward()
            optimizer.step()
    tau = net[1].neuron.tau.item()
    assert tau == pytest.approx(plif_loop(x, raw, *own, dt)[1].item(), rel=1e-4)
    assert abs(tau - 2.0) > 0.05
    assert set(dict(net[1].named_parameters())) == {"learned.tau"}


def test_a_parameter_at_its_limit_stays_stable() -> None:
    """Pushed out by every step, in Euler's scheme, whose limit is dt <= 2 tau."""
    layer = st.LIF(tau=st.learn(2.0, "stable"), dt=1.0, scheme="euler")
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    for _ in range(500):
        optimizer.zero_grad()
        layer.neuron.tau.sum().backward()  # type: ignore[attr-defined]
        optimizer.step()
        assert layer.neuron.is_stable
    assert layer.neuron.tau.item() == pytest.approx(0.5, rel=0.05)  # type: ignore[attr-defined]
    assert layer.neuron.tau.item() > 0.5  # type: ignore[attr-defined]
    with pytest.raises(st.SaltationError, match=r"dt = 1 is not stable with tau = 0\.4, where it"):
        st.LIF(tau=st.learn(0.4, "stable"), dt=1.0, scheme="euler")
    with pytest.raises(st.SaltationError, match="cannot be kept stable beside tau_w"):
        st.AdEx(tau=st.learn(2.0, "stable"), tau_w=torch.full((3,), 9.0), scheme="euler")


def test_a_coupling_is_kept_in_its_limit() -> None:
    """adLIF's a with its published scheme: up to (1 - alpha beta) / ((1 - alpha) (1 - beta))."""
    make: Any = st.AdLIF
    layer = make(tau=25.0, tau_w=60.0, a=st.learn(50.0, "stable"), scheme="exponential_split")
    with torch.no_grad():
        layer.learned["a"].fill_(30.0)
    assert layer.neuron.is_stable
    assert layer.neuron.a.item() == pytest.approx(85.0, rel=1e-3)


@pytest.mark.parametrize("scheme", ["exponential", "rk4"])
@pytest.mark.parametrize(
    ("model", "varied"),
    [
        ("LIF", {"tau": (1.0, 2.0, 5.0), "v_threshold": (0.5, 1.0, 0.8)}),
        ("CubaLIF", {"tau": (1.0, 2.0, 5.0), "tau_syn": (2.0, 2.0, 0.7)}),
        ("Izhikevich", {"a": (0.1, 0.0, 0.4), "b": (0.2, 0.5, 0.0)}),
        ("AdEx", {"delta": (0.1, 0.2, 0.3), "v_reset": (0.0, -0.5, 0.2)}),
        ("ALIF", {"beta": (0.1, 0.5, 1.8), "tau_a": (5.0, 20.0, 9.0)}),
    ],
)
def test_one_per_neuron_is_a_loop_over_neurons(
    model: str, varied: dict[str, tuple[float, ...]], scheme: str
) -> None:
    """And one per channel: the same spikes and states as layers of numbers."""
    make = getattr(st, model)
    x = 3 * torch.rand(30, 4, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
    given = {name: torch.tensor(values, dtype=F64) for name, values in varied.items()}
    layer = make(dt=0.5, scheme=scheme, backend="reference", **given)
    spikes, state = layer(x, layer.rest(x[0]))
    images = x[..., None, None].expand(30, 4, 3, 2, 2)
    channels = {name: value[:, None, None] for name, value in given.items()}
    wide = make(dt=0.5, scheme=scheme, backend="reference", **channels)(images)
    for i in range(3):
        numbers = {name: values[i] for name, values in varied.items()}
        alone = make(dt=0.5, scheme=scheme, backend="reference", **numbers)
        s, after = alone(x[..., i], alone.rest(x[0, :, i]))
        assert torch.equal(spikes[..., i], s)
        assert torch.equal(wide[:, :, i, 1, 0], s)
        for whole, part in zip(state, after, strict=True):
            torch.testing.assert_close(whole[..., i], part, rtol=1e-12, atol=1e-12)
    assert 0 < spikes.mean() < 1


def test_gradients_of_parameters_are_those_of_finite_differences() -> None:
    """Of every parameter of a model at once, with graded spikes."""
    smooth = st.surrogate.Smooth(st.surrogate.Sigmoid(2.0))
    start = {"tau": 2.0, "tau_w": 9.0, "delta": 0.3, "a": 0.2, "b": 0.3, "v_rheo": 0.7}
    x = 2 * torch.rand(4, 3, dtype=F64, generator=torch.Generator().manual_seed(1))

    def total(*values: Tensor) -> Tensor:
        made: Any = st.AdEx(surrogate=smooth, dt=0.5, backend="reference")
        made.neuron = made.neuron.with_values(dict(zip(start, values, strict=True)))
        state = [torch.full((3,), part, dtype=F64) for part in (0.3, 0.1)]
        return made(x, made.neuron.State(*state))[0].sum()

    values = [torch.tensor(v, dtype=F64, requires_grad=True) for v in start.values()]
    assert torch.autograd.gradcheck(total, values)


def test_state_dicts_copies_and_types() -> None:
    """What is learned travels with the weights; fixed tensors too; a copy is its own."""
    torch.manual_seed(0)

    def make() -> nn.Module:
        taus = st.learn(torch.tensor([1.0, 2.0, 4.0]))
        return nn.Sequential(nn.Linear(4, 3), st.LIF(tau=taus, v_threshold=torch.rand(3) + 0.2))

    net, other = make(), make()
    x = 3 * torch.rand(9, 2, 4)
    with torch.no_grad():
        net[1].learned["tau"].add_(0.3)
    assert not torch.equal(net(x), other(x))
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file))
    assert torch.equal(net(x), other(x))
    twin = copy.deepcopy(net)
    assert torch.equal(twin(x), net(x))
    with torch.no_grad():
        twin[1].learned["tau"].add_(1.0)
    assert not torch.equal(twin[1].neuron.tau, net[1].neuron.tau)
    wide = copy.deepcopy(net).to(F64)
    assert wide[1].neuron.tau.dtype == F64
    assert wide(x.to(F64)).dtype == F64
    assert "learned(" in repr(net[1])


def test_a_parameter_of_torch_is_learned_as_it_is() -> None:
    """Without a range: a time constant that leaves it is refused at the next call."""
    tau = nn.Parameter(torch.tensor(2.0))
    layer = st.LIF(tau=tau)
    assert dict(layer.named_parameters())["learned.tau"] is tau
    layer(torch.rand(5, 2, 3) * 4).sum().backward()
    assert tau.grad is not None
    with torch.no_grad():
        tau.fill_(-0.1)
    with pytest.raises(
        st.SaltationError, match=r"LIF tau was learned and is now -0\.1, not above 0"
    ):
        layer(torch.rand(5, 2, 3))


def test_a_learned_decay_is_that_of_the_linearised_neuron() -> None:
    """beta in (0, 1), and the time constant that it stands for goes with it."""
    layer = st.LIF(beta=st.learn(0.9))
    with torch.no_grad():
        layer.learned["beta"].fill_(0.0)
    assert layer.neuron.beta.item() == pytest.approx(0.5)  # type: ignore[attr-defined]
    assert layer.neuron.jacobian.item() == pytest.approx(-math.log(2))
    free: Any = st.ALIF(beta=st.learn(1.8))  # another model's beta may be any number
    assert free.neuron.beta.item() == pytest.approx(1.8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: st.LIF(tau=st.learn(-1.0)),
            "LIF tau must be above 0|must be a finite number above",
        ),
        (lambda: st.LIF(beta=st.learn(1.0)), r"LIF beta is learned in \(0, 1\), got 1\.0 to start"),
        (lambda: st.learn("2"), "a learned parameter must be a number, got '2'"),
        (lambda: st.learn(torch.tensor([1])), "must be floating point, got torch.int64"),
        (lambda: st.learn(2.0, "postive"), "unknown constraint 'postive'; did you mean 'positive'"),
        (lambda: st.LIF(dt=st.learn(1.0)), "LIF dt must be a finite number above 0, got Learned"),
        (lambda: st.LIF(tau=torch.tensor([1.0, 0.0])), "tau must be above 0, got a tensor with 0"),
        (lambda: st.LIF(scheme=st.learn(1.0)), "scheme"),
    ],
)
def test_what_cannot_be_learned_is_refused(make: Any, message: str) -> None:
    with pytest.raises(st.SaltationError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_between_two_numbers() -> None:
    """Where it starts, and wherever an optimiser goes."""
    layer = st.AdLIF(a=st.learn(torch.tensor([1.0, 59.0]), (0.0, 60.0)))
    torch.testing.assert_close(layer.neuron.a.detach(), torch.tensor([1.0, 59.0]))
    with torch.no_grad():
        layer.learned["a"].copy_(torch.tensor([-9.0, 9.0]))
    low, high = layer.neuron.a.detach()
    assert 0 < low < 0.01
    assert 59.99 < high <= 60
    for bounds in ((2.0, 1.0), (0.0, math.inf), (0.0, 1.0, 2.0), ("a", "b")):
        with pytest.raises(st.SaltationError, match=r"bound|constraint"):
            st.learn(1.0, bounds)  # type: ignore[arg-type]
    with pytest.raises(st.SaltationError, match=r"learned in \(0, 60\), got 61"):
        st.AdLIF(a=st.learn(61.0, (0.0, 60.0)))
