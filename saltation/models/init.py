"""Initial weights of networks, by name.

Behind batch normalisation the size of a convolution's weights does not change what the network
computes in training, but gradients are inverse to it: what drives neurons there are the factors γ
and offsets β of the normalisation, and what is said of weights below holds for them. Biases are 0.
To reach a given growth of perturbations instead, see `saltation.set_depth_growth` and
`saltation.set_lyapunov`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from saltation.errors import choose
from saltation.layers.recurrent import neuron_layers
from saltation.layers.sizes import balance, fluctuation_driven, potential_gain, response
from saltation.neurons import Neuron


def initialise(network: nn.Module, init: str, steps: int) -> None:
    """Draw the weights of a network anew.

    Parameters
    ----------
    network
        Whose last weight matrix is the readout's, and whose neurons are alike.
    init
        A name in `INITS`.
    steps
        Steps of its inputs.

    Raises
    ------
    SaltationError
        If the name is unknown, or its rule does not fit the neurons.
    """
    INITS[choose("init", init, INITS)](network, steps)


def _without_bias(module: nn.Conv2d | nn.Linear) -> None:
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _kaiming(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        _without_bias(module)
    elif isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        _without_bias(module)


def kaiming(network: nn.Module, steps: int) -> None:
    """Convolutions normal with variance 2 / fan_out (He et al., 2015), linear layers uniform with
    variance 2 / (fan_in + fan_out) (Glorot & Bengio, 2010)."""
    network.apply(_kaiming)


def _scaled(module: nn.Module) -> None:
    _kaiming(module)
    if isinstance(module, nn.Conv2d):
        with torch.no_grad():
            module.weight.mul_(0.5)
    elif isinstance(module, nn.Linear):
        nn.init.orthogonal_(module.weight, gain=0.5)


def scaled(network: nn.Module, steps: int) -> None:
    """Convolutions half as large as with ``kaiming``, linear layers orthogonal with gain 1/2."""
    network.apply(_scaled)


def truncated(network: nn.Module, steps: int) -> None:
    """Normal with deviation 0.02, as vision transformers have it (Dosovitskiy et al., 2021)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            _without_bias(module)


def potential_gained(network: nn.Module, steps: int) -> None:
    """``kaiming`` times `potential_gain`: potentials spread as currents do with ``kaiming``."""
    neuron = _neuron(network)
    gain = potential_gain(neuron)
    kaiming(network, steps)
    with torch.no_grad():
        for driving in _driving(network):
            driving.weight.mul_(gain)


def spike_aware(network: nn.Module, steps: int) -> None:
    """Normal with the variance of `balance` over fan-in: inputs are spikes, of the same rate in all
    layers. Factors of a normalisation are the deviation of the currents at that rate."""
    kept = balance(_neuron(network), steps)
    kaiming(network, steps)
    for driving in _driving(network):
        if isinstance(driving, nn.Conv2d | nn.Linear):
            nn.init.normal_(driving.weight, std=math.sqrt(kept.of_weights / fan_in(driving)))
        elif driving.weight.count_nonzero():  # a branch that begins at 0 stays there
            nn.init.constant_(driving.weight, math.sqrt(kept.variance))


def fluctuating(network: nn.Module, steps: int) -> None:
    """Normal by `fluctuation_driven`: potentials have mean 0 and threshold is one deviation above.

    Inputs are taken to spike at the rate of the neurons that they drive, see `balance`. Factors of
    a normalisation are such that potentials have that deviation.
    """
    neuron = _neuron(network)
    rate = balance(neuron, steps).rate
    kaiming(network, steps)
    for driving in _driving(network):
        if isinstance(driving, nn.Conv2d | nn.Linear):
            weights = fluctuation_driven(neuron, fan_in(driving), rate)
            nn.init.normal_(driving.weight, weights.mean, weights.deviation)
        elif driving.weight.count_nonzero():
            deviation = neuron.v_threshold / math.sqrt(response(neuron).square)
            nn.init.constant_(driving.weight, deviation)


def fan_in(module: nn.Conv2d | nn.Linear) -> int:
    """Number of inputs of one output."""
    return module.weight[0].numel()


def _neuron(network: nn.Module) -> Neuron:
    layer: Any = next(iter(neuron_layers(network).values()))
    neuron: Neuron = layer.neuron
    return neuron


def _driving(network: nn.Module) -> Iterator[Any]:
    """The modules whose weights are the last in front of neurons: normalisations, and convolutions
    and linear maps that none follows, but not the readout."""
    normalised: set[nn.Module] = set()
    found: list[Any] = []
    for module in network.modules():
        norm = getattr(module, "norm", None)
        if isinstance(norm, nn.Module) and isinstance(getattr(norm, "weight", None), Tensor):
            normalised.update(m for m in module.children() if isinstance(m, nn.Conv2d))
            normalised.update(m for m in getattr(module, "convs", ()))
            found.append(norm)
    matrices = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    yield from found
    yield from (m for m in matrices[:-1] if m not in normalised)


INITS: dict[str, Callable[[nn.Module, int], None]] = {
    "kaiming": kaiming,
    "scaled": scaled,
    "truncated": truncated,
    "potential_gain": potential_gained,
    "spike_aware": spike_aware,
    "fluctuation_driven": fluctuating,
}
