"""Inputs and weights under which a difference between two kernels would show.

They are searched for: every layer of neurons spikes now and then, and in float64 as in float32, for
where nothing happens nothing can differ, and gradients are compared on the same spikes. Numbers
that are summed lie on a grid that is coarse enough for every sum to be exact, whatever its order.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from saltation.kernels.recurrent import RecurrentState
from saltation.layers import SpikingLayer
from saltation.selftest.row import TOLERANCE, Row

_NOW_AND_THEN = (0.02, 0.8)  # spikes per step and neuron
_HIGHEST = (1.5, 3.0, 4.5, 8.0, 16.0, 32.0, 64.0)  # currents are drawn from -1 up to one of these
_GAINS = (8.0, 16.0, 32.0, 64.0, 4.0, 2.0, 128.0, 256.0, 512.0)
_GRID = 1024


class Result(NamedTuple):
    """Of one run: spikes and last state, and gradients of currents, first state and parameters."""

    values: list[Tensor]
    gradients: list[Tensor]


def run(layer: Any, x: Tensor, state: Any, gradients: bool = True) -> Result:
    """Run from currents and first state, and backward from random gradients of what it gives."""
    parts, form = tree_flatten((x, state))
    leaves = [part.detach().requires_grad_(gradients) for part in parts]
    with torch.set_grad_enabled(gradients):
        spikes, last = layer(*tree_unflatten(leaves, form))
    values = [spikes, *tree_flatten(last)[0]]
    if not gradients:
        return Result(values, [])
    noise = torch.Generator().manual_seed(2)
    incoming = [torch.randn(v.shape, generator=noise).to(v.dtype) for v in values]
    wanted = [*leaves, *layer.parameters()]
    return Result(values, list(torch.autograd.grad(values, wanted, incoming)))


def doubled(state: Any) -> Any:
    """A tensor or state in float64."""
    return tree_map(Tensor.double, state)


def inputs(layer: Any, twin: Any, *shape: int) -> tuple[Tensor, Any]:
    """Currents and a first state off rest for the reference layer and its twin in float64."""
    for high, seed in itertools.product(_HIGHEST, range(4)):
        noise = torch.Generator().manual_seed(seed)
        x = on_grid(-1 + (high + 1) * torch.rand(shape, generator=noise))
        state = _off(layer.rest(x[0]), noise)
        ours = run(layer, x, state, gradients=False).values
        exact = run(twin, doubled(x), doubled(state), gradients=False).values
        # One neuron that runs away would hide the gradients of all others.
        bounded = all(part.abs().max() < 100 for part in ours)
        if bounded and _now_and_then([ours[0]]) and torch.equal(ours[0].double(), exact[0]):
            return x, state
    raise LookupError("no input was found under which it spikes now and then")


def _off(state: Any, noise: torch.Generator) -> Any:
    if isinstance(state, RecurrentState):
        spikes = (torch.rand(state.spikes.shape, generator=noise) < 0.3).to(state.spikes.dtype)
        return RecurrentState(spikes, _off(state.neuron, noise))
    return tree_map(lambda part: part + 0.2 * torch.randn(part.shape, generator=noise), state)


def _now_and_then(spikes: Sequence[Tensor]) -> bool:
    return all(bool(_NOW_AND_THEN[0] <= s.mean() <= _NOW_AND_THEN[1]) for s in spikes)


def on_grid(numbers: Tensor) -> Tensor:
    """The nearest numbers of the grid."""
    return (_GRID * numbers).round() / _GRID


def twin_of(module: Any, gain: float, seed: int = 0) -> Any:
    """A copy in float64, after giving both weights on the grid."""
    _give_weights(module, gain, seed)
    return copy.deepcopy(module).double()


def _give_weights(module: Any, gain: float, seed: int) -> None:
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            scale = gain * weight.shape[-1] ** -0.5 if weight.ndim > 1 else 0.1
            weight.copy_(on_grid(scale * torch.randn(weight.shape, generator=noise)))


Gradients = Callable[[nn.Module, Tensor], Sequence[Tensor]]
Choice = tuple[int, float]  # a seed and a gain


class Balanced(NamedTuple):
    """A network's copy in float64, its gradients, and which weights both have."""

    twin: nn.Sequential
    gradients: Sequence[Tensor]
    choice: Choice


def balanced(
    network: nn.Sequential, x: Tensor, gradients: Gradients, likely: Sequence[Choice] = ()
) -> Balanced:
    """Give the network weights with which every layer spikes now and then, and rounding alone does
    not come near the tolerance; those that are ``likely`` are tried first."""
    for seed, gain in (*likely, *itertools.product(range(12), _GAINS)):
        _give_weights(network, gain, seed)
        spikes = _spikes_within(network, x.float())
        if not _now_and_then(spikes):
            continue
        twin: nn.Sequential = copy.deepcopy(network).double()
        exact = _spikes_within(twin, x)
        if all(torch.equal(a.double(), b) for a, b in zip(spikes, exact, strict=True)):
            rounding, wanted = Row("rounding"), gradients(twin, x)
            rounding.near(gradients(network, x.float()), wanted)
            if rounding.error < TOLERANCE / 2:
                return Balanced(twin, wanted, (seed, gain))
    raise LookupError("no weights were found with which every layer spikes now and then")


def _spikes_within(network: nn.Sequential, x: Tensor) -> list[Tensor]:
    """The spikes of every layer of neurons, with dense products between them."""
    found = []
    with torch.no_grad():
        for module in network:
            if isinstance(module, nn.Linear):
                x = functional.linear(x, module.weight, module.bias)
            else:
                x = module(x)
            if isinstance(module, SpikingLayer):
                found.append(x)
    return found
