"""Sizes of weights: what they make of potentials and rates, measured on the neurons themselves."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import saltation as st
from saltation.layers.sizes import balance, fluctuation_driven, potential_gain, response
from saltation.neurons import CubaLIFNeuron, IzhikevichNeuron, LIFNeuron

LINEAR = {
    "decay_input": LIFNeuron(tau=3.0),
    "no decay_input": LIFNeuron(tau=3.0, decay_input=False),
    "beta": LIFNeuron(beta=0.9),
    "a step of half": LIFNeuron(tau=5.0, dt=0.5, scheme="euler"),
    "rest": LIFNeuron(tau=4.0, v_rest=-0.3),
    "delayed": LIFNeuron(beta=0.8, jump="soft_delayed"),
    "synapse": CubaLIFNeuron(tau=4.0, tau_syn=2.0),
}


def potentials(neuron: LIFNeuron | CubaLIFNeuron, currents: Tensor) -> Tensor:
    """Of every step, none of which spikes."""
    state, out = neuron.rest(currents[0]), []
    for x in currents:
        state = neuron.integrate(x, state, torch.zeros_like)
        out.append(state.v)
    return torch.stack(out)


@pytest.mark.parametrize("name", LINEAR)
def test_potential_gain_spreads_potentials_like_currents(name: str) -> None:
    """Within 5 %, behind as many steps as potentials need, for white currents."""
    neuron = LINEAR[name]
    noise = torch.Generator().manual_seed(0)
    currents = torch.randn(400, 500, generator=noise, dtype=torch.float64)
    v = potentials(neuron, potential_gain(neuron) * currents)[60:]
    assert abs(v.std() - 1) < 0.05
    assert potential_gain(neuron) != pytest.approx(1, rel=0.05)


def test_potential_gain_of_lif_by_its_formula() -> None:
    for neuron in (LIFNeuron(tau=2.0), LIFNeuron(tau=7.0, dt=0.3, scheme="rk4")):
        step = neuron.affine_step
        assert step is not None
        a = step.m[0][0]
        assert potential_gain(neuron) == pytest.approx(math.sqrt((1 + a) / (1 - a)), rel=1e-6)
    assert response(LIFNeuron(beta=0.9)).total == pytest.approx(1 / (1 - 0.9), rel=1e-6)


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize(
    ("rate", "mean", "xi", "fan_in"), [(0.05, 0.0, 1.0, 200), (0.2, 0.4, 2.0, 400)]
)
def test_fluctuation_driven_weights_meet_their_statistics(
    name: str, rate: float, mean: float, xi: float, fan_in: int
) -> None:
    """Mean, and deviation over time, of potentials driven by independent spikes: within 5 % of what
    was asked for, and of a half of the threshold for a mean of 0."""
    neuron = LINEAR[name]
    weights = fluctuation_driven(neuron, fan_in, rate, mean=mean, xi=xi)
    noise = torch.Generator().manual_seed(1)
    spikes = (torch.rand(600, fan_in, generator=noise) < rate).double()
    drawn = torch.randn(fan_in, 1000, generator=noise, dtype=torch.float64)
    drawn = torch.cat([drawn, -drawn], 1)  # of mean 0
    v = potentials(neuron, spikes @ (weights.mean + weights.deviation * drawn))[60:]
    wanted = (neuron.v_threshold - mean) / xi
    over_time = ((v - v.mean(0)) ** 2).mean().sqrt()
    assert abs(over_time / wanted - 1) < 0.05
    assert abs(v.mean() - mean) < 0.05 * wanted


def rates(
    neuron: LIFNeuron | CubaLIFNeuron, of_weights: float, spikes: Tensor, layers: int, width: int
) -> list[float]:
    """Of the layers of a plain perceptron with weights of this variance times fan-in."""
    noise = torch.Generator().manual_seed(2)
    layer = {LIFNeuron: st.LIF, CubaLIFNeuron: st.CubaLIF}[type(neuron)]()
    layer.neuron = neuron
    found = []
    for _ in range(layers):
        fan_in = spikes.shape[-1]
        weight = torch.randn(width, fan_in, generator=noise) * math.sqrt(of_weights / fan_in)
        with torch.no_grad():
            spikes = layer(spikes @ weight.T)
        found.append(float(spikes.mean()))
    return found


DEEP = {
    "hard": LIFNeuron(tau=2.0),
    "slow": LIFNeuron(tau=20.0),
    "high threshold": LIFNeuron(tau=2.0, v_threshold=5.0),
    "no decay_input": LIFNeuron(tau=2.0, decay_input=False, v_threshold=0.3),
    "soft": LIFNeuron(tau=2.0, jump="soft"),
    "delayed": LIFNeuron(beta=0.9, jump="soft_delayed"),
    "integrate and fire": LIFNeuron(beta=1.0),
    "synapse": CubaLIFNeuron(),
}


# Their memory is longer than the input: independent spikes average out, and drive layer 1 a quarter
# less than spikes that come again drive those behind it.
LONG = ("slow", "integrate and fire")


@pytest.mark.parametrize("name", DEEP)
def test_layer_one_hundred_fires_like_layer_one(name: str) -> None:
    """Within 20 %, in a perceptron of 512 neurons a layer, where Kaiming's variance gives 0; inputs
    are independent spikes at the rate of the layers."""
    neuron, steps = DEEP[name], 10
    kept = balance(neuron, steps)
    noise = torch.Generator().manual_seed(1)
    spikes = (torch.rand(steps, 32, 512, generator=noise) < kept.rate).float()
    found = rates(neuron, kept.of_weights, spikes, 100, 512)
    assert abs(found[-1] / kept.rate - 1) < 0.2
    if name not in LONG:
        assert abs(found[-1] / found[0] - 1) < 0.2
    if kept.of_weights > 2.5:
        assert rates(neuron, 2.0, spikes, 100, 512)[-1] == 0


def test_for_one_step_it_is_the_papers_variance() -> None:
    """1 / (n P(u > threshold)) for potentials of variance 1, which with one step and C = 1 are the
    currents: at the rate kept, threshold is the quantile of the normal distribution."""
    neuron = LIFNeuron(beta=0.9, v_threshold=0.6745)
    kept = balance(neuron, 1)
    assert kept.rate == pytest.approx(0.25, abs=0.01)
    assert kept.variance == pytest.approx(1.0, rel=0.1)
    assert kept.of_weights == pytest.approx(1 / 0.25, rel=0.1)


def test_the_search_draws_nothing_from_the_user() -> None:
    """And finds the same again."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    balance.cache_clear()
    one = balance(LIFNeuron(tau=2.5), 3)
    assert torch.equal(before, torch.get_rng_state())
    balance.cache_clear()
    assert balance(LIFNeuron(tau=2.5), 3) == one


def test_refusals() -> None:
    """No stationary variance, no responses, no rate to be kept, numbers out of range."""
    with pytest.raises(st.SaltationError, match="pulse of current stays in the potential of LIF"):
        potential_gain(LIFNeuron(beta=1.0))
    with pytest.raises(st.SaltationError, match="Izhikevich is not linear"):
        fluctuation_driven(IzhikevichNeuron(), 10, 0.1)
    with pytest.raises(st.SaltationError, match=r"keeps no rate from 0\.25 to 0\.45"):
        balance(LIFNeuron(tau=2.0, v_threshold=-1.0, v_reset=-2.0), 3)
    neuron = LIFNeuron(tau=2.0)
    for rate in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(st.SaltationError, match=r"rate must be in \(0, 1\)"):
            fluctuation_driven(neuron, 10, rate)
    with pytest.raises(st.SaltationError, match="xi must be a finite number above 0, got 0"):
        fluctuation_driven(neuron, 10, 0.1, xi=0)
    with pytest.raises(st.SaltationError, match=r"mean must be below v_threshold = 1, got 1\.0"):
        fluctuation_driven(neuron, 10, 0.1, mean=1.0)
    with pytest.raises(st.SaltationError, match="weights of the mean alone give more"):
        fluctuation_driven(neuron, 2, 0.05, mean=0.9, xi=5.0)
