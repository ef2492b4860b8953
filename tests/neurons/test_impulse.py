"""Input as impulses: what a spike does, whatever dt is, and that every loop does the same."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.neurons import NEURONS
from tests.facts import TOLERANCE

F64 = torch.float64
TIGHT = TOLERANCE[F64]


def pulse(steps: int, size: float = 1.0) -> Tensor:
    """One impulse in the first step, ``[T, 1, 1]``."""
    return torch.tensor([size] + [0.0] * (steps - 1), dtype=F64)[:, None, None]


def potential(layer: st.layers.SpikingLayer, x: Tensor) -> Tensor:
    """v at the end of every step, ``[T]``."""
    h = layer.record(x).h
    assert h is not None
    return h[:, 0, 0]


def test_charge_of_a_spike_in_numbers() -> None:
    """Held: 0.025 at dt 0.05 and 0.92 at dt 5. Impulse: a jump of w / tau, then the decay."""
    moved = {
        (kind, dt): potential(st.LIF(dt=dt, input=kind, v_threshold=9.0), pulse(1)).item()
        for kind in ("held", "impulse")
        for dt in (0.05, 5.0)
    }
    assert moved["held", 0.05] == pytest.approx(0.0247, abs=1e-4)
    assert moved["held", 5.0] == pytest.approx(0.9179, abs=1e-4)
    for dt in (0.05, 5.0):
        assert moved["impulse", dt] * math.exp(dt / 2) == pytest.approx(0.5, rel=TIGHT)


@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize("dt", [0.05, 0.5, 2.0])
def test_a_lif_is_the_solution_of_its_equation(decay_input: bool, dt: float) -> None:
    """``w / tau exp(-t / tau)``, or ``w exp(-t / tau)``, at the end of every step."""
    layer = st.LIF(dt=dt, decay_input=decay_input, input="impulse", v_threshold=9.0)
    t = dt * torch.arange(1, 9, dtype=F64)
    expected = 3 * (-t / 2).exp() / (2 if decay_input else 1)
    torch.testing.assert_close(potential(layer, pulse(8, 3.0)), expected, rtol=TIGHT, atol=0)


def test_a_cuba_lif_has_the_alpha_of_two_time_constants() -> None:
    """i jumps by w / tau_syn; v is the difference of two exponentials, at every dt."""
    tau, tau_syn = 2.0, 0.7
    for dt in (0.1, 1.0):
        layer = st.CubaLIF(tau=tau, tau_syn=tau_syn, dt=dt, input="impulse", v_threshold=9.0)
        t = dt * torch.arange(1, 9, dtype=F64)
        expected = ((-t / tau).exp() - (-t / tau_syn).exp()) / (tau - tau_syn)
        torch.testing.assert_close(potential(layer, pulse(8)), expected, rtol=1e-11, atol=0)


def test_a_jump_that_depends_on_the_state() -> None:
    """A conductance: an impulse moves v by w (e - v), v as it is when it comes."""

    class Conductance(st.Neuron):
        tau: float = 2.0

        def velocity(self, x: Any, v: Any) -> Any:
            return (-v / self.tau + x * (3.0 - v),)

    layer = Conductance.layer(dt=0.5, input="impulse", scheme="rk4", v_threshold=9.0)
    x = torch.cat([pulse(2, 0.25), pulse(1, 0.25)])
    decay = Conductance(dt=0.5, scheme="rk4").stability_scheme.stability(-0.25)
    first = 0.75 * decay
    second = first * decay
    third = (second + 0.25 * (3 - second)) * decay
    expected = torch.tensor([first, second, third], dtype=F64)
    torch.testing.assert_close(potential(layer, x), expected, rtol=TIGHT, atol=0)


def test_beta_is_a_jump_and_its_decay() -> None:
    """Of a neuron without an equation in time: w, then beta."""
    layer = st.LIF(beta=0.9, input="impulse", v_threshold=9.0)
    expected = torch.tensor([0.9, 0.81, 0.729], dtype=F64)
    torch.testing.assert_close(potential(layer, pulse(3)), expected, rtol=TIGHT, atol=0)


@pytest.mark.parametrize("scheme", ["euler", "rk2", "implicit_euler"])
def test_other_schemes_step_from_the_jumped_state(scheme: str) -> None:
    """``A w / tau``: an impulse of charge dt is not a current held for dt."""
    layer = st.LIF(dt=0.5, scheme=scheme, input="impulse", v_threshold=9.0)
    a = float(st.SCHEMES[scheme].stability(-0.25))
    expected = [0.5 * a, 0.5 * a * a]
    assert potential(layer, pulse(2)).tolist() == pytest.approx(expected, rel=TIGHT)


@pytest.mark.parametrize("name", [n for n in NEURONS if n != "hodgkin_huxley"])
def test_compiled_loops_have_the_bits_of_the_reference(name: str) -> None:
    """Spikes and potentials of every model, and gradients to rounding."""
    size = 30.0 if name == "izhikevich_2003" else 3.0
    make = torch.Generator().manual_seed(0)
    x = size * (torch.rand(20, 3, 9, generator=make) < 0.3) * torch.rand(20, 3, 9, generator=make)
    found = []
    for backend in ("cpu", "reference"):
        driven = x.clone().requires_grad_()
        layer = NEURONS[name].layer(dt=0.2, input="impulse", backend=backend)
        spikes, last = layer(driven, layer.rest(x[0]))
        spikes.sum().backward()
        found.append((spikes, last[0], driven.grad))
    assert found[0][0].any()
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    torch.testing.assert_close(found[0][2], found[1][2], rtol=1e-4, atol=1e-6)


def test_networks_and_recurrent_layers_take_it() -> None:
    """A perceptron's chain, a feedback, a convolutional network: compiled as by the reference."""
    torch.manual_seed(0)
    x = (torch.rand(9, 2, 20) < 0.4).float()
    mlp = st.spiking_mlp((20, 16, 3), dt=0.5, input="impulse", readout="spike_count")
    loop = st.Sequential(nn.Linear(20, 8), st.Recurrent(st.LIF(dt=0.5, input="impulse"), 8))
    vgg = st.spiking_vgg(1, 3, 8, stages=1, base_channels=4, input="impulse").eval()
    for network, given in ((mlp, x), (loop, x), (vgg, torch.rand(2, 1, 8, 8))):
        fast = network(given)
        for layer in network.modules():
            if isinstance(layer, st.layers.SpikingLayer):
                assert layer.neuron.input == "impulse"
                layer.backend = "reference"
        torch.testing.assert_close(network(given), fast, rtol=1e-5, atol=1e-5)


def test_learned_time_constants_get_the_gradient_of_the_jump() -> None:
    """By central differences of the float64 reference."""

    def last(tau: Tensor) -> Tensor:
        neuron = st.LIF(input="impulse", dt=0.5, v_threshold=9.0).neuron
        neuron = type(neuron)(tau=tau, dt=0.5, input="impulse", v_threshold=9.0)
        state = neuron.rest(torch.zeros(1, dtype=F64))
        for x in pulse(3)[:, 0]:
            state = neuron.integrate(x, state, torch.zeros_like)
        return state[0]

    tau = torch.tensor([2.0], dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(last, tau)


class Squared(st.Neuron):
    """Not affine in the input."""

    def velocity(self, x: Any, v: Any) -> Any:
        return (x * x - v,)


class Counter(st.Neuron):
    """A discrete map."""

    def step(self, x: Any, v: Any) -> Any:
        return (v + x,)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Squared, "Squared has no input='impulse': its velocity is not seen to be affine"),
        (Counter, "Counter is a discrete map"),
    ],
)
def test_models_without_a_jump_are_refused(model: Any, message: str) -> None:
    """At construction, by name."""
    with pytest.raises(st.SaltationError, match=message):
        model.layer(input="impulse")


def test_input_is_checked_and_travels_with_weights() -> None:
    """A typo is named; weights of one convention do not load into the other, old ones are held."""
    with pytest.raises(st.SaltationError, match="unknown LIF input 'pulse'"):
        st.LIF(input="pulse")
    held, impulse = st.LIF(), st.LIF(input="impulse")
    with pytest.raises(st.OtherNumericsError, match="input='held'"):
        impulse.load_state_dict(held.state_dict())
    old = st.LIF()
    known = {name: value for name, value in old.numerics().items() if name != "input"}
    old.numerics = lambda: known  # type: ignore[method-assign]
    held.load_state_dict(old.state_dict())
    with pytest.raises(st.OtherNumericsError, match="input='held'"):
        impulse.load_state_dict(old.state_dict())
    assert "input='impulse'" in repr(impulse)


def test_true_exponents_are_refused() -> None:
    """Their flow has the input held."""
    with pytest.raises(st.SaltationError, match="held over the step"):
        st.true_exponents(st.LIF(input="impulse"), torch.ones(3, 1))


@pytest.mark.parametrize("layer", [st.LIF, st.Izhikevich])
def test_spikes_come_with_those_of_the_exact_solution(layer: Any) -> None:
    """Pulses of the same charges at the starts of steps: noticed at the end of the step of each."""
    made = layer(dt=0.01, input="impulse")
    charges = 1.6 * (torch.rand(800, generator=torch.Generator().manual_seed(0)) < 0.05).double()
    spikes = made.record(charges[:, None, None]).spikes[:, 0, 0].nonzero()[:, 0]
    exact = st.reference.simulate(made, charges, t_end=7.99).spike_times
    assert len(exact) > 10
    times = 0.01 * (spikes.double().numpy() + 1)
    assert len(times) == len(exact)
    assert abs(times - exact - 0.005).max() <= 0.005 + 1e-9
