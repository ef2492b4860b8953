"""One network at any dt: equal below threshold at common times, and what it says of the rest."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.interop.nir.integrators import Integrator
from saltation.layers import SpikingLayer
from saltation.surrogate import EscapeNoise

F64 = torch.float64
HIGH = {"v_threshold": 1e9}

LAYERS: dict[str, Callable[..., SpikingLayer]] = {
    "lif": lambda **p: st.LIF(tau=3.0, dt=1.0, v_rest=0.2, **p),
    "lif undivided": lambda **p: st.LIF(tau=3.0, dt=1.0, decay_input=False, **p),
    "lif learned": lambda **p: st.LIF(tau=st.learn(torch.tensor([1.0, 2.0, 4.0])), **p),
    "cuba": lambda **p: st.CubaLIF(tau=5.0, tau_syn=1.5, dt=1.0, **p),
    "adlif": lambda **p: st.AdLIF(tau=2.0, tau_w=20.0, a=3.0, dt=1.0, **p),
    "beta": lambda **p: st.LIF(beta=0.9, **p),
    "beta learned": lambda **p: st.LIF(beta=st.learn(0.8), **p),
    "no leak": lambda **p: st.LIF(beta=1.0, **p),
}


def driven(layer: SpikingLayer) -> Any:
    """The layer behind a bias and weights, in float64."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), layer).double()


def potentials(network: nn.Module, x: Tensor) -> Tensor:
    """h of the last layer, ``[T, B, 3]``."""
    h = network[1].record(network[0](x)).h  # type: ignore[index]
    assert h is not None
    return h


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    ("kind", "preserve"), [("held", "charge"), ("held", "current"), ("impulse", "charge")]
)
@pytest.mark.parametrize("k", [2, 5])
def test_states_are_equal_at_common_times(name: str, kind: str, preserve: str, k: int) -> None:
    """To 1e-12, for input constant over the longer step (an impulse: at its start), both ways."""
    network = driven(LAYERS[name](input=kind, **HIGH))
    if kind == "impulse" and name not in ("beta", "beta learned", "no leak"):
        network[0].bias = None  # of a bias the charge is kept, not its times
    x = torch.randn(12, 2, 4, dtype=F64, generator=torch.Generator().manual_seed(1))
    finer, mapping = st.at_dt(network, 1 / k, preserve=preserve)
    expected = potentials(network, x)
    found = potentials(finer, mapping.inputs(x))[k - 1 :: k]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    if not name.startswith(("beta", "no leak")):
        back = st.at_dt(finer, 1.0, preserve=preserve).network
        torch.testing.assert_close(potentials(back, x), expected, rtol=0, atol=1e-12)


def test_a_spike_keeps_its_charge_or_its_current() -> None:
    """One spike in a step of 1 or of 1/4: the same integral of the potential, or a quarter."""
    network = driven(LAYERS["lif"](**HIGH))
    network[0].bias = None
    network[1] = st.LIF(tau=3.0, dt=1.0, **HIGH)
    x = torch.zeros(60, 1, 4, dtype=F64)
    x[0] = 1

    def area(network: Any, dt: float) -> Tensor:
        # Of an exact step the sum of the potentials: charge over (1 - A), times dt.
        return dt * potentials(network, torch.cat([x, torch.zeros(600, 1, 4, dtype=F64)])).sum(0)

    charge = st.at_dt(network, 0.25).network
    current = st.at_dt(network, 0.25, preserve="current").network
    torch.testing.assert_close(charge[0].weight, 4 * network[0].weight)
    torch.testing.assert_close(current[0].weight, network[0].weight)
    torch.testing.assert_close(area(charge, 0.25), area(network, 1.0))
    torch.testing.assert_close(area(current, 0.25), area(network, 1.0) / 4)


def test_the_network_itself_is_left_alone() -> None:
    """Weights, dt and surrogate of the one that was given."""
    network = driven(st.LIF(dt=1.0, surrogate=EscapeNoise()))
    before = copy.deepcopy(list(network.state_dict().values()))
    finer, _ = st.at_dt(network, 0.5)
    assert all(map(torch.equal, before, network.state_dict().values()))
    assert network[1].neuron.dt == 1.0
    assert finer[1].neuron.dt == 0.5
    assert finer[1].surrogate == EscapeNoise(dt=0.5)


def test_normalisation_is_mapped_with_the_weights() -> None:
    """Convolution, batch normalisation with shifts, and neurons by beta: the same spikes at k = 1,
    and the same potentials under a constant image."""
    torch.manual_seed(0)
    network: Any = (
        nn.Sequential(
            st.SpikeConv2d(1, 3, 3, padding=1),
            nn.Flatten(0, 1),
            nn.BatchNorm2d(3),
            nn.Unflatten(0, (-1, 2)),
            st.LIF(beta=0.9, **HIGH),
        )
        .double()
        .eval()
    )
    for parameter in (network[2].running_mean, network[2].bias, network[2].weight):
        nn.init.uniform_(parameter, -1, 1)
    finer, mapping = st.at_dt(network, 0.5, preserve="current", drive="currents")
    x = torch.rand(5, 2, 1, 6, 6, dtype=F64)
    one = network[4].record(network[:4](x)).h
    two = finer[4].record(finer[:4](mapping.inputs(x))).h
    torch.testing.assert_close(two[1::2], one, rtol=0, atol=1e-12)


def test_image_networks_are_shown_for_longer() -> None:
    """Their first weights see currents, the others spikes; logits are of the spikes, not steps."""
    network = st.spiking_vgg(1, 3, 8, stages=1, base_channels=4, tau=2.0, dt=1.0).eval()
    finer, mapping = st.at_dt(network, 0.25)
    assert finer.steps == 16
    first, second = finer.stages[0][0], finer.stages[0][1]
    was = network.stages[0]
    assert torch.equal(first.conv.weight, was[0].conv.weight)
    assert torch.equal(second.conv.weight, 4 * was[1].conv.weight)
    assert torch.equal(finer.readout.weight, network.readout.weight)
    mean = st.ms_resnet((1, 1, 1), 1, 3, width=4, tau=2.0, dt=1.0)
    assert torch.equal(st.at_dt(mean, 0.5).network.readout.weight, 2 * mean.readout.weight)
    assert "batch statistics" in str(mapping)


def test_recurrent_layers_are_mapped() -> None:
    """Feedback is of spikes, its bias a constant; that it is one step late is said."""
    torch.manual_seed(0)
    network = nn.Sequential(st.SpikeLinear(4, 5), st.Recurrent(st.LIF(dt=1.0), 5, bias=True))
    finer, mapping = st.at_dt(network, 0.5)
    assert torch.equal(finer[1].weight, 2 * network[1].weight)
    assert torch.equal(finer[1].bias, network[1].bias)
    assert finer[1].layer.neuron.dt == 0.5
    assert "feedback comes one step late" in str(mapping)


def test_readouts_of_all_steps_are_of_the_spikes() -> None:
    """The same spikes on a finer grid have the same mean and sum; of the others it is said."""
    torch.manual_seed(0)
    for kind in ("mean", "sum"):
        network = st.spiking_mlp((4, 5, 3), dt=1.0, readout=kind, bias=True)
        finer, _ = st.at_dt(network, 0.25)
        spikes = (torch.rand(6, 2, 5) < 0.4).float()
        sparse = torch.stack([spikes, *[torch.zeros_like(spikes)] * 3], 1).flatten(0, 1)
        torch.testing.assert_close(finer[2:](sparse.clone()), network[2:](spikes))
    _, mapping = st.at_dt(st.spiking_mlp((4, 5, 3), dt=1.0), 0.5)
    assert any("readout 'max'" in line for line in mapping.lost)


def test_what_is_lost_is_said_with_its_size() -> None:
    """Of schemes that are not exact the difference, of nonlinear models the order, and rounding."""
    _, mapping = st.at_dt(nn.Sequential(st.LIF(dt=1.0, tau=2.0, scheme="euler")), 0.5)
    assert any(
        "'euler': 1 of the old steps and 2 of the new" in line and "0.062" in line
        for line in mapping.lost
    )
    assert not any("common times" in line for line in mapping.kept)
    _, mapping = st.at_dt(nn.Sequential(st.Izhikevich(dt=1.0, refractory=1.0)), 0.3)
    text = str(mapping)
    assert "nonlinear equations" in text
    assert "refractory time is rounded to 3 steps, 0.9 in place of 1" in text


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (nn.Linear(2, 2), {}, "no neuron layer"),
        (nn.Sequential(st.LIF(dt=1.0), st.LIF(dt=0.5)), {}, "must have one dt, got '0' 1, '1' 0.5"),
        (nn.Sequential(st.LIF(beta=0.9), st.LIF(beta=0.8)), {}, "different beta"),
        (nn.Sequential(st.LIF(input="impulse")), {"preserve": "current"}, "no current"),
        (nn.Sequential(st.LIF()), {"preserve": "chrage"}, "did you mean 'charge'"),
        (st.spiking_vgg(1, 2, 4, stages=1, batch_norm="per_step"), {}, "statistics of each step"),
        (nn.Sequential(st.LIF(refractory=1.0)), {"dt": 3.0}, "at least half a step"),
    ],
)
def test_what_has_no_form_is_refused(
    network: nn.Module, options: dict[str, Any], message: str
) -> None:
    """In one line that names it."""
    with pytest.raises(st.SaltationError, match=message):
        st.at_dt(network, **{"dt": 0.5, **options})


def test_discrete_maps_are_refused_by_name() -> None:
    """They have no equations."""

    class Counter(st.Neuron):
        def step(self, x: Any, v: Any) -> Any:
            return (v + x,)

    with pytest.raises(st.SaltationError, match="'0': Counter is a discrete map"):
        st.at_dt(nn.Sequential(Counter.layer()), 0.5)


def test_integrators_of_graphs_are_refused() -> None:
    """They have a dt, and are no neuron layers that it could be changed of."""
    integrator = Integrator(st.LIF(dt=1.0).neuron)
    with pytest.raises(st.SaltationError, match="'1' is a Integrator, which has a dt of its own"):
        st.at_dt(nn.Sequential(st.LIF(dt=1.0), integrator), 0.5)


def test_an_unstable_step_warns() -> None:
    """As it would at construction."""
    with pytest.warns(st.StabilityWarning):
        st.at_dt(nn.Sequential(st.LIF(tau=2.0, dt=1.0, scheme="euler")), 5.0)


def test_currents_are_scaled_once_on_their_way() -> None:
    """Two linear layers behind each other, and a shortcut of currents: only the first sees spikes,
    and constants of both are scaled."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(4, 5), nn.Linear(5, 3), st.LIF(beta=0.8, **HIGH), nn.Linear(3, 3)
    ).double()
    finer, mapping = st.at_dt(network, 0.5)
    assert torch.equal(finer[1].weight, network[1].weight)
    x = torch.randn(6, 2, 4, dtype=F64)
    one, two = network[2].record(network[:2](x)).h, finer[2].record(finer[:2](mapping.inputs(x))).h
    torch.testing.assert_close(two[1::2], one, rtol=0, atol=1e-12)
    resnet = st.ms_resnet((1, 1, 1), 1, 3, width=4, tau=2.0, dt=1.0)
    mapped = st.at_dt(resnet, 0.5).network.state_dict()
    for name, weight in resnet.state_dict().items():
        if name.endswith("weight") and weight.ndim == 4:
            of_spikes = ".branch." in name
            assert torch.equal(mapped[name], weight * (2 if of_spikes else 1)), name


def test_what_is_guessed_or_without_weights_is_said() -> None:
    """A module of the user's whose parts may have any order, and spikes that come unweighted."""

    class Mine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.neurons = nn.Linear(3, 3), st.LIF(dt=1.0)

    assert "order in which they were defined" in str(st.at_dt(Mine(), 0.5).mapping)
    assert "order" not in str(st.at_dt(Mine(), 0.5, preserve="current").mapping)
    unweighted = st.at_dt(nn.Sequential(st.LIF(dt=1.0)), 0.5).mapping
    assert "spikes without weights: they would have to be 2 times" in str(unweighted)
