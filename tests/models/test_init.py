"""Initial weights by name: what they do in the networks that take them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import saltation as st
from saltation.layers import watch
from saltation.layers.sizes import balance, potential_gain
from saltation.models import ARCHITECTURES
from saltation.models.init import INITS

NEW = ("potential_gain", "spike_aware", "fluctuation_driven")


def mlp(depth: int, width: int, init: str, steps: int = 10) -> nn.Module:
    torch.manual_seed(0)
    return ARCHITECTURES["mlp"].build(
        (1, 16, 16), 10, depth, base_channels=width, steps=steps, init=init
    )


def test_a_perceptron_of_one_hundred_layers_stays_active() -> None:
    """Layer 100 within 20 % of layer 1, where with `kaiming` it is silent; the input is spikes."""
    x = (torch.rand(10, 16, 1, 16, 16, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    found = {}
    for init in ("spike_aware", "kaiming"):
        network = mlp(100, 256, init).eval()
        with torch.no_grad(), watch(network) as seen:
            network(x)
        found[init] = [layer.mean_spike_rate for layer in seen.values()]
    assert len(found["kaiming"]) == 100
    assert abs(found["spike_aware"][-1] / found["spike_aware"][0] - 1) < 0.2
    assert found["kaiming"][-1] == 0


def test_weights_have_the_variances_of_their_rules() -> None:
    """Of a bare VGG, by fan-in; the readout stays as it is."""
    made = {}
    for init in (*NEW, "kaiming"):
        torch.manual_seed(0)
        made[init] = st.spiking_vgg(
            3, 10, 16, stages=2, base_channels=32, batch_norm="none", init=init
        )
    neuron = made["kaiming"].stages[0][0].neurons.neuron
    gain, kept = potential_gain(neuron), balance(neuron, 4)
    for name, first in made["kaiming"].named_parameters():
        other = {init: made[init].get_parameter(name) for init in NEW}
        if first.ndim != 4:
            assert name.startswith("readout")
            for init in NEW:
                assert other[init].shape == first.shape
            continue
        torch.testing.assert_close(other["potential_gain"], gain * first)
        inputs = first[0].numel()
        tolerance = 4 / math.sqrt(2 * first.numel())
        deviation = math.sqrt(kept.of_weights / inputs)
        assert abs(other["spike_aware"].std() / deviation - 1) < tolerance
        square = 1 / (inputs * kept.rate * (1 - kept.rate) / gain**2)
        assert abs(other["fluctuation_driven"].std() / math.sqrt(square) - 1) < tolerance


@pytest.mark.parametrize("batch_norm", ["step", "all", "per_step"])
def test_behind_normalisation_its_factors_are_set(batch_norm: str) -> None:
    """Convolutions are those of `kaiming`, to the last bit."""
    made = {}
    for init in (*NEW, "kaiming"):
        torch.manual_seed(0)
        made[init] = st.spiking_vgg(
            3, 10, 8, stages=2, base_channels=4, batch_norm=batch_norm, init=init
        )
    neuron = made["kaiming"].stages[0][0].neurons.neuron
    gain, kept = potential_gain(neuron), balance(neuron, 4)
    factors = {
        "potential_gain": gain,
        "spike_aware": math.sqrt(kept.variance),
        "fluctuation_driven": gain * neuron.v_threshold,
        "kaiming": 1.0,
    }
    for init, network in made.items():
        for name, parameter in network.named_parameters():
            if "norm.weight" in name:
                torch.testing.assert_close(
                    parameter.detach(), torch.full_like(parameter, factors[init])
                )
            elif parameter.ndim == 4:
                assert torch.equal(parameter, made["kaiming"].get_parameter(name))


def test_what_begins_at_zero_stays_there() -> None:
    """The last factors of an MS-ResNet's branches; the others are set."""
    made = st.ms_resnet((2,), 1, 5, width=4, init="spike_aware")
    deviation = math.sqrt(balance(made.neurons.neuron, 4).variance)  # type: ignore[arg-type,union-attr]
    for name, module in made.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            wanted = 0.0 if name.endswith("branch.1.norm") else deviation
            torch.testing.assert_close(
                module.weight.detach(), torch.full_like(module.weight, wanted)
            )


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("name", ["vgg", "bare_vgg", "ms_resnet", "mlp"])
def test_every_network_takes_every_name(name: str, init: str) -> None:
    """With finite weights, and biases of 0."""
    depth = 5 if name == "ms_resnet" else 4
    options: dict[str, Any] = {"base_channels": 3, "steps": 2, "init": init}
    made = ARCHITECTURES[name].build((1, 16, 16), 7, depth, **options)
    assert made(torch.rand(3, 1, 16, 16)).isfinite().all()
    for parameter_name, parameter in made.named_parameters():
        assert parameter.isfinite().all()
        if parameter_name.endswith("bias"):
            assert not parameter.count_nonzero()


def test_neurons_that_do_not_leak_are_refused_by_name() -> None:
    """Their potentials have no stationary variance; spike-aware weights need none."""
    for init in ("potential_gain", "fluctuation_driven"):
        with pytest.raises(st.SaltationError, match="take a neuron that leaks"):
            st.sew_resnet("basic", (1,), 1, 5, width=4, init=init)
    st.sew_resnet("basic", (1,), 1, 5, width=4, init="spike_aware")
