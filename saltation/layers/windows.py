"""Backpropagation through a long sequence in windows, with states carried from one to the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError, count, tensor
from saltation.layers.conv import SpikeConv2d
from saltation.layers.leaky import LeakyIntegrator
from saltation.layers.linear import SpikeLinear
from saltation.layers.neuron import SpikingLayer
from saltation.layers.recurrent import Recurrent

_WITH_STATE = (SpikingLayer, Recurrent, LeakyIntegrator)
# What makes of a step what it makes of it, whatever the steps beside it are.
_OF_STEPS = (
    SpikeLinear,
    SpikeConv2d,
    nn.Linear,
    nn.Identity,
    nn.Flatten,
    nn.Dropout,
    nn.ReLU,
)


def in_windows(network: nn.Sequential, x: Tensor, steps: int) -> Iterator[Tensor]:
    """Outputs of ``network`` for one window of ``x`` after the other: truncated backpropagation.

    States are carried from window to window, gradients are not: what a window is worth in the loss
    changes weights by what happened within it. So memory is that of one window, however long the
    sequence. The next window is computed when it is asked for, with the weights as they are then.
    Source: Williams & Peng, "An efficient gradient-based algorithm for on-line training of
    recurrent network trajectories", Neural Computation, 1990.

    Parameters
    ----------
    network : Sequential
        A chain of weights, neurons and leaky integrators, from ``[T, B, ...]`` to ``[T, B, ...]``.
    x : Tensor, [T, B, ...]
        The whole sequence.
    steps : int
        Those of a window; the last may be shorter.

    Yields
    ------
    Tensor, [steps, B, ...]
        Outputs of a window.

    Raises
    ------
    SaltationError
        If a module of the chain has no state that could be carried and is not known to treat every
        step by itself, as a readout over time or batch normalisation over steps.

    Examples
    --------
    >>> for outputs, wanted in zip(st.in_windows(net, x, 100), targets.split(100)):
    ...     optimizer.zero_grad()
    ...     st.mse_loss(outputs, wanted).backward()
    ...     optimizer.step()
    """
    steps = count("steps", steps)
    if tensor("x", x).ndim < 3 or not len(x):
        raise SaltationError(f"x must be [T, B, ...] with at least one step, got {list(x.shape)}")
    modules = list(_flat(network))
    return _windows(modules, x, steps)


def _flat(network: nn.Module) -> Iterator[nn.Module]:
    if not isinstance(network, nn.Sequential):
        raise SaltationError(
            f"states are carried through a chain, nn.Sequential, got {type(network).__name__}"
        )
    for name, module in network.named_children():
        if isinstance(module, nn.Sequential):
            yield from _flat(module)
        elif isinstance(module, (*_WITH_STATE, *_OF_STEPS)):
            yield module
        else:
            raise SaltationError(
                f"'{name}' of the chain, {type(module).__name__}, may look along time, and has no "
                "state that could be carried from one window to the next"
            )


def _windows(modules: list[nn.Module], x: Tensor, steps: int) -> Iterator[Tensor]:
    states: dict[int, Any] = {}
    for window in torch.split(x, steps):
        y = window
        for place, module in enumerate(modules):
            if isinstance(module, _WITH_STATE):
                before: Any = states.get(place)
                before = module.rest(y[0]) if before is None else before
                y, after = module(y, before)
                states[place] = _cut(after)
            else:
                y = module(y)
        yield y


def _cut(state: Any) -> Any:
    """The state without its history."""
    if isinstance(state, Tensor):
        return state.detach()
    return type(state)(*map(_cut, state))
